//! The Larder server: sockets, threads and configuration around the engine.
//!
//! The modules stand in the order in which a start meets them, and then in the order in which a request does.

// The start.
mod append_only;
mod config;
mod data;
mod offline;
mod process;
mod start;

pub use start::run;

// Serving.
mod net;
mod server;
mod workers;

// What the engine asks back, what the operator hears, and the end.
mod host;
mod observe;
mod shutdown;
