//! `--pipe`: requests from standard input, as fast as the server takes them.
//!
//! Nobody knows how many replies there will be, since the input is not looked at. So when it ends an ECHO of random bytes
//! follows it, and the reply with these bytes is the last. Input and replies are moved by one loop that waits for
//! whichever can go on: a server that stops reading until its replies are read cannot stop it.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::link::{Failure, Link};
use crate::oneshot::Verdict;
use crate::output;
use crate::reply::Reply;
use crate::session::Session;

/// How much input is read at once.
const CHUNK: usize = 128 * 1024;

/// How long the last reply may take, unless `--pipe-timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_millis(500);

pub(crate) fn run(session: &mut Session) -> Verdict {
    let timeout = session.options.pipe_timeout.unwrap_or(TIMEOUT);
    let link = session.link()?;
    link.set_nonblocking(true)?;
    let mut pipe = Pipe::new(timeout);
    pipe.transfer(link)?;
    pipe.erase_progress();
    output::write(format!("errors: {}, replies: {}\n", pipe.errors, pipe.replies).as_bytes())?;
    Ok(pipe.errors == 0)
}

struct Pipe {
    timeout: Duration,
    /// What has been read and not been sent, from `sent` on.
    pending: Vec<u8>,
    sent: usize,
    input_ended: bool,
    /// The argument of the last ECHO.
    last: Vec<u8>,
    bytes: u64,
    replies: u64,
    errors: u64,
    /// When something last happened.
    progress: Instant,
    shown: Option<Instant>,
    shows: bool,
}

impl Pipe {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            pending: Vec::new(),
            sent: 0,
            input_ended: false,
            last: random_text(),
            bytes: 0,
            replies: 0,
            errors: 0,
            progress: Instant::now(),
            shown: None,
            shows: io::stderr().is_terminal(),
        }
    }

    fn transfer(&mut self, link: &mut Link) -> Result<(), Failure> {
        loop {
            while let Some(reply) = link.poll_now()? {
                self.progress = Instant::now();
                if self.count(&reply)? {
                    return output::write(b"Last reply received from server.\n");
                }
            }
            self.write(link)?;
            self.show_progress();
            if self.input_ended && !self.timeout.is_zero() && self.progress.elapsed() > self.timeout {
                self.errors += 1;
                self.erase_progress();
                let seconds = self.timeout.as_secs_f64();
                output::complain(&format!("No replies for {seconds} seconds: exiting."));
                return Ok(());
            }
            let (wants_input, is_full) =
                (!self.input_ended && self.pending.is_empty(), !self.pending.is_empty());
            if self.wait(link, wants_input, is_full)? {
                self.read_input()?;
            }
        }
    }

    /// Counts a reply; whether it is the last one.
    fn count(&mut self, reply: &Reply) -> Result<bool, Failure> {
        match reply {
            Reply::Error(why) => {
                self.erase_progress();
                let mut err = io::stderr().lock();
                let _ = err.write_all(why).and_then(|()| err.write_all(b"\n"));
                self.errors += 1;
            }
            Reply::Bulk(text) if self.input_ended && *text == self.last => return Ok(true),
            _ => {}
        }
        self.replies += 1;
        Ok(false)
    }

    fn write(&mut self, link: &mut Link) -> Result<(), Failure> {
        while self.sent < self.pending.len() {
            let count = link.write_now(&self.pending[self.sent..])?;
            if count == 0 {
                return Ok(());
            }
            self.sent += count;
            self.bytes += count as u64;
            self.progress = Instant::now();
        }
        self.pending.clear();
        self.sent = 0;
        Ok(())
    }

    /// Waits for something to do; whether there is input.
    fn wait(&self, link: &Link, wants_input: bool, is_full: bool) -> Result<bool, Failure> {
        let stdin = io::stdin();
        let stdin_fd = stdin.as_fd();
        let mut events = PollFlags::IN;
        if is_full {
            events |= PollFlags::OUT;
        }
        let link_fd = link.as_fd();
        let mut waited = vec![PollFd::from_borrowed_fd(link_fd, events)];
        if wants_input {
            waited.push(PollFd::from_borrowed_fd(stdin_fd, PollFlags::IN));
        }
        let tick = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        match poll(&mut waited, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::from(io::Error::from(error))),
        }
        Ok(waited.get(1).is_some_and(|fd| !fd.revents().is_empty()))
    }

    fn read_input(&mut self) -> Result<(), Failure> {
        self.pending.resize(CHUNK, 0);
        let count = io::stdin().lock().read(&mut self.pending)?;
        self.pending.truncate(count);
        if count == 0 {
            self.input_ended = true;
            self.progress = Instant::now();
            // The line end closes an inline command that has none; by itself it means nothing.
            self.pending.extend(b"\r\n");
            larder_resp::write_command(&mut self.pending, &[b"ECHO".as_slice(), &self.last]);
            self.erase_progress();
            output::write(b"All data transferred. Waiting for the last reply...\n")?;
        }
        Ok(())
    }

    fn show_progress(&mut self) {
        if !self.shows || self.shown.is_some_and(|last| last.elapsed() < PROGRESS) {
            return;
        }
        self.shown = Some(Instant::now());
        let mib = self.bytes as f64 / f64::from(1 << 20);
        let _ = write!(
            io::stderr().lock(),
            "\r\x1b[K{mib:.1} MiB sent, {} replies, {} errors",
            self.replies,
            self.errors
        );
    }

    fn erase_progress(&self) {
        if self.shows && self.shown.is_some() {
            let _ = io::stderr().lock().write_all(b"\r\x1b[K");
        }
    }
}

/// Twenty letters that nobody guesses.
fn random_text() -> Vec<u8> {
    let (one, two) = (RandomState::new().hash_one(1), RandomState::new().hash_one(2));
    format!("{one:016x}{two:016x}").into_bytes()[..20].to_vec()
}
