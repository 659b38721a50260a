//! How long a loop rests before it polls, so that requests come in groups.
//!
//! A loop that answers faster than it is asked falls asleep after every request or two, and the next request wakes it up.
//! Both cost more than the request does, and half of it is paid by whoever sends that request: to wake a thread that sleeps
//! on another processor means to interrupt that processor, and in a virtual machine to leave the machine for it. Network
//! cards had the same trouble, and the same cure helps: do not come for each, come for several at a time (interrupt
//! moderation; Mogul and Ramakrishnan 1997).
//!
//! So when a turn was small the loop first sleeps for a moment, by a timer that nobody has to interrupt anything for, and then
//! polls. This is done only where it delays nobody by much:
//!
//! - Requests come so fast that several are expected within the moment. It lasts as long as that takes at the present rate, and
//!   [`LONGEST_US`] at most; when they come more slowly, the loop does not rest.
//! - Those expected are a small part of the connections that have sent something lately. A few clients that each wait for
//!   their reply send nothing meanwhile, and to let them wait would only slow them down.
//! - Nothing else is to be done: no reply waits for the log, no mail has come.
//!
//! With fifty clients on one loop, each with one request at a time, this saves a tenth of the CPU time of a request, and
//! as much of the clients' own.

use std::time::Duration;

/// The longest rest in microseconds.
const LONGEST_US: f32 = 75.0;
/// Requests that a rest is to gather: enough to be worth its two switches of the processor.
const WANTED: usize = 5;
/// Connections heard of lately, for each request that a rest gathers.
const CONNECTIONS_FOR_EACH: usize = 8;
/// What "lately" means: two stretches of so many milliseconds, as a power of two.
const STRETCH_BITS: u32 = 4;
/// Weight of a new turn in the smoothed gap between requests.
const WEIGHT: f32 = 1.0 / 16.0;
/// A gap in microseconds that counts as no more than this.
const GAP_MAX_US: f32 = 1000.0;

/// Has the calling thread woken when its sleep is over, and not up to 50 microseconds later to save the system a timer.
pub(super) fn wake_on_time() {
    #[cfg(target_os = "linux")]
    {
        let microsecond = std::num::NonZeroU64::new(1000);
        // Should the system not do it, rests are longer than they need be.
        let _late_is_no_error = rustix::thread::set_current_timer_slack(microsecond);
    }
}

/// What a loop knows of how it is asked; see the module's text.
pub(super) struct Gathering {
    /// Microseconds between two requests, smoothed; those of one connection in one turn count as one.
    gap_us: f32,
    /// When the last turn that brought any was heard out.
    heard_out_us: u64,
    /// Connections that it brought something from.
    brought: usize,
    /// The present stretch of time, connections heard of in it, and in the one before.
    stretch: u64,
    heard: usize,
    heard_before: usize,
}

impl Default for Gathering {
    fn default() -> Self {
        Gathering { gap_us: GAP_MAX_US, heard_out_us: 0, brought: 0, stretch: 0, heard: 0, heard_before: 0 }
    }
}

impl Gathering {
    /// Notes that a connection has sent something, and had before at `last_ms`.
    #[inline]
    pub(super) fn hear(&mut self, now_ms: u64, last_ms: u64) {
        let stretch = now_ms >> STRETCH_BITS;
        if stretch != self.stretch {
            self.heard_before = if stretch == self.stretch + 1 { self.heard } else { 0 };
            (self.stretch, self.heard) = (stretch, 0);
        }
        self.heard += usize::from(last_ms >> STRETCH_BITS != stretch);
        self.brought += 1;
    }

    /// Begins a turn, before anything of it is noted.
    #[inline]
    pub(super) fn begin_turn(&mut self) {
        self.brought = 0;
    }

    /// Notes when a turn was heard out, by a clock in microseconds.
    #[inline]
    pub(super) fn end_reading(&mut self, now_us: u64) {
        if self.brought > 0 {
            let since_us = now_us.saturating_sub(self.heard_out_us) as f32;
            self.gap_us += ((since_us / self.brought as f32).min(GAP_MAX_US) - self.gap_us) * WEIGHT;
            self.heard_out_us = now_us;
        }
    }

    /// How long to rest before the next poll; `None` for not at all.
    #[inline]
    pub(super) fn rest(&self) -> Option<Duration> {
        let connections = self.heard.max(self.heard_before);
        let rest_us = self.gap_us * WANTED as f32;
        let is_worth_it = (1..WANTED).contains(&self.brought)
            && connections >= WANTED * CONNECTIONS_FOR_EACH
            && rest_us <= LONGEST_US;
        is_worth_it.then(|| Duration::from_nanos((rest_us * 1000.0) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop that is asked by `connections` in turn, one request every `gap_us`, and `per_turn` of them in each turn;
    /// how often it would have rested in the second half of a second, of how many turns.
    fn asked(connections: u64, gap_us: u64, per_turn: u64) -> (u64, u64) {
        let mut gathering = Gathering::default();
        let mut last_ms = vec![0; connections as usize];
        let (mut nth, mut rests, mut turns) = (0, 0, 0);
        let mut now_us = 1_700_000_000_000_000;
        for _ in 0..1_000_000 / (gap_us * per_turn) {
            gathering.begin_turn();
            for _ in 0..per_turn {
                let last_ms = &mut last_ms[(nth % connections) as usize];
                gathering.hear(now_us / 1000, *last_ms);
                *last_ms = now_us / 1000;
                nth += 1;
            }
            now_us += gap_us * per_turn;
            gathering.end_reading(now_us);
            if now_us % 1_000_000 >= 500_000 {
                turns += 1;
                let rest = gathering.rest();
                rests += u64::from(rest.is_some());
                assert!(rest.is_none_or(|rest| rest.as_micros() <= LONGEST_US as u128 + 1), "{rest:?}");
            }
        }
        (rests, turns)
    }

    #[test]
    fn many_connections_in_quick_succession_are_gathered() {
        let (rests, turns) = asked(50, 10, 1);
        assert!(rests >= turns * 9 / 10, "{rests} of {turns}");
    }

    #[test]
    fn nobody_is_kept_waiting_for_nothing() {
        assert_eq!(asked(1, 10, 1).0, 0, "a single client");
        assert_eq!(asked(10, 10, 1).0, 0, "a few");
        assert_eq!(asked(50, 200, 1).0, 0, "many that come slowly");
        assert_eq!(asked(200, 10, 20).0, 0, "many that come in groups by themselves");
    }

    #[test]
    fn a_pause_is_no_gap_between_requests() {
        let mut gathering = Gathering::default();
        for turn in 0..1000 {
            gathering.begin_turn();
            gathering.hear(turn / 100, 0);
            gathering.end_reading(1_000_000 + turn * 10);
        }
        let before = gathering.gap_us;
        gathering.begin_turn();
        gathering.end_reading(50_000_000);
        assert!((gathering.gap_us - before).abs() < f32::EPSILON, "a turn without requests tells nothing");
        gathering.begin_turn();
        gathering.hear(50_000, 0);
        gathering.end_reading(50_000_000);
        assert!(gathering.gap_us <= before + GAP_MAX_US * WEIGHT, "{}", gathering.gap_us);
    }
}
