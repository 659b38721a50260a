//! The primitives under this module, exchanged for loom's when a model is checked.

#[cfg(not(loom))]
mod real {
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::cell::UnsafeCell;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

    use parking_lot::lock_api::RawMutex as _;
    use std::sync::Arc;
    use std::task::{Wake, Waker};
    use std::thread::Thread;
    use std::time::Duration;

    /// Spins shortly, then sleeps; hands over to a sleeper after half a millisecond at the latest.
    pub(crate) struct RawLock(parking_lot::RawMutex);

    impl RawLock {
        pub(crate) fn new() -> Self {
            RawLock(parking_lot::RawMutex::INIT)
        }

        #[inline]
        pub(crate) fn lock(&self) {
            self.0.lock();
        }

        #[inline]
        pub(crate) fn try_lock(&self) -> bool {
            self.0.try_lock()
        }

        /// # Safety
        /// The caller holds the lock.
        #[inline]
        pub(crate) unsafe fn unlock(&self) {
            // SAFETY: the caller holds the lock.
            unsafe { self.0.unlock() }
        }
    }

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock()
    }

    /// Waits until it is notified, or `timeout` is over.
    pub(crate) fn wait_for<'m, T>(
        condvar: &Condvar,
        mut guard: MutexGuard<'m, T>,
        timeout: Duration,
    ) -> MutexGuard<'m, T> {
        let _either_way = condvar.wait_for(&mut guard, timeout);
        guard
    }

    /// The content of a cell, to be read. A model checks at this point that nobody writes meanwhile.
    #[inline]
    pub(crate) fn shared<T>(cell: &UnsafeCell<T>) -> *const T {
        cell.get()
    }

    /// The content of a cell, to be changed. A model checks at this point that nobody else uses it meanwhile.
    #[inline]
    pub(crate) fn exclusive<T>(cell: &UnsafeCell<T>) -> *mut T {
        cell.get()
    }

    /// Waits a moment: on the processor while that `is_short`, else by letting another thread run.
    pub(crate) fn pause(is_short: bool) {
        if is_short {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }

    /// Lets the thread that made it sleep until it is woken; a wake-up before the sleep is not lost.
    pub(crate) struct Sleep(Arc<Unpark>);

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    impl Sleep {
        pub(crate) fn new() -> Self {
            Sleep(Arc::new(Unpark(std::thread::current())))
        }

        pub(crate) fn waker(&self) -> Waker {
            Waker::from(Arc::clone(&self.0))
        }

        pub(crate) fn sleep(&self) {
            std::thread::park();
        }
    }
}

#[cfg(loom)]
mod real {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

    use loom::sync::Notify;
    use std::sync::Arc;
    use std::task::{Wake, Waker};
    use std::time::Duration;

    pub(crate) fn pause(_is_short: bool) {
        loom::thread::yield_now();
    }

    /// A mutex of the model, whose guard waits beside it for `unlock`.
    pub(crate) struct RawLock {
        guard: std::cell::UnsafeCell<Option<MutexGuard<'static, ()>>>,
        mutex: Box<Mutex<()>>,
    }

    // SAFETY: the guard is only touched by the thread that has the mutex.
    unsafe impl Sync for RawLock {}
    // SAFETY: a lock that is moved is not held.
    unsafe impl Send for RawLock {}

    impl RawLock {
        pub(crate) fn new() -> Self {
            RawLock { guard: std::cell::UnsafeCell::new(None), mutex: Box::new(Mutex::new(())) }
        }

        pub(crate) fn lock(&self) {
            self.keep(lock(&self.mutex));
        }

        pub(crate) fn try_lock(&self) -> bool {
            self.mutex.try_lock().is_ok_and(|guard| {
                self.keep(guard);
                true
            })
        }

        fn keep(&self, guard: MutexGuard<'_, ()>) {
            // SAFETY: the mutex is boxed and lives as long as the lock, longer than a guard kept in it.
            let guard: MutexGuard<'static, ()> = unsafe { std::mem::transmute(guard) };
            // SAFETY: this thread has the mutex.
            unsafe { *self.guard.get() = Some(guard) };
        }

        /// # Safety
        /// The caller holds the lock.
        pub(crate) unsafe fn unlock(&self) {
            // SAFETY: this thread has the mutex until the guard is dropped, after it was taken.
            let guard = unsafe { (*self.guard.get()).take() };
            drop(guard);
        }
    }

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().expect("a model does not panic under a lock")
    }

    /// In a model no time is ever over: whoever is not notified sleeps for ever.
    pub(crate) fn wait_for<'m, T>(
        condvar: &Condvar,
        guard: MutexGuard<'m, T>,
        _timeout: Duration,
    ) -> MutexGuard<'m, T> {
        condvar.wait(guard).expect("a model does not panic under a lock")
    }

    pub(crate) fn shared<T>(cell: &UnsafeCell<T>) -> *const T {
        cell.with(|content| content)
    }

    pub(crate) fn exclusive<T>(cell: &UnsafeCell<T>) -> *mut T {
        cell.with_mut(|content| content)
    }

    /// Sleeps may end early, as those of threads may.
    pub(crate) struct Sleep(Arc<Knock>);

    struct Knock(Notify);

    impl Wake for Knock {
        fn wake(self: Arc<Self>) {
            self.0.notify();
        }
    }

    impl Sleep {
        pub(crate) fn new() -> Self {
            Sleep(Arc::new(Knock(Notify::new())))
        }

        pub(crate) fn waker(&self) -> Waker {
            Waker::from(Arc::clone(&self.0))
        }

        pub(crate) fn sleep(&self) {
            self.0.0.wait();
        }
    }
}

pub(crate) use real::*;
