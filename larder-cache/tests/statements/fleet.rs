//! Many tasks in many processes on the same cold keys.

use crate::support::{Down, MS, policy, servers, url};
use larder_cache::Cache;
use larder_client::{Command, Larder};
use std::time::Duration;

const KEYS: u32 = 100;

fn tasks() -> u32 {
    if std::env::var_os("LARDER_CACHE_FULL").is_some() { 10_000 } else { 2_000 }
}

/// Lets all tasks ask for all keys in turns, and counts loads at the backend, under `loads`.
async fn storm(cache: &Cache<u32, String>, larder: &Larder, tasks: u32) {
    let all: Vec<_> = (0..tasks)
        .map(|task| {
            let (cache, larder) = (cache.clone(), larder.clone());
            tokio::spawn(async move {
                let key = task % KEYS;
                let load = move |_| async move {
                    tokio::time::sleep(MS * 20).await;
                    let count = Command::of(["HINCRBY", "loads", &key.to_string(), "1"]);
                    larder.execute(count).await.expect("it counts");
                    Ok::<_, Down>(format!("value {key}"))
                };
                let value = cache.get_or_load(&key, load).await.expect("it loads");
                assert_eq!(*value, format!("value {key}"));
            })
        })
        .collect();
    for task in all {
        task.await.expect("no panic");
    }
}

async fn loads(larder: &Larder) -> Vec<String> {
    let reply = larder.execute(Command::of(["HVALS", "loads"])).await.expect("it answers");
    let counts = reply.into_strings().expect("strings");
    counts.iter().map(|count| String::from_utf8_lossy(count).into_owned()).collect()
}

async fn cache(larder: &Larder) -> Cache<u32, String> {
    let rule = policy().hard_timeout(Duration::from_secs(60)).backend_timeout(Duration::from_secs(30));
    Cache::builder(larder, "fleet").policy(rule).build().await.expect("the settings make sense")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a1_many_tasks_in_one_process_load_each_key_once() {
    let larder = Larder::open("embedded://").await.expect("it opens");
    storm(&cache(&larder).await, &larder, tasks()).await;
    assert_eq!(loads(&larder).await, vec!["1"; KEYS as usize]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_many_tasks_in_four_processes_load_each_key_once() {
    for backend in servers().await {
        let server = backend.server.as_ref().expect("it has one");
        let children: Vec<_> = (0..4)
            .map(|_| {
                std::process::Command::new(std::env::current_exe().expect("we run"))
                    .args(["--exact", "fleet::one_of_four_processes", "--nocapture"])
                    .env("LARDER_CACHE_FLEET", url(server))
                    .spawn()
                    .expect("it starts")
            })
            .collect();
        for mut child in children {
            assert!(child.wait().expect("it ends").success(), "{}", backend.name);
        }
        assert_eq!(loads(&backend.node().await).await, vec!["1"; KEYS as usize], "{}", backend.name);
    }
}

/// What the processes of the test above do; by itself it is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_four_processes() {
    let Ok(url) = std::env::var("LARDER_CACHE_FLEET") else { return };
    let larder = Larder::open(&url).await.expect("the server is there");
    storm(&cache(&larder).await, &larder, tasks() / 4).await;
}
