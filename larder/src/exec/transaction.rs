//! EXEC: the queue of a transaction under all of its locks at once.

use crate::args::Args;
use crate::command::{Run, Trait};
use crate::engine::{Engine, ServerCtx, Step};
use crate::fault::Fault;
use crate::keyspace::{PlannedKey, Shard};
use crate::lane::Lane;
use crate::registry::{self};
use crate::session::{Multi, Session};
use larder_resp::ReplyWriter;
use larder_structures::sync::Hold;
use larder_structures::{decimal, hash};
use std::sync::atomic::Ordering;

impl Engine {
    /// EXEC: runs the queue of a transaction under all of its locks at once.
    pub(crate) fn run_transaction(
        &self,
        lane: &mut Lane,
        session: &mut Session,
        reply: &mut ReplyWriter<'_>,
    ) -> Result<Step, Fault> {
        let Some(multi) = session.multi.take() else { return Err(Fault::err("EXEC without MULTI")) };
        if multi.is_aborted {
            self.forget_watches(session);
            session.publish_multi();
            return Err(Fault::EXEC_ABORT);
        }
        let mut has_registered = false;
        let mut hold = loop {
            let hold = self.lock_for_transaction(lane, &multi, session)?;
            if !self.transaction_meets_a_pin(&hold, &multi, session.db) {
                break hold;
            }
            drop(hold);
            if has_registered {
                session.multi = Some(multi);
                return Ok(Step::Parked);
            }
            self.wait_for_pins(session);
            has_registered = true;
        };
        session.publish_multi();
        self.begin_effects(lane);
        for (db, key) in std::mem::take(&mut session.watched) {
            self.writer(lane, &mut hold, db).expire_if_due(hash::of(&key), &key);
            let index = hash::shard(hash::of(&key), self.shards.len());
            hold.shard_mut(index).watchers.unwatch(db, &key, &session.watch_flag);
        }
        let is_stale = session.watch_flag.is_raised();
        self.renew_watch_flag(session);
        lane.effects.end_step(0, None);
        if is_stale {
            reply.null_array();
        } else {
            self.run_queue(lane, session, &mut hold, &multi, reply);
        }
        self.commit(lane, &mut hold);
        drop(hold);
        self.free(&mut lane.effects.garbage);
        Ok(Step::Done)
    }

    /// WATCH of one key. A key that is due already is deleted first: that it goes later is then no change.
    pub(crate) fn watch(&self, lane: &mut Lane, session: &mut Session, key: &[u8]) {
        let db = session.db;
        if session.watched.iter().any(|(watched_db, watched)| *watched_db == db && **watched == *key) {
            return;
        }
        let hash = hash::of(key);
        let index = hash::shard(hash, self.shards.len());
        let mut hold = self.shards.one(index);
        self.agree_on_time(lane, &mut hold);
        self.begin_effects(lane);
        if !self.is_loading() {
            self.writer(lane, &mut hold, db).expire_if_due(hash, key);
        }
        self.commit_removals(lane, &mut hold);
        hold.shard_mut(index).watchers.watch(db, key, &session.watch_flag);
        drop(hold);
        self.free(&mut lane.effects.garbage);
        session.watched.push((db, key.into()));
        session.client.watched.store(session.watched.len(), Ordering::Relaxed);
    }

    fn run_queue(
        &self,
        lane: &mut Lane,
        session: &mut Session,
        hold: &mut Hold<'_, Shard>,
        multi: &Multi,
        reply: &mut ReplyWriter<'_>,
    ) {
        reply.array(multi.queue.len());
        let touches = !session.client.no_touch.load(Ordering::Relaxed);
        for (registered, request) in &multi.queue {
            let request = request.as_request();
            if self.clients.has_monitors() && !session.is_loader {
                self.show_to_monitors(lane, session, registered, request);
            }
            let began_us = lane.clock.elapsed_us();
            let mark = reply.mark();
            let before = lane.effects.dirty;
            reply.set_proto(session.proto);
            let outcome = if let Run::Server(handler) = registered.command.run {
                let args = Args::new(request, registered.words());
                let mut ctx =
                    ServerCtx { engine: self, lane, session, hold: Some(hold), registered, step: Step::Done };
                handler(&mut ctx, args, reply)
            } else {
                self.run_held(lane, hold, session.db, touches, registered, PlannedKey::NONE, request, reply)
            };
            let usec = lane.clock.elapsed_us().saturating_sub(began_us);
            self.account_call(lane, Some(session), registered, request, usec, outcome.is_err());
            if let Err(fault) = outcome {
                reply.rollback(mark);
                self.fail(lane, &fault, reply);
            }
            let has_written = lane.effects.dirty > before && registered.command.is_write();
            lane.effects.end_step(session.db, has_written.then_some(request));
        }
    }

    /// [`Engine::meets_a_pin`] for the commands of a transaction, each in the database that is selected by then.
    fn transaction_meets_a_pin(&self, hold: &Hold<'_, Shard>, multi: &Multi, mut db: usize) -> bool {
        if self.pinned_jobs.load(Ordering::Acquire) == 0 {
            return false;
        }
        multi.queue.iter().any(|(registered, request)| {
            let request = request.as_request();
            if registered.command.name == "SELECT" {
                let selected = decimal::parse_canonical_i64(request.arg(1)).and_then(|db| db.try_into().ok());
                db = selected.filter(|db| *db < self.config.databases).unwrap_or(db);
            }
            self.meets_a_pin(hold, db, registered, request)
        })
    }

    /// The union of what the queued commands need, and of what is watched.
    fn lock_for_transaction(
        &self,
        lane: &mut Lane,
        multi: &Multi,
        session: &Session,
    ) -> Result<Hold<'_, Shard>, Fault> {
        let needs_all = multi.queue.iter().any(|(registered, _)| {
            matches!(registered.command.run, Run::Gate(..))
                || registered.command.is(Trait::WalksKeys)
                || registered.command.is(Trait::WalksShards)
        });
        if needs_all {
            return self.entered(lane, self.shards.all());
        }
        let mut shards = Vec::new();
        for (registered, request) in &multi.queue {
            let request = request.as_request();
            let positions = registry::key_positions(registered.command.keys, request).unwrap_or_default();
            shards.extend(positions.into_iter().map(|at| hash::of(request.arg(at))));
        }
        shards.extend(session.watched.iter().map(|(_, key)| hash::of(key)));
        let hold = self.shards.many(shards.into_iter().map(|hash| hash::shard(hash, self.shards.len())));
        self.entered(lane, hold)
    }
}
