//! The hash value: fields and values, packed while there are few and they are short, in a table afterwards.
//!
//! A packed hash is a listpack of field, value, field, value, as Redis has it in memory, snapshots and DUMP. Once one of
//! the [`Limits`] is exceeded it becomes a table of records, and stays one.

use super::records::Records;
use super::string::{Digits, StringRef};
use super::{Packed, draw};
use larder_structures::corrupt::Corrupt;
use larder_structures::listpack::{self, Listpack, ListpackRef};
use larder_structures::record::{Record, RecordRef};
use larder_structures::table;

/// Up to where a hash is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fields (`hash-max-listpack-entries`).
    pub entries: usize,
    /// Bytes of a field or a value (`hash-max-listpack-value`).
    pub value: usize,
}

/// A hash.
#[derive(Debug, Clone)]
pub struct Hash(Form);

#[derive(Debug, Clone)]
enum Form {
    Packed(Listpack),
    Table(Box<Records>),
}

impl Default for Hash {
    fn default() -> Self {
        Self::new()
    }
}

/// A hash as it is read, wherever it is kept.
#[derive(Clone, Copy)]
pub struct HashRef<'a>(FormRef<'a>);

#[derive(Clone, Copy)]
enum FormRef<'a> {
    Packed(ListpackRef<'a>),
    Table(&'a Records),
}

impl<'a> From<ListpackRef<'a>> for HashRef<'a> {
    fn from(pack: ListpackRef<'a>) -> Self {
        HashRef(FormRef::Packed(pack))
    }
}

impl Hash {
    /// A hash without fields.
    pub fn new() -> Hash {
        Hash(Form::Packed(Listpack::new()))
    }

    /// Takes over a packed hash as snapshots have it. One that is beyond `limits` becomes a table.
    ///
    /// # Errors
    /// [`Corrupt`] if a field has no value, or stands there twice.
    pub fn from_listpack(pack: Listpack, limits: Limits) -> Result<Hash, Corrupt> {
        if !pack.len().is_multiple_of(2) {
            return Err(Corrupt("hash with a field that has no value"));
        }
        let mut fields = std::collections::HashSet::with_capacity(pack.len() / 2);
        let mut digits = Digits::new();
        let mut is_beyond = pack.len() / 2 > limits.entries;
        for (field, value) in pairs(pack.view()) {
            is_beyond |= field.len().max(value.len()) > limits.value;
            if !fields.insert(field.bytes(&mut digits).to_vec()) {
                return Err(Corrupt("hash with the same field twice"));
            }
        }
        let mut hash = Hash(Form::Packed(pack));
        if is_beyond {
            hash.unpack();
        }
        Ok(hash)
    }

    /// Heap bytes.
    pub fn memory(&self) -> usize {
        match &self.0 {
            Form::Packed(pack) => pack.heap_bytes(),
            Form::Table(records) => records.memory(),
        }
    }

    /// Sets the value of a field. Returns whether the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: Limits) -> bool {
        if let Form::Packed(pack) = &mut self.0 {
            let fits = field.len().max(value.len()) <= limits.value;
            if fits && pack.safe_to_add(field.len() + value.len()) {
                let is_new = set_packed(pack, field, value);
                if pack.len() / 2 > limits.entries {
                    self.unpack();
                }
                return is_new;
            }
        }
        self.unpack().put(field, value)
    }

    /// Removes a field. Returns whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match &mut self.0 {
            Form::Packed(pack) => {
                let Some(at) = pack.find(field, 1) else { return false };
                // The value follows its field, and has its place when the field is gone.
                if let Some(at) = pack.remove(at) {
                    pack.remove(at);
                }
                true
            }
            Form::Table(records) => records.remove(field),
        }
    }

    /// Makes it a table, if it is none yet.
    fn unpack(&mut self) -> &mut Records {
        if let Form::Packed(pack) = &self.0 {
            let mut records = Box::<Records>::default();
            let (mut field_digits, mut value_digits) = (Digits::new(), Digits::new());
            for (field, value) in pairs(pack.view()) {
                let field = field.bytes(&mut field_digits);
                records.add(Record::new(field, value.bytes(&mut value_digits)));
            }
            self.0 = Form::Table(records);
        }
        match &mut self.0 {
            Form::Table(records) => records,
            Form::Packed(_) => unreachable!("it was made a table above"),
        }
    }

    /// How it is read.
    #[inline]
    pub fn view(&self) -> HashRef<'_> {
        HashRef(match &self.0 {
            Form::Packed(pack) => FormRef::Packed(pack.view()),
            Form::Table(records) => FormRef::Table(records),
        })
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether it has no fields.
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

    pub(super) fn unpacked(packed: Packed<'_>, buf: Vec<u8>) -> Option<Hash> {
        let Packed::Hash(pack) = packed else { return None };
        Some(Hash(Form::Packed(Listpack::copied(pack, buf))))
    }

    pub(super) fn packed(&self) -> Option<Packed<'_>> {
        self.view().as_listpack().map(Packed::Hash)
    }

    pub(super) fn into_memory(self) -> Vec<u8> {
        match self.0 {
            Form::Packed(pack) => pack.into_memory(),
            Form::Table(_) => Vec::new(),
        }
    }
}

impl<'a> HashRef<'a> {
    /// How many fields it has.
    pub fn len(self) -> usize {
        match self.0 {
            FormRef::Packed(pack) => pack.len() / 2,
            FormRef::Table(records) => records.len(),
        }
    }

    /// Whether it has no fields.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING says.
    pub fn encoding(self) -> &'static str {
        match self.0 {
            FormRef::Packed(_) => "listpack",
            FormRef::Table(_) => "hashtable",
        }
    }

    /// Its serialized form, if it is packed.
    pub fn as_listpack(self) -> Option<ListpackRef<'a>> {
        match self.0 {
            FormRef::Packed(pack) => Some(pack),
            FormRef::Table(_) => None,
        }
    }

    /// The value of a field.
    #[inline]
    pub fn get(self, field: &[u8]) -> Option<StringRef<'a>> {
        match self.0 {
            FormRef::Packed(pack) => pack.at(pack.next(pack.find(field, 1)?)?).map(StringRef::from),
            FormRef::Table(records) => records.get(field).map(|record| StringRef::Bytes(record.value())),
        }
    }

    /// Whether it has a field.
    #[inline]
    pub fn contains(self, field: &[u8]) -> bool {
        match self.0 {
            FormRef::Packed(pack) => pack.find(field, 1).is_some(),
            FormRef::Table(records) => records.get(field).is_some(),
        }
    }

    /// All fields with their values, in no order that lasts.
    pub fn iter(self) -> Pairs<'a> {
        match self.0 {
            FormRef::Packed(pack) => pairs(pack),
            FormRef::Table(records) => Pairs::Table(records.iter()),
        }
    }

    /// A step of a walk that survives changes; 0 begins and ends it. Visits some `count` fields, a packed hash as a
    /// whole. Fields that are there from the first step to the last are visited at least once.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(StringRef<'a>, StringRef<'a>)) -> u64 {
        match self.0 {
            FormRef::Packed(_) => {
                self.iter().for_each(|(field, value)| visit(field, value));
                0
            }
            FormRef::Table(records) => records.scan(cursor, count, |record| {
                let (field, value) = pair(record);
                visit(field, value);
            }),
        }
    }

    /// A field with its value, each as likely as any other.
    pub fn random(self, random: &mut impl FnMut() -> u64) -> Option<(StringRef<'a>, StringRef<'a>)> {
        match self.0 {
            FormRef::Packed(pack) if pack.is_empty() => None,
            FormRef::Packed(pack) => {
                let field = pack.seek(2 * draw::below(pack.len() / 2, random) as i64)?;
                Some((pack.at(field)?.into(), pack.at(pack.next(field)?)?.into()))
            }
            FormRef::Table(records) => records.random(random).map(pair),
        }
    }

    /// Draws fields with their values, each draw as if it were the first, until `visit` returns false.
    pub fn random_repeated(
        self,
        random: &mut impl FnMut() -> u64,
        mut visit: impl FnMut(StringRef<'a>, StringRef<'a>) -> bool,
    ) {
        match self.0 {
            FormRef::Packed(_) => {
                let pairs: Vec<_> = self.iter().collect();
                while !pairs.is_empty() {
                    let (field, value) = pairs[draw::below(pairs.len(), random)];
                    if !visit(field, value) {
                        return;
                    }
                }
            }
            FormRef::Table(records) => {
                while let Some((field, value)) = records.random(random).map(pair) {
                    if !visit(field, value) {
                        return;
                    }
                }
            }
        }
    }

    /// Visits `count` different fields, or all there are, any choice as likely as any other.
    pub fn random_distinct(
        self,
        count: usize,
        random: &mut impl FnMut() -> u64,
        mut visit: impl FnMut(StringRef<'a>, StringRef<'a>),
    ) {
        match self.0 {
            FormRef::Packed(_) => {
                draw::select(self.iter(), self.len(), count, random, |(field, value)| visit(field, value));
            }
            FormRef::Table(records) => records.random_distinct(count, random, |record| {
                let (field, value) = pair(record);
                visit(field, value);
            }),
        }
    }

    /// A copy of it.
    pub fn to_hash(self) -> Hash {
        Hash(match self.0 {
            FormRef::Packed(pack) => Form::Packed(Listpack::copied(pack, Vec::new())),
            FormRef::Table(records) => Form::Table(Box::new(records.clone())),
        })
    }
}

fn set_packed(pack: &mut Listpack, field: &[u8], value: &[u8]) -> bool {
    let value_at = pack.find(field, 1).and_then(|at| pack.next(at));
    match value_at {
        Some(at) => pack.replace(at, value),
        None => {
            pack.push_back(field);
            pack.push_back(value);
        }
    }
    value_at.is_none()
}

fn pairs(pack: ListpackRef<'_>) -> Pairs<'_> {
    Pairs::Packed(pack.iter())
}

fn pair(record: RecordRef<'_>) -> (StringRef<'_>, StringRef<'_>) {
    (StringRef::Bytes(record.key()), StringRef::Bytes(record.value()))
}

/// Iterator over the fields of a hash with their values; see [`Hash::iter`].
pub enum Pairs<'a> {
    /// Of a packed hash.
    Packed(listpack::Iter<'a>),
    /// Of a table.
    Table(table::Iter<'a, Record>),
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (StringRef<'a>, StringRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Pairs::Packed(elements) => Some((elements.next()?.into(), elements.next()?.into())),
            Pairs::Table(records) => records.next().map(pair),
        }
    }
}
