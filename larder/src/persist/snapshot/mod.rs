//! Redis' snapshot format (`dump.rdb`), read and written as a stream.
//!
//! A snapshot is a header, a sequence of items that each begin with one byte saying what they are, an end mark and a
//! checksum over everything before it:
//!
//! ```text
//! "REDIS0010"                                        magic, version in four digits
//! FA <name> <value>                                  about the file itself ("aux"), any number
//! F5 <code>                                          a function library
//! FE <db>   FB <keys> <expires>                      what follows belongs to this database; sizes are a hint
//!   [FC <ms, 8 bytes LE>] [F8 <idle>|F9 <freq>] <type> <key> <value>
//! FF <crc64, 8 bytes LE>                             0 means "was not computed"
//! ```
//!
//! Nothing is aligned and nothing says how long an item is, so a reader must understand every item to get past it.
//! Lengths take 1, 2, 5 or 9 bytes; a string is a length and its bytes, or a small integer in binary, or LZF. The
//! same value may appear under several types: as its elements one by one, or as the packed bytes Redis keeps in
//! memory (listpack, intset). Packed forms are passed through unopened in both directions, because the engine keeps
//! the same bytes in memory; whoever takes them in must validate them first. The packed forms of old versions
//! (ziplist, zipmap) have no use in memory and are unpacked here.
//!
//! Versions 1 to 12 are read; version 10 (Redis 7.0) is written, which every later Redis and Valkey reads.
//!
//! Invariants: no input makes the reader panic, loop without consuming, or allocate more than a constant times what
//! it has already read; every error says where and what was expected.

mod codec;
pub(crate) mod dump;
mod error;
mod foreign;
mod legacy;
mod read;
mod source;
mod write;

pub use dump::{dump, restore};
pub use error::{LoadError, LoadErrorKind};
pub use foreign::{Foreign, Skipped};
pub use read::{Item, Node, SnapshotReader, Value};
pub(crate) use source::Source;
pub use source::Tail;
pub(crate) use write::Elements;
pub use write::{KeyMeta, NodeRef, Origin, SnapshotWriter, ValueWriter, WriteOptions};

pub use codec::VERSION_WRITTEN;
