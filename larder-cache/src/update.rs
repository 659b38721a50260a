//! Writing through: changes of the source that leave nothing old in the cache.
//!
//! Between the moment at which the source changes and the one at which the cache hears of it, a load could read the old
//! value and store it afterwards. So a change is framed: **before** it an update begins, which removes the entries and
//! keeps every load of them from being stored; **after** it the update ends, with the new value or with nothing. If the
//! process dies in between, the guard ends by [time](crate::Policy::guard_ttl).

use crate::cache::Cache;
use crate::entry::{Entry, Kept, Tier, Write, Written};
use crate::error::Error;
use crate::key::CacheKey;
use crate::local::Token;
use crate::store::{self, Epoch, Settled};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Why a write did not succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError<E> {
    /// The source's own error. Whether it has changed is for its error to tell; the entry is absent.
    Source(E),
    /// The write to the source panicked, or was ended with the runtime; the entry is absent.
    Panicked(String),
    /// The cache itself; the source was not written to.
    Cache(Error),
}

impl<E: fmt::Display> fmt::Display for WriteError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Source(error) => write!(f, "the source was not written: {error}"),
            WriteError::Panicked(message) => write!(f, "the write to the source panicked: {message}"),
            WriteError::Cache(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for WriteError<E> {}

/// An update of entries that is under way. Dropping it ends it.
#[must_use = "it ends when it is dropped"]
pub struct Update<K: CacheKey + ?Sized + 'static, V: Send + Sync + 'static> {
    cache: Cache<K, V>,
    guard: [u8; 8],
    /// Those that have not ended yet.
    entries: Vec<Guarded>,
    tags: Vec<Vec<u8>>,
}

struct Guarded {
    key: Box<[u8]>,
    /// From the beginning; `None` if the backend has not taken it, so that a removal is owed at the end.
    begun: Option<(Epoch, Token)>,
}

impl<K: CacheKey + ?Sized + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// Begins an update of entries: they are removed, and until it ends no load of them is stored anywhere.
    ///
    /// ```
    /// # use larder_cache::{Cache, Write};
    /// # use larder_client::Larder;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let larder = Larder::open("embedded://").await.unwrap();
    /// let names: Cache<u64, String> = Cache::builder(&larder, "names").build().await?;
    /// let update = names.begin_update(&[&1, &2]).await?;
    /// // ... transaction.commit().await?
    /// update.end().await?;
    /// # Ok::<(), larder_cache::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// A key that is too long; trouble with the backend under a strict policy. Otherwise the source may be written to
    /// while the backend is away: the removal is then owed, and tried until it succeeds.
    pub async fn begin_update(&self, keys: &[&K]) -> Result<Update<K, V>, Error> {
        let guard: [u8; 8] = std::array::from_fn(|_| fastrand::u8(..));
        let mut update = Update { cache: self.clone(), guard, entries: Vec::new(), tags: Vec::new() };
        for key in keys {
            let bytes = Self::bytes(key)?;
            let key = bytes.as_slice();
            self.inner.local.change(key);
            let step = self.inner.store.drop(key, store::Drop::Begin(&guard, self.policy.guard_ttl));
            let begun = match self.inner.ask(&self.policy, step).await {
                Ok(epoch) => Some((epoch, self.inner.local.change(key))),
                Err(error) if self.policy.is_strict => {
                    self.inner.owe_removal(key);
                    return Err(error);
                }
                Err(_) => None,
            };
            update.entries.push(Guarded { key: key.into(), begun });
        }
        Ok(update)
    }

    /// Writes to the source, and keeps what it has stored.
    ///
    /// The write runs as its own task, so that it does not depend on the caller staying. If it fails, whatever that means
    /// for the source, the entry is absent afterwards: neither the new nor the old value is served. The same is so if
    /// another update or [`set`](Cache::set) of the entry overlaps with this one, since the cache cannot know which of
    /// them the source has seen last; but of updates that all bring a [version](Written::version) the highest stays.
    ///
    /// ```
    /// # use larder_cache::{Cache, WriteError};
    /// # use larder_client::Larder;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let larder = Larder::open("embedded://").await.unwrap();
    /// # async fn save(name: &str) -> Result<String, std::io::Error> { Ok(name.to_owned()) }
    /// let names: Cache<u64, String> = Cache::builder(&larder, "names").build().await.unwrap();
    /// let name = names.write(&1, async { save("Ada").await }).await?;
    /// assert_eq!(*name, "Ada");
    /// assert_eq!(**names.get(&1).await.unwrap().as_ref().unwrap(), "Ada");
    /// # Ok::<(), WriteError<std::io::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// See [`WriteError`]. Trouble with the backend after the source has been written is no error: the entry is absent,
    /// or its removal is owed.
    pub async fn write<E, Fut, W>(&self, key: &K, write: Fut) -> Result<Entry<V>, WriteError<E>>
    where
        E: Send + 'static,
        Fut: Future<Output = Result<W, E>> + Send + 'static,
        W: Into<Written<V>>,
    {
        self.write_with(key, Write::new(), write).await
    }

    /// The same with a time and tags of its own.
    ///
    /// # Errors
    /// As [`Cache::write`].
    pub async fn write_with<E, Fut, W>(
        &self,
        key: &K,
        how: Write,
        write: Fut,
    ) -> Result<Entry<V>, WriteError<E>>
    where
        E: Send + 'static,
        Fut: Future<Output = Result<W, E>> + Send + 'static,
        W: Into<Written<V>>,
    {
        let mut update = self.begin_update(&[key]).await.map_err(WriteError::Cache)?;
        let work = tokio::spawn(async move {
            // If this fails or panics, the update is dropped, which removes the entry.
            let Written { value, version } = write.await?.into();
            let version = version.or(how.version);
            let entry = update.finish(value, Write { version, ..how }).await;
            Ok(entry)
        });
        match work.await {
            Ok(outcome) => outcome.map_err(WriteError::Source),
            Err(error) => Err(WriteError::Panicked(error.to_string())),
        }
    }

    /// Deletes in the source, and removes the entry.
    ///
    /// # Errors
    /// As [`Cache::write`].
    pub async fn write_removal<E, Fut>(&self, key: &K, write: Fut) -> Result<(), WriteError<E>>
    where
        E: Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        let update = self.begin_update(&[key]).await.map_err(WriteError::Cache)?;
        let work = tokio::spawn(async move {
            write.await?;
            // Trouble with the backend is no failure of the write: the removal is owed then.
            let _ = update.end().await;
            Ok(())
        });
        match work.await {
            Ok(outcome) => outcome.map_err(WriteError::Source),
            Err(error) => Err(WriteError::Panicked(error.to_string())),
        }
    }
}

impl<K: CacheKey + ?Sized + 'static, V: Send + Sync + 'static> Update<K, V> {
    /// Removes entries with these tags as well, at the end.
    pub fn tags<T: AsRef<[u8]>>(mut self, tags: impl IntoIterator<Item = T>) -> Update<K, V> {
        self.tags.extend(tags.into_iter().map(|tag| tag.as_ref().to_vec()));
        self
    }

    /// Ends the update: the entries are absent, and loads are stored again.
    ///
    /// # Errors
    /// Trouble with the backend; then the removals are owed, and tried until they succeed.
    pub async fn end(mut self) -> Result<(), Error> {
        let entries = std::mem::take(&mut self.entries);
        let tags = std::mem::take(&mut self.tags);
        end(&self.cache, self.guard, entries, &tags).await
    }

    /// Ends the update with the value that the source now has for one of the entries; the others are absent. If other
    /// updates of the entry are under way, it is absent until the last of them has ended, and then has the value of the
    /// highest [version](Write::version), if all of them bring one.
    ///
    /// # Errors
    /// As [`Update::end`]; [`Error::Setting`] if the update is not of this entry, and errors of encoding: the entry is
    /// absent then.
    pub async fn end_with(mut self, key: &K, value: V, how: Write) -> Result<(), Error> {
        let bytes = Cache::<K, V>::bytes(key)?;
        let place = self.entries.iter().position(|entry| *entry.key == *bytes.as_slice());
        let place = place.ok_or_else(|| Error::Setting("the update is not of this entry".to_owned()))?;
        let life = self.cache.policy.life(how.ttl);
        let draft =
            self.cache.draft(bytes.as_slice(), Some(value), life, Duration::ZERO, how.tags, how.etag)?;
        let settled = self.store(place, how.version, &draft.record(&self.cache.policy)).await;
        if settled != Settled::Refused {
            let entry = self.entries.swap_remove(place);
            let begun = entry.begun.filter(|_| settled == Settled::Stored);
            match begun {
                Some((_, token)) => {
                    self.cache.inner.local.changed_to(token, &Arc::new(draft.kept.at(token)));
                }
                None => _ = self.cache.inner.local.change(&entry.key),
            }
        }
        self.end().await
    }

    /// Stores a value under the guard.
    async fn store(&self, place: usize, version: Option<u64>, record: &store::Record<'_>) -> Settled {
        let Guarded { key, begun } = &self.entries[place];
        let Some((epoch, _)) = begun else { return Settled::Refused };
        let inner = &self.cache.inner;
        let settling = inner.store.settle(key, &self.guard, version, *epoch, record);
        // If nobody knows whether it is stored, the end of the guard removes it.
        inner.ask(&self.cache.policy, settling).await.unwrap_or(Settled::Refused)
    }

    /// Ends an update of one entry with its value, which is given back.
    async fn finish(&mut self, value: V, how: Write) -> Entry<V> {
        let policy = Arc::clone(&self.cache.policy);
        let life = policy.life(how.ttl);
        let key = self.entries[0].key.clone();
        let packed = self.cache.inner.packing.pack(Some(&value), life, Duration::ZERO, how.etag.as_deref());
        let at = self.entries[0].begun.map_or(0, |(_, token)| token.at);
        let bytes = crate::cache::weight(&key, &how.tags, packed.as_ref().map_or(0, Vec::len));
        let kept = Arc::new(Kept {
            value: Some(value),
            key: key[..].into(),
            tags: how.tags,
            etag: how.etag.map(String::into_boxed_str),
            life,
            cost: Duration::ZERO,
            fresh_until: std::time::Instant::now() + life,
            at,
            bytes,
        });
        let mut settled = Settled::Refused;
        match packed {
            Ok(data) if crate::cache::check_tags(&kept.tags).is_ok() => {
                let stale = policy.stale_for;
                let record = store::Record { life: life + stale, stale, tags: &kept.tags, data: &data };
                settled = self.store(0, how.version, &record).await;
            }
            _ => self.cache.inner.stats.tell(crate::observe::Event::Unstorable { key: &kept.key }),
        }
        let entries = std::mem::take(&mut self.entries);
        match (settled, entries.first().and_then(|entry| entry.begun)) {
            (Settled::Stored, Some((_, token))) => self.cache.inner.local.changed_to(token, &kept),
            (Settled::Waits | Settled::Surpassed, _) => _ = self.cache.inner.local.change(&kept.key),
            _ => _ = end(&self.cache, self.guard, entries, &[]).await,
        }
        Entry { kept, is_stale: false, tier: Tier::Source }
    }
}

impl<K: CacheKey + ?Sized + 'static, V: Send + Sync + 'static> Drop for Update<K, V> {
    fn drop(&mut self) {
        if self.entries.is_empty() && self.tags.is_empty() {
            return;
        }
        let (cache, guard) = (self.cache.clone(), self.guard);
        let (entries, tags) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.tags));
        // Without a runtime the guard ends by its time.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { end(&cache, guard, entries, &tags).await });
        }
    }
}

/// Ends the guards of entries, which removes them, and removes what has the tags.
async fn end<K: CacheKey + ?Sized + 'static, V: Send + Sync + 'static>(
    cache: &Cache<K, V>,
    guard: [u8; 8],
    entries: Vec<Guarded>,
    tags: &[Vec<u8>],
) -> Result<(), Error> {
    let mut outcome = Ok(());
    for Guarded { key, .. } in entries {
        cache.inner.local.change(&key);
        let step = cache.inner.store.drop(&key, store::Drop::End(&guard));
        match cache.inner.ask(&cache.policy, step).await {
            Ok(_) => _ = cache.inner.local.change(&key),
            Err(error) => {
                cache.inner.owe_removal(&key);
                outcome = Err(error);
            }
        }
    }
    if let Err(error) = cache.remove_tags(tags).await {
        outcome = Err(error);
    }
    outcome
}
