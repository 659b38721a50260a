//! The background of an engine: what has to be done although no command asks for it.
//!
//! [`Engine::tick`] does a bounded amount of it and may be called by anybody who has time, a test with a still clock
//! included. [`Runtime`] is the usual caller: one thread that ticks, and one that frees large values so that no command
//! waits for that.

use crate::effects::{Event, Garbage};
use crate::engine::Engine;
use crate::lane::Lane;
use larder_structures::table::Element as _;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between ticks when there is nothing more to do, in milliseconds.
const TICK_MS: u64 = 100;
/// Ticks a second, as INFO and CONFIG GET hz tell.
pub const TICKS_PER_SECOND: u64 = 1000 / TICK_MS;
/// Time a tick may take, in microseconds: a quarter of the time between ticks.
const BUDGET_US: u64 = 25_000;
/// Rest after a tick that did not get everything done, in milliseconds.
const REST_MS: u64 = 5;
/// Summaries of expiry looked at under one hold of a shard's lock; a summary covers some 50 keys.
const GROUPS_PER_HOLD: usize = 64;
/// Buckets of a resize moved under one hold.
const BUCKETS_PER_HOLD: usize = 64;

/// What a tick left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlog {
    /// Nothing.
    None,
    /// Its time was up before all was done; another tick is wanted soon.
    More,
}

impl Engine {
    /// Does background work for a limited time: deletes expired keys, moves resizes on, ends a pause whose time has
    /// come.
    pub fn tick(&self, lane: &mut Lane) -> Backlog {
        lane.begin_turn();
        self.pause.tick(lane.now_ms());
        self.tick_stats(lane);
        let ends_us = lane.clock.elapsed_us() + BUDGET_US;
        let sweeps = self.config.active_expire.load(Ordering::Relaxed) && !self.pause.is_on(lane.now_ms());
        let mut backlog = Backlog::None;
        let first = self.sweep_shard.load(Ordering::Relaxed);
        for nth in 0..self.shards.len() {
            let index = (first + nth) % self.shards.len();
            while self.tend_shard(lane, index, sweeps) {
                if lane.clock.elapsed_us() > ends_us {
                    self.sweep_shard.store(index, Ordering::Relaxed);
                    return Backlog::More;
                }
            }
            if lane.clock.elapsed_us() > ends_us {
                backlog = Backlog::More;
                self.sweep_shard.store(index + 1, Ordering::Relaxed);
                break;
            }
        }
        backlog
    }

    /// One hold of one shard; returns whether the shard wants another one.
    fn tend_shard(&self, lane: &mut Lane, index: usize, sweeps: bool) -> bool {
        let mut hold = self.shards.one(index);
        self.agree_on_time(lane, &mut hold);
        let now_ms = lane.now_ms();
        let mut wants_more = false;
        let mut due: Vec<(usize, Box<[u8]>)> = Vec::new();
        let shard = hold.shard_mut(index);
        let physicals: Vec<usize> = shard.existing().collect();
        for physical in physicals {
            let Some(db) = shard.db_if_any(physical) else { continue };
            if db.keys.is_resizing() {
                wants_more |= db.keys.step_many(BUCKETS_PER_HOLD);
            }
            if sweeps && db.keys.with_expiry() > 0 {
                let from = db.sweep_at;
                db.sweep_at = db.keys.sweep(from, GROUPS_PER_HOLD, now_ms, |entry| {
                    due.push((physical, crate::keyspace::StoredEntry::key(entry).into()));
                });
                wants_more |= db.sweep_at != 0;
            }
        }
        if !due.is_empty() {
            self.begin_effects(lane);
            for (physical, key) in &due {
                let Some(db) = self.logical(*physical) else { continue };
                self.writer(lane, &mut hold, db).delete(key, Event::EXPIRED);
            }
            self.commit_removals(lane, &mut hold);
        }
        self.report(std::mem::take(&mut hold.shard_mut(index).unreported));
        drop(hold);
        self.free(&mut lane.effects.garbage);
        wants_more
    }
}

/// The background threads of an engine; they end when it is dropped.
pub struct Runtime {
    stop: Option<Sender<()>>,
    ticker: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Starts the background of `engine`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(engine: &Arc<Engine>) -> std::io::Result<Runtime> {
        let (freer, garbage) = channel::<Garbage>();
        std::thread::Builder::new()
            .name("larder-freer".into())
            .spawn(move || garbage.into_iter().for_each(drop))?;
        engine.set_freer(freer);
        let (stop, stopped) = channel();
        let weak = Arc::downgrade(engine);
        let ticker = std::thread::Builder::new()
            .name("larder-ticker".into())
            .spawn(move || tick_until(&weak, &stopped))?;
        Ok(Runtime { stop: Some(stop), ticker: Some(ticker) })
    }
}

fn tick_until(engine: &Weak<Engine>, stopped: &Receiver<()>) {
    let Some(mut lane) = engine.upgrade().map(|engine| engine.lane(false)) else { return };
    let mut rest_ms = TICK_MS;
    while stopped.recv_timeout(Duration::from_millis(rest_ms)) == Err(RecvTimeoutError::Timeout) {
        let Some(engine) = engine.upgrade() else { return };
        rest_ms = match engine.tick(&mut lane) {
            Backlog::None => TICK_MS,
            Backlog::More => REST_MS,
        };
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(ticker) = self.ticker.take() {
            // A ticker that panicked has poisoned the engine; there is nothing to add here.
            let _panicked = ticker.join();
        }
    }
}
