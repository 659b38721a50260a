//! The hash commands.

use super::members::{self, ScanOptions};
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Memory, Run};
use crate::config::Config;
use crate::effects::{Class, Event};
use crate::fault::{Fault, Outcome};
use crate::keyspace::{ReadCtx, WriteCtx};
use crate::types::Hash;
use crate::types::hash::Limits;
use crate::types::string::StringRef;
use larder_resp::{LongDouble, Proto, ReplyWriter};
use std::sync::atomic::Ordering;

pub(crate) const FAMILY: &[Command] = &[
    HSET,
    HSETNX,
    HMSET,
    HGET,
    HMGET,
    HGETALL,
    HKEYS,
    HVALS,
    HLEN,
    HSTRLEN,
    HEXISTS,
    HDEL,
    HINCRBY,
    HINCRBYFLOAT,
    HRANDFIELD,
    HSCAN,
];

/// Fields that HRANDFIELD may be asked for with their values, half of what a reply can count.
const PAIRS_MAX: u64 = i64::MAX as u64 / 2;

const fn event(name: &'static str) -> Event {
    Event::new(Class::Hash, name)
}

pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        entries: config.hash_max_listpack_entries.load(Ordering::Relaxed),
        value: config.hash_max_listpack_value.load(Ordering::Relaxed),
    }
}

const HSET: Command = Command {
    name: "HSET",
    usage: "key field value [field value ...]",
    summary: "Set fields of a hash, and count the new ones.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["UPDATE"])],
    cost: Cost::Fast("O(N), N being the number of fields given"),
    memory: Memory::Grows,
    since: "2.0.0",
    example: "HSET user name ada born 1815 -> (integer) 2\nHSET user name grace -> (integer) 0",
    run: Run::Write(hset),
    ..Command::HASH
};

fn hset(ctx: &mut WriteCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let added = set_pairs(ctx, args, "hset")?;
    reply.integer(added);
    Ok(())
}

const HMSET: Command = Command {
    name: "HMSET",
    usage: "key field value [field value ...]",
    summary: "Set fields of a hash; HSET does the same and says more.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["UPDATE"])],
    cost: Cost::Fast("O(N), N being the number of fields given"),
    memory: Memory::Grows,
    since: "2.0.0",
    example: "HMSET user name ada born 1815 -> OK\nHGET user born -> \"1815\"",
    run: Run::Write(hmset),
    ..Command::HASH
};

fn hmset(ctx: &mut WriteCtx<'_, '_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    set_pairs(ctx, args, "hmset")?;
    reply.ok();
    Ok(())
}

/// Sets the pairs that follow the key, and returns how many fields are new.
fn set_pairs(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, name: &str) -> Result<i64, Fault> {
    let key = args.key()?;
    if !args.len().is_multiple_of(2) {
        return Err(Fault::arity(name));
    }
    let limits = limits(ctx.config());
    let mut hash = ctx.open_or(key, event("hset"), Hash::new)?;
    let mut added = 0;
    hash.changed(args.len() as u64 / 2);
    while !args.is_empty() {
        let (field, value) = (args.bytes()?, args.bytes()?);
        added += i64::from(hash.set(field, value, limits));
    }
    Ok(added)
}

const HSETNX: Command = Command {
    name: "HSETNX",
    usage: "key field value",
    summary: "Set a field of a hash unless it is there already.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["INSERT"])],
    cost: Cost::Fast("O(1)"),
    memory: Memory::Grows,
    since: "2.0.0",
    example: "HSETNX user name ada -> (integer) 1\nHSETNX user name grace -> (integer) 0",
    run: Run::Write(hsetnx),
    ..Command::HASH
};

fn hsetnx(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, field, value) = (args.key()?, args.bytes()?, args.bytes()?);
    let limits = limits(ctx.config());
    let mut hash = ctx.open_or(key, event("hset"), Hash::new)?;
    let is_new = !hash.view().contains(field);
    if is_new {
        hash.set(field, value, limits);
        hash.changed(1);
    }
    reply.integer(i64::from(is_new));
    Ok(())
}

const HGET: Command = Command {
    name: "HGET",
    usage: "key field",
    summary: "Get the value of a field of a hash.",
    keys: &[Keys::at(1)],
    cost: Cost::Fast("O(1)"),
    since: "2.0.0",
    example: "HSET user name ada -> (integer) 1\nHGET user name -> \"ada\"\nHGET user mail -> (nil)",
    run: Run::Read(hget),
    ..Command::HASH
};

fn hget(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let hash = ctx.collection::<Hash>(args.key()?)?;
    let field = args.bytes()?;
    reply_value(reply, hash.and_then(|hash| hash.get(field)));
    Ok(())
}

fn reply_value(reply: &mut ReplyWriter<'_>, value: Option<StringRef<'_>>) {
    match value {
        Some(value) => value.reply(reply),
        None => reply.null(),
    }
}

const HMGET: Command = Command {
    name: "HMGET",
    usage: "key field [field ...]",
    summary: "Get the values of several fields of a hash.",
    keys: &[Keys::at(1)],
    cost: Cost::Fast("O(N), N being the number of fields given"),
    since: "2.0.0",
    example: "HSET user name ada -> (integer) 1\nHMGET user name mail -> 1) \"ada\" 2) (nil)",
    run: Run::Read(hmget),
    ..Command::HASH
};

fn hmget(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let hash = ctx.collection::<Hash>(args.key()?)?;
    reply.array(args.len());
    args.rest().for_each(|field| reply_value(reply, hash.and_then(|hash| hash.get(field))));
    Ok(())
}

const HGETALL: Command = Command {
    name: "HGETALL",
    usage: "key",
    summary: "Get all fields of a hash with their values.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow("O(N), N being the number of fields in the hash"),
    since: "2.0.0",
    example: "HSET user name ada -> (integer) 1\nHGETALL user -> 1) \"name\" 2) \"ada\"",
    tips: &["nondeterministic_output_order"],
    work: Some(members::whole_work),
    run: Run::Read(hgetall),
    ..Command::HASH
};

fn hgetall(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let Some(hash) = ctx.collection::<Hash>(args.key()?)? else {
        reply.map(0);
        return Ok(());
    };
    reply.map(hash.len());
    hash.iter().for_each(|(field, value)| {
        field.reply(reply);
        value.reply(reply);
    });
    Ok(())
}

const HKEYS: Command = Command {
    name: "HKEYS",
    usage: "key",
    summary: "Get all fields of a hash.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow("O(N), N being the number of fields in the hash"),
    since: "2.0.0",
    example: "HSET user name ada -> (integer) 1\nHKEYS user -> 1) \"name\"",
    tips: &["nondeterministic_output_order"],
    work: Some(members::whole_work),
    run: Run::Read(hkeys),
    ..Command::HASH
};

fn hkeys(ctx: &ReadCtx<'_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply_halves(ctx, args, reply, |(field, _)| field)
}

const HVALS: Command = Command {
    name: "HVALS",
    usage: "key",
    summary: "Get all values of a hash.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow("O(N), N being the number of fields in the hash"),
    since: "2.0.0",
    example: "HSET user name ada -> (integer) 1\nHVALS user -> 1) \"ada\"",
    tips: &["nondeterministic_output_order"],
    work: Some(members::whole_work),
    run: Run::Read(hvals),
    ..Command::HASH
};

fn hvals(ctx: &ReadCtx<'_>, args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    reply_halves(ctx, args, reply, |(_, value)| value)
}

/// Replies with one half of every pair.
fn reply_halves(
    ctx: &ReadCtx<'_>,
    mut args: Args<'_>,
    reply: &mut ReplyWriter<'_>,
    half: for<'a> fn((StringRef<'a>, StringRef<'a>)) -> StringRef<'a>,
) -> Outcome {
    let Some(hash) = ctx.collection::<Hash>(args.key()?)? else {
        reply.array(0);
        return Ok(());
    };
    reply.array(hash.len());
    hash.iter().for_each(|pair| half(pair).reply(reply));
    Ok(())
}

const HLEN: Command = Command {
    name: "HLEN",
    usage: "key",
    summary: "Count the fields of a hash.",
    keys: &[Keys::at(1).does(Access::ReadOnly, &[])],
    cost: Cost::Fast("O(1)"),
    since: "2.0.0",
    example: "HSET user name ada born 1815 -> (integer) 2\nHLEN user -> (integer) 2",
    run: Run::Read(hlen),
    ..Command::HASH
};

fn hlen(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let hash = ctx.collection::<Hash>(args.key()?)?;
    reply.integer(hash.map_or(0, |hash| hash.len() as i64));
    Ok(())
}

const HSTRLEN: Command = Command {
    name: "HSTRLEN",
    usage: "key field",
    summary: "Count the bytes of a field's value.",
    keys: &[Keys::at(1).does(Access::ReadOnly, &[])],
    cost: Cost::Fast("O(1)"),
    since: "3.2.0",
    example: "HSET user name ada -> (integer) 1\nHSTRLEN user name -> (integer) 3",
    run: Run::Read(hstrlen),
    ..Command::HASH
};

fn hstrlen(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let hash = ctx.collection::<Hash>(args.key()?)?;
    let field = args.bytes()?;
    reply.integer(hash.and_then(|hash| hash.get(field)).map_or(0, |value| value.len() as i64));
    Ok(())
}

const HEXISTS: Command = Command {
    name: "HEXISTS",
    usage: "key field",
    summary: "Say whether a hash has a field.",
    keys: &[Keys::at(1).does(Access::ReadOnly, &[])],
    cost: Cost::Fast("O(1)"),
    since: "2.0.0",
    example: "HSET user name ada -> (integer) 1\nHEXISTS user name -> (integer) 1\nHEXISTS user mail -> (integer) 0",
    run: Run::Read(hexists),
    ..Command::HASH
};

fn hexists(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let hash = ctx.collection::<Hash>(args.key()?)?;
    let field = args.bytes()?;
    reply.integer(i64::from(hash.is_some_and(|hash| hash.contains(field))));
    Ok(())
}

const HDEL: Command = Command {
    name: "HDEL",
    usage: "key field [field ...]",
    summary: "Remove fields of a hash, and the hash with the last of them.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["DELETE"])],
    cost: Cost::Fast("O(N), N being the number of fields given"),
    since: "2.0.0",
    example: "HSET user name ada -> (integer) 1\nHDEL user name mail -> (integer) 1\nEXISTS user -> (integer) 0",
    run: Run::Write(hdel),
    ..Command::HASH
};

fn hdel(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let mut removed = 0;
    if let Some(mut hash) = ctx.open::<Hash>(args.key()?, event("hdel"))? {
        removed = args.rest().filter(|field| hash.remove(field)).count();
        hash.changed(removed as u64);
    }
    reply.integer(removed as i64);
    Ok(())
}

const HINCRBY: Command = Command {
    name: "HINCRBY",
    usage: "key field increment",
    summary: "Add to the integer in a field of a hash; one that is absent counts as 0.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["ACCESS", "UPDATE"])],
    cost: Cost::Fast("O(1)"),
    memory: Memory::Grows,
    since: "2.0.0",
    example: "HINCRBY user visits 5 -> (integer) 5\nHINCRBY user visits -2 -> (integer) 3",
    run: Run::Write(hincrby),
    ..Command::HASH
};

fn hincrby(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, field) = (args.key()?, args.bytes()?);
    let increment = args.int()?;
    let limits = limits(ctx.config());
    let mut hash = ctx.open_or(key, event("hincrby"), Hash::new)?;
    let before = match hash.view().get(field) {
        Some(value) => value.integer().ok_or(Fault::row("ERR", "hash value is not an integer"))?,
        None => 0,
    };
    let after = before.checked_add(increment).ok_or(Fault::INCREMENT_OVERFLOW)?;
    hash.set(field, itoa::Buffer::new().format(after).as_bytes(), limits);
    hash.changed(1);
    reply.integer(after);
    Ok(())
}

const HINCRBYFLOAT: Command = Command {
    name: "HINCRBYFLOAT",
    usage: "key field increment",
    summary: "Add to the number in a field of a hash; one that is absent counts as 0.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["ACCESS", "UPDATE"])],
    cost: Cost::Fast("O(1)"),
    memory: Memory::Grows,
    since: "2.6.0",
    example: "HINCRBYFLOAT cup litres 0.1 -> \"0.1\"\nHINCRBYFLOAT cup litres 0.2 -> \"0.3\"",
    run: Run::Write(hincrbyfloat),
    ..Command::HASH
};

fn hincrbyfloat(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (key, field) = (args.key()?, args.bytes()?);
    let increment = LongDouble::parse(args.bytes()?).ok_or(Fault::NOT_FLOAT)?;
    if increment.is_infinite() {
        return Err(Fault::row("ERR", "value is NaN or Infinity"));
    }
    let limits = limits(ctx.config());
    let mut hash = ctx.open_or(key, event("hincrbyfloat"), Hash::new)?;
    let before = match hash.view().get(field) {
        Some(StringRef::Integer(number)) => LongDouble::from(number),
        Some(StringRef::Bytes(text)) => {
            LongDouble::parse(text).ok_or(Fault::row("ERR", "hash value is not a float"))?
        }
        None => LongDouble::from(0),
    };
    let after = before + increment;
    if after.is_nan() || after.is_infinite() {
        return Err(Fault::INCREMENT_NAN);
    }
    let text = after.to_human();
    hash.set(field, text.as_bytes(), limits);
    hash.changed(1);
    drop(hash);
    // Another machine may round otherwise, so the log has the result.
    ctx.log_instead(&[b"HSET", key, field, text.as_bytes()]);
    reply.bulk(text.as_bytes());
    Ok(())
}

const HRANDFIELD: Command = Command {
    name: "HRANDFIELD",
    usage: "key [count [WITHVALUES]]",
    summary: "Get random fields of a hash: different ones, or with repetitions if the count is negative.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow("O(N), N being the number of fields returned"),
    since: "6.2.0",
    example: "HSET user name ada -> (integer) 1\nHRANDFIELD user -> \"name\"\n\
              HRANDFIELD user -2 -> 1) \"name\" 2) \"name\"",
    tips: &["nondeterministic_output"],
    work: Some(members::random_work),
    run: Run::Read(hrandfield),
    ..Command::HASH
};

fn hrandfield(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let random = &mut || ctx.random();
    if args.is_empty() {
        let hash = ctx.collection::<Hash>(key)?;
        reply_value(reply, hash.and_then(|hash| hash.random(random)).map(|(field, _)| field));
        return Ok(());
    }
    let count = members::random_count(&mut args)?;
    let with_values = args.flag("WITHVALUES");
    args.finish()?;
    if with_values && count.unsigned_abs() > PAIRS_MAX {
        return Err(Fault::OUT_OF_RANGE);
    }
    let Some(hash) = ctx.collection::<Hash>(key)? else {
        reply.array(0);
        return Ok(());
    };
    let wanted = if count < 0 { count.unsigned_abs() as usize } else { hash.len().min(count as usize) };
    let is_nested = with_values && reply.proto() == Proto::Resp3;
    reply.array(if with_values && !is_nested { wanted * 2 } else { wanted });
    let mut show = |field: StringRef<'_>, value: StringRef<'_>| {
        if is_nested {
            reply.array(2);
        }
        field.reply(reply);
        if with_values {
            value.reply(reply);
        }
        members::check_size(reply)
    };
    if count >= 0 {
        hash.random_distinct(wanted, random, |field, value| {
            // What a hash holds once is no reason to give up.
            let _fits = show(field, value);
        });
        return Ok(());
    }
    let mut left = wanted;
    let mut outcome = Ok(());
    hash.random_repeated(random, |field, value| {
        outcome = show(field, value);
        left -= 1;
        left > 0 && outcome.is_ok()
    });
    outcome
}

const HSCAN: Command = Command {
    name: "HSCAN",
    usage: "key cursor [MATCH pattern] [COUNT count]",
    summary: "Go through the fields of a hash step by step.",
    keys: &[Keys::at(1)],
    cost: Cost::Slow("O(1) a step, O(N) for the whole walk"),
    since: "2.8.0",
    example: "HSET user name ada -> (integer) 1\nHSCAN user 0 -> 1) \"0\" 2) 1) \"name\" 2) \"ada\"",
    tips: &["nondeterministic_output"],
    work: Some(members::scan_work),
    run: Run::Read(hscan),
    ..Command::HASH
};

fn hscan(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let cursor = members::cursor(&mut args)?;
    let Some(hash) = ctx.collection::<Hash>(key)? else {
        members::reply_scan_nothing(reply);
        return Ok(());
    };
    let options = ScanOptions::take(&mut args)?;
    let mut found = Vec::new();
    let next = hash.scan(cursor, options.count, |field, value| {
        if options.wants(field) {
            found.extend([field, value]);
        }
    });
    members::reply_scan(reply, next, &found);
    Ok(())
}
