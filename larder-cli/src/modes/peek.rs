//! `peek KEY`: what a key is, how long it stays, how large it is, and the beginning of it.

use std::fmt::Write as _;

use crate::link::Failure;
use crate::modes::stat::memory;
use crate::modes::walk::{measure, shown, words};
use crate::oneshot::{Verdict, good};
use crate::output;
use crate::reply::Reply;
use crate::session::Session;

/// Elements and bytes that are shown.
const ELEMENTS: &str = "10";
const BYTES: usize = 300;

/// The keys behind the word `peek` of the command line.
pub(crate) fn run(session: &mut Session) -> Verdict {
    let keys = session.options.words[1..].to_vec();
    if keys.is_empty() {
        return Err(Failure::Local("peek: which key?".to_owned()));
    }
    let mut good = true;
    for key in keys {
        let text = look(session, &key)?;
        good &= text.is_some();
        output::write(text.unwrap_or_else(|| format!("{} does not exist\n", shown(&key))).as_bytes())?;
    }
    Ok(good)
}

/// A page about one key; `None` when there is none.
pub(crate) fn look(session: &mut Session, key: &[u8]) -> Result<Option<String>, Failure> {
    let ask = |session: &mut Session, parts: &[&[u8]]| session.ask(&words(parts));
    let kind = good(ask(session, &[b"TYPE", key])?)?.text();
    if kind == "none" {
        return Ok(None);
    }
    let ttl = good(ask(session, &[b"PTTL", key])?)?.integer().unwrap_or(-1);
    // Not every server knows these, and one that does not is no reason to show nothing.
    let encoding = ask(session, &[b"OBJECT", b"ENCODING", key])?;
    let bytes = ask(session, &[b"MEMORY", b"USAGE", key])?;
    let measure = measure(&kind);
    let length = match measure {
        Some(measure) => good(ask(session, &[measure.command, key])?)?.integer(),
        None => None,
    };
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "key       {}", shown(key));
    match encoding {
        Reply::Error(_) | Reply::Nil => drop(writeln!(out, "type      {kind}")),
        other => drop(writeln!(out, "type      {kind} ({})", other.text())),
    }
    let _ = writeln!(out, "expires   {}", lifetime(ttl));
    if let (Some(measure), Some(length)) = (measure, length) {
        let _ = writeln!(out, "length    {length} {}", measure.unit);
    }
    if let Some(bytes) = bytes.integer() {
        let _ = writeln!(out, "memory    {}", memory(bytes));
    }
    let sample = sample(session, &kind, key)?;
    let shown = sample.lines().count();
    out.push_str(&sample);
    if length.is_some_and(|length| length > shown as i64) && kind != "string" {
        let _ = writeln!(out, "          ...");
    }
    Ok(Some(out))
}

/// How long a key stays, from PTTL's milliseconds.
pub(super) fn lifetime(ttl: i64) -> String {
    if ttl < 0 {
        return "never".to_owned();
    }
    let seconds = ttl / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("in {:.1} s", ttl as f64 / 1000.0),
        (0, 0, _) => format!("in {minutes} min {} s", seconds % 60),
        (0, ..) => format!("in {hours} h {minutes} min"),
        _ => format!("in {days} d {hours} h"),
    }
}

/// The first elements, one to a line; each command is bounded, however large the key is.
fn sample(session: &mut Session, kind: &str, key: &[u8]) -> Result<String, Failure> {
    let last = (BYTES - 1).to_string();
    let command: &[&[u8]] = match kind {
        "string" => &[b"GETRANGE", key, b"0", last.as_bytes()],
        "list" => &[b"LRANGE", key, b"0", b"9"],
        "set" => &[b"SSCAN", key, b"0", b"COUNT", ELEMENTS.as_bytes()],
        "hash" => &[b"HSCAN", key, b"0", b"COUNT", ELEMENTS.as_bytes()],
        "zset" => &[b"ZRANGE", key, b"0", b"9", b"WITHSCORES"],
        "stream" => &[b"XRANGE", key, b"-", b"+", b"COUNT", ELEMENTS.as_bytes()],
        _ => return Ok(String::new()),
    };
    let reply = good(session.ask(&words(command))?)?;
    let scanned = matches!(kind, "set" | "hash");
    let elements = match (scanned, &reply) {
        (true, reply) => reply.elements().and_then(|parts| parts.get(1)?.elements()).unwrap_or_default(),
        (false, Reply::Bulk(_)) => std::slice::from_ref(&reply),
        (false, reply) => reply.elements().unwrap_or_default(),
    };
    let pairs =
        kind == "hash" || (kind == "zset" && elements.iter().all(|element| element.elements().is_none()));
    let lines: Vec<String> = if pairs {
        elements.chunks_exact(2).map(|pair| format!("{}  {}", one(&pair[0]), one(&pair[1]))).collect()
    } else {
        elements.iter().map(one).collect()
    };
    let taken = lines.into_iter().take(10);
    let label = |at| if at == 0 { "value     " } else { "          " };
    Ok(taken.enumerate().map(|(at, line)| format!("{}{line}\n", label(at))).collect())
}

/// A value on one line, cut when it is long.
fn one(reply: &Reply) -> String {
    if let Some(parts) = reply.elements() {
        return parts.iter().map(one).collect::<Vec<_>>().join("  ");
    }
    let Some(bytes) = reply.bytes() else { return reply.text() };
    let mut out = Vec::new();
    crate::quote::quoted_utf8(&mut out, &bytes[..bytes.len().min(BYTES)]);
    let text = String::from_utf8_lossy(&out).into_owned();
    if bytes.len() >= BYTES { format!("{text}...") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_told_in_two_units() {
        assert_eq!(lifetime(-1), "never");
        assert_eq!(lifetime(1_500), "in 1.5 s");
        assert_eq!(lifetime(61_000), "in 1 min 1 s");
        assert_eq!(lifetime(3_600_000), "in 1 h 0 min");
        assert_eq!(lifetime(90_000_000), "in 1 d 1 h");
    }
}
