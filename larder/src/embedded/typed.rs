//! Typed calls that are made as commands.

use super::Larder;
use crate::fault::Fault;
use crate::types::string::Digits;
use larder_resp::{Frame, OwnedRequest, format_g17};

/// Bytes, as keys and values are.
type Bytes = Vec<u8>;

/// A command of these words.
pub(super) fn request(words: &[&[u8]]) -> OwnedRequest {
    OwnedRequest::from_slices(words)
}

fn with_all<I: IntoIterator<Item: AsRef<[u8]>>>(words: &[&[u8]], more: I) -> OwnedRequest {
    let mut request = request(words);
    more.into_iter().for_each(|word| request.push(word.as_ref()));
    request
}

/// A reply of another type than the command has. It would be a mistake of this crate.
fn unexpected() -> Fault {
    Fault::row("ERR", "unexpected type of reply")
}

/// A string, or nothing.
pub(super) fn bytes(reply: Frame) -> Result<Option<Bytes>, Fault> {
    match reply {
        Frame::Bulk(bytes) | Frame::Simple(bytes) => Ok(Some(bytes)),
        Frame::Null | Frame::NullArray => Ok(None),
        _ => Err(unexpected()),
    }
}

/// An integer.
pub(super) fn integer(reply: Frame) -> Result<i64, Fault> {
    reply.as_integer().ok_or_else(unexpected)
}

fn count(reply: Frame) -> Result<usize, Fault> {
    usize::try_from(integer(reply)?).map_err(|_| unexpected())
}

fn is_one(reply: Frame) -> Result<bool, Fault> {
    Ok(integer(reply)? == 1)
}

fn list(reply: Frame) -> Result<Vec<Bytes>, Fault> {
    let elements = reply.into_elements().ok_or_else(unexpected)?;
    elements.into_iter().map(|element| bytes(element)?.ok_or_else(unexpected)).collect()
}

fn pairs(reply: Frame) -> Result<Vec<(Bytes, Bytes)>, Fault> {
    let Frame::Map(pairs) = reply else { return Err(unexpected()) };
    let string = |frame| bytes(frame)?.ok_or_else(unexpected);
    pairs.into_iter().map(|(key, value)| Ok((string(key)?, string(value)?))).collect()
}

fn double(reply: Frame) -> Result<Option<f64>, Fault> {
    match reply {
        Frame::Double(number) => Ok(Some(number)),
        Frame::Null => Ok(None),
        _ => Err(unexpected()),
    }
}

/// The calls below return what the command of the same name replies. Each may fail with [`Fault::WRONG_TYPE`], and
/// those that store with [`Fault::OUT_OF_MEMORY`].
impl Larder {
    /// MGET: the strings under several keys; `None` for those that are absent or no strings.
    ///
    /// # Errors
    /// If no key is given.
    pub fn mget<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>, Fault> {
        let reply = self.ask(with_all(&[b"MGET"], keys))?;
        reply.into_elements().ok_or_else(unexpected)?.into_iter().map(bytes).collect()
    }

    /// MSET: stores several strings at once.
    ///
    /// # Errors
    /// If none is given.
    pub fn mset<K: AsRef<[u8]>, V: AsRef<[u8]>>(&self, pairs: &[(K, V)]) -> Result<(), Fault> {
        let mut mset = request(&[b"MSET"]);
        for (key, value) in pairs {
            mset.push(key.as_ref());
            mset.push(value.as_ref());
        }
        self.ask(mset).map(|_| ())
    }

    /// DEL: deletes several keys at once, and returns how many there were.
    ///
    /// # Errors
    /// If no key is given.
    pub fn del_all<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<usize, Fault> {
        count(self.ask(with_all(&[b"DEL"], keys))?)
    }

    /// PERSIST: lets a key not expire any more; returns whether it would have.
    ///
    /// # Errors
    /// As said above.
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool, Fault> {
        is_one(self.ask(request(&[b"PERSIST", key.as_ref()]))?)
    }

    /// DBSIZE: how many keys the database has.
    ///
    /// # Errors
    /// As said above.
    pub fn len(&self) -> Result<usize, Fault> {
        count(self.ask(request(&[b"DBSIZE"]))?)
    }

    /// Whether the database has no keys.
    ///
    /// # Errors
    /// As said above.
    pub fn is_empty(&self) -> Result<bool, Fault> {
        Ok(self.len()? == 0)
    }

    /// FLUSHDB: deletes all keys of the database.
    ///
    /// # Errors
    /// As said above.
    pub fn flush(&self) -> Result<(), Fault> {
        self.ask(request(&[b"FLUSHDB"])).map(|_| ())
    }

    /// SCAN: some of the keys that match `pattern`, and the cursor for the next call; 0 begins a walk and ends it.
    ///
    /// # Errors
    /// As said above.
    pub fn scan(&self, cursor: u64, pattern: impl AsRef<[u8]>) -> Result<(u64, Vec<Bytes>), Fault> {
        let cursor = Digits::new().format(cursor).to_owned();
        let reply = self.ask(request(&[b"SCAN", cursor.as_bytes(), b"MATCH", pattern.as_ref()]))?;
        let mut parts = reply.into_elements().ok_or_else(unexpected)?.into_iter();
        let (next, keys) = (parts.next().ok_or_else(unexpected)?, parts.next().ok_or_else(unexpected)?);
        let next = next.as_str().and_then(|next| next.parse().ok()).ok_or_else(unexpected)?;
        Ok((next, list(keys)?))
    }

    /// HSET: sets fields of a hash, and returns how many of them are new.
    ///
    /// # Errors
    /// As said above, and if no field is given.
    pub fn hset<F: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        key: impl AsRef<[u8]>,
        fields: &[(F, V)],
    ) -> Result<usize, Fault> {
        let mut hset = request(&[b"HSET", key.as_ref()]);
        for (field, value) in fields {
            hset.push(field.as_ref());
            hset.push(value.as_ref());
        }
        count(self.ask(hset)?)
    }

    /// HGET: a field of a hash.
    ///
    /// # Errors
    /// As said above.
    pub fn hget(&self, key: impl AsRef<[u8]>, field: impl AsRef<[u8]>) -> Result<Option<Bytes>, Fault> {
        bytes(self.ask(request(&[b"HGET", key.as_ref(), field.as_ref()]))?)
    }

    /// HGETALL: all fields of a hash with their values.
    ///
    /// # Errors
    /// As said above.
    pub fn hgetall(&self, key: impl AsRef<[u8]>) -> Result<Vec<(Bytes, Bytes)>, Fault> {
        pairs(self.ask(request(&[b"HGETALL", key.as_ref()]))?)
    }

    /// HDEL: deletes fields of a hash, and returns how many there were.
    ///
    /// # Errors
    /// As said above, and if no field is given.
    pub fn hdel<F: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, fields: &[F]) -> Result<usize, Fault> {
        count(self.ask(with_all(&[b"HDEL", key.as_ref()], fields))?)
    }

    /// HINCRBY: adds to the integer in a field of a hash, and returns the sum.
    ///
    /// # Errors
    /// As said above, and if the field holds no integer or the sum has no room in 64 bits.
    pub fn hincr_by(
        &self,
        key: impl AsRef<[u8]>,
        field: impl AsRef<[u8]>,
        increment: i64,
    ) -> Result<i64, Fault> {
        let increment = Digits::new().format(increment).to_owned();
        integer(self.ask(request(&[b"HINCRBY", key.as_ref(), field.as_ref(), increment.as_bytes()]))?)
    }

    /// LPUSH: puts elements in front of a list, one after the other, and returns its length.
    ///
    /// # Errors
    /// As said above, and if no element is given.
    pub fn lpush<V: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, elements: &[V]) -> Result<usize, Fault> {
        count(self.ask(with_all(&[b"LPUSH", key.as_ref()], elements))?)
    }

    /// RPUSH: puts elements at the end of a list, and returns its length.
    ///
    /// # Errors
    /// As said above, and if no element is given.
    pub fn rpush<V: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, elements: &[V]) -> Result<usize, Fault> {
        count(self.ask(with_all(&[b"RPUSH", key.as_ref()], elements))?)
    }

    /// LPOP: takes the first element of a list.
    ///
    /// # Errors
    /// As said above.
    pub fn lpop(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Fault> {
        bytes(self.ask(request(&[b"LPOP", key.as_ref()]))?)
    }

    /// RPOP: takes the last element of a list.
    ///
    /// # Errors
    /// As said above.
    pub fn rpop(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, Fault> {
        bytes(self.ask(request(&[b"RPOP", key.as_ref()]))?)
    }

    /// LRANGE: elements of a list from `start` to `stop`, both included, negative ones counted from its end.
    ///
    /// # Errors
    /// As said above.
    pub fn lrange(&self, key: impl AsRef<[u8]>, start: i64, stop: i64) -> Result<Vec<Bytes>, Fault> {
        let (start, stop) = (Digits::new().format(start).to_owned(), Digits::new().format(stop).to_owned());
        list(self.ask(request(&[b"LRANGE", key.as_ref(), start.as_bytes(), stop.as_bytes()]))?)
    }

    /// LLEN: the length of a list.
    ///
    /// # Errors
    /// As said above.
    pub fn llen(&self, key: impl AsRef<[u8]>) -> Result<usize, Fault> {
        count(self.ask(request(&[b"LLEN", key.as_ref()]))?)
    }

    /// SADD: adds members to a set, and returns how many are new.
    ///
    /// # Errors
    /// As said above, and if no member is given.
    pub fn sadd<M: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, members: &[M]) -> Result<usize, Fault> {
        count(self.ask(with_all(&[b"SADD", key.as_ref()], members))?)
    }

    /// SREM: removes members of a set, and returns how many there were.
    ///
    /// # Errors
    /// As said above, and if no member is given.
    pub fn srem<M: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, members: &[M]) -> Result<usize, Fault> {
        count(self.ask(with_all(&[b"SREM", key.as_ref()], members))?)
    }

    /// SISMEMBER: whether something is a member of a set.
    ///
    /// # Errors
    /// As said above.
    pub fn sismember(&self, key: impl AsRef<[u8]>, member: impl AsRef<[u8]>) -> Result<bool, Fault> {
        is_one(self.ask(request(&[b"SISMEMBER", key.as_ref(), member.as_ref()]))?)
    }

    /// SMEMBERS: all members of a set, in no order.
    ///
    /// # Errors
    /// As said above.
    pub fn smembers(&self, key: impl AsRef<[u8]>) -> Result<Vec<Bytes>, Fault> {
        list(self.ask(request(&[b"SMEMBERS", key.as_ref()]))?)
    }

    /// SCARD: how many members a set has.
    ///
    /// # Errors
    /// As said above.
    pub fn scard(&self, key: impl AsRef<[u8]>) -> Result<usize, Fault> {
        count(self.ask(request(&[b"SCARD", key.as_ref()]))?)
    }

    /// ZADD: sets scores of members of a sorted set, and returns how many members are new.
    ///
    /// # Errors
    /// As said above, if no member is given, and if a score is not a number.
    pub fn zadd<M: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, members: &[(f64, M)]) -> Result<usize, Fault> {
        let mut zadd = request(&[b"ZADD", key.as_ref()]);
        for (score, member) in members {
            zadd.push(format_g17(*score).as_bytes());
            zadd.push(member.as_ref());
        }
        count(self.ask(zadd)?)
    }

    /// ZREM: removes members of a sorted set, and returns how many there were.
    ///
    /// # Errors
    /// As said above, and if no member is given.
    pub fn zrem<M: AsRef<[u8]>>(&self, key: impl AsRef<[u8]>, members: &[M]) -> Result<usize, Fault> {
        count(self.ask(with_all(&[b"ZREM", key.as_ref()], members))?)
    }

    /// ZINCRBY: adds to the score of a member of a sorted set, and returns the sum.
    ///
    /// # Errors
    /// As said above, and if the sum is not a number.
    pub fn zincr_by(
        &self,
        key: impl AsRef<[u8]>,
        increment: f64,
        member: impl AsRef<[u8]>,
    ) -> Result<f64, Fault> {
        let increment = format_g17(increment);
        let reply = self.ask(request(&[b"ZINCRBY", key.as_ref(), increment.as_bytes(), member.as_ref()]))?;
        double(reply)?.ok_or_else(unexpected)
    }

    /// ZSCORE: the score of a member of a sorted set.
    ///
    /// # Errors
    /// As said above.
    pub fn zscore(&self, key: impl AsRef<[u8]>, member: impl AsRef<[u8]>) -> Result<Option<f64>, Fault> {
        double(self.ask(request(&[b"ZSCORE", key.as_ref(), member.as_ref()]))?)
    }

    /// ZRANGE: members of a sorted set by rank, from `start` to `stop`, both included, negative ones counted from its
    /// end; lowest score first.
    ///
    /// # Errors
    /// As said above.
    pub fn zrange(&self, key: impl AsRef<[u8]>, start: i64, stop: i64) -> Result<Vec<Bytes>, Fault> {
        let (start, stop) = (Digits::new().format(start).to_owned(), Digits::new().format(stop).to_owned());
        list(self.ask(request(&[b"ZRANGE", key.as_ref(), start.as_bytes(), stop.as_bytes()]))?)
    }

    /// ZRANGE with WITHSCORES: the same members with their scores.
    ///
    /// # Errors
    /// As said above.
    pub fn zrange_with_scores(
        &self,
        key: impl AsRef<[u8]>,
        start: i64,
        stop: i64,
    ) -> Result<Vec<(Bytes, f64)>, Fault> {
        let (start, stop) = (Digits::new().format(start).to_owned(), Digits::new().format(stop).to_owned());
        let words = [b"ZRANGE", key.as_ref(), start.as_bytes(), stop.as_bytes(), b"WITHSCORES"];
        let members = self.ask(request(&words))?.into_elements().ok_or_else(unexpected)?;
        let scored = members.into_iter().map(|pair| {
            let mut pair = pair.into_elements().ok_or_else(unexpected)?.into_iter();
            let member = bytes(pair.next().ok_or_else(unexpected)?)?.ok_or_else(unexpected)?;
            let score = double(pair.next().ok_or_else(unexpected)?)?.ok_or_else(unexpected)?;
            Ok((member, score))
        });
        scored.collect()
    }

    /// PUBLISH: sends a message to all who listen to a channel, and returns how many they are.
    ///
    /// # Errors
    /// Only if the engine has stopped.
    pub fn publish(&self, channel: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> Result<usize, Fault> {
        count(self.ask(request(&[b"PUBLISH", channel.as_ref(), message.as_ref()]))?)
    }
}
