//! Sessions as this program last saw them, for the time of an outage.
//!
//! They go by their handles, which stay the same when an id is exchanged; whether an id opens one, its record says. Two
//! maps take turns: new ones go into the young one, and when that is full it becomes the old one, whose contents are
//! dropped. So memory is bounded, in sessions and in bytes, and what was seen lately is there.

use crate::record::Record;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Sessions in each of the two maps, at most.
const SESSIONS_MAX: usize = 10_000;

/// Bytes of records in each of the two maps, at most, but for the last one.
const BYTES_MAX: usize = 16 << 20;

/// What was seen. Does nothing unless it is switched on.
pub(crate) struct Seen {
    maps: Option<Mutex<Maps>>,
}

#[derive(Default)]
struct Maps {
    young: HashMap<String, (Record, Instant)>,
    /// Bytes that went into the young one.
    young_bytes: usize,
    old: HashMap<String, (Record, Instant)>,
}

impl Seen {
    pub(crate) fn new(is_on: bool) -> Seen {
        Seen { maps: is_on.then(Mutex::default) }
    }

    pub(crate) fn note(&self, handle: &str, record: &Record) {
        let Some(maps) = &self.maps else { return };
        let mut maps = maps.lock();
        if maps.young.len() >= SESSIONS_MAX || maps.young_bytes >= BYTES_MAX {
            maps.old = std::mem::take(&mut maps.young);
            maps.young_bytes = 0;
        }
        let bytes = record.text().len();
        let before = maps.young.insert(handle.to_owned(), (record.clone(), Instant::now()));
        maps.young_bytes += bytes;
        maps.young_bytes -= before.map_or(0, |(record, _)| record.text().len());
    }

    pub(crate) fn forget(&self, handle: &str) {
        let Some(maps) = &self.maps else { return };
        let mut maps = maps.lock();
        if let Some((record, _)) = maps.young.remove(handle) {
            maps.young_bytes -= record.text().len();
        }
        maps.old.remove(handle);
    }

    /// The record of a session, if it was seen not longer ago than this.
    pub(crate) fn recall(&self, handle: &str, stale: Duration) -> Option<Record> {
        let maps = self.maps.as_ref()?.lock();
        let (record, at) = maps.young.get(handle).or_else(|| maps.old.get(handle))?;
        (at.elapsed() <= stale).then(|| record.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_the_latest_stay() {
        let seen = Seen::new(true);
        let record = Record::parse(b"{}".to_vec()).expect("JSON");
        for n in 0..3 * SESSIONS_MAX {
            seen.note(&n.to_string(), &record);
        }
        let day = Duration::from_secs(86_400);
        assert!(seen.recall("0", day).is_none());
        assert!(seen.recall(&(3 * SESSIONS_MAX - 1).to_string(), day).is_some());
        assert!(seen.recall(&(2 * SESSIONS_MAX).to_string(), day).is_some());
        assert!(seen.recall(&(2 * SESSIONS_MAX).to_string(), Duration::ZERO).is_none());
        seen.forget(&(2 * SESSIONS_MAX).to_string());
        assert!(seen.recall(&(2 * SESSIONS_MAX).to_string(), day).is_none());
        Seen::new(false).note("a", &record);
        // Large ones are fewer.
        let seen = Seen::new(true);
        let large = Record::parse(format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20)).into()).expect("JSON");
        for n in 0..100 {
            seen.note(&n.to_string(), &large);
            seen.note("same", &large);
        }
        let kept = (0..100).filter(|n| seen.recall(&n.to_string(), day).is_some()).count();
        assert!((10..=34).contains(&kept), "{kept}");
        seen.forget("same");
        assert!(seen.recall("same", day).is_none());
    }
}
