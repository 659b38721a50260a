//! A member with its score: one allocation that the table owns and the tree points at.
//!
//! ```text
//! | member length and form of the score (varint) | score (4 or 8 bytes) | member |
//! ```
//!
//! Most scores in this world are whole numbers. One that fits in 32 bits is kept as such, any other as the 8 bytes that
//! it is (-0 as well, which no whole number is). A change of score that needs the other form moves the member.

use crate::ranked_tree::Item;
use crate::slab;
use crate::table::{Element, Kept};
use crate::varint;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A score as it is kept.
#[derive(Clone, Copy)]
enum Form {
    Whole(i32),
    Any(f64),
}

impl Form {
    fn of(score: f64) -> Form {
        let whole = score as i32;
        if f64::from(whole).to_bits() == score.to_bits() { Form::Whole(whole) } else { Form::Any(score) }
    }

    /// The bytes it takes.
    const fn len(self) -> usize {
        match self {
            Form::Whole(_) => size_of::<i32>(),
            Form::Any(_) => size_of::<f64>(),
        }
    }

    /// What stands at the start of an element: the member's length above a bit for the form.
    fn head(self, member_len: usize) -> usize {
        member_len << 1 | usize::from(matches!(self, Form::Any(_)))
    }

    /// # Safety
    /// At `at` there is room for [`Form::len`] bytes.
    unsafe fn write(self, at: *mut u8) {
        match self {
            // SAFETY: by the contract above.
            Form::Whole(whole) => unsafe { at.cast::<i32>().write_unaligned(whole) },
            // SAFETY: as above.
            Form::Any(score) => unsafe { at.cast::<f64>().write_unaligned(score) },
        }
    }
}

/// An owned member with its score.
pub struct Scored(NonNull<u8>);

// SAFETY: it owns its memory, and nothing in it is bound to a thread.
unsafe impl Send for Scored {}
// SAFETY: shared, it is only ever read.
unsafe impl Sync for Scored {}

/// A member with its score, inside a set.
#[derive(Clone, Copy)]
pub struct ScoredRef<'a>(NonNull<u8>, PhantomData<&'a Scored>);

/// The address of a [`Scored`] that a table owns, as the tree keeps it. Looking behind it is for who knows that the
/// element is still there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle(NonNull<u8>);

// SAFETY: a handle is an address; it is followed only together with the table that owns the element, as shared data.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// A number whose order as an integer is the order of scores: -0 equals 0, and what is not a number, which callers keep
/// out, would stand behind the infinities of its sign. So the order is total whatever comes.
#[inline]
pub(super) fn rank_of(score: f64) -> i64 {
    // Adding a positive zero turns -0 into 0 and nothing else into anything else.
    let bits = (score + 0.0).to_bits() as i64;
    // Negative numbers count down with their magnitude.
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

impl Scored {
    /// Copies `member` into a new allocation.
    pub fn new(member: &[u8], score: f64) -> Scored {
        let form = Form::of(score);
        let head = form.head(member.len());
        let memory = slab::alloc(varint::len(head) + form.len() + member.len());
        // SAFETY: the allocation is longer than the varint.
        let at = unsafe { varint::write(memory.as_ptr(), head) };
        // SAFETY: behind the varint there is room for the score.
        unsafe { form.write(at) };
        // SAFETY: and behind the score for the member.
        let body = unsafe { at.add(form.len()) };
        // SAFETY: as above; new memory overlaps nothing.
        unsafe { std::ptr::copy_nonoverlapping(member.as_ptr(), body, member.len()) };
        Scored(memory)
    }

    pub(super) fn as_ref(&self) -> ScoredRef<'_> {
        ScoredRef(self.0, PhantomData)
    }

    pub(super) fn handle(&self) -> Handle {
        Handle(self.0)
    }

    /// The member's bytes.
    pub fn member(&self) -> &[u8] {
        self.as_ref().member()
    }

    /// The score.
    pub fn score(&self) -> f64 {
        self.as_ref().score()
    }

    /// The member with another score: in place, or moved where the score takes another form.
    #[must_use]
    pub(super) fn with_score(self, score: f64) -> Scored {
        let form = Form::of(score);
        let (old, at, _) = self.as_ref().parts();
        if old.len() != form.len() {
            return Scored::new(self.member(), score);
        }
        // SAFETY: the element is owned, so nobody looks at it; the score's place is as long as it was.
        unsafe { form.write(at.cast_mut()) };
        self
    }
}

impl Drop for Scored {
    fn drop(&mut self) {
        let size = self.as_ref().memory();
        // SAFETY: `memory` is the size given to `alloc`, rounded alike, and the element is gone after this.
        unsafe { slab::free(self.0, size) }
    }
}

impl<'a> ScoredRef<'a> {
    /// The score, where it stands, and the member.
    #[inline]
    fn parts(self) -> (Form, *const u8, &'a [u8]) {
        // SAFETY: the allocation begins with the varint that `Scored::new` wrote.
        let (head, at) = unsafe { varint::read(self.0.as_ptr()) };
        let form = if head & 1 == 0 {
            // SAFETY: behind the varint stands the score, in this form.
            Form::Whole(unsafe { at.cast::<i32>().read_unaligned() })
        } else {
            // SAFETY: as above.
            Form::Any(unsafe { at.cast::<f64>().read_unaligned() })
        };
        // SAFETY: behind the score stands the member.
        let body = unsafe { at.add(form.len()) };
        // SAFETY: of this length, alive as long as 'a.
        (form, at, unsafe { std::slice::from_raw_parts(body, head >> 1) })
    }

    /// The score.
    #[inline]
    pub fn score(self) -> f64 {
        match self.parts().0 {
            Form::Whole(whole) => f64::from(whole),
            Form::Any(score) => score,
        }
    }

    /// The member's bytes.
    #[inline]
    pub fn member(self) -> &'a [u8] {
        self.parts().2
    }

    /// The bytes it takes in memory.
    #[inline]
    pub fn memory(self) -> usize {
        let (form, _, member) = self.parts();
        slab::rounded(varint::len(form.head(member.len())) + form.len() + member.len())
    }

    pub(super) fn handle(self) -> Handle {
        Handle(self.0)
    }
}

impl Item for Handle {
    fn bits(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    fn from_bits(bits: u64) -> Self {
        Handle(
            NonNull::new(std::ptr::with_exposed_provenance_mut(bits as usize)).expect("handles are not null"),
        )
    }

    fn key(self) -> i64 {
        // SAFETY: only trees of this module's sets ask, about elements in them, which live while the set is borrowed.
        rank_of(unsafe { self.get() }.score())
    }
}

impl Handle {
    /// Looks at the element.
    ///
    /// # Safety
    /// The element is neither changed nor freed during `'a`.
    #[inline]
    pub(super) const unsafe fn get<'a>(self) -> ScoredRef<'a> {
        ScoredRef(self.0, PhantomData)
    }
}

// SAFETY: `into_raw` gives the allocation, which is 8-aligned and below 2^48 as all of user space is; `from_raw` and
// `borrow` undo exactly that.
unsafe impl Element for Scored {
    const IS_KEPT: bool = true;

    type Ref<'a> = ScoredRef<'a>;

    /// The value that is kept is the score, in the bytes of a little-endian double.
    fn keep<'a>(element: ScoredRef<'a>, kept: &mut Kept)
    where
        Self: 'a,
    {
        kept.push(element.member(), &element.score().to_le_bytes());
    }

    fn into_raw(self) -> NonNull<u8> {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Scored(raw)
    }

    unsafe fn borrow<'a>(raw: NonNull<u8>) -> ScoredRef<'a> {
        ScoredRef(raw, PhantomData)
    }

    fn key<'a>(element: ScoredRef<'a>) -> &'a [u8]
    where
        Self: 'a,
    {
        element.member()
    }
}
