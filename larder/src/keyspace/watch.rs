//! WATCH: which connections want to know that a key was touched.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Set when a key that its connection watches is touched.
#[derive(Debug, Default)]
pub(crate) struct WatchFlag(AtomicBool);

impl WatchFlag {
    /// Whether a watched key was touched.
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Notes that a watched key was touched.
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Logical database and key.
type WatchedKey = (u32, Box<[u8]>);

/// The watched keys of a shard, by logical database and key. Connections that went away leave a dead reference, which
/// is dropped when the key is next touched or watched.
#[derive(Default)]
pub(crate) struct Watchers {
    keys: HashMap<WatchedKey, Vec<Weak<WatchFlag>>>,
}

impl Watchers {
    /// Whether no key is watched; the one question every write asks.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Lets `flag` be raised when `key` is touched.
    pub(crate) fn watch(&mut self, db: usize, key: &[u8], flag: &Arc<WatchFlag>) {
        let flags = self.keys.entry((db as u32, key.into())).or_default();
        flags.retain(|other| other.strong_count() > 0);
        flags.push(Arc::downgrade(flag));
    }

    /// Undoes [`Watchers::watch`].
    pub(crate) fn unwatch(&mut self, db: usize, key: &[u8], flag: &Arc<WatchFlag>) {
        let name = (db as u32, key.into());
        if let Some(flags) = self.keys.get_mut(&name) {
            flags
                .retain(|other| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(flag)));
            if flags.is_empty() {
                self.keys.remove(&name);
            }
        }
    }

    /// Raises the flags of a key. They are raised once: a connection's next WATCH uses a new flag.
    pub(crate) fn touch(&mut self, db: usize, key: &[u8]) {
        if self.keys.is_empty() {
            return;
        }
        if let Some(flags) = self.keys.remove(&(db as u32, key.into())) {
            flags.iter().filter_map(Weak::upgrade).for_each(|flag| flag.raise());
        }
    }

    /// Raises the flags of all watched keys of a database that `exists` says are affected.
    pub(crate) fn touch_db(&mut self, db: usize, mut affected: impl FnMut(&[u8]) -> bool) {
        self.keys.retain(|(watched_db, key), flags| {
            if *watched_db as usize != db || !affected(key) {
                return true;
            }
            flags.iter().filter_map(Weak::upgrade).for_each(|flag| flag.raise());
            false
        });
    }
}
