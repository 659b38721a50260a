//! The bars of issue 8: `larder-cli` beside redis-cli and redis-benchmark.
//!
//! What is measured is the release build, and for size and start the one that is distributed (profile `dist`: the same
//! without symbols).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use testkit::terminal::{Kind, compare};
use testkit::{Options, Server, shell};

use super::{Bar, Measured, Scale, server};
use crate::bench::median;
use crate::load::pin;
use crate::{run, stages};

pub(super) const BARS: &[Bar] = &[
    Bar {
        name: "pipe",
        required: "in a pipe, output and exit codes are redis-cli's, byte for byte, for at least 250 commands in all \
                   formats, against redis-server and larder-server",
        in_slice: true,
        measure: pipe,
    },
    Bar {
        name: "prompt",
        required: "a session in a terminal: prompt, hints, completion, reverse search, no secrets in the history, peek, \
                   MONITOR, transactions, reconnecting",
        in_slice: false,
        measure: |_| Ok(tests("terminal")),
    },
    Bar {
        name: "shell",
        required: "30 shell scripts, one with 1,000,000 commands through --pipe, print and leave the same with both clients",
        in_slice: true,
        measure: scripts,
    },
    Bar {
        name: "bench",
        required: "where the server is the bottleneck, larder-cli bench finds redis-benchmark's rate within 5 %; it takes \
                   no more CPU, there and elsewhere",
        in_slice: true,
        measure: bench,
    },
    Bar {
        name: "start",
        required: "from the start to the first reply less than 10 ms more than redis-cli; the program below 8 MB",
        in_slice: true,
        measure: start,
    },
    Bar {
        name: "hostile",
        required: "servers that cut, lie, nest, flood or hang: a clear error in every mode, no panic, no hang, bounded memory",
        in_slice: false,
        measure: |_| Ok(tests("hostile")),
    },
];

/// A file of larder-cli's tests, whole.
fn tests(file: &str) -> Measured {
    let mut tests = run::cargo(&["test", "--package", "larder-cli", "--test", file]);
    tests.env("CI", "1").env("LARDER_SERVER", server());
    let outcome = run::logged(&format!("terminal-{file}"), vec![tests]);
    let (passed, failed) = stages::count_rust(&outcome);
    Measured::right(outcome.success && passed > 0, vec![format!("{passed} tests passed, {failed} failed")])
}

/// The client, built with this profile; in a slice the one that the tests use, which is there already.
fn client(scale: Scale, profile: &str) -> Result<PathBuf, String> {
    let (profile, folder) = scale.choose((profile, profile), ("test", "debug"));
    let build = run::cargo(&["build", "--profile", profile, "--package", "larder-cli"]);
    let outcome = run::logged("build-larder-cli", vec![build]);
    if !outcome.success {
        outcome.show_tail();
        return Err("larder-cli does not build".to_owned());
    }
    let target = stages::server().parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
    Ok(target.join(folder).join("larder-cli"))
}

fn pipe(scale: Scale) -> Result<Measured, String> {
    let client = client(scale, "release")?;
    let mut figures = Vec::new();
    for (kind, name) in [(Kind::Redis, "redis-server"), (Kind::Larder, "larder-server")] {
        let count = compare(&client, kind, scale.choose(usize::MAX, 1))?;
        figures.push(format!("{name}: {count} runs, the same bytes"));
    }
    Ok(Measured::right(true, figures))
}

fn scripts(scale: Scale) -> Result<Measured, String> {
    let count = scale.choose(1_000_000, 5_000);
    let compared = shell::compare(&client(scale, "release")?, count)?;
    let [theirs, ours] = compared.times.map(|time| time.as_secs_f64());
    let figures = vec![format!(
        "{} scripts, {count} commands piped: the same; {theirs:.1} s with redis-cli, {ours:.1} s with larder-cli",
        compared.scripts
    )];
    Ok(Measured::right(compared.scripts >= 30, figures))
}

/// A load for both generators.
struct Load {
    name: &'static str,
    args: &'static [&'static str],
    requests: u64,
}

const LOADS: &[Load] = &[
    Load { name: "BITCOUNT of 256 KiB", args: &["BITCOUNT", "big"], requests: 20_000 },
    Load {
        name: "BITCOUNT of 256 KiB, pipeline 16",
        args: &["-P", "16", "BITCOUNT", "big"],
        requests: 20_000,
    },
    Load {
        name: "SET, pipeline 100",
        args: &["-r", "100000", "-P", "100", "-t", "set"],
        requests: 1_500_000,
    },
    Load { name: "SET, pipeline 16", args: &["-r", "100000", "-P", "16", "-t", "set"], requests: 600_000 },
    Load { name: "MSET", args: &["-r", "100000", "-t", "mset"], requests: 80_000 },
    Load { name: "GET", args: &["-r", "100000", "-t", "get"], requests: 60_000 },
];

/// The server is the bottleneck where redis-benchmark keeps its processor busy for at most this part of the time. Beyond
/// that both generators have a part in the rate, and each finds its own.
const BUSY: f64 = 0.5;

/// Rounds of a full run, alternating; the middle of them counts.
const ROUNDS: usize = 5;

/// Rates may differ by this part.
const AGREEMENT: f64 = 0.05;

fn bench(scale: Scale) -> Result<Measured, String> {
    let client = client(scale, "release")?;
    let client = client.to_str().ok_or("the target directory's name is not UTF-8")?;
    let server = Server::try_start(Options::redis())?;
    pin(server.pid(), 0);
    let big = "x".repeat(256 * 1024);
    server.connect().line(&format!("SET big {big}"));
    let (mut reached, mut bound, mut figures) = (true, 0, Vec::new());
    for load in LOADS {
        let requests = scale.choose(load.requests, load.requests / 50);
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..scale.choose(ROUNDS, 1) {
            theirs.push(generate(&["redis-benchmark"], &server, load, requests)?);
            ours.push(generate(&[client, "bench"], &server, load, requests)?);
        }
        let middle =
            |all: &[(f64, f64)], which: fn(&(f64, f64)) -> f64| median(all.iter().map(which).collect());
        let rates = [&theirs, &ours].map(|all| middle(all, |round| round.0));
        let costs = [&theirs, &ours].map(|all| middle(all, |round| round.1));
        let ratio = rates[1] / rates[0];
        let busy = costs[0] * rates[0] / 1e6;
        let is_bound = busy <= BUSY;
        bound += usize::from(is_bound);
        reached &= costs[1] <= costs[0] && (!is_bound || (ratio - 1.0).abs() <= AGREEMENT);
        figures.push(format!(
            "{}: {:.0} requests per second, redis-benchmark {:.0} ({:+.1} %{}); CPU of the generator {:.2} us a request, \
             redis-benchmark {:.2}",
            load.name,
            rates[1],
            rates[0],
            (ratio - 1.0) * 100.0,
            if is_bound { String::new() } else { format!(", not judged: it is busy for {:.0} %", busy * 100.0) },
            costs[1],
            costs[0],
        ));
    }
    Ok(Measured::reached(reached && bound > 0, figures))
}

/// Runs a generator on the second processor; its rate, and microseconds of CPU time for each request.
fn generate(program: &[&str], server: &Server, load: &Load, requests: u64) -> Result<(f64, f64), String> {
    let (port, count) = (server.port().to_string(), requests.to_string());
    // A shell tells what its children have spent.
    let mut command = Command::new("sh");
    command.args(["-c", "taskset -c 1 \"$@\" && times", "sh"]);
    command.args(program).args(["-p", &port, "-n", &count, "--csv"]).args(load.args);
    let output = command.stderr(Stdio::null()).output().map_err(|e| format!("cannot start a shell: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines().rev();
    // The last line is the children's time, the one before the shell's own, and the one before that the result.
    let spent: Option<f64> = lines.next().and_then(|line| line.split_whitespace().map(seconds).sum());
    let rate = lines.nth(1).and_then(|line| line.split("\",\"").nth(1)?.parse::<f64>().ok());
    match (rate, spent) {
        (Some(rate), Some(spent)) => Ok((rate, spent * 1e6 / requests as f64)),
        _ => Err(format!("{program:?} said {text:?}")),
    }
}

/// `0m1.25s`.
fn seconds(text: &str) -> Option<f64> {
    let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
    Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
}

/// Most that our client may take longer, in milliseconds, and the size that its file must stay below.
const START_MS: f64 = 10.0;
const SIZE: u64 = 8_000_000;

fn start(scale: Scale) -> Result<Measured, String> {
    let client = client(scale, "dist")?;
    let size = std::fs::metadata(&client).map_err(|e| format!("{}: {e}", client.display()))?.len();
    let server = Server::try_start(Options::redis())?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..scale.choose(200, 5) {
        theirs.push(first_reply(Path::new("redis-cli"), &server)?);
        ours.push(first_reply(&client, &server)?);
    }
    let (theirs, ours) = (median(theirs), median(ours));
    let mut figures = vec![format!("start to the end of PING: {ours:.2} ms, redis-cli {theirs:.2} ms")];
    if scale == Scale::Full {
        figures.push(format!("{:.1} MB", size as f64 / 1e6));
    }
    Ok(Measured::reached(ours - theirs < START_MS && size < SIZE, figures))
}

fn first_reply(client: &Path, server: &Server) -> Result<f64, String> {
    let start = Instant::now();
    let output = Command::new(client)
        .args(["-p", &server.port().to_string(), "ping"])
        .output()
        .map_err(|e| format!("cannot start {}: {e}", client.display()))?;
    let time = start.elapsed().as_secs_f64() * 1000.0;
    if output.stdout == b"PONG\n" { Ok(time) } else { Err(format!("{}: {output:?}", client.display())) }
}
