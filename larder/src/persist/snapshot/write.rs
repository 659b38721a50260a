//! Writing a snapshot, one item at a time.
//!
//! Nothing is collected: aggregates are given as a count and an iterator, and leave through one buffer. The count
//! stands in front of the elements in the format, so it must be known and the iterator must keep it; where it does
//! not, the file is already wrong when that is found out, and the writer refuses to finish it.

use std::io::{self, Write};

use super::super::crc64::Crc64;
use super::super::lzf::Compressor;
use super::codec::{MAGIC, VERSION_WRITTEN, container, encoding, length, opcode, tag};
use super::read::{Node, Value};

/// Bytes collected before they are summed and handed on.
const BUFFER_LEN: usize = 64 * 1024;

/// Strings up to this long are not worth compressing.
const COMPRESS_ABOVE: usize = 20;

/// A compressed string must be shorter by at least this much: its two lengths take room too.
const COMPRESS_GAIN_MIN: usize = 4;

/// How to write.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// Compress strings with LZF where that makes them shorter.
    pub compress: bool,
    /// Compute the checksum; otherwise it is written as 0 and no reader checks it.
    pub checksum: bool,
    /// The version of the format: 10, which Redis 7.0 reads, or 11.
    pub version: u16,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { compress: true, checksum: true, version: VERSION_WRITTEN }
    }
}

/// What a snapshot says about its own making.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The version of Redis the writer behaves like.
    pub redis_version: &'a str,
    /// When the snapshot was started, in seconds of Unix time.
    pub created_at_s: i64,
    /// The memory used at that time, in bytes.
    pub used_memory: u64,
    /// Whether this is the base of an append-only file.
    pub aof_base: bool,
}

/// What is kept with a key beside its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyMeta {
    /// When the key expires, in milliseconds of Unix time.
    pub expire_at_ms: Option<i64>,
    /// Seconds since its last use, where eviction goes by that.
    pub idle: Option<u64>,
    /// Its logarithmic use counter, where eviction goes by that.
    pub freq: Option<u8>,
}

/// A node of a list to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRef<'a> {
    /// Several elements, as a listpack.
    Packed(&'a [u8]),
    /// One element, as it is.
    Plain(&'a [u8]),
}

impl<'a> From<&'a Node> for NodeRef<'a> {
    fn from(node: &'a Node) -> Self {
        match node {
            Node::Packed(bytes) => Self::Packed(bytes),
            Node::Plain(bytes) => Self::Plain(bytes),
        }
    }
}

/// Writes a snapshot into `W`; needs no buffering in `W`. Dropped before [`finish`](Self::finish), it leaves a file
/// that no reader accepts. After an error every further call fails.
pub struct SnapshotWriter<W: Write> {
    out: Encoder<W>,
}

impl<W: Write> SnapshotWriter<W> {
    /// Starts a snapshot: writes its header.
    ///
    /// # Errors
    /// As `W` fails; this holds for all methods and is not repeated.
    pub fn new(output: W, options: WriteOptions) -> io::Result<Self> {
        let mut out = Encoder::new(output, options, BUFFER_LEN);
        out.put(MAGIC)?;
        out.put(format!("{:04}", options.version).as_bytes())?;
        Ok(Self { out })
    }

    /// Writes the facts about the file that Redis writes, in its order.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn origin(&mut self, origin: Origin<'_>) -> io::Result<()> {
        let mut number = itoa::Buffer::new();
        self.aux(b"redis-ver", origin.redis_version.as_bytes())?;
        self.aux(b"redis-bits", number.format(usize::BITS).as_bytes())?;
        self.aux(b"ctime", number.format(origin.created_at_s).as_bytes())?;
        self.aux(b"used-mem", number.format(origin.used_memory).as_bytes())?;
        self.aux(b"aof-base", number.format(u8::from(origin.aof_base)).as_bytes())
    }

    /// Writes one fact about the file.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn aux(&mut self, name: &[u8], value: &[u8]) -> io::Result<()> {
        self.out.put(&[opcode::AUX])?;
        self.out.string(name)?;
        self.out.string(value)
    }

    /// Writes the source of a library of functions.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn function(&mut self, code: &[u8]) -> io::Result<()> {
        self.out.put(&[opcode::FUNCTION])?;
        self.out.string(code)
    }

    /// Says that the keys that follow belong to this database. A database may be selected more than once.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn select_db(&mut self, db: u64) -> io::Result<()> {
        self.out.put(&[opcode::SELECT_DB])?;
        self.out.length(db)
    }

    /// Says how many keys the selected database has, and how many of them have an expiry; a hint for the reader.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn resize_db(&mut self, keys: u64, expires: u64) -> io::Result<()> {
        self.out.put(&[opcode::RESIZE_DB])?;
        self.out.length(keys)?;
        self.out.length(expires)
    }

    /// Begins a key; the method called on the result says of which type its value is and writes everything. Without
    /// that call nothing is written.
    #[must_use = "nothing is written until the value is given"]
    pub fn key<'a>(&'a mut self, key: &'a [u8], meta: KeyMeta) -> ValueWriter<'a, W> {
        ValueWriter { out: &mut self.out, head: Some((key, meta)) }
    }

    /// The bytes written so far, including those still buffered.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.out.written
    }

    /// Writes the end mark and the checksum, flushes, and gives `W` back. It is not synced.
    ///
    /// # Errors
    /// See [`new`](Self::new); also if anything failed before.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.put(&[opcode::END])?;
        let checksum = self.out.checksum()?;
        self.out.put(&checksum.to_le_bytes())?;
        self.out.drain()?;
        self.out.output.flush()?;
        Ok(self.out.output)
    }
}

/// Writes one value, with the key it belongs to if there is one.
///
/// All methods fail as the output does. Those that take a count also fail, with `InvalidInput`, when the count is 0
/// (Redis has no empty collections, and drops one it finds) or not the number of elements that came; the snapshot is
/// then beyond repair.
#[must_use = "nothing is written until the value is given"]
pub struct ValueWriter<'a, W: Write> {
    pub(super) out: &'a mut Encoder<W>,
    pub(super) head: Option<(&'a [u8], KeyMeta)>,
}

impl<W: Write> ValueWriter<'_, W> {
    /// Writes a string.
    ///
    /// # Errors
    /// See [`ValueWriter`]; this holds for all methods.
    pub fn string(self, value: &[u8]) -> io::Result<()> {
        self.begin(tag::STRING)?.string(value)
    }

    /// Writes a list of `count` nodes, head first.
    ///
    /// # Errors
    /// See [`ValueWriter`].
    pub fn list<'n>(self, count: u64, nodes: impl IntoIterator<Item = NodeRef<'n>>) -> io::Result<()> {
        self.begin(tag::LIST_QUICKLIST_2)?.many(count, nodes, |out, node| {
            let (kind, bytes) = match node {
                NodeRef::Packed(bytes) => (container::PACKED, bytes),
                NodeRef::Plain(bytes) => (container::PLAIN, bytes),
            };
            out.length(kind)?;
            out.string(bytes)
        })
    }

    /// Writes a set of `count` members.
    ///
    /// # Errors
    /// See [`ValueWriter`].
    pub fn set<M: AsRef<[u8]>>(self, count: u64, members: impl IntoIterator<Item = M>) -> io::Result<()> {
        self.begin(tag::SET)?.many(count, members, |out, member| out.string(member.as_ref()))
    }

    /// Writes a set that is an intset.
    ///
    /// # Errors
    /// See [`ValueWriter`].
    pub fn intset(self, intset: &[u8]) -> io::Result<()> {
        self.begin(tag::SET_INTSET)?.string(intset)
    }

    /// Writes a hash of `count` fields with their values.
    ///
    /// # Errors
    /// See [`ValueWriter`].
    pub fn hash<F, V>(self, count: u64, pairs: impl IntoIterator<Item = (F, V)>) -> io::Result<()>
    where
        F: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        self.begin(tag::HASH)?.many(count, pairs, |out, (field, value)| {
            out.string(field.as_ref())?;
            out.string(value.as_ref())
        })
    }

    /// Writes a hash that is a listpack.
    ///
    /// # Errors
    /// See [`ValueWriter`].
    pub fn hash_listpack(self, listpack: &[u8]) -> io::Result<()> {
        self.begin(tag::HASH_LISTPACK)?.string(listpack)
    }

    /// Writes a sorted set of `count` members with their scores, in any order; Redis loads it fastest from the highest
    /// score to the lowest.
    ///
    /// # Errors
    /// See [`ValueWriter`]; also if a score is NaN.
    pub fn zset<M: AsRef<[u8]>>(
        self,
        count: u64,
        members: impl IntoIterator<Item = (M, f64)>,
    ) -> io::Result<()> {
        self.begin(tag::ZSET)?.many(count, members, |out, (member, score)| {
            if score.is_nan() {
                return Err(out.spoil("a score that is not a number"));
            }
            out.string(member.as_ref())?;
            out.put(&score.to_le_bytes())
        })
    }

    /// Writes a sorted set that is a listpack.
    ///
    /// # Errors
    /// See [`ValueWriter`].
    pub fn zset_listpack(self, listpack: &[u8]) -> io::Result<()> {
        self.begin(tag::ZSET_LISTPACK)?.string(listpack)
    }

    /// Writes a value as it was read. A list of elements becomes one of plain nodes.
    ///
    /// # Errors
    /// See [`ValueWriter`]; also, with `Unsupported` and without writing, for a set that is a listpack, which the
    /// version of the format that is written does not have.
    pub fn value(self, value: &Value) -> io::Result<()> {
        match value {
            Value::String(bytes) => self.string(bytes),
            Value::List(elements) => {
                self.list(elements.len() as u64, elements.iter().map(|element| NodeRef::Plain(element)))
            }
            Value::ListNodes(nodes) => self.list(nodes.len() as u64, nodes.iter().map(NodeRef::from)),
            Value::Set(members) => self.set(members.len() as u64, members),
            Value::Intset(bytes) => self.intset(bytes),
            Value::SetListpack(_) => Err(io::ErrorKind::Unsupported.into()),
            Value::Hash(pairs) => {
                self.hash(pairs.len() as u64, pairs.iter().map(|(field, value)| (field, value)))
            }
            Value::HashListpack(bytes) => self.hash_listpack(bytes),
            Value::Zset(pairs) => {
                self.zset(pairs.len() as u64, pairs.iter().map(|(member, score)| (member, *score)))
            }
            Value::ZsetListpack(bytes) => self.zset_listpack(bytes),
        }
    }
}

/// What elements a collection has that is written one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elements {
    /// Fields with their values.
    Fields,
    /// Members of a set; their values are not looked at.
    Members,
    /// Members with their scores, in the bytes of little-endian doubles.
    Scored,
}

/// Writes the elements of a collection one by one; made by [`ValueWriter::elements`].
#[must_use = "a collection is whole when it is finished"]
pub(crate) struct ElementWriter<'a, W: Write> {
    out: &'a mut Encoder<W>,
    elements: Elements,
    left: u64,
}

impl<W: Write> ElementWriter<'_, W> {
    /// Writes the next element; the value is a field's, nothing, or a score, as [`Elements`] says.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let Some(left) = self.left.checked_sub(1) else { return Err(self.out.spoil(OTHER_SIZE)) };
        self.left = left;
        self.out.string(key)?;
        match self.elements {
            Elements::Fields => self.out.string(value),
            Elements::Members => Ok(()),
            Elements::Scored => self.out.put(value),
        }
    }

    /// Sees that as many came as were announced.
    pub(crate) fn finish(self) -> io::Result<()> {
        if self.left == 0 { Ok(()) } else { Err(self.out.spoil(OTHER_SIZE)) }
    }
}

const OTHER_SIZE: &str = "a collection of another size than announced";

impl<'a, W: Write> ValueWriter<'a, W> {
    /// Writes a collection of `count` elements, which come one by one.
    ///
    /// # Errors
    /// See [`ValueWriter`].
    pub(crate) fn elements(self, elements: Elements, count: u64) -> io::Result<ElementWriter<'a, W>> {
        let out = self.begin(match elements {
            Elements::Fields => tag::HASH,
            Elements::Members => tag::SET,
            Elements::Scored => tag::ZSET,
        })?;
        if count == 0 {
            return Err(out.spoil("a collection without elements"));
        }
        out.length(count)?;
        Ok(ElementWriter { out, elements, left: count })
    }

    fn begin(self, tag: u8) -> io::Result<&'a mut Encoder<W>> {
        let Self { out, head } = self;
        let Some((key, meta)) = head else {
            out.put(&[tag])?;
            return Ok(out);
        };
        if let Some(expire_at_ms) = meta.expire_at_ms {
            out.put(&[opcode::EXPIRE_MS])?;
            out.put(&expire_at_ms.to_le_bytes())?;
        }
        if let Some(idle) = meta.idle {
            out.put(&[opcode::IDLE])?;
            out.length(idle)?;
        }
        if let Some(freq) = meta.freq {
            out.put(&[opcode::FREQ, freq])?;
        }
        out.put(&[tag])?;
        out.string(key)?;
        Ok(out)
    }
}

/// Bytes out: the buffer, the checksum, and the ways lengths and strings are put.
pub(super) struct Encoder<W> {
    output: W,
    buffer: Vec<u8>,
    buffer_len: usize,
    options: WriteOptions,
    checksum: Crc64,
    /// Made when the first string is long enough: a DUMP of a small value needs none.
    compressor: Option<Compressor>,
    compressed: Vec<u8>,
    written: u64,
    /// Something failed: what is in the output is not the beginning of a snapshot any more.
    spoiled: bool,
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(output: W, options: WriteOptions, buffer_len: usize) -> Self {
        Self {
            output,
            buffer: Vec::with_capacity(buffer_len),
            buffer_len,
            options,
            checksum: Crc64::new(),
            compressor: None,
            compressed: Vec::new(),
            written: 0,
            spoiled: false,
        }
    }

    /// Hands on what is buffered.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let drained = self.hand_on(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        drained
    }

    pub(super) fn into_output(self) -> W {
        self.output
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.spoiled {
            return Err(io::Error::other("an earlier failure has spoiled this snapshot"));
        }
        self.written += bytes.len() as u64;
        if bytes.len() > self.buffer_len - self.buffer.len() {
            self.drain()?;
            if bytes.len() >= self.buffer_len {
                return self.hand_on(bytes);
            }
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn hand_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.options.checksum {
            self.checksum.update(bytes);
        }
        self.output.write_all(bytes).inspect_err(|_| self.spoiled = true)
    }

    /// The checksum of everything put so far, or 0 if there is to be none.
    fn checksum(&mut self) -> io::Result<u64> {
        self.drain()?;
        Ok(if self.options.checksum { self.checksum.value() } else { 0 })
    }

    fn spoil(&mut self, what: &'static str) -> io::Error {
        self.spoiled = true;
        io::Error::new(io::ErrorKind::InvalidInput, what)
    }

    fn many<T>(
        &mut self,
        count: u64,
        elements: impl IntoIterator<Item = T>,
        mut put: impl FnMut(&mut Self, T) -> io::Result<()>,
    ) -> io::Result<()> {
        if count == 0 {
            return Err(self.spoil("a collection without elements"));
        }
        self.length(count)?;
        let mut came = 0;
        for element in elements {
            came += 1;
            put(self, element)?;
        }
        if came == count { Ok(()) } else { Err(self.spoil(OTHER_SIZE)) }
    }

    fn length(&mut self, len: u64) -> io::Result<()> {
        if let Ok(short) = u16::try_from(len)
            && short < 1 << 14
        {
            let [high, low] = short.to_be_bytes();
            if short < 1 << 6 { self.put(&[low]) } else { self.put(&[length::BITS_14 | high, low]) }
        } else if let Ok(middle) = u32::try_from(len) {
            self.put(&[length::BITS_32])?;
            self.put(&middle.to_be_bytes())
        } else {
            self.put(&[length::BITS_64])?;
            self.put(&len.to_be_bytes())
        }
    }

    fn string(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(integer) = canonical_i32(bytes) {
            return self.integer(integer);
        }
        if self.options.compress && bytes.len() > COMPRESS_ABOVE {
            let compressor = self.compressor.get_or_insert_default();
            if compressor.compress(bytes, bytes.len() - COMPRESS_GAIN_MIN, &mut self.compressed) {
                return self.lzf_string(bytes.len() as u64);
            }
        }
        self.length(bytes.len() as u64)?;
        self.put(bytes)
    }

    fn integer(&mut self, integer: i32) -> io::Result<()> {
        let [a, b, c, d] = integer.to_le_bytes();
        if i8::try_from(integer).is_ok() {
            self.put(&[length::ENCODED | encoding::INT8, a])
        } else if i16::try_from(integer).is_ok() {
            self.put(&[length::ENCODED | encoding::INT16, a, b])
        } else {
            self.put(&[length::ENCODED | encoding::INT32, a, b, c, d])
        }
    }

    /// Puts the string whose compressed form is in `self.compressed`.
    fn lzf_string(&mut self, original_len: u64) -> io::Result<()> {
        let compressed = std::mem::take(&mut self.compressed);
        self.put(&[length::ENCODED | encoding::LZF])?;
        self.length(compressed.len() as u64)?;
        self.length(original_len)?;
        self.put(&compressed)?;
        self.compressed = compressed;
        Ok(())
    }
}

/// The number `text` spells, if it fits 32 bits and `text` is the one way to spell it: only then does the number
/// stand for the text.
fn canonical_i32(text: &[u8]) -> Option<i32> {
    const LONGEST: usize = "-2147483648".len();
    if text.len() > LONGEST {
        return None;
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0'] if digits.len() == text.len() => Some(0),
        [b'1'..=b'9', ..] => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}
