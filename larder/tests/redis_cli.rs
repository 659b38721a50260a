//! The real redis-cli against the smallest server: its interactive start reads COMMAND DOCS and stops at a shape it
//! does not expect.

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The example server, killed when dropped.
struct TinyServer {
    process: Child,
    port: String,
}

impl TinyServer {
    fn start() -> TinyServer {
        // Examples are built beside the tests.
        let test: PathBuf = std::env::current_exe().expect("a test is a program");
        let programs = test.ancestors().nth(2).expect("a test is in target/<profile>/deps");
        let mut process = Command::new(programs.join("examples/tiny_server"))
            .arg("0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo test builds the examples");
        let mut ready = String::new();
        let output = process.stdout.take().expect("a pipe was asked for");
        BufReader::new(output).read_line(&mut ready).expect("the server says when it is ready");
        let port = ready.split_whitespace().next_back().expect("the port is the last word").to_owned();
        TinyServer { process, port }
    }
}

impl Drop for TinyServer {
    fn drop(&mut self) {
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a child can be waited for");
    }
}

fn is_installed() -> bool {
    let mut version = Command::new("redis-cli");
    let installed = version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !installed {
        println!("skipped: redis-cli is not installed");
    }
    installed
}

/// What redis-cli prints at the end of these arguments.
fn cli(server: &TinyServer, arguments: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &server.port])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("redis-cli is installed");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// redis-cli in a pseudo-terminal of 100 columns.
struct Terminal {
    process: Child,
    keyboard_and_screen: File,
    prompt: String,
    /// What has been shown and not been looked at.
    screen: String,
}

impl Terminal {
    fn start(server: &TinyServer) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("the system has a terminal left");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a new terminal can be unlocked");
        let name = ptsname(&ours, Vec::new()).expect("a terminal has a name");
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        // It must not become the terminal that this test itself hangs on.
        let flags = OFlags::NOCTTY.bits().cast_signed();
        let theirs = File::options().read(true).write(true).custom_flags(flags).open(path);
        let theirs = theirs.expect("a terminal can be opened");
        tcsetwinsize(&theirs, Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 })
            .expect("a terminal has a size");
        let side = || Stdio::from(theirs.try_clone().expect("a file can be opened twice"));
        let process = Command::new("redis-cli")
            .args(["-p", &server.port])
            .env("TERM", "xterm")
            .env("REDISCLI_HISTFILE", "/dev/null")
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("redis-cli is installed");
        Terminal {
            process,
            keyboard_and_screen: File::from(ours),
            prompt: format!(":{}> ", server.port),
            screen: String::new(),
        }
    }

    /// Reads on until this text is shown, and returns what stood before it.
    fn wait_for(&mut self, text: &str) -> String {
        let mut chunk = [0; 4096];
        loop {
            if let Some(at) = self.screen.find(text) {
                let before = self.screen[..at].to_owned();
                self.screen.drain(..at + text.len());
                return before;
            }
            // A terminal that nobody writes to any more is an error when read.
            let length = self.keyboard_and_screen.read(&mut chunk).unwrap_or(0);
            assert!(length > 0, "the terminal ended without {text:?}: {}", self.screen);
            self.screen.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
    }

    /// Types a line at the prompt. What is typed before there is a prompt would be dropped.
    fn type_line(&mut self, line: &str) {
        let prompt = self.prompt.clone();
        self.wait_for(&prompt);
        let keys = format!("{line}\r");
        self.keyboard_and_screen.write_all(keys.as_bytes()).expect("the terminal takes input");
        self.wait_for("\r\n");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Already over unless the test has failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_interactive_terminal_starts_and_knows_our_commands() {
    if !is_installed() {
        return;
    }
    let server = TinyServer::start();
    let mut terminal = Terminal::start(&server);
    terminal.type_line("help getdel");
    terminal.wait_for("GETDEL");
    terminal.wait_for("6.2.0");
    terminal.type_line("SET greeting hello");
    terminal.wait_for("OK");
    terminal.type_line("GET greeting");
    terminal.wait_for("\"hello\"");
    terminal.type_line("COMMAND DOCS get");
    terminal.wait_for("key_spec_index");
    terminal.type_line("quit");
    assert!(terminal.process.wait().expect("a child can be waited for").success());
}

#[test]
fn programs_get_json_and_text() {
    if !is_installed() {
        return;
    }
    let server = TinyServer::start();
    let docs = cli(&server, &["--json", "COMMAND", "DOCS", "get"]);
    assert!(docs.starts_with("{\"get\":{\"summary\":"), "{docs}");
    assert!(
        docs.contains("\"arguments\":[{\"name\":\"key\",\"type\":\"key\",\"key_spec_index\":0}]"),
        "{docs}"
    );
    assert!(cli(&server, &["INFO", "server"]).starts_with("# Server\r\nredis_version:7.0.15\r\n"));
    assert!(cli(&server, &["-3", "INFO", "memory"]).contains("\nused_memory:"));
    assert_eq!(cli(&server, &["SLOWLOG", "GET", "10"]).trim(), "");
    cli(&server, &["MSET", "a", "1", "b", "2"]);
    assert_eq!(cli(&server, &["--scan", "--pattern", "a*"]), "a\n");
    assert!(cli(&server, &["--bigkeys"]).contains("2 strings"));
}
