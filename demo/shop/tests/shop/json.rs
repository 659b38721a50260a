//! What programs get.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::support::Place;

#[tokio::test(flavor = "multi_thread")]
async fn products_come_from_the_cache_after_the_first_time() {
    let place = Place::open().await;
    let mut browser = place.browser();
    let first = browser.get("/api/products").await.json();
    assert_eq!(first.as_array().map(Vec::len), Some(50));
    assert_eq!(first[0]["id"], 500, "the newest comes first");
    let before = place.stats().await;
    for _ in 0..100 {
        assert_eq!(browser.get("/api/products").await.json(), first);
    }
    let after = place.stats().await;
    assert_eq!(after["queries"], before["queries"], "the database was asked again");
    assert_eq!(after["hits"].as_u64(), before["hits"].as_u64().map(|hits| hits + 100));
    assert_eq!(browser.get("/api/products/7").await.json()["id"], 7);
    assert_eq!(browser.get("/api/products/7000").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_seen_by_the_next_request_in_every_list() {
    let place = Place::open().await;
    let mut browser = place.browser();
    let path = "/api/products/500";
    let change = json!({ "name": "Quince jelly", "price": 777 });
    assert_eq!(browser.json(Method::PUT, path, &change).await.status, StatusCode::UNAUTHORIZED);
    browser.sign_up("ann").await;
    for _ in 0..2 {
        browser.get("/api/products").await;
        browser.get(path).await;
        browser.get("/?q=jelly").await;
    }
    assert_eq!(browser.json(Method::PUT, path, &change).await.json()["name"], "Quince jelly");
    assert_eq!(browser.get(path).await.json()["price"], 777);
    assert_eq!(browser.get("/api/products").await.json()[0]["name"], "Quince jelly");
    assert!(browser.get("/?q=quince").await.text().contains("Quince jelly"));
    for nonsense in [json!({ "price": -1 }), json!({ "name": " " }), json!({ "colour": "red" })] {
        assert_eq!(browser.json(Method::PUT, path, &nonsense).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaderboard_has_the_ten_best() {
    let place = Place::open().await;
    for number in 1..=12 {
        let mut browser = place.browser();
        browser.sign_up(&format!("player {number}")).await;
        browser.post("/api/scores", &json!({ "points": number * 10 })).await;
        let answer = browser.post("/api/scores", &json!({ "points": 5 })).await.json();
        assert_eq!(answer["score"], f64::from(number * 10 + 5));
    }
    let board = place.browser().get("/api/leaderboard").await.json();
    assert_eq!(board.as_array().map(Vec::len), Some(10));
    assert_eq!(board[0], json!({ "rank": 1, "name": "player 12", "score": 125.0 }));
    assert_eq!(board[9]["name"], "player 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_is_kept_for_those_who_come_later() {
    let place = Place::open().await;
    let mut browser = place.browser();
    assert_eq!(browser.post("/api/chat", &json!({ "text": "hello" })).await.status, StatusCode::UNAUTHORIZED);
    browser.sign_up("ann").await;
    assert_eq!(browser.post("/api/chat", &json!({ "text": "hello" })).await.status, StatusCode::NO_CONTENT);
    let said = place.browser().get("/api/chat").await.json();
    assert_eq!((said[0]["user"].as_str(), said[0]["text"].as_str()), (Some("ann"), Some("hello")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_comes_back_with_its_owner_and_becomes_an_order() {
    let place = Place::open().await;
    let mut browser = place.browser();
    browser.sign_up("ann").await;
    browser.json(Method::PUT, "/api/cart", &json!({ "product": 3, "count": 2 })).await;
    place.shop.close().await;
    let mut other = place.browser();
    other.json(Method::PUT, "/api/cart", &json!({ "product": 4, "count": 1 })).await;
    let credentials = json!({ "username": "ann", "password": "a good password" });
    assert_eq!(other.post("/login", &credentials).await.status, StatusCode::OK);
    let cart = other.get("/api/cart").await.json();
    assert_eq!(cart, json!([{ "product": 4, "count": 1 }, { "product": 3, "count": 2 }]));
    let stock = |answer: serde_json::Value| answer["stock"].as_i64().expect("it is a number");
    let before = stock(other.get("/api/products/3").await.json());
    other.form("/cart/order", "").await;
    assert!(other.get("/cart").await.text().contains("Thank you"));
    assert_eq!(stock(other.get("/api/products/3").await.json()), before - 2);
    assert_eq!(other.get("/api/cart").await.json(), json!([]));
}
