//! The request decoder against its promises. What Redis itself answers is in `oracle.rs`.

use larder_resp::{
    Decoded, Decoder, Limits, OwnedRequest, ProtocolError, Request, decode_whole, write_command,
};
use proptest::collection::vec;
use proptest::prelude::*;

type Outcome = (Vec<OwnedRequest>, Option<ProtocolError>);

/// Everything in `data`, when it arrives in pieces that end at `cuts` (in ascending order).
fn decode(data: &[u8], cuts: impl IntoIterator<Item = usize>, limits: &Limits) -> Outcome {
    let (mut decoder, mut start, mut requests) = (Decoder::new(), 0, Vec::new());
    for end in cuts {
        loop {
            let buf = &data[start..end];
            let consumed = match decoder.decode(buf, limits) {
                Ok(Decoded::Command { consumed }) => {
                    let request = decoder.request(buf);
                    assert!(!request.is_empty());
                    requests.push(request.to_owned());
                    consumed
                }
                Ok(Decoded::Skip { consumed }) => consumed,
                Ok(Decoded::Incomplete { want }) => {
                    assert!(want > buf.len(), "want {want} of {}", buf.len());
                    break;
                }
                Err(error) => return (requests, Some(error)),
            };
            assert!(0 < consumed && consumed <= buf.len());
            start += consumed;
        }
    }
    (requests, None)
}

fn at_once(data: &[u8]) -> Outcome {
    decode(data, [data.len()], &Limits::default())
}

fn byte_by_byte(data: &[u8]) -> Outcome {
    decode(data, 0..=data.len(), &Limits::default())
}

fn request(args: &[&str]) -> OwnedRequest {
    OwnedRequest::from_slices(args)
}

#[test]
fn looking_ahead_finds_whole_requests_and_leaves_the_rest_alone() {
    let wire = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPI";
    let (limits, mut spans) = (Limits::default(), Vec::new());
    assert_eq!(decode_whole(wire, &limits, &mut spans), Some(20));
    assert_eq!(Request::new(wire, &spans), request(&["GET", "k"]).as_request());
    assert_eq!(decode_whole(&wire[20..], &limits, &mut spans), None);
    assert_eq!(spans.len(), 2);
    let refused = Limits { max_bulk: 2, ..limits };
    assert_eq!(decode_whole(wire, &refused, &mut spans), None);
    let stranger = Limits { authenticated: false, ..limits };
    assert_eq!(decode_whole(wire, &stranger, &mut spans), None);
    for other in [&b"PING\r\n"[..], b"*0\r\n", b"*-1\r\n", b"*1\r\n+x\r\n", b"*1\r\n$-1\r\n", b""] {
        assert_eq!(decode_whole(other, &limits, &mut spans), None, "{}", other.escape_ascii());
    }
    assert_eq!(spans.len(), 2);
}

proptest! {
    #[test]
    fn what_is_written_is_read(commands in vec(vec(vec(any::<u8>(), 0..40), 1..6), 0..5)) {
        let mut wire = Vec::new();
        commands.iter().for_each(|args| write_command(&mut wire, args));
        let expected: Vec<_> = commands.iter().map(|args| OwnedRequest::from_slices(args)).collect();
        prop_assert_eq!(&at_once(&wire), &(expected.clone(), None));
        prop_assert_eq!(&byte_by_byte(&wire), &(expected, None));
    }

    #[test]
    fn a_request_encodes_as_it_came(args in vec(vec(any::<u8>(), 0..300), 1..12)) {
        let (mut wire, mut again) = (Vec::new(), Vec::new());
        write_command(&mut wire, &args);
        OwnedRequest::from_slices(&args).as_request().encode(&mut again);
        prop_assert_eq!(wire, again);
    }

    #[test]
    fn pieces_do_not_matter(
        pieces in vec(prop_oneof!["[*$][-0-9]{0,10}\r\n?", "[a-z]{1,4}\r\n", "[a-z\"' \\\\]{0,9}\n"], 0..12),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let data = pieces.concat().into_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
        cuts.push(data.len());
        cuts.sort_unstable();
        let whole = at_once(&data);
        prop_assert_eq!(&whole, &decode(&data, cuts, &Limits::default()));
        prop_assert_eq!(&whole, &byte_by_byte(&data));
    }
}

#[test]
fn every_cut_of_a_pipeline_gives_the_same_requests() {
    let data = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n\r\nPING 'a b'\r\n*0\r\n*-1\r\n*1\r\n$0\r\n\r\n";
    let (requests, error) = at_once(data);
    let expected = [request(&["SET", "k", "hello\r\nworld"]), request(&["PING", "a b"]), request(&[""])];
    assert_eq!((requests.as_slice(), error), (expected.as_slice(), None));
    for cut in 0..=data.len() {
        assert_eq!(
            decode(data, [cut, data.len()], &Limits::default()),
            (expected.to_vec(), None),
            "cut at {cut}"
        );
    }
}

#[test]
fn the_wanted_length_is_exact_within_a_payload() {
    let mut decoder = Decoder::new();
    let wanted = decoder.decode(b"*1\r\n$1000\r\nab", &Limits::default());
    assert_eq!(wanted, Ok(Decoded::Incomplete { want: 11 + 1000 + 2 }));
    assert!(decoder.in_progress());
}

#[test]
fn an_announcement_costs_nothing() {
    let mut decoder = Decoder::new();
    let result = decoder.decode(b"*2147483647\r\n$500000000\r\n", &Limits::default());
    assert!(matches!(result, Ok(Decoded::Incomplete { .. })));
    assert!(decoder.memory() < 4096, "{} bytes", decoder.memory());
}

#[test]
fn a_huge_request_is_forgotten_after_the_next() {
    let mut wire = Vec::new();
    write_command(&mut wire, &vec!["x"; 100_000]);
    let mut decoder = Decoder::new();
    assert!(matches!(decoder.decode(&wire, &Limits::default()), Ok(Decoded::Command { .. })));
    assert_eq!(decoder.request(&wire).len(), 100_000);
    assert!(decoder.memory() >= 800_000);
    assert!(matches!(
        decoder.decode(b"*1\r\n$4\r\nPING\r\n", &Limits::default()),
        Ok(Decoded::Command { .. })
    ));
    assert!(decoder.memory() < 4096, "{} bytes", decoder.memory());
}

#[test]
fn limits_may_change_while_bytes_wait() {
    let mut decoder = Decoder::new();
    let closed = Limits { authenticated: false, ..Limits::default() };
    assert!(matches!(decoder.decode(b"*3\r\n", &closed), Ok(Decoded::Incomplete { .. })));
    assert_eq!(decoder.decode(b"*3\r\n$16385\r\n", &closed), Err(ProtocolError::UnauthenticatedBulkLength));
    assert!(matches!(decoder.decode(b"*3\r\n", &closed), Ok(Decoded::Incomplete { .. })));
    assert_eq!(
        decoder.decode(b"*3\r\n$16385\r\n", &Limits::default()),
        Ok(Decoded::Incomplete { want: 16399 })
    );
}

#[test]
fn an_argument_beyond_32_bits_is_refused() {
    let limits = Limits { max_bulk: usize::MAX, ..Limits::default() };
    let result = Decoder::new().decode(b"*1\r\n$4294967295\r\n", &limits);
    assert_eq!(result, Err(ProtocolError::InvalidBulkLength));
    let result = Decoder::new().decode(b"*1\r\n$9223372036854775807\r\n", &limits);
    assert_eq!(result, Err(ProtocolError::InvalidBulkLength));
}

#[test]
fn a_nul_byte_is_part_of_an_inline_word() {
    assert_eq!(at_once(b"ECHO a\0b\r\n"), (vec![request(&["ECHO", "a\0b"])], None));
}

#[test]
fn an_error_forgets_the_request() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(b"*1\r\n$x\r\n", &Limits::default()), Err(ProtocolError::InvalidBulkLength));
    assert!(matches!(decoder.decode(b"PING\n", &Limits::default()), Ok(Decoded::Command { consumed: 5 })));
    assert_eq!(decoder.request(b"PING\n").arg(0), b"PING");
}

#[test]
fn a_request_reads_past_its_end_as_absent() {
    let owned = request(&["a", "bc", ""]);
    let request = owned.as_request();
    assert_eq!((request.len(), request.bytes()), (3, 3));
    assert_eq!((request.get(2), request.get(3), request.arg(3)), (Some(&b""[..]), None, &b""[..]));
    assert_eq!(request.skip(1).arg(0), b"bc");
    assert!(request.skip(4).is_empty());
    assert_eq!(request.iter().rev().collect::<Vec<_>>(), [&b""[..], b"bc", b"a"]);
    assert_eq!(format!("{request:?}"), r#"["a", "bc", ""]"#);
}

#[test]
fn lengths_of_every_number_of_digits() {
    for len in [0, 1, 9, 10, 99, 100, 999, 1000, 99_999, 100_000, 1_234_567] {
        let args = ["x".repeat(len), "y".to_owned()];
        let mut wire = Vec::new();
        write_command(&mut wire, &args);
        assert_eq!(at_once(&wire), (vec![OwnedRequest::from_slices(&args)], None), "{len} bytes");
        let args = vec!["z"; len.max(1)];
        let mut wire = Vec::new();
        write_command(&mut wire, &args);
        assert_eq!(at_once(&wire), (vec![OwnedRequest::from_slices(&args)], None), "{len} arguments");
    }
    let limits = Limits { max_bulk: usize::MAX, max_multibulk: usize::MAX, ..Limits::default() };
    for digits in 1..19 {
        let line = format!("*1\r\n${}\r\n", "1".repeat(digits));
        let announced: usize = "1".repeat(digits).parse().expect("at most 18 digits");
        let expected = if announced + line.len() > u32::MAX as usize {
            Err(ProtocolError::InvalidBulkLength)
        } else {
            Ok(Decoded::Incomplete { want: line.len() + announced + 2 })
        };
        assert_eq!(Decoder::new().decode(line.as_bytes(), &limits), expected, "{digits} digits");
        let line = format!("*{}\r\n", "1".repeat(digits));
        let result = Decoder::new().decode(line.as_bytes(), &limits);
        assert_eq!(result, Ok(Decoded::Incomplete { want: line.len() + 6 }), "{digits} digits");
    }
}
