//! The one place that reads a clock which somebody can set. It measures, and decides nothing.

use std::time::{Duration, SystemTime};

/// How long ago a time of another clock was, in milliseconds since 1970, by the clock of this machine; zero if it is to
/// come.
pub(crate) fn since(at_ms: u64) -> Duration {
    between(at_ms, SystemTime::now())
}

fn between(at_ms: u64, now: SystemTime) -> Duration {
    let then = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(at_ms));
    then.and_then(|then| now.duration_since(then).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_never_below_zero_and_never_a_panic() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(between(1000, at(1250)), Duration::from_millis(250));
        assert_eq!(between(1000, at(999)), Duration::ZERO);
        assert_eq!(between(u64::MAX, at(0)), Duration::ZERO);
    }
}
