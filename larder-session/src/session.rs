//! One request's view of its session.
//!
//! Nothing is read before a handler asks for it, and what is asked for and changed is the business of
//! [`State`](crate::state::State), behind a lock that all copies of a [`Session`] share.
//!
//! The time to live of the key is the truth about when a session ends. Express moves it alone when a request changes
//! nothing, and so do we with its records; the `expires` inside is what the browser was told last, and may be long past.

use crate::admin::{as_user, keep_limit};
use crate::error::{Result, SessionError};
use crate::events::{SessionEvent, SessionHandle, Why};
use crate::native::NativeProfile;
use crate::native::keys::handle_of;
use crate::native::meta::Visitor;
use crate::profile::Profile;
use crate::state::{Base, Change, Config, Cookies, State};
use axum_core::extract::FromRequestParts;
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Mutex, MutexGuard};

/// The session of a request: an extractor, cheap to clone. Names are those of members: in Express, of the session
/// object.
#[derive(Clone)]
pub struct Session {
    config: Arc<Config>,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Session> {
        parts.extensions.get::<Session>().cloned().ok_or(SessionError::NotInstalled)
    }
}

impl Session {
    pub(crate) fn new(config: Arc<Config>, cookies: Cookies, visitor: Visitor) -> Session {
        Session { config, state: Arc::new(Mutex::new(State::new(cookies, visitor))) }
    }

    /// The value of a member.
    ///
    /// # Errors
    /// When the store fails, or the value is of another type.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.config.profile.named(name)?;
        let mut state = self.locked().await;
        let record = state.load(&self.config).await?;
        record.get(name).map(|raw| decode(name, raw)).transpose()
    }

    /// Gives a member a value. It is stored when the request ends, or at [`Session::commit`]; others' changes of other
    /// members stay.
    ///
    /// # Errors
    /// When the store fails, the name is one that Express would lose, or JavaScript cannot hold the value exactly.
    pub async fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        let (name, raw) = (name.to_owned(), self.config.profile.encode(name, value)?);
        self.change(Box::new(move |record| {
            record.set(&name, &raw);
            Ok(())
        }))
        .await
    }

    /// Removes a member.
    ///
    /// # Errors
    /// As [`Session::set`].
    pub async fn remove(&self, name: &str) -> Result<()> {
        let name = self.config.profile.named(name)?;
        self.change(Box::new(move |record| {
            record.remove(&name);
            Ok(())
        }))
        .await
    }

    /// Changes a member, beginning with its default when it is absent. The closure runs again when somebody else changed
    /// the session meanwhile, so that of parallel updates none is lost.
    ///
    /// # Errors
    /// As [`Session::set`], and when the value is of another type.
    pub async fn update<T: Serialize + DeserializeOwned + Default>(
        &self,
        name: &str,
        change: impl Fn(&mut T) + Send + Sync + 'static,
    ) -> Result<()> {
        let change = self.updating(name, change)?;
        self.change(change).await
    }

    /// The same at once, with what the closure returned in the run that counted.
    ///
    /// # Errors
    /// As [`Session::update`] and [`Session::commit`].
    pub async fn update_now<T: Serialize + DeserializeOwned + Default, R: Send + 'static>(
        &self,
        name: &str,
        change: impl Fn(&mut T) -> R + Send + Sync + 'static,
    ) -> Result<R> {
        let result = Arc::new(parking_lot::Mutex::new(None));
        let last = Arc::clone(&result);
        let change = self.updating(name, move |value| *last.lock() = Some(change(value)))?;
        let mut state = self.locked().await;
        state.load(&self.config).await?;
        state.apply(&self.config, change)?;
        state.commit(&self.config).await?;
        let result = result.lock().take();
        result.ok_or(SessionError::Ended)
    }

    fn updating<T: Serialize + DeserializeOwned + Default>(
        &self,
        name: &str,
        change: impl Fn(&mut T) + Send + Sync + 'static,
    ) -> Result<Change> {
        let (config, name) = (Arc::clone(&self.config), self.config.profile.named(name)?);
        Ok(Box::new(move |record| {
            let mut value: T =
                record.get(&name).map(|raw| decode(&name, raw)).transpose()?.unwrap_or_default();
            change(&mut value);
            let raw = config.profile.encode(&name, &value)?;
            record.set(&name, &raw);
            Ok(())
        }))
    }

    /// Removes a member and returns its value, at once: of several that take it in parallel, one gets it.
    ///
    /// # Errors
    /// As [`Session::update`] and [`Session::commit`].
    pub async fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let name = self.config.profile.named(name)?;
        let mut state = self.locked().await;
        if state.load(&self.config).await?.get(&name).is_none() {
            return Ok(None);
        }
        let taken = Arc::new(parking_lot::Mutex::new(None));
        let (last, member) = (Arc::clone(&taken), name.clone());
        let change: Change = Box::new(move |record| {
            *last.lock() = record.get(&member).map(str::to_owned);
            record.remove(&member);
            Ok(())
        });
        state.apply(&self.config, change)?;
        state.commit(&self.config).await?;
        let raw = taken.lock().take();
        raw.map(|raw| decode(&name, &raw)).transpose()
    }

    /// Stores the changes now: before a body is streamed, or work goes on after the response.
    ///
    /// # Errors
    /// When the store fails, the record is too large, others change it all the time, or the session has ended.
    pub async fn commit(&self) -> Result<()> {
        self.locked().await.commit(&self.config).await
    }

    /// Gives the session another id, with all that is in it, at once; the old one loads nothing afterwards. For
    /// changes of what a user may do; a [login](Session::login) does it by itself. Old and new id change places in one
    /// step, which goes on to its end when the request is cancelled.
    ///
    /// # Errors
    /// As [`Session::commit`].
    pub async fn rotate(&self) -> Result<()> {
        self.detached(async |session| {
            let mut state = session.locked().await;
            state.load(&session.config).await?;
            if !matches!(state.base, Base::Stored { .. }) {
                // What is not stored yet will get an id that nobody knows.
                return Ok(());
            }
            state.turn(&session.config, None)?;
            state.commit(&session.config).await
        })
        .await
    }

    /// Logs a user in, at once: a text or a number, by which [`User`](crate::User) knows the user and
    /// [`SessionAdmin`](crate::SessionAdmin) finds the session. The session gets another id, so that one that was
    /// planted in the browser before is worth nothing; what else is in it stays.
    ///
    /// # Errors
    /// As [`Session::commit`]; [`SessionError::TooManySessions`] where the limit says so.
    pub async fn login<U: Serialize + ?Sized>(&self, user: &U) -> Result<()> {
        let user = as_user(user)?;
        self.detached(async move |session| {
            let mut state = session.locked().await;
            match session.log_in(&mut state, &user).await {
                Err(SessionError::Ended) => {
                    // Another login, or the end of the session, came between. Nobody else has the id of a new one.
                    state.begin_anew();
                    session.log_in(&mut state, &user).await
                }
                other => other,
            }
        })
        .await
    }

    async fn log_in(&self, state: &mut State, user: &Value) -> Result<()> {
        let config = &self.config;
        state.load(config).await?;
        let before = state.meta().map(|meta| meta.user.clone());
        state.turn(config, Some(user.clone()))?;
        let Some(native) = config.profile.native() else {
            let raw = user.to_string();
            let shared = Arc::clone(config);
            let change: Change = Box::new(move |record| {
                if let Profile::Express(express) = &shared.profile {
                    express.set_user(record, &raw);
                }
                Ok(())
            });
            state.apply(config, change)?;
            return state.commit(config).await;
        };
        let Some(handle) = state.next_id().map(|id| handle_of(id).to_owned()) else {
            return Err(SessionError::Ended);
        };
        // Before the login counts, so that no session of the user is ever unlisted.
        config.index(native).add(user, &handle, native.idle, true).await?;
        let is_noted = config.events.note_user(&handle, user);
        if let Err(error) = state.commit(config).await {
            if is_noted {
                config.events.forget_user(&handle);
            }
            return Err(error);
        }
        if let Some(before) = before.filter(|before| before != user && !before.is_null()) {
            config.index(native).remove(&before, &handle).await?;
        }
        let session = SessionHandle(handle.clone());
        config.events.tell(SessionEvent::LoggedIn { handle: session, user: user.clone() });
        if keep_limit(config, native, user).await?.contains(&handle) {
            state.begin_anew();
            return Err(SessionError::TooManySessions);
        }
        Ok(())
    }

    /// The user that is logged in.
    ///
    /// # Errors
    /// When the store fails, or the user is of another type.
    pub async fn user<U: DeserializeOwned>(&self) -> Result<Option<U>> {
        let mut state = self.locked().await;
        match self.config.profile {
            Profile::Express(_) => drop(state.load(&self.config).await?),
            Profile::Native(_) => state.look(&self.config).await?,
        }
        let user = self.config.profile.user(state.record(&self.config), state.meta());
        user.map_err(|why| mistyped("user", &why))
    }

    /// Ends the session, at once, and removes the cookie with the response. What is set afterwards begins a new session.
    ///
    /// # Errors
    /// When the store fails; the session has not ended then.
    pub async fn logout(&self) -> Result<()> {
        self.detached(async |session| session.locked().await.destroy(&session.config, Why::Logout).await)
            .await
    }

    /// The same, by the name that Express has for it.
    ///
    /// # Errors
    /// As [`Session::logout`].
    pub async fn destroy(&self) -> Result<()> {
        self.logout().await
    }

    /// The session's public name, by which [`SessionAdmin`](crate::SessionAdmin) knows it. `None` if nothing is stored
    /// yet, and for sessions that Express shares, whose only name is their id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn handle(&self) -> Result<Option<SessionHandle>> {
        let mut state = self.locked().await;
        state.load(&self.config).await?;
        match (&state.base, self.config.profile.native()) {
            (Base::Stored { id, .. }, Some(_)) => Ok(Some(SessionHandle(handle_of(id).to_owned()))),
            _ => Ok(None),
        }
    }

    /// The state, which hardly ever anybody else has.
    async fn locked(&self) -> MutexGuard<'_, State> {
        match self.state.try_lock() {
            Ok(state) => state,
            Err(_) => self.state.lock().await,
        }
    }

    async fn change(&self, change: Change) -> Result<()> {
        let mut state = self.locked().await;
        state.load(&self.config).await?;
        state.apply(&self.config, change)
    }

    /// Does something that goes on to its end even if the request is cancelled.
    async fn detached<R, F>(&self, work: impl FnOnce(Session) -> F) -> Result<R>
    where
        R: Send + 'static,
        F: Future<Output = Result<R>> + Send + 'static,
    {
        let done = tokio::spawn(work(self.clone())).await;
        done.unwrap_or_else(|stopped| Err(SessionError::Corrupt(stopped.to_string())))
    }

    /// A token against forged requests; begins a session if there is none.
    pub(crate) async fn token(&self) -> Result<String> {
        let Some(native) = self.config.profile.native() else { return Err(no_tokens()) };
        let mut state = self.locked().await;
        state.load(&self.config).await?;
        if !matches!(state.base, Base::Stored { .. }) {
            state.store_new(&self.config).await?;
        }
        let Base::Stored { id, meta: Some(meta), .. } = &state.base else { return Err(SessionError::Ended) };
        native.keys.token(handle_of(id), meta.login_us)
    }

    /// Whether the request presents an id that a key of ours has signed.
    pub(crate) async fn is_presented(&self) -> bool {
        !self.locked().await.presented(&self.config).is_empty()
    }

    /// Whether this is such a token of this session. Where there is no session there is nothing to protect.
    pub(crate) async fn is_token(&self, token: &str) -> Result<bool> {
        let Some(native) = self.config.profile.native() else { return Err(no_tokens()) };
        let mut state = self.locked().await;
        state.load(&self.config).await?;
        let Base::Stored { id, meta: Some(meta), .. } = &state.base else { return Ok(true) };
        Ok(native.keys.is_token(token, handle_of(id), meta.login_us))
    }

    /// Ends the request's use of the session: the value of `Set-Cookie`, if there is one to send, and the error if not
    /// all could be done. `failed` says that the response is an error of the server.
    ///
    /// A cookie goes out with an error, too: an id that the request got earlier is the only one by now.
    pub(crate) async fn finish(&self, failed: bool) -> (Option<String>, Result<()>) {
        {
            let mut state = self.locked().await;
            // It harms nobody if this is given up half-way.
            let touched = state.touch_express(&self.config).await;
            if touched.is_err() || state.is_settled(&self.config) {
                return (state.cookie(&self.config), touched);
            }
        }
        let finished = self.detached(async move |session| {
            let (mut state, config) = (session.locked().await, &session.config);
            if failed && config.profile.native().is_some_and(|native| native.discards_on_error) {
                state.discard();
            }
            let committed = match state.renew(config) {
                Ok(()) => state.commit(config).await,
                Err(error) => Err(error),
            };
            Ok(match committed {
                // A cookie now could undo what the request that ended or rotated the session has set.
                Err(SessionError::Ended) => (None, Ok(())),
                other => (state.cookie(config), other),
            })
        });
        finished.await.unwrap_or_else(|error| (None, Err(error)))
    }

    /// When the session ends, however much it is used. `None` if nothing is stored yet, and for sessions that Express
    /// shares.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ends_at(&self) -> Result<Option<SystemTime>> {
        let mut state = self.locked().await;
        state.load(&self.config).await?;
        let ends_at = |native: &NativeProfile, created_s| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(created_s) + native.absolute
        };
        Ok(state
            .meta()
            .zip(self.config.profile.native())
            .map(|(meta, native)| ends_at(native, meta.created_s)))
    }
}

fn no_tokens() -> SessionError {
    SessionError::Unsupported("tokens are not kept with what Express shares".to_owned())
}

fn decode<T: DeserializeOwned>(name: &str, raw: &str) -> Result<T> {
    serde_json::from_str(raw).map_err(|why| mistyped(name, &why))
}

fn mistyped(name: &str, why: &serde_json::Error) -> SessionError {
    SessionError::Corrupt(format!("member {name:?}: {why}"))
}
