//! Where a queue writes down what it has acknowledged: a file of this process, or the backend, where the next process
//! finds it whatever became of this one and its machine.
//!
//! In the backend it is a hash with a field for the newest change of each key that is not flushed, and one for each dead
//! letter; its value is the [record](Record) in a frame of the file's form, with its checksums. Every change of the hash
//! goes [only as long](crate::store::Note) as the queue is ours, so what is in it is never older than what another owner
//! has made of it: whoever gets the queue goes on with the hash, and forgets what he knew before.

use super::WriteBackError;
use super::log::{Record, Wanted, frame, unframe};
use super::owner::Owner;
use super::writer::Writer;
use crate::cache::Inner;
use crate::store::{Note, STEP, Store};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// About how many bytes of changes go together.
const GROUP_MAX: usize = 1 << 20;
/// How long what could not be noted as done waits for others to go with.
const PAUSE: Duration = Duration::from_secs(1);

/// The file or the backend.
pub(super) enum Journal {
    File(Writer),
    Backend(Remote),
}

impl Journal {
    /// Writes records, and waits until they are as safe as they are to be.
    pub(super) async fn write(&self, records: Vec<Record>) -> Result<(), WriteBackError> {
        match self {
            Journal::File(writer) => writer.write(records).await.map_err(WriteBackError::Log),
            Journal::Backend(remote) => remote.write(records).await,
        }
    }

    /// Writes records that may be lost: what they say is then found out again.
    pub(super) fn note(&self, records: Vec<Record>) {
        match self {
            Journal::File(writer) => writer.note(records),
            Journal::Backend(remote) => _ = remote.send(records, false),
        }
    }

    /// Ends after all that was given to it before.
    pub(super) async fn close(&self) {
        match self {
            Journal::File(writer) => writer.close().await,
            Journal::Backend(remote) => {
                if let Some(done) = remote.send(Vec::new(), true) {
                    let _ = done.await;
                }
            }
        }
    }
}

type Written = Result<(), WriteBackError>;

struct Job {
    /// That of the owner when it was given.
    fence: u64,
    records: Vec<Record>,
    done: oneshot::Sender<Written>,
    is_last: bool,
}

/// A handle on the task that writes to the backend; it ends with the handle.
pub(super) struct Remote {
    jobs: mpsc::UnboundedSender<Job>,
    owner: Arc<Owner>,
    log: Vec<u8>,
}

impl Remote {
    /// A journal under the key `log`.
    pub(super) fn start<V: Send + Sync + 'static>(
        inner: &Arc<Inner<V>>,
        owner: &Arc<Owner>,
        log: Vec<u8>,
        wanted: &Wanted,
    ) -> Remote {
        let (jobs, inbox) = mpsc::unbounded_channel();
        let mut place = Place::new(owner, &log);
        place.know(wanted);
        tokio::spawn(write_all(Arc::clone(inner), place, inbox));
        Remote { jobs, owner: Arc::clone(owner), log }
    }

    /// What it says now; `salvages` leaves out what cannot be read.
    pub(super) async fn read(store: &Store, log: &[u8], salvages: bool) -> Result<Wanted, WriteBackError> {
        let reading: Reading<'_> = Box::pin(store.larder.hgetall(log));
        let fields = reading.await.map_err(|error| WriteBackError::Log(error.to_string()))?;
        let mut wanted = Wanted::default();
        for (field, value) in fields.iter().filter(|(field, _)| field != STEP) {
            match unframe(value) {
                Some((records, length)) if length == value.len() => {
                    records.iter().for_each(|record| wanted.take(record));
                }
                _ if salvages => {}
                _ => {
                    let (log, field) = (log.escape_ascii(), field.escape_ascii());
                    return Err(WriteBackError::Log(format!("{log} is damaged in its field {field}")));
                }
            }
        }
        Ok(wanted)
    }

    /// The key.
    pub(super) fn log(&self) -> &[u8] {
        &self.log
    }

    async fn write(&self, records: Vec<Record>) -> Written {
        let ended = || Err(WriteBackError::Log("the queue has ended".to_owned()));
        let Some(done) = self.send(records, false) else { return ended() };
        done.await.unwrap_or_else(|_| ended())
    }

    fn send(&self, records: Vec<Record>, is_last: bool) -> Option<oneshot::Receiver<Written>> {
        let (done, written) = oneshot::channel();
        let job = Job { fence: self.owner.fence(), records, done, is_last };
        self.jobs.send(job).ok().map(|()| written)
    }
}

type Reading<'a> = Pin<Box<dyn Future<Output = larder_client::Result<Vec<(Vec<u8>, Vec<u8>)>>> + Send + 'a>>;

/// Writes what comes until it ends.
async fn write_all<V: Send + Sync + 'static>(
    inner: Arc<Inner<V>>,
    mut place: Place,
    mut inbox: mpsc::UnboundedReceiver<Job>,
) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(job) => job,
            None if place.owed.is_empty() => match inbox.recv().await {
                Some(job) => job,
                None => return,
            },
            None => match tokio::time::timeout(PAUSE, inbox.recv()).await {
                Ok(Some(job)) => job,
                Ok(None) => return,
                Err(_) => {
                    let fence = place.owner.fence();
                    let _ = place.write(&inner, fence, &[]).await;
                    continue;
                }
            },
        };
        // What comes while one is under way goes together.
        let (fence, mut group) = (first.fence, vec![first]);
        let mut size: usize = group[0].records.iter().map(Record::size).sum();
        while size < GROUP_MAX
            && let Ok(job) = inbox.try_recv()
        {
            if job.fence != fence {
                next = Some(job);
                break;
            }
            size += job.records.iter().map(Record::size).sum::<usize>();
            group.push(job);
        }
        let records: Vec<Record> = group.iter_mut().flat_map(|job| job.records.drain(..)).collect();
        let written = match records.is_empty() && place.owed.is_empty() {
            true => Ok(()),
            false => place.write(&inner, fence, &records).await,
        };
        let is_last = group.iter().any(|job| job.is_last);
        for job in group {
            // Who has gone need not be told.
            let _ = job.done.send(written.clone());
        }
        if is_last {
            return;
        }
    }
}

/// The hash, as far as the next changes depend on what is in it.
struct Place {
    owner: Arc<Owner>,
    log: Vec<u8>,
    /// The fence under which the rest is known.
    fence: u64,
    /// The number of the change that the hash has of each key.
    pending: HashMap<Vec<u8>, u64>,
    dead: HashSet<u64>,
    /// Fields that could not be deleted.
    owed: HashSet<Vec<u8>>,
    /// Notes made under this fence.
    step: u64,
}

impl Place {
    fn new(owner: &Arc<Owner>, log: &[u8]) -> Place {
        Place {
            owner: Arc::clone(owner),
            log: log.to_vec(),
            fence: owner.fence(),
            pending: HashMap::new(),
            dead: HashSet::new(),
            owed: HashSet::new(),
            step: 0,
        }
    }

    fn know(&mut self, wanted: &Wanted) {
        self.pending = wanted.pending.iter().map(|(key, (seq, _))| (key.clone(), *seq)).collect();
        self.dead = wanted.dead.keys().copied().collect();
    }

    async fn write<V: Send + Sync + 'static>(
        &mut self,
        inner: &Inner<V>,
        fence: u64,
        records: &[Record],
    ) -> Written {
        if fence != self.owner.fence() {
            return Err(WriteBackError::NotOwner);
        }
        if self.fence != fence {
            // Somebody else may have had the queue: it is known anew.
            let wanted = Remote::read(&inner.store, &self.log, true).await?;
            self.know(&wanted);
            self.owed.clear();
            (self.fence, self.step) = (fence, 0);
        }
        let mut fields: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
            self.owed.iter().map(|field| (field.clone(), None)).collect();
        let mut changed = Vec::new();
        records.iter().for_each(|record| self.take(record, &mut fields, &mut changed));
        let (sets, deletes): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(_, value)| value.is_some());
        let deletes: Vec<Vec<u8>> = deletes.into_iter().map(|(field, _)| field).collect();
        self.step += 1;
        let note = Note {
            lease: self.owner.lease_key(),
            fence: self.owner.fence_key(),
            log: &self.log,
            token: &self.owner.token,
            number: fence,
            step: self.step,
            sets: sets.into_iter().filter_map(|(field, value)| Some((field, value?))).collect(),
            deletes: deletes.clone(),
        };
        let noting: Pin<Box<dyn Future<Output = larder_client::Result<bool>> + Send + '_>> =
            Box::pin(inner.store.note(&note));
        let failed = match noting.await {
            Ok(true) => {
                self.owed.clear();
                return Ok(());
            }
            Ok(false) => WriteBackError::NotOwner,
            Err(error) => WriteBackError::Log(error.to_string()),
        };
        // Which of it is there nobody knows. What was done is tried again; what was not acknowledged may go with it.
        for (key, before) in changed.into_iter().rev() {
            match before {
                Some(seq) => _ = self.pending.insert(key, seq),
                None => _ = self.pending.remove(&key),
            }
        }
        self.owed.extend(deletes);
        Err(failed)
    }

    /// What a record means for the fields; `changed` gets what was known before.
    fn take(
        &mut self,
        record: &Record,
        fields: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>,
        changed: &mut Vec<(Vec<u8>, Option<u64>)>,
    ) {
        match record {
            Record::Change { seq, key, .. } => {
                fields.insert(change_field(key), Some(frame(std::slice::from_ref(record))));
                changed.push((key.clone(), self.pending.insert(key.clone(), *seq)));
            }
            Record::Done { seq, key } => {
                self.end(*seq, key, fields);
                if self.dead.remove(seq) {
                    fields.insert(dead_field(*seq), None);
                }
            }
            Record::Dead { seq, key, .. } => {
                self.end(*seq, key, fields);
                self.dead.insert(*seq);
                fields.insert(dead_field(*seq), Some(frame(std::slice::from_ref(record))));
            }
            // The backend has lease and fence themselves.
            Record::Owner { .. } => {}
        }
    }

    fn end(&mut self, seq: u64, key: &[u8], fields: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>) {
        if self.pending.get(key).is_some_and(|last| *last <= seq) {
            self.pending.remove(key);
            fields.insert(change_field(key), None);
        }
    }
}

fn change_field(key: &[u8]) -> Vec<u8> {
    [b"c", key].concat()
}

fn dead_field(seq: u64) -> Vec<u8> {
    [b"d".as_slice(), &seq.to_be_bytes()].concat()
}
