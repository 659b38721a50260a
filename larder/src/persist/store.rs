//! SAVE: the gate is held, and nothing moves while the file is written, as with that of Redis.
//!
//! The file is built beside the old one and takes its name only when it is whole and synced, so a failure or a crash
//! leaves the old file.

use super::background::SavePoint;
use super::convert;
use super::disk::{Disk, DiskFile, replace_file};
use super::saver::{Saved, temporary_beside};
use super::snapshot::{KeyMeta, Origin, SnapshotWriter, WriteOptions};
use crate::engine::Engine;
use crate::keyspace::Shard;
use crate::keyspace::eviction::access_clock;
use crate::lane::Lane;
use larder_structures::sync::Hold;
use parking_lot::Mutex;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes gathered before they go to the disk.
pub(super) const WRITE_BUFFER: usize = 64 * 1024;

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
        let meter = self.meter(access_clock(now_us));
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

    /// Takes all changes so far for saved: they came from a file.
    pub(super) fn note_saved_changes(&self) {
        let changes = self.stats.sum(|lane| &lane.dirty);
        self.saves.changes_saved.store(changes, Ordering::Relaxed);
    }
}
