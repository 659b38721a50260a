//! Listpack: a list of strings and integers in one allocation, byte-compatible with the format of the same name in RDB
//! files, `DUMP` and replication streams.
//!
//! ```text
//! total bytes: u32 LE | count: u16 LE | entry ... entry | 0xFF        entry = head payload backlen
//! ```
//!
//! Small hashes, sets, sorted sets and the nodes of lists are kept this way because it costs two bytes per short element
//! and no pointer; and because it is also the serialized form, saving and loading them is a copy. The price is that every
//! operation but those at the ends walks, so owners convert to a real structure beyond some hundred elements or 8 KiB.
//!
//! **Encoding.** See `encoding.rs`. Writing always picks the shortest form; reading takes any legal one, since other
//! writers are not obliged to be thrifty. A string that is a canonical decimal `i64` is stored as an integer, and the two
//! cannot be told apart by any comparison here.
//!
//! **The count** in the header says "unknown" from 65,535 elements on. [`Listpack`] keeps the true one beside the bytes;
//! [`ListpackRef`] has to walk in that case.
//!
//! **Slack at both ends.** The bytes may begin some way into the buffer. A push or pop at the front then moves only the
//! six header bytes instead of everything, which makes lists used as queues and stacks from the left cheap. Slack grows
//! by a quarter when it runs out, so pushes at either end are O(1) amortised (in bytes of the element). [`Listpack::shrink`]
//! removes all of it; removal does so by itself when three quarters of the buffer lie idle.
//!
//! **Limits.** A listpack is at most `u32::MAX` bytes. Growing beyond that panics: owners bound the size long before
//! ([`Listpack::safe_to_add`], 1 GiB). Bytes from outside never panic: they are refused by [`Listpack::from_bytes`].

mod encoding;
mod view;

use crate::corrupt::Corrupt;
use encoding::Entry;
pub use view::{Element, Iter, ListpackRef, Needle};

/// Bytes of the header: total size and count.
const HEADER: usize = 6;
/// The last byte of every listpack; no entry begins with it.
const END: u8 = 0xff;
/// The count that means "too many to say".
const COUNT_UNKNOWN: u16 = u16::MAX;
/// Size in bytes of a listpack without elements.
pub const EMPTY_BYTES: usize = HEADER + 1;
/// Size in bytes that a listpack should not exceed; beyond it owners use something else.
pub const SAFE_BYTES_MAX: usize = 1 << 30;
/// Below this capacity in bytes a buffer is not worth shrinking.
const SHRINK_FROM_BYTES: usize = 64;

/// Bytes that `value` would take as an entry of a listpack.
pub fn entry_bytes<'v>(value: impl Into<Element<'v>>) -> usize {
    Entry::new(value.into()).size()
}

/// The serialized form of `count` entries, in place of what `buf` holds.
fn serialized(entries: &[u8], count: usize, mut buf: Vec<u8>) -> Vec<u8> {
    let total = EMPTY_BYTES + entries.len();
    buf.clear();
    buf.reserve_exact(total);
    buf.extend_from_slice(&(total as u32).to_le_bytes());
    buf.extend_from_slice(&u16::try_from(count).unwrap_or(COUNT_UNKNOWN).to_le_bytes());
    buf.extend_from_slice(entries);
    buf.push(END);
    buf
}

/// An owned listpack. Reading methods are those of [`ListpackRef`]; see there for positions.
#[derive(Debug)]
pub struct Listpack {
    /// `start` bytes of slack, then the listpack to the end.
    buf: Vec<u8>,
    /// Offset of the header in `buf`.
    start: u32,
    /// Number of elements, also when the header cannot say.
    count: u32,
}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Listpack {
    /// The copy has no slack.
    fn clone(&self) -> Self {
        Self { buf: self.as_bytes().to_vec(), start: 0, count: self.count }
    }
}

impl PartialEq for Listpack {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Listpack {}

impl Listpack {
    /// An empty listpack of exactly [`EMPTY_BYTES`].
    pub fn new() -> Self {
        Self::with_capacity(EMPTY_BYTES)
    }

    /// An empty listpack that can grow to `bytes` in place.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buf = Vec::with_capacity(bytes.max(EMPTY_BYTES));
        buf.extend_from_slice(&[EMPTY_BYTES as u8, 0, 0, 0, 0, 0, END]);
        Self { buf, start: 0, count: 0 }
    }

    /// Takes over serialized bytes after checking every entry, in O(bytes).
    ///
    /// # Errors
    /// [`Corrupt`] when size, count, end mark, any head or any backlen is wrong.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Corrupt> {
        let count = view::validate(&bytes)?;
        Ok(Self { buf: bytes, start: 0, count })
    }

    /// A listpack of the same entries as `view`, in memory that is taken from `buf`.
    pub fn copied(view: ListpackRef<'_>, buf: Vec<u8>) -> Self {
        let count = view.len();
        Self { buf: serialized(view.entries(), count, buf), start: 0, count: count as u32 }
    }

    /// Gives up the listpack for its memory, to be used for another.
    pub fn into_memory(self) -> Vec<u8> {
        self.buf
    }

    /// A view for reading in place.
    #[inline]
    pub fn view(&self) -> ListpackRef<'_> {
        let from = self.start as usize + HEADER;
        ListpackRef::counted(&self.buf[from..self.buf.len() - 1], self.count)
    }

    /// The serialized form.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf[self.start as usize..]
    }

    /// The serialized form, without a copy unless there is slack in front.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.close_front();
        self.buf
    }

    /// Number of elements. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Size of the serialized form in bytes.
    #[inline]
    pub fn byte_len(&self) -> usize {
        self.buf.len() - self.start as usize
    }

    /// Heap bytes held, slack included.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.buf.capacity()
    }

    /// Whether `bytes` more keep the size within [`SAFE_BYTES_MAX`].
    #[inline]
    pub fn safe_to_add(&self, bytes: usize) -> bool {
        self.byte_len().saturating_add(bytes) <= SAFE_BYTES_MAX
    }

    /// Gives back all slack.
    pub fn shrink(&mut self) {
        self.close_front();
        self.buf.shrink_to_fit();
    }

    /// See [`ListpackRef::first`].
    #[inline]
    pub fn first(&self) -> Option<usize> {
        self.view().first()
    }

    /// See [`ListpackRef::last`].
    #[inline]
    pub fn last(&self) -> Option<usize> {
        self.view().last()
    }

    /// See [`ListpackRef::end`].
    #[inline]
    pub fn end(&self) -> usize {
        self.view().end()
    }

    /// See [`ListpackRef::next`].
    #[inline]
    pub fn next(&self, at: usize) -> Option<usize> {
        self.view().next(at)
    }

    /// See [`ListpackRef::prev`].
    #[inline]
    pub fn prev(&self, at: usize) -> Option<usize> {
        self.view().prev(at)
    }

    /// See [`ListpackRef::at`].
    #[inline]
    pub fn at(&self, at: usize) -> Option<Element<'_>> {
        self.view().at(at)
    }

    /// See [`ListpackRef::seek`].
    pub fn seek(&self, index: i64) -> Option<usize> {
        self.view().seek_among(index, self.len())
    }

    /// See [`ListpackRef::get`].
    pub fn get(&self, index: i64) -> Option<Element<'_>> {
        self.at(self.seek(index)?)
    }

    /// See [`ListpackRef::iter`].
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        self.view().iter()
    }

    /// See [`ListpackRef::iter_from`].
    #[inline]
    pub fn iter_from(&self, at: usize) -> Iter<'_> {
        self.view().iter_from(at)
    }

    /// See [`ListpackRef::find`].
    pub fn find(&self, value: &[u8], skip: usize) -> Option<usize> {
        self.view().find(value, skip)
    }

    /// See [`ListpackRef::find_from`].
    pub fn find_from(&self, at: usize, value: &[u8], skip: usize) -> Option<usize> {
        self.view().find_from(at, value, skip)
    }

    /// Appends `value`.
    pub fn push_back<'v>(&mut self, value: impl Into<Element<'v>>) {
        self.put(self.end(), 0, value.into());
    }

    /// Puts `value` before all others.
    pub fn push_front<'v>(&mut self, value: impl Into<Element<'v>>) {
        self.put(0, 0, value.into());
    }

    /// Puts `value` before the element at `at`; the new one is then at `at`.
    pub fn insert_before<'v>(&mut self, at: usize, value: impl Into<Element<'v>>) {
        self.put(at, 0, value.into());
    }

    /// Puts `value` behind the element at `at` and returns its position.
    pub fn insert_after<'v>(&mut self, at: usize, value: impl Into<Element<'v>>) -> usize {
        let next = at + self.size_at(at);
        self.put(next, 0, value.into());
        next
    }

    /// Puts `value` before the element at `at` (or at [`Listpack::end`]) unless the size would then exceed `bytes_max`; says
    /// whether it did.
    pub fn insert_within<'v>(&mut self, at: usize, value: impl Into<Element<'v>>, bytes_max: usize) -> bool {
        self.put_within(at, 0, value.into(), bytes_max)
    }

    /// Replaces the element at `at` unless the size would then exceed `bytes_max`; says whether it did.
    pub fn replace_within<'v>(&mut self, at: usize, value: impl Into<Element<'v>>, bytes_max: usize) -> bool {
        self.put_within(at, self.size_at(at), value.into(), bytes_max)
    }

    /// Replaces the element at `at`, which keeps its position.
    pub fn replace<'v>(&mut self, at: usize, value: impl Into<Element<'v>>) {
        self.put(at, self.size_at(at), value.into());
    }

    /// Removes the element at `at` and returns the position of the one that followed: `at` itself, unless it was the last.
    pub fn remove(&mut self, at: usize) -> Option<usize> {
        self.cut(at, self.size_at(at), 1);
        (at < self.end()).then_some(at)
    }

    /// Removes up to `count` elements from the one at `index` on (negative: from the end), and returns how many.
    pub fn remove_range(&mut self, index: i64, count: usize) -> usize {
        let Some(from) = self.seek(index) else { return 0 };
        let index = if index < 0 { self.len() - index.unsigned_abs() as usize } else { index as usize };
        let count = count.min(self.len() - index);
        let to = match self.seek((index + count) as i64) {
            Some(at) => at,
            None => self.end(),
        };
        self.cut(from, to - from, count);
        count
    }

    /// Removes every element for which `keep` says no, in one pass over the bytes, and returns how many.
    pub fn retain(&mut self, mut keep: impl FnMut(Element<'_>) -> bool) -> usize {
        let base = self.start as usize + HEADER;
        let (mut read, mut write, mut removed) = (0, 0, 0);
        while let Some(element) = self.at(read) {
            let kept = keep(element);
            let size = self.size_at(read);
            if kept {
                if read != write {
                    self.buf.copy_within(base + read..base + read + size, base + write);
                }
                write += size;
            } else {
                removed += 1;
            }
            read += size;
        }
        let len = self.end();
        self.cut(write, len - write, removed);
        removed
    }

    /// Moves the element at `at` and all behind it into a listpack of their own, which has no slack.
    pub fn split_off(&mut self, at: usize) -> Self {
        let count = self.view().count_from(at);
        let tail = &self.view().entries()[at..];
        let len = tail.len();
        let mut other = Self::with_capacity(EMPTY_BYTES + len);
        other.extend_raw(tail, count);
        self.cut(at, len, count);
        other
    }

    /// Appends all elements of `other` as they are encoded there.
    pub fn append(&mut self, other: &Self) {
        self.extend_raw(other.view().entries(), other.len());
    }

    /// Appends `count` entries in serialized form.
    fn extend_raw(&mut self, entries: &[u8], count: usize) {
        let end = self.end();
        self.open(end, 0, entries.len(), usize::MAX).copy_from_slice(entries);
        self.count += count as u32;
        self.write_header();
    }

    /// Size of the entry at `at`, or 0 where none starts.
    fn size_at(&self, at: usize) -> usize {
        self.view().entry_size(at).unwrap_or(0)
    }

    /// Writes `value` at `at` in place of the `old` bytes there (0 to insert).
    fn put(&mut self, at: usize, old: usize, value: Element<'_>) {
        self.put_within(at, old, value, usize::MAX);
    }

    /// [`Listpack::put`], unless the size would exceed `bytes_max`.
    #[inline]
    fn put_within(&mut self, at: usize, old: usize, value: Element<'_>, bytes_max: usize) -> bool {
        let entry = Entry::new(value);
        if self.byte_len() - old + entry.size() > bytes_max {
            return false;
        }
        entry.write(self.open(at, old, entry.size(), bytes_max));
        self.count += u32::from(old == 0);
        self.write_header();
        true
    }

    /// Removes `len` bytes at `at`, which hold `count` elements.
    fn cut(&mut self, at: usize, len: usize, count: usize) {
        self.open(at, len, 0, usize::MAX);
        self.count -= count as u32;
        let capacity = self.buf.capacity();
        if capacity > SHRINK_FROM_BYTES && self.byte_len() < capacity / 4 {
            self.close_front();
            self.buf.shrink_to(with_slack(self.buf.len(), usize::MAX));
        }
        self.write_header();
    }

    /// Resizes the `old` bytes at `at` to `new` bytes and returns them, to be overwritten. At the front the header moves,
    /// elsewhere everything behind. No room is made beyond `bytes_max` bytes. The header is stale until
    /// [`Listpack::write_header`].
    fn open(&mut self, at: usize, old: usize, new: usize, bytes_max: usize) -> &mut [u8] {
        let at_front = at == 0 && self.count > 0;
        let at = HEADER + at;
        if new > old {
            let more = new - old;
            let total = self.byte_len() + more;
            assert!(u32::try_from(total).is_ok(), "a listpack is at most 4 GiB (documented limit)");
            if at_front {
                self.reserve_front(more, bytes_max);
                self.start -= more as u32;
            } else {
                self.reserve_back(more, bytes_max);
                let from = self.start as usize + at + old;
                let end = self.buf.len();
                self.buf.resize(end + more, 0);
                self.buf.copy_within(from..end, from + more);
            }
        } else if at_front {
            self.start += (old - new) as u32;
        } else {
            let from = self.start as usize + at + old;
            let less = old - new;
            self.buf.copy_within(from.., from - less);
            self.buf.truncate(self.buf.len() - less);
        }
        let at = self.start as usize + at;
        &mut self.buf[at..at + new]
    }

    /// Makes room for `more` bytes before the header.
    fn reserve_front(&mut self, more: usize, bytes_max: usize) {
        let start = self.start as usize;
        if start >= more {
            return;
        }
        let len = self.byte_len();
        let slack = with_slack(len + more, bytes_max) - len;
        if len + slack <= self.buf.capacity() {
            self.buf.resize(len + slack, 0);
            self.buf.copy_within(start..start + len, slack);
        } else {
            let mut buf = Vec::with_capacity(len + slack);
            buf.resize(slack, 0);
            buf.extend_from_slice(self.as_bytes());
            self.buf = buf;
        }
        self.buf.truncate(len + slack);
        self.start = slack as u32;
    }

    /// Moves the slack behind the end to the front, for who is going to push there.
    pub fn slack_to_front(&mut self) {
        let (start, len) = (self.start as usize, self.byte_len());
        let slack = self.buf.capacity() - len;
        if slack > start && u32::try_from(slack).is_ok() {
            self.buf.resize(len + slack, 0);
            self.buf.copy_within(start..start + len, slack);
            self.start = slack as u32;
        }
    }

    /// Makes room for `more` bytes behind the end.
    fn reserve_back(&mut self, more: usize, bytes_max: usize) {
        let len = self.buf.len();
        if self.buf.capacity() - len >= more {
            return;
        }
        if self.start as usize >= self.byte_len() / 2 + more {
            self.close_front();
        } else {
            self.buf.reserve_exact(with_slack(len + more, bytes_max) - len);
        }
    }

    /// Moves the slack in front behind the end.
    fn close_front(&mut self) {
        if self.start > 0 {
            self.buf.drain(..self.start as usize);
            self.start = 0;
        }
    }

    /// Brings size, count and end mark up to date.
    fn write_header(&mut self) {
        let total = self.byte_len() as u32;
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        let start = self.start as usize;
        self.buf[start..start + 4].copy_from_slice(&total.to_le_bytes());
        self.buf[start + 4..start + HEADER].copy_from_slice(&count.to_le_bytes());
    }

    /// Panics unless bytes, count and slack agree with one another. For tests.
    pub fn check_invariants(&self) {
        let count = view::validate(self.as_bytes()).expect("own bytes are a valid listpack");
        assert_eq!(count, self.count);
        assert_eq!(self.view().len(), self.len());
    }
}

/// The capacity to reserve when `len` bytes are needed and more will follow, but never more than `bytes_max`: a quarter
/// more, in steps of 16 bytes.
fn with_slack(len: usize, bytes_max: usize) -> usize {
    ((len + len / 4 + 15) & !15).min(bytes_max.max(len))
}
