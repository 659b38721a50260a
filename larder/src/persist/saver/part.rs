//! A large collection that a save walks over in steps.

use super::handed::Head;
use crate::engine::Engine;
use crate::keyspace::StoredEntry;
use crate::types::{Body, Type};
use larder_structures::hash;
use larder_structures::sync::{Pinned, block_on_wait};
use larder_structures::table::{Keeper, Kept};
use parking_lot::Mutex;
use std::sync::Arc;

/// Buckets of a collection visited under one hold of its shard.
const BUCKETS_PER_HOLD: usize = 32;
/// Elements after which a hold ends early, in bytes.
const BYTES_PER_HOLD: usize = 64 * 1024;

/// A collection that is being saved, or about to be.
pub(super) struct Part {
    pub(super) head: Head,
    pub(super) kind: Type,
    /// Elements it had when it was begun: none has changed since the cut.
    pub(super) count: u64,
    pub(super) keeper: Arc<Keeper>,
    /// Where it is now. Changed under the shards that it leaves and comes to.
    pub(super) place: Mutex<Place>,
}

/// Where a collection is that is being saved.
pub(super) enum Place {
    /// In the keyspace.
    At { shard: usize, physical: usize, key: Box<[u8]> },
    /// Nowhere else: it was deleted, and is freed when it is saved.
    Detached(StoredEntry),
}

impl Part {
    pub(super) fn new(head: Head, kind: Type, count: u64, keeper: Arc<Keeper>, place: Place) -> Part {
        Part { head, kind, count, keeper, place: Mutex::new(place) }
    }

    /// A step of the walk: puts elements as they were at the cut behind `kept` and returns the next cursor. With the last
    /// one, 0, all of them have come and the collection is an ordinary one again.
    pub(super) fn step(&self, engine: &Engine, cursor: u64, kept: &mut Kept) -> u64 {
        self.with_body(engine, |body| {
            let mut next = cursor;
            for _ in 0..BUCKETS_PER_HOLD {
                next = body.keep_some(next, kept);
                if next == 0 || kept.bytes() > BYTES_PER_HOLD {
                    break;
                }
            }
            self.keeper.hand_over(kept);
            if next == 0 {
                body.end_keeping();
            }
            next
        })
    }

    /// Works on the collection, wherever it is. Waits while a long command reads it.
    fn with_body(&self, engine: &Engine, work: impl FnOnce(&mut Body) -> u64) -> u64 {
        let mut work = Some(work);
        block_on_wait(&engine.unpinned, || {
            loop {
                let shard = match &mut *self.place.lock() {
                    Place::At { shard, .. } => *shard,
                    Place::Detached(entry) => return change(entry, &mut work),
                };
                let mut hold = engine.shards.one(shard);
                let place = self.place.lock();
                let Place::At { shard: at, physical, key } = &*place else { continue };
                if *at != shard {
                    continue;
                }
                let (keys, _, _) = hold.shard_mut(shard).parts(*physical);
                let mut slot = keys.slot(hash::of(key), key).expect("places follow their collections");
                let body = slot.body_mut()?;
                return work.take().map(|work| work(body));
            }
        })
    }
}

fn change(entry: &mut StoredEntry, work: &mut Option<impl FnOnce(&mut Body) -> u64>) -> Option<u64> {
    entry.change_body(|body: &mut Pinned<Body>| {
        let body = body.get_mut()?;
        work.take().map(|work| work(body))
    })?
}
