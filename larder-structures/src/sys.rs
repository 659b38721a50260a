//! What the processor and the system offer beyond the standard library.

use std::ptr::NonNull;

/// What mappings are multiples of. The system's pages may be larger, which it then rounds to by itself.
pub(crate) const PAGE: usize = 4096;

/// Asks the processor to fetch the cache line of `address`, which somebody will soon read.
///
/// The address is not followed: it may be of freed memory, or no address at all. Useful some 100 ns ahead, on lines
/// that are probably not in any cache; elsewhere it costs a nanosecond for nothing.
#[inline]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program could see, and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast::<i8>()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _not_fetched = address;
}

/// Maps `size` bytes of zeroed memory that begin on a multiple of `align`, a power of two. Nothing of it takes memory
/// before it is touched. `None` when the system has no more.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn map(size: usize, align: usize) -> Option<NonNull<u8>> {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let align = align.max(PAGE);
    let padded = size.checked_add(align - PAGE)?;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new private mapping at an address of the system's choice touches nobody's memory.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), padded, access, MapFlags::PRIVATE) }.ok()?;
    let start = start.cast::<u8>();
    let before = start.align_offset(align);
    let behind = padded - size - before;
    let memory = start.wrapping_add(before);
    for (part, len) in [(start, before), (memory.wrapping_add(size), behind)] {
        if len > 0 {
            // SAFETY: both ends of the new mapping are nobody's, and multiples of a page.
            let _kept = unsafe { rustix::mm::munmap(part.cast(), len) };
        }
    }
    NonNull::new(memory)
}

/// Gives back what [`map`] returned for the same size and alignment.
///
/// # Safety
/// Nobody uses the memory any more.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) unsafe fn unmap(memory: NonNull<u8>, size: usize, _align: usize) {
    // SAFETY: the caller owns the mapping. That it fails, for want of memory to split a mapping, only keeps it.
    let _kept = unsafe { rustix::mm::munmap(memory.as_ptr().cast(), size) };
}

/// Gives back the memory under whole pages of a mapping; they read as zeroes afterwards, and take memory again once
/// they are written to. May do nothing but clear them.
///
/// # Safety
/// The pages lie in what [`map`] returned, and nobody uses what they hold.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) unsafe fn discard(memory: NonNull<u8>, size: usize) {
    use rustix::mm::{Advice, madvise};
    // SAFETY: the caller owns the pages.
    if unsafe { madvise(memory.as_ptr().cast(), size, Advice::LinuxDontNeed) }.is_err() {
        // SAFETY: as above; the mapping can be written to.
        unsafe { memory.as_ptr().write_bytes(0, size) };
    }
}

/// Says whether a mapping is to be backed by huge pages, where the system leaves that to the program.
///
/// # Safety
/// The memory lies in what [`map`] returned.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) unsafe fn advise_huge(memory: NonNull<u8>, size: usize, wanted: bool) {
    use rustix::mm::{Advice, madvise};
    let advice = if wanted { Advice::LinuxHugepage } else { Advice::LinuxNoHugepage };
    // SAFETY: the advice changes nothing that a program could see. Kernels without huge pages refuse it.
    let _refused = unsafe { madvise(memory.as_ptr().cast(), size, advice) };
}

/// The general allocator in place of the system's mappings.
#[cfg(any(not(target_os = "linux"), miri))]
mod general {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::ptr::NonNull;

    pub(crate) fn map(size: usize, align: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(size, align).ok().filter(|layout| layout.size() > 0)?;
        // SAFETY: the layout is not empty.
        NonNull::new(unsafe { alloc_zeroed(layout) })
    }

    /// # Safety
    /// As for the mapping of the same name.
    pub(crate) unsafe fn unmap(memory: NonNull<u8>, size: usize, align: usize) {
        let layout = Layout::from_size_align(size, align).expect("`map` made this layout");
        // SAFETY: allocated with this layout, and not used any more.
        unsafe { dealloc(memory.as_ptr(), layout) }
    }

    /// # Safety
    /// As for the mapping of the same name.
    pub(crate) unsafe fn discard(memory: NonNull<u8>, size: usize) {
        // SAFETY: the caller owns the memory.
        unsafe { memory.as_ptr().write_bytes(0, size) };
    }

    /// # Safety
    /// As for the mapping of the same name.
    pub(crate) unsafe fn advise_huge(_memory: NonNull<u8>, _size: usize, _wanted: bool) {}
}
#[cfg(any(not(target_os = "linux"), miri))]
pub(crate) use general::{advise_huge, discard, map, unmap};
