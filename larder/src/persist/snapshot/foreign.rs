//! What a snapshot may hold and this crate does not read: getting past it.
//!
//! Nothing in a snapshot says how long a value is, so whoever wants to leave one out must know its form. These are
//! followed only as far as that takes; what is in them is not looked at.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use super::codec::{module, tag};
use super::error::LoadError;
use super::source::Source;

/// Bytes of the identifier of a stream's entry where it stands in full.
const ENTRY_ID: u64 = 16;
/// Bytes of a moment.
const MOMENT: u64 = 8;

/// Something that this crate does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Foreign {
    /// A stream.
    Stream,
    /// A value that belongs to a module.
    Module,
    /// A hash whose fields expire one by one.
    ExpiringHash,
    /// A library of functions. It can be read ([`Item::Function`](super::Item::Function)), but nothing can be done with
    /// it.
    FunctionLibrary,
}

impl Foreign {
    /// What a value with this tag is, if it is nothing that is read.
    pub(super) fn of(tag: u8) -> Option<Foreign> {
        match tag {
            tag::STREAM | tag::STREAM_2 | tag::STREAM_3 => Some(Foreign::Stream),
            tag::MODULE => Some(Foreign::Module),
            tag::HASH_EXPIRING_PRE_RELEASE..=tag::HASH_EXPIRING_LISTPACK => Some(Foreign::ExpiringHash),
            _ => None,
        }
    }

    /// Its name, for one of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Foreign::Stream => "stream",
            Foreign::Module => "module value",
            Foreign::ExpiringHash => "hash with expiring fields",
            Foreign::FunctionLibrary => "function library",
        }
    }
}

/// How much was left out of a load, because it is nothing that this crate reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped(BTreeMap<Foreign, u64>);

impl Skipped {
    /// Counts one more.
    pub fn note(&mut self, foreign: Foreign) {
        *self.0.entry(foreign).or_default() += 1;
    }

    /// Adds what another load has left out.
    pub fn add(&mut self, other: &Skipped) {
        other.0.iter().for_each(|(foreign, count)| *self.0.entry(*foreign).or_default() += count);
    }

    /// How much it is together.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.values().sum()
    }
}

/// As in `stream: 3, function library: 1`.
impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> =
            self.0.iter().map(|(foreign, count)| format!("{}: {count}", foreign.name())).collect();
        f.write_str(&each.join(", "))
    }
}

impl<R: Read> Source<R> {
    /// Gets past a value for which [`Foreign::of`] has a name.
    pub(super) fn skip_value(&mut self, tag: u8) -> Result<(), LoadError> {
        match tag {
            tag::STREAM | tag::STREAM_2 | tag::STREAM_3 => self.skip_stream(tag),
            tag::MODULE => self.skip_module(),
            tag::HASH_EXPIRING_PRE_RELEASE => self.skip_expiring_fields(),
            tag::HASH_EXPIRING_LISTPACK_PRE_RELEASE => self.string("a hash listpack").map(drop),
            tag::HASH_EXPIRING => {
                self.skip(MOMENT, "the first expiry of a hash")?;
                self.skip_expiring_fields()
            }
            _ => {
                self.skip(MOMENT, "the first expiry of a hash")?;
                self.string("a hash listpack").map(drop)
            }
        }
    }

    fn skip_expiring_fields(&mut self) -> Result<(), LoadError> {
        for _ in 0..self.count("a number of elements")? {
            self.count("the expiry of a hash field")?;
            self.string("a hash field")?;
            self.string("the value of a hash field")?;
        }
        Ok(())
    }

    /// Nodes of entries, numbers about them, and groups with what their consumers have not acknowledged.
    fn skip_stream(&mut self, tag: u8) -> Result<(), LoadError> {
        for _ in 0..self.count("a number of stream nodes")? {
            self.string("the identifier of a stream node")?;
            self.string("a stream listpack")?;
        }
        // The length and the last identifier; later also the first, the highest that was deleted, and how many came.
        let numbers = if tag == tag::STREAM { 3 } else { 8 };
        self.skip_counts(numbers, "a number of a stream")?;
        for _ in 0..self.count("a number of consumer groups")? {
            self.string("the name of a consumer group")?;
            self.skip_counts(if tag == tag::STREAM { 2 } else { 3 }, "a number of a consumer group")?;
            for _ in 0..self.count("a number of pending entries")? {
                self.skip(ENTRY_ID + MOMENT, "a pending entry")?;
                self.count("a number of deliveries")?;
            }
            for _ in 0..self.count("a number of consumers")? {
                self.string("the name of a consumer")?;
                let moments = if tag == tag::STREAM_3 { 2 } else { 1 };
                self.skip(moments * MOMENT, "when a consumer was seen")?;
                for _ in 0..self.count("a number of pending entries")? {
                    self.skip(ENTRY_ID, "a pending entry")?;
                }
            }
        }
        Ok(())
    }

    fn skip_counts(&mut self, how_many: usize, reading: &'static str) -> Result<(), LoadError> {
        (0..how_many).try_for_each(|_| self.count(reading).map(drop))
    }

    /// A module's id, then pieces up to an end mark.
    pub(super) fn skip_module(&mut self) -> Result<(), LoadError> {
        self.count("the id of a module")?;
        loop {
            let at = self.offset();
            match self.count("a piece of module data")? {
                module::END => return Ok(()),
                module::SIGNED | module::UNSIGNED => {
                    self.count("a number of a module")?;
                }
                module::FLOAT => self.skip(4, "a number of a module")?,
                module::DOUBLE => self.skip(8, "a number of a module")?,
                module::STRING => {
                    self.string("a string of a module")?;
                }
                other => {
                    let found = format!("the unknown kind {other}");
                    return Err(LoadError::corrupt(at, "a piece of module data", found));
                }
            }
        }
    }
}
