//! Which thread uses which arena.
//!
//! A thread takes a seat at the arena with the fewest when it first allocates, and leaves it when it ends. So threads
//! that come and go use the same few arenas, and what they leave partly filled is filled by their successors.

use super::arena::Arena;
use crate::sync::Brief;
use std::cell::Cell;
use std::sync::Mutex;

/// How many arenas there are.
pub(super) const ARENAS: usize = 64;
const NONE: u8 = u8::MAX;

/// An arena on cache lines of its own.
#[repr(align(128))]
struct Apart(Brief<Arena>);

#[cfg(not(loom))]
static ALL: [Apart; ARENAS] = {
    let mut all = [const { Apart(Brief::new(Arena::new(0))) }; ARENAS];
    let mut number = 0;
    while number < ARENAS {
        all[number] = Apart(Brief::new(Arena::new(number as u8)));
        number += 1;
    }
    all
};

/// The seats taken at each arena.
static SEATS: Mutex<[u32; ARENAS]> = Mutex::new([0; ARENAS]);

thread_local! {
    /// The arena of this thread, once it has one.
    static MINE: Cell<u8> = const { Cell::new(NONE) };
    /// Leaves the seat when the thread ends.
    static SEAT: Seat = const { Seat(Cell::new(NONE)) };
}

struct Seat(Cell<u8>);

impl Drop for Seat {
    fn drop(&mut self) {
        if self.0.get() != NONE {
            seats()[usize::from(self.0.get())] -= 1;
        }
    }
}

fn seats() -> std::sync::MutexGuard<'static, [u32; ARENAS]> {
    // Counting cannot panic half way.
    SEATS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The numbers of all arenas; none where the general allocator stands in for them.
pub(super) fn all() -> std::ops::Range<usize> {
    0..if cfg!(loom) { 0 } else { ARENAS }
}

/// The arena of that number.
#[inline]
pub(super) fn arena(number: usize) -> &'static Brief<Arena> {
    #[cfg(not(loom))]
    return &ALL[number].0;
    #[cfg(loom)]
    unreachable!("the general allocator stands in for arena {number}");
}

/// The arena of the calling thread.
#[inline]
pub(super) fn mine() -> &'static Brief<Arena> {
    let number = MINE.get();
    arena(if number == NONE { take_seat() } else { usize::from(number) })
}

#[cold]
#[inline(never)]
fn take_seat() -> usize {
    let mut seats = seats();
    let number = (0..ARENAS).min_by_key(|number| seats[*number]).unwrap_or(0);
    // A thread that is ending already takes no seat: nobody would leave it.
    if SEAT.try_with(|seat| seat.0.set(number as u8)).is_ok() {
        seats[number] += 1;
    }
    MINE.set(number as u8);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_run_together_use_different_arenas_and_leave_them_to_others() {
        let here = std::ptr::from_ref(mine());
        let numbers: Vec<_> = (0..200)
            .map(|_| std::thread::spawn(|| std::ptr::from_ref(mine()).addr()).join().expect("it runs"))
            .collect();
        assert!(!numbers.contains(&here.addr()));
        // Other tests run beside this one, but not hundreds of them.
        let different: std::collections::HashSet<_> = numbers.iter().collect();
        assert!(different.len() < ARENAS, "{} arenas for one thread at a time", different.len());
    }
}
