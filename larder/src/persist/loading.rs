//! Loading a snapshot, on several threads.
//!
//! Only one can take the file apart, since nothing in it says where an item ends. It does just that, and hands keys in
//! batches to others, which check and build the values and put them into the tables. A batch belongs to one shard: so a
//! worker takes one lock for all of it, and the part of a table that it fills stays in its cache; what it will look up
//! is fetched ahead. Keys and strings lie one behind the other in one piece of memory, which costs less to hand over than
//! a piece for each. The tables are made as large beforehand as the file says, within what its length can hold.
//!
//! Who fills the tables does not keep up with who reads where there are few processors. So when enough batches wait the
//! reader puts the next one into its table itself, unless one of the same shard waits: all keys of a shard are put in the
//! order of the file, and a key that comes twice is what came last.
//!
//! Nobody else uses the data meanwhile (`progress`).

use super::convert;
use super::disk::Disk;
use super::snapshot::{Foreign, Item, LoadError, LoadErrorKind, Skipped, SnapshotReader, Value};
use crate::effects::{Class, Effects, Event};
use crate::engine::Engine;
use crate::keyspace::{Expiry, PlannedKey, WriteCtx};
use crate::lane::Lane;
use larder_structures::hash;
use parking_lot::Mutex;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

/// What happens to a key that is loaded; nobody hears it, since nobody uses the engine yet.
const RESTORE: Event = Event::new(Class::Generic, "restore");
/// Keys handed to a worker at once, and bytes of the file after which fewer are.
const BATCH_KEYS: usize = 256;
const BATCH_BYTES: u64 = 256 * 1024;
/// Batches that may wait for a worker: enough that it does not run out while the reader works on one of its own, and few
/// enough that most shards have none among them.
const BATCHES_WAITING: usize = 16;
/// Strings up to this length are handed over in one piece with others.
const SHORT_STRING: usize = 4096;
/// Threads that fill the tables, at most: one that reads cannot feed more.
const WORKERS_MAX: usize = 8;
/// Below this length a file is loaded before threads are started.
const SMALL_FILE: u64 = 1024 * 1024;
/// Bytes of a file that a key takes at least, where its number of keys is believed.
const BYTES_PER_KEY: u64 = 8;

/// What a load found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Keys loaded.
    pub keys: u64,
    /// Keys left out because they have expired.
    pub expired: u64,
    /// What was left out on request (`rdb-skip-unsupported`), since there is no such type yet.
    pub skipped: Skipped,
    /// Bytes of the snapshot. In the base of an append-only file commands may follow.
    pub bytes: u64,
}

/// What the last load of a file has found, for INFO.
#[derive(Debug, Default)]
pub(crate) struct LastLoad {
    /// Keys loaded.
    pub(crate) keys: AtomicU64,
    /// Keys left out because they had expired.
    pub(crate) expired: AtomicU64,
    /// What was left out because there is no such type.
    pub(crate) skipped: AtomicU64,
}

/// A key on its way into the tables.
struct Key {
    /// Where it begins in the file.
    offset: u64,
    db: usize,
    hash: u64,
    /// How long its name is.
    len: usize,
    expiry: Expiry,
    idle: Option<u64>,
    freq: Option<u8>,
    value: Handed,
}

/// A value on its way into the tables.
enum Handed {
    /// A short string of this length, behind the name of its key.
    Short(usize),
    /// Any other.
    Value(Box<Value>),
}

/// Keys of one shard.
#[derive(Default)]
struct Batch {
    keys: Vec<Key>,
    /// The names of the keys, each with its value behind it if that is a short string.
    bytes: Vec<u8>,
    /// Bytes that the keys take in the file.
    read: u64,
}

impl Batch {
    fn with_room_of(other: &Batch) -> Batch {
        let (keys, bytes) = (other.keys.len(), other.bytes.len());
        Batch { keys: Vec::with_capacity(keys), bytes: Vec::with_capacity(bytes), read: 0 }
    }
}

/// The first thing found wrong, in the order of the file.
#[derive(Default)]
struct Wrong(Mutex<Option<LoadError>>);

impl Wrong {
    fn note(&self, error: LoadError) {
        let mut first = self.0.lock();
        if first.as_ref().is_none_or(|first| first.offset > error.offset) {
            *first = Some(error);
        }
    }

    fn is_any(&self) -> bool {
        self.0.lock().is_some()
    }
}

impl Engine {
    /// Loads a snapshot into this engine, whose data nobody else uses yet.
    ///
    /// # Errors
    /// When the file cannot be read or is not what it should be: where, in which key, and what. What came before that
    /// place has been loaded, so the engine is not to be used.
    pub fn load(&self, lane: &mut Lane, disk: &dyn Disk, source: &Path) -> Result<Loaded, LoadError> {
        self.progress.expect(disk.len(source).map_err(failed)?);
        self.load_base(lane, disk, source)
    }

    /// The same for one of several files; whoever loads them has said how many bytes they have.
    pub(super) fn load_base(
        &self,
        lane: &mut Lane,
        disk: &dyn Disk,
        source: &Path,
    ) -> Result<Loaded, LoadError> {
        let len = disk.len(source).map_err(failed)?;
        let verify = self.config.rdb_checksum.load(Ordering::Relaxed);
        let file = disk.open(source).map_err(failed)?;
        let skip = self.config.rdb_skip_unsupported.load(Ordering::Relaxed);
        let mut reader = SnapshotReader::new(file)?.verify_checksum(verify).skip_foreign(skip);
        self.load_items(lane, &mut reader, len)
    }

    /// Loads what a reader reads of a file of `len` bytes, up to the end of the snapshot.
    ///
    /// # Errors
    /// See [`Engine::load`].
    pub(crate) fn load_items<R: Read>(
        &self,
        lane: &mut Lane,
        reader: &mut SnapshotReader<R>,
        len: u64,
    ) -> Result<Loaded, LoadError> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let workers = if len < SMALL_FILE { 0 } else { (processors - 1).min(WORKERS_MAX) };
        let wrong = Wrong::default();
        let waiting: Vec<AtomicUsize> = (0..self.shards.len()).map(|_| AtomicUsize::new(0)).collect();
        let (now_ms, now_us) = (lane.now_ms(), lane.now_us);
        let read = thread::scope(|scope| {
            let mut ways = Vec::new();
            for _ in 0..workers {
                let (way, batches) = sync_channel(BATCHES_WAITING);
                let work = || self.put_batches(now_us, batches, &waiting, &wrong);
                let thread = thread::Builder::new().name("larder-loader".into());
                // Without a thread the reader does its work.
                if thread.spawn_scoped(scope, work).is_ok() {
                    ways.push(way);
                }
            }
            let to = Spread {
                engine: self,
                lane,
                wrong: &wrong,
                ways,
                waiting: &waiting,
                batches: (0..self.shards.len()).map(|_| Batch::default()).collect(),
            };
            self.read_items(reader, now_ms, len, to)
        });
        let loaded = match (wrong.0.into_inner(), read) {
            (Some(wrong), Err(error)) if error.offset < wrong.offset => return Err(error),
            (Some(wrong), _) => return Err(wrong),
            (None, read) => read?,
        };
        self.last_load.keys.store(loaded.keys, Ordering::Relaxed);
        self.last_load.expired.store(loaded.expired, Ordering::Relaxed);
        self.last_load.skipped.store(loaded.skipped.count(), Ordering::Relaxed);
        Ok(loaded)
    }

    /// Takes a file apart.
    fn read_items<R: Read>(
        &self,
        reader: &mut SnapshotReader<R>,
        now_ms: u64,
        len: u64,
        mut to: Spread<'_>,
    ) -> Result<Loaded, LoadError> {
        let mut loaded = Loaded::default();
        let mut db = 0;
        loop {
            let offset = reader.offset();
            let Some(item) = reader.next()? else { break };
            match item {
                Item::Aux { name, value } if name == b"used-mem" => self.progress.note_memory(&value),
                Item::Aux { .. } => {}
                Item::ResizeDb { keys, .. } => self.make_tables(db, keys.min(len / BYTES_PER_KEY)),
                Item::Skipped(foreign) => loaded.skipped.note(foreign),
                Item::Function(_) if reader.skips_foreign() => {
                    loaded.skipped.note(Foreign::FunctionLibrary);
                }
                Item::Function(_) => {
                    return Err(LoadError::unsupported(offset, Foreign::FunctionLibrary.name()));
                }
                Item::SelectDb(number) => {
                    let known = usize::try_from(number).ok().filter(|db| *db < self.config.databases);
                    db = known.ok_or_else(|| {
                        corrupt(offset, None, "a database that exists", format!("database {number}"))
                    })?;
                }
                Item::Key { key, expire_at_ms, idle, freq, value } => {
                    let expiry =
                        expire_at_ms.map_or(Expiry::Never, |at_ms| Expiry::AtMs(at_ms.max(0) as u64));
                    if matches!(expiry, Expiry::AtMs(at_ms) if at_ms <= now_ms) {
                        loaded.expired += 1;
                        continue;
                    }
                    // An empty collection is no key; files of old servers may have some.
                    if value.is_empty() {
                        continue;
                    }
                    loaded.keys += 1;
                    let hash = hash::of(&key);
                    let bytes = reader.offset() - offset;
                    self.progress.note(reader.offset());
                    self.delay_load(loaded.keys);
                    if !to.put(&key, Meta { offset, db, hash, expiry, idle, freq, bytes }, value) {
                        break;
                    }
                }
            }
        }
        to.finish();
        loaded.bytes = reader.offset();
        Ok(loaded)
    }

    /// Makes the tables of a database large enough for so many keys.
    fn make_tables(&self, db: usize, keys: u64) {
        let each = (keys / self.shards.len() as u64) as usize;
        for index in 0..self.shards.len() {
            let mut hold = self.shards.one(index);
            let (keys, _, _) = hold.shard_mut(index).parts(self.physical(db));
            keys.reserve(each);
            self.report(&mut hold, index);
        }
    }

    /// A worker: puts what comes into the tables.
    fn put_batches(
        &self,
        now_us: u64,
        batches: Receiver<(usize, Batch)>,
        waiting: &[AtomicUsize],
        wrong: &Wrong,
    ) {
        let mut lane = self.lane(false);
        lane.set_now_us(now_us);
        for (shard, batch) in batches {
            self.put_batch(&mut lane, shard, batch, wrong);
            waiting[shard].fetch_sub(1, Ordering::Release);
        }
    }

    fn put_batch(&self, lane: &mut Lane, shard: usize, batch: Batch, wrong: &Wrong) {
        let mut hold = self.shards.one(shard);
        for key in &batch.keys {
            if let Some(db) = hold.shard(shard).db(self.physical(key.db)) {
                db.keys.prefetch_bucket(key.hash);
            }
        }
        self.begin_effects(lane);
        let mut bytes = batch.bytes.as_slice();
        for Key { offset, db, hash, len, expiry, idle, freq, value } in batch.keys {
            let (key, rest) = bytes.split_at(len);
            bytes = rest;
            let mut writer =
                WriteCtx { planned: PlannedKey::new(key, hash), ..self.writer(lane, &mut hold, db) };
            match value {
                Handed::Short(len) => {
                    let (value, rest) = bytes.split_at(len);
                    bytes = rest;
                    writer.set_string(key, value, expiry, RESTORE);
                }
                Handed::Value(value) => match convert::read(*value, &self.config) {
                    Ok(Some(stored)) => writer.restore(key, stored, expiry, RESTORE),
                    Ok(None) => continue,
                    Err(damage) => {
                        wrong.note(corrupt(offset, Some(key), damage, "something else".into()));
                        break;
                    }
                },
            }
            if idle.is_some() || freq.is_some() {
                writer.set_use(key, idle, freq.map(u32::from));
            }
        }
        // Loading is no change: nobody watches, the log does not want it, and it need not be saved.
        lane.effects = Effects::default();
    }
}

fn failed(error: io::Error) -> LoadError {
    LoadError { offset: 0, key: None, kind: LoadErrorKind::Io(error) }
}

fn corrupt(offset: u64, key: Option<&[u8]>, expected: &'static str, found: String) -> LoadError {
    LoadError { offset, key: key.map(<[u8]>::to_vec), kind: LoadErrorKind::Corrupt { expected, found } }
}

/// What is known of a key beside its name and value.
struct Meta {
    offset: u64,
    db: usize,
    hash: u64,
    expiry: Expiry,
    idle: Option<u64>,
    freq: Option<u8>,
    /// Bytes it takes in the file.
    bytes: u64,
}

/// Gathers keys by shard and sends them to the workers.
struct Spread<'s> {
    engine: &'s Engine,
    lane: &'s mut Lane,
    wrong: &'s Wrong,
    ways: Vec<SyncSender<(usize, Batch)>>,
    /// Batches of each shard that were sent and are not done.
    waiting: &'s [AtomicUsize],
    /// Of each shard.
    batches: Vec<Batch>,
}

impl Spread<'_> {
    /// Takes a key; `false` once something has been found wrong.
    fn put(&mut self, key: &[u8], meta: Meta, value: Value) -> bool {
        let Meta { offset, db, hash, expiry, idle, freq, bytes } = meta;
        let shard = hash::shard(hash, self.batches.len());
        let batch = &mut self.batches[shard];
        batch.bytes.extend_from_slice(key);
        let value = match value {
            Value::String(value) if value.len() <= SHORT_STRING => {
                batch.bytes.extend_from_slice(&value);
                Handed::Short(value.len())
            }
            other => Handed::Value(Box::new(other)),
        };
        batch.keys.push(Key { offset, db, hash, len: key.len(), expiry, idle, freq, value });
        batch.read += bytes;
        if batch.keys.len() < BATCH_KEYS && batch.read < BATCH_BYTES {
            return true;
        }
        self.send(shard);
        !self.wrong.is_any()
    }

    fn send(&mut self, shard: usize) {
        let next = Batch::with_room_of(&self.batches[shard]);
        let batch = std::mem::replace(&mut self.batches[shard], next);
        if batch.keys.is_empty() {
            return;
        }
        // Always the same one for a shard, which keeps their order.
        let Some(way) = self.ways.get(shard % self.ways.len().max(1)) else {
            return self.engine.put_batch(self.lane, shard, batch, self.wrong);
        };
        self.waiting[shard].fetch_add(1, Ordering::Relaxed);
        let unsent = match way.try_send((shard, batch)) {
            Ok(()) => return,
            Err(TrySendError::Full(unsent)) if self.waiting[shard].load(Ordering::Acquire) > 1 => {
                match way.send(unsent) {
                    Ok(()) => return,
                    Err(unsent) => unsent.0,
                }
            }
            Err(TrySendError::Full(unsent) | TrySendError::Disconnected(unsent)) => unsent,
        };
        self.waiting[shard].fetch_sub(1, Ordering::Relaxed);
        self.engine.put_batch(self.lane, shard, unsent.1, self.wrong);
    }

    fn finish(mut self) {
        (0..self.batches.len()).for_each(|shard| self.send(shard));
    }
}
