//! What the engine keeps on disk, and how it gets there and back.
//!
//! But for `store`, `saver`, `background`, `loading` and `convert` this room knows bytes and files and nothing of keyspaces: it turns typed values
//! into Redis' snapshot format and back, and it reaches files only through [`disk::Disk`], so a test can fill the disk,
//! fail a sync or cut the power between any two operations. It never reads a clock: creation times and expiry times are
//! arguments.
//!
//! | file          | holds                                                                  |
//! |---------------|------------------------------------------------------------------------|
//! | `disk`        | the trait all file access goes through, the real disk, `replace_file`  |
//! | `simulated`   | the disk of the tests, which fails on request                          |
//! | `crc64`       | the checksum of snapshots and of DUMP payloads                         |
//! | `lzf`         | the compression of long strings inside a snapshot                      |
//! | `convert`     | values of the keyspace to values of a snapshot, and back                |
//! | `check`       | what a snapshot holds, and the first thing wrong with it                |
//! | `aof`         | the append-only file: its manifest, its commands, what is wrong with it |
//! | `saver`       | saving in the background                                                |
//! | `background`  | when that is begun                                                     |
//! | `lock`        | one process for a set of files                                          |
//! | `store`       | saving a whole engine while nothing moves                               |
//! | `loading`     | loading a snapshot                                                      |
//! | `snapshot`    | the snapshot format itself (`dump.rdb`), streaming in both directions  |

pub mod aof;
pub mod background;
pub mod check;
pub(crate) mod convert;
pub mod crc64;
pub mod disk;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod loading;
pub mod lock;
pub mod lzf;
pub mod progress;
pub mod saver;
#[cfg(any(test, feature = "testing"))]
pub mod simulated;
pub mod snapshot;
pub mod store;
