//! The sorted set against a `BTreeSet` of (score, member) and a `BTreeMap` of scores.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Tape;
use crate::sorted::{Builder, SortedSet};

/// Members in order; the position in the vector is the rank.
type Model = Vec<(f64, Vec<u8>)>;

/// See the module. A step inserts, rescores or removes up to hundreds of members.
pub fn fuzz_sorted(data: &[u8]) {
    let tape = &mut Tape(data);
    let (mut set, mut model) = (SortedSet::new(), Model::new());
    while !tape.is_empty() {
        step(tape, &mut set, &mut model);
        compare(&set, &model);
    }
    let copy = set.clone();
    drop(set);
    compare(&copy, &model);
    compare(&rebuild(&model), &model);
}

fn compare(set: &SortedSet, model: &Model) {
    set.check_invariants();
    assert_eq!(set.len(), model.len());
    assert!(set.iter().map(|it| (it.score(), it.member())).eq(model.iter().map(|(s, m)| (*s, &**m))));
}

fn rebuild(model: &Model) -> SortedSet {
    let mut builder = Builder::new();
    for (score, member) in model.iter().rev() {
        assert!(builder.add(member, score / 2.0, |_, _| unreachable!("members are distinct")));
    }
    for (score, member) in model {
        assert!(!builder.add(member, *score, |_, new| new));
    }
    assert_eq!(builder.len(), model.len());
    builder.finish()
}

/// Scores with many ties, both zeros and both infinities.
fn score(tape: &mut Tape<'_>) -> f64 {
    match tape.byte() {
        0 => -0.0,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        byte @ 3..=99 => f64::from(byte % 4),
        byte @ 100..=199 => f64::from(byte) / 7.0 - 20.0,
        _ => tape.int() as f64,
    }
}

fn member(tape: &mut Tape<'_>) -> Vec<u8> {
    if tape.byte().is_multiple_of(32) { tape.string() } else { format!("m{}", tape.below(300)).into_bytes() }
}

fn place_of(model: &Model, member: &[u8]) -> Option<usize> {
    model.iter().position(|(_, other)| other == member)
}

fn insert(set: &mut SortedSet, model: &mut Model, member: Vec<u8>, score: f64) {
    let place = place_of(model, &member);
    assert_eq!(set.insert(&member, score), place.map(|at| model[at].0));
    if place.is_some_and(|at| model[at].0 == score) {
        return;
    }
    if let Some(at) = place {
        model.remove(at);
    }
    let at = model.partition_point(|(other, name)| (*other, name) < (score, &member));
    model.insert(at, (score, member));
}

fn step(tape: &mut Tape<'_>, set: &mut SortedSet, model: &mut Model) {
    let op = tape.byte() % 10;
    let from = tape.below(model.len() + 2);
    let count = tape.below(model.len() + 2);
    match op {
        0 => insert(set, model, member(tape), score(tape)),
        1..=3 => {
            let (base, step) = (tape.below(1000), tape.below(7));
            for n in 0..tape.below(200) {
                insert(set, model, format!("m{}", (base + n * 37) % 300).into_bytes(), (n * step) as f64);
            }
        }
        4 => {
            let name = member(tape);
            let expected = place_of(model, &name).map(|at| model.remove(at).0);
            assert_eq!(set.remove(&name), expected);
        }
        5 => {
            let mut taken = Vec::new();
            let from = from.min(model.len());
            let expected: Model = model.drain(from..(from + count / 4).min(model.len())).collect();
            let removed =
                set.remove_ranks(from..from + count / 4, |it| taken.push((it.score(), it.member().to_vec())));
            assert_eq!((removed, taken), (expected.len(), expected));
        }
        6 => {
            let expected = (!model.is_empty()).then(|| model.remove(0));
            assert_eq!(set.pop_min().map(|it| (it.score(), it.member().to_vec())), expected);
            assert_eq!(set.pop_max().map(|it| (it.score(), it.member().to_vec())), model.pop());
        }
        _ => reads(tape, set, model, from, count),
    }
}

fn bound<T>(kind: u8, value: T) -> Bound<T> {
    match kind % 4 {
        0 => Bound::Unbounded,
        1 => Bound::Excluded(value),
        _ => Bound::Included(value),
    }
}

fn reads(tape: &mut Tape<'_>, set: &SortedSet, model: &Model, from: usize, count: usize) {
    let names: Vec<&[u8]> = model.iter().map(|(_, name)| &**name).collect();
    assert!(
        set.range(from..from + count).map(|it| it.member()).eq(names.iter().skip(from).take(count).copied())
    );
    let backwards = set.range(from..from + count).rev().map(|it| it.member());
    let end = (from + count).min(names.len());
    assert!(backwards.eq(names[from.min(end)..end].iter().rev().copied()));
    assert_eq!(set.get(from).map(|it| it.member()), names.get(from).copied());
    let name = member(tape);
    assert_eq!(set.rank(&name), place_of(model, &name));
    assert_eq!(set.score(&name), place_of(model, &name).map(|at| model[at].0));

    let (min, max) = (bound(tape.byte(), score(tape)), bound(tape.byte(), score(tape)));
    let inside = model.iter().filter(|(score, _)| (min, max).contains_score(*score)).count();
    assert_eq!(set.ranks_by_score(min, max).len(), inside);
    assert!(set.range(set.ranks_by_score(min, max)).all(|it| (min, max).contains_score(it.score())));

    let mut seen = BTreeMap::new();
    let mut cursor = 0;
    loop {
        cursor = set.scan(cursor, |it| seen.extend([(it.member().to_vec(), it.score())]));
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), model.len());
    assert_eq!(set.sample(u64::MAX).map(|it| it.member()), names.last().copied());
    assert_eq!(set.sample(0).map(|it| it.member()), names.first().copied());
}

trait ContainsScore {
    fn contains_score(&self, score: f64) -> bool;
}

impl ContainsScore for (Bound<f64>, Bound<f64>) {
    fn contains_score(&self, score: f64) -> bool {
        std::ops::RangeBounds::contains(self, &score)
    }
}
