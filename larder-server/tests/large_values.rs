//! Large strings, which are sent from where they are: what arrives is what was there when the command ran, whatever
//! becomes of the key while it is on its way.

mod support;

use larder_resp::Frame;
use support::start;
use testkit::{Client, Rng, Server};

/// Bytes that tell which value they are of and where in it they stand.
fn value(name: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| name.wrapping_add((at / 1000) as u8)).collect()
}

fn set(client: &mut Client, key: &str, value: &[u8]) {
    assert_eq!(client.cmd(&[b"SET".as_slice(), key.as_bytes(), value]), Frame::Simple(b"OK".to_vec()));
}

fn expect(client: &mut Client, expected: &[u8]) {
    // Not compared as frames: a difference would be printed.
    let Frame::Bulk(bytes) = client.read() else { panic!("a string was asked for") };
    assert_eq!(bytes.len(), expected.len());
    let at = bytes.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!(at, None, "where the value differs first");
}

/// Asks for a value ten times without reading, among small ones, then changes it in each way there is.
fn overtaken(server: &Server) {
    const LEN: usize = 3_000_000;
    let (mut reader, mut writer) = (server.connect(), server.connect());
    let first = value(1, LEN);
    set(&mut writer, "large", &first);
    set(&mut writer, "small", b"little");
    reader.send(&["GET", "small"]);
    for _ in 0..10 {
        reader.send(&["GET", "large"]);
        reader.send(&["GET", "small"]);
    }
    // The first value is on its way once its first bytes have come.
    expect(&mut reader, b"little");
    for change in [
        vec!["APPEND", "large", "more"],
        vec!["SETRANGE", "large", "5", "other"],
        vec!["GETDEL", "large"],
        vec!["SET", "large", "short"],
        vec!["FLUSHALL"],
    ] {
        assert!(!matches!(writer.cmd(&change), Frame::Error(_)), "{change:?}");
    }
    // What ran before the changes saw the first value; what runs later, because so much is waiting, sees what is there.
    expect(&mut reader, &first);
    expect(&mut reader, b"little");
    let mut was_there = true;
    for _ in 0..9 {
        match reader.read() {
            Frame::Bulk(bytes) if was_there && bytes.len() >= LEN => {
                assert!(bytes.starts_with(&first[..5]) && bytes[10..LEN] == first[10..]);
            }
            Frame::Bulk(bytes) => assert_eq!(bytes, b"short"),
            Frame::Null => was_there = false,
            other => panic!("{other:?}"),
        }
        assert!(matches!(reader.read(), Frame::Bulk(_) | Frame::Null));
    }
    assert_eq!(writer.cmd(&["GET", "large"]), Frame::Null);
}

#[test]
fn a_string_on_its_way_does_not_change_and_holds_nobody_up() {
    for threads in ["1", "4"] {
        overtaken(&start(&["--io-threads", threads]));
    }
}

#[test]
fn pipelines_of_large_and_small_strings_arrive_in_order() {
    let server = start(&["--io-threads", "1"]);
    let mut client = server.connect();
    let mut rng = Rng::new(7);
    let lengths: Vec<usize> =
        (0..60).map(|n| [10, 16 * 1024 - 1, 16 * 1024, 40_000, 300_000][n % 5] + n).collect();
    for (nth, len) in lengths.iter().enumerate() {
        set(&mut client, &format!("key:{nth}"), &value(nth as u8, *len));
    }
    for _ in 0..5 {
        let asked: Vec<usize> = (0..200).map(|_| rng.below(lengths.len())).collect();
        let mut reader = server.connect();
        let requests: Vec<u8> = asked
            .iter()
            .flat_map(|nth| testkit::client::encode(&["GET".to_owned(), format!("key:{nth}")]))
            .collect();
        reader.send_raw(&requests);
        for nth in asked {
            expect(&mut reader, &value(nth as u8, lengths[nth]));
        }
    }
}

#[test]
fn a_transaction_and_a_muted_client_get_what_they_should() {
    let server = start(&[]);
    let mut client = server.connect();
    let large = value(3, 100_000);
    set(&mut client, "large", &large);
    client.cmd(&["MULTI"]);
    client.cmd(&["GET", "large"]);
    client.cmd(&["STRLEN", "large"]);
    client.cmd(&["GET", "large"]);
    let got = client.cmd(&["EXEC"]);
    let expected = [Frame::Bulk(large.clone()), Frame::Integer(100_000), Frame::Bulk(large)];
    assert!(got == Frame::Array(expected.to_vec()), "the replies of the transaction differ");
    client.send(&["CLIENT", "REPLY", "SKIP"]);
    client.send(&["GET", "large"]);
    assert_eq!(client.cmd(&["PING"]), Frame::Simple(b"PONG".to_vec()));
}

#[test]
fn what_waits_for_a_client_that_does_not_read_is_limited() {
    let server = start(&["--client-output-buffer-limit", "normal 1mb 0 0"]);
    let mut client = server.connect();
    set(&mut client, "large", &value(3, 3_000_000));
    let mut reader = server.connect();
    for _ in 0..20 {
        if reader.try_send_raw(&testkit::client::encode(&["GET", "large"])).is_err() {
            break;
        }
    }
    reader.read_to_close();
    server.wait_log("closed for overcoming of output buffer limits");
    assert_eq!(client.cmd(&["PING"]), Frame::Simple(b"PONG".to_vec()));
}
