//! Append-only files on a disk that fails on request: crashes at every kind of moment, full disks, failed syncs.
//!
//! The work is one counter that every transaction puts into several keys at once. So what is loaded again must be the
//! state after some transaction, whole, and it is known after which one at least.

use super::{Fsync, Place};
use crate::engine::{Engine, Options};
use crate::persist::simulated::{Luck, SimulatedDisk};
use crate::time::Clock;
use crate::{Connection, Larder};
use larder_resp::Frame;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Rng(u64);

impl Rng {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }
}

fn place(disk: &SimulatedDisk) -> Place {
    let disk = Arc::new(disk.clone());
    Place { disk, dir: PathBuf::from("/appendonlydir"), name: "appendonly.aof".into() }
}

/// What an event loop does that has no other requests to look at.
fn end_turn(engine: &Engine) {
    if engine.feed_log() {
        engine.sync_log();
    }
}

fn engine(fsync: Fsync) -> Arc<Engine> {
    let engine = Engine::open(Options { threads: 2, seed: 1, ..Options::default() });
    engine.config.set_fsync(fsync);
    engine
}

/// Loads what is there and opens it for more.
fn open(disk: &SimulatedDisk, fsync: Fsync) -> (Arc<Engine>, Larder) {
    let engine = engine(fsync);
    engine.load_aof(&place(disk)).expect("what is there can be loaded");
    engine.open_aof(place(disk)).expect("the disk works");
    (Arc::clone(&engine), Larder::on(engine))
}

/// The state after how many transactions an engine has; it is whole.
fn state(larder: &Larder, context: &str) -> u64 {
    let number = |key: &str| {
        let bytes = larder.get(key).expect("a string").unwrap_or_else(|| b"0".to_vec());
        String::from_utf8(bytes).expect("digits").parse::<u64>().expect("a number")
    };
    let (a, b) = (number("a"), number("b"));
    let list = larder.execute(&["LRANGE", "l", "0", "-1"]).into_elements().expect("a list");
    let last = list.last().map_or(0, |last| {
        let text = last.as_str().unwrap_or_default();
        text.parse().unwrap_or_else(|_| panic!("{context}: no number: {list:?}"))
    });
    let popped = number("popped");
    assert_eq!((a, b, last, popped + list.len() as u64), (a, a, a, a), "{context}: half a transaction");
    a
}

/// One transaction. Returns whether it was acknowledged.
fn transact(connection: &mut Connection, number: u64) -> bool {
    let number = number.to_string();
    connection.execute(&["MULTI"]);
    connection.execute(&["SET", "a", &number]);
    connection.execute(&["SELECT", "1"]);
    connection.execute(&["SET", "elsewhere", &number]);
    connection.execute(&["SELECT", "0"]);
    connection.execute(&["INCR", "b"]);
    connection.execute(&["RPUSH", "l", &number]);
    if number.ends_with('7') {
        connection.execute(&["LPOP", "l"]);
        connection.execute(&["INCR", "popped"]);
    }
    matches!(connection.execute(&["EXEC"]), Frame::Array(_))
}

/// What is known when the power goes.
#[derive(Default)]
struct Known {
    /// The last transaction that must be there.
    least: u64,
    /// The last one that was tried.
    most: u64,
}

/// Works until the power goes, or for a while. Whatever was told, to the writer or to a reader beside it, must last.
fn work(disk: &SimulatedDisk, fsync: Fsync, rng: &mut Rng, known: &mut Known, context: &str) {
    let engine = engine(fsync);
    engine.load_aof(&place(disk)).unwrap_or_else(|error| panic!("{context}: {error}"));
    let larder = Larder::on(Arc::clone(&engine));
    let found = state(&larder, context);
    assert!(found >= known.least, "{context}: {found} is there, {} must be", known.least);
    assert!(found <= known.most, "{context}: {found} is there, {} was tried", known.most);
    (known.least, known.most) = (found, found);
    disk.power_off_after(rng.below(70), rng.below(400) as usize);
    if engine.open_aof(place(disk)).is_err() {
        engine.abandon_aof();
        return;
    }
    let read = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if fsync == Fsync::Always {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if let Ok(Some(bytes)) = larder.get("a")
                        && engine.log.durable.is_promised()
                    {
                        let seen = String::from_utf8(bytes).expect("digits").parse().expect("a number");
                        read.fetch_max(seen, Ordering::Relaxed);
                    }
                    std::thread::yield_now();
                }
            });
        }
        let mut connection = larder.connect();
        let mut positions = Vec::new();
        for number in found + 1..found + 1 + rng.below(30) {
            known.most = number;
            if rng.below(12) == 0 {
                engine.want_rewrite();
            }
            if !transact(&mut connection, number) {
                break;
            }
            match fsync {
                Fsync::Always => known.least = number,
                _ => positions.push((engine.log.end(), number)),
            }
            end_turn(&engine);
            if fsync != Fsync::Always && rng.below(8) == 0 {
                let _the_power_may_be_off = engine.flush_aof();
            }
        }
        is_over.store(true, Ordering::Relaxed);
        let synced = engine.log.durable.synced();
        let safe = positions.iter().filter(|(end, _)| *end <= synced).map(|(_, number)| *number).max();
        known.least = known.least.max(safe.unwrap_or(0));
    });
    known.least = known.least.max(read.load(Ordering::Relaxed));
    engine.abandon_aof();
}

fn crash(disk: &SimulatedDisk, rng: &mut Rng) {
    match rng.below(3) {
        0 => disk.crash_scattered(|| rng.below(2) == 0),
        1 => disk.crash(Luck { names: rng.below(2) == 0, unsynced_bytes: rng.below(2000) as usize }),
        _ => disk.crash(Luck::default()),
    }
}

/// Waits until something is so, ten seconds at most.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let has_come = (0..2000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        is_so()
    });
    assert!(has_come, "{what}");
}

/// `LARDER_RUNS` crashes, each after some lives of a store, from `LARDER_SEED` on.
#[test]
fn after_a_crash_what_was_told_is_there_and_nothing_is_there_in_part() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (runs, first) = (number("LARDER_RUNS", 300), number("LARDER_SEED", 1));
    let mut crashes = 0;
    for seed in first.. {
        let mut rng = Rng(seed);
        let disk = SimulatedDisk::new();
        let fsync = [Fsync::Always, Fsync::EverySecond][(seed % 2) as usize];
        let mut known = Known::default();
        for life in 0..3 {
            let context = format!("seed {seed}, life {life}, {}", fsync.name());
            work(&disk, fsync, &mut rng, &mut known, &context);
            crash(&disk, &mut rng);
            crashes += 1;
        }
        if crashes >= runs {
            break;
        }
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room_and_loses_nothing() {
    for fsync in [Fsync::Always, Fsync::EverySecond] {
        let disk = SimulatedDisk::new();
        let (engine, larder) = open(&disk, fsync);
        larder.set("before", "1").expect("there is room");
        engine.flush_aof().expect("there is room");
        disk.set_capacity(Some(700));
        let refused = (0..1000).find_map(|nth| {
            let error = larder.set(format!("key:{nth}"), "some value").err();
            end_turn(&engine);
            error
        });
        let error = refused.expect("the disk is full");
        assert_eq!(error.code(), "MISCONF", "{error}");
        let error = larder.set("more", "x").expect_err("writes are refused");
        assert!(error.text().starts_with("Errors writing to the AOF file: "), "{error}");
        assert!(larder.execute(&["PING"]).is_error() && larder.execute(&["EXEC"]).is_error());
        assert_eq!(larder.get("before").expect("reads go on").as_deref(), Some(b"1".as_slice()));
        disk.set_capacity(None);
        eventually("writes are let in again", || larder.set("after", "1").is_ok());
        engine.flush_aof().expect("there is room");
        let keys = engine.len(0);
        engine.abandon_aof();
        disk.crash(Luck::default());
        let (engine, larder) = open(&disk, fsync);
        assert_eq!(engine.len(0), keys, "what was in memory is on disk");
        assert!(larder.exists("after").expect("it works"));
        engine.abandon_aof();
    }
}

#[test]
fn after_a_failed_write_the_same_is_written_again() {
    for fsync in [Fsync::Always, Fsync::EverySecond] {
        let disk = SimulatedDisk::new();
        let (engine, larder) = open(&disk, fsync);
        larder.set("before", "1").expect("the disk works");
        engine.flush_aof().expect("the disk works");
        disk.fail_writes(u32::MAX);
        let told = larder.set("during", "1");
        end_turn(&engine);
        assert_eq!(told.is_err(), fsync == Fsync::Always, "nobody can say whether it lasts");
        assert!(engine.flush_aof().is_err());
        assert_eq!(larder.set("refused", "1").expect_err("writes are refused").code(), "MISCONF");
        assert!(larder.exists("before").expect("reads go on"));
        disk.fail_writes(0);
        eventually("writes are let in again", || larder.set("after", "1").is_ok());
        engine.flush_aof().expect("the disk works");
        engine.abandon_aof();
        disk.crash(Luck::default());
        let (engine, larder) = open(&disk, fsync);
        for (key, is_there) in [("before", true), ("during", true), ("refused", false), ("after", true)] {
            assert_eq!(larder.exists(key).expect("it works"), is_there, "{key} with {}", fsync.name());
        }
        engine.abandon_aof();
    }
}

#[test]
fn in_a_directory_without_the_right_to_write_only_rewrites_fail() {
    let disk = SimulatedDisk::new();
    let (engine, larder) = open(&disk, Fsync::Always);
    larder.set("before", "1").expect("the disk works");
    disk.set_read_only(true);
    let facts = engine.aof.facts();
    assert!(!engine.want_rewrite());
    eventually("INFO says so", || facts.has_rewrite_failed.load(Ordering::Acquire));
    larder.set("during", "1").expect("the file is open, and takes it");
    disk.set_read_only(false);
    eventually("the next one succeeds", || {
        let is_rewritten = !facts.has_rewrite_failed.load(Ordering::Acquire);
        if !is_rewritten {
            engine.want_rewrite();
        }
        is_rewritten
    });
    larder.set("after", "1").expect("the disk works");
    engine.abandon_aof();
    disk.crash(Luck::default());
    let (engine, larder) = open(&disk, Fsync::Always);
    for key in ["before", "during", "after"] {
        assert!(larder.exists(key).expect("it works"), "{key}");
    }
    engine.abandon_aof();
}

#[test]
fn after_a_failed_sync_everything_is_written_anew() {
    for fsync in [Fsync::Always, Fsync::EverySecond] {
        let disk = SimulatedDisk::new();
        let (engine, larder) = open(&disk, fsync);
        larder.set("before", "1").expect("the disk works");
        disk.fail_syncs(1);
        let told = larder.set("during", "1");
        end_turn(&engine);
        match fsync {
            // Nobody can say whether it lasts.
            Fsync::Always => assert_eq!(told.expect_err("the sync has failed").code(), "MISCONF"),
            _ => drop(engine.flush_aof().expect_err("the sync has failed")),
        }
        eventually("writes are let in again", || larder.set("after", "1").is_ok());
        engine.flush_aof().expect("the disk works");
        engine.abandon_aof();
        disk.crash(Luck::default());
        let (engine, larder) = open(&disk, fsync);
        for key in ["before", "during", "after"] {
            assert!(larder.exists(key).expect("it works"), "{key} with {}", fsync.name());
        }
        engine.abandon_aof();
    }
}

/// A clock that is set by hand.
#[derive(Default)]
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn unix_us(&self) -> u64 {
        1_700_000_000_000_000 + self.elapsed_us()
    }

    fn elapsed_us(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn writers_wait_for_a_sync_of_everysec_that_takes_longer_than_two_seconds() {
    let (disk, clock) = (SimulatedDisk::new(), Arc::new(HandClock::default()));
    let handed: Arc<dyn Clock> = Arc::<HandClock>::clone(&clock);
    let engine = Engine::open(Options { threads: 2, seed: 1, clock: handed, ..Options::default() });
    engine.config.set_fsync(Fsync::EverySecond);
    engine.open_aof(place(&disk)).expect("the disk works");
    let larder = Larder::on(Arc::clone(&engine));
    let facts = engine.aof.facts();
    let written = || disk.contents("/appendonlydir/appendonly.aof.1.incr.aof").expect("it is begun").len();
    disk.hold_syncs(true);
    larder.set("first", "1").expect("nobody waits for a sync");
    end_turn(&engine);
    clock.0.fetch_add(1_500_000, Ordering::SeqCst);
    eventually("the sync begins", || facts.is_syncing());
    let before = written();
    larder.set("second", "1").expect("nobody waits for a sync of the usual length");
    end_turn(&engine);
    assert_eq!((written(), facts.delays.load(Ordering::Relaxed)), (before, 0));
    clock.0.fetch_add(2_500_000, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            larder.set("third", "1").expect("the sync has ended well");
            end_turn(&engine);
        });
        eventually("the writer waits", || facts.delays.load(Ordering::Relaxed) > 0);
        assert!(!writer.is_finished(), "the writer waits for the sync");
        disk.hold_syncs(false);
        writer.join().expect("it goes on");
    });
    assert!(written() > before, "what waited is written");
    assert_eq!(larder.get("third").expect("a string").as_deref(), Some(b"1".as_slice()));
    engine.abandon_aof();
}

#[test]
fn switched_on_while_in_use_it_holds_everything_and_off_it_ends() {
    let disk = SimulatedDisk::new();
    let engine = engine(Fsync::EverySecond);
    let larder = Larder::on(Arc::clone(&engine));
    let mut connection = larder.connect();
    assert!((1..100).all(|number| transact(&mut connection, number)));
    engine.start_aof(place(&disk)).expect("the disk works");
    let mut number = 100;
    while !engine.log.durable.is_promised() {
        assert!(transact(&mut connection, number), "nobody waits for the base");
        number += 1;
    }
    assert!((number..number + 100).all(|number| transact(&mut connection, number)));
    engine.close_aof().expect("the disk works");
    assert!(!engine.log.is_read());
    assert!(transact(&mut connection, number + 100));
    let (again, other) = open(&disk, Fsync::EverySecond);
    assert_eq!(state(&other, "after it was switched off"), number + 99);
    again.abandon_aof();
}

#[test]
fn a_rewrite_makes_the_files_short_in_either_form() {
    for is_snapshot in [true, false] {
        let disk = SimulatedDisk::new();
        let (engine, larder) = open(&disk, Fsync::EverySecond);
        engine.config.aof_rdb_preamble.store(is_snapshot, Ordering::Relaxed);
        let mut connection = larder.connect();
        assert!((1..200).all(|number| transact(&mut connection, number)));
        for command in [
            &["ZADD", "z", "1.5", "m", "-inf", "n", "1e300", "o"][..],
            &["HSET", "h", "f", "v", "g", ""],
            &["SADD", "s", "1", "2", "x"],
            &["SET", "t", "soon", "PX", "100000"],
        ] {
            assert!(!connection.execute(command).is_error());
        }
        let before = engine.aof.facts().rewrites.load(Ordering::Relaxed);
        assert!(!engine.want_rewrite());
        while engine.aof.facts().rewrites.load(Ordering::Relaxed) == before {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(transact(&mut connection, 200));
        engine.flush_aof().expect("the disk works");
        let digest = larder.execute(&["DEBUG", "DIGEST"]);
        engine.abandon_aof();
        disk.crash(Luck::default());
        let (again, other) = open(&disk, Fsync::EverySecond);
        assert_eq!(state(&other, "after the rewrite"), 200);
        assert_eq!(other.execute(&["DEBUG", "DIGEST"]), digest, "{is_snapshot}");
        again.abandon_aof();
    }
}

#[test]
fn a_key_that_has_expired_meanwhile_is_not_gone_before_the_commands_that_keep_it() {
    let disk = SimulatedDisk::new();
    let set =
        |at_ms: u64| format!("*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$4\r\nPXAT\r\n$4\r\n{at_ms}\r\n");
    let persist = "*2\r\n$7\r\nPERSIST\r\n$1\r\nk\r\n";
    let expire = "*3\r\n$6\r\nEXPIRE\r\n$1\r\nk\r\n$3\r\n100\r\n";
    place(&disk).disk.create_dir(&place(&disk).dir).expect("the disk works");
    disk.install("/appendonlydir/appendonly.aof.manifest", *b"file i seq 1 type i\n");
    disk.install("/appendonlydir/i", format!("{}{persist}{expire}", set(1000)));
    let engine = engine(Fsync::No);
    let loaded = engine.load_aof(&place(&disk)).expect("it is good").expect("it is there");
    assert_eq!((loaded.commands, loaded.errors), (3, 0));
    let larder = Larder::on(engine);
    let ttl = larder.execute(&["TTL", "k"]).as_integer();
    assert!(matches!(ttl, Some(99 | 100)), "{ttl:?}");
}
