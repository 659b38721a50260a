//! Three processes with near caches on one backend, in any interleaving: nobody reads what is too old.
//!
//! Everything that happens in the real cache between two await points is one step here: a load begins, reads the source,
//! stores; a change reaches the source, the backend, its own process; a message arrives, late or not at all; a process asks
//! what has changed. Steps follow each other at random. The engine, the near cache, the tokens and the follower of the feed
//! are the real ones; time stands still between steps.

use crate::entry::Kept;
use crate::feed::Follower;
use crate::local::{Local, Token};
use crate::observe::Observer;
use crate::store::{Change, Drop, Epoch, Head, Record, State, Store, Sweep, Turn};
use futures_util::FutureExt;
use larder::time::Clock;
use larder_client::{Larder, Notice, Subscription};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const KEYS: usize = 4;
const NODES: usize = 3;
const SUSPECT_MS: u64 = 1000;
const LIFE_MS: u64 = 20_000;

struct StillClock(AtomicU64);

impl Clock for StillClock {
    fn unix_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed) * 1000
    }

    fn elapsed_us(&self) -> u64 {
        self.unix_us()
    }
}

struct Node {
    store: Store,
    local: Local<u64>,
    follower: Follower,
    stats: Observer,
    /// What is on its way: when it arrives, and what it is.
    inbox: VecDeque<(u64, Vec<u8>)>,
    is_up: bool,
    /// Whether a message was lost since it last asked.
    has_lost: bool,
}

/// A load under way.
struct Load {
    node: usize,
    key: usize,
    token: Token,
    lease: [u8; 8],
    epoch: Epoch,
    /// What it has read from the source, if it has.
    read: Option<u64>,
}

/// A change under way: it has reached its own process, not yet the backend.
struct Pending {
    node: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Remove(usize),
    Expire(usize),
    Set(usize),
    Tag(usize),
    Clear,
    Update(usize, [u8; 8]),
}

struct World {
    random: fastrand::Rng,
    clock: Arc<StillClock>,
    start: Instant,
    nodes: Vec<Node>,
    wire: Subscription,
    loads: Vec<Load>,
    pending: Vec<Pending>,
    source: [u64; KEYS],
    /// Of each key: from when on which version is the oldest that may be seen.
    floors: [Vec<(u64, u64)>; KEYS],
    near_reads: u64,
    backend_reads: u64,
}

fn name(key: usize) -> [u8; 1] {
    [b'a' + key as u8]
}

fn tag_of(key: usize) -> Vec<u8> {
    vec![b't', (key % 2) as u8]
}

impl World {
    async fn new(seed: u64) -> World {
        let clock = Arc::new(StillClock(AtomicU64::new(1_700_000_000_000)));
        let options = larder::Options {
            threads: 1,
            seed,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ..larder::Options::default()
        };
        let engine = Larder::embedded(larder::Larder::on(larder::Engine::open(options)));
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let store = Store::new(engine.clone(), "sim", 1, 6);
            let epoch = store.sweep(Sweep::Remove, &[], Duration::from_secs(1)).await.unwrap()[0];
            let (local, follower) = (Local::new(1 << 20), Follower::new(Some(epoch)));
            let (stats, inbox) = (Observer::new("simulation"), VecDeque::new());
            nodes.push(Node { store, local, follower, stats, inbox, is_up: true, has_lost: false });
        }
        let wire = nodes[0].store.subscribe().await.unwrap();
        let start = Instant::now();
        nodes.iter().for_each(|node| node.local.trust_until(start + Duration::from_millis(SUSPECT_MS)));
        let floors = std::array::from_fn(|_| vec![(0, 0)]);
        World {
            random: fastrand::Rng::with_seed(seed),
            clock,
            start,
            nodes,
            wire,
            loads: Vec::new(),
            pending: Vec::new(),
            source: [0; KEYS],
            floors,
            near_reads: 0,
            backend_reads: 0,
        }
    }

    /// Milliseconds since the beginning.
    fn ms(&self) -> u64 {
        self.clock.0.load(Ordering::Relaxed) - 1_700_000_000_000
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.ms())
    }

    async fn step(&mut self) {
        let node = self.random.usize(..NODES);
        let key = self.random.usize(..KEYS);
        match self.random.u32(..100) {
            0..36 => self.read(node, key).await,
            36..48 => self.begin_load(node, key).await,
            48..56 => self.read_source(),
            56..68 => self.end_load().await,
            68..72 => self.begin_change(node, key).await,
            72..77 => self.end_change().await,
            77..88 => self.deliver(node),
            88..95 => self.ask(node).await,
            95..96 => {
                let node = &mut self.nodes[node];
                node.is_up = !node.is_up;
                node.has_lost |= !node.inbox.is_empty() || !node.is_up;
                node.inbox.clear();
            }
            _ => {
                let ms = if self.random.u32(..40) == 0 { 3000 } else { self.random.u64(..100) };
                self.clock.0.fetch_add(ms, Ordering::Relaxed);
            }
        }
        self.carry();
    }

    /// Puts what was published on its way to those who listen.
    fn carry(&mut self) {
        while let Some(Some(Notice::Message { payload, .. })) = self.wire.next().now_or_never() {
            let now = self.ms();
            for node in &mut self.nodes {
                if !node.is_up || self.random.u32(..50) == 0 {
                    node.has_lost = true;
                    continue;
                }
                let last = node.inbox.back().map_or(now, |(at, _)| *at);
                node.inbox.push_back((last.max(now + self.random.u64(..40)), payload.clone()));
            }
        }
    }

    /// The oldest version that may be seen by somebody who knows of all changes until then (`None`: of none).
    fn floor(&self, key: usize, until_ms: Option<u64>) -> u64 {
        let known = |at: u64| until_ms.is_some_and(|until_ms| at <= until_ms);
        self.floors[key].iter().rev().find(|(at, _)| known(*at)).map_or(0, |(_, version)| *version)
    }

    async fn read(&mut self, node: usize, key: usize) {
        let (now, ms) = (self.now(), self.ms());
        let reader = &self.nodes[node];
        if let Some(kept) = reader.local.get(&name(key), now) {
            self.near_reads += 1;
            let version = kept.value.unwrap();
            let is_informed = reader.is_up && !reader.has_lost && reader.inbox.is_empty();
            // In its first second nobody needs to know what has changed since the beginning.
            let until = if is_informed { Some(ms) } else { ms.checked_sub(SUSPECT_MS) };
            // The promise is twice that time; what is kept is once.
            assert!(version >= self.floor(key, until), "near: {version} of {:?}", self.floors[key]);
            return;
        }
        let token = reader.local.token(&name(key));
        let look = reader.store.get(&name(key)).await.unwrap();
        if look.state != State::Fresh {
            return;
        }
        self.backend_reads += 1;
        let head = Head::parse(&look.bytes).unwrap();
        let version = u64::from_be_bytes(look.bytes[head.end..].try_into().unwrap());
        assert!(version >= self.floor(key, Some(ms)), "backend: {version} of {:?}", self.floors[key]);
        let kept = kept(key, version, token, now + look.left);
        reader.local.install(token, &kept);
    }

    async fn begin_load(&mut self, node: usize, key: usize) {
        let lease = self.random.u64(..).to_be_bytes().map(|byte| byte | 0x80);
        let loader = &self.nodes[node];
        let token = loader.local.token(&name(key));
        let is_early = self.random.bool();
        let leased = loader.store.lease(&name(key), &lease, Duration::from_secs(5), is_early).await.unwrap();
        if let (Turn::Ours, Some(epoch)) = (leased.turn, leased.look.epoch) {
            self.loads.push(Load { node, key, token, lease, epoch, read: None });
        }
    }

    fn read_source(&mut self) {
        if !self.loads.is_empty() {
            let at = self.random.usize(..self.loads.len());
            let key = self.loads[at].key;
            self.loads[at].read.get_or_insert(self.source[key]);
        }
    }

    async fn end_load(&mut self) {
        if self.loads.is_empty() {
            return;
        }
        let load = self.loads.swap_remove(self.random.usize(..self.loads.len()));
        let Some(version) = load.read else { return };
        let loader = &self.nodes[load.node];
        let (tags, data) = ([tag_of(load.key)], version.to_be_bytes());
        let life = Duration::from_millis(LIFE_MS);
        let record = Record { life, stale: Duration::ZERO, tags: &tags, data: &data };
        let is_filled = loader.store.fill(&name(load.key), &load.lease, load.epoch, &record).await.unwrap();
        if is_filled {
            let kept = kept(load.key, version, load.token, self.now() + life);
            loader.local.install(load.token, &kept);
        }
    }

    /// The change reaches the source and its own process; an update tells the backend as well.
    async fn begin_change(&mut self, node: usize, key: usize) {
        let kind = match self.random.u32(..12) {
            0..3 => Kind::Remove(key),
            3..5 => Kind::Expire(key),
            5..7 => Kind::Set(key),
            7..9 => Kind::Tag(key % 2),
            9 => Kind::Clear,
            _ => Kind::Update(key, self.random.u64(..).to_be_bytes()),
        };
        let Node { store, local, .. } = &self.nodes[node];
        match kind {
            Kind::Remove(key) | Kind::Expire(key) => {
                self.source[key] += 1;
                local.change(&name(key));
            }
            // Its value is that of the source when it reaches the backend.
            Kind::Set(_) => {}
            Kind::Tag(tag) => {
                (0..KEYS).filter(|key| key % 2 == tag).for_each(|key| self.source[key] += 1);
                local.sweep_tag(&tag_of(tag));
            }
            Kind::Clear => {
                self.source.iter_mut().for_each(|version| *version += 1);
                local.sweep_all();
            }
            Kind::Update(key, guard) => {
                local.change(&name(key));
                let begin = Drop::Begin(&guard, Duration::from_secs(3600));
                store.drop(&name(key), begin).await.unwrap();
                local.change(&name(key));
                self.source[key] += 1;
            }
        }
        self.pending.push(Pending { node, kind });
    }

    /// The change reaches the backend, and returns.
    async fn end_change(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let Pending { node, kind } = self.pending.swap_remove(self.random.usize(..self.pending.len()));
        let Node { store, local, .. } = &self.nodes[node];
        let keys: Vec<usize> = match kind {
            Kind::Remove(key) | Kind::Expire(key) => {
                let how = if matches!(kind, Kind::Remove(_)) { Drop::Remove } else { Drop::Expire };
                store.drop(&name(key), how).await.unwrap();
                local.change(&name(key));
                vec![key]
            }
            Kind::Set(key) => {
                self.source[key] += 1;
                let token = local.change(&name(key));
                let (tags, data) = ([tag_of(key)], self.source[key].to_be_bytes());
                let life = Duration::from_millis(LIFE_MS);
                let record = Record { life, stale: Duration::ZERO, tags: &tags, data: &data };
                let (_, is_stored) = store.set(&name(key), &record).await.unwrap();
                match is_stored {
                    true => {
                        let until = self.start + Duration::from_millis(self.ms()) + life;
                        local.changed_to(token, &kept(key, self.source[key], token, until));
                    }
                    false => _ = local.change(&name(key)),
                }
                vec![key]
            }
            Kind::Tag(tag) => {
                store.sweep(Sweep::Remove, &[tag_of(tag)], Duration::from_secs(60)).await.unwrap();
                local.sweep_tag(&tag_of(tag));
                (0..KEYS).filter(|key| key % 2 == tag).collect()
            }
            Kind::Clear => {
                store.sweep(Sweep::Clear, &[], Duration::from_secs(60)).await.unwrap();
                local.sweep_all();
                (0..KEYS).collect()
            }
            Kind::Update(key, guard) => {
                local.change(&name(key));
                store.drop(&name(key), Drop::End(&guard)).await.unwrap();
                local.change(&name(key));
                vec![key]
            }
        };
        let ms = self.ms();
        for key in keys {
            // What is loaded from now on read the source later than this.
            self.floors[key].push((ms, self.source[key]));
            if self.floors[key].len() > 1000 {
                self.floors[key].drain(..500);
            }
        }
    }

    fn deliver(&mut self, node: usize) {
        let ms = self.ms();
        let Node { store, local, follower, stats, inbox, has_lost, .. } = &mut self.nodes[node];
        if inbox.front().is_some_and(|(at, _)| *at <= ms) {
            let (_, payload) = inbox.pop_front().unwrap();
            let (era, record) = payload.split_first_chunk::<8>().unwrap();
            let change = Change::parse(record).unwrap();
            // One that shows a gap makes the real follower ask at once; here that may come later.
            *has_lost |= !follower.hear(*era, &change, store.node, local, stats);
        }
    }

    async fn ask(&mut self, node: usize) {
        let until = self.now() + Duration::from_millis(SUSPECT_MS);
        let Node { store, local, follower, stats, has_lost, .. } = &mut self.nodes[node];
        let since = store.since(0, follower.seq()).await.unwrap();
        follower.catch_up(since.epoch, since.changes.as_deref(), store.node, local, stats);
        local.trust_until(until);
        *has_lost = false;
    }
}

fn kept(key: usize, version: u64, token: Token, fresh_until: Instant) -> Arc<Kept<u64>> {
    Arc::new(Kept {
        value: Some(version),
        key: name(key).as_slice().into(),
        tags: vec![tag_of(key)],
        etag: None,
        life: Duration::from_millis(LIFE_MS),
        cost: Duration::ZERO,
        fresh_until,
        at: token.at,
        bytes: 100,
    })
}

/// `LARDER_CACHE_STEPS` of them, in worlds of ten thousand each.
#[tokio::test]
async fn nobody_reads_what_is_too_old_in_any_interleaving() {
    let steps = std::env::var("LARDER_CACHE_STEPS").ok().and_then(|text| text.parse().ok());
    let steps: u64 = steps.unwrap_or(40_000);
    let first = std::env::var("LARDER_SEED").ok().and_then(|text| text.parse().ok());
    let first: u64 = first.unwrap_or_else(|| fastrand::u64(..));
    let (mut near, mut backend) = (0, 0);
    for world in 0..steps.div_ceil(10_000) {
        let seed = first.wrapping_add(world);
        let mut world = World::new(seed).await;
        let run = std::panic::AssertUnwindSafe(async {
            for _ in 0..10_000 {
                world.step().await;
            }
        });
        if let Err(panic) = run.catch_unwind().await {
            eprintln!("LARDER_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
        near += world.near_reads;
        backend += world.backend_reads;
    }
    eprintln!("measured: {steps} steps, {near} reads of near caches, {backend} of the backend");
    assert!(near > steps / 50 && backend > steps / 100, "it reads something: {near}, {backend}");
}
