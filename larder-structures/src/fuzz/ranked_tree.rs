//! The ranked tree against a sorted `Vec`.

use std::cmp::Ordering;

use super::Tape;
use crate::ranked_tree::RankedTree;

/// A handle whose order is in `key`; `copy` tells equal ones apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Handle {
    key: u32,
    copy: u32,
}

fn order(a: &Handle, b: &Handle) -> Ordering {
    a.key.cmp(&b.key)
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
            tree = RankedTree::from_sorted((0..3000).map(|key| Handle { key: key * 20, copy }));
            model = tree.iter().collect();
        }
    }
}

fn step(tape: &mut Tape<'_>, tree: &mut RankedTree<Handle>, model: &mut Vec<Handle>, copy: u32) {
    let op = tape.byte() % 12;
    let from = tape.below(model.len());
    let base = tape.below(65_536) as u32;
    let repeats = 1 + tape.below(700) as u32;
    match op {
        // Ascending, descending and scattered runs.
        0 => (0..repeats).for_each(|n| insert(tree, model, Handle { key: base + n, copy })),
        1 => (0..repeats).for_each(|n| insert(tree, model, Handle { key: base.saturating_sub(n), copy })),
        2 | 3 => {
            (0..repeats).for_each(|n| insert(tree, model, Handle { key: (base + n * 9973) % 65_536, copy }));
        }
        4 => insert(tree, model, Handle { key: base, copy }),
        5 => (0..repeats).for_each(|n| {
            let key = (base + n * 9973) % 65_536;
            let expected = model.binary_search_by_key(&key, |h| h.key).ok().map(|at| model.remove(at));
            assert_eq!(tree.remove_by(|probe| probe.key.cmp(&key)), expected);
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
        9 => {
            if let Some(slot) = model.get_mut(from) {
                let new = Handle { copy, ..*slot };
                assert_eq!(tree.replace_at(from, new), Some(std::mem::replace(slot, new)));
            }
        }
        _ => reads(tape, tree, model, from, base),
    }
}

fn insert(tree: &mut RankedTree<Handle>, model: &mut Vec<Handle>, item: Handle) {
    let place = model.binary_search_by_key(&item.key, |h| h.key).err();
    assert_eq!(tree.insert(item, &order), place);
    if let Some(place) = place {
        model.insert(place, item);
    }
}

fn reads(tape: &mut Tape<'_>, tree: &RankedTree<Handle>, model: &[Handle], from: usize, key: u32) {
    let place = model.partition_point(|h| h.key < key);
    assert_eq!(tree.lower_bound(|h| h.key < key), place);
    assert_eq!(tree.search(|h| h.key.cmp(&key)), model.binary_search_by_key(&key, |h| h.key));
    assert_eq!(
        tree.rank_by(|h| h.key.cmp(&key)),
        (model.get(place).map(|h| h.key) == Some(key)).then_some(place)
    );
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
