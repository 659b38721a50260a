//! What a snapshot in the background costs those who go on working, and how fast its file is loaded again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use testkit::client::encode;
use testkit::pace::{Latencies, Pace, ask};
use testkit::{Options, Program, Rng, Server};

use super::{Plan, Section, both, info, median};
use crate::bars::server;
use crate::load::{fill, fill_keys, stream, words};

const MS: f64 = 1000.0;
const MIB: f64 = 1024.0 * 1024.0;
/// SETs in one turn of a connection: a web application sends what it has to write together.
const BATCH: usize = 8;
const CONNECTIONS: usize = 8;

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * MS
}

/// How fast to send batches of random SETs.
#[derive(Clone, Copy)]
struct Sets {
    keys: usize,
    /// Batches a second; `None` for as fast as possible.
    rate: Option<f64>,
}

/// Sends random SETs in batches until `until` says so, and returns how long each batch took from the moment it was due.
fn sets(server: &Server, load: Sets, mut until: impl FnMut(Duration) -> bool) -> Result<Latencies, String> {
    let broken = |e: std::io::Error| format!("the connection broke: {e}");
    let mut connections: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| TcpStream::connect(server.addr()).and_then(|c| c.set_nodelay(true).map(|()| c)))
        .collect::<Result<_, _>>()
        .map_err(broken)?;
    let (mut rng, value) = (Rng::new(11), [b'w'; 64]);
    let (began, mut all, mut nth) = (Instant::now(), Vec::new(), 0_u32);
    let mut reply = [0; 5 * BATCH];
    while !until(began.elapsed()) {
        let mut batch = Vec::with_capacity(BATCH * 128);
        for _ in 0..BATCH {
            let key = format!("key:{:012}", rng.below(load.keys));
            batch.extend(encode(&[b"SET".as_slice(), key.as_bytes(), &value]));
        }
        let due = load.rate.map_or(began.elapsed(), |rate| Duration::from_secs_f64(f64::from(nth) / rate));
        while began.elapsed() < due {
            let left = due.saturating_sub(began.elapsed());
            if left > Duration::from_micros(150) {
                std::thread::sleep(left - Duration::from_micros(150));
            }
        }
        let connection = &mut connections[nth as usize % CONNECTIONS];
        connection.write_all(&batch).map_err(broken)?;
        connection.read_exact(&mut reply).map_err(broken)?;
        if !reply.starts_with(b"+OK") {
            return Err(String::from_utf8_lossy(&reply).into_owned());
        }
        all.push(began.elapsed().saturating_sub(due));
        nth += 1;
    }
    Ok(Latencies::new(all))
}

fn is_saving(server: &Server) -> bool {
    info(server, "rdb_bgsave_in_progress") == Some(1.0)
}

/// Resident memory of the server, and of its child if it has one, what they share counted once.
fn memory(server: &Server) -> f64 {
    let pss = |pid: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
        line.and_then(|kib| kib.trim().parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
    };
    let pid = server.pid().to_string();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    pss(&pid) + children.split_whitespace().map(pss).sum::<f64>()
}

/// Does something while the memory is watched; what came of it, and the most memory there was.
fn watched<T: Send>(server: &Server, work: impl FnOnce() -> T + Send) -> (T, f64) {
    let (done, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                most.fetch_max(memory(server) as u64, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let result = work();
        done.store(true, Ordering::Release);
        result
    });
    (result, most.load(Ordering::Relaxed) as f64)
}

/// Random SETs from the beginning of a save to its end.
fn sets_during_save(server: &Server, load: Sets) -> Result<(Latencies, Duration), String> {
    let began = Instant::now();
    let reply = server.connect().line("BGSAVE");
    if reply.is_error() {
        return Err(format!("BGSAVE answers {reply:?}"));
    }
    let (mut looked, mut took) = (Duration::ZERO, Duration::ZERO);
    let all = sets(server, load, |now| {
        // A look costs a request, so not at every turn.
        if now > looked + Duration::from_millis(200) {
            looked = now;
            took = began.elapsed();
            return !is_saving(server);
        }
        false
    })?;
    Ok((all, took))
}

pub(super) fn snapshot(plan: &Plan) -> Result<Section, String> {
    let keys = plan.choose(4_000_000, 400_000, 20_000);
    let short = plan.choose(Duration::from_secs(5), Duration::from_secs(2), Duration::from_millis(300));
    let mut section =
        Section::new(&["what", "server", "save s", "p50 ms", "p99 ms", "p99.9 ms", "longest ms", "memory"]);
    for (name, server) in both(&[])? {
        fill_keys(&server, keys)?;
        // In the steady state every key has been overwritten once.
        let flat_out = sets(&server, Sets { keys, rate: None }, |now| now > short)?;
        let rate = flat_out.len() as f64 / short.as_secs_f64() / 2.0;
        let half = Sets { keys, rate: Some(rate) };
        let control = sets(&server, half, |now| now > short * 2)?;
        let before = memory(&server);
        server.connect().line("CONFIG RESETSTAT");
        let (during, most) = watched(&server, || sets_during_save(&server, half));
        let (during, took) = during?;
        let gate = info(&server, "larder_longest_gate_usec");
        let (worst, most_worst) = watched(&server, || sets_during_save(&server, Sets { keys, rate: None }));
        let (worst, took_worst) = worst?;
        let row = |what: String, took: Duration, all: &Latencies, memory: f64| {
            let mut cells = vec![what, name.to_owned(), format!("{:.2}", took.as_secs_f64())];
            cells.extend(
                [500_000, 990_000, 999_000, 1_000_000].map(|share| format!("{:.3}", ms(all.at(share)))),
            );
            cells.push(format!("{:.0} MiB, {:.2} of before", memory / MIB, memory / before));
            cells
        };
        let sets_a_second = rate * BATCH as f64;
        section.row(row(format!("control, {sets_a_second:.0} SET/s"), Duration::ZERO, &control, before));
        section.row(row(format!("snapshot of {keys} keys, {sets_a_second:.0} SET/s"), took, &during, most));
        section.row(row("the same as fast as possible".into(), took_worst, &worst, most_worst));
        match name {
            "Larder" => {
                section.judge("stall/snapshot-gate", gate.unwrap_or(f64::NAN) / MS);
                section.judge("factor/snapshot-memory", most / before);
                section.judge("factor/snapshot-memory-worst", most_worst / before);
                section.judge("factor/snapshot-p999", ms(during.at(999_000)) / ms(control.at(999_000)));
            }
            _ => {
                let fork = info(&server, "latest_fork_usec").unwrap_or(f64::NAN) / MS;
                println!("  {name} was stopped for {fork:.1} ms by its fork");
            }
        }
    }
    Ok(section)
}

pub(super) fn leaderboard(plan: &Plan) -> Result<Section, String> {
    let members = plan.choose(1_000_000, 200_000, 5_000);
    let keys = plan.choose(1_000_000, 200_000, 5_000);
    let time = plan.choose(Duration::from_secs(5), Duration::from_secs(2), Duration::from_millis(300));
    let mut section = Section::new(&["what", "server", "p50 ms", "p99 ms", "p99.9 ms", "longest ms"]);
    for (name, server) in both(&[])? {
        fill_keys(&server, keys)?;
        for shape in ["ZADD board", "HSET hash", "SADD set", "RPUSH list"] {
            let pages = (0..members / 100).map(|page| {
                let mut command = words(shape);
                for n in 0..100 {
                    let number = (page * 7_919 + n * 31) % members;
                    match shape {
                        "ZADD board" => command.extend(words(&format!("{number} member:{page}:{n}"))),
                        "HSET hash" => command.extend(words(&format!("field:{page}:{n} {number}"))),
                        _ => command.push(format!("member:{page}:{n}").into_bytes()),
                    }
                }
                command
            });
            fill(&mut server.connect(), pages)?;
        }
        let mut rng = Rng::new(5);
        let mut next = || {
            let (page, n) = (rng.below(members / 100), rng.below(100));
            let line = match rng.below(4) {
                0 => format!("ZADD board {n} member:{page}:{n}"),
                1 => format!("HSET hash field:{page}:{n} changed"),
                2 => format!("SREM set member:{page}:{n}"),
                _ => format!("LSET list {} changed", page * 100 + n),
            };
            encode(&words(&line))
        };
        let pace = Pace { connections: 4, rate: 2_000, time };
        let control = ask(server.addr(), pace, &mut next)?;
        server.connect().line("CONFIG RESETSTAT");
        server.connect().line("BGSAVE");
        let mut runs = Vec::new();
        while runs.is_empty() || is_saving(&server) {
            runs.push(ask(server.addr(), Pace { time: time / 10, ..pace }, &mut next)?);
        }
        let during = Latencies::joined(runs);
        for (what, all) in [("control", &control), ("during the snapshot", &during)] {
            let cells =
                [500_000, 990_000, 999_000, 1_000_000].map(|share| format!("{:.3}", ms(all.at(share))));
            section.row([what.to_owned(), name.to_owned()].into_iter().chain(cells).collect());
        }
        if name == "Larder" {
            let inside =
                ["larder_longest_gate_usec", "larder_longest_lock_usec"].map(|field| info(&server, field));
            section.judge("stall/collection-inside", inside.into_iter().flatten().fold(0.0, f64::max) / MS);
            section.judge("stall/collection-excess", ms(during.max()) - ms(control.max()));
        }
    }
    Ok(section)
}

pub(super) fn restart(plan: &Plan) -> Result<Section, String> {
    let keys = plan.choose(5_000_000, 500_000, 5_000);
    let mut section = Section::new(&["server", "seconds to load, each start", "median"]);
    let mut redis = Server::try_start(Options::redis())?;
    stream(&redis, keys, |n, out| {
        out.extend(encode(&[b"SET".as_slice(), format!("key:{n:012}").as_bytes(), &[b'v'; 64]]));
    })?;
    let mut client = redis.connect();
    client.set_timeout(Duration::from_secs(120));
    client.line("SAVE");
    let mut ours = Server::try_start(Options { program: Program::Path(server()), ..Options::larder() })?;
    ours.kill9();
    std::fs::copy(redis.dir().join("dump.rdb"), ours.dir().join("dump.rdb")).map_err(|e| e.to_string())?;
    let mut medians = Vec::new();
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..plan.rounds.min(3) {
        for (index, server) in [&mut redis, &mut ours].into_iter().enumerate() {
            if server.is_running() {
                server.kill9();
            }
            let began = server.log().len();
            server.restart();
            let log = server.log();
            let line = log[began..].lines().find_map(|line| line.split("DB loaded from disk: ").nth(1));
            let took = line.and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
            seconds[index].push(took.ok_or("the log does not say how long it took to load")?);
            if server.connect().line("DBSIZE").as_integer() != i64::try_from(keys).ok() {
                section.wrong.push("not all keys came back".to_owned());
            }
            server.kill9();
        }
    }
    for (name, seconds) in ["redis-server", "Larder"].into_iter().zip(seconds) {
        let each: Vec<String> = seconds.iter().map(|s| format!("{s:.2}")).collect();
        let middle = median(seconds);
        section.row(vec![name.to_owned(), each.join(", "), format!("{middle:.2}")]);
        medians.push(middle);
    }
    section.judge("faster/restart", medians[0] / medians[1]);
    Ok(section)
}
