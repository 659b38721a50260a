//! Under the hood: what each request found in the cache, and what that saved.
//!
//! A request's notes are kept in its task ([`scope`]), so that whatever it calls can add to them ([`note`]). The last
//! requests stay in memory for the panel, and are sent to those who look on.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::broadcast;

/// Requests that are shown.
const KEPT: usize = 100;

/// What a look into the cache came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It was there.
    Hit,
    /// It was there, but past its time.
    Stale,
    /// It came from the database.
    Miss,
}

/// One look.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Look {
    /// Under which name.
    pub(crate) key: String,
    /// What it came to.
    pub(crate) outcome: Outcome,
    /// How old it was, in milliseconds.
    pub(crate) age_ms: u64,
    /// Time it took less than asking the database takes, in microseconds.
    pub(crate) saved_us: u64,
}

/// One request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Seen {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Its method.
    pub(crate) method: String,
    /// Its path; what is searched for is nobody's business.
    pub(crate) path: String,
    /// The status of the response.
    pub(crate) status: u16,
    /// Time it took, in microseconds.
    pub(crate) took_us: u64,
    /// What it looked for in the cache.
    pub(crate) looks: Vec<Look>,
}

/// Sums since the start.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sums {
    /// Looks that found something fresh.
    pub(crate) hits: u64,
    /// Looks that found something past its time.
    pub(crate) stale: u64,
    /// Looks that had to ask the database.
    pub(crate) misses: u64,
    /// Time saved, in microseconds.
    pub(crate) saved_us: u64,
    /// The greatest age that was served, in milliseconds.
    pub(crate) oldest_ms: u64,
}

/// The panel.
#[derive(Debug)]
pub(crate) struct Panel {
    seen: Mutex<VecDeque<Seen>>,
    number: AtomicU64,
    hits: AtomicU64,
    stale: AtomicU64,
    misses: AtomicU64,
    saved_us: AtomicU64,
    oldest_ms: AtomicU64,
    /// What asking the database takes, in microseconds: a moving average.
    load_us: AtomicU64,
    news: broadcast::Sender<Seen>,
}

impl Default for Panel {
    fn default() -> Panel {
        let zero = AtomicU64::default;
        Panel {
            seen: Mutex::default(),
            number: zero(),
            hits: zero(),
            stale: zero(),
            misses: zero(),
            saved_us: zero(),
            oldest_ms: zero(),
            load_us: zero(),
            news: broadcast::channel(KEPT).0,
        }
    }
}

tokio::task_local! {
    static LOOKS: RefCell<Vec<Look>>;
}

/// Runs a request, and returns with its result what it noted.
pub(crate) async fn scope<T>(request: impl Future<Output = T>) -> (T, Vec<Look>) {
    LOOKS
        .scope(RefCell::default(), async {
            let result = request.await;
            (result, LOOKS.with(RefCell::take))
        })
        .await
}

impl Panel {
    /// Notes a look into the cache that took this long. Outside of a request only the sums have it.
    pub(crate) fn note(&self, key: &str, outcome: Outcome, age: Duration, took: Duration) {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let age_ms = us(age) / 1000;
        let saved_us = match outcome {
            Outcome::Miss => {
                let before = self.load_us.load(Ordering::Relaxed);
                let now = if before == 0 { us(took) } else { (before * 7 + us(took)) / 8 };
                self.load_us.store(now, Ordering::Relaxed);
                0
            }
            Outcome::Hit | Outcome::Stale => self.load_us.load(Ordering::Relaxed).saturating_sub(us(took)),
        };
        let sum = match outcome {
            Outcome::Hit => &self.hits,
            Outcome::Stale => &self.stale,
            Outcome::Miss => &self.misses,
        };
        sum.fetch_add(1, Ordering::Relaxed);
        self.saved_us.fetch_add(saved_us, Ordering::Relaxed);
        self.oldest_ms.fetch_max(age_ms, Ordering::Relaxed);
        let look = Look { key: key.to_owned(), outcome, age_ms, saved_us };
        let _outside = LOOKS.try_with(|looks| looks.borrow_mut().push(look));
    }

    /// Notes that a request is answered.
    pub(crate) fn answered(&self, method: &str, path: &str, status: u16, took: Duration, looks: Vec<Look>) {
        let seen = Seen {
            number: self.number.fetch_add(1, Ordering::Relaxed) + 1,
            method: method.to_owned(),
            path: path.to_owned(),
            status,
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            looks,
        };
        let mut all = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if all.len() == KEPT {
            all.pop_front();
        }
        let news = (self.news.receiver_count() > 0).then(|| seen.clone());
        all.push_back(seen);
        drop(all);
        if let Some(news) = news {
            // An error says that nobody looks on any more.
            let _ = self.news.send(news);
        }
    }

    /// The last requests, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter().cloned().collect()
    }

    /// Requests from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Seen> {
        self.news.subscribe()
    }

    /// The sums.
    pub(crate) fn sums(&self) -> Sums {
        let read = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        Sums {
            hits: read(&self.hits),
            stale: read(&self.stale),
            misses: read(&self.misses),
            saved_us: read(&self.saved_us),
            oldest_ms: read(&self.oldest_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_has_its_own_looks_and_the_sums_have_all() {
        let panel = Panel::default();
        panel.note("before", Outcome::Miss, Duration::ZERO, Duration::from_millis(8));
        let look = async |key| {
            panel.note(key, Outcome::Hit, Duration::from_secs(3), Duration::from_millis(1));
        };
        let ((), looks) = scope(look("inside")).await;
        panel.answered("GET", "/", 200, Duration::from_millis(2), looks);
        let seen = panel.seen();
        assert_eq!((seen.len(), seen[0].looks.len()), (1, 1));
        assert_eq!((seen[0].looks[0].saved_us, seen[0].looks[0].age_ms), (7000, 3000));
        let sums = panel.sums();
        assert_eq!((sums.hits, sums.misses, sums.saved_us, sums.oldest_ms), (1, 1, 7000, 3000));
    }

    #[test]
    fn only_the_last_requests_are_kept() {
        let panel = Panel::default();
        (0..KEPT + 5).for_each(|_| panel.answered("GET", "/", 200, Duration::ZERO, Vec::new()));
        let numbers: Vec<u64> = panel.seen().iter().map(|seen| seen.number).collect();
        assert_eq!((numbers.len(), numbers[0]), (KEPT, 6));
    }
}
