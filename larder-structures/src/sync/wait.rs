//! The one way to wait: register, check again, sleep.
//!
//! A waiter is a [`Waker`]: a thread's unparks it, a connection's tells its event loop. It registers in the list of
//! what it waits for, then looks once more whether it still has to, and only then sleeps. Whoever changes the
//! condition does so first and wakes the list afterwards. Between the two orders lies a full fence on both sides, so
//! either the waiter sees the change or the waker sees the waiter. Wake-ups may be spurious: waiters check again.

use super::raw::{AtomicUsize, Mutex, Ordering, Sleep, fence, lock};
use std::task::Waker;

/// A list of sleepers; see the module's essay.
pub struct WaitList {
    /// How many are registered, so that waking nobody costs one load.
    waiting: AtomicUsize,
    sleepers: Mutex<Sleepers>,
}

#[derive(Default)]
struct Sleepers {
    next: u64,
    wakers: Vec<(u64, Waker)>,
}

/// A place in a [`WaitList`], to be given up when its owner goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

impl Default for WaitList {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitList {
    /// An empty list.
    pub fn new() -> Self {
        WaitList { waiting: AtomicUsize::new(0), sleepers: Mutex::new(Sleepers::default()) }
    }

    /// Registers `waker`, to be woken once. The caller then checks its condition again before it sleeps.
    pub fn register(&self, waker: Waker) -> Ticket {
        let mut sleepers = lock(&self.sleepers);
        let ticket = sleepers.next;
        sleepers.next += 1;
        sleepers.wakers.push((ticket, waker));
        self.waiting.store(sleepers.wakers.len(), Ordering::Relaxed);
        drop(sleepers);
        fence(Ordering::SeqCst);
        Ticket(ticket)
    }

    /// Forgets a waiter, if it has not been woken yet.
    pub fn cancel(&self, ticket: Ticket) {
        let mut sleepers = lock(&self.sleepers);
        sleepers.wakers.retain(|(number, _)| *number != ticket.0);
        self.waiting.store(sleepers.wakers.len(), Ordering::Relaxed);
    }

    /// Wakes everybody registered. Call it after the condition has changed and no lock is held.
    pub fn wake_all(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let woken = {
            let mut sleepers = lock(&self.sleepers);
            self.waiting.store(0, Ordering::Relaxed);
            std::mem::take(&mut sleepers.wakers)
        };
        for (_, waker) in woken {
            waker.wake();
        }
    }

    /// How many are registered.
    pub fn len(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether nobody is registered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Lets a thread wait on `list` until `ready` answers something.
pub fn block_on_wait<T>(list: &WaitList, mut ready: impl FnMut() -> Option<T>) -> T {
    if let Some(answer) = ready() {
        return answer;
    }
    let sleep = Sleep::new();
    loop {
        let ticket = list.register(sleep.waker());
        if let Some(answer) = ready() {
            list.cancel(ticket);
            return answer;
        }
        sleep.sleep();
        list.cancel(ticket);
    }
}
