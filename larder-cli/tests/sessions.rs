//! `larder-cli session`: sessions of Express and of larder-session, on both servers.

use std::process::Command;

use testkit::server::redis_version;
use testkit::terminal::feed;
use testkit::{Options, Server};

const OURS: &str = env!("CARGO_BIN_EXE_larder-cli");

/// Runs ours: whether it ended well, and what it printed.
fn run(server: &Server, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(OURS);
    command.arg("-p").arg(server.port().to_string()).args(words).env_remove("REDISCLI_AUTH");
    let output = feed(&mut command, b"");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("these replies are text"))
}

fn on_both(test: impl Fn(&Server)) {
    test(&Server::start(Options::larder()));
    let has_redis = redis_version().is_some();
    assert!(has_redis || std::env::var_os("CI").is_none(), "cargo x setup installs redis-server");
    if has_redis {
        test(&Server::start(Options::redis()));
    }
}

const EXPRESS: &str = r#"{"cookie":{"originalMaxAge":9000,"expires":"2999-01-01T00:00:00.000Z","path":"/"},"userId":7,"cart":[1]}"#;
const NATIVE: &str =
    r#"{"~":[1700000000,5,0,"hash","ann",0,"192.0.2.1","Firefox 128 on Linux","",0],"cart":[2]}"#;

fn fill(server: &Server) {
    let mut client = server.connect();
    for (key, text) in [("sess:one", EXPRESS), ("sess:two", EXPRESS), ("session:AAAABBBBCCCCDDDD", NATIVE)] {
        client.cmd(&["SET", key, text, "EX", "1000"]);
    }
    client.cmd(&["ZADD", "session:user:ann", "1", "AAAABBBBCCCCDDDD"]);
}

#[test]
fn sessions_are_listed_shown_and_ended() {
    on_both(|server| {
        fill(server);
        let (good, list) = run(server, &["session", "ls"]);
        let mut lines: Vec<&str> = list.lines().collect();
        lines.sort_unstable();
        assert!(good && lines.len() == 4, "{list}");
        assert!(
            lines[0].contains("sess:one\"  7  express  ") && lines[0].contains("expires in 16 min"),
            "{list}"
        );
        assert!(lines[2].contains("session:AAAABBBBCCCCDDDD\"  ann  larder  "), "{list}");
        assert_eq!(lines[3], "3 sessions");
        let (good, shown) = run(server, &["session", "show", "one", "AAAABBBBCCCCDDDD"]);
        assert!(
            good && shown.contains("cart: [\n  1\n]") && shown.contains("192.0.2.1  Firefox 128 on Linux"),
            "{shown}"
        );
        let (good, ended) = run(server, &["session", "revoke", "one", "nobody"]);
        assert!(!good && ended == "\"one\" ended\n\"nobody\" is no session\n", "{ended}");
        let (good, ended) = run(server, &["session", "revoke", "--user", "ann"]);
        assert!(good && ended == "1 sessions of \"ann\" ended\n", "{ended}");
        assert_eq!(run(server, &["session", "ls"]).1.lines().last(), Some("1 sessions"));
        assert_eq!(
            run(server, &["--pattern", "other:*", "session", "ls"]),
            (true, "0 sessions\n".to_owned())
        );
        for wrong in [&["session"][..], &["session", "show"], &["session", "revoke"], &["session", "x"]] {
            let (good, text) = run(server, wrong);
            assert!(!good && text.contains("session doctor"), "{text}");
        }
    });
}

#[test]
fn the_doctor_finds_what_is_usually_wrong() {
    on_both(|server| {
        fill(server);
        let (good, text) = run(server, &["session", "doctor"]);
        assert!(
            good && text.contains("3 sessions (2 express, 1 larder)") && text.ends_with("nothing is wrong\n"),
            "{text}"
        );
        let mut client = server.connect();
        let large = format!(r#"{{"cookie":{{"path":"/"}},"a":"{}"}}"#, "x".repeat(40_000));
        for (key, text) in [
            ("sess:a", "{\"a\":"),
            ("sess:b", "{\"a\":1}"),
            ("sess:c", r#"{"cookie":{"path":"/shop"},"a":1}"#),
            ("sess:d", r#"{"cookie":{"expires":"1999-01-01T00:00:00.000Z","path":"/"},"save":1}"#),
            ("sess:e", &large),
        ] {
            client.cmd(&["SET", key, text, "EX", "1000"]);
        }
        client.cmd(&["PERSIST", "sess:c"]);
        for n in 0..30 {
            client.cmd(&["SET", &format!("sess:empty{n}"), r#"{"cookie":{"path":"/"}}"#, "EX", "1000"]);
        }
        let (good, text) = run(server, &["session", "doctor"]);
        for said in [
            "1 cannot be read, such as \"sess:a\"",
            "1 lack the member `cookie`, such as \"sess:b\"",
            "1 never expire, such as \"sess:c\"",
            "1 are longer than 32 KiB, such as \"sess:e\"",
            "1 have members that Node has for itself, such as \"sess:d\"",
            "30 hold nothing, such as",
            "1 with path /shop domain -",
            "1 say that they have expired, and live",
        ] {
            assert!(text.contains(said), "{said}\n{text}");
        }
        assert!(!good);
    });
}
