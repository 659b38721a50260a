//! The commands on keys of any type.

mod database;
mod dump;
mod expiry;
pub(in crate::commands) mod object;
mod place;
mod presence;
mod walk;

use crate::command::Command;
use crate::effects::{Class, Event};

pub(crate) const FAMILY: &[Command] = &[
    presence::DEL,
    presence::UNLINK,
    presence::EXISTS,
    presence::TYPE,
    presence::TOUCH,
    place::RENAME,
    place::RENAMENX,
    place::COPY,
    place::MOVE,
    expiry::EXPIRE,
    expiry::PEXPIRE,
    expiry::EXPIREAT,
    expiry::PEXPIREAT,
    expiry::TTL,
    expiry::PTTL,
    expiry::EXPIRETIME,
    expiry::PEXPIRETIME,
    expiry::PERSIST,
    walk::KEYS,
    walk::SCAN,
    walk::RANDOMKEY,
    walk::DBSIZE,
    database::FLUSHDB,
    database::FLUSHALL,
    database::SWAPDB,
    object::OBJECT,
    dump::DUMP,
    dump::RESTORE,
];

const fn event(name: &'static str) -> Event {
    Event::new(Class::Generic, name)
}
