//! `cargo x bench`: what requests cost, what keys weigh, how long anything stands still, beside redis-server.
//!
//! Both servers run on the same machine and take turns, round by round, so that a drift of the machine hits both; what
//! is judged is a ratio of medians, or a size. Where there is a second processor the server is pinned to the first and
//! the generator to the second. A figure without a target of its own is judged against redis-server.
//!
//! A full run writes what it finds into `docs/benchmarks.md`, which names what misses its target before anything else.

pub(crate) mod cost;
mod embedded;
mod hits;
mod memory;
mod report;
mod saving;
mod scaling;
mod stalls;
pub(crate) mod targets;

use std::fmt::Write as _;
use std::sync::OnceLock;

use testkit::{Options, Program, Server};

use crate::bars::{find_server, server};
use crate::run;
use targets::Judged;

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Turns of each server.
    pub(crate) rounds: usize,
    /// The size of each.
    pub(crate) size: Size,
}

/// How large the data and how long the loads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// As the targets are defined.
    Full,
    /// A tenth or less: for a first look.
    Quick,
    /// A moment: only to see that it works.
    Slice,
}

impl Plan {
    /// One of three, by size.
    pub(crate) fn choose<T>(&self, full: T, quick: T, slice: T) -> T {
        match self.size {
            Size::Full => full,
            Size::Quick => quick,
            Size::Slice => slice,
        }
    }
}

/// One benchmark.
pub(crate) struct Bench {
    /// A word to choose it by.
    pub(crate) name: &'static str,
    /// What it measures, and how.
    about: &'static str,
    run: fn(&Plan) -> Result<Section, String>,
}

/// What a benchmark found.
#[derive(Default)]
pub(crate) struct Section {
    pub(crate) header: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) judged: Vec<Judged>,
    /// What was wrong although it is no matter of speed.
    pub(crate) wrong: Vec<String>,
}

/// All benchmarks, in the order of the report.
pub(crate) const BENCHES: &[Bench] = &[
    Bench {
        name: "cost",
        about: "Server CPU time per request, one I/O thread, 64-byte values, a million keys loaded beforehand; \
                redis-benchmark as generator. Rate and latency stand beside it: a saving that costs those is none.",
        run: cost::run,
    },
    Bench {
        name: "scaling",
        about: "CPU time per request as keys and connections grow; two I/O threads against one; four times as many \
                threads as processors.",
        run: scaling::run,
    },
    Bench {
        name: "bytes",
        about: "Growth of resident memory for each key or member, 16-byte keys; the worst of three numbers of keys, \
                since tables grow in steps.",
        run: memory::bytes,
    },
    Bench { name: "empty", about: "Resident memory of an empty server.", run: memory::empty },
    Bench {
        name: "churn",
        about: "Random SET, DEL and EXPIRE of 1 byte to 8 KiB at maxmemory 512 MiB, allkeys-lru: resident memory must \
                not creep.",
        run: memory::churn,
    },
    Bench {
        name: "growth",
        about: "A table grows from nothing while GETs at a fixed rate go on: first in memory that the machine has to give \
                to the process, then, after FLUSHALL, in memory that it has; the control overwrites the same keys. \
                growth-inside is the longest hold of a lock in the second growth, growth-fresh-inside in the first; \
                medians of the rounds, and the worst. growth-machine is how long a bare loop stood still on the same \
                processor, in milliseconds, which touched as much fresh memory in the same time while the other \
                processor was busy. All of these are by the clock on the wall, so what the machine takes of a program is in \
                them. growth-step is what a SET of the embedded engine takes of its thread's own processor time, the longest \
                of the same runs (-fresh of the first growth), the median of the rounds, the worst, and that in which the \
                machine took least: a virtual machine's host, when it has to find memory, takes its time out of that too.",
        run: stalls::growth,
    },
    Bench {
        name: "storm",
        about: "Keys that all expire within a minute, while GETs of other keys at a fixed rate go on; the control is the \
                same before the minute.",
        run: stalls::storm,
    },
    Bench {
        name: "long",
        about: "One client loops a ZUNIONSTORE over a million members, two I/O threads, while GETs of another key at a \
                fixed rate go on over eight connections; the control, before each round, is the same without it. Medians \
                of the rounds.",
        run: stalls::long,
    },
    Bench {
        name: "snapshot",
        about: "A snapshot in the background while random SETs go on in batches of 8, at half the rate that they reach \
                at most, and at the full rate; the control is the same without a snapshot. Memory is what server and \
                child have, what they share counted once.",
        run: saving::snapshot,
    },
    Bench {
        name: "collections",
        about: "Changes of a sorted set, a hash, a set and a list of a million elements each while a snapshot is written.",
        run: saving::leaderboard,
    },
    Bench {
        name: "restart",
        about: "Loading a snapshot of 5 M keys with 64-byte values that redis-server has written, as the logs tell.",
        run: saving::restart,
    },
    Bench {
        name: "hits",
        about: "How often a cache with room for a tenth of the keys has what it is asked for, by Zipf's law with exponent \
                0.99, without and with a quarter of reads of keys that never come again; GET, and SET on a miss, at the \
                same rate for all. Judged in points of a hundred: our LRU less redis-server's, and the policy against \
                scans less the better LRU.",
        run: hits::run,
    },
    Bench {
        name: "embedded",
        about: "The embedded engine beside dashmap and moka::sync: one thread, random keys, 64-byte values, the public \
                call with its own clock, expiry, eviction and accounting at work.",
        run: embedded::run,
    },
    Bench {
        name: "instructions",
        about: "Instructions per command from request to reply, counted by valgrind's callgrind: the same on every \
                machine and under any load.",
        run: embedded::instructions,
    },
];

/// Runs the benchmarks of these names, or all, prints what they find and writes it into the report.
pub(crate) fn run(plan: &Plan, names: &[String]) -> Result<bool, String> {
    let known: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("no benchmark {unknown:?}, only {}", known.join(", ")));
    }
    find_server()?;
    let mut sections = Vec::new();
    for bench in
        BENCHES.iter().filter(|bench| names.is_empty() || names.iter().any(|name| name == bench.name))
    {
        println!("\n{}: {}", bench.name, bench.about);
        let section =
            (bench.run)(plan).unwrap_or_else(|why| Section { wrong: vec![why], ..Section::default() });
        print!("{}", section.show());
        sections.push((bench, section));
    }
    let measured: Vec<_> = sections.iter().map(|(bench, section)| (*bench, section)).collect();
    if let Some(path) = report::write(plan, &measured)? {
        println!("\nwrote {path}");
    }
    Ok(sections
        .iter()
        .all(|(_, section)| section.wrong.is_empty() && section.judged.iter().all(Judged::is_reached)))
}

/// Runs the one benchmark of this name, and writes what it finds into the report.
pub(crate) fn one(name: &str, plan: &Plan) -> Result<Section, String> {
    let bench =
        BENCHES.iter().find(|bench| bench.name == name).ok_or_else(|| format!("no benchmark {name}"))?;
    let section = (bench.run)(plan)?;
    report::write(plan, &[(bench, &section)])?;
    Ok(section)
}

impl Section {
    pub(crate) fn new(header: &[&'static str]) -> Section {
        Section { header: header.to_vec(), ..Section::default() }
    }

    /// Adds a row, which is shown now too: a run takes long.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        println!("  {}", cells.join("  "));
        self.rows.push(cells);
    }

    /// Judges a figure by the table of targets.
    pub(crate) fn judge(&mut self, what: &str, figure: f64) {
        self.judged.push(targets::judge(what, figure));
    }

    /// The verdicts, for the terminal.
    fn show(&self) -> String {
        let mut text = String::new();
        for judged in &self.judged {
            let _ = writeln!(text, "  {}", judged.show());
        }
        for wrong in &self.wrong {
            let _ = writeln!(text, "  WRONG: {wrong}");
        }
        text
    }
}

/// Processors this program may use, as it found them at first: it may since have been pinned to one of them.
pub(crate) fn processors() -> usize {
    static FOUND: OnceLock<usize> = OnceLock::new();
    *FOUND.get_or_init(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

/// Our server, with arguments.
pub(crate) fn larder(args: &[&str]) -> Result<Server, String> {
    let options = Options { program: Program::Path(server()), ..Options::larder() };
    Server::try_start(options.args(args.iter().copied()))
}

/// Both servers, redis-server first; ours with one I/O thread unless `args` say otherwise.
pub(crate) fn both(args: &[&str]) -> Result<[(&'static str, Server); 2], String> {
    let redis = Server::try_start(Options::redis())?;
    let ours: &[&str] = if args.is_empty() { &["--io-threads", "1"] } else { args };
    Ok([("redis-server", redis), ("Larder", larder(ours)?)])
}

/// The middle one; of an even number the upper of the two.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A field of INFO that is a number.
pub(crate) fn info(server: &Server, field: &str) -> Option<f64> {
    let reply = server.connect().line("INFO");
    let text = String::from_utf8_lossy(reply.as_bytes()?).into_owned();
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')?.trim().parse().ok())
}

/// The path of a benchmark programme of a crate, built if need be.
fn built(package: &str, bench: &str) -> Result<String, String> {
    let outcome =
        run::logged("bench-build", vec![run::cargo(&["bench", "-p", package, "--bench", bench, "--no-run"])]);
    let text = outcome.text();
    let path = text.lines().rev().find_map(|line| {
        line.trim()
            .strip_prefix("Executable ")?
            .rsplit_once('(')
            .map(|(_, path)| path.trim_end_matches(')').to_owned())
    });
    path.filter(|_| outcome.success).ok_or_else(|| {
        outcome.show_tail();
        format!("the benchmark {bench} does not build")
    })
}
