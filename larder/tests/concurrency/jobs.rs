//! Long commands on a worker, while others read and write what they work on.

use crate::support::{Caller, Rng, elements, engine, int, strings, watched};
use larder_resp::Frame;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// Members of a big collection: enough for its commands to be handed over.
const MEMBERS: usize = 6000;

/// Adds the members `0..MEMBERS` to a set or, with their numbers for scores, to a sorted set.
fn fill(caller: &mut Caller, command: &str, key: &str) {
    let mut line = format!("{command} {key}");
    for member in 0..MEMBERS {
        let score = if command == "ZADD" { format!(" {member}") } else { String::new() };
        line.push_str(&format!("{score} m{member}"));
    }
    caller.ok(&line);
}

/// The members of a set that `fill` has not put there.
fn extras(frame: Frame) -> Vec<Vec<u8>> {
    strings(frame).into_iter().filter(|member| !member.starts_with(b"m")).collect()
}

/// A marker wanders through both sources, changed in one transaction: a result has exactly one, and not an old one.
#[test]
fn a_stored_union_is_that_of_one_moment() {
    watched(|| {
        let engine = engine();
        let mut caller = Caller::new(&engine);
        for key in ["one", "two"] {
            fill(&mut caller, "SADD", key);
            caller.ok(&format!("SADD {key} x0"));
        }
        let (marker, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut caller = Caller::new(&engine);
                while !is_over.load(Ordering::Acquire) {
                    let old = marker.load(Ordering::Acquire);
                    caller.ok("MULTI");
                    for key in ["one", "two"] {
                        caller.ok(&format!("SREM {key} x{old}"));
                        caller.ok(&format!("SADD {key} x{}", old + 1));
                    }
                    assert_eq!(elements(caller.ok("EXEC")).len(), 4);
                    marker.store(old + 1, Ordering::Release);
                }
                caller.parked
            });
            scope.spawn(|| {
                // Overwrites the destination while it is computed, which no job waits for or minds.
                let mut caller = Caller::new(&engine);
                while !is_over.load(Ordering::Acquire) {
                    for line in ["SET result text", "DEL result", "SADD result m0 m1"] {
                        caller.ok(line);
                    }
                }
            });
            scope.spawn(|| {
                let mut caller = Caller::new(&engine);
                while !is_over.load(Ordering::Acquire) {
                    let before = marker.load(Ordering::Acquire);
                    let seen = extras(caller.ok("SINTER one two"));
                    check_marker(&seen, before, marker.load(Ordering::Acquire));
                }
            });
            for round in 0..150 {
                let store = ["SUNIONSTORE", "SINTERSTORE"][round % 2];
                let before = marker.load(Ordering::Acquire);
                caller.ok("MULTI");
                caller.ok("DEL mine");
                caller.ok("EXEC");
                let len = caller.int(&format!("{store} mine one two"));
                assert_eq!(len as usize, MEMBERS + 1);
                let after = marker.load(Ordering::Acquire);
                check_marker(&extras(caller.ok("SMEMBERS mine")), before, after);
                caller.ok("SUNIONSTORE result one two");
            }
            is_over.store(true, Ordering::Release);
            assert!(caller.handed_over > 0, "nothing was handed over");
            let parked = writer.join().expect("the writer");
            assert!(parked > 0, "the writer never met a pin");
        });
        engine.check_invariants();
    });
}

fn check_marker(seen: &[Vec<u8>], before: u64, after: u64) {
    let [marker] = seen else { panic!("one marker, and not {seen:?}") };
    let number: u64 =
        std::str::from_utf8(&marker[1..]).ok().and_then(|digits| digits.parse().ok()).expect("x1");
    // The writer notes its marker after the transaction, so a result may be one ahead of what was noted.
    assert!((before..=after + 1).contains(&number), "{number} is not between {before} and {after}");
}

/// Scores that cancel each other out at any moment.
#[test]
fn a_stored_sum_of_scores_is_that_of_one_moment() {
    watched(|| {
        let engine = engine();
        let mut caller = Caller::new(&engine);
        for key in ["one", "two"] {
            fill(&mut caller, "ZADD", key);
            caller.ok(&format!("ZADD {key} 0 marker"));
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut caller, mut rng) = (Caller::new(&engine), Rng(3));
                while !is_over.load(Ordering::Acquire) {
                    let score = rng.below(1000);
                    caller.ok("MULTI");
                    caller.ok(&format!("ZADD one {score} marker"));
                    caller.ok(&format!("ZADD two -{score} marker"));
                    caller.ok("EXEC");
                }
            });
            for _ in 0..80 {
                assert_eq!(caller.int("ZUNIONSTORE sum 2 one two") as usize, MEMBERS + 1);
                assert_eq!(caller.ok("ZSCORE sum marker"), Frame::bulk("0"));
                assert_eq!(caller.int("ZINTERSTORE sum 2 one two WEIGHTS 2 2") as usize, MEMBERS + 1);
                assert_eq!(caller.ok("ZSCORE sum marker"), Frame::bulk("0"));
            }
            is_over.store(true, Ordering::Release);
        });
        assert!(caller.handed_over > 0, "nothing was handed over");
        engine.check_invariants();
    });
}

/// A source that is deleted and put back, or expires: a result is that of one of the two states.
#[test]
fn a_source_that_goes_away_is_missed_as_a_whole() {
    watched(|| {
        let engine = engine();
        let mut caller = Caller::new(&engine);
        fill(&mut caller, "SADD", "stock");
        caller.ok("SADD always a b c");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut caller = Caller::new(&engine);
                let lines = ["COPY stock coming", "DEL coming", "COPY stock coming", "PEXPIRE coming 1"];
                while !is_over.load(Ordering::Acquire) {
                    lines.iter().for_each(|line| drop(caller.ok(line)));
                    // Gone or not, by now or soon.
                    caller.ok("DEL coming");
                }
            });
            for _ in 0..150 {
                let len = caller.int("SUNIONSTORE result coming stock always") as usize;
                assert_eq!(len, MEMBERS + 3);
                let len = caller.int("SDIFFSTORE result stock coming") as usize;
                assert!(len == 0 || len == MEMBERS, "{len}");
                assert_eq!(caller.int("SCARD result") as usize, len);
            }
            is_over.store(true, Ordering::Release);
        });
        engine.check_invariants();
    });
}

/// Jobs that store into each other's sources come to an end.
#[test]
fn jobs_that_store_into_each_others_sources_do_not_wait_in_a_circle() {
    watched(|| {
        let engine = engine();
        let mut caller = Caller::new(&engine);
        fill(&mut caller, "SADD", "one");
        fill(&mut caller, "SADD", "two");
        caller.ok("SADD one x");
        caller.ok("SADD two y");
        let lines = ["SUNIONSTORE one one two", "SUNIONSTORE two two one", "SADD one m1", "SADD two m2"];
        thread::scope(|scope| {
            for line in lines {
                let engine = &engine;
                scope.spawn(move || {
                    let mut caller = Caller::new(engine);
                    (0..60).for_each(|_| drop(caller.ok(line)));
                });
            }
        });
        caller.ok("SUNIONSTORE one one two");
        let all: BTreeSet<_> = strings(caller.ok("SMEMBERS one")).into_iter().collect();
        assert_eq!(all.len(), MEMBERS + 2);
        engine.check_invariants();
    });
}

/// CLIENT REPLY concerns long commands as well.
#[test]
fn a_long_command_keeps_silent_when_told_to() {
    watched(|| {
        let engine = engine();
        let mut caller = Caller::new(&engine);
        fill(&mut caller, "SADD", "one");
        let mut request = |line: &str| caller.send(&line.split(' ').collect::<Vec<_>>());
        request("CLIENT REPLY SKIP");
        assert_eq!(request("SUNIONSTORE two one"), b"");
        assert_eq!(request("SCARD two"), format!(":{MEMBERS}\r\n").as_bytes());
        request("CLIENT REPLY OFF");
        assert_eq!(request("SUNIONSTORE three one"), b"");
        assert_eq!(request("CLIENT REPLY ON"), b"+OK\r\n");
        assert_eq!(request("SCARD three"), format!(":{MEMBERS}\r\n").as_bytes());
    });
}

/// Lookups by long commands count as lookups, and as use.
#[test]
fn a_long_read_is_a_use() {
    let (engine, clock) = crate::support::still_engine();
    let mut caller = Caller::new(&engine);
    fill(&mut caller, "SADD", "one");
    clock.advance_ms(100_000);
    assert_eq!(int(&caller.ok("OBJECT IDLETIME one")), 100);
    let before = engine.stats.sum(|lane| &lane.hits);
    caller.ok("SMEMBERS one");
    assert_eq!(caller.handed_over, 1);
    assert_eq!(engine.stats.sum(|lane| &lane.hits), before + 1);
    assert_eq!(int(&caller.ok("OBJECT IDLETIME one")), 0);
}
