//! Servers and clients: shown with the oracle, which is always there when the tests run.

use std::time::Duration;

use larder_resp::Frame;
use testkit::client::{Client, ClientError, show_command, split_line};
use testkit::{Options, Ready, Server};

fn ok() -> Frame {
    Frame::Simple(b"OK".to_vec())
}

#[test]
fn a_server_answers_and_is_gone_after_drop() {
    let Some(server) = Server::oracle_or_skip() else { return };
    let addr = server.addr();
    assert_eq!(server.connect().line("SET key 'a value'"), ok());
    assert_eq!(server.connect().line("GET key"), Frame::Bulk(b"a value".to_vec()));
    assert!(server.memory_rss() > 1 << 20);
    assert!(server.log().contains("Ready to accept connections"));
    drop(server);
    assert!(Client::try_connect(addr).is_err());
}

#[test]
fn a_restart_keeps_port_and_directory() {
    let Some(mut server) = Server::oracle_or_skip() else { return };
    let port = server.port();
    let mut client = server.connect();
    client.line("SET key kept");
    client.line("SAVE");
    client.line("SET key lost");
    server.kill9();
    assert!(!server.is_running());
    server.restart();
    assert_eq!(server.port(), port);
    assert_eq!(server.connect().line("GET key"), Frame::Bulk(b"kept".to_vec()));
    assert!(server.stop_gracefully().success());
}

#[test]
fn a_start_that_fails_shows_the_log() {
    if testkit::server::redis_version().is_none() {
        return;
    }
    let why = Server::try_start(Options::redis().args(["--no-such-directive", "1"]))
        .expect_err("an unknown directive");
    assert!(why.contains("no-such-directive"), "{why}");
}

#[test]
fn a_configuration_file_and_a_unix_socket() {
    if testkit::server::redis_version().is_none() {
        return;
    }
    let options =
        Options::redis().config("unixsocket here.sock\nport 0\n").ready(Ready::Log("is now ready".into()));
    // The socket lies in the working directory of the server, which is its data directory after --dir.
    let server = Server::start(options.args(["--port", "0"]));
    let mut client = Client::connect_unix(&server.dir().join("here.sock")).expect("a socket");
    assert_eq!(client.line("PING"), Frame::Simple(b"PONG".to_vec()));
}

#[test]
fn silence_is_a_failure_with_a_text() {
    let Some(server) = Server::oracle_or_skip() else { return };
    let mut client = server.connect();
    client.set_timeout(Duration::from_millis(50));
    client.send(&["BLPOP", "nothing", "0"]);
    assert!(matches!(client.try_read(), Err(ClientError::Hang(_))));
    assert_eq!(client.read_within(Duration::from_millis(10)), None);
}

#[test]
fn pipelines_large_replies_and_protocols() {
    let Some(server) = Server::oracle_or_skip() else { return };
    let mut client = server.connect();
    let commands: Vec<Vec<String>> =
        (0..1000).map(|n| vec!["INCRBY".to_owned(), "n".to_owned(), n.to_string()]).collect();
    let replies = client.pipeline(&commands);
    assert_eq!(replies.last(), Some(&Frame::Integer(499_500)));

    let big = vec![b'x'; 5_000_000];
    assert_eq!(client.cmd(&[b"SET".as_slice(), b"big", &big]), ok());
    assert_eq!(client.line("GET big"), Frame::Bulk(big));

    client.line("HSET h f v");
    assert!(matches!(client.line("HGETALL h"), Frame::Array(_)));
    client.hello(3);
    assert!(matches!(client.line("HGETALL h"), Frame::Map(_)));
    client.send_raw(b"*1\r\n$-5\r\n");
    assert!(client.read_to_close().starts_with(b"-ERR Protocol error"));
}

#[test]
fn a_shown_command_can_be_read_back() {
    for words in [vec![&b"SET"[..], b"", b"a b", b"\0\r\n\xff\"\\'"], vec![&b"PING"[..]]] {
        assert_eq!(split_line(&show_command(&words)), words);
    }
    assert_eq!(split_line(r#"a 'b c' "d\x41\n""#), [&b"a"[..], b"b c", b"dA\n"]);
}
