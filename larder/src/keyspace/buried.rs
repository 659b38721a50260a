//! The session guard: what was deleted is not brought back by whoever read it before.
//!
//! A web application reads a session when a request begins and writes it, whole and unconditionally, when the request
//! ends. When the user logs out in between, that write puts the session back, still logged in. The key of a session
//! that has ended is never used again, so the server can tell: with `session-guard-prefixes` set it remembers, for
//! `session-guard-seconds`, which keys under these prefixes were deleted, and a plain SET (or SETEX, PSETEX) of one
//! that is still absent is acknowledged and dropped. SET with NX, XX or IFEQ says itself what it expects, and is not
//! touched.
//!
//! What is remembered is bounded: keys of up to [`KEY_BYTES_MAX`] bytes, [`KEYS_MAX`] of them in each shard, the
//! oldest being forgotten first. It is not written to disk: after a restart nothing is remembered.

use super::write::WriteCtx;
use parking_lot::RwLock;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Longest key that is remembered, in bytes; ids of sessions are much shorter.
const KEY_BYTES_MAX: usize = 256;
/// Keys remembered in a shard.
const KEYS_MAX: usize = 1024;

/// `session-guard-prefixes` and `session-guard-seconds`.
pub struct GuardConfig {
    /// Whether there is a prefix: the one question that SET and DEL ask where the guard is off.
    is_on: AtomicBool,
    prefixes: RwLock<Vec<Box<[u8]>>>,
    /// How long a deletion is remembered.
    pub seconds: AtomicU64,
}

impl Default for GuardConfig {
    fn default() -> Self {
        GuardConfig {
            is_on: AtomicBool::new(false),
            prefixes: RwLock::default(),
            seconds: AtomicU64::new(60),
        }
    }
}

impl GuardConfig {
    /// The prefixes, with spaces between them.
    pub fn show(&self) -> String {
        let prefixes = self.prefixes.read();
        prefixes.iter().map(|prefix| String::from_utf8_lossy(prefix)).collect::<Vec<_>>().join(" ")
    }

    /// Sets the prefixes.
    pub fn set(&self, words: &str) {
        let prefixes: Vec<Box<[u8]>> = words.split_whitespace().map(|word| word.as_bytes().into()).collect();
        self.is_on.store(!prefixes.is_empty(), Ordering::Relaxed);
        *self.prefixes.write() = prefixes;
    }

    #[inline]
    fn covers(&self, key: &[u8]) -> bool {
        self.is_on.load(Ordering::Relaxed) && self.has_prefix_of(key)
    }

    #[cold]
    fn has_prefix_of(&self, key: &[u8]) -> bool {
        key.len() <= KEY_BYTES_MAX && self.prefixes.read().iter().any(|prefix| key.starts_with(prefix))
    }
}

/// The physical number of a database, and a key there.
type Name = (usize, Box<[u8]>);

/// The keys of a shard that were deleted lately.
#[derive(Default)]
pub(crate) struct Buried {
    /// Until when each is remembered, in Unix milliseconds.
    until_ms: HashMap<Name, u64>,
    /// In the order in which they were deleted. One that was deleted again is there twice.
    order: VecDeque<(Name, u64)>,
}

impl Buried {
    fn add(&mut self, name: Name, now_ms: u64, until_ms: u64) {
        while self.order.len() >= KEYS_MAX
            || self.order.front().is_some_and(|(_, until_ms)| *until_ms <= now_ms)
        {
            let Some((oldest, until_ms)) = self.order.pop_front() else { break };
            if self.until_ms.get(&oldest) == Some(&until_ms) {
                self.until_ms.remove(&oldest);
            }
        }
        self.until_ms.insert(name.clone(), until_ms);
        self.order.push_back((name, until_ms));
    }

    fn holds(&self, name: &Name, now_ms: u64) -> bool {
        self.until_ms.get(name).is_some_and(|until_ms| *until_ms > now_ms)
    }
}

impl WriteCtx<'_, '_> {
    /// Notes that a key was deleted on purpose, whether or not it was there.
    #[inline]
    pub(crate) fn bury(&mut self, key: &[u8]) {
        if self.config().session_guard.covers(key) && !self.engine.is_loading() {
            let seconds = self.config().session_guard.seconds.load(Ordering::Relaxed);
            let (now_ms, name) = (self.now_ms, (self.physical, key.into()));
            let buried = self.shard_with(key).buried.get_or_insert_default();
            buried.add(name, now_ms, now_ms + seconds * 1000);
        }
    }

    /// Whether a plain SET of this key comes too late, and is to be acknowledged without being carried out.
    #[inline]
    pub(crate) fn comes_too_late(&mut self, key: &[u8]) -> bool {
        self.config().session_guard.covers(key) && self.is_buried(key)
    }

    #[cold]
    fn is_buried(&mut self, key: &[u8]) -> bool {
        let (now_ms, name) = (self.now_ms, (self.physical, key.into()));
        let is_buried =
            self.shard_with(key).buried.as_ref().is_some_and(|buried| buried.holds(&name, now_ms));
        is_buried && !self.engine.is_loading() && self.find(key).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_ends() {
        let mut buried = Buried::default();
        let name = |n: usize| (0, n.to_string().into_bytes().into_boxed_slice());
        for n in 0..3 * KEYS_MAX {
            buried.add(name(n), 0, 1000);
        }
        assert!(buried.until_ms.len() <= KEYS_MAX && buried.order.len() <= KEYS_MAX);
        assert!(buried.holds(&name(3 * KEYS_MAX - 1), 999) && !buried.holds(&name(0), 0));
        assert!(!buried.holds(&name(3 * KEYS_MAX - 1), 1000));
        // One that is deleted again is remembered from then on, although its first entry goes.
        buried.add(name(1), 1000, 2000);
        buried.add(name(1), 1500, 2500);
        buried.add(name(2), 2100, 3000);
        assert!(buried.holds(&name(1), 2400));
        assert_eq!((buried.until_ms.len(), buried.order.len()), (2, 2));
        // Another database is another key.
        assert!(!buried.holds(&(1, name(1).1), 2400));
    }
}
