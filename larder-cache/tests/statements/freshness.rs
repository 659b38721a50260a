//! Expiry, refreshing ahead, stale values: statements C1 to C9.

use crate::support::{Down, MS, SECOND, Source, on_all, policy, until};
use larder_cache::{LoadError, Loaded, Near, Policy, Tier, Write};

#[tokio::test]
async fn c1_a_hit_past_the_refresh_point_returns_at_once_and_starts_one_refresh() {
    on_all(async |backend| {
        let rule = policy().refresh_at(0.0);
        let (one, other) = (backend.cache().await.with(rule.clone()), backend.cache().await.with(rule));
        one.get_or_load("k", Source::open().load("first")).await.expect("it loads");
        let source = Source::new();
        for cache in [&one, &other, &one, &other] {
            let hit = cache.get_or_load("k", source.load("second")).await.expect("a hit");
            assert!(*hit == "first" && !hit.is_stale(), "{}", backend.name);
        }
        source.entered().await;
        tokio::time::sleep(MS * 30).await;
        assert_eq!(source.calls(), 1, "one refresh for both processes, {}", backend.name);
        source.let_go(1);
        until("it is refreshed", async || {
            one.get("k").await.expect("it answers").unwrap().as_str() == "second"
        })
        .await;
        // A refresh that fails leaves the entry as it was.
        let failing = Source::open();
        until("one has failed", async || {
            let hit = one.get_or_load("k", failing.give(Err(Down))).await.expect("a hit");
            assert_eq!(*hit, "second");
            one.stats().load_errors > 0
        })
        .await;
        assert_eq!(*one.get("k").await.expect("it answers").expect("it is there"), "second");
    })
    .await;
}

#[tokio::test]
async fn c4_an_entry_of_the_near_cache_lives_no_longer_than_that_of_the_backend() {
    on_all(async |backend| {
        let writer = backend.cache().await.with(Policy::ttl(MS * 1500));
        let reader = backend.builder().await.near(Near::bytes(1 << 20)).build().await.unwrap();
        writer.set("k", "value".to_owned()).await.expect("it works");
        tokio::time::sleep(MS * 100).await;
        let read = reader.get("k").await.expect("it answers").expect("it is there");
        assert!(read.tier() == Tier::Backend && read.expires_in() <= MS * 1410, "{:?}", read.expires_in());
        assert!(read.age() >= MS * 90, "{:?}", read.age());
        let near = reader.get("k").await.expect("it answers").expect("it is there");
        assert_eq!(near.tier(), Tier::Near);
        tokio::time::sleep(MS * 1500).await;
        assert!(reader.get("k").await.expect("it answers").is_none(), "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn c5_c6_stale_values_stand_in_for_a_source_that_is_down_and_then_the_error_surfaces() {
    on_all(async |backend| {
        let rule = Policy::ttl(MS * 50).stale_for(SECOND * 100).error_backoff(SECOND * 100);
        let cache = backend.cache().await.with(rule);
        let source = Source::open();
        cache.get_or_load("k", source.load("first")).await.expect("it loads");
        tokio::time::sleep(MS * 80).await;
        for _ in 0..3 {
            let stale = cache.get_or_load("k", source.give(Err(Down))).await.expect("stale");
            assert!(stale.is_stale() && *stale == "first", "{}", backend.name);
        }
        assert_eq!(source.calls(), 2, "one attempt in the time of the backoff");
        // The next fresh value has its own time, whatever the stale one had.
        let other = backend.cache().await.with(Policy::ttl(MS * 50).stale_for(MS * 50));
        let fresh = other.get_or_load("k", source.load("second")).await.expect("it loads");
        assert!(fresh.expires_in() <= MS * 50 && *fresh == "second");
        tokio::time::sleep(MS * 150).await;
        let outcome = other.get_or_load("k", source.give(Err(Down))).await;
        assert!(matches!(outcome, Err(LoadError::Source(_))), "{outcome:?} {}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn c7_remove_forbids_stale_values_and_expire_allows_them() {
    on_all(async |backend| {
        let rule = policy().stale_for(SECOND * 50);
        for has_near in [false, true] {
            let builder = backend.builder().await;
            let builder = if has_near { builder.near(Near::bytes(1 << 20)) } else { builder };
            let cache = builder.build().await.unwrap().with(rule.clone());
            let tagged = Write::new().tags(["red"]);
            for (how, is_allowed) in
                [("remove", false), ("expire", true), ("tag", false), ("expire tag", true)]
            {
                cache.set_with("k", "old".to_owned(), tagged.clone()).await.expect("it works");
                assert!(cache.get("k").await.expect("it answers").is_some());
                match how {
                    "remove" => cache.remove("k").await,
                    "expire" => cache.expire("k").await,
                    "tag" => cache.remove_tag("red").await,
                    _ => cache.expire_tag("red").await,
                }
                .expect("it works");
                assert!(cache.get("k").await.expect("it answers").is_none(), "get gives fresh values only");
                let outcome = cache.get_or_load("k", Source::open().give(Err(Down))).await;
                match is_allowed {
                    true => assert!(outcome.expect("stale").is_stale(), "{how} {}", backend.name),
                    false => assert!(matches!(outcome, Err(LoadError::Source(_))), "{how} {}", backend.name),
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn c8_the_soft_timeout_gives_the_stale_value_and_the_load_goes_on() {
    on_all(async |backend| {
        let rule = policy().stale_for(SECOND * 50).soft_timeout(MS * 30).hard_timeout(MS * 120);
        let cache = backend.cache().await.with(rule);
        cache.set("k", "old".to_owned()).await.expect("it works");
        cache.expire("k").await.expect("it works");
        let source = Source::new();
        let stale = cache.get_or_load("k", source.load("new")).await.expect("stale");
        assert!(stale.is_stale() && *stale == "old", "{}", backend.name);
        source.let_go(1);
        until("the load is stored", async || cache.get("k").await.expect("it answers").is_some()).await;
        // Without anything stale the caller waits for the hard time-out.
        let source = Source::new();
        let outcome = cache.get_or_load("other", source.load("never")).await;
        assert!(matches!(outcome, Err(LoadError::TimedOut(time)) if time == MS * 120), "{}", backend.name);
        source.let_go(1);
    })
    .await;
}

#[tokio::test]
async fn c9_not_found_is_kept_for_a_while_and_never_hides_what_was_written() {
    on_all(async |backend| {
        for has_near in [false, true] {
            let builder = backend.builder().await;
            let builder = if has_near { builder.near(Near::bytes(1 << 20)) } else { builder };
            let cache = builder.build().await.unwrap().with(policy().negative_ttl(SECOND * 100));
            let source = Source::open();
            for _ in 0..3 {
                let found = cache.find_or_load("k", source.give(Ok(Loaded::not_found()))).await;
                assert!(found.expect("it loads").is_none());
                let outcome = cache.get_or_load("k", source.give(Ok(Loaded::not_found()))).await;
                assert!(matches!(outcome, Err(LoadError::NotFound)));
            }
            assert_eq!(source.calls(), 1, "{}", backend.name);
            cache.set("k", "born".to_owned()).await.expect("it works");
            assert_eq!(*cache.get("k").await.expect("it answers").expect("it is there"), "born");
            cache.remove("k").await.expect("it works");
            // A "not found" from before a write.
            let held = Source::new();
            let load = tokio::spawn({
                let (cache, load) = (cache.clone(), held.give(Ok(Loaded::not_found())));
                async move { cache.find_or_load("k", load).await }
            });
            held.entered().await;
            cache.write("k", async { Ok::<_, Down>("born".to_owned()) }).await.expect("it works");
            held.let_go(1);
            assert!(load.await.expect("no panic").expect("its own").is_none());
            assert_eq!(*cache.get("k").await.expect("it answers").expect("it is there"), "born");
            cache.remove("k").await.expect("it works");
            // Its time ends.
            let before = source.calls();
            let brief = cache.with(policy().negative_ttl(MS * 20));
            for _ in 0..2 {
                brief.find_or_load("k", source.give(Ok(Loaded::not_found()))).await.expect("it loads");
                tokio::time::sleep(MS * 50).await;
            }
            assert_eq!(source.calls(), before + 2, "{}", backend.name);
        }
    })
    .await;
}

#[tokio::test]
async fn a_loader_chooses_time_and_storing_and_may_say_not_modified() {
    on_all(async |backend| {
        let cache = backend.cache().await.with(policy().stale_for(SECOND * 50));
        let load = |loaded: Loaded<String>| Source::open().give(Ok(loaded));
        let short = Loaded::new("short".to_owned()).ttl(SECOND * 5).etag("\"1\"");
        cache.get_or_load("k", load(short)).await.expect("it loads");
        let kept = cache.get("k").await.expect("it answers").expect("it is there");
        assert!(kept.expires_in() <= SECOND * 5 && kept.etag() == Some("\"1\""), "{}", backend.name);
        cache.get_or_load("other", load(Loaded::do_not_store("once".to_owned()))).await.expect("it loads");
        assert!(cache.get("other").await.expect("it answers").is_none());
        cache.expire("k").await.expect("it works");
        let renewed = cache
            .get_or_load("k", |ctx| {
                assert_eq!((ctx.stale().map(String::as_str), ctx.etag()), (Some("short"), Some("\"1\"")));
                async { Ok::<_, Down>(Loaded::not_modified()) }
            })
            .await;
        assert_eq!(*renewed.expect("it is still right"), "short");
        let kept = cache.get("k").await.expect("it answers").expect("it is fresh again");
        assert!(kept.expires_in() > SECOND * 50, "{}", backend.name);
        let nothing = cache.get_or_load("third", load(Loaded::not_modified())).await;
        assert!(matches!(nothing, Err(LoadError::Unchanged)));
    })
    .await;
}

#[tokio::test]
async fn a_sliding_entry_lives_as_long_as_it_is_read() {
    on_all(async |backend| {
        let cache = backend.cache().await.with(Policy::ttl(MS * 1500).sliding());
        cache.set("read", "value".to_owned()).await.expect("it works");
        cache.set("unread", "value".to_owned()).await.expect("it works");
        for _ in 0..8 {
            tokio::time::sleep(MS * 300).await;
            assert!(cache.get("read").await.expect("it answers").is_some(), "{}", backend.name);
        }
        assert!(cache.get("unread").await.expect("it answers").is_none());
    })
    .await;
}
