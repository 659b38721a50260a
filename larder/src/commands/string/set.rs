//! SET with its options, and its counterpart for deleting.

use super::expiring::{Choice, set_expiring};
use super::plain::reply_old;
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Memory, Run};
use crate::effects::Event;
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Expiry, WriteCtx};
use crate::types::string::Digits;
use larder_resp::ReplyWriter;

pub(super) const SET: Command = Command {
    name: "SET",
    usage: "key value [NX|XX|IFEQ comparison] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|\
            PXAT unix-time-milliseconds|KEEPTTL]",
    summary: "Store a string, replacing whatever the key held.",
    keys: &[Keys::at(1)
        .does(Access::ReadWrite, &["ACCESS", "UPDATE"])
        .noting("RW and ACCESS due to the optional `GET` argument")
        .marked(&["VARIABLE_FLAGS"])],
    cost: Cost::Slow("O(1)"),
    memory: Memory::Grows,
    example: "SET greeting hello -> OK\nSET greeting hi XX GET -> \"hello\"\nSET greeting hey NX -> (nil)\n\
              SET greeting bye IFEQ hi -> OK",
    run: Run::Write(set),
    ..Command::STRING
};

/// When SET sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Condition<'a> {
    /// Whatever is there.
    #[default]
    Always,
    /// `NX`: only where nothing is.
    Absent,
    /// `XX`: only where something is.
    Present,
    /// `IFEQ`: only in place of these bytes.
    Equal(&'a [u8]),
}

#[derive(Default)]
struct Options<'a> {
    condition: Condition<'a>,
    choice: Choice<'a>,
    wants_old: bool,
}

impl<'a> Options<'a> {
    fn parse(mut args: Args<'a>) -> Result<Options<'a>, Fault> {
        let mut options = Options::default();
        while !args.is_empty() {
            if args.flag("GET") {
                options.wants_old = true;
            } else if !options.take_condition(&mut args)
                && !options.choice.take_time(&mut args)
                && !options.choice.take_word(&mut args, "KEEPTTL", Choice::Keep)
            {
                return Err(Fault::SYNTAX);
            }
        }
        Ok(options)
    }

    /// Takes a condition, given once or given again the same.
    fn take_condition(&mut self, args: &mut Args<'a>) -> bool {
        let said = self.condition;
        let may_be = |condition| said == Condition::Always || said == condition;
        if may_be(Condition::Absent) && args.flag("NX") {
            self.condition = Condition::Absent;
        } else if may_be(Condition::Present) && args.flag("XX") {
            self.condition = Condition::Present;
        } else if said == Condition::Always && args.len() > 1 && args.flag("IFEQ") {
            self.condition = Condition::Equal(args.peek().unwrap_or_default());
            args.skip();
        } else {
            return false;
        }
        true
    }
}

fn set(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, value) = (args.key()?, args.bytes()?);
    if args.is_empty() {
        if !ctx.comes_too_late(key) {
            ctx.set_string(key, value, Expiry::Never, Event::SET);
        }
        reply.ok();
        return Ok(());
    }
    let options = Options::parse(args)?;
    let expiry = match options.choice {
        Choice::Given(unit, time) => Expiry::AtMs(unit.moment(time, ctx.now_ms, "set")?),
        Choice::Keep => Expiry::Keep,
        Choice::Unsaid | Choice::Persist => Expiry::Never,
    };
    if options.wants_old {
        reply_old(ctx, key, reply)?;
    }
    let is_met = match options.condition {
        Condition::Always => true,
        Condition::Absent => !ctx.exists(key),
        Condition::Present => ctx.exists(key),
        Condition::Equal(comparison) => is_equal(ctx, key, comparison)?,
    };
    let is_late = options.condition == Condition::Always && ctx.comes_too_late(key);
    if is_met && !is_late {
        set_expiring(ctx, key, value, expiry);
        if let (Condition::Equal(_), Expiry::Keep) = (options.condition, expiry) {
            ctx.log_instead(&[b"SET", key, value, b"KEEPTTL"]);
        } else if let (Condition::Equal(_), Expiry::Never) = (options.condition, expiry) {
            ctx.log_instead(&[b"SET", key, value]);
        }
    }
    match (options.wants_old, is_met) {
        (true, _) => {}
        (false, true) => reply.ok(),
        (false, false) => reply.null(),
    }
    Ok(())
}

/// Whether the key holds the string `comparison`.
fn is_equal(ctx: &mut WriteCtx<'_, '_>, key: &[u8], comparison: &[u8]) -> Result<bool, Fault> {
    Ok(ctx.string(key)?.is_some_and(|string| string.bytes(&mut Digits::new()) == comparison))
}

pub(super) const DELIFEQ: Command = Command {
    name: "DELIFEQ",
    usage: "key value",
    summary: "Delete a key if it holds this string.",
    keys: &[Keys::at(1).does(Access::Remove, &["DELETE"])],
    since: "larder",
    example: "SET lock me -> OK\nDELIFEQ lock you -> (integer) 0\nDELIFEQ lock me -> (integer) 1",
    run: Run::Write(delifeq),
    ..Command::STRING
};

fn delifeq(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, value) = (args.key()?, args.bytes()?);
    let is_met = is_equal(ctx, key, value)?;
    if is_met {
        ctx.delete(key, Event::DEL);
        ctx.log_instead(&[b"DEL", key]);
    }
    reply.integer(i64::from(is_met));
    Ok(())
}
