//! The bars of issue 6: sessions that Express and axum share, and sessions of our own.
//!
//! Most are the tests of statements, run at the scale that the bar asks for; at a small scale `cargo x test` runs
//! them. What sessions cost is measured by an example of larder-session.

use super::{Bar, Measured, Scale, server};
use crate::{run, stages};
use testkit::{Options, Server};

/// A bar that is tests of larder-session: a test file, and what the names of the tests contain.
macro_rules! tests {
    ($name:literal, $required:literal, $($file:literal: $tests:expr),+) => {
        Bar {
            name: $name,
            required: $required,
            in_slice: false,
            measure: |_| Ok(tests($name, &[$(($file, $tests)),+])),
        }
    };
}

pub(super) const BARS: &[Bar] = &[
    tests!("statements", "statements 1-40, each a test named by its number, on the engine, larder-server and redis-server, those \
           about Express with Node", "--lib": &["s0", "s1", "s2", "s3", "s4"], "statements": &[], "native": &[],
           "express": &["s36_"], "events": &[]),
    tests!("alternate", "10,000 alternating random requests to Express and axum lose no member; login and logout on either side \
           hold on both, with connect-redis 7, 8, 9 and 10", "express": &["s33_"], "pages": &[]),
    tests!("bytes", "10,000 random cookies are cookie-signature's; 10,000 random records of Node keep their bytes after a no-op \
           save", "express": &["s34_", "s35_"]),
    tests!("updates", "100 parallel updates end at exactly 100 on every backend", "statements": &["s15_"], "native": &["s15_"]),
    tests!("late", "1,000 times a late request meets a logout, a rotation or a revocation and brings nothing back: ours in both \
           profiles, and Express' past the session guard", "statements": &["s03_"], "native": &["s03_"], "express": &["s03_"]),
    tests!("rotation", "whatever fails at any step of a rotation (the store, a panic, a cancelled request, kill -9), exactly one id \
           works", "rotation": &[]),
    tests!("calls", "a request that does not touch the session makes no call to the store, a read one, and at most one touch in an \
           interval", "native": &["s07_s12_", "s13_"], "statements": &["s07_s12_"], "calls": &[]),
    Bar {
        name: "load",
        required: "a request that asks who is logged in pays less than 2 us more than one that does not, with the engine in this \
          process, in both profiles: cookie, signature, record, id, user, and what the answer says; with Express' sessions \
          also the touch. What the layer takes of each request is told beside it",
        in_slice: false,
        measure: load,
    },
    Bar {
        name: "memory",
        required: "of a million sessions of a typical login, each takes at most 260 bytes in the server in the \
          Express profile without index, and at most 420 in the native profile with index and metadata",
        in_slice: false,
        measure: memory,
    },
];

fn tests(name: &str, files: &[(&str, &[&str])]) -> Measured {
    let (mut passed, mut failed, mut success) = (0, 0, true);
    for (file, names) in files {
        let target: &[&str] = if *file == "--lib" { &["--lib"] } else { &["--test", file] };
        let mut tests = run::cargo(&[&["test", "--package", "larder-session"], target, &["--"]].concat());
        tests.args(*names).env("LARDER_SESSION_FULL", "1").env("CI", "1").env("LARDER_SERVER", server());
        let outcome = run::logged(&format!("session-{name}-{}", file.trim_start_matches('-')), vec![tests]);
        let (good, bad) = stages::count_rust(&outcome);
        (passed, failed, success) = (passed + good, failed + bad, success && outcome.success && good > 0);
    }
    Measured::right(success, vec![format!("{passed} tests passed, {failed} failed")])
}

/// Runs the example that measures, and gives the numbers behind the words of its output.
fn cost(name: &str, words: &[&str]) -> Result<String, String> {
    let arguments =
        [&["run", "--quiet", "--release", "--package", "larder-session", "--example", "cost", "--"], words]
            .concat();
    let outcome = run::logged(&format!("session-{name}"), vec![run::cargo(&arguments)]);
    if !outcome.success {
        outcome.show_tail();
        return Err("the example `cost` failed".to_owned());
    }
    Ok(outcome.text())
}

fn number(output: &str, word: &str) -> Result<f64, String> {
    let line = output.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    let number = line.and_then(|rest| rest.split(' ').next()?.parse().ok());
    number.ok_or_else(|| format!("the example `cost` says nothing about {word:?}"))
}

fn load(_: Scale) -> Result<Measured, String> {
    let output = cost("load", &["load"])?;
    let figure = |word| number(&output, word);
    let (native, express) = (figure("native-load")?, figure("express-load")?);
    let idle = (figure("native-untouched")?, figure("express-untouched")?);
    let (native, express) = (native - idle.0, express - idle.1);
    let figures = vec![
        format!("native: {native:.0} ns, and {:.0} ns for the layer of any request", idle.0),
        format!("Express: {express:.0} ns, and {:.0} ns", idle.1),
    ];
    Ok(Measured::reached(native < 2_000.0 && express < 2_000.0, figures))
}

fn memory(scale: Scale) -> Result<Measured, String> {
    let count: u64 = scale.choose(1_000_000, 20_000);
    let mut figures = Vec::new();
    let mut reached = true;
    for (profile, bytes_max) in [("express", 260.0), ("native", 420.0)] {
        let server = Server::start(Options::larder().args(["--save", ""]));
        let url = format!("redis://127.0.0.1:{}", server.port());
        let before = server.memory_rss();
        let output = cost(&format!("fill-{profile}"), &["fill", &url, profile, &count.to_string()])?;
        let bytes = server.memory_rss().saturating_sub(before) as f64 / count as f64;
        let keys = number(&output, "keys")?;
        let record = number(&output, "record")?;
        figures.push(format!("{profile}: {bytes:.1} bytes of {bytes_max}, {keys:.0} keys for {count} sessions, records of {record:.0} bytes"));
        reached &= bytes <= bytes_max;
    }
    Ok(Measured::reached(reached, figures))
}
