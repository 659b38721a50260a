//! Configuration files, the command line, and CONFIG.

mod support;

use larder_resp::Frame;
use std::process::{Command, Output, Stdio};
use support::{bulk, error, info, is_served, larder, start};
use testkit::temp::TempDir;
use testkit::{Client, Server};

/// Runs the server with these arguments to its end.
fn run(arguments: &[&str]) -> Output {
    let directory = TempDir::new();
    let output = Command::new(env!("CARGO_BIN_EXE_larder-server"))
        .args(arguments)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output();
    output.expect("the server starts")
}

fn parameter(client: &mut Client, name: &str) -> String {
    match client.cmd(&["CONFIG", "GET", name]) {
        Frame::Array(mut found) if found.len() == 2 => bulk(found.remove(1)),
        other => panic!("CONFIG GET {name}: {other:?}"),
    }
}

#[test]
fn version_and_help_are_no_failures() {
    for (argument, expected) in
        [("--version", "Larder server v="), ("-v", "v="), ("--help", "Usage:"), ("-h", "Usage:")]
    {
        let output = run(&[argument]);
        assert!(output.status.success(), "{argument}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(expected), "{argument}");
    }
}

#[test]
fn every_mistake_is_named_at_once_with_its_place() {
    let directory = TempDir::new();
    let file = directory.path().join("bad.conf");
    let included = directory.path().join("part.conf");
    let text = format!(
        "# a comment\nport 99999\nrequierpas hunter2\n\nbind \"127.0.0.1\ncluster-enabled yes\nuser alice on >hunter2\n\
         rename-command FLUSHALL \"\"\naclfile users.acl\nreplicaof 10.0.0.1 6379\nloadmodule x.so\nmaxmemroy 1gb\n\
         maxmemory-policy lru\ninclude {}\n",
        included.display()
    );
    std::fs::write(&file, text).expect("the directory is ours");
    std::fs::write(&included, "timeout never\ndatabases 0\n").expect("the directory is ours");
    let output = run(&[file.to_str().expect("ASCII"), "--tcp-backlog", "x", "--no-such-thing"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(shown.contains("FATAL CONFIG FILE ERROR"), "{shown}");
    for line in [2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13] {
        assert!(shown.contains(&format!("{}:{line}: ", file.display())), "line {line} in {shown}");
    }
    for expected in [
        &format!("{}:1: 'timeout never'", included.display()),
        &format!("{}:2: 'databases 0'", included.display()),
        "command line: '--tcp-backlog x'",
        "command line: '--no-such-thing'",
        "did you mean 'maxmemory'?",
        "did you mean 'requirepass'?",
    ] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    assert!(!shown.contains("hunter2"), "a secret in {shown}");
}

#[test]
fn a_missing_file_is_named() {
    let output = run(&["/nonexistent/redis.conf"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("Can't open config file '/nonexistent/redis.conf'")
    );
}

#[test]
fn a_server_that_nobody_could_reach_does_not_start() {
    let output = run(&["--port", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Configured to not listen anywhere"));
}

#[test]
fn the_stock_configuration_of_debian_starts_us() {
    let stock = "/etc/redis/redis.conf";
    if std::fs::File::open(stock).is_err() {
        println!("skipped: {stock} cannot be read");
        return;
    }
    let directory = TempDir::new();
    let pidfile = directory.path().join("pid");
    // What belongs to the machine is put into our own place; the rest is as Debian ships it.
    let own = format!("include {stock}\nlogfile \"\"\ndaemonize no\npidfile {}\n", pidfile.display());
    let mut server = Server::start(larder(&[]).config(own));
    let mut client = server.connect();
    assert!(is_served(&mut client));
    assert_eq!(parameter(&mut client, "maxclients"), "10000");
    assert_eq!(parameter(&mut client, "hash-max-listpack-entries"), "512");
    assert_eq!(std::fs::read_to_string(&pidfile).expect("the pidfile").trim(), server.pid().to_string());
    assert!(info(&mut client, "server", "config_file").ends_with("server.conf"));
    assert!(server.stop_gracefully().success());
    assert!(!pidfile.exists());
}

#[test]
fn directives_without_a_function_are_kept_and_named_once() {
    let server =
        Server::start(larder(&[]).config("rdb-del-sync-files yes\nrepl-timeout 60\nslave-priority 7\n"));
    let warning = server.log().lines().find(|line| line.contains("no function yet")).map(str::to_owned);
    let warning = warning.expect("a warning");
    assert!(warning.contains("rdb-del-sync-files") && warning.contains("replica-priority"), "{warning}");
    assert!(!warning.contains("repl-timeout"), "it is what it would be anyway: {warning}");
    let mut client = server.connect();
    assert_eq!(parameter(&mut client, "rdb-del-sync-files"), "yes");
    assert_eq!(parameter(&mut client, "slave-priority"), "7");
    assert_eq!(parameter(&mut client, "replica-priority"), "7");
}

#[test]
fn arguments_override_the_file_and_standard_input_is_a_file() {
    let server = Server::start(
        larder(&["--timeout", "9", "--maxmemory=5mb"]).config("TIMEOUT 5\nMaxClients 77\nmaxmemory 1gb\n"),
    );
    let mut client = server.connect();
    assert_eq!(parameter(&mut client, "timeout"), "9");
    assert_eq!(parameter(&mut client, "maxclients"), "77");
    assert_eq!(parameter(&mut client, "maxmemory"), "5242880");

    let child = Command::new(env!("CARGO_BIN_EXE_larder-server"))
        .args(["-", "--port", "0"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("the server starts");
    let mut input = child.stdin.take().expect("it was asked for");
    std::io::Write::write_all(&mut input, b"port 1\nno-such-thing 1\n").expect("it is read");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(shown.contains("standard input:2: 'no-such-thing 1'"), "{shown}");
}

#[test]
fn config_set_checks_before_it_changes_anything() {
    let server = start(&[]);
    let mut client = server.connect();
    for (name, value, reason) in [
        ("port", "1234", "can't set immutable config"),
        ("maxclients", "0", "argument must be between 1 and 4294967295 inclusive"),
        ("timeout", "soon", "argument couldn't be parsed into an integer"),
        ("protected-mode", "maybe", "argument must be 'yes' or 'no'"),
        ("save", "60", "Invalid save parameters"),
        (
            "client-output-buffer-limit",
            "normal 1 2",
            "Wrong number of arguments in buffer limit configuration.",
        ),
        ("loglevel", "loud", "argument(s) must be one of the following: debug, verbose, notice, warning"),
    ] {
        let expected = format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}");
        assert_eq!(error(client.cmd(&["CONFIG", "SET", name, value])), expected);
    }
    let both = client.cmd(&["CONFIG", "SET", "timeout", "5", "maxclients", "-1"]);
    assert!(error(both).contains("maxclients"));
    assert_eq!(parameter(&mut client, "timeout"), "0");
    for (name, value, shown) in [
        ("save", "60 1 30 2", "60 1 30 2"),
        ("save", "", ""),
        (
            "client-output-buffer-limit",
            "pubsub 1mb 512kb 5",
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 1048576 524288 5",
        ),
        ("client-query-buffer-limit", "2mb", "2097152"),
        ("rdb-del-sync-files", "yes", "yes"),
    ] {
        assert_eq!(client.cmd(&["CONFIG", "SET", name, value]), Frame::Simple(b"OK".to_vec()), "{name}");
        assert_eq!(parameter(&mut client, name), shown);
    }
    assert!(error(client.cmd(&["CONFIG", "SET", "cluster-enabled", "yes"])).contains("Cluster mode"));
}

#[test]
fn an_address_that_is_not_there_matters_unless_it_is_optional() {
    let server = start(&["--bind", "127.0.0.1", "-192.0.2.1", "-::1"]);
    assert!(is_served(&mut server.connect()));
    let why = Server::try_start(larder(&["--bind", "127.0.0.1", "192.0.2.1"])).err().unwrap_or_default();
    assert!(why.contains("192.0.2.1"), "{why}");
}
