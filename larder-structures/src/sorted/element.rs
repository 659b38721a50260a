//! A member with its score: one allocation that the table owns and the tree points at.
//!
//! ```text
//! | score (8 bytes) | member length (varint) | member |
//! ```
//!
//! The score stands first, at an aligned address that never moves while the member lives, so that changing it touches
//! one word and no other structure.

use crate::slab;
use crate::table::Element;
use crate::varint;
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Bytes of the score.
const SCORE: usize = size_of::<f64>();

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
        let memory = slab::alloc(SCORE + varint::len(member.len()) + member.len());
        // SAFETY: the allocation is 8-aligned and begins with room for the score.
        unsafe { memory.cast::<f64>().write(score) };
        // SAFETY: the allocation is longer than a score.
        let behind = unsafe { memory.add(SCORE) };
        // SAFETY: behind the score there is room for the varint.
        let body = unsafe { varint::write(behind.as_ptr(), member.len()) };
        // SAFETY: behind the varint there is room for the member, and new memory overlaps nothing.
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

    pub(super) fn set_score(&mut self, score: f64) {
        // SAFETY: the score stands at the start of the allocation, which is borrowed mutably.
        unsafe { self.0.cast::<f64>().write(score) };
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
    /// The score.
    #[inline]
    pub fn score(self) -> f64 {
        // SAFETY: the allocation begins with the score and lives as long as 'a.
        unsafe { self.0.cast::<f64>().read() }
    }

    /// The member's bytes.
    #[inline]
    pub fn member(self) -> &'a [u8] {
        // SAFETY: the allocation is longer than a score.
        let behind = unsafe { self.0.add(SCORE) };
        // SAFETY: `Scored::new` wrote a varint there.
        let (len, body) = unsafe { varint::read(behind.as_ptr()) };
        // SAFETY: and as many bytes behind it, which live as long as 'a.
        unsafe { std::slice::from_raw_parts(body, len) }
    }

    /// The bytes it takes in memory.
    #[inline]
    pub fn memory(self) -> usize {
        let member = self.member();
        slab::rounded(SCORE + varint::len(member.len()) + member.len())
    }

    pub(super) fn handle(self) -> Handle {
        Handle(self.0)
    }

    /// Where it stands relative to a member and its score: scores first, then the members' bytes.
    #[inline]
    pub(super) fn order(self, rank: i64, member: &[u8]) -> Ordering {
        rank_of(self.score()).cmp(&rank).then_with(|| self.member().cmp(member))
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
    type Ref<'a> = ScoredRef<'a>;

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
