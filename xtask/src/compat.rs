//! `cargo x compat`: what of a real redis-server's commands we do not have yet, and where we differ on purpose.

use std::collections::BTreeSet;
use std::fs;

use larder_resp::Frame;
use testkit::docs::documented;
use testkit::{Client, Options, Program, Server};

use crate::bars;

/// Where the reasoned differences are written down.
const DIFFERENCES: &str = "docs/differences.md";

/// Prints the comparison. It always succeeds when both servers answer: a missing command is a fact, not a failure.
pub(crate) fn run() -> Result<bool, String> {
    bars::find_server()?;
    let oracle = Server::try_start(Options::redis())?;
    let ours = Server::try_start(Options { program: Program::Path(bars::server()), ..Options::larder() })?;
    let version = testkit::server::redis_version().unwrap_or_default();
    let theirs = names(&mut oracle.connect());
    let have = names(&mut ours.connect());
    let (common, missing): (Vec<&String>, Vec<&String>) =
        theirs.iter().partition(|name| have.contains(*name));
    let more: Vec<&String> = have.difference(&theirs).collect();
    println!(
        "redis-server {version}: {} commands and subcommands; larder-server has {}.",
        theirs.len(),
        common.len()
    );
    print_list(&format!("Missing ({})", missing.len()), &missing);
    print_list(&format!("Only ours ({})", more.len()), &more);
    print_list("Described differently", &described_differently(&oracle, &ours).iter().collect::<Vec<_>>());
    println!("\nReasoned differences ({DIFFERENCES}):");
    let text = fs::read_to_string(DIFFERENCES).map_err(|e| format!("{DIFFERENCES}: {e}"))?;
    for row in text.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        if let [what, real, our, why] = cells[..] {
            println!("  {what}\n      real: {real}\n      ours: {our}\n      why:  {why}");
        }
    }
    Ok(true)
}

/// Names of all commands, and of subcommands as `config|get`, in small letters. Commands that COMMAND LIST does not
/// name are found in COMMAND.
fn names(client: &mut Client) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let list = client.cmd(&["COMMAND", "LIST"]);
    let words = list.as_elements().unwrap_or_default().iter();
    names.extend(words.filter_map(Frame::as_str).map(str::to_ascii_lowercase));
    // In 7.0 the list has no subcommands; the ninth field of a command's description does.
    let all = client.cmd(&["COMMAND"]);
    for command in all.as_elements().unwrap_or_default() {
        let subcommands = command.as_elements().and_then(|fields| fields.get(9));
        for sub in subcommands.and_then(Frame::as_elements).unwrap_or_default() {
            let name = sub.as_elements().and_then(|fields| fields.first()).and_then(Frame::as_str);
            names.extend(name.map(str::to_ascii_lowercase));
        }
    }
    names
}

/// Commands that both have, but with another arity, or other arguments by COMMAND DOCS.
fn described_differently(oracle: &Server, ours: &Server) -> Vec<String> {
    let have = documented(&mut ours.connect());
    let mut found = Vec::new();
    for theirs in documented(&mut oracle.connect()) {
        let Some(mine) = have.iter().find(|mine| mine.name == theirs.name) else { continue };
        if mine.arity != theirs.arity {
            found.push(format!("{}: arity {}, not {};", theirs.name, mine.arity, theirs.arity));
        }
        if mine.usage != theirs.usage {
            found.push(format!("{}: {:?}, not {:?};", theirs.name, mine.usage, theirs.usage));
        }
    }
    found
}

fn print_list(title: &str, names: &[&String]) {
    println!("\n{title}:");
    let mut line = String::from(" ");
    for name in names {
        if line.len() + name.len() > 100 {
            println!("{line}");
            line = String::from(" ");
        }
        line.push(' ');
        line.push_str(name);
    }
    println!("{line}");
}
