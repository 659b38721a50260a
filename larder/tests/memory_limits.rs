//! What a limit of memory does to commands, against a real server, byte for byte: who is refused, in what words, and
//! how use is counted under the policies.

mod oracle;

use larder_resp::Frame;
use oracle::{Answers, Ours, Real, elements, text};

/// One command a line. A limit of a single byte is exceeded by an empty server already.
const QUESTIONS: &str = r#"
FLUSHALL
SET key value
CONFIG SET maxmemory 1
GET key
SET key other
APPEND key ""
SETRANGE key 0 ""
GETEX key EX 100
INCR key
RENAME key moved
COPY moved copy
EXPIRE moved 100
PERSIST moved
RESTORE key 0 x
LPUSH list 1
LPOP list
RPOPLPUSH list other
SADD set 1
SPOP set
SINTERSTORE set a b
ZADD zset 1 a
ZREM zset a
ZRANGESTORE zset a 0 -1
HSET hash a b
HDEL hash a
OBJECT ENCODING moved
PUBLISH channel message
SWAPDB 0 1
SWAPDB 0 1
MULTI
GET key
SET key value
EXEC
MULTI
PING
EXEC
MULTI
DISCARD
WATCH key
UNWATCH
DEL moved
FLUSHALL
CONFIG SET maxmemory 0
MULTI
SET key value
GET key
CONFIG SET maxmemory 0
EXEC
CONFIG SET maxmemory-policy allkeys-lru
SET key value
OBJECT FREQ key
OBJECT FREQ nokey
OBJECT IDLETIME key
OBJECT IDLETIME nokey
CONFIG SET maxmemory-policy allkeys-lfu
DEL key
SET key value
OBJECT FREQ key
GET key
OBJECT FREQ key
SET key value KEEPTTL
OBJECT IDLETIME key
OBJECT IDLETIME nokey
LPUSH list a
OBJECT FREQ list
LPUSH list a
OBJECT FREQ list
CONFIG SET maxmemory-policy volatile-lfu
OBJECT FREQ list
CONFIG SET maxmemory-policy volatile-ttl
OBJECT FREQ list
CONFIG SET maxmemory-policy noeviction
CONFIG SET maxmemory-samples 0
CONFIG SET lfu-log-factor -1
CONFIG SET lfu-log-factor x
CONFIG SET lfu-decay-time -1
CONFIG SET maxmemory-eviction-tenacity 101
CONFIG SET active-expire-effort 0
CONFIG SET active-expire-effort 11
CONFIG SET lazyfree-lazy-expire maybe
CONFIG SET maxmemory-clients 5%
CONFIG GET maxmemory-clients
CONFIG SET maxmemory-clients 101%
CONFIG SET maxmemory-clients -1
CONFIG SET maxmemory-clients abc
CONFIG SET maxmemory-clients 1gb%
CONFIG SET maxmemory-clients 0%
CONFIG GET maxmemory-clients
CONFIG SET maxmemory-clients 10mb
CONFIG GET maxmemory-clients
CONFIG SET maxmemory-clients 0
CONFIG SET maxmemory 1x
CONFIG GET lfu-log-factor
CONFIG GET lfu-decay-time
CONFIG GET maxmemory-eviction-tenacity
CONFIG GET active-expire-effort
FLUSHALL SYNC
FLUSHALL ASYNC
FLUSHALL x
"#;

/// The words of a line; those in quotes may be empty.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().map(|word| word.trim_matches('"')).collect()
}

#[test]
fn commands_are_refused_and_uses_counted_as_redis_does() {
    let Some(mut real) = Real::start() else { return };
    let mut ours = Ours::fresh();
    let mut ticker = ours.engine.lane(false);
    let mut differences = Vec::new();
    for line in QUESTIONS.lines().filter(|line| !line.is_empty()) {
        // What shards have not reported yet is known after a tick.
        ours.engine.tick(&mut ticker);
        let command = words(line);
        let (theirs, ours) = (real.raw(&command), ours.raw(&command));
        if ours != theirs {
            differences.push(format!("{line}: {} and not {}", ours.escape_ascii(), theirs.escape_ascii()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_percentage_is_one_of_the_memory_there_is() {
    let mut ours = Ours::fresh();
    let bytes = |ours: &mut Ours, share: &str| {
        assert_eq!(ours.ask(&["CONFIG", "SET", "maxmemory", share]), Frame::simple("OK"));
        let reply = ours.ask(&["CONFIG", "GET", "maxmemory"]);
        text(&elements(&reply)[1]).parse::<u64>().expect("CONFIG GET answers bytes")
    };
    let (half, whole) = (bytes(&mut ours, "50%"), bytes(&mut ours, "100%"));
    assert!(whole > 0 && half == whole / 2, "{half} of {whole}");
    for refused in ["101%", "-1%", "%", "5%%"] {
        assert!(matches!(ours.ask(&["CONFIG", "SET", "maxmemory", refused]), Frame::Error(_)), "{refused}");
    }
    assert_eq!(bytes(&mut ours, "0%"), 0);
}

/// The turn of LRFU moves with what is evicted; under it a scan takes the place of what was used once only.
#[test]
fn a_scan_does_not_push_out_what_is_used() {
    let mut ours = Ours::fresh();
    ours.ask(&["CONFIG", "SET", "maxmemory", "2mb", "maxmemory-policy", "allkeys-lrfu"]);
    let value = "v".repeat(500);
    let kept = |ours: &mut Ours| {
        (0..500).filter(|key| ours.ask(&["EXISTS", &format!("used:{key}")]) == Frame::Integer(1)).count()
    };
    for round in 0..60 {
        for key in 0..500 {
            let key = format!("used:{key}");
            if ours.ask(&["GET", &key]) == Frame::Null {
                ours.ask(&["SET", &key, &value]);
            }
        }
        for key in 0..1000 {
            ours.ask(&["SET", &format!("scan:{round}:{key}"), &value]);
        }
    }
    assert!(kept(&mut ours) > 490, "{} of 500 are kept", kept(&mut ours));
    let Frame::Integer(frequency) = ours.ask(&["OBJECT", "FREQ", "used:1"]) else { panic!("no frequency") };
    assert!(frequency > 1, "{frequency}");
    // A policy that knows nothing of use keeps them not.
    ours.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    for key in 0..10_000 {
        ours.ask(&["SET", &format!("more:{key}"), &value]);
    }
    assert!(kept(&mut ours) < 400);
}
