//! The commands, one file per family; each file lists its commands in `FAMILY`.

use crate::args::Args;
use crate::command::{Command, Run, Trait};
use crate::engine::ServerCtx;
use crate::fault::{Fault, Outcome};
use larder_resp::ReplyWriter;

pub(crate) mod cache;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod hash;
pub(crate) mod keys;
pub(crate) mod list;
mod members;
pub(crate) mod pubsub;
pub(crate) mod server;
pub(crate) mod set;
pub(crate) mod string;
pub(crate) mod transaction;
pub(crate) mod zset;

/// All commands.
pub(crate) const FAMILIES: &[&[Command]] = &[
    connection::FAMILY,
    keys::FAMILY,
    string::FAMILY,
    list::FAMILY,
    hash::FAMILY,
    set::FAMILY,
    zset::FAMILY,
    pubsub::FAMILY,
    transaction::FAMILY,
    cache::FAMILY,
    server::FAMILY,
];

/// `HELP` of every container: its subcommands, as they are declared.
pub(crate) const HELP: Command = Command {
    name: "HELP",
    summary: "Print this help.",
    since: "5.0.0",
    traits: &[Trait::Loading, Trait::Stale],
    run: Run::Server(help),
    ..Command::BASE
};

fn help(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let Some(container) = ctx.registered.parent else { return Err(Fault::SYNTAX) };
    reply.array(1 + 2 * container.subcommands.len());
    reply.simple(format!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container.name));
    for subcommand in container.subcommands {
        reply.simple(format!("{} {}", subcommand.name, subcommand.usage).trim_end());
        reply.simple(format!("    {}", subcommand.summary));
    }
    Ok(())
}

/// The error for a subcommand whose number of arguments only its handler can judge.
pub(crate) fn unknown_form(container: &str, args: Args<'_>) -> Fault {
    let shown = String::from_utf8_lossy(args.request().arg(1)).into_owned();
    Fault::err(format!(
        "unknown subcommand or wrong number of arguments for '{shown}'. Try {container} HELP."
    ))
}
