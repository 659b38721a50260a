//! DEBUG: the subcommands that client libraries and test suites use.
//!
//! As in Redis 7 it is for servers started with `enable-debug-command yes`, or `local` for connections from the same
//! machine. An embedded engine belongs to its program, which may always use it.

use super::digest::Digest;
use crate::args::Args;
use crate::command::{Command, Cost, Run, Trait};
use crate::commands::keys::object;
use crate::config::params::parse_memory;
use crate::effects::{Class, Event};
use crate::engine::ServerCtx;
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Expiry, View};
use crate::persist::convert;
use crate::persist::disk::RealDisk;
use larder_resp::{Proto, ReplyWriter};
use larder_structures::hash;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(super) const DEBUG: Command = Command {
    name: "DEBUG",
    usage: "subcommand [arg [arg ...]]",
    summary: "Look inside, and do what only tests want.",
    cost: Cost::Slow("Depends on subcommand."),
    traits: &[Trait::Admin, Trait::NoScript, Trait::Loading, Trait::Stale, Trait::WalksShards],
    example: "DEBUG STRINGMATCH-LEN 3 a* -> (integer) 1",
    run: Run::Server(debug),
    ..Command::SERVER
};

type Handler = fn(&mut ServerCtx<'_, '_>, Args<'_>, &mut ReplyWriter<'_>) -> Outcome;

/// A subcommand.
struct Row {
    name: &'static str,
    usage: &'static str,
    summary: &'static str,
    /// Fewest and most arguments.
    arguments: (usize, usize),
    run: Handler,
}

const ANY: usize = usize::MAX;

/// DEBUG is one command in COMMAND INFO, so its subcommands are in a table of their own.
const ROWS: &[Row] = &[
    Row {
        name: "CHANGE-REPL-ID",
        usage: "",
        summary: "Give the history of the data another id.",
        arguments: (0, 0),
        run: change_repl_id,
    },
    Row {
        name: "DIGEST",
        usage: "",
        summary: "160 bits that are equal when all data are.",
        arguments: (0, 0),
        run: digest,
    },
    Row {
        name: "DIGEST-VALUE",
        usage: "<key> [<key> ...]",
        summary: "The same of single values.",
        arguments: (0, ANY),
        run: digest_value,
    },
    Row {
        name: "ERROR",
        usage: "<message>",
        summary: "Answer with this error.",
        arguments: (1, 1),
        run: error,
    },
    Row { name: "HELP", usage: "", summary: "Print this help.", arguments: (0, 0), run: help },
    Row {
        name: "LOG",
        usage: "<message>",
        summary: "Accepted; nothing is logged.",
        arguments: (1, 1),
        run: accept,
    },
    Row {
        name: "OBJECT",
        usage: "<key> [FAST]",
        summary: "How a value is kept.",
        arguments: (1, 2),
        run: object_facts,
    },
    Row {
        name: "POPULATE",
        usage: "<count> [<prefix>] [<size>]",
        summary: "Make keys <prefix>:0, <prefix>:1, ... that do not exist yet.",
        arguments: (1, 3),
        run: populate,
    },
    Row {
        name: "PROTOCOL",
        usage: "<type>",
        summary: "Answer with a value of this type.",
        arguments: (1, 1),
        run: protocol,
    },
    Row {
        name: "QUICKLIST-PACKED-THRESHOLD",
        usage: "<size>",
        summary: "Accepted; nodes of lists hold what list-max-listpack-size says.",
        arguments: (1, 1),
        run: packed_threshold,
    },
    Row {
        name: "RELOAD",
        usage: "[NOSAVE] [NOFLUSH] [MERGE]",
        summary: "Save everything and load it again.",
        arguments: (0, ANY),
        run: reload,
    },
    Row {
        name: "SET-ACTIVE-EXPIRE",
        usage: "<0|1>",
        summary: "Whether expired keys are deleted although nobody asks for them.",
        arguments: (1, 1),
        run: set_active_expire,
    },
    Row {
        name: "SET-DISABLE-DENY-SCRIPTS",
        usage: "<0|1>",
        summary: "Accepted; there are no scripts.",
        arguments: (1, 1),
        run: accept,
    },
    Row {
        name: "SLEEP",
        usage: "<seconds>",
        summary: "Stop the whole engine for some seconds.",
        arguments: (1, 1),
        run: sleep,
    },
    Row {
        name: "STRINGMATCH-LEN",
        usage: "<length> <pattern>",
        summary: "Whether a string of that many letters a matches.",
        arguments: (2, 2),
        run: stringmatch_len,
    },
];

fn debug(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if !is_allowed(ctx) {
        return Err(Fault::err(
            "DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
             local connection, otherwise you need to set this option in the configuration file, and then restart the \
             server.",
        ));
    }
    let whole = args;
    let name = args.bytes()?;
    let row = ROWS.iter().find(|row| name.eq_ignore_ascii_case(row.name.as_bytes()));
    match row.filter(|row| (row.arguments.0..=row.arguments.1).contains(&args.len())) {
        // They would change the data beside whoever loads them.
        Some(row) if ctx.engine.is_loading() && ["POPULATE", "RELOAD"].contains(&row.name) => {
            Err(Fault::LOADING)
        }
        Some(row) => (row.run)(ctx, args, reply),
        None => Err(super::super::unknown_form("DEBUG", whole)),
    }
}

fn is_allowed(ctx: &ServerCtx<'_, '_>) -> bool {
    match ctx.engine.host().and_then(|host| host.parameter("enable-debug-command")).as_deref() {
        Some("no") => false,
        Some("local") => {
            let origin = &ctx.client().origin;
            let is_loopback = ["127.", "[::1]", "::1"].iter().any(|start| origin.address.starts_with(start));
            origin.is_unix || is_loopback
        }
        _ => true,
    }
}

fn help(_ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.array(1 + 2 * ROWS.len());
    reply.simple("DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    for row in ROWS {
        reply.simple(format!("{} {}", row.name, row.usage).trim_end());
        reply.simple(format!("    {}", row.summary));
    }
    Ok(())
}

fn accept(_ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.ok();
    Ok(())
}

fn error(_ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.error(args.bytes()?);
    Ok(())
}

/// Holds the gate while it sleeps: tests use this to see what clients do when a server does not answer.
fn sleep(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    // What is no number is no time, as in Redis.
    let seconds = larder_resp::parse_double(args.bytes()?).unwrap_or(0.0);
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let gate = ctx.hold.is_none().then(|| ctx.engine.shards.all());
    std::thread::sleep(time);
    drop(gate);
    reply.ok();
    Ok(())
}

fn set_active_expire(
    ctx: &mut ServerCtx<'_, '_>,
    mut args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    let is_on = args.bytes()? != b"0";
    ctx.engine.config.active_expire.store(is_on, Ordering::Relaxed);
    reply.ok();
    Ok(())
}

fn change_repl_id(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    ctx.engine.stats.change_replication_id(ctx.engine.random());
    reply.ok();
    Ok(())
}

fn packed_threshold(
    _ctx: &mut ServerCtx<'_, '_>,
    mut args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    const LIMIT: u64 = 4 << 30;
    let size = std::str::from_utf8(args.bytes()?).ok().and_then(parse_memory);
    if size.is_none_or(|size| size > LIMIT) {
        return Err(Fault::err("argument must be a memory value bigger than 1 and smaller than 4gb"));
    }
    reply.ok();
    Ok(())
}

fn stringmatch_len(_ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    const LONGEST: i64 = 64 << 20;
    let length = args.int_in(0..=LONGEST, Fault::OUT_OF_RANGE)? as usize;
    let is_match = crate::glob::matches(args.bytes()?, &vec![b'a'; length]);
    reply.integer(i64::from(is_match));
    Ok(())
}

fn object_facts(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let is_fast = args.flag("FAST");
    let shard = hash::shard(hash::of(key), ctx.engine.shard_count());
    let line = ctx.with_keys(shard, |keys| {
        let reader = keys.reader();
        let found = reader.peek(key)?;
        let idle = reader.meter().idle_s(found.clock);
        let mut line = format!("Value at:0x0 refcount:1 encoding:{}", object::encoding(&found));
        if !is_fast {
            line.push_str(&format!(" serializedlength:{}", convert::serialized_length(found.view)));
        }
        line.push_str(&format!(" lru:{} lru_seconds_idle:{idle}", found.clock));
        if let View::Body(crate::types::BodyRef::List(list)) = found.view {
            let nodes = list.nodes().count();
            let mean = list.len() as f64 / nodes.max(1) as f64;
            line.push_str(&format!(" ql_nodes:{nodes} ql_avg_node:{mean:.2}"));
        }
        Some(line)
    });
    reply.simple(line.ok_or(Fault::NO_SUCH_KEY)?);
    Ok(())
}

fn digest(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let mut digest = Digest::default();
    let now_ms = ctx.now_ms();
    for index in 0..ctx.engine.shard_count() {
        for db in 0..ctx.engine.config.databases {
            let physical = ctx.engine.physical(db);
            ctx.with_shard(index, |shard| digest.add_shard(shard, physical, db, now_ms));
        }
    }
    reply.simple(digest.hex());
    Ok(())
}

fn digest_value(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.array(args.len());
    for key in args.rest() {
        let shard = hash::shard(hash::of(key), ctx.engine.shard_count());
        let digest = ctx.with_keys(shard, |keys| {
            keys.reader().peek(key).map_or(Digest::default(), |found| Digest::of_found(&found))
        });
        reply.bulk(digest.hex().as_bytes());
    }
    Ok(())
}

fn populate(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    const MADE: Event = Event::new(Class::String, "set");
    const LONGEST: i64 = 512 << 20;
    let count = args.int_in(0..=i64::MAX, Fault::NEGATIVE)?;
    let prefix = if args.is_empty() { b"key" } else { args.bytes()? };
    let size = if args.is_empty() { None } else { Some(args.int_in(0..=LONGEST, Fault::NEGATIVE)? as usize) };
    for number in 0..count {
        let key = [prefix, format!(":{number}").as_bytes()].concat();
        let mut value = format!("value:{number}").into_bytes();
        if let Some(size) = size {
            value.resize(size, 0);
        }
        let shard = hash::shard(hash::of(&key), ctx.engine.shard_count());
        ctx.with_keys(shard, |keys| {
            if !keys.exists(&key) {
                keys.set_string(&key, &value, Expiry::Never, MADE);
            }
        });
    }
    reply.ok();
    Ok(())
}

/// Saves, empties all databases and loads. Other connections see the databases empty for a moment: this is for tests
/// of what survives a restart, which have the engine to themselves.
fn reload(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (mut saves, mut flushes) = (true, true);
    while !args.is_empty() {
        match () {
            () if args.flag("NOSAVE") => saves = false,
            () if args.flag("NOFLUSH") => flushes = false,
            () if args.flag("MERGE") => {}
            () => {
                return Err(Fault::err("DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."));
            }
        }
    }
    if ctx.hold.is_some() {
        return Err(Fault::err("DEBUG RELOAD is not possible inside a transaction"));
    }
    let file = super::operate::snapshot_file(ctx)?;
    if saves {
        super::operate::save_to(ctx, &file)?;
    }
    if flushes {
        flush_all(ctx);
    }
    let loaded = ctx.engine.load(ctx.lane, &RealDisk, &file);
    loaded.map_err(|error| {
        Fault::err(format!("Error trying to load the RDB dump, check server logs: {error}"))
    })?;
    reply.ok();
    Ok(())
}

fn flush_all(ctx: &mut ServerCtx<'_, '_>) {
    let engine = ctx.engine;
    let mut gate = engine.shards.all();
    engine.begin_effects(ctx.lane);
    for db in 0..engine.config.databases {
        engine.writer(ctx.lane, &mut gate, db).flush(db, crate::effects::Cause::Flushed);
    }
    engine.commit_removals(ctx.lane, &mut gate);
    drop(gate);
    engine.free(&mut ctx.lane.effects.garbage);
}

/// The double of DEBUG PROTOCOL; not meant to be pi.
#[expect(clippy::approx_constant, reason = "these are the digits a real server sends")]
const PROTOCOL_DOUBLE: f64 = 3.141;

fn protocol(_ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let wanted = args.bytes()?.to_ascii_lowercase();
    match wanted.as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double(PROTOCOL_DOUBLE),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => three(reply, ReplyWriter::array),
        b"set" => three(reply, ReplyWriter::set),
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if reply.proto() == Proto::Resp3 {
                reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if reply.proto() == Proto::Resp2 => {
            return Err(Fault::err("RESP2 is not supported by this command"));
        }
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        _ => {
            return Err(Fault::err(
                "Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

fn three<'r>(reply: &mut ReplyWriter<'r>, header: fn(&mut ReplyWriter<'r>, usize)) {
    header(reply, 3);
    (0..3).for_each(|number| reply.integer(number));
}
