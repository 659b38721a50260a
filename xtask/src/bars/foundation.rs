//! The bars of issue 2: a web team's Redis tutorial runs unpatched, on an engine in its final shape.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use larder_resp::Frame;
use testkit::compare::{Plan, compare};
use testkit::docs;
use testkit::fuzz::mutate;
use testkit::grammar::{Declaration, Family, Grammar, engine_declarations};
use testkit::{Client, Options, Program, Rng, Server};

use super::{Bar, Measured, Scale, server};
use crate::load::{
    Load, beside_unions, fill, fill_big, fill_keys, latencies, measure, percentile, pin, words,
};
use crate::run::{command, fuzz_command, logged};

pub(super) const BARS: &[Bar] = &[
    Bar {
        name: "start",
        required: "from the server's start to PONG under 1 s",
        in_slice: true,
        measure: start,
    },
    Bar {
        name: "story",
        required: "the story passes with the published Node and Python clients and redis-cli",
        in_slice: false,
        measure: story,
    },
    Bar {
        name: "queries",
        required: "1,000 requests a minute for one minute: one query; mixed 95 % reads: 90 % fewer queries",
        in_slice: false,
        measure: queries,
    },
    Bar {
        name: "differential",
        required: "200,000 random commands per type, RESP2 and RESP3, 1 and 4 I/O threads: the replies of redis-server",
        in_slice: true,
        measure: differential,
    },
    Bar {
        name: "atomicity",
        required: "4 threads, 8 connections moving amounts: a reader never sees a torn state",
        in_slice: true,
        measure: atomicity,
    },
    Bar {
        name: "scan",
        required: "SCAN returns every element that was there throughout, while the table grows and shrinks",
        in_slice: true,
        measure: scan,
    },
    Bar {
        name: "long-command",
        required: "GETs on every connection while one client loops ZUNIONSTORE over 10^6 members: longest stop under 20 ms",
        in_slice: true,
        measure: long_command,
    },
    Bar {
        name: "fuzz",
        required: "10,000,000 byte strings against the parser, 100,000 against a live server: no crash, no hang",
        in_slice: true,
        measure: fuzz,
    },
    Bar {
        name: "cpu",
        required: "GET and SET at pipeline 1 and 16 cost no more CPU per request than redis-server",
        in_slice: true,
        measure: cpu,
    },
];

/// Our server with this many I/O threads.
fn larder(threads: &str) -> Result<Server, String> {
    Server::try_start(
        Options { program: Program::Path(server()), ..Options::larder() }.args(["--io-threads", threads]),
    )
}

fn start(_: Scale) -> Result<Measured, String> {
    let begin = Instant::now();
    let server = larder("2")?;
    let mut client = server.connect();
    let answer = client.line("PING");
    let time = begin.elapsed();
    let figures = vec![format!("{} ms to {answer:?}", time.as_millis())];
    Ok(Measured::reached(answer == Frame::Simple(b"PONG".to_vec()) && time < Duration::from_secs(1), figures))
}

fn story(scale: Scale) -> Result<Measured, String> {
    let mut node = command("node", &["--test", "--test-reporter=tap"]);
    node.current_dir("tests/node").env("LARDER_SERVER", server()).env("BARS", scale.choose("full", "slice"));
    let outcome = logged("bars-node", vec![node]);
    let text = outcome.text();
    let counts = text.lines().filter(|l| l.starts_with("# pass ") || l.starts_with("# fail "));
    let mut figures: Vec<String> = counts.map(|l| format!("node: {}", l.trim_start_matches("# "))).collect();
    let mut right = outcome.success;
    if std::path::Path::new("tests/python/requirements.txt").exists() {
        let python = logged("bars-python", crate::stages::python());
        let text = python.text();
        figures.extend(text.lines().last().map(|line| format!("python: {line}")));
        right &= python.success;
    }
    Ok(Measured::right(right, figures))
}

/// The application's own tests print a line `BAR ...` for each figure.
fn queries(scale: Scale) -> Result<Measured, String> {
    let mut node = command("node", &["--test", "--test-reporter=tap", "queries.test.js"]);
    node.current_dir("tests/node").env("LARDER_SERVER", server()).env("BARS", scale.choose("full", "slice"));
    let outcome = logged("bars-queries", vec![node]);
    let text = outcome.text();
    let figures: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim_start_matches(['#', ' ']).strip_prefix("BAR "))
        .map(str::to_owned)
        .collect();
    Ok(Measured::right(outcome.success && !figures.is_empty(), figures))
}

/// The types and the groups of their commands.
const TYPES: &[(Family, &str)] = &[
    (Family::String, "string"),
    (Family::List, "list"),
    (Family::Hash, "hash"),
    (Family::Set, "set"),
    (Family::SortedSet, "sorted-set"),
];

fn differential(scale: Scale) -> Result<Measured, String> {
    let oracle = Server::try_start(Options::redis())?;
    let (mut figures, mut right) = (Vec::new(), true);
    for threads in ["1", "4"] {
        let ours = larder(threads)?;
        let names = |server: &Server| docs::documented(&mut server.connect()).into_iter().map(|d| d.name);
        let have: Vec<String> = names(&ours).collect();
        let both: Vec<String> = names(&oracle).filter(|name| have.contains(name)).collect();
        for (family, group) in TYPES {
            let keep = |name: &str| docs::is_comparable(name) && both.iter().any(|n| n == name);
            let mut found = engine_declarations(*family, keep);
            let own = found.iter().filter(|d| d.family == *family).count();
            // The oracle's own description names every option, also one that we might have forgotten.
            found.extend(docs::declarations(&mut oracle.connect(), &[group, "generic"], keep));
            let weigh = |d: Declaration| if d.family == Family::Generic { d } else { d.weight(8) };
            let mut grammar = Grammar::new(found.into_iter().map(weigh).collect());
            grammar.avoid = vec!["IFEQ"];
            let plan = Plan::new(&grammar, 2, scale.choose(100_000, 1_000));
            match compare(&oracle, &ours, &plan) {
                Ok(report) => figures.push(format!(
                    "{group}, {threads} threads: {} commands ({own} different, {} errors among the replies), no difference",
                    report.commands, report.errors
                )),
                Err(difference) => {
                    right = false;
                    figures.push(format!("{group}, {threads} threads: {difference}"));
                }
            }
        }
    }
    Ok(Measured::right(right, figures))
}

/// Accounts that amounts move between; their sum never changes.
const ACCOUNTS: usize = 16;
/// What each account starts with.
const DEPOSIT: i64 = 1_000;

/// What the movers and the reader of [`atomicity`] have seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    moves: AtomicU64,
    conflicts: AtomicU64,
    reads: AtomicU64,
    torn: AtomicU64,
}

fn atomicity(scale: Scale) -> Result<Measured, String> {
    let server = larder("4")?;
    let mut client = server.connect();
    let accounts = (0..ACCOUNTS).map(|n| words(&format!("SET account:{n} {DEPOSIT}")));
    fill(&mut client, accounts)?;
    fill(&mut client, (0..100).map(|n| words(&format!("SADD set:0 m{n}"))))?;
    fill(&mut client, (0..100).map(|n| words(&format!("RPUSH list:0 e{n}"))))?;
    fill(&mut client, std::iter::once(words("SET token:0 here")))?;
    let seen = Seen::default();
    std::thread::scope(|scope| {
        for mover in 0..8 {
            let (server, seen) = (&server, &seen);
            scope.spawn(move || move_amounts(server.connect(), mover, seen));
        }
        for _ in 0..2 {
            scope.spawn(|| read_states(server.connect(), &seen));
        }
        std::thread::sleep(scale.choose(Duration::from_secs(60), Duration::from_secs(2)));
        seen.stop.store(true, Ordering::Relaxed);
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let figures = vec![format!(
        "{} moves, {} transactions refused by WATCH, {} reads, {} torn",
        count(&seen.moves),
        count(&seen.conflicts),
        count(&seen.reads),
        count(&seen.torn)
    )];
    Ok(Measured::right(count(&seen.torn) == 0 && count(&seen.moves) > 0 && count(&seen.reads) > 0, figures))
}

fn move_amounts(mut client: Client, mover: u64, seen: &Seen) {
    let mut rng = Rng::new(mover);
    while !seen.stop.load(Ordering::Relaxed) {
        match mover % 4 {
            0 | 1 => transfer(&mut client, &mut rng, seen),
            2 => {
                let (from, to) = (rng.below(4), rng.below(4));
                client.line(&format!("SMOVE set:{from} set:{to} m{}", rng.below(100)));
                client.line(&format!("LMOVE list:{from} list:{to} LEFT RIGHT"));
            }
            _ => {
                // Only one token exists: moving it from where it is not is an error, and that is fine.
                client.line(&format!("RENAME token:{} token:{}", rng.below(4), rng.below(4)));
            }
        }
        seen.moves.fetch_add(1, Ordering::Relaxed);
    }
}

/// Moves an amount between two accounts, as a client does that reads before it writes.
fn transfer(client: &mut Client, rng: &mut Rng, seen: &Seen) {
    let from = rng.below(ACCOUNTS);
    let to = (from + 1 + rng.below(ACCOUNTS - 1)) % ACCOUNTS;
    client.line(&format!("WATCH account:{from} account:{to}"));
    let balances = numbers(&client.line(&format!("MGET account:{from} account:{to}")));
    let amount = rng.between(1, 10);
    client.line("MULTI");
    client.line(&format!("SET account:{from} {}", balances[0] - amount));
    client.line(&format!("SET account:{to} {}", balances[1] + amount));
    if client.line("EXEC").is_null() {
        seen.conflicts.fetch_add(1, Ordering::Relaxed);
    }
}

fn numbers(reply: &Frame) -> Vec<i64> {
    let elements = reply.as_elements().unwrap_or_default();
    let number = |f: &Frame| f.as_integer().or_else(|| f.as_str()?.parse().ok()).unwrap_or(i64::MIN / 1_000);
    elements.iter().map(number).collect()
}

fn read_states(mut client: Client, seen: &Seen) {
    let keys: Vec<String> = (0..ACCOUNTS).map(|n| format!("account:{n}")).collect();
    let all = format!("MGET {}", keys.join(" "));
    let expected = DEPOSIT * i64::try_from(ACCOUNTS).expect("sixteen");
    while !seen.stop.load(Ordering::Relaxed) {
        let balances: i64 = numbers(&client.line(&all)).iter().sum();
        let tokens = client.line("EXISTS token:0 token:1 token:2 token:3").as_integer();
        let commands = [
            "MULTI",
            "SCARD set:0",
            "SCARD set:1",
            "SCARD set:2",
            "SCARD set:3",
            "LLEN list:0",
            "LLEN list:1",
            "LLEN list:2",
            "LLEN list:3",
            "EXEC",
        ];
        let replies = client.pipeline(&commands.map(words));
        let sizes: Vec<i64> = replies.last().map(numbers).unwrap_or_default();
        let whole = sizes.len() == 8
            && sizes[..4].iter().sum::<i64>() == 100
            && sizes[4..].iter().sum::<i64>() == 100;
        if balances != expected || tokens != Some(1) || !whole {
            seen.torn.fetch_add(1, Ordering::Relaxed);
        }
        seen.reads.fetch_add(1, Ordering::Relaxed);
    }
}

fn scan(scale: Scale) -> Result<Measured, String> {
    const KEPT: usize = 1_000;
    let server = larder("2")?;
    let mut client = server.connect();
    fill(&mut client, (0..KEPT).map(|n| words(&format!("SET kept:{n} x"))))?;
    fill(&mut client, (0..KEPT).map(|n| words(&format!("HSET hash kept:{n} x"))))?;
    let stop = AtomicBool::new(false);
    let rounds = scale.choose(60, 3);
    let (mut scans, mut lost) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| grow_and_shrink(server.connect(), &stop));
        for round in 0..rounds {
            let count = [1, 10, 100][round % 3];
            for command in [format!("SCAN 0 COUNT {count}"), format!("HSCAN hash 0 COUNT {count}")] {
                let found = scan_all(&mut client, &command);
                scans += 1;
                lost += (0..KEPT).filter(|n| !found.contains(format!("kept:{n}").as_bytes())).count();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    Ok(Measured::right(
        lost == 0,
        vec![format!("{scans} iterations over {KEPT} lasting elements, {lost} missed")],
    ))
}

/// Adds and removes what does not last, many times as much as what does.
fn grow_and_shrink(mut client: Client, stop: &AtomicBool) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let grow = (number / 40) % 2 == 0;
        let step = (0..500).map(|n| {
            let id = (number % 40) * 500 + n;
            if grow { words(&format!("SET gone:{id} x")) } else { words(&format!("DEL gone:{id}")) }
        });
        let fields = (0..100).map(|n| {
            let id = (number % 40) * 100 + n;
            if grow {
                words(&format!("HSET hash gone:{id} x"))
            } else {
                words(&format!("HDEL hash gone:{id}"))
            }
        });
        let commands: Vec<Vec<Vec<u8>>> = step.chain(fields).collect();
        client.pipeline(&commands);
        number += 1;
    }
}

fn scan_all(client: &mut Client, command: &str) -> std::collections::BTreeSet<Vec<u8>> {
    let mut found = std::collections::BTreeSet::new();
    let mut command = words(command);
    let place = usize::from(command[0] == b"HSCAN") + 1;
    loop {
        let page = client.cmd(&command);
        let [Frame::Bulk(cursor), Frame::Array(elements)] = page.as_elements().unwrap_or_default() else {
            return found;
        };
        found.extend(elements.iter().filter_map(|e| e.as_bytes().map(<[u8]>::to_vec)));
        if cursor == b"0" {
            return found;
        }
        command[place].clone_from(cursor);
    }
}

fn long_command(scale: Scale) -> Result<Measured, String> {
    let server = larder("2")?;
    let members = scale.choose(1_000_000, 20_000);
    let time = scale.choose(Duration::from_secs(20), Duration::from_secs(1));
    let mut client = server.connect();
    client.line("SET other value");
    fill_big(&mut client, members)?;
    let control = latencies(&server, 8, time)?;
    let (rounds, busy) = beside_unions(&server, || latencies(&server, 8, time))?;
    let worst = |all: &[u128]| all.last().copied().unwrap_or(0);
    let excess = worst(&busy).saturating_sub(worst(&control));
    let figures = vec![
        format!("{members} members, {rounds} rounds, 8 other connections"),
        format!(
            "longest stop {} us, without the load {} us, excess {excess} us",
            worst(&busy),
            worst(&control)
        ),
        format!("p99.9 {} us, without the load {} us", percentile(&busy, 0.999), percentile(&control, 0.999)),
    ];
    let reached = excess < 20_000 && percentile(&busy, 0.999) <= 2 * percentile(&control, 0.999);
    Ok(Measured::reached(reached, figures))
}

fn fuzz(scale: Scale) -> Result<Measured, String> {
    let runs = scale.choose("10000000", "20000");
    let args = ["resp-request", "resp-reply", "--runs", runs].map(str::to_owned);
    let parser = logged("bars-fuzz", vec![fuzz_command(&args)]);
    let mut figures: Vec<String> = parser.text().lines().map(str::to_owned).collect();
    let (right, figure) = fuzz_live(scale.choose(100_000, 2_000))?;
    figures.push(figure);
    Ok(Measured::right(parser.success && right, figures))
}

/// Mutated requests against a running server: each on a connection of its own, which must be answered or closed; another
/// connection must be served meanwhile.
fn fuzz_live(runs: usize) -> Result<(bool, String), String> {
    let mut server = larder("2")?;
    let mut other = server.connect();
    other.line("SET other value");
    let examples: Vec<Vec<u8>> = [
        "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
        "*4\r\n$4\r\nZADD\r\n$1\r\nz\r\n$1\r\n1\r\n$1\r\nm\r\n*5\r\n$6\r\nZRANGE\r\n$1\r\nz\r\n$1\r\n0\r\n$2\r\n-1\r\n$10\r\nWITHSCORES\r\n",
        "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*1\r\n$4\r\nEXEC\r\n",
        "PING\r\nSET inline \"a \\x41\"\r\n*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let mut rng = Rng::new(8);
    let memory_before = server.memory_rss();
    for run in 0..runs {
        let mut input = rng.pick(&examples).clone();
        for _ in 0..=rng.below(4) {
            mutate(&mut input, &examples, &mut rng);
        }
        let mut client = server.connect();
        // The server may close before it has read everything: then there is nothing more to send.
        if client.try_send_raw(&input).is_ok() && client.try_close_sending().is_ok() {
            client.read_to_close();
        }
        if run % 100 == 0 && other.line("GET other") != Frame::Bulk(b"value".to_vec()) {
            return Ok((
                false,
                format!("after {run} inputs another connection is not served: {:?}", input.escape_ascii()),
            ));
        }
    }
    let grown = server.memory_peak().saturating_sub(memory_before) >> 20;
    let alive = server.is_running() && other.line("PING") == Frame::Simple(b"PONG".to_vec());
    Ok((
        alive && grown < 256,
        format!("live server: {runs} inputs, alive: {alive}, memory grown by {grown} MiB at most"),
    ))
}

fn cpu(scale: Scale) -> Result<Measured, String> {
    let keys = scale.choose(1_000_000, 1_000);
    let time = scale.choose(Duration::from_secs(4), Duration::from_millis(300));
    let oracle = Server::try_start(Options::redis())?;
    let ours = larder("1")?;
    for server in [&oracle, &ours] {
        fill_keys(server, keys)?;
        pin(server.pid(), 0);
    }
    pin(std::process::id(), 1);
    let (mut figures, mut reached) = (Vec::new(), true);
    for (name, set) in [("GET", false), ("SET", true)] {
        for pipeline in [1, 16] {
            let load = Load { connections: 50, pipeline, keys, set };
            let (mut costs, mut rates) = (Vec::new(), Vec::new());
            for _ in 0..scale.choose(5, 1) {
                let (theirs, mine) = (measure(&oracle, load, time)?, measure(&ours, load, time)?);
                costs.push(theirs.cpu_us / mine.cpu_us);
                rates.push(mine.rate / theirs.rate);
            }
            let (cost, rate) = (median(&mut costs), median(&mut rates));
            // A saving in CPU that costs rate is no saving.
            reached &= cost >= 1.0 && rate >= 0.95;
            figures.push(format!(
                "{name}, pipeline {pipeline}: {cost:.2} times as many requests per CPU second as redis-server, at {rate:.2} \
                 times its rate"
            ));
        }
    }
    Ok(Measured::reached(reached, figures))
}

/// The middle one of an odd number of values.
fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
