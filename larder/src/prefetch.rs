//! Fetching into the cache what the commands of a pipeline will look up.
//!
//! A lookup among millions of keys misses the cache three times: for the bucket, the entry, and where the value goes on.
//! One after the other that is most of what a GET costs. The keys of commands that were received together are known
//! before the first of them runs, so their misses can overlap: first all buckets are fetched, then all entries, and then
//! the commands run, strictly in order. Nothing is decided here; what a command finds, it finds under its lock.
//!
//! The first round takes no lock at all: where a shard's buckets are is written beside its lock now and then
//! ([`Engine::report`]), and who goes by an old note fetches something useless.
//!
//! A member of a large set, or a field of a large hash, is a second lookup of the same kind, in the table of the
//! collection, which is known once the entry is there: two more rounds, if any command asks for such.

use crate::engine::Engine;
use crate::keyspace::StoredEntry;
use larder_structures::entry::ValueRef;
use larder_structures::hash;
use larder_structures::record::Record;
use larder_structures::table::{Table, prefetch_by_hint};

/// Bytes of data below which nothing is fetched: all of it is in some cache already.
const WORTH_FROM: u64 = 4 * 1024 * 1024;

/// What a command will look up.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    /// The logical database.
    pub(crate) db: usize,
    /// The hash of the key.
    pub(crate) key: u64,
    /// The hash of a member or field of the collection under it.
    pub(crate) member: Option<u64>,
}

impl Engine {
    /// Whether there is so much data that [`Engine::prefetch`] pays.
    #[inline]
    pub fn is_prefetch_worth(&self) -> bool {
        self.data_memory() >= WORTH_FROM
    }

    /// Fetches what lookups will need ([`crate::Plan::lookup`]). Useful for two to about thirty of them; a shard that is
    /// busy is passed over, and so is a key that the lookup before is about.
    pub fn prefetch(&self, lookups: impl Iterator<Item = Lookup> + Clone) {
        for lookup in lookups.clone() {
            self.shards.prefetch(hash::shard(lookup.key, self.shards.len()));
        }
        let mut has_members = false;
        let mut last = None;
        for lookup in lookups.clone() {
            has_members |= lookup.member.is_some();
            if last.replace(lookup.key) != Some(lookup.key) {
                self.prefetch_bucket(lookup);
            }
        }
        last = None;
        for lookup in lookups.clone() {
            if last.replace(lookup.key) != Some(lookup.key) {
                self.with_keys_of(lookup, |keys| keys.prefetch_entry(lookup.key));
            }
        }
        if has_members {
            self.with_members_of(lookups.clone(), Table::prefetch_bucket);
            self.with_members_of(lookups, Table::prefetch_entry);
        }
    }

    /// Fetches the bucket of a lookup. Where the buckets of database 0 are is known without the shard's lock.
    #[inline]
    pub(crate) fn prefetch_bucket(&self, lookup: Lookup) {
        if self.physical(lookup.db) == 0 {
            let hint = self.shards.hint(hash::shard(lookup.key, self.shards.len()));
            prefetch_by_hint(hint, lookup.key);
        } else {
            self.prefetch_locked(lookup);
        }
    }

    #[cold]
    fn prefetch_locked(&self, lookup: Lookup) {
        self.with_keys_of(lookup, |keys| keys.prefetch_bucket(lookup.key));
    }

    #[inline]
    fn with_keys_of(&self, lookup: Lookup, work: impl FnOnce(&Table<StoredEntry>)) {
        let index = hash::shard(lookup.key, self.shards.len());
        if let Some(hold) = self.shards.try_one(index)
            && let Some(db) = hold.shard(index).db(self.physical(lookup.db))
        {
            work(&db.keys);
        }
    }

    /// Does something with each member and the table it will be looked up in, one collection after the other.
    #[inline]
    fn with_members_of(&self, lookups: impl Iterator<Item = Lookup>, work: impl Fn(&Table<Record>, u64)) {
        let mut lookups = lookups.peekable();
        while let Some(lookup) = lookups.next() {
            let Some(member) = lookup.member else { continue };
            self.with_keys_of(lookup, |keys| {
                if let Some(ValueRef::Body(body)) = keys.candidate(lookup.key).map(|entry| entry.value())
                    && let Some(table) = body.table()
                {
                    work(table, member);
                    let is_same = |next: &Lookup| (next.db, next.key) == (lookup.db, lookup.key);
                    while let Some(next) = lookups.next_if(is_same) {
                        next.member.into_iter().for_each(|member| work(table, member));
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Larder;
    use crate::engine::{Engine, Options};

    #[test]
    fn where_the_buckets_are_is_known_without_locks_once_a_shard_was_tended() {
        let engine = Engine::open(Options::default());
        let larder = Larder::on(std::sync::Arc::clone(&engine));
        for round in ["before", "after"] {
            for number in 0..10_000 {
                larder.set(format!("{round}:{number}"), "value").expect("memory is not short");
            }
            for index in 0..engine.shard_count() {
                let mut hold = engine.shards.one(index);
                engine.report(&mut hold, index);
                let buckets = hold.shard(index).db(0).expect("the first is always there").keys.hint();
                assert!(buckets != 0 && engine.shards.hint(index) == buckets, "{round}, shard {index}");
            }
        }
        larder.execute(&["SWAPDB", "0", "1"]);
        assert_eq!(larder.get("before:77").expect("it is no string"), None);
    }
}
