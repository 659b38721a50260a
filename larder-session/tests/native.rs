//! The statements about native sessions; each test bears the numbers of those it shows.

mod support;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::{get, post};
use larder_client::{Command, Larder};
use larder_session::{
    CookieSpec, Csrf, CsrfToken, Data, Flash, KeyRing, NativeProfile, Outage, Overflow, SameSite, Session,
    SessionError, SessionHandle, Sessions, Slot, User,
};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use support::{Answer, Backend, ask, ask_with, keys, native, native_app, native_sessions, on_all};
use tokio::sync::Barrier;
use tower::ServiceExt;

/// The records of sessions that a store holds, by their keys.
async fn records(larder: &Larder) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for key in larder.scan("session:*").collect().await.expect("the store is there") {
        let key = String::from_utf8(key).expect("text");
        if !key.starts_with("session:user:") {
            let record = larder.get(&key).await.expect("a string").unwrap_or_default();
            found.push((key, String::from_utf8(record).expect("text")));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn s01_s05_an_unknown_id_is_never_adopted() {
    on_all(async |Backend { larder, name, .. }| {
        let app = native_app(&larder, native());
        let planted = ask(&app, r#"/change?set={"a":1}"#, None).await.cookie();
        larder.execute(Command::new("FLUSHALL")).await.unwrap();
        let answer = ask(&app, r#"/change?set={"a":2}"#, Some(&planted)).await;
        assert_ne!(answer.cookie(), planted, "{name}");
        assert_ne!(answer.cookie()[..26], planted[..26], "{name}: the handle is another one too");
        assert_eq!(ask(&app, "/member?name=a", Some(&planted)).await.body, "null", "{name}");
        assert_eq!(ask(&app, "/member?name=a", Some(&answer.cookie())).await.body, "2", "{name}");
        assert_eq!(records(&larder).await.len(), 1, "{name}");
    })
    .await;
}

#[tokio::test]
async fn s02_a_login_makes_the_id_before_it_worthless() {
    on_all(async |Backend { larder, name, .. }| {
        let app = native_app(&larder, native());
        let node = native_app(&larder, native());
        let mut cookie = ask(&app, r#"/change?set={"cart":[1]}"#, None).await.cookie();
        for user in ["ann", "bob", "bob"] {
            let next = ask(&app, &format!("/login?user={user}"), Some(&cookie)).await.cookie();
            assert_ne!(next, cookie, "{name}");
            for app in [&app, &node] {
                assert_eq!(ask(app, "/member?name=cart", Some(&cookie)).await.body, "null", "{name}");
                assert_eq!(ask(app, "/member?name=cart", Some(&next)).await.body, "[1]", "{name}");
                assert_eq!(ask(app, "/user", Some(&next)).await.body, format!("\"{user}\""), "{name}");
            }
            cookie = next;
        }
        assert_eq!(records(&larder).await.len(), 1, "{name}");
        // Nobody may log out the session of an id that it once had.
        let next = ask(&app, "/login?user=eve", Some(&cookie)).await.cookie();
        ask(&app, "/logout", Some(&cookie)).await;
        assert_eq!(ask(&app, "/user", Some(&next)).await.body, "\"eve\"", "{name}");
    })
    .await;
}

/// A route that changes the session, waits until something else has been done, and writes then.
fn slow_app(larder: &Larder, gate: Arc<Barrier>) -> Router {
    let slow = async move |session: Session| {
        session.set("late", &true).await.expect("the store is there");
        gate.wait().await;
        gate.wait().await;
        assert_eq!(session.commit().await, Err(SessionError::Ended));
    };
    Router::new().route("/slow", get(slow)).layer(native_sessions(larder, native()).layer())
}

#[tokio::test]
async fn s03_a_slow_request_never_brings_back_what_was_ended_or_rotated() {
    on_all(async |Backend { larder, name, .. }| {
        let sessions = native_sessions(&larder, native());
        let app = native_app(&larder, native());
        for round in 0..support::times(1_000, 12) {
            let cookie = ask(&app, "/login?user=ann", None).await.cookie();
            let gate = Arc::new(Barrier::new(2));
            let slow = slow_app(&larder, Arc::clone(&gate));
            let theirs = cookie.clone();
            let running = tokio::spawn(async move { ask(&slow, "/slow", Some(&theirs)).await });
            gate.wait().await;
            let way = round % 3;
            match way {
                0 => drop(ask(&app, "/logout", Some(&cookie)).await),
                1 => drop(ask(&app, "/login?user=bob", Some(&cookie)).await),
                _ => assert_eq!(sessions.admin().revoke_all("ann", None).await, Ok(1), "{name}"),
            }
            gate.wait().await;
            let answer = running.await.expect("the request ends");
            assert_eq!((answer.status, answer.set_cookie), (200, None), "{name} {way}");
            assert_eq!(ask(&app, "/member?name=late", Some(&cookie)).await.body, "null", "{name} {way}");
            let left = records(&larder).await;
            assert_eq!(left.len(), usize::from(way == 1), "{name} {way}");
            assert!(left.iter().all(|(_, record)| !record.contains("late")), "{name} {way}");
            larder.execute(Command::new("FLUSHALL")).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn s09_a_cookie_that_somebody_else_has_set_hides_none() {
    on_all(async |Backend { larder, name, .. }| {
        let app = native_app(&larder, native());
        let good = ask(&app, r#"/change?set={"a":1}"#, None).await.cookie();
        let gone = ask(&app, r#"/change?set={"a":2}"#, None).await.cookie();
        ask(&app, "/logout", Some(&gone)).await;
        let unsigned = format!("{good}x");
        for cookies in [
            format!("{unsigned}; {good}"),
            format!("{gone}; {good}"),
            format!("a=b; __Host-sid=; {good}; {gone}"),
        ] {
            assert_eq!(ask(&app, "/member?name=a", Some(&cookies)).await.body, "1", "{name} {cookies}");
        }
    })
    .await;
}

#[tokio::test]
async fn s07_s12_a_bad_cookie_and_an_unused_session_cost_no_call() {
    let server = testkit::Server::larder(&[]);
    let larder = Larder::open(&support::url(&server)).await.expect("the server is there");
    let app = native_app(&larder, native());
    let good = ask(&app, r#"/change?set={"a":1}"#, None).await.cookie();
    // Any call would fail now.
    drop(server);
    let untouched = ask(&app, "/nothing", Some(&good)).await;
    assert_eq!((untouched.status, untouched.set_cookie), (200, None));
    let other = KeyRing::new([9; 32]);
    let foreign = native_app(&larder, NativeProfile::new(other));
    assert_eq!(ask(&foreign, "/member?name=a", Some(&good)).await.body, "null");
    let (name, value) = good.split_once('=').expect("a cookie");
    for at in (0..value.len()).step_by(3) {
        let mut flipped = value.to_owned().into_bytes();
        flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
        if flipped != value.as_bytes() {
            let flipped = format!("{name}={}", String::from_utf8(flipped).expect("ASCII"));
            let answer = ask(&app, "/member?name=a", Some(&flipped)).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, "null"), "{at}");
        }
    }
    assert_eq!(ask(&app, "/member?name=a", Some(&good)).await.status, 503);
}

#[tokio::test]
async fn s08_s11_neither_debug_output_nor_the_store_holds_what_opens_a_session() {
    on_all(async |Backend { larder, name, .. }| {
        let sessions = native_sessions(&larder, native());
        assert!(!format!("{sessions:?} {:?}", native()).contains("0123456789"), "{name}");
        let app = native_app(&larder, native());
        let cookie = ask(&app, "/login?user=ann", None).await.cookie();
        let (_, value) = cookie.split_once('=').expect("a cookie");
        let (id, signature) = value.split_once('.').expect("a signature");
        let secret = &id[16..];
        let mut dump = String::new();
        for key in larder.scan("*").collect().await.unwrap() {
            let key = String::from_utf8(key).expect("text");
            let content = larder.get(&key).await;
            dump.push_str(&format!(
                "{key} {}\n",
                String::from_utf8_lossy(&content.ok().flatten().unwrap_or_default())
            ));
        }
        assert!(
            dump.contains(&id[..16]) && !dump.contains(secret) && !dump.contains(signature),
            "{name} {dump}"
        );
        // What is in the store, signed by whoever has no key, is worth nothing; nor is the hash as a secret.
        let record = &records(&larder).await[0].1;
        let hash = record.split('"').nth(3).expect("the hash").to_owned();
        let forged = format!("__Host-sid={}{hash}.{signature}", &id[..16]);
        assert_eq!(ask(&app, "/user", Some(&forged)).await.body, "null", "{name}");
    })
    .await;
}

#[tokio::test]
async fn s10_settings_that_are_unsafe_together_are_refused() {
    let larder = Larder::open("embedded://").await.unwrap();
    let secs = Duration::from_secs;
    let named = || native().cookie(CookieSpec::named("sid"));
    let refused = [
        NativeProfile::new(KeyRing::new("short")),
        NativeProfile::new(keys().accept("short")),
        native().cookie(CookieSpec::named("a b")),
        native().cookie(CookieSpec::host("sid").secure(false)),
        native().cookie(CookieSpec::host("sid").domain("a.b")),
        native().cookie(CookieSpec::named("__Secure-sid").secure(false)),
        native().cookie(CookieSpec::named("sid").domain("a;b")),
        native().cookie(CookieSpec::named("sid").same_site(SameSite::None).secure(false)),
        native().cookie(CookieSpec::host("sid").same_site(SameSite::None)).csrf(None),
        named().csrf(Csrf::new().trust("https://shop.example/")),
        named().idle(Duration::ZERO),
        named().absolute(secs(10)),
        named().absolute(Duration::MAX),
        named().touch_at_most_every(secs(80_000)),
        named().rotate_every(secs(5)),
        named().grace(secs(3_600)).rotate_every(secs(7_200)),
        named().limit_per_user(0, Overflow::Refuse),
        named().outage(Outage::ReadOnly(Duration::ZERO)),
        named().outage(Outage::ReadOnly(secs(100_000))),
    ];
    for settings in refused {
        let shown = format!("{settings:?}");
        assert!(Sessions::native(larder.clone(), settings).is_err(), "{shown}");
    }
    let fine =
        [named().cookie(CookieSpec::named("sid").secure(false)), native(), named().rotate_every(secs(60))];
    for settings in fine {
        assert!(Sessions::native(larder.clone(), settings).is_ok());
    }
}

#[tokio::test]
async fn s13_reads_touch_the_store_once_in_an_interval() {
    on_all(async |Backend { larder, name, .. }| {
        let app = native_app(&larder, native().idle(Duration::from_secs(1_000)));
        let cookie = ask(&app, "/login?user=ann", None).await.cookie();
        let before = records(&larder).await;
        for _ in 0..5 {
            assert_eq!(ask(&app, "/user", Some(&cookie)).await.body, "\"ann\"", "{name}");
        }
        assert_eq!(records(&larder).await, before, "{name}");
        // As if it had been seen for the last time two minutes ago.
        let (key, record) = &before[0];
        let earlier = aged(record, 120);
        larder.set_for(key, &earlier, Duration::from_secs(880)).await.unwrap();
        for _ in 0..2 {
            let answer = ask(&app, "/user", Some(&cookie)).await;
            assert_eq!((answer.body.as_str(), answer.set_cookie), ("\"ann\"", None), "{name}");
        }
        let left = larder.time_left(key).await.unwrap().unwrap();
        assert!(left > Duration::from_secs(900), "{name}: {left:?}");
        // Statement 14: the same value again is no change.
        let after = records(&larder).await;
        assert_eq!(ask(&app, r#"/change?set={"a":1}"#, Some(&cookie)).await.status, 200);
        let set = records(&larder).await;
        assert_ne!(set, after, "{name}");
        assert_eq!(ask(&app, r#"/change?set={"a":1}"#, Some(&cookie)).await.status, 200);
        assert_eq!(records(&larder).await, set, "{name}");
    })
    .await;
}

/// A record whose session began so many seconds earlier, and has not been seen since.
fn aged(record: &str, seconds: u64) -> String {
    let (start, rest) = record.split_once("\"~\":[").expect("a native record");
    let (created, rest) = rest.split_once(',').expect("a list");
    let created: u64 = created.parse().expect("a number");
    format!("{start}\"~\":[{},{rest}", created - seconds)
}

#[tokio::test]
async fn s21_s22_a_session_ends_without_use_and_in_any_case() {
    support::on_all_at_once(async |Backend { larder, name, .. }| {
        let (idle, absolute) = (Duration::from_secs(4), Duration::from_secs(1_000));
        let profile = native().idle(idle).absolute(absolute).touch_at_most_every(Duration::ZERO);
        let app = native_app(&larder, profile.clone());
        let cookie = ask(&app, "/login?user=ann", None).await.cookie();
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(2_100)).await;
            assert_eq!(ask(&app, "/user", Some(&cookie)).await.body, "\"ann\"", "{name}");
        }
        tokio::time::sleep(Duration::from_millis(4_200)).await;
        assert_eq!(ask(&app, "/user", Some(&cookie)).await.body, "null", "{name}");
        // However much it is used: nearly a thousand seconds old, and then a little older.
        let app = native_app(&larder, profile.idle(Duration::from_secs(500)));
        let cookie = ask(&app, "/login?user=ann", None).await.cookie();
        let (key, record) = records(&larder).await.remove(0);
        larder.set_for(&key, aged(&record, 900), Duration::from_secs(500)).await.unwrap();
        let next = ask(&app, "/login?user=ann", Some(&cookie)).await.cookie();
        let left = larder.time_left(&key).await.unwrap().unwrap();
        assert!(left <= Duration::from_secs(100), "{name}: {left:?}");
        let (_, record) = records(&larder).await.remove(0);
        larder.set(&key, aged(&record, 101)).await.unwrap();
        assert_eq!(ask(&app, "/user", Some(&next)).await.body, "null", "{name}");
    })
    .await;
}

#[tokio::test]
async fn s23_a_persistent_cookie_says_when_the_key_ends() {
    on_all(async |Backend { larder, name, .. }| {
        let cookie = CookieSpec::host("sid").persistent();
        let app = native_app(&larder, native().cookie(cookie).idle(Duration::from_secs(500)));
        let answer = ask(&app, "/login?user=ann", None).await;
        let header = answer.set_cookie.clone().expect("a cookie");
        let age = header.split("; Max-Age=").nth(1).and_then(|rest| rest.split(';').next());
        let age: u64 = age.expect("an age").parse().expect("a number");
        let left = larder.time_left(&records(&larder).await[0].0).await.unwrap().unwrap();
        assert!(left.as_secs().abs_diff(age) <= 1, "{name}: {left:?} {header}");
        // A change moves both.
        let header = ask(&app, r#"/change?set={"a":1}"#, Some(&answer.cookie())).await.set_cookie;
        let header = header.expect("it is set again");
        assert!(header.contains("Max-Age=500") || header.contains("Max-Age=499"), "{name} {header}");
        let app = native_app(&larder, native());
        let header = ask(&app, "/login?user=ann", None).await.set_cookie.expect("a cookie");
        let (_, attributes) = header.split_once("; ").expect("attributes");
        assert_eq!(attributes, "Path=/; HttpOnly; Secure; SameSite=Lax");
        let request = Request::builder().uri("/login?user=ann").body(Body::empty()).expect("a request");
        let response = app.clone().oneshot(request).await.expect("never fails");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let header = ask(&app, "/logout", Some(&answer.cookie())).await.set_cookie.expect("a cookie");
        assert!(
            header.starts_with("__Host-sid=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
            "{header}"
        );
    })
    .await;
}

#[tokio::test]
async fn s04_an_id_in_use_is_exchanged_with_grace_for_what_is_under_way() {
    support::on_all_at_once(async |Backend { larder, name, .. }| {
        let profile = native().rotate_every(Duration::from_secs(100)).grace(Duration::from_secs(5));
        let app = native_app(&larder, profile);
        let old = ask(&app, "/login?user=ann", None).await.cookie();
        assert_eq!(ask(&app, "/user", Some(&old)).await.set_cookie, None, "{name}");
        let (key, record) = records(&larder).await.remove(0);
        larder.set_for(&key, aged(&record, 100), Duration::from_secs(100)).await.unwrap();
        // Two at once: one of them gets the new id, and both get their answer.
        let (one, two) = tokio::join!(ask(&app, "/user", Some(&old)), ask(&app, "/user", Some(&old)));
        assert_eq!((one.body.as_str(), two.body.as_str()), ("\"ann\"", "\"ann\""), "{name}");
        let set: Vec<Answer> = [one, two].into_iter().filter(|answer| answer.set_cookie.is_some()).collect();
        assert_eq!(set.len(), 1, "{name}");
        let new = set[0].cookie();
        assert_ne!(new, old);
        // The old one can still change something, but gets no new id.
        let late = ask(&app, r#"/change?set={"late":1}"#, Some(&old)).await;
        assert_eq!((late.status, late.set_cookie), (200, None), "{name}");
        assert_eq!(ask(&app, "/member?name=late", Some(&new)).await.body, "1", "{name}");
        tokio::time::sleep(Duration::from_millis(5_100)).await;
        assert_eq!(ask(&app, "/user", Some(&old)).await.body, "null", "{name}");
        assert_eq!(ask(&app, "/user", Some(&new)).await.body, "\"ann\"", "{name}");
    })
    .await;
}

#[tokio::test]
async fn s15_s16_parallel_changes_all_stay() {
    on_all(async |Backend { larder, name, .. }| {
        let app = native_app(&larder, native());
        let cookie = support::parallel_changes_all_stay(&app, name).await;
        // Each of them got a number of its own.
        let numbers = (0..20).map(|_| {
            let (app, cookie) = (app.clone(), cookie.clone());
            tokio::spawn(async move { ask(&app, "/number", Some(&cookie)).await.body })
        });
        let mut seen = HashSet::new();
        for number in numbers.collect::<Vec<_>>() {
            assert!(seen.insert(number.await.expect("the request ends")), "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn s18_a_record_over_the_limit_is_refused_and_the_old_one_stays() {
    on_all(async |Backend { larder, name, .. }| {
        let app = native_app(&larder, native().max_bytes(300));
        let cookie = ask(&app, r#"/change?set={"a":1}"#, None).await.cookie();
        let large = format!(r#"/change?set={{"a":"{}"}}"#, "x".repeat(300));
        assert_eq!(ask(&app, &large, Some(&cookie)).await.status, 413, "{name}");
        assert_eq!(ask(&app, "/member?name=a", Some(&cookie)).await.body, "1", "{name}");
    })
    .await;
}

#[tokio::test]
async fn s19_a_message_is_shown_once() {
    on_all(async |Backend { larder, name, .. }| {
        let show = async |flash: Flash| flash.take().await.map(|all| format!("{all:?}"));
        let push = async |flash: Flash| {
            flash.push("info", "saved").await?;
            flash.push("error", "no mail").await?;
            flash.push("info", "twice").await
        };
        let layer = native_sessions(&larder, native()).layer();
        let app = Router::new().route("/push", get(push)).route("/show", get(show)).layer(layer);
        let cookie = ask(&app, "/push", None).await.cookie();
        let readers = (0..10).map(|_| {
            let (app, cookie) = (app.clone(), cookie.clone());
            tokio::spawn(async move { ask(&app, "/show", Some(&cookie)).await.body })
        });
        let mut shown = Vec::new();
        for reader in readers.collect::<Vec<_>>() {
            shown.push(reader.await.expect("the request ends"));
        }
        shown.retain(|text| text != "[]");
        assert_eq!(shown, [r#"[("error", "no mail"), ("info", "saved"), ("info", "twice")]"#], "{name}");
    })
    .await;
}

#[tokio::test]
async fn s17_s20_what_was_done_stays_when_the_answer_is_an_error() {
    on_all(async |Backend { larder, name, .. }| {
        let fails = async |session: Session| {
            session.login("ann").await.expect("the store is there");
            session.set("draft", &1).await.expect("the store is there");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR
        };
        for (profile, draft) in [(native(), "1"), (native().discard_changes_on_error(true), "null")] {
            let layer = native_sessions(&larder, profile.clone()).layer();
            let app = Router::new().route("/", get(fails)).layer(layer);
            let answer = ask(&app, "/", None).await;
            assert_eq!(answer.status, 500, "{name}");
            let app = native_app(&larder, profile);
            assert_eq!(ask(&app, "/user", Some(&answer.cookie())).await.body, "\"ann\"", "{name}");
            assert_eq!(ask(&app, "/member?name=draft", Some(&answer.cookie())).await.body, draft, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn s17_what_goes_on_after_the_answer_commits_for_itself() {
    on_all(async |Backend { larder, name, .. }| {
        let (tell, mut told) = tokio::sync::mpsc::channel(1);
        let streams = async move |session: Session| {
            session.set("begun", &true).await?;
            session.commit().await?;
            let tell = tell.clone();
            tokio::spawn(async move {
                session.set("ended", &true).await.expect("the store is there");
                session.commit().await.expect("the store is there");
                tell.send(()).await.expect("the test waits");
            });
            Ok::<_, SessionError>(())
        };
        let layer = native_sessions(&larder, native()).layer();
        let app = support::native_routes().route("/stream", get(streams)).layer(layer);
        let cookie = ask(&app, "/stream", None).await.cookie();
        assert_eq!(ask(&app, "/member?name=begun", Some(&cookie)).await.body, "true", "{name}");
        told.recv().await.expect("it ends");
        assert_eq!(ask(&app, "/member?name=ended", Some(&cookie)).await.body, "true", "{name}");
    })
    .await;
}

#[tokio::test]
async fn s24_all_sessions_of_a_user_can_be_seen_and_ended() {
    on_all(async |Backend { larder, name, .. }| {
        let find = |parts: &axum::http::request::Parts| {
            parts.headers.get("x-real-ip").and_then(|ip| ip.to_str().ok()?.parse().ok())
        };
        let sessions = native_sessions(&larder, native().client_ip(find));
        let app = support::native_routes().layer(sessions.layer());
        let admin = sessions.admin();
        let mut cookies = Vec::new();
        for n in 0..3 {
            let headers = [("x-real-ip", format!("192.0.2.{n}")), ("user-agent", format!("tool/{n}"))];
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            cookies.push(ask_with(&app, "GET", "/login?user=ann", None, &headers).await.cookie());
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        let other = ask(&app, "/login?user=bob", None).await.cookie();
        let list = admin.list("ann").await.expect("the store is there");
        let seen: Vec<(&str, &str)> =
            list.iter().map(|info| (info.ip.as_str(), info.agent.as_str())).collect();
        assert_eq!(
            seen,
            [("192.0.2.0", "tool/0"), ("192.0.2.1", "tool/1"), ("192.0.2.2", "tool/2")],
            "{name}"
        );
        assert!(list.iter().all(|info| info.created <= info.last_seen), "{name}");
        let keep: SessionHandle = list[1].handle.to_string().parse().expect("a handle");
        assert_eq!(admin.revoke_all("ann", Some(&keep)).await, Ok(2), "{name}");
        let mut users = Vec::new();
        for cookie in cookies.iter().chain([&other]) {
            users.push(ask(&app, "/user", Some(cookie)).await.body);
        }
        assert_eq!(users, ["null", "\"ann\"", "null", "\"bob\""], "{name}");
        assert_eq!(admin.list("ann").await.expect("the store is there").len(), 1, "{name}");
        assert_eq!(admin.revoke(&keep).await, Ok(true), "{name}");
        assert_eq!(admin.revoke(&keep).await, Ok(false), "{name}");
        assert_eq!(ask(&app, "/user", Some(&cookies[1])).await.body, "null", "{name}");
        ask(&app, "/logout", Some(&other)).await;
        // Nothing is left of any of them.
        assert_eq!(larder.scan("*").collect().await.unwrap().len(), 0, "{name}");
        // Another user's session is no longer this one's.
        let cookie = ask(&app, "/login?user=7", None).await.cookie();
        ask(&app, "/login?user=8", Some(&cookie)).await;
        assert!(admin.list("7").await.expect("the store is there").is_empty(), "{name}");
    })
    .await;
}

#[tokio::test]
async fn s24_a_session_stays_listed_however_it_is_used() {
    support::on_all_at_once(async |Backend { larder, name, .. }| {
        let profile = native().idle(Duration::from_secs(4)).touch_at_most_every(Duration::from_secs(2));
        let sessions = native_sessions(&larder, profile);
        let app = support::native_routes().layer(sessions.layer());
        let cookie = ask(&app, "/login?user=ann", None).await.cookie();
        for n in 0..9 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert_eq!(ask(&app, &format!(r#"/change?set={{"n":{n}}}"#), Some(&cookie)).await.status, 200);
            assert_eq!(
                sessions.admin().list("ann").await.expect("the store is there").len(),
                1,
                "{name} {n}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn s25_a_user_has_no_more_sessions_than_allowed() {
    on_all(async |Backend { larder, name, .. }| {
        let app = native_app(&larder, native().limit_per_user(2, Overflow::EndOldest));
        let mut cookies = Vec::new();
        for _ in 0..3 {
            cookies.push(ask(&app, "/login?user=ann", None).await.cookie());
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        let mut alive = Vec::new();
        for cookie in &cookies {
            alive.push(ask(&app, "/user", Some(cookie)).await.body != "null");
        }
        assert_eq!(alive, [false, true, true], "{name}");
        // Many at once leave as many as are allowed.
        for overflow in [Overflow::EndOldest, Overflow::Refuse] {
            larder.execute(Command::new("FLUSHALL")).await.unwrap();
            let app = native_app(&larder, native().limit_per_user(2, overflow));
            let logins = (0..8).map(|_| {
                let app = app.clone();
                tokio::spawn(async move { ask(&app, "/login?user=ann", None).await })
            });
            let mut logged_in = Vec::new();
            for login in logins.collect::<Vec<_>>() {
                let answer = login.await.expect("the request ends");
                assert!([200, 409].contains(&answer.status), "{name} {}", answer.status);
                logged_in.extend((answer.status == 200).then_some(answer.set_cookie).flatten());
            }
            let mut alive = 0;
            for cookie in logged_in {
                let cookie = cookie.split(';').next().expect("split gives one").to_owned();
                alive += usize::from(ask(&app, "/user", Some(&cookie)).await.body == "\"ann\"");
            }
            assert_eq!(alive, 2, "{name} {overflow:?}");
            assert_eq!(records(&larder).await.len(), 2, "{name} {overflow:?}");
            let third = ask(&app, "/login?user=ann", None).await;
            assert_eq!(third.status, if overflow == Overflow::Refuse { 409 } else { 200 }, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn s26_an_index_ends_with_its_sessions() {
    support::on_all_at_once(async |Backend { larder, name, .. }| {
        let sessions = native_sessions(
            &larder,
            native().idle(Duration::from_secs(1)).touch_at_most_every(Duration::ZERO),
        );
        let app = support::native_routes().layer(sessions.layer());
        for n in 0..support::times(100_000, 60) {
            ask(&app, &format!("/login?user={}", n % 20), None).await;
        }
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(sessions.admin().list("3").await, Ok(Vec::new()), "{name}");
        let gone = async {
            while !larder.scan("session:*").collect().await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone)
            .await
            .unwrap_or_else(|_| panic!("{name}: keys stay"));
    })
    .await;
}

#[tokio::test]
async fn s29_s30_an_outage_ends_as_the_settings_say() {
    for Backend { larder, name, server } in support::servers().await {
        let mut server = server.expect("these have one");
        let policies = [Outage::Reject, Outage::Anonymous, Outage::ReadOnly(Duration::from_secs(60))];
        let apps = policies.map(|outage| native_app(&larder, native().outage(outage)));
        let cookie = ask(&apps[2], "/login?user=ann", None).await.cookie();
        server.kill9();
        for (app, (status, body)) in apps.iter().zip([(503, ""), (200, "null"), (200, "\"ann\"")]) {
            let answer = ask(app, "/user", Some(&cookie)).await;
            assert_eq!(
                (answer.status, answer.body.as_str(), answer.set_cookie),
                (status, body, None),
                "{name}"
            );
            // Whoever wants to change something is never told that it was done.
            for path in [r#"/change?set={"a":1}"#, "/add", "/logout", "/login?user=bob", "/rotate"] {
                let ended =
                    tokio::time::timeout(Duration::from_secs(60), ask(app, path, Some(&cookie))).await;
                let answer = ended.unwrap_or_else(|_| panic!("{name}: {path} hangs"));
                let is_idle = path == "/rotate" && status == 200 && body == "null";
                assert!(answer.status == 503 || is_idle, "{name} {path} {}", answer.status);
                assert_eq!(answer.set_cookie, None, "{name} {path}");
            }
        }
        // Who was not seen lately is nobody's guess.
        let other = native_app(&larder, native().outage(policies[2]));
        assert_eq!(ask(&other, "/user", Some(&cookie)).await.status, 503, "{name}");
        server.restart();
        let recovered = async {
            while ask(&apps[0], "/login?user=ann", None).await.status != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), recovered).await.expect("it comes back");
    }
}

#[tokio::test]
async fn s31_what_cannot_be_read_is_an_error_or_a_new_session_and_stays() {
    on_all(async |Backend { larder, name, .. }| {
        let strict = native_app(&larder, native());
        let fresh = native_app(&larder, native().fresh_when_corrupt(true));
        for corrupt in ["{\"a\":", "[]", "{}", "{\"~\":[1]}", "{\"~\":0}"] {
            let cookie = ask(&strict, r#"/change?set={"a":1}"#, None).await.cookie();
            let key = format!("session:{}", &cookie["__Host-sid=".len()..][..16]);
            larder.set(&key, corrupt).await.unwrap();
            assert_eq!(ask(&strict, "/member?name=a", Some(&cookie)).await.status, 500, "{name} {corrupt}");
            let answer = ask(&fresh, r#"/change?set={"a":2}"#, Some(&cookie)).await;
            assert_ne!(answer.cookie(), cookie);
            assert_eq!(larder.get(&key).await.unwrap().as_deref(), Some(corrupt.as_bytes()), "{name}");
        }
        // A member of another type than is asked for does not harm the others.
        let cookie = ask(&strict, r#"/change?set={"n":"text","a":1}"#, None).await.cookie();
        assert_eq!(ask(&strict, "/add", Some(&cookie)).await.status, 500, "{name}");
        assert_eq!(ask(&strict, "/member?name=a", Some(&cookie)).await.body, "1", "{name}");
    })
    .await;
}

#[derive(Serialize, Deserialize, Default)]
struct Cart {
    items: Vec<u32>,
    #[serde(default)]
    voucher: Option<String>,
    #[serde(default, alias = "old_note")]
    note: String,
}

impl Slot for Cart {
    const KEY: &'static str = "cart";
}

#[tokio::test]
async fn s32_data_of_the_previous_build_loads() {
    let larder = Larder::open("embedded://").await.unwrap();
    let show = async |Data(cart): Data<Cart>, has: Option<Data<Cart>>| {
        format!("{:?} {:?} {} {}", cart.items, cart.voucher, cart.note, has.is_some())
    };
    let add = async |session: Session| session.update_slot(|cart: &mut Cart| cart.items.push(3)).await;
    let routes = support::native_routes().route("/show", get(show)).route("/push", get(add));
    let app = routes.layer(native_sessions(&larder, native()).layer());
    assert_eq!(ask(&app, "/show", None).await.body, "[] None  false");
    let old = r#"/change?set={"cart":{"items":[1],"removed":true,"old_note":"hi"}}"#;
    let cookie = ask(&app, old, None).await.cookie();
    assert_eq!(ask(&app, "/show", Some(&cookie)).await.body, "[1] None hi true");
    ask(&app, "/push", Some(&cookie)).await;
    assert_eq!(ask(&app, "/show", Some(&cookie)).await.body, "[1, 3] None hi true");
}

#[tokio::test]
async fn s39_what_an_old_key_signed_is_accepted_and_signed_again() {
    on_all(async |Backend { larder, name, .. }| {
        let old = native_app(&larder, native());
        let cookie = ask(&old, "/login?user=ann", None).await.cookie();
        let new = native_app(&larder, NativeProfile::new(KeyRing::new([7; 32]).accept(support::KEY)));
        let answer = ask(&new, "/user", Some(&cookie)).await;
        assert_eq!(answer.body, "\"ann\"", "{name}");
        let again = answer.cookie();
        let last = native_app(&larder, NativeProfile::new(KeyRing::new([7; 32])));
        assert_eq!(ask(&last, "/user", Some(&again)).await.body, "\"ann\"", "{name}");
        assert_eq!(ask(&last, "/user", Some(&cookie)).await.body, "null", "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_forged_request_is_refused_before_its_handler_runs() {
    let larder = Larder::open("embedded://").await.unwrap();
    let buy = async |session: Session| session.update("bought", |n: &mut u32| *n += 1).await;
    let token = async |token: CsrfToken| token.to_string();
    let app = |csrf: Csrf| {
        let routes = support::native_routes().route("/buy", post(buy)).route("/token", get(token));
        routes.layer(native_sessions(&larder, native().csrf(csrf)).layer())
    };
    let (plain, strict) = (app(Csrf::new()), app(Csrf::new().require_token()));
    let cookie = ask(&plain, "/login?user=ann", None).await.cookie();
    let cookie = Some(cookie.as_str());
    let token = ask(&plain, "/token", cookie).await.body;
    let post = async |app: &Router, headers: &[(&str, &str)]| {
        ask_with(app, "POST", "/buy", cookie, headers).await.status
    };
    let same = ("sec-fetch-site", "same-origin");
    let good = ("x-csrf-token", token.as_str());
    assert_eq!(post(&plain, &[same]).await, 200);
    assert_eq!(post(&plain, &[("sec-fetch-site", "cross-site"), good]).await, 403);
    assert_eq!(post(&plain, &[("origin", "https://evil.example")]).await, 403);
    assert_eq!(post(&plain, &[("host", "a.example"), ("origin", "https://a.example")]).await, 200);
    assert_eq!(post(&plain, &[]).await, 403);
    assert_eq!(post(&plain, &[good]).await, 200);
    assert_eq!(post(&plain, &[("x-csrf-token", "guess")]).await, 403);
    assert_eq!(post(&strict, &[same]).await, 403);
    assert_eq!(post(&strict, &[same, good]).await, 200);
    assert_eq!(ask(&plain, "/member?name=bought", cookie).await.body, "4");
    // A token of before the login, or of another session, is none.
    let planted = ask(&plain, "/token", None).await;
    let (early, before) = (planted.body.clone(), planted.cookie());
    let after = ask(&plain, "/login?user=bob", Some(&before)).await.cookie();
    let headers = [("x-csrf-token", early.as_str())];
    assert_eq!(ask_with(&plain, "POST", "/buy", Some(&after), &headers).await.status, 403);
    assert_eq!(ask_with(&plain, "POST", "/buy", cookie, &headers).await.status, 403);
    // Who brings no session cannot be used.
    assert_eq!(ask_with(&plain, "POST", "/buy", None, &[]).await.status, 200);
}

#[tokio::test]
async fn users_are_asked_for_by_type() {
    let larder = Larder::open("embedded://").await.unwrap();
    let login = async |session: Session| session.login(&42_u64).await;
    let must = async |User(id): User<u64>| id.to_string();
    let may = async |user: Option<User<u64>>| format!("{:?}", user.map(|User(id)| id));
    let routes = Router::new().route("/login", get(login)).route("/must", get(must)).route("/may", get(may));
    let app = routes.clone().layer(native_sessions(&larder, native()).layer());
    assert_eq!(
        (ask(&app, "/must", None).await.status, ask(&app, "/may", None).await.body.as_str()),
        (401, "None")
    );
    let cookie = ask(&app, "/login", None).await.cookie();
    assert_eq!(ask(&app, "/must", Some(&cookie)).await.body, "42");
    assert_eq!(ask(&app, "/may", Some(&cookie)).await.body, "Some(42)");
    // The same routes with sessions that Express shares, where passport has the user.
    let profile = support::profile().user_member("passport.user");
    let app = routes.layer(Sessions::express(larder.clone(), profile).expect("they agree").layer());
    let cookie = ask(&app, "/login", None).await.cookie();
    assert_eq!(ask(&app, "/must", Some(&cookie)).await.body, "42");
    let record = larder.get(format!("sess:{}", support::id_of(&cookie))).await.unwrap().expect("stored");
    assert!(String::from_utf8(record).expect("text").ends_with(r#""passport":{"user":42}}"#));
}
