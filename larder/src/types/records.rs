//! The large form of hashes and sets: a table of records that knows what it costs.

use super::draw;
use larder_structures::hash;
use larder_structures::record::{Record, RecordRef};
use larder_structures::table::{Element as _, Iter, Keeper, Kept, Table};
use std::sync::Arc;

/// Buckets that a step of SCAN visits at most per element asked for, when most of them are empty.
const BUCKETS_PER_ELEMENT: usize = 10;

/// A table of records, and the bytes these take.
#[derive(Default)]
pub(super) struct Records {
    table: Table<Record>,
    bytes: usize,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("len", &self.len()).field("bytes", &self.bytes).finish()
    }
}

impl Clone for Records {
    fn clone(&self) -> Self {
        let mut copy = Records::default();
        for record in self.iter() {
            copy.add(Record::new(record.key(), record.value()));
        }
        copy
    }
}

impl Records {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The bytes of the table and of its records, and of this.
    pub(super) fn memory(&self) -> usize {
        size_of::<Records>() + self.table.memory() + self.bytes
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<RecordRef<'_>> {
        self.table.get(key)
    }

    pub(super) fn contains_hashed(&self, hash: u64, key: &[u8]) -> bool {
        self.table.get_hashed(hash, key).is_some()
    }

    /// The table, for who fetches ahead.
    pub(super) fn table(&self) -> &Table<Record> {
        &self.table
    }

    /// Adds a record whose key is absent.
    pub(super) fn add(&mut self, record: Record) {
        self.bytes += record.memory();
        self.table.insert(record);
    }

    /// Sets the value of `key`. Returns whether the key is new.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> bool {
        let hash = hash::of(key);
        let bytes = &mut self.bytes;
        if let Some(mut slot) = self.table.slot(hash, key) {
            slot.modify(|old| {
                *bytes -= old.memory();
                let new = old.with_value(value);
                *bytes += new.memory();
                (new, ())
            });
            return false;
        }
        let record = Record::new(key, value);
        *bytes += record.memory();
        self.table.insert_hashed(hash, record);
        true
    }

    /// Adds `key` without a value. Returns whether it is new.
    pub(super) fn insert(&mut self, key: &[u8]) -> bool {
        let hash = hash::of(key);
        if self.table.get_hashed(hash, key).is_some() {
            return false;
        }
        let record = Record::new(key, b"");
        self.bytes += record.memory();
        self.table.insert_hashed(hash, record);
        true
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let Some(record) = self.table.remove(key) else { return false };
        self.bytes -= record.memory();
        true
    }

    pub(super) fn iter(&self) -> Iter<'_, Record> {
        self.table.iter()
    }

    /// Steps of [`Table::scan`] until some `count` records were visited.
    pub(super) fn scan<'a>(&'a self, cursor: u64, count: usize, mut visit: impl FnMut(RecordRef<'a>)) -> u64 {
        let mut seen = 0;
        let mut next = cursor;
        for _ in 0..count.saturating_mul(BUCKETS_PER_ELEMENT) {
            next = self.table.scan(next, |record| {
                seen += 1;
                visit(record);
            });
            if next == 0 || seen >= count {
                break;
            }
        }
        next
    }

    /// Begins a snapshot of the records as they are now; none may be under way.
    pub(super) fn begin_keeping(&mut self, keeper: Arc<Keeper>) {
        self.table.exchange_colour(Some(keeper));
    }

    /// Who keeps records for the snapshot under way, if there is one.
    pub(super) fn keeper(&self) -> Option<&Arc<Keeper>> {
        self.table.keeper()
    }

    /// One step of that snapshot's walk; see [`Table::scan_old`].
    pub(super) fn keep_some(&mut self, cursor: u64, kept: &mut Kept) -> u64 {
        self.table.scan_old(cursor, |record| {
            Record::keep(record, kept);
            true
        })
    }

    /// Ends it; its walk is through.
    pub(super) fn end_keeping(&mut self) {
        self.table.end_keeping();
    }

    /// A record, each as likely as any other.
    pub(super) fn random(&self, random: &mut impl FnMut() -> u64) -> Option<RecordRef<'_>> {
        self.table.sample_fair(random)
    }

    /// `count` different records, or all there are, any choice as likely as any other.
    pub(super) fn random_distinct<'a>(
        &'a self,
        count: usize,
        random: &mut impl FnMut() -> u64,
        mut visit: impl FnMut(RecordRef<'a>),
    ) {
        if !draw::is_few(count, self.len()) {
            return draw::select(self.iter(), self.len(), count, random, visit);
        }
        let mut drawn = std::collections::HashSet::with_capacity(count);
        while drawn.len() < count {
            // Few of many: hardly any draw is a repetition.
            let Some(record) = self.random(random) else { return };
            if drawn.insert(record.key()) {
                visit(record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        /// What is kept incrementally is what a walk adds up to.
        #[test]
        fn memory_is_exact(changes in vec((0u8..3, 0u16..300, 0usize..40), 0..600)) {
            let mut records = Records::default();
            for (kind, number, len) in changes {
                let key = number.to_string();
                match kind {
                    0 => drop(records.put(key.as_bytes(), &vec![b'v'; len])),
                    1 => drop(records.insert(key.as_bytes())),
                    _ => drop(records.remove(key.as_bytes())),
                }
            }
            for records in [&records, &records.clone()] {
                let bytes: usize = records.iter().map(RecordRef::memory).sum();
                prop_assert_eq!(records.memory(), size_of::<Records>() + records.table.memory() + bytes);
            }
        }
    }
}
