//! The bars of issue 3: fewer cycles per request and fewer bytes per key.
//!
//! Most are benchmarks of `cargo x bench`, judged by its table of targets ([`crate::bench::targets`]).

use super::{Bar, Measured, Scale};
use crate::bench::{Plan, Size, one};
use crate::{run, stages};

/// Declares bars that are benchmarks: a bar's name is the benchmark's.
macro_rules! bars {
    ($($name:literal, $required:literal, $in_slice:literal;)*) => {
        &[$(Bar {
            name: $name,
            required: $required,
            in_slice: $in_slice,
            measure: |scale| judge($name, scale),
        },)* STRUCTURES]
    };
}

pub(super) const BARS: &[Bar] = bars! {
    "cost", "CPU time per request: the ratios of the table of targets; rate, p50 and p99 no worse than redis-server's by \
     5, 5 and 25 %", true;
    "scaling", "cost grows from 10,000 to 10 M keys no more than redis-server's, by 10 % at most from 10 to 1,000 \
     connections, by 15 % at most with a second thread; 4 threads per processor lose 10 % of the rate at most", true;
    "bytes", "bytes per key or member: the table of targets", true;
    "empty", "an empty server takes less than 8 MiB", true;
    "churn", "100 M random SET, DEL, EXPIRE at maxmemory 512 MiB: RSS below 1.25 times that, no trend, used_memory is what \
     a walk adds up to", true;
    "growth", "longest step while a table grows from 0 to 20 M keys under 1 ms", true;
    "storm", "5 M keys expire within a minute: reclaimed less than 2 s late, p99 of GET at most 1.5 times the control's",
     true;
    "long", "ZUNIONSTORE over 10^6 members: GETs of other keys stop for less than 20 ms, p99.9 at most twice the control's",
     true;
    "hits", "hit ratio at 10 % of the keys: allkeys-lru not below redis-server's, under Zipf and with a scan mixed in; a \
     policy against scans at least 5 points above it there", true;
    "embedded", "embedded GET and SET take at most 0.6 times what dashmap takes", false;
};

/// What needs a build of its own.
const STRUCTURES: Bar = Bar {
    name: "structures",
    required: "larder-structures is clean under AddressSanitizer and in loom's models",
    in_slice: false,
    measure: |_| Ok(sanitize()),
};

/// Runs the tests of the structures with the general allocator in place of the slab, watched by AddressSanitizer, and
/// then the models. The sanitizer is part of every toolchain, but only its nightly side says so.
fn sanitize() -> Measured {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut watched = run::cargo(&["test", "--package", "larder-structures", "--lib", "--tests"]);
    watched
        .args(["--target", &target, "--target-dir", "target/sanitize"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address --cfg plain_alloc");
    let runs = [("AddressSanitizer", vec![watched]), ("loom", stages::loom())];
    let mut right = true;
    let figures = runs.into_iter().map(|(name, commands)| {
        let outcome = run::logged(&format!("structures-{name}"), commands);
        right &= outcome.success;
        let (passed, failed) = stages::count_rust(&outcome);
        format!("{name}: {passed} tests passed, {failed} failed")
    });
    let figures = figures.collect();
    Measured::right(right, figures)
}

fn judge(name: &str, scale: Scale) -> Result<Measured, String> {
    let plan = Plan { rounds: scale.choose(5, 1), size: scale.choose(Size::Full, Size::Slice) };
    let section = one(name, &plan)?;
    let judged = || section.judged.iter().filter(|judged| judged.is_in_table());
    let reached = judged().all(|judged| judged.is_reached());
    let figures = judged().map(|judged| judged.show()).chain(section.wrong.iter().cloned());
    Ok(Measured { figures: figures.collect(), right: section.wrong.is_empty(), reached })
}
