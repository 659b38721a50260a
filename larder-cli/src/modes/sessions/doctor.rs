//! `session doctor`: reads all sessions, and says what is usually the reason when logins get lost or memory grows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::record::Kind;
use super::{Found, walk};
use crate::modes::walk::{percent, shown};
use crate::oneshot::Verdict;
use crate::output;
use crate::session::Session;

/// Sessions with nothing in them: below this share they are visitors, above it a program that makes one per request.
const EMPTY_PERCENT: f64 = 50.0;
const EMPTY_MIN: u64 = 20;
/// A record that is read and written with every request should not be longer, in bytes.
const LARGE_BYTES: usize = 32 * 1024;
/// Names that a session in Node has for itself.
const RESERVED: &[&str] =
    &["id", "req", "touch", "resetMaxAge", "save", "reload", "destroy", "regenerate", "__proto__"];

/// What was counted, with one example of each.
#[derive(Default)]
struct Findings {
    kinds: BTreeMap<Kind, u64>,
    total: u64,
    bytes: u64,
    empty: Tally,
    for_ever: Tally,
    unreadable: Tally,
    no_cookie: Tally,
    stale: Tally,
    large: Tally,
    reserved: Tally,
    /// Paths, domains and prefixes of cookies, as records have them.
    cookies: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Tally {
    count: u64,
    example: Vec<u8>,
}

impl Tally {
    fn add(&mut self, key: &[u8]) {
        self.count += 1;
        if self.example.is_empty() {
            self.example = key.to_vec();
        }
    }
}

pub(super) fn run(session: &mut Session) -> Verdict {
    let mut findings = Findings::default();
    let now = iso_now();
    walk(session, |_, page| {
        page.iter().for_each(|found| findings.add(found, &now));
        Ok(())
    })?;
    let (text, is_well) = findings.report();
    output::write(text.as_bytes())?;
    Ok(is_well)
}

impl Findings {
    fn add(&mut self, found: &Found, now: &str) {
        let key = &found.key;
        self.total += 1;
        self.bytes += found.text.len() as u64;
        if found.ttl_ms < 0 {
            self.for_ever.add(key);
        }
        if found.text.len() > LARGE_BYTES {
            self.large.add(key);
        }
        let Ok(record) = &found.record else { return self.unreadable.add(key) };
        *self.kinds.entry(record.kind).or_default() += 1;
        if record.kind == Kind::Other {
            return self.no_cookie.add(key);
        }
        if record.data().next().is_none() && record.user.is_none() {
            self.empty.add(key);
        }
        if record.kind == Kind::Larder {
            return;
        }
        if record.expires().is_some_and(|expires| expires < now) {
            self.stale.add(key);
        }
        if record.members.keys().any(|name| RESERVED.contains(&name.as_str())) {
            self.reserved.add(key);
        }
        let cookie = record.members.get("cookie");
        let text =
            |name: &str| cookie.and_then(|cookie| cookie.get(name)).and_then(Value::as_str).unwrap_or("-");
        *self.cookies.entry(format!("path {} domain {}", text("path"), text("domain"))).or_default() += 1;
    }

    /// What there is to say, and whether it is nothing bad.
    fn report(&self) -> (String, bool) {
        let kinds: Vec<String> =
            self.kinds.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
        let mut out = format!("{} sessions ({}), {} bytes\n", self.total, kinds.join(", "), self.bytes);
        let mut is_well = true;
        let mut tell = |tally: &Tally, what: &str, why: &str| {
            if tally.count > 0 {
                // Writing to a string cannot fail.
                let _ = writeln!(out, "\n{} {what}, such as {}\n  {why}", tally.count, shown(&tally.example));
                is_well = false;
            }
        };
        tell(
            &self.unreadable,
            "cannot be read",
            "Express answers each of their requests with 500: delete them",
        );
        tell(
            &self.no_cookie,
            "lack the member `cookie`",
            "Express answers each of their requests with 500: whoever writes them must keep it",
        );
        tell(
            &self.for_ever,
            "never expire",
            "disableTTL of connect-redis, or a key that was made by hand: they stay until they are deleted",
        );
        tell(
            &self.large,
            "are longer than 32 KiB",
            "all of a session is read with each request and written with each change",
        );
        tell(
            &self.reserved,
            "have members that Node has for itself",
            "they are lost when Express loads the session",
        );
        if self.empty.count >= EMPTY_MIN && percent(self.empty.count, self.total) > EMPTY_PERCENT {
            tell(
                &self.empty,
                "hold nothing",
                "a session for each request: saveUninitialized is on, or the cookie does not come back (`secure` behind a proxy that Express does not trust?)",
            );
        }
        if self.cookies.len() > 1 {
            is_well = false;
            out.push_str("\ncookies differ in path or domain\n  browsers may hold two of one name, of which Express takes the first:\n");
            for (cookie, count) in &self.cookies {
                let _ = writeln!(out, "  {count} with {cookie}");
            }
        }
        if self.stale.count > 0 {
            let _ = writeln!(
                out,
                "\n{} say that they have expired, and live\n  this is how Express keeps sessions that are only read; the key's own time counts",
                self.stale.count
            );
        }
        if is_well {
            out.push_str("\nnothing is wrong\n");
        }
        (out, is_well)
    }
}

/// Now, as JavaScript writes dates: `2026-11-24T16:04:43`, which sorts as time does.
fn iso_now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    // Howard Hinnant's algorithm `civil_from_days`: years begin in March, eras of 400 years have 146,097 days.
    let shifted = seconds / 86_400 + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let of_day = seconds % 86_400;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}
