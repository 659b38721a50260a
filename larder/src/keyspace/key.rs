//! The key that a command was planned by, with its hash.
//!
//! The plan hashes the key to find the shard; the handler then hands the same bytes of the same request to every lookup.
//! Comparing an address tells that they are the same, so a key is hashed once per command however often it is looked up.

use larder_structures::hash;

/// The planned key of a command that has exactly one; see the module's text.
#[derive(Clone, Copy)]
pub(crate) struct PlannedKey<'a> {
    bytes: &'a [u8],
    hash: u64,
}

/// An address that no key has.
static NOWHERE: [u8; 1] = [0];

impl<'a> PlannedKey<'a> {
    /// No key: every lookup hashes its own.
    pub(crate) const NONE: PlannedKey<'static> = PlannedKey { bytes: &NOWHERE, hash: 0 };

    /// A key, with its hash.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], hash: u64) -> PlannedKey<'a> {
        PlannedKey { bytes, hash }
    }

    /// The hash of `key`.
    #[inline]
    pub(crate) fn hash_of(self, key: &[u8]) -> u64 {
        if std::ptr::eq(key, self.bytes) { self.hash } else { hash::of(key) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_gets_its_own_hash() {
        let keys = b"onetwo";
        let planned = PlannedKey::new(&keys[..3], hash::of(&keys[..3]));
        for key in [&keys[..3], &keys[..2], &keys[3..], &keys[..], &keys[..0], b"one"] {
            assert_eq!(planned.hash_of(key), hash::of(key), "{key:?}");
            assert_eq!(PlannedKey::NONE.hash_of(key), hash::of(key), "{key:?}");
        }
    }
}
