//! The guards through which values change.
//!
//! A handler never writes to a table. It sets, deletes or opens a key through [`WriteCtx`], naming the event that this
//! is; everything a change causes (dirty count, WATCH, events, memory, freeing, removal of an emptied collection)
//! follows from that, here and in [`crate::effects`].

use super::key::PlannedKey;
use super::read::{Notes, ReadCtx, Source};
use super::shard::{Ledger, Shard, StoredEntry};
use super::view::{Found, shared_of};
use super::watch::Watchers;
use crate::effects::{Cause, Class, Effects, Event, Garbage};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::persist::convert::Stored;
use crate::types::string::{EMBEDDED_MAX, StringRef};
use crate::types::{Body, Collection, Packed};
use larder_structures::entry::{Entry, Value, ValueRef};
use larder_structures::sync::{Hold, Pinned};
use larder_structures::table::Slot;
use larder_structures::{decimal, hash};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// What a handler that writes works with.
pub struct WriteCtx<'c, 'h> {
    pub(crate) engine: &'c Engine,
    pub(crate) hold: &'c mut Hold<'h, Shard>,
    /// The logical number of the database.
    pub db: usize,
    pub(crate) physical: usize,
    /// The time of this command, in Unix milliseconds.
    pub now_ms: u64,
    pub(crate) clock: u32,
    pub(crate) planned: PlannedKey<'c>,
    pub(crate) effects: &'c mut Effects,
}

/// What becomes of a key's expiry when its value is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// It keeps the one it has.
    Keep,
    /// It has none.
    Never,
    /// It expires at this Unix time in milliseconds.
    AtMs(u64),
}

/// A value taken out of the keyspace, to be put somewhere else.
pub struct Taken(StoredEntry);

impl Taken {
    /// When it expires, in Unix milliseconds.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.0.as_ref().expires_at_ms()
    }
}

impl<'c, 'h> WriteCtx<'c, 'h> {
    #[inline]
    fn shard_of(&self, hash: u64) -> usize {
        hash::shard(hash, self.engine.shard_count())
    }

    /// The shard of a key, for what is kept beside its keys.
    pub(super) fn shard_with(&mut self, key: &[u8]) -> &mut Shard {
        let index = self.shard_of(self.planned.hash_of(key));
        self.hold.shard_mut(index)
    }

    /// A reader of the same keys, which leaves no trace of its lookups.
    pub fn reader(&self) -> ReadCtx<'_> {
        ReadCtx {
            engine: self.engine,
            source: Source::Held(self.hold),
            db: self.db,
            physical: self.physical,
            now_ms: self.now_ms,
            clock: Some(self.clock),
            planned: self.planned,
            attaches: false,
            notes: Notes::default(),
        }
    }

    /// The engine's parameters.
    pub fn config(&self) -> &'c crate::config::Config {
        &self.engine.config
    }

    /// An unpredictable number.
    pub fn random(&self) -> u64 {
        self.engine.random()
    }

    /// Looks a key up. An expired one is deleted with all effects, and is not found.
    #[inline]
    pub fn find(&mut self, key: &[u8]) -> Option<Found<'_>> {
        let hash = self.planned.hash_of(key);
        self.expire_if_due(hash, key);
        let shard = self.hold.shard(self.shard_of(hash));
        let entry = shard.db(self.physical)?.keys.get_hashed(hash, key)?;
        let found = Found::new(entry);
        entry.set_clock(self.engine.touched(found.clock, self.clock));
        Some(found)
    }

    /// The string under `key`.
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`] if it is no string.
    pub fn string(&mut self, key: &[u8]) -> Result<Option<StringRef<'_>>, Fault> {
        self.find(key).map(|found| found.view.string()).transpose()
    }

    /// The collection of type `T` under `key`, for looking.
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`] if it is something else.
    pub fn collection<T: Collection>(&mut self, key: &[u8]) -> Result<Option<T::Ref<'_>>, Fault> {
        self.find(key).map(|found| found.view.collection::<T>()).transpose()
    }

    /// Whether the key is there.
    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    /// Deletes `key` if it is due, as an expiry.
    #[inline]
    pub(crate) fn expire_if_due(&mut self, hash: u64, key: &[u8]) {
        let shard = self.hold.shard(self.shard_of(hash));
        if let Some(db) = shard.db(self.physical)
            && db.keys.with_expiry() > 0
            && let Some(entry) = db.keys.get_hashed(hash, key)
            && entry.expires_at_ms().is_some_and(|at_ms| at_ms <= self.now_ms)
        {
            self.delete(key, Event::EXPIRED);
        }
    }

    /// Sets a string, whatever the key held.
    pub fn set_string(&mut self, key: &[u8], bytes: &[u8], expiry: Expiry, event: Event) {
        let value = match decimal::parse_canonical_i64(bytes) {
            Some(number) => Value::Integer(number),
            None if bytes.len() <= EMBEDDED_MAX => Value::Bytes(bytes),
            None => Value::Body(Pinned::new(Body::Bytes(Arc::new(bytes.to_vec())))),
        };
        self.set_value(key, value, expiry, event);
    }

    /// Sets a string without looking whether it is a decimal, so that OBJECT ENCODING does not call it `int`.
    pub fn set_text(&mut self, key: &[u8], bytes: &[u8], expiry: Expiry, event: Event) {
        let value = if bytes.len() <= EMBEDDED_MAX {
            Value::Bytes(bytes)
        } else {
            Value::Body(Pinned::new(Body::Bytes(Arc::new(bytes.to_vec()))))
        };
        self.set_value(key, value, expiry, event);
    }

    /// Lets OBJECT ENCODING call the short string under `key` `raw`, as if it had been written piecewise.
    pub fn mark_raw(&mut self, key: &[u8]) {
        let hash = self.planned.hash_of(key);
        let index = self.shard_of(hash);
        let (keys, _, _) = self.hold.shard_mut(index).parts(self.physical);
        if let Some(mut slot) = keys.slot(hash, key) {
            self.engine.keep_if_old(&mut slot, index, self.physical);
            slot.modify(|mut entry| {
                entry.set_mark(true);
                (entry, ())
            });
        }
    }

    /// Sets a string that is a decimal.
    pub fn set_integer(&mut self, key: &[u8], number: i64, expiry: Expiry, event: Event) {
        self.set_value(key, Value::Integer(number), expiry, event);
    }

    /// Makes a key look as if it was last used so many seconds ago, or was used so often, whichever the policy of
    /// eviction asks for.
    pub fn set_use(&mut self, key: &[u8], idle_s: Option<u64>, frequency: Option<u32>) {
        let Some(clock) = self.engine.meter(self.clock).restored(idle_s, frequency) else { return };
        let hash = self.planned.hash_of(key);
        let shard = self.hold.shard(self.shard_of(hash));
        if let Some(entry) = shard.db(self.physical).and_then(|db| db.keys.get_hashed(hash, key)) {
            entry.set_clock(clock);
        }
    }

    /// Adds to the integer under a key, 0 for an absent one, and returns the sum.
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`], [`Fault::NOT_INTEGER`] or [`Fault::INCREMENT_OVERFLOW`].
    pub fn add_integer(&mut self, key: &[u8], increment: i64) -> Result<i64, Fault> {
        let before = match self.string(key)? {
            Some(string) => string.integer().ok_or(Fault::NOT_INTEGER)?,
            None => 0,
        };
        let after = before.checked_add(increment).ok_or(Fault::INCREMENT_OVERFLOW)?;
        self.set_integer(key, after, Expiry::Keep, Event::INCRBY);
        Ok(after)
    }

    /// Sets a collection, or a long string, whatever the key held.
    pub fn set_body(&mut self, key: &[u8], body: Body, expiry: Expiry, event: Event) {
        with_stored(body, |value| self.set_value(key, value, expiry, event));
    }

    /// Sets a value that comes from a snapshot or from RESTORE, whatever the key held.
    pub(crate) fn restore(&mut self, key: &[u8], value: Stored, expiry: Expiry, event: Event) {
        match value {
            Stored::String(bytes) => self.set_string(key, &bytes, expiry, event),
            Stored::Body(body) => self.set_body(key, body, expiry, event),
        }
    }

    fn set_value(&mut self, key: &[u8], value: Value<'_, Pinned<Body>>, expiry: Expiry, event: Event) {
        let hash = self.planned.hash_of(key);
        if expiry == Expiry::Keep {
            self.expire_if_due(hash, key);
        }
        let (engine, now) = (self.engine, self.clock);
        let index = self.shard_of(hash);
        let (keys, watchers, mut ledger) = self.hold.shard_mut(index).parts(self.physical);
        let body_memory = |entry: &StoredEntry| shared_of(entry.as_ref()).map_or(0, |body| body.memory());
        if let Some(mut slot) = keys.slot(hash, key) {
            engine.keep_if_old(&mut slot, index, self.physical);
            let old = slot.get().facts();
            let at_ms = match expiry {
                Expiry::Keep => old.expires_at_ms(),
                Expiry::Never => None,
                Expiry::AtMs(at_ms) => Some(at_ms),
            };
            let clock = engine.touched(old.clock(), now);
            if !slot.overwrite(&value, at_ms, clock) {
                let effects = &mut *self.effects;
                let grown = slot.modify(|old| {
                    let before = old.as_ref().memory() + body_memory(&old);
                    let new = Entry::new(key, value, at_ms, clock);
                    if shared_of(old.as_ref()).is_some() {
                        engine.discard(effects, old, Cause::Replaced);
                    }
                    let after = new.as_ref().memory() + body_memory(&new);
                    (new, after as i64 - before as i64)
                });
                engine.account(&mut ledger, grown);
            }
        } else {
            let at_ms = if let Expiry::AtMs(at_ms) = expiry { Some(at_ms) } else { None };
            let entry = Entry::new(key, value, at_ms, engine.fresh(now));
            engine.account(&mut ledger, (entry.as_ref().memory() + body_memory(&entry)) as i64);
            keys.insert_hashed(hash, entry);
        }
        self.effects.touched(watchers, self.db, key, event, 1);
    }

    /// Edits a string in place, making an empty one if the key is absent. OBJECT ENCODING calls it `raw` from then on.
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`] if the key holds something else; whatever `edit` returns, in which case nothing changed.
    pub fn edit_string<R>(
        &mut self,
        key: &[u8],
        event: Event,
        edit: impl FnOnce(&mut Vec<u8>) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let present = self.string(key)?.map(|string| string.len());
        let hash = self.planned.hash_of(key);
        let index = self.shard_of(hash);
        let (keys, watchers, mut ledger) = self.hold.shard_mut(index).parts(self.physical);
        let result;
        if present.is_some_and(|len| len > EMBEDDED_MAX) {
            let mut slot = keys.slot(hash, key).ok_or(Fault::NO_SUCH_KEY)?;
            self.engine.keep_if_old(&mut slot, index, self.physical);
            let shrunk = unshare(&mut slot);
            self.engine.account(&mut ledger, -shrunk);
            let Some(Body::Bytes(bytes)) = slot.body_mut() else { return Err(Fault::WRONG_TYPE) };
            // Somebody may still read the bytes: then what is changed is a copy, without room to grow.
            let before = bytes.capacity();
            let bytes = Arc::make_mut(bytes);
            let edited = edit(bytes);
            let grown = bytes.capacity() as i64 - before as i64;
            self.engine.account(&mut ledger, grown);
            result = edited?;
        } else {
            let mut bytes = match keys.get_hashed(hash, key) {
                Some(entry) => Found::new(entry).view.string()?.to_vec(),
                None => Vec::new(),
            };
            result = edit(&mut bytes)?;
            let body = (bytes.len() > EMBEDDED_MAX)
                .then(|| Pinned::new(Body::Bytes(Arc::new(std::mem::take(&mut bytes)))));
            let value = body.map_or(Value::Bytes(&bytes), Value::Body);
            let memory = |entry: &StoredEntry| {
                entry.as_ref().memory() + shared_of(entry.as_ref()).map_or(0, |body| body.memory())
            };
            let (before, after) = if let Some(mut slot) = keys.slot(hash, key) {
                self.engine.keep_if_old(&mut slot, index, self.physical);
                slot.modify(|old| {
                    let before = memory(&old);
                    let mut new = old.with_value(value);
                    new.set_mark(true);
                    let after = memory(&new);
                    (new, (before, after))
                })
            } else {
                let mut entry = Entry::new(key, value, None, self.engine.fresh(self.clock));
                entry.set_mark(true);
                let after = memory(&entry);
                keys.insert_hashed(hash, entry);
                (0, after)
            };
            self.engine.account(&mut ledger, after as i64 - before as i64);
        }
        self.effects.touched(watchers, self.db, key, event, 1);
        Ok(result)
    }

    /// Opens the collection of type `T` under `key` for changing; see [`Guard`].
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`] if it is something else.
    pub fn open<'g, T: Collection>(
        &'g mut self,
        key: &'g [u8],
        event: Event,
    ) -> Result<Option<Guard<'g, T>>, Fault> {
        let hash = self.planned.hash_of(key);
        self.expire_if_due(hash, key);
        self.guard(hash, key, event, None::<fn() -> T>)
    }

    /// Opens the collection of type `T` under `key` for changing, or a new one that `make` makes. Should nothing be
    /// put into a new one, it is gone when the guard is dropped.
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`] if the key holds something else.
    pub fn open_or<'g, T: Collection>(
        &'g mut self,
        key: &'g [u8],
        event: Event,
        make: impl FnOnce() -> T,
    ) -> Result<Guard<'g, T>, Fault> {
        let hash = self.planned.hash_of(key);
        self.expire_if_due(hash, key);
        self.guard(hash, key, event, Some(make))?.ok_or(Fault::NO_SUCH_KEY)
    }

    /// Opens what is under `key`, or what `make` makes if there is nothing.
    fn guard<'g, T: Collection>(
        &'g mut self,
        hash: u64,
        key: &'g [u8],
        event: Event,
        make: Option<impl FnOnce() -> T>,
    ) -> Result<Option<Guard<'g, T>>, Fault> {
        let index = self.shard_of(hash);
        let engine = self.engine;
        let (keys, watchers, mut ledger) = self.hold.shard_mut(index).parts(self.physical);
        let (mut slot, is_new) = match make {
            Some(make) => {
                let clock = engine.fresh(self.clock);
                keys.slot_or_insert(hash, key, || {
                    with_stored(make().into_body(), |value| Entry::new(key, value, None, clock))
                })
            }
            None => match keys.slot(hash, key) {
                Some(slot) => (slot, false),
                None => return Ok(None),
            },
        };
        engine.keep_if_old(&mut slot, index, self.physical);
        let entry = slot.get();
        let found = Found::new(entry);
        let before = found.memory();
        if is_new {
            engine.account(&mut ledger, before as i64);
        } else {
            entry.set_clock(engine.touched(found.clock, self.clock));
        }
        let mut taken_out = None;
        match entry.value() {
            ValueRef::Packed(tag, bytes) => {
                let buf = std::mem::take(&mut self.effects.scratch);
                taken_out = Some(T::unpacked(Packed::new(tag, bytes), buf).ok_or(Fault::WRONG_TYPE)?);
            }
            ValueRef::Body(body) if T::of(body).is_some() => {
                unshare(&mut slot);
            }
            _ => return Err(Fault::WRONG_TYPE),
        }
        Ok(Some(Guard {
            engine,
            slot: Some(slot),
            taken_out,
            watchers,
            ledger,
            effects: self.effects,
            db: self.db,
            key,
            event,
            before,
            changes: 0,
            is_touched: false,
        }))
    }

    /// Deletes a key. Returns whether it was there; an expired one is not.
    pub fn delete(&mut self, key: &[u8], event: Event) -> bool {
        let cause = match event.class {
            Class::Expired => Cause::Expired,
            Class::Evicted => Cause::Evicted,
            _ => Cause::Replaced,
        };
        self.delete_for(key, event, cause)
    }

    /// [`WriteCtx::delete`] for a cause that decides who frees the value.
    pub(crate) fn delete_for(&mut self, key: &[u8], event: Event, cause: Cause) -> bool {
        let hash = self.planned.hash_of(key);
        if event != Event::EXPIRED {
            self.expire_if_due(hash, key);
        }
        if event == Event::DEL {
            self.bury(key);
        }
        let Some(entry) = self.remove(hash, key) else { return false };
        self.engine.discard(self.effects, entry, cause);
        self.effects.count(event);
        // What nobody asked for is no change that a save would be waiting for.
        self.touch(hash, key, event, u64::from(!matches!(event, Event::EXPIRED | Event::EVICTED)));
        true
    }

    /// Takes a key's value out of the keyspace, to be put back elsewhere: the two count as one change.
    pub fn take(&mut self, key: &[u8], event: Event) -> Option<Taken> {
        let hash = self.planned.hash_of(key);
        self.expire_if_due(hash, key);
        self.bury(key);
        let entry = self.remove(hash, key)?;
        self.touch(hash, key, event, 0);
        Some(Taken(entry))
    }

    /// Puts a value under `key`, in place of what may be there.
    pub fn put(&mut self, key: &[u8], taken: Taken, event: Event) {
        let hash = self.planned.hash_of(key);
        if let Some(old) = self.remove(hash, key) {
            self.engine.discard(self.effects, old, Cause::Replaced);
        }
        let entry = taken.0.with_key(key);
        let memory = Found::new(entry.as_ref()).memory();
        let index = self.shard_of(hash);
        self.engine.saver.note_move(&entry, index, self.physical, key);
        let (keys, _, mut ledger) = self.hold.shard_mut(index).parts(self.physical);
        keys.insert_hashed(hash, entry);
        self.engine.account(&mut ledger, memory as i64);
        self.touch(hash, key, event, 1);
    }

    fn remove(&mut self, hash: u64, key: &[u8]) -> Option<StoredEntry> {
        let index = self.shard_of(hash);
        let (keys, _, mut ledger) = self.hold.shard_mut(index).parts(self.physical);
        let mut slot = keys.slot(hash, key)?;
        self.engine.keep_if_old(&mut slot, index, self.physical);
        let entry = slot.take();
        let memory = Found::new(entry.as_ref()).memory();
        self.engine.account(&mut ledger, -(memory as i64));
        Some(entry)
    }

    /// Sets or removes the expiry of a key that is there. Returns whether it is.
    pub fn set_expiry(&mut self, key: &[u8], at_ms: Option<u64>, event: Event) -> bool {
        let hash = self.planned.hash_of(key);
        self.expire_if_due(hash, key);
        let index = self.shard_of(hash);
        let (keys, _, mut ledger) = self.hold.shard_mut(index).parts(self.physical);
        let Some(mut slot) = keys.slot(hash, key) else { return false };
        self.engine.keep_if_old(&mut slot, index, self.physical);
        let grown = slot.modify(|old| {
            let before = old.as_ref().memory() as i64;
            let new = old.with_expiry(at_ms);
            let after = new.as_ref().memory() as i64;
            (new, after - before)
        });
        self.engine.account(&mut ledger, grown);
        self.touch(hash, key, event, 1);
        true
    }

    fn touch(&mut self, hash: u64, key: &[u8], event: Event, changes: u64) {
        let index = self.shard_of(hash);
        let watchers = &mut self.hold.shard_mut(index).watchers;
        self.effects.touched(watchers, self.db, key, event, changes);
    }

    /// Lets listeners hear of one more thing that has happened to a key with the change just made.
    pub fn notify(&mut self, key: &[u8], event: Event) {
        self.effects.notify(self.db, key, event);
    }

    /// Does something in another database.
    pub fn in_db<R>(&mut self, db: usize, work: impl FnOnce(&mut WriteCtx<'_, 'h>) -> R) -> R {
        let mut other = WriteCtx {
            engine: self.engine,
            hold: self.hold,
            db,
            physical: self.engine.physical(db),
            now_ms: self.now_ms,
            clock: self.clock,
            planned: self.planned,
            effects: self.effects,
        };
        work(&mut other)
    }

    /// Says what the log is to hold instead of the command as it was given.
    pub fn log_instead(&mut self, command: &[&[u8]]) {
        self.effects.log_instead(command);
    }
}

impl Engine {
    /// Puts an entry aside that has left the keyspace, to be freed after the locks are gone: by the save that is walking
    /// over its value, if there is one.
    fn discard(&self, effects: &mut Effects, entry: StoredEntry, cause: Cause) {
        if let Some(entry) = self.saver.adopt(entry) {
            effects.garbage.push(Garbage::entry(entry, cause));
        }
    }
}

/// Gives an entry a body of its own to change if a save reads the one it has, and returns how many bytes less that one
/// takes. What is large is not saved in that way.
#[inline]
fn unshare(slot: &mut Slot<'_, StoredEntry>) -> i64 {
    match shared_of(slot.get()) {
        Some(body) if body.is_pinned() => copy_body(slot),
        _ => 0,
    }
}

#[cold]
fn copy_body(slot: &mut Slot<'_, StoredEntry>) -> i64 {
    let Some(body) = shared_of(slot.get()) else { return 0 };
    let before = body.memory();
    let copy = Pinned::new(Body::clone(body));
    let after = copy.shared().memory();
    slot.modify(|entry| (entry.with_value(Value::Body(copy)), ()));
    before as i64 - after as i64
}

/// Does something with a body as it is stored: packed into its entry where it is small, behind a pointer otherwise.
fn with_stored<R>(body: Body, work: impl FnOnce(Value<'_, Pinned<Body>>) -> R) -> R {
    match body.packed().map(Packed::parts) {
        Some((tag, bytes)) => work(Value::Packed(tag, bytes)),
        None => work(Value::Body(Pinned::new(body))),
    }
}

/// A collection opened for changing.
///
/// One that is packed into its entry is taken out, into memory that guards use in turn, and put back in the end.
///
/// The handler says with [`Guard::changed`] how many changes it made; none means that nothing happened. When the
/// guard is dropped the change takes effect: memory is accounted, watchers and listeners hear of it, and a collection
/// that was emptied is removed together with its key.
pub struct Guard<'g, T: Collection> {
    engine: &'g Engine,
    slot: Option<Slot<'g, StoredEntry>>,
    /// The collection, if its entry has it packed.
    taken_out: Option<T>,
    watchers: &'g mut Watchers,
    ledger: Ledger<'g>,
    effects: &'g mut Effects,
    db: usize,
    key: &'g [u8],
    event: Event,
    before: usize,
    changes: u64,
    is_touched: bool,
}

impl<T: Collection> Guard<'_, T> {
    /// Notes `changes` changes.
    pub fn changed(&mut self, changes: u64) {
        self.changes += changes;
    }

    /// Lets watchers and listeners hear of something even if no change is counted, as Redis does for LTRIM.
    pub fn touch(&mut self) {
        self.is_touched = true;
    }

    /// Exchanges the event that was named when the guard was opened.
    pub fn rename_event(&mut self, event: Event) {
        self.event = event;
    }
}

impl<T: Collection> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        if let Some(taken_out) = &self.taken_out {
            return taken_out;
        }
        let slot = self.slot.as_ref().expect("the slot is there until the guard is dropped");
        let body = shared_of(slot.get()).expect("the guard was opened on a body");
        T::of(body).expect("the guard was opened on a body of this type")
    }
}

impl<T: Collection> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        if let Some(taken_out) = &mut self.taken_out {
            return taken_out;
        }
        let slot = self.slot.as_mut().expect("the slot is there until the guard is dropped");
        let body = slot.body_mut().expect("the guard was opened on a body that nobody pins");
        T::of_mut(body).expect("the guard was opened on a body of this type")
    }
}

/// Puts a collection that was taken out back into its slot, and returns memory for the next one.
fn put_back<T: Collection>(slot: &mut Slot<'_, StoredEntry>, collection: T) -> Vec<u8> {
    let Some((tag, bytes)) = collection.packed().map(Packed::parts) else {
        let body = Pinned::new(collection.into_body());
        slot.modify(|entry| (entry.with_value(Value::Body(body)), ()));
        return Vec::new();
    };
    slot.modify(|entry| (entry.with_value(Value::Packed(tag, bytes)), ()));
    collection.into_memory()
}

impl<T: Collection> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        let is_empty = self.is_empty();
        let Some(mut slot) = self.slot.take() else { return };
        let is_touched = self.changes > 0 || self.is_touched;
        if is_touched {
            self.effects.touched(self.watchers, self.db, self.key, self.event, self.changes);
        }
        if !is_empty {
            if let Some(collection) = self.taken_out.take() {
                self.effects.scratch = put_back(&mut slot, collection);
            }
            let after = Found::new(slot.get()).memory();
            self.engine.account(&mut self.ledger, after as i64 - self.before as i64);
            return;
        }
        self.engine.account(&mut self.ledger, -(self.before as i64));
        self.engine.discard(self.effects, slot.take(), Cause::Replaced);
        if is_touched {
            self.effects.touched(self.watchers, self.db, self.key, Event::DEL, 0);
        }
    }
}
