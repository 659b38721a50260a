//! How the bars about the append-only file are measured.

use std::time::Duration;

use testkit::crash::kill_under_load;
use testkit::durable::{Amount, Files, hand_over};
use testkit::{Options, Program, Server};

use super::{Measured, Scale, server};
use crate::bench::cost::{Round, Shape, medians, pin_server, round, workload};
use crate::load::fill_keys;
use crate::run::{cargo, fuzz_command, logged};
use crate::strace::count_fsyncs;

fn ours(args: &[&str]) -> Options {
    Options { program: Program::Path(server()), ..Options::larder() }.args(args.iter().copied())
}

fn redis(args: &[&str]) -> Options {
    Options::redis().args(args.iter().copied())
}

/// Both servers fill files of a kind, and the other one loads them.
pub(super) fn both_ways(scale: Scale, kinds: &[(&str, Files)]) -> Measured {
    let amount = scale.choose(
        Amount { string: 100 * 1024 * 1024, elements: 1_000_000 },
        Amount { string: 100_000, elements: 2000 },
    );
    let Amount { string, elements } = amount;
    let mut figures = vec![format!(
        "a string of {string} bytes, a hash, a set, a sorted set and a list of {elements} elements"
    )];
    let mut is_right = true;
    for (kind, files) in kinds {
        for (way, from, to) in
            [("ours to redis-server", ours(&[]), redis(&[])), ("redis-server to ours", redis(&[]), ours(&[]))]
        {
            let different = hand_over(from, to, amount, *files);
            is_right &= different.is_empty();
            let found = if different.is_empty() { "equal".to_owned() } else { different.join("; ") };
            figures.push(format!("{kind}, {way}: {found}"));
        }
    }
    Measured::right(is_right, figures)
}

/// kill -9 at random moments.
pub(super) fn kills(scale: Scale) -> Result<Measured, String> {
    let mut figures = Vec::new();
    let mut is_right = true;
    for fsync in ["always", "everysec"] {
        let args = ["--appendonly", "yes", "--appendfsync", fsync, "--auto-aof-rewrite-min-size", "100kb"];
        let mut server = Server::try_start(ours(&args).args(["--io-threads", "2"]))?;
        let found = kill_under_load(&mut server, fsync == "always", scale.choose(300, 3), 1);
        is_right &= found.wrong.is_empty();
        figures.push(format!(
            "{fsync}: {} kills, {} transactions acknowledged, {} of them lost, the oldest {:?} old",
            found.crashes, found.acknowledged, found.lost, found.oldest_lost
        ));
        figures.extend(found.wrong.into_iter().take(5));
    }
    Ok(Measured::right(is_right, figures))
}

/// The test with the simulated disk, with more runs.
pub(super) fn power_cuts(scale: Scale) -> Result<Measured, String> {
    let runs = scale.choose("20000", "300");
    let test = "persist::aof::tests::after_a_crash_what_was_told_is_there_and_nothing_is_there_in_part";
    let mut command = cargo(&["test", "--package", "larder", "--lib", "--", "--exact", test]);
    command.env("LARDER_RUNS", runs);
    let outcome = logged("bars-power", vec![command]);
    if !outcome.success {
        outcome.show_tail();
    }
    Ok(Measured::right(outcome.success, vec![format!("{runs} power cuts")]))
}

/// Mutated append-only files: loaded by an engine, and read.
pub(super) fn corrupt(scale: Scale) -> Result<Measured, String> {
    let (files, readers) = scale.choose((100_000, 1_000_000), (1000, 10_000));
    Ok(mutated("bars-aof-corrupt", &[("aof-load", files, 100), ("aof", readers, 10)]))
}

/// Mutated snapshots: loaded by an engine, and read.
pub(super) fn corrupt_snapshots(scale: Scale) -> Result<Measured, String> {
    let (files, readers) = scale.choose((1_000_000, 1_000_000), (1000, 10_000));
    Ok(mutated("bars-rdb-corrupt", &[("snapshot-load", files, 100), ("snapshot", readers, 10)]))
}

/// Targets of the fuzzer, for each how many inputs and what one costs: it divides the runs by that.
fn mutated(name: &str, targets: &[(&str, u64, u64)]) -> Measured {
    let command = |(target, inputs, cost): &(&str, u64, u64)| {
        let runs = (inputs * cost).to_string();
        fuzz_command(&[(*target).to_owned(), "--runs".into(), runs, "--seed".into(), "4".into()])
    };
    let outcome = logged(name, targets.iter().map(command).collect());
    if !outcome.success {
        outcome.show_tail();
    }
    let figure = |(target, inputs, _): &(&str, u64, u64)| format!("{target}: {inputs} inputs");
    Measured::right(outcome.success, targets.iter().map(figure).collect())
}

/// What appending costs.
pub(super) fn cost(scale: Scale) -> Result<Measured, String> {
    let mut figures = Vec::new();
    let mut is_reached = true;
    let everysec = ["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"];
    let one = ["--io-threads", "1"];
    let servers = [
        Server::try_start(redis(&[]))?,
        Server::try_start(redis(&everysec))?,
        Server::try_start(ours(&one))?,
        Server::try_start(ours(&everysec).args(one))?,
    ];
    let keys = scale.choose(1_000_000, 1000);
    for server in &servers {
        fill_keys(server, keys)?;
    }
    for (name, requests) in
        [("set-p1", scale.choose(200_000, 2000)), ("set-p16", scale.choose(2_000_000, 8000))]
    {
        let [redis, redis_log, ours, ours_log] = measure(&servers, name, requests, keys, scale)?;
        figures.push(format!(
            "{name}, CPU us per request: redis-server {:.3}, with everysec {:.3}; ours {:.3}, with everysec {:.3}",
            redis.cpu_us, redis_log.cpu_us, ours.cpu_us, ours_log.cpu_us
        ));
        is_reached &= match name {
            "set-p1" => ours_log.cpu_us <= 1.15 * ours.cpu_us,
            _ => ours_log.cpu_us - ours.cpu_us <= 0.5 * (redis_log.cpu_us - redis.cpu_us),
        };
    }
    drop(servers);
    let always = [&everysec[..], &["--appendfsync", "always"]].concat();
    let servers =
        [Server::try_start(redis(&always))?, Server::try_start(ours(&always).args(["--io-threads", "1"]))?];
    // Long enough for a percentile of what waits for a disk: some seconds each.
    let requests = scale.choose(200_000, 1000);
    let [redis, ours] = measure(&servers, "set-p1", requests, keys, scale)?;
    for (name, figure) in [("redis-server", redis), ("ours", ours)] {
        let [p50, p99, _] = figure.latency_ms;
        figures.push(format!(
            "always, {name}: {:.0}/s, {:.2} us CPU per request, p50 {p50:.3} ms, p99 {p99:.3} ms",
            figure.rate, figure.cpu_us
        ));
    }
    match syncs(&servers, requests / 20, keys) {
        Ok([redis, ours]) => {
            figures.push(format!("always, fsyncs per request: redis-server {redis:.4}, ours {ours:.4}"));
            is_reached &= ours <= redis;
        }
        Err(why) => {
            figures.push(format!("always, fsyncs are not counted: {why}"));
            is_reached = false;
        }
    }
    is_reached &=
        ours.rate >= redis.rate && ours.cpu_us <= redis.cpu_us && ours.latency_ms[1] <= redis.latency_ms[1];
    Ok(Measured::reached(is_reached, figures))
}

fn rounds(scale: Scale) -> u64 {
    scale.choose(5, 1)
}

/// The medians of several rounds, servers in turns.
fn measure<const N: usize>(
    servers: &[Server; N],
    name: &str,
    requests: u64,
    keys: usize,
    scale: Scale,
) -> Result<[Round; N], String> {
    let mut all = [const { Vec::new() }; N];
    for _ in 0..rounds(scale) {
        for (server, rounds) in servers.iter().zip(&mut all) {
            let pinned = pin_server(server);
            let shape = Shape { connections: 50, keys, requests, pinned };
            rounds.push(round(server, workload(name), shape)?);
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(all.map(|rounds| medians(&rounds)))
}

/// Syncs for each request of 50 clients. Counting makes each a little slower.
fn syncs(servers: &[Server; 2], requests: u64, keys: usize) -> Result<[f64; 2], String> {
    let count = |server: &Server| {
        let shape = Shape { connections: 50, keys, requests, pinned: pin_server(server) };
        let syncs = count_fsyncs(server, || round(server, workload("set-p1"), shape))?;
        Ok::<f64, String>(syncs as f64 / requests as f64)
    };
    Ok([count(&servers[0])?, count(&servers[1])?])
}
