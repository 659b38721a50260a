//! Whether keys are there, what they are, and deleting them.

use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Run};
use crate::effects::{Cause, Event};
use crate::fault::Outcome;
use crate::keyspace::{ReadCtx, WriteCtx};
use larder_resp::ReplyWriter;

pub(super) const DEL: Command = Command {
    name: "DEL",
    usage: "key [key ...]",
    summary: "Delete keys; get how many there were.",
    keys: &[Keys::range(1, -1, 1).does(Access::Remove, &["DELETE"])],
    cost: Cost::Slow("O(N) where N is the number of keys; large values are freed in the background"),
    example: "MSET a 1 b 2 -> OK\nDEL a b c -> (integer) 2",
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    run: Run::Write(|ctx, args, reply| delete_all(ctx, args, reply, Cause::Deleted)),
    ..Command::KEYS
};

pub(super) const UNLINK: Command = Command {
    name: "UNLINK",
    summary: "Delete keys; get how many there were. Large values are freed in the background in any case.",
    cost: Cost::Fast("O(N) where N is the number of keys; large values are freed in the background"),
    since: "4.0.0",
    example: "MSET a 1 b 2 -> OK\nUNLINK a b c -> (integer) 2",
    run: Run::Write(|ctx, args, reply| delete_all(ctx, args, reply, Cause::Lazily)),
    ..DEL
};

fn delete_all(
    ctx: &mut WriteCtx<'_, '_>,
    args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    cause: Cause,
) -> Outcome {
    let deleted = args.rest().filter(|key| ctx.delete_for(key, Event::DEL, cause)).count();
    reply.integer(deleted as i64);
    Ok(())
}

pub(super) const EXISTS: Command = Command {
    name: "EXISTS",
    usage: "key [key ...]",
    summary: "Get how many of the keys exist; a key given twice counts twice.",
    keys: &[Keys::range(1, -1, 1).does(Access::ReadOnly, &[])],
    cost: Cost::Fast("O(N) where N is the number of keys"),
    example: "SET a 1 -> OK\nEXISTS a a b -> (integer) 2",
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    run: Run::Read(exists),
    ..Command::KEYS
};

fn exists(ctx: &ReadCtx<'_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(args.rest().filter(|key| ctx.find_untouched(key).is_some()).count() as i64);
    Ok(())
}

pub(super) const TYPE: Command = Command {
    name: "TYPE",
    usage: "key",
    summary: "Get the type of the value under a key, or none.",
    keys: &[Keys::at(1).does(Access::ReadOnly, &[])],
    cost: Cost::Fast("O(1)"),
    example: "SET a 1 -> OK\nTYPE a -> string\nTYPE b -> none",
    run: Run::Read(type_),
    ..Command::KEYS
};

fn type_(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.simple(ctx.find_untouched(args.key()?).map_or("none", |found| found.kind().name()));
    Ok(())
}

pub(super) const TOUCH: Command = Command {
    name: "TOUCH",
    usage: "key [key ...]",
    summary: "Mark keys as just used; get how many of them exist.",
    since: "3.2.1",
    example: "SET a 1 -> OK\nTOUCH a b -> (integer) 1",
    run: Run::Read(touch),
    ..EXISTS
};

fn touch(ctx: &ReadCtx<'_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(args.rest().filter(|key| ctx.find(key).is_some()).count() as i64);
    Ok(())
}
