//! What is kept of elements that changed before a snapshot came to them.

use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Elements as bytes, one behind the other: key and value of each with their lengths.
#[derive(Default)]
pub struct Kept {
    bytes: Vec<u8>,
    count: usize,
}

const LENGTH: usize = size_of::<usize>();

impl Kept {
    /// Adds an element.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.reserve(2 * LENGTH + key.len() + value.len());
        for part in [key, value] {
            self.bytes.extend_from_slice(&part.len().to_ne_bytes());
            self.bytes.extend_from_slice(part);
        }
        self.count += 1;
    }

    /// Adds all elements of another.
    pub fn append(&mut self, other: &Kept) {
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that the elements take here.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets all elements and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Key and value of each element.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || Some((part(&mut rest)?, part(&mut rest)?)))
    }
}

/// Takes one part off the front.
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, behind) = rest.split_first_chunk::<LENGTH>()?;
    let (part, behind) = behind.split_at_checked(usize::from_ne_bytes(*len))?;
    *rest = behind;
    Some(part)
}

/// Where a table puts the elements that its snapshot has not come to when they change; see [`super::colour`].
pub struct Keeper {
    kept: Mutex<Kept>,
    /// Bytes that all keepers of a snapshot hold together.
    all: Arc<AtomicUsize>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("kept", &self.kept.lock().len()).finish()
    }
}

impl Keeper {
    /// An empty one, whose bytes are counted in `all`.
    pub fn new(all: Arc<AtomicUsize>) -> Keeper {
        Keeper { kept: Mutex::default(), all }
    }

    /// Keeps what `put` puts there.
    pub(super) fn keep(&self, put: impl FnOnce(&mut Kept)) {
        let mut kept = self.kept.lock();
        let before = kept.bytes();
        put(&mut kept);
        self.all.fetch_add(kept.bytes() - before, Ordering::Relaxed);
    }

    /// Moves what was kept to the end of `to`.
    pub fn hand_over(&self, to: &mut Kept) {
        let mut kept = self.kept.lock();
        self.all.fetch_sub(kept.bytes(), Ordering::Relaxed);
        to.append(&kept);
        *kept = Kept::default();
    }
}
