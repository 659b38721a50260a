//! Moving and copying values from key to key.

use super::event;
use crate::args::Args;
use crate::command::{Access, Command, Computed, Cost, Keys, Memory, Run, Store};
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Expiry, Found, ReadCtx, View, WriteCtx};
use crate::types::Body;
use crate::types::string::StringRef;
use larder_resp::ReplyWriter;

/// Source and destination are one and the same key.
const SAME_KEY: Fault = Fault::row("ERR", "source and destination objects are the same");

pub(super) const RENAME: Command = Command {
    name: "RENAME",
    usage: "key newkey",
    summary: "Move a value to another key, replacing what that holds; its expiry goes with it.",
    keys: &[
        Keys::at(1).does(Access::ReadWrite, &["ACCESS", "DELETE"]),
        Keys::at(2).does(Access::Overwrite, &["UPDATE"]),
    ],
    example: "SET old value -> OK\nRENAME old new -> OK\nGET new -> \"value\"",
    run: Run::Write(rename),
    ..Command::KEYS
};

fn rename(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, newkey) = (args.key()?, args.key()?);
    if !ctx.exists(key) {
        return Err(Fault::NO_SUCH_KEY);
    }
    move_value(ctx, key, newkey);
    reply.ok();
    Ok(())
}

fn move_value(ctx: &mut WriteCtx<'_, '_>, key: &[u8], newkey: &[u8]) {
    if key == newkey {
        return;
    }
    if let Some(taken) = ctx.take(key, event("rename_from")) {
        ctx.put(newkey, taken, event("rename_to"));
    }
}

pub(super) const RENAMENX: Command = Command {
    name: "RENAMENX",
    usage: "key newkey",
    summary: "Move a value to another key unless that one exists.",
    keys: &[
        Keys::at(1).does(Access::ReadWrite, &["ACCESS", "DELETE"]),
        Keys::at(2).does(Access::Overwrite, &["INSERT"]),
    ],
    cost: Cost::Fast("O(1)"),
    example: "MSET a 1 b 2 -> OK\nRENAMENX a b -> (integer) 0\nRENAMENX a c -> (integer) 1",
    run: Run::Write(renamenx),
    ..Command::KEYS
};
use std::sync::Arc;

fn renamenx(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, newkey) = (args.key()?, args.key()?);
    if !ctx.exists(key) {
        return Err(Fault::NO_SUCH_KEY);
    }
    let is_free = !ctx.exists(newkey);
    if is_free {
        move_value(ctx, key, newkey);
    }
    reply.integer(i64::from(is_free));
    Ok(())
}

pub(super) const MOVE: Command = Command {
    name: "MOVE",
    usage: "key db",
    summary: "Move a key to another database unless it exists there.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["ACCESS", "UPDATE"])],
    cost: Cost::Fast("O(1)"),
    example: "SET a 1 -> OK\nMOVE a 1 -> (integer) 1\nEXISTS a -> (integer) 0",
    run: Run::Write(move_),
    ..Command::KEYS
};

fn move_(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let db = database(&mut args, ctx.config().databases)?;
    if db == ctx.db {
        return Err(SAME_KEY);
    }
    let moves = ctx.exists(key) && !ctx.in_db(db, |other| other.exists(key));
    if moves && let Some(taken) = ctx.take(key, event("move_from")) {
        ctx.in_db(db, |other| other.put(key, taken, event("move_to")));
    }
    reply.integer(i64::from(moves));
    Ok(())
}

/// Takes the number of one of `databases` databases.
fn database(args: &mut Args<'_>, databases: usize) -> Result<usize, Fault> {
    let number = i32::try_from(args.int()?).map_err(|_| Fault::OUT_OF_INT)?;
    usize::try_from(number).ok().filter(|db| *db < databases).ok_or(Fault::DB_OUT_OF_RANGE)
}

pub(super) const COPY: Command = Command {
    name: "COPY",
    usage: "source destination [DB destination-db] [REPLACE]",
    summary: "Copy a value, with its expiry, to another key.",
    keys: &[Keys::at(1), Keys::at(2).does(Access::Overwrite, &["UPDATE"])],
    cost: Cost::Slow("O(N) where N is the number of elements"),
    memory: Memory::Grows,
    since: "6.2.0",
    example: "SET a 1 -> OK\nCOPY a b -> (integer) 1\nCOPY a b -> (integer) 0\nCOPY a b REPLACE -> (integer) 1",
    run: Run::Store(Store { compute: copy_value, install: install_copy }),
    work: Some(|ctx, mut args| args.key().ok().and_then(|key| ctx.peek(key)).map_or(0, |found| size(&found))),
    ..Command::KEYS
};

/// Bytes of a string that take as long to copy as an element of a collection.
const BYTES_PER_ELEMENT: usize = 256;

/// How many elements it takes to copy a value, or what is as long as that.
pub(super) fn size(found: &Found<'_>) -> u64 {
    match found.view {
        View::String(string) => (string.len() / BYTES_PER_ELEMENT) as u64,
        View::Body(body) => body.elements() as u64,
    }
}

struct CopyArgs<'a> {
    source: &'a [u8],
    destination: &'a [u8],
    db: usize,
    replaces: bool,
}

impl<'a> CopyArgs<'a> {
    fn parse(mut args: Args<'a>, db: usize, databases: usize) -> Result<CopyArgs<'a>, Fault> {
        let (source, destination) = (args.key()?, args.key()?);
        let mut parsed = CopyArgs { source, destination, db, replaces: false };
        while !args.is_empty() {
            if args.flag("REPLACE") {
                parsed.replaces = true;
            } else if args.len() > 1 && args.flag("DB") {
                parsed.db = database(&mut args, databases)?;
            } else {
                return Err(Fault::SYNTAX);
            }
        }
        if parsed.db == db && source == destination { Err(SAME_KEY) } else { Ok(parsed) }
    }
}

/// Copies what is worth copying without locks: collections and long strings.
fn copy_value(ctx: &ReadCtx<'_>, args: Args<'_>) -> Result<Computed, Fault> {
    let args = CopyArgs::parse(args, ctx.db, ctx.config().databases)?;
    let is_in_the_way = || args.db == ctx.db && !args.replaces && ctx.peek(args.destination).is_some();
    Ok(match ctx.find(args.source).map(|found| found.view) {
        None => None,
        Some(_) if is_in_the_way() => None,
        Some(View::Body(body)) => Some(body.to_body()),
        Some(View::String(StringRef::Bytes(bytes))) if bytes.len() > crate::types::LARGE_BYTES => {
            Some(Body::Bytes(Arc::new(bytes.to_vec())))
        }
        Some(View::String(_)) => None,
    })
}

fn install_copy(
    ctx: &mut WriteCtx<'_, '_>,
    args: Args<'_>,
    copy: Computed,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    let args = CopyArgs::parse(args, ctx.db, ctx.config().databases)?;
    let done = copy_to(ctx, &args, copy)?;
    reply.integer(i64::from(done));
    Ok(())
}

fn copy_to(ctx: &mut WriteCtx<'_, '_>, args: &CopyArgs<'_>, copy: Computed) -> Result<bool, Fault> {
    let Some(found) = ctx.find(args.source) else { return Ok(false) };
    let (is_raw, expires_at_ms) = (found.is_raw, found.expires_at_ms);
    // A short string, if that is what is to be copied: as it is kept, so that its encoding stays.
    let short = match (&copy, found.view) {
        (None, View::String(StringRef::Bytes(bytes))) => Some(Ok(bytes.to_vec())),
        (None, View::String(StringRef::Integer(number))) => Some(Err(number)),
        _ => None,
    };
    ctx.in_db(args.db, |ctx| {
        if ctx.exists(args.destination) && !args.replaces {
            return Ok(false);
        }
        let (key, event) = (args.destination, event("copy_to"));
        let expiry = expires_at_ms.map_or(Expiry::Never, Expiry::AtMs);
        match (copy, short) {
            (Some(body), _) => ctx.set_body(key, body, expiry, event),
            (None, Some(Ok(bytes))) => ctx.set_text(key, &bytes, expiry, event),
            (None, Some(Err(number))) => ctx.set_integer(key, number, expiry, event),
            (None, None) => return Ok(false),
        }
        if is_raw {
            ctx.mark_raw(key);
        }
        Ok(true)
    })
}
