//! What a connection has to send.
//!
//! Replies are appended by commands and pushes and sent once per turn. What the socket does not take stays and is sent
//! when the socket becomes writable; the thread goes on with other connections meanwhile. How much may wait is limited
//! by `client-output-buffer-limit`, and a connection that has much waiting executes nothing more of its pipeline.
//!
//! A large string is not copied here. The reply has a gap, and the string, which the keyspace goes on using, is attached
//! to that place; one system call sends pieces of both kinds, in order. Bytes and attachments count alike.

use super::buffers::Pool;
use super::transport::Transport;
use larder::lane::Attachment;
use larder::persist::aof::{Told, Wait};
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// Unsent bytes from which on a connection executes nothing more until it has sent them.
pub(crate) const STALL_FROM: usize = 1024 * 1024;

/// Pieces that one system call sends at most.
const PIECES_MAX: usize = 64;

/// Unsent bytes; see the module's text.
#[derive(Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Bytes at the front that were sent already.
    sent: usize,
    /// What belongs between the bytes, at places that were not sent yet. Something follows every one of them.
    attached: VecDeque<Attachment>,
    /// Bytes of the first of these that were sent already.
    attached_sent: usize,
    /// Bytes of all of these that were not.
    attached_unsent: usize,
    /// What replies wait for before they may be sent, and where in `bytes` those end that wait for it; oldest first.
    waits: VecDeque<(Wait, usize)>,
    /// As long as there are some: where in `bytes` the first one begins that must wait.
    free: usize,
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

    /// Attaches large strings to what was just appended.
    pub(crate) fn attach(&mut self, attachments: &mut Vec<Attachment>) {
        self.attached_unsent += attachments.iter().map(|attachment| attachment.bytes.len()).sum::<usize>();
        self.attached.extend(attachments.drain(..));
    }

    /// Keeps back what was appended so far and not sent, until `wait` is over.
    pub(crate) fn hold(&mut self, wait: Wait) {
        if self.waits.is_empty() {
            self.free = self.sent;
        }
        if self.unsent() > 0 {
            self.waits.push_back((wait, self.bytes.len()));
        }
    }

    /// Lets go what need not wait any more, as `may_tell` says of each. Says whether something is still kept back, or
    /// must never be sent.
    pub(crate) fn release(&mut self, may_tell: impl Fn(Wait) -> Told) -> Told {
        while let Some((wait, end)) = self.waits.front() {
            match may_tell(*wait) {
                Told::Now => self.free = *end,
                other => return other,
            }
            self.waits.pop_front();
        }
        Told::Now
    }

    /// What the first bytes that are kept back wait for.
    pub(crate) fn first_wait(&self) -> Option<Wait> {
        self.waits.front().map(|(wait, _)| *wait)
    }

    /// Up to where bytes may be sent.
    #[inline]
    fn sendable(&self) -> usize {
        if self.waits.is_empty() { self.bytes.len() } else { self.free }
    }

    /// How many bytes wait for the socket only.
    #[inline]
    pub(crate) fn blocked(&self) -> usize {
        let end = self.sendable();
        if self.attached.is_empty() {
            return end - self.sent;
        }
        let may_go = self.attached.iter().take_while(|attachment| attachment.at < end);
        let attached: usize = may_go.map(|attachment| attachment.bytes.len()).sum();
        end - self.sent + attached.saturating_sub(self.attached_sent)
    }

    /// How many bytes wait.
    #[inline]
    pub(crate) fn unsent(&self) -> usize {
        self.bytes.len() - self.sent + self.attached_unsent
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
        let mut count = 0;
        let end = self.sendable();
        while self.sent < end {
            let written = match self.attached.front() {
                Some(first) if first.at < end => transport.write_vectored(&self.pieces(end))?,
                _ => transport.write(&self.bytes[self.sent..end])?,
            };
            if written == 0 {
                break;
            }
            count += written;
            self.pass_over(written);
        }
        if transport.wants_write() {
            // Bytes of its own: a handshake, or what is encrypted already.
            transport.write(&[])?;
        }
        if self.sent == self.bytes.len() {
            self.sent = 0;
            self.bytes.clear();
            pool.give(std::mem::take(&mut self.bytes));
        } else if self.sent > self.bytes.len() / 2 {
            // Each byte is moved at most as often as it was halved: about once.
            self.bytes.drain(..self.sent);
            self.waits.iter_mut().for_each(|(_, end)| *end -= self.sent);
            self.free = self.free.saturating_sub(self.sent);
            self.attached.iter_mut().for_each(|attachment| attachment.at -= self.sent);
            self.sent = 0;
        }
        Ok(count)
    }

    /// The next pieces up to `end`, as many as go into one system call.
    fn pieces(&self, end: usize) -> Vec<IoSlice<'_>> {
        let mut pieces = Vec::with_capacity(PIECES_MAX);
        let (mut from, mut skipped) = (self.sent, self.attached_sent);
        for attachment in self.attached.iter().take_while(|attachment| attachment.at < end) {
            if pieces.len() + 2 > PIECES_MAX {
                return pieces;
            }
            if from < attachment.at {
                pieces.push(IoSlice::new(&self.bytes[from..attachment.at]));
            }
            pieces.push(IoSlice::new(&attachment.bytes[skipped..]));
            (from, skipped) = (attachment.at, 0);
        }
        pieces.push(IoSlice::new(&self.bytes[from..end]));
        pieces
    }

    /// Notes that the next `count` bytes were sent.
    fn pass_over(&mut self, mut count: usize) {
        while let Some(first) = self.attached.front() {
            let before = first.at - self.sent;
            if count < before {
                break;
            }
            self.sent = first.at;
            count -= before;
            let rest = first.bytes.len() - self.attached_sent;
            let of_it = count.min(rest);
            self.attached_unsent -= of_it;
            count -= of_it;
            if of_it < rest {
                self.attached_sent += of_it;
                return;
            }
            self.attached_sent = 0;
            self.attached.pop_front();
        }
        self.sent += count;
    }
}
