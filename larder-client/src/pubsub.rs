//! Subscriptions that survive their connection.
//!
//! Messages are not kept for subscribers: what is published while a connection is down is missed. So a subscription
//! that comes back by itself must not look as if nothing had happened. It tells of the gap, in its place among the
//! messages, and whoever derives state from messages knows from where on it has to be brought up to date.

use crate::backend::Backend;
use crate::client::Larder;
use crate::error::{Error, Result};
use crate::events::Event;
use futures_util::StreamExt;
use larder::client::Push;
use redis::aio::PubSub;
use std::time::Duration;
use tokio::sync::mpsc;

/// What comes over a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Something was published.
    Message {
        /// On this channel.
        channel: Vec<u8>,
        /// The message.
        payload: Vec<u8>,
    },
    /// The connection is lost: messages are missed from here on.
    Interrupted {
        /// The reason, as far as it is known.
        why: String,
    },
    /// There is a connection again, and messages arrive from here on.
    Resumed,
}

/// What to subscribe to.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    names: Vec<Vec<u8>>,
    are_patterns: bool,
}

impl Topics {
    pub(crate) fn channels<C: AsRef<[u8]>>(names: &[C]) -> Topics {
        Topics { names: names.iter().map(|name| name.as_ref().to_vec()).collect(), are_patterns: false }
    }

    pub(crate) fn patterns<C: AsRef<[u8]>>(names: &[C]) -> Topics {
        Topics { are_patterns: true, ..Topics::channels(names) }
    }
}

/// Messages on channels. Dropping it ends the subscription.
///
/// A lost connection is made anew, with all channels; the gap is told as [`Notice::Interrupted`] and
/// [`Notice::Resumed`]. Messages are not dropped for a slow reader: the server is held up, and ends the connection when
/// too many wait, which again is told.
///
/// ```
/// # use larder_client::{Larder, Notice};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let larder = Larder::open("embedded://").await?;
/// let mut news = larder.subscribe(&["news"]).await?;
/// larder.publish("news", "hello").await?;
/// let Some(Notice::Message { payload, .. }) = news.next().await else { panic!() };
/// assert_eq!(payload, b"hello");
/// # Ok::<(), larder_client::Error>(())
/// # }).unwrap();
/// ```
pub struct Subscription(Inner);

enum Inner {
    Embedded(Box<larder::Connection>),
    Remote(mpsc::Receiver<Notice>),
}

/// Notices that wait for their reader.
const WAITING: usize = 1024;

impl Subscription {
    pub(crate) async fn begin(larder: Larder, topics: Topics) -> Result<Subscription> {
        if topics.names.is_empty() {
            return Err(Error::Unsupported("subscribing to nothing".to_owned()));
        }
        if let Backend::Embedded(embedded) = larder.backend() {
            let mut connection = embedded.larder.connect();
            let mut words =
                vec![if topics.are_patterns { b"PSUBSCRIBE".to_vec() } else { b"SUBSCRIBE".to_vec() }];
            words.extend(topics.names);
            connection.execute(&words);
            return Ok(Subscription(Inner::Embedded(Box::new(connection))));
        }
        let first = larder.tried(true, || connect(&larder, &topics)).await?;
        let (notices, receiver) = mpsc::channel(WAITING);
        tokio::spawn(keep(larder, topics, first, notices));
        Ok(Subscription(Inner::Remote(receiver)))
    }

    /// The next notice. `None` never comes while the handle that made the subscription can make connections; it means
    /// that the runtime is shutting down.
    pub async fn next(&mut self) -> Option<Notice> {
        match &mut self.0 {
            Inner::Remote(notices) => notices.recv().await,
            Inner::Embedded(connection) => loop {
                if let Push::Message { channel, payload } | Push::PatternMessage { channel, payload, .. } =
                    connection.next_push().await
                {
                    return Some(Notice::Message { channel: channel.to_vec(), payload: payload.to_vec() });
                }
            },
        }
    }
}

/// Makes a connection and subscribes.
async fn connect(larder: &Larder, topics: &Topics) -> Result<PubSub> {
    let options = larder.options();
    let refused = |error: &redis::RedisError| crate::backend::of_redis_error(error, false);
    let clients = match larder.backend() {
        Backend::Embedded(_) => return Err(Error::Unsupported("a socket to the embedded engine".to_owned())),
        Backend::Node(node) => vec![node.client().await?],
        Backend::Cluster(cluster) => {
            cluster.seeds().map(|seed| crate::backend::open(seed.clone(), options)).collect::<Result<_>>()?
        }
    };
    let mut last = Error::Unreachable("no node to subscribe at".to_owned());
    for client in clients {
        let work = async {
            let mut pubsub = client.get_async_pubsub().await?;
            match topics.are_patterns {
                false => pubsub.subscribe(&topics.names).await?,
                true => pubsub.psubscribe(&topics.names).await?,
            }
            Ok(pubsub)
        };
        match tokio::time::timeout(options.connect_timeout, work).await {
            Ok(Ok(pubsub)) => return Ok(pubsub),
            Ok(Err(error)) => last = refused(&error),
            Err(_) => last = Error::Unreachable(format!("no answer within {:?}", options.connect_timeout)),
        }
    }
    Err(last)
}

/// Hands on what comes, and makes a new connection when one is lost, until nobody reads any more.
async fn keep(larder: Larder, topics: Topics, first: PubSub, notices: mpsc::Sender<Notice>) {
    let mut pubsub = first;
    loop {
        let Some(why) = hand_on(pubsub, &notices, larder.options().keep_alive).await else { return };
        larder.tell(Event::SubscriptionLost { why: why.clone() });
        if notices.send(Notice::Interrupted { why }).await.is_err() {
            return;
        }
        let mut attempt = 0;
        pubsub = loop {
            match connect(&larder, &topics).await {
                Ok(pubsub) => break pubsub,
                Err(_) if notices.is_closed() => return,
                Err(_) => {
                    attempt += 1;
                    tokio::time::sleep(larder.options().delay(attempt)).await;
                }
            }
        };
        larder.tell(Event::SubscriptionResumed);
        if notices.send(Notice::Resumed).await.is_err() {
            return;
        }
    }
}

/// Hands on what comes over one connection; returns why that ended, or `None` when nobody reads any more.
async fn hand_on(pubsub: PubSub, notices: &mpsc::Sender<Notice>, keep_alive: Duration) -> Option<String> {
    let (mut sink, mut stream) = pubsub.split();
    loop {
        match tokio::time::timeout(keep_alive, stream.next()).await {
            Ok(Some(message)) => {
                let channel = message.get_channel::<Vec<u8>>().unwrap_or_default();
                let payload = message.get_payload_bytes().to_vec();
                notices.send(Notice::Message { channel, payload }).await.ok()?;
            }
            Ok(None) => return Some("the server has closed the connection".to_owned()),
            Err(_) if notices.is_closed() => return None,
            Err(_) => {
                // Silence: is there still somebody at the other end?
                match tokio::time::timeout(keep_alive, sink.ping::<redis::Value>()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Some(error.to_string()),
                    Err(_) => return Some(format!("no sign of life for {:?}", keep_alive * 2)),
                }
            }
        }
    }
}
