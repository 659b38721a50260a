//! The engine: everything that all threads share.

use crate::client::{Client, Clients, Origin};
use crate::config::Config;
use crate::effects::feed::{EventListener, Feed};
use crate::effects::log::{Log, LogReader};
use crate::effects::{Freer, Garbage};
use crate::exec::Job;
use crate::host::Host;
use crate::keyspace::{Ledger, Shard, Sweep, Tidying, WatchFlag, WriteCtx};
use crate::lane::Lane;
use crate::pause::Pause;
use crate::persist::aof::Aof;
use crate::persist::loading::LastLoad;
use crate::persist::progress::Progress;
use crate::persist::saver::Saver;
use crate::persist::store::SaveState;
use crate::pubsub::PubSub;
use crate::registry::Registered;
use crate::session::{Parking, Session};
use crate::slowlog::Slowlog;
use crate::stats::Stats;
use crate::stats::census::Census;
use crate::time::{Clock, SystemClock};
use larder_structures::hash;
use larder_structures::sync::{Hold, Shards, WaitList};
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;

/// How an engine is opened.
pub struct Options {
    /// Threads that will run commands at the same time; decides the number of shards.
    pub threads: usize,
    /// The parameters.
    pub config: Config,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// Where randomness starts; every run with the same seed draws the same numbers.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        let clock = SystemClock::default();
        let seed = clock.unix_us() ^ u64::from(std::process::id()) << 40;
        Options {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            config: Config::default(),
            clock: Arc::new(clock),
            seed,
        }
    }
}

/// The engine; see the crate's front page. Shared by all threads that use it.
pub struct Engine {
    /// The engine itself, for those of its threads that outlive the call that starts them.
    pub(crate) this: Weak<Engine>,
    pub(crate) shards: Shards<Shard>,
    /// The engine's parameters.
    pub config: Config,
    /// Logical to physical database; changed by SWAPDB behind the gate.
    physical: Box<[AtomicU8]>,
    /// Bytes of entries and values, but for what shards have not reported yet.
    pub(crate) memory: Apart<AtomicI64>,
    /// Bytes of the tables of keys, as shards have reported them.
    pub(crate) tables: AtomicI64,
    pub(crate) feed: Feed,
    pub(crate) log: Arc<Log>,
    pub(crate) aof: Arc<Aof>,
    /// All connections.
    pub clients: Clients,
    /// Who listens to what.
    pub pubsub: PubSub,
    /// Counters.
    pub stats: Stats,
    pub(crate) unpinned: Arc<WaitList>,
    pub(crate) pinned_jobs: AtomicUsize,
    pub(crate) clock: Arc<dyn Clock>,
    host: OnceLock<Arc<dyn Host>>,
    random: Apart<AtomicU64>,
    pub(crate) freer: Freer,
    /// Commands that took long.
    pub slowlog: Slowlog,
    pub(crate) pause: Pause,
    /// What is known about saving.
    pub saves: SaveState,
    pub(crate) saver: Saver,
    pub(crate) last_load: LastLoad,
    pub(crate) progress: Progress,
    pub(crate) sweep: Sweep,
    pub(crate) tidying: Tidying,
}

/// Something that all threads write now and then, on cache lines of its own: what lies beside it is read by every command.
#[repr(align(128))]
pub(crate) struct Apart<T>(T);

impl<T> std::ops::Deref for Apart<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// What became of a request.
pub enum Step {
    /// It was executed; its reply is in the output.
    Done,
    /// The same, and the connection is to be closed once the reply is sent.
    Close,
    /// It cannot run yet. The connection's waker is called when it is worth trying the same request again.
    Parked,
    /// It would take long: run this job on another thread with [`Engine::run_job`], and send what that returns as the
    /// reply. Nothing else of this connection may be executed before.
    Long(Box<Job>),
}

/// What a handler works with that is about the connection or the server.
pub struct ServerCtx<'c, 'h> {
    /// The engine.
    pub engine: &'c Engine,
    pub(crate) lane: &'c mut Lane,
    /// The connection's state.
    pub session: &'c mut Session,
    /// Set inside EXEC, which holds every shard that its commands need.
    pub(crate) hold: Option<&'c mut Hold<'h, Shard>>,
    /// The command being run.
    pub registered: &'static Registered,
    /// What becomes of the request when the handler succeeds.
    pub step: Step,
}

impl Engine {
    /// Opens an engine that keeps nothing on disk.
    pub fn open(options: Options) -> Arc<Engine> {
        let shards = match options.threads {
            0..=2 => 64,
            3..=8 => 256,
            _ => 1024,
        };
        let databases = options.config.databases;
        let saves = SaveState::default();
        saves.last_save_s.store(options.clock.unix_us() / 1_000_000, Ordering::Relaxed);
        Arc::new_cyclic(|this| Engine {
            this: this.clone(),
            shards: Shards::new((0..shards).map(|index| Shard::new(index, shards))),
            config: options.config,
            physical: (0..databases).map(|db| AtomicU8::new(db as u8)).collect(),
            memory: Apart(AtomicI64::new(0)),
            tables: AtomicI64::new(0),
            feed: Feed::default(),
            log: Arc::default(),
            aof: Arc::default(),
            clients: Clients::default(),
            pubsub: PubSub::default(),
            stats: Stats::new(options.seed, options.clock.elapsed_us()),
            unpinned: Arc::default(),
            pinned_jobs: AtomicUsize::new(0),
            clock: options.clock,
            host: OnceLock::new(),
            random: Apart(AtomicU64::new(options.seed)),
            freer: Freer::default(),
            slowlog: Slowlog::default(),
            pause: Pause::default(),
            saves,
            saver: Saver::default(),
            last_load: LastLoad::default(),
            progress: Progress::default(),
            sweep: Sweep::default(),
            tidying: Tidying::default(),
        })
    }

    /// Says which house the engine lives in. The first call counts.
    pub fn set_host(&self, host: Arc<dyn Host>) {
        let _first_call_counts = self.host.set(host);
    }

    /// The house, if it has one.
    pub fn host(&self) -> Option<&Arc<dyn Host>> {
        self.host.get()
    }

    /// A lane for a thread that runs commands. With `hands_off`, long commands are returned as [`Step::Long`].
    pub fn lane(&self, hands_off: bool) -> Lane {
        Lane::new(Arc::clone(&self.clock), self.stats.lane(), Arc::clone(&self.log), hands_off)
    }

    /// A new connection. `waker` is called when there is mail, when it is to close, or when a parked request may run.
    pub fn connect(self: &Arc<Self>, origin: Origin, waker: Waker) -> Session {
        let now_ms = self.clock.unix_us() / 1000;
        let client = self.clients.add(origin, now_ms, waker);
        self.stats.connections.fetch_add(1, Ordering::Relaxed);
        let needs_password = !self.config.password.read().is_empty();
        Session::new(Arc::clone(self), client, !needs_password)
    }

    /// The session of whoever runs the commands of a file; nobody sees it.
    pub(crate) fn connect_loader(self: &Arc<Self>) -> Session {
        let client = Clients::unlisted(self.clock.unix_us() / 1000);
        let mut session = Session::new(Arc::clone(self), client, true);
        session.is_loader = true;
        session
    }

    pub(crate) fn disconnect(&self, session: &mut Session) {
        for channel in std::mem::take(&mut session.channels) {
            self.pubsub.unsubscribe(&channel, &session.client);
        }
        for pattern in std::mem::take(&mut session.patterns) {
            self.pubsub.unsubscribe_pattern(&pattern, &session.client);
        }
        self.forget_watches(session);
        self.stop_waiting(session);
        self.clients.remove(&session.client);
    }

    /// Ends all WATCHes of a session.
    pub(crate) fn forget_watches(&self, session: &mut Session) {
        for (db, key) in std::mem::take(&mut session.watched) {
            let index = hash::shard(hash::of(&key), self.shards.len());
            self.shards.one(index).shard_mut(index).watchers.unwatch(db, &key, &session.watch_flag);
        }
        self.renew_watch_flag(session);
    }

    /// A flag is raised once; the next WATCH needs a new one.
    pub(crate) fn renew_watch_flag(&self, session: &mut Session) {
        if session.watch_flag.is_raised() {
            session.watch_flag = Arc::new(WatchFlag::default());
        }
        session.client.watched.store(0, Ordering::Relaxed);
    }

    /// Registers the waker of a session that meets a pin; it then looks again whether it does.
    pub(crate) fn wait_for_pins(&self, session: &mut Session) {
        self.stop_waiting(session);
        session.parked = Some(Parking::Pins(self.unpinned.register(session.client.waker().clone())));
        session.client.is_blocked.store(true, Ordering::Relaxed);
    }

    /// Ends whatever a session waits for.
    pub(crate) fn stop_waiting(&self, session: &mut Session) {
        match session.parked.take() {
            None => return,
            Some(Parking::Pins(ticket)) => self.unpinned.cancel(ticket),
            Some(Parking::Pause(ticket)) => self.pause.cancel(ticket),
            Some(Parking::Sync(ticket)) => self.forget_sync(ticket),
        }
        session.client.is_blocked.store(false, Ordering::Relaxed);
    }

    /// How many shards there are.
    #[inline]
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The physical number of a logical database.
    #[inline]
    pub(crate) fn physical(&self, db: usize) -> usize {
        usize::from(self.physical[db].load(Ordering::Relaxed))
    }

    /// The logical number of a physical database.
    pub(crate) fn logical(&self, physical: usize) -> Option<usize> {
        (0..self.physical.len()).find(|db| self.physical(*db) == physical)
    }

    /// Exchanges two logical databases; the caller holds the gate.
    pub(crate) fn swap_physical(&self, one: usize, other: usize) {
        let first = self.physical[one].load(Ordering::Relaxed);
        let second = self.physical[other].swap(first, Ordering::Relaxed);
        self.physical[one].store(second, Ordering::Relaxed);
    }

    /// Notes that entries and values of a database take `delta` bytes more.
    #[inline]
    pub(crate) fn account(&self, ledger: &mut Ledger<'_>, delta: i64) {
        const REPORT_FROM: i64 = 4096;
        *ledger.db += delta;
        *ledger.unreported += delta;
        if ledger.unreported.abs() >= REPORT_FROM {
            self.memory.fetch_add(std::mem::take(ledger.unreported), Ordering::Relaxed);
        }
    }

    /// Adds what a shard has not reported yet, and what its tables have grown or shrunk by since the last time. Every
    /// tick does so, and eviction.
    pub(crate) fn report(&self, hold: &mut Hold<'_, Shard>, index: usize) {
        let shard = hold.shard_mut(index);
        let unreported = std::mem::take(&mut shard.unreported);
        if unreported != 0 {
            self.memory.fetch_add(unreported, Ordering::Relaxed);
        }
        let tables = shard.table_bytes() as i64;
        let before = std::mem::replace(&mut shard.reported_tables, tables);
        if tables != before {
            self.tables.fetch_add(tables - before, Ordering::Relaxed);
        }
        // For those who fetch ahead, without the lock.
        let hint = shard.db(0).map_or(0, |db| db.keys.hint());
        if hint != self.shards.hint(index) {
            hold.set_hint(index, hint);
        }
    }

    /// Bytes that `maxmemory` limits: entries, values, tables and connections. Entries and values are known to within a
    /// few KiB per shard, tables and connections as of the last tick; while keys are evicted all of it is up to date.
    pub fn used_memory(&self) -> u64 {
        let tables = self.tables.load(Ordering::Relaxed).max(0) as u64;
        self.data_memory() + tables + self.stats.client_memory.load(Ordering::Relaxed)
    }

    /// Bytes of entries and values, to within a few KiB per shard.
    pub fn data_memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed).max(0) as u64
    }

    /// An unpredictable number (splitmix64 over a counter; Steele, Lea, Flood 2014).
    #[inline]
    pub fn random(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Listens to key events; `capacity` of them are kept for a slow listener.
    pub fn listen(&self, capacity: usize) -> EventListener {
        // Behind the gate, so that no command is under way that has seen nobody listen.
        let _gate = self.shards.all();
        self.feed.listen(capacity)
    }

    /// Reads the log from here on.
    pub fn read_log(&self) -> LogReader {
        // Behind the gate, as above.
        let _gate = self.shards.all();
        self.log.reader()
    }

    /// Whether a panic under a lock has made the data untrustworthy.
    #[inline]
    pub fn is_poisoned(&self) -> bool {
        self.shards.is_poisoned()
    }

    /// Agrees with shards just taken on what time it is: the latest that any of them, or this lane, has seen. A clock
    /// that is set back, or a lane that began its turn earlier than another, thus never sees again what has expired.
    #[inline(always)]
    pub(crate) fn agree_on_time(&self, lane: &mut Lane, hold: &mut Hold<'_, Shard>) {
        if self.is_loading() {
            // Whoever loads has a time of its own, and nobody else may change anything.
            return;
        }
        match hold.single_mut() {
            Some(shard) => agree_with(lane, shard),
            None => Self::agree_with_several(lane, hold),
        }
    }

    #[cold]
    fn agree_with_several(lane: &mut Lane, hold: &mut Hold<'_, Shard>) {
        let mut latest_ms = lane.now_ms();
        hold.for_each(|shard| {
            latest_ms = latest_ms.max(shard.now_ms);
            lane.seen = lane.seen.max(shard.last_write);
        });
        if latest_ms > lane.now_ms() {
            lane.set_now_us(latest_ms * 1000);
        }
        hold.for_each(|shard| {
            if shard.now_ms != latest_ms {
                shard.now_ms = latest_ms;
            }
        });
    }

    /// Frees what commands left behind; no lock is held.
    #[inline]
    pub(crate) fn free(&self, garbage: &mut Vec<Garbage>) {
        if !garbage.is_empty() {
            self.freer.free(&self.config, garbage);
        }
    }

    /// How many keys a database has. Takes locks; a handler, which may run within EXEC, goes through
    /// [`ServerCtx::with_shard`].
    pub fn len(&self, db: usize) -> usize {
        self.sum_shards(|shard, physical| shard.db(physical).map_or(0, |db| db.keys.len()), db)
    }

    /// How many keys of a database have an expiry; otherwise like [`Engine::len`].
    pub fn len_expiring(&self, db: usize) -> usize {
        self.sum_shards(|shard, physical| shard.db(physical).map_or(0, |db| db.keys.with_expiry()), db)
    }

    fn sum_shards(&self, count: impl Fn(&Shard, usize) -> usize, db: usize) -> usize {
        // Once, so that an exchange of databases meanwhile does not give half of one and half of the other.
        let physical = self.physical(db);
        (0..self.shards.len()).map(|index| count(self.shards.one(index).shard(index), physical)).sum()
    }
}

/// Agrees with a shard just taken on what time it is: the later of what it and this lane have seen. A clock that is set
/// back, or a lane that began its turn earlier than another, thus never sees again what has expired.
#[inline]
pub(crate) fn agree_with(lane: &mut Lane, shard: &mut Shard) {
    lane.seen = lane.seen.max(shard.last_write);
    match shard.now_ms.cmp(&lane.now_ms()) {
        std::cmp::Ordering::Less => shard.now_ms = lane.now_ms(),
        std::cmp::Ordering::Equal => {}
        std::cmp::Ordering::Greater => lane.set_now_us(shard.now_ms * 1000),
    }
}

impl ServerCtx<'_, '_> {
    /// Does something with one shard: within a transaction under its hold, otherwise under the shard's lock.
    pub(crate) fn with_shard<R>(&mut self, index: usize, work: impl FnOnce(&mut Shard) -> R) -> R {
        match &mut self.hold {
            Some(hold) => work(hold.shard_mut(index)),
            None => {
                let mut hold = self.engine.shards.one(index);
                self.engine.agree_on_time(self.lane, &mut hold);
                work(hold.shard_mut(index))
            }
        }
    }

    /// Does something with the keys of one shard, in the connection's database, and commits what that causes: keys
    /// that turn out to be expired may be deleted, and nothing else may change. Within a transaction this is part of
    /// its commit.
    pub(crate) fn with_keys<R>(&mut self, index: usize, work: impl FnOnce(&mut WriteCtx<'_, '_>) -> R) -> R {
        let (engine, db) = (self.engine, self.session.db);
        if let Some(hold) = &mut self.hold {
            return work(&mut engine.writer(self.lane, hold, db));
        }
        let mut hold = engine.shards.one(index);
        engine.agree_on_time(self.lane, &mut hold);
        engine.begin_effects(self.lane);
        let result = work(&mut engine.writer(self.lane, &mut hold, db));
        engine.commit_removals(self.lane, &mut hold);
        drop(hold);
        engine.free(&mut self.lane.effects.garbage);
        result
    }

    /// Walks all shards and counts what they hold.
    pub(crate) fn census(&mut self) -> Census {
        let mut census = Census::default();
        let (random, now_ms) = (self.engine.random(), self.now_ms());
        for index in 0..self.engine.shard_count() {
            self.with_shard(index, |shard| census.add(shard, random, now_ms));
        }
        census
    }

    /// The connection in the registry.
    pub fn client(&self) -> &Arc<Client> {
        &self.session.client
    }

    /// The time of this command, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.lane.now_ms()
    }
}
