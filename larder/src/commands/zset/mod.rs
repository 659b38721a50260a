//! The sorted set commands.

mod add;
mod algebra;
mod bounds;
mod look;
mod pop;
mod query;
mod range;
mod remove;
mod sample;
mod store;

use crate::command::Command;
use crate::config::Config;
use crate::effects::{Class, Event};
use crate::types::zset::{Limits, Scored};
use larder_resp::ReplyWriter;
use std::sync::atomic::Ordering;

pub(crate) const FAMILY: &[Command] = &[
    add::ZADD,
    add::ZINCRBY,
    remove::ZREM,
    remove::ZREMRANGEBYRANK,
    remove::ZREMRANGEBYSCORE,
    remove::ZREMRANGEBYLEX,
    look::ZCARD,
    look::ZSCORE,
    look::ZMSCORE,
    look::ZRANK,
    look::ZREVRANK,
    look::ZCOUNT,
    look::ZLEXCOUNT,
    range::ZRANGE,
    range::ZREVRANGE,
    range::ZRANGEBYSCORE,
    range::ZREVRANGEBYSCORE,
    range::ZRANGEBYLEX,
    range::ZREVRANGEBYLEX,
    range::ZRANGESTORE,
    pop::ZPOPMIN,
    pop::ZPOPMAX,
    pop::ZMPOP,
    sample::ZRANDMEMBER,
    sample::ZSCAN,
    algebra::ZUNION,
    algebra::ZINTER,
    algebra::ZDIFF,
    algebra::ZINTERCARD,
    algebra::ZUNIONSTORE,
    algebra::ZINTERSTORE,
    algebra::ZDIFFSTORE,
];

const fn event(name: &'static str) -> Event {
    Event::new(Class::Zset, name)
}

/// Up to where sorted sets are listpacks.
fn limits(config: &Config) -> Limits {
    Limits {
        entries: config.zset_max_listpack_entries.load(Ordering::Relaxed),
        value: config.zset_max_listpack_value.load(Ordering::Relaxed),
    }
}

/// Writes members, with their scores if wanted: in RESP2 one after the other, in RESP3 as pairs.
fn reply_items<'a>(
    items: impl ExactSizeIterator<Item = Scored<'a>>,
    with_scores: bool,
    reply: &mut ReplyWriter<'_>,
) {
    let in_pairs = with_scores && reply.proto().is_resp3();
    reply.array(if with_scores && !in_pairs { items.len() * 2 } else { items.len() });
    items.for_each(|item| reply_item(item, with_scores, reply));
}

/// Writes one of several members.
fn reply_item(item: Scored<'_>, with_score: bool, reply: &mut ReplyWriter<'_>) {
    if with_score && reply.proto().is_resp3() {
        reply.array(2);
    }
    item.member.reply(reply);
    if with_score {
        reply.double(item.score);
    }
}
