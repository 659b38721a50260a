//! Sorted sets that are large: bulk building, memory, and order against the slow way.

use larder_structures::sorted::{Builder, SortedSet};
use std::ops::Bound;

fn name(n: u64) -> Vec<u8> {
    format!("member-{n:0>9}").into_bytes()
}

/// Distinct numbers in scrambled order.
fn scrambled(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 30)
}

#[test]
fn a_large_set_costs_little_and_is_the_same_however_it_was_made() {
    let count = 100_000;
    let (mut one_by_one, mut builder) = (SortedSet::new(), Builder::with_room(50_000));
    for n in scrambled(count) {
        one_by_one.insert(&name(n % 1_000_000_000), (n % 1000) as f64);
        builder.add(&name(n % 1_000_000_000), (n % 1000) as f64, |old, _| old);
    }
    let bulk = builder.finish();
    let copy = one_by_one.clone();
    for set in [&one_by_one, &bulk, &copy] {
        set.check_invariants();
        let per_member = set.memory() as f64 / set.len() as f64;
        assert!(per_member < 62.0, "{per_member}");
        assert!(
            set.iter()
                .map(|it| (it.score(), it.member()))
                .eq(one_by_one.iter().map(|it| (it.score(), it.member())))
        );
    }
    let counted = bulk.iter().filter(|it| it.score() >= 10.0 && it.score() < 500.0).count();
    assert_eq!(bulk.ranks_by_score(Bound::Included(10.0), Bound::Excluded(500.0)).len(), counted);
}

#[test]
fn members_of_one_score_are_found_by_their_bytes() {
    let mut set = SortedSet::new();
    for n in scrambled(10_000) {
        set.insert(&name(n % 10_000), 0.0);
    }
    let mut names: Vec<Vec<u8>> = set.iter().map(|it| it.member().to_vec()).collect();
    assert!(names.is_sorted());
    let (low, high) = (name(2_500), name(7_000));
    let ranks = set.ranks_by_member(Bound::Included(&low), Bound::Excluded(&high));
    let expected: Vec<Vec<u8>> =
        names.iter().filter(|name| **name >= low && **name < high).cloned().collect();
    assert!(set.range(ranks.clone()).map(|it| it.member().to_vec()).eq(expected));
    assert_eq!(set.ranks_by_member(Bound::Unbounded, Bound::Unbounded), 0..set.len());
    assert!(set.ranks_by_member(Bound::Included(&high), Bound::Included(&low)).is_empty());

    set.remove_ranks(ranks, |_| ());
    names.retain(|name| *name < low || *name >= high);
    set.check_invariants();
    assert!(set.iter().map(|it| it.member().to_vec()).eq(names));
}

#[test]
fn zeros_of_both_signs_are_one_score() {
    let mut set = SortedSet::new();
    set.insert(b"a", -0.0);
    set.insert(b"b", 0.0);
    set.insert(b"c", -0.0);
    assert!(set.iter().map(|it| it.member()).eq([b"a", b"b", b"c"].map(|name| &name[..])));
    assert_eq!(set.insert(b"a", 0.0), Some(0.0));
    assert!(set.score(b"a").is_some_and(|score| score.is_sign_negative()), "an equal score changes nothing");
    assert_eq!(set.ranks_by_score(Bound::Included(0.0), Bound::Included(-0.0)), 0..3);
    assert_eq!(set.insert(b"a", 0.5), Some(0.0));
    assert_eq!(set.rank(b"a"), Some(2));
}

#[test]
fn what_is_no_number_breaks_nothing() {
    let mut set = SortedSet::new();
    for n in 0..500u64 {
        set.insert(&name(n), if n % 3 == 0 { f64::NAN } else { n as f64 });
        set.insert(&name(n / 2), -f64::NAN);
    }
    set.check_invariants();
    for n in 0..500 {
        assert!(set.remove(&name(n)).is_some());
    }
    assert!(set.is_empty());
}

#[test]
fn scores_of_either_form_are_kept_exactly() {
    let edges =
        [0.0, -0.0, 1.0, 0.5, f64::from(i32::MAX), f64::from(i32::MIN), 2_147_483_648.0, 1e300, -1e-300];
    let mut set = SortedSet::new();
    for (n, before) in (0..).zip(edges) {
        for after in edges {
            set.insert(&name(n), before + 3.0);
            set.insert(&name(n), after);
            let kept = set.score(&name(n)).expect("it was inserted");
            assert!(kept.to_bits() == after.to_bits() || before + 3.0 == after, "{before} {after} {kept}");
        }
        set.check_invariants();
    }
}
