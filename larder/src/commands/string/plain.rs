//! Strings as a whole: reading and replacing them.

use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Memory, Run};
use crate::effects::Event;
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Expiry, ReadCtx, WriteCtx};
use larder_resp::ReplyWriter;

pub(super) const GET: Command = Command {
    name: "GET",
    usage: "key",
    summary: "Get the string under a key.",
    keys: &[Keys::at(1)],
    example: "SET greeting hello -> OK\nGET greeting -> \"hello\"\nGET nothing -> (nil)",
    run: Run::Read(get),
    ..Command::STRING
};

fn get(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    match ctx.find(args.key()?) {
        Some(found) => ctx.reply_string(&found, reply)?,
        None => reply.null(),
    }
    Ok(())
}

/// Replies the string under `key` before it is changed. Returns whether there is one.
pub(super) fn reply_old(
    ctx: &mut WriteCtx<'_, '_>,
    key: &[u8],
    reply: &mut ReplyWriter<'_>,
) -> Result<bool, Fault> {
    let old = ctx.string(key)?;
    match old {
        Some(string) => string.reply(reply),
        None => reply.null(),
    }
    Ok(old.is_some())
}

pub(super) const SETNX: Command = Command {
    name: "SETNX",
    usage: "key value",
    summary: "Store a string unless the key exists.",
    keys: &[Keys::at(1).does(Access::Overwrite, &["INSERT"])],
    memory: Memory::Grows,
    example: "SETNX lock first -> (integer) 1\nSETNX lock second -> (integer) 0\nGET lock -> \"first\"",
    run: Run::Write(setnx),
    ..Command::STRING
};

fn setnx(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let is_new = !ctx.exists(key);
    if is_new {
        ctx.set_string(key, args.bytes()?, Expiry::Never, Event::SET);
    }
    reply.integer(i64::from(is_new));
    Ok(())
}

pub(super) const GETSET: Command = Command {
    name: "GETSET",
    usage: "key value",
    summary: "Store a string and get the one it replaces. SET with GET does the same.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["ACCESS", "UPDATE"])],
    memory: Memory::Grows,
    example: "GETSET light green -> (nil)\nGETSET light red -> \"green\"",
    run: Run::Write(getset),
    ..Command::STRING
};

fn getset(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, value) = (args.key()?, args.bytes()?);
    reply_old(ctx, key, reply)?;
    ctx.set_string(key, value, Expiry::Never, Event::SET);
    ctx.log_instead(&[b"SET", key, value]);
    Ok(())
}

pub(super) const GETDEL: Command = Command {
    name: "GETDEL",
    usage: "key",
    summary: "Get the string under a key and delete the key.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["ACCESS", "DELETE"])],
    since: "6.2.0",
    example: "SET token abc -> OK\nGETDEL token -> \"abc\"\nGETDEL token -> (nil)",
    run: Run::Write(getdel),
    ..Command::STRING
};

fn getdel(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    if reply_old(ctx, key, reply)? {
        ctx.delete(key, Event::DEL);
        ctx.log_instead(&[b"DEL", key]);
    }
    Ok(())
}

pub(super) const MGET: Command = Command {
    name: "MGET",
    usage: "key [key ...]",
    summary: "Get the strings under several keys; nil for those that are absent or no strings.",
    keys: &[Keys::range(1, -1, 1)],
    cost: Cost::Fast("O(N) where N is the number of keys"),
    example: "MSET a 1 b 2 -> OK\nMGET a b c -> 1) \"1\" 2) \"2\" 3) (nil)",
    tips: &["request_policy:multi_shard"],
    run: Run::Read(mget),
    ..Command::STRING
};

fn mget(ctx: &ReadCtx<'_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.array(args.len());
    for key in args.rest() {
        match ctx.find(key).map(|found| found.view.string()) {
            Some(Ok(string)) => string.reply(reply),
            Some(Err(_)) | None => reply.null(),
        }
    }
    Ok(())
}

pub(super) const MSET: Command = Command {
    name: "MSET",
    usage: "key value [key value ...]",
    summary: "Store several strings at once.",
    keys: &[Keys::range(1, -1, 2).does(Access::Overwrite, &["UPDATE"])],
    cost: Cost::Slow("O(N) where N is the number of keys"),
    memory: Memory::Grows,
    since: "1.0.1",
    example: "MSET a 1 b 2 -> OK\nGET b -> \"2\"",
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    run: Run::Write(mset),
    ..Command::STRING
};

fn mset(ctx: &mut WriteCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if !args.len().is_multiple_of(2) {
        return Err(Fault::arity("mset"));
    }
    set_pairs(ctx, args)?;
    reply.ok();
    Ok(())
}

fn set_pairs(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>) -> Outcome {
    while !args.is_empty() {
        let (key, value) = (args.key()?, args.bytes()?);
        ctx.set_string(key, value, Expiry::Never, Event::SET);
    }
    Ok(())
}

pub(super) const MSETNX: Command = Command {
    name: "MSETNX",
    usage: "key value [key value ...]",
    summary: "Store several strings at once, or none of them if one of the keys exists.",
    keys: &[Keys::range(1, -1, 2).does(Access::Overwrite, &["INSERT"])],
    cost: Cost::Slow("O(N) where N is the number of keys"),
    memory: Memory::Grows,
    since: "1.0.1",
    example: "MSETNX a 1 b 2 -> (integer) 1\nMSETNX b 3 c 4 -> (integer) 0\nEXISTS c -> (integer) 0",
    tips: &["request_policy:multi_shard", "response_policy:agg_min"],
    run: Run::Write(msetnx),
    ..Command::STRING
};

fn msetnx(ctx: &mut WriteCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if !args.len().is_multiple_of(2) {
        return Err(Fault::arity("msetnx"));
    }
    let is_free = args.rest().step_by(2).all(|key| !ctx.exists(key));
    if is_free {
        set_pairs(ctx, args)?;
    }
    reply.integer(i64::from(is_free));
    Ok(())
}
