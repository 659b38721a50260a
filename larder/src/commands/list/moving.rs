//! LMOVE and RPOPLPUSH.

use super::{end, new_list, pop_event, push_event};
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Memory, Run};
use crate::fault::Outcome;
use crate::keyspace::WriteCtx;
use crate::types::List;
use crate::types::list::End;
use larder_resp::ReplyWriter;

/// What the declarations of both have in common.
const MOVE: Command = Command {
    keys: &[
        Keys::at(1).does(Access::ReadWrite, &["ACCESS", "DELETE"]),
        Keys::at(2).does(Access::ReadWrite, &["INSERT"]),
    ],
    cost: Cost::Slow("O(1)"),
    memory: Memory::Grows,
    ..Command::LIST
};

pub(super) const LMOVE: Command = Command {
    name: "LMOVE",
    usage: "source destination LEFT|RIGHT LEFT|RIGHT",
    summary: "Move an element from an end of one list to an end of another or the same.",
    since: "6.2.0",
    example: "RPUSH todo a b -> (integer) 2\nLMOVE todo done LEFT RIGHT -> \"a\"\nLRANGE done 0 -1 -> 1) \"a\"",
    run: Run::Write(lmove),
    ..MOVE
};

fn lmove(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (source, destination) = (args.key()?, args.key()?);
    let (from, to) = (end(&mut args)?, end(&mut args)?);
    move_element(ctx, source, destination, from, to, reply)
}

pub(super) const RPOPLPUSH: Command = Command {
    name: "RPOPLPUSH",
    usage: "source destination",
    summary: "Move the last element of a list to the front of another or the same.",
    since: "1.2.0",
    example: "RPUSH todo a b -> (integer) 2\nRPOPLPUSH todo done -> \"b\"",
    run: Run::Write(rpoplpush),
    ..MOVE
};

fn rpoplpush(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    move_element(ctx, args.key()?, args.key()?, End::Right, End::Left, reply)
}

/// Moves an element. The push is told of before the pop, as Redis does, and both count as one change.
fn move_element(
    ctx: &mut WriteCtx<'_, '_>,
    source: &[u8],
    destination: &[u8],
    from: End,
    to: End,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    let Some(element) = ctx.collection::<List>(source)?.and_then(|list| list.peek(from)) else {
        reply.null();
        return Ok(());
    };
    element.reply(reply);
    let element = element.to_vec();
    let config = ctx.config();
    if source == destination {
        let mut list = ctx.open_or(source, push_event(to), || new_list(config))?;
        list.pop(from);
        list.push(to, &element);
        list.changed(1);
        drop(list);
        ctx.notify(source, pop_event(from));
        return Ok(());
    }
    let mut list = ctx.open_or(destination, push_event(to), || new_list(config))?;
    list.push(to, &element);
    list.touch();
    drop(list);
    if let Some(mut list) = ctx.open::<List>(source, pop_event(from))? {
        list.pop(from);
        list.changed(1);
    }
    Ok(())
}
