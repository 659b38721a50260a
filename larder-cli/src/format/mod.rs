//! Replies as text, in the formats of redis-cli.
//!
//! A terminal gets types and quotes, a pipe gets the bytes alone. CSV and JSON are redis-cli's own dialects of them,
//! kept because scripts read them: an error inside JSON is `error:"..."`.

mod csv;
mod json;
mod raw;
mod tty;

use crate::reply::Reply;

/// How replies are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// With types, quotes and numbers; `utf8` leaves text in other scripts readable.
    Tty { utf8: bool },
    /// Bytes alone.
    Raw,
    /// One line, separated by commas.
    Csv,
    /// JSON as UTF-8.
    Json,
    /// JSON as ASCII.
    QuotedJson,
}

/// What separates the parts of raw output.
#[derive(Clone, Debug)]
pub(crate) struct Delimiters {
    /// Between the elements of a reply.
    pub(crate) element: Vec<u8>,
    /// Behind a reply.
    pub(crate) reply: Vec<u8>,
}

impl Default for Delimiters {
    fn default() -> Self {
        Self { element: b"\n".to_vec(), reply: b"\n".to_vec() }
    }
}

/// A reply with what stands behind it. `plain`: the command's reply is text for people, such as INFO's, which is never
/// quoted and brings its own line ends.
pub(crate) fn render(reply: &Reply, format: Format, plain: bool, delimiters: &Delimiters) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        _ if plain => raw::render(&mut out, reply, &delimiters.element),
        Format::Raw => {
            raw::render(&mut out, reply, &delimiters.element);
            out.extend(&delimiters.reply);
        }
        Format::Tty { utf8 } => tty::render(&mut out, reply, utf8),
        Format::Csv => {
            csv::render(&mut out, reply);
            out.push(b'\n');
        }
        Format::Json | Format::QuotedJson => {
            json::render(&mut out, reply, format == Format::QuotedJson);
            out.push(b'\n');
        }
    }
    out
}

/// Whether a command answers with text for people.
pub(crate) fn answers_plainly<A: AsRef<[u8]>>(args: &[A]) -> bool {
    let is = |at: usize, word: &str| {
        args.get(at).is_some_and(|arg| arg.as_ref().eq_ignore_ascii_case(word.as_bytes()))
    };
    let second = |words: &[&str]| words.iter().any(|word| is(1, word));
    let pair = args.len() == 2;
    match args.first() {
        None => false,
        _ if is(0, "info") || is(0, "lolwut") => true,
        _ if is(0, "debug") => args.len() >= 2 && second(&["htstats", "htstats-key", "client-eviction"]),
        _ if is(0, "memory") => args.len() >= 2 && second(&["malloc-stats", "doctor"]),
        _ if is(0, "cluster") => pair && second(&["nodes", "info"]),
        _ if is(0, "client") => args.len() >= 2 && second(&["list", "info"]),
        _ if is(0, "latency") => (args.len() == 3 && is(1, "graph")) || (pair && is(1, "doctor")),
        _ if is(0, "proxy") => args.len() >= 2 && is(1, "info"),
        _ => false,
    }
}
