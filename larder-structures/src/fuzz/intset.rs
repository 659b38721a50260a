//! The intset against a `BTreeSet`.

use std::collections::BTreeSet;

use super::Tape;
use crate::intset::{Intset, IntsetRef};

/// See the module: raw bytes first, then operations.
pub fn fuzz_intset(data: &[u8]) {
    read_untrusted(data);
    let mut framed = vec![[2, 4, 8, 3][usize::from(data.first().copied().unwrap_or(0) % 4)], 0, 0, 0];
    framed.extend_from_slice(&((data.len() / usize::from(framed[0])) as u32).to_le_bytes());
    framed.extend_from_slice(data);
    read_untrusted(&framed);
    operations(&mut Tape(data));
}

/// Bytes from outside are refused, or are a sorted set.
fn read_untrusted(bytes: &[u8]) {
    let view = IntsetRef::trusted(bytes.len() % 9, bytes);
    let _ =
        (view.len(), view.get(3), view.get(usize::MAX), view.contains(5), view.min(), view.iter().count());
    if let Ok(set) = Intset::from_bytes(bytes.to_vec()) {
        let model: BTreeSet<i64> = set.iter().collect();
        assert!(set.iter().eq(model.iter().copied()), "an unsorted intset was accepted");
    }
}

fn operations(tape: &mut Tape<'_>) {
    let mut set = Intset::new();
    let mut model = BTreeSet::new();
    while !tape.is_empty() {
        let op = tape.byte() % 4;
        let known = model.iter().nth(tape.below(model.len())).copied();
        let value = if op.is_multiple_of(2) { tape.int() } else { known.unwrap_or(0) };
        assert_eq!(set.contains(value), model.contains(&value));
        match op {
            0 | 1 => assert_eq!(set.insert(value), model.insert(value)),
            _ => assert_eq!(set.remove(value), model.remove(&value)),
        }
        set.check_invariants();
        assert!(set.iter().eq(model.iter().copied()));
        assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
        assert_eq!((set.min(), set.max()), (model.first().copied(), model.last().copied()));
        assert_eq!(Intset::copied(set.view(), vec![1; 3]), set);
        assert_eq!(set.view().to_bytes(), set.as_bytes());
        assert!(set.heap_bytes() <= 4 * set.byte_len() + 80);
    }
    assert_eq!(Intset::from_bytes(set.clone().into_bytes()), Ok(set));
}
