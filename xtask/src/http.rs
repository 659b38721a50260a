//! Requests to web applications for measurements: connections that are kept, and many of them at once.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::Rng;

/// How long an answer may take: far beyond what any needs, so that a hang ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection of HTTP/1.1 to a server that says how long its answers are.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The first `Set-Cookie`, without its attributes.
    pub(crate) cookie: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(addr: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection { stream: BufReader::with_capacity(64 * 1024, stream), line: String::new() })
    }

    /// Sends a request, the bytes of [`request`], and reads the answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.send(request)?;
        self.receive()
    }

    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(request)
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let status = self.line()?.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no status"))?;
        let (mut length, mut cookie) = (0, None);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("set-cookie") && cookie.is_none() {
                cookie = value.split(';').next().map(str::to_owned);
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, cookie, body })
    }

    fn line(&mut self) -> io::Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.line.trim_end())
    }
}

/// The bytes of a request as a page of the same host would send it.
pub(crate) fn request(method: &str, path: &str, cookie: &str, json: &str) -> Vec<u8> {
    let cookie = if cookie.is_empty() { String::new() } else { format!("cookie: {cookie}\r\n") };
    let body = if json.is_empty() {
        "\r\n".to_owned()
    } else {
        format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{json}", json.len())
    };
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: same-origin\r\n{cookie}{body}")
        .into_bytes()
}

/// When a load ends.
pub(crate) enum End<'a> {
    /// After so many requests of each connection.
    After(usize),
    /// When this is set.
    When(&'a AtomicBool),
}

/// What came of a load.
#[derive(Default)]
pub(crate) struct Tally {
    /// Answers by their status; 0 stands for a connection that broke.
    pub(crate) by_status: BTreeMap<u16, u64>,
    pub(crate) time: Duration,
}

impl Tally {
    /// Answers of all kinds.
    pub(crate) fn answers(&self) -> u64 {
        self.by_status.values().sum()
    }

    /// Whether all were good.
    pub(crate) fn is_good(&self) -> bool {
        self.by_status.keys().all(|status| *status == 200)
    }

    pub(crate) fn rate(&self) -> f64 {
        self.answers() as f64 / self.time.as_secs_f64()
    }
}

/// Sends requests over so many connections, each waiting for its answer before its next one. `next` makes a request of
/// the dice of its connection.
///
/// As few threads as there are processors have the connections between them, and each sends on all of its own before it
/// reads from the first: with a thread for each connection most of the time would go into waking threads, on the same
/// processors that answer.
pub(crate) fn load(
    addr: SocketAddr,
    connections: u64,
    end: &End<'_>,
    next: impl Fn(&mut Rng) -> Vec<u8> + Sync,
) -> Tally {
    let start = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let drive = |first: u64| {
        let seeds = (first..=connections).step_by(threads as usize);
        let mut clients: Vec<Client> = seeds.map(Client::new).collect();
        let (mut by_status, mut sent) = (BTreeMap::new(), 0);
        while match end {
            End::After(count) => sent < *count,
            End::When(over) => !over.load(Ordering::Relaxed),
        } {
            sent += 1;
            clients.iter_mut().for_each(|client| client.send(addr, &next));
            for client in &mut clients {
                *by_status.entry(client.receive()).or_insert(0) += 1;
            }
        }
        by_status
    };
    let drive = &drive;
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=threads).map(|first| scope.spawn(move || drive(first))).collect();
        for thread in threads {
            for (status, count) in thread.join().expect("what it calls returns errors") {
                *all.by_status.entry(status).or_insert(0) += count;
            }
        }
    });
    all.time = start.elapsed();
    all
}

/// One of the connections of a load, opened when it is needed.
struct Client {
    rng: Rng,
    connection: Option<Connection>,
}

impl Client {
    fn new(seed: u64) -> Client {
        Client { rng: Rng::new(seed), connection: None }
    }

    fn send(&mut self, addr: SocketAddr, next: impl Fn(&mut Rng) -> Vec<u8>) {
        let request = next(&mut self.rng);
        if self.connection.is_none() {
            self.connection = Connection::open(addr).ok();
        }
        if self.connection.as_mut().is_some_and(|open| open.send(&request).is_err()) {
            self.connection = None;
        }
    }

    /// The status of the answer; 0 if there was none.
    fn receive(&mut self) -> u16 {
        let answer = self.connection.as_mut().and_then(|open| open.receive().ok());
        if answer.is_none() {
            self.connection = None;
        }
        answer.map_or(0, |answer| answer.status)
    }
}
