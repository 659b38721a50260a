//! Development tools for testing Larder.
//!
//! [`Server`] starts our server or a real redis-server, [`Client`] talks to one and never waits for ever,
//! [`grammar`] makes random commands from usage lines, and [`compare`] runs them against both servers and cuts a
//! difference down to the shortest script that shows it.

pub mod client;
pub mod compare;
pub mod crash;
pub mod docs;
pub mod durable;
pub mod fuzz;
pub mod grammar;
pub mod hit_ratio;
pub mod pace;
pub mod policy;
pub mod port;
pub mod pty;
pub mod rng;
pub mod server;
pub mod shell;
pub mod temp;
pub mod terminal;
pub mod topology;
mod values;

pub use client::{Client, Reply};
pub use rng::Rng;
pub use server::{Options, Program, Ready, Server};
