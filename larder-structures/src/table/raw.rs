//! Buckets and words: the part of the table that does not know what an element is.

use crate::{hash, slab, sys};
use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;

use super::SLOTS;

/// Snapshot colour of the element.
pub(super) const COLOUR: u64 = 1;
/// The element has an expiry.
pub(super) const EXPIRES: u64 = 2;
/// The word is the address of an overflow bucket; in the last slot only.
const CHILD: u64 = 4;
/// All flag bits.
pub(super) const FLAGS: u64 = 7;
const ADDRESS: u64 = ((1 << 48) - 1) & !FLAGS;
/// Bits for each slot in what [`Bucket::slots_tagged`] returns.
const MASK_BITS: u32 = 4;
/// Buckets that share one expiry summary.
const GROUP: usize = 8;
/// Bytes of drained buckets that go back to the system in one piece: some microseconds.
const RELEASED_AT_ONCE: usize = 256 * 1024;
/// What mapped arrays are aligned to if they are as large: a huge page.
const MAP_ALIGN: usize = 2 * 1024 * 1024;
/// A summary that says: nothing here expires.
const NEVER: u32 = u32::MAX;

pub(super) fn flags(colour: bool, expires: bool) -> u64 {
    (u64::from(colour) * COLOUR) | (u64::from(expires) * EXPIRES)
}

#[inline]
pub(super) fn word(hash: u64, address: NonNull<u8>, flags: u64) -> u64 {
    let address = address.as_ptr() as u64;
    debug_assert_eq!(address & !ADDRESS, 0, "addresses are 8-aligned and below 2^48");
    hash::tag(hash) << 48 | address | flags
}

pub(super) fn with_address(word: u64, address: NonNull<u8>) -> u64 {
    word & !ADDRESS | address.as_ptr() as u64
}

/// Whether a slot whose tag fits holds an element: a tag of zero is also that of an empty slot and of the link to the next
/// bucket.
#[inline]
fn is_element(word: u64) -> bool {
    word & ADDRESS != 0 && word & CHILD == 0
}

#[inline]
pub(super) fn address(word: u64) -> NonNull<u8> {
    let address = (word & ADDRESS) as usize as *mut u8;
    debug_assert!(!address.is_null(), "an empty slot has no element");
    // SAFETY: callers pass words of occupied slots, whose address came from a NonNull.
    unsafe { NonNull::new_unchecked(address) }
}

/// One cache line of slots.
#[repr(C, align(64))]
struct Bucket {
    slots: [u64; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == slab::LINE);

impl Bucket {
    /// The overflow bucket, if there is one.
    #[inline]
    fn child(&self) -> Option<NonNull<Bucket>> {
        let word = self.slots[SLOTS - 1];
        if word & CHILD != 0 { NonNull::new((word & ADDRESS) as usize as *mut Bucket) } else { None }
    }

    /// Which slots have this tag: one bit of every [`MASK_BITS`] for each slot, the first slot lowest.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn slots_tagged(&self, tag: u64) -> u32 {
        use std::arch::x86_64::{
            __m128i, _mm_cmpeq_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
        };
        // SAFETY: SSE2 belongs to every x86-64 processor.
        let wanted = unsafe { _mm_set1_epi16(tag as i16) };
        let pairs = std::ptr::from_ref(&self.slots).cast::<__m128i>();
        let pair = |nth: usize| {
            // SAFETY: eight words are four vectors, and a bucket is aligned to 64 bytes.
            let at = unsafe { pairs.add(nth) };
            // SAFETY: as above.
            let words = unsafe { at.read() };
            // SAFETY: as above.
            unsafe { _mm_cmpeq_epi16(words, wanted) }
        };
        // Packing leaves four bytes of a word, of which the last tells of its upper 16 bits, the tag.
        let mask_of = |first: __m128i, second: __m128i| {
            // SAFETY: as above.
            let packed = unsafe { _mm_packs_epi16(first, second) };
            // SAFETY: as above.
            unsafe { _mm_movemask_epi8(packed) as u32 }
        };
        let (low, high) = (mask_of(pair(0), pair(1)), mask_of(pair(2), pair(3)));
        (low | high << 16) & 0x8888_8888
    }

    /// Which slots have this tag: one bit of every [`MASK_BITS`] for each slot, the first slot lowest.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    fn slots_tagged(&self, tag: u64) -> u32 {
        let mut found = 0;
        for (nth, word) in self.slots.iter().enumerate() {
            found |= u32::from(word >> 48 == tag) << (nth as u32 * MASK_BITS);
        }
        found
    }

    /// Slots that can hold elements: all, or all but the one that leads on.
    #[inline]
    fn room(&self) -> usize {
        SLOTS - usize::from(self.slots[SLOTS - 1] & CHILD != 0)
    }
}

/// Where an element was found. Valid until the table changes.
#[derive(Clone, Copy)]
pub(super) struct Place(NonNull<u64>);

impl Place {
    #[inline]
    pub(super) fn word(self) -> u64 {
        // SAFETY: a place points into a bucket of a table that is borrowed while the place is used.
        unsafe { self.0.read() }
    }

    #[inline]
    pub(super) fn address(self) -> NonNull<u8> {
        address(self.word())
    }

    #[inline]
    pub(super) fn set(self, word: u64) {
        // SAFETY: as for `word`; whoever changes it holds the table mutably.
        unsafe { self.0.write(word) }
    }
}

/// Fetches the bucket of a hash, by what [`Raw::hint`] said.
#[inline]
pub(super) fn prefetch_by_hint(hint: usize, hash: u64) {
    sys::prefetch(bucket_by_hint(hint, hash));
}

/// Where the bucket of a hash is, by what [`Raw::hint`] said when it was no lie.
#[inline]
fn bucket_by_hint(hint: usize, hash: u64) -> *const Bucket {
    let mask = (1 << (hint % size_of::<Bucket>())) - 1;
    let buckets: *const Bucket = std::ptr::without_provenance(hint & !(size_of::<Bucket>() - 1));
    buckets.wrapping_add(hash as usize & mask)
}

/// An array of buckets with their overflow chains and expiry summaries.
pub(super) struct Raw {
    buckets: NonNull<Bucket>,
    count: usize,
    overflow: usize,
    /// Buckets of the longest chain there ever was.
    depth: usize,
    /// Earliest expiry in Unix seconds of each group of buckets; empty until something expires.
    due: Vec<u32>,
}

impl Raw {
    pub(super) const fn empty() -> Raw {
        Raw { buckets: NonNull::dangling(), count: 0, overflow: 0, depth: 1, due: Vec::new() }
    }

    /// `count` empty buckets, a power of two. Large arrays arrive as untouched zero pages.
    pub(super) fn with_buckets(count: usize) -> Raw {
        assert!(count.is_power_of_two());
        let layout = Layout::array::<Bucket>(count).expect("a table fits the address space");
        let size = layout.size();
        let buckets = if is_mapped(size) {
            sys::map(size, MAP_ALIGN.min(size)).unwrap_or_else(|| handle_alloc_error(layout))
        } else {
            let memory = slab::alloc(size);
            // SAFETY: the allocation is new and has this size.
            unsafe { memory.write_bytes(0, size) };
            memory
        };
        Raw { buckets: buckets.cast(), count, overflow: 0, depth: 1, due: Vec::new() }
    }

    #[inline]
    pub(super) fn buckets(&self) -> usize {
        self.count
    }

    pub(super) fn memory(&self) -> usize {
        let array = self.count * size_of::<Bucket>();
        let array = if is_mapped(array) || array == 0 { array } else { slab::rounded(array) };
        array + self.overflow * size_of::<Bucket>() + self.due.capacity() * size_of::<u32>()
    }

    /// The bucket of a hash. Zero for an empty table, which has none.
    #[inline]
    pub(super) fn index(&self, hash: u64) -> usize {
        hash as usize & self.count.wrapping_sub(1)
    }

    #[inline]
    fn bucket(&self, index: usize) -> NonNull<Bucket> {
        debug_assert!(index < self.count);
        // SAFETY: all callers mask or bound the index by `count`.
        unsafe { self.buckets.add(index) }
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(NonNull<u8>) -> bool) -> Option<Place> {
        if self.count == 0 {
            return None;
        }
        let tag = hash::tag(hash);
        let mut bucket = self.bucket(self.index(hash));
        loop {
            // SAFETY: buckets live as long as the table, which is borrowed.
            let line = unsafe { bucket.as_ref() };
            let mut candidates = line.slots_tagged(tag);
            while candidates != 0 {
                let nth = (candidates.trailing_zeros() / MASK_BITS) as usize;
                candidates &= candidates - 1;
                let word = line.slots[nth];
                if is_element(word) && is_it(address(word)) {
                    return Some(Place(slot_of(bucket, nth)));
                }
            }
            bucket = line.child()?;
        }
    }

    /// Fetches the bucket of a hash into the cache.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        // An empty table has no bucket; its dangling address does no harm here, as nothing follows it.
        sys::prefetch(self.buckets.as_ptr().wrapping_add(self.index(hash)));
    }

    /// The address of the buckets, and in the bits that are zero there the binary logarithm of how many there are.
    pub(super) fn hint(&self) -> usize {
        if self.count == 0 { 0 } else { self.buckets.addr().get() | self.count.trailing_zeros() as usize }
    }

    /// Fetches the elements that may be those of a hash into the cache, as far as the first bucket knows them.
    #[inline]
    pub(super) fn prefetch_candidates(&self, hash: u64) {
        if self.count == 0 {
            return;
        }
        // SAFETY: buckets live as long as the table, which is borrowed.
        let line = unsafe { self.bucket(self.index(hash)).as_ref() };
        let mut candidates = line.slots_tagged(hash::tag(hash));
        while candidates != 0 {
            let nth = (candidates.trailing_zeros() / MASK_BITS) as usize;
            candidates &= candidates - 1;
            let start = (line.slots[nth] & ADDRESS) as usize as *const u8;
            sys::prefetch(start);
            super::prefetch_rest(start);
        }
        if line.slots[SLOTS - 1] & CHILD != 0 {
            sys::prefetch((line.slots[SLOTS - 1] & ADDRESS) as usize as *const u8);
        }
    }

    /// The first element of the chain of a hash that may be its own.
    #[inline]
    pub(super) fn candidate(&self, hash: u64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let mut bucket = self.bucket(self.index(hash));
        loop {
            // SAFETY: buckets live as long as the table, which is borrowed.
            let line = unsafe { bucket.as_ref() };
            let candidates = line.slots_tagged(hash::tag(hash));
            let first = line.slots.get((candidates.trailing_zeros() / MASK_BITS) as usize);
            match first.filter(|word| is_element(**word)) {
                Some(word) => return Some(*word),
                None => bucket = line.child()?,
            }
        }
    }

    /// Appends an element to its chain.
    pub(super) fn push(&mut self, hash: u64, element: NonNull<u8>, flags: u64) {
        let new = word(hash, element, flags);
        let mut bucket = self.bucket(self.index(hash));
        let mut depth = 1;
        loop {
            // SAFETY: buckets live as long as the table, which is borrowed mutably.
            let line = unsafe { bucket.as_mut() };
            if let Some(child) = line.child() {
                bucket = child;
                depth += 1;
                continue;
            }
            if let Some(free) = line.slots.iter_mut().find(|word| **word == 0) {
                *free = new;
                return;
            }
            let mut overflow = Raw::new_bucket();
            self.overflow += 1;
            self.depth = self.depth.max(depth + 1);
            // SAFETY: the bucket was just allocated, zeroed, and is nobody else's.
            let next = unsafe { overflow.as_mut() };
            next.slots[0] = line.slots[SLOTS - 1];
            next.slots[1] = new;
            line.slots[SLOTS - 1] = overflow.as_ptr() as u64 | CHILD;
            return;
        }
    }

    fn new_bucket() -> NonNull<Bucket> {
        let bucket = slab::alloc(size_of::<Bucket>()).cast::<Bucket>();
        // SAFETY: the allocation is new, as large as a bucket, and as aligned, being a cache line.
        unsafe { bucket.write(Bucket { slots: [0; SLOTS] }) };
        bucket
    }

    fn free_bucket(&mut self, bucket: NonNull<Bucket>) {
        self.overflow -= 1;
        // SAFETY: overflow buckets come from `new_bucket`, and the caller has unlinked this one.
        unsafe { slab::free(bucket.cast(), size_of::<Bucket>()) }
    }

    /// Empties the slot at `place` in the chain of `hash`; the chain's last element moves into it.
    pub(super) fn remove(&mut self, hash: u64, place: Place) {
        let head = self.bucket(self.index(hash));
        let mut parent: Option<NonNull<Bucket>> = None;
        let mut last = head;
        // SAFETY: buckets of the chain live as long as the table, which is borrowed mutably.
        while let Some(child) = unsafe { last.as_ref() }.child() {
            parent = Some(last);
            last = child;
        }
        // SAFETY: as above.
        let used = unsafe { last.as_ref() }.slots.iter().take_while(|word| **word != 0).count();
        debug_assert!(used > 0, "the last bucket of a chain is never empty");
        let end = Place(slot_of(last, used - 1));
        let moved = end.word();
        end.set(0);
        if place.0 != end.0 {
            place.set(moved);
        }
        let Some(parent) = parent else { return };
        if used == 2 {
            // One element is left in the overflow bucket: it fits where the link was.
            Place(slot_of(parent, SLOTS - 1)).set(Place(slot_of(last, 0)).word());
            self.free_bucket(last);
        }
    }

    /// Hands out the words of a bucket's chain and leaves it empty.
    pub(super) fn drain_bucket(&mut self, index: usize, mut take: impl FnMut(u64)) {
        let mut bucket = self.bucket(index);
        let mut is_head = true;
        loop {
            // SAFETY: buckets live as long as the table, which is borrowed mutably.
            let line = unsafe { bucket.as_mut() };
            let child = line.child();
            let room = line.room();
            let words = std::mem::take(&mut line.slots);
            for word in words.into_iter().take(room).filter(|word| *word != 0) {
                take(word);
            }
            if !is_head {
                self.free_bucket(bucket);
            }
            let Some(child) = child else { return };
            bucket = child;
            is_head = false;
        }
    }

    /// Visits the words of a bucket's chain.
    #[inline]
    pub(super) fn for_each(&self, index: usize, mut visit: impl FnMut(u64)) {
        let mut bucket = self.bucket(index);
        loop {
            // SAFETY: buckets live as long as the table, which is borrowed.
            let line = unsafe { bucket.as_ref() };
            for word in line.slots.iter().take(line.room()).filter(|word| **word != 0) {
                visit(*word);
            }
            let Some(child) = line.child() else { return };
            bucket = child;
        }
    }

    /// Replaces those words of a bucket's chain for which `with` returns another one, for the same element.
    pub(super) fn replace_each(&mut self, index: usize, mut with: impl FnMut(u64) -> Option<u64>) {
        let mut bucket = self.bucket(index);
        loop {
            // SAFETY: buckets live as long as the table, which is borrowed mutably.
            let line = unsafe { bucket.as_mut() };
            let (room, child) = (line.room(), line.child());
            for word in line.slots.iter_mut().take(room).filter(|word| **word != 0) {
                *word = with(*word).unwrap_or(*word);
            }
            let Some(child) = child else { return };
            bucket = child;
        }
    }

    /// Gives back the memory of the drained buckets before `index`, if that ends a piece of them.
    pub(super) fn release_drained(&mut self, index: usize) {
        let bytes = index * size_of::<Bucket>();
        if !is_mapped(self.count * size_of::<Bucket>())
            || !bytes.is_multiple_of(RELEASED_AT_ONCE)
            || bytes == 0
        {
            return;
        }
        let piece = self.bucket(index - RELEASED_AT_ONCE / size_of::<Bucket>());
        // SAFETY: the buckets are mapped and drained, so all zero, as they will be read afterwards.
        unsafe { sys::discard(piece.cast(), RELEASED_AT_ONCE) };
    }

    /// How many elements a bucket's chain holds.
    pub(super) fn chain_len(&self, index: usize) -> usize {
        let mut len = 0;
        self.for_each(index, |_| len += 1);
        len
    }

    /// The `nth` word of a bucket's chain, if it is that long.
    pub(super) fn nth(&self, index: usize, mut nth: usize) -> Option<u64> {
        let mut bucket = self.bucket(index);
        loop {
            // SAFETY: buckets live as long as the table, which is borrowed.
            let line = unsafe { bucket.as_ref() };
            let room = line.room();
            if nth < room {
                return Some(line.slots[nth]).filter(|word| *word != 0);
            }
            nth -= room;
            bucket = line.child()?;
        }
    }

    /// An upper bound for [`Raw::chain_len`] of any bucket.
    pub(super) fn longest_chain(&self) -> usize {
        // All buckets of a chain but the last give one slot to the link.
        self.depth * (SLOTS - 1) + 1
    }

    /// Notes that something in the bucket of `hash` expires at `at_ms`.
    pub(super) fn note_expiry(&mut self, hash: u64, at_ms: u64) {
        if self.due.is_empty() {
            self.due = vec![NEVER; self.groups()];
        }
        let group = self.index(hash) / GROUP;
        let second = u32::try_from(at_ms / 1000).unwrap_or(NEVER - 1).min(NEVER - 1);
        self.due[group] = self.due[group].min(second);
    }

    /// How many groups of buckets there are.
    pub(super) fn groups(&self) -> usize {
        self.count.div_ceil(GROUP)
    }

    /// Whether something in `group` may be due at `now_ms`.
    pub(super) fn may_be_due(&self, group: usize, now_ms: u64) -> bool {
        self.due.get(group).is_some_and(|second| *second != NEVER && u64::from(*second) * 1000 <= now_ms)
    }

    /// Replaces the summary of a group by what a visit found.
    pub(super) fn set_due(&mut self, group: usize, earliest_ms: Option<u64>) {
        self.due[group] = earliest_ms
            .map_or(NEVER, |at_ms| u32::try_from(at_ms / 1000).unwrap_or(NEVER - 1).min(NEVER - 1));
    }

    /// The buckets of a group.
    pub(super) fn group_buckets(&self, group: usize) -> std::ops::Range<usize> {
        group * GROUP..((group + 1) * GROUP).min(self.count)
    }
}

/// Whether a bucket array of `size` bytes is mapped from the system: it comes zeroed without being touched, and what is
/// drained of it goes back. Smaller ones are the slab's.
fn is_mapped(size: usize) -> bool {
    size > slab::SLOT_MAX
}

#[inline]
fn slot_of(bucket: NonNull<Bucket>, nth: usize) -> NonNull<u64> {
    debug_assert!(nth < SLOTS);
    // SAFETY: a bucket is eight words, and `nth` is below eight.
    unsafe { bucket.cast::<u64>().add(nth) }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if self.count == 0 {
            return;
        }
        if self.overflow > 0 {
            for index in 0..self.count {
                self.drain_bucket(index, |_| debug_assert!(false, "the table empties its buckets first"));
            }
        }
        let layout = Layout::array::<Bucket>(self.count).expect("it was allocated with this layout");
        let (memory, size) = (self.buckets.cast::<u8>(), layout.size());
        if is_mapped(size) {
            // SAFETY: mapped by `with_buckets` with the same size.
            unsafe { sys::unmap(memory, size, MAP_ALIGN.min(size)) }
        } else {
            // SAFETY: allocated by `with_buckets` with the same size.
            unsafe { slab::free(memory, size) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_leads_to_the_bucket_of_every_hash() {
        assert_eq!(Raw::empty().hint(), 0);
        for buckets in [1, 2, 1024, 1 << 16] {
            let raw = Raw::with_buckets(buckets);
            for hash in [0, 1, 777, 0x0123_4567_89ab_cdef, u64::MAX] {
                let bucket = raw.bucket(raw.index(hash)).as_ptr().cast_const();
                assert_eq!(
                    bucket_by_hint(raw.hint(), hash).addr(),
                    bucket.addr(),
                    "{buckets} buckets, {hash:x}"
                );
            }
        }
    }
}
