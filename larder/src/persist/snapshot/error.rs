//! Why a snapshot could not be read.

use std::fmt;
use std::io;

use super::codec::VERSIONS_READ;

/// Keys longer than this are cut when an error is printed.
const KEY_SHOWN_MAX: usize = 64;

/// A failure to read a snapshot: what, where, and inside which key.
#[derive(Debug)]
pub struct LoadError {
    /// Where in the file the thing that could not be read begins, in bytes from its start.
    pub offset: u64,
    /// The key whose value was being read, if one was.
    pub key: Option<Vec<u8>>,
    /// What happened.
    pub kind: LoadErrorKind,
}

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// The input could not be read.
    Io(io::Error),
    /// The input ends within something.
    UnexpectedEnd {
        /// What was being read.
        reading: &'static str,
    },
    /// The bytes are not what the format has there.
    Corrupt {
        /// What the format has there.
        expected: &'static str,
        /// What is there instead.
        found: String,
    },
    /// The format allows it, this crate does not read it.
    Unsupported {
        /// What it is.
        what: &'static str,
    },
    /// The file is of a version this crate does not read.
    UnsupportedVersion {
        /// The version it claims.
        version: u16,
    },
    /// The bytes differ from those that were written.
    ChecksumMismatch {
        /// The checksum in the file.
        stored: u64,
        /// The checksum of what was read.
        computed: u64,
    },
    /// An earlier call failed, so there is no place to go on from.
    AfterFailure,
}

impl LoadError {
    pub(super) fn new(offset: u64, kind: LoadErrorKind) -> Self {
        Self { offset, key: None, kind }
    }

    pub(super) fn corrupt(offset: u64, expected: &'static str, found: impl Into<String>) -> Self {
        Self::new(offset, LoadErrorKind::Corrupt { expected, found: found.into() })
    }

    pub(in super::super) fn unsupported(offset: u64, what: &'static str) -> Self {
        Self::new(offset, LoadErrorKind::Unsupported { what })
    }

    pub(super) fn in_key(self, key: &[u8]) -> Self {
        Self { key: Some(key.to_vec()), ..self }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, key, kind } = self;
        let at_key = AtKey(key.as_deref());
        match kind {
            LoadErrorKind::Io(error) => write!(f, "cannot read{at_key} (offset {offset}): {error}"),
            LoadErrorKind::UnexpectedEnd { reading } => {
                write!(f, "unexpected end of file at offset {offset} while reading {reading}{at_key}")
            }
            LoadErrorKind::Corrupt { expected, found } => {
                write!(f, "corrupt{at_key}: expected {expected}, found {found} (offset {offset})")
            }
            LoadErrorKind::Unsupported { what } => write!(f, "unsupported: {what}{at_key} (offset {offset})"),
            LoadErrorKind::UnsupportedVersion { version } => {
                let (first, last) = (VERSIONS_READ.start(), VERSIONS_READ.end());
                write!(f, "unsupported: version {version} of the snapshot format, ")?;
                write!(f, "expected {first} to {last} (offset {offset})")
            }
            LoadErrorKind::ChecksumMismatch { stored, computed } => {
                write!(f, "corrupt: expected checksum {stored:016x}, found {computed:016x} (offset {offset})")
            }
            LoadErrorKind::AfterFailure => write!(f, "an earlier error ended the reading (offset {offset})"),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let LoadErrorKind::Io(error) = &self.kind { Some(error) } else { None }
    }
}

/// ` at key '...'`, or nothing.
struct AtKey<'a>(Option<&'a [u8]>);

impl fmt::Display for AtKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(key) if key.len() <= KEY_SHOWN_MAX => write!(f, " at key '{}'", key.escape_ascii()),
            Some(key) => write!(f, " at key '{}...'", key[..KEY_SHOWN_MAX].escape_ascii()),
        }
    }
}
