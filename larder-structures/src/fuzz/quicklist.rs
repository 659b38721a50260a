//! The quicklist against a `VecDeque` of strings.

use std::collections::VecDeque;

use super::Tape;
use crate::listpack::Listpack;
use crate::quicklist::{Node, Quicklist};

type Model = VecDeque<Vec<u8>>;

/// See the module. The first byte chooses the fill.
pub fn fuzz_quicklist(data: &[u8]) {
    let tape = &mut Tape(data);
    let fill = [-1, -2, -5, -9, 0, 1, 2, 5, 128][tape.below(9)];
    let mut list = Quicklist::new(fill);
    let mut model = Model::new();
    let mut loaded = false;
    while !tape.is_empty() {
        step(tape, &mut list, &mut model, &mut loaded);
        list.check_invariants(loaded);
        assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
        assert!(list.iter().zip(&model).all(|(ours, theirs)| ours.eq_bytes(theirs)));
    }
    list.clone().check_invariants(loaded);
    let mut copy = Quicklist::new(fill);
    list.nodes().for_each(|node| copy.push_node(node.clone()));
    assert!(copy.iter().eq(list.iter()));
    while let Some(node) = copy.pop_node() {
        (0..node.len()).for_each(|_| drop(model.pop_back()));
        copy.check_invariants(true);
        assert_eq!(copy.len(), model.len());
    }
}

/// A few values that come often, many that do not, and some too large for a node.
fn value(tape: &mut Tape<'_>) -> Vec<u8> {
    match tape.byte() % 16 {
        0..=5 => vec![b'a' + tape.byte() % 4],
        6 => vec![tape.byte(); 4000 + tape.below(200)],
        7 => vec![b'L'; 8000 + tape.below(400)],
        _ => tape.string(),
    }
}

fn step(tape: &mut Tape<'_>, list: &mut Quicklist, model: &mut Model, loaded: &mut bool) {
    let op = tape.byte() % 20;
    let index = tape.below(model.len());
    match op {
        0..=2 => {
            let (value, times) = (value(tape), 1 + tape.below(12) * tape.below(12));
            for _ in 0..times {
                list.push_back(&value);
                model.push_back(value.clone());
            }
        }
        3..=5 => {
            let (value, times) = (value(tape), 1 + tape.below(12) * tape.below(12));
            for _ in 0..times {
                list.push_front(&value);
                model.push_front(value.clone());
            }
        }
        6 => (0..tape.below(50)).for_each(|_| assert_eq!(list.pop_front(), model.pop_front())),
        7 => (0..tape.below(50)).for_each(|_| assert_eq!(list.pop_back(), model.pop_back())),
        8 | 9 => {
            let value = value(tape);
            let given =
                if tape.byte().is_multiple_of(2) { index as i64 } else { index as i64 - model.len() as i64 };
            assert_eq!(list.set(given, &value), model.get(index).is_some());
            if let Some(slot) = model.get_mut(index) {
                *slot = value;
            }
        }
        10..=13 => insert(tape, list, model, index),
        14 | 15 => remove(tape, list, model, index),
        16 => {
            let (start, end) = (tape.int() % 40, tape.int() % 400);
            let expected: Model = slice(model, start, end).cloned().collect();
            assert_eq!(list.trim(start, end), model.len() - expected.len());
            *model = expected;
        }
        17 if tape.byte().is_multiple_of(8) => {
            *loaded = true;
            let mut pack = Listpack::new();
            (0..tape.below(4)).for_each(|_| pack.push_back(&tape.string()));
            model.extend(pack.iter().map(|e| e.to_vec()));
            list.push_node(Node::Packed(pack));
            let plain = tape.string();
            list.push_node(Node::Plain(plain.clone().into()));
            model.push_back(plain);
        }
        _ => reads(tape, list, model, index),
    }
}

fn insert(tape: &mut Tape<'_>, list: &mut Quicklist, model: &mut Model, index: usize) {
    let value = value(tape);
    let pivot = model.get(index).cloned().unwrap_or_default();
    let place = model.iter().position(|element| *element == pivot);
    let after = tape.byte().is_multiple_of(2);
    let done = if after { list.insert_after(&pivot, &value) } else { list.insert_before(&pivot, &value) };
    assert_eq!(done, place.is_some());
    if let Some(place) = place {
        model.insert(place + usize::from(after), value);
    }
}

fn remove(tape: &mut Tape<'_>, list: &mut Quicklist, model: &mut Model, index: usize) {
    let value = if tape.byte().is_multiple_of(2) {
        vec![b'a']
    } else {
        model.get(index).cloned().unwrap_or_default()
    };
    let count = [0, 1, -1, 3, -3, 40, -40, i64::MIN, i64::MAX][tape.below(9)];
    let mut left = if count == 0 { u64::MAX } else { count.unsigned_abs() };
    let mut keep = |element: &Vec<u8>| {
        let goes = left > 0 && *element == value;
        left -= u64::from(goes);
        !goes
    };
    let before = model.len();
    if count < 0 {
        let mut kept: Model = Model::new();
        model
            .iter()
            .rev()
            .filter(|element| keep(element))
            .for_each(|element| kept.push_front(element.clone()));
        *model = kept;
    } else {
        model.retain(|element| keep(element));
    }
    assert_eq!(list.remove(count, &value), before - model.len());
}

/// The elements from `start` to `end` by the rules of LRANGE.
fn slice(model: &Model, start: i64, end: i64) -> impl DoubleEndedIterator<Item = &Vec<u8>> {
    let len = model.len() as i64;
    let absolute = move |index: i64| if index < 0 { index + len } else { index };
    let inside =
        move |&(index, _): &(usize, &Vec<u8>)| (absolute(start)..=absolute(end)).contains(&(index as i64));
    model.iter().enumerate().filter(inside).map(|(_, element)| element)
}

fn reads(tape: &mut Tape<'_>, list: &Quicklist, model: &Model, index: usize) {
    let text = |at: i64| list.get(at).map(|e| e.to_vec());
    assert_eq!(text(index as i64), model.get(index).cloned());
    assert_eq!(text(index as i64 - model.len() as i64), model.get(index).cloned());
    assert_eq!((text(model.len() as i64), text(-1 - model.len() as i64)), (None, None));
    assert_eq!((text(i64::MIN), text(i64::MAX)), (None, None));
    assert!(list.iter_rev().map(|e| e.to_vec()).eq(model.iter().rev().cloned()));
    let (start, end) = (tape.int() % 100, tape.int() % 300);
    let range = list.range(start, end);
    assert_eq!(range.len(), slice(model, start, end).count());
    assert!(range.map(|e| e.to_vec()).eq(slice(model, start, end).cloned()));
    assert!(list.range_rev(start, end).map(|e| e.to_vec()).eq(slice(model, start, end).rev().cloned()));
    assert_eq!(list.range(i64::MIN, i64::MAX).len(), model.len());
}
