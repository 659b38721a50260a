//! Threads for commands that would take long.
//!
//! An event loop hands over the job together with the connection's session, which nobody needs meanwhile: a connection
//! executes one command at a time. The worker sends both back to the loop's mailbox. If the connection was closed in the
//! meantime, the session ends when it comes back, and with it what the connection had in the engine.

use crate::net::mailbox::{ConnectionId, Mail, Mailbox};
use crate::shutdown::Control;

use larder::{Engine, Job, Session};
use parking_lot::Mutex;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// A long command on its way to a worker.
pub(crate) struct Work {
    pub(crate) job: Box<Job>,
    pub(crate) session: Session,
    /// Whose command it is.
    pub(crate) id: ConnectionId,
    /// Where the reply is wanted.
    pub(crate) to: Arc<Mailbox>,
}

/// The workers' queue; they end when it is dropped.
pub(crate) struct Workers {
    queue: Sender<Work>,
}

impl Workers {
    /// Starts `count` workers.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        engine: &Arc<Engine>,
        count: usize,
        control: &Sender<Control>,
    ) -> io::Result<Workers> {
        let (queue, work) = channel::<Work>();
        let work = Arc::new(Mutex::new(work));
        for nth in 0..count {
            let (engine, work, control) = (Arc::clone(engine), Arc::clone(&work), control.clone());
            thread::Builder::new().name(format!("larder-worker-{nth}")).spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| work_off(&engine, &work))).is_err() {
                    // If the main thread is gone, the process is ending already.
                    let _ending = control.send(Control::Failed("a worker thread panicked".into()));
                }
            })?;
        }
        Ok(Workers { queue })
    }

    /// Runs a job on whichever worker is free next.
    pub(crate) fn run(&self, work: Work) {
        // Workers end only with this queue, or by a panic, which ends the process.
        let _process_ends = self.queue.send(work);
    }
}

fn work_off(engine: &Engine, queue: &Mutex<Receiver<Work>>) {
    // Event loops that wake up beside a long command must not wait for the end of its slice.
    larder::give_way();
    let mut lane = engine.lane(false);
    loop {
        let next = queue.lock().recv();
        let Ok(Work { job, session, id, to }) = next else { return };
        let reply = engine.run_job(&mut lane, &session, &job);
        let wait = engine.wait_of(&mut lane);
        to.post(Mail::Worked(id, session, reply, wait));
    }
}
