//! The layer: finds the cookie, hands out the session, and lets the response go when everything is stored.

use crate::cookie::{first_of, unsign};
use crate::error::SessionError;
use crate::express::{ConfigError, ExpressProfile};
use crate::session::{Config, Session};
use axum_core::response::{IntoResponse, Response};
use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Request};
use larder_client::Larder;
use std::fmt;
use std::future::Future;
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
        f.debug_struct("Sessions").field("profile", &self.config.profile).finish_non_exhaustive()
    }
}

impl Sessions {
    /// Sessions that an Express application with the same settings shares.
    ///
    /// # Errors
    /// When settings contradict each other, or browsers would refuse the cookie.
    pub fn express(larder: Larder, profile: ExpressProfile) -> Result<Sessions, ConfigError> {
        profile.check()?;
        Ok(Sessions { config: Arc::new(Config { larder, profile }) })
    }

    /// The layer for [`axum::Router::layer`](https://docs.rs/axum/0.8/axum/struct.Router.html#method.layer).
    #[must_use]
    pub fn layer(&self) -> SessionLayer {
        SessionLayer { config: Arc::clone(&self.config) }
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

/// The id that a request presents, if its signature is good, and which secret made it.
fn presented(headers: &HeaderMap, profile: &ExpressProfile) -> Option<(String, usize)> {
    let headers = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let value = headers.into_iter().find_map(|header| first_of(header, &profile.name))?;
    let (id, secret) = unsign(value.strip_prefix("s:")?, &profile.secrets)?;
    Some((id.to_owned(), secret))
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The service that was polled is the one that is ready; its copy is not.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let config = Arc::clone(&self.config);
        Box::pin(async move {
            if !request.uri().path().starts_with(&config.profile.path) {
                return inner.call(request).await;
            }
            let session = Session::new(Arc::clone(&config), presented(request.headers(), &config.profile));
            request.extensions_mut().insert(session.clone());
            let mut response = inner.call(request).await?;
            let cookie = session.finish().await.and_then(|cookie| {
                let value = |cookie: String| HeaderValue::from_str(&cookie);
                let unsendable = |_| SessionError::Corrupt("its cookie fits no header".to_owned());
                cookie.map(value).transpose().map_err(unsendable)
            });
            match cookie {
                Ok(cookie) => {
                    response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
                    Ok(response)
                }
                Err(error) => Ok(error.into_response()),
            }
        })
    }
}
