//! The append-only file: rewriting it, and waiting for it.

use crate::args::Args;
use crate::command::{Command, Run, Trait};
use crate::engine::{ServerCtx, Step};
use crate::fault::{Fault, Outcome};
use crate::session::{Parking, SyncWait};
use larder_resp::ReplyWriter;
use std::sync::atomic::Ordering;

pub(super) const BGREWRITEAOF: Command = Command {
    name: "BGREWRITEAOF",
    summary: "Write the append-only file anew, as short as the data allows, in the background.",
    traits: &[Trait::Admin, Trait::NoScript, Trait::NoAsyncLoading],
    example: "BGREWRITEAOF -> (error) ERR there is no append-only file: appendonly is no",
    run: Run::Server(bgrewriteaof),
    ..Command::SERVER
};

fn bgrewriteaof(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let engine = ctx.engine;
    if !engine.aof.facts().is_on.load(Ordering::Acquire) {
        return Err(Fault::err("there is no append-only file: appendonly is no"));
    }
    let is_later = engine.saving().is_some() || ctx.hold.is_some();
    if engine.want_rewrite() {
        return Err(Fault::err("Background append only file rewriting already in progress"));
    }
    reply.simple(if is_later {
        "Background append only file rewriting scheduled"
    } else {
        "Background append only file rewriting started"
    });
    Ok(())
}

pub(super) const WAITAOF: Command = Command {
    name: "WAITAOF",
    usage: "numlocal numreplicas timeout",
    summary: "Wait until what was written so far is synced to the append-only file; here, and how many replicas.",
    since: "7.2.0",
    arity: 4,
    traits: &[Trait::NoScript],
    categories: &["@connection"],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    example: "WAITAOF 0 0 100 -> 1) (integer) 0 2) (integer) 0",
    run: Run::Server(waitaof),
    ..Command::KEYS
};

fn waitaof(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let range = Fault::err("value is out of range, value must between 0 and 1");
    let local = args.int_in(0..=1, range)?;
    args.int_in(0..=i64::MAX, Fault::NEGATIVE)?;
    let timeout_ms =
        args.int_in(i64::MIN..=i64::MAX, Fault::err("timeout is not an integer or out of range"))?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| Fault::err("timeout is negative"))?;
    let engine = ctx.engine;
    let is_on = engine.aof.facts().is_on.load(Ordering::Acquire);
    if local > 0 && !is_on {
        let why = "WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
        return Err(Fault::err(why));
    }
    let now_us = engine.clock.elapsed_us();
    let wait = ctx.session.sync_wait.take().unwrap_or_else(|| SyncWait {
        position: engine.log.end(),
        until_us: if timeout_ms == 0 { u64::MAX } else { now_us.saturating_add(timeout_ms * 1000) },
    });
    let is_synced = || is_on && engine.log.durable.synced() >= wait.position;
    // A transaction holds its shards, and waits for nobody.
    if local > 0 && ctx.hold.is_none() && now_us < wait.until_us && !is_synced() {
        engine.stop_waiting(ctx.session);
        let waker = ctx.client().waker().clone();
        ctx.session.parked = Some(Parking::Sync(engine.await_sync(waker)));
        ctx.client().is_blocked.store(true, Ordering::Relaxed);
        engine.hurry_sync();
        if !is_synced() {
            ctx.session.sync_wait = Some(wait);
            ctx.step = Step::Parked;
            return Ok(());
        }
    }
    reply.array(2);
    reply.integer(i64::from(is_synced()));
    // There are no replicas, and there will be none however long one waits.
    reply.integer(0);
    Ok(())
}
