//! From the log to the files.
//!
//! The feeder takes what was appended to the log, writes it to the current incremental file, and syncs that file when
//! the policy wants it. It has no thread of its own: whoever calls [`Feeder::feed`] writes, one at a time.
//!
//! # Rewrites
//!
//! A rewrite makes a new base of the data as of a moment, and a new incremental file of what comes after it. At that
//! moment the log gets a mark ([`crate::effects::log::Log::mark`]); the feeder begins the new file when it comes to the
//! mark, so at the moment itself nothing touches a disk. When the file is begun and the base is there, the base is
//! adopted. If the append-only file is only just being switched on, the log begins at that moment, and the new file
//! counts for nothing before the base is adopted.
//!
//! # Errors
//!
//! What could not be written is kept and tried again; meanwhile writes are refused, so there is an end to what is kept.
//! After a failed sync nothing is known about what was written before it, and syncing again would tell nothing. Then a
//! rewrite is needed, whose files replace all of the present ones.

use super::files::{Files, NewBase};
use crate::effects::log::{Chunk, Cursor, Durable};
use std::collections::VecDeque;
use std::io;

/// Microseconds after which `everysec` syncs.
const SYNC_EVERY_US: u64 = 1_000_000;

/// `appendfsync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fsync {
    /// Whatever the system does by itself.
    No = 0,
    /// Once a second.
    EverySecond = 1,
    /// Before anybody is told of a write.
    Always = 2,
}

impl Fsync {
    /// The names, as `appendfsync` has them.
    pub const NAMES: &[&str] = &["everysec", "always", "no"];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Fsync::No => "no",
            Fsync::EverySecond => "everysec",
            Fsync::Always => "always",
        }
    }

    /// The policy of this name, in whatever case.
    pub fn named(name: &str) -> Option<Fsync> {
        [Fsync::No, Fsync::EverySecond, Fsync::Always]
            .into_iter()
            .find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// The policy with this number.
    pub(crate) fn numbered(number: u8) -> Fsync {
        match number {
            0 => Fsync::No,
            2 => Fsync::Always,
            _ => Fsync::EverySecond,
        }
    }
}

/// How the feeder is to go about it now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) fsync: Fsync,
    /// `no-appendfsync-on-rewrite`
    pub(crate) rests_on_rewrite: bool,
    /// `aof-timestamp-enabled`
    pub(crate) has_timestamps: bool,
    /// Whether somebody waits for a sync whatever the policy.
    pub(crate) is_awaited: bool,
    /// The time on a clock that does not jump, microseconds.
    pub(crate) elapsed_us: u64,
    /// Unix time in seconds.
    pub(crate) now_s: u64,
}

/// What is in the way.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Something could not be written; it is tried again.
    Write(io::Error),
    /// A sync has failed; only a rewrite helps.
    Sync(io::Error),
}

impl Trouble {
    pub(crate) fn error(&self) -> &io::Error {
        match self {
            Trouble::Write(error) | Trouble::Sync(error) => error,
        }
    }
}

/// See the module's text.
pub(crate) struct Feeder {
    cursor: Option<Cursor>,
    files: Files,
    /// Taken from the log and not written yet.
    taken: VecDeque<Chunk>,
    taken_bytes: u64,
    /// Positions up to which the log is written, and synced.
    written: u64,
    synced: u64,
    synced_us: u64,
    /// The second of the last annotation.
    annotated_s: u64,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) rewrite: Option<Rewrite>,
    /// Counters for INFO.
    pub(crate) syncs: u64,
}

/// A rewrite under way.
pub(crate) struct Rewrite {
    /// Its number, which its mark has.
    pub(crate) number: u64,
    pub(crate) base: NewBase,
    /// Whether the log goes on in a file that counts at once.
    is_named: bool,
    /// Whether the new incremental file is begun.
    is_begun: bool,
    /// Whether the base is there.
    has_base: bool,
    pub(crate) began_us: u64,
}

impl Feeder {
    /// A feeder of files that nothing is written to yet.
    pub(crate) fn new(files: Files) -> Feeder {
        Feeder {
            cursor: None,
            files,
            taken: VecDeque::new(),
            taken_bytes: 0,
            written: 0,
            synced: 0,
            synced_us: 0,
            annotated_s: 0,
            trouble: None,
            rewrite: None,
            syncs: 0,
        }
    }

    /// The files.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Goes on behind what the files hold, with a log from `cursor` on; all that is before it is in the files.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn go_on(&mut self, cursor: Cursor, position: u64) -> io::Result<()> {
        self.files.go_on()?;
        self.follow(cursor, position);
        Ok(())
    }

    /// Follows the log from `position` on, which the current file does not hold yet.
    pub(crate) fn follow(&mut self, cursor: Cursor, position: u64) {
        self.cursor = Some(cursor);
        (self.written, self.synced) = (position, position);
    }

    /// Whether all that the log says would survive, but for what is not synced yet.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_following() && self.files.is_named() && self.trouble.is_none()
    }

    /// Whether it follows the log.
    pub(crate) fn is_following(&self) -> bool {
        self.cursor.is_some()
    }

    /// Position up to which the log is written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> u64 {
        self.taken_bytes + self.cursor.as_ref().map_or(0, Cursor::behind)
    }

    /// Writes what is in the log, as far as the disk lets us.
    pub(crate) fn feed(&mut self, manner: &Manner) {
        let Some(cursor) = &self.cursor else { return };
        if cursor.behind() > 0 || self.rewrite.is_some() {
            let before = self.taken.len();
            cursor.take(&mut self.taken);
            let bytes = |chunk: &Chunk| match chunk {
                Chunk::Records { bytes, .. } => bytes.len() as u64,
                Chunk::Mark(_) => 0,
            };
            self.taken_bytes += self.taken.iter().skip(before).map(bytes).sum::<u64>();
        }
        while let Some(chunk) = self.taken.front() {
            let done = match chunk {
                Chunk::Records { bytes, .. } => {
                    let annotation = (manner.has_timestamps && manner.now_s > self.annotated_s)
                        .then(|| format!("#TS:{}\r\n", manner.now_s));
                    let noted = annotation.map_or(Ok(()), |line| self.files.append(line.as_bytes()));
                    noted.and_then(|()| self.files.append(bytes))
                }
                Chunk::Mark(number) => {
                    let rewrite = self.rewrite.as_mut().filter(|rewrite| rewrite.number == *number);
                    rewrite.map_or(Ok(()), |rewrite| {
                        // Behind a file that nobody is sure of nothing can go on; the base stands for it.
                        rewrite.is_named &= !self.files.is_unsure();
                        self.files.begin(rewrite.is_named)
                    })
                }
            };
            if let Err(error) = done {
                self.note(error);
                return;
            }
            self.step_over(manner.now_s);
        }
        if matches!(self.trouble, Some(Trouble::Write(_))) {
            self.trouble = None;
        }
    }

    /// Notes an error of the disk. A failed sync is the worst of them.
    fn note(&mut self, error: io::Error) {
        if matches!(self.trouble, Some(Trouble::Sync(_))) {
            return;
        }
        let is_unsure = self.files.is_unsure();
        self.trouble = Some(if is_unsure { Trouble::Sync(error) } else { Trouble::Write(error) });
    }

    /// Notes that the first chunk is written.
    fn step_over(&mut self, now_s: u64) {
        match self.taken.pop_front() {
            Some(Chunk::Records { bytes, end }) => {
                self.taken_bytes -= bytes.len() as u64;
                self.annotated_s = now_s;
                self.written = end;
                if let Some(cursor) = &self.cursor {
                    cursor.give_back(bytes);
                }
            }
            Some(Chunk::Mark(number)) => {
                if let Some(rewrite) = &mut self.rewrite
                    && rewrite.number == number
                {
                    rewrite.is_begun = true;
                    // The file before it was synced before the new one was named.
                    self.synced = if rewrite.is_named { self.written } else { self.synced };
                }
            }
            None => {}
        }
    }

    /// Syncs if it is due, and tells `durable` how far the log is safe.
    pub(crate) fn sync_if_due(&mut self, manner: &Manner, durable: &Durable) {
        if matches!(self.trouble, Some(Trouble::Sync(_))) {
            return;
        }
        if self.files.is_named() {
            // A new file may have been begun since, and the one before it synced.
            durable.set_synced(self.synced);
        }
        if self.synced == self.written {
            return;
        }
        if manner.rests_on_rewrite && self.rewrite.is_some() && manner.fsync != Fsync::No {
            if manner.fsync == Fsync::Always {
                durable.set_synced(self.written);
            }
            return;
        }
        let is_due = match manner.fsync {
            Fsync::Always => true,
            Fsync::EverySecond => manner.elapsed_us.wrapping_sub(self.synced_us) >= SYNC_EVERY_US,
            Fsync::No => manner.is_awaited,
        };
        if is_due {
            self.synced_us = manner.elapsed_us;
            self.sync(durable);
        }
    }

    /// Makes all that was written durable.
    pub(crate) fn sync(&mut self, durable: &Durable) {
        self.syncs += 1;
        match self.files.sync() {
            Ok(()) => {
                self.synced = self.written;
                if self.files.is_named() {
                    durable.set_synced(self.synced);
                }
            }
            Err(error) => self.note(error),
        }
    }

    /// Begins a rewrite; its base, and its mark, are for the caller to make. The mark is put into the log at the moment
    /// that the base shows; a feeder that does not follow the log yet gets [`Feeder::start`] instead.
    pub(crate) fn begin_rewrite(&mut self, number: u64, is_snapshot: bool, elapsed_us: u64) -> &Rewrite {
        let is_named = self.files.is_named() && !matches!(self.trouble, Some(Trouble::Sync(_)));
        let base = self.files.next_base(is_snapshot);
        self.rewrite.insert(Rewrite {
            number,
            base,
            is_named,
            is_begun: false,
            has_base: false,
            began_us: elapsed_us,
        })
    }

    /// Notes that the base is there, or that it could not be made.
    ///
    /// # Errors
    /// The same again; the rewrite is over then.
    pub(crate) fn base_done(&mut self, number: u64, result: io::Result<()>) -> io::Result<()> {
        let Some(rewrite) = self.rewrite.as_mut().filter(|rewrite| rewrite.number == number) else {
            return Ok(());
        };
        rewrite.has_base = true;
        if result.is_err() {
            self.rewrite = None;
        }
        result
    }

    /// Ends a rewrite of which everything is there. Returns it if it has ended now.
    ///
    /// # Errors
    /// The disk's; the rewrite is over, and the files are what they were.
    pub(crate) fn end_rewrite(&mut self, durable: &Durable) -> io::Result<Option<Rewrite>> {
        let is_following = self.is_following();
        let is_ready = |rewrite: &Rewrite| rewrite.has_base && (rewrite.is_begun || !is_following);
        if !self.rewrite.as_ref().is_some_and(is_ready) {
            return Ok(None);
        }
        let Some(rewrite) = self.rewrite.take() else { return Ok(None) };
        if let Err(error) = self.files.adopt_base(&rewrite.base) {
            if self.files.is_unsure() {
                self.note(io::Error::new(error.kind(), error.to_string()));
            }
            return Err(error);
        }
        self.synced = self.written;
        durable.set_synced(self.synced);
        if matches!(self.trouble, Some(Trouble::Sync(_))) {
            self.trouble = None;
        }
        Ok(Some(rewrite))
    }

    /// Begins to follow the log for a rewrite that switches the append-only file on.
    pub(crate) fn start(&mut self, number: u64, cursor: Cursor, position: u64) {
        if self.rewrite.as_ref().is_some_and(|rewrite| rewrite.number == number) {
            self.follow(cursor, position);
            self.taken.push_back(Chunk::Mark(number));
        }
    }

    /// Writes and syncs what is there.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn flush(&mut self, manner: &Manner, durable: &Durable) -> io::Result<()> {
        self.feed(manner);
        if self.trouble.is_none() && self.synced != self.written {
            self.sync(durable);
        }
        match &self.trouble {
            None => Ok(()),
            Some(trouble) => Err(io::Error::new(trouble.error().kind(), trouble.error().to_string())),
        }
    }
}
