//! Publish and subscribe: channels, patterns, and who listens to them.
//!
//! Messages of one channel are ordered by the lock under which they are put into the mailboxes of their subscribers,
//! so all of them see the same order. The channels are spread over several such locks; patterns share one, which is
//! taken after the channel's and only if there are any.

use crate::client::{Client, Push};
use crate::glob::matches;
use larder_structures::hash;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const STRIPES: usize = 16;

type Subscribers = Vec<Arc<Client>>;

/// Who listens to what.
#[derive(Default)]
pub struct PubSub {
    channels: [Mutex<HashMap<Arc<[u8]>, Subscribers>>; STRIPES],
    patterns: Mutex<BTreeMap<Arc<[u8]>, Subscribers>>,
    pattern_count: AtomicUsize,
}

impl PubSub {
    fn stripe(&self, channel: &[u8]) -> &Mutex<HashMap<Arc<[u8]>, Subscribers>> {
        &self.channels[hash::shard(hash::of(channel), STRIPES)]
    }

    /// Adds a subscriber of a channel.
    pub(crate) fn subscribe(&self, channel: &Arc<[u8]>, client: &Arc<Client>) {
        self.stripe(channel).lock().entry(Arc::clone(channel)).or_default().push(Arc::clone(client));
    }

    /// Removes a subscriber of a channel.
    pub(crate) fn unsubscribe(&self, channel: &[u8], client: &Client) {
        let mut channels = self.stripe(channel).lock();
        if let Some(subscribers) = channels.get_mut(channel) {
            subscribers.retain(|other| other.id != client.id);
            if subscribers.is_empty() {
                channels.remove(channel);
            }
        }
    }

    /// Adds a subscriber of a pattern.
    pub(crate) fn subscribe_pattern(&self, pattern: &Arc<[u8]>, client: &Arc<Client>) {
        let mut patterns = self.patterns.lock();
        patterns.entry(Arc::clone(pattern)).or_default().push(Arc::clone(client));
        self.pattern_count.store(patterns.len(), Ordering::Release);
    }

    /// Removes a subscriber of a pattern.
    pub(crate) fn unsubscribe_pattern(&self, pattern: &[u8], client: &Client) {
        let mut patterns = self.patterns.lock();
        if let Some(subscribers) = patterns.get_mut(pattern) {
            subscribers.retain(|other| other.id != client.id);
            if subscribers.is_empty() {
                patterns.remove(pattern);
            }
        }
        self.pattern_count.store(patterns.len(), Ordering::Release);
    }

    /// Puts a message into the mailboxes of all who listen, and returns how many that were.
    pub fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        let channels = self.stripe(channel).lock();
        let direct = channels.get_key_value(channel);
        let has_patterns = self.pattern_count.load(Ordering::Acquire) > 0;
        if direct.is_none() && !has_patterns {
            return 0;
        }
        let name: Arc<[u8]> = direct.map_or_else(|| channel.into(), |(name, _)| Arc::clone(name));
        let payload: Arc<[u8]> = payload.into();
        let mut receivers = 0;
        for client in direct.map_or(&[][..], |(_, subscribers)| subscribers) {
            client.push(Push::Message { channel: Arc::clone(&name), payload: Arc::clone(&payload) });
            receivers += 1;
        }
        if !has_patterns {
            return receivers;
        }
        for (pattern, subscribers) in self.patterns.lock().iter() {
            if !matches(pattern, channel) {
                continue;
            }
            for client in subscribers {
                client.push(Push::PatternMessage {
                    pattern: Arc::clone(pattern),
                    channel: Arc::clone(&name),
                    payload: Arc::clone(&payload),
                });
                receivers += 1;
            }
        }
        receivers
    }

    /// The channels that have subscribers, those matching `pattern` if one is given.
    pub fn channels(&self, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let mut found = Vec::new();
        for stripe in &self.channels {
            let channels = stripe.lock();
            found.extend(
                channels.keys().filter(|name| pattern.is_none_or(|pattern| matches(pattern, name))).cloned(),
            );
        }
        found
    }

    /// How many subscribe to a channel itself.
    pub fn subscribers(&self, channel: &[u8]) -> usize {
        self.stripe(channel).lock().get(channel).map_or(0, Vec::len)
    }

    /// How many channels have subscribers.
    pub fn channel_count(&self) -> usize {
        self.channels.iter().map(|stripe| stripe.lock().len()).sum()
    }

    /// How many patterns are subscribed to.
    pub fn pattern_count(&self) -> usize {
        self.pattern_count.load(Ordering::Acquire)
    }
}
