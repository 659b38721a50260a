//! One connection: from bytes received to commands executed to bytes sent.
//!
//! An event loop takes a connection through the three stages of a turn: [`Connection::read`], [`Connection::run`],
//! [`Connection::finish`]. What a connection may do in one turn is bounded, so that a long pipeline does not keep others
//! waiting: a connection with more to do has its next turn at once.

use super::buffers::Pool;
use super::input::Input;
use super::mailbox::{ConnectionId, ConnectionWaker};
use super::outbox::Outbox;
use super::transport::{Received, Transport, interest};
use super::window::{Window, Windows};
use crate::config::OutputLimit;
use crate::server::Server;
use crate::workers::Work;
use larder::client::Client;
use larder::engine::Step;
use larder::lane::Lane;
use larder::persist::aof::{Told, Wait};
use larder::{Engine, Session};
use larder_resp::{Decoded, Decoder, Limits, ReplyWriter, Request};
use mio::{Registry, Token};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Commands a connection executes in one turn.
const COMMANDS_PER_TURN: usize = 512;
/// For how long it goes on executing in one turn, as far as that can be chosen between two commands.
const TIME_PER_TURN: Duration = Duration::from_millis(2);
/// Commands between two looks at the clock.
const COMMANDS_PER_LOOK: usize = 32;
/// Bytes received while a command of the connection waits, beyond which nothing more is read.
const READ_AHEAD_MAX: usize = 64 * 1024;

/// A connection of an event loop.
pub(crate) struct Connection {
    id: ConnectionId,
    transport: Transport,
    /// Away while a worker runs a long command with it.
    session: Option<Session>,
    client: Arc<Client>,
    pub(crate) waker: Arc<ConnectionWaker>,
    decoder: Decoder,
    input: Input,
    outbox: Outbox,
    /// Whether the socket may have bytes that were not read.
    is_readable: bool,
    /// Whether an event told of the peer's end, or of an error, which no further event repeats: the socket is read until
    /// it says so itself.
    is_ending: bool,
    /// Whether the peer sends nothing more.
    is_at_end: bool,
    /// Whether the input may hold a complete request.
    has_requests: bool,
    /// Whether the next request waits for the waker to be called.
    is_parked: bool,
    /// Requests of its own in the window of this turn.
    ahead: usize,
    /// Whether the connection ends once everything is sent.
    is_closing: bool,
    /// Whether it is registered for writability.
    wants_write: bool,
    /// Whether it is in its loop's list of those whose output waits for the log.
    pub(crate) is_held: bool,
    /// Whether it is in its loop's list of those with something to do.
    pub(crate) is_ready: bool,
    /// When it last received something, or was made; Unix milliseconds.
    active_ms: u64,
    /// Since when more than the soft limit waits to be sent, Unix milliseconds.
    over_soft_limit_ms: Option<u64>,
}

/// What becomes of a connection after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits for an event or a wake-up.
    Wait,
    /// It has more to do at once.
    Again,
    /// It is over.
    Close,
}

/// What a connection may still execute in this turn.
#[derive(Default)]
struct Share {
    commands: usize,
    began: Option<Instant>,
}

impl Share {
    /// Takes a command's part of it. Returns whether there was one left.
    #[inline]
    fn take(&mut self) -> bool {
        self.commands += 1;
        self.commands % COMMANDS_PER_LOOK != 1
            || self.commands == 1
            || self.commands <= COMMANDS_PER_TURN
                && self.began.get_or_insert_with(Instant::now).elapsed() <= TIME_PER_TURN
    }
}

impl Connection {
    /// A connection in its place.
    pub(crate) fn new(
        id: ConnectionId,
        transport: Transport,
        session: Session,
        waker: Arc<ConnectionWaker>,
        now_ms: u64,
    ) -> Connection {
        Connection {
            id,
            transport,
            client: Arc::clone(session.client()),
            session: Some(session),
            waker,
            decoder: Decoder::new(),
            input: Input::default(),
            outbox: Outbox::default(),
            is_readable: false,
            is_ending: false,
            is_at_end: false,
            has_requests: false,
            is_parked: false,
            ahead: 0,
            is_closing: false,
            wants_write: false,
            is_held: false,
            is_ready: false,
            active_ms: now_ms,
            over_soft_limit_ms: None,
        }
    }

    /// Its place and generation.
    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// What others may know of it.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Notes an event of its socket.
    pub(crate) fn note(&mut self, event: &mio::event::Event) {
        self.is_ending |= event.is_read_closed() || event.is_error();
        self.is_readable |= event.is_readable() || self.is_ending;
    }

    /// Notes that its waker was called.
    pub(crate) fn woken(&mut self) {
        self.waker.rearm();
        if self.is_parked {
            self.is_parked = false;
            self.has_requests = true;
        }
    }

    /// Takes the session back from a worker, with the reply to its long command and what that has to wait for.
    pub(crate) fn worked(&mut self, session: Session, reply: Vec<u8>, wait: Option<Wait>) {
        self.session = Some(session);
        self.outbox.append(reply);
        self.hold(wait);
        self.has_requests = true;
    }

    /// Keeps back all that is not sent yet until what it tells of is durable, if it is not.
    #[inline]
    pub(crate) fn hold(&mut self, wait: Option<Wait>) {
        if let Some(wait) = wait {
            self.outbox.hold(wait);
        }
    }

    /// First stage: reads once, if there is something to read and room for it. Returns how many bytes came.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn read(&mut self, server: &Server, pool: &mut Pool, now_ms: u64) -> io::Result<usize> {
        if !self.may_read() {
            return Ok(0);
        }
        match self.input.fill(&mut self.transport, pool)? {
            Received::End => {
                self.is_at_end = true;
                self.is_readable = false;
                Ok(0)
            }
            Received::Bytes { count, may_be_more } => {
                self.is_readable = may_be_more || self.is_ending;
                if count > 0 {
                    self.has_requests = !self.is_parked && self.session.is_some();
                    self.active_ms = now_ms;
                    self.check_query_buffer(server)?;
                }
                Ok(count)
            }
        }
    }

    /// When it last received something, or was made; Unix milliseconds.
    pub(crate) fn active_ms(&self) -> u64 {
        self.active_ms
    }

    fn may_read(&self) -> bool {
        let is_waiting = self.is_parked || self.session.is_none();
        let has_read_ahead = is_waiting && self.input.pending().len() >= READ_AHEAD_MAX;
        self.is_readable
            && !self.is_closing
            && !self.is_at_end
            && !self.has_requests
            && !self.outbox.is_stalled()
            && !has_read_ahead
    }

    fn check_query_buffer(&self, server: &Server) -> io::Result<()> {
        let limit = server.live.query_buffer_limit.load(Ordering::Relaxed);
        let size = self.input.pending().len() + self.client.queued_memory.load(Ordering::Relaxed);
        if size <= limit {
            return Ok(());
        }
        server.log.warning(format_args!(
            "Closing client that reached max query buffer length: {} bytes of {limit}: {}",
            size,
            self.client.describe(self.active_ms)
        ));
        Err(io::Error::other("query buffer limit"))
    }

    /// Before the second stage: lets a window look at what the connection is going to execute.
    pub(super) fn look_ahead(&mut self, server: &Server, window: &mut Window) {
        let before = window.len();
        if self.has_requests
            && !self.is_closing
            && !self.decoder.in_progress()
            && let Some(session) = &self.session
        {
            let limits = limits(server, session);
            window.look_at(&server.engine, self.input.pending(), &limits, session.db());
        }
        self.ahead = window.len() - before;
    }

    /// Second stage: executes what was received, as far as this turn's share goes. What the shared window knows of it
    /// begins at `nth`; returns where the next connection's requests begin.
    pub(super) fn run(
        &mut self,
        server: &Server,
        lane: &mut Lane,
        pool: &mut Pool,
        windows: &mut Windows,
        nth: usize,
    ) -> usize {
        let known = nth..nth + std::mem::take(&mut self.ahead);
        let end = known.end;
        if !self.has_requests || self.is_closing {
            return end;
        }
        let mut share = Share::default();
        let mut goes_on = self.run_window(server, lane, pool, &windows.shared, known, &mut share);
        while goes_on {
            windows.own.clear();
            self.look_ahead(server, &mut windows.own);
            windows.own.prefetch(&server.engine);
            let known = 0..std::mem::take(&mut self.ahead);
            goes_on = if known.is_empty() {
                self.may_run(&mut share) && self.decode_and_execute(server, lane, pool)
            } else {
                self.run_window(server, lane, pool, &windows.own, known, &mut share)
            };
        }
        end
    }

    /// Whether the next request may be executed now.
    #[inline]
    fn may_run(&self, share: &mut Share) -> bool {
        share.take() && !self.outbox.is_stalled() && !self.client.is_killed()
    }

    /// Executes requests that a window knows. Returns whether to go on behind them.
    fn run_window(
        &mut self,
        server: &Server,
        lane: &mut Lane,
        pool: &mut Pool,
        window: &Window,
        known: Range<usize>,
        share: &mut Share,
    ) -> bool {
        for ahead in &window.requests()[known] {
            if !self.may_run(share) {
                return false;
            }
            let Some(session) = &mut self.session else { return false };
            let request = window.request(ahead, self.input.pending());
            if is_cross_protocol(request) {
                self.end_cross_protocol(server);
                return false;
            }
            let out = self.outbox.writer(pool);
            let step = server.engine.execute_planned(lane, session, ahead.plan, request, out);
            self.attach(lane);
            if !self.go_on(server, step, ahead.consumed) {
                return false;
            }
        }
        true
    }

    /// Executes the request that the decoder finds. Returns whether to go on with the next one.
    fn decode_and_execute(&mut self, server: &Server, lane: &mut Lane, pool: &mut Pool) -> bool {
        let Some(session) = &mut self.session else { return false };
        match self.decoder.decode(self.input.pending(), &limits(server, session)) {
            Ok(Decoded::Command { consumed }) => {
                let request = self.decoder.request(self.input.pending());
                if is_cross_protocol(request) {
                    self.end_cross_protocol(server);
                    return false;
                }
                let step = server.engine.execute(lane, session, request, self.outbox.writer(pool));
                self.attach(lane);
                self.go_on(server, step, consumed)
            }
            Ok(Decoded::Skip { consumed }) => {
                self.input.consume(consumed);
                true
            }
            Ok(Decoded::Incomplete { want }) => {
                self.input.expect(want);
                self.has_requests = false;
                false
            }
            Err(error) => {
                let reply = self.outbox.writer(pool);
                ReplyWriter::new(reply, session.proto()).protocol_error(&error);
                self.is_closing = true;
                server
                    .log
                    .verbose(format_args!("{error} from client: {}", self.client.describe(lane.now_ms())));
                false
            }
        }
    }

    /// Attaches to the reply to the command just executed what it did not copy.
    #[inline]
    fn attach(&mut self, lane: &mut Lane) {
        if !lane.attached().is_empty() {
            self.outbox.attach(lane.attached());
        }
    }

    #[cold]
    fn end_cross_protocol(&mut self, server: &Server) {
        server.log.cross_protocol(&self.client.origin.address);
        self.is_closing = true;
    }

    /// Does what the engine said of a request of `consumed` bytes. Returns whether to go on with the next one.
    #[inline]
    fn go_on(&mut self, server: &Server, step: Step, consumed: usize) -> bool {
        match step {
            Step::Done => {
                self.input.consume(consumed);
                return true;
            }
            Step::Close => {
                self.input.consume(consumed);
                self.is_closing = true;
            }
            Step::Parked => {
                self.is_parked = true;
                self.has_requests = false;
            }
            Step::Long(job) => {
                self.input.consume(consumed);
                self.has_requests = false;
                if let Some(session) = self.session.take() {
                    server.workers.run(Work { job, session, id: self.id, to: self.waker.mailbox() });
                }
            }
        }
        false
    }

    /// Whether it need not wait for the log any more with all that it keeps back.
    pub(crate) fn is_released(&self, engine: &Engine) -> bool {
        self.outbox.first_wait().is_none_or(|wait| engine.may_tell(wait) != Told::Later)
    }

    /// Bytes of replies that need not wait for anything.
    pub(crate) fn sendable(&self) -> usize {
        self.outbox.blocked()
    }

    /// Sends such replies before the third stage, and returns how many bytes the socket took.
    pub(crate) fn send_ahead(&mut self, pool: &mut Pool) -> usize {
        if self.outbox.blocked() == 0 {
            return 0;
        }
        self.outbox.flush(&mut self.transport, pool).unwrap_or(0)
    }

    /// Third stage: adds what was pushed to the connection, sends what it may, and says how it goes on. `sent` counts
    /// the bytes; `is_held` says whether some must wait for the log.
    pub(crate) fn finish(
        &mut self,
        server: &Server,
        registry: &Registry,
        pool: &mut Pool,
        now_ms: u64,
        sent: &mut usize,
        is_held: &mut bool,
    ) -> Fate {
        if self.client.has_mail() {
            self.take_mail(pool);
            // Whoever has sent it may have seen anything.
            self.hold(server.engine.wait_of_all());
        }
        match self.outbox.release(|wait| server.engine.may_tell(wait)) {
            Told::Now => {}
            Told::Later => *is_held = true,
            Told::Never => return Fate::Close,
        }
        if self.outbox.blocked() > 0 || self.transport.wants_write() {
            match self.outbox.flush(&mut self.transport, pool) {
                Ok(count) => *sent += count,
                Err(_broken) => return Fate::Close,
            }
        }
        if self.client.is_killed() || self.is_over_limit(server, now_ms) {
            return Fate::Close;
        }
        let is_blocked = self.outbox.blocked() > 0 || self.transport.wants_write();
        let is_unsent = self.outbox.unsent() > 0 || is_blocked;
        if self.wants_write != is_blocked {
            self.wants_write = is_blocked;
            let token = Token(self.id.slot as usize);
            if self.transport.source().reregister(registry, token, interest(is_blocked)).is_err() {
                return Fate::Close;
            }
        }
        self.input.settle(pool);
        self.publish();
        self.fate(is_unsent)
    }

    fn fate(&self, is_unsent: bool) -> Fate {
        if self.is_closing {
            return if is_unsent { Fate::Wait } else { Fate::Close };
        }
        if self.has_requests {
            return if self.outbox.is_stalled() { Fate::Wait } else { Fate::Again };
        }
        if self.is_at_end {
            // All it asked for is answered, or it waits for something that nobody will hear of. Only a long command is
            // let to its end: its client may have closed one direction and still read the other.
            return if self.session.is_some() && !is_unsent { Fate::Close } else { Fate::Wait };
        }
        if self.may_read() { Fate::Again } else { Fate::Wait }
    }

    fn take_mail(&mut self, pool: &mut Pool) {
        let Some(session) = &self.session else { return };
        let (proto, is_wanted) = (session.proto(), session.wants_pushes());
        let mail = self.client.take_mail();
        if is_wanted {
            let mut writer = ReplyWriter::new(self.outbox.writer(pool), proto);
            mail.iter().for_each(|push| push.write(&mut writer));
        }
    }

    /// Whether more waits to be sent than `client-output-buffer-limit` allows.
    fn is_over_limit(&mut self, server: &Server, now_ms: u64) -> bool {
        let unsent = self.outbox.unsent() + self.client.mail_bytes();
        if unsent == 0 {
            self.over_soft_limit_ms = None;
            return false;
        }
        let OutputLimit { hard, soft, soft_seconds } = server.live.output_limit(self.client.kind());
        if hard > 0 && unsent > hard {
            self.log_over_limit(server, now_ms);
            return true;
        }
        if soft == 0 || unsent <= soft {
            self.over_soft_limit_ms = None;
            return false;
        }
        let since_ms = *self.over_soft_limit_ms.get_or_insert(now_ms);
        let is_over = now_ms.saturating_sub(since_ms) > soft_seconds * 1000;
        if is_over {
            self.log_over_limit(server, now_ms);
        }
        is_over
    }

    fn log_over_limit(&self, server: &Server, now_ms: u64) {
        server.log.warning(format_args!(
            "Client {} closed for overcoming of output buffer limits.",
            self.client.describe(now_ms)
        ));
    }

    /// Looked at about once a second: whether it is idle for too long or over a limit. Frees what it need not keep.
    pub(crate) fn is_overdue(&mut self, server: &Server, now_ms: u64) -> bool {
        if self.is_over_limit(server, now_ms) {
            return true;
        }
        let idle_ms = now_ms.saturating_sub(self.active_ms);
        if idle_ms > 2000 {
            self.input.shrink();
            self.publish();
        }
        let timeout_s = server.live.timeout_s.load(Ordering::Relaxed);
        let may_be_silent = self.client.is_subscriber()
            || self.client.is_monitor.load(Ordering::Relaxed)
            || self.is_parked
            || self.session.is_none();
        if timeout_s == 0 || may_be_silent || idle_ms <= timeout_s * 1000 {
            return false;
        }
        server.log.verbose(format_args!("Closing idle client: {}", self.client.describe(now_ms)));
        true
    }

    /// Shows others what the buffers hold.
    fn publish(&self) {
        self.client.input_bytes.store(self.input.pending().len(), Ordering::Relaxed);
        self.client.input_free.store(self.input.free(), Ordering::Relaxed);
        self.client.output_bytes.store(self.outbox.unsent(), Ordering::Relaxed);
    }

    /// Says good-bye, if it was us who ended it: see [`Transport::hang_up`].
    pub(crate) fn hang_up(&mut self) {
        if self.is_closing {
            self.transport.hang_up();
        }
    }
}

/// What a connection's requests are limited to.
#[inline]
fn limits(server: &Server, session: &Session) -> Limits {
    let max_bulk = server.engine.config.proto_max_bulk_len.load(Ordering::Relaxed);
    Limits { authenticated: session.is_authenticated(), max_bulk, ..Limits::default() }
}

/// Whether it looks like HTTP. A web page can make a browser send such lines to a server that only this machine can
/// reach; the lines that follow might then be commands.
#[inline]
fn is_cross_protocol(request: Request<'_>) -> bool {
    let name = request.arg(0);
    match name.len() {
        4 => name.eq_ignore_ascii_case(b"POST"),
        5 => name.eq_ignore_ascii_case(b"Host:"),
        _ => false,
    }
}
