//! The real redis-cli against the smallest server: its interactive start reads COMMAND DOCS and stops at a shape it
//! does not expect.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
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
    let runs = |program: &str| {
        Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    let installed = runs("redis-cli") && runs("script");
    if !installed {
        println!("skipped: redis-cli or script is not installed");
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

/// redis-cli in a pseudo-terminal.
struct Terminal {
    process: Child,
    prompt: String,
    /// What has been shown and not been looked at.
    screen: String,
}

impl Terminal {
    fn start(server: &TinyServer) -> Terminal {
        let shell = format!("stty cols 100 rows 30; exec redis-cli -p {}", server.port);
        let process = Command::new("script")
            .args(["-q", "-c", &shell, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is installed");
        Terminal { process, prompt: format!(":{}> ", server.port), screen: String::new() }
    }

    /// Reads on until this text is shown, and returns what stood before it.
    fn wait_for(&mut self, text: &str) -> String {
        let output = self.process.stdout.as_mut().expect("a pipe was asked for");
        let mut chunk = [0; 4096];
        loop {
            if let Some(at) = self.screen.find(text) {
                let before = self.screen[..at].to_owned();
                self.screen.drain(..at + text.len());
                return before;
            }
            let length = output.read(&mut chunk).expect("the terminal can be read");
            assert!(length > 0, "the terminal ended without {text:?}: {}", self.screen);
            self.screen.push_str(&String::from_utf8_lossy(&chunk[..length]));
        }
    }

    /// Types a line at the prompt. What is typed before there is a prompt would be dropped.
    fn type_line(&mut self, line: &str) {
        let prompt = self.prompt.clone();
        self.wait_for(&prompt);
        let keyboard = self.process.stdin.as_mut().expect("a pipe was asked for");
        keyboard.write_all(format!("{line}\r").as_bytes()).expect("the terminal takes input");
        self.wait_for("\r\n");
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
