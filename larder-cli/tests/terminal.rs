//! A person at the prompt: what is on the screen while lines are typed, run, and interrupted.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::pty::Terminal;
use testkit::server::redis_version;
use testkit::temp::TempDir;
use testkit::{Options, Server};

/// A server, a home for the history, and the terminal.
struct Sitting {
    server: Server,
    home: TempDir,
    prompt: String,
}

impl Sitting {
    fn new(options: Options) -> Sitting {
        let server = Server::start(options);
        let prompt = format!("127.0.0.1:{}> ", server.port());
        Sitting { server, home: TempDir::new(), prompt }
    }

    fn history(&self) -> PathBuf {
        self.home.path().join("history")
    }

    fn open(&self) -> Terminal {
        self.open_with(&[])
    }

    fn open_with(&self, more: &[&str]) -> Terminal {
        let port = self.server.port().to_string();
        let args = [&["-p", port.as_str(), "--no-pager"], more].concat();
        let history = self.history();
        let history = history.to_str().expect("a temporary path is text");
        let environment =
            [("REDISCLI_HISTFILE", history), ("REDISCLI_RCFILE", "/dev/null"), ("REDISCLI_AUTH", "")];
        Terminal::start(Path::new(env!("CARGO_BIN_EXE_larder-cli")), &args, &environment)
    }

    /// The prompt in another database, or in a transaction.
    fn prompt_with(&self, state: &str) -> String {
        format!("127.0.0.1:{}{state}> ", self.server.port())
    }
}

/// The servers that the prompt is tried with.
fn servers() -> Vec<Options> {
    let mut all = vec![Options::larder()];
    assert!(redis_version().is_some() || std::env::var_os("CI").is_none(), "cargo x setup installs it");
    if redis_version().is_some() {
        all.push(Options::redis());
    }
    all
}

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_R: &str = "\x12";
const UP: &str = "\x1b[A";

#[test]
fn the_prompt_hints_completes_and_searches() {
    for options in servers() {
        let sitting = Sitting::new(options);
        let (prompt, mut terminal) = (&sitting.prompt, sitting.open());
        terminal.line(prompt, "set user:anna@example.org hello");
        terminal.shows("OK");
        terminal.prompt(prompt);
        // What may follow stands there while the command is typed, and shrinks with it.
        terminal.keys("set");
        terminal.shows("set key value [");
        terminal.keys(" a b ex ");
        terminal.shows("set a b ex seconds");
        // Ctrl-C gives up the line and not the program.
        terminal.keys(CTRL_C);
        // A command, and a key that was typed before.
        terminal.prompt(prompt);
        terminal.keys("getra\t");
        terminal.shows("getrange ");
        terminal.keys("user:an\t");
        terminal.shows("getrange user:anna@example.org ");
        terminal.keys("0 1\r");
        terminal.shows("\"he\"");
        // A key that only the server knows, an option, a subcommand.
        sitting.server.connect().line("SET zebra:1 stripes");
        terminal.prompt(prompt);
        terminal.keys("get zeb\t");
        terminal.shows("get zebra:1 ");
        terminal.keys("\r");
        terminal.shows("\"stripes\"");
        terminal.prompt(prompt);
        terminal.keys("SET k v KEE\t\r");
        terminal.shows("SET k v KEEPTTL");
        terminal.prompt(prompt);
        terminal.keys("config resets\t\r");
        terminal.shows("config resetstat");
        terminal.line(prompt, "help getrange");
        terminal.shows("GETRANGE key start end");
        // The history, backwards.
        terminal.prompt(prompt);
        terminal.keys(CTRL_R);
        terminal.shows("reverse-i-search");
        terminal.keys("stripes");
        terminal.keys("\x08\x08\x08\x08\x08\x08\x08zeb");
        terminal.shows("get zebra:1");
        terminal.keys("\r");
        terminal.shows("\"stripes\"");
        terminal.prompt(prompt);
        terminal.keys(CTRL_D);
        assert!(terminal.ends().success());
    }
}

#[test]
fn a_line_with_an_open_quote_is_not_sent() {
    let sitting = Sitting::new(Options::larder());
    let (prompt, mut terminal) = (&sitting.prompt, sitting.open());
    terminal.prompt(prompt);
    terminal.keys("echo \"half\r");
    terminal.shows("a quote is not closed");
    terminal.keys("\"\r");
    terminal.shows("\"half\"");
    terminal.line(prompt, "quit");
    assert!(terminal.ends().success());
}

#[test]
fn passwords_are_neither_shown_nor_kept() {
    for options in servers() {
        let sitting = Sitting::new(options.args(["--requirepass", "opensesame"]));
        let (prompt, mut terminal) = (&sitting.prompt, sitting.open());
        terminal.line(prompt, "get a");
        terminal.shows("NOAUTH");
        terminal.line(prompt, "auth opensesame");
        terminal.shows("OK");
        terminal.line(prompt, "config set requirepass abracadabra");
        terminal.shows("OK");
        terminal.line(prompt, "set fruit apple");
        terminal.shows("OK");
        // Neither is the line before; the one before both is.
        terminal.prompt(prompt);
        terminal.keys(&format!("{UP}{UP}\r"));
        terminal.shows("get a");
        terminal.shows("(nil)");
        terminal.line(prompt, "quit");
        assert!(terminal.ends().success());
        let kept = fs::read_to_string(sitting.history()).expect("there is a history");
        assert_eq!(kept.lines().collect::<Vec<_>>(), ["get a", "set fruit apple", "get a", "quit"], "{kept}");
        assert!(!terminal.text().contains("opensesame"), "{}", terminal.text());
        // The next sitting begins with what is left of this one.
        let mut terminal = sitting.open_with(&["-a", "abracadabra", "--no-auth-warning"]);
        terminal.prompt(prompt);
        terminal.keys(&format!("{UP}{UP}{UP}\r"));
        terminal.shows("set fruit apple");
        terminal.shows("OK");
        terminal.line(prompt, "quit");
        assert!(terminal.ends().success());
    }
}

#[test]
fn a_key_can_be_looked_at() {
    for options in servers() {
        let sitting = Sitting::new(options);
        let (prompt, mut terminal) = (&sitting.prompt, sitting.open());
        terminal.line(prompt, "hset cart:7 apples 3 pears 12");
        terminal.shows("(integer) 2");
        terminal.line(prompt, "expire cart:7 93000");
        terminal.shows("(integer) 1");
        terminal.line(prompt, "peek cart:7");
        terminal.prompt(prompt);
        let page = terminal.text();
        for part in
            ["type      hash (listpack)", "expires   in 1 d 1 h", "length    2 fields", "apples", "pears"]
        {
            assert!(page.contains(part), "{part} in:\n{page}");
        }
        terminal.keys("peek nothing\r");
        terminal.shows("(nil)");
        terminal.line(prompt, "quit");
        assert!(terminal.ends().success());
    }
}

#[test]
fn ctrl_c_leaves_what_streams_and_not_the_program() {
    for options in servers() {
        let sitting = Sitting::new(options);
        let (prompt, mut terminal) = (&sitting.prompt, sitting.open());
        let mut other = sitting.server.connect();
        terminal.line(prompt, "monitor");
        terminal.shows("OK");
        other.line("SET seen yes");
        terminal.shows("\"SET\" \"seen\" \"yes\"");
        terminal.keys(CTRL_C);
        terminal.line("not connected> ", "subscribe news");
        terminal.shows("Ctrl-C");
        terminal.shows("(integer) 1");
        other.line("PUBLISH news extra");
        terminal.shows("\"extra\"");
        terminal.keys(CTRL_C);
        terminal.line("not connected> ", "get seen");
        terminal.shows("\"yes\"");
        terminal.line(prompt, "quit");
        assert!(terminal.ends().success());
    }
}

#[test]
fn ctrl_c_gives_up_a_command_that_is_not_answered() {
    let sitting = Sitting::new(Options::larder());
    let (prompt, mut terminal) = (&sitting.prompt, sitting.open());
    terminal.prompt(prompt);
    // A server that stands still: the connection is there, and nothing comes.
    sitting.server.signal("STOP");
    terminal.keys("get a\r");
    terminal.entered();
    terminal.keys(CTRL_C);
    terminal.shows("given up");
    sitting.server.signal("CONT");
    terminal.line("not connected> ", "get a");
    terminal.shows("(nil)");
    terminal.line(prompt, "quit");
    assert!(terminal.ends().success());
}

#[test]
fn the_prompt_tells_database_and_transaction() {
    for options in servers() {
        let sitting = Sitting::new(options);
        let mut terminal = sitting.open();
        terminal.line(&sitting.prompt, "select 3");
        terminal.line(&sitting.prompt_with("[3]"), "multi");
        terminal.line(&sitting.prompt_with("[3](TX)"), "incr visits");
        terminal.shows("QUEUED");
        terminal.line(&sitting.prompt_with("[3](TX)"), "exec");
        terminal.shows("1) (integer) 1");
        terminal.line(&sitting.prompt_with("[3]"), "multi");
        terminal.line(&sitting.prompt_with("[3](TX)"), "discard");
        // An exchange of two databases is asked about, and refused by anything but yes.
        terminal.line(&sitting.prompt_with("[3]"), "flushdb");
        terminal.shows("This deletes all keys of database 3");
        terminal.keys("n\r");
        terminal.shows("Not done.");
        terminal.line(&sitting.prompt_with("[3]"), "get visits");
        terminal.shows("\"1\"");
        terminal.line(&sitting.prompt_with("[3]"), "quit");
        assert!(terminal.ends().success());
    }
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    for options in servers() {
        let mut sitting = Sitting::new(options);
        let mut terminal = sitting.open_with(&["-n", "2"]);
        let prompt = sitting.prompt_with("[2]");
        terminal.line(&prompt, "set a 1");
        terminal.shows("OK");
        terminal.prompt(&prompt);
        sitting.server.stop_gracefully();
        terminal.keys("get a\r");
        terminal.shows("Could not connect");
        terminal.line("not connected> ", "get a");
        terminal.shows("Could not connect");
        sitting.server.restart();
        // In the database of before, and without a word about it.
        terminal.line("not connected> ", "set a 2");
        terminal.shows("OK");
        terminal.line(&prompt, "get a");
        terminal.shows("\"2\"");
        // A transaction does not survive: what was queued is not run in another one.
        terminal.line(&prompt, "multi");
        let in_transaction = sitting.prompt_with("[2](TX)");
        terminal.line(&in_transaction, "set a 3");
        terminal.shows("QUEUED");
        terminal.prompt(&in_transaction);
        sitting.server.restart();
        terminal.keys("exec\r");
        terminal.shows("the transaction with it");
        terminal.line("not connected> ", "get a");
        terminal.shows("(nil)");
        terminal.line(&prompt, "quit");
        assert!(terminal.ends().success());
    }
}
