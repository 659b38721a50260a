//! Byte-driven tests of every structure against a plain model: the entry points of the fuzzer, and, fed with random bytes,
//! of the property tests below.
//!
//! Each `fuzz_*` function reads its input in two ways: as serialized bytes, which must be refused or fully readable; and
//! as a program of operations, done to the structure and to a `Vec` or `BTreeSet` side by side. Any disagreement panics.

mod intset;
mod listpack;
mod quicklist;
mod ranked_tree;
mod slab;
mod sorted;
mod table;

pub use intset::fuzz_intset;
pub use listpack::fuzz_listpack;
pub use quicklist::fuzz_quicklist;
pub use ranked_tree::fuzz_ranked_tree;
pub use slab::fuzz_slab;
pub use sorted::fuzz_sorted;
pub use table::fuzz_table;

/// Reads operations and operands from the input. At its end every answer is zero.
struct Tape<'a>(&'a [u8]);

impl<'a> Tape<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }

    /// A number below `bound`, or 0 when that is 0.
    fn below(&mut self, bound: usize) -> usize {
        let raw = usize::from(self.byte()) << 8 | usize::from(self.byte());
        raw.checked_rem(bound).unwrap_or(0)
    }

    /// Integers with many near the borders of encodings.
    fn int(&mut self) -> i64 {
        let shape = self.byte();
        let near = i64::from(self.byte() % 5) - 2;
        let border = 1i64.checked_shl(u32::from(shape) % 64).unwrap_or(0);
        match shape / 64 {
            0 => near,
            1 => border.wrapping_add(near),
            2 => border.wrapping_neg().wrapping_add(near),
            _ => self.bytes(8).iter().fold(0, |value, &byte| value << 8 | i64::from(byte)),
        }
    }

    /// Strings of all length classes, many of them numbers or almost.
    fn string(&mut self) -> Vec<u8> {
        match self.byte() % 8 {
            0..=2 => self.int().to_string().into_bytes(),
            3 => format!("{}{}", ["0", "+", "-", " "][self.below(4)], self.int()).into_bytes(),
            4 | 5 => {
                let len = usize::from(self.byte() % 20);
                self.bytes(len).to_vec()
            }
            6 => vec![self.byte(); [0, 1, 62, 63, 64, 65, 125, 126, 127][self.below(9)]],
            _ => vec![self.byte(); [4094, 4095, 4096, 300, 500, 700][self.below(6)]],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn program() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..3000)
    }

    proptest! {
        // A failing program is minimised and printed; it belongs in a test of its own, not in a side file.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn quicklist(data in program()) {
            super::fuzz_quicklist(&data);
        }

        #[test]
        fn ranked_tree(data in prop::collection::vec(any::<u8>(), 0..400)) {
            super::fuzz_ranked_tree(&data);
        }

        #[test]
        fn slab(data in prop::collection::vec(any::<u8>(), 0..600)) {
            super::fuzz_slab(&data);
        }

        #[test]
        fn sorted(data in prop::collection::vec(any::<u8>(), 0..600)) {
            super::fuzz_sorted(&data);
        }

        #[test]
        fn table(data in program()) {
            super::fuzz_table(&data);
        }

        #[test]
        fn intset(data in program()) {
            super::fuzz_intset(&data);
        }

        #[test]
        fn listpack(data in program()) {
            super::fuzz_listpack(&data);
        }
    }
}
