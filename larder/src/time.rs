//! Where time comes from.
//!
//! The engine never asks the system: it asks the [`Clock`] it was opened with, once per turn of an event loop and
//! once per command for durations. Tests hand in a clock that stands still.

use larder_structures::sys::CycleCounter;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A source of time.
pub trait Clock: Send + Sync {
    /// Unix time in microseconds.
    fn unix_us(&self) -> u64;

    /// Microseconds since some moment, never going back; for durations.
    fn elapsed_us(&self) -> u64;

    /// What is read in its place after every command, where there is anything cheaper. It may run a little fast or slow,
    /// so it is good for durations of minutes; its readings are not comparable with those of [`Clock::elapsed_us`].
    fn counter(&self) -> Option<CycleCounter> {
        None
    }
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    counter: Option<CycleCounter>,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
    fn default() -> Self {
        SystemClock { start: Instant::now(), counter: CycleCounter::find() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
    fn unix_us(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
    }

    fn elapsed_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    fn counter(&self) -> Option<CycleCounter> {
        self.counter
    }
}
