//! Building a sorted set from members in any order.

use super::element::{Handle, Scored, rank_of};
use super::{SortedSet, order_of};
use crate::hash;
use crate::ranked_tree::RankedTree;
use crate::sys::breathe;
use crate::table::{Element, Table};

/// Gathers members, each with the score that its occurrences add up to, and orders them once.
#[derive(Default)]
pub struct Builder {
    members: Table<Scored>,
    bytes: usize,
}

impl Builder {
    /// Without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Without members, but with room for so many at once.
    pub fn with_room(members: usize) -> Self {
        Builder { members: Table::with_room(members), bytes: 0 }
    }

    /// Number of members so far.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member yet.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds `member`, or gives it the score that `merge` makes of the one it has and this one. Returns whether it is new.
    /// O(1).
    #[inline]
    pub fn add(&mut self, member: &[u8], score: f64, merge: impl FnOnce(f64, f64) -> f64) -> bool {
        let hash = hash::of(member);
        if let Some(mut slot) = self.members.slot(hash, member) {
            self.bytes -= slot.get().memory();
            slot.modify(|element| {
                let merged = merge(element.score(), score);
                (element.with_score(merged), ())
            });
            self.bytes += slot.get().memory();
            return false;
        }
        let element = Scored::new(member, score);
        self.bytes += element.as_ref().memory();
        self.members.insert_hashed(hash, element);
        true
    }

    /// The sorted set. O(n log n) in integers: only members of equal score are compared by their bytes.
    pub fn finish(self) -> SortedSet {
        let handle_of = |it: <Scored as Element>::Ref<'_>| {
            breathe(1);
            (rank_of(it.score()), it.handle())
        };
        let mut handles: Vec<(i64, Handle)> = self.members.iter().map(handle_of).collect();
        // The table is not changed until the handles are in the tree.
        handles.sort_unstable_by(|(rank_a, a), (rank_b, b)| {
            breathe(1);
            rank_a.cmp(rank_b).then_with(|| order_of(a).member().cmp(order_of(b).member()))
        });
        let order = RankedTree::from_sorted(handles.into_iter().map(|(_, handle)| {
            breathe(1);
            handle
        }));
        SortedSet { members: self.members, order, bytes: self.bytes }
    }
}
