//! In a pipe our client prints what Debian's redis-cli prints, byte for byte.

use std::path::Path;

use testkit::server::redis_version;
use testkit::terminal::{Canned, Kind, Then, compare, run};

const OURS: &str = env!("CARGO_BIN_EXE_larder-cli");

/// Whether redis-cli is there; in CI it must be.
fn has_oracle() -> bool {
    assert!(
        redis_version().is_some() || std::env::var_os("CI").is_none(),
        "cargo x setup installs redis-cli"
    );
    redis_version().is_some()
}

#[test]
fn commands_against_redis_server_print_the_same() {
    if has_oracle() {
        let count = compare(Path::new(OURS), Kind::Redis, 2).unwrap_or_else(|why| panic!("{why}"));
        assert!(count >= 250, "{count}");
    }
}

#[test]
fn commands_against_larder_server_print_the_same() {
    if has_oracle() {
        let count = compare(Path::new(OURS), Kind::Larder, 2).unwrap_or_else(|why| panic!("{why}"));
        assert!(count >= 250, "{count}");
    }
}

/// Replies that no command gives, or only seldom.
const REPLIES: &[&str] = &[
    "*0\r\n",
    "%0\r\n",
    "~0\r\n",
    "*-1\r\n",
    "$-1\r\n",
    "_\r\n",
    "$0\r\n\r\n",
    "+\r\n",
    "-\r\n",
    ":-9223372036854775808\r\n",
    ",inf\r\n",
    ",-inf\r\n",
    ",1e10\r\n",
    ",0.1\r\n",
    "#t\r\n",
    "=7\r\ntxt:abc\r\n",
    "=8\r\ntxt:a\n\nb\r\n",
    "+st\"a\\b\r\n",
    "-ERR \"q\" \\ \x07\r\n",
    "$9\r\n\x07\x08\x0c\x0b\x1b/<>\x7f\r\n",
    "*2\r\n*2\r\n$1\r\na\r\n*0\r\n*1\r\n*1\r\n:1\r\n",
    "*2\r\n-ERR x\r\n+OK\r\n",
    "*3\r\n#t\r\n_\r\n,2.5\r\n",
    "*2\r\n=7\r\ntxt:abc\r\n=8\r\ntxt:a\n\nb\r\n",
    "*11\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n*2\r\n:1\r\n:2\r\n:11\r\n",
    "~2\r\n:1\r\n~1\r\n:2\r\n",
    "%2\r\n$1\r\nk\r\n*2\r\n:1\r\n:2\r\n:5\r\n%1\r\n+s\r\n_\r\n",
    "%2\r\n+k\r\n*1\r\n:1\r\n+j\r\n%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n:7\r\n:8\r\n",
    "%1\r\n+k\r\n~2\r\n:1\r\n:2\r\n",
    "%1\r\n+k\r\n*0\r\n",
    "%1\r\n*2\r\n:1\r\n:2\r\n:3\r\n",
    "%1\r\n,1.5\r\n#f\r\n",
    "%1\r\n_\r\n$3\r\na\"b\r\n",
    "%1\r\n+k\r\n%1\r\n+j\r\n%1\r\n+l\r\n:3\r\n",
    "*1\r\n%1\r\n+k\r\n*2\r\n:1\r\n*2\r\n:3\r\n:4\r\n",
    "%1\r\n+k\r\n*1\r\n*1\r\n*2\r\n:1\r\n:2\r\n",
    "%1\r\n+k\r\n*1\r\n%2\r\n:1\r\n:2\r\n:3\r\n:4\r\n",
    "%1\r\n+k\r\n*1\r\n=8\r\ntxt:a\n\nb\r\n",
    ">2\r\n+a\r\n+b\r\n:5\r\n",
    ">2\r\n+invalidate\r\n*1\r\n$3\r\nfoo\r\n:5\r\n",
];

#[test]
fn every_reply_type_prints_the_same_in_every_format() {
    if !has_oracle() {
        return;
    }
    for reply in REPLIES {
        let server = Canned::start(reply.as_bytes(), Then::Wait);
        for (number, format) in testkit::terminal::FORMATS.iter().enumerate() {
            let pushes = ["--show-pushes", if number % 2 == 0 { "yes" } else { "no" }];
            let options = [&pushes[..], format].concat();
            let theirs = run(Path::new("redis-cli"), server.port(), &options, &["get", "x"], b"");
            let mine = run(Path::new(OURS), server.port(), &options, &["get", "x"], b"");
            assert_eq!(
                String::from_utf8_lossy(&mine.stdout),
                String::from_utf8_lossy(&theirs.stdout),
                "{reply:?} with {options:?}"
            );
        }
    }
}

#[test]
fn text_for_people_is_never_quoted() {
    if !has_oracle() {
        return;
    }
    let server = Canned::start(b"*2\r\n$2\r\na\"\r\n=7\r\ntxt:a\"c\r\n", Then::Wait);
    for command in [
        "info",
        "info all",
        "lolwut",
        "memory doctor",
        "memory malloc-stats",
        "memory stats",
        "client list",
        "client info",
        "client help",
        "cluster info",
        "cluster nodes",
        "cluster slots",
        "latency doctor",
        "latency graph x",
        "latency latest",
        "debug htstats 0",
        "debug htstats-key k",
        "debug x",
        "acl log",
        "proxy info",
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        for format in ["--raw", "--no-raw", "--csv", "--json"] {
            let theirs = run(Path::new("redis-cli"), server.port(), &[format], &words, b"");
            let mine = run(Path::new(OURS), server.port(), &[format], &words, b"");
            assert_eq!(
                String::from_utf8_lossy(&mine.stdout),
                String::from_utf8_lossy(&theirs.stdout),
                "{command} {format}"
            );
        }
    }
}
