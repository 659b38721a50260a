//! The one hash function of the tables, and which of its bits serve what.
//!
//! A 64-bit hash is cut into disjoint parts, so that neither the choice of a shard nor the tag kept in a slot says
//! anything about the bucket:
//!
//! ```text
//! 63            48 47        38 37                          0
//! |     tag      |   shard    |            bucket           |
//! ```
//!
//! Seed and multipliers are drawn once per process, so that colliding keys cannot be prepared beforehand. They are
//! the process's and not a table's: a set of a hundred members should not carry them, and a key's hash is computed
//! once for shard, tag and bucket alike.

use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};
use std::sync::OnceLock;

static SECRETS: OnceLock<RapidSecrets> = OnceLock::new();

/// Fixes the process's seed, for runs that must repeat. Has no effect once anything has been hashed.
pub fn fix_seed(seed: u64) {
    let _already_drawn = SECRETS.set(RapidSecrets::seed(seed));
}

/// Hashes `key` under the process's seed.
#[inline]
pub fn of(key: &[u8]) -> u64 {
    rapidhash_v3_inline::<true, false, false>(key, SECRETS.get_or_init(RapidSecrets::random))
}

/// The 16 bits a slot keeps to avoid looking at entries that cannot match.
#[inline]
pub(crate) fn tag(hash: u64) -> u64 {
    hash >> 48
}

/// Which of `shards` (a power of two, at most 1,024) holds a key with this hash.
#[inline]
pub fn shard(hash: u64, shards: usize) -> usize {
    debug_assert!(shards.is_power_of_two() && shards <= 1024);
    (hash >> 38) as usize & (shards - 1)
}
