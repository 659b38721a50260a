//! Waiting: who has to, who is woken, and what a panic leaves behind.

use crate::support::{Caller, START_MS, engine_at, still_engine, watched};
use larder::engine::Step;
use larder::lane::Lane;
use larder::time::Clock;
use larder::{Engine, Options, Session};
use larder_resp::{Frame, OwnedRequest};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A connection whose wake-ups are counted, and whose requests are tried once.
struct Counted {
    engine: Arc<Engine>,
    lane: Lane,
    session: Session,
    wakes: Arc<Count>,
}

impl Counted {
    fn new(engine: &Arc<Engine>) -> Counted {
        let wakes = Arc::<Count>::default();
        Counted {
            engine: Arc::clone(engine),
            lane: engine.lane(true),
            session: engine.connect(Default::default(), Waker::from(Arc::clone(&wakes))),
            wakes,
        }
    }

    /// Tries a request; returns whether it was executed.
    fn tries(&mut self, line: &str) -> bool {
        let request = OwnedRequest::from_slices(&line.split(' ').collect::<Vec<_>>());
        self.lane.begin_turn();
        let step =
            self.engine.execute(&mut self.lane, &mut self.session, request.as_request(), &mut Vec::new());
        !matches!(step, Step::Parked)
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }
}

#[test]
fn a_pause_ends_by_time_or_word_and_wakes_each_waiter_once() {
    let (engine, clock) = still_engine();
    let mut other = Caller::new(&engine);
    let mut waiting = Counted::new(&engine);
    other.ok("CLIENT PAUSE 100 WRITE");
    assert!(waiting.tries("GET key"), "reads go on");
    // Tried again without being woken: still one registration.
    assert!(!waiting.tries("SET key value"));
    assert!(!waiting.tries("SET key value"));
    clock.set_ms(START_MS + 100);
    other.tick_all();
    assert_eq!(waiting.wakes(), 1);
    assert!(waiting.tries("SET key value"));
    // A longer and stricter pause joins, a shorter and milder one does not.
    other.ok("CLIENT PAUSE 100 ALL");
    other.ok("CLIENT UNPAUSE");
    clock.set_ms(START_MS + 200);
    let mut pausing = Caller::new(&engine);
    pausing.ok("CLIENT PAUSE 100 WRITE");
    assert!(!waiting.tries("SET key value"));
    pausing.ok("CLIENT UNPAUSE");
    assert_eq!(waiting.wakes(), 2);
    // Who has gone is not woken.
    pausing.ok("CLIENT PAUSE 100 WRITE");
    assert!(!waiting.tries("SET key value"));
    let wakes = Arc::clone(&waiting.wakes);
    drop(waiting);
    pausing.ok("CLIENT UNPAUSE");
    assert_eq!(wakes.0.load(Ordering::SeqCst), 2);
}

#[test]
fn a_transaction_waits_for_a_pause_if_it_writes() {
    let (engine, _) = still_engine();
    let mut other = Caller::new(&engine);
    let [mut reading, mut writing] = [Counted::new(&engine), Counted::new(&engine)];
    for (session, line) in [(&mut reading, "GET key"), (&mut writing, "SET key value")] {
        assert!(session.tries("MULTI") && session.tries(line));
    }
    other.ok("CLIENT PAUSE 100 WRITE");
    assert!(reading.tries("EXEC"));
    assert!(!writing.tries("EXEC"));
    other.ok("CLIENT UNPAUSE");
    assert!(writing.tries("EXEC"));
    assert_eq!(other.ok("GET key"), Frame::bulk("value"));
}

/// A clock that panics when it is read for so many more times; 0 for never. It is read when a turn begins, and then,
/// within a transaction, under the locks.
struct PanickingClock(AtomicUsize);

impl Clock for PanickingClock {
    fn unix_us(&self) -> u64 {
        START_MS * 1000
    }

    fn elapsed_us(&self) -> u64 {
        let left = self.0.load(Ordering::SeqCst);
        self.0.store(left.saturating_sub(1), Ordering::SeqCst);
        assert!(left != 1, "the clock is broken, as this test wants it");
        0
    }
}

#[test]
fn a_panic_under_a_lock_stops_the_engine() {
    watched(|| {
        let clock = Arc::new(PanickingClock(AtomicUsize::new(0)));
        let options = Options { threads: 2, clock: Arc::clone(&clock) as _, seed: 1, ..Options::default() };
        let engine = Engine::open(options);
        let mut caller = Caller::new(&engine);
        caller.ok("WATCH key");
        caller.ok("MULTI");
        caller.ok("SET key value");
        clock.0.store(2, Ordering::SeqCst);
        assert!(catch_unwind(AssertUnwindSafe(|| caller.run("EXEC"))).is_err());
        assert!(engine.is_poisoned());
        for line in ["GET key", "SET other value", "PING", "KEYS *"] {
            let mut other = Caller::new(&engine);
            assert!(matches!(other.run(line), Frame::Error(_)), "{line}");
        }
    });
}

#[test]
fn a_session_that_ends_in_a_panic_elsewhere_poisons_nothing() {
    let engine = engine_at(&crate::support::StillClock::new());
    let its_engine = Arc::clone(&engine);
    let ended = catch_unwind(AssertUnwindSafe(move || {
        let mut caller = Caller::new(&its_engine);
        caller.ok("WATCH key");
        // Its session ends its WATCH, under a lock, while this unwinds.
        panic!("a panic that has nothing to do with the engine, as this test wants it");
    }));
    assert!(ended.is_err() && !engine.is_poisoned());
}

#[test]
fn what_was_published_comes_before_the_end_of_the_subscription() {
    let (engine, _) = still_engine();
    let (mut subscriber, mut publisher) = (Caller::new(&engine), Caller::new(&engine));
    for (subscribe, unsubscribe) in
        [("SUBSCRIBE", "UNSUBSCRIBE"), ("PSUBSCRIBE", "PUNSUBSCRIBE"), ("SUBSCRIBE", "RESET")]
    {
        subscriber.send(&[subscribe, "news"]);
        assert_eq!(publisher.ok("PUBLISH news hello"), Frame::Integer(1));
        let out = String::from_utf8(subscriber.send(&[unsubscribe])).expect("text");
        let message = out.find("message").expect("the message");
        let end = out.to_ascii_uppercase().find(&format!("{unsubscribe}\r\n")).expect("the end");
        assert!(message < end, "{out}");
        assert!(!subscriber.session.client().has_mail());
    }
}

#[test]
fn listeners_and_readers_of_the_log_are_bounded_and_exact() {
    let (engine, _) = still_engine();
    let mut caller = Caller::new(&engine);
    let listener = engine.listen(2);
    let log = engine.read_log();
    (0..5).for_each(|number| drop(caller.ok(&format!("SET key:{number} value"))));
    use larder::effects::Heard;
    let heard: Vec<Heard> = std::iter::from_fn(|| listener.poll()).collect();
    assert!(matches!(heard[..], [Heard::Event(_), Heard::Event(_), Heard::Missed(3)]), "{heard:?}");
    // A command that changes nothing, or fails, leaves nothing behind for the next one.
    caller.ok("SET text hello");
    caller.ok("SADD set a");
    let before = std::iter::from_fn(|| log.poll()).count();
    assert_eq!(before, 7);
    for line in
        ["INCR text", "INCRBYFLOAT text 1", "SPOP text", "SREM set b", "GETDEL nothing", "GETEX nothing PX 1"]
    {
        let _some_fail = caller.run(line);
    }
    assert!(log.poll().is_none());
    caller.ok("SET last value");
    let record = log.poll().expect("a record");
    let words: Vec<&[u8]> = record.steps[0].1.as_request().iter().collect();
    assert_eq!(words, [b"SET".as_slice(), b"last", b"value"]);
}
