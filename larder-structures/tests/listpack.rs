//! The listpack against bytes captured from redis-server 7.0.15 (the payload of `DUMP`, compression off).

use larder_structures::listpack::{EMPTY_BYTES, Element, Listpack, entry_bytes};

fn unhex(text: &str) -> Vec<u8> {
    let digit = |b: u8| (b as char).to_digit(16).expect("a hexadecimal digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn pack(values: &[&str]) -> Listpack {
    let mut pack = Listpack::new();
    values.iter().for_each(|value| pack.push_back(value.as_bytes()));
    pack.check_invariants();
    pack
}

/// HSET of integers around every border of the encodings, and of strings that only look like integers.
#[test]
fn hash_of_integers_is_byte_compatible() {
    let expected = unhex(concat!(
        "ad0000002a00826631038276310381",
        "6e0200018161027f01816202c08002816302dfff02816402cfff02816502d00002816602f1001003816702f1ff7f0381",
        "6802f1008003816902f200800004816a02f2ffff7f04816b02f200008004816c02f30000800005816d02f3ffffff7f05",
        "816f02f4000000800000000009817002f4000000000000008009817102f4ffffffffffffff7f09817202833030370481",
        "7302822d3003817402822b3103ff"
    ));
    let values = "f1 v1 n 0 a 127 b 128 c -1 d 4095 e -4096 f 4096 g 32767 h -32768 i 32768 j 8388607 k -8388608 \
                  l 8388608 m 2147483647 o 2147483648 p -9223372036854775808 q 9223372036854775807 r 007 s -0 t +1";
    let values: Vec<&str> = values.split_whitespace().collect();
    let ours = pack(&values);
    assert_eq!(ours.as_bytes(), expected);
    let read = Listpack::from_bytes(expected).expect("redis-server's bytes are valid");
    assert!(read.iter().map(|e| e.to_vec()).eq(values.iter().map(|v| v.as_bytes().to_vec())));
}

/// ZADD z 1 a 2.5 b -inf c 1e20 d 3 10
#[test]
fn sorted_set_is_byte_compatible() {
    let expected =
        unhex("2b0000000a00816302842d696e6605816102010181620283322e35040a0103018164028531652b323006ff");
    assert_eq!(pack(&["c", "-inf", "a", "1", "b", "2.5", "10", "3", "d", "1e+20"]).as_bytes(), expected);
}

/// HSET q k zzz...: total size, value head, value backlen at each border of string and backlen encodings.
#[test]
fn long_strings_are_byte_compatible() {
    for (len, total, head, backlen) in [
        (63, "4b000000", "bf", "40"),
        (64, "4d000000", "e040", "42"),
        (124, "89000000", "e07c", "7e"),
        (125, "8a000000", "e07d", "7f"),
        (126, "8c000000", "e07e", "0180"),
        (4095, "0d100000", "efff", "2081"),
        (4096, "11100000", "f000100000", "2085"),
        (16_377, "0a400000", "f0f93f0000", "7ffe"),
        (16_378, "0c400000", "f0fa3f0000", "00ffff"),
    ] {
        let value = "z".repeat(len);
        let payload = "7a".repeat(len);
        let expected = unhex(&format!("{total}0200816b02{head}{payload}{backlen}ff"));
        assert_eq!(pack(&["k", &value]).as_bytes(), expected, "{len}");
        assert_eq!(entry_bytes(value.as_bytes()), expected.len() - EMPTY_BYTES - 3);
    }
}

#[test]
fn wasteful_encodings_are_read_and_compare_equal() {
    // 5 as 13-bit, 16-bit, 64-bit integer, and as the one-byte string "5"; "" with a 12-bit length.
    let entries = "c00502f1050003f4050000000000000009813502e00002";
    let bytes = unhex(&format!("{:02x}0000000500{entries}ff", entries.len() / 2 + EMPTY_BYTES));
    let pack = Listpack::from_bytes(bytes).expect("legal, if wasteful");
    for element in pack.iter().take(4) {
        assert_eq!(element, Element::Int(5));
        assert_eq!((element.len(), element.to_i64(), element.eq_bytes(b"5")), (1, Some(5), true));
    }
    for skipped in 0..4 {
        let from = pack.seek(skipped).expect("five elements");
        assert_eq!(pack.find_from(from, b"5", 0), Some(from));
    }
    assert_eq!(pack.find(b"", 0), pack.last());
    assert_eq!(pack.find(b"05", 0), None);
}

#[test]
fn refuses_damage() {
    let good = pack(&["alpha", "12", "70000", &"x".repeat(200)]).into_bytes();
    assert!(Listpack::from_bytes(good.clone()).is_ok());
    for len in 0..good.len() {
        assert!(Listpack::from_bytes(good[..len].to_vec()).is_err(), "cut at {len}");
    }
    let payload: Vec<usize> = (7..12).chain([13]).chain(16..19).chain(22..222).collect();
    for at in (0..good.len()).filter(|at| !payload.contains(at)) {
        for flip in [1, 0x80] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            assert!(Listpack::from_bytes(bad.clone()).is_err(), "byte {at} ^ {flip}");
        }
    }
}

/// From 65,535 elements on the header no longer counts.
#[test]
fn counts_beyond_the_header() {
    let mut pack = Listpack::new();
    for n in 0..65_534i64 {
        pack.push_back(n);
    }
    assert_eq!(pack.as_bytes()[4..6], [0xfe, 0xff]);
    for (n, header) in [(65_535, [0xff, 0xff]), (65_536, [0xff, 0xff])] {
        pack.push_back(b"x");
        assert_eq!((pack.len(), pack.view().len()), (n, n));
        assert_eq!(pack.as_bytes()[4..6], header);
    }
    let read = Listpack::from_bytes(pack.as_bytes().to_vec()).expect("own bytes");
    assert_eq!(read.len(), 65_536);
    assert_eq!(read.get(-3), Some(Element::Int(65_533)));
    assert_eq!(pack.remove_range(0, 10), 10);
    assert_eq!(pack.view().len(), 65_526);
    assert_eq!(pack.as_bytes()[4..6], 65_526u16.to_le_bytes());
}

/// Pushing at either end keeps the slack below the content.
#[test]
fn slack_stays_proportional() {
    let mut pack = Listpack::new();
    for n in 0..10_000 {
        if n % 3 == 0 {
            pack.push_back(b"twelve bytes")
        } else {
            pack.push_front(b"twelve bytes")
        }
        let entries = pack.byte_len();
        assert!(pack.heap_bytes() <= 2 * entries + 64, "{} for {entries}", pack.heap_bytes());
    }
    for _ in 0..9_990 {
        pack.remove_range(0, 1);
    }
    assert!(pack.heap_bytes() <= 4 * pack.byte_len() + 64);
    pack.check_invariants();
}
