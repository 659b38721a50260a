//! The values that keys hold.
//!
//! A short string lives inside its entry, and so does a small collection, as [`Packed`] bytes; everything else is a
//! [`Body`] behind one pointer. Reading sees no difference: each collection has a view (`HashRef` and so on), made of
//! either, which is where all reading is defined. To be changed, packed bytes are taken out, and put back as what they
//! fit in then. Each type keeps to its own
//! file: its representations, when it changes from one to the other, and what it costs in memory. Types know nothing
//! of replies, keys or clients.

pub(crate) mod draw;
pub mod hash;
pub(crate) mod keeping;
pub mod list;
mod records;
pub mod set;
pub mod string;
pub mod zset;

pub use hash::{Hash, HashRef};
pub use list::List;
pub use set::{Set, SetRef};
pub use zset::{Zset, ZsetRef};

use larder_structures::intset::IntsetRef;
use larder_structures::listpack::ListpackRef;
use larder_structures::record::Record;
use larder_structures::table::Table;
use records::Records;
use std::sync::Arc;

/// A value too large, or too structured, for its entry.
#[derive(Debug, Clone)]
pub enum Body {
    /// A long string, or one that grows by APPEND and SETRANGE. It may be on its way to clients while it is replaced;
    /// whoever changes it in place then changes a copy.
    Bytes(Arc<Vec<u8>>),
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A hash.
    Hash(Hash),
    /// A sorted set.
    Zset(Zset),
}

/// The type of a value, as TYPE names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `string`
    String,
    /// `list`
    List,
    /// `set`
    Set,
    /// `hash`
    Hash,
    /// `zset`
    Zset,
}

impl Type {
    /// The word that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::Hash => "hash",
            Type::Zset => "zset",
        }
    }
}

/// A small collection as it lies in its entry, without the headers that the format has elsewhere.
#[derive(Debug, Clone, Copy)]
pub enum Packed<'a> {
    /// A hash: field, value, field, value.
    Hash(ListpackRef<'a>),
    /// A sorted set: member, score, member, score.
    Zset(ListpackRef<'a>),
    /// A set of strings.
    Set(ListpackRef<'a>),
    /// A set of integers.
    Ints(IntsetRef<'a>),
}

/// Bytes of a collection that lives in its entry at most. Beyond, moving them with every change costs more than a
/// pointer does.
pub(crate) const PACKED_MAX: usize = 512;

impl<'a> Packed<'a> {
    /// What an entry keeps under a tag.
    #[inline]
    pub(crate) fn new(tag: u8, bytes: &'a [u8]) -> Packed<'a> {
        match tag {
            0 => Packed::Hash(ListpackRef::trusted(bytes)),
            1 => Packed::Zset(ListpackRef::trusted(bytes)),
            2 => Packed::Set(ListpackRef::trusted(bytes)),
            width => Packed::Ints(IntsetRef::trusted(1 << (width - 2).min(3), bytes)),
        }
    }

    /// The tag and the bytes for an entry.
    pub(crate) fn parts(self) -> (u8, &'a [u8]) {
        match self {
            Packed::Hash(pack) => (0, pack.entries()),
            Packed::Zset(pack) => (1, pack.entries()),
            Packed::Set(pack) => (2, pack.entries()),
            Packed::Ints(ints) => (2 + ints.width().trailing_zeros() as u8, ints.members()),
        }
    }
}

/// What all collections have in common.
pub trait Collection: Sized {
    /// Its type.
    const TYPE: Type;
    /// How it is read.
    type Ref<'a>: Copy;
    /// The collection a view shows, if it is one of this type.
    fn seen(view: BodyRef<'_>) -> Option<Self::Ref<'_>>;
    /// The collection in a body, if it is one of this type.
    fn of(body: &Body) -> Option<&Self>;
    /// The collection in a body, to be changed, if it is one of this type.
    fn of_mut(body: &mut Body) -> Option<&mut Self>;
    /// A copy of packed bytes, to be changed, in memory that is taken from `buf`.
    fn unpacked(packed: Packed<'_>, buf: Vec<u8>) -> Option<Self>;
    /// Its bytes, if they are few enough to live in an entry.
    fn packed(&self) -> Option<Packed<'_>>;
    /// Gives it up for its memory, to be used for another.
    fn into_memory(self) -> Vec<u8>;
    /// Makes it a value.
    fn into_body(self) -> Body;
    /// How many elements it has; a collection without any is removed from the keyspace.
    fn len(&self) -> usize;
    /// Whether it has no elements.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The heap bytes it takes; constant time.
    fn memory(&self) -> usize;
}

macro_rules! collection {
    ($name:ident, $view:ty) => {
        impl Collection for $name {
            const TYPE: Type = Type::$name;
            type Ref<'a> = $view;

            #[inline]
            fn seen(view: BodyRef<'_>) -> Option<Self::Ref<'_>> {
                if let BodyRef::$name(inner) = view { Some(inner) } else { None }
            }

            fn of(body: &Body) -> Option<&Self> {
                if let Body::$name(inner) = body { Some(inner) } else { None }
            }

            fn of_mut(body: &mut Body) -> Option<&mut Self> {
                if let Body::$name(inner) = body { Some(inner) } else { None }
            }

            fn unpacked(packed: Packed<'_>, buf: Vec<u8>) -> Option<Self> {
                $name::unpacked(packed, buf)
            }

            fn packed(&self) -> Option<Packed<'_>> {
                $name::packed(self).filter(|packed| packed.parts().1.len() <= PACKED_MAX)
            }

            fn into_memory(self) -> Vec<u8> {
                $name::into_memory(self)
            }

            fn into_body(self) -> Body {
                Body::$name(self)
            }

            fn len(&self) -> usize {
                $name::len(self)
            }

            fn memory(&self) -> usize {
                $name::memory(self)
            }
        }
    };
}
collection!(List, &'a List);
collection!(Set, SetRef<'a>);
collection!(Hash, HashRef<'a>);
collection!(Zset, ZsetRef<'a>);

/// A collection, wherever it is kept.
#[derive(Clone, Copy)]
pub enum BodyRef<'a> {
    /// A list.
    List(&'a List),
    /// A set.
    Set(SetRef<'a>),
    /// A hash.
    Hash(HashRef<'a>),
    /// A sorted set.
    Zset(ZsetRef<'a>),
}

impl<'a> From<Packed<'a>> for BodyRef<'a> {
    fn from(packed: Packed<'a>) -> Self {
        match packed {
            Packed::Hash(pack) => BodyRef::Hash(pack.into()),
            Packed::Zset(pack) => BodyRef::Zset(pack.into()),
            Packed::Set(pack) => BodyRef::Set(pack.into()),
            Packed::Ints(ints) => BodyRef::Set(ints.into()),
        }
    }
}

impl BodyRef<'_> {
    /// Its type.
    pub fn kind(self) -> Type {
        match self {
            BodyRef::List(_) => Type::List,
            BodyRef::Set(_) => Type::Set,
            BodyRef::Hash(_) => Type::Hash,
            BodyRef::Zset(_) => Type::Zset,
        }
    }

    /// How many elements it has.
    pub fn elements(self) -> usize {
        match self {
            BodyRef::List(list) => list.len(),
            BodyRef::Set(set) => set.len(),
            BodyRef::Hash(hash) => hash.len(),
            BodyRef::Zset(zset) => zset.len(),
        }
    }

    /// The name of its representation, as OBJECT ENCODING tells it.
    pub fn encoding(self) -> &'static str {
        match self {
            BodyRef::List(list) => list.encoding(),
            BodyRef::Set(set) => set.encoding(),
            BodyRef::Hash(hash) => hash.encoding(),
            BodyRef::Zset(zset) => zset.encoding(),
        }
    }

    /// A copy of it.
    pub fn to_body(self) -> Body {
        match self {
            BodyRef::List(list) => Body::List(list.clone()),
            BodyRef::Set(set) => Body::Set(set.to_set()),
            BodyRef::Hash(hash) => Body::Hash(hash.to_hash()),
            BodyRef::Zset(zset) => Body::Zset(zset.to_zset()),
        }
    }
}

/// What looking at a member and adding it to a collection costs, as
/// [`breathe`](larder_structures::sys::breathe) counts.
pub(crate) const MEMBER_UNITS: u32 = 32;
/// Elements from which on a value is freed by a background thread, and a long read of it pins it.
pub(crate) const LARGE_ELEMENTS: usize = 512;
/// Bytes from which on a string is large.
pub(crate) const LARGE_BYTES: usize = 64 * 1024;

impl Body {
    /// How it is read: as a collection, or, if it is none, as a string.
    ///
    /// # Errors
    /// The string, if it is one.
    pub fn seen(&self) -> Result<BodyRef<'_>, &[u8]> {
        match self {
            Body::Bytes(bytes) => Err(bytes),
            Body::List(list) => Ok(BodyRef::List(list)),
            Body::Set(set) => Ok(BodyRef::Set(set.view())),
            Body::Hash(hash) => Ok(BodyRef::Hash(hash.view())),
            Body::Zset(zset) => Ok(BodyRef::Zset(zset.view())),
        }
    }

    /// Its bytes, if it is a collection of few enough to live in an entry.
    pub(crate) fn packed(&self) -> Option<Packed<'_>> {
        match self {
            Body::Bytes(_) => None,
            Body::List(list) => Collection::packed(list),
            Body::Set(set) => Collection::packed(set),
            Body::Hash(hash) => Collection::packed(hash),
            Body::Zset(zset) => Collection::packed(zset),
        }
    }

    /// The table of its members or fields, if it has one: for who fetches ahead what a lookup there will need.
    pub(crate) fn table(&self) -> Option<&Table<Record>> {
        let records = match self {
            Body::Set(set) => set.large(),
            Body::Hash(hash) => hash.large(),
            Body::Bytes(_) | Body::List(_) | Body::Zset(_) => None,
        };
        records.map(Records::table)
    }

    /// How many elements it has; 1 for a string.
    pub fn elements(&self) -> usize {
        self.seen().map_or(1, BodyRef::elements)
    }

    /// The heap bytes it takes.
    pub fn memory(&self) -> usize {
        size_of::<larder_structures::sync::Shared<Body>>()
            + match self {
                Body::Bytes(bytes) => size_of::<[usize; 2]>() + size_of::<Vec<u8>>() + bytes.capacity(),
                Body::List(list) => list.memory(),
                Body::Set(set) => set.memory(),
                Body::Hash(hash) => hash.memory(),
                Body::Zset(zset) => zset.memory(),
            }
    }

    /// Whether it is too large to be freed, or read for long, under a lock.
    pub fn is_large(&self) -> bool {
        match self {
            Body::Bytes(bytes) => bytes.len() > LARGE_BYTES,
            _ => self.elements() > LARGE_ELEMENTS,
        }
    }
}
