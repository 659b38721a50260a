//! What a cache gives out, and what a loader gives to it.

use smallvec::SmallVec;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where an entry came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tier {
    /// The near cache, in this process.
    Near,
    /// The backend.
    Backend,
    /// The source: it was loaded for this call, or for one that this one waited with.
    Source,
}

/// A value, and what there is to know about it; read the value through it as through a reference.
pub struct Entry<V> {
    pub(crate) kept: Arc<Kept<V>>,
    pub(crate) is_stale: bool,
    pub(crate) tier: Tier,
}

impl<V> Entry<V> {
    /// Whether it is past its time, and served because the source failed, is slow, or is being asked.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Where it came from.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// How old it is, as far as its time tells: an entry that was expired by hand looks older than it is.
    pub fn age(&self) -> Duration {
        self.kept.age(Instant::now())
    }

    /// How long it stays fresh, if nothing happens to it.
    pub fn expires_in(&self) -> Duration {
        if self.is_stale {
            Duration::ZERO
        } else {
            self.kept.fresh_until.saturating_duration_since(Instant::now())
        }
    }

    /// The entity tag that the loader gave with it.
    pub fn etag(&self) -> Option<&str> {
        self.kept.etag.as_deref()
    }

    /// The tags it has.
    pub fn tags(&self) -> impl Iterator<Item = &[u8]> {
        self.kept.tags.iter().map(Vec::as_slice)
    }
}

impl<V> Deref for Entry<V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.kept.value.as_ref().expect("an entry is made only of what was found")
    }
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Entry<V> {
        Entry { kept: Arc::clone(&self.kept), ..*self }
    }
}

impl<V: fmt::Debug> fmt::Debug for Entry<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("value", &**self)
            .field("is_stale", &self.is_stale)
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

impl<V: PartialEq> PartialEq<V> for Entry<V> {
    fn eq(&self, other: &V) -> bool {
        **self == *other
    }
}

/// The bytes of a key, mostly without an allocation.
pub(crate) type ShortKey = SmallVec<[u8; 24]>;

/// A value as it is kept in this process, or the fact that there is none.
#[derive(Debug)]
pub(crate) struct Kept<V> {
    /// `None`: not found.
    pub(crate) value: Option<V>,
    /// Its key, since the near cache looks up by a hash.
    pub(crate) key: ShortKey,
    pub(crate) tags: Vec<Vec<u8>>,
    pub(crate) etag: Option<Box<str>>,
    /// How long it was to be fresh.
    pub(crate) life: Duration,
    /// How long loading it took.
    pub(crate) cost: Duration,
    pub(crate) fresh_until: Instant,
    /// The count of sweeps (see the near cache) before it was read or loaded.
    pub(crate) at: u64,
    pub(crate) bytes: u32,
}

impl<V> Kept<V> {
    pub(crate) fn age(&self, now: Instant) -> Duration {
        match self.fresh_until.checked_duration_since(now) {
            Some(left) => self.life.saturating_sub(left),
            None => self.life + now.duration_since(self.fresh_until),
        }
    }
}

/// What a loader has found, and what is to become of it. A plain value, or an `Option` of one, can be returned instead.
///
/// ```
/// use larder_cache::Loaded;
/// use std::time::Duration;
///
/// let page = Loaded::new("<h1>Hello</h1>".to_owned())
///     .ttl(Duration::from_secs(60))
///     .tags(["page", "brand:7"])
///     .etag("\"33a64df5\"");
/// let gone = Loaded::<String>::not_found();
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Loaded<V> {
    pub(crate) found: Found<V>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) tags: Vec<Vec<u8>>,
    pub(crate) etag: Option<String>,
    pub(crate) is_stored: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Found<V> {
    Value(V),
    Nothing,
    Unchanged,
}

impl<V> Loaded<V> {
    fn of(found: Found<V>) -> Loaded<V> {
        Loaded { found, ttl: None, tags: Vec::new(), etag: None, is_stored: true }
    }

    /// A value.
    pub fn new(value: V) -> Loaded<V> {
        Loaded::of(Found::Value(value))
    }

    /// There is nothing. It is kept for the time of [`Policy::negative_ttl`](crate::Policy::negative_ttl).
    pub fn not_found() -> Loaded<V> {
        Loaded::of(Found::Nothing)
    }

    /// The stale value that the loader was shown is still right: it is fresh again, with its tags. Where it was not
    /// shown one this is an error of the loader, and the caller gets [`LoadError::Unchanged`](crate::LoadError).
    pub fn not_modified() -> Loaded<V> {
        Loaded::of(Found::Unchanged)
    }

    /// A value for those who wait, not to be kept.
    pub fn do_not_store(value: V) -> Loaded<V> {
        Loaded { is_stored: false, ..Loaded::new(value) }
    }

    /// How long it is fresh, instead of what the policy says.
    pub fn ttl(mut self, ttl: Duration) -> Loaded<V> {
        self.ttl = Some(ttl);
        self
    }

    /// Tags by which it can be [removed](crate::Cache::remove_tag); at most 1024 of 1024 bytes each.
    pub fn tags<T: AsRef<[u8]>>(mut self, tags: impl IntoIterator<Item = T>) -> Loaded<V> {
        self.tags.extend(tags.into_iter().map(|tag| tag.as_ref().to_vec()));
        self
    }

    /// The entity tag, for the next load's [`LoadCtx::etag`]; at most 1024 bytes, a longer one is not kept.
    pub fn etag(mut self, etag: impl Into<String>) -> Loaded<V> {
        self.etag = Some(etag.into());
        self
    }
}

impl<V> From<V> for Loaded<V> {
    fn from(value: V) -> Loaded<V> {
        Loaded::new(value)
    }
}

impl<V> From<Option<V>> for Loaded<V> {
    fn from(value: Option<V>) -> Loaded<V> {
        value.map_or_else(Loaded::not_found, Loaded::new)
    }
}

/// What a loader is told.
pub struct LoadCtx<V> {
    pub(crate) stale: Option<Arc<Kept<V>>>,
}

impl<V> LoadCtx<V> {
    /// The value there was, if it is still there: past its time, or about to be.
    pub fn stale(&self) -> Option<&V> {
        self.stale.as_ref()?.value.as_ref()
    }

    /// Its entity tag.
    pub fn etag(&self) -> Option<&str> {
        self.stale.as_ref()?.etag.as_deref()
    }
}

/// How a value is stored by hand.
///
/// ```
/// let write = larder_cache::Write::new().ttl(std::time::Duration::from_secs(5)).tags(["news"]);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Write {
    pub(crate) ttl: Option<Duration>,
    pub(crate) tags: Vec<Vec<u8>>,
    pub(crate) etag: Option<String>,
    pub(crate) version: Option<u64>,
}

impl Write {
    /// As the policy says, without tags.
    pub fn new() -> Write {
        Write::default()
    }

    /// How long it is fresh.
    pub fn ttl(mut self, ttl: Duration) -> Write {
        self.ttl = Some(ttl);
        self
    }

    /// Tags by which it can be removed.
    pub fn tags<T: AsRef<[u8]>>(mut self, tags: impl IntoIterator<Item = T>) -> Write {
        self.tags.extend(tags.into_iter().map(|tag| tag.as_ref().to_vec()));
        self
    }

    /// Its entity tag.
    pub fn etag(mut self, etag: impl Into<String>) -> Write {
        self.etag = Some(etag.into());
        self
    }

    /// The version that the source has given it, as [`Written::version`]. It counts at the end of an update
    /// ([`Update::end_with`](crate::Update::end_with)).
    pub fn version(mut self, version: u64) -> Write {
        self.version = counted(version);
        self
    }
}

/// What a [write](crate::Cache::write) to the source has stored there: a value, which can be given as it is, or with the
/// version that the source has given it.
///
/// ```
/// use larder_cache::Written;
///
/// let row = ("lantern".to_owned(), 18); // UPDATE ... SET version = version + 1 RETURNING name, version
/// let written = Written::new(row.0).version(row.1);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Written<V> {
    pub(crate) value: V,
    pub(crate) version: Option<u64>,
}

impl<V> Written<V> {
    /// A value of which the order is not known.
    pub fn new(value: V) -> Written<V> {
        Written { value, version: None }
    }

    /// A number that the source counts up with each change of the row, at most 2^53; a higher one counts as none. Of
    /// updates that overlap the value with the highest version stays, if all of them have one.
    pub fn version(mut self, version: u64) -> Written<V> {
        self.version = counted(version);
        self
    }
}

impl<V> From<V> for Written<V> {
    fn from(value: V) -> Written<V> {
        Written::new(value)
    }
}

/// A version, if every backend can count to it.
fn counted(version: u64) -> Option<u64> {
    const MAX: u64 = 1 << 53;
    Some(version).filter(|version| *version <= MAX)
}
