//! Entry points for a fuzzer: each takes any bytes and panics when a promise of this crate does not hold.

use crate::{
    Decoded, Decoder, FrameReader, Limits, OwnedRequest, Proto, ReplyWriter, Request, decode_whole,
    parse_frame,
};

/// Requests: the same bytes at once and in two pieces give the same requests, and consume no more than there is; looking
/// ahead sees what decoding gives.
///
/// # Panics
/// When they do not.
pub fn fuzz_decode(data: &[u8]) {
    let (first, data) = data.split_first().unwrap_or((&0, &[]));
    let limits =
        Limits { authenticated: first & 1 == 0, max_inline: 64, max_bulk: 4096, ..Limits::default() };
    let whole = decode_all(data, &[data.len()], limits);
    let cut = usize::from(*first).min(data.len());
    assert_eq!(whole, decode_all(data, &[cut, data.len()], limits));
}

/// All requests in `data` when it arrives up to each of `cuts` in turn, and whether an error came last.
fn decode_all(data: &[u8], cuts: &[usize], limits: Limits) -> (Vec<OwnedRequest>, bool) {
    let (mut decoder, mut start, mut requests) = (Decoder::new(), 0, Vec::new());
    for end in cuts {
        loop {
            let buf = &data[start..*end];
            let mut spans = Vec::new();
            let ahead = if decoder.in_progress() { None } else { decode_whole(buf, &limits, &mut spans) };
            let decoded = decoder.decode(buf, &limits);
            if let Some(consumed) = ahead {
                assert_eq!(decoded, Ok(Decoded::Command { consumed }));
                assert_eq!(decoder.request(buf), Request::new(buf, &spans));
            }
            let consumed = match decoded {
                Ok(Decoded::Command { consumed }) => {
                    requests.push(decoder.request(buf).to_owned());
                    consumed
                }
                Ok(Decoded::Skip { consumed }) => consumed,
                Ok(Decoded::Incomplete { want }) => {
                    assert!(want > buf.len());
                    break;
                }
                Err(_) => return (requests, true),
            };
            assert!(0 < consumed && consumed <= buf.len());
            start += consumed;
        }
    }
    (requests, false)
}

/// Replies: what is read can be written again and reads the same; reading in two pieces changes nothing.
///
/// # Panics
/// When it does.
pub fn fuzz_frame(data: &[u8]) {
    let whole = parse_frame(data);
    let mut reader = FrameReader::new();
    let pieces = match reader.read(&data[..data.len() / 2]) {
        Ok(None) => reader.read(data),
        other => other,
    };
    // Debug, because NaN differs from itself.
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    if let Ok(Some((frame, consumed))) = whole {
        assert!(consumed <= data.len());
        let mut out = Vec::new();
        frame.encode(&mut ReplyWriter::new(&mut out, Proto::Resp3));
        assert!(matches!(parse_frame(&out), Ok(Some((_, len))) if len == out.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that often come close to RESP: pieces of it, and anything between them.
    fn nearly_resp() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => "[-+:$*_,#(=!~%>|][-0-9]{0,3}\r\n",
            4 => "[*][0-9]\r\n([$]3\r\n[a-z]{3}\r\n){0,4}",
            3 => "[-+:,(#=][-0-9a-z.:]{0,9}\r\n",
            3 => "[a-z \"'\\\\]{0,8}\r?\n",
            1 => "(txt:)?[a-z]{0,4}\r\n",
        ];
        let piece = prop_oneof![
            9 => piece.prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 0..6),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn requests_hold_their_promises(data in nearly_resp(), first in any::<u8>()) {
            fuzz_decode(&[&[first], data.as_slice()].concat());
        }

        #[test]
        fn replies_hold_their_promises(data in nearly_resp()) {
            fuzz_frame(&data);
        }

        #[test]
        fn any_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_decode(&data);
            fuzz_frame(&data);
        }
    }
}
