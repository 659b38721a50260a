//! The log: what it holds, replayed into an empty engine, gives the same keys.

use crate::support::{Caller, Rng, StillClock, engine_at, strings, watched};
use larder::Engine;
use larder::effects::LogReader;
use larder_resp::Frame;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const DATABASES: usize = 3;

/// Commands that say what they do in their own words, and those that the log must hold otherwise. `{k}` is a key, `{n}`
/// a number, `{t}` a time from now on.
const LINES: &[&str] = &[
    "SET {k} {n}",
    "SET {k} {n} PX {t}",
    "SET {k} {n} KEEPTTL",
    "SET {k} {n} NX EX 1",
    "SETEX {k} 1 {n}",
    "GETEX {k} PX {t}",
    "GETEX {k} PERSIST",
    "GETDEL {k}",
    "GETSET {k} {n}",
    "APPEND {k} {n}",
    "INCRBY {k} {n}",
    "INCRBYFLOAT {k} 0.{n}",
    "SETRANGE {k} {n} x",
    "MSET {k} {n} {k} {n}",
    "MSETNX {k} {n} {k} {n}",
    "DEL {k} {k}",
    "UNLINK {k}",
    "EXPIRE {k} 1",
    "PEXPIRE {k} {t}",
    "PEXPIRE {k} -1",
    "PERSIST {k}",
    "RENAME {k} {k}",
    "RENAMENX {k} {k}",
    "COPY {k} {k}",
    "COPY {k} {k} REPLACE",
    "COPY {k} {k} DB 1 REPLACE",
    "MOVE {k} 1",
    "MOVE {k} 0",
    "SADD {k} {n} a b",
    "SREM {k} {n} a",
    "SPOP {k}",
    "SPOP {k} 2",
    "SMOVE {k} {k} a",
    "SUNIONSTORE {k} {k} {k}",
    "SINTERSTORE {k} {k} {k}",
    "SDIFFSTORE {k} {k} {k}",
    "HSET {k} f{n} {n}",
    "HINCRBY {k} f{n} {n}",
    "HINCRBYFLOAT {k} f{n} 0.{n}",
    "HDEL {k} f{n} f1",
    "HSETNX {k} f{n} 1",
    "ZADD {k} {n} m{n}",
    "ZADD {k} XX CH {n} m1",
    "ZINCRBY {k} {n} m{n}",
    "ZREM {k} m{n}",
    "ZPOPMIN {k}",
    "ZPOPMAX {k} 2",
    "ZMPOP 2 {k} {k} MIN COUNT 2",
    "ZUNIONSTORE {k} 2 {k} {k}",
    "ZINTERSTORE {k} 2 {k} {k}",
    "ZRANGESTORE {k} {k} 0 3",
    "ZREMRANGEBYRANK {k} 0 1",
    "RPUSH {k} {n} a",
    "LPUSH {k} {n}",
    "LPOP {k}",
    "RPOP {k} 2",
    "LMOVE {k} {k} LEFT RIGHT",
    "LTRIM {k} 0 5",
    "LSET {k} 0 {n}",
    "LREM {k} 0 a",
    "LINSERT {k} BEFORE a {n}",
    "SELECT {d}",
    "SELECT {d}",
    "SWAPDB 0 1",
    "GET {k}",
    "EXISTS {k}",
    "KEYS *",
    "SETNX {k} {n}",
    "DELIFEQ {k} {n}",
    "SET {k} {n} IFEQ {n}",
];
/// Rare ones.
const RARE: &[&str] = &["FLUSHDB", "FLUSHALL"];

fn line(rng: &mut Rng) -> String {
    let from = if rng.below(1500) == 0 { RARE } else { LINES };
    let mut line = from[rng.below(from.len() as u64) as usize].to_owned();
    while let Some(at) = line.find('{') {
        let word = match &line[at..at + 3] {
            // Few keys for each type, so that values are usually of the type that a command wants, and not always.
            "{k}" => match rng.below(8) {
                0 => "any".to_owned(),
                _ => format!("{}:{}", kind(&line), rng.below(5)),
            },
            "{t}" => (1 + rng.below(60)).to_string(),
            "{d}" => rng.below(DATABASES as u64).to_string(),
            _ => rng.below(30).to_string(),
        };
        line.replace_range(at..at + 3, &word);
    }
    line
}

/// A name for keys that a command usually works on.
fn kind(line: &str) -> &str {
    match line.as_bytes() {
        [b'S', b'A' | b'R' | b'P' | b'M' | b'U' | b'I' | b'D', ..] => "set",
        [b'H', ..] => "hash",
        [b'Z', ..] => "zset",
        [b'L', ..] | [b'R', b'P', ..] => "list",
        [b'C' | b'D' | b'U' | b'E' | b'P' | b'M' | b'R', ..] => {
            ["set", "hash", "zset", "list", "string"][line.len() % 5]
        }
        _ => "string",
    }
}

fn work(engine: &Arc<Engine>, clock: &StillClock, seed: u64) {
    let (mut caller, mut rng) = (Caller::new(engine), Rng(seed));
    for _ in 0..5000 {
        if rng.below(6) == 0 {
            if rng.below(2) == 0 {
                caller.ok(&format!("WATCH string:{}", rng.below(5)));
            }
            caller.ok("MULTI");
            (0..1 + rng.below(4)).for_each(|_| drop(caller.run(&line(&mut rng))));
            caller.run("EXEC");
        } else {
            caller.run(&line(&mut rng));
        }
        if rng.below(10) == 0 {
            clock.advance_ms(rng.below(8));
        }
    }
}

/// A key: database and name.
type Key = (usize, Vec<u8>);
/// What it holds: type, expiry and value.
type Content = (Frame, Frame, Vec<Vec<u8>>);

/// Everything an engine holds.
fn contents(engine: &Arc<Engine>) -> BTreeMap<Key, Content> {
    let mut caller = Caller::new(engine);
    let mut all = BTreeMap::new();
    for db in 0..DATABASES {
        caller.ok(&format!("SELECT {db}"));
        for key in strings(caller.ok("KEYS *")) {
            let kind = caller.call(&[b"TYPE", &key[..]]);
            let expiry = caller.call(&[b"PEXPIRETIME", &key[..]]);
            let value = match kind.as_str() {
                Some("string") => {
                    vec![caller.call(&[b"GET", &key[..]]).as_bytes().expect("a string").to_vec()]
                }
                Some("list") => {
                    let list = caller.call(&[b"LRANGE".as_slice(), &key[..], b"0", b"-1"]);
                    let elements = list.into_elements().expect("a list");
                    elements.iter().map(|element| element.as_bytes().expect("bytes").to_vec()).collect()
                }
                Some("set") => strings(caller.call(&[b"SMEMBERS", &key[..]])),
                Some("hash") => strings(caller.call(&[b"HGETALL", &key[..]])),
                Some("zset") => {
                    strings(caller.call(&[b"ZRANGE".as_slice(), &key[..], b"0", b"-1", b"WITHSCORES"]))
                }
                other => panic!("type {other:?}"),
            };
            all.insert((db, key), (kind, expiry, value));
        }
    }
    all
}

/// Replays a log into an empty engine whose clock stands where the log began, as if nothing had expired yet: what did
/// is in the log.
fn replayed(log: &LogReader) -> (Arc<Engine>, Arc<StillClock>) {
    let clock = StillClock::new();
    let engine = engine_at(&clock);
    let mut caller = Caller::new(&engine);
    let (mut last, mut records) = (0, 0);
    while let Some(record) = log.poll() {
        assert!(record.position > last, "positions ascend");
        last = record.position;
        records += 1;
        assert!(!record.steps.is_empty(), "a record says something");
        for (db, request) in &record.steps {
            caller.ok(&format!("SELECT {db}"));
            let words: Vec<&[u8]> = request.as_request().iter().collect();
            let reply = caller.call(&words);
            assert!(!matches!(reply, Frame::Error(_)), "{}: {reply:?}", String::from_utf8_lossy(words[0]));
        }
    }
    assert!(records > 1000, "the log holds {records} records");
    (engine, clock)
}

fn replay_gives_the_same(maxmemory: u64) {
    watched(|| {
        let clock = StillClock::new();
        let engine = engine_at(&clock);
        let log = engine.read_log();
        let mut caller = Caller::new(&engine);
        caller.ok(&format!("CONFIG SET maxmemory {maxmemory} maxmemory-policy allkeys-random"));
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|seed| {
                    let (engine, clock) = (&engine, &clock);
                    scope.spawn(move || work(engine, clock, seed))
                })
                .collect();
            scope.spawn(|| {
                let mut caller = Caller::new(&engine);
                while !is_over.load(Ordering::Acquire) {
                    caller.tick_all();
                    thread::yield_now();
                }
            });
            workers.into_iter().for_each(|worker| worker.join().expect("a worker"));
            is_over.store(true, Ordering::Release);
        });
        caller.ok("CONFIG SET maxmemory 0");
        let (again, its_clock) = replayed(&log);
        its_clock.set_ms(clock.now_ms());
        assert_eq!(contents(&again), contents(&engine));
        engine.check_invariants();
        again.check_invariants();
    });
}

#[test]
fn the_log_replayed_gives_the_same_keys() {
    replay_gives_the_same(0);
}

#[test]
fn the_log_replayed_gives_the_same_keys_with_eviction() {
    replay_gives_the_same(3000);
}
