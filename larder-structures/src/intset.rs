//! Intset: a sorted array of integers, byte-compatible with the format of the same name in RDB files and `DUMP`.
//!
//! ```text
//! width: u32 LE (2, 4 or 8) | count: u32 LE | count integers of width bytes, signed, LE, ascending
//! ```
//!
//! A small set of integers takes 2 to 8 bytes per member this way, is searched by bisection, and is saved by copying.
//! All members share the width that the widest one needed when it came; inserting a wider one rewrites the array once,
//! and removing it does not narrow it again, so a width may be larger than the members need. Insertion and removal move
//! what follows, hence the owner converts to a hash table beyond some hundred members.
//!
//! Bytes from outside are refused unless widths, length and order are right. A set without members is legal here; whether
//! it may be a key's value is for the owner to say.

use std::cmp::Ordering;

use crate::corrupt::Corrupt;

/// Bytes of the header: width and count.
const HEADER: usize = 8;
/// Slack in bytes left when the buffer must grow.
const GROW_BYTES: usize = 16;

/// Bytes needed for `value`: 2, 4 or 8.
fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

/// The members of an intset in borrowed bytes, without the header. All reading is defined here; [`Intset`] forwards to it.
#[derive(Clone, Copy, Debug)]
pub struct IntsetRef<'a> {
    width: usize,
    members: &'a [u8],
}

/// Checks width, length and order.
fn validate(bytes: &[u8]) -> Result<(), Corrupt> {
    let header = bytes.first_chunk::<HEADER>().ok_or(Corrupt("intset shorter than its header"))?;
    let [w0, w1, w2, w3, n0, n1, n2, n3] = *header;
    let width = u32::from_le_bytes([w0, w1, w2, w3]);
    if !matches!(width, 2 | 4 | 8) {
        return Err(Corrupt("intset of unknown width"));
    }
    let count = u64::from(u32::from_le_bytes([n0, n1, n2, n3]));
    if (bytes.len() - HEADER) as u64 != count * u64::from(width) {
        return Err(Corrupt("intset length differs from its header"));
    }
    let view = IntsetRef::trusted(width as usize, &bytes[HEADER..]);
    if !view.iter().is_sorted_by(|a, b| a < b) {
        return Err(Corrupt("intset members do not ascend"));
    }
    Ok(())
}

impl<'a> IntsetRef<'a> {
    /// A view of bytes known to be an intset's members of `width` bytes each, because they were validated or written here.
    /// On other bytes the answers are arbitrary, but nothing panics.
    #[inline]
    pub fn trusted(width: usize, members: &'a [u8]) -> Self {
        Self { width: if matches!(width, 2 | 4) { width } else { 8 }, members }
    }

    /// The members as they are stored.
    #[inline]
    pub fn members(&self) -> &'a [u8] {
        self.members
    }

    /// The serialized form: header and members.
    pub fn to_bytes(&self) -> Vec<u8> {
        Intset::copied(*self, Vec::new()).into_bytes()
    }

    /// Bytes per member.
    #[inline]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        self.members.len() / self.width
    }

    /// Whether there is no member.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The member at place `index` in ascending order.
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        let at = index.checked_mul(self.width)?;
        let bytes = self.members.get(at..at.checked_add(self.width)?)?;
        match *bytes {
            [a, b] => Some(i64::from(i16::from_le_bytes([a, b]))),
            [a, b, c, d] => Some(i64::from(i32::from_le_bytes([a, b, c, d]))),
            _ => bytes.try_into().ok().map(i64::from_le_bytes),
        }
    }

    /// The place of `value`, or the place it would take.
    pub fn search(&self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        // Ascending insertion is common enough to look at the end first.
        match self.max().map(|max| max.cmp(&value)) {
            Some(Ordering::Less) | None => return Err(high),
            Some(Ordering::Equal) => return Ok(high - 1),
            Some(Ordering::Greater) => {}
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle).map(|member| member.cmp(&value)) {
                Some(Ordering::Less) => low = middle + 1,
                Some(Ordering::Equal) => return Ok(middle),
                _ => high = middle,
            }
        }
        Err(low)
    }

    /// Whether `value` is a member. O(log n).
    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// The smallest member.
    #[inline]
    pub fn min(&self) -> Option<i64> {
        self.get(0)
    }

    /// The largest member.
    #[inline]
    pub fn max(&self) -> Option<i64> {
        self.get(self.len().checked_sub(1)?)
    }

    /// All members, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + use<'a> {
        let view = *self;
        (0..view.len()).map(move |index| view.get(index).unwrap_or(0))
    }
}

/// An owned intset. Reading methods are those of [`IntsetRef`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intset(Vec<u8>);

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

impl Intset {
    /// A set without members, of width 2.
    pub fn new() -> Self {
        Self(vec![2, 0, 0, 0, 0, 0, 0, 0])
    }

    /// Takes over serialized bytes after checking them in O(members).
    ///
    /// # Errors
    /// [`Corrupt`] when width or length is wrong, or the members do not ascend.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Corrupt> {
        validate(&bytes)?;
        Ok(Self(bytes))
    }

    /// A view for reading in place.
    #[inline]
    pub fn view(&self) -> IntsetRef<'_> {
        IntsetRef::trusted(usize::from(self.0[0]), &self.0[HEADER..])
    }

    /// An intset of the same members as `view`, in memory that is taken from `buf`.
    pub fn copied(view: IntsetRef<'_>, mut buf: Vec<u8>) -> Self {
        let count = view.len() as u32;
        buf.clear();
        buf.extend_from_slice(&(view.width as u32).to_le_bytes());
        buf.extend_from_slice(&count.to_le_bytes());
        buf.extend_from_slice(view.members);
        Self(buf)
    }

    /// The serialized form.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The serialized form.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Size of the serialized form in bytes.
    #[inline]
    pub fn byte_len(&self) -> usize {
        self.0.len()
    }

    /// Heap bytes held, slack included.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.0.capacity()
    }

    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether there is no member.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// See [`IntsetRef::get`].
    #[inline]
    pub fn get(&self, index: usize) -> Option<i64> {
        self.view().get(index)
    }

    /// See [`IntsetRef::contains`].
    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        self.view().contains(value)
    }

    /// See [`IntsetRef::min`].
    #[inline]
    pub fn min(&self) -> Option<i64> {
        self.view().min()
    }

    /// See [`IntsetRef::max`].
    #[inline]
    pub fn max(&self) -> Option<i64> {
        self.view().max()
    }

    /// See [`IntsetRef::iter`].
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + '_ {
        self.view().iter()
    }

    /// Adds `value`; says whether it was not there before. O(n).
    pub fn insert(&mut self, value: i64) -> bool {
        let Err(index) = self.view().search(value) else { return false };
        if width_of(value) > self.view().width() {
            self.widen(width_of(value));
        }
        let width = self.view().width();
        if self.0.capacity() - self.0.len() < width {
            self.0.reserve_exact(width + GROW_BYTES + self.0.len() / 8);
        }
        let at = HEADER + index * width;
        let end = self.0.len();
        self.0.resize(end + width, 0);
        self.0.copy_within(at..end, at + width);
        self.0[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.write_count();
        true
    }

    /// Removes `value`; says whether it was there. O(n). The width stays.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.view().search(value) else { return false };
        let width = self.view().width();
        let at = HEADER + index * width;
        self.0.drain(at..at + width);
        if self.0.capacity() / 4 > self.0.len() + GROW_BYTES {
            self.0.shrink_to(self.0.len() + GROW_BYTES);
        }
        self.write_count();
        true
    }

    /// Gives back all slack.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Rewrites the members with `width` bytes each and room for one more.
    fn widen(&mut self, width: usize) {
        let mut wide = Vec::with_capacity(HEADER + (self.len() + 1) * width);
        wide.extend_from_slice(&self.0[..HEADER]);
        wide[0] = width as u8;
        for value in self.iter() {
            wide.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        self.0 = wide;
    }

    fn write_count(&mut self) {
        let count = u32::try_from(self.len()).expect("the owner converts long before 2^32 members");
        self.0[4..HEADER].copy_from_slice(&count.to_le_bytes());
    }

    /// Panics unless the bytes are a valid intset. For tests.
    pub fn check_invariants(&self) {
        validate(&self.0).expect("own bytes are a valid intset");
    }
}
