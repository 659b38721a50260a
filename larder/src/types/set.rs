//! The set value: three ways to keep members, by what and how many they are.
//!
//! Integers only, and few: an intset. Few and short strings: a listpack. Everything else: a table of records. A set
//! moves down this list as it outgrows a form, and never back up.
//!
//! Redis 7.0 has no listpack for sets. Ours is therefore not to be seen: OBJECT ENCODING calls it `hashtable`, and
//! snapshots hold its members one by one.

pub mod algebra;

use super::records::Records;
use super::string::{Digits, StringRef};
use super::{Packed, draw};
use larder_structures::intset::{Intset, IntsetRef};
use larder_structures::listpack::{self, Listpack, ListpackRef};
use larder_structures::record::{Record, RecordRef};
use larder_structures::{decimal, hash, table};

/// Members that a listpack holds at most. Looking one up walks over half of them, so it is fewer than a hash has fields.
const PACKED_MEMBERS: usize = 64;
/// Bytes of a member in a listpack at most.
const PACKED_BYTES: usize = 64;

/// Up to where a set of integers is an intset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members (`set-max-intset-entries`).
    pub intset_entries: usize,
}

/// A set.
#[derive(Debug, Clone)]
pub struct Set(Form);

#[derive(Debug, Clone)]
enum Form {
    Ints(Intset),
    Packed(Listpack),
    Table(Box<Records>),
}

impl Default for Set {
    fn default() -> Self {
        Self::new()
    }
}

/// A set as it is read, wherever it is kept.
#[derive(Clone, Copy)]
pub struct SetRef<'a>(FormRef<'a>);

#[derive(Clone, Copy)]
enum FormRef<'a> {
    Ints(IntsetRef<'a>),
    Packed(ListpackRef<'a>),
    Table(&'a Records),
}

impl<'a> From<ListpackRef<'a>> for SetRef<'a> {
    fn from(pack: ListpackRef<'a>) -> Self {
        SetRef(FormRef::Packed(pack))
    }
}

impl<'a> From<IntsetRef<'a>> for SetRef<'a> {
    fn from(ints: IntsetRef<'a>) -> Self {
        SetRef(FormRef::Ints(ints))
    }
}

impl Set {
    /// A set without members.
    pub fn new() -> Set {
        Set(Form::Ints(Intset::new()))
    }

    /// Takes over a set of integers as snapshots have it.
    pub fn from_intset(ints: Intset, limits: Limits) -> Set {
        let mut set = Set(Form::Ints(ints));
        if set.len() > limits.intset_entries {
            set.leave_ints();
        }
        set
    }

    /// Heap bytes.
    pub fn memory(&self) -> usize {
        match &self.0 {
            Form::Ints(ints) => ints.heap_bytes(),
            Form::Packed(pack) => pack.heap_bytes(),
            Form::Table(records) => records.memory(),
        }
    }

    /// Adds a member. Returns whether it is new.
    pub fn add(&mut self, member: &[u8], limits: Limits) -> bool {
        if let Form::Ints(ints) = &mut self.0 {
            if let Some(number) = decimal::parse_canonical_i64(member) {
                let is_new = ints.insert(number);
                if ints.len() > limits.intset_entries {
                    self.leave_ints();
                }
                return is_new;
            }
            self.leave_ints();
        }
        if let Form::Packed(pack) = &mut self.0 {
            if pack.find(member, 0).is_some() {
                return false;
            }
            if member.len() <= PACKED_BYTES && pack.len() < PACKED_MEMBERS {
                pack.push_back(member);
                return true;
            }
        }
        self.unpack().insert(member)
    }

    /// Removes a member. Returns whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Form::Ints(ints) => {
                decimal::parse_canonical_i64(member).is_some_and(|number| ints.remove(number))
            }
            Form::Packed(pack) => {
                let Some(at) = pack.find(member, 0) else { return false };
                pack.remove(at);
                true
            }
            Form::Table(records) => records.remove(member),
        }
    }

    /// Takes a random member out, each as likely as any other.
    pub fn pop(&mut self, random: &mut impl FnMut() -> u64) -> Option<Vec<u8>> {
        let member = self.view().random(random)?.to_vec();
        self.remove(&member);
        Some(member)
    }

    /// Makes an intset what it is to be when it must not be one any more.
    fn leave_ints(&mut self) {
        let Form::Ints(ints) = &self.0 else { return };
        if ints.len() > PACKED_MEMBERS {
            self.unpack();
            return;
        }
        let mut pack = Listpack::new();
        ints.iter().for_each(|number| pack.push_back(number));
        self.0 = Form::Packed(pack);
    }

    /// Makes it a table, if it is none yet.
    fn unpack(&mut self) -> &mut Records {
        if !matches!(self.0, Form::Table(_)) {
            let mut records = Box::<Records>::default();
            let mut digits = Digits::new();
            self.view().iter().for_each(|member| records.add(Record::new(member.bytes(&mut digits), b"")));
            self.0 = Form::Table(records);
        }
        match &mut self.0 {
            Form::Table(records) => records,
            Form::Ints(_) | Form::Packed(_) => unreachable!("it was made a table above"),
        }
    }

    /// How it is read.
    #[inline]
    pub fn view(&self) -> SetRef<'_> {
        SetRef(match &self.0 {
            Form::Ints(ints) => FormRef::Ints(ints.view()),
            Form::Packed(pack) => FormRef::Packed(pack.view()),
            Form::Table(records) => FormRef::Table(records),
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
    pub(super) fn large(&self) -> Option<&Records> {
        if let Form::Table(large) = &self.0 { Some(large) } else { None }
    }

    /// The same, to be walked over.
    pub(super) fn large_mut(&mut self) -> Option<&mut Records> {
        if let Form::Table(large) = &mut self.0 { Some(large) } else { None }
    }

    pub(super) fn unpacked(packed: Packed<'_>, buf: Vec<u8>) -> Option<Set> {
        Some(Set(match packed {
            Packed::Set(pack) => Form::Packed(Listpack::copied(pack, buf)),
            Packed::Ints(ints) => Form::Ints(Intset::copied(ints, buf)),
            Packed::Hash(_) | Packed::Zset(_) => return None,
        }))
    }

    pub(super) fn packed(&self) -> Option<Packed<'_>> {
        match &self.0 {
            Form::Ints(ints) => Some(Packed::Ints(ints.view())),
            Form::Packed(pack) => Some(Packed::Set(pack.view())),
            Form::Table(_) => None,
        }
    }

    pub(super) fn into_memory(self) -> Vec<u8> {
        match self.0 {
            Form::Ints(ints) => ints.into_bytes(),
            Form::Packed(pack) => pack.into_memory(),
            Form::Table(_) => Vec::new(),
        }
    }
}

impl<'a> SetRef<'a> {
    /// How many members it has.
    pub fn len(self) -> usize {
        match self.0 {
            FormRef::Ints(ints) => ints.len(),
            FormRef::Packed(pack) => pack.len(),
            FormRef::Table(records) => records.len(),
        }
    }

    /// Whether it has no members.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(self) -> &'static str {
        match self.0 {
            FormRef::Ints(_) => "intset",
            FormRef::Packed(_) | FormRef::Table(_) => "hashtable",
        }
    }

    /// Its serialized form, if it is an intset.
    pub fn as_intset(self) -> Option<IntsetRef<'a>> {
        if let FormRef::Ints(ints) = self.0 { Some(ints) } else { None }
    }

    /// Whether `member` is in it.
    #[inline]
    pub fn contains(self, member: &[u8]) -> bool {
        match self.0 {
            FormRef::Ints(ints) => {
                decimal::parse_canonical_i64(member).is_some_and(|number| ints.contains(number))
            }
            FormRef::Packed(pack) => pack.find(member, 0).is_some(),
            FormRef::Table(records) => records.get(member).is_some(),
        }
    }

    /// All members, in no order that lasts.
    pub fn iter(self) -> Members<'a> {
        match self.0 {
            FormRef::Ints(ints) => Members::Ints(ints, 0),
            FormRef::Packed(pack) => Members::Packed(pack.iter()),
            FormRef::Table(records) => Members::Table(records.iter()),
        }
    }

    /// A step of a walk that survives changes; 0 begins and ends it. Visits some `count` members, a small set as a
    /// whole. Members that are there from the first step to the last are visited at least once.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(StringRef<'a>)) -> u64 {
        match self.0 {
            FormRef::Ints(_) | FormRef::Packed(_) => {
                self.iter().for_each(visit);
                0
            }
            FormRef::Table(records) => records.scan(cursor, count, |record| visit(member_of(record))),
        }
    }

    /// A member, each as likely as any other.
    pub fn random(self, random: &mut impl FnMut() -> u64) -> Option<StringRef<'a>> {
        match self.0 {
            _ if self.is_empty() => None,
            FormRef::Ints(ints) => ints.get(draw::below(ints.len(), random)).map(StringRef::Integer),
            FormRef::Packed(pack) => pack.get(draw::below(pack.len(), random) as i64).map(StringRef::from),
            FormRef::Table(records) => records.random(random).map(member_of),
        }
    }

    /// Draws members, each draw as if it were the first, until `visit` returns false.
    pub fn random_repeated(
        self,
        random: &mut impl FnMut() -> u64,
        mut visit: impl FnMut(StringRef<'a>) -> bool,
    ) {
        if let FormRef::Packed(_) = self.0 {
            // Going through the listpack once is cheaper than looking for each place anew.
            let members: Vec<_> = self.iter().collect();
            while !members.is_empty() && visit(members[draw::below(members.len(), random)]) {}
            return;
        }
        while self.random(random).is_some_and(&mut visit) {}
    }

    /// Visits `count` different members, or all there are, any choice as likely as any other.
    pub fn random_distinct(
        self,
        count: usize,
        random: &mut impl FnMut() -> u64,
        mut visit: impl FnMut(StringRef<'a>),
    ) {
        match self.0 {
            FormRef::Ints(_) | FormRef::Packed(_) => {
                draw::select(self.iter(), self.len(), count, random, visit)
            }
            FormRef::Table(records) => {
                records.random_distinct(count, random, |record| visit(member_of(record)));
            }
        }
    }

    /// Whether it is the very same set as another, and not one that is equal to it.
    pub(super) fn is(self, other: SetRef<'_>) -> bool {
        match (self.0, other.0) {
            (FormRef::Ints(a), FormRef::Ints(b)) => std::ptr::eq(a.members(), b.members()),
            (FormRef::Packed(a), FormRef::Packed(b)) => std::ptr::eq(a.entries(), b.entries()),
            (FormRef::Table(a), FormRef::Table(b)) => std::ptr::eq(a, b),
            _ => false,
        }
    }

    /// A copy of it.
    pub fn to_set(self) -> Set {
        Set(match self.0 {
            FormRef::Ints(ints) => Form::Ints(Intset::copied(ints, Vec::new())),
            FormRef::Packed(pack) => Form::Packed(Listpack::copied(pack, Vec::new())),
            FormRef::Table(records) => Form::Table(Box::new(records.clone())),
        })
    }
}

fn member_of(record: RecordRef<'_>) -> StringRef<'_> {
    StringRef::Bytes(record.key())
}

/// Iterator over the members of a set; see [`Set::iter`].
pub enum Members<'a> {
    /// Of an intset, from a place on.
    Ints(IntsetRef<'a>, usize),
    /// Of a listpack.
    Packed(listpack::Iter<'a>),
    /// Of a table.
    Table(table::Iter<'a, Record>),
}

impl<'a> Iterator for Members<'a> {
    type Item = StringRef<'a>;

    fn next(&mut self) -> Option<StringRef<'a>> {
        match self {
            Members::Ints(ints, next) => {
                let number = ints.get(*next)?;
                *next += 1;
                Some(StringRef::Integer(number))
            }
            Members::Packed(elements) => elements.next().map(StringRef::from),
            Members::Table(records) => records.next().map(member_of),
        }
    }
}

/// A member to be looked for in several sets: what their forms need to know of it is found out once.
struct Probe<'a> {
    bytes: &'a [u8],
    number: Option<i64>,
    hash: u64,
}

impl<'a> Probe<'a> {
    fn new(member: StringRef<'a>, digits: &'a mut Digits) -> Probe<'a> {
        let number = member.integer();
        let bytes = member.bytes(digits);
        Probe { bytes, number, hash: hash::of(bytes) }
    }

    fn is_in(&self, set: SetRef<'_>) -> bool {
        match set.0 {
            FormRef::Ints(ints) => self.number.is_some_and(|number| ints.contains(number)),
            FormRef::Packed(pack) => pack.find(self.bytes, 0).is_some(),
            FormRef::Table(records) => records.contains_hashed(self.hash, self.bytes),
        }
    }
}
