//! Saving in the background: a snapshot of one moment, while commands go on.
//!
//! [`Engine::start_save`] starts a thread that creates the temporary file, takes the cut, writes everything that was
//! there at the cut, and puts the file in its place. There is one save at a time, be it a snapshot or the base of an
//! append-only file.
//!
//! The cut is taken under the closed gate: no command is under way at that moment, so it lies between the commands
//! before it and those after it, for all keys at once. [`SaveJob::at_cut`] is called then and there.

#[cfg(test)]
mod tests;

use crate::engine::Engine;
use crate::persist::disk::{Disk, DiskFile, replace_file};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is to be saved, and who is to hear of it.
pub struct SaveJob {
    /// Where the file goes.
    pub disk: Arc<dyn Disk>,
    /// The file's name. It is written under another name in the same directory, synced, and renamed to this one.
    pub target: PathBuf,
    /// Whether the file is the base of an append-only file: it says so inside, and it is no snapshot that LASTSAVE and
    /// `rdb_changes_since_last_save` know of.
    pub aof_base: bool,
    /// Called at the cut, under the closed gate: exactly what was changed before this call is in the file. It must be
    /// short, must not fail and must take no shards.
    pub at_cut: Box<dyn FnOnce() + Send>,
    /// Called in the end, on the saver's thread and without any lock: the file is in place and durable, or why it is
    /// not. When this is called another save may be started.
    pub done: Box<dyn FnOnce(io::Result<Saved>) + Send>,
}

/// What a save has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// Keys in the file.
    pub keys: u64,
}

/// Why a save has not been started.
#[derive(Debug)]
pub enum NotStarted {
    /// Another one runs.
    Busy,
    /// The system gives no thread.
    System(io::Error),
}

/// The save under way, if there is one.
#[derive(Default)]
pub(crate) struct Saver {
    running: Mutex<Option<Running>>,
    ended: Condvar,
    is_cancelled: AtomicBool,
}

/// A save under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Whether it writes the base of an append-only file.
    pub aof_base: bool,
    /// When it began, in Unix microseconds.
    pub began_us: u64,
}

impl Engine {
    /// Starts saving in the background; see [`SaveJob`].
    ///
    /// # Errors
    /// [`NotStarted`], in which case neither function of the job is called.
    pub fn start_save(self: &Arc<Self>, job: SaveJob) -> Result<(), NotStarted> {
        let began_us = self.clock.unix_us();
        {
            let mut running = self.saver.running.lock();
            if running.is_some() {
                return Err(NotStarted::Busy);
            }
            *running = Some(Running { aof_base: job.aof_base, began_us });
            self.saver.is_cancelled.store(false, Ordering::Relaxed);
        }
        let engine = Arc::clone(self);
        let thread = std::thread::Builder::new().name("larder-saver".into());
        if let Err(error) = thread.spawn(move || engine.run_save(job)) {
            self.saver.end();
            return Err(NotStarted::System(error));
        }
        Ok(())
    }

    /// The save under way, if there is one.
    pub fn saving(&self) -> Option<Running> {
        *self.saver.running.lock()
    }

    /// Gives up the save under way, if there is one, and waits until it has removed its file. Its `done` is called with
    /// an error.
    pub fn cancel_save(&self) {
        self.saver.is_cancelled.store(true, Ordering::Relaxed);
        self.wait_for_save();
    }

    /// Waits until no save is under way. The caller holds no shards.
    pub fn wait_for_save(&self) {
        let mut running = self.saver.running.lock();
        while running.is_some() {
            self.saver.ended.wait(&mut running);
        }
    }

    fn run_save(&self, job: SaveJob) {
        let SaveJob { disk, target, aof_base, at_cut, done } = job;
        let temporary = temporary_beside(&target);
        let saving = || {
            let mut saved = Saved { keys: 0 };
            replace_file(&*disk, &target, &temporary, |file| {
                saved = self.write_cut(aof_base, at_cut, file)?;
                Ok(())
            })?;
            Ok(saved)
        };
        let result = catch_unwind(AssertUnwindSafe(saving))
            .unwrap_or_else(|_panic| Err(io::Error::other("the thread that saves has panicked")));
        self.saver.end();
        done(result);
    }

    fn write_cut(
        &self,
        aof_base: bool,
        at_cut: Box<dyn FnOnce() + Send>,
        file: &mut dyn DiskFile,
    ) -> io::Result<Saved> {
        let hold = self.shards.all();
        at_cut();
        if self.is_poisoned() {
            return Err(io::Error::other("the data can no longer be trusted"));
        }
        if self.saver.is_cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("the save was given up"));
        }
        self.write_snapshot(self.clock.unix_us(), aof_base, &hold, file)
    }
}

impl Saver {
    fn end(&self) {
        *self.running.lock() = None;
        self.ended.notify_all();
    }
}

/// The name under which a file is written before it takes its place.
pub(in crate::persist) fn temporary_beside(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    target.with_file_name(name)
}
