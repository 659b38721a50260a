//! Any headers of responses and requests.

use super::Stored;
use super::answer::{Answer, Shown};
use super::body::CachedBody;
use super::directives::{Verdict, age, vary, verdict};
use crate::entry::{Entry, Kept, Tier};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

const BODY: &[u8] = b"0123456789";
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Lines of a response, and after an empty one those of a request.
pub(crate) fn fuzz(data: &[u8]) {
    let mut halves = [HeaderMap::new(), HeaderMap::new()];
    let mut half = 0;
    for line in data.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            half = 1;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            halves[half].append(name, value);
        }
    }
    let [said, asked] = halves;
    let (mut response, ()) = Response::new(()).into_parts();
    response.headers = said;
    if let Verdict::For(ttl) = verdict(&response, Some(Duration::from_secs(1))) {
        assert!(!ttl.is_zero() && ttl <= YEAR, "{ttl:?}");
        assert!(vary(&response.headers).is_some(), "it varies by anything");
    }
    let _ = age(&response.headers);
    let (mut request, ()) = Request::new(()).into_parts();
    request.headers = asked;
    let life = Duration::from_secs(1);
    let kept = Kept {
        value: Some(Stored::Answer(Answer::new(&response, Bytes::from_static(BODY)))),
        key: crate::entry::ShortKey::default(),
        tags: Vec::new(),
        etag: None,
        life,
        cost: life,
        fresh_until: Instant::now() + life,
        at: 0,
        bytes: 0,
    };
    let entry = Entry { kept: Arc::new(kept), is_stale: false, tier: Tier::Near };
    let shown = Shown { entry, status: "hit".to_owned() };
    let shown: Response<CachedBody<String>> = shown.response(&request, "larder");
    check(&shown);
}

fn check<B: http_body::Body<Data = Bytes>>(shown: &Response<CachedBody<B>>) {
    let length = shown.body().size_hint().exact().expect("it is all there");
    let says = shown.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match shown.status() {
        StatusCode::OK => assert_eq!(length, BODY.len() as u64),
        StatusCode::PARTIAL_CONTENT => {
            assert!((1..=BODY.len() as u64).contains(&length), "{length}");
            assert!(shown.headers().contains_key(CONTENT_RANGE));
        }
        StatusCode::NOT_MODIFIED | StatusCode::RANGE_NOT_SATISFIABLE => assert_eq!(length, 0),
        other => panic!("{other}"),
    }
    assert!(says.is_none_or(|says| says == length.to_string()), "{says:?} {length}");
}
