//! How a cache is made.

use crate::cache::{Cache, Inner};
use crate::codec::{Codec, Packing, schema_hash};
use crate::error::Error;
use crate::feed;
use crate::local::Local;
use crate::observe::Observer;
use crate::policy::Policy;
use crate::store::{Cover, Store};
use crate::upkeep::{Breaker, Debts};
use larder_client::Larder;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A near cache: values as they are, in this process.
///
/// ```
/// # use larder_cache::{Cache, Near};
/// # use larder_client::Larder;
/// # use std::time::Duration;
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let larder = Larder::open("embedded://").await?;
/// let cache: Cache<str, String> = Cache::builder(&larder, "pages")
///     .near(Near::bytes(64 << 20).suspect_after(Duration::from_secs(1)))
///     .build()
///     .await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Near {
    bytes: u64,
    suspect_after: Option<Duration>,
}

impl Near {
    /// One of about so many bytes, kept coherent by the change feed.
    pub fn bytes(bytes: u64) -> Near {
        Near { bytes, suspect_after: Some(Duration::from_secs(2)) }
    }

    /// What is older than this without the backend's word that nothing has changed is not served; 2 seconds by default,
    /// at least 10 milliseconds. Twice in this time the backend is asked.
    pub fn suspect_after(mut self, time: Duration) -> Near {
        self.suspect_after = Some(time.max(Duration::from_millis(10)));
        self
    }

    /// Does not listen to changes: what others change is served until its time is over.
    pub fn incoherent(mut self) -> Near {
        self.suspect_after = None;
        self
    }
}

/// A cache in the making.
#[must_use]
pub struct Builder<K: ?Sized, V: 'static> {
    larder: Larder,
    namespace: String,
    codec: Arc<dyn Codec<V>>,
    schema: String,
    policy: Policy,
    near: Option<Near>,
    compress_from: usize,
    value_max: usize,
    keep: u32,
    cover: Option<Cover>,
    keys: PhantomData<fn(&K)>,
}

/// Parts of a namespace in a cluster.
const PARTITIONS: u32 = 16;
/// Changes that the feed keeps, by default.
const KEEP: u32 = 10_000;

impl<K: ?Sized + 'static, V: Send + Sync + 'static> Builder<K, V> {
    pub(crate) fn new(larder: &Larder, namespace: &str, codec: Arc<dyn Codec<V>>) -> Builder<K, V> {
        Builder {
            larder: larder.clone(),
            namespace: namespace.to_owned(),
            codec,
            schema: String::new(),
            policy: Policy::ttl(Duration::from_secs(300)),
            near: None,
            compress_from: usize::MAX,
            value_max: 64 << 20,
            keep: KEEP,
            cover: None,
            keys: PhantomData,
        }
    }

    /// Times and rules; fresh for five minutes by default.
    pub fn policy(mut self, policy: Policy) -> Builder<K, V> {
        self.policy = policy;
        self
    }

    /// Keeps values in this process as well. On a sliding policy only what is not sliding is.
    pub fn near(mut self, near: Near) -> Builder<K, V> {
        self.near = Some(near);
        self
    }

    /// A name for the shape of values: entries of another shape are misses. Programs of up to four shapes can share a
    /// namespace, as they do while a new version replaces an old one: each loads its own form of an entry, which is kept
    /// beside the others for as long as those live, and an invalidation by any of them concerns all forms.
    pub fn schema(mut self, schema: &str) -> Builder<K, V> {
        schema.clone_into(&mut self.schema);
        self
    }

    /// Compresses values of so many bytes or more with LZ4. Nothing is compressed by default.
    pub fn compress_from(mut self, bytes: usize) -> Builder<K, V> {
        self.compress_from = bytes.max(1);
        self
    }

    /// Longer values, before compression, are not kept; 64 MiB by default, at most 512 MiB.
    pub fn value_max(mut self, bytes: usize) -> Builder<K, V> {
        self.value_max = bytes.min(512 << 20);
        self
    }

    /// How many changes the feed keeps for near caches that have missed some; more than this, and they start anew.
    /// 10,000 by default, at most a million.
    pub fn feed_length(mut self, changes: u32) -> Builder<K, V> {
        self.keep = changes.clamp(1, 1_000_000);
        self
    }

    /// Lets every invalidation (and every `set` and update) return only when so many replicas of the server that has it have
    /// it as well, so that a fail-over to one of them does not bring back what was invalidated. That is certain only if
    /// every replica that may be promoted is among them; without this such an entry is served until its time is over.
    ///
    /// If fewer replicas have it `within` this time, the call fails with
    /// [`TooFewReplicas`](larder_client::Error::TooFewReplicas), and the entry is treated as after any failed
    /// invalidation: this process tries it again until enough replicas have it, and does not read the entry from the backend
    /// before. The time is part of the [policy's](Policy::backend_timeout) for a step, and at most a second. Costs one round
    /// trip more, over a connection of its own. larder-server has no replicas yet: there every such call fails.
    pub fn wait_replicas(mut self, replicas: u32, within: Duration) -> Builder<K, V> {
        self.cover = (replicas > 0).then_some(Cover { replicas, within });
        self
    }

    /// Makes the cache.
    ///
    /// # Errors
    /// [`Error::Setting`] for a namespace that is empty or too long, and for replicas where there are none or that are
    /// waited for as long as a step may take; with a near cache, trouble with the backend, since
    /// it has to be listened to.
    pub async fn build(self) -> Result<Cache<K, V>, Error> {
        const NAMESPACE_MAX: usize = 256;
        if self.namespace.is_empty() || self.namespace.len() > NAMESPACE_MAX {
            return Err(Error::Setting(format!("a namespace has 1 to {NAMESPACE_MAX} bytes")));
        }
        if let Some(cover) = self.cover {
            cover.check(&self.larder, &self.policy)?;
        }
        let partitions = if self.larder.is_cluster() { PARTITIONS } else { 1 };
        let is_embedded = self.larder.engine().is_some();
        let schema = schema_hash(self.codec.name(), &self.schema);
        let near_bytes = self.near.as_ref().map_or(0, |near| near.bytes);
        let inner = Arc::new(Inner {
            store: Store::new(self.larder, &self.namespace, partitions, self.keep).covered_by(self.cover),
            packing: Packing {
                codec: self.codec,
                schema,
                compress_from: self.compress_from,
                value_max: self.value_max,
            },
            local: Local::new(near_bytes),
            debts: Debts::default(),
            breaker: Breaker::new(),
            stats: Observer::new(&self.namespace),
            is_embedded,
        });
        if let Some(suspect_after) = self.near.and_then(|near| near.suspect_after) {
            feed::follow(&inner, suspect_after).await?;
        }
        Ok(Cache { inner, policy: Arc::new(self.policy), keys: PhantomData })
    }
}
