//! How other threads reach an event loop.
//!
//! A loop has a mailbox and an eventfd. Writing to the eventfd is a system call on both sides, so it is done only while
//! the loop sleeps: the loop says that it is going to sleep, looks into the mailbox once more, and only then polls. A
//! sender puts its mail in first and looks at the flag afterwards. With sequentially consistent accesses one of the two
//! sees the other, and a busy loop is never disturbed: it looks into the mailbox once per turn anyway.

use super::listener::Accepted;
use larder::Session;
use larder::persist::aof::Wait;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

/// The token of every loop's eventfd.
pub(crate) const WAKER_TOKEN: mio::Token = mio::Token(usize::MAX);

/// A connection of a loop: its place, and how often the place had been used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What a loop is told.
pub(crate) enum Mail {
    /// A new connection for it.
    Adopt(Accepted),
    /// Something has happened that a connection should look at.
    Wake(ConnectionId),
    /// A long command is done: the session comes back with the reply, and what that has to wait for.
    Worked(ConnectionId, Session, Vec<u8>, Option<Wait>),
    /// Look at the flags of the server: a stop, a freeze.
    Look,
}

/// The mailbox of one loop; see the module's text.
pub(crate) struct Mailbox {
    mail: Mutex<Vec<Mail>>,
    has_mail: AtomicBool,
    is_asleep: AtomicBool,
    eventfd: mio::Waker,
}

impl Mailbox {
    /// A mailbox for the loop that polls with `registry`.
    pub(crate) fn new(registry: &mio::Registry) -> io::Result<Mailbox> {
        Ok(Mailbox {
            mail: Mutex::default(),
            has_mail: AtomicBool::new(false),
            is_asleep: AtomicBool::new(false),
            eventfd: mio::Waker::new(registry, WAKER_TOKEN)?,
        })
    }

    /// Puts mail in, and wakes the loop if it sleeps.
    pub(crate) fn post(&self, mail: Mail) {
        self.mail.lock().push(mail);
        self.has_mail.store(true, Ordering::SeqCst);
        if self.is_asleep.load(Ordering::SeqCst) && self.is_asleep.swap(false, Ordering::SeqCst) {
            // Fails only if the counter of the eventfd overflows, which would wake the loop as well.
            let _woken_anyway = self.eventfd.wake();
        }
    }

    /// Called by the loop before it polls. Returns whether it may sleep; if not, there is mail.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.is_asleep.store(true, Ordering::SeqCst);
        if self.has_mail.load(Ordering::SeqCst) {
            self.wake_up();
            return false;
        }
        true
    }

    /// Called by the loop after it polled.
    pub(crate) fn wake_up(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
    }

    /// Moves all mail to `into`; one load if there is none.
    pub(crate) fn take(&self, into: &mut Vec<Mail>) {
        if self.has_mail.load(Ordering::Acquire) {
            let mut mail = self.mail.lock();
            self.has_mail.store(false, Ordering::Relaxed);
            into.append(&mut mail);
        }
    }
}

/// Wakes a connection: it is looked at in its loop's next turn, once however often it is woken before.
pub(crate) struct ConnectionWaker {
    mailbox: Arc<Mailbox>,
    id: ConnectionId,
    is_posted: AtomicBool,
}

impl ConnectionWaker {
    /// A waker for the connection `id` of the loop with this mailbox.
    pub(crate) fn new(mailbox: Arc<Mailbox>, id: ConnectionId) -> Arc<ConnectionWaker> {
        Arc::new(ConnectionWaker { mailbox, id, is_posted: AtomicBool::new(false) })
    }

    /// The same as the engine wants it.
    pub(crate) fn to_std(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Where it posts to.
    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.mailbox)
    }

    /// Called by the loop before it looks at the connection: what happens from now on wakes it again.
    pub(crate) fn rearm(&self) {
        self.is_posted.store(false, Ordering::SeqCst);
    }
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_posted.swap(true, Ordering::SeqCst) {
            self.mailbox.post(Mail::Wake(self.id));
        }
    }
}

/// Wakes a loop with output that waits for the log, once each time it is asked to.
pub(crate) struct LogWaker {
    mailbox: Arc<Mailbox>,
    is_registered: AtomicBool,
}

impl LogWaker {
    /// A waker for the loop with this mailbox.
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Arc<LogWaker> {
        Arc::new(LogWaker { mailbox, is_registered: AtomicBool::new(false) })
    }

    /// Has the loop woken when the log has come further, unless it will be already.
    pub(crate) fn register(self: &Arc<Self>, engine: &larder::Engine) {
        if !self.is_registered.swap(true, Ordering::SeqCst) {
            // Whoever is woken registers anew, so there is nothing to take back.
            let _ticket = engine.await_sync(Waker::from(Arc::clone(self)));
        }
    }
}

impl Wake for LogWaker {
    fn wake(self: Arc<Self>) {
        self.is_registered.store(false, Ordering::SeqCst);
        self.mailbox.post(Mail::Look);
    }
}
