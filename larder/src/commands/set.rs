//! The set commands.

mod algebra;

use super::members::{self, ScanOptions};
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Memory, Run};
use crate::config::Config;
use crate::effects::{Class, Event};
use crate::fault::{Fault, Outcome};
use crate::keyspace::{ReadCtx, WriteCtx};
use crate::types::set::Limits;
use crate::types::{Set, SetRef};
use larder_resp::ReplyWriter;
use std::sync::atomic::Ordering;

pub(crate) const FAMILY: &[Command] = &[
    SADD,
    SREM,
    SISMEMBER,
    SMISMEMBER,
    SCARD,
    SMEMBERS,
    SPOP,
    SRANDMEMBER,
    SMOVE,
    algebra::SINTER,
    algebra::SINTERSTORE,
    algebra::SINTERCARD,
    algebra::SUNION,
    algebra::SUNIONSTORE,
    algebra::SDIFF,
    algebra::SDIFFSTORE,
    SSCAN,
];

const fn event(name: &'static str) -> Event {
    Event::new(Class::Set, name)
}

fn limits(config: &Config) -> Limits {
    Limits { intset_entries: config.set_max_intset_entries.load(Ordering::Relaxed) }
}

const SADD: Command = Command {
    name: "SADD",
    usage: "key member [member ...]",
    summary: "Add members to a set, and count the new ones.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["INSERT"])],
    cost: Cost::Fast("O(N), N being the number of members given"),
    memory: Memory::Grows,
    example: "SADD colours red green -> (integer) 2\nSADD colours red blue -> (integer) 1",
    run: Run::Write(sadd),
    ..Command::SET
};

fn sadd(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let limits = limits(ctx.config());
    let mut set = ctx.open_or(key, event("sadd"), Set::new)?;
    let added = args.rest().filter(|member| set.add(member, limits)).count();
    set.changed(added as u64);
    reply.integer(added as i64);
    Ok(())
}

const SREM: Command = Command {
    name: "SREM",
    usage: "key member [member ...]",
    summary: "Remove members of a set, and the set with the last of them.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["DELETE"])],
    cost: Cost::Fast("O(N), N being the number of members given"),
    example: "SADD colours red green -> (integer) 2\nSREM colours red blue -> (integer) 1",
    run: Run::Write(srem),
    ..Command::SET
};

fn srem(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let mut removed = 0;
    if let Some(mut set) = ctx.open::<Set>(args.key()?, event("srem"))? {
        removed = args.rest().filter(|member| set.remove(member)).count();
        set.changed(removed as u64);
    }
    reply.integer(removed as i64);
    Ok(())
}

const SISMEMBER: Command = Command {
    name: "SISMEMBER",
    usage: "key member",
    summary: "Say whether something is a member of a set.",
    keys: &[Keys::at(1).does(Access::ReadOnly, &[])],
    cost: Cost::Fast("O(1)"),
    example: "SADD colours red -> (integer) 1\nSISMEMBER colours red -> (integer) 1",
    run: Run::Read(sismember),
    ..Command::SET
};

fn sismember(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let set = ctx.collection::<Set>(args.key()?)?;
    let member = args.bytes()?;
    reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    Ok(())
}

const SMISMEMBER: Command = Command {
    name: "SMISMEMBER",
    usage: "key member [member ...]",
    summary: "Say of several things whether they are members of a set.",
    keys: &[Keys::at(1)],
    cost: Cost::Fast("O(N), N being the number of members given"),
    since: "6.2.0",
    example: "SADD colours red -> (integer) 1\nSMISMEMBER colours red blue -> 1) (integer) 1 2) (integer) 0",
    run: Run::Read(smismember),
    ..Command::SET
};

fn smismember(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let set = ctx.collection::<Set>(args.key()?)?;
    reply.array(args.len());
    args.rest().for_each(|member| reply.integer(i64::from(set.is_some_and(|set| set.contains(member)))));
    Ok(())
}

const SCARD: Command = Command {
    name: "SCARD",
    usage: "key",
    summary: "Count the members of a set.",
    keys: &[Keys::at(1).does(Access::ReadOnly, &[])],
    cost: Cost::Fast("O(1)"),
    example: "SADD colours red green -> (integer) 2\nSCARD colours -> (integer) 2",
    run: Run::Read(scard),
    ..Command::SET
};

fn scard(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let set = ctx.collection::<Set>(args.key()?)?;
    reply.integer(set.map_or(0, |set| set.len() as i64));
    Ok(())
}

const SMEMBERS: Command = Command {
    name: "SMEMBERS",
    usage: "key",
    summary: "Get all members of a set.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow("O(N), N being the number of members in the set"),
    example: "SADD colours red -> (integer) 1\nSMEMBERS colours -> 1) \"red\"",
    tips: &["nondeterministic_output_order"],
    work: Some(members::whole_work),
    run: Run::Read(smembers),
    ..Command::SET
};

fn smembers(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    match ctx.collection::<Set>(args.key()?)? {
        Some(set) => reply_all(reply, set),
        None => reply.set(0),
    }
    Ok(())
}

fn reply_all(reply: &mut ReplyWriter<'_>, set: SetRef<'_>) {
    reply.set(set.len());
    set.iter().for_each(|member| member.reply(reply));
}

const SPOP: Command = Command {
    name: "SPOP",
    usage: "key [count]",
    summary: "Take random members out of a set.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["ACCESS", "DELETE"])],
    cost: Cost::Fast("O(N), N being the number of members returned"),
    example: "SADD colours red -> (integer) 1\nSPOP colours -> \"red\"\nSPOP colours -> (nil)",
    tips: &["nondeterministic_output"],
    run: Run::Write(spop),
    ..Command::SET
};

fn spop(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    if !args.is_empty() {
        if args.len() > 1 {
            return Err(Fault::SYNTAX);
        }
        let count = args.int_in(0..=i64::MAX, Fault::NEGATIVE)?;
        return pop_many(ctx, key, count as usize, reply);
    }
    let engine = ctx.engine;
    let popped = match ctx.open::<Set>(key, event("spop"))? {
        Some(mut set) => {
            let popped = set.pop(&mut || engine.random());
            set.changed(u64::from(popped.is_some()));
            popped
        }
        None => None,
    };
    match popped {
        Some(member) => {
            ctx.log_instead(&[b"SREM", key, &member]);
            reply.bulk(&member);
        }
        None => reply.null(),
    }
    Ok(())
}

/// SPOP with a count.
fn pop_many(ctx: &mut WriteCtx<'_, '_>, key: &[u8], count: usize, reply: &mut ReplyWriter<'_>) -> Outcome {
    let engine = ctx.engine;
    let Some(mut set) = ctx.open::<Set>(key, event("spop"))? else {
        reply.set(0);
        return Ok(());
    };
    if count >= set.len() {
        // All of them: the set goes as a whole, to be freed where it holds nobody up. The deletion is one of the changes.
        reply_all(reply, set.view());
        let others = set.len() as u64 - 1;
        set.changed(others);
        drop(set);
        ctx.delete(key, Event::DEL);
        ctx.log_instead(&[b"DEL", key]);
        return Ok(());
    }
    let popped: Vec<Vec<u8>> = (0..count).map_while(|_| set.pop(&mut || engine.random())).collect();
    set.changed(popped.len() as u64);
    drop(set);
    reply.set(popped.len());
    popped.iter().for_each(|member| reply.bulk(member));
    if !popped.is_empty() {
        let mut log: Vec<&[u8]> = vec![b"SREM", key];
        log.extend(popped.iter().map(Vec::as_slice));
        ctx.log_instead(&log);
    }
    Ok(())
}

const SRANDMEMBER: Command = Command {
    name: "SRANDMEMBER",
    usage: "key [count]",
    summary: "Get random members of a set: different ones, or with repetitions if the count is negative.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow("O(N), N being the number of members returned"),
    example: "SADD colours red -> (integer) 1\nSRANDMEMBER colours -> \"red\"\n\
              SRANDMEMBER colours -2 -> 1) \"red\" 2) \"red\"",
    tips: &["nondeterministic_output"],
    work: Some(members::random_work),
    run: Run::Read(srandmember),
    ..Command::SET
};

fn srandmember(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let random = &mut || ctx.random();
    if args.is_empty() {
        match ctx.collection::<Set>(key)?.and_then(|set| set.random(random)) {
            Some(member) => member.reply(reply),
            None => reply.null(),
        }
        return Ok(());
    }
    if args.len() > 1 {
        return Err(Fault::SYNTAX);
    }
    let count = members::random_count(&mut args)?;
    let Some(set) = ctx.collection::<Set>(key)? else {
        reply.array(0);
        return Ok(());
    };
    if count >= 0 {
        let wanted = set.len().min(count as usize);
        reply.array(wanted);
        set.random_distinct(wanted, random, |member| member.reply(reply));
        return Ok(());
    }
    let mut left = count.unsigned_abs();
    reply.array(left as usize);
    let mut outcome = Ok(());
    set.random_repeated(random, |member| {
        member.reply(reply);
        outcome = members::check_size(reply);
        left -= 1;
        left > 0 && outcome.is_ok()
    });
    outcome
}

const SMOVE: Command = Command {
    name: "SMOVE",
    usage: "source destination member",
    summary: "Move a member from one set to another.",
    keys: &[
        Keys::at(1).does(Access::ReadWrite, &["ACCESS", "DELETE"]),
        Keys::at(2).does(Access::ReadWrite, &["INSERT"]),
    ],
    cost: Cost::Fast("O(1)"),
    example: "SADD todo wash -> (integer) 1\nSMOVE todo done wash -> (integer) 1\nSMEMBERS done -> 1) \"wash\"",
    run: Run::Write(smove),
    ..Command::SET
};

fn smove(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (source, destination, member) = (args.key()?, args.key()?, args.bytes()?);
    let limits = limits(ctx.config());
    let is_moved = move_member(ctx, source, destination, member, limits)?;
    reply.integer(i64::from(is_moved));
    Ok(())
}

fn move_member(
    ctx: &mut WriteCtx<'_, '_>,
    source: &[u8],
    destination: &[u8],
    member: &[u8],
    limits: Limits,
) -> Result<bool, Fault> {
    // Without a source, nobody asks what the destination is.
    let Some(set) = ctx.collection::<Set>(source)? else { return Ok(false) };
    let has_it = set.contains(member);
    ctx.collection::<Set>(destination)?;
    if source == destination || !has_it {
        return Ok(has_it);
    }
    if let Some(mut set) = ctx.open::<Set>(source, event("srem"))? {
        set.remove(member);
        set.changed(1);
    }
    let mut set = ctx.open_or(destination, event("sadd"), Set::new)?;
    let is_new = set.add(member, limits);
    set.changed(u64::from(is_new));
    Ok(true)
}

const SSCAN: Command = Command {
    name: "SSCAN",
    usage: "key cursor [MATCH pattern] [COUNT count]",
    summary: "Go through the members of a set step by step.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow("O(1) a step, O(N) for the whole walk"),
    since: "2.8.0",
    example: "SADD colours red -> (integer) 1\nSSCAN colours 0 -> 1) \"0\" 2) 1) \"red\"",
    tips: &["nondeterministic_output"],
    work: Some(members::scan_work),
    run: Run::Read(sscan),
    ..Command::SET
};

fn sscan(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let cursor = members::cursor(&mut args)?;
    let Some(set) = ctx.collection::<Set>(key)? else {
        members::reply_scan_nothing(reply);
        return Ok(());
    };
    let options = ScanOptions::take(&mut args)?;
    let mut found = Vec::new();
    let next = set.scan(cursor, options.count, |member| {
        if options.wants(member) {
            found.push(member);
        }
    });
    members::reply_scan(reply, next, &found);
    Ok(())
}
