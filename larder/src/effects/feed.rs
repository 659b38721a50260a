//! The feed of key events for whoever embeds the engine: expired, evicted, deleted, and all others.
//!
//! A listener has a bounded queue. What does not fit is not waited for: the listener is told how many events it
//! missed, and must then take everything it derived from them as stale.

use super::KeyEvent;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// The listeners; nobody listening costs writers one load.
#[derive(Default)]
pub(crate) struct Feed {
    listeners: Mutex<Vec<Weak<Queue>>>,
    count: AtomicUsize,
}

struct Queue {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<KeyEvent>,
    missed: u64,
}

/// A listener of key events; dropping it ends the subscription.
pub struct EventListener {
    queue: Arc<Queue>,
}

/// What a listener finds in its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An event.
    Event(KeyEvent),
    /// So many events were lost here, because the queue was full.
    Missed(u64),
}

impl Feed {
    #[inline]
    pub(crate) fn is_heard(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    pub(crate) fn listen(&self, capacity: usize) -> EventListener {
        let queue = Arc::new(Queue { capacity: capacity.max(1), inner: Mutex::default() });
        let mut listeners = self.listeners.lock();
        listeners.push(Arc::downgrade(&queue));
        self.count.store(listeners.len(), Ordering::Release);
        EventListener { queue }
    }

    /// Hands events out, in the order of their commits; called under the locks of the commit.
    pub(crate) fn publish(&self, events: &mut Vec<KeyEvent>) {
        if events.is_empty() {
            return;
        }
        let mut listeners = self.listeners.lock();
        listeners.retain(|weak| {
            let Some(queue) = weak.upgrade() else { return false };
            let mut inner = queue.inner.lock();
            for event in events.iter() {
                if inner.events.len() < queue.capacity && inner.missed == 0 {
                    inner.events.push_back(event.clone());
                } else {
                    inner.missed += 1;
                }
            }
            true
        });
        self.count.store(listeners.len(), Ordering::Release);
        events.clear();
    }
}

impl EventListener {
    /// The next thing heard, if there is any. After a full queue has been read, the number of lost events is told
    /// once, and new events are queued again.
    pub fn poll(&self) -> Option<Heard> {
        let mut inner = self.queue.inner.lock();
        if let Some(event) = inner.events.pop_front() {
            return Some(Heard::Event(event));
        }
        match std::mem::take(&mut inner.missed) {
            0 => None,
            missed => Some(Heard::Missed(missed)),
        }
    }
}
