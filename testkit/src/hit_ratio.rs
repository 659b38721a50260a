//! How often a cache has what it is asked for.
//!
//! A trace asks for keys by Zipf's law, with reads of keys that never come again mixed in if wished: a scan. The cache
//! is used as an application would: GET, and on a miss SET. Its memory is what the server itself takes for a given part
//! of the keys, so that servers that keep a key in fewer bytes are compared by what they keep and not by how much.
//!
//! The same seed gives the same trace. Clocks of eviction tick in seconds of real time, so servers should be asked at
//! the same rate.

use crate::client::Client;
use crate::rng::Rng;
use larder_resp::Frame;
use std::time::{Duration, Instant};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Where its randomness starts.
    pub seed: u64,
    /// Keys that Zipf's law is about.
    pub keys: usize,
    /// Its exponent, above 0; 0.99 is usual.
    pub skew: f64,
    /// How many requests of a hundred are part of a scan.
    pub scan_percent: usize,
    /// Requests in all; the first quarter fills the cache and is not counted.
    pub requests: usize,
    /// The part of the keys that the cache has room for, in percent.
    pub cache_percent: usize,
    /// Requests a second; 0 for as fast as possible.
    pub rate: usize,
}

impl Default for Trace {
    fn default() -> Self {
        Trace {
            seed: 1,
            keys: 200_000,
            skew: 0.99,
            scan_percent: 0,
            requests: 4_000_000,
            cache_percent: 10,
            rate: 0,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ratio {
    /// Hits among all counted requests, from 0 to 1.
    pub of_all: f64,
    /// Hits among those that are not part of a scan, from 0 to 1.
    pub of_repeated: f64,
    /// Keys in the cache at the end.
    pub kept: usize,
    /// `maxmemory`, in bytes.
    pub maxmemory: u64,
}

/// Requests under way at once.
const BATCH: usize = 100;
const VALUE: [u8; 64] = [b'v'; 64];

/// Replays a trace against a server under a policy of eviction. The server is emptied first, and its `maxmemory` and
/// `maxmemory-policy` are changed.
///
/// # Panics
/// When the server refuses a command or goes away.
pub fn replay(client: &mut Client, policy: &str, trace: &Trace) -> Ratio {
    let maxmemory = room_for(client, trace.keys * trace.cache_percent / 100);
    expect_ok(client, &["CONFIG", "SET", "maxmemory", &maxmemory.to_string(), "maxmemory-policy", policy]);
    let cumulated = cumulated(trace.keys, trace.skew);
    let (mut popular, mut mixed) = (Rng::new(trace.seed), Rng::new(!trace.seed));
    let (mut hits, mut counted, mut repeated, mut scanned) = (0, 0, 0, 0);
    let began = Instant::now();
    let mut asked = 0;
    while asked < trace.requests {
        let mut keys: Vec<(bool, String)> = Vec::with_capacity(BATCH);
        for _ in 0..BATCH {
            let is_scan = mixed.percent(trace.scan_percent);
            scanned += usize::from(is_scan);
            let key = if is_scan {
                format!("scan:{scanned:011}")
            } else {
                let at = (popular.bits() >> 11) as f64 / (1u64 << 53) as f64;
                format!("key:{:012}", cumulated.partition_point(|sum| *sum < at))
            };
            keys.push((is_scan, key));
        }
        let gets: Vec<Vec<&[u8]>> =
            keys.iter().map(|(_, key)| vec![b"GET".as_slice(), key.as_bytes()]).collect();
        let replies = client.pipeline(&gets);
        let mut sets: Vec<Vec<&[u8]>> = Vec::new();
        for ((is_scan, key), reply) in keys.iter().zip(&replies) {
            let is_hit = matches!(reply, Frame::Bulk(_));
            if asked >= trace.requests / 4 {
                counted += 1;
                repeated += usize::from(!is_scan);
                hits += usize::from(is_hit);
            }
            if !is_hit {
                sets.push(vec![b"SET", key.as_bytes(), &VALUE]);
            }
        }
        if !sets.is_empty() {
            for reply in client.pipeline(&sets) {
                assert_eq!(reply, Frame::Simple(b"OK".to_vec()), "a SET is refused");
            }
        }
        asked += BATCH;
        if let Some(due_us) = (asked as u64 * 1_000_000).checked_div(trace.rate as u64) {
            std::thread::sleep(Duration::from_micros(due_us).saturating_sub(began.elapsed()));
        }
    }
    let Frame::Integer(kept) = client.cmd(&["DBSIZE"]) else { panic!("DBSIZE is no integer") };
    let ratio = |whole: usize| hits as f64 / whole.max(1) as f64;
    Ratio { of_all: ratio(counted), of_repeated: ratio(repeated), kept: kept as usize, maxmemory }
}

/// The memory a server uses with so many keys.
fn room_for(client: &mut Client, keys: usize) -> u64 {
    expect_ok(client, &["CONFIG", "SET", "maxmemory", "0"]);
    expect_ok(client, &["FLUSHALL"]);
    let names: Vec<String> = (0..keys).map(|key| format!("key:{key:012}")).collect();
    for names in names.chunks(BATCH) {
        let sets: Vec<Vec<&[u8]>> =
            names.iter().map(|key| vec![b"SET".as_slice(), key.as_bytes(), &VALUE]).collect();
        client.pipeline(&sets);
    }
    let Frame::Bulk(text) = client.cmd(&["INFO", "memory"]) else { panic!("INFO is no text") };
    let text = String::from_utf8_lossy(&text).into_owned();
    let used = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
    let used = used.and_then(|used| used.trim().parse().ok()).expect("INFO has used_memory");
    expect_ok(client, &["FLUSHALL"]);
    used
}

fn expect_ok(client: &mut Client, command: &[&str]) {
    assert_eq!(client.cmd(command), Frame::Simple(b"OK".to_vec()), "{}", command.join(" "));
}

/// The sums of the probabilities of the first, the first two, the first three keys, and so on.
fn cumulated(keys: usize, skew: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let mut sums: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-skew);
            sum
        })
        .collect();
    sums.iter_mut().for_each(|partial| *partial /= sum);
    sums
}
