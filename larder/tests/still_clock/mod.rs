//! A clock that stands still until it is told to go on.

use larder::time::Clock;
use larder::{Engine, Larder, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The clock, in milliseconds.
pub(crate) struct StillClock(AtomicU64);

impl StillClock {
    /// Lets time pass.
    pub(crate) fn pass_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for StillClock {
    fn unix_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed) * 1000
    }

    fn elapsed_us(&self) -> u64 {
        self.unix_us()
    }
}

/// When the clock is handed out, in Unix milliseconds.
#[allow(dead_code, reason = "not every test asks when it is")]
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// An engine without a background, and its clock.
pub(crate) fn open() -> (Larder, Arc<StillClock>) {
    let clock = Arc::new(StillClock(AtomicU64::new(START_MS)));
    let options = Options { threads: 1, clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Options::default() };
    (Larder::on(Engine::open(Options { seed: 1, ..options })), clock)
}
