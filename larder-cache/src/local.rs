//! What one process knows of a cache: the near cache, the loads under way, and what keeps both from going wrong.
//!
//! # Generations
//!
//! Keys are spread over shards, and each shard counts a **generation**. Whatever changes an entry (set, remove, expire,
//! an update, a message of the feed) raises it and takes the entry out of the near cache, under the shard's lock. A value
//! on its way into the near cache carries a [`Token`], the generation from before it was read or loaded, and gets in only
//! if that is still the shard's. Keys that share a shard disturb each other now and then: then a value is read from
//! the backend once more, which costs a little and is never wrong.
//!
//! A change that goes to the backend raises the generation twice, before and after: in between, another task can read
//! there what is about to be replaced.
//!
//! # Sweeps
//!
//! Invalidating a tag, or everything, must not look at all entries. It counts up **sweeps** and notes the count with the
//! tag; an entry that remembers a count from before is over. The table of tags is emptied when it grows large, which
//! ends all entries.
//!
//! # Flights
//!
//! A load under way is a **flight**; who wants the same value waits for it. A change of the key takes its flight out of the
//! table, and flights that began before a sweep are not joined: so who comes after an invalidation never gets a value from
//! before. Generations and flights are a structure of their own, [`Flights`], so that all orders of what threads do to it
//! can be tried out.

use crate::entry::Kept;
use larder_structures::sync::{self, Flights};
use parking_lot::RwLock;
use rapidhash::fast::RandomState;
use std::any::{Any, TypeId};
use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What a process knows.
pub(crate) struct Local<V> {
    /// By key and by the type of the outcome.
    flights: Flights<TypeId, dyn Any + Send + Sync, Notes>,
    near: Option<Near<V>>,
    sweeps: Sweeps,
    hasher: RandomState,
    /// Until when the near cache is to be believed, in nanoseconds after `born`.
    trusted_until: AtomicU64,
    born: Instant,
}

type Near<V> = moka::sync::Cache<u64, Arc<Kept<V>>, BuildHasherDefault<Hashed>>;

/// The hasher of what is a hash already.
#[derive(Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are hashed, which are u64");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What a shard keeps beside flights.
#[derive(Default)]
struct Notes {
    /// Keys whose load has failed a moment ago.
    pauses: HashMap<Box<[u8]>, Pause, RandomState>,
    /// Keys that somebody else refreshes.
    rests: HashMap<Box<[u8]>, Instant, RandomState>,
}

struct Pause {
    until: Instant,
    failure: Arc<dyn Any + Send + Sync>,
    text: String,
}

/// What is to be the same still when a value is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    generation: u64,
    /// The count of sweeps, which the entry remembers.
    pub(crate) at: u64,
}

const SHARDS: usize = 256;
/// From so many pauses or rests on in a shard those that are over are dropped.
const NOTES_MAX: usize = 64;
/// So many tags are remembered; then all entries end.
const TAGS_MAX: usize = 10_000;

/// A load that others may wait for.
pub(crate) struct Flight<T> {
    began: Instant,
    /// Until when who has begun it lets it go on; nobody joins it after that.
    ends: Instant,
    at: u64,
    /// Another one had been under way for too long.
    pub(crate) takes_over: bool,
    pub(crate) result: watch::Sender<Option<T>>,
}

/// What becomes of somebody who wants a value loaded.
pub(crate) enum Boarding<T, F> {
    /// The load is under way.
    Joined(watch::Receiver<Option<T>>),
    /// The caller is to load.
    Begun(Arc<Flight<T>>, watch::Receiver<Option<T>>),
    /// The last load has failed too short a time ago: its failure, or its text if that was of another type.
    Paused(Result<Arc<F>, String>),
}

impl<V: Send + Sync + 'static> Local<V> {
    /// `near_bytes` is the size of the near cache, 0 for none.
    pub(crate) fn new(near_bytes: u64) -> Local<V> {
        let near = (near_bytes > 0).then(|| {
            moka::sync::Cache::builder()
                .max_capacity(near_bytes)
                .weigher(|_, kept: &Arc<Kept<V>>| kept.bytes)
                .build_with_hasher(BuildHasherDefault::default())
        });
        Local {
            flights: Flights::new(SHARDS),
            near,
            sweeps: Sweeps::default(),
            hasher: RandomState::new(),
            trusted_until: AtomicU64::new(u64::MAX),
            born: Instant::now(),
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_nanos()).unwrap_or(u64::MAX - 1)
    }

    /// Believes the near cache until then.
    pub(crate) fn trust_until(&self, until: Instant) {
        self.trusted_until.store(self.nanos(until), Ordering::Release);
    }

    pub(crate) fn is_trusted(&self, now: Instant) -> bool {
        let until = self.trusted_until.load(Ordering::Acquire);
        until == u64::MAX || self.nanos(now) < until
    }

    /// A fresh entry of the near cache.
    pub(crate) fn get(&self, key: &[u8], now: Instant) -> Option<Arc<Kept<V>>> {
        let near = self.near.as_ref()?;
        if !self.is_trusted(now) {
            return None;
        }
        let hash = self.hash(key);
        let kept = near.get(&hash)?;
        if *kept.key != *key {
            return None;
        }
        if kept.fresh_until <= now || !self.sweeps.admit(&kept) {
            near.invalidate(&hash);
            return None;
        }
        Some(kept)
    }

    pub(crate) fn has_near(&self) -> bool {
        self.near.is_some()
    }

    /// To be taken before anything is read or loaded.
    pub(crate) fn token(&self, key: &[u8]) -> Token {
        let at = self.sweeps.count();
        if self.near.is_none() {
            // Nothing will ever be installed.
            return Token { generation: 0, at };
        }
        Token { generation: self.flights.generation(self.hash(key)), at }
    }

    /// Puts what was read under a token into the near cache, unless there was a change.
    pub(crate) fn install(&self, token: Token, kept: &Arc<Kept<V>>) {
        let Some(near) = &self.near else { return };
        let hash = self.hash(&kept.key);
        self.flights.install(hash, token.generation, || near.insert(hash, Arc::clone(kept)));
    }

    /// A change of an entry: before it goes to the backend, after it has, and when the feed tells of one.
    pub(crate) fn change(&self, key: &[u8]) -> Token {
        let at = self.sweeps.count();
        Token { generation: self.raise(key, None), at }
    }

    /// Raises the generation, and puts in what has come of a change, if it may.
    fn raise(&self, key: &[u8], install: Option<(Token, &Arc<Kept<V>>)>) -> u64 {
        let hash = self.hash(key);
        let since = install.map(|(token, _)| token.generation);
        self.flights.change(hash, key, since, |notes, is_undisturbed| {
            notes.pauses.remove(key);
            let Some(near) = &self.near else { return };
            near.invalidate(&hash);
            if let Some((_, kept)) = install.filter(|_| is_undisturbed) {
                near.insert(hash, Arc::clone(kept));
            }
        })
    }

    /// Ends a change that has stored a value: it is installed if nothing else happened since `token`.
    pub(crate) fn changed_to(&self, token: Token, kept: &Arc<Kept<V>>) {
        self.raise(&kept.key, Some((token, kept)));
    }

    /// Ends entries with a tag.
    pub(crate) fn sweep_tag(&self, tag: &[u8]) {
        self.sweeps.tag(tag);
    }

    /// Ends all entries.
    pub(crate) fn sweep_all(&self) {
        self.sweeps.all();
        if let Some(near) = &self.near {
            near.invalidate_all();
        }
    }

    /// Joins the flight of a key, or begins one. A flight that has been under way for `patience`, of this caller or of the
    /// one that began it, is given up.
    pub(crate) fn board<T, F>(&self, key: &[u8], now: Instant, patience: Duration) -> Boarding<T, F>
    where
        T: Send + Sync + 'static,
        F: Send + Sync + 'static,
    {
        let at = self.sweeps.count();
        let takes_over = Cell::new(false);
        let join = |flight: &(dyn Any + Send + Sync)| {
            let flight = flight.downcast_ref::<Flight<T>>().expect("flights are kept by their type");
            let is_patient = now.saturating_duration_since(flight.began) < patience;
            takes_over.set(!is_patient || now >= flight.ends);
            (flight.at == at && !takes_over.get()).then(|| flight.result.subscribe())
        };
        let refuse = |notes: &mut Notes| {
            let pause = notes.pauses.get(key)?;
            if pause.until > now {
                let failure = Arc::clone(&pause.failure).downcast::<F>();
                return Some(failure.map_err(|_| pause.text.clone()));
            }
            notes.pauses.remove(key);
            None
        };
        let begin = || {
            let (result, receiver) = watch::channel(None);
            let (ends, takes_over) = (now + patience, takes_over.get());
            let flight = Arc::new(Flight::<T> { began: now, ends, at, takes_over, result });
            ((Arc::clone(&flight), receiver), flight as Arc<dyn Any + Send + Sync>)
        };
        match self.flights.board(self.hash(key), key, TypeId::of::<T>(), join, refuse, begin) {
            sync::Boarding::Joined(receiver) => Boarding::Joined(receiver),
            sync::Boarding::Begun((flight, receiver)) => Boarding::Begun(flight, receiver),
            sync::Boarding::Refused(failure) => Boarding::Paused(failure),
        }
    }

    /// Ends a flight. Its value is installed if there is one, if the flight was not given up, and if nothing has changed.
    pub(crate) fn land<T: Send + Sync + 'static>(
        &self,
        key: &[u8],
        flight: &Arc<Flight<T>>,
        install: Option<(Token, &Arc<Kept<V>>)>,
    ) {
        let hash = self.hash(key);
        let generation = install.map(|(token, _)| token.generation);
        self.flights.land(hash, key, TypeId::of::<T>(), flight, generation, || {
            if let (Some(near), Some((_, kept))) = (&self.near, install) {
                near.insert(hash, Arc::clone(kept));
            }
        });
    }

    /// Lets nobody load a key until then.
    pub(crate) fn pause<F: Send + Sync + 'static>(
        &self,
        key: &[u8],
        now: Instant,
        until: Instant,
        failure: Arc<F>,
        text: String,
    ) {
        self.flights.with_notes(self.hash(key), |notes| {
            if notes.pauses.len() >= NOTES_MAX {
                notes.pauses.retain(|_, pause| pause.until > now);
            }
            notes.pauses.insert(key.into(), Pause { until, failure, text });
        });
    }

    /// Whether nobody has said that a key is being refreshed.
    pub(crate) fn may_refresh(&self, key: &[u8], now: Instant) -> bool {
        let hash = self.hash(key);
        self.flights.with_notes(hash, |notes| notes.rests.get(key).is_none_or(|until| *until <= now))
            && !self.flights.is_flying(hash, key)
    }

    /// Notes that a key is being refreshed elsewhere.
    pub(crate) fn rest(&self, key: &[u8], now: Instant, until: Instant) {
        self.flights.with_notes(self.hash(key), |notes| {
            if notes.rests.len() >= NOTES_MAX {
                notes.rests.retain(|_, until| *until > now);
            }
            notes.rests.insert(key.into(), until);
        });
    }

    /// Loads under way.
    pub(crate) fn flights(&self) -> usize {
        self.flights.count()
    }

    /// Entries and bytes in the near cache.
    pub(crate) fn near_size(&self) -> (u64, u64) {
        self.near.as_ref().map_or((0, 0), |near| {
            near.run_pending_tasks();
            (near.entry_count(), near.weighted_size())
        })
    }
}

/// Invalidations of many entries.
#[derive(Default)]
struct Sweeps {
    count: AtomicU64,
    /// The count at the last end of everything.
    all: AtomicU64,
    tags: RwLock<HashMap<Box<[u8]>, u64, RandomState>>,
}

impl Sweeps {
    fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    fn tag(&self, tag: &[u8]) {
        let mut tags = self.tags.write();
        let next = self.count() + 1;
        if tags.len() >= TAGS_MAX {
            tags.clear();
            self.all.store(next, Ordering::Release);
        }
        // Noted before it is counted: who has seen the new count began after the tag was noted.
        tags.insert(tag.into(), next);
        self.count.store(next, Ordering::Release);
    }

    fn all(&self) {
        let _tags = self.tags.write();
        let next = self.count() + 1;
        self.all.store(next, Ordering::Release);
        self.count.store(next, Ordering::Release);
    }

    fn admit<V>(&self, kept: &Kept<V>) -> bool {
        if self.all.load(Ordering::Acquire) > kept.at {
            return false;
        }
        if kept.tags.is_empty() {
            return true;
        }
        let tags = self.tags.read();
        kept.tags.iter().all(|tag| tags.get(tag.as_slice()).is_none_or(|at| *at <= kept.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn kept(key: &[u8], tags: &[&str], token: Token) -> Arc<Kept<u32>> {
        Arc::new(Kept {
            value: Some(1),
            key: key.into(),
            tags: tags.iter().map(|tag| tag.as_bytes().to_vec()).collect(),
            etag: None,
            life: PATIENCE,
            cost: Duration::ZERO,
            fresh_until: Instant::now() + PATIENCE * 10,
            at: token.at,
            bytes: 100,
        })
    }

    fn has(local: &Local<u32>, key: &[u8]) -> bool {
        local.get(key, Instant::now()).is_some()
    }

    #[test]
    fn b5_what_was_read_before_a_change_is_not_installed_after_it() {
        let local: Local<u32> = Local::new(1 << 20);
        let token = local.token(b"k");
        local.install(token, &kept(b"k", &[], token));
        assert!(has(&local, b"k"));
        local.change(b"k");
        assert!(!has(&local, b"k"));
        local.install(token, &kept(b"k", &[], token));
        assert!(!has(&local, b"k"));
        // Of two changes that overlap neither installs what it has stored.
        let (one, two) = (local.change(b"k"), local.change(b"k"));
        local.changed_to(one, &kept(b"k", &[], one));
        assert!(!has(&local, b"k"));
        local.changed_to(two, &kept(b"k", &[], two));
        assert!(!has(&local, b"k"));
        let alone = local.change(b"k");
        local.changed_to(alone, &kept(b"k", &[], alone));
        assert!(has(&local, b"k"));
    }

    #[test]
    fn b2_what_was_read_before_a_sweep_is_over_even_if_it_comes_after_it() {
        let local: Local<u32> = Local::new(1 << 20);
        let token = local.token(b"k");
        local.sweep_tag(b"red");
        local.install(token, &kept(b"k", &["red"], token));
        assert!(!has(&local, b"k"));
        local.install(token, &kept(b"k", &["blue"], token));
        assert!(has(&local, b"k"));
        local.sweep_all();
        assert!(!has(&local, b"k"));
        // Remembering more tags than there is room for ends everything, and nothing too little.
        let token = local.token(b"k");
        local.install(token, &kept(b"k", &["blue"], token));
        (0..=TAGS_MAX).for_each(|n| local.sweep_tag(n.to_string().as_bytes()));
        assert!(!has(&local, b"k"));
    }

    #[test]
    fn a6_a_flight_that_takes_too_long_is_left_behind_and_its_value_is_not_installed() {
        let local: Local<u32> = Local::new(1 << 20);
        let now = Instant::now();
        let token = local.token(b"k");
        let Boarding::Begun(hung, _) = local.board::<u8, ()>(b"k", now, PATIENCE) else { panic!() };
        assert!(matches!(local.board::<u8, ()>(b"k", now, PATIENCE), Boarding::Joined(_)));
        assert!(matches!(local.board::<u16, ()>(b"k", now, PATIENCE), Boarding::Begun(..)), "another type");
        let longer = PATIENCE * 2;
        let Boarding::Begun(next, _) = local.board::<u8, ()>(b"k", now + PATIENCE, longer) else { panic!() };
        local.land(b"k", &hung, Some((token, &kept(b"k", &[], token))));
        assert!(!has(&local, b"k"));
        assert_eq!(local.flights(), 2);
        local.land(b"k", &next, Some((token, &kept(b"k", &[], token))));
        assert!(has(&local, b"k"));
    }

    #[test]
    fn a9_a_flight_from_before_an_invalidation_is_not_joined() {
        let local: Local<u32> = Local::new(0);
        let now = Instant::now();
        let changes: [fn(&Local<u32>); 3] =
            [|local| _ = local.change(b"k"), |local| local.sweep_tag(b"red"), |local| local.sweep_all()];
        for change in changes {
            assert!(matches!(local.board::<u8, ()>(b"k", now, PATIENCE), Boarding::Begun(..)));
            change(&local);
        }
        assert!(matches!(local.board::<u8, ()>(b"k", now, PATIENCE), Boarding::Begun(..)));
        assert!(matches!(local.board::<u8, ()>(b"k", now, PATIENCE), Boarding::Joined(_)));
    }
}
