//! An axum application that knows whoever has logged in to the Express shop in `examples/express`, and the other way
//! round. How to run both is told in `examples/axum/README.md`.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use larder_client::Larder;
use larder_session::{ConfigError, ExpressProfile, SameSite, Session, SessionError, Sessions, User};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// The accounts that the shop has, too.
const ACCOUNTS: [(u64, &str, &str); 2] = [(1, "ada", "analytical"), (2, "grace", "nanosecond")];

#[derive(Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

async fn login(session: Session, Json(given): Json<Credentials>) -> Result<Response, SessionError> {
    let known =
        |(_, name, password): &&(u64, &str, &str)| *name == given.username && *password == given.password;
    let Some((id, name, _)) = ACCOUNTS.iter().find(known) else {
        return Ok(
            (StatusCode::UNAUTHORIZED, Json(json!({ "error": "wrong name or password" }))).into_response()
        );
    };
    // Another session id, as `regenerate` gives in Express; `userId` is where the shop looks.
    session.login(id).await?;
    session.set("username", name).await?;
    Ok(Json(json!({ "userId": id, "username": name })).into_response())
}

/// Answers 401 when nobody is logged in: that is what `User` does.
async fn profile(User(id): User<u64>, session: Session) -> Result<Json<Value>, SessionError> {
    let name: Option<String> = session.get("username").await?;
    Ok(Json(json!({ "userId": id, "username": name })))
}

/// Counts in a member of its own. What Express keeps beside it stays as it is, to the byte.
async fn visit(User(_): User<u64>, session: Session) -> Result<Json<Value>, SessionError> {
    let count = |visits: &mut u64| {
        *visits += 1;
        *visits
    };
    Ok(Json(json!({ "visits": session.update_now("visits", count).await? })))
}

async fn logout(session: Session) -> Result<StatusCode, SessionError> {
    session.logout().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The application, with the settings that the shop gives to express-session.
pub(crate) fn app(larder: Larder, secret: &str) -> Result<Router, ConfigError> {
    let day = Duration::from_secs(24 * 60 * 60);
    let profile_of_shop = ExpressProfile::new([secret]).max_age(day).same_site(SameSite::Lax);
    let sessions = Sessions::express(larder, profile_of_shop)?;
    let routes = Router::new()
        .route("/login", post(login))
        .route("/profile", get(profile))
        .route("/visit", post(visit))
        .route("/logout", post(logout));
    Ok(routes.layer(sessions.layer()))
}

// The test of this page brings the application up by itself.
#[allow(dead_code)]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setting = |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let larder = Larder::open(&setting("REDIS_URL", "redis://127.0.0.1:6379")).await?;
    let app = app(larder, &setting("SESSION_SECRET", "change me before anyone else can reach this"))?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", setting("PORT", "4000").parse()?)).await?;
    println!("LISTENING http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
