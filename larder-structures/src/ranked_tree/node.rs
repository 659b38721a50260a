//! Nodes of the ranked tree: how they overflow into neighbours, split, merge and are counted.

use super::leaf::{LEAF_MAX, Leaf};
use super::{Item, Target};
use std::cmp::Ordering;

/// Children of a full inner node.
pub const INNER_MAX: usize = if cfg!(test) { 16 } else { 64 };
/// A node with fewer than `max * 3 / 8` entries looks for company after a removal.
const LOW_EIGHTHS: usize = 3;
/// Two neighbours merge, or even out to make room, when what is left free is worth it.
const HIGH_EIGHTHS: usize = 7;
// Evening out a full node with one filled this high leaves neither full.
const _: () =
    assert!(LEAF_MAX - LEAF_MAX * HIGH_EIGHTHS / 8 >= 2 && INNER_MAX - INNER_MAX * HIGH_EIGHTHS / 8 >= 2);

/// Numbers of nodes in a tree; memory follows from them, as all nodes but a lone leaf have full capacity.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) leaves: usize,
    pub(super) inners: usize,
}

impl Counts {
    /// Heap bytes of a tree with an inner root.
    pub(super) fn bytes<T>(&self) -> usize {
        self.leaves * LEAF_MAX * size_of::<u64>()
            + self.inners * (size_of::<Inner<T>>() + INNER_MAX * size_of::<Child<T>>())
    }
}

/// A leaf or an inner node. With the box, a `Child` is one cache line.
#[derive(Debug)]
pub(super) enum Node<T> {
    Leaf(Leaf<T>),
    Inner(Box<Inner<T>>),
}

/// An inner node: its children, in order.
#[derive(Debug)]
pub(super) struct Inner<T>(pub(super) Vec<Child<T>>);

/// A subtree as its parent knows it.
#[derive(Debug)]
pub(super) struct Child<T> {
    /// The smallest item below.
    pub(super) first: T,
    /// Its key.
    pub(super) key: i64,
    /// The number of items below.
    pub(super) count: usize,
    pub(super) node: Node<T>,
}

impl<T: Item> Child<T> {
    /// A child for a node that is not empty.
    pub(super) fn of(node: Node<T>) -> Self {
        let (first, key) = node.first();
        Self { first, key, count: node.count(), node }
    }

    /// Restores what is known of the node after its entries changed.
    fn refresh(&mut self) {
        (self.first, self.key) = self.node.first();
        self.count = self.node.count();
    }
}

/// The child in which `target` is, or which it belongs to: of two that touch there, the left.
#[inline]
pub(super) fn child_of_target<T: Item>(
    children: &[Child<T>],
    target: &Target<impl Fn(&T) -> Ordering>,
) -> usize {
    super::partition(&children[1..], target.wide, |child| target.order(child.key, &child.first).is_le())
}

/// The child that holds the item at `place` of a node, and the item's place below that child.
#[inline]
pub(super) fn child_of_item<T>(children: &[Child<T>], mut place: usize) -> (usize, usize) {
    for (index, child) in children.iter().enumerate() {
        if place < child.count {
            return (index, place);
        }
        place -= child.count;
    }
    unreachable!("places are below the node's count, which is the sum of its children's")
}

/// What a removal took, and whether it stood at an end of the node.
pub(super) struct Removed<T> {
    pub(super) item: T,
    was_first: bool,
    was_last: bool,
}

/// Which item of a node is to be removed.
pub(super) trait Aim<T> {
    /// The child it is in.
    fn child(&mut self, children: &[Child<T>]) -> usize;
    /// Its place in the leaf, if it is there.
    fn place(&mut self, leaf: &Leaf<T>) -> Option<usize>;
}

/// The item of a rank, which exists.
pub(super) struct AtRank(pub(super) usize);

impl<T: Item> Aim<T> for AtRank {
    fn child(&mut self, children: &[Child<T>]) -> usize {
        let index;
        (index, self.0) = child_of_item(children, self.0);
        index
    }

    fn place(&mut self, _leaf: &Leaf<T>) -> Option<usize> {
        Some(self.0)
    }
}

impl<T: Item, F: Fn(&T) -> Ordering> Aim<T> for Target<F> {
    #[inline]
    fn child(&mut self, children: &[Child<T>]) -> usize {
        child_of_target(children, self)
    }

    #[inline]
    fn place(&mut self, leaf: &Leaf<T>) -> Option<usize> {
        leaf.search(self.key, self.wide, &self.tie).ok()
    }
}

impl<T: Item> Node<T> {
    /// Number of handles or children.
    fn len(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Inner(inner) => inner.0.len(),
        }
    }

    /// Most handles or children this node may have.
    fn max(&self) -> usize {
        match self {
            Self::Leaf(_) => LEAF_MAX,
            Self::Inner(_) => INNER_MAX,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() == self.max()
    }

    fn is_low(&self) -> bool {
        self.len() < self.max() * LOW_EIGHTHS / 8
    }

    /// The smallest item below, and its key.
    fn first(&self) -> (T, i64) {
        match self {
            Self::Leaf(items) => {
                let first = items.item(0);
                (first, first.key())
            }
            Self::Inner(inner) => (inner.0[0].first, inner.0[0].key),
        }
    }

    /// The largest item below.
    fn last(&self) -> T {
        match self {
            Self::Leaf(items) => items.item(items.len() - 1),
            Self::Inner(inner) => inner.0[inner.0.len() - 1].node.last(),
        }
    }

    /// Number of items below.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Leaf(items) => items.len(),
            Self::Inner(inner) => inner.0.iter().map(|child| child.count).sum(),
        }
    }

    /// Moves the entries from `at` on into a new node.
    fn split_off(&mut self, at: usize, counts: &mut Counts) -> Self {
        match self {
            Self::Leaf(items) => {
                let mut right = new_leaf(counts);
                right.words_mut().extend(items.words_mut().drain(at..));
                items.calibrate();
                right.calibrate();
                Self::Leaf(right)
            }
            Self::Inner(inner) => {
                let mut right = Inner::new(counts);
                right.0.extend(inner.0.drain(at..));
                Self::Inner(Box::new(right))
            }
        }
    }

    /// Removes the item that `aim` leads to.
    pub(super) fn remove(&mut self, aim: &mut impl Aim<T>, counts: &mut Counts) -> Option<Removed<T>> {
        match self {
            Self::Leaf(items) => {
                let place = aim.place(items)?;
                let item = items.remove(place);
                Some(Removed { item, was_first: place == 0, was_last: place == items.len() })
            }
            Self::Inner(inner) => {
                let index = aim.child(&inner.0);
                let last = inner.0.len() - 1;
                let child = &mut inner.0[index];
                let mut removed = child.node.remove(aim, counts)?;
                child.count -= 1;
                if child.count > 0 && removed.was_first {
                    (child.first, child.key) = child.node.first();
                }
                removed.was_first &= index == 0;
                removed.was_last &= index == last;
                let outer = removed.was_first || removed.was_last;
                if child.count == 0 {
                    inner.remove_empty(index, counts);
                } else if !outer && child.node.is_low() {
                    inner.join(index, counts);
                }
                Some(removed)
            }
        }
    }

    /// Removes the items at places `from..to`, some but not necessarily all, handing them to `taken`.
    pub(super) fn remove_range(
        &mut self,
        from: usize,
        to: usize,
        taken: &mut impl FnMut(T),
        counts: &mut Counts,
    ) {
        match self {
            Self::Leaf(items) => items.drain(from..to).for_each(taken),
            Self::Inner(inner) => {
                let (touched, _) = child_of_item(&inner.0, from);
                let mut before = 0;
                for child in &mut inner.0 {
                    let count = child.count;
                    let (start, end) =
                        (from.saturating_sub(before).min(count), to.saturating_sub(before).min(count));
                    before += count;
                    if start < end {
                        child.node.remove_range(start, end, taken, counts);
                        child.count -= end - start;
                    }
                }
                inner.drop_empty(counts);
                // At most two children lost some but not all: the one at `touched` and the next.
                for index in [touched + 1, touched] {
                    if let Some(child) = inner.0.get_mut(index) {
                        child.refresh();
                        if child.node.is_low() {
                            inner.join(index, counts);
                        }
                    }
                }
            }
        }
    }

    /// Checks everything below and counts the nodes; returns the depth.
    pub(super) fn check(
        &self,
        is_root: bool,
        order: &impl Fn(&T, &T) -> Ordering,
        seen: &mut Counts,
    ) -> usize {
        assert!(self.len() <= self.max());
        assert!(is_root || self.len() > 0);
        match self {
            Self::Leaf(items) => {
                seen.leaves += 1;
                assert!(items.capacity() == LEAF_MAX || is_root);
                items.check();
                0
            }
            Self::Inner(inner) => {
                seen.inners += 1;
                assert_eq!(inner.0.capacity(), INNER_MAX);
                assert!(!is_root || inner.0.len() > 1);
                let depths = inner.0.iter().map(|child| {
                    assert_eq!(child.count, child.node.count());
                    let (first, key) = child.node.first();
                    assert_eq!(order(&child.first, &first), Ordering::Equal);
                    assert_eq!(child.key, key);
                    child.node.check(false, order, seen)
                });
                let depths: Vec<usize> = depths.collect();
                assert!(depths.iter().all(|&depth| depth == depths[0]));
                depths[0] + 1
            }
        }
    }
}

impl<T: Item> Inner<T> {
    pub(super) fn new(counts: &mut Counts) -> Self {
        counts.inners += 1;
        Self(Vec::with_capacity(INNER_MAX))
    }

    /// The child into which `item`, which is at `target`, goes, and which is not full any more. This node must have room
    /// for one more child.
    pub(super) fn child_for_insertion(
        &mut self,
        item: T,
        target: &Target<impl Fn(&T) -> Ordering>,
        counts: &mut Counts,
    ) -> usize {
        let children = &self.0;
        let index = child_of_target(children, target);
        let child = &children[index];
        if !child.node.is_full() {
            return index;
        }
        // Appending or prepending: the full node stays full, and a new one takes the item.
        let appends = index == children.len() - 1 && {
            let last = child.node.last();
            target.order(last.key(), &last).is_lt()
        };
        let prepends = index == 0 && target.order(child.key, &child.first).is_gt();
        if appends || prepends {
            return self.extend_edge(appends, item, target.key, counts);
        }
        self.make_room(index, counts);
        child_of_target(&self.0, target)
    }

    /// Begins a node beside the last (or first) child, which is full, for `item` to become the last (or first) of all.
    fn extend_edge(&mut self, at_end: bool, item: T, key: i64, counts: &mut Counts) -> usize {
        let children = &mut self.0;
        let index = if at_end { children.len() - 1 } else { 0 };
        let edge = &mut children[index];
        let node = match &mut edge.node {
            Node::Leaf(full) => {
                // It will hardly change from now on.
                full.calibrate();
                Node::Leaf(new_leaf(counts))
            }
            Node::Inner(inner) => {
                // An inner node cannot be empty: the outermost grandchild moves over.
                let mut new = Inner::new(counts);
                let moved = inner.0.remove(if at_end { INNER_MAX - 1 } else { 0 });
                new.0.push(moved);
                Node::Inner(Box::new(new))
            }
        };
        let count = node.count();
        let (first, key) = if count > 0 { node.first() } else { (item, key) };
        edge.refresh();
        let new_index = if at_end { index + 1 } else { 0 };
        children.insert(new_index, Child { first, key, count, node });
        new_index
    }

    /// Relieves the full child `index`: evens out with the emptier neighbour, or makes three of two, or splits a lone child.
    fn make_room(&mut self, index: usize, counts: &mut Counts) {
        let children = &mut self.0;
        let max = children[index].node.max();
        let Some(neighbour) = self.emptier_neighbour(index) else {
            let right = self.0[index].node.split_off(max / 2, counts);
            self.0[index].refresh();
            self.0.insert(index + 1, Child::of(right));
            return;
        };
        let left = index.min(neighbour);
        if self.0[neighbour].node.len() <= max * HIGH_EIGHTHS / 8 {
            self.even_out(left);
        } else {
            self.two_to_three(left, counts);
        }
    }

    /// Merges the low child `index` with a neighbour, or evens out with it.
    fn join(&mut self, index: usize, counts: &mut Counts) {
        let Some(neighbour) = self.emptier_neighbour(index) else { return };
        let left = index.min(neighbour);
        let max = self.0[left].node.max();
        if self.0[left].node.len() + self.0[left + 1].node.len() > max * HIGH_EIGHTHS / 8 {
            self.even_out(left);
            return;
        }
        let right = self.0.remove(left + 1);
        match (&mut self.0[left].node, right.node) {
            (Node::Leaf(into), Node::Leaf(mut from)) => {
                counts.leaves -= 1;
                into.words_mut().append(from.words_mut());
                into.calibrate();
            }
            (Node::Inner(into), Node::Inner(mut from)) => {
                counts.inners -= 1;
                into.0.append(&mut from.0);
            }
            _ => unreachable!("all leaves are at one depth"),
        }
        self.0[left].refresh();
    }

    /// Which neighbour of child `index` has fewer entries.
    fn emptier_neighbour(&self, index: usize) -> Option<usize> {
        let left = index.checked_sub(1);
        let right = Some(index + 1).filter(|&right| right < self.0.len());
        left.into_iter().chain(right).min_by_key(|&neighbour| self.0[neighbour].node.len())
    }

    /// Shares the entries of children `left` and `left + 1` evenly.
    fn even_out(&mut self, left: usize) {
        let (a, b) = self.pair(left);
        match (&mut a.node, &mut b.node) {
            (Node::Leaf(a), Node::Leaf(b)) => {
                deal_two(a.words_mut(), b.words_mut());
                a.calibrate();
                b.calibrate();
            }
            (Node::Inner(a), Node::Inner(b)) => deal_two(&mut a.0, &mut b.0),
            _ => unreachable!("all leaves are at one depth"),
        }
        a.refresh();
        b.refresh();
    }

    /// Shares the entries of children `left` and `left + 1` with a new child between them.
    fn two_to_three(&mut self, left: usize, counts: &mut Counts) {
        let (a, b) = self.pair(left);
        let middle = match (&mut a.node, &mut b.node) {
            (Node::Leaf(a), Node::Leaf(b)) => {
                let mut middle = new_leaf(counts);
                deal_three(a.words_mut(), middle.words_mut(), b.words_mut());
                [a, &mut middle, b].into_iter().for_each(Leaf::calibrate);
                Node::Leaf(middle)
            }
            (Node::Inner(a), Node::Inner(b)) => {
                let mut middle = Inner::new(counts);
                deal_three(&mut a.0, &mut middle.0, &mut b.0);
                Node::Inner(Box::new(middle))
            }
            _ => unreachable!("all leaves are at one depth"),
        };
        a.refresh();
        b.refresh();
        self.0.insert(left + 1, Child::of(middle));
    }

    fn pair(&mut self, left: usize) -> (&mut Child<T>, &mut Child<T>) {
        let (head, tail) = self.0.split_at_mut(left + 1);
        (&mut head[left], &mut tail[0])
    }

    /// Drops the child `index`, which has no items.
    fn remove_empty(&mut self, index: usize, counts: &mut Counts) {
        match self.0.remove(index).node {
            Node::Leaf(_) => counts.leaves -= 1,
            Node::Inner(_) => counts.inners -= 1,
        }
    }

    /// Drops all children without items.
    fn drop_empty(&mut self, counts: &mut Counts) {
        self.0.retain(|child| {
            if child.count == 0 {
                match child.node {
                    Node::Leaf(_) => counts.leaves -= 1,
                    Node::Inner(_) => counts.inners -= 1,
                }
            }
            child.count > 0
        });
    }
}

fn new_leaf<T: Item>(counts: &mut Counts) -> Leaf<T> {
    counts.leaves += 1;
    Leaf::with_full_room()
}

/// Moves entries between two neighbours until they have equally many, or the left one more.
fn deal_two<X>(left: &mut Vec<X>, right: &mut Vec<X>) {
    let share = (left.len() + right.len()).div_ceil(2);
    if left.len() > share {
        drop(right.splice(0..0, left.drain(share..)));
    } else {
        let wanted = share - left.len();
        left.extend(right.drain(..wanted));
    }
}

/// Moves entries of two neighbours into the empty one between them until all have nearly equally many. Both must have at
/// least a third of all.
fn deal_three<X>(left: &mut Vec<X>, middle: &mut Vec<X>, right: &mut Vec<X>) {
    let share = (left.len() + right.len()) / 3;
    let surplus = right.len() - share;
    middle.extend(left.drain(share..));
    middle.extend(right.drain(..surplus));
}
