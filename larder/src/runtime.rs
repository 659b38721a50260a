//! The background of an engine: what has to be done although no command asks for it.
//!
//! [`Engine::tick`] does a bounded amount of it and may be called by anybody who has time, a test with a still clock
//! included. [`Runtime`] is the usual caller: one thread that ticks, and one that frees large values so that no command
//! waits for that.

use crate::effects::Garbage;
use crate::engine::Engine;
use crate::lane::Lane;
use crate::time::Clock;
use larder_structures::slab;
use larder_structures::sys::give_way_between_locks;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

const TICK_MS: u64 = 100;
/// Ticks a second, as INFO and CONFIG GET hz tell.
pub const TICKS_PER_SECOND: u64 = 1000 / TICK_MS;
/// Time between ticks when there is nothing more to do.
const TICK: Duration = Duration::from_millis(TICK_MS);
/// Rest after a tick that did not get everything done. Work and rest are both short, so that a thread that has to share its
/// processor with the ticker is soon back on it.
const REST: Duration = Duration::from_micros(300);
/// What is too long for a huge page, in microseconds, and how many times as long no other is cleared then.
const SLOW_PAGE_US: u64 = 1000;
const PAUSE_FACTOR: u64 = 200;

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
    stop: Option<Sender<()>>,
    ticker: Option<JoinHandle<()>>,
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
        let (stop, stopped) = channel();
        let weak = Arc::downgrade(engine);
        let ticker = std::thread::Builder::new()
            .name("larder-ticker".into())
            .spawn(move || tick_until(&weak, &stopped))?;
        Ok(Runtime { stop: Some(stop), ticker: Some(ticker) })
    }
}

fn tick_until(engine: &Weak<Engine>, stopped: &Receiver<()>) {
    // A slice of sweeping or tidying is nothing that a request on the same processor should wait for.
    give_way_between_locks();
    let Some(mut lane) = engine.upgrade().map(|engine| engine.lane(false)) else { return };
    let mut rest = TICK;
    let mut spares = Spares::default();
    while stopped.recv_timeout(rest) == Err(RecvTimeoutError::Timeout) {
        let Some(engine) = engine.upgrade() else { return };
        let backlog = engine.tick(&mut lane);
        let is_done = !spares.make(&*engine.clock) && backlog == Backlog::None;
        rest = if is_done { TICK } else { REST };
    }
}

/// When to make memory ready for the entries to come.
///
/// To clear a huge page takes a tenth of a millisecond or two, but several where a virtual machine has to be given the
/// memory first, and there is no interrupting it. So after a slow one there is a long pause, in which small pages do.
#[derive(Default)]
struct Spares {
    decided_us: u64,
    paused_until_us: u64,
}

impl Spares {
    /// Makes at most one ready; returns whether to go on soon.
    fn make(&mut self, clock: &dyn Clock) -> bool {
        let now_us = clock.elapsed_us();
        if now_us.saturating_sub(self.decided_us) >= TICK_MS * 1000 {
            self.decided_us = now_us;
            slab::prepare();
        }
        if now_us < self.paused_until_us {
            return false;
        }
        let is_made = slab::make_ready();
        let took_us = clock.elapsed_us().saturating_sub(now_us);
        if took_us < SLOW_PAGE_US {
            return is_made;
        }
        self.paused_until_us = now_us + took_us * PAUSE_FACTOR;
        false
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(ticker) = self.ticker.take() {
            // A ticker that panicked has poisoned the engine; there is nothing to add here.
            let _panicked = ticker.join();
        }
    }
}
