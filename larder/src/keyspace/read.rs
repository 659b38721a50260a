//! The view of the keyspace that a reading command has.
//!
//! It changes nothing: no rehash step, no deletion of what it finds expired, no cache. That is what lets a long read
//! run on pinned values without any lock. What a lookup causes all the same (a hit counted, an access clock moved, an
//! expired key to be removed) is noted, and the executor does it afterwards, still under the locks if there are any.

use super::eviction::{Meter, access_clock};
use super::key::PlannedKey;
use super::shard::Shard;
use super::view::{Found, View, shared_of};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::lane::Attachment;
use crate::types::string::StringRef;
use crate::types::{Body, Collection, Packed};
use larder_resp::ReplyWriter;
use larder_structures::entry::{EntryRef, ValueRef};
use larder_structures::hash;
use larder_structures::sync::{Hold, Pin, Pinned, Shared};
use std::cell::Cell;
use std::sync::Arc;

/// Where a reading command finds its keys.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Under locks.
    Held(&'a Hold<'a, Shard>),
    /// In what was pinned or copied under locks that are released since.
    Pinned(&'a [PinnedKey]),
}

/// A key of a long read.
pub(crate) struct PinnedKey {
    pub(crate) key: Box<[u8]>,
    pub(crate) value: Option<PinnedValue>,
    pub(crate) expires_at_ms: Option<u64>,
}

/// The value of a key of a long read.
pub(crate) enum PinnedValue {
    Body(Pin<Body>),
    Bytes(Box<[u8]>),
    Integer(i64),
    Packed(u8, Box<[u8]>),
}

/// What lookups caused, to be done when the handler is through.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) hits: Cell<u64>,
    pub(crate) misses: Cell<u64>,
    /// What few commands cause, so that the others need not make and clear away its lists.
    pub(crate) seldom: Cell<Option<Box<Seldom>>>,
}

/// What few lookups cause.
#[derive(Default)]
pub(crate) struct Seldom {
    pub(crate) expired: Vec<Box<[u8]>>,
    pub(crate) attached: Vec<Attachment>,
}

impl Notes {
    #[inline]
    fn expired(&self, key: &[u8]) {
        self.seldom.set(Some(with_expired(self.seldom.take(), key)));
    }

    fn attached(&self, attachment: Attachment) {
        let mut seldom = self.seldom.take().unwrap_or_default();
        seldom.attached.push(attachment);
        self.seldom.set(Some(seldom));
    }
}

/// Given no address of the notes, which can stay in registers.
#[cold]
fn with_expired(seldom: Option<Box<Seldom>>, key: &[u8]) -> Box<Seldom> {
    let mut seldom = seldom.unwrap_or_default();
    seldom.expired.push(key.into());
    seldom
}

/// What a reading handler works with.
pub struct ReadCtx<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) source: Source<'a>,
    /// The logical number of the database.
    pub db: usize,
    pub(crate) physical: usize,
    /// The time of this command, in Unix milliseconds.
    pub now_ms: u64,
    /// What lookups set access clocks to; `None` leaves them alone.
    pub(crate) clock: Option<u32>,
    pub(crate) planned: PlannedKey<'a>,
    /// Whether a large string may be sent from where it is; see [`Attachment`].
    pub(crate) attaches: bool,
    pub(crate) notes: Notes,
}

impl<'a> ReadCtx<'a> {
    /// Looks a key up for its value: counts a hit or a miss and moves its access clock.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<Found<'_>> {
        self.find_with(key, self.clock)
    }

    /// [`ReadCtx::find`], but the access clock stays: for commands that ask about a key and not for its value.
    pub fn find_untouched(&self, key: &[u8]) -> Option<Found<'_>> {
        self.find_with(key, None)
    }

    #[inline(always)]
    fn find_with(&self, key: &[u8], clock: Option<u32>) -> Option<Found<'_>> {
        let found = self.look(key, clock);
        let counter = if found.is_some() { &self.notes.hits } else { &self.notes.misses };
        counter.set(counter.get() + 1);
        found
    }

    /// Looks a key up without leaving a trace, for estimates and second looks.
    pub fn peek(&self, key: &[u8]) -> Option<Found<'_>> {
        self.look(key, None)
    }

    #[inline(always)]
    fn look(&self, key: &[u8], clock: Option<u32>) -> Option<Found<'_>> {
        match self.source {
            Source::Held(hold) => {
                let hash = self.planned.hash_of(key);
                let shard = hold.shard(hash::shard(hash, self.engine.shard_count()));
                let facts = shard.db(self.physical)?.keys.look(hash, |entry| entry.facts_of(key))?;
                if facts.expires_at_ms().is_some_and(|at_ms| at_ms <= self.now_ms) {
                    self.notes.expired(key);
                    return None;
                }
                if let Some(clock) = clock {
                    facts.set_clock(self.engine.touched(facts.clock(), clock));
                }
                Some(Found::of(&facts))
            }
            Source::Pinned(keys) => look_in_pinned(keys, key),
        }
    }

    /// The string under `key`.
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`] if it is no string.
    #[inline(always)]
    pub fn string(&self, key: &[u8]) -> Result<Option<StringRef<'_>>, Fault> {
        self.find(key).map(|found| found.view.string()).transpose()
    }

    /// Replies the string that was found: one that is large enough is not copied if it can be sent from where it is.
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`] if it is something else.
    #[inline]
    pub fn reply_string(&self, found: &Found<'_>, reply: &mut ReplyWriter<'_>) -> Result<(), Fault> {
        match found.attachable() {
            Some(bytes) if self.attaches => {
                let at = reply.bulk_around(bytes.len());
                self.notes.attached(Attachment { at, bytes: Arc::clone(bytes) });
            }
            _ => found.view.string()?.reply(reply),
        }
        Ok(())
    }

    /// The collection of type `T` under `key`.
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`] if it is something else.
    #[inline]
    pub fn collection<T: Collection>(&self, key: &[u8]) -> Result<Option<T::Ref<'_>>, Fault> {
        self.find(key).map(|found| found.view.collection::<T>()).transpose()
    }

    /// How many elements the collection under `key` has, whatever its type; for estimates of work.
    pub fn elements(&self, key: &[u8]) -> u64 {
        match self.peek(key).map(|found| found.view) {
            Some(View::Body(body)) => body.elements() as u64,
            Some(View::String(_)) | None => 0,
        }
    }

    /// The engine's parameters.
    pub fn config(&self) -> &crate::config::Config {
        &self.engine.config
    }

    /// How the access clocks of keys are read now.
    pub(crate) fn meter(&self) -> Meter {
        self.engine.meter(access_clock(self.now_ms * 1000))
    }

    /// An unpredictable number.
    pub fn random(&self) -> u64 {
        self.engine.random()
    }
}

#[cold]
fn look_in_pinned<'k>(keys: &'k [PinnedKey], key: &[u8]) -> Option<Found<'k>> {
    let pinned = keys.iter().find(|pinned| *pinned.key == *key)?;
    let view = match pinned.value.as_ref()? {
        PinnedValue::Body(body) => View::of_body(body),
        PinnedValue::Packed(tag, bytes) => View::Body(Packed::new(*tag, bytes).into()),
        PinnedValue::Bytes(bytes) => View::String(StringRef::Bytes(bytes)),
        PinnedValue::Integer(number) => View::String(StringRef::Integer(*number)),
    };
    let expires_at_ms = pinned.expires_at_ms;
    Some(Found { view, expires_at_ms, clock: 0, is_raw: false, entry_size: 0, body: None })
}

impl PinnedKey {
    /// The body under `key`, found under locks.
    pub(crate) fn shared_body<'a>(
        engine: &Engine,
        hold: &'a Hold<'_, Shard>,
        physical: usize,
        key: &[u8],
    ) -> Option<&'a Shared<Body>> {
        let hash = hash::of(key);
        let shard = hold.shard(hash::shard(hash, engine.shard_count()));
        shared_of(shard.db(physical)?.keys.get_hashed(hash, key)?)
    }

    /// Takes what `ctx`, under the locks of `hold`, finds at `key`: pins it, or copies it if that is less. `None` if the
    /// value takes no pins, because a writer waits for it.
    pub(crate) fn take(ctx: &ReadCtx<'_>, hold: &Hold<'_, Shard>, key: &[u8]) -> Option<PinnedKey> {
        let entry = Self::entry(ctx.engine, hold, ctx.physical, key, ctx.now_ms);
        let expires_at_ms = entry.and_then(|entry| entry.expires_at_ms());
        let value = match entry.map(|entry| entry.value()) {
            None => None,
            Some(ValueRef::Bytes(bytes)) => Some(PinnedValue::Bytes(bytes.into())),
            Some(ValueRef::Integer(number)) => Some(PinnedValue::Integer(number)),
            Some(ValueRef::Packed(tag, bytes)) => Some(PinnedValue::Packed(tag, bytes.into())),
            Some(ValueRef::Body(body)) => Some(PinnedValue::Body(body.pin(&ctx.engine.unpinned)?)),
        };
        if let (Some(entry), Some(clock)) = (entry, ctx.clock) {
            entry.set_clock(ctx.engine.touched(entry.clock(), clock));
        }
        Some(PinnedKey { key: key.into(), value, expires_at_ms })
    }

    /// Whether the key still is what it was when it was taken; its shard is held. Pinned bodies do not change, so
    /// for them it is enough that they are still there.
    pub(crate) fn is_current(
        &self,
        engine: &Engine,
        hold: &Hold<'_, Shard>,
        physical: usize,
        now_ms: u64,
    ) -> bool {
        let entry = Self::entry(engine, hold, physical, &self.key, now_ms);
        match (&self.value, entry.map(|entry| entry.value())) {
            (None, None) => true,
            (Some(PinnedValue::Body(pin)), Some(ValueRef::Body(body))) => pin.is_of(body),
            (Some(PinnedValue::Bytes(old)), Some(ValueRef::Bytes(new))) => **old == *new,
            (Some(PinnedValue::Packed(old_tag, old)), Some(ValueRef::Packed(tag, new))) => {
                *old_tag == tag && **old == *new
            }
            (Some(PinnedValue::Integer(old)), Some(ValueRef::Integer(new))) => *old == new,
            _ => false,
        }
    }

    /// The entry under `key`, unless it is expired.
    fn entry<'a>(
        engine: &Engine,
        hold: &'a Hold<'_, Shard>,
        physical: usize,
        key: &[u8],
        now_ms: u64,
    ) -> Option<EntryRef<'a, Pinned<Body>>> {
        let hash = hash::of(key);
        let shard = hold.shard(hash::shard(hash, engine.shard_count()));
        let entry = shard.db(physical)?.keys.get_hashed(hash, key)?;
        entry.expires_at_ms().is_none_or(|at_ms| at_ms > now_ms).then_some(entry)
    }
}
