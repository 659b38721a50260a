//! The statements about sessions that need no Node; each test bears the numbers of those it shows.

mod support;

use axum::Router;
use axum::routing::get;
use larder_client::Larder;
use larder_session::{ExpressProfile, SameSite, Session, SessionError, Sessions, cookie_value, sign, unsign};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use support::{Backend, app, ask, id_of, on_all, profile};
use testkit::Server;
use tokio::sync::Barrier;

#[tokio::test]
async fn s01_an_unknown_id_is_never_adopted() {
    on_all(async |Backend { larder, name, .. }| {
        let app = app(&larder, profile());
        let planted = format!("connect.sid={}", cookie_value("planted", "first secret"));
        let answer = ask(&app, r#"/change?set={"a":1}"#, Some(&planted)).await;
        assert_ne!(id_of(&answer.cookie()), "planted", "{name}");
        assert!(!larder.exists("sess:planted").await.unwrap(), "{name}");
        assert_eq!(ask(&app, "/member?name=a", Some(&answer.cookie())).await.body, "1");
    })
    .await;
}

#[tokio::test]
async fn s02_login_rotates_the_id_and_the_old_one_loads_nothing() {
    on_all(async |Backend { larder, name, .. }| {
        let app = app(&larder, profile());
        let first = ask(&app, r#"/change?set={"cart":[1]}"#, None).await.cookie();
        let mut cookie = first.clone();
        for user in ["ann", "bob"] {
            let next = ask(&app, &format!("/login?user={user}"), Some(&cookie)).await.cookie();
            assert_ne!(next, cookie, "{name}");
            assert_eq!(ask(&app, "/member?name=cart", Some(&cookie)).await.body, "null", "{name}");
            cookie = next;
        }
        assert_eq!(ask(&app, "/member?name=user", Some(&cookie)).await.body, r#""bob""#);
        assert_eq!(ask(&app, "/member?name=cart", Some(&cookie)).await.body, "[1]");
        assert!(!larder.exists(format!("sess:{}", id_of(&first))).await.unwrap());
    })
    .await;
}

/// A route that reads the session, waits until something else has been done, and writes then.
fn slow_app(larder: &Larder, gate: Arc<Barrier>) -> Router {
    let sessions = Sessions::express(larder.clone(), profile()).expect("the settings agree");
    let slow = async move |session: Session| {
        session.set("late", &true).await.expect("the store is there");
        gate.wait().await;
        gate.wait().await;
        assert_eq!(session.commit().await, Err(SessionError::Ended));
    };
    Router::new().route("/slow", get(slow)).layer(sessions.layer())
}

#[tokio::test]
async fn s03_a_slow_request_never_brings_back_what_was_ended_or_rotated() {
    on_all(async |Backend { larder, name, .. }| {
        let app = app(&larder, profile());
        for round in 0..support::times(1_000, 10) {
            let way = ["/logout", "/login?user=bob"][round % 2];
            let cookie = ask(&app, "/login?user=ann", None).await.cookie();
            let gate = Arc::new(Barrier::new(2));
            let slow = slow_app(&larder, Arc::clone(&gate));
            let theirs = cookie.clone();
            let running = tokio::spawn(async move { ask(&slow, "/slow", Some(&theirs)).await });
            gate.wait().await;
            ask(&app, way, Some(&cookie)).await;
            gate.wait().await;
            let answer = running.await.expect("the request ends");
            assert_eq!((answer.status, answer.set_cookie), (200, None), "{name} {way}");
            assert!(!larder.exists(format!("sess:{}", id_of(&cookie))).await.unwrap(), "{name} {way}");
        }
    })
    .await;
}

#[tokio::test]
async fn s06_ids_do_not_repeat() {
    let larder = Larder::open("embedded://").await.unwrap();
    let app = app(&larder, profile());
    let mut ids = HashSet::new();
    for _ in 0..2_000 {
        let id = id_of(&ask(&app, "/login?user=a", None).await.cookie());
        assert_eq!(id.len(), 32);
        assert!(ids.insert(id));
    }
}

#[tokio::test]
async fn s07_s12_a_bad_cookie_and_an_unused_session_cost_no_call() {
    let server = Server::larder(&[]);
    let larder = Larder::open(&support::url(&server)).await.expect("the server is there");
    // Any call would fail now.
    drop(server);
    let app = app(&larder, profile());
    let good = cookie_value("id", "first secret");
    let untouched = ask(&app, "/nothing", Some(&format!("connect.sid={good}"))).await;
    assert_eq!((untouched.status, untouched.set_cookie), (200, None));
    let flipped = cookie_value("ie", "first secret").replace("ie", "id");
    let unknown = cookie_value("id", "another secret");
    let empty = cookie_value("", "first secret");
    for bad in
        [&flipped, &unknown, &empty, "s:id", "s%3Aid", "id", "", "%", "s%3A.", &sign("id", "first secret")]
    {
        let answer = ask(&app, "/member?name=a", Some(&format!("connect.sid={bad}"))).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "null"), "{bad}");
    }
    // The first cookie of the name counts, whatever it is worth.
    let two = format!("connect.sid={flipped}; connect.sid={good}");
    assert_eq!(ask(&app, "/member?name=a", Some(&two)).await.body, "null");
}

#[tokio::test]
async fn s08_ids_and_secrets_are_in_no_debug_output_and_no_error() {
    let larder = Larder::open("embedded://").await.unwrap();
    let settings = profile();
    assert!(!format!("{settings:?}").contains("secret"));
    let sessions = Sessions::express(larder.clone(), settings).unwrap();
    assert!(!format!("{sessions:?}").contains("secret"));
    larder.set("sess:my-id", "no JSON").await.unwrap();
    let show = async |session: Session| match session.get::<String>("a").await {
        Err(error) => format!("{session:?} {error} {error:?}"),
        Ok(_) => panic!("it is no JSON"),
    };
    let app = Router::new().route("/", get(show)).layer(sessions.layer());
    let cookie = format!("connect.sid={}", cookie_value("my-id", "first secret"));
    let shown = ask(&app, "/", Some(&cookie)).await.body;
    assert!(shown.contains("no JSON object") && !shown.contains("my-id"), "{shown}");
}

#[tokio::test]
async fn s10_settings_that_browsers_refuse_are_refused() {
    let larder = Larder::open("embedded://").await.unwrap();
    let host = || profile().name("__Host-sid").secure(true);
    let refused = [
        ExpressProfile::new([""; 0]),
        ExpressProfile::new(["a", ""]),
        profile().name("a b"),
        profile().path("x"),
        profile().path("/;"),
        profile().domain(""),
        host().secure(false),
        host().domain("a.b"),
        host().path("/a"),
        profile().name("__Secure-sid"),
        profile().same_site(SameSite::None),
        profile().partitioned(true),
        profile().max_age(Duration::ZERO),
        profile().ttl(Duration::ZERO),
    ];
    for settings in refused {
        let shown = format!("{settings:?}");
        assert!(Sessions::express(larder.clone(), settings).is_err(), "{shown}");
    }
    for settings in [host(), profile().same_site(SameSite::None).secure(true)] {
        assert!(Sessions::express(larder.clone(), settings).is_ok());
    }
}

#[tokio::test]
async fn s14_s35_the_same_value_again_writes_nothing() {
    on_all(async |Backend { larder, name, .. }| {
        let app = app(&larder, profile().max_age(Duration::from_secs(100)));
        let cookie = format!("connect.sid={}", cookie_value("x", "first secret"));
        let text = r#"{ "cookie":{"originalMaxAge":1000,"expires":"1999-01-01T00:00:00.000Z"}, "a":1 }"#;
        larder.set_for("sess:x", text, Duration::from_secs(10)).await.unwrap();
        let answer = ask(&app, r#"/change?set={"a":1}"#, Some(&cookie)).await;
        assert_eq!(answer.set_cookie, None, "{name}");
        assert_eq!(larder.get("sess:x").await.unwrap().as_deref(), Some(text.as_bytes()), "{name}");
        // Statement 36: it was touched, by the age that the record has.
        assert!(larder.time_left("sess:x").await.unwrap().unwrap() <= Duration::from_secs(1), "{name}");
    })
    .await;
}

#[tokio::test]
async fn s15_s16_parallel_changes_all_stay() {
    on_all(async |Backend { larder, name, .. }| {
        support::parallel_changes_all_stay(&app(&larder, profile()), name).await;
    })
    .await;
}

#[tokio::test]
async fn s18_a_record_over_the_limit_is_refused_and_the_old_one_stays() {
    on_all(async |Backend { larder, name, .. }| {
        let app = app(&larder, profile().max_bytes(200));
        let cookie = ask(&app, r#"/change?set={"a":1}"#, None).await.cookie();
        let large = format!(r#"/change?set={{"a":"{}"}}"#, "x".repeat(200));
        assert_eq!(ask(&app, &large, Some(&cookie)).await.status, 413, "{name}");
        assert_eq!(ask(&app, "/member?name=a", Some(&cookie)).await.body, "1", "{name}");
    })
    .await;
}

#[tokio::test]
async fn s19_of_parallel_takers_one_gets_it() {
    on_all(async |Backend { larder, name, .. }| {
        let app = app(&larder, profile());
        let cookie = ask(&app, r#"/change?set={"flash":"hi"}"#, None).await.cookie();
        let takers = (0..20).map(|_| {
            let (app, cookie) = (app.clone(), cookie.clone());
            tokio::spawn(async move { ask(&app, "/take?name=flash", Some(&cookie)).await.body })
        });
        let mut got = 0;
        for taker in takers.collect::<Vec<_>>() {
            got += usize::from(taker.await.expect("the request ends") == r#""hi""#);
        }
        assert_eq!(got, 1, "{name}");
    })
    .await;
}

#[tokio::test]
async fn s21_s38_the_time_of_the_key_is_the_truth() {
    on_all(async |Backend { larder, name, .. }| {
        let app = app(&larder, profile());
        let cookie = format!("connect.sid={}", cookie_value("user-1.2", "first secret"));
        let stale = r#"{"cookie":{"originalMaxAge":5000,"expires":"1999-01-01T00:00:00.000Z"},"a":1}"#;
        larder.set("sess:user-1.2", stale).await.unwrap();
        assert_eq!(ask(&app, "/member?name=a", Some(&cookie)).await.body, "1", "{name}");
        let left = larder.time_left("sess:user-1.2").await.unwrap().unwrap();
        assert!(left <= Duration::from_secs(5), "{name}: {left:?}");
        // A record of another age, from the profile's: without use it is gone.
        let short = r#"{"cookie":{"originalMaxAge":1,"expires":null},"a":1}"#;
        larder.set_for("sess:user-1.2", short, Duration::from_millis(20)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(ask(&app, "/member?name=a", Some(&cookie)).await.body, "null", "{name}");
        // No maximal age in the record: the store's own time.
        larder.set("sess:user-1.2", r#"{"cookie":{},"a":2}"#).await.unwrap();
        assert_eq!(ask(&app, "/member?name=a", Some(&cookie)).await.body, "2", "{name}");
        let left = larder.time_left("sess:user-1.2").await.unwrap().unwrap();
        assert!(
            left > Duration::from_secs(80_000) && left <= Duration::from_secs(86_400),
            "{name}: {left:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn s29_s30_a_store_that_is_down_is_an_error_and_comes_back() {
    for Backend { larder, name, server } in support::servers().await {
        let mut server = server.expect("these have one");
        let app = app(&larder, profile());
        let cookie = ask(&app, r#"/change?set={"a":1}"#, None).await.cookie();
        server.kill9();
        for path in ["/member?name=a", r#"/change?set={"a":2}"#, "/logout", "/login?user=a"] {
            let answer = tokio::time::timeout(Duration::from_secs(60), ask(&app, path, Some(&cookie))).await;
            let answer = answer.unwrap_or_else(|_| panic!("{name}: {path} hangs"));
            assert_eq!((answer.status, answer.set_cookie), (503, None), "{name} {path}");
        }
        server.restart();
        let recovered = async {
            while ask(&app, r#"/change?set={"a":1}"#, None).await.status != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), recovered).await.expect("it comes back");
    }
}

#[tokio::test]
async fn s31_what_cannot_be_read_is_an_error_or_a_new_session_and_stays() {
    on_all(async |Backend { larder, name, .. }| {
        let cookie = format!("connect.sid={}", cookie_value("bad", "first secret"));
        larder.set("sess:bad", "{\"a\":").await.unwrap();
        let strict = app(&larder, profile());
        assert_eq!(ask(&strict, "/member?name=a", Some(&cookie)).await.status, 500, "{name}");
        let fresh = app(&larder, profile().fresh_when_corrupt(true));
        let answer = ask(&fresh, r#"/change?set={"a":1}"#, Some(&cookie)).await;
        assert_ne!(id_of(&answer.cookie()), "bad");
        assert_eq!(larder.get("sess:bad").await.unwrap().as_deref(), Some(b"{\"a\":".as_slice()), "{name}");
        assert_eq!(ask(&strict, "/logout", Some(&cookie)).await.status, 200);
        assert!(!larder.exists("sess:bad").await.unwrap(), "{name}");
    })
    .await;
}

#[tokio::test]
async fn s37_what_express_would_lose_is_refused() {
    let larder = Larder::open("embedded://").await.unwrap();
    let app = app(&larder, profile());
    for lost in [r#"{"cookie":1}"#, r#"{"__proto__":1}"#, r#"{"save":1}"#, r#"{"n":[9007199254740992]}"#] {
        let answer = ask(&app, &format!("/change?set={lost}"), None).await;
        assert_eq!((answer.status, answer.set_cookie), (500, None), "{lost}");
    }
    assert_eq!(ask(&app, r#"/change?set={"n":-9007199254740991}"#, None).await.status, 200);
}

#[tokio::test]
async fn s23_s39_a_cookie_is_set_with_the_time_of_the_key_and_signed_again() {
    on_all(async |Backend { larder, name, .. }| {
        let app = app(&larder, profile().max_age(Duration::from_secs(60)));
        let set = ask(&app, r#"/change?set={"a":1}"#, None).await;
        let cookie = set.set_cookie.as_deref().expect("a cookie");
        assert!(cookie.contains("; Path=/; Expires=") && cookie.ends_with(" GMT; HttpOnly"), "{cookie}");
        let id = id_of(&set.cookie());
        let left = larder.time_left(format!("sess:{id}")).await.unwrap().unwrap();
        assert!(left > Duration::from_secs(30) && left <= Duration::from_secs(60), "{name}: {left:?}");
        let old = format!("connect.sid={}", cookie_value(&id, "old secret"));
        let again = ask(&app, "/member?name=a", Some(&old)).await;
        assert_eq!((again.body.as_str(), again.cookie()), ("1", set.cookie()), "{name}");
        let first = ask(&app, "/member?name=a", Some(&set.cookie())).await;
        assert_eq!(first.set_cookie, None, "{name}");
    })
    .await;
}

#[test]
fn s34_signatures_of_the_npm_package_verify() {
    let signed = "abc.def.so5Tc+gu2fBYlQDDLLwSuSiqPJ6hYsKUxiB1J6OOlBI";
    assert_eq!(sign("abc.def", "ключ"), signed);
    assert_eq!(unsign(signed, &["x".to_owned(), "ключ".to_owned()]), Some(("abc.def", 1)));
    assert_eq!(unsign(&signed.replace("OOlBI", "OOlBJ"), &["ключ".to_owned()]), None);
}
