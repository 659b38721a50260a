//! Loading while others look on: they are told that the data are not there yet, and how far it is.
//!
//! As long as there is a [`LoadMark`] commands that need the data answer `-LOADING`; which do not, their declarations
//! say ([`Trait::Loading`](crate::command::Trait::Loading)). Nothing expires meanwhile and nothing is evicted: what is
//! not all there must not change by itself, and the commands of an append-only file run at a time of their own.

use crate::engine::Engine;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far loading is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    began_s: AtomicU64,
    /// Bytes of all files.
    total: AtomicU64,
    /// Bytes of the files that were read before the present one.
    before: AtomicU64,
    loaded: AtomicU64,
    /// Memory that the server which wrote the snapshot used for its data, as the file says.
    used_memory: AtomicU64,
}

/// How far loading is, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// When it began, Unix seconds.
    pub began_s: u64,
    /// Bytes of all files that are loaded.
    pub total: u64,
    /// Bytes loaded so far.
    pub loaded: u64,
    /// Memory that the server which wrote the snapshot used; 0 if no file says so.
    pub used_memory: u64,
}

impl LoadProgress {
    /// The share that is loaded, in percent.
    pub fn percent(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.loaded as f64 / self.total as f64 * 100.0 }
    }

    /// Seconds until all is loaded if it goes on as it went up to `now_s`; 1 before anything is known.
    pub fn seconds_left(&self, now_s: u64) -> u64 {
        match now_s.saturating_sub(self.began_s) {
            0 => 1,
            elapsed => elapsed.saturating_mul(self.total.saturating_sub(self.loaded)) / (self.loaded + 1),
        }
    }
}

impl Progress {
    /// Files of so many bytes are about to be read.
    pub(super) fn expect(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        self.before.store(0, Ordering::Relaxed);
        self.loaded.store(0, Ordering::Relaxed);
        self.used_memory.store(0, Ordering::Relaxed);
    }

    /// So many bytes of the present file are read.
    #[inline]
    pub(super) fn note(&self, offset: u64) {
        self.loaded.store(self.before.load(Ordering::Relaxed) + offset, Ordering::Relaxed);
    }

    /// The present file is read to its end, at `before` of all bytes.
    pub(super) fn end_file(&self, before: u64) {
        self.before.store(before, Ordering::Relaxed);
        self.note(0);
    }

    /// A snapshot says how much memory its data took.
    pub(super) fn note_memory(&self, text: &[u8]) {
        let bytes = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        self.used_memory.store(bytes.unwrap_or(0), Ordering::Relaxed);
    }
}

/// While this is there the data count as not loaded yet; see the module's text.
pub struct LoadMark {
    engine: Arc<Engine>,
    /// Whether there was one already, which then is the one that counts.
    is_inner: bool,
}

impl Engine {
    /// From now on, as long as the mark is kept, commands that need the data are refused.
    pub fn begin_loading(self: &Arc<Self>) -> LoadMark {
        let is_inner = self.pause.set_loading(true);
        if !is_inner {
            self.progress.began_s.store(self.clock.unix_us() / 1_000_000, Ordering::Relaxed);
            self.progress.expect(0);
        }
        LoadMark { engine: Arc::clone(self), is_inner }
    }

    /// Whether the data are still being loaded.
    #[inline]
    pub fn is_loading(&self) -> bool {
        self.pause.is_loading()
    }

    /// How far loading is.
    pub fn load_progress(&self) -> LoadProgress {
        let get = |field: &AtomicU64| field.load(Ordering::Relaxed);
        let Progress { began_s, total, loaded, used_memory, .. } = &self.progress;
        LoadProgress {
            began_s: get(began_s),
            total: get(total),
            loaded: get(loaded),
            used_memory: get(used_memory),
        }
    }

    /// Rests after the `nth` key or command, as `key-load-delay` says.
    #[inline]
    pub(super) fn delay_load(&self, nth: u64) {
        let delay = self.config.key_load_delay.load(Ordering::Relaxed);
        if delay != 0 && (delay > 0 || nth.is_multiple_of(delay.unsigned_abs())) {
            std::thread::sleep(Duration::from_micros(delay.max(1).unsigned_abs()));
        }
    }
}

impl Drop for LoadMark {
    fn drop(&mut self) {
        if !self.is_inner {
            self.engine.pause.set_loading(false);
        }
    }
}
