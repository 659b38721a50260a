//! A walk through the keys of a database, page by page, with SCAN.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::link::Failure;
use crate::oneshot::{good, pause};
use crate::reply::Reply;
use crate::session::Session;

/// How many pages come between two pauses of the modes that sample.
const PAGES_PER_PAUSE: u64 = 100;

/// Where a walk is.
pub(super) struct Walk {
    /// As the server writes it; `None` when all has been seen.
    cursor: Option<Vec<u8>>,
    pattern: Option<Vec<u8>>,
    count: Option<u64>,
    /// Between pages, and after how many of them.
    interval: Option<Duration>,
    pages_per_pause: u64,
    pages: u64,
}

impl Walk {
    /// From the options, with a pause after every hundred pages.
    pub(super) fn new(session: &Session) -> Self {
        let keys = &session.options.keys;
        Self {
            cursor: Some(keys.cursor.to_string().into_bytes()),
            pattern: keys.pattern.clone(),
            count: keys.count,
            interval: session.options.interval,
            pages_per_pause: PAGES_PER_PAUSE,
            pages: 0,
        }
    }

    /// A pause after each page.
    pub(super) fn pausing_always(self) -> Self {
        Self { pages_per_pause: 1, ..self }
    }

    /// So many keys per page, unless the user says otherwise.
    pub(super) fn paged(self, count: u64) -> Self {
        Self { count: self.count.or(Some(count)), ..self }
    }

    /// Where the walk would go on.
    pub(super) fn cursor(&self) -> String {
        String::from_utf8_lossy(self.cursor.as_deref().unwrap_or(b"0")).into_owned()
    }

    /// The next page, which may be empty; `None` behind the last.
    pub(super) fn next(&mut self, session: &mut Session) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        if self.pages > 0 && self.pages.is_multiple_of(self.pages_per_pause) {
            pause(self.interval)?;
        }
        self.pages += 1;
        let mut args = vec![b"SCAN".to_vec(), cursor.clone()];
        if let Some(pattern) = &self.pattern {
            args.extend([b"MATCH".to_vec(), pattern.clone()]);
        }
        if let Some(count) = self.count {
            args.extend([b"COUNT".to_vec(), count.to_string().into_bytes()]);
        }
        let reply = good(session.ask(&args)?)?;
        let [next, keys] = reply.elements().unwrap_or_default() else { return Err(unexpected("SCAN")) };
        let (Some(next), Some(keys)) = (next.bytes(), keys.elements()) else {
            return Err(unexpected("SCAN"));
        };
        self.cursor = if next == b"0" { None } else { Some(next.to_vec()) };
        let keys: Option<Vec<Vec<u8>>> = keys.iter().map(|key| key.bytes().map(<[u8]>::to_vec)).collect();
        keys.map(Some).ok_or_else(|| unexpected("SCAN"))
    }
}

/// A reply of a shape that the command never has.
pub(super) fn unexpected(command: &str) -> Failure {
    Failure::Local(format!("{command}: the server sent a reply of an unexpected type"))
}

/// Sends one command per key and gives the replies.
pub(super) fn each(
    session: &mut Session,
    keys: &[Vec<u8>],
    command: impl Fn(&[u8]) -> Vec<Vec<u8>>,
) -> Result<Vec<Reply>, Failure> {
    let commands: Vec<Vec<Vec<u8>>> = keys.iter().map(|key| command(key)).collect();
    let limit = session.limit(&[]);
    session.link()?.pipeline(&commands, limit)
}

/// The words of a command, one of them the key.
pub(super) fn words(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.to_vec()).collect()
}

/// The types of the keys; `none` for one that is gone.
pub(super) fn types(session: &mut Session, keys: &[Vec<u8>]) -> Result<Vec<String>, Failure> {
    let replies = each(session, keys, |key| words(&[b"TYPE", key]))?;
    replies.into_iter().map(|reply| good(reply).map(|reply| reply.text())).collect()
}

/// How large a key is in its type's own measure.
pub(super) struct Measure {
    /// The type, as TYPE names it.
    pub(super) name: &'static str,
    pub(super) command: &'static [u8],
    /// What is counted.
    pub(super) unit: &'static str,
}

/// The types of Redis, in the order of redis-cli's reports.
pub(super) const MEASURES: &[Measure] = &[
    Measure { name: "list", command: b"LLEN", unit: "items" },
    Measure { name: "hash", command: b"HLEN", unit: "fields" },
    Measure { name: "string", command: b"STRLEN", unit: "bytes" },
    Measure { name: "stream", command: b"XLEN", unit: "entries" },
    Measure { name: "set", command: b"SCARD", unit: "members" },
    Measure { name: "zset", command: b"ZCARD", unit: "members" },
];

/// The measure of a type; `None` for types of modules.
pub(super) fn measure(name: &str) -> Option<&'static Measure> {
    MEASURES.iter().find(|measure| measure.name == name)
}

/// The lengths of keys, 0 where a key has none or has just changed its type.
pub(super) fn lengths(
    session: &mut Session,
    keys: &[Vec<u8>],
    types: &[String],
) -> Result<Vec<u64>, Failure> {
    let known: BTreeMap<&[u8], &Measure> = keys
        .iter()
        .zip(types)
        .filter_map(|(key, kind)| measure(kind).map(|measure| (key.as_slice(), measure)))
        .collect();
    let replies = each(session, keys, |key| match known.get(key) {
        Some(measure) => words(&[measure.command, key]),
        None => words(&[b"EXISTS", key]),
    })?;
    let sized = replies.iter().zip(keys);
    Ok(sized.map(|(reply, key)| if known.contains_key(key.as_slice()) { size(reply) } else { 0 }).collect())
}

/// The memory of keys in bytes, 0 for one that is gone.
///
/// # Errors
/// The server does not know MEMORY USAGE.
pub(super) fn memory(
    session: &mut Session,
    keys: &[Vec<u8>],
    samples: Option<u64>,
) -> Result<Vec<u64>, Failure> {
    let samples = samples.map(|count| count.to_string());
    let replies = each(session, keys, |key| match &samples {
        Some(count) => words(&[b"MEMORY", b"USAGE", key, b"SAMPLES", count.as_bytes()]),
        None => words(&[b"MEMORY", b"USAGE", key]),
    })?;
    replies.into_iter().map(|reply| good(reply).map(|reply| size(&reply))).collect()
}

fn size(reply: &Reply) -> u64 {
    reply.integer().and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}

/// A count from a command without a key.
pub(super) fn count(session: &mut Session, command: &str) -> Result<u64, Failure> {
    let reply = good(session.ask(&[command.as_bytes().to_vec()])?)?;
    reply.integer().and_then(|value| u64::try_from(value).ok()).ok_or_else(|| unexpected(command))
}

/// A part of a whole in percent; of nothing it is nothing.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// The average of a sum over a count.
pub(super) fn average(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

/// A key as reports show it.
pub(super) fn shown(key: &[u8]) -> String {
    let mut out = Vec::new();
    crate::quote::quoted(&mut out, key);
    String::from_utf8_lossy(&out).into_owned()
}
