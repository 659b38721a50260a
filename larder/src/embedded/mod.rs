//! The engine inside a Rust program: one handle, shared by all threads.
//!
//! # Who asks
//!
//! To run a command the engine wants a lane (time, counters and scratch space with one user at a time) and a session
//! (who asks). A [`Larder`] keeps pairs of them in a fixed row of slots. A thread always begins at the same slot, so
//! that it finds its own pair warm in its cache; where the slot is taken it takes a spare pair. Neither waits for
//! anybody.
//!
//! Since pairs are shared, a command that changes its connection (SELECT, MULTI, SUBSCRIBE ...) means nothing here and
//! is refused; [`Larder::connect`] gives a [`Connection`] of one's own for those, and [`Larder::database`] a handle on
//! another database.
//!
//! # Ways to ask
//!
//! The most common calls ([`Larder::get`], [`Larder::set`] ...) go straight to their key's shard, without a request and
//! a reply in between. All others make a request and read its reply, as [`Larder::execute`] does for any command. Where
//! a command has to wait (for a long read of the value it changes, or CLIENT PAUSE) a blocking call sleeps; a long
//! command runs on the caller's thread, without holding locks. [`Larder::execute_async`] gives a future instead, which
//! belongs to no runtime: it never blocks the thread that polls it, and long commands run on threads of ours.

mod callers;
mod connection;
mod direct;
mod directory;
mod execution;
mod options;
mod typed;

pub use connection::Connection;
pub use direct::WithTtl;
pub use execution::Execution;
pub use options::{SetOptions, Ttl};

use crate::engine::{Engine, Options};
use crate::fault::Fault;
use crate::persist::lock::FileLock;
use crate::runtime::Runtime;
use callers::Callers;
use direct::Calls;
use execution::Workers;
use larder_resp::{Frame, OwnedRequest};
use std::sync::Arc;

/// A handle on an engine, to be cloned freely; see the [module's text](self). The engine ends with its last handle.
///
/// ```
/// use larder::{Larder, Options};
/// use std::time::Duration;
///
/// let larder = Larder::open(Options::default())?;
/// larder.set_for("session:7", "ada", Duration::from_secs(60))?;
/// assert_eq!(larder.get("session:7")?.as_deref(), Some(b"ada".as_slice()));
/// assert_eq!(larder.incr_by("visits", 2)?, 2);
///
/// // From another thread, and any command there is.
/// let other = larder.clone();
/// let length = std::thread::spawn(move || other.execute(&["STRLEN", "session:7"])).join().unwrap();
/// assert_eq!(length.as_integer(), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Larder {
    home: Arc<Home>,
    db: usize,
}

/// What the handles of one engine share.
struct Home {
    callers: Callers,
    calls: Calls,
    workers: Arc<Workers>,
    engine: Arc<Engine>,
    /// The background, if it is ours.
    _runtime: Option<Runtime>,
    /// The lock on the directory with the data, if there is one.
    _lock: Option<FileLock>,
}

impl Drop for Home {
    fn drop(&mut self) {
        if self._lock.is_some() {
            // Who wants to hear of an error here calls `Engine::flush_aof` before.
            let _last_chance = self.engine.close_aof();
        }
    }
}

impl Larder {
    /// Opens an engine that keeps nothing on disk, with threads of its own for the background.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn open(options: Options) -> std::io::Result<Larder> {
        let engine = Engine::open(options);
        let runtime = Runtime::start(&engine)?;
        Ok(Larder::of(engine, Some(runtime), None))
    }

    /// A handle on an engine whose background somebody else takes care of: a server in the same process, or a test
    /// that calls [`Engine::tick`] itself.
    pub fn on(engine: Arc<Engine>) -> Larder {
        Larder::of(engine, None, None)
    }

    fn of(engine: Arc<Engine>, runtime: Option<Runtime>, lock: Option<FileLock>) -> Larder {
        let callers = Callers::new(Arc::clone(&engine));
        let (calls, workers) = (Calls::find(), Arc::default());
        let home = Home { callers, calls, workers, engine, _runtime: runtime, _lock: lock };
        Larder { home: Arc::new(home), db: 0 }
    }

    /// The engine, for its counters, parameters and feeds.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.home.engine
    }

    /// The number of the database that this handle is on.
    pub fn db(&self) -> usize {
        self.db
    }

    /// A handle on another of the engine's databases. `None` if it has none of this number.
    pub fn database(&self, db: usize) -> Option<Larder> {
        (db < self.home.engine.config.databases).then(|| Larder { home: Arc::clone(&self.home), db })
    }

    /// A connection of one's own, for transactions and subscriptions.
    pub fn connect(&self) -> Connection {
        Connection::new(self.home.callers.fresh(self.db))
    }

    /// Executes any command and returns its reply, in the types of RESP3. Errors are replies too.
    pub fn execute<A: AsRef<[u8]>>(&self, command: &[A]) -> Frame {
        self.run(OwnedRequest::from_slices(command))
    }

    /// The same as a future, which blocks no thread: see [`Execution`].
    pub fn execute_async<A: AsRef<[u8]>>(&self, command: &[A]) -> Execution {
        Execution::new(self.clone(), OwnedRequest::from_slices(command))
    }

    fn run(&self, request: OwnedRequest) -> Frame {
        if let Err(fault) = callers::check_shareable(request.as_request()) {
            return Frame::Error(fault.message().into_bytes());
        }
        let mut caller = self.home.callers.take(self.db);
        let reply = caller.run(request.as_request());
        self.home.callers.put(caller);
        reply
    }

    /// [`Larder::run`], an error reply being an error.
    fn ask(&self, request: OwnedRequest) -> Result<Frame, Fault> {
        match self.run(request) {
            Frame::Error(message) => Err(Fault::from_message(&message)),
            reply => Ok(reply),
        }
    }
}
