//! The settings of sessions that an Express application shares.

use crate::cookie::{Priority, SameSite, Signer};
use crate::record::is_reserved;
use serde_json::{Map, Value};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// Settings, named as express-session and connect-redis name theirs, with their defaults.
///
/// `Debug` shows no secret, and they are wiped from memory when the settings are dropped.
#[derive(Clone)]
#[must_use]
pub struct ExpressProfile {
    /// The secrets, ready to sign.
    pub(crate) signers: Vec<Signer>,
    has_empty_secret: bool,
    pub(crate) name: String,
    pub(crate) prefix: String,
    pub(crate) max_age: Option<Duration>,
    pub(crate) ttl: Duration,
    pub(crate) path: String,
    pub(crate) domain: Option<String>,
    pub(crate) secure: bool,
    pub(crate) http_only: bool,
    pub(crate) same_site: Option<SameSite>,
    partitioned: bool,
    priority: Option<Priority>,
    pub(crate) rolling: bool,
    pub(crate) max_bytes: usize,
    pub(crate) fresh_when_corrupt: bool,
    pub(crate) user_member: String,
}

/// Whether a cookie may be called so.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !br#"()<>@,;:\"/[]?={}"#.contains(&b))
}

/// Whether an attribute of a cookie may be this.
pub(crate) fn is_attribute(text: &str) -> bool {
    text.bytes().all(|b| (b.is_ascii_graphic() || b == b' ') && b != b';')
}

/// Why settings are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Debug for ExpressProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, prefix) = (&self.name, &self.prefix);
        f.debug_struct("ExpressProfile").field("name", name).field("prefix", prefix).finish_non_exhaustive()
    }
}

impl ExpressProfile {
    /// Settings with these secrets: the first signs, all verify.
    pub fn new<S: Into<String>>(secrets: impl IntoIterator<Item = S>) -> ExpressProfile {
        let secrets: Vec<Zeroizing<String>> =
            secrets.into_iter().map(|secret| Zeroizing::new(secret.into())).collect();
        ExpressProfile {
            signers: secrets.iter().map(|secret| Signer::new(secret.as_bytes())).collect(),
            has_empty_secret: secrets.iter().any(|secret| secret.is_empty()),
            name: "connect.sid".to_owned(),
            prefix: "sess:".to_owned(),
            max_age: None,
            ttl: Duration::from_secs(86_400),
            path: "/".to_owned(),
            domain: None,
            secure: false,
            http_only: true,
            same_site: None,
            partitioned: false,
            priority: None,
            rolling: false,
            max_bytes: 64 * 1024,
            fresh_when_corrupt: false,
            user_member: "userId".to_owned(),
        }
    }

    /// The cookie's name; `connect.sid` unless set.
    pub fn name(mut self, name: impl Into<String>) -> ExpressProfile {
        self.name = name.into();
        self
    }

    /// What keys begin with, before the id; `sess:` unless set.
    pub fn prefix(mut self, prefix: impl Into<String>) -> ExpressProfile {
        self.prefix = prefix.into();
        self
    }

    /// How long a new session lives without use, in the browser and in the store. Unset, the browser forgets it when it
    /// closes.
    pub fn max_age(mut self, age: Duration) -> ExpressProfile {
        self.max_age = Some(age);
        self
    }

    /// How long the store keeps a session without a maximal age after its last use; a day unless set.
    pub fn ttl(mut self, ttl: Duration) -> ExpressProfile {
        self.ttl = ttl;
        self
    }

    /// The cookie's path; `/` unless set. Requests outside of it have no session.
    pub fn path(mut self, path: impl Into<String>) -> ExpressProfile {
        self.path = path.into();
        self
    }

    /// The cookie's domain; none unless set.
    pub fn domain(mut self, domain: impl Into<String>) -> ExpressProfile {
        self.domain = Some(domain.into());
        self
    }

    /// Whether browsers send the cookie over TLS only; off unless set, as in Express. The layer does not know whether a
    /// request came over TLS: it sends the cookie in either case, and a browser without TLS drops it.
    pub fn secure(mut self, secure: bool) -> ExpressProfile {
        self.secure = secure;
        self
    }

    /// Whether scripts in the page cannot see the cookie; on unless set.
    pub fn http_only(mut self, http_only: bool) -> ExpressProfile {
        self.http_only = http_only;
        self
    }

    /// `SameSite` of the cookie; none unless set, as in Express.
    pub fn same_site(mut self, same_site: SameSite) -> ExpressProfile {
        self.same_site = Some(same_site);
        self
    }

    /// Whether a browser keeps the cookie apart for each site that embeds this one; off unless set. It takes such a cookie
    /// over TLS alone.
    pub fn partitioned(mut self, partitioned: bool) -> ExpressProfile {
        self.partitioned = partitioned;
        self
    }

    /// Which cookies the browser keeps when it has too many; none unless set.
    pub fn priority(mut self, priority: Priority) -> ExpressProfile {
        self.priority = Some(priority);
        self
    }

    /// Whether each response to a request that used the session sets the cookie again; off unless set.
    pub fn rolling(mut self, rolling: bool) -> ExpressProfile {
        self.rolling = rolling;
        self
    }

    /// Longest record that is written, in bytes; 64 KiB unless set.
    pub fn max_bytes(mut self, bytes: usize) -> ExpressProfile {
        self.max_bytes = bytes;
        self
    }

    /// Whether a record that cannot be read counts as none, so that the next write begins a new session beside it. Off
    /// unless set: then it is an error.
    pub fn fresh_when_corrupt(mut self, fresh: bool) -> ExpressProfile {
        self.fresh_when_corrupt = fresh;
        self
    }

    /// Where [`Session::login`](crate::Session::login) and [`User`](crate::User) have the user: a member, or two with a
    /// dot between them, such as `passport.user`; `userId` unless set.
    pub fn user_member(mut self, name: impl Into<String>) -> ExpressProfile {
        self.user_member = name.into();
        self
    }

    /// Sees that the settings agree with each other and with what browsers take.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let is_host = self.name.starts_with("__Host-");
        let is_none = self.same_site == Some(SameSite::None);
        let refusals = [
            (self.signers.is_empty(), "there is no secret to sign cookies with"),
            (self.has_empty_secret, "a secret is empty"),
            (!is_token(&self.name), "the cookie's name has characters that no cookie has, or none"),
            (
                !self.path.starts_with('/') || !is_attribute(&self.path),
                "the path does not begin with /, or has a ;",
            ),
            (self.domain.as_deref().is_some_and(|d| d.is_empty() || !is_attribute(d)), "the domain is none"),
            (is_host && !self.secure, "browsers refuse a __Host- cookie that is not secure"),
            (is_host && self.domain.is_some(), "browsers refuse a __Host- cookie with a domain"),
            (is_host && self.path != "/", "browsers refuse a __Host- cookie with a path other than /"),
            (
                self.name.starts_with("__Secure-") && !self.secure,
                "browsers refuse a __Secure- cookie that is not secure",
            ),
            (is_none && !self.secure, "browsers refuse SameSite=None on a cookie that is not secure"),
            (self.partitioned && !self.secure, "browsers refuse a partitioned cookie that is not secure"),
            (self.max_age.is_some_and(|age| age.is_zero()), "sessions of no age end at once"),
            (
                self.user_member.split('.').next().is_none_or(|name| name.is_empty() || is_reserved(name)),
                "Express would lose the member that has the user",
            ),
            (self.ttl.is_zero(), "sessions that are kept for no time end at once"),
        ];
        match refusals.into_iter().find(|(refused, _)| *refused) {
            Some((_, why)) => Err(ConfigError(why.to_owned())),
            None => Ok(()),
        }
    }

    /// The `cookie` member of a new record, in express-session's order; `expires` is filled in when it is written.
    pub(crate) fn cookie_json(&self) -> String {
        let age = self.max_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let mut members = vec![("originalMaxAge", Value::from(age))];
        // Express leaves out what nobody has asked for.
        members.extend(self.partitioned.then_some(("partitioned", Value::Bool(true))));
        members.extend(self.priority.map(|priority| ("priority", Value::from(priority.name()))));
        members.push(("expires", Value::Null));
        members.extend(self.secure.then_some(("secure", Value::Bool(true))));
        members.push(("httpOnly", Value::from(self.http_only)));
        members.extend(self.domain.as_deref().map(|domain| ("domain", Value::from(domain))));
        members.push(("path", Value::from(self.path.as_str())));
        members.extend(self.same_site.map(|same_site| ("sameSite", Value::from(same_site.name()))));
        let members = members.into_iter().map(|(name, value)| format!("{}:{value}", Value::from(name)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    /// The same as a value.
    pub(crate) fn cookie_attributes(&self) -> Value {
        serde_json::from_str(&self.cookie_json()).unwrap_or_else(|_| Value::Object(Map::new()))
    }
}
