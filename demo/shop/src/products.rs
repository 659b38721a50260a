//! The catalogue: read through the cache, written through it.
//!
//! Each product is an entry for itself, and so is each list of them: the newest, and what a search has found. A list has
//! the tag of every product that it shows, and a search one more, since a product with other words may come to be found. A
//! change is written through to the product's entry, and removes by their tags just the lists that it concerns, after the
//! database has it: no load that began before can bring an old one back.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use larder_cache::{Cache, Entry, LoadError, Loaded, Near, Policy, Tier, Write, WriteError};
use larder_client::Larder;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::db::{Change, Database, Product};
use crate::panel::{Outcome, Panel};

/// How long an answer is fresh.
const TTL: Duration = Duration::from_secs(300);
/// How long what a search has found is.
const SEARCH_TTL: Duration = Duration::from_secs(60);
/// How long it may be served beyond that while the database does not answer.
const STALE: Duration = Duration::from_secs(3600);
/// How long it is remembered that there is no such product.
const NONE_TTL: Duration = Duration::from_secs(30);
/// Products of the first page.
const NEWEST: i64 = 50;
/// Memory of the near cache.
const NEAR_BYTES: u64 = 16 << 20;
/// The tag of what searches have found.
const SEARCHES: &str = "searches";

/// The catalogue.
#[derive(Clone)]
pub(crate) struct Products {
    database: Arc<Database>,
    panel: Arc<Panel>,
    lists: Cache<str, List>,
    single: Cache<i64, Product>,
    caches: bool,
}

/// Products in an order, and the JSON that they are sent as: made once, when it is first asked for, and then shared by all
/// who read the same entry of the near cache.
#[derive(Debug)]
pub(crate) struct List {
    products: Vec<Product>,
    json: OnceLock<Bytes>,
}

impl List {
    fn new(products: Vec<Product>) -> List {
        List { products, json: OnceLock::new() }
    }

    /// The products as a JSON array.
    pub(crate) fn json(&self) -> Bytes {
        let made = || serde_json::to_vec(&self.products).expect("products have nothing that JSON lacks");
        self.json.get_or_init(|| made().into()).clone()
    }
}

impl Deref for List {
    type Target = [Product];

    fn deref(&self) -> &[Product] {
        &self.products
    }
}

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.products.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List, D::Error> {
        Vec::deserialize(deserializer).map(List::new)
    }
}

/// What is shown, from the cache or straight from the database.
pub(crate) enum Shown<V> {
    /// An entry of the cache, which all who read it share.
    Cached(Entry<V>),
    /// An answer of the database.
    Asked(V),
}

impl<V> Deref for Shown<V> {
    type Target = V;

    fn deref(&self) -> &V {
        match self {
            Shown::Cached(entry) => entry,
            Shown::Asked(value) => value,
        }
    }
}

/// Why a product could not be had or changed.
pub(crate) type Failure = LoadError<sqlx::Error>;

impl Products {
    /// The catalogue of a database, with its cache; or without, to compare.
    ///
    /// # Errors
    /// When the cache cannot be reached.
    pub(crate) async fn open(
        larder: &Larder,
        database: Arc<Database>,
        panel: Arc<Panel>,
        caches: bool,
    ) -> Result<Products, larder_cache::Error> {
        let policy = Policy::ttl(TTL).jitter(0.1).stale_for(STALE).negative_ttl(NONE_TTL);
        let lists = Cache::builder(larder, "products").policy(policy.clone()).near(Near::bytes(NEAR_BYTES));
        let single = Cache::builder(larder, "product").policy(policy).near(Near::bytes(NEAR_BYTES));
        Ok(Products { lists: lists.build().await?, single: single.build().await?, database, panel, caches })
    }

    fn note<V>(&self, key: &str, entry: Option<&Entry<V>>, began: Instant) {
        let outcome = match entry {
            Some(entry) if entry.is_stale() => Outcome::Stale,
            Some(entry) if entry.tier() != Tier::Source => Outcome::Hit,
            _ => Outcome::Miss,
        };
        let age = entry.map_or(Duration::ZERO, Entry::age);
        self.panel.note(key, outcome, age, began.elapsed());
    }

    /// The newest ones.
    ///
    /// # Errors
    /// When the database fails, and there is nothing old to show.
    pub(crate) async fn newest(&self) -> Result<Shown<List>, Failure> {
        if !self.caches {
            let products = self.database.newest(NEWEST).await.map_err(source)?;
            return Ok(Shown::Asked(List::new(products)));
        }
        let (began, database) = (Instant::now(), Arc::clone(&self.database));
        let load = async move { database.newest(NEWEST).await.map(list) };
        let entry = self.lists.get_or_load("all", |_| load).await?;
        self.note("products:all", Some(&entry), began);
        Ok(Shown::Cached(entry))
    }

    /// One of them.
    ///
    /// # Errors
    /// As [`Products::newest`].
    pub(crate) async fn product(&self, id: i64) -> Result<Option<Shown<Product>>, Failure> {
        if !self.caches {
            return Ok(self.database.product(id).await.map_err(source)?.map(Shown::Asked));
        }
        let (began, database) = (Instant::now(), Arc::clone(&self.database));
        let entry = self.single.find_or_load(&id, move |_| async move { database.product(id).await }).await?;
        self.note(&format!("product:{id}"), entry.as_ref(), began);
        Ok(entry.map(Shown::Cached))
    }

    /// Those that have the words.
    ///
    /// # Errors
    /// As [`Products::newest`].
    pub(crate) async fn search(&self, words: &str) -> Result<Shown<List>, Failure> {
        if !self.caches {
            let products = self.database.search(words).await.map_err(source)?;
            return Ok(Shown::Asked(List::new(products)));
        }
        let (began, database, asked) = (Instant::now(), Arc::clone(&self.database), words.to_owned());
        let load = async move {
            let found = database.search(&asked).await?;
            // There is no end of words that nothing has: they are not kept.
            Ok(match found.is_empty() {
                true => Loaded::do_not_store(List::new(found)),
                false => list(found).tags([SEARCHES]).ttl(SEARCH_TTL),
            })
        };
        let entry = self.lists.get_or_load(&format!("search {}", words.to_lowercase()), |_| load).await?;
        self.note("products:search", Some(&entry), began);
        Ok(Shown::Cached(entry))
    }

    /// Changes one in the database, and then in the cache; `None` if there is none of that number.
    ///
    /// # Errors
    /// When the database fails. Then neither the old nor the new one is in the cache.
    pub(crate) async fn change(&self, id: i64, change: Change) -> Result<Option<Shown<Product>>, Failure> {
        let (database, has_other_words) =
            (Arc::clone(&self.database), change.name.is_some() || change.description.is_some());
        // While the product is being written no load of it is kept: so the turn is waited for before.
        let turn = self.database.turn().await;
        let write = async move { database.change(&turn, id, &change).await?.ok_or(sqlx::Error::RowNotFound) };
        let product = match self.single.write_with(&id, Write::new(), write).await {
            Ok(entry) => Shown::Cached(entry),
            Err(WriteError::Source(sqlx::Error::RowNotFound)) => return Ok(None),
            Err(WriteError::Source(error)) => return Err(source(error)),
            Err(WriteError::Cache(error)) => return Err(LoadError::Cache(error)),
            Err(other) => return Err(LoadError::Panicked(other.to_string())),
        };
        let searches = has_other_words.then(|| SEARCHES.to_owned());
        self.lists.remove_tags([tag(id)].into_iter().chain(searches)).await.map_err(LoadError::Cache)?;
        Ok(Some(product))
    }

    /// Forgets what an order has taken stock from.
    ///
    /// # Errors
    /// When the cache refuses; if it is only away, it is told later.
    pub(crate) async fn sold(&self, ids: &[i64]) -> Result<(), larder_cache::Error> {
        for id in ids {
            self.single.remove(id).await?;
        }
        self.lists.remove_tags(ids.iter().copied().map(tag)).await
    }
}

/// The tag of every list that shows a product.
fn tag(id: i64) -> String {
    format!("product:{id}")
}

fn list(products: Vec<Product>) -> Loaded<List> {
    let tags: Vec<String> = products.iter().map(|product| tag(product.id)).collect();
    Loaded::new(List::new(products)).tags(tags)
}

fn source(error: sqlx::Error) -> Failure {
    LoadError::Source(Arc::new(error))
}
