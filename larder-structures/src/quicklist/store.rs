//! The nodes of a quicklist in two levels, and the account of elements and bytes.
//!
//! Nodes lie in chunks, chunks in one queue. Each chunk knows how many elements it holds, so an index is found by passing
//! over chunks, then over the nodes of one. A chunk that is full when a node comes makes way for a second one; what counts
//! as full grows with the square root of the number of nodes, so both walks stay O(sqrt(nodes)) without ever rebuilding.
//!
//! A snapshot shares the nodes ([`Store::share`]): that takes time for each node, not for each element. A shared node is
//! copied when it is changed, or becomes the list's own again if the snapshot has let go of it by then.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Node;

/// Nodes a chunk may have in a list however small.
const CHUNK_NODES_MIN: usize = 32;

/// A node in its place.
#[derive(Debug)]
enum Held {
    Own(Node),
    Shared(Arc<Node>),
}

const _: () = assert!(size_of::<Held>() == size_of::<Node>(), "sharing costs nothing where there is none");

impl Held {
    #[inline]
    fn node(&self) -> &Node {
        match self {
            Held::Own(node) => node,
            Held::Shared(node) => node,
        }
    }

    /// The node, to be changed.
    #[inline]
    fn own(&mut self) -> &mut Node {
        if let Held::Shared(shared) = self {
            let shared = Arc::clone(shared);
            // The list's own hold goes first, so that the last holder need not copy.
            *self = Held::Own(Node::Plain(Box::default()));
            *self = Held::Own(Arc::unwrap_or_clone(shared));
        }
        match self {
            Held::Own(node) => node,
            Held::Shared(_) => unreachable!("it was made the list's own above"),
        }
    }

    fn into_node(self) -> Node {
        match self {
            Held::Own(node) => node,
            Held::Shared(shared) => Arc::unwrap_or_clone(shared),
        }
    }

    fn len(&self) -> usize {
        self.node().len()
    }

    /// What sharing adds to a node, some 50 bytes, is the snapshot's affair: to begin one changes no account.
    fn heap_bytes(&self) -> usize {
        self.node().heap_bytes()
    }
}

/// Consecutive nodes, never none.
#[derive(Debug, Default)]
struct Chunk {
    nodes: VecDeque<Held>,
    /// Elements in all nodes.
    len: usize,
}

/// The place of a node. Valid until nodes are inserted or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    chunk: usize,
    node: usize,
}

impl At {
    /// The place behind this one in the same chunk, for insertion.
    pub(super) fn behind(self) -> Self {
        Self { node: self.node + 1, ..self }
    }
}

#[derive(Debug, Default)]
pub(super) struct Store {
    chunks: VecDeque<Chunk>,
    /// Number of elements.
    len: usize,
    /// Number of nodes.
    nodes: usize,
    /// Heap bytes of all nodes and of the queues that hold them, but for `chunks` itself.
    heap: usize,
}

impl Clone for Store {
    /// The copy has no slack, so its bytes are counted anew.
    fn clone(&self) -> Self {
        let own = |chunk: &Chunk| Chunk {
            nodes: chunk.nodes.iter().map(|held| Held::Own(held.node().clone())).collect(),
            len: chunk.len,
        };
        let chunks: VecDeque<Chunk> = self.chunks.iter().map(own).collect();
        let heap = chunks.iter().map(Chunk::total_bytes).sum();
        Self { chunks, len: self.len, nodes: self.nodes, heap }
    }
}

impl Store {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn node_count(&self) -> usize {
        self.nodes
    }

    /// Heap bytes held.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.heap + self.chunks.capacity() * size_of::<Chunk>()
    }

    pub(super) fn nodes(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.chunks.iter().flat_map(|chunk| &chunk.nodes).map(Held::node)
    }

    pub(super) fn first(&self) -> Option<At> {
        (!self.chunks.is_empty()).then_some(At { chunk: 0, node: 0 })
    }

    pub(super) fn last(&self) -> Option<At> {
        let chunk = self.chunks.len().checked_sub(1)?;
        Some(At { chunk, node: self.chunks[chunk].nodes.len() - 1 })
    }

    pub(super) fn next(&self, at: At) -> Option<At> {
        self.settled(at.behind())
    }

    pub(super) fn prev(&self, at: At) -> Option<At> {
        if at.node > 0 {
            return Some(At { node: at.node - 1, ..at });
        }
        let chunk = at.chunk.checked_sub(1)?;
        Some(At { chunk, node: self.chunks[chunk].nodes.len() - 1 })
    }

    /// A place that may be just behind its chunk, as that of the node there; `None` behind the last node.
    fn settled(&self, at: At) -> Option<At> {
        if at.node < self.chunks.get(at.chunk)?.nodes.len() {
            return Some(at);
        }
        (at.chunk + 1 < self.chunks.len()).then_some(At { chunk: at.chunk + 1, node: 0 })
    }

    #[inline]
    pub(super) fn get(&self, at: At) -> &Node {
        self.chunks[at.chunk].nodes[at.node].node()
    }

    /// The node that holds element `index < len`, and the element's number in it. Passes from the nearer end.
    pub(super) fn locate(&self, index: usize) -> (At, usize) {
        let (chunk, offset) = seek(self.chunks.iter().map(|chunk| chunk.len), self.len, index);
        let nodes = &self.chunks[chunk].nodes;
        let (node, offset) = seek(nodes.iter().map(Held::len), self.chunks[chunk].len, offset);
        (At { chunk, node }, offset)
    }

    /// Lets `change` alter a node and settles the accounts. It may leave the node without elements only if that is then
    /// removed.
    #[inline]
    pub(super) fn edit<R>(&mut self, at: At, change: impl FnOnce(&mut Node) -> R) -> R {
        let chunk = &mut self.chunks[at.chunk];
        let held = &mut chunk.nodes[at.node];
        let (len, heap) = (held.len(), held.heap_bytes());
        let node = held.own();
        let result = change(node);
        let (new_len, new_heap) = (node.len(), node.heap_bytes());
        chunk.len = chunk.len - len + new_len;
        self.len = self.len - len + new_len;
        self.heap = self.heap - heap + new_heap;
        result
    }

    pub(super) fn push_front(&mut self, node: Node) {
        let at = self.first().unwrap_or(At { chunk: 0, node: 0 });
        self.insert(at, node);
    }

    pub(super) fn push_back(&mut self, node: Node) {
        let at = self.last().map_or(At { chunk: 0, node: 0 }, At::behind);
        self.insert(at, node);
    }

    /// Inserts `node` at `at`, before the node there or behind the last of the chunk, and returns where it is now.
    pub(super) fn insert(&mut self, at: At, node: Node) -> At {
        if self.chunks.is_empty() {
            // Most lists stay this small: one chunk with one node.
            self.chunks = VecDeque::with_capacity(1);
            self.chunks.push_back(Chunk { nodes: VecDeque::with_capacity(1), len: 0 });
            self.heap += self.chunks[0].heap_bytes();
        }
        let at = self.make_room(at);
        self.nodes += 1;
        self.len += node.len();
        self.heap += node.heap_bytes();
        let chunk = &mut self.chunks[at.chunk];
        let before = chunk.heap_bytes();
        chunk.len += node.len();
        chunk.nodes.insert(at.node, Held::Own(node));
        self.heap += chunk.heap_bytes() - before;
        at
    }

    /// Splits the chunk of `at` if it is full, and returns the place that `at` has become. At the ends of the list the full
    /// chunk stays whole and a new one is begun.
    fn make_room(&mut self, at: At) -> At {
        let len = self.chunks[at.chunk].nodes.len();
        if len < CHUNK_NODES_MIN || len < self.chunk_nodes_max() {
            return at;
        }
        let is_last = at.chunk + 1 == self.chunks.len();
        if (at.node == len && is_last) || (at.node == 0 && at.chunk == 0) {
            let full = &mut self.chunks[at.chunk];
            let before = full.heap_bytes();
            full.nodes.shrink_to_fit();
            self.heap = self.heap - before + full.heap_bytes();
            let chunk = if at.node == 0 { 0 } else { at.chunk + 1 };
            self.chunks.insert(chunk, Chunk::default());
            return At { chunk, node: 0 };
        }
        let full = &mut self.chunks[at.chunk];
        let before = full.heap_bytes();
        let nodes = full.nodes.split_off(len / 2);
        let right = Chunk { len: nodes.iter().map(Held::len).sum(), nodes };
        full.len -= right.len;
        self.heap = self.heap - before + full.heap_bytes() + right.heap_bytes();
        self.chunks.insert(at.chunk + 1, right);
        if at.node <= len / 2 { at } else { At { chunk: at.chunk + 1, node: at.node - len / 2 } }
    }

    fn chunk_nodes_max(&self) -> usize {
        self.nodes.isqrt().next_power_of_two().max(CHUNK_NODES_MIN)
    }

    /// Removes the node at `at`; returns it and the place of the one that followed. Places before `at` stay valid.
    pub(super) fn remove(&mut self, at: At) -> (Node, Option<At>) {
        let chunk = &mut self.chunks[at.chunk];
        let before = chunk.heap_bytes();
        let node = chunk.nodes.remove(at.node).expect("callers name a node that exists");
        chunk.len -= node.len();
        if chunk.nodes.len() < chunk.nodes.capacity() / 4 {
            chunk.nodes.shrink_to(chunk.nodes.len() * 2);
        }
        self.heap = self.heap - before + chunk.heap_bytes() - node.heap_bytes();
        self.nodes -= 1;
        self.len -= node.len();
        if chunk.nodes.is_empty() {
            self.heap -= chunk.heap_bytes();
            self.chunks.remove(at.chunk);
            if self.chunks.len() < self.chunks.capacity() / 4 {
                self.chunks.shrink_to(self.chunks.len() * 2);
            }
        }
        (node.into_node(), self.settled(at))
    }

    /// All nodes as they are now, shared with whoever gets them.
    pub(super) fn share(&mut self) -> Vec<Arc<Node>> {
        let mut shared = Vec::with_capacity(self.nodes);
        for held in self.chunks.iter_mut().flat_map(|chunk| &mut chunk.nodes) {
            let node = match std::mem::replace(held, Held::Own(Node::Plain(Box::default()))) {
                Held::Own(node) => Arc::new(node),
                Held::Shared(node) => node,
            };
            shared.push(Arc::clone(&node));
            *held = Held::Shared(node);
        }
        shared
    }

    /// Joins neighbouring chunks that many removals have left thin.
    pub(super) fn join_thin_chunks(&mut self) {
        let enough = self.chunk_nodes_max() / 2;
        let mut index = 1;
        while index < self.chunks.len() {
            if self.chunks[index - 1].nodes.len() + self.chunks[index].nodes.len() > enough {
                index += 1;
                continue;
            }
            let Some(mut right) = self.chunks.remove(index) else { return };
            let left = &mut self.chunks[index - 1];
            self.heap -= left.heap_bytes() + right.heap_bytes();
            left.nodes.append(&mut right.nodes);
            left.len += right.len;
            self.heap += left.heap_bytes();
        }
    }

    /// Panics unless all accounts are right. O(nodes), for tests.
    pub(super) fn check_invariants(&self) {
        let (mut len, mut nodes, mut heap) = (0, 0, 0);
        for chunk in &self.chunks {
            assert!(!chunk.nodes.is_empty());
            assert_eq!(chunk.len, chunk.nodes.iter().map(Held::len).sum::<usize>());
            len += chunk.len;
            nodes += chunk.nodes.len();
            heap += chunk.total_bytes();
        }
        assert_eq!((len, nodes, heap), (self.len, self.nodes, self.heap));
    }
}

impl Chunk {
    /// Heap bytes of the queue of nodes, without what the nodes hold.
    fn heap_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Held>()
    }

    /// Heap bytes of the queue and of the nodes.
    fn total_bytes(&self) -> usize {
        self.heap_bytes() + self.nodes.iter().map(Held::heap_bytes).sum::<usize>()
    }
}

/// Among parts of these sizes, `total` together, the part that holds item `index < total` and the item's number in it.
fn seek(
    sizes: impl DoubleEndedIterator<Item = usize> + ExactSizeIterator,
    total: usize,
    index: usize,
) -> (usize, usize) {
    if index < total / 2 {
        let mut rest = index;
        for (part, size) in sizes.enumerate() {
            if rest < size {
                return (part, rest);
            }
            rest -= size;
        }
    } else {
        let mut end = total;
        for (part, size) in sizes.enumerate().rev() {
            if index >= end - size {
                return (part, index - (end - size));
            }
            end -= size;
        }
    }
    unreachable!("the sizes add up to the total, and the index is below it")
}
