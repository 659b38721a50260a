//! DUMP and RESTORE: a value as bytes.

use super::event;
use super::place::size;
use crate::args::Args;
use crate::command::{Access, Command, Computed, Cost, Keys, Memory, Run, Store};
use crate::effects::Event;
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Expiry, ReadCtx, View, WriteCtx};
use crate::persist::convert::{self, Stored};
use crate::persist::snapshot::{self, LoadErrorKind};
use crate::types::Body;
use crate::types::string::Digits;
use larder_resp::ReplyWriter;
use larder_structures::decimal;
use std::sync::atomic::Ordering;

pub(super) const DUMP: Command = Command {
    name: "DUMP",
    usage: "key",
    summary: "Get a value as bytes that RESTORE understands, on this server or another.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow("O(N) where N is the number of elements"),
    since: "2.6.0",
    example: "DUMP nothing -> (nil)",
    tips: &["nondeterministic_output"],
    run: Run::Read(dump),
    work: Some(|ctx, mut args| args.key().ok().and_then(|key| ctx.peek(key)).map_or(0, |found| size(&found))),
    ..Command::KEYS
};
use std::sync::Arc;

fn dump(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let Some(found) = ctx.find(args.key()?) else {
        reply.null();
        return Ok(());
    };
    let compresses = ctx.config().rdb_compression.load(Ordering::Relaxed);
    let payload = snapshot::dump(compresses, |writer| match found.view {
        View::String(string) => writer.string(string.bytes(&mut Digits::new())),
        View::Body(body) => convert::write_body(body, writer),
    });
    reply.bulk(&payload.map_err(|error| Fault::err(error.to_string()))?);
    Ok(())
}

/// RESTORE of a key that exists, without REPLACE.
const BUSY_KEY: Fault = Fault::row("BUSYKEY", "Target key name already exists.");
/// A payload that was cut or altered, or comes from a newer server.
const WRONG_CHECKSUM: Fault = Fault::row("ERR", "DUMP payload version or checksum are wrong");
/// A payload whose value makes no sense.
const BAD_DATA: Fault = Fault::row("ERR", "Bad data format");

pub(super) const RESTORE: Command = Command {
    name: "RESTORE",
    usage: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
    summary: "Make a key of what DUMP returned.",
    keys: &[Keys::at(1).does(Access::Overwrite, &["UPDATE"])],
    cost: Cost::Slow("O(N) where N is the number of elements; O(N*log(N)) for sorted sets"),
    memory: Memory::Grows,
    since: "2.6.0",
    categories: &["@keyspace", "@dangerous"],
    run: Run::Store(Store { compute: read_payload, install: restore }),
    work: Some(|_, args| args.peek_at(2).map_or(0, |payload| (payload.len() / BYTES_PER_ELEMENT) as u64)),
    ..Command::KEYS
};

/// Bytes of a payload that take as long to read as touching an element elsewhere.
const BYTES_PER_ELEMENT: usize = 32;

struct RestoreArgs<'a> {
    key: &'a [u8],
    ttl: &'a [u8],
    payload: &'a [u8],
    replaces: bool,
    is_moment: bool,
    idle_s: Option<i64>,
    frequency: Option<i64>,
}

impl<'a> RestoreArgs<'a> {
    fn parse(mut args: Args<'a>) -> Result<RestoreArgs<'a>, Fault> {
        let (key, ttl, payload) = (args.key()?, args.bytes()?, args.bytes()?);
        let mut parsed = RestoreArgs {
            key,
            ttl,
            payload,
            replaces: false,
            is_moment: false,
            idle_s: None,
            frequency: None,
        };
        while !args.is_empty() {
            if args.flag("REPLACE") {
                parsed.replaces = true;
            } else if args.flag("ABSTTL") {
                parsed.is_moment = true;
            } else if args.len() > 1 && parsed.frequency.is_none() && args.flag("IDLETIME") {
                let idle_s = Some(args.int()?).filter(|seconds| *seconds >= 0);
                parsed.idle_s =
                    Some(idle_s.ok_or(Fault::row("ERR", "Invalid IDLETIME value, must be >= 0"))?);
            } else if args.len() > 1 && parsed.idle_s.is_none() && args.flag("FREQ") {
                let frequency = Some(args.int()?).filter(|frequency| (0..=255).contains(frequency));
                parsed.frequency =
                    Some(frequency.ok_or(Fault::row("ERR", "Invalid FREQ value, must be >= 0 and <= 255"))?);
            } else {
                return Err(Fault::SYNTAX);
            }
        }
        Ok(parsed)
    }

    /// When the key is to expire, in Unix milliseconds; 0 never. A time from now that leaves 63 bits is long past, as
    /// with Redis.
    fn expires_at_ms(&self, now_ms: u64) -> Result<i64, Fault> {
        match decimal::parse_canonical_i64(self.ttl).ok_or(Fault::NOT_INTEGER)? {
            0 => Ok(0),
            ..0 => Err(Fault::row("ERR", "Invalid TTL value, must be >= 0")),
            moment if self.is_moment => Ok(moment),
            time => Ok(time.wrapping_add(now_ms as i64)),
        }
    }
}

fn read_payload(ctx: &ReadCtx<'_>, args: Args<'_>) -> Result<Computed, Fault> {
    let args = RestoreArgs::parse(args)?;
    if !args.replaces && ctx.peek(args.key).is_some() {
        return Err(BUSY_KEY);
    }
    args.expires_at_ms(ctx.now_ms)?;
    let value = snapshot::restore(args.payload).map_err(|error| match error.kind {
        LoadErrorKind::UnsupportedVersion { .. } | LoadErrorKind::ChecksumMismatch { .. } => WRONG_CHECKSUM,
        _ if args.payload.len() < TRAILER => WRONG_CHECKSUM,
        _ => BAD_DATA,
    })?;
    match convert::read(value, ctx.config()) {
        Ok(Some(Stored::String(bytes))) => Ok(Some(Body::Bytes(Arc::new(bytes)))),
        Ok(Some(Stored::Body(body))) => Ok(Some(body)),
        Ok(None) | Err(_) => Err(BAD_DATA),
    }
}

/// Bytes of version and checksum at the end of a payload.
const TRAILER: usize = 10;

fn restore(
    ctx: &mut WriteCtx<'_, '_>,
    args: Args<'_>,
    value: Computed,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    let request = args.request();
    let args = RestoreArgs::parse(args)?;
    let at_ms = args.expires_at_ms(ctx.now_ms)?;
    reply.ok();
    let expiry = match u64::try_from(at_ms) {
        Ok(0) => Expiry::Never,
        Ok(at_ms) if at_ms > ctx.now_ms => Expiry::AtMs(at_ms),
        _ => {
            if ctx.delete(args.key, Event::DEL) {
                ctx.log_instead(&[b"DEL", args.key]);
            }
            return Ok(());
        }
    };
    match value {
        Some(Body::Bytes(bytes)) => ctx.set_string(args.key, &bytes, expiry, event("restore")),
        Some(body) => ctx.set_body(args.key, body, expiry, event("restore")),
        None => return Err(BAD_DATA),
    }
    ctx.set_use(
        args.key,
        args.idle_s.map(i64::unsigned_abs),
        args.frequency.map(|frequency| frequency as u32),
    );
    if at_ms > 0 && !args.is_moment {
        let at_ms = Digits::new().format(at_ms).to_owned();
        let mut words: Vec<&[u8]> = request.iter().collect();
        words[2] = at_ms.as_bytes();
        words.push(b"ABSTTL");
        ctx.log_instead(&words);
    }
    Ok(())
}
