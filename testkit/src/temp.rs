//! A fresh directory that is gone when its owner is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Distinguishes the directories of one process; processes are distinguished by their id.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A directory under the system's temporary directory, removed with everything in it on drop.
///
/// Set `LARDER_KEEP_TEMP` in the environment to keep it, for a look at what a failed test left behind.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Creates a new empty directory.
    ///
    /// # Panics
    /// When the directory cannot be created: no test can go on without it.
    #[must_use]
    pub fn new() -> TempDir {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("larder-test-{}-{number}", std::process::id()));
        // A process id comes back some day; what an earlier owner left is of no use to anybody.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("cannot create {}: {e}", path.display()));
        TempDir { path }
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for TempDir {
    fn default() -> Self {
        TempDir::new()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::env::var_os("LARDER_KEEP_TEMP").is_none() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
