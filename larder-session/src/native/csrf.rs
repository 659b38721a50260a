//! Requests that another site has made a browser send.
//!
//! A browser says where a request comes from: in `Sec-Fetch-Site`, and before there was that, in `Origin`. A request
//! that changes something is refused unless one of them says that it comes from here. What says neither is no browser
//! of the last years, or no browser at all: if it brings a session's cookie it must bring a token, too, which only a
//! page of this application can have read. None of this needs anything in the store.

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

/// The header that a token is sent in.
pub(crate) const TOKEN_HEADER: &str = "x-csrf-token";

/// How requests are told from forged ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Csrf {
    trusted: Vec<String>,
    allows_same_site: bool,
    requires_token: bool,
}

/// What the headers of a request tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It is no forgery, or can do no harm.
    Genuine,
    /// A token must show that it is none.
    Unproven,
    /// It comes from elsewhere.
    Forged,
}

impl Csrf {
    /// Requests that change something must come from this very host.
    pub fn new() -> Csrf {
        Csrf::default()
    }

    /// Lets another origin, such as `https://shop.example.com`, send requests.
    pub fn trust(mut self, origin: impl Into<String>) -> Csrf {
        self.trusted.push(origin.into());
        self
    }

    /// Lets all hosts of this site (other subdomains) send requests.
    pub fn allow_same_site(mut self) -> Csrf {
        self.allows_same_site = true;
        self
    }

    /// Asks for the token in any case, in the header `X-CSRF-Token`.
    pub fn require_token(mut self) -> Csrf {
        self.requires_token = true;
        self
    }

    /// Judges a request by its headers.
    pub(crate) fn judge(&self, parts: &Parts) -> Finding {
        if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE) {
            return Finding::Genuine;
        }
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(ORIGIN.as_str());
        let is_trusted = origin.is_some_and(|origin| self.trusted.iter().any(|known| known == origin));
        let comes_from_here = match (text("sec-fetch-site"), origin) {
            _ if is_trusted => true,
            (Some("same-origin" | "none"), _) => true,
            (Some("same-site"), _) => self.allows_same_site,
            (Some(_), _) => false,
            (None, Some(origin)) => is_own(origin, &parts.uri, &parts.headers),
            (None, None) => return Finding::Unproven,
        };
        match comes_from_here {
            false => Finding::Forged,
            true if self.requires_token => Finding::Unproven,
            true => Finding::Genuine,
        }
    }
}

/// Whether an origin is the host that the request is for.
fn is_own(origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
    let Some((_, host)) = origin.split_once("://") else { return false };
    let asked = headers.get(HOST).and_then(|value| value.to_str().ok());
    let asked = asked.or_else(|| uri.authority().map(|authority| authority.as_str()));
    asked.is_some_and(|asked| asked.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn judge(csrf: &Csrf, method: &str, headers: &[(&str, &str)]) -> Finding {
        let mut request = Request::builder().method(method).uri("/buy").header("host", "shop.example:8443");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        csrf.judge(&request.body(()).expect("a request").into_parts().0)
    }

    #[test]
    fn a_request_that_changes_something_must_come_from_here() {
        let csrf = Csrf::new();
        for (headers, finding) in [
            (&[("sec-fetch-site", "same-origin")][..], Finding::Genuine),
            (&[("sec-fetch-site", "none")], Finding::Genuine),
            (&[("sec-fetch-site", "same-site")], Finding::Forged),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://shop.example:8443")], Finding::Forged),
            (&[("origin", "https://shop.example:8443")], Finding::Genuine),
            (&[("origin", "https://shop.example")], Finding::Forged),
            (&[("origin", "https://evil.example")], Finding::Forged),
            (&[("origin", "null")], Finding::Forged),
            (&[], Finding::Unproven),
        ] {
            assert_eq!(judge(&csrf, "POST", headers), finding, "{headers:?}");
            assert_eq!(judge(&csrf, "GET", headers), Finding::Genuine, "{headers:?}");
        }
    }

    #[test]
    fn who_is_trusted_may_send_requests_too() {
        let csrf = Csrf::new().trust("https://app.example").allow_same_site();
        let app = ("origin", "https://app.example");
        assert_eq!(judge(&csrf, "DELETE", &[("sec-fetch-site", "cross-site"), app]), Finding::Genuine);
        assert_eq!(judge(&csrf, "DELETE", &[app]), Finding::Genuine);
        assert_eq!(judge(&csrf, "DELETE", &[("sec-fetch-site", "same-site")]), Finding::Genuine);
        assert_eq!(judge(&csrf, "DELETE", &[("sec-fetch-site", "cross-site")]), Finding::Forged);
        let strict = Csrf::new().require_token();
        assert_eq!(judge(&strict, "POST", &[("sec-fetch-site", "same-origin")]), Finding::Unproven);
        assert_eq!(judge(&strict, "POST", &[("sec-fetch-site", "cross-site")]), Finding::Forged);
    }
}
