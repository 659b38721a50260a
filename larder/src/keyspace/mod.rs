//! Keys and their values: shards, databases, lookups that respect expiry, and the guards through which values change.

mod buried;
mod check;
pub(crate) mod eviction;
mod key;
mod read;
mod shard;
mod sweep;
mod tidy;
mod view;
mod watch;
mod whole;
mod write;

pub use buried::GuardConfig;
pub use read::ReadCtx;
pub use view::{Found, View};
pub use write::{Expiry, Guard, Taken, WriteCtx};

pub(crate) use eviction::Meter;
pub(crate) use key::PlannedKey;
pub(crate) use read::{Notes, PinnedKey, Seldom, Source};
pub(crate) use shard::{Ledger, Shard, StoredEntry};
pub(crate) use sweep::Sweep;
pub(crate) use tidy::Tidying;
pub(crate) use watch::{WatchFlag, Watchers};
