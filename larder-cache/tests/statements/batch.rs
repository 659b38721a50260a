//! Many entries at once: statements I1 to I4.

use crate::support::{Backend, Down, MS, on_all, policy, until};
use larder_cache::{Cache, LoadError, Loaded};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Semaphore;

async fn numbers(backend: &Backend) -> Cache<u32, u32> {
    Cache::builder(&backend.node().await, &backend.namespace)
        .policy(policy())
        .build()
        .await
        .expect("it makes sense")
}

fn tens(keys: Vec<u32>) -> HashMap<u32, u32> {
    keys.into_iter().map(|key| (key, key * 10)).collect()
}

#[tokio::test]
async fn i1_a_batch_loads_in_one_call_what_is_neither_there_nor_under_way() {
    on_all(async |backend| {
        let cache = numbers(&backend).await;
        for key in 0..60 {
            cache.set(&key, key * 10).await.expect("it works");
        }
        let go = Arc::new(Semaphore::new(0));
        let singles: Vec<_> = (60..70)
            .map(|key| {
                let (cache, go) = (cache.clone(), Arc::clone(&go));
                tokio::spawn(async move {
                    cache
                        .get_or_load(&key, move |_| async move {
                            go.acquire().await.expect("it is never closed").forget();
                            Ok::<_, Down>(key * 10)
                        })
                        .await
                })
            })
            .collect();
        until("they are under way", async || cache.loads_under_way() == 10).await;
        let calls: Arc<std::sync::Mutex<Vec<usize>>> = Arc::default();
        let seen = Arc::clone(&calls);
        let all: Vec<u32> = (0..100).collect();
        let batch = tokio::spawn({
            let cache = cache.clone();
            async move {
                cache
                    .get_many_or_load(&all, move |keys| {
                        seen.lock().expect("nobody panics").push(keys.len());
                        async move { Ok::<_, Down>(tens(keys)) }
                    })
                    .await
            }
        });
        until("the loader was called", async || !calls.lock().expect("nobody panics").is_empty()).await;
        go.add_permits(10);
        let many = batch.await.expect("no panic").expect("it loads");
        assert!(many.failed.is_empty() && many.found.len() == 100, "{}", backend.name);
        assert!(many.found.iter().all(|(key, value)| **value == key * 10));
        assert_eq!(*calls.lock().expect("nobody panics"), [30], "{}", backend.name);
        for single in singles {
            single.await.expect("no panic").expect("it loads");
        }
        assert_eq!(**cache.get(&99).await.expect("it answers").as_ref().expect("it was stored"), 990);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i2_overlapping_batches_in_opposite_order_load_each_key_once() {
    on_all(async |backend| {
        let calls: Arc<Vec<AtomicU32>> = Arc::new((0..50).map(|_| AtomicU32::new(0)).collect());
        let mut tasks = Vec::new();
        let (one, other) = (numbers(&backend).await, numbers(&backend).await);
        for n in 0..6_usize {
            let cache = if n % 3 == 0 { other.clone() } else { one.clone() };
            let mut keys: Vec<u32> = (0..50).collect();
            if n % 2 == 1 {
                keys.reverse();
            }
            let calls = Arc::clone(&calls);
            tasks.push(tokio::spawn(async move {
                cache
                    .get_many_or_load(&keys, move |keys| {
                        keys.iter().for_each(|key| _ = calls[*key as usize].fetch_add(1, Ordering::SeqCst));
                        async move {
                            tokio::time::sleep(MS * 5).await;
                            Ok::<_, Down>(tens(keys))
                        }
                    })
                    .await
            }));
        }
        for task in tasks {
            assert_eq!(task.await.expect("no panic").expect("it loads").found.len(), 50);
        }
        let counts: BTreeSet<u32> = calls.iter().map(|calls| calls.load(Ordering::SeqCst)).collect();
        assert_eq!(counts, BTreeSet::from([1]), "{}", backend.name);
    })
    .await;
}

#[tokio::test]
async fn i3_a_key_left_out_is_not_found_and_a_failed_one_fails_for_itself() {
    on_all(async |backend| {
        let cache = numbers(&backend).await.with(policy().negative_ttl(MS * 10_000));
        let many = cache
            .get_many_or_load(&[1, 2, 3], |keys| async move {
                let found = keys.into_iter().filter(|key| *key != 2);
                Ok::<_, Down>(found.map(|key| (key, Loaded::new(key).tags(["n"]))).collect())
            })
            .await
            .expect("it loads");
        assert!(many.found.len() == 2 && many.failed.is_empty() && !many.found.contains_key(&2));
        // Not found is kept as well.
        let again = cache.find_or_load(&2, |_| async { Err::<u32, _>(Down) }).await;
        assert!(again.expect("it is known").is_none(), "{}", backend.name);
        let failing = cache
            .get_many_or_load(&[1, 2, 3, 4], |_| async { Err::<HashMap<u32, u32>, _>(Down) })
            .await
            .expect("the others are there");
        assert_eq!((failing.found.len(), failing.failed.len()), (2, 1), "{}", backend.name);
        assert!(matches!(failing.failed[&4], LoadError::Source(_)));
        let panicking = cache
            .get_many_or_load(&[5], |_| async {
                if true {
                    panic!("oh no");
                }
                Ok::<HashMap<u32, u32>, Down>(HashMap::new())
            })
            .await
            .expect("it is in the batch");
        assert!(matches!(&panicking.failed[&5], LoadError::Panicked(text) if text == "oh no"));
        cache.remove_tag("n").await.expect("it works");
        assert!(cache.get(&1).await.expect("it answers").is_none());
    })
    .await;
}

#[tokio::test]
async fn i4_no_keys_the_same_key_twice_and_very_many_keys() {
    on_all(async |backend| {
        let cache = numbers(&backend).await;
        let load = |keys: Vec<u32>| async move { Ok::<_, Down>(tens(keys)) };
        assert!(cache.get_many_or_load(&[], load).await.expect("nothing").found.is_empty());
        let many = cache
            .get_many_or_load(&[7, 7, 7], |keys| async move {
                assert_eq!(keys, [7]);
                Ok::<_, Down>(tens(keys))
            })
            .await;
        assert_eq!(many.expect("it loads").found.len(), 1);
        let is_full = std::env::var_os("LARDER_CACHE_FULL").is_some();
        let count = if is_full { 100_000 } else { 5_000 };
        let all: Vec<u32> = (0..count).collect();
        let many = cache.get_many_or_load(&all, load).await.expect("it loads");
        assert_eq!((many.found.len(), many.failed.len()), (count as usize, 0), "{}", backend.name);
        let again = cache
            .get_many_or_load(&all, |_| async { Err::<HashMap<u32, u32>, _>(Down) })
            .await
            .expect("all are there");
        assert_eq!((again.found.len(), again.failed.len()), (count as usize, 0), "{}", backend.name);
    })
    .await;
}
