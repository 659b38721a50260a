//! Calls with Rust types, the same on every backend.

use crate::client::Larder;
use crate::command::{Command, Pipeline};
use crate::error::{Error, Result};
use crate::script::Script;
use crate::value::Value;
use std::sync::LazyLock;
use std::time::Duration;

/// How long a key lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ttl {
    /// Until it is deleted.
    #[default]
    Never,
    /// As long as before, when its value is replaced.
    Keep,
    /// For so long from now, to the millisecond; less than that counts as one.
    In(Duration),
}

impl Ttl {
    /// Adds the words for it to a SET.
    fn of(self, set: Command) -> Command {
        match self {
            Ttl::Never => set,
            Ttl::Keep => set.arg("KEEPTTL"),
            Ttl::In(time) => set.arg("PX").arg(millis(time)),
        }
    }
}

/// Whole milliseconds, at least one, at most what servers can add to the time.
fn millis(time: Duration) -> String {
    const MILLIS_MAX: u128 = i64::MAX as u128 / 4;
    time.as_millis().clamp(1, MILLIS_MAX).to_string()
}

/// Time to live and condition of [`Larder::set_with`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct SetOptions {
    ttl: Ttl,
    condition: Option<&'static str>,
}

impl SetOptions {
    /// No time to live, no condition.
    pub fn new() -> SetOptions {
        SetOptions::default()
    }

    /// How long the key is to live.
    pub fn ttl(mut self, ttl: Ttl) -> SetOptions {
        self.ttl = ttl;
        self
    }

    /// Only if the key is absent.
    pub fn if_absent(mut self) -> SetOptions {
        self.condition = Some("NX");
        self
    }

    /// Only if the key is there.
    pub fn if_present(mut self) -> SetOptions {
        self.condition = Some("XX");
        self
    }
}

/// What SET with IFEQ does, for servers that do not have it. The time is `keep`, empty for none, or milliseconds.
static SET_IF_EQUAL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == 'keep' then redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
elseif ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1",
    )
});

/// What DELIFEQ does.
static DELETE_IF_EQUAL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
    )
});

/// Strings. Each call may fail as [`Larder::execute`] does.
impl Larder {
    /// GET: the string under a key.
    ///
    /// # Errors
    /// As said above.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.execute(Command::new("GET").arg(key)).await?.into_bytes()
    }

    /// SET: stores a string that lives until it is deleted.
    ///
    /// # Errors
    /// As said above.
    pub async fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.set_with(key, value, SetOptions::new()).await.map(|_| ())
    }

    /// SET with PX: stores a string for some time.
    ///
    /// # Errors
    /// As said above.
    pub async fn set_for(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        time: Duration,
    ) -> Result<()> {
        self.set_with(key, value, SetOptions::new().ttl(Ttl::In(time))).await.map(|_| ())
    }

    /// SET with options; returns whether the condition was met.
    ///
    /// # Errors
    /// As said above.
    pub async fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: SetOptions,
    ) -> Result<bool> {
        let set = options.ttl.of(Command::new("SET").arg(key).arg(value));
        let set = options.condition.into_iter().fold(set, |set, word| set.arg(word));
        self.execute(set).await?.into_bool()
    }

    /// Stores a string if the key still holds `expected` (`None`: if it is absent), and returns whether it did. Atomic
    /// on every backend: by IFEQ where the server has it, by a script where it does not.
    ///
    /// ```
    /// # use larder_client::{Larder, Ttl};
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let larder = Larder::open("embedded://").await?;
    /// assert!(larder.compare_and_set("k", None, "one", Ttl::Never).await?);
    /// assert!(larder.compare_and_set("k", Some(b"one"), "two", Ttl::Keep).await?);
    /// assert!(!larder.compare_and_set("k", Some(b"one"), "three", Ttl::Keep).await?);
    /// # Ok::<(), larder_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As said above; a key that holds no string is an error too.
    pub async fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Ttl,
    ) -> Result<bool> {
        let Some(expected) = expected else {
            // A key that is absent has no time to keep.
            let ttl = if ttl == Ttl::Keep { Ttl::Never } else { ttl };
            return self.set_with(key, value, SetOptions::new().ttl(ttl).if_absent()).await;
        };
        if self.server().await?.has_set_if_equal() {
            let set = ttl.of(Command::new("SET").arg(key).arg(value).arg("IFEQ").arg(expected));
            return self.execute(set).await?.into_bool();
        }
        let time = match ttl {
            Ttl::Never => String::new(),
            Ttl::Keep => "keep".to_owned(),
            Ttl::In(time) => millis(time),
        };
        let arguments = [expected, value.as_ref(), time.as_bytes()];
        self.run(&SET_IF_EQUAL, &[key], &arguments).await?.into_bool()
    }

    /// Deletes a key if it still holds this string, and returns whether it did.
    ///
    /// # Errors
    /// As [`Larder::compare_and_set`].
    pub async fn compare_and_delete(&self, key: impl AsRef<[u8]>, expected: &[u8]) -> Result<bool> {
        if self.server().await?.has_delete_if_equal() {
            return self.execute(Command::new("DELIFEQ").arg(key).arg(expected)).await?.into_bool();
        }
        self.run(&DELETE_IF_EQUAL, &[key], &[expected]).await?.into_bool()
    }

    /// MGET: the strings under several keys; `None` for those that are absent or no strings.
    ///
    /// # Errors
    /// As said above.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Vec<u8>>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let replies = self.execute(Command::new("MGET").args(keys)).await?.into_list()?;
        replies.into_iter().map(Value::into_bytes).collect()
    }

    /// INCRBY: adds to the integer under a key, 0 for an absent one, and returns the sum.
    ///
    /// # Errors
    /// As said above.
    pub async fn incr_by(&self, key: impl AsRef<[u8]>, increment: i64) -> Result<i64> {
        self.execute(Command::new("INCRBY").arg(key).number(increment)).await?.into_integer()
    }
}

/// Keys of any type.
impl Larder {
    /// DEL: deletes keys, and returns how many there were.
    ///
    /// # Errors
    /// As [`Larder::execute`].
    pub async fn del<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<u64> {
        if keys.is_empty() {
            return Ok(0);
        }
        self.execute(Command::new("DEL").args(keys)).await?.into_count()
    }

    /// EXISTS: whether a key is there.
    ///
    /// # Errors
    /// As [`Larder::execute`].
    pub async fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.execute(Command::new("EXISTS").arg(key)).await?.into_bool()
    }

    /// PEXPIRE: lets a key expire after some time; returns whether it is there.
    ///
    /// # Errors
    /// As [`Larder::execute`].
    pub async fn expire_in(&self, key: impl AsRef<[u8]>, time: Duration) -> Result<bool> {
        self.execute(Command::new("PEXPIRE").arg(key).arg(millis(time))).await?.into_bool()
    }

    /// PTTL: the time that a key has left. `None` if it is absent, [`Duration::MAX`] if it does not expire.
    ///
    /// # Errors
    /// As [`Larder::execute`].
    pub async fn time_left(&self, key: impl AsRef<[u8]>) -> Result<Option<Duration>> {
        Ok(match self.execute(Command::new("PTTL").arg(key)).await?.into_integer()? {
            -1 => Some(Duration::MAX),
            left => u64::try_from(left).ok().map(Duration::from_millis),
        })
    }

    /// PUBLISH: sends a message to all who subscribe to a channel; returns how many they are on the node that was asked.
    ///
    /// # Errors
    /// As [`Larder::execute`].
    pub async fn publish(&self, channel: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> Result<u64> {
        self.execute(Command::new("PUBLISH").arg(channel).arg(message)).await?.into_count()
    }
}

/// Hashes.
impl Larder {
    /// HSET: sets fields of a hash, and returns how many of them are new.
    ///
    /// # Errors
    /// As [`Larder::execute`], and if no field is given.
    pub async fn hset<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        fields: &[(F, V)],
    ) -> Result<u64> {
        let set = fields
            .iter()
            .fold(Command::new("HSET").arg(key), |set, (field, value)| set.arg(field).arg(value));
        self.execute(set).await?.into_count()
    }

    /// HGET: a field of a hash.
    ///
    /// # Errors
    /// As [`Larder::execute`].
    pub async fn hget(&self, key: impl AsRef<[u8]>, field: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.execute(Command::new("HGET").arg(key).arg(field)).await?.into_bytes()
    }

    /// HGETALL: all fields of a hash with their values, in no order.
    ///
    /// # Errors
    /// As [`Larder::execute`].
    pub async fn hgetall(&self, key: impl AsRef<[u8]>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let bytes = |value: Value| value.into_bytes().map(Option::unwrap_or_default);
        let pairs = self.execute(Command::new("HGETALL").arg(key)).await?.into_pairs()?;
        pairs.into_iter().map(|(field, value)| Ok((bytes(field)?, bytes(value)?))).collect()
    }

    /// HDEL: deletes fields of a hash, and returns how many there were.
    ///
    /// # Errors
    /// As [`Larder::execute`], and if no field is given.
    pub async fn hdel<F: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, fields: &[F]) -> Result<u64> {
        self.execute(Command::new("HDEL").arg(key).args(fields)).await?.into_count()
    }
}

/// Sets and sorted sets.
impl Larder {
    /// SADD: adds members to a set, and returns how many are new.
    ///
    /// # Errors
    /// As [`Larder::execute`], and if no member is given.
    pub async fn sadd<M: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, members: &[M]) -> Result<u64> {
        self.execute(Command::new("SADD").arg(key).args(members)).await?.into_count()
    }

    /// SREM: removes members of a set, and returns how many there were.
    ///
    /// # Errors
    /// As [`Larder::execute`], and if no member is given.
    pub async fn srem<M: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, members: &[M]) -> Result<u64> {
        self.execute(Command::new("SREM").arg(key).args(members)).await?.into_count()
    }

    /// SMEMBERS: all members of a set, in no order.
    ///
    /// # Errors
    /// As [`Larder::execute`].
    pub async fn smembers(&self, key: impl AsRef<[u8]>) -> Result<Vec<Vec<u8>>> {
        self.execute(Command::new("SMEMBERS").arg(key)).await?.into_strings()
    }

    /// ZADD: sets scores of members of a sorted set, and returns how many members are new.
    ///
    /// # Errors
    /// As [`Larder::execute`], and if no member is given or a score is not a number.
    pub async fn zadd<M: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, members: &[(f64, M)]) -> Result<u64> {
        let add = members.iter().fold(Command::new("ZADD").arg(key), |add, (score, member)| {
            add.arg(larder_resp::format_g17(*score).as_bytes()).arg(member)
        });
        self.execute(add).await?.into_count()
    }

    /// ZREM: removes members of a sorted set, and returns how many there were.
    ///
    /// # Errors
    /// As [`Larder::execute`], and if no member is given.
    pub async fn zrem<M: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, members: &[M]) -> Result<u64> {
        self.execute(Command::new("ZREM").arg(key).args(members)).await?.into_count()
    }

    /// ZRANGE with WITHSCORES: members by rank with their scores, lowest first; negative ranks count from the end.
    ///
    /// # Errors
    /// As [`Larder::execute`].
    pub async fn zrange(&self, key: impl AsRef<[u8]>, start: i64, stop: i64) -> Result<Vec<(Vec<u8>, f64)>> {
        let range = Command::new("ZRANGE").arg(key).number(start).number(stop).arg("WITHSCORES");
        scored(self.execute(range).await?)
    }
}

/// Members and scores: pairs in RESP3, taking turns in RESP2.
fn scored(reply: Value) -> Result<Vec<(Vec<u8>, f64)>> {
    let list = reply.into_list()?;
    let is_flat = !matches!(list.first(), Some(Value::Array(_)));
    let pairs = if is_flat {
        Value::Array(list).into_pairs()?
    } else {
        let pair = |pair: Value| match <[Value; 2]>::try_from(pair.into_list()?) {
            Ok([member, score]) => Ok((member, score)),
            Err(_) => Err(Error::Unexpected("a member without a score".to_owned())),
        };
        list.into_iter().map(pair).collect::<Result<_>>()?
    };
    let one = |(member, score): (Value, Value)| {
        Ok((member.into_bytes()?.unwrap_or_default(), score.into_double()?.unwrap_or_default()))
    };
    pairs.into_iter().map(one).collect()
}

/// Several scripts or commands of one kind are often sent together.
impl FromIterator<Command> for Pipeline {
    fn from_iter<I: IntoIterator<Item = Command>>(commands: I) -> Pipeline {
        Pipeline { commands: commands.into_iter().collect(), is_atomic: false }
    }
}
