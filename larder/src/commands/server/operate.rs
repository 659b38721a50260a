//! What operators do to a running server: watch it, save it, stop it.

use crate::args::Args;
use crate::command::{Command, Cost, Run, Trait};
use crate::engine::ServerCtx;
use crate::fault::{Fault, Outcome};
use crate::host::Shutdown;
use crate::persist::background::{Begun, IN_PROGRESS};
use crate::persist::disk::RealDisk;
use larder_resp::ReplyWriter;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) const MONITOR: Command = Command {
    name: "MONITOR",
    summary: "Show every command that the server runs, as it runs it.",
    traits: &[Trait::Admin, Trait::NoScript, Trait::Loading, Trait::Stale],
    run: Run::Server(monitor),
    ..Command::SERVER
};

fn monitor(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if ctx.hold.is_some() {
        return Err(Fault::err("MONITOR isn't allowed for DENY BLOCKING client"));
    }
    let client = Arc::clone(ctx.client());
    ctx.engine.clients.begin_monitor(&client);
    reply.ok();
    Ok(())
}

pub(super) const SAVE: Command = Command {
    name: "SAVE",
    summary: "Write a snapshot of all keys; everything waits meanwhile.",
    cost: Cost::Slow("O(N) where N is the total number of keys in all databases"),
    traits: &[Trait::Admin, Trait::NoScript, Trait::NoAsyncLoading, Trait::NoMulti, Trait::HoldsGate],
    example: "SAVE -> (error) ERR there is no place to save to: this engine is not part of a server",
    run: Run::Server(save),
    ..Command::SERVER
};

fn save(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if ctx.engine.is_saving_snapshot() {
        return Err(IN_PROGRESS);
    }
    let target = snapshot_file(ctx)?;
    save_to(ctx, &target)?;
    reply.ok();
    Ok(())
}

/// The file that snapshots go to.
pub(super) fn snapshot_file(ctx: &ServerCtx<'_, '_>) -> Result<PathBuf, Fault> {
    match ctx.engine.host() {
        Some(host) => host.snapshot_file(),
        None => Err(Fault::err("there is no place to save to: this engine is not part of a server")),
    }
}

pub(super) fn save_to(ctx: &ServerCtx<'_, '_>, target: &std::path::Path) -> Outcome {
    let saved = ctx.engine.save(ctx.lane, &RealDisk, target);
    saved.map_err(|error| Fault::err(format!("could not save to {}: {error}", target.display())))
}

pub(super) const BGSAVE: Command = Command {
    name: "BGSAVE",
    usage: "[SCHEDULE]",
    summary: "Write a snapshot of all keys, as they are now, in the background.",
    arity: -1,
    cost: Cost::Slow("O(N) where N is the total number of keys, in the background; O(1) until the reply"),
    traits: &[Trait::Admin, Trait::NoScript, Trait::NoAsyncLoading],
    example: "BGSAVE -> (error) ERR there is no place to save to: this engine is not part of a server",
    run: Run::Server(bgsave),
    ..Command::SERVER
};

fn bgsave(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let may_wait = args.flag("SCHEDULE");
    if !args.is_empty() {
        return Err(Fault::SYNTAX);
    }
    reply.simple(match ctx.engine.begin_background_save(may_wait, ctx.hold.is_some())? {
        Begun::Now => "Background saving started",
        Begun::Later => "Background saving scheduled",
    });
    Ok(())
}

pub(super) const LASTSAVE: Command = Command {
    name: "LASTSAVE",
    summary: "When the last snapshot was written, in Unix seconds.",
    cost: Cost::Fast("O(1)"),
    traits: &[Trait::Loading, Trait::Stale],
    categories: &["@admin", "@dangerous"],
    tips: &["nondeterministic_output"],
    run: Run::Server(lastsave),
    ..Command::SERVER
};

fn lastsave(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(ctx.engine.saves.last_save_s.load(Ordering::Relaxed) as i64);
    Ok(())
}

pub(super) const SHUTDOWN: Command = Command {
    name: "SHUTDOWN",
    usage: "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]",
    summary: "Save if there is need to, and stop the server.",
    cost: Cost::Slow(
        "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
    ),
    traits: &[Trait::Admin, Trait::NoScript, Trait::Loading, Trait::Stale, Trait::NoMulti, Trait::AllowBusy],
    example: "SHUTDOWN ABORT -> (error) ERR No shutdown in progress.",
    run: Run::Server(shutdown),
    ..Command::SERVER
};

fn shutdown(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, _reply: &mut ReplyWriter<'_>) -> Outcome {
    let mut how = Shutdown::default();
    let mut aborts = false;
    while !args.is_empty() {
        match () {
            () if args.flag("NOSAVE") => how.nosave = true,
            () if args.flag("SAVE") => how.save = true,
            () if args.flag("NOW") => how.now = true,
            () if args.flag("FORCE") => how.force = true,
            () if args.flag("ABORT") => aborts = true,
            () => return Err(Fault::SYNTAX),
        }
    }
    if how.save && how.nosave || aborts && how != Shutdown::default() {
        return Err(Fault::SYNTAX);
    }
    if aborts {
        // Stopping waits for nobody yet, so there is never anything to abort.
        return Err(Fault::err("No shutdown in progress."));
    }
    match ctx.engine.host() {
        Some(host) => host.shutdown(how),
        None => Err(Fault::err("there is no server to stop: this engine is part of another program")),
    }
}

pub(super) const WAIT: Command = Command {
    name: "WAIT",
    usage: "numreplicas timeout",
    summary: "Wait until replicas have what this connection wrote; how many of them have.",
    since: "3.0.0",
    arity: 3,
    traits: &[Trait::NoScript],
    categories: &["@connection"],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    example: "WAIT 0 100 -> (integer) 0",
    run: Run::Server(wait),
    ..Command::KEYS
};

fn wait(_ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    args.int()?;
    let timeout = Fault::err("timeout is not an integer or out of range");
    if args.int_in(i64::MIN..=i64::MAX, timeout)? < 0 {
        return Err(Fault::err("timeout is negative"));
    }
    // There are no replicas, and there will be none however long one waits.
    reply.integer(0);
    Ok(())
}
