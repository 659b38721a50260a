//! Data structures and synchronisation primitives under Larder.
//!
//! This crate knows nothing of Redis: it has no commands, no protocol and no clock of its own. It is also the only
//! crate of the project that may contain `unsafe` code; every block states its reason, and what it offers outwards is
//! safe to use.
//!
//! ```
//! use larder_structures::{hash, record::Record, table::Table};
//!
//! let mut fields: Table<Record> = Table::new();
//! fields.insert(Record::new(b"name", b"ada"));
//! assert_eq!(fields.get(b"name").map(|field| field.value()), Some(&b"ada"[..]));
//! assert!(fields.get(b"mail").is_none());
//! let _spread = hash::of(b"name");
//! ```

pub mod sync;
pub mod sys;

pub mod hash;
pub mod slab;
pub mod table;
mod varint;

pub mod entry;
pub mod record;

pub mod corrupt;
pub mod decimal;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod intset;
pub mod listpack;
pub mod quicklist;
pub mod ranked_tree;
pub mod sorted;
