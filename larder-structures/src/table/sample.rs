//! Random elements: quick ones for eviction, fair ones for commands that promise fairness.
//!
//! A fair draw imagines every bucket's chain as long as the longest there ever was, picks one place among all of
//! these, and draws again where nothing stands there: each element has exactly one place, so each is as likely as any
//! other. Tables are at least a sixth full (or shrinking towards it), so a draw succeeds after a few tries, each of
//! which looks at one bucket.

use super::raw::{self, Raw};
use super::{Element, Table};

/// Tries after which [`Table::sample_fair`] takes what is near. A random source that is worth its name gets there once
/// in more lifetimes than there are; one that always returns the same must not hang the caller.
const TRIES_MAX: usize = 4096;

impl<E: Element> Table<E> {
    /// An element, each as likely as any other. `random` is to return unpredictable numbers.
    pub fn sample_fair(&self, random: &mut impl FnMut() -> u64) -> Option<E::Ref<'_>> {
        if self.len == 0 {
            return None;
        }
        // Buckets of the old table that are moved already are empty.
        let (old, done) = self.old.as_ref().map_or((None, 0), |(old, moved)| (Some(old), *moved));
        let waiting = old.map_or(0, |old| old.buckets() - done);
        let chain = old.map_or(0, Raw::longest_chain).max(self.main.longest_chain());
        let places = (waiting + self.main.buckets()) as u128 * chain as u128;
        for _ in 0..TRIES_MAX {
            let place = ((u128::from(random()) * places) >> 64) as usize;
            let (bucket, nth) = (place / chain, place % chain);
            let word = match old {
                Some(old) if bucket < waiting => old.nth(done + bucket, nth),
                _ => self.main.nth(bucket - waiting, nth),
            };
            if let Some(word) = word {
                // SAFETY: words in slots are addresses of elements that live as long as the table is borrowed.
                return Some(unsafe { E::borrow(raw::address(word)) });
            }
        }
        self.sample(random())
    }

    /// An element chosen by `random`, an unpredictable number: a random bucket, and in it a random element. Follows
    /// buckets onwards from an empty one, so elements behind a gap are more likely, and those of a long chain less;
    /// [`Table::sample_fair`] is not so quick, but fair.
    pub fn sample(&self, random: u64) -> Option<E::Ref<'_>> {
        let mut found = None;
        self.sample_many(random, 1, |element| found = Some(element));
        found
    }

    /// Up to `count` neighbours from a random place on, for eviction's samples.
    pub fn sample_many<'a>(&'a self, random: u64, count: usize, mut visit: impl FnMut(E::Ref<'a>)) {
        if self.len == 0 || count == 0 {
            return;
        }
        let old_buckets = self.old.as_ref().map_or(0, |(old, _)| old.buckets());
        let all = old_buckets + self.main.buckets();
        let start = ((random as u32 as u64 * all as u64) >> 32) as usize;
        let mut left = count;
        for step in 0..all {
            let index = (start + step) % all;
            let (table, index) = match &self.old {
                Some((old, _)) if index < old_buckets => (old, index),
                _ => (&self.main, index - old_buckets),
            };
            let size = table.chain_len(index);
            let skip = if size == 0 { 0 } else { (random >> 32) as usize % size };
            for nth in 0..size.min(left) {
                let Some(word) = table.nth(index, (skip + nth) % size) else { continue };
                // SAFETY: as in `sample_fair`.
                visit(unsafe { E::borrow(raw::address(word)) });
            }
            left -= size.min(left);
            if left == 0 {
                return;
            }
        }
    }

    /// Up to `count` elements with an expiry from a random place on, out of `slots` elements at least: all of them if
    /// that is `usize::MAX`. Elements without an expiry are passed over without looking at them.
    pub fn sample_expiring<'a>(
        &'a self,
        random: u64,
        count: usize,
        slots: usize,
        mut visit: impl FnMut(E::Ref<'a>),
    ) {
        let old_buckets = self.old.as_ref().map_or(0, |(old, _)| old.buckets());
        let all = old_buckets + self.main.buckets();
        let start = ((random as u32 as u64 * all as u64) >> 32) as usize;
        let (mut found, mut seen) = (0, 0);
        for step in 0..all {
            let index = (start + step) % all;
            let (table, index) = match &self.old {
                Some((old, _)) if index < old_buckets => (old, index),
                _ => (&self.main, index - old_buckets),
            };
            table.for_each(index, |word| {
                seen += 1;
                if word & raw::EXPIRES != 0 && found < count {
                    found += 1;
                    // SAFETY: as in `sample_fair`.
                    visit(unsafe { E::borrow(raw::address(word)) });
                }
            });
            if found == count || seen >= slots {
                return;
            }
        }
    }
}
