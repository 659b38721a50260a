//! The data directory: its lock, loading at the start, saving.
//!
//! Two servers that save to the same file would each overwrite what the other has saved. So a server that may save holds
//! a lock, on a file beside the snapshot that is named after it (`dump.rdb.lock`), as long as it runs. It takes it at
//! the start if there are save points; otherwise with its first save (SAVE, SHUTDOWN SAVE), which fails if another
//! server has it. So any number of servers that never save may share a directory. The lock file stays when the server
//! ends: to remove it would open a gap in which two servers lock two files of the same name.

use larder::Engine;
use larder::lane::Lane;
use larder::persist::disk::RealDisk;
use larder::persist::loading::Loaded;
use parking_lot::Mutex;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;

/// The snapshot and its lock.
#[derive(Debug)]
pub(crate) struct Data {
    directory: PathBuf,
    name: String,
    lock: Mutex<Option<File>>,
}

impl Data {
    /// The snapshot `name` in `directory`, not locked.
    pub(crate) fn new(directory: PathBuf, name: String) -> Data {
        Data { directory, name, lock: Mutex::new(None) }
    }

    /// Where the snapshot lies.
    pub(crate) fn snapshot(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// Takes the lock, unless this server has it already.
    ///
    /// # Errors
    /// Another server has it, or the system's.
    pub(crate) fn lock(&self) -> io::Result<()> {
        let mut lock = self.lock.lock();
        if lock.is_some() {
            return Ok(());
        }
        let path = self.directory.join(format!("{}.lock", self.name));
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {
                *lock = Some(file);
                self.remove_leftovers();
            }
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other(format!(
                    "another server is using {} in {}: it holds the lock on {}. Give this one a directory of its own \
                     (dir), another dbfilename, or no save points (--save \"\")",
                    self.name,
                    self.directory.display(),
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(())
    }

    /// Removes what servers have left behind that were killed while they saved. Nobody else saves here now.
    fn remove_leftovers(&self) {
        let Ok(entries) = self.directory.read_dir() else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix(&self.name)?.strip_prefix('.')?.strip_suffix(".tmp"));
            if number.is_some_and(|number| number.parse::<u32>().is_ok()) {
                // One that stays takes room, and does no other harm.
                let _stays = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Loads the snapshot into an engine whose data nobody uses yet; `None` if there is no snapshot.
    ///
    /// # Errors
    /// What is wrong with the snapshot, which is left as it is.
    pub(crate) fn load(&self, engine: &Engine) -> Result<Option<Loaded>, String> {
        let path = self.snapshot();
        if !path.exists() {
            return Ok(None);
        }
        engine.load(&mut engine.lane(false), &RealDisk, &path).map(Some).map_err(|error| {
            format!(
                "Fatal error loading the DB, {}: {error}. The file was not changed. Exiting.",
                path.display()
            )
        })
    }

    /// Saves the snapshot; takes the lock if this server has not saved before.
    ///
    /// # Errors
    /// Another server has the lock, or the disk's; the old snapshot is then as it was.
    pub(crate) fn save(&self, engine: &Engine, lane: &Lane) -> io::Result<()> {
        self.lock()?;
        engine.save(lane, &RealDisk, &self.snapshot())
    }
}
