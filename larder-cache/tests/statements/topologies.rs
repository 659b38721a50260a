//! Clusters and sentinels: the other statements on a cluster, E8 and B7.

use crate::support::{Down, MS, SECOND, until};
use larder_cache::{Cache, Policy};
use larder_client::Larder;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::topology::{Cluster, Sentinels};

/// Those that need a server of their own, or look at its keys, are not among them.
const STATEMENTS: &[&str] = &[
    "batch::",
    "coalescing::a1_",
    "coalescing::a2_one_process",
    "coalescing::a3_",
    "coalescing::a9_",
    "coherence::e5_",
    "freshness::",
    "install::b1_",
    "install::b2_",
    "tags::a_tag",
    "writes::",
    "write_back::g2_",
    "write_back::g3_",
    "write_back::g6_closing",
    "write_back::g7_",
];

#[test]
fn the_statements_hold_on_a_cluster() {
    let Some(cluster) = Cluster::start_or_skip() else { return };
    let output = std::process::Command::new(std::env::current_exe().expect("we run"))
        .args(STATEMENTS)
        .args(["--test-threads", "2"])
        .env("LARDER_CACHE_URL", cluster.url())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let passed = said.lines().filter(|line| line.ends_with("... ok")).count();
    assert!(passed >= 25, "{said}");
}

const KEYS: usize = 24;
const TTL: Duration = Duration::from_secs(2);
/// No load takes longer from its read of the source to its end.
const LOAD_MAX: Duration = Duration::from_secs(2);

/// A source whose values only go up, and what of it may still be read.
struct World {
    versions: [AtomicU64; KEYS],
    /// Of each key: from when on which version is the least that may be read.
    floors: [parking_lot::Mutex<Vec<(Instant, u64)>>; KEYS],
    reads: AtomicU32,
    refusals: AtomicU32,
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            versions: std::array::from_fn(|_| AtomicU64::new(1)),
            floors: std::array::from_fn(|_| parking_lot::Mutex::default()),
            reads: AtomicU32::new(0),
            refusals: AtomicU32::new(0),
        })
    }

    fn floor(&self, key: usize, at: Instant) -> u64 {
        let floors = self.floors[key].lock();
        floors.iter().rev().find(|(from, _)| *from <= at).map_or(0, |(_, version)| *version)
    }

    async fn read(self: &Arc<Self>, cache: &Cache<usize, u64>, key: usize, may_be_lost: bool) {
        let (began, source) = (Instant::now(), Arc::clone(self));
        let load = move |_| async move { Ok::<_, Down>(source.versions[key].load(Ordering::SeqCst)) };
        let value = cache.get_or_load(&key, load).await;
        let value = *value.expect("the source answers, whatever the backend does");
        // What a fail-over has lost of an invalidation is made up for by the end of an entry, and of loads under way then.
        let known = if may_be_lost { began.checked_sub(TTL + LOAD_MAX) } else { Some(began) };
        let floor = known.map_or(0, |known| self.floor(key, known));
        assert!(value >= floor, "key {key}: {value} after {floor}");
        self.reads.fetch_add(1, Ordering::SeqCst);
    }

    async fn change(&self, cache: &Cache<usize, u64>, key: usize) {
        let version = self.versions[key].fetch_add(1, Ordering::SeqCst) + 1;
        match cache.remove(&key).await {
            Ok(()) => self.floors[key].lock().push((Instant::now(), version)),
            Err(_) => _ = self.refusals.fetch_add(1, Ordering::SeqCst),
        }
    }
}

async fn cache(url: &str) -> Cache<usize, u64> {
    let larder = Larder::open(url).await.expect("it is there");
    let rule = Policy::ttl(TTL).load_max(LOAD_MAX).backend_timeout(MS * 500).error_backoff(Duration::ZERO);
    Cache::builder(&larder, "world").policy(rule).build().await.expect("the settings make sense")
}

/// Reads and changes from three processes while `disaster` happens, and until all works again without a restart.
async fn live_through(what: &str, url: &str, disaster: impl FnOnce() + Send + 'static) {
    let world = World::new();
    let caches = [cache(url).await, cache(url).await, cache(url).await];
    let run = async |seconds: Duration, may_be_lost: bool| {
        let end = Instant::now() + seconds;
        let tasks: Vec<_> = (0..12_u64)
            .map(|seed| {
                let (world, cache) = (Arc::clone(&world), caches[seed as usize % 3].clone());
                tokio::spawn(async move {
                    let mut random = fastrand::Rng::with_seed(seed);
                    while Instant::now() < end {
                        let key = random.usize(..KEYS);
                        match random.u32(..5) {
                            0 => world.change(&cache, key).await,
                            _ => world.read(&cache, key, may_be_lost).await,
                        }
                        tokio::time::sleep(MS * 2).await;
                    }
                })
            })
            .collect();
        for task in all_of(tasks).await {
            task.expect("no read was wrong");
        }
    };
    // On a machine that is busy with other tests a node may be taken for dead at any time.
    let is_alone = std::env::var_os("LARDER_CACHE_FULL").is_some();
    run(SECOND, !is_alone).await;
    assert!(!is_alone || world.refusals.load(Ordering::SeqCst) == 0, "all works at first");
    let disaster = tokio::task::spawn_blocking(disaster);
    run(SECOND * 6, true).await;
    disaster.await.expect("no panic");
    for cache in &caches {
        for key in 0..KEYS {
            until("it is written again", async || cache.remove(&key).await.is_ok()).await;
            until("it is kept again", async || {
                world.read(cache, key, true).await;
                cache.get(&key).await.expect("it answers").is_some()
            })
            .await;
        }
    }
    // What was lost in the fail-over is over by now, and from here on everything counts again.
    tokio::time::sleep(TTL + LOAD_MAX).await;
    let refused = world.refusals.load(Ordering::SeqCst);
    run(SECOND, !is_alone).await;
    assert!(!is_alone || world.refusals.load(Ordering::SeqCst) == refused, "all works again");
    eprintln!("measured: {what}: {} reads, {refused} changes refused", world.reads.load(Ordering::SeqCst));
}

async fn all_of<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<Result<T, tokio::task::JoinError>> {
    futures_util::future::join_all(tasks).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e8_b7_guarantees_hold_when_a_node_of_a_cluster_dies() {
    let Some(mut cluster) = Cluster::start_or_skip() else { return };
    let mut first = cluster.nodes.remove(0);
    let url = format!("{},{}", cluster.url(), first.addr());
    live_through("a node of a cluster killed", &url, move || _ = first.kill9()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e8_b7_guarantees_hold_when_sentinels_fail_over() {
    let Some(Sentinels { mut primary, replica, sentinels }) = Sentinels::start_or_skip() else { return };
    let url = Sentinels::url_of(&sentinels);
    live_through("the primary under sentinels killed", &url, move || _ = primary.kill9()).await;
    drop(replica);
}
