//! Saving in the background: BGSAVE, save points, and what happens when the disk does not do its part.

mod support;

use larder_resp::Frame;
use support::{bulk, error, info, larder, start, wait_for};
use testkit::durable::{Amount, Files, hand_over};
use testkit::{Client, Options, Server};

fn simple(text: &str) -> Frame {
    Frame::Simple(text.as_bytes().to_vec())
}

/// Waits until the save under way has ended.
fn wait_for_save(client: &mut Client) {
    wait_for("the end of the save", || {
        (info(client, "persistence", "rdb_bgsave_in_progress") == "0").then_some(())
    });
}

/// A file in the server's directory that is neither a snapshot nor a lock.
fn leftover(server: &Server) -> Option<std::path::PathBuf> {
    let files = std::fs::read_dir(server.dir()).expect("the directory is there");
    files
        .map(|file| file.expect("it can be listed").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tmp"))
}

#[test]
fn a_background_save_survives_a_crash() {
    let mut server = start(&[]);
    let mut client = server.connect();
    client.cmd(&["SET", "k", "saved"]);
    client.cmd(&["RPUSH", "l", "a", "b"]);
    assert_eq!(info(&mut client, "persistence", "rdb_last_bgsave_time_sec"), "-1");
    assert_eq!(client.cmd(&["BGSAVE"]), simple("Background saving started"));
    wait_for_save(&mut client);
    assert_eq!(info(&mut client, "persistence", "rdb_last_bgsave_status"), "ok");
    assert_eq!(info(&mut client, "persistence", "rdb_last_bgsave_time_sec"), "0");
    assert_eq!(info(&mut client, "persistence", "rdb_changes_since_last_save"), "0");
    client.cmd(&["SET", "k", "not saved"]);
    server.kill9();
    server.restart();
    let mut client = server.connect();
    assert_eq!(bulk(client.cmd(&["GET", "k"])), "saved");
    assert_eq!(client.cmd(&["LLEN", "l"]), Frame::Integer(2));
}

#[test]
fn the_version_that_was_asked_for_is_saved_and_loaded_again() {
    let mut server = start(&["--rdb-version", "11"]);
    let mut client = server.connect();
    client.cmd(&["SET", "k", "v"]);
    client.cmd(&["SADD", "s", "1", "word"]);
    for save in ["SAVE", "BGSAVE"] {
        client.cmd(&[save]);
        wait_for_save(&mut client);
        let bytes = std::fs::read(server.dir().join("dump.rdb")).expect("it was saved");
        assert!(bytes.starts_with(b"REDIS0011"), "{}", bytes[..9].escape_ascii());
    }
    server.kill9();
    server.restart();
    let mut client = server.connect();
    assert_eq!(bulk(client.cmd(&["GET", "k"])), "v");
    assert_eq!(client.cmd(&["SCARD", "s"]), Frame::Integer(2));
}

#[test]
fn redis_loads_what_we_have_saved_and_we_what_it_has() {
    let small = Amount { string: 20_000, elements: 1000 };
    assert_eq!(hand_over(larder(&[]), Options::redis(), small, Files::Snapshot), Vec::<String>::new());
    assert_eq!(hand_over(Options::redis(), larder(&[]), small, Files::Snapshot), Vec::<String>::new());
}

#[test]
fn inside_a_transaction_a_save_is_put_off() {
    let server = start(&[]);
    let mut client = server.connect();
    for line in ["MULTI", "SET k 1", "BGSAVE", "SET k 2"] {
        client.line(line);
    }
    let replies = client.line("EXEC");
    let scheduled = simple("Background saving scheduled");
    assert_eq!(replies, Frame::Array(vec![simple("OK"), scheduled, simple("OK")]));
    wait_for("the snapshot", || server.dir().join("dump.rdb").exists().then_some(()));
}

#[test]
fn save_points_begin_a_save() {
    let server = start(&["--save", "1 2"]);
    let mut client = server.connect();
    client.cmd(&["SET", "a", "1"]);
    client.cmd(&["SET", "b", "1"]);
    wait_for("the snapshot", || server.dir().join("dump.rdb").exists().then_some(()));
    wait_for_save(&mut client);
    assert!(server.log().contains("2 changes in 1 seconds. Saving..."), "{}", server.log());
    assert_eq!(info(&mut client, "persistence", "rdb_changes_since_last_save"), "0");
}

#[test]
fn writes_are_refused_until_a_snapshot_can_be_written_again() {
    let server = start(&["--save", "86400 1"]);
    let mut client = server.connect();
    client.cmd(&["SET", "k", "1"]);
    let (dir, away) = (server.dir(), server.dir().with_extension("away"));
    std::fs::rename(&dir, &away).expect("a directory can be moved");
    assert_eq!(client.cmd(&["BGSAVE"]), simple("Background saving started"));
    wait_for_save(&mut client);
    assert_eq!(info(&mut client, "persistence", "rdb_last_bgsave_status"), "err");
    assert!(error(client.cmd(&["SET", "k", "2"])).starts_with("MISCONF "));
    assert!(error(client.cmd(&["PING"])).starts_with("MISCONF "));
    assert_eq!(bulk(client.cmd(&["GET", "k"])), "1");
    // Inside a transaction the write spoils it.
    client.cmd(&["MULTI"]);
    assert!(error(client.cmd(&["INCR", "k"])).starts_with("MISCONF "));
    assert!(error(client.cmd(&["EXEC"])).starts_with("EXECABORT "));
    // Who does not care may say so, or do without save points.
    client.cmd(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    assert_eq!(client.cmd(&["SET", "k", "3"]), simple("OK"));
    client.cmd(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"]);
    assert!(error(client.cmd(&["SET", "k", "4"])).starts_with("MISCONF "));
    client.cmd(&["CONFIG", "SET", "save", ""]);
    assert_eq!(client.cmd(&["SET", "k", "5"]), simple("OK"));
    client.cmd(&["CONFIG", "SET", "save", "86400 1"]);
    assert!(error(client.cmd(&["SET", "k", "6"])).starts_with("MISCONF "));
    // There is a disk again: the next save lets writes go on, without a restart.
    std::fs::rename(&away, &dir).expect("and back");
    assert_eq!(client.cmd(&["BGSAVE"]), simple("Background saving started"));
    wait_for_save(&mut client);
    assert_eq!(client.cmd(&["SET", "k", "7"]), simple("OK"));
    assert!(dir.join("dump.rdb").exists());
}

#[test]
fn a_shutdown_gives_up_the_save_under_way() {
    let mut server = start(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    client.cmd(&["DEBUG", "POPULATE", "300000", "key", "100"]);
    assert_eq!(client.cmd(&["BGSAVE"]), simple("Background saving started"));
    assert_eq!(error(client.cmd(&["BGSAVE"])), "ERR Background save already in progress");
    assert_eq!(error(client.cmd(&["SAVE"])), "ERR Background save already in progress");
    client.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(server.wait_exit().success());
    assert_eq!(leftover(&server), None);
    assert!(!server.dir().join("dump.rdb").exists());
}

#[test]
fn what_a_killed_save_has_left_is_removed_at_the_start() {
    let mut server = start(&["--save", "3600 1"]);
    server.kill9();
    let [stale, other] = ["dump.rdb.4711.tmp", "dump.rdb.mine.tmp"].map(|name| server.dir().join(name));
    for path in [&stale, &other] {
        std::fs::write(path, "half of a snapshot").expect("the directory is ours");
    }
    server.restart();
    assert!(!stale.exists(), "it is still there");
    assert!(other.exists(), "it is somebody else's");
}
