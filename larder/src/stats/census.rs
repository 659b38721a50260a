//! One walk over all shards, for what has to be counted there.

use crate::keyspace::Shard;
/// Keys with an expiry looked at in one shard's part of one database.
const TTL_SAMPLES: usize = 16;

/// What a database holds, by its physical number.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DbCount {
    pub(crate) keys: usize,
    pub(crate) expiring: usize,
    /// Bytes of tables.
    pub(crate) table_bytes: usize,
    ttl_sum_ms: u64,
    ttl_samples: u64,
}

impl DbCount {
    /// Time to live of the keys that have one, in milliseconds: the mean of a sample.
    pub(crate) fn mean_ttl_ms(&self) -> u64 {
        self.ttl_sum_ms.checked_div(self.ttl_samples).unwrap_or(0)
    }
}

/// What all shards hold together.
#[derive(Debug, Default)]
pub(crate) struct Census {
    by_physical: Vec<DbCount>,
    /// Bytes of entries and values that the engine's sum does not know yet.
    pub(crate) unreported: i64,
}

impl Census {
    /// Adds one shard.
    pub(crate) fn add(&mut self, shard: &Shard, random: u64, now_ms: u64) {
        self.unreported += shard.unreported;
        for physical in shard.existing() {
            let Some(db) = shard.db(physical) else { continue };
            if self.by_physical.len() <= physical {
                self.by_physical.resize_with(physical + 1, DbCount::default);
            }
            let count = &mut self.by_physical[physical];
            count.keys += db.keys.len();
            count.expiring += db.keys.with_expiry();
            count.table_bytes += db.keys.memory();
            if db.keys.with_expiry() == 0 {
                continue;
            }
            db.keys.sample_many(random, TTL_SAMPLES, |entry| {
                if let Some(at_ms) = entry.expires_at_ms() {
                    count.ttl_sum_ms = count.ttl_sum_ms.saturating_add(at_ms.saturating_sub(now_ms));
                    count.ttl_samples += 1;
                }
            });
        }
    }

    /// A database by its physical number.
    pub(crate) fn db(&self, physical: usize) -> DbCount {
        self.by_physical.get(physical).copied().unwrap_or_default()
    }

    /// Bytes of the tables of all databases.
    pub(crate) fn table_bytes(&self) -> usize {
        self.by_physical.iter().map(|db| db.table_bytes).sum()
    }

    /// Keys of all databases.
    pub(crate) fn keys(&self) -> usize {
        self.by_physical.iter().map(|db| db.keys).sum()
    }
}
