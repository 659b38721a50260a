//! Walks over a table: SCAN's cursor, a plain iterator, and the sweep for expired elements.

use super::raw::{self, Raw};
use super::{Element, Table};
use std::marker::PhantomData;

/// Marker for the cursor of [`Table::scan`]: zero begins and ends a walk.
pub type Scan = u64;

/// How far one step of [`Table::sweep`] goes.
#[derive(Debug, Clone, Copy)]
pub struct SweepLimits {
    /// Summaries looked at; four bytes each.
    pub summaries: usize,
    /// Groups visited because something in them may be due; some 50 elements each.
    pub visits: usize,
    /// How long a group is left alone after something in it may have become due, in milliseconds. A visit costs the same
    /// whether one element is due or twenty, so patience makes a sweep cheaper, and later.
    pub patience_ms: u64,
}

impl<E: Element> Table<E> {
    /// One step of a walk that survives resizes: visits one bucket (or, during a resize, one of the smaller table
    /// and those of the larger table that it corresponds to) and returns the next cursor, 0 at the end. Elements
    /// present from the first step to the last are visited at least once, others may be, and some twice.
    pub fn scan<'a>(&'a self, cursor: Scan, mut visit: impl FnMut(E::Ref<'a>)) -> Scan {
        // SAFETY: words in slots are addresses of elements that live as long as the table is borrowed.
        let mut visit_word = |word| visit(unsafe { E::borrow(raw::address(word)) });
        let Some((old, _)) = &self.old else {
            if self.main.buckets() == 0 {
                return 0;
            }
            let mask = self.main.buckets() as u64 - 1;
            self.main.for_each((cursor & mask) as usize, visit_word);
            return advance(cursor, mask);
        };
        let (small, large) =
            if old.buckets() <= self.main.buckets() { (old, &self.main) } else { (&self.main, old) };
        let small_mask = small.buckets() as u64 - 1;
        let large_mask = large.buckets() as u64 - 1;
        small.for_each((cursor & small_mask) as usize, &mut visit_word);
        let mut next = cursor;
        loop {
            large.for_each((next & large_mask) as usize, &mut visit_word);
            next = advance(next, large_mask);
            if next & (small_mask ^ large_mask) == 0 {
                return next;
            }
        }
    }

    /// All elements, in no order.
    pub fn iter(&self) -> Iter<'_, E> {
        Iter { table: self, next_bucket: 0, pending: Vec::new(), _elements: PhantomData }
    }

    /// Looks for elements that are due at `now_ms`, group by group from `group` on (`0` at first), as far as `limits`
    /// allow. `due` is called for each of them; the caller is to remove them. Returns the group to go on from, 0 when the
    /// walk is complete.
    pub fn sweep<'a>(
        &'a mut self,
        group: usize,
        limits: SweepLimits,
        now_ms: u64,
        mut due: impl FnMut(E::Ref<'a>),
    ) -> usize {
        let old_groups = self.old.as_ref().map_or(0, |(old, _)| old.groups());
        let all = old_groups + self.main.groups();
        if group >= all {
            return 0;
        }
        let end = (group + limits.summaries).min(all);
        let visit_from_ms = now_ms.saturating_sub(limits.patience_ms);
        let (mut next, mut visits) = (group, 0);
        while next < end && visits < limits.visits {
            let (table, nth) = match &mut self.old {
                Some((old, _)) if next < old_groups => (old, next),
                _ => (&mut self.main, next - old_groups),
            };
            if table.may_be_due(nth, visit_from_ms) {
                sweep_group::<E>(table, nth, now_ms, &mut due);
                visits += 1;
            }
            next += 1;
        }
        if next == all { 0 } else { next }
    }
}

fn sweep_group<'a, E: Element + 'a>(
    table: &mut Raw,
    group: usize,
    now_ms: u64,
    due: &mut impl FnMut(E::Ref<'a>),
) {
    let mut earliest: Option<u64> = None;
    for bucket in table.group_buckets(group) {
        table.for_each(bucket, |word| {
            if word & raw::EXPIRES == 0 {
                return;
            }
            // SAFETY: the element is in the table, which the caller of `sweep` keeps borrowed for 'a.
            let element = unsafe { E::borrow(raw::address(word)) };
            let Some(at_ms) = E::expires_at_ms(element) else { return };
            if at_ms <= now_ms {
                due(element);
            }
            // An element that is due stays in the summary: its removal may be put off while somebody reads it.
            earliest = Some(earliest.map_or(at_ms, |least| least.min(at_ms)));
        });
    }
    table.set_due(group, earliest);
}

/// The cursor after `cursor`, for a table of `mask + 1` buckets: adds one to the masked bits read backwards.
pub(super) fn advance(cursor: u64, mask: u64) -> u64 {
    (cursor | !mask).reverse_bits().wrapping_add(1).reverse_bits()
}

/// Iterator over all elements of a table; see [`Table::iter`].
pub struct Iter<'t, E: Element> {
    table: &'t Table<E>,
    next_bucket: usize,
    pending: Vec<u64>,
    _elements: PhantomData<E>,
}

impl<'t, E: Element> Iterator for Iter<'t, E> {
    type Item = E::Ref<'t>;

    fn next(&mut self) -> Option<E::Ref<'t>> {
        loop {
            if let Some(word) = self.pending.pop() {
                // SAFETY: the word was in a slot of the table, which stays borrowed for 't.
                return Some(unsafe { E::borrow(raw::address(word)) });
            }
            let index = self.next_bucket;
            self.next_bucket += 1;
            let pending = &mut self.pending;
            let old_buckets = self.table.old.as_ref().map_or(0, |(old, _)| old.buckets());
            match &self.table.old {
                Some((old, _)) if index < old_buckets => old.for_each(index, |word| pending.push(word)),
                _ if index - old_buckets < self.table.main.buckets() => {
                    self.table.main.for_each(index - old_buckets, |word| pending.push(word));
                }
                _ => return None,
            }
        }
    }
}
