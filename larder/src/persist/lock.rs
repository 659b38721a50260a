//! One process for a set of files.
//!
//! Two processes that write the same files would each overwrite what the other has written. So whoever is going to
//! write holds a lock on a file beside them for as long as it lives. The file stays afterwards: to remove it would open
//! a gap in which two processes lock two files of the same name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How often a lock that is taken is tried again, and how long in between.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// A lock on files; it is let go when this is dropped, or when the process ends, however it ends.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock on what is called `name` in `dir`.
    ///
    /// # Errors
    /// Somebody else has it, which the text says; or the system's.
    pub fn take(dir: &Path, name: &str) -> io::Result<FileLock> {
        let path = dir.join(format!("{name}.lock"));
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        // A process that was killed a moment ago may not be quite gone.
        let mut tries = 0;
        let taken = loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if tries < TRIES => std::thread::sleep(BETWEEN_TRIES),
                taken => break taken,
            }
            tries += 1;
        };
        match taken {
            Ok(()) => Ok(FileLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(io::Error::other(format!(
                "another process is using {name} in {}: it holds the lock on {}",
                dir.display(),
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_taken_once_at_a_time() {
        let dir = std::env::temp_dir().join(format!("larder-lock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
        let lock = FileLock::take(&dir, "data").expect("nobody has it");
        let error = FileLock::take(&dir, "data").expect_err("it is taken").to_string();
        assert!(error.contains("another process is using data"), "{error}");
        FileLock::take(&dir, "other").expect("that is another one");
        drop(lock);
        FileLock::take(&dir, "data").expect("it is free again");
        std::fs::remove_dir_all(&dir).expect("it was just made");
    }
}
