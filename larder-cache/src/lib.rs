//! Caching that is right by construction.
//!
//! A [`Cache`] is a namespace on a backend of [`larder_client`]: the engine in this process, larder-server, or any server
//! that speaks Redis' protocol and runs Lua. Whatever goes on at the same time, in however many processes, it never puts a
//! value back that was loaded before an invalidation.
//!
//! The three patterns below run on a table of SQLite, which stands for any database:
//!
//! ```sql
//! CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, brand INTEGER NOT NULL)
//! ```
//!
//! # Cache-aside
//!
//! Look in the cache, ask the database if it is not there, keep what it says. All who want the same value at the same time
//! share one load, in all processes.
//!
//! ```
//! use larder_cache::{Cache, Loaded, Policy};
//! use larder_client::Larder;
//! use sqlx::SqlitePool;
//! use std::time::Duration;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let one = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
//! # let database: SqlitePool = one.connect("sqlite::memory:").await?;
//! # let table = "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, brand INTEGER NOT NULL)";
//! # sqlx::query(table).execute(&database).await?;
//! # sqlx::query("INSERT INTO products VALUES (7, 'lamp', 3)").execute(&database).await?;
//! // let database = SqlitePool::connect("sqlite://shop.db").await?;
//! let larder = Larder::open("embedded://").await?; // or redis://cache.example
//! let products: Cache<i64, String> = Cache::builder(&larder, "products")
//!     .policy(
//!         Policy::ttl(Duration::from_secs(300))
//!             .jitter(0.1)                          // not all expire together
//!             .stale_for(Duration::from_secs(3600)) // serve the old value while the database is down
//!             .negative_ttl(Duration::from_secs(10)), // remember for a moment that there is no such product
//!     )
//!     .build()
//!     .await?;
//!
//! let pool = database.clone();
//! let load = |id: i64| async move {
//!     let row = sqlx::query_as("SELECT name, brand FROM products WHERE id = ?").bind(id);
//!     let found: Option<(String, i64)> = row.fetch_optional(&pool).await?;
//!     Ok::<_, sqlx::Error>(match found {
//!         Some((name, brand)) => Loaded::new(name).tags([format!("brand:{brand}")]),
//!         None => Loaded::not_found(),
//!     })
//! };
//! let product = products.find_or_load(&7, |_| load(7)).await?;
//! assert_eq!(**product.as_ref().expect("it is in the table"), "lamp");
//!
//! products.remove(&7).await?;            // one product has changed,
//! products.remove_tag("brand:3").await?; // or all of a brand
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # An attribute
//!
//! With the feature `macros`, the attribute `cached` makes a function the loader of a cache, and gives it `invalidate`,
//! `peek` and `refresh` beside it.
//!
#![cfg_attr(feature = "macros", doc = "```")]
#![cfg_attr(not(feature = "macros"), doc = "```text")]
//! use larder_cache::{Cache, cached};
//! use larder_client::Larder;
//! use std::sync::OnceLock;
//!
//! static BOOKS: OnceLock<Cache<u64, String>> = OnceLock::new();
//!
//! fn books() -> &'static Cache<u64, String> {
//!     BOOKS.get().expect("it is made when the program starts")
//! }
//!
//! #[cached(in = books(), key = id, ttl = "5m", tags = ["books", format!("shelf:{shelf}")])]
//! async fn title(shelf: u32, id: u64) -> Result<String, std::io::Error> {
//!     Ok(format!("volume {id} on shelf {shelf}")) // from a database
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let larder = Larder::open("embedded://").await?;
//! BOOKS.set(Cache::builder(&larder, "books").build().await?).expect("it is the first");
//!
//! assert_eq!(*title(3, 7).await?, "volume 7 on shelf 3");
//! assert!(title::peek(7).await?.is_some());
//! title::invalidate(7).await?;
//! assert!(title::peek(7).await?.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Write-through
//!
//! The cache writes to the database, and then has the new value. In between, no load can put the old one back; if the write
//! fails, or overlaps with another one, the entry is absent and the next reader loads it. Where the database counts the
//! versions of a row, [`Written`] tells the cache, and of writes that overlap the last one stays.
//!
//! ```
//! # use larder_cache::{Cache, Write};
//! # use larder_client::Larder;
//! # use sqlx::SqlitePool;
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let one = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
//! # let database: SqlitePool = one.connect("sqlite::memory:").await?;
//! # let table = "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, brand INTEGER NOT NULL)";
//! # sqlx::query(table).execute(&database).await?;
//! # sqlx::query("INSERT INTO products VALUES (7, 'lamp', 3), (8, 'lens', 3)").execute(&database).await?;
//! # let larder = Larder::open("embedded://").await?;
//! # let products: Cache<i64, String> = Cache::builder(&larder, "products").build().await?;
//! let pool = database.clone();
//! let rename = async move {
//!     let renamed = sqlx::query_scalar("UPDATE products SET name = ? WHERE id = ? RETURNING name");
//!     let name: String = renamed.bind("lantern").bind(7).fetch_one(&pool).await?;
//!     Ok::<_, sqlx::Error>(name)
//! };
//! let product = products.write(&7, rename).await?;
//! assert_eq!(*product, "lantern");
//! assert_eq!(*products.get(&7).await?.expect("it was just written"), "lantern");
//!
//! // A transaction of one's own is framed by an update, which ends, whatever becomes of it, when it is dropped.
//! let update = products.begin_update(&[&7, &8]).await?.tags(["brand:3"]);
//! let mut transaction = database.begin().await?;
//! sqlx::query("UPDATE products SET brand = 4").execute(&mut *transaction).await?;
//! transaction.commit().await?;
//! update.end().await?; // from here on what is loaded is kept again
//! assert!(products.get(&7).await?.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Write-back
//!
//! The cache has the new value at once, and the database gets it a moment later, with all others that have changed by then.
//! A change is acknowledged when it is as safe as [`Ack`] says; after a crash the next process goes on with the log. Of a
//! key only the newest change is written, and changes of a key never overtake each other.
//!
//! ```
//! use larder_cache::{Ack, Cache, Change, Outcome, Sink, WriteBack};
//! # use larder_client::Larder;
//! # use sqlx::SqlitePool;
//! # use std::time::Duration;
//! struct Products {
//!     database: SqlitePool,
//! }
//!
//! impl Sink<i64, String> for Products {
//!     type Error = sqlx::Error;
//!
//!     async fn store(&self, changes: &[Change<i64, String>]) -> Result<Vec<Outcome>, sqlx::Error> {
//!         let mut transaction = self.database.begin().await?;
//!         for change in changes {
//!             let query = match change.value() {
//!                 Some(name) => sqlx::query(
//!                     "INSERT INTO products VALUES (?, ?, 0) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name",
//!                 )
//!                 .bind(*change.key())
//!                 .bind(name),
//!                 None => sqlx::query("DELETE FROM products WHERE id = ?").bind(*change.key()),
//!             };
//!             query.execute(&mut *transaction).await?;
//!         }
//!         transaction.commit().await?;
//!         Ok(vec![Outcome::Stored; changes.len()])
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let one = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
//! # let database: SqlitePool = one.connect("sqlite::memory:").await?;
//! # let table = "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, brand INTEGER NOT NULL)";
//! # sqlx::query(table).execute(&database).await?;
//! # let larder = Larder::open("embedded://").await?;
//! # let directory = std::env::temp_dir().join(format!("products-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! let products: Cache<i64, String> = Cache::builder(&larder, "products").build().await?;
//! let how = WriteBack::new().log(directory.join("products.log")).ack(Ack::LocalFsync);
//! let products = products.write_back(Products { database: database.clone() }, how).await?;
//! products.put(7, "lamp".to_owned()).await?;
//! assert_eq!(*products.get(&7).await?.expect("it was put there"), "lamp");
//! let drained = products.close(Duration::from_secs(10)).await; // before the process ends
//! assert_eq!(drained.left, 0);
//! let name: String = sqlx::query_scalar("SELECT name FROM products WHERE id = 7").fetch_one(&database).await?;
//! assert_eq!(name, "lamp");
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Responses
//!
//! With the feature `http`, `http::HttpCache` is a layer for tower and axum that keeps whole responses, as far as they say that
//! they may be shared.
//!
//! # Seeing in
//!
//! [`Cache::stats`] counts hits by tier, misses, loads and all that goes wrong, and has histograms of the time that loads
//! take, of the age of what is served, and of how long invalidations by others take to arrive ([`Stats`] says what
//! exactly is measured). With the feature `metrics` the same goes to the recorder of the crate `metrics`, as
//! `larder_cache_...` with the label `cache` (the namespace); install it before caches are made. With the feature
//! `tracing` loads are events of the target `larder_cache` at `debug`; a feed that is lost, back or has a gap, and entries
//! that cannot be decoded, are at `warn`. [`Cache::inspect`] says what is known of one entry, [`Cache::explain`] why.
//!
//! # Which guarantees, and which not
//!
//! - One load per key at a time, as its own task: callers that go away, are not polled, or panic hurt nobody else; a
//!   loader that panics, hangs or asks for its own key is told apart ([`LoadError`]).
//! - Invalidation by key, by tag, or of everything; by counting, not by clocks, and in a time that does not depend on how
//!   many entries there are.
//! - A [near cache](Near) is kept coherent by a feed of changes, with gaps noticed and made up for.
//! - Trouble with the backend sends reads to the source, one at a time per key and process; removals that failed are made up
//!   for.
//! - What cannot be decoded (rubbish, a codec or a [schema](Builder::schema) that nobody knows) is a miss. Programs of several
//!   schemas share a namespace: each has its own form of an entry, and an invalidation removes all forms.
//!
//! The page `docs/cache.md` of the project lists what can still be stale, and for how long.

mod batch;
mod builder;
mod cache;
pub mod codec;
mod entry;
mod error;
mod explain;
mod feed;
mod forms;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
#[cfg(feature = "http")]
pub mod http;
mod key;
mod lag;
mod load;
mod local;
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod macro_support;
#[cfg(feature = "metrics")]
mod meters;
mod observe;
mod policy;
#[cfg(test)]
mod simulation;
mod stats;
mod store;
mod update;
mod upkeep;
mod write_back;

pub use batch::Many;
pub use builder::{Builder, Near};
pub use cache::Cache;
pub use codec::Codec;
pub use entry::{Entry, LoadCtx, Loaded, Tier, Write, Written};
pub use error::{Error, LoadError};
pub use explain::{Explanation, Holder, Inspection, Why};
pub use key::{CacheKey, KEY_MAX, KeyBytes};
#[cfg(feature = "macros")]
pub use larder_cache_macros::cached;
pub use policy::Policy;
pub use stats::{Histogram, Stats};
pub use update::{Update, WriteError};
pub use write_back::{
    Ack, Change, DeadLetter, Drained, OnFull, Outcome, Sink, WriteBack, WriteBackCache, WriteBackError,
    WriteBackStats,
};
