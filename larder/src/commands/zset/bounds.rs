//! The bounds of ranges, as arguments have them.

use crate::fault::Fault;
use crate::types::zset::{LexBound, LexRange, ScoreRange};
use std::ops::{Bound, Range};

const NOT_A_SCORE: Fault = Fault::row("ERR", "min or max is not a float");
const NOT_A_MEMBER: Fault = Fault::row("ERR", "min or max not valid string range item");

/// A range of scores: `1.5`, `(1.5`, `-inf`.
pub(super) fn scores(min: &[u8], max: &[u8]) -> Result<ScoreRange, Fault> {
    Ok(ScoreRange { min: score(min)?, max: score(max)? })
}

/// One bound, as C reads numbers: the text ends at a zero byte, blanks before the number do not matter, and no text
/// at all is zero.
fn score(text: &[u8]) -> Result<Bound<f64>, Fault> {
    let (text, is_excluded) = match text.strip_prefix(b"(") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let score = match larder_resp::strtod(text) {
        Some(number) if number.consumed == text.len() && !number.value.is_nan() => number.value,
        None if text.is_empty() => 0.0,
        _ => return Err(NOT_A_SCORE),
    };
    Ok(if is_excluded { Bound::Excluded(score) } else { Bound::Included(score) })
}

/// A range of members: `[a`, `(a`, `-`, `+`.
pub(super) fn members<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, Fault> {
    Ok(LexRange { min: member(min)?, max: member(max)? })
}

fn member(text: &[u8]) -> Result<LexBound<'_>, Fault> {
    match text {
        [b'-'] | [b'-', 0, ..] => Ok(LexBound::Lowest),
        [b'+'] | [b'+', 0, ..] => Ok(LexBound::Highest),
        [b'[', member @ ..] => Ok(LexBound::Included(member)),
        [b'(', member @ ..] => Ok(LexBound::Excluded(member)),
        _ => Err(NOT_A_MEMBER),
    }
}

/// The ranks from `start` to `stop`, both included, of `len` members; negative ones count from the end.
pub(super) fn ranks(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_front = |rank: i64| if rank < 0 { len.saturating_add(rank) } else { rank };
    let (start, stop) = (from_front(start).max(0), from_front(stop).min(len - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}
