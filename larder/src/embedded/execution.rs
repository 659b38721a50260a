//! A command as a future.

use super::Larder;
use super::callers::{Caller, check_shareable};
use crate::engine::Step;
use crate::exec::Job;
use crate::fault::Fault;
use crate::persist::aof::{Told, Wait};
use larder_resp::{Frame, OwnedRequest};
use larder_structures::sync::Ticket;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A command being executed, made by [`Larder::execute_async`]. Nothing happens before it is polled.
///
/// Most commands are done at the first poll. One that has to wait is tried again when the task is woken; a long one is
/// run by a thread of ours. Dropped before its end, a command that waits has not happened, and a long one still does.
#[must_use = "nothing happens before the future is polled"]
pub struct Execution {
    larder: Larder,
    request: OwnedRequest,
    state: State,
}

enum State {
    New,
    Parked(Box<Caller>),
    Working(Arc<Task>),
    /// It is done, and what it did is not as durable yet as was promised.
    Syncing(Frame, Wait, Option<Ticket>),
    Over,
}

impl Execution {
    pub(super) fn new(larder: Larder, request: OwnedRequest) -> Execution {
        Execution { larder, request, state: State::New }
    }

    /// Tries the request with `caller` and says what comes next.
    fn attempt(&mut self, mut caller: Box<Caller>) -> Option<Frame> {
        match caller.step(self.request.as_request()) {
            Step::Done | Step::Close => {
                let reply = caller.reply();
                let wait = self.larder.home.engine.wait_of(&mut caller.lane);
                self.larder.home.callers.put(caller);
                let Some(wait) = wait else { return Some(reply) };
                self.larder.home.engine.hurry_sync();
                self.state = State::Syncing(reply, wait, None);
            }
            Step::Parked => self.state = State::Parked(caller),
            Step::Long(job) => {
                let task = Arc::new(Task {
                    larder: self.larder.clone(),
                    work: Mutex::new(Some((caller, job))),
                    end: Mutex::default(),
                });
                self.state = State::Working(Arc::clone(&task));
                self.larder.home.workers.work_on(task);
            }
        }
        None
    }
}

impl Future for Execution {
    type Output = Frame;

    /// # Panics
    /// When polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Frame> {
        let this = &mut *self;
        loop {
            let caller = match std::mem::replace(&mut this.state, State::Over) {
                State::New => {
                    if let Err(fault) = check_shareable(this.request.as_request()) {
                        return Poll::Ready(Frame::Error(fault.message().into_bytes()));
                    }
                    this.larder.home.callers.take(this.larder.db)
                }
                State::Parked(caller) => {
                    if !caller.signal.poll(context.waker()) {
                        this.state = State::Parked(caller);
                        return Poll::Pending;
                    }
                    caller
                }
                State::Working(task) => {
                    if let Some(reply) = task.poll(context.waker()) {
                        return Poll::Ready(reply);
                    }
                    this.state = State::Working(task);
                    return Poll::Pending;
                }
                State::Syncing(reply, wait, ticket) => {
                    let engine = &this.larder.home.engine;
                    ticket.into_iter().for_each(|ticket| engine.forget_sync(ticket));
                    let ticket = engine.await_sync(context.waker().clone());
                    let told = engine.may_tell(wait);
                    if told == Told::Later {
                        this.state = State::Syncing(reply, wait, Some(ticket));
                        return Poll::Pending;
                    }
                    engine.forget_sync(ticket);
                    return Poll::Ready(match told {
                        Told::Never => Frame::Error(engine.unknown_outcome().message().into_bytes()),
                        Told::Now | Told::Later => reply,
                    });
                }
                State::Over => panic!("an execution is over and polled again"),
            };
            if let Some(reply) = this.attempt(caller) {
                this.larder.home.engine.hold_back_writers();
                return Poll::Ready(reply);
            }
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Parked(mut caller) => {
                let engine = Arc::clone(&caller.session.engine);
                engine.stop_waiting(&mut caller.session);
                self.larder.home.callers.put(caller);
            }
            State::Syncing(_, _, Some(ticket)) => self.larder.home.engine.forget_sync(ticket),
            _ => {}
        }
    }
}

/// A long command on its way to a worker and back.
struct Task {
    larder: Larder,
    work: Mutex<Option<(Box<Caller>, Box<Job>)>>,
    end: Mutex<End>,
}

#[derive(Default)]
struct End {
    reply: Option<Frame>,
    task: Option<Waker>,
}

impl Task {
    fn poll(&self, task: &Waker) -> Option<Frame> {
        let mut end = self.end.lock();
        let reply = end.reply.take();
        if reply.is_none() {
            end.task = Some(task.clone());
        }
        reply
    }

    fn run_job(&self, mut caller: Box<Caller>, job: &Job) -> Frame {
        let reply = caller.run_job(job);
        self.larder.home.callers.put(caller);
        reply
    }

    fn run(&self) {
        let Some((caller, job)) = self.work.lock().take() else { return };
        // A panic has poisoned the engine; whoever waits must hear of it all the same.
        let reply = catch_unwind(AssertUnwindSafe(|| self.run_job(caller, &job)))
            .unwrap_or_else(|_| Frame::Error(Fault::POISONED.message().into_bytes()));
        let task = {
            let mut end = self.end.lock();
            end.reply = Some(reply);
            end.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// The threads that long commands of futures run on. They are made when they are needed and end when they have not
/// been for a while, so that an engine whose commands are all short has none.
#[derive(Default)]
pub(super) struct Workers {
    queue: Mutex<Queue>,
    has_task: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Arc<Task>>,
    threads: usize,
    idle: usize,
}

/// Threads at most; more tasks than that wait for each other.
const THREADS_MAX: usize = 4;
/// How long a thread waits for another task.
const PATIENCE: Duration = Duration::from_secs(10);

impl Workers {
    fn work_on(self: &Arc<Self>, task: Arc<Task>) {
        let mut queue = self.queue.lock();
        if queue.idle <= queue.tasks.len() && queue.threads < THREADS_MAX {
            let workers = Arc::clone(self);
            let thread = std::thread::Builder::new().name("larder-worker".into());
            match thread.spawn(move || workers.serve()) {
                Ok(_) => queue.threads += 1,
                Err(_) if queue.threads == 0 => {
                    // Without a thread to be had, late is better than never.
                    drop(queue);
                    task.run();
                    return;
                }
                Err(_) => {}
            }
        }
        queue.tasks.push_back(task);
        drop(queue);
        self.has_task.notify_one();
    }

    fn serve(&self) {
        let mut queue = self.queue.lock();
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                drop(queue);
                task.run();
                queue = self.queue.lock();
                continue;
            }
            queue.idle += 1;
            let is_over = self.has_task.wait_for(&mut queue, PATIENCE).timed_out();
            queue.idle -= 1;
            if is_over && queue.tasks.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}
