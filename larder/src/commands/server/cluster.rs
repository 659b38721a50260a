//! CLUSTER, for clients that ask whether there is one.

use crate::args::Args;
use crate::command::{Command, Cost, Run, Trait};
use crate::engine::ServerCtx;
use crate::fault::{Fault, Outcome};
use larder_resp::ReplyWriter;

pub(super) const CLUSTER: Command = Command {
    name: "CLUSTER",
    summary: "Commands about a cluster, which this server is no part of.",
    cost: Cost::Slow("Depends on subcommand."),
    since: "3.0.0",
    subcommands: &[HELP, INFO, KEYSLOT, MYID, NODES, SHARDS, SLOTS],
    ..Command::SERVER
};

const fn absent(name: &'static str, example: &'static str, tips: &'static [&'static str]) -> Command {
    Command {
        name,
        summary: "Always an error here.",
        since: "3.0.0",
        traits: &[Trait::Stale],
        example,
        tips,
        run: Run::Server(refuse),
        ..Command::SERVER
    }
}

const UNSTABLE: &[&str] = &["nondeterministic_output"];

const INFO: Command = Command {
    ..absent("INFO", "CLUSTER INFO -> (error) ERR This instance has cluster support disabled", UNSTABLE)
};
const NODES: Command = Command {
    cost: Cost::Slow("O(N) where N is the total number of Cluster nodes"),
    ..absent("NODES", "CLUSTER NODES -> (error) ERR This instance has cluster support disabled", UNSTABLE)
};
const SLOTS: Command = Command {
    cost: Cost::Slow("O(N) where N is the total number of Cluster nodes"),
    ..absent("SLOTS", "CLUSTER SLOTS -> (error) ERR This instance has cluster support disabled", UNSTABLE)
};
const SHARDS: Command = Command {
    cost: Cost::Slow("O(N) where N is the total number of cluster nodes"),
    since: "7.0.0",
    ..absent("SHARDS", "CLUSTER SHARDS -> (error) ERR This instance has cluster support disabled", UNSTABLE)
};
const MYID: Command =
    absent("MYID", "CLUSTER MYID -> (error) ERR This instance has cluster support disabled", &[]);
const KEYSLOT: Command = Command {
    usage: "string",
    cost: Cost::Slow("O(N) where N is the number of bytes in the key"),
    ..absent(
        "KEYSLOT",
        "CLUSTER KEYSLOT greeting -> (error) ERR This instance has cluster support disabled",
        &[],
    )
};
const HELP: Command =
    Command { since: "5.0.0", traits: &[Trait::Loading, Trait::Stale], ..absent("HELP", "", &[]) };

fn refuse(_ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, _reply: &mut ReplyWriter<'_>) -> Outcome {
    Err(Fault::err("This instance has cluster support disabled"))
}
