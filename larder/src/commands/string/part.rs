//! Parts of strings.

use super::event;
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Memory, Run};
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Expiry, ReadCtx, WriteCtx};
use crate::types::string::Digits;
use larder_resp::ReplyWriter;

pub(super) const APPEND: Command = Command {
    name: "APPEND",
    usage: "key value",
    summary: "Append to the string under a key, which is made if it is absent.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["INSERT"])],
    cost: Cost::Fast("O(1) in the long run: room for growth is doubled each time"),
    memory: Memory::Grows,
    since: "2.0.0",
    example: "APPEND log one -> (integer) 3\nAPPEND log two -> (integer) 6\nGET log -> \"onetwo\"",
    run: Run::Write(append),
    ..Command::STRING
};

fn append(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, value) = (args.key()?, args.bytes()?);
    let Some(len) = ctx.string(key)?.map(|string| string.len()) else {
        ctx.set_string(key, value, Expiry::Never, event("append"));
        reply.integer(value.len() as i64);
        return Ok(());
    };
    check_length(ctx, len, value.len())?;
    let len = ctx.edit_string(key, event("append"), |string| {
        string.extend_from_slice(value);
        Ok(string.len())
    })?;
    reply.integer(len as i64);
    Ok(())
}

/// Refuses a string of `offset` and `more` bytes if that is longer than a string may be.
fn check_length(ctx: &WriteCtx<'_, '_>, offset: usize, more: usize) -> Outcome {
    match offset.checked_add(more) {
        Some(len) if len <= ctx.config().max_string() => Ok(()),
        _ => Err(Fault::STRING_TOO_LONG),
    }
}

pub(super) const STRLEN: Command = Command {
    name: "STRLEN",
    usage: "key",
    summary: "Get the length in bytes of the string under a key, 0 for an absent key.",
    keys: &[Keys::at(1).does(Access::ReadOnly, &[])],
    since: "2.2.0",
    example: "SET greeting hello -> OK\nSTRLEN greeting -> (integer) 5",
    run: Run::Read(strlen),
    ..Command::STRING
};

fn strlen(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(ctx.string(args.key()?)?.map_or(0, |string| string.len()) as i64);
    Ok(())
}

pub(super) const SETRANGE: Command = Command {
    name: "SETRANGE",
    usage: "key offset value",
    summary: "Overwrite a part of the string under a key, which is filled up with zero bytes if it is too short.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["UPDATE"])],
    cost: Cost::Slow("O(M) where M is the length of the value, and of the zero bytes"),
    memory: Memory::Grows,
    since: "2.2.0",
    example: "SET greeting \"hello world\" -> OK\nSETRANGE greeting 6 there -> (integer) 11\n\
              GET greeting -> \"hello there\"",
    run: Run::Write(setrange),
    ..Command::STRING
};

fn setrange(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, offset, value) = (args.key()?, args.int()?, args.bytes()?);
    let offset = usize::try_from(offset).map_err(|_| Fault::row("ERR", "offset is out of range"))?;
    let len = ctx.string(key)?.map_or(0, |string| string.len());
    if value.is_empty() {
        reply.integer(len as i64);
        return Ok(());
    }
    check_length(ctx, offset, value.len())?;
    let end = offset + value.len();
    let len = ctx.edit_string(key, event("setrange"), |string| {
        if string.len() < end {
            string.resize(end, 0);
        }
        string[offset..end].copy_from_slice(value);
        Ok(string.len())
    })?;
    reply.integer(len as i64);
    Ok(())
}

pub(super) const GETRANGE: Command = Command {
    name: "GETRANGE",
    usage: "key start end",
    summary: "Get a part of the string under a key; both ends count, and negative ones count from the end.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow("O(N) where N is the length of the part"),
    since: "2.4.0",
    example: "SET greeting \"hello world\" -> OK\nGETRANGE greeting -5 -1 -> \"world\"",
    run: Run::Read(getrange),
    ..Command::STRING
};

pub(super) const SUBSTR: Command = Command {
    name: "SUBSTR",
    usage: "key start end",
    summary: "Get a part of the string under a key; the old name of GETRANGE.",
    since: "1.0.0",
    example: "SET greeting \"hello world\" -> OK\nSUBSTR greeting 0 4 -> \"hello\"",
    ..GETRANGE
};

fn getrange(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, start, end) = (args.key()?, args.int()?, args.int()?);
    let mut digits = Digits::new();
    let string = ctx.string(key)?.map_or(&[][..], |string| string.bytes(&mut digits));
    reply.bulk(within(string, start, end));
    Ok(())
}

/// The part of `string` from `start` to `end`, both included, negative ones counting from its end.
fn within(string: &[u8], start: i64, end: i64) -> &[u8] {
    let len = string.len() as i64;
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let from_start = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end {
        return &[];
    }
    // Both are within the string: 0 <= start <= end < len.
    &string[start as usize..=end as usize]
}
