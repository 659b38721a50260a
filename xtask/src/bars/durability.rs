//! The bars of issue 4: nothing acknowledged is lost, no fork, and the way in and out is open.

use super::{Bar, Measured, Scale};
use crate::bench::{Plan, Size, one};

pub(super) const BARS: &[Bar] = &[
    Bar {
        name: "snapshot",
        required: "a snapshot of 4 M keys stops clients for less than 1 ms, takes less than 1.2 times the memory at half the \
                   maximal rate, p99.9 at most 1.5 times the control's",
        in_slice: true,
        measure: |scale| judge("snapshot", scale),
    },
    Bar {
        name: "collections",
        required: "changes of collections of 1 M elements during a snapshot take less than 5 ms",
        in_slice: true,
        measure: |scale| judge("collections", scale),
    },
    Bar {
        name: "restart",
        required: "5 M keys are loaded at least twice as fast as by redis-server from the same file",
        in_slice: true,
        measure: |scale| judge("restart", scale),
    },
];

/// A bar that is a benchmark, judged by the table of targets.
fn judge(name: &str, scale: Scale) -> Result<Measured, String> {
    let plan = Plan { rounds: scale.choose(3, 1), size: scale.choose(Size::Full, Size::Slice) };
    let section = one(name, &plan)?;
    let reached = section.judged.iter().all(|judged| judged.is_reached());
    let figures = section.judged.iter().map(|judged| judged.show()).chain(section.wrong.iter().cloned());
    Ok(Measured { figures: figures.collect(), right: section.wrong.is_empty(), reached })
}
