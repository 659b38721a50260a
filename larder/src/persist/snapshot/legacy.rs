//! The packed forms of old snapshots: ziplist (lists, hashes and sorted sets up to version 9) and zipmap (hashes up
//! to Redis 2.4). They are only ever unpacked.
//!
//! ```text
//! ziplist  <bytes u32> <last entry u32> <entries u16> { <previous length> <encoding> <data> }* FF
//! zipmap   <entries u8> { <length> <field> <length> <unused u8> <value> <unused bytes> }* FF
//! ```
//!
//! The sizes and counts in front are redundant; a ziplist's total length is checked because a wrong one means the
//! blob was cut, the rest is ignored: what counts is that the entries end exactly at the end mark.

/// Why a packed form was refused, and at which of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) what: &'static str,
    pub(super) at: usize,
}

/// A field and its value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

const ZIPLIST_HEADER: usize = 10;
const END: u8 = 0xff;
/// Lengths of one byte are below this; this byte says that four bytes of length follow.
const LONG_LENGTH: u8 = 254;

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let taken = self.bytes[self.at..]
            .get(..len)
            .ok_or(Damage { what: "an entry that is cut off", at: self.at })?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let at = self.at;
        let damage = Damage { what: "an entry that is cut off", at };
        let array = *self.bytes[at..].first_chunk::<N>().ok_or(damage)?;
        self.at += N;
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, Damage> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// True, and the mark taken, when the end mark is next.
    fn ends(&mut self) -> bool {
        let ends = self.bytes.get(self.at) == Some(&END);
        self.at += usize::from(ends);
        ends
    }

    /// A byte below 254, or 254 and four bytes in little-endian order.
    fn length(&mut self) -> Result<usize, Damage> {
        let at = self.at;
        match self.byte()? {
            LONG_LENGTH => {
                let length = u32::from_le_bytes(self.array()?);
                usize::try_from(length).map_err(|_| Damage { what: "a length beyond memory", at })
            }
            END => Err(Damage { what: "an end mark in place of a length", at }),
            length => Ok(usize::from(length)),
        }
    }

    fn finish(&self) -> Result<(), Damage> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(Damage { what: "bytes behind the end mark", at: self.at })
        }
    }
}

/// The entries of a ziplist, integers in decimal.
pub(super) fn ziplist(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Damage> {
    let mut cursor = Cursor { bytes, at: 0 };
    let claimed_len = u32::from_le_bytes(cursor.array()?);
    if usize::try_from(claimed_len) != Ok(bytes.len()) {
        return Err(Damage { what: "a total length that is not the actual one", at: 0 });
    }
    cursor.take(ZIPLIST_HEADER - cursor.at)?;
    let mut entries = Vec::new();
    while !cursor.ends() {
        cursor.length()?;
        entries.push(ziplist_entry(&mut cursor)?);
    }
    cursor.finish()?;
    Ok(entries)
}

fn ziplist_entry(cursor: &mut Cursor<'_>) -> Result<Vec<u8>, Damage> {
    let at = cursor.at;
    let first = cursor.byte()?;
    let integer = match first {
        0x00..=0x3f => return Ok(cursor.take(usize::from(first))?.to_vec()),
        0x40..=0x7f => {
            let len = u16::from_be_bytes([first & 0x3f, cursor.byte()?]);
            return Ok(cursor.take(usize::from(len))?.to_vec());
        }
        0x80 => {
            let len = u32::from_be_bytes(cursor.array()?);
            let len = usize::try_from(len).map_err(|_| Damage { what: "a length beyond memory", at })?;
            return Ok(cursor.take(len)?.to_vec());
        }
        0xc0 => i64::from(i16::from_le_bytes(cursor.array()?)),
        0xd0 => i64::from(i32::from_le_bytes(cursor.array()?)),
        0xe0 => i64::from_le_bytes(cursor.array()?),
        0xf0 => {
            let [low, middle, high] = cursor.array()?;
            // The three bytes become the upper ones, and the shift back extends the sign.
            i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8)
        }
        0xfe => i64::from(i8::from_le_bytes(cursor.array()?)),
        0xf1..=0xfd => i64::from(first - 0xf1),
        0x81..=0xbf | 0xc1..=0xcf | 0xd1..=0xdf | 0xe1..=0xef | 0xff => {
            return Err(Damage { what: "an encoding that does not exist", at });
        }
    };
    Ok(itoa::Buffer::new().format(integer).as_bytes().to_vec())
}

/// The fields and values of a zipmap.
pub(super) fn zipmap(bytes: &[u8]) -> Result<Vec<Pair>, Damage> {
    let mut cursor = Cursor { bytes, at: 0 };
    cursor.byte()?;
    let mut pairs = Vec::new();
    while !cursor.ends() {
        let len = cursor.length()?;
        let field = cursor.take(len)?.to_vec();
        let len = cursor.length()?;
        let unused = usize::from(cursor.byte()?);
        let value = cursor.take(len)?.to_vec();
        cursor.take(unused)?;
        pairs.push((field, value));
    }
    cursor.finish()?;
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ziplist_of(entries: &[u8]) -> Vec<u8> {
        let len = ZIPLIST_HEADER + entries.len() + 1;
        let mut bytes = (len as u32).to_le_bytes().to_vec();
        bytes.extend([0; 6]);
        bytes.extend(entries);
        bytes.push(END);
        bytes
    }

    fn one(entry: &[u8]) -> String {
        let entries = ziplist(&ziplist_of(&[&[0], entry].concat())).expect("well formed");
        assert_eq!(entries.len(), 1);
        String::from_utf8(entries[0].clone()).expect("the tests use ASCII")
    }

    #[test]
    fn every_encoding_of_a_ziplist_entry_is_understood() {
        assert_eq!(one(b"\x03abc"), "abc");
        assert_eq!(one(b"\x00"), "");
        assert_eq!(one(b"\x40\x03abc"), "abc");
        assert_eq!(one(&[&[0x41, 0x00][..], &[b'x'; 256]].concat()), "x".repeat(256));
        assert_eq!(one(b"\x80\x00\x00\x00\x03abc"), "abc");
        assert_eq!(one(&[0xc0, 0xfe, 0xff]), "-2");
        assert_eq!(one(&[0xd0, 0, 0, 0, 0x80]), "-2147483648");
        assert_eq!(one(&[0xe0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), "9223372036854775807");
        assert_eq!(one(&[0xf0, 0xff, 0xff, 0x7f]), "8388607");
        assert_eq!(one(&[0xf0, 0x00, 0x00, 0x80]), "-8388608");
        assert_eq!(one(&[0xfe, 0x80]), "-128");
        assert_eq!(one(&[0xf1]), "0");
        assert_eq!(one(&[0xfd]), "12");
    }

    #[test]
    fn long_previous_lengths_are_skipped() {
        let entries = ziplist(&ziplist_of(b"\x00\x01a\xfe\x00\x10\x00\x00\x01b")).expect("well formed");
        assert_eq!(entries, [b"a", b"b"]);
    }

    #[test]
    fn damaged_ziplists_are_refused() {
        let good = ziplist_of(b"\x00\x01a\x03\x01b");
        for len in 0..good.len() {
            assert!(ziplist(&good[..len]).is_err(), "cut to {len}");
        }
        for bad in
            [&b"\x00\x05a"[..], b"\x00\x81a", b"\x00\xff", b"\x00\x01a\xff", b"\x00\x80\xff\xff\xff\xff"]
        {
            assert!(ziplist(&ziplist_of(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn zipmaps_are_unpacked_with_their_unused_bytes_skipped() {
        let good = b"\x02\x01a\x02\x00xy\x01b\x01\x03z___\xff";
        assert_eq!(
            zipmap(good).expect("well formed"),
            [(b"a".to_vec(), b"xy".to_vec()), (b"b".to_vec(), b"z".to_vec())]
        );
        for len in 0..good.len() {
            assert!(zipmap(&good[..len]).is_err(), "cut to {len}");
        }
        let long = [&b"\x01\xfe\x01\x00\x00\x00a\x01\x00b\xff"[..]].concat();
        assert_eq!(zipmap(&long).expect("well formed"), [(b"a".to_vec(), b"b".to_vec())]);
    }
}
