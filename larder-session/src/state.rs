//! What one request knows of its session, and how its changes get into the store.
//!
//! Changes are kept as closures beside the record they were made on, and a commit puts the changed text in the place of
//! exactly the text that was read (compare-and-set). When another request, in this program or in Express, was faster,
//! the closures run again over what it wrote, so that both changes stay. When the record is gone, or another id has
//! taken the place of the one this request came with, the session was ended meanwhile: the changes are dropped, and
//! nothing brings it back.

use crate::error::{Result, SessionError};
use crate::events::{Events, SessionEvent, SessionHandle, Why};
use crate::native::index::Index;
use crate::native::keys::handle_of;
use crate::native::meta::{Facts, Standing, Visitor, seconds};
use crate::native::{NativeProfile, Outage};
use crate::profile::{Presented, Profile, Sealed, Turn, attributes};
use crate::record::Record;
use crate::relocate::relocate;
use crate::stale::Seen;
use http::HeaderValue;
use larder_client::{Command, Larder, Ttl};
use serde_json::Value;
use smallvec::SmallVec;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often a commit tries to find a gap between the changes of others.
const ATTEMPTS_MAX: usize = 1_000;

/// A future that is only a pointer where it is held.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What all sessions of an application have in common.
pub(crate) struct Config {
    pub(crate) larder: Larder,
    pub(crate) profile: Profile,
    /// The record of a session that nothing is in.
    pub(crate) fresh: Record,
    pub(crate) events: Arc<Events>,
    /// Sessions as they were last seen, for outages.
    pub(crate) seen: Seen,
}

impl Config {
    /// What is under an id, and how long it will stay there if the answer says so.
    async fn fetch(&self, id: &str) -> Result<Option<(Vec<u8>, Option<Duration>)>> {
        // The engine in this process answers without a request and a reply.
        let engine = self.larder.engine();
        if let Some(found) = engine.and_then(|engine| engine.get_with_ttl(self.profile.short_key(id)).ok()) {
            return Ok(found);
        }
        // Boxed, since the futures of a connection are large and deep, and a handler's is made of them.
        let asked: Boxed<'_, larder_client::Result<Option<Vec<u8>>>> =
            Box::pin(self.larder.get(self.profile.key(id)));
        Ok(asked.await?.map(|bytes| (bytes, None)))
    }

    /// Lets the engine in this process fetch what is under an id.
    fn fetch_ahead(&self, id: &str) {
        if let Some(engine) = self.larder.engine() {
            engine.prefetch(self.profile.short_key(id));
        }
    }

    /// What is under an id, and what the id is worth; `None` if that is nothing.
    async fn read(&self, id: &str) -> Result<Option<Read>> {
        let Some((bytes, left)) = self.fetch(id).await? else { return Ok(None) };
        let corrupt = || SessionError::Corrupt("it is no text".to_owned());
        let record = Record::unchecked(bytes).ok_or_else(corrupt);
        match record.and_then(|mut record| Ok((self.profile.standing(id, &mut record)?, record))) {
            Ok(((Standing::Void, _), _)) => Ok(None),
            Ok(((standing, meta), record)) => {
                Ok(Some(Read { record, meta: meta.map(Box::new), standing, left }))
            }
            Err(SessionError::Corrupt(_)) if self.profile.is_fresh_when_corrupt() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn index<'a>(&'a self, profile: &'a NativeProfile) -> Index<'a> {
        Index { larder: &self.larder, profile }
    }
}

/// A record that was found, with what it says about its session if it is a native one.
struct Read {
    record: Record,
    meta: Option<Box<Facts>>,
    standing: Standing,
    left: Option<Duration>,
}

/// A change that can be made again over another record.
pub(crate) type Change = Box<dyn Fn(&mut Record) -> Result<()> + Send + Sync>;

/// What the store is known to hold.
pub(crate) enum Base {
    /// Nobody has asked yet.
    Unread,
    /// No session.
    Absent,
    /// This record, found under this id, and what it says about its session if it is a native one.
    Stored { id: String, record: Record, meta: Option<Box<Facts>> },
}

/// What the response does to the cookie.
enum Outgoing {
    Nothing,
    Set,
    Remove,
}

/// `Cookie` headers: nearly always one.
pub(crate) type Cookies = SmallVec<[HeaderValue; 1]>;

pub(crate) struct State {
    /// The `Cookie` headers, until somebody asks what is in them.
    cookies: Cookies,
    presented: SmallVec<[Presented; 1]>,
    visitor: Visitor,
    pub(crate) base: Base,
    /// The record with the changes made so far, if there are any.
    record: Option<Record>,
    changes: Vec<Change>,
    /// The id that the session is to get with the next commit.
    turn: Option<Turn>,
    standing: Standing,
    is_by_old_key: bool,
    outgoing: Outgoing,
    /// Whether the use was noted since the last change.
    is_touched: bool,
    /// How long the store would have kept the record when it was read, if that is known.
    left: Option<Duration>,
    /// How long the record was stored for, if this request has stored it.
    granted: Option<Duration>,
    /// Why the store did not answer, if the record comes from elsewhere: nothing may be changed then.
    blind: Option<larder_client::Error>,
}

impl State {
    pub(crate) fn new(cookies: Cookies, visitor: Visitor) -> State {
        State {
            cookies,
            presented: SmallVec::new(),
            visitor,
            base: Base::Unread,
            record: None,
            changes: Vec::new(),
            turn: None,
            standing: Standing::Current,
            is_by_old_key: false,
            outgoing: Outgoing::Nothing,
            is_touched: false,
            left: None,
            granted: None,
            blind: None,
        }
    }

    /// The ids that the request presents.
    pub(crate) fn presented(&mut self, config: &Config) -> &[Presented] {
        if !self.cookies.is_empty() {
            let cookies = std::mem::take(&mut self.cookies);
            self.presented = config.profile.presented(&cookies, |id| config.fetch_ahead(id));
        }
        &self.presented
    }

    /// The record, read if it has not been.
    pub(crate) async fn load<'a>(&'a mut self, config: &'a Config) -> Result<&'a Record> {
        self.look(config).await?;
        self.check(config)?;
        Ok(self.record(config))
    }

    /// Reads the record if it has not been; what it says about its session is known then.
    pub(crate) async fn look(&mut self, config: &Config) -> Result<()> {
        if matches!(self.base, Base::Unread) {
            self.base = self.find(config).await?;
        }
        Ok(())
    }

    /// Sees that the record that was found is a JSON object. Who only asks who is logged in does not need to know.
    fn check(&mut self, config: &Config) -> Result<()> {
        let Base::Stored { record, .. } = &mut self.base else { return Ok(()) };
        if record.check() {
            return Ok(());
        }
        if !config.profile.is_fresh_when_corrupt() {
            return Err(SessionError::unsound());
        }
        self.base = Base::Absent;
        Ok(())
    }

    /// The record as it has been read and changed; that of a new session, where there is none.
    pub(crate) fn record<'a>(&'a self, config: &'a Config) -> &'a Record {
        self.record.as_ref().unwrap_or(self.base_record(config))
    }

    /// What the stored record says about its session, if it is a native one.
    pub(crate) fn meta(&self) -> Option<&Facts> {
        match &self.base {
            Base::Stored { meta, .. } => meta.as_deref(),
            _ => None,
        }
    }

    /// The first of the presented ids that is worth something.
    async fn find(&mut self, config: &Config) -> Result<Base> {
        self.presented(config);
        for Presented { id, is_by_old_key } in &mut self.presented {
            match config.read(id).await {
                Ok(None) => {}
                Ok(Some(Read { record, meta, standing, left })) => {
                    (self.standing, self.is_by_old_key, self.left) = (standing, *is_by_old_key, left);
                    config.seen.note(handle_of(id), &record);
                    return Ok(Base::Stored { id: std::mem::take(id), record, meta });
                }
                Err(SessionError::Unavailable(error)) if error.is_outage() => {
                    let found = during_outage(config, id, &error)?;
                    self.blind = Some(error);
                    return Ok(found);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Base::Absent)
    }

    /// The stored record, or that of a new session, without changes.
    fn base_record<'a>(&'a self, config: &'a Config) -> &'a Record {
        match &self.base {
            Base::Stored { record, .. } => record,
            _ => &config.fresh,
        }
    }

    fn is_changed(&self, config: &Config) -> bool {
        self.record.as_ref().is_some_and(|record| record != self.base_record(config))
    }

    /// Whether ending the request's use of the session calls nobody.
    pub(crate) fn is_settled(&self, config: &Config) -> bool {
        if self.turn.is_some() || self.is_changed(config) {
            return false;
        }
        let (Base::Stored { meta, .. }, None) = (&self.base, &self.blind) else { return true };
        let (Some(native), Some(meta)) = (config.profile.native(), meta) else { return self.is_touched };
        let now_s = seconds(SystemTime::now());
        let is_touch_due = !self.is_touched && self.wants_touch(native, meta, now_s);
        let is_renewal_due =
            native.rotate_every.is_some_and(|every| now_s.saturating_sub(meta.rotated_s) >= every.as_secs());
        !is_touch_due && !is_renewal_due
    }

    /// Whether the use of a session is to be noted. A cookie that says when it ends is set together with that end.
    fn wants_touch(&self, native: &NativeProfile, meta: &Facts, now_s: u64) -> bool {
        let sets_end = self.is_by_old_key && native.is_persistent();
        sets_end || meta.is_touch_due(native.touch_every, now_s)
    }

    /// Makes a change, and keeps it for later records.
    pub(crate) fn apply(&mut self, config: &Config, change: Change) -> Result<()> {
        if let Some(error) = &self.blind {
            return Err(error.clone().into());
        }
        let mut changed = self.record(config).clone();
        change(&mut changed)?;
        self.record = Some(changed);
        self.changes.push(change);
        Ok(())
    }

    /// Drops all changes that are not stored.
    pub(crate) fn discard(&mut self) {
        self.changes.clear();
        self.turn = None;
        self.record = None;
    }

    /// Forgets the session, because it is gone.
    fn end(&mut self) -> SessionError {
        self.discard();
        self.base = Base::Absent;
        self.outgoing = Outgoing::Nothing;
        SessionError::Ended
    }

    /// Lets the next commit begin a new session, whatever became of the one the request came with.
    pub(crate) fn begin_anew(&mut self) {
        self.end();
    }

    pub(crate) async fn commit(&mut self, config: &Config) -> Result<()> {
        let work: Boxed<'_, Result<()>> = Box::pin(self.store_all(config));
        work.await
    }

    async fn store_all(&mut self, config: &Config) -> Result<()> {
        self.check(config)?;
        for _ in 0..ATTEMPTS_MAX {
            let is_changed = self.turn.is_some() || self.is_changed(config);
            if let Some(error) = &self.blind {
                return if is_changed { Err(error.clone().into()) } else { Ok(()) };
            }
            let is_done = match &self.base {
                Base::Stored { .. } if is_changed => self.swap(config).await?,
                Base::Stored { .. } => self.touch(config).await.map(|()| true)?,
                _ if is_changed => self.create(config).await?,
                _ => true,
            };
            if is_done {
                return Ok(());
            }
            self.reload(config).await?;
        }
        Err(SessionError::Conflict)
    }

    /// Stores a session that nothing is in.
    pub(crate) async fn store_new(&mut self, config: &Config) -> Result<()> {
        if let Some(error) = &self.blind {
            return Err(error.clone().into());
        }
        for _ in 0..ATTEMPTS_MAX {
            if self.create(config).await? {
                return Ok(());
            }
        }
        Err(SessionError::Conflict)
    }

    /// Reads what somebody else wrote, and makes the changes over it.
    async fn reload(&mut self, config: &Config) -> Result<()> {
        let Base::Stored { id, .. } = &self.base else { return Ok(()) };
        let id = id.clone();
        let Some(Read { record, meta, standing, left }) = config.read(&id).await? else {
            return Err(self.end());
        };
        self.base = Base::Stored { id, record, meta };
        (self.standing, self.left) = (standing, left);
        self.check(config)?;
        let mut record = self.base_record(config).clone();
        // Until all changes are made anew, what was made of the record before is not to be stored in its place.
        self.record = None;
        if standing == Standing::Previous && self.turn.as_ref().is_some_and(|turn| turn.login.is_none()) {
            // Another request has just exchanged the id.
            self.turn = None;
        }
        if let Err(error) = self.changes.iter().try_for_each(|change| change(&mut record)) {
            self.discard();
            return Err(error);
        }
        self.record = Some(record);
        Ok(())
    }

    /// Puts the changed record in the place of the one that was read. Returns whether that was still there.
    async fn swap(&mut self, config: &Config) -> Result<bool> {
        let Base::Stored { id, record: base, .. } = &self.base else { return Ok(true) };
        let record = self.record(config);
        let next = self.turn.as_ref().map_or(id, |turn| &turn.id);
        let sealed = match config.profile.sealed(record, next, self.turn.as_ref(), &self.visitor) {
            Err(SessionError::Ended) => return Err(self.end()),
            sealed => sealed?,
        };
        let (old, new, text) = (config.profile.key(id), config.profile.key(next), sealed.record.text());
        let (seen, ttl) = (base.text().as_bytes(), sealed.ttl);
        let swapped = if old == new {
            config.larder.compare_and_set(&new, Some(seen), text, Ttl::In(ttl)).await
        } else {
            relocate(&config.larder, &old, seen, &new, text, ttl).await
        };
        let is_swapped = settled(config, swapped, &new, text).await?;
        if is_swapped {
            let next = next.clone();
            self.stored(config, next, sealed).await?;
        }
        Ok(is_swapped)
    }

    /// Stores the record under an id that nobody has. Returns whether nobody had it.
    async fn create(&mut self, config: &Config) -> Result<bool> {
        let record = self.record(config);
        let id = match &self.turn {
            Some(turn) => turn.id.clone(),
            None => config.profile.fresh_id(None)?,
        };
        let sealed = config.profile.sealed(record, &id, self.turn.as_ref(), &self.visitor)?;
        let (key, text) = (config.profile.key(&id), sealed.record.text());
        let created = config.larder.compare_and_set(&key, None, text, Ttl::In(sealed.ttl)).await;
        let is_created = settled(config, created, &key, text).await?;
        if is_created {
            self.stored(config, id, sealed).await?;
            self.outgoing = Outgoing::Set;
        } else if let Some(turn) = &mut self.turn {
            turn.id = config.profile.fresh_id(None)?;
        }
        Ok(is_created)
    }

    /// What follows from a record having been stored in the place of the one that was read.
    async fn stored(&mut self, config: &Config, id: String, sealed: Sealed) -> Result<()> {
        let Sealed { record, meta, ttl } = sealed;
        self.granted = Some(ttl);
        let is_turned = self.turn.take().is_some();
        let says_when = match config.profile.native() {
            Some(native) => native.is_persistent() && self.standing == Standing::Current,
            None => attributes(&record).get("originalMaxAge").is_some_and(Value::is_number),
        };
        if is_turned || says_when {
            self.outgoing = Outgoing::Set;
        }
        if is_turned {
            self.standing = Standing::Current;
        }
        config.seen.note(handle_of(&id), &record);
        if config.profile.native().is_some() {
            let handle = SessionHandle(handle_of(&id).to_owned());
            match &self.base {
                Base::Stored { .. } if is_turned => config.events.tell(SessionEvent::Rotated { handle }),
                Base::Stored { .. } => {}
                _ => config.events.tell(SessionEvent::Created { handle }),
            }
        }
        let seen_s = self.meta().map(|meta| meta.seen_s);
        self.base = Base::Stored { id, record, meta: meta.map(|meta| Box::new(Facts::from(meta))) };
        self.record = None;
        self.changes.clear();
        self.is_touched = true;
        self.keep_listed(config, seen_s).await
    }

    /// Tells the index that a session lives on, unless it heard that a moment ago: when its use was noted last.
    async fn keep_listed(&self, config: &Config, seen_s: Option<u64>) -> Result<()> {
        let (Base::Stored { id, meta: Some(meta), .. }, Some(native)) = (&self.base, config.profile.native())
        else {
            return Ok(());
        };
        // A login tells the index itself, beforehand.
        if meta.user.is_null() || seen_s.is_none_or(|seen_s| seen_s == meta.seen_s) {
            return Ok(());
        }
        let lives = native.lives(meta, SystemTime::now());
        config.index(native).add(&meta.user, handle_of(id), lives, false).await
    }

    /// Notes that the session is in use.
    async fn touch(&mut self, config: &Config) -> Result<()> {
        self.changes.clear();
        self.record = None;
        let Some(native) = config.profile.native() else { return self.touch_express(config).await };
        let (Base::Stored { meta: Some(meta), .. }, None) = (&self.base, &self.blind) else { return Ok(()) };
        let is_due = !self.is_touched && self.wants_touch(native, meta, seconds(SystemTime::now()));
        self.is_touched = true;
        if !is_due {
            return Ok(());
        }
        // Whoever changes the record at the same time notes it too; whoever ends the session is right.
        self.swap(config).await.map(|_| ())
    }

    /// Moves the end of a session that Express shares, as Express does with each request, if the request has read and
    /// not changed it. The end is where it belongs, to the second that Express counts in, when another request has moved
    /// it a moment ago.
    pub(crate) async fn touch_express(&mut self, config: &Config) -> Result<()> {
        let (Profile::Express(express), Base::Stored { id, record, .. }, None) =
            (&config.profile, &self.base, &self.blind)
        else {
            return Ok(());
        };
        if self.is_touched || self.turn.is_some() || self.is_changed(config) {
            return Ok(());
        }
        let ttl = express.ttl_of(record);
        self.is_touched = true;
        if self.left.is_some_and(|left| left.abs_diff(ttl) < Duration::from_secs(1)) {
            return Ok(());
        }
        let engine = config.larder.engine();
        if let Some(Ok(_)) = engine.map(|engine| engine.expire(config.profile.short_key(id), ttl)) {
            return Ok(());
        }
        let expire = Command::new("EXPIRE").arg(config.profile.key(id)).number(ttl.as_secs());
        let asked: Boxed<'_, _> = Box::pin(config.larder.execute(expire));
        asked.await?;
        Ok(())
    }

    /// Gives the session another id with the next commit, if it has had this one for long enough.
    pub(crate) fn renew(&mut self, config: &Config) -> Result<()> {
        let (Some(native), Base::Stored { id, meta: Some(meta), .. }) = (config.profile.native(), &self.base)
        else {
            return Ok(());
        };
        let Some(every) = native.rotate_every else { return Ok(()) };
        let is_free = self.standing == Standing::Current && self.turn.is_none() && self.blind.is_none();
        if !is_free {
            return Ok(());
        }
        let due = SystemTime::UNIX_EPOCH + Duration::from_secs(meta.rotated_s) + every;
        if SystemTime::now() >= due {
            let turn = Turn { id: config.profile.fresh_id(Some(id))?, login: None, grace: native.grace };
            self.turn = Some(turn);
        }
        Ok(())
    }

    /// Asks for another id with the next commit, at which `login` logs in.
    pub(crate) fn turn(&mut self, config: &Config, login: Option<Value>) -> Result<()> {
        let old = match &self.base {
            Base::Stored { id, .. } => Some(id.as_str()),
            _ => None,
        };
        let id = config.profile.fresh_id(old)?;
        self.turn = Some(Turn { id, login, grace: Duration::ZERO });
        Ok(())
    }

    /// The id that the session will have after the next commit.
    pub(crate) fn next_id(&self) -> Option<&str> {
        match (&self.turn, &self.base) {
            (Some(turn), _) => Some(&turn.id),
            (None, Base::Stored { id, .. }) => Some(id),
            _ => None,
        }
    }

    /// Ends the session in the store.
    pub(crate) async fn destroy(&mut self, config: &Config, why: Why) -> Result<()> {
        // An Express record can be ended unread; whether an id may end a native session, its record says.
        let id = match (&self.base, config.profile.native()) {
            (Base::Unread, None) => self.presented(config).first().map(|presented| presented.id.clone()),
            // One that cannot be read cannot say so, and stays; the browser need not keep its cookie for that.
            (Base::Unread, Some(_)) => match self.load(config).await {
                Ok(_) => self.stored_id(),
                Err(SessionError::Corrupt(_)) => None,
                Err(error) => return Err(error),
            },
            _ => self.stored_id(),
        };
        if let Some(error) = &self.blind {
            return Err(error.clone().into());
        }
        if let Some(id) = id {
            let user = self.meta().map_or(Value::Null, |meta| meta.user.clone());
            end_stored(config, &id, &user, why).await?;
        }
        self.end();
        self.outgoing = Outgoing::Remove;
        Ok(())
    }

    fn stored_id(&self) -> Option<String> {
        match &self.base {
            Base::Stored { id, .. } => Some(id.clone()),
            _ => None,
        }
    }

    /// The value of `Set-Cookie`, if there is one to send.
    pub(crate) fn cookie(&self, config: &Config) -> Option<String> {
        let Base::Stored { id, record, .. } = &self.base else {
            let is_removed = matches!(self.outgoing, Outgoing::Remove) && !self.presented.is_empty();
            return is_removed.then(|| config.profile.removal());
        };
        let is_rolling = matches!(&config.profile, Profile::Express(express) if express.rolling);
        // Only the current id may be handed out, and while the store is away nobody knows which that is.
        let may_set = self.standing == Standing::Current && self.blind.is_none();
        let is_set = matches!(self.outgoing, Outgoing::Set) || is_rolling || self.is_by_old_key;
        (is_set && may_set).then(|| config.profile.cookie(id, record, self.granted))
    }
}

/// What a request that finds the store away gets as its session.
fn during_outage(config: &Config, id: &str, error: &larder_client::Error) -> Result<Base> {
    match config.profile.native().map(|native| native.outage) {
        Some(Outage::Anonymous) => Ok(Base::Absent),
        Some(Outage::ReadOnly(stale)) => match config.seen.recall(handle_of(id), stale) {
            Some(mut record) => match config.profile.standing(id, &mut record)? {
                (Standing::Void, _) => Err(error.clone().into()),
                (_, meta) => Ok(Base::Stored { id: id.to_owned(), record, meta: meta.map(Box::new) }),
            },
            None => Err(error.clone().into()),
        },
        Some(Outage::Reject) | None => Err(error.clone().into()),
    }
}

/// When nobody knows whether a change was carried out, the store is asked what it holds.
async fn settled(config: &Config, done: larder_client::Result<bool>, key: &str, text: &str) -> Result<bool> {
    match done {
        Err(error) if error.is_outcome_unknown() => match config.larder.get(key).await {
            Ok(Some(bytes)) if bytes == text.as_bytes() => Ok(true),
            _ => Err(error.into()),
        },
        other => Ok(other?),
    }
}

/// Deletes a session, whatever it holds by now.
async fn end_stored(config: &Config, id: &str, user: &Value, why: Why) -> Result<()> {
    let Some(native) = config.profile.native() else {
        config.larder.del(&[config.profile.key(id)]).await?;
        return Ok(());
    };
    let handle = handle_of(id);
    config.seen.forget(handle);
    let expected = config.events.expect(handle, user, why);
    let was_there = config.larder.del(&[native.key(handle)]).await? > 0;
    expected.happened(was_there);
    if !user.is_null() {
        config.index(native).remove(user, handle).await?;
    }
    Ok(())
}
