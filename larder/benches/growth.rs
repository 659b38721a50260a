//! The longest step while a table grows: what a SET takes of its thread's own processor time, call by call, from no keys to
//! many.
//!
//! By the clock on the wall a machine that others use as well stops every program for milliseconds now and then, growth or
//! not; what a call itself has to do does not depend on that. The system's work for it, such as clearing pages that are
//! touched for the first time, is its own work.
//!
//! `cargo bench -p larder --bench growth -- [KEYS] [ROUNDS]` prints a line for each round and run: what was done, the longest
//! call by the thread's time and by the wall, and how many calls took longer than a millisecond of each, times in
//! microseconds. The runs are growth in memory that the system has yet to give, growth in memory that the process has, and
//! the same SETs of keys that are there, without growth.

use larder::{Larder, Options};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

const VALUE: [u8; 16] = [b'v'; 16];
/// What a call must not take, in microseconds.
const LONG_US: f64 = 1000.0;

fn now(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The longest call by one clock.
#[derive(Default)]
struct Longest {
    us: f64,
    long: usize,
}

impl Longest {
    fn note(&mut self, took: Duration) {
        let us = took.as_secs_f64() * 1e6;
        self.us = self.us.max(us);
        self.long += usize::from(us > LONG_US);
    }
}

fn set_all(larder: &Larder, keys: u64, what: &str) {
    let (mut own, mut wall) = (Longest::default(), Longest::default());
    let mut before = (now(ClockId::ThreadCPUTime), now(ClockId::Monotonic));
    for number in 0..keys {
        let key = format!("key:{number:012}");
        larder.set(key.as_bytes(), VALUE).expect("memory is not short");
        let after = (now(ClockId::ThreadCPUTime), now(ClockId::Monotonic));
        own.note(after.0.saturating_sub(before.0));
        wall.note(after.1.saturating_sub(before.1));
        before = after;
    }
    println!("{what} {:.0} {} {:.0} {}", own.us, own.long, wall.us, wall.long);
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let keys: u64 = args.next().and_then(|keys| keys.parse().ok()).unwrap_or(20_000_000);
    let rounds: usize = args.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    for _ in 0..rounds {
        let larder = Larder::open(Options::default()).expect("the system gives threads");
        set_all(&larder, keys, "fresh");
        larder.execute(&["FLUSHALL", "SYNC"]);
        set_all(&larder, keys, "again");
        set_all(&larder, keys, "control");
    }
}
