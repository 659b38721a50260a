//! What becomes of sessions, for whoever wants to know.
//!
//! What this program does to a session it tells itself. With the engine in this process it also hears what the engine
//! does: the first listener starts a task that follows the engine's own feed of keys, so that every end is told once,
//! with its cause: that a session expired, was evicted, or was deleted by a command. The feed has no values, so the task
//! remembers which user each live session has (some 100 bytes each, for as long as anybody listens).

use crate::native::keys::HANDLE_CHARS;
use crate::native::meta::Meta;
use crate::record::Record;
use larder_client::Larder;
use larder_client::engine::effects::{Class, Event, EventListener, Heard, KeyEvent};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::broadcast;

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
    /// Whether a task follows the engine: it tells of ends then.
    is_followed: AtomicBool,
    /// Why sessions are being ended by this program, for that task.
    expected: Mutex<HashMap<String, Why>>,
    /// The sessions that are alive, for that task, and who their users are.
    users: Mutex<HashMap<String, Value>>,
}

/// The end of a session that is being asked for.
pub(crate) struct Expected<'a> {
    events: &'a Events,
    handle: &'a str,
    why: Why,
    is_noted: bool,
}

impl Events {
    pub(crate) fn new() -> Events {
        let sender = broadcast::channel(KEPT).0;
        Events {
            sender,
            is_followed: AtomicBool::new(false),
            expected: Mutex::default(),
            users: Mutex::default(),
        }
    }

    pub(crate) fn tell(&self, event: SessionEvent) {
        // An error means that nobody listens.
        let _ = self.sender.send(event);
    }

    /// Notes who a session's user is about to be: the session may be gone before anybody can look.
    pub(crate) fn note_user(&self, handle: &str, user: &Value) {
        if self.is_followed.load(Ordering::Acquire) {
            self.users.lock().insert(handle.to_owned(), user.clone());
        }
    }

    pub(crate) fn expect<'a>(&'a self, handle: &'a str, why: Why) -> Expected<'a> {
        let is_noted = self.is_followed.load(Ordering::Acquire);
        if is_noted {
            self.expected.lock().insert(handle.to_owned(), why);
        }
        Expected { events: self, handle, why, is_noted }
    }

    /// The events from now on.
    pub(crate) async fn listen(self: &Arc<Events>, larder: &Larder, prefix: &str) -> SessionEvents {
        let receiver = self.sender.subscribe();
        if let Some(engine) = larder.engine()
            && !self.is_followed.swap(true, Ordering::AcqRel)
        {
            let heard = engine.engine().listen(ENGINE_KEPT);
            let follower = Follower { larder: larder.clone(), prefix: prefix.to_owned() };
            follower.take_stock(self).await;
            tokio::spawn(follower.follow(heard, Arc::downgrade(self)));
        }
        SessionEvents(receiver)
    }
}

impl Expected<'_> {
    /// The store has answered. `was_there` says whether this is what ended the session.
    pub(crate) fn happened(mut self, was_there: bool, user: &Value) {
        if self.is_noted {
            // What was there is the follower's to tell.
            self.is_noted = !was_there;
        } else if was_there {
            let (handle, why) = (SessionHandle(self.handle.to_owned()), self.why);
            self.events.tell(SessionEvent::Ended { handle, user: user.clone(), why });
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

/// Follows the engine's feed.
struct Follower {
    larder: Larder,
    prefix: String,
}

impl Follower {
    /// Finds all sessions that are there.
    async fn take_stock(&self, events: &Events) {
        let Ok(keys) = self.larder.scan(format!("{}*", self.prefix)).collect().await else { return };
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
            Some(meta) => drop(events.users.lock().insert(handle, meta.user)),
            // It has ended again already: that it did is still to come.
            None => drop(events.users.lock().entry(handle).or_insert(Value::Null)),
        }
    }

    async fn follow(self, heard: EventListener, events: Weak<Events>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(events) = events.upgrade() else { return };
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
        let Some(handle) = self.handle_in(&event.key) else { return };
        let why = match event.event.class {
            Class::Expired => Why::Expired,
            Class::Evicted => Why::Evicted,
            _ if event.event == Event::DEL => events.expected.lock().remove(&handle).unwrap_or(Why::Deleted),
            Class::String => return self.meet(handle, events),
            _ => return,
        };
        let user = events.users.lock().remove(&handle);
        if let Some(user) = user {
            events.tell(SessionEvent::Ended { handle: SessionHandle(handle), user, why });
        }
    }
}
