//! Ranked tree: a B+tree of small handles that answers "which is the n-th" and "the how-manieth is this" in O(log n).
//!
//! It is the order of a sorted set. Scores and members live elsewhere, in allocations shared with the table that finds a
//! member by name; the tree holds one handle per member and never looks behind it. Every operation that needs the order
//! takes a closure that does, so that the order is compiled in and costs neither a virtual call nor a stored key.
//!
//! **Shape.** Leaves are arrays of up to [`LEAF_MAX`] handles; inner nodes have up to [`INNER_MAX`] children and keep for
//! each its first handle (to steer a search without touching the child) and the number of handles below it (to turn places
//! into ranks and back). All leaves are at one depth. An operation by key is therefore a *search*, which compares, and
//! then a walk to a *rank*, which only adds counts; the nodes are in the cache by then. This keeps insertion, removal and
//! iteration free of comparisons and of each other's special cases.
//!
//! **Filling.** Memory is the point, so a full node first evens out with a neighbour, and only when that is full as well
//! do the two become three (the B*-tree's rule; Knuth, TAOCP 3, 6.2.4): after random insertion nodes are above 80 % full
//! instead of 69 %. A node that is full because items are being appended (or prepended) is left full and a new one begun
//! beside it, so ascending insertion packs leaves completely. On removal a node less than 3/8 full merges or evens out
//! with a neighbour, except that one being emptied from the outer end is left alone until it is empty, so `pop_first` in
//! a loop does not shuffle. Hence there is no lower bound for a single node; for nodes on average half is what remains.
//!
//! **Searching.** A comparison looks behind the handle, which in a big set is a cache miss, and bisection must await each
//! before it knows the next. So a node of a big tree is searched in two rounds of some ten comparisons that do not depend
//! on one another (every eleventh entry, then those between two of them): more of them, but the misses of a round overlap.
//! That is worth a quarter of the time at a million members. Small trees, which stay in the cache, are bisected.
//!
//! **Cost.** 8-byte handles take about 9.9 bytes each after scattered insertion, 8.4 after ascending. Nodes are separate
//! allocations and nothing is ever copied as a whole, so the longest step is a few moves of one kilobyte.
//!
//! **Limits.** No duplicates: an item equal to one present is refused. Handles are copied, so who frees what a handle
//! points to must take it out first, and nothing here stays behind: after removal no copy is left in an inner node.

mod node;
mod range;

use std::cmp::Ordering;

use node::{Child, Counts, Inner, Node};
pub use node::{INNER_MAX, LEAF_MAX};
pub use range::Range;

/// Items from which on a node is searched in two wide rounds instead of by bisection; see "Searching" above.
const WIDE_SEARCH_FROM: usize = if cfg!(test) { 200 } else { 8192 };

/// An ordered set of handles with ranks. See the module for what it stores and what it leaves to the caller.
///
/// Closures named `probe_order` answer how the given item compares to what is looked for, as in
/// [`slice::binary_search_by`]; all closures must agree with the one order in which items were inserted.
#[derive(Debug)]
pub struct RankedTree<T> {
    root: Node<T>,
    len: usize,
    counts: Counts,
}

impl<T: Copy> Default for RankedTree<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> RankedTree<T> {
    /// An empty tree; allocates nothing.
    pub fn new() -> Self {
        Self { root: Node::Leaf(Vec::new()), len: 0, counts: Counts { leaves: 1, inners: 0 } }
    }

    /// A tree of items that come in strictly ascending order, in O(n) and with full leaves. The order is not checked.
    pub fn from_sorted(items: impl IntoIterator<Item = T>) -> Self {
        let mut tree = Self::new();
        items.into_iter().for_each(|item| tree.insert_at(tree.len, item));
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
            Node::Leaf(items) => items.capacity() * size_of::<T>(),
            Node::Inner(_) => self.counts.bytes::<T>(),
        }
    }

    /// Inserts `item` and returns its rank, or `None` when an equal one is present. O(log n).
    pub fn insert(&mut self, item: T, order: &impl Fn(&T, &T) -> Ordering) -> Option<usize> {
        let rank = self.search(|probe| order(probe, &item)).err()?;
        self.insert_at(rank, item);
        Some(rank)
    }

    /// The rank of the item for which `probe_order` says equal, or the rank it would have. O(log n).
    pub fn search(&self, probe_order: impl Fn(&T) -> Ordering) -> Result<usize, usize> {
        let (leaf, before) = self.steer(|first| probe_order(first) != Ordering::Greater);
        let place = self.partition(leaf, |item| probe_order(item) == Ordering::Less);
        match leaf.get(place).map(probe_order) {
            Some(Ordering::Equal) => Ok(before + place),
            _ => Err(before + place),
        }
    }

    /// The rank of the item for which `probe_order` says equal. O(log n).
    #[inline]
    pub fn rank_by(&self, probe_order: impl Fn(&T) -> Ordering) -> Option<usize> {
        self.search(probe_order).ok()
    }

    /// The number of leading items for which `below` holds; it must hold for none behind them. O(log n).
    pub fn lower_bound(&self, below: impl Fn(&T) -> bool) -> usize {
        let (leaf, before) = self.steer(&below);
        before + self.partition(leaf, below)
    }

    /// The item of rank `rank`. O(log n).
    pub fn get(&self, rank: usize) -> Option<T> {
        if rank >= self.len {
            return None;
        }
        let (leaf, place) = self.leaf_at(rank);
        leaf.get(place).copied()
    }

    /// The smallest item.
    pub fn first(&self) -> Option<T> {
        self.get(0)
    }

    /// The largest item.
    pub fn last(&self) -> Option<T> {
        self.get(self.len.checked_sub(1)?)
    }

    /// Removes and returns the item for which `probe_order` says equal. O(log n).
    pub fn remove_by(&mut self, probe_order: impl Fn(&T) -> Ordering) -> Option<T> {
        let rank = self.rank_by(probe_order)?;
        self.remove_at(rank)
    }

    /// Removes and returns the item of rank `rank`. O(log n), without comparisons.
    pub fn remove_at(&mut self, rank: usize) -> Option<T> {
        if rank >= self.len {
            return None;
        }
        self.len -= 1;
        let item = self.root.remove_at(rank, &mut self.counts);
        self.lower_root();
        Some(item)
    }

    /// Removes and returns the smallest item. O(log n), without comparisons.
    pub fn pop_first(&mut self) -> Option<T> {
        self.remove_at(0)
    }

    /// Removes and returns the largest item. O(log n), without comparisons.
    pub fn pop_last(&mut self) -> Option<T> {
        self.remove_at(self.len.checked_sub(1)?)
    }

    /// Puts `item` in the place of that of rank `rank`, which is returned; it must be equal in order or at least fit there.
    /// For handles whose target moved. O(log n), without comparisons.
    pub fn replace_at(&mut self, rank: usize, item: T) -> Option<T> {
        if rank >= self.len {
            return None;
        }
        let (mut node, mut place) = (&mut self.root, rank);
        loop {
            match node {
                Node::Leaf(items) => return Some(std::mem::replace(&mut items[place], item)),
                Node::Inner(inner) => {
                    let index;
                    (index, place) = node::child_of_item(&inner.0, place);
                    let child = &mut inner.0[index];
                    if place == 0 {
                        child.first = item;
                    }
                    node = &mut child.node;
                }
            }
        }
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

    /// The leaf in which `goes_on`, true for a leading part of the items, ends; and the rank of the leaf's first item.
    #[inline]
    fn steer(&self, goes_on: impl Fn(&T) -> bool) -> (&[T], usize) {
        let (mut node, mut before) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(items) => return (items, before),
                Node::Inner(inner) => {
                    let index = self.partition(&inner.0[1..], |child| goes_on(&child.first));
                    before += inner.0[..index].iter().map(|child| child.count).sum::<usize>();
                    node = &inner.0[index].node;
                }
            }
        }
    }

    /// The number of leading entries of a node for which `goes_on` holds.
    #[inline]
    fn partition<X>(&self, entries: &[X], goes_on: impl Fn(&X) -> bool) -> usize {
        if self.len < WIDE_SEARCH_FROM {
            return entries.partition_point(goes_on);
        }
        let stride = entries.len().isqrt() + 1;
        let passed = entries.iter().skip(stride - 1).step_by(stride).filter(|entry| goes_on(entry)).count();
        let from = passed * stride;
        let to = (from + stride - 1).min(entries.len());
        from + entries[from..to].iter().filter(|entry| goes_on(entry)).count()
    }

    /// The leaf that holds the item of rank `rank < len`, and the item's place in it.
    fn leaf_at(&self, rank: usize) -> (&[T], usize) {
        let (mut node, mut place) = (&self.root, rank);
        loop {
            match node {
                Node::Leaf(items) => return (items, place),
                Node::Inner(inner) => {
                    let index;
                    (index, place) = node::child_of_item(&inner.0, place);
                    node = &inner.0[index].node;
                }
            }
        }
    }

    /// Inserts `item` so that its rank becomes `rank <= len`. Nodes that are full are dealt with on the way down, so that
    /// a parent always has room for one more child.
    fn insert_at(&mut self, rank: usize, item: T) {
        if self.root.is_full() {
            self.raise_root();
        }
        self.len += 1;
        let (mut node, mut place) = (&mut self.root, rank);
        loop {
            match node {
                Node::Leaf(items) => {
                    node::reserve_one(items);
                    items.insert(place, item);
                    return;
                }
                Node::Inner(inner) => {
                    let index;
                    (index, place) = inner.child_for_insertion(place, item, &mut self.counts);
                    let child = &mut inner.0[index];
                    child.count += 1;
                    if place == 0 {
                        child.first = item;
                    }
                    node = &mut child.node;
                }
            }
        }
    }

    /// Puts a new root above the present one.
    fn raise_root(&mut self) {
        let root = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
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
                    Node::Leaf(Vec::new())
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
