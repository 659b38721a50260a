//! The bars of issue 4: nothing acknowledged is lost, no fork, and the way in and out is open.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testkit::client::encode;
use testkit::{Client, Rng, Server};

use super::{Bar, Measured, Scale, append_only};
use crate::bench::{Plan, Size, info, larder, one};
use crate::load::stream;

pub(super) const BARS: &[Bar] = &[
    Bar {
        name: "snapshot",
        required: "a snapshot of 4 M keys stops clients for less than 1 ms, takes less than 1.2 times the memory at half the \
                   maximal rate, p99.9 at most 1.5 times the control's",
        in_slice: true,
        measure: |scale| judge("snapshot", scale),
    },
    Bar {
        name: "collections",
        required: "changes of collections of 1 M elements during a snapshot take less than 5 ms",
        in_slice: true,
        measure: |scale| judge("collections", scale),
    },
    Bar {
        name: "restart",
        required: "5 M keys are loaded at least twice as fast as by redis-server from the same file",
        in_slice: true,
        measure: |scale| judge("restart", scale),
    },
    Bar {
        name: "exact",
        required: "50 snapshots at random moments under transactions over several keys: each loaded again holds what the \
                   transactions keep",
        in_slice: true,
        measure: exact,
    },
    Bar {
        name: "aof-both-ways",
        required: "append-only files of redis-server and ours, with and without a preamble, are loaded by the other: equal key \
                   by key",
        in_slice: true,
        measure: append_only::both_ways,
    },
    Bar {
        name: "kill",
        required: "300 kill -9 under transactions, each with always and everysec: no transaction in part, always a beginning, \
                   nothing acknowledged or read lost with always, 2 s at most with everysec",
        in_slice: true,
        measure: append_only::kills,
    },
    Bar {
        name: "power",
        required: "10,000 power cuts on a simulated disk with torn, lost and reordered writes: the same",
        in_slice: false,
        measure: append_only::power_cuts,
    },
    Bar {
        name: "aof-cost",
        required: "everysec costs at most 15 % CPU per SET, at pipeline 16 half of what it adds to redis-server; always with 50 \
                   clients: rate, CPU, fsyncs and p99 per request not worse than redis-server's",
        in_slice: true,
        measure: append_only::cost,
    },
    Bar {
        name: "aof-corrupt",
        required: "100,000 mutated append-only files: an error with its offset or what can be applied, never a crash",
        in_slice: true,
        measure: append_only::corrupt,
    },
];

/// A bar that is a benchmark, judged by the table of targets.
fn judge(name: &str, scale: Scale) -> Result<Measured, String> {
    let plan = Plan { rounds: scale.choose(3, 1), size: scale.choose(Size::Full, Size::Slice) };
    let section = one(name, &plan)?;
    let reached = section.judged.iter().all(|judged| judged.is_reached());
    let figures = section.judged.iter().map(|judged| judged.show()).chain(section.wrong.iter().cloned());
    Ok(Measured { figures: figures.collect(), right: section.wrong.is_empty(), reached })
}

/// Accounts that money is moved between, and what is in each at first.
const ACCOUNTS: usize = 50;
const EACH: i64 = 1_000;

/// Snapshots under transfers between accounts that are strings, fields of a hash and scores of a sorted set.
fn exact(scale: Scale) -> Result<Measured, String> {
    let (snapshots, filler) = (scale.choose(50, 3), scale.choose(300_000, 20_000));
    let mut server = larder(&["--io-threads", "2"])?;
    stream(&server, filler, |n, out| {
        out.extend(encode(&[b"SET".as_slice(), format!("filler:{n}").as_bytes(), &[b'f'; 64]]));
    })?;
    stream(&server, filler / 10, |n, out| {
        let member = format!("filler:{n}");
        out.extend(match n % 2 {
            0 => encode(&[b"ZADD".as_slice(), b"scores", b"0", member.as_bytes()]),
            _ => encode(&[b"HSET".as_slice(), b"fields", member.as_bytes(), b"0"]),
        });
    })?;
    let mut client = server.connect();
    for account in 0..ACCOUNTS {
        client.line(&format!("SET account:{account} {EACH}"));
        client.line(&format!("HSET fields account:{account} {EACH}"));
        client.line(&format!("ZADD scores {EACH} account:{account}"));
    }
    let mut rng = Rng::new(3);
    let mut wrong = Vec::new();
    for nth in 0..snapshots {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for seed in 0..2 {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || transfer(&mut server.connect(), Rng::new(nth * 2 + seed), stop));
            }
            std::thread::sleep(Duration::from_millis(rng.below(60) as u64));
            client.line("BGSAVE");
            while info(&server, "rdb_bgsave_in_progress") == Some(1.0) {
                std::thread::sleep(Duration::from_millis(2));
            }
            stop.store(true, Ordering::Relaxed);
        });
        if info(&server, "rdb_saves") != Some(f64::from(u32::try_from(nth).unwrap_or(0) + 1)) {
            wrong.push(format!("snapshot {nth} was not begun"));
        }
        let mut copy = larder(&[])?;
        copy.kill9();
        let files = [&server, &copy].map(|server| server.dir().join("dump.rdb"));
        std::fs::copy(&files[0], &files[1]).map_err(|e| e.to_string())?;
        copy.restart();
        let sums = sums(&copy);
        if sums != [ACCOUNTS as i64 * EACH; 3] {
            wrong.push(format!("snapshot {nth}: the accounts add up to {sums:?}"));
        }
    }
    server.kill9();
    let figure = format!("{snapshots} snapshots of {filler} keys and more, {} of them wrong", wrong.len());
    Ok(Measured::right(wrong.is_empty(), std::iter::once(figure).chain(wrong).collect()))
}

/// Moves money between accounts of each kind until it is told to stop.
fn transfer(client: &mut Client, mut rng: Rng, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let (from, to, amount) = (rng.below(ACCOUNTS), rng.below(ACCOUNTS), rng.below(9));
        for line in [
            "MULTI".to_owned(),
            format!("DECRBY account:{from} {amount}"),
            format!("HINCRBY fields account:{from} -{amount}"),
            format!("ZINCRBY scores -{amount} account:{from}"),
            format!("INCRBY account:{to} {amount}"),
            format!("HINCRBY fields account:{to} {amount}"),
            format!("ZINCRBY scores {amount} account:{to}"),
            "EXEC".to_owned(),
        ] {
            client.line(&line);
        }
    }
}

/// What the accounts of each kind add up to.
fn sums(server: &Server) -> [i64; 3] {
    let mut client = server.connect();
    let mut sum = |line: &str| -> i64 {
        let number = |account| {
            let reply = client.line(&line.replace("{}", &format!("account:{account}")));
            String::from_utf8_lossy(reply.as_bytes()?).parse::<i64>().ok()
        };
        (0..ACCOUNTS).filter_map(number).sum()
    };
    [sum("GET {}"), sum("HGET fields {}"), sum("ZSCORE scores {}")]
}
