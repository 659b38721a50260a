//! What pages of the documentation say: `examples/axum`, where the Express shop and the axum program beside it know the same
//! people, and `docs/security-sessions.md`, which names a test for each recommendation.

mod support;

#[path = "../examples/beside_express.rs"]
mod beside_express;

use larder_client::Larder;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::{Answer, send_http};
use testkit::Server;
use testkit::temp::TempDir;

const SECRET: &str = "only for tests";

/// The shop in `examples/express`, as one process.
struct Shop {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shop {
    /// `None` where its packages are not installed, but not in CI.
    fn start(server: &Server) -> Option<Shop> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/express");
        if !home.join("node_modules").is_dir() && std::env::var_os("CI").is_none() {
            eprintln!(
                "skipped: the packages of examples/express are not installed (cargo x setup installs them)"
            );
            return None;
        }
        let folder = TempDir::new();
        let mut node = Command::new("node");
        node.arg("src/server.js").current_dir(home).stdout(Stdio::piped());
        node.env("PORT", "0").env("REDIS_URL", support::url(server)).env("SESSION_SECRET", SECRET);
        node.env("DB_FILE", folder.path().join("shop.db"));
        let mut child = node.spawn().expect("node is there");
        let output = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut lines = output.lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.strip_prefix("LISTENING http://localhost:")?.parse().ok());
        // It goes on printing.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Shop { child, port: port.expect("the shop says where it listens"), _folder: folder })
    }
}

async fn log_in(port: u16, password: &str) -> Answer {
    let body = json!({ "username": "ada", "password": password }).to_string();
    send_http(port, "POST", "/login", None, &body).await
}

async fn profile(port: u16, cookie: &str) -> (u16, Value) {
    let answer = send_http(port, "GET", "/profile", Some(cookie), "").await;
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s33_the_page_about_one_login_in_express_and_axum_is_true() {
    let server = Server::larder(&[]);
    let Some(shop) = Shop::start(&server) else { return };
    let larder = Larder::open(&support::url(&server)).await.expect("the server is there");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let ours = listener.local_addr().expect("it is bound").port();
    let app = beside_express::app(larder, SECRET).expect("the settings agree");
    tokio::spawn(async move { axum::serve(listener, app).await });
    let ada = (200, json!({ "userId": 1, "username": "ada" }));
    for (login, other) in [(shop.port, ours), (ours, shop.port)] {
        assert_eq!(log_in(login, "wrong").await.status, 401);
        let cookie = log_in(login, "analytical").await.cookie();
        assert!(cookie.starts_with("connect.sid=s%3A"), "{cookie}");
        assert_eq!(
            [profile(other, &cookie).await, profile(login, &cookie).await],
            [ada.clone(), ada.clone()]
        );
        for visits in 1..4 {
            let answer = send_http(ours, "POST", "/visit", Some(&cookie), "").await;
            assert_eq!(answer.body, json!({ "visits": visits }).to_string());
            assert_eq!(profile(shop.port, &cookie).await, ada);
        }
        assert_eq!(send_http(other, "POST", "/logout", Some(&cookie), "").await.status, 204);
        for port in [shop.port, ours] {
            assert_eq!(profile(port, &cookie).await.0, 401);
        }
    }
}

/// All sources under a folder of this crate, or of another beside it.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map_while(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                found.push((path.file_name().expect("a name").to_string_lossy().into_owned(), text));
            }
        }
    }
    found
}

#[test]
fn each_row_of_the_page_about_security_names_tests_that_are_there() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security-sessions.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let mut files = sources("src");
    files.extend(sources("tests"));
    files.extend(sources("../larder/tests"));
    let mut rows = 0;
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| recommendation");
    for row in page.lines().filter(is_row) {
        let shown_by = row.trim_end_matches('|').rsplit('|').next().expect("split gives one");
        let words: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        assert!(!words.is_empty(), "{row}");
        // Files come first, then the tests in any of them.
        let mut named: Vec<&(String, String)> = Vec::new();
        let mut after_test = true;
        for word in words {
            let file = word.rsplit('/').next().expect("split gives one");
            if file.ends_with(".rs") {
                if std::mem::take(&mut after_test) {
                    named.clear();
                }
                let here: Vec<_> = files.iter().filter(|(name, _)| name == file).collect();
                assert!(!here.is_empty(), "{word} of {row}");
                named.extend(here);
            } else {
                after_test = true;
                let test = format!("fn {word}");
                let places = if named.is_empty() { files.iter().collect() } else { named.clone() };
                assert!(places.iter().any(|(_, text)| text.contains(&test)), "{word} of {row}");
            }
        }
        rows += 1;
    }
    assert!(rows >= 25, "{rows} rows");
}

#[test]
fn each_of_the_forty_statements_has_a_test_of_its_number() {
    let mut files = sources("src");
    files.extend(sources("tests"));
    let tests: Vec<&str> = files
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn s"))
        .collect();
    let bears = |test: &str, number: &str| {
        let numbers = test.split('_').map(|word| word.trim_start_matches('s'));
        numbers.take_while(|word| word.len() == 2 && word.parse::<u8>().is_ok()).any(|word| word == number)
    };
    let missing = |number: &u8| !tests.iter().any(|test| bears(test, &format!("{number:02}")));
    assert_eq!((1..=40).filter(missing).collect::<Vec<u8>>(), Vec::<u8>::new());
}
