//! Who holds an entry: the loader that may fill it, or the updates that keep loaders away.
//!
//! Under the key `lease` stands either the token of a loader, or `!` and the **guards** of the updates under way. An
//! update begins its guard before it changes the source and ends it afterwards; in between nobody can say which of two
//! values is the newer one, so nothing is stored. What the update itself has written may be stored at its end, if the
//! guard was the only one all the time and nobody else set or removed the entry: otherwise the guards are
//! **contested**, and the entry stays absent until a load after the last of them.

use crate::args::Args;
use crate::fault::Fault;
use crate::keyspace::{ReadCtx, WriteCtx};

/// What the string of guards begins with, and the token of none of the loaders.
pub(super) const GUARD: u8 = b'!';
/// More than so many updates of one entry at a time are refused.
const OPEN_MAX: usize = 1000;
const TOO_MANY: Fault = Fault::row("ERR", "too many updates of one entry at the same time");

/// Takes the token of a guard.
pub(super) fn token(args: &mut Args<'_>) -> Result<[u8; 8], Fault> {
    args.bytes()?.try_into().map_err(|_| Fault::row("ERR", "a guard has 8 bytes"))
}

/// Who holds an entry.
pub(super) enum Held {
    Nobody,
    Loader(Vec<u8>),
    Updates(Guards),
}

/// The guards of one entry: a byte that says whether they are contested, then token and deadline (big-endian
/// milliseconds) of each.
pub(super) struct Guards {
    is_contested: bool,
    open: Vec<([u8; 8], u64)>,
}

impl Held {
    pub(super) fn read(ctx: &ReadCtx<'_>, lease: &[u8]) -> Result<Held, Fault> {
        let Some(held) = ctx.string(lease)?.map(|held| held.to_vec()) else { return Ok(Held::Nobody) };
        if held.first() != Some(&GUARD) {
            return Ok(Held::Loader(held));
        }
        let (open, _) = held.get(2..).unwrap_or_default().as_chunks::<16>();
        let open: Vec<_> = open
            .iter()
            .map(|bytes| {
                let word = |at: usize| std::array::from_fn::<u8, 8, _>(|n| bytes[at + n]);
                (word(0), u64::from_be_bytes(word(8)))
            })
            .filter(|(_, until_ms)| *until_ms > ctx.now_ms)
            .collect();
        let is_contested = held.get(1) == Some(&b'1');
        Ok(if open.is_empty() { Held::Nobody } else { Held::Updates(Guards { is_contested, open }) })
    }

    /// Whether what this token's owner brings may be stored.
    pub(super) fn is_by(&self, token: &[u8]) -> bool {
        match (self, token) {
            (Held::Loader(loader), token) => loader == token,
            (Held::Updates(Guards { is_contested: false, open }), [GUARD, token @ ..]) => {
                matches!(open.as_slice(), [(one, _)] if one == token)
            }
            _ => false,
        }
    }

    /// Ends the load under way, and contests updates; returns whether there are any.
    pub(super) fn interrupt(self, ctx: &mut WriteCtx<'_, '_>, lease: &[u8]) -> bool {
        match self {
            Held::Updates(guards) => {
                if !guards.is_contested {
                    Guards { is_contested: true, ..guards }.write(ctx, lease);
                }
                true
            }
            Held::Loader(_) | Held::Nobody => {
                super::delete(ctx, lease);
                false
            }
        }
    }

    /// Begins a guard.
    pub(super) fn begin(
        self,
        ctx: &mut WriteCtx<'_, '_>,
        lease: &[u8],
        token: [u8; 8],
        ms: u64,
    ) -> Result<(), Fault> {
        let (is_contested, mut open) = match self {
            Held::Updates(guards) => (true, guards.open),
            Held::Loader(_) | Held::Nobody => (false, Vec::new()),
        };
        if open.len() >= OPEN_MAX {
            return Err(TOO_MANY);
        }
        open.push((token, ctx.now_ms + ms));
        Guards { is_contested, open }.write(ctx, lease);
        Ok(())
    }

    /// Ends a guard; one that is over already changes nothing. The load under way, if there is one, began after the
    /// guard was over, perhaps before the update: it ends too.
    pub(super) fn end(self, ctx: &mut WriteCtx<'_, '_>, lease: &[u8], token: [u8; 8]) {
        let rest = match self {
            Held::Updates(Guards { is_contested, mut open }) => {
                let count = open.len();
                open.retain(|(one, _)| *one != token);
                Guards { is_contested: is_contested || open.len() == count, open }
            }
            Held::Loader(_) | Held::Nobody => Guards { is_contested: false, open: Vec::new() },
        };
        match rest.open.is_empty() {
            true => super::delete(ctx, lease),
            false => rest.write(ctx, lease),
        }
    }
}

impl Guards {
    fn write(&self, ctx: &mut WriteCtx<'_, '_>, lease: &[u8]) {
        let mut held = Vec::with_capacity(2 + 16 * self.open.len());
        held.extend([GUARD, if self.is_contested { b'1' } else { b'0' }]);
        for (token, until_ms) in &self.open {
            held.extend(token);
            held.extend(until_ms.to_be_bytes());
        }
        let last = self.open.iter().map(|(_, until_ms)| *until_ms).max().unwrap_or(ctx.now_ms);
        super::set_at(ctx, lease, &held, last);
    }
}
