//! Between the keyspace and the snapshot file.
//!
//! Saving holds the gate: nothing moves while the file is written, as with SAVE of Redis. The file is built beside the
//! old one and takes its name only when it is whole and synced, so a failure or a crash leaves the old file.
//!
//! Loading puts keys into an engine that nobody uses yet. Keys that have expired meanwhile are left out.

use super::background::SavePoint;
use super::convert;
use super::disk::{Disk, DiskFile, replace_file};
use super::saver::{Saved, temporary_beside};
use super::snapshot::{
    Item, KeyMeta, LoadError, LoadErrorKind, Origin, SnapshotReader, SnapshotWriter, WriteOptions,
};
use crate::effects::{Class, Effects, Event};
use crate::engine::Engine;
use crate::keyspace::{Expiry, Shard};
use crate::lane::Lane;
use larder_structures::hash;
use larder_structures::sync::Hold;
use parking_lot::Mutex;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes gathered before they go to the disk.
pub(super) const WRITE_BUFFER: usize = 256 * 1024;

/// What happens to a key that is loaded; nobody hears it, since nobody uses the engine yet.
const RESTORE: Event = Event::new(Class::Generic, "restore");

/// What is known about saving.
#[derive(Debug, Default)]
pub struct SaveState {
    /// When the last successful save ended, Unix seconds; at first, when the engine was opened.
    pub last_save_s: AtomicU64,
    /// Whether the last attempt failed.
    pub has_failed: AtomicBool,
    /// Changes counted by the time of the last save.
    changes_saved: AtomicU64,
    /// How many saves have been begun.
    pub saves: AtomicU64,
    /// When the last save in the background was tried, Unix seconds; 0 for never.
    pub(super) last_try_s: AtomicU64,
    /// Seconds that the last save in the background took and one more; 0 if there was none.
    pub(crate) last_seconds: AtomicU64,
    /// The most bytes that waited for the last save.
    pub(crate) last_waiting: AtomicU64,
    /// Whether a save is to begin as soon as what is under way has ended.
    pub(super) is_scheduled: AtomicBool,
    pub(super) points: Mutex<Vec<SavePoint>>,
    pub(super) has_points: AtomicBool,
}

/// What a load found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// Keys loaded.
    pub keys: u64,
    /// Keys left out because they have expired.
    pub expired: u64,
    /// Function libraries left out, since there are no functions yet.
    pub functions: u64,
    /// Bytes of the snapshot. In the base of an append-only file commands may follow.
    pub bytes: u64,
}

impl SaveState {
    /// Notes that a save has succeeded, at a time in Unix microseconds; `changes` were counted at its cut.
    pub(super) fn note_saved(&self, changes: u64, now_us: u64) {
        self.has_failed.store(false, Ordering::Relaxed);
        self.changes_saved.store(changes, Ordering::Relaxed);
        self.last_save_s.store(now_us / 1_000_000, Ordering::Relaxed);
    }
}

impl Engine {
    /// Changes since the last save.
    pub fn changes_since_save(&self) -> u64 {
        let all = self.stats.sum(|lane| &lane.dirty);
        all.saturating_sub(self.saves.changes_saved.load(Ordering::Relaxed))
    }

    /// Writes everything into the file `target`, atomically. Stops all other commands meanwhile.
    ///
    /// # Errors
    /// With the first error of the disk; the old file is then untouched.
    pub fn save(&self, lane: &Lane, disk: &dyn Disk, target: &Path) -> io::Result<()> {
        let temporary = temporary_beside(target);
        self.saves.saves.fetch_add(1, Ordering::Relaxed);
        let hold = self.shards.all();
        let changes = self.stats.sum(|lane| &lane.dirty);
        let result = replace_file(disk, target, &temporary, |file| {
            self.write_snapshot(lane.now_us, false, &hold, file).map(drop)
        });
        drop(hold);
        // As with Redis a failure of SAVE concerns who asked for it, and nobody else.
        if result.is_ok() {
            self.saves.note_saved(changes, lane.now_us);
            self.look_for_refusal();
        }
        result
    }

    pub(super) fn write_snapshot(
        &self,
        now_us: u64,
        aof_base: bool,
        hold: &Hold<'_, Shard>,
        file: &mut dyn DiskFile,
    ) -> io::Result<Saved> {
        let options = WriteOptions {
            compress: self.config.rdb_compression.load(Ordering::Relaxed),
            checksum: self.config.rdb_checksum.load(Ordering::Relaxed),
            version: self.config.rdb_version.load(Ordering::Relaxed) as u16,
        };
        let mut writer = SnapshotWriter::new(BufWriter::with_capacity(WRITE_BUFFER, file), options)?;
        writer.origin(Origin {
            redis_version: crate::REDIS_VERSION,
            created_at_s: (now_us / 1_000_000) as i64,
            used_memory: self.data_memory(),
            aof_base,
        })?;
        let mut saved = Saved { keys: 0 };
        let meter = self.meter((now_us / 1_000_000) as u32);
        for db in 0..self.config.databases {
            let physical = self.physical(db);
            let parts = || (0..self.shards.len()).filter_map(|index| hold.shard(index).db(physical));
            let keys: usize = parts().map(|part| part.keys.len()).sum();
            if keys == 0 {
                continue;
            }
            let expires: usize = parts().map(|part| part.keys.with_expiry()).sum();
            saved.keys += keys as u64;
            writer.select_db(db as u64)?;
            writer.resize_db(keys as u64, expires as u64)?;
            for entry in parts().flat_map(|part| part.keys.iter()) {
                let expire_at_ms = entry.expires_at_ms().map(|at_ms| at_ms as i64);
                let (idle, freq) = meter.saved(entry.clock());
                let meta = KeyMeta { expire_at_ms, idle, freq };
                convert::write(entry.value(), writer.key(entry.key(), meta))?;
            }
        }
        writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(saved)
    }

    /// Loads a snapshot into this engine, which nobody else uses yet.
    ///
    /// # Errors
    /// When the file cannot be read or is not what it should be: where, in which key, and what. What came before that
    /// place has been loaded, so the engine is not to be used.
    pub fn load(&self, lane: &mut Lane, disk: &dyn Disk, source: &Path) -> Result<Loaded, LoadError> {
        let failed = |error| LoadError { offset: 0, key: None, kind: LoadErrorKind::Io(error) };
        let file = disk.open(source).map_err(failed)?;
        let verify = self.config.rdb_checksum.load(Ordering::Relaxed);
        let mut reader = SnapshotReader::new(file)?.verify_checksum(verify);
        let mut loaded = Loaded::default();
        let mut db = 0;
        loop {
            let offset = reader.offset();
            let corrupt = |key: Option<&[u8]>, expected, found| {
                let key = key.map(<[u8]>::to_vec);
                LoadError { offset, key, kind: LoadErrorKind::Corrupt { expected, found } }
            };
            let Some(item) = reader.next()? else { break };
            match item {
                Item::Aux { .. } | Item::ResizeDb { .. } => {}
                Item::Function(_) => loaded.functions += 1,
                Item::SelectDb(number) => {
                    db = usize::try_from(number).ok().filter(|db| *db < self.config.databases).ok_or_else(
                        || corrupt(None, "a database that exists", format!("database {number}")),
                    )?;
                }
                Item::Key { key, expire_at_ms, idle, freq, value } => {
                    let expiry =
                        expire_at_ms.map_or(Expiry::Never, |at_ms| Expiry::AtMs(at_ms.max(0) as u64));
                    if matches!(expiry, Expiry::AtMs(at_ms) if at_ms <= lane.now_ms()) {
                        loaded.expired += 1;
                        continue;
                    }
                    let stored = convert::read(value, &self.config)
                        .map_err(|damage| corrupt(Some(&key), damage, "something else".into()))?;
                    // An empty collection is no key; files of old servers may have some.
                    if let Some(stored) = stored {
                        self.put_loaded(lane, db, &key, stored, expiry, (idle, freq));
                        loaded.keys += 1;
                    }
                }
            }
        }
        loaded.bytes = reader.offset();
        Ok(loaded)
    }

    /// Takes all changes so far for saved: they came from a file.
    pub(super) fn note_saved_changes(&self) {
        let changes = self.stats.sum(|lane| &lane.dirty);
        self.saves.changes_saved.store(changes, Ordering::Relaxed);
    }

    fn put_loaded(
        &self,
        lane: &mut Lane,
        db: usize,
        key: &[u8],
        value: convert::Stored,
        expiry: Expiry,
        (idle_s, frequency): (Option<u64>, Option<u8>),
    ) {
        let index = hash::shard(hash::of(key), self.shards.len());
        let mut hold = self.shards.one(index);
        self.begin_effects(lane);
        let mut writer = self.writer(lane, &mut hold, db);
        writer.restore(key, value, expiry, RESTORE);
        if idle_s.is_some() || frequency.is_some() {
            writer.set_use(key, idle_s, frequency.map(u32::from));
        }
        // Loading is no change: nobody watches, the log does not want it, and it need not be saved.
        lane.effects = Effects::default();
    }
}
