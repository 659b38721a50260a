//! What keys weigh.

use std::time::Duration;

use larder_resp::Frame;
use testkit::client::encode;
use testkit::{Options, Rng, Server};

use super::{Plan, Section, info, larder, median};
use crate::load::stream;

/// What is stored, and what becomes of the bytes of the `n`-th request.
struct Shape {
    name: &'static str,
    request: fn(usize) -> Vec<u8>,
}

const VALUE: &[u8; 64] = b"0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmno";
/// Fields of a small hash with their values.
const FIELDS: &[&str] =
    &["name", "ada", "age", "36", "mail", "ada@example.org", "city", "london", "cart", "12345678"];

fn words(words: &[&[u8]]) -> Vec<u8> {
    encode(words)
}

fn key(number: usize) -> Vec<u8> {
    format!("key:{number:012}").into_bytes()
}

const SHAPES: &[Shape] = &[
    Shape { name: "string64", request: |n| words(&[b"SET", &key(n), VALUE]) },
    Shape { name: "string64-ttl", request: |n| words(&[b"SET", &key(n), VALUE, b"EX", b"86400"]) },
    Shape { name: "string8", request: |n| words(&[b"SET", &key(n), b"abcdefgh"]) },
    Shape {
        name: "hash5",
        request: |n| {
            let mut all = vec![b"HSET".to_vec(), key(n)];
            all.extend(FIELDS.iter().map(|word| word.as_bytes().to_vec()));
            encode(&all)
        },
    },
    Shape {
        name: "zset",
        request: |n| {
            let score = (n * 7_919 % 1_000_003).to_string();
            words(&[b"ZADD", b"board", score.as_bytes(), format!("player:{n:09}").as_bytes()])
        },
    },
    Shape { name: "set", request: |n| words(&[b"SADD", b"tags", format!("member:{n:09}").as_bytes()]) },
    Shape {
        name: "hash",
        request: |n| words(&[b"HSET", b"big", format!("field:{n:010}").as_bytes(), &VALUE[..16]]),
    },
    Shape { name: "list", request: |_| words(&[b"RPUSH", b"queue", &VALUE[..32]]) },
];

pub(super) fn bytes(plan: &Plan) -> Result<Section, String> {
    let counts =
        plan.choose(vec![2_000_000, 2_600_000, 3_500_000], vec![400_000, 520_000, 700_000], vec![2_000]);
    let mut section = Section::new(&["shape", "server", "worst, bytes each", "for each number of keys"]);
    for shape in SHAPES {
        for name in ["redis-server", "Larder"] {
            let mut figures = Vec::new();
            for count in &counts {
                let server = match name {
                    "Larder" => larder(&["--io-threads", "1"])?,
                    _ => Server::try_start(Options::redis())?,
                };
                figures.push(grown(plan, &server, *count, shape.request)?);
            }
            let worst = figures.iter().copied().fold(f64::MIN, f64::max);
            let each: Vec<String> = figures.iter().map(|figure| format!("{figure:.1}")).collect();
            section.row(vec![shape.name.to_owned(), name.to_owned(), format!("{worst:.1}"), each.join(", ")]);
            if name == "Larder" {
                section.judge(&format!("bytes/{}", shape.name), worst);
            }
        }
    }
    Ok(section)
}

/// By how much the resident memory grows for each of so many requests.
fn grown(plan: &Plan, server: &Server, count: usize, request: fn(usize) -> Vec<u8>) -> Result<f64, String> {
    let rest = plan.choose(Duration::from_secs(1), Duration::from_secs(1), Duration::from_millis(10));
    std::thread::sleep(rest / 2);
    let before = server.memory_rss();
    stream(server, count, |n, out| out.extend(request(n)))?;
    std::thread::sleep(rest);
    Ok((server.memory_rss() as f64 - before as f64) / count as f64)
}

pub(super) fn empty(_: &Plan) -> Result<Section, String> {
    let mut section = Section::new(&["server", "MiB"]);
    for (name, server) in super::both(&["--io-threads", "2"])? {
        std::thread::sleep(Duration::from_secs(1));
        let mib = server.memory_rss() as f64 / f64::from(1 << 20);
        section.row(vec![name.to_owned(), format!("{mib:.1}")]);
        if name == "Larder" {
            section.judge("empty/rss-mib", mib);
        }
    }
    Ok(section)
}

/// Keys that come and go; at the mean size some four times what `maxmemory` has room for.
const CHURN_KEYS: usize = 2_000_000;
/// Looks at the memory during a run.
const CHURN_LOOKS: usize = 20;

/// Random SET, DEL and EXPIRE. Sizes are spread evenly over their logarithm, as those of cached values roughly are.
pub(super) fn churn(plan: &Plan) -> Result<Section, String> {
    let limit = plan.choose(512_u64, 64, 4) << 20;
    let requests = plan.choose(100_000_000, 6_000_000, 60_000);
    let keys = plan.choose(CHURN_KEYS, CHURN_KEYS / 8, CHURN_KEYS / 100);
    let mut section = Section::new(&["server", "requests so far", "RSS MiB", "used_memory MiB"]);
    let servers = super::both(&[])?;
    for (name, server) in servers {
        let limit_text = limit.to_string();
        server.connect().cmd(&["CONFIG", "SET", "maxmemory", &limit_text, "maxmemory-policy", "allkeys-lru"]);
        let (mut rng, value, mut resident) = (Rng::new(7), vec![b'v'; 8192], Vec::new());
        for look in 1..=CHURN_LOOKS {
            stream(&server, requests / CHURN_LOOKS, |_, out| {
                let key = key(rng.below(keys));
                let request = match rng.below(10) {
                    0..=5 => {
                        let most = 1 << rng.below(14);
                        encode(&[b"SET".as_slice(), &key, &value[..(most + rng.below(most)).min(8192)]])
                    }
                    6 | 7 => encode(&[b"DEL".as_slice(), &key]),
                    _ => encode(&[b"EXPIRE".as_slice(), &key, rng.below(60).to_string().as_bytes()]),
                };
                out.extend(request);
            })?;
            let rss = server.memory_rss() as f64;
            resident.push(rss);
            if look % 5 == 0 {
                let mib = |bytes: f64| format!("{:.0}", bytes / f64::from(1 << 20));
                let used = info(&server, "used_memory").unwrap_or(f64::NAN);
                section.row(vec![
                    name.to_owned(),
                    (requests / CHURN_LOOKS * look).to_string(),
                    mib(rss),
                    mib(used),
                ]);
            }
        }
        if name == "Larder" {
            let quarter = CHURN_LOOKS / 4;
            let (second, last) = (&resident[quarter..2 * quarter], &resident[3 * quarter..]);
            let highest = resident.iter().copied().fold(f64::MIN, f64::max);
            section.judge("churn/rss-over-maxmemory", highest / limit as f64);
            section.judge("churn/trend", median(last.to_vec()) / median(second.to_vec()));
            section.judge("churn/walk", walk_differs(&server)?);
        }
    }
    Ok(section)
}

/// By what part what a walk over all keys adds up to differs from what the server says its data take.
fn walk_differs(server: &Server) -> Result<f64, String> {
    let mut client = server.connect();
    client.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    // Keys that expire during the walk would make a difference of their own.
    client.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    let (mut cursor, mut sum) = (b"0".to_vec(), 0.0);
    let before = info(server, "used_memory_dataset").unwrap_or(f64::NAN);
    loop {
        let page = client.cmd(&[b"SCAN".as_slice(), &cursor, b"COUNT", b"1000"]);
        let [Frame::Bulk(next), Frame::Array(keys)] = page.as_elements().unwrap_or_default() else {
            return Err(format!("SCAN answers {page:?}"));
        };
        let usages: Vec<Vec<&[u8]>> = keys
            .iter()
            .filter_map(|key| Some(vec![b"MEMORY".as_slice(), b"USAGE", key.as_bytes()?, b"SAMPLES", b"0"]))
            .collect();
        for reply in client.pipeline(&usages) {
            sum += reply.as_integer().unwrap_or(0) as f64;
        }
        cursor.clone_from(next);
        if cursor == b"0" {
            break;
        }
    }
    let after = info(server, "used_memory_dataset").unwrap_or(f64::NAN);
    let said = (before + after) / 2.0;
    Ok((sum - said).abs() / said)
}
