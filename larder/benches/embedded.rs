//! GET and SET of the embedded engine beside `dashmap` and `moka::sync`: one thread, random keys, the public call of
//! each, its own clock included.
//!
//! All of them stand in the same process and take turns block by block, so that a drift of the machine hits all; the
//! median of the blocks counts. Whoever has expiry, eviction and an account of memory has them at work: the engine and
//! moka are bounded (and never reach the bound), and a quarter of the engine's keys expires, late.
//!
//! `cargo bench -p larder --bench embedded -- [KEYS] [ROUNDS]` prints a line for each: what, whose, nanoseconds a call.
//! With the name of one subject and of one operation behind that it repeats only those, for a profiler.

use dashmap::DashMap;
use larder::{Larder, Options};
use moka::sync::Cache;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Calls between two readings of the time.
const BLOCK: usize = 200_000;
const VALUE: [u8; 64] = [b'x'; 64];

/// What is measured: a map from bytes to bytes that returns copies.
trait Subject {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
    fn set(&self, key: &[u8], value: &[u8]);
    fn set_for(&self, key: &[u8], value: &[u8], time: Duration) {
        let _no_expiry = time;
        self.set(key, value);
    }
}

impl Subject for Larder {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        Larder::get(self, key).expect("every key holds a string")
    }
    fn set(&self, key: &[u8], value: &[u8]) {
        Larder::set(self, key, value).expect("memory is not short");
    }
    fn set_for(&self, key: &[u8], value: &[u8], time: Duration) {
        Larder::set_for(self, key, value, time).expect("memory is not short");
    }
}

impl Subject for DashMap<Vec<u8>, Vec<u8>> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        DashMap::get(self, key).map(|value| value.clone())
    }
    fn set(&self, key: &[u8], value: &[u8]) {
        self.insert(key.to_vec(), value.to_vec());
    }
}

impl Subject for Cache<Vec<u8>, Vec<u8>> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        Cache::get(self, key)
    }
    fn set(&self, key: &[u8], value: &[u8]) {
        self.insert(key.to_vec(), value.to_vec());
    }
}

/// Sixteen bytes, made anew for each call: an array of keys would be one more cache miss for everybody. The number is in
/// it as it is, since what is to be measured is not how digits are made of it.
fn key(number: u64) -> [u8; 16] {
    let mut key = *b"product:00000000";
    key[8..].copy_from_slice(&number.to_le_bytes());
    key
}

/// Numbers in no order (xorshift64*; Vigna 2016).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(drawn) * u128::from(bound)) >> 64) as u64
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Operation {
    Get,
    Set,
    SetFor,
}

const OPERATIONS: [(&str, Operation); 3] =
    [("get", Operation::Get), ("set", Operation::Set), ("set_for", Operation::SetFor)];

/// Nanoseconds a call over one block.
#[expect(clippy::disallowed_methods, reason = "a benchmark takes the time")]
fn block(subject: &dyn Subject, operation: Operation, keys: u64, numbers: &mut Numbers) -> f64 {
    let began = Instant::now();
    for _ in 0..BLOCK {
        let key = key(numbers.below(keys));
        match operation {
            Operation::Get => {
                let value = black_box(subject.get(&key));
                assert!(value.is_some(), "every key is there");
            }
            Operation::Set => subject.set(&key, black_box(&VALUE)),
            Operation::SetFor => subject.set_for(&key, black_box(&VALUE), Duration::from_secs(3600)),
        }
    }
    began.elapsed().as_nanos() as f64 / BLOCK as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let keys: u64 = args.next().and_then(|keys| keys.parse().ok()).unwrap_or(1_000_000);
    let rounds: usize = args.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(9);
    let (only_subject, only_operation) = (args.next(), args.next());

    let larder = Larder::open(Options::default()).expect("the system gives threads");
    larder.execute(&["CONFIG", "SET", "maxmemory", "4gb", "maxmemory-policy", "allkeys-lru"]);
    let dashmap: DashMap<Vec<u8>, Vec<u8>> = DashMap::new();
    let moka: Cache<Vec<u8>, Vec<u8>> = Cache::builder().max_capacity(keys * 2).build();
    let all: [(&str, &dyn Subject); 3] = [("larder", &larder), ("dashmap", &dashmap), ("moka", &moka)];
    let wanted = |only: &Option<String>, name: &str| only.as_ref().is_none_or(|only| only == name);
    let subjects: Vec<_> = all.into_iter().filter(|(name, _)| wanted(&only_subject, name)).collect();
    for (_, subject) in &subjects {
        for number in 0..keys {
            match number % 4 {
                0 => subject.set_for(&key(number), &VALUE, Duration::from_secs(3600)),
                _ => subject.set(&key(number), &VALUE),
            }
        }
    }
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for (name, operation) in OPERATIONS {
        if !wanted(&only_operation, name) {
            continue;
        }
        let mut figures = vec![Vec::new(); subjects.len()];
        for _ in 0..rounds {
            for (figures, (_, subject)) in figures.iter_mut().zip(&subjects) {
                figures.push(block(*subject, operation, keys, &mut numbers));
            }
        }
        for ((whose, _), figures) in subjects.iter().zip(figures) {
            println!("{name} {whose} {:.1}", median(figures));
        }
    }
}
