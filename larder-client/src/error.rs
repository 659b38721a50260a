//! What can go wrong between a caller and its data.

use std::fmt;

/// What a call on a [`Larder`](crate::Larder) answers with.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed. The variants tell apart what a caller may do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The URL or an option makes no sense; the text says which part.
    Url(String),
    /// No connection could be made: the command was not sent, and nothing has happened.
    Unreachable(String),
    /// The command was sent, and no reply came: it may have happened or not.
    Lost(String),
    /// The server refused the command: nothing has happened.
    Server {
        /// The first word of the error, such as `WRONGTYPE`.
        code: String,
        /// The rest of it.
        message: String,
    },
    /// This backend cannot do it.
    Unsupported(String),
    /// The commands were carried out, but not as many replicas have that as were to.
    TooFewReplicas {
        /// How many were to.
        wanted: u32,
        /// How many have.
        got: u64,
    },
    /// The reply is of another type than the call expects.
    Unexpected(String),
}

impl Error {
    /// An error reply of the server, from its whole text.
    pub(crate) fn reply(text: &[u8]) -> Error {
        let text = String::from_utf8_lossy(text);
        let (code, message) = text.split_once(' ').unwrap_or((&text, ""));
        Error::Server { code: code.to_owned(), message: message.to_owned() }
    }

    /// The code of an error reply.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Server { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether the command may have been carried out all the same.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Error::Lost(_))
    }

    /// Whether this is trouble with the way to the data (a server that is away, loading, failing over), not with the
    /// command.
    pub fn is_outage(&self) -> bool {
        match self {
            Error::Unreachable(_) | Error::Lost(_) => true,
            Error::Server { code, .. } => OUTAGE_CODES.contains(&code.as_str()),
            _ => false,
        }
    }
}

/// Error replies that say "not now" or "not here": the command was not carried out, and may be when it is sent again.
const OUTAGE_CODES: &[&str] = &["LOADING", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY"];

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Url(what) => write!(f, "bad URL: {what}"),
            Error::Unreachable(why) => write!(f, "no connection: {why}"),
            Error::Lost(why) => write!(f, "no reply, the command may have been carried out: {why}"),
            Error::Server { code, message } => write!(f, "{code} {message}"),
            Error::Unsupported(what) => write!(f, "not supported here: {what}"),
            Error::TooFewReplicas { wanted, got } => {
                write!(f, "done, but only {got} of {wanted} replicas have it so far")
            }
            Error::Unexpected(what) => write!(f, "unexpected reply: {what}"),
        }
    }
}

impl std::error::Error for Error {}
