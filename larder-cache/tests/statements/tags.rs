//! Tags and namespaces: statements D1 to D5.

use crate::support::{Backend, MS, Source, on_all, policy, until};
use larder_cache::{Cache, Loaded, Near, Policy, Write};
use larder_client::Command;

async fn ask(backend: &Backend, words: &[&str]) -> i64 {
    let reply = backend.node().await.execute(Command::of(words)).await.expect("it answers");
    reply.as_integer().expect("a number")
}

const META: &str = "{cache:test:0}:meta";

#[tokio::test]
async fn d1_a_tag_is_invalidated_without_a_look_at_the_entries_that_have_it() {
    on_all(async |backend| {
        let cache = backend.cache().await;
        for n in 0..200 {
            let tagged = Write::new().tags(["red", "round"]);
            cache.set_with(&format!("k{n}"), "value".to_owned(), tagged).await.expect("it works");
        }
        cache.set("plain", "value".to_owned()).await.expect("it works");
        let before = ask(&backend, &["DBSIZE"]).await;
        cache.remove_tag("red").await.expect("it works");
        assert_eq!(ask(&backend, &["DBSIZE"]).await, before, "no entry was touched, {}", backend.name);
        for n in 0..200 {
            assert!(cache.get(&format!("k{n}")).await.expect("it answers").is_none());
        }
        assert!(cache.get("plain").await.expect("it answers").is_some());
    })
    .await;
}

#[tokio::test]
async fn d2_tags_that_no_entry_can_have_any_more_are_forgotten() {
    on_all(async |backend| {
        let cache = backend.cache().await.with(Policy::ttl(MS));
        for n in 0..400 {
            let tagged = Write::new().tags([format!("tag {n}")]);
            cache.set_with("k", "value".to_owned(), tagged).await.expect("it works");
            if n % 10 == 9 {
                tokio::time::sleep(MS * 2).await;
            }
        }
        let fields = ask(&backend, &["HLEN", META]).await;
        assert!(fields < 60, "{fields} fields of 400 tags, {}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn d4_an_entry_whose_tags_are_unknown_is_a_miss() {
    on_all(async |backend| {
        let cache = backend.cache().await;
        let tagged = Write::new().tags(["red"]);
        cache.set_with("k", "value".to_owned(), tagged.clone()).await.expect("it works");
        assert_eq!(ask(&backend, &["HDEL", META, "tred"]).await, 1, "{}", backend.name);
        assert!(cache.get("k").await.expect("it answers").is_none());
        cache.set_with("k", "value".to_owned(), tagged).await.expect("it works");
        assert_eq!(ask(&backend, &["DEL", META]).await, 1);
        assert!(cache.get("k").await.expect("it answers").is_none(), "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn d5_namespaces_never_meet_and_clear_concerns_one_of_them_only() {
    on_all(async |backend| {
        let larder = backend.node().await;
        let cache = async |name: &str| -> Cache<(String, String), String> {
            Cache::builder(&larder, name).policy(policy()).build().await.expect("the settings make sense")
        };
        let pairs = [("a:b", ("c", "d")), ("a", ("b:c", "d")), ("a", ("b", "c:d")), ("a%3ab", ("c", "d"))];
        for (name, (one, two)) in pairs {
            let value = format!("{name}/{one}/{two}");
            cache(name).await.set(&(one.to_owned(), two.to_owned()), value).await.expect("it works");
        }
        for (name, (one, two)) in pairs {
            let got = cache(name).await.get(&(one.to_owned(), two.to_owned())).await.expect("it answers");
            assert_eq!(*got.expect("it is there"), format!("{name}/{one}/{two}"), "{}", backend.name);
        }
        cache("a").await.clear().await.expect("it works");
        let mut left = Vec::new();
        for (name, (one, two)) in pairs {
            let got = cache(name).await.get(&(one.to_owned(), two.to_owned())).await.expect("it answers");
            left.push(got.is_some());
        }
        assert_eq!(left, [true, false, false, true], "{}", backend.name);
        // What is stored after it began stays.
        let again = cache("a").await;
        again.set(&("x".to_owned(), "y".to_owned()), "z".to_owned()).await.expect("it works");
        assert!(again.get(&("x".to_owned(), "y".to_owned())).await.expect("it answers").is_some());
    })
    .await;
}

#[tokio::test]
async fn a_tag_that_a_load_learns_at_its_end_is_known_for_the_next_removal() {
    on_all(async |backend| {
        for has_near in [false, true] {
            let builder = backend.builder().await;
            let builder = if has_near { builder.near(Near::bytes(1 << 20)) } else { builder };
            let cache = builder.build().await.expect("the settings make sense");
            let load = || Source::open().give(Ok(Loaded::new("value".to_owned()).tags(["red", "blue"])));
            cache.get_or_load("k", load()).await.expect("it loads");
            assert!(cache.get("k").await.expect("it answers").is_some(), "{}", backend.name);
            // By another process.
            backend.cache().await.remove_tags(["green", "blue"]).await.expect("it works");
            until("it is gone", async || cache.get("k").await.expect("it answers").is_none()).await;
            cache.get_or_load("k", load()).await.expect("it loads");
            assert!(cache.get("k").await.expect("it answers").is_some(), "{}", backend.name);
            cache.clear().await.expect("it works");
        }
    })
    .await;
}
