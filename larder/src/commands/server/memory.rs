//! MEMORY: what keys and everything else take.

use crate::args::Args;
use crate::command::{Command, Cost, Keys, Run, Trait};
use crate::engine::ServerCtx;
use crate::fault::{Fault, Outcome};
use crate::keyspace::ReadCtx;
use crate::stats::info;
use crate::stats::system;
use larder_resp::ReplyWriter;
use larder_structures::slab;

pub(super) const MEMORY: Command = Command {
    name: "MEMORY",
    summary: "Commands about memory.",
    cost: Cost::Slow("Depends on subcommand."),
    subcommands: &[DOCTOR, super::super::HELP, MALLOC_STATS, PURGE, STATS, USAGE],
    ..ABOUT
};

const ABOUT: Command = Command { since: "4.0.0", ..Command::SERVER };

const USAGE: Command = Command {
    name: "USAGE",
    usage: "key [SAMPLES count]",
    summary: "The bytes that a key and its value take. Exact, so nothing is sampled.",
    keys: &[Keys::range(2, 2, 1).does(crate::command::Access::ReadOnly, &[])],
    cost: Cost::Slow("O(N) where N is the number of samples."),
    example: "MEMORY USAGE nothing -> (nil)",
    run: Run::Read(usage),
    ..ABOUT
};

fn usage(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    while !args.is_empty() {
        if args.len() < 2 || !args.flag("SAMPLES") {
            return Err(Fault::SYNTAX);
        }
        if args.int()? < 0 {
            return Err(Fault::SYNTAX);
        }
    }
    match ctx.peek(key) {
        Some(found) => reply.integer(found.memory() as i64),
        None => reply.null(),
    }
    Ok(())
}

const STATS: Command = Command {
    name: "STATS",
    summary: "Where the memory goes.",
    traits: &[Trait::WalksShards],
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    run: Run::Server(stats),
    ..ABOUT
};

/// A fact of MEMORY STATS.
enum Fact {
    Bytes(&'static str, u64),
    Ratio(&'static str, f64),
    /// The tables of a database.
    Tables(usize, usize),
}

fn stats(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let census = ctx.census();
    let engine = ctx.engine;
    let used = info::used(engine, &census);
    let resident = system::resident_bytes();
    let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let keys = census.keys() as u64;
    let mut facts = vec![
        Fact::Bytes("peak.allocated", used.peak),
        Fact::Bytes("total.allocated", used.total()),
        Fact::Bytes("startup.allocated", 0),
        Fact::Bytes("replication.backlog", 0),
        Fact::Bytes("clients.slaves", 0),
        Fact::Bytes("clients.normal", used.clients),
        Fact::Bytes("cluster.links", 0),
        Fact::Bytes("aof.buffer", 0),
        Fact::Bytes("lua.caches", 0),
        Fact::Bytes("functions.caches", 0),
    ];
    for db in 0..engine.config.databases {
        let count = census.db(engine.physical(db));
        if count.keys > 0 {
            facts.push(Fact::Tables(db, count.table_bytes));
        }
    }
    facts.extend([
        Fact::Bytes("overhead.total", used.tables + used.clients),
        Fact::Bytes("keys.count", keys),
        Fact::Bytes("keys.bytes-per-key", used.data.checked_div(keys).unwrap_or(0)),
        Fact::Bytes("dataset.bytes", used.data),
        Fact::Ratio("dataset.percentage", ratio(used.data, used.total()) * 100.0),
        Fact::Ratio("peak.percentage", ratio(used.total(), used.peak) * 100.0),
        Fact::Bytes("allocator.allocated", used.total()),
        Fact::Bytes("allocator.active", resident),
        Fact::Bytes("allocator.resident", resident),
        Fact::Ratio("allocator-fragmentation.ratio", ratio(resident, used.total())),
        Fact::Bytes("allocator-fragmentation.bytes", resident.saturating_sub(used.total())),
        Fact::Ratio("allocator-rss.ratio", 1.0),
        Fact::Bytes("allocator-rss.bytes", 0),
        Fact::Ratio("rss-overhead.ratio", 1.0),
        Fact::Bytes("rss-overhead.bytes", 0),
        Fact::Ratio("fragmentation", ratio(resident, used.total())),
        Fact::Bytes("fragmentation.bytes", resident.saturating_sub(used.total())),
    ]);
    reply.map(facts.len());
    facts.iter().for_each(|fact| fact.write(reply));
    Ok(())
}

impl Fact {
    fn write(&self, reply: &mut ReplyWriter<'_>) {
        match self {
            Fact::Bytes(name, bytes) => {
                reply.bulk(name.as_bytes());
                reply.integer(*bytes as i64);
            }
            Fact::Ratio(name, ratio) => {
                reply.bulk(name.as_bytes());
                reply.double(*ratio);
            }
            Fact::Tables(db, bytes) => {
                reply.bulk(format!("db.{db}").as_bytes());
                reply.map(3);
                reply.bulk(b"overhead.hashtable.main");
                reply.integer(*bytes as i64);
                reply.bulk(b"overhead.hashtable.expires");
                reply.integer(0);
                reply.bulk(b"overhead.hashtable.slot-to-keys");
                reply.integer(0);
            }
        }
    }
}

const DOCTOR: Command = Command {
    name: "DOCTOR",
    summary: "What is remarkable about the use of memory, in words.",
    traits: &[Trait::WalksShards],
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    run: Run::Server(doctor),
    ..ABOUT
};

fn doctor(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    const LITTLE: u64 = 5 * 1024 * 1024;
    const PER_CLIENT: u64 = 200 * 1024;
    let census = ctx.census();
    let used = info::used(ctx.engine, &census);
    let (total, resident) = (used.total(), system::resident_bytes());
    let clients = ctx.engine.clients.len() as u64;
    let mut findings: Vec<String> = Vec::new();
    if total < LITTLE {
        findings.push("Less than 5 MB are in use: too little to tell anything.".into());
    } else {
        if used.peak > total + total / 2 {
            findings.push(
                "The peak was more than half again of what is used now; the rest may come back slowly."
                    .into(),
            );
        }
        if resident > total + total / 2 {
            findings.push("The process holds more than half again of what is used: memory is fragmented, or was freed lately.".into());
        }
        if used.clients / clients.max(1) > PER_CLIENT {
            findings
                .push("Connections take more than 200 KB each: some read their replies too slowly.".into());
        }
        if findings.is_empty() {
            findings.push("Nothing remarkable.".into());
        }
    }
    reply.verbatim("txt", format!("{}\n", findings.join("\n")).as_bytes());
    Ok(())
}

const PURGE: Command = Command {
    name: "PURGE",
    summary: "Give free memory back to the system at once, which otherwise happens little by little.",
    cost: Cost::Slow("Depends on how much memory is allocated, could be slow"),
    example: "MEMORY PURGE -> OK",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    run: Run::Server(purge),
    ..ABOUT
};

fn purge(_ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let _pieces = slab::purge();
    reply.ok();
    Ok(())
}

const MALLOC_STATS: Command = Command {
    name: "MALLOC-STATS",
    summary: "The allocator's own statistics; this one has none.",
    cost: Cost::Slow("Depends on how much memory is allocated, could be slow"),
    example: "MEMORY MALLOC-STATS -> \"Stats not supported for the current allocator\"",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    run: Run::Server(malloc_stats),
    ..ABOUT
};

fn malloc_stats(_ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.bulk(b"Stats not supported for the current allocator");
    Ok(())
}
