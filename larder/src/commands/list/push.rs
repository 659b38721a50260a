//! LPUSH, RPUSH and their kin.

use super::{new_list, push_event};
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Memory, Run};
use crate::fault::Outcome;
use crate::keyspace::{Guard, WriteCtx};
use crate::types::List;
use crate::types::list::End;
use larder_resp::ReplyWriter;

/// What the declarations of pushes have in common.
const PUSH: Command = Command {
    usage: "key element [element ...]",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["INSERT"])],
    cost: Cost::Fast("O(1) for each element added, so O(N) to add N elements."),
    memory: Memory::Grows,
    ..Command::LIST
};

pub(super) const LPUSH: Command = Command {
    name: "LPUSH",
    summary: "Put elements in front of a list, one after the other; make the list if there is none.",
    since: "1.0.0",
    example: "LPUSH queue a b -> (integer) 2\nLRANGE queue 0 -1 -> 1) \"b\" 2) \"a\"",
    run: Run::Write(|ctx, args, reply| push(ctx, args, reply, End::Left)),
    ..PUSH
};

pub(super) const RPUSH: Command = Command {
    name: "RPUSH",
    summary: "Append elements to a list; make the list if there is none.",
    since: "1.0.0",
    example: "RPUSH queue a b -> (integer) 2\nLRANGE queue 0 -1 -> 1) \"a\" 2) \"b\"",
    run: Run::Write(|ctx, args, reply| push(ctx, args, reply, End::Right)),
    ..PUSH
};

pub(super) const LPUSHX: Command = Command {
    name: "LPUSHX",
    summary: "Put elements in front of a list that exists.",
    since: "2.2.0",
    example: "LPUSHX queue a -> (integer) 0\nLPUSH queue a -> (integer) 1\nLPUSHX queue b -> (integer) 2",
    run: Run::Write(|ctx, args, reply| push_if_present(ctx, args, reply, End::Left)),
    ..PUSH
};

pub(super) const RPUSHX: Command = Command {
    name: "RPUSHX",
    summary: "Append elements to a list that exists.",
    since: "2.2.0",
    example: "RPUSHX queue a -> (integer) 0\nRPUSH queue a -> (integer) 1\nRPUSHX queue b -> (integer) 2",
    run: Run::Write(|ctx, args, reply| push_if_present(ctx, args, reply, End::Right)),
    ..PUSH
};

fn push(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>, end: End) -> Outcome {
    let key = args.key()?;
    let config = ctx.config();
    let mut list = ctx.open_or(key, push_event(end), || new_list(config))?;
    push_all(&mut list, args, reply, end);
    Ok(())
}

fn push_if_present(
    ctx: &mut WriteCtx<'_, '_>,
    mut args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    end: End,
) -> Outcome {
    match ctx.open::<List>(args.key()?, push_event(end))? {
        Some(mut list) => push_all(&mut list, args, reply, end),
        None => reply.integer(0),
    }
    Ok(())
}

fn push_all(opened: &mut Guard<'_, List>, args: Args<'_>, reply: &mut ReplyWriter<'_>, end: End) {
    let list: &mut List = opened;
    args.rest().for_each(|element| list.push(end, element));
    reply.integer(list.len() as i64);
    opened.changed(args.len() as u64);
}
