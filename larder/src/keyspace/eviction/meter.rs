//! What the 24 bits of an entry say about its use, policy by policy.
//!
//! - Policies that ask *when* (and those that ask nothing): Unix time in ticks of a quarter of a second, which wrap after
//!   48 days. A small cache may turn over several times a second, and then whole seconds would not tell its keys apart.
//! - LFU: the minute of the last use or decay in 16 bits, then a counter in 8. The counter is logarithmic: each use
//!   raises it with probability 1 / ((counter - 5) * `lfu-log-factor` + 1), and every `lfu-decay-time` minutes without
//!   use lower it by one. A new key begins at 5, so that it is not the first to go.
//! - LRFU, a policy of our own: the *turn* of the last use in 20 bits, then a counter in 4.
//!
//! # LRFU
//!
//! A key that is read once, by a scan say, is as recent as any other and should go nevertheless; a key that was
//! popular last week should go too. So both count: a use adds one to the counter, up to 15, and the counter halves
//! whenever so much was evicted as memory holds eight times over ([`HALVING`]). Who has been used least often, in that
//! sense, goes first; among equals, who has not been used for longer. (Least recently *and* frequently used: Lee et al.,
//! 2001, here with steps instead of a curve.)
//!
//! Time is counted in what was evicted and not in seconds, because what matters is how many keys have passed through
//! the cache since: a quiet night forgets nothing, and a busy second may forget everything. A turn is a 64th of
//! `maxmemory`. Several uses within one turn count once, so a client that reads what it has just written makes no key
//! popular, and a popular key is not written to with every read.
//!
//! Nothing is kept of keys that are gone, in contrast to S3-FIFO's ghosts and TinyLFU's sketch, and so no memory is
//! needed beyond the 24 bits. Under Zipf's law that costs nothing measurable: a new key stays long enough to be seen
//! again, since keys used once are found by a sample before long only while there are many of them.
//!
//! Whoever changes the policy finds bits of the former one. They are taken for what they are not, until use, decay and
//! eviction have put that right; Redis does the same.

use super::Policy;
use crate::engine::Engine;
use crate::keyspace::StoredEntry;
use larder_structures::entry::CLOCK_MAX;
use larder_structures::table::Element;
use std::sync::atomic::Ordering;

/// Ticks of the access clock in a second.
const TICKS_PER_S: u32 = 4;
/// Where the counter of a new key begins under LFU.
const LFU_INITIAL: u32 = 5;
const LFU_MAX: u32 = u8::MAX as u32;
/// Bits of LRFU's counter.
const LRFU_BITS: u32 = 4;
const LRFU_MAX: u32 = (1 << LRFU_BITS) - 1;
const TURN_MAX: u32 = CLOCK_MAX >> LRFU_BITS;
/// Turns while as much is evicted as `maxmemory` allows.
pub(super) const TURNS_PER_MEMORY: u64 = 64;
/// Turns after which LRFU's counter halves.
const HALVING: u32 = 8 * TURNS_PER_MEMORY as u32;

/// How the bits are read at one moment under one policy.
#[derive(Clone, Copy)]
pub(crate) struct Meter {
    pub(super) policy: Policy,
    now: u32,
    turn: u32,
    log_factor: u32,
    decay_minutes: u32,
}

/// The access clock at a time in Unix microseconds: ticks, of which entries keep what their policy needs.
#[inline]
pub(crate) fn access_clock(now_us: u64) -> u32 {
    (now_us / (1_000_000 / u64::from(TICKS_PER_S))) as u32
}

impl Engine {
    /// The meter of this moment of the access clock.
    pub(crate) fn meter(&self, now: u32) -> Meter {
        let config = &self.config.eviction;
        Meter {
            policy: config.policy(),
            now,
            turn: config.turn.load(Ordering::Relaxed) & TURN_MAX,
            log_factor: config.lfu_log_factor.load(Ordering::Relaxed),
            decay_minutes: config.lfu_decay_time.load(Ordering::Relaxed),
        }
    }

    /// The bits of a key that is used now, by the access clock, and had `before`.
    #[inline]
    pub(crate) fn touched(&self, before: u32, now: u32) -> u32 {
        if self.config.eviction.counts_uses() {
            self.meter(now).used(before, || self.random())
        } else {
            now & CLOCK_MAX
        }
    }

    /// The bits of a new key.
    #[inline]
    pub(crate) fn fresh(&self, now: u32) -> u32 {
        if self.config.eviction.counts_uses() { self.meter(now).new_key() } else { now & CLOCK_MAX }
    }
}

impl Meter {
    fn minute(self) -> u32 {
        (self.now / (60 * TICKS_PER_S)) & 0xffff
    }

    #[cold]
    fn used(self, before: u32, random: impl FnOnce() -> u64) -> u32 {
        if self.policy.is_lfu() {
            return self.lfu(lfu_raised(self.frequency(before), self.log_factor, random));
        }
        let turn = before >> LRFU_BITS;
        if turn == self.turn {
            return before;
        }
        self.turn << LRFU_BITS | (self.frequency(before) + 1).min(LRFU_MAX)
    }

    fn new_key(self) -> u32 {
        if self.policy.is_lfu() { self.lfu(LFU_INITIAL) } else { self.turn << LRFU_BITS }
    }

    fn lfu(self, counter: u32) -> u32 {
        self.minute() << 8 | counter
    }

    /// The counter in these bits as it is by now, under a policy that has one.
    pub(crate) fn frequency(self, bits: u32) -> u32 {
        if self.policy.is_lfu() {
            let minutes = self.minute().wrapping_sub(bits >> 8) & 0xffff;
            let lost = minutes.checked_div(self.decay_minutes).unwrap_or(0);
            return (bits & LFU_MAX).saturating_sub(lost);
        }
        let halvings = self.turns_since(bits) / HALVING;
        (bits & LRFU_MAX).checked_shr(halvings).unwrap_or(0)
    }

    fn turns_since(self, bits: u32) -> u32 {
        self.turn.wrapping_sub(bits >> LRFU_BITS) & TURN_MAX
    }

    /// Ticks since the last use, under a policy that does not count.
    fn idle(self, bits: u32) -> u32 {
        self.now.wrapping_sub(bits) & CLOCK_MAX
    }

    /// Seconds since the last use, under a policy that does not count.
    pub(crate) fn idle_s(self, bits: u32) -> u32 {
        self.idle(bits) / TICKS_PER_S
    }

    /// The bits of a key that was last used so many seconds ago, or was used so often, where the policy asks for it.
    pub(crate) fn restored(self, idle_s: Option<u64>, frequency: Option<u32>) -> Option<u32> {
        match (self.policy.counts_uses(), idle_s, frequency) {
            (true, _, Some(frequency)) if self.policy.is_lfu() => Some(self.lfu(frequency.min(LFU_MAX))),
            (true, _, Some(frequency)) => Some(self.turn << LRFU_BITS | frequency.min(LRFU_MAX)),
            (false, Some(idle_s), _) => {
                let idle = idle_s.min(u64::from(CLOCK_MAX / TICKS_PER_S)) as u32 * TICKS_PER_S;
                Some(self.now.wrapping_sub(idle) & CLOCK_MAX)
            }
            _ => None,
        }
    }

    /// What a snapshot keeps of these bits: seconds since the last use or LFU's counter, where eviction goes by them.
    pub(crate) fn saved(self, bits: u32) -> (Option<u64>, Option<u8>) {
        match self.policy {
            Policy::AllKeysLru | Policy::VolatileLru => (Some(u64::from(self.idle_s(bits))), None),
            Policy::AllKeysLfu | Policy::VolatileLfu => (None, Some(self.frequency(bits) as u8)),
            _ => (None, None),
        }
    }

    /// How much it is worth to let an entry go; more is better.
    pub(super) fn worth(self, entry: <StoredEntry as Element>::Ref<'_>, random: impl FnOnce() -> u64) -> u64 {
        let bits = entry.clock();
        match self.policy {
            Policy::AllKeysLru | Policy::VolatileLru => u64::from(self.idle(bits)),
            Policy::AllKeysLfu | Policy::VolatileLfu => u64::from(LFU_MAX - self.frequency(bits)),
            Policy::AllKeysLrfu => {
                let unpopular = u64::from(LRFU_MAX - self.frequency(bits));
                unpopular << 32 | u64::from(self.turns_since(bits))
            }
            Policy::VolatileTtl => u64::MAX - entry.expires_at_ms().unwrap_or(u64::MAX),
            Policy::AllKeysRandom | Policy::VolatileRandom | Policy::NoEviction => random(),
        }
    }
}

/// LFU's counter after one more use.
fn lfu_raised(counter: u32, factor: u32, random: impl FnOnce() -> u64) -> u32 {
    if counter >= LFU_MAX {
        return counter;
    }
    let one_in = u64::from(counter.saturating_sub(LFU_INITIAL)) * u64::from(factor) + 1;
    // The upper half of a product spreads a random word evenly over 0..one_in.
    let is_raised = one_in == 1 || (u128::from(random()) * u128::from(one_in)) >> 64 == 0;
    counter + u32::from(is_raised)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(policy: Policy, now_s: u32, turn: u32) -> Meter {
        Meter { policy, now: now_s * TICKS_PER_S, turn, log_factor: 10, decay_minutes: 1 }
    }

    #[test]
    fn lfu_counts_logarithmically_and_decays_by_the_minute() {
        let seed = std::cell::Cell::new(1u64);
        let random = || {
            let next =
                seed.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed.set(next);
            next
        };
        let now = meter(Policy::AllKeysLfu, 6_000_000, 0);
        let mut bits = now.new_key();
        assert_eq!(now.frequency(bits), 5);
        bits = now.used(bits, random);
        assert_eq!(now.frequency(bits), 6, "the first use always counts");
        for _ in 0..1000 {
            bits = now.used(bits, random);
        }
        let after_a_thousand = now.frequency(bits);
        // The documentation of Redis gives 18 for a thousand uses at factor 10; that is with a start at 5.
        assert!((12..=26).contains(&after_a_thousand), "{after_a_thousand}");
        let later = meter(Policy::AllKeysLfu, 6_000_000 + 7 * 60, 0);
        assert_eq!(later.frequency(bits), after_a_thousand - 7);
        let much_later = meter(Policy::AllKeysLfu, 6_000_000 + 300 * 60, 0);
        assert_eq!(much_later.frequency(bits), 0);
        let never = Meter { decay_minutes: 0, ..much_later };
        assert_eq!(never.frequency(bits), after_a_thousand);
    }

    #[test]
    fn lrfu_counts_once_a_turn_and_halves() {
        let at = |turn: u32| meter(Policy::AllKeysLrfu, 1, turn & TURN_MAX);
        let start = TURN_MAX - 20;
        let mut bits = at(start).new_key();
        bits = at(start).used(bits, || 0);
        assert_eq!(at(start).frequency(bits), 0);
        for turn in 1..=40 {
            for _ in 0..3 {
                bits = at(start + turn).used(bits, || 0);
            }
            assert_eq!(at(start + turn).frequency(bits), turn.min(LRFU_MAX), "the turn wraps on the way");
        }
        assert_eq!(at(start + 40 + HALVING - 1).frequency(bits), 15);
        assert_eq!(at(start + 40 + HALVING).frequency(bits), 7);
        assert_eq!(at(start + 40 + 4 * HALVING).frequency(bits), 0);
        assert_eq!(at(start + 40 + 100 * HALVING).frequency(bits), 0);
    }

    #[test]
    fn what_is_restored_depends_on_the_policy() {
        let lru = meter(Policy::VolatileLru, 1000, 0);
        assert_eq!(lru.restored(Some(10), Some(9)).map(|bits| lru.idle_s(bits)), Some(10));
        assert_eq!(lru.restored(None, Some(9)), None);
        let lfu = meter(Policy::VolatileLfu, 1000, 0);
        assert_eq!(lfu.restored(Some(10), Some(77)).map(|bits| lfu.frequency(bits)), Some(77));
        assert_eq!(lfu.restored(Some(10), None), None);
    }
}
