//! Starting and stopping servers: ours, and Debian's `redis-server` as the oracle.
//!
//! Every server gets its own port, its own data directory and its own log file, and is gone when the [`Server`] is
//! dropped, whether the test passed or not. A test that restarts a server does so on the same port and directory.

use std::fs::{self, File, OpenOptions};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::port::Port;
use crate::temp::TempDir;

/// How long a server may take from its start to its first answer.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a server may take to save and leave after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How often a waiting test looks again.
const POLL: Duration = Duration::from_millis(5);

/// Which program to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// Our own server, found by [`larder_binary`].
    Larder,
    /// The oracle: `redis-server` from the search path, or from `REDIS_SERVER`.
    Redis,
    /// Any other program that takes Redis' arguments.
    Path(PathBuf),
}

/// When a started server counts as ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Its TCP port answers PING with anything but `-LOADING` (a server with a password answers `-NOAUTH`).
    Ping,
    /// Its log contains this text: for servers without a plain TCP port.
    Log(String),
    /// Its process runs: for starts that are meant to fail.
    Spawned,
}

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which program.
    pub program: Program,
    /// A program with its arguments that becomes the one above in the end, such as `nice`; none if empty.
    pub through: Vec<String>,
    /// A configuration file's text; it is written beside the data directory and named as first argument.
    pub config: Option<String>,
    /// Further arguments, after our own (`--port`, `--bind`, `--dir`, `--save ""`), so that they override them.
    pub args: Vec<String>,
    /// When it is ready.
    pub ready: Ready,
}

impl Options {
    /// Our own server with no further arguments.
    #[must_use]
    pub fn larder() -> Options {
        let (through, args) = (Vec::new(), Vec::new());
        Options { program: Program::Larder, through, config: None, args, ready: Ready::Ping }
    }

    /// Debian's `redis-server` with no further arguments.
    #[must_use]
    pub fn redis() -> Options {
        Options { program: Program::Redis, ..Options::larder() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Options {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Starts it through another program.
    #[must_use]
    pub fn through<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Options {
        self.through = words.into_iter().map(Into::into).collect();
        self
    }

    /// Starts from a configuration file with this text.
    #[must_use]
    pub fn config(mut self, text: impl Into<String>) -> Options {
        self.config = Some(text.into());
        self
    }

    /// Sets when the server counts as ready.
    #[must_use]
    pub fn ready(mut self, ready: Ready) -> Options {
        self.ready = ready;
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Options::larder()
    }
}

/// A running server; dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct Server {
    options: Options,
    child: Child,
    port: Port,
    temp: TempDir,
    /// The exit status, once the process has been waited for.
    exited: Option<ExitStatus>,
}

impl Server {
    /// Starts a server and waits until it is ready.
    ///
    /// # Panics
    /// With the server's log, when it does not become ready. Use [`Server::try_start`] for starts that may fail.
    #[must_use]
    pub fn start(options: Options) -> Server {
        Server::try_start(options).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts a server and waits until it is ready; an error is a text with the log in it.
    ///
    /// # Errors
    /// When the program is missing, leaves before it is ready, or is not ready within 20 seconds.
    pub fn try_start(options: Options) -> Result<Server, String> {
        let temp = TempDir::new();
        fs::create_dir(temp.path().join("data"))
            .map_err(|e| format!("cannot create a data directory: {e}"))?;
        if let Some(text) = &options.config {
            fs::write(temp.path().join("server.conf"), text)
                .map_err(|e| format!("cannot write a config: {e}"))?;
        }
        let port = Port::take();
        let child = spawn(&options, port.number(), temp.path())?;
        let mut server = Server { options, child, port, temp, exited: None };
        server.wait_ready()?;
        Ok(server)
    }

    /// Our own server with these arguments.
    #[must_use]
    pub fn larder(args: &[&str]) -> Server {
        Server::start(Options::larder().args(args.iter().copied()))
    }

    /// Debian's `redis-server`, with no further arguments.
    ///
    /// # Panics
    /// When it is not installed.
    #[must_use]
    pub fn oracle() -> Server {
        Server::start(Options::redis())
    }

    /// The oracle, or `None` after saying so on standard error when `redis-server` is not installed.
    ///
    /// With `CI` set in the environment a missing oracle is a failure: a comparison that silently compares nothing is
    /// worse than none.
    #[must_use]
    pub fn oracle_or_skip() -> Option<Server> {
        if redis_version().is_none() && std::env::var_os("CI").is_none() {
            eprintln!("skipped: redis-server is not installed (cargo x setup installs it)");
            return None;
        }
        Some(Server::oracle())
    }

    /// larder-server, and the oracle if there is one, each with its name: what tests of clients run on.
    #[must_use]
    pub fn of_each_kind() -> Vec<(&'static str, Server)> {
        let larder = ("larder-server", Server::start(Options::larder()));
        std::iter::once(larder)
            .chain(Server::oracle_or_skip().map(|oracle| ("redis-server", oracle)))
            .collect()
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The TCP address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port()))
    }

    /// The data directory.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    /// A path for a Unix socket or other side files, outside the data directory.
    #[must_use]
    pub fn side_file(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection.
    ///
    /// # Panics
    /// When the server does not accept it.
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::connect(self.addr())
    }

    /// All that the server has written to standard output and standard error, over its restarts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Waits until the log contains `text`.
    ///
    /// # Panics
    /// With the log, when it does not within 20 seconds.
    pub fn wait_log(&self, text: &str) {
        let end = Instant::now() + START_LIMIT;
        while !self.log().contains(text) {
            assert!(Instant::now() < end, "the log never said {text:?}:\n{}", self.log());
            std::thread::sleep(POLL);
        }
    }

    /// Resident memory in bytes, from `/proc`; 0 when the process is gone or the system has no `/proc`.
    #[must_use]
    pub fn memory_rss(&self) -> u64 {
        self.proc_status("VmRSS:")
    }

    /// The highest resident memory so far in bytes, from `/proc`; 0 when unknown.
    #[must_use]
    pub fn memory_peak(&self) -> u64 {
        self.proc_status("VmHWM:")
    }

    /// CPU time used so far by all threads that still run, in nanoseconds, from `/proc`; 0 when unknown.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid())) else { return 0 };
        let spent = |thread: fs::DirEntry| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        threads.flatten().filter_map(spent).sum()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.poll_exit().is_none()
    }

    /// Sends SIGTERM and waits until the server has left.
    ///
    /// # Panics
    /// With the log, when it is still there after 30 seconds.
    pub fn stop_gracefully(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_exit()
    }

    /// Sends SIGKILL, as a crash would, and waits until the process is gone.
    pub fn kill9(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        self.wait_exit()
    }

    /// Sends a signal by its name without `SIG` (`"TERM"`, `"INT"`, `"STOP"`, `"CONT"`).
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub fn signal(&self, name: &str) {
        // The standard library sends only SIGKILL, and a foreign call is not worth an unsafe block in a test tool.
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &self.pid().to_string()])
            .status()
            .expect("a shell can be started");
        assert!(status.success() || self.exited.is_some(), "cannot send {name} to process {}", self.pid());
        if name == "STOP" {
            // It stops when its threads are next scheduled, and answers until then.
            let end = Instant::now() + STOP_LIMIT;
            while !self.is_stopped() {
                assert!(Instant::now() < end, "the server does not stop");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Whether all its threads stand still.
    fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
        threads.into_iter().all(|thread| {
            // The state follows the name, which stands in parentheses.
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
        })
    }

    /// Waits until the process has left by itself and gives its status.
    ///
    /// # Panics
    /// With the log, when it is still there after 30 seconds.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let end = Instant::now() + STOP_LIMIT;
        loop {
            if let Some(status) = self.poll_exit() {
                return status;
            }
            assert!(Instant::now() < end, "the server does not leave:\n{}", self.log());
            std::thread::sleep(POLL);
        }
    }

    /// Starts the program again on the same port and in the same directory; stops it gracefully before, if it runs.
    ///
    /// # Panics
    /// With the log, when it does not become ready.
    pub fn restart(&mut self) {
        if self.is_running() {
            self.stop_gracefully();
        }
        self.child =
            spawn(&self.options, self.port(), self.temp.path()).unwrap_or_else(|why| panic!("{why}"));
        self.exited = None;
        self.wait_ready().unwrap_or_else(|why| panic!("{why}"));
    }

    /// Replaces the further arguments for the next [`Server::restart`].
    pub fn set_args<S: Into<String>>(&mut self, args: impl IntoIterator<Item = S>) {
        self.options.args = args.into_iter().map(Into::into).collect();
    }

    fn log_path(&self) -> PathBuf {
        self.temp.path().join("server.log")
    }

    fn proc_status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|l| l.starts_with(field));
        let kib = line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    fn poll_exit(&mut self) -> Option<ExitStatus> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().expect("a child can be waited for");
        }
        self.exited
    }

    fn wait_ready(&mut self) -> Result<(), String> {
        let end = Instant::now() + START_LIMIT;
        loop {
            // A server answers on our port, but is it ours? Only while our child lives.
            if let Some(status) = self.poll_exit() {
                return match self.options.ready {
                    Ready::Spawned => Ok(()),
                    Ready::Ping | Ready::Log(_) => {
                        Err(format!("the server left with {status} before it was ready:\n{}", self.log()))
                    }
                };
            }
            let ready = match &self.options.ready {
                Ready::Ping => answers_ping(self.addr()),
                Ready::Log(text) => self.log().contains(text),
                Ready::Spawned => true,
            };
            if ready {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("the server is not ready after {START_LIMIT:?}:\n{}", self.log()));
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One PING over a connection of its own; short limits, since the caller tries again.
fn answers_ping(addr: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(500)) else { return false };
    if stream.set_read_timeout(Some(Duration::from_secs(2))).is_err()
        || stream.write_all(b"PING\r\n").is_err()
    {
        return false;
    }
    let mut answer = [0_u8; 64];
    match stream.read(&mut answer) {
        Ok(n) => n > 0 && !answer[..n].starts_with(b"-LOADING"),
        Err(_) => false,
    }
}

fn spawn(options: &Options, port: u16, home: &Path) -> Result<Child, String> {
    let program = match &options.program {
        Program::Larder => larder_binary()?,
        Program::Redis => redis_binary(),
        Program::Path(path) => path.clone(),
    };
    let log = open_log(&home.join("server.log"))?;
    let errors = log.try_clone().map_err(|e| format!("cannot share the log file: {e}"))?;
    let mut command = match options.through.split_first() {
        None => Command::new(&program),
        Some((first, words)) => {
            let mut command = Command::new(first);
            command.args(words).arg(&program);
            command
        }
    };
    if options.config.is_some() {
        command.arg(home.join("server.conf"));
    }
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(home.join("data"))
        .args(&options.args)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    command.spawn().map_err(|e| format!("cannot start {}: {e}", program.display()))
}

fn open_log(path: &Path) -> Result<File, String> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|e| format!("cannot open {}: {e}", path.display()))
}

fn redis_binary() -> PathBuf {
    std::env::var_os("REDIS_SERVER").map_or_else(|| PathBuf::from("redis-server"), PathBuf::from)
}

/// The oracle's version (`7.0.15`), or `None` when it is not installed.
#[must_use]
pub fn redis_version() -> Option<String> {
    let output = Command::new(redis_binary()).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    Some(version.to_owned())
}

/// The larder-server to test: `LARDER_SERVER` if set, else the one in the target directory of the running test, the
/// profile of the test first, then release, then debug.
///
/// # Errors
/// When there is none; the text names the command that builds it.
pub fn larder_binary() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("LARDER_SERVER") {
        let path = PathBuf::from(path);
        // A test's working directory is its crate, a server's its own: only an absolute path means one thing.
        return fs::canonicalize(&path).map_err(|e| format!("LARDER_SERVER={}: {e}", path.display()));
    }
    let here = std::env::current_exe().map_err(|e| format!("cannot tell where this test lies: {e}"))?;
    let profile = here.ancestors().skip(1).find(|dir| !dir.ends_with("deps"));
    let mut places: Vec<PathBuf> = profile.map(Path::to_path_buf).into_iter().collect();
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => Some(PathBuf::from(dir)),
        None => profile.and_then(Path::parent).map(Path::to_path_buf),
    };
    if let Some(target) = target {
        places.extend([target.join("release"), target.join("debug")]);
    }
    places.into_iter().map(|dir| dir.join("larder-server")).find(|path| path.is_file()).ok_or_else(|| {
        "no larder-server beside this test: build it with `cargo build --release -p larder-server`, or name one in \
         LARDER_SERVER"
            .to_owned()
    })
}
