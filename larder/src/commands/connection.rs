//! Commands about the connection itself. CLIENT has a file of its own.

use crate::args::Args;
use crate::command::{Command, Cost, Run, Trait};
use crate::engine::{Engine, ServerCtx, Step};
use crate::fault::{Fault, Outcome};
use crate::session::{Replies, Session};
use larder_resp::{Proto, ReplyWriter};
use std::sync::atomic::Ordering;

pub(crate) const FAMILY: &[Command] = &[PING, ECHO, AUTH, HELLO, SELECT, QUIT, RESET, super::client::CLIENT];

/// What commands that work before AUTH have in common.
const BEFORE_AUTH: &[Trait] =
    &[Trait::NoScript, Trait::Loading, Trait::Stale, Trait::NoAuth, Trait::AllowBusy];

const PING: Command = Command {
    name: "PING",
    usage: "[message]",
    summary: "Answer PONG, or the message.",
    cost: Cost::Fast("O(1)"),
    example: "PING -> PONG\nPING hello -> \"hello\"",
    traits: &[],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    run: Run::Server(ping),
    ..Command::CONNECTION
};

fn ping(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if args.len() > 1 {
        return Err(Fault::arity("ping"));
    }
    let message = args.peek();
    if ctx.session.proto() == Proto::Resp2 && ctx.client().is_subscriber() {
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(message.unwrap_or(b""));
        return Ok(());
    }
    match message {
        Some(_) => reply.bulk(args.bytes()?),
        None => reply.simple("PONG"),
    }
    Ok(())
}

const ECHO: Command = Command {
    name: "ECHO",
    usage: "message",
    summary: "Answer the message.",
    cost: Cost::Fast("O(1)"),
    example: "ECHO hello -> \"hello\"",
    traits: &[Trait::Loading, Trait::Stale],
    run: Run::Server(echo),
    ..Command::CONNECTION
};

fn echo(_ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.bulk(args.bytes()?);
    Ok(())
}

const SELECT: Command = Command {
    name: "SELECT",
    usage: "index",
    summary: "Work on another database.",
    cost: Cost::Fast("O(1)"),
    example: "SELECT 1 -> OK",
    traits: &[Trait::Loading, Trait::Stale],
    run: Run::Server(select),
    ..Command::CONNECTION
};

fn select(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let index = i32::try_from(args.int()?).map_err(|_| Fault::OUT_OF_INT)?;
    let db = usize::try_from(index).ok().filter(|db| *db < ctx.engine.config.databases);
    ctx.session.select(db.ok_or(Fault::DB_OUT_OF_RANGE)?);
    reply.ok();
    Ok(())
}

const QUIT: Command = Command {
    name: "QUIT",
    usage: "",
    summary: "Close the connection.",
    cost: Cost::Fast("O(1)"),
    arity: -1,
    example: "QUIT -> OK",
    traits: &[
        Trait::NoScript,
        Trait::Loading,
        Trait::Stale,
        Trait::NoAuth,
        Trait::AllowBusy,
        Trait::RunsInMulti,
    ],
    run: Run::Server(quit),
    ..Command::CONNECTION
};

fn quit(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    ctx.step = Step::Close;
    reply.ok();
    Ok(())
}

const RESET: Command = Command {
    name: "RESET",
    usage: "",
    summary: "Put the connection back into the state of a new one.",
    cost: Cost::Fast("O(1)"),
    since: "6.2.0",
    example: "RESET -> RESET",
    traits: &[
        Trait::NoScript,
        Trait::Loading,
        Trait::Stale,
        Trait::NoAuth,
        Trait::AllowBusy,
        Trait::RunsInMulti,
    ],
    run: Run::Server(reset),
    ..Command::CONNECTION
};

fn reset(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let engine = ctx.engine;
    let session = &mut *ctx.session;
    session.multi = None;
    session.publish_multi();
    engine.forget_watches(session);
    super::pubsub::unsubscribe_all(engine, session);
    engine.clients.end_monitor(&session.client);
    super::pubsub::deliver(ctx, reply);
    let session = &mut *ctx.session;
    session.client.no_evict.store(false, Ordering::Relaxed);
    session.client.no_touch.store(false, Ordering::Relaxed);
    session.client.text.lock().name.clear();
    session.replies = Replies::On;
    session.select(0);
    session.set_proto(Proto::Resp2);
    session.is_authenticated = engine.config.password.read().is_empty();
    reply.set_proto(Proto::Resp2);
    reply.simple("RESET");
    Ok(())
}

const AUTH: Command = Command {
    name: "AUTH",
    usage: "[username] password",
    summary: "Give the password.",
    cost: Cost::Fast("O(N) where N is the number of passwords defined for the user"),
    arity: -2,
    traits: BEFORE_AUTH,
    run: Run::Server(auth),
    ..Command::CONNECTION
};

fn auth(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if args.len() > 2 {
        return Err(Fault::SYNTAX);
    }
    let user = if args.len() == 2 { Some(args.bytes()?) } else { None };
    let password = args.bytes()?;
    if user.is_none() && ctx.engine.config.password.read().is_empty() {
        return Err(Fault::err(
            "AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?",
        ));
    }
    authenticate(ctx.engine, ctx.session, user.unwrap_or(DEFAULT_USER), password)?;
    reply.ok();
    Ok(())
}

/// The one user there is without ACL.
const DEFAULT_USER: &[u8] = b"default";

fn authenticate(engine: &Engine, session: &mut Session, user: &[u8], password: &[u8]) -> Outcome {
    let expected = engine.config.password.read();
    if user != DEFAULT_USER || !(expected.is_empty() || same_secret(&expected, password)) {
        return Err(Fault::WRONG_PASS);
    }
    session.is_authenticated = true;
    Ok(())
}

/// Compares in a time that says nothing about where the two differ.
fn same_secret(expected: &[u8], given: &[u8]) -> bool {
    let mut difference = expected.len() ^ given.len();
    for (index, byte) in expected.iter().enumerate() {
        difference |= usize::from(byte ^ given.get(index).unwrap_or(&0));
    }
    difference == 0
}

const HELLO: Command = Command {
    name: "HELLO",
    usage: "[protover [AUTH username password] [SETNAME clientname]]",
    summary: "Agree on a protocol, and optionally authenticate and name the connection.",
    cost: Cost::Fast("O(1)"),
    since: "6.0.0",
    traits: BEFORE_AUTH,
    run: Run::Server(hello),
    ..Command::CONNECTION
};

fn hello(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let mut proto = None;
    if !args.is_empty() {
        let not_integer = Fault::err("Protocol version is not an integer or out of range");
        proto = match args.int_in(i64::MIN..=i64::MAX, not_integer)? {
            2 => Some(Proto::Resp2),
            3 => Some(Proto::Resp3),
            _ => return Err(Fault::NO_PROTO),
        };
    }
    let mut credentials = None;
    let mut name = None;
    while let Some(option) = args.peek() {
        if args.len() >= 3 && args.flag("AUTH") {
            credentials = Some((args.bytes()?, args.bytes()?));
        } else if args.len() >= 2 && args.flag("SETNAME") {
            name = Some(super::client::valid_name(args.bytes()?)?);
        } else {
            let shown = String::from_utf8_lossy(option);
            return Err(Fault::err(format!("Syntax error in HELLO option '{shown}'")));
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(ctx.engine, ctx.session, user, password)?;
    }
    if !ctx.session.is_authenticated {
        return Err(Fault::coded(
            "NOAUTH",
            "HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same \
             time",
        ));
    }
    if let Some(name) = name {
        ctx.client().text.lock().name = name;
    }
    if let Some(proto) = proto {
        ctx.session.set_proto(proto);
        reply.set_proto(proto);
    }
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(crate::REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if ctx.session.proto() == Proto::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(ctx.client().id as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}
