//! The cache commands: leases, epochs and the change feed of `larder-cache`, each one atomic step.
//!
//! # What is kept
//!
//! A namespace of a cache has two keys of its own, `meta` and `log`, and for each entry a `value` and, while somebody
//! loads it, a `lease`.
//!
//! `meta` is a hash. `e` is the **era**, eight random bytes, so that everything that was written before `meta` was lost
//! (evicted, flushed) is recognized as foreign and counts as absent. `s` is the **epoch**, a number that every change
//! counts up; `c` is the epoch of the last clearing, `i` that of the last invalidation by tag or clearing. `t<tag>` tells
//! of a tag, for as long as entries with that tag can live: the epochs at which it was last removed and last expired,
//! and when the field may be forgotten. Epochs order invalidations and loads without any clock.
//!
//! `value` is a string with a [header](Header) that says at which epoch its load began. It is **valid** if it is of this
//! era, not older than the last clearing, and not older than the last removal of any of its tags; a tag that `meta` does
//! not know makes it invalid. It is **stale** if it is older than the last expiry of one of its tags, or if it has no
//! more to live than the time for which it may be served stale.
//!
//! # Why no stale value is ever left behind
//!
//! A loader takes the lease and the epoch *before* it reads the source. What it loaded is stored only if the lease is
//! still its own, which SET and DROP of the key end, and if nothing it depends on was invalidated at a later epoch: so a
//! value read before an invalidation cannot be stored after it. Tags may be learned at the end of the load. One that
//! `meta` does not know could have been invalidated and forgotten in the meantime, so the value is refused if there was
//! any invalidation by tag since the epoch; the tag is known from then on, and the next load is stored. Updates of the
//! source take time themselves; they hold loads off with [guards](Held).
//!
//! # Queues
//!
//! A queue of changes that are written back is kept in a hash, by the process whose token is in the queue's `lease`. NOTE
//! changes that hash only as long as this is so, and as long as the `fence`, which counts owners, is where it was.
//!
//! # The change feed
//!
//! Every change of a key and every invalidation is appended to `log`, with its epoch, and published. Epochs are
//! consecutive in the log, so a listener sees a gap; CACHE SINCE gives it what it has missed, or says that this is gone.

mod feed;
mod header;
mod held;
mod meta;
mod note;

use crate::args::Args;
use crate::command::{Access, Command, Cost, Group, Keys, Memory, Run};
use crate::effects::Event;
use crate::fault::{Fault, Outcome};
use crate::keyspace::{Expiry, ReadCtx, WriteCtx};
use feed::Feed;
use header::{Header, Seen, check_tags, look, look_and};
use held::{GUARD, Held, Settled, Written};
use larder_resp::ReplyWriter;
use meta::Meta;
use note::NOTE;

pub(crate) const FAMILY: &[Command] = &[CACHE];

const BASE: Command = Command {
    group: Group::Cache,
    since: "larder",
    cost: Cost::Slow("O(N) where N is the number of tags"),
    memory: Memory::Grows,
    ..Command::BASE
};

const CACHE: Command = Command {
    name: "CACHE",
    summary: "Commands of caches: leases, epochs and the change feed.",
    memory: Memory::Same,
    subcommands: &[DROP, FILL, GET, super::HELP, LEASE, NOTE, SET, SINCE, TAG, TOUCH],
    ..BASE
};

const fn changed(last: i64) -> Keys {
    Keys::range(2, last, 1).does(Access::ReadWrite, &["UPDATE"])
}

const GET: Command = Command {
    name: "GET",
    usage: "value meta",
    summary: "Get an entry with era, epoch, state (0 absent, 1 fresh, 2 stale) and milliseconds left.",
    keys: &[Keys::range(2, 3, 1)],
    memory: Memory::Same,
    example: "CACHE GET v m -> 1) (nil) 2) (integer) 0 3) (integer) 0 4) (integer) 0 5) (nil)",
    run: Run::Read(get),
    ..BASE
};

fn get(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (value, meta) = (args.key()?, args.key()?);
    let known = Meta::read(ctx, meta)?;
    let seen = look(ctx, value, meta, known)?;
    reply.array(5);
    reply_seen(ctx, known, seen, value, reply)
}

/// An entry of a cache as CACHE GET tells of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheEntry {
    /// The era of its namespace; `None` before the first change.
    pub era: Option<[u8; 8]>,
    /// The epoch of its namespace.
    pub epoch: u64,
    /// 0 absent or invalid, 1 fresh, 2 stale.
    pub state: u8,
    /// Milliseconds that it can still be served.
    pub left_ms: u64,
    /// Header and data; empty if absent.
    pub bytes: Vec<u8>,
}

/// What CACHE GET replies, for the caches of this program.
pub(crate) fn entry(ctx: &ReadCtx<'_>, value: &[u8], meta: &[u8]) -> Result<CacheEntry, Fault> {
    let known = Meta::read(ctx, meta)?;
    let (seen, bytes) = look_and(ctx, value, meta, known, <[u8]>::to_vec)?;
    Ok(CacheEntry {
        era: known.map(|meta| meta.era),
        epoch: known.map_or(0, |meta| meta.seq),
        state: seen.state,
        left_ms: seen.left_ms,
        bytes: bytes.unwrap_or_default(),
    })
}

/// Era, epoch, state, time left and bytes.
fn reply_seen(
    ctx: &ReadCtx<'_>,
    known: Option<Meta>,
    seen: Seen,
    value: &[u8],
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    match known {
        Some(meta) => reply.bulk(&meta.era),
        None => reply.null(),
    }
    reply.integer(known.map_or(0, |meta| meta.seq as i64));
    reply.integer(seen.state as i64);
    reply.integer(seen.left_ms as i64);
    match ctx.string(value)?.filter(|_| seen.state != 0) {
        Some(bytes) => reply.bulk(bytes.bytes(&mut crate::types::string::Digits::new())),
        None => reply.null(),
    }
    Ok(())
}

const LEASE: Command = Command {
    name: "LEASE",
    usage: "value meta lease token milliseconds era even-if-fresh",
    summary: "Get an entry and, if it is not fresh, the right to load it.",
    keys: &[changed(4)],
    example: "CACHE LEASE v m w me 1000 eraeraer 0 -> 1) \"eraeraer\" 2) (integer) 0 3) (integer) 0 4) (integer) 0 \
              5) (nil) 6) (integer) 1 7) (integer) 1000",
    run: Run::Write(lease),
    ..BASE
};

fn lease(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (value, meta, lease) = (args.key()?, args.key()?, args.key()?);
    let token = args.bytes()?;
    if token.first() == Some(&GUARD) {
        return Err(Fault::row("ERR", "the token of a loader does not begin with !"));
    }
    let ms = millis(&mut args)?;
    let era = meta::era(&mut args)?;
    let even_if_fresh = args.int()? != 0;
    let held = Held::read(&ctx.reader(), lease)?;
    let known = Meta::open(ctx, meta, era)?;
    let seen = look(&ctx.reader(), value, meta, Some(known))?;
    let (mut is_granted, mut wait_ms) = (false, 0);
    if seen.state != 1 || even_if_fresh {
        let now_ms = ctx.now_ms;
        match held {
            Held::Loader(_) => {
                let until_ms = ctx.find(lease).and_then(|found| found.expires_at_ms);
                wait_ms = until_ms.map_or(1, |at_ms| at_ms.saturating_sub(now_ms).max(1)) as i64;
            }
            // Nobody knows when an update ends.
            Held::Updates(_) => wait_ms = -1,
            Held::Nobody => {
                set_at(ctx, lease, token, now_ms + ms);
                (is_granted, wait_ms) = (true, ms as i64);
            }
        }
    }
    reply.array(7);
    reply_seen(&ctx.reader(), Some(known), seen, value, reply)?;
    reply.integer(i64::from(is_granted));
    reply.integer(wait_ms);
    Ok(())
}

const FILL: Command = Command {
    name: "FILL",
    usage: "value meta lease token era epoch milliseconds stale-milliseconds data [tag [tag ...]]",
    summary: "Store what was loaded under a lease, or written under a guard (!guard, with a version of 8 bytes behind it if \
              it has one), unless it is out of date.",
    keys: &[changed(4)],
    example: "CACHE LEASE v m w me 1000 eraeraer 0 -> 1) \"eraeraer\" 2) (integer) 0 3) (integer) 0 4) (integer) 0 \
              5) (nil) 6) (integer) 1 7) (integer) 1000\n\
              CACHE FILL v m w me eraeraer 0 60000 0 hello -> (integer) 1\n\
              CACHE FILL v m w me eraeraer 0 60000 0 again -> (integer) 0",
    run: Run::Write(fill),
    ..BASE
};

fn fill(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (value, meta, lease) = (args.key()?, args.key()?, args.key()?);
    let token = args.bytes()?;
    let era = meta::era(&mut args)?;
    let seq = count(&mut args)?;
    let (ms, stale_ms) = (millis(&mut args)?, count(&mut args)?);
    let data = args.bytes()?;
    check_tags(args)?;
    let held = Held::read(&ctx.reader(), lease)?;
    let version = held::versioned(token);
    let is_mine = version.is_none() && held.is_by(token);
    if is_mine {
        delete(ctx, lease);
    }
    let mut outcome = 0;
    if (is_mine || version.is_some())
        && let Some(known) = Meta::read(&ctx.reader(), meta)?
        && known.era == era
        && seq >= known.cleared
        && known.admit_tags(ctx, meta, seq, ms, args)?
    {
        let entry = Header { era, seq, stale_ms }.before(data, args);
        outcome = match version {
            None => {
                set_at(ctx, value, &entry, ctx.now_ms + ms);
                1
            }
            Some((guard, version)) => {
                let settled = held.settle(ctx, lease, guard, Written { version, ms, entry });
                store_settled(ctx, value, version, settled)
            }
        };
    }
    reply.integer(outcome);
    Ok(())
}

/// Stores what has the highest version, if that is known by now: 0 if it was refused, 1 if it is the one with this
/// version, 2 if others may bring a higher one, 3 if one has.
fn store_settled(ctx: &mut WriteCtx<'_, '_>, value: &[u8], version: u64, settled: Option<Settled>) -> i64 {
    match settled {
        None => 0,
        Some(Settled::Waits) => 2,
        Some(Settled::Last(written)) => {
            set_at(ctx, value, &written.entry, ctx.now_ms + written.ms);
            if written.version == version { 1 } else { 3 }
        }
    }
}

const SET: Command = Command {
    name: "SET",
    usage: "value meta lease log era node channel keep name milliseconds stale-milliseconds data [tag [tag ...]]",
    summary: "Store an entry, unless an update of it is under way, end the load of it, and tell the others.",
    keys: &[changed(5)],
    example: "CACHE SET v m w l eraeraer nodenode c 10 name 60000 0 hello -> 1) \"eraeraer\" 2) (integer) 1 \
              3) (integer) 1",
    run: Run::Write(set),
    ..BASE
};

fn set(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (value, meta, lease, log) = (args.key()?, args.key()?, args.key()?, args.key()?);
    let era = meta::era(&mut args)?;
    let feed = Feed::parse(log, &mut args)?;
    let name = args.bytes()?;
    let (ms, stale_ms) = (millis(&mut args)?, count(&mut args)?);
    let data = args.bytes()?;
    check_tags(args)?;
    feed.check(ctx, name)?;
    let held = Held::read(&ctx.reader(), lease)?;
    let known = Meta::open(ctx, meta, era)?.advance(ctx, meta)?;
    // Whether this or the update is the newer value, only the source knows.
    let is_stored = !held.interrupt(ctx, lease);
    if is_stored {
        known.admit_tags(ctx, meta, known.seq, ms, args)?;
        let bytes = Header { era: known.era, seq: known.seq, stale_ms }.before(data, args);
        set_at(ctx, value, &bytes, ctx.now_ms + ms);
    } else {
        delete(ctx, value);
    }
    feed.tell(ctx, known, if is_stored { b's' } else { b'r' }, name)?;
    reply.array(3);
    reply_epoch(known, reply);
    reply.integer(i64::from(is_stored));
    Ok(())
}

const DROP: Command = Command {
    name: "DROP",
    usage: "value meta lease log era node channel keep name mode [guard [milliseconds]]",
    summary: "Remove an entry (mode r), let it be stale (x), begin (g) or end (e) an update of it, and tell the others.",
    keys: &[changed(5)],
    example: "CACHE DROP v m w l eraeraer nodenode c 10 name r -> 1) \"eraeraer\" 2) (integer) 1",
    run: Run::Write(drop_entry),
    ..BASE
};

fn drop_entry(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (value, meta, lease, log) = (args.key()?, args.key()?, args.key()?, args.key()?);
    let era = meta::era(&mut args)?;
    let feed = Feed::parse(log, &mut args)?;
    let name = args.bytes()?;
    let mode = one_of(&mut args, b"rxge")?;
    let guard = if matches!(mode, b'g' | b'e') { held::token(&mut args)? } else { [0; 8] };
    let ms = if mode == b'g' { millis(&mut args)? } else { 0 };
    args.finish()?;
    feed.check(ctx, name)?;
    let held = Held::read(&ctx.reader(), lease)?;
    let known = Meta::open(ctx, meta, era)?;
    let seen = look(&ctx.reader(), value, meta, Some(known))?;
    match mode {
        b'g' => held.begin(ctx, lease, guard, ms)?,
        b'e' => held.end(ctx, lease, guard),
        _ => _ = held.interrupt(ctx, lease),
    }
    if mode == b'x' && seen.state != 0 && seen.stale_ms > 0 {
        if seen.left_ms > seen.stale_ms {
            let at_ms = ctx.now_ms + seen.stale_ms;
            ctx.set_expiry(value, Some(at_ms), Event::EXPIRE);
            ctx.log_instead(&[b"PEXPIREAT", value, at_ms.to_string().as_bytes()]);
        }
    } else {
        delete(ctx, value);
    }
    let known = known.advance(ctx, meta)?;
    feed.tell(ctx, known, if mode == b'x' { b'x' } else { b'r' }, name)?;
    reply.array(2);
    reply_epoch(known, reply);
    Ok(())
}

const TAG: Command = Command {
    name: "TAG",
    usage: "meta log era node channel keep milliseconds mode [tag [tag ...]]",
    summary: "Remove all entries with a tag (mode r), let them be stale (x), or remove all entries there are (c).",
    keys: &[changed(3)],
    example: "CACHE TAG m l eraeraer nodenode c 10 60000 r red -> 1) \"eraeraer\" 2) (integer) 1",
    run: Run::Write(tag),
    ..BASE
};

fn tag(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (meta, log) = (args.key()?, args.key()?);
    let era = meta::era(&mut args)?;
    let feed = Feed::parse(log, &mut args)?;
    let ms = millis(&mut args)?;
    let mode = one_of(&mut args, b"rxc")?;
    check_tags(args)?;
    feed.check(ctx, b"")?;
    let mut known = Meta::open(ctx, meta, era)?;
    if mode == b'c' {
        known = known.advance(ctx, meta)?.clear(ctx, meta)?;
        feed.tell(ctx, known, b'c', b"")?;
    } else {
        for tag in args.rest() {
            known = known.advance(ctx, meta)?.invalidate(ctx, meta, tag, ms, mode == b'x')?;
            feed.tell(ctx, known, if mode == b'x' { b'u' } else { b't' }, tag)?;
        }
    }
    reply.array(2);
    reply_epoch(known, reply);
    Ok(())
}

const SINCE: Command = Command {
    name: "SINCE",
    usage: "meta log epoch",
    summary: "Get the changes after an epoch, or null if they are not kept any more.",
    keys: &[Keys::range(2, 3, 1)],
    memory: Memory::Same,
    cost: Cost::Slow("O(N) where N is the number of changes"),
    example: "CACHE SINCE m l 0 -> 1) (nil) 2) (integer) 0 3) (empty array)",
    run: Run::Read(since),
    ..BASE
};

fn since(ctx: &ReadCtx<'_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (meta, log) = (args.key()?, args.key()?);
    let epoch = count(&mut args)?;
    let known = Meta::read(ctx, meta)?;
    reply.array(3);
    match known {
        Some(meta) => reply.bulk(&meta.era),
        None => reply.null(),
    }
    let seq = known.map_or(0, |meta| meta.seq);
    reply.integer(seq as i64);
    feed::reply_since(ctx, log, seq, epoch, reply)
}

const TOUCH: Command = Command {
    name: "TOUCH",
    usage: "value meta milliseconds",
    summary: "Let an entry that is fresh live for some time from now on, if that is longer.",
    keys: &[changed(3)],
    memory: Memory::Same,
    example: "CACHE TOUCH v m 60000 -> (integer) 0",
    run: Run::Write(touch),
    ..BASE
};

fn touch(ctx: &mut WriteCtx<'_, '_>, mut args: Args<'_>, reply: &mut ReplyWriter<'_>) -> Outcome {
    let (value, meta) = (args.key()?, args.key()?);
    let ms = millis(&mut args)?;
    let known = Meta::read(&ctx.reader(), meta)?;
    let seen = look(&ctx.reader(), value, meta, known)?;
    let is_longer = seen.state == 1 && seen.left_ms < ms;
    if is_longer {
        let at_ms = ctx.now_ms + ms;
        ctx.set_expiry(value, Some(at_ms), Event::EXPIRE);
        ctx.log_instead(&[b"PEXPIREAT", value, at_ms.to_string().as_bytes()]);
    }
    reply.integer(i64::from(is_longer));
    Ok(())
}

/// Era and epoch.
fn reply_epoch(known: Meta, reply: &mut ReplyWriter<'_>) {
    reply.bulk(&known.era);
    reply.integer(known.seq as i64);
}

/// A number of milliseconds, from 1 to about 300,000 years.
fn millis(args: &mut Args<'_>) -> Result<u64, Fault> {
    const FAULT: Fault = Fault::row("ERR", "milliseconds must be a number from 1 to 10000000000000000");
    args.int_in(1..=10_i64.pow(16), FAULT).map(|ms| ms as u64)
}

/// A number from 0 to 2^53, which every script language can count to.
fn count(args: &mut Args<'_>) -> Result<u64, Fault> {
    const FAULT: Fault = Fault::row("ERR", "value must be a number from 0 to 9007199254740992");
    args.int_in(0..=1 << 53, FAULT).map(|count| count as u64)
}

fn one_of(args: &mut Args<'_>, modes: &[u8]) -> Result<u8, Fault> {
    match args.bytes()? {
        [mode] if modes.contains(mode) => Ok(*mode),
        _ => Err(Fault::err(format!("mode must be one of {}", modes.escape_ascii()))),
    }
}

fn set_at(ctx: &mut WriteCtx<'_, '_>, key: &[u8], bytes: &[u8], at_ms: u64) {
    ctx.set_string(key, bytes, Expiry::AtMs(at_ms), Event::SET);
    ctx.log_instead(&[b"SET", key, bytes, b"PXAT", at_ms.to_string().as_bytes()]);
}

/// Deletes a key, if it is there.
fn delete(ctx: &mut WriteCtx<'_, '_>, key: &[u8]) {
    if ctx.delete(key, Event::DEL) {
        ctx.log_instead(&[b"DEL", key]);
    }
}
