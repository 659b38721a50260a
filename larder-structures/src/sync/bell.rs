//! One thread serves many: it comes when the bell rings, and may wait first until as many have come as it expects.
//!
//! Whoever wants something puts it where the server will find it, under a lock that the server takes as well, counts it,
//! and rings. The server finds all that was
//! put there before the ring it answers, be it asleep, at work, or on its way to sleep: a ring stays until it is heard.
//!
//! While the server gathers, ringing is left to the one who completes the number it waits for; the others would only wake
//! it in vain. Whoever counts and then sees that it gathers knows the number too, which was set before; and whoever sees
//! that it does not, rings. When the time is over the server stops gathering and then looks: who had seen it gather has
//! put down what he wants before that look.

use super::raw::{AtomicBool, AtomicU64, Condvar, Mutex, Ordering, lock, wait_for};
use std::time::Duration;

/// See the module's essay.
pub struct Bell {
    is_rung: Mutex<bool>,
    rung: Condvar,
    is_gathering: AtomicBool,
    /// The count from which on nobody more is waited for.
    expected: AtomicU64,
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}

impl Bell {
    /// One that has not rung.
    pub fn new() -> Self {
        Bell {
            is_rung: Mutex::new(false),
            rung: Condvar::new(),
            is_gathering: AtomicBool::new(false),
            expected: AtomicU64::new(0),
        }
    }

    /// Rings.
    pub fn ring(&self) {
        *lock(&self.is_rung) = true;
        self.rung.notify_one();
    }

    /// Rings for somebody who has counted up to `count`, unless the server gathers and waits for more.
    pub fn ring_for(&self, count: u64) {
        if !self.is_gathering.load(Ordering::SeqCst) || count >= self.expected() {
            self.ring();
        }
    }

    /// For the server: sleeps until the bell rings, or `timeout` is over. Returns at once if it has rung meanwhile.
    pub fn wait(&self, timeout: Duration) {
        let mut is_rung = lock(&self.is_rung);
        if !*is_rung {
            is_rung = wait_for(&self.rung, is_rung, timeout);
        }
        *is_rung = false;
    }

    /// For the server: how far the count has come when all are there that [`Bell::gather`] waits for.
    pub fn expect(&self, count: u64) {
        self.expected.store(count, Ordering::Relaxed);
    }

    /// What was expected last.
    pub fn expected(&self) -> u64 {
        self.expected.load(Ordering::Relaxed)
    }

    /// For the server: waits until `count` has come as far as expected, or `rest` says that there is no time left.
    /// Whether they have come.
    pub fn gather(&self, count: impl Fn() -> u64, mut rest: impl FnMut() -> Option<Duration>) -> bool {
        self.is_gathering.store(true, Ordering::SeqCst);
        let have_come = loop {
            // Somebody may have rung before it was known that others are waited for; not often.
            if count() >= self.expected() {
                break true;
            }
            match rest() {
                Some(rest) => self.wait(rest),
                None => break count() >= self.expected(),
            }
        };
        self.is_gathering.store(false, Ordering::SeqCst);
        have_come
    }
}
