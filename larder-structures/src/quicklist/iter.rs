//! Iteration over a quicklist in either direction.

use super::Node;
use super::store::{At, Store};
use crate::listpack::{self, Element};

/// Elements of a list in one direction. Made by the methods of [`super::Quicklist`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    store: &'a Store,
    at: Option<At>,
    inside: Inside<'a>,
    /// Elements still to come.
    left: usize,
    backward: bool,
}

/// What is left of one node.
#[derive(Clone, Debug)]
enum Inside<'a> {
    Packed(listpack::Iter<'a>),
    Plain(Option<&'a [u8]>),
}

impl<'a> Inside<'a> {
    fn whole(node: &'a Node) -> Self {
        match node {
            Node::Packed(pack) => Self::Packed(pack.iter()),
            Node::Plain(text) => Self::Plain(Some(text)),
        }
    }

    /// The elements of `node` from number `offset` on, or back from it.
    fn from(node: &'a Node, offset: usize, backward: bool) -> Self {
        let Node::Packed(pack) = node else { return Self::whole(node) };
        let at = pack.seek(offset as i64).unwrap_or(pack.end());
        Self::Packed(if backward {
            pack.view().iter_to(pack.next(at).unwrap_or(pack.end()))
        } else {
            pack.iter_from(at)
        })
    }

    #[inline]
    fn next(&mut self, backward: bool) -> Option<Element<'a>> {
        match self {
            Self::Packed(iter) if backward => iter.next_back(),
            Self::Packed(iter) => iter.next(),
            Self::Plain(text) => text.take().map(Element::Str),
        }
    }
}

impl<'a> Iter<'a> {
    /// `count` elements from number `index` on, or back from it. All of them must exist.
    pub(super) fn new(store: &'a Store, index: usize, count: usize, backward: bool) -> Self {
        if count == 0 {
            return Self { store, at: None, inside: Inside::Plain(None), left: 0, backward };
        }
        let (at, offset) = store.locate(index);
        let inside = Inside::from(store.get(at), offset, backward);
        Self { store, at: Some(at), inside, left: count, backward }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.left == 0 {
            return None;
        }
        loop {
            if let Some(element) = self.inside.next(self.backward) {
                self.left -= 1;
                return Some(element);
            }
            let at = self.at?;
            let at = if self.backward { self.store.prev(at) } else { self.store.next(at) }?;
            self.at = Some(at);
            self.inside = Inside::whole(self.store.get(at));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
