//! A key of the keyspace with its value, in one allocation.
//!
//! ```text
//! | clock and marks (4) | key length | value length | expiry (6, if any) | key | value |
//! ```
//!
//! The first word is 24 bits of access clock (or use counter), which readers may write while others read, and 8 bits
//! that say how the value is kept:
//!
//! - *bytes*: a short string, in place;
//! - *integer*: a canonical decimal, kept as 1, 2, 4 or 8 bytes;
//! - *packed*: a small structure of bytes, in place, with a tag of the owner's of 3 bits;
//! - *body*: anything larger, behind one pointer of the type `B`.
//!
//! Lengths are varints; the value length is the number of bytes the value takes here. The expiry is 48 bits of Unix
//! milliseconds, enough until the year 10889; what lies beyond is kept in 8 bytes with another mark.

mod copies;

pub use copies::Copies;

use crate::slab;
use crate::sync::Pinned;
use crate::table::{Element, Slot, same};
use crate::varint;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

const KIND: u32 = 0b11;
const KIND_BYTES: u32 = 0;
const KIND_INTEGER: u32 = 1;
const KIND_BODY: u32 = 2;
const KIND_PACKED: u32 = 3;
/// Six bytes of expiry.
const EXPIRY_SHORT: u32 = 0b0100;
/// Eight bytes of expiry.
const EXPIRY_LONG: u32 = 0b1000;
/// The bytes of expiry that those two marks stand for: hexadecimal digits, the marks being four times the digit's place.
const EXPIRY_LENGTHS: u32 = 0x860;
/// A mark of the owner's; see [`EntryRef::is_marked`].
const MARK: u32 = 0b1_0000;
/// The tag of a packed value.
const TAG_SHIFT: u32 = 5;
const TAG: u32 = 0b111 << TAG_SHIFT;
const CLOCK_SHIFT: u32 = 8;
/// The access clock has 24 bits.
pub const CLOCK_MAX: u32 = (1 << 24) - 1;

/// A value on its way into an entry.
pub enum Value<'a, B> {
    /// A string, kept in place; for short ones.
    Bytes(&'a [u8]),
    /// A string that is a canonical decimal.
    Integer(i64),
    /// A small structure of bytes, kept in place, with a tag below 8.
    Packed(u8, &'a [u8]),
    /// Anything else.
    Body(B),
}

/// A value inside an entry.
pub enum ValueRef<'a, B: Body> {
    /// A string kept in place.
    Bytes(&'a [u8]),
    /// A string that is a canonical decimal.
    Integer(i64),
    /// A small structure of bytes, kept in place, with its tag.
    Packed(u8, &'a [u8]),
    /// Anything else.
    Body(&'a B::Target),
}

/// An entry whose layout was read once; see [`EntryRef::facts`].
pub struct Facts<'a, B> {
    entry: EntryRef<'a, B>,
    parts: Parts,
}

/// An owned entry with bodies of type `B`, which must be the size of a pointer.
pub struct Entry<B> {
    memory: NonNull<u8>,
    _body: PhantomData<B>,
}

// SAFETY: an entry owns its key, value and body.
unsafe impl<B: Send> Send for Entry<B> {}
// SAFETY: a shared entry is only read; its clock is atomic.
unsafe impl<B: Sync> Sync for Entry<B> {}

/// An entry in its table.
pub struct EntryRef<'a, B> {
    memory: NonNull<u8>,
    _entry: PhantomData<&'a B>,
}

impl<B> Clone for EntryRef<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<B> Copy for EntryRef<'_, B> {}

/// The lengths and addresses inside an entry.
struct Parts {
    head: u32,
    key_len: usize,
    value_len: usize,
    expiry: *mut u8,
    key: *mut u8,
    value: *mut u8,
    /// Bytes of the whole entry.
    size: usize,
}

impl<B> Entry<B> {
    const BODY_FITS: () = assert!(size_of::<B>() == size_of::<usize>(), "a body is one pointer");

    /// Builds an entry. `clock` is cut to 24 bits.
    pub fn new(key: &[u8], value: Value<'_, B>, expires_at_ms: Option<u64>, clock: u32) -> Entry<B> {
        let () = Self::BODY_FITS;
        match value {
            Value::Bytes(bytes) => Self::build(key, KIND_BYTES, bytes, expires_at_ms, clock),
            Value::Integer(number) => {
                let bytes = number.to_le_bytes();
                Self::build(key, KIND_INTEGER, &bytes[..integer_len(number)], expires_at_ms, clock)
            }
            Value::Packed(tag, bytes) => Self::build(key, packed_kind(tag), bytes, expires_at_ms, clock),
            Value::Body(body) => {
                let body = ManuallyDrop::new(body);
                // SAFETY: a body is exactly one pointer wide, and its bytes move into the entry, which owns it then.
                let bytes: [u8; size_of::<usize>()] = unsafe { std::mem::transmute_copy(&body) };
                Self::build(key, KIND_BODY, &bytes, expires_at_ms, clock)
            }
        }
    }

    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one layout, written or read as a whole")]
    fn build(key: &[u8], kind: u32, value: &[u8], expires_at_ms: Option<u64>, clock: u32) -> Entry<B> {
        let expiry_len = expires_at_ms.map_or(0, expiry_len);
        let expiry_mark = match expiry_len {
            0 => 0,
            6 => EXPIRY_SHORT,
            _ => EXPIRY_LONG,
        };
        let lengths = varint::len(key.len()) + varint::len(value.len());
        let size = size_of::<u32>() + lengths + expiry_len + key.len() + value.len();
        let memory = slab::alloc(size);
        let head = kind | expiry_mark | clock.min(CLOCK_MAX) << CLOCK_SHIFT;
        // SAFETY: the allocation is new, 8-aligned and `size` bytes long, which is the sum of what is written here.
        unsafe {
            memory.cast::<AtomicU32>().write(AtomicU32::new(head));
            let after_lengths =
                varint::write(varint::write(memory.as_ptr().add(size_of::<u32>()), key.len()), value.len());
            let expiry = expires_at_ms.unwrap_or(0).to_le_bytes();
            std::ptr::copy_nonoverlapping(expiry.as_ptr(), after_lengths, expiry_len);
            let key_at = after_lengths.add(expiry_len);
            std::ptr::copy_nonoverlapping(key.as_ptr(), key_at, key.len());
            std::ptr::copy_nonoverlapping(value.as_ptr(), key_at.add(key.len()), value.len());
        }
        Entry { memory, _body: PhantomData }
    }

    /// Looks at the entry.
    #[inline]
    pub fn as_ref(&self) -> EntryRef<'_, B> {
        EntryRef { memory: self.memory, _entry: PhantomData }
    }

    /// Lets `change` work on the body. `None` if the value is a string kept in the entry.
    ///
    /// If `change` panics, the entry keeps the body as it is then.
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one layout, written or read as a whole")]
    pub fn change_body<R>(&mut self, change: impl FnOnce(&mut B) -> R) -> Option<R> {
        let parts = self.as_ref().parts();
        if parts.head & KIND != KIND_BODY {
            return None;
        }
        struct PutBack<B> {
            body: ManuallyDrop<B>,
            at: *mut B,
        }
        impl<B> Drop for PutBack<B> {
            fn drop(&mut self) {
                // SAFETY: the body was read from this place and is written back exactly once; unaligned as it may be.
                unsafe { self.at.write_unaligned(std::ptr::read(&*self.body)) }
            }
        }
        let at = parts.value.cast::<B>();
        // SAFETY: the value is a body, put there by `new`; the guard writes it back, also when `change` unwinds.
        let mut guard = PutBack { body: ManuallyDrop::new(unsafe { at.read_unaligned() }), at };
        Some(change(&mut guard.body))
    }

    /// The entry with another value, its expiry and clock kept. In place where the bytes need the same memory.
    #[must_use]
    pub fn with_value(mut self, value: Value<'_, B>) -> Entry<B> {
        let parts = self.as_ref().parts();
        let digits;
        let (kind, bytes) = match value {
            Value::Bytes(bytes) => (KIND_BYTES, bytes),
            Value::Integer(number) => {
                digits = number.to_le_bytes();
                (KIND_INTEGER, &digits[..integer_len(number)])
            }
            Value::Packed(tag, bytes) => (packed_kind(tag), bytes),
            Value::Body(_) => return self.rebuilt_with(value),
        };
        if parts.head & KIND == KIND_BODY || !parts.has_room_for(bytes.len()) {
            return self.rebuilt_with(value);
        }
        // SAFETY: the entry is owned, so nobody reads it, and `bytes` cannot be part of an entry that is owned here. The
        // allocation has room for the new value behind the key, whose place stays, as the length's varint does not grow.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), parts.value, bytes.len()) };
        // SAFETY: the varint of the key's length is followed by that of the value's, which is as wide as before.
        let len_at = unsafe { self.memory.as_ptr().add(size_of::<u32>() + varint::len(parts.key_len)) };
        // SAFETY: as above.
        unsafe { varint::write(len_at, bytes.len()) };
        self.set_head(parts.head & !(KIND | TAG | MARK) | kind);
        self
    }

    fn rebuilt_with(self, value: Value<'_, B>) -> Entry<B> {
        let old = self.as_ref();
        Entry::new(old.key(), value, old.expires_at_ms(), old.clock())
    }

    /// [`Slot::overwrite`].
    #[inline]
    fn overwrite(&mut self, value: &Value<'_, B>, expires_at_ms: Option<u64>, clock: u32) -> bool {
        let digits: [u8; 8];
        let (kind, bytes) = match value {
            Value::Bytes(bytes) => (KIND_BYTES, *bytes),
            Value::Integer(number) => {
                digits = number.to_le_bytes();
                (KIND_INTEGER, &digits[..integer_len(*number)])
            }
            Value::Packed(..) | Value::Body(_) => return false,
        };
        let parts = self.as_ref().parts();
        let expiry_len = expires_at_ms.map_or(0, expiry_len);
        if parts.head & KIND != kind || parts.value_len != bytes.len() || parts.expiry_len() != expiry_len {
            return false;
        }
        if let Some(at_ms) = expires_at_ms {
            let expiry = at_ms.to_le_bytes();
            // SAFETY: the entry is owned, so nobody reads it; it has `expiry_len` bytes of expiry, at most 8.
            unsafe { std::ptr::copy_nonoverlapping(expiry.as_ptr(), parts.expiry, expiry_len) };
        }
        // SAFETY: as above; its value is as long as `bytes`, which cannot be part of an entry that is owned here.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), parts.value, bytes.len()) };
        let marks = parts.head & ((1 << CLOCK_SHIFT) - 1) & !MARK;
        self.set_head(marks | clock.min(CLOCK_MAX) << CLOCK_SHIFT);
        true
    }

    /// The entry with another expiry.
    #[must_use]
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one layout, written or read as a whole")]
    pub fn with_expiry(self, expires_at_ms: Option<u64>) -> Entry<B> {
        let parts = self.as_ref().parts();
        let old_len = parts.expiry_len();
        let new_len = expires_at_ms.map_or(0, expiry_len);
        if old_len == new_len {
            let bytes = expires_at_ms.unwrap_or(0).to_le_bytes();
            // SAFETY: the entry is owned, and has `old_len` bytes of expiry.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), parts.expiry, new_len) };
            return self;
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: key and value lie in the old allocation, which is freed below, after the copy. The value's bytes
        // move, a body with them, so the old entry is not dropped.
        let new = unsafe {
            let key = std::slice::from_raw_parts(parts.key, parts.key_len);
            let value = std::slice::from_raw_parts(parts.value, parts.value_len);
            Self::build(key, parts.head & (KIND | TAG), value, expires_at_ms, parts.head >> CLOCK_SHIFT)
        };
        let mut new = new;
        new.set_head(new.head() | parts.head & MARK);
        // SAFETY: allocated with this size; nothing in it is used any more.
        unsafe { slab::free(this.memory, parts.size) };
        new
    }

    /// The entry under another key, everything else kept.
    #[must_use]
    pub fn with_key(self, key: &[u8]) -> Entry<B> {
        let parts = self.as_ref().parts();
        let expires = self.as_ref().expires_at_ms();
        let this = ManuallyDrop::new(self);
        // SAFETY: as in `with_expiry`: the value's bytes move, and the old entry is freed without being dropped.
        let mut new = unsafe {
            let value = std::slice::from_raw_parts(parts.value, parts.value_len);
            Self::build(key, parts.head & (KIND | TAG), value, expires, parts.head >> CLOCK_SHIFT)
        };
        new.set_head(new.head() | parts.head & MARK);
        // SAFETY: as above.
        unsafe { slab::free(this.memory, parts.size) };
        new
    }

    /// Takes the body out; `None` if the value is a string kept in the entry.
    pub fn into_body(self) -> Option<B> {
        let parts = self.as_ref().parts();
        if parts.head & KIND != KIND_BODY {
            return None;
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: the value is a body; the entry is not dropped, so the body has one owner.
        let body = unsafe { parts.value.cast::<B>().read_unaligned() };
        // SAFETY: allocated with this size; not used any more.
        unsafe { slab::free(this.memory, parts.size) };
        Some(body)
    }

    /// Sets or clears the owner's mark; see [`EntryRef::is_marked`].
    pub fn set_mark(&mut self, mark: bool) {
        let head = self.head();
        self.set_head(if mark { head | MARK } else { head & !MARK });
    }

    fn head(&self) -> u32 {
        self.as_ref().head().load(Ordering::Relaxed)
    }

    fn set_head(&mut self, head: u32) {
        self.as_ref().head().store(head, Ordering::Relaxed);
    }
}

impl<B> Drop for Entry<B> {
    fn drop(&mut self) {
        let parts = self.as_ref().parts();
        if parts.head & KIND == KIND_BODY {
            // SAFETY: the value is a body that nobody took out, and the entry ends here.
            drop(unsafe { parts.value.cast::<B>().read_unaligned() });
        }
        // SAFETY: allocated with this size; the entry is gone after this.
        unsafe { slab::free(self.memory, parts.size) };
    }
}

impl Parts {
    fn expiry_len(&self) -> usize {
        self.key as usize - self.expiry as usize
    }

    /// Whether a value of `len` bytes makes an entry of the same layout and the same memory.
    fn has_room_for(&self, len: usize) -> bool {
        varint::len(len) == varint::len(self.value_len)
            && slab::rounded(self.size - self.value_len + len) == slab::rounded(self.size)
    }
}

impl<'a, B> EntryRef<'a, B> {
    #[inline]
    fn head(self) -> &'a AtomicU32 {
        // SAFETY: an entry begins with this word, 8-aligned, and is only ever accessed atomically.
        unsafe { self.memory.cast::<AtomicU32>().as_ref() }
    }

    #[inline]
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one layout, written or read as a whole")]
    fn parts(self) -> Parts {
        let head = self.head().load(Ordering::Relaxed);
        // Looked up in the digits of a number, where the branches would have to be guessed.
        let expiry_len = (EXPIRY_LENGTHS >> (head & (EXPIRY_SHORT | EXPIRY_LONG)) & 0xf) as usize;
        let start = self.memory.as_ptr();
        // SAFETY: the layout is the one `build` wrote: head, two varints, expiry, key, value.
        unsafe {
            let (key_len, rest) = varint::read(start.add(size_of::<u32>()));
            let (value_len, rest) = varint::read(rest);
            let offset = rest.offset_from(start) as usize;
            let expiry = start.add(offset);
            let key = expiry.add(expiry_len);
            let value = key.add(key_len);
            let size = offset + expiry_len + key_len + value_len;
            Parts { head, key_len, value_len, expiry, key, value, size }
        }
    }

    /// The key's bytes.
    #[inline]
    pub fn key(self) -> &'a [u8] {
        let parts = self.parts();
        // SAFETY: the key's bytes live as long as the entry, 'a.
        unsafe { std::slice::from_raw_parts(parts.key, parts.key_len) }
    }

    /// The value.
    #[inline]
    pub fn value(self) -> ValueRef<'a, B>
    where
        B: Body,
    {
        Self::value_in(&self.parts())
    }

    #[inline]
    fn value_in(parts: &Parts) -> ValueRef<'a, B>
    where
        B: Body,
    {
        // SAFETY: the value's bytes live as long as the entry, 'a.
        let bytes = unsafe { std::slice::from_raw_parts(parts.value, parts.value_len) };
        match parts.head & KIND {
            KIND_BYTES => ValueRef::Bytes(bytes),
            KIND_INTEGER => ValueRef::Integer(integer_from(bytes)),
            KIND_PACKED => ValueRef::Packed(((parts.head & TAG) >> TAG_SHIFT) as u8, bytes),
            _ => {
                let mut address = [0; size_of::<usize>()];
                address.copy_from_slice(bytes);
                // SAFETY: a body kind's value is the pointer-sized handle that `new` put there, alive for 'a.
                ValueRef::Body(unsafe { B::target(usize::from_ne_bytes(address)) })
            }
        }
    }

    /// The entry with its layout read, for who asks for several things. Inlined, so that nobody pays for what he does not
    /// look at.
    #[inline(always)]
    pub fn facts(self) -> Facts<'a, B> {
        Facts { entry: self, parts: self.parts() }
    }

    /// [`EntryRef::facts`] if this is the entry of `key`.
    #[inline(always)]
    pub fn facts_of(self, key: &[u8]) -> Option<Facts<'a, B>> {
        let facts = self.facts();
        // SAFETY: the key's bytes live as long as the entry.
        let own = unsafe { std::slice::from_raw_parts(facts.parts.key, facts.parts.key_len) };
        same(own, key).then_some(facts)
    }

    /// When the entry expires, in Unix milliseconds.
    #[inline]
    pub fn expires_at_ms(self) -> Option<u64> {
        if self.head().load(Ordering::Relaxed) & (EXPIRY_SHORT | EXPIRY_LONG) == 0 {
            return None;
        }
        Self::expiry_in(&self.parts())
    }

    #[inline]
    fn expiry_in(parts: &Parts) -> Option<u64> {
        let len = parts.expiry_len();
        if len == 0 {
            return None;
        }
        let mut bytes = [0; 8];
        // SAFETY: the entry has `len` bytes of expiry, at most 8.
        unsafe { std::ptr::copy_nonoverlapping(parts.expiry, bytes.as_mut_ptr(), len) };
        Some(u64::from_le_bytes(bytes))
    }

    /// The 24 bits of access clock.
    #[inline]
    pub fn clock(self) -> u32 {
        self.head().load(Ordering::Relaxed) >> CLOCK_SHIFT
    }

    /// Sets the access clock, cut to 24 bits; written only where it differs, to leave the cache line alone.
    #[inline]
    pub fn set_clock(self, clock: u32) {
        self.change_clock(self.head().load(Ordering::Relaxed), clock);
    }

    #[inline(always)]
    fn change_clock(self, before: u32, clock: u32) {
        let after = before & ((1 << CLOCK_SHIFT) - 1) | clock.min(CLOCK_MAX) << CLOCK_SHIFT;
        if before != after {
            // Only the clock is ever written through a shared entry, so a lost update loses a clock tick.
            self.head().store(after, Ordering::Relaxed);
        }
    }

    /// A mark the owner may set on an entry; it does not survive a new value.
    pub fn is_marked(self) -> bool {
        self.head().load(Ordering::Relaxed) & MARK != 0
    }

    /// The bytes the entry itself takes, a body's own memory not counted.
    #[inline]
    pub fn memory(self) -> usize {
        slab::rounded(self.parts().size)
    }
}

impl<'a, B> Facts<'a, B> {
    /// The value.
    #[inline(always)]
    pub fn value(&self) -> ValueRef<'a, B>
    where
        B: Body,
    {
        EntryRef::value_in(&self.parts)
    }

    /// When the entry expires, in Unix milliseconds.
    #[inline(always)]
    pub fn expires_at_ms(&self) -> Option<u64> {
        EntryRef::<B>::expiry_in(&self.parts)
    }

    /// The 24 bits of access clock.
    #[inline(always)]
    pub fn clock(&self) -> u32 {
        self.parts.head >> CLOCK_SHIFT
    }

    /// [`EntryRef::set_clock`].
    #[inline(always)]
    pub fn set_clock(&self, clock: u32) {
        self.entry.change_clock(self.parts.head, clock);
    }

    /// [`EntryRef::is_marked`].
    #[inline(always)]
    pub fn is_marked(&self) -> bool {
        self.parts.head & MARK != 0
    }

    /// The bytes of the entry itself, a body's own memory not counted. It takes [`slab::rounded`] as many.
    #[inline(always)]
    pub fn size(&self) -> usize {
        self.parts.size
    }
}

/// An owning handle of one pointer, whose target can be looked at without the handle.
///
/// # Safety
/// The handle's only content is the address of its target, which lives as long as the handle.
pub unsafe trait Body: Sized {
    /// What the handle leads to.
    type Target;

    /// Views the target.
    ///
    /// # Safety
    /// `address` is the content of a handle that stays alive during `'a`, and nobody changes the target meanwhile.
    unsafe fn target<'a>(address: usize) -> &'a Self::Target
    where
        Self: 'a;
}

// SAFETY: `into_raw` gives the entry's allocation, 8-aligned and below 2^48 as all of user space is; `from_raw` and
// `borrow` undo exactly that.
unsafe impl<B> Element for Entry<B> {
    const SPANS_LINES: bool = true;

    type Ref<'a>
        = EntryRef<'a, B>
    where
        B: 'a;

    fn movable_size<'a>(element: EntryRef<'a, B>) -> Option<usize>
    where
        Self: 'a,
    {
        Some(element.parts().size)
    }

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).memory
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Entry { memory: raw, _body: PhantomData }
    }

    #[inline]
    unsafe fn borrow<'a>(raw: NonNull<u8>) -> EntryRef<'a, B>
    where
        B: 'a,
    {
        EntryRef { memory: raw, _entry: PhantomData }
    }

    #[inline]
    fn key<'a>(element: EntryRef<'a, B>) -> &'a [u8]
    where
        B: 'a,
    {
        element.key()
    }

    #[inline]
    fn expires_at_ms<'a>(element: EntryRef<'a, B>) -> Option<u64>
    where
        B: 'a,
    {
        element.expires_at_ms()
    }
}

/// The head's bits for a packed value with this tag.
fn packed_kind(tag: u8) -> u32 {
    debug_assert!(tag < 8, "a tag has three bits");
    KIND_PACKED | u32::from(tag) << TAG_SHIFT & TAG
}

fn expiry_len(at_ms: u64) -> usize {
    if at_ms >> 48 == 0 { 6 } else { 8 }
}

fn integer_len(number: i64) -> usize {
    match number {
        -0x80..=0x7f => 1,
        -0x8000..=0x7fff => 2,
        -0x8000_0000..=0x7fff_ffff => 4,
        _ => 8,
    }
}

fn integer_from(bytes: &[u8]) -> i64 {
    let mut wide = [if bytes.last().is_some_and(|top| *top >= 0x80) { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

impl<B> Slot<'_, Entry<B>> {
    /// Puts another string and expiry in place of those the entry has, and sets its clock. Returns whether they fit exactly
    /// into its memory and it has an expiry as before or none as before; if not, nothing has changed.
    #[inline]
    pub fn overwrite(&mut self, value: &Value<'_, B>, expires_at_ms: Option<u64>, clock: u32) -> bool {
        // The slot is borrowed mutably, so nobody else uses the entry meanwhile; it stays the table's, undropped.
        let mut entry = ManuallyDrop::new(Entry { memory: self.get().memory, _body: PhantomData });
        let is_done = entry.overwrite(value, expires_at_ms, clock);
        if is_done && let Some(at_ms) = expires_at_ms {
            self.note_expiry(at_ms);
        }
        is_done
    }
}

impl<T> Slot<'_, Entry<Pinned<T>>> {
    /// The body of the entry in this slot, to be changed; `None` if its value is a string kept in the entry, or while
    /// a reader pins the body.
    #[inline]
    pub fn body_mut(&mut self) -> Option<&mut T> {
        let parts = self.get().parts();
        if parts.head & KIND != KIND_BODY {
            return None;
        }
        let mut address = [0; size_of::<usize>()];
        // SAFETY: a body's value is one pointer wide, which stands unaligned at the value's place.
        unsafe { std::ptr::copy_nonoverlapping(parts.value, address.as_mut_ptr(), address.len()) };
        // SAFETY: this is the address of the handle in the entry. The slot borrows the table mutably, so for as long
        // as the result lives nobody else uses the handle, and this copy of it is never dropped.
        unsafe { Pinned::owner_at(usize::from_ne_bytes(address)) }
    }
}
