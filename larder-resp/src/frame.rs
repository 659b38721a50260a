//! Replies as a client reads them: for the terminal client, for tests and for replication links.
//!
//! A reply is a tree, but it is read without recursion: open collections stand on a stack of the reader, with
//! the elements they have so far. When the bytes run out the stack stays, and the next call goes on where this
//! one stopped, so reading a reply in many pieces costs no more than reading it at once.
//!
//! A count in a header is only an announcement: elements are stored as they arrive. The stack is at most
//! [`MAX_FRAME_DEPTH`] high. What is built of a reply is the reader's choice ([`Tree`]), and a budget bounds its memory. The streamed types of the RESP3 text (`$?`, `*?`), which no server sends, are
//! refused.

use std::fmt;

use crate::encode::ReplyWriter;
use crate::limits::{MAX_FRAME_BULK, MAX_FRAME_DEPTH, MAX_FRAME_LINE, RESERVE_AHEAD};
use memchr::memchr;

/// One reply, or one element of a reply.
#[derive(Clone, PartialEq)]
pub enum Frame {
    /// `+`: a short text, as `OK`. Not necessarily UTF-8.
    Simple(Vec<u8>),
    /// `-` (or `!`, the RESP3 error with a length): code and message. Not necessarily UTF-8.
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `$-1` of RESP2 and `_` of RESP3.
    Null,
    /// `*-1`, which only RESP2 has.
    NullArray,
    /// `*`
    Array(Vec<Frame>),
    /// `%`, in the order of the wire.
    Map(Vec<(Frame, Frame)>),
    /// `~`, in the order of the wire.
    Set(Vec<Frame>),
    /// `>`: out of band, no reply to a command.
    Push(Vec<Frame>),
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `(`: an integer of any size, as its digits.
    BigNumber(String),
    /// `=`: text with its format.
    Verbatim {
        /// Three characters: `txt` or `mkd`.
        format: String,
        /// The text behind the format.
        text: Vec<u8>,
    },
    /// `|`: a map about the frame that follows it.
    Attribute {
        /// The map, in the order of the wire.
        pairs: Vec<(Frame, Frame)>,
        /// What it is about.
        frame: Box<Frame>,
    },
}

impl Frame {
    /// `+text`
    #[must_use]
    pub fn simple(text: &str) -> Self {
        Self::Simple(text.into())
    }

    /// `-text`
    #[must_use]
    pub fn error(text: &str) -> Self {
        Self::Error(text.into())
    }

    /// A bulk string of these bytes.
    #[must_use]
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }

    /// Whether this is an error.
    #[must_use]
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Whether this is a null of either kind.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null | Self::NullArray)
    }

    /// The bytes of a simple string, an error, a bulk string or a verbatim string.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(bytes)
            | Self::Error(bytes)
            | Self::Bulk(bytes)
            | Self::Verbatim { text: bytes, .. } => Some(bytes),
            Self::BigNumber(digits) => Some(digits.as_bytes()),
            _ => None,
        }
    }

    /// The same as text; `None` when it is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The value of an integer frame.
    #[must_use]
    pub const fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of an array, a set or a push.
    #[must_use]
    pub fn as_elements(&self) -> Option<&[Frame]> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// The elements of an array, a set or a push, taken out.
    #[must_use]
    pub fn into_elements(self) -> Option<Vec<Frame>> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// Write this frame as a server would. In RESP2 the types it lacks become the ones it uses instead, and
    /// attributes are left out.
    pub fn encode(&self, reply: &mut ReplyWriter<'_>) {
        match self {
            Self::Simple(text) => reply.simple(text),
            Self::Error(text) => reply.error(text),
            Self::Integer(value) => reply.integer(*value),
            Self::Bulk(bytes) => reply.bulk(bytes),
            Self::Null => reply.null(),
            Self::NullArray => reply.null_array(),
            Self::Array(elements) => {
                reply.array(elements.len());
                elements.iter().for_each(|element| element.encode(reply));
            }
            Self::Set(elements) => {
                reply.set(elements.len());
                elements.iter().for_each(|element| element.encode(reply));
            }
            Self::Push(elements) => {
                reply.push(elements.len());
                elements.iter().for_each(|element| element.encode(reply));
            }
            Self::Map(pairs) => {
                reply.map(pairs.len());
                encode_pairs(pairs, reply);
            }
            Self::Double(value) => reply.double(*value),
            Self::Boolean(value) => reply.boolean(*value),
            Self::BigNumber(digits) => reply.big_number(digits),
            Self::Verbatim { format, text } => reply.verbatim(format, text),
            Self::Attribute { pairs, frame } => {
                if reply.proto().is_resp3() {
                    reply.raw(format!("|{}\r\n", pairs.len()).as_bytes());
                    encode_pairs(pairs, reply);
                }
                frame.encode(reply);
            }
        }
    }
}

fn encode_pairs(pairs: &[(Frame, Frame)], reply: &mut ReplyWriter<'_>) {
    for (key, value) in pairs {
        key.encode(reply);
        value.encode(reply);
    }
}

/// Sigil and content: `+OK`, `-ERR …`, `:1`, `"bulk"`, `null`, `[…]`, `%{…}`, `~{…}`, `>[…]`, `,1.5`, `#t`. With
/// `{:#?}` one element to a line, for comparing two replies.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(f, "+{}", text.escape_ascii()),
            Self::Error(text) => write!(f, "-{}", text.escape_ascii()),
            Self::Integer(value) => write!(f, ":{value}"),
            Self::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::Null => f.write_str("null"),
            Self::NullArray => f.write_str("null-array"),
            Self::Array(elements) => f.debug_list().entries(elements).finish(),
            Self::Map(pairs) => {
                f.write_str("%")?;
                debug_pairs(pairs, f)
            }
            Self::Set(elements) => {
                f.write_str("~")?;
                f.debug_set().entries(elements).finish()
            }
            Self::Push(elements) => {
                f.write_str(">")?;
                f.debug_list().entries(elements).finish()
            }
            Self::Double(value) => write!(f, ",{value}"),
            Self::Boolean(value) => f.write_str(if *value { "#t" } else { "#f" }),
            Self::BigNumber(digits) => write!(f, "({digits}"),
            Self::Verbatim { format, text } => write!(f, "={}:\"{}\"", format, text.escape_ascii()),
            Self::Attribute { pairs, frame } => {
                f.write_str("|")?;
                debug_pairs(pairs, f)?;
                f.write_str(" ")?;
                frame.fmt(f)
            }
        }
    }
}

fn debug_pairs(pairs: &[(Frame, Frame)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.debug_map().entries(pairs.iter().map(|(key, value)| (key, value))).finish()
}

/// The same as `Debug`.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The bytes are not RESP, or exceed a bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// A frame begins with this byte, which is no sigil.
    UnknownType(u8),
    /// The number in a line, a boolean, or the format of a verbatim string is malformed.
    Malformed,
    /// The bytes behind a payload are not CR LF.
    MissingLineEnd,
    /// A length above [`MAX_FRAME_BULK`], or a line longer than [`MAX_FRAME_LINE`].
    TooLong,
    /// Collections nested deeper than [`MAX_FRAME_DEPTH`].
    TooDeep,
    /// The reply takes more memory than the reader's budget.
    TooLarge,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType(byte) => write!(f, "a reply cannot begin with '{}'", byte.escape_ascii()),
            Self::Malformed => f.write_str("malformed number in a reply"),
            Self::MissingLineEnd => f.write_str("missing line end in a reply"),
            Self::TooLong => f.write_str("a string in a reply is too long"),
            Self::TooDeep => f.write_str("a reply is nested too deeply"),
            Self::TooLarge => f.write_str("a reply is larger than allowed"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Read one reply at the start of `buf`; with the number of bytes it took. `None` when it continues beyond the
/// buffer: call again with more, or use a [`FrameReader`], which does not start from the beginning then.
///
/// # Errors
/// The bytes are no reply.
pub fn parse_frame(buf: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
    FrameReader::new().read(buf)
}

/// What is built from a reply: a [`Frame`], or whatever a client needs instead of one.
///
/// A client that prints replies wants the digits of a double as they came; one that only counts replies wants nothing
/// kept at all. Both read with [`ReplyReader`], which knows the wire, and say here what to keep.
pub trait Tree: Sized {
    /// A reply or element without parts.
    fn scalar(scalar: Scalar<'_>) -> Self;

    /// A collection whose elements have all arrived. Maps and attributes have keys and values in turn; the last element
    /// of an attribute is the reply it is about.
    fn collection(kind: Collection, elements: Vec<Self>) -> Self;
}

/// A reply or element without parts, as it stands in the buffer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Scalar<'a> {
    /// `+`
    Simple(&'a [u8]),
    /// `-` or `!`
    Error(&'a [u8]),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(&'a [u8]),
    /// `$-1` or `_`
    Null,
    /// `*-1`
    NullArray,
    /// `#`
    Boolean(bool),
    /// `,`: its value, and its text on the wire.
    Double(f64, &'a str),
    /// `(`: the digits.
    BigNumber(&'a str),
    /// `=`: three characters that name the format, and the text.
    Verbatim(&'a str, &'a [u8]),
}

/// The kinds of collections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Collection {
    /// `*`
    Array,
    /// `%`
    Map,
    /// `~`
    Set,
    /// `>`
    Push,
    /// `|`
    Attribute,
}

impl Tree for Frame {
    fn scalar(scalar: Scalar<'_>) -> Self {
        match scalar {
            Scalar::Simple(text) => Self::Simple(text.to_vec()),
            Scalar::Error(text) => Self::Error(text.to_vec()),
            Scalar::Integer(value) => Self::Integer(value),
            Scalar::Bulk(bytes) => Self::Bulk(bytes.to_vec()),
            Scalar::Null => Self::Null,
            Scalar::NullArray => Self::NullArray,
            Scalar::Boolean(value) => Self::Boolean(value),
            Scalar::Double(value, _) => Self::Double(value),
            Scalar::BigNumber(digits) => Self::BigNumber(digits.to_owned()),
            Scalar::Verbatim(format, text) => {
                Self::Verbatim { format: format.to_owned(), text: text.to_vec() }
            }
        }
    }

    fn collection(kind: Collection, mut elements: Vec<Self>) -> Self {
        match kind {
            Collection::Array => Self::Array(elements),
            Collection::Set => Self::Set(elements),
            Collection::Push => Self::Push(elements),
            Collection::Map => Self::Map(pairs(elements)),
            Collection::Attribute => {
                // An attribute always waits for the frame it is about, so there is a last element.
                let frame = Box::new(elements.pop().unwrap_or(Self::Null));
                Self::Attribute { pairs: pairs(elements), frame }
            }
        }
    }
}

/// An incremental reader of replies as frames; one per connection.
pub type FrameReader = ReplyReader<Frame>;

/// An incremental reader of replies, which builds a [`Tree`] of each; one per connection.
#[derive(Debug)]
pub struct ReplyReader<T> {
    /// First byte that is not understood yet.
    pos: usize,
    /// The line that begins at `pos` has no CR before this offset.
    scanned: usize,
    /// Open collections, the innermost last.
    open: Vec<Open<T>>,
    /// Most bytes that one reply may take in memory, and what the present one has taken.
    budget: usize,
    spent: usize,
}

/// A collection that still misses elements.
#[derive(Debug)]
struct Open<T> {
    kind: Collection,
    missing: usize,
    elements: Vec<T>,
}

/// What one step found.
enum Step<T> {
    /// A frame without open parts.
    Whole(T),
    /// The header of a collection with this many elements.
    Begin(Collection, usize),
}

impl<T> Default for ReplyReader<T> {
    fn default() -> Self {
        Self { pos: 0, scanned: 0, open: Vec::new(), budget: usize::MAX, spent: 0 }
    }
}

impl<T: Tree> ReplyReader<T> {
    /// A reader at the start of a reply.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader that refuses replies of more than `bytes` in memory: what is in the buffer, and what is built from it.
    #[must_use]
    pub fn with_budget(bytes: usize) -> Self {
        Self { budget: bytes, ..Self::default() }
    }

    /// Read one reply at the start of `buf`; with the number of bytes it took.
    ///
    /// After `None`, `buf` must hold the same bytes again, followed by more. After a reply, the next call
    /// begins with the byte behind it.
    ///
    /// # Errors
    /// The bytes are no reply. The reader is reset; the stream has lost its frame boundaries.
    pub fn read(&mut self, buf: &[u8]) -> Result<Option<(T, usize)>, FrameError> {
        let result = self.advance(buf);
        if !matches!(result, Ok(None)) {
            *self = Self { budget: self.budget, ..Self::default() };
        }
        result
    }

    fn advance(&mut self, buf: &[u8]) -> Result<Option<(T, usize)>, FrameError> {
        loop {
            let start = self.pos;
            let step = self.step(buf)?;
            if step.is_some() {
                self.spent += size_of::<T>() + 2 * (self.pos - start);
            }
            if self.spent.saturating_add(buf.len() - self.pos) > self.budget {
                return Err(FrameError::TooLarge);
            }
            let mut whole = match step {
                None => return Ok(None),
                Some(Step::Whole(whole)) => whole,
                Some(Step::Begin(kind, count)) => {
                    if self.open.len() >= MAX_FRAME_DEPTH {
                        return Err(FrameError::TooDeep);
                    }
                    // Elements that cannot fit are not waited for; the smallest takes three bytes, `_` and a line end.
                    let least = size_of::<T>() + 3;
                    if count.saturating_mul(least) > self.budget.saturating_sub(self.spent) {
                        return Err(FrameError::TooLarge);
                    }
                    if count > 0 {
                        let elements = Vec::with_capacity(count.min(RESERVE_AHEAD));
                        self.open.push(Open { kind, missing: count, elements });
                        continue;
                    }
                    T::collection(kind, Vec::new())
                }
            };
            // A whole frame may complete the collection it is in, and that the one around it.
            loop {
                let Some(mut open) = self.open.pop() else { return Ok(Some((whole, self.pos))) };
                open.elements.push(whole);
                open.missing -= 1;
                if open.missing > 0 {
                    self.open.push(open);
                    break;
                }
                whole = T::collection(open.kind, open.elements);
            }
        }
    }

    /// The next scalar or header.
    fn step(&mut self, buf: &[u8]) -> Result<Option<Step<T>>, FrameError> {
        let Some(sigil) = buf.get(self.pos).copied() else { return Ok(None) };
        if !b"+-:$*_,#(=!~%>|".contains(&sigil) {
            return Err(FrameError::UnknownType(sigil));
        }
        let Some((line, next)) = self.line(buf)? else { return Ok(None) };
        let scalar = match sigil {
            b'+' => Scalar::Simple(line),
            b'-' => Scalar::Error(line),
            b':' => Scalar::Integer(integer(line)?),
            b'_' if line.is_empty() => Scalar::Null,
            b'#' => match line {
                b"t" => Scalar::Boolean(true),
                b"f" => Scalar::Boolean(false),
                _ => return Err(FrameError::Malformed),
            },
            b',' => Scalar::Double(double(line)?, text(line)?),
            b'(' => Scalar::BigNumber(big_number(line)?),
            b'$' if line == b"-1" => Scalar::Null,
            b'*' if line == b"-1" => Scalar::NullArray,
            b'$' | b'=' | b'!' => {
                let length = length(line)?;
                if length > self.budget.saturating_sub(self.spent) {
                    return Err(FrameError::TooLarge);
                }
                let Some((payload, next)) = payload(buf, next, length)? else { return Ok(None) };
                self.pos = next;
                return blob(sigil, payload).map(|scalar| Some(Step::Whole(T::scalar(scalar))));
            }
            _ => {
                let (kind, count) = collection(sigil, length(line)?)?;
                self.pos = next;
                return Ok(Some(Step::Begin(kind, count)));
            }
        };
        self.pos = next;
        Ok(Some(Step::Whole(T::scalar(scalar))))
    }

    /// The text between the sigil at `pos` and its line end, and the offset behind that.
    fn line<'b>(&mut self, buf: &'b [u8]) -> Result<Option<(&'b [u8], usize)>, FrameError> {
        let start = self.pos + 1;
        let from = self.scanned.max(start);
        let end = memchr(b'\r', buf.get(from..).unwrap_or_default()).map(|at| from + at);
        if end.unwrap_or(buf.len()) > start.saturating_add(MAX_FRAME_LINE) {
            return Err(FrameError::TooLong);
        }
        let Some(end) = end else {
            self.scanned = buf.len();
            return Ok(None);
        };
        self.scanned = end;
        match buf.get(end + 1) {
            None => Ok(None),
            Some(b'\n') => Ok(Some((&buf[start..end], end + 2))),
            Some(_) => Err(FrameError::MissingLineEnd),
        }
    }
}

fn pairs(elements: Vec<Frame>) -> Vec<(Frame, Frame)> {
    let mut pairs = Vec::with_capacity(elements.len() / 2);
    let mut elements = elements.into_iter();
    while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
        pairs.push((key, value));
    }
    pairs
}

/// The collection that `sigil` begins, and the number of frames that `len` announces.
fn collection(sigil: u8, len: usize) -> Result<(Collection, usize), FrameError> {
    let doubled = len.checked_mul(2).ok_or(FrameError::TooLong)?;
    Ok(match sigil {
        b'*' => (Collection::Array, len),
        b'~' => (Collection::Set, len),
        b'>' => (Collection::Push, len),
        b'%' => (Collection::Map, doubled),
        b'|' => (Collection::Attribute, doubled + 1),
        other => return Err(FrameError::UnknownType(other)),
    })
}

/// The `len` bytes at `start` and the offset behind their line end.
fn payload(buf: &[u8], start: usize, len: usize) -> Result<Option<(&[u8], usize)>, FrameError> {
    if len > MAX_FRAME_BULK {
        return Err(FrameError::TooLong);
    }
    match buf.get(start..start + len + 2) {
        Some([payload @ .., b'\r', b'\n']) => Ok(Some((payload, start + len + 2))),
        Some(_) => Err(FrameError::MissingLineEnd),
        None => Ok(None),
    }
}

fn blob(sigil: u8, payload: &[u8]) -> Result<Scalar<'_>, FrameError> {
    match (sigil, payload) {
        (b'$', _) => Ok(Scalar::Bulk(payload)),
        (b'!', _) => Ok(Scalar::Error(payload)),
        (_, [_, _, _, b':', body @ ..]) if payload[..3].is_ascii() => {
            Ok(Scalar::Verbatim(text(&payload[..3])?, body))
        }
        _ => Err(FrameError::Malformed),
    }
}

fn text(line: &[u8]) -> Result<&str, FrameError> {
    std::str::from_utf8(line).map_err(|_| FrameError::Malformed)
}

fn integer(line: &[u8]) -> Result<i64, FrameError> {
    text(line)?.parse().map_err(|_| FrameError::Malformed)
}

/// A length or count: digits only.
fn length(line: &[u8]) -> Result<usize, FrameError> {
    if !line.iter().all(u8::is_ascii_digit) {
        return Err(FrameError::Malformed);
    }
    text(line)?.parse().map_err(|_| FrameError::Malformed)
}

fn double(line: &[u8]) -> Result<f64, FrameError> {
    // The number grammar of Rust covers the one of RESP3, `inf`, `-inf` and `nan` included.
    text(line)?.parse().map_err(|_| FrameError::Malformed)
}

fn big_number(line: &[u8]) -> Result<&str, FrameError> {
    let digits = line.strip_prefix(b"-").or_else(|| line.strip_prefix(b"+")).unwrap_or(line);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(FrameError::Malformed);
    }
    text(line)
}
