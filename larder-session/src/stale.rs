//! Sessions as this program last saw them, for the time of an outage.
//!
//! Two maps take turns: new ones go into the young one, and when that is full it becomes the old one, whose contents are
//! dropped. So memory is bounded, and what was seen lately is there.

use crate::record::Record;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Sessions in each of the two maps, at most.
const SESSIONS_MAX: usize = 10_000;

/// What was seen. Does nothing unless it is switched on.
pub(crate) struct Seen {
    maps: Option<Mutex<Maps>>,
}

#[derive(Default)]
struct Maps {
    young: HashMap<String, (Record, Instant)>,
    old: HashMap<String, (Record, Instant)>,
}

impl Seen {
    pub(crate) fn new(is_on: bool) -> Seen {
        Seen { maps: is_on.then(Mutex::default) }
    }

    pub(crate) fn note(&self, id: &str, record: &Record) {
        let Some(maps) = &self.maps else { return };
        let mut maps = maps.lock();
        if maps.young.len() >= SESSIONS_MAX {
            maps.old = std::mem::take(&mut maps.young);
        }
        maps.young.insert(id.to_owned(), (record.clone(), Instant::now()));
    }

    pub(crate) fn forget(&self, id: &str) {
        let Some(maps) = &self.maps else { return };
        let mut maps = maps.lock();
        maps.young.remove(id);
        maps.old.remove(id);
    }

    /// The record of an id, if it was seen not longer ago than this.
    pub(crate) fn recall(&self, id: &str, stale: Duration) -> Option<Record> {
        let maps = self.maps.as_ref()?.lock();
        let (record, at) = maps.young.get(id).or_else(|| maps.old.get(id))?;
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
    }
}
