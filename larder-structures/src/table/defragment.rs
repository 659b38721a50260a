//! Moving elements out of sparse pages of the slab.

use super::raw;
use super::{Element, Table};
use crate::slab;

impl<E: Element> Table<E> {
    /// Moves elements of up to `buckets` buckets, from bucket `from` on (0 at first), to denser pages where that helps;
    /// see [`crate::slab`]. Calls `moved` with the bytes of each that moves. Returns the bucket to go on from, 0 when the
    /// walk is complete. A walk may miss elements that a resize moves meanwhile; the next one meets them.
    pub fn defragment(&mut self, from: usize, buckets: usize, mut moved: impl FnMut(usize)) -> usize {
        let mut relocate = |word: u64| {
            let address = raw::address(word);
            // SAFETY: words in slots are addresses of elements that this table owns and has borrowed mutably.
            let size = E::movable_size(unsafe { E::borrow(address) })?;
            // SAFETY: the element was allocated with this size, and only its slot, which the caller changes, points at it.
            let new = unsafe { slab::relocate(address, size) }?;
            moved(slab::rounded(size));
            Some(raw::with_address(word, new))
        };
        let old_buckets = self.old.as_ref().map_or(0, |(old, _)| old.buckets());
        let all = old_buckets + self.main.buckets();
        let end = from.saturating_add(buckets).min(all);
        for index in from.min(end)..end {
            match &mut self.old {
                Some((old, _)) if index < old_buckets => old.replace_each(index, &mut relocate),
                _ => self.main.replace_each(index - old_buckets, &mut relocate),
            }
        }
        if end == all { 0 } else { end }
    }
}
