//! Redis' append-only file: commands that, run in their order, make the data again.
//!
//! Since Redis 7.0 it is a directory of files. A manifest names them: one *base*, a snapshot or commands, that holds the
//! data as of some moment, and *incremental* files with the commands since then, in order. A rewrite makes a new base
//! and begins a new incremental file; files of before are *history* until they are removed. Before 7.0 it was one file,
//! which is a base without a manifest.
//!
//! A file of commands holds them as RESP arrays of bulk strings; `MULTI` ... `EXEC` holds together what must not be
//! applied in part. Lines that begin with `#` are annotations, such as `#TS:<seconds>`. A base may begin with a
//! snapshot, behind which commands follow.
//!
//! A crash may leave the end of the last file incomplete: a command cut short, or a transaction without its `EXEC`. That
//! end was never acknowledged as durable, and may be cut off. Anything else that cannot be read is damage.

mod check;
mod commands;
mod feeder;
mod files;
mod load;
mod manifest;
mod read;
mod service;
#[cfg(test)]
mod tests;

pub use check::{Checked, Verdict, check, check_file};
pub use feeder::Fsync;
pub use files::Place;
pub use load::{AofLoadError, AofLoaded};
pub use manifest::{FileKind, Listed, Manifest, ManifestError};
pub use read::{AofError, AofErrorKind, AofReader, Step};
pub(crate) use service::Aof;
pub use service::{SyncProgress, Told, Wait};
