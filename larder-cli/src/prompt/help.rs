//! `help`: about the prompt, a command, or a group of commands.

use crate::output;
use crate::prompt::docs::{Doc, Docs};
use crate::prompt::{preferences, syntax};
use crate::session::Session;

/// What `help` with these words answers; the server is asked for its documentation.
pub(crate) fn answer(session: &mut Session, words: &[Vec<u8>]) -> String {
    let docs = if words.is_empty() { Docs::default() } else { Docs::fetch(session) };
    page(&docs, words)
}

/// The same from documentation that is there.
pub(crate) fn page(docs: &Docs, words: &[Vec<u8>]) -> String {
    let words: Vec<String> =
        words.iter().map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).collect();
    let Some(first) = words.first() else { return general() };
    if let Some(group) = first.strip_prefix('@') {
        return join(
            docs.commands.values().filter(|doc| doc.group.replace('-', "_") == group.replace('-', "_")),
            || {
                let mut groups: Vec<&str> = docs.commands.values().map(|doc| doc.group.as_str()).collect();
                groups.sort_unstable();
                groups.dedup();
                format!("There is no group @{group}, only @{}.\n", groups.join(", @"))
            },
        );
    }
    let name = words.join(" ");
    let mut found: Vec<&Doc> = docs.commands.get(&name).into_iter().collect();
    found.extend(docs.subcommands(&name));
    join(found.into_iter(), || {
        format!("There is no command '{name}'. Try \"help @string\", or Tab for names.\n")
    })
}

fn join<'a>(found: impl Iterator<Item = &'a Doc>, nothing: impl Fn() -> String) -> String {
    let entries: Vec<String> = found.filter(|doc| !doc.is_container).map(entry).collect();
    if entries.is_empty() { nothing() } else { entries.join("\n") }
}

fn entry(doc: &Doc) -> String {
    let (bold, grey, yellow, off) =
        if output::is_terminal() { ("\x1b[1m", "\x1b[90m", "\x1b[33m", "\x1b[0m") } else { ("", "", "", "") };
    let usage = syntax::render(&doc.usage);
    let mut text = format!("\n  {bold}{}{off} {grey}{usage}{off}\n", doc.name);
    for (label, value) in [
        ("summary", &doc.summary),
        ("since", &doc.since),
        ("group", &doc.group),
        ("complexity", &doc.complexity),
    ] {
        if !value.is_empty() {
            text.push_str(&format!("  {yellow}{label}:{off} {value}\n"));
        }
    }
    text
}

fn general() -> String {
    let mut text = format!(
        "larder-cli {}\n\
         \x20 help COMMAND          what a command does\n\
         \x20 help @GROUP           the commands of a group: @string, @hash, @list, @set, @sorted_set, @generic ...\n\
         \x20 peek KEY              type, expiry, size and the beginning of a value\n\
         \x20 connect HOST PORT     go to another server\n\
         \x20 N COMMAND             run a command N times\n\
         \x20 clear, quit           clear the screen, leave\n\
         \x20 Tab                   complete a command, an option or a key\n\
         \x20 Ctrl-R, Up            search the history, go back in it\n\
         \x20 Ctrl-C                leave MONITOR or SUBSCRIBE, give up a command or a line\n\
         Preferences, kept in {}:\n",
        env!("CARGO_PKG_VERSION"),
        preferences::file_label(),
    );
    for row in preferences::ROWS {
        text.push_str(&format!("  :set {:<16} {}\n", format!("[no]{}", row.name), row.help));
    }
    text
}
