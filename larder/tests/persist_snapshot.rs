//! The snapshot format: what is written is what is read, and damage is found, not suffered.

mod persist_support;

use std::io::{self, Read, Write};

use larder::persist::snapshot::{
    Item, KeyMeta, LoadError, LoadErrorKind, Node, NodeRef, Origin, Skipped, SnapshotReader, SnapshotWriter,
    Value, WriteOptions, dump, restore,
};
use persist_support::{intset, key, legacy_keys, listpack, snapshot, string};
use proptest::prelude::*;

fn read(file: impl Read) -> Result<Vec<Item>, LoadError> {
    let mut reader = SnapshotReader::new(file)?;
    let mut items = Vec::new();
    while let Some(item) = reader.next()? {
        items.push(item);
    }
    Ok(items)
}

fn write(items: &[Item], options: WriteOptions) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(Vec::new(), options).expect("memory does not fail");
    for item in items {
        let done = match item {
            Item::Aux { name, value } => writer.aux(name, value),
            Item::SelectDb(db) => writer.select_db(*db),
            Item::ResizeDb { keys, expires } => writer.resize_db(*keys, *expires),
            Item::Function(code) => writer.function(code),
            Item::Skipped(foreign) => panic!("{foreign:?} was skipped unasked"),
            Item::Key { key, expire_at_ms, idle, freq, value } => {
                let meta = KeyMeta { expire_at_ms: *expire_at_ms, idle: *idle, freq: *freq };
                writer.key(key, meta).value(value)
            }
        };
        done.expect("memory does not fail");
    }
    let written = writer.written();
    let file = writer.finish().expect("memory does not fail");
    assert_eq!(written + 9, file.len() as u64);
    file
}

/// A reader that gives few bytes at a time and is interrupted now and then.
struct Trickle<'a> {
    bytes: &'a [u8],
    turn: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.turn += 1;
        if self.turn.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let step = (self.turn % 4 + 1).min(buffer.len());
        self.bytes.read(&mut buffer[..step])
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(0_u8..3, 0..400),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        any::<i32>().prop_map(|number| number.to_string().into_bytes()),
        any::<i16>().prop_map(|number| number.to_string().into_bytes()),
        any::<i8>().prop_map(|number| format!("{number:03}").into_bytes()),
    ]
}

fn many<T: std::fmt::Debug>(element: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(element, 1..6)
}

fn value() -> impl Strategy<Value = Value> {
    let score = any::<f64>().prop_filter("a score is a number", |score| !score.is_nan());
    prop_oneof![
        bytes().prop_map(Value::String),
        many(prop_oneof![bytes().prop_map(Node::Plain), bytes().prop_map(Node::Packed)])
            .prop_map(Value::ListNodes),
        many(bytes()).prop_map(Value::Set),
        bytes().prop_map(Value::Intset),
        many((bytes(), bytes())).prop_map(Value::Hash),
        bytes().prop_map(Value::HashListpack),
        many((bytes(), score)).prop_map(Value::Zset),
        bytes().prop_map(Value::ZsetListpack),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let meta = (any::<Option<i64>>(), any::<Option<u64>>(), any::<Option<u8>>());
    prop_oneof![
        1 => (bytes(), bytes()).prop_map(|(name, value)| Item::Aux { name, value }),
        1 => any::<u64>().prop_map(Item::SelectDb),
        1 => (0..100_000_u64, any::<u64>()).prop_map(|(keys, expires)| Item::ResizeDb { keys, expires }),
        1 => bytes().prop_map(Item::Function),
        8 => (bytes(), meta, value()).prop_map(|(key, (expire_at_ms, idle, freq), value)| {
            Item::Key { key, expire_at_ms, idle, freq, value }
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        items in prop::collection::vec(item(), 0..20),
        compress: bool,
        checksum: bool,
    ) {
        let file = write(&items, WriteOptions { compress, checksum, ..WriteOptions::default() });
        prop_assert_eq!(file.ends_with(&[0; 8]), !checksum);
        prop_assert_eq!(&read(&file[..]).expect("just written"), &items);
        prop_assert_eq!(&read(Trickle { bytes: &file, turn: 0 }).expect("just written"), &items);
    }

    #[test]
    fn what_is_dumped_is_restored(value in value(), compress: bool) {
        let payload = dump(compress, |writer| writer.value(&value)).expect("memory does not fail");
        prop_assert_eq!(restore(&payload).expect("just dumped"), value);
    }

    #[test]
    fn arbitrary_bytes_behind_a_header_are_read_or_refused(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..30, 240_u8..], 0..200),
    ) {
        let _ = read(&[b"REDIS0011", &bytes[..]].concat()[..]);
        let _ = restore(&bytes);
    }
}

#[test]
fn strings_larger_than_every_buffer_come_back() {
    for len in [64 * 1024 - 20, 64 * 1024, 128 * 1024 - 13, 128 * 1024, 1 << 20] {
        for compress in [true, false] {
            let noise = (0..len as u32).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect();
            let items = [b'a', b'b'].map(|name| Item::Key {
                key: vec![name],
                expire_at_ms: None,
                idle: None,
                freq: None,
                value: Value::ListNodes(vec![Node::Plain(vec![name; len]), Node::Plain(Vec::clone(&noise))]),
            });
            let file = write(&items, WriteOptions { compress, checksum: true, ..WriteOptions::default() });
            assert_eq!(file.len() < 3 * len, compress);
            assert_eq!(read(&file[..]).expect("just written"), items);
        }
    }
}

#[test]
fn bytes_are_those_redis_writes() {
    let options = WriteOptions::default();
    let mut writer = SnapshotWriter::new(Vec::new(), options).expect("memory does not fail");
    writer.select_db(0).and_then(|()| writer.resize_db(300, 1)).expect("memory does not fail");
    let expiring = KeyMeta { expire_at_ms: Some(0x0102_0304), ..KeyMeta::default() };
    writer.key(b"k", expiring).string(b"12").expect("memory does not fail");
    let used = KeyMeta { idle: Some(70), freq: Some(5), ..KeyMeta::default() };
    writer.key(b"-300", used).string(b"0100").expect("memory does not fail");
    writer.key(b"z", KeyMeta::default()).zset(1, [("m", 1.0)]).expect("memory does not fail");
    writer.key(b"l", KeyMeta::default()).list(1, [NodeRef::Plain(b"x")]).expect("memory does not fail");
    writer.key(b"r", KeyMeta::default()).string(&[b'r'; 30]).expect("memory does not fail");
    let file = writer.finish().expect("memory does not fail");
    let expected: &[&[u8]] = &[
        b"REDIS0010",
        &[254, 0, 251, 0x41, 0x2c, 1],
        &[252, 4, 3, 2, 1, 0, 0, 0, 0, 0, 1, b'k', 0xc0, 12],
        &[248, 0x40, 70, 249, 5, 0, 0xc1, 0xd4, 0xfe, 4, b'0', b'1', b'0', b'0'],
        &[5, 1, b'z', 1, 1, b'm', 0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
        &[18, 1, b'l', 1, 1, 1, b'x'],
        &[0, 1, b'r', 0xc3],
    ];
    let expected = expected.concat();
    assert_eq!(file[..expected.len()], expected);
}

#[test]
fn only_canonical_32_bit_integers_are_written_as_integers() {
    let texts = ["0", "-0", "00", "-1", "+1", " 1", "1 ", "-", "", "2147483647", "2147483648", "-2147483648"];
    let written_len =
        |text: &str| dump(true, |value| value.string(text.as_bytes())).expect("memory").len() - 11;
    assert_eq!(texts.map(written_len), [2, 3, 3, 2, 3, 3, 3, 2, 1, 5, 11, 5]);
}

#[test]
fn a_count_that_is_not_kept_spoils_the_snapshot() {
    type Case = fn(&mut SnapshotWriter<Vec<u8>>) -> io::Result<()>;
    let cases: [Case; 4] = [
        |writer| writer.key(b"k", KeyMeta::default()).set(3, ["a", "b"]),
        |writer| writer.key(b"k", KeyMeta::default()).set(1, ["a", "b"]),
        |writer| writer.key(b"k", KeyMeta::default()).set(0, [""; 0]),
        |writer| writer.key(b"k", KeyMeta::default()).zset(1, [("m", f64::NAN)]),
    ];
    for case in cases {
        let mut writer =
            SnapshotWriter::new(Vec::new(), WriteOptions::default()).expect("memory does not fail");
        assert_eq!(case(&mut writer).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidInput));
        assert!(writer.select_db(0).is_err());
        assert!(writer.finish().is_err());
    }
}

#[test]
fn a_failed_write_spoils_the_snapshot() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = SnapshotWriter::new(
        Full(100_000),
        WriteOptions { compress: false, checksum: true, ..WriteOptions::default() },
    )
    .expect("there is room");
    let error = writer.key(b"k", KeyMeta::default()).string(&[b'x'; 200_000]).expect_err("there is no room");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(writer.finish().is_err(), "though the disk may have room again");
}

#[test]
fn what_follows_a_snapshot_is_left_for_the_next_reader() {
    let mut file = write(&[Item::SelectDb(3)], WriteOptions::default());
    let len = file.len() as u64;
    file.extend(b"*1\r\n$4\r\nPING\r\n");
    for bytes in [&file[..], &[&file[..], &[b'.'; 300_000]].concat()] {
        let mut reader = SnapshotReader::new(Trickle { bytes, turn: 0 }).expect("just written");
        while reader.next().expect("just written").is_some() {}
        assert_eq!(reader.offset(), len);
        let mut tail = Vec::new();
        reader.into_tail().read_to_end(&mut tail).expect("memory does not fail");
        assert_eq!(tail, bytes[len as usize..]);
    }
}

/// One of everything this crate reads, current and old.
fn sample() -> Vec<u8> {
    let mut writer = SnapshotWriter::new(
        Vec::new(),
        WriteOptions { compress: true, checksum: false, ..WriteOptions::default() },
    )
    .expect("memory");
    let meta = KeyMeta { expire_at_ms: Some(1_700_000_000_000), idle: Some(9), freq: Some(9) };
    let origin = Origin { redis_version: "7.0.15", created_at_s: 1, used_memory: 900_000, aof_base: false };
    let mut all = || {
        writer.origin(origin)?;
        writer.function(b"#!lua name=lib")?;
        writer.select_db(0)?;
        writer.resize_db(10, 1)?;
        writer.key(b"raw", meta).string(b"some text")?;
        writer.key(b"int", meta).string(b"-70000")?;
        writer.key(b"lzf", meta).string(&b"again and ".repeat(12))?;
        let packed = listpack(&["a", "b"]);
        writer.key(b"list", meta).list(2, [NodeRef::Packed(&packed), NodeRef::Plain(b"c")])?;
        writer.key(b"set", meta).set(2, ["a", "b"])?;
        writer.key(b"intset", meta).intset(&intset(&[-5, 7]))?;
        writer.key(b"hash", meta).hash(1, [("field", "value")])?;
        writer.key(b"hash-listpack", meta).hash_listpack(&packed)?;
        writer.key(b"zset", meta).zset(1, [("member", 1.5)])?;
        writer.key(b"zset-listpack", meta).zset_listpack(&listpack(&["a", "1"]))
    };
    all().expect("memory does not fail");
    let mut file = writer.finish().expect("memory does not fail");
    file.truncate(file.len() - 9);
    file[5..9].copy_from_slice(b"0011");
    file.extend(key(20, "set-listpack", &string(&listpack(&["a"]))));
    // A module's data beside the keys: id, when, then one piece of each kind.
    file.extend([247, 5, 2, 1, 1, 1, 2, 2, 3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, b'x', 0]);
    file.extend([244, 1, 2, 3]);
    file.extend(legacy_keys().concat());
    file.push(255);
    file.extend([0; 8]);
    file
}

fn with_checksum(mut file: Vec<u8>) -> Vec<u8> {
    file.truncate(file.len() - 8);
    let checksum = larder::persist::crc64::crc64(&file);
    file.extend(checksum.to_le_bytes());
    file
}

#[test]
fn the_sample_is_read_whole() {
    let items = read(&with_checksum(sample())[..]).expect("it is intact");
    let value = |name: &str| {
        let found = items.iter().find_map(|item| match item {
            Item::Key { key, value, .. } if key == name.as_bytes() => Some(value.clone()),
            _ => None,
        });
        found.expect("the key is in the sample")
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    let pair = |a: &str, b: &str| (a.as_bytes().to_vec(), b.as_bytes().to_vec());
    assert_eq!(items.len(), 5 + 1 + 2 + 10 + 1 + 8);
    assert_eq!(value("int"), Value::String(b"-70000".to_vec()));
    assert_eq!(value("lzf"), Value::String(b"again and ".repeat(12)));
    assert_eq!(value("set-listpack"), Value::SetListpack(listpack(&["a"])));
    assert_eq!(
        value("list"),
        Value::ListNodes(vec![Node::Packed(listpack(&["a", "b"])), Node::Plain(b"c".to_vec())])
    );
    assert_eq!(value("list-ziplist"), Value::List(texts(&["a", "12", "9999", "-7"])));
    assert_eq!(value("list-quicklist"), Value::List(texts(&["a", "12", "9999", "-7", "z"])));
    assert_eq!(value("hash-ziplist"), Value::Hash(vec![pair("f", "1"), pair("g", "x")]));
    assert_eq!(value("hash-zipmap"), Value::Hash(vec![pair("a", "xy"), pair("b", "z")]));
    assert_eq!(value("zset-ziplist"), Value::Zset(vec![(b"m".to_vec(), 1.5), (b"n".to_vec(), 3.0)]));
    let infinite =
        vec![(b"one".to_vec(), 1.0), (b"inf".to_vec(), f64::INFINITY), (b"-inf".to_vec(), f64::NEG_INFINITY)];
    assert_eq!(value("zset-text"), Value::Zset(infinite));
    assert!(items.iter().any(|item| matches!(item, Item::Key { expire_at_ms: Some(2_000_000_000_000), .. })));
}

#[test]
fn a_file_cut_anywhere_says_where_it_ends() {
    let file = with_checksum(sample());
    for len in 0..file.len() {
        let error = read(&file[..len]).expect_err("it is cut");
        assert!(matches!(error.kind, LoadErrorKind::UnexpectedEnd { .. }), "cut to {len}: {error}");
        assert_eq!(error.offset, len as u64, "{error}");
    }
}

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let file = with_checksum(sample());
    // The version is not in doubt here: version 1 to 4 have no checksum.
    for at in (0..5).chain(9..file.len()) {
        for bit in 0..8 {
            let mut changed = file.clone();
            changed[at] ^= 1 << bit;
            read(&changed[..]).expect_err("one bit is wrong");
        }
    }
}

#[test]
fn without_a_checksum_changed_bytes_do_no_harm() {
    let file = sample();
    for at in 0..file.len() {
        for byte in [0x00, 0x01, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xf5, 0xfe, 0xff, !file[at]] {
            let mut changed = file.clone();
            changed[at] = byte;
            #[cfg(feature = "fuzz")]
            larder::persist::fuzz::fuzz_snapshot(&changed);
            // Whatever it makes of it, it must end, and an error must lie within the file.
            if let Err(error) = read(&changed[..]) {
                assert!(error.offset <= file.len() as u64, "{error}");
            }
        }
    }
}

/// Gigabytes of address space this process has ever used.
#[cfg(target_os = "linux")]
fn peak_gib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("VmPeak")).expect("Linux has it");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("it is a number");
    kib >> 20
}

#[test]
#[cfg(target_os = "linux")]
fn claimed_lengths_get_no_memory() {
    let before = peak_gib();
    for claim in [1_u64 << 34, 1 << 40, 1 << 62, u64::MAX] {
        let long = [&[0x81][..], &claim.to_be_bytes()].concat();
        let lzf_compressed = [&[0xc3][..], &long, &[5]].concat();
        let lzf_original = [&[0xc3, 5][..], &long, b"abcde"].concat();
        let mut bodies: Vec<Vec<u8>> = vec![[&[250][..], &long].concat(), [&[0][..], &long].concat()];
        for tag in 0..=30 {
            bodies.extend([&long, &lzf_compressed, &lzf_original].map(|body| key(tag, "k", body)));
        }
        for tag in [1, 2, 3, 4, 5, 14, 18] {
            bodies.push(key(tag, "k", &[&[1][..], &long].concat()));
        }
        bodies.push([&[247, 1, 5][..], &long].concat());
        for body in bodies {
            read(&snapshot(&[body])[..]).expect_err("it is not that long");
        }
    }
    assert!(peak_gib() < before + 4, "some claim was believed");
}

#[test]
fn errors_say_what_where_and_in_which_key() {
    let text = |file: &[u8]| read(file).expect_err("it is broken").to_string();
    let one = |tag: u8, body: &[u8]| text(&snapshot(&[key(tag, "x\n", body)]));
    assert_eq!(one(15, b""), r"unsupported: stream at key 'x\n' (offset 9)");
    assert_eq!(one(21, b""), r"unsupported: stream at key 'x\n' (offset 9)");
    assert_eq!(one(7, b""), r"unsupported: module value at key 'x\n' (offset 9)");
    assert_eq!(one(24, b""), r"unsupported: hash with expiring fields at key 'x\n' (offset 9)");
    assert_eq!(
        one(99, b""),
        r"corrupt at key 'x\n': expected the type of a value, found the unknown type 99 (offset 9)"
    );
    assert_eq!(
        one(0, b"\xc7"),
        r"corrupt at key 'x\n': expected a string, found the unknown string encoding 7 (offset 13)"
    );
    assert_eq!(
        one(10, &string(b"\x0b\0\0\0")),
        r"corrupt at key 'x\n': expected a ziplist, found a total length that is not the actual one at byte 0 of it (offset 13)"
    );
    assert_eq!(text(&snapshot(&[vec![246]])), "unsupported: function of a pre-release of Redis 7 (offset 9)");
    assert_eq!(
        text(b"REDIS0009\x00\x01k\x14short"),
        "unexpected end of file at offset 18 while reading a string at key 'k'"
    );
    assert_eq!(text(b"REDIS0009"), "unexpected end of file at offset 9 while reading an item");
    assert_eq!(text(b"RED"), "unexpected end of file at offset 3 while reading the magic of a snapshot");
    assert_eq!(
        text(b"*1\r\n$4\r\nPING"),
        r#"corrupt: expected the magic "REDIS", found "*1\r\n$" (offset 0)"#
    );
    assert_eq!(text(b"REDIS00x1"), r#"corrupt: expected a version in four digits, found "00x1" (offset 5)"#);
    assert_eq!(
        text(b"REDIS0013"),
        "unsupported: version 13 of the snapshot format, expected 1 to 12 (offset 5)"
    );
    let computed = larder::persist::crc64::crc64(b"REDIS0009\xff");
    assert_eq!(
        text(b"REDIS0009\xff\x01\0\0\0\0\0\0\0"),
        format!("corrupt: expected checksum 0000000000000001, found {computed:016x} (offset 10)")
    );
}

/// One of everything that is passed over on request, of each form, and what they are called.
fn foreign_keys() -> (Vec<Vec<u8>>, &'static str) {
    let one_pending = [&[1][..], &[b'i'; 16], &[0; 8], &[3]].concat();
    let consumer = |moments: usize| [&[1, 1, b'c'][..], &vec![0; 8 * moments], &[1], &[b'i'; 16]].concat();
    let stream = |numbers: usize, group_numbers: usize, moments: usize| {
        let node = [&[1][..], &string(&[b'i'; 16]), &string(b"listpack")].concat();
        let numbers = vec![1; numbers];
        let group = [&[1, 1, b'g'][..], &vec![1; group_numbers], &one_pending, &consumer(moments)].concat();
        [node, numbers, group].concat()
    };
    let fields = [&[2, 0][..], b"\x01f\x01v", &[5], b"\x01g\x01w"].concat();
    let moment = vec![1; 8];
    let keys = vec![
        key(15, "stream", &stream(3, 2, 1)),
        key(19, "stream-2", &stream(8, 3, 1)),
        key(21, "stream-3", &stream(8, 3, 2)),
        key(7, "module", &[5, 1, 1, 2, 2, 3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, b'x', 0]),
        key(22, "hash", &fields),
        key(23, "hash-listpack", &string(b"listpack")),
        key(24, "hash-2", &[moment.clone(), fields.clone()].concat()),
        key(25, "hash-listpack-2", &[moment, string(b"listpack")].concat()),
    ];
    (keys, "stream: 3, module value: 1, hash with expiring fields: 4")
}

#[test]
fn what_is_not_read_is_passed_over_on_request() {
    let (keys, expected) = foreign_keys();
    let file = snapshot(&[keys.concat(), key(0, "behind", &string(b"value"))]);
    let skip = |file: &[u8]| {
        let mut reader = SnapshotReader::new(file)?.skip_foreign(true);
        let (mut skipped, mut read) = (Skipped::default(), Vec::new());
        while let Some(item) = reader.next()? {
            match item {
                Item::Skipped(foreign) => skipped.note(foreign),
                item => read.push(item),
            }
        }
        Ok::<_, LoadError>((skipped, read))
    };
    let (skipped, items) = skip(&file).expect("everything is passed over or read");
    assert_eq!((skipped.to_string().as_str(), skipped.count()), (expected, 8));
    assert!(matches!(&items[..], [Item::Key { key, .. }] if key == b"behind"), "{items:?}");
    for cut in 9..file.len() {
        let error = skip(&file[..cut]).expect_err("the end is missing");
        assert_eq!(error.offset, cut as u64, "{error}");
    }
    // Those of pre-releases have no known end.
    let error = skip(&snapshot(&[key(6, "old", b"")])).expect_err("it cannot be passed over");
    assert!(error.to_string().contains("pre-release of Redis 4 at key 'old'"), "{error}");
}

#[test]
fn every_version_from_6_to_12_is_read() {
    for version in 6..=12 {
        let mut file = sample();
        file[5..9].copy_from_slice(format!("{version:04}").as_bytes());
        let file = with_checksum(file);
        assert_eq!(
            read(&file[..]).expect("it is intact"),
            read(&with_checksum(sample())[..]).expect("so is this")
        );
    }
}

#[test]
fn the_version_that_was_asked_for_is_written() {
    for version in [10, 11] {
        let file = write(&[Item::SelectDb(0)], WriteOptions { version, ..WriteOptions::default() });
        assert_eq!(SnapshotReader::new(&file[..]).expect("just written").version(), version);
    }
}

#[test]
fn the_checksum_need_not_be_verified() {
    let file = b"REDIS0009\xff\x01\0\0\0\0\0\0\0";
    let mut reader = SnapshotReader::new(&file[..]).expect("the header is right").verify_checksum(false);
    assert_eq!(reader.next().expect("nobody looks"), None);
}

#[test]
fn after_an_error_there_is_no_end_to_be_mistaken() {
    let mut reader =
        SnapshotReader::new(&b"REDIS0009\x0f\x01k\xff\0\0\0\0\0\0\0\0"[..]).expect("the header is right");
    reader.next().expect_err("it is a stream");
    assert!(matches!(reader.next(), Err(LoadError { kind: LoadErrorKind::AfterFailure, .. })));
}

#[test]
fn altered_payloads_are_not_restored() {
    let payload = dump(true, |value| value.hash(2, [("a", "b"), ("c", "d")])).expect("memory does not fail");
    for at in 0..payload.len() {
        let mut changed = payload.clone();
        changed[at] ^= 0x10;
        restore(&changed).expect_err("one bit is wrong");
        restore(&payload[..at]).expect_err("it is cut");
    }
    let mut longer = payload[..payload.len() - 10].to_vec();
    longer.extend(*b"?\x0a\0");
    longer.extend(larder::persist::crc64::crc64(&longer).to_le_bytes());
    let error = restore(&longer).expect_err("there is a byte too many").to_string();
    assert_eq!(error, "corrupt: expected the end of the value, found 1 bytes more (offset 10)");
}
