//! Keys: what concerns watchers, the log and whole databases.

mod still_clock;

use larder::{Connection, Larder};
use larder_resp::Frame;

/// Whether the transaction of a connection that watches `key` fails after `commands`.
fn is_raised(larder: &Larder, key: &str, commands: &[&[&str]]) -> bool {
    let mut watcher = larder.connect();
    watcher.execute(&["WATCH", key]);
    let mut other = larder.connect();
    commands.iter().for_each(|command| assert!(!other.execute(command).is_error(), "{command:?}"));
    watcher.execute(&["MULTI"]);
    watcher.execute(&["PING"]);
    watcher.execute(&["EXEC"]).is_null()
}

#[test]
fn watchers_hear_of_what_happens_to_whole_databases() {
    let (larder, _) = still_clock::open();
    let cases: &[(&str, &[&[&str]], bool)] = &[
        ("there", &[&["FLUSHALL"]], true),
        ("absent", &[&["FLUSHALL"]], false),
        ("there", &[&["FLUSHDB"]], true),
        ("there", &[&["SELECT", "1"], &["FLUSHDB"]], false),
        ("there", &[&["SWAPDB", "0", "1"]], true),
        ("absent", &[&["SWAPDB", "0", "1"]], false),
        ("elsewhere", &[&["SWAPDB", "1", "0"]], true),
        ("there", &[&["SWAPDB", "2", "3"]], false),
        ("there", &[&["RENAME", "there", "else"]], true),
        ("else", &[&["RENAME", "there", "else"]], true),
        ("else", &[&["COPY", "there", "else"]], true),
        ("there", &[&["COPY", "there", "else"]], false),
        ("there", &[&["MOVE", "there", "1"]], true),
        ("there", &[&["TOUCH", "there"]], false),
        ("there", &[&["EXPIRE", "there", "100"]], true),
        ("there", &[&["PERSIST", "there"]], false),
        ("there", &[&["SET", "there", "1", "NX"]], false),
        ("there", &[&["SCAN", "0"], &["RANDOMKEY"], &["KEYS", "*"]], false),
    ];
    for (key, commands, expected) in cases {
        larder.execute(&["FLUSHALL"]);
        larder.set("there", "1").unwrap();
        larder.database(1).unwrap().set("elsewhere", "1").unwrap();
        assert_eq!(is_raised(&larder, key, commands), *expected, "{key} {commands:?}");
    }
}

/// What the log holds after `commands`, the last of them at least.
fn logged(larder: &Larder, connection: &mut Connection, commands: &[&[&str]]) -> Vec<String> {
    let log = larder.engine().read_log();
    commands.iter().for_each(|command| assert!(!connection.execute(command).is_error(), "{command:?}"));
    let records = std::iter::from_fn(|| log.poll());
    let steps = records.flat_map(|record| {
        let steps = record.steps.iter().map(|(db, request)| {
            let words: Vec<_> = request.as_request().iter().map(String::from_utf8_lossy).collect();
            format!("{db} {}", words.join(" "))
        });
        steps.collect::<Vec<_>>()
    });
    steps.collect()
}

#[test]
fn the_log_holds_moments_and_results() {
    let (larder, clock) = still_clock::open();
    let mut connection = larder.connect();
    let at = |ms: u64| still_clock::START_MS + ms;
    let mut check = |command: &[&str], expected: &[String]| {
        assert_eq!(logged(&larder, &mut connection, &[command]), expected, "{command:?}");
    };
    check(&["SET", "a", "1", "EX", "10"], &[format!("0 SET a 1 PXAT {}", at(10_000))]);
    check(&["SET", "a", "1", "NX", "EX", "10"], &[]);
    check(&["SET", "a", "2", "IFEQ", "1", "PX", "9"], &[format!("0 SET a 2 PXAT {}", at(9))]);
    check(&["SET", "a", "1.5", "IFEQ", "2"], &["0 SET a 1.5".into()]);
    check(&["INCRBYFLOAT", "a", "1"], &["0 SET a 2.5 KEEPTTL".into()]);
    check(&["EXPIRE", "a", "7"], &[format!("0 PEXPIREAT a {}", at(7_000))]);
    check(&["EXPIRE", "a", "8", "LT"], &[]);
    check(&["GETEX", "a", "PX", "3"], &[format!("0 PEXPIREAT a {}", at(3))]);
    check(&["GETEX", "a", "PERSIST"], &["0 PERSIST a".into()]);
    check(&["GETEX", "a", "PERSIST"], &[]);
    check(&["GETSET", "a", "x"], &["0 SET a x".into()]);
    check(&["EXPIREAT", "a", "1"], &["0 DEL a".into()]);
    check(&["PSETEX", "a", "20", "x"], &[format!("0 SET a x PXAT {}", at(20))]);
    check(&["DELIFEQ", "a", "y"], &[]);
    check(&["DELIFEQ", "a", "x"], &["0 DEL a".into()]);
    check(&["MSETNX", "a", "1", "b", "2"], &["0 MSETNX a 1 b 2".into()]);
    check(&["MSETNX", "c", "1", "b", "2"], &[]);
    check(&["SELECT", "1"], &[]);
    check(&["SET", "d", "1", "PX", "5"], &[format!("1 SET d 1 PXAT {}", at(5))]);
    clock.pass_ms(10);
    check(&["GET", "d"], &["1 DEL d".into()]);
}

#[test]
fn an_expired_key_met_in_a_transaction_is_logged_as_deleted() {
    let (larder, clock) = still_clock::open();
    let mut connection = larder.connect();
    larder.execute(&["SET", "a", "1", "PX", "5"]);
    clock.pass_ms(10);
    let steps =
        logged(&larder, &mut connection, &[&["MULTI"], &["SCAN", "0"], &["SET", "b", "1"], &["EXEC"]]);
    assert_eq!(steps, ["0 DEL a", "0 SET b 1"]);
}

#[test]
fn a_copy_is_its_own_value() {
    let (larder, _) = still_clock::open();
    let text = |key: &str| larder.get(key).unwrap().unwrap();
    let long = "x".repeat(100_000);
    for value in ["12", "short", &long] {
        larder.set("source", value).unwrap();
        larder.expire("source", std::time::Duration::from_secs(100)).unwrap();
        assert_eq!(larder.execute(&["COPY", "source", "copy", "REPLACE"]), Frame::Integer(1));
        assert_eq!(larder.ttl("copy").unwrap(), larder.ttl("source").unwrap());
        larder.execute(&["APPEND", "copy", "more"]);
        assert_eq!(text("source"), value.as_bytes());
        assert_eq!(text("copy"), format!("{value}more").into_bytes());
    }
    larder.sadd("members", &["a", "b"]).unwrap();
    assert_eq!(larder.execute(&["COPY", "members", "copy"]), Frame::Integer(0));
    assert_eq!(larder.execute(&["COPY", "members", "copy", "REPLACE"]), Frame::Integer(1));
    larder.sadd("copy", &["c"]).unwrap();
    assert_eq!(larder.scard("members").unwrap(), 2);
    assert_eq!(larder.execute(&["COPY", "members", "members", "DB", "1"]), Frame::Integer(1));
    assert_eq!(larder.database(1).unwrap().scard("members").unwrap(), 2);
}

#[test]
fn random_keys_are_drawn_fairly() {
    let (larder, clock) = still_clock::open();
    larder.execute(&["SET", "expired", "", "PX", "1"]);
    clock.pass_ms(2);
    (0..5).for_each(|nth| larder.set(format!("{nth}"), "").unwrap());
    let mut drawn = [0u32; 5];
    for _ in 0..5000 {
        let key = larder.execute(&["RANDOMKEY"]);
        drawn[key.as_str().unwrap().parse::<usize>().unwrap()] += 1;
    }
    assert!(drawn.iter().all(|times| (800..1200).contains(times)), "{drawn:?}");
    larder.flush().unwrap();
    assert!(larder.execute(&["RANDOMKEY"]).is_null());
}

/// The dirty count that SAVE points look at, as a real server counts it.
#[test]
fn changes_are_counted_as_redis_does() {
    let (larder, clock) = still_clock::open();
    let cases: &[(&[&str], u64)] = &[
        (&["SET", "a", "1"], 1),
        (&["MSET", "b", "1", "c", "2"], 2),
        (&["RENAME", "a", "d"], 1),
        (&["MOVE", "d", "1"], 1),
        (&["COPY", "b", "d"], 1),
        (&["DEL", "b", "c", "nothing"], 2),
        (&["SET", "d", "1", "PX", "5"], 1),
        (&["GETDEL", "nothing"], 0),
        (&["FLUSHALL"], 2),
        (&["FLUSHALL"], 0),
        (&["SWAPDB", "0", "1"], 1),
    ];
    let dirty = || larder.engine().stats.sum(|stats| &stats.dirty);
    for (command, expected) in cases {
        let before = dirty();
        assert!(!larder.execute(command).is_error());
        assert_eq!(dirty() - before, *expected, "{command:?}");
    }
    larder.execute(&["SET", "a", "1", "PX", "5"]);
    clock.pass_ms(10);
    let before = dirty();
    larder.get("a").unwrap();
    assert_eq!(dirty(), before, "an expired key is no change");
}

#[test]
fn set_and_delete_if_equal() {
    let (larder, _) = still_clock::open();
    larder.set("a", "1").unwrap();
    larder.set("long", "x".repeat(2000)).unwrap();
    larder.sadd("members", &["1"]).unwrap();
    let wrong_type = Frame::error("WRONGTYPE Operation against a key holding the wrong kind of value");
    let syntax = Frame::error("ERR syntax error");
    let ok = Frame::simple("OK");
    let cases: &[(&[&str], &Frame)] = &[
        (&["SET", "a", "2", "IFEQ", "0"], &Frame::Null),
        (&["SET", "a", "2", "IFEQ", "01"], &Frame::Null),
        (&["SET", "a", "2", "IFEQ", "1"], &ok),
        (&["SET", "a", "3", "GET", "IFEQ", "2"], &Frame::bulk("2")),
        (&["SET", "a", "4", "IFEQ", "2", "GET"], &Frame::bulk("3")),
        (&["GET", "a"], &Frame::bulk("3")),
        (&["SET", "absent", "1", "IFEQ", ""], &Frame::Null),
        (&["SET", "absent", "1", "IFEQ", "", "GET"], &Frame::Null),
        (&["EXISTS", "absent"], &Frame::Integer(0)),
        (&["SET", "members", "1", "IFEQ", "1"], &wrong_type),
        (&["SET", "a", "1", "IFEQ", "3", "NX"], &syntax),
        (&["SET", "a", "1", "XX", "IFEQ", "3"], &syntax),
        (&["SET", "a", "1", "IFEQ"], &syntax),
        (&["SET", "a", "1", "IFEQ", "3", "IFEQ", "3"], &syntax),
        (&["SET", "a", "1", "IFEQ", "3", "EX", "100"], &ok),
        (&["TTL", "a"], &Frame::Integer(100)),
        (&["SET", "a", "2", "IFEQ", "1", "KEEPTTL"], &ok),
        (&["TTL", "a"], &Frame::Integer(100)),
        (&["DELIFEQ", "a", "1"], &Frame::Integer(0)),
        (&["DELIFEQ", "a", "2"], &Frame::Integer(1)),
        (&["DELIFEQ", "a", "2"], &Frame::Integer(0)),
        (&["DELIFEQ", "members", "2"], &wrong_type),
        (&["DELIFEQ", "long", &"x".repeat(2000)], &Frame::Integer(1)),
    ];
    for (command, expected) in cases {
        assert_eq!(larder.execute(command), **expected, "{command:?}");
    }
}

#[test]
fn a_restored_value_expires_and_is_logged_by_its_moment() {
    let (larder, clock) = still_clock::open();
    larder.set("a", "hello").unwrap();
    let Frame::Bulk(payload) = larder.execute(&["DUMP", "a"]) else { panic!("no payload") };
    let log = larder.engine().read_log();
    let restore = |words: [&[u8]; 3], more: &[&[u8]]| {
        larder.execute(&[&[b"RESTORE".as_slice()], &words[..], more].concat())
    };
    assert_eq!(restore([b"b", b"500", &payload], &[b"IDLETIME", b"7"]), Frame::simple("OK"));
    assert_eq!(larder.execute(&["OBJECT", "IDLETIME", "b"]), Frame::Integer(7));
    let moment = (still_clock::START_MS + 500).to_string();
    let record = log.poll().unwrap();
    let logged: Vec<_> = record.steps[0].1.as_request().iter().collect();
    let expected: [&[u8]; 7] = [b"RESTORE", b"b", moment.as_bytes(), &payload, b"IDLETIME", b"7", b"ABSTTL"];
    assert_eq!(logged, expected);
    clock.pass_ms(501);
    assert!(!larder.exists("b").unwrap());
    assert_eq!(restore([b"a", b"1", &payload], &[b"ABSTTL", b"REPLACE"]), Frame::simple("OK"));
    assert!(!larder.exists("a").unwrap());
    let last = std::iter::from_fn(|| log.poll()).last().unwrap();
    assert_eq!(last.steps[0].1.as_request().iter().collect::<Vec<_>>(), [b"DEL", b"a".as_slice()]);
}
