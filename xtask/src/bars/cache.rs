//! The bars of issue 5: caching that is right by construction.
//!
//! Most are tests of larder-cache at the scale that the bar asks for; at a small scale `cargo x test` runs them. Bars
//! that need what larder-cache does not have yet are not here.

use super::{Bar, Measured, Scale, server};
use crate::{run, stages};

/// Declares bars that are tests of larder-cache: what chooses them, and what cargo is told.
macro_rules! bars {
    ($($name:literal, $required:literal, $arguments:expr;)*) => {
        &[HIT_PATH, $(Bar {
            name: $name,
            required: $required,
            in_slice: false,
            measure: |_| Ok(tests($name, $arguments)),
        },)*]
    };
}

pub(super) const BARS: &[Bar] = bars! {
    "statements", "the tests named by statements A1 to K1 pass on every backend that they concern", &["--tests"];
    "flights", "10,000 tasks on 100 cold keys: exactly 100 loads, in one process and over 4 processes on one server",
    &["--test", "statements", "fleet::"];
    "interleavings", "1,000,000 random steps of 3 processes, messages lost and late: no read sees what was invalidated, \
     longer than the promise", &["--lib", "nobody_reads_what_is_too_old"];
    "catalogue", "10 processes, 95 % reads, Zipf, 5,000 requests on 100 products in a time to live: at least 95 % fewer \
     queries, and one at most for each product and expiry", &["--test", "statements", "catalogue::"];
    "write-back", "kill -9 at 500 random moments with LocalFsync: nothing acknowledged is lost, changes of a key stay in \
     order, nothing deleted comes back", &["--test", "statements", "write_back::g1_"];
    "topologies", "a node of a cluster (3 + 3) killed under load, and a fail-over by sentinels: the same guarantees, no \
     restart; the other statements on that cluster", &["--test", "statements", "topologies::"];
};

const HIT_PATH: Bar = Bar {
    name: "hit-path",
    required: "in one thread, beside bare moka on the same keys: with a near cache at most 1.5 times its time, on the \
               embedded engine with decoding of 100 bytes at most 4 times",
    in_slice: false,
    measure: hit_path,
};

fn tests(name: &str, arguments: &[&str]) -> Measured {
    let mut tests = run::cargo(&["test", "--package", "larder-cache"]);
    tests
        .args(arguments)
        .args(["--", "--nocapture"])
        .env("LARDER_CACHE_FULL", "1")
        .env("LARDER_CACHE_STEPS", "1000000");
    tests.env("CI", "1").env("LARDER_SERVER", server());
    let outcome = run::logged(&format!("cache-{name}"), vec![tests]);
    let (passed, failed) = stages::count_rust(&outcome);
    let text = outcome.text();
    let mut figures = vec![format!("{passed} tests passed, {failed} failed")];
    figures.extend(
        text.lines().filter_map(|line| line.split_once("measured: ")).map(|(_, what)| what.to_owned()),
    );
    Measured::right(outcome.success && passed > 0, figures)
}

fn hit_path(_: Scale) -> Result<Measured, String> {
    let mut program = run::cargo(&["run", "--release", "--quiet", "--package", "larder-cache"]);
    program.args(["--example", "hit_path"]);
    let output = program.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let times: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [moka, near, far] = times[..] else { return Err(format!("no three numbers: {text:?}")) };
    let figures = vec![format!(
        "moka {moka} ns, near cache {near} ns ({:.2} times), embedded {far} ns ({:.2} times)",
        near / moka,
        far / moka
    )];
    Ok(Measured::reached(near <= 1.5 * moka && far <= 4.0 * moka, figures))
}
