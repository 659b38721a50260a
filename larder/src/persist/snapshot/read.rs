//! Reading a snapshot, one item at a time.

use std::io::Read;

use super::super::lzf;
use super::codec::{
    MAGIC, VERSION_WITH_CHECKSUM, VERSIONS_READ, container, encoding, length, opcode, tag, text_score,
};
use super::error::{LoadError, LoadErrorKind};
use super::foreign::Foreign;
use super::legacy::{self, Damage, Pair};
use super::source::{BUFFER_LEN, Source, Tail};
use crate::types::Type;

/// Elements for which room is made before any was read. Counts are promises; beyond this, vectors grow.
const COUNT_TRUSTED_MAX: u64 = 1024;

/// What a snapshot consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A fact about the file, such as `redis-ver`.
    Aux {
        /// Its name.
        name: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// The keys that follow belong to this database.
    SelectDb(u64),
    /// How many keys this database has, as a hint: it is not checked.
    ResizeDb {
        /// All keys.
        keys: u64,
        /// Those that have an expiry.
        expires: u64,
    },
    /// The source of a library of functions.
    Function(Vec<u8>),
    /// Something that this crate does not read, which was passed over; see [`SnapshotReader::skip_foreign`].
    Skipped(Foreign),
    /// A key and its value.
    Key {
        /// The key.
        key: Vec<u8>,
        /// When it expires, in milliseconds of Unix time; it may have passed.
        expire_at_ms: Option<i64>,
        /// Seconds since its last use, if the writer evicted by LRU.
        idle: Option<u64>,
        /// Its logarithmic use counter, if the writer evicted by LFU.
        freq: Option<u8>,
        /// The value.
        value: Value,
    },
}

/// A value as the snapshot holds it. Packed forms are as they were in the file: unchecked bytes. Collections may be
/// empty or repeat elements if the file does; the receiver decides what that means.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    String(Vec<u8>),
    /// The elements of a list, head first.
    List(Vec<Vec<u8>>),
    /// A list in nodes, head first.
    ListNodes(Vec<Node>),
    /// The members of a set.
    Set(Vec<Vec<u8>>),
    /// A set as an intset.
    Intset(Vec<u8>),
    /// A set as a listpack of its members.
    SetListpack(Vec<u8>),
    /// The fields and values of a hash.
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
    /// A hash as a listpack of field, value, field, value...
    HashListpack(Vec<u8>),
    /// The members and scores of a sorted set, in no certain order; no score is NaN.
    Zset(Vec<(Vec<u8>, f64)>),
    /// A sorted set as a listpack of member, score, member, score... ascending.
    ZsetListpack(Vec<u8>),
}

impl Value {
    /// Whether it is a collection that was written without elements. What is packed has to be looked into for that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Value::List(elements) => elements.is_empty(),
            Value::ListNodes(nodes) => nodes.is_empty(),
            Value::Set(members) => members.is_empty(),
            Value::Hash(pairs) => pairs.is_empty(),
            Value::Zset(pairs) => pairs.is_empty(),
            _ => false,
        }
    }

    /// The type of the key that holds it.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Value::String(_) => Type::String,
            Value::List(_) | Value::ListNodes(_) => Type::List,
            Value::Set(_) | Value::Intset(_) | Value::SetListpack(_) => Type::Set,
            Value::Hash(_) | Value::HashListpack(_) => Type::Hash,
            Value::Zset(_) | Value::ZsetListpack(_) => Type::Zset,
        }
    }
}

/// A node of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Several elements, as a listpack (unchecked bytes).
    Packed(Vec<u8>),
    /// One element, as it is.
    Plain(Vec<u8>),
}

/// Reads a snapshot from `R`; needs no buffering in `R`.
///
/// ```
/// # use larder::persist::snapshot::{Item, KeyMeta, SnapshotReader, SnapshotWriter, Value, WriteOptions};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut writer = SnapshotWriter::new(Vec::new(), WriteOptions::default())?;
/// writer.select_db(0)?;
/// writer.key(b"greeting", KeyMeta::default()).string(b"hello")?;
/// let file = writer.finish()?;
///
/// let mut reader = SnapshotReader::new(&file[..])?;
/// assert_eq!(reader.next()?, Some(Item::SelectDb(0)));
/// let Some(Item::Key { key, value, .. }) = reader.next()? else { panic!("a key was written") };
/// assert_eq!((key, value), (b"greeting".to_vec(), Value::String(b"hello".to_vec())));
/// assert_eq!(reader.next()?, None);
/// # Ok(())
/// # }
/// ```
pub struct SnapshotReader<R> {
    source: Source<R>,
    version: u16,
    verify_checksum: bool,
    skip_foreign: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Failed,
}

impl<R: Read> SnapshotReader<R> {
    /// Starts to read: takes the header.
    ///
    /// # Errors
    /// If the input cannot be read, is no snapshot, or is of a version other than 1 to 12.
    pub fn new(input: R) -> Result<Self, LoadError> {
        let mut source = Source::new(input, BUFFER_LEN);
        let magic: [u8; 5] = source.bytes("the magic of a snapshot")?;
        if magic != *MAGIC {
            return Err(LoadError::corrupt(
                0,
                "the magic \"REDIS\"",
                format!("\"{}\"", magic.escape_ascii()),
            ));
        }
        let at = source.offset();
        let digits: [u8; 4] = source.bytes("the version of the snapshot")?;
        let version = digits.iter().try_fold(0, |version, digit| {
            digit.is_ascii_digit().then(|| version * 10 + u16::from(digit - b'0'))
        });
        let version = version.ok_or_else(|| {
            LoadError::corrupt(at, "a version in four digits", format!("\"{}\"", digits.escape_ascii()))
        })?;
        if !VERSIONS_READ.contains(&version) {
            return Err(LoadError::new(at, LoadErrorKind::UnsupportedVersion { version }));
        }
        Ok(Self { source, version, verify_checksum: true, skip_foreign: false, state: State::Reading })
    }

    /// Whether to compare the checksum at the end (the default).
    #[must_use]
    pub fn verify_checksum(self, verify: bool) -> Self {
        Self { verify_checksum: verify, ..self }
    }

    /// Whether to pass over streams, values of modules and hashes with expiring fields, each an [`Item::Skipped`], in
    /// place of the error that they are otherwise.
    #[must_use]
    pub fn skip_foreign(self, skip: bool) -> Self {
        Self { skip_foreign: skip, ..self }
    }

    /// Whether it skips.
    pub(in super::super) fn skips_foreign(&self) -> bool {
        self.skip_foreign
    }

    /// The version of the format of this snapshot.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// How many bytes were read so far, for progress.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// The next item; `None` once the end mark was read and the checksum compared, and from then on.
    ///
    /// What modules stored outside of keys, and notes on cluster slots, are skipped.
    ///
    /// # Errors
    /// If the input cannot be read, ends early, is not a snapshot, was altered, or contains a stream, a module's value
    /// or another thing this crate does not read and was not told to skip. There is nothing to read after an error.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results would let a caller skip an error"
    )]
    pub fn next(&mut self) -> Result<Option<Item>, LoadError> {
        match self.state {
            State::Reading => {}
            State::Ended => return Ok(None),
            State::Failed => return Err(LoadError::new(self.offset(), LoadErrorKind::AfterFailure)),
        }
        let item = self.item();
        match &item {
            Ok(Some(_)) => {}
            Ok(None) => self.state = State::Ended,
            Err(_) => self.state = State::Failed,
        }
        item
    }

    /// What follows the snapshot in the input, such as the commands behind the snapshot that opens an append-only
    /// file. Meaningful once [`next`](Self::next) returned `None`.
    pub fn into_tail(self) -> Tail<R> {
        self.source.into_tail()
    }

    fn item(&mut self) -> Result<Option<Item>, LoadError> {
        let source = &mut self.source;
        let (mut expire_at_ms, mut idle, mut freq) = (None, None, None);
        loop {
            let at = source.offset();
            match source.byte("an item")? {
                opcode::EXPIRE_MS => expire_at_ms = Some(i64::from_le_bytes(source.bytes("an expiry")?)),
                opcode::EXPIRE_SECONDS => {
                    let seconds = i32::from_le_bytes(source.bytes("an expiry")?);
                    expire_at_ms = Some(i64::from(seconds) * 1000);
                }
                opcode::IDLE => idle = Some(source.count("an idle time")?),
                opcode::FREQ => freq = Some(source.byte("a use counter")?),
                opcode::AUX => {
                    let name = source.string("the name of an aux field")?;
                    return Ok(Some(Item::Aux { name, value: source.string("the value of an aux field")? }));
                }
                opcode::SELECT_DB => {
                    return Ok(Some(Item::SelectDb(source.count("the number of a database")?)));
                }
                opcode::RESIZE_DB => {
                    let keys = source.count("a number of keys")?;
                    return Ok(Some(Item::ResizeDb { keys, expires: source.count("a number of expiries")? }));
                }
                opcode::FUNCTION => return Ok(Some(Item::Function(source.string("a function library")?))),
                opcode::FUNCTION_PRE_RELEASE => {
                    return Err(LoadError::unsupported(at, "function of a pre-release of Redis 7"));
                }
                opcode::MODULE_AUX => source.skip_module()?,
                opcode::SLOT_INFO => {
                    for _ in 0..3 {
                        source.count("a note on a cluster slot")?;
                    }
                }
                opcode::END => return self.end(at).map(|()| None),
                tag => {
                    let key = source.string("a key")?;
                    if let Some(foreign) = Foreign::of(tag).filter(|_| self.skip_foreign) {
                        source.skip_value(tag).map_err(|error| error.in_key(&key))?;
                        return Ok(Some(Item::Skipped(foreign)));
                    }
                    let value = source.value(tag, at).map_err(|error| error.in_key(&key))?;
                    return Ok(Some(Item::Key { key, expire_at_ms, idle, freq, value }));
                }
            }
        }
    }

    fn end(&mut self, at: u64) -> Result<(), LoadError> {
        if self.version < VERSION_WITH_CHECKSUM {
            return Ok(());
        }
        let computed = self.source.checksum();
        let stored = u64::from_le_bytes(self.source.bytes("the checksum")?);
        // Zero is what a writer leaves that was told not to compute it.
        if !self.verify_checksum || stored == 0 || stored == computed {
            return Ok(());
        }
        Err(LoadError::new(at + 1, LoadErrorKind::ChecksumMismatch { stored, computed }))
    }
}

/// The parts that items and values are made of.
impl<R: Read> Source<R> {
    /// A length that must not be an encoding.
    pub(super) fn count(&mut self, reading: &'static str) -> Result<u64, LoadError> {
        let at = self.offset();
        match self.length(reading)? {
            Length::Plain(length) => Ok(length),
            Length::Encoded(encoding) => {
                Err(LoadError::corrupt(at, reading, format!("the string encoding {encoding}")))
            }
        }
    }

    fn length(&mut self, reading: &'static str) -> Result<Length, LoadError> {
        let at = self.offset();
        let first = self.byte(reading)?;
        let low = first & 0x3f;
        Ok(match first {
            length::BITS_32 => Length::Plain(u64::from(u32::from_be_bytes(self.bytes(reading)?))),
            length::BITS_64 => Length::Plain(u64::from_be_bytes(self.bytes(reading)?)),
            length::ENCODED.. => Length::Encoded(low),
            0..length::BITS_14 => Length::Plain(u64::from(low)),
            length::BITS_14..length::BITS_32 => {
                Length::Plain(u64::from(u16::from_be_bytes([low, self.byte(reading)?])))
            }
            0x82..length::ENCODED => {
                return Err(LoadError::corrupt(at, "a length", format!("the byte {first:#04x}")));
            }
        })
    }

    pub(super) fn string(&mut self, reading: &'static str) -> Result<Vec<u8>, LoadError> {
        let at = self.offset();
        let integer = match self.length(reading)? {
            Length::Plain(length) => return self.vec(length, reading),
            Length::Encoded(encoding::LZF) => return self.lzf_string(at, reading),
            Length::Encoded(encoding::INT8) => i32::from(i8::from_le_bytes(self.bytes(reading)?)),
            Length::Encoded(encoding::INT16) => i32::from(i16::from_le_bytes(self.bytes(reading)?)),
            Length::Encoded(encoding::INT32) => i32::from_le_bytes(self.bytes(reading)?),
            Length::Encoded(other) => {
                return Err(LoadError::corrupt(
                    at,
                    "a string",
                    format!("the unknown string encoding {other}"),
                ));
            }
        };
        Ok(itoa::Buffer::new().format(integer).as_bytes().to_vec())
    }

    fn lzf_string(&mut self, at: u64, reading: &'static str) -> Result<Vec<u8>, LoadError> {
        let compressed_len = self.count("the length of a compressed string")?;
        let original_len = self.count("the original length of a compressed string")?;
        let compressed = self.vec(compressed_len, reading)?;
        lzf::decompress(&compressed, original_len)
            .map_err(|error| LoadError::corrupt(at, "an LZF-compressed string", error.to_string()))
    }

    /// The value of type `tag`; `at` is where that tag stands.
    pub(super) fn value(&mut self, tag: u8, at: u64) -> Result<Value, LoadError> {
        Ok(match tag {
            tag::STRING => Value::String(self.string("a string")?),
            tag::LIST => Value::List(self.many(|source| source.string("a list element"))?),
            tag::SET => Value::Set(self.many(|source| source.string("a set member"))?),
            tag::HASH => Value::Hash(self.many(Self::hash_pair)?),
            tag::ZSET => Value::Zset(self.many(|source| source.zset_pair(Self::binary_score))?),
            tag::ZSET_TEXT => Value::Zset(self.many(|source| source.zset_pair(Self::text_score))?),
            tag::SET_INTSET => Value::Intset(self.string("an intset")?),
            tag::SET_LISTPACK => Value::SetListpack(self.string("a set listpack")?),
            tag::HASH_LISTPACK => Value::HashListpack(self.string("a hash listpack")?),
            tag::ZSET_LISTPACK => Value::ZsetListpack(self.string("a sorted set listpack")?),
            tag::LIST_QUICKLIST_2 => Value::ListNodes(self.many(Self::list_node)?),
            tag::LIST_QUICKLIST => Value::List(self.many(Self::ziplist)?.into_iter().flatten().collect()),
            tag::LIST_ZIPLIST => Value::List(self.ziplist()?),
            tag::HASH_ZIPLIST => Value::Hash(self.ziplist_pairs()?),
            tag::ZSET_ZIPLIST => Value::Zset(self.ziplist_scores()?),
            tag::HASH_ZIPMAP => Value::Hash(self.packed("a zipmap", legacy::zipmap)?),
            tag::MODULE_PRE_RELEASE => {
                return Err(LoadError::unsupported(at, "module value of a pre-release of Redis 4"));
            }
            other => {
                return Err(match Foreign::of(other) {
                    Some(foreign) => LoadError::unsupported(at, foreign.name()),
                    None => {
                        let found = format!("the unknown type {other}");
                        LoadError::corrupt(at, "the type of a value", found)
                    }
                });
            }
        })
    }

    fn many<T>(&mut self, element: impl Fn(&mut Self) -> Result<T, LoadError>) -> Result<Vec<T>, LoadError> {
        let count = self.count("a number of elements")?;
        let mut elements = Vec::with_capacity(count.min(COUNT_TRUSTED_MAX) as usize);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    fn hash_pair(&mut self) -> Result<Pair, LoadError> {
        Ok((self.string("a hash field")?, self.string("the value of a hash field")?))
    }

    fn zset_pair(
        &mut self,
        score: impl Fn(&mut Self) -> Result<f64, LoadError>,
    ) -> Result<(Vec<u8>, f64), LoadError> {
        let member = self.string("a sorted set member")?;
        let at = self.offset();
        let score = score(self)?;
        if score.is_nan() {
            return Err(LoadError::corrupt(at, "a score", "not a number"));
        }
        Ok((member, score))
    }

    fn binary_score(&mut self) -> Result<f64, LoadError> {
        Ok(f64::from_le_bytes(self.bytes("a score")?))
    }

    fn text_score(&mut self) -> Result<f64, LoadError> {
        let at = self.offset();
        match self.byte("a score")? {
            text_score::NAN => Ok(f64::NAN),
            text_score::INFINITY => Ok(f64::INFINITY),
            text_score::NEG_INFINITY => Ok(f64::NEG_INFINITY),
            len => parse_score(&self.vec(u64::from(len), "a score")?, at),
        }
    }

    fn list_node(&mut self) -> Result<Node, LoadError> {
        let at = self.offset();
        match self.count("the kind of a list node")? {
            container::PLAIN => Ok(Node::Plain(self.string("a list element")?)),
            container::PACKED => Ok(Node::Packed(self.string("a list listpack")?)),
            other => Err(LoadError::corrupt(at, "the kind of a list node, 1 or 2", other.to_string())),
        }
    }

    fn packed<T>(
        &mut self,
        what: &'static str,
        unpack: impl Fn(&[u8]) -> Result<T, Damage>,
    ) -> Result<T, LoadError> {
        let at = self.offset();
        let bytes = self.string(what)?;
        let found = |damage: Damage| format!("{} at byte {} of it", damage.what, damage.at);
        unpack(&bytes).map_err(|damage| LoadError::corrupt(at, what, found(damage)))
    }

    fn ziplist(&mut self) -> Result<Vec<Vec<u8>>, LoadError> {
        self.packed("a ziplist", legacy::ziplist)
    }

    fn ziplist_pairs(&mut self) -> Result<Vec<Pair>, LoadError> {
        let at = self.offset();
        let entries = self.ziplist()?;
        if entries.len() % 2 != 0 {
            return Err(LoadError::corrupt(at, "a ziplist of pairs", format!("{} entries", entries.len())));
        }
        let mut entries = entries.into_iter();
        Ok(std::iter::from_fn(|| entries.next().zip(entries.next())).collect())
    }

    fn ziplist_scores(&mut self) -> Result<Vec<(Vec<u8>, f64)>, LoadError> {
        let at = self.offset();
        let scored = |(member, text): Pair| {
            let score = parse_score(&text, at)?;
            if score.is_nan() {
                return Err(LoadError::corrupt(at, "a score", "not a number"));
            }
            Ok((member, score))
        };
        self.ziplist_pairs()?.into_iter().map(scored).collect()
    }
}

enum Length {
    Plain(u64),
    Encoded(u8),
}

fn parse_score(text: &[u8], at: u64) -> Result<f64, LoadError> {
    let score = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    score.ok_or_else(|| LoadError::corrupt(at, "a score", format!("'{}'", text.escape_ascii())))
}
