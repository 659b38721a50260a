//! One load per key: statements A1 to A11.

use crate::support::{Down, MS, SECOND, Source, on_all, policy, until};
use larder_cache::{Cache, LoadError, Loaded, Policy};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a1_a_thousand_misses_of_one_key_load_once_and_share_the_value() {
    on_all(async |backend| {
        let (cache, source) = (backend.cache().await, Source::new());
        let callers: Vec<_> = (0..1000)
            .map(|_| {
                let (cache, load) = (cache.clone(), source.load("value"));
                tokio::spawn(async move { cache.get_or_load("k", load).await })
            })
            .collect();
        source.entered().await;
        source.let_go(1);
        let mut values = Vec::new();
        for caller in callers {
            values.push(caller.await.expect("no panic").expect("it is loaded"));
        }
        assert_eq!(source.calls(), 1, "{}", backend.name);
        assert!(values.iter().all(|value| **value == "value"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_one_process_loads_and_the_others_wait() {
    on_all(async |backend| {
        let source = Source::new();
        let mut callers = Vec::new();
        for _ in 0..4 {
            let (cache, load) = (backend.cache().await, source.load("value"));
            callers.push(tokio::spawn(async move { cache.get_or_load("k", load).await }));
        }
        source.entered().await;
        tokio::time::sleep(MS * 30).await;
        source.let_go(1);
        for caller in callers {
            assert_eq!(*caller.await.expect("no panic").expect("it is loaded"), "value");
        }
        assert_eq!(source.calls(), 1, "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn a2_a_process_that_died_in_a_load_delays_others_by_its_lease_only() {
    on_all(async |backend| {
        let dead = backend.cache().await.with(policy().load_max(MS * 300).cancel_abandoned_loads());
        // A load that is never polled to its end, in a runtime that is gone.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let source = Source::new();
        let load = source.load("lost");
        match backend.server.as_ref().map(crate::support::url) {
            None => _ = runtime.spawn(async move { dead.get_or_load("k", load).await }),
            Some(url) => {
                runtime.spawn(async move {
                    let larder = larder_client::Larder::open(&url).await.expect("the server is there");
                    let builder = Cache::<str, String>::builder(&larder, "test");
                    let cache =
                        builder.policy(policy().load_max(MS * 300)).build().await.expect("it makes sense");
                    cache.get_or_load("k", load).await
                });
            }
        }
        source.entered().await;
        runtime.shutdown_background();
        let other = backend.cache().await;
        let value = other.get_or_load("k", Source::open().load("value")).await.expect("it takes over");
        assert_eq!(*value, "value", "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn a3_a_panic_reaches_all_who_wait_and_the_next_call_loads_again() {
    on_all(async |backend| {
        let cache = backend.cache().await;
        let load = |_| async {
            tokio::time::sleep(MS * 20).await;
            if true {
                panic!("oh no");
            }
            Ok::<String, Down>(String::new())
        };
        let (one, two) = tokio::join!(cache.get_or_load("k", load), cache.get_or_load("k", load));
        for outcome in [one, two] {
            assert!(matches!(outcome, Err(LoadError::Panicked(text)) if text == "oh no"));
        }
        // One that panics before it gives its future.
        let outcome = cache
            .get_or_load("k", |_| -> std::future::Ready<Result<String, Down>> { panic!("{} no", "oh") })
            .await;
        assert!(matches!(outcome, Err(LoadError::Panicked(text)) if text == "oh no"));
        assert_eq!(*cache.get_or_load("k", Source::open().load("value")).await.expect("again"), "value");
        assert_eq!(cache.stats().panics, 2);
    })
    .await;
}

#[tokio::test]
async fn a4_a_load_goes_on_without_the_caller_that_began_it_and_without_one_that_is_not_polled() {
    on_all(async |backend| {
        let (cache, source) = (backend.cache().await, Source::new());
        let mut first = Box::pin(cache.get_or_load("k", source.load("value")));
        let mut asleep = Box::pin(cache.get_or_load("k", source.load("never")));
        tokio::select! {
            biased;
            _ = &mut first => unreachable!("the load is held"),
            _ = &mut asleep => unreachable!("the load is held"),
            () = source.entered() => {}
        }
        drop(first);
        let waiting = tokio::spawn({
            let (cache, load) = (cache.clone(), source.load("never"));
            async move { cache.get_or_load("k", load).await }
        });
        source.let_go(1);
        assert_eq!(*waiting.await.expect("no panic").expect("it is loaded"), "value");
        assert_eq!(source.calls(), 1, "{}", backend.name);
        // Woken later, it has its value all the same.
        assert_eq!(*asleep.await.expect("it was loaded"), "value");
    })
    .await;
}

#[tokio::test]
async fn a5_without_any_caller_left_a_load_goes_on_or_ends_as_the_policy_says() {
    on_all(async |backend| {
        for is_cancelled in [false, true] {
            let rule = if is_cancelled { policy().cancel_abandoned_loads() } else { policy() };
            let (cache, source) = (backend.cache().await.with(rule), Source::new());
            let key = if is_cancelled { "cancelled" } else { "goes on" };
            let caller = tokio::spawn({
                let (cache, load) = (cache.clone(), source.load("value"));
                async move { cache.get_or_load(key, load).await }
            });
            source.entered().await;
            caller.abort();
            let _ = caller.await;
            if is_cancelled {
                until("the load has ended", async || cache.loads_under_way() == 0).await;
                // Its lease is given back: another process loads at once.
                let other = backend.cache().await;
                let value = other.get_or_load(key, Source::open().load("other")).await.expect("it loads");
                assert_eq!(*value, "other");
            } else {
                source.let_go(1);
                until("the value is there", async || cache.get(key).await.expect("it answers").is_some())
                    .await;
            }
            until("nothing is left", async || cache.loads_under_way() == 0).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a6_a_load_that_hangs_is_left_behind_and_never_stored() {
    on_all(async |backend| {
        let rule = policy().load_max(MS * 100).hard_timeout(MS * 150);
        let cache = backend.cache().await.with(rule);
        // It hangs in a way that cannot be cancelled: on a thread.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let entered = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&entered);
        let hung = cache.get_or_load("k", move |_| async move {
            seen.fetch_add(1, Ordering::SeqCst);
            let wait = tokio::task::spawn_blocking(move || _ = held.recv());
            let _ = wait.await;
            Ok::<_, Down>("late".to_owned())
        });
        assert!(matches!(hung.await, Err(LoadError::TimedOut(_))), "{}", backend.name);
        let next = cache.with(policy()).get_or_load("k", Source::open().load("value")).await;
        assert_eq!(*next.expect("a new load"), "value");
        let _ = release.send(());
        tokio::time::sleep(MS * 30).await;
        assert_eq!(**cache.get("k").await.expect("it answers").as_ref().expect("it is there"), "value");
    })
    .await;
}

#[tokio::test]
async fn a7_an_error_reaches_those_who_wait_and_later_calls_try_again_after_the_backoff() {
    on_all(async |backend| {
        let cache = backend.cache().await;
        let source = Source::new();
        source.let_go(1);
        let both = tokio::join!(
            cache.get_or_load("k", source.give(Err(Down))),
            cache.get_or_load("k", source.give(Err(Down)))
        );
        for outcome in [both.0, both.1] {
            assert!(matches!(outcome, Err(LoadError::Source(error)) if *error == Down));
        }
        assert_eq!(*cache.get_or_load("k", Source::open().load("value")).await.expect("again"), "value");
        let patient = cache.with(policy().error_backoff(SECOND * 100));
        let source = Source::open();
        let first = patient.get_or_load("other", source.give(Err(Down))).await;
        let second = patient.get_or_load("other", source.load("too soon")).await;
        assert!(matches!((first, second), (Err(LoadError::Source(_)), Err(LoadError::Source(_)))));
        assert_eq!(source.calls(), 1, "{}", backend.name);
        let brief = cache.with(policy().error_backoff(MS * 20));
        let failed = brief.get_or_load("third", source.give(Err(Down))).await;
        assert!(matches!(failed, Err(LoadError::Source(_))));
        tokio::time::sleep(MS * 40).await;
        let value = brief.get_or_load("third", source.load("value")).await.expect("the time is over");
        assert_eq!(*value, "value");
    })
    .await;
}

#[tokio::test]
async fn a8_a_loader_that_asks_for_its_own_key_is_told_so() {
    on_all(async |backend| {
        let cache = backend.cache().await;
        let inner = cache.clone();
        let outcome = cache
            .get_or_load("k", move |_| async move {
                // By way of another key.
                let again = inner.clone();
                let other = inner
                    .get_or_load("other", move |_| async move {
                        match again.get_or_load("k", Source::open().load("never")).await {
                            Err(LoadError::Recursive) => Ok::<_, Down>("told".to_owned()),
                            other => panic!("{other:?}"),
                        }
                    })
                    .await;
                Ok::<_, Down>(other.expect("it is loaded").to_string())
            })
            .await;
        assert_eq!(*outcome.expect("no deadlock"), "told", "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn a9_who_comes_after_an_invalidation_never_gets_a_value_from_before() {
    on_all(async |backend| {
        for how in ["remove", "expire", "tag", "clear", "update"] {
            let cache = backend.cache().await;
            let (old, young) = (Source::new(), Source::open());
            let first = tokio::spawn({
                let load = old.give(Ok(Loaded::new("old".to_owned()).tags(["red"])));
                let cache = cache.clone();
                async move { cache.get_or_load("k", load).await }
            });
            old.entered().await;
            match how {
                "remove" => cache.remove("k").await.expect("it works"),
                "expire" => cache.expire("k").await.expect("it works"),
                "tag" => cache.remove_tag("red").await.expect("it works"),
                "clear" => cache.clear().await.expect("it works"),
                _ => cache.begin_update(&["k"]).await.expect("it works").end().await.expect("it works"),
            }
            let load = young.give(Ok(Loaded::new("young".to_owned()).tags(["red"])));
            let second = tokio::spawn({
                let cache = cache.clone();
                async move { cache.get_or_load("k", load).await }
            });
            if how == "tag" || how == "clear" {
                // The lease is still that of the first; its value is refused at its end, and then the second loads.
                tokio::time::sleep(MS * 20).await;
                old.let_go(1);
            }
            assert_eq!(
                *second.await.expect("no panic").expect("it loads"),
                "young",
                "{how} {}",
                backend.name
            );
            old.let_go(1);
            assert_eq!(*first.await.expect("no panic").expect("its own value"), "old");
            let kept = cache.get("k").await.expect("it answers");
            assert!(kept.is_none_or(|kept| *kept == "young"), "{how} {}", backend.name);
            cache.remove("k").await.expect("it works");
        }
    })
    .await;
}

#[tokio::test]
async fn a10_other_types_and_other_caches_never_share_a_load() {
    on_all(async |backend| {
        let larder = backend.node().await;
        let texts: Cache<str, String> =
            Cache::builder(&larder, "one").policy(policy()).build().await.unwrap();
        let others: Cache<str, String> =
            Cache::builder(&larder, "two").policy(policy()).build().await.unwrap();
        let numbers: Cache<str, u64> =
            Cache::builder(&larder, "three").policy(policy()).build().await.unwrap();
        let (one, two, three) = tokio::join!(
            texts.get_or_load("k", Source::open().load("one")),
            others.get_or_load("k", Source::open().load("two")),
            numbers.get_or_load("k", |_| async { Ok::<_, Down>(3) }),
        );
        assert_eq!((one.unwrap().as_str(), two.unwrap().as_str(), *three.unwrap()), ("one", "two", 3));
        // Another type under the same name does not decode, and is a miss.
        let wrong: Cache<str, u64> = Cache::builder(&larder, "one").policy(policy()).build().await.unwrap();
        assert!(wrong.get("k").await.unwrap().is_none());
        assert_eq!(*wrong.get_or_load("k", |_| async { Ok::<_, Down>(4) }).await.unwrap(), 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a11_no_load_leaves_anything_behind() {
    let larder = larder_client::Larder::open("embedded://").await.unwrap();
    let cache: Cache<u32, u32> = Cache::builder(&larder, "test").policy(policy()).build().await.unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let cache = cache.clone();
            tokio::spawn(async move {
                for n in 0..5000 {
                    let key = task * 5000 + n;
                    let _ = cache
                        .get_or_load(
                            &key,
                            move |_| async move { if key % 7 == 0 { Err(Down) } else { Ok(key) } },
                        )
                        .await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    until("the table is empty", async || cache.loads_under_way() == 0).await;
    assert_eq!(cache.stats().loads, 20_000);
}

#[tokio::test]
async fn callers_never_wait_longer_than_the_hard_timeout() {
    on_all(async |backend| {
        let rule: Policy = policy().hard_timeout(MS * 50);
        let (cache, source) = (backend.cache().await.with(rule), Source::new());
        let outcome = cache.get_or_load("k", source.load("value")).await;
        assert!(matches!(outcome, Err(LoadError::TimedOut(time)) if time == Duration::from_millis(50)));
        source.let_go(1);
        until("the load has gone on", async || cache.get("k").await.expect("it answers").is_some()).await;
    })
    .await;
}
