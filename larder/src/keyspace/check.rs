//! What must always hold of the keyspace, checked by a walk over all of it; for tests.

use super::shard::Shard;
use super::view::Found;
use crate::engine::Engine;
use larder_structures::hash;
use std::sync::atomic::Ordering;

impl Engine {
    /// Walks over everything, behind the gate, and returns the bytes of all entries and values.
    ///
    /// # Panics
    /// When an invariant is broken: a key in the wrong shard or not found by its name, a count or a sum that differs
    /// from what the walk finds, an empty collection.
    pub fn check_invariants(&self) -> u64 {
        let hold = self.shards.all();
        let mut walked = 0;
        let mut unreported = 0;
        for index in 0..self.shards.len() {
            let shard = hold.shard(index);
            walked += shard.existing().map(|physical| self.check_db(shard, index, physical)).sum::<i64>();
            unreported += shard.unreported;
        }
        let accounted = self.memory.load(Ordering::Relaxed) + unreported;
        assert_eq!(walked, accounted, "the engine's sum of memory differs from a walk");
        u64::try_from(walked).expect("a sum of sizes is not negative")
    }

    fn check_db(&self, shard: &Shard, index: usize, physical: usize) -> i64 {
        let Some(db) = shard.db(physical) else { return 0 };
        db.keys.check_invariants();
        let mut walked = 0;
        for entry in db.keys.iter() {
            let key = String::from_utf8_lossy(entry.key());
            let home = hash::shard(hash::of(entry.key()), self.shards.len());
            assert_eq!(home, index, "{key} is in the wrong shard");
            let found = Found::new(entry);
            let is_empty = matches!(found.view, super::View::Body(body) if body.elements() == 0);
            assert!(!is_empty, "the collection under {key} is empty");
            walked += found.memory() as i64;
        }
        assert_eq!(walked, db.memory(), "the memory of a database in a shard differs from a walk");
        walked
    }
}
