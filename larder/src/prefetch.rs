//! Fetching into the cache what the commands of a pipeline will look up.
//!
//! A lookup among millions of keys misses the cache three times: for the bucket, the entry, and where the value goes on.
//! One after the other that is most of what a GET costs. The keys of commands that were received together are known
//! before the first of them runs, so their misses can overlap: first all buckets are fetched, then all entries, and then
//! the commands run, strictly in order. Nothing is decided here; what a command finds, it finds under its lock.

use crate::engine::Engine;
use larder_structures::hash;

/// Bytes of data below which nothing is fetched: all of it is in some cache already.
const WORTH_FROM: u64 = 4 * 1024 * 1024;

impl Engine {
    /// Whether there is so much data that [`Engine::prefetch`] pays.
    #[inline]
    pub fn is_prefetch_worth(&self) -> bool {
        self.data_memory() >= WORTH_FROM
    }

    /// Fetches what lookups will need, given logical databases and the hashes of keys ([`crate::Plan::key_hash`]). Useful
    /// for two to about thirty of them; a shard that is busy is passed over.
    pub fn prefetch(&self, keys: impl Iterator<Item = (usize, u64)> + Clone) {
        for (db, hash) in keys.clone() {
            if let Some(hold) = self.shards.try_one(hash::shard(hash, self.shards.len()))
                && let Some(db) = hold.shard(hash::shard(hash, self.shards.len())).db(self.physical(db))
            {
                db.keys.prefetch_bucket(hash);
            }
        }
        for (db, hash) in keys {
            if let Some(hold) = self.shards.try_one(hash::shard(hash, self.shards.len()))
                && let Some(db) = hold.shard(hash::shard(hash, self.shards.len())).db(self.physical(db))
            {
                db.keys.prefetch_entry(hash);
            }
        }
    }
}
