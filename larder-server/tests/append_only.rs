//! The append-only file: what survives, what other servers make of it, and what happens when the disk fails.

mod support;

use larder_resp::Frame;
use std::process::Command;
use support::{bulk, error, info, larder, start, wait_for};
use testkit::crash::kill_under_load;
use testkit::durable::{Amount, Files, contents, differences, fill, hand_over, wait_for_rewrite};
use testkit::{Client, Options, Ready, Server};

const SMALL: Amount = Amount { string: 100_000, elements: 3000 };

fn simple(text: &str) -> Frame {
    Frame::Simple(text.as_bytes().to_vec())
}

fn set(client: &mut Client, key: &str, value: &str) {
    assert_eq!(client.cmd(&["SET", key, value]), simple("OK"));
}

#[test]
fn a_killed_server_has_lost_nothing_it_has_told() {
    for fsync in ["always", "everysec"] {
        let arguments = ["--appendonly", "yes", "--appendfsync", fsync, "--auto-aof-rewrite-min-size", "1kb"];
        let mut server = start(&arguments);
        let found = kill_under_load(&mut server, fsync == "always", 5, 1);
        assert!(found.wrong.is_empty(), "{fsync}: {:?}", found.wrong);
        assert!(found.acknowledged > 0, "{fsync}: nothing was acknowledged");
    }
}

#[test]
fn redis_takes_over_what_we_have_written_and_we_what_it_has() {
    for has_preamble in [true, false] {
        let files = Files::AppendOnly { has_preamble };
        assert_eq!(hand_over(larder(&[]), Options::redis(), SMALL, files), Vec::<String>::new());
        assert_eq!(hand_over(Options::redis(), larder(&[]), SMALL, files), Vec::<String>::new());
    }
}

#[test]
fn the_single_file_of_older_servers_is_taken_over() {
    let mut server = start(&[]);
    let commands = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    std::fs::write(server.dir().join("appendonly.aof"), commands).expect("the directory is ours");
    server.set_args(["--appendonly", "yes"]);
    for _ in 0..2 {
        server.restart();
        assert_eq!(bulk(server.connect().cmd(&["GET", "k"])), "v");
    }
    let manifest = std::fs::read_to_string(server.dir().join("appendonlydir/appendonly.aof.manifest"));
    let manifest = manifest.expect("there is a manifest");
    assert!(manifest.starts_with("file appendonly.aof seq 1 type b\n"), "{manifest}");
    assert!(!server.dir().join("appendonly.aof").exists());
}

#[test]
fn a_snapshot_becomes_the_base_where_there_is_nothing_else() {
    let mut server = start(&[]);
    let mut client = server.connect();
    set(&mut client, "k", "v");
    client.cmd(&["SAVE"]);
    server.kill9();
    server.set_args(["--appendonly", "yes"]);
    server.restart();
    set(&mut server.connect(), "l", "w");
    server.kill9();
    std::fs::remove_file(server.dir().join("dump.rdb")).expect("it is there");
    server.restart();
    let values = server.connect().cmd(&["MGET", "k", "l"]);
    assert_eq!(values, Frame::Array(vec![Frame::bulk("v"), Frame::bulk("w")]));
}

#[test]
fn it_is_switched_on_and_off_while_the_server_runs() {
    let mut server = start(&["--appendonly", "no"]);
    let mut client = server.connect();
    fill(&mut client, SMALL, 1);
    assert_eq!(info(&mut client, "persistence", "aof_enabled"), "0");
    assert_eq!(client.cmd(&["CONFIG", "SET", "appendonly", "yes"]), simple("OK"));
    fill(&mut client, Amount { string: 10, elements: 100 }, 2);
    wait_for("the base", || (info(&mut client, "persistence", "aof_pending_rewrite") == "0").then_some(()));
    assert_eq!(client.cmd(&["CONFIG", "SET", "appendfsync", "always"]), simple("OK"));
    set(&mut client, "last", "1");
    let before = contents(&mut client);
    assert_eq!(client.cmd(&["CONFIG", "SET", "appendonly", "no"]), simple("OK"));
    set(&mut client, "after", "1");
    server.kill9();
    server.set_args(["--appendonly", "yes"]);
    server.restart();
    let mut client = server.connect();
    assert_eq!(differences(&before, &contents(&mut client)), Vec::<String>::new());
    assert!(error(start(&[]).connect().cmd(&["BGREWRITEAOF"])).contains("appendonly is no"));
}

#[test]
fn a_rewrite_goes_on_beside_writes() {
    let mut server = start(&["--appendonly", "yes"]);
    let mut client = server.connect();
    fill(&mut client, SMALL, 1);
    assert_eq!(client.cmd(&["BGREWRITEAOF"]), simple("Background append only file rewriting started"));
    (0..2000).for_each(|nth| set(&mut client, &format!("k{nth}"), "v"));
    wait_for_rewrite(&mut client);
    assert_eq!(info(&mut client, "persistence", "aof_rewrites"), "1");
    assert_eq!(info(&mut client, "persistence", "aof_last_bgrewrite_status"), "ok");
    let before = contents(&mut client);
    server.kill9();
    server.restart();
    assert_eq!(differences(&before, &contents(&mut server.connect())), Vec::<String>::new());
}

/// Starts the server so that it is told of a file that is too large instead of being killed, and limits its files.
fn limit(server: &Server, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let status = Command::new("prlimit").args([&limit, "--pid", &server.pid().to_string()]).status();
    assert!(status.expect("prlimit is there").success());
}

#[test]
fn writes_are_refused_while_the_disk_takes_nothing_and_go_on_afterwards() {
    for fsync in ["always", "everysec"] {
        let mut server = start(&["--appendonly", "yes", "--appendfsync", fsync]);
        let mut client = server.connect();
        set(&mut client, "before", "1");
        limit(&server, "2000");
        let value = "v".repeat(100);
        let mut refusal = None;
        for nth in 0..5000 {
            // With always the connection is closed whose write is neither durable nor refused.
            match client.try_cmd(&["SET", &format!("k{nth}"), &value]) {
                Ok(Frame::Error(text)) => {
                    refusal = Some(String::from_utf8_lossy(&text).into_owned());
                    break;
                }
                Ok(_) => {}
                Err(_) => client = server.connect(),
            }
        }
        let refusal = refusal.expect("writes are refused");
        assert_eq!(refusal, "MISCONF Errors writing to the AOF file: File too large", "{fsync}");
        assert_eq!(bulk(client.cmd(&["GET", "before"])), "1");
        assert_eq!(info(&mut client, "persistence", "aof_last_write_status"), "err");
        assert!(error(client.cmd(&["PING"])).starts_with("MISCONF"));
        limit(&server, "unlimited");
        wait_for("writes to go on", || (client.cmd(&["SET", "after", "1"]) == simple("OK")).then_some(()));
        assert_eq!(info(&mut client, "persistence", "aof_last_write_status"), "ok");
        let before = contents(&mut client);
        server.kill9();
        server.restart();
        assert_eq!(differences(&before, &contents(&mut server.connect())), Vec::<String>::new(), "{fsync}");
    }
}

#[test]
fn a_directory_belongs_to_one_server() {
    let first = start(&["--appendonly", "yes"]);
    let dir = first.dir().display().to_string();
    let second = larder(&["--appendonly", "yes", "--dir", &dir]).ready(Ready::Spawned);
    let mut second = Server::start(second);
    assert!(!second.wait_exit().success());
    assert!(second.log().contains("another process is using appendonlydir"), "{}", second.log());
}

#[test]
fn a_damaged_file_stops_the_start_and_says_where() {
    let mut server = start(&["--appendonly", "yes"]);
    let mut client = server.connect();
    set(&mut client, "k", "v");
    let path = server.dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    server.kill9();
    let mut bytes = std::fs::read(&path).expect("it is there");
    let offset = bytes.len();
    bytes.extend_from_slice(b"*1\r\n$4\r\nPING\r\nrubbish");
    std::fs::write(&path, &bytes).expect("the directory is ours");
    let dir = server.dir().display().to_string();
    let mut again = Server::start(larder(&["--appendonly", "yes", "--dir", &dir]).ready(Ready::Spawned));
    assert!(!again.wait_exit().success());
    let expected = format!(
        "appendonly.aof.1.incr.aof: corrupt: expected a command or an annotation (offset {})",
        offset + 14
    );
    assert!(again.log().contains(&expected), "{}", again.log());
    assert_eq!(std::fs::read(&path).expect("it is there"), bytes, "the file is as it was");
}

#[test]
fn waitaof_waits_for_the_sync() {
    let server = start(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let mut client = server.connect();
    set(&mut client, "k", "v");
    let reply = client.cmd(&["WAITAOF", "1", "0", "10000"]);
    assert_eq!(reply, Frame::Array(vec![Frame::Integer(1), Frame::Integer(0)]));
    assert!(error(client.cmd(&["WAITAOF", "2", "0", "0"])).contains("out of range"));
    let none = start(&[]);
    assert!(error(none.connect().cmd(&["WAITAOF", "1", "0", "0"])).contains("appendonly is disabled"));
}

#[test]
fn a_rewrite_that_cannot_be_written_changes_nothing() {
    let server = start(&["--appendonly", "yes"]);
    let mut client = server.connect();
    set(&mut client, "k", "v");
    // Root may write anywhere but where there is nothing to write to.
    let (here, away) = (server.dir().join("appendonlydir"), server.dir().join("away"));
    std::fs::rename(&here, &away).expect("the directory is ours");
    client.cmd(&["BGREWRITEAOF"]);
    wait_for("the failure", || {
        (info(&mut client, "persistence", "aof_last_bgrewrite_status") == "err").then_some(())
    });
    std::fs::rename(&away, &here).expect("the directory is ours");
    wait_for("writes to go on", || (client.cmd(&["SET", "l", "w"]) == simple("OK")).then_some(()));
    wait_for("the rewrite", || {
        client.cmd(&["BGREWRITEAOF"]);
        (info(&mut client, "persistence", "aof_last_bgrewrite_status") == "ok").then_some(())
    });
    let before = contents(&mut client);
    let mut server = server;
    server.kill9();
    server.restart();
    assert_eq!(differences(&before, &contents(&mut server.connect())), Vec::<String>::new());
}
