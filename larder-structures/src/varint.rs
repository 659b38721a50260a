//! Lengths in front of bytes: seven bits a byte, the lowest first, the top bit set on all but the last.

/// How many bytes `value` takes.
#[inline]
pub(crate) const fn len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5 + long_tail(value),
    }
}

const fn long_tail(value: usize) -> usize {
    let mut rest = value >> 35;
    let mut extra = 0;
    while rest > 0 {
        rest >>= 7;
        extra += 1;
    }
    extra
}

/// Writes `value` at `to` and returns the address behind it.
///
/// # Safety
/// `len(value)` bytes at `to` are writable.
#[inline]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "one layout, written or read as a whole")]
pub(crate) unsafe fn write(mut to: *mut u8, mut value: usize) -> *mut u8 {
    while value >= 0x80 {
        // SAFETY: the caller vouches for `len(value)` bytes; this loop writes one less.
        unsafe {
            to.write(value as u8 | 0x80);
            to = to.add(1);
        }
        value >>= 7;
    }
    // SAFETY: the last of the `len(value)` bytes.
    unsafe {
        to.write(value as u8);
        to.add(1)
    }
}

/// Reads what [`write`] wrote at `from`, and returns the address behind it.
///
/// # Safety
/// `from` points at a varint written by `write`.
#[inline]
pub(crate) unsafe fn read(mut from: *const u8) -> (usize, *const u8) {
    // SAFETY: a varint has at least one byte.
    let first = unsafe { from.read() };
    // SAFETY: one behind a byte of the same allocation.
    from = unsafe { from.add(1) };
    if first < 0x80 {
        return (usize::from(first), from);
    }
    let mut value = usize::from(first & 0x7f);
    let mut shift = 7;
    loop {
        // SAFETY: the byte before had its top bit set, so another one follows.
        let byte = unsafe { from.read() };
        // SAFETY: as above.
        from = unsafe { from.add(1) };
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (value, from);
        }
        shift += 7;
    }
}
