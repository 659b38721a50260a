//! Load for measurements: filling servers, and requests over many connections.

use std::process::Command;
use std::time::{Duration, Instant};

use larder_resp::Frame;
use testkit::client::encode;
use testkit::{Client, Rng, Server};

/// Requests that are on the way at once while a server is filled.
const FILL_PIPELINE: usize = 500;

/// Sends commands in pipelines; an error reply ends it.
pub(crate) fn fill(client: &mut Client, commands: impl Iterator<Item = Vec<Vec<u8>>>) -> Result<(), String> {
    let mut batch: Vec<Vec<Vec<u8>>> = Vec::with_capacity(FILL_PIPELINE);
    let mut commands = commands.peekable();
    while commands.peek().is_some() {
        batch.clear();
        batch.extend(commands.by_ref().take(FILL_PIPELINE));
        for reply in client.pipeline(&batch) {
            if let Frame::Error(text) = reply {
                return Err(String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
    Ok(())
}

/// A command from words.
pub(crate) fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Pins all threads of a process to a processor, where the system can; on one processor it makes no difference.
pub(crate) fn pin(pid: u32, cpu: usize) {
    let _ = Command::new("taskset").args(["-apc", &cpu.to_string(), &pid.to_string()]).output();
}

/// What a load cost.
pub(crate) struct Cost {
    /// Server CPU time for each request, in microseconds.
    pub(crate) cpu_us: f64,
    /// Requests a second.
    pub(crate) rate: f64,
}

/// The shape of a load.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Connections, used in turn by one thread.
    pub(crate) connections: usize,
    /// Requests sent at once on each.
    pub(crate) pipeline: usize,
    /// Keys `key:0` to `key:<keys - 1>`, 64 bytes each.
    pub(crate) keys: usize,
    /// SET instead of GET.
    pub(crate) set: bool,
}

/// The name of a key, 16 bytes long.
fn key(number: usize) -> String {
    format!("key:{number:012}")
}

/// Fills a server with the keys of a load.
pub(crate) fn fill_keys(server: &Server, keys: usize) -> Result<(), String> {
    let value = vec![b'v'; 64];
    let commands = (0..keys).map(|n| vec![b"SET".to_vec(), key(n).into_bytes(), value.clone()]);
    fill(&mut server.connect(), commands)
}

/// Puts a load on a server for a time and measures what the server's process spends.
pub(crate) fn measure(server: &Server, load: Load, time: Duration) -> Result<Cost, String> {
    let mut clients: Vec<Client> = (0..load.connections).map(|_| server.connect()).collect();
    let mut rng = Rng::new(1);
    let value = [b'v'; 64];
    // Requests are made beforehand: the generator shares the machine with the server.
    let requests: Vec<Vec<u8>> = (0..2_000)
        .map(|_| {
            let make = |rng: &mut Rng| {
                let key = key(rng.below(load.keys)).into_bytes();
                if load.set {
                    encode(&[b"SET".as_slice(), &key, &value])
                } else {
                    encode(&[b"GET".as_slice(), &key])
                }
            };
            (0..load.pipeline).flat_map(|_| make(&mut rng)).collect()
        })
        .collect();
    let expected = if load.set { Frame::Simple(b"OK".to_vec()) } else { Frame::Bulk(value.to_vec()) };
    let (start, before, mut count) = (Instant::now(), server.cpu_ns(), 0_u64);
    while start.elapsed() < time {
        for client in &mut clients {
            let request: &Vec<u8> = rng.pick(&requests);
            client.send_raw(request);
        }
        for client in &mut clients {
            for _ in 0..load.pipeline {
                let reply = client.read();
                if reply != expected {
                    return Err(format!("an answer of {reply:?}"));
                }
                count += 1;
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds are small")]
    let (spent_ns, count) = (server.cpu_ns().saturating_sub(before) as f64, count as f64);
    Ok(Cost { cpu_us: spent_ns / 1_000.0 / count, rate: count / start.elapsed().as_secs_f64() })
}

/// Latencies of single requests, in microseconds, over connections in turn.
pub(crate) fn latencies(server: &Server, connections: usize, time: Duration) -> Result<Vec<u128>, String> {
    let mut clients: Vec<Client> = (0..connections).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.set_timeout(Duration::from_secs(60));
    }
    let start = Instant::now();
    let mut all = Vec::new();
    while start.elapsed() < time {
        for client in &mut clients {
            let sent = Instant::now();
            let reply = client.line("GET other");
            if reply.is_error() {
                return Err(format!("{reply:?}"));
            }
            all.push(sent.elapsed().as_micros());
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// The value below which this share of the sorted values lies.
pub(crate) fn percentile(sorted: &[u128], share: f64) -> u128 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let at = ((sorted.len() as f64) * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}
