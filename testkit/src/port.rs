//! Ports for test servers that no other test on this machine gets at the same time.
//!
//! Asking the system for port 0 and closing the socket leaves a gap in which another test may be given the same port,
//! and then one of the two talks to the other's server. So a port is *held* by an exclusive lock on a small file for as
//! long as its server may be restarted on it. The range lies below Linux' ephemeral ports, so that no outgoing
//! connection takes it either.

use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

/// First port handed out.
const FIRST: u16 = 26_000;
/// How many ports there are to hand out.
const COUNT: u16 = 6_000;

/// A TCP port on 127.0.0.1 that belongs to its holder, in all processes that use this module, until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a free port.
    ///
    /// # Panics
    /// When none of the range is free, or the lock directory cannot be written.
    #[must_use]
    pub fn take() -> Port {
        let dir = std::env::temp_dir().join("larder-test-ports");
        fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
        // Start somewhere else each time: it keeps tests from meeting at the same candidate.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        let start = (now / 1_000).wrapping_add(std::process::id().wrapping_mul(97)) % u32::from(COUNT);
        for step in 0..u32::from(COUNT) {
            let offset = u16::try_from((start + step) % u32::from(COUNT)).expect("below COUNT, a u16");
            let number = FIRST + offset;
            let path = dir.join(format!("{number}.lock"));
            let Ok(lock) = OpenOptions::new().create(true).truncate(false).write(true).open(&path) else {
                continue;
            };
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Port { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// The port's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}
