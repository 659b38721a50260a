//! The engine in this process.

use super::{framed, unframed};
use crate::command::{Command, Pipeline};
use crate::error::{Error, Result};
use crate::value::Value;
use larder::persist::disk::RealDisk;
use std::io;
use std::path::{Path, PathBuf};

/// An engine, and where its snapshot is kept.
pub(crate) struct Embedded {
    pub(crate) larder: larder::Larder,
    snapshot: Option<PathBuf>,
}

/// The snapshot's name, which is that of Redis, so that either reads the other's.
const SNAPSHOT: &str = "dump.rdb";

impl Embedded {
    pub(crate) fn on(larder: larder::Larder) -> Embedded {
        Embedded { larder, snapshot: None }
    }

    /// Opens an engine and loads the snapshot in `folder`, if there is one.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Embedded> {
        let failed =
            |error: &dyn std::fmt::Display| Error::Unreachable(format!("the embedded engine: {error}"));
        let larder = larder::Larder::open(larder::Options::default()).map_err(|error| failed(&error))?;
        let Some(folder) = folder else { return Ok(Embedded::on(larder)) };
        std::fs::create_dir_all(folder).map_err(|error| failed(&format!("{}: {error}", folder.display())))?;
        let snapshot = folder.join(SNAPSHOT);
        if snapshot.exists() {
            let engine = larder.engine();
            engine
                .load(&mut engine.lane(false), &RealDisk, &snapshot)
                .map_err(|error| failed(&format!("{}: {error}", snapshot.display())))?;
        }
        Ok(Embedded { larder, snapshot: Some(snapshot) })
    }

    /// Writes the snapshot.
    pub(crate) fn save(&self) -> Result<()> {
        let Some(snapshot) = &self.snapshot else {
            return Err(Error::Unsupported("saving without a folder: open embedded:///path".to_owned()));
        };
        let engine = self.larder.engine();
        let failed = |error: io::Error| Error::Server {
            code: "ERR".to_owned(),
            message: format!("cannot save to {}: {error}", snapshot.display()),
        };
        engine.save(&engine.lane(false), &RealDisk, snapshot).map_err(failed)
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
