//! Who asks: the state of a connection, without its socket.

use crate::client::Client;
use crate::engine::Engine;
use crate::keyspace::WatchFlag;
use crate::registry::Registered;
use larder_resp::{OwnedRequest, Proto};
use larder_structures::sync::Ticket;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The state of one connection or embedded caller. Made by [`Engine::connect`]; dropping it disconnects.
pub struct Session {
    pub(crate) engine: Arc<Engine>,
    pub(crate) client: Arc<Client>,
    pub(crate) db: usize,
    pub(crate) proto: Proto,
    pub(crate) is_authenticated: bool,
    pub(crate) multi: Option<Multi>,
    pub(crate) watched: Vec<(usize, Box<[u8]>)>,
    pub(crate) watch_flag: Arc<WatchFlag>,
    pub(crate) channels: BTreeSet<Arc<[u8]>>,
    pub(crate) patterns: BTreeSet<Arc<[u8]>>,
    pub(crate) replies: Replies,
    /// Where this session waits, if it does.
    pub(crate) parked: Option<Parking>,
    /// What a WAITAOF under way waits for.
    pub(crate) sync_wait: Option<SyncWait>,
    /// Whether it runs the commands of a file, to which nothing applies that keeps strangers out.
    pub(crate) is_loader: bool,
}

/// What the waker of a session is registered with. Being woken uses a registration up: whoever has to wait again
/// registers again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parking {
    /// The pins of a value it wants to change; its request has got as far as its locks.
    Pins(Ticket),
    /// CLIENT PAUSE.
    Pause(Ticket),
    /// A sync of the append-only file.
    Sync(Ticket),
}

/// What WAITAOF waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SyncWait {
    /// The position in the log that must be synced.
    pub(crate) position: u64,
    /// When it gives up, on the clock that does not jump.
    pub(crate) until_us: u64,
}

/// A transaction being queued.
#[derive(Default)]
pub(crate) struct Multi {
    pub(crate) queue: Vec<(&'static Registered, OwnedRequest)>,
    pub(crate) is_aborted: bool,
}

/// CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replies {
    On,
    Off,
    /// The next command's reply is left out.
    SkipNext,
    /// This command's reply is left out.
    Skip,
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>, client: Arc<Client>, is_authenticated: bool) -> Session {
        Session {
            engine,
            client,
            db: 0,
            proto: Proto::Resp2,
            is_authenticated,
            multi: None,
            watched: Vec::new(),
            watch_flag: Arc::default(),
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            replies: Replies::On,
            parked: None,
            sync_wait: None,
            is_loader: false,
        }
    }

    /// The shared part: mailbox, kill flag, facts for CLIENT LIST.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The protocol of its replies.
    pub fn proto(&self) -> Proto {
        self.proto
    }

    /// Whether it may run commands; until then small limits hold for its requests.
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// The logical database.
    pub fn db(&self) -> usize {
        self.db
    }

    /// Whether pushed messages may be sent to it now: not while CLIENT REPLY is off.
    pub fn wants_pushes(&self) -> bool {
        true
    }

    pub(crate) fn set_proto(&mut self, proto: Proto) {
        self.proto = proto;
        let number = if proto == Proto::Resp3 { 3 } else { 2 };
        self.client.protocol.store(number, Ordering::Relaxed);
    }

    pub(crate) fn select(&mut self, db: usize) {
        self.db = db;
        self.client.db.store(db, Ordering::Relaxed);
    }

    /// Begins, continues (`queued` grew) or ends a transaction for CLIENT LIST.
    pub(crate) fn publish_multi(&self) {
        let (queued, memory) = match &self.multi {
            None => (-1, 0),
            Some(multi) => {
                let memory = multi.queue.iter().map(|(_, request)| request.memory()).sum();
                (multi.queue.len() as i64, memory)
            }
        };
        self.client.queued.store(queued, Ordering::Relaxed);
        self.client.queued_memory.store(memory, Ordering::Relaxed);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let engine = Arc::clone(&self.engine);
        engine.disconnect(self);
    }
}
