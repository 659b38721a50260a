//! Intersection, union and difference of sets, replied or stored.

use super::{event, limits, reply_all};
use crate::args::Args;
use crate::command::{Access, Command, Computed, Cost, Keys, Memory, Run, Store, Trait};
use crate::effects::Event;
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Expiry, ReadCtx, WriteCtx};
use crate::types::set::algebra;
use crate::types::string::Digits;
use crate::types::{Collection as _, Set, SetRef};
use larder_resp::ReplyWriter;
use larder_structures::decimal;

const INTERSECTION_COST: Cost =
    Cost::Slow("O(N*M), N being the number of members in the smallest set and M the number of sets");
const SUM_COST: Cost = Cost::Slow("O(N), N being the number of members in all sets together");

/// What all of them have in common.
const READ: Command = Command {
    usage: "key [key ...]",
    keys: &[Keys::range(1, -1, 1)],
    tips: &["nondeterministic_output_order"],
    ..Command::SET
};

const STORE: Command = Command { usage: "destination key [key ...]", memory: Memory::Grows, ..Command::SET };

const fn destination(access: Access) -> Keys {
    Keys::at(1).does(access, &["UPDATE"])
}

pub(super) const SINTER: Command = Command {
    name: "SINTER",
    summary: "Get the members that several sets have in common.",
    cost: INTERSECTION_COST,
    example: "SADD a x y -> (integer) 2\nSADD b y z -> (integer) 2\nSINTER a b -> 1) \"y\"",
    work: Some(intersection_work),
    run: Run::Read(sinter),
    ..READ
};

fn sinter(ctx: &ReadCtx<'_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let sets = open_all(ctx, args.rest())?;
    let (header, mut found) = (reply.deferred_array(), 0);
    algebra::intersection(&sets, |member| {
        member.reply(reply);
        found += 1;
        true
    });
    reply.finish_set(header, found);
    Ok(())
}

pub(super) const SINTERSTORE: Command = Command {
    name: "SINTERSTORE",
    summary: "Store the members that several sets have in common.",
    keys: &[destination(Access::ReadWrite), Keys::range(2, -1, 1)],
    cost: INTERSECTION_COST,
    example: "SADD a x y -> (integer) 2\nSADD b y z -> (integer) 2\nSINTERSTORE c a b -> (integer) 1",
    work: Some(stored_intersection_work),
    run: Run::Store(Store { compute: compute_intersection, install: install_intersection }),
    ..STORE
};

fn compute_intersection(ctx: &ReadCtx<'_>, mut args: Args<'_>) -> Result<Computed, Fault> {
    args.key()?;
    let sets = open_all(ctx, args.rest())?;
    let (limits, mut digits) = (limits(ctx.config()), Digits::new());
    let mut common = Set::new();
    algebra::intersection(&sets, |member| {
        common.add(member.bytes(&mut digits), limits);
        true
    });
    Ok(value(common))
}

fn install_intersection(
    ctx: &mut WriteCtx<'_, '_>,
    args: Args<'_>,
    computed: Computed,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    install(ctx, args, computed, event("sinterstore"), reply)
}

pub(super) const SINTERCARD: Command = Command {
    name: "SINTERCARD",
    usage: "numkeys key [key ...] [LIMIT limit]",
    summary: "Count the members that several sets have in common, up to a limit.",
    keys: &[Keys::count(1)],
    cost: INTERSECTION_COST,
    since: "7.0.0",
    example: "SADD a x y -> (integer) 2\nSADD b y z -> (integer) 2\nSINTERCARD 2 a b -> (integer) 1",
    traits: &[Trait::MovableKeys],
    work: Some(counted_intersection_work),
    run: Run::Read(sintercard),
    ..Command::SET
};

fn sintercard(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let count = args.int_in(1..=i64::MAX, Fault::row("ERR", "numkeys should be greater than 0"))? as u64;
    if count > args.len() as u64 {
        return Err(Fault::row("ERR", "Number of keys can't be greater than number of args"));
    }
    let keys = args.rest().take(count as usize);
    for _ in 0..count {
        args.key()?;
    }
    let mut limit = 0;
    while !args.is_empty() {
        if args.len() < 2 || !args.flag("LIMIT") {
            return Err(Fault::SYNTAX);
        }
        limit = args.int_in(0..=i64::MAX, Fault::row("ERR", "LIMIT can't be negative"))?;
    }
    let sets = open_all(ctx, keys)?;
    let mut found = 0;
    algebra::intersection(&sets, |_| {
        found += 1;
        found != limit
    });
    reply.integer(found);
    Ok(())
}

pub(super) const SUNION: Command = Command {
    name: "SUNION",
    summary: "Get the members of several sets together.",
    cost: SUM_COST,
    example: "SADD a x -> (integer) 1\nSADD b x -> (integer) 1\nSUNION a b -> 1) \"x\"",
    work: Some(sum_work),
    run: Run::Read(sunion),
    ..READ
};

fn sunion(ctx: &ReadCtx<'_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let sets = open_all(ctx, args.rest())?;
    match sets.as_slice() {
        [Some(only)] => reply_all(reply, *only),
        _ => reply_all(reply, algebra::union(&sets, limits(ctx.config())).view()),
    }
    Ok(())
}

pub(super) const SUNIONSTORE: Command = Command {
    name: "SUNIONSTORE",
    summary: "Store the members of several sets together.",
    keys: &[destination(Access::Overwrite), Keys::range(2, -1, 1)],
    cost: SUM_COST,
    example: "SADD a x y -> (integer) 2\nSADD b y z -> (integer) 2\nSUNIONSTORE c a b -> (integer) 3",
    work: Some(stored_sum_work),
    run: Run::Store(Store { compute: compute_union, install: install_union }),
    ..STORE
};

fn compute_union(ctx: &ReadCtx<'_>, mut args: Args<'_>) -> Result<Computed, Fault> {
    args.key()?;
    let sets = open_all(ctx, args.rest())?;
    Ok(value(algebra::union(&sets, limits(ctx.config()))))
}

fn install_union(
    ctx: &mut WriteCtx<'_, '_>,
    args: Args<'_>,
    computed: Computed,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    install(ctx, args, computed, event("sunionstore"), reply)
}

pub(super) const SDIFF: Command = Command {
    name: "SDIFF",
    summary: "Get the members of a set that others do not have.",
    cost: SUM_COST,
    example: "SADD a x y -> (integer) 2\nSADD b y z -> (integer) 2\nSDIFF a b -> 1) \"x\"",
    work: Some(sum_work),
    run: Run::Read(sdiff),
    ..READ
};

fn sdiff(ctx: &ReadCtx<'_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let sets = open_all(ctx, args.rest())?;
    let (header, mut found) = (reply.deferred_array(), 0);
    algebra::difference(&sets, |member| {
        member.reply(reply);
        found += 1;
    });
    reply.finish_set(header, found);
    Ok(())
}

pub(super) const SDIFFSTORE: Command = Command {
    name: "SDIFFSTORE",
    summary: "Store the members of a set that others do not have.",
    keys: &[destination(Access::Overwrite), Keys::range(2, -1, 1)],
    cost: SUM_COST,
    example: "SADD a x y -> (integer) 2\nSADD b y z -> (integer) 2\nSDIFFSTORE c a b -> (integer) 1",
    work: Some(stored_sum_work),
    run: Run::Store(Store { compute: compute_difference, install: install_difference }),
    ..STORE
};

fn compute_difference(ctx: &ReadCtx<'_>, mut args: Args<'_>) -> Result<Computed, Fault> {
    args.key()?;
    let sets = open_all(ctx, args.rest())?;
    let (limits, mut digits) = (limits(ctx.config()), Digits::new());
    let mut rest = Set::new();
    algebra::difference(&sets, |member| {
        rest.add(member.bytes(&mut digits), limits);
    });
    Ok(value(rest))
}

fn install_difference(
    ctx: &mut WriteCtx<'_, '_>,
    args: Args<'_>,
    computed: Computed,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    install(ctx, args, computed, event("sdiffstore"), reply)
}

/// The sets under `keys`, `None` for those that are not there. All are looked at, whatever the first ones say: a value
/// of another type is an error even where it would not matter.
fn open_all<'k, 'c>(
    ctx: &'c ReadCtx<'_>,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<Vec<Option<SetRef<'c>>>, Fault> {
    keys.map(|key| ctx.collection::<Set>(key)).collect()
}

/// A set as a value; an empty one is none.
fn value(set: Set) -> Computed {
    (!set.is_empty()).then(|| set.into_body())
}

/// Puts what was computed in the place of whatever the destination holds; nothing if it is nothing.
fn install(
    ctx: &mut WriteCtx<'_, '_>,
    mut args: Args<'_>,
    computed: Computed,
    event: Event,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    let destination = args.key()?;
    let Some(body) = computed else {
        ctx.delete(destination, Event::DEL);
        reply.integer(0);
        return Ok(());
    };
    let count = body.elements();
    ctx.set_body(destination, body, Expiry::Never, event);
    reply.integer(count as i64);
    Ok(())
}

/// The smallest set's length for each of the sets.
fn intersection_work(ctx: &ReadCtx<'_>, args: Args<'_>) -> u64 {
    let keys = args.rest();
    keys.clone().map(|key| ctx.elements(key)).min().unwrap_or(0) * keys.len() as u64
}

fn stored_intersection_work(ctx: &ReadCtx<'_>, mut args: Args<'_>) -> u64 {
    args.key().map_or(0, |_| intersection_work(ctx, args))
}

fn counted_intersection_work(ctx: &ReadCtx<'_>, args: Args<'_>) -> u64 {
    let count =
        args.peek().and_then(decimal::parse_canonical_i64).and_then(|count| usize::try_from(count).ok());
    // A number that makes no sense is an error, which is no work.
    let Some(count) = count.filter(|count| *count < args.len()) else { return 0 };
    let keys = args.rest().skip(1).take(count);
    keys.map(|key| ctx.elements(key)).min().unwrap_or(0) * count as u64
}

/// All lengths together.
fn sum_work(ctx: &ReadCtx<'_>, args: Args<'_>) -> u64 {
    args.rest().map(|key| ctx.elements(key)).sum()
}

fn stored_sum_work(ctx: &ReadCtx<'_>, mut args: Args<'_>) -> u64 {
    args.key().map_or(0, |_| sum_work(ctx, args))
}
