//! How a snapshot gets a large collection while it changes.
//!
//! A hash, a set or a sorted set in its large form is a table whose elements have colours: the snapshot walks over it in
//! steps, and elements that change before it comes to them are kept for it (the essay is in
//! `larder_structures::table::colour`). A list shares its nodes. Either way it takes next to no time to begin, and no
//! change of the collection has to wait for the snapshot.

use super::{Body, Type};
use larder_structures::quicklist::Node;
use larder_structures::table::{Keeper, Kept};
use std::sync::Arc;

/// How a large collection is given to a snapshot.
pub(crate) enum Begun {
    /// In steps; see [`Body::keep_some`].
    InSteps {
        /// What it is. The values of kept elements are those of fields, nothing for members of sets, and scores, in the
        /// bytes of little-endian doubles.
        kind: Type,
        /// How many elements it has now.
        count: u64,
    },
    /// As its nodes.
    Nodes(Vec<Arc<Node>>),
}

impl Body {
    /// Begins to give a large collection to a snapshot, as it is now; `None` if it is to be given whole. Elements that
    /// change from now on go to the keeper that `keeper` makes.
    pub(crate) fn begin_keeping(&mut self, keeper: impl FnOnce() -> Arc<Keeper>) -> Option<Begun> {
        if !self.is_large() {
            return None;
        }
        let count = self.elements() as u64;
        let kind = match self {
            Body::Bytes(_) => return None,
            Body::List(list) => return Some(Begun::Nodes(list.share_nodes())),
            Body::Set(set) => {
                set.large_mut()?.begin_keeping(keeper());
                Type::Set
            }
            Body::Hash(hash) => {
                hash.large_mut()?.begin_keeping(keeper());
                Type::Hash
            }
            Body::Zset(zset) => {
                zset.large_mut()?.begin_keeping(keeper());
                Type::Zset
            }
        };
        Some(Begun::InSteps { kind, count })
    }

    /// Who keeps elements for the snapshot that is walking over it, if there is one.
    pub(crate) fn keeper(&self) -> Option<&Arc<Keeper>> {
        match self {
            Body::Bytes(_) | Body::List(_) => None,
            Body::Set(set) => set.large()?.keeper(),
            Body::Hash(hash) => hash.large()?.keeper(),
            Body::Zset(zset) => zset.large()?.keeper(),
        }
    }

    /// A step of the snapshot's walk from `cursor` on, 0 at first: puts some elements behind `kept` and returns the next
    /// cursor, 0 at the end.
    pub(crate) fn keep_some(&mut self, cursor: u64, kept: &mut Kept) -> u64 {
        let next = match self {
            Body::Bytes(_) | Body::List(_) => None,
            Body::Set(set) => set.large_mut().map(|set| set.keep_some(cursor, kept)),
            Body::Hash(hash) => hash.large_mut().map(|hash| hash.keep_some(cursor, kept)),
            Body::Zset(zset) => zset.large_mut().map(|zset| zset.keep_some(cursor, kept)),
        };
        next.unwrap_or(0)
    }

    /// Ends the walk.
    pub(crate) fn end_keeping(&mut self) {
        match self {
            Body::Bytes(_) | Body::List(_) => None,
            Body::Set(set) => set.large_mut().map(|set| set.end_keeping()),
            Body::Hash(hash) => hash.large_mut().map(|hash| hash.end_keeping()),
            Body::Zset(zset) => zset.large_mut().map(|zset| zset.end_keeping()),
        };
    }
}
