//! The layer: finds the cookie, hands out the session, and lets the response go when everything is stored.

use crate::admin::SessionAdmin;
use crate::error::SessionError;
use crate::events::{Events, SessionEvents};
use crate::express::{ConfigError, ExpressProfile};
use crate::native::csrf::{Finding, TOKEN_HEADER};
use crate::native::meta::Visitor;
use crate::native::{NativeProfile, Outage};
use crate::profile::Profile;
use crate::session::Session;
use crate::stale::Seen;
use crate::state::Config;
use axum_core::response::{IntoResponse, Response};
use http::Request;
use http::header::{CACHE_CONTROL, COOKIE, HeaderValue, SET_COOKIE, USER_AGENT};
use larder_client::Larder;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// The sessions of an application: its store and its settings, checked.
#[derive(Clone)]
pub struct Sessions {
    config: Arc<Config>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let profile: &dyn fmt::Debug = match &self.config.profile {
            Profile::Express(express) => express,
            Profile::Native(native) => native,
        };
        f.debug_struct("Sessions").field("profile", profile).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Sessions that an Express application with the same settings shares.
    ///
    /// # Errors
    /// When settings contradict each other, or browsers would refuse the cookie.
    pub fn express(larder: Larder, profile: ExpressProfile) -> Result<Sessions, ConfigError> {
        profile.check()?;
        Ok(Sessions::of(larder, Profile::Express(profile)))
    }

    /// Sessions of our own: see [`NativeProfile`].
    ///
    /// # Errors
    /// When settings contradict each other, are unsafe together, or browsers would refuse the cookie.
    pub fn native(larder: Larder, profile: NativeProfile) -> Result<Sessions, ConfigError> {
        profile.check()?;
        Ok(Sessions::of(larder, Profile::Native(profile)))
    }

    fn of(larder: Larder, profile: Profile) -> Sessions {
        let outage = profile.native().map(|native| native.outage);
        let seen = Seen::new(matches!(outage, Some(Outage::ReadOnly(_))));
        let events = Arc::new(Events::new(larder.engine().is_some()));
        let fresh = profile.fresh_record();
        Sessions { config: Arc::new(Config { larder, profile, fresh, events, seen }) }
    }

    /// The layer for [`axum::Router::layer`](https://docs.rs/axum/0.8/axum/struct.Router.html#method.layer).
    #[must_use]
    pub fn layer(&self) -> SessionLayer {
        SessionLayer { config: Arc::clone(&self.config) }
    }

    /// Lists and ends sessions of users. Of sessions that Express shares there is no list.
    #[must_use]
    pub fn admin(&self) -> SessionAdmin {
        SessionAdmin { config: Arc::clone(&self.config) }
    }

    /// What becomes of native sessions from now on. With the engine in this process each end of a session is told once,
    /// with its cause, but for sessions that are swept away together with all other keys (FLUSHDB, FLUSHALL); of sessions
    /// on a server, what this program does to them is told.
    ///
    /// # Panics
    /// Outside of a tokio runtime, if the engine is in this process.
    pub async fn events(&self) -> SessionEvents {
        let prefix = self.config.profile.native().map_or("", |native| &native.prefix);
        self.config.events.listen(&self.config.larder, prefix).await
    }
}

/// Gives every request under the cookie's path a [`Session`].
#[derive(Clone)]
pub struct SessionLayer {
    config: Arc<Config>,
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { config: Arc::clone(&self.config), inner }
    }
}

/// What [`SessionLayer`] makes of a service.
#[derive(Clone)]
pub struct SessionService<S> {
    config: Arc<Config>,
    inner: S,
}

/// What the headers of a request tell about who has sent it, and the token that may be needed then.
fn judge<B>(config: &Config, request: &Request<B>) -> (Finding, Option<HeaderValue>) {
    let Some(native) = config.profile.native() else { return (Finding::Genuine, None) };
    let Some(csrf) = &native.csrf else { return (Finding::Genuine, None) };
    let headers = request.headers();
    let finding = csrf.judge(request.method(), request.uri(), headers, native.cookie.is_secure);
    let is_unproven = finding == Finding::Unproven;
    (finding, headers.get(TOKEN_HEADER).filter(|_| is_unproven).cloned())
}

/// Refuses a request that another site may have forged.
async fn refuse_forged(
    (finding, token): (Finding, Option<HeaderValue>),
    session: &Session,
) -> Result<(), SessionError> {
    let is_genuine = match finding {
        Finding::Genuine => true,
        Finding::Forged => false,
        // Without an id of a session there is nothing to misuse.
        Finding::Unproven if !session.is_presented().await => true,
        Finding::Unproven => {
            let token = token.as_ref().and_then(|token| token.to_str().ok());
            session.is_token(token.unwrap_or_default()).await?
        }
    };
    if is_genuine { Ok(()) } else { Err(SessionError::Forged) }
}

/// What the application says is the address of the client, and the request as it was.
fn find_ip<B>(config: &Config, request: Request<B>) -> (Option<IpAddr>, Request<B>) {
    let Some(find) = config.profile.native().and_then(|native| native.find_ip.as_ref()) else {
        return (None, request);
    };
    let (parts, body) = request.into_parts();
    (find(&parts), Request::from_parts(parts, body))
}

impl<S, B> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that was polled is the one that is ready; its copy is not.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        if !request.uri().path().starts_with(self.config.profile.path()) {
            return Box::pin(inner.call(request));
        }
        let config = Arc::clone(&self.config);
        let (ip, mut request) = find_ip(&config, request);
        let judged = judge(&config, &request);
        let cookies = request.headers().get_all(COOKIE).iter().cloned().collect();
        let visitor = Visitor { ip, agent: request.headers().get(USER_AGENT).cloned() };
        let session = Session::new(Arc::clone(&config), cookies, visitor);
        request.extensions_mut().insert(session.clone());
        if judged.0 == Finding::Genuine {
            // Nearly all. Their future has no place for the request, and stays of a size that allocators are fast with.
            let answered = inner.call(request);
            return Box::pin(async move {
                let response = answered.await?;
                Ok(settle(&config, session, response).await)
            });
        }
        Box::pin(async move {
            if let Err(error) = refuse_forged(judged, &session).await {
                return Ok(error.into_response());
            }
            let response = inner.call(request).await?;
            Ok(settle(&config, session, response).await)
        })
    }
}

/// Ends a request's use of its session, and lets the response say so.
async fn settle(config: &Config, session: Session, mut response: Response) -> Response {
    let failed = response.status().is_server_error();
    let (cookie, mut done) = session.finish(failed).await;
    let cookie = cookie.map(|cookie| HeaderValue::from_str(&cookie)).transpose();
    let cookie = cookie.unwrap_or_else(|_| {
        done = Err(SessionError::Corrupt("its cookie fits no header".to_owned()));
        None
    });
    if let Err(error) = done {
        response = error.into_response();
    }
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
        if config.profile.native().is_some() {
            // Whoever else is shown a stored answer would get the cookie, too.
            let unsaid = response.headers_mut().entry(CACHE_CONTROL);
            unsaid.or_insert(HeaderValue::from_static("no-store"));
        }
    }
    response
}
