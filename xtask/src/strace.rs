//! strace, attached to a running server: it counts system calls, or lets them fail.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::Server;

/// How long it may take to get hold of a server.
const LIMIT: Duration = Duration::from_secs(20);

/// strace at work; it lets go of the server when this is dropped.
pub(crate) struct Strace(Child);

impl Strace {
    /// Attaches to a server, with these options.
    pub(crate) fn attach(server: &Server, options: &[&str]) -> Result<Strace, String> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq"]).args(options).args(["-p", &server.pid().to_string()]);
        let strace = Strace(command.stderr(Stdio::null()).spawn().map_err(|e| format!("strace: {e}"))?);
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).map_err(|e| e.to_string())?;
            let is_traced = threads.flatten().all(|thread| {
                let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
                let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
                tracer.is_some_and(|pid| pid.trim() != "0")
            });
            if is_traced {
                return Ok(strace);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("strace does not get hold of the server".into())
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Told to end it lets go of the server; killed it would take it along. Should either fail, whoever waits for the
        // server sees it.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// How often a server calls fsync and fdatasync while something is done.
pub(crate) fn count_fsyncs<T>(
    server: &Server,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<u64, String> {
    let counts = server.side_file("fsyncs");
    let path = counts.display().to_string();
    let strace = Strace::attach(server, &["-c", "-e", "trace=fsync,fdatasync", "-o", &path])?;
    let done = work();
    drop(strace);
    done?;
    let table = fs::read_to_string(&counts).map_err(|e| format!("{path}: {e}"))?;
    // Share of the time, seconds, microseconds for each, calls, and further columns with the name in the end.
    let calls = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_one = columns.last().is_some_and(|name| ["fsync", "fdatasync"].contains(name));
        if is_one { columns.get(3)?.parse::<u64>().ok() } else { None }
    };
    Ok(table.lines().filter_map(calls).sum())
}
