//! Requests that mean harm.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::support::{Browser, Place};

#[tokio::test(flavor = "multi_thread")]
async fn forged_cookies_open_nothing() {
    let place = Place::open().await;
    let mut browser = place.browser();
    browser.sign_up("ann").await;
    let (name, value) =
        browser.cookies.iter().next().map(|(n, v)| (n.clone(), v.clone())).expect("there is a cookie");
    let mut changed = value.clone().into_bytes();
    changed[0] ^= 1;
    let forged = [
        String::from_utf8_lossy(&changed).into_owned(),
        value[..value.len() - 1].to_owned(),
        "x".repeat(5000),
    ];
    for forged in forged {
        let mut thief = place.browser();
        thief.cookies.insert(name.clone(), forged);
        assert_eq!(thief.get("/profile").await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_cookie_of_the_same_name_hides_nothing_and_opens_nothing() {
    let place = Place::open().await;
    let (mut ann, mut bob) = (place.browser(), place.browser());
    ann.sign_up("ann").await;
    bob.sign_up("bob").await;
    let cookie = |of: &Browser| of.cookies.iter().map(|(name, value)| format!("{name}={value}")).next();
    let (anns, bobs) = (cookie(&ann).expect("she has one"), cookie(&bob).expect("he has one"));
    let mut nobody = place.browser();
    let mut profile =
        async |cookies: &str| nobody.send(Method::GET, "/profile", &[("cookie", cookies)], vec![]).await;
    let planted = "shop=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for cookies in [format!("{planted}; {anns}"), format!("{anns}; {planted}"), format!("{anns}; {bobs}")] {
        assert_eq!(profile(&cookies).await.json(), json!({ "username": "ann" }), "{cookies}");
    }
    assert_eq!(profile(&format!("{planted}; {planted}")).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_from_before_the_login_is_worth_nothing_after_it() {
    let place = Place::open().await;
    let mut attacker = place.browser();
    attacker.json(Method::PUT, "/api/cart", &json!({ "product": 1, "count": 1 })).await;
    let mut victim = place.browser();
    victim.cookies.clone_from(&attacker.cookies);
    victim.sign_up("ann").await;
    assert_eq!(victim.get("/profile").await.status, StatusCode::OK);
    assert_eq!(attacker.get("/profile").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_from_other_sites_change_nothing() {
    let place = Place::open().await;
    let mut browser = place.browser();
    browser.sign_up("ann").await;
    let body = json!({ "text": "bought" }).to_string().into_bytes();
    let foreign: [&[(&str, &str)]; 3] = [
        &[("sec-fetch-site", "cross-site"), ("content-type", "application/json")],
        &[("origin", "https://evil.test"), ("content-type", "application/json")],
        &[("content-type", "application/json")],
    ];
    for headers in foreign {
        let answer = browser.send(Method::POST, "/api/chat", headers, body.clone()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    assert_eq!(browser.get("/api/chat").await.json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_in_names_and_messages_stays_text() {
    let place = Place::open().await;
    let mut browser = place.browser();
    let credentials = json!({ "username": "<img src=x>", "password": "a good password" });
    assert_eq!(browser.post("/signup", &credentials).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    browser.sign_up("ann").await;
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    browser.post("/api/chat", &json!({ "text": evil })).await;
    browser.json(Method::PUT, "/api/products/500", &json!({ "name": evil, "description": evil })).await;
    for path in ["/chat", "/", "/products/500", "/?q=%3Cscript%3E"] {
        let page = browser.get(path).await;
        assert!(
            !page.text().contains("<script>alert") && !page.text().contains("<img"),
            "{path}: {}",
            page.text()
        );
        let policy = page.headers["content-security-policy"].to_str().expect("it is ASCII");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_and_senseless_bodies_are_refused() {
    let place = Place::open().await;
    let mut browser = place.browser();
    browser.sign_up("ann").await;
    let long = json!({ "text": "x".repeat(100_000) });
    assert_eq!(browser.post("/api/chat", &long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        browser.post("/api/chat", &json!({ "text": "x".repeat(501) })).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    for points in [json!(-1), json!(0), json!(1e9), json!("many"), json!(null)] {
        let answer = browser.post("/api/scores", &json!({ "points": points })).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{points}");
    }
    for count in ["-1", "4294967296", "many"] {
        let answer = browser.form("/cart", &format!("product=1&count={count}")).await;
        assert!(answer.status.is_client_error(), "{count}");
    }
    assert_eq!(browser.get("/api/products/one").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(browser.get("/nowhere").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_wrong_passwords_find_a_locked_door() {
    let place = Place::open().await;
    place.browser().sign_up("ann").await;
    let mut attacker = place.browser();
    let (mut wrong, mut locked) = (0, 0);
    for guess in 0..1000 {
        let body = json!({ "username": "ann", "password": format!("guess {guess}") });
        match attacker.post("/login", &body).await.status {
            StatusCode::UNAUTHORIZED => wrong += 1,
            StatusCode::TOO_MANY_REQUESTS => locked += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((wrong, locked), (5, 995));
    let mut other = place.browser();
    other.from = "198.51.100.9:4000".parse().expect("it is an address");
    let body = json!({ "username": "ann", "password": "another guess" });
    assert_eq!(
        other.post("/login", &body).await.status,
        StatusCode::TOO_MANY_REQUESTS,
        "the name is locked everywhere"
    );
    let right = json!({ "username": "ann", "password": "a good password" });
    let answer = attacker.post("/login", &right).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "not even the right one is looked at");
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_wrong_passwords_at_once_are_no_more_than_one_after_the_other() {
    let place = Place::open().await;
    place.browser().sign_up("ann").await;
    let tries = (0..40).map(|guess| {
        let mut attacker = place.browser();
        tokio::spawn(async move {
            let body = json!({ "username": "ann", "password": format!("guess {guess}") });
            attacker.post("/login", &body).await.status
        })
    });
    let answers = futures_util::future::join_all(tries).await;
    let wrong = answers.iter().filter(|answer| matches!(answer, Ok(StatusCode::UNAUTHORIZED))).count();
    let locked = answers.iter().filter(|answer| matches!(answer, Ok(StatusCode::TOO_MANY_REQUESTS))).count();
    assert_eq!((wrong, locked), (5, 35));
}
