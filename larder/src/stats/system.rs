//! What the operating system knows of this process: memory, processor time, its own names.
//!
//! Read from `/proc`, so on systems without it everything is zero or unknown. What cannot change is read once.

use std::sync::OnceLock;

/// Bytes of the pages that `statm` counts.
const PAGE: u64 = 4096;
/// Clock ticks a second in `/proc/*/stat`, the same on every Linux that Rust runs on.
const TICKS: u64 = 100;

/// Processor time in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In the kernel.
    pub system_us: u64,
    /// In the program.
    pub user_us: u64,
    /// In the kernel, by children that have ended.
    pub children_system_us: u64,
    /// In the program, by children that have ended.
    pub children_user_us: u64,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Bytes of memory resident for this process; 0 if unknown.
pub fn resident_bytes() -> u64 {
    let pages = read("/proc/self/statm").split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE
}

/// Processor time of all threads of this process.
pub fn process_time() -> CpuTime {
    cpu_time(&read("/proc/self/stat"))
}

/// Processor time of the thread the process began with.
pub fn main_thread_time() -> CpuTime {
    cpu_time(&read(&format!("/proc/self/task/{}/stat", std::process::id())))
}

/// The times in a line of `stat`: fields 14 to 17, counted behind the name, which is in brackets and may hold spaces.
fn cpu_time(line: &str) -> CpuTime {
    let behind_name = line.rfind(')').map_or("", |at| &line[at + 1..]);
    let mut ticks = behind_name.split_whitespace().skip(11).map_while(|ticks| ticks.parse::<u64>().ok());
    let mut next_us = || ticks.next().unwrap_or(0) * (1_000_000 / TICKS);
    CpuTime {
        user_us: next_us(),
        system_us: next_us(),
        children_user_us: next_us(),
        children_system_us: next_us(),
    }
}

/// Bytes of memory the machine has; 0 if unknown.
pub fn total_memory() -> u64 {
    static TOTAL: OnceLock<u64> = OnceLock::new();
    *TOTAL.get_or_init(|| {
        let text = read("/proc/meminfo");
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    })
}

/// Bytes of memory this process may have: what its cgroup or one above it allows, or what the machine has; 0 if unknown.
pub fn memory_limit() -> u64 {
    let groups = read("/proc/self/cgroup");
    // Version 2 has one hierarchy; version 1 names the controllers of each. In a container the path is often that of
    // the host, and its own group is the root of what can be seen here.
    let paths = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        match (parts.next()?, parts.next()?) {
            ("", path) => Some(("/sys/fs/cgroup", "memory.max", path)),
            (names, path) if names.split(',').any(|name| name == "memory") => {
                Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes", path))
            }
            _ => None,
        }
    });
    let limits = paths.flat_map(|(root, file, path)| {
        let above = std::iter::successors(Some(path), |path| {
            path.rfind('/').filter(|at| *at > 0 || path.len() > 1).map(|at| &path[..at])
        });
        above.filter_map(move |path| read(&format!("{root}{path}/{file}")).trim().parse::<u64>().ok())
    });
    let total = total_memory();
    limits.chain((total > 0).then_some(total)).min().unwrap_or(0)
}

/// Name and version of the operating system, and the processor's architecture.
pub fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let kind = read("/proc/sys/kernel/ostype");
        let kind = if kind.is_empty() { std::env::consts::OS.to_owned() } else { kind };
        let release = read("/proc/sys/kernel/osrelease");
        let words = [kind.trim(), release.trim(), std::env::consts::ARCH];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    })
}

/// The program's file.
pub fn executable() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        std::env::current_exe().map_or(String::new(), |path| path.to_string_lossy().into_owned())
    })
}
