//! The generated reference is that of the present declarations. `UPDATE=1 cargo test -p larder --test reference` writes
//! it anew.

use larder::reference;
use std::path::Path;

fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, expected).expect("the file can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    // Not assert_eq: two whole files side by side help nobody.
    let differs = found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    assert!(found == expected, "{name} is stale from line {:?} on: cargo x gen", differs.map(|at| at + 1));
}

#[test]
fn the_commands_are_documented() {
    check("docs/commands.md", &reference::commands_markdown());
}

#[test]
fn the_commands_are_documented_for_programs() {
    check("docs/commands.json", &reference::commands_json());
}

#[test]
fn the_terminal_client_knows_the_commands() {
    check("larder-cli/src/prompt/commands.tsv", &reference::commands_table());
}
