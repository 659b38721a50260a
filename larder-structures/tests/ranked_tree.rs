//! Memory of the ranked tree: how full its nodes are after the usual ways of filling it.

use std::cmp::Ordering;

use larder_structures::ranked_tree::RankedTree;

fn order(a: &u64, b: &u64) -> Ordering {
    a.cmp(b)
}

fn bytes_per_item(tree: &RankedTree<u64>) -> f64 {
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
        assert_eq!(up.insert(n, &order), Some(n as usize));
        assert_eq!(down.insert(200_000 - n, &order), Some(0));
    }
    for tree in [&up, &down, &RankedTree::from_sorted(0..200_000)] {
        tree.check_invariants(&order);
        assert!(bytes_per_item(tree) < 8.5, "{}", bytes_per_item(tree));
    }
}

#[test]
fn scattered_insertion_fills_four_fifths() {
    let mut tree = RankedTree::new();
    for item in scrambled(300_000) {
        tree.insert(item, &order);
    }
    tree.check_invariants(&order);
    let mut sorted: Vec<u64> = scrambled(300_000).collect();
    sorted.sort_unstable();
    sorted.dedup();
    assert!(tree.iter().eq(sorted.iter().copied()));
    assert!(bytes_per_item(&tree) < 10.8, "{}", bytes_per_item(&tree));
    // A big tree thinned out gives its memory back.
    for item in scrambled(300_000).filter(|item| item % 10 != 0) {
        assert_eq!(tree.remove_by(|probe| probe.cmp(&item)), Some(item));
    }
    sorted.retain(|item| item % 10 == 0);
    assert!(tree.iter().eq(sorted));
    tree.check_invariants(&order);
    assert!(bytes_per_item(&tree) < 18.0, "{}", bytes_per_item(&tree));
}

#[test]
fn small_trees_are_small_and_empty_ones_hold_nothing() {
    let mut tree = RankedTree::new();
    assert_eq!(tree.bytes(), 0);
    for (n, bytes) in [(1, 32), (5, 64), (9, 128), (33, 512), (65, 1024)] {
        while tree.len() < n {
            tree.insert(tree.len() as u64, &order);
        }
        assert_eq!(tree.bytes(), bytes, "{n}");
    }
    let mut big = RankedTree::from_sorted(0..100_000);
    assert_eq!(big.remove_range(10, usize::MAX, |_| ()), 99_990);
    big.check_invariants(&order);
    assert_eq!(big.bytes(), 1024);
    assert_eq!(big.remove_range(0, 10, |_| ()), 10);
    assert_eq!((big.first(), big.last(), big.pop_first(), big.pop_last()), (None, None, None, None));
}
