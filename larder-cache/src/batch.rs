//! Many entries at once: one round trip to look, one to ask for the right to load, one call of the loader for all that
//! is missing, one round trip to store.
//!
//! Each missing key has its own [flight](crate::local), so that single loads and other batches share what they have in
//! common. One task carries all flights that a batch has begun; it waits for nobody else's flight, so that batches
//! cannot wait for each other in a circle. Keys that another process is loading are asked for again and again, until
//! their values are there or their leases are over; those that turn out to be ours go into a further call of the loader.

use crate::cache::{Cache, Draft, Seen, Shared};
use crate::entry::{Entry, Found, Kept, Loaded, ShortKey, Tier};
use crate::error::LoadError;
use crate::forms::Others;
use crate::key::CacheKey;
use crate::load::{Answer, Chain, Outcome, chain};
use crate::local::{Boarding, Flight, Token};
use crate::observe::{Event, Served};
use crate::store::{Epoch, Turn};
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Keys in one round trip.
const CHUNK: usize = 1000;

/// What came of a batch.
#[derive(Debug)]
pub struct Many<K, V, E> {
    /// What was found. A key that is in neither map was not found.
    pub found: HashMap<K, Entry<V>>,
    /// Keys whose load failed, and why.
    pub failed: HashMap<K, LoadError<E>>,
}

/// A key of a batch.
struct Part<K> {
    key: K,
    bytes: Box<[u8]>,
}

/// One of its loads.
struct Leg<K, V, E> {
    part: Part<K>,
    flight: Arc<Flight<Outcome<V, E>>>,
    /// It is there, but not in our form.
    even_if_fresh: bool,
}

/// A load that is ours to do.
struct Mine<K, V, E> {
    leg: Leg<K, V, E>,
    token: Token,
    /// `None`: what is loaded is not to be stored.
    epoch: Option<Epoch>,
    /// What there is in forms of other schemas.
    others: Option<Others>,
}

/// Keys that are to be loaded, with what there is of them that is stale.
type Missing<K, V> = Vec<(Part<K>, Option<Arc<Kept<V>>>)>;

/// The loads that a batch has begun, and all that it waits for.
struct Boarded<K, V, E> {
    legs: Vec<Leg<K, V, E>>,
    waiting: Vec<Waiting<K, V, E>>,
}

/// A key that is waited for.
struct Waiting<K, V, E> {
    key: K,
    stale: Option<Arc<Kept<V>>>,
    outcome: watch::Receiver<Option<Outcome<V, E>>>,
}

impl<K, V> Cache<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Entries of many keys; those that are missing are loaded by one call of `load`, which gets their keys and returns
    /// what it has found. What it leaves out is not found.
    ///
    /// The loader may be called again, with keys that another process has begun to load and then given up. Refreshing
    /// ahead and soft time-outs are for single entries; here a stale value is served when its load fails.
    ///
    /// ```
    /// # use larder_cache::{Cache, LoadError};
    /// # use larder_client::Larder;
    /// # use std::collections::HashMap;
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let larder = Larder::open("embedded://").await.unwrap();
    /// let squares: Cache<u64, u64> = Cache::builder(&larder, "squares").build().await.unwrap();
    /// let many = squares
    ///     .get_many_or_load(&[1, 2, 3], |keys| async move {
    ///         Ok::<_, std::io::Error>(keys.into_iter().map(|n| (n, n * n)).collect::<HashMap<_, _>>())
    ///     })
    ///     .await?;
    /// assert_eq!(*many.found[&3], 9);
    /// # Ok::<(), LoadError<std::io::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// A key that is too long; trouble with the backend under a strict policy. Failed loads are in [`Many::failed`].
    pub async fn get_many_or_load<E, F, Fut, L>(
        &self,
        keys: &[K],
        load: F,
    ) -> Result<Many<K, V, E>, LoadError<E>>
    where
        E: std::fmt::Display + Send + Sync + 'static,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HashMap<K, L>, E>> + Send + 'static,
        L: Into<Loaded<V>> + Send + 'static,
    {
        let mut many = Many { found: HashMap::new(), failed: HashMap::new() };
        let (missing, is_apart) = self.look_for_many(keys, &mut many).await?;
        let Boarded { legs, waiting } = self.board_many(missing, &mut many);
        if !legs.is_empty() {
            let all = legs.iter().map(|leg| leg.part.bytes.clone()).collect();
            let chain = Chain::new(Arc::as_ptr(&self.inner) as usize, all, chain());
            tokio::spawn(self.clone().fly_many(legs, chain, load, is_apart));
        }
        let deadline = tokio::time::Instant::now() + self.policy.hard_timeout;
        for Waiting { key, stale, outcome: mut receiver } in waiting {
            let outcome = match tokio::time::timeout_at(deadline, receiver.wait_for(Option::is_some)).await {
                Ok(Ok(outcome)) => outcome.clone().expect("it was waited for"),
                Ok(Err(_)) => Err(LoadError::Panicked("the load was ended".to_owned())),
                Err(_) => {
                    self.inner.stats.tell(Event::WaitedTooLong);
                    Err(LoadError::TimedOut(self.policy.hard_timeout))
                }
            };
            match (outcome, stale) {
                (Ok(answer), _) => _ = answer.entry().map(|entry| many.found.insert(key, entry)),
                (Err(_), Some(kept)) => {
                    self.inner.stats.served(Served::Stale, &kept);
                    many.found.insert(key, Entry { kept, is_stale: true, tier: Tier::Backend });
                }
                (Err(error), None) => _ = many.failed.insert(key, error),
            }
        }
        Ok(many)
    }

    /// Finds what is there; returns what is not, with what there is of it that is stale.
    async fn look_for_many<E>(
        &self,
        keys: &[K],
        many: &mut Many<K, V, E>,
    ) -> Result<(Missing<K, V>, bool), LoadError<E>> {
        let Self { inner, policy, .. } = self;
        let now = Instant::now();
        let mut wanted = Vec::new();
        let mut seen = std::collections::HashSet::with_capacity(keys.len());
        for key in keys {
            if !seen.insert(key) {
                continue;
            }
            let bytes = Self::bytes(key).map_err(LoadError::Cache)?;
            match inner.local.get(bytes.as_slice(), now) {
                Some(kept) => {
                    inner.stats.served(Served::Near, &kept);
                    crate::cache::entry(kept, Tier::Near).map(|entry| many.found.insert(key.clone(), entry));
                }
                None => wanted.push(Part { key: key.clone(), bytes: bytes.as_slice().into() }),
            }
        }
        let mut missing = Vec::new();
        let mut is_apart = false;
        let mut wanted = wanted.into_iter().peekable();
        while wanted.peek().is_some() {
            let chunk: Vec<Part<K>> = wanted.by_ref().take(CHUNK).collect();
            let tokens: Vec<Token> = chunk.iter().map(|part| inner.local.token(&part.bytes)).collect();
            let names: Vec<&[u8]> = chunk.iter().map(|part| &*part.bytes).collect();
            let asked = Instant::now();
            let looks = match inner.ask(policy, inner.store.get_many(&names)).await {
                Ok(looks) => looks.into_iter().map(Some).collect(),
                Err(error) if policy.is_strict => return Err(LoadError::Cache(error)),
                Err(_) => {
                    is_apart = true;
                    vec![None; chunk.len()]
                }
            };
            for ((part, token), look) in chunk.into_iter().zip(tokens).zip(looks) {
                let look = look.filter(|_| !inner.debts.forbid(&part.bytes));
                let seen = look.map(|look| inner.decode(&part.bytes, token, asked, &look));
                match seen {
                    Some(Seen::Fresh(kept)) => {
                        self.hit(&part.bytes, token, &kept);
                        crate::cache::entry(kept, Tier::Backend)
                            .map(|entry| many.found.insert(part.key, entry));
                    }
                    Some(Seen::Stale(kept)) => missing.push((part, Some(kept))),
                    _ => missing.push((part, None)),
                }
            }
        }
        missing.iter().for_each(|_| inner.stats.tell(Event::Missed));
        Ok((missing, is_apart))
    }

    /// Joins the loads that are under way, and begins the others.
    fn board_many<E: Send + Sync + 'static>(
        &self,
        missing: Missing<K, V>,
        many: &mut Many<K, V, E>,
    ) -> Boarded<K, V, E> {
        let cache = Arc::as_ptr(&self.inner) as usize;
        let before = chain();
        let (mut legs, mut waiting) = (Vec::new(), Vec::new());
        for (part, stale) in missing {
            if Chain::has(before.as_ref(), cache, &part.bytes) {
                many.failed.insert(part.key, LoadError::Recursive);
                continue;
            }
            let now = Instant::now();
            let boarding =
                self.inner.local.board::<Outcome<V, E>, LoadError<E>>(&part.bytes, now, self.policy.load_max);
            match boarding {
                Boarding::Joined(receiver) => {
                    self.inner.stats.tell(Event::Joined);
                    waiting.push(Waiting { key: part.key, stale, outcome: receiver });
                }
                Boarding::Begun(flight, receiver) => {
                    if flight.takes_over {
                        self.inner.stats.tell(Event::TakenOver { key: &part.bytes });
                    }
                    waiting.push(Waiting { key: part.key.clone(), stale, outcome: receiver });
                    legs.push(Leg { part, flight, even_if_fresh: false });
                }
                Boarding::Paused(failure) => match (stale, failure) {
                    (Some(kept), _) => {
                        many.found.insert(part.key, Entry { kept, is_stale: true, tier: Tier::Backend });
                    }
                    (None, Ok(failure)) => _ = many.failed.insert(part.key, (*failure).clone()),
                    (None, Err(text)) => _ = many.failed.insert(part.key, LoadError::Backoff(text)),
                },
            }
        }
        Boarded { legs, waiting }
    }

    /// The task of all loads that a batch has begun.
    async fn fly_many<E, F, Fut, L>(
        self,
        mut legs: Vec<Leg<K, V, E>>,
        chain: Arc<Chain>,
        load: F,
        is_apart: bool,
    ) where
        E: std::fmt::Display + Send + Sync + 'static,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HashMap<K, L>, E>> + Send + 'static,
        L: Into<Loaded<V>> + Send + 'static,
    {
        let lease: [u8; 16] = std::array::from_fn(|n| if n == 0 { b'L' } else { fastrand::u8(..) });
        let mut pause = Duration::from_millis(2);
        while !legs.is_empty() {
            let (mine, theirs) = self.take_turns(legs, &lease, is_apart).await;
            if !mine.is_empty() {
                let first = &*mine[0].leg.part.bytes;
                self.inner.stats.tell(Event::LoadStarted { key: first, keys: mine.len() });
                let keys: Vec<K> = mine.iter().map(|one| one.leg.part.key.clone()).collect();
                let began = Instant::now();
                let call = async {
                    let found = load(keys).await?;
                    Ok(found
                        .into_iter()
                        .map(|(key, one)| (key, one.into()))
                        .collect::<HashMap<K, Loaded<V>>>())
                };
                let loaded = chain.call(self.policy.load_max, call).await;
                let took = began.elapsed();
                if loaded.is_ok() {
                    self.inner.stats.tell(Event::LoadEnded { key: &mine[0].leg.part.bytes, took });
                }
                self.end_many(mine, &lease, loaded, took).await;
            }
            legs = theirs;
            if !legs.is_empty() {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
        }
    }

    /// Asks for the right to load many; ends the flights of those that are there, and returns those that are ours and
    /// those that somebody else is loading.
    async fn take_turns<E: Send + Sync + 'static>(
        &self,
        legs: Vec<Leg<K, V, E>>,
        lease: &[u8; 16],
        is_apart: bool,
    ) -> (Vec<Mine<K, V, E>>, Vec<Leg<K, V, E>>) {
        let Self { inner, policy, .. } = self;
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        let mut legs = legs.into_iter().peekable();
        while legs.peek().is_some() {
            let chunk: Vec<Leg<K, V, E>> = legs.by_ref().take(CHUNK).collect();
            let tokens: Vec<Token> = chunk.iter().map(|leg| inner.local.token(&leg.part.bytes)).collect();
            let names: Vec<(&[u8], bool)> =
                chunk.iter().map(|leg| (&*leg.part.bytes, leg.even_if_fresh)).collect();
            let asked = Instant::now();
            let leased = match is_apart {
                true => None,
                false => inner.ask(policy, inner.store.lease_many(&names, lease, policy.load_max)).await.ok(),
            };
            let mut leased = leased.map(Vec::into_iter);
            for (mut leg, token) in chunk.into_iter().zip(tokens) {
                let Some(leased) = leased.as_mut().and_then(Iterator::next) else {
                    mine.push(Mine { leg, token, epoch: None, others: None });
                    continue;
                };
                let is_owed = inner.debts.forbid(&leg.part.bytes);
                let seen = inner.decode(&leg.part.bytes, token, asked, &leased.look);
                match (seen, leased.turn) {
                    (Seen::Fresh(kept), Turn::None) if !is_owed => {
                        let answer = Answer { kept, is_stale: false, tier: Tier::Backend };
                        inner.local.land(&leg.part.bytes, &leg.flight, Some((token, &answer.kept)));
                        leg.flight.result.send_replace(Some(Ok(answer)));
                    }
                    (_, Turn::Theirs(_)) if !is_owed => theirs.push(leg),
                    (Seen::Undecodable, Turn::None) if !is_owed => {
                        leg.even_if_fresh = true;
                        theirs.push(leg);
                    }
                    (_, Turn::Ours) if !is_owed => {
                        let others = inner.others(&leased.look).filter(|_| leg.even_if_fresh);
                        mine.push(Mine { leg, token, epoch: leased.look.epoch, others });
                    }
                    // Guarded, owed, or of no use to us: loaded for those who wait, and not stored.
                    _ => mine.push(Mine { leg, token, epoch: None, others: None }),
                }
            }
        }
        (mine, theirs)
    }

    /// Stores what was loaded, and ends the flights.
    async fn end_many<E: std::fmt::Display + Send + Sync + 'static>(
        &self,
        mine: Vec<Mine<K, V, E>>,
        lease: &[u8; 16],
        loaded: Result<HashMap<K, Loaded<V>>, LoadError<E>>,
        cost: Duration,
    ) {
        let mut loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return self.fail_many(mine, lease, &error).await,
        };
        let mut drafts = Vec::with_capacity(mine.len());
        for one in &mine {
            let loaded = loaded.remove(&one.leg.part.key).unwrap_or_else(Loaded::not_found);
            drafts.push(self.draft_loaded(one, loaded, cost));
        }
        let mut is_filled = vec![false; mine.len()];
        let storable: Vec<usize> =
            (0..mine.len()).filter(|at| drafts[*at].data.is_some() && mine[*at].epoch.is_some()).collect();
        for chunk in storable.chunks(CHUNK) {
            let fills: Vec<_> = chunk
                .iter()
                .filter_map(|at| {
                    let (one, draft) = (&mine[*at], &drafts[*at]);
                    let record = match &draft.shared {
                        Some(shared) => shared.record(),
                        None => Draft::record_of(&draft.kept, draft.data.as_deref()?, &self.policy),
                    };
                    Some((&*one.leg.part.bytes, one.epoch?, record))
                })
                .collect();
            let filled = self.inner.ask(&self.policy, self.inner.store.fill_many(lease, &fills)).await;
            for (at, done) in chunk.iter().zip(filled.unwrap_or_default()) {
                is_filled[*at] = done;
                if !done {
                    self.inner.stats.tell(Event::Refused { key: &mine[*at].leg.part.bytes });
                }
            }
        }
        for ((one, draft), is_filled) in mine.into_iter().zip(drafts).zip(is_filled) {
            let (key, flight) = (&one.leg.part.bytes, &one.leg.flight);
            if draft.data.is_none() && one.epoch.is_some() {
                let _ = self.inner.ask(&self.policy, self.inner.store.release(key, lease)).await;
            }
            let kept = Arc::new(draft.kept);
            let is_near = is_filled && !self.policy.is_sliding;
            self.inner.local.land(key, flight, is_near.then_some((one.token, &kept)));
            flight.result.send_replace(Some(Ok(Answer { kept, is_stale: false, tier: Tier::Source })));
        }
    }

    /// Makes an entry of what the loader has returned for a key.
    fn draft_loaded<E>(&self, one: &Mine<K, V, E>, loaded: Loaded<V>, cost: Duration) -> BatchDraft<V> {
        let Loaded { found, ttl, tags, etag, is_stored } = loaded;
        let value = match found {
            Found::Value(value) => Some(value),
            // The loader of a batch is shown no stale values, so it cannot mean one.
            Found::Nothing | Found::Unchanged => None,
        };
        let life = match &value {
            Some(_) => self.policy.life(ttl),
            None => ttl.unwrap_or(self.policy.negative_ttl),
        };
        let life = one.others.as_ref().map_or(life, |others| life.min(others.left));
        let mut data = None;
        if is_stored && !life.is_zero() {
            data = self.inner.packing.pack(value.as_ref(), life, cost, etag.as_deref()).ok();
            data = data.filter(|_| crate::cache::check_tags(&tags).is_ok());
            if data.is_none() {
                self.inner.stats.tell(Event::Unstorable { key: &one.leg.part.bytes });
            }
        }
        let key = ShortKey::from(&one.leg.part.bytes[..]);
        let bytes = crate::cache::weight(&key, &tags, data.as_ref().map_or(0, Vec::len));
        let (etag, fresh_until, at) = (etag.map(String::into_boxed_str), Instant::now() + life, one.token.at);
        let kept = Kept { value, key, tags, etag, life, cost, fresh_until, at, bytes };
        let together = |(others, data): (&Others, &Vec<u8>)| Shared::new(&kept, data, others, &self.policy);
        let shared = one.others.as_ref().zip(data.as_ref()).map(together);
        BatchDraft { kept, data, shared }
    }

    /// Ends the flights of a batch whose loader has failed.
    async fn fail_many<E: std::fmt::Display + Send + Sync + 'static>(
        &self,
        mine: Vec<Mine<K, V, E>>,
        lease: &[u8; 16],
        error: &LoadError<E>,
    ) {
        if let Some(first) = mine.first() {
            self.count_failure(&first.leg.part.bytes, error);
        }
        for one in mine {
            let (key, flight) = (&one.leg.part.bytes, &one.leg.flight);
            if one.epoch.is_some() {
                let _ = self.inner.ask(&self.policy, self.inner.store.release(key, lease)).await;
            }
            self.pause(key, error);
            self.inner.local.land(key, flight, None);
            flight.result.send_replace(Some(Err(error.clone())));
        }
    }
}

/// What is to be stored of a key, if anything is.
struct BatchDraft<V> {
    kept: Kept<V>,
    data: Option<Vec<u8>>,
    /// Together with the forms that others have.
    shared: Option<Shared>,
}
