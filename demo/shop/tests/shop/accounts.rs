//! Logging in and out, and the devices one is logged in on.

use axum::http::StatusCode;
use serde_json::json;

use crate::support::Place;

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_there_between_login_and_logout() {
    let place = Place::open().await;
    let mut browser = place.browser();
    let nobody = browser.get("/profile").await;
    assert_eq!(
        (nobody.status, nobody.json()),
        (StatusCode::UNAUTHORIZED, json!({ "error": "Unauthorized" }))
    );
    assert!(browser.cookies.is_empty(), "who only looks gets no cookie");
    browser.sign_up("ann").await;
    assert_eq!(browser.get("/profile").await.json(), json!({ "username": "ann" }));
    assert_eq!(browser.post("/logout", &json!({})).await.status, StatusCode::NO_CONTENT);
    assert_eq!(browser.get("/profile").await.status, StatusCode::UNAUTHORIZED);
    let credentials = json!({ "username": "ann", "password": "a good password" });
    assert_eq!(browser.post("/login", &credentials).await.json(), json!({ "username": "ann" }));
    assert_eq!(browser.get("/profile").await.status, StatusCode::OK);
    let taken = place.browser().post("/signup", &credentials).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_ended_from_another() {
    let place = Place::open().await;
    let (mut first, mut second, mut stranger) = (place.browser(), place.browser(), place.browser());
    first.sign_up("ann").await;
    stranger.sign_up("bob").await;
    let credentials = json!({ "username": "ann", "password": "a good password" });
    second.post("/login", &credentials).await;
    let page = second.get("/devices").await;
    let handles: Vec<&str> = page
        .text()
        .split("name=\"handle\" value=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(handles.len(), 1, "the other device, not this one: {}", page.text());
    let body = format!("handle={}", handles[0]);
    stranger.form("/devices", &body).await;
    assert_eq!(first.get("/profile").await.status, StatusCode::OK, "a stranger can end nothing");
    second.form("/devices", &body).await;
    assert_eq!(first.get("/profile").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(second.get("/profile").await.status, StatusCode::OK);
}
