//! What happens to a change, from the put to the sink.

use super::journal::{Journal, Remote};
use super::log::Record;
use super::owner::{Claim, Owner};
use super::queue::{Failure, Item, Landed, Queue, Waiter};
use super::{
    Ack, Change, DeadLetter, Drained, OnFull, Outcome, Sink, WriteBack, WriteBackError, WriteBackStats,
};
use crate::cache::{Cache, check_tags};
use crate::entry::{Kept, Write};
use crate::error::Error;
use crate::key::CacheKey;
use crate::load::message;
use crate::store::{Drop, Record as Stored};
use futures_util::FutureExt;
use futures_util::future::join_all;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// Keys are spread over so many locks, which keep the steps of one change together.
pub(super) const TURNS: usize = 64;
/// How long closing waits for a batch under way after its time is over.
const PATIENCE: Duration = Duration::from_secs(5);
pub(super) const SOMEBODY_ELSE: &str =
    "another process has owned the queue since, and may have flushed a newer one";

/// What all parts of a queue share.
pub(super) struct Shared<K: 'static, V: 'static> {
    pub(super) cache: Cache<K, V>,
    pub(super) how: WriteBack<V>,
    pub(super) sink: Arc<dyn AnySink<K, V>>,
    pub(super) state: Mutex<State<K, V>>,
    pub(super) turns: Box<[tokio::sync::Mutex<()>]>,
    pub(super) journal: Option<Journal>,
    pub(super) owner: Arc<Owner>,
    /// There is something to flush, or somebody is in a hurry.
    pub(super) work: Arc<Notify>,
    /// There may be room again.
    pub(super) space: Notify,
    /// The queue is over.
    pub(super) over: Notify,
    /// The task that flushes.
    pub(super) flusher: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

pub(super) struct State<K, V> {
    pub(super) queue: Queue<K, V>,
    /// Puts on their way into the queue.
    pub(super) admitted: usize,
    pub(super) is_closed: bool,
    /// What the backend has of the queue is to be read before anything is changed.
    pub(super) is_unread: bool,
    pub(super) is_over: bool,
    /// Whoever wants all to be flushed at once.
    pub(super) hurries: usize,
    pub(super) stats: WriteBackStats,
}

/// Dropped with the last handle.
pub(super) struct Alive(pub(super) Arc<Notify>);

impl std::ops::Drop for Alive {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

type Storing<'a> = Pin<Box<dyn Future<Output = Result<Vec<Outcome>, String>> + Send + 'a>>;

/// A sink of any type.
pub(super) trait AnySink<K, V>: Send + Sync {
    fn store<'a>(&'a self, changes: &'a [Change<K, V>]) -> Storing<'a>;
}

impl<K: Send + Sync, V: Send + Sync, S: Sink<K, V>> AnySink<K, V> for S {
    fn store<'a>(&'a self, changes: &'a [Change<K, V>]) -> Storing<'a> {
        Box::pin(async move { Sink::store(self, changes).await.map_err(|error| error.to_string()) })
    }
}

/// Renews the lease until the queue is over.
pub(super) async fn keep_lease<K, V>(shared: Weak<Shared<K, V>>)
where
    K: CacheKey + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    while let Some(shared) = shared.upgrade().filter(|shared| !shared.state.lock().is_over) {
        shared.own().await;
        let pause = shared.owner.lease / 3;
        drop(shared);
        tokio::time::sleep(pause).await;
    }
}

/// Renews the entries of what waits for long until the queue is over. They may be many, so the lease does not wait for it.
pub(super) async fn keep_entries<K, V>(shared: Weak<Shared<K, V>>)
where
    K: CacheKey + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    loop {
        let Some(every) = shared.upgrade().map(|shared| shared.cache.policy.ttl / 3) else { return };
        tokio::time::sleep(every.max(Duration::from_millis(10))).await;
        let Some(shared) = shared.upgrade().filter(|shared| !shared.state.lock().is_over) else { return };
        let waiting: Vec<_> =
            shared.state.lock().queue.all().map(|item| (item.seq, Arc::clone(&item.kept))).collect();
        for (seq, kept) in waiting {
            shared.show(seq, &kept).await;
        }
    }
}

/// Makes a change, whatever becomes of the caller.
pub(super) async fn change<K, V>(
    shared: &Arc<Shared<K, V>>,
    key: K,
    value: Option<V>,
    how: Write,
) -> Result<u64, WriteBackError>
where
    K: CacheKey + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    let shared = Arc::clone(shared);
    let work = tokio::spawn(async move {
        let bytes = Cache::<K, V>::bytes(&key).map_err(WriteBackError::Cache)?;
        check_tags(&how.tags).map_err(WriteBackError::Cache)?;
        let name: Box<[u8]> = bytes.as_slice().into();
        let room = shared.admit(&name).await?;
        // One change of a key at a time: its order is the same in the log, in the queue, and in the cache.
        let turn = shared.turn(&name).lock().await;
        let before = shared.pending(&name);
        let before = before.as_ref().and_then(|kept| kept.value.as_ref());
        let value = match (value, &shared.how.merge, before) {
            (Some(value), Some(merge), Some(before)) => Some(merge(before, value)),
            (value, ..) => value,
        };
        let life = shared.cache.policy.life(how.ttl);
        let kept = Kept {
            value,
            key: name[..].into(),
            tags: how.tags,
            etag: how.etag.map(String::into_boxed_str),
            life,
            cost: Duration::ZERO,
            fresh_until: Instant::now() + life,
            at: 0,
            bytes: 0,
        };
        let (waiter, told) = oneshot::channel();
        let waiter = (shared.how.ack == Ack::Source).then_some(waiter);
        let seq = shared.enter(key, Arc::new(kept), room, waiter).await?;
        drop(turn);
        if shared.how.ack == Ack::Source {
            let gone = || Err("the queue has ended".to_owned());
            told.await.unwrap_or_else(|_| gone()).map_err(WriteBackError::Source)?;
        }
        Ok(seq)
    });
    work.await.map_err(|error| WriteBackError::Source(format!("the change was not made: {error}")))?
}

/// Room for one change, from before it is written until it is in the queue.
struct Room<'a, K: 'static, V: 'static> {
    shared: &'a Shared<K, V>,
    /// It is full, and this change goes to the source at once.
    is_through: bool,
}

impl<K, V> std::ops::Drop for Room<'_, K, V> {
    fn drop(&mut self) {
        if !self.is_through {
            self.shared.state.lock().admitted -= 1;
            self.shared.space.notify_waiters();
        }
    }
}

impl<K: 'static, V: 'static> Shared<K, V> {
    /// The change of a key that is not flushed.
    pub(super) fn pending(&self, key: &[u8]) -> Option<Arc<Kept<V>>>
    where
        K: Clone,
    {
        self.state.lock().queue.newest(key).map(|item| Arc::clone(&item.kept))
    }

    fn turn(&self, key: &[u8]) -> &tokio::sync::Mutex<()> {
        &self.turns[key.iter().fold(7_usize, |hash, byte| hash.wrapping_mul(31) + usize::from(*byte)) % TURNS]
    }
}

impl<K, V> Shared<K, V>
where
    K: CacheKey + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Waits for room, or says what else is to be done.
    async fn admit(&self, key: &[u8]) -> Result<Room<'_, K, V>, WriteBackError> {
        loop {
            let freed = self.space.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            {
                let mut state = self.state.lock();
                if state.is_closed {
                    return Err(WriteBackError::Closed);
                }
                let taken = state.queue.len() + state.queue.dead.len() + state.admitted;
                // One that takes the place of another needs none.
                if taken < self.how.room || state.queue.has(key) {
                    state.admitted += 1;
                    return Ok(Room { shared: self, is_through: false });
                }
            }
            match self.how.on_full {
                OnFull::Block => freed.await,
                OnFull::Reject => return Err(WriteBackError::Full),
                OnFull::WriteThrough => return Ok(Room { shared: self, is_through: true }),
            }
        }
    }

    /// Takes a change in; the turn of its key is the caller's.
    async fn enter(
        &self,
        key: K,
        kept: Arc<Kept<V>>,
        room: Room<'_, K, V>,
        waiter: Option<Waiter>,
    ) -> Result<u64, WriteBackError> {
        let fence = self.owner.fence();
        if !self.owner.is_ours() || self.state.lock().is_unread {
            return Err(WriteBackError::NotOwner);
        }
        let value = self.pack(&kept)?;
        let seq = {
            let mut state = self.state.lock();
            state.queue.seq = state.queue.seq.max(first_of(fence)) + 1;
            state.stats.taken += 1;
            state.queue.seq
        };
        let item = Item { seq, fence, key, kept };
        if room.is_through && self.pending(&item.kept.key).is_none() {
            return self.write_through(item, waiter).await;
        }
        if let Some(journal) = &self.journal {
            let record = Record::Change { seq, key: log_key(&item.key)?, value };
            journal.write(vec![record]).await?;
        }
        let kept = Arc::clone(&item.kept);
        {
            let mut state = self.state.lock();
            let is_replaced = state.queue.push(item, waiter, Instant::now());
            state.stats.replaced += u64::from(is_replaced);
        }
        drop(room);
        self.work.notify_one();
        self.put_into_cache(&kept).await;
        Ok(seq)
    }

    /// The bytes of a value in the log: its tags, and what the cache keeps.
    fn pack(&self, kept: &Kept<V>) -> Result<Option<Vec<u8>>, WriteBackError> {
        let Some(value) = &kept.value else { return Ok(None) };
        let etag = kept.etag.as_deref();
        let packed = self.cache.inner.packing.pack(Some(value), kept.life, kept.cost, etag);
        let data = packed.map_err(|why| WriteBackError::Cache(Error::Encode(why)))?;
        let mut bytes = (kept.tags.len() as u16).to_be_bytes().to_vec();
        for tag in &kept.tags {
            bytes.extend((tag.len() as u16).to_be_bytes());
            bytes.extend(tag);
        }
        bytes.extend(data);
        Ok(Some(bytes))
    }

    /// Everybody reads this value from now on, or that there is none.
    async fn put_into_cache(&self, kept: &Kept<V>) {
        let (inner, policy, key) = (&self.cache.inner, &self.cache.policy, &*kept.key);
        inner.local.change(key);
        let is_done = match &kept.value {
            None => inner.ask(policy, inner.store.drop(key, Drop::Remove)).await.is_ok(),
            Some(value) => {
                let etag = kept.etag.as_deref();
                match inner.packing.pack(Some(value), kept.life, kept.cost, etag) {
                    Ok(data) => {
                        let stale = policy.stale_for;
                        let life = kept.life + stale;
                        let record = Stored { life, stale, tags: &kept.tags, data: &data };
                        inner.ask(policy, inner.store.set(key, &record)).await.is_ok()
                    }
                    Err(_) => false,
                }
            }
        };
        match is_done {
            true => _ = inner.local.change(key),
            // It is removed as soon as that works, so that the old value does not stay.
            false => inner.owe_removal(key),
        }
    }

    /// The same, if the change is still the newest one that is not flushed.
    pub(super) async fn show(&self, seq: u64, kept: &Kept<V>) {
        let _turn = self.turn(&kept.key).lock().await;
        let is_newest = self.state.lock().queue.newest(&kept.key).is_some_and(|newest| newest.seq == seq);
        if is_newest {
            self.put_into_cache(kept).await;
        }
    }

    async fn write_through(&self, item: Item<K, V>, waiter: Option<Waiter>) -> Result<u64, WriteBackError> {
        let (seq, kept) = (item.seq, Arc::clone(&item.kept));
        let outcome = self.send(&[item]).await.map(|mut outcomes| outcomes.remove(0));
        match outcome {
            Ok(Outcome::Stored) => {
                self.state.lock().stats.flushed += 1;
                self.put_into_cache(&kept).await;
                let _ = waiter.map(|waiter| waiter.send(Ok(())));
                Ok(seq)
            }
            Ok(Outcome::Failed(why) | Outcome::Rejected(why)) | Err(why) => {
                // Nobody knows whether the source has it.
                let gone = Kept { value: None, key: kept.key.clone(), tags: Vec::new(), etag: None, ..*kept };
                self.put_into_cache(&gone).await;
                Err(WriteBackError::Source(why))
            }
        }
    }

    /// Gives changes to the sink; each of them has an outcome, or the whole has failed.
    async fn send(&self, items: &[Item<K, V>]) -> Result<Vec<Outcome>, String> {
        let changes: Vec<Change<K, V>> = items.iter().cloned().map(Change).collect();
        let storing = AssertUnwindSafe(async { self.sink.store(&changes).await }).catch_unwind();
        match tokio::time::timeout(self.how.sink_timeout, storing).await {
            Ok(Ok(Ok(outcomes))) if outcomes.len() == items.len() => Ok(outcomes),
            Ok(Ok(Ok(outcomes))) => {
                Err(format!("the sink answered for {} of {} changes", outcomes.len(), items.len()))
            }
            Ok(Ok(Err(why))) => Err(why),
            Ok(Err(panic)) => Err(format!("the sink panicked: {}", message(&*panic))),
            Err(_) => Err(format!("the sink took longer than {:?}", self.how.sink_timeout)),
        }
    }

    /// The task that flushes; it ends when the queue is closed, or empty and without handles.
    pub(super) async fn flush_all(self: Arc<Self>, alive: Weak<Alive>) {
        let mut outages = 0;
        loop {
            let woken = self.work.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let wait = {
                let mut state = self.state.lock();
                if state.is_over || (state.queue.len() == 0 && alive.strong_count() == 0) {
                    state.is_over = true;
                    break;
                }
                self.until_next(&state)
            };
            match wait {
                Some(wait) if wait.is_zero() => {}
                Some(wait) => {
                    tokio::select! {
                        () = woken => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                    continue;
                }
                None => {
                    woken.await;
                    continue;
                }
            }
            if !self.owner.is_ours() {
                // The other task is about to find out whether it is again.
                tokio::time::sleep(self.owner.lease / 10).await;
                continue;
            }
            let items = self.state.lock().queue.take(Instant::now(), self.how.batch);
            match self.flush_some(items).await {
                true => outages = 0,
                false => {
                    outages += 1;
                    let pause = tokio::time::sleep(self.how.patience.pause(outages, fastrand::f64()));
                    let over = self.over.notified();
                    tokio::pin!(over);
                    over.as_mut().enable();
                    if !self.state.lock().is_over {
                        tokio::select! {
                            () = pause => {}
                            () = over => {}
                        }
                    }
                }
            }
        }
        if let Some(journal) = &self.journal {
            journal.close().await;
        }
        self.owner.release().await;
    }

    /// How long the flusher has nothing to do; `None`: until it is woken.
    fn until_next(&self, state: &State<K, V>) -> Option<Duration> {
        let (came, due) = state.queue.times();
        let is_full = state.queue.ready() >= self.how.batch || state.hurries > 0;
        let go = came.map(|came| if is_full { came } else { came + self.how.linger });
        let next = match (go, due) {
            (Some(go), Some(due)) => go.min(due),
            (go, due) => go.or(due)?,
        };
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Flushes changes; returns whether the sink as a whole works.
    async fn flush_some(&self, items: Vec<Item<K, V>>) -> bool {
        if items.is_empty() {
            return true;
        }
        let outcomes = self.send(&items).await;
        let is_up = outcomes.is_ok();
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes.into_iter().map(Some).collect(),
            Err(_) => vec![None; items.len()],
        };
        let (mut records, mut flushed, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        {
            let (now, patience) = (Instant::now(), self.how.patience);
            let mut state = self.state.lock();
            state.stats.batches += 1;
            state.stats.outages += u64::from(!is_up);
            for (item, outcome) in items.iter().zip(outcomes) {
                let outcome = match outcome {
                    Some(Outcome::Stored) => Ok(()),
                    Some(Outcome::Failed(why)) => Err((why, Failure::Own)),
                    Some(Outcome::Rejected(why)) => Err((why, Failure::Final)),
                    None => Err((String::new(), Failure::OfAll)),
                };
                state.stats.failures += u64::from(is_up && outcome.is_err());
                match state.queue.land(&item.kept.key, outcome, now, patience) {
                    Landed::Done(item, is_last) => {
                        state.stats.flushed += 1;
                        records
                            .extend(log_key(&item.key).ok().map(|key| Record::Done { seq: item.seq, key }));
                        if is_last {
                            flushed.push(item);
                        }
                    }
                    Landed::Dead(seq) => dead.push(seq),
                    Landed::Again | Landed::Gone => {}
                }
            }
        }
        if let Some(journal) = &self.journal {
            journal.note(records);
        }
        self.space.notify_waiters();
        self.bury(&dead).await;
        join_all(flushed.iter().map(|item| self.show_flushed(item))).await;
        is_up
    }

    /// Puts what was flushed into the cache once more: if the entry was evicted, somebody may have loaded the old value.
    async fn show_flushed(&self, item: &Item<K, V>) {
        let _turn = self.turn(&item.kept.key).lock().await;
        if !self.state.lock().queue.has(&item.kept.key) {
            self.put_into_cache(&item.kept).await;
        }
    }

    /// Notes dead letters in the log, and removes their entries: the source has something else.
    async fn bury(&self, dead: &[u64]) {
        for seq in dead {
            let found = {
                let state = self.state.lock();
                state.queue.dead.get(seq).map(|refused| (refused.item.clone(), refused.why.clone()))
            };
            let Some((item, why)) = found else { continue };
            if let (Some(journal), Ok(key), Ok(value)) =
                (&self.journal, log_key(&item.key), self.pack(&item.kept))
            {
                journal.note(vec![Record::Dead { seq: *seq, key, value, why }]);
            }
            let _turn = self.turn(&item.kept.key).lock().await;
            if !self.state.lock().queue.has(&item.kept.key) {
                let key = item.kept.key.clone();
                let gone = Kept { value: None, key, tags: Vec::new(), etag: None, ..*item.kept };
                self.put_into_cache(&gone).await;
            }
        }
    }

    pub(super) async fn give_up(&self, why: &str) {
        let dead = self.state.lock().queue.give_up(why);
        self.bury(&dead).await;
        self.space.notify_waiters();
    }

    /// Numbers begin with the fence, so that they go up even if nobody has written down the last one.
    pub(super) fn count_from(&self, fence: u64) {
        let mut state = self.state.lock();
        state.queue.seq = state.queue.seq.max(first_of(fence));
    }

    /// Renews the lease, or asks for it again.
    async fn own(&self) {
        // An error is no answer: the lease lasts for as long as it does.
        let is_ours = match self.owner.renew().await {
            Ok(is_ours) => is_ours,
            Err(_) => return,
        };
        if let Some(Journal::Backend(remote)) = &self.journal {
            return self.own_again(is_ours, remote).await;
        }
        if is_ours {
            return;
        }
        let Ok(claim) = self.owner.claim().await else { return };
        if claim == Claim::Refused {
            return;
        }
        self.count_from(self.owner.fence());
        if let Some(journal) = &self.journal {
            journal.note(vec![Record::Owner { fence: self.owner.fence(), token: self.owner.token.clone() }]);
        }
        if claim == Claim::Taken {
            self.give_up(SOMEBODY_ELSE).await;
        }
        self.work.notify_one();
    }

    /// The same for a queue that is kept in the backend: once the lease is lost what is there is right, and what is here
    /// is not.
    async fn own_again(&self, is_ours: bool, remote: &Remote) {
        if !is_ours {
            {
                let mut state = self.state.lock();
                state.is_unread = true;
                state.queue.forget(SOMEBODY_ELSE);
            }
            self.space.notify_waiters();
            if !matches!(self.owner.claim().await, Ok(Claim::Continued | Claim::Taken)) {
                return;
            }
        }
        if !self.state.lock().is_unread {
            return;
        }
        self.count_from(self.owner.fence());
        // If it fails it is tried again with the next renewal.
        let Ok(wanted) = Remote::read(&self.cache.inner.store, remote.log(), true).await else { return };
        if self.resume(wanted, Claim::Continued).await.is_ok() {
            self.state.lock().is_unread = false;
            self.work.notify_one();
        }
    }

    /// Waits until all there is now is flushed or given up.
    pub(super) async fn flush(&self) -> Result<(), WriteBackError> {
        let told = {
            let mut state = self.state.lock();
            state.hurries += 1;
            state.queue.wait_for_all()
        };
        let hurry = Hurry(self);
        self.work.notify_one();
        let outcomes = join_all(told).await;
        drop(hurry);
        let failed = outcomes.into_iter().flatten().find_map(Result::err);
        failed.map_or(Ok(()), |why| Err(WriteBackError::Source(why)))
    }

    pub(super) async fn close(&self, within: Duration) -> Drained {
        self.state.lock().is_closed = true;
        self.space.notify_waiters();
        let flushing = async {
            // Puts that were admitted before are still on their way.
            while self.state.lock().admitted > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            while self.state.lock().queue.len() > 0 {
                let _ = self.flush().await;
            }
        };
        let _ = tokio::time::timeout(within, flushing).await;
        let drained = {
            let mut state = self.state.lock();
            state.is_over = true;
            Drained { left: state.queue.len(), dead: state.queue.dead.len() }
        };
        self.work.notify_one();
        self.over.notify_waiters();
        let flusher = self.flusher.lock().take();
        if let Some(flusher) = flusher {
            // A sink that hangs is not waited for: its change has not been noted as done.
            let _ = tokio::time::timeout(PATIENCE, flusher).await;
        }
        drained
    }

    pub(super) fn stats(&self) -> WriteBackStats {
        let state = self.state.lock();
        WriteBackStats { pending: state.queue.len(), dead: state.queue.dead.len(), ..state.stats }
    }

    pub(super) fn dead_letters(&self) -> Vec<DeadLetter<K, V>> {
        let state = self.state.lock();
        let letters = state.queue.dead.values();
        letters
            .map(|refused| DeadLetter { change: Change(refused.item.clone()), why: refused.why.clone() })
            .collect()
    }

    /// Makes a new change of a dead letter, unless one of its key waits.
    pub(super) async fn retry(&self, seq: u64) -> Result<bool, WriteBackError> {
        let Some(refused) = self.state.lock().queue.dead.remove(&seq) else { return Ok(false) };
        let Item { key, kept, .. } = refused.item.clone();
        let entered = async {
            let room = self.admit(&kept.key).await?;
            let _turn = self.turn(&kept.key).lock().await;
            if self.state.lock().queue.has(&kept.key) {
                return Ok(false);
            }
            self.enter(key.clone(), Arc::clone(&kept), room, None).await.map(|_| true)
        };
        let entered = entered.await;
        match (&entered, &self.journal) {
            // If this is lost, the letter is there again after a restart.
            (Ok(true), Some(journal)) => journal.note(vec![Record::Done { seq, key: log_key(&key)? }]),
            (Ok(true), None) => {}
            _ => _ = self.state.lock().queue.dead.insert(seq, refused),
        }
        entered
    }

    pub(super) async fn discard(&self, seq: u64) -> Result<bool, WriteBackError> {
        let key = self.state.lock().queue.dead.get(&seq).map(|refused| refused.item.key.clone());
        let Some(key) = key else { return Ok(false) };
        if let Some(journal) = &self.journal {
            let done = Record::Done { seq, key: log_key(&key)? };
            journal.write(vec![done]).await?;
        }
        let is_gone = self.state.lock().queue.dead.remove(&seq).is_some();
        self.space.notify_waiters();
        Ok(is_gone)
    }
}

/// Somebody wants all to be flushed at once, for as long as this lives.
struct Hurry<'a, K: 'static, V: 'static>(&'a Shared<K, V>);

impl<K, V> std::ops::Drop for Hurry<'_, K, V> {
    fn drop(&mut self) {
        self.0.state.lock().hurries -= 1;
    }
}

/// The number before the first change of an owner.
fn first_of(fence: u64) -> u64 {
    fence << 40
}

/// The bytes of a key in the log.
fn log_key<K: Serialize>(key: &K) -> Result<Vec<u8>, WriteBackError> {
    rmp_serde::to_vec(key).map_err(|error| WriteBackError::Cache(Error::Encode(error.to_string())))
}
