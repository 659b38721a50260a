//! Every bound of the wire format, with its reason.

/// Longest bulk string of a request, in bytes: the default of `proto-max-bulk-len` (512 MiB).
pub const MAX_BULK: usize = 512 * 1024 * 1024;

/// Most arguments a request may announce. An announcement costs its sender nothing, so the decoder never
/// reserves room for more than a few arguments ahead of their bytes.
pub const MAX_MULTIBULK: usize = i32::MAX as usize;

/// Longest inline command and longest length line (`*…` or `$…`), in bytes (64 KiB).
pub const MAX_INLINE: usize = 64 * 1024;

/// Most arguments of a request before the client has authenticated: enough for `AUTH` and `HELLO`.
pub const MAX_MULTIBULK_UNAUTHENTICATED: usize = 10;

/// Longest bulk string before the client has authenticated, in bytes.
pub const MAX_BULK_UNAUTHENTICATED: usize = 16 * 1024;

/// Deepest nesting [`FrameReader`](crate::FrameReader) follows. Replies of commands nest about five deep; a
/// script may go deeper, and its own limit lies below this one.
pub const MAX_FRAME_DEPTH: usize = 128;

/// Longest string [`FrameReader`](crate::FrameReader) accepts, in bytes: no reply holds more than a stored
/// value plus what a listing such as `INFO` adds.
pub const MAX_FRAME_BULK: usize = 1024 * 1024 * 1024;

/// Longest line [`FrameReader`](crate::FrameReader) accepts (simple strings, errors, numbers), in bytes.
pub const MAX_FRAME_LINE: usize = 64 * 1024 * 1024;

/// Spans a [`Decoder`](crate::Decoder) keeps between two commands; a longer list is freed after its command, so
/// that one huge request does not cost its connection memory for ever.
pub(crate) const KEEP_SPANS: usize = 4096;

/// Bytes of inline scratch a [`Decoder`](crate::Decoder) keeps between two commands.
pub(crate) const KEEP_SCRATCH: usize = 4096;

/// Elements for which room is reserved when a count has been announced but none has arrived.
pub(crate) const RESERVE_AHEAD: usize = 64;

/// What a [`Decoder`](crate::Decoder) accepts from one client at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest argument in bytes (`proto-max-bulk-len`).
    pub max_bulk: usize,
    /// Most arguments of one request.
    pub max_multibulk: usize,
    /// Longest inline command and longest length line in bytes.
    pub max_inline: usize,
    /// Whether the client has authenticated or need not. Until then [`MAX_MULTIBULK_UNAUTHENTICATED`] and
    /// [`MAX_BULK_UNAUTHENTICATED`] hold as well.
    pub authenticated: bool,
}

impl Default for Limits {
    /// The limits of a client that need not authenticate, with the default configuration.
    fn default() -> Self {
        Self { max_bulk: MAX_BULK, max_multibulk: MAX_MULTIBULK, max_inline: MAX_INLINE, authenticated: true }
    }
}
