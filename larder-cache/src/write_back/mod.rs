//! Writing back: the cache has the new value at once, the source some time later.
//!
//! # The journey of a change
//!
//! A put is written to the [log](log) (if there is one), gets its place in the [queue](queue), and is put into the cache, so
//! that everybody reads it. Then it is acknowledged. One task takes changes from the queue in batches and gives them to the
//! [`Sink`]; what the sink has taken is noted in the log and put into the cache once more, since somebody may have loaded
//! the old value from the source meanwhile, if the entry was evicted.
//!
//! # Order
//!
//! Each change has a number. The sink gets the changes of one key one at a time, in the order of their numbers, each at
//! least once: after a failure whose outcome is unknown, or a crash, it may get one again that it has already. Of changes
//! that wait only the newest is sent.
//!
//! # One process at a time
//!
//! A queue has one [owner](owner) in all processes on a backend. Only the owner takes changes and flushes them.

mod flush;
mod inspect;
mod journal;
mod log;
mod open;
mod owner;
mod queue;
mod writer;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use log::fuzz::{examples as example_logs, fuzz as fuzz_log};

use crate::cache::{Cache, entry};
use crate::entry::{Entry, LoadCtx, Loaded, Tier, Write};
use crate::error::{Error, LoadError};
use crate::key::CacheKey;
use flush::Shared;
use queue::{Item, Patience};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// When a put is acknowledged: what it has survived by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ack {
    /// It is in the memory of this process. A crash loses it.
    Memory,
    /// It is in the log, in the hands of the operating system: it survives the end of this process, however that comes.
    Local,
    /// The log is on the disk: it survives the loss of power too.
    LocalFsync,
    /// The backend has it: it survives the loss of this process and of its machine, and whatever process next opens the queue
    /// goes on with it. It is as safe as the backend is: what larder-server or redis-server lose, with the persistence that they
    /// are set to, is lost. With [replicas to wait for](crate::Builder::wait_replicas) these have it, too. The backend must not
    /// evict it: a `maxmemory-policy` of `noeviction` or one of `volatile-...`, for what is not flushed has no time to live.
    Backend,
    /// The source has it: as write-through, but in batches.
    Source,
}

/// What becomes of a put when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// It waits until there is room.
    Block,
    /// It fails with [`WriteBackError::Full`].
    Reject,
    /// It goes to the source at once, before it is acknowledged.
    WriteThrough,
}

/// A change on its way to the source.
pub struct Change<K, V>(Item<K, V>);

impl<K, V> Change<K, V> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.0.key
    }

    /// The value; `None` if the key is deleted.
    pub fn value(&self) -> Option<&V> {
        self.0.kept.value.as_ref()
    }

    /// The number of the change. It goes up from change to change, over restarts too, unless there is no log and the
    /// backend has lost its memory: a source that keeps it beside what it stores recognizes a change that it has already.
    pub fn seq(&self) -> u64 {
        self.0.seq
    }

    /// The number of the owner. It goes up whenever another process takes the queue over: a source that turns away
    /// lower ones than it has seen is safe from a process that was asleep meanwhile.
    pub fn fence(&self) -> u64 {
        self.0.fence
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Change<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Change");
        shown.field("key", self.key()).field("value", &self.value());
        shown.field("seq", &self.seq()).field("fence", &self.fence()).finish()
    }
}

/// What the source says of one change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has it.
    Stored,
    /// Not now, because of this; it may work later.
    Failed(String),
    /// Never, because of this: it goes to the dead letters at once.
    Rejected(String),
}

/// Where changes go: the source, in batches.
///
/// ```
/// use larder_cache::{Change, Outcome, Sink};
///
/// struct Carts; // with a pool of connections to a database
///
/// impl Sink<u64, Vec<String>> for Carts {
///     type Error = std::io::Error;
///
///     async fn store(&self, changes: &[Change<u64, Vec<String>>]) -> Result<Vec<Outcome>, std::io::Error> {
///         // INSERT ... ON CONFLICT (id) DO UPDATE SET ... WHERE carts.seq < excluded.seq
///         Ok(changes.iter().map(|_| Outcome::Stored).collect())
///     }
/// }
/// ```
pub trait Sink<K, V>: Send + Sync + 'static {
    /// Why nothing could be stored, or perhaps could not.
    type Error: fmt::Display + Send;

    /// Stores changes of different keys, and says of each, in the same order, what became of it. It may get a change that
    /// it has stored already, with the same number.
    ///
    /// An error means that the source as a whole is in trouble: the batch is tried again until that is over. What is wrong
    /// with a single change belongs into its [`Outcome`], or it holds up all others.
    fn store(
        &self,
        changes: &[Change<K, V>],
    ) -> impl Future<Output = Result<Vec<Outcome>, Self::Error>> + Send;
}

/// Why a change was not taken, or not flushed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteBackError {
    /// The queue is full.
    Full,
    /// It has been closed.
    Closed,
    /// Another process owns the queue, or it is not known who does, since the backend has not answered for the time of
    /// the [lease](WriteBack::lease).
    NotOwner,
    /// The log: it could not be opened or written. The text says why, and which file.
    Log(String),
    /// The source did not take the change, which is among the dead letters now, or, if it was written through, is not
    /// kept anywhere.
    Source(String),
    /// The cache itself: nothing has changed.
    Cache(Error),
}

impl fmt::Display for WriteBackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteBackError::Full => f.write_str("the write-back queue is full"),
            WriteBackError::Closed => f.write_str("the write-back queue is closed"),
            WriteBackError::NotOwner => f.write_str("this process does not own the write-back queue"),
            WriteBackError::Log(why) => write!(f, "the write-back log: {why}"),
            WriteBackError::Source(why) => write!(f, "the source has not taken the change: {why}"),
            WriteBackError::Cache(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WriteBackError {}

/// How changes are written back.
///
/// ```
/// use larder_cache::{Ack, OnFull, WriteBack};
/// use std::time::Duration;
///
/// let how: WriteBack<Vec<String>> = WriteBack::new()
///     .log("/var/lib/shop/carts.log")
///     .ack(Ack::LocalFsync)
///     .batch(500, Duration::from_millis(50))
///     .room(100_000, OnFull::Block);
/// ```
#[must_use]
pub struct WriteBack<V> {
    name: String,
    ack: Ack,
    log: Option<PathBuf>,
    salvages: bool,
    batch: usize,
    linger: Duration,
    room: usize,
    on_full: OnFull,
    patience: Patience,
    sink_timeout: Duration,
    lease: Duration,
    merge: Option<Merge<V>>,
}

type Merge<V> = Arc<dyn Fn(&V, V) -> V + Send + Sync>;

impl<V> Default for WriteBack<V> {
    fn default() -> WriteBack<V> {
        WriteBack {
            name: "main".to_owned(),
            ack: Ack::Memory,
            log: None,
            salvages: false,
            batch: 500,
            linger: Duration::from_millis(50),
            room: 100_000,
            on_full: OnFull::Block,
            patience: Patience {
                tries: 10,
                first: Duration::from_millis(100),
                longest: Duration::from_secs(30),
            },
            sink_timeout: Duration::from_secs(30),
            lease: Duration::from_secs(10),
            merge: None,
        }
    }
}

impl<V> WriteBack<V> {
    /// In memory only, up to 500 changes in a batch every 50 ms, 100,000 keys in the queue.
    pub fn new() -> WriteBack<V> {
        WriteBack::default()
    }

    /// A name of the queue, if a cache has several. Each is owned and flushed for itself, so a key must always go into
    /// the same one.
    pub fn name(mut self, name: &str) -> WriteBack<V> {
        name.clone_into(&mut self.name);
        self
    }

    /// When a put is acknowledged. [`Ack::Local`] and [`Ack::LocalFsync`] need a [log](WriteBack::log);
    /// [`Ack::Backend`] has one in the backend, and no other.
    pub fn ack(mut self, ack: Ack) -> WriteBack<V> {
        self.ack = ack;
        self
    }

    /// The file of the log. Whoever opens it again goes on with what is left in it.
    pub fn log(mut self, path: impl Into<PathBuf>) -> WriteBack<V> {
        self.log = Some(path.into());
        self
    }

    /// Opens a log that is damaged as well, with what can still be read of it. Changes may be missing.
    pub fn salvage(mut self) -> WriteBack<V> {
        self.salvages = true;
        self
    }

    /// Batches are of at most so many changes, and no change waits longer than this for others to go with.
    pub fn batch(mut self, changes: usize, linger: Duration) -> WriteBack<V> {
        (self.batch, self.linger) = (changes.max(1), linger);
        self
    }

    /// So many keys have room in the queue, dead letters included; and what happens to further ones.
    pub fn room(mut self, keys: usize, on_full: OnFull) -> WriteBack<V> {
        (self.room, self.on_full) = (keys.max(1), on_full);
        self
    }

    /// A change that fails for itself is tried so often in all, with pauses that double from `first` to `longest`, each
    /// shortened at random by up to a half. The pauses are also those while the source as a whole is away. 10 times, from
    /// 100 ms to 30 s, by default.
    pub fn retry(mut self, tries: u32, first: Duration, longest: Duration) -> WriteBack<V> {
        self.patience = Patience { tries: tries.max(1), first, longest };
        self
    }

    /// How long the sink may take for a batch; then it is given up and tried again. 30 seconds by default.
    pub fn sink_timeout(mut self, time: Duration) -> WriteBack<V> {
        self.sink_timeout = time;
        self
    }

    /// For how long a process that has died is still taken for the owner of the queue; 10 seconds by default, at least
    /// 100 milliseconds.
    pub fn lease(mut self, time: Duration) -> WriteBack<V> {
        self.lease = time.max(Duration::from_millis(100));
        self
    }

    /// Makes one value of the one that waits and the new one, instead of the new one alone. It must be right as well if
    /// the source has the old one already: for a union or a maximum it is, for a sum it is not.
    pub fn merge(mut self, merge: impl Fn(&V, V) -> V + Send + Sync + 'static) -> WriteBack<V> {
        self.merge = Some(Arc::new(merge));
        self
    }
}

impl<V> fmt::Debug for WriteBack<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WriteBack { name, ack, log, batch, linger, room, on_full, .. } = self;
        let mut shown = f.debug_struct("WriteBack");
        shown.field("name", name).field("ack", ack).field("log", log).field("batch", batch);
        shown.field("linger", linger).field("room", room).field("on_full", on_full).finish_non_exhaustive()
    }
}

/// What a closed queue leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Keys whose changes the source does not have. With a log they are flushed when it is opened again.
    pub left: usize,
    /// Dead letters.
    pub dead: usize,
}

/// What a queue has done so far, and has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteBackStats {
    /// Keys with changes that the source does not have.
    pub pending: usize,
    /// Dead letters.
    pub dead: usize,
    /// Changes taken.
    pub taken: u64,
    /// Changes whose place a newer one has taken before they were sent.
    pub replaced: u64,
    /// Changes that the source has taken.
    pub flushed: u64,
    /// Batches sent.
    pub batches: u64,
    /// Batches that failed as a whole.
    pub outages: u64,
    /// Failures of single changes.
    pub failures: u64,
}

/// A change that the source does not take, though it was tried as often as it is to be.
pub struct DeadLetter<K, V> {
    change: Change<K, V>,
    why: String,
}

impl<K, V> DeadLetter<K, V> {
    /// The change.
    pub fn change(&self) -> &Change<K, V> {
        &self.change
    }

    /// What the source said last.
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for DeadLetter<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter").field("change", &self.change).field("why", &self.why).finish()
    }
}

/// A cache whose changes are written back. To be cloned freely. When the last clone is gone it goes on until all is
/// flushed, as long as the runtime lives; [`close`](WriteBackCache::close) tells what became of it.
pub struct WriteBackCache<K: 'static, V: 'static> {
    shared: Arc<Shared<K, V>>,
    _alive: Arc<flush::Alive>,
}

impl<K, V> Clone for WriteBackCache<K, V> {
    fn clone(&self) -> WriteBackCache<K, V> {
        WriteBackCache { shared: Arc::clone(&self.shared), _alive: Arc::clone(&self._alive) }
    }
}

impl<K, V> fmt::Debug for WriteBackCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBackCache").finish_non_exhaustive()
    }
}

impl<K, V> Cache<K, V>
where
    K: CacheKey + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Writes changes back to a sink, and goes on with what a former process has left in the log.
    ///
    /// All changes of these keys must go this way: a [`set`](Cache::set) or [`remove`](Cache::remove) of the cache would
    /// be undone by the next flush.
    ///
    /// # Errors
    /// [`WriteBackError::NotOwner`] if another process has the queue and keeps it; [`WriteBackError::Log`] if the log
    /// cannot be read, is damaged, or is of another program; trouble with the backend.
    pub async fn write_back(
        &self,
        sink: impl Sink<K, V>,
        how: WriteBack<V>,
    ) -> Result<WriteBackCache<K, V>, WriteBackError> {
        let (shared, alive) = open::open(self.clone(), sink, how).await?;
        Ok(WriteBackCache { shared, _alive: alive })
    }
}

impl<K, V> WriteBackCache<K, V>
where
    K: CacheKey + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Changes the value of a key; returns the number of the change. It is acknowledged as [`WriteBack::ack`] says.
    ///
    /// # Errors
    /// See [`WriteBackError`]. After [`WriteBackError::Log`] the change has not been made, unless the log could not be
    /// synced: then it may be there after a restart.
    pub async fn put(&self, key: K, value: V) -> Result<u64, WriteBackError> {
        self.put_with(key, value, Write::new()).await
    }

    /// The same with a time, tags and an entity tag for the cache.
    ///
    /// # Errors
    /// As [`WriteBackCache::put`].
    pub async fn put_with(&self, key: K, value: V, how: Write) -> Result<u64, WriteBackError> {
        flush::change(&self.shared, key, Some(value), how).await
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// As [`WriteBackCache::put`].
    pub async fn delete(&self, key: K) -> Result<u64, WriteBackError> {
        flush::change(&self.shared, key, None, Write::new()).await
    }

    /// What is to be read of a key: the change that is not flushed yet, or what the cache has.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub async fn get(&self, key: &K) -> Result<Option<Entry<V>>, Error> {
        let bytes = Cache::<K, V>::bytes(key)?;
        match self.shared.pending(bytes.as_slice()) {
            Some(kept) => Ok(entry(kept, Tier::Near)),
            None => self.shared.cache.get(key).await,
        }
    }

    /// The same, loaded from the source if it is not there; `None` if the source has nothing, or it was deleted.
    ///
    /// # Errors
    /// As [`Cache::find_or_load`].
    pub async fn find_or_load<E, F, Fut, L>(&self, key: &K, load: F) -> Result<Option<Entry<V>>, LoadError<E>>
    where
        E: fmt::Display + Send + Sync + 'static,
        F: FnOnce(LoadCtx<V>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>> + 'static,
    {
        let bytes = Cache::<K, V>::bytes(key).map_err(LoadError::Cache)?;
        match self.shared.pending(bytes.as_slice()) {
            Some(kept) => Ok(entry(kept, Tier::Near)),
            None => self.shared.cache.find_or_load(key, load).await,
        }
    }

    /// Waits until the source has all that was acknowledged before, or it is among the dead letters.
    ///
    /// # Errors
    /// [`WriteBackError::Source`] if something has become a dead letter: what was said of one of them.
    pub async fn flush(&self) -> Result<(), WriteBackError> {
        self.shared.flush().await
    }

    /// Takes no more changes, flushes what there is until `within` is over, and gives up the queue.
    pub async fn close(&self, within: Duration) -> Drained {
        self.shared.close(within).await
    }

    /// What it has done and has to do.
    pub fn stats(&self) -> WriteBackStats {
        self.shared.stats()
    }

    /// The cache itself.
    pub fn cache(&self) -> &Cache<K, V> {
        &self.shared.cache
    }

    /// What the source does not take, oldest first. The cache has no entry for it.
    pub fn dead_letters(&self) -> Vec<DeadLetter<K, V>> {
        self.shared.dead_letters()
    }

    /// Tries a dead letter again, as a new change: it overwrites what was changed after it. Returns false, and leaves it,
    /// if a change of its key waits, or if there is no such letter.
    ///
    /// # Errors
    /// As [`WriteBackCache::put`]: it is still there.
    pub async fn retry(&self, seq: u64) -> Result<bool, WriteBackError> {
        let shared = Arc::clone(&self.shared);
        let work = tokio::spawn(async move { shared.retry(seq).await });
        work.await.map_err(|error| WriteBackError::Source(format!("it was not tried again: {error}")))?
    }

    /// Forgets a dead letter, by the number of its change; returns whether there was one.
    ///
    /// # Errors
    /// [`WriteBackError::Log`]: it is still there.
    pub async fn discard(&self, seq: u64) -> Result<bool, WriteBackError> {
        self.shared.discard(seq).await
    }
}
