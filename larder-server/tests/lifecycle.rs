//! The life of the process: data, lock, signals, background.

mod support;

use larder_resp::Frame;
use std::process::Command;
use std::time::Duration;
use support::{error, info, is_served, larder, start, wait_for};
use testkit::temp::TempDir;
use testkit::{Client, Options, Server};

const OK: &[u8] = b"OK";

#[test]
fn data_survives_a_stop_in_order() {
    let mut server = start(&["--save", "86400 1000000"]);
    let mut client = server.connect();
    client.cmd(&["SET", "greeting", "hello"]);
    client.cmd(&["SET", "session", "s", "EX", "100"]);
    client.cmd(&["SET", "short", "s", "PX", "1"]);
    assert!(server.stop_gracefully().success());
    assert_eq!(client.read_to_close(), b"");
    server.restart();
    let mut client = server.connect();
    assert_eq!(client.cmd(&["GET", "greeting"]), Frame::Bulk(b"hello".to_vec()));
    assert!(matches!(client.cmd(&["TTL", "session"]), Frame::Integer(1..=100)));
    assert_eq!(client.cmd(&["DBSIZE"]), Frame::Integer(2));
}

#[test]
fn without_save_points_nothing_is_saved_unless_asked_for() {
    let mut server = start(&[]);
    server.connect().cmd(&["SET", "k", "1"]);
    assert!(server.stop_gracefully().success());
    assert!(!server.dir().join("dump.rdb").exists());
    server.restart();
    server.connect().cmd(&["SET", "k", "2"]);
    server.connect().send(&["SHUTDOWN", "SAVE"]);
    assert!(server.wait_exit().success());
    server.restart();
    assert_eq!(server.connect().cmd(&["GET", "k"]), Frame::Bulk(b"2".to_vec()));
    server.connect().cmd(&["SET", "k", "3"]);
    assert_eq!(server.connect().cmd(&["CONFIG", "SET", "save", "3600 1"]), Frame::Simple(OK.to_vec()));
    server.connect().send(&["SHUTDOWN", "NOSAVE"]);
    assert!(server.wait_exit().success());
    server.restart();
    assert_eq!(server.connect().cmd(&["GET", "k"]), Frame::Bulk(b"2".to_vec()));
}

/// Every write that was acknowledged before the end is in the snapshot, although clients go on writing until the end.
#[test]
fn what_was_acknowledged_is_saved() {
    let mut server = start(&["--save", "86400 1000000", "--io-threads", "2"]);
    let writers: Vec<_> = (0..4)
        .map(|nth| {
            let mut client = server.connect();
            std::thread::spawn(move || {
                let mut acknowledged = 0_i64;
                while client.try_cmd(&["SET", &format!("w{nth}"), &(acknowledged + 1).to_string()]).is_ok() {
                    acknowledged += 1;
                }
                acknowledged
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.stop_gracefully().success());
    let acknowledged: Vec<i64> = writers.into_iter().map(|writer| writer.join().expect("no panic")).collect();
    server.restart();
    for (nth, acknowledged) in acknowledged.into_iter().enumerate() {
        assert!(acknowledged > 0);
        let saved: i64 =
            support::bulk(server.connect().cmd(&["GET", &format!("w{nth}")])).parse().expect("a number");
        // The last write may have been executed without its answer getting out.
        assert!(
            saved == acknowledged || saved == acknowledged + 1,
            "{saved} saved, {acknowledged} acknowledged"
        );
    }
}

#[test]
fn a_server_that_cannot_save_goes_on() {
    let mut server = start(&["--save", "86400 1000000", "--dbfilename", "dump.rdb"]);
    let mut client = server.connect();
    client.cmd(&["SET", "k", "1"]);
    // A directory in the snapshot's place cannot be replaced by a file, by root neither.
    std::fs::create_dir_all(server.dir().join("dump.rdb/occupied")).expect("the directory is ours");
    server.signal("TERM");
    server.wait_log("can't exit");
    assert!(is_served(&mut client));
    assert!(error(client.cmd(&["SHUTDOWN"])).contains("Errors trying to SHUTDOWN"));
    assert!(is_served(&mut client));
    client.send(&["SHUTDOWN", "FORCE"]);
    assert!(server.wait_exit().success());
}

#[test]
fn a_damaged_snapshot_stops_the_start_and_is_left_alone() {
    let mut server = start(&["--save", "86400 1000000"]);
    server.connect().cmd(&["SET", "k", "some value"]);
    assert!(server.stop_gracefully().success());
    let path = server.dir().join("dump.rdb");
    let whole = std::fs::read(&path).expect("the snapshot");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x20;
    for damaged in [&whole[..whole.len() - 9], &flipped[..], b"REDIS", b"not a snapshot at all"] {
        std::fs::write(&path, damaged).expect("the directory is ours");
        let output = Command::new(env!("CARGO_BIN_EXE_larder-server"))
            .args(["--port", &server.port().to_string(), "--dir"])
            .arg(server.dir())
            .output()
            .expect("the server starts");
        assert_eq!(output.status.code(), Some(1));
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains("Fatal error loading the DB"), "{shown}");
        assert_eq!(std::fs::read(&path).expect("the snapshot"), damaged);
    }
}

#[test]
fn a_snapshot_is_looked_through_without_a_server() {
    let server = start(&[]);
    let mut client = server.connect();
    client.cmd(&["SET", "greeting", "hello", "EX", "1000"]);
    client.cmd(&["SADD", "names", "ada", "grace"]);
    client.cmd(&["SAVE"]);
    let file = server.dir().join("dump.rdb");
    let check = || {
        let mut program = Command::new(env!("CARGO_BIN_EXE_larder-server"));
        program.arg("check-rdb").arg(&file).output().expect("the program starts")
    };
    let good = check();
    let text = String::from_utf8_lossy(&good.stdout);
    assert!(good.status.success(), "{text}");
    for line in ["database 0: 1 of type set", "database 0: 1 of type string", "1 keys with an expiry"] {
        assert!(text.contains(line), "{text}");
    }
    let bytes = std::fs::read(&file).expect("the snapshot");
    std::fs::write(&file, &bytes[..bytes.len() - 4]).expect("the directory is ours");
    let bad = check();
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8_lossy(&bad.stderr);
    assert!(text.contains(&format!("at offset {}", bytes.len() - 4)), "{text}");
}

#[test]
fn what_is_not_supported_stops_the_start_or_is_left_out_on_request() {
    let Ok(real) = Server::try_start(Options::redis()) else { return };
    let mut client = real.connect();
    for line in ["XADD events 1-1 field value", "SET plain value", "XADD more 1-1 field value"] {
        client.line(line);
    }
    client.cmd(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=lib\nredis.register_function('f', function() return 1 end)",
    ]);
    client.cmd(&["SAVE"]);
    let ours = start(&[]);
    let file = ours.dir().join("dump.rdb");
    std::fs::copy(real.dir().join("dump.rdb"), &file).expect("the directory is ours");
    let dir = ours.dir();
    let dir = dir.to_str().expect("ASCII");
    let check = |arguments: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_larder-server"));
        let output =
            program.arg("check-rdb").args(arguments).arg(&file).output().expect("the program starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (is_good, text) = check(&[]);
    assert!(!is_good && text.contains("unsupported: function library (offset "), "{text}");
    let (is_good, text) = check(&["--skip-unsupported"]);
    assert!(is_good && text.contains("would be left out: stream: 2, function library: 1"), "{text}");
    assert!(text.contains("database 0: 1 of type string"), "{text}");
    let why = Server::try_start(larder(&["--dir", dir])).err().unwrap_or_default();
    assert!(why.contains("unsupported: function library (offset "), "{why}");
    let skipping = start(&["--dir", dir, "--rdb-skip-unsupported", "yes"]);
    assert!(
        skipping.log().contains("(rdb-skip-unsupported): stream: 2, function library: 1."),
        "{}",
        skipping.log()
    );
    let mut client = skipping.connect();
    assert_eq!(info(&mut client, "persistence", "larder_last_load_skipped"), "3");
    assert_eq!(client.cmd(&["DBSIZE"]), Frame::Integer(1));
    // The base of an append-only file is a snapshot too.
    for (options, is_good) in [(&[][..], false), (&["--skip-unsupported"], true)] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_larder-server"));
        let status = program.arg("check-aof").args(options).arg(&file).status().expect("the program starts");
        assert_eq!(status.success(), is_good, "{options:?}");
    }
}

#[test]
fn a_second_server_that_saves_in_the_same_place_does_not_start() {
    let mut first = start(&["--save", "3600 1"]);
    let dir = first.dir();
    let dir = dir.to_str().expect("ASCII");
    let why = Server::try_start(larder(&["--save", "3600 1", "--dir", dir])).err().unwrap_or_default();
    assert!(why.contains("another server is using dump.rdb"), "{why}");
    // Another name, or no save points, and they do not touch each other's file.
    assert!(is_served(
        &mut start(&["--save", "3600 1", "--dir", dir, "--dbfilename", "other.rdb"]).connect()
    ));
    let guest = start(&["--dir", dir]);
    assert!(error(guest.connect().cmd(&["SAVE"])).contains("another server is using dump.rdb"));
    first.kill9();
    assert_eq!(guest.connect().cmd(&["SAVE"]), Frame::Simple(OK.to_vec()));
}

#[test]
fn sighup_changes_nothing_and_sigint_ends_in_order() {
    let mut server = start(&["--save", "86400 1000000"]);
    let mut client = server.connect();
    server.signal("HUP");
    for _ in 0..50 {
        assert!(is_served(&mut client));
    }
    client.cmd(&["SET", "k", "1"]);
    server.signal("INT");
    assert!(server.wait_exit().success());
    assert!(server.dir().join("dump.rdb").exists());
}

#[test]
fn a_background_server_leaves_its_number_and_serves() {
    let directory = TempDir::new();
    let port = testkit::port::Port::take();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let status = Command::new(env!("CARGO_BIN_EXE_larder-server"))
        .args(["--daemonize", "yes", "--port", &port.number().to_string(), "--dir", &path("")])
        .args(["--pidfile", &path("pid"), "--logfile", &path("log")])
        .status();
    assert!(status.expect("the server starts").success());
    let mut client =
        wait_for("the background server", || Client::try_connect(("127.0.0.1", port.number())).ok());
    assert!(is_served(&mut client));
    let pid = wait_for("the pidfile", || std::fs::read_to_string(path("pid")).ok());
    assert!(Command::new("kill").arg(pid.trim()).status().expect("kill is there").success());
    client.read_to_close();
    wait_for("the end", || (!std::path::Path::new(&path("pid")).exists()).then_some(()));
    let log = std::fs::read_to_string(path("log")).expect("the log");
    assert!(log.contains("Ready to accept connections") && log.contains("bye bye"), "{log}");
}

#[test]
fn systemd_hears_when_the_server_is_ready_and_when_it_ends() {
    let directory = TempDir::new();
    let path = directory.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("the directory is ours");
    socket.set_read_timeout(Some(support::SOON)).expect("a positive time");
    let port = testkit::port::Port::take();
    let mut child = Command::new(env!("CARGO_BIN_EXE_larder-server"))
        .args(["--supervised", "systemd", "--save", "", "--port", &port.number().to_string()])
        .env("NOTIFY_SOCKET", &path)
        .current_dir(directory.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the server starts");
    let receive = || {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    assert!(receive().contains("READY=1"));
    let mut client = Client::connect(("127.0.0.1", port.number()));
    assert!(is_served(&mut client));
    assert!(Command::new("kill").arg(child.id().to_string()).status().expect("kill is there").success());
    assert!(receive().contains("STOPPING=1"));
    assert!(child.wait().expect("it ends").success());
}

/// Looks through an append-only file; returns whether it is good and all that was printed.
fn check_aof(arguments: &[&str]) -> (bool, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_larder-server"));
    let output = program.arg("check-aof").args(arguments).output().expect("the program starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_cut_end_of_a_real_append_only_file_is_found_and_cut_off() {
    let mut real =
        Server::start(testkit::Options::redis().args(["--appendonly", "yes", "--appendfsync", "always"]));
    let mut client = real.connect();
    client.cmd(&["SET", "k", "0"]);
    client.cmd(&["BGREWRITEAOF"]);
    wait_for("the rewrite", || {
        let info = client.cmd(&["INFO", "persistence"]);
        format!("{info:?}").contains("aof_rewrite_in_progress:0").then_some(())
    });
    client.cmd(&["SET", "k", "1"]);
    for command in [&["MULTI"][..], &["SET", "k", "2"], &["SET", "l", "2"], &["EXEC"]] {
        client.cmd(command);
    }
    let directory = real.dir().join("appendonlydir");
    assert!(real.stop_gracefully().success());
    let manifest = directory.join("appendonly.aof.manifest");
    let manifest = manifest.to_str().expect("a path of the test");
    let (good, text) = check_aof(&[manifest]);
    assert!(good, "{text}");

    let names = std::fs::read_dir(&directory).expect("the directory").flatten();
    let incremental =
        names.map(|entry| entry.path()).find(|path| path.to_string_lossy().ends_with("incr.aof"));
    let incremental = incremental.expect("there is one");
    let whole = std::fs::read(&incremental).expect("the file");
    let transaction =
        whole.windows(5).position(|at| at == b"MULTI").expect("it is there") - "*1\r\n$5\r\n".len();
    std::fs::write(&incremental, &whole[..whole.len() - 3]).expect("the directory is ours");
    let (good, text) = check_aof(&[manifest]);
    let lost = whole.len() - 3 - transaction;
    assert!(
        !good && text.contains(&format!("--fix would cut off {lost} bytes from offset {transaction}")),
        "{text}"
    );
    let (good, text) = check_aof(&["--fix", manifest]);
    assert!(good, "{text}");
    real.restart();
    let mut client = real.connect();
    assert_eq!(
        client.cmd(&["MGET", "k", "l"]).to_string(),
        Frame::Array(vec![Frame::bulk("1"), Frame::Null]).to_string()
    );
}
