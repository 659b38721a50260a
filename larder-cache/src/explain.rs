//! Why an entry is a hit, stale, or a miss.

use crate::cache::Cache;
use crate::entry::{Kept, Tier};
use crate::error::Error;
use crate::key::CacheKey;
use crate::store::{Head, Raw};
use std::fmt;
use std::time::{Duration, Instant};

/// What a read of an entry would find, and why.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// Whether the near cache would answer.
    pub is_near: bool,
    /// What the backend would say.
    pub why: Why,
    /// How long the backend keeps it, fresh or stale.
    pub left: Duration,
    /// How much of that, at the end, is for serving it stale.
    pub stale_for: Duration,
    /// Its tags.
    pub tags: Vec<String>,
    /// How many bytes the backend keeps.
    pub bytes: usize,
    /// Who may store it now.
    pub held: Holder,
}

/// Why an entry is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// It is fresh.
    Fresh,
    /// It is fresh, and says that there is nothing.
    KnownNotToExist,
    /// Its time is over, and it may be served stale.
    StaleByTime,
    /// A tag was expired, and it may be served stale.
    StaleByTag(String),
    /// Its time is over.
    TimeIsOver,
    /// There is nothing under its key: never stored, removed, expired or evicted.
    NotThere,
    /// It was stored before the backend lost what it knew of the namespace.
    FromBeforeALoss,
    /// Everything was cleared at this epoch, and it was loaded at an earlier one.
    Cleared {
        /// The epoch at which its load began.
        loaded: u64,
        /// That of the clearing.
        cleared: u64,
    },
    /// A tag was removed after its load began.
    TagRemoved(String),
    /// A tag is not known any more.
    TagForgotten(String),
    /// Its bytes are not what this cache writes; the text says what is wrong with them.
    Undecodable(String),
    /// An invalidation of it has failed here, and is being made up for.
    RemovalOwed,
}

/// Who may store an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// Whoever asks first.
    Nobody,
    /// A load, for so long at most.
    Load(Duration),
    /// One or more updates, for so long at most.
    Update(Duration),
}

/// What there is of an entry.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Inspection {
    /// Who would answer a read.
    pub tier: Tier,
    /// Whether there is a value; otherwise it is known that there is none.
    pub is_found: bool,
    /// Whether it is past its time, and would be served only if loading fails.
    pub is_stale: bool,
    /// Whether it is a change that the source has not got yet. Only a [`WriteBackCache`](crate::WriteBackCache) knows of
    /// such.
    pub is_dirty: bool,
    /// How old it is, as far as its time tells.
    pub age: Duration,
    /// How long it stays fresh, if nothing happens to it.
    pub expires_in: Duration,
    /// How long it is kept where it is, fresh or stale.
    pub left: Duration,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its entity tag.
    pub etag: Option<String>,
    /// How many bytes the backend keeps, or, in the near cache, how many it is counted with there.
    pub bytes: usize,
}

impl Inspection {
    /// Of what this process keeps.
    pub(crate) fn of<V>(kept: &Kept<V>) -> Inspection {
        let now = Instant::now();
        let expires_in = kept.fresh_until.saturating_duration_since(now);
        Inspection {
            tier: Tier::Near,
            is_found: kept.value.is_some(),
            is_stale: false,
            is_dirty: false,
            age: kept.age(now),
            expires_in,
            left: expires_in,
            tags: names(&kept.tags),
            etag: kept.etag.as_deref().map(str::to_owned),
            bytes: kept.bytes as usize,
        }
    }
}

fn names(tags: &[Vec<u8>]) -> Vec<String> {
    tags.iter().map(|tag| String::from_utf8_lossy(tag).into_owned()).collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {} bytes, {:?} left", self.why, self.bytes, self.left)?;
        if self.is_near {
            f.write_str(", in the near cache")?;
        }
        if !self.tags.is_empty() {
            write!(f, ", tags {}", self.tags.join(", "))?;
        }
        match self.held {
            Holder::Nobody => Ok(()),
            Holder::Load(left) => write!(f, ", being loaded (lease of {left:?})"),
            Holder::Update(left) => write!(f, ", being updated (guard of {left:?})"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Fresh => f.write_str("hit: fresh"),
            Why::KnownNotToExist => f.write_str("hit: known not to exist"),
            Why::StaleByTime => f.write_str("stale: its time is over"),
            Why::StaleByTag(tag) => write!(f, "stale: tag {tag} was expired"),
            Why::TimeIsOver => f.write_str("miss: its time is over"),
            Why::NotThere => f.write_str("miss: nothing is there"),
            Why::FromBeforeALoss => f.write_str("miss: stored before the backend lost its data"),
            Why::Cleared { loaded, cleared } => {
                write!(f, "miss: loaded at epoch {loaded}, all was cleared at {cleared}")
            }
            Why::TagRemoved(tag) => write!(f, "miss: tag {tag} was removed"),
            Why::TagForgotten(tag) => write!(f, "miss: tag {tag} is not known any more"),
            Why::Undecodable(what) => write!(f, "miss: not decodable: {what}"),
            Why::RemovalOwed => f.write_str("miss: its removal has failed, and is being made up for"),
        }
    }
}

impl<K: CacheKey + ?Sized + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// Says what a read of an entry would find, and why, without changing or counting anything. For people: it takes
    /// two round trips, and what it says is not of one moment.
    ///
    /// ```
    /// # use larder_cache::{Cache, Why};
    /// # use larder_client::Larder;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let larder = Larder::open("embedded://").await.unwrap();
    /// let names: Cache<u64, String> = Cache::builder(&larder, "names").build().await?;
    /// names.set_with(&1, "Ada".to_owned(), larder_cache::Write::new().tags(["people"])).await?;
    /// assert_eq!(names.explain(&1).await?.why, Why::Fresh);
    /// names.remove_tag("people").await?;
    /// assert_eq!(names.explain(&1).await?.to_string().split(';').next(), Some("miss: tag people was removed"));
    /// # Ok::<(), larder_cache::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// A key that is too long; trouble with the backend.
    pub async fn explain(&self, key: &K) -> Result<Explanation, Error> {
        let bytes = Self::bytes(key)?;
        let key = bytes.as_slice();
        let is_near = self.inner.local.get(key, Instant::now()).is_some();
        let (raw, head, why) = self.study(key).await?;
        let held = match raw.lease {
            Some((bytes, left)) if bytes.first() == Some(&b'!') => Holder::Update(left),
            Some((_, left)) => Holder::Load(left),
            None => Holder::Nobody,
        };
        Ok(Explanation {
            is_near,
            why,
            left: raw.left,
            stale_for: head.as_ref().map_or(Duration::ZERO, |head| head.stale),
            tags: head.map(|head| names(&head.tags)).unwrap_or_default(),
            bytes: raw.value.as_ref().map_or(0, Vec::len),
            held,
        })
    }

    /// What there is of an entry, as a program wants it; [`Cache::explain`] says the same to people, and why. Nothing is
    /// loaded, changed, counted or prolonged. `None` if a read would find nothing to serve. It takes two round trips
    /// unless the near cache has it.
    ///
    /// ```
    /// # use larder_cache::{Cache, Tier, Write};
    /// # use larder_client::Larder;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let larder = Larder::open("embedded://").await.unwrap();
    /// let names: Cache<u64, String> = Cache::builder(&larder, "names").build().await?;
    /// names.set_with(&1, "Ada".to_owned(), Write::new().tags(["people"])).await?;
    /// let ada = names.inspect(&1).await?.expect("it is there");
    /// assert_eq!((ada.tier, ada.is_stale, ada.tags.as_slice()), (Tier::Backend, false, &["people".to_owned()][..]));
    /// assert!(names.inspect(&2).await?.is_none());
    /// # Ok::<(), larder_cache::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// A key that is too long; trouble with the backend.
    pub async fn inspect(&self, key: &K) -> Result<Option<Inspection>, Error> {
        let bytes = Self::bytes(key)?;
        let key = bytes.as_slice();
        if let Some(kept) = self.inner.local.get(key, Instant::now()) {
            return Ok(Some(Inspection::of(&kept)));
        }
        let (raw, head, why) = self.study(key).await?;
        let is_stale = match why {
            Why::Fresh | Why::KnownNotToExist => false,
            Why::StaleByTime | Why::StaleByTag(_) => true,
            _ => return Ok(None),
        };
        let (Some(value), Some(head)) = (raw.value, head) else { return Ok(None) };
        let Ok(unpacked) = self.inner.packing.unpack(&value[head.end..]) else { return Ok(None) };
        Ok(Some(Inspection {
            tier: Tier::Backend,
            is_found: unpacked.value.is_some(),
            is_stale,
            is_dirty: false,
            age: (unpacked.life + head.stale).saturating_sub(raw.left),
            expires_in: if is_stale { Duration::ZERO } else { raw.left.saturating_sub(head.stale) },
            left: raw.left,
            tags: names(&head.tags),
            etag: unpacked.etag.map(String::from),
            bytes: value.len(),
        }))
    }

    /// What the backend has of an entry, and what a read would make of it.
    async fn study(&self, key: &[u8]) -> Result<(Raw, Option<Head>, Why), Error> {
        let raw = self.inner.ask(&self.policy, self.inner.store.raw(key)).await?;
        let head = raw.value.as_deref().and_then(Head::parse);
        let tags = head.as_ref().map_or(&[][..], |head| head.tags.as_slice());
        let states = self.inner.ask(&self.policy, self.inner.store.tags(key, tags)).await?;
        let why = match self.inner.debts.forbid(key) {
            true => Why::RemovalOwed,
            false => self.judge(&raw, head.as_ref(), &states),
        };
        Ok((raw, head, why))
    }

    /// What the engine's CACHE GET says, with its reason; `states` are the epochs of removal and expiry of each tag.
    fn judge(&self, raw: &Raw, head: Option<&Head>, states: &[Option<(u64, u64)>]) -> Why {
        let Some(value) = &raw.value else { return Why::NotThere };
        let Some(head) = head else { return Why::Undecodable("no header of the cache".to_owned()) };
        if raw.era != Some(head.era) {
            return Why::FromBeforeALoss;
        }
        if head.seq < raw.cleared {
            return Why::Cleared { loaded: head.seq, cleared: raw.cleared };
        }
        let named = |tag: &[u8]| String::from_utf8_lossy(tag).into_owned();
        let mut expired = None;
        for (tag, state) in head.tags.iter().zip(states) {
            match state {
                None => return Why::TagForgotten(named(tag)),
                Some((removed, _)) if head.seq < *removed => return Why::TagRemoved(named(tag)),
                Some((_, expiry)) if head.seq < *expiry => expired = Some(named(tag)),
                Some(_) => {}
            }
        }
        let is_over = raw.left <= head.stale;
        if (is_over || expired.is_some()) && head.stale.is_zero() {
            return expired.map_or(Why::TimeIsOver, Why::TagRemoved);
        }
        match (self.inner.packing.unpack(&value[head.end..]), expired, is_over) {
            (Err(what), ..) => Why::Undecodable(what),
            (_, Some(tag), _) => Why::StaleByTag(tag),
            (_, None, true) => Why::StaleByTime,
            (Ok(unpacked), ..) if unpacked.value.is_none() => Why::KnownNotToExist,
            _ => Why::Fresh,
        }
    }
}
