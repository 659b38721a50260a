//! The shards of the keyspace behind their locks, and the gate over all of them.
//!
//! # Locks
//!
//! Whoever needs several shards takes their locks in ascending order, all of them before it does anything, and keeps
//! them until it is done. So two holders can wait for each other only in one direction, and nothing deadlocks.
//!
//! # The gate
//!
//! Few operations need every shard: FLUSHALL, SWAPDB, KEYS, the cut of a snapshot. Taking hundreds of locks for them
//! would work and be slow, and worse, it would let newcomers in between. Instead the owner of the gate:
//!
//! 1. takes the gate's mutex, so that there is one owner;
//! 2. sets `closed`;
//! 3. takes and releases each shard's lock once.
//!
//! Everybody else checks `closed` after taking its *last* lock; if it is set, releases all of them, waits for the
//! mutex, and starts again.
//!
//! Why that is enough: take any shard *s* and any holder *h* of it. If *h* took the lock before step 3 came to *s*,
//! step 3 waited until *h* was done with it. If after, then what *h* did next happens after the release of *s* in step
//! 3, hence after step 2: the check of *h*, which comes after all its locks, sees `closed` and *h* touches nothing.
//! Holders of several shards are covered by any one of them. So when step 3 is over nobody touches any shard until
//! `closed` is cleared, and the owner may touch all of them without their locks. It costs the others one load.
//!
//! The owner must not hold a shard's lock when it closes the gate, and nobody may close the gate or take further locks
//! while holding some: it could wait for itself. Debug builds panic where that is tried.
//!
//! # Poison
//!
//! A panic while shards are held leaves them in a state that nobody has thought of. The mark for that is set before
//! the locks go, so whoever takes one of them afterwards can see it.

use super::raw::{
    AtomicBool, AtomicU32, AtomicUsize, Mutex, MutexGuard, Ordering, RawLock, UnsafeCell, exclusive, lock,
    shared,
};
use crate::sys::{prefetch, prefetch_to_write};
use smallvec::SmallVec;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::thread::panicking;

/// All shards; see the module's essay.
pub struct Shards<T> {
    closed: AtomicU32,
    is_poisoned: AtomicBool,
    gate: Mutex<()>,
    cells: Box<[Guarded<T>]>,
}

/// A shard on cache lines of its own; the lock shares the first of them with the head of the shard.
#[repr(C, align(128))]
struct Guarded<T> {
    lock: RawLock,
    /// What [`Shards::hint`] returns.
    hint: AtomicUsize,
    shard: UnsafeCell<T>,
}

// SAFETY: a shard is only reached through a `Hold`, which has its lock or the gate.
unsafe impl<T: Send> Sync for Shards<T> {}
// SAFETY: the shards belong to the collection.
unsafe impl<T: Send> Send for Shards<T> {}

/// Exclusive use of one, several or all shards until it is dropped.
pub struct Hold<'s, T> {
    shards: &'s Shards<T>,
    /// Dropped by this hold's own `drop`, which has to do nothing of the kind for a single shard.
    which: ManuallyDrop<Which<'s, T>>,
    /// Whether the thread was unwinding already when it took the hold.
    was_panicking: bool,
    /// A hold is released by the thread that took it.
    _not_send: PhantomData<*const ()>,
}

enum Which<'s, T> {
    One(u32, &'s Guarded<T>),
    Many(SmallVec<[u32; 4]>),
    All(#[allow(dead_code)] MutexGuard<'s, ()>),
}

impl<T> Shards<T> {
    /// Puts each of `shards` behind a lock.
    pub fn new(shards: impl IntoIterator<Item = T>) -> Self {
        let cells = shards
            .into_iter()
            .map(|shard| Guarded {
                lock: RawLock::new(),
                hint: AtomicUsize::new(0),
                shard: UnsafeCell::new(shard),
            })
            .collect();
        Shards { closed: AtomicU32::new(0), is_poisoned: AtomicBool::new(false), gate: Mutex::new(()), cells }
    }

    /// Whether a thread has panicked while it held shards.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.is_poisoned.load(Ordering::Acquire)
    }

    #[inline]
    fn hold<'s>(&'s self, which: Which<'s, T>) -> Hold<'s, T> {
        held::note(self.address());
        Hold {
            shards: self,
            which: ManuallyDrop::new(which),
            was_panicking: panicking(),
            _not_send: PhantomData,
        }
    }

    /// What tells these shards from others, for the notes of debug builds.
    #[inline]
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// How many shards there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Fetches the lock and the first fields of a shard into the cache, for who will soon take it. Needs no lock.
    #[inline]
    pub fn prefetch(&self, index: usize) {
        let start: *const Guarded<T> = self.cells.as_ptr().wrapping_add(index);
        prefetch_to_write(start);
        prefetch(start.cast::<u8>().wrapping_add(64));
    }

    /// A word beside the lock of a shard, which anybody may read without the lock: what its holders left there to say
    /// where they found things. It may be out of date. Zero at first.
    ///
    /// # Panics
    /// When there is no shard of that index.
    #[inline]
    pub fn hint(&self, index: usize) -> usize {
        self.cells[index].hint.load(Ordering::Relaxed)
    }

    /// Takes one shard, waiting for it if need be.
    ///
    /// # Panics
    /// When there is no shard of that index.
    #[inline(always)]
    pub fn one(&self, index: usize) -> Hold<'_, T> {
        held::expect_none(self.address());
        let cell = &self.cells[index];
        cell.lock.lock();
        if self.closed.load(Ordering::Acquire) != 0 {
            self.take_again(cell);
        }
        self.hold(Which::One(index as u32, cell))
    }

    /// Lets a lock go that was taken while the gate is closed, and takes it again once the gate is open.
    #[cold]
    fn take_again(&self, cell: &Guarded<T>) {
        loop {
            // SAFETY: taken by the caller, or below.
            unsafe { cell.lock.unlock() };
            self.wait_for_gate();
            cell.lock.lock();
            if self.closed.load(Ordering::Acquire) == 0 {
                return;
            }
        }
    }

    /// Takes one shard if nobody has it and the gate is open.
    pub fn try_one(&self, index: usize) -> Option<Hold<'_, T>> {
        held::expect_none(self.address());
        let cell = &self.cells[index];
        if !cell.lock.try_lock() {
            return None;
        }
        if self.closed.load(Ordering::Acquire) == 0 {
            return Some(self.hold(Which::One(index as u32, cell)));
        }
        // SAFETY: taken above.
        unsafe { cell.lock.unlock() };
        None
    }

    /// Takes several shards, in ascending order whatever order they come in, each once.
    ///
    /// # Panics
    /// When there is no shard of one of the indices.
    pub fn many(&self, indices: impl IntoIterator<Item = usize>) -> Hold<'_, T> {
        let mut wanted: SmallVec<[u32; 4]> = indices.into_iter().map(|index| index as u32).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if let [only] = wanted[..] {
            return self.one(only as usize);
        }
        held::expect_none(self.address());
        loop {
            for index in &wanted {
                self.cells[*index as usize].lock.lock();
            }
            if self.closed.load(Ordering::Acquire) == 0 {
                return self.hold(Which::Many(wanted));
            }
            for index in &wanted {
                // SAFETY: taken above.
                unsafe { self.cells[*index as usize].lock.unlock() };
            }
            self.wait_for_gate();
        }
    }

    /// Closes the gate: takes all shards.
    pub fn all(&self) -> Hold<'_, T> {
        held::expect_none(self.address());
        let guard = lock(&self.gate);
        self.closed.store(1, Ordering::SeqCst);
        for cell in &self.cells {
            cell.lock.lock();
            // SAFETY: taken in the line before.
            unsafe { cell.lock.unlock() };
        }
        self.hold(Which::All(guard))
    }

    fn wait_for_gate(&self) {
        drop(lock(&self.gate));
    }
}

impl<T> Hold<'_, T> {
    /// Whether shard `index` is part of this hold.
    #[inline]
    pub fn covers(&self, index: usize) -> bool {
        match &*self.which {
            Which::One(only, _) => *only as usize == index,
            Which::Many(several) => several.binary_search(&(index as u32)).is_ok(),
            Which::All(_) => index < self.shards.len(),
        }
    }

    /// Whether this hold is the gate's.
    pub fn is_all(&self) -> bool {
        matches!(*self.which, Which::All(_))
    }

    /// The shard of this hold, to be changed, if it is one of a single shard: that of nearly every command.
    #[inline]
    pub fn single_mut(&mut self) -> Option<&mut T> {
        let Which::One(_, cell) = *self.which else { return None };
        // SAFETY: the hold has the shard's lock, and is borrowed mutably.
        Some(unsafe { &mut *exclusive(&cell.shard) })
    }

    /// Leaves what [`Shards::hint`] is to return.
    ///
    /// # Panics
    /// When the shard is not part of the hold.
    #[inline]
    pub fn set_hint(&mut self, index: usize, hint: usize) {
        self.cell(index).hint.store(hint, Ordering::Relaxed);
    }

    #[inline]
    fn cell(&self, index: usize) -> &Guarded<T> {
        if let Which::One(only, cell) = *self.which
            && only as usize == index
        {
            return cell;
        }
        assert!(self.covers(index), "shard {index} was not planned for");
        &self.shards.cells[index]
    }

    /// Does something with each shard of this hold, in ascending order.
    pub fn for_each(&mut self, mut work: impl FnMut(&mut T)) {
        let cells = &self.shards.cells;
        // SAFETY: the indices are those of this hold, which is borrowed mutably.
        let mut visit = |index: usize| work(unsafe { &mut *exclusive(&cells[index].shard) });
        match &*self.which {
            Which::One(only, _) => visit(*only as usize),
            Which::Many(several) => several.iter().for_each(|index| visit(*index as usize)),
            Which::All(_) => (0..cells.len()).for_each(visit),
        }
    }

    /// A shard of this hold.
    ///
    /// # Panics
    /// When the shard is not part of the hold: the plan of the command was wrong.
    #[inline]
    pub fn shard(&self, index: usize) -> &T {
        // SAFETY: the hold has the shard's lock or the gate, and `&self` lets nobody change it.
        unsafe { &*shared(&self.cell(index).shard) }
    }

    /// A shard of this hold, to be changed.
    ///
    /// # Panics
    /// When the shard is not part of the hold: the plan of the command was wrong.
    #[inline]
    pub fn shard_mut(&mut self, index: usize) -> &mut T {
        // SAFETY: the hold has the shard's lock or the gate, and is borrowed mutably.
        unsafe { &mut *exclusive(&self.cell(index).shard) }
    }
}

impl<T> Drop for Hold<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        held::forget(self.shards.address());
        if panicking() && !self.was_panicking {
            self.shards.is_poisoned.store(true, Ordering::Release);
        }
        match *self.which {
            // SAFETY: this hold has the lock.
            Which::One(_, cell) => unsafe { cell.lock.unlock() },
            Which::Many(_) | Which::All(_) => self.release_others(),
        }
    }
}

impl<T> Hold<'_, T> {
    /// Releases several shards or the gate, as the hold ends.
    #[cold]
    fn release_others(&mut self) {
        match &*self.which {
            Which::One(..) => {}
            Which::Many(several) => {
                for index in several {
                    // SAFETY: this hold has the lock.
                    unsafe { self.shards.cells[*index as usize].lock.unlock() }
                }
            }
            // The guard of the gate's mutex goes after this, and with it the wait of the others ends.
            Which::All(_) => self.shards.closed.store(0, Ordering::Release),
        }
        // SAFETY: only `drop` calls this, once, and nothing looks at the field afterwards.
        unsafe { ManuallyDrop::drop(&mut self.which) }
    }
}

/// What each thread holds, so that a lock it would wait for in vain panics instead.
#[cfg(all(debug_assertions, not(loom)))]
mod held {
    use std::cell::RefCell;

    thread_local! {
        static HELD: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn expect_none(shards: usize) {
        let holds = HELD.try_with(|held| held.borrow().contains(&shards)).unwrap_or(false);
        assert!(!holds, "a thread that holds shards takes more of them: it could wait for itself");
    }

    pub(super) fn note(shards: usize) {
        // Fails only while the thread ends, when nothing is left to note.
        let _thread_ends = HELD.try_with(|held| held.borrow_mut().push(shards));
    }

    pub(super) fn forget(shards: usize) {
        let _thread_ends = HELD.try_with(|held| held.borrow_mut().retain(|other| *other != shards));
    }
}

#[cfg(not(all(debug_assertions, not(loom))))]
mod held {
    #[inline]
    pub(super) fn expect_none(_shards: usize) {}
    #[inline]
    pub(super) fn note(_shards: usize) {}
    #[inline]
    pub(super) fn forget(_shards: usize) {}
}
