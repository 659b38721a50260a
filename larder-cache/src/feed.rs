//! Following the change feed, so that a near cache is coherent with what other processes change.
//!
//! Each change has a number, and consecutive changes consecutive numbers: who hears a number that is not the next one has
//! missed something, asks for the changes since the last one known, and, if the backend does not have them any more or has
//! begun anew, empties the near cache.
//!
//! Messages make it prompt, but they prove nothing: a connection can be dead for long before anybody notices. What
//! proves that the near cache is up to date is an answer of the backend to "what has changed since?", and it proves it
//! for the moment at which it was asked. So this is asked twice in `suspect_after`, and the near cache is believed for
//! `suspect_after` from the last such moment: whatever happens to connections, nothing older is ever served.

use crate::cache::Inner;
use crate::error::Error;
use crate::local::Local;
use crate::observe::{Event, Observer};
use crate::store::{Change, Epoch, Sweep};
use larder_client::{Notice, Subscription};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What is known of one partition: its era and the last change heard, if any.
pub(crate) struct Follower {
    last: Option<Epoch>,
}

impl Follower {
    pub(crate) fn new(last: Option<Epoch>) -> Follower {
        Follower { last }
    }

    /// The last change that is known.
    pub(crate) fn seq(&self) -> u64 {
        self.last.map_or(0, |epoch| epoch.seq)
    }

    /// Takes a message; returns false if something is missing before it, or the era is another.
    pub(crate) fn hear<V: Send + Sync + 'static>(
        &mut self,
        era: [u8; 8],
        change: &Change,
        node: [u8; 8],
        local: &Local<V>,
        stats: &Observer,
    ) -> bool {
        let Some(last) = self.last.filter(|last| last.era == era) else { return false };
        if change.seq <= last.seq {
            // Old news, which came with an answer already.
            return true;
        }
        if change.seq != last.seq + 1 {
            return false;
        }
        apply(change, node, local, stats);
        self.last = Some(Epoch { era, seq: change.seq });
        true
    }

    /// Takes an answer to what has changed since the last change known.
    pub(crate) fn catch_up<V: Send + Sync + 'static>(
        &mut self,
        epoch: Option<Epoch>,
        changes: Option<&[Change]>,
        node: [u8; 8],
        local: &Local<V>,
        stats: &Observer,
    ) {
        let is_same_era = self.last.map(|last| last.era) == epoch.map(|epoch| epoch.era);
        match changes.filter(|_| is_same_era) {
            Some(changes) => changes.iter().for_each(|change| apply(change, node, local, stats)),
            None => {
                stats.tell(Event::NearFlushed);
                local.sweep_all();
            }
        }
        self.last = epoch;
    }
}

/// Does to the near cache what another process has done to the backend.
fn apply<V: Send + Sync + 'static>(change: &Change, node: [u8; 8], local: &Local<V>, stats: &Observer) {
    // Our own changes have had their effect here already.
    if change.node == node {
        return;
    }
    match change.kind {
        b's' | b'r' | b'x' => _ = local.change(&change.what),
        b't' | b'u' => local.sweep_tag(&change.what),
        // Everything, or something that a newer program does.
        _ => local.sweep_all(),
    }
    stats.tell(Event::Heard { at_ms: change.at_ms });
}

/// Begins to follow the feed of a cache, until it is gone.
pub(crate) async fn follow<V: Send + Sync + 'static>(
    inner: &Arc<Inner<V>>,
    suspect_after: Duration,
) -> Result<(), Error> {
    let subscription = inner.store.subscribe().await?;
    let asked = Instant::now();
    let mut followers = Vec::new();
    // A sweep of no tags changes nothing, but begins an era where there is none yet.
    for epoch in inner.store.sweep(Sweep::Remove, &[], suspect_after).await? {
        followers.push(Follower::new(Some(epoch)));
    }
    inner.local.trust_until(asked + suspect_after);
    tokio::spawn(keep_up(Arc::downgrade(inner), subscription, followers, suspect_after));
    Ok(())
}

async fn keep_up<V: Send + Sync + 'static>(
    weak: Weak<Inner<V>>,
    mut subscription: Subscription,
    mut followers: Vec<Follower>,
    suspect_after: Duration,
) {
    let every = suspect_after / 2;
    let mut next = tokio::time::Instant::now() + every;
    loop {
        // Under a stream of messages the question must have its turn as well.
        let notice = tokio::select! {
            biased;
            () = tokio::time::sleep_until(next) => None,
            notice = subscription.next() => match notice {
                Some(notice) => Some(notice),
                None => return,
            },
        };
        let Some(inner) = weak.upgrade() else { return };
        match notice {
            Some(Notice::Message { channel, payload }) => {
                let Some(partition) = inner.store.partition_of(&channel) else { continue };
                let heard = payload.split_first_chunk::<8>().and_then(|(era, record)| {
                    let change = Change::parse(record)?;
                    let Inner { store, local, stats, .. } = &*inner;
                    Some(followers[partition].hear(*era, &change, store.node, local, stats))
                });
                if heard != Some(true) {
                    inner.stats.tell(Event::Gap { partition });
                    catch_up(&inner, &mut followers[partition..=partition], partition, suspect_after).await;
                }
            }
            // A gap may be there, and perhaps is not at its end: the next answer tells.
            other => {
                match &other {
                    Some(Notice::Interrupted { why }) => inner.stats.tell(Event::ChannelLost { why }),
                    Some(Notice::Resumed) => inner.stats.tell(Event::ChannelBack),
                    _ => {}
                }
                let asked = Instant::now();
                if catch_up(&inner, &mut followers, 0, suspect_after).await {
                    inner.local.trust_until(asked + suspect_after);
                }
                next = tokio::time::Instant::now() + every;
            }
        }
    }
}

/// Asks for what has changed in some partitions, the first of which is `first`; returns whether all have answered.
async fn catch_up<V: Send + Sync + 'static>(
    inner: &Inner<V>,
    followers: &mut [Follower],
    first: usize,
    patience: Duration,
) -> bool {
    for (index, follower) in followers.iter_mut().enumerate() {
        let asking = inner.store.since(first + index, follower.seq());
        let Ok(Ok(since)) = tokio::time::timeout(patience, asking).await else { return false };
        let Inner { store, local, stats, .. } = inner;
        follower.catch_up(since.epoch, since.changes.as_deref(), store.node, local, stats);
    }
    true
}
