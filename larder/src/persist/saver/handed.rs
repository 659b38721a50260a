//! What writers hand to the save under way, under the locks of what they are about to change.
//!
//! Small entries are copied, bodies pinned, large collections begun (see [`Part`]); tables that are flushed are given
//! away whole. All of it costs the writer little: no more than a copy of what its command may touch anyway.

use super::Saver;
use super::part::{Part, Place};
use crate::engine::Engine;
use crate::keyspace::StoredEntry;
use crate::types::Body;
use crate::types::keeping::Begun;
use larder_structures::entry::{Copies, EntryRef, ValueRef};
use larder_structures::quicklist::Node;
use larder_structures::sync::{Pin, Pinned};
use larder_structures::table::{Keeper, Slot, Table};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes that may wait for the saver. Beyond, whoever wants to change something waits before it takes any lock.
pub(super) const WAITING_MAX: usize = 32 * 1024 * 1024;

/// A key without its value, as it was at the cut.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// The database, by its physical number.
    pub(super) physical: usize,
    pub(super) key: Box<[u8]>,
    pub(super) expires_at_ms: Option<u64>,
    /// The access clock.
    pub(super) clock: u32,
}

impl Head {
    fn new(physical: usize, entry: EntryRef<'_, Pinned<Body>>) -> Head {
        Head { physical, key: entry.key().into(), expires_at_ms: entry.expires_at_ms(), clock: entry.clock() }
    }
}

/// A value that stays as it was, whatever becomes of its key.
pub(super) enum Still {
    Body(Pin<Body>),
    Nodes(Vec<Arc<Node>>),
}

/// Entries as they were at the cut.
#[derive(Default)]
pub(super) struct Handed {
    pub(super) copies: Copies<Pinned<Body>>,
    /// The database of each copy, by its physical number.
    pub(super) physicals: Vec<u8>,
    pub(super) bodies: Vec<(Head, Still)>,
    pub(super) tables: Vec<(usize, Table<StoredEntry>)>,
    /// Bytes that count as waiting: copies, and bodies that may have no other owner any more.
    pub(super) bytes: usize,
    /// Whether a save is on its way that wants to be handed something.
    pub(super) is_wanted: bool,
}

impl Handed {
    /// Puts an entry there that is no large collection; returns how many bytes it takes as long as it is here.
    pub(super) fn push(
        &mut self,
        engine: &Engine,
        physical: usize,
        entry: EntryRef<'_, Pinned<Body>>,
    ) -> usize {
        match entry.value() {
            ValueRef::Body(body) => {
                let pin = body.pin_once(&engine.unpinned);
                self.bodies.push((Head::new(physical, entry), Still::Body(pin)));
                body.memory()
            }
            ValueRef::Bytes(_) | ValueRef::Integer(_) | ValueRef::Packed(..) => {
                let before = self.copies.bytes();
                self.copies.push(entry);
                self.physicals.push(physical as u8);
                self.copies.bytes() - before
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.copies.is_empty() && self.bodies.is_empty() && self.tables.is_empty()
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.copies.clear();
        self.physicals.clear();
        self.bodies.clear();
        self.tables.clear();
        self.bytes = 0;
    }
}

/// Whether a value is one that is walked over in steps.
pub(super) fn is_large(entry: EntryRef<'_, Pinned<Body>>) -> bool {
    match entry.value() {
        ValueRef::Body(body) => !matches!(**body, Body::Bytes(_)) && body.is_large(),
        ValueRef::Bytes(_) | ValueRef::Integer(_) | ValueRef::Packed(..) => false,
    }
}

impl Engine {
    /// Hands an old entry to the save under way; its shard is held. To be called before anything of it changes.
    #[inline]
    pub(crate) fn keep_if_old(&self, slot: &mut Slot<'_, StoredEntry>, shard: usize, physical: usize) {
        if slot.is_old() {
            self.keep_old(slot, shard, physical);
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn keep_old(&self, slot: &mut Slot<'_, StoredEntry>, shard: usize, physical: usize) {
        if !self.begin_large(slot, shard, physical) {
            let mut handed = self.saver.handed.lock();
            let bytes = handed.push(self, physical, slot.get());
            handed.bytes += bytes;
            self.saver.waiting.fetch_add(bytes, Ordering::Relaxed);
        }
        slot.recolour();
    }

    /// Begins to save a large collection; `false` if the entry is none, or has to be saved whole all the same.
    fn begin_large(&self, slot: &mut Slot<'_, StoredEntry>, shard: usize, physical: usize) -> bool {
        if !is_large(slot.get()) {
            return false;
        }
        let head = Head::new(physical, slot.get());
        // While a long command reads it nobody may change it, not even its colour.
        let Some(body) = slot.body_mut() else { return false };
        let keeper = Arc::new(Keeper::new(Arc::clone(&self.saver.waiting)));
        match body.begin_keeping(|| Arc::clone(&keeper)) {
            None => return false,
            Some(Begun::Nodes(nodes)) => {
                self.saver.handed.lock().bodies.push((head, Still::Nodes(nodes)));
            }
            Some(Begun::InSteps { kind, count }) => {
                let place = Place::At { shard, physical, key: head.key.clone() };
                self.saver.parts.lock().push(Arc::new(Part::new(head, kind, count, keeper, place)));
            }
        }
        true
    }
}

impl Saver {
    /// Whether so much waits to be saved that changes have to wait.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > WAITING_MAX
    }

    /// Takes over what was removed, if the save is walking over it; otherwise it comes back. The shard that it was in is
    /// held.
    pub(crate) fn adopt(&self, entry: StoredEntry) -> Option<StoredEntry> {
        match keeper_of(&entry).and_then(|keeper| self.part_of(keeper)) {
            Some(part) => {
                *part.place.lock() = Place::Detached(entry);
                None
            }
            None => Some(entry),
        }
    }

    /// Notes that a value that the save may be walking over has come to another key; the shards of both are held.
    pub(crate) fn note_move(&self, entry: &StoredEntry, shard: usize, physical: usize, key: &[u8]) {
        if let Some(part) = keeper_of(entry).and_then(|keeper| self.part_of(keeper)) {
            *part.place.lock() = Place::At { shard, physical, key: key.into() };
        }
    }

    /// Takes over the table of a database that is flushed, if a save is under way; otherwise it comes back. The gate is
    /// closed.
    pub(crate) fn adopt_table(
        &self,
        shard: usize,
        physical: usize,
        mut table: Table<StoredEntry>,
    ) -> Option<Table<StoredEntry>> {
        let mut handed = self.handed.lock();
        if !handed.is_wanted {
            return Some(table);
        }
        for part in self.parts.lock().iter() {
            let mut place = part.place.lock();
            if let Place::At { shard: at, physical: db, key } = &*place
                && (*at, *db) == (shard, physical)
                && let Some(slot) = table.slot(larder_structures::hash::of(key), key)
            {
                *place = Place::Detached(slot.take());
            }
        }
        handed.tables.push((physical, table));
        None
    }

    fn part_of(&self, keeper: &Arc<Keeper>) -> Option<Arc<Part>> {
        self.parts.lock().iter().find(|part| Arc::ptr_eq(&part.keeper, keeper)).cloned()
    }
}

fn keeper_of(entry: &StoredEntry) -> Option<&Arc<Keeper>> {
    match entry.as_ref().value() {
        ValueRef::Body(body) => body.keeper(),
        ValueRef::Bytes(_) | ValueRef::Integer(_) | ValueRef::Packed(..) => None,
    }
}
