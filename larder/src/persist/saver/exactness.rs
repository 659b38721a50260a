//! What is saved in the background is what was there at the cut, whatever happens meanwhile.

use super::{SaveJob, Saved};
use crate::persist::disk::{Disk, DiskFile};
use crate::persist::simulated::SimulatedDisk;
use crate::persist::snapshot::{Item, Node, SnapshotReader, Value};
use crate::{Engine, Larder, Options};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex};

/// A disk on which every write waits until the test lets it go on.
struct SlowDisk {
    disk: SimulatedDisk,
    permits: Arc<Mutex<Receiver<()>>>,
}

struct SlowFile {
    file: Box<dyn DiskFile>,
    permits: Arc<Mutex<Receiver<()>>>,
}

impl Write for SlowFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // When the test gives no more permits everything may pass.
        let _all_may_pass = self.permits.lock().expect("nobody panics with it").recv();
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DiskFile for SlowFile {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Disk for SlowDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        self.disk.open(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SlowFile { file: self.disk.create(path)?, permits: Arc::clone(&self.permits) }))
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.append(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.disk.truncate(path, len)
    }
    fn len(&self, path: &Path) -> io::Result<u64> {
        self.disk.len(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}

/// A key as a snapshot has it: database, name, expiry, value in an order of its own.
type Row = (u64, Vec<u8>, Option<i64>, Vec<Vec<u8>>);

/// Everything in a snapshot, sorted.
fn rows(file: &[u8]) -> Vec<Row> {
    let mut reader = SnapshotReader::new(file).expect("it begins like a snapshot");
    let (mut rows, mut db) = (Vec::new(), 0);
    while let Some(item) = reader.next().expect("the snapshot is whole") {
        match item {
            Item::SelectDb(number) => db = number,
            Item::Key { key, expire_at_ms, value, .. } => {
                rows.push((db, key, expire_at_ms, parts(value)));
            }
            _ => {}
        }
    }
    rows.sort();
    rows
}

fn parts(value: Value) -> Vec<Vec<u8>> {
    let mut parts = match value {
        Value::String(bytes)
        | Value::Intset(bytes)
        | Value::SetListpack(bytes)
        | Value::HashListpack(bytes)
        | Value::ZsetListpack(bytes) => vec![bytes],
        Value::List(elements) => return elements,
        Value::ListNodes(nodes) => {
            let bytes = |node| match node {
                Node::Packed(bytes) | Node::Plain(bytes) => bytes,
            };
            return nodes.into_iter().map(bytes).collect();
        }
        Value::Set(members) => members,
        Value::Hash(pairs) => pairs.into_iter().map(|(field, value)| [field, value].join(&b'=')).collect(),
        Value::Zset(pairs) => {
            pairs.into_iter().map(|(member, score)| [member, score.to_string().into()].join(&b'=')).collect()
        }
    };
    parts.sort();
    parts
}

struct Random(u64);

impl Random {
    /// Splitmix64 (Steele, Lea, Flood 2014), below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }
}

/// Changes some key: of every type, large and small, in every way that there is.
fn change(larder: &Larder, random: &mut Random) {
    let kinds = ["s", "h", "z", "t", "l"];
    let kind = kinds[random.below(5) as usize];
    let key = format!("{kind}{}", random.below(12));
    let other = format!("{kind}{}", random.below(12));
    let number = random.below(3000).to_string();
    let text = "x".repeat([3, 50, 1500, 70_000][random.below(4) as usize]);
    let general: [&[&str]; 8] = [
        &["DEL", &key],
        &["UNLINK", &key, &other],
        &["RENAME", &key, &other],
        &["COPY", &key, &other, "REPLACE"],
        &["COPY", &key, &other, "DB", "1", "REPLACE"],
        &["MOVE", &key, "1"],
        &["PEXPIRE", &key, "3600000"],
        &["PERSIST", &key],
    ];
    let choice = random.below(8) as usize;
    if random.below(8) == 0 {
        let _any_reply = larder.execute(general[choice]);
    } else {
        change_value(larder, kind, [&key, &other], &number, &text, choice);
    }
    match random.below(400) {
        0 => drop(larder.execute(&["SWAPDB", "0", "1"])),
        1 if random.below(6) == 0 => drop(larder.execute(&["FLUSHDB"])),
        2 => drop(larder.execute(&["LMOVE", "l1", "l2", "LEFT", "RIGHT"])),
        _ => {}
    }
}

/// The change of its own that `choice` names for a type.
fn change_value(larder: &Larder, kind: &str, keys: [&str; 2], number: &str, text: &str, choice: usize) {
    let [key, other] = keys;
    let near = ["0", "-1"][number.len() % 2];
    let own: [&[&str]; 8] = match kind {
        "s" => [
            &["SET", key, text],
            &["SET", key, number],
            &["APPEND", key, "more"],
            &["SETRANGE", key, number, "within"],
            &["INCR", key],
            &["GETDEL", key],
            &["SETEX", key, "1000", text],
            &["MSET", key, text, other, number],
        ],
        "h" => [
            &["HSET", key, number, &text[..text.len().min(1500)]],
            &["HSET", key, number, "short"],
            &["HDEL", key, number],
            &["HINCRBY", key, "counter", "1"],
            &["HSETNX", key, number, "1"],
            &["HSET", key, "f1", "v", "f2", "v"],
            &["HDEL", key, "f1"],
            &["HSET", key, number, number],
        ],
        "z" => [
            &["ZADD", key, number, number],
            &["ZADD", key, "1.5", number],
            &["ZREM", key, number],
            &["ZINCRBY", key, "1", number],
            &["ZPOPMIN", key, "3"],
            &["ZREMRANGEBYRANK", key, "5", "20"],
            &["ZUNIONSTORE", key, "2", key, other],
            &["ZADD", key, number, other],
        ],
        "t" => [
            &["SADD", key, number],
            &["SADD", key, "word", number],
            &["SREM", key, number],
            &["SPOP", key, "4"],
            &["SMOVE", key, other, number],
            &["SUNIONSTORE", key, key, other],
            &["SDIFFSTORE", key, key, other],
            &["SADD", key, other],
        ],
        _ => [
            &["RPUSH", key, &text[..text.len().min(9000)]],
            &["LPUSH", key, number, number],
            &["LPOP", key, "3"],
            &["RPOP", key],
            &["LSET", key, near, &text[..text.len().min(1500)]],
            &["LINSERT", key, "BEFORE", "element7", number],
            &["LREM", key, "2", "element9"],
            &["LTRIM", key, "2", "-3"],
        ],
    };
    let _any_reply = larder.execute(own[choice]);
}

/// Every type in every size.
fn fill(larder: &Larder, random: &mut Random) {
    for nth in 0..12u64 {
        let count = [3, 100, 700, 4000][(nth % 4) as usize] + random.below(50);
        for element in 0..count {
            let name = format!("element{element}");
            let _any_reply = larder.execute(&["HSET", &format!("h{nth}"), &element.to_string(), &name]);
            let _any_reply =
                larder.execute(&["ZADD", &format!("z{nth}"), &element.to_string(), &element.to_string()]);
            let _any_reply = larder.execute(&["SADD", &format!("t{nth}"), &element.to_string()]);
            let _any_reply = larder.execute(&["RPUSH", &format!("l{nth}"), &name]);
        }
        let _any_reply = larder.execute(&["SADD", &format!("t{nth}"), "word"]);
        let _any_reply = larder.execute(&["SET", &format!("s{nth}"), &"s".repeat(count as usize)]);
    }
    for nth in 0..3000 {
        larder.set(format!("plain{nth}"), nth.to_string()).expect("there is memory");
    }
}

fn start(engine: &Arc<Engine>, disk: Arc<dyn Disk>) -> (Receiver<()>, Receiver<io::Result<Saved>>) {
    let (cut, at_cut) = channel();
    let (ended, end) = channel();
    let job = SaveJob {
        disk,
        target: "/dump.rdb".into(),
        aof_base: false,
        at_cut: Box::new(move || cut.send(()).expect("the test waits for it")),
        done: Box::new(move |result| ended.send(result).expect("the test waits for it")),
    };
    engine.start_save(job).expect("none is under way");
    (at_cut, end)
}

fn slow(disk: &SimulatedDisk) -> (SyncSender<()>, Arc<dyn Disk>) {
    let (permit, permits) = sync_channel(0);
    (permit, Arc::new(SlowDisk { disk: disk.clone(), permits: Arc::new(Mutex::new(permits)) }))
}

/// What a save that stops everything writes.
fn expected(engine: &Engine) -> Vec<Row> {
    let disk = SimulatedDisk::new();
    engine.save(&engine.lane(false), &disk, "/whole.rdb".as_ref()).expect("the disk is fine");
    rows(&disk.contents("/whole.rdb").expect("it was saved"))
}

fn saves_what_was_there(seed: u64) {
    let engine = Engine::open(Options { seed, ..Options::default() });
    let larder = Larder::on(Arc::clone(&engine));
    let mut random = Random(seed);
    fill(&larder, &mut random);
    for round in 0..4 {
        for _ in 0..random.below(300) {
            change(&larder, &mut random);
        }
        let expected = expected(&engine);
        let disk = SimulatedDisk::new();
        let (permit, slow) = slow(&disk);
        let (at_cut, end) = start(&engine, slow);
        at_cut.recv().expect("the cut comes");
        let fails = round == 2;
        if fails {
            disk.set_capacity(Some(100));
        }
        let result = loop {
            for _ in 0..random.below(80) {
                change(&larder, &mut random);
            }
            let _over_already = permit.try_send(());
            match end.try_recv() {
                Ok(result) => break result,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => panic!("the job is told"),
            }
        };
        engine.check_invariants();
        if fails {
            assert!(result.is_err(), "the disk was full");
            assert_eq!(disk.contents("/dump.rdb"), None);
            continue;
        }
        assert_eq!(
            result.expect("the disk is fine").keys,
            expected.len() as u64,
            "seed {seed}, round {round}"
        );
        let saved = rows(&disk.contents("/dump.rdb").expect("it was saved"));
        for (saved, expected) in saved.iter().zip(&expected) {
            let name = String::from_utf8_lossy(&expected.1);
            assert_eq!((saved.0, &saved.1, saved.2), (expected.0, &expected.1, expected.2), "seed {seed}");
            assert!(saved.3 == expected.3, "{name} differs, seed {seed}, round {round}");
        }
        assert_eq!(engine.saver.waiting.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}

#[test]
fn what_is_saved_is_what_was_there_at_the_cut() {
    let runs = std::env::var("LARDER_SAVES").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3);
    let first = std::env::var("LARDER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + runs {
        saves_what_was_there(seed);
    }
}
