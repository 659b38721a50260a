//! What the engine must ask of the house it lives in.

use crate::fault::Fault;
use std::path::PathBuf;

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// `SAVE`: save even without save points.
    pub save: bool,
    /// `NOSAVE`: do not save.
    pub nosave: bool,
    /// `NOW`: do not wait for anybody.
    pub now: bool,
    /// `FORCE`: stop even if saving fails.
    pub force: bool,
}

/// What only the server knows or can do. An embedded engine has none of it, and says so.
pub trait Host: Send + Sync {
    /// Saves if asked to, then stops the process. Returns only if it cannot.
    ///
    /// # Errors
    /// Why the server goes on.
    fn shutdown(&self, how: Shutdown) -> Result<(), Fault>;

    /// The names of the server's own parameters.
    fn parameter_names(&self) -> Vec<&'static str>;

    /// The value of one of them, as CONFIG GET shows it.
    fn parameter(&self, name: &str) -> Option<String>;

    /// Checks a new value of one of them, without changing anything.
    ///
    /// # Errors
    /// Why it cannot be.
    fn check_parameter(&self, name: &str, value: &str) -> Result<(), String>;

    /// Sets one of them; the value has been checked.
    ///
    /// # Errors
    /// Why it could not be.
    fn set_parameter(&self, name: &str, value: &str) -> Result<(), String>;

    /// The file that snapshots go to, which is about to be written.
    ///
    /// # Errors
    /// Why this server must not write it.
    fn snapshot_file(&self) -> Result<PathBuf, Fault>;

    /// Writes the parameters into the configuration file that the server was started with.
    ///
    /// # Errors
    /// If there is none, or it cannot be written.
    fn rewrite_config(&self) -> Result<(), Fault> {
        Err(Fault::err("The server is running without a config file"))
    }

    /// Tells the operator something worth knowing.
    fn note(&self, _text: &str) {}

    /// Tells the operator something that must be known.
    fn warn(&self, _text: &str) {}

    /// Lines for a section of INFO (`server`, `clients`, ...), as `name` and value.
    fn info(&self, section: &str) -> Vec<(&'static str, String)>;
}
