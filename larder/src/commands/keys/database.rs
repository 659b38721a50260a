//! Whole databases: emptying and exchanging them.

use crate::args::Args;
use crate::command::{Command, Cost, Run};
use crate::effects::Cause;
use crate::fault::{Fault, Outcome};
use crate::keyspace::WriteCtx;
use larder_resp::ReplyWriter;
use larder_structures::decimal;

pub(super) const FLUSHDB: Command = Command {
    name: "FLUSHDB",
    usage: "[ASYNC|SYNC]",
    summary: "Delete all keys of the database.",
    cost: Cost::Slow("O(N) where N is the number of keys, in the background; O(1) until the reply"),
    example: "SET a 1 -> OK\nFLUSHDB -> OK\nDBSIZE -> (integer) 0",
    categories: &["@keyspace", "@dangerous"],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    run: Run::Gate(flushdb, true),
    ..Command::KEYS
};

fn flushdb(ctx: &mut WriteCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let cause = mode(args)?;
    ctx.flush(ctx.db, cause);
    reply.ok();
    Ok(())
}

pub(super) const FLUSHALL: Command = Command {
    name: "FLUSHALL",
    summary: "Delete all keys of all databases.",
    run: Run::Gate(flushall, true),
    ..FLUSHDB
};

fn flushall(ctx: &mut WriteCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let cause = mode(args)?;
    (0..ctx.config().databases).for_each(|db| ctx.flush(db, cause));
    reply.ok();
    Ok(())
}

/// Keys are gone at once in any case; the mode decides whether the caller waits until they are freed.
fn mode(mut args: Args<'_>) -> Result<Cause, Fault> {
    match () {
        () if args.len() == 1 && args.flag("ASYNC") => Ok(Cause::Lazily),
        () if args.len() == 1 && args.flag("SYNC") => Ok(Cause::AtOnce),
        () => args.finish().map(|()| Cause::Flushed),
    }
}

pub(super) const SWAPDB: Command = Command {
    name: "SWAPDB",
    usage: "index1 index2",
    summary: "Exchange two databases: who has selected one sees the keys of the other.",
    cost: Cost::Fast("O(N) where N is the number of watched keys"),
    since: "4.0.0",
    example: "SET a 1 -> OK\nSWAPDB 0 1 -> OK\nDBSIZE -> (integer) 0",
    categories: &["@keyspace", "@dangerous"],
    run: Run::Gate(swapdb, true),
    ..Command::KEYS
};

fn swapdb(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let one = number(args.bytes()?, Fault::row("ERR", "invalid first DB index"))?;
    let other = number(args.bytes()?, Fault::row("ERR", "invalid second DB index"))?;
    let check = |number: i32| {
        let db = usize::try_from(number).ok();
        db.filter(|db| *db < ctx.config().databases).ok_or(Fault::DB_OUT_OF_RANGE)
    };
    let (one, other) = (check(one)?, check(other)?);
    ctx.swap(one, other);
    reply.ok();
    Ok(())
}

fn number(text: &[u8], invalid: Fault) -> Result<i32, Fault> {
    decimal::parse_canonical_i64(text).and_then(|number| i32::try_from(number).ok()).ok_or(invalid)
}
