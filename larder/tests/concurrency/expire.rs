//! Expiry under a clock that stands still.

use crate::support::{Caller, START_MS, still_engine};
use larder::effects::Heard;
use larder_resp::Frame;

/// The names of the events heard so far of a key.
fn events(listener: &larder::effects::EventListener, key: &[u8]) -> Vec<&'static str> {
    std::iter::from_fn(|| listener.poll())
        .filter_map(|heard| match heard {
            Heard::Event(event) => (*event.key == *key).then_some(event.event.name),
            Heard::Missed(missed) => panic!("{missed} events were missed"),
        })
        .collect()
}

#[test]
fn a_lookup_deletes_what_is_due() {
    let (engine, clock) = still_engine();
    let mut caller = Caller::new(&engine);
    let listener = engine.listen(100);
    caller.ok("SET key value PX 100");
    clock.advance_ms(99);
    assert_eq!(caller.ok("GET key"), Frame::bulk("value"));
    clock.advance_ms(1);
    assert_eq!(caller.ok("GET key"), Frame::Null);
    assert_eq!(events(&listener, b"key"), ["set", "expire", "expired"]);
    assert_eq!(caller.int("DBSIZE"), 0);
    assert_eq!(engine.check_invariants(), 0);
}

#[test]
fn a_tick_deletes_what_nobody_asks_for() {
    let (engine, clock) = still_engine();
    let mut caller = Caller::new(&engine);
    let listener = engine.listen(100);
    caller.ok("SET key value PX 2000");
    caller.ok("SET other value");
    caller.tick_all();
    assert_eq!(caller.int("DBSIZE"), 2);
    clock.advance_ms(2000);
    caller.tick_all();
    assert_eq!(caller.int("DBSIZE"), 1);
    assert_eq!(events(&listener, b"key").last(), Some(&"expired"));
}

#[test]
fn a_storm_of_expiries_is_over_within_bounded_ticks() {
    const KEYS: usize = 200_000;
    let (engine, clock) = still_engine();
    let mut caller = Caller::new(&engine);
    for number in 0..KEYS {
        let db = number % 2;
        if number < 2 || number == KEYS / 2 {
            caller.ok(&format!("SELECT {db}"));
        }
        caller.ok(&format!("SET key:{number} value PX {}", 1000 + number % 50));
    }
    clock.advance_ms(1049);
    let ticks = caller.tick_all();
    assert!(ticks < 2000, "{ticks} ticks");
    assert_eq!(caller.int("DBSIZE"), 0);
    assert_eq!(engine.check_invariants(), 0);
    assert_eq!(engine.data_memory(), 0);
}

#[test]
fn a_clock_set_back_brings_nothing_back() {
    let (engine, clock) = still_engine();
    let mut callers = [Caller::new(&engine), Caller::new(&engine)];
    callers[0].ok("SET key value PX 100");
    callers[0].ok("SET other value PX 100");
    clock.advance_ms(100);
    // Neither a count nor a walk that only looks deletes the key, but the shard has seen the time.
    assert_eq!(callers[0].ok("KEYS *"), Frame::Array(vec![]));
    clock.set_ms(START_MS);
    for caller in &mut callers {
        assert_eq!(caller.ok("GET key"), Frame::Null);
        assert_eq!(caller.ok("EXISTS other"), Frame::Integer(0));
    }
    // And what is set now lives on from the latest time seen.
    callers[1].ok("SET key again PX 50");
    assert_eq!(callers[0].ok("GET key"), Frame::bulk("again"));
    clock.set_ms(START_MS + 149);
    assert_eq!(callers[0].ok("GET key"), Frame::bulk("again"));
    clock.set_ms(START_MS + 150);
    assert_eq!(callers[0].ok("GET key"), Frame::Null);
}

#[test]
fn keys_of_one_command_expire_together() {
    let (engine, clock) = still_engine();
    let mut caller = Caller::new(&engine);
    for number in 0..50 {
        caller.ok(&format!("SET key:{number} value PX 100"));
    }
    clock.advance_ms(100);
    // One shard learns the time; a lane that is behind meets it in the middle of its keys.
    assert_eq!(caller.ok("GET key:25"), Frame::Null);
    clock.advance_ms(0);
    clock.set_ms(START_MS + 99);
    let names: String = (0..50).map(|number| format!(" key:{number}")).collect();
    assert_eq!(caller.int(&format!("EXISTS{names}")), 0);
}

#[test]
fn a_watched_key_that_expires_fails_exec() {
    let (engine, clock) = still_engine();
    let mut caller = Caller::new(&engine);
    caller.ok("SET key value PX 100");
    caller.ok("WATCH key");
    clock.advance_ms(100);
    caller.ok("MULTI");
    caller.ok("PING");
    assert_eq!(caller.ok("EXEC"), Frame::NullArray);
    // One that was due already when it was watched has no way to change but to be set.
    caller.ok("SET key value PX 100");
    clock.advance_ms(100);
    caller.ok("WATCH key");
    caller.tick_all();
    caller.ok("MULTI");
    caller.ok("PING");
    assert_eq!(caller.ok("EXEC"), Frame::Array(vec![Frame::simple("PONG")]));
}

#[test]
fn a_pause_keeps_expired_keys() {
    let (engine, clock) = still_engine();
    let mut caller = Caller::new(&engine);
    caller.ok("SET key value PX 100");
    caller.ok("CLIENT PAUSE 1000 WRITE");
    clock.advance_ms(100);
    caller.tick_all();
    assert_eq!(caller.int("DBSIZE"), 1);
    clock.advance_ms(900);
    caller.tick_all();
    assert_eq!(caller.int("DBSIZE"), 0);
}
