//! One connection: requests go out, replies come in, and nothing waits longer than it was told to.
//!
//! Reads wake up ten times a second to look at the clock and at Ctrl-C. What has arrived stays in one buffer until its
//! reply is whole; the reader bounds what a reply may take, so a server can neither hang a client nor fill its memory.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use larder_resp::{FrameError, ReplyReader, Tree, write_command};
use rustls::{ClientConnection, StreamOwned};
use socket2::{SockRef, TcpKeepalive};

use crate::options::Target;
use crate::reply::Reply;
use crate::{interrupt, tls};

/// How often a waiting read looks at the clock.
const TICK: Duration = Duration::from_millis(100);

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// A buffer that one large reply has grown is given back beyond this.
const KEEP: usize = 4 * CHUNK;

/// Idle connections are probed so often, in order to notice a peer that has gone without a word.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Why a connection cannot be used, or not any more.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no connection: the whole message.
    Connect(String),
    /// The server closed the connection.
    Closed,
    /// The system's words.
    Io(String),
    /// What came is no reply.
    Protocol(FrameError),
    /// Nothing came for so long.
    Timeout(Duration),
    /// Ctrl-C.
    Interrupted,
    /// Something on our own side: a file, the arguments. The whole message.
    Local(String),
    /// An error reply that ends everything; it has been shown.
    Refused,
    /// Standard output is closed: nobody reads any more.
    Output,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) | Self::Local(why) => f.write_str(why),
            Self::Closed => f.write_str("Error: Server closed the connection"),
            Self::Io(why) => write!(f, "Error: {why}"),
            Self::Protocol(why) => write!(f, "Error: Protocol error, {why}"),
            Self::Timeout(limit) => write!(
                f,
                "Error: the server has not answered for {} seconds (--timeout)",
                limit.as_secs_f64()
            ),
            Self::Interrupted => f.write_str("Interrupted"),
            Self::Refused => f.write_str("the server refused"),
            Self::Output => f.write_str("standard output is closed"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(reason(&error)),
        }
    }
}

/// An error in the system's words alone: without Rust's number behind them and its phrase before them.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    text.rsplit_once("address information: ").map_or(text, |(_, why)| why).to_owned()
}

/// The kinds of connections.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    fn open(target: &Target) -> io::Result<Self> {
        if let Some(path) = &target.socket {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(TICK))?;
            stream.set_write_timeout(Some(TICK))?;
            return Ok(Self::Unix(stream));
        }
        let stream = tcp(&target.host, target.port, target.connect_timeout)?;
        match &target.tls {
            None => Ok(Self::Tcp(stream)),
            Some(settings) => {
                let session = tls::client(settings, &target.host).map_err(io::Error::other)?;
                Ok(Self::Tls(Box::new(StreamOwned::new(session, stream))))
            }
        }
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            // Records are buffered inside, so they must be pushed on.
            Self::Tls(stream) => {
                let written = stream.write(bytes)?;
                match stream.flush() {
                    Err(error) if !is_wait(&error) => Err(error),
                    _ => Ok(written),
                }
            }
        }
    }

    pub(crate) fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(on),
            Self::Unix(stream) => stream.set_nonblocking(on),
            Self::Tls(stream) => stream.sock.set_nonblocking(on),
        }
    }
}

fn tcp(host: &str, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + limit;
    let mut last = io::Error::other("no address");
    for address in (host, port).to_socket_addrs()? {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(TICK))?;
                stream.set_write_timeout(Some(TICK))?;
                let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
                SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

pub(crate) fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// A connection with what has arrived on it.
#[derive(Debug)]
pub(crate) struct Link {
    transport: Transport,
    inbox: Inbox<Reply>,
}

impl Link {
    /// A new connection, without any greeting.
    ///
    /// # Errors
    /// [`Failure::Connect`], with the place and the reason.
    pub(crate) fn open(target: &Target) -> Result<Self, Failure> {
        let transport = Transport::open(target).map_err(|error| {
            Failure::Connect(format!("Could not connect to Redis at {}: {}", target.place(), reason(&error)))
        })?;
        Ok(Self { transport, inbox: Inbox::new(target.max_reply) })
    }

    /// Sends all of `bytes`. `limit`: longest time without progress.
    pub(crate) fn send(&mut self, mut bytes: &[u8], limit: Option<Duration>) -> Result<(), Failure> {
        let mut since = Instant::now();
        while !bytes.is_empty() {
            match self.transport.write(bytes) {
                Ok(0) => return Err(Failure::Closed),
                Ok(count) => {
                    bytes = &bytes[count..];
                    since = Instant::now();
                }
                Err(error) if is_wait(&error) => patience(since, limit)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends a command.
    pub(crate) fn command<A: AsRef<[u8]>>(
        &mut self,
        args: &[A],
        limit: Option<Duration>,
    ) -> Result<(), Failure> {
        let mut request = Vec::new();
        write_command(&mut request, args);
        self.send(&request, limit)
    }

    /// The next reply. `limit`: longest time until it is whole.
    pub(crate) fn read(&mut self, limit: Option<Duration>) -> Result<Reply, Failure> {
        let since = Instant::now();
        loop {
            if let Some(reply) = self.take()? {
                return Ok(reply);
            }
            match self.fill() {
                Ok(()) => {}
                Err(error) if is_wait(&error) => {}
                Err(error) => return Err(error.into()),
            }
            patience(since, limit)?;
        }
    }

    /// Sends a command and gives its reply; messages out of band that come before it are dropped.
    pub(crate) fn call<A: AsRef<[u8]>>(
        &mut self,
        args: &[A],
        limit: Option<Duration>,
    ) -> Result<Reply, Failure> {
        self.command(args, limit)?;
        loop {
            match self.read(limit)? {
                Reply::Push(_) => {}
                reply => return Ok(reply),
            }
        }
    }

    /// Sends commands together and gives their replies.
    pub(crate) fn pipeline<A: AsRef<[u8]>>(
        &mut self,
        commands: &[Vec<A>],
        limit: Option<Duration>,
    ) -> Result<Vec<Reply>, Failure> {
        let mut request = Vec::new();
        commands.iter().for_each(|args| write_command(&mut request, args));
        self.send(&request, limit)?;
        let mut replies = Vec::with_capacity(commands.len());
        while replies.len() < commands.len() {
            match self.read(limit)? {
                Reply::Push(_) => {}
                reply => replies.push(reply),
            }
        }
        Ok(replies)
    }

    /// The connection itself, when all that was asked has been answered.
    pub(crate) fn into_transport(self) -> Transport {
        self.transport
    }

    /// From now on only [`Link::poll_now`] and [`Link::write_now`] may be used, or no more.
    pub(crate) fn set_nonblocking(&self, on: bool) -> Result<(), Failure> {
        Ok(self.transport.set_nonblocking(on)?)
    }

    /// The next reply, if it has arrived.
    pub(crate) fn poll_now(&mut self) -> Result<Option<Reply>, Failure> {
        if let Some(reply) = self.take()? {
            return Ok(Some(reply));
        }
        match self.fill() {
            Err(error) if is_wait(&error) => patience(Instant::now(), None).map(|()| None),
            Err(error) => Err(error.into()),
            Ok(()) => self.take(),
        }
    }

    /// Sends what the socket takes at once, which may be nothing.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        match self.transport.write(bytes) {
            Ok(0) if !bytes.is_empty() => Err(Failure::Closed),
            Err(error) if is_wait(&error) => Ok(0),
            other => Ok(other?),
        }
    }

    /// Replies that have already arrived, without waiting; `Err` when the connection is gone.
    pub(crate) fn poll(&mut self) -> Result<Option<Reply>, Failure> {
        if let Some(reply) = self.take()? {
            return Ok(Some(reply));
        }
        self.transport.set_nonblocking(true)?;
        let filled = self.fill();
        self.transport.set_nonblocking(false)?;
        match filled {
            Err(error) if !is_wait(&error) => Err(error.into()),
            _ => self.take(),
        }
    }

    fn take(&mut self) -> Result<Option<Reply>, Failure> {
        self.inbox.take().map_err(Failure::Protocol)
    }

    fn fill(&mut self) -> io::Result<()> {
        self.inbox.fill(|into| self.transport.read(into)).map(|_| ())
    }
}

/// What has arrived on a connection and is not a whole reply yet.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    /// All of it initialised, so that reading into it costs no zeroing.
    buffer: Vec<u8>,
    /// What has arrived and has not been taken.
    start: usize,
    end: usize,
    reader: ReplyReader<T>,
}

impl<T: Tree> Inbox<T> {
    /// Empty; a reply takes at most `budget` bytes of memory.
    pub(crate) fn new(budget: usize) -> Self {
        Self { buffer: vec![0; CHUNK], start: 0, end: 0, reader: ReplyReader::with_budget(budget) }
    }

    /// The next whole reply.
    pub(crate) fn take(&mut self) -> Result<Option<T>, FrameError> {
        if self.start == self.end {
            return Ok(None);
        }
        let found = self.reader.read(&self.buffer[self.start..self.end])?;
        Ok(found.map(|(reply, consumed)| {
            self.start += consumed;
            reply
        }))
    }

    /// Reads once; whether there was more to read than there was room.
    pub(crate) fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > KEEP {
                self.buffer = vec![0; CHUNK];
            }
        }
        if self.buffer.len() - self.end < CHUNK / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            // As much as is there already, so that a large reply takes few steps, within a bound.
            let more = self.end.clamp(CHUNK, 16 * CHUNK);
            if self.buffer.len() - self.end < CHUNK / 2 {
                self.buffer.resize(self.end + more, 0);
            }
        }
        let count = read(&mut self.buffer[self.end..])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += count;
        Ok(self.end == self.buffer.len())
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.sock.as_fd(),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

/// Whether to go on waiting.
fn patience(since: Instant, limit: Option<Duration>) -> Result<(), Failure> {
    if interrupt::taken() {
        return Err(Failure::Interrupted);
    }
    match limit {
        Some(limit) if since.elapsed() >= limit => Err(Failure::Timeout(limit)),
        _ => Ok(()),
    }
}
