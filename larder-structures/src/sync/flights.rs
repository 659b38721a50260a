//! Work under way that others may join, and the counts that keep its results from being kept too late.
//!
//! Keys are spread over shards. A shard has a lock, a **generation**, and the **flights** of its keys: what is being
//! loaded, each under its key and a kind. Three rules are kept here, whoever comes in between whatever:
//!
//! - Who wants a key joins its flight, or begins one: of those who come at the same time exactly one begins.
//! - Whatever changes a key raises the generation of its shard and takes its flights out: who comes after a change joins
//!   no flight from before it.
//! - A result is installed only under the generation from before the work began, and only by a flight that is still in
//!   its place: a change in between, or another flight begun instead, and it is not.
//!
//! Installing and evicting are done by the caller, in a function that is called under the lock of the shard: the place
//! where results are kept and the generation change as one. Such a function must not come back here. Keys of one shard
//! share a generation, so that they refuse each other's results now and then; that costs a result, and is never wrong.

use super::raw::{Mutex, MutexGuard, lock};
use rapidhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Flights of `F` by key and kind `K`, with notes `N` that each shard keeps beside them.
pub struct Flights<K, F: ?Sized, N> {
    shards: Box<[Mutex<Shard<K, F, N>>]>,
}

struct Shard<K, F: ?Sized, N> {
    generation: u64,
    flights: HashMap<(Box<[u8]>, K), Arc<F>, RandomState>,
    notes: N,
}

/// What becomes of somebody who wants something loaded.
pub enum Boarding<J, F, R> {
    /// It is under way, and this is what the flight has given to be waited for.
    Joined(J),
    /// The caller is to load, under this flight.
    Begun(F),
    /// The notes forbid it.
    Refused(R),
}

impl<K: Copy + Eq + Hash, F: ?Sized, N: Default> Flights<K, F, N> {
    /// So many shards, or the next power of two.
    pub fn new(shards: usize) -> Flights<K, F, N> {
        let shard = |_| {
            Mutex::new(Shard {
                generation: 0,
                flights: HashMap::with_hasher(RandomState::new()),
                notes: N::default(),
            })
        };
        Flights { shards: (0..shards.next_power_of_two()).map(shard).collect() }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard<K, F, N>> {
        // Their number is a power of two, and at least one.
        lock(&self.shards[(hash >> 32) as usize & (self.shards.len() - 1)])
    }

    /// The generation that a key of this hash is in, to be taken before anything is read or loaded.
    pub fn generation(&self, hash: u64) -> u64 {
        self.shard(hash).generation
    }

    /// Calls `install` unless there was a change since that generation; returns whether it was called.
    pub fn install(&self, hash: u64, generation: u64, install: impl FnOnce()) -> bool {
        let shard = self.shard(hash);
        let is_undisturbed = shard.generation == generation;
        if is_undisturbed {
            install();
        }
        is_undisturbed
    }

    /// A change of a key: raises the generation, takes the flights of the key out, and calls `change` with the notes, and
    /// with whether nothing had changed since the generation `since`, if there is one. Returns the new generation.
    pub fn change(
        &self,
        hash: u64,
        key: &[u8],
        since: Option<u64>,
        change: impl FnOnce(&mut N, bool),
    ) -> u64 {
        let mut shard = self.shard(hash);
        let is_undisturbed = since == Some(shard.generation);
        shard.generation += 1;
        if !shard.flights.is_empty() {
            shard.flights.retain(|(flying, _), _| **flying != *key);
        }
        change(&mut shard.notes, is_undisturbed);
        shard.generation
    }

    /// Joins the flight of a key, or begins one. `join` says what there is to wait for, or that the flight is not to be
    /// joined: then it is taken out, which `begin` is told. Before a flight is begun `refuse` may forbid it.
    pub fn board<J, B, R>(
        &self,
        hash: u64,
        key: &[u8],
        kind: K,
        join: impl FnOnce(&F) -> Option<J>,
        refuse: impl FnOnce(&mut N) -> Option<R>,
        begin: impl FnOnce() -> (B, Arc<F>),
    ) -> Boarding<J, B, R> {
        let mut shard = self.shard(hash);
        let place = (key.into(), kind);
        if let Some(flight) = shard.flights.get(&place) {
            if let Some(joined) = join(flight) {
                return Boarding::Joined(joined);
            }
            shard.flights.remove(&place);
        }
        if let Some(refusal) = refuse(&mut shard.notes) {
            return Boarding::Refused(refusal);
        }
        let (begun, flight) = begin();
        shard.flights.insert(place, flight);
        Boarding::Begun(begun)
    }

    /// Ends a flight, and calls `install` if it is still in its place and nothing has changed since `generation`; without
    /// a generation it is not called. Returns whether it was.
    pub fn land<T: ?Sized>(
        &self,
        hash: u64,
        key: &[u8],
        kind: K,
        flight: &Arc<T>,
        generation: Option<u64>,
        install: impl FnOnce(),
    ) -> bool {
        let mut shard = self.shard(hash);
        let place = (key.into(), kind);
        let is_in_place = shard
            .flights
            .get(&place)
            .is_some_and(|other| std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(flight)));
        if !is_in_place {
            return false;
        }
        shard.flights.remove(&place);
        let is_installed = generation == Some(shard.generation);
        if is_installed {
            install();
        }
        is_installed
    }

    /// Whether a key has a flight of any kind.
    pub fn is_flying(&self, hash: u64, key: &[u8]) -> bool {
        self.shard(hash).flights.keys().any(|(flying, _)| **flying == *key)
    }

    /// Reads or changes the notes of a shard.
    pub fn with_notes<T>(&self, hash: u64, with: impl FnOnce(&mut N) -> T) -> T {
        with(&mut self.shard(hash).notes)
    }

    /// Flights under way.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).flights.len()).sum()
    }
}
