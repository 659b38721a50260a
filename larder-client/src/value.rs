//! Replies, the same from every backend.

use crate::error::{Error, Result};
use larder_resp::Frame;

/// A reply, in the types of RESP3.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// An integer.
    Integer(i64),
    /// A string of bytes; short texts such as `OK` as well.
    Bytes(Vec<u8>),
    /// A list of values.
    Array(Vec<Value>),
    /// Pairs, in the order in which they came.
    Map(Vec<(Value, Value)>),
    /// Different values, in no order.
    Set(Vec<Value>),
    /// A number with a fraction.
    Double(f64),
    /// Yes or no.
    Boolean(bool),
    /// An error inside a larger reply, as in that of a pipeline. At the top it is an [`Error`] instead.
    Failed(Error),
}

impl Value {
    /// What kind of value this is, for messages.
    fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Integer(_) => "an integer",
            Value::Bytes(_) => "a string",
            Value::Array(_) => "an array",
            Value::Map(_) => "a map",
            Value::Set(_) => "a set",
            Value::Double(_) => "a double",
            Value::Boolean(_) => "a boolean",
            Value::Failed(_) => "an error",
        }
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T> {
        match self {
            Value::Failed(error) => Err(error.clone()),
            other => Err(Error::Unexpected(format!("{} where {wanted} was expected", other.kind()))),
        }
    }

    /// An error inside becomes the error of the call.
    ///
    /// # Errors
    /// If this is [`Value::Failed`].
    pub fn or_failed(self) -> Result<Value> {
        match self {
            Value::Failed(error) => Err(error),
            other => Ok(other),
        }
    }

    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The bytes of a string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of a string that is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()?).ok()
    }

    /// An integer, or a string that is one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(number) => Some(*number),
            Value::Bytes(_) => self.as_str()?.parse().ok(),
            _ => None,
        }
    }

    /// A string, or `None` for null.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn into_bytes(self) -> Result<Option<Vec<u8>>> {
        match self {
            Value::Bytes(bytes) => Ok(Some(bytes)),
            Value::Null => Ok(None),
            other => other.unexpected("a string"),
        }
    }

    /// An integer.
    ///
    /// # Errors
    /// If it is none, or a string that is none.
    pub fn into_integer(self) -> Result<i64> {
        match self.as_integer() {
            Some(number) => Ok(number),
            None => self.unexpected("an integer"),
        }
    }

    /// How many.
    ///
    /// # Errors
    /// If it is no integer from 0 on.
    pub fn into_count(self) -> Result<u64> {
        let number = self.into_integer()?;
        u64::try_from(number).map_err(|_| Error::Unexpected(format!("{number} where a count was expected")))
    }

    /// Whether a number is 1, or a reply is not null: how commands say yes.
    ///
    /// # Errors
    /// If it is an error, or a collection.
    pub fn into_bool(self) -> Result<bool> {
        match self {
            Value::Integer(number) => Ok(number == 1),
            Value::Boolean(yes) => Ok(yes),
            Value::Null => Ok(false),
            Value::Bytes(_) => Ok(true),
            other => other.unexpected("yes or no"),
        }
    }

    /// A number with a fraction, or a string that is one; `None` for null.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn into_double(self) -> Result<Option<f64>> {
        match self {
            Value::Null => Ok(None),
            Value::Double(number) => Ok(Some(number)),
            Value::Bytes(ref bytes) => match larder_resp::parse_double(bytes) {
                Some(number) => Ok(Some(number)),
                None => self.unexpected("a number"),
            },
            Value::Integer(number) => Ok(Some(number as f64)),
            other => other.unexpected("a number"),
        }
    }

    /// The elements of an array or a set; none for null.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn into_list(self) -> Result<Vec<Value>> {
        match self {
            Value::Array(list) | Value::Set(list) => Ok(list),
            Value::Null => Ok(Vec::new()),
            other => other.unexpected("a list"),
        }
    }

    /// The strings of an array or a set.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn into_strings(self) -> Result<Vec<Vec<u8>>> {
        let string = |value: Value| match value {
            Value::Bytes(bytes) => Ok(bytes),
            other => other.unexpected("a string"),
        };
        self.into_list()?.into_iter().map(string).collect()
    }

    /// The pairs of a map, or of an array in which keys and values take turns.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn into_pairs(self) -> Result<Vec<(Value, Value)>> {
        match self {
            Value::Map(pairs) => Ok(pairs),
            Value::Array(list) if list.len() % 2 == 0 => {
                let mut pairs = Vec::with_capacity(list.len() / 2);
                let mut list = list.into_iter();
                while let (Some(key), Some(value)) = (list.next(), list.next()) {
                    pairs.push((key, value));
                }
                Ok(pairs)
            }
            other => other.unexpected("a map"),
        }
    }

    pub(crate) fn of_frame(frame: Frame) -> Value {
        let all = |frames: Vec<Frame>| frames.into_iter().map(Value::of_frame).collect();
        match frame {
            Frame::Simple(bytes) | Frame::Bulk(bytes) | Frame::Verbatim { text: bytes, .. } => {
                Value::Bytes(bytes)
            }
            Frame::Error(text) => Value::Failed(Error::reply(&text)),
            Frame::Integer(number) => Value::Integer(number),
            Frame::Null | Frame::NullArray => Value::Null,
            Frame::Array(frames) | Frame::Push(frames) => Value::Array(all(frames)),
            Frame::Set(frames) => Value::Set(all(frames)),
            Frame::Map(pairs) => Value::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| (Value::of_frame(key), Value::of_frame(value)))
                    .collect(),
            ),
            Frame::Double(number) => Value::Double(number),
            Frame::Boolean(yes) => Value::Boolean(yes),
            Frame::BigNumber(digits) => Value::Bytes(digits.into_bytes()),
            Frame::Attribute { frame, .. } => Value::of_frame(*frame),
        }
    }

    pub(crate) fn of_redis(value: redis::Value) -> Value {
        let all = |values: Vec<redis::Value>| values.into_iter().map(Value::of_redis).collect();
        match value {
            redis::Value::Nil => Value::Null,
            redis::Value::Int(number) => Value::Integer(number),
            redis::Value::BulkString(bytes) | redis::Value::BigNumber(bytes) => Value::Bytes(bytes),
            redis::Value::SimpleString(text) | redis::Value::VerbatimString { text, .. } => {
                Value::Bytes(text.into_bytes())
            }
            redis::Value::Okay => Value::Bytes(b"OK".to_vec()),
            redis::Value::Array(values) => Value::Array(all(values)),
            redis::Value::Set(values) => Value::Set(all(values)),
            redis::Value::Map(pairs) => Value::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| (Value::of_redis(key), Value::of_redis(value)))
                    .collect(),
            ),
            redis::Value::Double(number) => Value::Double(number),
            redis::Value::Boolean(yes) => Value::Boolean(yes),
            redis::Value::Attribute { data, .. } => Value::of_redis(*data),
            redis::Value::Push { data, .. } => Value::Array(all(data)),
            redis::Value::ServerError(error) => Value::Failed(Error::Server {
                code: error.code().to_owned(),
                message: error.details().unwrap_or_default().to_owned(),
            }),
            other => Value::Failed(Error::Unexpected(format!("{other:?}"))),
        }
    }
}
