//! A conversation with a server: connecting with all greetings, asking, and what follows from the answers.

use std::time::Duration;

use crate::format::{self, Format};
use crate::link::{Failure, Link};
use crate::options::{Name, Options, Output};
use crate::output;
use crate::reply::Reply;

/// Redirections that one command follows: a cluster that sends it further round and round is broken.
const REDIRECTIONS_MAX: usize = 16;

/// What the server knows about our connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) db: i64,
    pub(crate) in_multi: bool,
    pub(crate) resp3: bool,
}

/// A server, our options, and the connection while there is one.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) options: Options,
    pub(crate) format: Format,
    pub(crate) state: State,
    shows_pushes: bool,
    link: Option<Link>,
}

impl Session {
    pub(crate) fn new(options: Options) -> Self {
        let on_terminal = output::is_terminal();
        let format = match options.output {
            Some(Output::Raw) => Format::Raw,
            // Who asks for it wants what redis-cli writes.
            Some(Output::NoRaw) => Format::Tty { utf8: false },
            Some(Output::Csv) => Format::Csv,
            Some(Output::Json) => Format::Json,
            Some(Output::QuotedJson) => Format::QuotedJson,
            None if on_terminal => Format::Tty { utf8: options.name == Name::Own },
            None => Format::Raw,
        };
        let shows_pushes = options.show_pushes.unwrap_or(on_terminal);
        let state = State { db: options.target.db, in_multi: false, resp3: false };
        Self { options, format, state, shows_pushes, link: None }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Drops the connection; the next command opens a new one.
    pub(crate) fn disconnect(&mut self) {
        self.link = None;
        self.state.in_multi = false;
    }

    /// The connection, opened if there is none.
    pub(crate) fn link(&mut self) -> Result<&mut Link, Failure> {
        if self.link.is_none() {
            self.connect()?;
        }
        self.link.as_mut().ok_or(Failure::Closed)
    }

    /// A new connection: AUTH, SELECT, HELLO. What the server refuses is said; only a database that cannot be chosen is
    /// the end, because the next command would go to another one.
    pub(crate) fn connect(&mut self) -> Result<(), Failure> {
        self.disconnect();
        let target = &self.options.target;
        let limit = Some(target.connect_timeout);
        let place = target.place();
        let failed = |failure: Failure| match failure {
            Failure::Connect(_) | Failure::Interrupted => failure,
            other => Failure::Connect(format!(
                "Could not connect to Redis at {place}: {}",
                other.to_string().trim_start_matches("Error: ")
            )),
        };
        let mut link = Link::open(target)?;
        if let Some(password) = &target.password {
            let mut auth: Vec<&[u8]> = vec![b"AUTH"];
            auth.extend(target.user.as_deref());
            auth.push(password);
            if let Reply::Error(why) = link.call(&auth, limit).map_err(failed)? {
                output::complain(&format!("AUTH failed: {}", String::from_utf8_lossy(&why)));
            }
        }
        if self.state.db != 0 {
            let db = self.state.db.to_string();
            if let Reply::Error(why) = link.call(&["SELECT", &db], limit).map_err(failed)? {
                let message = format!("SELECT {db} failed: {}", String::from_utf8_lossy(&why));
                if self.options.name == Name::Own {
                    return Err(Failure::Local(message));
                }
                output::complain(&message);
            }
        }
        self.state.resp3 = false;
        if target.resp3 == Some(true) {
            match link.call(&["HELLO", "3"], limit).map_err(failed)? {
                Reply::Error(why) => {
                    output::complain(&format!("HELLO 3 failed: {}", String::from_utf8_lossy(&why)));
                }
                _ => self.state.resp3 = true,
            }
        }
        self.link = Some(link);
        Ok(())
    }

    /// The connection, taken out.
    pub(crate) fn take_link(&mut self) -> Result<Link, Failure> {
        self.link()?;
        self.link.take().ok_or(Failure::Closed)
    }

    /// Whether the server has closed the connection while nobody asked it anything; then it is dropped.
    pub(crate) fn notice_loss(&mut self) {
        let mut shown = Vec::new();
        let lost = self.link.as_mut().is_some_and(|link| {
            loop {
                match link.poll() {
                    Ok(None) => return false,
                    Ok(Some(reply)) => shown.push(reply),
                    Err(_) => return true,
                }
            }
        });
        for push in shown {
            // Nothing was asked, so these are messages; output that fails now fails with the next reply as well.
            let _ = self.show_push(&push);
        }
        if lost {
            self.disconnect();
        }
    }

    /// Sends a command and gives its reply, after following redirections, and remembers what it changes.
    ///
    /// # Errors
    /// When there is no connection, or it breaks; it is dropped then.
    pub(crate) fn ask(&mut self, args: &[Vec<u8>]) -> Result<Reply, Failure> {
        let limit = self.limit(args);
        let mut asking = false;
        for _ in 0..REDIRECTIONS_MAX {
            let reply = match self.exchange(args, limit, asking) {
                Err(failure) => {
                    self.disconnect();
                    // A server that was told to go says nothing.
                    let goes = is(args, 0, "shutdown") && matches!(failure, Failure::Closed);
                    return if goes { Ok(Reply::Simple(Vec::new())) } else { Err(failure) };
                }
                Ok(reply) => reply,
            };
            match self.redirection(&reply)? {
                Some(is_ask) => asking = is_ask,
                None => {
                    self.remember(args, &reply);
                    return Ok(reply);
                }
            }
        }
        Err(Failure::Local(format!("the cluster redirected the command more than {REDIRECTIONS_MAX} times")))
    }

    fn exchange(
        &mut self,
        args: &[Vec<u8>],
        limit: Option<Duration>,
        asking: bool,
    ) -> Result<Reply, Failure> {
        let link = self.link()?;
        if asking {
            link.call(&["ASKING"], limit)?;
        }
        link.command(args, limit)?;
        loop {
            match self.link()?.read(limit)? {
                push @ Reply::Push(_) => self.show_push(&push)?,
                reply => return Ok(reply),
            }
        }
    }

    fn show_push(&self, push: &Reply) -> Result<(), Failure> {
        if self.shows_pushes { self.show(push, false) } else { Ok(()) }
    }

    /// Goes to the server that a redirection names; `Some(true)` when the command must be announced with ASKING there.
    fn redirection(&mut self, reply: &Reply) -> Result<Option<bool>, Failure> {
        let (Reply::Error(text), true) = (reply, self.options.cluster) else { return Ok(None) };
        let text = String::from_utf8_lossy(text);
        let mut words = text.split(' ');
        let is_ask = match words.next() {
            Some("MOVED") => false,
            Some("ASK") => true,
            _ => return Ok(None),
        };
        let (Some(slot), Some((host, port))) =
            (words.next(), words.next().and_then(|at| at.rsplit_once(':')))
        else {
            return Ok(None);
        };
        let Ok(port) = port.parse() else { return Ok(None) };
        if !host.is_empty() {
            host.clone_into(&mut self.options.target.host);
        }
        self.options.target.port = port;
        self.options.target.socket = None;
        if matches!(self.format, Format::Raw | Format::Tty { .. }) {
            let (host, port) = (&self.options.target.host, self.options.target.port);
            output::write(format!("-> Redirected to slot [{slot}] located at {host}:{port}\n").as_bytes())?;
        }
        self.connect()?;
        Ok(Some(is_ask))
    }

    /// What a command that succeeded has changed about the connection.
    fn remember(&mut self, args: &[Vec<u8>], reply: &Reply) {
        if reply.is_error() {
            if is(args, 0, "exec") {
                self.state.in_multi = false;
            }
            return;
        }
        if is(args, 0, "multi") {
            self.state.in_multi = true;
        } else if is(args, 0, "exec") || is(args, 0, "discard") {
            self.state.in_multi = false;
        } else if is(args, 0, "reset") {
            self.state = State::default();
        } else if self.state.in_multi {
            // Queued: it happens with EXEC, if it happens.
        } else if is(args, 0, "select") {
            let db = args.get(1).and_then(|db| std::str::from_utf8(db).ok()?.parse().ok());
            self.state.db = db.unwrap_or(self.state.db);
        } else if is(args, 0, "auth") {
            let target = &mut self.options.target;
            target.user = if args.len() > 2 { args.get(1).cloned() } else { None };
            target.password = args.last().cloned();
        } else if is(args, 0, "hello")
            && let Some(version) = args.get(1)
        {
            self.state.resp3 = version == b"3";
            self.options.target.resp3 = Some(self.state.resp3);
        }
    }

    /// Longest time for the reply to a command; commands that wait for something else than the server take their time.
    pub(crate) fn limit(&self, args: &[Vec<u8>]) -> Option<Duration> {
        const WAIT_BY_THEMSELVES: &[&str] = &[
            "blmove",
            "blmpop",
            "blpop",
            "brpop",
            "brpoplpush",
            "bzmpop",
            "bzpopmax",
            "bzpopmin",
            "debug",
            "eval",
            "eval_ro",
            "evalsha",
            "evalsha_ro",
            "exec",
            "failover",
            "fcall",
            "fcall_ro",
            "migrate",
            "save",
            "shutdown",
            "wait",
            "waitaof",
            "xread",
            "xreadgroup",
        ];
        let limit = self.options.target.timeout;
        let waits = WAIT_BY_THEMSELVES.iter().any(|name| is(args, 0, name));
        if limit.is_zero() || waits { None } else { Some(limit) }
    }

    /// Writes a reply in the chosen format.
    pub(crate) fn show(&self, reply: &Reply, plain: bool) -> Result<(), Failure> {
        output::write(&format::render(reply, self.format, plain, &self.options.delimiters))
    }

    /// Writes replies and messages as they come, until the connection ends or Ctrl-C is pressed. `args` begins it:
    /// MONITOR or one of SUBSCRIBE.
    pub(crate) fn stream(&mut self, args: &[Vec<u8>]) -> Result<(), Failure> {
        let outcome = self.stream_until_end(args);
        // Only a new connection is free of the subscriptions.
        self.disconnect();
        match outcome {
            Err(Failure::Interrupted) => Ok(()),
            other => other,
        }
    }

    fn stream_until_end(&mut self, args: &[Vec<u8>]) -> Result<(), Failure> {
        let limit = Some(self.options.target.connect_timeout);
        if !is(args, 0, "monitor") && self.format != Format::Raw {
            output::write(b"Reading messages... (press Ctrl-C to quit)\n")?;
        }
        self.link()?.command(args, limit)?;
        loop {
            let reply = self.link()?.read(None)?;
            self.show(&reply, false)?;
            if reply.is_error() {
                return Err(Failure::Refused);
            }
        }
    }
}

/// Whether the word at this place is `word`, in any case.
pub(crate) fn is<A: AsRef<[u8]>>(args: &[A], at: usize, word: &str) -> bool {
    args.get(at).is_some_and(|arg| arg.as_ref().eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether a command makes the connection one that only listens.
pub(crate) fn streams<A: AsRef<[u8]>>(args: &[A]) -> bool {
    let subscribes = ["subscribe", "psubscribe", "ssubscribe"].iter().any(|word| is(args, 0, word));
    (subscribes && args.len() > 1) || (is(args, 0, "monitor") && args.len() == 1)
}
