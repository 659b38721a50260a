//! Questions about lists.

use crate::args::Args;
use crate::command::{Command, Cost, Keys, Run};
use crate::commands::members;
use crate::fault::{Fault, Outcome};
use crate::keyspace::ReadCtx;
use crate::types::List;
use crate::types::list::End;
use larder_resp::ReplyWriter;
use larder_structures::decimal;

pub(super) const LLEN: Command = Command {
    name: "LLEN",
    usage: "key",
    summary: "Count the elements of a list.",
    keys: &[Keys::at(1).does(crate::command::Access::ReadOnly, &[])],
    cost: Cost::Fast("O(1)"),
    since: "1.0.0",
    example: "RPUSH queue a b -> (integer) 2\nLLEN queue -> (integer) 2",
    run: Run::Read(llen),
    ..Command::LIST
};

fn llen(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(ctx.collection::<List>(args.key()?)?.map_or(0, List::len) as i64);
    Ok(())
}

pub(super) const LINDEX: Command = Command {
    name: "LINDEX",
    usage: "key index",
    summary: "Get an element by its place, counted from 0, or from -1 at the end.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow(
        "O(N) where N is the number of elements to pass over; O(1) for the first and the last element.",
    ),
    since: "1.0.0",
    example: "RPUSH queue a b -> (integer) 2\nLINDEX queue -1 -> \"b\"\nLINDEX queue 2 -> (nil)",
    run: Run::Read(lindex),
    ..Command::LIST
};

fn lindex(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let Some(list) = ctx.collection::<List>(args.key()?)? else {
        reply.null();
        return Ok(());
    };
    match list.get(args.int()?) {
        Some(element) => element.reply(reply),
        None => reply.null(),
    }
    Ok(())
}

pub(super) const LRANGE: Command = Command {
    name: "LRANGE",
    usage: "key start stop",
    summary: "Get the elements from one place to another, both included.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow(
        "O(S+N) where S is the distance of the start from the nearer end, and N is the number of elements returned.",
    ),
    since: "1.0.0",
    example: "RPUSH queue a b c -> (integer) 3\nLRANGE queue 1 -1 -> 1) \"b\" 2) \"c\"",
    work: Some(range_work),
    run: Run::Read(lrange),
    ..Command::LIST
};

fn lrange(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, start, stop) = (args.key()?, args.int()?, args.int()?);
    let Some(list) = ctx.collection::<List>(key)? else {
        reply.array(0);
        return Ok(());
    };
    let elements = list.range(start, stop);
    reply.array(elements.len());
    elements.for_each(|element| element.reply(reply));
    Ok(())
}

/// How many elements LRANGE will return.
fn range_work(ctx: &ReadCtx<'_>, args: Args<'_>) -> u64 {
    let bound = |at: usize| args.peek_at(at).and_then(decimal::parse_canonical_i64);
    let (Some(start), Some(stop)) = (bound(1), bound(2)) else { return 0 };
    let len = members::whole_work(ctx, args) as i64;
    let from_front = |index: i64| if index < 0 { len.saturating_add(index) } else { index };
    let (start, stop) = (from_front(start).max(0), from_front(stop).min(len - 1));
    u64::try_from(stop.saturating_sub(start)).unwrap_or(0)
}

pub(super) const LPOS: Command = Command {
    name: "LPOS",
    usage: "key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
    summary: "Find the places of elements equal to a given one.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow(
        "O(N) where N is the number of elements in the list, or fewer where matches are near the end that the \
         search begins at, or MAXLEN is given.",
    ),
    since: "6.0.6",
    example: "RPUSH queue a b a c -> (integer) 4\nLPOS queue a -> (integer) 0\n\
              LPOS queue a RANK -1 -> (integer) 2\nLPOS queue a COUNT 0 -> 1) (integer) 0 2) (integer) 2",
    work: Some(members::whole_work),
    run: Run::Read(lpos),
    ..Command::LIST
};

const ZERO_RANK: Fault = Fault::row(
    "ERR",
    "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the \
     end of the list",
);

fn lpos(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, wanted) = (args.key()?, args.bytes()?);
    let (mut rank, mut count, mut max_len) = (1i64, None, 0i64);
    while !args.is_empty() {
        if args.len() < 2 {
            return Err(Fault::SYNTAX);
        }
        if args.flag("RANK") {
            rank = args.int()?;
            if rank == 0 {
                return Err(ZERO_RANK);
            }
        } else if args.flag("COUNT") {
            count = Some(args.int_in(0..=i64::MAX, Fault::row("ERR", "COUNT can't be negative"))?);
        } else if args.flag("MAXLEN") {
            max_len = args.int_in(0..=i64::MAX, Fault::row("ERR", "MAXLEN can't be negative"))?;
        } else {
            return Err(Fault::SYNTAX);
        }
    }
    let places = ctx.collection::<List>(key)?.map(|list| find(list, wanted, rank, max_len));
    match count {
        None => match places.and_then(|mut places| places.next()) {
            Some(place) => reply.integer(place as i64),
            None => reply.null(),
        },
        Some(count) => {
            // To Redis, the lowest rank is one that every match exceeds by more than any COUNT.
            let is_endless = count == 0 || rank == i64::MIN;
            let limit = if is_endless { usize::MAX } else { usize::try_from(count).unwrap_or(usize::MAX) };
            let header = reply.deferred_array();
            let mut found = 0;
            for place in places.into_iter().flatten().take(limit) {
                reply.integer(place as i64);
                found += 1;
            }
            reply.finish_array(header, found);
        }
    }
    Ok(())
}

/// The places of elements equal to `wanted`, from the match number `rank` on; negative: from the end. Only `max_len`
/// elements are looked at, if it is not 0.
fn find<'a>(list: &'a List, wanted: &'a [u8], rank: i64, max_len: i64) -> impl Iterator<Item = usize> + 'a {
    let end = if rank > 0 { End::Left } else { End::Right };
    let looked_at = if max_len == 0 { usize::MAX } else { usize::try_from(max_len).unwrap_or(usize::MAX) };
    // The lowest rank has no magnitude.
    let spared = rank.checked_abs().map_or(0, |rank| usize::try_from(rank - 1).unwrap_or(usize::MAX));
    let number = decimal::parse_canonical_i64(wanted);
    list.iter_from(end)
        .take(looked_at)
        .enumerate()
        .filter(move |(_, element)| element.is(wanted, number))
        .map(move |(at, _)| if end == End::Left { at } else { list.len() - 1 - at })
        .skip(spared)
}
