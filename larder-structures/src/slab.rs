//! Where the memory of entries comes from.
//!
//! Entries are small, of many sizes and replaced often, so how they are allocated decides both the bytes per key and
//! how much memory is lost to fragmentation. All of them therefore pass through the functions of this module, and
//! nothing else in the project allocates an entry. Freed memory returns to the owner of its page whichever thread
//! frees it, which is why the owner is not an argument: `free` needs the address and the size, no more.
//!
//! At present the pages are the general allocator's; sizes are rounded to the 8 bytes that slots need anyway, so that
//! [`rounded`] is what an entry really costs.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;

/// Slots keep three flag bits below the address, so every entry begins on a multiple of 8.
const ALIGN: usize = 8;

/// The bytes that an allocation of `size` bytes takes.
#[inline]
pub const fn rounded(size: usize) -> usize {
    (size + (ALIGN - 1)) & !(ALIGN - 1)
}

#[inline]
fn layout(size: usize) -> Layout {
    Layout::from_size_align(rounded(size.max(1)), ALIGN).expect("an entry is far smaller than isize::MAX")
}

/// Allocates `size` bytes, uninitialised and 8-aligned.
#[inline]
pub(crate) fn alloc(size: usize) -> NonNull<u8> {
    let layout = layout(size);
    // SAFETY: the layout's size is at least 8, as `layout` rounds up from at least 1.
    let memory = unsafe { std::alloc::alloc(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Gives back what [`alloc`] returned for the same `size`.
///
/// # Safety
/// `memory` came from `alloc` with a size that rounds to the same number, and is not used afterwards.
#[inline]
pub(crate) unsafe fn free(memory: NonNull<u8>, size: usize) {
    // SAFETY: by the contract above the layout is the one the memory was allocated with.
    unsafe { std::alloc::dealloc(memory.as_ptr(), layout(size)) }
}
