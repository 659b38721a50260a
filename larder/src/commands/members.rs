//! What the families of collections share: the arguments of HSCAN and its kin, the count of random members, and
//! estimates of work.

use crate::args::Args;
use crate::fault::{Fault, Outcome};
use crate::glob;
use crate::keyspace::ReadCtx;
use crate::types::string::{Digits, StringRef};
use larder_resp::ReplyWriter;
use larder_structures::decimal;

/// Elements that a step of a walk visits unless COUNT says otherwise.
const SCAN_COUNT: usize = 10;
/// Bytes of a reply at which a command that may repeat members without end gives up. Redis goes on until memory ends.
const REPEATED_BYTES_MAX: usize = 1 << 30;

/// Takes a cursor. Redis reads it with C's `strtoul`, of which clients see that a sign is fine (a minus counts from
/// the top), white space is not, and nothing at all is zero.
pub(super) fn cursor(args: &mut Args<'_>) -> Result<u64, Fault> {
    let text = args.bytes()?;
    // To C, the text ends at a zero byte.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let (is_negative, digits) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(Fault::INVALID_CURSOR);
    }
    let mut magnitude = 0u64;
    for digit in digits {
        let value = u64::from(digit.wrapping_sub(b'0'));
        let next = magnitude.checked_mul(10).and_then(|tens| tens.checked_add(value));
        magnitude = next.filter(|_| value <= 9).ok_or(Fault::INVALID_CURSOR)?;
    }
    Ok(if is_negative { magnitude.wrapping_neg() } else { magnitude })
}

/// What follows the cursor of HSCAN, SSCAN and ZSCAN.
pub(super) struct ScanOptions<'a> {
    /// How many elements to visit in a step.
    pub(super) count: usize,
    pattern: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Takes `[MATCH pattern] [COUNT count]`, in any order, the last of each being in force.
    pub(super) fn take(args: &mut Args<'a>) -> Result<Self, Fault> {
        let mut options = ScanOptions { count: SCAN_COUNT, pattern: None };
        while !args.is_empty() {
            if args.len() < 2 {
                return Err(Fault::SYNTAX);
            }
            if args.flag("MATCH") {
                options.pattern = Some(args.bytes()?);
            } else if args.flag("COUNT") {
                let count = args.int()?;
                options.count =
                    usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Fault::SYNTAX)?;
            } else {
                return Err(Fault::SYNTAX);
            }
        }
        Ok(options)
    }

    /// Whether an element is to be returned.
    pub(super) fn wants(&self, element: StringRef<'_>) -> bool {
        self.pattern.is_none_or(|pattern| glob::selects(pattern, element.bytes(&mut Digits::new())))
    }
}

/// Writes the reply of a step of a walk: the next cursor and what was found.
pub(super) fn reply_scan(reply: &mut ReplyWriter<'_>, next: u64, found: &[StringRef<'_>]) {
    reply.array(2);
    reply.bulk(next.to_string().as_bytes());
    reply.array(found.len());
    found.iter().for_each(|element| element.reply(reply));
}

/// The reply to a walk over a key that is not there.
pub(super) fn reply_scan_nothing(reply: &mut ReplyWriter<'_>) {
    reply_scan(reply, 0, &[]);
}

/// The estimate of work for a step of a walk.
pub(super) fn scan_work(ctx: &ReadCtx<'_>, args: Args<'_>) -> u64 {
    let Some(key) = args.peek() else { return 0 };
    // Wherever COUNT stands: a word that is no number counts as none.
    let count = args.rest().skip(2).filter_map(decimal::parse_canonical_i64).max().unwrap_or(0);
    ctx.elements(key).min(count.unsigned_abs())
}

/// The estimate of work for a command that goes through the collection under its first key.
pub(super) fn whole_work(ctx: &ReadCtx<'_>, args: Args<'_>) -> u64 {
    args.peek().map_or(0, |key| ctx.elements(key))
}

/// The estimate of work for HRANDFIELD and its kin.
pub(super) fn random_work(ctx: &ReadCtx<'_>, args: Args<'_>) -> u64 {
    let count = args.peek_at(1).and_then(decimal::parse_canonical_i64).unwrap_or(1);
    let len = whole_work(ctx, args);
    if count < 0 && len > 0 { count.unsigned_abs() } else { len.min(count.unsigned_abs()) }
}

/// Takes how many random members are wanted; negative: with repetitions. Every count has one of the other sign.
pub(super) fn random_count(args: &mut Args<'_>) -> Result<i64, Fault> {
    match args.int()? {
        i64::MIN => Err(Fault::COUNT_OUT_OF_RANGE),
        count => Ok(count),
    }
}

/// Ends a command that repeats members before its reply takes all memory there is.
pub(super) fn check_size(reply: &ReplyWriter<'_>) -> Outcome {
    if reply.len() > REPEATED_BYTES_MAX { Err(Fault::OUT_OF_RANGE) } else { Ok(()) }
}
