//! A lock for moments: a few dozen instructions at most, and never a wait while it is held.

use super::raw::{AtomicU32, Ordering, UnsafeCell, exclusive, pause};

/// Tries before the thread lets others run; the holder may have been put to sleep by the system.
const SPINS: u32 = 64;

/// A value behind a lock of one word, which costs one atomic exchange to take and a plain store to let go.
///
/// Who finds it taken spins, then yields: there is no list of sleepers. That is right for work that takes nanoseconds
/// and is spread over many locks, and wrong for anything else.
pub struct Brief<T> {
    is_taken: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached by the one thread that has the lock.
unsafe impl<T: Send> Sync for Brief<T> {}

impl<T> Brief<T> {
    #[cfg(not(loom))]
    /// Puts a value behind a lock.
    pub const fn new(value: T) -> Self {
        Brief { is_taken: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    #[cfg(loom)]
    /// Puts a value behind a lock.
    pub fn new(value: T) -> Self {
        Brief { is_taken: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// Does something with the value, while nobody else does. `work` must not come back for the same lock.
    #[inline]
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        if self.is_taken.swap(1, Ordering::Acquire) != 0 {
            self.wait();
        }
        let _release = Release(&self.is_taken);
        // SAFETY: the word was 0 and this thread made it 1, so it is alone until `_release` goes.
        work(unsafe { &mut *exclusive(&self.value) })
    }

    #[cold]
    fn wait(&self) {
        let mut spins = 0;
        loop {
            while self.is_taken.load(Ordering::Relaxed) != 0 {
                pause(spins < SPINS);
                spins += 1;
            }
            if self.is_taken.swap(1, Ordering::Acquire) == 0 {
                return;
            }
        }
    }
}

/// Lets go of the lock, also when its holder unwinds.
struct Release<'l>(&'l AtomicU32);

impl Drop for Release<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}
