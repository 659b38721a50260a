//! The reply encoder, checked byte for byte and by reading back what it wrote.

use larder_resp::{Frame, Proto, ProtocolError, ReplyWriter, parse_frame};
use proptest::prelude::*;

fn written(proto: Proto, write: impl FnOnce(&mut ReplyWriter<'_>)) -> String {
    let mut out = b"before".to_vec();
    write(&mut ReplyWriter::new(&mut out, proto));
    let text = String::from_utf8(out).expect("the replies tested are text");
    text.strip_prefix("before").expect("what was there stays").to_owned()
}

/// What one call writes in RESP2 and in RESP3.
fn both(write: impl Fn(&mut ReplyWriter<'_>)) -> [String; 2] {
    [written(Proto::Resp2, &write), written(Proto::Resp3, &write)]
}

#[test]
fn each_type_in_both_protocols() {
    assert_eq!(both(|r| r.ok()), ["+OK\r\n"; 2]);
    assert_eq!(both(|r| r.null()), ["$-1\r\n", "_\r\n"]);
    assert_eq!(both(|r| r.null_array()), ["*-1\r\n", "_\r\n"]);
    assert_eq!(both(|r| r.array(3)), ["*3\r\n"; 2]);
    assert_eq!(both(|r| r.map(2)), ["*4\r\n", "%2\r\n"]);
    assert_eq!(both(|r| r.set(12)), ["*12\r\n", "~12\r\n"]);
    assert_eq!(both(|r| r.push(345)), ["*345\r\n", ">345\r\n"]);
    assert_eq!(both(|r| r.boolean(true)), [":1\r\n", "#t\r\n"]);
    assert_eq!(both(|r| r.boolean(false)), [":0\r\n", "#f\r\n"]);
    assert_eq!(both(|r| r.double(0.1)), ["$19\r\n0.10000000000000001\r\n", ",0.10000000000000001\r\n"]);
    assert_eq!(both(|r| r.double(f64::NEG_INFINITY)), ["$4\r\n-inf\r\n", ",-inf\r\n"]);
    assert_eq!(both(|r| r.big_number("123")), ["$3\r\n123\r\n", "(123\r\n"]);
    assert_eq!(both(|r| r.verbatim("txt", b"a\nb")), ["$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n"]);
    assert_eq!(both(|r| r.bulk(b"")), ["$0\r\n\r\n"; 2]);
    assert_eq!(both(|r| r.bulk_integer(-42)), ["$3\r\n-42\r\n"; 2]);
}

#[test]
fn lines_hold_no_line_ends() {
    assert_eq!(written(Proto::Resp2, |r| r.error("ERR a\r\nb\n")), "-ERR a  b\r\n");
    assert_eq!(written(Proto::Resp2, |r| r.error("ERR x")), "-ERR x\r\n");
    assert_eq!(written(Proto::Resp2, |r| r.simple("a\nb\n")), "+a b \r\n");
}

#[test]
fn protocol_errors_keep_their_byte() {
    let mut out = Vec::new();
    ReplyWriter::new(&mut out, Proto::Resp2).protocol_error(&ProtocolError::ExpectedDollar(0xff));
    assert_eq!(out, b"-ERR Protocol error: expected '$', got '\xff'\r\n");
    assert_eq!(ProtocolError::ExpectedDollar(b'x').to_string(), "Protocol error: expected '$', got 'x'");
    assert_eq!(ProtocolError::ExpectedDollar(b'\r').to_string(), "Protocol error: expected '$', got ' '");
}

#[test]
fn deferred_collections_nest() {
    for len in [0, 1, 9, 10, 99, 100, 1234] {
        for proto in [Proto::Resp2, Proto::Resp3] {
            let late = written(proto, |r| {
                let outer = r.deferred_array();
                let inner = r.deferred_array();
                (0..len).for_each(|i| {
                    r.integer(i);
                    r.null();
                });
                r.finish_map(inner, len as usize);
                let inner = r.deferred_array();
                (0..len).for_each(|i| r.bulk_integer(i));
                r.finish_set(inner, len as usize);
                r.finish_array(outer, 2);
            });
            let early = written(proto, |r| {
                r.array(2);
                r.map(len as usize);
                (0..len).for_each(|i| {
                    r.integer(i);
                    r.null();
                });
                r.set(len as usize);
                (0..len).for_each(|i| r.bulk_integer(i));
            });
            assert_eq!(late, early);
        }
    }
}

#[test]
fn rollback_leaves_what_was_before() {
    let text = written(Proto::Resp3, |r| {
        r.ok();
        let mark = r.mark();
        let deferred = r.deferred_array();
        r.integer(1);
        assert_eq!(r.since(mark), b"*0\r\n:1\r\n");
        drop(deferred);
        r.rollback(mark);
        r.error("ERR no");
    });
    assert_eq!(text, "+OK\r\n-ERR no\r\n");
}

proptest! {
    #[test]
    fn integers_and_lengths_are_decimal(value in any::<i64>(), shift in 0..64_u32, len in 0..3000_usize) {
        let value = value >> shift;
        prop_assert_eq!(written(Proto::Resp2, |r| r.integer(value)), format!(":{value}\r\n"));
        prop_assert_eq!(written(Proto::Resp2, |r| r.array(len)), format!("*{len}\r\n"));
        let payload = "x".repeat(len);
        prop_assert_eq!(written(Proto::Resp2, |r| r.bulk(payload.as_bytes())), format!("${len}\r\n{payload}\r\n"));
    }

    #[test]
    fn bulks_read_back(payload in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut out = Vec::new();
        ReplyWriter::new(&mut out, Proto::Resp2).bulk(&payload);
        let len = out.len();
        prop_assert_eq!(parse_frame(&out), Ok(Some((Frame::Bulk(payload), len))));
    }
}
