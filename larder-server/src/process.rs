//! The process among others: limits, background, supervisors, its number in a file, and what is wrong with the system.

use crate::observe::log::Log;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

/// Descriptors beside those of connections: listeners, polls, files, and a few for libraries.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Tells a process that it was started as the background of another.
const IN_BACKGROUND: &str = "LARDER_IN_BACKGROUND";

/// Raises the limit of open files so that `clients` connections fit. Returns how many do.
pub(crate) fn raise_descriptor_limit(clients: u64) -> u64 {
    let wanted = clients.saturating_add(RESERVED_DESCRIPTORS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return clients;
    }
    // Above the maximum only root may go; everybody may go up to it.
    let above = Rlimit { current: Some(wanted), maximum: maximum.map(|maximum| maximum.max(wanted)) };
    let within = Rlimit { current: maximum.map(|maximum| maximum.min(wanted)).or(Some(wanted)), maximum };
    if setrlimit(Resource::Nofile, above).is_ok() {
        return clients;
    }
    let reached = match setrlimit(Resource::Nofile, within) {
        Ok(()) => within.current,
        Err(_) => current,
    };
    reached.unwrap_or(wanted).saturating_sub(RESERVED_DESCRIPTORS).min(clients)
}

/// Goes to the background: starts this program again with the same arguments, without a terminal and in a session of its
/// own. Returns whether the caller is the process in the foreground, whose work is done.
///
/// A fork would do the same, but in a process with threads a child may do almost nothing that is safe.
///
/// # Errors
/// The system's.
pub(crate) fn go_to_background(arguments: &[OsString]) -> io::Result<bool> {
    if std::env::var_os(IN_BACKGROUND).is_some() {
        // Fails only if the process leads a session already, which is what it is to do.
        let _leads_already = rustix::process::setsid();
        return Ok(false);
    }
    Command::new(std::env::current_exe()?)
        .args(arguments)
        .env(IN_BACKGROUND, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(true)
}

/// Whether this process is the background of another.
pub(crate) fn is_in_background() -> bool {
    std::env::var_os(IN_BACKGROUND).is_some()
}

/// Tells systemd something (`READY=1`), if it listens: if there is a `NOTIFY_SOCKET`.
pub(crate) fn notify_systemd(state: &str, log: &Log) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send_to_notify_socket(&path, state) {
        log.warning(format_args!("Telling systemd {state:?}: {error}"));
    }
}

fn send_to_notify_socket(path: &OsString, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    match path.as_encoded_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(state.as_bytes(), &address)?;
        }
        _ => {
            socket.send_to(state.as_bytes(), path)?;
        }
    }
    Ok(())
}

/// Writes the number of this process into a file.
pub(crate) fn write_pid_file(path: &Path, log: &Log) {
    if let Err(error) = std::fs::write(path, format!("{}\n", std::process::id())) {
        log.warning(format_args!("Writing the pidfile {}: {error}", path.display()));
    }
}

/// Warns of what in the system would hurt later.
pub(crate) fn warn_of_system(backlog: u64, log: &Log) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    if read("/proc/sys/vm/overcommit_memory").trim() == "0" {
        log.warning(format_args!(
            "WARNING Memory overcommit must be enabled! Without it large allocations may fail although there is memory. \
             To fix it add 'vm.overcommit_memory = 1' to /etc/sysctl.conf and run 'sysctl vm.overcommit_memory=1'."
        ));
    }
    if read("/sys/kernel/mm/transparent_hugepage/enabled").contains("[always]") {
        log.warning(format_args!(
            "WARNING Transparent huge pages are set to 'always', which costs memory and causes pauses. To fix it run \
             'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled' as root at every start of the machine."
        ));
    }
    if let Ok(somaxconn) = read("/proc/sys/net/core/somaxconn").trim().parse::<u64>()
        && somaxconn < backlog
    {
        log.warning(format_args!(
            "WARNING: The TCP backlog setting of {backlog} cannot be enforced because \
                 /proc/sys/net/core/somaxconn is set to the lower value of {somaxconn}."
        ));
    }
}
