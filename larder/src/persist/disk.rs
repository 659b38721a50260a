//! The files the engine may touch, as a trait, so that a test can be the disk.
//!
//! The operations are the few that durability is made of, and the contract is the one POSIX gives, not the one
//! people hope for:
//!
//! - bytes written are durable once [`DiskFile::sync`] returned success, not before;
//! - a name (created, renamed, removed) is durable once [`Disk::sync_dir`] of its directory returned success;
//! - a rename is atomic: after a crash a name stands for the old file or for the new one, whole;
//! - after a failed sync nothing is known about the bytes written before it, and syncing again does not help: the
//!   kernel may have dropped them and report success. The only way on is to write the file anew.
//!
//! [`replace_file`] is the sequence that turns these into "the old content or the new, never a mixture".

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

/// A place for files. Paths are used as given; relative ones are relative to whatever the disk takes as its start
/// (the working directory, for [`RealDisk`]). All methods fail with the error of the operating system.
pub trait Disk: Send + Sync {
    /// Opens an existing file for reading from its first byte.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;

    /// Creates an empty file for writing; one that is already there (a temporary file a crash left behind) is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for writing behind its last byte, creating it if it is missing.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, replacing the file of that name if there is one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Cuts a file down to its first `len` bytes, and makes that durable.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;

    /// The length of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The names of the files (not directories) directly in `dir`, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;

    /// Creates a directory and its missing ancestors; no error if it is already there.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// A file open for writing. Writes may be short, as [`Write`] allows; callers use `write_all`.
pub trait DiskFile: Write + Send {
    /// Makes what was written durable.
    ///
    /// # Errors
    /// With the error of the operating system; see the module's text for what a failure means.
    fn sync(&mut self) -> io::Result<()>;
}

/// Replaces the content of `target` by what `write` produces, so that after a crash at any moment `target` is whole:
/// the old file or the new. Once this returns success it is the new.
///
/// The content is built in `temporary`, which must be in the same directory.
///
/// # Errors
/// With the first error met. `target` is then what it was before, except when only the last step failed, the sync of
/// the directory: then it is the new file, but a crash may bring the old one back. `temporary` is removed.
pub fn replace_file(
    disk: &dyn Disk,
    target: &Path,
    temporary: &Path,
    write: impl FnOnce(&mut dyn DiskFile) -> io::Result<()>,
) -> io::Result<()> {
    let replaced = (|| {
        let mut file = disk.create(temporary)?;
        write(&mut *file)?;
        file.flush()?;
        file.sync()?;
        drop(file);
        disk.rename(temporary, target)
    })();
    if let Err(error) = replaced {
        // The error that brought us here says more than one about the leftovers.
        let _ = disk.remove(temporary);
        return Err(error);
    }
    disk.sync_dir(target.parent().unwrap_or(Path::new("")))
}

/// Bytes after which [`Gradual`] syncs.
const SYNC_BYTES: usize = 4 * 1024 * 1024;

/// A file that is synced as it grows, if that is wanted. What is only synced in the end comes to the disk all at once,
/// and whoever else syncs something waits for it.
pub(super) struct Gradual<'f> {
    file: &'f mut dyn DiskFile,
    is_wanted: bool,
    unsynced: usize,
}

impl<'f> Gradual<'f> {
    pub(super) fn new(file: &'f mut dyn DiskFile, is_wanted: bool) -> Gradual<'f> {
        Gradual { file, is_wanted, unsynced: 0 }
    }
}

impl Write for Gradual<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written;
        if self.is_wanted && self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.file.sync()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(fs::File::open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(fs::File::create(path)?)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(fs::OpenOptions::new().append(true).create(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).open(path)?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        fs::exists(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(here(dir))? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                names.push(entry.file_name());
            }
        }
        names.sort();
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(here(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Elsewhere a directory cannot be opened as a file, and its entries are written through.
        if cfg!(unix) { fs::File::open(here(dir))?.sync_all() } else { Ok(()) }
    }
}

/// The parent of a bare file name is the empty path, which the operating system does not take for a directory.
fn here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

struct RealFile(fs::File);

impl Write for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl DiskFile for RealFile {
    fn sync(&mut self) -> io::Result<()> {
        // The length counts as data here; only timestamps are left out.
        self.0.sync_data()
    }
}
