//! What a typed SET may be told.

use crate::keyspace::Expiry;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a key lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ttl {
    /// Until it is deleted.
    #[default]
    Never,
    /// As long as before, when its value is replaced.
    Keep,
    /// For so long from now, to the millisecond.
    In(Duration),
    /// Until a moment, to the millisecond.
    At(SystemTime),
}

impl Ttl {
    /// The moment in Unix milliseconds. `None` if it is not later than `now_ms` or beyond what can be kept.
    pub(super) fn moment(self, now_ms: u64) -> Option<Expiry> {
        let later =
            |at_ms: u64| (at_ms > now_ms && i64::try_from(at_ms).is_ok()).then_some(Expiry::AtMs(at_ms));
        match self {
            Ttl::Never => Some(Expiry::Never),
            Ttl::Keep => Some(Expiry::Keep),
            Ttl::In(time) => later(now_ms.checked_add(u64::try_from(time.as_millis()).ok()?)?),
            Ttl::At(moment) => {
                later(u64::try_from(moment.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?)
            }
        }
    }
}

/// When a value is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    #[default]
    Always,
    Absent,
    Present,
    Equal(&'a [u8]),
}

/// Time to live and condition of [`Larder::set_with`](super::Larder::set_with).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetOptions<'a> {
    pub(super) ttl: Ttl,
    pub(super) condition: Condition<'a>,
}

impl<'a> SetOptions<'a> {
    /// No time to live, no condition.
    pub fn new() -> SetOptions<'a> {
        SetOptions::default()
    }

    /// How long the key is to live.
    #[must_use]
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = ttl;
        self
    }

    /// Only if the key is absent.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.condition = Condition::Absent;
        self
    }

    /// Only if the key is there.
    #[must_use]
    pub fn if_present(mut self) -> Self {
        self.condition = Condition::Present;
        self
    }

    /// Only if the key holds exactly this string.
    #[must_use]
    pub fn if_equal<V: AsRef<[u8]> + ?Sized>(mut self, value: &'a V) -> Self {
        self.condition = Condition::Equal(value.as_ref());
        self
    }
}
