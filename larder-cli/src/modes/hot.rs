//! `--hotkeys`: the keys with the highest counter of uses.

use crate::link::Failure;
use crate::modes::walk::{self, Walk, percent, shown, words};
use crate::oneshot::{Verdict, good};
use crate::output;
use crate::session::Session;

/// How many are kept, unless `--top` says otherwise.
const TOP: usize = 16;

pub(crate) fn run(session: &mut Session) -> Verdict {
    output::write(
        b"\n# Scanning the entire keyspace to find hot keys as well as\n\
          # average sizes per key type.  You can use -i 0.1 to sleep 0.1 sec\n\
          # per 100 SCAN commands (not usually needed).\n\n",
    )?;
    let top = session.options.keys.top.unwrap_or(TOP).max(1);
    let mut hottest: Vec<(i64, Vec<u8>)> = Vec::new();
    let (mut sampled, mut whole) = (0, walk::count(session, "DBSIZE")?);
    let mut walk = Walk::new(session);
    loop {
        let keys = match walk.next(session) {
            Ok(Some(keys)) => keys,
            Ok(None) | Err(Failure::Interrupted) => break,
            Err(failure) => return Err(failure),
        };
        whole = whole.max(sampled + keys.len() as u64);
        let done = percent(sampled, whole);
        let replies = walk::each(session, &keys, |key| words(&[b"OBJECT", b"FREQ", key]))?;
        for (key, reply) in keys.into_iter().zip(replies) {
            sampled += 1;
            let reply = good(reply)
                .map_err(|failure| Failure::Local(failure.to_string().replacen("ERR: ", "Error: ", 1)))?;
            let uses = reply.integer().unwrap_or(0);
            let place = hottest.partition_point(|(other, _)| *other >= uses);
            if uses == 0 || place == top {
                continue;
            }
            let line = format!("[{done:05.2}%] Hot key '{}' found so far with counter {uses}\n", shown(&key));
            output::write(line.as_bytes())?;
            hottest.insert(place, (uses, key));
            hottest.truncate(top);
        }
    }
    let mut summary = format!("\n-------- summary -------\n\nSampled {sampled} keys in the keyspace!\n");
    for (uses, key) in hottest {
        summary.push_str(&format!("hot key found with counter: {uses}\tkeyname: {}\n", shown(&key)));
    }
    output::write(summary.as_bytes()).map(|()| true)
}
