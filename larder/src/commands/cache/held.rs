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

/// The guard and the version in a token that has both: `!`, and 8 bytes each.
pub(super) fn versioned(token: &[u8]) -> Option<([u8; 8], u64)> {
    let (guard, version) = token.strip_prefix(&[GUARD])?.split_first_chunk::<8>()?;
    Some((*guard, u64::from_be_bytes(version.try_into().ok()?)))
}

/// Who holds an entry.
pub(super) enum Held {
    Nobody,
    Loader(Vec<u8>),
    Updates(Guards),
}

/// The guards of one entry: a byte for their order, what waits, then token and deadline (big-endian milliseconds) of each.
pub(super) struct Guards {
    order: Order,
    open: Vec<([u8; 8], u64)>,
}

/// What is known of the order of the updates of an entry, with the byte that says so.
enum Order {
    /// `0`: there is only one, and was all the time.
    Single,
    /// `1`: nothing.
    Contested,
    /// `2`: they have versions, as far as they have ended. `3`: this is the highest, which waits for the others to end.
    Versioned(Option<Written>),
}

/// What an update has written: version, milliseconds to live, and the length of the entry (4 bytes) stand before it.
pub(super) struct Written {
    pub(super) version: u64,
    pub(super) ms: u64,
    pub(super) entry: Vec<u8>,
}

/// What has become of a value with a version.
pub(super) enum Settled {
    /// It is the one to be stored, or another one with a higher version is.
    Last(Written),
    /// The end of another update will tell.
    Waits,
}

impl Held {
    pub(super) fn read(ctx: &ReadCtx<'_>, lease: &[u8]) -> Result<Held, Fault> {
        let Some(held) = ctx.string(lease)?.map(|held| held.to_vec()) else { return Ok(Held::Nobody) };
        if held.first() != Some(&GUARD) {
            return Ok(Held::Loader(held));
        }
        let (mut order, rest) = Order::take(&held[1..]);
        let (guards, _) = rest.as_chunks::<16>();
        let mut open = Vec::with_capacity(guards.len());
        for guard in guards {
            let word = |at: usize| std::array::from_fn::<u8, 8, _>(|n| guard[at + n]);
            let until_ms = u64::from_be_bytes(word(8));
            if until_ms > ctx.now_ms {
                open.push((word(0), until_ms));
            } else {
                // Nobody knows what has become of it.
                order = Order::Contested;
            }
        }
        Ok(if open.is_empty() { Held::Nobody } else { Held::Updates(Guards { order, open }) })
    }

    /// Whether what this token's owner brings may be stored.
    pub(super) fn is_by(&self, token: &[u8]) -> bool {
        match (self, token) {
            (Held::Loader(loader), token) => loader == token,
            (Held::Updates(Guards { order: Order::Single, open }), [GUARD, token @ ..]) => {
                matches!(open.as_slice(), [(one, _)] if one == token)
            }
            _ => false,
        }
    }

    /// Ends the load under way, and contests updates; returns whether there are any.
    pub(super) fn interrupt(self, ctx: &mut WriteCtx<'_, '_>, lease: &[u8]) -> bool {
        match self {
            Held::Updates(guards) => {
                if !matches!(guards.order, Order::Contested) {
                    Guards { order: Order::Contested, ..guards }.write(ctx, lease);
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
        let (order, mut open) = match self {
            Held::Updates(Guards { order: Order::Single, open }) => (Order::Versioned(None), open),
            Held::Updates(guards) => (guards.order, guards.open),
            Held::Loader(_) | Held::Nobody => (Order::Single, Vec::new()),
        };
        if open.len() >= OPEN_MAX {
            return Err(TOO_MANY);
        }
        open.push((token, ctx.now_ms + ms));
        Guards { order, open }.write(ctx, lease);
        Ok(())
    }

    /// Ends a guard; one that is over already changes nothing. The load under way, if there is one, began after the
    /// guard was over, perhaps before the update: it ends too.
    pub(super) fn end(self, ctx: &mut WriteCtx<'_, '_>, lease: &[u8], token: [u8; 8]) {
        let mut open = match self {
            Held::Updates(guards) => guards.open,
            Held::Loader(_) | Held::Nobody => Vec::new(),
        };
        open.retain(|(one, _)| *one != token);
        match open.is_empty() {
            true => super::delete(ctx, lease),
            // In which order this one and the others have written, nobody can tell any more.
            false => Guards { order: Order::Contested, open }.write(ctx, lease),
        }
    }

    /// Ends a guard whose update brings a version. `None`, and nothing is changed, if that is of no use.
    pub(super) fn settle(
        self,
        ctx: &mut WriteCtx<'_, '_>,
        lease: &[u8],
        token: [u8; 8],
        written: Written,
    ) -> Option<Settled> {
        let Held::Updates(Guards { order, mut open }) = self else { return None };
        let count = open.len();
        open.retain(|(one, _)| *one != token);
        let highest = match order {
            Order::Contested => return None,
            _ if open.len() == count => return None,
            Order::Versioned(Some(other)) if other.version > written.version => other,
            _ => written,
        };
        if open.is_empty() {
            super::delete(ctx, lease);
            return Some(Settled::Last(highest));
        }
        Guards { order: Order::Versioned(Some(highest)), open }.write(ctx, lease);
        Some(Settled::Waits)
    }
}

impl Order {
    /// The order, and what follows it. Bytes that nobody has written so are those of contested updates.
    fn take(bytes: &[u8]) -> (Order, &[u8]) {
        match bytes.split_first() {
            Some((b'0', rest)) => (Order::Single, rest),
            Some((b'2', rest)) => (Order::Versioned(None), rest),
            Some((b'3', rest)) => match Written::take(rest) {
                Some((written, rest)) => (Order::Versioned(Some(written)), rest),
                None => (Order::Contested, &[]),
            },
            Some((_, rest)) => (Order::Contested, rest),
            None => (Order::Contested, &[]),
        }
    }

    fn put(&self, held: &mut Vec<u8>) {
        match self {
            Order::Single => held.push(b'0'),
            Order::Contested => held.push(b'1'),
            Order::Versioned(None) => held.push(b'2'),
            Order::Versioned(Some(Written { version, ms, entry })) => {
                held.push(b'3');
                held.extend(version.to_be_bytes());
                held.extend(ms.to_be_bytes());
                // A string is no longer than 512 MiB.
                held.extend((entry.len() as u32).to_be_bytes());
                held.extend(entry);
            }
        }
    }
}

impl Written {
    fn take(bytes: &[u8]) -> Option<(Written, &[u8])> {
        let (version, rest) = bytes.split_first_chunk::<8>()?;
        let (ms, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (entry, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (version, ms) = (u64::from_be_bytes(*version), u64::from_be_bytes(*ms));
        Some((Written { version, ms, entry: entry.to_vec() }, rest))
    }
}

impl Guards {
    fn write(&self, ctx: &mut WriteCtx<'_, '_>, lease: &[u8]) {
        let mut held = vec![GUARD];
        self.order.put(&mut held);
        for (token, until_ms) in &self.open {
            held.extend(token);
            held.extend(until_ms.to_be_bytes());
        }
        let last = self.open.iter().map(|(_, until_ms)| *until_ms).max().unwrap_or(ctx.now_ms);
        super::set_at(ctx, lease, &held, last);
    }
}
