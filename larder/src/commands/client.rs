//! CLIENT: connections looked at and managed from any connection.

use crate::args::Args;
use crate::client::{Client, Kind};
use crate::command::{Command, Group, Run, Trait};
use crate::engine::{ServerCtx, Step};
use crate::fault::{Fault, Outcome};
use crate::session::Replies;
use larder_resp::ReplyWriter;
use larder_structures::decimal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The container.
pub(crate) const CLIENT: Command = Command {
    name: "CLIENT",
    usage: "",
    summary: "Commands about connections.",
    since: "2.4.0",
    traits: &[],
    categories: &[],
    subcommands: &[
        GETNAME, HELP, ID, INFO, KILL, LIST, NO_EVICT, NO_TOUCH, PAUSE, REPLY, SETINFO, SETNAME, UNPAUSE,
    ],
    ..Command::CONNECTION
};

const HELP: Command = Command { group: Group::Connection, categories: &["@connection"], ..super::HELP };

/// What subcommands for operators start from.
const ADMIN: Command =
    Command { traits: &[Trait::Admin, Trait::NoScript, Trait::Loading, Trait::Stale], ..Command::CONNECTION };

const ID: Command = Command {
    name: "ID",
    summary: "The number of this connection, never used twice.",
    since: "5.0.0",
    run: Run::Server(id),
    ..Command::CONNECTION
};

fn id(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(ctx.client().id as i64);
    Ok(())
}

const GETNAME: Command = Command {
    name: "GETNAME",
    summary: "The name of this connection.",
    since: "2.6.9",
    example: "CLIENT GETNAME -> (nil)",
    run: Run::Server(getname),
    ..Command::CONNECTION
};

fn getname(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    match ctx.client().text.lock().name.as_str() {
        "" => reply.null(),
        name => reply.bulk(name.as_bytes()),
    }
    Ok(())
}

const SETNAME: Command = Command {
    name: "SETNAME",
    usage: "connection-name",
    summary: "Name this connection.",
    since: "2.6.9",
    example: "CLIENT SETNAME worker -> OK\nCLIENT GETNAME -> \"worker\"",
    run: Run::Server(setname),
    ..Command::CONNECTION
};

fn setname(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let name = valid_name(args.bytes()?)?;
    ctx.client().text.lock().name = name;
    reply.ok();
    Ok(())
}

/// A name is printable and has no spaces, so that CLIENT LIST stays one line of words.
pub(super) fn valid_name(name: &[u8]) -> Result<String, Fault> {
    let fault = "Client names cannot contain spaces, newlines or special characters.";
    printable(name).ok_or_else(|| Fault::err(fault))
}

fn printable(text: &[u8]) -> Option<String> {
    let is_printable = text.iter().all(|byte| (b'!'..=b'~').contains(byte));
    is_printable.then(|| String::from_utf8_lossy(text).into_owned())
}

const SETINFO: Command = Command {
    name: "SETINFO",
    usage: "<LIB-NAME libname|LIB-VER libver>",
    summary: "Say which library this connection uses.",
    since: "7.2.0",
    arity: 4,
    example: "CLIENT SETINFO LIB-NAME demo -> OK",
    run: Run::Server(setinfo),
    ..Command::CONNECTION
};

fn setinfo(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let option = args.bytes()?;
    let is_name = option.eq_ignore_ascii_case(b"LIB-NAME");
    if !is_name && !option.eq_ignore_ascii_case(b"LIB-VER") {
        let shown = String::from_utf8_lossy(option);
        return Err(Fault::err(format!("Unrecognized option '{shown}'")));
    }
    let what = if is_name { "lib-name" } else { "lib-ver" };
    let value = printable(args.bytes()?).ok_or_else(|| {
        Fault::err(format!("{what} cannot contain spaces, newlines or special characters."))
    })?;
    let mut text = ctx.client().text.lock();
    if is_name {
        text.library = value;
    } else {
        text.library_version = value;
    }
    drop(text);
    reply.ok();
    Ok(())
}

const INFO: Command = Command {
    name: "INFO",
    summary: "The facts of this connection.",
    since: "6.2.0",
    tips: &["nondeterministic_output"],
    run: Run::Server(info),
    ..Command::CONNECTION
};

fn info(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let line = ctx.client().describe(ctx.now_ms());
    reply.verbatim("txt", format!("{line}\n").as_bytes());
    Ok(())
}

const LIST: Command = Command {
    name: "LIST",
    usage: "[TYPE <NORMAL|MASTER|REPLICA|PUBSUB>] [ID client-id [client-id ...]]",
    summary: "The facts of all connections, or of some.",
    since: "2.4.0",
    tips: &["nondeterministic_output"],
    run: Run::Server(list),
    ..ADMIN
};

fn list(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let clients: Vec<Arc<Client>> = if args.is_empty() {
        ctx.engine.clients.list()
    } else if args.len() == 2 && args.flag("TYPE") {
        let kind = kind(args.bytes()?)?;
        ctx.engine.clients.list().into_iter().filter(|client| client.kind() == kind).collect()
    } else if args.len() > 1 && args.flag("ID") {
        let mut found = Vec::new();
        for id in args.rest() {
            let id = decimal::parse_canonical_i64(id).ok_or_else(|| Fault::err("Invalid client ID"))?;
            found.extend(u64::try_from(id).ok().and_then(|id| ctx.engine.clients.get(id)));
        }
        found
    } else {
        return Err(Fault::SYNTAX);
    };
    let lines: String = clients.iter().map(|client| client.describe(ctx.now_ms()) + "\n").collect();
    reply.verbatim("txt", lines.as_bytes());
    Ok(())
}

fn kind(word: &[u8]) -> Result<Kind, Fault> {
    Kind::named(word)
        .ok_or_else(|| Fault::err(format!("Unknown client type '{}'", String::from_utf8_lossy(word))))
}

const KILL: Command = Command {
    name: "KILL",
    usage: "<ip:port|<[ID client-id] [TYPE <NORMAL|MASTER|SLAVE|REPLICA|PUBSUB>] [USER username] [ADDR ip:port] \
            [LADDR ip:port] [SKIPME yes/no]>>",
    summary: "Close connections.",
    since: "2.4.0",
    arity: -3,
    run: Run::Server(kill),
    ..ADMIN
};

/// Which connections CLIENT KILL means; what is not named does not matter.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    kind: Option<Kind>,
    address: Option<String>,
    local_address: Option<String>,
    spares_self: bool,
}

impl Filter {
    fn parse(mut args: Args<'_>) -> Result<Filter, Fault> {
        let mut filter = Filter { spares_self: true, ..Filter::default() };
        while !args.is_empty() {
            if args.len() < 2 {
                return Err(Fault::SYNTAX);
            }
            if args.flag("ID") {
                let fault = Fault::err("client-id should be greater than 0");
                filter.id = Some(args.int_in(1..=i64::MAX, fault)? as u64);
            } else if args.flag("TYPE") {
                filter.kind = Some(kind(args.bytes()?)?);
            } else if args.flag("ADDR") {
                filter.address = Some(String::from_utf8_lossy(args.bytes()?).into_owned());
            } else if args.flag("LADDR") {
                filter.local_address = Some(String::from_utf8_lossy(args.bytes()?).into_owned());
            } else if args.flag("USER") {
                let user = args.bytes()?;
                if user != b"default" {
                    let shown = String::from_utf8_lossy(user);
                    return Err(Fault::err(format!("No such user '{shown}'")));
                }
            } else if args.flag("SKIPME") {
                filter.spares_self = match args.bytes()? {
                    word if word.eq_ignore_ascii_case(b"yes") => true,
                    word if word.eq_ignore_ascii_case(b"no") => false,
                    _ => return Err(Fault::SYNTAX),
                };
            } else {
                return Err(Fault::SYNTAX);
            }
        }
        Ok(filter)
    }

    fn means(&self, client: &Client, own_id: u64) -> bool {
        self.id.is_none_or(|id| client.id == id)
            && self.kind.is_none_or(|kind| client.kind() == kind)
            && self.address.as_ref().is_none_or(|address| client.origin.address == *address)
            && self.local_address.as_ref().is_none_or(|address| client.origin.local_address == *address)
            && !(self.spares_self && client.id == own_id)
    }
}

fn kill(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let is_old_form = args.len() == 1;
    let filter = if is_old_form {
        let address = Some(String::from_utf8_lossy(args.bytes()?).into_owned());
        Filter { address, ..Filter::default() }
    } else {
        Filter::parse(args)?
    };
    let own_id = ctx.client().id;
    let mut killed = 0;
    for client in ctx.engine.clients.list() {
        if !filter.means(&client, own_id) {
            continue;
        }
        killed += 1;
        if client.id == own_id {
            ctx.step = Step::Close;
        } else {
            client.kill();
        }
    }
    match (is_old_form, killed) {
        (true, 0) => return Err(Fault::err("No such client")),
        (true, _) => reply.ok(),
        (false, killed) => reply.integer(killed),
    }
    Ok(())
}

const NO_EVICT: Command = Command {
    name: "NO-EVICT",
    usage: "<ON|OFF>",
    summary: "Keep this connection when connections are closed for want of memory.",
    since: "7.0.0",
    example: "CLIENT NO-EVICT ON -> OK",
    run: Run::Server(no_evict),
    ..ADMIN
};

fn no_evict(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    switch(&ctx.client().no_evict, args, reply)
}

const NO_TOUCH: Command = Command {
    name: "NO-TOUCH",
    usage: "<ON|OFF>",
    summary: "Let the commands of this connection leave access times as they are.",
    since: "7.2.0",
    example: "CLIENT NO-TOUCH ON -> OK",
    run: Run::Server(no_touch),
    ..Command::CONNECTION
};

fn no_touch(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    switch(&ctx.client().no_touch, args, reply)
}

fn switch(flag: &AtomicBool, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let is_on = args.flag("ON");
    if !is_on && !args.flag("OFF") {
        return Err(Fault::SYNTAX);
    }
    flag.store(is_on, Ordering::Relaxed);
    reply.ok();
    Ok(())
}

const REPLY: Command = Command {
    name: "REPLY",
    usage: "<ON|OFF|SKIP>",
    summary: "Whether this connection gets replies.",
    since: "3.2.0",
    example: "CLIENT REPLY ON -> OK",
    run: Run::Server(replies),
    ..Command::CONNECTION
};

fn replies(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if args.flag("ON") {
        ctx.session.replies = Replies::On;
        reply.ok();
    } else if args.flag("OFF") {
        ctx.session.replies = Replies::Off;
    } else if args.flag("SKIP") {
        if ctx.session.replies != Replies::Off {
            ctx.session.replies = Replies::SkipNext;
        }
    } else {
        return Err(Fault::SYNTAX);
    }
    Ok(())
}

const PAUSE: Command = Command {
    name: "PAUSE",
    usage: "timeout [WRITE|ALL]",
    summary: "Let commands, or only those that write, wait for some milliseconds.",
    since: "3.0.0",
    run: Run::Server(pause),
    ..ADMIN
};

fn pause(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let timeout = args.bytes()?;
    let mut writes_only = false;
    if !args.is_empty() {
        writes_only = args.flag("WRITE");
        if !writes_only && !args.flag("ALL") {
            return Err(Fault::err("CLIENT PAUSE mode must be WRITE or ALL"));
        }
        if !args.is_empty() {
            return Err(Fault::arity("client|pause"));
        }
    }
    let timeout_ms = decimal::parse_canonical_i64(timeout)
        .ok_or_else(|| Fault::err("timeout is not an integer or out of range"))?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| Fault::err("timeout is negative"))?;
    let until_ms = ctx
        .now_ms()
        .checked_add(timeout_ms)
        .filter(|until_ms| i64::try_from(*until_ms).is_ok())
        .ok_or_else(|| Fault::err("timeout is out of range"))?;
    ctx.engine.pause.begin(until_ms, writes_only);
    reply.ok();
    Ok(())
}

const UNPAUSE: Command = Command {
    name: "UNPAUSE",
    summary: "End CLIENT PAUSE.",
    since: "6.2.0",
    example: "CLIENT UNPAUSE -> OK",
    run: Run::Server(unpause),
    ..ADMIN
};

fn unpause(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    ctx.engine.pause.end();
    reply.ok();
    Ok(())
}
