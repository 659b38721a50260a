//! The habits of this project that a machine can check. Each test says what to do instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a source file: a wall. The habit is 600.
const LINES_MAX: usize = 1_000;

/// Crates that make up the product: nothing there prints, waits for a developer, or is left for later.
const PRODUCT: &[&str] = &[
    "larder-structures",
    "larder-resp",
    "larder",
    "larder-server",
    "larder-cli",
    "larder-client",
    "larder-cache",
    "larder-cache-macros",
    "larder-session",
    "demo/shop",
];

/// What each crate may use of the others. Arrows point down this list, never up; `ARCHITECTURE.md` draws it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("larder-structures", &[]),
    ("larder-resp", &[]),
    ("larder", &["larder-structures", "larder-resp"]),
    ("larder-server", &["larder", "larder-resp"]),
    ("larder-cli", &["larder-resp"]),
    ("larder-client", &["larder", "larder-resp"]),
    ("larder-cache", &["larder-cache-macros", "larder-client", "larder-structures"]),
    ("larder-cache-macros", &[]),
    ("larder-session", &["larder-client"]),
    ("shop", &["larder-cache", "larder-client", "larder-session"]),
    ("testkit", &["larder", "larder-cache", "larder-resp", "larder-structures"]),
    ("xtask", &["testkit", "larder-resp"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the project").to_path_buf()
}

/// All files that belong to the project: tracked by git, or new and not ignored.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is there");
    assert!(listed.status.success(), "the tests run in a git checkout");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut all: Vec<String> =
        text.split('\0').filter(|path| root().join(path).is_file()).map(str::to_owned).collect();
    all.sort_unstable();
    all.dedup();
    assert!(all.len() > 20, "{all:?}");
    all
}

fn read(path: &str) -> String {
    String::from_utf8_lossy(&fs::read(root().join(path)).unwrap_or_default()).into_owned()
}

fn sources() -> Vec<(String, String)> {
    files().into_iter().filter(|path| path.ends_with(".rs")).map(|path| (path.clone(), read(&path))).collect()
}

/// Whether a file is part of the product itself, not of its tests.
fn is_product(path: &str) -> bool {
    PRODUCT.iter().any(|name| path.starts_with(&format!("{name}/src/")))
}

fn none(found: &[String], what: &str) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn files_are_short() {
    let long = sources().into_iter().map(|(path, text)| (path, text.lines().count()));
    let long: Vec<String> = long
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    none(&long, &format!("files of more than {LINES_MAX} lines: divide them by what a reader looks for"));
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled in two pieces, so that this file does not find itself.
    let everywhere =
        [["FIX", "ME"], ["XX", "X:"], ["HACK", ":"], ["TO", "DO:"]].map(|halves| halves.concat());
    let product = ["todo!(", "unimplemented!(", "dbg!(", "println!(", "print!(", "eprint!("];
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let place = || format!("{path}:{}: {}", number + 1, line.trim());
            let is_doc = line.trim_start().starts_with("//");
            let banned = everywhere.iter().any(|word| line.contains(word.as_str()));
            // The server's entry point may speak to its terminal; `eprintln!` contains `println!`, which is why
            // the check is on the character before.
            let prints = is_product(&path)
                && !is_doc
                && !path.ends_with("/main.rs")
                && path != "larder-server/src/start.rs"
                && product.iter().any(|word| {
                    line.match_indices(word)
                        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
                });
            if banned || prints {
                found.push(place());
            }
        }
    }
    none(&found, "leftovers, or output where a log, an error or nothing belongs");
}

#[test]
fn unsafe_code_stays_in_structures() {
    let word = ["unsafe", " "].concat();
    let mut found = Vec::new();
    for (path, text) in sources() {
        if path.starts_with("larder-structures/") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let starts = ["{", "fn ", "impl ", "trait ", "extern "].map(|next| format!("{word}{next}"));
            if starts.iter().any(|start| code.contains(start.as_str())) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none(&found, "unsafe code outside larder-structures");
}

#[test]
fn every_module_says_what_it_is() {
    let product =
        sources().into_iter().filter(|(path, _)| path.contains("/src/") || path.contains("/tests/"));
    let silent = product.filter(|(_, text)| {
        // Attributes may come first.
        let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
        !first.is_some_and(|line| line.starts_with("//!"))
    });
    let silent: Vec<String> = silent.map(|(path, _)| path).collect();
    none(&silent, "files that do not begin with `//!` and a sentence about what they hold");
}

#[test]
fn crates_use_only_what_lies_below() {
    let metadata = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args([
            "tree",
            "--workspace",
            "--depth",
            "1",
            "--edges",
            "normal,build",
            "--prefix",
            "depth",
            "--all-features",
        ])
        .args(["--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo is there");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let mut uses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in String::from_utf8_lossy(&metadata.stdout).lines() {
        // A depth, a name, a version, a path when it is one of ours.
        let name =
            line.trim_start_matches(|c: char| c.is_ascii_digit()).split(' ').next().unwrap_or_default();
        if line.starts_with('0') {
            name.clone_into(&mut current);
            uses.entry(current.clone()).or_default();
        } else if line.starts_with('1') && MAY_USE.iter().any(|(ours, _)| *ours == name) {
            uses.entry(current.clone()).or_default().push(name.to_owned());
        }
    }
    assert!(uses.contains_key("larder"), "{uses:?}");
    let mut wrong = Vec::new();
    for (name, used) in uses {
        match MAY_USE.iter().find(|(ours, _)| *ours == name) {
            None => wrong.push(format!("{name} is not in the table")),
            Some((_, allowed)) => {
                let more = used.into_iter().filter(|other| !allowed.contains(&other.as_str()));
                wrong.extend(more.map(|other| format!("{name} uses {other}")));
            }
        }
    }
    none(&wrong, "dependencies against the direction of ARCHITECTURE.md");
}

#[test]
fn no_path_of_some_machine() {
    // In two pieces each, so that this file does not find itself.
    let banned =
        [["/wo", "rk/"], ["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"]].map(|halves| halves.concat());
    let mut found = Vec::new();
    for path in
        files().into_iter().filter(|path| !path.ends_with(".lock") && !path.ends_with("package-lock.json"))
    {
        for (number, line) in read(&path).lines().enumerate() {
            if banned.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none(&found, "paths that exist on one machine only");
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut dead = Vec::new();
    for path in files().into_iter().filter(|path| path.ends_with(".md")) {
        let text = read(&path);
        let folder = root().join(&path).parent().expect("a file lies in a folder").to_path_buf();
        for (number, line) in text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let target = target.split('#').next().unwrap_or_default();
                let outside = target.is_empty() || target.contains("://") || target.starts_with("mailto:");
                if !outside && !folder.join(target).exists() {
                    dead.push(format!("{path}:{}: {target}", number + 1));
                }
            }
        }
    }
    none(&dead, "links to files that are not there");
}

#[test]
fn differences_are_a_table_of_four_columns() {
    let text = read("docs/differences.md");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 2, "`cargo x compat` reads its list from there");
    let wrong: Vec<String> = rows
        .into_iter()
        .filter(|row| row.trim_matches('|').split(" | ").count() != 4 && !row.contains("---"))
        .map(str::to_owned)
        .collect();
    none(&wrong, "rows without exactly four cells: what | real | ours | why");
}

#[test]
fn every_fuzz_entry_point_has_a_row() {
    let rows = read("testkit/src/bin/fuzz.rs");
    let start = ["pub fn fuzz", "_"].concat();
    let mut missing = Vec::new();
    for (path, text) in sources() {
        for line in text.lines().filter(|line| line.trim_start().starts_with(&start)) {
            let name = line.trim_start().trim_start_matches("pub fn ").split('(').next().unwrap_or_default();
            if !rows.contains(&format!("::{name},")) {
                missing.push(format!("{path}: {name}"));
            }
        }
    }
    none(&missing, "entry points for fuzzers that testkit/src/bin/fuzz.rs does not list");
}
