//! What a server holds, key by key, for comparing two of them; and data of every kind to fill one with.

use crate::client::{Client, encode};
use crate::rng::Rng;
use larder_resp::Frame;
use std::collections::BTreeMap;

/// Databases of a server.
const DATABASES: usize = 16;
/// Requests sent at once.
const BATCH: usize = 2000;
/// How long a server may take for what is huge.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// A key: type, encoding, expiry, value.
pub type Content = (String, String, i64, Vec<Vec<u8>>);

/// Keys asked for at once.
const KEYS: usize = 500;

/// Everything a server holds, by database and key.
///
/// # Panics
/// When a reply is not what the command gives.
pub fn contents(client: &mut Client) -> BTreeMap<(usize, Vec<u8>), Content> {
    let mut all = BTreeMap::new();
    for db in 0..DATABASES {
        client.cmd(&["SELECT", &db.to_string()]);
        let keys = client.cmd(&["KEYS", "*"]).into_elements().expect("KEYS gives keys");
        let keys: Vec<&[u8]> = keys.iter().filter_map(Frame::as_bytes).collect();
        for some in keys.chunks(KEYS) {
            let named = some.iter().map(|key| (db, key.to_vec()));
            all.extend(named.zip(some_contents(client, some)));
        }
    }
    client.cmd(&["SELECT", "0"]);
    all
}

/// The contents of some keys.
fn some_contents(client: &mut Client, keys: &[&[u8]]) -> Vec<Content> {
    let text = |frame: &Frame| frame.as_str().unwrap_or_default().to_owned();
    let types: Vec<Vec<&[u8]>> = keys.iter().map(|key| vec![b"TYPE".as_slice(), key]).collect();
    let types: Vec<String> = client.pipeline(&types).iter().map(text).collect();
    let questions = keys.iter().zip(&types).flat_map(|(key, kind)| {
        let value: Vec<&[u8]> = match kind.as_str() {
            "string" => vec![b"GET", key],
            "list" => vec![b"LRANGE", key, b"0", b"-1"],
            "set" => vec![b"SMEMBERS", key],
            "hash" => vec![b"HGETALL", key],
            "zset" => vec![b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
            other => panic!("{} is of type {other}", key.escape_ascii()),
        };
        [vec![b"OBJECT".as_slice(), b"ENCODING", key], vec![b"PEXPIRETIME".as_slice(), key], value]
    });
    let replies = client.pipeline(&questions.collect::<Vec<_>>());
    let each = replies.chunks_exact(3).zip(types);
    each.map(|(replies, kind)| {
        // Which of the two a short string has depends on how it came about, which a snapshot does not keep.
        let encoding = text(&replies[0]).replace("embstr", "raw");
        let value = sorted(&kind, &replies[2]);
        (kind, encoding, replies[1].as_integer().unwrap_or(0), value)
    })
    .collect()
}

/// The parts of a value, in an order of their own where they have none.
fn sorted(kind: &str, value: &Frame) -> Vec<Vec<u8>> {
    let bytes = |frame: &Frame| frame.as_bytes().unwrap_or_default().to_vec();
    let mut parts: Vec<Vec<u8>> = match value {
        Frame::Array(items) | Frame::Set(items) => items.iter().map(bytes).collect(),
        other => vec![bytes(other)],
    };
    match kind {
        "set" => parts.sort(),
        "hash" => {
            let mut pairs: Vec<_> = parts.chunks(2).map(<[_]>::to_vec).collect();
            pairs.sort();
            parts = pairs.concat();
        }
        _ => {}
    }
    parts
}

/// The first differences between two contents, in words; none if they are equal.
#[must_use]
pub fn differences(
    one: &BTreeMap<(usize, Vec<u8>), Content>,
    other: &BTreeMap<(usize, Vec<u8>), Content>,
) -> Vec<String> {
    let name = |(db, key): &(usize, Vec<u8>)| format!("{} in database {db}", key.escape_ascii());
    let mut found = Vec::new();
    for (key, content) in one {
        match other.get(key) {
            None => found.push(format!("{} is missing", name(key))),
            Some(other) if other != content => {
                let show = |(kind, encoding, expiry, value): &Content| {
                    format!("{kind}, {encoding}, {expiry}, {} values", value.len())
                };
                found.push(format!("{}: {} and {}", name(key), show(content), show(other)));
            }
            Some(_) => {}
        }
    }
    found.extend(
        other.keys().filter(|key| !one.contains_key(*key)).map(|key| format!("{} is new", name(key))),
    );
    found.truncate(10);
    found
}

/// How much to fill in.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// Bytes of the huge string.
    pub string: usize,
    /// Fields of the huge hash, and members of the huge sorted set.
    pub elements: usize,
}

/// Fills a server with every type in every encoding, expiries, sixteen databases, empty and huge values. Different seeds
/// give different values under the same keys, so that filling twice changes what is there.
///
/// # Panics
/// When a command is refused.
pub fn fill(client: &mut Client, amount: Amount, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut batch: Vec<Vec<Vec<u8>>> = Vec::new();
    let words = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    for db in 0..DATABASES {
        batch.push(words(&format!("SELECT {db}")));
        for nth in 0..6 {
            let number = rng.between(-1_000_000_000_000, 1_000_000_000_000);
            let long = "v".repeat(45 + rng.below(3000));
            for line in [
                format!("SET int:{nth} {number}"),
                format!("SET embstr:{nth} text{number}"),
                format!("SET raw:{nth} {long}"),
                format!("APPEND appended:{nth} {number}"),
                format!("SETRANGE gap:{nth} {} x", rng.below(100)),
                format!("RPUSH list:{nth} {number} a {long}"),
                format!("LPOP list:{nth}"),
                format!("SADD ints:{nth} {number} 1 2 -3"),
                format!("SADD words:{nth} {number} one two"),
                format!("HSET hash:{nth} f {number} g h"),
                format!("HSET long-hash:{nth} f {long}"),
                format!("HINCRBYFLOAT hash:{nth} sum 0.25"),
                format!("ZADD zset:{nth} {number} m 1.5 n -inf o inf p"),
                format!("ZADD long-zset:{nth} 3.25 {long}"),
                format!("EXPIREAT hash:{nth} 4102444800"),
                format!("PEXPIREAT int:{nth} {}", 4_102_444_800_000_i64 + number.abs()),
            ] {
                batch.push(words(&line));
            }
        }
    }
    batch.push(words("SELECT 0"));
    batch.push(vec![b"SET".to_vec(), b"empty".to_vec(), Vec::new()]);
    batch.push(vec![b"HSET".to_vec(), b"empties".to_vec(), Vec::new(), Vec::new()]);
    batch.push(vec![b"RPUSH".to_vec(), Vec::new(), Vec::new(), b"\0\r\n\xff".to_vec()]);
    let huge: Vec<u8> =
        std::iter::repeat_with(|| rng.bits().to_le_bytes()).flatten().take(amount.string).collect();
    batch.push(vec![b"SET".to_vec(), b"huge".to_vec(), huge]);
    for first in (0..amount.elements).step_by(100) {
        let elements = first..(first + 100).min(amount.elements);
        let mut lines = ["HSET huge-hash", "ZADD huge-zset", "RPUSH huge-list", "SADD huge-set"].map(words);
        for nth in elements {
            let value = rng.below(1_000_000).to_string().into_bytes();
            let element = format!("element:{nth}").into_bytes();
            lines[0].extend([element.clone(), value.clone()]);
            lines[1].extend([value.clone(), element.clone()]);
            lines[2].push(value);
            lines[3].push(element);
        }
        batch.extend(lines);
    }
    for some in batch.chunks(BATCH) {
        let bytes: Vec<u8> = some.iter().flat_map(|line| encode(line)).collect();
        client.send_raw(&bytes);
        for line in some {
            let reply = client.read();
            assert!(!matches!(reply, Frame::Error(_)), "{}: {reply:?}", crate::client::show_command(line));
        }
    }
}

/// Waits until no rewrite of the append-only file and no save is under way.
///
/// # Panics
/// When that takes longer than five minutes.
pub fn wait_for_rewrite(client: &mut Client) {
    for _ in 0..30_000 {
        let info = client.cmd(&["INFO", "persistence"]);
        let text = info.as_str().unwrap_or_default();
        if ["aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0", "rdb_bgsave_in_progress:0"]
            .iter()
            .all(|line| text.contains(line))
        {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("a rewrite lasts longer than five minutes");
}

/// In which files a server hands its data over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// A snapshot.
    Snapshot,
    /// An append-only file whose base is a snapshot, or commands.
    AppendOnly {
        /// Whether it is a snapshot.
        has_preamble: bool,
    },
}

/// Fills a server made by `from`, with a rewrite of the append-only file on the way if there is to be one, stops it, and
/// starts a server made by `to` on the same directory. Returns what is different there.
///
/// # Panics
/// When a server does not do what it is told.
#[must_use]
pub fn hand_over(from: crate::Options, to: crate::Options, amount: Amount, files: Files) -> Vec<String> {
    let arguments: &[&str] = match files {
        Files::Snapshot => &[],
        Files::AppendOnly { has_preamble: true } => &["--appendonly", "yes"],
        Files::AppendOnly { .. } => &["--appendonly", "yes", "--aof-use-rdb-preamble", "no"],
    };
    let arguments = arguments.iter().copied();
    let mut from =
        crate::Server::start(from.args(arguments.clone()).args(["--auto-aof-rewrite-percentage", "0"]));
    let mut client = from.connect();
    client.set_timeout(PATIENCE);
    fill(&mut client, amount, 1);
    if files == Files::Snapshot {
        client.cmd(&["BGSAVE"]);
        wait_for_rewrite(&mut client);
    } else {
        client.cmd(&["BGREWRITEAOF"]);
        wait_for_rewrite(&mut client);
        fill(&mut client, Amount { string: 1000, elements: amount.elements.min(2000) }, 2);
    }
    let before = contents(&mut client);
    assert!(from.stop_gracefully().success(), "it stops in order");
    let dir = from.dir().display().to_string();
    let after = crate::Server::start(to.args(["--dir", &dir]).args(arguments));
    let mut client = after.connect();
    client.set_timeout(PATIENCE);
    differences(&before, &contents(&mut client))
}
