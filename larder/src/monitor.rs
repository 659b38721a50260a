//! MONITOR: a line for every command, to whoever asked.

use crate::command::Trait;
use crate::engine::Engine;
use crate::lane::Lane;
use crate::registry::Registered;
use crate::secrets;
use crate::session::Session;
use larder_resp::Request;
use std::io::Write as _;

impl Engine {
    #[cold]
    pub(crate) fn show_to_monitors(
        &self,
        lane: &Lane,
        session: &Session,
        registered: &Registered,
        request: Request<'_>,
    ) {
        if registered.command.is(Trait::SkipMonitor) || registered.command.is(Trait::Admin) {
            return;
        }
        let now_us = lane.now_us;
        let mut line = Vec::with_capacity(64 + request.bytes());
        let origin = &session.client.origin;
        let prefix = if origin.is_unix { "unix:" } else { "" };
        let address = if origin.is_unix { origin.address.trim_end_matches(":0") } else { &origin.address };
        // Writing to a vector cannot fail.
        let _never_fails = write!(
            line,
            "{}.{:06} [{} {prefix}{address}]",
            now_us / 1_000_000,
            now_us % 1_000_000,
            session.db
        );
        let secrets = secrets::positions(request);
        for (at, argument) in request.iter().enumerate() {
            line.push(b' ');
            quote(if secrets.contains(&at) { secrets::REDACTED } else { argument }, &mut line);
        }
        self.clients.show(&line);
    }
}

/// Writes bytes in quotes, with everything escaped that is not printable ASCII.
pub(crate) fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            0x20..=0x7e => out.push(byte),
            _ => out.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    out.push(b'"');
}
