//! Trouble with the backend, and what is done about it in the background: removals that are owed, and the breaker.

use crate::cache::Inner;
use crate::error::Error;
use crate::observe::Event;
use crate::policy::Policy;
use crate::store::{Drop, Sweep};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Keeps reads from waiting for a backend that is away: after a few failures in a row it is left alone for a moment.
pub(crate) struct Breaker {
    failures: AtomicU32,
    /// Nanoseconds after `born`.
    open_until: AtomicU64,
    born: Instant,
}

const FAILURES_MAX: u32 = 3;
const OPEN_FOR: Duration = Duration::from_millis(500);

impl Breaker {
    pub(crate) fn new() -> Breaker {
        Breaker { failures: AtomicU32::new(0), open_until: AtomicU64::new(0), born: Instant::now() }
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES_MAX
            && self.nanos() < self.open_until.load(Ordering::Relaxed)
    }

    fn succeed(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    fn fail(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let until = self.nanos() + OPEN_FOR.as_nanos() as u64;
        self.open_until.store(until, Ordering::Relaxed);
    }
}

/// Invalidations that the backend has not taken yet. What they concern is not read from there.
#[derive(Default)]
pub(crate) struct Debts {
    owed: Mutex<Owed>,
    /// How many, to be seen without a lock.
    count: AtomicUsize,
    is_being_paid: AtomicBool,
}

#[derive(Default)]
struct Owed {
    /// Each with a number that changes when it is owed once more.
    keys: HashMap<Vec<u8>, u64>,
    sweeps: VecDeque<(OwedSweep, u64)>,
    number: u64,
}

/// What, which tags, and for how long they are to be remembered.
type OwedSweep = (Sweep, Vec<Vec<u8>>, Duration);

/// More than so many, and everything is removed instead.
const DEBTS_MAX: usize = 10_000;

impl Debts {
    /// Whether an entry must not be read from the backend.
    pub(crate) fn forbid(&self, key: &[u8]) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let owed = self.owed.lock();
        !owed.sweeps.is_empty() || owed.keys.contains_key(key)
    }

    fn change(&self, change: impl FnOnce(&mut Owed, u64)) {
        let mut owed = self.owed.lock();
        owed.number += 1;
        let number = owed.number;
        change(&mut owed, number);
        if owed.keys.len() + owed.sweeps.len() > DEBTS_MAX {
            owed.keys.clear();
            owed.sweeps = [((Sweep::Clear, Vec::new(), Duration::from_millis(1)), number)].into();
        }
        self.count.store(owed.keys.len() + owed.sweeps.len(), Ordering::Release);
    }

    fn next(&self) -> Option<Debt> {
        let owed = self.owed.lock();
        if let Some((key, number)) = owed.keys.iter().next() {
            return Some(Debt::Key(key.clone(), *number));
        }
        owed.sweeps.front().map(|(sweep, number)| Debt::Sweep(sweep.clone(), *number))
    }
}

enum Debt {
    Key(Vec<u8>, u64),
    Sweep(OwedSweep, u64),
}

impl<V: Send + Sync + 'static> Inner<V> {
    /// One step at the backend, within its time.
    pub(crate) async fn ask<T>(
        &self,
        policy: &Policy,
        step: impl Future<Output = larder_client::Result<T>>,
    ) -> Result<T, Error> {
        if self.is_embedded {
            return Ok(step.await?);
        }
        if self.breaker.is_open() {
            let why = "it has failed a moment ago, and is left alone".to_owned();
            return Err(Error::Backend(larder_client::Error::Unreachable(why)));
        }
        let done = match tokio::time::timeout(policy.backend_timeout, step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Error::Backend(error)),
            Err(_) => Err(Error::BackendTimeout(policy.backend_timeout)),
        };
        match &done {
            Ok(_) => self.breaker.succeed(),
            Err(error) => {
                self.stats.tell(Event::BackendFailed { error });
                match error {
                    Error::Backend(error) if !error.is_outage() => self.breaker.succeed(),
                    _ => self.breaker.fail(),
                }
            }
        }
        done
    }

    /// The backend has perhaps not taken a change of an entry: what it has is not to be read until it is removed.
    pub(crate) fn owe_removal(self: &Arc<Self>, key: &[u8]) {
        self.debts.change(|owed, number| _ = owed.keys.insert(key.to_vec(), number));
        self.local.change(key);
        self.stats.tell(Event::RemovalOwed);
        self.pay();
    }

    pub(crate) fn owe_sweep(self: &Arc<Self>, how: Sweep, tags: &[Vec<u8>], longest: Duration) {
        self.debts.change(|owed, number| owed.sweeps.push_back(((how, tags.to_vec(), longest), number)));
        self.stats.tell(Event::RemovalOwed);
        self.pay();
    }

    /// Tries what is owed until it is done, or the cache is gone.
    fn pay(self: &Arc<Self>) {
        if self.debts.is_being_paid.swap(true, Ordering::AcqRel) {
            return;
        }
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut pause = Duration::from_millis(20);
            while let Some(inner) = weak.upgrade() {
                let Some(debt) = inner.debts.next() else {
                    inner.debts.is_being_paid.store(false, Ordering::Release);
                    // One may have come in between, and found somebody paying.
                    let is_late = inner.debts.next().is_some();
                    if is_late && !inner.debts.is_being_paid.swap(true, Ordering::AcqRel) {
                        continue;
                    }
                    return;
                };
                if inner.pay_one(&debt).await {
                    pause = Duration::from_millis(20);
                    continue;
                }
                drop(inner);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        });
    }

    async fn pay_one(&self, debt: &Debt) -> bool {
        const PATIENCE: Duration = Duration::from_secs(2);
        let step = async {
            match debt {
                Debt::Key(key, _) => self.store.drop(key, Drop::Remove).await.is_ok(),
                Debt::Sweep((how, tags, longest), _) => self.store.sweep(*how, tags, *longest).await.is_ok(),
            }
        };
        let is_paid = tokio::time::timeout(PATIENCE, step).await.unwrap_or(false);
        if is_paid {
            match debt {
                Debt::Key(key, number) => {
                    self.local.change(key);
                    self.debts.change(|owed, _| {
                        if owed.keys.get(key) == Some(number) {
                            owed.keys.remove(key);
                        }
                    });
                }
                Debt::Sweep((how, tags, _), number) => {
                    match how {
                        Sweep::Clear => self.local.sweep_all(),
                        Sweep::Remove | Sweep::Expire => {
                            tags.iter().for_each(|tag| self.local.sweep_tag(tag))
                        }
                    }
                    self.debts.change(|owed, _| owed.sweeps.retain(|(_, other)| other != number));
                }
            }
        }
        is_paid
    }
}
