//! One handle on data, wherever it is: in this process, on a server, behind sentinels or in a cluster.
//!
//! A program opens a URL and speaks to all of them alike; which one it is may be a line of configuration:
//!
//! ```
//! use larder_client::{Command, Larder, Ttl};
//! use std::time::Duration;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! // redis://host, rediss://host, unix:///path, redis-sentinel://a,b,c/name, redis-cluster://a,b,c
//! let larder = Larder::open("embedded://").await?;
//!
//! larder.set_for("greeting", "hello", Duration::from_secs(60)).await?;
//! assert_eq!(larder.get("greeting").await?.as_deref(), Some(b"hello".as_slice()));
//!
//! // Atomically, whether the server has IFEQ or only Lua.
//! assert!(larder.compare_and_set("greeting", Some(b"hello"), "hi", Ttl::Keep).await?);
//!
//! // Any command there is.
//! let length = larder.execute(Command::new("STRLEN").arg("greeting")).await?;
//! assert_eq!(length.as_integer(), Some(2));
//! # Ok::<(), larder_client::Error>(())
//! # }).unwrap();
//! ```
//!
//! # What is the same everywhere
//!
//! Commands with any arguments, [pipelines and transactions](Pipeline), [subscriptions](Subscription) that come back
//! with all their channels and tell of the gap, [walks over keys](Scan), [events](EventStream) about connections,
//! time-outs and retries ([`Options`]). One conformance suite runs all of it on the engine in this process, on larder-server
//! and on redis-server. Sentinels and clusters are tested by what stands on it: larder-cache and the shop.
//!
//! # What is not
//!
//! - Lua scripts run on Redis and Valkey, not on Larder's own engine, which has no Lua yet. What the crates above need
//!   atomically is a command there.
//! - A [dedicated connection](Dedicated) is not to be had in a cluster, and all keys of a transaction there must be of
//!   one [hash slot](hash_slot).
//! - A folder of `embedded:///path` belongs to one process at a time; a second one gets an error.
//! - A server's outage ends a call with an [`Error`] that says whether the command may have been carried out. Nothing is
//!   queued for later.

mod backend;
mod client;
mod command;
mod dedicated;
mod error;
mod events;
mod options;
mod pubsub;
mod scan;
mod script;
mod server;
mod typed;
mod value;

pub use client::Larder;
pub use command::{Command, Pipeline, hash_slot};
pub use dedicated::Dedicated;
pub use error::{Error, Result};
pub use events::{Event, EventStream};
/// The engine itself, for what [`Larder::engine`] gives.
pub use larder as engine;
pub use options::Options;
pub use pubsub::{Notice, Subscription};
pub use scan::Scan;
pub use script::Script;
pub use server::{Kind, ServerInfo};
pub use typed::{SetOptions, Ttl};
pub use value::Value;
