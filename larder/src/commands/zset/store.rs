//! The second half of commands that store a sorted set.

use super::event;
use crate::args::Args;
use crate::effects::Event;
use crate::fault::Outcome;
use crate::keyspace::{Expiry, WriteCtx};
use crate::types::Body;
use larder_resp::ReplyWriter;

/// Puts the value under the destination, the first argument, or removes that if there is none; replies with its size.
pub(super) fn install(
    ctx: &mut WriteCtx<'_, '_>,
    mut args: Args<'_>,
    computed: Option<Body>,
    reply: &mut ReplyWriter<'_>,
    name: &'static str,
) -> Outcome {
    let key = args.key()?;
    let len = computed.as_ref().map_or(0, Body::elements);
    match computed {
        Some(body) => ctx.set_body(key, body, Expiry::Never, event(name)),
        None => drop(ctx.delete(key, Event::DEL)),
    }
    reply.integer(len as i64);
    Ok(())
}
