//! Walks over the keys.
//!
//! # SCAN's cursor
//!
//! A walk goes through the shards in order, and through each with the cursor of its table ([`larder_structures::table`]).
//! SCAN's cursor holds both: table cursor × shards + shard. A table's cursor is less than the number of its buckets, so
//! that for any keyspace that fits a machine the product stays far below 2^53, and clients that keep numbers as doubles
//! lose nothing. A shard is done when its table's cursor is zero again; the next one begins with that, which gives the
//! number of the shard and so a cursor that is not zero. Zero is only said when the last shard is done.
//!
//! Shards lock one after the other, and each only while some of its buckets are visited: a walk is no snapshot, and
//! stops nobody.

use crate::args::Args;
use crate::command::{Command, Cost, Run, Trait};
use crate::commands::members;
use crate::engine::ServerCtx;
use crate::fault::{Fault, Outcome};
use crate::glob;
use crate::keyspace::{Shard, WriteCtx};
use larder_resp::ReplyWriter;

pub(super) const KEYS: Command = Command {
    name: "KEYS",
    usage: "pattern",
    summary: "Get all keys that match a pattern. Everybody waits meanwhile; SCAN is the better choice.",
    cost: Cost::Slow("O(N) where N is the number of keys"),
    example: "MSET one 1 two 2 -> OK\nKEYS *n* -> 1) \"one\"",
    categories: &["@keyspace", "@dangerous"],
    tips: &["request_policy:all_shards", "nondeterministic_output_order"],
    run: Run::Gate(keys, false),
    ..Command::KEYS
};

fn keys(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let pattern = args.bytes()?;
    let array = reply.deferred_array();
    let mut len = 0;
    ctx.each_key(|key| {
        if glob::selects(pattern, key) {
            reply.bulk(key);
            len += 1;
        }
    });
    reply.finish_array(array, len);
    Ok(())
}

pub(super) const SCAN: Command = Command {
    name: "SCAN",
    usage: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
    summary: "Get some keys, and a cursor for the next call; 0 begins a walk and ends it.",
    cost: Cost::Slow("O(1) for a call, O(N) for a walk where N is the number of keys"),
    since: "2.8.0",
    example: "SET a 1 -> OK\nSCAN 0 MATCH a* TYPE string -> 1) \"0\" 2) 1) \"a\"",
    traits: &[Trait::WalksKeys],
    tips: &["nondeterministic_output", "request_policy:special"],
    run: Run::Server(scan),
    ..Command::KEYS
};

/// What a call of SCAN is to return.
struct Wanted<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    kind: Option<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    fn parse(mut args: Args<'a>) -> Result<Wanted<'a>, Fault> {
        let mut wanted = Wanted { pattern: None, count: 10, kind: None };
        while !args.is_empty() {
            if args.len() > 1 && args.flag("COUNT") {
                let count = args.int()?;
                wanted.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Fault::SYNTAX)?;
            } else if args.len() > 1 && args.flag("MATCH") {
                wanted.pattern = Some(args.bytes()?);
            } else if args.len() > 1 && args.flag("TYPE") {
                wanted.kind = Some(args.bytes()?);
            } else {
                return Err(Fault::SYNTAX);
            }
        }
        Ok(wanted)
    }
}

fn scan(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let cursor = members::cursor(&mut args)?;
    let wanted = Wanted::parse(args)?;
    let shards = ctx.engine.shard_count();
    let (mut shard, mut at) = (cursor as usize % shards, cursor / shards as u64);
    let mut keys = Vec::new();
    let mut found = ReplyWriter::new(&mut keys, ctx.session.proto());
    let (mut len, mut visited) = (0, 0);
    // Sparse tables are left for the next call after ten buckets for each element that is wanted; the end of a table
    // is free, so that few keys in many shards take one call.
    let mut steps_left = wanted.count.saturating_mul(10);
    while shard < shards && visited < wanted.count && steps_left > 0 {
        at = ctx.with_keys(shard, |keyspace| {
            let mut at = at;
            while visited < wanted.count && steps_left > 0 {
                at = keyspace.scan_shard(shard, at, |key, kind| {
                    visited += 1;
                    let fits = wanted.pattern.is_none_or(|pattern| glob::selects(pattern, key))
                        && wanted
                            .kind
                            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(kind.name().as_bytes()));
                    if fits {
                        found.bulk(key);
                        len += 1;
                    }
                });
                if at == 0 {
                    break;
                }
                steps_left -= 1;
            }
            at
        });
        shard += usize::from(at == 0);
    }
    let next = if shard == shards { 0 } else { at * shards as u64 + shard as u64 };
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(len);
    reply.raw(&keys);
    Ok(())
}

pub(super) const RANDOMKEY: Command = Command {
    name: "RANDOMKEY",
    usage: "",
    summary: "Get a random key.",
    cost: Cost::Slow("O(1)"),
    example: "SET a 1 -> OK\nRANDOMKEY -> \"a\"",
    traits: &[Trait::WalksKeys],
    tips: &["request_policy:all_shards", "nondeterministic_output"],
    run: Run::Server(randomkey),
    ..Command::KEYS
};

fn randomkey(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    // Keys that turn out to be expired are deleted, so this comes to an end.
    loop {
        let lens = shard_lens(ctx);
        let all: usize = lens.iter().sum();
        if all == 0 {
            reply.null();
            return Ok(());
        }
        // Every key counts the same, in whatever shard it is.
        let mut nth = (ctx.engine.random() % all as u64) as usize;
        for (shard, len) in lens.into_iter().enumerate() {
            if nth < len {
                if let Some(key) = ctx.with_keys(shard, |keyspace| keyspace.random_key(shard)) {
                    reply.bulk(&key);
                    return Ok(());
                }
                break;
            }
            nth -= len;
        }
    }
}

fn shard_lens(ctx: &mut ServerCtx<'_, '_>) -> Vec<usize> {
    let (engine, db) = (ctx.engine, ctx.session.db());
    let len = |shard: &mut Shard| shard.db(engine.physical(db)).map_or(0, |db| db.keys.len());
    (0..engine.shard_count()).map(|index| ctx.with_shard(index, len)).collect()
}

pub(super) const DBSIZE: Command = Command {
    name: "DBSIZE",
    usage: "",
    summary: "Get the number of keys of the database.",
    cost: Cost::Fast("O(1)"),
    example: "MSET a 1 b 2 -> OK\nDBSIZE -> (integer) 2",
    traits: &[Trait::WalksKeys],
    tips: &["request_policy:all_shards", "response_policy:agg_sum"],
    run: Run::Server(dbsize),
    ..Command::KEYS
};

fn dbsize(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(shard_lens(ctx).into_iter().sum::<usize>() as i64);
    Ok(())
}
