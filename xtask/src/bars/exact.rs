//! Snapshots of one moment: each holds what transactions keep, and is what the log makes up to its cut.
//!
//! Two connections move money between accounts that are strings, fields of a hash and scores of a sorted set, and change
//! other keys, all in transactions; each counts itself with INCR. Meanwhile a snapshot is taken. Its own count says after
//! how many transactions the cut was. So the append-only file is cut off behind the last of them and loaded too, by our
//! server or by redis-server in turns, and compared with the snapshot key by key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testkit::client::encode;
use testkit::durable::{Content, contents, differences, wait_for_rewrite};
use testkit::{Client, Options, Rng, Server};

use super::{Measured, Scale};
use crate::bench::{info, larder};
use crate::load::stream;

/// Accounts that money is moved between, and what is in each at first.
const ACCOUNTS: usize = 50;
const EACH: i64 = 1_000;
/// What a server holds.
type Contents = BTreeMap<(usize, Vec<u8>), Content>;
/// How a transaction ends in the log.
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

pub(super) fn measure(scale: Scale) -> Result<Measured, String> {
    let (snapshots, filler) = (scale.choose(50, 3), scale.choose(200_000, 20_000));
    let server = larder(&["--io-threads", "2", "--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"])?;
    fill(&server, filler)?;
    let mut rng = Rng::new(3);
    let (mut wrong, mut compared, mut transactions) = (Vec::new(), 0, 0);
    for nth in 0..snapshots {
        let (counted, found) = one_snapshot(&server, nth, filler, &mut rng)?;
        transactions += counted.transactions;
        compared += counted.keys;
        wrong.extend(found.into_iter().map(|what| format!("snapshot {nth}: {what}")));
    }
    let mut figures = vec![format!(
        "{snapshots} snapshots of {} keys under transactions, {transactions} of these before the cuts; {compared} keys \
         compared, {} differences",
        compared / snapshots as usize,
        wrong.len()
    )];
    let is_right = wrong.is_empty();
    wrong.truncate(10);
    figures.extend(wrong);
    Ok(Measured::right(is_right, figures))
}

fn fill(server: &Server, filler: usize) -> Result<(), String> {
    stream(server, filler, |n, out| {
        out.extend(encode(&[b"SET".as_slice(), format!("filler:{n}").as_bytes(), &[b'f'; 64]]));
    })?;
    stream(server, filler / 10, |n, out| {
        let member = format!("filler:{n}");
        out.extend(match n % 4 {
            0 => encode(&[b"ZADD".as_slice(), b"scores", b"0", member.as_bytes()]),
            1 => encode(&[b"HSET".as_slice(), b"fields", member.as_bytes(), b"0"]),
            2 => encode(&[b"SADD".as_slice(), b"members", member.as_bytes()]),
            _ => encode(&[b"RPUSH".as_slice(), b"elements", member.as_bytes()]),
        });
    })?;
    let mut client = server.connect();
    for account in 0..ACCOUNTS {
        client.line(&format!("SET account:{account} {EACH}"));
        client.line(&format!("HSET fields account:{account} {EACH}"));
        client.line(&format!("ZADD scores {EACH} account:{account}"));
    }
    Ok(())
}

/// What was looked at.
struct Counted {
    /// Transactions between the beginning of the log and the cut.
    transactions: usize,
    keys: usize,
}

/// Takes a snapshot under load, and looks at it. Returns what is wrong with it.
fn one_snapshot(
    server: &Server,
    nth: u64,
    filler: usize,
    rng: &mut Rng,
) -> Result<(Counted, Vec<String>), String> {
    let mut client = server.connect();
    client.set_timeout(Duration::from_secs(60));
    let mut wrong = Vec::new();
    // The log begins anew, with everything there is.
    client.line("BGREWRITEAOF");
    wait_for_rewrite(&mut client);
    let (before, saves) = (count(&mut client), info(server, "rdb_saves"));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || transfer(&mut server.connect(), Rng::new(nth * 2 + seed), filler, stop));
        }
        std::thread::sleep(Duration::from_millis(rng.below(60) as u64));
        client.line("BGSAVE");
        while info(server, "rdb_bgsave_in_progress") == Some(1.0) {
            std::thread::sleep(Duration::from_millis(2));
        }
        stop.store(true, Ordering::Relaxed);
    });
    if info(server, "rdb_saves") != saves.map(|saves| saves + 1.0) {
        wrong.push("it was not begun".to_owned());
    }
    let snapshot =
        with_files(&[], |dir| fs::copy(server.dir().join("dump.rdb"), dir.join("dump.rdb")).map(drop))?;
    let mut loaded = snapshot.connect();
    let sums = sums(&mut loaded);
    if sums != [ACCOUNTS as i64 * EACH; 3] {
        wrong.push(format!("the accounts add up to {sums:?}"));
    }
    let transactions = count(&mut loaded).saturating_sub(before) as usize;
    let by_redis = nth % 2 == 1;
    let replayed = replay(server, transactions, by_redis)?;
    loaded.set_timeout(Duration::from_secs(60));
    let all = without_history(contents(&mut loaded));
    let different = differences(&all, &without_history(contents(&mut replayed.connect())));
    let by = if by_redis { "redis-server" } else { "ours" };
    wrong.extend(
        different.into_iter().map(|what| format!("the log to transaction {transactions}, by {by}: {what}")),
    );
    Ok((Counted { transactions, keys: all.len() }, wrong))
}

/// Without encodings, which depend on how a value came about, and a snapshot does not keep that: a number that APPEND has
/// made is `raw` until it is loaded, and a hash that was large once stays a table.
fn without_history(mut all: Contents) -> Contents {
    for (_, encoding, _, _) in all.values_mut() {
        encoding.clear();
    }
    all
}

/// A server of ours that has loaded what `put` has put into its directory.
fn with_files(args: &[&str], put: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<Server, String> {
    let mut server = larder(args)?;
    server.kill9();
    put(&server.dir()).map_err(|e| format!("copying files: {e}"))?;
    server.restart();
    Ok(server)
}

/// A server that has loaded the append-only file of another up to so many transactions.
fn replay(server: &Server, transactions: usize, by_redis: bool) -> Result<Server, String> {
    let mut other = if by_redis { Server::try_start(Options::redis())? } else { larder(&[])? };
    other.kill9();
    let to = other.dir().join("appendonlydir");
    let last =
        copy_dir(&server.dir().join("appendonlydir"), &to).map_err(|e| format!("copying the log: {e}"))?;
    let log = fs::read(&last).map_err(|e| format!("{}: {e}", last.display()))?;
    let end = match transactions.checked_sub(1) {
        None => 0,
        Some(before) => {
            let mut ends = log.windows(EXEC.len()).enumerate().filter(|(_, bytes)| *bytes == EXEC);
            let found = ends.nth(before).map(|(start, _)| start + EXEC.len());
            found.ok_or_else(|| format!("the log has fewer than {transactions} transactions"))?
        }
    };
    fs::write(&last, &log[..end]).map_err(|e| format!("{}: {e}", last.display()))?;
    other.set_args(["--appendonly", "yes"]);
    other.restart();
    Ok(other)
}

/// Copies a directory, and returns the incremental file in the copy.
fn copy_dir(from: &Path, to: &Path) -> std::io::Result<PathBuf> {
    fs::create_dir_all(to)?;
    let mut last = None;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        fs::copy(from.join(&name), to.join(&name))?;
        if name.to_string_lossy().ends_with(".incr.aof") {
            last = Some(to.join(&name));
        }
    }
    last.ok_or_else(|| std::io::Error::other("there is no incremental file"))
}

/// How many transactions there were.
fn count(client: &mut Client) -> u64 {
    let reply = client.line("GET transactions");
    reply.as_str().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Moves money between accounts of each kind, and changes this and that, until it is told to stop.
fn transfer(client: &mut Client, mut rng: Rng, filler: usize, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let (from, to, amount) = (rng.below(ACCOUNTS), rng.below(ACCOUNTS), rng.below(9));
        let n = rng.below(filler);
        let small = n % (filler / 10);
        let other = match rng.below(8) {
            0 => format!("DEL filler:{n}"),
            1 => format!("SET filler:{n} {amount}"),
            2 => format!("APPEND filler:{n} {amount}"),
            3 => format!("SADD members filler:{n}"),
            4 => format!("SREM members filler:{small}"),
            5 => format!("LSET elements {} {n}", small / 5),
            6 => format!("HDEL fields filler:{small}"),
            _ => format!("ZADD scores 0 filler:{n}"),
        };
        let lines = [
            "MULTI".to_owned(),
            "INCR transactions".to_owned(),
            format!("DECRBY account:{from} {amount}"),
            format!("HINCRBY fields account:{from} -{amount}"),
            format!("ZINCRBY scores -{amount} account:{from}"),
            other,
            format!("INCRBY account:{to} {amount}"),
            format!("HINCRBY fields account:{to} {amount}"),
            format!("ZINCRBY scores {amount} account:{to}"),
            "EXEC".to_owned(),
        ];
        client.pipeline(&lines.each_ref().map(|line| line.split(' ').collect()));
    }
}

/// What the accounts of each kind add up to.
fn sums(client: &mut Client) -> [i64; 3] {
    let mut sum = |line: &str| -> i64 {
        let number = |account| {
            let reply = client.line(&line.replace("{}", &format!("account:{account}")));
            String::from_utf8_lossy(reply.as_bytes()?).parse::<i64>().ok()
        };
        (0..ACCOUNTS).filter_map(number).sum()
    };
    [sum("GET {}"), sum("HGET fields {}"), sum("ZSCORE scores {}")]
}
