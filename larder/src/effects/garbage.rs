//! What is freed after the locks are gone, and by whom.
//!
//! Under a shard's lock nothing large is freed: values that are replaced or removed are put aside and outlive the locks.
//! Then small ones are freed at once. Freeing a large one takes as long as it has elements, so it goes to a thread of its
//! own, the freer; unless the parameter that is about this cause (`lazyfree-lazy-expire` and so on) says `no`, in which
//! case the thread that ran the command frees it, and its connections wait.

use crate::config::Config;
use crate::keyspace::StoredEntry;
use crate::types::LARGE_ELEMENTS;
use larder_structures::entry::ValueRef;
use larder_structures::sys::give_way;
use larder_structures::table::Table;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, OnceLock};

/// Something to be freed when no lock is held.
pub(crate) struct Garbage {
    pub(crate) waste: Waste,
    pub(crate) cause: Cause,
}

/// What is to be freed.
pub(crate) enum Waste {
    Entry(StoredEntry),
    /// The tables of a database, one of each shard.
    Tables(Vec<Table<StoredEntry>>),
}

/// Why something is to be freed, which decides by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// UNLINK, or ASYNC.
    Lazily,
    /// SYNC.
    AtOnce,
    /// It was evicted.
    Evicted,
    /// It has expired.
    Expired,
    /// Something else came in its place, or its last element went.
    Replaced,
    /// DEL.
    Deleted,
    /// FLUSHALL or FLUSHDB.
    Flushed,
}

impl Cause {
    fn is_lazy(self, config: &Config) -> bool {
        let flag = match self {
            Cause::Lazily => return true,
            Cause::AtOnce => return false,
            Cause::Evicted => &config.lazy_eviction,
            Cause::Expired => &config.lazy_expire,
            Cause::Replaced => &config.lazy_server_del,
            Cause::Deleted => &config.lazy_user_del,
            Cause::Flushed => &config.lazy_user_flush,
        };
        flag.load(Ordering::Relaxed)
    }
}

impl Garbage {
    /// An entry.
    pub(crate) fn entry(entry: StoredEntry, cause: Cause) -> Garbage {
        Garbage { waste: Waste::Entry(entry), cause }
    }

    /// How many keys it is.
    fn objects(&self) -> usize {
        match &self.waste {
            Waste::Entry(_) => 1,
            Waste::Tables(tables) => tables.iter().map(Table::len).sum(),
        }
    }

    fn is_large(&self) -> bool {
        match &self.waste {
            Waste::Entry(entry) => match entry.as_ref().value() {
                ValueRef::Body(body) => body.is_large(),
                ValueRef::Bytes(_) | ValueRef::Integer(_) | ValueRef::Packed(..) => false,
            },
            Waste::Tables(_) => self.objects() > LARGE_ELEMENTS,
        }
    }
}

/// The way to the thread that frees large values, and what it has done.
#[derive(Default)]
pub(crate) struct Freer {
    sender: OnceLock<Sender<Garbage>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    pending: AtomicUsize,
    freed: AtomicUsize,
}

impl Freer {
    /// Says where large garbage goes; without it all of it is freed on the spot. The first call counts.
    pub(crate) fn set(&self, sender: Sender<Garbage>) {
        let _first_call_counts = self.sender.set(sender);
    }

    /// The freer's thread: frees what comes, until the engine is gone.
    pub(crate) fn work(&self, garbage: Receiver<Garbage>) -> impl FnOnce() + Send + use<> {
        let counts = Arc::clone(&self.counts);
        move || {
            give_way();
            for garbage in garbage {
                let objects = garbage.objects();
                drop(garbage);
                counts.pending.fetch_sub(objects, Ordering::Relaxed);
                counts.freed.fetch_add(objects, Ordering::Relaxed);
            }
        }
    }

    /// Keys waiting to be freed.
    pub(crate) fn pending(&self) -> usize {
        self.counts.pending.load(Ordering::Relaxed)
    }

    /// Keys freed by the freer since the last reset.
    pub(crate) fn freed(&self) -> usize {
        self.counts.freed.load(Ordering::Relaxed)
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&self) {
        self.counts.freed.store(0, Ordering::Relaxed);
    }

    /// Frees garbage, or has it freed; no lock is held.
    pub(crate) fn free(&self, config: &Config, garbage: &mut Vec<Garbage>) {
        for garbage in garbage.drain(..) {
            let sender =
                if garbage.is_large() && garbage.cause.is_lazy(config) { self.sender.get() } else { None };
            match sender {
                Some(sender) => {
                    let objects = garbage.objects();
                    self.counts.pending.fetch_add(objects, Ordering::Relaxed);
                    if let Err(returned) = sender.send(garbage) {
                        // The freer is gone, because the engine is on its way out.
                        self.counts.pending.fetch_sub(objects, Ordering::Relaxed);
                        drop(returned);
                    }
                }
                None => drop(garbage),
            }
        }
    }
}
