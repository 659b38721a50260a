//! Unions, intersections and differences of sorted sets, and of sets, whose members all count with the score 1.
//!
//! The order of the sources decides what sums of floating-point scores come out, so it is the one of Redis: by number
//! of members, the fewest first, those of equal number as given. A sum that is no number (infinity minus infinity) is
//! zero.

use super::{limits, reply_items, store};
use crate::args::Args;
use crate::command::{Access, Command, Computed, Cost, Keys, Memory, Run, Store, Trait};
use crate::fault::{Fault, Outcome};
use crate::keyspace::{ReadCtx, View};
use crate::types::string::{Digits, StringRef};
use crate::types::zset::{Builder, Limits};
use crate::types::{BodyRef, Collection as _, MEMBER_UNITS, SetRef, ZsetRef};
use larder_resp::ReplyWriter;
use larder_structures::decimal;
use larder_structures::sys::breathe;

const NOT_A_WEIGHT: Fault = Fault::row("ERR", "weight value is not a float");
const NEGATIVE_LIMIT: Fault = Fault::row("ERR", "LIMIT can't be negative");

/// What is computed, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    /// The command's name, for errors.
    name: &'static str,
    op: Op,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Union,
    Inter,
    Diff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Reply,
    Count,
    Store,
}

/// How scores of a member in several sources become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn combine(self, so_far: f64, score: f64) -> f64 {
        match self {
            Aggregate::Sum => zero_if_nan(so_far + score),
            Aggregate::Min if score < so_far => score,
            Aggregate::Max if score > so_far => score,
            Aggregate::Min | Aggregate::Max => so_far,
        }
    }
}

fn zero_if_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A key to compute from.
#[derive(Clone, Copy)]
struct Source<'a> {
    members: Members<'a>,
    weight: f64,
}

#[derive(Clone, Copy)]
enum Members<'a> {
    None,
    Zset(ZsetRef<'a>),
    Set(SetRef<'a>),
}

impl<'a> Members<'a> {
    fn of(view: Option<View<'a>>) -> Result<Members<'a>, Fault> {
        match view {
            None => Ok(Members::None),
            Some(View::Body(BodyRef::Zset(zset))) => Ok(Members::Zset(zset)),
            Some(View::Body(BodyRef::Set(set))) => Ok(Members::Set(set)),
            Some(_) => Err(Fault::WRONG_TYPE),
        }
    }

    fn len(self) -> usize {
        match self {
            Members::None => 0,
            Members::Zset(zset) => zset.len(),
            Members::Set(set) => set.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Members::None => None,
            Members::Zset(zset) => zset.score(member),
            Members::Set(set) => set.contains(member).then_some(1.0),
        }
    }

    /// Visits members with their scores until `visit` returns false.
    fn for_each(self, mut visit: impl FnMut(StringRef<'a>, f64) -> bool) {
        let mut visit = |member, score| {
            breathe(MEMBER_UNITS);
            visit(member, score)
        };
        match self {
            Members::None => {}
            Members::Zset(zset) => {
                let _all = zset.iter().all(|item| visit(item.member, item.score));
            }
            Members::Set(set) => {
                let _all = set.iter().all(|member| visit(member, 1.0));
            }
        }
    }
}

/// A command as it was asked for.
struct Request<'a> {
    op: Op,
    sources: Vec<Source<'a>>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members to count at most; 0: all.
    limit: usize,
}

impl<'a> Request<'a> {
    /// Reads the arguments from the number of keys on, looking up the keys on the way.
    fn parse(ctx: &'a ReadCtx<'_>, args: &mut Args<'_>, plan: Plan) -> Result<Request<'a>, Fault> {
        let keys = args.int()?;
        if keys < 1 {
            let text = format!("at least 1 input key is needed for '{}' command", plan.name);
            return Err(Fault::err(text));
        }
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
        if keys > args.len() {
            return Err(Fault::SYNTAX);
        }
        let mut sources = Vec::with_capacity(keys);
        for _ in 0..keys {
            let found = ctx.find(args.key()?);
            sources.push(Source { members: Members::of(found.map(|found| found.view))?, weight: 1.0 });
        }
        let mut request =
            Request { op: plan.op, sources, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        request.parse_options(args, plan)?;
        if plan.op != Op::Diff {
            request.sources.sort_by_key(|source| source.members.len());
        }
        Ok(request)
    }

    fn parse_options(&mut self, args: &mut Args<'_>, plan: Plan) -> Result<(), Fault> {
        let has_scores = plan.op != Op::Diff && plan.purpose != Purpose::Count;
        while !args.is_empty() {
            if has_scores && args.len() > self.sources.len() && args.flag("WEIGHTS") {
                for source in &mut self.sources {
                    source.weight = args.float().map_err(|_| NOT_A_WEIGHT)?;
                }
            } else if has_scores && args.len() >= 2 && args.flag("AGGREGATE") {
                self.aggregate = if args.flag("SUM") {
                    Aggregate::Sum
                } else if args.flag("MIN") {
                    Aggregate::Min
                } else if args.flag("MAX") {
                    Aggregate::Max
                } else {
                    return Err(Fault::SYNTAX);
                };
            } else if plan.purpose == Purpose::Reply && args.flag("WITHSCORES") {
                self.with_scores = true;
            } else if plan.purpose == Purpose::Count && args.len() >= 2 && args.flag("LIMIT") {
                let limit = args.int_in(0..=i64::MAX, NEGATIVE_LIMIT)?;
                self.limit = usize::try_from(limit).unwrap_or(usize::MAX);
            } else {
                return Err(Fault::SYNTAX);
            }
        }
        Ok(())
    }

    fn compute(&self) -> Builder {
        // A union has as many members as its largest source, or more.
        let largest = self.sources.iter().map(|source| source.members.len()).max().unwrap_or(0);
        let mut result = Builder::with_room(if self.op == Op::Union { largest } else { 0 });
        let mut digits = Digits::new();
        match self.op {
            Op::Union => {
                for source in &self.sources {
                    source.members.for_each(|member, score| {
                        let score = zero_if_nan(source.weight * score);
                        result.add(member.bytes(&mut digits), score, |so_far, score| {
                            self.aggregate.combine(so_far, score)
                        });
                        true
                    });
                }
            }
            Op::Inter => self.intersect(|member, score| {
                result.add(member, score, |_, score| score);
                true
            }),
            Op::Diff => self.subtract(|member, score| {
                result.add(member, score, |_, score| score);
            }),
        }
        result
    }

    /// Visits the members that all sources have, until `visit` returns false.
    fn intersect(&self, mut visit: impl FnMut(&[u8], f64) -> bool) {
        let Some((fewest, others)) = self.sources.split_first() else { return };
        let mut digits = Digits::new();
        fewest.members.for_each(|member, score| {
            let member = member.bytes(&mut digits);
            let mut combined = zero_if_nan(fewest.weight * score);
            for other in others {
                let Some(score) = other.members.score(member) else { return true };
                combined = self.aggregate.combine(combined, score * other.weight);
            }
            visit(member, combined)
        });
    }

    /// Visits the members of the first source that no other has.
    fn subtract(&self, mut visit: impl FnMut(&[u8], f64)) {
        let Some((first, others)) = self.sources.split_first() else { return };
        let mut digits = Digits::new();
        first.members.for_each(|member, score| {
            let member = member.bytes(&mut digits);
            if others.iter().all(|other| other.members.score(member).is_none()) {
                visit(member, score);
            }
            true
        });
    }

    fn count(&self) -> usize {
        let mut count = 0;
        self.intersect(|_, _| {
            count += 1;
            count != self.limit
        });
        count
    }
}

/// How many members will be looked at. What is wrong with the arguments is for the handler to find.
fn work_of(ctx: &ReadCtx<'_>, mut args: Args<'_>, op: Op) -> u64 {
    let keys = args.bytes().ok().and_then(decimal::parse_canonical_i64).unwrap_or(0);
    // A number of keys that makes no sense has no keys locked either.
    let Some(keys) = usize::try_from(keys).ok().filter(|keys| *keys <= args.len()) else { return 0 };
    let sizes = args.rest().take(keys).map(|key| {
        let members = Members::of(ctx.peek(key).map(|found| found.view)).unwrap_or(Members::None);
        members.len() as u64
    });
    let count = sizes.len() as u64;
    match op {
        Op::Union => sizes.sum(),
        Op::Inter => sizes.min().unwrap_or(0) * count,
        Op::Diff => sizes.take(1).sum::<u64>() * count,
    }
}

fn reply(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>, plan: Plan) -> Outcome {
    let request = Request::parse(ctx, &mut args, plan)?;
    if plan.purpose == Purpose::Count {
        reply.integer(request.count() as i64);
        return Ok(());
    }
    // A listpack would forget the sign of -0.
    reply_items(request.compute().finish(Limits::UNPACKED).view().iter(), request.with_scores, reply);
    Ok(())
}

fn compute(ctx: &ReadCtx<'_>, mut args: Args<'_>, plan: Plan) -> Result<Computed, Fault> {
    let _destination = args.key()?;
    let result = Request::parse(ctx, &mut args, plan)?.compute();
    Ok((!result.is_empty()).then(|| result.finish(limits(ctx.config())).into_body()))
}

/// What the declarations of commands that reply have in common.
const REPLY: Command = Command { keys: &[Keys::count(1)], traits: &[Trait::MovableKeys], ..Command::ZSET };

/// What the declarations of commands that store have in common.
const STORE: Command = Command {
    keys: &[Keys::at(1).does(Access::Overwrite, &["UPDATE"]), Keys::count(2)],
    memory: Memory::Grows,
    traits: &[Trait::MovableKeys],
    ..Command::ZSET
};

const UNION_COST: Cost = Cost::Slow(
    "O(N)+O(M*log(M)) with N being the sum of the sizes of the sources, and M the number of members in the result.",
);
const INTER_COST: Cost = Cost::Slow(
    "O(N*K)+O(M*log(M)) worst case with N being the size of the smallest source, K the number of sources and M \
     the number of members in the result.",
);
const DIFF_COST: Cost = Cost::Slow(
    "O(N*K)+O(M*log(M)) worst case with N being the size of the first source, K the number of sources and M \
     the number of members in the result.",
);

const UNION: Plan = Plan { name: "zunion", op: Op::Union, purpose: Purpose::Reply };

pub(super) const ZUNION: Command = Command {
    name: "ZUNION",
    usage: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
    summary: "Get the members that any of several sorted sets has.",
    cost: UNION_COST,
    since: "6.2.0",
    example: "ZADD a 1 x 2 y -> (integer) 2\nZADD b 10 x -> (integer) 1\n\
              ZUNION 2 a b WITHSCORES -> 1) \"y\" 2) \"2\" 3) \"x\" 4) \"11\"",
    work: Some(|ctx, args| work_of(ctx, args, Op::Union)),
    run: Run::Read(|ctx, args, out| reply(ctx, args, out, UNION)),
    ..REPLY
};

const INTER: Plan = Plan { name: "zinter", op: Op::Inter, purpose: Purpose::Reply };

pub(super) const ZINTER: Command = Command {
    name: "ZINTER",
    usage: "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
    summary: "Get the members that all of several sorted sets have.",
    cost: INTER_COST,
    since: "6.2.0",
    example: "ZADD a 1 x 2 y -> (integer) 2\nZADD b 10 x -> (integer) 1\n\
              ZINTER 2 a b WITHSCORES -> 1) \"x\" 2) \"11\"",
    work: Some(|ctx, args| work_of(ctx, args, Op::Inter)),
    run: Run::Read(|ctx, args, out| reply(ctx, args, out, INTER)),
    ..REPLY
};

const DIFF: Plan = Plan { name: "zdiff", op: Op::Diff, purpose: Purpose::Reply };

pub(super) const ZDIFF: Command = Command {
    name: "ZDIFF",
    usage: "numkeys key [key ...] [WITHSCORES]",
    summary: "Get the members of a sorted set that several others do not have.",
    cost: DIFF_COST,
    since: "6.2.0",
    example: "ZADD a 1 x 2 y -> (integer) 2\nZADD b 10 x -> (integer) 1\nZDIFF 2 a b -> 1) \"y\"",
    work: Some(|ctx, args| work_of(ctx, args, Op::Diff)),
    run: Run::Read(|ctx, args, out| reply(ctx, args, out, DIFF)),
    ..REPLY
};

const COUNT: Plan = Plan { name: "zintercard", op: Op::Inter, purpose: Purpose::Count };

pub(super) const ZINTERCARD: Command = Command {
    name: "ZINTERCARD",
    usage: "numkeys key [key ...] [LIMIT limit]",
    summary: "Count the members that all of several sorted sets have.",
    cost: Cost::Slow(
        "O(N*K) worst case with N being the size of the smallest source and K the number of sources.",
    ),
    since: "7.0.0",
    example: "ZADD a 1 x 2 y -> (integer) 2\nZADD b 10 x -> (integer) 1\nZINTERCARD 2 a b -> (integer) 1",
    work: Some(|ctx, args| work_of(ctx, args, Op::Inter)),
    run: Run::Read(|ctx, args, out| reply(ctx, args, out, COUNT)),
    ..REPLY
};

const UNION_STORE: Plan = Plan { name: "zunionstore", op: Op::Union, purpose: Purpose::Store };

pub(super) const ZUNIONSTORE: Command = Command {
    name: "ZUNIONSTORE",
    usage: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]",
    summary: "Store the members that any of several sorted sets has.",
    cost: UNION_COST,
    since: "2.0.0",
    example: "ZADD a 1 x 2 y -> (integer) 2\nZADD b 10 x -> (integer) 1\n\
              ZUNIONSTORE both 2 a b WEIGHTS 2 1 -> (integer) 2\nZSCORE both x -> \"12\"",
    work: Some(|ctx, mut args| args.key().map_or(0, |_| work_of(ctx, args, Op::Union))),
    run: Run::Store(Store {
        compute: |ctx, args| compute(ctx, args, UNION_STORE),
        install: |ctx, args, computed, reply| store::install(ctx, args, computed, reply, "zunionstore"),
    }),
    ..STORE
};

const INTER_STORE: Plan = Plan { name: "zinterstore", op: Op::Inter, purpose: Purpose::Store };

pub(super) const ZINTERSTORE: Command = Command {
    name: "ZINTERSTORE",
    usage: "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]",
    summary: "Store the members that all of several sorted sets have.",
    cost: INTER_COST,
    since: "2.0.0",
    example: "ZADD a 1 x 2 y -> (integer) 2\nZADD b 10 x -> (integer) 1\n\
              ZINTERSTORE common 2 a b AGGREGATE MAX -> (integer) 1\nZSCORE common x -> \"10\"",
    work: Some(|ctx, mut args| args.key().map_or(0, |_| work_of(ctx, args, Op::Inter))),
    run: Run::Store(Store {
        compute: |ctx, args| compute(ctx, args, INTER_STORE),
        install: |ctx, args, computed, reply| store::install(ctx, args, computed, reply, "zinterstore"),
    }),
    ..STORE
};

const DIFF_STORE: Plan = Plan { name: "zdiffstore", op: Op::Diff, purpose: Purpose::Store };

pub(super) const ZDIFFSTORE: Command = Command {
    name: "ZDIFFSTORE",
    usage: "destination numkeys key [key ...]",
    summary: "Store the members of a sorted set that several others do not have.",
    cost: DIFF_COST,
    since: "6.2.0",
    example: "ZADD a 1 x 2 y -> (integer) 2\nZADD b 10 x -> (integer) 1\nZDIFFSTORE rest 2 a b -> (integer) 1",
    work: Some(|ctx, mut args| args.key().map_or(0, |_| work_of(ctx, args, Op::Diff))),
    run: Run::Store(Store {
        compute: |ctx, args| compute(ctx, args, DIFF_STORE),
        install: |ctx, args, computed, reply| store::install(ctx, args, computed, reply, "zdiffstore"),
    }),
    ..STORE
};
