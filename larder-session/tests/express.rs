//! The same sessions in axum and in a real express-session with connect-redis, on our server and on redis-server.

mod support;

use larder_client::Larder;
use larder_session::{Priority, SameSite, cookie_value};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use support::{Answer, Backend, app, ask, id_of, send_http};
use testkit::{Rng, Server};

const SECRET: &str = "first secret";

/// The major versions of connect-redis, each with a client that people have beside it.
const VERSIONS: [u8; 4] = [7, 8, 9, 10];

/// A running Node with express-session.
struct Express {
    child: Child,
    port: u16,
}

impl Drop for Express {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Express {
    /// `None` where its packages are not installed, but not in CI.
    fn start(server: &Server, max_age: Option<Duration>, version: u8) -> Option<Express> {
        Express::with_cookie(server, max_age, version, &json!({}))
    }

    /// The same with more settings of the cookie.
    fn with_cookie(
        server: &Server,
        max_age: Option<Duration>,
        version: u8,
        cookie: &Value,
    ) -> Option<Express> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/node");
        if !home.join("node_modules").is_dir() && std::env::var_os("CI").is_none() {
            eprintln!("skipped: the packages of tests/node are not installed (cargo x setup installs them)");
            return None;
        }
        let mut node = Command::new("node");
        node.arg("lib/session-app.js").current_dir(home).stdin(Stdio::piped()).stdout(Stdio::piped());
        node.env("REDIS_URL", support::url(server)).env("SECRETS", format!("{SECRET},old secret"));
        node.env("CONNECT_REDIS", version.to_string()).env("COOKIE", cookie.to_string());
        if let Some(age) = max_age {
            node.env("MAX_AGE", age.as_millis().to_string());
        }
        let mut child = node.spawn().expect("node is there");
        let mut line = String::new();
        let output = child.stdout.take().expect("it was piped");
        BufReader::new(output).read_line(&mut line).expect("node says where it listens");
        let port = line.trim().strip_prefix("LISTENING ").and_then(|port| port.parse().ok());
        Some(Express { port: port.unwrap_or_else(|| panic!("node said {line:?}")), child })
    }

    async fn ask(&self, path: &str, cookie: Option<&str>) -> Answer {
        self.send("GET", path, cookie, "").await
    }

    async fn send(&self, method: &str, path: &str, cookie: Option<&str>, body: &str) -> Answer {
        send_http(self.port, method, path, cookie, body).await
    }
}

/// Runs something with Express beside each server.
async fn beside_express(max_age: Option<Duration>, run: impl AsyncFn(&Backend, &Express)) {
    beside_versions(&[9], max_age, run).await;
}

/// The same with several versions of connect-redis.
async fn beside_versions(versions: &[u8], max_age: Option<Duration>, run: impl AsyncFn(&Backend, &Express)) {
    for backend in support::servers().await {
        let server = backend.server.as_ref().expect("these have one");
        for version in versions {
            let Some(express) = Express::start(server, max_age, *version) else { return };
            let done = tokio::time::timeout(Duration::from_secs(300), run(&backend, &express)).await;
            done.unwrap_or_else(|_| panic!("{}, connect-redis {version}: no end", backend.name));
        }
    }
}

#[tokio::test]
async fn s33_login_and_logout_on_either_side_hold_on_both() {
    beside_versions(&VERSIONS, None, async |Backend { larder, name, .. }, express| {
        let app = app(larder, support::profile());
        let theirs = express.ask("/login?user=ann", None).await.cookie();
        assert_eq!(ask(&app, "/member?name=user", Some(&theirs)).await.body, r#""ann""#, "{name}");
        let ours = ask(&app, "/login?user=bob", Some(&theirs)).await.cookie();
        assert_eq!(express.ask("/member?name=user", Some(&ours)).await.body, r#""bob""#, "{name}");
        assert_eq!(express.ask("/member?name=user", Some(&theirs)).await.body, "null", "{name}");
        express.ask("/logout", Some(&ours)).await;
        assert_eq!(ask(&app, "/member?name=user", Some(&ours)).await.body, "null", "{name}");
        let again = ask(&app, "/login?user=eve", None).await.cookie();
        assert_eq!(express.ask("/member?name=user", Some(&again)).await.body, r#""eve""#, "{name}");
        ask(&app, "/logout", Some(&again)).await;
        assert_eq!(express.ask("/member?name=user", Some(&again)).await.body, "null", "{name}");
    })
    .await;
}

#[tokio::test]
async fn s34_cookies_are_those_of_cookie_signature_to_the_byte() {
    let server = Server::larder(&[]);
    let Some(express) = Express::start(&server, None, 9) else { return };
    let mut rng = Rng::new(34);
    let letters: Vec<char> = "abcXYZ019-_.+/= %;é ключ日\u{1f600}'()*!~\"\\".chars().collect();
    let mut text = |length| (0..length).map(|_| *rng.pick(&letters)).collect::<String>();
    let pairs: Vec<(String, String)> = (0..10_000).map(|n| (text(1 + n % 40), text(1 + n % 90))).collect();
    let answer = express.send("POST", "/sign", None, &json!(pairs).to_string()).await;
    let theirs: Vec<String> = serde_json::from_str(&answer.body).expect("a list");
    assert_eq!(theirs.len(), pairs.len());
    for ((id, secret), cookie) in pairs.iter().zip(theirs) {
        assert_eq!(cookie_value(id, secret), cookie, "{id:?} {secret:?}");
    }
}

/// JSON as JavaScript spells it, with what Rust cannot hold.
fn random_json(rng: &mut Rng, depth: usize) -> String {
    let strings = [r#""\ud800""#, r#""\udfff\"}""#, "\"\u{2028}/é\"", r#""""#, r#""\u0001\\""#];
    match rng.below(if depth == 0 { 3 } else { 5 }) {
        0 => (*rng.pick(&["1e+21", "0.1", "-7", "1e-7", "9007199254740993", "1.5", "0"])).to_owned(),
        1 => (*rng.pick(&strings)).to_owned(),
        2 => (*rng.pick(&["true", "false", "null"])).to_owned(),
        3 => {
            let list: Vec<String> = (0..rng.below(4)).map(|_| random_json(rng, depth - 1)).collect();
            format!("[{}]", list.join(","))
        }
        _ => {
            let members: Vec<String> = (0..rng.below(4))
                .map(|n| format!("{}:{}", rng.pick(&[r#""7""#, r#""\ud801""#, r#""k""#]), n))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

#[tokio::test]
async fn s35_s40_what_node_wrote_stays_to_the_byte() {
    beside_express(None, async |Backend { larder, name, .. }, express| {
        let app = app(larder, support::profile());
        let mut rng = Rng::new(35);
        for _ in 0..support::times(10_000, 200) {
            let members: Vec<String> = ["a", "12", "\\ud800", "b", "é"]
                .iter()
                .map(|key| format!("\"{key}\":{}", random_json(&mut rng, 2)))
                .collect();
            let set = format!("/change?set={{{},\"ours\":0}}", members.join(","));
            let cookie = express.ask(&set, None).await.cookie();
            let key = format!("sess:{}", id_of(&cookie));
            let before = larder.get(&key).await.unwrap().expect("Node stored it");
            assert_eq!(ask(&app, r#"/change?set={"ours":0}"#, Some(&cookie)).await.status, 200);
            assert_eq!(larder.get(&key).await.unwrap().as_ref(), Some(&before), "{name}");
            assert_eq!(ask(&app, r#"/change?set={"ours":"new"}"#, Some(&cookie)).await.status, 200);
            let after =
                String::from_utf8(larder.get(&key).await.unwrap().expect("it is there")).expect("UTF-8");
            let expected =
                String::from_utf8(before).expect("UTF-8").replace("\"ours\":0", "\"ours\":\"new\"");
            assert_eq!(after, expected, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn s36_what_we_write_express_loads_and_touches_without_rewriting() {
    let age = Duration::from_secs(500);
    beside_express(Some(age), async |Backend { larder, name, .. }, express| {
        let app = app(larder, support::profile().max_age(age));
        let set = ask(&app, r#"/change?set={"a":{"b":[1,null]}}"#, None).await;
        let key = format!("sess:{}", id_of(&set.cookie()));
        let before = larder.get(&key).await.unwrap();
        larder.expire_in(&key, Duration::from_secs(60)).await.unwrap();
        assert_eq!(express.ask("/idle", Some(&set.cookie())).await.status, 200, "{name}");
        assert_eq!(larder.get(&key).await.unwrap(), before, "{name}");
        let left = larder.time_left(&key).await.unwrap().unwrap();
        assert!(left > Duration::from_secs(100), "{name}: {left:?}");
        // The records and cookies of both are alike but for the id and the time.
        let theirs = express.ask(r#"/change?set={"a":{"b":[1,null]}}"#, None).await;
        let attributes = |answer: &Answer| {
            let cookie =
                answer.set_cookie.as_deref().expect("a cookie").split_once(';').expect("attributes").1;
            cookie
                .split("; ")
                .map(|word| word.split_once('=').unwrap_or((word, "")).0.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(attributes(&set), attributes(&theirs), "{name}");
        let key = format!("sess:{}", id_of(&theirs.cookie()));
        let record = larder.get(&key).await.unwrap().expect("Node stored it");
        let ours = String::from_utf8(before.expect("it is there")).expect("UTF-8");
        assert_eq!(plain(&ours), plain(&String::from_utf8(record).expect("UTF-8")), "{name}");
    })
    .await;
}

/// A text without what differs from session to session: digits, and so times; and ids, which come first.
fn plain(text: &str) -> String {
    let text = text.split_once(';').map_or(text, |(_, attributes)| attributes);
    text.replace(|c: char| c.is_ascii_digit(), "")
}

#[tokio::test]
async fn s36_new_sessions_are_those_of_express_with_any_settings_of_the_cookie() {
    let server = Server::larder(&[]);
    let larder = Larder::open(&support::url(&server)).await.expect("the server is there");
    let plain_profile = || support::profile().max_age(Duration::from_secs(500));
    let pairs = [
        (
            json!({ "sameSite": "lax", "httpOnly": false }),
            plain_profile().same_site(SameSite::Lax).http_only(false),
        ),
        (
            json!({ "priority": "high", "domain": "shop.example" }),
            plain_profile().priority(Priority::High).domain("shop.example"),
        ),
        (
            json!({ "secure": true, "partitioned": true, "priority": "low", "sameSite": "none" }),
            plain_profile().secure(true).partitioned(true).priority(Priority::Low).same_site(SameSite::None),
        ),
        (
            json!({ "secure": true, "sameSite": "strict", "path": "/change" }),
            plain_profile().secure(true).same_site(SameSite::Strict).path("/change"),
        ),
    ];
    for (settings, profile) in pairs {
        let age = Some(Duration::from_secs(500));
        let Some(express) = Express::with_cookie(&server, age, 9, &settings) else { return };
        let mut both = Vec::new();
        for answer in [
            express.ask(r#"/change?set={"a":1}"#, None).await,
            ask(&app(&larder, profile.clone()), r#"/change?set={"a":1}"#, None).await,
        ] {
            let record = larder.get(format!("sess:{}", id_of(&answer.cookie()))).await.unwrap();
            let record = String::from_utf8(record.expect("it is stored")).expect("UTF-8");
            // Names of days and months may change between the two.
            let cookie = plain(answer.set_cookie.as_deref().expect("a cookie"));
            let attributes: Vec<String> =
                cookie.split("; ").filter(|word| !word.starts_with("Expires=")).map(str::to_owned).collect();
            both.push((plain(&record), attributes, cookie.contains("; Expires=")));
        }
        assert_eq!(both[0], both[1], "{settings}");
    }
}

#[tokio::test]
async fn s33_alternating_requests_lose_no_member() {
    let versions: &[u8] = if support::is_full() { &VERSIONS } else { &[7, 9] };
    beside_versions(versions, None, async |Backend { larder, name, .. }, express| {
        let app = app(larder, support::profile());
        let mut rng = Rng::new(33);
        let mut cookie = express.ask(r#"/change?set={"m0":0}"#, None).await.cookie();
        let mut model = BTreeMap::from([("m0".to_owned(), 0)]);
        for step in 0..support::times(10_000, 200) {
            let member = format!("m{}", rng.below(8));
            let path = if rng.percent(25) {
                model.remove(&member);
                format!("/delete?name={member}")
            } else {
                model.insert(member.clone(), step);
                format!(r#"/change?set={{"{member}":{step}}}"#)
            };
            let is_ours = rng.percent(50);
            let answer = if is_ours {
                ask(&app, &path, Some(&cookie)).await
            } else {
                express.ask(&path, Some(&cookie)).await
            };
            assert_eq!(answer.status, 200, "{name} {path}");
            if is_ours && rng.percent(5) {
                cookie = ask(&app, "/login?user=a", Some(&cookie)).await.cookie();
            }
        }
        let record = larder.get(format!("sess:{}", id_of(&cookie))).await.unwrap().expect("it is there");
        let record: serde_json::Map<String, Value> = serde_json::from_slice(&record).expect("JSON");
        let left = record.into_iter().filter(|(name, _)| name.starts_with('m'));
        let left: BTreeMap<String, usize> =
            left.map(|(name, value)| (name, serde_json::from_value(value).expect("a number"))).collect();
        assert_eq!(left, model, "{name}");
    })
    .await;
}

/// Whether the session is there after Express was slow to answer a request that began before a logout.
async fn comes_back(app: &axum::Router, larder: &Larder, express: &Express, by_us: bool) -> bool {
    let cookie = express.ask("/login?user=ann", None).await.cookie();
    let slow = express.ask("/slow?user=late", Some(&cookie));
    let meanwhile = async {
        while express.ask("/waiting", None).await.body != "1" {
            tokio::task::yield_now().await;
        }
        match by_us {
            true => assert_eq!(ask(app, "/logout", Some(&cookie)).await.status, 200),
            false => assert_eq!(express.ask("/logout", Some(&cookie)).await.status, 200),
        }
        express.ask("/go", None).await;
    };
    let (slow, ()) = tokio::join!(slow, meanwhile);
    assert_eq!(slow.status, 200);
    larder.exists(format!("sess:{}", id_of(&cookie))).await.expect("the store is there")
}

/// Express' own race, and its end by the session guard of the server.
#[tokio::test]
async fn s03_a_slow_request_of_express_brings_nothing_back_past_the_guard() {
    let guarded = Server::start(testkit::Options::larder().args(["--session-guard-prefixes", "sess:"]));
    let larder = Larder::open(&support::url(&guarded)).await.expect("the server is there");
    for version in VERSIONS {
        let Some(express) = Express::start(&guarded, None, version) else { return };
        let app = app(&larder, support::profile());
        for round in 0..support::times(1_000, 10) {
            assert!(!comes_back(&app, &larder, &express, round % 2 == 0).await, "connect-redis {version}");
        }
    }
    // Without it the session is back, logged in: the test shows something.
    let plain = Server::larder(&[]);
    let larder = Larder::open(&support::url(&plain)).await.expect("the server is there");
    let Some(express) = Express::start(&plain, None, 9) else { return };
    assert!(comes_back(&app(&larder, support::profile()), &larder, &express, true).await);
}
