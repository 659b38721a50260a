//! What a cache has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident)*) => {
        /// What a cache, on this handle and its clones, has done since it was made.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)*
        }

        #[derive(Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats { $($name: self.$name.0.load(Ordering::Relaxed),)* }
            }
        }
    };
}

stats! {
    /// Reads answered by the near cache.
    near_hits
    /// Reads answered by a fresh entry of the backend.
    backend_hits
    /// Reads answered with a stale value.
    stale_hits
    /// Reads that found nothing fresh.
    misses
    /// Reads that waited for a load which another one had begun in this process.
    joined
    /// Times a loader was called.
    loads
    /// Loads in the background, before the end of an entry's life.
    refreshes
    /// Loads that ended with the loader's own error.
    load_errors
    /// Loaders that panicked.
    panics
    /// Callers that waited as long as they may, and loads that took too long.
    timeouts
    /// Loaded values that were not stored because something they depend on had changed, or their time was over.
    refused
    /// Entries of the backend that could not be decoded, and counted as absent.
    undecodable
    /// Values that could not be encoded, or were too long to be stored.
    unstorable
    /// Steps at the backend that failed or took too long.
    backend_errors
    /// Invalidations that came over the change feed from others.
    changes_heard
    /// Times when the feed had a gap that could not be filled, so that the near cache was emptied.
    near_flushes
    /// Invalidations that failed at the backend, and were tried again until they succeeded.
    removals_owed
}

/// A count.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
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
