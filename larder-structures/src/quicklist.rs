//! Quicklist: a long list as a chain of listpacks.
//!
//! A single listpack is as small as a list can be, but every change in it moves what follows. So a list is cut into nodes
//! of bounded size, 8 KiB by default: the elements of a node are packed, and no operation moves more than one node. A
//! value too large for a node gets one to itself, unpacked (*plain*).
//!
//! **Index.** The nodes lie in two levels of queues (`store.rs`), with the number of elements known at both. Element `i` is
//! found in O(sqrt(nodes)) steps plus a walk through half a node at most: some hundred steps of a few bytes each in a list
//! of a million. Both ends are O(1).
//!
//! **Memory.** A node that is left behind because it is full is shrunk to fit: only the two end nodes have slack. A
//! 32-byte element in 8 KiB nodes costs 34.1 bytes and its share of 32 bytes for the node, the target being 35.5.
//! [`Quicklist::bytes`] is exact for the capacities asked for, and kept along with every change.
//!
//! **Splitting and merging.** Insertion in the middle of a full node first tries the neighbour at that side, then splits.
//! Removal by value merges a node with its neighbour when both fit into three quarters of one. Pops do not merge: what is
//! being emptied needs no tidying.
//!
//! **Limits** follow `list-max-listpack-size` ("fill"): -1 to -5 bound a node's bytes to 4, 8, 16, 32, 64 KiB; a positive
//! number bounds its elements, and its bytes to 8 KiB nevertheless.

mod iter;
mod store;

use crate::listpack::{EMPTY_BYTES, Element, Listpack, Needle, entry_bytes};
pub use iter::Iter;
use std::sync::Arc;
use store::{At, Store};

/// Bytes of a node when the fill bounds elements.
const COUNTED_NODE_BYTES_MAX: usize = 8192;
/// A value that leaves a node less than this for header and entry overhead becomes a plain node.
const PLAIN_MARGIN_BYTES: usize = 16;
/// Nodes from which on a list is long: one more of full size is little beside those it has.
const LONG_LIST_NODES: usize = 8;

/// A piece of the list: some elements packed, or a large one by itself.
#[derive(Clone, Debug)]
pub enum Node {
    /// One element or more.
    Packed(Listpack),
    /// Exactly one element.
    Plain(Box<[u8]>),
}

const _: () = assert!(size_of::<Node>() == 32, "the memory target counts on it");

impl Node {
    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(pack) => pack.len(),
            Self::Plain(_) => 1,
        }
    }

    /// Whether there is no element, as in a listpack that was just made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes held.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Packed(pack) => pack.heap_bytes(),
            Self::Plain(text) => text.len(),
        }
    }

    /// The serialized listpack, or the plain element.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Packed(pack) => pack.as_bytes(),
            Self::Plain(text) => text,
        }
    }

    fn pack_mut(&mut self) -> Option<&mut Listpack> {
        match self {
            Self::Packed(pack) => Some(pack),
            Self::Plain(_) => None,
        }
    }

    /// The position of element `offset`, and behind the last one.
    fn position(&self, offset: usize) -> usize {
        match self {
            Self::Packed(pack) => pack.seek(offset as i64).unwrap_or(pack.end()),
            Self::Plain(_) => offset,
        }
    }

    fn start(&self) -> usize {
        self.position(0)
    }

    fn end(&self) -> usize {
        self.position(self.len())
    }

    fn at(&self, position: usize) -> Option<Element<'_>> {
        match self {
            Self::Packed(pack) => pack.at(position),
            Self::Plain(text) => Some(Element::Str(text)),
        }
    }

    /// Removes from a packed node the first `limit` of the elements equal to the needle, after leaving `spared` of them;
    /// returns how many.
    fn remove_matches(&mut self, needle: Needle<'_>, mut spared: usize, limit: usize) -> usize {
        let Self::Packed(pack) = self else { return 0 };
        let mut left = limit;
        pack.retain(|element| {
            if left == 0 || !needle.matches(element) {
                return true;
            }
            if spared > 0 {
                spared -= 1;
                return true;
            }
            left -= 1;
            false
        })
    }

    /// Number of elements equal to the needle.
    fn count_matches(&self, needle: Needle<'_>) -> usize {
        match self {
            Self::Packed(pack) => pack.iter().filter(|&element| needle.matches(element)).count(),
            Self::Plain(text) => usize::from(needle.matches(Element::Str(text))),
        }
    }
}

/// The value of a list. Indexes given as `i64` count from 0, or from -1 at the end; ranges include both ends and are cut
/// to what exists.
#[derive(Clone, Debug)]
pub struct Quicklist {
    store: Store,
    fill: i32,
}

impl Quicklist {
    /// An empty list whose nodes are bounded by `fill`; see the module. 0 counts as 1, below -5 as -5.
    pub fn new(fill: i32) -> Self {
        Self { store: Store::default(), fill }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap bytes held, slack included. O(1).
    #[inline]
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Number of nodes.
    pub fn node_count(&self) -> usize {
        self.store.node_count()
    }

    /// The nodes in order, as they are to be saved.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.store.nodes()
    }

    /// All nodes as they are now, for a snapshot. Takes time for each node, not for each element; a node that is changed
    /// while somebody else has it is copied then.
    pub fn share_nodes(&mut self) -> Vec<Arc<Node>> {
        self.store.share()
    }

    /// Appends a node as it is, whatever its size; one without elements is ignored.
    pub fn push_node(&mut self, node: Node) {
        if !node.is_empty() {
            self.store.push_back(node);
        }
    }

    /// Removes and returns the last node: to free a list in steps.
    pub fn pop_node(&mut self) -> Option<Node> {
        let at = self.store.last()?;
        Some(self.store.remove(at).0)
    }

    /// Appends `value`. O(1).
    pub fn push_back(&mut self, value: &[u8]) {
        if let Some(at) = self.store.last() {
            if self.add_at_end(at, value) {
                return;
            }
            self.store.edit(at, shrink);
        }
        let node = self.new_node(value);
        self.store.push_back(node);
    }

    /// Puts `value` before all others. O(1).
    pub fn push_front(&mut self, value: &[u8]) {
        if let Some(at) = self.store.first() {
            if self.add_at_start(at, value) {
                return;
            }
            self.store.edit(at, shrink);
        }
        let mut node = self.new_node(value);
        if let Node::Packed(pack) = &mut node {
            pack.slack_to_front();
        }
        self.store.push_front(node);
    }

    /// Removes and returns the first element. O(1).
    pub fn pop_front(&mut self) -> Option<Vec<u8>> {
        let at = self.store.first()?;
        self.take(at, self.store.get(at).start())
    }

    /// Removes and returns the last element. O(1).
    pub fn pop_back(&mut self) -> Option<Vec<u8>> {
        let at = self.store.last()?;
        let position = match self.store.get(at) {
            Node::Packed(pack) => pack.last()?,
            Node::Plain(_) => 0,
        };
        self.take(at, position)
    }

    /// Element `index`.
    pub fn get(&self, index: i64) -> Option<Element<'_>> {
        let (at, offset) = self.store.locate(self.index(index)?);
        let node = self.store.get(at);
        node.at(node.position(offset))
    }

    /// Replaces element `index`; says whether there is one.
    pub fn set(&mut self, index: i64, value: &[u8]) -> bool {
        let Some(index) = self.index(index) else { return false };
        let (at, offset) = self.store.locate(index);
        let position = self.store.get(at).position(offset);
        let (large, bytes_max) = (self.is_large(value), self.bytes_max());
        let replaced = !large
            && self.store.edit(at, |node| {
                node.pack_mut().is_some_and(|pack| pack.replace_within(position, value, bytes_max))
            });
        if replaced {
            return true;
        }
        if self.store.get(at).len() == 1 {
            let new = self.new_node(value);
            self.store.edit(at, |node| *node = new);
            return true;
        }
        self.store.edit(at, |node| node.pack_mut().map(|pack| pack.remove(position)));
        self.insert_at(at, position, value);
        true
    }

    /// Puts `value` before the first element equal to `pivot`; says whether there is one. O(n) to find it.
    pub fn insert_before(&mut self, pivot: &[u8], value: &[u8]) -> bool {
        let Some((at, position)) = self.find(pivot) else { return false };
        self.insert_at(at, position, value);
        true
    }

    /// Puts `value` behind the first element equal to `pivot`; says whether there is one. O(n) to find it.
    pub fn insert_after(&mut self, pivot: &[u8], value: &[u8]) -> bool {
        let Some((at, position)) = self.find(pivot) else { return false };
        let node = self.store.get(at);
        let behind = match node {
            Node::Packed(pack) => pack.next(position).unwrap_or(pack.end()),
            Node::Plain(_) => node.end(),
        };
        self.insert_at(at, behind, value);
        true
    }

    /// Removes elements equal to `value`: the first `count`, the last `-count` when negative, all when 0. Returns how many.
    pub fn remove(&mut self, count: i64, value: &[u8]) -> usize {
        let limit =
            if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
        let needle = Needle::new(value);
        let nodes = self.node_count();
        let removed = if count < 0 {
            self.remove_from_end(needle, limit)
        } else {
            self.remove_from_start(needle, limit)
        };
        if self.node_count() < nodes {
            self.store.join_thin_chunks();
        }
        removed
    }

    /// Keeps only the elements from `start` to `end` and returns how many others there were.
    pub fn trim(&mut self, start: i64, end: i64) -> usize {
        let len = self.len();
        let (first, count) = self.bounds(start, end);
        self.drop_back(len - first - count);
        self.drop_front(len - count - (len - first - count));
        len - count
    }

    /// All elements in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(&self.store, 0, self.len(), false)
    }

    /// All elements from the last to the first.
    pub fn iter_rev(&self) -> Iter<'_> {
        Iter::new(&self.store, self.len().saturating_sub(1), self.len(), true)
    }

    /// The elements from `start` to `end`, in order.
    pub fn range(&self, start: i64, end: i64) -> Iter<'_> {
        let (first, count) = self.bounds(start, end);
        Iter::new(&self.store, first, count, false)
    }

    /// The elements from `start` to `end`, last one first.
    pub fn range_rev(&self, start: i64, end: i64) -> Iter<'_> {
        let (first, count) = self.bounds(start, end);
        Iter::new(&self.store, (first + count).saturating_sub(1), count, true)
    }

    /// A valid index counted from 0.
    fn index(&self, index: i64) -> Option<usize> {
        let len = self.len() as i64;
        let index = if index < 0 { len.checked_add(index)? } else { index };
        usize::try_from(index).ok().filter(|&index| index < self.len())
    }

    /// The first index and the number of elements in a range that includes both ends.
    fn bounds(&self, start: i64, end: i64) -> (usize, usize) {
        let len = self.len() as i64;
        let from_front = |index: i64| if index < 0 { len.saturating_add(index) } else { index };
        let (start, end) = (from_front(start).max(0), from_front(end).min(len - 1));
        if start > end { (0, 0) } else { (start as usize, (end - start + 1) as usize) }
    }

    /// Most bytes of a packed node.
    fn bytes_max(&self) -> usize {
        if self.fill >= 0 { COUNTED_NODE_BYTES_MAX } else { 2048 << self.fill.max(-5).unsigned_abs() }
    }

    /// Most elements of a packed node.
    fn count_max(&self) -> usize {
        if self.fill >= 0 { self.fill.max(1) as usize } else { usize::MAX }
    }

    fn is_large(&self, value: &[u8]) -> bool {
        value.len() + PLAIN_MARGIN_BYTES > self.bytes_max()
    }

    /// A node for `value` alone: plain if large. In a list that fills nodes it gets some room at once, in a long one all
    /// that it can take, so that it is never moved.
    fn new_node(&self, value: &[u8]) -> Node {
        if self.is_large(value) {
            return Node::Plain(value.into());
        }
        let roomy = match self.node_count() {
            _ if self.fill >= 0 => 0,
            0 => 0,
            1..LONG_LIST_NODES => self.bytes_max() / 4,
            _ => self.bytes_max(),
        };
        let mut pack = Listpack::with_capacity(roomy.max(EMPTY_BYTES + entry_bytes(value)));
        pack.push_back(value);
        Node::Packed(pack)
    }

    /// Adds `value` at `position` of a packed node if the limits allow.
    #[inline]
    fn add(&mut self, at: At, value: &[u8], position: impl FnOnce(&Listpack) -> usize) -> bool {
        let (bytes_max, count_max) = (self.bytes_max(), self.count_max());
        self.store.edit(at, |node| match node {
            Node::Packed(pack) if pack.len() < count_max => {
                let position = position(pack);
                pack.insert_within(position, value, bytes_max)
            }
            _ => false,
        })
    }

    fn add_at_end(&mut self, at: At, value: &[u8]) -> bool {
        self.add(at, value, Listpack::end)
    }

    fn add_at_start(&mut self, at: At, value: &[u8]) -> bool {
        self.add(at, value, |pack| pack.first().unwrap_or(pack.end()))
    }

    /// Inserts `value` before the element at `position` of the node at `at`, or at its end.
    fn insert_at(&mut self, at: At, position: usize, value: &[u8]) {
        let large = self.is_large(value);
        if !large && self.add(at, value, |_| position) {
            return;
        }
        let node = self.store.get(at);
        let (at_start, at_end) = (position == node.start(), position == node.end());
        let gap = if at_start {
            at
        } else if at_end {
            at.behind()
        } else {
            self.split(at, position)
        };
        if !large {
            // The node before the gap, unless just tried; then the one behind it.
            let before = if at_end { None } else { self.store.prev(gap) };
            if before.is_some_and(|before| self.add_at_end(before, value)) {
                return;
            }
            let behind = if at_end {
                self.store.next(at)
            } else if at_start {
                None
            } else {
                Some(gap)
            };
            if behind.is_some_and(|behind| self.add_at_start(behind, value)) {
                return;
            }
        }
        let node = self.new_node(value);
        let at = self.store.insert(gap, node);
        self.store.edit(at, shrink);
    }

    /// Splits the packed node at `at` before `position`, which is inside; returns the place of the right half.
    fn split(&mut self, at: At, position: usize) -> At {
        let tail = self.store.edit(at, |node| {
            let tail = node.pack_mut().map(|pack| pack.split_off(position));
            shrink(node);
            tail
        });
        let tail = tail.expect("only packed nodes have positions inside");
        self.store.insert(at.behind(), Node::Packed(tail))
    }

    /// Removes and returns the element at `position`, and the node if that was all.
    fn take(&mut self, at: At, position: usize) -> Option<Vec<u8>> {
        if self.store.get(at).len() == 1 {
            return match self.store.remove(at).0 {
                Node::Packed(pack) => pack.at(position).map(|element| element.to_vec()),
                Node::Plain(text) => Some(text.into_vec()),
            };
        }
        self.store.edit(at, |node| {
            let pack = node.pack_mut()?;
            let value = pack.at(position)?.to_vec();
            pack.remove(position);
            Some(value)
        })
    }

    /// The node and position of the first element equal to `value`.
    fn find(&self, value: &[u8]) -> Option<(At, usize)> {
        let mut here = self.store.first();
        while let Some(at) = here {
            let found = match self.store.get(at) {
                Node::Packed(pack) => pack.find(value, 0),
                Node::Plain(text) => (**text == *value).then_some(0),
            };
            if let Some(position) = found {
                return Some((at, position));
            }
            here = self.store.next(at);
        }
        None
    }

    fn remove_from_start(&mut self, needle: Needle<'_>, limit: usize) -> usize {
        let mut removed = 0;
        let mut here = self.store.first();
        while let Some(at) = here.filter(|_| removed < limit) {
            let (count, gone) = self.remove_in_node(at, needle, limit - removed, false);
            removed += count;
            here = if gone {
                self.store.remove(at).1
            } else {
                match self.store.prev(at) {
                    Some(prev) if count > 0 && self.merge(prev, at) => self.store.remove(at).1,
                    _ => self.store.next(at),
                }
            };
        }
        removed
    }

    fn remove_from_end(&mut self, needle: Needle<'_>, limit: usize) -> usize {
        let mut removed = 0;
        let mut here = self.store.last();
        while let Some(at) = here.filter(|_| removed < limit) {
            let (count, gone) = self.remove_in_node(at, needle, limit - removed, true);
            removed += count;
            here = self.store.prev(at);
            if gone {
                self.store.remove(at);
            } else if let Some(next) = self.store.next(at).filter(|_| count > 0)
                && self.merge(at, next)
            {
                self.store.remove(next);
            }
        }
        removed
    }

    /// Removes up to `limit` matches in a node, the last ones if `backward`. Returns how many, and whether they are all the
    /// node has: then they are still there, and the caller removes the node.
    fn remove_in_node(&mut self, at: At, needle: Needle<'_>, limit: usize, backward: bool) -> (usize, bool) {
        let node = self.store.get(at);
        let matches = node.count_matches(needle);
        let count = matches.min(limit);
        if count == 0 || count == node.len() {
            return (count, count > 0);
        }
        let spared = if backward { matches - count } else { 0 };
        let removed = self.store.edit(at, |node| node.remove_matches(needle, spared, count));
        debug_assert_eq!(removed, count);
        (count, false)
    }

    /// Appends the node at `right` to that at `left` if both are packed and leave room; the right one is then left empty
    /// for the caller to remove.
    fn merge(&mut self, left: At, right: At) -> bool {
        let (Node::Packed(a), Node::Packed(b)) = (self.store.get(left), self.store.get(right)) else {
            return false;
        };
        let bytes = a.byte_len() + b.byte_len() - EMPTY_BYTES;
        if bytes > self.bytes_max() / 4 * 3 || a.len() + b.len() > self.count_max() {
            return false;
        }
        let moved = self.store.edit(right, |node| node.pack_mut().map(std::mem::take));
        let Some(moved) = moved else { return false };
        self.store.edit(left, |node| {
            if let Some(pack) = node.pack_mut() {
                pack.append(&moved);
            }
        });
        true
    }

    /// Removes `count` elements from the front.
    fn drop_front(&mut self, mut count: usize) {
        while let Some(at) = self.store.first().filter(|_| count > 0) {
            let len = self.store.get(at).len();
            if len <= count {
                self.store.remove(at);
            } else {
                self.store.edit(at, |node| node.pack_mut().map(|pack| pack.remove_range(0, count)));
            }
            count -= len.min(count);
        }
    }

    /// Removes `count` elements from the back.
    fn drop_back(&mut self, mut count: usize) {
        while let Some(at) = self.store.last().filter(|_| count > 0) {
            let len = self.store.get(at).len();
            if len <= count {
                self.store.remove(at);
            } else {
                let from = -(count as i64);
                self.store.edit(at, |node| node.pack_mut().map(|pack| pack.remove_range(from, count)));
            }
            count -= len.min(count);
        }
    }

    /// Panics unless limits, nodes and accounts are right. O(bytes), for tests. `loaded` lifts the limits that nodes from
    /// [`Quicklist::push_node`] need not keep.
    pub fn check_invariants(&self, loaded: bool) {
        self.store.check_invariants();
        for node in self.nodes() {
            assert!(!node.is_empty());
            if let Node::Packed(pack) = node {
                pack.check_invariants();
                assert!(loaded || pack.byte_len() <= self.bytes_max());
                assert!(loaded || pack.len() <= self.count_max());
            }
        }
    }
}

/// Gives back the slack of a node that is not expected to grow.
fn shrink(node: &mut Node) {
    if let Node::Packed(pack) = node {
        pack.shrink();
    }
}
