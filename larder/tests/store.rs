//! Saving and loading whole engines.

use larder::client::Origin;
use larder::lane::Lane;
use larder::persist::disk::RealDisk;
use larder::{Engine, Options, Session};
use larder_resp::{Frame, OwnedRequest, parse_frame};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Waker;

struct Caller {
    engine: Arc<Engine>,
    session: Session,
    lane: Lane,
}

impl Caller {
    fn new() -> Caller {
        let engine = Engine::open(Options::default());
        let session = engine.connect(Origin::default(), Waker::noop().clone());
        let lane = engine.lane(false);
        Caller { engine, session, lane }
    }

    fn call(&mut self, line: &str) -> Frame {
        let words: Vec<&str> = line.split(' ').collect();
        self.call_words(&words)
    }

    fn call_words<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Frame {
        let request = OwnedRequest::from_slices(words);
        let mut out = Vec::new();
        self.lane.begin_turn();
        self.engine.execute(&mut self.lane, &mut self.session, request.as_request(), &mut out);
        parse_frame(&out).expect("a reply is RESP").expect("a reply is whole").0
    }
}

struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> TempDir {
        let path = std::env::temp_dir().join(format!("larder-store-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory can be made");
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}

/// Fills an engine with every type in every encoding, in two databases.
fn fill(caller: &mut Caller) {
    let long = "x".repeat(5000);
    for line in [
        "SET text hello",
        "SET number -12345",
        "SET fleeting soon PX 3600000",
        "SADD ints 1 2 3",
        "SADD words a b c 1",
        "HSET small f1 v1 f2 2",
        "ZADD board 1 a 2.5 b inf c -inf d",
        "RPUSH list a b 3 4",
        "SELECT 3",
        "SET other db",
        "SELECT 0",
    ] {
        assert!(!matches!(caller.call(line), Frame::Error(_)), "{line}");
    }
    caller.call_words(&["SET", "long", &long]);
    for nth in 0..1000 {
        caller.call(&format!("SADD manyints {nth}"));
        caller.call(&format!("SADD manywords word{nth}"));
        caller.call(&format!("HSET big field{nth} value{nth}"));
        caller.call(&format!("ZADD bigboard {}.5 member{nth}", nth * 7 % 1000));
        caller.call(&format!("RPUSH biglist element{nth}"));
    }
    caller.call_words(&["RPUSH", "biglist", &long.repeat(4)]);
}

/// Everything there is to see of the keys, sorted.
fn contents(caller: &mut Caller) -> Vec<String> {
    let mut all = Vec::new();
    for db in [0, 3] {
        caller.call(&format!("SELECT {db}"));
        let keys = caller.call("KEYS *").into_elements().expect("KEYS answers an array");
        for key in keys {
            let key = key.as_str().expect("the keys are text").to_owned();
            let kind = caller.call(&format!("TYPE {key}"));
            let read = match kind.as_str().expect("TYPE answers a word") {
                "string" => "GET {key}",
                "list" => "LRANGE {key} 0 -1",
                "set" => "SMEMBERS {key}",
                "hash" => "HGETALL {key}",
                _ => "ZRANGE {key} 0 -1 WITHSCORES",
            };
            let value = caller.call(&read.replace("{key}", &key));
            let value = match (kind.as_str(), value) {
                (Some("set"), Frame::Array(mut members) | Frame::Set(mut members)) => {
                    members.sort_by_key(|member| format!("{member:?}"));
                    format!("{members:?}")
                }
                (Some("hash"), Frame::Array(pairs)) => {
                    let mut pairs: Vec<String> = pairs.chunks(2).map(|pair| format!("{pair:?}")).collect();
                    pairs.sort();
                    format!("{pairs:?}")
                }
                (_, other) => format!("{other:?}"),
            };
            let encoding = caller.call(&format!("OBJECT ENCODING {key}"));
            let expires = caller.call(&format!("PEXPIRETIME {key}"));
            all.push(format!("{db} {key} {encoding:?} {expires:?} {value}"));
        }
    }
    caller.call("SELECT 0");
    all.sort();
    all
}

#[test]
fn what_is_saved_is_loaded() {
    let dir = TempDir::new("round");
    let file = dir.0.join("dump.rdb");
    let mut first = Caller::new();
    fill(&mut first);
    let changes = first.engine.changes_since_save();
    assert!(changes > 5000, "{changes}");
    first.engine.save(&first.lane, &RealDisk, &file).expect("there is room to save");
    assert_eq!(first.engine.changes_since_save(), 0);

    let mut second = Caller::new();
    let loaded = second.engine.load(&mut second.lane, &RealDisk, &file).expect("the file is whole");
    assert_eq!(loaded.keys, 15);
    assert_eq!(contents(&mut first), contents(&mut second));
    assert_eq!(second.engine.changes_since_save(), 0, "loading is no change");
    assert_eq!(
        std::fs::read_dir(&dir.0).expect("the directory is there").count(),
        1,
        "no temporary file is left"
    );
}

#[test]
fn a_damaged_file_is_refused_with_its_place() {
    let dir = TempDir::new("damaged");
    let file = dir.0.join("dump.rdb");
    let mut first = Caller::new();
    fill(&mut first);
    first.engine.save(&first.lane, &RealDisk, &file).expect("there is room to save");
    let whole = std::fs::read(&file).expect("it was just written");
    for cut in [0, 5, 9, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..cut]).expect("there is room");
        let mut second = Caller::new();
        let error =
            second.engine.load(&mut second.lane, &RealDisk, &file).expect_err("a part is not the whole");
        assert!(error.offset <= cut as u64, "{error}");
    }
    for nth in (9..whole.len()).step_by(whole.len() / 97) {
        let mut bytes = whole.clone();
        bytes[nth] ^= 0x10;
        std::fs::write(&file, &bytes).expect("there is room");
        let mut second = Caller::new();
        assert!(second.engine.load(&mut second.lane, &RealDisk, &file).is_err(), "byte {nth} was changed");
    }
}

#[test]
fn expired_keys_stay_in_the_file() {
    let dir = TempDir::new("expired");
    let file = dir.0.join("dump.rdb");
    let mut first = Caller::new();
    first.call("SET gone soon PX 1");
    first.call("SET stays here");
    first.engine.save(&first.lane, &RealDisk, &file).expect("there is room to save");
    std::thread::sleep(std::time::Duration::from_millis(5));
    let mut second = Caller::new();
    second.lane.begin_turn();
    let loaded = second.engine.load(&mut second.lane, &RealDisk, &file).expect("the file is whole");
    assert_eq!((loaded.keys, loaded.expired), (1, 1));
}
