//! Which sessions a user has: a sorted set of handles for each user, scored by the second in which each would end
//! without further use.
//!
//! The record of a session is the truth, the index a list of where to look: what is read through it is checked against
//! the records. A handle is listed *before* a login is stored, so that no session of a user is ever missing, and again
//! whenever its use is noted, so that an index that was lost comes back. Handles whose time has passed and whose records
//! are gone are dropped when the user logs in, and the whole set ends with the last of them by its own time to live. Nothing depends on
//! notifications of the store.

use super::NativeProfile;
use super::meta::{Meta, seconds};
use crate::error::Result;
use larder_client::{Command, Larder, Pipeline};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// Most handles that one login looks at in order to drop them.
const PRUNED_MAX: u64 = 100;

/// What a user is called in keys: a text is itself, anything else its JSON.
pub(crate) fn user_key(user: &Value) -> String {
    match user {
        Value::String(name) => name.clone(),
        other => other.to_string(),
    }
}

/// Whether two users have one list: a number and the text that it is written with do.
pub(crate) fn is_same_user(one: &Value, other: &Value) -> bool {
    user_key(one) == user_key(other)
}

/// The indexes of an application.
#[derive(Clone, Copy)]
pub(crate) struct Index<'a> {
    pub(crate) larder: &'a Larder,
    pub(crate) profile: &'a NativeProfile,
}

impl Index<'_> {
    fn key(self, user: &Value) -> String {
        format!("{}user:{}", self.profile.prefix, user_key(user))
    }

    /// Lists a session of a user, or moves its end. With `prunes`, drops what has ended.
    pub(crate) async fn add(self, user: &Value, handle: &str, lives: Duration, prunes: bool) -> Result<()> {
        let (key, now_s) = (self.key(user), seconds(SystemTime::now()));
        // Changes until the next touch let the session live on, and the index does not hear of them.
        let slack = self.profile.touch_every.as_secs() + 1;
        let add = Command::new("ZADD").arg(&key).number(now_s + lives.as_secs() + slack).arg(handle);
        // No listed session can live longer than one that is used now.
        let expire = Command::new("EXPIRE").arg(&key).number(self.profile.idle.as_secs() + slack);
        let mut all = Pipeline::new().with(add).with(expire);
        if prunes {
            let overdue = Command::new("ZRANGEBYSCORE").arg(&key).arg("-inf").number(now_s);
            all.push(overdue.arg("LIMIT").number(0_u64).number(PRUNED_MAX));
        }
        let mut overdue = Vec::new();
        for (n, reply) in self.larder.execute_all(all).await?.into_iter().enumerate() {
            let reply = reply.or_failed()?;
            if n == 2 {
                overdue = reply.into_strings()?;
            }
        }
        if overdue.is_empty() { Ok(()) } else { self.prune(&key, overdue).await }
    }

    /// Drops those of these handles whose sessions are gone. Whether they are is not for this program's clock to say,
    /// which may be ahead of that of others.
    async fn prune(self, key: &str, handles: Vec<Vec<u8>>) -> Result<()> {
        let key_of = |handle: &[u8]| [self.profile.prefix.as_bytes(), handle].concat();
        let asked = handles.iter().map(|handle| Command::new("EXISTS").arg(key_of(handle)));
        let there = self.larder.execute_all(asked.collect()).await?;
        let mut gone = Vec::new();
        for (handle, reply) in handles.into_iter().zip(there) {
            if reply.or_failed()?.as_integer() == Some(0) {
                gone.push(handle);
            }
        }
        if !gone.is_empty() {
            self.larder.zrem(key, &gone).await?;
        }
        Ok(())
    }

    pub(crate) async fn remove(self, user: &Value, handle: &str) -> Result<()> {
        self.larder.zrem(self.key(user), &[handle]).await?;
        Ok(())
    }

    /// The sessions of a user, with their records as they are stored.
    pub(crate) async fn sessions(self, user: &Value) -> Result<Vec<Listed>> {
        let listed = self.larder.zrange(self.key(user), 0, -1).await?;
        let handles: Vec<String> =
            listed.into_iter().filter_map(|(handle, _)| String::from_utf8(handle).ok()).collect();
        // One by one, so that in a cluster each is asked where it is.
        let gets = handles.iter().map(|handle| Command::new("GET").arg(self.profile.key(handle)));
        let replies = self.larder.execute_all(gets.collect()).await?;
        let now = SystemTime::now();
        let mut found = Vec::new();
        for (handle, reply) in handles.into_iter().zip(replies) {
            let Some(bytes) = reply.or_failed()?.into_bytes()? else { continue };
            let Some(meta) = self.profile.meta_of(&bytes) else { continue };
            if is_same_user(&meta.user, user) && !self.profile.lives(&meta, now).is_zero() {
                found.push(Listed { handle, meta, bytes });
            }
        }
        found.sort_by(|a, b| (a.meta.login_us, &a.handle).cmp(&(b.meta.login_us, &b.handle)));
        Ok(found)
    }
}

/// A session of a user; lists begin with the login that is the longest ago.
pub(crate) struct Listed {
    pub(crate) handle: String,
    pub(crate) meta: Meta,
    pub(crate) bytes: Vec<u8>,
}
