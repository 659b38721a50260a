//! The listpack against a `Vec` of strings.

use super::Tape;
use crate::listpack::{Listpack, ListpackRef};

/// See the module: raw bytes first, then operations.
pub fn fuzz_listpack(data: &[u8]) {
    raw(data);
    mutated(data);
    operations(&mut Tape(data));
}

/// Bytes from outside are refused, or everything can be read from both ends.
fn raw(data: &[u8]) {
    read_untrusted(data);
    // The same bytes with a header that fits get further into the checks.
    let mut framed = vec![0; 6];
    framed.extend_from_slice(data);
    framed.push(0xff);
    let total = (framed.len() as u32).to_le_bytes();
    framed[..4].copy_from_slice(&total);
    framed[4..6].copy_from_slice(&[255, 255]);
    read_untrusted(&framed);
}

/// A valid listpack with some bytes changed.
fn mutated(data: &[u8]) {
    let mut tape = Tape(data);
    let mut pack = Listpack::new();
    for _ in 0..tape.below(8) {
        pack.push_back(&tape.string());
    }
    let mut bytes = pack.into_bytes();
    for _ in 0..=tape.below(3) {
        let at = tape.below(bytes.len());
        bytes[at] = tape.byte();
    }
    read_untrusted(&bytes);
}

fn read_untrusted(bytes: &[u8]) {
    let view = ListpackRef::trusted(bytes);
    let limit = bytes.len() + 1;
    assert!(view.iter().take(limit).count() < limit && view.iter().rev().take(limit).count() < limit);
    let _ = (view.len(), view.get(-1), view.get(3), view.find(b"12", 1), view.first(), view.last());
    if let Ok(pack) = Listpack::from_bytes(bytes.to_vec()) {
        pack.check_invariants();
        let forward: Vec<_> = pack.iter().map(|e| e.to_vec()).collect();
        let mut backward: Vec<_> = pack.iter().rev().map(|e| e.to_vec()).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(forward.len(), pack.len());
        let mut again = Listpack::new();
        forward.iter().for_each(|text| again.push_back(text));
        assert!(again.iter().eq(pack.iter()), "reading and writing back changed an element");
    }
}

fn operations(tape: &mut Tape<'_>) {
    let mut pack = Listpack::new();
    let mut model: Vec<Vec<u8>> = Vec::new();
    while !tape.is_empty() {
        step(tape, &mut pack, &mut model);
        pack.check_invariants();
        assert!(pack.iter().map(|e| e.to_vec()).eq(model.iter().cloned()));
        let entries = ListpackRef::trusted(pack.view().entries());
        assert_eq!(entries.len(), model.len());
        assert_eq!(Listpack::copied(entries, vec![1; 3]), pack);
        assert_eq!(entries.to_bytes(), pack.as_bytes());
    }
    assert_eq!(Listpack::from_bytes(pack.clone().into_bytes()).as_ref(), Ok(&pack));
    assert_eq!(pack.clone().into_bytes(), pack.into_bytes());
}

fn step(tape: &mut Tape<'_>, pack: &mut Listpack, model: &mut Vec<Vec<u8>>) {
    let op = tape.byte() % 16;
    let index = tape.below(model.len());
    let position = pack.seek(index as i64);
    match (op, position) {
        (0..=2, _) => {
            let value = tape.string();
            pack.push_back(&value);
            model.push(value);
        }
        (3..=5, _) => {
            let value = tape.string();
            pack.push_front(&value);
            model.insert(0, value);
        }
        (6, Some(at)) => {
            let value = tape.string();
            pack.insert_before(at, &value);
            model.insert(index, value);
        }
        (7, Some(at)) => {
            let value = tape.int();
            let new = pack.insert_after(at, value);
            assert_eq!(pack.at(new).and_then(|e| e.to_i64()), Some(value));
            model.insert(index + 1, value.to_string().into_bytes());
        }
        (8 | 9, Some(at)) => {
            let value = tape.string();
            pack.replace(at, &value);
            model[index] = value;
        }
        (10 | 11, Some(at)) => {
            assert_eq!(pack.remove(at).is_some(), index + 1 < model.len());
            model.remove(index);
        }
        (12, Some(_)) => {
            let count = tape.below(6);
            let from_end = index as i64 - model.len() as i64;
            let start = if tape.byte().is_multiple_of(2) { index as i64 } else { from_end };
            let end = (index + count).min(model.len());
            assert_eq!(pack.remove_range(start, count), end - index);
            model.drain(index..end);
        }
        (13, Some(at)) => {
            let tail = pack.split_off(at);
            tail.check_invariants();
            assert_eq!((pack.len(), tail.len()), (index, model.len() - index));
            pack.append(&tail);
        }
        (14, _) => {
            let bit = usize::from(tape.byte() % 4);
            let before = model.len();
            model.retain(|text| text.len() % 4 != bit);
            assert_eq!(pack.retain(|e| e.len() % 4 != bit), before - model.len());
        }
        _ => reads(tape, pack, model, index),
    }
}

fn reads(tape: &mut Tape<'_>, pack: &mut Listpack, model: &[Vec<u8>], index: usize) {
    if tape.byte().is_multiple_of(4) {
        pack.shrink();
        assert_eq!(pack.heap_bytes(), pack.byte_len());
    }
    let value = if tape.byte().is_multiple_of(2) { model.get(index).cloned() } else { None };
    let value = value.unwrap_or_else(|| tape.string());
    let skip = tape.below(3);
    let expected = (0..model.len()).step_by(skip + 1).find(|&i| model[i] == value);
    assert_eq!(pack.find(&value, skip), expected.and_then(|i| pack.seek(i as i64)));
    let from_end = index as i64 - model.len() as i64;
    assert_eq!(pack.get(from_end).map(|e| e.to_vec()), model.get(index).cloned());
    assert_eq!(pack.get(model.len() as i64), None);
    assert_eq!(pack.get(-1 - model.len() as i64), None);
    let walked = std::iter::successors(pack.first(), |&at| pack.next(at));
    assert!(walked.map(|at| pack.at(at).map(|e| e.to_vec())).eq(model.iter().cloned().map(Some)));
    let back = std::iter::successors(pack.last(), |&at| pack.prev(at));
    assert!(back.map(|at| pack.at(at).map(|e| e.to_vec())).eq(model.iter().rev().cloned().map(Some)));
}
