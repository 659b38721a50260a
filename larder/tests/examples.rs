//! Every example of every declaration, executed on a fresh engine: documentation that is wrong fails here.
//!
//! A line is `COMMAND arguments -> reply`, the reply as redis-cli shows it, elements of an array one behind the other.

mod oracle;

use larder::registry;
use larder_resp::Frame;
use oracle::{Answers, Ours};

/// Commands that have nothing repeatable to show.
const WITHOUT_EXAMPLE: &[(&str, &str)] = &[
    ("auth", "needs a password, which the engine of the examples has not"),
    ("client|id", "every connection has its own"),
    ("client|info", "addresses and times"),
    ("client|list", "addresses and times"),
    ("client|kill", "addresses"),
    ("client|pause", "everything behind it would wait"),
    ("command", "all commands there are"),
    ("command|count", "changes with every new command"),
    ("command|docs", "long"),
    ("command|info", "long"),
    ("hello", "the number of the connection"),
    ("lastsave", "a time"),
    ("lolwut", "a picture"),
    ("memory|doctor", "what it says depends on the machine"),
    ("memory|stats", "bytes"),
    ("monitor", "shows what others do"),
    ("restore", "a payload is no text"),
    ("time", "a time"),
];

/// A reply as redis-cli shows it, on one line.
fn show(frame: &Frame) -> String {
    let list = |elements: &[Frame], empty: &str| {
        if elements.is_empty() {
            return empty.to_owned();
        }
        let shown = elements.iter().enumerate().map(|(index, one)| format!("{}) {}", index + 1, show(one)));
        shown.collect::<Vec<_>>().join(" ")
    };
    match frame {
        Frame::Simple(text) => String::from_utf8_lossy(text).into_owned(),
        Frame::Error(text) => format!("(error) {}", String::from_utf8_lossy(text)),
        Frame::Integer(number) => format!("(integer) {number}"),
        Frame::Bulk(bytes) => format!("\"{}\"", bytes.escape_ascii().to_string().replace("\\'", "'")),
        Frame::Null | Frame::NullArray => "(nil)".to_owned(),
        Frame::Array(elements) => list(elements, "(empty array)"),
        other => panic!("no reply of RESP2: {other:?}"),
    }
}

/// The words of a command line: quoted ones may hold spaces and escapes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut letters = line.chars().peekable();
    while let Some(first) = letters.next() {
        if first == ' ' {
            continue;
        }
        let is_quoted = first == '"';
        let mut word = if is_quoted { String::new() } else { first.to_string() };
        while let Some(letter) = letters.next() {
            match letter {
                '"' if is_quoted => break,
                ' ' if !is_quoted => break,
                '\\' if is_quoted => match letters.next().expect("something is escaped") {
                    'n' => word.push('\n'),
                    'x' => {
                        let digits: String = letters.by_ref().take(2).collect();
                        let code = u8::from_str_radix(&digits, 16).expect("two hexadecimal digits");
                        word.push(char::from(code));
                    }
                    other => word.push(other),
                },
                other => word.push(other),
            }
        }
        words.push(word);
    }
    words
}

/// What is wrong with the example of one command.
fn run(name: &str, example: &str) -> Vec<String> {
    let mut ours = Ours::fresh();
    let mut wrong = Vec::new();
    for line in example.lines() {
        let Some((asked, expected)) = line.split_once(" -> ") else {
            wrong.push(format!("{name}: no reply in {line:?}"));
            continue;
        };
        let command = words(asked);
        let shown = show(&ours.ask(&command.iter().map(String::as_str).collect::<Vec<_>>()));
        if shown != expected {
            wrong.push(format!("{name}: {asked}\n  says    {expected}\n  answers {shown}"));
        }
    }
    wrong
}

#[test]
fn examples_are_true() {
    let wrong: Vec<String> = registry::all()
        .flat_map(|registered| run(&registered.full_name, registered.command.example))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_has_an_example() {
    let is_excused = |name: &str| WITHOUT_EXAMPLE.iter().any(|(excused, _)| *excused == name);
    let missing: Vec<&str> = registry::all()
        .filter(|one| one.command.example.is_empty() && one.command.subcommands.is_empty())
        .map(|one| one.full_name.as_str())
        .filter(|name| !name.ends_with("|help") && !is_excused(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    for (name, _) in WITHOUT_EXAMPLE {
        let registered = registry::all().find(|one| one.full_name == *name);
        assert!(registered.is_some_and(|one| one.command.example.is_empty()), "{name} needs no excuse");
    }
}
