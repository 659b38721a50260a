//! Disks that do not do their part, under a whole server.
//!
//! Each fault meets BGSAVE and both policies of the append-only file. A full disk is a small file system in memory, mounted
//! where only the server sees it; a directory without the right to write is one, for a server without the right to
//! override that; errors of writes and syncs are made by strace, which lets the system calls of a running process fail.
//! That takes the rights to do so, and strace: without them the bar is not judged.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use larder_resp::Frame;
use testkit::durable::{contents, differences, wait_for_rewrite};
use testkit::{Client, Options, Program, Server};

use super::{Measured, Scale, server};
use crate::bench::larder;
use crate::run::exists;
use crate::strace::Strace;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Characters of an error that are shown.
const SHOWN: usize = 72;
/// What the server's directory is named, for one that begins in its home.
const MOUNT: &str = "mount -t tmpfs -o size=4m larder data && exec \"$0\" \"$@\"";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Full,
    NoRight,
    Write,
    Sync,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Full => "full disk",
            Fault::NoRight => "no right to write",
            Fault::Write => "error of write",
            Fault::Sync => "error of fsync",
        }
    }

    /// Through what a server is started that can meet it.
    fn through(self) -> &'static [&'static str] {
        match self {
            Fault::Full => &["unshare", "--mount", "sh", "-c", MOUNT],
            Fault::NoRight => &["setpriv", "--bounding-set", "-dac_override,-dac_read_search"],
            Fault::Write | Fault::Sync => &[],
        }
    }

    fn can_be_made(self) -> bool {
        let works = |program: &str, args: &[&str]| {
            let status =
                Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        match self {
            Fault::Full => works("unshare", &["--mount", "mount", "-t", "tmpfs", "larder", "/mnt"]),
            Fault::NoRight => works("setpriv", &["--bounding-set", "-dac_override", "true"]),
            Fault::Write | Fault::Sync => exists("strace"),
        }
    }
}

/// What writes to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    Bgsave,
    EverySecond,
    Always,
}

impl Writer {
    fn name(self) -> &'static str {
        match self {
            Writer::Bgsave => "BGSAVE",
            Writer::EverySecond => "everysec",
            Writer::Always => "always",
        }
    }

    fn args(self) -> &'static [&'static str] {
        match self {
            Writer::Bgsave => &["--save", "86400 1"],
            Writer::EverySecond => &["--appendonly", "yes", "--appendfsync", "everysec"],
            Writer::Always => &["--appendonly", "yes", "--appendfsync", "always"],
        }
    }
}

pub(super) fn measure(scale: Scale) -> Result<Measured, String> {
    let all = [Writer::Bgsave, Writer::EverySecond, Writer::Always];
    let faults = [Fault::Full, Fault::NoRight, Fault::Write, Fault::Sync];
    let cases: Vec<(Fault, Writer)> = match scale {
        Scale::Full => faults.iter().flat_map(|fault| all.map(|writer| (*fault, writer))).collect(),
        Scale::Slice => vec![(Fault::NoRight, Writer::Bgsave), (Fault::Full, Writer::EverySecond)],
    };
    let mut measured = Measured::right(true, Vec::new());
    for (fault, writer) in cases {
        let name = format!("{}, {}", fault.name(), writer.name());
        if !fault.can_be_made() {
            measured.reached = false;
            measured.figures.push(format!("{name}: cannot be made here"));
            continue;
        }
        let found = meet(fault, writer);
        measured.right &= found.is_ok();
        measured.figures.push(format!("{name}: {}", found.unwrap_or_else(|why| format!("WRONG: {why}"))));
    }
    measured.reached &= measured.right;
    Ok(measured)
}

/// Lets a server meet a fault and get over it. Returns what its clients saw.
fn meet(fault: Fault, writer: Writer) -> Result<String, String> {
    let options = Options { program: Program::Path(server()), ..Options::larder() };
    let args = writer.args().iter().copied();
    let server = Server::try_start(options.args(args).through(fault.through().iter().copied()))?;
    let mut client = server.connect();
    (0..1000).for_each(|nth| drop(client.cmd(&["SET", &format!("before:{nth}"), "value"])));
    save(&mut client, writer);
    let saved = (writer == Writer::Bgsave).then(|| Files::of(&server)).transpose()?;
    let broken = Broken::begin(fault, writer, &server)?;
    let seen = provoke(&server, fault, writer)?;
    let mut reader = server.connect();
    if reader.cmd(&["GET", "before:1"]) != Frame::bulk("value") {
        return Err("reads do not go on".into());
    }
    if let Some(saved) = saved {
        let now = Files::of(&server)?;
        if now != saved {
            return Err(format!("the old snapshot is not all that is there: {:?}", now.names()));
        }
    }
    drop(broken);
    let began = Instant::now();
    recover(&server, writer)?;
    let took = began.elapsed();
    let mut client = server.connect();
    save(&mut client, writer);
    let before = contents(&mut client);
    let copy = load_copy(&Files::of(&server)?, writer)?;
    let different = differences(&before, &contents(&mut copy.connect()));
    if !different.is_empty() {
        return Err(format!("what is on the disk is something else: {}", different.join("; ")));
    }
    Ok(format!("{seen}; writes again after {:.1} s; {} keys on the disk", took.as_secs_f64(), before.len()))
}

/// Sees to it that what was written is on the disk.
fn save(client: &mut Client, writer: Writer) {
    client.set_timeout(LIMIT);
    match writer {
        Writer::Bgsave => {
            client.cmd(&["BGSAVE"]);
            wait_for_rewrite(client);
        }
        Writer::EverySecond | Writer::Always => {
            client.cmd(&["WAITAOF", "1", "0", "30000"]);
        }
    }
}

/// Writes until that is refused, and returns the error. In a directory without the right to write only new files fail.
fn provoke(server: &Server, fault: Fault, writer: Writer) -> Result<String, String> {
    let end = Instant::now() + LIMIT;
    let mut client = server.connect();
    match writer {
        Writer::Bgsave => save(&mut client, writer),
        _ if fault == Fault::NoRight => {
            client.cmd(&["BGREWRITEAOF"]);
            wait_for_rewrite(&mut client);
            let status = field(&mut client, "aof_last_bgrewrite_status");
            let is_written = client.cmd(&["SET", "during", "1"]) == Frame::Simple(b"OK".to_vec());
            let ok = status == "err" && is_written;
            let seen = format!("the rewrite's status is {status}, and writes go on: {is_written}");
            return if ok { Ok(seen) } else { Err(seen) };
        }
        _ => {}
    }
    let value = "v".repeat(1000);
    let mut closed = 0;
    for nth in 0.. {
        match client.try_cmd(&["SET", &format!("during:{}", nth % 5000), &value]) {
            Ok(Frame::Error(text)) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                let short: String = text.chars().take(SHOWN).collect();
                let seen = match closed {
                    0 => short,
                    _ => format!("{short} ({closed} connections closed whose writes nobody can answer for)"),
                };
                return if text.starts_with("MISCONF ") { Ok(seen) } else { Err(text) };
            }
            Ok(_) => {}
            Err(_) => {
                closed += 1;
                client = server.connect();
            }
        }
        if Instant::now() > end {
            break;
        }
    }
    Err("writes are not refused".into())
}

/// Waits until writes are taken again.
fn recover(server: &Server, writer: Writer) -> Result<(), String> {
    let end = Instant::now() + LIMIT;
    let mut client = server.connect();
    while Instant::now() < end {
        if writer == Writer::Bgsave {
            save(&mut client, writer);
        }
        match client.try_cmd(&["SET", "after", "1"]) {
            Ok(Frame::Simple(_)) => return Ok(()),
            Ok(_) => std::thread::sleep(Duration::from_millis(50)),
            Err(_) => client = server.connect(),
        }
    }
    Err("writes are still refused".into())
}

fn field(client: &mut Client, name: &str) -> String {
    let info = client.cmd(&["INFO", "persistence"]);
    let text = info.as_str().unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// The server's directory as it sees it.
fn dir(server: &Server) -> PathBuf {
    let inside = server.dir();
    let inside = inside.strip_prefix("/").unwrap_or(&inside);
    PathBuf::from(format!("/proc/{}/root", server.pid())).join(inside)
}

/// A fault that is there until this is dropped.
enum Broken {
    /// What fills the disk.
    Ballast(PathBuf),
    Locked(Vec<PathBuf>),
    /// System calls fail as long as this is there.
    Failing {
        _strace: Strace,
    },
}

impl Broken {
    fn begin(fault: Fault, writer: Writer, server: &Server) -> Result<Broken, String> {
        let text = |error: std::io::Error| error.to_string();
        let dir = dir(server);
        match fault {
            Fault::Full => {
                let path = dir.join("ballast");
                // All but what a few writes take.
                let free = 4 * 1024 * 1024 - 200 * 1024;
                fs::write(&path, vec![0; free]).map_err(text)?;
                if writer == Writer::Bgsave {
                    // Not even a small snapshot fits.
                    let mut more = fs::OpenOptions::new().append(true).open(&path).map_err(text)?;
                    while std::io::Write::write_all(&mut more, &[0; 4096]).is_ok() {}
                }
                Ok(Broken::Ballast(path))
            }
            Fault::NoRight => {
                let dirs = vec![dir.join("appendonlydir"), dir];
                let dirs: Vec<PathBuf> = dirs.into_iter().filter(|dir| dir.exists()).collect();
                dirs.iter().try_for_each(|dir| chmod(dir, "555"))?;
                Ok(Broken::Locked(dirs))
            }
            Fault::Write | Fault::Sync => {
                trace(fault, writer, server).map(|strace| Broken::Failing { _strace: strace })
            }
        }
    }
}

/// Lets strace make system calls of a server fail.
fn trace(fault: Fault, writer: Writer, server: &Server) -> Result<Strace, String> {
    let calls = if fault == Fault::Sync { "fsync,fdatasync" } else { "write" };
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error=EIO"));
    let mut options = vec!["-o", "/dev/null", "-e", &trace, "-e", &inject];
    let file = match writer {
        Writer::Bgsave => format!("dump.rdb.{}.tmp", server.pid()),
        Writer::EverySecond | Writer::Always => "appendonlydir/appendonly.aof.1.incr.aof".into(),
    };
    let path = server.dir().join(file).display().to_string();
    if fault == Fault::Write {
        options.extend(["-P", &path]);
    }
    Strace::attach(server, &options)
}

fn chmod(dir: &std::path::Path, mode: &str) -> Result<(), String> {
    let status = Command::new("chmod").arg(mode).arg(dir).status().map_err(|e| e.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("chmod {mode} {}", dir.display())) }
}

impl Drop for Broken {
    fn drop(&mut self) {
        // What cannot be undone is seen by whoever waits for the server to recover.
        match self {
            Broken::Ballast(path) => {
                let _ = fs::remove_file(path);
            }
            Broken::Locked(dirs) => {
                for dir in dirs {
                    let _ = chmod(dir, "755");
                }
            }
            Broken::Failing { .. } => {}
        }
    }
}

/// All files of a server's directory, by their paths in it, but for what marks it as taken and what fills the disk.
#[derive(PartialEq, Eq)]
struct Files(Vec<(PathBuf, Vec<u8>)>);

impl Files {
    fn of(server: &Server) -> Result<Files, String> {
        let (mut files, root) = (Vec::new(), dir(server));
        let mut dirs = vec![root.clone()];
        while let Some(dir) = dirs.pop() {
            let entries = fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
            for path in entries.flatten().map(|entry| entry.path()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_dir() {
                    dirs.push(path);
                } else if name != "ballast" && !name.ends_with("lock") {
                    let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                    files.push((path.strip_prefix(&root).unwrap_or(&path).to_owned(), bytes));
                }
            }
        }
        files.sort();
        Ok(Files(files))
    }

    fn names(&self) -> Vec<(&PathBuf, usize)> {
        self.0.iter().map(|(path, bytes)| (path, bytes.len())).collect()
    }
}

/// A server that has loaded a copy of these files.
fn load_copy(files: &Files, writer: Writer) -> Result<Server, String> {
    let mut copy = larder(&[])?;
    copy.kill9();
    for (path, bytes) in &files.0 {
        let path = copy.dir().join(path);
        let parent = path.parent().unwrap_or(&path);
        fs::create_dir_all(parent).and_then(|()| fs::write(&path, bytes)).map_err(|e| e.to_string())?;
    }
    copy.set_args(writer.args().iter().copied());
    copy.restart();
    Ok(copy)
}
