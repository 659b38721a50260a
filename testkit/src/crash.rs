//! Killing a server in the middle of its work, and seeing what is there afterwards.
//!
//! Several connections run transactions as fast as they can, each on keys of its own, and each transaction also moves one
//! counter that all share. Another connection reads. At a random moment the server is killed; then it is started again,
//! and what it has loaded is compared with what it had told:
//!
//! - each connection's keys agree with each other, so no transaction is there in part;
//! - the shared counter is the sum of all transactions that are there, so what is there is the beginning of all of them;
//! - what was acknowledged, and what was read, is there: all of it with `always`; with `everysec` all but the last
//!   seconds.

use crate::client::Client;
use crate::rng::Rng;
use crate::server::Server;
use larder_resp::Frame;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Connections that write.
const WRITERS: usize = 3;
/// How old something may be that `everysec` loses.
const EVERYSEC_LOSES: Duration = Duration::from_secs(2);

/// What some crashes have shown.
#[derive(Debug, Default, Clone)]
pub struct Crashes {
    /// How often the server was killed.
    pub crashes: u64,
    /// Transactions that were acknowledged.
    pub acknowledged: u64,
    /// Acknowledged ones that were lost; none may be with `always`.
    pub lost: u64,
    /// The age of the oldest of them when the server was killed.
    pub oldest_lost: Duration,
    /// What was wrong.
    pub wrong: Vec<String>,
}

/// What one connection that writes knows.
#[derive(Default)]
struct Writer {
    /// The last number it has tried, and the last one that was acknowledged.
    tried: u64,
    /// Acknowledged numbers, and when.
    acknowledged: Vec<(u64, Instant)>,
}

/// Kills `server` so many times under load. It must have an append-only file; `loses_nothing` says whether its policy
/// is `always`.
///
/// # Panics
/// When the server does not start again.
pub fn kill_under_load(server: &mut Server, loses_nothing: bool, crashes: u64, seed: u64) -> Crashes {
    let mut rng = Rng::new(seed);
    let mut found = Crashes::default();
    let mut start = [0; WRITERS];
    for _ in 0..crashes {
        let load = run_until_killed(server, start, &mut rng);
        server.restart();
        start = judge(server, &load, loses_nothing, &mut found);
        found.crashes += 1;
    }
    found
}

struct Load {
    writers: Vec<Writer>,
    /// The highest number that the reader has seen of each writer.
    seen: Vec<u64>,
    killed: Instant,
}

fn run_until_killed(server: &mut Server, start: [u64; WRITERS], rng: &mut Rng) -> Load {
    let is_over = AtomicBool::new(false);
    let seen: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let addr = server.addr();
    let pause = Duration::from_millis(10 + rng.below(150) as u64);
    let rewrites = rng.percent(33);
    let seeds: Vec<u64> = (0..WRITERS).map(|_| rng.bits()).collect();
    let (writers, killed) = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|nth| {
                let (is_over, seed) = (&is_over, seeds[nth]);
                scope.spawn(move || write(addr, nth, start[nth], seed, is_over))
            })
            .collect();
        let reader = scope.spawn(|| read(addr, &seen, &is_over));
        thread::sleep(pause / 2);
        // In a third of the cases the crash meets a rewrite, or what one has left.
        if rewrites && let Ok(mut client) = Client::try_connect(addr) {
            let _under_way_already = client.try_cmd(&["BGREWRITEAOF"]);
        }
        thread::sleep(pause / 2);
        let killed = Instant::now();
        server.kill9();
        is_over.store(true, Ordering::Relaxed);
        reader.join().expect("the reader does not panic");
        (writers.into_iter().map(|writer| writer.join().expect("no writer panics")).collect(), killed)
    });
    Load { writers, seen: seen.into_iter().map(AtomicU64::into_inner).collect(), killed }
}

/// Runs transactions until the connection breaks.
fn write(addr: std::net::SocketAddr, nth: usize, start: u64, seed: u64, is_over: &AtomicBool) -> Writer {
    let mut writer = Writer { tried: start, ..Writer::default() };
    let mut rng = Rng::new(seed);
    let Ok(mut client) = Client::try_connect(addr) else { return writer };
    let key = |name: &str| format!("{name}:{nth}");
    while !is_over.load(Ordering::Relaxed) {
        let number = (writer.tried + 1).to_string();
        writer.tried += 1;
        let mut lines: Vec<Vec<String>> = vec![
            vec!["MULTI".into()],
            vec!["SET".into(), key("a"), number.clone()],
            vec!["INCR".into(), "all".into()],
            vec!["INCRBYFLOAT".into(), key("b"), "1".into()],
            vec!["RPUSH".into(), key("list"), number.clone()],
            vec!["EXEC".into()],
        ];
        if rng.percent(30) {
            lines.insert(2, vec!["SET".into(), key("short"), number, "PX".into(), "3".into()]);
            lines.insert(2, vec!["SADD".into(), key("set"), "x".into(), "y".into()]);
            lines.insert(4, vec!["SPOP".into(), key("set")]);
        }
        let bytes: Vec<u8> = lines.iter().flat_map(|line| crate::client::encode(line)).collect();
        if client.try_send_raw(&bytes).is_err() {
            break;
        }
        let mut last = None;
        for _ in &lines {
            last = client.try_read().ok();
            if last.is_none() {
                break;
            }
        }
        match last {
            Some(Frame::Array(_)) => writer.acknowledged.push((writer.tried, Instant::now())),
            _ => break,
        }
    }
    writer
}

/// Reads what the others write until the connection breaks.
fn read(addr: std::net::SocketAddr, seen: &[AtomicU64], is_over: &AtomicBool) {
    let Ok(mut client) = Client::try_connect(addr) else { return };
    while !is_over.load(Ordering::Relaxed) {
        for (nth, seen) in seen.iter().enumerate() {
            match client.try_cmd(&["GET", &format!("a:{nth}")]) {
                Ok(Frame::Bulk(digits)) => {
                    let number = String::from_utf8_lossy(&digits).parse().unwrap_or(0);
                    seen.fetch_max(number, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

fn number(client: &mut Client, key: &str) -> u64 {
    match client.cmd(&["GET", key]) {
        Frame::Bulk(digits) => String::from_utf8_lossy(&digits).parse().unwrap_or(u64::MAX),
        _ => 0,
    }
}

/// Compares what is there with what is known. Returns the number that each writer has got to.
fn judge(server: &Server, load: &Load, loses_nothing: bool, found: &mut Crashes) -> [u64; WRITERS] {
    let mut client = server.connect();
    let mut there = [0; WRITERS];
    for (nth, writer) in load.writers.iter().enumerate() {
        let (a, b) = (number(&mut client, &format!("a:{nth}")), number(&mut client, &format!("b:{nth}")));
        let list = client.cmd(&["LRANGE", &format!("list:{nth}"), "-1", "-1"]).into_elements();
        let last = list.and_then(|list| list.first()?.as_str()?.parse().ok()).unwrap_or(0);
        let Frame::Integer(len) = client.cmd(&["LLEN", &format!("list:{nth}")]) else { continue };
        if (b, last, len.unsigned_abs()) != (a, a, a) {
            found.wrong.push(format!("half a transaction of writer {nth}: {a}, {b}, {last}, {len}"));
        }
        if a > writer.tried {
            found.wrong.push(format!("writer {nth} has tried {}, {a} is there", writer.tried));
        }
        found.acknowledged += writer.acknowledged.len() as u64;
        for (_, when) in writer.acknowledged.iter().filter(|(number, _)| *number > a) {
            found.lost += 1;
            found.oldest_lost = found.oldest_lost.max(load.killed.saturating_duration_since(*when));
        }
        if loses_nothing && load.seen[nth] > a {
            found.wrong.push(format!("{} of writer {nth} was read, {a} is there", load.seen[nth]));
        }
        there[nth] = a;
    }
    let all = number(&mut client, "all");
    if all != there.iter().sum::<u64>() {
        found.wrong.push(format!("{there:?} are there, and together {all}: not the beginning of all"));
    }
    if loses_nothing && found.lost > 0 {
        found.wrong.push(format!("{} acknowledged transactions are lost", found.lost));
    }
    if found.oldest_lost > EVERYSEC_LOSES {
        found.wrong.push(format!("what is lost is up to {:?} old", found.oldest_lost));
    }
    there
}
