//! Rates of the last moments: commands and bytes per second.
//!
//! The ticker notes the running totals ten times a second in a ring; a rate is the difference between the newest and
//! the oldest note over the time between them. So a rate covers about a second and a half, whatever the ticker's pace,
//! and asking for it costs nothing.

use parking_lot::Mutex;
use std::collections::VecDeque;

/// Notes kept.
const NOTES: usize = 17;
/// Time between notes, in microseconds.
const EVERY_US: u64 = 100_000;

/// Running totals at some moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    /// The moment, in microseconds of the engine's clock for durations.
    pub(crate) at_us: u64,
    pub(crate) commands: u64,
    pub(crate) input_bytes: u64,
    pub(crate) output_bytes: u64,
}

/// What happened per second, lately.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Commands.
    pub commands: f64,
    /// Bytes received.
    pub input_bytes: f64,
    /// Bytes sent.
    pub output_bytes: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Ring {
    notes: Mutex<VecDeque<Totals>>,
}

impl Ring {
    /// Whether it is time for the next note.
    pub(crate) fn is_due(&self, now_us: u64) -> bool {
        self.notes.lock().back().is_none_or(|last| now_us.saturating_sub(last.at_us) >= EVERY_US)
    }

    pub(crate) fn note(&self, totals: Totals) {
        let mut notes = self.notes.lock();
        if notes.len() == NOTES {
            notes.pop_front();
        }
        notes.push_back(totals);
    }

    pub(crate) fn rates(&self) -> Rates {
        let notes = self.notes.lock();
        let (Some(first), Some(last)) = (notes.front(), notes.back()) else { return Rates::default() };
        let seconds = last.at_us.saturating_sub(first.at_us) as f64 / 1e6;
        if seconds <= 0.0 {
            return Rates::default();
        }
        let rate = |first: u64, last: u64| last.saturating_sub(first) as f64 / seconds;
        Rates {
            commands: rate(first.commands, last.commands),
            input_bytes: rate(first.input_bytes, last.input_bytes),
            output_bytes: rate(first.output_bytes, last.output_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_difference_over_the_time_of_the_ring() {
        let ring = Ring::default();
        assert_eq!(ring.rates(), Rates::default());
        for second in 0..30 {
            ring.note(Totals {
                at_us: second * 1_000_000,
                commands: second * 50,
                input_bytes: second,
                output_bytes: 7,
            });
        }
        assert_eq!(ring.rates(), Rates { commands: 50.0, input_bytes: 1.0, output_bytes: 0.0 });
        assert!(!ring.is_due(29_050_000));
        assert!(ring.is_due(29_100_000));
    }
}
