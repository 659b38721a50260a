//! Commands that have to wait: for the end of a CLIENT PAUSE, or for a save that cannot keep up with the changes.
//!
//! Both are rare, so all commands ask for both with one load: while a pause is on or a save under way they look closer.

use crate::command::{Run, Trait};
use crate::engine::Engine;
use crate::registry::Registered;
use crate::session::{Parking, Session};
use larder_structures::sync::{Ticket, WaitList};
use std::sync::atomic::{AtomicU64, Ordering};

/// The pause, if there is one.
#[derive(Default)]
pub(crate) struct Pause {
    /// Until when, in Unix milliseconds, and in the lowest bits whether only writes wait, whether a save is
    /// under way, whether writes may be refused, and whether data are being loaded; 0 for none of it. One word, so that
    /// nobody sees half of it.
    state: AtomicU64,
    waiting: WaitList,
}

/// Only writes wait.
const WRITES_ONLY: u64 = 1;
/// A save is under way.
const SAVING: u64 = 2;
/// Writes may be refused.
const FAILING: u64 = 4;
/// The data are being loaded, so most commands are refused.
const LOADING: u64 = 8;
/// What has nothing to do with the pause.
const OTHERS: u64 = SAVING | FAILING | LOADING;
const TIME_SHIFT: u32 = 4;

impl Pause {
    fn until_ms(&self) -> u64 {
        self.state.load(Ordering::Acquire) >> TIME_SHIFT
    }

    fn is_for_writes_only(&self) -> bool {
        self.state.load(Ordering::Acquire) & WRITES_ONLY != 0
    }

    /// From now on changes may have to wait for a save.
    pub(crate) fn begin_saving(&self) {
        self.state.fetch_or(SAVING, Ordering::AcqRel);
    }

    /// No more.
    pub(crate) fn end_saving(&self) {
        self.state.fetch_and(!SAVING, Ordering::AcqRel);
        self.wake();
    }

    /// From now on writes may be refused, or not any more.
    pub(crate) fn set_failing(&self, is_failing: bool) {
        if is_failing {
            self.state.fetch_or(FAILING, Ordering::AcqRel);
        } else {
            self.state.fetch_and(!FAILING, Ordering::AcqRel);
        }
    }

    /// From now on data are being loaded, or not any more; returns whether they were.
    pub(crate) fn set_loading(&self, is_loading: bool) -> bool {
        let before = if is_loading {
            self.state.fetch_or(LOADING, Ordering::AcqRel)
        } else {
            self.state.fetch_and(!LOADING, Ordering::AcqRel)
        };
        before & LOADING != 0
    }

    /// Whether data are being loaded.
    #[inline]
    pub(crate) fn is_loading(&self) -> bool {
        self.state.load(Ordering::Acquire) & LOADING != 0
    }

    /// Lets those that wait look again.
    pub(crate) fn wake(&self) {
        self.waiting.wake_all();
    }

    /// Pauses until a moment. A pause that lasts longer, or stops more, is not shortened.
    pub(crate) fn begin(&self, until_ms: u64, writes_only: bool) {
        let joined = |running: u64| {
            let is_first = running & !OTHERS == 0;
            let writes_only = writes_only && (is_first || running & WRITES_ONLY != 0);
            let until_ms = (running >> TIME_SHIFT).max(until_ms.min(u64::MAX >> TIME_SHIFT));
            let flags = running & OTHERS | if writes_only { WRITES_ONLY } else { 0 };
            Some(until_ms << TIME_SHIFT | flags)
        };
        // Never fails: the closure always returns a new state.
        let _before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, joined);
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.state.fetch_and(OTHERS, Ordering::AcqRel);
        self.waiting.wake_all();
    }

    /// Ends it if its time has come; called by the background.
    pub(crate) fn tick(&self, now_ms: u64) {
        let state = self.state.load(Ordering::Acquire);
        let is_over = state & !OTHERS > 0 && state >> TIME_SHIFT <= now_ms;
        let without = state & OTHERS;
        // Unless it was prolonged just now.
        if is_over && self.state.compare_exchange(state, without, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            self.waiting.wake_all();
        }
    }

    /// Whether there is something that some commands may have to wait for, or be refused because of.
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
        if !self.pause.is_begun() || session.is_loader {
            return false;
        }
        self.waits_for_pause(session, registered)
    }

    #[cold]
    fn waits_for_pause(&self, session: &mut Session, registered: &Registered) -> bool {
        let now_ms = if self.pause.until_ms() > 0 { self.clock.unix_us() / 1000 } else { 0 };
        self.pause.tick(now_ms);
        let stops = |session: &Session| {
            let is_paused = self.pause.is_on(now_ms)
                && !matches!(registered.command.name, "UNPAUSE")
                && (!self.pause.is_for_writes_only() || changes_something(session, registered));
            is_paused || self.saver.is_behind() && changes_something(session, registered)
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

/// Whether a command writes, or ends a transaction that does.
pub(crate) fn changes_something(session: &Session, registered: &Registered) -> bool {
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
