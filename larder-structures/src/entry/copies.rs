//! Copies of entries, one behind the other in one allocation: what is handed to a snapshot, which reads it once.

use super::EntryRef;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Copies of entries that keep their value in place.
///
/// The memory is that of atomics because an entry's first word is one.
pub struct Copies<B> {
    words: Vec<AtomicU64>,
    /// The word each copy begins with.
    starts: Vec<usize>,
    _body: PhantomData<fn() -> B>,
}

impl<B> Default for Copies<B> {
    fn default() -> Self {
        Copies { words: Vec::new(), starts: Vec::new(), _body: PhantomData }
    }
}

impl<B> Copies<B> {
    /// Copies an entry. One with a body is not copied, since its body has one owner; returns whether it was.
    pub fn push(&mut self, entry: EntryRef<'_, B>) -> bool {
        let parts = entry.parts();
        if parts.head & super::KIND == super::KIND_BODY {
            return false;
        }
        let start = self.words.len();
        self.words.resize_with(start + parts.size.div_ceil(size_of::<AtomicU64>()), AtomicU64::default);
        let to = self.words[start..].as_mut_ptr().cast::<u8>();
        // SAFETY: an entry is `size` bytes long, and so many were just made room for.
        unsafe { std::ptr::copy_nonoverlapping(entry.memory.as_ptr(), to, parts.size) };
        self.starts.push(start);
        true
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Bytes they take.
    pub fn bytes(&self) -> usize {
        size_of_val(self.words.as_slice()) + size_of_val(self.starts.as_slice())
    }

    /// Forgets all of them and keeps the memory.
    pub fn clear(&mut self) {
        self.words.clear();
        self.starts.clear();
    }

    /// All of them in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = EntryRef<'_, B>> {
        self.starts.iter().map(|start| {
            let memory = NonNull::from(&self.words[*start]).cast();
            EntryRef { memory, _entry: PhantomData }
        })
    }
}
