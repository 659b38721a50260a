//! ZRANDMEMBER and ZSCAN.

use super::{reply_item, reply_items};
use crate::args::Args;
use crate::command::{Command, Cost, Keys, Run};
use crate::commands::members::{self, ScanOptions};
use crate::fault::{Fault, Outcome};
use crate::keyspace::ReadCtx;
use crate::types::string::StringRef;
use crate::types::zset::Scored;
use crate::types::{Zset, ZsetRef, draw};
use larder_resp::{ReplyWriter, format_g17};
use std::collections::BTreeSet;

pub(super) const ZRANDMEMBER: Command = Command {
    name: "ZRANDMEMBER",
    usage: "key [count [WITHSCORES]]",
    summary: "Get random members: distinct ones, or with repetitions if the count is negative.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow("O(N) where N is the number of members returned"),
    since: "6.2.0",
    example: "ZADD board 1 one -> (integer) 1\nZRANDMEMBER board -> \"one\"\n\
              ZRANDMEMBER board -2 -> 1) \"one\" 2) \"one\"",
    tips: &["nondeterministic_output"],
    work: Some(members::random_work),
    run: Run::Read(zrandmember),
    ..Command::ZSET
};

fn zrandmember(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    if args.is_empty() {
        match ctx.collection::<Zset>(key)?.and_then(|zset| zset.get(draw(ctx, zset.len()))) {
            Some(item) => item.member.reply(reply),
            None => reply.null(),
        }
        return Ok(());
    }
    let count = members::random_count(&mut args)?;
    let with_scores = !args.is_empty();
    if with_scores && !(args.flag("WITHSCORES") && args.is_empty()) {
        return Err(Fault::SYNTAX);
    }
    if with_scores && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(Fault::OUT_OF_RANGE);
    }
    let Some(zset) = ctx.collection::<Zset>(key)? else {
        reply.array(0);
        return Ok(());
    };
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 {
        return reply_repeated(ctx, zset, wanted, with_scores, reply);
    }
    if wanted >= zset.len() {
        reply_items(zset.range(0..zset.len(), true), with_scores, reply);
    } else {
        let ranks = distinct_ranks(ctx, zset.len(), wanted);
        let (mut items, mut next) = (zset.iter(), 0);
        let drawn: Vec<Scored<'_>> = ranks
            .into_iter()
            .filter_map(|rank| {
                let skipped = rank - next;
                next = rank + 1;
                items.nth(skipped)
            })
            .collect();
        reply_items(drawn.into_iter(), with_scores, reply);
    }
    Ok(())
}

/// Draws `count` members, each draw as if it were the first.
fn reply_repeated(
    ctx: &ReadCtx<'_>,
    zset: ZsetRef<'_>,
    count: usize,
    with_scores: bool,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    let in_pairs = with_scores && reply.proto().is_resp3();
    reply.array(if with_scores && !in_pairs { count * 2 } else { count });
    for _ in 0..count {
        let Some(item) = zset.get(draw(ctx, zset.len())) else { break };
        reply_item(item, with_scores, reply);
        members::check_size(reply)?;
    }
    Ok(())
}

/// A random rank below `len`, which is not 0.
fn draw(ctx: &ReadCtx<'_>, len: usize) -> usize {
    draw::below(len, &mut || ctx.random())
}

/// `count` different ranks below `len`, which is more, each choice as likely as any other (R. Floyd's algorithm, CACM 30,
/// 1987).
fn distinct_ranks(ctx: &ReadCtx<'_>, len: usize, count: usize) -> BTreeSet<usize> {
    let mut ranks = BTreeSet::new();
    for top in len - count..len {
        let rank = draw(ctx, top + 1);
        if !ranks.insert(rank) {
            ranks.insert(top);
        }
    }
    ranks
}

pub(super) const ZSCAN: Command = Command {
    name: "ZSCAN",
    usage: "key cursor [MATCH pattern] [COUNT count]",
    summary: "Walk through the members and their scores in steps.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow(
        "O(1) for every call. O(N) for a complete walk, including enough calls for the cursor to return back to 0. \
         N is the number of members.",
    ),
    since: "2.8.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZSCAN board 0 MATCH t* -> 1) \"0\" 2) 1) \"two\" 2) \"2\"",
    tips: &["nondeterministic_output"],
    work: Some(members::scan_work),
    run: Run::Read(zscan),
    ..Command::ZSET
};

fn zscan(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let cursor = members::cursor(&mut args)?;
    let Some(zset) = ctx.collection::<Zset>(key)? else {
        members::reply_scan_nothing(reply);
        return Ok(());
    };
    let options = ScanOptions::take(&mut args)?;
    // The cursor that goes in front is known only afterwards.
    let mut found: Vec<u8> = Vec::new();
    let mut elements = ReplyWriter::new(&mut found, reply.proto());
    let mut len = 0;
    let mut visit = |member: StringRef<'_>, score: StringRef<'_>| {
        if options.wants(member) {
            member.reply(&mut elements);
            score.reply(&mut elements);
            len += 2;
        }
    };
    let next = match zset.as_packed() {
        Some(pack) => {
            // As stored: a large integer appears with all its digits.
            let mut stored = pack.iter();
            while let (Some(member), Some(score)) = (stored.next(), stored.next()) {
                visit(member.into(), score.into());
            }
            0
        }
        None => zset.scan(cursor, options.count, |item| {
            visit(item.member, StringRef::Bytes(format_g17(item.score).as_bytes()));
        }),
    };
    reply.array(2);
    reply.bulk(next.to_string().as_bytes());
    reply.array(len);
    reply.raw(&found);
    Ok(())
}
