//! A shard: its part of every database, and what else its lock guards.

use super::buried::Buried;
use super::watch::Watchers;
use crate::types::Body;
use larder_structures::entry::Entry;
use larder_structures::sync::Pinned;
use larder_structures::table::Table;

/// An entry of the keyspace.
pub(crate) type StoredEntry = Entry<Pinned<Body>>;

/// One shard's part of one database.
#[derive(Default)]
pub(crate) struct Db {
    /// Its keys.
    pub(crate) keys: Table<StoredEntry>,
    /// Where the sweep for expired keys goes on.
    pub(crate) sweep_at: usize,
    /// Slots of its table when the sweep was there last.
    pub(crate) swept_capacity: usize,
    /// Bytes of its entries and values.
    memory: i64,
}

impl Db {
    /// Bytes of its entries and values.
    pub(crate) fn memory(&self) -> i64 {
        self.memory
    }
}

/// Where a change of memory is written down: the database it happens in, and what the engine's sum does not know yet.
pub(crate) struct Ledger<'s> {
    /// Bytes of the database's entries and values.
    pub(crate) db: &'s mut i64,
    /// Bytes of the shard that the engine's sum does not know yet.
    pub(crate) unreported: &'s mut i64,
}

/// A shard. Databases are addressed by their physical number, which SWAPDB exchanges.
#[repr(C)]
pub(crate) struct Shard {
    /// The latest time any command has seen here. Time never goes back, so an expired key never comes back.
    pub(crate) now_ms: u64,
    /// Position in the log of the last write.
    pub(crate) last_write: u64,
    /// Database 0, which nearly everything uses.
    first: Db,
    /// The others, each made when it is first written to.
    others: Vec<Option<Box<Db>>>,
    /// Keys that some connection watches.
    pub(crate) watchers: Watchers,
    /// Bytes of entries and values that the engine's sum does not know yet.
    pub(crate) unreported: i64,
    /// Bytes of its tables that the engine's sum knows.
    pub(crate) reported_tables: i64,
    /// Keys that were deleted lately, once there are any that the session guard is to remember.
    pub(super) buried: Option<Box<Buried>>,
    grow_at_percent: u8,
}

impl Shard {
    /// Shard `index` of `count`. Tables of different shards double at different loads.
    pub(crate) fn new(index: usize, count: usize) -> Shard {
        let grow_at_percent = Table::<StoredEntry>::spread_load(index, count);
        Shard {
            first: Db { keys: Table::with_load(grow_at_percent), ..Db::default() },
            others: Vec::new(),
            watchers: Watchers::default(),
            now_ms: 0,
            unreported: 0,
            reported_tables: 0,
            last_write: 0,
            buried: None,
            grow_at_percent,
        }
    }

    /// A database, if anything was ever written to it.
    #[inline]
    pub(crate) fn db(&self, physical: usize) -> Option<&Db> {
        if physical == 0 { Some(&self.first) } else { self.others.get(physical - 1)?.as_deref() }
    }

    /// A database that exists.
    #[inline]
    pub(crate) fn db_if_any(&mut self, physical: usize) -> Option<&mut Db> {
        if physical == 0 { Some(&mut self.first) } else { self.others.get_mut(physical - 1)?.as_deref_mut() }
    }

    #[inline(always)]
    fn db_and_rest(&mut self, physical: usize) -> (&mut Db, &mut Watchers, &mut i64) {
        let db = match physical {
            0 => &mut self.first,
            _ => Self::other(&mut self.others, physical, self.grow_at_percent),
        };
        (db, &mut self.watchers, &mut self.unreported)
    }

    #[cold]
    fn other(others: &mut Vec<Option<Box<Db>>>, physical: usize, percent: u8) -> &mut Db {
        if others.len() < physical {
            others.resize_with(physical, || None);
        }
        others[physical - 1]
            .get_or_insert_with(|| Box::new(Db { keys: Table::with_load(percent), ..Db::default() }))
    }

    /// The keys of a database, made if need be, and what guards need beside them.
    #[inline]
    pub(crate) fn parts(&mut self, physical: usize) -> (&mut Table<StoredEntry>, &mut Watchers, Ledger<'_>) {
        let (db, watchers, unreported) = self.db_and_rest(physical);
        (&mut db.keys, watchers, Ledger { db: &mut db.memory, unreported })
    }

    /// Takes a database away whole, with the bytes of its entries and values, leaving it empty. Freeing it is for
    /// whoever gets it, outside the lock.
    pub(crate) fn detach(&mut self, physical: usize) -> (Table<StoredEntry>, i64) {
        let percent = self.grow_at_percent;
        let Some(db) = self.db_if_any(physical) else { return (Table::new(), 0) };
        db.sweep_at = 0;
        let fresh = Table::with_load(percent);
        (std::mem::replace(&mut db.keys, fresh), std::mem::take(&mut db.memory))
    }

    /// Bytes of its tables.
    pub(crate) fn table_bytes(&self) -> usize {
        self.existing().filter_map(|physical| self.db(physical)).map(|db| db.keys.memory()).sum()
    }

    /// The physical numbers of the databases that exist here.
    pub(crate) fn existing(&self) -> impl Iterator<Item = usize> + '_ {
        let others = self.others.iter().enumerate().filter(|(_, db)| db.is_some());
        std::iter::once(0).chain(others.map(|(index, _)| index + 1))
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::{Engine, Options};
    use crate::keyspace::Found;
    use crate::{Larder, SetOptions, Ttl};
    use std::time::Duration;

    /// The bytes a database is said to take, and those that a walk over it finds.
    fn said_and_found(engine: &Engine, db: usize) -> (i64, i64) {
        let hold = engine.shards.all();
        let physical = engine.physical(db);
        let mut sums = (0, 0);
        for db in (0..engine.shard_count()).filter_map(|index| hold.shard(index).db(physical)) {
            sums.0 += db.memory;
            sums.1 += db.keys.iter().map(|entry| Found::new(entry).memory() as i64).sum::<i64>();
        }
        sums
    }

    #[test]
    fn the_room_that_a_copy_of_a_shared_string_loses_is_accounted() {
        let engine = Engine::open(Options::default());
        let larder = Larder::on(std::sync::Arc::clone(&engine));
        let text = "x".repeat(20_000);
        for command in [["SET", "log", &text], ["APPEND", "log", "and room for more"]] {
            larder.execute(&command);
        }
        let reader = {
            let hold = engine.shards.all();
            let mut shards =
                (0..engine.shard_count()).filter_map(|index| hold.shard(index).db(engine.physical(0)));
            let bytes = shards.find_map(|db| Found::new(db.keys.iter().next()?).attachable().cloned());
            bytes.expect("the key is there")
        };
        larder.execute(&["APPEND", "log", "!"]);
        let (said, found) = said_and_found(&engine, 0);
        assert_eq!(said, found);
        assert_eq!(reader.len(), text.len() + 17, "the reader has what it had");
    }

    #[test]
    fn memory_is_the_sum_of_all_entries() {
        let engine = Engine::open(Options { seed: 3, ..Options::default() });
        let larder = Larder::on(std::sync::Arc::clone(&engine));
        for round in 0..20_000u32 {
            let random = engine.random();
            let key = format!("key:{}", random % 50);
            let other = format!("key:{}", random >> 8 & 31);
            let value = "v".repeat((random >> 16 & 2047) as usize);
            let _any_reply = match random >> 32 & 15 {
                0 => larder.execute(&["APPEND", &key, &value]),
                1 => larder.execute(&["SETRANGE", &key, "700", &value]),
                2 => larder.execute(&["INCRBYFLOAT", &key, "0.5"]),
                3 => larder.execute(&["RENAME", &key, &other]),
                4 => larder.execute(&["COPY", &key, &other, "REPLACE"]),
                5 => larder.execute(&["COPY", &key, &other, "DB", "1", "REPLACE"]),
                6 => larder.execute(&["MOVE", &key, "1"]),
                7 => larder.execute(&["PEXPIRE", &key, "5"]),
                8 => larder.execute(&["PERSIST", &key]),
                9 => larder.execute(&["HSET", &key, &other, &value]),
                10 => larder.execute(&["SADD", &key, &other, &value]),
                11 => larder.execute(&["DEL", &key, &other]),
                12 if round % 50 == 0 => larder.execute(&["SWAPDB", "0", "1"]),
                13 if round % 500 == 0 => larder.execute(&["FLUSHDB"]),
                14 => larder.execute(&["SCAN", "0", "COUNT", "100"]),
                _ => {
                    let ttl = Ttl::In(Duration::from_millis(random % 40 + 1));
                    let _short_lived = larder.set_with(&key, &value, SetOptions::new().ttl(ttl));
                    continue;
                }
            };
            if round % 100 == 0 {
                for db in 0..2 {
                    let (said, found) = said_and_found(&engine, db);
                    assert_eq!(said, found, "database {db}, round {round}");
                }
            }
        }
        larder.execute(&["FLUSHALL"]);
        assert_eq!((said_and_found(&engine, 0), said_and_found(&engine, 1)), ((0, 0), (0, 0)));
    }
}
