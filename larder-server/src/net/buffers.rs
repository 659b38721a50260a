//! Buffers that connections borrow while they have something to hold.
//!
//! An idle connection holds no buffer at all. When its socket becomes readable it takes one from its thread's pool, and
//! gives it back when everything in it was executed, or sent. So memory follows the number of connections that are in
//! the middle of something, and the buffers in use stay warm in the cache, because the pool is a stack.

/// Bytes of an ordinary buffer.
pub(crate) const NARROW: usize = 16 * 1024;
/// Bytes of the buffer of a connection that sends pipelines.
pub(crate) const WIDE: usize = 64 * 1024;
/// A buffer that has grown beyond this is not kept.
const WIDE_MAX: usize = 2 * WIDE;
/// Buffers kept for later of each kind.
const KEPT_MAX: usize = 64;

/// The spare buffers of one thread.
#[derive(Default)]
pub(crate) struct Pool {
    narrow: Vec<Vec<u8>>,
    wide: Vec<Vec<u8>>,
}

impl Pool {
    /// An empty buffer of at least `NARROW`, or `WIDE`, bytes.
    pub(crate) fn take(&mut self, is_wide: bool) -> Vec<u8> {
        let (kept, capacity) = if is_wide { (&mut self.wide, WIDE) } else { (&mut self.narrow, NARROW) };
        kept.pop().unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    /// Takes a buffer back. One that has grown beyond what is useful to others is freed.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let kept = match buffer.capacity() {
            NARROW..WIDE => &mut self.narrow,
            WIDE..=WIDE_MAX => &mut self.wide,
            _ => return,
        };
        if kept.len() < KEPT_MAX {
            buffer.clear();
            kept.push(buffer);
        }
    }
}
