//! Never a stale value left behind: statements B1 to B9.

use crate::support::{Backend, Down, MS, SECOND, Source, on_all, policy, until};
use larder_cache::{Cache, Loaded, Near};
use larder_client::Larder;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What can happen to an entry while it is loaded.
const CHANGES: &[&str] = &["remove", "set", "expire", "tag", "expire tag", "clear", "update", "write"];

async fn change(cache: &Cache<str, String>, how: &str) {
    let done = match how {
        "remove" => cache.remove("k").await,
        "set" => cache.set("k", "set".to_owned()).await,
        "expire" => cache.expire("k").await,
        "tag" => cache.remove_tag("red").await,
        "expire tag" => cache.expire_tag("red").await,
        "clear" => cache.clear().await,
        "update" => cache.begin_update(&["k"]).await.expect("it works").end().await,
        "write" => {
            let written = cache.write("k", async { Ok::<_, Down>("set".to_owned()) }).await;
            assert_eq!(*written.expect("it works"), "set");
            Ok(())
        }
        _ => unreachable!(),
    };
    done.unwrap_or_else(|error| panic!("{how}: {error}"));
}

/// A cache with or without a near cache.
async fn cache(backend: &Backend, has_near: bool) -> Cache<str, String> {
    let builder = backend.builder().await;
    let builder = if has_near { builder.near(Near::bytes(1 << 20)) } else { builder };
    builder.build().await.expect("the settings make sense")
}

fn red(value: &str) -> Result<Loaded<String>, Down> {
    // The tag is known at the end of the load only.
    Ok(Loaded::new(value.to_owned()).tags(["red"]))
}

/// Holds a load, changes the entry, lets the load end; returns what there is then.
async fn race(loads: &Cache<str, String>, changes: &Cache<str, String>, how: &str) -> Option<String> {
    let source = Source::new();
    let load = tokio::spawn({
        let (cache, load) = (loads.clone(), source.give(red("old")));
        async move { cache.get_or_load("k", load).await }
    });
    source.entered().await;
    change(changes, how).await;
    source.let_go(1);
    assert_eq!(*load.await.expect("no panic").expect("its own value"), "old", "{how}");
    until("the load is over", async || loads.loads_under_way() == 0).await;
    loads.get("k").await.expect("it answers").map(|entry| entry.to_string())
}

fn expected(how: &str) -> Option<String> {
    matches!(how, "set" | "write").then(|| "set".to_owned())
}

#[tokio::test]
async fn b1_b2_b3_a_change_during_a_load_is_not_undone_by_it() {
    on_all(async |backend| {
        for has_near in [false, true] {
            let cache = cache(&backend, has_near).await;
            for how in CHANGES {
                let left = race(&cache, &cache, how).await;
                assert_eq!(left, expected(how), "{how}, near {has_near}, {}", backend.name);
                cache.clear().await.expect("it works");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn b2_b4_a_change_by_another_process_is_not_undone_either() {
    on_all(async |backend| {
        for has_near in [false, true] {
            let (one, other) = (cache(&backend, has_near).await, cache(&backend, false).await);
            for how in CHANGES {
                let left = race(&one, &other, how).await;
                assert_eq!(left, expected(how), "{how}, near {has_near}, {}", backend.name);
                // What the near cache had before is on its way out by the feed.
                other.clear().await.expect("it works");
                until("it is cleared", async || one.get("k").await.expect("it answers").is_none()).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn b2_a_refresh_in_the_background_is_not_stored_over_a_change() {
    on_all(async |backend| {
        for how in CHANGES {
            let cache = cache(&backend, false).await.with(policy().refresh_at(0.0));
            cache.get_or_load("k", Source::open().give(red("first"))).await.expect("it loads");
            let source = Source::new();
            let hit = cache.get_or_load("k", source.give(red("refreshed"))).await.expect("a hit");
            assert_eq!(*hit, "first", "{how}");
            source.entered().await;
            change(&cache, how).await;
            source.let_go(1);
            until("the refresh is over", async || cache.loads_under_way() == 0).await;
            let left = cache.get("k").await.expect("it answers").map(|entry| entry.to_string());
            assert_eq!(left, expected(how), "{how} {}", backend.name);
            cache.clear().await.expect("it works");
        }
    })
    .await;
}

#[tokio::test]
async fn b2_a_load_that_goes_on_after_the_soft_timeout_is_not_stored_over_a_change() {
    on_all(async |backend| {
        for how in CHANGES {
            let rule = policy().stale_for(SECOND * 50).stale_while_revalidate();
            let cache = cache(&backend, false).await.with(rule);
            cache.get_or_load("k", Source::open().give(red("first"))).await.expect("it loads");
            cache.expire("k").await.expect("it works");
            let source = Source::new();
            let stale = cache.get_or_load("k", source.give(red("late"))).await.expect("stale");
            assert!(stale.is_stale() && *stale == "first", "{how}");
            source.entered().await;
            change(&cache, how).await;
            source.let_go(1);
            until("the load is over", async || cache.loads_under_way() == 0).await;
            let left = cache.get("k").await.expect("it answers").map(|entry| entry.to_string());
            assert_eq!(left, expected(how), "{how} {}", backend.name);
            cache.clear().await.expect("it works");
        }
    })
    .await;
}

#[tokio::test]
async fn b6_b9_whatever_the_order_the_value_kept_was_loaded_after_the_last_change() {
    on_all(async |backend| {
        // Loads 1 and 2 begin and end, changes 1 and 2 happen, in all orders in which a load ends after it begins.
        let orders = orders(&["b1", "e1", "b2", "e2", "c1", "c2"]);
        assert_eq!(orders.len(), 180);
        // All of them in this process; on servers every ninth.
        let step = if backend.server.is_none() { 1 } else { 9 };
        let caches = [cache(&backend, true).await, cache(&backend, false).await];
        for order in orders.iter().step_by(step) {
            b6_in_order(&caches, order).await;
        }
    })
    .await;
}

async fn b6_in_order(caches: &[Cache<str, String>; 2], order: &[&str]) {
    let sources = [Source::new(), Source::new()];
    let mut loads = [None, None];
    let changes = Arc::new(AtomicU32::new(0));
    for step in order {
        let which = usize::from(step.as_bytes()[1] - b'1');
        let cache = &caches[which];
        match step.as_bytes()[0] {
            b'b' => {
                // The value is always the same text (B9); a tag tells when the source was read.
                let (source, changes) = (sources[which].clone(), Arc::clone(&changes));
                let load = move |_| async move {
                    let tag = format!("after {}", changes.load(Ordering::SeqCst));
                    source.hold().await;
                    Ok::<_, Down>(Loaded::new("same".to_owned()).tags([tag]))
                };
                let cache = cache.clone();
                loads[which] = Some(tokio::spawn(async move { cache.get_or_load("k", load).await }));
                // It may wait for the other load, or find its value.
                let entered = tokio::time::timeout(MS * 4, sources[which].entered()).await;
                let _ = entered;
            }
            b'e' => sources[which].let_go(1),
            _ => {
                changes.fetch_add(1, Ordering::SeqCst);
                caches[which].remove("k").await.expect("it works");
            }
        }
        tokio::task::yield_now().await;
    }
    for load in loads.into_iter().flatten() {
        load.await.expect("no panic").expect("it loads");
    }
    for cache in caches {
        until("no load is left", async || cache.loads_under_way() == 0).await;
    }
    // What the other process has changed reaches the near cache by the feed.
    tokio::time::sleep(MS).await;
    for cache in &caches[1..] {
        if let Some(kept) = cache.get("k").await.expect("it answers") {
            let tag = format!("after {}", changes.load(Ordering::SeqCst));
            let tags: Vec<&[u8]> = kept.tags().collect();
            assert_eq!(tags, [tag.as_bytes()], "{order:?}");
        }
    }
    caches[0].remove("k").await.expect("it works");
}

/// All orders of steps in which b1 is before e1 and b2 before e2.
fn orders<'a>(steps: &[&'a str]) -> Vec<Vec<&'a str>> {
    if steps.is_empty() {
        return vec![Vec::new()];
    }
    let is_free = |step: &str| !step.starts_with('e') || !steps.contains(&step.replace('e', "b").as_str());
    let mut all = Vec::new();
    for (at, step) in steps.iter().enumerate().filter(|(_, step)| is_free(step)) {
        let rest: Vec<&str> = [&steps[..at], &steps[at + 1..]].concat();
        for mut order in orders(&rest) {
            order.insert(0, step);
            all.push(order);
        }
    }
    all
}

#[tokio::test]
async fn what_was_written_before_the_backend_lost_its_memory_is_never_served() {
    on_all(async |backend| {
        let cache = cache(&backend, true).await;
        let source = Source::new();
        let load = tokio::spawn({
            let (cache, load) = (cache.clone(), source.give(red("old")));
            async move { cache.get_or_load("k", load).await }
        });
        source.entered().await;
        cache.set("other", "value".to_owned()).await.expect("it works");
        let larder: Larder = backend.node().await;
        larder.execute(larder_client::Command::new("FLUSHALL")).await.expect("it works");
        source.let_go(1);
        load.await.expect("no panic").expect("its own value");
        assert!(cache.with(policy()).get("k").await.expect("it answers").is_none(), "{}", backend.name);
        until("the near cache has heard of it", async || {
            cache.get("other").await.expect("it answers").is_none()
        })
        .await;
    })
    .await;
}

#[test]
fn b8_no_clock_that_somebody_can_set_is_read() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // What measures how long news take, and decides nothing.
            if path.ends_with("src/lag.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("it can be read");
            // Dates of others may be compared with each other.
            for reading in ["SystemTime::now", ".elapsed()"] {
                let is_of_dates = text.contains("SystemTime");
                assert!(!is_of_dates || !text.contains(reading), "{}: {reading}", path.display());
            }
            files += 1;
        }
    }
    assert!(files > 15, "{files}");
}
