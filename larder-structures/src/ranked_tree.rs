//! Ranked tree: a B+tree of small handles that answers "which is the n-th" and "the how-manieth is this" in O(log n).
//!
//! It is the order of a sorted set. Scores and members live elsewhere, in allocations shared with the table that finds a
//! member by name; the tree holds one handle per member. Items are ordered by a key, a number that the item knows
//! ([`Item::key`]), and where keys are equal by what closures say, so that the order is compiled in.
//!
//! **Shape.** Leaves are arrays of up to [`LEAF_MAX`] handles; inner nodes have up to [`INNER_MAX`] children and keep for
//! each its first handle with its key (to steer a search without touching the child or what the handle points at) and the
//! number of handles below it (to turn places into ranks and back). All leaves are at one depth.
//!
//! **Searching.** Looking behind a handle is, in a big set, a cache miss that costs more than the rest of a search. So the
//! way down compares the keys beside the handles, and a leaf keeps with each handle a hint at its key (see `leaf`), in
//! bits that an address leaves free. What remains are the items of equal keys, whose members have to be compared. In a
//! big tree those, and the children of a node, are searched in two rounds of some ten comparisons that do not depend on
//! one another (every eleventh entry, then those between two of them) instead of by bisection, so that the misses of a
//! round overlap.
//!
//! **Filling.** Memory is the point, so a full node first evens out with a neighbour, and only when that is full as well
//! do the two become three (the B*-tree's rule; Knuth, TAOCP 3, 6.2.4): after random insertion nodes are above 80 % full
//! instead of 69 %. A node that is full because items are being appended (or prepended) is left full and a new one begun
//! beside it, so ascending insertion packs leaves completely. On removal a node less than 3/8 full merges or evens out
//! with a neighbour, except that one being emptied from the outer end is left alone until it is empty, so `pop_first` in
//! a loop does not shuffle. Hence there is no lower bound for a single node; for nodes on average half is what remains.
//!
//! **Cost.** a handle takes about 10 bytes after scattered insertion, 8.6 after ascending. Nodes are separate
//! allocations and nothing is ever copied as a whole, so the longest step is a few moves of one kilobyte.
//!
//! **Limits.** No duplicates: an item equal to one present is refused. Handles are copied, so who frees what a handle
//! points to, or changes its key, must take it out first, and nothing here stays behind: after removal no copy is left in an inner node.

mod leaf;
mod node;
mod range;

use std::cmp::Ordering;

pub use leaf::LEAF_MAX;
use leaf::Leaf;
pub use node::INNER_MAX;
use node::{AtRank, Child, Counts, Inner, Node};
pub use range::Range;

/// Items from which on a node is searched in two wide rounds instead of by bisection; see "Searching" above.
const WIDE_SEARCH_FROM: usize = if cfg!(test) { 200 } else { 8192 };

/// A handle that a tree can hold.
pub trait Item: Copy {
    /// The handle as a number below 2^48.
    fn bits(self) -> u64;
    /// The handle of these bits.
    fn from_bits(bits: u64) -> Self;
    /// What the item is ordered by first. It does not change while the item is in a tree.
    fn key(self) -> i64;
}

/// An ordered set of handles with ranks. See the module for what it stores and what it leaves to the caller.
///
/// Places are named by a key and a closure `tie`, which answers how a given item of that key compares to what is looked
/// for, as in [`slice::binary_search_by`]. All closures must agree with one order.
#[derive(Debug)]
pub struct RankedTree<T> {
    root: Node<T>,
    len: usize,
    counts: Counts,
}

/// What is looked for.
struct Target<F> {
    key: i64,
    tie: F,
    /// Whether the tree is searched in wide rounds.
    wide: bool,
}

impl<F> Target<F> {
    /// How an item of key `key` compares to what is looked for.
    #[inline]
    fn order<T>(&self, key: i64, item: &T) -> Ordering
    where
        F: Fn(&T) -> Ordering,
    {
        key.cmp(&self.key).then_with(|| (self.tie)(item))
    }
}

/// The number of leading entries for which `goes_on` holds.
#[inline]
fn partition<X>(entries: &[X], wide: bool, goes_on: impl Fn(&X) -> bool) -> usize {
    if !wide {
        return entries.partition_point(goes_on);
    }
    let stride = entries.len().isqrt() + 1;
    let passed = entries.iter().skip(stride - 1).step_by(stride).filter(|entry| goes_on(entry)).count();
    let from = passed * stride;
    let to = (from + stride - 1).min(entries.len());
    from + entries[from..to].iter().filter(|entry| goes_on(entry)).count()
}

impl<T: Item> Default for RankedTree<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Item> RankedTree<T> {
    /// An empty tree; allocates nothing.
    pub fn new() -> Self {
        Self { root: Node::Leaf(Leaf::new()), len: 0, counts: Counts { leaves: 1, inners: 0 } }
    }

    /// A tree of items that come in strictly ascending order, with full leaves. The order is not checked.
    pub fn from_sorted(items: impl IntoIterator<Item = T>) -> Self {
        let mut tree = Self::new();
        items.into_iter().for_each(|item| tree.insert(item, |_| Ordering::Less));
        tree
    }

    /// Number of items.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no item.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes held by the nodes. O(1).
    #[inline]
    pub fn bytes(&self) -> usize {
        match &self.root {
            Node::Leaf(items) => items.capacity() * size_of::<u64>(),
            Node::Inner(_) => self.counts.bytes::<T>(),
        }
    }

    /// Inserts `item`; an equal one must not be present. O(log n).
    pub fn insert(&mut self, item: T, tie: impl Fn(&T) -> Ordering) {
        if self.root.is_full() {
            self.raise_root();
        }
        let target = self.target(item.key(), tie);
        self.len += 1;
        let mut node = &mut self.root;
        // Nodes that are full are dealt with on the way down, so that a parent always has room for one more child.
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let (Ok(place) | Err(place)) = leaf.search(target.key, target.wide, &target.tie);
                    leaf.insert(place, item, target.key);
                    return;
                }
                Node::Inner(inner) => {
                    let index = inner.child_for_insertion(item, &target, &mut self.counts);
                    let child = &mut inner.0[index];
                    child.count += 1;
                    if index == 0 && target.order(child.key, &child.first).is_gt() {
                        (child.first, child.key) = (item, target.key);
                    }
                    node = &mut child.node;
                }
            }
        }
    }

    /// The rank of the item of this key for which `tie` says equal, or the rank it would have. O(log n).
    pub fn search(&self, key: i64, tie: impl Fn(&T) -> Ordering) -> Result<usize, usize> {
        let target = self.target(key, tie);
        let (mut node, mut before) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let place = leaf.search(key, target.wide, &target.tie);
                    return place.map(|place| before + place).map_err(|place| before + place);
                }
                Node::Inner(inner) => {
                    let index = node::child_of_target(&inner.0, &target);
                    before += inner.0[..index].iter().map(|child| child.count).sum::<usize>();
                    node = &inner.0[index].node;
                }
            }
        }
    }

    /// The number of leading items that are smaller than `key` or for which, having that key, `tie` says less; it must say
    /// so for none behind them. O(log n).
    pub fn lower_bound(&self, key: i64, tie: impl Fn(&T) -> Ordering) -> usize {
        let (Ok(rank) | Err(rank)) = self.search(key, tie);
        rank
    }

    #[inline]
    fn target<F: Fn(&T) -> Ordering>(&self, key: i64, tie: F) -> Target<F> {
        Target { key, tie, wide: self.len >= WIDE_SEARCH_FROM }
    }

    /// The item of rank `rank`. O(log n).
    pub fn get(&self, rank: usize) -> Option<T> {
        if rank >= self.len {
            return None;
        }
        let (words, place) = self.leaf_at(rank);
        words.get(place).map(|&word| leaf::item_of(word))
    }

    /// The smallest item.
    pub fn first(&self) -> Option<T> {
        self.get(0)
    }

    /// The largest item.
    pub fn last(&self) -> Option<T> {
        self.get(self.len.checked_sub(1)?)
    }

    /// Removes and returns the item of this key for which `tie` says equal. O(log n).
    pub fn remove(&mut self, key: i64, tie: impl Fn(&T) -> Ordering) -> Option<T> {
        let mut target = self.target(key, tie);
        self.remove_aimed(&mut target)
    }

    /// Removes and returns the item of rank `rank`. O(log n), without comparisons.
    pub fn remove_at(&mut self, rank: usize) -> Option<T> {
        if rank >= self.len {
            return None;
        }
        self.remove_aimed(&mut AtRank(rank))
    }

    fn remove_aimed(&mut self, aim: &mut impl node::Aim<T>) -> Option<T> {
        let removed = self.root.remove(aim, &mut self.counts)?;
        self.len -= 1;
        self.lower_root();
        Some(removed.item)
    }

    /// Removes and returns the smallest item. O(log n), without comparisons.
    pub fn pop_first(&mut self) -> Option<T> {
        self.remove_at(0)
    }

    /// Removes and returns the largest item. O(log n), without comparisons.
    pub fn pop_last(&mut self) -> Option<T> {
        self.remove_at(self.len.checked_sub(1)?)
    }

    /// Removes up to `count` items from rank `start` on and hands each, in order, to `taken`. O(log n + count). A caller who
    /// must bound the time of a step bounds `count`.
    pub fn remove_range(&mut self, start: usize, count: usize, mut taken: impl FnMut(T)) -> usize {
        let end = start.saturating_add(count).min(self.len);
        if start >= end {
            return 0;
        }
        self.len -= end - start;
        self.root.remove_range(start, end, &mut taken, &mut self.counts);
        self.lower_root();
        end - start
    }

    /// The items of up to `count` ranks from `start` on, in order; double-ended. O(log n) to begin and per leaf.
    pub fn range(&self, start: usize, count: usize) -> Range<'_, T> {
        let start = start.min(self.len);
        Range::new(self, start, start.saturating_add(count).min(self.len))
    }

    /// All items in order; double-ended.
    pub fn iter(&self) -> Range<'_, T> {
        self.range(0, self.len)
    }

    /// The leaf that holds the item of rank `rank < len`, and the item's place in it.
    fn leaf_at(&self, rank: usize) -> (&[u64], usize) {
        let (mut node, mut place) = (&self.root, rank);
        loop {
            match node {
                Node::Leaf(leaf) => return (leaf.words(), place),
                Node::Inner(inner) => {
                    let index;
                    (index, place) = node::child_of_item(&inner.0, place);
                    node = &inner.0[index].node;
                }
            }
        }
    }

    /// Puts a new root above the present one.
    fn raise_root(&mut self) {
        let root = std::mem::replace(&mut self.root, Node::Leaf(Leaf::new()));
        let mut inner = Inner::new(&mut self.counts);
        inner.0.push(Child::of(root));
        self.root = Node::Inner(Box::new(inner));
    }

    /// Takes away roots that have a single child, or none.
    fn lower_root(&mut self) {
        while let Node::Inner(inner) = &mut self.root {
            if inner.0.len() > 1 {
                return;
            }
            self.counts.inners -= 1;
            self.root = match inner.0.pop() {
                Some(child) => child.node,
                None => {
                    self.counts.leaves += 1;
                    Node::Leaf(Leaf::new())
                }
            };
        }
    }

    /// Panics unless order, counts, first handles, depth, node sizes and the account of memory are right. O(n), for tests.
    pub fn check_invariants(&self, order: &impl Fn(&T, &T) -> Ordering) {
        let mut seen = Counts::default();
        self.root.check(true, order, &mut seen);
        assert_eq!(seen, self.counts);
        assert_eq!(self.root.count(), self.len);
        let items: Vec<T> = self.iter().collect();
        assert!(items.is_sorted_by(|a, b| order(a, b) == Ordering::Less));
        assert_eq!(items.len(), self.len);
    }
}
