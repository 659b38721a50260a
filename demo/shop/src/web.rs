//! Routes, and what holds for all of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use tower::ServiceBuilder;

use crate::config::Profile;
use crate::{Shop, api, pages, panel, streams};

/// Bytes of a request's body.
const BODY_MAX: usize = 16 * 1024;

/// Bytes of a refusal's text.
const REFUSAL_MAX: usize = 4096;

/// What browsers may do with our pages: nothing that does not come from here.
static HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

pub(crate) fn router(shop: Arc<Shop>) -> Router {
    let layer = shop.sessions.layer();
    let pages = Router::new()
        .route("/", get(pages::catalogue::newest))
        .route("/products/{id}", get(pages::catalogue::product))
        .route("/cart", get(pages::cart::show).post(pages::cart::put))
        .route("/cart/order", post(pages::cart::order))
        .route("/signup", get(pages::account::sign_up_form).post(pages::account::sign_up))
        .route("/login", get(pages::account::log_in_form).post(pages::account::log_in))
        .route("/logout", post(pages::account::log_out))
        .route("/devices", get(pages::account::devices).post(pages::account::revoke))
        .route("/chat", get(pages::live::chat))
        .route("/leaderboard", get(pages::live::board))
        .route("/hood", get(pages::hood::show));
    let api = Router::new()
        .route("/api/products", get(api::newest))
        .route("/api/products/{id}", get(api::product).put(api::change))
        .route("/profile", get(api::profile))
        .route("/api/cart", get(api::cart).put(api::put))
        .route("/api/chat", get(api::said).post(api::say))
        .route("/api/chat/stream", get(streams::chat))
        .route("/api/scores", post(api::score))
        .route("/api/leaderboard", get(api::board))
        .route("/api/leaderboard/stream", get(streams::board))
        .route("/api/stats", get(api::stats))
        .route("/api/stats/stream", get(streams::panel));
    let assets = Router::new()
        .route("/assets/icon.svg", get(|| asset("image/svg+xml", include_str!("../assets/icon.svg"))))
        .route(
            "/assets/shop.css",
            get(|| asset("text/css; charset=utf-8", include_str!("../assets/shop.css"))),
        )
        .route(
            "/assets/shop.js",
            get(|| asset("text/javascript; charset=utf-8", include_str!("../assets/shop.js"))),
        );
    // A router boxes what it is given as a layer, and copies that box for each request: so they are given at once.
    let watched = ServiceBuilder::new()
        .layer(from_fn_with_state(Arc::clone(&shop), watched))
        .option_layer((shop.profile == Profile::Express).then(|| from_fn(from_here)))
        .layer(layer);
    pages
        .merge(api)
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(watched)
        .merge(assets)
        .layer((axum::middleware::map_response(with_headers), DefaultBodyLimit::max(BODY_MAX)))
        .with_state(shop)
}

async fn with_headers(mut response: Response) -> Response {
    for (name, value) in &HEADERS {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=300")], text)
}

/// Lets the panel see every request, with what it looked for in the cache.
async fn watched(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    let (began, method, path) = (Instant::now(), request.method().clone(), request.uri().path().to_owned());
    let wants_page = request.headers().get(header::ACCEPT).is_some_and(|wants| contains(wants, "text/html"));
    let (response, looks) = panel::scope(next.run(request)).await;
    let response = with_words(response, wants_page).await;
    shop.panel.answered(method.as_str(), &path, response.status().as_u16(), began.elapsed(), looks);
    response
}

fn contains(value: &HeaderValue, word: &str) -> bool {
    value.to_str().is_ok_and(|text| text.contains(word))
}

/// A refusal that has come from below without a word, or as plain text, gets a page or JSON that says what it is.
async fn with_words(response: Response, wants_page: bool) -> Response {
    let status = response.status();
    let is_plain =
        response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| contains(kind, "text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !is_plain {
        return response;
    }
    let (parts, body) = response.into_parts();
    let said = axum::body::to_bytes(body, REFUSAL_MAX).await.unwrap_or_default();
    let why = match std::str::from_utf8(&said) {
        Ok(said) if !said.is_empty() => said,
        _ => reason(status),
    };
    let mut response =
        if wants_page { pages::problem(status, why).into_response() } else { api::error(status, why) };
    for (name, value) in
        parts.headers.iter().filter(|(name, _)| [header::SET_COOKIE, header::ALLOW].contains(name))
    {
        response.headers_mut().append(name, value.clone());
    }
    response
}

fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "This was not sent by a page of the shop",
        StatusCode::NOT_FOUND => "There is nothing here",
        StatusCode::METHOD_NOT_ALLOWED => "This cannot be done here",
        StatusCode::PAYLOAD_TOO_LARGE => "That is too much at once",
        status if status.is_server_error() => "Try again in a moment",
        _ => "That makes no sense here",
    }
}

/// Sessions of the shop's own refuse requests that another site has made a browser send; those of Express do not, so that
/// the shop does it here: what changes something must come from this host.
async fn from_here(request: Request, next: Next) -> Response {
    let is_harmless = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_harmless && is_foreign(&request) {
        return pages::problem(StatusCode::FORBIDDEN, "This was not sent by a page of the shop.")
            .into_response();
    }
    next.run(request).await
}

fn is_foreign(request: &Request) -> bool {
    let text = |name: &HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(&HeaderName::from_static("sec-fetch-site")) {
        return !["same-origin", "none"].contains(&site);
    }
    let Some(origin) = text(&header::ORIGIN) else { return false };
    let host = text(&header::HOST).unwrap_or_default();
    origin.split_once("://").is_none_or(|(_, of)| of != host)
}

/// The address a request comes from.
pub(crate) struct From(pub(crate) std::net::IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<From, StatusCode> {
        let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        info.map(|info| From(info.0.ip())).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}
