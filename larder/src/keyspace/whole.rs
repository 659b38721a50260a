//! Whole databases and whole shards: what commands do that name no keys.

use super::view::Found;
use super::write::WriteCtx;
use crate::effects::{Cause, Event, Garbage, Waste};
use crate::types::Type;
use larder_structures::hash;
use larder_structures::table::Scan;

impl WriteCtx<'_, '_> {
    /// Calls `visit` with every key of the database that is not expired. The gate is held.
    pub(crate) fn each_key(&self, mut visit: impl FnMut(&[u8])) {
        for index in 0..self.engine.shard_count() {
            let Some(db) = self.hold.shard(index).db(self.physical) else { continue };
            for entry in db.keys.iter() {
                if entry.expires_at_ms().is_none_or(|at_ms| at_ms > self.now_ms) {
                    visit(entry.key());
                }
            }
        }
    }

    /// One step of a walk over a shard's part of the database; returns the table's next cursor, 0 at the end. Keys
    /// that are expired are not visited but deleted.
    pub(crate) fn scan_shard(
        &mut self,
        index: usize,
        cursor: Scan,
        mut visit: impl FnMut(&[u8], Type),
    ) -> Scan {
        let Some(db) = self.hold.shard(index).db(self.physical) else { return 0 };
        let mut expired: Vec<Box<[u8]>> = Vec::new();
        let next = db.keys.scan(cursor, |entry| {
            if entry.expires_at_ms().is_some_and(|at_ms| at_ms <= self.now_ms) {
                expired.push(entry.key().into());
            } else {
                visit(entry.key(), Found::new(entry).kind());
            }
        });
        for key in expired {
            self.delete(&key, Event::EXPIRED);
        }
        next
    }

    /// A random key of a shard's part of the database. `None` if there is none, or the chosen one was expired and has
    /// been deleted.
    pub(crate) fn random_key(&mut self, index: usize) -> Option<Box<[u8]>> {
        let random = self.random();
        let entry = self.hold.shard(index).db(self.physical)?.keys.sample(random)?;
        let key: Box<[u8]> = entry.key().into();
        self.expire_if_due(hash::of(&key), &key);
        self.exists_unseen(&key).then_some(key)
    }

    fn exists_unseen(&self, key: &[u8]) -> bool {
        let hash = hash::of(key);
        let shard = self.hold.shard(hash::shard(hash, self.engine.shard_count()));
        shard.db(self.physical).is_some_and(|db| db.keys.get_hashed(hash, key).is_some())
    }

    /// Deletes all keys of a database; they are freed when the locks are gone. The gate is held.
    pub(crate) fn flush(&mut self, db: usize, cause: Cause) {
        let physical = self.engine.physical(db);
        let mut tables = Vec::new();
        for index in 0..self.engine.shard_count() {
            let shard = self.hold.shard_mut(index);
            let (table, memory) = shard.detach(physical);
            if table.is_empty() {
                continue;
            }
            shard.watchers.touch_db(db, |key| table.get(key).is_some());
            let (_, _, mut ledger) = shard.parts(physical);
            *ledger.db += memory;
            self.engine.account(&mut ledger, -memory);
            self.effects.dirty += table.len() as u64;
            tables.extend(self.engine.saver.adopt_table(index, physical, table));
        }
        if !tables.is_empty() {
            self.effects.garbage.push(Garbage { waste: Waste::Tables(tables), cause });
        }
    }

    /// Exchanges two databases. The gate is held.
    pub(crate) fn swap(&mut self, one: usize, other: usize) {
        let physical = [self.engine.physical(one), self.engine.physical(other)];
        for index in 0..self.engine.shard_count() {
            let shard = self.hold.shard_mut(index);
            if shard.watchers.is_empty() {
                continue;
            }
            let mut watchers = std::mem::take(&mut shard.watchers);
            let is_there = |key: &[u8]| {
                physical.iter().any(|db| shard.db(*db).is_some_and(|db| db.keys.get(key).is_some()))
            };
            watchers.touch_db(one, is_there);
            watchers.touch_db(other, is_there);
            shard.watchers = watchers;
        }
        self.engine.swap_physical(one, other);
        self.physical = self.engine.physical(self.db);
        self.effects.dirty += 1;
    }
}
