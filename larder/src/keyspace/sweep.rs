//! The sweep: deletes expired keys that nobody asks for, and moves resizes on.
//!
//! It goes round the shards. In each, the table's summaries tell which groups of keys may hold something that is due;
//! only these are visited. One hold of a shard's lock covers a few visits and deletions at most, so that whoever waits
//! for that shard waits for microseconds.
//!
//! # How much time it takes
//!
//! A [slice](Engine::sweep_slice) takes a third of the time since the last one ended (more with `active-expire-effort`), a
//! tenth of a millisecond at least and half of one at most, and whoever calls it rests in between; so the sweep takes at most
//! a quarter of one processor by default, however much there is to do. Where that processor has other work too, this work
//! waits for a slice and not for more: which is why many short slices are better than few long ones, and why a sweep whose
//! rests get long, because all processors are busy, takes longer slices.
//!
//! # Patience
//!
//! When keys expire by the million, every group always has something that is about to be due, and a sweep that visits
//! it for each key looks fifty times at every other. So when a round over all shards takes long, the sweep becomes
//! patient: it leaves a group alone until something in it has been due for up to a second, and then takes all that has
//! become due meanwhile. When rounds are quick again it becomes impatient again. (Three million keys that expire within 40
//! seconds are gone 1.2 seconds late at most, for a fifth of a processor, and a GET beside them takes as long as ever.)

use super::StoredEntry;
use super::shard::{Db, Shard};
use crate::effects::Event;
use crate::engine::Engine;
use crate::lane::Lane;
use larder_structures::sync::Hold;
use larder_structures::table::{Element as _, SweepLimits};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::yield_now;

/// Bounds of a slice with `active-expire-effort` 1, in microseconds, and by how many hundredths each step above adds to it.
const SLICE_MIN_US: u64 = 100;
const SLICE_MAX_US: u64 = 500;
const EFFORT_STEP: u64 = 20;
/// What one hold of a shard's lock covers at most: summaries read, groups visited, keys deleted.
const SUMMARIES_PER_HOLD: usize = 512;
const VISITS_PER_HOLD: usize = 8;
const DELETIONS_PER_HOLD: usize = 32;
/// Buckets of a resize moved under one hold.
const BUCKETS_PER_HOLD: usize = 64;
/// A round that takes longer makes the sweep more patient, in microseconds.
const LONG_ROUND_US: u64 = 500_000;
const PATIENCE_MAX_MS: u64 = 1000;
const MORE_PATIENCE_MS: u64 = 500;
const LESS_PATIENCE_MS: u64 = 100;

/// How far the sweep is.
#[derive(Default)]
pub(crate) struct Sweep {
    /// The shard at which it goes on, and the database there, by its physical number.
    shard: AtomicUsize,
    db: AtomicUsize,
    patience_ms: AtomicU64,
    /// When this round began, and when the last slice ended, on the clock for durations.
    round_began_us: AtomicU64,
    slice_ended_us: AtomicU64,
    /// Slices that ended before the round was over.
    pub(crate) interrupted: AtomicU64,
    /// For how long it has worked in all.
    pub(crate) worked_us: AtomicU64,
}

impl Engine {
    /// Sweeps until the round is over or the slice is; returns whether the round is. With `expires` unset expired keys
    /// stay.
    pub(crate) fn sweep_slice(&self, lane: &mut Lane, expires: bool) -> bool {
        let sweep = &self.sweep;
        let began_us = lane.clock.elapsed_us();
        let ends_us = began_us + self.slice_us(began_us);
        let mut index = sweep.shard.load(Ordering::Relaxed);
        if index == 0 {
            sweep.round_began_us.store(began_us, Ordering::Relaxed);
        }
        let mut now_us = began_us;
        while index < self.shards.len() && now_us <= ends_us {
            index += usize::from(!self.holding(index, |hold| self.tend_shard(lane, hold, index, expires)));
            self.free(&mut lane.effects.garbage);
            yield_now();
            now_us = lane.clock.elapsed_us();
        }
        sweep.slice_ended_us.store(now_us, Ordering::Relaxed);
        sweep.worked_us.fetch_add(now_us - began_us, Ordering::Relaxed);
        let is_over = index == self.shards.len();
        sweep.shard.store(if is_over { 0 } else { index }, Ordering::Relaxed);
        if is_over {
            let is_long = now_us - sweep.round_began_us.load(Ordering::Relaxed) > LONG_ROUND_US;
            let patience_ms = sweep.patience_ms.load(Ordering::Relaxed);
            let patience_ms = match is_long {
                true => (patience_ms + MORE_PATIENCE_MS).min(PATIENCE_MAX_MS),
                false => patience_ms.saturating_sub(LESS_PATIENCE_MS),
            };
            sweep.patience_ms.store(patience_ms, Ordering::Relaxed);
        } else {
            sweep.interrupted.fetch_add(1, Ordering::Relaxed);
        }
        is_over
    }

    /// How long a slice that begins now may take.
    fn slice_us(&self, now_us: u64) -> u64 {
        let effort = self.config.active_expire_effort.load(Ordering::Relaxed).max(1);
        let rested_us = now_us.saturating_sub(self.sweep.slice_ended_us.load(Ordering::Relaxed));
        (rested_us / 3).clamp(SLICE_MIN_US, SLICE_MAX_US) * (100 + EFFORT_STEP * (effort - 1)) / 100
    }

    /// One hold of one shard; returns whether the shard wants another one.
    fn tend_shard(&self, lane: &mut Lane, hold: &mut Hold<'_, Shard>, index: usize, expires: bool) -> bool {
        self.agree_on_time(lane, hold);
        let mut due: Vec<(usize, Box<[u8]>)> = Vec::new();
        let shard = hold.shard_mut(index);
        let first = self.sweep.db.load(Ordering::Relaxed);
        let physicals: Vec<usize> = shard.existing().filter(|physical| *physical >= first).collect();
        let mut unfinished = None;
        for physical in physicals {
            let Some(db) = shard.db_if_any(physical) else { continue };
            let is_resized = !db.keys.step_many(BUCKETS_PER_HOLD);
            let is_swept = !expires
                || db.keys.with_expiry() == 0
                || self.sweep_db(db, lane.now_ms(), |key| due.push((physical, key.into())));
            if !(is_resized && is_swept) {
                unfinished = Some(physical);
                break;
            }
        }
        self.sweep.db.store(unfinished.unwrap_or(0), Ordering::Relaxed);
        if !due.is_empty() {
            self.begin_effects(lane);
            for (physical, key) in &due {
                let Some(db) = self.logical(*physical) else { continue };
                self.writer(lane, hold, db).delete(key, Event::EXPIRED);
            }
            self.commit_removals(lane, hold);
        }
        self.report(hold, index);
        unfinished.is_some()
    }

    /// Visits groups of a database as far as one hold allows, and calls `due` with the keys that are to go; returns
    /// whether all groups have had their turn.
    fn sweep_db(&self, db: &mut Db, now_ms: u64, mut due: impl FnMut(&[u8])) -> bool {
        // A resize that has begun or ended since gives groups other numbers.
        if db.keys.capacity() != db.swept_capacity {
            db.swept_capacity = db.keys.capacity();
            db.sweep_at = 0;
        }
        let mut found = 0;
        let mut summaries = SUMMARIES_PER_HOLD;
        for _ in 0..VISITS_PER_HOLD {
            let patience_ms = self.sweep.patience_ms.load(Ordering::Relaxed);
            let from = db.sweep_at;
            db.sweep_at =
                db.keys.sweep(from, SweepLimits { summaries, visits: 1, patience_ms }, now_ms, |entry| {
                    found += 1;
                    due(StoredEntry::key(entry));
                });
            if db.sweep_at == 0 {
                return true;
            }
            summaries -= db.sweep_at - from;
            if summaries == 0 || found >= DELETIONS_PER_HOLD {
                return false;
            }
        }
        false
    }
}
