//! What a response says about being kept: RFC 9111, section 3 and 4.2.1, as a shared cache reads it.
//!
//! Where a header can be understood in two ways it is understood in the more careful one: fields of `private` and `no-cache`
//! are ignored, so that these count for the whole response, and a time that is no number is zero.

use http::header::{self, HeaderMap, HeaderName};
use http::{StatusCode, response};
use std::time::{Duration, SystemTime};

/// What is to become of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be shared for so long.
    For(Duration),
    /// It may not be shared, and the next one under its key will not be either.
    Never,
    /// It is not kept, and nothing is known of the next one.
    Failed,
}

/// Longest time that is believed: a year.
const TTL_MAX: Duration = Duration::from_secs(365 * 86_400);
/// Statuses that may be kept for the default time.
const USUAL: [StatusCode; 7] = [
    StatusCode::OK,
    StatusCode::NON_AUTHORITATIVE_INFORMATION,
    StatusCode::NO_CONTENT,
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::PERMANENT_REDIRECT,
    StatusCode::NOT_FOUND,
    StatusCode::GONE,
];

/// What the headers of a response say.
pub(super) fn verdict(response: &response::Parts, default_ttl: Option<Duration>) -> Verdict {
    let (status, headers) = (response.status, &response.headers);
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Verdict::Failed;
    }
    // A part of something, an answer to a condition that was not asked, and a change of protocol.
    let is_partial = matches!(
        status,
        StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS
    );
    let control = Control::of(headers);
    if is_partial || control.is_private || headers.contains_key(header::SET_COOKIE) || vary(headers).is_none()
    {
        return Verdict::Never;
    }
    let usual = || default_ttl.filter(|_| USUAL.contains(&status));
    let Some(life) = control.life.or_else(|| expires_in(headers)).or_else(usual) else {
        return Verdict::Never;
    };
    match life.min(TTL_MAX).checked_sub(age(headers)) {
        Some(ttl) if !ttl.is_zero() => Verdict::For(ttl),
        _ => Verdict::Never,
    }
}

/// `Cache-Control`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Control {
    /// It is for one visitor, or must not be kept or not be used without asking again.
    is_private: bool,
    /// How long it is fresh for a shared cache.
    life: Option<Duration>,
}

impl Control {
    fn of(headers: &HeaderMap) -> Control {
        let (mut control, mut shared, mut max) = (Control::default(), None, None);
        for (name, value) in
            headers.get_all(header::CACHE_CONTROL).iter().flat_map(|line| directives(line.as_bytes()))
        {
            match name.as_str() {
                "private" | "no-store" | "no-cache" => control.is_private = true,
                "s-maxage" => shared = Some(seconds(&value)),
                "max-age" => max = Some(seconds(&value)),
                _ => {}
            }
        }
        control.life = shared.or(max);
        control
    }
}

fn seconds(value: &str) -> Duration {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too large for anything is a very long time.
    let number = if is_number { value.parse().unwrap_or(TTL_MAX.as_secs()) } else { 0 };
    Duration::from_secs(number)
}

/// The directives of a line, names in small letters, values without their quotes. Commas inside of quotes separate nothing.
fn directives(line: &[u8]) -> Vec<(String, String)> {
    let (mut all, mut start, mut is_quoted) = (Vec::new(), 0, false);
    let mut add = |part: &[u8]| {
        let text = String::from_utf8_lossy(part);
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        let name = name.trim().to_ascii_lowercase();
        if !name.is_empty() {
            all.push((name, value.trim().trim_matches('"').to_owned()));
        }
    };
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                add(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    add(&line[start..]);
    all
}

/// What `Expires` says, by the clock of whoever wrote it, which is the one of `Date`. Without that nothing says how far
/// away it is, since a clock of ours may be another: then the response is over.
fn expires_in(headers: &HeaderMap) -> Option<Duration> {
    let expires = headers.get(header::EXPIRES)?;
    let from = date_of(headers, &header::DATE);
    // What is no date is in the past.
    let until = expires.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
    Some(until.zip(from).and_then(|(until, from)| until.duration_since(from).ok()).unwrap_or_default())
}

/// The date in a header.
pub(super) fn date_of(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// How old a response was when it came here.
pub(super) fn age(headers: &HeaderMap) -> Duration {
    headers
        .get(header::AGE)
        .and_then(|age| age.to_str().ok())
        .map(|age| seconds(age.trim()))
        .unwrap_or_default()
}

/// The headers that a response varies by, in small letters and in order; `None` if it varies by more than headers.
pub(super) fn vary(headers: &HeaderMap) -> Option<Vec<String>> {
    let lines = headers
        .get_all(header::VARY)
        .iter()
        .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
    let mut names: Vec<String> = lines
        .flat_map(|line| line.split(',').map(|name| name.trim().to_ascii_lowercase()).collect::<Vec<_>>())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort_unstable();
    names.dedup();
    let are_names = names.iter().all(|name| HeaderName::from_bytes(name.as_bytes()).is_ok() && name != "*");
    are_names.then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;

    fn parts(status: u16, headers: &[(&str, &str)]) -> response::Parts {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).expect("headers as above").into_parts().0
    }

    #[test]
    fn k1_only_what_says_so_is_shared() {
        let minute = Verdict::For(Duration::from_secs(60));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
        let [date, later, before] =
            [now, now + Duration::from_secs(60), now - Duration::from_secs(60)].map(httpdate::fmt_http_date);
        type Case<'a> = (u16, &'a [(&'a str, &'a str)], Verdict);
        let cases: &[Case] = &[
            (200, &[("cache-control", "max-age=60")], minute),
            (200, &[("cache-control", "Max-Age=\"60\" , public")], minute),
            (404, &[("cache-control", "max-age=5, s-maxage=60")], minute),
            (200, &[("cache-control", "public"), ("expires", &later), ("date", &date)], minute),
            (200, &[("cache-control", "max-age=100"), ("age", "40")], minute),
            (200, &[("cache-control", "max-age=40"), ("age", "40")], Verdict::Never),
            (200, &[("expires", &before), ("date", &date)], Verdict::Never),
            (200, &[("expires", "0")], Verdict::Never),
            (200, &[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")], Verdict::Never),
            (200, &[], Verdict::Never),
            (200, &[("cache-control", "max-age=sixty")], Verdict::Never),
            (200, &[("cache-control", "max-age=-1")], Verdict::Never),
            (200, &[("cache-control", "max-age=60, private")], Verdict::Never),
            (200, &[("cache-control", "max-age=60"), ("cache-control", "no-store")], Verdict::Never),
            (200, &[("cache-control", "private=\"x-a, max-age=3\", max-age=60")], Verdict::Never),
            (200, &[("cache-control", "no-cache=\"set-cookie\", max-age=60")], Verdict::Never),
            (200, &[("cache-control", "max-age=60"), ("set-cookie", "a=b")], Verdict::Never),
            (200, &[("cache-control", "max-age=60"), ("vary", "accept, *")], Verdict::Never),
            (206, &[("cache-control", "max-age=60")], Verdict::Never),
            (304, &[("cache-control", "max-age=60")], Verdict::Never),
            (500, &[("cache-control", "max-age=60")], Verdict::Failed),
        ];
        for (status, headers, expected) in cases {
            assert_eq!(verdict(&parts(*status, headers), None), *expected, "{status} {headers:?}");
        }
        let (default, none) = (Some(Duration::from_secs(60)), []);
        assert_eq!(verdict(&parts(200, &none), default), minute);
        assert_eq!(verdict(&parts(403, &none), default), Verdict::Never);
        let year = parts(200, &[("cache-control", "max-age=99999999999999999999999")]);
        assert_eq!(verdict(&year, None), Verdict::For(TTL_MAX));
    }

    #[test]
    fn names_in_vary_are_put_in_order() {
        let headers = parts(200, &[("vary", "Accept-Language, accept"), ("vary", "ACCEPT,")]).headers;
        assert_eq!(vary(&headers), Some(vec!["accept".to_owned(), "accept-language".to_owned()]));
        assert_eq!(vary(&HeaderMap::new()), Some(Vec::new()));
        assert_eq!(vary(&parts(200, &[("vary", "a b")]).headers), None);
    }
}
