//! Load for measurements: filling servers, and requests over many connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// Bytes of requests that are sent at once by [`stream`].
const STREAM_CHUNK: usize = 256 * 1024;

/// Sends `count` requests, the bytes of each appended by `make`, as fast as the server takes them. Every reply must be a
/// single line; the first error reply ends it.
pub(crate) fn stream(
    server: &Server,
    count: usize,
    mut make: impl FnMut(usize, &mut Vec<u8>) + Send,
) -> Result<(), String> {
    let broken = |e: std::io::Error| format!("the connection broke: {e}");
    let mut reader = TcpStream::connect(server.addr()).map_err(broken)?;
    reader.set_read_timeout(Some(Duration::from_secs(60))).map_err(broken)?;
    let mut writer = reader.try_clone().map_err(broken)?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let mut bytes = Vec::with_capacity(2 * STREAM_CHUNK);
            for number in 0..count {
                make(number, &mut bytes);
                if bytes.len() >= STREAM_CHUNK || number + 1 == count {
                    writer.write_all(&bytes)?;
                    bytes.clear();
                }
            }
            Ok(())
        });
        let result = read_lines(&mut reader, count);
        if result.is_err() {
            // Lets the sender end too.
            let _already_closed = reader.shutdown(Shutdown::Both);
        }
        let sent = sender.join().map_err(|_| "the sender panicked".to_owned())?;
        result.and(sent.map_err(broken))
    })
}

/// Reads so many replies of one line each.
fn read_lines(reader: &mut TcpStream, count: usize) -> Result<(), String> {
    let mut buffer = vec![0; STREAM_CHUNK];
    let (mut left, mut begins) = (count, true);
    while left > 0 {
        let len = reader.read(&mut buffer).map_err(|e| format!("no reply: {e}"))?;
        if len == 0 {
            return Err("the server has closed the connection".to_owned());
        }
        for (at, byte) in buffer[..len].iter().enumerate() {
            if begins && *byte == b'-' {
                let line = buffer[at..len].split(|byte| *byte == b'\r').next().unwrap_or_default();
                return Err(String::from_utf8_lossy(line).into_owned());
            }
            begins = *byte == b'\n';
            left = left.saturating_sub(usize::from(begins));
        }
    }
    Ok(())
}

/// A command from words.
pub(crate) fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Makes a sorted set `big` of so many members, in no order.
pub(crate) fn fill_big(client: &mut Client, members: usize) -> Result<(), String> {
    let pages = (0..members / 100).map(|page| {
        let mut command = words("ZADD big");
        command.extend(
            (0..100).flat_map(|n| words(&format!("{} member:{page}:{n}", (page * 7_919 + n) % members))),
        );
        command
    });
    fill(client, pages)
}

/// Does something while one client has the server make one union of [`fill_big`]'s set after the other; returns how many
/// those were, and what came of it.
pub(crate) fn beside_unions<R>(
    server: &Server,
    work: impl FnOnce() -> Result<R, String>,
) -> Result<(u64, R), String> {
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.connect();
            client.set_timeout(Duration::from_secs(120));
            while !stop.load(Ordering::Relaxed) {
                client.line("ZUNIONSTORE result 2 big big");
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    Ok((rounds.load(Ordering::Relaxed), result))
}

/// Pins all threads of a process to a processor, where the system can; on one processor it makes no difference.
pub(crate) fn pin(pid: u32, cpu: usize) {
    let _ = Command::new("taskset").args(["-apc", &cpu.to_string(), &pid.to_string()]).output();
}

/// Lets a process run on all processors again.
pub(crate) fn unpin(pid: u32) {
    let all = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_else(|_| "0".to_owned());
    let _ = Command::new("taskset").args(["-apc", all.trim(), &pid.to_string()]).output();
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
    let value = [b'v'; 64];
    stream(server, keys, |n, out| out.extend(encode(&[b"SET".as_slice(), key(n).as_bytes(), &value])))
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
