//! The log of a write-back queue: what was acknowledged, in one file, so that a process that comes back goes on with it.
//!
//! # The file
//!
//! After eight bytes that say what it is, **frames** follow each other, each written by one call and made durable as a
//! whole: length of the body, its CRC-32, the CRC-32 of these eight bytes, and the body, which is one record or more.
//! A process that dies while it writes leaves a part of a frame at the end. Such a tail is cut off: nothing in it was
//! acknowledged. A frame that is broken although a whole one follows it is no such tail but damage, and opening fails; only
//! who asks to [salvage](super::WriteBack::salvage) goes on without it.
//!
//! | record | bytes |
//! |---|---|
//! | kind | 1: 1 put, 2 delete, 3 done, 4 put that is dead, 5 delete that is dead, 6 owner |
//! | number | 8: of the change; the fence of an owner |
//! | key, or the token of an owner | 4 of length, and the bytes |
//! | value | 4 of length, and the bytes |
//! | why it is dead | 4 of length, and the bytes |
//!
//! # Growth
//!
//! What is done stays in the file until it is mostly that; then what is still wanted is written to a new file, which
//! takes the place of the old one by a rename.
//!
//! # Failures
//!
//! After a failed write the file is cut back to where it was. After a failed sync nobody knows what is on the disk, and
//! trying again proves nothing: the log takes no more.

#[cfg(any(test, feature = "fuzz"))]
pub(super) mod fuzz;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"LARDERW1";
const HEAD: usize = 12;
/// No frame is longer.
const FRAME_MAX: usize = 1 << 30;
/// Longer records begin no frame that has others in it.
const SMALL_RECORD: usize = 10_000;
/// Below this size a file is not written anew.
const SMALL: u64 = 1 << 20;

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// A change of a key: its value as it is packed, or `None` for its deletion.
    Change { seq: u64, key: Vec<u8>, value: Option<Vec<u8>> },
    /// Changes of a key up to this one need not be flushed any more.
    Done { seq: u64, key: Vec<u8> },
    /// The sink does not take this change.
    Dead { seq: u64, key: Vec<u8>, value: Option<Vec<u8>>, why: String },
    /// Who writes from here on: its fence, and its token in the backend.
    Owner { fence: u64, token: Vec<u8> },
}

impl Record {
    fn write(&self, body: &mut Vec<u8>) {
        let (kind, seq, parts): (u8, u64, [&[u8]; 3]) = match self {
            Record::Change { seq, key, value: Some(value) } => (1, *seq, [key, value, b""]),
            Record::Change { seq, key, value: None } => (2, *seq, [key, b"", b""]),
            Record::Done { seq, key } => (3, *seq, [key, b"", b""]),
            Record::Dead { seq, key, value: Some(value), why } => (4, *seq, [key, value, why.as_bytes()]),
            Record::Dead { seq, key, value: None, why } => (5, *seq, [key, b"", why.as_bytes()]),
            Record::Owner { fence, token } => (6, *fence, [token, b"", b""]),
        };
        body.push(kind);
        body.extend(seq.to_be_bytes());
        for part in parts {
            body.extend((part.len() as u32).to_be_bytes());
            body.extend(part);
        }
    }

    /// About how many bytes it has.
    pub(super) fn size(&self) -> usize {
        match self {
            Record::Change { key, value, .. } | Record::Dead { key, value, .. } => {
                key.len() + value.as_ref().map_or(0, Vec::len)
            }
            Record::Done { key, .. } | Record::Owner { token: key, .. } => key.len(),
        }
    }

    /// Takes one from the front of a body; `None` if there is none.
    fn read(body: &mut &[u8]) -> Option<Record> {
        let (kind, rest) = body.split_first()?;
        let (seq, mut rest) = rest.split_first_chunk::<8>()?;
        let seq = u64::from_be_bytes(*seq);
        let mut part = || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (part, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            rest = after;
            Some(part.to_vec())
        };
        let (key, value, why) = (part()?, part()?, part()?);
        *body = rest;
        let why = || String::from_utf8_lossy(&why).into_owned();
        Some(match kind {
            1 => Record::Change { seq, key, value: Some(value) },
            2 => Record::Change { seq, key, value: None },
            3 => Record::Done { seq, key },
            4 => Record::Dead { seq, key, value: Some(value), why: why() },
            5 => Record::Dead { seq, key, value: None, why: why() },
            6 => Record::Owner { fence: seq, token: key },
            _ => return None,
        })
    }
}

/// The bytes of a frame.
pub(super) fn frame(records: &[Record]) -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    records.iter().for_each(|record| record.write(&mut bytes));
    let (head, body) = bytes.split_at_mut(HEAD);
    head[..4].copy_from_slice(&(body.len() as u32).to_be_bytes());
    head[4..8].copy_from_slice(&crc32fast::hash(body).to_be_bytes());
    let sum = crc32fast::hash(&head[..8]);
    head[8..].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The records of the frame that begins here, and its length; `None` if it is not whole.
pub(super) fn unframe(bytes: &[u8]) -> Option<(Vec<Record>, usize)> {
    let head = bytes.first_chunk::<HEAD>()?;
    let word = |at: usize| u32::from_be_bytes(std::array::from_fn(|n| head[at + n]));
    let length = word(0) as usize;
    if crc32fast::hash(&head[..8]) != word(8) || length > FRAME_MAX {
        return None;
    }
    let mut body = bytes.get(HEAD..HEAD + length)?;
    if crc32fast::hash(body) != word(4) {
        return None;
    }
    let mut records = Vec::new();
    while !body.is_empty() {
        records.push(Record::read(&mut body)?);
    }
    Some((records, HEAD + length))
}

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) records: Vec<Record>,
    /// How long it is as far as it is whole.
    pub(super) length: usize,
    /// Where damage begins that is not just a torn tail, if there is any.
    pub(super) damage: Option<usize>,
}

/// Reads a log of any bytes.
pub(super) fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    if bytes.len() < MAGIC.len() {
        // It died while it made the file.
        found.damage = (!MAGIC.starts_with(bytes)).then_some(0);
        return found;
    }
    if !bytes.starts_with(MAGIC) {
        found.damage = Some(0);
    }
    let mut at = MAGIC.len();
    found.length = at;
    while at < bytes.len() {
        match unframe(&bytes[at..]) {
            Some((records, length)) => {
                found.records.extend(records);
                at += length;
                found.length = at;
            }
            None => {
                let next = (at + 1..bytes.len()).find(|next| unframe(&bytes[*next..]).is_some());
                let Some(next) = next else { break };
                found.damage.get_or_insert(at);
                at = next;
            }
        }
    }
    found
}

/// An open log.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Locked for as long as this lives, whatever file has the log's name.
    _lock: File,
    length: u64,
    /// Of it, what was there after it was last written anew.
    base: u64,
    is_synced: bool,
    is_broken: bool,
    /// What the file says.
    wanted: Wanted,
}

/// Why a log could not be opened.
#[derive(Debug)]
pub(super) enum Unusable {
    Io(io::Error),
    InUse,
    Damaged(usize),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Unusable {
        Unusable::Io(error)
    }
}

impl Log {
    /// Opens the log of this path, or begins it. With `is_synced` each write is on the disk when it returns.
    pub(super) fn open(path: &Path, is_synced: bool, salvages: bool) -> Result<Log, Unusable> {
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.with_added_extension("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(Unusable::InUse),
            Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let found = read(&bytes);
        if let Some(at) = found.damage {
            // A file in which nothing is ours is not ours to write to.
            let is_foreign = at == 0 && found.records.is_empty();
            if !salvages || is_foreign {
                return Err(Unusable::Damaged(at));
            }
        }
        let mut wanted = Wanted::default();
        found.records.iter().for_each(|record| wanted.take(record));
        let (path, length) = (path.to_owned(), found.length as u64);
        let mut log = Log { path, file, _lock: lock, length, base: 0, is_synced, is_broken: false, wanted };
        if found.length < MAGIC.len() || found.damage.is_some() {
            // A new file, or one that is not to be appended to.
            log.rewrite()?;
        } else {
            log.file.set_len(length)?;
            log.file.seek(SeekFrom::Start(length))?;
            log.file.sync_data()?;
        }
        Ok(log)
    }

    /// What it says.
    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Appends records as one frame. After an error the file says what it said before.
    pub(super) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other(
                "the log could not be synced or cut back before, and takes no more",
            ));
        }
        let bytes = frame(records);
        if let Err(error) = self.file.write_all(&bytes) {
            let cut =
                self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
            self.is_broken = cut.is_err();
            return Err(error);
        }
        self.length += bytes.len() as u64;
        if self.is_synced {
            self.sync()?;
        }
        records.iter().for_each(|record| self.wanted.take(record));
        if self.length > SMALL && self.length / 2 > self.base {
            // The old file is as good as the new one; it is not tried again at once.
            if self.rewrite().is_err() {
                self.base = self.length;
            }
        }
        Ok(())
    }

    /// Has everything on the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let synced = self.file.sync_data();
        self.is_broken |= synced.is_err();
        synced
    }

    /// Writes the file anew, with what is still wanted only.
    fn rewrite(&mut self) -> io::Result<()> {
        let path = self.path.with_added_extension("new");
        let mut file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        let mut length = MAGIC.len() as u64;
        file.write_all(MAGIC)?;
        let records = self.wanted.records();
        for some in records.chunk_by(|one, _| one.size() < SMALL_RECORD).flat_map(|some| some.chunks(100)) {
            let bytes = frame(some);
            file.write_all(&bytes)?;
            length += bytes.len() as u64;
        }
        file.sync_all()?;
        std::fs::rename(&path, &self.path)?;
        // From here on the old file has no name: what is appended must go to the new one.
        (self.file, self.length, self.base) = (file, length, length);
        let directory = self.path.parent().filter(|directory| !directory.as_os_str().is_empty());
        let synced =
            File::open(directory.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all());
        self.is_broken |= synced.is_err();
        synced
    }
}

/// What is still wanted of a log.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) fence: u64,
    /// The token of the last owner.
    pub(super) token: Option<Vec<u8>>,
    /// The highest number of a change.
    pub(super) seq: u64,
    /// The last change of each key that is not done.
    pub(super) pending: HashMap<Vec<u8>, (u64, Option<Vec<u8>>)>,
    /// By number.
    pub(super) dead: HashMap<u64, Dead>,
}

/// A change that the sink has not taken: its key, its value unless it is a deletion, and why.
pub(super) type Dead = (Vec<u8>, Option<Vec<u8>>, String);

impl Wanted {
    pub(super) fn take(&mut self, record: &Record) {
        match record.clone() {
            Record::Change { seq, key, value } => {
                self.seq = self.seq.max(seq);
                self.pending.insert(key, (seq, value));
            }
            Record::Done { seq, key } => {
                self.seq = self.seq.max(seq);
                if self.dead.get(&seq).is_some_and(|(dead, ..)| *dead == key) {
                    self.dead.remove(&seq);
                }
                self.end(seq, &key);
            }
            Record::Dead { seq, key, value, why } => {
                self.seq = self.seq.max(seq);
                self.end(seq, &key);
                self.dead.insert(seq, (key, value, why));
            }
            Record::Owner { fence, token } => {
                self.fence = self.fence.max(fence);
                self.token = Some(token);
            }
        }
    }

    fn end(&mut self, seq: u64, key: &[u8]) {
        if self.pending.get(key).is_some_and(|(last, _)| *last <= seq) {
            self.pending.remove(key);
        }
    }

    /// The records that say just this.
    fn records(&self) -> Vec<Record> {
        let owner = self.token.clone().map(|token| Record::Owner { fence: self.fence, token });
        let dead = self.dead.iter().map(|(seq, (key, value, why))| {
            let (key, value, why) = (key.clone(), value.clone(), why.clone());
            Record::Dead { seq: *seq, key, value, why }
        });
        let pending = self.pending.iter().map(|(key, (seq, value))| Record::Change {
            seq: *seq,
            key: key.clone(),
            value: value.clone(),
        });
        // That numbers go on even if nothing is left; no key has no bytes.
        let last = Record::Done { seq: self.seq, key: Vec::new() };
        owner.into_iter().chain(dead).chain(pending).chain([last]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::temp::TempDir;

    fn put(seq: u64, key: &str) -> Record {
        Record::Change { seq, key: key.into(), value: Some(format!("value {seq}").into_bytes()) }
    }

    fn delete(seq: u64, key: &str) -> Record {
        Record::Change { seq, key: key.into(), value: None }
    }

    fn done(seq: u64, key: &str) -> Record {
        Record::Done { seq, key: key.into() }
    }

    fn dead(seq: u64, key: &str) -> Record {
        Record::Dead { seq, key: key.into(), value: None, why: "no such column".to_owned() }
    }

    fn all() -> Vec<Record> {
        let owner = Record::Owner { fence: 7, token: b"me".into() };
        vec![owner, put(1, "a"), delete(2, "b"), done(1, "a"), dead(2, "b")]
    }

    fn records(path: &Path) -> Found {
        read(&std::fs::read(path).expect("it is there"))
    }

    #[test]
    fn g6_a_log_that_is_cut_anywhere_has_what_was_written_before_and_goes_on() {
        let directory = TempDir::new();
        let path = directory.path().join("log");
        let mut ends = Vec::new();
        {
            let mut log = Log::open(&path, true, false).expect("it opens");
            ends.push(log.length as usize);
            for record in all() {
                log.append(&[record]).expect("there is room");
                ends.push(log.length as usize);
            }
        }
        let bytes = std::fs::read(&path).expect("it is there");
        assert_eq!(bytes.len(), ends[5]);
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).expect("there is room");
            let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
            let mut log = Log::open(&path, false, false).expect("it opens");
            log.append(&[put(9, "z")]).expect("there is room");
            drop(log);
            let again = records(&path);
            assert_eq!(again.damage, None);
            let ours: Vec<&Record> = again.records.iter().filter(|record| **record != done(0, "")).collect();
            let expected: Vec<Record> = all().into_iter().take(whole).chain([put(9, "z")]).collect();
            assert_eq!(ours, expected.iter().collect::<Vec<_>>(), "{cut}");
        }
    }

    #[test]
    fn g6_a_byte_that_has_changed_in_the_middle_is_reported_and_salvaged_only_when_asked() {
        let directory = TempDir::new();
        let path = directory.path().join("log");
        let mut bytes = MAGIC.to_vec();
        let mut starts = Vec::new();
        for record in all() {
            starts.push(bytes.len());
            bytes.extend(frame(&[record]));
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).expect("there is room");
            let is_tail = at >= starts[4];
            match Log::open(&path, false, false) {
                Ok(_) => assert!(is_tail && records(&path).records == all()[..4], "{at}"),
                Err(Unusable::Damaged(_)) => assert!(!is_tail, "{at}"),
                Err(other) => panic!("{at}: {other:?}"),
            }
            std::fs::write(&path, &damaged).expect("there is room");
            let whole = all().len() - usize::from(at >= MAGIC.len());
            assert_eq!(records(&path).records.len(), whole, "{at}");
            drop(Log::open(&path, false, true).expect("it is salvaged"));
            assert_eq!(records(&path).damage, None);
        }
        std::fs::write(&path, b"not a log at all").expect("there is room");
        assert!(matches!(Log::open(&path, false, true), Err(Unusable::Damaged(0))));
    }

    #[test]
    fn one_process_at_a_time_has_a_log() {
        let directory = TempDir::new();
        let path = directory.path().join("log");
        let first = Log::open(&path, false, false).expect("it opens");
        assert!(matches!(Log::open(&path, false, false), Err(Unusable::InUse)));
        drop(first);
        assert!(Log::open(&path, false, false).is_ok());
    }

    #[test]
    fn a_log_is_written_anew_when_most_of_it_is_done() {
        let directory = TempDir::new();
        let path = directory.path().join("log");
        let mut log = Log::open(&path, false, false).expect("it opens");
        for record in all() {
            log.append(&[record]).expect("there is room");
        }
        for seq in 10..100 {
            log.append(&[Record::Change { seq, key: b"k".into(), value: Some(vec![0; 100_000]) }])
                .expect("there is room");
            assert!(std::fs::metadata(&path).expect("it is there").len() < 2 * SMALL, "{seq}");
        }
        log.append(&[done(99, "k")]).expect("there is room");
        drop(log);
        let log = Log::open(&path, false, false).expect("it opens");
        let wanted = log.wanted();
        assert_eq!((wanted.seq, wanted.fence, wanted.token.as_deref()), (99, 7, Some(&b"me"[..])));
        assert!(wanted.pending.is_empty() && wanted.dead.contains_key(&2));
    }

    #[test]
    fn g8_what_is_wanted_is_the_last_change_of_each_key_and_what_is_dead() {
        let of = |records: &[Record]| {
            let mut wanted = Wanted::default();
            records.iter().for_each(|record| wanted.take(record));
            let mut again = Wanted::default();
            wanted.records().iter().for_each(|record| again.take(record));
            assert_eq!((&wanted.pending, &wanted.dead, wanted.seq), (&again.pending, &again.dead, again.seq));
            wanted
        };
        // A deletion is not undone by the value before it, whether or not it is known that that was flushed.
        for story in [&[put(1, "a"), delete(2, "a"), done(1, "a")][..], &[put(1, "a"), delete(2, "a")]] {
            assert_eq!(of(story).pending[&b"a"[..]], (2, None));
        }
        assert!(of(&[put(1, "a"), delete(2, "a"), done(2, "a")]).pending.is_empty());
        // What is dead is kept, even if there is a newer change already.
        let wanted = of(&[put(1, "a"), put(2, "a"), dead(1, "a"), put(3, "b"), dead(3, "b")]);
        assert_eq!((wanted.pending.len(), wanted.dead.len(), wanted.seq), (1, 2, 3));
        assert!(of(&[put(1, "a"), dead(1, "a"), done(1, "a")]).dead.is_empty());
    }
}
