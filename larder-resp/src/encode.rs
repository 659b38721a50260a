//! The reply encoder: appends replies to a connection's output buffer.
//!
//! A handler states what it means (a map, a double, nothing); the writer knows what the client's protocol has
//! for that. RESP2 flattens maps, knows no set and no push, and spells doubles, big numbers and verbatim
//! strings as bulk strings.
//!
//! Small counts and lengths are nearly all there are, so a header below 100 is put together from its digits
//! without a call to the number formatter.
//!
//! **Lengths that come last.** A collection whose length is known only afterwards starts with a deferred
//! header: four bytes, enough for lengths below ten. If the length needs more digits, the payload moves by that
//! many bytes, which costs one `memmove` of bytes that have just been written.

use crate::decode::ProtocolError;
use crate::double;
use crate::proto::Proto;
use crate::request::Request;

/// Room a deferred header takes until its length is known: sigil, one digit, CR, LF.
const DEFERRED_HEADER: usize = 4;

/// Longest header: sigil, 20 characters of a 64-bit number, CR, LF.
const LONGEST_HEADER: usize = 23;

/// A collection whose length is still to be written. Give it back to [`ReplyWriter::finish_array`],
/// [`ReplyWriter::finish_map`], [`ReplyWriter::finish_set`] or [`ReplyWriter::finish_push`], inner ones first.
#[derive(Debug)]
#[must_use = "a deferred header without its length is not RESP"]
pub struct Deferred {
    at: usize,
}

/// A position in the output that [`ReplyWriter::rollback`] can return to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    len: usize,
}

/// Writes replies in one protocol to the end of a buffer.
///
/// ```
/// use larder_resp::{Proto, ReplyWriter};
///
/// let mut out = Vec::new();
/// let mut reply = ReplyWriter::new(&mut out, Proto::Resp3);
/// reply.map(1);
/// reply.bulk(b"score");
/// reply.double(1.5);
/// assert_eq!(out, b"%1\r\n$5\r\nscore\r\n,1.5\r\n");
/// ```
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    out: &'a mut Vec<u8>,
    proto: Proto,
}

impl<'a> ReplyWriter<'a> {
    /// A writer that appends to `out`.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, proto: Proto) -> Self {
        Self { out, proto }
    }

    /// The protocol the replies are written in.
    #[inline]
    #[must_use]
    pub fn proto(&self) -> Proto {
        self.proto
    }

    /// Change the protocol, as `HELLO` does before it replies.
    pub fn set_proto(&mut self, proto: Proto) {
        self.proto = proto;
    }

    /// A second writer over the same output, for a callee that takes one by value.
    #[inline]
    pub fn reborrow(&mut self) -> ReplyWriter<'_> {
        ReplyWriter { out: self.out, proto: self.proto }
    }

    /// Length of the whole output in bytes, with what it held before this writer.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether the output is empty.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The output itself. What is appended must be whole replies.
    #[inline]
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Append bytes that are RESP already.
    #[inline]
    pub fn raw(&mut self, resp: &[u8]) {
        self.out.extend_from_slice(resp);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string. CR and LF, which it cannot hold, become spaces.
    #[inline]
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', text.as_ref());
    }

    /// An error: its code, a space, its message, without the leading `-`. CR and LF become spaces; at its end
    /// they are dropped.
    #[inline]
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', trim_line_end(text.as_ref()));
    }

    /// The error that ends a connection whose bytes break the protocol.
    #[cold]
    pub fn protocol_error(&mut self, error: &ProtocolError) {
        let mut text = b"ERR ".to_vec();
        text.extend_from_slice(&error.message());
        self.line(b'-', trim_line_end(&text));
    }

    /// A 64-bit integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        header(self.out, b':', value);
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, payload: &[u8]) {
        self.out.reserve(payload.len() + LONGEST_HEADER + 2);
        count(self.out, b'$', payload.len());
        self.out.extend_from_slice(payload);
        self.out.extend_from_slice(b"\r\n");
    }

    /// What stands around a bulk string of `len` bytes that are sent from where they are. Returns where in the output
    /// they belong.
    pub fn bulk_around(&mut self, len: usize) -> usize {
        count(self.out, b'$', len);
        let at = self.out.len();
        self.out.extend_from_slice(b"\r\n");
        at
    }

    /// A bulk string that holds the decimal digits of `value`.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Nothing where a value would be: `$-1`, in RESP3 `_`.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(if self.proto.is_resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Nothing where an array would be: `*-1`, in RESP3 `_`.
    #[inline]
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(if self.proto.is_resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The header of an array; its `len` elements follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        count(self.out, b'*', len);
    }

    /// The header of a map; `pairs` times a key and a value follow. In RESP2 an array twice as long.
    #[inline]
    pub fn map(&mut self, pairs: usize) {
        let (sigil, len) = self.map_header(pairs);
        count(self.out, sigil, len);
    }

    /// The header of a set; its `len` members follow. In RESP2 an array.
    #[inline]
    pub fn set(&mut self, len: usize) {
        count(self.out, self.either(b'*', b'~'), len);
    }

    /// The header of an out-of-band message; its `len` elements follow. In RESP2 an array.
    #[inline]
    pub fn push(&mut self, len: usize) {
        count(self.out, self.either(b'*', b'>'), len);
    }

    /// A double with the digits of C's `%.17g`. In RESP2 a bulk string.
    pub fn double(&mut self, value: f64) {
        let digits = double::format_g17(value);
        self.number(b',', digits.as_bytes());
    }

    /// A number of any length, given as its decimal digits. In RESP2 a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        self.number(b'(', digits.as_bytes());
    }

    /// A truth value. In RESP2 the integer 1 or 0.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.proto, value) {
            (Proto::Resp2, true) => b":1\r\n",
            (Proto::Resp2, false) => b":0\r\n",
            (Proto::Resp3, true) => b"#t\r\n",
            (Proto::Resp3, false) => b"#f\r\n",
        });
    }

    /// Text for people, with its format: three characters, `txt` or `mkd`; others are cut or filled with
    /// spaces. In RESP2 a bulk string without the format.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if !self.proto.is_resp3() {
            return self.bulk(text);
        }
        let mut prefix = *b"   :";
        prefix.iter_mut().take(3).zip(format.bytes()).for_each(|(to, from)| *to = from);
        count(self.out, b'=', text.len() + prefix.len());
        self.out.extend_from_slice(&prefix);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Start a collection whose length is not known yet. Its elements follow, then one of the `finish`
    /// methods.
    #[inline]
    pub fn deferred_array(&mut self) -> Deferred {
        let at = self.out.len();
        self.out.extend_from_slice(b"*0\r\n");
        Deferred { at }
    }

    /// Write the header of a deferred collection: an array of `len` elements.
    pub fn finish_array(&mut self, deferred: Deferred, len: usize) {
        self.finish(&deferred, b'*', len);
    }

    /// Write the header of a deferred collection: a map of `pairs` pairs. In RESP2 an array twice as long.
    pub fn finish_map(&mut self, deferred: Deferred, pairs: usize) {
        let (sigil, len) = self.map_header(pairs);
        self.finish(&deferred, sigil, len);
    }

    /// Write the header of a deferred collection: a set of `len` members. In RESP2 an array.
    pub fn finish_set(&mut self, deferred: Deferred, len: usize) {
        self.finish(&deferred, self.either(b'*', b'~'), len);
    }

    /// Write the header of a deferred collection: a message of `len` elements. In RESP2 an array.
    pub fn finish_push(&mut self, deferred: Deferred, len: usize) {
        self.finish(&deferred, self.either(b'*', b'>'), len);
    }

    /// Remember the end of the output.
    #[inline]
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { len: self.out.len() }
    }

    /// Drop everything written since `mark`. Deferred headers started since then must be dropped as well.
    pub fn rollback(&mut self, mark: Mark) {
        self.out.truncate(mark.len);
    }

    /// Bytes written since `mark`; empty when a rollback went behind it.
    #[must_use]
    pub fn since(&self, mark: Mark) -> &[u8] {
        self.out.get(mark.len..).unwrap_or_default()
    }

    fn either(&self, resp2: u8, resp3: u8) -> u8 {
        if self.proto.is_resp3() { resp3 } else { resp2 }
    }

    fn map_header(&self, pairs: usize) -> (u8, usize) {
        if self.proto.is_resp3() { (b'%', pairs) } else { (b'*', pairs * 2) }
    }

    /// Digits as a line with `sigil`, or as a bulk string in RESP2.
    fn number(&mut self, sigil: u8, digits: &[u8]) {
        if self.proto.is_resp3() { self.line(sigil, digits) } else { self.bulk(digits) }
    }

    fn line(&mut self, sigil: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(sigil);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        if memchr::memchr2(b'\r', b'\n', text).is_some() {
            self.out[start..]
                .iter_mut()
                .filter(|byte| matches!(byte, b'\r' | b'\n'))
                .for_each(|byte| *byte = b' ');
        }
        self.out.extend_from_slice(b"\r\n");
    }

    fn finish(&mut self, deferred: &Deferred, sigil: u8, len: usize) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(len).as_bytes();
        let grow = digits.len() - 1;
        let payload = deferred.at + DEFERRED_HEADER;
        let end = self.out.len();
        debug_assert!(payload <= end, "the output was cut behind a deferred header");
        if grow > 0 {
            self.out.resize(end + grow, 0);
            self.out.copy_within(payload.min(end)..end, payload + grow);
        }
        if let Some(header) = self.out.get_mut(deferred.at..payload + grow)
            && let [first, number @ .., cr, lf] = header
        {
            *first = sigil;
            number.copy_from_slice(digits);
            (*cr, *lf) = (b'\r', b'\n');
        }
    }
}

/// `text` without the line ends at its end.
#[inline]
fn trim_line_end(mut text: &[u8]) -> &[u8] {
    while let [head @ .., b'\r' | b'\n'] = text {
        text = head;
    }
    text
}

/// Append a request as clients, the append-only log and replication send it.
pub fn write_command<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    count(out, b'*', args.len());
    args.iter().for_each(|arg| ReplyWriter::new(out, Proto::Resp2).bulk(arg.as_ref()));
}

impl Request<'_> {
    /// Append this request to `out` as clients, the append-only log and replication send it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes() + (self.len() + 1) * LONGEST_HEADER / 2);
        count(out, b'*', self.len());
        self.iter().for_each(|arg| ReplyWriter::new(out, Proto::Resp2).bulk(arg));
    }
}

/// `sigil`, a length or count, line end.
#[inline]
fn count(out: &mut Vec<u8>, sigil: u8, len: usize) {
    // A `Vec` holds at most `isize::MAX` bytes, and no collection has more elements than that.
    header(out, sigil, i64::try_from(len).unwrap_or(i64::MAX));
}

/// `sigil`, a number, line end.
#[inline]
fn header(out: &mut Vec<u8>, sigil: u8, value: i64) {
    match value {
        0..10 => out.extend_from_slice(&[sigil, digit(value), b'\r', b'\n']),
        10..100 => out.extend_from_slice(&[sigil, digit(value / 10), digit(value % 10), b'\r', b'\n']),
        _ => long_header(out, sigil, value),
    }
}

#[inline]
fn digit(value: i64) -> u8 {
    b"0123456789"[(value % 10).unsigned_abs() as usize]
}

fn long_header(out: &mut Vec<u8>, sigil: u8, value: i64) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value).as_bytes();
    let mut line = [0; LONGEST_HEADER];
    let len = digits.len();
    line[0] = sigil;
    line[1..=len].copy_from_slice(digits);
    line[len + 1] = b'\r';
    line[len + 2] = b'\n';
    out.extend_from_slice(&line[..len + 3]);
}
