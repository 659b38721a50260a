//! Reading a listpack where it lies: elements, positions, iteration, search, validation.

use super::encoding::{backlen_width, decode, read_backlen};
use super::{COUNT_UNKNOWN, END, HEADER};
use crate::corrupt::Corrupt;
use crate::decimal::{decimal_len, is_decimal_of, parse_canonical_i64, write_i64};

/// One element as stored. Integers and strings are one type to the outside: an integer *is* its decimal string.
#[derive(Clone, Copy, Debug)]
pub enum Element<'a> {
    /// A byte string. May look like a number when the bytes came from another writer.
    Str(&'a [u8]),
    /// A string stored as the integer it denotes.
    Int(i64),
}

impl Element<'_> {
    /// Appends the element as the byte string it stands for.
    #[inline]
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Str(text) => out.extend_from_slice(text),
            Self::Int(value) => write_i64(value, out),
        }
    }

    /// The byte string it stands for.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.write_to(&mut out);
        out
    }

    /// Whether the byte string it stands for is `text`.
    #[inline]
    pub fn eq_bytes(&self, text: &[u8]) -> bool {
        match *self {
            Self::Str(own) => own == text,
            Self::Int(value) => is_decimal_of(text, value),
        }
    }

    /// Length in bytes of the byte string it stands for.
    #[inline]
    pub fn len(&self) -> usize {
        match *self {
            Self::Str(text) => text.len(),
            Self::Int(value) => decimal_len(value),
        }
    }

    /// Whether it is the empty string.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integer it is the canonical decimal of, however stored.
    #[inline]
    pub fn to_i64(&self) -> Option<i64> {
        match *self {
            Self::Str(text) => parse_canonical_i64(text),
            Self::Int(value) => Some(value),
        }
    }
}

/// Elements are equal when the byte strings they stand for are.
impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Int(a), Self::Int(b)) => a == b,
            (any, Self::Str(text)) | (Self::Str(text), any) => any.eq_bytes(text),
        }
    }
}

impl Eq for Element<'_> {}

impl<'a> From<&'a [u8]> for Element<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self::Str(text)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Element<'a> {
    fn from(text: &'a [u8; N]) -> Self {
        Self::Str(text)
    }
}

impl<'a> From<&'a Vec<u8>> for Element<'a> {
    fn from(text: &'a Vec<u8>) -> Self {
        Self::Str(text)
    }
}

impl From<i64> for Element<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

/// A value to look for in many elements, parsed once: integers are compared as integers, strings by length and then bytes.
#[derive(Clone, Copy, Debug)]
pub struct Needle<'a> {
    text: &'a [u8],
    int: Option<i64>,
}

impl<'a> Needle<'a> {
    /// Parses `text` for [`Needle::matches`].
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, int: parse_canonical_i64(text) }
    }

    /// Whether the byte string that `element` stands for is the one looked for.
    #[inline]
    pub fn matches(&self, element: Element<'_>) -> bool {
        match element {
            Element::Int(value) => self.int == Some(value),
            Element::Str(text) => text.len() == self.text.len() && text == self.text,
        }
    }
}

/// The entries of a listpack in borrowed bytes, without header and end mark. All reading is defined here;
/// [`super::Listpack`] forwards to it.
///
/// A *position* is the offset of an entry from the first one. Positions are only meaningful for the bytes they were
/// obtained from; with any other number the answer is arbitrary, but no read leaves the slice and nothing panics.
#[derive(Clone, Copy, Debug)]
pub struct ListpackRef<'a> {
    entries: &'a [u8],
    /// Number of elements, where the owner knows it.
    count: Option<u32>,
}

impl<'a> ListpackRef<'a> {
    /// A view of bytes known to be a listpack's entries, because they were validated or written here. On other bytes reads
    /// give arbitrary elements, but end and do not panic.
    #[inline]
    pub fn trusted(entries: &'a [u8]) -> Self {
        Self { entries, count: None }
    }

    /// [`ListpackRef::trusted`] for an owner that knows the number of elements.
    #[inline]
    pub(super) fn counted(entries: &'a [u8], count: u32) -> Self {
        Self { entries, count: Some(count) }
    }

    /// The entries as they are encoded.
    #[inline]
    pub fn entries(&self) -> &'a [u8] {
        self.entries
    }

    /// The serialized form: header, entries and end mark.
    pub fn to_bytes(&self) -> Vec<u8> {
        super::serialized(self.entries, self.len(), Vec::new())
    }

    /// Number of elements. O(1) for the view of a [`super::Listpack`], otherwise O(bytes).
    pub fn len(&self) -> usize {
        self.count.map_or_else(|| self.count_from(0), |count| count as usize)
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of elements from the position `at` to the end.
    pub(super) fn count_from(&self, at: usize) -> usize {
        let mut count = 0;
        let mut here = at;
        while let Some(size) = self.entry_size(here) {
            count += 1;
            here += size;
        }
        count
    }

    /// Bytes of the entry at `at` with its backlen; `None` at the end mark.
    #[inline]
    pub(super) fn entry_size(&self, at: usize) -> Option<usize> {
        let (_, len) = decode(self.entries.get(at..)?)?;
        Some(len + backlen_width(len))
    }

    /// The position behind the last element, where insertion appends.
    #[inline]
    pub fn end(&self) -> usize {
        self.entries.len()
    }

    /// The position of the first element.
    #[inline]
    pub fn first(&self) -> Option<usize> {
        (!self.is_empty()).then_some(0)
    }

    /// The position of the last element.
    #[inline]
    pub fn last(&self) -> Option<usize> {
        self.prev(self.end())
    }

    /// The position after `at`.
    #[inline]
    pub fn next(&self, at: usize) -> Option<usize> {
        let next = at + self.entry_size(at)?;
        (next < self.end()).then_some(next)
    }

    /// The position before `at`.
    #[inline]
    pub fn prev(&self, at: usize) -> Option<usize> {
        if at == 0 {
            return None;
        }
        let (len, width) = read_backlen(self.entries, at)?;
        at.checked_sub(len + width).filter(|&prev| prev < at)
    }

    /// The element at position `at`, or `None` when no entry starts there.
    #[inline]
    pub fn at(&self, at: usize) -> Option<Element<'a>> {
        decode(self.entries.get(at..)?).map(|(element, _)| element)
    }

    /// The position of element `index`, counted from 0, or from -1 at the end. Walks from the nearer end.
    pub fn seek(&self, index: i64) -> Option<usize> {
        self.seek_among(index, self.len())
    }

    /// [`ListpackRef::seek`] for an owner that knows the number of elements.
    pub(super) fn seek_among(&self, index: i64, len: usize) -> Option<usize> {
        let from_front = if index < 0 { (len as i64).checked_add(index)? } else { index };
        let steps = usize::try_from(from_front).ok().filter(|&n| n < len)?;
        if steps <= len / 2 {
            let mut at = self.first()?;
            for _ in 0..steps {
                at += self.entry_size(at)?;
            }
            Some(at)
        } else {
            let mut at = self.last()?;
            for _ in steps + 1..len {
                at = self.prev(at)?;
            }
            Some(at)
        }
    }

    /// Element `index`, counted from 0, or from -1 at the end.
    pub fn get(&self, index: i64) -> Option<Element<'a>> {
        self.at(self.seek(index)?)
    }

    /// All elements in order; double-ended.
    #[inline]
    pub fn iter(&self) -> Iter<'a> {
        Iter { view: *self, front: 0, back: self.end() }
    }

    /// The elements from the position `at` on.
    #[inline]
    pub fn iter_from(&self, at: usize) -> Iter<'a> {
        Iter { view: *self, front: at, back: self.end() }
    }

    /// The elements before the position `at`.
    #[inline]
    pub fn iter_to(&self, at: usize) -> Iter<'a> {
        Iter { view: *self, front: 0, back: at.min(self.end()) }
    }

    /// The position of the first element equal to `value`, leaving out `skip` elements between two that are compared
    /// (1 to look only at the fields of a hash kept as field, value, field, value).
    pub fn find(&self, value: &[u8], skip: usize) -> Option<usize> {
        self.find_from(0, value, skip)
    }

    /// [`ListpackRef::find`] beginning at the position `at`.
    pub fn find_from(&self, at: usize, value: &[u8], skip: usize) -> Option<usize> {
        let needle = Needle::new(value);
        let mut at = at;
        let mut left_out = 0;
        while let Some((element, len)) = self.entries.get(at..).and_then(decode) {
            if left_out == 0 {
                if needle.matches(element) {
                    return Some(at);
                }
                left_out = skip;
            } else {
                left_out -= 1;
            }
            at += len + backlen_width(len);
        }
        None
    }
}

impl<'a> IntoIterator for ListpackRef<'a> {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Elements of a listpack, from either end.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    view: ListpackRef<'a>,
    /// Position of the next element from the front.
    front: usize,
    /// Offset behind the next element from the back.
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (element, len) = decode(&self.view.entries[self.front..])?;
        self.front += len + backlen_width(len);
        Some(element)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = self.view.prev(self.back)?;
        self.view.at(self.back)
    }
}

/// Checks every byte that reading depends on, and counts the elements.
pub(super) fn validate(bytes: &[u8]) -> Result<u32, Corrupt> {
    let Some((&[a, b, c, d, low, high], body)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(Corrupt("listpack shorter than its header"));
    };
    if u32::from_le_bytes([a, b, c, d]) as usize != bytes.len() {
        return Err(Corrupt("listpack size differs from its header"));
    }
    let Some((&END, mut rest)) = body.split_last() else {
        return Err(Corrupt("listpack without end mark"));
    };
    let mut count = 0u32;
    while !rest.is_empty() {
        let (_, len) = decode(rest).ok_or(Corrupt("listpack entry of unknown encoding or cut short"))?;
        let size = len + backlen_width(len);
        if read_backlen(rest.get(..size).unwrap_or_default(), size) != Some((len, size - len)) {
            return Err(Corrupt("listpack entry with a wrong back length"));
        }
        rest = &rest[size..];
        count += 1;
    }
    let stated = u16::from_le_bytes([low, high]);
    if stated != COUNT_UNKNOWN && u32::from(stated) != count {
        return Err(Corrupt("listpack count differs from its header"));
    }
    Ok(count)
}
