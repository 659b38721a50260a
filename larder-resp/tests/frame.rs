//! Frames: read, written, read again, whole and in pieces.

use larder_resp::{Frame, FrameError, FrameReader, MAX_FRAME_DEPTH, Proto, ReplyWriter, parse_frame};
use proptest::collection::vec;
use proptest::prelude::*;

/// Any frame that RESP3 can carry and that equals itself.
fn frame() -> impl Strategy<Value = Frame> {
    let leaf = prop_oneof![
        "[ -~]{0,12}".prop_map(|text| Frame::simple(&text)),
        "[A-Z]{1,5} [ -~]{0,12}".prop_map(|text| Frame::error(&text)),
        any::<i64>().prop_map(Frame::Integer),
        vec(any::<u8>(), 0..30).prop_map(Frame::Bulk),
        Just(Frame::Null),
        any::<f64>().prop_filter("NaN differs from itself", |value| !value.is_nan()).prop_map(Frame::Double),
        any::<bool>().prop_map(Frame::Boolean),
        "-?[1-9][0-9]{0,40}".prop_map(Frame::BigNumber),
        ("[a-z]{3}", vec(any::<u8>(), 0..20)).prop_map(|(format, text)| Frame::Verbatim { format, text }),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let pairs = vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Frame::Array),
            vec(inner.clone(), 0..5).prop_map(Frame::Set),
            vec(inner.clone(), 0..5).prop_map(Frame::Push),
            pairs.clone().prop_map(Frame::Map),
            (pairs, inner).prop_map(|(pairs, about)| Frame::Attribute { pairs, frame: Box::new(about) }),
        ]
    })
}

fn wire(frame: &Frame, proto: Proto) -> Vec<u8> {
    let mut out = Vec::new();
    frame.encode(&mut ReplyWriter::new(&mut out, proto));
    out
}

proptest! {
    #[test]
    fn what_is_written_is_read(frame in frame()) {
        let wire = wire(&frame, Proto::Resp3);
        prop_assert_eq!(parse_frame(&wire), Ok(Some((frame, wire.len()))));
    }

    #[test]
    fn resp2_is_one_whole_frame_too(frame in frame()) {
        let wire = wire(&frame, Proto::Resp2);
        let read = parse_frame(&wire);
        prop_assert!(matches!(read, Ok(Some((_, len))) if len == wire.len()), "{read:?}");
    }

    #[test]
    fn pieces_do_not_matter(frames in vec(frame(), 1..4)) {
        let data: Vec<u8> = frames.iter().flat_map(|frame| wire(frame, Proto::Resp3)).collect();
        let (mut reader, mut start, mut read) = (FrameReader::new(), 0, Vec::new());
        for end in 0..=data.len() {
            while let Some((frame, consumed)) = reader.read(&data[start..end]).expect("these are frames") {
                read.push(frame);
                start += consumed;
            }
        }
        prop_assert_eq!((read, start), (frames, data.len()));
    }
}

#[test]
fn nulls_differ() {
    assert_eq!(parse_frame(b"$-1\r\n"), Ok(Some((Frame::Null, 5))));
    assert_eq!(parse_frame(b"_\r\n"), Ok(Some((Frame::Null, 3))));
    assert_eq!(parse_frame(b"*-1\r\n"), Ok(Some((Frame::NullArray, 5))));
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
    assert!(matches!(parse_frame(&nested(MAX_FRAME_DEPTH)), Ok(Some(_))));
    assert_eq!(parse_frame(&nested(MAX_FRAME_DEPTH + 1)), Err(FrameError::TooDeep));
    assert_eq!(parse_frame(&b"*1\r\n".repeat(100_000)), Err(FrameError::TooDeep));
}

#[test]
fn malformed_frames_are_refused() {
    for bad in [
        &b"*a\r\n"[..],
        b"*-2\r\n",
        b"*\r\n*",
        b"$-2\r\n",
        b"$?\r\n",
        b":x\r\n",
        b":\r\n",
        b"_x\r\n",
        b"#x\r\n",
        b",x\r\n",
        b"(1x\r\n",
        b"(\r\n",
        b"=2\r\nab\r\n",
        b"=4\r\ntxt.\r\n",
        b"$1\r\nabc",
        b"+a\rb",
        b"x\r\n",
        b"%9223372036854775808\r\n",
        b"*99999999999999999999999\r\n",
        b"$2000000000\r\n",
    ] {
        assert!(parse_frame(bad).is_err(), "{}", bad.escape_ascii());
    }
    for short in
        [&b""[..], b"*", b"*2\r\n:1\r\n", b"$3\r\nabc", b"$3\r\nabc\r", b"+OK\r", b"|1\r\n+a\r\n+b\r\n"]
    {
        assert_eq!(parse_frame(short), Ok(None), "{}", short.escape_ascii());
    }
}

#[test]
fn debug_shows_sigil_and_content() {
    let frame = parse_frame(b"*4\r\n+OK\r\n$3\r\na\xffb\r\n%1\r\n+k\r\n,1.5\r\n*-1\r\n").unwrap().unwrap().0;
    assert_eq!(format!("{frame:?}"), r#"[+OK, "a\xffb", %{+k: ,1.5}, null-array]"#);
}
