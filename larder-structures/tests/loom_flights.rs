//! Models of [`Flights`], every interleaving of which loom tries out.
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p larder-structures --release --test loom_flights`
//!
//! The place where results are kept is one of loom's cells, which fails the model when two threads are at it without the
//! lock of the shard between them. The source is a number that only grows; whoever changes it invalidates afterwards,
//! and what is kept must never be older than the last change that has been invalidated.

#![cfg(loom)]

use larder_structures::sync::{Boarding, Flights};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;

/// Checks a model, with at most so many preemptions in a run; `None` for any number.
fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.check(model);
}

const KEY: &[u8] = b"k";
const HASH: u64 = 7;

/// What a load brings, for those who wait; 0 until then.
type Result = Arc<AtomicUsize>;

struct Flight {
    /// The count of sweeps from before it was begun.
    at: usize,
    result: Result,
}

/// A cache of one key, with the source of its value.
struct Cache {
    flights: Flights<u8, Flight, ()>,
    /// What is kept, 0 for nothing, with the count of sweeps it was loaded at.
    near: UnsafeCell<(usize, usize)>,
    /// What a load finds.
    source: AtomicUsize,
    sweeps: AtomicUsize,
}

// SAFETY: the cell is loom's, which fails the model when it is used by two threads at once.
unsafe impl Sync for Cache {}
// SAFETY: as above.
unsafe impl Send for Cache {}

/// A load that has been begun and not ended.
struct Load {
    flight: Arc<Flight>,
    generation: u64,
}

/// What becomes of a caller.
enum Way {
    Loads(Load),
    Waits(Result),
}

impl Way {
    /// The load that it must be.
    fn load(self) -> Load {
        match self {
            Way::Loads(load) => load,
            Way::Waits(_) => panic!("there was a flight to join"),
        }
    }
}

impl Cache {
    fn new() -> Arc<Cache> {
        Arc::new(Cache {
            flights: Flights::new(1),
            near: UnsafeCell::new((0, 0)),
            source: AtomicUsize::new(1),
            sweeps: AtomicUsize::new(0),
        })
    }

    fn keep(&self, value: usize, at: usize) {
        // SAFETY: loom checks that nobody else uses the cell.
        self.near.with_mut(|near| unsafe { *near = (value, at) });
    }

    /// What is kept and valid; 0 for nothing.
    fn kept(&self) -> usize {
        let mut kept = (0, 0);
        self.flights.with_notes(HASH, |()| {
            // SAFETY: loom checks that nobody changes the cell.
            self.near.with(|near| kept = unsafe { *near });
        });
        if kept.1 < self.sweeps.load(Ordering::Acquire) { 0 } else { kept.0 }
    }

    /// Joins the load of the key, or begins one; who has no patience joins none.
    fn board(&self, has_patience: bool) -> Way {
        let at = self.sweeps.load(Ordering::Acquire);
        let generation = self.flights.generation(HASH);
        let join = |flight: &Flight| (has_patience && flight.at == at).then(|| Arc::clone(&flight.result));
        let begin = || {
            let flight = Arc::new(Flight { at, result: Arc::new(AtomicUsize::new(0)) });
            (Arc::clone(&flight), flight)
        };
        match self.flights.board(HASH, KEY, 0, join, |()| None::<()>, begin) {
            Boarding::Begun(flight) => Way::Loads(Load { flight, generation }),
            Boarding::Joined(result) => Way::Waits(result),
            Boarding::Refused(()) => unreachable!("nothing refuses"),
        }
    }

    /// Loads, and ends the flight; returns what was found.
    fn load(&self, load: &Load) -> usize {
        let value = self.source.load(Ordering::Relaxed);
        self.land(load, value);
        value
    }

    fn land(&self, load: &Load, value: usize) {
        let Load { flight, generation } = load;
        self.flights.land(HASH, KEY, 0, flight, Some(*generation), || self.keep(value, flight.at));
        flight.result.store(value, Ordering::Release);
    }

    /// Gets the value if it is to be loaded by this caller.
    fn get(&self) {
        if let Way::Loads(load) = self.board(true) {
            self.load(&load);
        }
    }

    /// Invalidates the key.
    fn remove(&self) {
        self.flights.change(HASH, KEY, None, |(), _| self.keep(0, 0));
    }

    /// Changes the source as one writer among several, and keeps the new value if nobody came in between.
    fn write(&self, value: usize) {
        let begun = self.flights.change(HASH, KEY, None, |(), _| self.keep(0, 0));
        self.source.store(value, Ordering::Relaxed);
        let at = self.sweeps.load(Ordering::Acquire);
        self.flights.change(HASH, KEY, Some(begun), |(), is_alone| {
            self.keep(if is_alone { value } else { 0 }, at);
        });
    }

    /// Nothing is under way, and what is kept is what the source has, or nothing.
    fn is_right(&self) {
        assert_eq!(self.flights.count(), 0, "a flight is left");
        let (kept, right) = (self.kept(), self.source.load(Ordering::Relaxed));
        assert!(kept == 0 || kept == right, "{kept} is kept, and the source has {right}");
    }
}

/// Runs all at the same time, and waits for them.
fn together(cache: &Arc<Cache>, all: &[fn(&Cache)]) {
    let threads: Vec<_> = all
        .iter()
        .map(|run| {
            let (cache, run) = (Arc::clone(cache), *run);
            thread::spawn(move || run(&cache))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

#[test]
fn a1_of_those_who_come_at_the_same_time_one_loads_and_the_others_wait_for_it() {
    check(None, || {
        let cache = Cache::new();
        let other = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || cache.board(true))
        };
        let ways = [cache.board(true), other.join().expect("no panic")];
        let (mut loads, mut waits) = (Vec::new(), Vec::new());
        for way in ways {
            match way {
                Way::Loads(load) => loads.push(load),
                Way::Waits(result) => waits.push(result),
            }
        }
        assert_eq!((loads.len(), waits.len()), (1, 1));
        cache.load(&loads[0]);
        assert_eq!(waits[0].load(Ordering::Acquire), 1);
        assert_eq!(cache.kept(), 1);
        cache.is_right();
    });
}

#[test]
fn a6_the_late_result_of_a_flight_that_was_given_up_is_not_kept() {
    check(None, || {
        let cache = Cache::new();
        let hung = cache.board(true).load();
        let late = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || cache.land(&hung, 1))
        };
        cache.source.store(2, Ordering::Relaxed);
        let load = cache.board(false).load();
        assert_eq!(cache.load(&load), 2);
        late.join().expect("no panic");
        assert_eq!(cache.kept(), 2);
        cache.is_right();
    });
}

/// Somebody loads while the source is changed and then invalidated so; who comes after that gets the new value.
fn a9(invalidate: fn(&Cache)) {
    check(None, move || {
        let cache = Cache::new();
        let other = {
            let cache = Arc::clone(&cache);
            thread::spawn(move || cache.get())
        };
        cache.source.store(2, Ordering::Relaxed);
        invalidate(&cache);
        let way = cache.board(true);
        let value = match way {
            Way::Loads(load) => cache.load(&load),
            Way::Waits(result) => {
                other.join().expect("no panic");
                assert_eq!(result.load(Ordering::Acquire), 2);
                return cache.is_right();
            }
        };
        assert_eq!(value, 2);
        other.join().expect("no panic");
        cache.is_right();
    });
}

#[test]
fn a9_who_comes_after_an_invalidation_joins_no_flight_from_before_it() {
    a9(Cache::remove);
}

#[test]
fn a9_b2_who_comes_after_a_sweep_joins_no_flight_from_before_it() {
    a9(|cache| _ = cache.sweeps.fetch_add(1, Ordering::AcqRel));
}

#[test]
fn b1_what_was_loaded_before_an_invalidation_is_not_kept_after_it() {
    check(None, || {
        let cache = Cache::new();
        let change = |cache: &Cache| {
            cache.source.store(2, Ordering::Relaxed);
            cache.remove();
        };
        together(&cache, &[Cache::get, change]);
        cache.is_right();
    });
}

#[test]
fn b1_what_was_found_before_a_flight_was_begun_is_not_kept_after_an_invalidation() {
    check(None, || {
        let cache = Cache::new();
        // Whoever finds a value elsewhere first, and then ends a flight with it.
        let find_and_get = |cache: &Cache| {
            let generation = cache.flights.generation(HASH);
            let value = cache.source.load(Ordering::Relaxed);
            if let Way::Loads(load) = cache.board(true) {
                cache.land(&Load { generation, ..load }, value);
            }
        };
        let change = |cache: &Cache| {
            cache.source.store(2, Ordering::Relaxed);
            cache.remove();
        };
        together(&cache, &[find_and_get, change]);
        cache.is_right();
    });
}

#[test]
fn b5_what_was_read_before_an_invalidation_is_not_installed_after_it() {
    check(None, || {
        let cache = Cache::new();
        let read = |cache: &Cache| {
            let generation = cache.flights.generation(HASH);
            let value = cache.source.load(Ordering::Relaxed);
            cache.flights.install(HASH, generation, || cache.keep(value, 0));
        };
        let change = |cache: &Cache| {
            cache.source.store(2, Ordering::Relaxed);
            cache.remove();
        };
        together(&cache, &[read, change]);
        cache.is_right();
    });
}

#[test]
fn b6_of_two_loads_and_two_invalidations_in_any_order_nothing_old_is_left() {
    check(Some(3), || {
        let cache = Cache::new();
        let change_twice = |cache: &Cache| {
            for value in [2, 3] {
                cache.source.store(value, Ordering::Relaxed);
                cache.remove();
            }
        };
        together(&cache, &[Cache::get, Cache::get, change_twice]);
        cache.is_right();
    });
}

#[test]
fn f2_of_two_writers_that_overlap_neither_keeps_what_it_wrote_and_no_load_keeps_what_was_before() {
    check(Some(3), || {
        let cache = Cache::new();
        together(&cache, &[|cache| cache.write(2), |cache| cache.write(3), Cache::get]);
        cache.is_right();
    });
}
