//! LCS: the longest common subsequence of two strings.
//!
//! The table of Wagner and Fischer: cell *(i, j)* is the length for the first *i* bytes of one string and the first *j*
//! of the other. A row needs no more than the row before it, so only two are kept. To find the subsequence itself one
//! walks back from the last cell, and all that has to be known for that is, of each cell, whether the way leads up or
//! left: one bit. Where there is a choice the way leads left, which decides among subsequences of the same length.
//!
//! Strings are refused when the table would be larger than `proto-max-bulk-len` at four bytes a cell. We need a
//! thirty-second part of that, but the limit also bounds the time, and clients know it.

use crate::args::Args;
use crate::command::{Command, Cost, Keys, Run};
use crate::fault::{Fault, Outcome};
use crate::keyspace::ReadCtx;
use crate::types::string::Digits;
use larder_resp::ReplyWriter;

pub(super) const LCS: Command = Command {
    name: "LCS",
    usage: "key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN]",
    summary: "Find the longest bytes that two strings have in common, in this order but with gaps.",
    keys: &[Keys::range(1, 2, 1)],
    cost: Cost::Slow("O(N*M) where N and M are the lengths of the strings"),
    since: "7.0.0",
    example: "MSET a ohmytext b mynewtext -> OK\nLCS a b -> \"mytext\"\nLCS a b LEN -> (integer) 6",
    run: Run::Read(lcs),
    work: Some(work),
    ..Command::STRING
};

/// Cells of the table that take as long as touching one element elsewhere.
const CELLS_PER_ELEMENT: u64 = 64;
const CELL_BYTES: u64 = 4;

fn work(ctx: &ReadCtx<'_>, mut args: Args<'_>) -> u64 {
    let mut len = || {
        let found = ctx.peek(args.key().ok()?)?;
        Some(found.view.string().ok()?.len() as u64)
    };
    let cells = len().unwrap_or(0).saturating_mul(len().unwrap_or(0));
    if cells > (ctx.config().max_string() as u64) / CELL_BYTES { 0 } else { cells / CELLS_PER_ELEMENT }
}

#[derive(Default)]
struct Options {
    wants_len: bool,
    wants_matches: bool,
    min_match_len: usize,
    with_match_len: bool,
}

impl Options {
    fn parse(mut args: Args<'_>) -> Result<Options, Fault> {
        let mut options = Options::default();
        while !args.is_empty() {
            if args.flag("IDX") {
                options.wants_matches = true;
            } else if args.flag("LEN") {
                options.wants_len = true;
            } else if args.flag("WITHMATCHLEN") {
                options.with_match_len = true;
            } else if args.len() > 1 && args.flag("MINMATCHLEN") {
                options.min_match_len = args.int()?.max(0) as usize;
            } else {
                return Err(Fault::SYNTAX);
            }
        }
        if options.wants_len && options.wants_matches {
            return Err(Fault::row("ERR", "If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }
}

fn lcs(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let not_strings = Fault::row("ERR", "The specified keys must contain string values");
    let (one, other) = (ctx.string(args.key()?), ctx.string(args.key()?));
    let (Ok(one), Ok(other)) = (one, other) else { return Err(not_strings) };
    let options = Options::parse(args)?;
    let (mut one_digits, mut other_digits) = (Digits::new(), Digits::new());
    let one = one.map_or(&[][..], |string| string.bytes(&mut one_digits));
    let other = other.map_or(&[][..], |string| string.bytes(&mut other_digits));
    check_size(ctx, one.len(), other.len())?;

    let mut ways = (!options.wants_len).then(|| Ways::new(one.len(), other.len()));
    let len = length(one, other, ways.as_mut());
    let Some(ways) = ways else {
        reply.integer(len as i64);
        return Ok(());
    };
    let matches = ways.walk_back(one, other);
    if options.wants_matches {
        reply_matches(&matches, len, &options, reply);
    } else {
        let mut common = Vec::with_capacity(len);
        matches.iter().rev().for_each(|found| common.extend_from_slice(&one[found.at..found.at + found.len]));
        reply.bulk(&common);
    }
    Ok(())
}

fn check_size(ctx: &ReadCtx<'_>, one: usize, other: usize) -> Outcome {
    let (one, other) = (one as u64, other as u64);
    if one.max(other) >= u64::from(u32::MAX) - 1 {
        return Err(Fault::row("ERR", "String too long for LCS"));
    }
    let bytes = ((one + 1) * (other + 1)).saturating_mul(CELL_BYTES);
    if bytes > ctx.config().max_string() as u64 {
        return Err(Fault::row(
            "ERR",
            "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    Ok(())
}

/// The length of the longest common subsequence. Fills in the ways if there are any to be.
fn length(one: &[u8], other: &[u8], mut ways: Option<&mut Ways>) -> usize {
    // Entry j is the length for the first j bytes of `other`; left of j it is this row's already, from j on the last.
    let mut row = vec![0u32; other.len() + 1];
    for (i, byte) in one.iter().enumerate() {
        let mut diagonal = 0;
        for (j, other_byte) in other.iter().enumerate() {
            let (up, left) = (row[j + 1], row[j]);
            row[j + 1] = if byte == other_byte { diagonal + 1 } else { up.max(left) };
            if up > left
                && let Some(ways) = &mut ways
            {
                ways.lead_up(i, j);
            }
            diagonal = up;
        }
    }
    row[other.len()] as usize
}

/// Bytes that both strings have in common without a gap.
struct Match {
    at: usize,
    other_at: usize,
    len: usize,
}

/// One bit for each pair of bytes: whether the way back leads up, where the bytes differ.
struct Ways {
    bits: Vec<u64>,
    width: usize,
}

impl Ways {
    fn new(one: usize, other: usize) -> Ways {
        Ways { bits: vec![0; (one * other).div_ceil(64)], width: other }
    }

    fn lead_up(&mut self, i: usize, j: usize) {
        let bit = i * self.width + j;
        self.bits[bit / 64] |= 1 << (bit % 64);
    }

    fn leads_up(&self, i: usize, j: usize) -> bool {
        let bit = i * self.width + j;
        self.bits[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// The matches on the way back, the last one first.
    fn walk_back(&self, one: &[u8], other: &[u8]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let (mut i, mut j) = (one.len(), other.len());
        while i > 0 && j > 0 {
            if one[i - 1] == other[j - 1] {
                (i, j) = (i - 1, j - 1);
                match matches.last_mut() {
                    Some(last) if last.at == i + 1 && last.other_at == j + 1 => {
                        (last.at, last.other_at, last.len) = (i, j, last.len + 1);
                    }
                    _ => matches.push(Match { at: i, other_at: j, len: 1 }),
                }
            } else if self.leads_up(i - 1, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }
}

fn reply_matches(matches: &[Match], len: usize, options: &Options, reply: &mut ReplyWriter<'_>) {
    let wanted = matches.iter().filter(|found| found.len >= options.min_match_len);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(wanted.clone().count());
    for found in wanted {
        reply.array(2 + usize::from(options.with_match_len));
        for at in [found.at, found.other_at] {
            reply.array(2);
            reply.integer(at as i64);
            reply.integer((at + found.len - 1) as i64);
        }
        if options.with_match_len {
            reply.integer(found.len as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(len as i64);
}
