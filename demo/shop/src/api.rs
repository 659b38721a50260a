//! The JSON that programs get.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use larder_session::{Session, User};
use serde::Deserialize;
use serde_json::json;

use crate::Shop;
use crate::db::Change;
use crate::guard::Verdict;
use crate::live::TEXT_MAX;
use crate::web::From;

/// Points that one call adds at most.
const POINTS_MAX: f64 = 1000.0;
/// Characters of a product's texts.
const DESCRIPTION_MAX: usize = 2000;

/// An error as programs get it.
pub(crate) fn error(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

/// Somebody else's fault, of which the log has the details.
pub(crate) fn failed(why: &dyn std::fmt::Display) -> Response {
    tracing::error!("{why}");
    error(StatusCode::SERVICE_UNAVAILABLE, "Try again later")
}

pub(crate) async fn newest(State(shop): State<Arc<Shop>>) -> Response {
    match shop.products.newest().await {
        Ok(products) => ([(header::CONTENT_TYPE, "application/json")], products.json()).into_response(),
        Err(why) => failed(&why),
    }
}

pub(crate) async fn product(State(shop): State<Arc<Shop>>, Path(id): Path<i64>) -> Response {
    match shop.products.product(id).await {
        Ok(Some(product)) => Json(&*product).into_response(),
        Ok(None) => error(StatusCode::NOT_FOUND, "No such product"),
        Err(why) => failed(&why),
    }
}

pub(crate) async fn change(
    State(shop): State<Arc<Shop>>,
    _who: User<String>,
    Path(id): Path<i64>,
    Json(change): Json<Change>,
) -> Response {
    let texts = [change.name.as_ref(), change.description.as_ref()];
    let are_texts_fit = texts
        .into_iter()
        .flatten()
        .all(|text| !text.trim().is_empty() && text.chars().count() <= DESCRIPTION_MAX);
    let are_numbers_fit =
        [change.price, change.stock].into_iter().flatten().all(|n| (0..100_000_000).contains(&n));
    if !are_texts_fit || !are_numbers_fit {
        return error(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Texts have 1 to 2000 characters, numbers are not negative",
        );
    }
    match shop.products.change(id, change).await {
        Ok(Some(product)) => Json(&*product).into_response(),
        Ok(None) => error(StatusCode::NOT_FOUND, "No such product"),
        Err(why) => failed(&why),
    }
}

pub(crate) async fn profile(who: Option<User<String>>) -> Response {
    match who {
        Some(User(name)) => Json(json!({ "username": name })).into_response(),
        None => error(StatusCode::UNAUTHORIZED, "Unauthorized"),
    }
}

/// So many of a product.
#[derive(Deserialize)]
pub(crate) struct Put {
    product: i64,
    count: u32,
}

pub(crate) async fn cart(State(shop): State<Arc<Shop>>, session: Session) -> Response {
    match shop.carts.of(&session).await {
        Ok(cart) => Json(cart).into_response(),
        Err(why) => why.into_response(),
    }
}

pub(crate) async fn put(State(shop): State<Arc<Shop>>, session: Session, Json(put): Json<Put>) -> Response {
    match shop.products.product(put.product).await {
        Ok(Some(_)) => {}
        Ok(None) => return error(StatusCode::NOT_FOUND, "No such product"),
        Err(why) => return failed(&why),
    }
    match shop.carts.put(&session, put.product, put.count, false).await {
        Ok(cart) => Json(cart).into_response(),
        Err(why) => why.into_response(),
    }
}

/// Something to say.
#[derive(Deserialize)]
pub(crate) struct Say {
    text: String,
}

pub(crate) async fn say(
    State(shop): State<Arc<Shop>>,
    User(name): User<String>,
    From(ip): From,
    Json(say): Json<Say>,
) -> Response {
    let text = say.text.trim();
    if text.is_empty() || text.chars().count() > TEXT_MAX {
        return error(StatusCode::UNPROCESSABLE_ENTITY, "A message has 1 to 500 characters");
    }
    match shop.guard.may_say(ip).await {
        Ok(Verdict::Pass) => {}
        Ok(Verdict::Wait(_)) => {
            return error(StatusCode::TOO_MANY_REQUESTS, "Too many messages; wait a minute");
        }
        Err(why) => return failed(&why),
    }
    match shop.live.say(&name, text).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => failed(&why),
    }
}

pub(crate) async fn said(State(shop): State<Arc<Shop>>) -> Response {
    match shop.live.said().await {
        Ok(messages) => Json(messages).into_response(),
        Err(why) => failed(&why),
    }
}

/// Points that somebody has won.
#[derive(Deserialize)]
pub(crate) struct Points {
    points: f64,
}

pub(crate) async fn score(
    State(shop): State<Arc<Shop>>,
    User(name): User<String>,
    Json(Points { points }): Json<Points>,
) -> Response {
    if !(points > 0.0 && points <= POINTS_MAX) {
        return error(StatusCode::UNPROCESSABLE_ENTITY, "Points are more than 0 and at most 1000");
    }
    match shop.live.score(&name, points).await {
        Ok(score) => Json(json!({ "name": name, "score": score })).into_response(),
        Err(why) => failed(&why),
    }
}

pub(crate) async fn board(State(shop): State<Arc<Shop>>) -> Response {
    match shop.live.board().await {
        Ok(places) => Json(places).into_response(),
        Err(why) => failed(&why),
    }
}

/// What the cache has done, for programs; `hood` shows it to people.
pub(crate) async fn stats(State(shop): State<Arc<Shop>>) -> Response {
    let sums = shop.panel.sums();
    Json(json!({
        "hits": sums.hits,
        "stale": sums.stale,
        "misses": sums.misses,
        "queries": shop.database.queries(),
        "queriesSaved": sums.hits + sums.stale,
        "sessions": shop.sessions_count.get().await,
        "savedMs": sums.saved_us / 1000,
        "oldestServedMs": sums.oldest_ms,
        "caches": shop.caches,
    }))
    .into_response()
}
