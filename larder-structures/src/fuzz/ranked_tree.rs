//! The ranked tree against a sorted `Vec`.

use std::cmp::Ordering;

use super::Tape;
use crate::ranked_tree::{Item, RankedTree};

/// A handle whose order is in `name`; `copy` tells equal ones apart. The tree's key is a part of the name, so that several
/// items have the same, and grows in strides that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Handle {
    name: u32,
    copy: u16,
}

impl Item for Handle {
    fn bits(self) -> u64 {
        u64::from(self.name) << 16 | u64::from(self.copy)
    }

    fn from_bits(bits: u64) -> Self {
        Handle { name: (bits >> 16) as u32, copy: bits as u16 }
    }

    fn key(self) -> i64 {
        key_of(self.name)
    }
}

fn key_of(name: u32) -> i64 {
    match name {
        0..10_000 => i64::MIN + i64::from(name / 64),
        10_000..20_000 => i64::from(name / 4 * 4).pow(4) - 2 * 10_i64.pow(17),
        20_000..40_000 => i64::from(name),
        40_000..40_200 => 1 << 20,
        _ => i64::MAX - i64::from(100_000 - name),
    }
}

fn order(a: &Handle, b: &Handle) -> Ordering {
    a.name.cmp(&b.name)
}

/// See the module. One operation in the tape inserts or removes up to hundreds of items, so that trees of three levels come
/// and go.
pub fn fuzz_ranked_tree(data: &[u8]) {
    let tape = &mut Tape(data);
    let mut tree = RankedTree::new();
    let mut model: Vec<Handle> = Vec::new();
    let mut copy = 0;
    while !tape.is_empty() {
        copy += 1;
        step(tape, &mut tree, &mut model, copy);
        tree.check_invariants(&order);
        assert!(tree.iter().eq(model.iter().copied()));
        assert_eq!((tree.len(), tree.is_empty()), (model.len(), model.is_empty()));
        if model.is_empty() && tape.byte().is_multiple_of(2) {
            tree = RankedTree::from_sorted((0..3000).map(|key| Handle { name: key * 20, copy }));
            model = tree.iter().collect();
        }
    }
}

fn step(tape: &mut Tape<'_>, tree: &mut RankedTree<Handle>, model: &mut Vec<Handle>, copy: u16) {
    let op = tape.byte() % 12;
    let from = tape.below(model.len());
    let base = tape.below(65_536) as u32;
    let repeats = 1 + tape.below(700) as u32;
    match op {
        // Ascending, descending and scattered runs.
        0 => (0..repeats).for_each(|n| insert(tree, model, Handle { name: base + n, copy })),
        1 => (0..repeats).for_each(|n| insert(tree, model, Handle { name: base.saturating_sub(n), copy })),
        2 | 3 => {
            (0..repeats).for_each(|n| insert(tree, model, Handle { name: (base + n * 9973) % 65_536, copy }));
        }
        4 => insert(tree, model, Handle { name: base, copy }),
        5 => (0..repeats).for_each(|n| {
            let key = (base + n * 9973) % 65_536;
            let expected = model.binary_search_by_key(&key, |h| h.name).ok().map(|at| model.remove(at));
            assert_eq!(tree.remove(key_of(key), |probe| probe.name.cmp(&key)), expected);
        }),
        6 => {
            for _ in 0..repeats.min(model.len() as u32) {
                let at = from.min(model.len() - 1);
                assert_eq!(tree.remove_at(at), Some(model.remove(at)));
            }
        }
        7 => {
            let count = tape.below(model.len() + 5);
            let end = (from + count).min(model.len());
            let expected: Vec<Handle> = model.drain(from..end).collect();
            let mut taken = Vec::new();
            assert_eq!(tree.remove_range(from, count, |h| taken.push(h)), expected.len());
            assert_eq!(taken, expected);
        }
        8 => (0..repeats).for_each(|n| {
            let expected = if model.is_empty() {
                None
            } else if n % 3 < 2 {
                Some(model.remove(0))
            } else {
                model.pop()
            };
            assert_eq!(if n % 3 < 2 { tree.pop_first() } else { tree.pop_last() }, expected);
        }),
        _ => reads(tape, tree, model, from, base),
    }
}

fn insert(tree: &mut RankedTree<Handle>, model: &mut Vec<Handle>, item: Handle) {
    let found = model.binary_search_by_key(&item.name, |h| h.name);
    assert_eq!(tree.search(item.key(), |probe| order(probe, &item)), found);
    if let Err(place) = found {
        tree.insert(item, |probe| order(probe, &item));
        model.insert(place, item);
    }
}

fn reads(tape: &mut Tape<'_>, tree: &RankedTree<Handle>, model: &[Handle], from: usize, key: u32) {
    let found = model.binary_search_by_key(&key, |h| h.name);
    assert_eq!(tree.search(key_of(key), |h| h.name.cmp(&key)), found);
    assert_eq!(tree.lower_bound(key_of(key), |h| h.name.cmp(&key)), found.unwrap_or_else(|place| place));
    let same =
        model.partition_point(|h| h.key() < key_of(key))..model.partition_point(|h| h.key() <= key_of(key));
    assert_eq!(tree.lower_bound(key_of(key), |_| Ordering::Greater), same.start);
    assert_eq!(tree.lower_bound(key_of(key), |_| Ordering::Less), same.end);
    assert_eq!(tree.get(from), model.get(from).copied());
    assert_eq!(tree.get(model.len()), None);
    assert_eq!((tree.first(), tree.last()), (model.first().copied(), model.last().copied()));
    let count = tape.below(400);
    let end = (from + count).min(model.len());
    let expected = &model[from..end];
    assert!(tree.range(from, count).eq(expected.iter().copied()));
    assert!(tree.range(from, count).rev().eq(expected.iter().rev().copied()));
    let (mut ours, mut theirs) = (tree.range(from, count), expected.iter().copied());
    while ours.len() > 0 {
        match tape.byte() % 3 {
            0 => assert_eq!(ours.next_back(), theirs.next_back()),
            1 => assert_eq!(ours.next(), theirs.next()),
            _ => assert_eq!(ours.nth(count / 20), theirs.nth(count / 20)),
        }
        assert_eq!(ours.len(), theirs.len());
    }
    assert_eq!((ours.next(), ours.next_back(), theirs.next()), (None, None, None));
}
