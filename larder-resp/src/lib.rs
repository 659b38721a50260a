//! RESP2 and RESP3 between bytes and frames: no I/O, no clock, no threads, no unsafe code.
//!
//! The crate stands on both sides of a connection. A server reads requests with [`Decoder`], whose arguments
//! stay in the read buffer, and appends replies to its output buffer with [`ReplyWriter`]. A client writes
//! requests with [`write_command`] and reads replies with [`FrameReader`]. The caller owns the sockets and the
//! buffers; everything here is a function of bytes.
//!
//! The numbers of the protocol live here as well, because clients see their digits: [`format_g17`] and
//! [`parse_double`] for scores, [`LongDouble`] for `INCRBYFLOAT`.
//!
//! ```
//! use larder_resp::{Decoded, Decoder, Limits, Proto, ReplyWriter};
//!
//! let mut input = b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n*1".to_vec(); // one command and the start of another
//! let mut output = Vec::new();
//! let mut decoder = Decoder::new();
//!
//! if let Decoded::Command { consumed } = decoder.decode(&input, &Limits::default())? {
//!     let request = decoder.request(&input);
//!     let mut reply = ReplyWriter::new(&mut output, Proto::Resp2);
//!     match request.arg(0) {
//!         b"ECHO" => reply.bulk(request.arg(1)),
//!         _ => reply.error("ERR unknown command"),
//!     }
//!     input.drain(..consumed);
//! }
//! assert_eq!(output, b"$5\r\nhello\r\n");
//! assert_eq!(input, b"*1");
//! # Ok::<(), larder_resp::ProtocolError>(())
//! ```
#![forbid(unsafe_code)]

// In the order in which a request and its reply meet them.
mod limits;

mod request;

mod decode;

mod inline;

mod proto;

mod encode;

mod frame;

mod double;

mod long_double;

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;

pub use decode::{Decoded, Decoder, ProtocolError, decode_whole};
pub use double::{G17, Strtod, format_g17, parse_double, strtod, write_double};
pub use encode::{Deferred, Mark, ReplyWriter, write_command};
pub use frame::{Collection, Frame, FrameError, FrameReader, ReplyReader, Scalar, Tree, parse_frame};
pub use inline::split_words;
pub use limits::{
    Limits, MAX_BULK, MAX_BULK_UNAUTHENTICATED, MAX_FRAME_BULK, MAX_FRAME_DEPTH, MAX_FRAME_LINE, MAX_INLINE,
    MAX_MULTIBULK, MAX_MULTIBULK_UNAUTHENTICATED,
};
pub use long_double::LongDouble;
pub use proto::Proto;
pub use request::{Iter, OwnedRequest, Request, Span};
