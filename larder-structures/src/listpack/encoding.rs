//! The bytes of one listpack entry: `head, payload, backlen`.
//!
//! | first byte | meaning |
//! |---|---|
//! | `0xxxxxxx` | integer 0 to 127 |
//! | `10xxxxxx` | string, 6-bit length |
//! | `110xxxxx` + 1 | signed 13-bit integer, high bits first |
//! | `1110xxxx` + 1 | string, 12-bit length, high bits first |
//! | `11110000` + 4 | string, 32-bit length, little endian |
//! | `11110001` to `11110100` | signed integer of 2, 3, 4, 8 bytes, little endian |
//!
//! The backlen is the length of head and payload in groups of seven bits, most significant group first, every byte but
//! the first marked with the top bit; so it can be read from its last byte backwards. The widths switch one below the
//! powers of two (16,382 is the last length in two bytes): the format's own choice, which readers depend on because they
//! compute the width from the length.

use super::Element;
use crate::decimal::parse_canonical_i64;

/// Most bytes a backlen takes.
const BACKLEN_MAX: usize = 5;

/// Width in bytes of the backlen for an entry whose head and payload take `len` bytes.
#[inline]
pub(super) fn backlen_width(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => BACKLEN_MAX,
    }
}

/// The backlen that ends just before `end`: its value and width, or `None` if no complete one stands there.
#[inline]
pub(super) fn read_backlen(bytes: &[u8], end: usize) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for width in 1..=BACKLEN_MAX {
        let byte = *bytes.get(end.checked_sub(width)?)?;
        value |= u64::from(byte & 127) << (7 * (width - 1));
        if byte & 128 == 0 {
            return Some((value as usize, width));
        }
    }
    None
}

/// The element whose head starts `rest`, and the length of head and payload together. `None` if the first byte is no
/// head (the end mark, for example) or `rest` is too short.
#[inline]
pub(super) fn decode(rest: &[u8]) -> Option<(Element<'_>, usize)> {
    let first = *rest.first()?;
    match first {
        0x00..=0x7f => Some((Element::Int(i64::from(first)), 1)),
        0x80..=0xbf => string(rest, 1, usize::from(first & 0x3f)),
        0xc0..=0xdf => {
            let raw = (i64::from(first & 0x1f) << 8) | i64::from(*rest.get(1)?);
            Some((Element::Int(if raw < 1 << 12 { raw } else { raw - (1 << 13) }), 2))
        }
        0xe0..=0xef => string(rest, 2, (usize::from(first & 0x0f) << 8) | usize::from(*rest.get(1)?)),
        0xf0 => string(rest, 5, u32::from_le_bytes(array(rest)?) as usize),
        0xf1 => Some((Element::Int(i64::from(i16::from_le_bytes(array(rest)?))), 3)),
        0xf2 => {
            let [a, b, c] = array(rest)?;
            Some((Element::Int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)), 4))
        }
        0xf3 => Some((Element::Int(i64::from(i32::from_le_bytes(array(rest)?))), 5)),
        0xf4 => Some((Element::Int(i64::from_le_bytes(array(rest)?)), 9)),
        _ => None,
    }
}

/// The string payload of `len` bytes behind a head of `head` bytes.
#[inline]
fn string(rest: &[u8], head: usize, len: usize) -> Option<(Element<'_>, usize)> {
    let end = head.checked_add(len)?;
    Some((Element::Str(rest.get(head..end)?), end))
}

/// The `N` bytes behind the first.
#[inline]
fn array<const N: usize>(rest: &[u8]) -> Option<[u8; N]> {
    rest.get(1..=N)?.try_into().ok()
}

/// An entry about to be written: head, payload and, computed when written, backlen.
pub(super) struct Entry<'a> {
    head: [u8; 9],
    head_len: usize,
    payload: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The entry for `value`. A string that is a canonical decimal becomes an integer, as the format's writers do.
    #[inline]
    pub(super) fn new(value: Element<'a>) -> Self {
        match value {
            Element::Int(value) => Self::int(value),
            Element::Str(text) => match parse_canonical_i64(text) {
                Some(value) => Self::int(value),
                None => Self::string(text),
            },
        }
    }

    fn with_head(head_bytes: &[u8], payload: &'a [u8]) -> Self {
        let mut head = [0; 9];
        head[..head_bytes.len()].copy_from_slice(head_bytes);
        Self { head, head_len: head_bytes.len(), payload }
    }

    fn int(value: i64) -> Self {
        let bytes = value.to_le_bytes();
        let [a, b, c, d, ..] = bytes;
        match value {
            0..=127 => Self::with_head(&[a], &[]),
            -4096..=4095 => Self::with_head(&[0xc0 | (b & 0x1f), a], &[]),
            -0x8000..=0x7fff => Self::with_head(&[0xf1, a, b], &[]),
            -0x80_0000..=0x7f_ffff => Self::with_head(&[0xf2, a, b, c], &[]),
            -0x8000_0000..=0x7fff_ffff => Self::with_head(&[0xf3, a, b, c, d], &[]),
            _ => {
                let mut head = [0xf4; 9];
                head[1..].copy_from_slice(&bytes);
                Self { head, head_len: 9, payload: &[] }
            }
        }
    }

    fn string(text: &'a [u8]) -> Self {
        let len =
            u32::try_from(text.len()).expect("a listpack string is shorter than 4 GiB (documented limit)");
        let [a, b, c, d] = len.to_le_bytes();
        match len {
            0..=63 => Self::with_head(&[0x80 | a], text),
            64..=4095 => Self::with_head(&[0xe0 | b, a], text),
            _ => Self::with_head(&[0xf0, a, b, c, d], text),
        }
    }

    /// Bytes the whole entry takes, backlen included.
    #[inline]
    pub(super) fn size(&self) -> usize {
        let len = self.head_len + self.payload.len();
        len + backlen_width(len)
    }

    /// Writes the entry into `out`, which is exactly [`Entry::size`] bytes long.
    #[inline]
    pub(super) fn write(&self, out: &mut [u8]) {
        let len = self.head_len + self.payload.len();
        let (head, rest) = out.split_at_mut(self.head_len);
        head.copy_from_slice(&self.head[..self.head_len]);
        let (payload, backlen) = rest.split_at_mut(self.payload.len());
        payload.copy_from_slice(self.payload);
        let mut groups = len;
        for byte in backlen.iter_mut().rev() {
            *byte = (groups & 127) as u8 | 128;
            groups >>= 7;
        }
        backlen[0] &= 127;
    }
}
