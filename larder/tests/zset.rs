//! Sorted sets against a sorted vector: every operation in both forms, walks while members come and go, and the bytes of
//! the small form.

use larder::types::string::Digits;
use larder::types::zset::{Builder, LexBound, LexRange, Limits, ScoreRange, Scored};
use larder::types::{BodyRef, Collection, Zset};
use larder_structures::listpack::{EMPTY_BYTES, Listpack};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::{Bound, Range};

const LIMITS: Limits = Limits { entries: 40, value: 20 };

/// In order; the place is the rank.
type Model = Vec<(f64, Vec<u8>)>;

#[derive(Clone, Debug)]
enum Change {
    Insert(Vec<u8>, f64),
    Remove(Vec<u8>),
    RemoveRanks(Range<usize>),
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0u32..60).prop_map(|number| format!("m{number}").into_bytes()),
        4 => (-20i64..40).prop_map(|number| number.to_string().into_bytes()),
        1 => prop_oneof![Just(""), Just("007"), Just("-0"), Just("+1")].prop_map(|text| text.as_bytes().to_vec()),
        1 => (18usize..23).prop_map(|len| vec![b'x'; len]),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-3i32..4).prop_map(f64::from),
        3 => -2.0..2.0,
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1e18), Just(-1e300), Just(4.7e18)],
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        8 => (member(), score()).prop_map(|(member, score)| Change::Insert(member, score)),
        2 => member().prop_map(Change::Remove),
        1 => (0usize..50, 0usize..5).prop_map(|(start, len)| Change::RemoveRanks(start..start + len)),
    ];
    vec(change, 0..150)
}

fn apply(change: &Change, zset: &mut Zset, model: &mut Model) {
    match change {
        Change::Insert(member, score) => {
            let old = model.iter().position(|(_, other)| other == member);
            assert_eq!(zset.insert(member, *score, LIMITS), old.map(|at| model[at].0));
            if let Some(at) = old {
                model.remove(at);
            }
            let at = model.partition_point(|(other, name)| (*other, name) < (*score, member));
            model.insert(at, (*score, member.clone()));
        }
        Change::Remove(member) => {
            let old = model.iter().position(|(_, other)| other == member);
            assert_eq!(zset.remove(member), old.map(|at| model.remove(at).0));
        }
        Change::RemoveRanks(ranks) => {
            let inside = ranks.start.min(model.len())..ranks.end.min(model.len());
            assert_eq!(zset.remove_ranks(ranks.clone()), inside.len());
            model.drain(inside);
        }
    }
}

fn seen(zset: &Zset, ranks: Range<usize>, reverse: bool) -> Model {
    zset.view().range(ranks, reverse).map(|item| (item.score, item.member.to_vec())).collect()
}

/// What the heap bytes must be: those of the listpack, or some for each member, which depend on its length.
fn check_memory(zset: &Zset) {
    match zset.view().as_packed() {
        Some(pack) => {
            let bytes = pack.to_bytes();
            assert!(zset.memory() >= bytes.len());
            Listpack::from_bytes(bytes).expect("a small sorted set is a listpack").check_invariants();
            if let Some(packed) = Collection::packed(zset) {
                let BodyRef::Zset(in_entry) = packed.into() else { panic!("a sorted set is packed as one") };
                assert_eq!(in_entry.len(), zset.len());
                assert!(in_entry.iter().eq(zset.view().iter()));
                let taken_out: Zset = Collection::unpacked(packed, vec![7; 9]).expect("it is a sorted set");
                assert!(taken_out.view().iter().eq(zset.view().iter()));
            }
        }
        None => {
            // A whole score takes four bytes, any other eight, -0 among them.
            let score_bytes = |score: f64| {
                if f64::from(score as i32).to_bits() == score.to_bits() { 4 } else { 8 }
            };
            let member_bytes =
                |item: Scored<'_>| (score_bytes(item.score) + 1 + item.member.len()).next_multiple_of(8);
            let members: usize = zset.view().iter().map(member_bytes).sum();
            // Beside the members: the tree, and a table that is at least a tenth full.
            let rest = zset.memory() - members;
            assert!(rest <= 1024 + 200 * zset.len(), "{rest} bytes for {}", zset.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_sorted_vector(changes in changes(), min in score(), max in score(), at in 0usize..50, name in member()) {
        let (mut zset, mut model) = (Zset::new(), Model::new());
        let mut was_sorted = false;
        for change in &changes {
            let fits = model.len() <= LIMITS.entries && model.iter().all(|(_, name)| name.len() <= LIMITS.value);
            was_sorted |= !fits;
            apply(change, &mut zset, &mut model);
            check_memory(&zset);
        }
        was_sorted |= model.len() > LIMITS.entries || model.iter().any(|(_, name)| name.len() > LIMITS.value);
        prop_assert_eq!(zset.view().encoding(), if was_sorted { "skiplist" } else { "listpack" });
        prop_assert_eq!(&seen(&zset, 0..usize::MAX, false), &model);
        for zset in [&zset, &zset.clone(), &rebuilt(&model)] {
            check_reads(zset, &model, (min, max), at, &name);
        }
    }

    #[test]
    fn ranges_by_member_are_ranges_of_bytes(
        names in vec(member(), 0..80),
        min in member(),
        max in member(),
        kinds in (0u8..4, 0u8..4),
    ) {
        let mut zset = Zset::new();
        let mut model = BTreeSet::new();
        for name in names {
            zset.insert(&name, 1.0, LIMITS);
            model.insert(name);
        }
        let bound = |kind, name| match kind {
            0 => LexBound::Lowest,
            1 => LexBound::Highest,
            2 => LexBound::Included(name),
            _ => LexBound::Excluded(name),
        };
        let range = LexRange { min: bound(kinds.0, &min[..]), max: bound(kinds.1, &max[..]) };
        let is_inside = |name: &&Vec<u8>| {
            let above = match kinds.0 { 0 => true, 1 => false, 2 => **name >= min, _ => **name > min };
            let below = match kinds.1 { 0 => false, 1 => true, 2 => **name <= max, _ => **name < max };
            above && below
        };
        let expected: Vec<Vec<u8>> = model.iter().filter(is_inside).cloned().collect();
        let found: Vec<Vec<u8>> =
            zset.view().range(zset.view().ranks_by_lex(range), false).map(|item| item.member.to_vec()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_walk_meets_every_member_that_stays(count in 1usize..2000, step in 1usize..50, more in 0usize..2000) {
        let mut zset = Zset::new();
        for number in 0..count {
            zset.insert(format!("stays{number}").as_bytes(), number as f64, LIMITS);
        }
        let (mut met, mut cursor, mut turn) = (BTreeSet::new(), 0, 0);
        loop {
            cursor = zset.view().scan(cursor, step, |item| { met.insert(item.member.to_vec()); });
            if cursor == 0 {
                break;
            }
            for number in 0..more / 50 {
                let name = format!("moves{}", (turn / 8 * 40 + number) % 3000);
                if turn % 16 < 8 { zset.insert(name.as_bytes(), 0.5, LIMITS); } else { zset.remove(name.as_bytes()); }
            }
            turn += 1;
        }
        for number in 0..count {
            prop_assert!(met.contains(format!("stays{number}").as_bytes()), "{} is missing", number);
        }
    }

    #[test]
    fn listpacks_from_outside_are_taken_over_only_if_they_are_sorted_sets(bytes in vec(any::<u8>(), 0..60), words in vec(member(), 0..12)) {
        // Whatever the bytes are, nothing breaks.
        if let Ok(pack) = Listpack::from_bytes(bytes) {
            drop(Zset::from_packed(pack, LIMITS));
        }
        let mut pack = Listpack::new();
        words.iter().for_each(|word| pack.push_back(word));
        if let Some(zset) = Zset::from_packed(pack, LIMITS) {
            let all = seen(&zset, 0..usize::MAX, false);
            prop_assert_eq!(all.len() * 2, words.len());
            prop_assert!(all.is_sorted_by(|a, b| a < b));
            prop_assert!(all.iter().all(|(score, name)| zset.view().score(name) == Some(*score)));
        }
    }
}

fn rebuilt(model: &Model) -> Zset {
    let mut builder = Builder::new();
    for (score, name) in model.iter().rev() {
        builder.add(name, *score, |_, new| new);
    }
    assert_eq!(builder.len(), model.len());
    let zset = builder.finish(LIMITS);
    check_memory(&zset);
    zset
}

fn check_reads(zset: &Zset, model: &Model, (min, max): (f64, f64), at: usize, name: &[u8]) {
    let place = model.iter().position(|(_, other)| other == name);
    assert_eq!(zset.len(), model.len());
    assert_eq!(zset.view().rank(name), place);
    assert_eq!(zset.view().score(name), place.map(|at| model[at].0));
    assert_eq!(zset.view().get(at).map(|item| (item.score, item.member.to_vec())), model.get(at).cloned());
    let ranks = at..at + 7;
    let inside = at.min(model.len())..(at + 7).min(model.len());
    assert_eq!(seen(zset, ranks.clone(), false), model[inside.clone()]);
    assert_eq!(seen(zset, ranks, true), model[inside].iter().rev().cloned().collect::<Model>());
    for range in [
        ScoreRange { min: Bound::Included(min), max: Bound::Included(max) },
        ScoreRange { min: Bound::Excluded(min), max: Bound::Unbounded },
        ScoreRange { min: Bound::Unbounded, max: Bound::Excluded(max) },
    ] {
        let contains = |score: f64| std::ops::RangeBounds::contains(&(range.min, range.max), &score);
        let expected: Model = model.iter().filter(|(score, _)| contains(*score)).cloned().collect();
        assert_eq!(seen(zset, zset.view().ranks_by_score(range), false), expected);
    }
}

#[test]
fn the_small_form_is_what_redis_writes() {
    let mut zset = Zset::new();
    for (member, score) in
        [("a", -0.0), ("b", 1.5), ("c", 3.0), ("d", f64::INFINITY), ("e", 1e18), ("f", 0.1)]
    {
        zset.insert(member.as_bytes(), score, LIMITS);
    }
    let pack = zset.view().as_packed().expect("six short members are few");
    let elements: Vec<Vec<u8>> = pack.iter().map(|element| element.to_vec()).collect();
    let expected =
        ["a", "0", "f", "0.10000000000000001", "b", "1.5", "c", "3", "e", "1000000000000000000", "d", "inf"];
    assert_eq!(elements, expected.map(|text| text.as_bytes().to_vec()));
    // Integral scores are integers of the listpack: two bytes each when small, as short names are two.
    let mut short = Zset::new();
    short.insert(b"x", 7.0, LIMITS);
    assert_eq!(short.view().as_packed().map(|pack| pack.to_bytes().len()), Some(EMPTY_BYTES + 3 + 2));
}

#[test]
fn a_member_that_is_a_number_sorts_by_its_digits() {
    let mut zset = Zset::new();
    for member in ["10", "9", "-1", "1", "x"] {
        zset.insert(member.as_bytes(), 0.0, LIMITS);
    }
    let mut digits = Digits::new();
    let names: Vec<Vec<u8>> =
        zset.view().iter().map(|item| item.member.bytes(&mut digits).to_vec()).collect();
    assert_eq!(names, ["-1", "1", "10", "9", "x"].map(|name| name.as_bytes().to_vec()));
}

#[test]
fn a_decision_sees_the_old_score_and_may_leave_it() {
    for limits in [LIMITS, Limits::UNPACKED] {
        let mut zset = Zset::new();
        assert_eq!(
            zset.update(b"a", limits, |old| {
                assert_eq!(old, None);
                None
            }),
            None
        );
        assert!(zset.is_empty());
        zset.insert(b"a", 1.0, limits);
        assert_eq!(
            zset.update(b"a", limits, |old| {
                assert_eq!(old, Some(1.0));
                None
            }),
            Some(1.0)
        );
        assert_eq!(zset.update(b"a", limits, |old| old.map(|score| score + 1.0)), Some(1.0));
        assert_eq!(zset.view().score(b"a"), Some(2.0));
    }
}
