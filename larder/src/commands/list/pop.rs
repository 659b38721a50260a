//! LPOP, RPOP and LMPOP.

use super::{end, pop_event};
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Run, Trait};
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Guard, WriteCtx};
use crate::types::List;
use crate::types::list::End;
use larder_resp::ReplyWriter;

/// What the declarations of pops have in common.
const POP: Command = Command {
    usage: "key [count]",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["ACCESS", "DELETE"])],
    cost: Cost::Fast("O(N) where N is the number of elements returned"),
    since: "1.0.0",
    ..Command::LIST
};

pub(super) const LPOP: Command = Command {
    name: "LPOP",
    summary: "Remove and return the first element or elements of a list.",
    example: "RPUSH queue a b c -> (integer) 3\nLPOP queue -> \"a\"\nLPOP queue 2 -> 1) \"b\" 2) \"c\"",
    run: Run::Write(|ctx, args, reply| pop_one_key(ctx, args, reply, "lpop", End::Left)),
    ..POP
};

pub(super) const RPOP: Command = Command {
    name: "RPOP",
    summary: "Remove and return the last element or elements of a list.",
    example: "RPUSH queue a b c -> (integer) 3\nRPOP queue -> \"c\"\nRPOP queue 2 -> 1) \"b\" 2) \"a\"",
    run: Run::Write(|ctx, args, reply| pop_one_key(ctx, args, reply, "rpop", End::Right)),
    ..POP
};

fn pop_one_key(
    ctx: &mut WriteCtx<'_, '_>,
    mut args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    name: &str,
    end: End,
) -> Outcome {
    let key = args.key()?;
    if args.len() > 1 {
        return Err(Fault::arity(name));
    }
    if args.is_empty() {
        let Some(mut list) = ctx.open::<List>(key, pop_event(end))? else {
            reply.null();
            return Ok(());
        };
        match list.pop(end) {
            Some(element) => reply.bulk(&element),
            None => reply.null(),
        }
        list.changed(1);
        return Ok(());
    }
    let count = args.int_in(0..=i64::MAX, Fault::NEGATIVE)?;
    match ctx.open::<List>(key, pop_event(end))? {
        Some(mut list) => pop_many(&mut list, end, count, reply),
        None => reply.null_array(),
    }
    Ok(())
}

/// Replies with up to `count` elements, the outermost first, and removes them.
fn pop_many(list: &mut Guard<'_, List>, end: End, count: i64, reply: &mut ReplyWriter<'_>) {
    let count = count.min(list.len() as i64);
    reply.array(count as usize);
    list.iter_from(end).take(count as usize).for_each(|element| element.reply(reply));
    // Past the last one, the range that is kept is empty.
    match end {
        End::Left => list.trim(count, -1),
        End::Right => list.trim(0, -count - 1),
    };
    list.changed(count as u64);
}

pub(super) const LMPOP: Command = Command {
    name: "LMPOP",
    usage: "numkeys key [key ...] LEFT|RIGHT [COUNT count]",
    summary: "Remove and return elements from an end of the first list that has any.",
    keys: &[Keys::count(1).does(Access::ReadWrite, &["ACCESS", "DELETE"])],
    cost: Cost::Slow("O(N+M) where N is the number of keys given and M is the number of elements returned."),
    since: "7.0.0",
    example: "RPUSH queue a b -> (integer) 2\nLMPOP 2 none queue LEFT COUNT 5 -> 1) \"queue\" 2) 1) \"a\" 2) \"b\"",
    traits: &[Trait::MovableKeys],
    run: Run::Write(lmpop),
    ..Command::LIST
};

fn lmpop(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let names = args.numbered_keys()?;
    let end = end(&mut args)?;
    let count = i64::try_from(args.count_or_one()?).unwrap_or(i64::MAX);
    for key in names {
        let Some(mut list) = ctx.open::<List>(key, pop_event(end))? else { continue };
        let count = count.min(list.len() as i64);
        reply.array(2);
        reply.bulk(key);
        pop_many(&mut list, end, count, reply);
        drop(list);
        let command: &[u8] = if end == End::Left { b"LPOP" } else { b"RPOP" };
        ctx.log_instead(&[command, key, count.to_string().as_bytes()]);
        return Ok(());
    }
    reply.null_array();
    Ok(())
}
