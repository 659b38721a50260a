//! Writing through: statements F1 to F4.

use crate::support::{Down, MS, Source, on_all, policy, until};
use larder_cache::{Write, WriteError, Written};

#[tokio::test]
async fn f1_a_write_goes_to_the_source_first_and_its_failure_leaves_the_entry_absent() {
    on_all(async |backend| {
        let cache = backend.cache().await;
        cache.set("k", "old".to_owned()).await.expect("it works");
        let reader = cache.clone();
        let written = cache.write("k", async move {
            assert!(reader.get("k").await.expect("it answers").is_none(), "nothing is served in between");
            Ok::<_, Down>("new".to_owned())
        });
        assert_eq!(*written.await.expect("it works"), "new");
        assert_eq!(
            *cache.get("k").await.expect("it answers").expect("it is there"),
            "new",
            "{}",
            backend.name
        );
        let failed = cache.write("k", async { Err::<String, _>(Down) }).await;
        assert!(matches!(failed, Err(WriteError::Source(Down))));
        assert!(cache.get("k").await.expect("it answers").is_none(), "{}", backend.name);
        until("loads are stored again", async || {
            cache.get_or_load("k", Source::open().load("loaded")).await.expect("it loads");
            cache.get("k").await.expect("it answers").is_some()
        })
        .await;
        let panicked = cache
            .write("k", async {
                if true {
                    panic!("oh no");
                }
                Ok::<String, Down>(String::new())
            })
            .await;
        assert!(matches!(panicked, Err(WriteError::Panicked(_))));
        assert!(cache.get("k").await.expect("it answers").is_none(), "{}", backend.name);
        cache.set("gone", "old".to_owned()).await.expect("it works");
        cache.write_removal("gone", async { Ok::<_, Down>(()) }).await.expect("it works");
        assert!(cache.get("gone").await.expect("it answers").is_none());
    })
    .await;
}

#[tokio::test]
async fn f1_a_write_whose_caller_has_gone_is_carried_out_all_the_same() {
    on_all(async |backend| {
        let (cache, source) = (backend.cache().await, Source::new());
        let (writer, held) = (cache.clone(), source.clone());
        let caller = tokio::spawn(async move {
            let write = async move {
                held.hold().await;
                Ok::<_, Down>("new".to_owned())
            };
            writer.write("k", write).await
        });
        source.entered().await;
        caller.abort();
        let _ = caller.await;
        assert!(cache.get("k").await.expect("it answers").is_none());
        source.let_go(1);
        until("it is written", async || cache.get("k").await.expect("it answers").is_some()).await;
        assert_eq!(
            *cache.get("k").await.expect("it answers").expect("it is there"),
            "new",
            "{}",
            backend.name
        );
    })
    .await;
}

#[tokio::test]
async fn f2_overlapping_writers_leave_the_entry_absent() {
    on_all(async |backend| {
        let (one, other) = (backend.cache().await, backend.cache().await);
        for other_way in ["write", "set", "remove"] {
            let update = one.begin_update(&["k"]).await.expect("it begins");
            match other_way {
                "write" => {
                    let written = other.write("k", async { Ok::<_, Down>("other".to_owned()) }).await;
                    assert_eq!(*written.expect("the source was written"), "other");
                }
                "set" => other.set("k", "other".to_owned()).await.expect("it works"),
                _ => other.remove("k").await.expect("it works"),
            }
            update.end_with("k", "one".to_owned(), Write::new()).await.expect("it ends");
            assert!(one.get("k").await.expect("it answers").is_none(), "{other_way} {}", backend.name);
            // And then all is as before.
            other.get_or_load("k", Source::open().load("loaded")).await.expect("it loads");
            assert!(one.get("k").await.expect("it answers").is_some(), "{other_way} {}", backend.name);
            one.remove("k").await.expect("it works");
        }
    })
    .await;
}

#[tokio::test]
async fn f2_of_overlapping_writers_with_versions_the_highest_stays_in_whatever_order_they_end() {
    on_all(async |backend| {
        let (one, other) = (backend.cache().await, backend.cache().await);
        let read = async || one.get("k").await.expect("it answers").map(|entry| (*entry).clone());
        let at = |version| Write::new().version(version).tags(["red"]);
        for versions in [[1, 2], [2, 1]] {
            let first = one.begin_update(&["k"]).await.expect("it begins");
            let second = other.begin_update(&["k"]).await.expect("it begins");
            first.end_with("k", versions[0].to_string(), at(versions[0])).await.expect("it ends");
            // The other one may have changed the source since.
            assert!(read().await.is_none(), "{versions:?} {}", backend.name);
            other.get_or_load("k", Source::open().load("late")).await.expect("it loads");
            assert!(read().await.is_none(), "{versions:?} {}", backend.name);
            second.end_with("k", versions[1].to_string(), at(versions[1])).await.expect("it ends");
            assert_eq!(read().await.as_deref(), Some("2"), "{versions:?} {}", backend.name);
            assert_eq!(**other.get("k").await.expect("it answers").as_ref().expect("it is there"), "2");
            // It can be removed as every entry.
            other.remove_tag("red").await.expect("it works");
            until("the near cache has heard of it", async || read().await.is_none()).await;
        }
        // A write that overlaps with an update, and ends before it.
        let update = one.begin_update(&["k"]).await.expect("it begins");
        let written = async { Ok::<_, Down>(Written::new("8".to_owned()).version(8)) };
        assert_eq!(*other.write("k", written).await.expect("it works"), "8");
        assert!(read().await.is_none(), "{}", backend.name);
        update.end_with("k", "7".to_owned(), at(7)).await.expect("it ends");
        assert_eq!(read().await.as_deref(), Some("8"), "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn f2_one_writer_without_a_version_or_without_an_end_leaves_the_entry_absent() {
    on_all(async |backend| {
        let short = policy().guard_ttl(MS * 1500);
        let (one, other) = (backend.cache().await, backend.cache().await.with(short));
        for way in ["no version", "no value", "remove", "set", "no end"] {
            let first = one.begin_update(&["k"]).await.expect("it begins");
            let second = other.begin_update(&["k"]).await.expect("it begins");
            match way {
                "no version" => second.end_with("k", "2".to_owned(), Write::new()).await.expect("it ends"),
                "no value" => second.end().await.expect("it ends"),
                "remove" => {
                    other.remove("k").await.expect("it works");
                    second.end_with("k", "2".to_owned(), Write::new().version(2)).await.expect("it ends");
                }
                "set" => {
                    other.set("k", "2".to_owned()).await.expect("it works");
                    second.end_with("k", "2".to_owned(), Write::new().version(2)).await.expect("it ends");
                }
                _ => {
                    std::mem::forget(second);
                    tokio::time::sleep(MS * 1600).await;
                }
            }
            first.end_with("k", "1".to_owned(), Write::new().version(1)).await.expect("it ends");
            assert!(one.get("k").await.expect("it answers").is_none(), "{way} {}", backend.name);
            assert!(other.get("k").await.expect("it answers").is_none(), "{way} {}", backend.name);
        }
    })
    .await;
}

#[tokio::test]
async fn f3_between_beginning_and_end_no_load_is_stored_and_a_crash_ends_by_time() {
    on_all(async |backend| {
        let (one, other) = (backend.cache().await.with(policy().guard_ttl(MS * 1500)), backend.cache().await);
        let stored = async || other.get("k").await.expect("it answers").is_some();
        let load = async || other.get_or_load("k", Source::open().load("old")).await.expect("it loads");
        let update = one.begin_update(&["k", "l"]).await.expect("it begins").tags(["red"]);
        load().await;
        assert!(!stored().await, "{}", backend.name);
        other.set_with("tagged", "old".to_owned(), Write::new().tags(["red"])).await.expect("it works");
        update.end().await.expect("it ends");
        assert!(other.get("tagged").await.expect("it answers").is_none());
        load().await;
        assert!(stored().await, "{}", backend.name);
        // Dropped.
        drop(one.begin_update(&["k"]).await.expect("it begins"));
        assert!(!stored().await);
        until("it has ended", async || {
            load().await;
            stored().await
        })
        .await;
        // A crash: nobody ends it.
        std::mem::forget(one.begin_update(&["k"]).await.expect("it begins"));
        load().await;
        assert!(!stored().await, "{}", backend.name);
        tokio::time::sleep(MS * 1600).await;
        load().await;
        assert!(stored().await, "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn f4_a_transaction_that_is_rolled_back_changes_nothing_and_a_committed_one_is_read_at_once() {
    on_all(async |backend| {
        let (one, other) = (backend.cache().await, backend.cache().await);
        let load = async || {
            let entry = other.get_or_load("k", Source::open().load("old")).await.expect("it loads");
            (*entry).clone()
        };
        load().await;
        // Rolled back: the source has the old value, and soon it is kept again.
        drop(one.begin_update(&["k"]).await.expect("it begins"));
        assert_eq!(load().await, "old", "{}", backend.name);
        until("it is kept again", async || {
            load().await == "old" && other.get("k").await.expect("it answers").is_some()
        })
        .await;
        // Committed: when the call returns everybody has the new value.
        let update = one.begin_update(&["k"]).await.expect("it begins");
        update.end_with("k", "new".to_owned(), Write::new()).await.expect("it ends");
        assert_eq!(load().await, "new", "{}", backend.name);
        let update = one.begin_update(&["k"]).await.expect("it begins");
        let late = load().await;
        update.end().await.expect("it ends");
        assert_eq!(late, "old", "what was loaded during the update");
        assert!(other.get("k").await.expect("it answers").is_none(), "is not kept: {}", backend.name);
    })
    .await;
}
