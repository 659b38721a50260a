//! Iteration over ranks. The iterator holds no path: it finds the next leaf by its rank, which takes a handful of additions
//! once in about a hundred items.

use super::leaf::item_of;
use super::{Item, RankedTree};

/// Items of consecutive ranks, from either end. Made by [`RankedTree::range`].
#[derive(Clone, Debug)]
pub struct Range<'a, T> {
    tree: &'a RankedTree<T>,
    /// Ranks not yet given out: `start..end`.
    start: usize,
    end: usize,
    /// What is left of the leaf that holds rank `start`; may reach beyond `end`.
    head: &'a [u64],
    /// What is left of the leaf that holds rank `end - 1`; may reach before `start`.
    tail: &'a [u64],
}

impl<'a, T> Range<'a, T> {
    pub(super) fn new(tree: &'a RankedTree<T>, start: usize, end: usize) -> Self {
        Self { tree, start, end, head: &[], tail: &[] }
    }
}

impl<T: Item> Iterator for Range<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.start == self.end {
            return None;
        }
        if self.head.is_empty() {
            let (leaf, place) = self.tree.leaf_at(self.start);
            self.head = &leaf[place..];
        }
        let (&word, rest) = self.head.split_first()?;
        self.head = rest;
        self.start += 1;
        Some(item_of(word))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.start, Some(self.end - self.start))
    }

    /// Skips by rank, in O(log n).
    fn nth(&mut self, n: usize) -> Option<T> {
        self.start = self.start.saturating_add(n).min(self.end);
        self.head = self.head.get(n..).unwrap_or(&[]);
        self.next()
    }
}

impl<T: Item> DoubleEndedIterator for Range<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        if self.start == self.end {
            return None;
        }
        if self.tail.is_empty() {
            let (leaf, place) = self.tree.leaf_at(self.end - 1);
            self.tail = &leaf[..=place];
        }
        let (&word, rest) = self.tail.split_last()?;
        self.tail = rest;
        self.end -= 1;
        Some(item_of(word))
    }
}

impl<T: Item> ExactSizeIterator for Range<'_, T> {}
