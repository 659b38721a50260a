//! The one log of records that durability, replicas and change feeds are fed from.
//!
//! A write takes its place in the log at commit, under its locks, so the order of the log is an order in which the
//! commands could have run one after the other. A transaction is one record. Positions count records; every shard
//! remembers the position of its last write. Readers follow with a cursor of their own and never take a shard's lock.
//! With no reader there is no log work but one load.

use larder_resp::OwnedRequest;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What one commit did: the commands to repeat it with, in order. More than one means a transaction.
#[derive(Debug)]
pub struct Record {
    /// Position in the log, from 1 on.
    pub position: u64,
    /// Logical database and command of each step.
    pub steps: Vec<(usize, OwnedRequest)>,
}

#[derive(Default)]
pub(crate) struct Log {
    readers: AtomicUsize,
    last: AtomicU64,
    tail: Mutex<Tail>,
}

#[derive(Default)]
struct Tail {
    /// Records not yet seen by all readers; the first has position `first`.
    records: VecDeque<Arc<Record>>,
    first: u64,
    /// The next position each reader will read.
    cursors: Vec<(u64, u64)>,
    next_reader: u64,
}

/// A reader of the log, from the record after its creation on.
pub struct LogReader {
    log: Arc<Log>,
    id: u64,
}

impl Log {
    /// Whether anybody reads.
    #[inline]
    pub(crate) fn is_read(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0
    }

    /// Appends what a commit did and returns its position; called under the locks of the commit.
    pub(crate) fn append(&self, steps: Vec<(usize, OwnedRequest)>) -> u64 {
        let mut tail = self.tail.lock();
        let position = self.last.load(Ordering::Relaxed) + 1;
        self.last.store(position, Ordering::Release);
        if tail.records.is_empty() {
            tail.first = position;
        }
        tail.records.push_back(Arc::new(Record { position, steps }));
        position
    }

    /// A new reader.
    pub(crate) fn reader(self: &Arc<Self>) -> LogReader {
        let mut tail = self.tail.lock();
        let id = tail.next_reader;
        tail.next_reader += 1;
        let next = self.last.load(Ordering::Relaxed) + 1;
        tail.cursors.push((id, next));
        self.readers.store(tail.cursors.len(), Ordering::Release);
        LogReader { log: Arc::clone(self), id }
    }
}

impl Tail {
    fn drop_read(&mut self) {
        let oldest = self.cursors.iter().map(|(_, next)| *next).min().unwrap_or(u64::MAX);
        while self.first < oldest && self.records.pop_front().is_some() {
            self.first += 1;
        }
    }
}

impl LogReader {
    /// The next record, if there is one.
    pub fn poll(&self) -> Option<Arc<Record>> {
        let mut tail = self.log.tail.lock();
        let first = tail.first;
        let cursor = tail.cursors.iter_mut().find(|(id, _)| *id == self.id)?;
        let index = cursor.1.checked_sub(first)? as usize;
        let position = cursor.1;
        let record = tail.records.get(index).cloned()?;
        if let Some(cursor) = tail.cursors.iter_mut().find(|(id, _)| *id == self.id) {
            cursor.1 = position + 1;
        }
        tail.drop_read();
        Some(record)
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        let mut tail = self.log.tail.lock();
        tail.cursors.retain(|(id, _)| *id != self.id);
        self.log.readers.store(tail.cursors.len(), Ordering::Release);
        tail.drop_read();
    }
}
