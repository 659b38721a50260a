//! A member of a set or a field of a hash: key and value bytes in one allocation.
//!
//! ```text
//! | key length (varint) | value length (varint) | key | value |
//! ```
//!
//! A set's members have an empty value, which costs them one byte.

use crate::slab;
use crate::table::{Element, Kept};
use crate::varint;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// An owned key-value pair; a member of a set is a record with an empty value.
pub struct Record(NonNull<u8>);

// SAFETY: a record owns its memory, and nothing in it is bound to a thread.
unsafe impl Send for Record {}
// SAFETY: a shared record is only ever read.
unsafe impl Sync for Record {}

/// A record inside a table.
#[derive(Clone, Copy)]
pub struct RecordRef<'a>(NonNull<u8>, PhantomData<&'a Record>);

impl Record {
    /// Copies `key` and `value` into one new allocation.
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one layout, written or read as a whole")]
    pub fn new(key: &[u8], value: &[u8]) -> Record {
        let head = varint::len(key.len()) + varint::len(value.len());
        let memory = slab::alloc(head + key.len() + value.len());
        // SAFETY: the allocation holds both varints and both byte strings, which `head` and the lengths add up to;
        // it is new, so it overlaps neither `key` nor `value`.
        unsafe {
            let body = varint::write(varint::write(memory.as_ptr(), key.len()), value.len());
            std::ptr::copy_nonoverlapping(key.as_ptr(), body, key.len());
            std::ptr::copy_nonoverlapping(value.as_ptr(), body.add(key.len()), value.len());
        }
        Record(memory)
    }

    /// The record with another value; in place where the length is the same.
    #[must_use]
    pub fn with_value(self, value: &[u8]) -> Record {
        let old = self.as_ref();
        if old.value().len() != value.len() {
            return Record::new(old.key(), value);
        }
        let target = old.value().as_ptr().cast_mut();
        // SAFETY: the record is owned, so nobody else reads these bytes; the lengths are equal, and `value` cannot
        // overlap them because no reference into an owned record is alive.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), target, value.len()) };
        self
    }

    fn as_ref(&self) -> RecordRef<'_> {
        RecordRef(self.0, PhantomData)
    }

    /// The key's bytes.
    pub fn key(&self) -> &[u8] {
        self.as_ref().key()
    }

    /// The value's bytes; empty for a member of a set.
    pub fn value(&self) -> &[u8] {
        self.as_ref().value()
    }

    /// The bytes it takes in memory.
    pub fn memory(&self) -> usize {
        self.as_ref().memory()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let size = self.as_ref().memory();
        // SAFETY: `memory` adds up to the size given to `alloc`, rounded alike, and the record is gone after this.
        unsafe { slab::free(self.0, size) }
    }
}

impl<'a> RecordRef<'a> {
    #[inline]
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one layout, written or read as a whole")]
    fn parts(self) -> (&'a [u8], &'a [u8]) {
        // SAFETY: the memory was laid out by `Record::new` and lives as long as 'a.
        unsafe {
            let (key_len, rest) = varint::read(self.0.as_ptr());
            let (value_len, body) = varint::read(rest);
            (
                std::slice::from_raw_parts(body, key_len),
                std::slice::from_raw_parts(body.add(key_len), value_len),
            )
        }
    }

    /// The key's bytes.
    #[inline]
    pub fn key(self) -> &'a [u8] {
        self.parts().0
    }

    /// The value's bytes; empty for a member of a set.
    #[inline]
    pub fn value(self) -> &'a [u8] {
        self.parts().1
    }

    /// The bytes this record takes in memory.
    pub fn memory(self) -> usize {
        let (key, value) = self.parts();
        slab::rounded(varint::len(key.len()) + varint::len(value.len()) + key.len() + value.len())
    }
}

// SAFETY: `into_raw` gives the allocation of a record, which is 8-aligned and below 2^48 as all of user space is;
// `from_raw` and `borrow` undo exactly that.
unsafe impl Element for Record {
    const IS_KEPT: bool = true;

    type Ref<'a> = RecordRef<'a>;

    fn keep<'a>(element: RecordRef<'a>, kept: &mut Kept)
    where
        Self: 'a,
    {
        kept.push(element.key(), element.value());
    }

    fn into_raw(self) -> NonNull<u8> {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Record(raw)
    }

    unsafe fn borrow<'a>(raw: NonNull<u8>) -> RecordRef<'a> {
        RecordRef(raw, PhantomData)
    }

    fn movable_size<'a>(element: RecordRef<'a>) -> Option<usize>
    where
        Self: 'a,
    {
        Some(element.memory())
    }

    fn key<'a>(element: RecordRef<'a>) -> &'a [u8]
    where
        Self: 'a,
    {
        element.key()
    }
}
