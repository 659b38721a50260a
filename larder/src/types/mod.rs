//! The values that keys hold.
//!
//! A short string lives inside its entry; everything else is a [`Body`] behind one pointer. Each type keeps to its own
//! file: its representations, when it changes from one to the other, and what it costs in memory. Types know nothing
//! of replies, keys or clients.

pub(crate) mod draw;
pub mod hash;
pub mod list;
mod records;
pub mod set;
pub mod string;
pub mod zset;

pub use hash::Hash;
pub use list::List;
pub use set::Set;
pub use zset::Zset;

/// A value too large, or too structured, for its entry.
#[derive(Debug, Clone)]
pub enum Body {
    /// A long string, or one that grows by APPEND and SETRANGE.
    Bytes(Vec<u8>),
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

/// What all collections have in common.
pub trait Collection: Sized {
    /// Its type.
    const TYPE: Type;
    /// The collection in a body, if it is one of this type.
    fn of(body: &Body) -> Option<&Self>;
    /// The same, to be changed.
    fn of_mut(body: &mut Body) -> Option<&mut Self>;
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
    ($name:ident) => {
        impl Collection for $name {
            const TYPE: Type = Type::$name;

            fn of(body: &Body) -> Option<&Self> {
                if let Body::$name(inner) = body { Some(inner) } else { None }
            }

            fn of_mut(body: &mut Body) -> Option<&mut Self> {
                if let Body::$name(inner) = body { Some(inner) } else { None }
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
collection!(List);
collection!(Set);
collection!(Hash);
collection!(Zset);

/// Elements from which on a value is freed by a background thread, and a long read of it pins it.
pub(crate) const LARGE_ELEMENTS: usize = 512;
/// Bytes from which on a string is large.
pub(crate) const LARGE_BYTES: usize = 64 * 1024;

impl Body {
    /// Its type.
    pub fn kind(&self) -> Type {
        match self {
            Body::Bytes(_) => Type::String,
            Body::List(_) => Type::List,
            Body::Set(_) => Type::Set,
            Body::Hash(_) => Type::Hash,
            Body::Zset(_) => Type::Zset,
        }
    }

    /// How many elements it has; 1 for a string.
    pub fn elements(&self) -> usize {
        match self {
            Body::Bytes(_) => 1,
            Body::List(list) => list.len(),
            Body::Set(set) => set.len(),
            Body::Hash(hash) => hash.len(),
            Body::Zset(zset) => zset.len(),
        }
    }

    /// The name of its representation, as OBJECT ENCODING tells it.
    pub fn encoding(&self) -> &'static str {
        match self {
            Body::Bytes(_) => "raw",
            Body::List(list) => list.encoding(),
            Body::Set(set) => set.encoding(),
            Body::Hash(hash) => hash.encoding(),
            Body::Zset(zset) => zset.encoding(),
        }
    }

    /// The heap bytes it takes.
    pub fn memory(&self) -> usize {
        size_of::<larder_structures::sync::Shared<Body>>()
            + match self {
                Body::Bytes(bytes) => bytes.capacity(),
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
