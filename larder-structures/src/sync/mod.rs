//! How threads share the keyspace: shard locks with a gate over all of them, pins for long reads, and one way to wait.
//!
//! - [`Shards`]: the shards behind their locks, one, several or all at a time;
//! - [`Pinned`]: a large value that a long reader may keep while its shard is unlocked;
//! - [`Brief`]: a lock for moments;
//! - [`Flights`]: work that others may join, whose results a change in between keeps from being kept;
//! - [`Bell`]: one thread that serves many, and may wait until enough have come;
//! - [`WaitList`]: whoever cannot go on registers a waker here, checks again, and sleeps.

mod bell;
mod brief;
mod flights;
mod pin;
mod raw;
mod shards;
mod wait;

pub use bell::Bell;
pub use brief::Brief;
pub use flights::{Boarding, Flights};
pub use pin::{Pin, Pinned, Shared};
pub use shards::{Hold, Shards};
pub use wait::{Ticket, WaitList, block_on_wait};
