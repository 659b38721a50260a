//! `--intrinsic-latency`: how long this machine keeps a program waiting, without any server.
//!
//! A loop that only reads the clock should never see it jump. Where it does, the system gave the processor to somebody
//! else, and no server on this machine can answer faster than that.

use std::time::{Duration, Instant};

use crate::interrupt;
use crate::oneshot::Verdict;
use crate::output;

/// Readings of the clock between two looks at the time limit.
const BATCH: u64 = 1_000;

pub(crate) fn run(limit: Duration) -> Verdict {
    interrupt::catch();
    let start = Instant::now();
    let (mut before, mut runs, mut worst) = (start, 0_u64, Duration::ZERO);
    while before.duration_since(start) < limit && !interrupt::taken() {
        for _ in 0..BATCH {
            let now = Instant::now();
            let pause = now - before;
            before = now;
            if pause.as_micros() > worst.as_micros() {
                worst = pause;
                output::write(
                    format!("Max latency so far: {} microseconds.\n", worst.as_micros()).as_bytes(),
                )?;
                before = Instant::now();
            }
        }
        runs += BATCH;
    }
    let average = start.elapsed().as_secs_f64() * 1e6 / runs as f64;
    let factor = worst.as_secs_f64() * 1e6 / average;
    let summary = format!(
        "\n{runs} total runs (avg latency: {average:.4} microseconds / {:.2} nanoseconds per run).\n\
         Worst run took {factor:.0}x longer than the average latency.\n",
        average * 1e3
    );
    output::write(summary.as_bytes()).map(|()| true)
}
