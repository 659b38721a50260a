//! What goes wrong around sessions: foreign cookies, clocks that are set back, changes that cannot be made again, answers
//! that fail after a login. Each test is named by the rule that was, or could be, broken.

mod support;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::routing::get;
use larder_client::{Command, Larder};
use larder_session::{Outage, Session, SessionError, Sessions};
use std::sync::Arc;
use std::time::Duration;
use support::{Backend, ask, native, native_app, native_routes, native_sessions, on_all, profile};
use tokio::sync::Barrier;
use tower::ServiceExt;

/// An application with native sessions, and one with those that Express shares.
fn both(larder: &Larder, routes: &Router) -> [Router; 2] {
    let express = Sessions::express(larder.clone(), profile()).expect("the settings agree");
    [native_sessions(larder, native()), express].map(|sessions| routes.clone().layer(sessions.layer()))
}

fn native_key(cookie: &str) -> String {
    format!("session:{}", handle_of(cookie))
}

fn handle_of(cookie: &str) -> &str {
    &cookie["__Host-sid=".len()..][..16]
}

/// A native record that says it was written so much later.
fn later(record: &[u8], seconds: u64) -> String {
    let record = std::str::from_utf8(record).expect("text");
    let (start, rest) = record.split_once("\"~\":[").expect("a native record");
    let (created_s, rest) = rest.split_once(',').expect("a list");
    let created_s: u64 = created_s.parse().expect("a number");
    format!("{start}\"~\":[{},{rest}", created_s + seconds)
}

#[tokio::test]
async fn a_cookie_of_another_program_with_any_bytes_hides_no_session() {
    let larder = Larder::open("embedded://").await.unwrap();
    for app in both(&larder, &native_routes()) {
        let cookie = ask(&app, "/login?user=ann", None).await.cookie();
        for other in [&b"lang=fran\xe7ais; "[..], b"\xff=\xff; ", b"a\tb=;;; ", b"city=M\xc3\xbcnchen;"] {
            let header = HeaderValue::from_bytes(&[other, cookie.as_bytes()].concat()).expect("a header");
            let request = Request::builder().uri("/user").header("cookie", header);
            let response = app.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
            let body = axum::body::to_bytes(response.expect("never fails").into_body(), 99).await;
            assert_eq!(body.expect("a body"), "\"ann\"", "{other:?}");
        }
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_made_again_undoes_nobody_elses() {
    on_all(async |Backend { larder, name, .. }| {
        let gate = Arc::new(Barrier::new(2));
        let waits = Arc::clone(&gate);
        let clash = async move |session: Session| {
            session.update("n", |n: &mut u64| *n += 1).await.expect("it is a number");
            waits.wait().await;
            waits.wait().await;
            assert!(matches!(session.commit().await, Err(SessionError::Corrupt(_))));
        };
        for app in both(&larder, &native_routes().route("/clash", get(clash))) {
            let cookie = ask(&app, r#"/change?set={"n":1}"#, None).await.cookie();
            let (slow, theirs) = (app.clone(), cookie.clone());
            let running = tokio::spawn(async move { ask(&slow, "/clash", Some(&theirs)).await });
            gate.wait().await;
            ask(&app, r#"/change?set={"n":"text","m":1}"#, Some(&cookie)).await;
            gate.wait().await;
            assert_eq!(running.await.expect("the request ends").status, 200, "{name}");
            for (member, value) in [("n", "\"text\""), ("m", "1")] {
                let kept = ask(&app, &format!("/member?name={member}"), Some(&cookie)).await.body;
                assert_eq!(kept, value, "{name} {member}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_after_a_login_brings_the_cookie_of_the_login() {
    on_all(async |Backend { larder, name, .. }| {
        let login = async |session: Session| {
            session.login("ann").await?;
            session.set("draft", &"x".repeat(100_000)).await
        };
        for app in both(&larder, &native_routes().route("/draft", get(login))) {
            let before = ask(&app, r#"/change?set={"cart":[1]}"#, None).await.cookie();
            let answer = ask(&app, "/draft", Some(&before)).await;
            assert_eq!(answer.status, 413, "{name}");
            // The id of before is worth nothing any more, and the new one would be nobody's.
            assert_eq!(ask(&app, "/user", Some(&before)).await.body, "null", "{name}");
            assert_eq!(ask(&app, "/user", Some(&answer.cookie())).await.body, "\"ann\"", "{name}");
            assert_eq!(ask(&app, "/member?name=cart", Some(&answer.cookie())).await.body, "[1]", "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_browser_can_log_out_of_what_cannot_be_read() {
    on_all(async |Backend { larder, name, .. }| {
        let app = native_app(&larder, native());
        let cookie = ask(&app, "/login?user=ann", None).await.cookie();
        larder.set(native_key(&cookie), "{\"~\":").await.unwrap();
        assert_eq!(ask(&app, "/user", Some(&cookie)).await.status, 500, "{name}");
        let answer = ask(&app, "/logout", Some(&cookie)).await;
        assert_eq!((answer.status, answer.cookie().as_str()), (200, "__Host-sid="), "{name}");
        let left = larder.get(native_key(&cookie)).await.unwrap();
        assert_eq!(left.as_deref(), Some(&b"{\"~\":"[..]), "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_lets_no_session_in_use_end() {
    on_all(async |Backend { larder, name, .. }| {
        let app = native_app(&larder, native().idle(Duration::from_secs(1_000)));
        let cookie = ask(&app, "/login?user=ann", None).await.cookie();
        let key = native_key(&cookie);
        let written = larder.get(&key).await.unwrap().expect("it is stored");
        // As a program writes it whose clock is an hour ahead.
        larder.set_for(&key, later(&written, 3_600), Duration::from_secs(100)).await.unwrap();
        assert_eq!(ask(&app, "/user", Some(&cookie)).await.body, "\"ann\"", "{name}");
        let left = larder.time_left(&key).await.unwrap().expect("it ends");
        assert!(left > Duration::from_secs(900), "{name}: {left:?}");
        let touched = larder.get(&key).await.unwrap().expect("it is there");
        assert!(touched < later(&written, 1_800).into_bytes(), "{name}: it is no longer from the future");
        assert_eq!(ask(&app, "/user", Some(&cookie)).await.body, "\"ann\"", "{name}");
        assert_eq!(larder.get(&key).await.unwrap(), Some(touched), "{name}: it is touched once");
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_is_ahead_drops_no_session_from_its_users_list() {
    on_all(async |Backend { larder, name, .. }| {
        let sessions = native_sessions(&larder, native());
        let app = native_routes().layer(sessions.layer());
        let first = ask(&app, "/login?user=ann", None).await.cookie();
        // Both look as if their time had passed, and one has indeed.
        let (live, dead) = (handle_of(&first), "0123456789abcdef");
        let add = Command::new("ZADD").arg("session:user:ann").arg("1").arg(live).arg("1").arg(dead);
        larder.execute(add).await.unwrap();
        ask(&app, "/login?user=ann", None).await;
        let listed = larder.zrange("session:user:ann", 0, -1).await.unwrap();
        let listed: Vec<Vec<u8>> = listed.into_iter().map(|(handle, _)| handle).collect();
        assert!(listed.iter().any(|handle| handle == live.as_bytes()), "{name}");
        assert!(listed.iter().all(|handle| handle != dead.as_bytes()), "{name}");
        assert_eq!(sessions.admin().revoke_all("ann", None).await, Ok(2), "{name}");
        assert_eq!(ask(&app, "/user", Some(&first)).await.body, "null", "{name}");
    })
    .await;
}

#[tokio::test]
async fn what_this_program_has_ended_is_not_shown_in_an_outage() {
    for Backend { larder, name, server } in support::servers().await {
        let mut server = server.expect("these have one");
        let sessions = native_sessions(&larder, native().outage(Outage::ReadOnly(Duration::from_secs(60))));
        let app = native_routes().layer(sessions.layer());
        let kept = ask(&app, "/login?user=ann", None).await.cookie();
        let mut ended = Vec::new();
        for user in ["bob", "eve"] {
            ended.push(ask(&app, &format!("/login?user={user}"), None).await.cookie());
        }
        assert_eq!(sessions.admin().revoke_all("bob", None).await, Ok(1), "{name}");
        let handle = handle_of(&ended[1]).parse().expect("a handle");
        assert_eq!(sessions.admin().revoke(&handle).await, Ok(true), "{name}");
        server.kill9();
        assert_eq!(ask(&app, "/user", Some(&kept)).await.body, "\"ann\"", "{name}");
        for cookie in ended {
            assert_eq!(ask(&app, "/user", Some(&cookie)).await.status, 503, "{name}");
        }
    }
}

#[tokio::test]
async fn a_user_is_found_by_number_and_by_text() {
    let larder = Larder::open("embedded://").await.unwrap();
    let sessions = native_sessions(&larder, native());
    let login = async |session: Session| session.login(&42_u64).await;
    let app = native_routes().route("/answer", get(login)).layer(sessions.layer());
    let cookie = ask(&app, "/answer", None).await.cookie();
    assert_eq!(sessions.admin().list("42").await.unwrap().len(), 1);
    assert_eq!(sessions.admin().revoke_all("42", None).await, Ok(1));
    assert_eq!(ask(&app, "/user", Some(&cookie)).await.body, "null");
}
