//! Declarations read from a running server's COMMAND DOCS.
//!
//! A server that documents its arguments can be tested from its own description, and two servers from each other's: the
//! oracle's tells every option that 7.0.15 has, whether ours knows it or not. The argument tree of COMMAND DOCS is
//! written as a usage line and parsed like any other, so that generator and servers speak of one notation.

use std::collections::BTreeMap;

use larder::usage::Kind;
use larder_resp::Frame;

use crate::client::Client;
use crate::grammar::{Declaration, Family};

/// A command as a server documents it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documented {
    /// The name in capitals, with its container: `OBJECT ENCODING`.
    pub name: String,
    /// The group (`string`, `sorted-set` ...).
    pub group: String,
    /// The arguments as a usage line.
    pub usage: String,
    /// The arity of COMMAND INFO.
    pub arity: i64,
    /// Whether it has subcommands; then it is not itself a command that does anything.
    pub is_container: bool,
}

/// Commands on data that cannot be run in a comparison, and why.
pub const NOT_COMPARABLE: &[(&str, &str)] = &[
    ("BLMOVE", "waits"),
    ("BLMPOP", "waits"),
    ("BLPOP", "waits"),
    ("BRPOP", "waits"),
    ("BRPOPLPUSH", "waits"),
    ("BZMPOP", "waits"),
    ("BZPOPMAX", "waits"),
    ("BZPOPMIN", "waits"),
    ("WAIT", "waits"),
    ("MIGRATE", "connects to another server"),
    ("DUMP", "its bytes are compared by the tests of the snapshot format"),
    ("RESTORE", "needs what DUMP returns"),
    ("OBJECT FREQ", "depends on the clock and on chance"),
    ("OBJECT HELP", "is prose"),
];

/// Whether a command can be run in a comparison.
#[must_use]
pub fn is_comparable(name: &str) -> bool {
    !NOT_COMPARABLE.iter().any(|(other, _)| *other == name)
}

/// Asks a server for all its commands. The connection speaks RESP3 afterwards.
///
/// # Panics
/// When the server refuses, or documents in another form than redis-server.
#[must_use]
pub fn documented(client: &mut Client) -> Vec<Documented> {
    client.hello(3);
    let mut arities = BTreeMap::new();
    let info = client.cmd(&["COMMAND"]);
    for command in info.as_elements().expect("COMMAND answers an array") {
        collect_arities(command, &mut arities);
    }
    let docs = client.cmd(&["COMMAND", "DOCS"]);
    let mut found = Vec::new();
    collect_docs(&docs, &arities, &mut found);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Declarations for the random generator: the commands of these groups whose names `keep` keeps.
///
/// # Panics
/// As [`documented`].
#[must_use]
pub fn declarations(client: &mut Client, groups: &[&str], keep: impl Fn(&str) -> bool) -> Vec<Declaration> {
    let chosen = documented(client).into_iter().filter(|d| !d.is_container && groups.contains(&&d.group[..]));
    chosen
        .filter(|d| keep(&d.name))
        // Declarations are constants elsewhere; a test can afford to keep these for its whole life.
        .map(|d| Declaration::new(Family::of_group(&d.group), d.name.leak(), d.usage.leak()))
        .collect()
}

fn collect_arities(command: &Frame, into: &mut BTreeMap<String, i64>) {
    let fields = command.as_elements().unwrap_or_default();
    let name = fields.first().map(text).unwrap_or_default();
    into.insert(name, fields.get(1).and_then(Frame::as_integer).unwrap_or(0));
    for sub in fields.get(9).and_then(Frame::as_elements).unwrap_or_default() {
        collect_arities(sub, into);
    }
}

fn collect_docs(docs: &Frame, arities: &BTreeMap<String, i64>, into: &mut Vec<Documented>) {
    for (name, doc) in pairs(docs) {
        let name = text(name);
        let subcommands = field(doc, "subcommands");
        let arguments = field(doc, "arguments").and_then(Frame::as_elements).unwrap_or_default();
        into.push(Documented {
            arity: arities.get(&name).copied().unwrap_or(0),
            name: name.to_ascii_uppercase().replace('|', " "),
            group: field(doc, "group").map(text).unwrap_or_default(),
            usage: sequence(arguments),
            is_container: subcommands.is_some(),
        });
        if let Some(subcommands) = subcommands {
            collect_docs(subcommands, arities, into);
        }
    }
}

fn pairs(frame: &Frame) -> &[(Frame, Frame)] {
    match frame {
        Frame::Map(pairs) => pairs,
        other => panic!("a map in RESP3, not {other:?}"),
    }
}

fn field<'a>(map: &'a Frame, name: &str) -> Option<&'a Frame> {
    pairs(map).iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

fn text(frame: &Frame) -> String {
    String::from_utf8_lossy(frame.as_bytes().unwrap_or_default()).into_owned()
}

fn sequence(arguments: &[Frame]) -> String {
    let all: Vec<String> = arguments.iter().map(argument).collect();
    all.join(" ")
}

fn argument(argument: &Frame) -> String {
    let flags: Vec<String> = field(argument, "flags")
        .map(|flags| flags.as_elements().unwrap_or_default().iter().map(text).collect())
        .unwrap_or_default();
    let has = |flag: &str| flags.iter().any(|f| f == flag);
    let token = field(argument, "token").map(text).unwrap_or_default();
    let kind = field(argument, "type").map(text).unwrap_or_default();
    let inner = field(argument, "arguments").and_then(Frame::as_elements).unwrap_or_default();
    let core = match &kind[..] {
        // MIGRATE takes an empty argument in the place of a key.
        "pure-token" if token.is_empty() => "\"\"".to_owned(),
        "pure-token" => String::new(),
        "oneof" => format!("<{}>", inner.iter().map(self::argument).collect::<Vec<_>>().join("|")),
        "block" if has("multiple") && token.is_empty() => format!("<{}>", sequence(inner)),
        "block" => sequence(inner),
        _ => value_name(&field(argument, "name").map(text).unwrap_or_default(), &kind, &token),
    };
    let once = |with_token: bool| {
        let parts = [if with_token { token.trim() } else { "" }, core.trim()];
        parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(" ")
    };
    let mut line = once(true);
    if has("multiple") {
        line = format!("{line} [{} ...]", once(has("multiple_token")));
    }
    if has("optional") { format!("[{line}]") } else { line }
}

/// The documented name if it is one of ours and means the same, else one that has the documented type.
fn value_name(name: &str, kind: &str, token: &str) -> String {
    let name = name.to_ascii_lowercase().replace(' ', "-");
    if Kind::of(&name).is_some_and(|known| known.word() == kind) {
        return name;
    }
    match kind {
        "key" => "key",
        "integer" => "index",
        "double" => "score",
        "pattern" => "pattern",
        "unix-time" if token == "PXAT" || name.contains("milli") => "unix-time-milliseconds",
        "unix-time" => "unix-time-seconds",
        // A string may have any name; it only has to look like one.
        _ if name.is_empty() => "string",
        _ => return name,
    }
    .to_owned()
}
