//! The bars of issue 4: nothing acknowledged is lost, no fork, and the way in and out is open.

use testkit::durable::Files;

use super::{Bar, Measured, Scale, append_only, exact, faults};
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
    Bar {
        name: "exact",
        required: "50 snapshots at random moments under transactions over several keys: each loaded again holds what the \
                   transactions keep, and equals the log replayed to the cut, key by key",
        in_slice: true,
        measure: exact::measure,
    },
    Bar {
        name: "rdb-both-ways",
        required: "snapshots of redis-server and ours, with every type, every encoding and huge values, are loaded by the other: \
                   equal key by key",
        in_slice: true,
        measure: |scale| Ok(append_only::both_ways(scale, &[("snapshot", Files::Snapshot)])),
    },
    Bar {
        name: "aof-both-ways",
        required: "append-only files of redis-server and ours, with and without a preamble, are loaded by the other: equal key \
                   by key",
        in_slice: true,
        measure: |scale| {
            let kinds = [true, false].map(|has_preamble| Files::AppendOnly { has_preamble });
            Ok(append_only::both_ways(scale, &[("with a preamble", kinds[0]), ("without", kinds[1])]))
        },
    },
    Bar {
        name: "faults",
        required: "full disk, directory without the right to write, errors of write and fsync: MISCONF to writers, reads go on, \
                   recovery without restart, no corrupt file",
        in_slice: true,
        measure: faults::measure,
    },
    Bar {
        name: "kill",
        required: "300 kill -9 under transactions, each with always and everysec: no transaction in part, always a beginning, \
                   nothing acknowledged or read lost with always, 2 s at most with everysec",
        in_slice: true,
        measure: append_only::kills,
    },
    Bar {
        name: "power",
        required: "10,000 power cuts on a simulated disk with torn, lost and reordered writes: the same",
        in_slice: false,
        measure: append_only::power_cuts,
    },
    Bar {
        name: "aof-cost",
        required: "everysec costs at most 15 % CPU per SET, at pipeline 16 half of what it adds to redis-server; always with 50 \
                   clients: rate, CPU, fsyncs and p99 per request not worse than redis-server's",
        in_slice: true,
        measure: append_only::cost,
    },
    Bar {
        name: "rdb-corrupt",
        required: "1,000,000 mutated snapshots: an error with its offset, or what was read is what was loaded, never a crash, \
                   never wrong data where the checksum is on",
        in_slice: true,
        measure: append_only::corrupt_snapshots,
    },
    Bar {
        name: "aof-corrupt",
        required: "100,000 mutated append-only files: an error with its offset or what can be applied, never a crash",
        in_slice: true,
        measure: append_only::corrupt,
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
