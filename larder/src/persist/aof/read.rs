//! Reading a file of commands, one at a time, and knowing up to where it is whole.

use super::super::snapshot::{LoadError, LoadErrorKind, Source};
use larder_resp::OwnedRequest;
use larder_structures::decimal;
use std::fmt;
use std::io::Read;

/// Bytes of a line with a count, a length or an annotation.
const LINE_MAX: usize = 1024;
/// Arguments of one command, as Redis limits them.
const ARGUMENTS_MAX: i64 = 1024 * 1024;
/// Bytes of one argument.
const ARGUMENT_MAX: i64 = 512 * 1024 * 1024;
/// Bytes of all arguments of a command, as many as a request can hold.
const COMMAND_MAX: i64 = u32::MAX as i64;

/// What a file of commands consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command.
    Command(OwnedRequest),
    /// An annotation, without its `#` and its line end.
    Annotation(Vec<u8>),
}

/// Why a file of commands could not be read on.
#[derive(Debug)]
pub struct AofError {
    /// Where the thing begins that could not be read, in bytes from the start of the file.
    pub offset: u64,
    /// What happened.
    pub kind: AofErrorKind,
}

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum AofErrorKind {
    /// The file could not be read.
    Io(std::io::Error),
    /// The file ends within a command.
    Truncated,
    /// The file ends within a transaction, which begins at the offset.
    OpenTransaction,
    /// The bytes are no command.
    Corrupt {
        /// What is expected there.
        expected: &'static str,
    },
    /// The snapshot at the beginning cannot be read.
    Snapshot(LoadError),
    /// There is no such command, not with so many arguments, or it does not work on keys.
    UnknownCommand {
        /// Its name.
        command: String,
    },
}

impl AofError {
    /// Whether a crash while the file was written explains it: the end is missing, nothing else.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        match &self.kind {
            AofErrorKind::Truncated | AofErrorKind::OpenTransaction => true,
            AofErrorKind::Io(_)
            | AofErrorKind::Corrupt { .. }
            | AofErrorKind::Snapshot(_)
            | AofErrorKind::UnknownCommand { .. } => false,
        }
    }
}

impl fmt::Display for AofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset;
        match &self.kind {
            AofErrorKind::Io(error) => write!(f, "cannot read (offset {offset}): {error}"),
            AofErrorKind::Truncated => write!(f, "the file ends within the command at offset {offset}"),
            AofErrorKind::OpenTransaction => {
                write!(f, "the file ends within the transaction that begins at offset {offset}")
            }
            AofErrorKind::Corrupt { expected } => write!(f, "corrupt: expected {expected} (offset {offset})"),
            AofErrorKind::Snapshot(error) => write!(f, "in the snapshot at its beginning: {error}"),
            AofErrorKind::UnknownCommand { command } => {
                write!(f, "the command '{command}' does not belong here, or not so (offset {offset})")
            }
        }
    }
}

impl std::error::Error for AofError {}

/// Reads commands from `R`; needs no buffering in `R`.
pub struct AofReader<R> {
    source: Source<R>,
    /// Offset in the file of the first byte of the source.
    base: u64,
    /// Where the open transaction begins.
    transaction: Option<u64>,
    /// Up to where the file can be applied.
    whole: u64,
}

impl<R: Read> AofReader<R> {
    /// Starts to read commands at `base` bytes from the start of the file.
    pub fn new(input: R, base: u64) -> Self {
        AofReader { source: Source::plain(input), base, transaction: None, whole: base }
    }

    /// Up to where, in bytes from the start of the file, everything was read and no transaction is open.
    #[must_use]
    pub fn whole(&self) -> u64 {
        self.whole
    }

    /// How many bytes of the file were read.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.base + self.source.offset()
    }

    /// What of the file is in memory, from [`AofReader::offset`] on.
    pub(super) fn buffered(&self) -> &[u8] {
        self.source.buffered()
    }

    /// Passes over `len` bytes of [`AofReader::buffered`], which are whole commands, none of them MULTI or EXEC.
    pub(super) fn pass(&mut self, len: usize) {
        self.source.pass(len);
        if self.transaction.is_none() {
            self.whole = self.offset();
        }
    }

    /// The next step; `None` at the end of the file.
    ///
    /// # Errors
    /// If the file cannot be read, ends within a command or a transaction, or is no file of commands there.
    pub fn next_step(&mut self) -> Result<Option<Step>, AofError> {
        let at = self.offset();
        if self.source.at_end().map_err(|error| self.failed(at, error))? {
            return match self.transaction {
                Some(offset) => Err(AofError { offset, kind: AofErrorKind::OpenTransaction }),
                None => Ok(None),
            };
        }
        let first = self.byte(at)?;
        let step = match first {
            b'#' => Step::Annotation(self.line(at)?),
            b'*' => Step::Command(self.command(at)?),
            _ => return Err(corrupt(at, "a command or an annotation")),
        };
        if let Step::Command(command) = &step {
            self.follow_transaction(at, command)?;
        }
        if self.transaction.is_none() {
            self.whole = self.offset();
        }
        Ok(Some(step))
    }

    fn follow_transaction(&mut self, at: u64, command: &OwnedRequest) -> Result<(), AofError> {
        let name = command.as_request().arg(0);
        if name.eq_ignore_ascii_case(b"MULTI") {
            if self.transaction.is_some() {
                return Err(corrupt(at, "the EXEC of the open transaction before another MULTI"));
            }
            self.transaction = Some(at);
        } else if name.eq_ignore_ascii_case(b"EXEC") && self.transaction.take().is_none() {
            return Err(corrupt(at, "a MULTI before EXEC"));
        }
        Ok(())
    }

    fn command(&mut self, at: u64) -> Result<OwnedRequest, AofError> {
        let count = self.number(at, 1..=ARGUMENTS_MAX, "a number of arguments")?;
        let mut command = OwnedRequest::default();
        let mut bytes = 0;
        for _ in 0..count {
            let argument_at = self.offset();
            if self.byte(at)? != b'$' {
                return Err(corrupt(argument_at, "an argument"));
            }
            let length = self.number(at, 0..=ARGUMENT_MAX, "the length of an argument")?;
            bytes += length;
            if bytes > COMMAND_MAX {
                return Err(corrupt(at, "a command of less than 4 GiB"));
            }
            let argument =
                self.source.vec(length as u64, "an argument").map_err(|error| self.failed(at, error))?;
            let end_at = self.offset();
            if (self.byte(at)?, self.byte(at)?) != (b'\r', b'\n') {
                return Err(corrupt(end_at, "a line end behind an argument"));
            }
            command.push(&argument);
        }
        Ok(command)
    }

    fn number(
        &mut self,
        command_at: u64,
        range: std::ops::RangeInclusive<i64>,
        expected: &'static str,
    ) -> Result<i64, AofError> {
        let at = self.offset();
        let line = self.line(command_at)?;
        decimal::parse_canonical_i64(&line)
            .filter(|number| range.contains(number))
            .ok_or_else(|| corrupt(at, expected))
    }

    /// The rest of a line, without its end.
    fn line(&mut self, command_at: u64) -> Result<Vec<u8>, AofError> {
        let at = self.offset();
        let mut line = Vec::new();
        loop {
            match self.byte(command_at)? {
                b'\r' => break,
                _ if line.len() == LINE_MAX => return Err(corrupt(at, "the end of a line")),
                byte => line.push(byte),
            }
        }
        let end_at = self.offset();
        if self.byte(command_at)? != b'\n' {
            return Err(corrupt(end_at, "a line end"));
        }
        Ok(line)
    }

    fn byte(&mut self, command_at: u64) -> Result<u8, AofError> {
        self.source.byte("a command").map_err(|error| self.failed(command_at, error))
    }

    fn failed(&self, at: u64, error: LoadError) -> AofError {
        let kind = match error.kind {
            LoadErrorKind::Io(error) => AofErrorKind::Io(error),
            // The source has no other complaint than that it has ended.
            _ => AofErrorKind::Truncated,
        };
        AofError { offset: at, kind }
    }
}

fn corrupt(offset: u64, expected: &'static str) -> AofError {
    AofError { offset, kind: AofErrorKind::Corrupt { expected } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Vec<Step>, u64, Result<(), AofError>) {
        let mut reader = AofReader::new(bytes, 0);
        let mut steps = Vec::new();
        loop {
            match reader.next_step() {
                Ok(Some(step)) => steps.push(step),
                Ok(None) => return (steps, reader.whole(), Ok(())),
                Err(error) => return (steps, reader.whole(), Err(error)),
            }
        }
    }

    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n";
    const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
    const EXEC: &[u8] = b"*1\r\n$4\r\nexec\r\n";

    #[test]
    fn commands_and_annotations_come_in_their_order() {
        let file = [b"#TS:123\r\n", SET, MULTI, SET, EXEC].concat();
        let (steps, whole, result) = read(&file);
        result.unwrap();
        assert_eq!(steps[0], Step::Annotation(b"TS:123".to_vec()));
        assert_eq!(steps[1], Step::Command(OwnedRequest::from_slices(&[b"SET".as_slice(), b"k", b"\r\n"])));
        assert_eq!((steps.len(), whole), (5, file.len() as u64));
    }

    /// Wherever the file is cut, what is before the cut command, or the transaction it belongs to, can be applied.
    #[test]
    fn a_cut_anywhere_is_a_cut() {
        let file = [SET, MULTI, SET, EXEC, SET].concat();
        let transaction = SET.len()..SET.len() + MULTI.len() + SET.len() + EXEC.len();
        for cut in 0..file.len() {
            let (_, whole, result) = read(&file[..cut]);
            let expected = match cut {
                _ if cut < transaction.start => 0,
                _ if cut < transaction.end => transaction.start,
                _ => transaction.end,
            };
            assert_eq!(whole, expected as u64, "cut at {cut}");
            if [0, transaction.start, transaction.end].contains(&cut) {
                result.unwrap();
            } else {
                assert!(result.unwrap_err().is_cut_short(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn damage_is_told_from_a_cut() {
        for (damaged, offset) in [
            (&b"SET k v\r\n"[..], 0),
            (b"*x\r\n", 1),
            (b"*0\r\n", 1),
            (b"*2000000\r\n", 1),
            (b"*1\r\n+PING\r\n", 4),
            (b"*1\r\n$-1\r\n", 5),
            (b"*1\r\n$536870913\r\n", 5),
            (b"*1\r\n$4\r\nPING..", 12),
            (EXEC, 0),
            (&[MULTI, MULTI].concat(), MULTI.len() as u64),
        ] {
            let shown = damaged.escape_ascii();
            let error = read(damaged).2.unwrap_err();
            assert!(!error.is_cut_short(), "{shown}: {error}");
            assert_eq!(error.offset, offset, "{shown}: {error}");
        }
    }

    #[test]
    fn a_promised_length_takes_no_memory() {
        let error = read(b"*1\r\n$500000000\r\nabc").2.unwrap_err();
        assert!(error.is_cut_short());
    }
}
