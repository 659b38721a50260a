//! The protocol version a connection speaks.

/// RESP2, which every connection starts with, or RESP3, which `HELLO 3` chooses.
///
/// Requests look the same in both; only replies differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Proto {
    /// Simple strings, errors, integers, bulk strings and arrays.
    #[default]
    Resp2,
    /// RESP2 plus null, double, boolean, map, set, push, big number and verbatim string.
    Resp3,
}

impl Proto {
    /// The protocol of `HELLO <version>`; `None` for a version nobody speaks.
    #[must_use]
    pub const fn from_version(version: i64) -> Option<Self> {
        match version {
            2 => Some(Self::Resp2),
            3 => Some(Self::Resp3),
            _ => None,
        }
    }

    /// The number `HELLO` and `CLIENT LIST` show: 2 or 3.
    #[must_use]
    pub const fn version(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }

    /// Whether replies may use the RESP3 types.
    #[must_use]
    pub const fn is_resp3(self) -> bool {
        matches!(self, Self::Resp3)
    }
}
