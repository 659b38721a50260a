//! `larder-fuzz`: throws mutated bytes at the entry points for fuzzers. `cargo x fuzz` builds and starts it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use testkit::Rng;
use testkit::fuzz::{self, Target};

/// A target and what is needed to run it.
struct Row {
    name: &'static str,
    target: Target,
    /// Inputs to start from.
    examples: fn() -> Vec<Vec<u8>>,
    /// How much longer an input takes than one for the parser: so many fewer are tried.
    cost: u64,
}

/// One row for each target.
const TARGETS: &[Row] = &[
    Row { name: "resp-request", target: larder_resp::fuzz::fuzz_decode, examples: requests, cost: 1 },
    Row { name: "resp-reply", target: larder_resp::fuzz::fuzz_frame, examples: replies, cost: 1 },
    Row { name: "intset", target: larder_structures::fuzz::fuzz_intset, examples: noise, cost: 10 },
    Row { name: "listpack", target: larder_structures::fuzz::fuzz_listpack, examples: noise, cost: 50 },
    Row { name: "slab", target: larder_structures::fuzz::fuzz_slab, examples: noise, cost: 400 },
    Row { name: "table", target: larder_structures::fuzz::fuzz_table, examples: noise, cost: 500 },
    Row { name: "quicklist", target: larder_structures::fuzz::fuzz_quicklist, examples: noise, cost: 500 },
    Row { name: "snapshot", target: larder::persist::fuzz::fuzz_snapshot, examples: snapshots, cost: 10 },
    Row {
        name: "snapshot-load",
        target: larder::persist::fuzz::fuzz_snapshot_load,
        examples: whole_snapshots,
        cost: 100,
    },
    Row { name: "aof", target: larder::persist::fuzz::fuzz_aof, examples: command_files, cost: 10 },
    Row { name: "aof-load", target: larder::persist::fuzz::fuzz_aof_load, examples: logs, cost: 100 },
    Row {
        name: "ranked-tree",
        target: larder_structures::fuzz::fuzz_ranked_tree,
        examples: noise,
        cost: 500,
    },
    Row { name: "sorted", target: larder_structures::fuzz::fuzz_sorted, examples: noise, cost: 500 },
    Row {
        name: "cache-entry",
        target: larder_cache::fuzz::fuzz_entry,
        examples: larder_cache::fuzz::entries,
        cost: 5,
    },
    Row {
        name: "cache-feed",
        target: larder_cache::fuzz::fuzz_feed,
        examples: larder_cache::fuzz::messages,
        cost: 50,
    },
    Row {
        name: "cache-key",
        target: larder_cache::fuzz::fuzz_key,
        examples: larder_cache::fuzz::keys,
        cost: 10,
    },
    Row {
        name: "cache-log",
        target: larder_cache::fuzz::fuzz_log,
        examples: larder_cache::fuzz::logs,
        cost: 10,
    },
    Row {
        name: "cache-http",
        target: larder_cache::fuzz::fuzz_http,
        examples: larder_cache::fuzz::headers,
        cost: 10,
    },
];

/// What a run is told.
struct Options {
    /// All targets when empty.
    targets: Vec<String>,
    runs: u64,
    seed: u64,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("larder-fuzz: {why}");
            return ExitCode::from(2);
        }
    };
    let mut failed = 0;
    let chosen = TARGETS
        .iter()
        .filter(|row| options.targets.is_empty() || options.targets.iter().any(|t| t == row.name));
    for Row { name, target, examples, cost } in chosen {
        let (start, runs) = (Instant::now(), options.runs.div_ceil(*cost));
        match fuzz::quietly(|| fuzz::run(*target, &examples(), runs, options.seed)) {
            Ok(()) => {
                println!("{name}: {runs} inputs, no crash, {:.1} s", start.elapsed().as_secs_f64())
            }
            Err(crash) => {
                failed += 1;
                println!("{name}: {} (seed {}, input {})", crash.message, crash.seed, crash.run);
                println!("  shortest input found: \"{}\"", crash.input.escape_ascii());
                match crash.save(Path::new("target/fuzz"), name) {
                    Ok(path) => println!("  saved as {}", path.display()),
                    Err(e) => println!("  cannot be saved: {e}"),
                }
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options() -> Result<Options, lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options { targets: Vec::new(), runs: 100_000, seed: 1 };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("runs") => options.runs = parser.value()?.parse()?,
            Long("seed") => options.seed = parser.value()?.parse()?,
            Value(name) => {
                let name = name.string()?;
                if !TARGETS.iter().any(|row| row.name == name) {
                    let known: Vec<&str> = TARGETS.iter().map(|row| row.name).collect();
                    return Err(format!("no target {name:?}, only {}", known.join(", ")).into());
                }
                options.targets.push(name);
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(options)
}

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The first byte chooses limits, the rest are requests.
fn requests() -> Vec<Vec<u8>> {
    bytes(&[
        "\0*1\r\n$4\r\nPING\r\n",
        "\x07*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
        "\x10PING\r\nSET key \"a \\x41 value\"\r\n",
        "\x21*-1\r\n*0\r\n\r\n*1\r\n$0\r\n\r\n",
    ])
}

fn replies() -> Vec<Vec<u8>> {
    bytes(&[
        "+OK\r\n-ERR no\r\n:-12\r\n",
        "$5\r\nhello\r\n$-1\r\n*-1\r\n",
        "*3\r\n:1\r\n*2\r\n$1\r\na\r\n_\r\n%1\r\n+k\r\n~2\r\n:1\r\n:2\r\n",
        ",1.5\r\n,inf\r\n,nan\r\n#t\r\n(123456789012345678901234567890\r\n=7\r\ntxt:abc\r\n",
        ">2\r\n+message\r\n$1\r\nx\r\n|1\r\n+ttl\r\n:3\r\n+OK\r\n!5\r\nERR x\r\n",
    ])
}

/// For targets that read their input as a program: the longer, the more it does.
fn noise() -> Vec<Vec<u8>> {
    let mut rng = Rng::new(0);
    (0..32_usize).map(|n| (0..n * n + 8).map(|_| rng.bits().to_le_bytes()[0]).collect()).collect()
}

/// A file of commands with a transaction and an annotation, and a manifest.
fn command_files() -> Vec<Vec<u8>> {
    vec![
        b"#TS:1\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n*1\r\n$4\r\nEXEC\r\n".to_vec(),
        b"file a.1.base.rdb seq 1 type b\nfile \"a.2\" seq 2 type i\n".to_vec(),
    ]
}

/// Commands as the append-only file of a server has them.
fn logs() -> Vec<Vec<u8>> {
    let lines = [
        "SELECT 0",
        "SET k v",
        "SET k 12 PXAT 1795630846150",
        "MULTI",
        "INCRBY n 3",
        "HSET h f v g 1.5",
        "EXEC",
        "ZADD z 1.5 m",
        "RPUSH l a b c",
        "LTRIM l 0 1",
        "SADD s a 1",
        "SREM s a",
        "PEXPIREAT h 1795630846150",
        "SELECT 2",
        "COPY k l DB 1 REPLACE",
        "DEL k",
        "FLUSHALL",
    ];
    let words = |line: &str| testkit::client::encode(&line.split(' ').collect::<Vec<_>>());
    let all: Vec<Vec<u8>> = lines.iter().map(|line| words(line)).collect();
    vec![all.concat(), all[1..7].concat(), [b"#TS:1795630748\r\n".to_vec(), all[1].clone()].concat()]
}

/// A small file as redis-server writes it (a string with an expiry, a number, a set of integers, a list), and the start
/// of one.
fn snapshots() -> Vec<Vec<u8>> {
    let mut file = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfe\x00\xfb\x04\x01".to_vec();
    file.extend_from_slice(b"\xfc\x00\xe4\x0b\x54\x02\x00\x00\x00\x00\x03key\x05value\x00\x01n\xc0\x7b");
    file.extend_from_slice(b"\x0b\x01s\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x01\x00\x02\x00");
    file.extend_from_slice(b"\x12\x01l\x01\x02\x0a\x0a\x00\x00\x00\x01\x00\x01\x01\xff");
    file.extend_from_slice(b"\xff\x00\x00\x00\x00\x00\x00\x00\x00");
    vec![file, b"REDIS0010".to_vec(), b"\x00\x05value\x0a\x00".to_vec()]
}

/// Snapshots with a checksum: of every type, small and large, as ours are saved, and of the forms that older servers have
/// written.
fn whole_snapshots() -> Vec<Vec<u8>> {
    let mut all = vec![saved(4, 10), saved(4, 11), saved(40, 10), saved(700, 10), old_snapshot()];
    all.extend(snapshots());
    all
}

/// What our server saves with collections of so many elements.
fn saved(elements: usize, version: u64) -> Vec<u8> {
    use larder::persist::simulated::SimulatedDisk;
    let engine = larder::Engine::open(larder::Options { threads: 1, seed: 1, ..larder::Options::default() });
    let larder = larder::Larder::on(std::sync::Arc::clone(&engine));
    let run = |line: &str| drop(larder.execute(&line.split(' ').collect::<Vec<_>>()));
    engine.config.rdb_version.store(version, std::sync::atomic::Ordering::Relaxed);
    run(&format!("SET text {}", "compressible ".replace(' ', ".").repeat(elements.min(20))));
    run("SET number 1234567");
    run("SET soon 1 PXAT 4102444800000");
    for n in 0..elements {
        run(&format!("RPUSH list {n}"));
        run(&format!("RPUSH texts {n}x"));
        run(&format!("SADD ints {n}"));
        run(&format!("SADD words word{n}"));
        run(&format!("HSET hash field{n} {n}"));
        run(&format!("ZADD zset {n}.5 member{n}"));
    }
    let disk = SimulatedDisk::new();
    engine.save(&engine.lane(false), &disk, "/dump.rdb".as_ref()).expect("the disk has no faults");
    disk.contents("/dump.rdb").expect("it was just saved")
}

/// Packed forms that are not written any more: ziplists, a zipmap, scores as text, expiries in seconds.
fn old_snapshot() -> Vec<u8> {
    let mut file = b"REDIS0006\xfe\x00\xfd\x00\x94\x35\x77\x00\x01s\x01v\x01\x01l\x02\x01a\x01b".to_vec();
    file.extend_from_slice(b"\x03\x01z\x03\x01a\x03\x31.5\x01b\xfe\x01c\xff");
    file.extend_from_slice(b"\x09\x01m\x14\x02\x01a\x02\x00xy\x01b\x01\x03z___\xff");
    let ziplist = b"\x15\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01a\x03\xc0\x0f\x27\xff";
    let mut packed = vec![u8::try_from(ziplist.len()).expect("it is short")];
    packed.extend_from_slice(ziplist);
    for tag in [10, 12, 13] {
        file.extend_from_slice(&[tag, 2, b'p', tag]);
        file.extend_from_slice(&packed);
    }
    file.extend_from_slice(b"\x0e\x01q\x02");
    file.extend_from_slice(&packed);
    file.extend_from_slice(&packed);
    file.push(0xff);
    let checksum = larder::persist::crc64::crc64(&file);
    file.extend_from_slice(&checksum.to_le_bytes());
    file
}
