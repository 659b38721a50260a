//! What a namespace keeps about itself: era, epochs, tags.

use crate::args::Args;
use crate::commands::hash::limits;
use crate::effects::{Class, Event};
use crate::fault::Fault;
use crate::keyspace::{ReadCtx, WriteCtx};
use crate::types::Hash;
use crate::types::hash::HashRef;
use crate::types::string::{Digits, StringRef};

const SET: Event = Event::new(Class::Hash, "hset");
const DELETED: Event = Event::new(Class::Hash, "hdel");

/// The facts that are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    /// What nothing that was written before it was lost can have.
    pub(super) era: [u8; 8],
    /// The epoch.
    pub(super) seq: u64,
    /// That of the last clearing.
    pub(super) cleared: u64,
    /// That of the last clearing or invalidation of a tag.
    pub(super) tagged: u64,
}

/// Takes an era.
pub(super) fn era(args: &mut Args<'_>) -> Result<[u8; 8], Fault> {
    args.bytes()?.try_into().map_err(|_| Fault::row("ERR", "an era has 8 bytes"))
}

impl Meta {
    pub(super) fn read(ctx: &ReadCtx<'_>, key: &[u8]) -> Result<Option<Meta>, Fault> {
        let Some(hash) = ctx.collection::<Hash>(key)? else { return Ok(None) };
        let [era, numbers @ ..] = facts(hash);
        let era = era.and_then(|era| era.bytes(&mut Digits::new()).try_into().ok());
        let numbers = numbers.map(|number| number?.integer()?.try_into().ok());
        let (Some(era), [Some(seq), Some(cleared), Some(tagged)]) = (era, numbers) else { return Ok(None) };
        Ok(Some(Meta { era, seq, cleared, tagged }))
    }

    /// Reads it, or begins an era.
    pub(super) fn open(ctx: &mut WriteCtx<'_, '_>, key: &[u8], era: [u8; 8]) -> Result<Meta, Fault> {
        if let Some(known) = Meta::read(&ctx.reader(), key)? {
            return Ok(known);
        }
        super::delete(ctx, key);
        let new = Meta { era, seq: 0, cleared: 0, tagged: 0 };
        let fields =
            [(&b"e"[..], era.to_vec()), (b"s", b"0".to_vec()), (b"c", b"0".to_vec()), (b"i", b"0".to_vec())];
        put(ctx, key, &fields)?;
        Ok(new)
    }

    /// Begins the next epoch.
    pub(super) fn advance(mut self, ctx: &mut WriteCtx<'_, '_>, key: &[u8]) -> Result<Meta, Fault> {
        self.seq += 1;
        put(ctx, key, &[(b"s", digits(self.seq))])?;
        Ok(self)
    }

    /// Makes everything that is older than this epoch invalid; tags need not be known any more.
    pub(super) fn clear(self, ctx: &mut WriteCtx<'_, '_>, key: &[u8]) -> Result<Meta, Fault> {
        super::delete(ctx, key);
        let cleared = Meta { cleared: self.seq, tagged: self.seq, ..self };
        let seq = digits(self.seq);
        let fields = [(&b"e"[..], self.era.to_vec()), (b"s", seq.clone()), (b"c", seq.clone()), (b"i", seq)];
        put(ctx, key, &fields)?;
        Ok(cleared)
    }

    /// Makes what has this tag and is older than this epoch invalid, or stale.
    pub(super) fn invalidate(
        mut self,
        ctx: &mut WriteCtx<'_, '_>,
        key: &[u8],
        tag: &[u8],
        ms: u64,
        only_stale: bool,
    ) -> Result<Meta, Fault> {
        self.tagged = self.seq;
        let mut known = Tag::read(&ctx.reader(), key, tag)?.unwrap_or_default();
        if only_stale {
            known.expired = self.seq;
        } else {
            known.removed = self.seq;
        }
        known.until_ms = known.until_ms.max(ctx.now_ms + ms);
        put(ctx, key, &[(b"i", digits(self.seq)), (&field(tag), known.format())])?;
        forget_some(ctx, key)?;
        Ok(self)
    }

    /// Lets tags be known for as long as an entry that was loaded from epoch `seq` on lives, and says whether it is
    /// still up to date with regard to them.
    pub(super) fn admit_tags(
        self,
        ctx: &mut WriteCtx<'_, '_>,
        key: &[u8],
        seq: u64,
        ms: u64,
        tags: Args<'_>,
    ) -> Result<bool, Fault> {
        let mut is_current = true;
        for tag in tags.rest() {
            let until_ms = ctx.now_ms + ms;
            let mut known = match Tag::read(&ctx.reader(), key, tag)? {
                Some(known) => known,
                None => {
                    let removed = if self.tagged <= seq { seq } else { self.seq };
                    Tag { removed, expired: 0, until_ms: 0 }
                }
            };
            is_current &= seq >= known.removed && seq >= known.expired;
            if known.until_ms < until_ms {
                // Half as long again, so that not every entry writes it.
                known.until_ms = until_ms + ms / 2;
                put(ctx, key, &[(&field(tag), known.format())])?;
            }
        }
        if !tags.is_empty() {
            forget_some(ctx, key)?;
        }
        Ok(is_current)
    }
}

/// Era, epoch, that of the last clearing, that of the last invalidation.
fn facts(hash: HashRef<'_>) -> [Option<StringRef<'_>>; 4] {
    const FIELDS: [&[u8]; 4] = [b"e", b"s", b"c", b"i"];
    if hash.as_listpack().is_some() {
        // It began with these in this order, which stays as long as it is packed: one walk instead of four.
        let mut pairs = hash.iter();
        let first = FIELDS.map(|field| match pairs.next()? {
            (StringRef::Bytes(name), value) if name == field => Some(value),
            _ => None,
        });
        if first.iter().all(Option::is_some) {
            return first;
        }
    }
    FIELDS.map(|field| hash.get(field))
}

/// What is known of a tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tag {
    /// The epoch of its last removal.
    pub(super) removed: u64,
    /// That of its last expiry.
    pub(super) expired: u64,
    /// When no entry can have it any more, Unix milliseconds.
    until_ms: u64,
}

impl Tag {
    pub(super) fn read(ctx: &ReadCtx<'_>, key: &[u8], tag: &[u8]) -> Result<Option<Tag>, Fault> {
        let Some(hash) = ctx.collection::<Hash>(key)? else { return Ok(None) };
        Ok(hash.get(&field(tag)).and_then(|text| Tag::parse(&text.to_vec())))
    }

    fn parse(text: &[u8]) -> Option<Tag> {
        let mut numbers = std::str::from_utf8(text).ok()?.split(' ').map(|number| number.parse().ok());
        Some(Tag { removed: numbers.next()??, expired: numbers.next()??, until_ms: numbers.next()?? })
    }

    fn format(self) -> Vec<u8> {
        format!("{} {} {}", self.removed, self.expired, self.until_ms).into_bytes()
    }
}

fn field(tag: &[u8]) -> Vec<u8> {
    [b"t", tag].concat()
}

fn digits(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

pub(super) fn put(ctx: &mut WriteCtx<'_, '_>, key: &[u8], fields: &[(&[u8], Vec<u8>)]) -> Result<(), Fault> {
    let limits = limits(ctx.config());
    let mut hash = ctx.open_or(key, SET, Hash::new)?;
    for (field, value) in fields {
        hash.set(field, value, limits);
    }
    hash.changed(fields.len() as u64);
    drop(hash);
    let mut words: Vec<&[u8]> = vec![b"HSET", key];
    fields.iter().for_each(|(field, value)| words.extend([*field, value.as_slice()]));
    ctx.log_instead(&words);
    Ok(())
}

/// Looks at a few fields, and drops tags that no entry can have any more: every write of tags pays for itself.
fn forget_some(ctx: &mut WriteCtx<'_, '_>, key: &[u8]) -> Result<(), Fault> {
    const LOOKS: usize = 3;
    let mut over: Vec<Vec<u8>> = Vec::new();
    let (now_ms, seed) = (ctx.now_ms, ctx.random());
    let mut state = seed;
    if let Some(hash) = ctx.collection::<Hash>(key)? {
        let mut random = || {
            state = state.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ seed;
            state
        };
        for _ in 0..LOOKS {
            let Some((field, value)) = hash.random(&mut random) else { break };
            let field = field.to_vec();
            let is_over = field.first() == Some(&b't')
                && Tag::parse(&value.to_vec()).is_none_or(|tag| tag.until_ms < now_ms);
            if is_over && !over.contains(&field) {
                over.push(field);
            }
        }
    }
    if over.is_empty() {
        return Ok(());
    }
    if let Some(mut hash) = ctx.open::<Hash>(key, DELETED)? {
        let removed = over.iter().filter(|field| hash.remove(field)).count();
        hash.changed(removed as u64);
    }
    let mut words: Vec<&[u8]> = vec![b"HDEL", key];
    words.extend(over.iter().map(Vec::as_slice));
    ctx.log_instead(&words);
    Ok(())
}
