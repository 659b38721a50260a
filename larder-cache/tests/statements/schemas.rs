//! Programs of different schemas on one namespace: statement J2.

use crate::support::{Backend, Down, SECOND, Source, on_all, policy};
use larder_cache::{Cache, Loaded, Write};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The old and the new program.
async fn both(backend: &Backend) -> [Cache<str, String>; 2] {
    let mut both = Vec::new();
    for schema in ["product/1", "product/2"] {
        let builder = backend.builder().await.schema(schema).policy(policy().stale_for(SECOND * 100));
        both.push(builder.build().await.expect("the settings make sense"));
    }
    both.try_into().expect("two were made")
}

async fn read(cache: &Cache<str, String>) -> Option<String> {
    cache.get("k").await.expect("it answers").map(|entry| entry.to_string())
}

#[tokio::test]
async fn j2_old_and_new_programs_share_a_namespace_and_each_loads_once() {
    on_all(async |backend| {
        let [old, new] = both(&backend).await;
        let source = Source::open();
        for _ in 0..10 {
            for (cache, value) in [(&old, "old form"), (&new, "new form")] {
                let entry = cache.get_or_load("k", source.load(value)).await.expect("it loads");
                assert_eq!(*entry, value, "{}", backend.name);
            }
        }
        assert_eq!(source.calls(), 2, "{}", backend.name);
        let left = async |cache: &Cache<str, String>| {
            cache.get("k").await.expect("it answers").expect("it is there").expires_in()
        };
        assert!(left(&new).await <= left(&old).await + SECOND, "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn j2_an_invalidation_by_either_removes_both_forms() {
    on_all(async |backend| {
        let [old, new] = both(&backend).await;
        for how in ["remove", "expire", "set", "old tag", "new tag", "clear", "write"] {
            for changer in [&old, &new] {
                let source = Source::open();
                for (cache, tag) in [(&old, "old tag"), (&new, "new tag")] {
                    let loaded = Loaded::new("before".to_owned()).tags([tag]);
                    let entry = cache.get_or_load("k", source.give(Ok(loaded))).await.expect("it loads");
                    assert_eq!(*entry, "before");
                }
                match how {
                    "remove" => changer.remove("k").await.expect("it works"),
                    "expire" => changer.expire("k").await.expect("it works"),
                    "set" => {
                        let write = Write::new().tags(["old tag", "new tag"]);
                        changer.set_with("k", "after".to_owned(), write).await.expect("it works");
                    }
                    "clear" => changer.clear().await.expect("it works"),
                    "write" => {
                        let write = async { Ok::<_, Down>("after".to_owned()) };
                        changer.write("k", write).await.expect("it works");
                    }
                    tag => changer.remove_tag(tag).await.expect("it works"),
                }
                let after = [read(&old).await, read(&new).await];
                assert!(!after.contains(&Some("before".to_owned())), "{}, {how}: {after:?}", backend.name);
                old.remove("k").await.expect("it works");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn j2_a_load_beside_another_form_is_refused_after_a_change() {
    on_all(async |backend| {
        let [old, new] = both(&backend).await;
        old.get_or_load("k", Source::open().load("old form")).await.expect("it loads");
        let source = Source::new();
        let loading = tokio::spawn({
            let (new, load) = (new.clone(), source.load("new form"));
            async move { new.get_or_load("k", load).await.expect("it loads").to_string() }
        });
        source.entered().await;
        assert_eq!(read(&old).await.as_deref(), Some("old form"), "{}", backend.name);
        old.remove("k").await.expect("it works");
        source.let_go(1);
        assert_eq!(loading.await.expect("no panic"), "new form");
        assert_eq!([read(&old).await, read(&new).await], [None, None], "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn j2_batches_load_each_form_once() {
    on_all(async |backend| {
        let larder = backend.node().await;
        let calls = Arc::new(AtomicU32::new(0));
        let mut both = Vec::new();
        for schema in ["n/1", "n/2"] {
            let builder = Cache::<u32, u32>::builder(&larder, &format!("{}-many", backend.namespace));
            both.push(
                builder.schema(schema).policy(policy()).build().await.expect("the settings make sense"),
            );
        }
        for _ in 0..5 {
            for cache in &both {
                let calls = Arc::clone(&calls);
                let load = move |keys: Vec<u32>| {
                    calls.fetch_add(1, Ordering::SeqCst);
                    async move {
                        Ok::<_, Down>(keys.into_iter().map(|key| (key, key * 10)).collect::<HashMap<_, _>>())
                    }
                };
                let many = cache.get_many_or_load(&[1, 2, 3], load).await.expect("it loads");
                assert_eq!(many.found.len(), 3, "{}", backend.name);
                assert_eq!(*many.found[&3], 30, "{}", backend.name);
            }
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2, "{}", backend.name);
    })
    .await;
}
