//! One server, or the primary that sentinels name: a connection shared by all callers, made anew when it is lost.
//!
//! The redis crate sends what many tasks ask over one connection and hands each its reply. A task of ours listens for
//! the end of the connection, so that a server's restart is noticed when it happens rather than by the next command,
//! which would then not know what became of it.

use super::{framed, of_redis_error, packed, unframed};
use crate::command::{Command, Pipeline};
use crate::error::{Error, Result};
use crate::events::{Event, Events};
use crate::options::Options;
use crate::value::Value;
use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, ConnectionInfo, PushInfo, PushKind, TlsMode};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How the server is found.
enum Source {
    /// By its address.
    Address(redis::Client),
    /// By asking sentinels.
    Sentinels(tokio::sync::Mutex<SentinelClient>),
}

/// One server.
pub(crate) struct Node {
    source: Source,
    options: Options,
    events: Events,
    link: Arc<Mutex<Option<Link>>>,
    /// Held by whoever makes the connection; the others wait for it.
    connecting: tokio::sync::Mutex<u64>,
}

/// A connection and its number, so that news of an old one does not end a new one.
struct Link {
    connection: MultiplexedConnection,
    number: u64,
}

impl Node {
    pub(crate) fn new(info: ConnectionInfo, options: Options, events: Events) -> Result<Node> {
        let client = open(info, &options)?;
        Ok(Node::of(Source::Address(client), options, events))
    }

    pub(crate) fn by_sentinels(
        sentinels: Vec<ConnectionInfo>,
        primary: &str,
        node: &ConnectionInfo,
        options: Options,
        events: Events,
    ) -> Result<Node> {
        let settings = node.redis_settings();
        let addresses = sentinels.iter().map(|sentinel| sentinel.addr().clone());
        let mut builder = SentinelClientBuilder::new(addresses, primary, SentinelServerType::Master)
            .map_err(|error| of_redis_error(&error, false))?
            .set_client_to_redis_protocol(settings.protocol())
            .set_client_to_redis_db(settings.db());
        if let Some(username) = settings.username() {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = settings.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if matches!(node.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
            if let Some(certificates) = options.certificates() {
                builder = builder.set_client_to_redis_certificates(certificates);
            }
        }
        let client = builder.build().map_err(|error| of_redis_error(&error, false))?;
        Ok(Node::of(Source::Sentinels(tokio::sync::Mutex::new(client)), options, events))
    }

    fn of(source: Source, options: Options, events: Events) -> Node {
        Node { source, options, events, link: Arc::default(), connecting: tokio::sync::Mutex::new(0) }
    }

    /// A client for connections of one's own; of sentinels, for whichever server is the primary now.
    pub(crate) async fn client(&self) -> Result<redis::Client> {
        match &self.source {
            Source::Address(client) => Ok(client.clone()),
            Source::Sentinels(sentinels) => {
                let asked = async { sentinels.lock().await.async_get_client().await };
                match within(&self.options, asked).await? {
                    Ok(client) => Ok(client),
                    Err(error) => Err(Error::Unreachable(format!("the sentinels name no primary: {error}"))),
                }
            }
        }
    }

    /// A connection that is not shared.
    pub(crate) async fn dedicated(&self) -> Result<MultiplexedConnection> {
        self.connect(None).await.map(|(connection, _)| connection)
    }

    async fn connect(
        &self,
        pushes: Option<tokio::sync::mpsc::UnboundedSender<PushInfo>>,
    ) -> Result<(MultiplexedConnection, String)> {
        let client = self.client().await?;
        let address = client.get_connection_info().addr().to_string();
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.response_timeout));
        // Only RESP3 has pushes.
        if let Some(pushes) = pushes.filter(|_| speaks_resp3(&client)) {
            config = config.set_push_sender(pushes);
        }
        let connection =
            client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| {
                match of_redis_error(&error, false) {
                    Error::Unreachable(why) => Error::Unreachable(format!("{address}: {why}")),
                    other => other,
                }
            })?;
        Ok((connection, address))
    }

    /// The shared connection, made if there is none.
    pub(crate) async fn link(&self) -> Result<(MultiplexedConnection, u64)> {
        let there = || self.link.lock().as_ref().map(|link| (link.connection.clone(), link.number));
        if let Some(link) = there() {
            return Ok(link);
        }
        let mut last = self.connecting.lock().await;
        if let Some(link) = there() {
            return Ok(link);
        }
        let (pushes, ends) = unbounded_channel();
        let (connection, address) = self.connect(Some(pushes)).await?;
        *last += 1;
        *self.link.lock() = Some(Link { connection: connection.clone(), number: *last });
        self.events.tell(Event::Connected { address });
        let watch = watch_for_end(ends, Arc::downgrade(&self.link), *last, self.events.clone());
        tokio::spawn(watch);
        Ok((connection, *last))
    }

    /// Ends the shared connection if it is still the one with this number.
    fn lose(&self, number: u64, why: &str) {
        lose(&self.link, number, &self.events, why);
    }

    pub(crate) async fn execute(&self, command: &Command) -> Result<Value> {
        let (mut connection, number) = self.link().await?;
        let cmd = command.to_redis();
        let reply = connection.req_packed_command(&cmd).await;
        let reply = reply.map(Value::of_redis).map_err(|error| of_redis_error(&error, true));
        self.judge(number, reply.and_then(Value::or_failed))
    }

    pub(crate) async fn execute_all(&self, pipeline: &Pipeline) -> Result<Vec<Value>> {
        let (mut connection, number) = self.link().await?;
        let framed = if pipeline.is_atomic { framed(pipeline) } else { pipeline.commands.clone() };
        let replies = connection.req_packed_commands(&packed(&framed), 0, framed.len()).await;
        let replies = replies.map_err(|error| of_redis_error(&error, true));
        let replies = self.judge(number, replies)?.into_iter().map(Value::of_redis).collect();
        if pipeline.is_atomic { self.judge(number, unframed(replies)) } else { Ok(replies) }
    }

    /// Ends the connection if the answer shows that it is of no more use: it is broken, or leads to a replica.
    fn judge<T>(&self, number: u64, answer: Result<T>) -> Result<T> {
        match &answer {
            Err(Error::Lost(why)) => self.lose(number, why),
            Err(error) if error.code() == Some("READONLY") => self.lose(number, "it is a replica now"),
            _ => {}
        }
        answer
    }
}

/// A client for one server, which trusts what the options say.
pub(crate) fn open(info: ConnectionInfo, options: &Options) -> Result<redis::Client> {
    let opened = match options.certificates() {
        Some(certificates) if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) => {
            redis::Client::build_with_tls(info, certificates)
        }
        _ => redis::Client::open(info),
    };
    opened.map_err(|error| of_redis_error(&error, false))
}

fn speaks_resp3(client: &redis::Client) -> bool {
    client.get_connection_info().redis_settings().protocol() == redis::ProtocolVersion::RESP3
}

/// Waits for an answer no longer than a connection may take.
async fn within<T>(options: &Options, work: impl Future<Output = T>) -> Result<T> {
    let late = |_| Error::Unreachable(format!("no answer within {:?}", options.connect_timeout));
    tokio::time::timeout(options.connect_timeout, work).await.map_err(late)
}

fn lose(link: &Mutex<Option<Link>>, number: u64, events: &Events, why: &str) {
    let mut link = link.lock();
    if link.as_ref().is_some_and(|link| link.number == number) {
        *link = None;
        drop(link);
        events.tell(Event::Disconnected { why: why.to_owned() });
    }
}

/// Hears what the server pushes on the shared connection, which is its end at most.
async fn watch_for_end(
    mut ends: UnboundedReceiver<PushInfo>,
    link: std::sync::Weak<Mutex<Option<Link>>>,
    number: u64,
    events: Events,
) {
    while let Some(push) = ends.recv().await {
        if push.kind == PushKind::Disconnection {
            if let Some(link) = link.upgrade() {
                lose(&link, number, &events, "the server has closed it");
            }
            return;
        }
    }
}
