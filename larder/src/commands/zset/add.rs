//! ZADD and ZINCRBY.

use super::{event, limits};
use crate::args::Args;
use crate::command::{Access, Command, Cost, Keys, Memory, Run};
use crate::fault::{Fault, Outcome};
use crate::keyspace::WriteCtx;
use crate::types::Zset;
use larder_resp::{ReplyWriter, parse_double};

const NX_WITH_XX: Fault = Fault::row("ERR", "XX and NX options at the same time are not compatible");
const GT_LT_NX: Fault = Fault::row("ERR", "GT, LT, and/or NX options at the same time are not compatible");
const SINGLE_INCREMENT: Fault = Fault::row("ERR", "INCR option supports a single increment-element pair");
const NOT_A_NUMBER: Fault = Fault::row("ERR", "resulting score is not a number (NaN)");

pub(super) const ZADD: Command = Command {
    name: "ZADD",
    usage: "key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]",
    summary: "Add members with their scores, or give members other scores.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["UPDATE"])],
    cost: Cost::Fast("O(log(N)) for each member added, where N is the number of members in the sorted set."),
    memory: Memory::Grows,
    since: "1.2.0",
    example: "ZADD board 1 one 2 two -> (integer) 2\nZADD board CH 3 one -> (integer) 1\n\
              ZRANGE board 0 -1 WITHSCORES -> 1) \"two\" 2) \"2\" 3) \"one\" 4) \"3\"",
    run: Run::Write(zadd),
    ..Command::ZSET
};

/// Which members ZADD may touch, and how.
#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    only_new: bool,
    only_present: bool,
    only_greater: bool,
    only_less: bool,
    adds_up: bool,
}

/// What became of a member.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Added,
    Updated,
    /// It has that score already.
    Same,
    /// The rules forbid it.
    Refused,
    NotANumber,
}

impl Rules {
    /// What is to become of a member with the score `old`, and its new score.
    fn apply(&self, old: Option<f64>, given: f64) -> (Verdict, f64) {
        let Some(old) = old else {
            return if self.only_present { (Verdict::Refused, given) } else { (Verdict::Added, given) };
        };
        if self.only_new {
            return (Verdict::Refused, old);
        }
        let score = if self.adds_up { old + given } else { given };
        if score.is_nan() {
            return (Verdict::NotANumber, old);
        }
        if (self.only_less && score >= old) || (self.only_greater && score <= old) {
            return (Verdict::Refused, old);
        }
        (if score == old { Verdict::Same } else { Verdict::Updated }, score)
    }
}

fn zadd(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    let mut rules = Rules::default();
    let mut counts_updates = false;
    loop {
        if args.flag("NX") {
            rules.only_new = true;
        } else if args.flag("XX") {
            rules.only_present = true;
        } else if args.flag("CH") {
            counts_updates = true;
        } else if args.flag("INCR") {
            rules.adds_up = true;
        } else if args.flag("GT") {
            rules.only_greater = true;
        } else if args.flag("LT") {
            rules.only_less = true;
        } else {
            break;
        }
    }
    if args.is_empty() || !args.len().is_multiple_of(2) {
        return Err(Fault::SYNTAX);
    }
    if rules.only_new && rules.only_present {
        return Err(NX_WITH_XX);
    }
    if u8::from(rules.only_new) + u8::from(rules.only_greater) + u8::from(rules.only_less) > 1 {
        return Err(GT_LT_NX);
    }
    if rules.adds_up && args.len() > 2 {
        return Err(SINGLE_INCREMENT);
    }
    if rules.adds_up {
        let (given, member) = (args.float()?, args.bytes()?);
        return increment(ctx, key, member, given, rules, reply);
    }
    add(ctx, key, args, rules, counts_updates, reply)
}

/// Adds all pairs of `args`, or none if one of them is wrong.
fn add(
    ctx: &mut WriteCtx<'_, '_>,
    key: &[u8],
    mut args: Args<'_>,
    rules: Rules,
    counts_updates: bool,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    let first = args.float()?;
    let others = args.rest().skip(1).step_by(2).map(|score| parse_double(score).ok_or(Fault::NOT_FLOAT));
    let others: Vec<f64> = others.collect::<Result<_, _>>()?;
    if rules.only_present && ctx.collection::<Zset>(key)?.is_none() {
        reply.integer(0);
        return Ok(());
    }
    let limits = limits(ctx.config());
    let mut zset = ctx.open_or(key, event("zadd"), Zset::new)?;
    let (mut added, mut updated) = (0, 0);
    for (given, member) in std::iter::once(first).chain(others).zip(args.rest().step_by(2)) {
        zset.update(member, limits, |old| {
            let (verdict, score) = rules.apply(old, given);
            added += u64::from(verdict == Verdict::Added);
            updated += u64::from(verdict == Verdict::Updated);
            matches!(verdict, Verdict::Added | Verdict::Updated).then_some(score)
        });
    }
    zset.changed(added + updated);
    reply.integer(if counts_updates { added + updated } else { added } as i64);
    Ok(())
}

/// Adds to the score of one member, and replies with the sum or with nothing if the rules forbid it.
fn increment(
    ctx: &mut WriteCtx<'_, '_>,
    key: &[u8],
    member: &[u8],
    given: f64,
    rules: Rules,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    if rules.only_present && ctx.collection::<Zset>(key)?.is_none() {
        reply.null();
        return Ok(());
    }
    let limits = limits(ctx.config());
    let mut zset = ctx.open_or(key, event("zincr"), Zset::new)?;
    let (mut verdict, mut score) = (Verdict::Refused, 0.0);
    zset.update(member, limits, |old| {
        (verdict, score) = rules.apply(old, given);
        matches!(verdict, Verdict::Added | Verdict::Updated).then_some(score)
    });
    match verdict {
        Verdict::NotANumber => return Err(NOT_A_NUMBER),
        Verdict::Refused => reply.null(),
        Verdict::Added | Verdict::Updated => {
            zset.changed(1);
            reply.double(score);
        }
        Verdict::Same => reply.double(score),
    }
    Ok(())
}

pub(super) const ZINCRBY: Command = Command {
    name: "ZINCRBY",
    usage: "key increment member",
    summary: "Add to the score of a member, which is added with this score if absent.",
    keys: &[Keys::at(1).does(Access::ReadWrite, &["ACCESS", "UPDATE"])],
    cost: Cost::Fast("O(log(N)) where N is the number of members in the sorted set."),
    memory: Memory::Grows,
    since: "1.2.0",
    example: "ZADD board 1 one -> (integer) 1\nZINCRBY board 2.5 one -> \"3.5\"",
    run: Run::Write(zincrby),
    ..Command::ZSET
};

/// The options of ZADD.
const OPTIONS: &[&str] = &["NX", "XX", "GT", "LT", "CH", "INCR"];

fn zincrby(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let key = args.key()?;
    // It is ZADD with INCR in disguise: a word that is an option there is not taken for a number.
    let is_option = |word: &[u8]| OPTIONS.iter().any(|option| word.eq_ignore_ascii_case(option.as_bytes()));
    if args.peek().is_some_and(is_option) {
        return Err(Fault::SYNTAX);
    }
    let (given, member) = (args.float()?, args.bytes()?);
    increment(ctx, key, member, given, Rules { adds_up: true, ..Rules::default() }, reply)
}
