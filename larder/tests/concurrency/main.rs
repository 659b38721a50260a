//! The engine under several threads, and under a clock that stands still.
//!
//! Every thread has its own lane and sessions, as the threads of a server have. A test that hangs is ended by a
//! watchdog; otherwise no test depends on how long anything takes.

mod evict;
mod expire;
mod inside_exec;
mod jobs;
mod linear;
mod park;
mod replay;
mod support;
mod transfer;
mod whole;
