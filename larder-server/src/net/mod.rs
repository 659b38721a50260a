//! Sockets: from a byte received to a byte sent, in the order of a connection's life.

pub(crate) mod listener;

pub(crate) mod event_loop;

pub(crate) mod connection;

mod transport;

pub(crate) mod tls;

mod input;

mod window;

mod gathering;

mod outbox;

mod buffers;

pub(crate) mod mailbox;
