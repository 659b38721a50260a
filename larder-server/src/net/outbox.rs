//! What a connection has to send.
//!
//! Replies are appended by commands and pushes and sent once per turn. What the socket does not take stays and is sent
//! when the socket becomes writable; the thread goes on with other connections meanwhile. How much may wait is limited
//! by `client-output-buffer-limit`, and a connection that has much waiting executes nothing more of its pipeline.

use super::buffers::Pool;
use super::transport::Transport;
use std::io;

/// Unsent bytes from which on a connection executes nothing more until it has sent them.
pub(crate) const STALL_FROM: usize = 1024 * 1024;

/// Unsent bytes; see the module's text.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Bytes at the front that were sent already.
    sent: usize,
}

impl Outbox {
    /// The buffer to append replies to.
    #[inline]
    pub(crate) fn writer(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take(false);
        }
        &mut self.bytes
    }

    /// Appends a reply that was made elsewhere.
    pub(crate) fn append(&mut self, reply: Vec<u8>) {
        if self.bytes.is_empty() {
            self.bytes = reply;
        } else {
            self.bytes.extend_from_slice(&reply);
        }
    }

    /// How many bytes wait.
    #[inline]
    pub(crate) fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether so much waits that nothing more should be executed.
    #[inline]
    pub(crate) fn is_stalled(&self) -> bool {
        self.unsent() > STALL_FROM
    }

    /// Sends what the socket takes and returns how much that was.
    ///
    /// # Errors
    /// The connection's.
    pub(crate) fn flush(&mut self, transport: &mut Transport, pool: &mut Pool) -> io::Result<usize> {
        let before = self.sent;
        while self.sent < self.bytes.len() {
            match transport.write(&self.bytes[self.sent..])? {
                0 => break,
                count => self.sent += count,
            }
        }
        if transport.wants_write() {
            // Bytes of its own: a handshake, or what is encrypted already.
            transport.write(&[])?;
        }
        let count = self.sent - before;
        if self.sent == self.bytes.len() {
            self.sent = 0;
            self.bytes.clear();
            pool.give(std::mem::take(&mut self.bytes));
        } else if self.sent > self.bytes.len() / 2 {
            // Each byte is moved at most as often as it was halved: about once.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        Ok(count)
    }
}
