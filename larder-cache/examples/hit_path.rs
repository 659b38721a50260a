//! What a hit costs, beside a bare moka cache with the same keys: nanoseconds in one thread, the best of several rounds
//! that take turns. Prints three numbers: moka, near cache, embedded engine without a near cache.

use larder_cache::{Cache, Near, Policy};
use larder_client::Larder;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const KEYS: u64 = 10_000;
const HITS: u64 = 200_000;
const ROUNDS: usize = 7;

/// A value of 100 bytes.
fn value(key: u64) -> String {
    format!("{key:0100}")
}

async fn measure(hit: impl AsyncFn(u64) -> usize) -> f64 {
    let began = Instant::now();
    let mut key = 1;
    let mut bytes = 0;
    for _ in 0..HITS {
        key = (key * 7919 + 13) % KEYS;
        bytes += hit(black_box(key)).await;
    }
    assert_eq!(bytes as u64, HITS * 100, "every read is a hit");
    began.elapsed().as_nanos() as f64 / HITS as f64
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let larder = Larder::open("embedded://").await?;
    let policy = Policy::ttl(Duration::from_secs(3600));
    let bare: moka::sync::Cache<u64, Arc<String>> = moka::sync::Cache::new(2 * KEYS);
    let near: Cache<u64, String> =
        Cache::builder(&larder, "near").policy(policy.clone()).near(Near::bytes(1 << 30)).build().await?;
    let far: Cache<u64, String> = Cache::builder(&larder, "far").policy(policy).build().await?;
    for key in 0..KEYS {
        bare.insert(key, Arc::new(value(key)));
        near.set(&key, value(key)).await?;
        far.set(&key, value(key)).await?;
    }
    let mut best = [f64::MAX; 3];
    for _ in 0..ROUNDS {
        let length = async |cache: &Cache<u64, String>, key: u64| {
            cache.get(&key).await.ok().flatten().map_or(0, |entry| entry.len())
        };
        let times = [
            measure(async |key| bare.get(&key).map_or(0, |value| value.len())).await,
            measure(async |key| length(&near, key).await).await,
            measure(async |key| length(&far, key).await).await,
        ];
        best.iter_mut().zip(times).for_each(|(best, time)| *best = best.min(time));
    }
    println!("{:.1} {:.1} {:.1}", best[0], best[1], best[2]);
    Ok(())
}
