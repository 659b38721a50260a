//! Opening a queue, and going on with what its log has.

use super::flush::{Alive, SOMEBODY_ELSE, Shared, State, TURNS, keep_entries, keep_lease};
use super::journal::{Journal, Remote};
use super::log::{Log, Record, Unusable, Wanted};
use super::owner::{Claim, Owner};
use super::queue::{Item, Queue, Refused};
use super::writer::Writer;
use super::{Ack, Sink, WriteBack, WriteBackError, WriteBackStats};
use crate::cache::Cache;
use crate::entry::Kept;
use crate::error::Error;
use crate::key::CacheKey;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Opens a queue, and begins to flush what is left in its log.
pub(super) async fn open<K, V>(
    cache: Cache<K, V>,
    sink: impl Sink<K, V>,
    how: WriteBack<V>,
) -> Result<(Arc<Shared<K, V>>, Arc<Alive>), WriteBackError>
where
    K: CacheKey + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    if matches!(how.ack, Ack::Local | Ack::LocalFsync) && how.log.is_none() {
        let what = "a write-back queue that acknowledges what is in its log needs one".to_owned();
        return Err(WriteBackError::Cache(Error::Setting(what)));
    }
    if how.ack == Ack::Backend && how.log.is_some() {
        let what = "a write-back queue that acknowledges what is in the backend has no other log".to_owned();
        return Err(WriteBackError::Cache(Error::Setting(what)));
    }
    let (log, mut wanted) = match how.log.clone() {
        Some(path) => {
            let (is_synced, salvages) = (how.ack == Ack::LocalFsync, how.salvages);
            let opening = tokio::task::spawn_blocking(move || open_log(&path, is_synced, salvages));
            let log = opening.await.map_err(|error| WriteBackError::Log(error.to_string()))??;
            let wanted = log.wanted().clone();
            (Some(log), wanted)
        }
        None => (None, Wanted::default()),
    };
    let token = wanted.token.clone().unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)).into_bytes());
    let store = &cache.inner.store;
    let side =
        |word: &str| store.side_key(&format!("wb:{}:{word}", crate::store::escape(how.name.as_bytes())));
    let place = side("log");
    let owner = Owner::new(store.larder.clone(), side, token.clone(), how.lease, wanted.fence);
    let owner = Arc::new(owner);
    let mut claim = claim(&owner).await?;
    let journal = if how.ack == Ack::Backend {
        // From here on nobody else changes it.
        wanted = Remote::read(store, &place, how.salvages).await?;
        claim = Claim::Continued;
        Some(Journal::Backend(Remote::start(&cache.inner, &owner, place, &wanted)))
    } else {
        let writer = log.map(Writer::start).transpose();
        writer.map_err(|error| WriteBackError::Log(error.to_string()))?.map(Journal::File)
    };
    if let Some(journal) = &journal {
        journal.write(vec![Record::Owner { fence: owner.fence(), token }]).await?;
    }
    let work = Arc::new(Notify::new());
    let state = State {
        queue: Queue::new(wanted.seq),
        admitted: 0,
        is_closed: false,
        is_unread: false,
        is_over: false,
        hurries: 0,
        stats: WriteBackStats::default(),
    };
    let shared = Arc::new(Shared {
        cache,
        how,
        sink: Arc::new(sink),
        state: Mutex::new(state),
        turns: (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect(),
        journal,
        owner,
        work: Arc::clone(&work),
        space: Notify::new(),
        over: Notify::new(),
        flusher: Mutex::new(None),
    });
    shared.count_from(shared.owner.fence());
    shared.resume(wanted, claim).await?;
    let alive = Arc::new(Alive(work));
    let flusher = tokio::spawn(Arc::clone(&shared).flush_all(Arc::downgrade(&alive)));
    *shared.flusher.lock() = Some(flusher);
    tokio::spawn(keep_lease(Arc::downgrade(&shared)));
    tokio::spawn(keep_entries(Arc::downgrade(&shared)));
    Ok((shared, alive))
}

fn open_log(path: &Path, is_synced: bool, salvages: bool) -> Result<Log, WriteBackError> {
    Log::open(path, is_synced, salvages).map_err(|why| {
        let path = path.display();
        WriteBackError::Log(match why {
            Unusable::Io(error) => format!("{path}: {error}"),
            Unusable::InUse => format!("{path} is in use by another queue"),
            Unusable::Damaged(at) => format!("{path} is damaged at byte {at}"),
        })
    })
}

/// Waits for the lease, for as long as that of a process that has died lasts.
async fn claim(owner: &Owner) -> Result<Claim, WriteBackError> {
    let end = tokio::time::Instant::now() + owner.lease + owner.lease / 4;
    loop {
        match owner.claim().await.map_err(|error| WriteBackError::Cache(Error::Backend(error)))? {
            Claim::Refused if tokio::time::Instant::now() < end => {
                tokio::time::sleep(owner.lease / 20).await;
            }
            Claim::Refused => return Err(WriteBackError::NotOwner),
            claim => return Ok(claim),
        }
    }
}

impl<K, V> Shared<K, V>
where
    K: CacheKey + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// A change as the log has it.
    fn unpack(&self, key: &[u8], value: Option<&[u8]>) -> Result<(K, Kept<V>), String> {
        let key: K = rmp_serde::from_slice(key).map_err(|error| format!("a key: {error}"))?;
        let name = Cache::<K, V>::bytes(&key).map_err(|error| error.to_string())?;
        let mut kept = Kept {
            value: None,
            key: name.as_slice().into(),
            tags: Vec::new(),
            etag: None,
            life: self.cache.policy.ttl,
            cost: Duration::ZERO,
            fresh_until: Instant::now() + self.cache.policy.ttl,
            at: 0,
            bytes: 0,
        };
        let Some(mut rest) = value else { return Ok((key, kept)) };
        let mut part = |length: usize| {
            let (part, after) = rest.split_at_checked(length).ok_or("cut off")?;
            rest = after;
            Ok::<_, String>(part)
        };
        let number = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        for _ in 0..number(part(2)?) {
            let length = number(part(2)?);
            kept.tags.push(part(length)?.to_vec());
        }
        let unpacked = self.cache.inner.packing.unpack(rest)?;
        (kept.value, kept.etag, kept.life) = (unpacked.value, unpacked.etag, unpacked.life);
        Ok((key, kept))
    }

    /// Goes on with what a former process has left.
    pub(super) async fn resume(&self, wanted: Wanted, claim: Claim) -> Result<(), WriteBackError> {
        let fence = self.owner.fence();
        let unusable = |why: String| WriteBackError::Log(format!("a change cannot be read: {why}"));
        let mut pending: Vec<_> = wanted.pending.into_iter().collect();
        pending.sort_unstable_by_key(|(_, (seq, _))| *seq);
        for (seq, (key, value, why)) in wanted.dead {
            let (key, kept) = self.unpack(&key, value.as_deref()).map_err(unusable)?;
            let item = Item { seq, fence, key, kept: Arc::new(kept) };
            self.state.lock().queue.dead.insert(seq, Refused { item, why });
        }
        let now = Instant::now();
        let mut shown = Vec::new();
        for (key, (seq, value)) in pending {
            let (key, kept) = self.unpack(&key, value.as_deref()).map_err(unusable)?;
            let kept = Arc::new(kept);
            shown.push((seq, Arc::clone(&kept)));
            let mut state = self.state.lock();
            // A change that has come meanwhile is newer.
            if state.queue.newest(&kept.key).is_none_or(|newest| newest.seq <= seq) {
                state.queue.push(Item { seq, fence, key, kept }, None, now);
            }
        }
        if claim == Claim::Taken {
            self.give_up(SOMEBODY_ELSE).await;
            return Ok(());
        }
        for (seq, kept) in shown {
            self.show(seq, &kept).await;
        }
        Ok(())
    }
}
