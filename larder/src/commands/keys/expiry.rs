//! When keys expire.

use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Run};
use crate::effects::Event;
use crate::fault::{Fault, Outcome};
use crate::keyspace::{ReadCtx, WriteCtx};
use crate::types::string::Digits;
use larder_resp::ReplyWriter;

const CHANGES: Command = Command {
    keys: &[Keys::at(1).does(Access::ReadWrite, &["UPDATE"])],
    cost: Cost::Fast("O(1)"),
    ..Command::KEYS
};

pub(super) const EXPIRE: Command = Command {
    name: "EXPIRE",
    usage: "key seconds [NX|XX|GT|LT]",
    summary: "Let a key expire after so many seconds.",
    example: "SET a 1 -> OK\nEXPIRE a 60 -> (integer) 1\nEXPIRE a 30 GT -> (integer) 0\nTTL a -> (integer) 60",
    run: Run::Write(|ctx, args, reply| expire(ctx, args, reply, SECONDS, ctx.now_ms, "expire")),
    ..CHANGES
};

pub(super) const PEXPIRE: Command = Command {
    name: "PEXPIRE",
    usage: "key milliseconds [NX|XX|GT|LT]",
    summary: "Let a key expire after so many milliseconds.",
    since: "2.6.0",
    example: "SET a 1 -> OK\nPEXPIRE a 60000 -> (integer) 1\nTTL a -> (integer) 60",
    run: Run::Write(|ctx, args, reply| expire(ctx, args, reply, MILLIS, ctx.now_ms, "pexpire")),
    ..CHANGES
};

pub(super) const EXPIREAT: Command = Command {
    name: "EXPIREAT",
    usage: "key unix-time-seconds [NX|XX|GT|LT]",
    summary: "Let a key expire at a Unix time in seconds.",
    since: "1.2.0",
    example: "SET a 1 -> OK\nEXPIREAT a 33177117420 -> (integer) 1\nEXPIRETIME a -> (integer) 33177117420",
    run: Run::Write(|ctx, args, reply| expire(ctx, args, reply, SECONDS, 0, "expireat")),
    ..CHANGES
};

pub(super) const PEXPIREAT: Command = Command {
    name: "PEXPIREAT",
    usage: "key unix-time-milliseconds [NX|XX|GT|LT]",
    summary: "Let a key expire at a Unix time in milliseconds.",
    since: "2.6.0",
    example: "SET a 1 -> OK\nPEXPIREAT a 33177117420000 -> (integer) 1\nEXPIRETIME a -> (integer) 33177117420",
    run: Run::Write(|ctx, args, reply| expire(ctx, args, reply, MILLIS, 0, "pexpireat")),
    ..CHANGES
};

/// Milliseconds in a second.
const SECONDS: i64 = 1000;
/// Milliseconds in a millisecond.
const MILLIS: i64 = 1;

/// Under which conditions a new expiry is taken.
#[derive(Debug, Clone, Copy, Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Conditions, Fault> {
        let mut parsed = Conditions::default();
        for word in args.rest() {
            match &word.to_ascii_uppercase()[..] {
                b"NX" => parsed.nx = true,
                b"XX" => parsed.xx = true,
                b"GT" => parsed.gt = true,
                b"LT" => parsed.lt = true,
                _ => return Err(unsupported(word)),
            }
        }
        if parsed.nx && (parsed.xx || parsed.gt || parsed.lt) {
            return Err(Fault::row("ERR", "NX and XX, GT or LT options at the same time are not compatible"));
        }
        if parsed.gt && parsed.lt {
            return Err(Fault::row("ERR", "GT and LT options at the same time are not compatible"));
        }
        Ok(parsed)
    }

    /// Whether `at_ms` may take the place of `now`; no expiry is later than any.
    fn allow(self, at_ms: i64, now: Option<i64>) -> bool {
        let refused = self.nx && now.is_some()
            || self.xx && now.is_none()
            || self.gt && now.is_none_or(|now| at_ms <= now)
            || self.lt && now.is_some_and(|now| at_ms >= now);
        !refused
    }
}

/// The error about a word that is no condition, which is shown up to its first zero byte.
fn unsupported(word: &[u8]) -> Fault {
    let shown = word.split(|byte| *byte == 0).next().unwrap_or_default();
    Fault::err(format!("Unsupported option {}", String::from_utf8_lossy(shown)))
}

fn expire(
    ctx: &mut WriteCtx<'_, '_>,
    mut args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    unit: i64,
    base_ms: u64,
    name: &str,
) -> Outcome {
    let key = args.key()?;
    let mut after_time = args;
    after_time.skip();
    let conditions = Conditions::parse(after_time)?;
    let at_ms = args
        .int()?
        .checked_mul(unit)
        .and_then(|ms| ms.checked_add(base_ms as i64))
        .ok_or_else(|| Fault::invalid_expire(name))?;
    let is_set = match ctx.find(key).map(|found| found.expires_at_ms) {
        Some(before) if conditions.allow(at_ms, before.map(|ms| ms as i64)) => {
            set_expiry(ctx, key, at_ms);
            true
        }
        _ => false,
    };
    reply.integer(i64::from(is_set));
    Ok(())
}

/// Sets the expiry of a key that is there; one that is past deletes it.
fn set_expiry(ctx: &mut WriteCtx<'_, '_>, key: &[u8], at_ms: i64) {
    match u64::try_from(at_ms) {
        Ok(at_ms) if at_ms > ctx.now_ms => {
            ctx.set_expiry(key, Some(at_ms), Event::EXPIRE);
            ctx.log_instead(&[b"PEXPIREAT", key, Digits::new().format(at_ms).as_bytes()]);
        }
        _ => {
            ctx.delete(key, Event::DEL);
            ctx.log_instead(&[b"DEL", key]);
        }
    }
}

const ASKS: Command = Command { keys: &[Keys::at(1)], cost: Cost::Fast("O(1)"), ..Command::KEYS };

pub(super) const TTL: Command = Command {
    name: "TTL",
    usage: "key",
    summary: "Get the seconds until a key expires: -1 if it does not, -2 if it is not there.",
    example: "SET a 1 EX 60 -> OK\nTTL a -> (integer) 60\nTTL b -> (integer) -2",
    tips: &["nondeterministic_output"],
    run: Run::Read(|ctx, args, reply| tell(ctx, args, reply, |at_ms| seconds(at_ms - ctx.now_ms))),
    ..ASKS
};

pub(super) const PTTL: Command = Command {
    name: "PTTL",
    usage: "key",
    summary: "Get the milliseconds until a key expires: -1 if it does not, -2 if it is not there.",
    since: "2.6.0",
    example: "SET a 1 -> OK\nPTTL a -> (integer) -1",
    tips: &["nondeterministic_output"],
    run: Run::Read(|ctx, args, reply| tell(ctx, args, reply, |at_ms| at_ms - ctx.now_ms)),
    ..ASKS
};

pub(super) const EXPIRETIME: Command = Command {
    name: "EXPIRETIME",
    usage: "key",
    summary: "Get the Unix time in seconds at which a key expires: -1 if it does not, -2 if it is not there.",
    since: "7.0.0",
    example: "SET a 1 EXAT 33177117420 -> OK\nEXPIRETIME a -> (integer) 33177117420",
    run: Run::Read(|ctx, args, reply| tell(ctx, args, reply, seconds)),
    ..ASKS
};

pub(super) const PEXPIRETIME: Command = Command {
    name: "PEXPIRETIME",
    usage: "key",
    summary: "Get the Unix time in milliseconds at which a key expires: -1 if it does not, -2 if it is not there.",
    since: "7.0.0",
    example: "SET a 1 EXAT 33177117420 -> OK\nPEXPIRETIME a -> (integer) 33177117420000",
    run: Run::Read(|ctx, args, reply| tell(ctx, args, reply, |at_ms| at_ms)),
    ..ASKS
};

/// Milliseconds as seconds, rounded to nearest.
fn seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

fn tell(
    ctx: &ReadCtx<'_>,
    mut args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    number: impl Fn(u64) -> u64,
) -> Outcome {
    reply.integer(match ctx.find_untouched(args.key()?).map(|found| found.expires_at_ms) {
        None => -2,
        Some(None) => -1,
        Some(Some(at_ms)) => number(at_ms) as i64,
    });
    Ok(())
}

pub(super) const PERSIST: Command = Command {
    name: "PERSIST",
    usage: "key",
    summary: "Let a key not expire any more.",
    since: "2.2.0",
    example: "SET a 1 EX 60 -> OK\nPERSIST a -> (integer) 1\nTTL a -> (integer) -1",
    run: Run::Write(persist),
    ..CHANGES
};

fn persist(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let had_expiry = ctx.find(key).is_some_and(|found| found.expires_at_ms.is_some());
    if had_expiry {
        ctx.set_expiry(key, None, Event::PERSIST);
    }
    reply.integer(i64::from(had_expiry));
    Ok(())
}
