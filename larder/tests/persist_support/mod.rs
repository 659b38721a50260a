//! What the snapshot tests share: the packed forms in their simplest rendering, and old snapshots built by hand.

#![allow(dead_code, reason = "each test file uses its part")]

/// A listpack of short strings.
pub(crate) fn listpack(elements: &[&str]) -> Vec<u8> {
    let mut entries = Vec::new();
    for element in elements {
        assert!(element.len() < 64, "only the shortest form is built here");
        entries.push(0x80 | element.len() as u8);
        entries.extend(element.as_bytes());
        entries.push(element.len() as u8 + 1);
    }
    let mut bytes = (entries.len() as u32 + 7).to_le_bytes().to_vec();
    bytes.extend((elements.len() as u16).to_le_bytes());
    bytes.extend(entries);
    bytes.push(0xff);
    bytes
}

/// The elements of a listpack Redis has written, integers in decimal.
pub(crate) fn listpack_elements(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut elements, mut at) = (Vec::new(), 6);
    let signed = |bytes: &[u8]| {
        let mut wide = [if bytes[bytes.len() - 1] & 0x80 == 0 { 0 } else { 0xff }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        i64::from_le_bytes(wide).to_string().into_bytes()
    };
    while bytes[at] != 0xff {
        let first = bytes[at];
        let rest = &bytes[at + 1..];
        let text = |skip: usize, len: usize| (rest[skip..skip + len].to_vec(), 1 + skip + len);
        let (element, len) = match first {
            0x00..=0x7f => (first.to_string().into_bytes(), 1),
            0x80..=0xbf => text(0, usize::from(first & 0x3f)),
            0xc0..=0xdf => {
                let value = i32::from(u16::from_be_bytes([first & 0x1f, rest[0]]));
                (((value << 19) >> 19).to_string().into_bytes(), 2)
            }
            0xe0..=0xef => text(1, usize::from(u16::from_be_bytes([first & 0x0f, rest[0]]))),
            0xf0 => text(4, u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize),
            0xf1 => (signed(&rest[..2]), 3),
            0xf2 => (signed(&rest[..3]), 4),
            0xf3 => (signed(&rest[..4]), 5),
            0xf4 => (signed(&rest[..8]), 9),
            0xf5..=0xff => panic!("no such listpack entry: {first:#x}"),
        };
        elements.push(element);
        let back_len = match len {
            0..=127 => 1,
            128..=16_383 => 2,
            16_384..=2_097_151 => 3,
            2_097_152..=268_435_455 => 4,
            _ => 5,
        };
        at += len + back_len;
    }
    assert_eq!(at + 1, bytes.len(), "the end mark is the last byte");
    elements
}

/// An intset of 16-bit members, which must be ascending.
pub(crate) fn intset(members: &[i16]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    bytes.extend((members.len() as u32).to_le_bytes());
    bytes.extend(members.iter().flat_map(|member| member.to_le_bytes()));
    bytes
}

/// The members of an intset.
pub(crate) fn intset_members(bytes: &[u8]) -> Vec<i64> {
    let width = bytes[0] as usize;
    let member = |bytes: &[u8]| match *bytes {
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => i64::from_le_bytes(bytes.try_into().expect("the widths are 2, 4 and 8")),
    };
    bytes[8..].chunks(width).map(member).collect()
}

/// A ziplist of short strings and, where an element is a number below 10000, of integers.
pub(crate) fn ziplist(elements: &[&str]) -> Vec<u8> {
    let (mut entries, mut previous_len, mut last) = (Vec::new(), 0, 10);
    for element in elements {
        last = 10 + entries.len();
        entries.push(previous_len as u8);
        match element.parse::<i16>() {
            Ok(number @ 0..=12) => entries.push(0xf1 + number as u8),
            Ok(number) => {
                entries.push(0xc0);
                entries.extend(number.to_le_bytes());
            }
            Err(_) => {
                entries.push(element.len() as u8);
                entries.extend(element.as_bytes());
            }
        }
        previous_len = 10 + entries.len() - last;
    }
    let mut bytes = (entries.len() as u32 + 11).to_le_bytes().to_vec();
    bytes.extend((last as u32).to_le_bytes());
    bytes.extend((elements.len() as u16).to_le_bytes());
    bytes.extend(entries);
    bytes.push(0xff);
    bytes
}

/// A string of fewer than 64 bytes, or of fewer than 16384, as the snapshot format has it.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    let [high, low] = (bytes.len() as u16).to_be_bytes();
    let mut out = if bytes.len() < 64 { vec![low] } else { vec![0x40 | high, low] };
    out.extend(bytes);
    out
}

/// A key of the given type whose value is `body`.
pub(crate) fn key(tag: u8, key: &str, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &string(key.as_bytes()), body].concat()
}

/// A snapshot of version 9 without a checksum.
pub(crate) fn snapshot(items: &[Vec<u8>]) -> Vec<u8> {
    [b"REDIS0009".to_vec(), items.concat(), vec![0xff], vec![0; 8]].concat()
}

/// One key of every type that Redis does not write any more.
pub(crate) fn legacy_keys() -> Vec<Vec<u8>> {
    let (list, hash, zset) =
        (ziplist(&["a", "12", "9999", "-7"]), ziplist(&["f", "1", "g", "x"]), ["m", "1.5", "n", "3"]);
    vec![
        [&[253][..], &2_000_000_000_i32.to_le_bytes(), &key(0, "expires", &string(b"in seconds"))].concat(),
        key(1, "list", &[&[2][..], &string(b"a"), &string(b"b")].concat()),
        key(
            3,
            "zset-text",
            &[&[3][..], &string(b"one"), b"\x011", &string(b"inf"), &[254], &string(b"-inf"), &[255]]
                .concat(),
        ),
        key(9, "hash-zipmap", &string(b"\x02\x01a\x02\x00xy\x01b\x01\x03z___\xff")),
        key(10, "list-ziplist", &string(&list)),
        key(12, "zset-ziplist", &string(&ziplist(&zset))),
        key(13, "hash-ziplist", &string(&hash)),
        key(14, "list-quicklist", &[&[2][..], &string(&list), &string(&ziplist(&["z"]))].concat()),
    ]
}
