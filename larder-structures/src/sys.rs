//! What the processor and the system offer beyond the standard library.

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
