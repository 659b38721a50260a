//! The backends that the conformance suite runs against.

use larder_client::Larder;
use std::future::Future;
use std::time::Duration;
use testkit::{Options, Server};

/// A backend to test, with its server if it needs one.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) larder: Larder,
    pub(crate) server: Option<Server>,
}

/// The backends that are there: the engine in this process, our server, and a real redis-server.
pub(crate) async fn all() -> Vec<Backend> {
    let mut all = vec![Backend {
        name: "embedded",

        larder: Larder::open("embedded://").await.expect("the engine opens"),
        server: None,
    }];
    let servers = [
        ("larder-server", Some(Server::start(Options::larder()))),
        ("redis-server", Server::oracle_or_skip()),
    ];
    for (name, server) in servers {
        let Some(server) = server else { continue };
        let url = format!("redis://127.0.0.1:{}", server.port());
        let larder = Larder::open(&url).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        all.push(Backend { name, larder, server: Some(server) });
    }
    all
}

/// Runs something on each of them, one after the other, and never for ever.
pub(crate) async fn on_all<F: Future<Output = ()>>(run: impl Fn(Backend) -> F) {
    for backend in all().await {
        let name = backend.name;
        let done = tokio::time::timeout(Duration::from_secs(60), run(backend)).await;
        done.unwrap_or_else(|_| panic!("{name}: no end"));
    }
}
