//! Calls that go straight to their key: one lock, one lookup, no request and no reply.
//!
//! They do all that the command of the same name does: expiry, counting, eviction, events, the log. While somebody
//! watches commands (MONITOR) or holds them up (CLIENT PAUSE) they are made as commands after all, so that nothing
//! goes past them. Only their duration is not measured: they are far too short for the slow log.

use super::Larder;
use super::options::{Condition, SetOptions, Ttl};
use super::typed::{bytes, integer, request};
use crate::command::Memory;
use crate::commands::cache::{self, CacheEntry};
use crate::effects::Event;
use crate::engine::Engine;
use crate::exec::count_lookups;
use crate::fault::Fault;
use crate::keyspace::{Expiry, PlannedKey, ReadCtx, Shard, WriteCtx};
use crate::lane::Lane;
use crate::prefetch::Lookup;
use crate::registry::{self, Registered};
use crate::types::string::Digits;
use larder_resp::{OwnedRequest, Request};
use larder_structures::hash;
use larder_structures::sync::{Hold, Shards};
use std::time::Duration;

/// A value, and how long it will live if it expires.
pub type WithTtl = (Vec<u8>, Option<Duration>);

/// The commands that direct calls stand for, found once.
pub(super) struct Calls {
    get: &'static Registered,
    set: &'static Registered,
    del: &'static Registered,
    exists: &'static Registered,
    pexpire: &'static Registered,
    pttl: &'static Registered,
    incrby: &'static Registered,
    cache_get: &'static Registered,
}

impl Calls {
    pub(super) fn find() -> Calls {
        let find = |name: &str| registry::find(name.as_bytes()).expect("the command is in its family's list");
        Calls {
            get: find("GET"),
            set: find("SET"),
            del: find("DEL"),
            exists: find("EXISTS"),
            pexpire: find("PEXPIRE"),
            pttl: find("PTTL"),
            incrby: find("INCRBY"),
            cache_get: find("CACHE").subcommand(b"GET").expect("it is among the subcommands"),
        }
    }
}

impl Larder {
    /// Whether nobody has to see, or may hold up, what is called.
    #[inline]
    fn is_direct(&self) -> bool {
        let engine = &self.home.engine;
        !engine.clients.has_monitors() && !engine.pause.is_begun()
    }

    /// The hash of a key, whose bucket is fetched from here on, while the call is prepared.
    #[inline(always)]
    fn foresee(&self, key: &[u8]) -> u64 {
        let hash = hash::of(key);
        self.home.engine.prefetch_bucket(Lookup { db: self.db, key: hash, member: None });
        hash
    }

    #[inline(always)]
    fn read<R>(
        &self,
        registered: &'static Registered,
        key: &[u8],
        work: impl FnOnce(&ReadCtx<'_>) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let hash = self.foresee(key);
        let planned = PlannedKey::new(key, hash);
        self.read_held(registered, planned, |shards| shards.one(hash::shard(hash, shards.len())), work)
    }

    /// Reads what is in the shards that `take` takes.
    ///
    /// This and what it calls is inlined, so that results stay in registers: copied from place to place they would have
    /// to leave the processor's store buffer first, again and again.
    #[inline(always)]
    fn read_held<'l, R>(
        &'l self,
        registered: &'static Registered,
        planned: PlannedKey<'_>,
        take: impl FnOnce(&'l Shards<Shard>) -> Hold<'l, Shard>,
        work: impl FnOnce(&ReadCtx<'_>) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        self.home.callers.with(|engine, caller| {
            let lane = &mut caller.lane;
            begin(engine, lane, registered)?;
            let result = {
                let mut hold = take(&engine.shards);
                engine.enter(lane, &mut hold)?;
                let ctx = ReadCtx { planned, ..engine.reader(lane, &hold, self.db, true) };
                let result = work(&ctx);
                let notes = ctx.notes;
                if let Some(seldom) = count_lookups(lane, notes) {
                    engine.begin_effects(lane);
                    engine.expire(lane, &mut hold, self.db, seldom.expired);
                    engine.commit_removals(lane, &mut hold);
                }
                result
            };
            engine.free(&mut lane.effects.garbage);
            engine.after_call(lane)?;
            result
        })
    }

    #[inline(always)]
    fn write<R>(
        &self,
        registered: &'static Registered,
        key: &[u8],
        as_request: impl FnOnce() -> OwnedRequest,
        work: impl FnOnce(&mut WriteCtx<'_, '_>) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let hash = self.foresee(key);
        self.home.callers.with(|engine, caller| {
            let lane = &mut caller.lane;
            begin(engine, lane, registered)?;
            if engine.is_short_of_memory() {
                engine.evict(lane);
                if registered.command.memory == Memory::Grows && engine.is_short_of_memory() {
                    return Err(Fault::OUT_OF_MEMORY);
                }
            }
            let result = {
                let mut hold = engine.shards.one(hash::shard(hash, engine.shard_count()));
                engine.enter(lane, &mut hold)?;
                let planned = PlannedKey::new(key, hash);
                engine.begin_effects(lane);
                let result = work(&mut WriteCtx { planned, ..engine.writer(lane, &mut hold, self.db) });
                let logged = lane.effects.is_logged.then(as_request);
                let request = logged.as_ref().map_or(Request::NONE, |logged| logged.as_request());
                engine.commit_command(lane, &mut hold, self.db, registered, request);
                result
            };
            engine.free(&mut lane.effects.garbage);
            engine.after_call(lane)?;
            result
        })
    }

    /// CACHE GET: an entry of a cache under the key `value`, and what its namespace keeps under `meta`. `None` where the
    /// command has to be executed instead: while somebody watches commands or holds them up, and if it fails.
    pub fn cache_get(&self, value: impl AsRef<[u8]>, meta: impl AsRef<[u8]>) -> Option<CacheEntry> {
        let (value, meta) = (value.as_ref(), meta.as_ref());
        if !self.is_direct() {
            return None;
        }
        let hashes = [self.foresee(value), self.foresee(meta)];
        let planned = PlannedKey::new(value, hashes[0]);
        let read = self.read_held(
            self.home.calls.cache_get,
            planned,
            |shards| shards.many(hashes.map(|hash| hash::shard(hash, shards.len()))),
            |ctx| cache::entry(ctx, value, meta),
        );
        read.ok()
    }

    /// GET: the string under a key.
    ///
    /// # Errors
    /// [`Fault::WRONG_TYPE`] if the key holds something else.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Fault> {
        let key = key.as_ref();
        if !self.is_direct() {
            return bytes(self.ask(request(&[b"GET", key]))?);
        }
        // Beside the result, which is then small.
        let mut string = Vec::new();
        let is_there = self.read(self.home.calls.get, key, |ctx| {
            let Some(found) = ctx.string(key)? else { return Ok(false) };
            string = found.to_vec();
            Ok(true)
        })?;
        Ok(is_there.then_some(string))
    }

    /// GET and PTTL at once: the string under a key, and how long it will live if it expires. Counted as GET.
    ///
    /// # Errors
    /// As [`Larder::get`].
    pub fn get_with_ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<WithTtl>, Fault> {
        let key = key.as_ref();
        if !self.is_direct() {
            let left = |ttl| if let Ttl::In(left) = ttl { Some(left) } else { None };
            return Ok(self.get(key)?.zip(self.ttl(key)?.map(left)));
        }
        self.read(self.home.calls.get, key, |ctx| {
            let Some(found) = ctx.find(key) else { return Ok(None) };
            let string = found.view.string()?.to_vec();
            Ok(Some((string, found.expires_at_ms.map(|at_ms| time_until(at_ms, ctx.now_ms)))))
        })
    }

    /// Begins to fetch into the processor's cache what a call for this key will look at, without waiting for it: for who
    /// knows a key some dozens of nanoseconds before it is needed. Changes nothing and tells nothing.
    pub fn prefetch(&self, key: impl AsRef<[u8]>) {
        self.foresee(key.as_ref());
    }

    /// [`Larder::get`] into a buffer of the caller's, which is emptied before: no allocation once it is large enough.
    /// Returns whether the key is there.
    ///
    /// # Errors
    /// As [`Larder::get`].
    pub fn get_into(&self, key: impl AsRef<[u8]>, out: &mut Vec<u8>) -> Result<bool, Fault> {
        let key = key.as_ref();
        out.clear();
        if !self.is_direct() {
            let found = bytes(self.ask(request(&[b"GET", key]))?)?;
            found.iter().for_each(|found| out.extend_from_slice(found));
            return Ok(found.is_some());
        }
        self.read(self.home.calls.get, key, |ctx| {
            let found = ctx.string(key)?;
            found.iter().for_each(|string| out.extend_from_slice(string.bytes(&mut Digits::new())));
            Ok(found.is_some())
        })
    }

    /// SET: stores a string under a key, whatever it held, for ever.
    ///
    /// # Errors
    /// [`Fault::OUT_OF_MEMORY`] if memory is short and nothing may be evicted.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Fault> {
        self.set_with(key, value, SetOptions::new()).map(|_| ())
    }

    /// SET with PX: stores a string under a key, whatever it held, for some time.
    ///
    /// # Errors
    /// As [`Larder::set_with`].
    pub fn set_for(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        time: Duration,
    ) -> Result<(), Fault> {
        self.set_with(key, value, SetOptions::new().ttl(Ttl::In(time))).map(|_| ())
    }

    /// SET with its options. Returns whether the value was stored: whether the condition was met.
    ///
    /// # Errors
    /// [`Fault::OUT_OF_MEMORY`] as with [`Larder::set`]; an invalid expire time if it is not at least a millisecond
    /// from now, or beyond 63 bits of milliseconds; [`Fault::WRONG_TYPE`] if a value is to be compared with something
    /// that is no string.
    pub fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: SetOptions<'_>,
    ) -> Result<bool, Fault> {
        let (key, value) = (key.as_ref(), value.as_ref());
        if !self.is_direct() {
            let now_ms = self.home.engine.clock.unix_us() / 1000;
            return Ok(!self.ask(set_request(key, value, options, now_ms)?)?.is_null());
        }
        let as_request = || request(&[b"SET", key, value]);
        self.write(self.home.calls.set, key, as_request, |ctx| {
            let expiry = options.ttl.moment(ctx.now_ms).ok_or_else(|| Fault::invalid_expire("set"))?;
            let is_met = match options.condition {
                Condition::Always => true,
                Condition::Absent => !ctx.exists(key),
                Condition::Present => ctx.exists(key),
                Condition::Equal(wanted) => {
                    ctx.string(key)?.is_some_and(|string| string.bytes(&mut Digits::new()) == wanted)
                }
            };
            let is_late = options.condition == Condition::Always && ctx.comes_too_late(key);
            if is_met && !is_late {
                ctx.set_string(key, value, expiry, Event::SET);
                match expiry {
                    Expiry::Never => {}
                    Expiry::Keep => ctx.log_instead(&[b"SET", key, value, b"KEEPTTL"]),
                    Expiry::AtMs(at_ms) => {
                        ctx.notify(key, Event::EXPIRE);
                        let at_ms = Digits::new().format(at_ms).to_owned();
                        ctx.log_instead(&[b"SET", key, value, b"PXAT", at_ms.as_bytes()]);
                    }
                }
            }
            Ok(is_met)
        })
    }

    /// DEL: deletes a key. Returns whether it was there.
    ///
    /// # Errors
    /// Only if the engine has stopped; see [`Fault::POISONED`].
    pub fn del(&self, key: impl AsRef<[u8]>) -> Result<bool, Fault> {
        let key = key.as_ref();
        let as_request = || request(&[b"DEL", key]);
        if !self.is_direct() {
            return Ok(integer(self.ask(as_request())?)? == 1);
        }
        self.write(self.home.calls.del, key, as_request, |ctx| Ok(ctx.delete(key, Event::DEL)))
    }

    /// EXISTS: whether a key is there.
    ///
    /// # Errors
    /// As [`Larder::del`].
    pub fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool, Fault> {
        let key = key.as_ref();
        if !self.is_direct() {
            return Ok(integer(self.ask(request(&[b"EXISTS", key]))?)? == 1);
        }
        self.read(self.home.calls.exists, key, |ctx| Ok(ctx.find_untouched(key).is_some()))
    }

    /// PEXPIRE: lets a key expire after some time; none deletes it at once. Returns whether it was there.
    ///
    /// # Errors
    /// An invalid expire time if it is beyond 63 bits of milliseconds.
    pub fn expire(&self, key: impl AsRef<[u8]>, time: Duration) -> Result<bool, Fault> {
        let key = key.as_ref();
        let invalid = || Fault::invalid_expire("pexpire");
        let millis = i64::try_from(time.as_millis()).map_err(|_| invalid())?;
        let as_request = || request(&[b"PEXPIRE", key, Digits::new().format(millis).as_bytes()]);
        if !self.is_direct() {
            return Ok(integer(self.ask(as_request())?)? == 1);
        }
        self.write(self.home.calls.pexpire, key, as_request, |ctx| {
            let at_ms = millis.checked_add(ctx.now_ms as i64).ok_or_else(invalid)? as u64;
            if millis == 0 {
                let was_there = ctx.delete(key, Event::DEL);
                if was_there {
                    ctx.log_instead(&[b"DEL", key]);
                }
                return Ok(was_there);
            }
            let is_there = ctx.set_expiry(key, Some(at_ms), Event::EXPIRE);
            if is_there {
                ctx.log_instead(&[b"PEXPIREAT", key, Digits::new().format(at_ms).as_bytes()]);
            }
            Ok(is_there)
        })
    }

    /// PTTL: how long a key will live: [`Ttl::Never`] if it does not expire, otherwise [`Ttl::In`]. `None` if it is
    /// not there.
    ///
    /// # Errors
    /// As [`Larder::del`].
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Ttl>, Fault> {
        let key = key.as_ref();
        if !self.is_direct() {
            return Ok(match integer(self.ask(request(&[b"PTTL", key]))?)? {
                -2 => None,
                -1 => Some(Ttl::Never),
                millis => Some(Ttl::In(Duration::from_millis(millis.unsigned_abs()))),
            });
        }
        self.read(self.home.calls.pttl, key, |ctx| {
            Ok(ctx.find_untouched(key).map(|found| match found.expires_at_ms {
                None => Ttl::Never,
                Some(at_ms) => Ttl::In(time_until(at_ms, ctx.now_ms)),
            }))
        })
    }

    /// INCRBY: adds to the integer under a key, 0 for an absent one, and returns the sum.
    ///
    /// # Errors
    /// [`Fault::NOT_INTEGER`], [`Fault::INCREMENT_OVERFLOW`], [`Fault::WRONG_TYPE`] or [`Fault::OUT_OF_MEMORY`].
    pub fn incr_by(&self, key: impl AsRef<[u8]>, increment: i64) -> Result<i64, Fault> {
        let key = key.as_ref();
        let as_request = || request(&[b"INCRBY", key, Digits::new().format(increment).as_bytes()]);
        if !self.is_direct() {
            return integer(self.ask(as_request())?);
        }
        self.write(self.home.calls.incrby, key, as_request, |ctx| ctx.add_integer(key, increment))
    }
}

/// How long it is to a moment that has not come yet.
fn time_until(at_ms: u64, now_ms: u64) -> Duration {
    Duration::from_millis(at_ms.saturating_sub(now_ms))
}

/// The checks before a direct call, and its entry in the counters.
#[inline(always)]
fn begin(engine: &Engine, lane: &mut Lane, registered: &Registered) -> Result<(), Fault> {
    if engine.is_poisoned() {
        return Err(Fault::POISONED);
    }
    lane.begin_call();
    lane.stats.processed.add(1);
    lane.stats.commands[registered.id].calls.add(1);
    Ok(())
}

/// SET as a command.
fn set_request(
    key: &[u8],
    value: &[u8],
    options: SetOptions<'_>,
    now_ms: u64,
) -> Result<OwnedRequest, Fault> {
    let mut set = request(&[b"SET", key, value]);
    match options.condition {
        Condition::Always => {}
        Condition::Absent => set.push(b"NX"),
        Condition::Present => set.push(b"XX"),
        Condition::Equal(wanted) => {
            set.push(b"IFEQ");
            set.push(wanted);
        }
    }
    match options.ttl.moment(now_ms).ok_or_else(|| Fault::invalid_expire("set"))? {
        Expiry::Never => {}
        Expiry::Keep => set.push(b"KEEPTTL"),
        Expiry::AtMs(at_ms) => {
            set.push(b"PXAT");
            set.push(Digits::new().format(at_ms).as_bytes());
        }
    }
    Ok(set)
}
