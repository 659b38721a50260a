//! What a commit tells the log, in the bytes in which the log holds it.
//!
//! A step is a command as RESP: an array of bulk strings. A command that works in another database than the one before
//! it has a SELECT in front. Steps are written down once, into memory of the lane that runs the command, under its
//! shards' locks only; the log then copies the bytes of a whole commit.

use larder_resp::Request;
use larder_structures::decimal;

/// What the steps of one commit did; see the module's text.
#[derive(Default)]
pub(crate) struct Recorder {
    bytes: Vec<u8>,
    steps: usize,
    /// The database of the first step, which nothing in `bytes` selects.
    first_db: usize,
    /// The database of the last step.
    db: usize,
}

impl Recorder {
    /// Whether there is no step.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// How many steps there are, SELECT not counted.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// The steps; the database of the first has to be selected before.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The databases of the first and the last step.
    pub(crate) fn databases(&self) -> (usize, usize) {
        (self.first_db, self.db)
    }

    /// Adds a request as it was asked.
    #[inline]
    pub(crate) fn add(&mut self, db: usize, request: Request<'_>) {
        self.select(db);
        self.bytes.reserve(request.bytes() + 16 * (request.len() + 1));
        put_number(&mut self.bytes, b'*', request.len());
        request.iter().for_each(|word| put_word(&mut self.bytes, word));
        self.steps += 1;
    }

    /// Adds a command of these words.
    pub(crate) fn add_words(&mut self, db: usize, words: &[&[u8]]) {
        self.select(db);
        put_command(&mut self.bytes, words);
        self.steps += 1;
    }

    /// Adds `steps` commands that are in `commands` already.
    pub(crate) fn add_written(&mut self, db: usize, commands: &[u8], steps: usize) {
        self.select(db);
        self.bytes.extend_from_slice(commands);
        self.steps += steps;
    }

    #[inline]
    fn select(&mut self, db: usize) {
        if self.steps == 0 {
            self.first_db = db;
        } else if self.db != db {
            put_select(&mut self.bytes, db);
        }
        self.db = db;
    }

    /// Forgets all steps.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.steps = 0;
    }

    /// Gives the steps away, with the memory they are in.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.steps = 0;
        std::mem::take(&mut self.bytes)
    }
}

/// Appends a command of these words.
pub(crate) fn put_command(out: &mut Vec<u8>, words: &[&[u8]]) {
    put_number(out, b'*', words.len());
    words.iter().for_each(|word| put_word(out, word));
}

/// Appends a SELECT.
pub(crate) fn put_select(out: &mut Vec<u8>, db: usize) {
    put_command(out, &[b"SELECT", itoa::Buffer::new().format(db).as_bytes()]);
}

#[inline]
fn put_word(out: &mut Vec<u8>, word: &[u8]) {
    put_number(out, b'$', word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// A line with a number; most are below 100.
#[inline]
fn put_number(out: &mut Vec<u8>, mark: u8, number: usize) {
    match number {
        0..=9 => out.extend_from_slice(&[mark, b'0' + number as u8, b'\r', b'\n']),
        10..=99 => {
            let (tens, ones) = (b'0' + (number / 10) as u8, b'0' + (number % 10) as u8);
            out.extend_from_slice(&[mark, tens, ones, b'\r', b'\n']);
        }
        _ => {
            out.push(mark);
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The bytes a SELECT takes at most.
pub(crate) const SELECT_MAX: usize = 26 + decimal::MAX_LEN;
