//! CONFIG: the parameters, the engine's own and those of the house it lives in.

use crate::args::Args;
use crate::command::{Command, Cost, Run, Trait};
use crate::config::Config;
use crate::config::params::{IMMUTABLE, PARAMS, Param};
use crate::engine::{Engine, ServerCtx};
use crate::fault::{Fault, Outcome};
use crate::glob;
use larder_resp::ReplyWriter;
use std::collections::BTreeMap;

pub(super) const CONFIG: Command = Command {
    name: "CONFIG",
    usage: "",
    summary: "Commands about the parameters.",
    cost: Cost::Slow("Depends on subcommand."),
    since: "2.0.0",
    traits: &[],
    subcommands: &[GET, super::super::HELP, RESETSTAT, REWRITE, SET],
    run: Run::Container,
    ..ADMIN
};

const ADMIN: Command = Command {
    traits: &[Trait::Admin, Trait::NoScript, Trait::Loading, Trait::Stale],
    since: "2.0.0",
    ..Command::SERVER
};

/// The row of an engine's parameter, by its name or its former one.
fn engine_row(name: &str) -> Option<&'static Param<Config>> {
    PARAMS.iter().find(|row| row.is_called(name))
}

const GET: Command = Command {
    name: "GET",
    usage: "parameter [parameter ...]",
    summary: "The values of parameters, by name or pattern.",
    cost: Cost::Slow("O(N) when N is the number of configuration parameters provided"),
    example: "CONFIG GET maxmemory -> 1) \"maxmemory\" 2) \"0\"",
    run: Run::Server(get),
    ..ADMIN
};

fn get(ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for pattern in args.rest() {
        if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
            // A plain name is shown as it was asked for.
            let name = String::from_utf8_lossy(pattern);
            let lower = name.to_ascii_lowercase();
            let is_known = found.keys().any(|known| known.eq_ignore_ascii_case(&lower));
            if let Some(value) = value_of(ctx.engine, &lower).filter(|_| !is_known) {
                found.insert(name.into_owned(), value);
            }
            continue;
        }
        let is_wanted = |name: &&str| glob::matches_ignore_case(pattern, name.as_bytes());
        for name in names(ctx.engine).iter().copied().filter(is_wanted) {
            if let Some(value) = value_of(ctx.engine, name) {
                found.insert(name.to_owned(), value);
            }
        }
    }
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    Ok(())
}

/// All names, former ones included.
fn names(engine: &Engine) -> Vec<&'static str> {
    let own = PARAMS.iter().flat_map(|row| std::iter::once(row.name).chain(row.alias));
    own.chain(engine.host().map(|host| host.parameter_names()).unwrap_or_default()).collect()
}

fn value_of(engine: &Engine, name: &str) -> Option<String> {
    match engine_row(name) {
        Some(row) => Some((row.get)(&engine.config)),
        None => engine.host()?.parameter(name),
    }
}

const SET: Command = Command {
    name: "SET",
    usage: "parameter value [parameter value ...]",
    summary: "Change parameters: all of them, or none.",
    cost: Cost::Slow("O(N) when N is the number of configuration parameters provided"),
    example: "CONFIG SET maxmemory 1gb maxmemory-policy allkeys-lru -> OK\n\
              CONFIG GET maxmemory -> 1) \"maxmemory\" 2) \"1073741824\"",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: Run::Server(set),
    ..ADMIN
};

/// A parameter about to change.
struct Change {
    /// As the caller wrote it.
    shown: String,
    /// In small letters.
    name: String,
    value: String,
    row: Option<&'static Param<Config>>,
}

fn set(ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if args.len() % 2 == 1 {
        return Err(Fault::SYNTAX);
    }
    let mut changes: Vec<Change> = Vec::with_capacity(args.len() / 2);
    while !args.is_empty() {
        let change = named_change(ctx.engine, args.bytes()?, args.bytes()?)?;
        if changes.iter().any(|other| other.name == change.name) {
            return Err(failed(&change.shown, "duplicate parameter"));
        }
        changes.push(change);
    }
    for change in &changes {
        check(ctx.engine, &change.name, &change.value, change.row)
            .map_err(|why| failed(&change.shown, &why))?;
    }
    apply(ctx.engine, &changes)?;
    reply.ok();
    Ok(())
}

/// The parameter of this name, if it exists and may change.
fn named_change(engine: &Engine, name: &[u8], value: &[u8]) -> Result<Change, Fault> {
    let shown = String::from_utf8_lossy(name).into_owned();
    let name = shown.to_ascii_lowercase();
    let value = String::from_utf8_lossy(value).into_owned();
    let row = engine_row(&name);
    match row {
        Some(row) if !row.is_mutable => return Err(failed(&shown, IMMUTABLE)),
        Some(_) => {}
        None => {
            let host = engine.host().filter(|host| host.parameter(&name).is_some());
            let Some(host) = host else {
                return Err(Fault::err(format!(
                    "Unknown option or number of arguments for CONFIG SET - '{shown}'"
                )));
            };
            // What cannot change at all is refused before any value is looked at.
            if host.check_parameter(&name, &value).is_err_and(|why| why == IMMUTABLE) {
                return Err(failed(&shown, IMMUTABLE));
            }
        }
    }
    Ok(Change { shown, name, value, row })
}

fn check(engine: &Engine, name: &str, value: &str, row: Option<&Param<Config>>) -> Result<(), String> {
    match (row, engine.host()) {
        (Some(row), _) => row.kind.check(value),
        (None, Some(host)) => host.check_parameter(name, value),
        // Nobody's parameter was refused when it was looked up.
        (None, None) => Ok(()),
    }
}

/// Makes checked changes. What the house cannot do after all is undone with what went before it.
fn apply(engine: &Engine, changes: &[Change]) -> Outcome {
    let mut undo: Vec<(&Change, String)> = Vec::with_capacity(changes.len());
    for change in changes {
        let before = value_of(engine, &change.name).unwrap_or_default();
        if let Err(why) = assign(engine, change, &change.value) {
            for (change, before) in undo.into_iter().rev() {
                // What could be set a moment ago can be set back; if not, the error already sent says enough.
                let _cannot_be_undone = assign(engine, change, &before);
            }
            return Err(failed(&change.shown, &why));
        }
        undo.push((change, before));
    }
    Ok(())
}

fn assign(engine: &Engine, change: &Change, value: &str) -> Result<(), String> {
    match (change.row, engine.host()) {
        (Some(row), _) => {
            (row.set)(&engine.config, value);
            Ok(())
        }
        (None, Some(host)) => host.set_parameter(&change.name, value),
        (None, None) => Ok(()),
    }
}

fn failed(name: &str, why: &str) -> Fault {
    Fault::err(format!("CONFIG SET failed (possibly related to argument '{name}') - {why}"))
}

const RESETSTAT: Command = Command {
    name: "RESETSTAT",
    summary: "Set the counters of INFO back to zero.",
    example: "CONFIG RESETSTAT -> OK",
    run: Run::Server(resetstat),
    ..ADMIN
};

fn resetstat(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    ctx.engine.stats.reset();
    ctx.engine.freer.reset();
    reply.ok();
    Ok(())
}

const REWRITE: Command = Command {
    name: "REWRITE",
    summary: "Write the parameters into the configuration file.",
    since: "2.8.0",
    example: "CONFIG REWRITE -> (error) ERR The server is running without a config file",
    run: Run::Server(rewrite),
    ..ADMIN
};

fn rewrite(ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    match ctx.engine.host() {
        Some(host) => host.rewrite_config()?,
        None => return Err(Fault::err("The server is running without a config file")),
    }
    reply.ok();
    Ok(())
}
