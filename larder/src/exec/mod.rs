//! How a command is run: plan, lock, handler, commit, unlock.
//!
//! # The plan
//!
//! The keys of a command follow from its declaration, and from them the shards. All of their locks are taken in
//! ascending order before the handler starts and kept until its effects are committed ([`Shards`]). A command that
//! touches keys it does not name (KEYS, FLUSHALL, SWAPDB) takes the gate instead. Long commands are run apart, on
//! pinned values ([`job`]).
//!
//! # Commit
//!
//! Still under the locks the change gets its place in the log, and events go to those who listen. Large values that
//! were replaced or removed are freed after the locks are gone.
//!
//! A panic under a lock poisons the engine: what it holds can no longer be trusted, so every later call answers an
//! error and nothing is saved over good files.

mod job;
mod transaction;

use crate::admit;
use crate::args::Args;
use crate::command::{Run, Store, Trait};
use crate::engine::agree_with;
use crate::engine::{Engine, ServerCtx, Step};
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Notes, PlannedKey, ReadCtx, Seldom, Shard, Source, WriteCtx};
use crate::lane::Lane;
use crate::prefetch::Lookup;
use crate::registry::{self, Registered};
use crate::session::{Parking, Replies, Session};
use larder_resp::{Proto, ReplyWriter, Request};
use larder_structures::hash;
use larder_structures::sync::Hold;
#[cfg(doc)]
use larder_structures::sync::Shards;
use std::sync::atomic::Ordering;

pub use job::Job;

/// Elements from which on a command is handed to a worker.
const LONG_WORK: u64 = 4096;

/// What is known of a request before anything is locked; made by [`Engine::plan`].
#[derive(Clone, Copy)]
pub struct Plan {
    /// The command, if there is one of this name and its arity fits.
    registered: Option<&'static Registered>,
    /// The hash of its key, if it is a short command on one key.
    hash: u64,
    /// The hash of the first member or field that it looks up, if it does; else 0.
    member: u64,
}

impl Plan {
    /// What a short command will look up in a logical database, for who wants to fetch it into the cache beforehand.
    #[inline]
    pub fn lookup(&self, db: usize) -> Option<Lookup> {
        let registered = self.registered.filter(|registered| registered.is_short)?;
        let member = registered.looks_up_member.then_some(self.member);
        Some(Lookup { db, key: self.hash, member })
    }

    /// Whether there is a command of this name that takes so many arguments, and works on keys or is needed between
    /// those that do: what a file of commands may consist of.
    pub(crate) fn belongs_in_a_file(&self) -> bool {
        const OTHERS: &[&str] = &["SELECT", "MULTI", "EXEC", "PING"];
        self.registered.is_some_and(|registered| {
            let command = registered.command;
            !matches!(command.run, Run::Server(_) | Run::Container) || OTHERS.contains(&command.name)
        })
    }

    #[inline]
    fn key<'r>(&self, request: Request<'r>) -> PlannedKey<'r> {
        PlannedKey::new(request.arg(1), self.hash)
    }
}

impl Engine {
    /// Finds the command of a request and hashes its key; touches no data.
    #[inline]
    pub fn plan(&self, request: Request<'_>) -> Plan {
        let registered = admit::resolve(request);
        let (mut hash, mut member) = (0, 0);
        if let Some(registered) = registered.filter(|registered| registered.is_short) {
            hash = hash::of(request.arg(1));
            if registered.looks_up_member {
                member = hash::of(request.arg(2));
            }
        }
        Plan { registered, hash, member }
    }

    /// Executes one request of a connection and appends its reply to `out`.
    pub fn execute(
        &self,
        lane: &mut Lane,
        session: &mut Session,
        request: Request<'_>,
        out: &mut Vec<u8>,
    ) -> Step {
        self.execute_planned(lane, session, self.plan(request), request, out)
    }

    /// [`Engine::execute`] for who has the plan of this request already.
    pub fn execute_planned(
        &self,
        lane: &mut Lane,
        session: &mut Session,
        plan: Plan,
        request: Request<'_>,
        out: &mut Vec<u8>,
    ) -> Step {
        match plan.registered {
            Some(registered) if registered.is_short && self.is_plain(session) => {
                let mut reply = ReplyWriter::new(out, session.proto);
                self.run_timed(lane, session, registered, plan, request, &mut reply)
            }
            _ => self.execute_checked(lane, session, plan, request, out),
        }
    }

    /// Whether no check before a command could have a say, no transaction is being queued, nobody watches, and the reply
    /// is wanted: nearly always.
    #[inline]
    fn is_plain(&self, session: &Session) -> bool {
        !self.is_poisoned()
            && !self.is_short_of_memory()
            && (!self.pause.is_begun() || session.is_loader)
            && !self.clients.has_monitors()
            && session.is_authenticated
            && session.multi.is_none()
            && session.replies == Replies::On
            && session.parked.is_none()
            && !(session.proto == Proto::Resp2 && session.client.is_subscriber())
    }

    fn execute_checked(
        &self,
        lane: &mut Lane,
        session: &mut Session,
        plan: Plan,
        request: Request<'_>,
        out: &mut Vec<u8>,
    ) -> Step {
        let start = out.len();
        let mut reply = ReplyWriter::new(out, session.proto);
        let mut step = match plan.registered {
            Some(registered) => self.dispatch(lane, session, registered, plan, request, &mut reply),
            None => {
                let (registered, fault) = admit::refusal(request);
                self.turn_away(lane, session, registered, fault, &mut reply)
            }
        };
        if session.replies != Replies::On && !matches!(step, Step::Parked) && is_muted(session) {
            out.truncate(start);
            lane.attached.clear();
            if let Step::Long(job) = &mut step {
                job.is_mute = true;
            }
        }
        step
    }

    fn dispatch(
        &self,
        lane: &mut Lane,
        session: &mut Session,
        registered: &'static Registered,
        plan: Plan,
        request: Request<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Step {
        let has_room = self.make_room(lane);
        if let Err(fault) = self.admit(session, registered, has_room) {
            return self.turn_away(lane, session, Some(registered), fault, reply);
        }
        if let Some(multi) = &mut session.multi
            && !registered.command.is(Trait::RunsInMulti)
        {
            multi.queue.push((registered, request.to_owned()));
            session.publish_multi();
            reply.simple("QUEUED");
            return Step::Done;
        }
        if self.is_paused(session, registered) {
            return Step::Parked;
        }
        // Who was parked because of a pin has been shown already.
        if self.clients.has_monitors()
            && !session.is_loader
            && !matches!(session.parked, Some(Parking::Pins(_)))
        {
            self.show_to_monitors(lane, session, registered, request);
        }
        self.run_timed(lane, session, registered, plan, request, reply)
    }

    /// Refuses a command: it spoils the transaction it would be queued in; an EXEC that is refused ends its own.
    fn turn_away(
        &self,
        lane: &Lane,
        session: &mut Session,
        registered: Option<&'static Registered>,
        mut fault: Fault,
        reply: &mut ReplyWriter<'_>,
    ) -> Step {
        if let Some(multi) = &mut session.multi {
            multi.is_aborted = true;
            if registered.is_some_and(|registered| registered.command.name == "EXEC") {
                session.multi = None;
                session.publish_multi();
                self.forget_watches(session);
                let why = fault.message();
                fault = Fault::coded("EXECABORT", format!("Transaction discarded because of: {why}"));
            }
        }
        self.refuse(lane, registered, &fault, reply);
        Step::Done
    }

    /// Runs an admitted command and accounts for it.
    fn run_timed(
        &self,
        lane: &mut Lane,
        session: &mut Session,
        registered: &'static Registered,
        plan: Plan,
        request: Request<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Step {
        let mark = reply.mark();
        let result = if registered.is_short
            && let Some(outcome) = self.run_short(lane, session, registered, plan, request, reply)
        {
            outcome.map(|()| Step::Done)
        } else {
            self.run(lane, session, registered, request, reply)
        };
        if session.parked.is_some() && !matches!(result, Ok(Step::Parked)) {
            self.stop_waiting(session);
        }
        let usec = lane.lap_us();
        if matches!(result, Ok(Step::Parked | Step::Long(_))) {
            reply.rollback(mark);
        } else {
            let client = &session.client;
            client.last_command.store(registered.id + 1, Ordering::Relaxed);
            client.active_ms.store(lane.now_ms(), Ordering::Relaxed);
            lane.stats.took(usec);
            self.account_call(lane, Some(session), registered, request, usec, result.is_err());
        }
        result.unwrap_or_else(|fault| {
            reply.rollback(mark);
            self.fail(lane, &fault, reply);
            Step::Done
        })
    }

    pub(crate) fn account_call(
        &self,
        lane: &Lane,
        session: Option<&Session>,
        registered: &'static Registered,
        request: Request<'_>,
        usec: u64,
        has_failed: bool,
    ) {
        let stats = &lane.stats;
        stats.processed.add(1);
        let command = &stats.commands[registered.id];
        command.calls.add(1);
        command.usec.add(usec);
        if has_failed {
            command.failed.add(1);
        }
        if registered.holds_gate {
            self.stats.longest_gate_us.fetch_max(usec, Ordering::Relaxed);
        }
        let limit = self.config.slowlog_slower_than_us.load(Ordering::Relaxed);
        if limit >= 0 && usec >= limit as u64 && !registered.command.is(Trait::SkipSlowlog) {
            self.slowlog.note(
                lane,
                session,
                request,
                usec,
                self.config.slowlog_max_len.load(Ordering::Relaxed),
            );
        }
    }

    /// Writes the error of a request that was refused before it ran.
    fn refuse(
        &self,
        lane: &Lane,
        registered: Option<&Registered>,
        fault: &Fault,
        reply: &mut ReplyWriter<'_>,
    ) {
        if let Some(registered) = registered {
            lane.stats.commands[registered.id].rejected.add(1);
        }
        self.fail(lane, fault, reply);
    }

    fn fail(&self, lane: &Lane, fault: &Fault, reply: &mut ReplyWriter<'_>) {
        lane.stats.errors.add(1);
        self.stats.count_error(fault.code());
        reply.error(fault.message());
    }

    /// Runs a short command on one key. `None` if pins are about, which a writer has to look out for.
    #[inline(always)]
    fn run_short(
        &self,
        lane: &mut Lane,
        session: &Session,
        registered: &'static Registered,
        plan: Plan,
        request: Request<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Option<Outcome> {
        let index = hash::shard(plan.hash, self.shards.len());
        let outcome = {
            let mut hold = self.shards.one(index);
            if self.shards.is_poisoned() {
                return Some(Err(Fault::POISONED));
            }
            if self.pinned_jobs.load(Ordering::Acquire) > 0 {
                return None;
            }
            agree_with(lane, hold.shard_mut(index));
            self.begin_effects(lane);
            let touches = !session.client.no_touch.load(Ordering::Relaxed);
            let key = plan.key(request);
            let outcome =
                self.run_held(lane, &mut hold, session.db, touches, registered, key, request, reply);
            self.commit_command(lane, &mut hold, session.db, registered, request);
            outcome
        };
        self.free(&mut lane.effects.garbage);
        Some(outcome)
    }

    fn run(
        &self,
        lane: &mut Lane,
        session: &mut Session,
        registered: &'static Registered,
        request: Request<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<Step, Fault> {
        if let Run::Server(handler) = registered.command.run {
            let args = Args::new(request, registered.words());
            let engine = self;
            let mut ctx = ServerCtx { engine, lane, session, hold: None, registered, step: Step::Done };
            handler(&mut ctx, args, reply)?;
            return Ok(ctx.step);
        }
        let mut has_registered = false;
        let mut hold = loop {
            let hold = self.lock_for(lane, registered, request)?;
            if !self.meets_a_pin(&hold, session.db, registered, request) {
                break hold;
            }
            drop(hold);
            if has_registered {
                return Ok(Step::Parked);
            }
            self.wait_for_pins(session);
            has_registered = true;
        };
        let touches = !session.client.no_touch.load(Ordering::Relaxed);
        if lane.hands_off
            && let Some(work) = registered.command.work
        {
            let ctx = self.reader(lane, &hold, session.db, false);
            if work(&ctx, Args::new(request, registered.words())) > LONG_WORK {
                let (request, db, proto) = (request.to_owned(), session.db, session.proto);
                let is_mute = false;
                return Ok(Step::Long(Box::new(Job { registered, request, db, proto, touches, is_mute })));
            }
        }
        self.begin_effects(lane);
        let key = PlannedKey::NONE;
        let outcome = self.run_held(lane, &mut hold, session.db, touches, registered, key, request, reply);
        self.commit_command(lane, &mut hold, session.db, registered, request);
        drop(hold);
        self.free(&mut lane.effects.garbage);
        outcome.map(|()| Step::Done)
    }

    /// Commits what a command has caused, under its locks. When these are released, what it left behind is to be freed.
    #[inline(always)]
    pub(crate) fn commit_command(
        &self,
        lane: &mut Lane,
        hold: &mut Hold<'_, Shard>,
        db: usize,
        registered: &Registered,
        request: Request<'_>,
    ) {
        let has_written = lane.effects.dirty > 0 && registered.is_write;
        lane.effects.end_step(db, has_written.then_some(request));
        self.commit(lane, hold);
    }

    /// Takes the shards that a command needs.
    ///
    /// # Errors
    /// If they cannot be trusted any more.
    #[inline]
    fn lock_for(
        &self,
        lane: &mut Lane,
        registered: &Registered,
        request: Request<'_>,
    ) -> Result<Hold<'_, Shard>, Fault> {
        let hold = if registered.single_key {
            self.shards.one(hash::shard(hash::of(request.arg(1)), self.shards.len()))
        } else if matches!(registered.command.run, Run::Gate(..)) {
            self.shards.all()
        } else {
            // A number of keys that makes no sense plans for none; the handler finds it and says so.
            let positions = registry::key_positions(registered.command.keys, request).unwrap_or_default();
            let hashes = positions.into_iter().map(|at| hash::of(request.arg(at)));
            self.shards.many(hashes.map(|hash| hash::shard(hash, self.shards.len())))
        };
        self.entered(lane, hold)
    }

    /// Shards that were just taken, to be used; see [`Engine::enter`].
    pub(crate) fn entered<'h>(
        &self,
        lane: &mut Lane,
        mut hold: Hold<'h, Shard>,
    ) -> Result<Hold<'h, Shard>, Fault> {
        self.enter(lane, &mut hold)?;
        Ok(hold)
    }

    /// Begins to use shards that were just taken. Whoever waited for them may find that they were let go by a panic.
    #[inline]
    pub(crate) fn enter(&self, lane: &mut Lane, hold: &mut Hold<'_, Shard>) -> Outcome {
        if self.shards.is_poisoned() {
            return Err(Fault::POISONED);
        }
        self.agree_on_time(lane, hold);
        Ok(())
    }

    /// Runs a command that works on keys, whose shards are held.
    #[expect(clippy::too_many_arguments, reason = "the parts of one call, each used as it is")]
    fn run_held<'h>(
        &self,
        lane: &mut Lane,
        hold: &mut Hold<'h, Shard>,
        db: usize,
        touches: bool,
        registered: &'static Registered,
        key: PlannedKey<'_>,
        request: Request<'_>,
        reply: &mut ReplyWriter<'_>,
    ) -> Outcome {
        let args = Args::new(request, registered.words());
        match registered.command.run {
            Run::Read(handler) => {
                let ctx = ReadCtx { planned: key, ..self.reader(lane, hold, db, touches) };
                let outcome = handler(&ctx, args, reply);
                if let Some(seldom) = count_lookups(lane, ctx.notes) {
                    self.expire(lane, hold, db, seldom.expired);
                }
                outcome
            }
            Run::Write(handler) | Run::Gate(handler, _) => {
                handler(&mut WriteCtx { planned: key, ..self.writer(lane, hold, db) }, args, reply)
            }
            Run::Store(Store { compute, install }) => {
                let ctx = self.reader(lane, hold, db, touches);
                let computed = compute(&ctx, args);
                if let Some(seldom) = count_lookups(lane, ctx.notes) {
                    self.expire(lane, hold, db, seldom.expired);
                }
                install(&mut self.writer(lane, hold, db), args, computed?, reply)
            }
            Run::Server(_) | Run::Container => Ok(()),
        }
    }

    /// Deletes keys that a reader found expired.
    #[cold]
    pub(crate) fn expire(
        &self,
        lane: &mut Lane,
        hold: &mut Hold<'_, Shard>,
        db: usize,
        expired: Vec<Box<[u8]>>,
    ) {
        for key in expired {
            self.writer(lane, hold, db).expire_if_due(hash::of(&key), &key);
        }
    }

    #[inline]
    pub(crate) fn reader<'a>(
        &'a self,
        lane: &Lane,
        hold: &'a Hold<'a, Shard>,
        db: usize,
        touches: bool,
    ) -> ReadCtx<'a> {
        ReadCtx {
            engine: self,
            source: Source::Held(hold),
            db,
            physical: self.physical(db),
            now_ms: lane.now_ms(),
            clock: touches.then(|| lane.access_clock()),
            planned: PlannedKey::NONE,
            attaches: lane.attaches,
            notes: Default::default(),
        }
    }

    #[inline]
    pub(crate) fn writer<'c, 'h>(
        &'c self,
        lane: &'c mut Lane,
        hold: &'c mut Hold<'h, Shard>,
        db: usize,
    ) -> WriteCtx<'c, 'h> {
        WriteCtx {
            engine: self,
            hold,
            db,
            physical: self.physical(db),
            now_ms: lane.now_ms(),
            clock: lane.access_clock(),
            planned: PlannedKey::NONE,
            effects: &mut lane.effects,
        }
    }

    #[inline]
    pub(crate) fn begin_effects(&self, lane: &mut Lane) {
        debug_assert!(lane.effects.is_none(), "effects were left over");
        lane.effects.is_heard = self.feed.is_heard();
        lane.effects.is_logged = self.log.is_read();
    }

    /// Commits what the steps that have ended have caused, under their locks.
    #[inline]
    fn commit(&self, lane: &mut Lane, hold: &mut Hold<'_, Shard>) {
        if !lane.effects.is_none() {
            self.commit_effects(lane, hold);
        }
    }

    #[inline]
    fn commit_effects(&self, lane: &mut Lane, hold: &mut Hold<'_, Shard>) {
        let effects = &mut lane.effects;
        lane.stats.dirty.add(std::mem::take(&mut effects.dirty));
        lane.stats.expired.add(std::mem::take(&mut effects.expired));
        lane.stats.evicted.add(std::mem::take(&mut effects.evicted));
        if !effects.record.is_empty() {
            let position = self.log.append(&mut effects.record);
            lane.seen = position;
            match hold.single_mut() {
                Some(shard) => shard.last_write = position,
                None => hold.for_each(|shard| shard.last_write = position),
            }
        }
        if effects.is_heard {
            self.feed.publish(&mut effects.events);
        }
    }

    /// Commits deletions that no command asked for: expiry and eviction.
    pub(crate) fn commit_removals(&self, lane: &mut Lane, hold: &mut Hold<'_, Shard>) {
        lane.effects.end_step(0, None);
        self.commit(lane, hold);
    }
}

/// Whether the reply to the command just executed is left out, as CLIENT REPLY has it.
fn is_muted(session: &mut Session) -> bool {
    match session.replies {
        Replies::On => false,
        Replies::Off => true,
        Replies::SkipNext => {
            session.replies = Replies::Skip;
            false
        }
        Replies::Skip => {
            session.replies = Replies::On;
            true
        }
    }
}

/// Counts the hits and misses of a reader, keeps what its reply has attached, and returns what else few of them cause.
#[inline]
pub(crate) fn count_lookups(lane: &mut Lane, notes: Notes) -> Option<Box<Seldom>> {
    lane.stats.hits.add(notes.hits.get());
    lane.stats.misses.add(notes.misses.get());
    let mut seldom = notes.seldom.into_inner()?;
    lane.attached.append(&mut seldom.attached);
    Some(seldom)
}
