//! The engine in this process.

use super::{framed, unframed};
use crate::command::{Command, Pipeline};
use crate::error::{Error, Result};
use crate::value::Value;
use std::path::Path;

/// An engine.
pub(crate) struct Embedded {
    pub(crate) larder: larder::Larder,
}

impl Embedded {
    pub(crate) fn on(larder: larder::Larder) -> Embedded {
        Embedded { larder }
    }

    /// Opens an engine, with the data in `folder` if one is named.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Embedded> {
        let opened = match folder {
            Some(folder) => larder::Larder::open_dir(folder, larder::Options::default()),
            None => larder::Larder::open(larder::Options::default()),
        };
        opened.map(Embedded::on).map_err(|error| Error::Unreachable(format!("the embedded engine: {error}")))
    }

    pub(crate) async fn execute(&self, command: &Command) -> Result<Value> {
        Value::of_frame(self.larder.execute_async(command.words()).await).or_failed()
    }

    pub(crate) async fn execute_all(&self, pipeline: &Pipeline) -> Result<Vec<Value>> {
        if pipeline.is_atomic {
            let commands = framed(pipeline);
            let (_, replies) = ask(self.larder.connect(), commands).await?;
            return unframed(replies);
        }
        let mut replies = Vec::with_capacity(pipeline.len());
        for command in &pipeline.commands {
            replies.push(Value::of_frame(self.larder.execute_async(command.words()).await));
        }
        Ok(replies)
    }
}

/// Executes commands on a connection of one's own. It may have to wait for long reads of the values it changes, so it
/// does that where no other task is held up.
pub(crate) async fn ask(
    mut connection: larder::Connection,
    commands: Vec<Command>,
) -> Result<(larder::Connection, Vec<Value>)> {
    let work = move || {
        let replies =
            commands.iter().map(|command| Value::of_frame(connection.execute(command.words()))).collect();
        (connection, replies)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Lost(error.to_string()))
}
