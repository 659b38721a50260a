//! Taking members away from an end.

use super::{event, reply_items};
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Run, Trait};
use crate::effects::Event;
use crate::fault::{Fault, Outcome};
use crate::keyspace::WriteCtx;
use crate::types::{Zset, ZsetRef};
use larder_resp::ReplyWriter;

const COST: Cost = Cost::Fast(
    "O(log(N)*M) with N being the number of members in the sorted set and M the number of members popped.",
);

pub(super) const ZPOPMIN: Command = Command {
    name: "ZPOPMIN",
    usage: "key [count]",
    summary: "Remove and return the members of the lowest scores.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["ACCESS", "DELETE"])],
    cost: COST,
    since: "5.0.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZPOPMIN board -> 1) \"one\" 2) \"1\"",
    run: Run::Write(|ctx, args, reply| pop_one_key(ctx, args, reply, End::Min)),
    ..Command::ZSET
};

pub(super) const ZPOPMAX: Command = Command {
    name: "ZPOPMAX",
    usage: "key [count]",
    summary: "Remove and return the members of the highest scores.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["ACCESS", "DELETE"])],
    cost: COST,
    since: "5.0.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZPOPMAX board -> 1) \"two\" 2) \"2\"",
    run: Run::Write(|ctx, args, reply| pop_one_key(ctx, args, reply, End::Max)),
    ..Command::ZSET
};

/// An end of a sorted set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    fn event(self) -> Event {
        event(if self == End::Min { "zpopmin" } else { "zpopmax" })
    }

    fn command(self) -> &'static [u8] {
        if self == End::Min { b"ZPOPMIN" } else { b"ZPOPMAX" }
    }
}

fn pop_one_key(
    ctx: &mut WriteCtx<'_, '_>,
    mut args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    end: End,
) -> Outcome {
    let key = args.key()?;
    if args.len() > 1 {
        return Err(Fault::SYNTAX);
    }
    let count = if args.is_empty() { None } else { Some(args.int_in(0..=i64::MAX, Fault::NEGATIVE)?) };
    let Some(mut zset) = ctx.open::<Zset>(key, end.event())? else {
        reply.array(0);
        return Ok(());
    };
    let Some(count) = count else {
        // Without a count the reply is one pair and not an array of pairs, in RESP3 too.
        let item = zset.view().get(if end == End::Min { 0 } else { zset.len() - 1 });
        reply.array(item.map_or(0, |_| 2));
        if let Some(item) = item {
            item.member.reply(reply);
            reply.double(item.score);
        }
        drop_outer(&mut zset, end, 1);
        return Ok(());
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(zset.len());
    reply_items(zset.view().range(outer(zset.view(), end, count), end == End::Max), true, reply);
    drop_outer(&mut zset, end, count);
    Ok(())
}

/// The ranks of `count` members at an end.
fn outer(zset: ZsetRef<'_>, end: End, count: usize) -> std::ops::Range<usize> {
    let len = zset.len();
    if end == End::Min { 0..count.min(len) } else { len - count.min(len)..len }
}

fn drop_outer(zset: &mut crate::keyspace::Guard<'_, Zset>, end: End, count: usize) {
    let ranks = outer(zset.view(), end, count);
    let removed = zset.remove_ranks(ranks);
    zset.changed(removed as u64);
}

pub(super) const ZMPOP: Command = Command {
    name: "ZMPOP",
    usage: "numkeys key [key ...] MIN|MAX [COUNT count]",
    summary: "Remove and return members from an end of the first sorted set that has any.",
    keys: &[Keys::count(1).does(Access::ReadWrite, &["ACCESS", "DELETE"])],
    cost: Cost::Slow(
        "O(K) + O(M*log(N)) where K is the number of keys given, N the number of members in the sorted set, \
         and M the number of members popped.",
    ),
    since: "7.0.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZMPOP 2 none board MAX -> 1) \"board\" 2) 1) 1) \"two\" 2) \"2\"",
    traits: &[Trait::MovableKeys],
    run: Run::Write(zmpop),
    ..Command::ZSET
};

fn zmpop(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let names = args.numbered_keys()?;
    let end = if args.flag("MIN") {
        End::Min
    } else if args.flag("MAX") {
        End::Max
    } else {
        return Err(Fault::SYNTAX);
    };
    let count = args.count_or_one()?;
    for key in names {
        let Some(mut zset) = ctx.open::<Zset>(key, end.event())? else { continue };
        let count = count.min(zset.len());
        reply.array(2);
        reply.bulk(key);
        reply.array(count);
        for item in zset.view().range(outer(zset.view(), end, count), end == End::Max) {
            // Pairs in both protocols.
            reply.array(2);
            item.member.reply(reply);
            reply.double(item.score);
        }
        drop_outer(&mut zset, end, count);
        drop(zset);
        ctx.log_instead(&[end.command(), key, count.to_string().as_bytes()]);
        return Ok(());
    }
    reply.null_array();
    Ok(())
}
