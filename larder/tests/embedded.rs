//! The embedded API: typed calls against a model, threads, futures, connections.

mod still_clock;

use larder::client::Push;
use larder::effects::Heard;
use larder::fault::Fault;
use larder::persist::aof::Fsync;
use larder::{Larder, Options, SetOptions, Ttl};
use larder_resp::Frame;
use proptest::prelude::*;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Call {
    Get(u8),
    Set(u8, Vec<u8>, u8, Option<u16>),
    Del(u8),
    Exists(u8),
    Expire(u8, u16),
    Ttl(u8),
    IncrBy(u8, i64),
    Pass(u16),
}

fn call() -> impl Strategy<Value = Call> {
    let key = 0u8..6;
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (-100i64..100).prop_map(|number| number.to_string().into_bytes()),
        (1000usize..1100).prop_map(|len| vec![b'x'; len]),
    ];
    prop_oneof![
        key.clone().prop_map(Call::Get),
        (key.clone(), value, 0u8..4, prop::option::of(1u16..300))
            .prop_map(|(k, v, c, t)| Call::Set(k, v, c, t)),
        key.clone().prop_map(Call::Del),
        key.clone().prop_map(Call::Exists),
        (key.clone(), 0u16..300).prop_map(|(k, t)| Call::Expire(k, t)),
        key.clone().prop_map(Call::Ttl),
        (key, any::<i64>()).prop_map(|(k, n)| Call::IncrBy(k, n)),
        (0u16..200).prop_map(Call::Pass),
    ]
}

/// A value and when it expires, by a clock that begins at 0.
type Model = HashMap<u8, (Vec<u8>, Option<u64>)>;

fn check(larder: &Larder, model: &mut Model, now: u64, call: Call) -> Result<(), TestCaseError> {
    model.retain(|_, (_, at)| at.is_none_or(|at| at > now));
    match call {
        Call::Get(key) => {
            prop_assert_eq!(larder.get([key]).unwrap(), model.get(&key).map(|(value, _)| value.clone()));
        }
        Call::Set(key, value, condition, ttl) => {
            let there = model.get(&key).map(|(value, _)| value.clone());
            let ttl_option = ttl.map_or(Ttl::Never, |ms| Ttl::In(Duration::from_millis(u64::from(ms))));
            let options = SetOptions::new().ttl(ttl_option);
            let (options, is_met) = match condition {
                0 => (options, true),
                1 => (options.if_absent(), there.is_none()),
                2 => (options.if_present(), there.is_some()),
                _ => (options.if_equal("7"), there.as_deref() == Some(b"7")),
            };
            prop_assert_eq!(larder.set_with([key], &value, options).unwrap(), is_met);
            if is_met {
                model.insert(key, (value, ttl.map(|ms| now + u64::from(ms))));
            }
        }
        Call::Del(key) => prop_assert_eq!(larder.del([key]).unwrap(), model.remove(&key).is_some()),
        Call::Exists(key) => prop_assert_eq!(larder.exists([key]).unwrap(), model.contains_key(&key)),
        Call::Expire(key, ms) => {
            let is_there = larder.expire([key], Duration::from_millis(u64::from(ms))).unwrap();
            prop_assert_eq!(is_there, model.contains_key(&key));
            if let Some((_, at)) = model.get_mut(&key) {
                *at = Some(now + u64::from(ms));
            }
        }
        Call::Ttl(key) => {
            let expected = model
                .get(&key)
                .map(|(_, at)| at.map_or(Ttl::Never, |at| Ttl::In(Duration::from_millis(at - now))));
            prop_assert_eq!(larder.ttl([key]).unwrap(), expected);
            let both = model
                .get(&key)
                .map(|(value, at)| (value.clone(), at.map(|at| Duration::from_millis(at - now))));
            prop_assert_eq!(larder.get_with_ttl([key]).unwrap(), both);
        }
        Call::IncrBy(key, increment) => {
            let text =
                model.get(&key).map_or("0".into(), |(value, _)| String::from_utf8_lossy(value).into_owned());
            let before = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
            let after = match before {
                None => Err(Fault::NOT_INTEGER),
                Some(before) => before.checked_add(increment).ok_or(Fault::INCREMENT_OVERFLOW),
            };
            prop_assert_eq!(larder.incr_by([key], increment), after.clone());
            if let Ok(after) = after {
                model.entry(key).or_default().0 = after.to_string().into_bytes();
            }
        }
        Call::Pass(_) => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Direct calls, and the same calls made as commands because somebody watches them.
    #[test]
    fn typed_calls_do_what_their_commands_do(calls in prop::collection::vec(call(), 1..200), watched: bool) {
        let (larder, clock) = still_clock::open();
        let mut monitor = larder.connect();
        if watched {
            monitor.execute(&["MONITOR"]);
        }
        let (mut model, mut now) = (Model::new(), 0);
        for call in calls {
            if let Call::Pass(ms) = call {
                now += u64::from(ms);
                clock.pass_ms(u64::from(ms));
            }
            check(&larder, &mut model, now, call)?;
        }
    }
}

#[test]
fn a_buffer_gets_the_value_and_nothing_else() {
    let (larder, _clock) = still_clock::open();
    let mut buffer = b"before".to_vec();
    for watched in [false, true] {
        let mut watcher = larder.connect();
        if watched {
            watcher.execute(&["MONITOR"]);
        }
        larder.set("text", "some words").unwrap();
        larder.set("number", "-17").unwrap();
        larder.sadd("set", &["member"]).unwrap();
        assert!(larder.get_into("text", &mut buffer).unwrap());
        assert_eq!(buffer, b"some words");
        assert!(larder.get_into("number", &mut buffer).unwrap());
        assert_eq!(buffer, b"-17");
        assert!(!larder.get_into("absent", &mut buffer).unwrap());
        assert_eq!(buffer, b"");
        assert_eq!(larder.get_into("set", &mut buffer).unwrap_err().code(), "WRONGTYPE");
    }
}

#[test]
fn an_expiry_that_is_no_time_is_an_error() {
    let (larder, _) = still_clock::open();
    for ttl in [Ttl::In(Duration::ZERO), Ttl::In(Duration::MAX), Ttl::At(std::time::UNIX_EPOCH)] {
        let result = larder.set_with("a", "1", SetOptions::new().ttl(ttl));
        assert_eq!(result, Err(Fault::invalid_expire("set")));
    }
    assert!(!larder.exists("a").unwrap());
}

#[test]
fn direct_calls_are_logged_and_heard() {
    let (larder, _) = still_clock::open();
    let log = larder.engine().read_log();
    let events = larder.engine().listen(100);
    larder.set("a", "1").unwrap();
    larder.set_for("a", "2", Duration::from_millis(500)).unwrap();
    larder.incr_by("a", 3).unwrap();
    larder.expire("a", Duration::from_millis(700)).unwrap();
    larder.del("a").unwrap();
    larder.del("a").unwrap();
    let logged: Vec<String> = std::iter::from_fn(|| log.poll())
        .map(|record| {
            let words: Vec<_> = record.steps[0].1.as_request().iter().map(String::from_utf8_lossy).collect();
            words.join(" ")
        })
        .collect();
    let start = still_clock::START_MS;
    let expected = [
        "SET a 1".to_owned(),
        format!("SET a 2 PXAT {}", start + 500),
        "INCRBY a 3".into(),
        format!("PEXPIREAT a {}", start + 700),
        "DEL a".into(),
    ];
    assert_eq!(logged, expected);
    let heard: Vec<_> = std::iter::from_fn(|| events.poll())
        .map(|heard| match heard {
            Heard::Event(event) => event.event.name,
            Heard::Missed(_) => "missed",
        })
        .collect();
    assert_eq!(heard, ["set", "set", "expire", "incrby", "expire", "del"]);
}

#[test]
fn threads_share_a_handle() {
    const THREADS: u64 = 8;
    const EACH: u64 = 5000;
    let larder = Larder::open(Options::default()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let larder = larder.clone();
            scope.spawn(move || {
                for nth in 0..EACH {
                    larder.incr_by("direct", 1).unwrap();
                    larder.execute(&["INCR", "command"]);
                    larder.set(format!("{thread}:{nth}"), nth.to_string()).unwrap();
                }
            });
        }
    });
    let all = THREADS * EACH;
    assert_eq!(larder.get("direct").unwrap().unwrap(), all.to_string().into_bytes());
    assert_eq!(larder.get("command").unwrap().unwrap(), all.to_string().into_bytes());
    assert_eq!(larder.len().unwrap() as u64, all + 2);
    assert!(larder.engine().stats.sum(|stats| &stats.processed) >= 3 * all);
}

#[test]
fn shared_calls_cannot_change_their_connection() {
    let (larder, _) = still_clock::open();
    for command in [&["MULTI"][..], &["select", "1"], &["SUBSCRIBE", "a"], &["CLIENT", "REPLY", "OFF"]] {
        assert!(larder.execute(command).is_error(), "{command:?}");
    }
    assert_eq!(larder.execute(&["PING"]), Frame::simple("PONG"));
    assert!(larder.execute::<&str>(&[]).is_error());
    assert!(larder.execute(&["NO-SUCH-COMMAND"]).is_error());
    assert!(larder.execute(&["GET"]).is_error());
}

#[test]
fn handles_have_their_database() {
    let (larder, _) = still_clock::open();
    let other = larder.database(3).unwrap();
    larder.set("a", "0").unwrap();
    other.set("a", "3").unwrap();
    assert_eq!(other.execute(&["GET", "a"]), Frame::bulk("3"));
    assert_eq!(larder.execute(&["GET", "a"]), Frame::bulk("0"));
    assert_eq!(other.get("a").unwrap().as_deref(), Some(b"3".as_slice()));
    assert_eq!(other.connect().execute(&["GET", "a"]), Frame::bulk("3"));
    assert!(larder.database(16).is_none());
}

#[test]
fn connections_have_transactions_and_subscriptions() {
    let (larder, _) = still_clock::open();
    let mut connection = larder.connect();
    connection.execute(&["WATCH", "a"]);
    larder.set("a", "1").unwrap();
    connection.execute(&["MULTI"]);
    connection.execute(&["INCR", "a"]);
    assert!(connection.execute(&["EXEC"]).is_null());
    connection.execute(&["MULTI"]);
    connection.execute(&["INCR", "a"]);
    assert_eq!(connection.execute(&["EXEC"]), Frame::Array(vec![Frame::Integer(2)]));
    let replies = connection.execute(&["SUBSCRIBE", "one", "two"]);
    assert_eq!(replies.as_elements().unwrap().len(), 2);
    assert_eq!(larder.publish("two", "hello").unwrap(), 1);
    assert!(matches!(connection.push(), Some(Push::Message { payload, .. }) if *payload == *b"hello"));
    assert!(connection.push().is_none());
    drop(connection);
    assert_eq!(larder.publish("two", "hello").unwrap(), 0);
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn futures_finish_short_and_long_commands() {
    let (larder, _) = still_clock::open();
    assert_eq!(block_on(larder.execute_async(&["SET", "a", "1"])), Frame::simple("OK"));
    assert!(block_on(larder.execute_async(&["MULTI"])).is_error());
    let (one, other) = ("ab".repeat(500), "ba".repeat(500));
    larder.mset(&[("one", one), ("other", other)]).unwrap();
    let lcs = ["LCS", "one", "other", "LEN"];
    let future = larder.execute_async(&lcs);
    let waker = Waker::noop();
    let mut future = Box::pin(future);
    let first = future.as_mut().poll(&mut Context::from_waker(waker));
    assert!(first.is_pending(), "a million cells are work for a thread of ours");
    assert_eq!(block_on(future), Frame::Integer(999));
    let many: Vec<_> = (0..20).map(|_| larder.execute_async(&lcs)).collect();
    many.into_iter().for_each(|future| assert_eq!(block_on(future), Frame::Integer(999)));
}

#[test]
fn futures_wait_without_blocking() {
    let (larder, _) = still_clock::open();
    larder.execute(&["CLIENT", "PAUSE", "100000", "WRITE"]);
    let mut waiting = Box::pin(larder.execute_async(&["INCR", "a"]));
    let mut given_up = Box::pin(larder.execute_async(&["INCR", "a"]));
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    assert!(given_up.as_mut().poll(&mut context).is_pending());
    drop(given_up);
    assert_eq!(larder.get("a").unwrap(), None);
    let handle = larder.clone();
    let unpause = std::thread::spawn(move || handle.execute(&["CLIENT", "UNPAUSE"]));
    assert_eq!(block_on(waiting), Frame::Integer(1));
    unpause.join().unwrap();
}

#[test]
fn blocking_calls_wait_too() {
    let (larder, _) = still_clock::open();
    larder.execute(&["CLIENT", "PAUSE", "100000", "ALL"]);
    let handle = larder.clone();
    let setter = std::thread::spawn(move || handle.set("a", "1"));
    let handle = larder.clone();
    let getter = std::thread::spawn(move || handle.execute(&["DBSIZE"]));
    larder.execute(&["CLIENT", "UNPAUSE"]);
    setter.join().unwrap().unwrap();
    assert!(!getter.join().unwrap().is_error());
    assert!(larder.exists("a").unwrap());
}

#[test]
fn typed_calls_of_all_types() {
    let (larder, _) = still_clock::open();
    let list = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    assert_eq!(larder.hset("h", &[("a", "1"), ("b", "2")]).unwrap(), 2);
    assert_eq!(larder.hget("h", "a").unwrap().unwrap(), b"1");
    assert_eq!(larder.hgetall("h").unwrap().len(), 2);
    assert_eq!(larder.hincr_by("h", "a", 4).unwrap(), 5);
    assert_eq!(larder.hdel("h", &["a", "z"]).unwrap(), 1);
    assert_eq!(larder.sadd("s", &["x", "y", "x"]).unwrap(), 2);
    assert!(larder.sismember("s", "x").unwrap());
    assert_eq!(larder.srem("s", &["x"]).unwrap(), 1);
    assert_eq!(larder.smembers("s").unwrap(), list(&["y"]));
    assert_eq!(larder.scard("s").unwrap(), 1);
    assert_eq!(larder.get("s"), Err(Fault::WRONG_TYPE));
    assert_eq!(larder.lpush("h", &["x"]).unwrap_err().code(), larder.hget("s", "x").unwrap_err().code());
    assert_eq!(larder.rpush("l", &["b", "c"]).unwrap(), 2);
    assert_eq!(larder.lpush("l", &["a"]).unwrap(), 3);
    assert_eq!(larder.lrange("l", 0, -1).unwrap(), list(&["a", "b", "c"]));
    assert_eq!(larder.lpop("l").unwrap().unwrap(), b"a");
    assert_eq!(larder.rpop("l").unwrap().unwrap(), b"c");
    assert_eq!(larder.llen("l").unwrap(), 1);
    assert_eq!(larder.zadd("z", &[(1.5, "x"), (-2.0, "y")]).unwrap(), 2);
    assert_eq!(larder.zincr_by("z", 0.25, "x").unwrap(), 1.75);
    assert_eq!(larder.zscore("z", "nobody").unwrap(), None);
    assert_eq!(larder.zrange("z", 0, -1).unwrap(), list(&["y", "x"]));
    let scored = larder.zrange_with_scores("z", 0, -1).unwrap();
    assert_eq!(scored, [(b"y".to_vec(), -2.0), (b"x".to_vec(), 1.75)]);
    assert_eq!(larder.zrem("z", &["x"]).unwrap(), 1);
    larder.mset(&[("a", "1"), ("b", "2")]).unwrap();
    assert_eq!(
        larder.mget(&["a", "nothing", "b"]).unwrap(),
        [Some(b"1".to_vec()), None, Some(b"2".to_vec())]
    );
    assert_eq!(larder.del_all(&["a", "b", "nothing"]).unwrap(), 2);
    larder.flush().unwrap();
    assert!(larder.is_empty().unwrap());
}

#[test]
fn a_directory_keeps_what_was_written_and_belongs_to_one() {
    let dir = std::env::temp_dir().join(format!("larder-embedded-{}", std::process::id()));
    for fsync in [Fsync::Always, Fsync::EverySecond, Fsync::No] {
        let open = || {
            let options = Options::default();
            options.config.set_fsync(fsync);
            Larder::open_dir(&dir, options)
        };
        let larder = open().unwrap();
        let before = larder.incr_by("opened", 1).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let larder = &larder;
                scope.spawn(move || {
                    (0..50).for_each(|nth| larder.set(format!("{thread}:{nth}"), "v").unwrap())
                });
            }
        });
        let error = open().err().expect("it is in use").to_string();
        assert!(error.contains("another process is using appendonlydir"), "{error}");
        let mut connection = larder.connect();
        for command in [&["MULTI"][..], &["RPUSH", "list", "a"], &["SELECT", "3"], &["INCR", "n"], &["EXEC"]]
        {
            assert!(!connection.execute(command).is_error());
        }
        drop(connection);
        drop(larder);
        let larder = open().unwrap();
        assert_eq!(larder.incr_by("opened", 1).unwrap(), before + 1);
        assert_eq!(larder.execute(&["DBSIZE"]).as_integer(), Some(202));
        assert_eq!(
            larder.database(3).unwrap().get("n").unwrap(),
            larder.execute(&["LLEN", "list"]).as_integer().map(|len| len.to_string().into_bytes())
        );
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
