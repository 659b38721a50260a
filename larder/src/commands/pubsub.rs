//! Publish and subscribe.

use crate::args::Args;
use crate::command::{Command, Cost, Group, Run, Trait};
use crate::engine::{Engine, ServerCtx};
use crate::fault::Outcome;
use crate::session::Session;
use larder_resp::ReplyWriter;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) const FAMILY: &[Command] = &[SUBSCRIBE, UNSUBSCRIBE, PSUBSCRIBE, PUNSUBSCRIBE, PUBLISH, PUBSUB];

const BASE: Command = Command {
    group: Group::PubSub,
    since: "2.0.0",
    traits: &[Trait::PubSub, Trait::NoScript, Trait::Loading, Trait::Stale],
    ..Command::BASE
};

const SUBSCRIBE: Command = Command {
    name: "SUBSCRIBE",
    usage: "channel [channel ...]",
    summary: "Receive what is published on channels.",
    cost: Cost::Slow("O(N) where N is the number of channels to subscribe to."),
    example: "SUBSCRIBE news -> 1) \"subscribe\" 2) \"news\" 3) (integer) 1",
    run: Run::Server(subscribe),
    ..BASE
};

fn subscribe(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    for name in args.rest() {
        if !ctx.session.channels.contains(name) {
            let channel: Arc<[u8]> = name.into();
            ctx.engine.pubsub.subscribe(&channel, &ctx.session.client);
            ctx.session.channels.insert(channel);
        }
        confirm(ctx.session, "subscribe", Some(name), reply);
    }
    Ok(())
}

const UNSUBSCRIBE: Command = Command {
    name: "UNSUBSCRIBE",
    usage: "[channel [channel ...]]",
    summary: "Receive no more what is published on channels, or on any.",
    cost: Cost::Slow("O(N) where N is the number of clients already subscribed to a channel."),
    example: "UNSUBSCRIBE news -> 1) \"unsubscribe\" 2) \"news\" 3) (integer) 0",
    run: Run::Server(unsubscribe),
    ..BASE
};

fn unsubscribe(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let names: Vec<Arc<[u8]>> = match args.is_empty() {
        true => ctx.session.channels.iter().cloned().collect(),
        false => args.rest().map(Arc::from).collect(),
    };
    for name in &names {
        if ctx.session.channels.remove(name) {
            ctx.engine.pubsub.unsubscribe(name, &ctx.session.client);
            deliver(ctx, reply);
        }
        confirm(ctx.session, "unsubscribe", Some(name), reply);
    }
    if names.is_empty() {
        confirm(ctx.session, "unsubscribe", None, reply);
    }
    Ok(())
}

const PSUBSCRIBE: Command = Command {
    name: "PSUBSCRIBE",
    usage: "pattern [pattern ...]",
    summary: "Receive what is published on channels that match patterns.",
    cost: Cost::Slow("O(N) where N is the number of patterns the client is already subscribed to."),
    example: "PSUBSCRIBE news.* -> 1) \"psubscribe\" 2) \"news.*\" 3) (integer) 1",
    run: Run::Server(psubscribe),
    ..BASE
};

fn psubscribe(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    for name in args.rest() {
        if !ctx.session.patterns.contains(name) {
            let pattern: Arc<[u8]> = name.into();
            ctx.engine.pubsub.subscribe_pattern(&pattern, &ctx.session.client);
            ctx.session.patterns.insert(pattern);
        }
        confirm(ctx.session, "psubscribe", Some(name), reply);
    }
    Ok(())
}

const PUNSUBSCRIBE: Command = Command {
    name: "PUNSUBSCRIBE",
    usage: "[pattern [pattern ...]]",
    summary: "Receive no more what is published on channels that match patterns, or any.",
    cost: Cost::Slow("O(N) where N is the number of patterns to unsubscribe."),
    example: "PUNSUBSCRIBE news.* -> 1) \"punsubscribe\" 2) \"news.*\" 3) (integer) 0",
    run: Run::Server(punsubscribe),
    ..BASE
};

fn punsubscribe(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let names: Vec<Arc<[u8]>> = match args.is_empty() {
        true => ctx.session.patterns.iter().cloned().collect(),
        false => args.rest().map(Arc::from).collect(),
    };
    for name in &names {
        if ctx.session.patterns.remove(name) {
            ctx.engine.pubsub.unsubscribe_pattern(name, &ctx.session.client);
            deliver(ctx, reply);
        }
        confirm(ctx.session, "punsubscribe", Some(name), reply);
    }
    if names.is_empty() {
        confirm(ctx.session, "punsubscribe", None, reply);
    }
    Ok(())
}

/// Writes what is in the mailbox. Before the end of a subscription is confirmed, this makes the confirmation the last
/// that is heard of it: a client that has left the state of subscribers would take a message for a reply.
pub(super) fn deliver(ctx: &ServerCtx<'_, '_>, reply: &mut ReplyWriter<'_>) {
    // Within EXEC the reply is an array, in which a message has no place.
    if ctx.hold.is_none() && ctx.session.client.has_mail() {
        ctx.session.client.take_mail().iter().for_each(|push| push.write(reply));
    }
}

/// Publishes how much the session is subscribed to, and confirms one change.
fn confirm(session: &Session, verb: &str, name: Option<&[u8]>, reply: &mut ReplyWriter<'_>) {
    publish_counts(session);
    reply.push(3);
    reply.bulk(verb.as_bytes());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.integer((session.channels.len() + session.patterns.len()) as i64);
}

fn publish_counts(session: &Session) {
    session.client.channels.store(session.channels.len(), Ordering::Relaxed);
    session.client.patterns.store(session.patterns.len(), Ordering::Relaxed);
}

/// Ends all subscriptions without a word.
pub(super) fn unsubscribe_all(engine: &Engine, session: &mut Session) {
    for channel in std::mem::take(&mut session.channels) {
        engine.pubsub.unsubscribe(&channel, &session.client);
    }
    for pattern in std::mem::take(&mut session.patterns) {
        engine.pubsub.unsubscribe_pattern(&pattern, &session.client);
    }
    publish_counts(session);
}

const PUBLISH: Command = Command {
    name: "PUBLISH",
    usage: "channel message",
    summary: "Send a message to all who subscribe to a channel, and tell how many that are.",
    cost: Cost::Fast(
        "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of \
         subscribed patterns (by any client).",
    ),
    example: "PUBLISH news hello -> (integer) 0",
    traits: &[Trait::PubSub, Trait::Loading, Trait::Stale, Trait::MayReplicate],
    run: Run::Server(publish),
    ..BASE
};

fn publish(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let receivers = ctx.engine.pubsub.publish(args.bytes()?, args.bytes()?);
    reply.integer(receivers as i64);
    Ok(())
}

const PUBSUB: Command = Command {
    name: "PUBSUB",
    summary: "Commands about channels and who listens.",
    since: "2.8.0",
    traits: &[],
    subcommands: &[CHANNELS, super::HELP, NUMPAT, NUMSUB],
    ..BASE
};

/// What the subcommands of PUBSUB start from.
const LOOK: Command =
    Command { since: "2.8.0", traits: &[Trait::PubSub, Trait::Loading, Trait::Stale], ..BASE };

const CHANNELS: Command = Command {
    name: "CHANNELS",
    usage: "[pattern]",
    summary: "The channels that have subscribers.",
    cost: Cost::Slow("O(N) where N is the number of active channels"),
    example: "PUBSUB CHANNELS -> (empty array)",
    run: Run::Server(channels),
    ..LOOK
};

fn channels(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if args.len() > 1 {
        return Err(super::unknown_form("PUBSUB", args));
    }
    let channels = ctx.engine.pubsub.channels(args.peek());
    reply.array(channels.len());
    channels.iter().for_each(|channel| reply.bulk(channel));
    Ok(())
}

const NUMSUB: Command = Command {
    name: "NUMSUB",
    usage: "[channel [channel ...]]",
    summary: "How many subscribe to each of some channels.",
    cost: Cost::Slow("O(N) for the NUMSUB subcommand, where N is the number of requested channels"),
    example: "PUBSUB NUMSUB -> (empty array)",
    run: Run::Server(numsub),
    ..LOOK
};

fn numsub(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.array(2 * args.len());
    for channel in args.rest() {
        reply.bulk(channel);
        reply.integer(ctx.engine.pubsub.subscribers(channel) as i64);
    }
    Ok(())
}

const NUMPAT: Command = Command {
    name: "NUMPAT",
    summary: "How many patterns are subscribed to.",
    example: "PUBSUB NUMPAT -> (integer) 0",
    run: Run::Server(numpat),
    ..LOOK
};

fn numpat(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(ctx.engine.pubsub.pattern_count() as i64);
    Ok(())
}
