//! A store for the crate `tower-sessions`, and so for `axum-login` and others that are built on it.
//!
//! What that crate asks for is less than [`Session`](crate::Session) does: records are written whole, and the last
//! writer wins. What it leaves to the store is done: an id is never given to two sessions, a record that was deleted
//! is not brought back by a request that read it before, and records end by themselves.

use larder_client::{Error, Larder, SetOptions, Ttl};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Keeps the sessions of `tower-sessions`: version 0.14 of its core with the feature `tower-sessions-0-14`, 0.15 with
/// `tower-sessions-0-15`.
///
/// ```
/// use larder_client::Larder;
/// use larder_session::TowerStore;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let store = TowerStore::new(Larder::open("embedded://").await?);
/// // tower_sessions::SessionManagerLayer::new(store)
/// # Ok::<(), larder_client::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct TowerStore {
    larder: Larder,
    prefix: String,
}

impl fmt::Debug for TowerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl TowerStore {
    /// A store whose keys begin with `tower:`.
    pub fn new(larder: Larder) -> TowerStore {
        TowerStore { larder, prefix: "tower:".to_owned() }
    }

    /// The same with other beginnings of keys.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> TowerStore {
        self.prefix = prefix.into();
        self
    }

    fn key(&self, id: &dyn fmt::Display) -> String {
        format!("{}{id}", self.prefix)
    }

    /// Stores a record until `ends_ns`, in nanoseconds of Unix time, if the key is there or not, as `is_new` says.
    /// Returns whether it was so.
    async fn write(&self, key: &str, record: &[u8], ends_ns: i128, is_new: bool) -> Result<bool, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let left_ns = ends_ns - now.as_nanos() as i128;
        let Ok(left_ns @ 1..) = u64::try_from(left_ns.min(i128::from(u64::MAX))) else {
            return if is_new { Ok(true) } else { self.larder.del(&[key]).await.map(|deleted| deleted > 0) };
        };
        let options = SetOptions::new().ttl(Ttl::In(Duration::from_nanos(left_ns)));
        let options = if is_new { options.if_absent() } else { options.if_present() };
        self.larder.set_with(key, record, options).await
    }
}

/// The trait of one version.
macro_rules! adapt {
    ($core:ident) => {
        #[async_trait::async_trait]
        impl $core::SessionStore for TowerStore {
            async fn create(&self, record: &mut $core::session::Record) -> $core::session_store::Result<()> {
                use $core::session_store::Error;
                let encoded = serde_json::to_vec(&(record.expiry_date, &record.data));
                let encoded = encoded.map_err(|error| Error::Encode(error.to_string()))?;
                let ends_ns = record.expiry_date.unix_timestamp_nanos();
                loop {
                    let written = self.write(&self.key(&record.id), &encoded, ends_ns, true).await;
                    if written.map_err(|error| Error::Backend(error.to_string()))? {
                        return Ok(());
                    }
                    record.id = $core::session::Id::default();
                }
            }

            async fn save(&self, record: &$core::session::Record) -> $core::session_store::Result<()> {
                use $core::session_store::Error;
                let encoded = serde_json::to_vec(&(record.expiry_date, &record.data));
                let encoded = encoded.map_err(|error| Error::Encode(error.to_string()))?;
                let ends_ns = record.expiry_date.unix_timestamp_nanos();
                // A session that has ended meanwhile stays so: what is dropped was for nobody.
                let written = self.write(&self.key(&record.id), &encoded, ends_ns, false).await;
                written.map(|_| ()).map_err(|error| Error::Backend(error.to_string()))
            }

            async fn load(
                &self,
                id: &$core::session::Id,
            ) -> $core::session_store::Result<Option<$core::session::Record>> {
                use $core::session_store::Error;
                let found = self.larder.get(self.key(id)).await;
                let Some(bytes) = found.map_err(|error| Error::Backend(error.to_string()))? else {
                    return Ok(None);
                };
                let (expiry_date, data) =
                    serde_json::from_slice(&bytes).map_err(|error| Error::Decode(error.to_string()))?;
                Ok(Some($core::session::Record { id: *id, data, expiry_date }))
            }

            async fn delete(&self, id: &$core::session::Id) -> $core::session_store::Result<()> {
                use $core::session_store::Error;
                let deleted = self.larder.del(&[self.key(id)]).await;
                deleted.map(|_| ()).map_err(|error| Error::Backend(error.to_string()))
            }
        }
    };
}

#[cfg(feature = "tower-sessions-0-14")]
adapt!(tower_sessions_core_0_14);
#[cfg(feature = "tower-sessions-0-15")]
adapt!(tower_sessions_core_0_15);
