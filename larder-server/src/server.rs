//! What all threads of the server share.

use crate::append_only::AppendOnly;
use crate::config::{Live, Settings};
use crate::data::Data;
use crate::net::mailbox::{Mail, Mailbox};
use crate::observe::log::Log;
use crate::shutdown::{Control, Standstill};
use crate::workers::Workers;
use larder::Engine;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

/// What all threads of the server share.
pub(crate) struct Server {
    pub(crate) engine: Arc<Engine>,
    pub(crate) log: Arc<Log>,
    pub(crate) settings: Settings,
    /// Parameters that are looked at while serving.
    pub(crate) live: Arc<Live>,
    pub(crate) data: Data,
    pub(crate) append_only: AppendOnly,
    /// The configuration file; empty if there is none.
    pub(crate) config_file: PathBuf,
    pub(crate) workers: Workers,
    /// One per event loop.
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    /// Connections of each event loop, those on their way to it included.
    pub(crate) loads: Vec<AtomicUsize>,
    /// Connections in all.
    pub(crate) connected: AtomicUsize,
    pub(crate) standstill: Standstill,
    /// To the main thread.
    pub(crate) control: Sender<Control>,
}

impl Server {
    /// Reserves a place for a new connection, and says in which loop: the one that has the fewest.
    pub(crate) fn give_place(&self) -> usize {
        let load = |index: &usize| self.loads[*index].load(Ordering::Relaxed);
        let index = (0..self.loads.len()).min_by_key(load).unwrap_or(0);
        self.loads[index].fetch_add(1, Ordering::Relaxed);
        self.connected.fetch_add(1, Ordering::Relaxed);
        index
    }

    /// Gives back a connection's place in the loop `index`.
    pub(crate) fn leave(&self, index: usize) {
        self.loads[index].fetch_sub(1, Ordering::Relaxed);
        self.connected.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection that was turned away.
    pub(crate) fn count_refused(&self) {
        self.engine.stats.rejected_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// The file that holds the number of this process, if there is one.
    pub(crate) fn pid_file(&self) -> Option<PathBuf> {
        match self.settings.text("pidfile") {
            none if none.is_empty() && self.settings.is_on("daemonize") => Some("/var/run/redis.pid".into()),
            none if none.is_empty() => None,
            path => Some(path.into()),
        }
    }

    /// Makes every loop look at the server's flags.
    pub(crate) fn wake_loops(&self) {
        self.mailboxes.iter().for_each(|mailbox| mailbox.post(Mail::Look));
    }

    /// Ends the process because it cannot go on.
    pub(crate) fn fail(&self, why: &str) {
        // If the main thread is gone, the process is ending already.
        let _ending = self.control.send(Control::Failed(why.into()));
    }
}
