//! Near caches, and trouble with the backend: statements D3 and E1 to E7.

use crate::support::{Backend, MS, SECOND, Source, on_all, policy, servers, until};
use larder_cache::{Cache, Error, Near, Tier};
use larder_client::Command;
use std::time::Duration;

async fn near(backend: &Backend, suspect_after: Duration, feed: u32) -> Cache<str, String> {
    let near = Near::bytes(1 << 20).suspect_after(suspect_after);
    let rule = policy().backend_timeout(MS * 200);
    let builder = backend.builder().await.near(near).feed_length(feed).policy(rule);
    builder.build().await.expect("the settings make sense")
}

/// Reads an entry until it comes from the near cache.
async fn warm(cache: &Cache<str, String>, key: &str) {
    until("it is near", async || {
        cache.get(key).await.expect("it answers").is_some_and(|entry| entry.tier() == Tier::Near)
    })
    .await;
}

async fn read(cache: &Cache<str, String>, key: &str) -> Option<String> {
    cache.get(key).await.expect("it answers").map(|entry| entry.to_string())
}

#[tokio::test]
async fn e5_a_change_of_another_process_reaches_the_near_cache_and_its_own_stays() {
    on_all(async |backend| {
        let (one, other) = (near(&backend, SECOND * 60, 100).await, near(&backend, SECOND * 60, 100).await);
        one.set("k", "mine".to_owned()).await.expect("it works");
        let own = one.get("k").await.expect("it answers").expect("it is there");
        assert_eq!(own.tier(), Tier::Near, "{}", backend.name);
        tokio::time::sleep(MS * 50).await;
        assert_eq!(one.get("k").await.expect("it answers").expect("its echo spares it").tier(), Tier::Near);
        warm(&other, "k").await;
        for how in ["set", "remove", "expire", "clear", "write"] {
            one.set("k", "old".to_owned()).await.expect("it works");
            until("the other has it", async || read(&other, "k").await.as_deref() == Some("old")).await;
            warm(&other, "k").await;
            let then = match how {
                "set" => one.set("k", "new".to_owned()).await.map(|()| Some("new")),
                "remove" => one.remove("k").await.map(|()| None),
                "expire" => one.expire("k").await.map(|()| None),
                "clear" => one.clear().await.map(|()| None),
                _ => {
                    let done =
                        one.write("k", async { Ok::<_, crate::support::Down>("new".to_owned()) }).await;
                    done.expect("it works");
                    Ok(Some("new"))
                }
            };
            let then = then.expect("it works");
            // The question comes once in half a minute: what is quick is the channel.
            until(how, async || read(&other, "k").await.as_deref() == then).await;
        }
        assert_eq!(other.stats().near_flushes, 0, "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn e1_a_near_cache_that_hears_nothing_is_not_believed_after_a_while() {
    for backend in servers().await {
        let cache = near(&backend, MS * 400, 100).await;
        cache.set("k", "value".to_owned()).await.expect("it works");
        warm(&cache, "k").await;
        let server = backend.server.as_ref().expect("it has one");
        server.signal("STOP");
        // Not at once, and then for as long as the silence lasts.
        until("it is not believed", async || read(&cache, "k").await.is_none()).await;
        let loaded = cache.get_or_load("k", Source::open().load("from the source")).await;
        assert_eq!(*loaded.expect("the source answers"), "from the source", "{}", backend.name);
        server.signal("CONT");
        until("it is believed again", async || {
            cache.get("k").await.expect("it answers").is_some_and(|entry| entry.tier() == Tier::Near)
        })
        .await;
    }
}

#[tokio::test]
async fn d3_a_tag_that_nobody_has_told_of_is_known_after_a_while_all_the_same() {
    for backend in servers().await {
        let cache = near(&backend, MS * 400, 100).await;
        let tagged = larder_cache::Write::new().tags(["red"]);
        cache.set_with("k", "old".to_owned(), tagged).await.expect("it works");
        warm(&cache, "k").await;
        // This thread, and with it the task that follows the feed, stands still from here to the read.
        let url = crate::support::url(backend.server.as_ref().expect("it has one"));
        let remove = async move {
            let larder = larder_client::Larder::open(&url).await.expect("the server is there");
            let other: Cache<str, String> =
                Cache::builder(&larder, "test").build().await.expect("the settings make sense");
            other.remove_tag("red").await.expect("it works");
        };
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("it starts").block_on(remove);
        })
        .join()
        .expect("no panic");
        std::thread::sleep(MS * 400);
        assert_eq!(read(&cache, "k").await, None, "{}", backend.name);
    }
}

#[tokio::test]
async fn e2_what_was_missed_while_the_channel_was_down_is_made_up_for() {
    for backend in servers().await {
        for feed in [100, 5] {
            let cache = near(&backend, SECOND * 4, feed).await;
            let builder = backend.builder().await.feed_length(feed);
            let other = builder.build().await.expect("the settings make sense");
            for n in 0..20 {
                other.set(&format!("k{n}"), "old".to_owned()).await.expect("it works");
            }
            for n in 0..20 {
                warm(&cache, &format!("k{n}")).await;
            }
            let (flushes, heard) = (cache.stats().near_flushes, cache.stats().changes_heard);
            // This thread, and with it the task that follows the feed, stands still while others go on.
            let url = crate::support::url(backend.server.as_ref().expect("it has one"));
            std::thread::spawn(move || kill_channels_and_change(&url, feed)).join().expect("no panic");
            until("it has caught up", async || {
                for n in 0..10 {
                    if read(&cache, &format!("k{n}")).await.as_deref() != Some("new") {
                        return false;
                    }
                }
                // What it reads can be new without that: when it has not been answered for long it asks the backend.
                cache.stats().changes_heard >= heard + 10 || cache.stats().near_flushes > flushes
            })
            .await;
            // Five changes are kept: the rest cannot be replayed, and the near cache begins anew.
            let flushed = cache.stats().near_flushes - flushes;
            assert_eq!(flushed > 0, feed == 5, "{flushed} {}", backend.name);
            other.clear().await.expect("it works");
        }
    }
}

/// Ends all subscriptions of a server, and changes ten entries before anybody can subscribe again.
fn kill_channels_and_change(url: &str, feed: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it starts");
    runtime.block_on(async {
        let larder = larder_client::Larder::open(url).await.expect("the server is there");
        let builder = Cache::<str, String>::builder(&larder, "test").policy(policy()).feed_length(feed);
        let cache = builder.build().await.expect("the settings make sense");
        let kill = Command::of(["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert!(larder.execute(kill).await.expect("it works").as_integer() > Some(0));
        for n in 0..10 {
            cache.set(&format!("k{n}"), "new".to_owned()).await.expect("it works");
        }
    });
}

#[tokio::test]
async fn e3_a_backend_that_was_flushed_empties_the_near_cache() {
    on_all(async |backend| {
        let cache = near(&backend, MS * 200, 100).await;
        cache.set("k", "value".to_owned()).await.expect("it works");
        warm(&cache, "k").await;
        backend.node().await.execute(Command::new("FLUSHALL")).await.expect("it works");
        until("it is gone", async || read(&cache, "k").await.is_none()).await;
        // And it goes on from there.
        cache.set("k", "again".to_owned()).await.expect("it works");
        warm(&cache, "k").await;
        assert_eq!(read(&cache, "k").await.as_deref(), Some("again"), "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn e4_a_lost_data_connection_counts_as_lost_even_while_the_channel_is_up() {
    for backend in servers().await {
        let cache = near(&backend, MS * 400, 100).await;
        cache.set("k", "value".to_owned()).await.expect("it works");
        warm(&cache, "k").await;
        let mut admin = backend.server.as_ref().expect("it has one").connect();
        // What is connected may stay, and nobody else may come: data connections do not come back.
        let mut ask = |line: &str| format!("{:?}", admin.line(line));
        assert_eq!(ask("CONFIG SET maxclients 1"), "+OK", "{}", backend.name);
        ask("CLIENT KILL TYPE normal");
        until("it is not believed", async || read(&cache, "k").await.is_none()).await;
        let channels = ask("PUBSUB NUMSUB {cache:test:0}:feed");
        assert!(channels.ends_with(", :1]"), "{}: the channel is up: {channels}", backend.name);
        let loaded = cache.get_or_load("k", Source::open().load("from the source")).await;
        assert_eq!(*loaded.expect("the source answers"), "from the source", "{}", backend.name);
        ask("CONFIG SET maxclients 10000");
        warm(&cache, "k").await;
    }
}

#[tokio::test]
async fn e6_without_the_backend_reads_go_to_the_source_once_for_all_who_wait() {
    for mut backend in servers().await {
        let rule = policy().backend_timeout(MS * 100);
        let patient = backend.cache().await;
        patient.set("k", "kept".to_owned()).await.expect("it works");
        let cache = patient.with(rule.clone());
        backend.server.as_mut().expect("it has one").kill9();
        let source = Source::new();
        let callers: Vec<_> = (0..50)
            .map(|_| {
                let (cache, load) = (cache.clone(), source.load("from the source"));
                tokio::spawn(async move { cache.get_or_load("k", load).await })
            })
            .collect();
        source.entered().await;
        until("all wait", async || cache.stats().joined == 49).await;
        source.let_go(50);
        for caller in callers {
            assert_eq!(*caller.await.expect("no panic").expect("it loads"), "from the source");
        }
        assert_eq!(source.calls(), 1, "{}", backend.name);
        assert!(cache.get("k").await.expect("a miss").is_none());
        let strict = cache.with(rule.strict());
        assert!(matches!(strict.get("k").await, Err(Error::Backend(_) | Error::BackendTimeout(_))));
        backend.server.as_mut().expect("it has one").restart();
        until("it is used again", async || {
            cache.get_or_load("k", Source::open().load("new")).await.expect("it loads");
            cache.get("k").await.expect("it answers").is_some()
        })
        .await;
    }
}

#[tokio::test]
async fn e7_a_removal_that_failed_is_owed_and_until_then_the_entry_is_not_read() {
    for backend in servers().await {
        let rule = policy().backend_timeout(MS * 100);
        let cache = backend.cache().await.with(rule);
        let other = backend.cache().await;
        for key in ["removed", "set", "tagged"] {
            let tagged = larder_cache::Write::new().tags(["red"]);
            other.set_with(key, "old".to_owned(), tagged).await.expect("it works");
        }
        let server = backend.server.as_ref().expect("it has one");
        server.signal("STOP");
        assert!(cache.remove("removed").await.is_err());
        assert!(cache.set("set", "new".to_owned()).await.is_err());
        assert!(cache.remove_tag("red").await.is_err());
        for key in ["removed", "set", "tagged"] {
            let loaded = cache.get_or_load(key, Source::open().load("source")).await;
            assert_eq!(*loaded.expect("it loads"), "source", "{key} {}", backend.name);
        }
        server.signal("CONT");
        // Another process sees that it was made up for.
        for key in ["removed", "set", "tagged"] {
            until("the old value is gone", async || read(&other, key).await.as_deref() != Some("old")).await;
            until("it is used again", async || {
                cache.get_or_load(key, Source::open().load("source")).await.expect("it loads");
                read(&cache, key).await.is_some()
            })
            .await;
        }
        assert!(cache.stats().removals_owed >= 3, "{}", backend.name);
    }
}
