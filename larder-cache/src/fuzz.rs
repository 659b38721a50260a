//! Entry points for a fuzzer: each takes any bytes and panics when a promise of this crate does not hold. What they are
//! given stands for what somebody has put into the backend, into the feed or into a log, or has sent over HTTP.

use crate::codec::{self, Codec, Packing, schema_hash};
use crate::feed::Follower;
use crate::forms::Others;
use crate::key::{CacheKey, KeyBytes};
use crate::local::Local;
use crate::observe::Observer;
use crate::store::{Change, Epoch, Head, Look, State};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

const VALUE_MAX: usize = 2048;

fn packing<V: 'static>(codec: impl Codec<V>, schema: &str) -> Packing<V> {
    let schema = schema_hash(codec.name(), schema);
    Packing { codec: Arc::new(codec), schema, compress_from: 64, value_max: VALUE_MAX }
}

/// Entries of the backend: header, forms, envelope, compression and codec.
///
/// # Panics
/// When what was decoded is longer than a value may be, or does not come back when it is packed anew, alone or beside
/// what others have.
pub fn fuzz_entry(data: &[u8]) {
    let head = Head::parse(data);
    let envelope = match &head {
        Some(head) => {
            assert!(head.end <= data.len());
            &data[head.end..]
        }
        None => data,
    };
    let look = |bytes: &[u8]| Look {
        epoch: None,
        state: State::Fresh,
        left: Duration::from_secs(1),
        bytes: bytes.to_vec(),
    };
    let others = |schema: u64| Others::of(&look(data), schema, VALUE_MAX);
    unpack(&packing::<String>(codec::Raw, ""), envelope, others);
    unpack(&packing::<String>(codec::MsgPack, ""), envelope, others);
    unpack(&packing::<Vec<(u64, String)>>(codec::MsgPack, "2"), envelope, others);
    // Numbers with a point need not be the same to the last digit.
    let _ = packing::<serde_json::Value>(codec::Json, "").unpack(envelope);
    unpack(&packing::<Vec<(u64, String)>>(codec::Postcard, ""), envelope, others);
}

fn unpack<V: PartialEq + Debug + 'static>(
    packing: &Packing<V>,
    envelope: &[u8],
    others: impl Fn(u64) -> Option<Others>,
) {
    let Ok(mut found) = packing.unpack(envelope) else { return };
    // What nobody has written, as it is not kept.
    found.etag = found.etag.filter(|etag| etag.len() <= codec::ETAG_MAX);
    if let Some(value) = &found.value {
        let plain = packing.codec.encode(value).expect("it was decoded");
        // A codec may write a value longer than the bytes it was read from, but not by much.
        assert!(plain.len() <= VALUE_MAX * 9, "{} bytes", plain.len());
    }
    let packed = packing.pack(found.value.as_ref(), found.life, found.cost, found.etag.as_deref());
    let Ok(packed) = packed else { return };
    assert_eq!(packing.unpack(&packed).as_ref(), Ok(&found));
    if let Some(others) = others(packing.schema) {
        assert_eq!(packing.unpack(&others.join(&packed)), Ok(found));
    }
}

/// Messages of the feed, each after two bytes of its length, and the same as an answer to what has changed.
///
/// # Panics
/// When a change is taken although one before it is missing.
pub fn fuzz_feed(data: &[u8]) {
    let (local, stats) = (Local::<u8>::new(1 << 16), Observer::new("fuzz"));
    let era = [1; 8];
    let mut follower = Follower::new(Some(Epoch { era, seq: 0 }));
    let mut changes = Vec::new();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (message, after) = after.split_at(usize::from(u16::from_be_bytes(*length)).min(after.len()));
        rest = after;
        let Some((of, record)) = message.split_first_chunk::<8>() else { continue };
        let Some(change) = Change::parse(record) else { continue };
        let before = follower.seq();
        let is_taken = follower.hear(*of, &change, [2; 8], &local, &stats);
        assert!(!is_taken || *of == era, "a message of another era");
        assert!(!is_taken || change.seq <= before.saturating_add(1), "a gap");
        assert!(follower.seq() == before || follower.seq() == before + 1);
        changes.push(change);
    }
    let seq = changes.last().map_or(0, |change| change.seq);
    follower.catch_up(Some(Epoch { era, seq }), Some(&changes), [2; 8], &local, &stats);
    assert_eq!(follower.seq(), seq);
}

/// Parts of keys.
///
/// # Panics
/// When two keys of different parts have the same bytes.
pub fn fuzz_key(data: &[u8]) {
    let cut = |n: usize| data.len() * n / 4;
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| data[cut(n)..cut(n + 1)].to_vec());
    let bytes = |key: &dyn CacheKey| {
        let mut bytes = KeyBytes::default();
        key.write(&mut bytes);
        bytes
    };
    let pairs = [(a.clone(), b.clone()), (c.clone(), d.clone()), ([&a[..], &b].concat(), c.clone())];
    for one in &pairs {
        for other in &pairs {
            assert_eq!(bytes(one) == bytes(other), one == other, "{one:?} {other:?}");
        }
        assert_ne!(bytes(one), bytes(&[&one.0[..], b":", &one.1].concat()));
    }
}

/// Logs of write-back queues.
///
/// # Panics
/// When what is still wanted of a log is not what is read again after it was written anew.
pub fn fuzz_log(data: &[u8]) {
    crate::write_back::fuzz_log(data);
}

/// Headers of responses and requests.
///
/// # Panics
/// When a response is kept for longer than a year, or a part is shown that is not a part of it.
#[cfg(feature = "http")]
pub fn fuzz_http(data: &[u8]) {
    crate::http::fuzz::fuzz(data);
}

/// Entries to start from: of each codec, short and compressed, alone and in two forms.
pub fn entries() -> Vec<Vec<u8>> {
    fn add<V: 'static>(all: &mut Vec<Vec<u8>>, packing: &Packing<V>, value: &V) {
        let second = Duration::from_secs(1);
        let packed = packing.pack(Some(value), second, second, Some("\"tag\"")).expect("it is short");
        // Version, era, epoch, stale time, and two tags.
        let mut head = [&[1][..], &[7; 8], &[0; 7], &[9], &[0; 6], &[3, 232], &[0, 2]].concat();
        head.extend(b"\0\x03red\0\x04blue");
        all.push([&head[..], &packed].concat());
        all.push(packed);
    }
    let (text, long) = ("a value".to_owned(), "long and the same ".repeat(40));
    let list = vec![(1, text.clone()), (u64::MAX, long.clone())];
    let json = serde_json::json!({"a": [1, 2.5, null, {"b": "\u{e9}"}], "c": long});
    let mut all = Vec::new();
    add(&mut all, &packing(codec::Raw, ""), &text);
    add(&mut all, &packing(codec::Raw, ""), &long);
    add(&mut all, &packing(codec::MsgPack, ""), &text);
    add(&mut all, &packing(codec::MsgPack, "2"), &list);
    add(&mut all, &packing(codec::Json, ""), &json);
    add(&mut all, &packing(codec::Postcard, ""), &list);
    let nothing = packing::<String>(codec::MsgPack, "").pack(None, Duration::ZERO, Duration::MAX, None);
    all.push(nothing.expect("it is nothing"));
    let forms = [&all[1], &all[5]].map(|form| [&(form.len() as u32).to_be_bytes()[..], form].concat());
    all.push([&[2, 2], &forms[0][..], &forms[1]].concat());
    all
}

/// Messages of the feed to start from.
pub fn messages() -> Vec<Vec<u8>> {
    let message = |era: u8, seq: u64, kind: u8, what: &[u8]| {
        let record = [&seq.to_be_bytes()[..], &[3; 8], &1_795_630_748_000_u64.to_be_bytes(), &[kind], what];
        let message = [&[era; 8][..], &record.concat()].concat();
        [&(message.len() as u16).to_be_bytes()[..], &message].concat()
    };
    let all = [
        message(1, 1, b's', b"key"),
        message(1, 2, b't', b"tag"),
        message(1, 3, b'c', b""),
        message(1, 5, b'x', b"key"),
        message(2, 6, b'?', b"new"),
    ];
    vec![all.concat(), all[0].clone(), all[3..].concat()]
}

/// Logs to start from.
pub fn logs() -> Vec<Vec<u8>> {
    crate::write_back::example_logs()
}

/// Keys to start from.
pub fn keys() -> Vec<Vec<u8>> {
    ["a:bc:d", "a%3ab%%25a:3ab%", ":::%:::%", "abcdabcd"].map(|text| text.as_bytes().to_vec()).to_vec()
}

/// Headers to start from: of a response, an empty line, and of a request.
#[cfg(feature = "http")]
pub fn headers() -> Vec<Vec<u8>> {
    let texts = [
        "cache-control: public, max-age=60, ext=\"a, b\"\nvary: accept, accept-encoding\nage: 5\netag: \"1\"\n\nrange: bytes=0-5\nif-range: \"1\"",
        "expires: Thu, 26 Nov 2026 17:00:00 GMT\ndate: Thu, 26 Nov 2026 16:00:00 GMT\nlast-modified: Thu, 26 Nov 2026 15:00:00 GMT\n\nif-modified-since: Thu, 26 Nov 2026 15:00:00 GMT\nrange: bytes=-3",
        "cache-control: s-maxage=99999999999999999999\ncache-control: private=\"a\"\netag: W/\"2\"\n\nif-none-match: W/\"2\", *\nrange: bytes=7-",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::fuzz::{self, Target};

    fn run(target: Target, examples: &[Vec<u8>], runs: u64) {
        if let Err(crash) = fuzz::quietly(|| fuzz::run(target, examples, runs, 6)) {
            panic!("{} (input {}): \"{}\"", crash.message, crash.run, crash.input.escape_ascii());
        }
    }

    #[test]
    fn j1_j3_no_bytes_in_the_backend_break_what_reads_them() {
        let whole = entries();
        let is_read = |entry: &Vec<u8>| {
            let envelope = Head::parse(entry).map_or(&entry[..], |head| &entry[head.end..]);
            packing::<String>(codec::MsgPack, "").unpack(envelope).is_ok()
        };
        assert!(whole.iter().any(is_read), "the examples are no entries");
        run(fuzz_entry, &whole, 20_000);
        run(fuzz_key, &keys(), 5_000);
    }

    #[test]
    fn e2_no_message_of_the_feed_hides_a_gap() {
        run(fuzz_feed, &messages(), 2_000);
    }

    #[test]
    fn g6_no_bytes_of_a_log_break_what_reads_it() {
        run(fuzz_log, &logs(), 5_000);
    }

    #[cfg(feature = "http")]
    #[test]
    fn k1_no_headers_break_what_reads_them() {
        run(fuzz_http, &headers(), 10_000);
    }
}
