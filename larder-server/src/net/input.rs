//! What a connection has received and not executed yet.
//!
//! Requests are parsed where they were received: arguments are slices of this buffer. A request that is complete is
//! consumed by moving `start`; only when the buffer ends within a request are its bytes moved to the front, once, before
//! the next read. A request larger than the buffer makes it grow to exactly the size it announced, but at most to the
//! double of what has arrived: a client that announces 512 MiB and sends nothing costs nothing, and the bytes are copied
//! about once over all steps.

use super::buffers::{Pool, WIDE};
use super::transport::{Received, Transport};
use std::io;

/// The received bytes; see the module's text.
#[derive(Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    /// Where the first request that is not executed begins.
    start: usize,
    /// Bytes that the unfinished request will have, counted from `start`, as far as it is known.
    want: usize,
    /// Whether the last read filled a small buffer: then the connection pipelines.
    is_wide: bool,
}

/// Free room below which a read is not worth its system call.
const ROOM_MIN: usize = 1024;

impl Input {
    /// What was received and not consumed.
    #[inline]
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Whether nothing is pending.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Drops the first `count` pending bytes.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        self.want = 0;
    }

    /// Notes how long the unfinished request will be.
    #[inline]
    pub(crate) fn expect(&mut self, want: usize) {
        self.want = want;
    }

    /// Free room behind the received bytes.
    pub(crate) fn free(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Reads once from the socket.
    ///
    /// # Errors
    /// The connection's.
    pub(crate) fn fill(&mut self, transport: &mut Transport, pool: &mut Pool) -> io::Result<Received> {
        self.make_room(pool);
        let room = self.free();
        let received = transport.read(&mut self.bytes)?;
        if let Received::Bytes { count, .. } = received {
            self.is_wide = count >= room || (self.is_wide && count > WIDE / 8);
        }
        Ok(received)
    }

    fn make_room(&mut self, pool: &mut Pool) {
        if self.is_empty() {
            let usable = self.bytes.capacity() > 0 && (!self.is_wide || self.bytes.capacity() >= WIDE);
            if !usable {
                pool.give(std::mem::take(&mut self.bytes));
                self.bytes = pool.take(self.is_wide);
            }
            self.bytes.clear();
            self.start = 0;
            return;
        }
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if self.want > self.bytes.capacity() || self.free() < ROOM_MIN {
            let target = self.want.min((2 * self.bytes.len()).max(WIDE)).max(self.bytes.len() + ROOM_MIN);
            self.bytes.reserve_exact(target - self.bytes.len());
        }
    }

    /// Gives the buffer back if nothing is pending.
    #[inline]
    pub(crate) fn settle(&mut self, pool: &mut Pool) {
        if self.is_empty() && self.bytes.capacity() > 0 {
            self.start = 0;
            self.bytes.clear();
            pool.give(std::mem::take(&mut self.bytes));
        }
    }

    /// Lets go of room that an idle connection does not need: called now and then.
    pub(crate) fn shrink(&mut self) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if self.bytes.capacity() > 2 * self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
    }
}
