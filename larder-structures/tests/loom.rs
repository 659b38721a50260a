//! Models of `sync`, every interleaving of which loom tries out.
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p larder-structures --release --test loom`
//!
//! Under `cfg(loom)` the content of a shard and the value behind a pin are loom's cells: an access that is not ordered
//! after every conflicting one fails the model, so that taking a lock and touching what it guards is all that a model
//! of mutual exclusion has to do. A wake-up that is lost leaves a thread asleep, which loom reports as a deadlock.

#![cfg(loom)]

use larder_structures::sync::{Bell, Pin, Pinned, Shards, WaitList, block_on_wait};
use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

/// Checks a model, with at most so many preemptions in a run; `None` for any number.
fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.check(model);
}

/// Two shards of a number each, whose sum is always even when nobody is at work on both.
fn pair() -> Arc<Shards<u32>> {
    Arc::new(Shards::new([0, 0]))
}

/// Adds to one shard, through two accesses, so that somebody in between would be noticed.
fn add_to(shards: &Shards<u32>, index: usize) {
    let mut hold = shards.one(index);
    *hold.shard_mut(index) += 1;
    *hold.shard_mut(index) += 1;
}

/// Adds one to both shards.
fn add_to_both(shards: &Shards<u32>, order: [usize; 2]) {
    let mut hold = shards.many(order);
    *hold.shard_mut(order[0]) += 1;
    *hold.shard_mut(order[1]) += 1;
}

/// Looks at all shards from behind the gate, and adds two.
fn add_behind_the_gate(shards: &Shards<u32>) {
    let mut hold = shards.all();
    let before = hold.shard(0) + hold.shard(1);
    assert_eq!(before % 2, 0, "the owner of the gate is not alone");
    *hold.shard_mut(0) += 1;
    *hold.shard_mut(1) += 1;
    assert_eq!(hold.shard(0) + hold.shard(1), before + 2, "the owner of the gate is not alone");
}

fn sum(shards: &Shards<u32>) -> u32 {
    let hold = shards.all();
    hold.shard(0) + hold.shard(1)
}

/// Runs `works` at the same time, the last of them on the model's first thread, and returns the sum in the end.
fn together(works: Vec<Box<dyn FnOnce(&Shards<u32>) + Send>>) -> u32 {
    let shards = pair();
    let mut works = works.into_iter();
    let last = works.next_back().expect("a model has work");
    let threads: Vec<_> = works
        .map(|work| {
            let shards = Arc::clone(&shards);
            thread::spawn(move || work(&shards))
        })
        .collect();
    last(&shards);
    threads.into_iter().for_each(|thread| thread.join().expect("a thread of the model"));
    sum(&shards)
}

#[test]
fn the_gate_excludes_holders_of_one_shard() {
    check(None, || {
        let total = together(vec![Box::new(|shards| add_to(shards, 1)), Box::new(add_behind_the_gate)]);
        assert_eq!(total, 4);
    });
}

#[test]
fn the_gate_excludes_holders_of_several_shards() {
    check(None, || {
        let total =
            together(vec![Box::new(|shards| add_to_both(shards, [1, 0])), Box::new(add_behind_the_gate)]);
        assert_eq!(total, 4);
    });
}

#[test]
fn the_gate_stands_between_one_and_several() {
    check(Some(3), || {
        let total = together(vec![
            Box::new(|shards| add_to(shards, 0)),
            Box::new(|shards| add_to_both(shards, [0, 1])),
            Box::new(add_behind_the_gate),
        ]);
        assert_eq!(total, 6);
    });
}

#[test]
fn a_gate_that_opens_and_closes_again_lets_nobody_slip_through() {
    check(Some(4), || {
        let total = together(vec![
            Box::new(|shards| add_to(shards, 0)),
            Box::new(|shards| {
                add_behind_the_gate(shards);
                add_behind_the_gate(shards);
            }),
        ]);
        assert_eq!(total, 6);
    });
}

#[test]
fn two_owners_of_the_gate_take_turns() {
    check(Some(3), || {
        let total = together(vec![
            Box::new(|shards| add_to(shards, 0)),
            Box::new(add_behind_the_gate),
            Box::new(add_behind_the_gate),
        ]);
        assert_eq!(total, 6);
    });
}

#[test]
fn opposite_orders_do_not_deadlock() {
    check(None, || {
        let total = together(vec![
            Box::new(|shards| add_to_both(shards, [0, 1])),
            Box::new(|shards| add_to_both(shards, [1, 0])),
        ]);
        assert_eq!(total, 4);
    });
}

#[test]
fn trying_never_gets_past_the_gate() {
    check(None, || {
        let total = together(vec![
            Box::new(|shards| {
                if let Some(mut hold) = shards.try_one(0) {
                    *hold.shard_mut(0) += 1;
                    *hold.shard_mut(0) += 1;
                }
            }),
            Box::new(add_behind_the_gate),
        ]);
        assert!(total == 2 || total == 4);
    });
}

/// Waits until `count` is at least `wanted`.
fn wait_for(list: &WaitList, count: &AtomicUsize, wanted: usize) {
    block_on_wait(list, || (count.load(Ordering::Relaxed) >= wanted).then_some(()));
}

#[test]
fn a_sleeper_is_woken() {
    check(None, || {
        let shared = Arc::new((WaitList::new(), AtomicUsize::new(0)));
        let sleeper = Arc::clone(&shared);
        let sleeper = thread::spawn(move || wait_for(&sleeper.0, &sleeper.1, 1));
        shared.1.store(1, Ordering::Relaxed);
        shared.0.wake_all();
        sleeper.join().expect("the sleeper");
        assert!(shared.0.is_empty());
    });
}

#[test]
fn a_sleeper_that_was_woken_in_vain_is_woken_again() {
    check(Some(4), || {
        let shared = Arc::new((WaitList::new(), AtomicUsize::new(0)));
        let sleeper = Arc::clone(&shared);
        let sleeper = thread::spawn(move || wait_for(&sleeper.0, &sleeper.1, 2));
        for _ in 0..2 {
            shared.1.fetch_add(1, Ordering::Relaxed);
            shared.0.wake_all();
        }
        sleeper.join().expect("the sleeper");
        assert!(shared.0.is_empty());
    });
}

#[test]
fn all_sleepers_are_woken() {
    check(Some(3), || {
        let shared = Arc::new((WaitList::new(), AtomicUsize::new(0)));
        let sleepers: Vec<_> = (0..2)
            .map(|_| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || wait_for(&shared.0, &shared.1, 1))
            })
            .collect();
        shared.1.store(1, Ordering::Relaxed);
        shared.0.wake_all();
        sleepers.into_iter().for_each(|sleeper| sleeper.join().expect("a sleeper"));
        assert!(shared.0.is_empty());
    });
}

/// A waker that counts.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_cancels_takes_nobody_elses_wake_up_away() {
    check(Some(4), || {
        let shared = Arc::new((WaitList::new(), AtomicUsize::new(0)));
        let sleeper = Arc::clone(&shared);
        let sleeper = thread::spawn(move || wait_for(&sleeper.0, &sleeper.1, 1));
        let leaver = Arc::clone(&shared);
        let leaver = thread::spawn(move || {
            let count = Arc::new(Count(AtomicUsize::new(0)));
            let ticket = leaver.0.register(Waker::from(Arc::clone(&count)));
            leaver.0.cancel(ticket);
            // Woken before it left, or never; and its waker is dropped with the list's hold on it at the latest.
            assert!(count.0.load(Ordering::Relaxed) <= 1);
        });
        shared.1.store(1, Ordering::Relaxed);
        shared.0.wake_all();
        sleeper.join().expect("the sleeper");
        leaver.join().expect("the leaver");
        assert!(shared.0.is_empty());
    });
}

/// A shard with a pinnable value, and what its users note under its lock.
struct Slot {
    value: Option<Pinned<u32>>,
    /// A writer was refused and has not been served yet.
    refused: bool,
}

struct Keyspace {
    shards: Shards<Slot>,
    unpinned: Arc<WaitList>,
}

fn keyspace() -> Arc<Keyspace> {
    let slot = Slot { value: Some(Pinned::new(7)), refused: false };
    Arc::new(Keyspace { shards: Shards::new([slot]), unpinned: Arc::default() })
}

fn pin(keyspace: &Keyspace) -> Option<Pin<u32>> {
    let hold = keyspace.shards.one(0);
    let slot = hold.shard(0);
    let pin = slot.value.as_ref()?.shared().pin(&keyspace.unpinned);
    assert!(pin.is_none() || !slot.refused, "a reader overtook a waiting writer");
    pin
}

/// Reads twice what it pins, if it gets a pin.
fn read_long(keyspace: &Keyspace) {
    if let Some(pin) = pin(keyspace) {
        let before = *pin;
        thread::yield_now();
        assert_eq!(*pin, before, "a pinned value changed");
    }
}

/// Writes as soon as nobody has a pin.
fn write(keyspace: &Keyspace) {
    block_on_wait(&keyspace.unpinned, || {
        let mut hold = keyspace.shards.one(0);
        let slot = hold.shard_mut(0);
        match slot.value.as_mut().and_then(Pinned::get_mut) {
            Some(value) => {
                *value += 1;
                slot.refused = false;
                Some(())
            }
            None => {
                slot.refused = true;
                None
            }
        }
    });
}

#[test]
fn a_writer_waits_for_a_pin_and_is_woken() {
    check(Some(4), || {
        let keyspace = keyspace();
        let reader = Arc::clone(&keyspace);
        let reader = thread::spawn(move || read_long(&reader));
        write(&keyspace);
        reader.join().expect("the reader");
        assert_eq!(pin(&keyspace).as_deref(), Some(&8));
    });
}

#[test]
fn a_writer_waits_for_two_pins_and_is_not_overtaken() {
    check(Some(3), || {
        let keyspace = keyspace();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let keyspace = Arc::clone(&keyspace);
                thread::spawn(move || read_long(&keyspace))
            })
            .collect();
        write(&keyspace);
        readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
        assert_eq!(pin(&keyspace).as_deref(), Some(&8));
    });
}

#[test]
fn a_writer_that_went_away_stops_pins_for_a_while_only() {
    check(None, || {
        let keyspace = keyspace();
        let first = pin(&keyspace).expect("nobody has asked to write");
        keyspace.shards.one(0).shard_mut(0).value.as_mut().expect("it is there").shared().refuse_pins();
        assert!(pin(&keyspace).is_none());
        drop(first);
        let refused = (0..).take_while(|_| pin(&keyspace).is_none()).count();
        assert!((1..100).contains(&refused));
    });
}

/// A value that notices when it is freed twice, or while somebody reads it.
struct Watched {
    cell: UnsafeCell<u32>,
    freed: Arc<AtomicUsize>,
}

// SAFETY: the cell is loom's, which fails the model when it is used by two threads at once.
unsafe impl Sync for Watched {}
// SAFETY: as above.
unsafe impl Send for Watched {}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: loom checks that nobody else uses the cell.
        self.cell.with_mut(|content| unsafe { *content = 0 });
        self.freed.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_value_is_freed_once_whoever_is_last() {
    check(None, || {
        let freed = Arc::new(AtomicUsize::new(0));
        let value = Pinned::new(Watched { cell: UnsafeCell::new(7), freed: Arc::clone(&freed) });
        let unpinned = Arc::new(WaitList::new());
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let pin = value.shared().pin(&unpinned).expect("nobody wants to write");
                // SAFETY: loom checks that nobody writes.
                thread::spawn(move || pin.cell.with(|content| assert_eq!(unsafe { *content }, 7)))
            })
            .collect();
        drop(value);
        readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
        assert_eq!(freed.load(Ordering::Relaxed), 1);
    });
}

/// A log with one server that makes it durable, as `appendfsync always` does.
struct Log {
    bell: Bell,
    /// Where writers put what they have, and the server finds it.
    tail: Mutex<()>,
    /// How many have written; changed under the lock of the tail.
    written: AtomicUsize,
    /// How many of them are durable.
    durable: AtomicUsize,
    told: WaitList,
}

impl Log {
    fn new() -> Arc<Log> {
        Arc::new(Log {
            bell: Bell::new(),
            tail: Mutex::new(()),
            written: AtomicUsize::new(0),
            durable: AtomicUsize::new(0),
            told: WaitList::new(),
        })
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed) as u64
    }

    /// Writes, and waits until that is durable.
    fn write(&self) {
        let mine = {
            let _tail = self.tail.lock().expect("a model does not panic under a lock");
            self.written.fetch_add(1, Ordering::Relaxed) + 1
        };
        self.bell.ring_for(self.written());
        wait_for(&self.told, &self.durable, mine);
    }

    /// Makes durable what is there.
    fn sync(&self) {
        let written = {
            let _tail = self.tail.lock().expect("a model does not panic under a lock");
            self.written.load(Ordering::Relaxed)
        };
        self.durable.store(written, Ordering::Relaxed);
        self.told.wake_all();
    }
}

#[test]
fn a_ring_is_heard_whenever_it_comes() {
    check(Some(2), || {
        let log = Log::new();
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let log = Arc::clone(&log);
                thread::spawn(move || log.write())
            })
            .collect();
        while log.durable.load(Ordering::Relaxed) < 2 {
            log.bell.wait(Duration::ZERO);
            log.sync();
        }
        writers.into_iter().for_each(|writer| writer.join().expect("no writer panics"));
    });
}

#[test]
fn who_gathers_hears_of_the_last_who_comes() {
    check(Some(2), || {
        let log = Log::new();
        log.bell.expect(2);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let log = Arc::clone(&log);
                thread::spawn(move || log.write())
            })
            .collect();
        // There is always time left: only a ring ends the waiting.
        assert!(log.bell.gather(|| log.written(), || Some(Duration::ZERO)), "all have come");
        log.sync();
        writers.into_iter().for_each(|writer| writer.join().expect("no writer panics"));
    });
}

#[test]
fn what_came_while_the_gathering_ended_is_found_or_rung_for() {
    check(Some(2), || {
        let log = Log::new();
        log.bell.expect(10);
        let writer = {
            let log = Arc::clone(&log);
            thread::spawn(move || log.write())
        };
        // The time is over before all have come.
        log.bell.gather(|| log.written(), || None);
        log.sync();
        while log.durable.load(Ordering::Relaxed) < 1 {
            log.bell.wait(Duration::ZERO);
            log.sync();
        }
        writer.join().expect("the writer does not panic");
    });
}

/// What waits for the one who saves: writers hand over as long as there is room, and wait otherwise.
#[test]
fn who_waits_for_room_in_the_queue_of_a_save_is_woken() {
    check(Some(3), || {
        let waiting = Arc::new(AtomicUsize::new(1));
        let room = Arc::new(WaitList::new());
        let writer = {
            let (waiting, room) = (Arc::clone(&waiting), Arc::clone(&room));
            thread::spawn(move || {
                block_on_wait(&room, || (waiting.load(Ordering::Relaxed) == 0).then_some(()));
                waiting.fetch_add(1, Ordering::Relaxed);
            })
        };
        // The saver has written what waited, and lets those look again that wait for room.
        waiting.fetch_sub(1, Ordering::Relaxed);
        room.wake_all();
        writer.join().expect("the writer does not panic");
        assert_eq!(waiting.load(Ordering::Relaxed), 1);
    });
}
