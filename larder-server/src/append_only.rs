//! The append-only file at the start of the server, and switched on and off while it runs.

use crate::config::Settings;
use crate::observe::log::Log;
use crate::server::Server;
use larder::Engine;
use larder::persist::aof::{AofLoaded, Place};
use larder::persist::disk::RealDisk;
use larder::persist::lock::FileLock;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Where the append-only file is, and the lock on it.
pub(crate) struct AppendOnly {
    dir: PathBuf,
    dir_name: String,
    file_name: String,
    /// Held from when it is first switched on.
    lock: Mutex<Option<FileLock>>,
}

impl AppendOnly {
    /// What the parameters say, not locked.
    pub(crate) fn new(settings: &Settings) -> AppendOnly {
        AppendOnly {
            dir: settings.text("dir").into(),
            dir_name: settings.text("appenddirname"),
            file_name: settings.text("appendfilename"),
            lock: Mutex::new(None),
        }
    }

    fn place(&self) -> Place {
        Place { disk: Arc::new(RealDisk), dir: self.dir.join(&self.dir_name), name: self.file_name.clone() }
    }

    fn lock(&self) -> Result<(), String> {
        let mut lock = self.lock.lock();
        if lock.is_none() {
            let taken = FileLock::take(&self.dir, &self.dir_name);
            *lock = Some(taken.map_err(|error| {
                format!("{error}. Give this one a directory of its own (dir), or another appenddirname")
            })?);
        }
        Ok(())
    }

    /// Loads what is there into an engine whose data nobody uses yet; `false` if there is no append-only file. One that a
    /// server before Redis 7.0 has written as a single file is taken over.
    pub(crate) fn load(&self, engine: &Arc<Engine>, log: &Log) -> Result<bool, String> {
        self.lock()?;
        let place = self.place();
        let old = self.dir.join(&self.file_name);
        let adopted = place.adopt_single_file(&old);
        if adopted.map_err(|error| format!("Taking over {}: {error}", old.display()))? {
            log.notice(format_args!("Took over {} as the base in {}", old.display(), place.dir.display()));
        }
        let began = Instant::now();
        let loaded = engine.load_aof(&place).map_err(|error| {
            format!(
                "Fatal error loading the append-only file, {}: {error}. The files were not changed. \
                 'larder-server check-aof' tells more, and with --fix cuts off an incomplete end. Exiting.",
                place.dir.display()
            )
        })?;
        if let Some(loaded) = &loaded {
            tell(loaded, log);
            let seconds = began.elapsed().as_secs_f64();
            log.notice(format_args!("DB loaded from append only file: {seconds:.3} seconds"));
        }
        Ok(loaded.is_some())
    }

    /// Goes on behind what was loaded, or begins with what the engine holds.
    pub(crate) fn open(&self, engine: &Arc<Engine>) -> Result<(), String> {
        let opened = engine.open_aof(self.place());
        opened.map_err(|error| format!("Opening the append-only file in {}: {error}", self.path().display()))
    }

    fn path(&self) -> PathBuf {
        self.dir.join(&self.dir_name)
    }
}

fn tell(loaded: &AofLoaded, log: &Log) {
    let AofLoaded { files, bytes, keys, skipped, commands, errors, first_error, cut } = loaded;
    log.notice(format_args!(
        "Loaded {bytes} bytes in {files} files: {keys} keys of the base, {commands} commands"
    ));
    if let Some((file, offset, lost)) = cut {
        log.warning(format_args!(
            "WARNING {file} ended within a command or transaction, as after a crash: {lost} bytes from offset {offset} \
             were cut off (aof-load-truncated)"
        ));
    }
    if let Some(first) = first_error {
        log.warning(format_args!(
            "WARNING {errors} commands of the append-only file answered an error, which none does in a file that a server \
             has written; the first: {first}"
        ));
    }
    if skipped.count() > 0 {
        log.warning(format_args!(
            "WARNING what is not supported yet was left out of the base (rdb-skip-unsupported): {skipped}. The next \
             rewrite will not have it."
        ));
    }
}

/// CONFIG SET appendonly.
pub(crate) fn switch(server: &Server, is_on: bool) -> Result<(), String> {
    if server.settings.is_on("appendonly") == is_on {
        return Ok(());
    }
    if server.engine.is_loading() {
        return Err("the data are still being loaded".into());
    }
    let append_only = &server.append_only;
    if !is_on {
        return server.engine.close_aof().map_err(|error| {
            // It is off all the same: what was asked for is that nothing more is appended.
            server.settings.store("appendonly", "no".into());
            server.log.warning(format_args!("Closing the append-only file: {error}"));
            format!("the append-only file is off, but the last writes could not be made durable: {error}")
        });
    }
    append_only.lock()?;
    let started = server.engine.start_aof(append_only.place());
    started.map_err(|error| format!("{}: {error}", append_only.path().display()))
}
