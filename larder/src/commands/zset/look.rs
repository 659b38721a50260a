//! Questions about members and counts.

use super::bounds;
use crate::args::Args;
use crate::command::{Command, Cost, Keys, Run};
use crate::fault::Outcome;
use crate::keyspace::ReadCtx;
use crate::types::{Zset, ZsetRef};
use larder_resp::ReplyWriter;

/// What the declarations of questions have in common.
const LOOK: Command = Command { keys: &[Keys::at(1)], ..Command::ZSET };
const COUNT_COST: Cost = Cost::Fast("O(log(N)) with N being the number of members in the sorted set.");

pub(super) const ZCARD: Command = Command {
    name: "ZCARD",
    usage: "key",
    summary: "Count the members.",
    keys: &[Keys::at(1).does(crate::command::Access::ReadOnly, &[])],
    cost: Cost::Fast("O(1)"),
    since: "1.2.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZCARD board -> (integer) 2",
    run: Run::Read(zcard),
    ..LOOK
};

fn zcard(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(ctx.collection::<Zset>(args.key()?)?.map_or(0, ZsetRef::len) as i64);
    Ok(())
}

pub(super) const ZSCORE: Command = Command {
    name: "ZSCORE",
    usage: "key member",
    summary: "Get the score of a member.",
    cost: Cost::Fast("O(1)"),
    since: "1.2.0",
    example: "ZADD board 1.5 one -> (integer) 1\nZSCORE board one -> \"1.5\"\nZSCORE board two -> (nil)",
    run: Run::Read(zscore),
    ..LOOK
};

fn zscore(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let zset = ctx.collection::<Zset>(args.key()?)?;
    reply_score(zset, args.bytes()?, reply);
    Ok(())
}

fn reply_score(zset: Option<ZsetRef<'_>>, member: &[u8], reply: &mut ReplyWriter<'_>) {
    match zset.and_then(|zset| zset.score(member)) {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

pub(super) const ZMSCORE: Command = Command {
    name: "ZMSCORE",
    usage: "key member [member ...]",
    summary: "Get the scores of several members.",
    cost: Cost::Fast("O(N) where N is the number of members asked for."),
    since: "6.2.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZMSCORE board one nobody -> 1) \"1\" 2) (nil)",
    run: Run::Read(zmscore),
    ..LOOK
};

fn zmscore(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let zset = ctx.collection::<Zset>(args.key()?)?;
    reply.array(args.len());
    args.rest().for_each(|member| reply_score(zset, member, reply));
    Ok(())
}

pub(super) const ZRANK: Command = Command {
    name: "ZRANK",
    usage: "key member",
    summary: "Get how many members stand before a member, the lowest score first.",
    cost: Cost::Fast("O(log(N))"),
    since: "2.0.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZRANK board two -> (integer) 1",
    run: Run::Read(|ctx, args, reply| reply_rank(ctx, args, reply, false)),
    ..LOOK
};

pub(super) const ZREVRANK: Command = Command {
    name: "ZREVRANK",
    usage: "key member",
    summary: "Get how many members stand before a member, the highest score first.",
    cost: Cost::Fast("O(log(N))"),
    since: "2.0.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZREVRANK board two -> (integer) 0",
    run: Run::Read(|ctx, args, reply| reply_rank(ctx, args, reply, true)),
    ..LOOK
};

fn reply_rank(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>, reverse: bool) -> Outcome {
    let zset = ctx.collection::<Zset>(args.key()?)?;
    let member = args.bytes()?;
    match zset.and_then(|zset| Some((zset.rank(member)?, zset.len()))) {
        Some((rank, len)) => reply.integer(if reverse { len - 1 - rank } else { rank } as i64),
        None => reply.null(),
    }
    Ok(())
}

pub(super) const ZCOUNT: Command = Command {
    name: "ZCOUNT",
    usage: "key min max",
    summary: "Count the members in a range of scores.",
    cost: COUNT_COST,
    since: "2.0.0",
    example: "ZADD board 1 one 2 two 3 three -> (integer) 3\nZCOUNT board (1 +inf -> (integer) 2",
    run: Run::Read(zcount),
    ..LOOK
};

fn zcount(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let range = bounds::scores(args.bytes()?, args.bytes()?)?;
    let count = ctx.collection::<Zset>(key)?.map_or(0, |zset| zset.ranks_by_score(range).len());
    reply.integer(count as i64);
    Ok(())
}

pub(super) const ZLEXCOUNT: Command = Command {
    name: "ZLEXCOUNT",
    usage: "key min max",
    summary: "Count the members between two strings, in the order of their bytes.",
    cost: COUNT_COST,
    since: "2.8.9",
    example: "ZADD words 0 a 0 b 0 c -> (integer) 3\nZLEXCOUNT words - (c -> (integer) 2",
    run: Run::Read(zlexcount),
    ..LOOK
};

fn zlexcount(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let range = bounds::members(args.bytes()?, args.bytes()?)?;
    let count = ctx.collection::<Zset>(key)?.map_or(0, |zset| zset.ranks_by_lex(range).len());
    reply.integer(count as i64);
    Ok(())
}
