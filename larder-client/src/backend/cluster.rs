//! A cluster. The redis crate knows who has which slots, follows redirections and learns of fail-overs.

use super::{framed, of_redis_error, packed, unframed};
use crate::command::{Command, Pipeline, hash_slot};
use crate::error::{Error, Result};
use crate::events::{Event, Events};
use crate::options::Options;
use crate::value::Value;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{ConnectionInfo, ProtocolVersion};
use std::collections::BTreeMap;
use std::future::Future;

/// A cluster.
pub(crate) struct Cluster {
    client: ClusterClient,
    seeds: Vec<ConnectionInfo>,
    options: Options,
    events: Events,
    connection: tokio::sync::Mutex<Option<ClusterConnection>>,
}

/// The address of a node.
pub(crate) type Address = (String, u16);

impl Cluster {
    pub(crate) fn new(seeds: Vec<ConnectionInfo>, options: Options, events: Events) -> Result<Cluster> {
        let mut builder = ClusterClient::builder(seeds.clone())
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(options.connect_timeout)
            .response_timeout(options.response_timeout)
            .retries(options.retries);
        if let Some(certificates) = options.certificates() {
            builder = builder.certs(certificates);
        }
        let client = builder.build().map_err(|error| of_redis_error(&error, false))?;
        Ok(Cluster { client, seeds, options, events, connection: tokio::sync::Mutex::new(None) })
    }

    pub(crate) async fn connection(&self) -> Result<ClusterConnection> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        let wait = self.options.connect_timeout.saturating_mul(2);
        let connected = tokio::time::timeout(wait, self.client.get_async_connection()).await;
        let connection = connected
            .map_err(|_| Error::Unreachable(format!("the cluster does not answer within {wait:?}")))?
            .map_err(|error| of_redis_error(&error, false))?;
        *slot = Some(connection.clone());
        drop(slot);
        let address = self.seeds.first().map(|seed| seed.addr().to_string()).unwrap_or_default();
        self.events.tell(Event::Connected { address });
        Ok(connection)
    }

    pub(crate) async fn execute(&self, command: &Command) -> Result<Value> {
        let mut connection = self.connection().await?;
        let sent = match route(command) {
            Some(route) => {
                let route = RoutingInfo::SingleNode(route);
                self.timed(connection.route_command(command.to_redis(), route)).await
            }
            None => {
                let cmd = command.to_redis();
                let work =
                    async { redis::aio::ConnectionLike::req_packed_command(&mut connection, &cmd).await };
                self.timed(work).await
            }
        };
        sent.map(Value::of_redis)?.or_failed()
    }

    /// A reply, or the end of patience: while a node is failing over the redis crate may try for long.
    async fn timed<T>(&self, work: impl Future<Output = redis::RedisResult<T>>) -> Result<T> {
        let wait = self.options.response_timeout.saturating_mul(1 + self.options.retries);
        match tokio::time::timeout(wait, work).await {
            Ok(reply) => reply.map_err(|error| of_redis_error(&error, true)),
            Err(_) => Err(Error::Lost(format!("no reply within {wait:?}"))),
        }
    }

    pub(crate) async fn execute_all(&self, pipeline: &Pipeline) -> Result<Vec<Value>> {
        let slots: Vec<Option<u16>> =
            pipeline.commands.iter().map(|command| command.first_key().map(hash_slot)).collect();
        if pipeline.is_atomic {
            let mut keyed = slots.iter().flatten();
            let first = keyed.next().copied();
            if keyed.any(|slot| Some(*slot) != first) {
                return Err(Error::Server {
                    code: "CROSSSLOT".to_owned(),
                    message: "the keys of a transaction must be of one hash slot".to_owned(),
                });
            }
            return unframed(self.send(&framed(pipeline), first).await?);
        }
        let mut groups: BTreeMap<Option<u16>, Vec<usize>> = BTreeMap::new();
        for (index, slot) in slots.into_iter().enumerate() {
            groups.entry(slot).or_default().push(index);
        }
        let sends = groups.into_iter().map(|(slot, indexes)| async move {
            let commands: Vec<Command> =
                indexes.iter().map(|index| pipeline.commands[*index].clone()).collect();
            let replies = self.send(&commands, slot).await;
            (indexes, replies)
        });
        let mut all: Vec<Value> = vec![Value::Null; pipeline.len()];
        for (indexes, replies) in futures_util::future::join_all(sends).await {
            match replies {
                Ok(replies) => indexes.iter().zip(replies).for_each(|(index, reply)| all[*index] = reply),
                // Others may have succeeded, so that each has its own outcome.
                Err(error) => indexes.iter().for_each(|index| all[*index] = Value::Failed(error.clone())),
            }
        }
        Ok(all)
    }

    /// Sends commands together to who has the first key.
    pub(crate) async fn execute_together(&self, pipeline: &Pipeline) -> Result<Vec<Value>> {
        let is_elsewhere = |reply: &Value| match reply {
            Value::Failed(error) => matches!(error.code(), Some("MOVED" | "ASK" | "READONLY")),
            _ => false,
        };
        let Some(key) = pipeline.commands.iter().find_map(Command::first_key) else {
            return self.send(&pipeline.commands, None).await;
        };
        let slot = Some(hash_slot(key));
        let replies = self.send(&pipeline.commands, slot).await?;
        let mut keyed = pipeline.commands.iter().zip(&replies).filter(|(it, _)| it.first_key().is_some());
        // What was carried out in part is not to be carried out again.
        if !keyed.all(|(_, reply)| is_elsewhere(reply)) {
            return Ok(replies);
        }
        // A command by itself follows the redirection, and from then on the redis crate knows; this one changes nothing.
        self.execute(&Command::new("TYPE").arg(key)).await?;
        self.send(&pipeline.commands, slot).await
    }

    /// Sends commands of one slot together.
    async fn send(&self, commands: &[Command], slot: Option<u16>) -> Result<Vec<Value>> {
        let mut connection = self.connection().await?;
        let route = slot.map_or(SingleNodeRoutingInfo::Random, of_slot);
        let work = connection.route_pipeline(packed(commands), 0, commands.len(), route);
        Ok(self.timed(work).await?.into_iter().map(Value::of_redis).collect())
    }

    /// Sends a command to one node.
    pub(crate) async fn execute_on(&self, node: &Address, command: &Command) -> Result<Value> {
        let mut connection = self.connection().await?;
        let (host, port) = node.clone();
        let route = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host, port });
        self.timed(connection.route_command(command.to_redis(), route))
            .await
            .map(Value::of_redis)?
            .or_failed()
    }

    /// The primaries.
    pub(crate) async fn primaries(&self) -> Result<Vec<Address>> {
        let slots = self.execute(&Command::new("CLUSTER SLOTS")).await?.into_list()?;
        let mut all = Vec::new();
        for range in slots {
            let primary = range.into_list()?.into_iter().nth(2).unwrap_or(Value::Null).into_list()?;
            let host = primary.first().and_then(Value::as_str).unwrap_or_default().to_owned();
            let port = primary.get(1).and_then(Value::as_integer).and_then(|port| u16::try_from(port).ok());
            let port = port.ok_or_else(|| Error::Unexpected("CLUSTER SLOTS without a port".to_owned()))?;
            if !all.contains(&(host.clone(), port)) {
                all.push((host, port));
            }
        }
        Ok(all)
    }

    /// Clients for the nodes that the cluster is known by, of which one is enough to hear what is published.
    pub(crate) fn seeds(&self) -> impl Iterator<Item = &ConnectionInfo> {
        self.seeds.iter()
    }
}

fn of_slot(slot: u16) -> SingleNodeRoutingInfo {
    let route = redis::cluster_routing::Route::new(slot, redis::cluster_routing::SlotAddr::Master);
    SingleNodeRoutingInfo::SpecificNode(route)
}

fn route(command: &Command) -> Option<SingleNodeRoutingInfo> {
    // What concerns several slots, such as DEL and MGET of many keys, the redis crate divides itself.
    let is_divided = ["DEL", "UNLINK", "EXISTS", "TOUCH", "MGET", "MSET"]
        .iter()
        .any(|name| command.words().first().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes())));
    command.first_key().filter(|_| !is_divided).map(|key| of_slot(hash_slot(key)))
}
