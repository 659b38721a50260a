//! Reads that load what is missing.
//!
//! A load runs as its own task: who waits for it may go away, and nobody depends on anybody else being polled. It asks
//! the backend for the right to load, so that one process at a time does, and takes the [token](crate::local) before
//! that; what it brings is stored only if neither has been overtaken by a change (see the engine's CACHE commands for
//! why that is enough).

use crate::cache::{Cache, Draft, Inner, Seen, Shared};
use crate::entry::{Entry, Found, Kept, LoadCtx, Loaded, Tier};
use crate::error::LoadError;
use crate::forms::Others;
use crate::key::CacheKey;
use crate::local::{Boarding, Flight, Token};
use crate::observe::{Event, Failure, Served};
use crate::store::{Epoch, Record, Turn};
use futures_util::FutureExt;
use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A value with where it came from, or that there is none.
pub(crate) struct Answer<V> {
    pub(crate) kept: Arc<Kept<V>>,
    pub(crate) is_stale: bool,
    pub(crate) tier: Tier,
}

impl<V> Clone for Answer<V> {
    fn clone(&self) -> Answer<V> {
        Answer { kept: Arc::clone(&self.kept), ..*self }
    }
}

impl<V> Answer<V> {
    pub(crate) fn entry(self) -> Option<Entry<V>> {
        let Answer { kept, is_stale, tier } = self;
        kept.value.is_some().then_some(Entry { kept, is_stale, tier })
    }

    fn stale(kept: Arc<Kept<V>>) -> Answer<V> {
        Answer { kept, is_stale: true, tier: Tier::Backend }
    }
}

pub(crate) type Outcome<V, E> = Result<Answer<V>, LoadError<E>>;

/// The loads that have led to this one: caches by address, and keys.
pub(crate) struct Chain {
    cache: usize,
    keys: Vec<Box<[u8]>>,
    before: Option<Arc<Chain>>,
}

tokio::task_local! {
    static CHAIN: Option<Arc<Chain>>;
}

/// The loads that have led to where this is called.
pub(crate) fn chain() -> Option<Arc<Chain>> {
    CHAIN.try_with(Clone::clone).ok().flatten()
}

impl Chain {
    pub(crate) fn new(cache: usize, keys: Vec<Box<[u8]>>, before: Option<Arc<Chain>>) -> Arc<Chain> {
        Arc::new(Chain { cache, keys, before })
    }

    /// Whether one of the loads is of this key.
    pub(crate) fn has(chain: Option<&Arc<Chain>>, cache: usize, key: &[u8]) -> bool {
        let mut link = chain;
        while let Some(load) = link {
            if load.cache == cache && load.keys.iter().any(|loading| **loading == *key) {
                return true;
            }
            link = load.before.as_ref();
        }
        false
    }

    /// Runs a loader, within its time, as the last one of a chain.
    pub(crate) async fn call<T, E>(
        self: &Arc<Chain>,
        limit: Duration,
        load: impl Future<Output = Result<T, E>>,
    ) -> Result<T, LoadError<E>> {
        let call = CHAIN.scope(Some(Arc::clone(self)), AssertUnwindSafe(load).catch_unwind());
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(Ok(loaded))) => Ok(loaded),
            Ok(Ok(Err(error))) => Err(LoadError::Source(Arc::new(error))),
            Ok(Err(panic)) => Err(LoadError::Panicked(message(&*panic))),
            Err(_) => Err(LoadError::TimedOut(limit)),
        }
    }
}

/// One load, from asking for the right to it to storing what it brings.
struct Work<V, E> {
    key: Box<[u8]>,
    flight: Arc<Flight<Outcome<V, E>>>,
    chain: Arc<Chain>,
    /// The entry is fresh: it is loaded all the same, before its end.
    is_refresh: bool,
    /// The backend is away, or must not be read.
    is_apart: bool,
    /// Whether the lease is ours and has to be given back.
    holds_lease: AtomicBool,
}

impl<K: CacheKey + ?Sized + 'static, V: Send + Sync + 'static> Cache<K, V> {
    /// The entry, loaded by `load` if there is no fresh one.
    ///
    /// The loader is called with a [`LoadCtx`] and returns a value, an `Option` of one, or [`Loaded`], or an error of its
    /// own. Among all who want the value at the same time, in all processes on one backend, one calls its loader; the
    /// others wait. What it brings is stored only if nothing has changed in the meantime.
    ///
    /// ```
    /// # use larder_cache::{Cache, LoadError, Policy};
    /// # use larder_client::Larder;
    /// # use std::time::Duration;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let larder = Larder::open("embedded://").await.unwrap();
    /// let squares: Cache<u64, u64> = Cache::builder(&larder, "squares").build().await.unwrap();
    /// let nine = squares.get_or_load(&3, |_| async { Ok::<_, std::io::Error>(3 * 3) }).await?;
    /// assert_eq!(*nine, 9);
    /// # Ok::<(), LoadError<std::io::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// See [`LoadError`]; where a stale value may be served, it is instead of most errors.
    pub async fn get_or_load<E, F, Fut, L>(&self, key: &K, load: F) -> Result<Entry<V>, LoadError<E>>
    where
        E: std::fmt::Display + Send + Sync + 'static,
        F: FnOnce(LoadCtx<V>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>> + 'static,
    {
        self.find_or_load(key, load).await?.ok_or(LoadError::NotFound)
    }

    /// The same where there may be nothing to load: `None` then, which is kept for the time of
    /// [`Policy::negative_ttl`].
    ///
    /// # Errors
    /// As [`Cache::get_or_load`].
    pub async fn find_or_load<E, F, Fut, L>(&self, key: &K, load: F) -> Result<Option<Entry<V>>, LoadError<E>>
    where
        E: std::fmt::Display + Send + Sync + 'static,
        F: FnOnce(LoadCtx<V>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>> + 'static,
    {
        let bytes = Self::bytes(key).map_err(LoadError::Cache)?;
        let key = bytes.as_slice();
        let now = Instant::now();
        if let Some(kept) = self.inner.local.get(key, now) {
            self.inner.stats.served(Served::Near, &kept);
            if self.policy.refresh_at.is_some() || self.policy.early.is_some() {
                self.refresh_if_due(key, now, &kept, load);
            }
            return Ok(crate::cache::entry(kept, Tier::Near));
        }
        Ok(self.answer(key, load).await?.entry())
    }

    /// Looks in the backend, and loads.
    async fn answer<E, F, Fut, L>(&self, key: &[u8], load: F) -> Outcome<V, E>
    where
        E: std::fmt::Display + Send + Sync + 'static,
        F: FnOnce(LoadCtx<V>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>> + 'static,
    {
        let token = self.inner.local.token(key);
        let (known, is_apart) = match self.see(key, token).await {
            Ok(Seen::Fresh(kept)) => {
                self.hit(key, token, &kept);
                self.refresh_if_due(key, Instant::now(), &kept, load);
                return Ok(Answer { kept, is_stale: false, tier: Tier::Backend });
            }
            Ok(Seen::Stale(kept)) => (Some(kept), false),
            Ok(Seen::Absent | Seen::Undecodable) => (None, self.inner.debts.forbid(key)),
            Err(error) if self.policy.is_strict => return Err(LoadError::Cache(error)),
            Err(_) => (None, true),
        };
        let waiting = self.begin(key, load, false, is_apart);
        let outcome = match waiting {
            Ok(receiver) => self.wait(receiver, known.is_some()).await,
            Err(error) => Err(error),
        };
        let stats = &self.inner.stats;
        match (outcome, known) {
            // What was removed while this call waited is not served any more.
            (Err(error), Some(kept)) if may_be_stale(&error) && self.inner.local.token(key) == token => {
                stats.served(Served::Stale, &kept);
                Ok(Answer::stale(kept))
            }
            (outcome, _) => {
                match &outcome {
                    Ok(Answer { is_stale: true, kept, .. }) => stats.served(Served::Stale, kept),
                    _ => stats.tell(Event::Missed),
                }
                outcome
            }
        }
    }

    /// Joins the load of a key, or begins it; fails if it may not begin.
    fn begin<E, F, Fut, L>(
        &self,
        key: &[u8],
        load: F,
        is_refresh: bool,
        is_apart: bool,
    ) -> Result<watch::Receiver<Option<Outcome<V, E>>>, LoadError<E>>
    where
        E: std::fmt::Display + Send + Sync + 'static,
        F: FnOnce(LoadCtx<V>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>> + 'static,
    {
        let cache = Arc::as_ptr(&self.inner) as usize;
        let before = chain();
        if Chain::has(before.as_ref(), cache, key) {
            return Err(LoadError::Recursive);
        }
        let boarding =
            self.inner.local.board::<Outcome<V, E>, LoadError<E>>(key, Instant::now(), self.policy.load_max);
        match boarding {
            Boarding::Joined(receiver) => {
                self.inner.stats.tell(Event::Joined);
                Ok(receiver)
            }
            Boarding::Paused(Ok(failure)) => Err((*failure).clone()),
            Boarding::Paused(Err(text)) => Err(LoadError::Backoff(text)),
            Boarding::Begun(flight, receiver) => {
                if flight.takes_over {
                    self.inner.stats.tell(Event::TakenOver { key });
                }
                let chain = Chain::new(cache, vec![key.into()], before);
                let work = Work {
                    key: key.into(),
                    flight,
                    chain,
                    is_refresh,
                    is_apart,
                    holds_lease: AtomicBool::new(false),
                };
                tokio::spawn(self.clone().fly(work, load));
                Ok(receiver)
            }
        }
    }

    /// Waits for a load; if there is something stale to serve, no longer than the soft time-out.
    async fn wait<E>(
        &self,
        mut receiver: watch::Receiver<Option<Outcome<V, E>>>,
        has_stale: bool,
    ) -> Outcome<V, E> {
        let hard = self.policy.hard_timeout;
        let limit = self.policy.soft_timeout.filter(|_| has_stale).map_or(hard, |soft| soft.min(hard));
        match tokio::time::timeout(limit, receiver.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().expect("it was waited for"),
            Ok(Err(_)) => Err(LoadError::Panicked("the runtime has ended the load".to_owned())),
            Err(_) => {
                self.inner.stats.tell(Event::WaitedTooLong);
                Err(LoadError::TimedOut(limit))
            }
        }
    }

    /// Starts a load in the background if a hit is late enough in the life of its entry.
    fn refresh_if_due<E, F, Fut, L>(&self, key: &[u8], now: Instant, kept: &Arc<Kept<V>>, load: F)
    where
        E: std::fmt::Display + Send + Sync + 'static,
        F: FnOnce(LoadCtx<V>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>> + 'static,
    {
        let left = kept.fresh_until.saturating_duration_since(now);
        let chance = 1.0 - fastrand::f64();
        if self.policy.wants_refresh(kept.life, left, kept.cost, chance)
            && self.inner.local.may_refresh(key, now)
        {
            // Failing to begin means that it is under way, or has failed a moment ago.
            if self.begin::<E, _, _, _>(key, load, true, false).is_ok() {
                self.inner.stats.tell(Event::Refreshing);
            }
        }
    }

    /// The task of a load.
    async fn fly<E, F, Fut, L>(self, work: Work<V, E>, load: F)
    where
        E: std::fmt::Display + Send + Sync + 'static,
        F: FnOnce(LoadCtx<V>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>> + 'static,
    {
        // Different for every load that anybody has ever begun, and never that of a guard.
        let lease: [u8; 16] = std::array::from_fn(|n| if n == 0 { b'L' } else { fastrand::u8(..) });
        let outcome = tokio::select! {
            outcome = AssertUnwindSafe(self.run(&work, &lease, load)).catch_unwind() => Some(outcome),
            () = work.flight.result.closed(), if self.policy.cancels_abandoned && !work.is_refresh => None,
        };
        let local = &self.inner.local;
        if work.holds_lease.load(Ordering::Relaxed) {
            let _ = self.inner.ask(&self.policy, self.inner.store.release(&work.key, &lease)).await;
        }
        let (outcome, install) = match outcome {
            Some(Ok(Ok((answer, install)))) => (Ok(answer), install),
            Some(Ok(Err(error))) => (Err(error), None),
            Some(Err(panic)) => (Err(LoadError::Panicked(message(&*panic))), None),
            // Nobody is left to be told.
            None => return local.land(&work.key, &work.flight, None),
        };
        if let Err(error) = &outcome {
            self.count_failure(&work.key, error);
            self.pause(&work.key, error);
        }
        let install = match (&outcome, install) {
            (Ok(answer), Some(token)) => Some((token, &answer.kept)),
            _ => None,
        };
        local.land(&work.key, &work.flight, install);
        work.flight.result.send_replace(Some(outcome));
    }

    /// Gets the right to load, loads, and stores; returns with the token to install under, if it is to be.
    async fn run<E, F, Fut, L>(
        &self,
        work: &Work<V, E>,
        lease: &[u8; 16],
        load: F,
    ) -> Result<(Answer<V>, Option<Token>), LoadError<E>>
    where
        E: std::fmt::Display + Send + Sync + 'static,
        F: FnOnce(LoadCtx<V>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<L, E>> + Send + 'static,
        L: Into<Loaded<V>> + 'static,
    {
        let turn = match self.take_turn(work, lease).await? {
            Right::Needless(answer, token) => return Ok((answer, Some(token))),
            Right::Refused(answer) => return Ok((answer, None)),
            Right::Taken(turn) => turn,
        };
        self.inner.stats.tell(Event::LoadStarted { key: &work.key, keys: 1 });
        let began = Instant::now();
        let ctx = LoadCtx { stale: turn.known.clone() };
        let call = work.chain.call(self.policy.load_max, async { load(ctx).await });
        let loaded: Loaded<V> = call.await?.into();
        let took = began.elapsed();
        self.inner.stats.tell(Event::LoadEnded { key: &work.key, took });
        self.store_loaded(work, lease, turn, loaded, took).await
    }

    /// Asks the backend for the right to load until it is given, or needless.
    async fn take_turn<E>(&self, work: &Work<V, E>, lease: &[u8; 16]) -> Result<Right<V>, LoadError<E>> {
        let Inner { store, local, .. } = &*self.inner;
        let key = &*work.key;
        let mut even_if_fresh = work.is_refresh;
        let mut pause = Duration::from_millis(2);
        let mut has_waited = false;
        loop {
            let token = local.token(key);
            let apart = || Ok(Right::Taken(Taken { token, epoch: None, known: None, others: None }));
            if work.is_apart || self.inner.debts.forbid(key) {
                return apart();
            }
            let asked = Instant::now();
            let step = store.lease(key, lease, self.policy.load_max, even_if_fresh);
            let leased = match self.inner.ask(&self.policy, step).await {
                Ok(leased) => leased,
                Err(error) if self.policy.is_strict => return Err(LoadError::Cache(error)),
                Err(_) => return apart(),
            };
            work.holds_lease.store(leased.turn == Turn::Ours, Ordering::Relaxed);
            // What is shown to the loader is of this moment: before it there may have been a removal.
            let mut others = None;
            let known = match self.inner.decode(key, token, asked, &leased.look) {
                Seen::Fresh(kept) if !work.is_refresh => {
                    return Ok(Right::Needless(Answer { kept, is_stale: false, tier: Tier::Backend }, token));
                }
                Seen::Fresh(kept) | Seen::Stale(kept) => Some(kept),
                Seen::Absent => None,
                Seen::Undecodable => {
                    even_if_fresh = true;
                    others = self.inner.others(&leased.look);
                    None
                }
            };
            match leased.turn {
                Turn::Ours => {
                    if has_waited {
                        self.inner.stats.tell(Event::TakenOver { key });
                    }
                    let epoch = leased.look.epoch;
                    return Ok(Right::Taken(Taken { token, epoch, known, others }));
                }
                Turn::Guarded => return apart(),
                Turn::Theirs(left) => {
                    let now = Instant::now();
                    if let Some(kept) = known.filter(|_| work.is_refresh) {
                        local.rest(key, now, now + left.min(Duration::from_secs(1)));
                        let is_stale = kept.fresh_until <= now;
                        return Ok(Right::Refused(Answer { kept, is_stale, tier: Tier::Backend }));
                    }
                    has_waited = true;
                    tokio::time::sleep(pause.min(left)).await;
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                // Fresh, but of no use to us: now it is asked for all the same.
                Turn::None => {}
            }
        }
    }

    /// Makes an entry of what was loaded, and stores it if that is wanted and still right.
    async fn store_loaded<E>(
        &self,
        work: &Work<V, E>,
        lease: &[u8; 16],
        turn: Taken<V>,
        loaded: Loaded<V>,
        cost: Duration,
    ) -> Result<(Answer<V>, Option<Token>), LoadError<E>> {
        let Loaded { found, ttl, tags, etag, mut is_stored } = loaded;
        let (value, life, tags, etag) = match found {
            Found::Value(value) => (Some(value), self.policy.life(ttl), tags, etag),
            Found::Nothing => {
                let life = ttl.unwrap_or(self.policy.negative_ttl);
                is_stored &= !life.is_zero();
                (None, life, tags, etag)
            }
            Found::Unchanged => return self.renew(work, lease, turn, ttl).await,
        };
        let life = turn.others.as_ref().map_or(life, |others| life.min(others.left));
        let token = turn.token;
        let kept_only = |value, tags, etag: Option<String>| {
            let etag = etag.map(String::into_boxed_str);
            let (fresh_until, key) = (Instant::now() + life, work.key[..].into());
            Kept { value, key, tags, etag, life, cost, fresh_until, at: token.at, bytes: 0 }
        };
        let answer = |kept| Answer { kept: Arc::new(kept), is_stale: false, tier: Tier::Source };
        let Some(epoch) = turn.epoch.filter(|_| is_stored) else {
            return Ok((answer(kept_only(value, tags, etag)), None));
        };
        let packed = self.inner.packing.pack(value.as_ref(), life, cost, etag.as_deref());
        let (Ok(data), true) = (packed, crate::cache::check_tags(&tags).is_ok()) else {
            self.inner.stats.tell(Event::Unstorable { key: &work.key });
            return Ok((answer(kept_only(value, tags, etag)), None));
        };
        let bytes = crate::cache::weight(&work.key, &tags, data.len());
        let draft = Draft { kept: Kept { bytes, ..kept_only(value, tags, etag) }, data };
        let shared = turn.others.map(|others| draft.shared(&others, &self.policy));
        let record = shared.as_ref().map_or_else(|| draft.record(&self.policy), Shared::record);
        let is_filled = self.fill(work, lease, epoch, &record).await;
        let is_near = is_filled && !self.policy.is_sliding;
        Ok((answer(draft.kept), is_near.then_some(token)))
    }

    /// Makes the entry that the loader was shown fresh again.
    async fn renew<E>(
        &self,
        work: &Work<V, E>,
        lease: &[u8; 16],
        turn: Taken<V>,
        ttl: Option<Duration>,
    ) -> Result<(Answer<V>, Option<Token>), LoadError<E>> {
        let Some(known) = turn.known.filter(|known| known.value.is_some()) else {
            return Err(LoadError::Unchanged);
        };
        let life = self.policy.life(ttl);
        let packed = self.inner.packing.pack(known.value.as_ref(), life, known.cost, known.etag.as_deref());
        if let (Ok(data), Some(epoch)) = (packed, turn.epoch) {
            let stale = self.policy.stale_for;
            let record = Record { life: life + stale, stale, tags: &known.tags, data: &data };
            self.fill(work, lease, epoch, &record).await;
        }
        // The near cache gets it from the backend, with its new time.
        Ok((Answer { kept: known, is_stale: false, tier: Tier::Source }, None))
    }

    /// Stores what was loaded; returns whether it was still right.
    async fn fill<E>(&self, work: &Work<V, E>, lease: &[u8; 16], epoch: Epoch, record: &Record<'_>) -> bool {
        let step = self.inner.store.fill(&work.key, lease, epoch, record);
        match self.inner.ask(&self.policy, step).await {
            Ok(is_filled) => {
                // Stored or refused, the lease is over.
                work.holds_lease.store(false, Ordering::Relaxed);
                if !is_filled {
                    self.inner.stats.tell(Event::Refused { key: &work.key });
                }
                is_filled
            }
            Err(_) => false,
        }
    }
}

impl<K: ?Sized + 'static, V: Send + Sync + 'static> Cache<K, V> {
    pub(crate) fn count_failure<E: std::fmt::Display>(&self, key: &[u8], error: &LoadError<E>) {
        let how = match error {
            LoadError::Source(_) => Failure::Source,
            LoadError::Panicked(_) => Failure::Panic,
            LoadError::TimedOut(_) => Failure::Timeout,
            _ => Failure::Other,
        };
        self.inner.stats.tell(Event::LoadFailed { key, how, error });
    }

    /// Lets the next load of a key wait, if the source is in trouble.
    pub(crate) fn pause<E: std::fmt::Display + Send + Sync + 'static>(
        &self,
        key: &[u8],
        error: &LoadError<E>,
    ) {
        let backoff = self.policy.error_backoff;
        if matches!(error, LoadError::Source(_) | LoadError::TimedOut(_)) && !backoff.is_zero() {
            let (now, failure) = (Instant::now(), Arc::new(error.clone()));
            self.inner.local.pause(key, now, now + backoff, failure, error.to_string());
        }
    }
}

/// What became of asking for the right to load.
enum Right<V> {
    /// There is a fresh entry.
    Needless(Answer<V>, Token),
    /// Somebody else loads, and there is something to serve meanwhile.
    Refused(Answer<V>),
    /// It is ours.
    Taken(Taken<V>),
}

/// The right to load.
struct Taken<V> {
    token: Token,
    /// From before the load. `None`: nothing is to be stored.
    epoch: Option<Epoch>,
    /// What there is.
    known: Option<Arc<Kept<V>>>,
    /// What there is in forms of other schemas.
    others: Option<Others>,
}

/// Whether a stale value is better than this.
fn may_be_stale<E>(error: &LoadError<E>) -> bool {
    matches!(
        error,
        LoadError::Source(_) | LoadError::Panicked(_) | LoadError::TimedOut(_) | LoadError::Backoff(_)
    )
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
