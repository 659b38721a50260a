//! Signing up, logging in and out, and the devices somebody is logged in on.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{Form, FromRequest, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use larder_session::{Session, SessionError, SessionHandle, User};
use maud::html;
use serde::Deserialize;
use serde_json::json;

use super::{Page, Visitor, failed, page};
use crate::accounts::Refusal;
use crate::config::Profile;
use crate::web::From;
use crate::{Shop, api};

/// A name and a password, as a page or a program sends them.
#[derive(Deserialize)]
pub(crate) struct Credentials {
    username: String,
    password: String,
}

/// What was sent, and whether a program sent it.
pub(crate) struct Sent {
    credentials: Credentials,
    is_json: bool,
}

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Sent, Response> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
        let credentials = if is_json {
            Json::from_request(request, state).await.map_err(IntoResponse::into_response)?.0
        } else {
            Form::from_request(request, state).await.map_err(IntoResponse::into_response)?.0
        };
        Ok(Sent { credentials, is_json })
    }
}

fn form(visitor: &Visitor, is_new: bool, name: &str, why: Option<&str>) -> Page {
    let (title, action, other, words, hint) = if is_new {
        ("Sign up", "/signup", "/login", "I have an account", "new-password")
    } else {
        ("Log in", "/login", "/signup", "I have no account yet", "current-password")
    };
    let content = html! {
        @if let Some(why) = why { p.message.bad role="alert" { (why) } }
        form.stacked method="post" action=(action) {
            label for="username" { "Name" }
            input id="username" name="username" value=(name) autocomplete="username" required maxlength="30";
            label for="password" { "Password" }
            input id="password" name="password" type="password" autocomplete=(hint) required maxlength="200";
            @if is_new { p.quiet { "At least 8 characters." } }
            button { (title) }
        }
        p { a href=(other) { (words) } }
    };
    page(visitor, title, &content)
}

pub(crate) async fn sign_up_form(session: Session) -> Page {
    form(&Visitor::of(&session).await, true, "", None)
}

pub(crate) async fn log_in_form(session: Session) -> Page {
    form(&Visitor::of(&session).await, false, "", None)
}

/// A refusal for whoever was refused. The log has no names and no passwords.
fn refused(visitor: &Visitor, is_new: bool, sent: &Sent, refusal: &Refusal) -> Response {
    let wait;
    let (status, why) = match refusal {
        Refusal::Wrong => (StatusCode::UNAUTHORIZED, "Name and password do not belong together."),
        Refusal::Locked(time) => {
            wait = format!("Too many tries. Please wait {} minutes.", time.as_secs().div_ceil(60));
            (StatusCode::TOO_MANY_REQUESTS, wait.as_str())
        }
        Refusal::Taken => (StatusCode::CONFLICT, "This name is taken."),
        Refusal::Unfit(why) => (StatusCode::UNPROCESSABLE_ENTITY, *why),
        Refusal::Failed(why) => {
            tracing::error!("{why}");
            (StatusCode::SERVICE_UNAVAILABLE, "Please try again in a moment.")
        }
    };
    let mut response = if sent.is_json {
        api::error(status, why)
    } else {
        Page(status, form(visitor, is_new, &sent.credentials.username, Some(why)).1).into_response()
    };
    if let Refusal::Locked(time) = refusal {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(time.as_secs()));
    }
    response
}

async fn enter(shop: &Shop, session: &Session, sent: &Sent) -> Result<Response, SessionError> {
    let name = &sent.credentials.username;
    session.login(name).await?;
    if shop.profile == Profile::Express {
        // The tutorial's application asks for both.
        session.set("userId", name).await?;
    }
    shop.carts.come_back(session, name).await?;
    Ok(if sent.is_json {
        Json(json!({ "username": name })).into_response()
    } else {
        Redirect::to("/").into_response()
    })
}

pub(crate) async fn sign_up(
    State(shop): State<Arc<Shop>>,
    session: Session,
    From(ip): From,
    sent: Sent,
) -> Response {
    let Credentials { username, password } = &sent.credentials;
    match shop.accounts.sign_up(username, password, ip).await {
        Ok(()) => enter(&shop, &session, &sent).await.unwrap_or_else(|why| failed(&why)),
        Err(refusal) => refused(&Visitor::of(&session).await, true, &sent, &refusal),
    }
}

pub(crate) async fn log_in(
    State(shop): State<Arc<Shop>>,
    session: Session,
    From(ip): From,
    sent: Sent,
) -> Response {
    let Credentials { username, password } = &sent.credentials;
    match shop.accounts.log_in(username, password, ip).await {
        Ok(()) => enter(&shop, &session, &sent).await.unwrap_or_else(|why| failed(&why)),
        Err(refusal) => refused(&Visitor::of(&session).await, false, &sent, &refusal),
    }
}

pub(crate) async fn log_out(session: Session, request: Request) -> Response {
    if let Err(why) = session.logout().await {
        return failed(&why);
    }
    let wants =
        request.headers().get(header::ACCEPT).and_then(|wants| wants.to_str().ok()).unwrap_or_default();
    if wants.contains("text/html") {
        Redirect::to("/").into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// How long ago, in words.
fn ago(then: SystemTime) -> String {
    let minutes = then.elapsed().unwrap_or_default().as_secs() / 60;
    match minutes {
        0 => "just now".to_owned(),
        1..120 => format!("{minutes} min ago"),
        120..2880 => format!("{} hours ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1440),
    }
}

pub(crate) async fn devices(
    State(shop): State<Arc<Shop>>,
    session: Session,
    who: Option<User<String>>,
) -> Response {
    let Some(User(name)) = who else { return Redirect::to("/login").into_response() };
    let visitor = Visitor::of(&session).await;
    let (list, this) = match (shop.sessions.admin().list(&name).await, session.handle().await) {
        (Ok(list), Ok(this)) => (list, this),
        (Err(SessionError::Unsupported(_)), _) => {
            let content = html! { p { "Sessions that an Express application shares cannot be listed." } };
            return page(&visitor, "My devices", &content).into_response();
        }
        (Err(why), _) | (_, Err(why)) => return failed(&why),
    };
    let content = html! {
        p.quiet { "Wherever you are logged in. Whatever you do not know, end." }
        ul.devices {
            @for device in &list {
                @let is_this = this.as_ref() == Some(&device.handle);
                li {
                    div {
                        p { strong { (if device.agent.is_empty() { "Unknown browser" } else { &device.agent }) } }
                        p.quiet { "from " (device.ip) ", logged in " (ago(device.logged_in)) ", seen " (ago(device.last_seen)) }
                    }
                    @if is_this { p.this { "This device" } }
                    @else {
                        form method="post" action="/devices" {
                            input type="hidden" name="handle" value=(device.handle.to_string());
                            button { "End this session" }
                        }
                    }
                }
            }
        }
    };
    page(&visitor, "My devices", &content).into_response()
}

/// A session to be ended.
#[derive(Deserialize)]
pub(crate) struct Revoke {
    handle: String,
}

/// Ends a session, if it is one of the user's own.
pub(crate) async fn revoke(
    State(shop): State<Arc<Shop>>,
    User(name): User<String>,
    Form(Revoke { handle }): Form<Revoke>,
) -> Response {
    let admin = shop.sessions.admin();
    let ended = async {
        let handle: Option<SessionHandle> = handle.parse().ok();
        for device in admin.list(&name).await? {
            if Some(&device.handle) == handle.as_ref() {
                admin.revoke(&device.handle).await?;
            }
        }
        Ok::<_, SessionError>(())
    };
    match ended.await {
        Ok(()) => Redirect::to("/devices").into_response(),
        Err(why) => failed(&why),
    }
}
