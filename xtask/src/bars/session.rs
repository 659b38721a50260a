//! The bars of issue 6: sessions that Express and axum share.
//!
//! Each is the test of a statement, run at the scale that the bar asks for; at a small scale `cargo x test` runs it.
//! Bars that need what larder-session does not have yet are not here.

use super::{Bar, Measured, server};
use crate::{run, stages};

/// Declares bars that are tests of larder-session: a test file, and what the names of the tests contain.
macro_rules! bars {
    ($($name:literal, $required:literal, $file:literal, $tests:expr;)*) => {
        &[$(Bar {
            name: $name,
            required: $required,
            in_slice: false,
            measure: |_| Ok(tests($name, $file, $tests)),
        },)*]
    };
}

pub(super) const BARS: &[Bar] = bars! {
    "alternate", "10,000 alternating random requests to Express and axum lose no member; login and logout on either side \
     hold on both", "express", &["s33_"];
    "bytes", "10,000 random cookies are cookie-signature's; 10,000 random records of Node keep their bytes after a no-op \
     save", "express", &["s34_", "s35_"];
    "updates", "100 parallel updates end at exactly 100 on every backend", "statements", &["s15_"];
    "late", "1,000 times a late request meets a logout or a rotation and brings nothing back", "statements", &["s03_"];
};

fn tests(name: &str, file: &str, names: &[&str]) -> Measured {
    let mut tests = run::cargo(&["test", "--package", "larder-session", "--test", file, "--"]);
    tests.args(names).env("LARDER_SESSION_FULL", "1").env("CI", "1").env("LARDER_SERVER", server());
    let outcome = run::logged(&format!("session-{name}"), vec![tests]);
    let (passed, failed) = stages::count_rust(&outcome);
    Measured::right(outcome.success && passed > 0, vec![format!("{passed} tests passed, {failed} failed")])
}
