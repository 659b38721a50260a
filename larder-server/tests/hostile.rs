//! Clients that do what they should not: none of them may disturb another one, or cost more than they have sent.

mod support;

use larder_resp::Frame;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use support::{SOON, info, is_served, larder, start, wait_for};
use testkit::{Client, Rng, Server};

/// Memory that a server without data may take, whatever its clients do short of sending it.
const MEMORY_MAX: u64 = 200 * 1024 * 1024;

#[test]
fn a_malformed_request_is_answered_in_redis_words_and_ends_only_its_connection() {
    let server = start(&["--io-threads", "1"]);
    let mut neighbour = server.connect();
    let long_line = [b"*".as_slice(), &vec![b'1'; 70_000]].concat();
    let cases: &[(&[u8], &str)] = &[
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
        (b"*1\r\n$4x\r\nPING\r\n", "invalid bulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"GET \"unbalanced\r\n", "unbalanced quotes in request"),
        (&long_line, "too big mbulk count string"),
        (&vec![b'x'; 70_000], "too big inline request"),
    ];
    for (bytes, expected) in cases {
        let mut client = server.connect();
        client.send_raw(bytes);
        let answer = String::from_utf8_lossy(&client.read_to_close()).into_owned();
        assert_eq!(answer, format!("-ERR Protocol error: {expected}\r\n"));
        assert!(is_served(&mut neighbour));
    }
}

#[test]
fn counts_without_arguments_are_passed_over() {
    let server = start(&[]);
    let mut client = server.connect();
    client.send_raw(b"*-7\r\n*0\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(client.read(), Frame::Simple(b"PONG".to_vec()));
}

#[test]
fn what_was_answered_before_the_mistake_still_arrives() {
    let server = start(&[]);
    let mut client = server.connect();
    // Much that is unread when the connection ends: the answers must not be lost with it.
    let mut bytes = b"SET a 1\r\nGET a\r\n*1\r\n$-1\r\n".to_vec();
    bytes.resize(bytes.len() + 200_000, b'x');
    client.send_raw(&bytes);
    let answer = client.read_to_close();
    assert!(answer.starts_with(b"+OK\r\n$1\r\n1\r\n-ERR Protocol error"), "{}", answer.escape_ascii());
}

#[test]
fn half_a_command_waits_for_the_other_half() {
    let server = start(&["--io-threads", "1"]);
    let mut slow = server.connect();
    let mut neighbour = server.connect();
    let request = b"*3\r\n$3\r\nSET\r\n$5\r\nhalf1\r\n$7\r\npayload\r\n";
    for byte in request {
        slow.send_raw(&[*byte]);
        assert!(is_served(&mut neighbour));
    }
    assert_eq!(slow.read(), Frame::Simple(b"OK".to_vec()));
    assert_eq!(neighbour.cmd(&["GET", "half1"]), Frame::Bulk(b"payload".to_vec()));
}

#[test]
fn an_announced_length_costs_nothing_until_the_bytes_come() {
    let server = start(&["--io-threads", "1"]);
    let mut neighbour = server.connect();
    let mut liars: Vec<Client> = (0..64).map(|_| server.connect()).collect();
    for liar in &mut liars {
        liar.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nstart of something big");
    }
    assert!(is_served(&mut neighbour));
    assert!(server.memory_peak() < MEMORY_MAX, "{} bytes", server.memory_peak());
}

#[test]
fn a_large_value_arrives_whole_and_its_buffers_are_let_go() {
    let server = start(&["--io-threads", "1"]);
    let value: Vec<u8> = (0..32 * 1024 * 1024_u32).map(|at| (at % 251) as u8).collect();
    // Every connection stays open: what it kept of its buffers would add up to 1 GiB.
    let mut connections: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    for client in &mut connections {
        client.set_timeout(SOON * 3);
        assert_eq!(client.cmd(&[b"SET".as_slice(), b"large", &value]), Frame::Simple(b"OK".to_vec()));
        assert!(client.cmd(&["GET", "large"]) == Frame::Bulk(value.clone()), "another value came back");
        assert_eq!(client.cmd(&["DEL", "large"]), Frame::Integer(1));
    }
    assert!(server.memory_peak() < 2 * MEMORY_MAX, "{} bytes", server.memory_peak());
}

#[test]
fn a_client_that_never_reads_stalls_nobody_and_fills_nothing() {
    let server = start(&["--io-threads", "1"]);
    let mut neighbour = server.connect();
    let value = vec![b'v'; 1_000_000];
    assert_eq!(neighbour.cmd(&[b"SET".as_slice(), b"big", &value]), Frame::Simple(b"OK".to_vec()));
    let mut silent = TcpStream::connect(server.addr()).expect("the server accepts");
    silent.set_write_timeout(Some(Duration::from_secs(1))).expect("a positive time");
    // 20 GB are asked for; a server that executed them all would have to keep them.
    let requests = b"GET big\r\n".repeat(20_000);
    let _stops_taking_them = silent.write_all(&requests);
    for _ in 0..200 {
        assert!(is_served(&mut neighbour));
    }
    assert!(server.memory_peak() < MEMORY_MAX, "{} bytes", server.memory_peak());
    // It is not lost either: what it reads now is what it asked for.
    let mut header = [0; 10];
    silent.read_exact(&mut header).expect("the first reply");
    assert_eq!(&header, b"$1000000\r\n");
    let mut rest = vec![0; 3 * 1_000_012];
    silent.read_exact(&mut rest).expect("three more replies");
}

#[test]
fn a_subscriber_that_never_reads_is_closed_at_its_limit() {
    let server = start(&["--client-output-buffer-limit", "pubsub", "4mb", "0", "0"]);
    let mut publisher = server.connect();
    let mut subscriber = server.connect();
    let mut reader = server.connect();
    subscriber.send(&["SUBSCRIBE", "news"]);
    reader.cmd(&["SUBSCRIBE", "news"]);
    wait_for("the subscription", || {
        (publisher.cmd(&["PUBSUB", "NUMSUB", "news"]) == numsub(2)).then_some(())
    });
    let message = "m".repeat(100_000);
    for _ in 0..400 {
        publisher.cmd(&["PUBLISH", "news", &message]);
        reader.read();
    }
    wait_for("the end of the silent subscriber", || {
        (publisher.cmd(&["PUBSUB", "NUMSUB", "news"]) == numsub(1)).then_some(())
    });
    server.wait_log("output buffer limits");
    assert!(server.memory_peak() < MEMORY_MAX, "{} bytes", server.memory_peak());
}

fn numsub(count: i64) -> Frame {
    Frame::Array(vec![Frame::Bulk(b"news".to_vec()), Frame::Integer(count)])
}

#[test]
fn a_soft_limit_counts_once_its_time_is_over() {
    let server = start(&["--client-output-buffer-limit", "pubsub", "0", "1mb", "1"]);
    let mut publisher = server.connect();
    let mut subscriber = server.connect();
    subscriber.send(&["SUBSCRIBE", "news"]);
    wait_for("the subscription", || {
        (publisher.cmd(&["PUBSUB", "NUMSUB", "news"]) == numsub(1)).then_some(())
    });
    let message = "m".repeat(1_000_000);
    for _ in 0..20 {
        publisher.cmd(&["PUBLISH", "news", &message]);
    }
    wait_for("the end of the silent subscriber", || {
        (publisher.cmd(&["PUBSUB", "NUMSUB", "news"]) == numsub(0)).then_some(())
    });
}

#[test]
fn more_input_than_allowed_ends_the_connection() {
    let server = start(&["--client-query-buffer-limit", "1mb"]);
    let mut client = server.connect();
    let value = vec![b'v'; 3_000_000];
    let request = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n".as_slice(), &value, b"\r\n"].concat();
    // The connection may end while this is still being sent.
    let _may_end = client.try_send_raw(&request);
    assert!(client.is_closed_within(SOON));
    server.wait_log("max query buffer length");
    assert!(is_served(&mut server.connect()));
}

#[test]
fn a_long_pipeline_does_not_keep_others_waiting() {
    let server = start(&["--io-threads", "1"]);
    let mut neighbour = server.connect();
    let mut client = server.connect();
    let count = 100_000;
    client.send_raw(&b"INCR counter\r\n".repeat(count));
    assert!(is_served(&mut neighbour));
    for expected in 1..=count as i64 {
        assert_eq!(client.read(), Frame::Integer(expected));
    }
}

#[test]
fn what_looks_like_http_is_not_executed() {
    let server = start(&[]);
    for request in [
        "POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET evil 1\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nSET evil 1\r\n",
    ] {
        let mut client = server.connect();
        client.send_raw(request.as_bytes());
        client.read_to_close();
    }
    server.wait_log("Possible SECURITY ATTACK");
    assert_eq!(server.connect().cmd(&["EXISTS", "evil"]), Frame::Integer(0));
}

/// One hundred thousand strings of random bytes, on many connections, while another client goes on.
#[test]
fn random_bytes_disturb_nobody() {
    const SEED: u64 = 0x1a2d_e25e_ed00_0001;
    let server = Server::start(larder(&["--io-threads", "2", "--maxclients", "1000"]));
    let mut neighbour = server.connect();
    let mut rng = Rng::new(SEED);
    let mut client = TcpStream::connect(server.addr()).expect("the server accepts");
    for round in 0..100_000 {
        let bytes = hostile_bytes(&mut rng);
        // The server may end the connection at any byte; then the next string comes over a new one.
        let is_broken = client.write_all(&bytes).is_err();
        if is_broken || rng.percent(5) {
            client = TcpStream::connect(server.addr()).expect("the server accepts");
        }
        if round % 1000 == 0 {
            assert!(is_served(&mut neighbour), "seed {SEED:#x}, round {round}");
        }
    }
    drop(client);
    assert!(is_served(&mut neighbour), "seed {SEED:#x}");
    wait_for("the end of the hostile connections", || {
        (info(&mut neighbour, "clients", "connected_clients") == "1").then_some(())
    });
    assert!(server.memory_peak() < MEMORY_MAX, "{} bytes", server.memory_peak());
}

/// Bytes that get past the first look: pieces of the protocol in random order, with random bytes between them. Commands
/// that end the server or wait are not among the pieces.
fn hostile_bytes(rng: &mut Rng) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"*3\r\n",
        b"*1\r\n",
        b"*-1\r\n",
        b"*2147483647\r\n",
        b"*99999999999\r\n",
        b"$3\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$536870912\r\n",
        b"$4294967296\r\n",
        b"SET",
        b"GET",
        b"PING\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\"",
        b"'",
        b"\0",
        b"HELLO 3\r\n",
        b"MULTI\r\n",
        b"EXEC\r\n",
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b"SET k v\r\n",
        b" ",
        b"INCR n\r\n",
        b"SUBSCRIBE c\r\n",
        b"RESET\r\n",
        b"SELECT 3\r\n",
    ];
    let mut bytes = Vec::new();
    for _ in 0..rng.below(12) {
        if rng.percent(70) {
            bytes.extend_from_slice(PIECES[rng.below(PIECES.len())]);
        } else {
            bytes.extend((0..rng.below(24)).map(|_| rng.bits() as u8));
        }
    }
    bytes
}
