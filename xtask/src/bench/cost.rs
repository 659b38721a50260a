//! What a request costs.

use std::process::Command;

use testkit::Server;

use super::{Plan, Section, both, median, processors};
use crate::load::{fill_keys, pin};

/// One kind of load.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What redis-benchmark is told.
    pub(crate) args: &'static [&'static str],
    /// Requests in a round of a full run.
    pub(crate) requests: u64,
}

/// A value of 64 bytes.
const VALUE: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

pub(crate) const WORKLOADS: &[Workload] = &[
    Workload { name: "ping-p1", args: &["-t", "ping_mbulk"], requests: 300_000 },
    Workload { name: "get-p1", args: &["-t", "get"], requests: 300_000 },
    Workload { name: "set-p1", args: &["-t", "set"], requests: 300_000 },
    Workload { name: "get-p16", args: &["-P", "16", "-t", "get"], requests: 3_000_000 },
    Workload { name: "set-p16", args: &["-P", "16", "-t", "set"], requests: 3_000_000 },
    Workload { name: "get-p100", args: &["-P", "100", "-t", "get"], requests: 6_000_000 },
    Workload { name: "incr-p16", args: &["-P", "16", "-t", "incr"], requests: 3_000_000 },
    Workload { name: "hset-p16", args: &["-P", "16", "-t", "hset"], requests: 3_000_000 },
    Workload { name: "lpush-p16", args: &["-P", "16", "-t", "lpush"], requests: 3_000_000 },
    Workload { name: "sadd-p16", args: &["-P", "16", "-t", "sadd"], requests: 3_000_000 },
    Workload { name: "zadd-p16", args: &["-P", "16", "-t", "zadd"], requests: 3_000_000 },
    Workload { name: "mset-p1", args: &["-t", "mset"], requests: 100_000 },
    Workload { name: "lrange100-p1", args: &["-t", "lrange_100"], requests: 100_000 },
    Workload {
        name: "setex-p16",
        args: &["-P", "16", "SETEX", "key:__rand_int__", "3600", VALUE],
        requests: 3_000_000,
    },
];

/// One kind of load by its name.
pub(crate) fn workload(name: &str) -> &'static Workload {
    WORKLOADS.iter().find(|workload| workload.name == name).expect("it is in the table")
}

/// How a load is put on a server.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) keys: usize,
    pub(crate) requests: u64,
    /// Whether the generator stays on the second processor; the server has been pinned to the first.
    pub(crate) pinned: bool,
}

/// What one round gave.
#[derive(Clone, Copy, Default)]
pub(crate) struct Round {
    pub(crate) cpu_us: f64,
    pub(crate) rate: f64,
    /// Latencies of the middle, of 99 and of 99.9 percent of the requests, in milliseconds.
    pub(crate) latency_ms: [f64; 3],
}

/// Pins a server to the first processor if there is another one for the generator. Returns whether.
pub(crate) fn pin_server(server: &Server) -> bool {
    if processors() > 1 {
        pin(server.pid(), 0);
    }
    processors() > 1
}

/// Lets redis-benchmark put a load on a server.
pub(crate) fn round(server: &Server, workload: &Workload, shape: Shape) -> Result<Round, String> {
    let mut words: Vec<String> = Vec::new();
    if shape.pinned {
        words.extend(["taskset", "-c", "1"].map(str::to_owned));
    }
    let fixed = ["redis-benchmark", "-h", "127.0.0.1", "-d", "64"].map(str::to_owned);
    words.extend(fixed);
    for (name, value) in [
        ("-p", u64::from(server.port())),
        ("-c", shape.connections as u64),
        ("-r", shape.keys as u64),
        ("-n", shape.requests),
    ] {
        words.extend([name.to_owned(), value.to_string()]);
    }
    words.extend(workload.args.iter().map(|arg| (*arg).to_owned()));
    let before = server.cpu_ns();
    let output = Command::new(&words[0])
        .args(&words[1..])
        .output()
        .map_err(|e| format!("cannot start {}: {e} (cargo x setup installs it)", words[0]))?;
    let spent_us = server.cpu_ns().saturating_sub(before) as f64 / 1000.0;
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "\n");
    parse(&text)
        .map(|(rate, latency_ms)| Round { cpu_us: spent_us / shape.requests as f64, rate, latency_ms })
        .ok_or_else(|| format!("redis-benchmark said {text:?} {:?}", String::from_utf8_lossy(&output.stderr)))
}

/// Rate and latencies in what redis-benchmark writes. LRANGE has a fill of its own before it: the last summary counts.
fn parse(text: &str) -> Option<(f64, [f64; 3])> {
    let last = text.rfind("Latency by percentile distribution:")?;
    let text = &text[last..];
    let rate = text.split("throughput summary: ").nth(1)?.split_whitespace().next()?.parse().ok()?;
    let mut latency_ms = [0.0; 3];
    for line in text.lines().take_while(|line| !line.starts_with("Cumulative")) {
        let Some((share, rest)) = line.split_once("% <= ") else { continue };
        let share: f64 = share.parse().ok()?;
        let ms: f64 = rest.split_whitespace().next()?.parse().ok()?;
        for (latency, wanted) in latency_ms.iter_mut().zip([50.0, 99.0, 99.9]) {
            if *latency == 0.0 && share >= wanted {
                *latency = ms;
            }
        }
    }
    Some((rate, latency_ms))
}

/// The medians of several rounds.
pub(crate) fn medians(rounds: &[Round]) -> Round {
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    Round {
        cpu_us: of(&|round| round.cpu_us),
        rate: of(&|round| round.rate),
        latency_ms: [0, 1, 2].map(|nth| of(&|round| round.latency_ms[nth])),
    }
}

/// The median of the ratios of rounds that followed each other: a machine that gets slower for a minute does so to both.
fn ratio(of: &[Round], to: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    median(of.iter().zip(to).map(|(of, to)| figure(of) / figure(to)).collect())
}

/// How many of a thousand evenly spread keys are missing.
fn missing(server: &Server, keys: usize) -> usize {
    let step = (keys / 1000).max(1);
    let commands: Vec<Vec<Vec<u8>>> = (0..keys)
        .step_by(step)
        .map(|number| vec![b"GET".to_vec(), format!("key:{number:012}").into_bytes()])
        .collect();
    server.connect().pipeline(&commands).iter().filter(|reply| reply.is_null()).count()
}

pub(crate) fn run(plan: &Plan) -> Result<Section, String> {
    let keys = plan.choose(1_000_000, 1_000_000, 1_000);
    let servers = both(&[])?;
    for (_, server) in &servers {
        fill_keys(server, keys)?;
        pin_server(server);
    }
    let mut section = Section::new(&[
        "load",
        "server",
        "requests/s",
        "CPU us/request",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "redis CPU / ours",
    ]);
    for workload in WORKLOADS {
        if workload.name.starts_with("get") {
            for (name, server) in &servers {
                let missing = missing(server, keys);
                if missing > 0 {
                    section.wrong.push(format!(
                        "{name} has lost {missing} of 1,000 keys that {} reads",
                        workload.name
                    ));
                }
            }
        }
        let requests = plan.choose(workload.requests, workload.requests / 5, 2_000);
        let shape = Shape { connections: 50, keys, requests, pinned: processors() > 1 };
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..plan.rounds {
            for ((_, server), rounds) in servers.iter().zip(&mut rounds) {
                rounds.push(round(server, workload, shape)?);
            }
        }
        for ((name, _), rounds_of) in servers.iter().zip(&rounds) {
            let median = medians(rounds_of);
            let mut cells = vec![workload.name.to_owned(), (*name).to_owned(), format!("{:.0}", median.rate)];
            cells.push(format!("{:.3}", median.cpu_us));
            cells.extend(median.latency_ms.map(|ms| format!("{ms:.3}")));
            cells.push(format!("{:.2}", ratio(&rounds[0], rounds_of, |round| round.cpu_us)));
            section.row(cells);
        }
        let [redis, ours] = &rounds;
        section.judge(&format!("cost/{}", workload.name), ratio(redis, ours, |round| round.cpu_us));
        section.judge(&format!("rate/{}", workload.name), ratio(ours, redis, |round| round.rate));
        section.judge(&format!("p50/{}", workload.name), ratio(ours, redis, |round| round.latency_ms[0]));
        section.judge(&format!("p99/{}", workload.name), ratio(ours, redis, |round| round.latency_ms[1]));
    }
    Ok(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_summary_of_redis_benchmark_is_read() {
        let one = |p50: f64, rate: f64| {
            format!(
                "Latency by percentile distribution:\n0.000% <= 0.031 milliseconds (cumulative count 44)\n\
                 50.000% <= {p50} milliseconds (cumulative count 12704)\n98.438% <= 1.823 milliseconds\n\
                 99.219% <= 3.319 milliseconds\n99.902% <= 5.423 milliseconds\n100.000% <= 5.455 milliseconds\n\n\
                 Cumulative distribution of latencies:\n99.9% <= 9.103 milliseconds\n\nSummary:\n  \
                 throughput summary: {rate} requests per second\n"
            )
        };
        let text = one(0.5, 10.0) + &one(0.071, 111_731.84);
        assert_eq!(parse(&text), Some((111_731.84, [0.071, 3.319, 5.423])));
        assert_eq!(parse("no server"), None);
    }
}
