//! `--eval`: a script from a file, its keys and arguments from the command line.

use std::fs;

use crate::link::{Failure, reason};
use crate::oneshot::{self, Verdict};
use crate::session::Session;

pub(crate) fn run(session: &mut Session) -> Verdict {
    let path = &session.options.eval;
    let script = fs::read(path).map_err(|error| {
        Failure::Local(format!("Can't open file '{}': {}", path.display(), reason(&error)))
    })?;
    let words = oneshot::with_stdin(&session.options, session.options.words.clone())?;
    let comma = words.iter().position(|word| word == b",").unwrap_or(words.len());
    let (keys, arguments) = (&words[..comma], words.get(comma + 1..).unwrap_or_default());
    let mut args = vec![b"EVAL".to_vec(), script, keys.len().to_string().into_bytes()];
    args.extend(keys.iter().chain(arguments).cloned());
    oneshot::repeat(session, &args, session.options.repeat.unwrap_or(1))
}
