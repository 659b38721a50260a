//! What can go wrong with a session. No text here holds an id or a secret.

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use std::fmt;

/// What a call on a [`Session`](crate::Session) answers with.
pub type Result<T> = std::result::Result<T, SessionError>;

/// Why a call on a session failed. As a response it is 503 when trying again may help, 401 when nobody is logged in (any
/// more), 403 for a request that may be forged, 409 for a login too many, 413 for too large a record, else 500.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// The store did not answer, or answered with an error.
    Unavailable(larder_client::Error),
    /// What is stored is no record, or a member is not of the type that was asked for. It stays as it is.
    Corrupt(String),
    /// The record would be longer than the limit. The stored one stays as it is.
    TooLarge {
        /// How long it would be.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// Others changed the record so often that the change found no gap.
    Conflict,
    /// The session was ended or given another id while this request was under way: its changes are dropped.
    Ended,
    /// A session object in Node has a member of this name of its own.
    ReservedName(String),
    /// A value that JSON, or JavaScript's numbers, cannot hold.
    Unrepresentable(String),
    /// The user has as many sessions as he may, and this login was not the first to come.
    TooManySessions,
    /// The request was refused because another site may have forged it.
    Forged,
    /// Nobody is logged in.
    NoUser,
    /// Sessions of this profile cannot do it.
    Unsupported(String),
    /// The route has no session layer.
    NotInstalled,
    /// The operating system gives no random bytes.
    NoRandomBytes,
}

impl SessionError {
    /// Of a record that is no JSON object.
    pub(crate) fn unsound() -> SessionError {
        SessionError::Corrupt("it is no JSON object".to_owned())
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::Unavailable(why) => write!(f, "the session store failed: {why}"),
            SessionError::Corrupt(what) => write!(f, "the session cannot be read: {what}"),
            SessionError::TooLarge { bytes, max } => {
                write!(f, "the session would take {bytes} bytes, of {max} at most")
            }
            SessionError::Conflict => f.write_str("the session changes all the time"),
            SessionError::Ended => f.write_str("the session has ended meanwhile"),
            SessionError::ReservedName(name) => write!(f, "Express would lose a member named {name:?}"),
            SessionError::Unrepresentable(what) => write!(f, "the session cannot hold this: {what}"),
            SessionError::TooManySessions => f.write_str("the user has too many sessions"),
            SessionError::Forged => f.write_str("the request may come from another site"),
            SessionError::NoUser => f.write_str("nobody is logged in"),
            SessionError::Unsupported(what) => write!(f, "not with these sessions: {what}"),
            SessionError::NotInstalled => f.write_str("this route has no session layer"),
            SessionError::NoRandomBytes => f.write_str("the system gives no random bytes"),
        }
    }
}

impl std::error::Error for SessionError {}

impl From<larder_client::Error> for SessionError {
    fn from(error: larder_client::Error) -> SessionError {
        SessionError::Unavailable(error)
    }
}

impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        match self {
            SessionError::Unavailable(_) | SessionError::Conflict => StatusCode::SERVICE_UNAVAILABLE,
            SessionError::NoUser | SessionError::Ended => StatusCode::UNAUTHORIZED,
            SessionError::Forged => StatusCode::FORBIDDEN,
            SessionError::TooManySessions => StatusCode::CONFLICT,
            SessionError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
        .into_response()
    }
}
