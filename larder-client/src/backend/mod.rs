//! The ways to the data.

mod cluster;
mod embedded;
mod node;

pub(crate) use cluster::Cluster;
pub(crate) use embedded::{Embedded, ask};
pub(crate) use node::{Node, open};

use crate::command::{Command, Pipeline};
use crate::error::{Error, Result};
use crate::value::Value;

/// A way to the data. What goes over a socket is boxed: those futures are large, and next to a round trip a box costs
/// nothing.
pub(crate) enum Backend {
    /// The engine in this process.
    Embedded(Embedded),
    /// One server, or the primary that sentinels name.
    Node(Node),
    /// A cluster.
    Cluster(Cluster),
}

impl Backend {
    /// Sends a command once.
    pub(crate) async fn execute(&self, command: &Command) -> Result<Value> {
        match self {
            Backend::Embedded(embedded) => embedded.execute(command).await,
            Backend::Node(node) => Box::pin(node.execute(command)).await,
            Backend::Cluster(cluster) => Box::pin(cluster.execute(command)).await,
        }
    }

    /// Sends a pipeline once.
    pub(crate) async fn execute_all(&self, pipeline: &Pipeline) -> Result<Vec<Value>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Backend::Embedded(embedded) => embedded.execute_all(pipeline).await,
            Backend::Node(node) => Box::pin(node.execute_all(pipeline)).await,
            Backend::Cluster(cluster) => Box::pin(cluster.execute_all(pipeline)).await,
        }
    }

    /// Sends commands once, all over one connection: in a cluster to who has the first key.
    pub(crate) async fn execute_together(&self, pipeline: &Pipeline) -> Result<Vec<Value>> {
        match self {
            Backend::Cluster(cluster) => Box::pin(cluster.execute_together(pipeline)).await,
            other => other.execute_all(pipeline).await,
        }
    }
}

/// MULTI, the commands and EXEC, as they are sent.
pub(crate) fn framed(pipeline: &Pipeline) -> Vec<Command> {
    let mut commands = Vec::with_capacity(pipeline.len() + 2);
    commands.push(Command::new("MULTI"));
    commands.extend(pipeline.commands.iter().cloned());
    commands.push(Command::new("EXEC"));
    commands
}

/// The replies of the commands of a transaction, from all replies that its sending brought.
///
/// A command that could not even be queued is the reason why nothing was done, so its error is told rather than
/// EXECABORT.
pub(crate) fn unframed(mut replies: Vec<Value>) -> Result<Vec<Value>> {
    let end = replies.pop().unwrap_or(Value::Null);
    match end {
        Value::Array(results) => Ok(results),
        Value::Null => Err(Error::Server {
            code: "EXECABORT".to_owned(),
            message: "a watched key has changed".to_owned(),
        }),
        end => {
            let refused = replies.into_iter().find_map(|reply| reply.or_failed().err());
            Err(refused.unwrap_or_else(|| match end {
                Value::Failed(error) => error,
                other => Error::Unexpected(format!("{other:?} in reply to EXEC")),
            }))
        }
    }
}

/// Many commands as the redis crate packs them.
pub(crate) fn packed(commands: &[Command]) -> redis::Pipeline {
    let mut pipeline = redis::Pipeline::with_capacity(commands.len());
    for command in commands {
        pipeline.add_command(command.to_redis());
    }
    pipeline
}

/// What went wrong, by what is known about it: whether the command was sent at all.
pub(crate) fn of_redis_error(error: &redis::RedisError, was_sent: bool) -> Error {
    if let Some(code) = error.code() {
        return Error::Server {
            code: code.to_owned(),
            message: error.detail().unwrap_or_default().to_owned(),
        };
    }
    match error.kind() {
        redis::ErrorKind::InvalidClientConfig => Error::Url(error.to_string()),
        redis::ErrorKind::AuthenticationFailed => {
            Error::Server { code: "WRONGPASS".to_owned(), message: error.to_string() }
        }
        redis::ErrorKind::UnexpectedReturnType | redis::ErrorKind::Parse => {
            Error::Unexpected(error.to_string())
        }
        _ if was_sent => Error::Lost(error.to_string()),
        _ => Error::Unreachable(error.to_string()),
    }
}
