//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use crate::args::Args;
use crate::command::{Access, Command, Cost, Group, Keys, Run, Trait};
use crate::engine::ServerCtx;
use crate::fault::{Fault, Outcome};
use crate::session::Multi;
use larder_resp::ReplyWriter;

pub(crate) const FAMILY: &[Command] = &[MULTI, EXEC, DISCARD, WATCH, UNWATCH];

const TRANSACTION: Command = Command {
    group: Group::Transactions,
    categories: &["@transaction"],
    cost: Cost::Fast("O(1)"),
    since: "1.2.0",
    ..Command::BASE
};

const MULTI: Command = Command {
    name: "MULTI",
    summary: "Begin a transaction: the commands that follow are queued until EXEC.",
    example: "MULTI -> OK",
    traits: &[Trait::NoScript, Trait::Loading, Trait::Stale, Trait::AllowBusy, Trait::RunsInMulti],
    run: Run::Server(multi),
    ..TRANSACTION
};

fn multi(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if ctx.session.multi.is_some() {
        return Err(Fault::err("MULTI calls can not be nested"));
    }
    ctx.session.multi = Some(Multi::default());
    ctx.session.publish_multi();
    reply.ok();
    Ok(())
}

const EXEC: Command = Command {
    name: "EXEC",
    summary: "Run the commands queued since MULTI, as one.",
    cost: Cost::Slow("Depends on the commands in the transaction"),
    traits: &[Trait::NoScript, Trait::Loading, Trait::Stale, Trait::SkipSlowlog, Trait::RunsInMulti],
    example: "MULTI -> OK\nSET stock 7 -> QUEUED\nINCR stock -> QUEUED\nEXEC -> 1) OK 2) (integer) 8",
    run: Run::Server(exec),
    ..TRANSACTION
};

fn exec(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    ctx.step = ctx.engine.run_transaction(ctx.lane, ctx.session, reply)?;
    Ok(())
}

const DISCARD: Command = Command {
    name: "DISCARD",
    summary: "Forget the commands queued since MULTI.",
    cost: Cost::Fast("O(N), when N is the number of queued commands"),
    since: "2.0.0",
    example: "MULTI -> OK\nDISCARD -> OK",
    traits: &[Trait::NoScript, Trait::Loading, Trait::Stale, Trait::AllowBusy, Trait::RunsInMulti],
    run: Run::Server(discard),
    ..TRANSACTION
};

fn discard(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if ctx.session.multi.take().is_none() {
        return Err(Fault::err("DISCARD without MULTI"));
    }
    ctx.session.publish_multi();
    ctx.engine.forget_watches(ctx.session);
    reply.ok();
    Ok(())
}

const WATCH: Command = Command {
    name: "WATCH",
    usage: "key [key ...]",
    summary: "Let the next EXEC do nothing if one of these keys was changed before it.",
    keys: &[Keys::range(1, -1, 1).does(Access::ReadOnly, &[])],
    cost: Cost::Fast("O(1) for every key."),
    since: "2.2.0",
    example: "WATCH stock -> OK",
    traits: &[Trait::NoScript, Trait::Loading, Trait::Stale, Trait::AllowBusy, Trait::RunsInMulti],
    run: Run::Server(watch),
    ..TRANSACTION
};

fn watch(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if ctx.session.multi.is_some() {
        return Err(Fault::err("WATCH inside MULTI is not allowed"));
    }
    for key in args.rest() {
        ctx.engine.watch(ctx.lane, ctx.session, key);
    }
    reply.ok();
    Ok(())
}

const UNWATCH: Command = Command {
    name: "UNWATCH",
    summary: "Watch no key any more.",
    since: "2.2.0",
    example: "UNWATCH -> OK",
    traits: &[Trait::NoScript, Trait::Loading, Trait::Stale, Trait::AllowBusy],
    run: Run::Server(unwatch),
    ..TRANSACTION
};

fn unwatch(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    // Within EXEC the watches are gone already, and the shards are held.
    if ctx.hold.is_none() {
        ctx.engine.forget_watches(ctx.session);
    }
    reply.ok();
    Ok(())
}
