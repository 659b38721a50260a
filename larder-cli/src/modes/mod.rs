//! What is done instead of one command: walks through all keys, measurements, imports.

pub(crate) mod big;
pub(crate) mod delete;
pub(crate) mod eval;
pub(crate) mod hot;
pub(crate) mod intrinsic;
pub(crate) mod keystats;
pub(crate) mod latency;
pub(crate) mod peek;
pub(crate) mod pipe;
pub(crate) mod scan;
pub(crate) mod sessions;
pub(crate) mod stat;
pub(crate) mod wait;
mod walk;
