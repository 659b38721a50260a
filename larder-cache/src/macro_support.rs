//! What the code that `cached` makes calls. Nothing here is for people.

use crate::cache::Cache;
use std::borrow::Borrow;

/// What a key expression gives, as the key of this cache.
pub fn key<'a, K: ?Sized, V, Q: Borrow<K> + ?Sized>(_: &Cache<K, V>, given: &'a Q) -> &'a K {
    given.borrow()
}
