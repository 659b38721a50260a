//! Who may flush a queue: one process at a time.
//!
//! The owner holds a lease in the backend and renews it. Each owner gets a **fence**, a number higher than that of
//! every owner before it, which goes with each change to the sink: a sink that remembers the highest number it has seen
//! can turn away a process that does not know yet that it has lost the lease.
//!
//! The fence also tells whether there was somebody else: if it has gone up by more than our own step since we last owned
//! the queue, another process may have flushed newer changes of the keys that we still have old ones of.

use larder_client::{Larder, Result, Ttl};
use parking_lot::Mutex;
use std::pin::Pin;
use std::time::{Duration, Instant};

type Running<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub(super) struct Owner {
    larder: Larder,
    /// Holds the token of the owner.
    lease_key: Vec<u8>,
    /// Counts owners.
    fence_key: Vec<u8>,
    pub(super) token: Vec<u8>,
    pub(super) lease: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    fence: u64,
    until: Option<Instant>,
}

/// What asking for the lease brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is ours, and was nobody else's since we last had it.
    Continued,
    /// It is ours again, after somebody else had it.
    Taken,
    /// It is somebody else's.
    Refused,
}

impl Owner {
    /// `side` names a key of the namespace; `fence` is the last one that we had, 0 if none.
    pub(super) fn new(
        larder: Larder,
        side: impl Fn(&str) -> Vec<u8>,
        token: Vec<u8>,
        lease: Duration,
        fence: u64,
    ) -> Owner {
        let (lease_key, fence_key) = (side("owner"), side("fence"));
        let state = Mutex::new(State { fence, until: None });
        Owner { larder, lease_key, fence_key, token, lease, state }
    }

    pub(super) fn lease_key(&self) -> &[u8] {
        &self.lease_key
    }

    pub(super) fn fence_key(&self) -> &[u8] {
        &self.fence_key
    }

    /// The number that goes with changes.
    pub(super) fn fence(&self) -> u64 {
        self.state.lock().fence
    }

    /// Whether nobody else can own the queue now.
    pub(super) fn is_ours(&self) -> bool {
        self.state.lock().until.is_some_and(|until| Instant::now() < until)
    }

    /// Asks for the lease. Like the store's, these futures have no type of their own.
    pub(super) fn claim(&self) -> Running<'_, Result<Claim>> {
        Box::pin(self.ask())
    }

    async fn ask(&self) -> Result<Claim> {
        let asked = Instant::now();
        let time = Ttl::In(self.lease);
        let is_free = self.larder.compare_and_set(&self.lease_key, None, &self.token, time).await?;
        // After a crash it may still be ours.
        if !is_free
            && !self.larder.compare_and_set(&self.lease_key, Some(&self.token), &self.token, time).await?
        {
            return Ok(Claim::Refused);
        }
        let before = self.fence();
        let known = self.larder.get(&self.fence_key).await?;
        let known = known.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()).unwrap_or(0);
        let fence = before.max(known) + 1;
        self.larder.set(&self.fence_key, fence.to_string()).await?;
        *self.state.lock() = State { fence, until: Some(asked + self.lease) };
        Ok(if known > before { Claim::Taken } else { Claim::Continued })
    }

    /// Prolongs the lease; returns whether it was still ours.
    pub(super) fn renew(&self) -> Running<'_, Result<bool>> {
        Box::pin(async {
            let asked = Instant::now();
            let time = Ttl::In(self.lease);
            let renewed = self.larder.compare_and_set(&self.lease_key, Some(&self.token), &self.token, time);
            let is_ours = renewed.await?;
            self.state.lock().until = is_ours.then_some(asked + self.lease);
            Ok(is_ours)
        })
    }

    /// Gives the lease back.
    pub(super) fn release(&self) -> Running<'_, ()> {
        self.state.lock().until = None;
        Box::pin(async {
            // If this fails it ends by its time.
            let _ = self.larder.compare_and_delete(&self.lease_key, &self.token).await;
        })
    }
}
