//! The one log that durability, replicas and change feeds are fed from.
//!
//! A write takes its place in the log at commit, under its shards' locks, so the order of the log is an order in which
//! the commands could have run one after the other. What it did is written down as RESP beforehand (`record`), in
//! memory of its thread; the log's own lock is held for a copy of these bytes and nothing else. A transaction of
//! several steps is between MULTI and EXEC.
//!
//! # Positions
//!
//! A position is a number of bytes since the log began; that of a write is where its bytes end. Every shard remembers
//! the position of its last write, every lane the highest of the shards it has touched. So whoever wants to know whether
//! all that it has seen is durable compares two numbers ([`Durable`]).
//!
//! # Segments
//!
//! Bytes are appended to an open segment, which is allocated beforehand, so an append does not wait for the system to
//! find memory. When it is full, or a reader comes, it is sealed: from then on it is shared and read without any lock.
//! Segments that all have read are used again. A record that is too large for a segment becomes one of its own.
//! A mark stands between two segments and divides what is before a moment from what is after it.
//!
//! Readers follow with a cursor of their own and never take a shard's lock. With no reader there is no log work but one
//! load.

use super::record::{Recorder, SELECT_MAX, put_select};
use crate::persist::aof::{AofReader, Step};
use larder_resp::OwnedRequest;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Bytes of a segment: small enough to stay in the cache between being filled and being read.
const SEGMENT: usize = 64 * 1024;
/// Segments kept for further use.
const SPARE_MAX: usize = 4;
/// What stands around the steps of a transaction.
const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// What one commit did: the commands to repeat it with, in order. More than one means a transaction.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// Position in the log of its end.
    pub position: u64,
    /// Logical database and command of each step.
    pub steps: Vec<(usize, OwnedRequest)>,
}

/// The log; see the module's text.
#[derive(Default)]
pub(crate) struct Log {
    readers: AtomicUsize,
    end: AtomicU64,
    /// How many records were appended.
    count: AtomicU64,
    tail: Mutex<Tail>,
    /// How far it has got to the disk.
    pub(crate) durable: Durable,
}

/// How much of the log would survive a crash, for those who must not tell of more. On a cache line of its own: it is
/// read by everybody and written by the feeder.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Durable {
    /// Whether there is a promise that what is told of survives: an append-only file that is whole and works.
    is_promised: AtomicBool,
    /// What survives a crash.
    synced: AtomicU64,
    /// How often the promise had to be given up while some may have relied on it.
    epoch: AtomicU64,
}

impl Durable {
    /// Whether there is a promise.
    #[inline]
    pub(crate) fn is_promised(&self) -> bool {
        self.is_promised.load(Ordering::Acquire)
    }

    /// What survives a crash.
    #[inline]
    pub(crate) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// How often the promise was given up.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Notes that everything up to `position` survives.
    pub(crate) fn set_synced(&self, position: u64) {
        self.synced.fetch_max(position, Ordering::AcqRel);
    }

    /// Promises that what is told of from now on survives.
    pub(crate) fn promise(&self) {
        self.is_promised.store(true, Ordering::Release);
    }

    /// Gives the promise up. `is_broken` says that writes may be lost that somebody waits for.
    pub(crate) fn withdraw(&self, is_broken: bool) {
        if is_broken {
            // Before the promise goes: who then finds no promise finds another epoch than the one it began in.
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
        self.is_promised.store(false, Ordering::Release);
    }
}

/// A piece of the log.
#[derive(Clone)]
pub(crate) enum Chunk {
    /// Whole records, up to a position.
    Records { bytes: Arc<Vec<u8>>, end: u64 },
    /// What was asked for by [`Log::mark`] with this number.
    Mark(u64),
}

#[derive(Default)]
struct Tail {
    /// The segment that is being filled.
    open: Vec<u8>,
    /// The database in which the next command would work, if that is known.
    db: Option<usize>,
    /// Chunks not yet taken by all readers; the first has the number `first`.
    sealed: VecDeque<Chunk>,
    first: u64,
    /// The next chunk of each reader.
    cursors: Vec<(u64, u64)>,
    next_reader: u64,
    spare: Vec<Vec<u8>>,
}

impl Log {
    /// Whether anybody reads.
    #[inline]
    pub(crate) fn is_read(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0
    }

    /// The position of the last write.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// How many records were appended.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Appends what a commit did and returns its position; called under the locks of the commit. The record is empty
    /// afterwards.
    pub(crate) fn append(&self, record: &mut Recorder) -> u64 {
        let is_group = record.steps() > 1;
        let most = record.bytes().len() + SELECT_MAX + MULTI.len() + EXEC.len();
        let mut tail = self.tail.lock();
        let mut end = self.end.load(Ordering::Relaxed);
        if tail.open.len() + most > tail.open.capacity() {
            tail.seal(end);
            tail.begin_segment(if is_group { most } else { 0 });
        }
        let before = tail.open.len();
        let (first_db, db) = record.databases();
        if tail.db.replace(db) != Some(first_db) {
            put_select(&mut tail.open, first_db);
        }
        if most > tail.open.capacity() {
            // Its own memory becomes a segment, behind what selects its database.
            end += (tail.open.len() - before) as u64;
            tail.seal(end);
            let bytes = record.take();
            end += bytes.len() as u64;
            tail.sealed.push_back(Chunk::Records { bytes: Arc::new(bytes), end });
        } else {
            if is_group {
                tail.open.extend_from_slice(MULTI);
            }
            tail.open.extend_from_slice(record.bytes());
            if is_group {
                tail.open.extend_from_slice(EXEC);
            }
            end += (tail.open.len() - before) as u64;
            record.clear();
        }
        // There is one writer at a time: whoever has the lock.
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.end.store(end, Ordering::Release);
        end
    }

    /// Puts a mark behind everything that was appended, and returns the position of the mark. What follows begins with a
    /// SELECT, so that it can be read without what was before.
    pub(crate) fn mark(&self, number: u64) -> u64 {
        let mut tail = self.tail.lock();
        let end = self.end.load(Ordering::Relaxed);
        tail.seal(end);
        tail.db = None;
        tail.sealed.push_back(Chunk::Mark(number));
        end
    }

    /// A cursor at the end of the log. Nobody may be between looking whether there are readers and appending: the
    /// caller holds the gate, or is alone.
    pub(crate) fn follow(self: &Arc<Self>) -> Cursor {
        let mut tail = self.tail.lock();
        let end = self.end.load(Ordering::Relaxed);
        tail.seal(end);
        tail.db = None;
        let id = tail.next_reader;
        tail.next_reader += 1;
        let next = tail.first + tail.sealed.len() as u64;
        tail.cursors.push((id, next));
        self.readers.store(tail.cursors.len(), Ordering::Release);
        Cursor { log: Arc::clone(self), id, taken: AtomicU64::new(end) }
    }

    /// A new reader of records; see [`Log::follow`] for when.
    pub(crate) fn reader(self: &Arc<Self>) -> LogReader {
        let cursor = self.follow();
        LogReader {
            reading: Mutex::new(Reading { start: self.end(), db: 0, ready: VecDeque::new() }),
            cursor,
        }
    }
}

impl Tail {
    /// Ends the open segment, if there is anything in it.
    fn seal(&mut self, end: u64) {
        if !self.open.is_empty() {
            let bytes = Arc::new(std::mem::take(&mut self.open));
            self.sealed.push_back(Chunk::Records { bytes, end });
        }
    }

    /// Begins a segment with room for `least` bytes, if the open one has not.
    fn begin_segment(&mut self, least: usize) {
        if self.open.capacity() < least.max(SEGMENT) {
            let fits = |spare: &mut Vec<u8>| spare.capacity() >= least;
            self.open = self.spare.pop_if(fits).unwrap_or_else(|| Vec::with_capacity(least.max(SEGMENT)));
        }
    }

    fn drop_read(&mut self) {
        let oldest = self.cursors.iter().map(|(_, next)| *next).min().unwrap_or(u64::MAX);
        while self.first < oldest && self.sealed.pop_front().is_some() {
            self.first += 1;
        }
    }
}

/// A place in the log up to which a reader has taken it.
pub(crate) struct Cursor {
    log: Arc<Log>,
    id: u64,
    taken: AtomicU64,
}

impl Cursor {
    /// Takes all that is there.
    pub(crate) fn take(&self, into: &mut VecDeque<Chunk>) {
        let mut tail = self.log.tail.lock();
        let end = self.log.end.load(Ordering::Relaxed);
        tail.seal(end);
        let (first, all) = (tail.first, tail.sealed.len());
        let Some(cursor) = tail.cursors.iter_mut().find(|(id, _)| *id == self.id) else { return };
        let next = std::mem::replace(&mut cursor.1, first + all as u64);
        into.extend(tail.sealed.iter().skip((next - first) as usize).cloned());
        tail.drop_read();
        self.taken.store(end, Ordering::Relaxed);
    }

    /// Bytes that were appended since the last [`Cursor::take`].
    pub(crate) fn behind(&self) -> u64 {
        self.log.end() - self.taken.load(Ordering::Relaxed)
    }

    /// Gives a segment back that was read, to be used again if nobody else reads it.
    pub(crate) fn give_back(&self, segment: Arc<Vec<u8>>) {
        if let Ok(mut bytes) = Arc::try_unwrap(segment)
            && bytes.capacity() == SEGMENT
        {
            bytes.clear();
            let mut tail = self.log.tail.lock();
            if tail.spare.len() < SPARE_MAX {
                tail.spare.push(bytes);
            }
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut tail = self.log.tail.lock();
        tail.cursors.retain(|(id, _)| *id != self.id);
        self.log.readers.store(tail.cursors.len(), Ordering::Release);
        tail.drop_read();
        if tail.cursors.is_empty() {
            *tail = Tail { first: tail.first, next_reader: tail.next_reader, ..Tail::default() };
        }
    }
}

/// A reader of the log, from the record after its creation on.
pub struct LogReader {
    cursor: Cursor,
    reading: Mutex<Reading>,
}

struct Reading {
    /// Position where the next chunk starts.
    start: u64,
    db: usize,
    ready: VecDeque<Record>,
}

impl LogReader {
    /// The next record, if there is one.
    pub fn poll(&self) -> Option<Record> {
        let mut reading = self.reading.lock();
        if reading.ready.is_empty() {
            let mut chunks = VecDeque::new();
            self.cursor.take(&mut chunks);
            for chunk in chunks {
                if let Chunk::Records { bytes, end } = chunk {
                    reading.read(&bytes);
                    reading.start = end;
                    self.cursor.give_back(bytes);
                }
            }
        }
        reading.ready.pop_front()
    }
}

impl Reading {
    /// Divides a chunk into its records.
    fn read(&mut self, chunk: &[u8]) {
        let mut reader = AofReader::new(chunk, 0);
        let mut steps = Vec::new();
        let mut is_group = false;
        while let Ok(Some(Step::Command(command))) = reader.next_step() {
            let request = command.as_request();
            match request.arg(0) {
                b"SELECT" if request.len() == 2 => {
                    let number = larder_structures::decimal::parse_canonical_i64(request.arg(1));
                    self.db = number.and_then(|number| number.try_into().ok()).unwrap_or(self.db);
                    continue;
                }
                b"MULTI" if request.len() == 1 => is_group = true,
                b"EXEC" if request.len() == 1 => is_group = false,
                _ => steps.push((self.db, command)),
            }
            if !is_group {
                let position = self.start + reader.offset();
                self.ready.push_back(Record { position, steps: std::mem::take(&mut steps) });
            }
        }
        debug_assert_eq!(reader.offset(), chunk.len() as u64, "chunks are whole records");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(record: &Record) -> Vec<String> {
        let steps = record.steps.iter().map(|(db, request)| {
            let words: Vec<_> = request.as_request().iter().map(String::from_utf8_lossy).collect();
            let text = words.join(" ");
            format!("{db} {}", if text.len() > 20 { "(long)" } else { &text })
        });
        steps.collect()
    }

    fn append(log: &Log, steps: &[(usize, &[&[u8]])]) -> u64 {
        let mut record = Recorder::default();
        steps.iter().for_each(|(db, words)| record.add_words(*db, words));
        let end = log.append(&mut record);
        assert!(record.is_empty() && end == log.end());
        end
    }

    #[test]
    fn what_was_appended_is_read_in_its_order() {
        let log = Arc::new(Log::default());
        let (one, other) = (log.reader(), log.reader());
        let long = vec![b'x'; SEGMENT];
        let mut ends = vec![
            append(&log, &[(0, &[b"SET", b"a", b"1"])]),
            append(&log, &[(2, &[b"SET", b"a", &long])]),
            append(&log, &[(2, &[b"DEL", b"a"]), (0, &[b"DEL", b"b"])]),
            append(&log, &[(0, &[b"SET", b"a", &long]), (0, &[b"DEL", b"a"])]),
        ];
        let read: Vec<Record> = std::iter::from_fn(|| one.poll()).collect();
        ends.push(append(&log, &[(0, &[b"SET", b"", b"\r\n"])]));
        let all: Vec<Record> = std::iter::from_fn(|| other.poll()).collect();
        assert_eq!(read, all[..4]);
        let said: Vec<_> = all.iter().flat_map(words).collect();
        let expected = ["0 SET a 1", "2 (long)", "2 DEL a", "0 DEL b", "0 (long)", "0 DEL a", "0 SET  \r\n"];
        assert_eq!(said, expected);
        assert_eq!(all.iter().map(|record| record.position).collect::<Vec<_>>(), ends);
        assert_eq!(one.poll().map(|record| words(&record)), Some(vec!["0 SET  \r\n".into()]));
    }

    #[test]
    fn segments_that_all_have_read_are_used_again() {
        let log = Arc::new(Log::default());
        let cursor = log.follow();
        let mut addresses = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            append(&log, &[(0, &[b"SET", b"a", &[b'x'; 1000]])]);
            assert!(cursor.behind() > 1000);
            let mut chunks = VecDeque::new();
            cursor.take(&mut chunks);
            assert_eq!((chunks.len(), cursor.behind()), (1, 0));
            let Some(Chunk::Records { bytes, .. }) = chunks.pop_front() else { panic!("no records") };
            addresses.insert(bytes.as_ptr().addr());
            cursor.give_back(bytes);
        }
        assert!(addresses.len() <= SPARE_MAX, "{} segments", addresses.len());
    }

    #[test]
    fn a_mark_divides_and_what_follows_stands_for_itself() {
        let log = Arc::new(Log::default());
        let cursor = log.follow();
        append(&log, &[(1, &[b"SET", b"a", b"1"])]);
        assert_eq!(log.mark(7), log.end());
        append(&log, &[(1, &[b"SET", b"a", b"2"])]);
        let mut chunks = VecDeque::new();
        cursor.take(&mut chunks);
        let chunks: Vec<_> = chunks
            .into_iter()
            .map(|chunk| match chunk {
                Chunk::Records { bytes, .. } => bytes.escape_ascii().to_string(),
                Chunk::Mark(number) => number.to_string(),
            })
            .collect();
        let set = |value| {
            format!(r"*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n{value}\r\n")
        };
        assert_eq!(chunks, [set(1), "7".to_owned(), set(2)]);
        drop(cursor);
        assert!(!log.is_read());
    }
}
