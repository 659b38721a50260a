//! The append-only file of an engine: switched on and off, fed, rewritten, and what others must wait for.
//!
//! # Who writes
//!
//! Threads of a server write what their turn has appended before they send its replies ([`Engine::feed_log`]), so what
//! a client was told survives the end of the process, unless a sync is under way. They wait neither for that nor for each
//! other: one of them writes, the others leave it what they have. A thread of its own, the feeder, syncs, writes what is
//! left, and sees to rewrites.
//!
//! # appendfsync always
//!
//! Then nobody is told of anything that a crash could take back: every reply waits until the last write to whatever its
//! command has touched is synced ([`Engine::wait_of`], [`Engine::may_tell`]). Threads do not wait; connections keep
//! their output back. One sync covers all that was appended before it began, of all connections.
//!
//! Those who are told by one sync soon write again, while those who wrote during that sync already wait for the next. If
//! the next began at once, the writers would fall into two groups that take turns, and each sync would serve half of
//! them. So the feeder waits until as many have written as there are in both groups. If they do not come it waits less the
//! next time, until it is hardly a part of what a sync takes.
//!
//! To wake the feeder, and to be woken by it, costs two changes of threads, which is much beside a fast disk. So if the
//! last sync has taken less than half a millisecond, threads leave the feeder asleep and sync themselves: at once if it is
//! the last write everybody waits for, else as soon as no connection has anything more to say ([`Engine::sync_log`]).
//!
//! # appendfsync everysec
//!
//! Nobody waits for a sync that takes its usual time; what is written meanwhile follows it. But if it takes longer than two
//! seconds, whoever writes waits for it: more than that would be lost with the process, and that is not what `everysec`
//! says. INFO counts it as `aof_delayed_fsync`.
//!
//! # Trouble
//!
//! While the disk does not take what it is given, writes are refused (MISCONF) and reads go on. With `always` there may
//! be replies by then whose writes are neither durable nor refused. Nobody can say what becomes of them, so their
//! connections are closed ([`Told::Never`]).

use super::commands::to_commands;
use super::feeder::{Feeder, Fsync, Manner, Trouble};
use super::files::{Files, Place};
use crate::effects::log::Cursor;
use crate::engine::Engine;
use crate::fault::Fault;
use crate::lane::Lane;
use crate::persist::saver::SaveJob;
use larder_structures::sync::{Bell, Ticket, WaitList, block_on_wait};
use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

/// How often the feeder looks by itself, and how often while there is something to write.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_SOON: Duration = Duration::from_millis(20);
/// Microseconds that a sync takes at most for a thread that serves connections to do it itself.
const SHORT_SYNC_US: u64 = 500;
/// For how long the feeder waits at most for others to sync with.
const GATHER_MAX: Duration = Duration::from_millis(4);
/// Bytes not yet written from which on whoever writes waits for the disk.
const WAITING_MAX: u64 = 256 * 1024 * 1024;
/// How long a sync of `everysec` may take before who writes waits for it: what is written meanwhile is only in memory.
const SLOW_SYNC_MS: u64 = 2000;
/// Milliseconds after which a failed rewrite is tried again that must succeed before there can be writes.
const RETRY_NEEDED_MS: u64 = 10_000;
/// Failed rewrites in a row after which the next waits: a minute, then twice as long each time, up to an hour.
const FAILURES_MAX: u64 = 3;

/// What the output of commands waits for before it may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    position: u64,
    epoch: u64,
}

impl Wait {
    /// The position in the log that must be durable.
    pub fn position(&self) -> u64 {
        self.position
    }
}

/// How far the log has come; see [`Engine::progress_of_syncs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncProgress {
    is_holding: bool,
    epoch: u64,
    synced: u64,
}

/// Whether output may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It may.
    Now,
    /// Not yet.
    Later,
    /// What it tells of may be lost, or may not: nobody can say. The connection is to be closed.
    Never,
}

/// The append-only file of an engine; see the module's text.
#[derive(Default)]
pub(crate) struct Aof {
    feeder: Mutex<Option<Feeder>>,
    bell: Arc<Bell>,
    /// Who waits for a sync.
    syncs: WaitList,
    /// What threads that make a base have to say: a cursor at its moment, and how it ended.
    cursor: Mutex<Option<(u64, Cursor, u64)>>,
    bases: Mutex<Vec<(u64, io::Result<()>)>>,
    gathering: Gathering,
    is_rewrite_wanted: AtomicBool,
    /// How many rewrites were begun, which gives each its number.
    begun: AtomicU64,
    has_thread: AtomicBool,
    /// Position up to which the log is written, for a look without a lock.
    written: AtomicU64,
    /// Whether writes are refused, and why.
    is_refusing: AtomicBool,
    why: Mutex<String>,
    facts: Facts,
}

/// Waiting for more to be synced together.
#[derive(Default)]
struct Gathering {
    /// The number of records that are synced.
    synced: AtomicU64,
    /// How long the last sync took, microseconds.
    sync_us: AtomicU64,
    /// For how long to wait, microseconds.
    limit_us: AtomicU64,
}

/// What INFO tells.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) is_on: AtomicBool,
    pub(crate) is_rewriting: AtomicBool,
    /// Seconds, plus one; 0 for none so far.
    pub(crate) last_rewrite_s: AtomicI64,
    /// Milliseconds on the clock that does not jump, plus one; 0 for no rewrite.
    pub(crate) rewrite_began_ms: AtomicU64,
    pub(crate) has_rewrite_failed: AtomicBool,
    pub(crate) rewrites: AtomicU64,
    pub(crate) failures_in_a_row: AtomicU64,
    /// Milliseconds on the clock that does not jump, before which no rewrite begins by itself.
    retry_at_ms: AtomicU64,
    pub(crate) current_len: AtomicU64,
    pub(crate) base_len: AtomicU64,
    /// Bytes after the last rewrite, or at the start.
    rewritten_len: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) syncs: AtomicU64,
    /// When the sync under way began: milliseconds on the clock that does not jump, plus one; 0 if there is none.
    sync_began_ms: AtomicU64,
    /// How often somebody who writes had to wait for a sync of `everysec`.
    pub(crate) delays: AtomicU64,
}

impl Aof {
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether writes are refused because the disk does not take them.
    #[inline]
    pub(crate) fn is_refusing(&self) -> bool {
        self.is_refusing.load(Ordering::Acquire)
    }

    /// What refused writes are answered with.
    #[cold]
    pub(crate) fn refusal(&self) -> Fault {
        Fault::coded("MISCONF", format!("Errors writing to the AOF file: {}", self.why.lock()))
    }
}

impl Engine {
    fn manner(&self) -> Manner {
        Manner {
            fsync: self.config.fsync(),
            rests_on_rewrite: self.config.no_fsync_on_rewrite.load(Ordering::Relaxed),
            has_timestamps: self.config.aof_timestamps.load(Ordering::Relaxed),
            is_awaited: !self.aof.syncs.is_empty(),
            elapsed_us: self.clock.elapsed_us(),
            now_s: self.clock.unix_us() / 1_000_000,
        }
    }

    /// Switches the append-only file on before anybody uses the engine, whose data is what the files in `place` hold, or
    /// is to be their beginning if there are none.
    ///
    /// # Errors
    /// The disk's, or what is wrong with the manifest.
    pub fn open_aof(self: &Arc<Self>, place: Place) -> io::Result<()> {
        let mut feeder = Feeder::new(Files::open(place)?);
        let is_there = feeder.files().has_base();
        if is_there {
            let _gate = self.shards.all();
            feeder.go_on(self.log.follow(), self.log.end())?;
            self.log.durable.set_synced(self.log.end());
        }
        self.switch_on(feeder)?;
        if !is_there {
            block_on_wait(&self.aof.syncs, || {
                let has_failed = self.aof.facts.has_rewrite_failed.load(Ordering::Acquire);
                (has_failed || self.aof.is_refusing() || self.log.durable.is_promised()).then_some(())
            });
            if !self.log.durable.is_promised() {
                return Err(io::Error::other(format!("making the first base: {}", self.aof.why.lock())));
            }
            self.aof.facts.forget_rewrites();
        }
        Ok(())
    }

    /// Switches the append-only file on while the engine is used. Until its base is made it promises nothing, and the
    /// files that are in `place` are what they are.
    ///
    /// # Errors
    /// The disk's, or what is wrong with the manifest that is there.
    pub fn start_aof(self: &Arc<Self>, place: Place) -> io::Result<()> {
        self.switch_on(Feeder::new(Files::open(place)?))
    }

    fn switch_on(self: &Arc<Self>, feeder: Feeder) -> io::Result<()> {
        let aof = &self.aof;
        let facts = &aof.facts;
        let (len, _) = feeder.files().lens();
        // Should an earlier one have ended badly.
        aof.is_rewrite_wanted.store(false, Ordering::Release);
        facts.rewritten_len.store(len, Ordering::Relaxed);
        facts.has_rewrite_failed.store(false, Ordering::Release);
        facts.failures_in_a_row.store(0, Ordering::Relaxed);
        facts.retry_at_ms.store(0, Ordering::Relaxed);
        *aof.feeder.lock() = Some(feeder);
        if !aof.has_thread.swap(true, Ordering::AcqRel) {
            let (weak, bell) = (Arc::downgrade(self), Arc::clone(&aof.bell));
            let thread = std::thread::Builder::new().name("larder-feeder".into());
            if let Err(error) = thread.spawn(move || work(&weak, &bell)) {
                aof.has_thread.store(false, Ordering::Release);
                *aof.feeder.lock() = None;
                return Err(error);
            }
        }
        facts.is_on.store(true, Ordering::Release);
        self.look_after_aof();
        Ok(())
    }

    /// Writes and syncs everything that was appended so far.
    ///
    /// # Errors
    /// The disk's.
    pub fn flush_aof(&self) -> io::Result<()> {
        let mut locked = self.aof.feeder.lock();
        let Some(feeder) = &mut *locked else { return Ok(()) };
        let flushed = feeder.flush(&self.manner(), &self.log.durable);
        self.aof.written.store(feeder.written(), Ordering::Relaxed);
        self.note_trouble(feeder);
        drop(locked);
        self.aof.syncs.wake_all();
        flushed
    }

    /// Switches the append-only file off, after everything that was appended is written and synced.
    ///
    /// # Errors
    /// The disk's; it is switched off all the same.
    pub fn close_aof(self: &Arc<Self>) -> io::Result<()> {
        if self.saving().is_some_and(|running| running.aof_base) {
            self.cancel_save();
        }
        let feeder = self.aof.feeder.lock().take();
        // The save that was given up may have left a cursor.
        drop(self.aof.cursor.lock().take());
        let Some(mut feeder) = feeder else { return Ok(()) };
        let closed = feeder.flush(&self.manner(), &self.log.durable);
        self.log.durable.withdraw(closed.is_err() && self.config.fsync() == Fsync::Always);
        self.aof.facts.switch_off();
        self.set_refusing(false);
        self.aof.syncs.wake_all();
        closed
    }

    /// Forgets the files as the end of the process would, without another word to the disk.
    #[cfg(test)]
    pub(super) fn abandon_aof(self: &Arc<Self>) {
        self.cancel_save();
        drop(self.aof.feeder.lock().take());
    }

    /// Asks for a rewrite. Returns whether one was already under way.
    pub(crate) fn want_rewrite(&self) -> bool {
        let is_under_way = self.aof.facts.is_rewriting.load(Ordering::Acquire)
            || self.aof.is_rewrite_wanted.swap(true, Ordering::AcqRel);
        self.aof.bell.ring();
        is_under_way
    }

    /// Whether a rewrite is asked for and has not begun.
    pub(crate) fn is_rewrite_wanted(&self) -> bool {
        self.aof.is_rewrite_wanted.load(Ordering::Acquire)
    }

    /// Called after a turn, before its replies are sent: writes what it has appended, or lets the feeder do so. Returns
    /// whether that is left to the caller, who calls [`Engine::sync_log`] after another look for requests, or after a few
    /// more turns if there always are some.
    #[inline]
    #[must_use]
    pub fn feed_log(&self) -> bool {
        self.has_unfed_log() && self.feed_what_is_there()
    }

    /// Whether the log holds anything that is not in its file.
    #[inline]
    pub fn has_unfed_log(&self) -> bool {
        self.log.is_read() && self.log.end() != self.aof.written.load(Ordering::Relaxed)
    }

    fn feed_what_is_there(&self) -> bool {
        if self.config.fsync() == Fsync::Always {
            if self.is_sync_short() && !self.has_gathered() {
                return true;
            }
            self.sync_log();
        } else if let Some(mut feeder) = self.aof.feeder.try_lock()
            && let Some(feeder) = &mut *feeder
        {
            self.feed(feeder);
        }
        self.hold_back_writers();
        false
    }

    fn feed(&self, feeder: &mut Feeder) {
        feeder.feed(&self.manner());
        self.aof.written.store(feeder.written(), Ordering::Relaxed);
        if feeder.trouble.is_some() {
            self.note_trouble(feeder);
        }
    }

    /// Waits for the disk if far more is appended than it has taken, or if a sync takes so long that `everysec` would not
    /// keep what it says. While writes are refused nothing much is appended.
    pub(crate) fn hold_back_writers(&self) {
        if !self.log.is_read() {
            return;
        }
        let waiting = self.log.end().saturating_sub(self.aof.written.load(Ordering::Relaxed));
        if waiting == 0 || self.aof.is_refusing() {
            return;
        }
        let is_slow = self.is_sync_slow();
        if waiting > WAITING_MAX || is_slow {
            self.aof.facts.delays.fetch_add(u64::from(is_slow), Ordering::Relaxed);
            if let Some(feeder) = &mut *self.aof.feeder.lock() {
                self.feed(feeder);
            }
        }
    }

    fn is_sync_slow(&self) -> bool {
        let began_ms = self.aof.facts.sync_began_ms.load(Ordering::Relaxed);
        began_ms > 0
            && self.config.fsync() == Fsync::EverySecond
            && (self.clock.elapsed_us() / 1000 + 1).saturating_sub(began_ms) > SLOW_SYNC_MS
    }

    /// What has to be known of the log when nobody sends replies in turns: called after a call from within the process
    /// that may have written something.
    #[inline]
    pub(crate) fn after_call(&self, lane: &mut Lane) -> Result<(), Fault> {
        if !self.log.is_read() {
            lane.seen = 0;
            return Ok(());
        }
        self.after_logged_call(lane)
    }

    #[cold]
    fn after_logged_call(&self, lane: &mut Lane) -> Result<(), Fault> {
        self.hold_back_writers();
        match self.wait_of(lane) {
            None => Ok(()),
            Some(wait) => self.sleep_until_synced(wait),
        }
    }

    #[cold]
    fn sleep_until_synced(&self, wait: Wait) -> Result<(), Fault> {
        self.hurry_sync();
        let told = block_on_wait(&self.aof.syncs, || {
            let told = self.may_tell(wait);
            (told != Told::Later).then_some(told)
        });
        if told == Told::Now { Ok(()) } else { Err(self.unknown_outcome()) }
    }

    /// Waits until everything there is may be told of.
    pub(crate) fn sleep_until_all_is_synced(&self) {
        if let Some(wait) = self.wait_of_all() {
            // What was pushed is no write of the one who hears it: it is told even if the disk has failed.
            let _told_all_the_same = self.sleep_until_synced(wait);
        }
    }

    /// What is said of a write that is neither durable nor refused.
    pub(crate) fn unknown_outcome(&self) -> Fault {
        let why = self.aof.why.lock();
        Fault::coded("MISCONF", format!("The write was made, and may be lost in a crash: {why}"))
    }

    /// Whether replies must wait until what they tell of is durable.
    #[inline]
    fn is_holding(&self) -> bool {
        self.log.durable.is_promised() && self.config.fsync() == Fsync::Always
    }

    /// What the output must wait for of the commands that this lane has run since the last call; `None` if it may leave
    /// at once.
    #[inline]
    pub fn wait_of(&self, lane: &mut Lane) -> Option<Wait> {
        let position = std::mem::take(&mut lane.seen);
        if position == 0 || !self.log.is_read() {
            return None;
        }
        let wait = Wait { position, epoch: lane.epoch };
        (self.may_tell(wait) != Told::Now).then_some(wait)
    }

    /// What output must wait for that may tell of anything there is; `None` if it may leave at once.
    pub fn wait_of_all(&self) -> Option<Wait> {
        let durable = &self.log.durable;
        let wait = Wait { position: self.log.end(), epoch: durable.epoch() };
        (self.is_holding() && wait.position > durable.synced()).then_some(wait)
    }

    /// Whether output may leave that waits for `wait`.
    #[inline]
    pub fn may_tell(&self, wait: Wait) -> Told {
        // The promise is looked at first: it is given up after the epoch has changed.
        let is_holding = self.is_holding();
        if self.log.durable.epoch() != wait.epoch {
            return Told::Never;
        }
        if !is_holding || self.log.durable.synced() >= wait.position { Told::Now } else { Told::Later }
    }

    /// How far the log has come for [`Engine::may_tell`], which has no other answer before this has another.
    #[inline]
    pub fn progress_of_syncs(&self) -> SyncProgress {
        let is_holding = self.is_holding();
        let durable = &self.log.durable;
        SyncProgress { is_holding, epoch: durable.epoch(), synced: durable.synced() }
    }

    /// Registers somebody to be woken when [`Engine::may_tell`] may have another answer.
    pub fn await_sync(&self, waker: Waker) -> Ticket {
        self.aof.syncs.register(waker)
    }

    /// Forgets somebody who was registered.
    pub fn forget_sync(&self, ticket: Ticket) {
        self.aof.syncs.cancel(ticket);
    }

    /// Lets the feeder come soon: somebody waits for it. It comes by itself if it is gathering.
    pub(crate) fn hurry_sync(&self) {
        self.aof.bell.ring_for(self.log.count());
    }

    /// Whether as many have written as were waited for.
    fn has_gathered(&self) -> bool {
        self.log.count() >= self.aof.bell.expected()
    }

    /// Whether to sync takes hardly longer than to have it done.
    fn is_sync_short(&self) -> bool {
        let sync_us = self.aof.gathering.sync_us.load(Ordering::Relaxed);
        sync_us > 0 && sync_us <= SHORT_SYNC_US && self.is_holding()
    }

    /// Syncs what is there, or has it done.
    pub fn sync_log(&self) {
        if !self.sync_here() {
            self.hurry_sync();
        }
    }

    /// Syncs what is there, if that does not take long and nobody else is at it. Returns whether it did.
    fn sync_here(&self) -> bool {
        if !self.is_sync_short() {
            return false;
        }
        let Some(mut locked) = self.aof.feeder.try_lock() else { return false };
        let Some(feeder) = &mut *locked else { return false };
        let before = self.log.durable.synced();
        self.write_and_sync(feeder, &self.manner());
        let has_synced = self.log.durable.synced() != before;
        drop(locked);
        if has_synced {
            self.aof.syncs.wake_all();
        }
        has_synced
    }

    /// Writes what is there, and syncs if it is due.
    fn write_and_sync(&self, feeder: &mut Feeder, manner: &Manner) {
        let taken = self.log.count();
        feeder.feed(manner);
        self.sync_if_due(feeder, manner, taken);
        self.aof.written.store(feeder.written(), Ordering::Relaxed);
        self.note_trouble(feeder);
    }

    /// How long the feeder should wait for others before it syncs what is there.
    fn gathers_for(&self) -> Option<Duration> {
        let gathering = &self.aof.gathering;
        let has_some = self.log.count() > gathering.synced.load(Ordering::Relaxed);
        let limit = Duration::from_micros(gathering.limit_us.load(Ordering::Relaxed)).min(GATHER_MAX);
        (self.is_holding() && has_some && !self.has_gathered()).then_some(limit)
    }

    /// Waits for others, and learns from whether they came how long that is worth while.
    fn gather(&self, bell: &Bell, limit: Duration) {
        let gathering = &self.aof.gathering;
        let mut began_us = self.clock.elapsed_us();
        let synced = || gathering.synced.load(Ordering::Relaxed);
        let (first, mut last) = (synced(), synced());
        let have_come = bell.gather(
            || self.log.count(),
            || {
                // Somebody else may have synced meanwhile; then others are waited for.
                if std::mem::replace(&mut last, synced()) != last {
                    began_us = self.clock.elapsed_us();
                }
                let waited = Duration::from_micros(self.clock.elapsed_us().saturating_sub(began_us));
                let is_some_left = self.log.count() > last;
                limit.checked_sub(waited).filter(|rest| is_some_left && !rest.is_zero())
            },
        );
        let have_come = have_come || last != first;
        let sync_us = gathering.sync_us.load(Ordering::Relaxed);
        let limit_us = gathering.limit_us.load(Ordering::Relaxed);
        let next_us = if have_come { limit_us * 2 } else { limit_us * 3 / 4 };
        gathering.limit_us.store(next_us.clamp(sync_us / 4, sync_us * 8), Ordering::Relaxed);
    }

    /// Syncs if it is due, and sees how many take part.
    fn sync_if_due(&self, feeder: &mut Feeder, manner: &Manner, taken: u64) {
        let syncs = feeder.syncs;
        self.aof.facts.sync_began_ms.store(manner.elapsed_us / 1000 + 1, Ordering::Relaxed);
        feeder.sync_if_due(manner, &self.log.durable);
        self.aof.facts.sync_began_ms.store(0, Ordering::Relaxed);
        if feeder.syncs > syncs {
            let gathering = &self.aof.gathering;
            let sync_us = self.clock.elapsed_us().saturating_sub(manner.elapsed_us);
            let told = taken.saturating_sub(gathering.synced.swap(taken, Ordering::Relaxed));
            let meanwhile = self.log.count().saturating_sub(taken);
            self.aof.bell.expect(taken + told + meanwhile);
            gathering.sync_us.store(sync_us, Ordering::Relaxed);
            gathering.limit_us.fetch_max(sync_us / 4, Ordering::Relaxed);
        }
    }

    /// One look of the feeder. Returns how long it may rest.
    fn look_after_aof(self: &Arc<Self>) -> Duration {
        let aof = &self.aof;
        let manner = self.manner();
        let mut locked = aof.feeder.lock();
        let Some(feeder) = &mut *locked else {
            return LOOK_EVERY;
        };
        let before = (feeder.written(), self.log.durable.synced(), feeder.is_whole());
        let cursor = aof.cursor.lock().take();
        if let Some((number, cursor, position)) = cursor {
            feeder.start(number, cursor, position);
        }
        self.write_and_sync(feeder, &manner);
        self.look_after_rewrite(feeder, &manner);
        self.note_trouble(feeder);
        aof.facts.note(feeder);
        let after = (feeder.written(), self.log.durable.synced(), feeder.is_whole());
        // A policy that was changed is a reason too.
        let is_over = manner.fsync != Fsync::Always && !aof.syncs.is_empty();
        drop(locked);
        if before != after || is_over {
            aof.syncs.wake_all();
        }
        if before.0 == after.0 { LOOK_EVERY } else { LOOK_SOON }
    }

    /// Makes the promise, or gives it up, according to how the feeder fares.
    fn note_trouble(&self, feeder: &Feeder) {
        let aof = &self.aof;
        match &feeder.trouble {
            Some(trouble) if !aof.is_refusing() => {
                *aof.why.lock() = reason(trouble.error());
                self.set_refusing(true);
                aof.syncs.wake_all();
                if let Some(host) = self.host() {
                    host.warn(&format!(
                        "Writing the append-only file: {}. Writes are refused.",
                        trouble.error()
                    ));
                }
            }
            None if aof.is_refusing() => {
                self.set_refusing(false);
                self.tell(|| "The append-only file takes writes again".into());
            }
            _ => {}
        }
        let durable = &self.log.durable;
        if feeder.is_whole() && !durable.is_promised() {
            durable.promise();
        } else if !feeder.is_whole() && durable.is_promised() {
            durable.withdraw(self.config.fsync() == Fsync::Always);
            aof.syncs.wake_all();
        }
    }

    /// Refuses writes, or lets them in again.
    fn set_refusing(&self, refuses: bool) {
        self.aof.is_refusing.store(refuses, Ordering::Release);
        self.look_for_refusal();
    }

    fn look_after_rewrite(self: &Arc<Self>, feeder: &mut Feeder, manner: &Manner) {
        let aof = &self.aof;
        let now_ms = manner.elapsed_us / 1000;
        for (number, result) in std::mem::take(&mut *aof.bases.lock()) {
            if let Err(error) = feeder.base_done(number, result) {
                self.note_failed_rewrite(&error, now_ms);
            }
        }
        let began_us = feeder.rewrite.as_ref().map_or(0, |rewrite| rewrite.began_us);
        match feeder.end_rewrite(&self.log.durable) {
            Ok(None) => {}
            Ok(Some(rewrite)) => {
                self.tell(|| format!("Background AOF rewrite finished successfully: {}", rewrite.base.name));
                let took_s = manner.elapsed_us.saturating_sub(began_us) / 1_000_000;
                aof.facts.note_rewritten(feeder, took_s);
            }
            Err(error) => self.note_failed_rewrite(&error, now_ms),
        }
        if feeder.rewrite.is_some() || aof.facts.is_rewriting.load(Ordering::Acquire) {
            return;
        }
        let is_wanted = aof.is_rewrite_wanted.load(Ordering::Acquire);
        let may_begin = now_ms >= aof.facts.retry_at_ms.load(Ordering::Relaxed);
        if (is_wanted || (may_begin && self.needs_rewrite(feeder))) && self.begin_rewrite(feeder, manner) {
            aof.is_rewrite_wanted.store(false, Ordering::Release);
        }
    }

    /// Whether a rewrite is to begin by itself: to switch on, to get over a failed sync, or because the files have grown.
    fn needs_rewrite(&self, feeder: &Feeder) -> bool {
        if !feeder.files().is_named() || matches!(feeder.trouble, Some(Trouble::Sync(_))) {
            return true;
        }
        let percentage = self.config.aof_rewrite_percentage.load(Ordering::Relaxed);
        let (len, _) = feeder.files().lens();
        let before = self.aof.facts.rewritten_len.load(Ordering::Relaxed).max(1);
        percentage > 0
            && len > self.config.aof_rewrite_min_size.load(Ordering::Relaxed)
            && len.saturating_sub(before).saturating_mul(100) / before >= percentage
    }

    /// Begins a rewrite, unless something else is being saved. Returns whether it did.
    fn begin_rewrite(self: &Arc<Self>, feeder: &mut Feeder, manner: &Manner) -> bool {
        if self.saving().is_some() {
            return false;
        }
        let is_snapshot = self.config.aof_rdb_preamble.load(Ordering::Relaxed);
        let starts = !feeder.is_following();
        let number = self.aof.begun.fetch_add(1, Ordering::Relaxed);
        let name = feeder.begin_rewrite(number, is_snapshot, manner.elapsed_us).base.name.clone();
        let place = feeder.files().place().clone();
        self.aof.facts.rewrite_began_ms.store(manner.elapsed_us / 1000 + 1, Ordering::Relaxed);
        self.aof.facts.is_rewriting.store(true, Ordering::Release);
        let (aof, log) = (Arc::clone(&self.aof), Arc::clone(&self.log));
        let at_cut = Box::new(move || {
            if starts {
                *aof.cursor.lock() = Some((number, log.follow(), log.end()));
            } else {
                log.mark(number);
            }
        });
        let aof = Arc::clone(&self.aof);
        let base = place.path(&name);
        let target = if is_snapshot { base.clone() } else { base.with_extension("rdb") };
        let (disk, snapshot) = (Arc::clone(&place.disk), target.clone());
        let done = Box::new(move |result: io::Result<_>| {
            let result = result
                .and_then(|_| if is_snapshot { Ok(()) } else { to_commands(&*place.disk, &snapshot, &base) });
            aof.bases.lock().push((number, result));
            aof.bell.ring();
        });
        if self.start_save(SaveJob { disk, target, aof_base: true, at_cut, done }).is_err() {
            feeder.rewrite = None;
            self.aof.facts.is_rewriting.store(false, Ordering::Release);
            return false;
        }
        self.tell(|| format!("Background append only file rewriting started: {name}"));
        true
    }

    fn tell(&self, text: impl FnOnce() -> String) {
        if let Some(host) = self.host() {
            host.note(&text());
        }
    }

    fn note_failed_rewrite(&self, error: &io::Error, now_ms: u64) {
        let aof = &self.aof;
        if let Some(host) = self.host() {
            host.warn(&format!("Background AOF rewrite failed: {error}"));
        }
        if !aof.is_refusing() {
            *aof.why.lock() = reason(error);
        }
        aof.facts.note_failed(now_ms, aof.is_refusing());
        aof.syncs.wake_all();
    }
}

/// An error of the disk in the system's words.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// The feeder's thread: until the engine is gone.
fn work(engine: &Weak<Engine>, bell: &Bell) {
    let mut rest = Duration::ZERO;
    loop {
        bell.wait(rest);
        let Some(engine) = engine.upgrade() else { return };
        if let Some(limit) = engine.gathers_for() {
            engine.gather(bell, limit);
        }
        rest = engine.look_after_aof();
    }
}

impl Facts {
    /// Whether a sync is under way.
    pub(crate) fn is_syncing(&self) -> bool {
        self.sync_began_ms.load(Ordering::Relaxed) > 0
    }

    fn note(&self, feeder: &Feeder) {
        let (len, base_len) = feeder.files().lens();
        self.current_len.store(len, Ordering::Relaxed);
        self.base_len.store(base_len, Ordering::Relaxed);
        self.waiting.store(feeder.waiting(), Ordering::Relaxed);
        self.syncs.store(feeder.syncs, Ordering::Relaxed);
    }

    fn note_rewritten(&self, feeder: &Feeder, took_s: u64) {
        let (len, _) = feeder.files().lens();
        self.rewritten_len.store(len, Ordering::Relaxed);
        self.last_rewrite_s.store(took_s as i64 + 1, Ordering::Relaxed);
        self.rewrites.fetch_add(1, Ordering::Relaxed);
        self.failures_in_a_row.store(0, Ordering::Relaxed);
        self.has_rewrite_failed.store(false, Ordering::Release);
        self.rewrite_began_ms.store(0, Ordering::Relaxed);
        self.is_rewriting.store(false, Ordering::Release);
    }

    /// The first base is no rewrite.
    fn forget_rewrites(&self) {
        self.rewrites.store(0, Ordering::Relaxed);
        self.last_rewrite_s.store(0, Ordering::Relaxed);
    }

    fn note_failed(&self, now_ms: u64, is_needed: bool) {
        let failures = self.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        let minutes = if failures < FAILURES_MAX { 0 } else { 1 << (failures - FAILURES_MAX).min(6) };
        let after_ms = 1000 + 60_000 * minutes.min(60);
        let after_ms = if is_needed { after_ms.min(RETRY_NEEDED_MS) } else { after_ms };
        self.retry_at_ms.store(now_ms + after_ms, Ordering::Relaxed);
        self.has_rewrite_failed.store(true, Ordering::Release);
        self.rewrite_began_ms.store(0, Ordering::Relaxed);
        self.is_rewriting.store(false, Ordering::Release);
    }

    fn switch_off(&self) {
        self.is_on.store(false, Ordering::Release);
        self.is_rewriting.store(false, Ordering::Release);
        self.rewrite_began_ms.store(0, Ordering::Relaxed);
    }
}
