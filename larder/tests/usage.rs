//! Usage lines: the tree they become, and the arity that follows from it.
//!
//! The arities below were taken from `COMMAND INFO` of redis-server 7.0.15; [`arities_agree_with_redis_server`] asks a
//! live one again where it is installed.

use std::process::Command;

use larder::usage::{Kind, Node, Shape, Usage, UsageError};

/// Name, usage line, arity.
const COMMANDS: &[(&str, &str, i64)] = &[
    ("GET", "key", 2),
    (
        "SET",
        "key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]",
        -3,
    ),
    (
        "GETEX",
        "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]",
        -2,
    ),
    ("MGET", "key [key ...]", -2),
    ("MSET", "key value [key value ...]", -3),
    ("SETRANGE", "key offset value", 4),
    ("LCS", "key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]", -3),
    ("EXPIRE", "key seconds [NX|XX|GT|LT]", -3),
    ("COPY", "source destination [DB destination-db] [REPLACE]", -3),
    ("SCAN", "cursor [MATCH pattern] [COUNT count] [TYPE type]", -2),
    (
        "SORT",
        "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA] [STORE destination]",
        -2,
    ),
    ("RANDOMKEY", "", 1),
    ("PING", "[message]", -1),
    ("ECHO", "message", 2),
    ("HELLO", "[protover [AUTH username password] [SETNAME clientname]]", -1),
    ("AUTH", "[username] password", -2),
    ("SELECT", "index", 2),
    ("FLUSHALL", "[ASYNC|SYNC]", -1),
    ("SWAPDB", "index1 index2", 3),
    ("HSET", "key field value [field value ...]", -4),
    ("HRANDFIELD", "key [count [WITHVALUES]]", -2),
    ("HSCAN", "key cursor [MATCH pattern] [COUNT count]", -3),
    ("LINSERT", "key BEFORE|AFTER pivot element", 5),
    ("LMOVE", "source destination LEFT|RIGHT LEFT|RIGHT", 5),
    ("LMPOP", "numkeys key [key ...] LEFT|RIGHT [COUNT count]", -4),
    ("LPOS", "key element [RANK rank] [COUNT num-matches] [MAXLEN len]", -3),
    ("LPUSH", "key element [element ...]", -3),
    ("SINTERCARD", "numkeys key [key ...] [LIMIT limit]", -3),
    ("SMISMEMBER", "key member [member ...]", -3),
    ("SPOP", "key [count]", -2),
    ("SMOVE", "source destination member", 4),
    ("ZADD", "key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]", -4),
    ("ZRANGE", "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]", -4),
    ("ZRANGEBYSCORE", "key min max [WITHSCORES] [LIMIT offset count]", -4),
    (
        "ZUNION",
        "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
        -3,
    ),
    (
        "ZUNIONSTORE",
        "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]",
        -4,
    ),
    ("ZMPOP", "numkeys key [key ...] MIN|MAX [COUNT count]", -4),
    ("SUBSCRIBE", "channel [channel ...]", -2),
    ("UNSUBSCRIBE", "[channel [channel ...]]", -1),
    ("WATCH", "key [key ...]", -2),
    ("EXEC", "", 1),
    ("EVAL", "script numkeys [key [key ...]] [arg [arg ...]]", -3),
    (
        "XADD",
        "key [NOMKSTREAM] [<MAXLEN|MINID> [=|~] threshold [LIMIT count]] *|id field value [field value ...]",
        -5,
    ),
    ("RESTORE", "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]", -4),
    ("CONFIG|GET", "parameter [parameter ...]", -3),
    ("CONFIG|SET", "parameter value [parameter value ...]", -4),
    ("CLIENT|NO-EVICT", "ON|OFF", 3),
    ("CLIENT|REPLY", "ON|OFF|SKIP", 3),
    ("CLIENT|PAUSE", "milliseconds [WRITE|ALL]", -3),
    ("OBJECT|ENCODING", "key", 3),
    ("SLOWLOG|GET", "[count]", -2),
    ("COMMAND|LIST", "[FILTERBY <MODULE string|ACLCAT category|PATTERN pattern>]", -2),
    ("SHUTDOWN", "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]", -1),
];

fn name_words(name: &str) -> usize {
    name.split('|').count()
}

#[test]
fn arity_follows_from_the_line() {
    for (name, line, arity) in COMMANDS {
        assert_eq!(Usage::parse(line).arity(name_words(name)), *arity, "{name} {line}");
    }
}

#[test]
fn every_name_has_a_kind() {
    for (name, line, _) in COMMANDS {
        for value in Usage::parse(line).value_names() {
            assert!(Kind::of(value).is_some(), "{name}: what is {value:?}?");
        }
    }
}

/// Asks a redis-server on a Unix socket of its own; skipped where none is installed.
#[test]
fn arities_agree_with_redis_server() {
    let dir = std::env::temp_dir().join(format!("larder-usage-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a temporary directory");
    let socket = dir.join("redis.sock");
    let server = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--logfile", "/dev/null", "--unixsocket"])
        .arg(&socket)
        .current_dir(&dir)
        .spawn();
    let Ok(mut server) = server else {
        assert!(std::env::var_os("CI").is_none(), "redis-server is not installed");
        return;
    };
    let ask = |args: &[&str]| {
        let output =
            Command::new("redis-cli").arg("-s").arg(&socket).args(args).output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for _ in 0..400 {
        if ask(&["PING"]).trim() == "PONG" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let mut wrong = Vec::new();
    for (name, _, arity) in COMMANDS {
        // The second line of the answer, in plain output, is the arity.
        let answer = ask(&["COMMAND", "INFO", &name.to_ascii_lowercase()]);
        if answer.lines().nth(1).and_then(|n| n.parse::<i64>().ok()) != Some(*arity) {
            wrong.push(format!("{name}: {arity}, redis-server: {:?}", answer.lines().nth(1)));
        }
    }
    let _ = server.kill();
    let _ = server.wait();
    let _ = std::fs::remove_dir_all(&dir);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn value(name: &'static str) -> Node {
    Node { token: None, shape: Shape::Value(name), optional: false, multiple: false, multiple_token: false }
}

fn token(word: &'static str) -> Node {
    Node { token: Some(word), shape: Shape::Token, ..value("") }
}

#[test]
fn a_token_belongs_to_what_follows_it() {
    let usage = Usage::parse("[EX seconds|LIMIT offset count|KEEPTTL]");
    let limit = Node {
        token: Some("LIMIT"),
        shape: Shape::Block(vec![value("offset"), value("count")]),
        ..value("")
    };
    let options = vec![Node { token: Some("EX"), ..value("seconds") }, limit, token("KEEPTTL")];
    assert_eq!(usage.nodes(), [Node { shape: Shape::OneOf(options), optional: true, ..value("") }]);
}

#[test]
fn a_choice_after_a_token_takes_only_the_last_word() {
    let usage = Usage::parse("[AGGREGATE SUM|MIN|MAX]");
    let choice = Shape::OneOf(vec![token("SUM"), token("MIN"), token("MAX")]);
    assert_eq!(
        usage.nodes(),
        [Node { token: Some("AGGREGATE"), shape: choice, optional: true, ..value("") }]
    );
    assert_eq!(usage.nodes()[0].name(), "sum_min_max");
    assert_eq!(usage.nodes()[0].type_word(), "oneof");
}

#[test]
fn a_repetition_marks_what_it_repeats() {
    let pairs = Usage::parse("key score member [score member ...]");
    let block = Shape::Block(vec![value("score"), value("member")]);
    assert_eq!(pairs.nodes(), [value("key"), Node { shape: block, multiple: true, ..value("") }]);

    let weights = Usage::parse("[WEIGHTS weight [weight ...]]");
    let expected = Node { token: Some("WEIGHTS"), optional: true, multiple: true, ..value("weight") };
    assert_eq!(weights.nodes(), [expected]);

    let patterns = Usage::parse("[GET pattern [GET pattern ...]]");
    let expected =
        Node { token: Some("GET"), optional: true, multiple: true, multiple_token: true, ..value("pattern") };
    assert_eq!(patterns.nodes(), [expected]);
}

#[test]
fn a_choice_outside_brackets_joins_single_words() {
    let usage = Usage::parse("key LEFT|RIGHT|id count");
    let choice = Shape::OneOf(vec![token("LEFT"), token("RIGHT"), value("id")]);
    assert_eq!(usage.nodes(), [value("key"), Node { shape: choice, ..value("") }, value("count")]);
}

#[test]
fn malformed_lines_are_refused() {
    for (line, why) in [
        ("[key", UsageError::Unbalanced),
        ("key]", UsageError::Unbalanced),
        ("<key", UsageError::Unbalanced),
        ("[key>", UsageError::Unbalanced),
        ("[]", UsageError::Empty),
        ("[NX|]", UsageError::Empty),
        ("|key", UsageError::Empty),
        ("key ...", UsageError::StrayDots),
        ("[... key]", UsageError::StrayDots),
    ] {
        assert_eq!(Usage::try_parse(line), Err(why), "{line}");
    }
}
