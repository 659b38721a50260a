//! The handle.

use crate::backend::{Backend, Cluster, Embedded, Node};
use crate::command::{Command, Pipeline};
use crate::dedicated::Dedicated;
use crate::error::{Error, Result};
use crate::events::{Event, EventStream, Events};
use crate::options::{Options, Target};
use crate::pubsub::{Subscription, Topics};
use crate::scan::Scan;
use crate::script::Script;
use crate::server::{ServerInfo, detect};
use crate::value::Value;
use parking_lot::RwLock;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A handle on data, wherever it is; to be cloned freely. See the [crate's front page](crate).
#[derive(Clone)]
pub struct Larder {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Backend,
    /// The same data over connections of its own, for what holds up its connection; connected when it is first used.
    /// `None` with the engine in this process.
    waiting: Option<Backend>,
    options: Options,
    events: Events,
    /// What is known about the server; forgotten when a connection is lost, since the next may lead to another.
    server: RwLock<Option<Arc<ServerInfo>>>,
}

impl Larder {
    /// Opens what a URL names, with the default time-outs and retries.
    ///
    /// | URL | data |
    /// |---|---|
    /// | `embedded://` | in this process, and gone with it |
    /// | `embedded:///path` | in this process, and kept in a folder that belongs to one process at a time: a crash of the process loses the last tenth of a second at most, one of the machine two seconds; when the last handle goes, all is written. See `larder::Larder::open_dir`, which with [`Larder::embedded`] gives other promises |
    /// | `redis://[user:password@]host[:port][/database]` | on a server; `rediss://` with TLS |
    /// | `unix:///path/to/socket` | on a server on this machine |
    /// | `redis-sentinel://[user:password@]host[:port][,...]/name[/database]` | on the primary that sentinels call `name` |
    /// | `redis-cluster://[user:password@]host[:port][,...]` | in a cluster |
    ///
    /// # Errors
    /// [`Error::Url`] for a URL that makes no sense, [`Error::Unreachable`] if there is no connection to be had.
    pub async fn open(url: &str) -> Result<Larder> {
        Larder::open_with(url, Options::default()).await
    }

    /// The same with other time-outs and retries.
    ///
    /// # Errors
    /// As [`Larder::open`].
    pub async fn open_with(url: &str, options: Options) -> Result<Larder> {
        // More than one crate may have brought a provider of cryptography; the first one that is installed counts.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let events = Events::default();
        let backend = backend_of(Target::parse(url)?, &options, &events)?;
        let waiting = match &backend {
            Backend::Embedded(_) => None,
            // Nobody has to hear of its connections, too.
            _ => Some(backend_of(Target::parse(url)?, &options, &Events::default())?),
        };
        let larder = Larder::of(backend, waiting, options, events);
        if !larder.shared.options.is_lazy {
            larder.server().await?;
        }
        Ok(larder)
    }

    /// A handle on an engine that this process has already.
    pub fn embedded(engine: larder::Larder) -> Larder {
        Larder::of(Backend::Embedded(Embedded::on(engine)), None, Options::default(), Events::default())
    }

    fn of(backend: Backend, waiting: Option<Backend>, options: Options, events: Events) -> Larder {
        Larder { shared: Arc::new(Shared { backend, waiting, options, events, server: RwLock::default() }) }
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.shared.backend
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    pub(crate) fn tell(&self, event: Event) {
        self.shared.events.tell(event);
    }

    /// The engine, if it is in this process.
    pub fn engine(&self) -> Option<&larder::Larder> {
        match &self.shared.backend {
            Backend::Embedded(embedded) => Some(&embedded.larder),
            _ => None,
        }
    }

    /// Whether keys are spread over several servers, so that what is to be changed together must be of one
    /// [hash slot](crate::hash_slot).
    pub fn is_cluster(&self) -> bool {
        matches!(self.shared.backend, Backend::Cluster(_))
    }

    /// Executes any command. Those that change their connection (SELECT, MULTI, SUBSCRIBE ...) are for
    /// [`Larder::dedicated`].
    ///
    /// ```
    /// # use larder_client::{Command, Larder, Value};
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let larder = Larder::open("embedded://").await?;
    /// larder.execute(Command::new("RPUSH").arg("queue").arg("a").arg("b")).await?;
    /// let popped = larder.execute(Command::new("LPOP").arg("queue")).await?;
    /// assert_eq!(popped, Value::Bytes(b"a".to_vec()));
    /// # Ok::<(), larder_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// What the server replies with, and trouble with the connection; see [`Error`].
    pub async fn execute(&self, command: Command) -> Result<Value> {
        if command.words().first().is_none_or(Vec::is_empty) {
            return Err(Error::Server { code: "ERR".to_owned(), message: "empty command".to_owned() });
        }
        let is_read = command.is_read();
        self.tried(is_read, || self.shared.backend.execute(&command)).await
    }

    /// Executes commands together; see [`Pipeline`].
    ///
    /// ```
    /// # use larder_client::{Command, Larder, Pipeline};
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let larder = Larder::open("embedded://").await?;
    /// let transfer = Pipeline::new()
    ///     .with(Command::new("DECRBY").arg("{bank}:a").number(5))
    ///     .with(Command::new("INCRBY").arg("{bank}:b").number(5))
    ///     .atomic();
    /// let replies = larder.execute_all(transfer).await?;
    /// assert_eq!(replies[1].as_integer(), Some(5));
    /// # Ok::<(), larder_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Trouble with the connection; of a transaction, also whatever kept it from being carried out.
    pub async fn execute_all(&self, pipeline: Pipeline) -> Result<Vec<Value>> {
        self.tried(pipeline.is_read(), || self.shared.backend.execute_all(&pipeline)).await
    }

    /// Executes commands of one hash slot together, and waits until as many replicas have what they, and everything else
    /// before them, have written to the server that executed them: WAIT. At least one of them has to write something, since
    /// that speaks of what was written over its own connection. It is one of its own, so that nobody else is held up.
    ///
    /// `within` has to be shorter than [`Options::response_timeout`].
    ///
    /// ```no_run
    /// # use larder_client::{Command, Larder, Pipeline};
    /// # use std::time::Duration;
    /// # async fn example() -> larder_client::Result<()> {
    /// let larder = Larder::open("redis-sentinel://localhost/shop").await?;
    /// let order = Pipeline::new().with(Command::new("SET").arg("order:7").arg("paid"));
    /// larder.execute_and_wait(order, 1, Duration::from_millis(500)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::TooFewReplicas`] if fewer replicas have it in time: the server has executed the commands. As for
    /// [`Larder::execute_all`] otherwise. [`Error::Unsupported`] with the engine in this process, which has no replicas, for
    /// a transaction, in which WAIT does not wait, and for commands that write nothing.
    pub async fn execute_and_wait(
        &self,
        commands: Pipeline,
        replicas: u32,
        within: Duration,
    ) -> Result<Vec<Value>> {
        let Some(backend) = &self.shared.waiting else {
            return Err(Error::Unsupported("replicas of the engine in this process".to_owned()));
        };
        if commands.is_atomic || commands.is_read() {
            let what = "waiting for replicas with a transaction, or with commands that write nothing";
            return Err(Error::Unsupported(what.to_owned()));
        }
        let millis = i64::try_from(within.as_millis().max(1)).unwrap_or(i64::MAX);
        let all = commands.with(Command::new("WAIT").number(replicas).number(millis));
        let mut replies = self.tried(false, || backend.execute_together(&all)).await?;
        let got = replies.pop().unwrap_or(Value::Null).or_failed()?.into_count()?;
        if got < u64::from(replicas) {
            return Err(Error::TooFewReplicas { wanted: replicas, got });
        }
        Ok(replies)
    }

    /// Tries something until it succeeds, fails for good, or has been tried often enough.
    pub(crate) async fn tried<T, F: Future<Output = Result<T>>>(
        &self,
        is_read: bool,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T> {
        let options = &self.shared.options;
        let mut tries = 0;
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if error.is_outage() {
                *self.shared.server.write() = None;
            }
            tries += 1;
            let may_repeat = error.is_outage() && (is_read || !error.is_outcome_unknown());
            if !may_repeat || tries > options.retries {
                return Err(error);
            }
            self.tell(Event::Retried { why: error.to_string() });
            tokio::time::sleep(options.delay(tries)).await;
        }
    }

    /// Runs a Lua script; the server keeps it, so that only its digest is sent from the second time on.
    ///
    /// # Errors
    /// As [`Larder::execute`]; [`Error::Unsupported`] where there are no scripts, as on Larder's own engine so far.
    pub async fn run<K: AsRef<[u8]>, A: AsRef<[u8]>>(
        &self,
        script: &Script,
        keys: &[K],
        arguments: &[A],
    ) -> Result<Value> {
        if !self.server().await?.has_scripts() {
            return Err(Error::Unsupported("Lua scripts on Larder's engine".to_owned()));
        }
        match self.execute(script.by_digest(keys, arguments)).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                self.execute(script.by_text(keys, arguments)).await
            }
            reply => reply,
        }
    }

    /// What kind of server this is, asked once per connection.
    ///
    /// # Errors
    /// Trouble with the connection.
    pub async fn server(&self) -> Result<Arc<ServerInfo>> {
        if let Some(known) = &*self.shared.server.read() {
            return Ok(Arc::clone(known));
        }
        let info = match self.execute(Command::new("INFO").arg("server")).await {
            Ok(reply) => detect(reply.as_str().unwrap_or_default()),
            // A server may hide INFO; then only what every Redis has is counted on.
            Err(Error::Server { code, .. }) if code == "NOPERM" || code == "ERR" => ServerInfo::default(),
            Err(error) => return Err(error),
        };
        let info = Arc::new(info);
        *self.shared.server.write() = Some(Arc::clone(&info));
        Ok(info)
    }

    /// Subscribes to channels; see [`Subscription`].
    ///
    /// # Errors
    /// Trouble with the connection, the first time; later the subscription makes a new connection by itself.
    pub async fn subscribe<C: AsRef<[u8]>>(&self, channels: &[C]) -> Result<Subscription> {
        Subscription::begin(self.clone(), Topics::channels(channels)).await
    }

    /// Subscribes to all channels that match glob-style patterns.
    ///
    /// # Errors
    /// As [`Larder::subscribe`].
    pub async fn subscribe_patterns<C: AsRef<[u8]>>(&self, patterns: &[C]) -> Result<Subscription> {
        Subscription::begin(self.clone(), Topics::patterns(patterns)).await
    }

    /// A connection of one's own, for WATCH and for commands that change their connection.
    ///
    /// # Errors
    /// Trouble with the connection; in a cluster, where no single connection leads to all keys.
    pub async fn dedicated(&self) -> Result<Dedicated> {
        Dedicated::open(self).await
    }

    /// Walks over all keys that match a glob-style pattern; see [`Scan`].
    pub fn scan(&self, pattern: impl AsRef<[u8]>) -> Scan {
        Scan::new(self.clone(), pattern.as_ref())
    }

    /// What happens to connections from now on.
    pub fn events(&self) -> EventStream {
        self.shared.events.listen()
    }
}

/// The way to what a URL names.
fn backend_of(target: Target, options: &Options, events: &Events) -> Result<Backend> {
    let (options, tell) = (options.clone(), events.clone());
    Ok(match target {
        Target::Embedded(folder) => Backend::Embedded(Embedded::open(folder.as_deref())?),
        Target::Node(info) => Backend::Node(Node::new(info, options, tell)?),
        Target::Sentinel { sentinels, primary, node } => {
            Backend::Node(Node::by_sentinels(sentinels, &primary, &node, options, tell)?)
        }
        Target::Cluster(seeds) => Backend::Cluster(Cluster::new(seeds, options, tell)?),
    })
}
