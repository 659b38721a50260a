//! Eviction: which keys go, which never do, and how much memory is used at most.

use crate::support::{Caller, Rng, StillClock, still_engine};
use larder::Engine;
use larder_resp::Frame;
use std::sync::Arc;

/// What the shards of an engine have not reported yet, at most.
const SLACK: u64 = 256 * 4096;

fn limited(policy: &str, maxmemory: u64) -> (Arc<Engine>, Arc<StillClock>, Caller) {
    let (engine, clock) = still_engine();
    let mut caller = Caller::new(&engine);
    caller.ok(&format!("CONFIG SET maxmemory {maxmemory} maxmemory-policy {policy}"));
    (engine, clock, caller)
}

fn value(len: usize) -> String {
    "v".repeat(len)
}

fn is_oom(reply: &Frame) -> bool {
    matches!(reply, Frame::Error(text) if text.starts_with(b"OOM"))
}

#[test]
fn without_eviction_only_growing_commands_are_refused() {
    let (engine, _, mut caller) = limited("noeviction", 2 << 20);
    let mut number = 0;
    while !is_oom(&caller.run(&format!("SET key:{number} {}", value(500)))) {
        number += 1;
        assert!(number < 100_000, "memory is never short");
    }
    for refused in ["SET a 1", "APPEND key:0 x", "SADD set x", "INCR counter"] {
        assert!(is_oom(&caller.run(refused)), "{refused}");
    }
    for allowed in ["GET key:0", "EXPIRE key:0 100", "PING", "DBSIZE", "RENAME key:0 moved", "DEL moved"] {
        caller.ok(allowed);
    }
    // A transaction is refused what it would queue, and one that was queued before is refused as a whole.
    caller.ok("CONFIG SET maxmemory 0");
    caller.ok("MULTI");
    caller.ok("SET a 1");
    let mut other = Caller::new(&engine);
    other.ok("CONFIG SET maxmemory 1");
    let refused = caller.run("EXEC");
    assert_eq!(
        refused,
        Frame::error(
            "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'."
        )
    );
    assert_eq!(caller.run("EXEC"), Frame::error("ERR EXEC without MULTI"));
    assert_eq!(caller.ok("EXISTS a"), Frame::Integer(0));
    caller.ok("FLUSHALL");
    caller.tick_all();
    assert_eq!(engine.data_memory(), 0);
    // Connections count too, so not even a single key has room.
    assert!(is_oom(&caller.run("SET a 1")));
    caller.ok("CONFIG SET maxmemory 2mb");
    caller.ok("SET a 1");
}

#[test]
fn memory_stays_below_the_limit_under_churn() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-lrfu", "allkeys-random"] {
        let limit = 4 << 20;
        let (engine, _, mut caller) = limited(policy, limit);
        let mut rng = Rng(5);
        for _ in 0..60_000 {
            let (key, len) = (rng.below(50_000), 1 + rng.below(600) as usize);
            caller.ok(&format!("SET key:{key} {}", value(len)));
            assert!(engine.data_memory() <= limit + SLACK, "{policy}");
        }
        assert!(engine.check_invariants() <= limit + SLACK);
        assert!(caller.int("DBSIZE") > 1000, "{policy} evicts too much");
    }
}

#[test]
fn volatile_policies_spare_keys_without_an_expiry() {
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        let (_, _, mut caller) = limited(policy, 3 << 20);
        for number in 0..2000 {
            caller.ok(&format!("SET staying:{number} {}", value(500)));
        }
        for number in 0..20_000 {
            caller.ok(&format!("SET passing:{number} {} EX {}", value(500), 1000 + number));
        }
        for number in 0..2000 {
            assert_eq!(caller.ok(&format!("EXISTS staying:{number}")), Frame::Integer(1), "{policy}");
        }
        // When only such keys are left there is nothing to evict.
        let mut number = 0;
        while !is_oom(&caller.run(&format!("SET more:{number} {}", value(500)))) {
            number += 1;
            assert!(number < 100_000, "{policy}: memory is never short");
        }
    }
}

#[test]
fn the_idle_go_before_the_used() {
    let (_, clock, mut caller) = limited("allkeys-lru", 0);
    for number in 0..4000 {
        caller.ok(&format!("SET key:{number} {}", value(500)));
    }
    clock.advance_ms(100_000);
    for number in 0..2000 {
        caller.ok(&format!("GET key:{number}"));
    }
    clock.advance_ms(100_000);
    caller.ok("CONFIG SET maxmemory 1mb");
    (0..2000).for_each(|_| drop(caller.ok("PING")));
    let mut left = |from: usize| -> i64 {
        (from..from + 2000).map(|number| caller.int(&format!("EXISTS key:{number}"))).sum()
    };
    let (used, idle) = (left(0), left(2000));
    assert!(used + idle < 3000, "nothing was evicted");
    assert!(used > idle * 3 / 2, "{used} of the used are left and {idle} of the idle");
}

#[test]
fn those_that_expire_first_go_first() {
    let (_, _, mut caller) = limited("volatile-ttl", 0);
    for number in 0..4000 {
        let seconds = if number < 2000 { 100_000 } else { 1000 };
        caller.ok(&format!("SET key:{number} {} EX {seconds}", value(500)));
    }
    caller.ok("CONFIG SET maxmemory 1mb");
    (0..2000).for_each(|_| drop(caller.ok("PING")));
    let mut left = |from: usize| -> i64 {
        (from..from + 2000).map(|number| caller.int(&format!("EXISTS key:{number}"))).sum()
    };
    let (late, early) = (left(0), left(2000));
    assert!(late + early < 3000, "nothing was evicted");
    assert!(late > early * 3 / 2, "{late} of the late are left and {early} of the early");
}

#[test]
fn evicted_keys_are_heard_of_and_logged() {
    let (engine, _, mut caller) = limited("allkeys-random", 0);
    for number in 0..3000 {
        caller.ok(&format!("SET key:{number} {}", value(900)));
    }
    let log = engine.read_log();
    let listener = engine.listen(10_000);
    caller.ok("CONFIG SET maxmemory 2mb");
    (0..1000).for_each(|_| drop(caller.ok("PING")));
    let evicted = 3000 - caller.int("DBSIZE");
    assert!(evicted > 0);
    let heard = std::iter::from_fn(|| listener.poll()).count();
    let logged = std::iter::from_fn(|| log.poll()).map(|record| record.steps.len()).sum::<usize>();
    assert_eq!((heard as i64, logged as i64), (evicted, evicted));
}

/// Every kind of value, changed and deleted: the sum always equals a walk, and nothing is left in the end.
#[test]
fn accounting_equals_a_walk_at_any_time() {
    let (engine, clock) = still_engine();
    let mut caller = Caller::new(&engine);
    let mut rng = Rng(11);
    let lines = [
        "SET key:{k} {v}",
        "APPEND key:{k} {v}",
        "SETRANGE key:{k} 2000 {v}",
        "INCR int:{k}",
        "SET key:{k} {v} PX 50",
        "DEL key:{k}",
        "HSET hash:{k} {f} {v}",
        "HSET hash:{k} {f} {f}",
        "HDEL hash:{k} {f}",
        "SADD set:{k} {f}",
        "SADD set:{k} {v}",
        "SREM set:{k} {f}",
        "SPOP set:{k}",
        "ZADD zset:{k} 1 {f}",
        "ZADD zset:{k} 2 {v}",
        "ZREM zset:{k} {f}",
        "ZPOPMIN zset:{k}",
        "SUNIONSTORE set:{k} set:0 set:1",
        "ZUNIONSTORE zset:{k} 2 zset:0 zset:1",
        "RENAME set:{k} set:0",
        "COPY hash:{k} hash:0 REPLACE",
        "MOVE key:{k} 1",
        "EXPIRE hash:{k} 1",
        "PERSIST hash:{k}",
        "GETDEL key:{k}",
        "SWAPDB 0 1",
        "RPUSH list:{k} {v} {f}",
        "LPOP list:{k}",
        "LSET list:{k} 0 {v}",
        "LTRIM list:{k} 0 3",
        "FLUSHDB",
    ];
    for step in 0..40_000u64 {
        // FLUSHDB is the last line, and rare.
        let choice = lines.len() as u64 - u64::from(rng.below(50) > 0);
        let line = lines[rng.below(choice) as usize];
        let (key, field, len) =
            (rng.below(4), rng.below(800), rng.below(if step % 9 == 0 { 3000 } else { 60 }));
        let line = line
            .replace("{k}", &key.to_string())
            .replace("{f}", &field.to_string())
            .replace("{v}", &value(1 + len as usize));
        let _may_fail = caller.run(&line);
        if rng.below(20) == 0 {
            clock.advance_ms(rng.below(40));
        }
        if step % 500 == 0 {
            engine.check_invariants();
        }
    }
    caller.ok("FLUSHALL");
    caller.tick_all();
    assert_eq!((engine.check_invariants(), engine.data_memory()), (0, 0));
}

/// Large values are freed by the freer or by the caller, as the parameter for the cause says; UNLINK and ASYNC always by
/// the freer, SYNC never.
#[test]
fn who_frees_a_large_value_depends_on_the_cause() {
    let (engine, clock) = still_engine();
    let _runtime = larder::runtime::Runtime::start(&engine).expect("threads can be started");
    let mut caller = Caller::new(&engine);
    let mut freed = |steps: &[&str]| -> i64 {
        // A limit that is still in force would evict before it could be lifted.
        caller.ok("CONFIG SET maxmemory 0");
        caller.ok("CONFIG RESETSTAT");
        let members: String = (0..1000).map(|member| format!(" m{member}")).collect();
        caller.ok(&format!("SADD big{members}"));
        for step in steps {
            if *step == "wait" {
                clock.advance_ms(100);
            } else {
                caller.ok(step);
            }
        }
        let field = |caller: &mut Caller, name: &str| -> i64 {
            let Frame::Bulk(text) = caller.ok("INFO memory") else { panic!("INFO is text") };
            let text = String::from_utf8_lossy(&text).into_owned();
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the field is there");
            line[1..].trim().parse().expect("the field is a number")
        };
        while field(&mut caller, "lazyfree_pending_objects") > 0 {
            std::thread::yield_now();
        }
        let freed = field(&mut caller, "lazyfreed_objects");
        caller.ok("FLUSHALL SYNC");
        freed
    };
    let causes: [(&str, &[&str]); 4] = [
        ("lazyfree-lazy-user-del", &["DEL big"]),
        ("lazyfree-lazy-server-del", &["SET big small"]),
        ("lazyfree-lazy-expire", &["PEXPIRE big 50", "wait", "EXISTS big"]),
        ("lazyfree-lazy-eviction", &["CONFIG SET maxmemory 1 maxmemory-policy allkeys-lru", "PING"]),
    ];
    for (parameter, steps) in causes {
        for (value, expected) in [("yes", 1), ("no", 0)] {
            let set = format!("CONFIG SET maxmemory 0 {parameter} {value}");
            let steps: Vec<&str> = std::iter::once(set.as_str()).chain(steps.iter().copied()).collect();
            assert_eq!(freed(&steps), expected, "{parameter} {value}");
        }
    }
    assert_eq!(freed(&["CONFIG SET maxmemory 0", "UNLINK big"]), 1);
    // A database counts all its keys.
    let populate = "DEBUG POPULATE 100000";
    assert_eq!(freed(&[populate, "CONFIG SET lazyfree-lazy-user-flush no", "FLUSHALL ASYNC"]), 100_001);
    assert_eq!(freed(&[populate, "FLUSHALL"]), 0);
    assert_eq!(freed(&[populate, "CONFIG SET lazyfree-lazy-user-flush yes", "FLUSHDB"]), 100_001);
    assert_eq!(freed(&[populate, "FLUSHALL SYNC"]), 0);
}
