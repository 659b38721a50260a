//! Which keys go when memory is short.
//!
//! Before a command runs, and in the background, memory is compared with `maxmemory`: entries, values, tables and
//! connections ([`Engine::used_memory`]). If it is short, keys are evicted one by one: a few are sampled from a random
//! shard, the best of these and of earlier samples goes ([`pool`]). Shards hold keys at random, so a sample of one is
//! a sample of all. What makes a key better than another is the policy's matter ([`meter`]).
//!
//! Each step holds one shard's lock for one key, and a command gives no more time to it than
//! `maxmemory-eviction-tenacity` allows: what is left is for the next command and for the background. So a limit that is
//! lowered by gigabytes stops nobody; meanwhile commands are let in.

mod meter;
mod pool;

use super::shard::{Shard, StoredEntry};
use super::view::Found;
use crate::effects::Event;
use crate::engine::Engine;
use crate::lane::Lane;
use larder_structures::hash;
use larder_structures::table::Element;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

pub(crate) use meter::{Meter, access_clock};
use pool::Candidate;
pub(crate) use pool::Pool;

/// Shards without a candidate after which all shards are searched.
const FRUITLESS_MAX: usize = 16;
/// Evictions between two looks at the clock.
const PER_LOOK: usize = 16;
/// Samples of one shard at most.
const SAMPLES_MAX: usize = 64;
/// Slots looked at for keys with an expiry under one hold, unless every one is needed.
const LOOKED_AT_MAX: usize = 4096;

/// `maxmemory-policy`. Those that count uses come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// Writes fail.
    NoEviction,
    /// The least recently used.
    AllKeysLru,
    /// The same among keys with an expiry.
    VolatileLru,
    /// Any key.
    AllKeysRandom,
    /// Any key with an expiry.
    VolatileRandom,
    /// The key that expires first.
    VolatileTtl,
    /// The least frequently used.
    AllKeysLfu,
    /// The same among keys with an expiry.
    VolatileLfu,
    /// The least recently and frequently used; our own, which a scan does not disturb.
    AllKeysLrfu,
}

/// The policy and its parameters.
pub struct EvictionConfig {
    policy: AtomicU8,
    /// `maxmemory-samples`
    pub samples: AtomicUsize,
    /// `maxmemory-eviction-tenacity`
    pub tenacity: AtomicU32,
    /// `lfu-log-factor`
    pub lfu_log_factor: AtomicU32,
    /// `lfu-decay-time`, in minutes.
    pub lfu_decay_time: AtomicU32,
    /// The turn that LRFU counts by.
    turn: AtomicU32,
    /// Bytes evicted since it began.
    this_turn: AtomicU64,
}

impl Default for EvictionConfig {
    fn default() -> Self {
        EvictionConfig {
            policy: AtomicU8::new(Policy::NoEviction as u8),
            samples: AtomicUsize::new(5),
            tenacity: AtomicU32::new(10),
            lfu_log_factor: AtomicU32::new(10),
            lfu_decay_time: AtomicU32::new(1),
            turn: AtomicU32::new(0),
            this_turn: AtomicU64::new(0),
        }
    }
}

impl Policy {
    /// By their numbers.
    const ALL: &[Policy] = &[
        Policy::NoEviction,
        Policy::AllKeysLru,
        Policy::VolatileLru,
        Policy::AllKeysRandom,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
        Policy::AllKeysLfu,
        Policy::VolatileLfu,
        Policy::AllKeysLrfu,
    ];

    /// The names of all policies, in the order in which an error lists them.
    pub const NAMES: &[&str] = &[
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "noeviction",
        "allkeys-lrfu",
    ];

    /// Its name, as `maxmemory-policy` has it.
    pub fn name(self) -> &'static str {
        match self {
            Policy::NoEviction => "noeviction",
            Policy::AllKeysLru => "allkeys-lru",
            Policy::VolatileLru => "volatile-lru",
            Policy::AllKeysRandom => "allkeys-random",
            Policy::VolatileRandom => "volatile-random",
            Policy::VolatileTtl => "volatile-ttl",
            Policy::AllKeysLfu => "allkeys-lfu",
            Policy::VolatileLfu => "volatile-lfu",
            Policy::AllKeysLrfu => "allkeys-lrfu",
        }
    }

    /// The policy of this name, in whatever case.
    pub fn named(name: &str) -> Option<Policy> {
        Policy::ALL.iter().copied().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// Whether only keys with an expiry may go.
    pub fn is_volatile(self) -> bool {
        matches!(
            self,
            Policy::VolatileLru | Policy::VolatileLfu | Policy::VolatileRandom | Policy::VolatileTtl
        )
    }

    /// Whether it counts uses as Redis' LFU does.
    pub fn is_lfu(self) -> bool {
        matches!(self, Policy::AllKeysLfu | Policy::VolatileLfu)
    }

    /// Whether it counts uses, so that the time of the last one is not known.
    pub fn counts_uses(self) -> bool {
        self as u8 >= Policy::AllKeysLfu as u8
    }

    fn is_random(self) -> bool {
        matches!(self, Policy::AllKeysRandom | Policy::VolatileRandom)
    }
}

impl EvictionConfig {
    /// The policy in force.
    pub fn policy(&self) -> Policy {
        let number = usize::from(self.policy.load(Ordering::Relaxed));
        Policy::ALL.get(number).copied().unwrap_or(Policy::NoEviction)
    }

    /// Changes the policy.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(policy as u8, Ordering::Relaxed);
    }

    /// Whether the policy in force counts uses.
    #[inline]
    fn counts_uses(&self) -> bool {
        self.policy.load(Ordering::Relaxed) >= Policy::AllKeysLfu as u8
    }

    /// Moves the turn on by what was evicted.
    fn note_evicted(&self, bytes: u64, maxmemory: u64) {
        let turn = (maxmemory / meter::TURNS_PER_MEMORY).max(1);
        if self.this_turn.fetch_add(bytes, Ordering::Relaxed) + bytes >= turn {
            self.this_turn.store(0, Ordering::Relaxed);
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Microseconds that a command may give to eviction.
    fn allowed_us(&self) -> u64 {
        match self.tenacity.load(Ordering::Relaxed) {
            tenacity @ 0..=10 => 50 * u64::from(tenacity),
            tenacity @ 11..=99 => (500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64,
            _ => u64::MAX,
        }
    }
}

impl Engine {
    /// Whether more memory is used than `maxmemory` allows.
    #[inline]
    pub(crate) fn is_short_of_memory(&self) -> bool {
        let limit = self.config.maxmemory.load(Ordering::Relaxed);
        limit > 0 && self.used_memory() > limit
    }

    /// Evicts by the policy in force until memory is below its limit again, its time is up, or nothing more may go.
    /// Returns whether there is room, or will be.
    #[inline]
    pub(crate) fn make_room(&self, lane: &mut Lane) -> bool {
        !self.is_short_of_memory() || self.evict(lane)
    }

    /// [`Engine::make_room`] once memory is short.
    #[cold]
    pub(crate) fn evict(&self, lane: &mut Lane) -> bool {
        if self.pause.is_on(lane.now_ms()) || self.is_poisoned() || self.is_loading() {
            return true;
        }
        self.stats.memory_exceeded(lane.clock.elapsed_us());
        let meter = self.meter(lane.access_clock());
        if meter.policy == Policy::NoEviction {
            return false;
        }
        lane.pool.begin(meter.policy);
        let began_us = lane.clock.elapsed_us();
        let mut evicted = 0;
        while self.is_short_of_memory() {
            if !self.evict_one(lane, meter) {
                return false;
            }
            evicted += 1;
            if evicted % PER_LOOK == 0
                && lane.clock.elapsed_us() - began_us > self.config.eviction.allowed_us()
            {
                return true;
            }
        }
        self.stats.memory_suffices(lane.clock.elapsed_us());
        true
    }

    /// Evicts the best candidate of a sample and of those before it; returns whether there was one.
    fn evict_one(&self, lane: &mut Lane, meter: Meter) -> bool {
        for _ in 0..FRUITLESS_MAX {
            // A random shard usually has a candidate.
            self.sample(lane, meter, self.random() as usize % self.shards.len(), false);
            if self.evict_best(lane, meter) {
                return true;
            }
        }
        (0..self.shards.len()).any(|index| {
            self.sample(lane, meter, index, true);
            self.evict_best(lane, meter)
        })
    }

    fn evict_best(&self, lane: &mut Lane, meter: Meter) -> bool {
        while let Some(best) = lane.pool.take_best() {
            if self.evict_candidate(lane, meter, &best) {
                return true;
            }
        }
        false
    }

    /// Evicts a candidate if it still is as good as it was; returns whether it was.
    fn evict_candidate(&self, lane: &mut Lane, meter: Meter, candidate: &Candidate) -> bool {
        let Candidate { worth, physical, hash, key } = candidate;
        let index = hash::shard(*hash, self.shards.len());
        let mut hold = self.shards.one(index);
        self.agree_on_time(lane, &mut hold);
        let Some(db) = self.logical(*physical) else { return false };
        let entry = hold.shard(index).db(*physical).and_then(|db| db.keys.get_hashed(*hash, key));
        let Some(entry) = entry else { return false };
        if !meter.policy.is_random() && meter.worth(entry, || 0) < *worth {
            return false;
        }
        let bytes = Found::new(entry).memory() as u64;
        self.begin_effects(lane);
        self.writer(lane, &mut hold, db).delete(key, Event::EVICTED);
        self.commit_removals(lane, &mut hold);
        // Eviction goes by what is reported, so what it frees must be seen at once.
        self.report(&mut hold, index);
        drop(hold);
        self.free(&mut lane.effects.garbage);
        self.config.eviction.note_evicted(bytes, self.config.maxmemory.load(Ordering::Relaxed));
        true
    }

    /// Offers a sample of one shard to the lane's pool; a thorough one finds a candidate if there is any.
    fn sample(&self, lane: &mut Lane, meter: Meter, index: usize, is_thorough: bool) {
        let mut hold = self.shards.one(index);
        self.report(&mut hold, index);
        self.sample_shard(&mut lane.pool, meter, hold.shard(index), is_thorough);
    }

    fn sample_shard(&self, pool: &mut Pool, meter: Meter, shard: &Shard, is_thorough: bool) {
        let samples = self.config.eviction.samples.load(Ordering::Relaxed).clamp(1, SAMPLES_MAX);
        for physical in shard.existing() {
            let Some(db) = shard.db(physical) else { continue };
            let offer = |entry: <StoredEntry as Element>::Ref<'_>| {
                let worth = meter.worth(entry, || self.random());
                pool.offer(worth, physical, hash::of(entry.key()), entry.key());
            };
            if !meter.policy.is_volatile() {
                db.keys.sample_many(self.random(), samples, offer);
            } else if db.keys.with_expiry() > 0 {
                // Keys with an expiry may be rare among the others: look at more to find enough.
                let usual = 2 * samples * (db.keys.len() / db.keys.with_expiry() + 1);
                let looked_at = if is_thorough { usize::MAX } else { usual.min(LOOKED_AT_MAX) };
                db.keys.sample_expiring(self.random(), samples, looked_at, offer);
            }
        }
    }
}
