//! A real `redis-server` in a directory of its own, spoken to over a Unix socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Whether the programs are there; says so if not.
pub(crate) fn is_installed() -> bool {
    let runs = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    let installed = runs("redis-server") && runs("redis-check-rdb");
    if !installed {
        println!("skipped: redis-server and redis-check-rdb are not installed");
    }
    installed
}

/// A running server; dropped, it is killed and its directory removed.
pub(crate) struct Oracle {
    process: Child,
    dir: PathBuf,
    stream: BufReader<UnixStream>,
}

/// What it answers. Errors make the test fail at once.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    Integer(i64),
    Nil,
    Array(Vec<Reply>),
}

impl Reply {
    pub(crate) fn bytes(self) -> Vec<u8> {
        if let Self::Bytes(bytes) = self { bytes } else { panic!("expected bytes, not {self:?}") }
    }

    pub(crate) fn text(self) -> String {
        String::from_utf8(self.bytes()).expect("expected text")
    }

    pub(crate) fn integer(self) -> i64 {
        if let Self::Integer(integer) = self { integer } else { panic!("expected an integer, not {self:?}") }
    }

    pub(crate) fn strings(self) -> Vec<Vec<u8>> {
        let Self::Array(replies) = self else { panic!("expected an array, not {self:?}") };
        replies.into_iter().map(Self::bytes).collect()
    }
}

impl Oracle {
    /// Starts a server on the given snapshot, or empty.
    pub(crate) fn start(snapshot: Option<&[u8]>, options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("larder-oracle-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory is writable");
        if let Some(snapshot) = snapshot {
            std::fs::write(dir.join("dump.rdb"), snapshot).expect("the temporary directory is writable");
        }
        let log = std::fs::File::create(dir.join("log")).expect("the temporary directory is writable");
        let mut process = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--unixsocket",
                "socket",
                "--save",
                "",
                "--enable-debug-command",
                "yes",
                "--dir",
            ])
            .arg(&dir)
            .args(options)
            .current_dir(&dir)
            .stdout(log)
            .spawn()
            .expect("redis-server was found before");
        let stream = connect(&mut process, &dir);
        let mut oracle = Self { process, dir, stream: BufReader::new(stream) };
        while !oracle.is_ready() {
            thread::sleep(Duration::from_millis(5));
        }
        oracle
    }

    /// Sends a command and returns its reply, which must not be an error.
    pub(crate) fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.send(args);
        let reply = self.receive();
        reply.unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(args[0].as_ref())))
    }

    /// [`ask`](Self::ask) with the arguments in one text, parted by spaces.
    pub(crate) fn say(&mut self, command: &str) -> Reply {
        self.ask(&command.split(' ').collect::<Vec<_>>())
    }

    /// Has the server write its snapshot, and reads that.
    pub(crate) fn save(&mut self) -> Vec<u8> {
        self.say("SAVE");
        std::fs::read(self.dir.join("dump.rdb")).expect("it was just saved")
    }

    fn is_ready(&mut self) -> bool {
        self.send(&["PING"]);
        self.receive().is_ok()
    }

    fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend(format!("${}\r\n", arg.as_ref().len()).into_bytes());
            request.extend(arg.as_ref());
            request.extend(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).expect("the server lives");
    }

    fn receive(&mut self) -> Result<Reply, String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("the server lives");
        let (kind, text) = line.trim_end().split_at(1);
        let number = || text.parse::<i64>().expect("a number follows");
        Ok(match kind {
            "+" => Reply::Bytes(text.into()),
            "-" => return Err(text.to_owned()),
            ":" => Reply::Integer(number()),
            "$" | "*" if number() < 0 => Reply::Nil,
            "$" => {
                let mut bytes = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut bytes).expect("the server lives");
                bytes.truncate(bytes.len() - 2);
                Reply::Bytes(bytes)
            }
            "*" => Reply::Array((0..number()).map(|_| self.receive()).collect::<Result<_, _>>()?),
            other => panic!("not a reply: {other}"),
        })
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // Whatever fails here, the test has its result.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn connect(process: &mut Child, dir: &Path) -> UnixStream {
    loop {
        if let Ok(stream) = UnixStream::connect(dir.join("socket")) {
            return stream;
        }
        if let Some(status) = process.try_wait().expect("it is our child") {
            let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            panic!("redis-server ended with {status}:\n{log}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Checks a snapshot with `redis-check-rdb`.
pub(crate) fn check(snapshot: &[u8]) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("larder-check-{}-{number}.rdb", std::process::id()));
    std::fs::write(&file, snapshot).expect("the temporary directory is writable");
    let output =
        Command::new("redis-check-rdb").arg(&file).output().expect("redis-check-rdb was found before");
    std::fs::remove_file(&file).expect("it was just written");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
