//! What other connections may know of a connection, and how they reach it.
//!
//! The registry is shared, so CLIENT LIST, KILL and PUBLISH ask nobody and wait for nobody: a connection keeps its
//! facts here in atomics, has a flag that tells it to close, and a mailbox for what is pushed to it.

mod memory;

pub use memory::ClientMemory;

use larder_resp::ReplyWriter;
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The peer, as CLIENT LIST shows it (`127.0.0.1:50123`, `/run/larder.sock:0`).
    pub address: String,
    /// Our end.
    pub local_address: String,
    /// File descriptor, or -1.
    pub fd: i64,
    /// Whether it came over a Unix socket.
    pub is_unix: bool,
}

impl Default for Origin {
    /// An embedded caller.
    fn default() -> Self {
        Origin { address: "embedded:0".into(), local_address: "embedded:0".into(), fd: -1, is_unix: false }
    }
}

/// A connection in the registry.
pub struct Client {
    /// Never used twice.
    pub id: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// When it connected, Unix milliseconds.
    pub created_ms: u64,
    /// When it last sent a command, Unix milliseconds.
    pub active_ms: AtomicU64,
    /// Logical database.
    pub db: AtomicUsize,
    /// 2 or 3.
    pub protocol: AtomicU32,
    /// Number of channels subscribed to.
    pub channels: AtomicUsize,
    /// Number of patterns subscribed to.
    pub patterns: AtomicUsize,
    /// Commands queued in MULTI, -1 outside.
    pub queued: AtomicI64,
    /// Keys it watches.
    pub watched: AtomicUsize,
    /// Bytes of the commands queued in MULTI.
    pub queued_memory: AtomicUsize,
    /// Whether it watches all commands (MONITOR).
    pub is_monitor: AtomicBool,
    /// CLIENT NO-EVICT.
    pub no_evict: AtomicBool,
    /// CLIENT NO-TOUCH.
    pub no_touch: AtomicBool,
    /// Whether it waits for something (a pin, a pause).
    pub is_blocked: AtomicBool,
    /// Number in the registry of commands of its last command, plus one.
    pub last_command: AtomicUsize,
    /// Bytes received and not yet executed.
    pub input_bytes: AtomicUsize,
    /// Free room of the receive buffer.
    pub input_free: AtomicUsize,
    /// Bytes of replies not yet sent.
    pub output_bytes: AtomicUsize,
    /// Name and library, as told by CLIENT SETNAME and SETINFO.
    pub text: Mutex<ClientText>,
    mailbox: Mutex<VecDeque<Push>>,
    has_mail: AtomicBool,
    mail_bytes: AtomicUsize,
    is_killed: AtomicBool,
    waker: Waker,
}

/// What a connection says of itself.
#[derive(Debug, Default, Clone)]
pub struct ClientText {
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub library: String,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: String,
}

/// Something sent to a connection that it did not ask for just now.
#[derive(Debug, Clone)]
pub enum Push {
    /// A message on a channel it subscribes to.
    Message {
        /// The channel.
        channel: Arc<[u8]>,
        /// The message.
        payload: Arc<[u8]>,
    },
    /// A message on a channel that a pattern of its matches.
    PatternMessage {
        /// The pattern.
        pattern: Arc<[u8]>,
        /// The channel.
        channel: Arc<[u8]>,
        /// The message.
        payload: Arc<[u8]>,
    },
    /// A line for MONITOR.
    Line(Arc<[u8]>),
}

impl Push {
    /// Writes it in the connection's protocol.
    pub fn write(&self, reply: &mut ReplyWriter<'_>) {
        match self {
            Push::Message { channel, payload } => {
                reply.push(3);
                reply.bulk(b"message");
                reply.bulk(channel);
                reply.bulk(payload);
            }
            Push::PatternMessage { pattern, channel, payload } => {
                reply.push(4);
                reply.bulk(b"pmessage");
                reply.bulk(pattern);
                reply.bulk(channel);
                reply.bulk(payload);
            }
            Push::Line(line) => reply.simple(line),
        }
    }

    fn memory(&self) -> usize {
        64 + match self {
            Push::Message { payload, .. } | Push::PatternMessage { payload, .. } => payload.len(),
            Push::Line(line) => line.len(),
        }
    }
}

impl Client {
    pub(crate) fn new(id: u64, origin: Origin, now_ms: u64, waker: Waker) -> Client {
        Client {
            id,
            origin,
            created_ms: now_ms,
            active_ms: AtomicU64::new(now_ms),
            db: AtomicUsize::new(0),
            protocol: AtomicU32::new(2),
            channels: AtomicUsize::new(0),
            patterns: AtomicUsize::new(0),
            queued: AtomicI64::new(-1),
            watched: AtomicUsize::new(0),
            queued_memory: AtomicUsize::new(0),
            is_monitor: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
            last_command: AtomicUsize::new(0),
            input_bytes: AtomicUsize::new(0),
            input_free: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            text: Mutex::default(),
            mailbox: Mutex::default(),
            has_mail: AtomicBool::new(false),
            mail_bytes: AtomicUsize::new(0),
            is_killed: AtomicBool::new(false),
            waker,
        }
    }

    /// Puts something into the mailbox and wakes the connection if the mailbox was empty.
    pub fn push(&self, push: Push) {
        self.mail_bytes.fetch_add(push.memory(), Ordering::Relaxed);
        let mut mailbox = self.mailbox.lock();
        let was_empty = mailbox.is_empty();
        mailbox.push_back(push);
        self.has_mail.store(true, Ordering::Release);
        drop(mailbox);
        if was_empty {
            self.waker.wake_by_ref();
        }
    }

    /// Whether the mailbox holds anything.
    #[inline]
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Empties the mailbox.
    pub fn take_mail(&self) -> VecDeque<Push> {
        let mut mailbox = self.mailbox.lock();
        self.has_mail.store(false, Ordering::Release);
        let mail = std::mem::take(&mut *mailbox);
        drop(mailbox);
        self.mail_bytes.fetch_sub(mail.iter().map(Push::memory).sum(), Ordering::Relaxed);
        mail
    }

    /// Bytes waiting in the mailbox, which count towards the connection's output limits.
    pub fn mail_bytes(&self) -> usize {
        self.mail_bytes.load(Ordering::Relaxed)
    }

    /// Tells the connection to close.
    pub fn kill(&self) {
        self.is_killed.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }

    /// Whether the connection was told to close.
    #[inline]
    pub fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::Acquire)
    }

    /// Wakes the connection's event loop or thread.
    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Whether it is subscribed to anything.
    #[inline]
    pub fn is_subscriber(&self) -> bool {
        self.channels.load(Ordering::Relaxed) + self.patterns.load(Ordering::Relaxed) > 0
    }
}

/// What all connections come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many there are.
    pub connected: usize,
    /// How many wait for something.
    pub blocked: usize,
    /// How many are subscribed to something.
    pub subscribers: usize,
    /// How many watch keys.
    pub watching: usize,
    /// How many keys are watched, those of different connections counted each.
    pub watched_keys: usize,
    /// Most bytes received and not yet executed, of one connection.
    pub largest_input: usize,
    /// Most bytes of replies not yet sent, of one connection.
    pub largest_output: usize,
    /// Bytes that they take.
    pub memory: usize,
}

/// All connections, by id.
#[derive(Default)]
pub struct Clients {
    by_id: Mutex<BTreeMap<u64, Arc<Client>>>,
    next_id: AtomicU64,
    monitors: Mutex<Vec<Arc<Client>>>,
    monitor_count: AtomicUsize,
}

impl Clients {
    pub(crate) fn add(&self, origin: Origin, now_ms: u64, waker: Waker) -> Arc<Client> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(Client::new(id, origin, now_ms, waker));
        self.by_id.lock().insert(id, Arc::clone(&client));
        client
    }

    /// A client that is in no list.
    pub(crate) fn unlisted(now_ms: u64) -> Arc<Client> {
        Arc::new(Client::new(0, Origin::default(), now_ms, Waker::noop().clone()))
    }

    pub(crate) fn remove(&self, client: &Client) {
        self.by_id.lock().remove(&client.id);
        self.end_monitor(client);
    }

    /// All connections, oldest first.
    pub fn list(&self) -> Vec<Arc<Client>> {
        self.by_id.lock().values().cloned().collect()
    }

    /// The connection with this id.
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.lock().get(&id).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What INFO tells of all connections, in one pass.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for client in self.by_id.lock().values() {
            let load = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
            let watched = load(&client.watched);
            totals.connected += 1;
            totals.blocked += usize::from(client.is_blocked.load(Ordering::Relaxed));
            totals.subscribers += usize::from(client.is_subscriber());
            totals.watching += usize::from(watched > 0);
            totals.watched_keys += watched;
            totals.largest_input = totals.largest_input.max(load(&client.input_bytes));
            totals.largest_output = totals.largest_output.max(load(&client.output_bytes));
            totals.memory += client.memory();
        }
        totals
    }

    /// Lets a connection see all commands from now on.
    pub(crate) fn begin_monitor(&self, client: &Arc<Client>) {
        if client.is_monitor.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut monitors = self.monitors.lock();
        monitors.push(Arc::clone(client));
        self.monitor_count.store(monitors.len(), Ordering::Release);
    }

    /// Ends it.
    pub(crate) fn end_monitor(&self, client: &Client) {
        if !client.is_monitor.swap(false, Ordering::AcqRel) {
            return;
        }
        let mut monitors = self.monitors.lock();
        monitors.retain(|other| other.id != client.id);
        self.monitor_count.store(monitors.len(), Ordering::Release);
    }

    /// Whether anybody wants to see commands; one load per command.
    #[inline]
    pub fn has_monitors(&self) -> bool {
        self.monitor_count.load(Ordering::Acquire) > 0
    }

    /// Sends a line to all monitors.
    pub(crate) fn show(&self, line: &[u8]) {
        let line: Arc<[u8]> = line.into();
        for monitor in self.monitors.lock().iter() {
            monitor.push(Push::Line(Arc::clone(&line)));
        }
    }
}

/// The kinds of connections that CLIENT LIST and KILL tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ordinary ones, MONITOR included.
    Normal,
    /// Our primary.
    Primary,
    /// A replica of ours.
    Replica,
    /// Subscribers.
    PubSub,
}

impl Kind {
    /// The kind of this name, in whatever case.
    pub fn named(name: &[u8]) -> Option<Kind> {
        const NAMES: &[(&str, Kind)] = &[
            ("normal", Kind::Normal),
            ("master", Kind::Primary),
            ("slave", Kind::Replica),
            ("replica", Kind::Replica),
            ("pubsub", Kind::PubSub),
        ];
        NAMES.iter().find(|(word, _)| name.eq_ignore_ascii_case(word.as_bytes())).map(|(_, kind)| *kind)
    }
}

impl Client {
    /// What kind of connection it is.
    pub fn kind(&self) -> Kind {
        if self.is_subscriber() { Kind::PubSub } else { Kind::Normal }
    }

    /// Bytes that it takes: itself, its buffers, its queued commands.
    pub fn memory(&self) -> usize {
        let load = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        size_of::<Client>()
            + load(&self.input_bytes)
            + load(&self.input_free)
            + load(&self.output_bytes)
            + load(&self.queued_memory)
            + self.mail_bytes()
    }

    /// The line of CLIENT LIST, without its end.
    pub fn describe(&self, now_ms: u64) -> String {
        let seconds_since = |then_ms: u64| now_ms.saturating_sub(then_ms) / 1000;
        let text = self.text.lock().clone();
        let input = self.input_bytes.load(Ordering::Relaxed);
        let input_free = self.input_free.load(Ordering::Relaxed);
        let output = self.output_bytes.load(Ordering::Relaxed) + self.mail_bytes();
        let queued_memory = self.queued_memory.load(Ordering::Relaxed);
        let fields = [
            ("id", self.id.to_string()),
            ("addr", self.origin.address.clone()),
            ("laddr", self.origin.local_address.clone()),
            ("fd", self.origin.fd.to_string()),
            ("name", text.name),
            ("age", seconds_since(self.created_ms).to_string()),
            ("idle", seconds_since(self.active_ms.load(Ordering::Relaxed)).to_string()),
            ("flags", self.flags()),
            ("db", self.db.load(Ordering::Relaxed).to_string()),
            ("sub", self.channels.load(Ordering::Relaxed).to_string()),
            ("psub", self.patterns.load(Ordering::Relaxed).to_string()),
            ("ssub", "0".into()),
            ("multi", self.queued.load(Ordering::Relaxed).to_string()),
            ("watch", self.watched.load(Ordering::Relaxed).to_string()),
            ("qbuf", input.to_string()),
            ("qbuf-free", input_free.to_string()),
            ("argv-mem", "0".into()),
            ("multi-mem", queued_memory.to_string()),
            ("rbs", "0".into()),
            ("rbp", "0".into()),
            ("obl", output.to_string()),
            ("oll", "0".into()),
            ("omem", output.to_string()),
            ("tot-mem", self.memory().to_string()),
            ("events", if output > 0 { "rw" } else { "r" }.into()),
            ("cmd", self.last_command_name()),
            ("user", "default".into()),
            ("redir", "-1".into()),
            ("resp", self.protocol.load(Ordering::Relaxed).to_string()),
            ("lib-name", text.library),
            ("lib-ver", text.library_version),
        ];
        let words: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        words.join(" ")
    }

    fn flags(&self) -> String {
        let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let flags: String = [
            (is(&self.is_monitor), 'O'),
            (self.is_subscriber(), 'P'),
            (self.queued.load(Ordering::Relaxed) >= 0, 'x'),
            (is(&self.is_blocked), 'b'),
            (self.is_killed(), 'A'),
            (self.origin.is_unix, 'U'),
            (is(&self.no_evict), 'e'),
            (is(&self.no_touch), 'T'),
        ]
        .iter()
        .filter_map(|(is_set, letter)| is_set.then_some(*letter))
        .collect();
        if flags.is_empty() { "N".into() } else { flags }
    }

    fn last_command_name(&self) -> String {
        let number = self.last_command.load(Ordering::Relaxed);
        let command = number.checked_sub(1).and_then(|id| crate::registry::all().nth(id));
        command.map_or("NULL".into(), |registered| registered.full_name.clone())
    }
}
