//! The slow log: the last commands that took longer than a limit.

use crate::lane::Lane;
use crate::secrets;
use crate::session::Session;
use larder_resp::Request;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;

/// Arguments kept of a slow command.
const ARGUMENTS_MAX: usize = 32;
/// Bytes kept of an argument.
const ARGUMENT_BYTES_MAX: usize = 128;

/// A command that was slow.
#[derive(Debug, Clone)]
pub struct SlowCommand {
    /// Counts from 0 on, also over SLOWLOG RESET.
    pub id: u64,
    /// When it ran, Unix seconds.
    pub unix_seconds: u64,
    /// How long.
    pub usec: u64,
    /// Its arguments, cut.
    pub arguments: Vec<Vec<u8>>,
    /// Whose it was.
    pub address: String,
    /// The connection's name.
    pub client_name: String,
}

/// The log.
#[derive(Default)]
pub struct Slowlog {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next_id: u64,
    commands: VecDeque<Arc<SlowCommand>>,
}

impl Slowlog {
    pub(crate) fn note(
        &self,
        lane: &Lane,
        session: Option<&Session>,
        request: Request<'_>,
        usec: u64,
        capacity: usize,
    ) {
        let client = session.map(|session| &session.client);
        let mut inner = self.inner.lock();
        let command = SlowCommand {
            id: inner.next_id,
            unix_seconds: lane.now_us / 1_000_000,
            usec,
            arguments: cut(request),
            address: client.map_or(String::new(), |client| client.origin.address.clone()),
            client_name: client.map_or(String::new(), |client| client.text.lock().name.clone()),
        };
        inner.next_id += 1;
        inner.commands.push_front(Arc::new(command));
        inner.commands.truncate(capacity);
    }

    /// The newest `count` of them, newest first; all if `count` is `None`.
    pub fn newest(&self, count: Option<usize>) -> Vec<Arc<SlowCommand>> {
        self.inner.lock().commands.iter().take(count.unwrap_or(usize::MAX)).cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inner.lock().commands.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets them.
    pub fn clear(&self) {
        self.inner.lock().commands.clear();
    }
}

fn cut(request: Request<'_>) -> Vec<Vec<u8>> {
    let total = request.len();
    let kept = if total > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { total };
    let secrets = secrets::positions(request);
    let mut arguments: Vec<Vec<u8>> = request
        .iter()
        .enumerate()
        .take(kept)
        .map(|(at, argument)| {
            if secrets.contains(&at) {
                return secrets::REDACTED.to_vec();
            }
            if argument.len() <= ARGUMENT_BYTES_MAX {
                return argument.to_vec();
            }
            let mut cut = argument[..ARGUMENT_BYTES_MAX].to_vec();
            cut.extend(format!("... ({} more bytes)", argument.len() - ARGUMENT_BYTES_MAX).bytes());
            cut
        })
        .collect();
    if total > kept {
        arguments.push(format!("... ({} more arguments)", total - kept).into_bytes());
    }
    arguments
}
