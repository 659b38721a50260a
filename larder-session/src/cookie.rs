//! Cookies as express-session reads and writes them, to the byte.
//!
//! A signed id is `s:` + id + `.` + the HMAC-SHA256 of the id under the secret, in base64 without padding; in a header
//! it is written as `encodeURIComponent` writes it. Of several cookies with one name the first counts, whatever it is
//! worth. The attributes of a `Set-Cookie` come from the record of the session, for a record outlives the settings of
//! the application that wrote it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of an id from the system's generator: 192 bits, 32 characters.
const ID_BYTES: usize = 24;

/// A fresh id.
///
/// # Errors
/// When the operating system has no random bytes to give.
pub(crate) fn fresh_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A secret, ready to sign: what depends on it alone has been computed. Wiped from memory when it is dropped.
#[derive(Clone)]
pub(crate) struct Signer {
    mac: Hmac<Sha256>,
}

impl Signer {
    /// Of a secret of any length.
    pub(crate) fn new(secret: &[u8]) -> Signer {
        Signer { mac: Hmac::new_from_slice(secret).expect("HMAC takes keys of any length") }
    }

    /// The signature's hash over what it is fed with.
    pub(crate) fn mac(&self) -> Hmac<Sha256> {
        self.mac.clone()
    }

    fn of(&self, id: &str) -> Hmac<Sha256> {
        let mut mac = self.mac();
        mac.update(id.as_bytes());
        mac
    }

    fn sign(&self, id: &str) -> String {
        format!("{id}.{}", STANDARD_NO_PAD.encode(self.of(id).finalize().into_bytes()))
    }

    /// The value of a cookie for an id.
    pub(crate) fn cookie_value(&self, id: &str) -> String {
        encode_component(&format!("s:{}", self.sign(id)))
    }
}

/// Bytes of a decoded signature, or `None` for a text that is none. Bits that the encoder leaves zero must be zero, so
/// that one signature has one spelling.
pub(crate) fn decode_signature(engine: &impl Engine, text: &str) -> Option<[u8; 32]> {
    // Room for as many bytes as a text of this length may stand for.
    let mut bytes = [0; 33];
    let length = engine.decode_slice(text, &mut bytes).ok()?;
    bytes[..length].try_into().ok()
}

/// The id of a signed value and which of the signers signed it. Compares in constant time.
pub(crate) fn unsign_by<'a>(signed: &'a str, signers: &[Signer]) -> Option<(&'a str, usize)> {
    let (id, signature) = signed.rsplit_once('.')?;
    let signature = decode_signature(&STANDARD_NO_PAD, signature)?;
    let by = signers.iter().position(|signer| signer.of(id).verify_slice(&signature).is_ok())?;
    (!id.is_empty()).then_some((id, by))
}

/// An id with its signature, as the npm package `cookie-signature` writes it: `id.signature`.
///
/// ```
/// assert_eq!(
///     larder_session::sign("hello", "tobiiscool"),
///     "hello.DGDUkGlIkCzPz+C0B064FNgHdEjox7ch8tOBGslZ5QI"
/// );
/// ```
pub fn sign(id: &str, secret: &str) -> String {
    Signer::new(secret.as_bytes()).sign(id)
}

/// The id of a signed value and which of the secrets signed it, or `None` when none did. Compares in constant time.
pub fn unsign<'a>(signed: &'a str, secrets: &[String]) -> Option<(&'a str, usize)> {
    let signers: Vec<Signer> = secrets.iter().map(|secret| Signer::new(secret.as_bytes())).collect();
    unsign_by(signed, &signers)
}

/// The value of a cookie for an id: signed and encoded for a header.
///
/// ```
/// assert!(larder_session::cookie_value("a+b", "secret").starts_with("s%3Aa%2Bb."));
/// ```
pub fn cookie_value(id: &str, secret: &str) -> String {
    Signer::new(secret.as_bytes()).cookie_value(id)
}

/// What JavaScript's `encodeURIComponent` does.
fn encode_component(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() + 16), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// What JavaScript's `decodeURIComponent` does; a text that it refuses stays as it is.
fn decode_component(text: &str) -> String {
    let decode = || {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some(at) = memchr::memchr(b'%', rest) {
            let digit = |nth: usize| rest.get(at + nth).and_then(|&c| char::from(c).to_digit(16));
            let code = digit(1)? * 16 + digit(2)?;
            out.extend_from_slice(&rest[..at]);
            out.push(u8::try_from(code).ok()?);
            rest = &rest[at + 3..];
        }
        out.extend_from_slice(rest);
        String::from_utf8(out).ok()
    };
    decode().unwrap_or_else(|| text.to_owned())
}

/// The value of the first cookie of this name in the value of a `Cookie` header, decoded.
pub(crate) fn first_of(header: &[u8], name: &str) -> Option<String> {
    values_of(header, name).next().map(decode_component)
}

/// The values of all cookies of this name in the value of a `Cookie` header, as they are. Other cookies may hold any
/// bytes; one of this name that does is empty here: nobody signs such a thing.
pub(crate) fn values_of<'a>(header: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a str> {
    let mut rest = Some(header);
    let pairs = std::iter::from_fn(move || {
        let pair = rest?;
        let end = memchr::memchr(b';', pair);
        rest = end.map(|end| &pair[end + 1..]);
        Some(&pair[..end.unwrap_or(pair.len())])
    });
    pairs.filter_map(move |pair| {
        let equals = memchr::memchr(b'=', pair)?;
        let (found, value) = (&pair[..equals], pair[equals + 1..].trim_ascii());
        if found.trim_ascii() != name.as_bytes() {
            return None;
        }
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Some(std::str::from_utf8(unquoted.unwrap_or(value)).unwrap_or_default())
    })
}

/// `SameSite` of a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Sent when a user follows a link from elsewhere, not with what other sites embed or submit.
    Lax,
    /// Sent only with requests from the site itself.
    Strict,
    /// Sent always; browsers want `Secure` with it.
    None,
}

impl SameSite {
    pub(crate) fn name(self) -> &'static str {
        match self {
            SameSite::Lax => "lax",
            SameSite::Strict => "strict",
            SameSite::None => "none",
        }
    }
}

/// Which cookies a browser keeps when it has too many of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Dropped first.
    Low,
    /// As cookies without a priority.
    Medium,
    /// Kept longest.
    High,
}

impl Priority {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Medium => "medium",
            Priority::High => "high",
        }
    }
}

/// The value of a `Set-Cookie` header in express-session's order of attributes, from the `cookie` member of a record.
/// `expires` is what the response promises, not what the record says.
pub(crate) fn set_cookie(name: &str, value: &str, attributes: &Value, expires: Option<SystemTime>) -> String {
    let text = |name: &str| attributes.get(name).and_then(Value::as_str);
    let is_set = |name: &str| attributes.get(name) == Some(&Value::Bool(true));
    let mut out = format!("{name}={value}");
    if let Some(domain) = text("domain") {
        let _ = write!(out, "; Domain={domain}");
    }
    if let Some(path) = text("path") {
        let _ = write!(out, "; Path={path}");
    }
    if let Some(expires) = expires {
        let _ = write!(out, "; Expires={}", http_date(expires));
    }
    for (member, word) in [("httpOnly", "HttpOnly"), ("secure", "Secure"), ("partitioned", "Partitioned")] {
        if is_set(member) {
            let _ = write!(out, "; {word}");
        }
    }
    if let Some(priority) = text("priority").and_then(capitalized) {
        let _ = write!(out, "; Priority={priority}");
    }
    let same_site = if is_set("sameSite") { Some("strict") } else { text("sameSite") };
    if let Some(same_site) = same_site.and_then(capitalized) {
        let _ = write!(out, "; SameSite={same_site}");
    }
    out
}

/// The spelling in a header of a word that an application may spell in any case; `None` for words no cookie has.
fn capitalized(word: &str) -> Option<&'static str> {
    ["Low", "Medium", "High", "Lax", "Strict", "None"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(word))
}

/// Year, month, day, hour, minute, second, millisecond and day of the week (0 is Thursday) of a time, in UTC.
fn civil(time: SystemTime) -> ([u64; 7], usize) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (seconds, days) = (since.as_secs() % 86_400, since.as_secs() / 86_400);
    // Howard Hinnant's algorithm `civil_from_days`: years begin in March, eras of 400 years have 146,097 days.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let millis = u64::from(since.subsec_millis());
    let weekday = usize::try_from(days % 7).expect("below 7");
    ([year, month, day, seconds / 3_600, seconds / 60 % 60, seconds % 60, millis], weekday)
}

/// A date as headers have it: `Tue, 24 Nov 2026 16:04:43 GMT`.
pub(crate) fn http_date(time: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let ([year, month, day, hour, minute, second, _], weekday) = civil(time);
    let month = MONTHS[usize::try_from(month - 1).expect("below 12")];
    format!("{}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT", DAYS[weekday])
}

/// A date as JavaScript's `toISOString` writes it: `2026-11-24T16:04:43.659Z`.
pub(crate) fn iso_date(time: SystemTime) -> String {
    let ([year, month, day, hour, minute, second, millis], _) = civil(time);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_spelled_as_javascript_and_http_spell_them() {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_536_283_659);
        assert_eq!(http_date(at), "Tue, 24 Nov 2026 16:04:43 GMT");
        assert_eq!(iso_date(at), "2026-11-24T16:04:43.659Z");
        let leap = UNIX_EPOCH + Duration::from_secs(951_782_400);
        assert_eq!(http_date(leap), "Tue, 29 Feb 2000 00:00:00 GMT");
    }

    #[test]
    fn cookies_are_found_beside_others_of_any_bytes() {
        let header = b"lang=\xe9\xff; a=1;sid=\"x\"; =; sid ; sid=%41=; sid=\xff";
        assert_eq!(values_of(header, "sid").collect::<Vec<_>>(), ["x", "%41=", ""]);
        assert_eq!(first_of(header, "sid").as_deref(), Some("x"));
        assert_eq!(first_of(b"sid=%41=", "sid").as_deref(), Some("A="));
        assert_eq!(first_of(b"sid=%4", "sid").as_deref(), Some("%4"));
        assert_eq!(first_of(b"sid=\"", "sid").as_deref(), Some("\""));
        assert_eq!(first_of(b"side=1; sid", "sid"), None);
    }

    #[test]
    fn attributes_come_in_the_order_of_express() {
        let all = serde_json::json!({"domain": "a.b", "path": "/", "httpOnly": true, "secure": true,
            "partitioned": true, "priority": "high", "sameSite": true});
        assert_eq!(
            set_cookie("n", "v", &all, Some(UNIX_EPOCH)),
            "n=v; Domain=a.b; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; Partitioned; \
             Priority=High; SameSite=Strict"
        );
    }
}
