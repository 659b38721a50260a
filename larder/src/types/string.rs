//! The string value: three ways to keep one, and how it is seen.
//!
//! A canonical decimal is kept as an integer, a short string inside its entry, a long one as a body. OBJECT ENCODING
//! answers by Redis' rules, which are about the length and not about where the bytes are.

use larder_structures::decimal;

/// Strings up to this length live in their entry.
pub(crate) const EMBEDDED_MAX: usize = 1024;

/// A string as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringRef<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// The decimal it is.
    Integer(i64),
}

/// Room for the digits of a [`StringRef::Integer`].
pub type Digits = itoa::Buffer;

impl<'a> From<larder_structures::listpack::Element<'a>> for StringRef<'a> {
    fn from(element: larder_structures::listpack::Element<'a>) -> Self {
        match element {
            larder_structures::listpack::Element::Str(bytes) => StringRef::Bytes(bytes),
            larder_structures::listpack::Element::Int(number) => StringRef::Integer(number),
        }
    }
}

impl<'a> StringRef<'a> {
    /// How many bytes it has.
    pub fn len(self) -> usize {
        match self {
            StringRef::Bytes(bytes) => bytes.len(),
            StringRef::Integer(number) => decimal::decimal_len(number),
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Its bytes; an integer's digits are written to `digits` first.
    pub fn bytes<'d>(self, digits: &'d mut Digits) -> &'d [u8]
    where
        'a: 'd,
    {
        match self {
            StringRef::Bytes(bytes) => bytes,
            StringRef::Integer(number) => digits.format(number).as_bytes(),
        }
    }

    /// A copy of its bytes.
    pub fn to_vec(self) -> Vec<u8> {
        match self {
            StringRef::Bytes(bytes) => bytes.to_vec(),
            StringRef::Integer(_) => self.bytes(&mut Digits::new()).to_vec(),
        }
    }

    /// The decimal it is, if it is one.
    pub fn integer(self) -> Option<i64> {
        match self {
            StringRef::Bytes(bytes) => decimal::parse_canonical_i64(bytes),
            StringRef::Integer(number) => Some(number),
        }
    }

    /// Whether it is `bytes`, whose `number` the caller has found out.
    #[inline]
    pub fn is(self, bytes: &[u8], number: Option<i64>) -> bool {
        match self {
            StringRef::Bytes(own) => own == bytes,
            StringRef::Integer(own) => number == Some(own),
        }
    }

    /// Writes it as a bulk reply.
    #[inline]
    pub fn reply(self, reply: &mut larder_resp::ReplyWriter<'_>) {
        match self {
            StringRef::Bytes(bytes) => reply.bulk(bytes),
            StringRef::Integer(number) => reply.bulk_integer(number),
        }
    }
}
