//! The statements of the contract (A1 to K1), each a test that is named by its number and runs on every backend it
//! concerns. They are one program, which is linked once.

mod batch;
mod cached;
mod catalogue;
mod coalescing;
mod coherence;
mod explain;
mod fleet;
mod freshness;
mod http;
mod install;
mod observing;
mod replicas;
mod schemas;
mod support;
mod tags;
mod topologies;
mod write_back;
mod writes;
