//! The handle: reads that load nothing, and changes.

use crate::builder::Builder;
use crate::codec::{Codec, MsgPack, Packing};
use crate::entry::{Entry, Kept, Tier, Write};
use crate::error::Error;
use crate::forms::Others;
use crate::key::{CacheKey, KEY_MAX, KeyBytes};
use crate::local::{Local, Token};
use crate::observe::{Event, Observer, Served};
use crate::policy::Policy;
use crate::stats::Stats;
use crate::store::{Drop, Head, Look, Record, State, Store, Sweep};
use crate::upkeep::{Breaker, Debts};
use larder_client::Larder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A cache of values `V` under keys `K`: a namespace on a backend. To be cloned freely; see the [front page](crate).
pub struct Cache<K: ?Sized, V: 'static> {
    pub(crate) inner: Arc<Inner<V>>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) keys: PhantomData<fn(&K)>,
}

pub(crate) struct Inner<V: 'static> {
    pub(crate) store: Store,
    pub(crate) packing: Packing<V>,
    pub(crate) local: Local<V>,
    pub(crate) debts: Debts,
    pub(crate) breaker: Breaker,
    pub(crate) stats: Observer,
    /// Whether a step at the backend needs no time limit, as it is in this process.
    pub(crate) is_embedded: bool,
}

impl<K: ?Sized, V: 'static> Clone for Cache<K, V> {
    fn clone(&self) -> Cache<K, V> {
        Cache { inner: Arc::clone(&self.inner), policy: Arc::clone(&self.policy), keys: PhantomData }
    }
}

impl<K: ?Sized, V: 'static> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// What the backend has of an entry.
pub(crate) enum Seen<V> {
    Absent,
    /// There are bytes, but they are not ours.
    Undecodable,
    Fresh(Arc<Kept<V>>),
    Stale(Arc<Kept<V>>),
}

impl<K: ?Sized + 'static, V: Serialize + DeserializeOwned + Send + Sync + 'static> Cache<K, V> {
    /// Begins a cache in a namespace of a backend; its values are kept as MessagePack.
    pub fn builder(larder: &Larder, namespace: &str) -> Builder<K, V> {
        Cache::builder_with(larder, namespace, MsgPack)
    }
}

impl<K: ?Sized + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// Begins a cache whose values are kept in another [codec](crate::codec).
    pub fn builder_with(larder: &Larder, namespace: &str, codec: impl Codec<V>) -> Builder<K, V> {
        Builder::new(larder, namespace, Arc::new(codec))
    }

    /// The same cache under another policy.
    pub fn with(&self, policy: Policy) -> Cache<K, V> {
        Cache { policy: Arc::new(policy), ..self.clone() }
    }

    /// The policy of this handle.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What it has done so far.
    pub fn stats(&self) -> Stats {
        self.inner.stats.read()
    }

    /// Loads under way in this process.
    pub fn loads_under_way(&self) -> usize {
        self.inner.local.flights()
    }

    /// Entries in the near cache, and the bytes that they are counted with.
    pub fn near_size(&self) -> (u64, u64) {
        self.inner.local.near_size()
    }
}

impl<K: CacheKey + ?Sized + 'static, V: Send + Sync + 'static> Cache<K, V> {
    pub(crate) fn bytes(key: &K) -> Result<KeyBytes, Error> {
        let mut bytes = KeyBytes::default();
        key.write(&mut bytes);
        match bytes.as_slice().len() {
            0..=KEY_MAX => Ok(bytes),
            length => Err(Error::KeyTooLong(length)),
        }
    }

    /// A fresh entry, if there is one; nothing is loaded. That something is known not to be found looks like nothing.
    ///
    /// # Errors
    /// A key that is too long; trouble with the backend under a [strict](Policy::strict) policy, otherwise that is a
    /// miss.
    pub async fn get(&self, key: &K) -> Result<Option<Entry<V>>, Error> {
        let bytes = Self::bytes(key)?;
        let key = bytes.as_slice();
        // Reading the clock is a good part of what a hit costs.
        if self.inner.local.has_near()
            && let Some(kept) = self.inner.local.get(key, Instant::now())
        {
            self.inner.stats.served(Served::Near, &kept);
            return Ok(entry(kept, Tier::Near));
        }
        let token = self.inner.local.token(key);
        match self.see(key, token).await {
            Ok(Seen::Fresh(kept)) => {
                self.hit(key, token, &kept);
                Ok(entry(kept, Tier::Backend))
            }
            Ok(_) => {
                self.inner.stats.tell(Event::Missed);
                Ok(None)
            }
            Err(error) if self.policy.is_strict => Err(error),
            Err(_) => {
                self.inner.stats.tell(Event::Missed);
                Ok(None)
            }
        }
    }

    /// Stores a value, for the time that the policy says.
    ///
    /// Loads of the entry that are under way are not stored after it. While an [update](Cache::begin_update) of the
    /// entry is under way nobody can say which is the newer value, so the entry is left absent.
    ///
    /// # Errors
    /// As for [`Cache::set_with`].
    pub async fn set(&self, key: &K, value: V) -> Result<(), Error> {
        self.set_with(key, value, Write::new()).await
    }

    /// Stores a value with a time and tags of its own.
    ///
    /// # Errors
    /// A key that is too long, a value that cannot be encoded: nothing has changed. Trouble with the backend: the entry
    /// is removed instead, which is tried until it succeeds, so that the old value does not stay.
    pub async fn set_with(&self, key: &K, value: V, write: Write) -> Result<(), Error> {
        let bytes = Self::bytes(key)?;
        let key = bytes.as_slice();
        let life = self.policy.life(write.ttl);
        let draft = self.draft(key, Some(value), life, Duration::ZERO, write.tags, write.etag)?;
        let token = self.inner.local.change(key);
        let done = self.inner.ask(&self.policy, self.inner.store.set(key, &draft.record(&self.policy))).await;
        match done {
            Ok((_, true)) => {
                self.inner.local.changed_to(token, &Arc::new(draft.kept.at(token)));
                Ok(())
            }
            Ok((_, false)) => {
                self.inner.local.change(key);
                Ok(())
            }
            Err(error) => {
                self.inner.owe_removal(key);
                Err(error)
            }
        }
    }

    /// Removes an entry: it is not served any more, not even as stale, and no load that has begun is stored.
    ///
    /// # Errors
    /// A key that is too long; trouble with the backend. Then the removal is tried until it succeeds, and until then
    /// this process does not read the entry from there; others may.
    pub async fn remove(&self, key: &K) -> Result<(), Error> {
        self.drop_entry(key, Drop::Remove).await
    }

    /// Ends the time of an entry: it may still be served as stale if loading fails, for as long as the policy that it
    /// was stored with says. No load that has begun is stored.
    ///
    /// # Errors
    /// As for [`Cache::remove`].
    pub async fn expire(&self, key: &K) -> Result<(), Error> {
        self.drop_entry(key, Drop::Expire).await
    }

    async fn drop_entry(&self, key: &K, how: Drop<'_>) -> Result<(), Error> {
        let bytes = Self::bytes(key)?;
        let key = bytes.as_slice();
        self.inner.stats.tell(Event::Invalidated);
        self.inner.local.change(key);
        let done = self.inner.ask(&self.policy, self.inner.store.drop(key, how)).await;
        match done {
            Ok(_) => {
                self.inner.local.change(key);
                Ok(())
            }
            Err(error) => {
                self.inner.owe_removal(key);
                Err(error)
            }
        }
    }

    /// Removes all entries with a tag, in a time that does not depend on how many there are.
    ///
    /// # Errors
    /// Trouble with the backend; as for [`Cache::remove`] it is tried again, and until then nothing is read from there.
    pub async fn remove_tag(&self, tag: impl AsRef<[u8]>) -> Result<(), Error> {
        self.sweep(Sweep::Remove, &[tag.as_ref().to_vec()]).await
    }

    /// Removes all entries with any of several tags.
    ///
    /// # Errors
    /// As for [`Cache::remove_tag`].
    pub async fn remove_tags<T: AsRef<[u8]>>(&self, tags: impl IntoIterator<Item = T>) -> Result<(), Error> {
        let tags: Vec<Vec<u8>> = tags.into_iter().map(|tag| tag.as_ref().to_vec()).collect();
        self.sweep(Sweep::Remove, &tags).await
    }

    /// Ends the time of all entries with a tag; they may be served as stale.
    ///
    /// # Errors
    /// As for [`Cache::remove_tag`].
    pub async fn expire_tag(&self, tag: impl AsRef<[u8]>) -> Result<(), Error> {
        self.sweep(Sweep::Expire, &[tag.as_ref().to_vec()]).await
    }

    /// Removes all entries of this cache, and of no other; those that are stored afterwards stay.
    ///
    /// # Errors
    /// As for [`Cache::remove_tag`].
    pub async fn clear(&self) -> Result<(), Error> {
        self.sweep(Sweep::Clear, &[]).await
    }

    async fn sweep(&self, how: Sweep, tags: &[Vec<u8>]) -> Result<(), Error> {
        if how != Sweep::Clear && tags.is_empty() {
            return Ok(());
        }
        self.inner.stats.tell(Event::Invalidated);
        let local = &self.inner.local;
        let sweep = || match how {
            Sweep::Clear => local.sweep_all(),
            Sweep::Remove | Sweep::Expire => tags.iter().for_each(|tag| local.sweep_tag(tag)),
        };
        sweep();
        let longest = self.policy.longest();
        let done = self.inner.ask(&self.policy, self.inner.store.sweep(how, tags, longest)).await;
        sweep();
        if done.is_err() {
            self.inner.owe_sweep(how, tags, longest);
        }
        done.map(|_| ())
    }

    /// Looks at an entry of the backend.
    pub(crate) async fn see(&self, key: &[u8], token: Token) -> Result<Seen<V>, Error> {
        if self.inner.debts.forbid(key) {
            return Ok(Seen::Absent);
        }
        let asked = Instant::now();
        let look = self.inner.ask(&self.policy, self.inner.store.get(key)).await?;
        Ok(self.inner.decode(key, token, asked, &look))
    }

    /// What follows from a hit at the backend.
    pub(crate) fn hit(&self, key: &[u8], token: Token, kept: &Arc<Kept<V>>) {
        self.inner.stats.served(Served::Backend, kept);
        if !self.policy.is_sliding {
            self.inner.local.install(token, kept);
            return;
        }
        // Not every hit writes: an eighth of the life is near enough.
        let left = kept.fresh_until.saturating_duration_since(Instant::now());
        if left < kept.life.mul_f64(0.875) {
            let (inner, policy, key) = (Arc::clone(&self.inner), Arc::clone(&self.policy), key.to_vec());
            let life = kept.life + policy.stale_for;
            tokio::spawn(async move { inner.ask(&policy, inner.store.touch(&key, life)).await });
        }
    }

    /// A value on its way to the backend.
    pub(crate) fn draft(
        &self,
        key: &[u8],
        value: Option<V>,
        life: Duration,
        cost: Duration,
        tags: Vec<Vec<u8>>,
        etag: Option<String>,
    ) -> Result<Draft<V>, Error> {
        check_tags(&tags)?;
        let packed = self.inner.packing.pack(value.as_ref(), life, cost, etag.as_deref());
        let data = packed.map_err(Error::Encode)?;
        let bytes = weight(key, &tags, data.len());
        let etag = etag.map(String::into_boxed_str);
        let fresh_until = Instant::now() + life;
        let kept = Kept { value, key: key.into(), tags, etag, life, cost, fresh_until, at: 0, bytes };
        Ok(Draft { kept, data })
    }
}

/// A value and its bytes, before it is stored.
pub(crate) struct Draft<V> {
    pub(crate) kept: Kept<V>,
    pub(crate) data: Vec<u8>,
}

impl<V> Draft<V> {
    pub(crate) fn record(&self, policy: &Policy) -> Record<'_> {
        Draft::record_of(&self.kept, &self.data, policy)
    }

    pub(crate) fn record_of<'a>(kept: &'a Kept<V>, data: &'a [u8], policy: &Policy) -> Record<'a> {
        // That something is not there is not served when it may be there again.
        let stale = if kept.value.is_some() { policy.stale_for } else { Duration::ZERO };
        Record { life: kept.life + stale, stale, tags: &kept.tags, data }
    }
}

impl<V> Draft<V> {
    /// Together with the forms that others have of it.
    pub(crate) fn shared(&self, others: &Others, policy: &Policy) -> Shared {
        Shared::new(&self.kept, &self.data, others, policy)
    }
}

/// An entry in several forms, before it is stored.
pub(crate) struct Shared {
    life: Duration,
    stale: Duration,
    tags: Vec<Vec<u8>>,
    data: Vec<u8>,
}

impl Shared {
    pub(crate) fn new<V>(kept: &Kept<V>, data: &[u8], others: &Others, policy: &Policy) -> Shared {
        let Record { life, stale, .. } = Draft::record_of(kept, data, policy);
        let strict = stale.min(others.stale);
        Shared {
            life: life - stale + strict,
            stale: strict,
            tags: others.tags(&kept.tags),
            data: others.join(data),
        }
    }

    pub(crate) fn record(&self) -> Record<'_> {
        Record { life: self.life, stale: self.stale, tags: &self.tags, data: &self.data }
    }
}

impl<V> Kept<V> {
    /// As it is to be installed under a token.
    pub(crate) fn at(self, token: Token) -> Kept<V> {
        Kept { at: token.at, ..self }
    }
}

pub(crate) fn check_tags(tags: &[Vec<u8>]) -> Result<(), Error> {
    const MAX: usize = 1024;
    match tags.len() > MAX || tags.iter().any(|tag| tag.len() > MAX) {
        true => Err(Error::Encode(format!("more than {MAX} tags, or one of more than {MAX} bytes"))),
        false => Ok(()),
    }
}

/// About how much memory an entry of the near cache takes.
pub(crate) fn weight(key: &[u8], tags: &[Vec<u8>], data: usize) -> u32 {
    const FIXED: usize = 200;
    let tags: usize = tags.iter().map(|tag| tag.len() + 24).sum();
    u32::try_from(FIXED + key.len() + tags + data).unwrap_or(u32::MAX)
}

/// An entry, unless it says that nothing was found.
pub(crate) fn entry<V>(kept: Arc<Kept<V>>, tier: Tier) -> Option<Entry<V>> {
    kept.value.is_some().then(|| Entry { kept, is_stale: false, tier })
}

impl<V: Send + Sync + 'static> Inner<V> {
    /// What the backend has of an entry in forms that are not ours.
    pub(crate) fn others(&self, look: &Look) -> Option<Others> {
        Others::of(look, self.packing.schema, self.packing.value_max)
    }

    /// Makes a value of what the backend has; `asked` is when.
    pub(crate) fn decode(&self, key: &[u8], token: Token, asked: Instant, look: &Look) -> Seen<V> {
        if look.state == State::Absent {
            return Seen::Absent;
        }
        let head = Head::parse(&look.bytes).ok_or_else(|| "no header of the cache".to_owned());
        let unpacked = head.and_then(|head| {
            let data = look.bytes.get(head.end..).unwrap_or_default();
            Ok((self.packing.unpack(data)?, head))
        });
        let (unpacked, head) = match unpacked {
            Ok(unpacked) => unpacked,
            Err(why) => {
                self.stats.tell(Event::Undecodable { key, why: &why });
                return Seen::Undecodable;
            }
        };
        let is_fresh = look.state == State::Fresh;
        let left = if is_fresh { look.left.saturating_sub(head.stale) } else { Duration::ZERO };
        let kept = Arc::new(Kept {
            value: unpacked.value,
            key: key.into(),
            bytes: weight(key, &head.tags, look.bytes.len()),
            tags: head.tags,
            etag: unpacked.etag,
            life: unpacked.life,
            cost: unpacked.cost,
            fresh_until: asked + left,
            at: token.at,
        });
        if is_fresh { Seen::Fresh(kept) } else { Seen::Stale(kept) }
    }
}
