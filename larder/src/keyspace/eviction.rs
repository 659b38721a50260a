//! Which keys go when memory is short.

use super::shard::Shard;
use crate::effects::Event;
use crate::engine::Engine;
use crate::lane::Lane;
use larder_structures::entry::CLOCK_MAX;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Keys evicted before one command at most; the next command goes on.
const EVICTIONS_PER_COMMAND: usize = 64;
/// Shards without a candidate after which all shards are tried.
const FRUITLESS_MAX: usize = 16;

/// `maxmemory-policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// Writes fail.
    NoEviction,
    /// The least recently used of a sample.
    AllKeysLru,
    /// The same among keys with an expiry.
    VolatileLru,
    /// Any key.
    AllKeysRandom,
    /// Any key with an expiry.
    VolatileRandom,
    /// The key of a sample that expires first.
    VolatileTtl,
}

/// The policy and its parameters.
pub struct EvictionConfig {
    policy: AtomicU8,
    /// `maxmemory-samples`
    pub samples: AtomicUsize,
}

impl Default for EvictionConfig {
    fn default() -> Self {
        EvictionConfig { policy: AtomicU8::new(Policy::NoEviction as u8), samples: AtomicUsize::new(5) }
    }
}

impl Policy {
    const ALL: &[Policy] = &[
        Policy::VolatileLru,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
        Policy::AllKeysLru,
        Policy::AllKeysRandom,
        Policy::NoEviction,
    ];

    /// The names of all policies.
    pub const NAMES: &[&str] =
        &["volatile-lru", "volatile-random", "volatile-ttl", "allkeys-lru", "allkeys-random", "noeviction"];

    /// Its name, as `maxmemory-policy` has it.
    pub fn name(self) -> &'static str {
        match self {
            Policy::NoEviction => "noeviction",
            Policy::AllKeysLru => "allkeys-lru",
            Policy::VolatileLru => "volatile-lru",
            Policy::AllKeysRandom => "allkeys-random",
            Policy::VolatileRandom => "volatile-random",
            Policy::VolatileTtl => "volatile-ttl",
        }
    }

    /// The policy of this name, in whatever case.
    pub fn named(name: &str) -> Option<Policy> {
        Policy::ALL.iter().copied().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// Whether only keys with an expiry may go.
    pub fn is_volatile(self) -> bool {
        matches!(self, Policy::VolatileLru | Policy::VolatileRandom | Policy::VolatileTtl)
    }
}

impl EvictionConfig {
    /// The policy in force.
    pub fn policy(&self) -> Policy {
        let number = self.policy.load(Ordering::Relaxed);
        Policy::ALL.iter().copied().find(|policy| *policy as u8 == number).unwrap_or(Policy::NoEviction)
    }

    /// Changes the policy.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(policy as u8, Ordering::Relaxed);
    }

    /// The access clock of a key that was just used.
    #[inline]
    pub(crate) fn touched(&self, _before: u32, now: u32) -> u32 {
        now
    }

    /// The access clock of a new key.
    #[inline]
    pub(crate) fn fresh(&self, now: u32) -> u32 {
        now
    }
}

impl Engine {
    /// Whether more memory is used than `maxmemory` allows.
    #[inline]
    pub(crate) fn is_short_of_memory(&self) -> bool {
        let limit = self.config.maxmemory.load(Ordering::Relaxed);
        limit > 0 && self.data_memory() > limit
    }

    /// Evicts by the policy in force until memory is below its limit again, or nothing more may go. Returns whether
    /// there is room, or will be: what one command does not manage is left to the next.
    #[inline]
    pub(crate) fn make_room(&self, lane: &mut Lane) -> bool {
        !self.is_short_of_memory() || self.evict(lane)
    }

    #[cold]
    fn evict(&self, lane: &mut Lane) -> bool {
        let policy = self.config.eviction.policy();
        if self.pause.is_on(lane.now_ms()) {
            return true;
        }
        if policy == Policy::NoEviction {
            return false;
        }
        let mut fruitless = 0;
        for _ in 0..EVICTIONS_PER_COMMAND {
            let start = self.random();
            // A random shard usually has a candidate; after many that have none, all of them are looked at in order.
            let index = (start as usize).wrapping_add(fruitless) % self.shards.len();
            if self.evict_from(lane, policy, index, false) {
                fruitless = 0;
            } else {
                fruitless += 1;
                if fruitless > FRUITLESS_MAX && !self.evict_anywhere(lane, policy) {
                    return false;
                }
            }
            if !self.is_short_of_memory() {
                return true;
            }
        }
        true
    }

    fn evict_anywhere(&self, lane: &mut Lane, policy: Policy) -> bool {
        (0..self.shards.len()).any(|index| self.evict_from(lane, policy, index, true))
    }

    /// Evicts the best candidate of a sample of one shard; returns whether there was one.
    fn evict_from(&self, lane: &mut Lane, policy: Policy, index: usize, is_thorough: bool) -> bool {
        let mut hold = self.shards.one(index);
        self.agree_on_time(lane, &mut hold);
        let Some((physical, key)) = self.candidate(lane, policy, hold.shard(index), is_thorough) else {
            return false;
        };
        let Some(db) = self.logical(physical) else { return false };
        self.begin_effects(lane);
        self.writer(lane, &mut hold, db).delete(&key, Event::EVICTED);
        self.commit_removals(lane, &mut hold);
        // Eviction goes by what is reported, so what it frees must be seen at once.
        let unreported = std::mem::take(&mut hold.shard_mut(index).unreported);
        self.report(unreported);
        drop(hold);
        self.free(&mut lane.effects.garbage);
        true
    }

    fn candidate(
        &self,
        lane: &Lane,
        policy: Policy,
        shard: &Shard,
        is_thorough: bool,
    ) -> Option<(usize, Box<[u8]>)> {
        let samples = self.config.eviction.samples.load(Ordering::Relaxed).clamp(1, 64);
        let clock = lane.access_clock();
        let mut best: Option<(u64, usize, &[u8])> = None;
        for physical in shard.existing() {
            let Some(db) = shard.db(physical) else { continue };
            let looked_at = match db.keys.with_expiry() {
                _ if !policy.is_volatile() => samples,
                0 => continue,
                _ if is_thorough => db.keys.len(),
                // Keys with an expiry may be rare among the others: look at more to find enough.
                expiring => 2 * samples * (db.keys.len() / expiring + 1),
            };
            let mut found = 0;
            db.keys.sample_many(self.random(), looked_at, |entry| {
                let expires_at_ms = entry.expires_at_ms();
                if found == samples || policy.is_volatile() && expires_at_ms.is_none() {
                    return;
                }
                found += 1;
                let worth = match policy {
                    Policy::AllKeysLru | Policy::VolatileLru => {
                        u64::from(clock.wrapping_sub(entry.clock()) & CLOCK_MAX)
                    }
                    Policy::VolatileTtl => u64::MAX - expires_at_ms.unwrap_or(u64::MAX),
                    Policy::AllKeysRandom | Policy::VolatileRandom | Policy::NoEviction => self.random(),
                };
                if best.is_none_or(|(least, ..)| worth > least) {
                    best = Some((worth, physical, entry.key()));
                }
            });
        }
        best.map(|(_, physical, key)| (physical, key.into()))
    }
}
