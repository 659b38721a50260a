//! What one thread keeps for itself: the time of its turn, its counters, its scratch space.
//!
//! Every thread that runs commands has a lane. Counters of a lane have one writer, so counting is a load and a store
//! without any lock prefix; whoever wants a total adds the lanes up.

use crate::effects::Effects;
use crate::effects::log::Log;
use crate::keyspace::eviction::{Pool, access_clock};
use crate::stats::LaneStats;
use crate::time::Clock;
use larder_structures::sys::CycleCounter;
use std::sync::Arc;

/// A large string that is part of a reply and was not copied there: the same bytes are in the keyspace, until they are
/// replaced or changed.
pub struct Attachment {
    /// Where in the output it belongs: between what stands before that place and what follows.
    pub at: usize,
    /// Its bytes.
    pub bytes: Arc<Vec<u8>>,
}

/// One thread's part of the engine; see the module's text. Made by [`crate::Engine::lane`].
pub struct Lane {
    pub(crate) clock: Arc<dyn Clock>,
    counter: Option<CycleCounter>,
    pub(crate) stats: Arc<LaneStats>,
    pub(crate) effects: Effects,
    /// Unix time of this turn, in microseconds, and the same in milliseconds and in seconds.
    pub(crate) now_us: u64,
    now_ms: u64,
    access_clock: u32,
    /// When the last command ended, on the clock for laps: where the next one of this turn begins.
    pub(crate) mark_us: u64,
    /// When [`Lane::begin_call`] last asked the system for the time, on the clock for laps.
    asked_us: u64,
    log: Arc<Log>,
    /// The position in the log of the last write to anything that was touched since [`crate::Engine::wait_of`].
    pub(crate) seen: u64,
    /// How often the promise of durability had been given up when this turn began.
    pub(crate) epoch: u64,
    /// Whether long commands may be handed to a worker: the caller knows what to do with
    /// [`crate::engine::Step::Long`].
    pub(crate) hands_off: bool,
    /// Candidates for eviction.
    pub(crate) pool: Pool,
    /// Whether large strings may be attached to replies.
    pub(crate) attaches: bool,
    /// What the last reply has attached.
    pub(crate) attached: Vec<Attachment>,
}

impl Lane {
    pub(crate) fn new(clock: Arc<dyn Clock>, stats: Arc<LaneStats>, log: Arc<Log>, hands_off: bool) -> Lane {
        let effects = Effects::default();
        let mut lane = Lane {
            counter: clock.counter(),
            clock,
            stats,
            effects,
            now_us: 0,
            now_ms: 0,
            access_clock: 0,
            asked_us: 0,
            mark_us: 0,
            epoch: log.durable.epoch(),
            log,
            seen: 0,
            hands_off,
            pool: Pool::default(),
            attaches: false,
            attached: Vec::new(),
        };
        lane.mark_us = lane.now_on_laps_us();
        lane.asked_us = lane.mark_us;
        lane.set_now_us(lane.clock.unix_us());
        lane
    }

    /// The lane, for a caller who asks for [`Lane::attached`] after each command, and sends that with the reply.
    pub fn attaching(self) -> Lane {
        Lane { attaches: true, ..self }
    }

    /// What the reply to the last command has attached, in order.
    #[inline]
    pub fn attached(&mut self) -> &mut Vec<Attachment> {
        &mut self.attached
    }

    /// Begins a turn: reads the clock once for all commands that follow.
    #[inline]
    pub fn begin_turn(&mut self) {
        self.set_now_us(self.clock.unix_us());
        self.mark_us = self.now_on_laps_us();
        self.epoch = self.log.durable.epoch();
    }

    /// Lets time stand at its beginning, when nothing has expired yet. Uses are counted as of now.
    pub(crate) fn stand_still(&mut self) {
        (self.now_us, self.now_ms) = (0, 0);
        self.access_clock = access_clock(self.clock.unix_us());
    }

    /// Sets the time of this turn.
    #[inline]
    pub(crate) fn set_now_us(&mut self, now_us: u64) {
        self.now_us = now_us;
        self.now_ms = now_us / 1000;
        self.access_clock = access_clock(now_us);
    }

    /// Begins a call that is a turn by itself, as those from within the process are. The system is asked for the time
    /// once a millisecond: expiry has no finer grain, and asking takes longer than finding a key in the cache.
    #[inline]
    pub(crate) fn begin_call(&mut self) {
        const GRAIN_US: u64 = 1000;
        self.epoch = self.log.durable.epoch();
        let lap_us = self.now_on_laps_us();
        if lap_us.wrapping_sub(self.asked_us) >= GRAIN_US {
            self.asked_us = lap_us;
            self.set_now_us(self.clock.unix_us());
        }
    }

    /// The moment on the clock for laps, which is read after every command.
    #[inline]
    fn now_on_laps_us(&self) -> u64 {
        match self.counter {
            Some(counter) => counter.now_us(),
            None => self.clock.elapsed_us(),
        }
    }

    /// Microseconds since the turn began or the last command ended, whichever was later: within a turn commands run
    /// back to back, so one reading of the clock ends one and begins the next.
    #[inline]
    pub(crate) fn lap_us(&mut self) -> u64 {
        let now_us = self.now_on_laps_us();
        let before_us = std::mem::replace(&mut self.mark_us, now_us);
        self.mark_us.saturating_sub(before_us)
    }

    /// Unix time of this turn in microseconds.
    #[inline]
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Unix time of this turn in milliseconds.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The access clock of this turn.
    #[inline]
    pub(crate) fn access_clock(&self) -> u32 {
        self.access_clock
    }

    /// The counters.
    pub fn stats(&self) -> &LaneStats {
        &self.stats
    }
}
