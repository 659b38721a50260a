//! Where the memory of entries comes from.
//!
//! Entries are small, of many sizes and replaced often, so how they are allocated decides both the bytes per key and
//! how much memory is lost to fragmentation. All of them therefore pass through the functions of this module, and
//! nothing else in the project allocates an entry.
//!
//! # Shape
//!
//! *Chunks* of 2 MiB come from the system, at multiples of their size. A chunk is cut into *pages* of 32 KiB, or 128 KiB
//! for larger slots; a page into *slots* of one size. Sizes are 8 bytes apart up to 1 KiB and a sixteenth apart up to 16
//! KiB; what is larger is the general allocator's. A slot has no header: its size is known to who frees it, its page
//! and chunk follow from its address. So an entry costs [`rounded`] bytes and its share of what is free in its page.
//!
//! # Threads
//!
//! Chunks belong to *arenas*. A thread allocates from the arena it has a seat in, which it shares only when there are
//! more threads than arenas. Whoever frees, frees to the arena of the chunk. Each arena is behind a lock of one word.
//! Lists without locks for what other threads free would save an atomic exchange, about 5 ns, and cost certainty:
//! here every count is exact at every moment, nothing waits for its owner to come by, and the memory of a thread that
//! ended is used by the next one.
//!
//! # Back to the system
//!
//! A page without a slot in use goes back to its chunk and may serve another size. [`trim`], called from time to time,
//! gives the memory of free pages and empty chunks back that nobody needed for a second; no system call is made while an arena is
//! locked, but for mapping a new chunk.
//!
//! Pages that stay sparse, because most of what they held was freed, are emptied by moving what is left: the table's
//! slot is the only thing that knows an entry's address, so that is a copy and a store. See [`relocate`] and
//! [`crate::table::Table::defragment`].
//!
//! # Pages of the system
//!
//! What is spread over many small pages is slow to find for the processor. So chunks of an arena that grows are in huge pages
//! as far as a thread that nobody waits for has had the time to [make them ready](make_ready), and are [moved](gather) to
//! huge ones later where it had not.
//!
//! # What tools see
//!
//! Under Miri, loom and `--cfg plain_alloc` (for AddressSanitizer) every allocation is the general allocator's, so that
//! such tools see uses after free; the arenas' own tests run all the same. Debug builds fill freed slots and check them.

#![cfg_attr(any(miri, loom, plain_alloc), allow(dead_code, reason = "the tools' allocator stands in"))]

mod arena;
mod chunk;
mod class;
mod seat;
mod stats;

use arena::{Arena, Idle};
use chunk::Chunk;
use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::yield_now;

pub use stats::{ClassStats, Stats};

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use model::fuzz;

/// Slots keep three flag bits below the address, so every entry begins on a multiple of 8.
const ALIGN: usize = 8;
/// A cache line. What is a multiple of it in size begins on one.
pub(crate) const LINE: usize = 64;
/// The largest slot, in bytes.
pub(crate) const SLOT_MAX: usize = class::MAX;
/// Bytes that the general allocator keeps for what is too large for a slot.
static GENERAL: AtomicUsize = AtomicUsize::new(0);

/// The bytes that an allocation of `size` bytes takes.
#[inline]
pub const fn rounded(size: usize) -> usize {
    if size > class::MAX {
        return (size + (ALIGN - 1)) & !(ALIGN - 1);
    }
    class::size(class::of(if size == 0 { 1 } else { size }))
}

fn layout(size: usize) -> Layout {
    let align = if size.is_multiple_of(LINE) { LINE } else { ALIGN };
    Layout::from_size_align(rounded(size), align).expect("an entry is far smaller than isize::MAX")
}

/// Allocates `size` bytes, uninitialised and 8-aligned; multiples of [`LINE`] are aligned to it.
#[inline]
pub(crate) fn alloc(size: usize) -> NonNull<u8> {
    if size > class::MAX || IS_PLAIN {
        return alloc_general(size);
    }
    let class = class::of(size.max(1));
    match seat::mine().with(|arena| arena.alloc(class)) {
        Some(slot) => slot,
        None => handle_alloc_error(layout(size)),
    }
}

/// Gives back what [`alloc`] returned for the same `size`.
///
/// # Safety
/// `memory` came from `alloc` with a size that rounds to the same number, and is not used afterwards.
#[inline]
pub(crate) unsafe fn free(memory: NonNull<u8>, size: usize) {
    if size > class::MAX || IS_PLAIN {
        // SAFETY: the contract is the same.
        return unsafe { free_general(memory, size) };
    }
    let class = class::of(size.max(1));
    // SAFETY: the slot is in use.
    let arena = unsafe { Chunk::arena(Chunk::of(memory)) };
    // SAFETY: the slot came from this arena, and, as its size rounds to the same number, from this class.
    seat::arena(arena).with(|arena| unsafe { arena.free(memory, class) });
}

/// Moves an allocation to a denser page, if that helps to empty the one it is in; the old place is freed then.
///
/// # Safety
/// `memory` came from [`alloc`] with a size that rounds to the same number. If it returns an address, that one holds
/// the same bytes, and the old one is not used afterwards.
pub(crate) unsafe fn relocate(memory: NonNull<u8>, size: usize) -> Option<NonNull<u8>> {
    if size > class::MAX || IS_PLAIN {
        return None;
    }
    let class = class::of(size.max(1));
    // SAFETY: as in `free`.
    let arena = unsafe { Chunk::arena(Chunk::of(memory)) };
    // SAFETY: as in `free`.
    seat::arena(arena).with(|arena| unsafe { arena.relocate(memory, class) })
}

/// Whether the general allocator stands in for the slab, for tools that watch it.
const IS_PLAIN: bool = cfg!(any(miri, loom, plain_alloc));

#[cold]
#[inline(never)]
fn alloc_general(size: usize) -> NonNull<u8> {
    let layout = layout(size);
    // SAFETY: the layout's size is at least 8, as sizes are rounded up from at least 1.
    let memory = unsafe { std::alloc::alloc(layout) };
    GENERAL.fetch_add(layout.size(), Ordering::Relaxed);
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

/// # Safety
/// As for [`free`], for what [`alloc_general`] returned.
#[cold]
#[inline(never)]
unsafe fn free_general(memory: NonNull<u8>, size: usize) {
    let layout = layout(size);
    GENERAL.fetch_sub(layout.size(), Ordering::Relaxed);
    // SAFETY: by the contract above the layout is the one the memory was allocated with.
    unsafe { std::alloc::dealloc(memory.as_ptr(), layout) }
}

/// Gives memory back to the system that nobody needed for a while: see [`Arena::take_due`]. To be called some ten times a
/// second by a thread that nobody waits for. Microseconds for each page, up to a tenth of a millisecond for 2 MiB.
pub fn trim() {
    for number in seat::all() {
        let due = seat::arena(number).with(Arena::take_due);
        trim_arena(number, due);
    }
}

/// Gives all memory back to the system that holds no entry. Returns in how many pieces.
pub fn purge() -> usize {
    seat::all().map(|number| trim_arena(number, usize::MAX)).sum()
}

/// Gives back `pages` pages, or chunks of them, or all there are; returns how many.
fn trim_arena(number: usize, pages: usize) -> usize {
    let arena = seat::arena(number);
    for nth in 0..pages {
        let Some(idle) = arena.with(Arena::take_idle) else { return nth };
        give_back(idle, |chunk, nth| arena.with(|arena| arena.return_page(chunk, nth)));
        yield_now();
    }
    pages
}

/// Decides how much memory in huge pages is to be ready for each arena, by what it has lately needed, and gives back what
/// was kept ready beyond that. To be called some ten times a second by a thread that nobody waits for.
///
/// `is_huge` says whether huge pages are wanted at all.
pub fn prepare(is_huge: bool) {
    for number in seat::all() {
        let arena = seat::arena(number);
        arena.with(|arena| arena.decide_wanted(is_huge));
        while let Some(spare) = arena.with(Arena::take_surplus) {
            // SAFETY: it is memory for a chunk, which nobody has used.
            unsafe { Chunk::unmap(spare.cast()) };
        }
    }
}

/// Makes one of the huge pages ready that are to be; returns whether there was one. Some tenths of a millisecond, without any
/// lock, which the system does in one go: so a thread that others should not wait for rests in between.
pub fn make_ready() -> bool {
    let Some(number) = seat::all().find(|number| seat::arena(*number).with(|arena| arena.wants_spare()))
    else {
        return false;
    };
    let Some(spare) = Chunk::map(true) else { return false };
    if let Some(refused) = seat::arena(number).with(|arena| arena.add_spare(spare)) {
        // SAFETY: it is memory for a chunk, which nobody has used.
        unsafe { Chunk::unmap(refused.cast()) };
    }
    true
}

/// Moves a chunk that is full and in small pages to a huge one; returns whether there was one to be moved. Some tenths of a
/// millisecond, without any lock of ours: see [`Arena::take_scattered`].
pub fn gather() -> bool {
    let held = seat::all().find_map(|number| {
        let arena = seat::arena(number);
        arena.with(Arena::take_scattered).map(|chunk| (arena, chunk))
    });
    let Some((arena, chunk)) = held else { return false };
    // SAFETY: the arena lets it exist while it is held.
    unsafe { Chunk::gather(chunk) };
    arena.with(|arena| arena.settle(chunk));
    true
}

fn give_back(idle: Idle, return_page: impl FnOnce(NonNull<Chunk>, usize)) {
    match idle {
        // SAFETY: the arena has forgotten the chunk, none of whose pages is in use.
        Idle::Chunk(chunk) => unsafe { Chunk::unmap(chunk) },
        Idle::Page(chunk, nth) => {
            // SAFETY: the page is neither free nor in use, so it is this function's, and its chunk exists.
            unsafe { Chunk::discard(chunk, nth) };
            return_page(chunk, nth);
        }
    }
}

/// What the slab takes and what of that is in use, added up over all arenas one after the other. Some microseconds.
pub fn stats() -> Stats {
    let mut stats = Stats { general: GENERAL.load(Ordering::Relaxed), ..Stats::default() };
    for number in seat::all() {
        seat::arena(number).with(|arena| stats.add(arena));
    }
    stats.classes.retain(|class| class.slots > 0);
    stats
}

/// Random programs against an arena, with what every slot holds written down.
#[cfg(any(test, feature = "fuzz"))]
mod model {
    use super::arena::Arena;
    use super::{Chunk, class, give_back};
    use std::ptr::NonNull;

    /// A slot in use, filled with a byte.
    struct Taken {
        slot: NonNull<u8>,
        class: usize,
        fill: u8,
    }

    impl Taken {
        fn new(arena: &mut Arena, class: usize, fill: u8) -> Taken {
            let slot = arena.alloc(class).expect("the system has memory");
            assert!(slot.addr().get().is_multiple_of(8));
            // SAFETY: the slot is new and as large as its class.
            unsafe { slot.write_bytes(fill, class::size(class)) };
            Taken { slot, class, fill }
        }

        fn check(&self) {
            // SAFETY: the slot is in use, and was filled when it was taken.
            let bytes = unsafe { std::slice::from_raw_parts(self.slot.as_ptr(), class::size(self.class)) };
            assert!(bytes.iter().all(|byte| *byte == self.fill), "a slot in use was written to");
        }
    }

    /// Takes, frees, moves and trims as `next` says, which returns a number below its argument.
    pub(crate) fn fuzz(mut next: impl FnMut(usize) -> Option<usize>) {
        let mut arena = Arena::new(0);
        let mut taken: Vec<Taken> = Vec::new();
        while let Some(operation) = next(16) {
            let random = next(1 << 16).unwrap_or(0);
            match operation {
                0..=6 => {
                    let class = random % class::CLASSES;
                    let count = next(40).unwrap_or(0) + 1;
                    (0..count)
                        .for_each(|nth| taken.push(Taken::new(&mut arena, class, (random + nth) as u8)));
                }
                7..=11 => {
                    for _ in 0..(next(60).unwrap_or(0)).min(taken.len()) {
                        let gone = taken.swap_remove(random % taken.len());
                        gone.check();
                        // SAFETY: it came from this arena and is forgotten.
                        unsafe { arena.free(gone.slot, gone.class) };
                    }
                }
                12 | 13 => taken.iter_mut().for_each(|it| {
                    // SAFETY: it came from this arena; the old slot is forgotten if there is a new one.
                    if let Some(new) = unsafe { arena.relocate(it.slot, it.class) } {
                        assert_ne!(new, it.slot);
                        it.slot = new;
                        it.check();
                    }
                }),
                14 => trim(&mut arena),
                _ => gather(&mut arena),
            }
            arena.check_invariants();
            let used: usize = arena.classes().map(|class| class.used * class.size).sum();
            assert_eq!(used, taken.iter().map(|it| class::size(it.class)).sum::<usize>());
        }
        for it in taken {
            it.check();
            // SAFETY: it came from this arena and is forgotten.
            unsafe { arena.free(it.slot, it.class) };
        }
        arena.close_all();
        trim(&mut arena);
        arena.check_invariants();
        assert_eq!(arena.mapped(), 0, "everything went back to the system");
    }

    fn gather(arena: &mut Arena) {
        (0..3).for_each(|_| arena.decide_wanted(false));
        while let Some(chunk) = arena.take_scattered() {
            // What is held is not given back.
            trim(arena);
            // SAFETY: it is held.
            unsafe { Chunk::gather(chunk) };
            arena.settle(chunk);
        }
    }

    fn trim(arena: &mut Arena) {
        while let Some(idle) = arena.take_idle() {
            give_back(idle, |chunk, nth| arena.return_page(chunk, nth));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::arena::{Arena, LOOKS};
    use super::{Chunk, class, give_back};
    use std::ptr::NonNull;

    /// Fills `pages` worth of slots, frees all but one in `keep_one_in` of them, and returns those.
    fn sparse(arena: &mut Arena, class: usize, count: usize, keep_one_in: usize) -> Vec<NonNull<u8>> {
        let all: Vec<_> = (0..count).map(|_| arena.alloc(class).expect("the system has memory")).collect();
        let mut kept = Vec::new();
        for (nth, slot) in all.into_iter().enumerate() {
            if nth % keep_one_in == 0 {
                kept.push(slot);
            } else {
                // SAFETY: it came from this arena and is forgotten.
                unsafe { arena.free(slot, class) };
            }
        }
        kept
    }

    fn slots(arena: &Arena) -> usize {
        arena.classes().map(|class| class.slots).sum()
    }

    fn free_all(arena: &mut Arena, class: usize, slots: Vec<NonNull<u8>>) {
        for slot in slots {
            // SAFETY: it came from this arena and is forgotten.
            unsafe { arena.free(slot, class) };
        }
        arena.close_all();
        while let Some(idle) = arena.take_idle() {
            give_back(idle, |chunk, nth| arena.return_page(chunk, nth));
        }
        assert_eq!(arena.mapped(), 0);
    }

    #[test]
    fn moving_what_is_left_empties_sparse_pages() {
        for size in [64, 1024, 3000] {
            let class = class::of(size);
            let mut arena = Arena::new(0);
            let mut kept = sparse(&mut arena, class, 4_000, 10);
            let before = slots(&arena);
            for _ in 0..3 {
                for slot in &mut kept {
                    // SAFETY: it came from this arena, and the new slot takes its place.
                    *slot = unsafe { arena.relocate(*slot, class) }.unwrap_or(*slot);
                }
            }
            assert!(
                slots(&arena) * 10 < kept.len() * 13 + before,
                "{} slots for {}",
                slots(&arena),
                kept.len()
            );
            assert!(slots(&arena) * 3 < before, "{} of {before} slots are left", slots(&arena));
            arena.check_invariants();
            free_all(&mut arena, class, kept);
        }
    }

    #[test]
    fn pages_serve_another_size_once_they_are_empty() {
        let mut arena = Arena::new(0);
        let first = sparse(&mut arena, class::of(64), 100_000, 1);
        let mapped = arena.mapped();
        for slot in first {
            // SAFETY: it came from this arena and is forgotten.
            unsafe { arena.free(slot, class::of(64)) };
        }
        let second = sparse(&mut arena, class::of(128), 49_000, 1);
        assert_eq!(arena.mapped(), mapped);
        free_all(&mut arena, class::of(128), second);
    }

    #[test]
    fn multiples_of_a_cache_line_begin_on_one() {
        let mut arena = Arena::new(0);
        for size in [64, 192, 1024, 4096, 8192, 16384] {
            let kept = sparse(&mut arena, class::of(size), 200_000 / size, 1);
            assert!(kept.iter().all(|slot| slot.addr().get().is_multiple_of(64)));
            free_all(&mut arena, class::of(size), kept);
        }
    }

    #[test]
    fn pages_go_once_nobody_needed_them_for_a_while() {
        let class = class::of(1024);
        let mut arena = Arena::new(0);
        let due = |arena: &mut Arena| (0..2 * LOOKS).map(|_| arena.take_due()).sum::<usize>();
        let mut kept = sparse(&mut arena, class, 20_000, 10);
        assert_eq!(due(&mut arena), 0, "every page holds something");
        // SAFETY: it came from this arena and is forgotten.
        kept.drain(..).for_each(|slot| unsafe { arena.free(slot, class) });
        arena.close_all();
        // What is idle is needed again and again.
        for _ in 0..3 * LOOKS {
            assert_eq!(arena.take_due(), 0);
            for slot in sparse(&mut arena, class, 20_000, 1) {
                // SAFETY: as above.
                unsafe { arena.free(slot, class) };
            }
            arena.close_all();
        }
        // Now it is not.
        let pages = due(&mut arena) + due(&mut arena);
        assert!(pages * 32 * 1024 >= 20_000 * 1024, "{pages} pages");
        free_all(&mut arena, class, kept);
    }

    #[test]
    fn chunks_that_are_ready_are_used_and_none_are_wanted_where_none_were_needed() {
        let class = class::of(1024);
        let mut arena = Arena::new(0);
        arena.decide_wanted(true);
        assert!(!arena.wants_spare());
        let mut kept = sparse(&mut arena, class, 20_000, 1);
        arena.decide_wanted(true);
        let mut made = 0;
        while arena.wants_spare() {
            let memory = Chunk::map(true).expect("the system has memory");
            assert!(arena.add_spare(memory).is_none());
            made += 1;
        }
        assert!(made > 1);
        kept.extend(sparse(&mut arena, class, 4_000, 1));
        assert!(arena.wants_spare(), "one of {made} was used");
        arena.check_invariants();
        arena.decide_wanted(true);
        arena.decide_wanted(true);
        assert!(!arena.wants_spare(), "nothing was needed since");
        while let Some(spare) = arena.take_surplus() {
            // SAFETY: nobody has used it.
            unsafe { Chunk::unmap(spare.cast()) };
        }
        free_all(&mut arena, class, kept);
    }

    #[test]
    fn full_chunks_are_gathered_once_the_arena_is_calm_and_exist_until_that_is_done() {
        let class = class::of(1024);
        let mut arena = Arena::new(0);
        let kept = sparse(&mut arena, class, 20_000, 1);
        kept.iter().enumerate().for_each(|(nth, slot)| {
            // SAFETY: the slot is in use, and has a kilobyte.
            unsafe { slot.cast::<usize>().write(nth) }
        });
        assert!(arena.take_scattered().is_none(), "it has just grown");
        (0..4).for_each(|_| arena.decide_wanted(true));
        let mut gathered = 0;
        let mut last = None;
        while let Some(chunk) = arena.take_scattered() {
            // SAFETY: it is held.
            unsafe { Chunk::gather(chunk) };
            gathered += 1;
            if let Some(before) = last.replace(chunk) {
                arena.settle(before);
            }
        }
        // Of 20 MB all but the chunk in use.
        assert_eq!(gathered, arena.mapped() / Chunk::BYTES - 1);
        for (nth, slot) in kept.iter().enumerate() {
            // SAFETY: as above.
            assert_eq!(unsafe { slot.cast::<usize>().read() }, nth);
            // SAFETY: it came from this arena and is forgotten.
            unsafe { arena.free(*slot, class) };
        }
        arena.close_all();
        while let Some(idle) = arena.take_idle() {
            give_back(idle, |chunk, nth| arena.return_page(chunk, nth));
        }
        assert_eq!(arena.mapped(), Chunk::BYTES, "one is still held");
        arena.settle(last.expect("several were gathered"));
        free_all(&mut arena, class, Vec::new());
    }

    #[test]
    fn a_slot_knows_its_arena() {
        let mut arena = Arena::new(37);
        let slot = arena.alloc(0).expect("the system has memory");
        // SAFETY: the slot is in use.
        assert_eq!(unsafe { Chunk::arena(Chunk::of(slot)) }, 37);
        free_all(&mut arena, 0, vec![slot]);
    }
}
