//! The table against plain maps: every operation, chains of many buckets, walks and sweeps while it resizes.

use larder_structures::entry::{Entry, Value, ValueRef};
use larder_structures::hash;
use larder_structures::record::Record;
use larder_structures::sync::Pinned;
use larder_structures::table::{Keeper, Kept, SweepLimits, Table};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Stored = Entry<Pinned<Arc<()>>>;

/// Splitmix64 (Steele, Lea, Flood 2014).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn key(number: u32) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

/// The first `count` keys whose hash `fits`.
fn keys_where(count: usize, fits: impl Fn(u64) -> bool) -> Vec<Vec<u8>> {
    hash::fix_seed(7);
    (0..).map(key).filter(|key| fits(hash::of(key))).take(count).collect()
}

#[derive(Clone, Debug)]
enum Change {
    Put(u32, u8),
    Remove(u32),
    Step(usize),
    /// Removes everything below a number: tables shrink only in masses.
    RemoveBelow(u32),
}

fn changes(keys: u32, len: usize) -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        12 => (0..keys, any::<u8>()).prop_map(|(key, value)| Change::Put(key, value)),
        4 => (0..keys).prop_map(Change::Remove),
        1 => (1usize..20).prop_map(Change::Step),
        1 => (0..keys).prop_map(Change::RemoveBelow),
    ];
    vec(change, 0..len)
}

/// Does `change` to both, and compares what they say.
fn apply(
    table: &mut Table<Record>,
    model: &mut HashMap<Vec<u8>, Vec<u8>>,
    change: &Change,
    name: impl Fn(u32) -> Vec<u8>,
) {
    let remove = |table: &mut Table<Record>, model: &mut HashMap<Vec<u8>, Vec<u8>>, key: &[u8]| {
        let removed = table.remove(key);
        assert_eq!(removed.as_ref().map(|record| record.value().to_vec()), model.remove(key));
        assert!(removed.is_none_or(|record| record.key() == key));
    };
    match *change {
        Change::Put(number, value) => {
            let (key, value) = (name(number), vec![value; usize::from(value % 20)]);
            let before = match table.slot(hash::of(&key), &key) {
                Some(mut slot) if value.len() % 2 == 0 => {
                    Some(slot.replace(Record::new(&key, &value)).value().to_vec())
                }
                Some(mut slot) => Some(slot.modify(|old| {
                    let before = old.value().to_vec();
                    (old.with_value(&value), before)
                })),
                None => {
                    table.insert(Record::new(&key, &value));
                    None
                }
            };
            assert_eq!(before, model.insert(key, value));
        }
        Change::Remove(number) => remove(table, model, &name(number)),
        Change::Step(buckets) => {
            let has_more = table.step_many(buckets);
            assert_eq!(has_more, table.is_resizing());
        }
        Change::RemoveBelow(number) => (0..number).for_each(|number| remove(table, model, &name(number))),
    }
    assert_eq!(table.len(), model.len());
}

fn compare(table: &Table<Record>, model: &HashMap<Vec<u8>, Vec<u8>>) {
    table.check_invariants();
    let walked: Vec<_> =
        table.iter().map(|record| (record.key().to_vec(), record.value().to_vec())).collect();
    assert_eq!(walked.len(), model.len());
    assert_eq!(&walked.into_iter().collect::<HashMap<_, _>>(), model);
    for (key, value) in model {
        assert_eq!(table.get(key).map(|record| record.value()), Some(&value[..]));
    }
    let mut scanned = HashSet::new();
    let mut cursor = 0;
    loop {
        cursor = table.scan(cursor, |record| {
            scanned.insert(record.key().to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(scanned.len(), model.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_map(changes in changes(500, 1500), load in 50u8..=100) {
        let (mut table, mut model) = (Table::with_load(load), HashMap::new());
        for (nth, change) in changes.iter().enumerate() {
            apply(&mut table, &mut model, change, key);
            if nth % 100 == 0 {
                compare(&table, &model);
            }
        }
        compare(&table, &model);
    }

    /// All keys share a bucket however large the table gets, so its chain has up to a dozen links.
    #[test]
    fn long_chains_behave_as_a_map(changes in changes(80, 400)) {
        let keys = keys_where(80, |hash| hash & 0xff == 0);
        let (mut table, mut model) = (Table::with_load(100), HashMap::new());
        for change in &changes {
            apply(&mut table, &mut model, change, |number| keys[number as usize].clone());
            compare(&table, &model);
        }
    }

    /// Whatever is there all the time is seen, however the table grows and shrinks between the steps.
    #[test]
    fn scan_misses_nothing(
        stay in 1u32..300,
        churn in vec((any::<bool>(), 0u32..1500), 1..60),
        load in 50u8..=100,
    ) {
        let mut table = Table::with_load(load);
        (0..stay).for_each(|number| table.insert(Record::new(&key(number), b"")));
        let mut seen = HashSet::new();
        let (mut cursor, mut guests) = (0, 0u32);
        let mut churn = churn.iter().cycle();
        loop {
            cursor = table.scan(cursor, |record| {
                seen.insert(record.key().to_vec());
            });
            if cursor == 0 {
                break;
            }
            let (grow, by) = *churn.next().expect("a cycle goes on");
            if grow && guests < 20_000 {
                (guests..guests + by).for_each(|guest| table.insert(Record::new(&key(1_000_000 + guest), b"")));
                guests += by;
            } else {
                let rest = guests.saturating_sub(by * 2);
                (rest..guests).for_each(|guest| drop(table.remove(&key(1_000_000 + guest))));
                guests = rest;
            }
        }
        let missed = (0..stay).find(|number| !seen.contains(&key(*number)));
        prop_assert_eq!(missed, None);
    }

    /// A sweep finds exactly what is due, at any time, before, while and after the table resizes.
    #[test]
    fn sweep_is_never_late(
        changes in vec((0u32..200, prop_oneof![3 => Just(None), 5 => (0u64..60_000).prop_map(Some)], 0u8..8), 0..600),
        times in vec(0u64..70_000, 1..20),
        summaries in 1usize..8,
    ) {
        let mut table: Table<Stored> = Table::new();
        let mut model: BTreeMap<Vec<u8>, Option<u64>> = BTreeMap::new();
        let mut times = times.iter().cycle();
        for (nth, (number, at_ms, kind)) in changes.iter().enumerate() {
            let key = key(*number);
            let hash = hash::of(&key);
            match (kind, table.slot(hash, &key)) {
                (0, Some(slot)) => {
                    slot.take();
                    model.remove(&key);
                }
                (_, Some(mut slot)) => {
                    slot.modify(|old| (old.with_expiry(*at_ms), ()));
                    model.insert(key, *at_ms);
                }
                (_, None) => {
                    table.insert(Entry::new(&key, Value::Integer(1), *at_ms, 0));
                    model.insert(key, *at_ms);
                }
            }
            prop_assert_eq!(table.with_expiry(), model.values().flatten().count());
            if nth % 50 != 49 {
                continue;
            }
            let now_ms = *times.next().expect("a cycle goes on");
            let mut due = Vec::new();
            let mut group = 0;
            let limits = SweepLimits { summaries, visits: 1 + nth % 3, patience_ms: 0 };
            loop {
                group = table.sweep(group, limits, now_ms, |entry| due.push(entry.key().to_vec()));
                if group == 0 {
                    break;
                }
            }
            due.sort();
            let expected = model.iter().filter(|(_, at_ms)| at_ms.is_some_and(|at_ms| at_ms <= now_ms));
            prop_assert_eq!(due, expected.map(|(key, _)| key.clone()).collect::<Vec<_>>());
            table.check_invariants();
        }
    }
}

/// An empty slot and the link to the next bucket have a tag of zero too.
#[test]
fn a_tag_of_zero_is_a_tag() {
    let keys = keys_where(12, |hash| hash >> 48 == 0);
    let crowd = keys_where(60, |hash| hash & 0xf == 0);
    let mut table = Table::with_load(100);
    crowd.iter().chain(&keys).for_each(|key| table.insert(Record::new(key, key)));
    for key in crowd.iter().chain(&keys) {
        assert_eq!(table.get(key).map(|record| record.value()), Some(&key[..]));
        assert!(table.remove(key).is_some());
        assert!(table.get(key).is_none());
        table.check_invariants();
    }
    assert!(table.is_empty());
}

/// A candidate is looked into before anybody compares its key: what merely looks like one must not be taken for it.
#[test]
fn an_empty_slot_and_a_link_are_no_candidates() {
    let wanted = keys_where(200, |hash| hash >> 48 == 0);
    let others = keys_where(400, |hash| hash >> 48 != 0);
    let mut table = Table::with_load(100);
    for other in &others {
        let candidates = wanted.iter().filter_map(|key| table.candidate(hash::of(key)));
        assert_eq!(candidates.count(), 0);
        table.insert(Record::new(other, other));
    }
    for key in &wanted {
        table.insert(Record::new(key, key));
    }
    let found = wanted.iter().filter_map(|key| table.candidate(hash::of(key)));
    assert!(found.inspect(|record| assert!(wanted.iter().any(|key| key == record.key()))).count() > 0);
}

/// A collection whose key stood in an overflow bucket was not looked into beforehand, so every command on it waited for
/// its members' memory: HSET in a pipeline took 1.6 times as long, in one server out of ten.
#[test]
fn a_candidate_is_found_in_an_overflow_bucket() {
    let keys = keys_where(60, |hash| hash & 0xf == 0 && hash >> 48 != 0);
    let mut table = Table::with_load(100);
    for key in &keys {
        table.insert(Record::new(key, key));
    }
    for key in &keys {
        let candidate = table.candidate(hash::of(key)).expect("the element is there");
        assert_eq!(hash::of(candidate.key()) >> 48, hash::of(key) >> 48, "the tags are the same");
    }
}

/// Draws `draws` times for each element, and returns the least and the most that any of them came up.
fn spread(
    table: &Table<Record>,
    draws: usize,
    mut draw: impl FnMut(&Table<Record>) -> Vec<u8>,
) -> (usize, usize) {
    let mut counts: HashMap<Vec<u8>, usize> = table.iter().map(|record| (record.key().to_vec(), 0)).collect();
    for _ in 0..draws * table.len() {
        *counts.get_mut(&draw(table)).expect("only what is there is drawn") += 1;
    }
    let (least, most) = (counts.values().min(), counts.values().max());
    (least.copied().unwrap_or(0), most.copied().unwrap_or(0))
}

#[test]
fn fair_samples_are_fair() {
    hash::fix_seed(7);
    let mut state = 1;
    let mut fair = |table: &Table<Record>| {
        let record = table.sample_fair(&mut || splitmix(&mut state)).expect("it is not empty");
        record.key().to_vec()
    };
    // 200 draws for each, give or take six standard deviations.
    let bounds = 200 - 85..=200 + 85;
    let mut table = Table::new();
    for number in 0..1000 {
        table.insert(Record::new(&key(number), b""));
        if number % 250 == 249 || table.is_resizing() && number > 750 && number % 40 == 0 {
            let (least, most) = spread(&table, 200, &mut fair);
            assert!(bounds.contains(&least) && bounds.contains(&most), "{least} to {most} of 200");
        }
    }
    // Few are left: there are gaps between them, and chains from when there were many.
    (0..1000).filter(|number| number % 16 != 0).for_each(|number| drop(table.remove(&key(number))));
    let (least, most) = spread(&table, 200, &mut fair);
    assert!(bounds.contains(&least) && bounds.contains(&most), "{least} to {most} of 200, sparse");
    let mut state = 2;
    let (least, most) = spread(&table, 200, |table| {
        table.sample(splitmix(&mut state)).expect("it is not empty").key().to_vec()
    });
    assert!(!bounds.contains(&least) || !bounds.contains(&most), "this test cannot tell fair from unfair");
    // All in one long chain, and a random source that is none.
    let mut chain = Table::with_load(100);
    keys_where(60, |hash| hash & 0xff == 0).iter().for_each(|key| chain.insert(Record::new(key, b"")));
    let (least, most) = spread(&chain, 200, &mut fair);
    assert!(bounds.contains(&least) && bounds.contains(&most), "{least} to {most} of 200, in a chain");
    assert!(chain.sample_fair(&mut || u64::MAX).is_some());
    assert!(Table::<Record>::new().sample_fair(&mut || 0).is_none());
}

#[test]
fn samples_of_many_are_neighbours_without_repetition() {
    let mut table = Table::new();
    (0..300).for_each(|number| table.insert(Record::new(&key(number), b"")));
    let mut state = 3;
    for count in [0, 1, 5, 16, 299, 300, 1000] {
        let mut found = HashSet::new();
        table.sample_many(splitmix(&mut state), count, |record| {
            assert!(found.insert(record.key().to_vec()), "twice the same");
        });
        assert_eq!(found.len(), count.min(300));
    }
}

#[test]
fn a_panic_in_modify_costs_that_element_only() {
    let counter = Arc::new(());
    let mut table: Table<Stored> = Table::new();
    for number in 0..100 {
        let body = Value::Body(Pinned::new(Arc::clone(&counter)));
        table.insert(Entry::new(&key(number), body, Some(1000), 0));
    }
    for number in (0..100).step_by(3) {
        let key = key(number);
        let hash = hash::of(&key);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut slot = table.slot(hash, &key).expect("it was inserted");
            slot.modify(|_| -> (Stored, ()) { std::panic::resume_unwind(Box::new("as planned")) })
        }));
        assert!(panicked.is_err());
        assert!(table.get(&key).is_none());
        table.check_invariants();
    }
    assert_eq!(table.len(), 66);
    assert_eq!(Arc::strong_count(&counter), 1 + 66);
    drop(table);
    assert_eq!(Arc::strong_count(&counter), 1);
}

#[test]
fn dropping_frees_everything_whatever_the_state() {
    let counter = Arc::new(());
    for len in [0, 1, 6, 7, 8, 13, 30, 31, 104, 110] {
        let mut table: Table<Stored> = Table::with_load(80);
        for number in 0..len {
            let body = Value::Body(Pinned::new(Arc::clone(&counter)));
            table.insert(Entry::new(&key(number), body, None, 0));
        }
        assert_eq!(Arc::strong_count(&counter), 1 + len as usize);
        if let Some(mut slot) = table.slot(hash::of(&key(0)), &key(0)) {
            slot.modify(|old| (old.with_value(Value::Bytes(b"short")), ()));
            assert_eq!(Arc::strong_count(&counter), len as usize);
        }
        drop(table);
        assert_eq!(Arc::strong_count(&counter), 1);
    }
}

/// Everything a snapshot gets of a table that changes while it walks: what was there at its beginning, once.
#[test]
fn a_snapshot_gets_every_record_once_as_it_was() {
    for resize in [20, 200, 5000] {
        let mut table = Table::new();
        (0..500).for_each(|number| table.insert(Record::new(&key(number), &key(number))));
        let (all, keeper) = keeper();
        table.exchange_colour(Some(Arc::clone(&keeper)));
        let mut kept = Kept::default();
        let mut cursor = 0;
        let mut number = 0;
        loop {
            cursor = table.scan_old(cursor, |record| {
                kept.push(record.key(), record.value());
                true
            });
            for _ in 0..7 {
                number = (number + 37) % resize;
                change(&mut table, number);
            }
            if cursor == 0 {
                break;
            }
        }
        assert!(all.load(Ordering::Relaxed) > 0, "some were changed before the walk came to them");
        keeper.hand_over(&mut kept);
        assert_eq!(all.load(Ordering::Relaxed), 0);
        let mut seen: Vec<_> = kept.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        seen.sort();
        let mut expected: Vec<_> = (0..500).map(|number| (key(number), key(number))).collect();
        expected.sort();
        assert_eq!(seen, expected, "changes up to {resize}");
        table.end_keeping();
        table.check_invariants();
        for number in 0..resize {
            let hash = hash::of(&key(number));
            assert!(table.slot(hash, &key(number)).is_none_or(|slot| !slot.is_old()));
        }
    }
}

fn keeper() -> (Arc<AtomicUsize>, Arc<Keeper>) {
    let all = Arc::<AtomicUsize>::default();
    (Arc::clone(&all), Arc::new(Keeper::new(all)))
}

/// Removes a record, inserts it, or gives it another value, as its number says.
fn change(table: &mut Table<Record>, number: u32) {
    let name = key(number);
    match table.slot(hash::of(&name), &name) {
        None => table.insert(Record::new(&name, b"born later")),
        Some(slot) if number.is_multiple_of(3) => drop(slot.take()),
        Some(mut slot) => slot.modify(|old| (old.with_value(b"changed"), ())),
    }
}

#[test]
fn memory_follows_the_table() {
    let mut table = Table::new();
    assert_eq!(table.memory(), 0);
    (0..10_000).for_each(|number| table.insert(Record::new(&key(number), b"")));
    while table.step_many(100) {}
    let full = table.memory();
    assert!(full >= table.capacity() * 8);
    (0..10_000).for_each(|number| drop(table.remove(&key(number))));
    while table.step_many(100) {}
    assert!(table.is_empty() && table.memory() < full / 50, "{} of {full} bytes are left", table.memory());
}

#[test]
fn prefetching_needs_no_element() {
    let mut table = Table::new();
    for number in 0..5000 {
        // Before anything is there, while the table resizes, and with chains.
        for other in [number, number / 2, number + 1] {
            let hash = hash::of(&key(other));
            table.prefetch_bucket(hash);
            table.prefetch_entry(hash);
        }
        table.insert(Record::new(&key(number), b""));
    }
    table.check_invariants();
}

#[test]
fn defragmenting_loses_nothing_and_empties_pages() {
    let mut table: Table<Stored> = Table::new();
    let body = Arc::new(());
    for number in 0..60_000u32 {
        let value = match number % 3 {
            0 => Value::Bytes(b"a value of some bytes"),
            1 => Value::Integer(i64::from(number)),
            _ => Value::Body(Pinned::new(Arc::clone(&body))),
        };
        let expires = (number % 5 == 0).then(|| u64::from(number) + 1000);
        table.insert(Entry::new(&key(number), value, expires, number % 100));
    }
    (0..60_000).filter(|number| number % 11 != 0).for_each(|number| drop(table.remove(&key(number))));
    let kept: Vec<_> = table.iter().map(|entry| entry.memory()).collect();
    let mut bytes = 0;
    for _ in 0..3 {
        let mut from = 0;
        loop {
            from = table.defragment(from, 7, |size| bytes += size);
            if from == 0 {
                break;
            }
        }
    }
    // The tools' allocator moves nothing.
    assert!(bytes * 2 > kept.iter().sum::<usize>() || cfg!(any(miri, plain_alloc)), "{bytes} bytes moved");
    table.check_invariants();
    for number in (0..60_000u32).filter(|number| number % 11 == 0) {
        let entry = table.get(&key(number)).expect("it was kept");
        assert_eq!(entry.clock(), number % 100);
        assert_eq!(entry.expires_at_ms(), (number % 5 == 0).then(|| u64::from(number) + 1000));
        match entry.value() {
            ValueRef::Bytes(bytes) => assert_eq!(bytes, b"a value of some bytes"),
            ValueRef::Integer(value) => assert_eq!(value, i64::from(number)),
            ValueRef::Body(_) => {}
            ValueRef::Packed(..) => panic!("no packed value was put in"),
        }
    }
    let bodies = table.iter().filter(|entry| matches!(entry.value(), ValueRef::Body(_))).count();
    assert_eq!(Arc::strong_count(&body), bodies + 1);
    drop(table);
    assert_eq!(Arc::strong_count(&body), 1);
}
