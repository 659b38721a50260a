//! The string commands.

mod expiring;
mod lcs;
mod number;
mod part;
mod plain;
mod set;

use crate::command::Command;
use crate::effects::{Class, Event};

pub(crate) const FAMILY: &[Command] = &[
    plain::GET,
    set::SET,
    plain::SETNX,
    expiring::SETEX,
    expiring::PSETEX,
    plain::GETSET,
    plain::GETDEL,
    expiring::GETEX,
    set::DELIFEQ,
    plain::MGET,
    plain::MSET,
    plain::MSETNX,
    part::APPEND,
    part::STRLEN,
    part::SETRANGE,
    part::GETRANGE,
    part::SUBSTR,
    number::INCR,
    number::DECR,
    number::INCRBY,
    number::DECRBY,
    number::INCRBYFLOAT,
    lcs::LCS,
];

const fn event(name: &'static str) -> Event {
    Event::new(Class::String, name)
}
