//! The history: one line per command in a file that only its owner can read, without secrets.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use crate::options::Name;
use crate::prompt::repeat_prefix;
use crate::session::is;

/// Lines that are kept in memory.
pub(crate) const LINES_MAX: usize = 1000;

/// How much of the end of the file is read.
const BYTES_MAX: u64 = 1 << 20;

/// The file: `REDISCLI_HISTFILE`, or one in the home directory. `None`: nothing is kept.
fn path(name: Name) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("REDISCLI_HISTFILE") {
        return if path.is_empty() || path == "/dev/null" { None } else { Some(path.into()) };
    }
    let file = if name == Name::Legacy { ".rediscli_history" } else { ".larder-cli_history" };
    std::env::home_dir().map(|home| home.join(file))
}

/// Where lines are appended.
#[derive(Debug)]
pub(crate) struct History {
    file: Option<File>,
}

impl History {
    /// Opens the file; gives its last lines, the oldest first. Without a file there is simply no history.
    pub(crate) fn open(name: Name) -> (Self, Vec<String>) {
        let open = |path: PathBuf| {
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).ok()
        };
        let mut file = path(name).and_then(open);
        let lines = file.as_mut().map(last_lines).unwrap_or_default();
        (Self { file }, lines)
    }

    /// Adds a line. Whether it is kept is [`is_secret`]'s to say.
    pub(crate) fn add(&mut self, line: &str) {
        // One write per line, so that several terminals can share the file. A full disk costs history, nothing else.
        if let Some(file) = &mut self.file {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}

fn last_lines(file: &mut File) -> Vec<String> {
    let len = file.metadata().map_or(0, |metadata| metadata.len());
    let start = len.saturating_sub(BYTES_MAX);
    let mut bytes = Vec::new();
    if file.seek(SeekFrom::Start(start)).is_err() || file.take(BYTES_MAX).read_to_end(&mut bytes).is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The first line is cut where the file is longer than what is read.
    let lines = text.lines().skip(usize::from(start > 0)).filter(|line| !line.trim().is_empty());
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.drain(..lines.len().saturating_sub(LINES_MAX));
    lines
}

/// Whether a command has a password in it, or may have: it is neither kept nor shown again.
pub(crate) fn is_secret(args: &[Vec<u8>]) -> bool {
    let args = match repeat_prefix(args) {
        Some(Ok((_, rest))) => rest,
        _ => args,
    };
    let any = |from: usize, test: &dyn Fn(usize) -> bool| (from..args.len()).any(test);
    let contains = |at: usize, word: &str| {
        args.get(at).is_some_and(|arg| String::from_utf8_lossy(arg).to_ascii_lowercase().contains(word))
    };
    if is(args, 0, "auth") {
        return true;
    }
    if is(args, 0, "hello") || is(args, 0, "migrate") {
        return any(1, &|at| is(args, at, "auth") || is(args, at, "auth2"));
    }
    if is(args, 0, "acl") {
        return ["setuser", "getuser", "deluser"].iter().any(|word| is(args, 1, word));
    }
    if is(args, 0, "config") && is(args, 1, "set") {
        // requirepass, masterauth, masteruser, tls-key-file-pass ...
        return any(2, &|at| ["pass", "auth", "masteruser"].iter().any(|word| contains(at, word)));
    }
    if is(args, 0, "sentinel") {
        return any(1, &|at| contains(at, "pass") || contains(at, "auth"));
    }
    // An address may hold a password anywhere: `user:secret@host`.
    any(0, &|at| contains(at, "://") && contains(at, "@"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(line: &str) -> bool {
        is_secret(&larder_resp::split_words(line.as_bytes()).expect("balanced"))
    }

    #[test]
    fn lines_with_passwords_are_secret() {
        for line in [
            "AUTH x",
            "auth user x",
            "3 auth x",
            "HELLO 3 AUTH u p SETNAME c",
            "acl setuser bob on >pw",
            "ACL GETUSER bob",
            "CONFIG SET requirepass x",
            "config set maxmemory 1 masterauth y",
            "config set tls-key-file-pass x",
            "MIGRATE h 6379 k 0 10 AUTH pw",
            "migrate h 6379 k 0 10 COPY AUTH2 u pw",
            "SENTINEL SET m auth-pass x",
            "sentinel config set sentinel-pass x",
            "set url redis://user:pw@host",
        ] {
            assert!(secret(line), "{line}");
        }
    }

    #[test]
    fn other_lines_are_kept() {
        for line in
            ["get auth", "hello 3", "config get requirepass", "config set maxmemory 1", "acl list", "set a b"]
        {
            assert!(!secret(line), "{line}");
        }
    }
}
