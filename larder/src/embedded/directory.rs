//! An embedded engine that keeps its data in a directory.

use super::Larder;
use crate::engine::{Engine, Options};
use crate::persist::aof::{AofLoaded, Place};
use crate::persist::disk::RealDisk;
use crate::persist::lock::FileLock;
use crate::runtime::Runtime;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The names that a server has by default, so that it can take over the directory, or hand it over.
const DIRECTORY: &str = "appendonlydir";
const FILE: &str = "appendonly.aof";
const SNAPSHOT: &str = "dump.rdb";

impl Larder {
    /// Opens an engine that keeps its data in `dir`: what was written there before is loaded, and everything that is
    /// written from now on is appended to an append-only file as Redis has it.
    ///
    /// How durable a write is when its call returns is what `options.config` says by
    /// [`set_fsync`](crate::config::Config::set_fsync):
    ///
    /// | | the process crashes | the machine crashes |
    /// |---|---|---|
    /// | [`Fsync::Always`](crate::persist::aof::Fsync::Always) | it is there | it is there; the call has waited for that |
    /// | [`Fsync::EverySecond`](crate::persist::aof::Fsync::EverySecond), as long as nothing else is said | the last 0.1 seconds may be lost | the last 2 seconds may be lost |
    /// | [`Fsync::No`](crate::persist::aof::Fsync::No) | as above | whatever the system had not written yet is lost |
    ///
    /// What is lost is always the end: what is left is what was there at some moment. When the last handle goes,
    /// everything is written and synced.
    ///
    /// A directory belongs to one process at a time. A `larder-server` or `redis-server` started there with
    /// `appendonly yes` has the same data; a `dump.rdb` is loaded if there is no append-only file yet.
    ///
    /// ```
    /// use larder::{Larder, Options};
    ///
    /// # let dir = std::env::temp_dir().join(format!("larder-doc-{}", std::process::id()));
    /// # let dir = &dir;
    /// let larder = Larder::open_dir(dir, Options::default())?;
    /// larder.set("greeting", "hello")?;
    /// drop(larder);
    ///
    /// let larder = Larder::open_dir(dir, Options::default())?;
    /// assert_eq!(larder.get("greeting")?.as_deref(), Some(b"hello".as_slice()));
    /// # drop(larder);
    /// # std::fs::remove_dir_all(dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Another process has the directory; what is there cannot be loaded, with file and offset; the disk's; or the system
    /// gives no thread.
    pub fn open_dir(dir: impl AsRef<Path>, options: Options) -> io::Result<Larder> {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir)?;
        let lock = FileLock::take(dir, DIRECTORY)?;
        let engine = Engine::open(options);
        let place = Place { disk: Arc::new(RealDisk), dir: dir.join(DIRECTORY), name: FILE.into() };
        engine.load_data(&place, &dir.join(FILE), &dir.join(SNAPSHOT))?;
        let runtime = Runtime::start(&engine)?;
        engine.open_aof(place)?;
        Ok(Larder::of(engine, Some(runtime), Some(lock)))
    }
}

impl Engine {
    /// Loads what there is: the append-only file in `place`, or one that a server before Redis 7.0 has written as the
    /// single file `old`, which is taken over, or the snapshot. Nobody else uses the engine yet.
    ///
    /// # Errors
    /// The first thing that cannot be loaded, with file and offset, or the disk's.
    pub fn load_data(
        self: &Arc<Self>,
        place: &Place,
        old: &Path,
        snapshot: &Path,
    ) -> io::Result<Option<AofLoaded>> {
        let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
        place.adopt_single_file(old)?;
        let loaded = self.load_aof(place).map_err(|error| invalid(error.to_string()))?;
        if loaded.is_none() && place.disk.exists(snapshot)? {
            self.load(&mut self.lane(false), &*place.disk, snapshot)
                .map_err(|error| invalid(format!("{}: {error}", snapshot.display())))?;
        }
        Ok(loaded)
    }
}
