//! The server commands against a real server, byte for byte in both protocols; what differs by nature is not asked.

mod oracle;

use larder::fault::Fault;
use larder::host::{Host, Shutdown};
use larder_resp::Frame;
use oracle::{Answers, Ours, Real, pairs, text};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// One command a line; words in quotes are one argument.
const QUESTIONS: &str = r#"
FLUSHALL
CONFIG SET slowlog-log-slower-than 10000
SLOWLOG RESET
SLOWLOG GET
SLOWLOG GET -2
SLOWLOG GET a
SLOWLOG GET 1 2
SLOWLOG LEN
SLOWLOG LEN x
SLOWLOG
SLOWLOG FOO
LASTSAVE x
SAVE x
BGSAVE foo
BGSAVE SCHEDULE x
SHUTDOWN foo
SHUTDOWN SAVE NOSAVE
SHUTDOWN ABORT
SHUTDOWN ABORT NOW
SHUTDOWN ABORT ABORT
WAIT 0 0
WAIT a 1
WAIT 1 a
WAIT 1 -1
WAIT 1
MEMORY USAGE nokey
MEMORY USAGE nokey SAMPLES
MEMORY USAGE nokey SAMPLES x
MEMORY USAGE nokey SAMPLES -1
MEMORY USAGE nokey FOO 1
MEMORY USAGE
MEMORY FOO
MEMORY PURGE
CLUSTER INFO
CLUSTER NODES
CLUSTER FOO
CLUSTER HELP
CLUSTER KEYSLOT x
CLUSTER KEYSLOT
CLUSTER
ROLE
ROLE x
TIME x
DEBUG PROTOCOL string
DEBUG PROTOCOL integer
DEBUG PROTOCOL double
DEBUG PROTOCOL bignum
DEBUG PROTOCOL null
DEBUG PROTOCOL array
DEBUG PROTOCOL set
DEBUG PROTOCOL map
DEBUG PROTOCOL attrib
DEBUG PROTOCOL push
DEBUG PROTOCOL verbatim
DEBUG PROTOCOL true
DEBUG PROTOCOL false
DEBUG PROTOCOL foo
DEBUG PROTOCOL
DEBUG FOO
DEBUG
DEBUG RELOAD FOO
DEBUG SLEEP 0
DEBUG SLEEP a
DEBUG SLEEP
DEBUG SET-ACTIVE-EXPIRE 0
DEBUG SET-ACTIVE-EXPIRE 1
DEBUG QUICKLIST-PACKED-THRESHOLD 100b
DEBUG QUICKLIST-PACKED-THRESHOLD abc
DEBUG CHANGE-REPL-ID
DEBUG ERROR "MYERR foo bar"
DEBUG OBJECT nokey
DEBUG POPULATE 5
MGET key:0 key:4
DEBUG POPULATE 5 p 3
MGET p:0 p:4
DEBUG POPULATE 2 p 20
GET p:0
DEBUG POPULATE a
DEBUG POPULATE 1 p a
DEBUG POPULATE -1
DBSIZE
CONFIG SET maxmemory 100 maxmemory 1 nope 1
CONFIG SET databases 3 nope 1
CONFIG SET maxmemory abc databases 3
CONFIG SET nope 1
CONFIG SET maxmemory
CONFIG SET maxmemory 1 x
CONFIG SET maxmemory-samples 0
CONFIG SET slowlog-max-len abc
CONFIG SET slowlog-max-len -1
CONFIG SET slowlog-max-len 1k
CONFIG SET rdbcompression foo
CONFIG SET rdbcompression yes
CONFIG SET hash-max-listpack-entries ""
CONFIG SET list-max-listpack-size 99999999999
CONFIG SET maxmemory -1
CONFIG SET maxmemory 10tb
CONFIG SET maxmemory 1GB
CONFIG GET maxmemory
CONFIG SET maxmemory 0
CONFIG SET proto-max-bulk-len 5
CONFIG GET requirepass
CONFIG GET nope
CONFIG GET
CONFIG GET slowlog-max-len
CONFIG GET SLOWLOG-max-len slowlog-max-LEN
CONFIG REWRITE
CONFIG REWRITE x
CONFIG RESETSTAT
CONFIG RESETSTAT x
CONFIG foo
CONFIG
COMMAND COUNT x
COMMAND FOO
COMMAND LIST FILTERBY PATTERN ge[t]
COMMAND LIST FILTERBY PATTERN GE[T]
COMMAND LIST FILTERBY MODULE x
COMMAND LIST FILTERBY ACLCAT nope
COMMAND LIST FILTERBY FOO bar
COMMAND LIST FILTERBY PATTERN
COMMAND LIST x
COMMAND INFO nope
COMMAND INFO nope|x get|x
COMMAND DOCS nope
COMMAND GETKEYS SET a b
COMMAND GETKEYSANDFLAGS SET a b
COMMAND GETKEYSANDFLAGS SET a b GET
COMMAND GETKEYSANDFLAGS RENAME a b
COMMAND GETKEYS PING x
COMMAND GETKEYS NOPE x
COMMAND GETKEYS GET x y
COMMAND GETKEYS CONFIG GET x
COMMAND GETKEYS OBJECT ENCODING x
COMMAND GETKEYS OBJECT FOO x
COMMAND GETKEYS ZUNIONSTORE d x a
COMMAND GETKEYS ZUNIONSTORE d 2 a b c
COMMAND GETKEYS ZUNIONSTORE d 3 a
COMMAND GETKEYS ZUNIONSTORE d 0 a
COMMAND GETKEYS MSET a b c
COMMAND GETKEYS MSET a b c d
COMMAND GETKEYS GET
INFO foo
INFO cluster
INFO Cluster cluster
INFO modules
MULTI
MONITOR
SAVE
EXEC
MULTI
MONITOR
INFO cluster
MEMORY USAGE x
WAIT 0 0
CONFIG GET maxmemory
DEBUG SLEEP 0
EXEC
"#;

/// The words of a line.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part);
        } else {
            words.extend(part.split_whitespace());
        }
    }
    words
}

#[test]
fn replies_are_those_of_a_real_server() {
    let Some(mut real) = Real::start() else { return };
    for proto in ["2", "3"] {
        let mut ours = Ours::fresh();
        real.ask(&["FLUSHALL"]);
        real.ask(&["HELLO", proto]);
        ours.ask(&["HELLO", proto]);
        for line in QUESTIONS.lines().filter(|line| !line.is_empty()) {
            let command = words(line);
            let (theirs, ours) = (real.raw(&command), ours.raw(&command));
            assert_eq!(
                ours.escape_ascii().to_string(),
                theirs.escape_ascii().to_string(),
                "{line} in RESP{proto}"
            );
        }
    }
}

#[test]
fn parameters_are_set_together_or_not_at_all() {
    let mut ours = Ours::fresh();
    ours.ask(&["HELLO", "3"]);
    let value = |ours: &mut Ours, name: &str| {
        let reply = ours.ask(&["CONFIG", "GET", name]);
        text(&pairs(&reply)[0].1).to_owned()
    };
    let reply = ours.ask(&["CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "nonsense"]);
    assert!(matches!(reply, Frame::Error(_)));
    assert_eq!(value(&mut ours, "maxmemory"), "0");
    let reply = ours.ask(&["CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru"]);
    assert_eq!(reply, Frame::simple("OK"));
    assert_eq!(value(&mut ours, "maxmemory"), "1073741824");
    assert_eq!(value(&mut ours, "maxm*cy"), "allkeys-lru");
}

#[test]
fn a_password_is_for_connections_to_come() {
    let mut ours = Ours::fresh();
    ours.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    assert_eq!(ours.ask(&["PING"]), Frame::simple("PONG"));
    assert!(!ours.engine.connect(Default::default(), std::task::Waker::noop().clone()).is_authenticated());
}

#[test]
fn the_slow_log_keeps_what_took_long() {
    let mut ours = Ours::fresh();
    ours.ask(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    ours.ask(&["SET", "k", &"v".repeat(200)]);
    let Frame::Array(commands) = ours.ask(&["SLOWLOG", "GET", "1"]) else { panic!("no array") };
    let Frame::Array(facts) = &commands[0] else { panic!("no array") };
    assert_eq!(facts.len(), 6);
    let Frame::Array(arguments) = &facts[3] else { panic!("no array") };
    assert_eq!(text(&arguments[0]), "SET");
    assert_eq!(text(&arguments[2]), "v".repeat(128) + "... (72 more bytes)");
    ours.ask(&["CONFIG", "SET", "slowlog-log-slower-than", "-1"]);
    ours.ask(&["SLOWLOG", "RESET"]);
    assert_eq!(ours.ask(&["SLOWLOG", "LEN"]), Frame::Integer(0));
}

#[test]
fn a_digest_is_of_the_data_and_not_of_how_they_are_kept() {
    let digest_of = |commands: &[&str]| {
        let mut ours = Ours::fresh();
        for line in commands {
            ours.ask(&words(line));
        }
        let reply = ours.ask(&["DEBUG", "DIGEST"]);
        text(&reply).to_owned()
    };
    assert_eq!(digest_of(&[]), "0".repeat(40));
    let one = digest_of(&["SADD s 1 2 3", "HSET h f v g w", "RPUSH l a b", "SET k v", "ZADD z 1 a 2 b"]);
    let packed_otherwise = digest_of(&[
        "CONFIG SET set-max-intset-entries 0 hash-max-listpack-entries 0 zset-max-listpack-entries 0",
        "ZADD z 2 b 1 a",
        "HSET h g w f v",
        "SADD s 3 1 2",
        "RPUSH l a b",
        "SET k v",
    ]);
    assert_eq!(one, packed_otherwise);
    for other in
        ["RPUSH l a", "SADD s 4", "SET k w", "HSET h f w", "ZADD z 3 a", "EXPIRE k 100", "DEL k", "MOVE k 1"]
    {
        let setting = ["SADD s 1 2 3", "HSET h f v g w", "RPUSH l a b", "SET k v", "ZADD z 1 a 2 b", other];
        assert_ne!(digest_of(&setting), one, "{other}");
    }
}

#[test]
fn secrets_are_neither_logged_nor_shown() {
    let mut ours = Ours::fresh();
    let mut lane = ours.engine.lane(false);
    let mut watcher = ours.engine.connect(Default::default(), std::task::Waker::noop().clone());
    let request = larder_resp::OwnedRequest::from_slices(&["MONITOR"]);
    ours.engine.execute(&mut lane, &mut watcher, request.as_request(), &mut Vec::new());
    ours.ask(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    for line in [
        "AUTH hunter2",
        "auth default hunter2",
        "AUTH default hunter2 hunter2",
        "HELLO 2 AUTH hunter2 hunter2 SETNAME me",
        "HELLO 2 SETNAME me AUTH hunter2",
        "CONFIG SET maxmemory 0 requirepass hunter2",
        "CONFIG SET REQUIREPASS hunter2 maxmemory",
        "CONFIG SET requirepass",
    ] {
        ours.ask(&words(line));
    }
    let logged = format!("{:?}", ours.ask(&["SLOWLOG", "GET", "-1"]));
    assert!(
        logged.contains("(redacted)") && logged.contains("SETNAME") && logged.contains("requirepass"),
        "{logged}"
    );
    assert!(!logged.contains("hunter2"), "{logged}");
    let mut shown = Vec::new();
    let mut reply = larder_resp::ReplyWriter::new(&mut shown, larder_resp::Proto::Resp2);
    watcher.client().take_mail().iter().for_each(|line| line.write(&mut reply));
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("\"auth\" \"(redacted)\" \"(redacted)\""), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    // Administrative commands are not shown at all.
    assert!(!shown.contains("CONFIG"), "{shown}");
}

/// A house with a directory, a parameter that can change, one that cannot, and one that never will.
struct House {
    dir: PathBuf,
    timeout: AtomicI64,
}

impl House {
    fn new() -> Arc<House> {
        let name = format!("larder-house-{}-{:?}", std::process::id(), std::thread::current().id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a temporary directory can be made");
        Arc::new(House { dir, timeout: AtomicI64::new(0) })
    }
}

impl Drop for House {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).expect("a temporary directory can be removed");
    }
}

impl Host for House {
    fn shutdown(&self, how: Shutdown) -> Result<(), Fault> {
        Err(Fault::err(format!(
            "nosave {} save {} now {} force {}",
            how.nosave, how.save, how.now, how.force
        )))
    }

    fn parameter_names(&self) -> Vec<&'static str> {
        vec!["timeout", "port", "broken"]
    }

    fn parameter(&self, name: &str) -> Option<String> {
        match name {
            "timeout" => Some(self.timeout.load(Ordering::Relaxed).to_string()),
            "port" => Some("6379".into()),
            "broken" => Some("no".into()),
            "enable-debug-command" => Some("yes".into()),
            _ => None,
        }
    }

    fn check_parameter(&self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "port" => Err("can't set immutable config".into()),
            "timeout" => value.parse::<i64>().map(drop).map_err(|_| "no number".into()),
            _ => Ok(()),
        }
    }

    fn set_parameter(&self, name: &str, value: &str) -> Result<(), String> {
        if name == "broken" {
            return Err("it is broken".into());
        }
        self.timeout.store(value.parse().expect("it was checked"), Ordering::Relaxed);
        Ok(())
    }

    fn snapshot_file(&self) -> Result<PathBuf, Fault> {
        Ok(self.dir.join("dump.rdb"))
    }

    fn info(&self, section: &str) -> Vec<(&'static str, String)> {
        if section == "server" {
            vec![("tcp_port", "6379".into()), ("of_the_house", "1".into())]
        } else {
            Vec::new()
        }
    }
}

#[test]
fn what_was_saved_comes_back() {
    let house = House::new();
    let mut ours = Ours::fresh();
    ours.engine.set_host(Arc::clone(&house) as Arc<dyn Host>);
    for line in [
        "SADD s 1 2 x",
        "HSET h f v",
        "RPUSH l a b",
        "SET k v EX 1000",
        "ZADD z 1.5 a",
        "SELECT 3",
        "SET k w",
    ] {
        ours.ask(&words(line));
    }
    let before = ours.ask(&["DEBUG", "DIGEST"]);
    assert_eq!(ours.ask(&["SAVE"]), Frame::simple("OK"));
    assert!(house.dir.join("dump.rdb").exists());
    let info = format!("{:?}", ours.ask(&["INFO", "persistence"]));
    assert!(info.contains("rdb_changes_since_last_save:0") && info.contains("rdb_saves:1"), "{info}");
    ours.ask(&["SET", "later", "1"]);
    assert_eq!(ours.ask(&["DEBUG", "RELOAD", "NOSAVE"]), Frame::simple("OK"));
    assert_eq!(ours.ask(&["DEBUG", "DIGEST"]), before);
    ours.ask(&["SET", "later", "1"]);
    let before = ours.ask(&["DEBUG", "DIGEST"]);
    assert_eq!(ours.ask(&["DEBUG", "RELOAD"]), Frame::simple("OK"));
    assert_eq!(ours.ask(&["DEBUG", "DIGEST"]), before);
    std::fs::write(house.dir.join("dump.rdb"), b"REDIS0010 no").expect("a file can be written");
    assert!(matches!(ours.ask(&["DEBUG", "RELOAD", "NOSAVE", "NOFLUSH"]), Frame::Error(_)));
}

#[test]
fn parameters_of_the_house_are_parameters_too() {
    let house = House::new();
    let mut ours = Ours::fresh();
    ours.engine.set_host(Arc::clone(&house) as Arc<dyn Host>);
    let mut ask = |line: &str| match ours.ask(&words(line)) {
        Frame::Error(text) => String::from_utf8_lossy(&text).into_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(ask("CONFIG SET timeout 7 maxmemory 5"), ask("CONFIG SET timeout 7"));
    assert!(ask("CONFIG GET timeou*").contains('7'));
    let refused = ask("CONFIG SET timeout 8 port 1");
    assert!(refused.contains("argument 'port') - can't set immutable config"), "{refused}");
    let refused = ask("CONFIG SET timeout x");
    assert!(refused.contains("argument 'timeout') - no number"), "{refused}");
    // The last of three cannot be set after all: the others are what they were.
    let refused = ask("CONFIG SET maxmemory 9 timeout 9 broken yes");
    assert!(refused.contains("argument 'broken') - it is broken"), "{refused}");
    assert!(ask("CONFIG GET maxmemory").contains("\"5\""), "{}", ask("CONFIG GET maxmemory"));
    assert_eq!(house.timeout.load(Ordering::Relaxed), 7);
    assert!(ask("SHUTDOWN NOSAVE NOW").contains("nosave true save false now true force false"));
}

#[test]
fn the_house_has_its_lines_in_info() {
    let house = House::new();
    let mut ours = Ours::fresh();
    ours.engine.set_host(house);
    let reply = ours.ask(&["INFO", "server"]);
    let lines = text(&reply);
    assert!(lines.contains("\r\ntcp_port:6379\r\n") && lines.contains("\r\nof_the_house:1\r\n"), "{lines}");
    assert!(!lines.contains("tcp_port:0"));
}
