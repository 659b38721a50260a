//! One request's view of its session.
//!
//! Nothing is read before a handler asks for it. Changes are kept as closures beside the record they were made on, and a
//! commit puts the changed text in the place of exactly the text that was read (compare-and-set). When another request,
//! in this program or in Express, was faster, the closures run again over what it wrote, so that both changes stay. When
//! the record is gone, the session was ended meanwhile: the changes are dropped, and nothing brings it back.
//!
//! The time to live of the key is the truth about when a session ends. Express moves it alone when a request changes
//! nothing, and so do we; the `expires` inside the record is what the browser was told last, and may be long past.

use crate::cookie::{cookie_value, fresh_id, iso_date, set_cookie};
use crate::error::{Result, SessionError};
use crate::express::ExpressProfile;
use crate::record::{Record, is_exact_in_javascript, is_reserved};
use axum_core::extract::FromRequestParts;
use http::request::Parts;
use larder_client::{Command, Larder, Ttl};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;

/// How often a commit tries to find a gap between the changes of others.
const ATTEMPTS_MAX: usize = 1_000;

/// What all sessions of an application have in common.
pub(crate) struct Config {
    pub(crate) larder: Larder,
    pub(crate) profile: ExpressProfile,
}

/// A change that can be made again over another record.
type Change = Box<dyn Fn(&mut Record) -> Result<()> + Send + Sync>;

/// The session of a request: an extractor, cheap to clone. Names are those of the session object's members in Express.
#[derive(Clone)]
pub struct Session {
    config: Arc<Config>,
    state: Arc<Mutex<State>>,
}

/// What the store is known to hold.
enum Base {
    /// Nobody has asked yet.
    Unread,
    /// No session.
    Absent,
    /// This text under this id.
    Stored { id: String, text: String },
}

/// What the response does to the cookie.
enum Outgoing {
    Nothing,
    Set,
    Remove,
}

struct State {
    /// The id in the request's cookie, and which secret signed it.
    presented: Option<(String, usize)>,
    base: Base,
    /// The record with the changes made so far.
    record: Option<Record>,
    changes: Vec<Change>,
    outgoing: Outgoing,
    /// Whether the time to live was moved since the last change.
    is_touched: bool,
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
    pub(crate) fn new(config: Arc<Config>, presented: Option<(String, usize)>) -> Session {
        let state = State {
            presented,
            base: Base::Unread,
            record: None,
            changes: Vec::new(),
            outgoing: Outgoing::Nothing,
            is_touched: false,
        };
        Session { config, state: Arc::new(Mutex::new(state)) }
    }

    /// The value of a member.
    ///
    /// # Errors
    /// When the store fails, or the value is of another type.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let mut state = self.state.lock().await;
        let record = state.load(&self.config).await?;
        record.get(name).map(|raw| decode(name, raw)).transpose()
    }

    /// Gives a member a value. It is stored when the request ends, or at [`Session::commit`]; others' changes of other
    /// members stay.
    ///
    /// # Errors
    /// When the store fails, the name is one that Express would lose, or JavaScript cannot hold the value exactly.
    pub async fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        let (name, raw) = (name.to_owned(), encode(name, value)?);
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
        let name = named(name)?;
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
        let name = named(name)?;
        self.change(Box::new(move |record| {
            let mut value: T =
                record.get(&name).map(|raw| decode(&name, raw)).transpose()?.unwrap_or_default();
            change(&mut value);
            let raw = encode(&name, &value)?;
            record.set(&name, &raw);
            Ok(())
        }))
        .await
    }

    /// Removes a member and returns its value, at once: of several that take it in parallel, one gets it.
    ///
    /// # Errors
    /// As [`Session::update`] and [`Session::commit`].
    pub async fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let name = named(name)?;
        let mut state = self.state.lock().await;
        if state.load(&self.config).await?.get(&name).is_none() {
            return Ok(None);
        }
        let taken = Arc::new(parking_lot::Mutex::new(None));
        let (last, member) = (Arc::clone(&taken), name.clone());
        state.apply(Box::new(move |record| {
            *last.lock() = record.get(&member).map(str::to_owned);
            record.remove(&member);
            Ok(())
        }))?;
        state.commit(&self.config).await?;
        let raw = taken.lock().take();
        raw.map(|raw| decode(&name, &raw)).transpose()
    }

    /// Stores the changes now: before a body is streamed, or work goes on after the response.
    ///
    /// # Errors
    /// When the store fails, the record is too large, others change it all the time, or the session has ended.
    pub async fn commit(&self) -> Result<()> {
        self.state.lock().await.commit(&self.config).await
    }

    /// Gives the session another id, with all that is in it; the old one loads nothing afterwards. To be called when a
    /// user logs in, so that an id planted in the browser before is worth nothing. The record is stored under its new id
    /// before the old one is deleted, both even when the request is cancelled.
    ///
    /// # Errors
    /// As [`Session::commit`].
    pub async fn rotate(&self) -> Result<()> {
        let session = self.clone();
        let rotated = tokio::spawn(async move { session.state.lock().await.rotate(&session.config).await });
        rotated.await.unwrap_or_else(|stopped| Err(SessionError::Corrupt(stopped.to_string())))
    }

    /// Ends the session: deletes the record at once, and removes the cookie with the response. What is set afterwards
    /// begins a new session.
    ///
    /// # Errors
    /// When the store fails; the session has not ended then.
    pub async fn destroy(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        let id = match &state.base {
            Base::Stored { id, .. } => Some(id.clone()),
            Base::Unread => state.presented.as_ref().map(|(id, _)| id.clone()),
            Base::Absent => None,
        };
        if let Some(id) = id {
            self.config.larder.del(&[key(&self.config, &id)]).await?;
            state.outgoing = Outgoing::Remove;
        }
        state.base = Base::Absent;
        state.record = None;
        state.changes.clear();
        Ok(())
    }

    async fn change(&self, change: Change) -> Result<()> {
        let mut state = self.state.lock().await;
        state.load(&self.config).await?;
        state.apply(change)
    }

    /// Ends the request's use of the session: the value of `Set-Cookie`, if there is one to send.
    pub(crate) async fn finish(&self) -> Result<Option<String>> {
        let mut state = self.state.lock().await;
        match state.commit(&self.config).await {
            // A cookie now could undo what the request that ended or rotated the session has set.
            Err(SessionError::Ended) => return Ok(None),
            other => other?,
        }
        Ok(state.cookie(&self.config))
    }
}

impl State {
    /// The record, read if it has not been.
    async fn load(&mut self, config: &Config) -> Result<&mut Record> {
        if matches!(self.base, Base::Unread) {
            self.base = match &self.presented {
                Some((id, _)) => read(config, id).await?,
                None => Base::Absent,
            };
        }
        if self.record.is_none() {
            self.record = Some(self.fresh_record(config)?);
        }
        Ok(self.record.as_mut().expect("just set"))
    }

    /// The stored record, or that of a new session, without changes.
    fn fresh_record(&self, config: &Config) -> Result<Record> {
        let text = match &self.base {
            Base::Stored { text, .. } => text.clone(),
            _ => format!(r#"{{"cookie":{}}}"#, config.profile.cookie_json()),
        };
        Record::parse(text.into_bytes())
            .ok_or_else(|| SessionError::Corrupt("it is no JSON object".to_owned()))
    }

    /// Makes a change, and keeps it for later records.
    fn apply(&mut self, change: Change) -> Result<()> {
        let record = self.record.as_mut().ok_or(SessionError::Ended)?;
        let mut changed = record.clone();
        change(&mut changed)?;
        if changed != *record {
            *record = changed;
        }
        self.changes.push(change);
        Ok(())
    }

    /// Makes all changes again over the base.
    fn replay(&mut self, config: &Config) -> Result<()> {
        let mut record = self.fresh_record(config)?;
        for change in &self.changes {
            change(&mut record)?;
        }
        self.record = Some(record);
        Ok(())
    }

    /// Forgets all changes, because the session they were for is gone.
    fn end(&mut self) -> SessionError {
        self.base = Base::Absent;
        self.record = None;
        self.changes.clear();
        self.outgoing = Outgoing::Nothing;
        SessionError::Ended
    }

    async fn commit(&mut self, config: &Config) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(record) = &self.record else { return Ok(()) };
            let is_changed = *record != self.fresh_record(config)?;
            match &self.base {
                Base::Unread | Base::Absent if !is_changed => return Ok(()),
                Base::Unread | Base::Absent => return self.create(config).await,
                Base::Stored { id, .. } if !is_changed => {
                    self.changes.clear();
                    if std::mem::replace(&mut self.is_touched, true) {
                        return Ok(());
                    }
                    let (_, ttl) = refreshed(config, record);
                    let expire = Command::new("EXPIRE").arg(key(config, id)).number(ttl.as_secs());
                    config.larder.execute(expire).await?;
                    return Ok(());
                }
                Base::Stored { id, text } => {
                    let (record, ttl) = sized(config, record)?;
                    let id = id.clone();
                    let name = key(config, &id);
                    let expected = Some(text.as_bytes());
                    if config.larder.compare_and_set(name, expected, record.text(), Ttl::In(ttl)).await? {
                        self.stored(id, record);
                        return Ok(());
                    }
                    self.reload(config, &id).await?;
                }
            }
        }
        Err(SessionError::Conflict)
    }

    /// Reads what somebody else wrote, and makes the changes over it.
    async fn reload(&mut self, config: &Config, id: &str) -> Result<()> {
        self.base = read(config, id).await?;
        if matches!(self.base, Base::Absent) {
            return Err(self.end());
        }
        self.replay(config)
    }

    fn stored(&mut self, id: String, record: Record) {
        self.base = Base::Stored { id, text: record.text().to_owned() };
        self.record = Some(record);
        self.changes.clear();
        self.is_touched = true;
        let has_expiry = self.attributes().get("originalMaxAge").is_some_and(Value::is_number);
        if has_expiry {
            self.outgoing = Outgoing::Set;
        }
    }

    /// Stores the record under an id that nobody has.
    async fn create(&mut self, config: &Config) -> Result<()> {
        let record = self.record.as_ref().ok_or(SessionError::Ended)?;
        let (record, ttl) = sized(config, record)?;
        for _ in 0..ATTEMPTS_MAX {
            let id = fresh_id().map_err(|_| SessionError::NoRandomBytes)?;
            if config.larder.compare_and_set(key(config, &id), None, record.text(), Ttl::In(ttl)).await? {
                self.stored(id, record);
                self.outgoing = Outgoing::Set;
                return Ok(());
            }
        }
        Err(SessionError::Conflict)
    }

    async fn rotate(&mut self, config: &Config) -> Result<()> {
        self.load(config).await?;
        let Base::Stored { id: old, .. } = &self.base else { return Ok(()) };
        let old = old.clone();
        for _ in 0..ATTEMPTS_MAX {
            let Base::Stored { text: seen, .. } = &self.base else { return Err(self.end()) };
            let (seen, changes) = (seen.clone(), std::mem::take(&mut self.changes));
            if let Err(error) = self.create(config).await {
                self.changes = changes;
                return Err(error);
            }
            let Base::Stored { id: new, .. } = &self.base else { return Err(self.end()) };
            let new = new.clone();
            match config.larder.compare_and_delete(key(config, &old), seen.as_bytes()).await {
                Ok(true) => return Ok(()),
                // Somebody changed or ended the session: what is under the new id is not the truth.
                Ok(false) => config.larder.del(&[key(config, &new)]).await?,
                // Whether the old one is there is not known, and one must be: the new one stays.
                Err(error) if error.is_outcome_unknown() => return Err(error.into()),
                // The old one stays, and the new one, which nobody has heard of, goes.
                Err(error) => {
                    let _ = config.larder.del(&[key(config, &new)]).await;
                    self.end();
                    return Err(error.into());
                }
            };
            self.changes = changes;
            self.outgoing = Outgoing::Nothing;
            self.reload(config, &old).await?;
        }
        Err(SessionError::Conflict)
    }

    /// The `cookie` member of the record.
    fn attributes(&self) -> Value {
        let cookie = self.record.as_ref().and_then(|record| record.get("cookie"));
        cookie.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or(Value::Null)
    }

    fn cookie(&self, config: &Config) -> Option<String> {
        let profile = &config.profile;
        let Base::Stored { id, .. } = &self.base else {
            return matches!(self.outgoing, Outgoing::Remove)
                .then(|| set_cookie(&profile.name, "", &profile.cookie_attributes(), Some(UNIX_EPOCH)));
        };
        let by_old_secret = self.presented.as_ref().is_some_and(|(_, secret)| *secret > 0);
        if !matches!(self.outgoing, Outgoing::Set) && !profile.rolling && !by_old_secret {
            return None;
        }
        let attributes = self.attributes();
        let age = attributes.get("originalMaxAge").and_then(Value::as_f64).map(whole_millis);
        let expires = age.and_then(|age| SystemTime::now().checked_add(age));
        let value = cookie_value(id, &profile.secrets[0]);
        Some(set_cookie(&profile.name, &value, &attributes, expires))
    }
}

fn key(config: &Config, id: &str) -> String {
    format!("{}{id}", config.profile.prefix)
}

async fn read(config: &Config, id: &str) -> Result<Base> {
    let Some(bytes) = config.larder.get(key(config, id)).await? else { return Ok(Base::Absent) };
    match Record::parse(bytes) {
        Some(record) => Ok(Base::Stored { id: id.to_owned(), text: record.text().to_owned() }),
        None if config.profile.fresh_when_corrupt => Ok(Base::Absent),
        None => Err(SessionError::Corrupt("it is no JSON object".to_owned())),
    }
}

/// Milliseconds of a JavaScript number; at most a century, so that dates keep four digits.
fn whole_millis(number: f64) -> Duration {
    const MILLIS_MAX: f64 = 100.0 * 366.0 * 86_400_000.0;
    Duration::from_millis(number.clamp(0.0, MILLIS_MAX) as u64)
}

/// The record as it is written now, with its date of expiry, and for how long: what connect-redis computes.
fn refreshed(config: &Config, record: &Record) -> (Record, Duration) {
    let mut record = record.clone();
    let cookie = record.get("cookie").and_then(|raw| Record::parse(raw.as_bytes().to_vec()));
    // Express answers 500 to a record without this member.
    let mut cookie = cookie.unwrap_or_else(|| {
        Record::parse(config.profile.cookie_json().into_bytes()).expect("the profile makes a JSON object")
    });
    let age = cookie.get("originalMaxAge").and_then(|raw| raw.parse().ok()).map(whole_millis);
    let Some(age) = age else {
        record.set("cookie", cookie.text());
        return (record, config.profile.ttl);
    };
    cookie.set("expires", &format!("\"{}\"", iso_date(SystemTime::now() + age)));
    record.set("cookie", cookie.text());
    (record, Duration::from_secs(age.as_millis().div_ceil(1_000).max(1) as u64))
}

/// The same, if it is not too large.
fn sized(config: &Config, record: &Record) -> Result<(Record, Duration)> {
    let (record, ttl) = refreshed(config, record);
    let (bytes, max) = (record.text().len(), config.profile.max_bytes);
    if bytes > max { Err(SessionError::TooLarge { bytes, max }) } else { Ok((record, ttl)) }
}

/// A name that Express does not lose.
fn named(name: &str) -> Result<String> {
    if is_reserved(name) { Err(SessionError::ReservedName(name.to_owned())) } else { Ok(name.to_owned()) }
}

fn decode<T: DeserializeOwned>(name: &str, raw: &str) -> Result<T> {
    serde_json::from_str(raw).map_err(|why| SessionError::Corrupt(format!("member {name:?}: {why}")))
}

fn encode<T: Serialize + ?Sized>(name: &str, value: &T) -> Result<String> {
    named(name)?;
    let wrong = |why: String| SessionError::Unrepresentable(format!("member {name:?}: {why}"));
    let raw = serde_json::to_string(value).map_err(|why| wrong(why.to_string()))?;
    let value: Value = serde_json::from_str(&raw).map_err(|why| wrong(why.to_string()))?;
    if is_exact_in_javascript(&value) {
        Ok(raw)
    } else {
        Err(wrong("an integer beyond 2^53 - 1, which JavaScript would round".to_owned()))
    }
}
