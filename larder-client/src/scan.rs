//! Walking over keys.

use crate::backend::Backend;
use crate::client::Larder;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::value::Value;

/// A walk over keys, made by [`Larder::scan`]: a key that is there from the beginning to the end of the walk is found,
/// maybe more than once; others may be or not. In a cluster it goes through all primaries.
pub struct Scan {
    larder: Larder,
    pattern: Vec<u8>,
    count: u32,
    state: State,
}

enum State {
    New,
    /// Nodes of a cluster that are still to be walked, the current one last; and the cursor.
    Nodes(Vec<(String, u16)>, Vec<u8>),
    /// The cursor on a single server.
    At(Vec<u8>),
    Over,
}

/// The cursor that begins a walk, and that ends it.
const START: &[u8] = b"0";

impl Scan {
    pub(crate) fn new(larder: Larder, pattern: &[u8]) -> Scan {
        Scan { larder, pattern: pattern.to_vec(), count: 100, state: State::New }
    }

    /// About how many keys to look at for each batch; 100 by default.
    #[must_use]
    pub fn count(mut self, count: u32) -> Scan {
        self.count = count.max(1);
        self
    }

    /// The next keys, which may be none although there are more; `None` at the end.
    ///
    /// # Errors
    /// Trouble with the connection. The next call goes on where this one failed.
    pub async fn next_batch(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        if matches!(self.state, State::New) {
            self.state = match self.larder.backend() {
                Backend::Cluster(cluster) => State::Nodes(cluster.primaries().await?, START.to_vec()),
                _ => State::At(START.to_vec()),
            };
        }
        match &self.state {
            State::New | State::Over => Ok(None),
            State::At(cursor) => {
                let (next, keys) = read(self.larder.execute(self.command(cursor)).await?)?;
                self.state = if next == START { State::Over } else { State::At(next) };
                Ok(Some(keys))
            }
            State::Nodes(nodes, cursor) => {
                let (Some(node), Backend::Cluster(cluster)) = (nodes.last().cloned(), self.larder.backend())
                else {
                    return Ok(None);
                };
                let command = self.command(cursor);
                let (next, keys) =
                    read(self.larder.tried(true, || cluster.execute_on(&node, &command)).await?)?;
                if let State::Nodes(nodes, cursor) = &mut self.state {
                    if next == START {
                        nodes.pop();
                    }
                    *cursor = next;
                }
                Ok(Some(keys))
            }
        }
    }

    /// All that is left, at once.
    ///
    /// # Errors
    /// Trouble with the connection.
    pub async fn collect(mut self) -> Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        while let Some(mut batch) = self.next_batch().await? {
            all.append(&mut batch);
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    fn command(&self, cursor: &[u8]) -> Command {
        Command::new("SCAN").arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").number(self.count)
    }
}

/// Cursor and keys of a reply.
fn read(reply: Value) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut parts = reply.into_list()?.into_iter();
    match (parts.next(), parts.next()) {
        (Some(Value::Bytes(cursor)), Some(keys)) => Ok((cursor, keys.into_strings()?)),
        _ => Err(Error::Unexpected("SCAN without a cursor and keys".to_owned())),
    }
}
