//! The sessions of users, for those users and for whoever looks after them.

use crate::error::{Result, SessionError};
use crate::events::{SessionHandle, Why};
use crate::native::NativeProfile;
use crate::native::index::{Listed, is_same_user};
use crate::native::meta::Facts;
use crate::state::Config;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Lists and ends sessions of users. From [`Sessions::admin`](crate::Sessions::admin).
#[derive(Clone)]
pub struct SessionAdmin {
    pub(crate) config: Arc<Config>,
}

/// A session, as a list of devices shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its public name.
    pub handle: SessionHandle,
    /// When it began.
    pub created: SystemTime,
    /// When the user logged in.
    pub logged_in: SystemTime,
    /// When it was last used, as exactly as uses are noted.
    pub last_seen: SystemTime,
    /// The address the user logged in from; empty if unknown.
    pub ip: String,
    /// The browser the user logged in with; empty if unknown.
    pub agent: String,
}

impl SessionInfo {
    fn new(listed: Listed) -> SessionInfo {
        let Listed { handle, meta, .. } = listed;
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        SessionInfo {
            handle: SessionHandle(handle),
            created: at(meta.created_s),
            logged_in: UNIX_EPOCH + Duration::from_micros(meta.login_us),
            last_seen: at(meta.seen_s),
            ip: meta.ip,
            agent: meta.agent,
        }
    }
}

impl fmt::Debug for SessionAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionAdmin").finish_non_exhaustive()
    }
}

impl SessionAdmin {
    fn native(&self) -> Result<&NativeProfile> {
        let none = || SessionError::Unsupported("Express keeps no list of a user's sessions".to_owned());
        self.config.profile.native().ok_or_else(none)
    }

    /// The live sessions of a user, the one whose login is the longest ago first.
    ///
    /// # Errors
    /// When the store fails; [`SessionError::Unsupported`] for sessions that Express shares.
    pub async fn list<U: Serialize + ?Sized>(&self, user: &U) -> Result<Vec<SessionInfo>> {
        let index = self.config.index(self.native()?);
        let listed = index.sessions(&as_user(user)?).await?;
        Ok(listed.into_iter().map(SessionInfo::new).collect())
    }

    /// Ends a session. Returns whether it was alive. A request of it that is under way changes nothing any more.
    ///
    /// # Errors
    /// As [`SessionAdmin::list`].
    pub async fn revoke(&self, handle: &SessionHandle) -> Result<bool> {
        let native = self.native()?;
        let Some(bytes) = self.config.larder.get(native.key(&handle.0)).await? else { return Ok(false) };
        let user = native.meta_of(&bytes).map_or(Value::Null, |meta| Facts::from(meta).user);
        self.config.seen.forget(&handle.0);
        let expected = self.config.events.expect(&handle.0, &user, Why::Revoked);
        let was_there = self.config.larder.del(&[native.key(&handle.0)]).await? > 0;
        expected.happened(was_there);
        if !user.is_null() {
            self.config.index(native).remove(&user, &handle.0).await?;
        }
        Ok(was_there)
    }

    /// Ends all sessions of a user that are listed, except for one if that is named, and returns how many. When it
    /// returns, none of them loads anything, on any node.
    ///
    /// # Errors
    /// As [`SessionAdmin::list`]; some sessions may have ended then.
    pub async fn revoke_all<U: Serialize + ?Sized>(
        &self,
        user: &U,
        except: Option<&SessionHandle>,
    ) -> Result<usize> {
        let (native, user) = (self.native()?, as_user(user)?);
        let mut ended = 0;
        for listed in self.config.index(native).sessions(&user).await? {
            if except.is_none_or(|except| except.0 != listed.handle) {
                ended += usize::from(end(&self.config, native, &user, listed, Why::Revoked).await?);
            }
        }
        Ok(ended)
    }
}

/// Who a user is, as it is kept: a JSON text or number.
pub(crate) fn as_user<U: Serialize + ?Sized>(user: &U) -> Result<Value> {
    let why = |why: String| SessionError::Unrepresentable(format!("a user: {why}"));
    let value = serde_json::to_value(user).map_err(|error| why(error.to_string()))?;
    match value {
        Value::String(_) | Value::Number(_) => Ok(value),
        _ => Err(why("neither a text nor a number".to_owned())),
    }
}

/// Ends a session of a user. One that has become another user's meanwhile stays.
pub(crate) async fn end(
    config: &Config,
    native: &NativeProfile,
    user: &Value,
    listed: Listed,
    why: Why,
) -> Result<bool> {
    let Listed { handle, mut bytes, meta } = listed;
    let key = native.key(&handle);
    config.seen.forget(&handle);
    let was_there = loop {
        let expected = config.events.expect(&handle, &meta.user, why);
        if config.larder.compare_and_delete(&key, &bytes).await? {
            expected.happened(true);
            break true;
        }
        drop(expected);
        // It was used meanwhile, or has ended.
        let Some(now) = config.larder.get(&key).await? else { break false };
        if native.meta_of(&now).is_none_or(|now| !is_same_user(&now.user, user)) {
            break false;
        }
        bytes = now;
    };
    config.index(native).remove(user, &handle).await?;
    Ok(was_there)
}

/// Sees that a user who has just logged in has no more sessions than he may.
pub(crate) async fn keep_limit(config: &Config, native: &NativeProfile, user: &Value) -> Result<Vec<String>> {
    let Some((limit, overflow)) = native.limit else { return Ok(Vec::new()) };
    let sessions = config.index(native).sessions(user).await?;
    let excess = sessions.len().saturating_sub(limit);
    // All who log in at the same time agree on who came when, so that together they end as many as are too many.
    let surplus: Vec<Listed> = match overflow {
        crate::native::Overflow::EndOldest => sessions.into_iter().take(excess).collect(),
        crate::native::Overflow::Refuse => sessions.into_iter().skip(limit).collect(),
    };
    let mut ended = Vec::new();
    for listed in surplus {
        let handle = listed.handle.clone();
        end(config, native, user, listed, Why::Limit).await?;
        ended.push(handle);
    }
    Ok(ended)
}
