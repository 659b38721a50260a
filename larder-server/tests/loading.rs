//! Loading: the sockets answer meanwhile, what needs no data is served, and the end comes when it is asked for.

mod support;

use larder_resp::Frame;
use std::path::Path;
use std::process::Command;
use support::{bulk, error, info, larder, start, wait_for};
use testkit::client::encode;
use testkit::{Client, Options, Ready, Server};

/// Keys in the files, and microseconds that each takes to load.
const KEYS: usize = 2000;
const DELAY: [&str; 2] = ["--key-load-delay", "5000"];

fn loading() -> Frame {
    Frame::Error(b"LOADING Redis is loading the dataset in memory".to_vec())
}

/// A connection to a server that has only just been started.
fn connect(server: &Server) -> Client {
    wait_for("an open port", || std::net::TcpStream::connect(server.addr()).ok());
    server.connect()
}

/// A server that has begun to load the file `name`, which is put into its directory before.
fn loads(options: Options, name: &str, content: &[u8]) -> Server {
    let mut server = Server::start(options.ready(Ready::Spawned));
    server.kill9();
    std::fs::write(server.dir().join(name), content).expect("the disk has room");
    server.restart();
    server
}

/// A snapshot of many keys; a real server looks at its connections after each.
fn snapshot() -> Vec<u8> {
    let server = start(&["--enable-debug-command", "yes", "--rdbcompression", "no"]);
    let mut client = server.connect();
    client.line(&format!("DEBUG POPULATE {KEYS} key 1500"));
    client.line("SAVE");
    std::fs::read(server.dir().join("dump.rdb")).expect("it was saved")
}

fn term(server: &Server) {
    let status = Command::new("kill").args(["-TERM", &server.pid().to_string()]).status();
    assert!(status.expect("kill is there").success());
}

#[test]
fn what_needs_no_data_is_answered_as_redis_does() {
    if testkit::server::redis_version().is_none() {
        return;
    }
    let file = snapshot();
    let ours = loads(larder(&DELAY), "dump.rdb", &file);
    let args = [DELAY[0], DELAY[1], "--loading-process-events-interval-bytes", "1024"];
    let real = loads(Options::redis().args(args), "dump.rdb", &file);
    let (mut ours, mut real) = (connect(&ours), connect(&real));
    let lines = [
        "PING",
        "GET a",
        "SET a b",
        "ECHO a",
        "SELECT 1",
        "DBSIZE",
        "NOPE",
        "GET",
        "CONFIG GET save",
        "PUBLISH a b",
        "BGSAVE",
        "SAVE",
        "BGREWRITEAOF",
        "FLUSHALL",
        "SWAPDB 0 1",
        "KEYS *",
        "SCAN 0",
        "OBJECT ENCODING a",
        "MEMORY USAGE a",
        "SLOWLOG GET",
        "COMMAND COUNT x",
        "WAIT 0 0",
        "CLIENT GETNAME",
        "CLIENT SETNAME me",
        "WATCH a",
        "MULTI",
        "GET a",
        "ECHO a",
        "EXEC",
        "DISCARD",
        "MULTI",
        "ECHO a",
        "EXEC",
        "UNWATCH",
        "SHUTDOWN NO",
        "SUBSCRIBE a",
        "PING",
        "UNSUBSCRIBE a",
        "PING",
        "RESET",
        "PING",
        "AUTH a b",
        "LOLWUT VERSION x",
    ];
    for line in lines {
        assert_eq!(ours.line(line), real.line(line), "{line}");
    }
    let fields = |client: &mut Client| {
        let text = bulk(client.line("INFO persistence"));
        let names = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned());
        names.filter(|name| name.contains("loading")).collect::<Vec<_>>()
    };
    assert_eq!(fields(&mut ours), fields(&mut real));
    for field in ["loading", "async_loading", "loading_total_bytes"] {
        assert_eq!(info(&mut ours, "persistence", field), info(&mut real, "persistence", field), "{field}");
    }
}

#[test]
fn progress_is_told_and_everything_is_there_in_the_end() {
    let server = loads(larder(&["--key-load-delay", "2000"]), "dump.rdb", &snapshot());
    let mut client = connect(&server);
    assert_eq!(client.line("GET key:1"), loading());
    let bytes = |client: &mut Client| -> u64 {
        info(client, "persistence", "loading_loaded_bytes").parse().expect("it is a number")
    };
    let before = bytes(&mut client);
    let later = wait_for("more", || Some(bytes(&mut client)).filter(|bytes| *bytes > before));
    let total: u64 = info(&mut client, "persistence", "loading_total_bytes").parse().expect("it is a number");
    assert!(later < total);
    let share: f64 = info(&mut client, "persistence", "loading_loaded_perc").parse().expect("it is a number");
    assert!(share > 0.0 && share < 100.0, "{share}");
    // Watching what is loaded later, and looking at the data, is allowed and changes nothing.
    client.line("WATCH key:1");
    client.line("INFO");
    server.wait_log("Ready to accept connections");
    assert!(server.log().contains(&format!("of {total} bytes")), "{}", server.log());
    assert_eq!(client.line("DBSIZE"), Frame::Integer(KEYS as i64));
    assert_eq!(info(&mut client, "persistence", "loading"), "0");
    assert!(!bulk(client.line("INFO persistence")).contains("loading_total_bytes"));
}

#[test]
fn the_end_does_not_wait_for_loading_and_leaves_the_file() {
    let file = snapshot();
    for save in ["", "3600 1"] {
        let arguments = [DELAY[0], DELAY[1], "--save", save];
        let mut server = loads(larder(&arguments), "dump.rdb", &file);
        assert_eq!(connect(&server).line("PING"), loading());
        term(&server);
        assert!(server.wait_exit().success(), "{}", server.log());
        assert_eq!(std::fs::read(server.dir().join("dump.rdb")).expect("it is there"), file);
        server.restart();
        let mut client = connect(&server);
        assert_eq!(client.line("PING"), loading());
        client.send(&["SHUTDOWN", "SAVE"]);
        assert!(server.wait_exit().success(), "{}", server.log());
        assert_eq!(std::fs::read(server.dir().join("dump.rdb")).expect("it is there"), file);
    }
}

#[test]
fn a_file_that_is_wrong_ends_the_server_while_it_answers() {
    let mut file = snapshot();
    let last = file.len() - 1;
    file[last] ^= 1;
    let mut server = loads(larder(&["--key-load-delay", "500"]), "dump.rdb", &file);
    assert_eq!(connect(&server).line("PING"), loading());
    assert_eq!(server.wait_exit().code(), Some(1));
    assert!(server.log().contains("Fatal error loading the DB"), "{}", server.log());
}

/// The files of an append-only file whose commands these are.
fn write_aof(dir: &Path, commands: &[u8]) {
    let dir = dir.join("appendonlydir");
    std::fs::create_dir_all(&dir).expect("the disk has room");
    std::fs::write(dir.join("appendonly.aof.1.incr.aof"), commands).expect("the disk has room");
    let manifest = "file appendonly.aof.1.incr.aof seq 1 type i\n";
    std::fs::write(dir.join("appendonly.aof.manifest"), manifest).expect("the disk has room");
}

#[test]
fn nobody_disturbs_the_commands_of_an_append_only_file() {
    let mut commands = Vec::new();
    let mut put = |line: &str| {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        commands.extend(encode(&words));
    };
    // It was still there when the last commands ran.
    put("SET k 1 PXAT 1000");
    for n in 0..KEYS {
        put(&format!("SET key:{n} value"));
    }
    put("INCR k");
    put("PERSIST k");
    let arguments = ["--appendonly", "yes", "--key-load-delay", "2000"];
    let mut server = Server::start(larder(&arguments).ready(Ready::Spawned));
    server.kill9();
    write_aof(&server.dir(), &commands);
    server.restart();
    let mut client = connect(&server);
    assert_eq!(client.line("GET k"), loading());
    // The connection that found the port open may be another loop's, which has yet to see its end.
    wait_for("a list of one client", || {
        (bulk(client.line("CLIENT LIST")).lines().count() == 1).then_some(())
    });
    let mut monitor = connect(&server);
    monitor.line("MONITOR");
    // None of this may reach whoever loads: neither the time nor the memory, nor a pause.
    for line in [
        "INFO",
        "WATCH k",
        "CLIENT PAUSE 100",
        "CONFIG SET maxmemory 1",
        "CONFIG SET maxmemory-policy allkeys-lru",
    ] {
        assert!(!matches!(client.line(line), Frame::Error(_)), "{line}");
    }
    let refusal = error(client.line("CONFIG SET appendonly no"));
    assert!(refusal.contains("still being loaded"), "{refusal}");
    client.line("CONFIG SET maxmemory 0");
    server.wait_log("Ready to accept connections");
    assert_eq!(bulk(client.line("GET k")), "2");
    assert_eq!(client.line("DBSIZE"), Frame::Integer(KEYS as i64 + 1));
    client.line("ECHO end");
    loop {
        let shown = format!("{:?}", monitor.read());
        assert!(!shown.contains("value"), "{shown}");
        if shown.contains("ECHO") {
            break;
        }
    }
}
