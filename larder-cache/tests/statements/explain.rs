//! What a cache says about its entries.

use crate::support::{Down, SECOND, Source, on_all, policy};
use larder_cache::{Cache, Holder, Loaded, Near, Why, Write};
use larder_client::Command;

#[tokio::test]
async fn explain_names_the_reason_of_every_state() {
    on_all(async |backend| {
        let cache = backend.cache().await.with(policy().negative_ttl(SECOND * 50));
        let why = async |key: &str| cache.explain(key).await.expect("it answers").why;
        let tagged = || Write::new().tags(["red"]);
        assert_eq!(why("k").await, Why::NotThere);
        cache.set_with("k", "value".to_owned(), tagged()).await.expect("it works");
        assert_eq!(why("k").await, Why::Fresh);
        cache.remove_tag("red").await.expect("it works");
        assert_eq!(why("k").await, Why::TagRemoved("red".to_owned()));
        cache.set_with("k", "value".to_owned(), tagged()).await.expect("it works");
        cache.clear().await.expect("it works");
        assert!(matches!(why("k").await, Why::Cleared { loaded, cleared } if loaded < cleared));
        let stale = cache.with(policy().stale_for(SECOND * 50));
        stale.set_with("k", "value".to_owned(), tagged()).await.expect("it works");
        stale.expire_tag("red").await.expect("it works");
        assert_eq!(why("k").await, Why::StaleByTag("red".to_owned()));
        stale.set("k", "value".to_owned()).await.expect("it works");
        stale.expire("k").await.expect("it works");
        assert_eq!(why("k").await, Why::StaleByTime);
        cache.find_or_load("none", Source::open().give(Ok(Loaded::not_found()))).await.expect("it loads");
        assert_eq!(why("none").await, Why::KnownNotToExist, "{}", backend.name);
        let other: Cache<str, String> = Cache::builder(&backend.node().await, "test")
            .schema("other/2")
            .build()
            .await
            .expect("it makes sense");
        assert!(matches!(other.explain("none").await.expect("it answers").why, Why::Undecodable(_)));
        let update = cache.begin_update(&["k"]).await.expect("it begins");
        assert!(matches!(cache.explain("k").await.expect("it answers").held, Holder::Update(_)));
        update.end().await.expect("it ends");
        let source = Source::new();
        let load = tokio::spawn({
            let (cache, load) = (cache.clone(), source.load("value"));
            async move { cache.get_or_load("k", load).await }
        });
        source.entered().await;
        let told = cache.explain("k").await.expect("it answers");
        assert!(matches!(told.held, Holder::Load(_)), "{told} {}", backend.name);
        source.let_go(1);
        load.await.expect("no panic").expect("it loads");
        backend.node().await.execute(Command::of(["DEL", "{cache:test:0}:meta"])).await.expect("it works");
        assert_eq!(why("k").await, Why::FromBeforeALoss, "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn stats_count_what_happened() {
    on_all(async |backend| {
        let cache = backend.builder().await.near(Near::bytes(1 << 20)).build().await.expect("it makes sense");
        cache.get("k").await.expect("it answers");
        cache.get_or_load("k", Source::open().load("value")).await.expect("it loads");
        cache.get("k").await.expect("it answers");
        let _ = cache.get_or_load("bad", Source::open().give(Err(Down))).await;
        let stats = cache.stats();
        assert_eq!((stats.misses, stats.loads, stats.load_errors), (3, 2, 1), "{}", backend.name);
        assert_eq!(stats.near_hits + stats.backend_hits, 1);
        assert!((stats.hit_ratio() - 0.25).abs() < 1e-9);
    })
    .await;
}
