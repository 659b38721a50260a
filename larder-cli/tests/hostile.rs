//! Servers that are broken or mean: every mode ends by itself, says what was wrong, and takes bounded memory.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use testkit::port::Port;
use testkit::temp::TempDir;
use testkit::terminal::{Canned, Then, feed};

/// Address space of a client, in KiB; a reply may take a fraction of it. Beyond it an allocation fails, and the client
/// ends by a signal.
const MEMORY_KIB: &str = "600000";

/// Seconds after which a client counts as hanging: far more than its own time-outs.
const HANGS: &str = "120";

/// One way to run the client, and its standard input.
struct Mode {
    args: &'static [&'static str],
    input: &'static [u8],
}

const fn mode(args: &'static [&'static str]) -> Mode {
    Mode { args, input: b"" }
}

/// Every mode that talks to a server and ends by itself.
const MODES: &[Mode] = &[
    mode(&["get", "x"]),
    mode(&["-3", "get", "x"]),
    mode(&["--json", "hgetall", "x"]),
    mode(&["-c", "get", "x"]),
    mode(&["peek", "x"]),
    mode(&["help", "get"]),
    Mode { args: &[], input: b"get x\nset x y\n" },
    Mode { args: &["--pipe"], input: b"SET a b\r\nGET a\r\n" },
    mode(&["--scan"]),
    mode(&["--bigkeys"]),
    mode(&["--memkeys"]),
    mode(&["--hotkeys"]),
    mode(&["--keystats"]),
    mode(&["--delete", "--pattern", "x", "--yes"]),
    mode(&["--stat", "-r", "2", "-i", "0.01"]),
    mode(&["--latency", "-i", "0.05"]),
    mode(&["--latency-dist", "-i", "0.05", "-r", "1"]),
    mode(&["--wait=0.2", "ping"]),
];

/// Modes that wait for messages as long as somebody listens; a silent server is no fault there.
const LISTENERS: &[Mode] = &[mode(&["monitor"]), mode(&["-3", "subscribe", "news"])];

/// The benchmark has options of its own.
const BENCH: Mode = mode(&["bench", "-c", "2", "-n", "20", "-P", "2", "-t", "get"]);

/// Runs the client; it must come to an end of its own, without a panic.
fn run(port: u16, mode: &Mode) -> Output {
    let port = port.to_string();
    let limits = ["-p", &port, "--connect-timeout", "0.5", "--timeout", "0.5", "--max-reply", "8mb"];
    let limits = if mode.args.first() == Some(&"bench") {
        [&mode.args[..1], &limits[..], &mode.args[1..]].concat()
    } else {
        [&limits[..], &["--pipe-timeout", "0.5"], mode.args].concat()
    };
    let mut command = Command::new("timeout");
    command
        .args([HANGS, "sh", "-c", "ulimit -v \"$0\"; exec \"$@\"", MEMORY_KIB])
        .arg(env!("CARGO_BIN_EXE_larder-cli"))
        .args(limits)
        .env_remove("REDISCLI_AUTH");
    let output = feed(&mut command, mode.input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let end = output.status.code();
    assert!(matches!(end, Some(0 | 1)) && !said.contains("panicked"), "{:?}: {end:?} {said}", mode.args);
    output
}

/// Runs all modes against a server of these bytes; those that end well although nothing could be right are a failure.
fn all_fail(reply: &[u8], then: Then, modes: &[&[Mode]]) {
    let server = Canned::start(reply, then);
    let port = server.port();
    std::thread::scope(|scope| {
        for mode in modes.iter().copied().flatten() {
            let shown = String::from_utf8_lossy(&reply[..reply.len().min(40)]).into_owned();
            scope.spawn(move || {
                let output = run(port, mode);
                let told = [output.stdout.as_slice(), &output.stderr].concat();
                // Help comes from our own table then.
                let fails = mode.args.first() != Some(&"help");
                assert!(!fails || output.status.code() == Some(1), "{:?} and {shown:?}", mode.args);
                assert!(!told.is_empty(), "{:?} says nothing about {shown:?}", mode.args);
            });
        }
    });
}

const EVERYTHING: &[&[Mode]] = &[MODES, LISTENERS, &[BENCH]];

#[test]
fn a_server_that_closes_at_once_is_reported() {
    all_fail(b"", Then::Close, EVERYTHING);
}

#[test]
fn a_reply_that_is_cut_is_reported() {
    all_fail(b"*2\r\n$5\r\nhel", Then::Close, EVERYTHING);
    all_fail(b"+O", Then::Close, EVERYTHING);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    all_fail(b"", Then::Wait, &[MODES, &[BENCH]]);
    // It has begun, and stands still.
    all_fail(b"*2\r\n$5\r\nhel", Then::Wait, &[MODES, &[BENCH]]);
}

#[test]
fn what_is_no_reply_is_reported() {
    for reply in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"$-5\r\n",
        b"$9223372036854775807\r\n",
        b"*9223372036854775807\r\n",
        b"*99999999999999999999\r\n",
        b"%4611686018427387904\r\n",
        b":12x\r\n",
        b"$3\r\nabcdef\r\n",
        b"\x16\x03\x01\x02\x00",
    ] {
        all_fail(reply, Then::Wait, EVERYTHING);
    }
}

#[test]
fn a_reply_that_never_ends_takes_bounded_memory() {
    let line = [b"+".as_slice(), &[b'a'; 64 * 1024]].concat();
    let elements = [b"*1000000000\r\n".as_slice(), &b":1\r\n".repeat(16 * 1024)].concat();
    let bulk = [b"$2000000000\r\n".as_slice(), &[b'a'; 64 * 1024]].concat();
    for reply in [line, elements, bulk] {
        all_fail(&reply, Then::Repeat, EVERYTHING);
    }
}

#[test]
fn a_reply_that_is_nested_without_end_is_reported() {
    all_fail(&b"*1\r\n".repeat(100_000), Then::Wait, EVERYTHING);
    all_fail(&b"%1\r\n+k\r\n".repeat(50_000), Then::Repeat, EVERYTHING);
}

#[test]
fn replies_of_the_wrong_type_are_survived() {
    // What a command makes of them differs; none hangs, and none ends by a signal.
    for reply in [
        &b":9223372036854775807\r\n"[..],
        b":-9223372036854775808\r\n",
        b"+OK\r\n",
        b"+\r\n",
        b"-\r\n",
        b"-ERR no\r\n",
        b"-MOVED 1 127.0.0.1:1\r\n",
        b"-MOVED x y z\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"_\r\n",
        b",nan\r\n",
        b"#t\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"~1\r\n:1\r\n",
        b"*2\r\n$1\r\n0\r\n*0\r\n",
        b"*2\r\n*0\r\n*0\r\n",
        b"*2\r\n$1\r\n0\r\n*2\r\n*0\r\n:5\r\n",
        b">2\r\n+message\r\n*0\r\n",
        b"+one\r\n+two\r\n+three\r\n",
        b"$24\r\n# a\r\ndb0:keys=9,x=\r\nb:c\r\n\r\n",
    ] {
        let server = Canned::start(reply, Then::Wait);
        let port = server.port();
        std::thread::scope(|scope| {
            for mode in MODES.iter().chain([&BENCH]) {
                scope.spawn(move || run(port, mode));
            }
        });
    }
}

#[test]
fn sums_of_a_lying_server_do_not_overflow() {
    // Every key is said to have the largest size there is.
    let page = b"*2\r\n$1\r\n0\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n";
    let server = Canned::scripted(|request| {
        if request.contains("SCAN") {
            page.to_vec()
        } else if request.contains("TYPE") {
            b"+string\r\n".repeat(request.matches("TYPE").count())
        } else {
            b":9223372036854775807\r\n".repeat(request.matches('*').count())
        }
    });
    for mode in
        [&["--bigkeys"][..], &["--memkeys"], &["--keystats"], &["--keystats", "--json"], &["--hotkeys"]]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_larder-cli"))
            .args(["-p", &server.port().to_string(), "--timeout", "20"])
            .args(mode)
            .output()
            .expect("it was built");
        assert!(output.status.success(), "{mode:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_redirection_without_end_ends() {
    // It can only name itself once it knows its port, so it names the place that it is asked for.
    let port = Port::take();
    let listener = TcpListener::bind(("127.0.0.1", port.number())).expect("the port was taken");
    let moved = format!("-MOVED 1 127.0.0.1:{}\r\n", port.number());
    let server = Canned::on(listener, move |_| moved.clone().into_bytes());
    let output = run(server.port(), &mode(&["-c", "get", "x"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("redirected"), "{output:?}");
}

#[test]
fn a_script_file_that_is_no_file_is_reported() {
    let home = TempDir::new();
    let directory = home.path().to_str().expect("a temporary path is text");
    let client = || Command::new(env!("CARGO_BIN_EXE_larder-cli"));
    let output = client().args(["-p", "1", "--eval", directory]).output().expect("it was built");
    assert_eq!(output.status.code(), Some(1));
    let missing = home.path().join("missing.lua");
    fs::write(home.path().join("other"), "").expect("the directory is there");
    let output = client().args(["-p", "1", "--eval"]).arg(missing).output().expect("it was built");
    assert!(String::from_utf8_lossy(&output.stderr).contains("No such file"), "{output:?}");
}
