//! The best candidates that samples have shown so far.
//!
//! A sample of five keys finds a poor victim now and then; but it also finds good ones that are not needed at once.
//! Every lane therefore keeps the sixteen best that it has seen, by key, and evicts the best of these. (The idea is
//! Salvatore Sanfilippo's, from Redis 3.0.) A candidate may be used, changed or deleted while it waits here: whoever
//! takes it out looks at it again under its shard's lock.

use super::Policy;

/// How many candidates a pool keeps.
const CANDIDATES: usize = 16;

/// A key that may go.
pub(crate) struct Candidate {
    /// How much it is worth to let it go: more is better. Only comparable under one policy.
    pub(super) worth: u64,
    pub(super) physical: usize,
    pub(super) hash: u64,
    pub(super) key: Box<[u8]>,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Pool {
    policy: Option<Policy>,
    /// The least worth first.
    candidates: Vec<Candidate>,
}

impl Pool {
    /// Forgets what was found under another policy.
    pub(super) fn begin(&mut self, policy: Policy) {
        if self.policy != Some(policy) {
            self.candidates.clear();
            self.policy = Some(policy);
        }
    }

    /// Offers a key, which is copied only if it is taken.
    pub(super) fn offer(&mut self, worth: u64, physical: usize, hash: u64, key: &[u8]) {
        let is_full = self.candidates.len() == CANDIDATES;
        if is_full && self.candidates.first().is_some_and(|least| worth <= least.worth) {
            return;
        }
        if self.candidates.iter().any(|known| known.hash == hash && known.physical == physical) {
            return;
        }
        if is_full {
            self.candidates.remove(0);
        }
        let at = self.candidates.partition_point(|known| known.worth < worth);
        self.candidates.insert(at, Candidate { worth, physical, hash, key: key.into() });
    }

    /// The best candidate.
    pub(super) fn take_best(&mut self) -> Option<Candidate> {
        self.candidates.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_all_offers_come_out_in_order() {
        let mut pool = Pool::default();
        pool.begin(Policy::AllKeysLru);
        for worth in [5, 90, 17, 3].into_iter().chain(20..40) {
            pool.offer(worth, 0, worth, b"key");
            pool.offer(worth, 0, worth, b"key");
        }
        let taken: Vec<u64> = std::iter::from_fn(|| pool.take_best()).map(|best| best.worth).collect();
        let expected: Vec<u64> = std::iter::once(90).chain((25..40).rev()).collect();
        assert_eq!(taken, expected);
    }

    #[test]
    fn another_policy_forgets_them() {
        let mut pool = Pool::default();
        pool.begin(Policy::AllKeysLru);
        pool.offer(1, 0, 1, b"key");
        pool.begin(Policy::AllKeysLru);
        assert!(pool.candidates.len() == 1);
        pool.begin(Policy::VolatileTtl);
        assert!(pool.take_best().is_none());
    }
}
