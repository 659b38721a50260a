//! `session ls | show | revoke | doctor`: the sessions of web applications, on any server that holds them.
//!
//! Known are those of express-session with connect-redis (JSON with a member `cookie`, under `sess:`) and those of
//! larder-session (JSON with a member `~`, under `session:`). Which keys are looked at, `--pattern` says.

mod doctor;
mod record;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::interrupt;
use crate::link::Failure;
use crate::modes::peek::lifetime;
use crate::modes::walk::{Walk, each, shown, words};
use crate::oneshot::{Verdict, good};
use crate::output;
use crate::session::Session;
use record::{Record, parse};

/// Keys per page.
const PAGE: u64 = 500;

/// What keys of sessions look like, unless `--pattern` says otherwise.
const PATTERN: &[u8] = b"sess*:*";

/// The beginnings of keys that may be left out where one session is meant.
const PREFIXES: &[&[u8]] = &[b"sess:", b"session:"];

const USAGE: &str = "session ls                     all sessions, one to a line\n\
                     session show ID ...            what is in sessions, and how long they live\n\
                     session revoke ID ...          ends sessions\n\
                     session revoke --user USER     ends all sessions of a user\n\
                     session doctor                 what may be wrong with the sessions\n";

/// A session as the server has it.
struct Found {
    key: Vec<u8>,
    text: Vec<u8>,
    /// Milliseconds; -1 for ever.
    ttl_ms: i64,
    record: Result<Record, String>,
}

/// The words behind `session` on the command line.
pub(crate) fn run(session: &mut Session) -> Verdict {
    interrupt::catch();
    let given = session.options.words[1..].to_vec();
    let given: Vec<&[u8]> = given.iter().map(Vec::as_slice).collect();
    match given.as_slice() {
        [b"ls"] => list(session),
        [b"show", ids @ ..] if !ids.is_empty() => show(session, ids),
        [b"revoke", b"--user", user] => revoke_user(session, &String::from_utf8_lossy(user)),
        [b"revoke", ids @ ..] if !ids.is_empty() => revoke(session, ids),
        [b"doctor"] => doctor::run(session),
        _ => Err(Failure::Local(format!("session: what is to be done?\n{USAGE}").trim_end().to_owned())),
    }
}

/// Calls `visit` for each session, page by page.
fn walk(
    session: &mut Session,
    mut visit: impl FnMut(&mut Session, Vec<Found>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    session.options.keys.pattern.get_or_insert_with(|| PATTERN.to_vec());
    let mut walk = Walk::new(session).paged(PAGE);
    // SCAN may give a key twice; within a page that would be seen at once.
    while let Some(keys) = walk.next(session)? {
        let keys: BTreeSet<Vec<u8>> = keys.into_iter().collect();
        let found = fetch(session, &keys.into_iter().collect::<Vec<_>>())?;
        visit(session, found)?;
    }
    Ok(())
}

/// The sessions among these keys. Others, such as indexes, are no strings.
fn fetch(session: &mut Session, keys: &[Vec<u8>]) -> Result<Vec<Found>, Failure> {
    let texts = each(session, keys, |key| words(&[b"GET", key]))?;
    let times = each(session, keys, |key| words(&[b"PTTL", key]))?;
    let mut all = Vec::new();
    for ((key, text), time) in keys.iter().zip(texts).zip(times) {
        let Some(text) = text.bytes().filter(|_| !text.is_error()) else { continue };
        let ttl_ms = good(time)?.integer().unwrap_or(-1);
        all.push(Found { key: key.clone(), text: text.to_vec(), ttl_ms, record: parse(text) });
    }
    Ok(all)
}

fn list(session: &mut Session) -> Verdict {
    let mut count = 0_u64;
    walk(session, |_, page| {
        let mut out = String::new();
        for found in page {
            let (who, kind) = match &found.record {
                Ok(record) => (record.user.clone().unwrap_or_else(|| "-".to_owned()), record.kind.name()),
                Err(_) => ("-".to_owned(), "unreadable"),
            };
            count += 1;
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "{}  {who}  {kind}  {} bytes  expires {}",
                shown(&found.key),
                found.text.len(),
                lifetime(found.ttl_ms)
            );
        }
        output::write(out.as_bytes())
    })?;
    output::write(format!("{count} sessions\n").as_bytes())?;
    Ok(true)
}

/// The key that an id stands for: itself, or with what keys of sessions begin with.
fn find(session: &mut Session, id: &[u8]) -> Result<Option<Found>, Failure> {
    let mut keys = vec![id.to_vec()];
    keys.extend(PREFIXES.iter().map(|prefix| [prefix, id].concat()));
    Ok(fetch(session, &keys)?.into_iter().next())
}

fn show(session: &mut Session, ids: &[&[u8]]) -> Verdict {
    let mut all_there = true;
    for id in ids {
        let Some(found) = find(session, id)? else {
            all_there = false;
            output::write(format!("{} is no session\n", shown(id)).as_bytes())?;
            continue;
        };
        let mut out = format!("key       {}\nexpires   {}\n", shown(&found.key), lifetime(found.ttl_ms));
        match &found.record {
            Ok(record) => record.describe(&mut out),
            Err(why) => {
                let _ = writeln!(out, "unreadable: {why}");
            }
        }
        output::write(out.as_bytes())?;
    }
    Ok(all_there)
}

fn delete(session: &mut Session, keys: &[Vec<u8>]) -> Result<i64, Failure> {
    let mut deleted = 0;
    for reply in each(session, keys, |key| words(&[b"DEL", key]))? {
        deleted += good(reply)?.integer().unwrap_or(0);
    }
    Ok(deleted)
}

fn revoke(session: &mut Session, ids: &[&[u8]]) -> Verdict {
    let mut all_there = true;
    for id in ids {
        let ended = match find(session, id)? {
            Some(found) => delete(session, &[found.key])? > 0,
            None => false,
        };
        all_there &= ended;
        let outcome = if ended { "ended" } else { "is no session" };
        output::write(format!("{} {outcome}\n", shown(id)).as_bytes())?;
    }
    Ok(all_there)
}

fn revoke_user(session: &mut Session, user: &str) -> Verdict {
    let mut ended = 0;
    walk(session, |session, page| {
        let is_theirs =
            |found: &Found| found.record.as_ref().is_ok_and(|record| record.user.as_deref() == Some(user));
        let keys: Vec<Vec<u8>> = page.into_iter().filter(is_theirs).map(|found| found.key).collect();
        ended += delete(session, &keys)?;
        Ok(())
    })?;
    output::write(format!("{ended} sessions of {} ended\n", shown(user.as_bytes())).as_bytes())?;
    Ok(true)
}
