//! A connection of one's own.

use super::callers::Caller;
use crate::client::Push;
use larder_resp::{Frame, OwnedRequest};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// A connection that belongs to one caller: its database, transaction, watched keys and subscriptions are its own.
/// Made by [`Larder::connect`](super::Larder::connect); dropping it disconnects.
///
/// ```
/// use larder::{Larder, Options, client::Push};
/// use std::time::Duration;
///
/// let larder = Larder::open(Options::default())?;
/// let mut listener = larder.connect();
/// listener.execute(&["SUBSCRIBE", "news"]);
/// larder.publish("news", "hello")?;
/// let Some(Push::Message { payload, .. }) = listener.wait_for_push(Duration::from_secs(5)) else { panic!() };
/// assert_eq!(*payload, *b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection {
    caller: Box<Caller>,
    pushes: VecDeque<Push>,
}

impl Connection {
    pub(super) fn new(caller: Box<Caller>) -> Connection {
        Connection { caller, pushes: VecDeque::new() }
    }

    /// Executes any command and returns its reply, in the types of RESP3 unless HELLO says otherwise. A command with
    /// several replies, as SUBSCRIBE has for several channels, returns them as an array.
    pub fn execute<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Frame {
        let request = OwnedRequest::from_slices(command);
        if request.as_request().is_empty() {
            return Frame::Error(b"ERR empty command".to_vec());
        }
        self.caller.run(request.as_request())
    }

    /// What was pushed to this connection and not taken yet: the messages of its subscriptions.
    pub fn push(&mut self) -> Option<Push> {
        if self.pushes.is_empty() && self.caller.session.client().has_mail() {
            self.pushes = self.caller.session.client().take_mail();
            // Whoever has sent it may have seen anything; with `appendfsync always` that has to be durable first.
            self.caller.session.engine.sleep_until_all_is_synced();
        }
        self.pushes.pop_front()
    }

    /// Waits for something to be pushed, for no longer than `timeout`.
    pub fn wait_for_push(&mut self, timeout: Duration) -> Option<Push> {
        // The signal may be left over from something else, so it is asked for as long as it is raised.
        loop {
            if let Some(push) = self.push() {
                return Some(push);
            }
            if !self.caller.signal.wait_for(timeout) {
                return self.push();
            }
        }
    }

    /// Waits for something to be pushed, without blocking the thread.
    pub async fn next_push(&mut self) -> Push {
        poll_fn(|context| {
            loop {
                if let Some(push) = self.push() {
                    return Poll::Ready(push);
                }
                if !self.caller.signal.poll(context.waker()) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}
