//! One request: its arguments as spans over one buffer.

use std::fmt;

/// Where one argument lies in the buffer of its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    /// The bytes of this argument in `buf`, or `None` when the span does not lie in it.
    #[inline]
    fn slice(self, buf: &[u8]) -> Option<&[u8]> {
        let start = self.start as usize;
        buf.get(start..start.checked_add(self.len as usize)?)
    }
}

/// A borrowed request: the command name and its arguments, in order.
///
/// Copying it copies two slices. The arguments borrow the read buffer, so nothing was allocated for them.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    buf: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Request<'a> {
    /// A request without a single word.
    pub const NONE: Request<'static> = Request { buf: &[], spans: &[] };

    /// A request over `buf`. Nothing is checked here: a span outside of `buf` reads as an absent argument.
    #[inline]
    #[must_use]
    pub const fn new(buf: &'a [u8], spans: &'a [Span]) -> Self {
        Self { buf, spans }
    }

    /// Number of arguments, the command name included.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is not even a command name. The decoder never yields such a request.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Argument `i`; 0 is the command name.
    #[inline]
    #[must_use]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        self.spans.get(i)?.slice(self.buf)
    }

    /// Argument `i`, or the empty string when there is none.
    #[inline]
    #[must_use]
    pub fn arg(&self, i: usize) -> &'a [u8] {
        self.get(i).unwrap_or_default()
    }

    /// The arguments in order.
    #[inline]
    pub fn iter(&self) -> Iter<'a> {
        Iter { buf: self.buf, spans: self.spans.iter() }
    }

    /// Total length of all arguments in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.spans.iter().map(|span| span.len as usize).sum()
    }

    /// The request without its first `n` arguments; empty when there are fewer.
    #[inline]
    #[must_use]
    pub fn skip(&self, n: usize) -> Request<'a> {
        Request { buf: self.buf, spans: self.spans.get(n..).unwrap_or_default() }
    }

    /// A copy that owns its arguments, in one allocation for the bytes and one for the spans.
    ///
    /// Bytes past 4 GiB, which the decoder never lets in, are cut off.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRequest {
        let mut owned = OwnedRequest::with_capacity(self.len(), self.bytes());
        self.iter().for_each(|arg| owned.push(arg));
        owned
    }
}

impl<'a> IntoIterator for Request<'a> {
    type Item = &'a [u8];
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Request<'a> {
    type Item = &'a [u8];
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for Request<'_> {
    fn eq(&self, other: &Request<'_>) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Request<'_> {}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|arg| arg.escape_ascii().to_string())).finish()
    }
}

/// The arguments of a [`Request`] in order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    buf: &'a [u8],
    spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let buf = self.buf;
        self.spans.next().map(|span| span.slice(buf).unwrap_or_default())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let buf = self.buf;
        self.spans.next_back().map(|span| span.slice(buf).unwrap_or_default())
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// A request that owns its arguments: what `MULTI` queues and what moves to another thread.
#[derive(Clone, Default)]
pub struct OwnedRequest {
    buf: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedRequest {
    /// An empty request with room for `args` arguments of `bytes` bytes in total.
    #[must_use]
    pub fn with_capacity(args: usize, bytes: usize) -> Self {
        Self { buf: Vec::with_capacity(bytes), spans: Vec::with_capacity(args) }
    }

    /// A request made of `args`, the command name first.
    #[must_use]
    pub fn from_slices<A: AsRef<[u8]>>(args: &[A]) -> Self {
        let mut owned = Self::with_capacity(args.len(), args.iter().map(|arg| arg.as_ref().len()).sum());
        args.iter().for_each(|arg| owned.push(arg.as_ref()));
        owned
    }

    /// Append one argument. All arguments together hold at most 4 GiB; bytes beyond are cut off.
    pub fn push(&mut self, arg: &[u8]) {
        let start = u32::try_from(self.buf.len()).unwrap_or(u32::MAX);
        let len = u32::try_from(arg.len()).unwrap_or(u32::MAX).min(u32::MAX - start);
        self.buf.extend_from_slice(&arg[..len as usize]);
        self.spans.push(Span { start, len });
    }

    /// The same request, borrowed.
    #[inline]
    #[must_use]
    pub fn as_request(&self) -> Request<'_> {
        Request { buf: &self.buf, spans: &self.spans }
    }

    /// Heap bytes this request holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buf.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl PartialEq for OwnedRequest {
    fn eq(&self, other: &Self) -> bool {
        self.as_request() == other.as_request()
    }
}

impl Eq for OwnedRequest {}

impl fmt::Debug for OwnedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_request().fmt(f)
    }
}
