//! COMMAND INFO, DOCS and GETKEYS against a real server: cluster clients route by these facts, and redis-cli stops at a
//! shape it does not expect.

mod oracle;

use larder_resp::Frame;
use oracle::{Answers, Ours, Real, elements, pairs, text};
use std::collections::{BTreeMap, BTreeSet};

/// What only this server has; docs/differences.md says why.
const OURS_ONLY: &[&str] = &[
    "cache",
    "cache|drop",
    "cache|fill",
    "cache|get",
    "cache|help",
    "cache|lease",
    "cache|note",
    "cache|set",
    "cache|since",
    "cache|tag",
    "cache|touch",
    "client|no-touch",
    "client|setinfo",
    "delifeq",
    "waitaof",
];

/// The facts of a command that do not depend on wording or order.
#[derive(Debug, PartialEq)]
struct Facts {
    arity: i64,
    flags: BTreeSet<String>,
    positions: Vec<Frame>,
    categories: BTreeSet<String>,
    tips: BTreeSet<String>,
    keys: Vec<BTreeMap<String, String>>,
}

fn words(frame: &Frame) -> BTreeSet<String> {
    elements(frame).iter().map(|word| text(word).to_owned()).collect()
}

fn key_spec(frame: &Frame) -> BTreeMap<String, String> {
    let show = |name: &str, value: &Frame| match name {
        "flags" => format!("{:?}", words(value)),
        _ => format!("{value:?}"),
    };
    let facts = pairs(frame).iter().map(|(name, value)| (text(name).to_owned(), show(text(name), value)));
    // Notes are prose, and each server has its own.
    facts.filter(|(name, _)| name != "notes").collect()
}

fn collect(command: &Frame, into: &mut BTreeMap<String, Facts>) {
    let facts = elements(command);
    assert_eq!(facts.len(), 10, "{command:?}");
    let Frame::Integer(arity) = facts[1] else { panic!("arity is no integer: {command:?}") };
    assert!(elements(&facts[2]).iter().all(|flag| matches!(flag, Frame::Simple(_))), "flags: {command:?}");
    assert!(
        elements(&facts[6]).iter().all(|word| matches!(word, Frame::Simple(_))),
        "categories: {command:?}"
    );
    into.insert(
        text(&facts[0]).to_owned(),
        Facts {
            arity,
            flags: words(&facts[2]),
            positions: facts[3..6].to_vec(),
            categories: words(&facts[6]),
            tips: words(&facts[7]),
            keys: elements(&facts[8]).iter().map(key_spec).collect(),
        },
    );
    elements(&facts[9]).iter().for_each(|subcommand| collect(subcommand, into));
}

fn all_facts(server: &mut impl Answers) -> BTreeMap<String, Facts> {
    let mut all = BTreeMap::new();
    server.ask(&["HELLO", "3"]);
    elements(&server.ask(&["COMMAND"])).iter().for_each(|command| collect(command, &mut all));
    all
}

#[test]
fn facts_are_those_of_a_real_server() {
    let Some(mut real) = Real::start() else { return };
    let (theirs, ours) = (all_facts(&mut real), all_facts(&mut Ours::fresh()));
    let mut differences = Vec::new();
    for (name, facts) in &ours {
        match theirs.get(name) {
            Some(real) if real == facts => {}
            Some(real) => differences.push(format!("{name}\n  real {real:?}\n  ours {facts:?}")),
            None if OURS_ONLY.contains(&name.as_str()) => {}
            None => differences.push(format!("{name}: a real server does not have it")),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn the_list_is_the_same_whoever_asks() {
    let mut ours = Ours::fresh();
    let all = all_facts(&mut ours);
    let top_level: BTreeSet<String> = all.keys().filter(|name| !name.contains('|')).cloned().collect();
    assert_eq!(words(&ours.ask(&["COMMAND", "LIST"])), top_level);
    assert_eq!(ours.ask(&["COMMAND", "COUNT"]), Frame::Integer(top_level.len() as i64));
    for (name, facts) in &all {
        let mut one = BTreeMap::new();
        let reply = ours.ask(&["COMMAND", "INFO", name]);
        collect(&elements(&reply)[0], &mut one);
        assert_eq!(one.get(name), Some(facts));
    }
}

/// Panics at whatever redis-cli would stop at.
fn check_docs(name: &str, docs: &Frame) {
    for (field, value) in pairs(docs) {
        match text(field) {
            "summary" | "since" | "group" | "complexity" => {
                assert!(matches!(value, Frame::Bulk(_)), "{name}: {field:?} is {value:?}");
            }
            "arguments" => check_arguments(name, value),
            "subcommands" => pairs(value).iter().for_each(|(name, docs)| check_docs(text(name), docs)),
            other => panic!("{name}: unknown field {other}"),
        }
    }
}

fn check_arguments(name: &str, arguments: &Frame) {
    const TYPES: &[&str] =
        &["string", "integer", "double", "key", "pattern", "unix-time", "pure-token", "oneof", "block"];
    let Frame::Array(arguments) = arguments else { panic!("{name}: arguments are {arguments:?}") };
    assert!(!arguments.is_empty(), "{name}: an empty list of arguments");
    for argument in arguments {
        let mut kind = "";
        for (field, value) in pairs(argument) {
            match text(field) {
                "name" | "token" => assert!(matches!(value, Frame::Bulk(_)), "{name}: {value:?}"),
                "type" => kind = text(value),
                "key_spec_index" => assert!(matches!(value, Frame::Integer(_)), "{name}: {value:?}"),
                "flags" => {
                    for flag in elements(value) {
                        assert!(matches!(flag, Frame::Simple(_)), "{name}: {flag:?}");
                        assert!(
                            ["optional", "multiple", "multiple_token"].contains(&text(flag)),
                            "{name}: {flag:?}"
                        );
                    }
                }
                "arguments" => check_arguments(name, value),
                other => panic!("{name}: unknown field {other}"),
            }
        }
        assert!(TYPES.contains(&kind), "{name}: type {kind:?}");
    }
}

#[test]
fn docs_have_the_shape_that_terminals_insist_on() {
    let mut ours = Ours::fresh();
    ours.ask(&["HELLO", "3"]);
    let all = ours.ask(&["COMMAND", "DOCS"]);
    assert_eq!(Frame::Integer(pairs(&all).len() as i64), ours.ask(&["COMMAND", "COUNT"]));
    for (name, docs) in pairs(&all) {
        check_docs(text(name), docs);
        let one = ours.ask(&["COMMAND", "DOCS", text(name)]);
        assert_eq!(pairs(&one), &[(name.clone(), docs.clone())]);
    }
}
