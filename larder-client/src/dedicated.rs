//! A connection of one's own.

use crate::backend::{Backend, ask};
use crate::client::Larder;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::value::Value;
use redis::aio::{ConnectionLike, MultiplexedConnection};

/// A connection that nobody else uses, made by [`Larder::dedicated`]: what a command changes about its connection
/// (WATCH, MULTI, SELECT) stays as long as it does. It does not come back by itself: when it is lost, so is its state,
/// and all that is left is to open another.
///
/// ```
/// # use larder_client::{Command, Larder};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let larder = Larder::open("embedded://").await?;
/// let mut connection = larder.dedicated().await?;
/// connection.execute(Command::new("WATCH").arg("stock")).await?;
/// let stock = connection.execute(Command::new("GET").arg("stock")).await?.as_integer().unwrap_or(10);
/// connection.execute(Command::new("MULTI")).await?;
/// connection.execute(Command::new("SET").arg("stock").number(stock - 1)).await?;
/// // Null would mean that somebody else has changed the key in the meantime.
/// assert!(!connection.execute(Command::new("EXEC")).await?.is_null());
/// # Ok::<(), larder_client::Error>(())
/// # }).unwrap();
/// ```
pub struct Dedicated(Inner);

enum Inner {
    /// Taken while a command is carried out; gone if that command was dropped.
    Embedded(Option<Box<larder::Connection>>),
    Node(Box<MultiplexedConnection>),
}

impl Dedicated {
    pub(crate) async fn open(larder: &Larder) -> Result<Dedicated> {
        match larder.backend() {
            Backend::Embedded(embedded) => {
                Ok(Dedicated(Inner::Embedded(Some(Box::new(embedded.larder.connect())))))
            }
            Backend::Node(node) => {
                let connection = larder.tried(true, || node.dedicated()).await?;
                Ok(Dedicated(Inner::Node(Box::new(connection))))
            }
            Backend::Cluster(_) => Err(Error::Unsupported(
                "a connection of one's own in a cluster: no single one leads to all keys".to_owned(),
            )),
        }
    }

    /// Executes a command, once.
    ///
    /// # Errors
    /// As [`Larder::execute`].
    pub async fn execute(&mut self, command: Command) -> Result<Value> {
        match &mut self.0 {
            Inner::Embedded(slot) => {
                let Some(connection) = slot.take() else {
                    return Err(Error::Unreachable("an earlier command was given up half-way".to_owned()));
                };
                let (connection, replies) = ask(*connection, vec![command]).await?;
                *slot = Some(Box::new(connection));
                replies.into_iter().next().unwrap_or(Value::Null).or_failed()
            }
            Inner::Node(connection) => {
                let reply = connection.req_packed_command(&command.to_redis()).await;
                reply
                    .map(Value::of_redis)
                    .map_err(|error| crate::backend::of_redis_error(&error, true))?
                    .or_failed()
            }
        }
    }
}
