//! The change feed: the last changes in a list, and each of them published as it happens.

use super::meta::Meta;
use crate::args::Args;
use crate::commands::list::{new_list, push_event};
use crate::fault::{Fault, Outcome};
use crate::keyspace::{ReadCtx, WriteCtx};
use crate::types::List;
use crate::types::list::End;
use crate::types::string::Digits;
use larder_resp::ReplyWriter;

/// Where a change is told, and by whom.
pub(super) struct Feed<'a> {
    log: &'a [u8],
    node: &'a [u8],
    channel: &'a [u8],
    keep: i64,
}

impl<'a> Feed<'a> {
    /// Takes node, channel, and how many changes to keep.
    pub(super) fn parse(log: &'a [u8], args: &mut Args<'a>) -> Result<Feed<'a>, Fault> {
        const KEEP: Fault = Fault::row("ERR", "keep must be a number from 1 to 1000000");
        let node = args.bytes()?;
        if node.len() != 8 {
            return Err(Fault::row("ERR", "a node has 8 bytes"));
        }
        Ok(Feed { log, node, channel: args.bytes()?, keep: args.int_in(1..=1_000_000, KEEP)? })
    }

    /// Refuses what could not be told, before anything is changed.
    pub(super) fn check(&self, ctx: &mut WriteCtx<'_, '_>, name: &[u8]) -> Outcome {
        const NAME: Fault = Fault::row("ERR", "a name has at most 4096 bytes");
        if name.len() > 4096 {
            return Err(NAME);
        }
        ctx.collection::<List>(self.log).map(|_| ())
    }

    /// Appends and publishes a change: epoch, node, when it was made (for those who measure how long the news take, and
    /// for nothing else), kind, and what was changed.
    pub(super) fn tell(&self, ctx: &mut WriteCtx<'_, '_>, meta: Meta, kind: u8, what: &[u8]) -> Outcome {
        let mut record = Vec::with_capacity(25 + what.len());
        record.extend(meta.seq.to_be_bytes());
        record.extend(self.node);
        record.extend(ctx.now_ms.to_be_bytes());
        record.push(kind);
        record.extend(what);
        let config = ctx.config();
        let mut list = ctx.open_or(self.log, push_event(End::Right), || new_list(config))?;
        list.push(End::Right, &record);
        list.changed(1);
        let is_full = list.len() as i64 > self.keep;
        if is_full {
            list.trim(-self.keep, -1);
        }
        drop(list);
        ctx.log_instead(&[b"RPUSH", self.log, &record]);
        if is_full {
            ctx.log_instead(&[b"LTRIM", self.log, Digits::new().format(-self.keep).as_bytes(), b"-1"]);
        }
        ctx.engine.pubsub.publish(self.channel, &[&meta.era[..], &record].concat());
        Ok(())
    }
}

/// The changes from `after` (exclusive) to `seq`, or null if they are not all there.
pub(super) fn reply_since(
    ctx: &ReadCtx<'_>,
    log: &[u8],
    seq: u64,
    after: u64,
    reply: &mut ReplyWriter<'_>,
) -> Outcome {
    let wanted = seq.checked_sub(after);
    let list = ctx.collection::<List>(log)?;
    match (wanted, list) {
        (Some(0), _) => reply.array(0),
        (Some(wanted), Some(list)) if wanted <= list.len() as u64 => {
            reply.array(wanted as usize);
            for record in list.range(-(wanted as i64), -1) {
                reply.bulk(record.bytes(&mut Digits::new()));
            }
        }
        _ => reply.null_array(),
    }
    Ok(())
}
