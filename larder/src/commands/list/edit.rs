//! Changing lists elsewhere than at their ends.

use super::event;
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Memory, Run};
use crate::fault::{Fault, Outcome};
use crate::keyspace::WriteCtx;
use crate::types::List;
use crate::types::list::End;
use larder_resp::ReplyWriter;

pub(super) const LSET: Command = Command {
    name: "LSET",
    usage: "key index element",
    summary: "Replace the element at a place.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["UPDATE"])],
    cost: Cost::Slow(
        "O(N) where N is the number of elements to pass over; O(1) for the first and the last element.",
    ),
    memory: Memory::Grows,
    since: "1.0.0",
    example: "RPUSH queue a b -> (integer) 2\nLSET queue -1 c -> OK\nLRANGE queue 0 -1 -> 1) \"a\" 2) \"c\"",
    run: Run::Write(lset),
    ..Command::LIST
};

fn lset(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let mut list = ctx.open::<List>(key, event("lset"))?.ok_or(Fault::NO_SUCH_KEY)?;
    let (index, element) = (args.int()?, args.bytes()?);
    if !list.set(index, element) {
        return Err(Fault::INDEX_OUT_OF_RANGE);
    }
    list.changed(1);
    reply.ok();
    Ok(())
}

pub(super) const LINSERT: Command = Command {
    name: "LINSERT",
    usage: "key BEFORE|AFTER pivot element",
    summary: "Put an element beside the first one equal to a given one.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["INSERT"])],
    cost: Cost::Slow("O(N) where N is the number of elements to pass over before the pivot."),
    memory: Memory::Grows,
    since: "2.2.0",
    example: "RPUSH queue a c -> (integer) 2\nLINSERT queue BEFORE c b -> (integer) 3\n\
              LINSERT queue AFTER x y -> (integer) -1",
    run: Run::Write(linsert),
    ..Command::LIST
};

fn linsert(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let side = if args.flag("BEFORE") {
        End::Left
    } else if args.flag("AFTER") {
        End::Right
    } else {
        return Err(Fault::SYNTAX);
    };
    let (pivot, element) = (args.bytes()?, args.bytes()?);
    let Some(mut list) = ctx.open::<List>(key, event("linsert"))? else {
        reply.integer(0);
        return Ok(());
    };
    if list.insert_beside(side, pivot, element) {
        list.changed(1);
        reply.integer(list.len() as i64);
    } else {
        reply.integer(-1);
    }
    Ok(())
}

pub(super) const LREM: Command = Command {
    name: "LREM",
    usage: "key count element",
    summary: "Remove elements equal to a given one: the first, the last if the count is negative, all if it is 0.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["DELETE"])],
    cost: Cost::Slow("O(N+M) where N is the length of the list and M is the number of elements removed."),
    since: "1.0.0",
    example: "RPUSH queue a b a a -> (integer) 4\nLREM queue -2 a -> (integer) 2\n\
              LRANGE queue 0 -1 -> 1) \"a\" 2) \"b\"",
    run: Run::Write(lrem),
    ..Command::LIST
};

fn lrem(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, count, element) = (args.key()?, args.int()?, args.bytes()?);
    let mut removed = 0;
    if let Some(mut list) = ctx.open::<List>(key, event("lrem"))? {
        removed = list.remove(count, element);
        list.changed(removed as u64);
    }
    reply.integer(removed as i64);
    Ok(())
}

pub(super) const LTRIM: Command = Command {
    name: "LTRIM",
    usage: "key start stop",
    summary: "Keep only the elements from one place to another, both included.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["DELETE"])],
    cost: Cost::Slow("O(N) where N is the number of elements removed."),
    since: "1.0.0",
    example: "RPUSH queue a b c -> (integer) 3\nLTRIM queue 0 1 -> OK\nLRANGE queue 0 -1 -> 1) \"a\" 2) \"b\"",
    run: Run::Write(ltrim),
    ..Command::LIST
};

fn ltrim(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, start, stop) = (args.key()?, args.int()?, args.int()?);
    if let Some(mut list) = ctx.open::<List>(key, event("ltrim"))? {
        let removed = list.trim(start, stop);
        list.changed(removed as u64);
        list.touch();
    }
    reply.ok();
    Ok(())
}
