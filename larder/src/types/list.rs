//! The list value: a quicklist, whatever its size.

use super::string::StringRef;
use larder_structures::quicklist::{self, Node, Quicklist};
use std::sync::Arc;

/// A list.
#[derive(Debug, Clone)]
pub struct List(Quicklist);

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The first element's.
    Left,
    /// The last element's.
    Right,
}

impl List {
    /// A list without elements, whose nodes are bounded by `fill` (`list-max-listpack-size`).
    pub fn new(fill: i64) -> List {
        // Beyond these bounds all values mean the same.
        List(Quicklist::new(fill.clamp(-5, i64::from(i32::MAX)) as i32))
    }

    /// Lists are not packed into entries.
    pub(super) fn unpacked(_packed: super::Packed<'_>, _buf: Vec<u8>) -> Option<List> {
        None
    }

    /// As above.
    pub(super) fn packed(&self) -> Option<super::Packed<'_>> {
        None
    }

    /// Gives it up; its memory is of no use to others.
    pub(super) fn into_memory(self) -> Vec<u8> {
        Vec::new()
    }

    /// How many elements it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Heap bytes.
    pub fn memory(&self) -> usize {
        self.0.bytes()
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(&self) -> &'static str {
        "quicklist"
    }

    /// Its nodes, as they are to be saved.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.0.nodes()
    }

    /// Its nodes as they are now, for a snapshot; takes time for each node, not for each element.
    pub(crate) fn share_nodes(&mut self) -> Vec<Arc<Node>> {
        self.0.share_nodes()
    }

    /// Appends a node as it was saved.
    pub fn push_node(&mut self, node: Node) {
        self.0.push_node(node);
    }

    /// Adds an element at an end.
    #[inline]
    pub fn push(&mut self, end: End, element: &[u8]) {
        match end {
            End::Left => self.0.push_front(element),
            End::Right => self.0.push_back(element),
        }
    }

    /// The element at an end.
    pub fn peek(&self, end: End) -> Option<StringRef<'_>> {
        self.get(if end == End::Left { 0 } else { -1 })
    }

    /// Takes the element at an end away.
    #[inline]
    pub fn pop(&mut self, end: End) -> Option<Vec<u8>> {
        match end {
            End::Left => self.0.pop_front(),
            End::Right => self.0.pop_back(),
        }
    }

    /// Element `index`, counted from 0, or from -1 at the end.
    pub fn get(&self, index: i64) -> Option<StringRef<'_>> {
        self.0.get(index).map(StringRef::from)
    }

    /// Replaces element `index`; says whether there is one.
    pub fn set(&mut self, index: i64, element: &[u8]) -> bool {
        self.0.set(index, element)
    }

    /// Puts `element` before (`End::Left`) or behind the first one equal to `pivot`; says whether there is one.
    pub fn insert_beside(&mut self, side: End, pivot: &[u8], element: &[u8]) -> bool {
        match side {
            End::Left => self.0.insert_before(pivot, element),
            End::Right => self.0.insert_after(pivot, element),
        }
    }

    /// Removes elements equal to `element`: the first `count`, the last `-count` when negative, all when 0. Returns how
    /// many.
    pub fn remove(&mut self, count: i64, element: &[u8]) -> usize {
        self.0.remove(count, element)
    }

    /// Keeps only the elements from `start` to `end`, both included, and returns how many others there were.
    pub fn trim(&mut self, start: i64, end: i64) -> usize {
        self.0.trim(start, end)
    }

    /// The elements from `start` to `end`, both included.
    pub fn range(&self, start: i64, end: i64) -> Elements<'_> {
        Elements(self.0.range(start, end))
    }

    /// The elements from an end on, going away from it.
    pub fn iter_from(&self, end: End) -> Elements<'_> {
        Elements(if end == End::Left { self.0.iter() } else { self.0.iter_rev() })
    }

    /// All elements in order.
    pub fn iter(&self) -> Elements<'_> {
        self.iter_from(End::Left)
    }
}

/// Elements of a list, one after the other.
pub struct Elements<'a>(quicklist::Iter<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = StringRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<StringRef<'a>> {
        self.0.next().map(StringRef::from)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Elements<'_> {}
