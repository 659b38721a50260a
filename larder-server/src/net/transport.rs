//! The byte stream below a connection: TCP, a Unix socket, TLS over TCP.

use super::tls::TlsStream;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::buffer::spare_capacity;
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::SockRef;
use std::io::{self, IoSlice, Read as _, Write as _};

/// A connected socket.
pub(crate) enum Transport {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream>),
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// This many bytes, possibly none, and whether there may be more at once.
    Bytes {
        /// How many.
        count: usize,
        /// Whether it is worth reading again without waiting for an event.
        may_be_more: bool,
    },
    /// The peer will send nothing more.
    End,
}

impl Transport {
    /// Reads once, into the free room behind what `into` holds, which must not be zero.
    ///
    /// A read that does not fill the room has emptied the socket, so the next event will tell of more.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>) -> io::Result<Received> {
        match self {
            Transport::Tcp(stream) => read_plain(stream, into),
            Transport::Unix(stream) => read_plain(stream, into),
            Transport::Tls(stream) => stream.read(into),
        }
    }

    /// Writes once; 0 only if the socket takes nothing now, and then an event will tell when it does.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let written = match self {
                Transport::Tcp(stream) => stream.write(bytes),
                Transport::Unix(stream) => stream.write(bytes),
                Transport::Tls(stream) => stream.write(bytes),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                other => return other,
            }
        }
    }

    /// [`Transport::write`] for several pieces, one after the other.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let written = match self {
                Transport::Tcp(stream) => stream.write_vectored(pieces),
                Transport::Unix(stream) => stream.write_vectored(pieces),
                Transport::Tls(_) => return pieces.first().map_or(Ok(0), |first| self.write(first)),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                other => return other,
            }
        }
    }

    /// Whether it has bytes of its own to send, beside those it was given.
    #[inline]
    pub(crate) fn wants_write(&self) -> bool {
        match self {
            Transport::Tcp(_) | Transport::Unix(_) => false,
            Transport::Tls(stream) => stream.wants_write(),
        }
    }

    /// Ends the connection so that the last reply arrives: closing a socket with unread bytes makes the system reset
    /// the connection, and what was sent last might be lost. So what has come in by now is read and forgotten.
    pub(crate) fn hang_up(&mut self) {
        if let Transport::Tls(stream) = self {
            stream.say_good_bye();
        }
        let stream = match self {
            Transport::Tcp(stream) => SockRef::from(&*stream),
            Transport::Unix(stream) => SockRef::from(&*stream),
            Transport::Tls(stream) => SockRef::from(stream.socket()),
        };
        let _peer_may_be_gone = stream.shutdown(std::net::Shutdown::Write);
        let mut unread = [0; 16 * 1024];
        for _bounded in 0..16 {
            if !matches!((&*stream).read(&mut unread), Ok(1..)) {
                break;
            }
        }
    }

    /// The socket, to be registered with a poll.
    pub(crate) fn source(&mut self) -> &mut dyn Source {
        match self {
            Transport::Tcp(stream) => stream,
            Transport::Unix(stream) => stream,
            Transport::Tls(stream) => stream.socket_mut(),
        }
    }
}

/// Whether it is no failure: nothing to do now, or interrupted.
pub(crate) fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn read_plain(stream: impl AsFd, into: &mut Vec<u8>) -> io::Result<Received> {
    let room = into.capacity() - into.len();
    // Not `read`: that takes the detour through the file system.
    match rustix::net::recv(stream, spare_capacity(into), RecvFlags::empty()).map(|(count, _)| count) {
        Ok(0) => Ok(Received::End),
        Ok(count) => Ok(Received::Bytes { count, may_be_more: count == room }),
        Err(Errno::WOULDBLOCK) => Ok(Received::Bytes { count: 0, may_be_more: false }),
        Err(Errno::INTR) => Ok(Received::Bytes { count: 0, may_be_more: true }),
        Err(error) => Err(error.into()),
    }
}

/// What a connection listens to: always readable, writable only while it has unsent bytes, because a Unix socket would
/// otherwise report every reply that its peer has read.
pub(crate) fn interest(wants_write: bool) -> Interest {
    if wants_write { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE }
}

/// Registers a socket for the first time.
///
/// # Errors
/// The system's.
pub(crate) fn register(transport: &mut Transport, registry: &Registry, token: Token) -> io::Result<()> {
    transport.source().register(registry, token, interest(false))
}
