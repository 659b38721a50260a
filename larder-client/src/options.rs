//! Where the data is, and how patient the handle is.

use crate::error::{Error, Result};
use redis::{IntoConnectionInfo, ProtocolVersion};
use std::path::PathBuf;
use std::time::Duration;

/// Time-outs and retries of a handle; the defaults suit a server in the same data centre.
///
/// A command is sent again when it is certain that it has not been carried out (no connection, a server that is loading
/// or failing over), or when it only reads. A write whose reply never came is not: it ends as
/// [`Error::Lost`], since doing it twice might be worse than not knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Options {
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) retry_delay: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) is_lazy: bool,
    pub(crate) root_certificate: Option<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            retries: 3,
            retry_delay: Duration::from_millis(25),
            keep_alive: Duration::from_secs(5),
            is_lazy: false,
            root_certificate: None,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// How long making a connection may take; 2 seconds by default.
    pub fn connect_timeout(mut self, time: Duration) -> Options {
        self.connect_timeout = time;
        self
    }

    /// How long a reply may take; 5 seconds by default. Blocking commands need more, on a connection of their own.
    pub fn response_timeout(mut self, time: Duration) -> Options {
        self.response_timeout = time;
        self
    }

    /// How often a command is tried again, and how long to wait before the first time; the wait doubles from try to
    /// try, up to half a second. 3 times after 25 ms by default.
    pub fn retries(mut self, times: u32, first_delay: Duration) -> Options {
        self.retries = times;
        self.retry_delay = first_delay;
        self
    }

    /// How often a subscription that hears nothing asks whether its connection is still alive; 5 seconds by default.
    pub fn keep_alive(mut self, time: Duration) -> Options {
        self.keep_alive = time;
        self
    }

    /// Opens the handle without a connection: the first command makes it. So a program starts while its server is away.
    pub fn lazy(mut self) -> Options {
        self.is_lazy = true;
        self
    }

    /// Trusts servers whose certificate is signed by this one (PEM), instead of those that the system trusts.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Options {
        self.root_certificate = Some(pem.into());
        self
    }

    /// The certificates, as the redis crate takes them.
    pub(crate) fn certificates(&self) -> Option<redis::TlsCertificates> {
        let root_cert = self.root_certificate.clone();
        root_cert.map(|root| redis::TlsCertificates { client_tls: None, root_cert: Some(root) })
    }

    /// How long to wait before try number `attempt` (from 1).
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        const DELAY_MAX: Duration = Duration::from_millis(500);
        let doubled = self.retry_delay.saturating_mul(1 << attempt.saturating_sub(1).min(10));
        doubled.min(DELAY_MAX)
    }
}

/// What a URL says.
#[derive(Debug)]
pub(crate) enum Target {
    /// The engine in this process, and the folder of its snapshot, if it has one.
    Embedded(Option<PathBuf>),
    /// One server.
    Node(redis::ConnectionInfo),
    /// Whatever the sentinels say is the primary of this name.
    Sentinel { sentinels: Vec<redis::ConnectionInfo>, primary: String, node: redis::ConnectionInfo },
    /// A cluster, by some of its nodes.
    Cluster(Vec<redis::ConnectionInfo>),
}

/// The schemes of URLs, for messages.
const SCHEMES: &str = "embedded://, redis://, rediss://, unix://, redis-sentinel://, rediss-sentinel://, redis-cluster:// \
                       and rediss-cluster://";

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Target> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(Error::Url(format!("{url:?} has no scheme; known are {SCHEMES}")));
        };
        match scheme {
            "embedded" => parse_embedded(rest),
            "redis" | "rediss" | "valkey" | "valkeys" | "unix" | "redis+unix" => {
                connection(url).map(Target::Node)
            }
            "redis-sentinel" => parse_sentinel("redis", rest),
            "rediss-sentinel" => parse_sentinel("rediss", rest),
            "redis-cluster" => parse_cluster("redis", rest),
            "rediss-cluster" => parse_cluster("rediss", rest),
            _ => Err(Error::Url(format!("unknown scheme {scheme:?}; known are {SCHEMES}"))),
        }
    }
}

fn parse_embedded(rest: &str) -> Result<Target> {
    if rest.is_empty() {
        return Ok(Target::Embedded(None));
    }
    if !rest.starts_with('/') {
        return Err(Error::Url(format!(
            "embedded:// takes no host, but a path from the root: embedded:///{rest}?"
        )));
    }
    Ok(Target::Embedded(Some(PathBuf::from(rest))))
}

/// `[user:password@]host[:port][,host[:port] ...]` and what follows the first slash behind it.
struct Hosts<'a> {
    credentials: Option<&'a str>,
    hosts: Vec<&'a str>,
    path: &'a str,
}

fn split_hosts(rest: &str) -> Result<Hosts<'_>> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (Some(credentials), hosts),
        None => (None, authority),
    };
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    if hosts.iter().any(|host| host.is_empty()) {
        return Err(Error::Url(format!("an empty host among {authority:?}")));
    }
    Ok(Hosts { credentials, hosts, path })
}

fn parse_sentinel(scheme: &str, rest: &str) -> Result<Target> {
    let Hosts { credentials, hosts, path } = split_hosts(rest)?;
    let (primary, db) = path.split_once('/').unwrap_or((path, ""));
    if primary.is_empty() {
        return Err(Error::Url(
            "which primary? redis-sentinel://host[:port][,host[:port] ...]/NAME[/DATABASE]".to_owned(),
        ));
    }
    // The credentials are those of the primary, as the sentinels of most installations have none.
    let with_port = |host: &&str| match host.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => (*host).to_owned(),
        _ => format!("{host}:26379"),
    };
    let sentinels = hosts
        .iter()
        .map(|host| connection(&format!("redis://{}", with_port(host))))
        .collect::<Result<_>>()?;
    let credentials = credentials.map(|text| format!("{text}@")).unwrap_or_default();
    let node = connection(&format!("{scheme}://{credentials}primary/{db}"))?;
    Ok(Target::Sentinel { sentinels, primary: primary.to_owned(), node })
}

fn parse_cluster(scheme: &str, rest: &str) -> Result<Target> {
    let Hosts { credentials, hosts, path } = split_hosts(rest)?;
    if !path.is_empty() && path != "0" {
        return Err(Error::Url(format!("a cluster has one database only, not {path:?}")));
    }
    let credentials = credentials.map(|text| format!("{text}@")).unwrap_or_default();
    hosts
        .iter()
        .map(|host| connection(&format!("{scheme}://{credentials}{host}")))
        .collect::<Result<_>>()
        .map(Target::Cluster)
}

/// One server's URL, to be spoken to in RESP3 unless it says otherwise.
fn connection(url: &str) -> Result<redis::ConnectionInfo> {
    let info = url
        .into_connection_info()
        .map_err(|error| Error::Url(format!("{error} ({})", without_password(url))))?;
    if url.contains("protocol=") {
        return Ok(info);
    }
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings))
}

/// A URL as it may be shown.
pub(crate) fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}://***{}", &url[..start], &url[end..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_backends() {
        assert!(matches!(Target::parse("embedded://"), Ok(Target::Embedded(None))));
        assert!(
            matches!(Target::parse("embedded:///var/x"), Ok(Target::Embedded(Some(path))) if path.ends_with("x"))
        );
        assert!(matches!(Target::parse("redis://localhost:7000/3"), Ok(Target::Node(_))));
        assert!(matches!(Target::parse("rediss://u:p@host"), Ok(Target::Node(_))));
        assert!(matches!(Target::parse("unix:///run/larder.sock"), Ok(Target::Node(_))));
        let Ok(Target::Sentinel { sentinels, primary, .. }) =
            Target::parse("redis-sentinel://u:p@a,b:26380/main/2")
        else {
            panic!()
        };
        assert_eq!((sentinels.len(), primary.as_str()), (2, "main"));
        assert!(sentinels[0].addr().to_string().ends_with(":26379"), "{:?}", sentinels[0].addr());
        assert!(
            matches!(Target::parse("redis-cluster://a:1,b:2,c:3"), Ok(Target::Cluster(nodes)) if nodes.len() == 3)
        );
    }

    #[test]
    fn a_bad_url_is_refused_with_what_is_wrong_and_without_its_password() {
        for (url, said) in [
            ("localhost:6379", "scheme"),
            ("http://localhost", "unknown scheme"),
            ("embedded://host/x", "no host"),
            ("redis-sentinel://a,b", "which primary"),
            ("redis-sentinel://a,,b/main", "empty host"),
            ("redis-cluster://a/5", "one database"),
            ("redis://u:secret@host:notaport", "***"),
        ] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn delays_double_up_to_a_limit() {
        let options = Options::new().retries(9, Duration::from_millis(30));
        let delays: Vec<u128> = (1..=6).map(|attempt| options.delay(attempt).as_millis()).collect();
        assert_eq!(delays, [30, 60, 120, 240, 480, 500]);
    }
}
