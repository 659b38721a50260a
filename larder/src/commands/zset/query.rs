//! What part of a sorted set a ZRANGE of whatever kind asks for.

use super::bounds;
use crate::args::Args;
use crate::fault::Fault;
use crate::types::ZsetRef;
use crate::types::zset::{LexRange, ScoreRange};
use std::ops::Range;

const LIMIT_NEEDS_BOUNDS: Fault =
    Fault::row("ERR", "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
const NO_SCORES_BY_LEX: Fault =
    Fault::row("ERR", "syntax error, WITHSCORES not supported in combination with BYLEX");

/// What the bounds of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Lex,
}

/// What the command's name settles; the rest is for its options to say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kind {
    pub(super) by: Option<By>,
    pub(super) reverse: Option<bool>,
    pub(super) stores: bool,
}

enum Bounds<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

/// A range as it was asked for.
pub(super) struct Query<'a> {
    bounds: Bounds<'a>,
    pub(super) reverse: bool,
    pub(super) with_scores: bool,
    /// Members to leave out, and how many to take; negative: all.
    limit: Option<(i64, i64)>,
}

impl<'a> Query<'a> {
    /// Reads bounds and options.
    pub(super) fn parse(mut args: Args<'a>, kind: Kind) -> Result<Query<'a>, Fault> {
        let (mut min, mut max) = (args.bytes()?, args.bytes()?);
        let Kind { mut by, mut reverse, stores } = kind;
        let (mut with_scores, mut limit) = (false, None);
        while !args.is_empty() {
            if !stores && args.flag("WITHSCORES") {
                with_scores = true;
            } else if args.len() > 2 && args.flag("LIMIT") {
                limit = Some((args.int()?, args.int()?));
            } else if reverse.is_none() && args.flag("REV") {
                reverse = Some(true);
            } else if by.is_none() && args.flag("BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && args.flag("BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(Fault::SYNTAX);
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if by == By::Rank && limit.is_some_and(|(_, count)| count != -1) {
            return Err(LIMIT_NEEDS_BOUNDS);
        }
        if with_scores && by == By::Lex {
            return Err(NO_SCORES_BY_LEX);
        }
        if reverse && by != By::Rank {
            (min, max) = (max, min);
        }
        let bounds = match by {
            By::Rank => Bounds::Ranks(int(min)?, int(max)?),
            By::Score => Bounds::Scores(bounds::scores(min, max)?),
            By::Lex => Bounds::Members(bounds::members(min, max)?),
        };
        Ok(Query { bounds, reverse, with_scores, limit })
    }

    /// Whether its bounds are ranks.
    pub(super) fn is_by_rank(&self) -> bool {
        matches!(self.bounds, Bounds::Ranks(..))
    }

    /// The ranks, counted from the lowest, of the members that are asked for.
    pub(super) fn ranks(&self, zset: ZsetRef<'_>) -> Range<usize> {
        let inside = match self.bounds {
            Bounds::Ranks(start, stop) => {
                let ranks = bounds::ranks(start, stop, zset.len());
                let mirror = |rank: usize| zset.len() - rank;
                return if self.reverse && !ranks.is_empty() {
                    mirror(ranks.end)..mirror(ranks.start)
                } else {
                    ranks
                };
            }
            Bounds::Scores(range) => zset.ranks_by_score(range),
            Bounds::Members(range) => zset.ranks_by_lex(range),
        };
        let Some((offset, count)) = self.limit else { return inside };
        // A negative offset leaves out everything.
        let skip = usize::try_from(offset).unwrap_or(usize::MAX).min(inside.len());
        let take = usize::try_from(count).unwrap_or(usize::MAX).min(inside.len() - skip);
        if self.reverse {
            inside.end - skip - take..inside.end - skip
        } else {
            inside.start + skip..inside.start + skip + take
        }
    }
}

fn int(text: &[u8]) -> Result<i64, Fault> {
    larder_structures::decimal::parse_canonical_i64(text).ok_or(Fault::NOT_INTEGER)
}
