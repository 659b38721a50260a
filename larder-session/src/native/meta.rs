//! What a native record says about its session: one member, named `~`, beside what the application keeps.
//!
//! It is a list, so that a million sessions do not hold a million times the same names: when it was made (seconds),
//! seconds from then until it was last seen and last got its id, the hash of the secret, the user (JSON) and when he
//! logged in (microseconds from the making, so that logins have an order), address and browser, and the hash of the
//! secret before this one with the second until which it still counts.

use super::GRACE_MAX;
use super::keys::{HASH_CHARS, hash_of};
use crate::error::{Result, SessionError};
use crate::record::Record;
use http::HeaderValue;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The member's name.
pub(crate) const MEMBER: &str = "~";

/// Who sends a request.
#[derive(Clone, Default)]
pub(crate) struct Visitor {
    pub(crate) ip: Option<IpAddr>,
    pub(crate) agent: Option<HeaderValue>,
}

/// What a record says about its session. Times are Unix times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    facts: Facts,
    pub(crate) ip: String,
    pub(crate) agent: String,
}

impl Deref for Meta {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl DerefMut for Meta {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }
}

/// That part of it which each request goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) created_s: u64,
    pub(crate) seen_s: u64,
    /// When it got its id.
    pub(crate) rotated_s: u64,
    hash: Hash,
    /// The user that is logged in, and `null` when there is none.
    pub(crate) user: Value,
    /// When the user logged in; when the session began, if there is none.
    pub(crate) login_us: u64,
    /// The hash of the secret before this one.
    previous: Option<Hash>,
    previous_until_s: u64,
}

/// The hash of a secret, as text.
type Hash = [u8; HASH_CHARS];

/// The last second that a record may name, at the end of the year 9999: a date after it is none.
const LAST_S: u64 = 253_402_300_799;

/// What an id is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the session's id.
    Current,
    /// It was until a moment ago: good for requests that were under way.
    Previous,
    /// Nothing.
    Void,
}

pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

pub(crate) fn micros(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_micros()).unwrap_or(u64::MAX)
}

/// The hash in a record. A text of another length is no secret's, so that nothing is lost in taking it for zeroes, which
/// are none's either.
fn hash_in(text: &str) -> Hash {
    text.as_bytes().try_into().unwrap_or([0; HASH_CHARS])
}

fn as_text(hash: &Hash) -> &str {
    std::str::from_utf8(hash).unwrap_or_default()
}

impl Meta {
    /// That of a session which begins now.
    pub(crate) fn new(id: &str, visitor: &Visitor, now: SystemTime) -> Meta {
        let now_s = seconds(now);
        let facts = Facts {
            created_s: now_s,
            seen_s: now_s,
            rotated_s: now_s,
            hash: hash_of(id),
            user: Value::Null,
            login_us: now_s * 1_000_000,
            previous: None,
            previous_until_s: 0,
        };
        let mut meta = Meta { facts, ip: String::new(), agent: String::new() };
        meta.met(visitor);
        meta
    }

    /// Notes from where, and with what, a user came.
    pub(crate) fn met(&mut self, visitor: &Visitor) {
        self.ip = visitor.ip.map(|ip| ip.to_string()).unwrap_or_default();
        let agent = visitor.agent.as_ref().and_then(|agent| agent.to_str().ok());
        self.agent = agent.map(browser).unwrap_or_default();
    }

    /// Gives the session another id. The one before counts until `grace` from now.
    pub(crate) fn rotate(&mut self, id: &str, grace: Duration, now: SystemTime) {
        let before = std::mem::replace(&mut self.hash, hash_of(id));
        self.rotated_s = seconds(now);
        (self.previous, self.previous_until_s) = match grace {
            Duration::ZERO => (None, 0),
            grace => (Some(before), seconds(now + grace)),
        };
    }

    /// Takes a time that is still to come for now: the clock was wrong then, or was set back since.
    pub(crate) fn correct(&mut self, now: SystemTime) {
        let (now_s, facts) = (seconds(now), &mut self.facts);
        for time_s in [&mut facts.created_s, &mut facts.seen_s, &mut facts.rotated_s] {
            *time_s = now_s.min(*time_s);
        }
        if !facts.has_previous(now_s) {
            (facts.previous, facts.previous_until_s) = (None, 0);
        }
    }

    pub(crate) fn read(record: &Record) -> Result<Meta> {
        let raw = record.after_first(MEMBER).or_else(|| record.get(MEMBER));
        raw.and_then(Meta::parse).ok_or_else(lacking)
    }

    /// What is at the beginning of `raw`; what follows is of no interest.
    fn parse(raw: &str) -> Option<Meta> {
        type Raw = (u64, u64, u64, String, Value, u64, String, String, String, u64);
        let first = serde_json::Deserializer::from_str(raw).into_iter::<Raw>().next();
        let (created_s, seen, rotated, hash, user, login, ip, agent, previous, until_s) = first?.ok()?;
        let facts = Facts::of((created_s, seen, rotated), &hash, user, login, (&previous, until_s))?;
        Some(Meta { facts, ip, agent })
    }

    pub(crate) fn write(&self, record: &mut Record) {
        let since = |time: u64, start: u64| time.saturating_sub(start);
        let raw = json!([
            self.created_s,
            since(self.seen_s, self.created_s),
            since(self.rotated_s, self.created_s),
            as_text(&self.hash),
            self.user,
            since(self.login_us, self.created_s * 1_000_000),
            self.ip,
            self.agent,
            self.previous.as_ref().map(as_text).unwrap_or_default(),
            self.previous_until_s
        ]);
        record.set(MEMBER, &raw.to_string());
    }
}

impl From<Meta> for Facts {
    fn from(meta: Meta) -> Facts {
        meta.facts
    }
}

fn lacking() -> SessionError {
    SessionError::Corrupt("it lacks what a session of this profile begins with".to_owned())
}

impl Facts {
    /// Whether the use of the session is to be noted: it was so long ago that it was last, or is still to come.
    pub(crate) fn is_touch_due(&self, every: Duration, now_s: u64) -> bool {
        now_s.abs_diff(self.seen_s) >= every.as_secs()
    }

    /// Whether the id before this one still counts. Its time may be up because the clock was set back, too.
    fn has_previous(&self, now_s: u64) -> bool {
        (1..=GRACE_MAX.as_secs()).contains(&self.previous_until_s.saturating_sub(now_s))
    }

    /// What an id with this session's handle is worth. What is compared are hashes of secrets, so that the time it takes
    /// tells nothing about a secret.
    pub(crate) fn standing(&self, id: &str, now: SystemTime) -> Standing {
        let hash = hash_of(id);
        if hash == self.hash {
            return Standing::Current;
        }
        let is_previous = self.previous == Some(hash) && self.has_previous(seconds(now));
        if is_previous { Standing::Previous } else { Standing::Void }
    }

    /// What a record says, which need not be [checked](Record::check) if it begins with this. `None` if it
    /// does not.
    pub(crate) fn glance(record: &Record) -> Option<Facts> {
        // Each request does this: nothing is copied that it does not need, and texts as we write them have no escapes.
        type Raw<'a> = (u64, u64, u64, &'a str, Value, u64, IgnoredAny, IgnoredAny, &'a str, u64);
        let raw = record.after_first(MEMBER)?;
        let first = serde_json::Deserializer::from_str(raw).into_iter::<Raw<'_>>().next();
        let (created_s, seen, rotated, hash, user, login, _, _, previous, until_s) = first?.ok()?;
        Facts::of((created_s, seen, rotated), hash, user, login, (previous, until_s))
    }

    /// By times as they are written: the first is a Unix time, the others count from it.
    fn of(
        (created_s, seen, rotated): (u64, u64, u64),
        hash: &str,
        user: Value,
        login: u64,
        (previous, previous_until_s): (&str, u64),
    ) -> Option<Facts> {
        let at = |since: u64| created_s.checked_add(since).filter(|&time_s| time_s <= LAST_S);
        let login_us = at(login / 1_000_000).and(created_s.checked_mul(1_000_000))?.checked_add(login)?;
        Some(Facts {
            created_s: at(0)?,
            seen_s: at(seen)?,
            rotated_s: at(rotated)?,
            hash: hash_in(hash),
            user,
            login_us,
            previous: (!previous.is_empty()).then(|| hash_in(previous)),
            previous_until_s,
        })
    }
}

/// Longest text about a browser, in bytes.
const AGENT_BYTES_MAX: usize = 40;

/// What a person would call a browser: `Firefox 128 on Linux`. A program that does not pose as a browser is called as it
/// calls itself.
fn browser(agent: &str) -> String {
    // Browsers name all those before them for the sake of compatibility, so the latest come first.
    const BROWSERS: [(&str, &str); 8] = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Version/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 7] = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let known = BROWSERS.iter().find_map(|(mark, name)| Some((agent.split_once(mark)?.1, *name)));
    let Some((version, name)) = known.filter(|_| agent.starts_with("Mozilla/")) else {
        let end = agent.floor_char_boundary(AGENT_BYTES_MAX);
        return agent[..end].to_owned();
    };
    let digits = version.bytes().take_while(u8::is_ascii_digit).count().min(6);
    let system = SYSTEMS.iter().find(|(mark, _)| agent.contains(mark));
    let system = system.map(|(_, name)| format!(" on {name}")).unwrap_or_default();
    format!("{name} {}{system}", &version[..digits])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_all_that_is_known() {
        let now = UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
        let visitor =
            Visitor { ip: Some([203, 0, 113, 7].into()), agent: Some(HeaderValue::from_static("curl/8")) };
        let mut meta = Meta::new("handle..........secret", &visitor, now);
        meta.user = json!("ann");
        meta.login_us = micros(now);
        meta.rotate("handle..........other", Duration::from_secs(10), now);
        let mut record = Record::parse(b"{\"~\":0,\"cart\":[1]}".to_vec()).expect("JSON");
        meta.write(&mut record);
        assert_eq!(Meta::read(&record), Ok(meta.clone()));
        assert_eq!((meta.ip.as_str(), meta.agent.as_str()), ("203.0.113.7", "curl/8"));
        assert_eq!(meta.standing("handle..........other", now), Standing::Current);
        assert_eq!(meta.standing("handle..........secret", now), Standing::Previous);
        assert_eq!(meta.standing("handle..........secret", now + Duration::from_secs(10)), Standing::Void);
        assert_eq!(meta.standing("handle..........no", now), Standing::Void);
        let behind =
            format!("{{\"cart\":[1],{}", record.text().replacen('{', "", 1).replacen(",\"cart\":[1]", "", 1));
        assert_eq!(Meta::read(&Record::parse(behind.into()).expect("JSON")), Ok(meta));
        assert!(!record.text().contains("secret") && !record.text().contains("other"), "{}", record.text());
    }

    #[test]
    fn a_clock_that_is_set_back_neither_stops_touches_nor_revives_an_id() {
        let at = |time_s| UNIX_EPOCH + Duration::from_secs(time_s);
        let mut meta = Meta::new("handle..........first", &Visitor::default(), at(1_800_010_000));
        meta.rotate("handle..........second", Duration::from_secs(10), at(1_800_010_000));
        let (every, back) = (Duration::from_secs(60), 1_800_000_000);
        assert!(!meta.is_touch_due(every, 1_800_010_059) && meta.is_touch_due(every, 1_800_010_060));
        assert!(meta.is_touch_due(every, back) && !meta.is_touch_due(every, 1_800_009_941));
        assert_eq!(meta.standing("handle..........first", at(1_800_010_009)), Standing::Previous);
        assert_eq!(meta.standing("handle..........first", at(back)), Standing::Void);
        meta.correct(at(back));
        assert_eq!((meta.created_s, meta.seen_s, meta.rotated_s), (back, back, back));
        // Nor does it come back when the clock shows that time again.
        assert_eq!(meta.standing("handle..........first", at(1_800_010_009)), Standing::Void);
        assert_eq!(meta.standing("handle..........second", at(back)), Standing::Current);
        let mut record = Record::parse(b"{\"~\":0}".to_vec()).expect("JSON");
        meta.write(&mut record);
        assert_eq!(Meta::read(&record).map(|meta| meta.created_s), Ok(back));
    }

    #[test]
    fn what_is_no_such_list_is_refused() {
        for text in [
            "{}",
            "{\"~\":0}",
            "{\"~\":[1,2]}",
            "{\"~\":[18446744073709551615,1,1,\"\",0,0,\"\",\"\",\"\",0]}",
            "{\"~\":[1,18446744073709551610,1,\"\",0,0,\"\",\"\",\"\",0]}",
            "{\"~\":[1,1,18446744073709551610,\"\",0,0,\"\",\"\",\"\",0]}",
            "{\"~\":[1,1,1,\"\",0,18446744073709551610,\"\",\"\",\"\",0]}",
            "{\"~\":[253402300800,0,0,\"\",0,0,\"\",\"\",\"\",0]}",
        ] {
            let record = Record::parse(text.into()).expect("JSON");
            assert!(Meta::read(&record).is_err(), "{text}");
        }
    }

    #[test]
    fn browsers_are_called_as_people_call_them() {
        let webkit = "AppleWebKit/537.36 (KHTML, like Gecko)";
        for (agent, name) in [
            (format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {webkit} Chrome/126.0.0.0 Safari/537.36"), "Chrome 126 on Windows"),
            (format!("Mozilla/5.0 (Windows NT 10.0) {webkit} Chrome/126.0.0.0 Safari/537.36 Edg/126.0"), "Edge 126 on Windows"),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0".to_owned(), "Firefox 128 on Linux"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605 Version/17.5 Safari/604".to_owned(), "Safari 17 on iPhone"),
            ("curl/8.5.0".to_owned(), "curl/8.5.0"),
            ("é".repeat(100), &"é".repeat(20)),
            (String::new(), ""),
        ] {
            assert_eq!(browser(&agent), name);
        }
    }
}
