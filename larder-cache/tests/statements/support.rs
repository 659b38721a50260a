//! Backends to keep caches on, and loaders that stop where they are told to.

use larder_cache::{Builder, Cache, LoadCtx, Loaded, Policy};
use larder_client::Larder;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use testkit::Server;
use tokio::sync::Semaphore;

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Somewhere to keep entries, with its server if it needs one.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    larder: Larder,
    pub(crate) server: Option<Server>,
    url: Option<String>,
    pub(crate) namespace: String,
}

impl Backend {
    /// A handle of another process: with connections of its own, if there are any.
    pub(crate) async fn node(&self) -> Larder {
        match &self.url {
            Some(url) => Larder::open(url).await.expect("the server is there"),
            None => self.larder.clone(),
        }
    }

    pub(crate) async fn builder(&self) -> Builder<str, String> {
        Cache::builder(&self.node().await, &self.namespace).policy(policy())
    }

    pub(crate) async fn cache(&self) -> Cache<str, String> {
        self.builder().await.build().await.expect("the settings make sense")
    }
}

/// Failures are not remembered, values live for long, and patience lasts.
pub(crate) fn policy() -> Policy {
    let patience = SECOND * 60;
    Policy::ttl(SECOND * 100)
        .error_backoff(Duration::ZERO)
        .hard_timeout(patience)
        .load_max(patience)
        .backend_timeout(patience)
}

pub(crate) fn url(server: &Server) -> String {
    format!("redis://127.0.0.1:{}", server.port())
}

/// larder-server and a real redis-server; none if another backend is given.
pub(crate) async fn servers() -> Vec<Backend> {
    if std::env::var_os("LARDER_CACHE_URL").is_some() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (name, server) in Server::of_each_kind() {
        let larder = Larder::open(&url(&server)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let (url, namespace) = (Some(url(&server)), "test".to_owned());
        all.push(Backend { name, larder, server: Some(server), url, namespace });
    }
    all
}

/// Those, and the engine in this process; or the one that `LARDER_CACHE_URL` names, which others use as well.
pub(crate) async fn backends() -> Vec<Backend> {
    if let Ok(url) = std::env::var("LARDER_CACHE_URL") {
        let larder = Larder::open(&url).await.expect("it is there");
        let namespace = format!("test-{:x}", fastrand::u64(..));
        return vec![Backend { name: "given", larder, server: None, url: Some(url), namespace }];
    }
    let larder = Larder::open("embedded://").await.expect("the engine opens");
    let namespace = "test".to_owned();
    let mut all = vec![Backend { name: "embedded", larder, server: None, url: None, namespace }];
    all.extend(servers().await);
    all
}

/// Runs something on all backends at the same time, and never for ever.
pub(crate) async fn on_all<F: Future<Output = ()>>(run: impl Fn(Backend) -> F) {
    let all = backends().await.into_iter().map(|backend| {
        let name = backend.name;
        let run = tokio::time::timeout(Duration::from_secs(100), run(backend));
        async move { run.await.unwrap_or_else(|_| panic!("{name}: no end")) }
    });
    futures_util::future::join_all(all).await;
}

/// An error of a source.
#[derive(Debug, PartialEq)]
pub(crate) struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source is down")
    }
}

/// A source whose loads stop before they answer, until they are let go.
#[derive(Clone)]
pub(crate) struct Source {
    entered: Arc<Semaphore>,
    go: Arc<Semaphore>,
    calls: Arc<AtomicU32>,
}

type Loading = Pin<Box<dyn Future<Output = Result<Loaded<String>, Down>> + Send>>;

impl Source {
    pub(crate) fn new() -> Source {
        let closed = || Arc::new(Semaphore::new(0));
        Source { entered: closed(), go: closed(), calls: Arc::default() }
    }

    /// One whose loads answer at once.
    pub(crate) fn open() -> Source {
        let source = Source::new();
        source.let_go(1_000_000);
        source
    }

    /// A loader of this value.
    pub(crate) fn load(&self, value: &str) -> impl FnOnce(LoadCtx<String>) -> Loading + Send + use<> {
        self.give(Ok(Loaded::new(value.to_owned())))
    }

    /// A loader that ends so.
    pub(crate) fn give(
        &self,
        end: Result<Loaded<String>, Down>,
    ) -> impl FnOnce(LoadCtx<String>) -> Loading + Send + use<> {
        let source = self.clone();
        move |_| {
            Box::pin(async move {
                source.hold().await;
                end
            })
        }
    }

    /// What a load does: it says that it has begun, and waits.
    pub(crate) async fn hold(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.entered.add_permits(1);
        self.go.acquire().await.expect("it is never closed").forget();
    }

    /// Waits until one more load has begun.
    pub(crate) async fn entered(&self) {
        self.entered.acquire().await.expect("it is never closed").forget();
    }

    /// Lets loads answer.
    pub(crate) fn let_go(&self, loads: usize) {
        self.go.add_permits(loads);
    }

    /// How many loads have begun so far.
    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..2000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(MS * 5).await;
    }
    panic!("never: {what}");
}
