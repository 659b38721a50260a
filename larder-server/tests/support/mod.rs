//! What the tests of this crate have in common.
#![allow(dead_code, reason = "each test program uses its part")]

use larder_resp::Frame;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use testkit::{Client, Options, Program, Server};

/// How long something may take that happens at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The server of this build, with further arguments.
pub(crate) fn larder(args: &[&str]) -> Options {
    let program = Program::Path(PathBuf::from(env!("CARGO_BIN_EXE_larder-server")));
    Options { program, ..Options::larder() }.args(args.iter().copied())
}

/// Starts it.
pub(crate) fn start(args: &[&str]) -> Server {
    Server::start(larder(args))
}

/// Whether a connection is served.
pub(crate) fn is_served(client: &mut Client) -> bool {
    client.cmd(&["PING"]) == Frame::Simple(b"PONG".to_vec())
}

/// Waits until `look` finds something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what} has not happened within {SOON:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A field of INFO.
pub(crate) fn info(client: &mut Client, section: &str, field: &str) -> String {
    let (Frame::Bulk(text) | Frame::Verbatim { text, .. }) = client.cmd(&["INFO", section]) else {
        panic!("INFO {section} is no text")
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let prefix = format!("{field}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
}

/// The text of a bulk string.
pub(crate) fn bulk(frame: Frame) -> String {
    match frame {
        Frame::Bulk(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("no bulk string: {other:?}"),
    }
}

/// The text of an error.
pub(crate) fn error(frame: Frame) -> String {
    match frame {
        Frame::Error(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("no error: {other:?}"),
    }
}
