//! The hash table behind the keyspace, hashes, sets and the member index of sorted sets.
//!
//! # Shape
//!
//! A bucket is one cache line of eight slots; a slot is one word:
//!
//! ```text
//! 63            48 47                                   3 2 1 0
//! |      tag      |            address of the entry      |c|t|k|
//! ```
//!
//! The tag is 16 bits of the hash, so that a lookup follows a wrong address about once in eight thousand probes; the
//! entry itself holds the key. `k` is the snapshot's colour, `t` says that the entry has an expiry, `c` (in the last
//! slot only) that the word is the address of an overflow bucket. The slots of a chain are kept dense: its first
//! empty slot ends it.
//!
//! # Growing without a pause
//!
//! A table that is too full allocates a second one of twice the buckets and moves two old buckets with every change.
//! Until a bucket of the old table is moved it stays in charge of its keys, for inserting too, so each key has exactly
//! one place and a lookup probes one bucket: `old index < moved` decides. Shrinking is the same with half the buckets.
//!
//! # SCAN
//!
//! A cursor counts buckets with its bits reversed, highest first. Doubling a table splits bucket *i* into *i* and
//! *i + n*, which this order visits next to each other; so whatever a cursor has behind it stays behind it when the
//! table changes its size, and an element that is present throughout is returned at least once. While two tables
//! exist, a step visits the smaller one's bucket and all buckets of the larger one that it splits into. (The idea is
//! Pieter Noordhuis', from Redis' `dictScan`.)
//!
//! # Expiry
//!
//! Entries with an expiry are found through a summary: for each group of eight buckets the earliest second at which
//! something in it may be due. It may be early (the entry was deleted or prolonged), never late. Tables that have
//! never seen an expiry have no summary.

mod colour;
mod defragment;
mod keeper;
mod raw;
mod sample;
mod scan;

use crate::hash;
use crate::sys::{breathe, prefetch};
use raw::{Place, Raw};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

pub use keeper::{Keeper, Kept};
pub use scan::{Iter, Scan, SweepLimits};

/// What can live in a slot: an owned allocation that knows its own key.
///
/// # Safety
/// `into_raw` returns an address that is a multiple of 8 and below 2^48, whose ownership passes to the caller.
/// `from_raw` takes that ownership back; `borrow` reads it without. `movable_size` says so only where it is true.
pub unsafe trait Element: Sized {
    /// How an element is seen while it stays in its table.
    type Ref<'a>: Copy
    where
        Self: 'a;

    /// Gives up the element for its address.
    fn into_raw(self) -> NonNull<u8>;

    /// Takes the element back.
    ///
    /// # Safety
    /// `raw` came from `into_raw`, and nobody else owns it.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;

    /// Looks at the element.
    ///
    /// # Safety
    /// `raw` came from `into_raw`, and the element is neither changed nor freed during `'a`.
    unsafe fn borrow<'a>(raw: NonNull<u8>) -> Self::Ref<'a>
    where
        Self: 'a;

    /// The bytes it is found by.
    fn key<'a>(element: Self::Ref<'a>) -> &'a [u8]
    where
        Self: 'a;

    /// The size it was allocated with, if it is one allocation of the slab that nothing but its slot points at: then it
    /// may be moved, byte for byte.
    fn movable_size<'a>(_element: Self::Ref<'a>) -> Option<usize>
    where
        Self: 'a,
    {
        None
    }

    /// Whether elements usually reach into a second cache line, so that it pays to fetch that while the key in the first
    /// is compared.
    const SPANS_LINES: bool = false;

    /// When it expires, in Unix milliseconds.
    fn expires_at_ms<'a>(_element: Self::Ref<'a>) -> Option<u64>
    where
        Self: 'a,
    {
        None
    }

    /// Whether the table itself sees to it that a snapshot gets elements before they change; see `colour`.
    const IS_KEPT: bool = false;

    /// Puts the element where a snapshot will find it.
    fn keep<'a>(element: Self::Ref<'a>, kept: &mut Kept)
    where
        Self: 'a,
    {
        kept.push(Self::key(element), &[]);
    }
}

/// [`Table::prefetch_bucket`] without the table, by what [`Table::hint`] said. A hint that is out of date does no harm: memory
/// is fetched that nobody needs.
#[inline]
pub fn prefetch_by_hint(hint: usize, hash: u64) {
    if hint != 0 {
        raw::prefetch_by_hint(hint, hash);
    }
}

/// Fetches what lies behind the first cache line of an element: of the usual sizes, up to some 90 bytes, all begin in one
/// line and end in the next or in the one after that.
#[inline]
fn prefetch_rest(start: *const u8) {
    const CACHE_LINE: usize = 64;
    prefetch(start.wrapping_add(CACHE_LINE));
    prefetch(start.wrapping_add(CACHE_LINE + CACHE_LINE / 2));
}

/// Slots in a bucket.
const SLOTS: usize = 8;
/// Buckets moved by each change while the table resizes.
const MOVED_PER_CHANGE: usize = 2;
/// A table shrinks when fewer than one slot in this many is used.
const SHRINK_BELOW: usize = 6;

/// A hash table of `E`; see the module's essay.
pub struct Table<E: Element> {
    /// The table in use, or the target while resizing.
    main: Raw,
    /// The table being emptied, and how many of its buckets are done.
    old: Option<(Raw, usize)>,
    len: usize,
    with_expiry: usize,
    colour: bool,
    /// Where old elements go before they change, while a snapshot is on its way.
    keeper: Option<Arc<Keeper>>,
    /// Elements in percent of the slots at which the table doubles.
    grow_at_percent: u8,
    _elements: PhantomData<E>,
}

// SAFETY: the table owns its elements; they go wherever it goes.
unsafe impl<E: Element + Send> Send for Table<E> {}
// SAFETY: a shared table only hands out shared views.
unsafe impl<E: Element + Sync> Sync for Table<E> {}

impl<E: Element> Default for Table<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Element> Table<E> {
    /// An empty table; the first insert allocates.
    pub const fn new() -> Self {
        Self::with_load(100)
    }

    /// An empty table that doubles when it holds `percent` of what its slots have room for, overflow not counted (50 to
    /// 200). The tables of a keyspace are given different loads; see [`Table::spread_load`].
    pub const fn with_load(percent: u8) -> Self {
        Table {
            main: Raw::empty(),
            old: None,
            len: 0,
            with_expiry: 0,
            colour: false,
            keeper: None,
            grow_at_percent: percent,
            _elements: PhantomData,
        }
    }

    /// The load for table `nth` of `count` that share the keys of one keyspace evenly. Their loads are spread over an
    /// octave, by equal ratios: so they do not grow at the same moment, and together they always have about as many buckets
    /// for a key, 13 to 14 bytes, however many keys there are.
    pub fn spread_load(nth: usize, count: usize) -> u8 {
        const LOWEST: f64 = 70.0;
        let octave = (nth as f64 + 0.5) / count.max(1) as f64;
        (LOWEST * octave.exp2()) as u8
    }

    /// An empty table with room for `elements` at once, for who knows beforehand how many will come.
    pub fn with_room(elements: usize) -> Self {
        let mut table = Self::new();
        table.reserve(elements);
        table
    }

    /// Makes an empty table that has not allocated yet as large as it will be with so many elements; for any other nothing
    /// happens.
    pub fn reserve(&mut self, elements: usize) {
        if elements > 0 && self.main.buckets() == 0 {
            let slots = elements.saturating_mul(100) / usize::from(self.grow_at_percent) + 1;
            self.main = Raw::with_buckets(slots.div_ceil(SLOTS).next_power_of_two());
        }
    }

    /// How many elements it holds.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of its elements have an expiry.
    pub fn with_expiry(&self) -> usize {
        self.with_expiry
    }

    /// Bytes of buckets and summaries, without the elements.
    pub fn memory(&self) -> usize {
        self.main.memory() + self.old.as_ref().map_or(0, |(old, _)| old.memory())
    }

    /// How many slots the tables have, overflow not counted.
    pub fn capacity(&self) -> usize {
        (self.main.buckets() + self.old.as_ref().map_or(0, |(old, _)| old.buckets())) * SLOTS
    }

    /// Whether a resize is under way.
    pub fn is_resizing(&self) -> bool {
        self.old.is_some()
    }

    /// The element under `key`.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<E::Ref<'_>> {
        self.get_hashed(hash::of(key), key)
    }

    /// [`Table::get`] for who has the hash already.
    #[inline]
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<E::Ref<'_>> {
        let place = self.find(hash, key)?;
        // SAFETY: a found place holds an element, which cannot change while the table is borrowed.
        Some(unsafe { E::borrow(place.address()) })
    }

    /// What `look` finds in the element of a hash: it is called with those that may be meant, nearly always one, until it
    /// returns something.
    #[inline(always)]
    pub fn look<'t, R>(&'t self, hash: u64, mut look: impl FnMut(E::Ref<'t>) -> Option<R>) -> Option<R> {
        let mut found = None;
        self.find_by(hash, |element| {
            found = look(element);
            found.is_some()
        })?;
        found
    }

    /// The slot of the element under `key`, to change or take it.
    #[inline]
    pub fn slot(&mut self, hash: u64, key: &[u8]) -> Option<Slot<'_, E>> {
        let place = self.find(hash, key)?;
        Some(Slot { table: self, place, hash })
    }

    /// [`Table::slot`], with a new element of that key where there is none; and whether that is so.
    #[inline]
    pub fn slot_or_insert(&mut self, hash: u64, key: &[u8], make: impl FnOnce() -> E) -> (Slot<'_, E>, bool) {
        if let Some(place) = self.find(hash, key) {
            return (Slot { table: self, place, hash }, false);
        }
        self.insert_hashed(hash, make());
        let place = self.find(hash, key).expect("an element of this key was just inserted");
        (Slot { table: self, place, hash }, true)
    }

    /// Inserts an element whose key is absent.
    #[inline]
    pub fn insert(&mut self, element: E) {
        let raw = element.into_raw();
        // SAFETY: the element was just given up by its owner, and lives on in this table.
        let view = unsafe { E::borrow(raw) };
        let hash = hash::of(E::key(view));
        self.insert_raw(hash, raw);
    }

    /// [`Table::insert`] for who has the hash of the element's key already.
    #[inline]
    pub fn insert_hashed(&mut self, hash: u64, element: E) {
        self.insert_raw(hash, element.into_raw());
    }

    fn insert_raw(&mut self, hash: u64, raw: NonNull<u8>) {
        self.step();
        if self.old.is_none() && self.is_too_full() {
            self.resize((self.main.buckets() * 2).max(1));
        }
        // SAFETY: `raw` is owned by this table from here on.
        let expires = E::expires_at_ms(unsafe { E::borrow(raw) });
        let flags = raw::flags(self.colour, expires.is_some());
        let raw_table = self.table_for(hash);
        raw_table.push(hash, raw, flags);
        if let Some(at_ms) = expires {
            raw_table.note_expiry(hash, at_ms);
            self.with_expiry += 1;
        }
        self.len += 1;
    }

    /// Takes the element under `key` out.
    #[inline]
    pub fn remove(&mut self, key: &[u8]) -> Option<E> {
        let hash = hash::of(key);
        self.slot(hash, key).map(Slot::take)
    }

    /// Moves a few buckets if a resize is under way. Every change does so too.
    #[inline]
    pub fn step(&mut self) {
        if self.old.is_some() {
            self.move_buckets(MOVED_PER_CHANGE);
        }
    }

    /// Moves up to `buckets` buckets of a resize under way; for background time. Returns whether more remain.
    pub fn step_many(&mut self, buckets: usize) -> bool {
        if self.old.is_some() {
            self.move_buckets(buckets);
        }
        self.old.is_some()
    }

    fn is_too_full(&self) -> bool {
        self.len * 100 >= self.main.buckets() * SLOTS * usize::from(self.grow_at_percent)
    }

    fn shrink_if_sparse(&mut self) {
        let buckets = self.main.buckets();
        if self.old.is_none() && buckets > 1 && self.len * SHRINK_BELOW < buckets * SLOTS {
            let wanted = (self.len * 2).div_ceil(SLOTS).next_power_of_two();
            self.resize(wanted.min(buckets / 2));
        }
    }

    fn resize(&mut self, buckets: usize) {
        let old = std::mem::replace(&mut self.main, Raw::with_buckets(buckets));
        if old.buckets() > 0 {
            self.old = Some((old, 0));
            self.move_buckets(MOVED_PER_CHANGE);
        }
    }

    fn move_buckets(&mut self, mut budget: usize) {
        let Some((old, moved)) = &mut self.old else { return };
        while budget > 0 && *moved < old.buckets() {
            let main = &mut self.main;
            old.drain_bucket(*moved, |word| {
                let address = raw::address(word);
                // SAFETY: the word was in a slot of this table, so it is the address of an element it owns.
                let view = unsafe { E::borrow(address) };
                let hash = hash::of(E::key(view));
                main.push(hash, address, word & raw::FLAGS);
                if let Some(at_ms) = E::expires_at_ms(view) {
                    main.note_expiry(hash, at_ms);
                }
            });
            *moved += 1;
            budget -= 1;
            if *moved < old.buckets() {
                old.release_drained(*moved);
            }
        }
        if *moved == old.buckets() {
            self.old = None;
        }
    }

    /// The table in charge of a hash.
    #[inline]
    fn table_of(&self, hash: u64) -> &Raw {
        match &self.old {
            Some((old, moved)) if old.index(hash) >= *moved => old,
            _ => &self.main,
        }
    }

    /// The table in charge of a hash, to be changed.
    #[inline]
    fn table_for(&mut self, hash: u64) -> &mut Raw {
        match &mut self.old {
            Some((old, moved)) if old.index(hash) >= *moved => old,
            _ => &mut self.main,
        }
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        self.find_by(hash, |element| same(E::key(element), key))
    }

    /// Where the element of a hash is that `is_it` knows as the right one.
    #[inline(always)]
    fn find_by<'t>(&'t self, hash: u64, mut is_it: impl FnMut(E::Ref<'t>) -> bool) -> Option<Place> {
        self.table_of(hash).find(hash, |address| {
            if E::SPANS_LINES {
                prefetch_rest(address.as_ptr());
            }
            // SAFETY: addresses in slots are those of elements that this table owns, and it is borrowed for `'t`.
            is_it(unsafe { E::borrow(address) })
        })
    }

    /// Fetches the bucket of a hash into the cache: the first stage of a lookup in a batch. The table is only asked for
    /// the bucket's address; nothing that is not in the cache is read.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.table_of(hash).prefetch(hash);
    }

    /// Where its buckets are, for [`prefetch_by_hint`]; zero while there are none. It stays true until the table changes its
    /// size.
    pub fn hint(&self) -> usize {
        self.main.hint()
    }

    /// Fetches what a lookup of `hash` will compare keys with: the second stage, for a bucket that is in the cache by now.
    /// Reads the bucket, follows no address in it.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.table_of(hash).prefetch_candidates(hash);
    }

    /// The first element that may be the one under a key of this hash. It may be another, and the one looked for may be
    /// further on: for who fetches ahead what it holds, which does no harm then.
    #[inline]
    pub fn candidate(&self, hash: u64) -> Option<E::Ref<'_>> {
        let word = self.table_of(hash).candidate(hash)?;
        // SAFETY: a slot holds an element, which cannot change while the table is borrowed.
        Some(unsafe { E::borrow(raw::address(word)) })
    }

    /// Checks what must always hold; for tests.
    ///
    /// # Panics
    /// When an invariant is broken.
    pub fn check_invariants(&self) {
        let mut seen = 0;
        let mut expiring = 0;
        for element in self.iter() {
            let key = E::key(element);
            assert!(self.get(key).is_some(), "an element is not found by its key");
            seen += 1;
            expiring += usize::from(E::expires_at_ms(element).is_some());
        }
        assert_eq!(seen, self.len, "len differs from what a walk finds");
        assert_eq!(expiring, self.with_expiry, "with_expiry differs from what a walk finds");
    }
}

/// Whether two keys are the same. Up to 32 bytes, as nearly all have, are compared in two overlapping words each, without
/// a call.
#[inline(always)]
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if one.len() <= 16 {
        if let (Some(first), Some(other_first)) = (one.first_chunk::<8>(), other.first_chunk::<8>())
            && let (Some(last), Some(other_last)) = (one.last_chunk::<8>(), other.last_chunk::<8>())
        {
            return first == other_first && last == other_last;
        }
    } else if one.len() <= 32
        && let (Some(first), Some(other_first)) = (one.first_chunk::<16>(), other.first_chunk::<16>())
        && let (Some(last), Some(other_last)) = (one.last_chunk::<16>(), other.last_chunk::<16>())
    {
        return first == other_first && last == other_last;
    }
    one == other
}

impl<E: Element> Drop for Table<E> {
    fn drop(&mut self) {
        /// What it costs to free the elements of a bucket, for [`breathe`].
        const BUCKET: u32 = 16;
        if let Some((old, moved)) = &mut self.old {
            for index in *moved..old.buckets() {
                breathe(BUCKET);
                // SAFETY: the word leaves its slot here, so the element has no other owner.
                old.drain_bucket(index, |word| drop(unsafe { E::from_raw(raw::address(word)) }));
            }
        }
        for index in 0..self.main.buckets() {
            breathe(BUCKET);
            // SAFETY: as above.
            self.main.drain_bucket(index, |word| drop(unsafe { E::from_raw(raw::address(word)) }));
        }
    }
}

/// A found element of a table, to be changed or taken.
pub struct Slot<'t, E: Element> {
    table: &'t mut Table<E>,
    place: Place,
    hash: u64,
}

impl<'t, E: Element> Slot<'t, E> {
    /// The element.
    #[inline]
    pub fn get(&self) -> E::Ref<'_> {
        // SAFETY: the place holds an element while the slot exists.
        unsafe { E::borrow(self.place.address()) }
    }

    /// The element, for as long as the table stays borrowed.
    #[inline]
    pub fn into_ref(self) -> E::Ref<'t> {
        // SAFETY: the table is borrowed mutably for 't, by nobody but the caller of this.
        unsafe { E::borrow(self.place.address()) }
    }

    /// Changes the element: it is taken out, `change` returns what goes back, under the same key.
    ///
    /// If `change` panics, the element is gone from the table.
    #[inline]
    pub fn modify<R>(&mut self, change: impl FnOnce(E) -> (E, R)) -> R {
        self.keep_if_old();
        let before = self.place.word();
        let hole = Hole { slot: self };
        // SAFETY: `hole` closes the slot if `change` unwinds; otherwise the word is replaced below.
        let (element, result) = change(unsafe { E::from_raw(raw::address(before)) });
        let slot = hole.fill();
        let raw = element.into_raw();
        // SAFETY: the element is owned by the table again.
        let expires = E::expires_at_ms(unsafe { E::borrow(raw) });
        let flags = raw::flags(before & raw::COLOUR != 0, expires.is_some());
        slot.place.set(raw::word(slot.hash, raw, flags));
        slot.table.with_expiry += usize::from(expires.is_some());
        slot.table.with_expiry -= usize::from(before & raw::EXPIRES != 0);
        if let Some(at_ms) = expires {
            slot.note_expiry(at_ms);
        }
        result
    }

    /// Notes that the element, which was changed where it is, expires at a time in Unix milliseconds.
    #[inline]
    pub(crate) fn note_expiry(&mut self, at_ms: u64) {
        self.table.table_for(self.hash).note_expiry(self.hash, at_ms);
    }

    /// Puts `element`, of the same key, in place of the present one, which is returned.
    #[inline]
    pub fn replace(&mut self, element: E) -> E {
        self.modify(|old| (element, old))
    }

    /// Takes the element out of the table.
    pub fn take(mut self) -> E {
        self.keep_if_old();
        let word = self.place.word();
        self.table.table_for(self.hash).remove(self.hash, self.place);
        self.table.len -= 1;
        self.table.with_expiry -= usize::from(word & raw::EXPIRES != 0);
        self.table.step();
        self.table.shrink_if_sparse();
        // SAFETY: the word has left the table, so this is the only owner.
        unsafe { E::from_raw(raw::address(word)) }
    }
}

/// Removes a slot whose element is in somebody's hands, unless it is filled again.
struct Hole<'s, 't, E: Element> {
    slot: &'s mut Slot<'t, E>,
}

impl<'s, 't, E: Element> Hole<'s, 't, E> {
    fn fill(self) -> &'s mut Slot<'t, E> {
        let slot: *mut Slot<'t, E> = &mut *std::mem::ManuallyDrop::new(self).slot;
        // SAFETY: the hole held the only reference to the slot for 's, and is not dropped.
        unsafe { &mut *slot }
    }
}

impl<E: Element> Drop for Hole<'_, '_, E> {
    fn drop(&mut self) {
        let slot = &mut *self.slot;
        let word = slot.place.word();
        slot.table.table_for(slot.hash).remove(slot.hash, slot.place);
        slot.table.len -= 1;
        slot.table.with_expiry -= usize::from(word & raw::EXPIRES != 0);
    }
}
