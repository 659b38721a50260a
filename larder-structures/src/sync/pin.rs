//! Large values that a long reader may keep while their shard is unlocked.
//!
//! The owner, who stands behind a shard's lock, holds a [`Pinned`]; a reader takes a [`Pin`] under that lock and may
//! then read for as long as it likes without it. While pins exist the owner gets no mutable access: it marks that it
//! wants to write, which stops new pins, and waits (see [`super::WaitList`]) until the last pin goes. Dropping the
//! owner's handle while pins exist is fine: the last of them frees the value.
//!
//! The mark also holds for the moments between the last pin's end and the writer's return, or a steady stream of
//! readers could starve the writer. But a writer may go away and never return. So only the first few readers after the
//! last pin are refused, and have to do without a pin; that gives the writer the time it needs to get the lock.
//!
//! Only the owner makes new pins, and it needs the lock for that; so a count of one seen by the owner stays one, and
//! mutable access needs no more than a load.

use super::raw::{AtomicU32, Ordering, UnsafeCell, exclusive, shared};
use super::wait::WaitList;
use crate::entry::Body;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

/// Readers refused between the last pin's end and the return of the writer that waited for it.
const REFUSALS: u32 = 4;

/// A value with its count of holders.
pub struct Shared<T> {
    /// The owner, if it is still there, and the pins.
    holders: AtomicU32,
    /// How many pins are still refused for the sake of a waiting writer; 0 if none waits. Changed under the owner's
    /// lock only.
    refusals: AtomicU32,
    /// A cell, because the last pin frees the value through what it got as a shared reference.
    value: UnsafeCell<T>,
}

// SAFETY: shared holders only read the value; the owner changes it when it is the only holder, through its own
// handle, which is borrowed mutably then.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

/// The owner's handle.
pub struct Pinned<T>(NonNull<Shared<T>>);

// SAFETY: the handle owns its value; pins of other threads share it, hence Sync as well.
unsafe impl<T: Send + Sync> Send for Pinned<T> {}
// SAFETY: a shared handle gives shared access only.
unsafe impl<T: Send + Sync> Sync for Pinned<T> {}

/// A reader's handle.
pub struct Pin<T> {
    shared: NonNull<Shared<T>>,
    unpinned: Arc<WaitList>,
}

// SAFETY: a pin gives shared access, and the last one frees the value, on whatever thread it is.
unsafe impl<T: Send + Sync> Send for Pin<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Pin<T> {}

impl<T> Pinned<T> {
    /// Moves a value behind a handle.
    pub fn new(value: T) -> Self {
        let shared =
            Shared { holders: AtomicU32::new(1), refusals: AtomicU32::new(0), value: UnsafeCell::new(value) };
        Pinned(NonNull::from(Box::leak(Box::new(shared))))
    }

    /// The value with its holders.
    #[inline]
    pub fn shared(&self) -> &Shared<T> {
        // SAFETY: the owner's handle keeps the value alive, and only `&mut self` changes it.
        unsafe { self.0.as_ref() }
    }

    /// The value, to be changed; `None` while it is pinned, in which case no new pins are given from now on.
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        let shared = self.shared();
        if shared.is_pinned() {
            shared.refuse_pins();
            return None;
        }
        if shared.refusals.load(Ordering::Relaxed) > 0 {
            shared.refusals.store(0, Ordering::Relaxed);
        }
        // SAFETY: one holder means this one; only the owner makes pins, and it is borrowed mutably here.
        Some(unsafe { &mut *exclusive(&shared.value) })
    }

    /// [`Pinned::get_mut`] for a handle that stands unaligned at a place the caller owns.
    ///
    /// # Safety
    /// `address` is the content of a live handle, which nobody else uses during `'a`.
    #[inline]
    pub(crate) unsafe fn owner_at<'a>(address: usize) -> Option<&'a mut T> {
        let shared = NonNull::new(address as *mut Shared<T>)?;
        let mut handle = std::mem::ManuallyDrop::new(Pinned(shared));
        let value: *mut T = handle.get_mut()?;
        // SAFETY: the caller lends the handle for 'a, and with it the value.
        Some(unsafe { &mut *value })
    }
}

impl<T> Shared<T> {
    /// Whether a reader holds the value.
    #[inline]
    pub fn is_pinned(&self) -> bool {
        self.holders.load(Ordering::Acquire) > 1
    }

    /// Says that a writer waits: no new pins from now on. To be called under the lock that guards the owner.
    pub fn refuse_pins(&self) {
        self.refusals.store(REFUSALS, Ordering::Relaxed);
    }

    /// Takes a pin even while a writer waits, for a reader that pins each value once, which no writer waits for long.
    pub fn pin_once(&self, unpinned: &Arc<WaitList>) -> Pin<T> {
        self.holders.fetch_add(1, Ordering::Relaxed);
        Pin { shared: NonNull::from(self), unpinned: Arc::clone(unpinned) }
    }

    /// Takes a pin, to be called under the lock that guards the owner. `None` while a writer waits. `unpinned` is
    /// woken whenever a pin goes.
    pub fn pin(&self, unpinned: &Arc<WaitList>) -> Option<Pin<T>> {
        let refusals = self.refusals.load(Ordering::Relaxed);
        if refusals > 0 {
            if !self.is_pinned() {
                self.refusals.store(refusals - 1, Ordering::Relaxed);
            }
            return None;
        }
        Some(self.pin_once(unpinned))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: see `Sync`: nobody changes the value while it is shared.
        unsafe { &*shared(&self.value) }
    }
}

/// Lets go of one hold on the value; the last frees it.
fn release<T>(shared: NonNull<Shared<T>>) {
    // SAFETY: the caller held the value, so it is alive.
    let before = unsafe { shared.as_ref() }.holders.fetch_sub(1, Ordering::AcqRel);
    if before == 1 {
        // SAFETY: the last holder is gone; the value came from a box in `Pinned::new`.
        drop(unsafe { Box::from_raw(shared.as_ptr()) });
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        release(self.0);
    }
}

impl<T> Deref for Pin<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the pin keeps the value alive, and pinned values are not changed.
        unsafe { self.shared.as_ref() }
    }
}

impl<T> Drop for Pin<T> {
    fn drop(&mut self) {
        release(self.shared);
        // Whether a writer waits cannot be asked of the value, which may be gone. Nobody waiting costs a load.
        self.unpinned.wake_all();
    }
}

// SAFETY: the handle is one NonNull, the address of a `Shared` that it keeps alive.
unsafe impl<T> Body for Pinned<T> {
    type Target = Shared<T>;

    #[inline]
    unsafe fn target<'a>(address: usize) -> &'a Shared<T>
    where
        T: 'a,
    {
        // SAFETY: by the contract the address is that of a live handle's target.
        unsafe { &*(address as *const Shared<T>) }
    }
}

impl<T> Pin<T> {
    /// Whether this pin holds `shared`.
    pub fn is_of(&self, shared: &Shared<T>) -> bool {
        std::ptr::eq(self.shared.as_ptr(), shared)
    }
}
