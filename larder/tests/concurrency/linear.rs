//! Linearizability of small histories.
//!
//! Threads run a few operations each on keys of their own round and note when each began and ended, on one counter.
//! The history is right if its operations can be put into one order that a single-threaded model agrees with, in which
//! no operation comes before one that had ended when it began. The search for such an order is that of Wing and Gong
//! (1993) with the memory of visited states that Lowe (2017) adds.

use crate::support::{Caller, Rng, elements, engine, watched};
use larder::Engine;
use larder_resp::Frame;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

/// An operation on the keys of a round.
#[derive(Debug, Clone)]
enum Op {
    Get(u8),
    Set(u8, i64),
    Incr(u8),
    CompareAndSet(u8, i64, i64),
    Delete(u8),
    Push(i64),
    Pop,
    Rename(u8, u8),
    /// Several at once.
    Multi(Vec<Op>),
}

/// What an operation answers.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Value(Option<i64>),
    All(Vec<Answer>),
}

/// The model: registers, and one list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Model {
    registers: BTreeMap<u8, i64>,
    list: VecDeque<i64>,
}

impl Model {
    fn apply(&mut self, op: &Op) -> Answer {
        let value = match op {
            Op::Get(key) => self.registers.get(key).copied(),
            Op::Set(key, value) => {
                self.registers.insert(*key, *value);
                Some(1)
            }
            Op::Incr(key) => {
                let value = self.registers.entry(*key).or_default();
                *value += 1;
                Some(*value)
            }
            Op::CompareAndSet(key, old, new) => match self.registers.get_mut(key) {
                Some(value) if value == old => {
                    *value = *new;
                    Some(1)
                }
                _ => None,
            },
            Op::Delete(key) => Some(i64::from(self.registers.remove(key).is_some())),
            Op::Push(value) => {
                self.list.push_front(*value);
                Some(self.list.len() as i64)
            }
            Op::Pop => self.list.pop_back(),
            Op::Rename(from, to) => self.registers.remove(from).map(|value| {
                self.registers.insert(*to, value);
                1
            }),
            Op::Multi(ops) => return Answer::All(ops.iter().map(|op| self.apply(op)).collect()),
        };
        Answer::Value(value)
    }
}

impl Op {
    /// The request of a single operation in round `round`.
    fn request(&self, round: u64) -> String {
        match self {
            Op::Get(key) => format!("GET r{round}:{key}"),
            Op::Set(key, value) => format!("SET r{round}:{key} {value}"),
            Op::Incr(key) => format!("INCR r{round}:{key}"),
            Op::CompareAndSet(key, old, new) => format!("SET r{round}:{key} {new} IFEQ {old}"),
            Op::Delete(key) => format!("DEL r{round}:{key}"),
            Op::Push(value) => format!("LPUSH r{round}:list {value}"),
            Op::Pop => format!("RPOP r{round}:list"),
            Op::Rename(from, to) => format!("RENAME r{round}:{from} r{round}:{to}"),
            Op::Multi(_) => unreachable!("several requests"),
        }
    }

    fn run(&self, caller: &mut Caller, round: u64) -> Answer {
        let Op::Multi(ops) = self else { return answer(&caller.run(&self.request(round))) };
        caller.ok("MULTI");
        ops.iter().for_each(|op| drop(caller.ok(&op.request(round))));
        Answer::All(elements(caller.ok("EXEC")).iter().map(answer).collect())
    }

    fn random(rng: &mut Rng) -> Op {
        let (key, other, value) = (rng.below(2) as u8, rng.below(2) as u8, rng.below(4) as i64);
        match rng.below(10) {
            0..=1 => Op::Get(key),
            2 => Op::Set(key, value),
            3 => Op::Incr(key),
            4 => Op::CompareAndSet(key, value, value + 1),
            5 => Op::Delete(key),
            6 => Op::Push(value),
            7 => Op::Pop,
            8 if key != other => Op::Rename(key, other),
            8 => Op::Multi(vec![Op::Push(value), Op::Push(value + 10)]),
            _ => Op::Multi(vec![Op::Get(0), Op::Incr(0), Op::Incr(1), Op::Get(1)]),
        }
    }
}

fn answer(frame: &Frame) -> Answer {
    Answer::Value(match frame {
        Frame::Null | Frame::Error(_) => None,
        Frame::Simple(_) => Some(1),
        other => Some(crate::support::int(other)),
    })
}

/// An operation with its answer, and when it began and ended.
#[derive(Debug, Clone)]
struct Event {
    op: Op,
    answer: Answer,
    began: u64,
    ended: u64,
}

/// Whether the model agrees with the history in some order; at most 64 operations.
fn is_linearizable(history: &[Event]) -> bool {
    fn search(history: &[Event], done: u64, model: &Model, seen: &mut HashSet<(u64, Model)>) -> bool {
        if done.count_ones() as usize == history.len() {
            return true;
        }
        if !seen.insert((done, model.clone())) {
            return false;
        }
        let is_open = |nth: usize| done & (1 << nth) == 0;
        let first_end = (0..history.len()).filter(|nth| is_open(*nth)).map(|nth| history[nth].ended).min();
        // Only what had begun when the first of the open ones ended can be next.
        (0..history.len()).filter(|nth| is_open(*nth) && Some(history[*nth].began) < first_end).any(|nth| {
            let mut next = model.clone();
            next.apply(&history[nth].op) == history[nth].answer
                && search(history, done | 1 << nth, &next, seen)
        })
    }
    search(history, 0, &Model::default(), &mut HashSet::new())
}

/// Runs `rounds` rounds on so many threads, with keys KEYS, SWAPDB and the like from one more if there are several.
fn run(engine: &Arc<Engine>, threads: u64, rounds: u64, operations: usize) {
    let clock = AtomicU64::new(1);
    let barrier = Barrier::new(threads as usize);
    let histories: Vec<Vec<Vec<Event>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| {
                let (clock, barrier) = (&clock, &barrier);
                scope.spawn(move || {
                    let (mut caller, mut rng) = (Caller::new(engine), Rng(threads * 100 + thread));
                    (0..rounds)
                        .map(|round| {
                            barrier.wait();
                            let round = threads * 1_000_000 + round;
                            (0..operations)
                                .map(|_| {
                                    let op = Op::random(&mut rng);
                                    let began = clock.fetch_add(1, Ordering::SeqCst);
                                    let answer = op.run(&mut caller, round);
                                    let ended = clock.fetch_add(1, Ordering::SeqCst);
                                    Event { op, answer, began, ended }
                                })
                                .collect()
                        })
                        .collect()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread of the history")).collect()
    });
    for round in 0..rounds as usize {
        let history: Vec<Event> = histories.iter().flat_map(|rounds| rounds[round].clone()).collect();
        assert!(is_linearizable(&history), "no order explains {history:#?}");
    }
}

#[test]
fn histories_have_an_order() {
    watched(|| {
        let engine = engine();
        run(&engine, 1, 200, 12);
        run(&engine, 2, 1500, 5);
        run(&engine, 4, 1500, 4);
        engine.check_invariants();
    });
}

#[test]
fn wrong_histories_are_found_out() {
    let event =
        |op: Op, value: Option<i64>, began, ended| Event { op, answer: Answer::Value(value), began, ended };
    let write = event(Op::Set(0, 7), Some(1), 1, 4);
    let early = event(Op::Get(0), Some(7), 2, 3);
    assert!(is_linearizable(&[write.clone(), early.clone()]));
    // A read that sees the write, and then one that does not.
    let late = event(Op::Get(0), None, 5, 6);
    assert!(!is_linearizable(&[write.clone(), early, late.clone()]));
    // The write had ended when the read began.
    assert!(!is_linearizable(&[write, late]));
    // One element taken twice.
    let push = event(Op::Push(3), Some(1), 1, 2);
    let pops = [event(Op::Pop, Some(3), 3, 6), event(Op::Pop, Some(3), 4, 5)];
    assert!(!is_linearizable(&[push, pops[0].clone(), pops[1].clone()]));
}
