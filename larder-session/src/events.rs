//! What becomes of sessions, for whoever wants to know.
//!
//! Of sessions on a server, what this program does to them is told by whoever does it. With the engine in this process
//! ends come from one place alone: the first listener starts a task that follows the engine's own feed of keys, so that
//! every end is told once, with its cause: that a session expired, was evicted, or was deleted by a command. Whoever
//! ends a session here says beforehand why. The feed has no values, so the task remembers which user each live session
//! has (some 100 bytes each). When nobody listens any more, the task ends and all of that is forgotten.

use crate::native::keys::HANDLE_CHARS;
use crate::native::meta::{Facts, Meta};
use crate::record::Record;
use larder_client::Larder;
use larder_client::engine::effects::{Class, Event, EventListener, Heard, KeyEvent};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// Events kept for a listener that is slow; then the oldest are dropped, and it is told how many.
const KEPT: usize = 4_096;
/// Events of the engine kept between two looks.
const ENGINE_KEPT: usize = 65_536;
/// Time between looks at the engine's feed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A session's public name: it can be shown and kept, and opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionHandle(pub(crate) String);

impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error for a text that is no handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoHandle;

impl fmt::Display for NoHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no handle of a session: these have 16 letters, digits, - and _")
    }
}

impl std::error::Error for NoHandle {}

impl FromStr for SessionHandle {
    type Err = NoHandle;

    fn from_str(text: &str) -> Result<SessionHandle, NoHandle> {
        is_handle(text.as_bytes()).then(|| SessionHandle(text.to_owned())).ok_or(NoHandle)
    }
}

fn is_handle(bytes: &[u8]) -> bool {
    bytes.len() == HANDLE_CHARS && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// Its time was up: without use, or altogether.
    Expired,
    /// The user logged out.
    Logout,
    /// [`SessionAdmin`](crate::SessionAdmin) ended it.
    Revoked,
    /// The user logged in once more than he may.
    Limit,
    /// The store was short of memory.
    Evicted,
    /// Somebody else deleted its key.
    Deleted,
}

/// Something that happened to a session.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// It began.
    Created {
        /// Its name.
        handle: SessionHandle,
    },
    /// A user logged in.
    LoggedIn {
        /// The session's name.
        handle: SessionHandle,
        /// The user, as the application gave it.
        user: Value,
    },
    /// It has another id.
    Rotated {
        /// Its name, which stays.
        handle: SessionHandle,
    },
    /// It ended.
    Ended {
        /// Its name.
        handle: SessionHandle,
        /// The user who was logged in, `null` if there was none.
        user: Value,
        /// The cause.
        why: Why,
    },
    /// So many events were lost here, because the listener was slow.
    Missed(u64),
}

/// The events from the moment on at which it was made.
pub struct SessionEvents(broadcast::Receiver<SessionEvent>);

impl SessionEvents {
    /// The next event; `None` once the sessions and their layers are gone.
    pub async fn next(&mut self) -> Option<SessionEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(SessionEvent::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Who tells of events.
pub(crate) struct Events {
    sender: broadcast::Sender<SessionEvent>,
    /// Whether the engine is in this process: a follower tells of ends then.
    is_embedded: bool,
    /// Whether the follower has found who is there; its end is gone when it is. Listeners come, and the follower goes,
    /// behind this lock.
    follower: Mutex<Option<watch::Receiver<bool>>>,
    /// The ends that this program is about to cause, for the follower: why, and whose session it is.
    expected: Mutex<HashMap<String, (Why, Value)>>,
    /// The sessions that are alive, for the follower, and who their users are.
    users: Mutex<HashMap<String, Value>>,
}

/// The end of a session that is being asked for.
pub(crate) struct Expected<'a> {
    events: &'a Events,
    handle: &'a str,
    user: &'a Value,
    why: Why,
    /// Whether the note for the follower is to be taken back.
    is_noted: bool,
}

fn is_running(follower: Option<&watch::Receiver<bool>>) -> bool {
    follower.is_some_and(|follower| follower.has_changed().is_ok())
}

impl Events {
    pub(crate) fn new(is_embedded: bool) -> Events {
        Events {
            sender: broadcast::channel(KEPT).0,
            is_embedded,
            follower: Mutex::default(),
            expected: Mutex::default(),
            users: Mutex::default(),
        }
    }

    pub(crate) fn tell(&self, event: SessionEvent) {
        // An error means that nobody listens.
        let _ = self.sender.send(event);
    }

    fn is_followed(&self) -> bool {
        is_running(self.follower.lock().as_ref())
    }

    /// Whether nobody listens any more; all that was remembered for that is forgotten then.
    fn stops_following(&self) -> bool {
        let mut follower = self.follower.lock();
        let stops = self.sender.receiver_count() == 0;
        if stops {
            *follower = None;
            self.users.lock().clear();
            self.expected.lock().clear();
        }
        stops
    }

    /// Notes who the user of a session that is about to be made is: it may be gone before anybody can look. Returns
    /// whether there was something to note.
    pub(crate) fn note_user(&self, handle: &str, user: &Value) -> bool {
        if !self.is_embedded || !self.is_followed() {
            return false;
        }
        match self.users.lock().entry(handle.to_owned()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(user.clone());
                true
            }
        }
    }

    /// Takes such a note back.
    pub(crate) fn forget_user(&self, handle: &str) {
        self.users.lock().remove(handle);
    }

    /// Says that a session is about to be ended.
    pub(crate) fn expect<'a>(&'a self, handle: &'a str, user: &'a Value, why: Why) -> Expected<'a> {
        if self.is_embedded {
            self.expected.lock().insert(handle.to_owned(), (why, user.clone()));
        }
        Expected { events: self, handle, user, why, is_noted: self.is_embedded }
    }

    /// The events from now on.
    pub(crate) async fn listen(self: &Arc<Events>, larder: &Larder, prefix: &str) -> SessionEvents {
        let (receiver, mut stock) = {
            let mut follower = self.follower.lock();
            let receiver = self.sender.subscribe();
            let engine = larder.engine();
            if let Some(engine) = engine.filter(|_| !is_running(follower.as_ref())) {
                let heard = engine.engine().listen(ENGINE_KEPT);
                let (found_all, stock) = watch::channel(false);
                let task = Follower { larder: larder.clone(), prefix: prefix.to_owned(), db: engine.db() };
                tokio::spawn(task.follow(heard, Arc::downgrade(self), found_all));
                *follower = Some(stock);
            }
            (receiver, follower.clone())
        };
        if let Some(stock) = &mut stock {
            // An error means that the follower is gone, with the runtime it ran on.
            let _ = stock.wait_for(|found_all| *found_all).await;
        }
        SessionEvents(receiver)
    }
}

impl Expected<'_> {
    /// The store has answered. `was_there` says whether this is what ended the session.
    pub(crate) fn happened(mut self, was_there: bool) {
        if !was_there {
            return;
        }
        if !self.events.is_embedded {
            let (handle, why) = (SessionHandle(self.handle.to_owned()), self.why);
            self.events.tell(SessionEvent::Ended { handle, user: self.user.clone(), why });
        } else if self.events.is_followed() {
            // The follower tells of it, and takes the note.
            self.is_noted = false;
        }
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        if self.is_noted {
            self.events.expected.lock().remove(self.handle);
        }
    }
}

/// A pattern that matches this text alone.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| "*?[]\\".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Follows the engine's feed.
struct Follower {
    larder: Larder,
    prefix: String,
    db: usize,
}

impl Follower {
    /// Finds all sessions that are there.
    async fn take_stock(&self, events: &Events) {
        let Ok(keys) = self.larder.scan(format!("{}*", escaped(&self.prefix))).collect().await else {
            return;
        };
        for key in keys {
            if let Some(handle) = self.handle_in(&key) {
                self.meet(handle, events);
            }
        }
    }

    fn handle_in(&self, key: &[u8]) -> Option<String> {
        let handle = key.strip_prefix(self.prefix.as_bytes()).filter(|rest| is_handle(rest))?;
        String::from_utf8(handle.to_vec()).ok()
    }

    /// Notes who the user of a session is.
    fn meet(&self, handle: String, events: &Events) {
        let engine = self.larder.engine();
        let bytes = engine.and_then(|engine| engine.get(format!("{}{handle}", self.prefix)).ok().flatten());
        let meta = bytes.and_then(Record::parse).and_then(|record| Meta::read(&record).ok());
        match meta {
            Some(meta) => drop(events.users.lock().insert(handle, Facts::from(meta).user)),
            // It has ended again already: that it did is still to come.
            None => drop(events.users.lock().entry(handle).or_insert(Value::Null)),
        }
    }

    async fn follow(self, heard: EventListener, events: Weak<Events>, found_all: watch::Sender<bool>) {
        if let Some(events) = events.upgrade() {
            self.take_stock(&events).await;
        }
        found_all.send_replace(true);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(events) = events.upgrade() else { return };
            if events.stops_following() {
                return;
            }
            while let Some(heard) = heard.poll() {
                match heard {
                    Heard::Event(event) => self.hear(&event, &events),
                    Heard::Missed(missed) => {
                        events.users.lock().clear();
                        self.take_stock(&events).await;
                        events.tell(SessionEvent::Missed(missed));
                    }
                }
            }
        }
    }

    fn hear(&self, event: &KeyEvent, events: &Events) {
        let Some(handle) = self.handle_in(&event.key).filter(|_| event.db == self.db) else { return };
        let mut expected = None;
        let why = match event.event.class {
            Class::Expired => Why::Expired,
            Class::Evicted => Why::Evicted,
            _ if event.event == Event::DEL => {
                expected = events.expected.lock().remove(&handle);
                expected.as_ref().map_or(Why::Deleted, |(why, _)| *why)
            }
            Class::String => return self.meet(handle, events),
            _ => return,
        };
        let known = events.users.lock().remove(&handle);
        // Whoever ended it has just read whose it was.
        let user = expected.map(|(_, user)| user).or(known).unwrap_or(Value::Null);
        events.tell(SessionEvent::Ended { handle: SessionHandle(handle), user, why });
    }
}
