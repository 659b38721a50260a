//! Intersection, union and difference of sets.
//!
//! A set that is not there is empty: callers pass `None` for it.

use super::{Limits, Probe, Set, SetRef};
use crate::types::MEMBER_UNITS;
use crate::types::string::{Digits, StringRef};
use larder_structures::sys::breathe;

/// Visits what is in all of `sets`, until `visit` returns false: goes through the smallest, and looks in the others,
/// the smaller ones first, since they are likelier to say no.
pub fn intersection(sets: &[Option<SetRef<'_>>], mut visit: impl FnMut(StringRef<'_>) -> bool) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<SetRef<'_>>>>() else { return };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return };
    let mut digits = Digits::new();
    for member in smallest.iter() {
        breathe(MEMBER_UNITS);
        let is_everywhere = others.is_empty() || {
            let probe = Probe::new(member, &mut digits);
            others.iter().all(|set| set.is(*smallest) || probe.is_in(*set))
        };
        if is_everywhere && !visit(member) {
            return;
        }
    }
}

/// What is in any of `sets`.
pub fn union(sets: &[Option<SetRef<'_>>], limits: Limits) -> Set {
    let mut sum = Set::new();
    let mut digits = Digits::new();
    for set in sets.iter().flatten() {
        set.iter().for_each(|member| {
            breathe(MEMBER_UNITS);
            sum.add(member.bytes(&mut digits), limits);
        });
    }
    sum
}

/// Visits what is in the first of `sets` and in none of the others.
///
/// Either looks each member of the first set up in the others, the larger ones first, since they are likelier to have
/// it; or takes all members of the others out of a copy of the first. The first way costs up to the first set's length
/// times the number of sets, but ends early where it finds something; the second costs the sum of all lengths.
pub fn difference(sets: &[Option<SetRef<'_>>], mut visit: impl FnMut(StringRef<'_>)) {
    let Some((Some(first), others)) = sets.split_first() else { return };
    let mut others: Vec<SetRef<'_>> = others.iter().copied().flatten().collect();
    if others.iter().any(|set| set.is(*first)) {
        return;
    }
    let lookups = first.len() * (others.len() + 1) / 2;
    let removals = first.len() + others.iter().map(|set| set.len()).sum::<usize>();
    let mut digits = Digits::new();
    if lookups <= removals {
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        for member in first.iter() {
            breathe(MEMBER_UNITS);
            let probe = Probe::new(member, &mut digits);
            if !others.iter().any(|set| probe.is_in(*set)) {
                visit(member);
            }
        }
        return;
    }
    let mut rest = first.to_set();
    for member in others.iter().flat_map(|set| set.iter()) {
        breathe(MEMBER_UNITS);
        if rest.is_empty() {
            return;
        }
        rest.remove(member.bytes(&mut digits));
    }
    rest.view().iter().for_each(visit);
}
