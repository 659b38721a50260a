//! Statements 26 to 28: ends of sessions are told once, with their cause; sessions survive a crash.

mod support;

use larder_client::{Command, Larder};
use larder_session::{Overflow, SessionEvent, SessionEvents, Why};
use serde_json::{Value, json};
use std::time::Duration;
use support::{ask, native, native_sessions};

/// The next ends that are told, so many, and whatever follows them at once.
async fn ends(events: &mut SessionEvents, count: usize) -> Vec<(Value, Why)> {
    let mut ends = Vec::new();
    loop {
        let patience = Duration::from_millis(if ends.len() < count { 60_000 } else { 100 });
        let Ok(event) = tokio::time::timeout(patience, events.next()).await else { return ends };
        if let SessionEvent::Ended { user, why, .. } = event.expect("the sessions are there") {
            ends.push((user, why));
        }
    }
}

#[tokio::test]
async fn s27_each_end_is_told_once_to_each_listener_with_its_cause() {
    let larder = Larder::open("embedded://").await.unwrap();
    let profile = native().limit_per_user(1, Overflow::EndOldest);
    let sessions = native_sessions(&larder, profile);
    let app = support::native_routes().layer(sessions.layer());
    // Before anybody listens: who is there is found.
    let early = ask(&app, "/login?user=early", None).await.cookie();
    let mut listeners = [sessions.events().await, sessions.events().await];
    let cookie = ask(&app, "/login?user=ann", None).await.cookie();
    ask(&app, "/logout", Some(&cookie)).await;
    ask(&app, "/logout", Some(&cookie)).await;
    ask(&app, "/login?user=bob", None).await;
    assert_eq!(sessions.admin().revoke_all("bob", None).await, Ok(1));
    ask(&app, "/login?user=eve", None).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    ask(&app, "/login?user=eve", None).await;
    let keys = larder.scan("session:*").collect().await.unwrap();
    ask(&app, "/login?user=kim", None).await;
    let kim = larder.scan("session:*").collect().await.unwrap();
    let kim: Vec<_> =
        kim.into_iter().filter(|key| !keys.contains(key) && !key.starts_with(b"session:user:")).collect();
    larder.del(&kim).await.unwrap();
    // Anonymous sessions end too.
    let anonymous = ask(&app, r#"/change?set={"a":1}"#, None).await.cookie();
    ask(&app, "/logout", Some(&anonymous)).await;
    let key = format!("session:{}", &early["__Host-sid=".len()..][..16]);
    larder.expire_in(&key, Duration::from_millis(1)).await.unwrap();
    let expected = [
        (json!("ann"), Why::Logout),
        (json!("bob"), Why::Revoked),
        (json!("eve"), Why::Limit),
        (json!("kim"), Why::Deleted),
        (json!(null), Why::Logout),
        (json!("early"), Why::Expired),
    ];
    for listener in &mut listeners {
        assert_eq!(ends(listener, expected.len()).await, expected);
    }
}

#[tokio::test]
async fn s27_ends_are_told_from_the_moment_on_at_which_listening_has_begun_and_begun_again() {
    let larder = Larder::open("embedded://").await.unwrap();
    let sessions = native_sessions(&larder, native());
    let app = support::native_routes().layer(sessions.layer());
    for round in 0..3 {
        let cookie = ask(&app, "/login?user=ann", None).await.cookie();
        // Of listeners that begin together none is there before the sessions are found.
        let (mut first, mut second) = tokio::join!(sessions.events(), sessions.events());
        ask(&app, "/logout", Some(&cookie)).await;
        for listener in [&mut first, &mut second] {
            assert_eq!(ends(listener, 1).await, [(json!("ann"), Why::Logout)], "{round}");
        }
        drop((first, second));
        // Whether the task that told of it is still there when the next ones come, is a matter of chance.
        tokio::time::sleep(Duration::from_millis([0, 100, 0][round])).await;
    }
}

#[tokio::test]
async fn a_login_that_fails_leaves_the_listeners_with_the_user_that_is() {
    let larder = Larder::open("embedded://").await.unwrap();
    let sessions = native_sessions(&larder, native().limit_per_user(1, Overflow::Refuse).max_bytes(250));
    let app = support::native_routes().layer(sessions.layer());
    let cookie = ask(&app, "/login?user=ann", None).await.cookie();
    let mut events = sessions.events().await;
    let too_long = "x".repeat(250);
    assert_eq!(ask(&app, &format!("/login?user={too_long}"), Some(&cookie)).await.status, 413);
    let key = format!("session:{}", &cookie["__Host-sid=".len()..][..16]);
    larder.del(&[key]).await.unwrap();
    assert_eq!(ends(&mut events, 1).await, [(json!("ann"), Why::Deleted)]);
}

#[tokio::test]
async fn s27_sessions_are_found_under_any_prefix_and_in_their_own_database_alone() {
    let larder = Larder::open("embedded://").await.unwrap();
    let sessions = native_sessions(&larder, native().prefix("app[1]*\\:"));
    let app = support::native_routes().layer(sessions.layer());
    let cookie = ask(&app, "/login?user=ann", None).await.cookie();
    let mut events = sessions.events().await;
    let key = format!("app[1]*\\:{}", &cookie["__Host-sid=".len()..][..16]);
    let other = larder.engine().unwrap().database(1).unwrap();
    other.set(&key, "{}").unwrap();
    other.del(&key).unwrap();
    larder.expire_in(&key, Duration::from_millis(1)).await.unwrap();
    assert_eq!(ends(&mut events, 1).await, [(json!("ann"), Why::Expired)]);
}

#[tokio::test]
async fn s27_an_eviction_is_told_as_one() {
    let larder = Larder::open("embedded://").await.unwrap();
    let sessions = native_sessions(&larder, native());
    let app = support::native_routes().layer(sessions.layer());
    for n in 0..40 {
        ask(&app, &format!("/login?user={n}"), None).await;
    }
    let mut events = sessions.events().await;
    let config = Command::new("CONFIG").arg("SET").arg("maxmemory-policy").arg("allkeys-random");
    larder.execute(config.arg("maxmemory").arg("1")).await.unwrap();
    // Eviction is the background's work, too.
    let mut told = Vec::new();
    while told.len() < 40 {
        let more = tokio::time::timeout(Duration::from_secs(60), events.next())
            .await
            .expect("they go")
            .expect("here");
        if let SessionEvent::Ended { user, why, .. } = more {
            assert_eq!(why, Why::Evicted);
            told.push(user.as_str().expect("a user").to_owned());
        }
    }
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 40);
}

#[tokio::test]
async fn ends_by_this_program_are_told_with_a_server_too() {
    for support::Backend { larder, name, server } in support::servers().await {
        let _server = server;
        let sessions = native_sessions(&larder, native());
        let app = support::native_routes().layer(sessions.layer());
        let mut events = sessions.events().await;
        let cookie = ask(&app, "/login?user=ann", None).await.cookie();
        ask(&app, "/rotate", Some(&cookie)).await;
        assert_eq!(sessions.admin().revoke_all("ann", None).await, Ok(1), "{name}");
        let mut seen = Vec::new();
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(200), events.next()).await {
            seen.push(match event {
                SessionEvent::Created { .. } => "created",
                SessionEvent::LoggedIn { .. } => "logged in",
                SessionEvent::Rotated { .. } => "rotated",
                SessionEvent::Ended { why: Why::Revoked, .. } => "revoked",
                _ => "something else",
            });
        }
        assert_eq!(seen, ["created", "logged in", "rotated", "revoked"], "{name}");
    }
}

#[tokio::test]
async fn s28_sessions_and_their_time_survive_a_crash() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut servers =
        vec![("larder-server", testkit::Server::start(testkit::Options::larder().args(durable)))];
    if testkit::Server::oracle_or_skip().is_some() {
        servers.push(("redis-server", testkit::Server::start(testkit::Options::redis().args(durable))));
    }
    for (name, mut server) in servers {
        let larder = Larder::open(&support::url(&server)).await.unwrap();
        let sessions = native_sessions(&larder, native().idle(Duration::from_secs(600)));
        let app = support::native_routes().layer(sessions.layer());
        let cookie = ask(&app, "/login?user=ann", None).await.cookie();
        let key = format!("session:{}", &cookie["__Host-sid=".len()..][..16]);
        let (before, at) = (larder.time_left(&key).await.unwrap().unwrap(), std::time::Instant::now());
        server.kill9();
        server.restart();
        let larder = Larder::open(&support::url(&server)).await.unwrap();
        let after = larder.time_left(&key).await.unwrap().expect("the session is there");
        let drift = (before - at.elapsed()).abs_diff(after);
        assert!(drift < Duration::from_secs(1), "{name}: {before:?} {after:?}");
        let sessions = native_sessions(&larder, native());
        let app = support::native_routes().layer(sessions.layer());
        assert_eq!(ask(&app, "/user", Some(&cookie)).await.body, "\"ann\"", "{name}");
        assert_eq!(sessions.admin().list("ann").await.unwrap().len(), 1, "{name}");
    }
}
