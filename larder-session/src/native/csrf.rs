//! Requests that another site has made a browser send.
//!
//! A browser says where a request comes from: in `Sec-Fetch-Site`, and before there was that, in `Origin`. A request
//! that changes something is refused unless one of them says that it comes from here. What says neither is no browser
//! of the last years, or no browser at all: if it brings a session's cookie it must bring a token, too, which only a
//! page of this application can have read. None of this needs anything in the store.

use http::header::{HOST, ORIGIN};
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

    /// The first of those that are trusted which is no origin, so that no browser ever names it.
    pub(crate) fn misspelled(&self) -> Option<&str> {
        let is_origin = |text: &str| {
            let host = text.split_once("://").filter(|(scheme, _)| is_word(scheme)).map(|(_, host)| host);
            host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_in_authority))
        };
        self.trusted.iter().map(String::as_str).find(|trusted| !is_origin(trusted))
    }

    /// Judges a request by its headers. `is_secure` says that its cookie came over TLS.
    pub(crate) fn judge(&self, method: &Method, uri: &Uri, headers: &HeaderMap, is_secure: bool) -> Finding {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE) {
            return Finding::Genuine;
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(ORIGIN.as_str());
        let is_trusted = origin.is_some_and(|origin| self.trusted.iter().any(|known| known == origin));
        let comes_from_here = match (text("sec-fetch-site"), origin) {
            _ if is_trusted => true,
            (Some("same-origin" | "none"), _) => true,
            (Some("same-site"), _) => self.allows_same_site,
            (Some(_), _) => false,
            (None, Some(origin)) => is_own(origin, uri, headers, is_secure),
            (None, None) => return Finding::Unproven,
        };
        match comes_from_here {
            false => Finding::Forged,
            true if self.requires_token => Finding::Unproven,
            true => Finding::Genuine,
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether a browser spells hosts and ports with this. It writes them in lower case.
fn is_in_authority(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte)
}

/// Whether an origin is the host that the request is for. A page without TLS is not its own origin with TLS: whoever is
/// on the way can put anything into it. This machine is taken for safe, as browsers take it.
fn is_own(origin: &str, uri: &Uri, headers: &HeaderMap, is_secure: bool) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_here = matches!(name, "localhost" | "127.0.0.1" | "[::1]") || name.ends_with(".localhost");
    if is_secure && scheme == "http" && !is_here {
        return false;
    }
    let asked = headers.get(HOST).and_then(|value| value.to_str().ok());
    let asked = asked.or_else(|| uri.authority().map(|authority| authority.as_str()));
    asked.is_some_and(|asked| asked.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn judge(csrf: &Csrf, method: &str, headers: &[(&str, &str)]) -> Finding {
        judge_at(csrf, method, "shop.example:8443", headers, true)
    }

    fn judge_at(csrf: &Csrf, method: &str, host: &str, headers: &[(&str, &str)], is_secure: bool) -> Finding {
        let mut request = Request::builder().method(method).uri("/buy").header("host", host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        csrf.judge(request.method(), request.uri(), request.headers(), is_secure)
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
    fn a_page_without_tls_does_not_speak_for_one_with() {
        let csrf = Csrf::new();
        let judge = |host: &str, is_secure| {
            judge_at(&csrf, "POST", host, &[("origin", &format!("http://{host}"))], is_secure)
        };
        assert_eq!(judge("shop.example", true), Finding::Forged);
        assert_eq!(judge("shop.example", false), Finding::Genuine);
        for here in ["localhost:3000", "127.0.0.1", "[::1]:80", "shop.localhost:8"] {
            assert_eq!(judge(here, true), Finding::Genuine, "{here}");
        }
        assert_eq!(judge("localhost.evil.example", true), Finding::Forged);
    }

    #[test]
    fn a_trusted_origin_is_spelled_as_browsers_spell_it() {
        for good in ["https://app.example", "http://localhost:3000", "https://[::1]:8"] {
            assert_eq!(Csrf::new().trust(good).misspelled(), None, "{good}");
        }
        for bad in ["app.example", "https://app.example/", "https://", "https://App.example", "*", "null"] {
            assert_eq!(Csrf::new().trust("https://a").trust(bad).misspelled(), Some(bad), "{bad}");
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
