//! What happens to connections, for whoever wants to know.

use tokio::sync::broadcast;

/// Something that happened to the way to the data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// There is a connection, to this address.
    Connected {
        /// The server's address.
        address: String,
    },
    /// The connection is gone; the next command makes a new one.
    Disconnected {
        /// The reason, as far as it is known.
        why: String,
    },
    /// A command failed in a way that makes another try worth while.
    Retried {
        /// What the last try ended with.
        why: String,
    },
    /// A subscription lost its connection: messages may have been missed.
    SubscriptionLost {
        /// The reason.
        why: String,
    },
    /// A subscription has a connection again.
    SubscriptionResumed,
}

/// Who tells of events; without listeners this costs nothing.
#[derive(Clone)]
pub(crate) struct Events(broadcast::Sender<Event>);

/// Events kept for a listener that is slow; then the oldest are dropped.
const KEPT: usize = 256;

impl Default for Events {
    fn default() -> Events {
        Events(broadcast::channel(KEPT).0)
    }
}

impl Events {
    pub(crate) fn tell(&self, event: Event) {
        // An error means that nobody listens.
        let _ = self.0.send(event);
    }

    pub(crate) fn listen(&self) -> EventStream {
        EventStream(self.0.subscribe())
    }
}

/// The events from now on.
pub struct EventStream(broadcast::Receiver<Event>);

impl EventStream {
    /// The next event; `None` once the last handle is gone. A listener that is 256 events behind loses the oldest.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
