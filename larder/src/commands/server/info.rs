//! INFO, and small facts that have a command of their own.

use crate::args::Args;
use crate::command::{Command, Cost, Run, Trait};
use crate::engine::ServerCtx;
use crate::fault::Outcome;
use crate::stats::census::Census;
use crate::stats::info::{self, Facts, Wanted};
use larder_resp::ReplyWriter;

pub(super) const INFO: Command = Command {
    name: "INFO",
    usage: "[section [section ...]]",
    summary: "What the server knows of itself, by sections.",
    traits: &[Trait::Loading, Trait::Stale, Trait::WalksShards],
    categories: &["@dangerous"],
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    example: "INFO replication_of_nothing -> \"\"",
    run: Run::Server(run),
    ..Command::SERVER
};

fn run(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let wanted = Wanted::parse(args.rest());
    let census = if wanted.needs_census() { ctx.census() } else { Census::default() };
    let facts = Facts { engine: ctx.engine, now_us: ctx.lane.now_us, census };
    reply.verbatim("txt", info::text(&facts, wanted).as_bytes());
    Ok(())
}

pub(super) const TIME: Command = Command {
    name: "TIME",
    summary: "The server's time: Unix seconds and microseconds.",
    cost: Cost::Fast("O(1)"),
    since: "2.6.0",
    traits: &[Trait::Loading, Trait::Stale],
    tips: &["nondeterministic_output"],
    run: Run::Server(time),
    ..Command::SERVER
};

fn time(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let now_us = ctx.engine.clock.unix_us();
    reply.array(2);
    reply.bulk_integer((now_us / 1_000_000) as i64);
    reply.bulk_integer((now_us % 1_000_000) as i64);
    Ok(())
}

pub(super) const ROLE: Command = Command {
    name: "ROLE",
    summary: "The server's part in replication.",
    cost: Cost::Fast("O(1)"),
    since: "2.8.12",
    traits: &[Trait::NoScript, Trait::Loading, Trait::Stale],
    categories: &["@admin", "@dangerous"],
    example: "ROLE -> 1) \"master\" 2) (integer) 0 3) (empty array)",
    run: Run::Server(role),
    ..Command::SERVER
};

fn role(_ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.array(3);
    reply.bulk(b"master");
    reply.integer(0);
    reply.array(0);
    Ok(())
}

pub(super) const LOLWUT: Command = Command {
    name: "LOLWUT",
    usage: "[VERSION version]",
    summary: "A picture, and the version.",
    cost: Cost::Fast("O(1)"),
    since: "5.0.0",
    traits: &[],
    categories: &["@read"],
    arity: -1,
    run: Run::Server(lolwut),
    ..Command::SERVER
};

fn lolwut(_ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let shelf = ["  _   _   _ ", " (_) (_) (_)", " |o| |=| |~|", " |_| |_| |_|", "============="];
    let text = format!("{}\nThe larder is full. Redis ver. {}\n", shelf.join("\n"), crate::REDIS_VERSION);
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}
