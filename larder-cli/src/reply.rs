//! Replies as they are printed: the texts of the wire, without what no output shows.

use larder_resp::{Collection, Scalar, Tree};

/// One reply, or one element of a reply.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// Null of RESP2 in both its forms, and of RESP3.
    Nil,
    Boolean(bool),
    /// The text of the wire: servers differ in how many digits they write, and a terminal shows what was sent.
    Double(String),
    BigNumber(String),
    /// Text in a format that terminals need not know.
    Verbatim(Vec<u8>),
    Array(Vec<Reply>),
    /// Keys and values in turn.
    Map(Vec<Reply>),
    Set(Vec<Reply>),
    /// Out of band: no answer to a command, except where publish and subscribe use it as one.
    Push(Vec<Reply>),
}

impl Tree for Reply {
    fn scalar(scalar: Scalar<'_>) -> Self {
        match scalar {
            Scalar::Simple(text) => Self::Simple(text.to_vec()),
            Scalar::Error(text) => Self::Error(text.to_vec()),
            Scalar::Integer(value) => Self::Integer(value),
            Scalar::Bulk(bytes) => Self::Bulk(bytes.to_vec()),
            Scalar::Null | Scalar::NullArray => Self::Nil,
            Scalar::Boolean(value) => Self::Boolean(value),
            Scalar::Double(_, text) => Self::Double(text.to_owned()),
            Scalar::BigNumber(digits) => Self::BigNumber(digits.to_owned()),
            Scalar::Verbatim(_, text) => Self::Verbatim(text.to_vec()),
        }
    }

    fn collection(kind: Collection, mut elements: Vec<Self>) -> Self {
        match kind {
            Collection::Array => Self::Array(elements),
            Collection::Map => Self::Map(elements),
            Collection::Set => Self::Set(elements),
            Collection::Push => Self::Push(elements),
            // What is said about a reply is not part of it: only the reply, which comes last, is shown.
            Collection::Attribute => elements.pop().unwrap_or(Self::Nil),
        }
    }
}

impl Reply {
    /// The bytes of any text.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text) | Self::Error(text) | Self::Bulk(text) | Self::Verbatim(text) => Some(text),
            Self::Double(text) | Self::BigNumber(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The same for people, with a sign where it is not UTF-8.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Integer(value) => value.to_string(),
            other => String::from_utf8_lossy(other.bytes().unwrap_or_default()).into_owned(),
        }
    }

    /// An integer, also where it comes as text.
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            other => std::str::from_utf8(other.bytes()?).ok()?.parse().ok(),
        }
    }

    /// The elements of any collection; keys and values in turn for a map.
    pub(crate) fn elements(&self) -> Option<&[Reply]> {
        match self {
            Self::Array(all) | Self::Map(all) | Self::Set(all) | Self::Push(all) => Some(all),
            _ => None,
        }
    }

    pub(crate) const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The value of a text key, in a map or in an array of keys and values.
    pub(crate) fn get(&self, key: &str) -> Option<&Reply> {
        let pairs = self.elements()?.chunks_exact(2);
        pairs.into_iter().find(|pair| pair[0].bytes() == Some(key.as_bytes())).map(|pair| &pair[1])
    }
}
