//! Writing down what a queue has acknowledged, for as long as the queue is one's own.

use super::{BASE, changed, count, meta};
use crate::args::Args;
use crate::command::{Command, Run};
use crate::effects::{Class, Event};
use crate::fault::{Fault, Outcome};
use crate::keyspace::WriteCtx;
use crate::types::Hash;
use crate::types::string::Digits;
use larder_resp::ReplyWriter;

/// The field that has the last step.
const STEP: &[u8] = b"n";
const DELETED: Event = Event::new(Class::Hash, "hdel");

pub(super) const NOTE: Command = Command {
    name: "NOTE",
    usage: "lease fence log token number step count [field value ...] [field ...]",
    summary: "Set some fields of a hash and delete others, if the lease is that of the token, the fence still at the \
              number, and no later step (text that goes up) has been made.",
    keys: &[changed(4)],
    example: "CACHE NOTE lease fence log me 1 001 0 -> (integer) 0\nSET lease me -> OK\nSET fence 1 -> OK\n\
              CACHE NOTE lease fence log me 1 002 1 field value gone -> (integer) 1\n\
              CACHE NOTE lease fence log me 1 001 1 field late -> (integer) 0",
    run: Run::Write(note),
    ..BASE
};

fn note(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (lease, fence, log) = (args.key()?, args.key()?, args.key()?);
    let (token, number, step, pairs) = (args.bytes()?, args.bytes()?, args.bytes()?, count(&mut args)?);
    if pairs > args.len() as u64 / 2 {
        return Err(Fault::row("ERR", "there are fewer fields and values than the count says"));
    }
    if !holds(ctx, lease, token)? || !holds(ctx, fence, number)? || !is_next(ctx, log, step)? {
        reply.integer(0);
        return Ok(());
    }
    let mut fields = vec![(STEP, step.to_vec())];
    for _ in 0..pairs {
        fields.push((args.bytes()?, args.bytes()?.to_vec()));
    }
    meta::put(ctx, log, &fields)?;
    delete_fields(ctx, log, args)?;
    reply.integer(1);
    Ok(())
}

/// Whether this string is under a key.
fn holds(ctx: &mut WriteCtx<'_, '_>, key: &[u8], wanted: &[u8]) -> Result<bool, Fault> {
    Ok(ctx.string(key)?.is_some_and(|string| string.bytes(&mut Digits::new()) == wanted))
}

/// Whether a step comes after the last one that was made. One that its connection had held back is late: it would undo what
/// came after it.
fn is_next(ctx: &mut WriteCtx<'_, '_>, log: &[u8], step: &[u8]) -> Result<bool, Fault> {
    let Some(hash) = ctx.collection::<Hash>(log)? else { return Ok(true) };
    Ok(hash.get(STEP).is_none_or(|last| last.bytes(&mut Digits::new()) < step))
}

fn delete_fields(ctx: &mut WriteCtx<'_, '_>, log: &[u8], fields: Args<'_>) -> Outcome {
    let Some(mut hash) = ctx.open::<Hash>(log, DELETED)? else { return Ok(()) };
    let removed: Vec<&[u8]> = fields.rest().filter(|field| hash.remove(field)).collect();
    hash.changed(removed.len() as u64);
    drop(hash);
    if !removed.is_empty() {
        let mut words: Vec<&[u8]> = vec![b"HDEL", log];
        words.extend(removed);
        ctx.log_instead(&words);
    }
    Ok(())
}
