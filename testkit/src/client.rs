//! A blocking RESP client for tests: plain, strict and impatient.
//!
//! Every wait has a limit, so a server that hangs is a failed test with a text that says what was waited for, not a
//! test run that never ends. The client keeps the bytes it has received and not yet parsed, so a frame may come in any
//! number of pieces.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use larder_resp::{Frame, FrameReader};

/// How long an answer may take unless [`Client::set_timeout`] says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a client got no frame.
#[derive(Debug)]
pub enum ClientError {
    /// The limit passed without a whole frame; the text shows what had come so far.
    Hang(String),
    /// The server closed the connection; the text shows the bytes of an unfinished frame.
    Closed(String),
    /// The server sent bytes that are no RESP.
    Protocol(String),
    /// The system refused.
    Io(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Hang(what) => write!(f, "the server hangs: {what}"),
            ClientError::Closed(what) => write!(f, "the server closed the connection: {what}"),
            ClientError::Protocol(what) => write!(f, "the server does not speak RESP: {what}"),
            ClientError::Io(e) => write!(f, "connection: {e}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// A reply: parsed, and as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The parsed frame.
    pub frame: Frame,
    /// Its bytes: they show what the frame no longer does, like the digits of a double.
    pub raw: Vec<u8>,
}

/// TCP or Unix: the only difference a test sees is where it connects.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn set_limits(&self, limit: Duration) -> io::Result<()> {
        // A limit of zero means "none" to the system, the opposite of what is meant.
        let limit = Some(limit.max(Duration::from_millis(1)));
        match self {
            Stream::Tcp(s) => s.set_read_timeout(limit).and_then(|()| s.set_write_timeout(limit)),
            Stream::Unix(s) => s.set_read_timeout(limit).and_then(|()| s.set_write_timeout(limit)),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.read(into),
            Stream::Unix(s) => s.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => s.write(bytes),
            Stream::Unix(s) => s.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    /// Received; everything before `parsed` has been given out.
    received: Vec<u8>,
    parsed: usize,
    /// Knows how far an unfinished frame has been read.
    reader: FrameReader,
    timeout: Duration,
}

impl Client {
    /// Connects over TCP.
    ///
    /// # Panics
    /// When the server does not accept.
    #[must_use]
    pub fn connect(addr: impl ToSocketAddrs + fmt::Debug) -> Client {
        Client::try_connect(&addr).unwrap_or_else(|e| panic!("cannot connect to {addr:?}: {e}"))
    }

    /// Connects over TCP.
    ///
    /// # Errors
    /// When the server does not accept.
    pub fn try_connect(addr: impl ToSocketAddrs) -> io::Result<Client> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        Client::over(Stream::Tcp(stream))
    }

    /// Connects over a Unix socket.
    ///
    /// # Errors
    /// When the server does not accept.
    pub fn connect_unix(path: &Path) -> io::Result<Client> {
        Client::over(Stream::Unix(UnixStream::connect(path)?))
    }

    fn over(stream: Stream) -> io::Result<Client> {
        stream.set_limits(PATIENCE)?;
        Ok(Client { stream, received: Vec::new(), parsed: 0, reader: FrameReader::new(), timeout: PATIENCE })
    }

    /// Changes how long an answer may take.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Sends one command and reads one frame.
    ///
    /// # Panics
    /// When no frame comes; the text names the command.
    pub fn cmd<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Frame {
        self.try_cmd(args).unwrap_or_else(|e| panic!("{}: {e}", show_command(args)))
    }

    /// Sends one command, written as in a terminal (`SET key "two words"`), and reads one frame.
    ///
    /// # Panics
    /// When no frame comes, or a quotation mark is left open.
    pub fn line(&mut self, line: &str) -> Frame {
        self.cmd(&split_line(line))
    }

    /// Sends one command and reads one frame.
    ///
    /// # Errors
    /// When no frame comes in time.
    pub fn try_cmd<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Frame, ClientError> {
        self.try_send_raw(&encode(args))?;
        self.try_read()
    }

    /// Sends all commands in one piece and reads as many frames.
    ///
    /// # Panics
    /// When a frame does not come; the text names its command.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Vec<Frame> {
        let bytes: Vec<u8> = commands.iter().flat_map(|args| encode(args)).collect();
        self.send_raw(&bytes);
        commands
            .iter()
            .map(|args| self.try_read().unwrap_or_else(|e| panic!("{}: {e}", show_command(args))))
            .collect()
    }

    /// Switches the protocol with HELLO and gives the server's answer.
    ///
    /// # Panics
    /// When the answer is an error.
    pub fn hello(&mut self, version: u8) -> Frame {
        let reply = self.cmd(&["HELLO", &version.to_string()]);
        assert!(!matches!(reply, Frame::Error(_)), "HELLO {version}: {reply:?}");
        reply
    }

    /// Sends one command and reads nothing.
    ///
    /// # Panics
    /// When the server does not take the bytes in time.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.send_raw(&encode(args));
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the server does not take them in time.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes).unwrap_or_else(|e| panic!("cannot send {} bytes: {e}", bytes.len()));
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the server does not take them in time.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.stream.set_limits(self.timeout).map_err(ClientError::Io)?;
        self.stream.write_all(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::Hang(format!("{} bytes were not taken within {:?}", bytes.len(), self.timeout))
            }
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                ClientError::Closed("while sending".to_owned())
            }
            _ => ClientError::Io(e),
        })
    }

    /// Reads one frame: a reply or a push.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn read(&mut self) -> Frame {
        self.try_read().unwrap_or_else(|e| panic!("{e}"))
    }

    /// Reads one frame: a reply or a push.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn try_read(&mut self) -> Result<Frame, ClientError> {
        self.try_read_reply().map(|reply| reply.frame)
    }

    /// Reads one frame and keeps its bytes.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn try_read_reply(&mut self) -> Result<Reply, ClientError> {
        let end = Instant::now() + self.timeout;
        loop {
            if let Some(reply) = self.take_reply()? {
                return Ok(reply);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::Hang(format!(
                    "no whole frame within {:?}, so far {}",
                    self.timeout,
                    show_bytes(self.unparsed())
                )));
            }
            self.receive(left)?;
        }
    }

    /// A frame that comes within `limit`, or `None`: to show that nothing is sent.
    ///
    /// # Panics
    /// When the connection fails in another way than by silence.
    pub fn read_within(&mut self, limit: Duration) -> Option<Frame> {
        let before = std::mem::replace(&mut self.timeout, limit);
        let frame = self.try_read();
        self.timeout = before;
        match frame {
            Ok(frame) => Some(frame),
            Err(ClientError::Hang(_)) => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// Reads until the server closes the connection and gives all bytes that came before.
    ///
    /// # Panics
    /// When the server keeps the connection open.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let end = Instant::now() + self.timeout;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "the server keeps the connection open, having sent {}",
                show_bytes(self.unparsed())
            );
            match self.receive(left) {
                Ok(_) => {}
                Err(ClientError::Closed(_)) => {
                    return self.received.split_off(self.parsed);
                }
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Whether the server has closed the connection, looking for at most `limit`. Frames that came are kept.
    pub fn is_closed_within(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            match self.receive(left) {
                Ok(_) => {}
                Err(_) => return true,
            }
        }
    }

    /// Closes the sending side: the server sees the end of the stream and may still answer.
    ///
    /// # Panics
    /// When the connection is already gone.
    pub fn close_sending(&mut self) {
        self.try_close_sending().expect("the connection is open");
    }

    /// Closes the sending side.
    ///
    /// # Errors
    /// When the server has closed the connection before.
    pub fn try_close_sending(&mut self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(s) => s.shutdown(Shutdown::Write),
            Stream::Unix(s) => s.shutdown(Shutdown::Write),
        }
    }

    fn unparsed(&self) -> &[u8] {
        &self.received[self.parsed..]
    }

    fn take_reply(&mut self) -> Result<Option<Reply>, ClientError> {
        match self.reader.read(&self.received[self.parsed..]) {
            Ok(Some((frame, used))) => {
                let raw = self.unparsed()[..used].to_vec();
                self.parsed += used;
                Ok(Some(Reply { frame, raw }))
            }
            Ok(None) => Ok(None),
            Err(e) => Err(ClientError::Protocol(format!("{e:?} in {}", show_bytes(self.unparsed())))),
        }
    }

    /// Waits for more bytes; `false` when none came in time.
    fn receive(&mut self, limit: Duration) -> Result<bool, ClientError> {
        self.stream.set_limits(limit).map_err(ClientError::Io)?;
        let mut piece = [0_u8; 65_536];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(ClientError::Closed(format!("unfinished: {}", show_bytes(self.unparsed())))),
            Ok(n) => {
                self.received.drain(..self.parsed);
                self.parsed = 0;
                self.received.extend_from_slice(&piece[..n]);
                Ok(true)
            }
            Err(e) => match e.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(false),
                io::ErrorKind::Interrupted => Ok(true),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    Err(ClientError::Closed(format!("reset; unfinished: {}", show_bytes(self.unparsed()))))
                }
                _ => Err(ClientError::Io(e)),
            },
        }
    }
}

/// A command as an array of bulk strings.
#[must_use]
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A command as a terminal would take it, for messages and scripts: [`split_line`] reads it back.
#[must_use]
pub fn show_command<A: AsRef<[u8]>>(args: &[A]) -> String {
    let words: Vec<String> = args.iter().map(|arg| show_word(arg.as_ref())).collect();
    words.join(" ")
}

fn show_word(word: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\');
    if !word.is_empty() && word.len() <= 200 && word.iter().all(plain) {
        return String::from_utf8_lossy(word).into_owned();
    }
    let mut out = String::from("\"");
    for &b in word {
        match b {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(b));
            }
            b' '..=b'~' => out.push(char::from(b)),
            _ => out.push_str(&format!("\\x{b:02x}")),
        }
    }
    out.push('"');
    out
}

/// Splits a line into arguments as redis-cli does, by [`larder_resp::split_words`].
///
/// # Panics
/// When a quotation mark is left open: the line stands in a test, so it is the test that is wrong.
#[must_use]
pub fn split_line(line: &str) -> Vec<Vec<u8>> {
    larder_resp::split_words(line.as_bytes()).unwrap_or_else(|| panic!("quotation marks in {line}"))
}

/// Bytes for a message: what can be read stays readable, and long ones are cut.
#[must_use]
pub fn show_bytes(bytes: &[u8]) -> String {
    const SHOWN: usize = 200;
    let text = bytes.get(..SHOWN).unwrap_or(bytes).escape_ascii().to_string();
    if bytes.len() > SHOWN { format!("{text}... ({} bytes)", bytes.len()) } else { format!("{text:?}") }
}
