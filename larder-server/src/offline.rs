//! What works on files while no server runs.

use larder::persist::check::{Contents, check};
use std::fs::File;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// `check-rdb`: what a snapshot holds, and if it would not load, what is wrong and where.
pub(crate) fn check_rdb(path: &Path) -> (String, Result<(), String>) {
    let failed = |error: &dyn std::fmt::Display| Err(format!("{}: {error}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return (String::new(), failed(&error)),
    };
    // A clock before 1970 makes nothing expired.
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let (contents, result) = check(file, now_ms);
    (describe(&contents), result.or_else(|error| failed(&error)))
}

fn describe(contents: &Contents) -> String {
    let mut lines = vec![format!("format version {}, {} bytes read", contents.version, contents.bytes)];
    let facts = contents.facts.iter();
    lines.extend(facts.map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii())));
    let keys = contents.keys.iter();
    lines.extend(keys.map(|((db, kind), count)| format!("database {db}: {count} of type {kind}")));
    let rest = [
        (contents.expiring, "keys with an expiry"),
        (contents.expired, "keys have expired and would be left out"),
        (contents.empty, "empty collections would be left out"),
        (contents.functions, "function libraries would be left out"),
    ];
    lines.extend(rest.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    lines.join("\n") + "\n"
}
