//! What stands before the data of an entry.

use super::meta::{Meta, Tag};
use crate::args::Args;
use crate::fault::Fault;
use crate::keyspace::ReadCtx;
use crate::types::string::Digits;

/// The header: a version, the era, and big-endian numbers.
///
/// | bytes | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 8 | era |
/// | 8 | epoch at which the load began |
/// | 8 | milliseconds at the end of its life in which it is stale |
/// | 2 | number of tags, each with its length in 2 bytes before it |
pub(super) struct Header {
    pub(super) era: [u8; 8],
    pub(super) seq: u64,
    pub(super) stale_ms: u64,
}

const VERSION: u8 = 1;
/// Tags of one entry, and bytes of a tag.
const TAGS_MAX: usize = 1024;

impl Header {
    /// The whole string of an entry: header, tags, data. [`check_tags`] has seen to it that all fits.
    pub(super) fn before(&self, data: &[u8], tags: Args<'_>) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(27 + data.len() + tags.rest().map(|tag| 2 + tag.len()).sum::<usize>());
        bytes.push(VERSION);
        bytes.extend(self.era);
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.stale_ms.to_be_bytes());
        bytes.extend((tags.len() as u16).to_be_bytes());
        for tag in tags.rest() {
            bytes.extend((tag.len() as u16).to_be_bytes());
            bytes.extend(tag);
        }
        bytes.extend(data);
        bytes
    }
}

/// Refuses tags that a header has no room for.
pub(super) fn check_tags(tags: Args<'_>) -> Result<(), Fault> {
    if tags.len() > TAGS_MAX || tags.rest().any(|tag| tag.len() > TAGS_MAX) {
        return Err(Fault::row("ERR", "at most 1024 tags of at most 1024 bytes each"));
    }
    Ok(())
}

/// What an entry looks like now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// 0 absent or invalid, 1 fresh, 2 stale.
    pub(super) state: u8,
    /// Milliseconds that it can still be served.
    pub(super) left_ms: u64,
    /// Milliseconds at its end in which it is stale.
    pub(super) stale_ms: u64,
}

/// Looks at an entry. Bytes that are no entry count as absent.
pub(super) fn look(ctx: &ReadCtx<'_>, value: &[u8], meta: &[u8], known: Option<Meta>) -> Result<Seen, Fault> {
    look_and(ctx, value, meta, known, |_| ()).map(|(seen, _)| seen)
}

/// The same, with what `take` makes of the whole string of an entry that is not absent.
pub(super) fn look_and<R>(
    ctx: &ReadCtx<'_>,
    value: &[u8],
    meta: &[u8],
    known: Option<Meta>,
    take: impl FnOnce(&[u8]) -> R,
) -> Result<(Seen, Option<R>), Fault> {
    let (Some(known), Some(found)) = (known, ctx.find(value)) else { return Ok((Seen::default(), None)) };
    let left_ms = found.expires_at_ms.map_or(0, |at_ms| at_ms.saturating_sub(ctx.now_ms));
    let mut digits = Digits::new();
    let whole = found.view.string()?.bytes(&mut digits);
    let seen = judge(ctx, whole, meta, known, left_ms)?;
    Ok((seen, (seen.state != 0).then(|| take(whole))))
}

/// What the string of an entry is worth.
fn judge(ctx: &ReadCtx<'_>, mut rest: &[u8], meta: &[u8], known: Meta, left_ms: u64) -> Result<Seen, Fault> {
    let Some(header) = take_header(&mut rest).filter(|(header, _)| header.era == known.era) else {
        return Ok(Seen::default());
    };
    let (Header { seq, stale_ms, .. }, tags) = header;
    if seq < known.cleared {
        return Ok(Seen::default());
    }
    let mut is_stale = left_ms <= stale_ms;
    for _ in 0..tags {
        let state = take_tag(&mut rest).map(|tag| Tag::read(ctx, meta, tag)).transpose()?.flatten();
        match state {
            Some(tag) if seq >= tag.removed => is_stale |= seq < tag.expired,
            _ => return Ok(Seen::default()),
        }
    }
    if is_stale && stale_ms == 0 {
        return Ok(Seen::default());
    }
    let left_ms = if is_stale { left_ms.min(stale_ms) } else { left_ms };
    Ok(Seen { state: if is_stale { 2 } else { 1 }, left_ms, stale_ms })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

/// The header and the number of tags that follow it.
fn take_header(bytes: &mut &[u8]) -> Option<(Header, u16)> {
    let [version] = take::<1>(bytes)?;
    let era = take::<8>(bytes)?;
    let seq = u64::from_be_bytes(take::<8>(bytes)?);
    let stale_ms = u64::from_be_bytes(take::<8>(bytes)?);
    let tags = u16::from_be_bytes(take::<2>(bytes)?);
    (version == VERSION).then_some((Header { era, seq, stale_ms }, tags))
}

fn take_tag<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_be_bytes(take::<2>(bytes)?));
    let (tag, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(tag)
}
