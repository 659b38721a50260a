//! Memory of the ranked tree: how full its nodes are after the usual ways of filling it.

use std::cmp::Ordering;

use larder_structures::ranked_tree::{Item, RankedTree};

/// An item that is its own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Number(u64);

impl Item for Number {
    fn bits(self) -> u64 {
        self.0
    }

    fn from_bits(bits: u64) -> Self {
        Number(bits)
    }

    fn key(self) -> i64 {
        self.0 as i64
    }
}

/// No two items have the same key.
fn equal(_: &Number) -> Ordering {
    Ordering::Equal
}

fn insert(tree: &mut RankedTree<Number>, number: u64) {
    tree.insert(Number(number), equal);
}

fn check(tree: &RankedTree<Number>) {
    tree.check_invariants(&Number::cmp);
}

fn bytes_per_item(tree: &RankedTree<Number>) -> f64 {
    tree.bytes() as f64 / tree.len() as f64
}

/// Distinct numbers below 2^32 in scrambled order.
fn scrambled(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20)
}

#[test]
fn ascending_and_descending_insertion_fill_the_leaves() {
    let mut up = RankedTree::new();
    let mut down = RankedTree::new();
    for n in 0..200_000 {
        insert(&mut up, n);
        insert(&mut down, 200_000 - n);
    }
    for tree in [&up, &down, &RankedTree::from_sorted((0..200_000).map(Number))] {
        check(tree);
        assert!(bytes_per_item(tree) < 8.6, "{}", bytes_per_item(tree));
    }
}

#[test]
fn scattered_insertion_fills_four_fifths() {
    let mut tree = RankedTree::new();
    for item in scrambled(300_000) {
        insert(&mut tree, item);
    }
    check(&tree);
    let mut sorted: Vec<u64> = scrambled(300_000).collect();
    sorted.sort_unstable();
    sorted.dedup();
    assert!(tree.iter().eq(sorted.iter().copied().map(Number)));
    assert!(bytes_per_item(&tree) < 10.8, "{}", bytes_per_item(&tree));
    // A big tree thinned out gives its memory back.
    for item in scrambled(300_000).filter(|item| item % 10 != 0) {
        assert_eq!(tree.remove(item as i64, equal), Some(Number(item)));
    }
    sorted.retain(|item| item % 10 == 0);
    assert!(tree.iter().eq(sorted.into_iter().map(Number)));
    check(&tree);
    assert!(bytes_per_item(&tree) < 18.0, "{}", bytes_per_item(&tree));
}

#[test]
fn small_trees_are_small_and_empty_ones_hold_nothing() {
    let mut tree = RankedTree::new();
    assert_eq!(tree.bytes(), 0);
    for (n, bytes) in [(1, 32), (5, 64), (9, 128), (33, 512), (65, 1024)] {
        while tree.len() < n {
            let next = tree.len() as u64;
            insert(&mut tree, next);
        }
        assert_eq!(tree.bytes(), bytes, "{n}");
    }
    let mut big = RankedTree::from_sorted((0..100_000).map(Number));
    assert_eq!(big.remove_range(10, usize::MAX, |_| ()), 99_990);
    check(&big);
    assert_eq!(big.bytes(), 1024);
    assert_eq!(big.remove_range(0, 10, |_| ()), 10);
    assert_eq!((big.first(), big.last(), big.pop_first(), big.pop_last()), (None, None, None, None));
}
