//! Requests that are looked at before their turn, so that the engine can fetch what they need.
//!
//! A window covers the next requests of one connection, or of several that have few each. They are decoded and planned,
//! what they will look up is fetched into the cache, and then each connection executes its own, in order. Looking ahead
//! changes nothing about a connection: whatever stands between a request and its execution (a transaction, a pause, the
//! end of the connection) only means that it was looked at in vain.

use larder::{Engine, Plan};
use larder_resp::{Limits, Request, Span, decode_whole};
use std::ops::Range;

/// Requests a window holds. The processor keeps about so many fetches under way, and so many entries in its first cache.
const REQUESTS_MAX: usize = 32;

/// See the module's text.
#[derive(Default)]
pub(super) struct Window {
    spans: Vec<Span>,
    requests: Vec<Ahead>,
}

/// The windows of an event loop.
#[derive(Default)]
pub(super) struct Windows {
    /// The first requests of several connections.
    pub(super) shared: Window,
    /// Further requests of the one that is executing.
    pub(super) own: Window,
}

/// A request in a window.
pub(super) struct Ahead {
    spans: Range<u32>,
    db: u32,
    /// Its length in bytes.
    pub(super) consumed: usize,
    /// How it will be executed.
    pub(super) plan: Plan,
}

impl Window {
    /// Whether no more requests fit.
    pub(super) fn is_full(&self) -> bool {
        self.requests.len() >= REQUESTS_MAX
    }

    /// How many requests it holds.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Makes it empty.
    pub(super) fn clear(&mut self) {
        self.spans.clear();
        self.requests.clear();
    }

    /// Looks at the whole requests at the start of `pending`, as far as there is room for them.
    pub(super) fn look_at(&mut self, engine: &Engine, mut pending: &[u8], limits: &Limits, db: usize) {
        while !self.is_full() {
            let first = self.spans.len();
            let Some(consumed) = decode_whole(pending, limits, &mut self.spans) else { return };
            let plan = engine.plan(Request::new(pending, &self.spans[first..]));
            let spans = first as u32..self.spans.len() as u32;
            self.requests.push(Ahead { spans, db: db as u32, consumed, plan });
            pending = &pending[consumed..];
        }
    }

    /// Fetches what the requests will look up. One alone would gain nothing.
    pub(super) fn prefetch(&self, engine: &Engine) {
        if self.requests.len() > 1 && engine.is_prefetch_worth() {
            engine.prefetch(self.requests.iter().filter_map(|ahead| ahead.plan.lookup(ahead.db as usize)));
        }
    }

    /// The requests, in order.
    #[inline]
    pub(super) fn requests(&self) -> &[Ahead] {
        &self.requests
    }

    /// The arguments of a request in this window, which stands at the start of `pending`.
    #[inline]
    pub(super) fn request<'a>(&'a self, ahead: &Ahead, pending: &'a [u8]) -> Request<'a> {
        Request::new(pending, &self.spans[ahead.spans.start as usize..ahead.spans.end as usize])
    }
}
