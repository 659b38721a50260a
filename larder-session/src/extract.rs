//! What handlers ask for: the user, typed members, messages for the next page, tokens.

use crate::error::{Result, SessionError};
use crate::session::Session;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::ops::Deref;

/// A type that has a member of the session to itself.
///
/// ```
/// use larder_session::Slot;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Default)]
/// struct Cart {
///     items: Vec<String>,
///     // What a former version did not write must have a default.
///     #[serde(default)]
///     voucher: Option<String>,
/// }
///
/// impl Slot for Cart {
///     const KEY: &'static str = "cart";
/// }
/// ```
pub trait Slot: Serialize + DeserializeOwned + Send + 'static {
    /// The member's name.
    const KEY: &'static str;
}

/// Typed members.
impl Session {
    /// The value in a slot.
    ///
    /// # Errors
    /// As [`Session::get`].
    pub async fn get_slot<T: Slot>(&self) -> Result<Option<T>> {
        self.get(T::KEY).await
    }

    /// Fills a slot.
    ///
    /// # Errors
    /// As [`Session::set`].
    pub async fn set_slot<T: Slot>(&self, value: &T) -> Result<()> {
        self.set(T::KEY, value).await
    }

    /// Changes what is in a slot; see [`Session::update`].
    ///
    /// # Errors
    /// As [`Session::update`].
    pub async fn update_slot<T: Slot + Default>(
        &self,
        change: impl Fn(&mut T) + Send + Sync + 'static,
    ) -> Result<()> {
        self.update(T::KEY, change).await
    }

    /// Empties a slot; see [`Session::take`].
    ///
    /// # Errors
    /// As [`Session::take`].
    pub async fn take_slot<T: Slot>(&self) -> Result<Option<T>> {
        self.take(T::KEY).await
    }
}

/// What is in a slot, or its default: an extractor. Asked for as an `Option`, it is `None` where the slot is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Data<T>(pub T);

impl<S: Send + Sync, T: Slot + Default> FromRequestParts<S> for Data<T> {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Data<T>> {
        let session = <Session as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(Data(session.get_slot().await?.unwrap_or_default()))
    }
}

impl<S: Send + Sync, T: Slot> OptionalFromRequestParts<S> for Data<T> {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Data<T>>> {
        let session = <Session as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(session.get_slot().await?.map(Data))
    }
}

/// The user that is logged in: an extractor. Where nobody is, it answers 401; asked for as an `Option`, it is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User<U>(pub U);

impl<S: Send + Sync, U: DeserializeOwned> FromRequestParts<S> for User<U> {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<User<U>> {
        let session = <Session as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        session.user().await?.map(User).ok_or(SessionError::NoUser)
    }
}

impl<S: Send + Sync, U: DeserializeOwned> OptionalFromRequestParts<S> for User<U> {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<User<U>>> {
        let session = <Session as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(session.user().await?.map(User))
    }
}

/// Messages for the page that comes next, each shown once: an extractor. They are kept as the npm package
/// `connect-flash` keeps them, by kind, so that an Express application can show them too.
#[derive(Debug, Clone)]
pub struct Flash(Session);

/// The member that messages are in.
const FLASH: &str = "flash";

type Messages = BTreeMap<String, Vec<String>>;

impl<S: Send + Sync> FromRequestParts<S> for Flash {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Flash> {
        <Session as FromRequestParts<S>>::from_request_parts(parts, state).await.map(Flash)
    }
}

impl Flash {
    /// Keeps a message of a kind, such as `error`, for the next page.
    ///
    /// # Errors
    /// As [`Session::update`].
    pub async fn push(&self, kind: impl Into<String>, message: impl Into<String>) -> Result<()> {
        let (kind, message) = (kind.into(), message.into());
        let add = move |messages: &mut Messages| {
            messages.entry(kind.clone()).or_default().push(message.clone());
        };
        self.0.update(FLASH, add).await
    }

    /// Takes all messages, with their kinds, in the order of the kinds. Of requests that take them in parallel, one gets
    /// them.
    ///
    /// # Errors
    /// As [`Session::take`].
    pub async fn take(&self) -> Result<Vec<(String, String)>> {
        let messages: Messages = self.0.take(FLASH).await?.unwrap_or_default();
        let of_kind =
            |(kind, list): (String, Vec<String>)| list.into_iter().map(move |text| (kind.clone(), text));
        Ok(messages.into_iter().flat_map(of_kind).collect())
    }
}

/// A token against forged requests, for a page of this application to send back in the header `X-CSRF-Token`: an
/// extractor. It begins a session if there is none. It is good until the next login.
#[derive(Clone, PartialEq, Eq)]
pub struct CsrfToken(String);

impl Deref for CsrfToken {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CsrfToken(..)")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CsrfToken {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<CsrfToken> {
        let session = <Session as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        session.token().await.map(CsrfToken)
    }
}
