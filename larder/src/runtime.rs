//! The background of an engine: what has to be done although no command asks for it.
//!
//! [`Engine::tick`] does a bounded amount of it and may be called by anybody who has time, a test with a still clock
//! included. [`Runtime`] is the usual caller: one thread that ticks, one that frees large values so that no command waits for
//! that, and one that looks after the memory of entries.

use crate::effects::Garbage;
use crate::engine::Engine;
use crate::lane::Lane;
use larder_structures::slab;
use larder_structures::sys::{give_way_between_locks, give_way_to_all, may_use_huge_pages};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::{JoinHandle, available_parallelism, yield_now};
use std::time::Duration;

const TICK_MS: u64 = 100;
/// Ticks a second, as INFO and CONFIG GET hz tell.
pub const TICKS_PER_SECOND: u64 = 1000 / TICK_MS;
/// Time between ticks when there is nothing more to do.
const TICK: Duration = Duration::from_millis(TICK_MS);
/// Rest after a tick that did not get everything done. Work and rest are both short, so that a thread that has to share its
/// processor with the ticker is soon back on it.
const REST: Duration = Duration::from_micros(300);

/// What a tick left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlog {
    /// Nothing.
    None,
    /// Its time was up before all was done; another tick is wanted soon.
    More,
}

impl Engine {
    /// Does background work for a limited time, a few milliseconds at most: deletes expired keys, moves resizes on,
    /// evicts what commands had no time for, ends a pause whose time has come.
    pub fn tick(&self, lane: &mut Lane) -> Backlog {
        lane.begin_turn();
        self.pause.tick(lane.now_ms());
        self.tick_stats(lane);
        if self.is_loading() {
            return Backlog::None;
        }
        self.save_if_due(lane.now_ms() / 1000);
        let is_paused = self.pause.is_on(lane.now_ms()) || self.saver.is_behind();
        let evicts_more = self.make_room(lane) && self.is_short_of_memory() && !is_paused;
        let expires = self.config.active_expire.load(Ordering::Relaxed) && !is_paused;
        let has_swept = self.sweep_slice(lane, expires);
        let has_tidied = !self.tidy_slice();
        if has_swept && has_tidied && !evicts_more { Backlog::None } else { Backlog::More }
    }
}

/// The background threads of an engine; they end when it is dropped.
pub struct Runtime {
    /// Each thread and what keeps it going.
    threads: Vec<(Sender<()>, JoinHandle<()>)>,
}

impl Runtime {
    /// Starts the background of `engine`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(engine: &Arc<Engine>) -> std::io::Result<Runtime> {
        let (freer, garbage) = channel::<Garbage>();
        std::thread::Builder::new().name("larder-freer".into()).spawn(engine.freer.work(garbage))?;
        engine.freer.set(freer);
        let weak = Arc::downgrade(engine);
        Ok(Runtime {
            threads: vec![
                thread("larder-ticker", move |stopped| tick_until(&weak, stopped))?,
                thread("larder-memory", keep_memory_ready)?,
            ],
        })
    }
}

/// Starts a thread that works until the sender is dropped.
fn thread(
    name: &str,
    work: impl FnOnce(&Receiver<()>) + Send + 'static,
) -> std::io::Result<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = channel();
    let handle = std::thread::Builder::new().name(name.into()).spawn(move || work(&stopped))?;
    Ok((stop, handle))
}

fn tick_until(engine: &Weak<Engine>, stopped: &Receiver<()>) {
    // A slice of sweeping or tidying is nothing that a request on the same processor should wait for.
    give_way_between_locks();
    let Some(mut lane) = engine.upgrade().map(|engine| engine.lane(false)) else { return };
    let mut rest = TICK;
    while stopped.recv_timeout(rest) == Err(RecvTimeoutError::Timeout) {
        let Some(engine) = engine.upgrade() else { return };
        rest = match engine.tick(&mut lane) {
            Backlog::None => TICK,
            Backlog::More => REST,
        };
    }
}

/// Keeps as much memory ready for the entries to come as was lately needed, and gives back what nobody needs.
///
/// A huge page takes a tenth of a millisecond or two to clear, and several where a virtual machine has to be given the memory
/// first. So this is done by a thread of its own that has the last place in the queue for a processor: where one is idle,
/// entries are in huge pages; where none is, small pages do. With a single processor there is no such place: a thread that
/// works without a pause has to wait until a page is cleared, whoever comes first in the queue.
///
/// What is in small pages all the same is moved to huge ones when nothing else is to be done, a few at a time.
fn keep_memory_ready(stopped: &Receiver<()>) {
    const GATHERED_PER_TICK: usize = 4;
    give_way_to_all();
    let may_be_huge = may_use_huge_pages();
    while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        slab::trim();
        let is_huge = may_be_huge && available_parallelism().is_ok_and(|processors| processors.get() > 1);
        slab::prepare(is_huge);
        while slab::make_ready() {
            yield_now();
        }
        for _ in 0..if is_huge { GATHERED_PER_TICK } else { 0 } {
            if !slab::gather() {
                break;
            }
            yield_now();
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        for (stop, thread) in self.threads.drain(..) {
            drop(stop);
            // A ticker that panicked has poisoned the engine; there is nothing to add here.
            let _panicked = thread.join();
        }
    }
}
