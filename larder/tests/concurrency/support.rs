//! Callers with a thread of their own, a clock that obeys, and a watchdog.

use larder::engine::Step;
use larder::lane::Lane;
use larder::time::Clock;
use larder::{Engine, Options, Session};
use larder_resp::{Frame, OwnedRequest, parse_frame};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// A clock that moves when it is told to. The clock for durations moves a little each time it is read, so that work
/// with a budget of time comes to its end.
pub(crate) struct StillClock {
    unix_ms: AtomicU64,
    elapsed_us: AtomicU64,
}

/// Where a still clock begins.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

impl StillClock {
    pub(crate) fn new() -> Arc<StillClock> {
        Arc::new(StillClock { unix_ms: AtomicU64::new(START_MS), elapsed_us: AtomicU64::new(0) })
    }

    pub(crate) fn set_ms(&self, unix_ms: u64) {
        self.unix_ms.store(unix_ms, Ordering::SeqCst);
    }

    pub(crate) fn advance_ms(&self, ms: u64) {
        self.unix_ms.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::SeqCst)
    }
}

impl Clock for StillClock {
    fn unix_us(&self) -> u64 {
        self.now_ms() * 1000
    }

    fn elapsed_us(&self) -> u64 {
        self.elapsed_us.fetch_add(1, Ordering::SeqCst)
    }
}

/// An engine whose clock stands still.
pub(crate) fn still_engine() -> (Arc<Engine>, Arc<StillClock>) {
    let clock = StillClock::new();
    (engine_at(&clock), clock)
}

/// An engine with this clock.
pub(crate) fn engine_at(clock: &Arc<StillClock>) -> Arc<Engine> {
    Engine::open(Options { threads: 4, clock: Arc::clone(clock) as _, seed: 7, ..Options::default() })
}

/// An engine in real time.
pub(crate) fn engine() -> Arc<Engine> {
    Engine::open(Options { threads: 4, seed: 7, ..Options::default() })
}

/// A connection with the thread that made it: requests go in, replies come out, long commands are run in between by a
/// lane of their own as a worker would.
pub(crate) struct Caller {
    pub(crate) engine: Arc<Engine>,
    pub(crate) session: Session,
    lane: Lane,
    worker: Lane,
    /// How often a request had to wait, and how often it was handed to the worker.
    pub(crate) parked: usize,
    pub(crate) handed_over: usize,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Caller {
    pub(crate) fn new(engine: &Arc<Engine>) -> Caller {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        Caller {
            engine: Arc::clone(engine),
            session: engine.connect(Default::default(), waker),
            lane: engine.lane(true),
            worker: engine.lane(false),
            parked: 0,
            handed_over: 0,
        }
    }

    /// Sends a request and waits for its reply.
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Frame {
        let out = self.send(args);
        let (frame, len) = parse_frame(&out).expect("a reply is well-formed").expect("a reply is complete");
        assert_eq!(len, out.len(), "one reply for one request");
        frame
    }

    /// Sends a request and waits for the bytes that answer it.
    pub(crate) fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Vec<u8> {
        let request = OwnedRequest::from_slices(args);
        let mut out = Vec::new();
        loop {
            self.lane.begin_turn();
            match self.engine.execute(&mut self.lane, &mut self.session, request.as_request(), &mut out) {
                Step::Done | Step::Close => break,
                Step::Parked => {
                    self.parked += 1;
                    std::thread::park();
                }
                Step::Long(job) => {
                    self.handed_over += 1;
                    out.extend(self.engine.run_job(&mut self.worker, &self.session, &job));
                    break;
                }
            }
        }
        out
    }

    /// [`Caller::call`] with the words of a line.
    pub(crate) fn run(&mut self, line: &str) -> Frame {
        self.call(&line.split_ascii_whitespace().collect::<Vec<_>>())
    }

    /// [`Caller::run`] for a request that does not fail.
    pub(crate) fn ok(&mut self, line: &str) -> Frame {
        let reply = self.run(line);
        assert!(!matches!(reply, Frame::Error(_)), "{line}: {reply:?}");
        reply
    }

    /// The integer that a request answers.
    pub(crate) fn int(&mut self, line: &str) -> i64 {
        int(&self.run(line))
    }

    /// Does background work until none is left; returns how many ticks that took.
    pub(crate) fn tick_all(&mut self) -> usize {
        let mut ticks = 1;
        while self.engine.tick(&mut self.lane) == larder::runtime::Backlog::More {
            ticks += 1;
        }
        ticks
    }
}

/// The number in a reply, be it an integer or a string.
pub(crate) fn int(frame: &Frame) -> i64 {
    match frame {
        Frame::Integer(number) => *number,
        Frame::Bulk(digits) => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("a number: {frame:?}")),
        _ => panic!("a number: {frame:?}"),
    }
}

/// The elements of a reply.
pub(crate) fn elements(frame: Frame) -> Vec<Frame> {
    let shown = format!("{frame:?}");
    frame.into_elements().unwrap_or_else(|| panic!("elements: {shown}"))
}

/// The strings in a reply, sorted.
pub(crate) fn strings(frame: Frame) -> Vec<Vec<u8>> {
    let mut strings: Vec<Vec<u8>> =
        elements(frame).iter().map(|element| element.as_bytes().unwrap_or(b"(nil)").to_vec()).collect();
    strings.sort();
    strings
}

/// Runs a test, and ends the process if it hangs.
pub(crate) fn watched(test: impl FnOnce()) {
    const PATIENCE: Duration = Duration::from_secs(300);
    let (done, is_done) = channel::<()>();
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let watchdog = std::thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{name} hangs");
            std::process::abort();
        }
    });
    test();
    drop(done);
    watchdog.join().expect("the watchdog");
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same seed gives the same test.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }
}
