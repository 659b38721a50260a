//! What one thread keeps for itself: the time of its turn, its counters, its scratch space.
//!
//! Every thread that runs commands has a lane. Counters of a lane have one writer, so counting is a load and a store
//! without any lock prefix; whoever wants a total adds the lanes up.

use crate::effects::Effects;
use crate::stats::LaneStats;
use crate::time::Clock;
use std::sync::Arc;

/// One thread's part of the engine; see the module's text. Made by [`crate::Engine::lane`].
pub struct Lane {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stats: Arc<LaneStats>,
    pub(crate) effects: Effects,
    /// Unix time of this turn.
    pub(crate) now_us: u64,
    /// When the last command ended, on the clock for durations: where the next one of this turn begins.
    pub(crate) mark_us: u64,
    /// Whether long commands may be handed to a worker: the caller knows what to do with
    /// [`crate::engine::Step::Long`].
    pub(crate) hands_off: bool,
}

impl Lane {
    pub(crate) fn new(clock: Arc<dyn Clock>, stats: Arc<LaneStats>, hands_off: bool) -> Lane {
        let (now_us, mark_us) = (clock.unix_us(), clock.elapsed_us());
        Lane { clock, stats, effects: Effects::default(), now_us, mark_us, hands_off }
    }

    /// Begins a turn: reads the clock once for all commands that follow.
    #[inline]
    pub fn begin_turn(&mut self) {
        self.now_us = self.clock.unix_us();
        self.mark_us = self.clock.elapsed_us();
    }

    /// Microseconds since the turn began or the last command ended, whichever was later: within a turn commands run
    /// back to back, so one reading of the clock ends one and begins the next.
    #[inline]
    pub(crate) fn lap_us(&mut self) -> u64 {
        let before_us = std::mem::replace(&mut self.mark_us, self.clock.elapsed_us());
        self.mark_us.saturating_sub(before_us)
    }

    /// Unix time of this turn in milliseconds.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_us / 1000
    }

    /// The access clock: seconds, 24 bits.
    #[inline]
    pub(crate) fn access_clock(&self) -> u32 {
        (self.now_us / 1_000_000) as u32 & larder_structures::entry::CLOCK_MAX
    }

    /// The counters.
    pub fn stats(&self) -> &LaneStats {
        &self.stats
    }
}
