//! Counters, and what else the server tells of itself.

pub(crate) mod census;
pub(crate) mod info;
mod rates;
pub mod system;

pub use rates::Rates;

use crate::engine::Engine;
use crate::keyspace::Shard;
use crate::lane::Lane;
use crate::registry;
use larder_structures::sync::Hold;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer: adding is a load and a store. CONFIG RESETSTAT comes from any thread, so it does not
/// touch the count but notes it, and what is shown is the difference.
#[derive(Debug, Default)]
pub struct Counter {
    count: AtomicU64,
    base: AtomicU64,
}

impl Counter {
    /// Adds; only the counter's one writer may.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.count.store(self.count.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// The count since the last reset.
    pub fn get(&self) -> u64 {
        self.total().wrapping_sub(self.base.load(Ordering::Relaxed))
    }

    /// The count since the start.
    pub fn total(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        self.base.store(self.total(), Ordering::Relaxed);
    }
}

/// Counters of one command on one lane.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// How often it ran.
    pub calls: Counter,
    /// For how long in all, in microseconds.
    pub usec: Counter,
    /// How often it was refused before it ran.
    pub rejected: Counter,
    /// How often it failed.
    pub failed: Counter,
}

/// The counters of one lane.
#[derive(Debug)]
pub struct LaneStats {
    /// By number in the registry of commands.
    pub commands: Box<[CommandStats]>,
    /// Commands run.
    pub processed: Counter,
    /// Lookups that found their key.
    pub hits: Counter,
    /// Lookups that did not.
    pub misses: Counter,
    /// Keys that expired.
    pub expired: Counter,
    /// Keys that were evicted.
    pub evicted: Counter,
    /// Changes made to keys.
    pub dirty: Counter,
    /// Error replies.
    pub errors: Counter,
    /// Bytes received.
    pub input_bytes: Counter,
    /// Bytes sent.
    pub output_bytes: Counter,
    /// Reads from sockets.
    pub reads: Counter,
    /// Writes to sockets.
    pub writes: Counter,
    /// The longest time of a command that ran while its connection's thread waited, in microseconds: no such command
    /// held a lock, or waited for one, for longer.
    longest_us: AtomicU64,
}

impl LaneStats {
    /// CONFIG RESETSTAT. `dirty` stays: it is the distance to the last save and no statistic.
    fn reset(&self) {
        for command in &self.commands {
            for counter in [&command.calls, &command.usec, &command.rejected, &command.failed] {
                counter.reset();
            }
        }
        let counters = [
            &self.processed,
            &self.hits,
            &self.misses,
            &self.expired,
            &self.evicted,
            &self.errors,
            &self.input_bytes,
            &self.output_bytes,
            &self.reads,
            &self.writes,
        ];
        counters.into_iter().for_each(Counter::reset);
        self.longest_us.store(0, Ordering::Relaxed);
    }

    /// Notes how long a command took. Only the thread of this lane does.
    #[inline]
    pub(crate) fn took(&self, usec: u64) {
        if usec > self.longest_us.load(Ordering::Relaxed) {
            self.longest_us.store(usec, Ordering::Relaxed);
        }
    }
}

impl Default for LaneStats {
    fn default() -> Self {
        LaneStats {
            commands: registry::all().map(|_| CommandStats::default()).collect(),
            processed: Counter::default(),
            hits: Counter::default(),
            misses: Counter::default(),
            expired: Counter::default(),
            evicted: Counter::default(),
            dirty: Counter::default(),
            errors: Counter::default(),
            input_bytes: Counter::default(),
            output_bytes: Counter::default(),
            reads: Counter::default(),
            writes: Counter::default(),
            longest_us: AtomicU64::new(0),
        }
    }
}

/// What the engine counts as a whole.
pub struct Stats {
    /// 40 hexadecimal digits that no other run of a server has.
    pub run_id: String,
    /// The same for the history of the data, for replicas.
    pub replication_id: Mutex<String>,
    /// When the engine was opened, by its clock for durations.
    started_us: u64,
    rates: rates::Ring,
    /// Bytes that connections took when they were last counted.
    pub(crate) client_memory: AtomicU64,
    /// When memory began to exceed its limit, on the clock for durations; 0 while it does not.
    exceeded_since_us: AtomicU64,
    /// For how long it has exceeded it before that.
    exceeded_us: AtomicU64,
    lanes: Mutex<Vec<Arc<LaneStats>>>,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections refused because of `maxclients`.
    pub rejected_connections: AtomicU64,
    /// Highest use of memory seen.
    pub peak_memory: AtomicU64,
    /// Connections closed because of `maxmemory-clients`.
    pub(crate) evicted_clients: AtomicU64,
    /// Errors by their code.
    pub errors: Mutex<BTreeMap<&'static str, u64>>,
    /// Longest time the gate was held, in microseconds.
    pub longest_gate_us: AtomicU64,
    /// Longest time that work in the background held the lock of a shard, in microseconds.
    pub(crate) longest_background_us: AtomicU64,
}

/// 40 hexadecimal digits from a seed (splitmix64, as in [`Engine::random`]).
fn hex_id(mut seed: u64) -> String {
    let mut digits = String::new();
    while digits.len() < 40 {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        digits.push_str(&format!("{:016x}", z ^ z >> 31));
    }
    digits.truncate(40);
    digits
}

impl Stats {
    /// Counters of an engine opened at `started_us` of its clock for durations.
    pub(crate) fn new(seed: u64, started_us: u64) -> Stats {
        Stats {
            run_id: hex_id(seed),
            replication_id: Mutex::new(hex_id(!seed)),
            started_us,
            rates: rates::Ring::default(),
            client_memory: AtomicU64::new(0),
            exceeded_since_us: AtomicU64::new(0),
            exceeded_us: AtomicU64::new(0),
            lanes: Mutex::default(),
            connections: AtomicU64::new(0),
            rejected_connections: AtomicU64::new(0),
            peak_memory: AtomicU64::new(0),
            evicted_clients: AtomicU64::new(0),
            errors: Mutex::default(),
            longest_gate_us: AtomicU64::new(0),
            longest_background_us: AtomicU64::new(0),
        }
    }

    /// Another replication id.
    pub(crate) fn change_replication_id(&self, seed: u64) {
        *self.replication_id.lock() = hex_id(seed);
    }

    /// Rates of the last moments; all zero unless something ticks.
    pub fn rates(&self) -> Rates {
        self.rates.rates()
    }

    /// Notes that memory exceeds its limit, at this moment of the clock for durations.
    pub(crate) fn memory_exceeded(&self, now_us: u64) {
        if self.exceeded_since_us.load(Ordering::Relaxed) == 0 {
            self.exceeded_since_us.store(now_us.max(1), Ordering::Relaxed);
        }
    }

    /// Notes that it does not, or not any more.
    pub(crate) fn memory_suffices(&self, now_us: u64) {
        if self.exceeded_since_us.load(Ordering::Relaxed) != 0 {
            let since_us = self.exceeded_since_us.swap(0, Ordering::Relaxed);
            self.exceeded_us.fetch_add(now_us.saturating_sub(since_us), Ordering::Relaxed);
        }
    }

    /// For how long memory has exceeded its limit, before now and just now, in microseconds.
    pub(crate) fn exceeded_us(&self, now_us: u64) -> (u64, u64) {
        let since_us = self.exceeded_since_us.load(Ordering::Relaxed);
        let just_now = if since_us == 0 { 0 } else { now_us.saturating_sub(since_us) };
        (self.exceeded_us.load(Ordering::Relaxed), just_now)
    }

    /// Notes a use of memory and returns the highest so far.
    pub(crate) fn note_memory(&self, bytes: u64) -> u64 {
        self.peak_memory.fetch_max(bytes, Ordering::Relaxed).max(bytes)
    }

    /// Counters for a new lane: those of a lane that is gone, whose counts live on in the sums, or new ones.
    pub(crate) fn lane(&self) -> Arc<LaneStats> {
        let mut lanes = self.lanes.lock();
        if let Some(left_behind) = lanes.iter().find(|lane| Arc::strong_count(lane) == 1) {
            return Arc::clone(left_behind);
        }
        let lane = Arc::new(LaneStats::default());
        lanes.push(Arc::clone(&lane));
        lane
    }

    /// The sum of a counter over all lanes.
    pub fn sum(&self, counter: impl Fn(&LaneStats) -> &Counter) -> u64 {
        self.lanes.lock().iter().map(|lane| counter(lane).get()).sum()
    }

    /// The same since the start, whatever was reset.
    fn total(&self, counter: impl Fn(&LaneStats) -> &Counter) -> u64 {
        self.lanes.lock().iter().map(|lane| counter(lane).total()).sum()
    }

    /// The longest time since the last reset that a lock of a shard was held, as far as commands tell: what they waited is
    /// in it too. In microseconds.
    pub(crate) fn longest_lock_us(&self) -> u64 {
        let lanes = self.lanes.lock();
        let commands = lanes.iter().map(|lane| lane.longest_us.load(Ordering::Relaxed)).max();
        self.longest_background_us.load(Ordering::Relaxed).max(commands.unwrap_or(0))
    }

    /// CONFIG RESETSTAT: everything counted so far is forgotten.
    pub fn reset(&self) {
        self.lanes.lock().iter().for_each(|lane| lane.reset());
        self.connections.store(0, Ordering::Relaxed);
        self.rejected_connections.store(0, Ordering::Relaxed);
        self.longest_gate_us.store(0, Ordering::Relaxed);
        self.longest_background_us.store(0, Ordering::Relaxed);
        self.exceeded_us.store(0, Ordering::Relaxed);
        self.evicted_clients.store(0, Ordering::Relaxed);
        self.errors.lock().clear();
    }

    pub(crate) fn count_error(&self, code: &'static str) {
        *self.errors.lock().entry(code).or_default() += 1;
    }
}

impl Engine {
    /// Does something in the background under the lock of a shard, and notes for how long it had that.
    pub(crate) fn holding<R>(&self, index: usize, work: impl FnOnce(&mut Hold<'_, Shard>) -> R) -> R {
        let mut hold = self.shards.one(index);
        let began_us = self.clock.elapsed_us();
        let result = work(&mut hold);
        let held_us = self.clock.elapsed_us().saturating_sub(began_us);
        drop(hold);
        self.stats.longest_background_us.fetch_max(held_us, Ordering::Relaxed);
        result
    }

    /// How long the engine has been open, in microseconds.
    pub fn uptime_us(&self) -> u64 {
        self.clock.elapsed_us().saturating_sub(self.stats.started_us)
    }

    /// The ticker's part of the statistics: rates and the peak of memory.
    pub(crate) fn tick_stats(&self, lane: &Lane) {
        let now_us = lane.clock.elapsed_us();
        if !self.stats.rates.is_due(now_us) {
            return;
        }
        self.stats.rates.note(rates::Totals {
            at_us: now_us,
            commands: self.stats.total(|lane| &lane.processed),
            input_bytes: self.stats.total(|lane| &lane.input_bytes),
            output_bytes: self.stats.total(|lane| &lane.output_bytes),
        });
        self.limit_clients();
        self.stats.client_memory.store(self.clients.totals().memory as u64, Ordering::Relaxed);
        if !self.is_short_of_memory() {
            self.stats.memory_suffices(now_us);
        }
        self.stats.note_memory(self.used_memory());
    }
}
