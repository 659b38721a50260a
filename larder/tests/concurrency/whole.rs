//! Commands about all keys, while others work on them.

use crate::support::{Caller, Rng, elements, engine, watched};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Each thread counts the keys of a database of its own, while others write to theirs and two more are exchanged.
#[test]
fn dbsize_knows_ones_own_writes() {
    watched(|| {
        let engine = engine();
        thread::scope(|scope| {
            for db in 0..3 {
                let engine = &engine;
                scope.spawn(move || {
                    let (mut caller, mut rng) = (Caller::new(engine), Rng(db));
                    let mut model = BTreeSet::new();
                    caller.ok(&format!("SELECT {db}"));
                    for _ in 0..3000 {
                        let key = rng.below(60);
                        if rng.below(2) == 0 {
                            caller.ok(&format!("SET key:{key} value"));
                            model.insert(key);
                        } else {
                            caller.ok(&format!("DEL key:{key}"));
                            model.remove(&key);
                        }
                        assert_eq!(caller.int("DBSIZE"), model.len() as i64);
                    }
                });
            }
            scope.spawn(|| {
                let mut caller = Caller::new(&engine);
                (0..300).for_each(|_| drop(caller.ok("SWAPDB 8 9")));
            });
        });
        engine.check_invariants();
    });
}

/// A walk returns every key that is there all the time, while others come and go and tables grow and shrink.
#[test]
fn scan_returns_what_is_there_throughout() {
    const STAYING: usize = 500;
    watched(|| {
        let engine = engine();
        let mut caller = Caller::new(&engine);
        (0..STAYING).for_each(|number| drop(caller.ok(&format!("SET staying:{number} 1"))));
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for seed in 0..2u64 {
                let (engine, is_over) = (&engine, &is_over);
                scope.spawn(move || {
                    let (mut caller, mut grows) = (Caller::new(engine), true);
                    while !is_over.load(Ordering::Acquire) {
                        for number in 0..4000 {
                            let command = if grows { "SET" } else { "DEL" };
                            let value = if grows { "1" } else { "" };
                            caller.ok(&format!("{command} coming:{seed}:{number} {value}"));
                        }
                        grows = !grows;
                    }
                });
            }
            for _ in 0..25 {
                let mut seen = BTreeSet::new();
                let mut cursor = b"0".to_vec();
                loop {
                    let reply = elements(caller.call(&[b"SCAN", &cursor[..], b"COUNT", b"50"]));
                    let [next, keys] = <[_; 2]>::try_from(reply).expect("a cursor and keys");
                    seen.extend(elements(keys).iter().filter_map(|key| key.as_bytes().map(<[u8]>::to_vec)));
                    cursor = next.as_bytes().expect("a cursor").to_vec();
                    if cursor == b"0" {
                        break;
                    }
                }
                let staying = seen.iter().filter(|key| key.starts_with(b"staying:")).count();
                assert_eq!(staying, STAYING);
            }
            is_over.store(true, Ordering::Release);
        });
        engine.check_invariants();
    });
}
