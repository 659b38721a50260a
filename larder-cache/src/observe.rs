//! Where a cache tells what happens in it.
//!
//! Whatever is worth counting or telling is an [`Event`], and [`Observer::tell`] is the one place that knows who wants to
//! hear of it: [`Stats`](crate::Stats), the recorder of `metrics`, the subscriber of `tracing`. Hits are the exception, as
//! they are the path that has to cost nothing: [`Observer::served`] is one addition, and for one hit of 16 the age of the
//! value. Which ones is decided by the count itself, multiplied by a number that has no pattern: by turns (each 16th)
//! a program that reads 16 entries over and over would be seen reading one.

use crate::entry::Kept;
use crate::error::Error;
use crate::stats::{Counters, Stats};
use std::fmt;
use std::time::{Duration, Instant};

/// Something that happens in a cache, other than a hit.
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "counts do not ask which key it was"))]
pub(crate) enum Event<'a> {
    /// A read found nothing fresh.
    Missed,
    /// A read waits for a load that another one has begun.
    Joined,
    /// A load is begun before the end of its entry.
    Refreshing,
    /// A load of somebody else is given up, and begun anew.
    TakenOver { key: &'a [u8] },
    /// A loader is called for so many keys, of which this is the first.
    LoadStarted { key: &'a [u8], keys: usize },
    /// It has returned something.
    LoadEnded { key: &'a [u8], took: Duration },
    /// It has not.
    LoadFailed { key: &'a [u8], how: Failure, error: &'a dyn fmt::Display },
    /// A caller has waited as long as it may.
    WaitedTooLong,
    /// What was loaded is not stored, since something has changed.
    Refused { key: &'a [u8] },
    /// What the backend has cannot be decoded.
    Undecodable { key: &'a [u8], why: &'a str },
    /// A value cannot be stored.
    Unstorable { key: &'a [u8] },
    /// A step at the backend has failed.
    BackendFailed { error: &'a Error },
    /// Something is invalidated by this process.
    Invalidated,
    /// An invalidation by another process has had its effect here.
    Heard { at_ms: u64 },
    /// The connection of the feed is lost.
    ChannelLost { why: &'a str },
    /// It is back.
    ChannelBack,
    /// A message of the feed is not the next one: what is missing is asked for.
    Gap { partition: usize },
    /// What was missed is not known any more, and the near cache is emptied.
    NearFlushed,
    /// An invalidation has failed at the backend.
    RemovalOwed,
}

/// How a load has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Source,
    Panic,
    Timeout,
    /// It could not be begun, or stored.
    Other,
}

/// Who answered a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    Near,
    Backend,
    Stale,
}

/// Who hears what happens in a cache.
pub(crate) struct Observer {
    counters: Counters,
    /// The namespace.
    #[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "counts have it from the beginning"))]
    name: Box<str>,
}

impl Observer {
    pub(crate) fn new(namespace: &str) -> Observer {
        Observer { counters: Counters::new(namespace), name: namespace.into() }
    }

    pub(crate) fn read(&self) -> Stats {
        self.counters.read()
    }

    /// A read was answered with what was kept.
    pub(crate) fn served<V>(&self, by: Served, kept: &Kept<V>) {
        let counter = match by {
            Served::Near => &self.counters.near_hits,
            Served::Backend => &self.counters.backend_hits,
            Served::Stale => &self.counters.stale_hits,
        };
        if is_looked_at(counter.next()) {
            self.counters.age_at_serve.add(kept.age(Instant::now()));
        }
    }

    pub(crate) fn tell(&self, event: Event<'_>) {
        let counters = &self.counters;
        match &event {
            Event::Missed => counters.misses.add(),
            Event::Joined => counters.joined.add(),
            Event::Refreshing => counters.refreshes.add(),
            Event::TakenOver { .. } => counters.taken_over.add(),
            Event::LoadStarted { .. } => counters.loads.add(),
            Event::LoadEnded { took, .. } => counters.load_time.add(*took),
            Event::LoadFailed { how, .. } => match how {
                Failure::Source => counters.load_errors.add(),
                Failure::Panic => counters.panics.add(),
                Failure::Timeout => counters.timeouts.add(),
                Failure::Other => {}
            },
            Event::WaitedTooLong => counters.timeouts.add(),
            Event::Refused { .. } => counters.refused.add(),
            Event::Undecodable { .. } => counters.undecodable.add(),
            Event::Unstorable { .. } => counters.unstorable.add(),
            Event::BackendFailed { .. } => counters.backend_errors.add(),
            Event::Invalidated => counters.invalidations.add(),
            Event::Heard { at_ms } => {
                counters.changes_heard.add();
                counters.invalidation_lag.add(crate::lag::since(*at_ms));
            }
            Event::NearFlushed => counters.near_flushes.add(),
            Event::RemovalOwed => counters.removals_owed.add(),
            Event::ChannelLost { .. } | Event::ChannelBack | Event::Gap { .. } => {}
        }
        #[cfg(feature = "tracing")]
        self.trace(&event);
    }

    /// What is good to know when one looks for an error is told at `debug`, what somebody should look at at `warn`.
    #[cfg(feature = "tracing")]
    fn trace(&self, event: &Event<'_>) {
        use tracing::{debug, warn};
        let cache = &*self.name;
        macro_rules! say {
            ($level:ident, $text:literal $(, $($fields:tt)+)?) => {
                $level!(target: "larder_cache", cache $(, $($fields)+)?, $text)
            };
        }
        match event {
            Event::LoadStarted { key, keys } => say!(debug, "load started", key = %Text(key), keys = keys),
            Event::LoadEnded { key, took } => say!(debug, "load ended", key = %Text(key), took = ?took),
            Event::LoadFailed { key, how, error } => {
                say!(debug, "load failed", key = %Text(key), how = ?how, error = %error);
            }
            Event::TakenOver { key } => say!(debug, "load taken over", key = %Text(key)),
            Event::Refused { key } => say!(debug, "loaded value refused", key = %Text(key)),
            Event::Undecodable { key, why } => say!(warn, "undecodable entry", key = %Text(key), why = why),
            Event::Unstorable { key } => say!(warn, "value cannot be stored", key = %Text(key)),
            Event::BackendFailed { error } => say!(debug, "backend failed", error = %error),
            Event::ChannelLost { why } => say!(warn, "change feed lost", why = why),
            Event::ChannelBack => say!(warn, "change feed back"),
            Event::Gap { partition } => say!(warn, "gap in the change feed", partition = partition),
            Event::NearFlushed => say!(warn, "near cache emptied"),
            Event::RemovalOwed => say!(warn, "invalidation failed, to be tried again"),
            Event::Missed
            | Event::Joined
            | Event::Refreshing
            | Event::WaitedTooLong
            | Event::Invalidated
            | Event::Heard { .. } => {}
        }
    }
}

/// One of 16, the first one included.
fn is_looked_at(count: u64) -> bool {
    // The golden ratio: products with consecutive numbers are spread evenly, and so are those with every n-th number.
    count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60 == 0
}

/// A key as text, whatever is in it.
#[cfg(feature = "tracing")]
struct Text<'a>(&'a [u8]);

#[cfg(feature = "tracing")]
impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hit_of_sixteen_is_looked_at_in_whatever_turns_entries_are_read() {
        assert!(is_looked_at(0));
        for turns in [1, 2, 3, 7, 16, 17, 100] {
            for first in 0..turns {
                let looked = (0..16_000).filter(|n| is_looked_at(first + n * turns)).count();
                assert!((500..1500).contains(&looked), "{looked} of 16,000, each {turns}th");
            }
        }
    }
}
