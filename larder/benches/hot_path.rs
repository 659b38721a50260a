//! The hot commands through `Engine::execute`, for counting instructions.
//!
//! The rows are `get`, `set`, `setex`, `incr`, `hset`, `sadd`, `zadd` and `lpush`; a row's cost is the difference of two
//! runs, one of them with no commands, divided by how many the other had.
//!
//! `valgrind --tool=callgrind target/release/deps/hot_path-* get 200000` counts what a GET costs from request to reply,
//! the same on every machine; without valgrind it prints nanoseconds, which are only good for a first look.

use larder::client::Origin;
use larder::{Engine, Options};
use larder_resp::OwnedRequest;
use std::task::Waker;
use std::time::Instant;

const KEYS: usize = 10_000;

#[expect(clippy::disallowed_methods, reason = "a benchmark takes the time")]
fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let command = args.next().unwrap_or_else(|| "get".into());
    let count: usize = args.next().and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let engine = Engine::open(Options::default());
    let mut session = engine.connect(Origin::default(), Waker::noop().clone());
    let mut lane = engine.lane(false);
    let mut out = Vec::new();
    for request in requests("set").iter().chain(&requests(&command)) {
        engine.execute(&mut lane, &mut session, request.as_request(), &mut out);
        out.clear();
    }
    let requests = requests(&command);
    let began = Instant::now();
    for nth in 0..count {
        // A stride that is coprime to the number of keys visits all of them in an order that no prefetcher follows.
        let request = requests[nth * 7_919 % requests.len()].as_request();
        engine.execute(&mut lane, &mut session, request, &mut out);
        if out.len() > 16 * 1024 {
            out.clear();
        }
    }
    println!("{command}: {} ns each", began.elapsed().as_nanos() / count.max(1) as u128);
}

fn requests(command: &str) -> Vec<OwnedRequest> {
    let value = [b'x'; 64];
    (0..KEYS)
        .map(|nth| {
            let key = format!("key:{nth:012}");
            let key = key.as_bytes();
            match command {
                "get" => OwnedRequest::from_slices(&[b"GET".as_slice(), key]),
                "setex" => OwnedRequest::from_slices(&[b"SETEX".as_slice(), key, b"3600", &value]),
                "incr" => OwnedRequest::from_slices(&[b"INCR".as_slice(), &[key, b"i"].concat()]),
                "hset" => OwnedRequest::from_slices(&[b"HSET".as_slice(), b"hash", key, &value]),
                "sadd" => OwnedRequest::from_slices(&[b"SADD".as_slice(), b"members", key]),
                "zadd" => OwnedRequest::from_slices(&[b"ZADD".as_slice(), b"scores", b"1", key]),
                "lpush" => OwnedRequest::from_slices(&[b"LPUSH".as_slice(), b"list", &value]),
                _ => OwnedRequest::from_slices(&[b"SET".as_slice(), key, &value]),
            }
        })
        .collect()
}
