//! The snapshot format against Redis itself: we read what it writes, it reads what we write, and both agree on what
//! the values are.
#![cfg(unix)]

#[path = "persist_support/oracle.rs"]
mod oracle;
mod persist_support;

use std::collections::BTreeSet;

use larder::persist::snapshot::{
    Item, KeyMeta, Node, NodeRef, Origin, Skipped, SnapshotReader, SnapshotWriter, Value, WriteOptions, dump,
    restore,
};
use oracle::{Oracle, check, is_installed};
use persist_support::{intset_members, legacy_keys, listpack_elements, snapshot};

/// A value as Redis shows it to clients: the members of what has no order are sorted.
#[derive(Debug, PartialEq)]
enum Seen {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    Hash(BTreeSet<(Vec<u8>, Vec<u8>)>),
    /// With the scores as bits, so that -0 differs from 0.
    Zset(BTreeSet<(Vec<u8>, u64)>),
}

fn pairs(flat: Vec<Vec<u8>>) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let mut flat = flat.into_iter();
    std::iter::from_fn(move || flat.next().zip(flat.next()))
}

fn scored(flat: Vec<Vec<u8>>) -> Seen {
    let score = |text: Vec<u8>| {
        let text = String::from_utf8(text).expect("a score is text");
        text.parse::<f64>().expect("a score is a number").to_bits()
    };
    Seen::Zset(pairs(flat).map(|(member, text)| (member, score(text))).collect())
}

fn seen_by_us(value: Value) -> Seen {
    match value {
        Value::String(bytes) => Seen::String(bytes),
        Value::List(elements) => Seen::List(elements),
        Value::ListNodes(nodes) => Seen::List(nodes.into_iter().flat_map(node_elements).collect()),
        Value::Set(members) => Seen::Set(members.into_iter().collect()),
        Value::Intset(bytes) => {
            Seen::Set(intset_members(&bytes).iter().map(|member| member.to_string().into_bytes()).collect())
        }
        Value::SetListpack(bytes) => Seen::Set(listpack_elements(&bytes).into_iter().collect()),
        Value::Hash(pairs) => Seen::Hash(pairs.into_iter().collect()),
        Value::HashListpack(bytes) => Seen::Hash(pairs(listpack_elements(&bytes)).collect()),
        Value::Zset(pairs) => {
            Seen::Zset(pairs.into_iter().map(|(member, score)| (member, score.to_bits())).collect())
        }
        Value::ZsetListpack(bytes) => scored(listpack_elements(&bytes)),
    }
}

fn node_elements(node: Node) -> Vec<Vec<u8>> {
    match node {
        Node::Packed(bytes) => listpack_elements(&bytes),
        Node::Plain(bytes) => vec![bytes],
    }
}

fn seen_by_redis(redis: &mut Oracle, key: &[u8]) -> Seen {
    let kind = redis.ask(&[b"TYPE", key]).text();
    match kind.as_str() {
        "string" => Seen::String(redis.ask(&[b"GET", key]).bytes()),
        "list" => Seen::List(redis.ask(&[&b"LRANGE"[..], key, b"0", b"-1"]).strings()),
        "set" => Seen::Set(redis.ask(&[b"SMEMBERS", key]).strings().into_iter().collect()),
        "hash" => Seen::Hash(pairs(redis.ask(&[b"HGETALL", key]).strings()).collect()),
        "zset" => scored(redis.ask(&[&b"ZRANGE"[..], key, b"0", b"-1", b"WITHSCORES"]).strings()),
        other => panic!("{}: type {other}", key.escape_ascii()),
    }
}

fn read(file: &[u8]) -> Vec<Item> {
    let mut reader = SnapshotReader::new(file).expect("Redis has written the header");
    let mut items = Vec::new();
    while let Some(item) = reader.next().expect("Redis has written it") {
        items.push(item);
    }
    assert_eq!(reader.offset(), file.len() as u64);
    items
}

/// Compares every key in `items` with what the server answers, and that there are no others.
fn compare(redis: &mut Oracle, items: &[Item]) {
    let mut counts = [0; 16];
    let mut selected = 0;
    for item in items {
        match item {
            Item::SelectDb(db) => {
                selected = *db as usize;
                redis.say(&format!("SELECT {db}"));
            }
            Item::Key { key, expire_at_ms, value, .. } => {
                counts[selected] += 1;
                let name = key.escape_ascii();
                assert_eq!(seen_by_us(value.clone()), seen_by_redis(redis, key), "{name}");
                assert_eq!(
                    redis.ask(&[b"PEXPIRETIME", &key[..]]).integer(),
                    expire_at_ms.unwrap_or(-1),
                    "{name}"
                );
            }
            Item::Aux { .. } | Item::ResizeDb { .. } | Item::Function(_) | Item::Skipped(_) => {}
        }
    }
    for (db, count) in counts.into_iter().enumerate() {
        redis.say(&format!("SELECT {db}"));
        assert_eq!(redis.say("DBSIZE").integer(), count, "database {db}");
    }
    redis.say("SELECT 0");
}

/// Fills a server with every type in every encoding, and values around the limits between them.
fn fill(redis: &mut Oracle) {
    let noise: Vec<u8> = (0..30_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    for text in
        ["", "0", "-0", "01", "127", "128", "-128", "-129", "32767", "-32769", "2147483647", "2147483648"]
    {
        redis.ask(&["SET", &format!("string:{text}"), text]);
    }
    for len in [19, 20, 21, 63, 64, 263, 264, 265, 9_000, 16_383, 16_384, 200_000] {
        redis.ask(&["SET", &format!("same:{len}"), &"s".repeat(len)]);
        redis.ask(&[b"SET", format!("noise:{len}").as_bytes(), &noise[..len.min(noise.len())]]);
        let words = "the quick brown fox ".repeat(len / 20 + 1);
        redis.ask(&["SET", &format!("words:{len}"), &words[..len]]);
    }
    redis.ask(&[&b"SET"[..], b"key\x00\xff\r\n", b"value\x00\xff\r\n"]);
    for number in 0..2000_i64 {
        let number_text = number.to_string();
        redis.ask(&["RPUSH", "list:many", &number_text, &"x".repeat(number as usize % 90)]);
        redis.ask(&["SADD", "set:table", &format!("member {number}")]);
        redis.ask(&["HSET", "hash:table", &format!("field {number}"), &number_text]);
        redis.ask(&[
            "ZADD",
            "zset:skiplist",
            &format!("{}", number as f64 / 3.0),
            &format!("member {number}"),
        ]);
    }
    // Otherwise only an element of more than 1 GiB becomes a plain node.
    redis.say("DEBUG QUICKLIST-PACKED-THRESHOLD 50000");
    redis.ask(&[&b"RPUSH"[..], b"list:big", b"small", &noise[..20_000], b"", b"-17", &[b'b'; 70_000]]);
    for shift in [0, 1, 6, 7, 12, 13, 15, 16, 23, 24, 31, 32, 62] {
        let (up, down) = ((1_i64 << shift) - 1, -(1_i64 << shift));
        for (kind, limit) in [("16", 15), ("32", 31), ("64", 63)] {
            if shift <= limit {
                redis.say(&format!("SADD set:intset:{kind} {up} {down}"));
            }
        }
        redis.say(&format!("HSET hash:listpack f{shift} {up} {down} text"));
        redis.say(&format!("RPUSH list:integers {up} {down}"));
        redis.say(&format!("ZADD zset:listpack {up} up{shift} {down}.5 down{shift}"));
    }
    redis.say(
        "ZADD zset:skiplist inf infinite -inf -infinite 1e-300 tiny -0 zero 1.7976931348623157e308 huge",
    );
    redis.say("HSET hash:long field xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    redis.ask(&["HSET", "hash:listpack", "", ""]);
}

fn fill_other_databases(redis: &mut Oracle) {
    redis.say("SELECT 3");
    redis.say("SET expires value PXAT 4102444800123");
    redis.say("HSET hash field value");
    redis.say("PEXPIREAT hash 4102444800000");
    redis.say("SELECT 15");
    redis.say("SADD last member");
    redis.say("SELECT 0");
    redis.ask(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=lib\nredis.register_function('one', function() return 1 end)",
    ]);
}

fn filled(options: &[&str]) -> Oracle {
    let mut redis = Oracle::start(None, options);
    fill(&mut redis);
    fill_other_databases(&mut redis);
    redis
}

fn rewrite(items: &[Item], options: WriteOptions) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(Vec::new(), options).expect("memory does not fail");
    let origin = Origin {
        redis_version: "7.0.15",
        created_at_s: 1_700_000_000,
        used_memory: 1 << 20,
        aof_base: false,
    };
    writer.origin(origin).expect("memory does not fail");
    for item in items {
        let done = match item {
            Item::Aux { .. } => Ok(()),
            Item::SelectDb(db) => writer.select_db(*db),
            Item::ResizeDb { keys, expires } => writer.resize_db(*keys, *expires),
            Item::Function(code) => writer.function(code),
            Item::Skipped(foreign) => panic!("{foreign:?} was skipped unasked"),
            Item::Key { key, expire_at_ms, idle, freq, value } => {
                let meta = KeyMeta { expire_at_ms: *expire_at_ms, idle: *idle, freq: *freq };
                writer.key(key, meta).value(value)
            }
        };
        done.expect("Redis 7.0 writes nothing that we cannot");
    }
    writer.finish().expect("memory does not fail")
}

fn encodings(redis: &mut Oracle) -> Vec<(Vec<u8>, String)> {
    let mut keys = redis.say("KEYS *").strings();
    keys.sort();
    keys.into_iter()
        .map(|key| (key.clone(), redis.ask(&[&b"OBJECT"[..], b"ENCODING", &key]).text()))
        .collect()
}

#[test]
fn what_redis_writes_we_read() {
    if !is_installed() {
        return;
    }
    for options in
        [&[][..], &["--rdbcompression", "no"], &["--rdbchecksum", "no"], &["--list-max-listpack-size", "3"]]
    {
        let mut redis = filled(options);
        let file = redis.save();
        let items = read(&file);
        compare(&mut redis, &items);
        let aux = |wanted: &[u8]| {
            items.iter().find_map(|item| match item {
                Item::Aux { name, value } if name == wanted => Some(value.clone()),
                _ => None,
            })
        };
        assert_eq!(aux(b"redis-bits").as_deref(), Some(&b"64"[..]));
        assert_eq!(aux(b"aof-base").as_deref(), Some(&b"0"[..]));
        assert!(items.contains(&Item::ResizeDb { keys: 2, expires: 2 }));
        assert!(
            items
                .iter()
                .any(|item| matches!(item, Item::Function(code) if code.starts_with(b"#!lua name=lib")))
        );
        // The comparison is worth something only if every form came up.
        let forms: BTreeSet<&str> = items.iter().filter_map(form).collect();
        let expected = ["hash", "hash listpack", "intset", "list", "set", "string", "zset", "zset listpack"];
        assert_eq!(forms, expected.into());
        assert!(items.iter().any(has_plain_node), "no list element was large enough");
    }
}

fn form(item: &Item) -> Option<&'static str> {
    let Item::Key { value, .. } = item else { return None };
    Some(match value {
        Value::String(_) => "string",
        Value::List(_) => "old list",
        Value::ListNodes(_) => "list",
        Value::Set(_) => "set",
        Value::Intset(_) => "intset",
        Value::SetListpack(_) => "set listpack",
        Value::Hash(_) => "hash",
        Value::HashListpack(_) => "hash listpack",
        Value::Zset(_) => "zset",
        Value::ZsetListpack(_) => "zset listpack",
    })
}

fn has_plain_node(item: &Item) -> bool {
    matches!(item, Item::Key { value: Value::ListNodes(nodes), .. }
        if nodes.iter().any(|node| matches!(node, Node::Plain(_))))
}

#[test]
fn what_we_write_redis_reads() {
    if !is_installed() {
        return;
    }
    let mut original = filled(&[]);
    let items = read(&original.save());
    for (compress, checksum) in [(true, true), (false, true), (true, false)] {
        let file = rewrite(&items, WriteOptions { compress, checksum, ..WriteOptions::default() });
        check(&file);
        let mut redis = Oracle::start(Some(&file), &[]);
        assert_eq!(redis.say("DEBUG DIGEST"), original.say("DEBUG DIGEST"));
        assert_eq!(encodings(&mut redis), encodings(&mut original));
        assert_eq!(redis.say("FCALL one 0").integer(), 1);
        compare(&mut redis, &items);
    }
}

#[test]
fn elements_given_one_by_one_are_read_by_redis() {
    if !is_installed() {
        return;
    }
    let mut writer = SnapshotWriter::new(Vec::new(), WriteOptions::default()).expect("memory does not fail");
    let meta = KeyMeta::default();
    let members: Vec<String> = (0..100_000).map(|number| format!("member {number}")).collect();
    let mut all = || {
        writer.select_db(0)?;
        writer.key(b"list", meta).list(100_000, members.iter().map(|m| NodeRef::Plain(m.as_bytes())))?;
        writer.key(b"set", meta).set(100_000, &members)?;
        writer.key(b"hash", meta).hash(100_000, members.iter().map(|m| (m, m)))?;
        // A database may come up again, and a value may span many buffers.
        writer.select_db(1)?;
        writer.key(b"string", meta).string(&members.concat().into_bytes())?;
        writer.select_db(0)?;
        writer
            .key(b"zset", meta)
            .zset(100_000, members.iter().enumerate().rev().map(|(i, m)| (m, i as f64 / 7.0)))
    };
    all().expect("memory does not fail");
    let file = writer.finish().expect("memory does not fail");
    check(&file);
    let mut redis = Oracle::start(Some(&file), &[]);
    compare(&mut redis, &read(&file));
}

#[test]
fn use_counters_and_idle_times_go_both_ways() {
    if !is_installed() {
        return;
    }
    let key = |idle, freq| {
        let value = Value::String(b"value".to_vec());
        [Item::SelectDb(0), Item::Key { key: b"key".to_vec(), expire_at_ms: None, idle, freq, value }]
    };
    let options = WriteOptions::default();
    let file = rewrite(&key(None, Some(77)), options);
    let mut redis = Oracle::start(Some(&file), &["--maxmemory-policy", "allkeys-lfu"]);
    assert_eq!(redis.say("OBJECT FREQ key").integer(), 77);
    assert!(read(&redis.save()).contains(&key(None, Some(77))[1]));
    let file = rewrite(&key(Some(100_000), None), options);
    let mut redis = Oracle::start(Some(&file), &["--maxmemory-policy", "allkeys-lru"]);
    assert!(redis.say("OBJECT IDLETIME key").integer() >= 100_000);
    let idle = |item: &Item| if let Item::Key { idle, .. } = item { *idle } else { None };
    assert!(read(&redis.save()).iter().any(|item| idle(item) >= Some(100_000)));
}

#[test]
fn old_forms_mean_what_redis_takes_them_for() {
    if !is_installed() {
        return;
    }
    let file = snapshot(&[vec![vec![254, 0]], legacy_keys()].concat());
    let mut redis = Oracle::start(Some(&file), &[]);
    compare(&mut redis, &read(&file));
}

#[test]
fn dumps_are_exchanged_with_redis() {
    if !is_installed() {
        return;
    }
    let mut redis = filled(&[]);
    for key in redis.say("KEYS *").strings() {
        let payload = redis.ask(&[b"DUMP", &key[..]]).bytes();
        let value = restore(&payload).expect("Redis has dumped it");
        for compress in [true, false] {
            let ours = dump(compress, |writer| writer.value(&value))
                .expect("Redis 7.0 dumps nothing that we cannot");
            redis.ask(&[&b"RESTORE"[..], b"copy", b"0", &ours, b"REPLACE"]);
            assert_eq!(
                seen_by_redis(&mut redis, b"copy"),
                seen_by_us(value.clone()),
                "{}",
                key.escape_ascii()
            );
        }
    }
}

#[test]
fn streams_of_redis_are_refused_by_name() {
    if !is_installed() {
        return;
    }
    let mut redis = Oracle::start(None, &[]);
    redis.say("XADD events * field value");
    let file = redis.save();
    let mut reader = SnapshotReader::new(&file[..]).expect("Redis has written the header");
    let error = loop {
        match reader.next() {
            Ok(item) => assert!(item.is_some(), "the stream was overlooked"),
            Err(error) => break error,
        }
    };
    assert_eq!(file[error.offset as usize], 19, "the offset is that of the type");
    let expected = format!("unsupported: stream at key 'events' (offset {})", error.offset);
    assert_eq!(error.to_string(), expected);
}

#[test]
fn streams_of_redis_are_passed_over_on_request() {
    if !is_installed() {
        return;
    }
    let mut redis = Oracle::start(None, &[]);
    for line in [
        "XADD events 1-1 field value",
        "XADD events 1-2 field value other value",
        "XGROUP CREATE events first 0",
        "XGROUP CREATE events second 1-1",
        "XREADGROUP GROUP first ada COUNT 1 STREAMS events >",
        "XREADGROUP GROUP first grace COUNT 1 STREAMS events >",
        "XADD empty 5-5 a b",
        "XDEL empty 5-5",
        "PEXPIREAT events 4102444800000",
        "SET plain value",
    ] {
        redis.say(line);
    }
    let file = redis.save();
    let mut reader = SnapshotReader::new(&file[..]).expect("Redis has written the header").skip_foreign(true);
    let (mut skipped, mut keys) = (Skipped::default(), Vec::new());
    while let Some(item) = reader.next().expect("everything is passed over or read") {
        match item {
            Item::Skipped(foreign) => skipped.note(foreign),
            Item::Key { key, expire_at_ms, .. } => keys.push((key, expire_at_ms)),
            _ => {}
        }
    }
    assert_eq!(skipped.to_string(), "stream: 2");
    assert_eq!(keys, [(b"plain".to_vec(), None)]);
}
