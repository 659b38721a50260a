//! Writing back: statements G1 to G8.

use crate::support::{Down, MS, SECOND, on_all, policy, until};
use larder_cache::{
    Ack, Cache, Change, Drained, OnFull, Outcome, Policy, Sink, WriteBack, WriteBackCache, WriteBackError,
};
use larder_client::Larder;
use std::collections::HashMap;
use std::io::{BufRead, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use testkit::temp::TempDir;

type Key = String;
type Queue = WriteBackCache<Key, u64>;

/// What a source has stored: key, value (`None`: deleted), number, fence.
type Line = (Key, Option<u64>, u64, u64);

/// A source that can be slow, away, or dislike a key.
#[derive(Clone, Default)]
struct Table(Arc<Inner>);

#[derive(Default)]
struct Inner {
    lines: Mutex<Vec<Line>>,
    batches: Mutex<Vec<usize>>,
    is_down: Mutex<bool>,
    bad: Mutex<Option<Outcome>>,
    calls: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

impl Table {
    fn lines(&self) -> Vec<Line> {
        lock(&self.0.lines).clone()
    }

    fn of(&self, key: &str) -> Vec<Option<u64>> {
        self.lines().into_iter().filter(|line| line.0 == key).map(|line| line.1).collect()
    }

    fn go_down(&self, is_down: bool) {
        *lock(&self.0.is_down) = is_down;
    }

    /// What becomes of the key `bad`.
    fn dislike(&self, outcome: Option<Outcome>) {
        *lock(&self.0.bad) = outcome;
    }
}

impl Sink<Key, u64> for Table {
    type Error = Down;

    async fn store(&self, changes: &[Change<Key, u64>]) -> Result<Vec<Outcome>, Down> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(MS).await;
        if *lock(&self.0.is_down) {
            return Err(Down);
        }
        lock(&self.0.batches).push(changes.len());
        let bad = lock(&self.0.bad).clone();
        let outcomes = changes.iter().map(|change| match &bad {
            Some(outcome) if change.key() == "bad" => outcome.clone(),
            _ => {
                let line = (change.key().clone(), change.value().copied(), change.seq(), change.fence());
                lock(&self.0.lines).push(line);
                Outcome::Stored
            }
        });
        Ok(outcomes.collect())
    }
}

/// In a hurry, and soon out of patience.
fn how() -> WriteBack<u64> {
    WriteBack::new().batch(100, MS).retry(3, MS * 5, MS * 20)
}

/// The cache of a test, whose thread has its name.
async fn cache(larder: &Larder) -> Cache<Key, u64> {
    let thread = std::thread::current();
    let name = thread.name().expect("tests have names");
    Cache::builder(larder, name).policy(policy()).build().await.expect("the settings make sense")
}

async fn open(larder: &Larder, table: &Table, how: WriteBack<u64>) -> Queue {
    cache(larder).await.write_back(table.clone(), how).await.expect("it opens")
}

async fn value(cache: &Cache<Key, u64>, key: &str) -> Option<u64> {
    cache.get(&key.to_owned()).await.expect("it answers").map(|entry| *entry)
}

async fn put(queue: &Queue, key: &str, value: u64) {
    queue.put(key.to_owned(), value).await.expect("it is taken");
}

async fn all_flushed(queue: &Queue) {
    queue.flush().await.expect("all is flushed");
}

/// Flushes what waits for a source that is down, and comes up only then.
async fn flush_when_up(queue: &Queue, table: &Table) -> Result<(), WriteBackError> {
    let up = async { table.go_down(false) };
    futures_util::future::join(queue.flush(), up).await.0
}

#[tokio::test]
async fn g2_the_source_gets_the_changes_of_a_key_in_order_with_numbers_that_go_up() {
    on_all(async |backend| {
        let table = Table::default();
        let queue = open(&backend.node().await, &table, how()).await;
        let writers = (0..8_u64).map(|writer| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for n in 0..30 {
                    put(&queue, &format!("k{writer}"), n).await;
                }
                queue.delete(format!("k{writer}")).await.expect("it is taken");
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.expect("no panic");
        }
        all_flushed(&queue).await;
        for writer in 0..8 {
            let lines: Vec<Line> =
                table.lines().into_iter().filter(|line| line.0 == format!("k{writer}")).collect();
            assert!(lines.is_sorted_by(|one, next| one.2 < next.2), "{}: {lines:?}", backend.name);
            assert!(lines[..lines.len() - 1].is_sorted_by(|one, next| one.1 < next.1), "{lines:?}");
            assert_eq!(lines.last().expect("it was flushed").1, None);
        }
        let stats = queue.stats();
        assert_eq!((stats.pending, stats.taken), (0, 8 * 31));
        assert_eq!(stats.flushed + stats.replaced, stats.taken);
    })
    .await;
}

#[tokio::test]
async fn g3_reads_see_what_is_not_flushed_and_afterwards_nothing_older() {
    on_all(async |backend| {
        let table = Table::default();
        table.go_down(true);
        let queue = open(&backend.node().await, &table, how()).await;
        let other = cache(&backend.node().await).await;
        put(&queue, "k", 7).await;
        assert_eq!(value(&other, "k").await, Some(7), "{}", backend.name);
        // Whatever becomes of the entry, the queue has it.
        other.clear().await.expect("it works");
        let key = "k".to_owned();
        assert_eq!(**queue.get(&key).await.expect("it answers").as_ref().expect("it is there"), 7);
        let found = queue.find_or_load(&key, |_| async { Ok::<_, Down>(1) }).await.expect("no load");
        assert_eq!(found.map(|entry| *entry), Some(7));
        // Another process does not know that, and loads the old value. It does not stay.
        let old = other.get_or_load(&key, |_| async { Ok::<_, Down>(1) }).await.expect("it loads");
        assert_eq!(*old, 1);
        table.go_down(false);
        all_flushed(&queue).await;
        until("what was flushed is read", async || value(&other, "k").await == Some(7)).await;
        // A deletion that is not flushed is one.
        table.go_down(true);
        queue.delete(key.clone()).await.expect("it is taken");
        assert_eq!(value(&other, "k").await, None);
        assert!(queue.get(&key).await.expect("it answers").is_none());
        let found = queue.find_or_load(&key, |_| async { Ok::<_, Down>(1) }).await.expect("no load");
        assert!(found.is_none(), "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn g3_an_entry_lives_until_it_is_flushed_however_long_that_takes() {
    let larder = Larder::open("embedded://").await.expect("it opens");
    let table = Table::default();
    table.go_down(true);
    let short = cache(&larder).await.with(Policy::ttl(MS * 400));
    let queue = short.write_back(table.clone(), how()).await.expect("it opens");
    put(&queue, "k", 7).await;
    tokio::time::sleep(MS * 1200).await;
    until("it is there", async || value(&short, "k").await == Some(7)).await;
}

#[tokio::test]
async fn g4_a_key_that_fails_becomes_a_dead_letter_while_others_flow() {
    on_all(async |backend| {
        let table = Table::default();
        table.dislike(Some(Outcome::Failed("no such column".to_owned())));
        let directory = TempDir::new();
        let log = directory.path().join("log");
        let larder = backend.node().await;
        let queue = open(&larder, &table, how().log(&log)).await;
        table.go_down(true);
        put(&queue, "bad", 1).await;
        for n in 0..20 {
            put(&queue, &format!("good{n}"), n).await;
        }
        let told = flush_when_up(&queue, &table).await;
        assert_eq!(told, Err(WriteBackError::Source("no such column".to_owned())), "{}", backend.name);
        assert_eq!(table.lines().len(), 20);
        assert_eq!(queue.stats().failures, 3);
        let dead = queue.dead_letters();
        let [letter] = &dead[..] else { panic!("{dead:?}") };
        let change = letter.change();
        assert_eq!((&**change.key(), change.value(), letter.why()), ("bad", Some(&1), "no such column"));
        // The source has something else.
        until("the entry is gone", async || value(queue.cache(), "bad").await.is_none()).await;
        // It is kept over a restart, until it is discarded.
        assert_eq!(queue.close(SECOND * 60).await, Drained { left: 0, dead: 1 });
        let queue = open(&larder, &table, how().log(&log)).await;
        let seq = queue.dead_letters()[0].change().seq();
        assert!(queue.discard(seq).await.expect("it works"));
        assert!(!queue.discard(seq).await.expect("it works"));
        queue.close(SECOND * 60).await;
        let queue = open(&larder, &table, how().log(&log)).await;
        assert!(queue.dead_letters().is_empty());
        // What can never work is not tried again.
        table.dislike(Some(Outcome::Rejected("too long".to_owned())));
        table.go_down(true);
        put(&queue, "bad", 2).await;
        assert_eq!(flush_when_up(&queue, &table).await, Err(WriteBackError::Source("too long".to_owned())));
        assert_eq!(queue.stats().failures, 1);
        // When the source has been put right, it is tried again by hand.
        table.dislike(None);
        let seq = queue.dead_letters()[0].change().seq();
        assert!(queue.retry(seq).await.expect("it is taken"));
        assert!(!queue.retry(seq).await.expect("it is no letter any more"));
        all_flushed(&queue).await;
        assert_eq!(table.of("bad"), [Some(2)], "{}", backend.name);
        assert_eq!(queue.close(SECOND * 60).await, Drained { left: 0, dead: 0 });
        let queue = open(&larder, &table, how().log(&log)).await;
        assert!(queue.dead_letters().is_empty());
    })
    .await;
}

#[tokio::test]
async fn g4_a_source_that_is_away_is_tried_for_as_long_as_it_takes() {
    let larder = Larder::open("embedded://").await.expect("it opens");
    let table = Table::default();
    table.go_down(true);
    let queue = open(&larder, &table, how()).await;
    put(&queue, "a", 1).await;
    put(&queue, "b", 2).await;
    until("it was tried often", async || queue.stats().outages > 10).await;
    assert_eq!((queue.stats().pending, queue.stats().dead), (2, 0));
    table.go_down(false);
    all_flushed(&queue).await;
    assert_eq!((table.of("a"), table.of("b")), (vec![Some(1)], vec![Some(2)]));
}

#[tokio::test]
async fn g5_a_full_queue_blocks_rejects_or_writes_through_and_never_drops() {
    let larder = Larder::open("embedded://").await.expect("it opens");
    for on_full in [OnFull::Block, OnFull::Reject, OnFull::WriteThrough] {
        let table = Table::default();
        table.go_down(true);
        let name = format!("{on_full:?}");
        let queue = open(&larder, &table, how().room(3, on_full).name(&name)).await;
        for n in 0..3 {
            put(&queue, &format!("{name}{n}"), n).await;
        }
        // A change of a key that is there needs no room.
        put(&queue, &format!("{name}0"), 10).await;
        let full = queue.clone();
        let key = format!("{name}3");
        let further = async move { full.put(key, 3).await };
        match on_full {
            OnFull::Block => {
                let further = tokio::spawn(async { further.await.map(|_| ()) });
                tokio::time::sleep(MS * 30).await;
                assert!(!further.is_finished());
                table.go_down(false);
                assert_eq!(further.await.expect("no panic"), Ok(()));
            }
            OnFull::Reject => assert_eq!(further.await, Err(WriteBackError::Full)),
            OnFull::WriteThrough => {
                let told = Err(WriteBackError::Source("the source is down".to_owned()));
                assert_eq!(further.await, told);
                assert_eq!(value(queue.cache(), &format!("{name}3")).await, None);
                table.go_down(false);
                put(&queue, &format!("{name}4"), 4).await;
            }
        }
        table.go_down(false);
        all_flushed(&queue).await;
        let last = |n: u64| table.of(&format!("{name}{n}")).last().copied().flatten();
        assert_eq!((last(0), last(1), last(2)), (Some(10), Some(1), Some(2)), "{name}");
        assert_eq!(last(3), (on_full == OnFull::Block).then_some(3));
        assert_eq!(last(4), (on_full == OnFull::WriteThrough).then_some(4));
    }
}

#[tokio::test]
async fn g6_closing_flushes_and_tells_what_is_left_and_the_next_one_goes_on_with_it() {
    on_all(async |backend| {
        let table = Table::default();
        table.go_down(true);
        let directory = TempDir::new();
        let log = directory.path().join("log");
        let larder = backend.node().await;
        let local = || how().log(&log).ack(Ack::LocalFsync);
        goes_on_with_what_is_left(&larder, &table, local, backend.name).await;
        let there = || how().name("there").ack(Ack::Backend);
        goes_on_with_what_is_left(&larder, &Table::default(), there, backend.name).await;
    })
    .await;
}

async fn goes_on_with_what_is_left(
    larder: &Larder,
    table: &Table,
    how: impl Fn() -> WriteBack<u64>,
    name: &str,
) {
    table.go_down(true);
    let queue = open(larder, table, how()).await;
    put(&queue, "a", 1).await;
    put(&queue, "b", 2).await;
    queue.delete("b".to_owned()).await.expect("it is taken");
    assert_eq!(queue.close(MS * 30).await, Drained { left: 2, dead: 0 }, "{name}");
    assert_eq!(queue.put("c".to_owned(), 3).await, Err(WriteBackError::Closed));
    cache(larder).await.clear().await.expect("it works");
    let queue = open(larder, table, how()).await;
    assert_eq!(queue.stats().pending, 2);
    // What is left is read, and what comes now is newer.
    assert_eq!(value(queue.cache(), "a").await, Some(1));
    put(&queue, "a", 5).await;
    table.go_down(false);
    assert_eq!(queue.close(SECOND * 60).await, Drained { left: 0, dead: 0 });
    assert_eq!((table.of("a").last(), table.of("b").last()), (Some(&Some(5)), Some(&None)));
    let queue = open(larder, table, how()).await;
    assert_eq!(queue.stats().pending, 0);
    put(&queue, "a", 6).await;
    all_flushed(&queue).await;
    let lines = table.lines();
    let [.., before, last] = &lines[..] else { panic!("{lines:?}") };
    assert!(last.2 > before.2 && last.3 > before.3, "numbers and fences go up: {lines:?}");
    queue.close(SECOND * 60).await;
}

#[tokio::test]
async fn g6_a_log_that_cannot_be_used_is_told_of() {
    let larder = Larder::open("embedded://").await.expect("it opens");
    let (table, directory) = (Table::default(), TempDir::new());
    let try_open = async |how: WriteBack<u64>| {
        let opened = cache(&larder).await.write_back(table.clone(), how).await;
        opened.map(|_| ()).expect_err("it does not open").to_string()
    };
    assert!(try_open(how().ack(Ack::LocalFsync)).await.contains("needs one"));
    let both = how().ack(Ack::Backend).log(directory.path().join("log"));
    assert!(try_open(both).await.contains("no other log"));
    let nowhere = directory.path().join("none/log");
    assert!(try_open(how().log(&nowhere)).await.contains("none/log"));
    let foreign = directory.path().join("foreign");
    std::fs::write(&foreign, "something else altogether").expect("there is room");
    assert!(try_open(how().log(&foreign)).await.contains("damaged at byte 0"));
    assert_eq!(std::fs::read(&foreign).expect("it is there"), b"something else altogether");
}

#[tokio::test]
async fn g7_one_process_at_a_time_owns_a_queue_and_its_fence_goes_up() {
    on_all(async |backend| {
        let table = Table::default();
        let (one, other) = (backend.node().await, backend.node().await);
        let queue = open(&one, &table, how().lease(SECOND * 3)).await;
        let refused = cache(&other).await.write_back(table.clone(), how().lease(SECOND * 3)).await;
        assert_eq!(refused.map(|_| ()), Err(WriteBackError::NotOwner), "{}", backend.name);
        // Another queue is another matter.
        open(&other, &table, how().name("other")).await;
        put(&queue, "k", 1).await;
        queue.close(SECOND * 60).await;
        let queue = open(&other, &table, how()).await;
        put(&queue, "k", 2).await;
        all_flushed(&queue).await;
        let fences: Vec<u64> = table.lines().iter().map(|line| line.3).collect();
        assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
        assert!(table.lines().is_sorted_by(|one, next| one.2 < next.2), "numbers go up without a log");
    })
    .await;
}

#[tokio::test]
async fn g7_what_another_owner_may_have_overtaken_is_not_flushed_but_a_dead_letter() {
    on_all(async |backend| {
        let table = Table::default();
        table.go_down(true);
        let directory = TempDir::new();
        let log = directory.path().join("log");
        let larder = backend.node().await;
        let queue = open(&larder, &table, how().log(&log)).await;
        put(&queue, "k", 1).await;
        assert_eq!(queue.close(Duration::ZERO).await.left, 1);
        table.go_down(false);
        let between = open(&larder, &table, how()).await;
        put(&between, "k", 2).await;
        between.close(SECOND * 60).await;
        let queue = open(&larder, &table, how().log(&log)).await;
        assert_eq!(queue.stats().pending, 0, "{}", backend.name);
        assert!(queue.dead_letters()[0].why().contains("another process"));
        assert_eq!(table.of("k"), [Some(2)]);
    })
    .await;
}

#[tokio::test]
async fn g7_who_has_lost_the_queue_acknowledges_nothing_and_goes_on_with_what_others_left() {
    on_all(async |backend| {
        let table = Table::default();
        table.go_down(true);
        let (one, other) = (backend.node().await, backend.node().await);
        let there = || how().ack(Ack::Backend).lease(SECOND * 3);
        let queue = open(&one, &table, there()).await;
        put(&queue, "k", 1).await;
        put(&queue, "left", 7).await;
        // As if it had been asleep for so long that its lease is over.
        let leases = other.scan("*:wb:main:owner").collect().await.expect("it answers");
        let mine = |key: &&Vec<u8>| String::from_utf8_lossy(key).contains("g7_who_has_lost");
        let lease = leases.iter().find(mine).expect("there is one");
        other.del(&[lease]).await.expect("it answers");
        let next = open(&other, &table, there()).await;
        assert_eq!(next.stats().pending, 2, "{}", backend.name);
        put(&next, "k", 2).await;
        assert_eq!(queue.put("k".to_owned(), 3).await, Err(WriteBackError::NotOwner), "{}", backend.name);
        assert_eq!(value(next.cache(), "k").await, Some(2));
        assert_eq!(next.close(MS * 30).await.left, 2);
        // The first one has the queue again, and what the other one has left.
        until("it is taken again", async || queue.put("more".to_owned(), 4).await.is_ok()).await;
        table.go_down(false);
        until("all is flushed", async || queue.stats().pending == 0).await;
        for (key, last) in [("k", 2), ("left", 7), ("more", 4)] {
            assert_eq!(table.of(key).last(), Some(&Some(last)), "{key} on {}", backend.name);
        }
        assert!(!table.of("k").contains(&Some(3)));
        queue.close(SECOND * 60).await;
    })
    .await;
}

#[tokio::test]
async fn g4_dead_letters_stay_in_the_backend_until_they_are_discarded() {
    on_all(async |backend| {
        let table = Table::default();
        table.dislike(Some(Outcome::Rejected("never".to_owned())));
        let larder = backend.node().await;
        let there = || how().ack(Ack::Backend);
        let queue = open(&larder, &table, there()).await;
        put(&queue, "bad", 1).await;
        assert_eq!(queue.flush().await, Err(WriteBackError::Source("never".to_owned())));
        assert_eq!(queue.close(SECOND * 60).await, Drained { left: 0, dead: 1 }, "{}", backend.name);
        let queue = open(&larder, &table, there()).await;
        let letters = queue.dead_letters();
        let [letter] = &letters[..] else { panic!("{letters:?}") };
        assert_eq!((letter.why(), letter.change().value()), ("never", Some(&1)));
        assert!(queue.discard(letter.change().seq()).await.expect("it answers"));
        queue.close(SECOND * 60).await;
        assert!(open(&larder, &table, there()).await.dead_letters().is_empty(), "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn changes_that_wait_are_merged_and_go_in_batches_and_source_waits_for_them() {
    let larder = Larder::open("embedded://").await.expect("it opens");
    let table = Table::default();
    table.go_down(true);
    let queue = open(&larder, &table, how().merge(|old, new| *old.max(&new))).await;
    for n in [3, 9, 4] {
        put(&queue, "k", n).await;
    }
    for n in 0..250 {
        put(&queue, &format!("k{n}"), n).await;
    }
    assert_eq!(value(queue.cache(), "k").await, Some(9));
    table.go_down(false);
    all_flushed(&queue).await;
    assert_eq!(table.of("k").last(), Some(&Some(9)));
    assert!(lock(&table.0.batches).contains(&100), "the largest batches there may be");
    let source = open(&larder, &table, how().name("source").ack(Ack::Source)).await;
    put(&source, "s", 1).await;
    assert_eq!(table.of("s"), [Some(1)]);
    table.dislike(Some(Outcome::Rejected("never".to_owned())));
    let told = source.put("bad".to_owned(), 1).await;
    assert_eq!(told, Err(WriteBackError::Source("never".to_owned())));
}

/// A source in a file: one line for each change, by one write each, as a process that is killed leaves it.
struct Lines(Mutex<std::fs::File>);

impl Sink<Key, u64> for Lines {
    type Error = std::io::Error;

    async fn store(&self, changes: &[Change<Key, u64>]) -> Result<Vec<Outcome>, std::io::Error> {
        for change in changes {
            let value = change.value().map_or("-".to_owned(), u64::to_string);
            let line = format!("{} {value} {}\n", change.key(), change.seq());
            lock(&self.0).write_all(line.as_bytes())?;
        }
        // So that it is killed between a change that is stored and one that is noted, too.
        tokio::time::sleep(MS).await;
        Ok(vec![Outcome::Stored; changes.len()])
    }
}

const KEYS: u64 = 6;

/// What the process of the test below does until it is killed; by itself it is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed() {
    let Ok(directory) = std::env::var("LARDER_CACHE_KILLED") else { return };
    let first: u64 = std::env::var("LARDER_CACHE_FIRST").expect("it is set").parse().expect("a number");
    let lines = Path::new(&directory).join("source");
    let file = std::fs::OpenOptions::new().append(true).create(true).open(lines).expect("it opens");
    let how = WriteBack::new().batch(4, MS * 2);
    let (larder, how) = match std::env::var("LARDER_CACHE_AT") {
        Ok(url) => (Larder::open(&url).await, how.lease(MS * 300).ack(Ack::Backend)),
        Err(_) => {
            let log = Path::new(&directory).join("log");
            (Larder::open("embedded://").await, how.log(log).ack(Ack::LocalFsync))
        }
    };
    let larder = larder.expect("it opens");
    let queue = cache(&larder).await.write_back(Lines(Mutex::new(file)), how).await.expect("it opens");
    if first == 0 {
        assert_eq!(queue.close(SECOND * 60).await, Drained { left: 0, dead: 0 });
        return;
    }
    let say = |line: String| std::io::stderr().write_all(line.as_bytes()).expect("somebody listens");
    let writers = (0..KEYS).map(|key| {
        let queue = queue.clone();
        tokio::spawn(async move {
            for n in first.. {
                let (name, is_put) = (format!("k{key}"), fastrand::u32(..4) != 0);
                let value = if is_put { n.to_string() } else { "-".to_owned() };
                say(format!("\ntry {name} {value}\n"));
                let seq = match is_put {
                    true => queue.put(name.clone(), n).await,
                    false => queue.delete(name.clone()).await,
                };
                say(format!("\nack {name} {value} {}\n", seq.expect("it is taken")));
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
}

/// What is known of a key: what was acknowledged last, and what was tried after that.
#[derive(Default)]
struct Known {
    acknowledged: Option<String>,
    tried: Vec<String>,
}

/// A process that keeps a log of its own, or changes in the backend at a URL.
fn child(directory: &Path, at: Option<&str>, first: u64) -> std::process::Child {
    std::process::Command::new(std::env::current_exe().expect("we run"))
        .envs(at.map(|url| ("LARDER_CACHE_AT", url)))
        .args(["--exact", "write_back::a_process_that_is_killed", "--nocapture"])
        .env("LARDER_CACHE_KILLED", directory)
        .env("LARDER_CACHE_FIRST", first.to_string())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts")
}

#[test]
fn g1_g2_g8_nothing_acknowledged_is_lost_whenever_the_process_is_killed() {
    let kills = if std::env::var_os("LARDER_CACHE_FULL").is_some() { 500 } else { 12 };
    kill_again_and_again(kills, "their logs", None);
}

#[test]
fn g1_g2_g7_g8_what_the_backend_has_acknowledged_the_next_process_goes_on_with() {
    if std::env::var_os("LARDER_CACHE_URL").is_some() {
        return;
    }
    let kills = if std::env::var_os("LARDER_CACHE_FULL").is_some() { 60 } else { 6 };
    for (name, server) in testkit::Server::of_each_kind() {
        kill_again_and_again(kills, name, Some(&crate::support::url(&server)));
    }
}

/// Kills processes one after the other, each of which goes on with what the one before has left.
fn kill_again_and_again(kills: u64, name: &str, at: Option<&str>) {
    let directory = TempDir::new();
    let mut known: HashMap<String, Known> = HashMap::new();
    let (mut acknowledged, mut idle) = (0, 0);
    for round in 0..kills {
        let mut process = child(directory.path(), at, 1 + round * 1_000_000);
        let pid = process.id();
        let mut lines = std::io::BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let mut before = 0;
        // Killed after so many lines, and then at any moment: starting takes its time.
        let mut left = fastrand::u32(0..60);
        let kill_after = move |pause: u64| {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_micros(pause));
                let kill =
                    std::process::Command::new("sh").args(["-c", "kill -9 $0", &pid.to_string()]).status();
                assert!(kill.expect("a shell starts").success());
            })
        };
        // Every fourth time while it opens what is left, perhaps.
        let mut killer = (round % 4 == 3).then(|| kill_after(fastrand::u64(0..40_000)));
        while let Some(Ok(line)) = lines.next() {
            if left == 0 && killer.is_none() {
                killer = Some(kill_after(fastrand::u64(0..8000)));
            }
            left = left.saturating_sub(1);
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["try", key, value] => {
                    known.entry(key.to_owned()).or_default().tried.push(value.to_owned());
                }
                ["ack", key, value, _] => {
                    let key = known.entry(key.to_owned()).or_default();
                    key.tried.clear();
                    key.acknowledged = Some(value.to_owned());
                    before += 1;
                }
                _ => {}
            }
        }
        if let Some(killer) = killer {
            killer.join().expect("no panic");
        }
        assert!(!process.wait().expect("it ends").success(), "it ends by being killed");
        acknowledged += before;
        idle += u32::from(before == 0);
    }
    assert!(child(directory.path(), at, 0).wait().expect("it ends").success(), "the rest is flushed");
    let source = std::fs::read_to_string(directory.path().join("source")).expect("it is there");
    let mut stored: HashMap<&str, (&str, u64)> = HashMap::new();
    for line in source.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [key, value, seq] = words[..] else { panic!("{line:?}") };
        let seq: u64 = seq.parse().expect("a number");
        let (last, before) = stored.insert(key, (value, seq)).unwrap_or(("", 0));
        assert!(before < seq || (before == seq && last == value), "{key}: {seq} after {before}");
    }
    for (key, Known { acknowledged, tried }) in &known {
        let last = stored.get(key.as_str()).map(|(value, _)| (*value).to_owned());
        let is_right = last == *acknowledged || last.as_ref().is_some_and(|last| tried.contains(last));
        assert!(is_right, "{key}: {last:?}, but {acknowledged:?} was acknowledged, and then {tried:?} tried");
    }
    assert!(acknowledged > kills, "{acknowledged} acknowledged");
    eprintln!(
        "measured: {name}: {kills} kills, {acknowledged} changes acknowledged, {idle} killed before the first"
    );
}
