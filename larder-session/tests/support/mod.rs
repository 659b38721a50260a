//! Backends to keep sessions in, and an application in front of them.

// Each test file uses a part of this.
#![allow(dead_code)]

pub(crate) mod proxy;

use axum::body::Body;
use axum::extract::{Query, Request};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use larder_client::Larder;
use larder_session::{ExpressProfile, KeyRing, NativeProfile, Session, SessionError, Sessions};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use testkit::Server;
use tower::ServiceExt;

/// A store, with its server if it needs one.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) larder: Larder,
    pub(crate) server: Option<Server>,
}

pub(crate) async fn servers() -> Vec<Backend> {
    let mut all = Vec::new();
    for (name, server) in Server::of_each_kind() {
        let larder = Larder::open(&url(&server)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        all.push(Backend { name, larder, server: Some(server) });
    }
    all
}

/// The engine in this process, our server, and a real redis-server.
pub(crate) async fn backends() -> Vec<Backend> {
    let larder = Larder::open("embedded://").await.expect("the engine opens");
    let mut all = vec![Backend { name: "embedded", larder, server: None }];
    all.extend(servers().await);
    all
}

pub(crate) fn url(server: &Server) -> String {
    format!("redis://127.0.0.1:{}", server.port())
}

/// Whether the bar is measured in full.
pub(crate) fn is_full() -> bool {
    std::env::var_os("LARDER_SESSION_FULL").is_some()
}

/// How often to do something: less often than the bar asks for, unless it is measured in full.
pub(crate) fn times(full: usize, otherwise: usize) -> usize {
    if is_full() { full } else { otherwise }
}

/// Runs something on each backend, one after the other, and never for ever.
pub(crate) async fn on_all<F: Future<Output = ()>>(run: impl Fn(Backend) -> F) {
    for backend in backends().await {
        let name = backend.name;
        let done = tokio::time::timeout(Duration::from_secs(300), run(backend)).await;
        done.unwrap_or_else(|_| panic!("{name}: no end"));
    }
}

/// The same on all of them at once, for what mostly waits.
pub(crate) async fn on_all_at_once<F: Future<Output = ()>>(run: impl Fn(Backend) -> F) {
    let running = backends().await.into_iter().map(run);
    let done = futures_util::future::join_all(running);
    tokio::time::timeout(Duration::from_secs(300), done).await.expect("it ends");
}

pub(crate) fn profile() -> ExpressProfile {
    ExpressProfile::new(["first secret", "old secret"])
}

/// A key that signs cookies.
pub(crate) const KEY: &[u8; 32] = b"0123456789 a key for tests alone";

pub(crate) fn keys() -> KeyRing {
    KeyRing::new(KEY)
}

pub(crate) fn native() -> NativeProfile {
    NativeProfile::new(keys())
}

pub(crate) fn native_sessions(larder: &Larder, profile: NativeProfile) -> Sessions {
    Sessions::native(larder.clone(), profile).expect("the settings agree")
}

/// Statements 15 and 16: a hundred parallel changes of different members, and a hundred updates of one, all stay. Returns
/// the cookie of the session.
pub(crate) async fn parallel_changes_all_stay(app: &Router, name: &str) -> String {
    let cookie = ask(app, r#"/change?set={"n":0}"#, None).await.cookie();
    let mut running = Vec::new();
    for n in 0..100 {
        for path in ["/add".to_owned(), format!(r#"/change?set={{"m{n}":{n}}}"#)] {
            let (app, cookie) = (app.clone(), cookie.clone());
            running.push(tokio::spawn(async move { ask(&app, &path, Some(&cookie)).await.status }));
        }
    }
    for one in running {
        assert_eq!(one.await.expect("the request ends"), 200, "{name}");
    }
    assert_eq!(ask(app, "/member?name=n", Some(&cookie)).await.body, "100", "{name}");
    for n in 0..100 {
        let member = ask(app, &format!("/member?name=m{n}"), Some(&cookie)).await.body;
        assert_eq!(member, n.to_string(), "{name}");
    }
    cookie
}

/// The same routes as those of [`app`], with logins of our own.
pub(crate) fn native_routes() -> Router {
    Router::new()
        .route("/member", get(member))
        .route("/change", get(change))
        .route("/add", get(add))
        .route("/number", get(number))
        .route("/take", get(take))
        .route("/user", get(user))
        .route("/login", get(log_in))
        .route("/rotate", get(async |session: Session| session.rotate().await))
        .route("/logout", get(async |session: Session| session.logout().await))
        .route("/nothing", get(async |_: Session| "nothing"))
}

pub(crate) fn native_app(larder: &Larder, profile: NativeProfile) -> Router {
    native_routes().layer(native_sessions(larder, profile).layer())
}

async fn number(session: Session) -> Result<String, SessionError> {
    let next = |n: &mut u64| {
        *n += 1;
        *n
    };
    Ok(session.update_now("n", next).await?.to_string())
}

async fn user(session: Session) -> Result<Json<Option<Value>>, SessionError> {
    Ok(Json(session.user().await?))
}

async fn log_in(session: Session, Query(query): Parameters) -> Result<(), SessionError> {
    session.login(&query["user"]).await
}

pub(crate) fn app(larder: &Larder, profile: ExpressProfile) -> Router {
    let sessions = Sessions::express(larder.clone(), profile).expect("the settings agree");
    Router::new()
        .route("/member", get(member))
        .route("/change", get(change))
        .route("/delete", get(delete))
        .route("/add", get(add))
        .route("/take", get(take))
        .route("/login", get(login))
        .route("/logout", get(async |session: Session| session.destroy().await))
        .route("/nothing", get(async |_: Session| "nothing"))
        .layer(sessions.layer())
}

type Parameters = Query<HashMap<String, String>>;

async fn member(session: Session, Query(query): Parameters) -> Result<Json<Option<Value>>, SessionError> {
    Ok(Json(session.get(&query["name"]).await?))
}

async fn change(session: Session, Query(query): Parameters) -> Result<(), SessionError> {
    let members: serde_json::Map<String, Value> = serde_json::from_str(&query["set"]).expect("an object");
    for (name, value) in &members {
        session.set(name, value).await?;
    }
    Ok(())
}

async fn delete(session: Session, Query(query): Parameters) -> Result<(), SessionError> {
    session.remove(&query["name"]).await
}

async fn add(session: Session) -> Result<(), SessionError> {
    session.update("n", |n: &mut u64| *n += 1).await
}

async fn take(session: Session, Query(query): Parameters) -> Result<Json<Option<Value>>, SessionError> {
    Ok(Json(session.take(&query["name"]).await?))
}

async fn login(session: Session, Query(query): Parameters) -> Result<(), SessionError> {
    session.set("user", &query["user"]).await?;
    session.rotate().await
}

/// An answer of either side.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) set_cookie: Option<String>,
    pub(crate) body: String,
}

impl Answer {
    /// The cookie that was set, as a browser sends it back.
    pub(crate) fn cookie(&self) -> String {
        let cookie = self.set_cookie.as_deref().expect("a cookie is set");
        cookie.split(';').next().expect("split gives one").to_owned()
    }
}

/// Asks our side.
pub(crate) async fn ask(app: &Router, path: &str, cookie: Option<&str>) -> Answer {
    ask_with(app, "GET", path, cookie, &[]).await
}

/// The same with a method and headers.
pub(crate) async fn ask_with(
    app: &Router,
    method: &str,
    path: &str,
    cookie: Option<&str>,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::builder().method(method).uri(encoded(path));
    for (name, value) in cookie.map(|cookie| ("cookie", cookie)).iter().chain(headers) {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("the path is encoded");
    let response = app.clone().oneshot(request).await.expect("never fails");
    let status: StatusCode = response.status();
    let set_cookie = response.headers().get("set-cookie").map(|v| v.to_str().expect("ASCII").to_owned());
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    Answer { status: status.as_u16(), set_cookie, body: String::from_utf8_lossy(&body).into_owned() }
}

/// Asks a program on this machine.
pub(crate) async fn send_http(
    port: u16,
    method: &str,
    path: &str,
    cookie: Option<&str>,
    body: &str,
) -> Answer {
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
    let (path, length) = (encoded(path), body.len());
    // HTTP/1.0: the body ends where the connection does.
    let request = format!(
        "{method} {path} HTTP/1.0\r\n{cookie}X-Forwarded-Proto: https\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let exchange = move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    };
    let text = tokio::task::spawn_blocking(exchange).await.expect("no panic").expect("it answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP response");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let header = |line: &str| {
        Some(line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))?.1.to_owned())
    };
    Answer { status, set_cookie: head.lines().find_map(header), body: body.to_owned() }
}

/// A path with a query in which JSON may stand.
pub(crate) fn encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |out, byte| {
        if byte.is_ascii_alphanumeric() || b"/?=&-_.".contains(&byte) {
            out + char::from(byte).encode_utf8(&mut [0; 4])
        } else {
            out + &format!("%{byte:02X}")
        }
    })
}

/// The id in a cookie of either side: theirs and ours hold no character that is encoded.
pub(crate) fn id_of(cookie: &str) -> String {
    let value = cookie.split_once("=s%3A").expect("a signed cookie").1;
    value.rsplit_once('.').expect("a signature").0.to_owned()
}
