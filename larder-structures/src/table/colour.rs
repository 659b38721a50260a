//! Colours: how a snapshot walks over a table while it changes.
//!
//! A snapshot begins by exchanging the table's colour ([`Table::exchange_colour`]). What was there keeps the other colour
//! and is *old* from then on; what is inserted later is born in the new one and does not concern the snapshot. Old
//! elements leave that state exactly once: the walk ([`Table::scan_old`]) comes to them, or whoever changes them hands
//! their present state over first. So the snapshot gets every element as it was when the colours were exchanged, once.
//! When the walk is through nothing is old, and the next snapshot may begin.
//!
//! Growing, shrinking and moving elements in memory change no colour, and the walk follows SCAN's order, which visits
//! what is there throughout at least once; a second visit finds nothing old.
//!
//! Who hands over is a matter of the element. Tables of elements that say so ([`Element::IS_KEPT`]: the large forms of
//! collections) do it themselves, to the [`Keeper`] they were given. For others the owner asks [`Slot::is_old`] before
//! it changes something, hands over what it wants, and says [`Slot::recolour`].

use super::keeper::Keeper;
use super::raw::{self, Raw};
use super::scan::{Scan, advance};
use super::{Element, Slot, Table};
use crate::sys::prefetch;
use std::sync::Arc;

impl<E: Element> Table<E> {
    /// Makes all elements that are there old; nothing may be old already. Elements that change while they are old go to
    /// `keeper`, if their kind is kept.
    pub fn exchange_colour(&mut self, keeper: Option<Arc<Keeper>>) {
        self.colour = !self.colour;
        self.keeper = keeper;
    }

    /// Where old elements go before they change, while a snapshot is on its way.
    #[inline]
    pub fn keeper(&self) -> Option<&Arc<Keeper>> {
        self.keeper.as_ref()
    }

    /// Lets go of the keeper: nothing is old any more.
    pub fn end_keeping(&mut self) {
        self.keeper = None;
    }

    /// One step of a snapshot's walk, from `cursor` on (0 at first): calls `visit` with the old elements of a bucket, or
    /// during a resize of those that correspond to one another, and gives those the new colour for which it returns true.
    /// Returns the next cursor, 0 at the end.
    pub fn scan_old(&mut self, cursor: Scan, mut visit: impl FnMut(E::Ref<'_>) -> bool) -> Scan {
        let new = raw::flags(self.colour, false);
        let mut visit_word = |word: u64| {
            let is_old = (word ^ new) & raw::COLOUR != 0;
            // SAFETY: words in slots are addresses of elements that this table owns and has borrowed.
            (is_old && visit(unsafe { E::borrow(raw::address(word)) })).then_some(word ^ raw::COLOUR)
        };
        let mut visit_bucket = |table: &mut Raw, index: usize| {
            table.for_each(index, |word| prefetch(raw::address(word).as_ptr()));
            table.replace_each(index, &mut visit_word);
        };
        let Some((old, _)) = &mut self.old else {
            if self.main.buckets() == 0 {
                return 0;
            }
            let mask = self.main.buckets() as u64 - 1;
            visit_bucket(&mut self.main, (cursor & mask) as usize);
            return advance(cursor, mask);
        };
        let (small, large) =
            if old.buckets() <= self.main.buckets() { (old, &mut self.main) } else { (&mut self.main, old) };
        let small_mask = small.buckets() as u64 - 1;
        let large_mask = large.buckets() as u64 - 1;
        visit_bucket(small, (cursor & small_mask) as usize);
        let mut next = cursor;
        loop {
            visit_bucket(large, (next & large_mask) as usize);
            next = advance(next, large_mask);
            if next & (small_mask ^ large_mask) == 0 {
                return next;
            }
        }
    }
}

impl<E: Element> Slot<'_, E> {
    /// Whether a snapshot still wants the element as it is now.
    #[inline]
    pub fn is_old(&self) -> bool {
        (self.place.word() ^ raw::flags(self.table.colour, false)) & raw::COLOUR != 0
    }

    /// Says that the snapshot has what it wants of the element.
    pub fn recolour(&mut self) {
        let word = self.place.word();
        let new = raw::flags(self.table.colour, false);
        self.place.set(word & !raw::COLOUR | new);
    }

    /// Hands an old element to the keeper before it changes.
    #[inline]
    pub(super) fn keep_if_old(&mut self) {
        if E::IS_KEPT && self.is_old() {
            self.keep();
        }
    }

    #[cold]
    fn keep(&mut self) {
        if let Some(keeper) = &self.table.keeper {
            keeper.keep(|kept| E::keep(self.get(), kept));
        }
        self.recolour();
    }
}
