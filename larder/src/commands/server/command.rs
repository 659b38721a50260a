//! COMMAND: the declarations, as clients ask for them.
//!
//! Client libraries and terminals read these replies when they connect, so the two long ones are written once per
//! protocol and kept.

use crate::args::Args;
use crate::command::{Access, Command, Cost, Find, Group, Keys, Run, Trait};
use crate::describe;
use crate::engine::ServerCtx;
use crate::fault::{Fault, Outcome};
use crate::glob;
use crate::registry::{self, Registered};
use crate::usage::{Kind, Node, Shape, Usage};
use larder_resp::{Proto, ReplyWriter, Request};
use std::sync::OnceLock;

pub(super) const COMMAND: Command = Command {
    name: "COMMAND",
    usage: "",
    summary: "The facts of all commands.",
    cost: Cost::Slow("O(N) where N is the total number of commands"),
    since: "2.8.13",
    arity: -1,
    categories: &["@connection"],
    tips: &["nondeterministic_output_order"],
    subcommands: &[COUNT, DOCS, GETKEYS, GETKEYSANDFLAGS, HELP, INFO, LIST],
    run: Run::Server(command),
    ..ABOUT
};

/// What COMMAND and its subcommands have in common.
const ABOUT: Command =
    Command { traits: &[Trait::Loading, Trait::Stale], categories: &["@connection"], ..Command::SERVER };

const HELP: Command = Command { group: Group::Server, categories: &["@connection"], ..super::super::HELP };

/// A reply that is the same every time, one for each protocol.
struct Kept([OnceLock<Vec<u8>>; 2]);

impl Kept {
    const fn new() -> Kept {
        Kept([OnceLock::new(), OnceLock::new()])
    }

    fn reply(&self, reply: &mut ReplyWriter<'_>, write: impl FnOnce(&mut ReplyWriter<'_>)) {
        let proto = reply.proto();
        let kept = self.0[usize::from(proto == Proto::Resp3)].get_or_init(|| {
            let mut out = Vec::new();
            write(&mut ReplyWriter::new(&mut out, proto));
            out
        });
        reply.raw(kept);
    }
}

/// The commands that are no subcommands.
fn top_level() -> impl Iterator<Item = &'static Registered> {
    registry::all().filter(|one| one.parent.is_none())
}

/// A command by the name COMMAND INFO takes: `get`, or `config|get`.
fn named(name: &[u8]) -> Option<&'static Registered> {
    match name.iter().position(|byte| *byte == b'|') {
        None => registry::find(name),
        Some(bar) => registry::find(&name[..bar])?.subcommand(&name[bar + 1..]),
    }
}

fn command(_ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    write_all_facts(reply);
    Ok(())
}

fn write_all_facts(reply: &mut ReplyWriter<'_>) {
    static ALL: Kept = Kept::new();
    ALL.reply(reply, |reply| {
        reply.array(top_level().count());
        top_level().for_each(|registered| write_facts(registered, reply));
    });
}

/// The ten facts of one command.
fn write_facts(registered: &Registered, reply: &mut ReplyWriter<'_>) {
    let command = registered.command;
    reply.array(10);
    reply.bulk(registered.full_name.as_bytes());
    reply.integer(registered.arity);
    write_words(&describe::flags(command), reply);
    let (first, last, step) = describe::positions(command);
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    let categories: Vec<&str> = describe::categories(command).into_iter().collect();
    write_words(&categories, reply);
    reply.set(command.tips.len());
    command.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(command.keys.len());
    command.keys.iter().for_each(|keys| write_key_spec(keys, reply));
    match registered.subcommands().count() {
        0 => reply.set(0),
        count => {
            reply.array(count);
            registered.subcommands().for_each(|subcommand| write_facts(subcommand, reply));
        }
    }
}

/// A set of simple strings: redis-cli stops at anything else.
fn write_words(words: &[impl AsRef<[u8]>], reply: &mut ReplyWriter<'_>) {
    reply.set(words.len());
    words.iter().for_each(|word| reply.simple(word));
}

fn write_pair(name: &str, value: i64, reply: &mut ReplyWriter<'_>) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

fn write_key_spec(keys: &Keys, reply: &mut ReplyWriter<'_>) {
    reply.map(if keys.notes.is_empty() { 3 } else { 4 });
    if !keys.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(keys.notes.as_bytes());
    }
    reply.bulk(b"flags");
    write_words(&describe::key_flags(keys), reply);
    let begin = match keys.find {
        Find::Range { first, .. } => first,
        Find::Count { at, .. } => at,
    };
    reply.bulk(b"begin_search");
    write_search("index", 1, reply);
    write_pair("index", begin as i64, reply);
    reply.bulk(b"find_keys");
    match keys.find {
        Find::Range { first, last, step } => {
            write_search("range", 3, reply);
            // Counted from the first key if positive, from the end of the request if negative.
            write_pair("lastkey", if last < 0 { last } else { last - first as i64 }, reply);
            write_pair("keystep", step as i64, reply);
            write_pair("limit", 0, reply);
        }
        Find::Count { at, first } => {
            write_search("keynum", 3, reply);
            write_pair("keynumidx", 0, reply);
            write_pair("firstkey", (first - at) as i64, reply);
            write_pair("keystep", 1, reply);
        }
    }
}

/// The head of a search: its type, and that a map of `facts` facts follows.
fn write_search(kind: &str, facts: usize, reply: &mut ReplyWriter<'_>) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(facts);
}

const COUNT: Command = Command {
    name: "COUNT",
    summary: "How many commands there are.",
    since: "2.8.13",
    run: Run::Server(count),
    ..ABOUT
};

fn count(_ctx: &mut ServerCtx<'_, '_>, _args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply.integer(top_level().count() as i64);
    Ok(())
}

const LIST: Command = Command {
    name: "LIST",
    usage: "[FILTERBY <MODULE module-name|ACLCAT category|PATTERN pattern>]",
    summary: "The names of all commands, or of some.",
    cost: Cost::Slow("O(N) where N is the total number of commands"),
    since: "7.0.0",
    example: "COMMAND LIST FILTERBY PATTERN ech* -> 1) \"echo\"",
    tips: &["nondeterministic_output_order"],
    run: Run::Server(list),
    ..ABOUT
};

fn list(_ctx: &mut ServerCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if args.is_empty() {
        write_names(&top_level().collect::<Vec<_>>(), reply);
        return Ok(());
    }
    if args.len() != 3 || !args.flag("FILTERBY") {
        return Err(Fault::SYNTAX);
    }
    let filter = args.bytes()?;
    let wanted = args.bytes()?;
    let found: Vec<&Registered> = if filter.eq_ignore_ascii_case(b"MODULE") {
        Vec::new()
    } else if filter.eq_ignore_ascii_case(b"ACLCAT") {
        let is_wanted = |category: &&str| wanted.eq_ignore_ascii_case(&category.as_bytes()[1..]);
        registry::all().filter(|one| describe::categories(one.command).iter().any(is_wanted)).collect()
    } else if filter.eq_ignore_ascii_case(b"PATTERN") {
        registry::all().filter(|one| glob::matches_ignore_case(wanted, one.full_name.as_bytes())).collect()
    } else {
        return Err(Fault::SYNTAX);
    };
    write_names(&found, reply);
    Ok(())
}

fn write_names(commands: &[&Registered], reply: &mut ReplyWriter<'_>) {
    reply.array(commands.len());
    commands.iter().for_each(|registered| reply.bulk(registered.full_name.as_bytes()));
}

const INFO: Command = Command {
    name: "INFO",
    usage: "[command-name [command-name ...]]",
    summary: "The facts of some commands, or of all.",
    cost: Cost::Slow("O(N) where N is the number of commands to look up"),
    since: "2.8.13",
    tips: &["nondeterministic_output_order"],
    run: Run::Server(info),
    ..ABOUT
};

fn info(_ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    if args.is_empty() {
        write_all_facts(reply);
        return Ok(());
    }
    reply.array(args.len());
    for name in args.rest() {
        match named(name) {
            Some(registered) => write_facts(registered, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

const DOCS: Command = Command {
    name: "DOCS",
    usage: "[command-name [command-name ...]]",
    summary: "The documentation of some commands, or of all.",
    cost: Cost::Slow("O(N) where N is the number of commands to look up"),
    since: "7.0.0",
    tips: &["nondeterministic_output_order"],
    run: Run::Server(docs),
    ..ABOUT
};

fn docs(_ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    static ALL: Kept = Kept::new();
    if args.is_empty() {
        ALL.reply(reply, |reply| {
            reply.map(top_level().count());
            top_level().for_each(|registered| write_docs(registered, reply));
        });
        return Ok(());
    }
    let found: Vec<&Registered> = args.rest().filter_map(named).collect();
    reply.map(found.len());
    found.into_iter().for_each(|registered| write_docs(registered, reply));
    Ok(())
}

/// Name and documentation of a command: a pair of a map.
fn write_docs(registered: &Registered, reply: &mut ReplyWriter<'_>) {
    let command = registered.command;
    let usage = Usage::parse(command.usage);
    let subcommands = registered.subcommands().count();
    reply.bulk(registered.full_name.as_bytes());
    reply.map(4 + usize::from(!usage.nodes().is_empty()) + usize::from(subcommands > 0));
    for (name, text) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", describe::group_word(command.group)),
        ("complexity", describe::complexity(command)),
    ] {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !usage.nodes().is_empty() {
        reply.bulk(b"arguments");
        write_arguments(usage.nodes(), &mut KeySpecs { next: 0, count: command.keys.len() }, reply);
    }
    if subcommands > 0 {
        reply.bulk(b"subcommands");
        reply.map(subcommands);
        registered.subcommands().for_each(|subcommand| write_docs(subcommand, reply));
    }
}

/// Which key specification the next key argument belongs to: they stand in the same order.
struct KeySpecs {
    next: usize,
    count: usize,
}

impl KeySpecs {
    fn take(&mut self) -> Option<usize> {
        let last = self.count.checked_sub(1)?;
        let index = self.next.min(last);
        self.next += 1;
        Some(index)
    }
}

fn write_arguments(nodes: &[Node], specs: &mut KeySpecs, reply: &mut ReplyWriter<'_>) {
    reply.array(nodes.len());
    for node in nodes {
        write_argument(node, specs, reply);
    }
}

fn write_argument(node: &Node, specs: &mut KeySpecs, reply: &mut ReplyWriter<'_>) {
    let kind = node.type_word();
    let spec = if kind == Kind::Key.word() { specs.take() } else { None };
    let flags: Vec<&str> =
        [(node.optional, "optional"), (node.multiple, "multiple"), (node.multiple_token, "multiple_token")]
            .iter()
            .filter_map(|(is_set, flag)| is_set.then_some(*flag))
            .collect();
    let inner = match &node.shape {
        Shape::OneOf(inner) | Shape::Block(inner) => Some(inner),
        Shape::Value(_) | Shape::Token => None,
    };
    let optional = [spec.is_some(), node.token.is_some(), !flags.is_empty(), inner.is_some()];
    reply.map(2 + optional.iter().filter(|is_there| **is_there).count());
    reply.bulk(b"name");
    reply.bulk(node.name().as_bytes());
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    if let Some(spec) = spec {
        write_pair("key_spec_index", spec as i64, reply);
    }
    if let Some(token) = node.token {
        reply.bulk(b"token");
        reply.bulk(token.as_bytes());
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        write_words(&flags, reply);
    }
    if let Some(inner) = inner {
        reply.bulk(b"arguments");
        write_arguments(inner, specs, reply);
    }
}

const GETKEYS: Command = Command {
    name: "GETKEYS",
    usage: "command [arg [arg ...]]",
    summary: "Which arguments of a command are keys.",
    cost: Cost::Slow("O(N) where N is the number of arguments to the command"),
    since: "2.8.13",
    arity: -4,
    example: "COMMAND GETKEYS SET greeting hello -> 1) \"greeting\"",
    run: Run::Server(getkeys),
    ..ABOUT
};

fn getkeys(_ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let request = args.request().skip(args.position());
    let keys = keys_of(request)?;
    reply.array(keys.len());
    keys.iter().for_each(|(at, _)| reply.bulk(request.arg(*at)));
    Ok(())
}

const GETKEYSANDFLAGS: Command = Command {
    name: "GETKEYSANDFLAGS",
    usage: "command [arg [arg ...]]",
    summary: "Which arguments of a command are keys, and what it does to them.",
    cost: Cost::Slow("O(N) where N is the number of arguments to the command"),
    since: "7.0.0",
    arity: -4,
    example: "COMMAND GETKEYSANDFLAGS SET greeting hello -> 1) 1) \"greeting\" 2) 1) OW 2) update",
    run: Run::Server(getkeysandflags),
    ..ABOUT
};

fn getkeysandflags(_ctx: &mut ServerCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let request = args.request().skip(args.position());
    let keys = keys_of(request)?;
    reply.array(keys.len());
    for (at, keys) in keys {
        reply.array(2);
        reply.bulk(request.arg(at));
        write_words(&describe::key_flags(&actual_access(keys, request)), reply);
    }
    Ok(())
}

/// The positions of the keys of a whole request, each with the declaration it comes from.
fn keys_of(request: Request<'_>) -> Result<Vec<(usize, Keys)>, Fault> {
    let mut registered = registry::find(request.arg(0));
    if let Some(top) = registered.filter(|top| top.subcommands().next().is_some() && request.len() > 1) {
        registered = top.subcommand(request.arg(1));
    }
    let registered = registered.ok_or_else(|| Fault::err("Invalid command specified"))?;
    if !describe::has_keys(registered) {
        return Err(Fault::err("The command has no key arguments"));
    }
    if !registered.accepts(request.len()) {
        return Err(Fault::err("Invalid number of arguments specified for command"));
    }
    let mut found = Vec::new();
    for keys in registered.command.keys {
        let positions = registry::key_positions(std::slice::from_ref(keys), request)
            .ok_or_else(|| Fault::err("Invalid arguments specified for command"))?;
        found.extend(positions.into_iter().map(|at| (at, *keys)));
    }
    if found.is_empty() && !registered.command.is(Trait::NoMandatoryKeys) {
        return Err(Fault::err("Invalid arguments specified for command"));
    }
    Ok(found)
}

/// What is done to a key whose declaration says that it varies: SET reads the old value only with GET.
fn actual_access(keys: Keys, request: Request<'_>) -> Keys {
    let is_set = request.arg(0).eq_ignore_ascii_case(b"SET");
    if !is_set {
        return keys;
    }
    let keys = Keys { marks: &[], ..keys };
    if request.iter().skip(3).any(|argument| argument.eq_ignore_ascii_case(b"GET")) {
        keys
    } else {
        keys.does(Access::Overwrite, &["UPDATE"])
    }
}
