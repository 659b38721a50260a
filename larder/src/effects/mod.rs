//! What a change causes.
//!
//! While a command runs under its locks its effects are collected here; at commit, still under the locks, the log gets
//! its record and the feed its events, and after the locks are gone large values are freed. Handlers do none of this
//! by hand.

pub(crate) mod feed;
mod garbage;
pub(crate) mod log;
mod record;

pub use feed::{EventListener, Heard};
pub use log::{LogReader, Record};

pub(crate) use garbage::{Cause, Freer, Garbage, Waste};
pub(crate) use record::put_command;

use crate::keyspace::Watchers;
use larder_resp::Request;
use record::Recorder;

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The family it belongs to.
    pub class: Class,
    /// Its name, as keyspace notifications have it.
    pub name: &'static str,
}

/// Families of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Commands on any type.
    Generic,
    /// Strings.
    String,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Hashes.
    Hash,
    /// Sorted sets.
    Zset,
    /// A key expired.
    Expired,
    /// A key was evicted.
    Evicted,
}

impl Event {
    /// A key was deleted.
    pub const DEL: Event = Event::new(Class::Generic, "del");
    /// A string was set.
    pub const SET: Event = Event::new(Class::String, "set");
    /// A string that is an integer was added to.
    pub const INCRBY: Event = Event::new(Class::String, "incrby");
    /// A key got an expiry.
    pub const EXPIRE: Event = Event::new(Class::Generic, "expire");
    /// A key lost its expiry.
    pub const PERSIST: Event = Event::new(Class::Generic, "persist");
    /// A key expired.
    pub const EXPIRED: Event = Event::new(Class::Expired, "expired");
    /// A key was evicted.
    pub const EVICTED: Event = Event::new(Class::Evicted, "evicted");

    /// An event of a family.
    pub const fn new(class: Class, name: &'static str) -> Event {
        Event { class, name }
    }
}

/// An event with its key, as listeners get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    /// What happened.
    pub event: Event,
    /// The logical database.
    pub db: usize,
    /// The key.
    pub key: Box<[u8]>,
}

/// What one command, or one transaction, has caused so far.
#[derive(Default)]
pub(crate) struct Effects {
    /// Changes made, as `rdb_changes_since_last_save` counts them.
    pub(crate) dirty: u64,
    /// Events, if anybody listens.
    pub(crate) events: Vec<KeyEvent>,
    pub(crate) is_heard: bool,
    /// To be freed after the locks are gone.
    pub(crate) garbage: Vec<Garbage>,
    /// Memory in which packed collections are changed, one after the other.
    pub(crate) scratch: Vec<u8>,
    /// Keys that expired.
    pub(crate) expired: u64,
    /// Keys that were evicted.
    pub(crate) evicted: u64,
    /// What the log is to hold instead of the command, written down, and how many commands that is.
    rewritten: Vec<u8>,
    rewritten_steps: usize,
    /// Keys that were removed by expiry or eviction: the log holds a DEL for each.
    pub(crate) removed: Vec<(usize, Box<[u8]>)>,
    /// What the log is to hold of the steps that are through.
    pub(crate) record: Recorder,
    pub(crate) is_logged: bool,
}

impl Effects {
    /// Notes `changes` changes of `key`, which are all called `event`.
    #[inline]
    pub(crate) fn touched(
        &mut self,
        watchers: &mut Watchers,
        db: usize,
        key: &[u8],
        event: Event,
        changes: u64,
    ) {
        self.dirty += changes;
        if !watchers.is_empty() || self.is_heard || self.is_logged {
            self.tell(watchers, db, key, event);
        }
    }

    /// Tells those who want to know of a change.
    #[inline(never)]
    fn tell(&mut self, watchers: &mut Watchers, db: usize, key: &[u8], event: Event) {
        if !watchers.is_empty() {
            watchers.touch(db, key);
        }
        self.notify(db, key, event);
        if self.is_logged && matches!(event.class, Class::Expired | Class::Evicted) {
            self.removed.push((db, key.into()));
        }
    }

    /// Lets listeners hear of an event.
    #[inline]
    pub(crate) fn notify(&mut self, db: usize, key: &[u8], event: Event) {
        if self.is_heard {
            self.events.push(KeyEvent { event, db, key: key.into() });
        }
    }

    /// Counts a deletion by its cause.
    pub(crate) fn count(&mut self, event: Event) {
        match event.class {
            Class::Expired => self.expired += 1,
            Class::Evicted => self.evicted += 1,
            _ => {}
        }
    }

    pub(crate) fn log_instead(&mut self, command: &[&[u8]]) {
        if self.is_logged {
            record::put_command(&mut self.rewritten, command);
            self.rewritten_steps += 1;
        }
    }

    /// Ends a step, a command or one of a transaction: writes down for the log what it did. `request` is what was
    /// asked, if it has changed anything.
    #[inline]
    pub(crate) fn end_step(&mut self, db: usize, request: Option<Request<'_>>) {
        if self.is_logged {
            self.write_down(db, request);
        }
    }

    fn write_down(&mut self, db: usize, request: Option<Request<'_>>) {
        for (db, key) in self.removed.drain(..) {
            self.record.add_words(db, &[b"DEL", &key]);
        }
        let steps = std::mem::take(&mut self.rewritten_steps);
        match request {
            // What was to stand for a change that did not happen stands for nothing.
            None => {}
            Some(request) if steps == 0 => self.record.add(db, request),
            Some(_) => self.record.add_written(db, &self.rewritten, steps),
        }
        self.rewritten.clear();
    }

    /// Whether nothing was caused.
    pub(crate) fn is_none(&self) -> bool {
        self.dirty + self.expired + self.evicted == 0 && self.events.is_empty()
    }
}
