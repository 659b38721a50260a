//! The modes beside single commands, against both servers; where redis-cli has the mode, with what it says.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use testkit::port::Port;
use testkit::pty::Terminal;
use testkit::server::redis_version;
use testkit::temp::TempDir;
use testkit::terminal::{Canned, Then, feed};
use testkit::{Options, Server};

const OURS: &str = env!("CARGO_BIN_EXE_larder-cli");

fn has_redis() -> bool {
    let is_there = redis_version().is_some();
    assert!(is_there || std::env::var_os("CI").is_none(), "cargo x setup installs redis-server");
    is_there
}

/// The servers that each mode is tried with.
fn servers() -> Vec<Options> {
    let mut all = vec![Options::larder()];
    if has_redis() {
        all.push(Options::redis());
    }
    all
}

fn run_with(client: &str, words: &[&str]) -> Output {
    let mut command = Command::new(client);
    command.args(words).env_remove("REDISCLI_AUTH");
    feed(&mut command, b"")
}

/// Runs ours, which must end well, and gives what it prints.
fn ours(server: &Server, words: &[&str]) -> String {
    let port = server.port().to_string();
    let output = run_with(OURS, &[&["-p", &port], words].concat());
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("these replies are text")
}

/// Runs both clients, which must print the same and end the same way; gives what they print.
fn both(port: u16, words: &[&str]) -> String {
    let port = port.to_string();
    let words = [&["-p", &port], words].concat();
    let mine = run_with(OURS, &words);
    let text = String::from_utf8_lossy(&mine.stdout).into_owned();
    if has_redis() {
        let theirs = run_with("redis-cli", &words);
        assert_eq!(text, String::from_utf8_lossy(&theirs.stdout), "{words:?}");
        assert_eq!(
            String::from_utf8_lossy(&mine.stderr),
            String::from_utf8_lossy(&theirs.stderr),
            "{words:?}"
        );
    }
    text
}

/// One key of each common type, none like another in size.
fn fill(server: &Server) {
    let mut client = server.connect();
    for line in [
        "SET user:1:name anna",
        "SET user:2:name \"somebody with a long name\"",
        "RPUSH queue:mail a b c",
        "HSET user:1:cart apples 3 pears 12",
        "SADD tags x y z",
        "ZADD board 1 a 2 b 3 c 4 d",
    ] {
        assert!(!client.line(line).is_error(), "{line}");
    }
    // The table of redis-server goes on growing with every access, which changes the order of SCAN.
    for _ in 0..16 {
        client.line("EXISTS tags");
    }
}

/// An authority, and a server's certificate from it.
fn certificates() -> TempDir {
    let directory = TempDir::new();
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("the directory is there");
    };
    let key = KeyPair::generate().expect("randomness");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    // One whose issuer has its own name would count as signed by itself.
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.crt", &params.self_signed(&key).expect("valid parameters").pem());
    let issuer = Issuer::new(params, key);
    for leaf in ["server", "client"] {
        let key = KeyPair::generate().expect("randomness");
        let names = vec!["localhost".into(), "127.0.0.1".into()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, leaf);
        write(&format!("{leaf}.crt"), &params.signed_by(&key, &issuer).expect("valid parameters").pem());
        write(&format!("{leaf}.key"), &key.serialize_pem());
    }
    directory
}

#[test]
fn tls_trusts_whom_it_is_told_to() {
    let files = certificates();
    let file = |name: &str| files.path().join(name).display().to_string();
    for options in servers() {
        let tls = Port::take();
        let number = tls.number().to_string();
        let server = Server::start(options.args([
            "--tls-port",
            &number,
            "--tls-cert-file",
            &file("server.crt"),
            "--tls-key-file",
            &file("server.key"),
            "--tls-ca-cert-file",
            &file("ca.crt"),
        ]));
        let (ca, cert, key) = (file("ca.crt"), file("client.crt"), file("client.key"));
        let shows = ["--cert", cert.as_str(), "--key", key.as_str()];
        let client = |words: &[&str]| run_with(OURS, &[&["-p", &number], words].concat());
        let good = client(&[&["--tls", "--cacert", &ca], &shows[..], &["set", "a", "1"]].concat());
        assert_eq!(good.stdout, b"OK\n", "{good:?}");
        let uri = format!("rediss://localhost:{number}");
        let good = client(&[&["-u", &uri, "--cacert", &ca], &shows[..], &["get", "a"]].concat());
        assert_eq!(good.stdout, b"1\n", "{good:?}");
        let insecure = client(&[&["--tls", "--insecure"], &shows[..], &["get", "a"]].concat());
        assert_eq!(insecure.stdout, b"1\n", "{insecure:?}");
        // A stranger's certificate, another name, no certificate of ours, and no TLS at all.
        let other = certificates();
        let stranger = other.path().join("ca.crt").display().to_string();
        for words in [
            &["--tls", "--cacert", &stranger][..],
            &["--tls", "--cacert", &ca, "--sni", "example.org"],
            &["--timeout", "5", "--connect-timeout", "5"],
        ] {
            let bad = client(&[words, &shows[..], &["get", "a"]].concat());
            assert_eq!(bad.status.code(), Some(1), "{words:?} {bad:?}");
            assert!(bad.stdout.is_empty() && !bad.stderr.is_empty(), "{words:?} {bad:?}");
        }
        let nobody = client(&["--tls", "--cacert", &ca, "get", "a"]);
        assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
        let bench =
            [&["bench", "-p", &number, "-n", "100", "-c", "3", "-t", "get", "-q", "--tls"], &shows[..]];
        let bench = run_with(OURS, &[&bench.concat()[..], &["--cacert", &ca]].concat());
        assert!(bench.stdout.starts_with(b"GET: "), "{bench:?}");
        drop(server);
    }
}

#[test]
fn passwords_open_the_server() {
    let home = TempDir::new();
    let file = home.path().join("password");
    std::fs::write(&file, "opensesame\nnot this line\n").expect("the directory is there");
    let file = file.to_str().expect("a temporary path is text");
    for options in servers() {
        let server = Server::start(options.args(["--requirepass", "opensesame"]));
        assert_eq!(both(server.port(), &["get", "a"]), "NOAUTH Authentication required.\n\n");
        assert_eq!(both(server.port(), &["-a", "opensesame", "get", "a"]), "\n");
        assert_eq!(both(server.port(), &["-a", "opensesame", "--user", "default", "ping"]), "PONG\n");
        assert!(both(server.port(), &["-a", "wrong", "ping"]).contains("NOAUTH"));
        assert_eq!(ours(&server, &["--pass-file", file, "ping"]), "PONG\n");
        let uri = format!("redis://:opensesame@127.0.0.1:{}/3", server.port());
        assert_eq!(ours(&server, &["-u", &uri, "--no-auth-warning", "ping"]), "PONG\n");
        let mut command = Command::new(OURS);
        command.args(["-p", &server.port().to_string(), "ping"]).env("REDISCLI_AUTH", "opensesame");
        assert_eq!(feed(&mut command, b"").stdout, b"PONG\n");
        // One that asks for a password is ready.
        assert_eq!(ours(&server, &["--wait=20"]), "");
    }
}

#[test]
fn a_redirection_is_followed_only_when_asked_for() {
    for options in servers() {
        let server = Server::start(options);
        server.connect().line("SET x there");
        let moved = format!("-MOVED 42 127.0.0.1:{}\r\n", server.port());
        let gate = Canned::start(moved.as_bytes(), Then::Wait);
        assert_eq!(both(gate.port(), &["get", "x"]), format!("{}\n\n", moved.trim()[1..].trim()));
        let followed = ours_at(gate.port(), &["-c", "get", "x"]);
        assert_eq!(
            followed,
            format!("-> Redirected to slot [42] located at 127.0.0.1:{}\nthere\n", server.port())
        );
    }
}

fn ours_at(port: u16, words: &[&str]) -> String {
    let port = port.to_string();
    let output = run_with(OURS, &[&["-p", &port], words].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("these replies are text")
}

#[test]
fn waiting_ends_when_the_server_is_there() {
    for options in servers() {
        let mut server = Server::start(options);
        server.stop_gracefully();
        let port = server.port().to_string();
        let refused = run_with(OURS, &["-p", &port, "--wait=0.1", "ping"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("not ready after"), "{refused:?}");
        let waiting = std::thread::spawn(move || run_with(OURS, &["-p", &port, "--wait=60", "ping"]));
        server.restart();
        let answer = waiting.join().expect("running a program does not panic");
        assert_eq!(answer.stdout, b"PONG\n", "{answer:?}");
    }
}

#[test]
fn what_matches_is_deleted_and_nothing_else() {
    for options in servers() {
        let server = Server::start(options);
        fill(&server);
        let text = ours(&server, &["--delete", "--pattern", "user:*", "--dry-run"]);
        assert!(text.starts_with("3 keys match"), "{text}");
        assert_eq!(ours(&server, &["dbsize"]), "6\n");
        // Without a terminal nobody can be asked.
        let port = server.port().to_string();
        let unasked = run_with(OURS, &["-p", &port, "--delete", "--pattern", "user:*"]);
        assert_eq!(unasked.status.code(), Some(1));
        assert_eq!(ours(&server, &["dbsize"]), "6\n");
        let text = ours(&server, &["--delete", "--pattern", "user:*", "--yes", "--rate", "100"]);
        assert_eq!(text, "3 keys deleted\n");
        assert_eq!(ours(&server, &["exists", "user:1:name", "user:2:name", "user:1:cart"]), "0\n");
        assert_eq!(ours(&server, &["dbsize"]), "3\n");
    }
}

/// Lines in order of the alphabet, since keys come in the order of a hash table.
fn sorted(text: &str) -> Vec<String> {
    // Progress depends on the order too.
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.starts_with('[')).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_largest_keys_are_those_that_redis_cli_finds() {
    for options in servers() {
        let server = Server::start(options);
        fill(&server);
        for mode in ["--bigkeys", "--memkeys"] {
            let mine = both(server.port(), &[mode]);
            assert!(mine.contains("Sampled 6 keys in the keyspace!"), "{mine}");
        }
        let text = ours(&server, &["--bigkeys"]);
        assert!(
            sorted(&text).contains(&"Biggest string found '\"user:2:name\"' has 25 bytes".to_owned()),
            "{text}"
        );
        let two = ours(&server, &["--bigkeys", "--top", "2"]);
        assert!(two.contains("user:1:name") && two.contains("user:2:name"), "{two}");
    }
}

#[test]
fn hot_keys_are_those_that_redis_cli_finds() {
    for options in servers() {
        let server =
            Server::start(options.args(["--maxmemory-policy", "allkeys-lfu", "--lfu-decay-time", "0"]));
        fill(&server);
        let mut client = server.connect();
        for _ in 0..2_000 {
            client.line("GET user:1:name");
        }
        let mine = both(server.port(), &["--hotkeys"]);
        let summary = mine.split("summary").nth(1).unwrap_or_default().to_owned();
        let hottest = summary.lines().find(|line| line.starts_with("hot key found")).unwrap_or_default();
        assert!(hottest.ends_with("keyname: \"user:1:name\""), "{mine}");
        // Without such a policy there are no counters.
        client.line("CONFIG SET maxmemory-policy allkeys-lru");
        let port = server.port().to_string();
        let refused = run_with(OURS, &["-p", &port, "--hotkeys"]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    }
}

#[test]
fn totals_of_keys_add_up_by_type_and_prefix() {
    for options in servers() {
        let server = Server::start(options);
        fill(&server);
        let json = ours(&server, &["--keystats", "--json"]);
        let group = |name: &str, value: &str| {
            let text = format!("{{\"{name}\":\"{value}\",");
            let rest = json.split(&text).nth(1).unwrap_or_else(|| panic!("{text} in {json}"));
            rest.split('}').next().unwrap_or_default().to_owned()
        };
        assert!(json.starts_with("{\"keys\":6,"), "{json}");
        assert!(group("prefix", "user:").starts_with("\"keys\":3,"), "{json}");
        assert!(group("prefix", "").starts_with("\"keys\":2,"), "{json}");
        assert!(group("type", "string").contains("\"keys\":2,"), "{json}");
        assert!(group("type", "zset").ends_with("\"length\":4"), "{json}");
        // The memory is what the server says about each key.
        let memory: BTreeMap<&str, u64> = ["user:1:name", "user:2:name", "user:1:cart"]
            .into_iter()
            .map(|key| (key, ours(&server, &["memory", "usage", key]).trim().parse().expect("a number")))
            .collect();
        let bytes = format!("\"bytes\":{},", memory.values().sum::<u64>());
        assert!(group("prefix", "user:").contains(&bytes), "{bytes} in {json}");
        let text = ours(&server, &["--keystats", "--separator", "#", "--top", "1"]);
        assert!(text.starts_with("6 keys, ") && text.contains("(none)"), "{text}");
    }
}

#[test]
fn figures_come_line_by_line() {
    for options in servers() {
        let server = Server::start(options);
        fill(&server);
        let text = ours(&server, &["--stat", "-r", "3", "-i", "0.02"]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        for line in &lines[2..] {
            assert_eq!(line.split_whitespace().next(), Some("6"), "{text}");
        }
        if has_redis() {
            let port = server.port().to_string();
            let mut theirs = Terminal::start(Path::new("redis-cli"), &["-p", &port, "--stat"], &[]);
            lines[..2].iter().for_each(|heading| theirs.shows(heading.trim_end()));
        }
    }
}

#[test]
fn latency_is_told_in_the_format_asked_for() {
    for options in servers() {
        let server = Server::start(options);
        let numbers = |text: &str, separator: char| -> Vec<f64> {
            text.trim().split(separator).map(|number| number.parse().expect("a number")).collect()
        };
        // Least, most, average, samples.
        for (words, separator) in [(&[][..], ' '), (&["--csv"], ',')] {
            let text = ours(&server, &[words, &["--latency", "-i", "0.2"]].concat());
            let found = numbers(&text, separator);
            assert_eq!(found.len(), 4, "{text}");
            assert!(found[0] <= found[2] && found[2] <= found[1] && found[3] >= 1.0, "{text}");
        }
        let json = ours(&server, &["--json", "--latency", "-i", "0.2"]);
        assert!(json.starts_with("{\"min\": ") && json.contains("\"count\": "), "{json}");
        let spectrum = ours(&server, &["--latency-dist", "-i", "0.1", "-r", "2"]);
        assert_eq!(spectrum.matches("\x1b[38;5;0m").count(), 2, "{spectrum}");
        let pauses = ours(&server, &["--intrinsic-latency", "1"]);
        assert!(pauses.contains("microseconds"), "{pauses}");
    }
}

/// The number behind a name in JSON.
fn field(json: &str, name: &str) -> f64 {
    let rest = json.split(&format!("\"{name}\":")).nth(1).unwrap_or_else(|| panic!("{name} in {json}"));
    let end = rest.find([',', '}']).unwrap_or(rest.len());
    rest[..end].parse().unwrap_or_else(|_| panic!("{name} in {json}"))
}

#[test]
fn a_benchmark_sends_what_it_is_told_to() {
    for options in servers() {
        let server = Server::start(options);
        let calls = |command: &str| {
            let info = ours(&server, &["info", "commandstats"]);
            let text = format!("cmdstat_{command}:calls=");
            let rest = info.split(&text).nth(1).unwrap_or("0").to_owned();
            rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("0").parse::<u64>().expect("digits")
        };
        let port = server.port().to_string();
        let bench = |words: &[&str]| {
            let output = run_with(OURS, &[&["bench", "-p", &port, "--json"], words].concat());
            assert!(output.status.success(), "{words:?} {output:?}");
            String::from_utf8(output.stdout).expect("JSON is text")
        };
        // As many as were asked for, over threads and batches that do not divide evenly.
        let json = bench(&["-t", "set", "-n", "1001", "-c", "7", "-P", "4", "--threads", "3", "-r", "50"]);
        assert_eq!(field(&json, "requests"), 1001.0);
        assert_eq!(calls("set"), 1001);
        assert!((1..=50).contains(&ours(&server, &["dbsize"]).trim().parse::<u32>().expect("a number")));
        // The same seed gives the same keys.
        let keys = |seed: &str| {
            server.connect().line("FLUSHALL");
            bench(&["-n", "20", "-c", "1", "-r", "1000000", "--seed", seed, "set", "k:__rand_int__", "v"]);
            sorted(&ours(&server, &["--scan"]))
        };
        assert_eq!(keys("5"), keys("5"));
        assert_ne!(keys("5"), keys("6"));
        // A new connection for each request.
        let info = |name: &str| {
            let text = ours(&server, &["info", "stats"]);
            let rest = text.split(&format!("{name}:")).nth(1).unwrap_or_else(|| panic!("{text}")).to_owned();
            rest.lines().next().unwrap_or_default().trim().parse::<u64>().expect("digits")
        };
        let before = info("total_connections_received");
        bench(&["-n", "100", "-c", "5", "-k", "0", "-t", "get"]);
        assert!(info("total_connections_received") - before >= 100);
        // An open loop sends no faster than it is told to, and each request once.
        let json = bench(&["-n", "200", "-c", "4", "--rate", "1000", "--threads", "2", "incr", "open"]);
        assert_eq!(ours(&server, &["get", "open"]), "200\n");
        assert!(field(&json, "seconds") >= 0.15 && field(&json, "rps") <= 1350.0, "{json}");
    }
}

#[test]
fn an_open_loop_counts_what_had_to_wait() {
    // A server that stands still for a moment in the middle: a closed loop has one slow request per connection, an open
    // one as many as were due in the meantime.
    let server = Server::start(Options::larder());
    let port = server.port().to_string();
    let words = ["bench", "-p", &port, "--json", "-n", "4000", "-c", "2", "--rate", "1000", "incr", "n"];
    let words: Vec<String> = words.map(str::to_owned).into();
    let running = std::thread::spawn(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run_with(OURS, &words)
    });
    while ours(&server, &["exists", "n"]) == "0\n" {}
    server.signal("STOP");
    // This pause is the subject, not a way to wait for something.
    std::thread::sleep(std::time::Duration::from_millis(500));
    server.signal("CONT");
    let output = running.join().expect("running a program does not panic");
    let json = String::from_utf8(output.stdout).expect("JSON is text");
    // An eighth of all requests was due in that half second. A closed loop would have had two slow ones, far above p99.
    assert!(field(&json, "p99") >= 100.0, "{json}");
}
