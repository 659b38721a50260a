//! The one error of every decoder here: bytes that are not what they claim to be.

use std::error::Error;
use std::fmt;

/// Why serialized bytes were refused. Carries a constant sentence for logs; nothing depends on its wording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt(pub &'static str);

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Corrupt {}
