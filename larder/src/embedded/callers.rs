//! Lanes and sessions in pairs, for whoever calls next.

use crate::client::Origin;
use crate::engine::{Engine, Step};
use crate::exec::Job;
use crate::fault::{Fault, Outcome};
use crate::lane::Lane;
use crate::registry;
use crate::session::Session;
use larder_resp::{Frame, Proto, Request, parse_frame};
use parking_lot::{Condvar, Mutex};
use std::cell::Cell;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;
use thread_local::ThreadLocal;

/// A lane and a session that belong together, and how to be woken while they wait.
pub(super) struct Caller {
    pub(super) lane: Lane,
    pub(super) session: Session,
    pub(super) signal: Arc<Signal>,
    out: Vec<u8>,
}

/// Wakes whoever waits with a caller: a thread or a task.
#[derive(Default)]
pub(super) struct Signal {
    state: Mutex<SignalState>,
    raised: Condvar,
}

#[derive(Default)]
struct SignalState {
    is_raised: bool,
    task: Option<Waker>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        let task = {
            let mut state = self.state.lock();
            state.is_raised = true;
            self.raised.notify_one();
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Signal {
    /// Sleeps until the signal is raised, and lowers it.
    pub(super) fn wait(&self) {
        let mut state = self.state.lock();
        while !std::mem::take(&mut state.is_raised) {
            self.raised.wait(&mut state);
        }
    }

    /// The same for no longer than `timeout`; returns whether it was raised.
    pub(super) fn wait_for(&self, timeout: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_raised {
            self.raised.wait_for(&mut state, timeout);
        }
        std::mem::take(&mut state.is_raised)
    }

    /// Lowers the signal if it is raised. Otherwise `task` is woken once it is.
    pub(super) fn poll(&self, task: &Waker) -> bool {
        let mut state = self.state.lock();
        let was_raised = std::mem::take(&mut state.is_raised);
        state.task = (!was_raised).then(|| task.clone());
        was_raised
    }
}

impl Caller {
    fn new(engine: &Arc<Engine>) -> Caller {
        let signal = Arc::new(Signal::default());
        let mut session = engine.connect(Origin::default(), Waker::from(Arc::clone(&signal)));
        session.set_proto(Proto::Resp3);
        // Whoever has the engine in his own process needs no password for it.
        session.is_authenticated = true;
        Caller { lane: engine.lane(true), session, signal, out: Vec::new() }
    }

    /// Tries a request once.
    pub(super) fn step(&mut self, request: Request<'_>) -> Step {
        self.lane.begin_turn();
        self.out.clear();
        let engine = Arc::clone(&self.session.engine);
        engine.execute(&mut self.lane, &mut self.session, request, &mut self.out)
    }

    /// Runs a request to its end, however long that takes, and returns its reply.
    pub(super) fn run(&mut self, request: Request<'_>) -> Frame {
        loop {
            match self.step(request) {
                Step::Done | Step::Close => {
                    let reply = self.reply();
                    return self.told(reply);
                }
                Step::Parked => self.signal.wait(),
                Step::Long(job) => return self.run_job(&job),
            }
        }
    }

    /// Runs a long command on this thread.
    pub(super) fn run_job(&mut self, job: &Job) -> Frame {
        let engine = Arc::clone(&self.session.engine);
        let reply = read_reply(&engine.run_job(&mut self.lane, &self.session, job));
        self.told(reply)
    }

    /// The reply once it may be told of: once what it tells of is as durable as was promised.
    fn told(&mut self, reply: Frame) -> Frame {
        let engine = Arc::clone(&self.session.engine);
        match engine.after_call(&mut self.lane) {
            Ok(()) => reply,
            Err(fault) => Frame::Error(fault.message().into_bytes()),
        }
    }

    /// The reply of a request that is done.
    pub(super) fn reply(&mut self) -> Frame {
        const KEPT_MAX: usize = 64 * 1024;
        let reply = read_reply(&self.out);
        if self.out.capacity() > KEPT_MAX {
            self.out = Vec::new();
        }
        reply
    }
}

/// The reply in `bytes`. Several, as SUBSCRIBE gives for several channels, become one array; none, as with CLIENT
/// REPLY OFF, becomes a null.
pub(super) fn read_reply(mut bytes: &[u8]) -> Frame {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let parsed = parse_frame(bytes).expect("the engine writes well-formed replies");
        let (frame, used) = parsed.expect("the engine writes whole replies");
        frames.push(frame);
        bytes = &bytes[used..];
    }
    match frames.len() {
        0 => Frame::Null,
        1 => frames.swap_remove(0),
        _ => Frame::Array(frames),
    }
}

/// Commands that change the connection they come on.
const NOT_SHAREABLE: &[&str] = &[
    "auth",
    "client|no-evict",
    "client|no-touch",
    "client|reply",
    "client|setinfo",
    "client|setname",
    "discard",
    "exec",
    "hello",
    "monitor",
    "multi",
    "psubscribe",
    "punsubscribe",
    "quit",
    "reset",
    "select",
    "subscribe",
    "unsubscribe",
    "unwatch",
    "watch",
];

/// Refuses commands that make no sense on a connection shared with others. What is wrong otherwise is left to be found
/// when the command is executed.
pub(super) fn check_shareable(request: Request<'_>) -> Outcome {
    let Some(top) = request.get(0).and_then(registry::find) else {
        return if request.is_empty() { Err(Fault::row("ERR", "empty command")) } else { Ok(()) };
    };
    let registered = request.get(1).and_then(|word| top.subcommand(word)).unwrap_or(top);
    if NOT_SHAREABLE.contains(&registered.full_name.as_str()) {
        let name = &registered.full_name;
        return Err(Fault::err(format!(
            "'{name}' changes its connection: use one of your own (Larder::connect)"
        )));
    }
    Ok(())
}

/// The callers of one engine.
///
/// A thread keeps the caller it used last, and takes it for the next call without asking anybody. One that ends leaves
/// its caller to a thread that begins later.
pub(super) struct Callers {
    engine: Arc<Engine>,
    own: ThreadLocal<Own>,
    /// Those whose thread has another by now.
    #[expect(clippy::vec_box, reason = "callers go from threads to futures and back as boxes")]
    spare: Mutex<Vec<Box<Caller>>>,
}

/// A thread's caller, unless it is in use; on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Own(Cell<Option<Box<Caller>>>);

impl Callers {
    pub(super) fn new(engine: Arc<Engine>) -> Callers {
        Callers { engine, own: ThreadLocal::new(), spare: Mutex::default() }
    }

    /// A caller that is nobody else's, on a database.
    pub(super) fn fresh(&self, db: usize) -> Box<Caller> {
        on(Box::new(Caller::new(&self.engine)), db)
    }

    /// Takes a caller for as long as its command may last.
    pub(super) fn take(&self, db: usize) -> Box<Caller> {
        on(self.take_any(), db)
    }

    /// Takes a caller, on whatever database it is.
    #[inline]
    fn take_any(&self) -> Box<Caller> {
        self.own.get().and_then(|own| own.0.take()).unwrap_or_else(|| self.take_another())
    }

    #[cold]
    fn take_another(&self) -> Box<Caller> {
        let spare = self.spare.lock().pop();
        spare.unwrap_or_else(|| Box::new(Caller::new(&self.engine)))
    }

    #[cold]
    fn make_own(&self) -> &Own {
        self.own.get_or_default()
    }

    /// Gives a caller back.
    #[inline]
    pub(super) fn put(&self, caller: Box<Caller>) {
        if let Some(before) = self.own.get_or_default().0.replace(Some(caller)) {
            self.keep(before);
        }
    }

    #[cold]
    fn keep(&self, caller: Box<Caller>) {
        self.spare.lock().push(caller);
    }

    /// Lets `work` use a caller for a moment, on whatever database that is. If it panics the caller is gone with it.
    #[inline(always)]
    pub(super) fn with<'s, R>(&'s self, work: impl FnOnce(&'s Engine, &mut Caller) -> R) -> R {
        let own = self.own.get().unwrap_or_else(|| self.make_own());
        let mut caller = own.0.take().unwrap_or_else(|| self.take_another());
        let result = work(&self.engine, &mut caller);
        if let Some(before) = own.0.replace(Some(caller)) {
            self.keep(before);
        }
        result
    }
}

fn on(mut caller: Box<Caller>, db: usize) -> Box<Caller> {
    if caller.session.db() != db {
        caller.session.select(db);
    }
    caller
}
