//! Sorted set: members found by name in constant time and by score or place in logarithmic time.
//!
//! Each member is one allocation with its score ([`Scored`]). A hash table owns it and finds it by name; a ranked tree
//! holds its address in the order of score, then of the members' bytes, and answers everything about places: ranks,
//! ranges, counts between bounds. A member of 16 bytes and a whole score costs 24 bytes for itself, about 10 in the tree and 10 to 20 in
//! the table, nothing twice.
//!
//! **Order.** Scores are compared as integers made of their bits, in which -0 equals 0. So the order is total for
//! whatever bits arrive, and what keeps the tree in step with the table does not depend on callers keeping out values that
//! are not numbers (which they should: such a score has no meaning).
//!
//! **In step.** The tree follows addresses, so an element must be in the tree exactly while it is in the table. Every
//! method that takes an element out takes it out of the tree first; nothing in between can fail. So is a
//! change of score: out of the tree, written, and in again.
//!
//! **Bulk.** [`Builder`] gathers members in any order, merging repeated ones, and sorts once at the end: a union of a
//! million members costs a table and a sort instead of a million searches.

mod builder;
mod element;

pub use builder::Builder;
pub use element::{Scored, ScoredRef};

use crate::hash;
use crate::ranked_tree::{self, Item, RankedTree};
use crate::table::{Element as _, Keeper, Kept, Scan, Table};
use element::{Handle, rank_of};
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Range};
use std::sync::Arc;

/// A set of byte strings ordered by score. See the module.
#[derive(Default)]
pub struct SortedSet {
    members: Table<Scored>,
    order: RankedTree<Handle>,
    /// Bytes of the members' allocations.
    bytes: usize,
}

impl fmt::Debug for SortedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|it| (it.member().escape_ascii().to_string(), it.score())))
            .finish()
    }
}

impl Clone for SortedSet {
    fn clone(&self) -> Self {
        let mut copy = SortedSet { members: Table::with_room(self.len()), ..SortedSet::default() };
        let handles = self.iter().map(|it| {
            let element = Scored::new(it.member(), it.score());
            let handle = element.handle();
            copy.members.insert(element);
            handle
        });
        copy.order = RankedTree::from_sorted(handles);
        copy.bytes = self.bytes;
        copy
    }
}

/// # Safety of the handles
/// Handles in `order` are the addresses of the elements in `members`, of all of them and nothing else; elements do not
/// move while they are there. So a handle may be followed while the set is borrowed.
impl SortedSet {
    /// An empty set; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Heap bytes held. O(1).
    #[inline]
    pub fn memory(&self) -> usize {
        self.bytes + self.members.memory() + self.order.bytes()
    }

    /// Gives `member` this score and returns the one it had. A score equal to the old one (-0 and 0 are equal) changes
    /// nothing. O(log n).
    pub fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        self.update(member, |_| Some(score))
    }

    /// Gives `member` the score that `decide` makes of the one it has, if any; `None` leaves it as it is. Returns the score
    /// it had. One lookup, then as [`SortedSet::insert`].
    pub fn update(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) -> Option<f64> {
        let hash = hash::of(member);
        if let Some(mut slot) = self.members.slot(hash, member) {
            let (before, handle) = (slot.get().score(), slot.get().handle());
            if let Some(score) = decide(Some(before)).filter(|score| rank_of(before) != rank_of(*score)) {
                remove_from_order(&mut self.order, handle);
                self.bytes -= slot.get().memory();
                slot.modify(|element| (element.with_score(score), ()));
                self.bytes += slot.get().memory();
                self.order.insert(slot.get().handle(), |probe| order_of(probe).member().cmp(member));
            }
            return Some(before);
        }
        let score = decide(None)?;
        let element = Scored::new(member, score);
        self.bytes += element.as_ref().memory();
        self.order.insert(element.handle(), |probe| order_of(probe).member().cmp(member));
        self.members.insert_hashed(hash, element);
        None
    }

    /// The rank of an element that is in the set.
    fn place_of(&self, handle: Handle) -> usize {
        let place = self.order.search(handle.key(), tie_with(handle));
        place.expect("the tree has every element of the table")
    }

    /// Removes `member` and returns its score. O(log n).
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let slot = self.members.slot(hash::of(member), member)?;
        let (score, handle) = (slot.get().score(), slot.get().handle());
        self.bytes -= slot.get().memory();
        remove_from_order(&mut self.order, handle);
        slot.take();
        Some(score)
    }

    /// The score of `member`. O(1).
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.members.get(member).map(ScoredRef::score)
    }

    /// How many members stand before `member`. O(log n).
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        self.members.get(member).map(|found| self.place_of(found.handle()))
    }

    /// The member of rank `rank`. O(log n).
    pub fn get(&self, rank: usize) -> Option<ScoredRef<'_>> {
        // SAFETY: see the safety of the handles.
        self.order.get(rank).map(|handle| unsafe { handle.get() })
    }

    /// The members of these ranks, cut to what exists, in order; double-ended. O(log n) to begin.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        Iter { handles: self.order.range(ranks.start, ranks.len()), _set: PhantomData }
    }

    /// All members in order; double-ended.
    pub fn iter(&self) -> Iter<'_> {
        Iter { handles: self.order.iter(), _set: PhantomData }
    }

    /// The ranks of the members whose scores lie between the bounds. O(log n).
    pub fn ranks_by_score(&self, min: Bound<f64>, max: Bound<f64>) -> Range<usize> {
        let before = |score| self.order.lower_bound(rank_of(score), |_| Ordering::Greater);
        let until = |score| self.order.lower_bound(rank_of(score), |_| Ordering::Less);
        self.ranks_between(min, max, before, until)
    }

    /// The ranks of the members whose bytes lie between the bounds, for a set whose members all have the same score; in any
    /// other the answer means nothing. O(log n).
    pub fn ranks_by_member(&self, min: Bound<&[u8]>, max: Bound<&[u8]>) -> Range<usize> {
        let Some(key) = self.order.first().map(Handle::key) else { return 0..0 };
        let before = |member| self.order.lower_bound(key, |probe| order_of(probe).member().cmp(member));
        let until = |member| {
            let is_behind = |probe: &Handle| order_of(probe).member() > member;
            self.order
                .lower_bound(key, |probe| if is_behind(probe) { Ordering::Greater } else { Ordering::Less })
        };
        self.ranks_between(min, max, before, until)
    }

    /// The ranks between two bounds, given how many members stand before one, and how many up to and with it.
    fn ranks_between<B>(
        &self,
        min: Bound<B>,
        max: Bound<B>,
        before: impl Fn(B) -> usize,
        until: impl Fn(B) -> usize,
    ) -> Range<usize> {
        let start = match min {
            Bound::Unbounded => 0,
            Bound::Included(min) => before(min),
            Bound::Excluded(min) => until(min),
        };
        let end = match max {
            Bound::Unbounded => self.len(),
            Bound::Included(max) => until(max),
            Bound::Excluded(max) => before(max),
        };
        start..end.max(start)
    }

    /// Removes the members of these ranks, cut to what exists, handing each to `taken` in order; returns how many.
    /// O(log n + count).
    pub fn remove_ranks(&mut self, ranks: Range<usize>, mut taken: impl FnMut(Scored)) -> usize {
        let (members, bytes) = (&mut self.members, &mut self.bytes);
        self.order.remove_range(ranks.start, ranks.len(), |handle| {
            if let Some(element) = take_element(members, handle) {
                *bytes -= element.as_ref().memory();
                taken(element);
            }
        })
    }

    /// Removes and returns the member of the lowest score. O(log n).
    pub fn pop_min(&mut self) -> Option<Scored> {
        let handle = self.order.pop_first()?;
        self.release(handle)
    }

    /// Removes and returns the member of the highest score. O(log n).
    pub fn pop_max(&mut self) -> Option<Scored> {
        let handle = self.order.pop_last()?;
        self.release(handle)
    }

    /// Takes an element that has left the tree out of the table.
    fn release(&mut self, handle: Handle) -> Option<Scored> {
        let element = take_element(&mut self.members, handle)?;
        self.bytes -= element.as_ref().memory();
        Some(element)
    }

    /// One step of a walk that survives changes; see [`Table::scan`].
    pub fn scan(&self, cursor: Scan, visit: impl FnMut(ScoredRef<'_>)) -> Scan {
        self.members.scan(cursor, visit)
    }

    /// Begins a snapshot of the members as they are now; see the essay of the table's colours. None may be under way.
    pub fn begin_keeping(&mut self, keeper: Arc<Keeper>) {
        self.members.exchange_colour(Some(keeper));
    }

    /// Who keeps members for the snapshot under way, if there is one.
    #[inline]
    pub fn keeper(&self) -> Option<&Arc<Keeper>> {
        self.members.keeper()
    }

    /// One step of that snapshot's walk: puts some members that are still as they were, with their scores, behind `kept`.
    /// See [`Table::scan_old`].
    pub fn keep_some(&mut self, cursor: Scan, kept: &mut Kept) -> Scan {
        self.members.scan_old(cursor, |it| {
            Scored::keep(it, kept);
            true
        })
    }

    /// Ends it; its walk is through.
    pub fn end_keeping(&mut self) {
        self.members.end_keeping();
    }

    /// A member chosen by `random`, an unpredictable number; all are equally likely. O(log n).
    pub fn sample(&self, random: u64) -> Option<ScoredRef<'_>> {
        self.get(((u128::from(random) * self.len() as u128) >> 64) as usize)
    }

    /// Panics unless table, tree and the account of memory agree. O(n log n), for tests.
    pub fn check_invariants(&self) {
        self.members.check_invariants();
        self.order.check_invariants(&by_order);
        assert_eq!(self.order.len(), self.members.len());
        let mut bytes = 0;
        for it in self.iter() {
            let stored = self.members.get(it.member()).expect("members in the tree are in the table");
            assert!(stored.handle() == it.handle(), "the tree points at the table's element");
            bytes += it.memory();
        }
        assert_eq!(bytes, self.bytes);
    }
}

/// Takes the element at `handle`, which the tree does not point at any more, out of the table.
fn take_element(members: &mut Table<Scored>, handle: Handle) -> Option<Scored> {
    // SAFETY: the element is in the table until it is taken there, after the last use of its bytes.
    let member = unsafe { handle.get() }.member();
    members.slot(hash::of(member), member).map(|slot| slot.take())
}

/// Takes an element that is in a set, and has the score it was put there with, out of the set's tree.
fn remove_from_order(order: &mut RankedTree<Handle>, handle: Handle) {
    let removed = order.remove(handle.key(), tie_with(handle));
    debug_assert!(removed == Some(handle), "the tree has every element of the table");
}

/// How elements of the same score compare to the one at `handle`.
#[inline]
fn tie_with(handle: Handle) -> impl Fn(&Handle) -> Ordering {
    move |probe| match *probe == handle {
        true => Ordering::Equal,
        false => order_of(probe).member().cmp(order_of(&handle).member()),
    }
}

/// What the tree's closures see of a handle.
#[inline]
fn order_of(handle: &Handle) -> ScoredRef<'_> {
    // SAFETY: closures of this module run on handles in a set's tree, or about to enter it, whose elements live while the
    // set is borrowed, which outlasts the closure.
    unsafe { handle.get() }
}

/// The order of a set.
fn by_order(a: &Handle, b: &Handle) -> Ordering {
    a.key().cmp(&b.key()).then_with(|| order_of(a).member().cmp(order_of(b).member()))
}

/// Members in order, from either end. Made by [`SortedSet::range`] and [`SortedSet::iter`].
#[derive(Clone)]
pub struct Iter<'a> {
    handles: ranked_tree::Range<'a, Handle>,
    _set: PhantomData<&'a SortedSet>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = ScoredRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<ScoredRef<'a>> {
        // SAFETY: see the safety of the handles; the set is borrowed for 'a.
        self.handles.next().map(|handle| unsafe { handle.get() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.handles.size_hint()
    }

    fn nth(&mut self, n: usize) -> Option<ScoredRef<'a>> {
        // SAFETY: as above.
        self.handles.nth(n).map(|handle| unsafe { handle.get() })
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        // SAFETY: as above.
        self.handles.next_back().map(|handle| unsafe { handle.get() })
    }
}

impl ExactSizeIterator for Iter<'_> {}
