//! Bytes in: a buffered input that knows its offset and its checksum.
//!
//! The checksum is taken over whole stretches of the buffer just before they are given up, not field by field, which
//! is what makes it cheap. Strings longer than what is buffered grow as their bytes arrive: a length is only ever a
//! promise, and memory is given for bytes, not for promises.

use std::io::{self, Chain, Cursor, Read};

use super::super::crc64::Crc64;
use super::error::{LoadError, LoadErrorKind};

/// Large enough that a read is not felt, small enough to stay in the second-level cache.
pub(super) const BUFFER_LEN: usize = 128 * 1024;

/// What follows a snapshot in its input: the bytes already buffered, then the rest of the reader.
pub type Tail<R> = Chain<Cursor<Vec<u8>>, R>;

pub(crate) struct Source<R> {
    input: R,
    buffer: Vec<u8>,
    /// Where in `buffer` the next byte is, and where the filled part ends.
    next: usize,
    end: usize,
    /// `buffer[..summed]` is in `checksum`.
    summed: usize,
    /// The offset of `buffer[0]` in the input.
    base: u64,
    /// `None` where nobody asks for it.
    checksum: Option<Crc64>,
}

impl<R: Read> Source<R> {
    /// `buffer_len` must be at least 16, the longest fixed-size field.
    pub(super) fn new(input: R, buffer_len: usize) -> Self {
        let buffer = vec![0; buffer_len];
        Self { input, buffer, next: 0, end: 0, summed: 0, base: 0, checksum: Some(Crc64::new()) }
    }

    /// One without a checksum.
    pub(crate) fn plain(input: R) -> Self {
        Self { checksum: None, ..Self::new(input, BUFFER_LEN) }
    }

    /// How many bytes were taken so far.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.next as u64
    }

    /// The checksum of everything taken so far; 0 for one without.
    pub(super) fn checksum(&mut self) -> u64 {
        self.sum_taken();
        self.checksum.map_or(0, Crc64::value)
    }

    pub(crate) fn byte(&mut self, reading: &'static str) -> Result<u8, LoadError> {
        let [byte] = self.bytes(reading)?;
        Ok(byte)
    }

    /// Takes `N` bytes, at most 16.
    pub(super) fn bytes<const N: usize>(&mut self, reading: &'static str) -> Result<[u8; N], LoadError> {
        loop {
            if let Some((bytes, _)) = self.buffer[self.next..self.end].split_first_chunk::<N>() {
                self.next += N;
                return Ok(*bytes);
            }
            if !self.fill()? {
                return Err(self.ended(reading));
            }
        }
    }

    /// Takes `len` bytes, however many that claims to be.
    pub(crate) fn vec(&mut self, len: u64, reading: &'static str) -> Result<Vec<u8>, LoadError> {
        let mut taken = Vec::new();
        loop {
            let missing = len - taken.len() as u64;
            let available = &self.buffer[self.next..self.end];
            let step =
                usize::try_from(missing).map_or(available.len(), |missing| missing.min(available.len()));
            // Exactly `len` if it is all there, as most strings are; otherwise doubling, as a vector does.
            if step as u64 == missing {
                taken.reserve_exact(step);
            }
            taken.extend_from_slice(&available[..step]);
            self.next += step;
            if step as u64 == missing {
                return Ok(taken);
            }
            if !self.fill()? {
                return Err(self.ended(reading));
            }
        }
    }

    /// Skips `len` bytes.
    pub(super) fn skip(&mut self, len: u64, reading: &'static str) -> Result<(), LoadError> {
        let mut missing = len;
        loop {
            let step = missing.min((self.end - self.next) as u64);
            self.next += step as usize;
            missing -= step;
            if missing == 0 {
                return Ok(());
            }
            if !self.fill()? {
                return Err(self.ended(reading));
            }
        }
    }

    /// What is in memory and not taken.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.buffer[self.next..self.end]
    }

    /// Takes `len` of these bytes.
    pub(crate) fn pass(&mut self, len: usize) {
        self.next = self.end.min(self.next + len);
    }

    /// Whether nothing is left to take.
    pub(crate) fn at_end(&mut self) -> Result<bool, LoadError> {
        Ok(self.next == self.end && !self.fill()?)
    }

    /// Everything that was not taken.
    pub(super) fn into_tail(mut self) -> Tail<R> {
        self.buffer.truncate(self.end);
        self.buffer.drain(..self.next);
        Cursor::new(self.buffer).chain(self.input)
    }

    /// Gets more bytes behind those not yet taken; false when the input has ended. There must be room, so what is left
    /// must be shorter than the buffer: callers fill only when a field of at most 16 bytes is not complete.
    fn fill(&mut self) -> Result<bool, LoadError> {
        self.sum_taken();
        self.buffer.copy_within(self.next..self.end, 0);
        self.base += self.next as u64;
        self.end -= self.next;
        self.next = 0;
        self.summed = 0;
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LoadError::new(self.offset(), LoadErrorKind::Io(error))),
            }
        }
    }

    fn sum_taken(&mut self) {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(&self.buffer[self.summed..self.next]);
        }
        self.summed = self.next;
    }

    /// The offset of the error is the end of the input, not the start of what could not be read.
    fn ended(&self, reading: &'static str) -> LoadError {
        LoadError::new(self.base + self.end as u64, LoadErrorKind::UnexpectedEnd { reading })
    }
}
