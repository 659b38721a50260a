//! Keys of entries.

use smallvec::SmallVec;

/// More bytes than this no key may have; [`Error::KeyTooLong`](crate::Error) tells of one that has.
pub const KEY_MAX: usize = 1024;

/// What can be the key of an entry: text, numbers, and tuples of them.
///
/// Different keys have different bytes: in tuples the parts are separated by `:`, which is escaped inside of them.
///
/// ```
/// use larder_cache::{CacheKey, KeyBytes};
///
/// let bytes = |key: &dyn CacheKey| {
///     let mut bytes = KeyBytes::default();
///     key.write(&mut bytes);
///     String::from_utf8(bytes.as_slice().to_vec()).unwrap()
/// };
/// assert_eq!(bytes(&("de", 7u32)), "de:7");
/// assert_ne!(bytes(&("a:b", "c")), bytes(&("a", "b:c")));
/// ```
pub trait CacheKey {
    /// Appends the bytes of this key.
    fn write(&self, bytes: &mut KeyBytes);
}

/// The bytes of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyBytes(SmallVec<[u8; 64]>);

impl KeyBytes {
    /// The bytes so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Appends text or bytes, with `:` and `%` escaped.
    pub fn push_text(&mut self, text: &[u8]) {
        for byte in text {
            match byte {
                b':' => self.0.extend_from_slice(b"%3a"),
                b'%' => self.0.extend_from_slice(b"%25"),
                plain => self.0.push(*plain),
            }
        }
    }

    /// Separates two parts.
    pub fn separate(&mut self) {
        self.0.push(b':');
    }
}

impl CacheKey for str {
    fn write(&self, bytes: &mut KeyBytes) {
        bytes.push_text(self.as_bytes());
    }
}

impl CacheKey for [u8] {
    fn write(&self, bytes: &mut KeyBytes) {
        bytes.push_text(self);
    }
}

impl CacheKey for String {
    fn write(&self, bytes: &mut KeyBytes) {
        self.as_str().write(bytes);
    }
}

impl CacheKey for Vec<u8> {
    fn write(&self, bytes: &mut KeyBytes) {
        self.as_slice().write(bytes);
    }
}

impl CacheKey for char {
    fn write(&self, bytes: &mut KeyBytes) {
        bytes.push_text(self.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

impl CacheKey for bool {
    fn write(&self, bytes: &mut KeyBytes) {
        bytes.push_text(if *self { b"true" } else { b"false" });
    }
}

/// The one key of a cache that has one entry.
impl CacheKey for () {
    fn write(&self, _: &mut KeyBytes) {}
}

impl<T: CacheKey + ?Sized> CacheKey for &T {
    fn write(&self, bytes: &mut KeyBytes) {
        (**self).write(bytes);
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl CacheKey for $number {
            fn write(&self, bytes: &mut KeyBytes) {
                bytes.push_text(itoa::Buffer::new().format(*self).as_bytes());
            }
        })*
    };
}

numbers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

macro_rules! tuples {
    ($(($first:ident $($rest:ident)+))*) => {
        $(impl<$first: CacheKey, $($rest: CacheKey),+> CacheKey for ($first, $($rest),+) {
            fn write(&self, bytes: &mut KeyBytes) {
                #[allow(non_snake_case, reason = "the parts are called as their types")]
                let ($first, $($rest),+) = self;
                $first.write(bytes);
                $(bytes.separate(); $rest.write(bytes);)+
            }
        })*
    };
}

tuples!((A B) (A B C) (A B C D));
