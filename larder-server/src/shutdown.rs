//! The end of the process: by a signal, by SHUTDOWN, or because it cannot go on.
//!
//! The main thread does nothing but wait for a reason to stop. When there is one, the event loops are brought to a
//! standstill first: from then on no reply leaves the server, so whatever a client was told has happened is in the data
//! that is saved. If saving fails the loops go on as if nothing had been, unless the process was told to stop all the
//! same. Otherwise the process exits, and the system closes the connections.

use crate::process;
use crate::server::Server;
use larder::fault::Fault;
use larder::host::Shutdown;
use larder::persist::progress::LoadProgress;
use parking_lot::{Condvar, Mutex};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// How often the log is told how far loading is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// A reason to stop.
pub(crate) enum Control {
    /// A signal, by its name, and the parameter that says what to do then.
    Signal(&'static str, &'static str),
    /// SHUTDOWN; the answer is why the server goes on.
    Asked(Shutdown, Sender<Fault>),
    /// The data cannot be loaded; why not.
    NotLoaded(String),
    /// Something has failed that the process cannot do without.
    Failed(String),
}

/// Brings the event loops to a standstill and lets them go again.
#[derive(Default)]
pub(crate) struct Standstill {
    is_wanted: AtomicBool,
    resting: Mutex<usize>,
    changed: Condvar,
}

impl Standstill {
    /// Called by each loop once per turn: rests while a standstill is wanted. One load if none is.
    #[inline]
    pub(crate) fn rest(&self) {
        if self.is_wanted.load(Ordering::Acquire) {
            self.rest_while_wanted();
        }
    }

    #[cold]
    fn rest_while_wanted(&self) {
        let mut resting = self.resting.lock();
        *resting += 1;
        self.changed.notify_all();
        while self.is_wanted.load(Ordering::Acquire) {
            self.changed.wait(&mut resting);
        }
        *resting -= 1;
    }

    /// Lets the thread of a loop wait for something else while it counts as resting.
    fn rest_during<T>(&self, wait: impl FnOnce() -> T) -> T {
        *self.resting.lock() += 1;
        self.changed.notify_all();
        let answer = wait();
        *self.resting.lock() -= 1;
        answer
    }

    /// Waits until all loops rest.
    fn begin(&self, server: &Server) {
        self.is_wanted.store(true, Ordering::Release);
        server.wake_loops();
        let mut resting = self.resting.lock();
        while *resting < server.mailboxes.len() {
            self.changed.wait(&mut resting);
        }
    }

    fn end(&self) {
        let _resting = self.resting.lock();
        self.is_wanted.store(false, Ordering::Release);
        self.changed.notify_all();
    }
}

/// Asks the main thread to stop the process, from the thread of an event loop. Returns only if it goes on.
pub(crate) fn ask(server: &Server, how: Shutdown) -> Fault {
    let (answer, answered) = std::sync::mpsc::channel();
    if server.control.send(Control::Asked(how, answer)).is_err() {
        return Fault::err(CANNOT_STOP);
    }
    let fault = server.standstill.rest_during(|| answered.recv());
    fault.unwrap_or_else(|_ending| Fault::err(CANNOT_STOP))
}

/// Waits for a reason to stop and follows it. Returns the exit code of the process.
pub(crate) fn wait(server: &Server, reasons: &Receiver<Control>) -> u8 {
    loop {
        let reason = if server.engine.is_loading() {
            match reasons.recv_timeout(TELL_EVERY) {
                Err(RecvTimeoutError::Timeout) => {
                    tell_progress(server);
                    continue;
                }
                result => result.ok(),
            }
        } else {
            reasons.recv().ok()
        };
        // The server itself can send reasons as long as it is there.
        let Some(reason) = reason else { return 1 };
        match reason {
            Control::NotLoaded(why) => {
                server.log.warning(format_args!("{why}"));
                clean_up(server);
                return 1;
            }
            Control::Failed(why) => {
                server.log.warning(format_args!("{why}. Exiting without saving."));
                clean_up(server);
                return 1;
            }
            Control::Signal(name, parameter) => {
                server.log.warning(format_args!("Received {name} scheduling shutdown..."));
                if stop(server, flags(&server.settings.text(parameter))) {
                    return 0;
                }
            }
            Control::Asked(how, answer) => {
                server.log.warning(format_args!("User requested shutdown..."));
                if stop(server, how) {
                    // Who asked gets no answer but the end of the process, which a dropped sender would forestall.
                    std::mem::forget(answer);
                    return 0;
                }
                // The loop that asked waits for this answer.
                let _loop_waits = answer.send(Fault::err(CANNOT_STOP));
            }
        }
    }
}

/// Says how far loading is.
fn tell_progress(server: &Server) {
    let progress = server.engine.load_progress();
    // It may have ended just now.
    if server.engine.is_loading() && progress.total > 0 {
        let LoadProgress { loaded, total, .. } = progress;
        let percent = progress.percent();
        server.log.notice(format_args!("Loading: {loaded} of {total} bytes, {percent:.0} %"));
    }
}

/// What SHUTDOWN answers if the server goes on.
const CANNOT_STOP: &str = "Errors trying to SHUTDOWN. Check logs.";

/// The value of `shutdown-on-sigterm` or `shutdown-on-sigint`.
fn flags(words: &str) -> Shutdown {
    let has = |flag: &str| words.split_ascii_whitespace().any(|word| word == flag);
    Shutdown { save: has("save"), nosave: has("nosave"), now: has("now"), force: has("force") }
}

/// Brings everything to an end; `false` if the server has to go on because it could not save.
fn stop(server: &Server, how: Shutdown) -> bool {
    server.standstill.begin(server);
    // A snapshot that is not written yet is of no use any more: what is written below is newer.
    if server.engine.saving().is_some() {
        server.log.warning(format_args!("There is a save under way in the background. Giving it up."));
        server.engine.cancel_save();
    }
    // Half of the data must not replace the whole.
    let is_loading = server.engine.is_loading();
    let has_points = !server.settings.text("save").is_empty();
    if !is_loading && (how.save || (has_points && !how.nosave)) && !save(server) && !how.force {
        server.log.warning(format_args!("Error trying to save the DB, can't exit."));
        server.standstill.end();
        return false;
    }
    if let Err(error) = server.engine.flush_aof() {
        server.log.warning(format_args!("Writing and syncing the append-only file: {error}"));
        if !how.force {
            server.standstill.end();
            return false;
        }
    }
    clean_up(server);
    server.log.warning(format_args!("Larder is now ready to exit, bye bye..."));
    true
}

fn save(server: &Server) -> bool {
    if server.engine.is_poisoned() {
        server.log.warning(format_args!("The data can no longer be trusted: the snapshot stays as it was."));
        return false;
    }
    server.log.notice(format_args!("Saving the final RDB snapshot before exiting."));
    let lane = server.engine.lane(false);
    match server.data.save(&server.engine, &lane) {
        Ok(()) => {
            server.log.notice(format_args!("DB saved on disk"));
            true
        }
        Err(error) => {
            let path = server.data.snapshot();
            server.log.warning(format_args!("Saving {}: {error}", path.display()));
            false
        }
    }
}

/// Takes away what would tell others that the server is there.
fn clean_up(server: &Server) {
    let socket = server.settings.text("unixsocket");
    // What somebody else has removed already is removed.
    if !socket.is_empty() {
        let _removed_already = std::fs::remove_file(socket);
    }
    if let Some(path) = server.pid_file() {
        let _removed_already = std::fs::remove_file(path);
    }
    if matches!(server.settings.text("supervised").as_str(), "systemd" | "auto") {
        process::notify_systemd("STOPPING=1", &server.log);
    }
}

/// SIGTERM and SIGINT end the server in order; a second SIGINT ends it at once. SIGHUP is ignored, and so is
/// SIGXFSZ: a file that must not grow any more is an error of the disk.
///
/// # Errors
/// The system's.
pub(crate) fn listen_to_signals(control: Sender<Control>) -> io::Result<()> {
    let interrupted = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(SIGINT, 1, Arc::clone(&interrupted))?;
    flag::register(SIGINT, interrupted)?;
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGXFSZ])?;
    thread::Builder::new().name("larder-signals".into()).spawn(move || {
        for signal in signals.forever() {
            let (name, parameter) = match signal {
                SIGTERM => ("SIGTERM", "shutdown-on-sigterm"),
                SIGINT => ("SIGINT", "shutdown-on-sigint"),
                _ => continue,
            };
            if control.send(Control::Signal(name, parameter)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
