//! What the two kinds of sessions do differently: how an id is presented, where its record is and what it is worth, and
//! what a record looks like when it is written.

use crate::cookie::{first_of, fresh_id, iso_date, set_cookie, unsign_by, values_of};
use crate::error::{Result, SessionError};
use crate::express::ExpressProfile;
use crate::native::NativeProfile;
use crate::native::keys::{self, handle_of};
use crate::native::meta::{self, Facts, Meta, Standing, Visitor, micros, seconds};
use crate::record::{Record, is_exact_in_javascript, is_reserved};
use http::HeaderValue;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use smallvec::SmallVec;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most cookies of one name that are looked at.
const COOKIES_MAX: usize = 4;

/// The settings, of one kind or the other.
pub(crate) enum Profile {
    Express(ExpressProfile),
    Native(NativeProfile),
}

/// An id whose signature is good.
pub(crate) struct Presented {
    pub(crate) id: String,
    /// Whether it was not the key that signs now.
    pub(crate) is_by_old_key: bool,
}

/// Another id for a session, and who logs in with that.
pub(crate) struct Turn {
    pub(crate) id: String,
    pub(crate) login: Option<Value>,
    /// How long the old id counts.
    pub(crate) grace: Duration,
}

/// A record as it is to be written, and for how long.
pub(crate) struct Sealed {
    pub(crate) record: Record,
    pub(crate) ttl: Duration,
    pub(crate) meta: Option<Meta>,
}

impl Profile {
    pub(crate) fn native(&self) -> Option<&NativeProfile> {
        match self {
            Profile::Native(native) => Some(native),
            Profile::Express(_) => None,
        }
    }

    /// Requests to other paths have no session.
    pub(crate) fn path(&self) -> &str {
        match self {
            Profile::Express(express) => &express.path,
            Profile::Native(_) => "/",
        }
    }

    /// The ids that are presented in the `Cookie` headers of a request. As Express does, its profile looks at the first cookie of the name, whatever it
    /// is worth; with native sessions a cookie that somebody else has set does not hide ours.
    ///
    /// `ahead` hears of each id before it is known whether it is any good: what is under it can be fetched meanwhile.
    pub(crate) fn presented(
        &self,
        headers: &[HeaderValue],
        ahead: impl Fn(&str),
    ) -> SmallVec<[Presented; 1]> {
        let headers = headers.iter().map(HeaderValue::as_bytes);
        match self {
            Profile::Express(express) => {
                let mut headers = headers;
                let value = headers.find_map(|header| first_of(header, &express.name));
                let signed = value.as_deref().and_then(|value| value.strip_prefix("s:"));
                if let Some((id, _)) = signed.and_then(|signed| signed.rsplit_once('.')) {
                    ahead(id);
                }
                let id = signed.and_then(|signed| unsign_by(signed, &express.signers));
                id.map(|(id, key)| Presented { id: id.to_owned(), is_by_old_key: key > 0 })
                    .into_iter()
                    .collect()
            }
            Profile::Native(native) => {
                let name = native.cookie_name();
                let values = headers.flat_map(|header| values_of(header, name)).inspect(|value| ahead(value));
                let ids = values.filter_map(|value| native.keys.id_of(name, value));
                let ids = ids.map(|(id, key)| Presented { id: id.to_owned(), is_by_old_key: key > 0 });
                ids.take(COOKIES_MAX).collect()
            }
        }
    }

    /// Where the record is.
    pub(crate) fn key(&self, id: &str) -> String {
        self.key_parts(id).concat()
    }

    /// The same without an allocation, for what each request does.
    pub(crate) fn short_key(&self, id: &str) -> SmallVec<[u8; 96]> {
        let mut key = SmallVec::new();
        self.key_parts(id).iter().for_each(|part| key.extend_from_slice(part.as_bytes()));
        key
    }

    fn key_parts<'a>(&'a self, id: &'a str) -> [&'a str; 2] {
        match self {
            Profile::Express(express) => [&express.prefix, id],
            Profile::Native(native) => [&native.prefix, handle_of(id)],
        }
    }

    /// A fresh id, of a new session or to take the place of `old`.
    pub(crate) fn fresh_id(&self, old: Option<&str>) -> Result<String> {
        match self {
            Profile::Express(_) => fresh_id().map_err(|_| SessionError::NoRandomBytes),
            Profile::Native(_) => keys::fresh_id(old.map(handle_of)),
        }
    }

    /// The record of a new session.
    pub(crate) fn fresh_record(&self) -> Record {
        let text = match self {
            Profile::Express(express) => format!(r#"{{"cookie":{}}}"#, express.cookie_json()),
            Profile::Native(_) => format!(r#"{{"{}":0}}"#, meta::MEMBER),
        };
        Record::parse(text.into_bytes()).expect("it is a JSON object")
    }

    /// What the id is worth for the record at its place, and what a native record says about its session. One that begins
    /// as ours do is not [checked](Record::check) for that.
    pub(crate) fn standing(&self, id: &str, record: &mut Record) -> Result<(Standing, Option<Facts>)> {
        let Profile::Native(native) = self else {
            return record.check().then_some((Standing::Current, None)).ok_or_else(SessionError::unsound);
        };
        let meta = match Facts::glance(record) {
            Some(facts) => facts,
            None if record.check() => Meta::read(record)?.into(),
            None => return Err(SessionError::unsound()),
        };
        let now = SystemTime::now();
        let standing =
            if native.lives(&meta, now).is_zero() { Standing::Void } else { meta.standing(id, now) };
        Ok((standing, Some(meta)))
    }

    /// Whether a record that cannot be read counts as none.
    pub(crate) fn is_fresh_when_corrupt(&self) -> bool {
        match self {
            Profile::Express(express) => express.fresh_when_corrupt,
            Profile::Native(native) => native.fresh_when_corrupt,
        }
    }

    /// The record as it is written now under an id, if it is not too large.
    pub(crate) fn sealed(
        &self,
        record: &Record,
        id: &str,
        turn: Option<&Turn>,
        visitor: &Visitor,
    ) -> Result<Sealed> {
        let (sealed, max) = match self {
            Profile::Express(express) => (express.sealed(record), express.max_bytes),
            Profile::Native(native) => (native.sealed(record, id, turn, visitor)?, native.max_bytes),
        };
        let bytes = sealed.record.text().len();
        if bytes > max { Err(SessionError::TooLarge { bytes, max }) } else { Ok(sealed) }
    }

    /// A name that a member may have.
    pub(crate) fn named(&self, name: &str) -> Result<String> {
        let is_taken = match self {
            Profile::Express(_) => is_reserved(name),
            Profile::Native(_) => name == meta::MEMBER,
        };
        if is_taken { Err(SessionError::ReservedName(name.to_owned())) } else { Ok(name.to_owned()) }
    }

    /// A member's value as JSON.
    pub(crate) fn encode<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<String> {
        self.named(name)?;
        let wrong = |why: String| SessionError::Unrepresentable(format!("member {name:?}: {why}"));
        let raw = serde_json::to_string(value).map_err(|why| wrong(why.to_string()))?;
        if let Profile::Express(_) = self {
            let value: Value = serde_json::from_str(&raw).map_err(|why| wrong(why.to_string()))?;
            if !is_exact_in_javascript(&value) {
                return Err(wrong("an integer beyond 2^53 - 1, which JavaScript would round".to_owned()));
            }
        }
        Ok(raw)
    }

    /// The user that is logged in, by a record and what a native one says about its session.
    pub(crate) fn user<U: DeserializeOwned>(
        &self,
        record: &Record,
        meta: Option<&Facts>,
    ) -> serde_json::Result<Option<U>> {
        match (self, meta) {
            (Profile::Express(express), _) => match express.user_of(record) {
                Some(raw) if raw != "null" => serde_json::from_str(raw).map(Some),
                _ => Ok(None),
            },
            (Profile::Native(_), Some(Facts { user, .. })) if !user.is_null() => {
                U::deserialize(user).map(Some)
            }
            (Profile::Native(_), _) => Ok(None),
        }
    }

    /// The header that tells the browser of an id. `lives` is how long the record was stored for, if it just was.
    pub(crate) fn cookie(&self, id: &str, record: &Record, lives: Option<Duration>) -> String {
        match self {
            Profile::Express(express) => {
                let attributes = attributes(record);
                let age = attributes.get("originalMaxAge").and_then(Value::as_f64).map(whole_millis);
                let expires = age.and_then(|age| SystemTime::now().checked_add(age));
                set_cookie(&express.name, &express.signers[0].cookie_value(id), &attributes, expires)
            }
            Profile::Native(native) => {
                native.cookie_header(id, lives.unwrap_or(native.idle), SystemTime::now())
            }
        }
    }

    /// The header that removes the cookie.
    pub(crate) fn removal(&self) -> String {
        match self {
            Profile::Express(express) => {
                set_cookie(&express.name, "", &express.cookie_attributes(), Some(UNIX_EPOCH))
            }
            Profile::Native(native) => native.removal_header(),
        }
    }
}

/// The `cookie` member of an Express record.
pub(crate) fn attributes(record: &Record) -> Value {
    record.get("cookie").and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or(Value::Null)
}

/// The maximal age that is in a record as `raw`, if one is.
fn age_of(raw: &str) -> Option<Duration> {
    raw.parse().ok().map(whole_millis)
}

/// Milliseconds of a JavaScript number; at most a century, so that dates keep four digits.
fn whole_millis(number: f64) -> Duration {
    const MILLIS_MAX: f64 = 100.0 * 366.0 * 86_400_000.0;
    Duration::from_millis(number.clamp(0.0, MILLIS_MAX) as u64)
}

impl ExpressProfile {
    /// With its date of expiry, and for how long: what connect-redis computes.
    fn sealed(&self, record: &Record) -> Sealed {
        let mut record = record.clone();
        let cookie = record.get("cookie").and_then(|raw| Record::parse(raw.as_bytes().to_vec()));
        // Express answers 500 to a record without this member.
        let mut cookie = cookie.unwrap_or_else(|| {
            Record::parse(self.cookie_json().into_bytes()).expect("the profile makes a JSON object")
        });
        let age = cookie.get("originalMaxAge").and_then(age_of);
        if let Some(age) = age {
            cookie.set("expires", &format!("\"{}\"", iso_date(SystemTime::now() + age)));
        }
        record.set("cookie", cookie.text());
        Sealed { record, ttl: self.ttl_for(age), meta: None }
    }

    /// How long the store is to keep a record from now on.
    pub(crate) fn ttl_of(&self, record: &Record) -> Duration {
        self.ttl_for(record.get_in("cookie", "originalMaxAge").and_then(age_of))
    }

    fn ttl_for(&self, age: Option<Duration>) -> Duration {
        let seconds = |age: Duration| Duration::from_secs(age.as_millis().div_ceil(1_000).max(1) as u64);
        age.map_or(self.ttl, seconds)
    }

    /// The user in a record, as JSON.
    fn user_of<'a>(&self, record: &'a Record) -> Option<&'a str> {
        match self.user_member.split_once('.') {
            None => record.get(&self.user_member),
            Some((outer, inner)) => record.get_in(outer, inner),
        }
    }

    /// Puts the user into a record. `raw` is JSON.
    pub(crate) fn set_user(&self, record: &mut Record, raw: &str) {
        let Some((outer, inner)) = self.user_member.split_once('.') else {
            record.set(&self.user_member, raw);
            return;
        };
        let there = record.get(outer).and_then(|raw| Record::parse(raw.as_bytes().to_vec()));
        let mut member = there.unwrap_or_else(|| Record::parse(b"{}".to_vec()).expect("an object"));
        member.set(inner, raw);
        record.set(outer, member.text());
    }
}

impl NativeProfile {
    /// Where the record of the session with this handle is.
    pub(crate) fn key(&self, handle: &str) -> String {
        [self.prefix.as_str(), handle].concat()
    }

    /// What the bytes of a record say about their session.
    pub(crate) fn meta_of(&self, bytes: &[u8]) -> Option<Meta> {
        Meta::read(&Record::parse(bytes.to_vec())?).ok()
    }

    /// With what is known about the session now.
    fn sealed(&self, record: &Record, id: &str, turn: Option<&Turn>, visitor: &Visitor) -> Result<Sealed> {
        let (mut record, now) = (record.clone(), SystemTime::now());
        let is_new = record.get(meta::MEMBER) == Some("0");
        let mut meta = if is_new { Meta::new(id, visitor, now) } else { Meta::read(&record)? };
        let is_touched = meta.is_touch_due(self.touch_every, seconds(now));
        meta.correct(now);
        if let Some(turn) = turn {
            meta.rotate(id, turn.grace, now);
            if let Some(user) = &turn.login {
                meta.user = user.clone();
                meta.login_us = micros(now);
                meta.met(visitor);
            }
        }
        // Not with each change: whatever notes a use has to tell the index, too.
        if turn.is_some() || is_touched {
            meta.seen_s = seconds(now);
        }
        let ttl = self.lives(&meta, now);
        if ttl.is_zero() {
            return Err(SessionError::Ended);
        }
        meta.write(&mut record);
        Ok(Sealed { record, ttl, meta: Some(meta) })
    }
}
