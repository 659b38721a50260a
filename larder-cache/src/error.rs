//! What can go wrong.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a call that loads nothing failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Trouble with the backend.
    Backend(larder_client::Error),
    /// A step at the backend took longer than [`Policy::backend_timeout`](crate::Policy::backend_timeout).
    BackendTimeout(Duration),
    /// The key has more than [`KEY_MAX`](crate::KEY_MAX) bytes.
    KeyTooLong(usize),
    /// The value has no bytes in this codec, or too many.
    Encode(String),
    /// A setting makes no sense; the text says which.
    Setting(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Backend(error) => write!(f, "the cache's backend: {error}"),
            Error::BackendTimeout(time) => write!(f, "the cache's backend: no answer within {time:?}"),
            Error::KeyTooLong(length) => {
                write!(f, "a key of {length} bytes; at most {} can be cached", crate::KEY_MAX)
            }
            Error::Encode(why) => write!(f, "the value cannot be cached: {why}"),
            Error::Setting(what) => write!(f, "bad setting: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<larder_client::Error> for Error {
    fn from(error: larder_client::Error) -> Error {
        Error::Backend(error)
    }
}

/// Why a call that loads failed. All who waited for the same load get the same.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The loader's own error.
    Source(Arc<E>),
    /// The loader panicked, with this message.
    Panicked(String),
    /// The value did not come within [`Policy::hard_timeout`](crate::Policy::hard_timeout) or
    /// [`Policy::load_max`](crate::Policy::load_max).
    TimedOut(Duration),
    /// The loader asked for the very key it is loading.
    Recursive,
    /// The loader found nothing; `find_or_load` answers `None` instead.
    NotFound,
    /// The loader said "not modified", but was shown no value that could be meant.
    Unchanged,
    /// Another loader, with another type of error, failed for this key a moment ago; the text is its error.
    Backoff(String),
    /// The cache itself; of trouble with the backend only with [`Policy::strict`](crate::Policy::strict).
    Cache(Error),
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> LoadError<E> {
        match self {
            LoadError::Source(error) => LoadError::Source(Arc::clone(error)),
            LoadError::Panicked(message) => LoadError::Panicked(message.clone()),
            LoadError::TimedOut(time) => LoadError::TimedOut(*time),
            LoadError::Recursive => LoadError::Recursive,
            LoadError::NotFound => LoadError::NotFound,
            LoadError::Unchanged => LoadError::Unchanged,
            LoadError::Backoff(text) => LoadError::Backoff(text.clone()),
            LoadError::Cache(error) => LoadError::Cache(error.clone()),
        }
    }
}

impl<E: fmt::Display> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Source(error) => write!(f, "loading failed: {error}"),
            LoadError::Panicked(message) => write!(f, "the loader panicked: {message}"),
            LoadError::TimedOut(time) => write!(f, "nothing was loaded within {time:?}"),
            LoadError::Recursive => f.write_str("a loader asked for the key that it is loading"),
            LoadError::NotFound => f.write_str("there is nothing to load"),
            LoadError::Unchanged => f.write_str("the loader said not modified, but was shown no value"),
            LoadError::Backoff(text) => write!(f, "loading failed a moment ago: {text}"),
            LoadError::Cache(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for LoadError<E> {}
