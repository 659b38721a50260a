//! SLOWLOG: the last commands that took long.

use crate::args::Args;
use crate::command::{Command, Cost, Run, Trait};
use crate::engine::ServerCtx;
use crate::fault::{Fault, Outcome};
use larder_resp::ReplyWriter;

pub(super) const SLOWLOG: Command = Command {
    name: "SLOWLOG",
    usage: "",
    summary: "Commands about the slow log.",
    cost: Cost::Slow("Depends on subcommand."),
    traits: &[],
    subcommands: &[GET, super::super::HELP, LEN, RESET],
    run: Run::Container,
    ..ABOUT
};

const ABOUT: Command =
    Command { since: "2.2.12", traits: &[Trait::Admin, Trait::Loading, Trait::Stale], ..Command::SERVER };

const GET: Command = Command {
    name: "GET",
    usage: "[count]",
    summary: "The newest slow commands; 10 if no count is given, all if it is -1.",
    cost: Cost::Slow("O(N) where N is the number of entries returned"),
    example: "SLOWLOG GET -> (empty array)",
    tips: &["request_policy:all_nodes", "nondeterministic_output"],
    run: Run::Server(get),
    ..ABOUT
};

fn get(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    const USUAL: usize = 10;
    if args.len() > 1 {
        return Err(super::super::unknown_form("SLOWLOG", args));
    }
    let count = if args.is_empty() {
        Some(USUAL)
    } else {
        let fault = Fault::err("count should be greater than or equal to -1");
        usize::try_from(args.int_in(-1..=i64::MAX, fault)?).ok()
    };
    let commands = ctx.engine.slowlog.newest(count);
    reply.array(commands.len());
    for command in commands {
        reply.array(6);
        reply.integer(command.id as i64);
        reply.integer(command.unix_seconds as i64);
        reply.integer(command.usec as i64);
        reply.array(command.arguments.len());
        command.arguments.iter().for_each(|argument| reply.bulk(argument));
        reply.bulk(command.address.as_bytes());
        reply.bulk(command.client_name.as_bytes());
    }
    Ok(())
}

const LEN: Command = Command {
    name: "LEN",
    summary: "How many commands the slow log holds.",
    example: "SLOWLOG LEN -> (integer) 0",
    tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
    run: Run::Server(len),
    ..ABOUT
};

fn len(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(ctx.engine.slowlog.len() as i64);
    Ok(())
}

const RESET: Command = Command {
    name: "RESET",
    summary: "Empty the slow log.",
    cost: Cost::Slow("O(N) where N is the number of entries in the slowlog"),
    example: "SLOWLOG RESET -> OK",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: Run::Server(reset),
    ..ABOUT
};

fn reset(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    ctx.engine.slowlog.clear();
    reply.ok();
    Ok(())
}
