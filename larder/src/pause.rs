//! CLIENT PAUSE: commands that wait until a moment or until UNPAUSE.

use crate::command::{Run, Trait};
use crate::engine::Engine;
use crate::registry::Registered;
use crate::session::{Parking, Session};
use larder_structures::sync::{Ticket, WaitList};
use std::sync::atomic::{AtomicU64, Ordering};

/// The pause, if there is one.
#[derive(Default)]
pub(crate) struct Pause {
    /// Until when, in Unix milliseconds, and in the lowest bit whether only writes wait; 0 for no pause. One word, so
    /// that nobody sees half of it.
    state: AtomicU64,
    waiting: WaitList,
}

impl Pause {
    fn until_ms(&self) -> u64 {
        self.state.load(Ordering::Acquire) >> 1
    }

    fn is_for_writes_only(&self) -> bool {
        self.state.load(Ordering::Acquire) & 1 == 1
    }

    /// Pauses until a moment below 2^63. A pause that lasts longer, or stops more, is not shortened.
    pub(crate) fn begin(&self, until_ms: u64, writes_only: bool) {
        let joined = |running: u64| {
            let writes_only = writes_only && (running == 0 || running & 1 == 1);
            Some((running >> 1).max(until_ms) << 1 | u64::from(writes_only))
        };
        // Never fails: the closure always returns a new state.
        let _before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, joined);
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.state.store(0, Ordering::Release);
        self.waiting.wake_all();
    }

    /// Ends it if its time has come; called by the background.
    pub(crate) fn tick(&self, now_ms: u64) {
        let state = self.state.load(Ordering::Acquire);
        let is_over = state > 0 && state >> 1 <= now_ms;
        // Unless it was prolonged just now.
        if is_over && self.state.compare_exchange(state, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.waiting.wake_all();
        }
    }

    /// Whether one has begun and not been ended yet, be its time over or not.
    #[inline]
    pub(crate) fn is_begun(&self) -> bool {
        self.state.load(Ordering::Acquire) != 0
    }

    /// Whether expiry and eviction should rest.
    pub(crate) fn is_on(&self, now_ms: u64) -> bool {
        self.until_ms() > now_ms
    }

    /// Forgets who waits no more.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        self.waiting.cancel(ticket);
    }
}

impl Engine {
    /// Whether the command has to wait. If so the session's waker is called when it is worth trying again.
    #[inline]
    pub(crate) fn is_paused(&self, session: &mut Session, registered: &Registered) -> bool {
        if !self.pause.is_begun() {
            return false;
        }
        self.waits_for_pause(session, registered)
    }

    #[cold]
    fn waits_for_pause(&self, session: &mut Session, registered: &Registered) -> bool {
        let now_ms = self.clock.unix_us() / 1000;
        self.pause.tick(now_ms);
        let stops = |session: &Session| {
            self.pause.is_on(now_ms)
                && !matches!(registered.command.name, "UNPAUSE")
                && (!self.pause.is_for_writes_only() || changes_something(session, registered))
        };
        if !stops(session) {
            return false;
        }
        self.stop_waiting(session);
        session.parked = Some(Parking::Pause(self.pause.waiting.register(session.client.waker().clone())));
        session.client.is_blocked.store(true, Ordering::Relaxed);
        stops(session)
    }
}

fn changes_something(session: &Session, registered: &Registered) -> bool {
    let command = registered.command;
    let queued_write = || {
        session.multi.as_ref().is_some_and(|multi| {
            multi
                .queue
                .iter()
                .any(|(queued, _)| queued.command.is_write() || queued.command.is(Trait::MayReplicate))
        })
    };
    command.is_write()
        || command.is(Trait::MayReplicate)
        || (command.name == "EXEC" && matches!(command.run, Run::Server(_)) && queued_write())
}
