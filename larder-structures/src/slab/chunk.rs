//! Chunks, their pages, and the slots in these.
//!
//! A chunk is [`CHUNK`] bytes that begin on a multiple of as many, so the chunk of a slot follows from the slot's
//! address. Its first [`HEADER`] bytes describe all of its pages; the first page has so much less room.

use super::class;
use crate::sys;
use std::ptr::NonNull;

/// Bytes of a chunk: a huge page of the usual machines.
pub(super) const CHUNK: usize = 2 * 1024 * 1024;
/// Bytes that the description takes at a chunk's beginning.
const HEADER: usize = 4096;
const FINE_PAGE: usize = 32 * 1024;
pub(super) const COARSE_PAGE: usize = 128 * 1024;
const PAGES_MAX: usize = CHUNK / FINE_PAGE;

/// How large the pages of a chunk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// For slots up to 1 KiB.
    Fine = 0,
    /// For larger ones.
    Coarse = 1,
}

/// How many kinds there are.
pub(super) const KINDS: usize = 2;

impl Kind {
    pub(super) const fn page(self) -> usize {
        match self {
            Kind::Fine => FINE_PAGE,
            Kind::Coarse => COARSE_PAGE,
        }
    }

    /// One bit for each page of a chunk.
    pub(super) const fn all_pages(self) -> u64 {
        u64::MAX >> (64 - CHUNK / self.page())
    }
}

/// A slot that nobody uses.
pub(super) struct Free {
    next: Option<NonNull<Free>>,
}

/// The description of a page. Slots are handed out from the freed ones first, then from the end of those ever used, so
/// that a page takes no more memory than was needed once.
pub(super) struct Page {
    free: Option<NonNull<Free>>,
    /// Links among the pages of the class that have room.
    pub(super) next: Option<NonNull<Page>>,
    pub(super) prev: Option<NonNull<Page>>,
    start: NonNull<u8>,
    size: u32,
    capacity: u32,
    used: u32,
    /// Slots ever used; those behind are untouched.
    touched: u32,
    class: u8,
}

impl Page {
    pub(super) fn used(&self) -> usize {
        self.used as usize
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    pub(super) fn class(&self) -> usize {
        usize::from(self.class)
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.used == self.capacity
    }

    /// Takes a slot of a page that is not full.
    #[inline]
    pub(super) fn take(&mut self) -> NonNull<u8> {
        debug_assert!(!self.is_full());
        self.used += 1;
        let Some(slot) = self.free else {
            let offset = self.touched as usize * self.size as usize;
            self.touched += 1;
            // SAFETY: `touched` was below `capacity`, as no slot is free and the page is not full.
            return unsafe { self.start.add(offset) };
        };
        // SAFETY: what stands in the list is a free slot of this page, which `put` wrote.
        self.free = unsafe { slot.as_ref() }.next;
        check_poison(slot.cast(), self.size as usize);
        slot.cast()
    }

    /// Takes a slot back.
    ///
    /// # Safety
    /// The slot is one of this page's, in use, and not used afterwards.
    #[inline]
    pub(super) unsafe fn put(&mut self, slot: NonNull<u8>) {
        debug_assert!(self.is_slot(slot) && self.used > 0, "this is not a slot in use");
        poison(slot, self.size as usize);
        let slot = slot.cast::<Free>();
        // SAFETY: the slot is at least 8 bytes, 8-aligned, and nobody's by now.
        unsafe { slot.write(Free { next: self.free }) };
        self.free = Some(slot);
        self.used -= 1;
    }

    fn is_slot(&self, slot: NonNull<u8>) -> bool {
        let offset = slot.addr().get().wrapping_sub(self.start.addr().get());
        offset.is_multiple_of(self.size as usize) && offset / (self.size as usize) < self.touched as usize
    }

    #[cfg(any(test, feature = "fuzz"))]
    /// Panics unless the counts agree with the list of free slots.
    pub(super) fn check(&self) {
        let mut free = 0;
        let mut next = self.free;
        while let Some(slot) = next {
            assert!(self.is_slot(slot.cast()), "a free slot is a slot");
            free += 1;
            // SAFETY: as in `take`.
            next = unsafe { slot.as_ref() }.next;
        }
        assert_eq!(self.used + free, self.touched, "a slot is used or free");
        assert!(self.touched <= self.capacity);
    }
}

/// What debug builds fill free slots with, so that a write to one is noticed.
const POISON: u8 = 0xa5;

#[inline]
fn poison(slot: NonNull<u8>, size: usize) {
    if cfg!(debug_assertions) {
        // SAFETY: the caller owns the whole slot.
        unsafe { slot.write_bytes(POISON, size) };
    }
}

#[inline]
fn check_poison(slot: NonNull<u8>, size: usize) {
    if cfg!(debug_assertions) {
        let link = size_of::<Free>();
        // SAFETY: the slot was filled when it was freed, but for the link at its beginning.
        let all = unsafe { std::slice::from_raw_parts(slot.as_ptr(), size) };
        assert!(all[link..].iter().all(|byte| *byte == POISON), "somebody wrote to memory after freeing it");
    }
}

/// What pages of the system a chunk is in, as far as its arena has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Backing {
    /// In small ones.
    Small,
    /// In small ones, and in the arena's list of such chunks that are used up.
    Listed,
    /// Taken from that list by whoever [gathers](Chunk::gather) it, who needs it to exist until then.
    Held,
    /// In a huge one, or as it will stay.
    Settled,
}

/// The head of a chunk.
#[repr(C)]
pub(super) struct Chunk {
    pages: [Page; PAGES_MAX],
    /// Pages that nobody uses, one bit each.
    pub(super) free: u64,
    /// Free pages that take no memory.
    pub(super) clean: u64,
    /// Links among the chunks of the kind that have free pages.
    pub(super) next: Option<NonNull<Chunk>>,
    pub(super) prev: Option<NonNull<Chunk>>,
    /// Links among the chunks that are [listed](Backing::Listed).
    pub(super) next_listed: Option<NonNull<Chunk>>,
    pub(super) prev_listed: Option<NonNull<Chunk>>,
    pub(super) backing: Backing,
    kind: Kind,
    arena: u8,
}

const _: () = assert!(size_of::<Chunk>() <= HEADER);

impl Chunk {
    /// How large all of them are.
    #[cfg(test)]
    pub(super) const BYTES: usize = CHUNK;

    /// Maps memory for a chunk. `None` when the system has no more.
    ///
    /// A huge page is cleared when it is first touched, which takes a tenth of a millisecond, or several where the system
    /// is a guest and its host has to find the memory. So whoever asks for one touches it here, and holds no lock.
    pub(super) fn map(is_huge: bool) -> Option<NonNull<u8>> {
        let memory = sys::map(CHUNK, CHUNK)?;
        // SAFETY: the mapping was just made with this size.
        unsafe { sys::advise_huge(memory, CHUNK, is_huge) };
        if is_huge {
            // SAFETY: as above; it reads as zeroes, and goes on to.
            unsafe { memory.as_ptr().write_volatile(0) };
        }
        Some(memory)
    }

    /// Moves the memory of a chunk to one huge page, where the system can. Some tenths of a millisecond, in which whoever
    /// touches the chunk waits.
    ///
    /// # Safety
    /// The chunk exists.
    pub(super) unsafe fn gather(chunk: NonNull<Chunk>) {
        // SAFETY: `map` made it with this size.
        unsafe { sys::collapse(chunk.cast(), CHUNK) };
    }

    /// Makes a chunk of memory, whose pages are all free.
    ///
    /// # Safety
    /// The memory came from [`Chunk::map`], was not written to, and is the caller's.
    pub(super) unsafe fn found(
        memory: NonNull<u8>,
        kind: Kind,
        arena: u8,
        backing: Backing,
    ) -> NonNull<Chunk> {
        let chunk = memory.cast::<Chunk>();
        let all = kind.all_pages();
        // A description is written when its page is first used: the rest of the head stays untouched.
        #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one head, written as a whole")]
        // SAFETY: these are fields of the new chunk's head, which is aligned and large enough.
        unsafe {
            (&raw mut (*chunk.as_ptr()).free).write(all);
            (&raw mut (*chunk.as_ptr()).clean).write(all);
            (&raw mut (*chunk.as_ptr()).next).write(None);
            (&raw mut (*chunk.as_ptr()).prev).write(None);
            (&raw mut (*chunk.as_ptr()).next_listed).write(None);
            (&raw mut (*chunk.as_ptr()).prev_listed).write(None);
            (&raw mut (*chunk.as_ptr()).backing).write(backing);
            (&raw mut (*chunk.as_ptr()).kind).write(kind);
            (&raw mut (*chunk.as_ptr()).arena).write(arena);
        }
        chunk
    }

    /// Gives a chunk back to the system.
    ///
    /// # Safety
    /// None of its pages is in use, and nobody knows it any more.
    pub(super) unsafe fn unmap(chunk: NonNull<Chunk>) {
        // SAFETY: `map` made it with this size and alignment.
        unsafe { sys::unmap(chunk.cast(), CHUNK, CHUNK) }
    }

    /// The chunk that a slot or the description of a page lies in.
    #[inline]
    pub(super) fn of<T>(inside: NonNull<T>) -> NonNull<Chunk> {
        let start = inside.as_ptr().map_addr(|address| address & !(CHUNK - 1));
        // SAFETY: chunks do not begin at address 0.
        unsafe { NonNull::new_unchecked(start.cast()) }
    }

    /// The arena that a chunk belongs to, which never changes.
    ///
    /// # Safety
    /// The chunk has a slot in use, so it exists.
    #[inline]
    pub(super) unsafe fn arena(chunk: NonNull<Chunk>) -> usize {
        // Not through a reference to the head, which the arena's holder may be changing.
        // SAFETY: the chunk exists, so this is a field of it.
        let arena = unsafe { &raw const (*chunk.as_ptr()).arena };
        // SAFETY: written once, before any slot of the chunk was handed out.
        usize::from(unsafe { arena.read() })
    }

    /// # Safety
    /// The chunk exists.
    pub(super) unsafe fn kind(chunk: NonNull<Chunk>) -> Kind {
        // SAFETY: as in `arena`.
        let kind = unsafe { &raw const (*chunk.as_ptr()).kind };
        // SAFETY: as in `arena`.
        unsafe { kind.read() }
    }

    /// The description of the page that a slot of `kind` lies in.
    ///
    /// # Safety
    /// The slot is in use, in a chunk of this kind.
    #[inline]
    pub(super) unsafe fn page_of(slot: NonNull<u8>, kind: Kind) -> NonNull<Page> {
        let nth = (slot.addr().get() & (CHUNK - 1)) / kind.page();
        // SAFETY: the slot's chunk exists and has a description for each page.
        unsafe { Chunk::page(Chunk::of(slot), nth) }
    }

    /// # Safety
    /// The chunk exists.
    #[inline]
    unsafe fn page(chunk: NonNull<Chunk>, nth: usize) -> NonNull<Page> {
        debug_assert!(nth < PAGES_MAX);
        // SAFETY: the descriptions stand at the chunk's beginning.
        unsafe { chunk.cast::<Page>().add(nth) }
    }

    /// The number of a page in its chunk.
    pub(super) fn number(page: NonNull<Page>) -> usize {
        (page.addr().get() & (CHUNK - 1)) / size_of::<Page>()
    }

    /// The bytes of a page, as they lie in its chunk.
    ///
    /// # Safety
    /// The chunk exists and has a page of that number.
    pub(super) unsafe fn bytes(chunk: NonNull<Chunk>, nth: usize) -> (NonNull<u8>, usize) {
        // SAFETY: the chunk exists.
        let page = unsafe { Chunk::kind(chunk) }.page();
        let head = if nth == 0 { HEADER } else { 0 };
        // SAFETY: the page lies in the chunk.
        (unsafe { chunk.cast::<u8>().add(nth * page + head) }, page - head)
    }

    /// Gives the memory of a page back to the system.
    ///
    /// # Safety
    /// The chunk exists, and the page is the caller's alone.
    pub(super) unsafe fn discard(chunk: NonNull<Chunk>, nth: usize) {
        // SAFETY: the chunk was mapped with this size. A huge page would come back whole at the next touch.
        unsafe { sys::advise_huge(chunk.cast(), CHUNK, false) };
        // SAFETY: the chunk exists.
        let (start, bytes) = unsafe { Chunk::bytes(chunk, nth) };
        // SAFETY: the page lies in the mapping and is the caller's.
        unsafe { sys::discard(start, bytes) };
    }

    /// Makes page `nth` one for slots of `class`, all of them unused.
    ///
    /// # Safety
    /// The chunk exists, is of the kind of the class, and the page is nobody's.
    pub(super) unsafe fn open(chunk: NonNull<Chunk>, nth: usize, class: usize) -> NonNull<Page> {
        // SAFETY: by the contract.
        let (start, bytes) = unsafe { Chunk::bytes(chunk, nth) };
        let size = class::size(class);
        // Slots are then aligned as their size is, up to 4 KiB: a slot of 64 bytes is a cache line.
        debug_assert!(start.addr().get().is_multiple_of(sys::PAGE));
        // SAFETY: the chunk exists.
        let page = unsafe { Chunk::page(chunk, nth) };
        let description = Page {
            free: None,
            next: None,
            prev: None,
            start,
            size: size as u32,
            capacity: (bytes / size) as u32,
            used: 0,
            touched: 0,
            class: class as u8,
        };
        // SAFETY: nobody uses the page or its description.
        unsafe { page.write(description) };
        page
    }
}
