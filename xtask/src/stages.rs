//! `cargo x test`: everything that must hold, in stages.
//!
//! Stages go on after a failure, so that one run shows all that is wrong, except that nothing is tested when the server
//! does not build. The last line counts tests; a stage that has no tests of its own counts as one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::run::{Outcome, cargo, command, fuzz_command, logged};
use crate::setup;

/// Inputs for each fuzz target in a normal run; `cargo x fuzz` takes any number.
const FUZZ_RUNS: &str = "100000";

/// One stage: its name, what it counts, and what it runs. No commands: nothing to do here yet.
struct Stage {
    name: &'static str,
    counts: Counts,
    commands: fn() -> Vec<Command>,
}

/// How the number of tests is read from a stage's output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// The stage is one test.
    One,
    /// `test result: ok. 3 passed; 0 failed` of Rust's own test harness, or the summary of cargo-nextest.
    Rust,
    /// `# pass 3` and `# fail 0` of Node's test runner.
    Node,
    /// `3 passed, 1 failed in 0.1s` of pytest, or `Ran 4 tests` and `FAILED (failures=1)` of unittest.
    Python,
}

const STAGES: &[Stage] = &[
    Stage { name: "format", counts: Counts::One, commands: || vec![cargo(&["fmt", "--all", "--check"])] },
    Stage {
        name: "build",
        counts: Counts::One,
        commands: || vec![cargo(&["build", "--release", "-p", "larder-server", "-p", "larder-cli"])],
    },
    Stage { name: "clippy", counts: Counts::One, commands: clippy },
    Stage { name: "rust", counts: Counts::Rust, commands: rust },
    Stage { name: "doc", counts: Counts::Rust, commands: || vec![cargo(&["test", "--workspace", "--doc"])] },
    Stage { name: "loom", counts: Counts::Rust, commands: loom },
    Stage { name: "fuzz", counts: Counts::One, commands: fuzz },
    Stage { name: "node", counts: Counts::Node, commands: node },
    Stage { name: "python", counts: Counts::Python, commands: python },
    Stage { name: "bars", counts: Counts::One, commands: bars },
];

/// Runs the stages of these names, or all.
pub(crate) fn run(names: &[String], ci: bool) -> bool {
    if let Some(unknown) = names.iter().find(|name| !STAGES.iter().any(|stage| stage.name == **name)) {
        let known: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        println!("no stage {unknown:?}, only {}", known.join(", "));
        return false;
    }
    let start = Instant::now();
    let ready = setup::run();
    if !ready && ci {
        println!("0 passed, 1 failed: the tests' own tools are missing");
        return false;
    }
    let mut rows = vec![Row::of("setup", ready, if ready { (1, 0) } else { (0, 1) }, start.elapsed())];
    for stage in STAGES.iter().filter(|stage| names.is_empty() || names.iter().any(|name| name == stage.name))
    {
        let commands = (stage.commands)();
        if commands.is_empty() {
            continue;
        }
        println!("{:<8} ...", stage.name);
        let start = Instant::now();
        let outcome = logged(stage.name, with_environment(commands, ci));
        let row = Row::of(stage.name, outcome.success, count(stage.counts, &outcome), start.elapsed());
        println!("{row}");
        if !outcome.success {
            outcome.show_tail();
        }
        rows.push(row);
        if stage.name == "build" && !outcome.success {
            break;
        }
    }
    summary(&rows, start.elapsed())
}

/// What came of a stage.
struct Row {
    name: &'static str,
    success: bool,
    passed: u64,
    failed: u64,
    time: Duration,
}

impl Row {
    fn of(name: &'static str, success: bool, (passed, failed): (u64, u64), time: Duration) -> Row {
        // A stage can fail without a failed test: it may not even have compiled.
        let failed = if success { failed } else { failed.max(1) };
        Row { name, success, passed, failed, time }
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.success { "ok" } else { "FAILED" };
        let seconds = self.time.as_secs_f64();
        write!(
            f,
            "{:<8} {verdict:<6} {:>5} passed, {} failed, {seconds:.1} s",
            self.name, self.passed, self.failed
        )
    }
}

fn summary(rows: &[Row], time: Duration) -> bool {
    println!();
    for row in rows {
        println!("{row}");
    }
    let (passed, failed) = rows.iter().fold((0, 0), |(p, f), row| (p + row.passed, f + row.failed));
    println!("\n{:.0} s altogether", time.as_secs_f64());
    println!("{passed} passed, {failed} failed");
    failed == 0 && rows.iter().all(|row| row.success)
}

fn with_environment(mut commands: Vec<Command>, ci: bool) -> Vec<Command> {
    for command in &mut commands {
        // Colours would hide the words that are counted.
        command.env("CARGO_TERM_COLOR", "never").env("NO_COLOR", "1").env("RUST_BACKTRACE", "1");
        if ci {
            command.env("CI", "true");
        }
    }
    commands
}

fn clippy() -> Vec<Command> {
    vec![cargo(&["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])]
}

fn rust() -> Vec<Command> {
    if setup::has_nextest() {
        return vec![cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])];
    }
    vec![cargo(&["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"])]
}

/// The models of locks and waiting: files `tests/loom*.rs`, built in a target directory of their own, since another
/// flag would throw away everything built so far.
/// The models of the structures.
pub(crate) fn loom() -> Vec<Command> {
    let mut tests: Vec<String> = std::fs::read_dir("larder-structures/tests")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .filter(|name| name.starts_with("loom"))
        .collect();
    tests.sort_unstable();
    if tests.is_empty() {
        return Vec::new();
    }
    let mut run = cargo(&["test", "--package", "larder-structures", "--release"]);
    for test in &tests {
        run.args(["--test", test]);
    }
    run.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", "target/loom");
    vec![run]
}

fn fuzz() -> Vec<Command> {
    vec![fuzz_command(&["--runs".to_owned(), FUZZ_RUNS.to_owned()])]
}

fn node() -> Vec<Command> {
    if !Path::new("tests/node/package.json").exists() {
        return Vec::new();
    }
    let mut run = command("node", &["--test", "--test-reporter=tap"]);
    run.current_dir("tests/node").env("LARDER_SERVER", server());
    vec![run]
}

/// The Python tests, by the runner that their requirements name.
pub(crate) fn python() -> Vec<Command> {
    if !Path::new("tests/python/requirements.txt").exists() {
        return Vec::new();
    }
    let wants_pytest =
        std::fs::read_to_string("tests/python/requirements.txt").is_ok_and(|t| t.contains("pytest"));
    let runner: &[&str] = if wants_pytest {
        &["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    } else {
        &["-m", "unittest", "discover", "-s"]
    };
    let mut run = command("target/venv/bin/python", runner);
    run.arg("tests/python").env("LARDER_SERVER", crate::bars::server());
    vec![run]
}

fn bars() -> Vec<Command> {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("target/debug/xtask"));
    crate::bars::ISSUES
        .iter()
        .map(|(issue, _)| {
            let mut run = Command::new(&program);
            run.args(["bars", &issue.to_string(), "--slice"]).env("LARDER_SERVER", server());
            run
        })
        .collect()
}

/// The server as users build it.
pub(crate) fn server() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let path = target.join("release/larder-server");
    std::path::absolute(&path).unwrap_or(path)
}

/// Passed and failed tests in the output of Rust's test harness.
pub(crate) fn count_rust(outcome: &Outcome) -> (u64, u64) {
    count(Counts::Rust, outcome)
}

/// Passed and failed tests in a stage's output.
fn count(counts: Counts, outcome: &Outcome) -> (u64, u64) {
    let text = outcome.text();
    match counts {
        Counts::One => (u64::from(outcome.success), u64::from(!outcome.success)),
        Counts::Rust => {
            let lines = text
                .lines()
                .filter(|l| l.starts_with("test result:") || l.trim_start().starts_with("Summary ["));
            lines.fold((0, 0), |(p, f), l| (p + number_before(l, "passed"), f + number_before(l, "failed")))
        }
        Counts::Node => (number_after(&text, "# pass "), number_after(&text, "# fail ")),
        Counts::Python => {
            let last =
                text.lines().rfind(|l| l.contains(" in ") && (l.contains("passed") || l.contains("failed")));
            if let Some(line) = last {
                let failed = number_before(line, "failed") + number_before(line, "error");
                return (number_before(line, "passed"), failed);
            }
            let ran = text.lines().rfind(|l| l.starts_with("Ran ")).map_or(0, |l| number_before(l, "test"));
            let last = text.lines().rfind(|l| l.starts_with("FAILED (")).unwrap_or_default();
            let bad = last.split(['=', ',', ')']).filter_map(|n| n.trim().parse::<u64>().ok()).sum();
            (ran.saturating_sub(bad), bad)
        }
    }
}

/// The number in front of a word: 3 in `3 passed; 0 failed`.
fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().filter(|before| before.len() < line.len());
    let number = before.and_then(|b| b.split_whitespace().last());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The number behind the last line that begins with these words.
fn number_after(text: &str, start: &str) -> u64 {
    let line = text.lines().rev().find_map(|line| line.strip_prefix(start));
    line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_the_words_of_each_runner() {
        let harness = "test result: FAILED. 8 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!((number_before(harness, "passed"), number_before(harness, "failed")), (8, 2));
        let nextest = "     Summary [   2.731s] 13 tests run: 12 passed (1 slow), 1 failed, 0 skipped";
        assert_eq!((number_before(nextest, "passed"), number_before(nextest, "failed")), (12, 1));
        assert_eq!(number_before("13 tests run: 13 passed, 0 skipped", "failed"), 0);
        assert_eq!(number_after("# tests 4\n# pass 3\n# fail 1\n", "# pass "), 3);
        assert_eq!(number_before("1 failed, 5 passed in 0.12s", "passed"), 5);
    }
}
