//! The request decoder: from bytes as they arrive to requests.
//!
//! A request is `*<count>\r\n` followed by `count` times `$<length>\r\n<payload>\r\n`, or an inline command (see
//! `inline.rs`). The decoder is a state machine over a buffer that grows: the caller reads from its socket,
//! hands over everything from the first byte of the unfinished request on, and calls again with the same bytes
//! and more. The decoder remembers how far it understood them, so each byte is looked at once, however small
//! the pieces are; payloads are never looked at.
//!
//! Arguments stay where they are. The decoder notes `Span`s; the list is reused for the next request, so a
//! steady connection allocates nothing.
//!
//! What a request may cost before it is complete: nothing is reserved for an announced count or length beyond
//! a few spans. A line end is a CR and any byte after it, and the two bytes behind a payload are not compared,
//! because Redis takes both so and some clients may rely on it.
//!
//! Where Redis lets the size of its reads decide (a line longer than 64 KiB passes when it arrives at once),
//! this decoder always refuses: the result depends on the bytes alone. And where Redis waits for a line end to
//! complain about the first byte of the line (an argument that does not begin with `$`), it does not wait.

use std::fmt;

use memchr::memchr;

use crate::inline;
use crate::limits::{
    KEEP_SCRATCH, KEEP_SPANS, Limits, MAX_BULK_UNAUTHENTICATED, MAX_MULTIBULK_UNAUTHENTICATED, RESERVE_AHEAD,
};
use crate::request::{Request, Span};

/// What [`Decoder::decode`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// A whole request: read it with [`Decoder::request`], then drop `consumed` bytes from the buffer.
    Command {
        /// Bytes of the buffer that belong to this request.
        consumed: usize,
    },
    /// Bytes without a request: an empty line, `*0` or `*-1`. Drop them and go on; no reply is due.
    Skip {
        /// Bytes of the buffer to drop.
        consumed: usize,
    },
    /// The request continues beyond the buffer.
    Incomplete {
        /// Best guess of the length the buffer will need, at least one more than it has. It may come from the
        /// length announced for a bulk string, so it is a hint for the next read and no reason to allocate
        /// all of it at once.
        want: usize,
    },
}

/// The bytes break the protocol; the connection is beyond repair and closes after this error.
///
/// `Display` is the text behind `-ERR `. [`ProtocolError::message`] gives it as exact bytes, which differ from
/// `Display` when a non-ASCII byte is quoted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    /// The count behind `*` is not a number, or too large.
    InvalidMultibulkLength,
    /// No line end within the limit behind `*`.
    TooBigMultibulkCount,
    /// More than 10 arguments before authentication.
    UnauthenticatedMultibulkLength,
    /// An argument does not begin with `$` but with this byte.
    ExpectedDollar(u8),
    /// The length behind `$` is not a number, negative, or above `proto-max-bulk-len`.
    InvalidBulkLength,
    /// No line end within the limit behind `$`.
    TooBigBulkCount,
    /// More than 16 KiB in one argument before authentication.
    UnauthenticatedBulkLength,
    /// An inline command whose quotes do not close, or with text directly behind a closing quote.
    UnbalancedQuotes,
    /// No line end within the limit in an inline command.
    TooBigInlineRequest,
}

impl ProtocolError {
    /// The text behind `-ERR `, byte for byte.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        match self {
            Self::ExpectedDollar(byte) => {
                let mut text = b"Protocol error: expected '$', got ' '".to_vec();
                if let [.., got, _] = text.as_mut_slice()
                    && !matches!(byte, b'\r' | b'\n')
                {
                    *got = *byte;
                }
                text
            }
            other => other.text().as_bytes().to_vec(),
        }
    }

    fn text(&self) -> &'static str {
        match self {
            Self::InvalidMultibulkLength => "Protocol error: invalid multibulk length",
            Self::TooBigMultibulkCount => "Protocol error: too big mbulk count string",
            Self::UnauthenticatedMultibulkLength => "Protocol error: unauthenticated multibulk length",
            Self::ExpectedDollar(_) => "Protocol error: expected '$'",
            Self::InvalidBulkLength => "Protocol error: invalid bulk length",
            Self::TooBigBulkCount => "Protocol error: too big bulk count string",
            Self::UnauthenticatedBulkLength => "Protocol error: unauthenticated bulk length",
            Self::UnbalancedQuotes => "Protocol error: unbalanced quotes in request",
            Self::TooBigInlineRequest => "Protocol error: too big inline request",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.message()))
    }
}

impl std::error::Error for ProtocolError {}

/// Where in a request the decoder stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// Before the first byte, or in the first line.
    #[default]
    Start,
    /// Before or in the `$<length>` line of an argument.
    Length,
    /// In the payload of an argument of this length.
    Payload(usize),
    /// A request over the caller's buffer is complete; the next call starts a new one.
    Done,
    /// The same for an inline command, whose words are in `scratch`.
    DoneInline,
}

/// An incremental request decoder; one per connection.
///
/// ```
/// use larder_resp::{Decoded, Decoder, Limits};
///
/// let limits = Limits::default();
/// let mut decoder = Decoder::new();
/// let mut buf = b"*2\r\n$3\r\nGET\r\n$1\r\n".to_vec();
/// assert!(matches!(decoder.decode(&buf, &limits), Ok(Decoded::Incomplete { want: 20 })));
/// buf.extend_from_slice(b"k\r\n");
/// assert_eq!(decoder.decode(&buf, &limits), Ok(Decoded::Command { consumed: 20 }));
/// assert_eq!(decoder.request(&buf).arg(1), b"k");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    stage: Stage,
    /// First byte that is not understood yet. Zero at [`Stage::Start`].
    pos: usize,
    /// The line that begins at `pos` has no line end before this offset.
    scanned: usize,
    /// Arguments still to come.
    remaining: usize,
    spans: Vec<Span>,
    /// The words of an inline command.
    scratch: Vec<u8>,
}

impl Decoder {
    /// A decoder at the start of a request. It allocates with the first one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forget the request in progress: the next call sees the first byte of a new one.
    ///
    /// Needed only when bytes are thrown away. A finished request and an error forget themselves.
    pub fn reset(&mut self) {
        self.stage = Stage::Start;
        self.pos = 0;
        self.scanned = 0;
        self.remaining = 0;
        self.spans.clear();
        self.scratch.clear();
        if self.spans.capacity() > KEEP_SPANS {
            self.spans = Vec::new();
        }
        if self.scratch.capacity() > KEEP_SCRATCH {
            self.scratch = Vec::new();
        }
    }

    /// Heap bytes this decoder holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.scratch.capacity()
    }

    /// Whether a request has begun and is not complete: a part of it, at least its first line, was understood.
    #[must_use]
    pub fn in_progress(&self) -> bool {
        matches!(self.stage, Stage::Length | Stage::Payload(_))
    }

    /// Look for a request at the start of `buf`.
    ///
    /// After [`Decoded::Incomplete`], `buf` must hold the same bytes again, followed by more. After
    /// [`Decoded::Command`] or [`Decoded::Skip`], the next call begins with the byte behind `consumed`.
    /// `limits` may change between calls; they hold for what is read from then on.
    ///
    /// # Errors
    /// The bytes are no request. The decoder is reset.
    #[inline]
    pub fn decode(&mut self, buf: &[u8], limits: &Limits) -> Result<Decoded, ProtocolError> {
        if matches!(self.stage, Stage::Done | Stage::DoneInline) {
            self.reset();
        }
        let decoded = self.advance(buf, limits);
        if decoded.is_err() {
            self.reset();
        }
        decoded
    }

    /// The request that [`Decoder::decode`] has just found; `buf` is the buffer it was given. Empty when there
    /// is no finished request.
    #[inline]
    #[must_use]
    pub fn request<'a>(&'a self, buf: &'a [u8]) -> Request<'a> {
        match self.stage {
            Stage::Done => Request::new(buf, &self.spans),
            Stage::DoneInline => Request::new(&self.scratch, &self.spans),
            _ => Request::new(&[], &[]),
        }
    }

    fn advance(&mut self, buf: &[u8], limits: &Limits) -> Result<Decoded, ProtocolError> {
        if self.stage == Stage::Start {
            match buf.first() {
                None => return Ok(Decoded::Incomplete { want: 1 }),
                Some(b'*') => {
                    if let Some(decoded) = self.count(buf, limits)? {
                        return Ok(decoded);
                    }
                }
                Some(_) => return self.inline(buf, limits),
            }
        }
        self.arguments(buf, limits)
    }

    /// The line `*<count>`. `None` when arguments follow.
    #[inline]
    fn count(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<Decoded>, ProtocolError> {
        let (value, next) = match short_length(buf.get(1..).unwrap_or_default()) {
            Some((value, rest)) => (i64::from(value), buf.len() - rest.len()),
            None => match self.long_length(buf, limits.max_inline) {
                Line::Value(value, next) => (value, next),
                Line::Incomplete => return Ok(Some(Decoded::Incomplete { want: buf.len() + 1 })),
                Line::TooLong => return Err(ProtocolError::TooBigMultibulkCount),
                Line::Invalid => return Err(ProtocolError::InvalidMultibulkLength),
            },
        };
        if value <= 0 {
            self.reset();
            return Ok(Some(Decoded::Skip { consumed: next }));
        }
        let count = usize::try_from(value).unwrap_or(usize::MAX);
        if count > limits.max_multibulk {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        if !limits.authenticated && count > MAX_MULTIBULK_UNAUTHENTICATED {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.spans.reserve(count.min(RESERVE_AHEAD));
        self.remaining = count;
        self.stage = Stage::Length;
        self.pos = next;
        Ok(None)
    }

    /// The arguments, from wherever the last call stopped.
    #[inline]
    fn arguments(&mut self, buf: &[u8], limits: &Limits) -> Result<Decoded, ProtocolError> {
        let longest = if limits.authenticated {
            limits.max_bulk
        } else {
            limits.max_bulk.min(MAX_BULK_UNAUTHENTICATED)
        };
        loop {
            if self.stage == Stage::Length {
                self.present_arguments(buf, longest);
            }
            if self.remaining == 0 {
                break;
            }
            if let Some(want) = self.argument(buf, limits)? {
                return Ok(Decoded::Incomplete { want: want.max(buf.len() + 1) });
            }
        }
        self.stage = Stage::Done;
        Ok(Decoded::Command { consumed: self.pos })
    }

    /// The fast way: as many arguments as are here completely, have a short length line and break no limit.
    /// What the loop changes is held in local variables, because those stay in registers.
    #[inline]
    fn present_arguments(&mut self, buf: &[u8], longest: usize) {
        // What lies beyond 4 GiB is not for this loop, so offsets within the window fit a span.
        let window = &buf[..buf.len().min(u32::MAX as usize)];
        let Some(mut rest) = window.get(self.pos..) else { return };
        let mut remaining = self.remaining;
        while remaining > 0
            && let [b'$', line @ ..] = rest
            && let Some((len, payload)) = short_length(line)
            && len as usize <= longest
            && let Some(next) = payload.get(len as usize + 2..)
        {
            self.spans.push(Span { start: (window.len() - payload.len()) as u32, len });
            rest = next;
            remaining -= 1;
        }
        (self.pos, self.remaining) = (window.len() - rest.len(), remaining);
    }

    /// One argument with every check. Returns the length wanted when the buffer ends within it.
    #[cold]
    fn argument(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let len = match self.stage {
            Stage::Payload(len) => len,
            _ => match self.length(buf, limits)? {
                Some(len) => len,
                // An empty argument takes six bytes; none takes less.
                None => return Ok(Some(self.pos.saturating_add(6))),
            },
        };
        let end = self.pos.saturating_add(len).saturating_add(2);
        // Spans count in 32 bits: a request that would outgrow them is refused like a bulk that is too long.
        let span = span(self.pos, len).ok_or(ProtocolError::InvalidBulkLength)?;
        if buf.len() < end {
            return Ok(Some(end));
        }
        self.spans.push(span);
        self.pos = end;
        self.scanned = end;
        self.stage = Stage::Length;
        self.remaining -= 1;
        Ok(None)
    }

    /// The line `$<length>`. `None` when the buffer ends within it.
    fn length(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        match buf.get(self.pos) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError::ExpectedDollar(*other)),
        }
        let (value, next) = match self.long_length(buf, limits.max_inline) {
            Line::Value(value, next) => (value, next),
            Line::Incomplete => return Ok(None),
            Line::TooLong => return Err(ProtocolError::TooBigBulkCount),
            Line::Invalid => return Err(ProtocolError::InvalidBulkLength),
        };
        let len = usize::try_from(value).map_err(|_| ProtocolError::InvalidBulkLength)?;
        if len > limits.max_bulk {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if !limits.authenticated && len > MAX_BULK_UNAUTHENTICATED {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        self.pos = next;
        self.stage = Stage::Payload(len);
        Ok(Some(len))
    }

    /// The number in the line that begins at `self.pos` with its sigil.
    #[cold]
    fn long_length(&mut self, buf: &[u8], max_line: usize) -> Line {
        let digits = self.pos + 1;
        let limit = self.pos.saturating_add(max_line).saturating_add(1);
        let from = self.scanned.max(digits);
        let Some(end) = find(buf, b'\r', from, limit) else {
            self.scanned = buf.len().min(limit).max(from);
            return if buf.len() >= limit { Line::TooLong } else { Line::Incomplete };
        };
        if end + 1 >= buf.len() {
            self.scanned = end;
            return Line::Incomplete;
        }
        match buf.get(digits..end).and_then(parse_canonical) {
            Some(value) => Line::Value(value, end + 2),
            None => Line::Invalid,
        }
    }

    /// An inline command: one line of words.
    #[cold]
    fn inline(&mut self, buf: &[u8], limits: &Limits) -> Result<Decoded, ProtocolError> {
        let limit = limits.max_inline.saturating_add(1).min(u32::MAX as usize);
        let Some(end) = find(buf, b'\n', self.scanned, limit) else {
            if buf.len() >= limit {
                return Err(ProtocolError::TooBigInlineRequest);
            }
            self.scanned = buf.len();
            return Ok(Decoded::Incomplete { want: buf.len() + 1 });
        };
        // A CR before the line end is one more blank.
        inline::split(&buf[..end], &mut self.scratch, &mut self.spans)
            .map_err(|_| ProtocolError::UnbalancedQuotes)?;
        if self.spans.is_empty() {
            self.reset();
            return Ok(Decoded::Skip { consumed: end + 1 });
        }
        self.stage = Stage::DoneInline;
        Ok(Decoded::Command { consumed: end + 1 })
    }
}

/// Most arguments of a request that [`decode_whole`] looks at: more would be looked at again and again while they arrive.
const WHOLE_MAX: u32 = 64;

/// The usual request, if one stands at the start of `buf` completely: a few arguments with short length lines, within
/// the limits of a client that has authenticated. Adds its spans, relative to `buf`, to `spans` and returns its length.
///
/// `None` says nothing about the bytes, only that a [`Decoder`] has to look at them; `spans` is as it was. This is for
/// looking ahead in a pipeline without any state to go back to.
#[inline]
#[must_use]
pub fn decode_whole(buf: &[u8], limits: &Limits, spans: &mut Vec<Span>) -> Option<usize> {
    let window = &buf[..buf.len().min(u32::MAX as usize)];
    let [b'*', line @ ..] = window else { return None };
    let (count, mut rest) = short_length(line)?;
    if count == 0 || count > WHOLE_MAX || count as usize > limits.max_multibulk || !limits.authenticated {
        return None;
    }
    let before = spans.len();
    for _ in 0..count {
        if let [b'$', line @ ..] = rest
            && let Some((len, payload)) = short_length(line)
            && len as usize <= limits.max_bulk
            && let Some(next) = payload.get(len as usize + 2..)
        {
            spans.push(Span { start: (window.len() - payload.len()) as u32, len });
            rest = next;
        } else {
            spans.truncate(before);
            return None;
        }
    }
    Some(window.len() - rest.len())
}

/// A length line that was not short.
enum Line {
    /// The number, and the offset behind the line end.
    Value(i64, usize),
    /// The buffer ends before the line does.
    Incomplete,
    /// There is no line end within the limit.
    TooLong,
    /// It is not a number.
    Invalid,
}

/// The number at the start of `line`, when it is written with one to nine digits and its line end is there as
/// well; with what follows. Everything else is left to [`Decoder::long_length`].
#[inline(always)]
fn short_length(line: &[u8]) -> Option<(u32, &[u8])> {
    // One and two digits are nearly all there is.
    match line {
        [a @ b'0'..=b'9', b'\r', _, rest @ ..] => return Some((u32::from(a - b'0'), rest)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, rest @ ..] => {
            return Some((u32::from(a - b'0') * 10 + u32::from(b - b'0'), rest));
        }
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9', ..] => {}
        _ => return None,
    }
    let (mut value, mut line) = (0_u32, line);
    for _ in 0..10 {
        match line {
            [digit @ b'0'..=b'9', tail @ ..] => {
                value = value.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'));
                line = tail;
            }
            [b'\r', _, rest @ ..] => return Some((value, rest)),
            _ => return None,
        }
    }
    None
}

/// A decimal number as it must be written here: no sign but `-`, no leading zero, no `-0`, within 64 bits.
fn parse_canonical(digits: &[u8]) -> Option<i64> {
    let magnitude = digits.strip_prefix(b"-").unwrap_or(digits);
    match magnitude {
        [] => return None,
        [b'0', ..] => return (digits == b"0").then_some(0),
        _ if magnitude.iter().any(|byte| !byte.is_ascii_digit()) => return None,
        _ => {}
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The first `needle` in `buf[from..limit]`.
fn find(buf: &[u8], needle: u8, from: usize, limit: usize) -> Option<usize> {
    let window = buf.get(from..limit.min(buf.len()))?;
    memchr(needle, window).map(|at| from + at)
}

/// The span of `len` bytes at `start`; `None` when its end does not fit 32 bits.
#[inline(always)]
fn span(start: usize, len: usize) -> Option<Span> {
    if start.checked_add(len)? > u32::MAX as usize {
        return None;
    }
    Some(Span { start: u32::try_from(start).ok()?, len: u32::try_from(len).ok()? })
}
