//! Looking at an entry that may wait to be written back.

use super::WriteBackCache;
use crate::cache::Cache;
use crate::error::Error;
use crate::explain::Inspection;
use crate::key::CacheKey;
use serde::Serialize;
use serde::de::DeserializeOwned;

impl<K, V> WriteBackCache<K, V>
where
    K: CacheKey + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// What there is of an entry, as [`Cache::inspect`] says it. A change that the source has not got yet is
    /// [dirty](Inspection::is_dirty), and not [found](Inspection::is_found) if it is a deletion.
    ///
    /// # Errors
    /// As [`Cache::inspect`].
    pub async fn inspect(&self, key: &K) -> Result<Option<Inspection>, Error> {
        let bytes = Cache::<K, V>::bytes(key)?;
        match self.shared.pending(bytes.as_slice()) {
            Some(kept) => Ok(Some(Inspection { is_dirty: true, ..Inspection::of(&kept) })),
            None => self.shared.cache.inspect(key).await,
        }
    }
}
