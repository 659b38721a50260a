//! What is known about commands: from COMMAND DOCS of the server, or from a table of our own.

use std::collections::BTreeMap;

use crate::prompt::syntax::{self, Node};
use crate::reply::Reply;
use crate::session::Session;

/// A line per command, written by `cargo x gen`: name, usage, summary, since, group, complexity.
const TABLE: &str = include_str!("commands.tsv");

/// One command or subcommand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doc {
    /// Its words in capitals: `CONFIG GET`.
    pub(crate) name: String,
    pub(crate) summary: String,
    pub(crate) since: String,
    pub(crate) group: String,
    pub(crate) complexity: String,
    /// Its arguments.
    pub(crate) usage: Vec<Node>,
    pub(crate) is_container: bool,
}

/// All commands, by their words in small letters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Docs {
    pub(crate) commands: BTreeMap<String, Doc>,
    /// Whether the server described them.
    pub(crate) from_server: bool,
}

impl Docs {
    /// What the server says, or our own table if it says nothing.
    pub(crate) fn fetch(session: &mut Session) -> Self {
        let limit = Some(session.options.target.connect_timeout);
        let command: [&[u8]; 2] = [b"COMMAND", b"DOCS"];
        let reply = session.link().and_then(|link| link.call(&command, limit));
        let Ok(reply) = reply else {
            session.disconnect();
            return Self::built_in();
        };
        Self::read(&reply).unwrap_or_else(Self::built_in)
    }

    pub(crate) fn built_in() -> Self {
        let mut docs = Self::default();
        for line in TABLE.lines() {
            let mut fields = line.split('\t').map(str::to_owned);
            let mut next = || fields.next().unwrap_or_default();
            let (name, usage) = (next(), next());
            let doc = Doc {
                name,
                usage: syntax::parse(&usage),
                summary: next(),
                since: next(),
                group: next(),
                complexity: next(),
                is_container: false,
            };
            docs.add(doc);
        }
        docs
    }

    /// The reply of COMMAND DOCS; `None` when it is none.
    pub(crate) fn read(reply: &Reply) -> Option<Self> {
        let mut docs = Self { from_server: true, ..Self::default() };
        for pair in reply.elements()?.chunks_exact(2) {
            docs.command(&pair[0], &pair[1]);
            let Some(subcommands) = pair[1].get("subcommands").and_then(Reply::elements) else { continue };
            for subcommand in subcommands.chunks_exact(2) {
                docs.command(&subcommand[0], &subcommand[1]);
            }
        }
        if docs.commands.is_empty() { None } else { Some(docs) }
    }

    fn command(&mut self, name: &Reply, facts: &Reply) {
        let text = |key: &str| facts.get(key).map(Reply::text).unwrap_or_default();
        let arguments = facts.get("arguments").and_then(Reply::elements).unwrap_or_default();
        self.add(Doc {
            name: name.text().replace('|', " ").to_ascii_uppercase(),
            summary: text("summary"),
            since: text("since"),
            group: text("group"),
            complexity: text("complexity"),
            usage: syntax::parse(&usage(arguments, " ", 0)),
            is_container: false,
        });
    }

    fn add(&mut self, doc: Doc) {
        let key = doc.name.to_ascii_lowercase();
        if let Some((parent, _)) = key.split_once(' ')
            && let Some(parent) = self.commands.get_mut(parent)
        {
            parent.is_container = true;
        }
        self.commands.insert(key, doc);
    }

    /// The command that a line begins, and how many of its words name it.
    pub(crate) fn find(&self, words: &[&str]) -> Option<(&Doc, usize)> {
        let first = words.first()?.to_ascii_lowercase();
        if let Some(second) = words.get(1)
            && let Some(doc) = self.commands.get(&format!("{first} {}", second.to_ascii_lowercase()))
        {
            return Some((doc, 2));
        }
        self.commands.get(&first).map(|doc| (doc, 1))
    }

    /// The subcommands of a command.
    pub(crate) fn subcommands(&self, name: &str) -> impl Iterator<Item = &Doc> {
        let prefix = format!("{} ", name.to_ascii_lowercase());
        self.commands
            .range(prefix.clone()..)
            .take_while(move |(key, _)| key.starts_with(&prefix))
            .map(|(_, doc)| doc)
    }
}

/// Deepest nesting of arguments that is followed.
const DEPTH_MAX: usize = 8;

/// A usage line from the arguments of COMMAND DOCS.
fn usage(arguments: &[Reply], between: &str, depth: usize) -> String {
    if depth > DEPTH_MAX {
        return String::new();
    }
    arguments.iter().map(|argument| self::argument(argument, depth)).collect::<Vec<_>>().join(between)
}

fn argument(argument: &Reply, depth: usize) -> String {
    let text = |key: &str| argument.get(key).map(Reply::text).unwrap_or_default();
    let flags: Vec<String> =
        argument.get("flags").and_then(Reply::elements).unwrap_or_default().iter().map(Reply::text).collect();
    let has = |flag: &str| flags.iter().any(|one| one == flag);
    let inner = argument.get("arguments").and_then(Reply::elements).unwrap_or_default();
    let (kind, token) = (text("type"), text("token"));
    let token = if token == "\"\"" { String::new() } else { token };
    let mut body = match kind.as_str() {
        "pure-token" => String::new(),
        "oneof" => {
            let choice = usage(inner, "|", depth + 1);
            if has("optional") && token.is_empty() && !has("multiple") {
                choice
            } else {
                format!("<{choice}>")
            }
        }
        "block" => usage(inner, " ", depth + 1),
        _ => Some(text("display_text")).filter(|shown| !shown.is_empty()).unwrap_or_else(|| text("name")),
    };
    if has("multiple") && !has("multiple_token") {
        body = format!("{body} [{body} ...]");
    }
    let mut whole = [token, body].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if has("multiple") && has("multiple_token") {
        whole = format!("{whole} [{whole} ...]");
    }
    if has("optional") { format!("[{whole}]") } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_knows_commands_and_subcommands() {
        let docs = Docs::built_in();
        let (set, words) = docs.find(&["SET", "a"]).expect("SET is built in");
        assert_eq!((set.name.as_str(), words), ("SET", 1));
        assert!(syntax::render(&set.usage).starts_with("key value "));
        let (get, words) = docs.find(&["config", "get", "x"]).expect("CONFIG GET is built in");
        assert_eq!((get.name.as_str(), words), ("CONFIG GET", 2));
        assert!(docs.find(&["config"]).expect("CONFIG is built in").0.is_container);
        assert!(docs.subcommands("client").count() > 5);
        assert!(docs.commands.values().all(|doc| !doc.summary.is_empty() && !doc.group.is_empty()));
    }

    #[test]
    fn arguments_of_a_server_become_a_usage_line() {
        let text = |text: &str| Reply::Bulk(text.into());
        let map = |pairs: Vec<(&str, Reply)>| {
            Reply::Map(pairs.into_iter().flat_map(|(key, value)| [text(key), value]).collect())
        };
        let flags =
            |names: &[&str]| Reply::Set(names.iter().map(|name| Reply::Simple((*name).into())).collect());
        let arguments = [
            map(vec![("name", text("key")), ("type", text("key")), ("flags", flags(&["multiple"]))]),
            map(vec![
                ("name", text("when")),
                ("type", text("oneof")),
                ("flags", flags(&["optional"])),
                (
                    "arguments",
                    Reply::Array(vec![
                        map(vec![("name", text("nx")), ("type", text("pure-token")), ("token", text("NX"))]),
                        map(vec![
                            ("name", text("seconds")),
                            ("type", text("integer")),
                            ("token", text("EX")),
                        ]),
                    ]),
                ),
            ]),
        ];
        assert_eq!(usage(&arguments, " ", 0), "key [key ...] [NX|EX seconds]");
    }

    #[test]
    fn a_strange_reply_is_no_documentation() {
        for reply in [
            Reply::Nil,
            Reply::Error(b"ERR".to_vec()),
            Reply::Array(vec![Reply::Nil]),
            Reply::Map(Vec::new()),
        ] {
            assert!(Docs::read(&reply).is_none());
        }
        assert!(Docs::read(&Reply::Array(vec![Reply::Bulk(b"x".to_vec()), Reply::Integer(3)])).is_some());
    }
}
