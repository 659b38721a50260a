//! Leaves of the ranked tree: handles in order, each with a hint at its key.
//!
//! A word of a leaf is a handle of 48 bits below 16 bits of hint. The hint is the key, less the smallest key the leaf
//! had when it was calibrated, scaled to 16 bits and cut at both ends: it never falls where the key rises. So words with
//! other hints than the one looked for are placed without looking behind their handles, and where keys are spread evenly
//! the hint says where in the leaf to begin.
//!
//! Hints are measured anew when items come from another leaf, and when they have ceased to tell items apart: when more
//! than [`CROWD`] share the one looked for, and half of the leaf is newer than the scale.

use super::Item;
use std::cmp::Ordering;
use std::marker::PhantomData;
use std::ops::Range;

/// Handles in a full leaf: one kilobyte. Unit tests make do with less, to reach deep trees in few steps.
pub const LEAF_MAX: usize = if cfg!(test) { 16 } else { 128 };
/// Words of the same hint from which on it is worth measuring again.
const CROWD: usize = if cfg!(test) { 2 } else { 8 };
/// How far from its guess a search looks before it bisects.
const NEAR: usize = 8;

const HANDLE_BITS: u32 = 48;
const HANDLE: u64 = (1 << HANDLE_BITS) - 1;

/// See the module.
#[derive(Debug)]
pub(super) struct Leaf<T> {
    words: Vec<u64>,
    /// The key whose hint is 0.
    base: i64,
    /// The hint of the last item when the hints were measured.
    top: u16,
    /// A hint is the distance from the base without so many bits.
    shift: u8,
    /// Items inserted since the hints were measured, up to 255.
    newer: u8,
    _items: PhantomData<T>,
}

/// The item in a word.
#[inline]
pub(super) fn item_of<T: Item>(word: u64) -> T {
    T::from_bits(word & HANDLE)
}

impl<T: Item> Leaf<T> {
    /// An empty leaf; allocates nothing.
    pub(super) const fn new() -> Self {
        Self { words: Vec::new(), base: 0, top: 0, shift: 0, newer: 0, _items: PhantomData }
    }

    /// An empty leaf with room for all it may ever hold.
    pub(super) fn with_full_room() -> Self {
        Self { words: Vec::with_capacity(LEAF_MAX), ..Self::new() }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn capacity(&self) -> usize {
        self.words.capacity()
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// The item at `place`, which exists.
    pub(super) fn item(&self, place: usize) -> T {
        item_of(self.words[place])
    }

    #[inline]
    fn hint(&self, key: i64) -> u64 {
        if key <= self.base {
            return 0;
        }
        // The difference of two `i64` fits in a `u64`.
        let distance = key.wrapping_sub(self.base) as u64;
        (distance >> self.shift).min(u64::from(u16::MAX))
    }

    /// The places of all words with the hint of `key`.
    #[inline]
    fn crowd(&self, key: i64) -> Range<usize> {
        let (len, hint) = (self.words.len(), self.hint(key));
        let floor = hint << HANDLE_BITS;
        let guess = (hint as usize * len) / (usize::from(self.top) + 1);
        let (mut from, mut to) = (guess.min(len).saturating_sub(NEAR), (guess + NEAR).min(len));
        if from > 0 && self.words[from - 1] >= floor {
            (from, to) = (0, from - 1);
        } else if to < len && self.words[to] < floor {
            (from, to) = (to + 1, len);
        }
        let start = from + self.words[from..to].partition_point(|&word| word < floor);
        let same = self.words[start..].iter().take_while(|&&word| word >> HANDLE_BITS == hint).count();
        start..start + same
    }

    /// The place of what `tie` says is equal to what is looked for, or the place it would have. `tie` is asked about items
    /// of the key `key` only.
    #[inline]
    pub(super) fn search(&self, key: i64, wide: bool, tie: impl Fn(&T) -> Ordering) -> Result<usize, usize> {
        let crowd = self.crowd(key);
        let order = |&word: &u64| {
            let item = item_of::<T>(word);
            item.key().cmp(&key).then_with(|| tie(&item))
        };
        let place =
            crowd.start + super::partition(&self.words[crowd.clone()], wide, |word| order(word).is_lt());
        if place < crowd.end && order(&self.words[place]).is_eq() { Ok(place) } else { Err(place) }
    }

    /// Puts an item of this key at `place`.
    pub(super) fn insert(&mut self, place: usize, item: T, key: i64) {
        self.reserve_one();
        let hint = self.hint(key);
        self.words.insert(place, hint << HANDLE_BITS | item.bits());
        self.newer = self.newer.saturating_add(1);
        if usize::from(self.newer) * 2 > self.words.len() {
            let like = |word: &&u64| **word >> HANDLE_BITS == hint;
            let before = self.words[..place].iter().rev().take_while(like).count();
            let behind = self.words[place..].iter().take_while(like).count();
            if before + behind > CROWD {
                self.calibrate();
            }
        }
    }

    pub(super) fn remove(&mut self, place: usize) -> T {
        item_of(self.words.remove(place))
    }

    pub(super) fn drain(&mut self, places: Range<usize>) -> impl Iterator<Item = T> {
        self.words.drain(places).map(item_of)
    }

    /// Lets `rearrange` move words between leaves; all of them must be calibrated afterwards.
    pub(super) fn words_mut(&mut self) -> &mut Vec<u64> {
        &mut self.words
    }

    /// Measures the hints anew.
    pub(super) fn calibrate(&mut self) {
        let (Some(&first), Some(&last)) = (self.words.first(), self.words.last()) else { return };
        let (first, last) = (item_of::<T>(first).key(), item_of::<T>(last).key());
        self.base = first;
        let distance = last.wrapping_sub(first) as u64;
        self.shift = (u64::BITS - distance.leading_zeros()).saturating_sub(u16::BITS) as u8;
        self.top = (distance >> self.shift) as u16;
        self.newer = 0;
        let mut words = std::mem::take(&mut self.words);
        for word in &mut words {
            *word = *word & HANDLE | self.hint(item_of::<T>(*word).key()) << HANDLE_BITS;
        }
        self.words = words;
    }

    /// Makes room for one more handle: doubling from 4 up to a full leaf.
    fn reserve_one(&mut self) {
        if self.words.len() == self.words.capacity() {
            let target = (self.words.capacity() * 2).clamp(4, LEAF_MAX);
            self.words.reserve_exact(target - self.words.len());
        }
    }

    /// Panics unless every word has the hint of its item's key.
    pub(super) fn check(&self) {
        assert!(self.len() <= LEAF_MAX);
        for &word in &self.words {
            assert_eq!(word >> HANDLE_BITS, self.hint(item_of::<T>(word).key()));
        }
    }
}
