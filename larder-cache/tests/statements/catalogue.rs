//! A product catalogue that ten processes read and now and then change: how often the source is asked.

use crate::support::{Backend, Down, MS, servers};
use larder_cache::{Cache, Policy};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PROCESSES: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// One time to live is what five minutes are in the shop: so many requests, on so many products.
struct Scale {
    products: usize,
    requests: u32,
    ttl: Duration,
    lives: u32,
    /// How many of a hundred queries are to be saved at least; a machine that is busy with other tests judges no times.
    saved: f64,
}

fn scale() -> Scale {
    match std::env::var_os("LARDER_CACHE_FULL").is_some() {
        // 1,000 requests a minute and 300 s, a hundred times as fast; so the source answers at once.
        true => Scale { products: 100, requests: 5000, ttl: MS * 3000, lives: 6, saved: 95.0 },
        false => Scale { products: 20, requests: 1000, ttl: MS * 1000, lives: 2, saved: 0.0 },
    }
}

/// What the source was asked for.
#[derive(Clone, Copy)]
struct Query {
    product: usize,
    is_change: bool,
    /// When somebody wanted it, when the source was asked, and when it was over.
    wanted: Instant,
    asked: Instant,
    over: Instant,
}

#[derive(Default)]
struct Database {
    queries: Mutex<Vec<Query>>,
    versions: AtomicU64,
}

impl Database {
    async fn load(&self, product: usize, wanted: Instant) -> u64 {
        let (asked, version) = (Instant::now(), self.versions.load(Ordering::SeqCst));
        tokio::task::yield_now().await;
        self.note(Query { product, is_change: false, wanted, asked, over: Instant::now() });
        version
    }

    fn note(&self, query: Query) {
        self.queries.lock().expect("nobody panics with it").push(query);
    }
}

/// The most popular product is asked for as often as the second one twice, the third one three times, and so on.
fn zipf(products: usize, random: &mut fastrand::Rng) -> usize {
    let all: f64 = (1..=products).map(|rank| 1.0 / rank as f64).sum();
    let mut at = random.f64() * all;
    for product in 0..products {
        at -= 1.0 / (product + 1) as f64;
        if at <= 0.0 {
            return product;
        }
    }
    products - 1
}

async fn visit(cache: Cache<usize, u64>, database: Arc<Database>, scale: &Scale, seed: u64) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let pause = scale.ttl * PROCESSES as u32 / scale.requests;
    let (mut reads, mut next) = (0, tokio::time::Instant::now());
    let end = next + scale.ttl * scale.lives;
    let mut visits = Vec::new();
    while next < end {
        // At random, and so many in the mean.
        next += pause.mul_f64(-random.f64().max(f64::MIN_POSITIVE).ln());
        tokio::time::sleep_until(next).await;
        let product = zipf(scale.products, &mut random);
        let (cache, database) = (cache.clone(), Arc::clone(&database));
        let is_read = random.u32(..100) < 95;
        reads += u64::from(is_read);
        visits.push(tokio::spawn(async move {
            let wanted = Instant::now();
            if is_read {
                let load = move |_| async move { Ok::<_, Down>(database.load(product, wanted).await) };
                cache.get_or_load(&product, load).await.expect("the source answers");
            } else {
                let source = Arc::clone(&database);
                let write = async move { Ok::<_, Down>(source.versions.fetch_add(1, Ordering::SeqCst) + 1) };
                cache.write(&product, write).await.expect("the source answers");
                // Until here loads of it could not be stored.
                let (asked, over) = (wanted, Instant::now());
                database.note(Query { product, is_change: true, wanted, asked, over });
            }
        }));
    }
    for visit in visits {
        visit.await.expect("no panic");
    }
    reads
}

async fn catalogue(backend: Backend) {
    let (scale, database) = (scale(), Arc::new(Database::default()));
    let mut visitors = Vec::new();
    for process in 0..PROCESSES {
        let rule = Policy::ttl(scale.ttl).jitter(0.1);
        let rule = rule.hard_timeout(PATIENCE).load_max(PATIENCE).backend_timeout(PATIENCE);
        let builder = Cache::builder(&backend.node().await, "catalogue").policy(rule);
        let cache = builder.build().await.expect("the settings make sense");
        visitors.push(visit(cache, Arc::clone(&database), &scale, process as u64));
    }
    let reads: u64 = futures_util::future::join_all(visitors).await.into_iter().sum();
    let queries = database.queries.lock().expect("nobody panics with it").clone();
    let mut loads: Vec<Query> = queries.iter().copied().filter(|query| !query.is_change).collect();
    loads.sort_unstable_by_key(|load| (load.product, load.asked));
    let cut = 100.0 * (1.0 - loads.len() as f64 / reads as f64);
    assert!(cut >= scale.saved, "{}: {} queries for {reads} reads", backend.name, loads.len());
    for pair in loads.windows(2) {
        let [first, second] = pair else { continue };
        let is_apart = second.asked - first.asked >= scale.ttl.mul_f64(0.9);
        // While it is changed, and if two changes overlap, each process that wants it asks for itself.
        let since = first.wanted.min(second.wanted);
        let is_changed = queries.iter().any(|query| {
            query.is_change
                && query.product == first.product
                && query.wanted <= second.over
                && query.over >= since
        });
        let is_right = first.product != second.product || is_apart || is_changed;
        assert!(is_right, "{} twice within {:?}", first.product, second.asked - first.asked);
    }
    eprintln!("measured: {}: {reads} reads, {} queries, {cut:.1} % fewer", backend.name, loads.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_ask_the_source_once_for_each_product_and_expiry() {
    for backend in servers().await {
        catalogue(backend).await;
    }
}
