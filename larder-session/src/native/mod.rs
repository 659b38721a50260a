//! Sessions of our own: what a browser and the store hold when no Express application has to read it.

pub(crate) mod csrf;
pub(crate) mod index;
pub(crate) mod keys;
pub(crate) mod meta;

pub use csrf::Csrf;
pub use keys::KeyRing;

use crate::cookie::{SameSite, http_date};
use crate::express::{ConfigError, is_attribute, is_token};
use http::request::Parts;
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The cookie of native sessions. It is `HttpOnly`, so that no script reads it, whatever else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct CookieSpec {
    name: String,
    domain: Option<String>,
    same_site: SameSite,
    pub(crate) is_secure: bool,
    is_persistent: bool,
}

impl CookieSpec {
    /// A cookie named `__Host-` and this: browsers take it over TLS (and from this machine) alone, send it to this host
    /// alone, and let no other host set it. `SameSite=Lax` unless set.
    pub fn host(name: &str) -> CookieSpec {
        CookieSpec::named(format!("__Host-{name}"))
    }

    /// A cookie of this name; `Secure`, `Path=/`, `SameSite=Lax` unless set.
    pub fn named(name: impl Into<String>) -> CookieSpec {
        let same_site = SameSite::Lax;
        CookieSpec { name: name.into(), domain: None, same_site, is_secure: true, is_persistent: false }
    }

    /// When browsers send the cookie with requests that come from other sites.
    pub fn same_site(mut self, same_site: SameSite) -> CookieSpec {
        self.same_site = same_site;
        self
    }

    /// Sends the cookie to all hosts of a domain: each of them then has to be trusted.
    pub fn domain(mut self, domain: impl Into<String>) -> CookieSpec {
        self.domain = Some(domain.into());
        self
    }

    /// Whether browsers send it over TLS alone. Off is for development in a browser that treats this machine like any.
    pub fn secure(mut self, secure: bool) -> CookieSpec {
        self.is_secure = secure;
        self
    }

    /// Lets the browser keep the cookie when it closes, for as long as the session lives. Unset, it forgets it then.
    pub fn persistent(mut self) -> CookieSpec {
        self.is_persistent = true;
        self
    }

    /// The value of `Set-Cookie`. `lives` is how long the session will live without use, and zero to remove the cookie.
    fn header(&self, value: &str, lives: Duration, now: SystemTime) -> String {
        let mut out = format!("{}={value}; Path=/", self.name);
        if let Some(domain) = &self.domain {
            let _ = write!(out, "; Domain={domain}");
        }
        if self.is_persistent || lives.is_zero() {
            let _ = write!(out, "; Max-Age={}; Expires={}", lives.as_secs(), http_date(now + lives));
        }
        out.push_str("; HttpOnly");
        if self.is_secure {
            out.push_str("; Secure");
        }
        let same_site = match self.same_site {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
            SameSite::None => "None",
        };
        let _ = write!(out, "; SameSite={same_site}");
        out
    }
}

/// Longest time for which an old id works on.
pub(crate) const GRACE_MAX: Duration = Duration::from_secs(300);

/// What happens when a user who has as many sessions as he may have logs in once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The session whose login is the longest ago ends.
    EndOldest,
    /// The login is refused: [`SessionError::TooManySessions`](crate::SessionError::TooManySessions).
    Refuse,
}

/// What happens to requests that ask for their session while the store does not answer. Whoever wants to change a
/// session gets an error in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// They get an error: 503.
    Reject,
    /// They have no session, as if nobody were logged in.
    Anonymous,
    /// They see their session as this program last saw it, if that is not longer ago than this. Sessions that have been
    /// ended meanwhile elsewhere may be among them, so this should be short.
    ReadOnly(Duration),
}

/// Finds the address of a client in a request.
type FindIp = Arc<dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync>;

/// Settings of native sessions. `Debug` shows no key.
#[derive(Clone)]
#[must_use]
pub struct NativeProfile {
    pub(crate) keys: KeyRing,
    pub(crate) cookie: CookieSpec,
    pub(crate) prefix: String,
    pub(crate) idle: Duration,
    pub(crate) absolute: Duration,
    pub(crate) rotate_every: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) touch_every: Duration,
    pub(crate) max_bytes: usize,
    pub(crate) limit: Option<(usize, Overflow)>,
    pub(crate) outage: Outage,
    pub(crate) csrf: Option<Csrf>,
    pub(crate) find_ip: Option<FindIp>,
    pub(crate) fresh_when_corrupt: bool,
    pub(crate) discards_on_error: bool,
}

impl fmt::Debug for NativeProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeProfile")
            .field("cookie", &self.cookie)
            .field("prefix", &self.prefix)
            .field("idle", &self.idle)
            .field("absolute", &self.absolute)
            .finish_non_exhaustive()
    }
}

impl NativeProfile {
    /// Settings with these keys and the defaults: the cookie `__Host-sid`, ended after a day without use and after 30
    /// days in any case, forged requests refused.
    pub fn new(keys: KeyRing) -> NativeProfile {
        NativeProfile {
            keys,
            cookie: CookieSpec::host("sid"),
            prefix: "session:".to_owned(),
            idle: Duration::from_secs(86_400),
            absolute: Duration::from_secs(30 * 86_400),
            rotate_every: None,
            grace: Duration::from_secs(10),
            touch_every: Duration::from_secs(60),
            max_bytes: 64 * 1024,
            limit: None,
            outage: Outage::Reject,
            csrf: Some(Csrf::new()),
            find_ip: None,
            fresh_when_corrupt: false,
            discards_on_error: false,
        }
    }

    /// The cookie.
    pub fn cookie(mut self, cookie: CookieSpec) -> NativeProfile {
        self.cookie = cookie;
        self
    }

    /// What keys begin with; `session:` unless set. Indexes of users are under this and `user:`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> NativeProfile {
        self.prefix = prefix.into();
        self
    }

    /// How long a session lives without use; a day unless set.
    pub fn idle(mut self, time: Duration) -> NativeProfile {
        self.idle = time;
        self
    }

    /// How long a session lives at most, however much it is used; 30 days unless set. It holds for sessions that are
    /// there already, too.
    pub fn absolute(mut self, time: Duration) -> NativeProfile {
        self.absolute = time;
        self
    }

    /// Gives a session in use another id whenever it has had one for so long; never unless set. A browser that loses the
    /// answer with the new id (its connection breaks at that moment) has none after the [grace](NativeProfile::grace).
    pub fn rotate_every(mut self, time: Duration) -> NativeProfile {
        self.rotate_every = Some(time);
        self
    }

    /// How long the old id works on for requests that were under way when [`rotate_every`](NativeProfile::rotate_every)
    /// exchanged it; 10 seconds unless set. A login has no such grace: the id before it is worth nothing at once.
    pub fn grace(mut self, time: Duration) -> NativeProfile {
        self.grace = time;
        self
    }

    /// How often at most the use of a session is noted in the store; once a minute unless set. A session ends up to so
    /// much earlier than [`idle`](NativeProfile::idle) after its last use.
    pub fn touch_at_most_every(mut self, time: Duration) -> NativeProfile {
        self.touch_every = time;
        self
    }

    /// Longest record that is written, in bytes; 64 KiB unless set.
    pub fn max_bytes(mut self, bytes: usize) -> NativeProfile {
        self.max_bytes = bytes;
        self
    }

    /// How many sessions a user may have at the same time; any number unless set.
    pub fn limit_per_user(mut self, sessions: usize, overflow: Overflow) -> NativeProfile {
        self.limit = Some((sessions, overflow));
        self
    }

    /// What happens while the store does not answer; requests that ask for their session are rejected unless set.
    pub fn outage(mut self, outage: Outage) -> NativeProfile {
        self.outage = outage;
        self
    }

    /// How requests are told from those that other sites have forged, or `None` where something else does that.
    pub fn csrf(mut self, csrf: impl Into<Option<Csrf>>) -> NativeProfile {
        self.csrf = csrf.into();
        self
    }

    /// How to find the address that is kept with a session: axum's `ConnectInfo` in the extensions, or a header of a
    /// proxy that is trusted. None is kept unless set.
    pub fn client_ip(
        mut self,
        find: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> NativeProfile {
        self.find_ip = Some(Arc::new(find));
        self
    }

    /// Whether a record that cannot be read counts as none, so that the next write begins a new session beside it. Off
    /// unless set: then it is an error.
    pub fn fresh_when_corrupt(mut self, fresh: bool) -> NativeProfile {
        self.fresh_when_corrupt = fresh;
        self
    }

    /// Whether changes that are not stored yet are dropped when the response is an error of the server (5xx). Off unless
    /// set. Logins, rotations and logouts stay in any case.
    pub fn discard_changes_on_error(mut self, discard: bool) -> NativeProfile {
        self.discards_on_error = discard;
        self
    }

    /// Sees that the settings agree with each other and with what browsers take, and are safe together.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let cookie = &self.cookie;
        let is_host = cookie.name.starts_with("__Host-");
        let (idle, absolute) = (self.idle, self.absolute);
        let century = Duration::from_secs(100 * 366 * 86_400);
        let refusals = [
            (self.keys.shortest() < keys::KEY_BYTES_MIN, "a key has less than 32 bytes"),
            (!is_token(&cookie.name), "the cookie's name has characters that no cookie has, or none"),
            (
                cookie.domain.as_deref().is_some_and(|d| d.is_empty() || !is_attribute(d)),
                "the domain is none",
            ),
            (is_host && !cookie.is_secure, "browsers refuse a __Host- cookie that is not secure"),
            (is_host && cookie.domain.is_some(), "browsers refuse a __Host- cookie with a domain"),
            (
                cookie.name.starts_with("__Secure-") && !cookie.is_secure,
                "browsers refuse a __Secure- cookie that is not secure",
            ),
            (
                cookie.same_site == SameSite::None && !cookie.is_secure,
                "browsers refuse SameSite=None on a cookie that is not secure",
            ),
            (
                cookie.same_site == SameSite::None && self.csrf.is_none(),
                "SameSite=None without protection against forged requests lets every site act for the user",
            ),
            (
                self.csrf.as_ref().is_some_and(|csrf| csrf.misspelled().is_some()),
                "a trusted origin is none, such as https://shop.example.com, without a path",
            ),
            (idle < Duration::from_secs(1), "sessions that end after less than a second without use"),
            (absolute < idle, "the absolute time-out is shorter than the one without use"),
            (absolute > century, "no session lives for more than a century"),
            (self.touch_every > idle / 2, "noted so seldom, the use of a session does not keep it alive"),
            (
                self.rotate_every.is_some_and(|every| every <= self.grace),
                "ids are exchanged faster than old ones end",
            ),
            (self.grace > GRACE_MAX, "old ids that work on for more than five minutes"),
            (self.limit.is_some_and(|(sessions, _)| sessions == 0), "no user may have a session"),
            (self.outage == Outage::ReadOnly(Duration::ZERO), "read-only for no time is Reject"),
            (
                matches!(self.outage, Outage::ReadOnly(stale) if stale > idle),
                "sessions would be read for longer than they live",
            ),
        ];
        match refusals.into_iter().find(|(refused, _)| *refused) {
            Some((_, why)) => Err(ConfigError(why.to_owned())),
            None => Ok(()),
        }
    }

    pub(crate) fn cookie_name(&self) -> &str {
        &self.cookie.name
    }

    /// `Set-Cookie` for an id.
    pub(crate) fn cookie_header(&self, id: &str, lives: Duration, now: SystemTime) -> String {
        self.cookie.header(&self.keys.cookie_value(&self.cookie.name, id), lives, now)
    }

    /// `Set-Cookie` that removes the cookie.
    pub(crate) fn removal_header(&self) -> String {
        self.cookie.header("", Duration::ZERO, SystemTime::UNIX_EPOCH)
    }

    /// Whether the cookie goes out whenever the session lives on, since it says until when.
    pub(crate) fn is_persistent(&self) -> bool {
        self.cookie.is_persistent
    }

    /// How long a session will live without use from now on; zero if its time is up.
    pub(crate) fn lives(&self, meta: &meta::Facts, now: SystemTime) -> Duration {
        let end = Duration::from_secs(meta.created_s) + self.absolute;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        end.saturating_sub(now).min(self.idle)
    }
}
