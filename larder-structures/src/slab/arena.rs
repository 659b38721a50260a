//! An arena: chunks, and which of their pages have room.

use super::chunk::{Backing, CHUNK, Chunk, KINDS, Kind, Page};
use super::class::{self, CLASSES};
use super::stats::ClassStats;
use std::ptr::NonNull;

/// Chunks of an arena from which on new ones ask for huge pages. Fewer would be mostly empty: a small server stays small.
const CHUNKS_BEFORE_HUGE: usize = 8;
/// Chunks of huge pages that an arena is kept ready at most.
pub(super) const SPARES_MAX: usize = 8;
/// Looks at what is idle between two decisions on how much of it goes.
pub(super) const LOOKS: usize = 10;
/// Looks after which an arena is calm if it has mapped nothing since.
const CALM_LOOKS: usize = 3;
/// Entries are not moved out of pages that are at least so full, in eighths.
const DENSE_EIGHTHS: usize = 7;

/// Everything below one lock; see the essay of the slab. It is never dropped: who makes one keeps it.
pub(super) struct Arena {
    /// For each class a list of the pages that have room. Slots come from the first.
    room: [Option<NonNull<Page>>; CLASSES],
    /// Slots in use.
    used: [usize; CLASSES],
    /// Slots there are.
    slots: [usize; CLASSES],
    /// For each kind a list of the chunks that have free pages.
    chunks: [Option<NonNull<Chunk>>; KINDS],
    mapped: usize,
    active: usize,
    /// Free pages that still take memory.
    idle: usize,
    /// The fewest of them since the last look, one of [`LOOKS`]; see [`Arena::take_due`].
    least_idle: usize,
    looks: usize,
    /// Those that are to go until the next time it is known how many were not needed.
    due: usize,
    number: u8,
    /// Memory for chunks, in huge pages that are there already.
    spares: [Option<NonNull<u8>>; SPARES_MAX],
    /// How many of these there should be.
    wanted: usize,
    /// Chunks mapped since that was decided.
    recently_mapped: usize,
    /// How many times in a row that was none.
    calm_looks: usize,
    /// The list of used up chunks that are in small pages of the system; see [`Arena::take_scattered`].
    scattered: Option<NonNull<Chunk>>,
}

// SAFETY: an arena owns its chunks; what is in use of them belongs to others, who do not touch what the arena touches.
unsafe impl Send for Arena {}

/// Memory on its way back to the system; see [`Arena::take_idle`].
pub(super) enum Idle {
    /// A chunk without a page in use, which the arena has forgotten.
    Chunk(NonNull<Chunk>),
    /// A page that nobody uses.
    Page(NonNull<Chunk>, usize),
}

impl Arena {
    pub(super) const fn new(number: u8) -> Arena {
        Arena {
            room: [None; CLASSES],
            used: [0; CLASSES],
            slots: [0; CLASSES],
            chunks: [None; KINDS],
            mapped: 0,
            active: 0,
            idle: 0,
            least_idle: 0,
            looks: 0,
            due: 0,
            number,
            spares: [None; SPARES_MAX],
            wanted: 0,
            recently_mapped: 0,
            calm_looks: 0,
            scattered: None,
        }
    }

    /// A slot of `class`. `None` when the system has no more memory.
    #[inline]
    pub(super) fn alloc(&mut self, class: usize) -> Option<NonNull<u8>> {
        let mut page = match self.room[class] {
            Some(page) => page,
            None => self.add_page(class)?,
        };
        // SAFETY: pages in the list exist, and only this arena knows their descriptions.
        let description = unsafe { page.as_mut() };
        let slot = description.take();
        if description.is_full() {
            self.unlink(page);
        }
        self.used[class] += 1;
        Some(slot)
    }

    /// Takes a slot back.
    ///
    /// # Safety
    /// The slot came from this arena and this class, and is not used afterwards.
    #[inline]
    pub(super) unsafe fn free(&mut self, slot: NonNull<u8>, class: usize) {
        // SAFETY: by the contract.
        let mut page = unsafe { Chunk::page_of(slot, class::kind(class)) };
        // SAFETY: as in `alloc`.
        let description = unsafe { page.as_mut() };
        debug_assert_eq!(description.class(), class, "freed with another size than allocated");
        let was_full = description.is_full();
        // SAFETY: by the contract.
        unsafe { description.put(slot) };
        let is_empty = description.used() == 0;
        self.used[class] -= 1;
        if was_full {
            self.link(page);
        }
        if is_empty {
            self.retire(page);
        }
    }

    /// Moves what a slot holds to where its class is denser, if that helps to empty a page. The slot is free then.
    ///
    /// Called for slot after slot, it empties the sparser pages into the denser: the page at the head of the list takes
    /// what comes, and gives way to any denser one that is met.
    ///
    /// # Safety
    /// As for [`Arena::free`] if it returns a slot.
    pub(super) unsafe fn relocate(&mut self, slot: NonNull<u8>, class: usize) -> Option<NonNull<u8>> {
        // SAFETY: by the contract.
        let page = unsafe { Chunk::page_of(slot, class::kind(class)) };
        // SAFETY: as in `alloc`.
        let description = unsafe { page.as_ref() };
        let used = description.used();
        if used * 8 >= description.capacity() * DENSE_EIGHTHS {
            return None;
        }
        let mut head = self.room[class]?;
        if head == page {
            // SAFETY: as in `alloc`.
            let second = unsafe { head.as_ref() }.next?;
            self.unlink(second);
            self.link(second);
            head = second;
        }
        // SAFETY: as in `alloc`.
        if unsafe { head.as_ref() }.used() < used {
            self.unlink(page);
            self.link(page);
            return None;
        }
        let new = self.alloc(class)?;
        // SAFETY: both are slots of this class, and not the same, since one was in use when the other was not.
        unsafe { new.copy_from_nonoverlapping(slot, class::size(class)) };
        // SAFETY: by the contract.
        unsafe { self.free(slot, class) };
        Some(new)
    }

    /// Puts a page at the head of its list.
    fn link(&mut self, mut page: NonNull<Page>) {
        // SAFETY: as in `alloc`.
        let description = unsafe { page.as_mut() };
        let head = &mut self.room[description.class()];
        description.next = *head;
        description.prev = None;
        if let Some(second) = head {
            // SAFETY: as in `alloc`; it is another page.
            unsafe { second.as_mut() }.prev = Some(page);
        }
        *head = Some(page);
    }

    /// Takes a page out of its list.
    fn unlink(&mut self, page: NonNull<Page>) {
        // SAFETY: as in `alloc`.
        let description = unsafe { page.as_ref() };
        let (next, prev, class) = (description.next, description.prev, description.class());
        match prev {
            // SAFETY: as in `alloc`; it is another page.
            Some(mut prev) => unsafe { prev.as_mut() }.next = next,
            None => self.room[class] = next,
        }
        if let Some(mut next) = next {
            // SAFETY: as above.
            unsafe { next.as_mut() }.prev = prev;
        }
    }

    /// Gives an empty page back to its chunk, unless its class has no other with room and will want one soon.
    fn retire(&mut self, page: NonNull<Page>) {
        // SAFETY: as in `alloc`.
        let description = unsafe { page.as_ref() };
        if description.next.is_none() && description.prev.is_none() {
            return;
        }
        self.close(page);
    }

    fn close(&mut self, page: NonNull<Page>) {
        // SAFETY: as in `alloc`.
        let description = unsafe { page.as_ref() };
        let (class, capacity) = (description.class(), description.capacity());
        self.unlink(page);
        self.slots[class] -= capacity;
        self.active -= class::kind(class).page();
        self.idle += 1;
        self.give_page(Chunk::of(page), Chunk::number(page), false);
    }

    fn give_page(&mut self, mut chunk: NonNull<Chunk>, nth: usize, is_clean: bool) {
        // SAFETY: the chunk has this page, so it exists; only this arena knows its head.
        let head = unsafe { chunk.as_mut() };
        let had_none = head.free == 0;
        head.free |= 1 << nth;
        if is_clean {
            head.clean |= 1 << nth;
        }
        if had_none {
            self.link_chunk(chunk);
        }
    }

    fn link_chunk(&mut self, mut chunk: NonNull<Chunk>) {
        // SAFETY: as in `give_page`.
        let list = &mut self.chunks[unsafe { Chunk::kind(chunk) } as usize];
        // SAFETY: as in `give_page`.
        let head = unsafe { chunk.as_mut() };
        head.next = *list;
        head.prev = None;
        if let Some(second) = list {
            // SAFETY: chunks in the list exist.
            unsafe { second.as_mut() }.prev = Some(chunk);
        }
        *list = Some(chunk);
    }

    fn unlink_chunk(&mut self, chunk: NonNull<Chunk>) {
        // SAFETY: as in `give_page`.
        let head = unsafe { chunk.as_ref() };
        let (next, prev) = (head.next, head.prev);
        match prev {
            // SAFETY: chunks in the list exist; it is another one.
            Some(mut prev) => unsafe { prev.as_mut() }.next = next,
            // SAFETY: as in `give_page`.
            None => self.chunks[unsafe { Chunk::kind(chunk) } as usize] = next,
        }
        if let Some(mut next) = next {
            // SAFETY: as above.
            unsafe { next.as_mut() }.prev = prev;
        }
    }

    /// A new page for a class that has none with room.
    #[cold]
    #[inline(never)]
    fn add_page(&mut self, class: usize) -> Option<NonNull<Page>> {
        let kind = class::kind(class);
        let mut chunk = match self.chunks[kind as usize] {
            Some(chunk) => chunk,
            None => {
                let spare = self.spares.iter_mut().find_map(Option::take);
                let backing = if spare.is_some() { Backing::Settled } else { Backing::Small };
                let memory = spare.or_else(|| Chunk::map(false))?;
                // SAFETY: the memory is a chunk's, and nobody else's.
                let chunk = unsafe { Chunk::found(memory, kind, self.number, backing) };
                self.mapped += CHUNK;
                self.recently_mapped += 1;
                self.link_chunk(chunk);
                chunk
            }
        };
        // SAFETY: chunks in the list exist, and only this arena knows their heads.
        let head = unsafe { chunk.as_mut() };
        // Pages that take memory already come first.
        let dirty = head.free & !head.clean;
        let nth = if dirty != 0 { dirty } else { head.free }.trailing_zeros() as usize;
        head.free &= !(1 << nth);
        head.clean &= !(1 << nth);
        let is_used_up = head.free == 0;
        self.idle -= usize::from(dirty != 0);
        self.least_idle = self.least_idle.min(self.idle);
        if is_used_up {
            self.unlink_chunk(chunk);
            self.list_if_small(chunk);
        }
        // SAFETY: the page was free and is not any more.
        let page = unsafe { Chunk::open(chunk, nth, class) };
        // SAFETY: as in `alloc`.
        self.slots[class] += unsafe { page.as_ref() }.capacity();
        self.active += kind.page();
        self.link(page);
        Some(page)
    }

    /// Decides how many chunks of huge pages the arena should have ready: one more than it has needed since the last call, and
    /// none if it has needed none or is small, or if huge pages are not wanted.
    pub(super) fn decide_wanted(&mut self, is_huge: bool) {
        let recently = std::mem::take(&mut self.recently_mapped);
        self.calm_looks = if recently == 0 { self.calm_looks + 1 } else { 0 };
        self.wanted = if !is_huge || recently == 0 || self.mapped < CHUNKS_BEFORE_HUGE * CHUNK {
            0
        } else {
            (recently + 1).min(SPARES_MAX)
        };
    }

    /// A used up chunk in small pages, to be [gathered](Chunk::gather) in a huge one, without the arena's lock; then
    /// [`Arena::settle`] has to be called.
    ///
    /// An arena that grows fast takes small pages, since huge ones are not ready so soon. Where there are many entries, each
    /// access then also misses the processor's memory of where pages are. So once the arena has not grown for a moment, what
    /// is full is moved. Not before: while the system moves a chunk, new pages have to wait.
    pub(super) fn take_scattered(&mut self) -> Option<NonNull<Chunk>> {
        if self.calm_looks < CALM_LOOKS || self.mapped < CHUNKS_BEFORE_HUGE * CHUNK {
            return None;
        }
        while let Some(mut chunk) = self.scattered {
            self.unlist(chunk);
            // SAFETY: chunks in the list exist, and only this arena knows their heads.
            let head = unsafe { chunk.as_mut() };
            if head.free == 0 {
                head.backing = Backing::Held;
                return Some(chunk);
            }
        }
        None
    }

    /// Takes a chunk back from who had it through [`Arena::take_scattered`].
    pub(super) fn settle(&mut self, mut chunk: NonNull<Chunk>) {
        // SAFETY: a chunk that is held exists.
        let head = unsafe { chunk.as_mut() };
        debug_assert_eq!(head.backing, Backing::Held);
        head.backing = Backing::Settled;
    }

    /// Lists a used up chunk, if it is in small pages.
    fn list_if_small(&mut self, mut chunk: NonNull<Chunk>) {
        // SAFETY: as in `give_page`.
        let head = unsafe { chunk.as_mut() };
        if head.backing != Backing::Small {
            return;
        }
        head.backing = Backing::Listed;
        head.next_listed = self.scattered;
        head.prev_listed = None;
        if let Some(mut second) = self.scattered {
            // SAFETY: chunks in the list exist; it is another one.
            unsafe { second.as_mut() }.prev_listed = Some(chunk);
        }
        self.scattered = Some(chunk);
    }

    /// Takes a chunk out of the list if it is in it. It is in small pages from here on.
    fn unlist(&mut self, mut chunk: NonNull<Chunk>) {
        // SAFETY: as in `give_page`.
        let head = unsafe { chunk.as_mut() };
        let was_listed = head.backing == Backing::Listed;
        let (next, prev) = (head.next_listed, head.prev_listed);
        head.backing = Backing::Small;
        if !was_listed {
            return;
        }
        match prev {
            // SAFETY: chunks in the list exist; it is another one.
            Some(mut prev) => unsafe { prev.as_mut() }.next_listed = next,
            None => self.scattered = next,
        }
        if let Some(mut next) = next {
            // SAFETY: as above.
            unsafe { next.as_mut() }.prev_listed = prev;
        }
    }

    fn ready(&self) -> usize {
        self.spares.iter().flatten().count()
    }

    /// Whether fewer are ready than should be.
    pub(super) fn wants_spare(&self) -> bool {
        self.ready() < self.wanted
    }

    /// Gives it memory for a chunk, which is returned if it has enough.
    pub(super) fn add_spare(&mut self, memory: NonNull<u8>) -> Option<NonNull<u8>> {
        match self.spares.iter_mut().find(|place| place.is_none()) {
            Some(place) => place.replace(memory),
            None => Some(memory),
        }
    }

    /// Takes back memory for a chunk, if more is ready than should be.
    pub(super) fn take_surplus(&mut self) -> Option<NonNull<u8>> {
        if self.ready() <= self.wanted {
            return None;
        }
        self.spares.iter_mut().find_map(Option::take)
    }

    /// How many idle pages to give back now, if this is asked at even intervals.
    ///
    /// Who takes and frees much memory in turns soon wants again what is idle now. So a page goes only when there was one
    /// too many throughout the last [`LOOKS`] looks, and a sixteenth of those in use is kept in any case; and what goes
    /// does so in as many steps.
    pub(super) fn take_due(&mut self) -> usize {
        self.looks += 1;
        if self.looks == LOOKS {
            self.looks = 0;
            let kept = self.active / 16 / Kind::Fine.page();
            self.due = self.least_idle.saturating_sub(kept);
            self.least_idle = self.idle;
        }
        let now = self.due.div_ceil(LOOKS - self.looks);
        self.due -= now;
        now
    }

    /// Something to give back to the system: the caller does so, without the arena's lock, then says so through
    /// [`Arena::return_page`] if it is a page.
    pub(super) fn take_idle(&mut self) -> Option<Idle> {
        if self.idle == 0 {
            return None;
        }
        for kind in [Kind::Fine, Kind::Coarse] {
            let mut next = self.chunks[kind as usize];
            while let Some(mut chunk) = next {
                // SAFETY: as in `add_page`.
                let head = unsafe { chunk.as_mut() };
                next = head.next;
                let dirty = head.free & !head.clean;
                if dirty == 0 || head.backing == Backing::Held {
                    continue;
                }
                // Either it goes as a whole, or the system takes a huge page apart to get back a part of it.
                self.unlist(chunk);
                // SAFETY: as in `add_page`; the reference from before ends here.
                let head = unsafe { chunk.as_mut() };
                if head.free == kind.all_pages() {
                    self.idle -= dirty.count_ones() as usize;
                    self.mapped -= CHUNK;
                    self.unlink_chunk(chunk);
                    return Some(Idle::Chunk(chunk));
                }
                let nth = dirty.trailing_zeros() as usize;
                head.free &= !(1 << nth);
                let is_used_up = head.free == 0;
                self.idle -= 1;
                if is_used_up {
                    self.unlink_chunk(chunk);
                }
                return Some(Idle::Page(chunk, nth));
            }
        }
        None
    }

    /// Takes back a page that takes no memory any more.
    pub(super) fn return_page(&mut self, chunk: NonNull<Chunk>, nth: usize) {
        self.give_page(chunk, nth, true);
    }

    /// Gives back the empty pages that were kept for their classes. For tests.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn close_all(&mut self) {
        for class in 0..CLASSES {
            // SAFETY: as in `alloc`.
            while let Some(page) = self.room[class].filter(|page| unsafe { page.as_ref() }.used() == 0) {
                self.close(page);
            }
        }
    }

    /// Bytes mapped from the system.
    pub(super) fn mapped(&self) -> usize {
        self.mapped
    }

    /// Bytes of the pages in use.
    pub(super) fn active(&self) -> usize {
        self.active
    }

    /// What each class has.
    pub(super) fn classes(&self) -> impl Iterator<Item = ClassStats> + '_ {
        (0..CLASSES).map(|class| ClassStats {
            size: class::size(class),
            slots: self.slots[class],
            used: self.used[class],
        })
    }

    /// Panics unless lists and counts agree. For tests.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn check_invariants(&self) {
        let mut idle = 0;
        for class in 0..CLASSES {
            let mut prev = None;
            let mut next = self.room[class];
            let (mut used, mut slots) = (0, 0);
            while let Some(page) = next {
                // SAFETY: as in `alloc`.
                let description = unsafe { page.as_ref() };
                description.check();
                assert!(!description.is_full() && description.class() == class);
                assert!(description.prev == prev, "the list leads back as it leads on");
                used += description.used();
                slots += description.capacity();
                prev = Some(page);
                next = description.next;
            }
            // What is not in the list is full.
            assert_eq!(self.slots[class] - slots, self.used[class] - used, "class {class}");
        }
        for kind in [Kind::Fine, Kind::Coarse] {
            let mut next = self.chunks[kind as usize];
            while let Some(chunk) = next {
                // SAFETY: as in `add_page`.
                let head = unsafe { chunk.as_ref() };
                assert!(head.free != 0 && head.clean & !head.free == 0);
                idle += (head.free & !head.clean).count_ones() as usize;
                next = head.next;
            }
        }
        assert_eq!(idle, self.idle);
    }
}
