//! A cache of whole responses: a layer for tower, so for axum, that keeps what RFC 9111 lets a shared cache keep.
//!
//! It stands in front of the application that makes the responses and speaks for it. So what requests say about caching is
//! not obeyed, as with the caches that sites put before themselves; what responses say is. Nothing is kept without a time:
//! `s-maxage`, `max-age`, `Expires`, or [`HttpCacheBuilder::default_ttl`].
//!
//! # Who waits for whom
//!
//! Of several requests for one thing that is not there, one goes to the application and the others wait for what it brings:
//! the load of a [`Cache`]. But a response may turn out to be for one visitor alone. Whoever went for it gets it as it is, even
//! while it is still coming, and all others go for theirs; that it is so is remembered for a moment, in which nobody waits.
//!
//! # What varies
//!
//! Under the address of a request is its response, or the list of headers that it varies by (`Vary`). In the second case the
//! address together with the values of these headers is the key of the response. The first response that says so is not
//! kept: its load began under another key, and what was invalidated meanwhile would not be known under the right one.
//!
//! # Invalidation
//!
//! A response has the tag of its path, which a request that changes something (RFC 9111, 4.4) removes once it has succeeded,
//! and the [`Tags`] that the handler gives it.

mod answer;
mod body;
mod directives;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;

pub use body::CachedBody;

use crate::{Cache, Error, LoadError, Loaded, Near, Policy, Tier};
use answer::{Answer, Shown};
use body::Gathered;
use bytes::Bytes;
use directives::Verdict;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, request, response};
use http_body::Body;
use larder_client::Larder;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

/// The header that tells what the cache has done (RFC 9211).
const CACHE_STATUS: http::HeaderName = http::HeaderName::from_static("cache-status");
/// How long it is remembered that responses under a key are not to be shared.
const PASS_TTL: Duration = Duration::from_secs(10);
/// Bytes that the near cache has, unless it is given another size.
const NEAR_BYTES: u64 = 32 << 20;
/// Bytes of a body that is kept, unless something else is said.
const BODY_MAX: usize = 1 << 20;

/// Tags of a response, as an extension of it: what [`HttpCache::remove_tag`] removes it by. A handler that knows what a page
/// shows says it with `response.extensions_mut().insert(Tags::new(["product:7"]))`.
#[derive(Debug, Clone, Default)]
pub struct Tags(Vec<String>);

impl Tags {
    /// These tags.
    pub fn new<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Tags {
        Tags(tags.into_iter().map(Into::into).collect())
    }
}

/// What is under a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Stored {
    /// A response.
    Answer(Answer),
    /// Responses are under the address together with the values of these headers.
    Varies(Vec<String>),
    /// Responses are not to be shared.
    Pass,
}

/// Decides about a response, in the place of its headers.
type Rule = Arc<dyn Fn(&request::Parts, &response::Parts) -> Option<Duration> + Send + Sync>;

struct Config {
    stored: Cache<str, Stored>,
    name: String,
    default_ttl: Option<Duration>,
    body_max: usize,
    shares_authorized: bool,
    rule: Option<Rule>,
}

/// Builds a [`HttpCache`].
#[must_use]
pub struct HttpCacheBuilder {
    larder: Larder,
    namespace: String,
    policy: Policy,
    near: Option<Near>,
    name: String,
    default_ttl: Option<Duration>,
    body_max: usize,
    shares_authorized: bool,
    rule: Option<Rule>,
}

impl fmt::Debug for HttpCacheBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCacheBuilder").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl HttpCacheBuilder {
    /// The policy: stale responses while the application is slow, early refresh, time-outs. Its time to live is not used;
    /// responses say theirs.
    pub fn policy(mut self, policy: Policy) -> HttpCacheBuilder {
        self.policy = policy;
        self
    }

    /// The near cache, or `None`; 32 MiB unless set.
    pub fn near(mut self, near: impl Into<Option<Near>>) -> HttpCacheBuilder {
        self.near = near.into();
        self
    }

    /// What the cache calls itself in `Cache-Status`: a token of RFC 9110; `larder` unless set.
    pub fn name(mut self, name: impl Into<String>) -> HttpCacheBuilder {
        self.name = name.into();
        self
    }

    /// How long a response is kept that says nothing about it and has a status for which that is usual (200, 203, 204, 301,
    /// 308, 404, 410). Not at all unless set.
    pub fn default_ttl(mut self, ttl: Duration) -> HttpCacheBuilder {
        self.default_ttl = Some(ttl);
        self
    }

    /// Bytes of the largest body that is kept; 1 MiB unless set. Larger ones are passed on as they come.
    pub fn body_max(mut self, bytes: usize) -> HttpCacheBuilder {
        self.body_max = bytes;
        self
    }

    /// Lets requests with `Authorization` share responses, too: for applications whose responses do not depend on it, or
    /// that say `Vary: Authorization`. Unset, such requests go past the cache.
    pub fn share_authorized(mut self) -> HttpCacheBuilder {
        self.shares_authorized = true;
        self
    }

    /// Decides in the place of the headers for which responses something else is known: `Some` is the time that it is kept
    /// for, whatever it says, `private` and `Set-Cookie` included; zero is never. With `None` its headers count.
    pub fn rule(
        mut self,
        rule: impl Fn(&request::Parts, &response::Parts) -> Option<Duration> + Send + Sync + 'static,
    ) -> HttpCacheBuilder {
        self.rule = Some(Arc::new(rule));
        self
    }

    /// The cache.
    ///
    /// # Errors
    /// When the backend cannot be reached, or a setting makes no sense.
    pub async fn build(self) -> Result<HttpCache, Error> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
        if !self.name.starts_with(|c: char| c.is_ascii_alphabetic()) || !self.name.bytes().all(is_token) {
            return Err(Error::Setting(format!("{:?} is no name for Cache-Status", self.name)));
        }
        let mut stored = Cache::builder(&self.larder, &self.namespace).policy(self.policy);
        if let Some(near) = self.near {
            stored = stored.near(near);
        }
        let config = Config {
            stored: stored.build().await?,
            name: self.name,
            default_ttl: self.default_ttl,
            body_max: self.body_max,
            shares_authorized: self.shares_authorized,
            rule: self.rule,
        };
        Ok(HttpCache { config: Arc::new(config) })
    }
}

/// The layer; see [the module](self).
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Empty, Full};
/// use larder_cache::http::HttpCache;
/// use larder_client::Larder;
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let larder = Larder::open("embedded://").await?;
/// let cache = HttpCache::builder(&larder, "pages").build().await?;
/// let application = service_fn(|_: Request<Empty<bytes::Bytes>>| async {
///     let page = Response::builder().header("cache-control", "max-age=60");
///     Ok::<_, std::convert::Infallible>(page.body(Full::from("Hello")).unwrap())
/// });
/// let mut application = cache.layer(application);
///
/// for status in ["larder; fwd=uri-miss; stored", "larder; hit; ttl="] {
///     let request = Request::get("/hello").body(Empty::new())?;
///     let response = application.ready().await?.call(request).await?;
///     assert!(response.headers()["cache-status"].to_str()?.starts_with(status));
///     assert_eq!(response.into_body().collect().await?.to_bytes(), "Hello");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct HttpCache {
    config: Arc<Config>,
}

impl fmt::Debug for HttpCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache").field("name", &self.config.name).finish_non_exhaustive()
    }
}

impl HttpCache {
    /// Begins a cache in a namespace of a backend.
    pub fn builder(larder: &Larder, namespace: &str) -> HttpCacheBuilder {
        HttpCacheBuilder {
            larder: larder.clone(),
            namespace: namespace.to_owned(),
            policy: Policy::ttl(Duration::from_secs(60)),
            near: Some(Near::bytes(NEAR_BYTES)),
            name: "larder".to_owned(),
            default_ttl: None,
            body_max: BODY_MAX,
            shares_authorized: false,
            rule: None,
        }
    }

    /// Removes all responses under a path, whatever their query and whatever they vary by.
    ///
    /// # Errors
    /// As [`Cache::remove_tag`].
    pub async fn remove_path(&self, path: &str) -> Result<(), Error> {
        self.config.stored.remove_tag(path_tag(path)).await
    }

    /// Removes all responses whose [`Tags`] have this one.
    ///
    /// # Errors
    /// As [`Cache::remove_tag`].
    pub async fn remove_tag(&self, tag: &str) -> Result<(), Error> {
        self.config.stored.remove_tag(own_tag(tag)).await
    }

    /// Removes everything.
    ///
    /// # Errors
    /// As [`Cache::clear`].
    pub async fn clear(&self) -> Result<(), Error> {
        self.config.stored.clear().await
    }

    /// What it has done so far.
    pub fn stats(&self) -> crate::Stats {
        self.config.stored.stats()
    }
}

impl<S> Layer<S> for HttpCache {
    type Service = HttpCached<S>;

    fn layer(&self, inner: S) -> HttpCached<S> {
        HttpCached { config: Arc::clone(&self.config), inner }
    }
}

/// What [`HttpCache`] makes of a service.
#[derive(Clone)]
pub struct HttpCached<S> {
    config: Arc<Config>,
    inner: S,
}

impl<S: fmt::Debug> fmt::Debug for HttpCached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCached").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, A, B> Service<Request<A>> for HttpCached<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    A: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    type Response = Response<CachedBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        // The service that was polled is the one that is ready; its copy is not.
        let copy = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, copy);
        let config = Arc::clone(&self.config);
        Box::pin(async move { config.answer(inner, request).await })
    }
}

/// A request on its way, and what has come back that only its sender may have. The load takes the request if it is this one
/// that goes to the application.
struct Errand<S, A, B: Body, E> {
    waiting: Mutex<Option<(S, Request<A>)>>,
    own: Mutex<Option<Result<Response<CachedBody<B>>, E>>>,
    /// Whether it went.
    went: AtomicBool,
}

/// What a look into the cache came to.
enum Look {
    /// This, to be shown with this status.
    Found(Shown),
    /// Responses vary by these headers.
    Varies(Vec<String>),
    /// The request has to go by itself, and the status says why.
    Alone(&'static str),
}

impl Config {
    async fn answer<S, A, B>(
        &self,
        mut inner: S,
        request: Request<A>,
    ) -> Result<Response<CachedBody<B>>, S::Error>
    where
        S: Service<Request<A>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Send + 'static,
        A: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Send,
    {
        if let Some(why) = self.goes_past(&request) {
            let (path, is_change) = (request.uri().path().to_owned(), !request.method().is_safe());
            let mut response = inner.call(request).await?.map(CachedBody::passed);
            let status = response.status();
            if is_change && (status.is_success() || status.is_redirection()) {
                // If the backend is away the removal is owed, and made up for before the entry is read again.
                let _owed = self.stored.remove_tag(path_tag(&path)).await;
            }
            self.say(&mut response, why);
            return Ok(response);
        }
        let parts = copy(&request);
        let errand = Arc::new(Errand {
            waiting: Mutex::new(Some((inner, request))),
            own: Mutex::new(None),
            went: AtomicBool::new(false),
        });
        let mut look = self.look(&errand, &parts, Vec::new()).await;
        if let Look::Varies(names) = look {
            look = self.look(&errand, &parts, names).await;
        }
        if let Some(own) = errand.own.lock().take() {
            let mut response = own?;
            self.say(&mut response, "fwd=uri-miss");
            return Ok(response);
        }
        let why = match look {
            Look::Found(shown) => return Ok(shown.response(&parts, &self.name)),
            Look::Alone(why) => why,
            Look::Varies(_) => "fwd=vary-miss",
        };
        let waiting = errand.waiting.lock().take();
        let Some((mut inner, request)) = waiting else {
            // It went, and did not come back: the application has panicked, or takes too long.
            let status = if why == "fwd=timeout" {
                StatusCode::GATEWAY_TIMEOUT
            } else {
                StatusCode::INTERNAL_SERVER_ERROR
            };
            let mut response = Response::new(CachedBody::whole(Bytes::new()));
            *response.status_mut() = status;
            self.say(&mut response, "fwd=uri-miss");
            return Ok(response);
        };
        let mut response = inner.call(request).await?.map(CachedBody::passed);
        self.say(&mut response, why);
        Ok(response)
    }

    /// Whether a request has nothing to do with the cache, and why.
    fn goes_past<A>(&self, request: &Request<A>) -> Option<&'static str> {
        let headers = request.headers();
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Some("fwd=method");
        }
        let has_body = headers.contains_key(header::TRANSFER_ENCODING)
            || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0");
        let is_personal = headers.contains_key(header::AUTHORIZATION) && !self.shares_authorized;
        let is_upgrade = headers.contains_key(header::UPGRADE);
        (has_body || is_personal || is_upgrade).then_some("fwd=bypass")
    }

    /// Looks under the key of a request, by the headers that responses vary by, and lets the errand go if nothing is there.
    async fn look<S, A, B>(
        &self,
        errand: &Arc<Errand<S, A, B, S::Error>>,
        parts: &request::Parts,
        names: Vec<String>,
    ) -> Look
    where
        S: Service<Request<A>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Send + 'static,
        A: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Send,
    {
        let key = key_of(parts, &names);
        let found = if parts.method == Method::HEAD {
            // What a HEAD brings is no response to keep.
            self.stored.get(key.as_str()).await.map_err(LoadError::Cache)
        } else {
            let (errand, asked) = (Arc::clone(errand), copy_parts(parts));
            let judge =
                Judge { default_ttl: self.default_ttl, body_max: self.body_max, rule: self.rule.clone() };
            let load = move |_| async move { Ok::<_, Lost>(errand.go(&judge, &asked, &names).await) };
            self.stored.get_or_load(key.as_str(), load).await.map(Some)
        };
        let entry = match found {
            Ok(Some(entry)) => entry,
            Ok(None) => return Look::Alone("fwd=uri-miss"),
            Err(LoadError::TimedOut(_)) => return Look::Alone("fwd=timeout"),
            Err(_) => return Look::Alone("fwd=bypass"),
        };
        match &*entry {
            Stored::Varies(names) => Look::Varies(names.clone()),
            Stored::Pass => Look::Alone("fwd=bypass"),
            Stored::Answer(_) => {
                let went = errand.went.load(Ordering::Acquire);
                let status = match (entry.tier(), entry.is_stale()) {
                    (Tier::Source, false) if went => "fwd=uri-miss; stored".to_owned(),
                    (Tier::Source, false) => "fwd=uri-miss; collapsed".to_owned(),
                    (_, true) => format!("hit; ttl=-{}", entry.age().as_secs()),
                    _ => format!("hit; ttl={}", entry.expires_in().as_secs()),
                };
                Look::Found(Shown { entry, status })
            }
        }
    }

    fn say<B>(&self, response: &mut Response<B>, status: &str) {
        if let Ok(value) = HeaderValue::from_str(&format!("{}; {status}", self.name)) {
            response.headers_mut().append(CACHE_STATUS, value);
        }
    }
}

/// An error that no load of this module has.
#[derive(Debug)]
struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was lost")
    }
}

/// What decides whether a response is kept.
struct Judge {
    default_ttl: Option<Duration>,
    body_max: usize,
    rule: Option<Rule>,
}

impl Judge {
    fn verdict(&self, asked: &request::Parts, response: &response::Parts) -> Verdict {
        match self.rule.as_ref().and_then(|rule| rule(asked, response)) {
            Some(ttl) if ttl.is_zero() => Verdict::Never,
            Some(ttl) => Verdict::For(ttl),
            None => directives::verdict(response, self.default_ttl),
        }
    }
}

impl<S, A, B> Errand<S, A, B, S::Error>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    /// Goes to the application, and says what is to be kept; what is not for all is left for its sender.
    async fn go(&self, judge: &Judge, asked: &request::Parts, names: &[String]) -> Loaded<Stored> {
        let Some((mut inner, mut request)) = self.waiting.lock().take() else {
            // A refresh in the background: there is nobody whose request could be asked once more.
            return Loaded::do_not_store(Stored::Pass);
        };
        self.went.store(true, Ordering::Release);
        // The whole response is wanted, whatever part of it this visitor has already.
        for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_RANGE, header::RANGE] {
            request.headers_mut().remove(name);
        }
        let response = match inner.call(request).await {
            Ok(response) => response,
            Err(error) => return self.keep_for_sender(Err(error), Verdict::Failed),
        };
        let (parts, body) = response.into_parts();
        let ttl = match judge.verdict(asked, &parts) {
            Verdict::For(ttl) => ttl,
            other => {
                return self
                    .keep_for_sender(Ok(Response::from_parts(parts, CachedBody::passed(body))), other);
            }
        };
        let tags = all_tags(asked, &parts);
        let Some(varies) = directives::vary(&parts.headers) else {
            let response = Response::from_parts(parts, CachedBody::passed(body));
            return self.keep_for_sender(Ok(response), Verdict::Never);
        };
        if varies.iter().any(|name| !names.contains(name)) {
            let response = Response::from_parts(parts, CachedBody::passed(body));
            *self.own.lock() = Some(Ok(response));
            let mut all = [names, &varies].concat();
            all.sort_unstable();
            all.dedup();
            // Under the address itself; under a key with values it only sends others to look once more.
            let stored = Stored::Varies(all);
            return if names.is_empty() {
                Loaded::new(stored).ttl(ttl).tags(tags)
            } else {
                Loaded::do_not_store(Stored::Pass)
            };
        }
        match Gathered::of(body, judge.body_max).await {
            Gathered::Whole(bytes) => {
                Loaded::new(Stored::Answer(Answer::new(&parts, bytes))).ttl(ttl).tags(tags)
            }
            Gathered::Part(body) => {
                self.keep_for_sender(Ok(Response::from_parts(parts, body)), Verdict::Failed)
            }
        }
    }

    fn keep_for_sender(
        &self,
        own: Result<Response<CachedBody<B>>, S::Error>,
        verdict: Verdict,
    ) -> Loaded<Stored> {
        *self.own.lock() = Some(own);
        match verdict {
            Verdict::Never => Loaded::new(Stored::Pass).ttl(PASS_TTL),
            // It may be better the next time.
            _ => Loaded::do_not_store(Stored::Pass),
        }
    }
}

/// The tag of what is under a path.
fn path_tag(path: &str) -> String {
    format!("path {path}")
}

/// A tag of the application's, which no path can be mistaken for.
fn own_tag(tag: &str) -> String {
    format!("tag {tag}")
}

fn all_tags(asked: &request::Parts, response: &response::Parts) -> Vec<String> {
    let own = response.extensions.get::<Tags>().into_iter().flat_map(|Tags(tags)| tags.iter());
    own.map(|tag| own_tag(tag)).chain([path_tag(asked.uri.path())]).collect()
}

/// The key of a request by the headers that responses vary by: its address, and what it says in these headers.
fn key_of(parts: &request::Parts, names: &[String]) -> String {
    let host = parts.uri.authority().map(|authority| authority.as_str());
    let host = host.or_else(|| parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    let mut key = host.unwrap_or_default().to_ascii_lowercase();
    key.push_str(parts.uri.path_and_query().map_or("/", |path| path.as_str()));
    for name in names {
        key.push('\n');
        key.push_str(name);
        for value in parts.headers.get_all(name.as_str()) {
            key.push('=');
            key.push_str(&value.as_bytes().escape_ascii().to_string());
        }
    }
    key
}

fn copy<A>(request: &Request<A>) -> request::Parts {
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy.into_parts().0
}

fn copy_parts(parts: &request::Parts) -> request::Parts {
    copy(&Request::from_parts(parts.clone(), ()))
}
