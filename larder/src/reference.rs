//! The reference documentation, written from the declarations: `docs/commands.md`, `docs/commands.json`,
//! `docs/config.md`, and the table of commands that larder-cli falls back on.
//!
//! The texts are made here and not by the tool that writes the files, so that a test can say when a file is stale.

use crate::command::{Command, Group};
use crate::config::Config;
use crate::config::params::{Kind, PARAMS, Param};
use crate::describe;
use crate::registry::{self, Registered};
use std::fmt::Write as _;

/// Families in the order of the reference, with their headings.
const GROUPS: &[(Group, &str)] = &[
    (Group::Generic, "Keys"),
    (Group::String, "Strings"),
    (Group::Hash, "Hashes"),
    (Group::List, "Lists"),
    (Group::Set, "Sets"),
    (Group::SortedSet, "Sorted sets"),
    (Group::PubSub, "Publish and subscribe"),
    (Group::Transactions, "Transactions"),
    (Group::Cache, "Caches"),
    (Group::Connection, "Connections"),
    (Group::Server, "Server"),
];

/// The commands of a family by name, each followed by its subcommands.
fn of_group(group: Group) -> Vec<&'static Registered> {
    let mut top: Vec<&Registered> =
        registry::all().filter(|one| one.parent.is_none() && one.command.group == group).collect();
    top.sort_by_key(|registered| registered.command.name);
    let mut all = Vec::new();
    for registered in top {
        all.push(registered);
        let mut subcommands: Vec<&Registered> = registered.subcommands().collect();
        subcommands.sort_by_key(|subcommand| subcommand.command.name);
        all.extend(subcommands);
    }
    all
}

/// Its words in capitals: `CONFIG GET`.
fn title(registered: &Registered) -> String {
    registered.full_name.replace('|', " ").to_ascii_uppercase()
}

/// How it is called: its words and arguments.
fn synopsis(registered: &Registered) -> String {
    format!("{} {}", title(registered), registered.command.usage).trim_end().to_owned()
}

/// `docs/commands.md`: every command with its syntax, meaning, cost and example.
pub fn commands_markdown() -> String {
    let mut text =
        String::from("# Commands\n\nGenerated from the declarations by `cargo x gen`; not to be edited.\n");
    for (group, heading) in GROUPS {
        let commands = of_group(*group);
        if commands.is_empty() {
            continue;
        }
        put(&mut text, format_args!("\n## {heading}\n"));
        for registered in commands {
            command_markdown(registered, &mut text);
        }
    }
    text
}

/// Writing to a string cannot fail.
fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _never_fails = text.write_fmt(what);
}

fn command_markdown(registered: &Registered, text: &mut String) {
    let command = registered.command;
    let level = if registered.parent.is_some() { "####" } else { "###" };
    put(text, format_args!("\n{level} {}\n\n", title(registered)));
    if !describe::is_container(command) {
        put(text, format_args!("```text\n{}\n```\n\n", synopsis(registered)));
    }
    put(text, format_args!("{}\n", command.summary));
    if describe::is_container(command) {
        return;
    }
    let flags = describe::flags(command).join(" ");
    let categories: Vec<&str> = describe::categories(command).into_iter().collect();
    put(text, format_args!("\n- Since: {}\n- Cost: {}\n", command.since, describe::complexity(command)));
    if !flags.is_empty() {
        put(text, format_args!("- Flags: {flags}\n"));
    }
    put(text, format_args!("- Categories: {}\n", categories.join(" ")));
    if !command.example.is_empty() {
        put(text, format_args!("\n```text\n"));
        for line in command.example.lines() {
            let (asked, answer) = line.split_once(" -> ").unwrap_or((line, ""));
            put(text, format_args!("> {asked}\n{answer}\n"));
        }
        put(text, format_args!("```\n"));
    }
}

/// `docs/commands.json`: the same facts for programs, an object by full name.
pub fn commands_json() -> String {
    let mut text = String::from("{\n");
    let all: Vec<&Registered> = GROUPS.iter().flat_map(|(group, _)| of_group(*group)).collect();
    for (index, registered) in all.iter().enumerate() {
        let end = if index + 1 < all.len() { "," } else { "" };
        put(
            &mut text,
            format_args!("  {}: {}{end}\n", json_string(&registered.full_name), command_json(registered)),
        );
    }
    text.push_str("}\n");
    text
}

/// The built-in table of larder-cli: a line per command with its words, usage, summary, version, group and cost, separated
/// by tabs.
pub fn commands_table() -> String {
    let mut text = String::new();
    for registered in GROUPS.iter().flat_map(|(group, _)| of_group(*group)) {
        let command = registered.command;
        let fields = [
            &title(registered),
            command.usage,
            command.summary,
            command.since,
            describe::group_word(command.group),
            describe::complexity(command),
        ];
        put(&mut text, format_args!("{}\n", fields.join("\t")));
    }
    text
}

fn command_json(registered: &Registered) -> String {
    let command: &Command = registered.command;
    let (first, last, step) = describe::positions(command);
    let fields = [
        ("syntax", json_string(&synopsis(registered))),
        ("summary", json_string(command.summary)),
        ("since", json_string(command.since)),
        ("group", json_string(describe::group_word(command.group))),
        ("complexity", json_string(describe::complexity(command))),
        ("arity", registered.arity.to_string()),
        ("flags", json_strings(describe::flags(command))),
        ("categories", json_strings(describe::categories(command))),
        ("tips", json_strings(command.tips.iter().copied())),
        ("keys", format!("[{first}, {last}, {step}]")),
        ("example", json_strings(command.example.lines())),
    ];
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}

fn json_strings<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(json_string).collect();
    format!("[{}]", words.join(", "))
}

fn json_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            control if control < ' ' => put(&mut quoted, format_args!("\\u{:04x}", control as u32)),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The row of an engine's parameter: name, values, default, meaning.
fn parameter_row(param: &Param<Config>, defaults: &Config) -> [String; 4] {
    let alias = param.alias.map_or(String::new(), |alias| format!(" (`{alias}`)"));
    let fixed = if param.is_mutable { "" } else { " Fixed at start." };
    [
        format!("`{}`{alias}", param.name),
        values(param.kind),
        (param.get)(defaults),
        format!("{}{fixed}", param.doc),
    ]
}

/// What values a parameter takes, in words.
pub fn values(kind: Kind) -> String {
    match kind {
        Kind::Bool => "yes, no".into(),
        Kind::Int { min, max } => {
            if max == i64::MAX {
                format!("at least {min}")
            } else {
                format!("{min} to {max}")
            }
        }
        Kind::Memory { min, max } => {
            let most = if max >= i64::MAX as u64 { String::new() } else { format!(" to {max}") };
            format!("bytes, from {min}{most}")
        }
        Kind::MemoryOrShare { .. } => "bytes, or 0% to 100%".into(),
        Kind::Word(words) => words.join(", "),
        Kind::Text => "text".into(),
    }
}

/// `docs/config.md`: every parameter of the engine, the rows of the house it lives in (name, values, default, meaning),
/// and the names of those that are only kept.
pub fn config_markdown(house: &[[String; 4]], kept: &[&str]) -> String {
    let mut text = String::from(
        "# Parameters\n\nGenerated from the declarations by `cargo x gen`; not to be edited.\n\n\
         CONFIG SET changes a parameter while the server runs; the configuration file has the same names.\n\n\
         | name | values | default | meaning |\n|---|---|---|---|\n",
    );
    let defaults = Config::default();
    let mut rows: Vec<[String; 4]> = PARAMS.iter().map(|param| parameter_row(param, &defaults)).collect();
    rows.extend_from_slice(house);
    rows.sort();
    for row in rows {
        put(&mut text, format_args!("| {} |\n", row.map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
    if !kept.is_empty() {
        text.push_str("\nThese are accepted and kept for CONFIG GET, and have no function yet:\n");
        put(&mut text, format_args!("`{}`.\n", kept.join("`, `")));
    }
    text
}
