//! Amounts and tokens that move between keys: whoever looks sees all of them, at any moment.

use crate::support::{Caller, Rng, elements, engine, int, watched};
use larder::Engine;
use larder::runtime::Runtime;
use larder_resp::Frame;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const ACCOUNTS: u64 = 8;
const EACH: i64 = 1000;
const TOTAL: i64 = ACCOUNTS as i64 * EACH;
const MOVERS: u64 = 2;
const TRANSFERS: usize = 1500;
/// Time for transfers between two disturbances, even if who disturbs could go on at once.
const BREATH: Duration = Duration::from_micros(300);

fn accounts() -> String {
    (0..ACCOUNTS).map(|number| format!(" account:{number}")).collect()
}

fn open_accounts(caller: &mut Caller) {
    let all: String = (0..ACCOUNTS).map(|number| format!(" account:{number} {EACH}")).collect();
    // All of them or none: they may have been deleted by somebody, or opened again.
    caller.ok(&format!("MSETNX{all}"));
}

/// The first half of a transfer: looks, under WATCH. `None` if the accounts are gone.
fn look(caller: &mut Caller, rng: &mut Rng) -> Option<[(u64, i64); 2]> {
    let from = rng.below(ACCOUNTS);
    let to = (from + 1 + rng.below(ACCOUNTS - 1)) % ACCOUNTS;
    caller.ok(&format!("WATCH account:{from} account:{to}"));
    let mut have = |number: u64| match caller.ok(&format!("GET account:{number}")) {
        Frame::Null => None,
        amount => Some((number, int(&amount))),
    };
    let accounts = [have(from)?, have(to)?];
    Some(accounts)
}

/// The second half: writes both accounts at once, if nobody has been there since. Returns whether that was so.
fn settle(caller: &mut Caller, rng: &mut Rng, [from, to]: [(u64, i64); 2]) -> bool {
    let amount = rng.below(10) as i64;
    caller.ok("MULTI");
    caller.ok(&format!("SET account:{} {}", from.0, from.1 - amount));
    caller.ok(&format!("SET account:{} {}", to.0, to.1 + amount));
    match caller.ok("EXEC") {
        Frame::NullArray => false,
        Frame::Array(_) => true,
        other => panic!("EXEC: {other:?}"),
    }
}

/// A thread with two connections whose transfers overlap, which makes some of them fail even without other threads.
fn move_amounts(engine: &Arc<Engine>, seed: u64) -> [usize; 2] {
    let mut rng = Rng(seed);
    let mut callers = [Caller::new(engine), Caller::new(engine)];
    let mut outcomes = [0, 0];
    let mut rounds = 0;
    while rounds < TRANSFERS {
        let [first, second] = &mut callers;
        let begun = look(first, &mut rng);
        let overlapping = look(second, &mut rng);
        if begun.is_none() && overlapping.is_none() {
            // Who has deleted the accounts opens them again.
            thread::yield_now();
        } else {
            rounds += 1;
        }
        for (caller, accounts) in [(second, overlapping), (first, begun)] {
            match accounts {
                Some(accounts) => outcomes[usize::from(settle(caller, &mut rng, accounts))] += 1,
                None => drop(caller.ok("UNWATCH")),
            }
        }
    }
    outcomes
}

/// What a reader sees in all accounts together; `None` if there are none.
fn total(amounts: Vec<Frame>) -> Option<i64> {
    if amounts.iter().all(|amount| *amount == Frame::Null) {
        return None;
    }
    Some(amounts.iter().map(int).sum())
}

/// A thread with two connections that looks with MGET and with MULTI until the movers are through.
fn watch_totals(engine: &Arc<Engine>, movers: &AtomicUsize, may_be_gone: bool) {
    let mut callers = [Caller::new(engine), Caller::new(engine)];
    while movers.load(Ordering::Acquire) > 0 {
        let seen = total(elements(callers[0].ok(&format!("MGET{}", accounts()))));
        assert!(seen == Some(TOTAL) || may_be_gone && seen.is_none(), "MGET saw {seen:?}");
        callers[1].ok("MULTI");
        (0..ACCOUNTS).for_each(|number| drop(callers[1].ok(&format!("GET account:{number}"))));
        let seen = total(elements(callers[1].ok("EXEC")));
        assert!(seen == Some(TOTAL) || may_be_gone && seen.is_none(), "MULTI saw {seen:?}");
    }
}

/// Movers and watchers with somebody who disturbs them until they are through.
fn under(disturb: impl Fn(&mut Caller, &mut Rng) + Sync, may_be_gone: bool) {
    watched(|| {
        let engine = engine();
        let _background = Runtime::start(&engine).expect("threads for the background");
        let movers = AtomicUsize::new(MOVERS as usize);
        let mut setup = Caller::new(&engine);
        for db in [1, 0] {
            setup.ok(&format!("SELECT {db}"));
            open_accounts(&mut setup);
        }
        thread::scope(|scope| {
            let threads: Vec<_> = (0..MOVERS)
                .map(|seed| {
                    let (engine, movers) = (&engine, &movers);
                    scope.spawn(move || {
                        let outcomes = move_amounts(engine, seed);
                        movers.fetch_sub(1, Ordering::AcqRel);
                        outcomes
                    })
                })
                .collect();
            scope.spawn(|| watch_totals(&engine, &movers, may_be_gone));
            scope.spawn(|| {
                let (mut caller, mut rng) = (Caller::new(&engine), Rng(99));
                while movers.load(Ordering::Acquire) > 0 {
                    disturb(&mut caller, &mut rng);
                }
            });
            let outcomes = threads.into_iter().map(|thread| thread.join().expect("a mover"));
            let [failed, done] = outcomes.fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
            assert!(failed > 0 && done > 0, "{done} transfers done, {failed} refused: nothing was tested");
        });
        engine.check_invariants();
    });
}

#[test]
fn readers_see_every_amount_while_others_look_around() {
    under(
        |caller, rng| {
            let line =
                ["KEYS account:*", "DBSIZE", "SCAN 0 COUNT 100", "RANDOMKEY", "SWAPDB 2 3", "CLIENT LIST"];
            caller.ok(line[rng.below(line.len() as u64) as usize]);
        },
        false,
    );
}

#[test]
fn readers_see_every_amount_while_databases_are_exchanged() {
    under(|caller, _| drop(caller.ok("SWAPDB 0 1")), false);
}

#[test]
fn readers_see_every_amount_or_none_while_all_is_flushed() {
    under(
        |caller, rng| {
            caller.ok(["FLUSHALL", "FLUSHDB"][rng.below(2) as usize]);
            open_accounts(caller);
            thread::sleep(BREATH);
        },
        true,
    );
}

#[test]
fn readers_see_every_amount_while_clients_are_paused() {
    under(
        |caller, rng| {
            let mode = ["WRITE", "ALL"][rng.below(2) as usize];
            caller.ok(&format!("CLIENT PAUSE {} {mode}", rng.below(3)));
            if rng.below(2) == 0 {
                caller.ok("CLIENT UNPAUSE");
            }
            thread::sleep(BREATH);
        },
        false,
    );
}

/// One key that is renamed among several names, and members that wander between sets and between lists: none is ever
/// seen twice, nor missed.
#[test]
fn what_is_renamed_or_moved_is_in_one_place() {
    const NAMES: u64 = 6;
    const MEMBERS: u64 = 24;
    const MOVES: usize = 4000;
    watched(|| {
        let engine = engine();
        let mut setup = Caller::new(&engine);
        setup.ok("SET name:0 token");
        for member in 0..MEMBERS {
            setup.ok(&format!("SADD set:0 {member}"));
            setup.ok(&format!("RPUSH list:0 {member}"));
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let movers: Vec<_> = (0..3)
                .map(|seed| {
                    let engine = &engine;
                    scope.spawn(move || {
                        let mut rng = Rng(seed);
                        let mut callers = [Caller::new(engine), Caller::new(engine)];
                        for _ in 0..MOVES {
                            let caller = &mut callers[rng.below(2) as usize];
                            let (from, to) = (rng.below(NAMES), rng.below(NAMES));
                            // Often there is nothing to rename, which is an error.
                            let _is_elsewhere = caller.run(&format!("RENAME name:{from} name:{to}"));
                            let member = rng.below(MEMBERS);
                            caller.ok(&format!("SMOVE set:{from} set:{to} {member}"));
                            caller.ok(&format!("LMOVE list:{from} list:{to} LEFT RIGHT"));
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                let names: String = (0..NAMES).map(|name| format!(" name:{name}")).collect();
                let mut callers = [Caller::new(&engine), Caller::new(&engine)];
                while !is_over.load(Ordering::Acquire) {
                    assert_eq!(callers[0].int(&format!("EXISTS{names}")), 1);
                    callers[1].ok("MULTI");
                    for name in 0..NAMES {
                        callers[1].ok(&format!("SCARD set:{name}"));
                        callers[1].ok(&format!("LLEN list:{name}"));
                    }
                    let cards = elements(callers[1].ok("EXEC"));
                    assert_eq!(cards.iter().step_by(2).map(int).sum::<i64>(), MEMBERS as i64);
                    assert_eq!(cards.iter().skip(1).step_by(2).map(int).sum::<i64>(), MEMBERS as i64);
                }
            });
            movers.into_iter().for_each(|mover| mover.join().expect("a mover"));
            is_over.store(true, Ordering::Release);
        });
        engine.check_invariants();
    });
}
