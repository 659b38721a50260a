//! `--scan`: the names of all keys.

use crate::format::Format;
use crate::link::Failure;
use crate::modes::walk::{Walk, shown};
use crate::oneshot::Verdict;
use crate::output;
use crate::session::Session;

pub(crate) fn run(session: &mut Session) -> Verdict {
    let quotes = matches!(session.format, Format::Tty { .. });
    let mut walk = Walk::new(session).pausing_always();
    while let Some(keys) = walk.next(session)? {
        let mut page = Vec::new();
        for key in keys {
            if quotes {
                page.extend(shown(&key).bytes())
            } else {
                page.extend(key)
            }
            page.push(b'\n');
        }
        output::write(&page)?;
    }
    Ok::<bool, Failure>(true)
}
