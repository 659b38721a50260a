//! The sorted set as a listpack: member, score, member, score, in order.
//!
//! A score that is an integer of up to 2^62 is stored as one; any other as the text of C's `%.17g`. That is how Redis
//! writes it, and it is why a small sorted set forgets the sign of -0.

use super::{Digits, LexRange, ScoreRange, Scored, StringRef};
use larder_structures::listpack::{Element, Iter, Listpack, ListpackRef};
use std::ops::{Bound, Range};

/// The largest magnitude that is stored as an integer.
const INTEGER_MAX: f64 = (1u64 << 62) as f64;

/// The next member and its score.
pub(super) fn next<'a>(elements: &mut Iter<'a>) -> Option<Scored<'a>> {
    let member = elements.next()?.into();
    Some(Scored { member, score: score_of(elements.next()?) })
}

/// The last member and its score.
pub(super) fn next_back<'a>(elements: &mut Iter<'a>) -> Option<Scored<'a>> {
    let score = score_of(elements.next_back()?);
    Some(Scored { member: elements.next_back()?.into(), score })
}

/// All members with their scores.
pub(super) fn iter(pack: ListpackRef<'_>) -> impl Iterator<Item = Scored<'_>> {
    let mut elements = pack.iter();
    std::iter::from_fn(move || next(&mut elements))
}

fn score_of(element: Element<'_>) -> f64 {
    match element {
        Element::Int(number) => number as f64,
        Element::Str(text) => larder_resp::strtod(text).map_or(0.0, |number| number.value),
    }
}

/// Does something with a score in the form in which it is stored.
fn with_score<R>(score: f64, work: impl FnOnce(Element<'_>) -> R) -> R {
    if score.abs() <= INTEGER_MAX && score.fract() == 0.0 {
        work(Element::Int(score as i64))
    } else {
        work(Element::Str(larder_resp::format_g17(score).as_bytes()))
    }
}

/// Whether members and scores alternate, members are distinct, and scores are numbers in order.
pub(super) fn is_sound(pack: ListpackRef<'_>) -> bool {
    if !pack.len().is_multiple_of(2) {
        return false;
    }
    let mut names: Vec<Vec<u8>> = iter(pack).map(|item| item.member.to_vec()).collect();
    let scores: Vec<f64> = iter(pack).map(|item| item.score).collect();
    let in_order = (1..names.len())
        .all(|at| scores[at - 1] < scores[at] || (scores[at - 1] == scores[at] && names[at - 1] < names[at]));
    names.sort_unstable();
    in_order && names.is_sorted_by(|a, b| a < b) && !scores.iter().any(|score| score.is_nan())
}

/// The position of `member`, and its score.
pub(super) fn find(pack: ListpackRef<'_>, member: &[u8]) -> Option<(usize, f64)> {
    let at = pack.find(member, 1)?;
    Some((at, score_of(pack.at(pack.next(at)?)?)))
}

/// Removes the member at `at` and its score.
pub(super) fn remove(pack: &mut Listpack, at: usize) {
    pack.remove(at);
    pack.remove(at);
}

/// Adds a member behind all others.
pub(super) fn push(pack: &mut Listpack, member: &[u8], score: f64) {
    pack.push_back(member);
    with_score(score, |score| pack.push_back(score));
}

/// Adds a member, which is not there yet, at its place.
pub(super) fn insert(pack: &mut Listpack, member: &[u8], score: f64) {
    let mut digits = Digits::new();
    let mut at = pack.first();
    while let Some(here) = at {
        let Some(score_at) = pack.next(here) else { break };
        let there = pack.at(score_at).map_or(0.0, score_of);
        let comes_before = there > score
            || (there == score
                && pack.at(here).is_some_and(|it| StringRef::from(it).bytes(&mut digits) > member));
        if comes_before {
            pack.insert_before(here, member);
            with_score(score, |score| pack.insert_after(here, score));
            return;
        }
        at = pack.next(score_at);
    }
    push(pack, member, score);
}

/// See [`super::Zset::ranks_by_score`].
pub(super) fn ranks_by_score(pack: ListpackRef<'_>, range: ScoreRange) -> Range<usize> {
    let is_before = |score: f64| match range.min {
        Bound::Unbounded => false,
        Bound::Included(min) => score < min,
        Bound::Excluded(min) => score <= min,
    };
    let is_behind = |score: f64| match range.max {
        Bound::Unbounded => false,
        Bound::Included(max) => score > max,
        Bound::Excluded(max) => score >= max,
    };
    let start = iter(pack).take_while(|item| is_before(item.score)).count();
    let len = iter(pack).skip(start).take_while(|item| !is_behind(item.score)).count();
    start..start + len
}

/// See [`super::Zset::ranks_by_lex`].
pub(super) fn ranks_by_lex(pack: ListpackRef<'_>, range: LexRange<'_>) -> Range<usize> {
    let mut digits = Digits::new();
    let is_before = |item: &Scored<'_>| !range.begins_before(item.member.bytes(&mut digits));
    let start = iter(pack).take_while(is_before).count();
    let mut digits = Digits::new();
    let is_inside = |item: &Scored<'_>| range.ends_behind(item.member.bytes(&mut digits));
    let len = iter(pack).skip(start).take_while(is_inside).count();
    start..start + len
}
