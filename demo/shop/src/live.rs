//! What is said and scored, live in every browser: the chat room and the leaderboard.
//!
//! Each shop process has one subscription, however many browsers look on; it hands every message to all of them. A
//! message is heard by those who listen, and the last ones are kept for those who come later.

use std::sync::Arc;

use larder_client::{Command, Error, Larder, Notice, Pipeline, Value};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// The channel of the chat room, the same that the tutorial uses.
const CHAT: &str = "chatroom";
/// The channel that says that somebody's score has changed.
const SCORES: &str = "shop:{scores}:changed";
/// The last messages; a list of JSON.
const LOG: &str = "shop:chat:log";
/// The leaderboard; a sorted set of names.
const BOARD: &str = "shop:{scores}:board";
/// Messages that are kept.
const KEPT: i128 = 50;
/// Messages that wait for a slow browser before it misses some.
const WAITING: usize = 256;
/// Characters of a message.
pub(crate) const TEXT_MAX: usize = 500;

/// Something said, in the words of the tutorial's application, so that they share a room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Who said it.
    pub(crate) user: String,
    /// What.
    pub(crate) text: String,
}

/// A place on the leaderboard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) rank: usize,
    /// Who.
    pub(crate) name: String,
    /// Points.
    pub(crate) score: f64,
}

/// News for browsers.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// Somebody said something; its JSON.
    Said(Arc<str>),
    /// The leaderboard is another.
    Scored,
    /// Some may have been missed: look again.
    Gap,
}

/// The room and the board.
#[derive(Clone)]
pub(crate) struct Live {
    larder: Larder,
    news: broadcast::Sender<News>,
}

impl Live {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) async fn open(larder: Larder) -> Result<Live, Error> {
        let (news, _) = broadcast::channel(WAITING);
        let live = Live { larder, news };
        let mut subscription = live.larder.subscribe(&[CHAT, SCORES]).await?;
        let news = live.news.clone();
        tokio::spawn(async move {
            while let Some(notice) = subscription.next().await {
                let item = match notice {
                    Notice::Message { channel, .. } if channel == SCORES.as_bytes() => News::Scored,
                    Notice::Message { payload, .. } => match checked(&payload) {
                        Some(text) => News::Said(text.into()),
                        None => continue,
                    },
                    Notice::Interrupted { .. } => continue,
                    Notice::Resumed => News::Gap,
                };
                // An error says that nobody looks on.
                let _ = news.send(item);
            }
        });
        Ok(live)
    }

    /// What comes from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Says something.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) async fn say(&self, user: &str, text: &str) -> Result<(), Error> {
        let message = Message { user: user.to_owned(), text: text.to_owned() };
        let json = serde_json::to_string(&message).expect("a message is plain data");
        let kept = Pipeline::new()
            .with(Command::new("RPUSH").arg(LOG).arg(&json))
            .with(Command::new("LTRIM").arg(LOG).number(-KEPT).number(-1));
        for reply in self.larder.execute_all(kept).await? {
            reply.or_failed()?;
        }
        self.larder.publish(CHAT, json).await?;
        Ok(())
    }

    /// The last things said, oldest first.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) async fn said(&self) -> Result<Vec<Message>, Error> {
        let reply = self.larder.execute(Command::new("LRANGE").arg(LOG).number(0).number(-1)).await?;
        let items = reply.into_list()?;
        Ok(items.iter().filter_map(|item| serde_json::from_slice(item.as_bytes()?).ok()).collect())
    }

    /// Adds points to somebody's score, and returns what it is then.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) async fn score(&self, name: &str, points: f64) -> Result<f64, Error> {
        let command = Command::new("ZINCRBY").arg(BOARD).arg(points.to_string()).arg(name);
        let reply = self.larder.execute(command).await?;
        self.larder.publish(SCORES, name).await?;
        Ok(reply.into_double()?.unwrap_or_default())
    }

    /// The ten with the most points.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) async fn board(&self) -> Result<Vec<Place>, Error> {
        let command = Command::new("ZRANGE").arg(BOARD).number(0).number(9).args(["REV", "WITHSCORES"]);
        let pairs = scores(self.larder.execute(command).await?.into_list()?);
        let place = |(at, (name, score)): (usize, (Vec<u8>, f64))| Place {
            rank: at + 1,
            name: String::from_utf8_lossy(&name).into_owned(),
            score,
        };
        Ok(pairs.into_iter().enumerate().map(place).collect())
    }
}

/// A message of ours again: others may publish on the channel too, and browsers get nothing but messages.
fn checked(payload: &[u8]) -> Option<String> {
    let message: Message = serde_json::from_slice(payload).ok()?;
    if message.text.chars().count() > TEXT_MAX {
        return None;
    }
    serde_json::to_string(&message).ok()
}

/// Names with their scores: pairs in RESP3, one after the other in RESP2.
fn scores(reply: Vec<Value>) -> Vec<(Vec<u8>, f64)> {
    let flat: Vec<Value> = reply
        .into_iter()
        .flat_map(|item| match item {
            Value::Array(pair) => pair,
            single => vec![single],
        })
        .collect();
    let pair = |pair: &[Value]| Some((pair[0].as_bytes()?.to_vec(), pair[1].clone().into_double().ok()??));
    flat.chunks_exact(2).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_are_passed_on() {
        let said = checked(br#"{"user":"ada","text":"Hello","at":"2026-01-01"}"#);
        assert_eq!(said.as_deref(), Some(r#"{"user":"ada","text":"Hello"}"#));
        let long = format!(r#"{{"user":"ada","text":"{}"}}"#, "x".repeat(TEXT_MAX + 1));
        for noise in [&b"hello"[..], b"{}", b"\xff", long.as_bytes()] {
            assert_eq!(checked(noise), None);
        }
    }

    #[test]
    fn scores_are_read_from_both_protocols() {
        let (name, score) = (Value::Bytes(b"ann".to_vec()), Value::Bytes(b"2.5".to_vec()));
        let expected = vec![(b"ann".to_vec(), 2.5)];
        assert_eq!(scores(vec![name.clone(), score]), expected);
        assert_eq!(scores(vec![Value::Array(vec![name, Value::Double(2.5)])]), expected);
    }
}
