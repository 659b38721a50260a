//! BGSAVE and save points: when a snapshot is begun in the background, and what becomes of it.

use super::disk::RealDisk;
use super::saver::{NotStarted, SaveJob};
use crate::engine::Engine;
use crate::fault::{Fault, Outcome};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// After a save that failed the next one by save points waits for so many seconds.
const RETRY_S: u64 = 5;

/// So many changes within so many seconds are a reason to save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last save.
    pub seconds: u64,
    /// Changes since then.
    pub changes: u64,
}

/// A snapshot is being written already.
pub(crate) const IN_PROGRESS: Fault = Fault::row("ERR", "Background save already in progress");
const REWRITING: Fault = Fault::row(
    "ERR",
    "Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a \
     BGSAVE whenever possible.",
);
const NOWHERE: Fault = Fault::row("ERR", "there is no place to save to: this engine is not part of a server");

/// What BGSAVE has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// The save is on its way.
    Now,
    /// It begins when what is under way has ended.
    Later,
}

impl Engine {
    /// When snapshots are to be begun without being asked for; without any, writes go on after a save that failed.
    pub fn set_save_points(&self, points: Vec<SavePoint>) {
        self.saves.has_points.store(!points.is_empty(), Ordering::Relaxed);
        *self.saves.points.lock() = points;
        self.look_for_refusal();
    }

    /// Whether a snapshot is being written that is not the base of an append-only file.
    pub fn is_saving_snapshot(&self) -> bool {
        self.saving().is_some_and(|running| !running.aof_base)
    }

    /// BGSAVE. With `may_wait` it is put off if something else is being saved; inside a transaction, where its time has
    /// not come, in any case.
    pub(crate) fn begin_background_save(&self, may_wait: bool, in_transaction: bool) -> Result<Begun, Fault> {
        match self.saving() {
            Some(running) if !running.aof_base => return Err(IN_PROGRESS),
            Some(_) if !may_wait && !in_transaction => return Err(REWRITING),
            None if !in_transaction => {}
            _ => {
                self.saves.is_scheduled.store(true, Ordering::Relaxed);
                return Ok(Begun::Later);
            }
        }
        self.start_background_save()?;
        Ok(Begun::Now)
    }

    fn start_background_save(&self) -> Result<(), Fault> {
        let (Some(host), Some(engine)) = (self.host(), self.this.upgrade()) else { return Err(NOWHERE) };
        let saves = &self.saves;
        saves.last_try_s.store(self.clock.unix_us() / 1_000_000, Ordering::Relaxed);
        let target = host.snapshot_file().inspect_err(|fault| {
            saves.has_failed.store(true, Ordering::Relaxed);
            self.look_for_refusal();
            host.warn(&format!("Background saving: {}", fault.message()));
        })?;
        let (log, path) = (Arc::clone(host), target.clone());
        let done = move |result: std::io::Result<_>| match result {
            Ok(_) => log.note("Background saving terminated with success"),
            Err(error) => log.warn(&format!("Background saving of {} failed: {error}", path.display())),
        };
        let job = SaveJob {
            disk: Arc::new(RealDisk),
            target,
            aof_base: false,
            at_cut: Box::new(|| ()),
            done: Box::new(done),
        };
        engine.start_save(job).map_err(|why| match why {
            NotStarted::Busy => IN_PROGRESS,
            NotStarted::System(error) => Fault::err(format!("Background save: {error}")),
        })?;
        host.note("Background saving started");
        Ok(())
    }

    /// Begins a snapshot if one is scheduled, or a save point is reached; called by every tick.
    pub(crate) fn save_if_due(&self, now_s: u64) {
        let saves = &self.saves;
        if self.host().is_none() || self.saving().is_some() {
            return;
        }
        if saves.is_scheduled.load(Ordering::Relaxed) {
            saves.is_scheduled.store(false, Ordering::Relaxed);
            // Why it does not begin is in the log.
            let _logged = self.start_background_save();
            return;
        }
        if !saves.has_points.load(Ordering::Relaxed) || self.pause.is_on(now_s * 1000) {
            return;
        }
        let since_s = now_s.saturating_sub(saves.last_save_s.load(Ordering::Relaxed));
        let tried_s = now_s.saturating_sub(saves.last_try_s.load(Ordering::Relaxed));
        if saves.has_failed.load(Ordering::Relaxed) && tried_s <= RETRY_S {
            return;
        }
        let changes = self.changes_since_save();
        let reached = saves
            .points
            .lock()
            .iter()
            .find(|point| changes >= point.changes.max(1) && since_s > point.seconds)
            .copied();
        if let (Some(point), Some(host)) = (reached, self.host()) {
            host.note(&format!("{} changes in {} seconds. Saving...", point.changes, point.seconds));
            let _logged = self.start_background_save();
        }
    }

    /// Whether writes are refused because the last snapshot could not be written.
    fn refuses_writes(&self) -> bool {
        let saves = &self.saves;
        saves.has_failed.load(Ordering::Relaxed)
            && saves.has_points.load(Ordering::Relaxed)
            && self.config.stop_writes_on_bgsave_error.load(Ordering::Relaxed)
    }

    /// Refuses a write if the disk does not take it, or what was saved last.
    ///
    /// # Errors
    /// What writes are answered with.
    pub(crate) fn refuse_what_cannot_persist(&self) -> Outcome {
        match () {
            () if self.aof.is_refusing() => Err(self.aof.refusal()),
            () if self.refuses_writes() => Err(Fault::CANNOT_PERSIST),
            () => Ok(()),
        }
    }

    /// Lets commands look closer as long as writes may be refused.
    pub(crate) fn look_for_refusal(&self) {
        let saves = &self.saves;
        let may_refuse = saves.has_failed.load(Ordering::Relaxed) && saves.has_points.load(Ordering::Relaxed);
        self.pause.set_failing(may_refuse || self.aof.is_refusing());
    }
}
