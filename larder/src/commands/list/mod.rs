//! The list commands.

mod edit;
mod look;
mod moving;
mod pop;
mod push;

use crate::args::Args;
use crate::command::Command;
use crate::config::Config;
use crate::effects::{Class, Event};
use crate::fault::Fault;
use crate::types::List;
use crate::types::list::End;
use std::sync::atomic::Ordering;

pub(crate) const FAMILY: &[Command] = &[
    push::LPUSH,
    push::RPUSH,
    push::LPUSHX,
    push::RPUSHX,
    pop::LPOP,
    pop::RPOP,
    pop::LMPOP,
    look::LLEN,
    look::LINDEX,
    look::LRANGE,
    look::LPOS,
    edit::LSET,
    edit::LINSERT,
    edit::LREM,
    edit::LTRIM,
    moving::LMOVE,
    moving::RPOPLPUSH,
];

const fn event(name: &'static str) -> Event {
    Event::new(Class::List, name)
}

pub(super) const fn push_event(end: End) -> Event {
    event(if matches!(end, End::Left) { "lpush" } else { "rpush" })
}

const fn pop_event(end: End) -> Event {
    event(if matches!(end, End::Left) { "lpop" } else { "rpop" })
}

/// A list as new ones are made.
pub(super) fn new_list(config: &Config) -> List {
    List::new(config.list_max_listpack_size.load(Ordering::Relaxed))
}

/// Takes `LEFT` or `RIGHT`.
fn end(args: &mut Args<'_>) -> Result<End, Fault> {
    if args.flag("LEFT") {
        Ok(End::Left)
    } else if args.flag("RIGHT") {
        Ok(End::Right)
    } else {
        Err(Fault::SYNTAX)
    }
}
