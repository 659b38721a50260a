//! ZREM and ZREMRANGEBY...

use super::{bounds, event};
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Run};
use crate::fault::Outcome;
use crate::keyspace::WriteCtx;
use crate::types::{Zset, ZsetRef};
use larder_resp::ReplyWriter;
use std::ops::Range;

const KEYS: &[Keys] = &[Keys::at(1).does(Access::ReadWrite, &["DELETE"])];
const RANGE_COST: Cost = Cost::Slow(
    "O(log(N)+M) with N being the number of members in the sorted set and M the number of members removed.",
);

pub(super) const ZREM: Command = Command {
    name: "ZREM",
    usage: "key member [member ...]",
    summary: "Remove members.",
    keys: KEYS,
    cost: Cost::Fast(
        "O(M*log(N)) with N being the number of members in the sorted set and M the number of members to be removed.",
    ),
    since: "1.2.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZREM board one three -> (integer) 1",
    run: Run::Write(zrem),
    ..Command::ZSET
};

fn zrem(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let mut removed = 0;
    if let Some(mut zset) = ctx.open::<Zset>(key, event("zrem"))? {
        removed = args.rest().filter(|member| zset.remove(member).is_some()).count();
        zset.changed(removed as u64);
    }
    reply.integer(removed as i64);
    Ok(())
}

/// Removes the members whose ranks `choose` names.
fn remove_range(
    ctx: &mut WriteCtx<'_, '_>,
    key: &[u8],
    name: &'static str,
    choose: impl FnOnce(ZsetRef<'_>) -> Range<usize>,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    let mut removed = 0;
    if let Some(mut zset) = ctx.open::<Zset>(key, event(name))? {
        let ranks = choose(zset.view());
        removed = zset.remove_ranks(ranks);
        zset.changed(removed as u64);
    }
    reply.integer(removed as i64);
    Ok(())
}

pub(super) const ZREMRANGEBYRANK: Command = Command {
    name: "ZREMRANGEBYRANK",
    usage: "key start stop",
    summary: "Remove the members in a range of ranks.",
    keys: KEYS,
    cost: RANGE_COST,
    since: "2.0.0",
    example: "ZADD board 1 one 2 two 3 three -> (integer) 3\nZREMRANGEBYRANK board 0 -2 -> (integer) 2",
    run: Run::Write(zremrangebyrank),
    ..Command::ZSET
};

fn zremrangebyrank(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, start, stop) = (args.key()?, args.int()?, args.int()?);
    remove_range(ctx, key, "zremrangebyrank", |zset| bounds::ranks(start, stop, zset.len()), reply)
}

pub(super) const ZREMRANGEBYSCORE: Command = Command {
    name: "ZREMRANGEBYSCORE",
    usage: "key min max",
    summary: "Remove the members in a range of scores.",
    keys: KEYS,
    cost: RANGE_COST,
    since: "1.2.0",
    example: "ZADD board 1 one 2 two 3 three -> (integer) 3\nZREMRANGEBYSCORE board -inf (3 -> (integer) 2",
    run: Run::Write(zremrangebyscore),
    ..Command::ZSET
};

fn zremrangebyscore(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let range = bounds::scores(args.bytes()?, args.bytes()?)?;
    remove_range(ctx, key, "zremrangebyscore", |zset| zset.ranks_by_score(range), reply)
}

pub(super) const ZREMRANGEBYLEX: Command = Command {
    name: "ZREMRANGEBYLEX",
    usage: "key min max",
    summary: "Remove the members between two strings, in the order of their bytes.",
    keys: KEYS,
    cost: RANGE_COST,
    since: "2.8.9",
    example: "ZADD words 0 a 0 b 0 c -> (integer) 3\nZREMRANGEBYLEX words [a (c -> (integer) 2",
    run: Run::Write(zremrangebylex),
    ..Command::ZSET
};

fn zremrangebylex(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let range = bounds::members(args.bytes()?, args.bytes()?)?;
    remove_range(ctx, key, "zremrangebylex", |zset| zset.ranks_by_lex(range), reply)
}
