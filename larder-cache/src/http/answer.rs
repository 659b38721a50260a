//! A response as it is kept, and what of it a request gets: all, its headers, a part, or that it has it already.

use super::body::CachedBody;
use super::directives::{age, date_of};
use super::{CACHE_STATUS, Stored};
use crate::Entry;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, request, response};
use http_body::Body;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Headers that belong to a connection, or that are made anew.
const NOT_KEPT: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
];
/// Headers that go with 304 (RFC 9110, 15.4.5), and those that tell of the cache.
const WITH_NOT_MODIFIED: [HeaderName; 7] = [
    header::CACHE_CONTROL,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::VARY,
    header::LAST_MODIFIED,
];

/// A response.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, Bytes)>,
    body: Bytes,
}

impl Answer {
    pub(super) fn new(parts: &response::Parts, body: Bytes) -> Answer {
        let connection: Vec<String> = parts
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|line| {
                String::from_utf8_lossy(line.as_bytes())
                    .split(',')
                    .map(|name| name.trim().to_ascii_lowercase())
                    .collect::<Vec<_>>()
            })
            .collect();
        let is_kept = |name: &HeaderName| {
            !NOT_KEPT.contains(name) && !connection.iter().any(|other| other == name.as_str())
        };
        let headers = parts.headers.iter().filter(|(name, _)| is_kept(name));
        let headers =
            headers.map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes())));
        Answer { status: parts.status.as_u16(), headers: headers.collect(), body }
    }

    fn headers(&self) -> HeaderMap {
        // What another program has written wrongly is left out.
        let header = |(name, value): &(String, Bytes)| {
            Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_maybe_shared(value.clone()).ok()?))
        };
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 4);
        for (name, value) in self.headers.iter().filter_map(header) {
            headers.append(name, value);
        }
        headers
    }
}

/// What a request gets from the cache.
pub(super) struct Shown {
    pub(super) entry: Entry<Stored>,
    /// For `Cache-Status`.
    pub(super) status: String,
}

impl Shown {
    pub(super) fn response<B: Body>(&self, asked: &request::Parts, name: &str) -> Response<CachedBody<B>> {
        let Stored::Answer(answer) = &*self.entry else { unreachable!("only answers are shown") };
        let mut headers = answer.headers();
        let old = age(&headers) + self.entry.age();
        headers.insert(header::AGE, old.as_secs().into());
        if let Ok(status) = HeaderValue::from_str(&format!("{name}; {}", self.status)) {
            headers.append(CACHE_STATUS, status);
        }
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
        let (status, part) = if status == StatusCode::OK {
            part_for(asked, &headers, answer.body.len())
        } else {
            (status, None)
        };
        let body = match (status, part) {
            (StatusCode::NOT_MODIFIED, _) => {
                let kept: Vec<HeaderName> = headers.keys().cloned().collect();
                let goes = |name: &HeaderName| {
                    !WITH_NOT_MODIFIED.contains(name) && *name != header::AGE && *name != CACHE_STATUS
                };
                kept.into_iter().filter(goes).for_each(|name| drop(headers.remove(name)));
                Bytes::new()
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => {
                headers.remove(header::CONTENT_TYPE);
                let range = HeaderValue::from_str(&format!("bytes */{}", answer.body.len()));
                headers.extend(range.ok().map(|range| (header::CONTENT_RANGE, range)));
                Bytes::new()
            }
            (_, Some(part)) => {
                let range = format!("bytes {}-{}/{}", part.start, part.end - 1, answer.body.len());
                headers
                    .extend(HeaderValue::from_str(&range).ok().map(|range| (header::CONTENT_RANGE, range)));
                answer.body.slice(part)
            }
            (_, None) => answer.body.clone(),
        };
        let has_length = !matches!(status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT);
        if has_length {
            headers.insert(header::CONTENT_LENGTH, body.len().into());
        }
        let body = if asked.method == Method::HEAD { Bytes::new() } else { body };
        let mut response = Response::new(CachedBody::whole(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// Which status, and which part, a request gets of a response of 200: conditions and ranges of RFC 9110, 13 and 14. Of
/// several ranges in one request none is obeyed, which a server may do.
fn part_for(asked: &request::Parts, kept: &HeaderMap, length: usize) -> (StatusCode, Option<Range<usize>>) {
    if is_had(&asked.headers, kept) {
        return (StatusCode::NOT_MODIFIED, None);
    }
    let range = asked
        .headers
        .get(header::RANGE)
        .filter(|_| asked.method == Method::GET && is_same(&asked.headers, kept));
    let Some(range) = range.and_then(|range| range.to_str().ok()?.trim().strip_prefix("bytes=")) else {
        return (StatusCode::OK, None);
    };
    let Some((first, last)) = range.split_once('-') else { return (StatusCode::OK, None) };
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let part = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.trim().is_empty() => first..length,
        (None, Some(count)) if first.trim().is_empty() => length.saturating_sub(count)..length,
        _ => return (StatusCode::OK, None),
    };
    if part.is_empty() {
        (StatusCode::RANGE_NOT_SATISFIABLE, None)
    } else {
        (StatusCode::PARTIAL_CONTENT, Some(part))
    }
}

/// Whether the visitor has what is kept.
fn is_had(asked: &HeaderMap, kept: &HeaderMap) -> bool {
    if asked.contains_key(header::IF_NONE_MATCH) {
        let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let Some(etag) = kept.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(weak) else {
            return false;
        };
        let lines = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
        return lines.flat_map(|line| line.split(',')).any(|tag| tag.trim() == "*" || weak(tag) == etag);
    }
    let since = date_of(asked, &header::IF_MODIFIED_SINCE);
    let modified = date_of(kept, &header::LAST_MODIFIED);
    since.zip(modified).is_some_and(|(since, modified)| modified <= since)
}

/// Whether a range is of what is kept, by `If-Range`.
fn is_same(asked: &HeaderMap, kept: &HeaderMap) -> bool {
    let Some(wanted) = asked.get(header::IF_RANGE) else { return true };
    if wanted.as_bytes().starts_with(b"\"") {
        return kept.get(header::ETAG) == Some(wanted);
    }
    kept.get(header::LAST_MODIFIED) == Some(wanted)
}
