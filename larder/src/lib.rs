//! The Larder engine: a Redis-compatible in-memory store as a library.
//!
//! A Rust program opens a [`Larder`] and has the store in its own process:
//!
//! ```
//! use larder::{Larder, Options, SetOptions};
//! use std::time::Duration;
//!
//! let larder = Larder::open(Options::default())?;
//!
//! // Strings, with a time to live if they want one, and with a condition.
//! larder.set_for("page:/", "<h1>Hello</h1>", Duration::from_secs(300))?;
//! assert_eq!(larder.get("page:/")?.as_deref(), Some(b"<h1>Hello</h1>".as_slice()));
//! assert!(larder.set_with("lock", "me", SetOptions::new().if_absent())?);
//! assert!(!larder.set_with("lock", "you", SetOptions::new().if_absent())?);
//!
//! // Hashes, lists, sets and sorted sets.
//! larder.hset("user:1", &[("name", "Ada"), ("born", "1815")])?;
//! assert_eq!(larder.hget("user:1", "born")?.as_deref(), Some(b"1815".as_slice()));
//!
//! // Any command of Redis, and its reply.
//! assert_eq!(larder.execute(&["APPEND", "log", "one"]).as_integer(), Some(3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The same engine serves the protocol of Redis in `larder-server`, which talks to [`Engine`] with the requests of its
//! connections. The modules below stand in the order in which such a request meets them.

// Where a request enters, and for whom it runs.
pub mod client;
pub mod embedded;
pub mod engine;
pub mod lane;
pub mod session;

// From its bytes to its command.
pub mod args;
pub mod command;
pub mod describe;
pub mod reference;
pub mod registry;
pub mod usage;

// The checks before it, how it is run, and what it may answer with.
mod admit;
mod exec;
pub mod fault;
mod prefetch;

// The commands, the keys and values they work on, and what a change causes.
mod commands;
pub mod effects;
pub mod keyspace;
pub mod types;

// What the engine keeps beside the keys.
pub mod config;
pub mod glob;
mod monitor;
mod pause;
pub mod persist;
pub mod pubsub;
mod secrets;
pub mod slowlog;
pub mod stats;

// What it needs from outside.
pub mod host;
pub mod runtime;
pub mod time;

pub use commands::cache::CacheEntry;
pub use embedded::{Connection, Larder, SetOptions, Ttl, WithTtl};
pub use engine::{Engine, Options};
pub use exec::{Job, Plan};
pub use larder_structures::sys::{give_way, take_short_turns};
pub use prefetch::Lookup;
pub use session::Session;

/// The level of Redis whose behaviour this engine has, as clients are told.
pub const REDIS_VERSION: &str = "7.0.15";
/// This engine's own version.
pub const LARDER_VERSION: &str = env!("CARGO_PKG_VERSION");
