//! The sorted set value: a listpack while it is small, a table with a ranked tree from then on.
//!
//! The listpack holds member, score, member, score in order and is, byte for byte, what Redis writes to snapshots. It
//! is left when it would have too many members or too long a one, and not returned to.

mod packed;

use super::Packed;
use super::string::{Digits, StringRef};
use larder_structures::listpack::{self, Listpack, ListpackRef};
use larder_structures::sorted::{self, SortedSet};
use std::ops::{Bound, Range};

/// Up to where a sorted set is a listpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members (`zset-max-listpack-entries`).
    pub entries: usize,
    /// Bytes of a member (`zset-max-listpack-value`).
    pub value: usize,
}

impl Limits {
    /// No listpack at all, for a sorted set that only passes by.
    pub const UNPACKED: Limits = Limits { entries: 0, value: 0 };
}

/// A sorted set.
#[derive(Debug, Clone)]
pub struct Zset(Form);

#[derive(Debug, Clone)]
enum Form {
    Packed(Listpack),
    Sorted(Box<SortedSet>),
}

/// A member with its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored<'a> {
    /// The member.
    pub member: StringRef<'a>,
    /// Its score.
    pub score: f64,
}

/// Scores from one bound to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreRange {
    /// Where it begins.
    pub min: Bound<f64>,
    /// Where it ends.
    pub max: Bound<f64>,
}

/// Where a range of members begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LexBound<'a> {
    /// Before every member (`-`).
    Lowest,
    /// Behind every member (`+`).
    Highest,
    /// At this member.
    Included(&'a [u8]),
    /// Just beside this member.
    Excluded(&'a [u8]),
}

/// Members from one bound to another, in the order of their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LexRange<'a> {
    /// Where it begins.
    pub min: LexBound<'a>,
    /// Where it ends.
    pub max: LexBound<'a>,
}

impl LexRange<'_> {
    /// Whether `member` lies behind the beginning.
    fn begins_before(&self, member: &[u8]) -> bool {
        match self.min {
            LexBound::Lowest => true,
            LexBound::Highest => false,
            LexBound::Included(min) => member >= min,
            LexBound::Excluded(min) => member > min,
        }
    }

    /// Whether `member` lies before the end.
    fn ends_behind(&self, member: &[u8]) -> bool {
        match self.max {
            LexBound::Lowest => false,
            LexBound::Highest => true,
            LexBound::Included(max) => member <= max,
            LexBound::Excluded(max) => member < max,
        }
    }
}

impl Default for Zset {
    fn default() -> Self {
        Self::new()
    }
}

/// A sorted set as it is read, wherever it is kept.
#[derive(Clone, Copy)]
pub struct ZsetRef<'a>(FormRef<'a>);

#[derive(Clone, Copy)]
enum FormRef<'a> {
    Packed(ListpackRef<'a>),
    Sorted(&'a SortedSet),
}

impl<'a> From<ListpackRef<'a>> for ZsetRef<'a> {
    fn from(pack: ListpackRef<'a>) -> Self {
        ZsetRef(FormRef::Packed(pack))
    }
}

impl Zset {
    /// A sorted set without members.
    pub fn new() -> Zset {
        Zset(Form::Packed(Listpack::new()))
    }

    /// Takes over a listpack of members and scores in order, as snapshots have it. `None` if it is not one: an odd number of
    /// elements, a score that is no number, a member twice, or a wrong order.
    pub fn from_packed(pack: Listpack, limits: Limits) -> Option<Zset> {
        if !packed::is_sound(pack.view()) {
            return None;
        }
        let is_small = pack.len() / 2 <= limits.entries
            && packed::iter(pack.view()).all(|item| item.member.len() <= limits.value);
        let mut zset = Zset(Form::Packed(pack));
        if !is_small {
            zset.unpack();
        }
        Some(zset)
    }

    /// Heap bytes.
    pub fn memory(&self) -> usize {
        match &self.0 {
            Form::Packed(pack) => pack.heap_bytes(),
            Form::Sorted(set) => size_of::<SortedSet>() + set.memory(),
        }
    }

    /// Gives `member` the score that `decide` makes of the one it has, if any; `None` leaves it as it is. Returns the score
    /// it had. Scores must be numbers; one that equals the old one changes nothing.
    pub fn update(
        &mut self,
        member: &[u8],
        limits: Limits,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Option<f64> {
        let pack = match &mut self.0 {
            Form::Sorted(set) => return set.update(member, decide),
            Form::Packed(pack) => pack,
        };
        if let Some((at, before)) = packed::find(pack.view(), member) {
            if let Some(score) = decide(Some(before)).filter(|score| *score != before) {
                packed::remove(pack, at);
                packed::insert(pack, member, score);
            }
            return Some(before);
        }
        let score = decide(None)?;
        if pack.len() / 2 < limits.entries && member.len() <= limits.value {
            packed::insert(pack, member, score);
        } else {
            self.unpack().insert(member, score);
        }
        None
    }

    /// Gives `member` this score and returns the one it had.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: Limits) -> Option<f64> {
        self.update(member, limits, |_| Some(score))
    }

    /// Removes `member` and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            Form::Packed(pack) => {
                let (at, score) = packed::find(pack.view(), member)?;
                packed::remove(pack, at);
                Some(score)
            }
            Form::Sorted(set) => set.remove(member),
        }
    }

    /// Removes the members of these ranks, cut to what exists, and returns how many.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) -> usize {
        match &mut self.0 {
            Form::Packed(pack) => pack.remove_range(2 * ranks.start as i64, 2 * ranks.len()) / 2,
            Form::Sorted(set) => set.remove_ranks(ranks, drop),
        }
    }

    /// Leaves the listpack, if it still is one.
    fn unpack(&mut self) -> &mut SortedSet {
        if let Form::Packed(pack) = &self.0 {
            let mut builder = sorted::Builder::with_room(pack.len() / 2);
            let mut digits = Digits::new();
            for item in packed::iter(pack.view()) {
                builder.add(item.member.bytes(&mut digits), item.score, |_, new| new);
            }
            self.0 = Form::Sorted(Box::new(builder.finish()));
        }
        match &mut self.0 {
            Form::Sorted(set) => set,
            Form::Packed(_) => unreachable!("it was unpacked above"),
        }
    }

    /// How it is read.
    #[inline]
    pub fn view(&self) -> ZsetRef<'_> {
        ZsetRef(match &self.0 {
            Form::Packed(pack) => FormRef::Packed(pack.view()),
            Form::Sorted(set) => FormRef::Sorted(set),
        })
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The large form, if it has it: the one that a snapshot walks over in steps.
    pub(super) fn large(&self) -> Option<&SortedSet> {
        if let Form::Sorted(large) = &self.0 { Some(large) } else { None }
    }

    /// The same, to be walked over.
    pub(super) fn large_mut(&mut self) -> Option<&mut SortedSet> {
        if let Form::Sorted(large) = &mut self.0 { Some(large) } else { None }
    }

    pub(super) fn unpacked(packed: Packed<'_>, buf: Vec<u8>) -> Option<Zset> {
        let Packed::Zset(pack) = packed else { return None };
        Some(Zset(Form::Packed(Listpack::copied(pack, buf))))
    }

    pub(super) fn packed(&self) -> Option<Packed<'_>> {
        self.view().as_packed().map(Packed::Zset)
    }

    pub(super) fn into_memory(self) -> Vec<u8> {
        match self.0 {
            Form::Packed(pack) => pack.into_memory(),
            Form::Sorted(_) => Vec::new(),
        }
    }
}

impl<'a> ZsetRef<'a> {
    /// Its serialized form, if it is a listpack: member, score, member, score, in order.
    pub fn as_packed(self) -> Option<ListpackRef<'a>> {
        if let FormRef::Packed(pack) = self.0 { Some(pack) } else { None }
    }

    /// How many members it has.
    #[inline]
    pub fn len(self) -> usize {
        match self.0 {
            FormRef::Packed(pack) => pack.len() / 2,
            FormRef::Sorted(set) => set.len(),
        }
    }

    /// Whether it has no members.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(self) -> &'static str {
        match self.0 {
            FormRef::Packed(_) => "listpack",
            FormRef::Sorted(_) => "skiplist",
        }
    }

    /// The score of `member`.
    #[inline]
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self.0 {
            FormRef::Packed(pack) => packed::find(pack, member).map(|(_, score)| score),
            FormRef::Sorted(set) => set.score(member),
        }
    }

    /// How many members stand before `member`.
    pub fn rank(self, member: &[u8]) -> Option<usize> {
        match self.0 {
            FormRef::Packed(pack) => {
                let mut digits = Digits::new();
                packed::iter(pack).position(|item| item.member.bytes(&mut digits) == member)
            }
            FormRef::Sorted(set) => set.rank(member),
        }
    }

    /// The ranks of the members whose scores lie in `range`.
    pub fn ranks_by_score(self, range: ScoreRange) -> Range<usize> {
        match self.0 {
            FormRef::Packed(pack) => packed::ranks_by_score(pack, range),
            FormRef::Sorted(set) => set.ranks_by_score(range.min, range.max),
        }
    }

    /// The ranks of the members that lie in `range`, where all scores are equal. Where they are not, the answer means
    /// nothing.
    pub fn ranks_by_lex(self, range: LexRange<'a>) -> Range<usize> {
        let set = match self.0 {
            FormRef::Packed(pack) => return packed::ranks_by_lex(pack, range),
            FormRef::Sorted(set) => set,
        };
        let min = match range.min {
            LexBound::Lowest => Bound::Unbounded,
            LexBound::Highest => return 0..0,
            LexBound::Included(min) => Bound::Included(min),
            LexBound::Excluded(min) => Bound::Excluded(min),
        };
        let max = match range.max {
            LexBound::Lowest => return 0..0,
            LexBound::Highest => Bound::Unbounded,
            LexBound::Included(max) => Bound::Included(max),
            LexBound::Excluded(max) => Bound::Excluded(max),
        };
        set.ranks_by_member(min, max)
    }

    /// The member of rank `rank`.
    pub fn get(self, rank: usize) -> Option<Scored<'a>> {
        match self.0 {
            FormRef::Packed(_) => self.range(rank..rank.saturating_add(1), false).next(),
            FormRef::Sorted(set) => set.get(rank).map(Scored::from),
        }
    }

    /// The members of these ranks, cut to what exists, the last one first if `reverse`.
    pub fn range(self, ranks: Range<usize>, reverse: bool) -> Items<'a> {
        let ranks = ranks.start.min(self.len())..ranks.end.min(self.len());
        let left = ranks.len();
        let source = match self.0 {
            FormRef::Sorted(set) => Source::Sorted(set.range(ranks)),
            FormRef::Packed(pack) if reverse => {
                let end = pack.seek(2 * ranks.end as i64).unwrap_or(pack.end());
                Source::Packed(pack.iter_to(end))
            }
            FormRef::Packed(pack) => {
                let start = pack.seek(2 * ranks.start as i64).unwrap_or(pack.end());
                Source::Packed(pack.iter_from(start))
            }
        };
        Items { source, reverse, left }
    }

    /// All members in order.
    pub fn iter(self) -> Items<'a> {
        self.range(0..self.len(), false)
    }

    /// A step of a walk that survives changes; 0 begins and ends it. Visits some `count` members, a small set as a whole.
    /// Members that are there from the first step to the last are visited at least once.
    pub fn scan(self, mut cursor: u64, count: usize, mut visit: impl FnMut(Scored<'_>)) -> u64 {
        let set = match self.0 {
            FormRef::Packed(pack) => {
                packed::iter(pack).for_each(visit);
                return 0;
            }
            FormRef::Sorted(set) => set,
        };
        let mut seen = 0;
        // Steps through empty buckets count too, or a sparse table would keep its lock for long.
        for _ in 0..count.saturating_mul(10) {
            cursor = set.scan(cursor, |element| {
                seen += 1;
                visit(element.into());
            });
            if cursor == 0 || seen >= count {
                break;
            }
        }
        cursor
    }

    /// A copy of it.
    pub fn to_zset(self) -> Zset {
        Zset(match self.0 {
            FormRef::Packed(pack) => Form::Packed(Listpack::copied(pack, Vec::new())),
            FormRef::Sorted(set) => Form::Sorted(Box::new(set.clone())),
        })
    }
}

impl<'a> From<sorted::ScoredRef<'a>> for Scored<'a> {
    fn from(element: sorted::ScoredRef<'a>) -> Self {
        Scored { member: StringRef::Bytes(element.member()), score: element.score() }
    }
}

/// Members of a sorted set with their scores, in order or in reverse. Made by [`Zset::range`].
#[derive(Clone)]
pub struct Items<'a> {
    source: Source<'a>,
    reverse: bool,
    left: usize,
}

#[derive(Clone)]
enum Source<'a> {
    Packed(listpack::Iter<'a>),
    Sorted(sorted::Iter<'a>),
}

impl<'a> Iterator for Items<'a> {
    type Item = Scored<'a>;

    #[inline]
    fn next(&mut self) -> Option<Scored<'a>> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.source {
            Source::Sorted(elements) if self.reverse => elements.next_back().map(Scored::from),
            Source::Sorted(elements) => elements.next().map(Scored::from),
            Source::Packed(elements) if self.reverse => packed::next_back(elements),
            Source::Packed(elements) => packed::next(elements),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Items<'_> {}

/// Gathers members in any order to become a sorted set: what STORE commands and the loader of snapshots use.
#[derive(Default)]
pub struct Builder {
    members: sorted::Builder,
    longest: usize,
}

impl Builder {
    /// Without members.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Without members, but with room for so many at once.
    pub fn with_room(members: usize) -> Builder {
        Builder { members: sorted::Builder::with_room(members), longest: 0 }
    }

    /// Number of members so far.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member yet.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds `member`, or gives it the score that `merge` makes of the one it has and this one. Returns whether it is new.
    #[inline]
    pub fn add(&mut self, member: &[u8], score: f64, merge: impl FnOnce(f64, f64) -> f64) -> bool {
        self.longest = self.longest.max(member.len());
        self.members.add(member, score, merge)
    }

    /// The sorted set, in the form that fits its size.
    pub fn finish(self, limits: Limits) -> Zset {
        let is_small = self.members.len() <= limits.entries && self.longest <= limits.value;
        let set = self.members.finish();
        if !is_small {
            return Zset(Form::Sorted(Box::new(set)));
        }
        let mut pack = Listpack::new();
        set.iter().for_each(|element| packed::push(&mut pack, element.member(), element.score()));
        pack.shrink();
        Zset(Form::Packed(pack))
    }
}
