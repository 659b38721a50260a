//! Saving in the background: a snapshot of one moment, while commands go on, without a fork.
//!
//! [`Engine::start_save`] starts a thread that creates the temporary file, takes the cut, writes everything that was
//! there at the cut, and puts the file in its place. There is one save at a time, be it a snapshot or the base of an
//! append-only file.
//!
//! # The cut
//!
//! The cut is taken under the closed gate: no command is under way at that moment, so it lies between the commands
//! before it and those after it, for all keys at once. All it does is to exchange the colour of each table, which makes
//! everything in it *old* (the essay on colours is `larder_structures::table::colour`): microseconds, however many keys
//! there are. [`SaveJob::at_cut`] is called then and there.
//!
//! # After it
//!
//! The saver walks over the tables ([`walk`]), a few entries under each hold of a shard's lock, and encodes and writes
//! them without any lock. Who is about to change an old entry hands it over first ([`handed`]), still under its locks:
//! what is small is copied, a body of its own (a long string, a collection of up to some hundred elements) is pinned, and
//! whoever changes it works on a copy. What is born after the cut is left out.
//!
//! A large collection is neither copied nor waited for. Whoever meets it first, writer or walk, begins it: the colours
//! of its own table are exchanged, and from then on the same game is played with its elements ([`part`]), which are
//! written before the walk goes on. A list shares its nodes. So the saver needs no order of large collections first:
//! the ones that are written to come first by themselves.
//!
//! # What it costs
//!
//! Without a save, writers compare one bit of a word that they have in hand. During one, what was handed over and is not
//! written yet is bounded: beyond 32 MiB whoever wants to change something waits, before taking any lock. It is
//! counted apart from the memory that `maxmemory` is about, so a save evicts nothing.
//!
//! # When it fails
//!
//! The walk goes on without a file, so that nothing stays old. The count of keys that came is compared with that of the
//! cut before the file takes its place.

#[cfg(test)]
mod exactness;
#[cfg(test)]
mod tests;

mod handed;
mod part;
mod walk;

use super::snapshot::{Origin, SnapshotWriter, WriteOptions};
use super::store::WRITE_BUFFER;
use crate::engine::Engine;
use crate::keyspace::eviction::access_clock;
use crate::persist::disk::{Disk, DiskFile, Gradual, replace_file};
use handed::Handed;
use larder_structures::sys;
use parking_lot::{Condvar, Mutex};
use part::Part;
use std::io::{self, BufWriter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use walk::{Cut, Sink, Walk};

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
    /// What writers have handed over. May be taken under shards, and before `parts`.
    handed: Mutex<Handed>,
    /// Large collections that are being saved, or about to be.
    parts: Mutex<Vec<Arc<Part>>>,
    /// Bytes in `handed` and with the keepers of `parts`.
    pub(crate) waiting: Arc<AtomicUsize>,
    /// The most there were of them since the cut, as far as the saver has seen.
    pub(crate) most_waiting: AtomicUsize,
    /// Keys that the save under way, or the last one, has to write and has written.
    pub(crate) keys_all: AtomicU64,
    pub(crate) keys_done: AtomicU64,
    /// For how long the gate was held for the last cut, in microseconds.
    pub(crate) last_cut_us: AtomicU64,
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
        let began_us = self.clock.unix_us();
        let mut changes = None;
        self.saves.saves.fetch_add(u64::from(!aof_base), Ordering::Relaxed);
        // Whoever is to be served comes first.
        sys::give_way();
        let saving = || {
            let mut saved = Saved { keys: 0 };
            replace_file(&*disk, &target, &temporary, |file| {
                let cut = self.cut(at_cut)?;
                changes = Some(cut.changes);
                saved.keys = self.write_cut(&cut, aof_base, file)?;
                Ok(())
            })?;
            Ok(saved)
        };
        let result = catch_unwind(AssertUnwindSafe(saving)).unwrap_or_else(|_panic| Err(panicked()));
        if !aof_base {
            self.note_background(began_us, changes, result.is_ok());
        }
        self.saver.end();
        done(result);
    }

    /// Notes what became of a snapshot.
    fn note_background(&self, began_us: u64, changes: Option<u64>, is_saved: bool) {
        let (saves, now_us) = (&self.saves, self.clock.unix_us());
        saves.last_seconds.store(now_us.saturating_sub(began_us) / 1_000_000 + 1, Ordering::Relaxed);
        saves.last_waiting.store(self.saver.most_waiting.load(Ordering::Relaxed) as u64, Ordering::Relaxed);
        match changes {
            Some(changes) if is_saved => saves.note_saved(changes, now_us),
            // A save that was given up says nothing about the disk.
            _ if self.saver.is_cancelled.load(Ordering::Relaxed) => {}
            _ => saves.has_failed.store(true, Ordering::Relaxed),
        }
        self.look_for_refusal();
    }

    /// Takes the cut: everything that is there becomes old. Microseconds, however many keys there are.
    fn cut(&self, at_cut: Box<dyn FnOnce() + Send>) -> io::Result<Cut> {
        let began_us = self.clock.elapsed_us();
        let mut hold = self.shards.all();
        if self.is_poisoned() {
            return Err(io::Error::other("the data can no longer be trusted"));
        }
        if self.saver.is_cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("the save was given up"));
        }
        let databases = self.config.databases;
        let mut sizes = vec![(0, 0); databases];
        for index in 0..self.shards.len() {
            let shard = hold.shard_mut(index);
            for (physical, sizes) in sizes.iter_mut().enumerate() {
                let Some(db) = shard.db_if_any(physical) else { continue };
                sizes.0 += db.keys.len() as u64;
                sizes.1 += db.keys.with_expiry() as u64;
                db.keys.exchange_colour(None);
            }
        }
        let mut logical = vec![0; databases];
        (0..databases).for_each(|db| logical[self.physical(db)] = db as u64);
        let now_us = self.clock.unix_us();
        let meter = self.meter(access_clock(now_us));
        let changes = self.stats.sum(|lane| &lane.dirty);
        let cut = Cut { logical, sizes, meter, changes, now_us };
        self.saver.keys_all.store(cut.keys(), Ordering::Relaxed);
        self.saver.keys_done.store(0, Ordering::Relaxed);
        self.saver.most_waiting.store(0, Ordering::Relaxed);
        self.saver.handed.lock().is_wanted = true;
        self.pause.begin_saving();
        at_cut();
        let held_us = self.clock.elapsed_us() - began_us;
        self.stats.longest_gate_us.fetch_max(held_us, Ordering::Relaxed);
        self.saver.last_cut_us.store(held_us, Ordering::Relaxed);
        Ok(cut)
    }

    /// Writes what was there at the cut. Nothing is old afterwards, whatever the result.
    fn write_cut(&self, cut: &Cut, aof_base: bool, file: &mut dyn DiskFile) -> io::Result<u64> {
        let walk = || {
            let sink = self.begin_file(cut, aof_base, file);
            let (sink, error) = match sink {
                Ok(sink) => (Some(sink), None),
                Err(error) => (None, Some(error)),
            };
            let walked = Walk::new(self, cut, sink).run();
            match error {
                Some(error) => Err(error),
                None => walked,
            }
        };
        let written = catch_unwind(AssertUnwindSafe(walk)).unwrap_or_else(|_panic| {
            // The walk is taken up again without a file, so that nothing stays old.
            let _given_up = Walk::new(self, cut, None).run();
            Err(panicked())
        });
        self.pause.end_saving();
        written
    }

    fn begin_file<'f>(&self, cut: &Cut, aof_base: bool, file: &'f mut dyn DiskFile) -> io::Result<Sink<'f>> {
        let options = WriteOptions {
            compress: self.config.rdb_compression.load(Ordering::Relaxed),
            checksum: self.config.rdb_checksum.load(Ordering::Relaxed),
            version: self.config.rdb_version.load(Ordering::Relaxed) as u16,
        };
        let config = &self.config;
        let gradually = if aof_base { &config.aof_incremental_fsync } else { &config.rdb_incremental_fsync };
        let file = Gradual::new(file, gradually.load(Ordering::Relaxed));
        let mut sink = SnapshotWriter::new(BufWriter::with_capacity(WRITE_BUFFER, file), options)?;
        sink.origin(Origin {
            redis_version: crate::REDIS_VERSION,
            created_at_s: (cut.now_us / 1_000_000) as i64,
            used_memory: self.data_memory(),
            aof_base,
        })?;
        Ok(sink)
    }
}

fn panicked() -> io::Error {
    io::Error::other("the thread that saves has panicked")
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
