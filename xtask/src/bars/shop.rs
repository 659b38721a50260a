//! The bars of issue 7: the shop, as people start it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::port::Port;
use testkit::temp::TempDir;
use testkit::{Options, Rng, Server};

use super::{Bar, Measured, Scale};
use crate::http::{Connection, End, Tally, load, request};
use crate::load::{pin, unpin};
use crate::{run, stages};

pub(super) const BARS: &[Bar] = &[
    Bar {
        name: "start",
        required: "in an empty folder and without configuration, the first page comes less than 1 s after the start",
        in_slice: true,
        measure: start,
    },
    Bar {
        name: "browser",
        required: "the story of a customer in chromium: browse, search, log in, fill a cart, log in on a second browser, \
                   end the first from there, chat, a leaderboard that moves, still logged in after a restart",
        in_slice: false,
        measure: |_| browser("browser", "the shop on its own engine"),
    },
    Bar {
        name: "processes",
        required: "the same with two processes that take turns, on one larder-server, one redis-server and a cluster of 3 \
                   primaries and 3 replicas",
        in_slice: false,
        measure: |_| browser("processes", "two shops on"),
    },
    Bar {
        name: "postgres",
        required: "the same on PostgreSQL",
        in_slice: false,
        measure: |_| browser("postgres", "the shop on PostgreSQL"),
    },
    Bar {
        name: "queries",
        required: "under load (95 % reads, Zipf) at least 95 % fewer reads of the database",
        in_slice: true,
        measure: queries,
    },
    Bar {
        name: "throughput",
        required: "at least 10 times as many GET /api/products in a second as without the cache",
        in_slice: true,
        measure: throughput,
    },
    Bar {
        name: "outage",
        required: "the server of the cache killed under load: every request is answered, from the database, and the hit \
                   ratio comes back by itself",
        in_slice: true,
        measure: outage,
    },
    Bar {
        name: "hostile",
        required: "forged and duplicated cookies, session fixation, forged requests, stored scripts, oversized bodies, 1,000 \
                   wrong passwords: refused, a test each",
        in_slice: false,
        measure: |_| Ok(hostile()),
    },
];

/// Connections of a load.
const CONNECTIONS: u64 = 16;
/// Products of the shop.
const PRODUCTS: usize = 500;

/// A process of the shop, ended with its owner.
struct Shop {
    child: Child,
    addr: SocketAddr,
    _port: Port,
}

impl Shop {
    /// Starts it in a folder, and waits for its first page.
    fn start(scale: Scale, folder: &Path, environment: &[(&str, &str)]) -> Result<Shop, String> {
        let program = program(scale)?;
        let port = Port::take();
        let addr = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let log = File::create(folder.join("log")).map_err(|error| error.to_string())?;
        let mut command = run::command(&program.to_string_lossy(), &[]);
        command.current_dir(folder).env("SHOP_ADDR", addr.to_string()).env("NO_COLOR", "1");
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(log).stderr(Stdio::inherit());
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let mut shop = Shop { child, addr, _port: port };
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(60) {
            let page = request("GET", "/", "", "");
            if let Ok(answer) = Connection::open(addr).and_then(|mut open| open.ask(&page)) {
                return match answer.status {
                    200 => Ok(shop),
                    status => Err(format!("the first page has status {status}")),
                };
            }
            if let Ok(Some(status)) = shop.child.try_wait() {
                return Err(format!("the shop has ended: {status}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err("the shop shows no page".to_owned())
    }

    /// One of the numbers that it counts.
    fn count(&self, name: &str) -> Result<u64, String> {
        let answer =
            Connection::open(self.addr).and_then(|mut open| open.ask(&request("GET", "/api/stats", "", "")));
        let text = String::from_utf8_lossy(&answer.map_err(|error| error.to_string())?.body).into_owned();
        let (_, rest) =
            text.split_once(&format!("\"{name}\":")).ok_or_else(|| format!("no {name:?} in {text}"))?;
        rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).ok_or(text)
    }

    /// Signs somebody up, and returns the cookie.
    fn sign_up(&self) -> Result<String, String> {
        let who = r#"{"username":"ann","password":"a good password"}"#;
        let answer =
            Connection::open(self.addr).and_then(|mut open| open.ask(&request("POST", "/signup", "", who)));
        answer.map_err(|error| error.to_string())?.cookie.ok_or_else(|| "no cookie came".to_owned())
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The shop: as users build it where times are judged, and else as the tests have built it. Built if it is not there.
fn program(scale: Scale) -> Result<PathBuf, String> {
    if let Some(program) = std::env::var_os("LARDER_SHOP") {
        return Ok(program.into());
    }
    let release = stages::server().with_file_name("shop");
    let target = release.parent().and_then(Path::parent).unwrap_or(Path::new("target"));
    let (path, profile) = scale.choose((release.clone(), "release"), (target.join("debug/shop"), "dev"));
    if !path.is_file() {
        println!("building the shop");
        let outcome =
            run::logged("build-shop", vec![run::cargo(&["build", "--profile", profile, "-p", "shop"])]);
        if !outcome.success {
            outcome.show_tail();
            return Err("the shop does not build".to_owned());
        }
    }
    Ok(path)
}

/// Draws products: the n-th most popular one in proportion to 1 / n^0.99. Which those are has nothing to do with their
/// age.
struct Popular {
    sums: Vec<f64>,
}

impl Popular {
    fn new() -> Popular {
        let mut sum = 0.0;
        let weight = |rank: usize| {
            sum += (rank as f64).powf(-0.99);
            sum
        };
        Popular { sums: (1..=PRODUCTS).map(weight).collect() }
    }

    fn draw(&self, rng: &mut Rng) -> usize {
        let all = self.sums[PRODUCTS - 1];
        let at = rng.below(1 << 30) as f64 / f64::from(1 << 30) * all;
        let rank = self.sums.partition_point(|sum| *sum <= at).min(PRODUCTS - 1);
        rank * 211 % PRODUCTS + 1
    }

    /// A reader: mostly of products, sometimes of the list.
    fn read(&self, rng: &mut Rng) -> Vec<u8> {
        if rng.percent(20) {
            return request("GET", "/api/products", "", "");
        }
        request("GET", &format!("/api/products/{}", self.draw(rng)), "", "")
    }
}

fn start(scale: Scale) -> Result<Measured, String> {
    program(scale)?;
    let mut times = Vec::new();
    for _ in 0..scale.choose(5, 1) {
        let folder = TempDir::new();
        let begin = Instant::now();
        Shop::start(scale, folder.path(), &[])?;
        times.push(begin.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let (middle, longest) = (times[times.len() / 2], times[times.len() - 1]);
    let figures = vec![format!("{middle:.3} s, the longest of {} {longest:.3} s", times.len())];
    Ok(Measured::reached(longest < 1.0, figures))
}

fn browser(name: &str, story: &str) -> Result<Measured, String> {
    let mut node = run::command("node", &["--test", "--test-reporter=tap", "shop.test.js"]);
    node.current_dir("tests/node")
        .env("LARDER_SERVER", super::server())
        .env("LARDER_SHOP", program(Scale::Full)?)
        .env("BARS", "full")
        .env("SHOP_STORY", story);
    let outcome = run::logged(&format!("shop-{name}"), vec![node]);
    let text = outcome.text();
    let number = |start: &str| {
        text.lines().rev().find_map(|line| line.strip_prefix(start)?.trim().parse::<u64>().ok())
    };
    let (passed, failed) = (number("# pass ").unwrap_or(0), number("# fail ").unwrap_or(1));
    let lacks = text
        .lines()
        .find_map(|line| line.split_once("# SKIP ").filter(|(_, why)| !why.contains("SHOP_STORY")));
    let lacks = lacks.map(|(_, why)| format!(", not all: {why}")).unwrap_or_default();
    let is_right = outcome.success && passed > 0 && failed == 0 && lacks.is_empty();
    Ok(Measured::right(is_right, vec![format!("{passed} tests passed, {failed} failed{lacks}")]))
}

/// The same requests to a shop with the cache and to one without.
fn queries(scale: Scale) -> Result<Measured, String> {
    let each = scale.choose(6_000, 100);
    let popular = Popular::new();
    let (mut asked, mut is_right, mut figures) = (Vec::new(), true, Vec::new());
    for cache in ["no", "yes"] {
        let folder = TempDir::new();
        let shop = Shop::start(scale, folder.path(), &[("SHOP_CACHE", cache)])?;
        let cookie = shop.sign_up()?;
        let (before, writes) = (shop.count("queries")?, std::sync::atomic::AtomicU64::new(0));
        let tally = load(shop.addr, CONNECTIONS, &End::After(each), |rng| {
            if !rng.percent(5) {
                return popular.read(rng);
            }
            writes.fetch_add(1, Ordering::Relaxed);
            let json = format!("{{\"price\":{}}}", 100 + rng.below(5000));
            request("PUT", &format!("/api/products/{}", popular.draw(rng)), &cookie, &json)
        });
        let writes = writes.into_inner();
        let reads = (shop.count("queries")? - before).saturating_sub(writes);
        is_right &= tally.is_good();
        figures.push(format!(
            "cache {cache}: {} requests ({writes} writes), {reads} reads of the database, answers {:?}",
            tally.answers(),
            tally.by_status
        ));
        asked.push(reads as f64);
    }
    let less = 100.0 * (1.0 - asked[1] / asked[0]);
    figures.push(format!("{less:.1} % fewer reads of the database"));
    Ok(Measured { figures, right: is_right, reached: less >= 95.0 })
}

fn throughput(scale: Scale) -> Result<Measured, String> {
    let time = Duration::from_millis(scale.choose(5_000, 300));
    let rounds = scale.choose(3, 1);
    let folders = [TempDir::new(), TempDir::new()];
    let without = Shop::start(scale, folders[0].path(), &[("SHOP_CACHE", "no")])?;
    let with = Shop::start(scale, folders[1].path(), &[])?;
    // As all speeds are measured: the server on one processor, the load on another one.
    let own = std::process::id();
    [&without, &with].iter().for_each(|shop| pin(shop.child.id(), 0));
    pin(own, 1);
    let (mut rates, mut is_right) = ([Vec::new(), Vec::new()], true);
    for _ in 0..rounds {
        for (shop, rates) in [&without, &with].into_iter().zip(&mut rates) {
            let tally = for_a_while(time, |over| {
                load(shop.addr, CONNECTIONS, &End::When(over), |_| request("GET", "/api/products", "", ""))
            });
            is_right &= tally.is_good();
            rates.push(tally.rate());
        }
    }
    unpin(own);
    let [without, with] = rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    let figures = vec![format!(
        "{with:.0} a second from the cache, {without:.0} without: {:.1} times (medians of {rounds} runs in turns of {time:?}, the \
         shop on one processor and the load on another)",
        with / without
    )];
    Ok(Measured { figures, right: is_right, reached: with >= 10.0 * without })
}

/// Runs a load for so long.
fn for_a_while(time: Duration, run: impl FnOnce(&AtomicBool) -> Tally) -> Tally {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(time);
            over.store(true, Ordering::Relaxed);
        });
        run(&over)
    })
}

fn outage(scale: Scale) -> Result<Measured, String> {
    let phase = Duration::from_millis(scale.choose(8_000, 1_000));
    let mut server = Server::start(Options::larder().args(["--save", ""]));
    let url = format!("redis://127.0.0.1:{}", server.port());
    let folder = TempDir::new();
    let shop = Shop::start(scale, folder.path(), &[("LARDER_URL", &url)])?;
    let (popular, over) = (Popular::new(), AtomicBool::new(false));
    let mut figures = Vec::new();
    let mut ratios = Vec::new();
    let tally = std::thread::scope(|scope| {
        let load = scope.spawn(|| load(shop.addr, CONNECTIONS, &End::When(&over), |rng| popular.read(rng)));
        let mut watch = |what: &str| {
            let read = || Ok::<_, String>([shop.count("hits")?, shop.count("misses")?, shop.count("stale")?]);
            let before = read()?;
            std::thread::sleep(phase);
            let now = read()?;
            let [hits, misses, stale] = [now[0] - before[0], now[1] - before[1], now[2] - before[2]];
            let ratio = hits as f64 / (hits + misses + stale).max(1) as f64;
            figures.push(format!(
                "{what}: {hits} hits, {misses} from the database, {stale} stale: {:.1} %",
                100.0 * ratio
            ));
            ratios.push(ratio);
            Ok::<(), String>(())
        };
        let result = watch("filling").and_then(|()| watch("before")).and_then(|()| {
            server.kill9();
            watch("while the server is dead")?;
            server.restart();
            watch("the time after its restart")?;
            watch("the time after that")
        });
        over.store(true, Ordering::Relaxed);
        result.map(|()| load.join().expect("what it calls returns errors"))
    })?;
    figures.push(format!("{} answers: {:?}", tally.answers(), tally.by_status));
    let is_back = ratios[4] >= 0.98 * ratios[1];
    Ok(Measured { figures, right: tally.is_good(), reached: is_back })
}

fn hostile() -> Measured {
    let mut tests = run::cargo(&["test", "--package", "shop", "--test", "shop", "--", "hostile"]);
    tests.env("CI", "1");
    let outcome = run::logged("shop-hostile", vec![tests]);
    let (passed, failed) = stages::count_rust(&outcome);
    Measured::right(outcome.success && passed > 0, vec![format!("{passed} tests passed, {failed} failed")])
}
