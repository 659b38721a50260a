//! What a cache has done so far: counts, and how durations are spread.
//!
//! Each count and each histogram is one row here. From the row follow the field of [`Stats`], the cell that is counted
//! in, and, with the feature `metrics`, the name, labels and description under which a recorder gets it. Who has
//! something to count goes by the [`Observer`](crate::observe::Observer).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! stats {
    (
        counts: $($(#[doc = $doc:literal])+ $name:ident = $metric:literal $([$label:literal = $is:literal])?)*
        ; histograms: $($(#[doc = $spread_doc:literal])+ $spread:ident = $spread_metric:literal)*
    ) => {
        /// What a cache, on this handle and its clones, has done since it was made.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)*
            $($(#[doc = $spread_doc])+ pub $spread: Histogram,)*
        }

        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
            $(pub(crate) $spread: Spread,)*
        }

        impl Counters {
            /// `namespace` is what the metrics are told apart by.
            pub(crate) fn new(namespace: &str) -> Counters {
                let _ = namespace;
                Counters {
                    $($name: Counter {
                        count: AtomicU64::new(0),
                        #[cfg(feature = "metrics")]
                        meter: crate::meters::counter(
                            $metric, concat!($($doc),+), namespace, &[$(($label, $is))?],
                        ),
                    },)*
                    $($spread: Spread {
                        buckets: std::array::from_fn(|_| AtomicU64::new(0)),
                        #[cfg(feature = "metrics")]
                        meter: crate::meters::histogram($spread_metric, concat!($($spread_doc),+), namespace),
                    },)*
                }
            }

            pub(crate) fn read(&self) -> Stats {
                Stats {
                    $($name: self.$name.count.load(Ordering::Relaxed),)*
                    $($spread: self.$spread.read(),)*
                }
            }
        }
    };
}

stats! {
    counts:
    /// Reads answered by the near cache.
    near_hits = "larder_cache_hits_total" ["tier" = "near"]
    /// Reads answered by a fresh entry of the backend.
    backend_hits = "larder_cache_hits_total" ["tier" = "backend"]
    /// Reads answered with a stale value.
    stale_hits = "larder_cache_stale_served_total"
    /// Reads that found nothing fresh.
    misses = "larder_cache_misses_total"
    /// Reads that waited for a load which another one had begun in this process.
    joined = "larder_cache_joined_total"
    /// Times a loader was called.
    loads = "larder_cache_loads_total"
    /// Loads in the background, before the end of an entry's life.
    refreshes = "larder_cache_refreshes_total"
    /// Loads that ended with the loader's own error.
    load_errors = "larder_cache_load_errors_total" ["kind" = "source"]
    /// Loaders that panicked.
    panics = "larder_cache_load_errors_total" ["kind" = "panic"]
    /// Callers that waited as long as they may, and loads that took too long.
    timeouts = "larder_cache_load_errors_total" ["kind" = "timeout"]
    /// Loads that another one had begun, here or in another process, and that brought nothing in time, so that they were
    /// begun anew.
    taken_over = "larder_cache_taken_over_total"
    /// Loaded values that were not stored because something they depend on had changed, or their time was over.
    refused = "larder_cache_refused_total"
    /// Entries of the backend that could not be decoded, and counted as absent.
    undecodable = "larder_cache_undecodable_total"
    /// Values that could not be encoded, or were too long to be stored.
    unstorable = "larder_cache_unstorable_total"
    /// Steps at the backend that failed or took too long.
    backend_errors = "larder_cache_backend_errors_total"
    /// Calls of this process that removed or expired an entry, tags, or everything.
    invalidations = "larder_cache_invalidations_total" ["from" = "here"]
    /// Invalidations that came over the change feed from others.
    changes_heard = "larder_cache_invalidations_total" ["from" = "feed"]
    /// Times when the feed had a gap that could not be filled, so that the near cache was emptied.
    near_flushes = "larder_cache_near_flushes_total"
    /// Invalidations that failed at the backend, and were tried again until they succeeded.
    removals_owed = "larder_cache_removals_owed_total"
    ; histograms:
    /// How old values were when they were read from the near cache or the backend, fresh or stale: one read of 16, on
    /// average, is looked at. The age is what [`Entry::age`](crate::Entry::age) says.
    age_at_serve = "larder_cache_age_at_serve_seconds"
    /// How long loaders took that returned something.
    load_time = "larder_cache_load_seconds"
    /// How long it took an invalidation by another process to reach this near cache, over the feed or as the answer to
    /// what was missed: from the time that the backend noted with it, in whole milliseconds by the backend's clock, until
    /// it had its effect here, by the clock of this machine. So it is as right as the two clocks agree; below zero it
    /// counts as zero.
    invalidation_lag = "larder_cache_invalidation_lag_seconds"
}

/// A count.
pub(crate) struct Counter {
    count: AtomicU64,
    #[cfg(feature = "metrics")]
    meter: metrics::Counter,
}

impl Counter {
    pub(crate) fn add(&self) {
        self.next();
    }

    /// Counts, and returns how many there were before.
    pub(crate) fn next(&self) -> u64 {
        #[cfg(feature = "metrics")]
        self.meter.increment(1);
        self.count.fetch_add(1, Ordering::Relaxed)
    }
}

/// Doublings from one microsecond to some hundred days.
const BUCKETS: usize = 44;

/// A histogram that is being added to.
pub(crate) struct Spread {
    buckets: [AtomicU64; BUCKETS],
    #[cfg(feature = "metrics")]
    meter: metrics::Histogram,
}

impl Spread {
    pub(crate) fn add(&self, duration: Duration) {
        #[cfg(feature = "metrics")]
        self.meter.record(duration);
        self.buckets[bucket(duration)].fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> Histogram {
        Histogram { buckets: std::array::from_fn(|n| self.buckets[n].load(Ordering::Relaxed)) }
    }
}

/// The first bucket whose bound is at least this.
fn bucket(duration: Duration) -> usize {
    let micros = u64::try_from(duration.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
    // 0 and 1 are in the first, 2 in the second, 3 and 4 in the third.
    let doublings = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (doublings as usize).min(BUCKETS - 1)
}

/// How durations are spread: counts in buckets, each of which ends at twice the duration of the one before. What it
/// says of a duration is right to a factor of two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [0; BUCKETS] }
    }
}

impl Histogram {
    /// How many durations it has counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The buckets in ascending order: up to which duration, and how many durations that are longer than the bound of
    /// the bucket before. The last one has all that are longer than any bound, too.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.buckets.iter().enumerate().map(|(n, count)| (Duration::from_micros(1 << n), *count))
    }

    /// A duration that this part of them (0.5 for half) do not exceed, the bound of a bucket; `None` if none was counted.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * part.clamp(0.0, 1.0)).ceil().max(1.0);
        let mut sum = 0;
        self.buckets().find_map(|(bound, count)| {
            sum += count;
            (sum as f64 >= wanted).then_some(bound)
        })
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Histogram");
        text.field("count", &self.count());
        for (name, part) in [("half", 0.5), ("most", 0.99), ("all", 1.0)] {
            if let Some(bound) = self.quantile(part) {
                text.field(name, &bound);
            }
        }
        text.finish()
    }
}

impl Stats {
    /// The part of reads that found something fresh, from 0 to 1; 0 if there were none.
    pub fn hit_ratio(&self) -> f64 {
        let hits = self.near_hits + self.backend_hits;
        let all = hits + self.stale_hits + self.misses;
        if all == 0 { 0.0 } else { hits as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let spread = Counters::new("test").load_time;
        assert_eq!(spread.read().quantile(0.5), None);
        for micros in [0, 1, 2, 3, 4, 5, 1000, 1 << 43] {
            let duration = Duration::from_micros(micros);
            let bound = Duration::from_micros(1 << bucket(duration));
            assert!(duration <= bound, "{duration:?} {bound:?}");
            assert!(micros < 2 || duration > bound / 2, "{duration:?} {bound:?}");
            spread.add(duration);
        }
        assert_eq!(bucket(Duration::from_nanos(1001)), 1);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
        let read = spread.read();
        assert_eq!(read.count(), 8);
        let bound = |part| read.quantile(part).map(|bound| bound.as_micros());
        assert_eq!((bound(0.0), bound(0.25), bound(0.5)), (Some(1), Some(1), Some(4)));
        assert_eq!(bound(1.0), Some(1 << 43));
    }
}
