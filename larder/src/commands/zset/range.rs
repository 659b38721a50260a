//! ZRANGE and its kin.

use super::query::{By, Kind, Query};
use super::{limits, reply_items, store};
use crate::args::Args;
use crate::command::{Access, Command, Computed, Cost, Keys, Memory, Run, Store};
use crate::fault::{Fault, Outcome};
use crate::keyspace::{ReadCtx, WriteCtx};
use crate::types::string::Digits;
use crate::types::zset::Builder;
use crate::types::{Body, Collection as _, Zset};
use larder_resp::ReplyWriter;

const COST: Cost =
    Cost::Slow("O(log(N)+M) with N being the number of members in the sorted set and M the number returned.");

/// What the declarations of ranges have in common.
const RANGE: Command = Command { keys: &[Keys::at(1)], cost: COST, ..Command::ZSET };

fn reply_range(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>, kind: Kind) -> Outcome {
    let key = args.key()?;
    let query = Query::parse(args, kind)?;
    match ctx.collection::<Zset>(key)? {
        Some(zset) => reply_items(zset.range(query.ranks(zset), query.reverse), query.with_scores, reply),
        None => reply.array(0),
    }
    Ok(())
}

/// How many members will be returned, if that can be many.
fn work_of(ctx: &ReadCtx<'_>, mut args: Args<'_>, kind: Kind) -> Result<u64, Fault> {
    let key = args.key()?;
    let Some(found) = ctx.peek(key) else { return Ok(0) };
    let zset = found.view.collection::<Zset>()?;
    if zset.len() < crate::types::LARGE_ELEMENTS {
        return Ok(0);
    }
    Ok(Query::parse(args, kind)?.ranks(zset).len() as u64)
}

const AUTO: Kind = Kind { by: None, reverse: None, stores: false };

pub(super) const ZRANGE: Command = Command {
    name: "ZRANGE",
    usage: "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
    summary: "Get the members in a range of ranks, scores or, at equal scores, of their bytes.",
    since: "1.2.0",
    example: "ZADD board 1 one 2 two 3 three -> (integer) 3\n\
              ZRANGE board 0 -1 -> 1) \"one\" 2) \"two\" 3) \"three\"\n\
              ZRANGE board +inf 2 BYSCORE REV -> 1) \"three\" 2) \"two\"",
    work: Some(|ctx, args| work_of(ctx, args, AUTO).unwrap_or(0)),
    run: Run::Read(|ctx, args, reply| reply_range(ctx, args, reply, AUTO)),
    ..RANGE
};

const BACKWARDS: Kind = Kind { by: Some(By::Rank), reverse: Some(true), stores: false };

pub(super) const ZREVRANGE: Command = Command {
    name: "ZREVRANGE",
    usage: "key start stop [WITHSCORES]",
    summary: "Get the members in a range of ranks, the highest score first.",
    since: "1.2.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZREVRANGE board 0 0 WITHSCORES -> 1) \"two\" 2) \"2\"",
    work: Some(|ctx, args| work_of(ctx, args, BACKWARDS).unwrap_or(0)),
    run: Run::Read(|ctx, args, reply| reply_range(ctx, args, reply, BACKWARDS)),
    ..RANGE
};

const BY_SCORE: Kind = Kind { by: Some(By::Score), reverse: Some(false), stores: false };

pub(super) const ZRANGEBYSCORE: Command = Command {
    name: "ZRANGEBYSCORE",
    usage: "key min max [WITHSCORES] [LIMIT offset count]",
    summary: "Get the members in a range of scores, the lowest first.",
    since: "1.0.5",
    example: "ZADD board 1 one 2 two 3 three -> (integer) 3\nZRANGEBYSCORE board (1 3 LIMIT 0 1 -> 1) \"two\"",
    work: Some(|ctx, args| work_of(ctx, args, BY_SCORE).unwrap_or(0)),
    run: Run::Read(|ctx, args, reply| reply_range(ctx, args, reply, BY_SCORE)),
    ..RANGE
};

const BY_SCORE_BACKWARDS: Kind = Kind { by: Some(By::Score), reverse: Some(true), stores: false };

pub(super) const ZREVRANGEBYSCORE: Command = Command {
    name: "ZREVRANGEBYSCORE",
    usage: "key max min [WITHSCORES] [LIMIT offset count]",
    summary: "Get the members in a range of scores, the highest first.",
    since: "2.2.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZREVRANGEBYSCORE board +inf 1 -> 1) \"two\" 2) \"one\"",
    work: Some(|ctx, args| work_of(ctx, args, BY_SCORE_BACKWARDS).unwrap_or(0)),
    run: Run::Read(|ctx, args, reply| reply_range(ctx, args, reply, BY_SCORE_BACKWARDS)),
    ..RANGE
};

const BY_LEX: Kind = Kind { by: Some(By::Lex), reverse: Some(false), stores: false };

pub(super) const ZRANGEBYLEX: Command = Command {
    name: "ZRANGEBYLEX",
    usage: "key min max [LIMIT offset count]",
    summary: "Get the members between two strings, in the order of their bytes.",
    since: "2.8.9",
    example: "ZADD words 0 a 0 b 0 c -> (integer) 3\nZRANGEBYLEX words [b + -> 1) \"b\" 2) \"c\"",
    work: Some(|ctx, args| work_of(ctx, args, BY_LEX).unwrap_or(0)),
    run: Run::Read(|ctx, args, reply| reply_range(ctx, args, reply, BY_LEX)),
    ..RANGE
};

const BY_LEX_BACKWARDS: Kind = Kind { by: Some(By::Lex), reverse: Some(true), stores: false };

pub(super) const ZREVRANGEBYLEX: Command = Command {
    name: "ZREVRANGEBYLEX",
    usage: "key max min [LIMIT offset count]",
    summary: "Get the members between two strings, in the reverse order of their bytes.",
    since: "2.8.9",
    example: "ZADD words 0 a 0 b 0 c -> (integer) 3\nZREVRANGEBYLEX words (c - -> 1) \"b\" 2) \"a\"",
    work: Some(|ctx, args| work_of(ctx, args, BY_LEX_BACKWARDS).unwrap_or(0)),
    run: Run::Read(|ctx, args, reply| reply_range(ctx, args, reply, BY_LEX_BACKWARDS)),
    ..RANGE
};

const STORING: Kind = Kind { by: None, reverse: None, stores: true };

pub(super) const ZRANGESTORE: Command = Command {
    name: "ZRANGESTORE",
    usage: "dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]",
    summary: "Store the members in a range of another sorted set.",
    keys: &[Keys::at(1).does(Access::Overwrite, &["UPDATE"]), Keys::at(2)],
    cost: Cost::Slow(
        "O(log(N)+M) with N being the number of members in the source and M the number stored in the destination.",
    ),
    memory: Memory::Grows,
    since: "6.2.0",
    example: "ZADD board 1 one 2 two 3 three -> (integer) 3\nZRANGESTORE top board 0 1 REV -> (integer) 2\n\
              ZRANGE top 0 -1 -> 1) \"two\" 2) \"three\"",
    work: Some(|ctx, mut args| args.key().and_then(|_| work_of(ctx, args, STORING)).unwrap_or(0)),
    run: Run::Store(Store { compute: compute_range, install: install_range }),
    ..Command::ZSET
};

fn compute_range(ctx: &ReadCtx<'_>, mut args: Args<'_>) -> Result<Computed, Fault> {
    let (_, source) = (args.key()?, args.key()?);
    let query = Query::parse(args, STORING)?;
    let Some(zset) = ctx.collection::<Zset>(source)? else { return Ok(None) };
    let (ranks, limits) = (query.ranks(zset), limits(ctx.config()));
    // Redis adds one member after the other to a listpack, which forgets the sign of -0, until it has to leave that form.
    // By rank it knows beforehand that it will have to.
    let mut is_packed = !query.is_by_rank() || ranks.len() <= limits.entries;
    let mut builder = Builder::with_room(ranks.len());
    let mut digits = Digits::new();
    for item in zset.range(ranks, query.reverse) {
        is_packed &= builder.len() < limits.entries && item.member.len() <= limits.value;
        let score = if is_packed { item.score + 0.0 } else { item.score };
        builder.add(item.member.bytes(&mut digits), score, |_, new| new);
    }
    Ok((!builder.is_empty()).then(|| builder.finish(limits).into_body()))
}

fn install_range(
    ctx: &mut WriteCtx<'_, '_>,
    args: Args<'_>,
    computed: Option<Body>,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    store::install(ctx, args, computed, reply, "zrangestore")
}
