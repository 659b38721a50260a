//! One command and out; and lines of commands from a pipe.

use std::io::{BufRead as _, Read as _};
use std::time::Duration;

use crate::format::answers_plainly;
use crate::link::Failure;
use crate::options::Options;
use crate::output;
use crate::reply::Reply;
use crate::session::{Session, is, streams};

/// Whether all replies were good.
pub(crate) type Verdict = Result<bool, Failure>;

/// Runs the command of the command line, as often as `-r` says.
pub(crate) fn run(session: &mut Session) -> Verdict {
    let args = with_stdin(&session.options, session.options.words.clone())?;
    repeat(session, &args, session.options.repeat.unwrap_or(1))
}

/// Runs a command `times` times, for ever when negative, with the interval between.
pub(crate) fn repeat(session: &mut Session, args: &[Vec<u8>], times: i64) -> Verdict {
    let (mut left, mut good) = (times, true);
    while left != 0 {
        good &= once(session, args)?;
        left -= i64::from(left > 0);
        if left != 0 {
            pause(session.options.interval)?;
        }
    }
    Ok(good)
}

/// Sleeps, but not through Ctrl-C.
pub(crate) fn pause(interval: Option<Duration>) -> Result<(), Failure> {
    let mut left = interval.unwrap_or_default();
    while !left.is_zero() {
        let nap = left.min(Duration::from_millis(100));
        std::thread::sleep(nap);
        left -= nap;
        if crate::interrupt::taken() {
            return Err(Failure::Interrupted);
        }
    }
    Ok(())
}

/// Runs one command and shows what it answers.
pub(crate) fn once(session: &mut Session, args: &[Vec<u8>]) -> Verdict {
    if is(args, 0, "help") || is(args, 0, "?") {
        output::write(crate::prompt::help::answer(session, &args[1..]).as_bytes())?;
        return Ok(true);
    }
    if streams(args) {
        return match session.stream(args) {
            Err(Failure::Refused) => Ok(false),
            other => other.map(|()| true),
        };
    }
    let reply = session.ask(args)?;
    if reply.is_error() && session.options.error_code {
        output::complain(&reply.text());
        return Err(Failure::Refused);
    }
    if !is(args, 0, "shutdown") || reply.is_error() {
        session.show(&reply, answers_plainly(args))?;
    }
    Ok(!reply.is_error())
}

/// The words with what `-x` and `-X` take from standard input.
pub(crate) fn with_stdin(options: &Options, mut words: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Failure> {
    let read = || {
        let mut input = Vec::new();
        std::io::stdin().lock().read_to_end(&mut input).map(|_| input)
    };
    if let Some(tag) = &options.stdin_tag {
        let missing = || Failure::Local("Using -X option but stdin tag not match.".to_owned());
        let place = words.iter().position(|word| word == tag).ok_or_else(missing)?;
        words[place] = read()?;
    } else if options.stdin_last {
        words.push(read()?);
    }
    Ok(words)
}

/// Commands line by line from standard input, when that is no terminal.
pub(crate) fn lines(session: &mut Session) -> Verdict {
    // Before the first line, as redis-cli does: who pipes nothing still hears that there is no server.
    match session.connect() {
        Err(failure @ Failure::Connect(_)) => output::complain(&failure.to_string()),
        other => other?,
    }
    let mut input = std::io::stdin().lock();
    let (mut line, mut good) = (Vec::new(), true);
    loop {
        line.clear();
        // A line has no bound of its own: it is what its writer sends, byte by byte.
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(good);
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let Some(args) = larder_resp::split_words(text) else {
            output::write(b"Invalid argument(s)\n")?;
            good = false;
            continue;
        };
        match step(session, &args) {
            Ok(None) => return Ok(good),
            Ok(Some(fine)) => good &= fine,
            Err(failure @ (Failure::Output | Failure::Local(_))) => return Err(failure),
            // The next line tries a new connection, as at a prompt.
            Err(failure) => {
                output::complain(&failure.to_string());
                good = false;
            }
        }
    }
}

/// One line: `None` ends the input.
fn step(session: &mut Session, args: &[Vec<u8>]) -> Result<Option<bool>, Failure> {
    let Some(first) = args.first() else { return Ok(Some(true)) };
    if is(args, 0, "quit") || is(args, 0, "exit") {
        return Ok(None);
    }
    if first.starts_with(b":") {
        // Preferences of a prompt mean nothing here.
        return Ok(Some(true));
    }
    if is(args, 0, "clear") && args.len() == 1 {
        output::write(b"\x1b[H\x1b[2J")?;
        return Ok(Some(true));
    }
    if is(args, 0, "connect") && args.len() == 3 {
        crate::prompt::go_to(session, &args[1], &args[2])?;
        return Ok(Some(true));
    }
    match crate::prompt::repeat_prefix(args) {
        Some(Ok((times, rest))) => repeat(session, rest, times).map(Some),
        Some(Err(why)) => {
            output::write(format!("{why}\n").as_bytes())?;
            Ok(Some(false))
        }
        None => once(session, args).map(Some),
    }
}

/// A reply that is an error, as a failure: for modes that cannot go on then.
pub(crate) fn good(reply: Reply) -> Result<Reply, Failure> {
    match reply {
        Reply::Error(why) => Err(Failure::Local(format!("ERR: {}", String::from_utf8_lossy(&why)))),
        other => Ok(other),
    }
}
