//! The server commands: introspection, configuration, statistics, and what operators do.

use crate::command::Command;

mod append_only;
mod cluster;
mod command;
mod config;
mod debug;
mod digest;
mod info;
mod memory;
mod operate;
mod slowlog;

pub(crate) const FAMILY: &[Command] = &[
    append_only::BGREWRITEAOF,
    operate::BGSAVE,
    cluster::CLUSTER,
    command::COMMAND,
    config::CONFIG,
    debug::DEBUG,
    info::INFO,
    operate::LASTSAVE,
    info::LOLWUT,
    memory::MEMORY,
    operate::MONITOR,
    info::ROLE,
    operate::SAVE,
    operate::SHUTDOWN,
    slowlog::SLOWLOG,
    info::TIME,
    operate::WAIT,
    append_only::WAITAOF,
];
