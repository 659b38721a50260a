//! OBJECT: how a value is kept.

use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Run, Trait};
use crate::engine::ServerCtx;
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Found, ReadCtx, View};
use crate::types::string::StringRef;
use larder_resp::ReplyWriter;

pub(super) const OBJECT: Command = Command {
    name: "OBJECT",
    usage: "",
    summary: "Tell how values are kept.",
    cost: Cost::Slow("Depends on the subcommand"),
    since: "2.2.3",
    categories: &[],
    subcommands: &[ENCODING, FREQ, HELP, IDLETIME, REFCOUNT],
    run: Run::Container,
    ..Command::KEYS
};

const ABOUT_A_KEY: Command = Command {
    usage: "key",
    keys: &[Keys::at(2).does(Access::ReadOnly, &[])],
    since: "2.2.3",
    tips: &["nondeterministic_output"],
    ..Command::KEYS
};

const ENCODING: Command = Command {
    name: "ENCODING",
    summary: "Get the name of the representation of a value.",
    example: "MSET number 12 word twelve -> OK\nOBJECT ENCODING number -> \"int\"\n\
              OBJECT ENCODING word -> \"embstr\"",
    run: Run::Read(|ctx, args, reply| {
        about(ctx, args, reply, |found, reply| {
            reply.bulk(encoding(found).as_bytes());
            Ok(())
        })
    }),
    ..ABOUT_A_KEY
};

/// The longest string that is called `embstr`.
const EMBSTR_MAX: usize = 44;

/// The name of a value's representation. For strings it says how Redis would keep them.
pub(in crate::commands) fn encoding(found: &Found<'_>) -> &'static str {
    match found.view {
        View::Body(body) => body.encoding(),
        View::String(StringRef::Integer(_)) => "int",
        View::String(StringRef::Bytes(bytes)) if found.is_raw || bytes.len() > EMBSTR_MAX => "raw",
        View::String(StringRef::Bytes(_)) => "embstr",
    }
}

/// OBJECT FREQ under a policy that does not count.
const NO_FREQUENCY: Fault = Fault::row(
    "ERR",
    "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between \
     policies at runtime LRU and LFU data will take some time to adjust.",
);
/// OBJECT IDLETIME under a policy that does.
const NO_IDLE_TIME: Fault = Fault::row(
    "ERR",
    "An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at \
     runtime LRU and LFU data will take some time to adjust.",
);

const FREQ: Command = Command {
    name: "FREQ",
    summary: "Get how often a key is used, under an LFU policy of eviction.",
    since: "4.0.0",
    example: "OBJECT FREQ nothing -> (nil)",
    run: Run::Read(|ctx, args, reply| {
        about(ctx, args, reply, |found, reply| {
            if !ctx.config().eviction.policy().counts_uses() {
                return Err(NO_FREQUENCY);
            }
            reply.integer(i64::from(ctx.meter().frequency(found.clock)));
            Ok(())
        })
    }),
    ..ABOUT_A_KEY
};

const IDLETIME: Command = Command {
    name: "IDLETIME",
    summary: "Get the seconds since a key was last used.",
    example: "SET a 1 -> OK\nOBJECT IDLETIME a -> (integer) 0",
    run: Run::Read(|ctx, args, reply| {
        about(ctx, args, reply, |found, reply| {
            if ctx.config().eviction.policy().counts_uses() {
                return Err(NO_IDLE_TIME);
            }
            reply.integer(i64::from(ctx.meter().idle_s(found.clock)));
            Ok(())
        })
    }),
    ..ABOUT_A_KEY
};

const REFCOUNT: Command = Command {
    name: "REFCOUNT",
    summary: "Get the number of references to a value. Small integers are shared, everything else has one.",
    example: "SET word twelve -> OK\nOBJECT REFCOUNT word -> (integer) 1",
    run: Run::Read(|ctx, args, reply| {
        about(ctx, args, reply, |found, reply| {
            let is_shared = matches!(found.view, View::String(StringRef::Integer(0..=9999)));
            reply.integer(if is_shared { i64::from(i32::MAX) } else { 1 });
            Ok(())
        })
    }),
    ..ABOUT_A_KEY
};

fn about(
    ctx: &ReadCtx<'_>,
    mut args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    tell: impl Fn(&Found<'_>, &mut ReplyWriter<'_>) -> Outcome,
) -> Outcome {
    match ctx.find_untouched(args.key()?) {
        Some(found) => tell(&found, reply),
        None => {
            reply.null();
            Ok(())
        }
    }
}

const HELP: Command = Command {
    name: "HELP",
    usage: "",
    summary: "List the subcommands.",
    since: "6.2.0",
    traits: &[Trait::Loading, Trait::Stale],
    run: Run::Server(help),
    ..Command::KEYS
};

fn help(_ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    const LINES: &[&str] = &[
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Tell how the value under <key> is kept.",
        "FREQ <key>",
        "    Tell how often <key> is used. Needs an LFU policy of eviction.",
        "IDLETIME <key>",
        "    Tell how many seconds ago <key> was last used.",
        "REFCOUNT <key>",
        "    Tell how many references there are to the value under <key>.",
        "HELP",
        "    Print these lines.",
    ];
    reply.array(LINES.len());
    LINES.iter().for_each(|line| reply.simple(line));
    Ok(())
}
