//! An event loop: one thread, its own poll, and the connections that were given to it.
//!
//! # A turn
//!
//! A turn is staged: poll; read every ready socket once; execute what was read, of all of them; send every reply. So a
//! socket costs one read and one write per turn however many commands it brought, one clock reading serves the turn, and
//! a message that one connection publishes to another of the same thread is sent in the same turn.
//!
//! When replies are long, executing takes long: then those that are ready go out before the rest is executed, so that
//! clients work on them meanwhile.
//!
//! Events are edge-triggered: they tell of changes. What is not done in a turn because its share is used up is kept in
//! the list of those that are ready, and then the next turn does not wait.
//!
//! Before a loop falls asleep after a large turn it lets others run, and looks once more. Where clients or other loops share
//! its processor they have something for it by then, and nobody has to wake it up (decision 0011).
//!
//! A loop never waits for anything but its poll: long commands go to workers, waiting ones are parked, and what a slow
//! reader does not take stays in its outbox.

use super::buffers::Pool;
use super::connection::{Connection, Fate};
use super::gathering::{Gathering, wake_on_time};
use super::listener::{Accepted, Arrival, Listener};
use super::mailbox::{ConnectionId, ConnectionWaker, LogWaker, Mail, Mailbox, WAKER_TOKEN};
use super::transport;
use super::window::Windows;
use crate::server::Server;
use larder::lane::Lane;
use larder::persist::aof::SyncProgress;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Events taken from the system at once: few enough that the buffers of a turn stay in the cache.
const EVENTS_PER_TURN: usize = 128;
/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Turns after which the log is synced although there are always more requests.
const OWED_TURNS_MAX: u32 = 4;
/// Commands that make a turn large: enough to be worth another look before the loop falls asleep.
const LARGE_TURN: u64 = 16;
/// Bytes of replies after which they are sent although the turn has more to execute.
const SEND_FROM: usize = 16 * 1024;
/// Milliseconds between two looks at all connections for those that are overdue.
const LOOK_EVERY_MS: u64 = 1000;
/// Tokens from here on are listeners; below, places of connections.
const LISTENERS_FROM: usize = usize::MAX / 2;

/// One event loop; see the module's text.
pub(crate) struct EventLoop {
    server: Arc<Server>,
    index: usize,
    poll: Poll,
    mailbox: Arc<Mailbox>,
    lane: Lane,
    places: Vec<Place>,
    free: Vec<u32>,
    pool: Pool,
    windows: Windows,
    gathering: Gathering,
    /// Commands that the lane had executed when the loop last had nothing more to do.
    executed_before: u64,
    listeners: Vec<Listening>,
    /// Connections with something to do in the next turn.
    ready: Vec<u32>,
    /// Connections whose output waits for the log.
    held: Vec<u32>,
    /// How far the log had come when all of them were looked at last.
    looked_at_held: Option<SyncProgress>,
    /// Turns for which the log has been waiting for this loop to sync it.
    owed_turns: u32,
    log_waker: Arc<LogWaker>,
    mail: Vec<Mail>,
    next_look_ms: u64,
}

/// A place for a connection.
#[derive(Default)]
struct Place {
    /// How often it has been used.
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// A listener of this loop.
struct Listening {
    listener: Listener,
    /// Whether somebody may be waiting to be accepted.
    has_arrivals: bool,
}

impl EventLoop {
    /// The loop with this number. `listeners` are those it accepts from.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn new(
        server: Arc<Server>,
        index: usize,
        poll: Poll,
        listeners: Vec<Listener>,
    ) -> io::Result<EventLoop> {
        let mailbox = Arc::clone(&server.mailboxes[index]);
        let log_waker = LogWaker::new(Arc::clone(&mailbox));
        let lane = server.engine.lane(true).attaching();
        let mut listening = Vec::new();
        for (nth, mut listener) in listeners.into_iter().enumerate() {
            poll.registry().register(listener.source(), Token(LISTENERS_FROM + nth), Interest::READABLE)?;
            listening.push(Listening { listener, has_arrivals: true });
        }
        Ok(EventLoop {
            server,
            index,
            poll,
            mailbox,
            lane,
            places: Vec::new(),
            free: Vec::new(),
            pool: Pool::default(),
            windows: Windows::default(),
            gathering: Gathering::default(),
            executed_before: 0,
            listeners: listening,
            ready: Vec::new(),
            held: Vec::new(),
            looked_at_held: None,
            owed_turns: 0,
            log_waker,
            mail: Vec::new(),
            next_look_ms: 0,
        })
    }

    /// Turns as long as the process lives. Returns only when the system's poll fails, and then why.
    pub(crate) fn run(mut self) -> io::Error {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut working = Vec::new();
        wake_on_time();
        larder::take_short_turns();
        loop {
            self.server.standstill.rest();
            if let Err(error) = self.wait(&mut events) {
                return error;
            }
            self.note(&events);
            self.read_mail();
            self.sync_if_owed();
            self.release_held();
            std::mem::swap(&mut self.ready, &mut working);
            self.read(&working);
            self.execute(&working);
            self.read_mail();
            // What they have written gets to the log's file before anybody is told.
            self.owed_turns = if self.server.engine.feed_log() { self.owed_turns + 1 } else { 0 };
            self.release_held();
            // Whoever was woken by these commands is in `ready` now, and is served in this turn as well.
            working.append(&mut self.ready);
            self.finish(&mut working);
            self.release_held();
            self.accept();
            self.look_after();
        }
    }

    /// Waits for events, unless there is something to do already.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let has_arrivals = self.listeners.iter().any(|listening| listening.has_arrivals);
        let has_work = !self.ready.is_empty() || has_arrivals || self.owed_turns > 0;
        let may_wait = !has_work && self.mailbox.fall_asleep();
        if may_wait
            && self.held.is_empty()
            && let Some(rest) = self.gathering.rest()
        {
            std::thread::sleep(rest);
        }
        let timeout_ms = if may_wait {
            self.next_look_ms.saturating_sub(self.lane.now_ms()).clamp(1, LOOK_EVERY_MS)
        } else {
            0
        };
        let timeout = Duration::from_millis(timeout_ms);
        let executed = self.lane.stats().processed.total();
        let looks_again =
            may_wait && executed - std::mem::replace(&mut self.executed_before, executed) >= LARGE_TURN;
        if looks_again {
            std::thread::yield_now();
        }
        let mut polled = self.poll.poll(events, Some(if looks_again { Duration::ZERO } else { timeout }));
        if looks_again && polled.is_ok() && events.is_empty() {
            polled = self.poll.poll(events, Some(timeout));
        }
        self.mailbox.wake_up();
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            other => other,
        }
    }

    /// Syncs the log for those who wait for it, once nobody has anything to add or that has gone on for long enough.
    fn sync_if_owed(&mut self) {
        if self.owed_turns > OWED_TURNS_MAX || (self.owed_turns > 0 && self.ready.is_empty()) {
            self.owed_turns = 0;
            self.server.engine.sync_log();
        }
    }

    fn note(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                WAKER_TOKEN => {}
                Token(token) if token >= LISTENERS_FROM => {
                    self.listeners[token - LISTENERS_FROM].has_arrivals = true;
                }
                Token(slot) => {
                    if let Some(connection) = &mut self.places[slot].connection {
                        connection.note(event);
                        schedule(&mut self.ready, connection);
                    }
                }
            }
        }
    }

    fn read_mail(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        self.mailbox.take(&mut mail);
        for mail in mail.drain(..) {
            match mail {
                Mail::Adopt(accepted) => self.adopt(accepted),
                Mail::Wake(id) => {
                    if let Some(connection) = self.places.find(id) {
                        connection.woken();
                        schedule(&mut self.ready, connection);
                    }
                }
                Mail::Worked(id, session, reply, wait) => {
                    // If the connection is gone, the session ends here.
                    if let Some(connection) = self.places.find(id) {
                        connection.worked(session, reply, wait);
                        schedule(&mut self.ready, connection);
                    }
                }
                Mail::Look => {}
            }
        }
        self.mail = mail;
    }

    fn read(&mut self, working: &[u32]) {
        let stats = self.lane.stats();
        let now_ms = self.lane.now_ms();
        self.gathering.begin_turn();
        for slot in working {
            let Some(connection) = &mut self.places[*slot as usize].connection else { continue };
            let active_ms = connection.active_ms();
            match connection.read(&self.server, &mut self.pool, now_ms) {
                Ok(0) => {}
                Ok(count) => {
                    self.gathering.hear(now_ms, active_ms);
                    stats.input_bytes.add(count as u64);
                    stats.reads.add(1);
                }
                Err(error) => {
                    let address = &connection.client().origin.address;
                    self.server.log.verbose(format_args!("Reading from client {address}: {error}"));
                    close(&self.server, self.index, &mut self.places, &mut self.free, *slot);
                }
            }
        }
    }

    fn execute(&mut self, working: &[u32]) {
        self.lane.begin_turn();
        self.gathering.end_reading(self.lane.now_us());
        let (mut rest, mut unsent) = (working, 0..0);
        let mut bytes = 0;
        while let Some(group) = self.look_ahead(rest) {
            let mut nth = 0;
            for slot in &rest[..group] {
                unsent.end += 1;
                if let Some(connection) = &mut self.places[*slot as usize].connection {
                    let (lane, pool) = (&mut self.lane, &mut self.pool);
                    nth = connection.run(&self.server, lane, pool, &mut self.windows, nth);
                    connection.hold(self.server.engine.wait_of(lane));
                    bytes += connection.sendable();
                }
                // Nobody is told of what is not in the log's file, where there is one.
                if bytes >= SEND_FROM && unsent.end < working.len() && !self.server.engine.has_unfed_log() {
                    self.send_ahead(&working[unsent.clone()]);
                    (unsent.start, bytes) = (unsent.end, 0);
                }
            }
            rest = &rest[group..];
        }
    }

    /// Sends replies before the turn is over. What fails here fails again at its end, where that is seen to.
    fn send_ahead(&mut self, executed: &[u32]) {
        for slot in executed {
            let Some(connection) = &mut self.places[*slot as usize].connection else { continue };
            let sent = connection.send_ahead(&mut self.pool);
            if sent > 0 {
                self.lane.stats().output_bytes.add(sent as u64);
                self.lane.stats().writes.add(1);
            }
        }
    }

    /// Looks at what the next connections are going to execute, as many of them as a window has room for, and fetches
    /// what that needs. Returns how many connections these are; `None` if there are none.
    fn look_ahead(&mut self, working: &[u32]) -> Option<usize> {
        self.windows.shared.clear();
        let mut group = 0;
        for slot in working {
            if self.windows.shared.is_full() {
                break;
            }
            if let Some(connection) = &mut self.places[*slot as usize].connection {
                connection.look_ahead(&self.server, &mut self.windows.shared);
            }
            group += 1;
        }
        self.windows.shared.prefetch(&self.server.engine);
        (group > 0).then_some(group)
    }

    fn finish(&mut self, working: &mut Vec<u32>) {
        let now_ms = self.lane.now_ms();
        for slot in working.drain(..) {
            let Some(connection) = &mut self.places[slot as usize].connection else { continue };
            connection.is_ready = false;
            let (mut sent, mut is_held) = (0, false);
            let (registry, pool) = (self.poll.registry(), &mut self.pool);
            let fate = connection.finish(&self.server, registry, pool, now_ms, &mut sent, &mut is_held);
            if is_held && !std::mem::replace(&mut connection.is_held, true) {
                self.held.push(slot);
            }
            if sent > 0 {
                self.lane.stats().output_bytes.add(sent as u64);
                self.lane.stats().writes.add(1);
            }
            match fate {
                Fate::Wait => {}
                Fate::Again => schedule(&mut self.ready, connection),
                Fate::Close => close(&self.server, self.index, &mut self.places, &mut self.free, slot),
            }
        }
    }

    /// Gives those their turn whose output has waited long enough for the log. Whoever still has to wait is woken when the
    /// log has come further; that is arranged before they are looked at.
    fn release_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        self.log_waker.register(&self.server.engine);
        // Read first: if it changes meanwhile, they are looked at again.
        let progress = self.server.engine.progress_of_syncs();
        if self.looked_at_held.replace(progress) == Some(progress) {
            return;
        }
        let (places, ready, engine) = (&mut self.places, &mut self.ready, &self.server.engine);
        self.held.retain(|slot| {
            let Some(connection) = &mut places[*slot as usize].connection else { return false };
            if !connection.is_released(engine) {
                return true;
            }
            connection.is_held = false;
            schedule(ready, connection);
            false
        });
    }

    /// Accepts connections and gives each to the loop with the fewest.
    fn accept(&mut self) {
        for nth in 0..self.listeners.len() {
            let listening = &mut self.listeners[nth];
            if !listening.has_arrivals {
                continue;
            }
            let mut adopted = Vec::new();
            for _ in 0..ACCEPTS_PER_TURN {
                match listening.listener.accept(&self.server) {
                    Arrival::Refused => {}
                    Arrival::Nobody => {
                        listening.has_arrivals = false;
                        break;
                    }
                    Arrival::Later(error) => {
                        // Tried again when the loop looks after its connections.
                        listening.has_arrivals = false;
                        self.server.log.warning(format_args!("Accepting client connection: {error}"));
                        break;
                    }
                    Arrival::Accepted(accepted) => {
                        let to = self.server.give_place();
                        if to == self.index {
                            adopted.push(accepted);
                        } else {
                            self.server.mailboxes[to].post(Mail::Adopt(accepted));
                        }
                    }
                }
            }
            adopted.into_iter().for_each(|accepted| self.adopt(accepted));
        }
    }

    fn adopt(&mut self, accepted: Accepted) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[slot as usize];
        let id = ConnectionId { slot, generation: place.generation };
        let Accepted { mut transport, origin } = accepted;
        if let Err(error) = transport::register(&mut transport, self.poll.registry(), Token(slot as usize)) {
            self.server.log.warning(format_args!("Registering client connection: {error}"));
            self.free.push(slot);
            self.server.leave(self.index);
            return;
        }
        let waker = ConnectionWaker::new(Arc::clone(&self.mailbox), id);
        let session = self.server.engine.connect(origin, waker.to_std());
        let connection = Connection::new(id, transport, session, waker, self.lane.now_ms());
        self.server.log.debug(format_args!("Accepted {}", connection.client().origin.address));
        place.connection = Some(Box::new(connection));
    }

    /// About once a second: ends connections that are overdue, and tries again to accept.
    fn look_after(&mut self) {
        let now_ms = self.lane.now_ms();
        // The clock may be set back; a look that is further away than it can be is due.
        if now_ms < self.next_look_ms && self.next_look_ms - now_ms <= LOOK_EVERY_MS {
            return;
        }
        self.next_look_ms = now_ms + LOOK_EVERY_MS;
        if self.server.engine.is_poisoned() {
            self.server.fail("a command failed inside the engine, whose data can no longer be trusted");
        }
        self.listeners.iter_mut().for_each(|listening| listening.has_arrivals = true);
        for slot in 0..self.places.len() as u32 {
            if let Some(connection) = &mut self.places[slot as usize].connection
                && connection.is_overdue(&self.server, now_ms)
            {
                close(&self.server, self.index, &mut self.places, &mut self.free, slot);
            }
        }
    }
}

/// Puts a connection on the list of those with something to do, once.
fn schedule(ready: &mut Vec<u32>, connection: &mut Connection) {
    if !connection.is_ready {
        connection.is_ready = true;
        ready.push(connection.id().slot);
    }
}

/// Ends a connection. Its socket leaves the poll by being closed, and its place gets a new generation.
fn close(server: &Server, index: usize, places: &mut [Place], free: &mut Vec<u32>, slot: u32) {
    let place = &mut places[slot as usize];
    if let Some(mut connection) = place.connection.take() {
        connection.hang_up();
        server.log.debug(format_args!("Closed {}", connection.client().origin.address));
        place.generation = place.generation.wrapping_add(1);
        free.push(slot);
        server.leave(index);
    }
}

/// Finding a connection by its place and generation.
trait Find {
    fn find(&mut self, id: ConnectionId) -> Option<&mut Connection>;
}

impl Find for Vec<Place> {
    fn find(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let place = self.get_mut(id.slot as usize)?;
        place.connection.as_deref_mut().filter(|connection| connection.id() == id)
    }
}
