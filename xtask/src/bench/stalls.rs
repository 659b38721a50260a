//! How long anything stands still, from outside and from inside.
//!
//! From outside: requests at a fixed rate ([`testkit::pace`]), as the excess over a control run of the same length
//! without the event, since the machine itself stands still at times. From inside: the longest time the server says
//! that it has held a gate or the lock of a shard.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use testkit::client::encode;
use testkit::pace::{Latencies, Pace, ask};
use testkit::{Options, Server};

use super::cost::pin_server;
use super::embedded::output;
use super::{Plan, Section, Size, both, built, info, larder, median, processors};
use crate::load::{beside_unions, fill_big, pin, stream, unpin};

const MS: f64 = 1000.0;

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * MS
}

/// GETs of a key that nothing happens to.
fn probe(server: &Server, connections: usize, rate: u64, time: Duration) -> Result<Latencies, String> {
    let request = encode(&["GET", "other"]);
    ask(server.addr(), Pace { connections, rate, time }, || request.clone())
}

/// The same until `work`, which runs beside it, is done.
fn probe_during(
    server: &Server,
    rate: u64,
    work: impl FnOnce() -> Result<(), String> + Send,
) -> Result<Latencies, String> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = work();
            done.store(true, Ordering::Release);
            result
        });
        let mut all = Vec::new();
        while !done.load(Ordering::Acquire) {
            all.push(probe(server, 1, rate, Duration::from_millis(250))?);
        }
        worker.join().map_err(|_| "the load panicked".to_owned())??;
        Ok(Latencies::joined(all))
    })
}

/// The longest time a lock of a shard or the gate was held since the last CONFIG RESETSTAT, in milliseconds.
fn longest_hold_ms(server: &Server) -> Option<f64> {
    let [gate, lock] =
        ["larder_longest_gate_usec", "larder_longest_lock_usec"].map(|field| info(server, field));
    Some(gate?.max(lock?) / MS)
}

fn note(section: &mut Section, what: &str, name: &str, all: &Latencies) {
    let cells = [500_000, 990_000, 999_000, 1_000_000].map(|share| format!("{:.3}", ms(all.at(share))));
    section.row([what.to_owned(), name.to_owned()].into_iter().chain(cells).collect());
}

const HEADER: &[&str] = &["what", "server", "p50 ms", "p99 ms", "p99.9 ms", "longest ms"];

/// The longest time that a loop stood still which did nothing but read the clock and write to memory it had not touched
/// before, `bytes` of it evenly over `time`, where the server has run, and with the other processor as busy as it was: what
/// the machine itself takes of such a program.
fn longest_stop_of_a_bare_loop(bytes: usize, time: Duration) -> Duration {
    const PAGE: usize = 4096;
    pin(std::process::id(), 0);
    let neighbour = Command::new("taskset").args(["-c", "1", "sh", "-c", "while :; do :; done"]).spawn();
    // Zeroed memory comes from the system untouched.
    let mut memory = vec![0_u8; bytes];
    let (began, mut last, mut longest, mut touched) = (Instant::now(), Duration::ZERO, Duration::ZERO, 0);
    while last < time {
        let due = (bytes as f64 * last.as_secs_f64() / time.as_secs_f64()) as usize;
        while touched < due.min(bytes) {
            memory[touched] = 1;
            touched += PAGE;
        }
        let now = began.elapsed();
        longest = longest.max(now - last);
        last = now;
    }
    std::hint::black_box(&memory);
    if let Ok(mut neighbour) = neighbour {
        let _ended = neighbour.kill().and_then(|()| neighbour.wait());
    }
    longest
}

/// The server has the first processor for itself: otherwise what it is measured to hold would be what others take of it.
pub(super) fn growth(plan: &Plan) -> Result<Section, String> {
    if processors() > 1 {
        pin(std::process::id(), 1);
    }
    let section = growth_apart(plan);
    unpin(std::process::id());
    section
}

fn growth_apart(plan: &Plan) -> Result<Section, String> {
    let keys = plan.choose(20_000_000, 2_000_000, 5_000);
    let mut section = Section::new(HEADER);
    let redis = Server::try_start(Options::redis())?;
    grow(&redis, "redis-server", keys, &mut section)?;
    drop(redis);
    let mut growths = Vec::new();
    // What they say is only told, and a round takes a minute.
    for _ in 0..plan.rounds.min(3) {
        let server = larder(&["--io-threads", "1"])?;
        growths.push(grow(&server, "Larder", keys, &mut section)?);
    }
    let middle = |of: &dyn Fn(&Growth) -> f64| median(growths.iter().map(of).collect());
    section.judge("stall/growth-inside", middle(&|growth| growth.inside));
    section
        .judge("stall/growth-inside-worst", growths.iter().map(|growth| growth.inside).fold(0.0, f64::max));
    section.judge("stall/growth-inside-control", middle(&|growth| growth.inside_control));
    section.judge("stall/growth-excess", middle(&|growth| growth.excess));
    section.judge("stall/growth-fresh-inside", middle(&|growth| growth.inside_fresh));
    if let Some(last) = growths.last() {
        section.judge("stall/growth-machine", ms(longest_stop_of_a_bare_loop(last.bytes, last.took)));
    }
    if plan.size != Size::Slice {
        steps(plan, keys, &mut section)?;
    }
    Ok(section)
}

/// The longest call of the engine while its table grows, in the processor time of the thread that makes it.
fn steps(plan: &Plan, keys: usize, section: &mut Section) -> Result<(), String> {
    let program = built("larder", "growth")?;
    let mut longest: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in output(&program, &[&keys.to_string(), &plan.rounds.to_string()])?.lines() {
        if let [run, own_us, ..] = line.split(' ').collect::<Vec<_>>()[..]
            && let Ok(own_us) = own_us.parse::<f64>()
        {
            longest.entry(run.to_owned()).or_default().push(own_us / MS);
        }
    }
    for (run, name) in [("again", "step"), ("fresh", "step-fresh"), ("control", "step-control")] {
        let all = longest.remove(run).unwrap_or_default();
        // What the engine does is in every round; what the machine takes of it is not.
        section.judge(&format!("stall/growth-{name}-least"), all.iter().copied().fold(f64::NAN, f64::min));
        section.judge(&format!("stall/growth-{name}-worst"), all.iter().copied().fold(f64::NAN, f64::max));
        section.judge(&format!("stall/growth-{name}"), median(all));
    }
    Ok(())
}

/// How a server stood still while its table grew. Times are in milliseconds.
struct Growth {
    /// The longest hold of a lock while it grew in memory that the machine had given to this process before, that of a
    /// control run, and that of the first growth, in memory that the machine still had to give.
    inside: f64,
    inside_control: f64,
    inside_fresh: f64,
    /// By how much the longest latency was above that of the control run.
    excess: f64,
    /// What it grew by at first, and how long that took.
    bytes: usize,
    took: Duration,
}

fn grow(server: &Server, name: &str, keys: usize, section: &mut Section) -> Result<Growth, String> {
    pin_server(server);
    let sets = || {
        let value = [b'v'; 16];
        stream(server, keys, |n, out| {
            out.extend(encode(&[b"SET".as_slice(), format!("key:{n:012}").as_bytes(), &value]));
        })
    };
    let mut run = |what: &str| -> Result<(f64, Latencies), String> {
        server.connect().line("SET other value");
        server.connect().line("CONFIG RESETSTAT");
        let seen = probe_during(server, 1_000, sets)?;
        note(section, what, name, &seen);
        Ok((longest_hold_ms(server).unwrap_or(f64::NAN), seen))
    };
    let (before, began) = (info(server, "used_memory").unwrap_or(0.0), Instant::now());
    let (inside_fresh, _) = run(&format!("growing to {keys} keys in fresh memory"))?;
    let took = began.elapsed();
    let bytes = (info(server, "used_memory").unwrap_or(before) - before) as usize;
    let mut client = server.connect();
    client.set_timeout(Duration::from_secs(120));
    client.line("FLUSHALL SYNC");
    let (inside, growing) = run(&format!("growing to {keys} keys"))?;
    let (inside_control, control) = run("control")?;
    let excess = ms(growing.max()) - ms(control.max());
    Ok(Growth { inside, inside_control, inside_fresh, excess, bytes, took })
}

pub(super) fn storm(plan: &Plan) -> Result<Section, String> {
    let keys = plan.choose(5_000_000, 500_000, 2_000);
    let minute = plan.choose(Duration::from_secs(60), Duration::from_secs(6), Duration::from_millis(500));
    let mut section = Section::new(HEADER);
    for (name, server) in both(&[])? {
        server.connect().line("SET other value");
        // Loading takes its time; only then does the minute begin. Keys that are loaded faster wait for it.
        let load_time =
            Duration::from_secs_f64(keys as f64 / 150_000.0) + minute / 2 + Duration::from_millis(500);
        let begins = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())? + load_time;
        let (loaded, value) = (Instant::now(), [b'v'; 64]);
        stream(&server, keys, |n, out| {
            // A multiplier that is coprime to the number of keys mixes the order.
            let at = begins + minute.mul_f64((n * 7_919 % keys) as f64 / keys as f64);
            let at_ms = at.as_millis().to_string();
            let key = format!("key:{n:012}");
            out.extend(encode(&[b"SET".as_slice(), key.as_bytes(), &value, b"PXAT", at_ms.as_bytes()]));
        })?;
        let quiet = load_time.saturating_sub(loaded.elapsed());
        if quiet.is_zero() {
            return Err(format!("{name} is too slow to be loaded before the minute begins"));
        }
        let control = probe(&server, 8, 1_000, quiet.min(minute))?;
        std::thread::sleep(load_time.saturating_sub(loaded.elapsed()));
        let during = probe(&server, 8, 1_000, minute)?;
        let (ended, mut client) = (Instant::now(), server.connect());
        let patience = Duration::from_secs(120);
        while client.line("DBSIZE").as_integer() != Some(1) && ended.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(2));
        }
        let late = ended.elapsed().as_secs_f64();
        note(&mut section, &format!("{keys} keys expire, the last {late:.2} s late"), name, &during);
        note(&mut section, "control", name, &control);
        if name == "Larder" {
            section.judge("late/storm", late);
            section.judge("factor/storm-p99", ms(during.at(990_000)) / ms(control.at(990_000)));
        }
    }
    Ok(section)
}

pub(super) fn long(plan: &Plan) -> Result<Section, String> {
    let members = plan.choose(1_000_000, 200_000, 5_000);
    let time = plan.choose(Duration::from_secs(10), Duration::from_secs(5), Duration::from_millis(500));
    let mut section = Section::new(HEADER);
    for (name, server) in both(&["--io-threads", "2"])? {
        let mut client = server.connect();
        client.line("SET other value");
        fill_big(&mut client, members)?;
        client.line("CONFIG RESETSTAT");
        // Of a server that answers nobody meanwhile, one round tells enough.
        let rounds = if name == "Larder" { plan.rounds } else { 1 };
        let (mut excesses, mut factors) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let control = probe(&server, 8, 1_000, time)?;
            let (unions, busy) = beside_unions(&server, || probe(&server, 8, 1_000, time))?;
            note(&mut section, &format!("{unions} unions of {members}"), name, &busy);
            note(&mut section, "control", name, &control);
            excesses.push(ms(busy.max()) - ms(control.max()));
            factors.push(ms(busy.at(999_000)) / ms(control.at(999_000)));
        }
        if name == "Larder" {
            section.judge("stall/long-excess", median(excesses));
            section.judge("stall/long-inside", longest_hold_ms(&server).unwrap_or(f64::NAN));
            section.judge("factor/long-p999", median(factors));
        }
    }
    Ok(section)
}
