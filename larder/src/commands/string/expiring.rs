//! Expiry options of string commands, and the commands that are about them.

use super::plain::reply_old;
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Memory, Run};
use crate::effects::Event;
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Expiry, WriteCtx};
use crate::types::string::Digits;
use larder_resp::ReplyWriter;
use larder_structures::decimal;

/// How an expiry is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// `EX`: seconds from now.
    Seconds,
    /// `PX`: milliseconds from now.
    Millis,
    /// `EXAT`: a Unix time in seconds.
    AtSeconds,
    /// `PXAT`: a Unix time in milliseconds.
    AtMillis,
}

impl Unit {
    const WORDS: &[(&str, Unit)] =
        &[("EX", Unit::Seconds), ("PX", Unit::Millis), ("EXAT", Unit::AtSeconds), ("PXAT", Unit::AtMillis)];

    /// Whether a moment is given, and not a time from now.
    fn is_absolute(self) -> bool {
        matches!(self, Unit::AtSeconds | Unit::AtMillis)
    }

    /// The moment that `text` stands for, in Unix milliseconds.
    ///
    /// # Errors
    /// If it is no integer, not positive, or more milliseconds than 63 bits hold. `command` is named in the error.
    pub(super) fn moment(self, text: &[u8], now_ms: u64, command: &str) -> Result<u64, Fault> {
        let number = decimal::parse_canonical_i64(text).ok_or(Fault::NOT_INTEGER)?;
        let invalid = || Fault::invalid_expire(command);
        if number <= 0 {
            return Err(invalid());
        }
        let factor = if matches!(self, Unit::Seconds | Unit::AtSeconds) { 1000 } else { 1 };
        let base = if self.is_absolute() { 0 } else { now_ms as i64 };
        let at_ms = number.checked_mul(factor).and_then(|ms| ms.checked_add(base)).ok_or_else(invalid)?;
        Ok(at_ms as u64)
    }
}

/// What the options of a command say about the expiry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Choice<'a> {
    /// Nothing.
    #[default]
    Unsaid,
    /// `KEEPTTL`
    Keep,
    /// `PERSIST`
    Persist,
    /// One of the four that give a time, which is not looked at yet.
    Given(Unit, &'a [u8]),
}

impl<'a> Choice<'a> {
    /// Takes the next argument, and the time behind it, if it is one of the four options that give a time, and goes
    /// with what was said before: the same option again is fine, and the last one counts.
    pub(super) fn take_time(&mut self, args: &mut Args<'a>) -> bool {
        for (word, unit) in Unit::WORDS {
            let fits = match *self {
                Choice::Unsaid => true,
                Choice::Given(said, _) => said == *unit,
                Choice::Keep | Choice::Persist => false,
            };
            if fits && args.len() > 1 && args.flag(word) {
                let time = args.peek().unwrap_or_default();
                args.skip();
                *self = Choice::Given(*unit, time);
                return true;
            }
        }
        false
    }

    /// Takes the next argument if it is `word`, which says `choice` and goes with nothing else.
    pub(super) fn take_word(&mut self, args: &mut Args<'a>, word: &str, choice: Choice<'a>) -> bool {
        let taken = (*self == Choice::Unsaid || *self == choice) && args.flag(word);
        if taken {
            *self = choice;
        }
        taken
    }
}

/// Sets a string that may expire, tells listeners about both, and lets the log hold the moment and not the time from
/// now.
pub(super) fn set_expiring(ctx: &mut WriteCtx<'_, '_>, key: &[u8], value: &[u8], expiry: Expiry) {
    ctx.set_string(key, value, expiry, Event::SET);
    if let Expiry::AtMs(at_ms) = expiry {
        ctx.notify(key, Event::EXPIRE);
        ctx.log_instead(&[b"SET", key, value, b"PXAT", Digits::new().format(at_ms).as_bytes()]);
    }
}

pub(super) const SETEX: Command = Command {
    name: "SETEX",
    usage: "key seconds value",
    summary: "Store a string that expires after so many seconds.",
    keys: &[Keys::at(1).does(Access::Overwrite, &["UPDATE"])],
    cost: Cost::Slow("O(1)"),
    memory: Memory::Grows,
    since: "2.0.0",
    example: "SETEX session 60 data -> OK\nTTL session -> (integer) 60",
    run: Run::Write(|ctx, args, reply| setex(ctx, args, reply, Unit::Seconds, "setex")),
    ..Command::STRING
};

pub(super) const PSETEX: Command = Command {
    name: "PSETEX",
    usage: "key milliseconds value",
    summary: "Store a string that expires after so many milliseconds.",
    keys: &[Keys::at(1).does(Access::Overwrite, &["UPDATE"])],
    cost: Cost::Slow("O(1)"),
    memory: Memory::Grows,
    since: "2.6.0",
    example: "PSETEX session 60000 data -> OK\nTTL session -> (integer) 60",
    run: Run::Write(|ctx, args, reply| setex(ctx, args, reply, Unit::Millis, "psetex")),
    ..Command::STRING
};

fn setex(
    ctx: &mut WriteCtx<'_, '_>,
    mut args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    unit: Unit,
    name: &str,
) -> Outcome {
    let (key, time, value) = (args.key()?, args.bytes()?, args.bytes()?);
    let at_ms = unit.moment(time, ctx.now_ms, name)?;
    if !ctx.comes_too_late(key) {
        set_expiring(ctx, key, value, Expiry::AtMs(at_ms));
    }
    reply.ok();
    Ok(())
}

pub(super) const GETEX: Command = Command {
    name: "GETEX",
    usage: "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]",
    summary: "Get the string under a key and change when the key expires.",
    keys: &[Keys::at(1)
        .does(Access::ReadWrite, &["ACCESS", "UPDATE"])
        .noting("RW and UPDATE because it changes the TTL")],
    since: "6.2.0",
    example: "SET page cached -> OK\nGETEX page EX 60 -> \"cached\"\nTTL page -> (integer) 60",
    run: Run::Write(getex),
    ..Command::STRING
};

fn getex(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let mut choice = Choice::Unsaid;
    while !args.is_empty() {
        if !choice.take_time(&mut args) && !choice.take_word(&mut args, "PERSIST", Choice::Persist) {
            return Err(Fault::SYNTAX);
        }
    }
    if !reply_old(ctx, key, reply)? {
        return Ok(());
    }
    match choice {
        Choice::Given(unit, time) => {
            let at_ms = unit.moment(time, ctx.now_ms, "getex")?;
            if unit.is_absolute() && at_ms <= ctx.now_ms {
                ctx.delete(key, Event::DEL);
                ctx.log_instead(&[b"DEL", key]);
            } else {
                ctx.set_expiry(key, Some(at_ms), Event::EXPIRE);
                ctx.log_instead(&[b"PEXPIREAT", key, Digits::new().format(at_ms).as_bytes()]);
            }
        }
        Choice::Persist => {
            if ctx.find(key).is_some_and(|found| found.expires_at_ms.is_some()) {
                ctx.set_expiry(key, None, Event::PERSIST);
                ctx.log_instead(&[b"PERSIST", key]);
            }
        }
        Choice::Unsaid | Choice::Keep => {}
    }
    Ok(())
}
