//! How long entries live, and how patient a cache is.

use std::time::Duration;

/// Times and rules of a cache, or of one call ([`Cache::with`](crate::Cache::with)).
///
/// ```
/// use larder_cache::Policy;
/// use std::time::Duration;
///
/// let policy = Policy::ttl(Duration::from_secs(300))
///     .jitter(0.1)                                     // 270 to 300 s, so that not all expire together
///     .stale_for(Duration::from_secs(3600))            // if the source is down, serve what there was
///     .soft_timeout(Duration::from_millis(100))        // or if it is slow
///     .negative_ttl(Duration::from_secs(10));          // "not found" is kept as well
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Policy {
    pub(crate) ttl: Duration,
    pub(crate) jitter: f64,
    pub(crate) is_sliding: bool,
    pub(crate) stale_for: Duration,
    pub(crate) refresh_at: Option<f64>,
    pub(crate) early: Option<f64>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) hard_timeout: Duration,
    pub(crate) load_max: Duration,
    pub(crate) negative_ttl: Duration,
    pub(crate) error_backoff: Duration,
    pub(crate) cancels_abandoned: bool,
    pub(crate) backend_timeout: Duration,
    pub(crate) is_strict: bool,
    pub(crate) guard_ttl: Duration,
}

impl Policy {
    /// Entries are fresh for so long, from one millisecond to a thousand years, and everything else is as by default.
    pub fn ttl(ttl: Duration) -> Policy {
        const TTL_MAX: Duration = Duration::from_secs(1000 * 366 * 86_400);
        Policy {
            ttl: ttl.clamp(Duration::from_millis(1), TTL_MAX),
            jitter: 0.0,
            is_sliding: false,
            stale_for: Duration::ZERO,
            refresh_at: None,
            early: None,
            soft_timeout: None,
            hard_timeout: Duration::from_secs(10),
            load_max: Duration::from_secs(30),
            negative_ttl: Duration::ZERO,
            error_backoff: Duration::from_secs(1),
            cancels_abandoned: false,
            backend_timeout: Duration::from_secs(2),
            is_strict: false,
            guard_ttl: Duration::from_secs(30),
        }
    }

    /// Shortens each life by a random part of it, up to this one (0 to 1).
    pub fn jitter(mut self, part: f64) -> Policy {
        self.jitter = part.clamp(0.0, 1.0);
        self
    }

    /// Each hit lets the entry live for the whole time again.
    pub fn sliding(mut self) -> Policy {
        self.is_sliding = true;
        self
    }

    /// For so long after its time an entry may still be served, as stale, if the source fails or is slow.
    pub fn stale_for(mut self, time: Duration) -> Policy {
        self.stale_for = time;
        self
    }

    /// A hit after this part of an entry's life (0 to 1) starts a load in the background.
    pub fn refresh_at(mut self, part: f64) -> Policy {
        self.refresh_at = Some(part.clamp(0.0, 1.0));
        self
    }

    /// A hit may start a load in the background before the end of an entry's life: the likelier, the nearer the end and
    /// the longer the last load took (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede
    /// Prevention, VLDB 2015). `beta` is 1 as a rule; more is earlier.
    pub fn early_refresh(mut self, beta: f64) -> Policy {
        self.early = Some(beta.max(0.0));
        self
    }

    /// Callers get the stale value, if there is one, when the load takes longer than this; it goes on.
    pub fn soft_timeout(mut self, time: Duration) -> Policy {
        self.soft_timeout = Some(time);
        self
    }

    /// Callers get the stale value at once, if there is one, while it is loaded in the background: a soft time-out of
    /// nothing.
    pub fn stale_while_revalidate(self) -> Policy {
        self.soft_timeout(Duration::ZERO)
    }

    /// No caller waits longer than this; 10 seconds by default.
    pub fn hard_timeout(mut self, time: Duration) -> Policy {
        self.hard_timeout = time;
        self
    }

    /// No load goes on longer than this, and for so long others leave it to the process that has begun it: a process
    /// that dies in a load delays others by this at most. 30 seconds by default.
    pub fn load_max(mut self, time: Duration) -> Policy {
        self.load_max = time.max(Duration::from_millis(1));
        self
    }

    /// "Not found" is kept for so long; not at all by default.
    pub fn negative_ttl(mut self, time: Duration) -> Policy {
        self.negative_ttl = time;
        self
    }

    /// After a failed load the next one begins no sooner than this; until then callers get the stale value, or the same
    /// error. 1 second by default.
    pub fn error_backoff(mut self, time: Duration) -> Policy {
        self.error_backoff = time;
        self
    }

    /// Ends a load when all who wait for it have gone. By default it goes on, and its value is kept.
    pub fn cancel_abandoned_loads(mut self) -> Policy {
        self.cancels_abandoned = true;
        self
    }

    /// How long one step at the backend may take; 2 seconds by default.
    pub fn backend_timeout(mut self, time: Duration) -> Policy {
        self.backend_timeout = time.max(Duration::from_millis(1));
        self
    }

    /// Tells reads of trouble with the backend as errors. By default they go to the source instead.
    pub fn strict(mut self) -> Policy {
        self.is_strict = true;
        self
    }

    /// How long an update keeps loads away if its process dies in it; 30 seconds by default. It must be longer than
    /// updates take.
    pub fn guard_ttl(mut self, time: Duration) -> Policy {
        self.guard_ttl = time.max(Duration::from_millis(1));
        self
    }

    /// The life of one entry: what it is to be, less jitter.
    pub(crate) fn life(&self, ttl: Option<Duration>) -> Duration {
        let ttl = ttl.unwrap_or(self.ttl);
        let life = if self.jitter > 0.0 { ttl.mul_f64(1.0 - self.jitter * fastrand::f64()) } else { ttl };
        life.max(Duration::from_millis(1))
    }

    /// The longest that any entry may live, which is how long tags are remembered.
    pub(crate) fn longest(&self) -> Duration {
        self.ttl.max(self.negative_ttl) + self.stale_for
    }

    /// Whether a hit is to start a load: of an entry that was to be fresh for `life`, is so for `left`, and took `cost`
    /// to load; `chance` is uniform in (0, 1].
    pub(crate) fn wants_refresh(&self, life: Duration, left: Duration, cost: Duration, chance: f64) -> bool {
        let is_due = self.refresh_at.is_some_and(|part| left <= life.mul_f64(1.0 - part));
        is_due
            || self.early.is_some_and(|beta| {
                let ahead = cost.as_secs_f64() * beta * -chance.max(f64::MIN_POSITIVE).ln();
                ahead >= left.as_secs_f64()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn c3_jitter_spreads_lives_and_never_lengthens_one() {
        let policy = Policy::ttl(SECOND * 100).jitter(0.2);
        let lives: Vec<Duration> = (0..1000).map(|_| policy.life(None)).collect();
        assert!(lives.iter().all(|life| *life <= SECOND * 100 && *life >= SECOND * 80));
        let early = lives.iter().filter(|life| **life < SECOND * 90).count();
        assert!((300..700).contains(&early), "{early} of 1000 in the first half");
        assert_eq!(Policy::ttl(SECOND).life(None), SECOND);
        assert_eq!(Policy::ttl(SECOND).life(Some(SECOND * 5)), SECOND * 5);
    }

    #[test]
    fn c2_early_refresh_is_likelier_near_the_end_and_for_slow_loads() {
        let policy = Policy::ttl(SECOND * 100).early_refresh(1.0);
        let share = |left: Duration, cost: Duration| {
            (1..=1000)
                .filter(|n| policy.wants_refresh(SECOND * 100, left, cost, f64::from(*n) / 1000.0))
                .count()
        };
        assert_eq!(share(SECOND * 50, SECOND), 0);
        // -ln(u) >= 2 has the probability exp(-2).
        assert_eq!(share(SECOND * 2, SECOND), 135);
        assert!(share(SECOND * 2, SECOND * 4) > 600);
        assert_eq!(share(Duration::ZERO, SECOND), 1000);
        let fixed = Policy::ttl(SECOND * 100).refresh_at(0.8);
        assert!(!fixed.wants_refresh(SECOND * 100, SECOND * 21, SECOND, 0.5));
        assert!(fixed.wants_refresh(SECOND * 100, SECOND * 20, SECOND, 0.5));
    }
}
