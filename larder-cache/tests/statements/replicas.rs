//! B7: invalidations that a fail-over cannot lose.

use crate::support::{MS, SECOND, policy, until, url};
use larder_cache::{Builder, Cache, Error, Policy, Write};
use larder_client::Larder;
use testkit::Server;
use testkit::server::Options;
use testkit::topology::Cluster;

/// A redis-server and its replica, in touch with each other.
fn pair() -> Option<(Server, Server)> {
    let primary = Server::oracle_or_skip()?;
    primary.connect().line("CONFIG SET repl-diskless-sync-delay 0");
    let replica = Server::start(Options::redis());
    replica.connect().line(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
    // A replica that is in touch is not at once one that answers.
    let mut client = primary.connect();
    client.line("SET mark 1");
    while client.line("WAIT 1 1000").as_integer() != Some(1) {}
    drop(client);
    Some((primary, replica))
}

async fn builder(url: &str) -> Builder<str, String> {
    let larder = Larder::open(url).await.expect("the server is there");
    Cache::builder(&larder, "covered").policy(policy())
}

async fn covered(url: &str) -> Cache<str, String> {
    builder(url).await.wait_replicas(1, MS * 900).build().await.expect("the settings make sense")
}

/// Stores a value. On a machine that is busy with other tests a replica may need longer than the time there is; then the
/// entry is removed some time later, as after any failure.
async fn store(cache: &Cache<str, String>, key: &str, value: &str, tags: &[&str]) {
    until("the replica has it", async || {
        let write = Write::new().tags(tags.iter().copied());
        cache.set_with(key, value.to_owned(), write).await.is_ok()
            && cache.get(key).await.is_ok_and(|entry| entry.is_some())
    })
    .await;
}

fn is_uncovered(done: Result<(), Error>) -> bool {
    let wanted = larder_client::Error::TooFewReplicas { wanted: 1, got: 0 };
    done == Err(Error::Backend(wanted))
}

#[tokio::test]
async fn b7_an_invalidation_that_the_replica_has_outlives_a_fail_over() {
    let Some((mut primary, replica)) = pair() else { return };
    let cache = covered(&url(&primary)).await;
    for key in ["removed", "set", "kept"] {
        store(&cache, key, "old", &[]).await;
    }
    store(&cache, "tagged", "old", &["tag"]).await;
    until("the replica has it", async || cache.remove("removed").await.is_ok()).await;
    until("the replica has it", async || cache.remove_tag("tag").await.is_ok()).await;
    store(&cache, "set", "new", &[]).await;
    primary.kill9();
    replica.connect().line("REPLICAOF NO ONE");
    let after = builder(&url(&replica)).await.build().await.expect("the settings make sense");
    let read = async |key: &str| after.get(key).await.expect("it answers").map(|entry| (*entry).clone());
    assert_eq!(read("removed").await, None);
    assert_eq!(read("tagged").await, None);
    assert_eq!(read("set").await.as_deref(), Some("new"));
    assert_eq!(read("kept").await.as_deref(), Some("old"));
}

#[tokio::test]
async fn b7_who_waits_for_a_replica_that_is_away_is_told_and_holds_nobody_up() {
    let Some((primary, replica)) = pair() else { return };
    let cache = covered(&url(&primary)).await;
    for key in ["a", "b"] {
        store(&cache, key, "1", &[]).await;
    }
    replica.signal("STOP");
    let removing = cache.remove("a");
    tokio::pin!(removing);
    // The reads of this process go on meanwhile, on the same handle.
    for _ in 0..5 {
        tokio::select! {
            biased;
            done = cache.get("b") => assert!(done.expect("it answers").is_some()),
            done = &mut removing => panic!("it had to wait: {done:?}"),
        }
    }
    assert!(is_uncovered(removing.await));
    // The primary has it, and this process asks there only once the replica has it, too.
    let other = builder(&url(&primary)).await.build().await.expect("the settings make sense");
    assert!(other.get("a").await.expect("it answers").is_none());
    other.set("a", "3".to_owned()).await.expect("it need not wait");
    assert!(cache.get("a").await.expect("it answers").is_none());
    replica.signal("CONT");
    until("the removal is made up for", async || {
        other.set("a", "4".to_owned()).await.expect("it need not wait");
        cache.get("a").await.expect("it answers").is_some()
    })
    .await;
}

#[tokio::test]
async fn b7_where_there_are_no_replicas_nobody_waits_for_any() {
    let refused = builder("embedded://").await.wait_replicas(1, MS).build().await;
    assert!(matches!(refused, Err(Error::Setting(_))), "{refused:?}");
    let Some(server) = Server::oracle_or_skip() else { return };
    for (within, patience) in [(SECOND * 2, SECOND * 5), (MS * 500, MS * 500)] {
        let rule = Policy::ttl(SECOND).backend_timeout(patience);
        let builder = builder(&url(&server)).await.policy(rule);
        let refused = builder.wait_replicas(1, within).build().await;
        assert!(matches!(refused, Err(Error::Setting(_))), "{refused:?}");
    }
    assert!(is_uncovered(covered(&url(&server)).await.remove("a").await));
    // larder-server answers WAIT, but has no replicas.
    let ours = Server::larder(&[]);
    assert!(is_uncovered(covered(&url(&ours)).await.remove("a").await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b7_in_a_cluster_the_replica_that_takes_over_has_what_was_invalidated() {
    const KEYS: usize = 64;
    let Some(mut cluster) = Cluster::start_or_skip() else { return };
    let mut first = cluster.nodes.remove(0);
    let url = format!("{},{}", cluster.url(), first.addr());
    let cache = covered(&url).await;
    let keys: Vec<String> = (0..KEYS).map(|key| format!("key:{key}")).collect();
    for key in &keys {
        until("its replica is there", async || cache.set(key, "old".to_owned()).await.is_ok()).await;
    }
    let mut removed = Vec::new();
    for key in keys.iter().step_by(2) {
        if cache.remove(key).await.is_ok() {
            removed.push(key);
        }
    }
    assert!(removed.len() > KEYS / 4, "nearly all have a replica: {}", removed.len());
    tokio::task::spawn_blocking(move || _ = first.kill9()).await.expect("no panic");
    let after: Cache<str, String> = builder(&url).await.build().await.expect("the settings make sense");
    // What its replica did not get in time is made up for until then.
    for key in &keys {
        until("somebody has taken over", async || {
            after.set(&format!("probe:{key}"), String::new()).await.is_ok() && after.get(key).await.is_ok()
        })
        .await;
    }
    for key in removed {
        assert!(after.get(key).await.expect("it answers").is_none(), "{key} came back");
    }
}
