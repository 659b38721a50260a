//! The loop of a thread: connections, what they wait for, what it costs them.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use larder_resp::{Collection, Scalar, Tree};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::options::Settings;
use super::random::{Keys, Random};
use super::report::Outcome;
use super::workload::{Batch, Test};
use crate::link::{Failure, Inbox, Transport, is_wait};
use crate::options::Options;
use crate::session::Session;

/// Longest latency that is told apart, in microseconds: an hour.
const LATENCY_MAX: u64 = 3_600_000_000;

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_millis(250);

/// Below this the loop does not sleep, because a sleep would take longer.
const SLEEP_LEAST: Duration = Duration::from_millis(1);

/// A reply of which only its being an error counts.
#[derive(Debug, Default)]
struct Answer(Option<Box<[u8]>>);

impl Tree for Answer {
    fn scalar(scalar: Scalar<'_>) -> Self {
        match scalar {
            Scalar::Error(text) => Self(Some(text.into())),
            _ => Self(None),
        }
    }

    fn collection(_: Collection, elements: Vec<Self>) -> Self {
        // An error inside, as EXEC has them, is the reply's.
        elements.into_iter().find(|element| element.0.is_some()).unwrap_or_default()
    }
}

/// What all threads share.
struct Run {
    /// Requests that have been answered.
    done: AtomicU64,
    /// Somebody has failed: the others may stop.
    stop: AtomicBool,
}

/// Runs one test on all its connections.
pub(super) fn run(settings: &Settings, test: &Test, shows: bool) -> Result<Outcome, Failure> {
    let run = Run { done: AtomicU64::new(0), stop: AtomicBool::new(false) };
    let mut workers = Vec::with_capacity(settings.threads);
    for thread in 0..settings.threads {
        workers.push(Worker::new(settings, test, thread, &run)?);
    }
    let start = Instant::now();
    let failed = Mutex::new(None);
    let mut latencies = histogram();
    std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|worker| {
                let (failed, run) = (&failed, &run);
                scope.spawn(move || match worker.run(start) {
                    Ok(latencies) => Some(latencies),
                    Err(failure) => {
                        run.stop.store(true, Ordering::Relaxed);
                        failed
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .get_or_insert(failure);
                        None
                    }
                })
            })
            .collect();
        if shows {
            progress(&run, settings, test, start, || {
                threads.iter().all(std::thread::ScopedJoinHandle::is_finished)
            });
        }
        for thread in threads {
            if let Ok(Some(own)) = thread.join() {
                // Both have the same bounds, so adding cannot fail.
                let _ = latencies.add(&own);
            }
        }
    });
    let time = start.elapsed();
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(Outcome { title: test.title.clone(), requests: settings.requests, time, latencies }),
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX, 3)
        .expect("the bounds are in order, and three digits are allowed")
}

/// A line that is written over and over, until all is done.
fn progress(run: &Run, settings: &Settings, test: &Test, start: Instant, is_over: impl Fn() -> bool) {
    use std::io::Write as _;
    let mut before = (start, 0);
    while !is_over() {
        // Short naps, so that the end is not slept through.
        let until = Instant::now() + PROGRESS;
        while Instant::now() < until && !is_over() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let (now, done) = (Instant::now(), run.done.load(Ordering::Relaxed));
        let rate = (done - before.1) as f64 / (now - before.0).as_secs_f64().max(1e-9);
        before = (now, done);
        let part = 100.0 * done as f64 / settings.requests as f64;
        let _ = write!(
            std::io::stderr().lock(),
            "\r\x1b[K{}: {part:.0}%, {rate:.0} requests per second",
            test.title
        );
    }
    let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
}

/// A connection.
struct Client {
    transport: Transport,
    inbox: Inbox<Answer>,
    batch: Batch,
    /// Replies that are missing of the last batch.
    missing: usize,
    /// Bytes of the batch that the socket did not take yet.
    unsent: (usize, usize),
    /// From when the latency of the batch counts.
    since: Instant,
}

/// The connections of one thread.
struct Worker<'a> {
    settings: &'a Settings,
    run: &'a Run,
    poll: Poll,
    clients: Vec<Client>,
    keys: Keys,
    random: Random,
    latencies: Histogram<u64>,
    /// Requests that this thread still has to send.
    left: u64,
    /// Requests that it has sent, for the times at which the next are due.
    sent: u64,
    /// Requests per second of this thread.
    rate: Option<f64>,
    /// Connections without a batch, in an open loop.
    idle: Vec<usize>,
}

impl<'a> Worker<'a> {
    fn new(settings: &'a Settings, test: &Test, thread: usize, run: &'a Run) -> Result<Self, Failure> {
        let threads = settings.threads;
        let share = |whole: u64| {
            let (threads, thread) = (threads as u64, thread as u64);
            whole / threads + u64::from(thread < whole % threads)
        };
        let connections = share(settings.connections as u64);
        let poll = Poll::new().map_err(Failure::from)?;
        let keys = Keys::new(settings.keys, settings.zipf);
        let mut clients = Vec::new();
        for index in 0..usize::try_from(connections).unwrap_or(usize::MAX) {
            let transport = connect(settings)?;
            register(&poll, &transport, index)?;
            clients.push(Client {
                transport,
                inbox: Inbox::new(settings.target.max_reply),
                batch: Batch::new(&test.request, settings.pipeline, &keys),
                missing: 0,
                unsent: (0, 0),
                since: Instant::now(),
            });
        }
        Ok(Self {
            settings,
            run,
            poll,
            idle: (0..clients.len()).collect(),
            clients,
            keys,
            random: Random::new(settings.seed.wrapping_add(thread as u64)),
            latencies: histogram(),
            left: share(settings.requests),
            sent: 0,
            rate: settings.rate.map(|rate| rate / threads as f64),
        })
    }

    fn run(mut self, start: Instant) -> Result<Histogram<u64>, Failure> {
        let mut events = Events::with_capacity(1024);
        let mut heard = Instant::now();
        self.feed(start)?;
        while self.left > 0 || self.idle.len() < self.clients.len() {
            if self.run.stop.load(Ordering::Relaxed) {
                break;
            }
            match self.poll.poll(&mut events, Some(self.nap(start))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
                _ => {}
            }
            // A server that answers nothing for so long has stopped.
            let limit = self.settings.target.timeout;
            let is_asked = self.idle.len() < self.clients.len();
            if events.is_empty() && is_asked && !limit.is_zero() && heard.elapsed() > limit {
                return Err(Failure::Timeout(limit));
            }
            for event in &events {
                let index = event.token().0;
                if event.is_writable() {
                    self.flush(index)?;
                }
                heard = Instant::now();
                self.receive(index, heard)?;
            }
            self.feed(start)?;
        }
        Ok(self.latencies)
    }

    /// Gives idle connections something to do.
    fn feed(&mut self, start: Instant) -> Result<(), Failure> {
        while self.left > 0
            && let Some(index) = self.idle.last().copied()
        {
            let since = match self.rate {
                None => Instant::now(),
                Some(rate) => {
                    let due = self.due(start, rate);
                    if due > Instant::now() {
                        return Ok(());
                    }
                    due
                }
            };
            self.idle.pop();
            self.send(index, since)?;
        }
        Ok(())
    }

    /// When the next batch is due in an open loop.
    fn due(&self, start: Instant, rate: f64) -> Instant {
        start + Duration::from_secs_f64(self.sent as f64 / rate)
    }

    /// How long the loop may sleep.
    fn nap(&self, start: Instant) -> Duration {
        let longest = Duration::from_millis(100);
        match self.rate {
            Some(rate) if self.left > 0 && !self.idle.is_empty() => {
                let nap = self.due(start, rate).saturating_duration_since(Instant::now());
                if nap < SLEEP_LEAST { Duration::ZERO } else { (nap - SLEEP_LEAST / 2).min(longest) }
            }
            _ => longest,
        }
    }

    fn send(&mut self, index: usize, since: Instant) -> Result<(), Failure> {
        let count = (self.settings.pipeline as u64).min(self.left);
        self.left -= count;
        self.sent += count;
        let client = &mut self.clients[index];
        client.missing = usize::try_from(count).unwrap_or(usize::MAX);
        client.since = since;
        let len = client.batch.fill(client.missing, &self.keys, &mut self.random).len();
        client.unsent = (0, len);
        self.flush(index)
    }

    fn flush(&mut self, index: usize) -> Result<(), Failure> {
        let client = &mut self.clients[index];
        while client.unsent.0 < client.unsent.1 {
            match client.transport.write(&client.batch.bytes[client.unsent.0..client.unsent.1]) {
                Ok(0) => return Err(Failure::Closed),
                Ok(count) => client.unsent.0 += count,
                Err(error) if is_wait(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, index: usize, now: Instant) -> Result<(), Failure> {
        loop {
            let client = &mut self.clients[index];
            let more = match client.inbox.fill(|into| client.transport.read(into)) {
                Ok(more) => more,
                Err(error) if is_wait(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let latency = now.saturating_duration_since(client.since).as_micros();
            let latency = u64::try_from(latency).unwrap_or(LATENCY_MAX).clamp(1, LATENCY_MAX);
            let mut count = 0;
            while let Some(Answer(error)) = client.inbox.take().map_err(Failure::Protocol)? {
                if let Some(text) = error {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    return Err(Failure::Local(format!("Error from server: {text}")));
                }
                if count == client.missing {
                    return Err(Failure::Local("the server sent more replies than requests".to_owned()));
                }
                count += 1;
            }
            client.missing -= count;
            let is_over = count > 0 && client.missing == 0;
            self.latencies.saturating_record_n(latency, count as u64);
            self.run.done.fetch_add(count as u64, Ordering::Relaxed);
            if is_over {
                self.next(index, now)?;
            }
            // A plain socket that gave less than there was room for is empty; TLS may hold more inside.
            if !more && !matches!(self.clients[index].transport, Transport::Tls(_)) {
                return Ok(());
            }
        }
    }

    /// What a connection does after its batch.
    fn next(&mut self, index: usize, now: Instant) -> Result<(), Failure> {
        if !self.settings.keep_alive && self.left > 0 {
            self.reconnect(index)?;
        }
        if self.rate.is_none() && self.left > 0 {
            return self.send(index, now);
        }
        self.idle.push(index);
        Ok(())
    }

    fn reconnect(&mut self, index: usize) -> Result<(), Failure> {
        let transport = connect(self.settings)?;
        let client = &mut self.clients[index];
        let old = client.transport.as_fd().as_raw_fd();
        // Closing it would do as well, but says so to the system only.
        let _ = self.poll.registry().deregister(&mut SourceFd(&old));
        client.transport = transport;
        client.inbox = Inbox::new(self.settings.target.max_reply);
        register(&self.poll, &self.clients[index].transport, index)
    }
}

/// A connection after all greetings.
fn connect(settings: &Settings) -> Result<Transport, Failure> {
    let options = Options { target: settings.target.clone(), ..Options::default() };
    let transport = Session::new(options).take_link()?.into_transport();
    transport.set_nonblocking(true)?;
    Ok(transport)
}

fn register(poll: &Poll, transport: &Transport, index: usize) -> Result<(), Failure> {
    let fd = transport.as_fd().as_raw_fd();
    let interest = Interest::READABLE | Interest::WRITABLE;
    Ok(poll.registry().register(&mut SourceFd(&fd), Token(index), interest)?)
}
