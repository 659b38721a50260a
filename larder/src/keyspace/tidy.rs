//! Tidying up memory: entries are moved out of sparse pages, and free pages go back to the system.
//!
//! What is deleted leaves holes, and a page of the slab with one entry left takes as much memory as a full one. Only the
//! slot of a table knows where an entry is, so moving one is a copy and a store under its shard's lock, and `Table::defragment`
//! does it for those that are in sparse pages while denser ones of their size have room.
//!
//! Ten times a second it is looked whether a fifth of the pages' memory is holes. If so a walk over all shards begins, which
//! goes on in slices of a tenth of a millisecond, as often as the background has time; each hold of a shard's lock covers a few buckets. If a walk does
//! not help, because what is left of it cannot be moved (members of large sets and fields of large hashes stay where they
//! are), the next one waits until there are more holes.
//!
//! Pages that are free altogether go back to the system once nobody needed them for a while; see [`slab::trim`], and
//! [`crate::runtime`] for who calls it.

use super::Shard;
use crate::engine::Engine;
use larder_structures::slab;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::yield_now;

/// Time of a slice of a walk, in microseconds.
const SLICE_US: u64 = 100;
/// Buckets that one hold of a shard's lock covers.
const BUCKETS_PER_HOLD: usize = 32;
/// Time between two looks at how much memory is free, in microseconds.
const LOOK_US: u64 = 100_000;
/// Bytes of holes below which no walk begins.
const HOLES_MIN: usize = 16 * 1024 * 1024;

/// How far a walk is.
#[derive(Default)]
pub(crate) struct Tidying {
    /// Whether one is under way.
    pub(crate) is_walking: AtomicBool,
    /// When it was last looked whether one should be, on the clock for durations.
    looked_us: AtomicU64,
    /// Where it goes on: the shard, and the bucket of the database there, by its physical number.
    shard: AtomicUsize,
    db: AtomicUsize,
    bucket: AtomicUsize,
    /// Bytes of holes that the last walk has left.
    left: AtomicUsize,
    /// Entries moved.
    pub(crate) moved: AtomicU64,
}

impl Engine {
    /// A slice of tidying up; returns whether there is more to do now.
    pub(crate) fn tidy_slice(&self) -> bool {
        let (tidying, now_us) = (&self.tidying, self.clock.elapsed_us());
        if now_us.saturating_sub(tidying.looked_us.load(Ordering::Relaxed)) >= LOOK_US {
            tidying.looked_us.store(now_us, Ordering::Relaxed);
            if !tidying.is_walking.load(Ordering::Relaxed) {
                self.look_for_holes();
            }
        }
        if !tidying.is_walking.load(Ordering::Relaxed) {
            return false;
        }
        let is_over = self.walk_until(now_us + SLICE_US);
        if is_over {
            tidying.left.store(holes(&slab::stats()), Ordering::Relaxed);
            tidying.is_walking.store(false, Ordering::Relaxed);
        }
        !is_over
    }

    /// Begins a walk if it is worth it.
    fn look_for_holes(&self) {
        let (tidying, stats) = (&self.tidying, slab::stats());
        let holes = holes(&stats);
        let left = tidying.left.load(Ordering::Relaxed).min(holes);
        tidying.left.store(left, Ordering::Relaxed);
        let is_worth_it = holes > HOLES_MIN && holes > stats.active / 5 && holes > left + left / 4;
        tidying.is_walking.store(is_worth_it, Ordering::Relaxed);
    }

    /// Goes on with the walk; returns whether it is over.
    fn walk_until(&self, ends_us: u64) -> bool {
        let tidying = &self.tidying;
        let mut index = tidying.shard.load(Ordering::Relaxed);
        while index < self.shards.len() && self.clock.elapsed_us() < ends_us {
            index += usize::from(self.holding(index, |hold| self.tidy_shard(hold.shard_mut(index))));
            yield_now();
        }
        let is_over = index == self.shards.len();
        tidying.shard.store(if is_over { 0 } else { index }, Ordering::Relaxed);
        is_over
    }

    /// One hold of one shard; returns whether the walk is through with it.
    fn tidy_shard(&self, shard: &mut Shard) -> bool {
        let tidying = &self.tidying;
        let first = tidying.db.load(Ordering::Relaxed);
        let next = shard.existing().find(|physical| *physical >= first);
        let Some((physical, db)) = next.and_then(|physical| Some((physical, shard.db_if_any(physical)?)))
        else {
            tidying.db.store(0, Ordering::Relaxed);
            return true;
        };
        let from = tidying.bucket.load(Ordering::Relaxed);
        let mut moved = 0;
        let next = db.keys.defragment(from, BUCKETS_PER_HOLD, |_bytes| moved += 1);
        tidying.moved.fetch_add(moved, Ordering::Relaxed);
        tidying.bucket.store(next, Ordering::Relaxed);
        tidying.db.store(if next == 0 { physical + 1 } else { physical }, Ordering::Relaxed);
        false
    }
}

/// Bytes in pages that are in use but not by an entry.
fn holes(stats: &slab::Stats) -> usize {
    stats.active.saturating_sub(stats.used)
}

#[cfg(test)]
mod tests {
    use crate::engine::{Engine, Options};
    use larder_structures::slab;

    /// Keys of which nine of ten are deleted, all over their pages.
    #[test]
    fn holes_are_closed_and_nothing_is_lost() {
        let larder = crate::Larder::on(Engine::open(Options::default()));
        let value = |n: usize| format!("{n:0>200}");
        for n in 0..400_000 {
            larder.set(format!("key:{n}"), value(n)).expect("there is memory");
        }
        for n in (0..400_000).filter(|n| n % 10 != 0) {
            larder.del(format!("key:{n}")).expect("keys can be deleted");
        }
        let before = slab::stats();
        let engine = larder.engine();
        engine.look_for_holes();
        while engine.tidy_slice() {}
        let after = slab::stats();
        assert!(
            engine.tidying.moved.load(std::sync::atomic::Ordering::Relaxed) > 10_000,
            "{before:?} {after:?}"
        );
        assert!(after.active < before.active / 2, "{} of {} bytes", after.active, before.active);
        assert!(slab::purge() > 0, "what was moved away left free pages");
        assert_eq!(slab::purge(), 0, "free pages were left");
        for n in 0..400_000 {
            let found = larder.get(format!("key:{n}")).expect("it is a string");
            assert_eq!(found, (n % 10 == 0).then(|| value(n).into_bytes()));
        }
    }
}
