//! Every error a command can answer with: one row each.
//!
//! Clients depend on the code (the first word) and often on the text, so both are those of a real server. Handlers
//! return a [`Fault`]; nothing else formats an error.

use std::borrow::Cow;
use std::fmt;

/// An error reply: a code and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    code: &'static str,
    text: Cow<'static, str>,
}

/// What a handler returns: it has written its reply, or there is an error to reply with.
pub type Outcome = Result<(), Fault>;

impl Fault {
    /// A row of this vocabulary.
    pub const fn row(code: &'static str, text: &'static str) -> Fault {
        Fault { code, text: Cow::Borrowed(text) }
    }

    /// A plain error (`ERR`) with a text made for the occasion.
    pub fn err(text: impl Into<Cow<'static, str>>) -> Fault {
        Fault { code: "ERR", text: text.into() }
    }

    /// An error with a code of its own and a text made for the occasion.
    pub fn coded(code: &'static str, text: impl Into<Cow<'static, str>>) -> Fault {
        Fault { code, text: text.into() }
    }

    /// The error in an error reply, without its leading minus. A code that is not in this vocabulary becomes part of
    /// the text of a plain error.
    pub(crate) fn from_message(message: &[u8]) -> Fault {
        const CODES: &[&str] = &[
            "ERR",
            "WRONGTYPE",
            "OOM",
            "EXECABORT",
            "NOAUTH",
            "WRONGPASS",
            "NOPROTO",
            "LOADING",
            "BUSYKEY",
            "MISCONF",
        ];
        let message = String::from_utf8_lossy(message);
        let known = message.split_once(' ').and_then(|(code, text)| {
            let code = CODES.iter().copied().find(|known| *known == code)?;
            Some(Fault::coded(code, text.to_owned()))
        });
        known.unwrap_or_else(|| Fault::err(message.into_owned()))
    }

    /// The first word of the reply.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The rest of the reply.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole reply, without the leading minus.
    pub fn message(&self) -> String {
        format!("{} {}", self.code, self.text)
    }

    /// The value is of another type.
    pub const WRONG_TYPE: Fault =
        Fault::row("WRONGTYPE", "Operation against a key holding the wrong kind of value");
    /// The last snapshot could not be written, and `stop-writes-on-bgsave-error` is on.
    pub const CANNOT_PERSIST: Fault = Fault::row(
        "MISCONF",
        "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may \
         modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
         snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the \
         RDB error.",
    );
    /// An argument stands where none is understood.
    pub const SYNTAX: Fault = Fault::row("ERR", "syntax error");
    /// An argument is not a decimal of 64 bits.
    pub const NOT_INTEGER: Fault = Fault::row("ERR", "value is not an integer or out of range");
    /// An argument is not a number.
    pub const NOT_FLOAT: Fault = Fault::row("ERR", "value is not a valid float");
    /// A number must not be negative.
    pub const NEGATIVE: Fault = Fault::row("ERR", "value is out of range, must be positive");
    /// An index or length is beyond what is allowed.
    pub const OUT_OF_RANGE: Fault = Fault::row("ERR", "value is out of range");
    /// A number for which C's `int` has no room.
    pub const OUT_OF_INT: Fault =
        Fault::row("ERR", "value is out of range, value must between -2147483648 and 2147483647");
    /// The key is needed and absent.
    pub const NO_SUCH_KEY: Fault = Fault::row("ERR", "no such key");
    /// A position beyond the ends of a list.
    pub const INDEX_OUT_OF_RANGE: Fault = Fault::row("ERR", "index out of range");
    /// An increment would leave 64 bits.
    pub const INCREMENT_OVERFLOW: Fault = Fault::row("ERR", "increment or decrement would overflow");
    /// A sum of floats is not a number.
    pub const INCREMENT_NAN: Fault = Fault::row("ERR", "increment would produce NaN or Infinity");
    /// A string would be longer than allowed.
    pub const STRING_TOO_LONG: Fault =
        Fault::row("ERR", "string exceeds maximum allowed size (proto-max-bulk-len)");
    /// A command before AUTH on a server with a password.
    pub const NO_AUTH: Fault = Fault::row("NOAUTH", "Authentication required.");
    /// The wrong password.
    pub const WRONG_PASS: Fault =
        Fault::row("WRONGPASS", "invalid username-password pair or user is disabled.");
    /// A transaction that met an error while it was queued.
    pub const EXEC_ABORT: Fault =
        Fault::row("EXECABORT", "Transaction discarded because of previous errors.");
    /// No memory is left under `maxmemory`, and nothing may be evicted.
    pub const OUT_OF_MEMORY: Fault = Fault::row("OOM", "command not allowed when used memory > 'maxmemory'.");
    /// The data set is being loaded.
    pub const LOADING: Fault = Fault::row("LOADING", "Redis is loading the dataset in memory");
    /// A SCAN cursor that is not a number.
    pub const INVALID_CURSOR: Fault = Fault::row("ERR", "invalid cursor");
    /// SELECT of a database that does not exist.
    pub const DB_OUT_OF_RANGE: Fault = Fault::row("ERR", "DB index is out of range");
    /// The protocol version of HELLO is neither 2 nor 3.
    pub const NO_PROTO: Fault = Fault::row("NOPROTO", "unsupported protocol version");
    /// The engine met a panic under a lock; its data can no longer be trusted.
    pub const POISONED: Fault =
        Fault::row("ERR", "internal error: the engine stopped after a panic; see the server's log");

    /// A count that has no counterpart of the other sign.
    pub const COUNT_OUT_OF_RANGE: Fault = Fault::row(
        "ERR",
        "value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    );

    /// The wrong number of arguments for a command or subcommand, named as `get` or `config|get`.
    pub fn arity(full_name: &str) -> Fault {
        Fault::err(format!("wrong number of arguments for '{full_name}' command"))
    }

    /// An expiry that is zero, negative or beyond what can be kept.
    pub fn invalid_expire(command: &str) -> Fault {
        Fault::err(format!("invalid expire time in '{command}' command"))
    }

    /// A number that must lie within bounds stated by the caller.
    pub fn must_be(what: &str, rule: &str) -> Fault {
        Fault::err(format!("{what} {rule}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

impl std::error::Error for Fault {}
