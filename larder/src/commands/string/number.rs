//! Strings that are numbers.

use super::event;
use crate::args::Args;
use crate::command::{Access, Command, Keys, Memory, Run};
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Expiry, WriteCtx};
use crate::types::string::Digits;
use larder_resp::{LongDouble, ReplyWriter};

const NUMBER: Command = Command {
    keys: &[Keys::at(1).does(Access::ReadWrite, &["ACCESS", "UPDATE"])],
    memory: Memory::Grows,
    ..Command::STRING
};

pub(super) const INCR: Command = Command {
    name: "INCR",
    usage: "key",
    summary: "Add one to the integer under a key; an absent key counts as 0.",
    example: "INCR visits -> (integer) 1\nINCR visits -> (integer) 2",
    run: Run::Write(|ctx, mut args, reply| add(ctx, args.key()?, 1, reply)),
    ..NUMBER
};

pub(super) const DECR: Command = Command {
    name: "DECR",
    usage: "key",
    summary: "Subtract one from the integer under a key; an absent key counts as 0.",
    example: "SET stock 10 -> OK\nDECR stock -> (integer) 9",
    run: Run::Write(|ctx, mut args, reply| add(ctx, args.key()?, -1, reply)),
    ..NUMBER
};

pub(super) const INCRBY: Command = Command {
    name: "INCRBY",
    usage: "key increment",
    summary: "Add to the integer under a key; an absent key counts as 0.",
    example: "SET points 5 -> OK\nINCRBY points 10 -> (integer) 15",
    run: Run::Write(|ctx, mut args, reply| add(ctx, args.key()?, args.int()?, reply)),
    ..NUMBER
};

pub(super) const DECRBY: Command = Command {
    name: "DECRBY",
    usage: "key decrement",
    summary: "Subtract from the integer under a key; an absent key counts as 0.",
    example: "SET points 15 -> OK\nDECRBY points 10 -> (integer) 5",
    run: Run::Write(decrby),
    ..NUMBER
};

fn decrby(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, decrement) = (args.key()?, args.int()?);
    let increment = decrement.checked_neg().ok_or(Fault::row("ERR", "decrement would overflow"))?;
    add(ctx, key, increment, reply)
}

fn add(ctx: &mut WriteCtx<'_, '_>, key: &[u8], increment: i64, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(ctx.add_integer(key, increment)?);
    Ok(())
}

pub(super) const INCRBYFLOAT: Command = Command {
    name: "INCRBYFLOAT",
    usage: "key float-increment",
    summary: "Add to the number under a key; an absent key counts as 0.",
    since: "2.6.0",
    example: "SET price 10.50 -> OK\nINCRBYFLOAT price 0.1 -> \"10.6\"",
    run: Run::Write(incrbyfloat),
    ..NUMBER
};

fn incrbyfloat(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, increment) = (args.key()?, args.bytes()?);
    let before = match ctx.string(key)? {
        Some(string) => LongDouble::parse(string.bytes(&mut Digits::new())).ok_or(Fault::NOT_FLOAT)?,
        None => LongDouble::from(0),
    };
    let after = before + LongDouble::parse(increment).ok_or(Fault::NOT_FLOAT)?;
    if after.is_nan() || after.is_infinite() {
        return Err(Fault::INCREMENT_NAN);
    }
    let text = after.to_human();
    // Another machine's arithmetic may differ in the last digit, so the log holds the sum.
    ctx.set_text(key, text.as_bytes(), Expiry::Keep, event("incrbyfloat"));
    ctx.log_instead(&[b"SET", key, text.as_bytes(), b"KEEPTTL"]);
    reply.bulk(text.as_bytes());
    Ok(())
}
