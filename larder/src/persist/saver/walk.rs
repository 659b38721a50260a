//! The saver's own way through the keyspace, and into the file.
//!
//! Whatever happens the walk goes on to its end: if the file cannot be written, or the save is given up, it only sees to
//! it that nothing stays old, since the next cut relies on that.

use super::handed::{Handed, Head, Still, WAITING_MAX, is_large};
use super::part::Part;
use crate::engine::Engine;
use crate::keyspace::{Meter, Shard, StoredEntry};
use crate::persist::convert;
use crate::persist::disk::Gradual;
use crate::persist::snapshot::{Elements, KeyMeta, NodeRef, SnapshotWriter};
use crate::types::Type;
use larder_structures::hash;
use larder_structures::quicklist::Node;
use larder_structures::table::{Kept, Table};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Entries taken under one hold of a shard, and buckets visited: some microseconds.
const ENTRIES_PER_HOLD: usize = 48;
const BUCKETS_PER_HOLD: usize = 48;

/// Microseconds of work after which the saver rests, and for how long. A system lets a thread that has begun to work go
/// on for some milliseconds, although others have become ready meanwhile and are more important: whoever has to share
/// its processor with the saver would wait that long. So the saver stops by itself.
const WORK_US: u64 = 100;
const REST: Duration = Duration::from_micros(20);
/// Bytes that may wait for the saver while it rests.
const REST_BELOW: usize = WAITING_MAX / 4;

/// Where a save writes to.
pub(super) type Sink<'f> = SnapshotWriter<io::BufWriter<Gradual<'f>>>;

/// What was true at the cut.
pub(super) struct Cut {
    /// The logical number of each physical database.
    pub(super) logical: Vec<u64>,
    /// Keys and keys with an expiry of each physical database.
    pub(super) sizes: Vec<(u64, u64)>,
    /// How access clocks are written.
    pub(super) meter: Meter,
    /// Changes counted so far.
    pub(super) changes: u64,
    /// Unix microseconds.
    pub(super) now_us: u64,
}

impl Cut {
    /// Keys in all databases.
    pub(super) fn keys(&self) -> u64 {
        self.sizes.iter().map(|(keys, _)| keys).sum()
    }
}

/// A walk; see the module's text.
pub(super) struct Walk<'w, 'f> {
    engine: &'w Engine,
    cut: &'w Cut,
    /// Gone once something has failed.
    sink: Option<Sink<'f>>,
    error: Option<io::Error>,
    /// The database that the file is at, by its physical number.
    selected: Option<usize>,
    /// What the last step has taken, and memory for the next.
    taken: Handed,
    kept: Kept,
    keys: u64,
    /// When it last rested, on the clock that does not jump.
    rested_us: u64,
}

impl<'w, 'f> Walk<'w, 'f> {
    pub(super) fn new(engine: &'w Engine, cut: &'w Cut, sink: Option<Sink<'f>>) -> Walk<'w, 'f> {
        Walk {
            engine,
            cut,
            sink,
            error: None,
            selected: None,
            taken: Handed::default(),
            kept: Kept::default(),
            keys: 0,
            rested_us: engine.clock.elapsed_us(),
        }
    }

    /// Lets others have the processor if it is time, and if nobody waits for the saver.
    fn rest(&mut self) {
        let now_us = self.engine.clock.elapsed_us();
        if now_us.saturating_sub(self.rested_us) < WORK_US {
            return;
        }
        if self.engine.saver.waiting.load(Ordering::Relaxed) < REST_BELOW {
            std::thread::sleep(REST);
        }
        self.rested_us = self.engine.clock.elapsed_us();
    }

    /// Walks to the end, and finishes the file.
    pub(super) fn run(mut self) -> io::Result<u64> {
        self.write(|_, sink| sink.sizes());
        for physical in 0..self.cut.logical.len() {
            for shard in 0..self.engine.shard_count() {
                self.walk_table(shard, physical);
            }
        }
        while !self.end() {
            self.serve();
        }
        let Some(sink) = self.sink else {
            return Err(self.error.unwrap_or_else(|| io::Error::other("the save was given up")));
        };
        if self.keys != self.cut.keys() {
            let (keys, all) = (self.keys, self.cut.keys());
            return Err(io::Error::other(format!("{keys} keys came to the snapshot instead of {all}")));
        }
        sink.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(self.keys)
    }

    /// Whether nothing is left to be handed over; from then on nothing is.
    fn end(&self) -> bool {
        let mut handed = self.engine.saver.handed.lock();
        let is_over = handed.is_empty() && self.engine.saver.parts.lock().is_empty();
        handed.is_wanted = !is_over;
        is_over
    }

    fn walk_table(&mut self, shard: usize, physical: usize) {
        let mut cursor = 0;
        loop {
            self.serve();
            let engine = self.engine;
            cursor = engine.holding(shard, |hold| self.step(hold.shard_mut(shard), shard, physical, cursor));
            self.put_taken();
            if cursor == 0 {
                return;
            }
        }
    }

    /// Takes some entries of a table.
    fn step(&mut self, held: &mut Shard, shard: usize, physical: usize, cursor: u64) -> u64 {
        let engine = self.engine;
        let Some(db) = held.db_if_any(physical) else { return 0 };
        let mut large: Vec<Box<[u8]>> = Vec::new();
        let taken = &mut self.taken;
        let mut next = cursor;
        for _ in 0..BUCKETS_PER_HOLD {
            next = db.keys.scan_old(next, |entry| {
                if is_large(entry) {
                    large.push(entry.key().into());
                    return false;
                }
                taken.push(engine, physical, entry);
                true
            });
            if next == 0 || taken.physicals.len() + taken.bodies.len() >= ENTRIES_PER_HOLD {
                break;
            }
        }
        for key in large {
            if let Some(mut slot) = db.keys.slot(hash::of(&key), &key) {
                engine.keep_if_old(&mut slot, shard, physical);
            }
        }
        next
    }

    /// Saves what writers have begun or handed over.
    fn serve(&mut self) {
        self.rest();
        let saver = &self.engine.saver;
        self.see_whether_to_go_on();
        saver.most_waiting.fetch_max(saver.waiting.load(Ordering::Relaxed), Ordering::Relaxed);
        loop {
            let begun = saver.parts.lock().first().cloned();
            if let Some(part) = begun {
                self.put_part(&part);
                saver.parts.lock().retain(|other| !Arc::ptr_eq(other, &part));
            }
            {
                let mut handed = saver.handed.lock();
                if handed.is_empty() {
                    if saver.parts.lock().is_empty() {
                        return;
                    }
                    continue;
                }
                let is_wanted = handed.is_wanted;
                std::mem::swap(&mut *handed, &mut self.taken);
                handed.is_wanted = is_wanted;
            }
            let bytes = self.taken.bytes;
            self.put_taken();
            saver.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.engine.pause.wake();
        }
    }

    fn see_whether_to_go_on(&mut self) {
        if self.sink.is_none() {
            return;
        }
        if self.engine.saver.is_cancelled.load(Ordering::Relaxed) {
            self.fail(io::Error::other("the save was given up"));
        } else if self.engine.is_poisoned() {
            self.fail(io::Error::other("the data can no longer be trusted"));
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.sink = None;
        self.error.get_or_insert(error);
    }

    /// Writes something, unless something has failed already.
    fn write(&mut self, put: impl FnOnce(&mut Self, &mut Writing<'_, 'w, 'f>) -> io::Result<()>) {
        let Some(mut sink) = self.sink.take() else { return };
        let mut selected = self.selected;
        let cut = self.cut;
        let mut writing = Writing { cut, sink: &mut sink, selected: &mut selected };
        match put(self, &mut writing) {
            Ok(()) => {
                self.selected = selected;
                self.sink = Some(sink);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Writes what was taken, and lets go of it.
    fn put_taken(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        self.keys += (taken.physicals.len() + taken.bodies.len()) as u64;
        self.write(|_, to| {
            for (entry, physical) in taken.copies.iter().zip(&taken.physicals) {
                let meta = to.cut.meta(entry.expires_at_ms(), entry.clock());
                to.select(usize::from(*physical))?;
                convert::write(entry.value(), to.sink.key(entry.key(), meta))?;
            }
            for (head, still) in &taken.bodies {
                to.body(head, still)?;
            }
            Ok(())
        });
        for (physical, table) in taken.tables.drain(..) {
            self.put_table(physical, table);
        }
        self.engine.saver.keys_done.store(self.keys, Ordering::Relaxed);
        taken.clear();
        self.taken = taken;
    }

    /// Writes what is old in a table that nobody else has any more.
    fn put_table(&mut self, physical: usize, mut table: Table<StoredEntry>) {
        let mut cursor = 0;
        loop {
            let mut keys = 0;
            self.write(|_, to| {
                to.select(physical)?;
                let mut result = Ok(());
                cursor = table.scan_old(cursor, |entry| {
                    if result.is_ok() {
                        let meta = to.cut.meta(entry.expires_at_ms(), entry.clock());
                        result = convert::write(entry.value(), to.sink.key(entry.key(), meta));
                    }
                    keys += 1;
                    true
                });
                result
            });
            self.keys += keys;
            if cursor == 0 || self.sink.is_none() {
                return;
            }
        }
    }

    /// Walks over a large collection.
    fn put_part(&mut self, part: &Part) {
        self.keys += 1;
        let mut cursor = 0;
        let mut is_through = false;
        self.write(|walk, to| {
            to.select(part.head.physical)?;
            let meta = to.cut.meta(part.head.expires_at_ms, part.head.clock);
            let mut elements =
                to.sink.key(&part.head.key, meta).elements(elements_of(part.kind), part.count)?;
            while !is_through {
                walk.kept.clear();
                cursor = part.step(walk.engine, cursor, &mut walk.kept);
                is_through = cursor == 0;
                walk.rest();
                walk.engine.pause.wake();
                for (key, value) in walk.kept.iter() {
                    elements.put(key, value)?;
                }
            }
            elements.finish()
        });
        while !is_through {
            self.kept.clear();
            cursor = part.step(self.engine, cursor, &mut self.kept);
            is_through = cursor == 0;
        }
    }
}

fn elements_of(kind: Type) -> Elements {
    match kind {
        Type::Set => Elements::Members,
        Type::Zset => Elements::Scored,
        Type::Hash | Type::List | Type::String => Elements::Fields,
    }
}

impl Cut {
    fn meta(&self, expires_at_ms: Option<u64>, clock: u32) -> KeyMeta {
        let (idle, freq) = self.meter.saved(clock);
        KeyMeta { expire_at_ms: expires_at_ms.map(|at_ms| at_ms as i64), idle, freq }
    }
}

/// A file that is being written.
struct Writing<'s, 'w, 'f> {
    cut: &'w Cut,
    sink: &'s mut Sink<'f>,
    selected: &'s mut Option<usize>,
}

impl Writing<'_, '_, '_> {
    /// Goes to a database.
    fn select(&mut self, physical: usize) -> io::Result<()> {
        if *self.selected != Some(physical) {
            self.sink.select_db(self.cut.logical[physical])?;
            *self.selected = Some(physical);
        }
        Ok(())
    }

    /// Says how many keys will come, of all databases beforehand: they may come in any order.
    fn sizes(&mut self) -> io::Result<()> {
        for (physical, (keys, expires)) in self.cut.sizes.iter().enumerate() {
            if *keys > 0 {
                self.select(physical)?;
                self.sink.resize_db(*keys, *expires)?;
            }
        }
        Ok(())
    }

    fn body(&mut self, head: &Head, still: &Still) -> io::Result<()> {
        self.select(head.physical)?;
        let to = self.sink.key(&head.key, self.cut.meta(head.expires_at_ms, head.clock));
        match still {
            Still::Body(body) => match body.seen() {
                Ok(body) => convert::write_body(body, to),
                Err(bytes) => to.string(bytes),
            },
            Still::Nodes(nodes) => to.list(
                nodes.len() as u64,
                nodes.iter().map(|node| match &**node {
                    Node::Packed(pack) => NodeRef::Packed(pack.as_bytes()),
                    Node::Plain(bytes) => NodeRef::Plain(bytes),
                }),
            ),
        }
    }
}
