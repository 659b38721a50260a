//! The differential runner, shown on two real redis-servers: equal ones show no difference, and unequal ones do.

use testkit::compare::{Plan, compare, compare_script};
use testkit::docs;
use testkit::grammar::{Declaration, Family, Grammar};
use testkit::{Options, Rng, Server};

fn declarations() -> Vec<Declaration> {
    let rows: &[(Family, &str, &str)] = &[
        (
            Family::String,
            "SET",
            "key value [NX|XX] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|KEEPTTL]",
        ),
        (Family::String, "GET", "key"),
        (Family::String, "INCRBY", "key increment"),
        (Family::String, "INCRBYFLOAT", "key increment"),
        (Family::String, "SETRANGE", "key offset value"),
        (Family::String, "MSET", "key value [key value ...]"),
        (Family::String, "TTL", "key"),
        (Family::Hash, "HSET", "key field value [field value ...]"),
        (Family::Hash, "HGETALL", "key"),
        (Family::Hash, "HRANDFIELD", "key [count [WITHVALUES]]"),
        (Family::Hash, "HSCAN", "key cursor [MATCH pattern] [COUNT count]"),
        (Family::List, "RPUSH", "key element [element ...]"),
        (Family::List, "LRANGE", "key start stop"),
        (Family::List, "LPOS", "key element [RANK rank] [COUNT num-matches] [MAXLEN len]"),
        (Family::Set, "SADD", "key member [member ...]"),
        (Family::Set, "SPOP", "key [count]"),
        (Family::Set, "SRANDMEMBER", "key [count]"),
        (Family::Set, "SINTERCARD", "numkeys key [key ...] [LIMIT limit]"),
        (Family::Set, "SUNIONSTORE", "destination key [key ...]"),
        (Family::SortedSet, "ZADD", "key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]"),
        (
            Family::SortedSet,
            "ZRANGE",
            "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        ),
        (
            Family::SortedSet,
            "ZUNIONSTORE",
            "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]",
        ),
        (Family::Generic, "RENAME", "key newkey"),
        (Family::Generic, "RANDOMKEY", ""),
        (Family::Generic, "EXPIRE", "key seconds [NX|XX|GT|LT]"),
        (Family::Generic, "SCAN", "cursor [MATCH pattern] [COUNT count] [TYPE type]"),
        (
            Family::Generic,
            "SORT",
            "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA]",
        ),
    ];
    rows.iter().map(|(family, name, usage)| Declaration::new(*family, name, usage)).collect()
}

#[test]
fn two_equal_servers_agree() {
    let (Some(left), Some(right)) = (Server::oracle_or_skip(), Server::oracle_or_skip()) else { return };
    let grammar = Grammar::new(declarations());
    let report = compare(&left, &right, &Plan::new(&grammar, 1, 6_000))
        .unwrap_or_else(|difference| panic!("{difference}"));
    println!("{report:?}");
    assert!(report.commands >= 12_000);
    assert_eq!(report.unsteady, 0);
    assert!(report.errors * 2 < report.commands, "most commands must mean something: {report:?}");
}

/// The policies are right when a server agrees with itself, on every command and option that it documents.
#[test]
fn every_documented_command_agrees_with_itself() {
    let (Some(left), Some(right)) = (Server::oracle_or_skip(), Server::oracle_or_skip()) else { return };
    for group in ["string", "list", "hash", "set", "sorted-set"] {
        let found = docs::declarations(&mut left.connect(), &[group, "generic"], docs::is_comparable);
        assert!(found.len() > 20);
        let own = |d: &Declaration| d.family != Family::Generic;
        let weighted = found.into_iter().map(|d| if own(&d) { d.weight(8) } else { d }).collect();
        let grammar = Grammar::new(weighted);
        let plan = Plan::new(&grammar, 11, 2_000);
        let report =
            compare(&left, &right, &plan).unwrap_or_else(|difference| panic!("{group}: {difference}"));
        assert_eq!(report.unsteady, 0, "{group}");
        println!("{group}: {report:?}");
    }
}

#[test]
fn another_encoding_is_found_and_cut_down() {
    let Some(left) = Server::oracle_or_skip() else { return };
    let right = Server::start(Options::redis().args(["--set-max-intset-entries", "2"]));
    let grammar = Grammar::new(vec![
        Declaration::new(Family::Set, "SADD", "key member [member ...]"),
        Declaration::new(Family::Set, "SREM", "key member [member ...]"),
        Declaration::new(Family::Set, "SCARD", "key"),
    ]);
    let difference =
        compare(&left, &right, &Plan::new(&grammar, 1, 4_000)).expect_err("the encodings differ");
    assert!(difference.script.len() <= 4, "{difference}");
    assert!(difference.mismatch.oracle.contains("intset"), "{difference}");
    assert!(difference.mismatch.ours.contains("hashtable"), "{difference}");
}

#[test]
fn another_error_text_is_found() {
    let Some(left) = Server::oracle_or_skip() else { return };
    let right = Server::start(Options::redis().args(["--proto-max-bulk-len", "1048576"]));
    let script = "SET key value\n SETRANGE key 2000000 x";
    let difference = compare_script(&left, &right, script).expect_err("the limits differ");
    assert_eq!(difference.mismatch.at, 1);
    compare_script(&left, &right, "SADD set a b c\n SMEMBERS set\n SPOP set 2\n SCAN 0")
        .expect("no difference");
}

#[test]
fn commands_follow_from_the_seed() {
    let grammar = Grammar::new(declarations());
    let make = |seed| {
        let mut rng = Rng::new(seed);
        (0..100).map(|_| grammar.command(&mut rng)).collect::<Vec<_>>()
    };
    assert_eq!(make(7), make(7));
    assert_ne!(make(7), make(8));
}
