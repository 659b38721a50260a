//! The prompt: lines are typed with help, run, and answered.

mod danger;
pub(crate) mod docs;
pub(crate) mod editor;
pub(crate) mod help;
pub(crate) mod history;
mod keys;
mod pager;
pub(crate) mod preferences;
pub(crate) mod syntax;

use std::cell::RefCell;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustyline::config::Configurer as _;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Behavior, ColorMode, CompletionType, Config, Editor};

use crate::format::{self, Format, answers_plainly};
use crate::link::Failure;
use crate::modes::peek;
use crate::oneshot::{Verdict, pause};
use crate::options::Name;
use crate::output;
use crate::session::{Session, is, streams};

use docs::Docs;
use editor::Assistant;
use history::History;
use keys::SeenKeys;
use preferences::Preferences;

/// Commands that take longer than this show how long.
const WORTH_TELLING: Duration = Duration::from_millis(500);

/// What the prompt and the editor's assistant both need.
pub(crate) struct Shared {
    pub(crate) session: Session,
    pub(crate) docs: Docs,
    pub(crate) preferences: Preferences,
    pub(crate) seen: SeenKeys,
}

/// Reads and runs lines until the end of the input.
pub(crate) fn run(session: &mut Session) -> Verdict {
    crate::interrupt::catch();
    let name = session.options.name;
    let (preferences, wrong) = Preferences::load(name);
    wrong.iter().for_each(|why| output::complain(why));
    if let Err(failure) = session.connect() {
        output::complain(&failure.to_string());
    }
    let docs = if session.is_connected() { Docs::fetch(session) } else { Docs::built_in() };
    // The session moves into what is shared, and an unconnected copy of its options stays.
    let owned = std::mem::replace(session, Session::new(session.options.clone()));
    let shared =
        Rc::new(RefCell::new(Shared { session: owned, docs, preferences, seen: SeenKeys::default() }));
    let (history, lines) = History::open(name);
    let mut editor = editor(&shared, &lines)?;
    let mut prompt = Prompt { shared, history };
    loop {
        let text = prompt.text();
        match editor.readline(&text) {
            Ok(line) => {
                if !prompt.line(&line, &mut editor)? {
                    return Ok(true);
                }
            }
            // Ctrl-C gives up the line. Ctrl-D leaves.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(true),
            Err(error) => return Err(Failure::Local(format!("the terminal cannot be read: {error}"))),
        }
    }
}

type LineEditor = Editor<Assistant, MemHistory>;

fn editor(shared: &Rc<RefCell<Shared>>, lines: &[String]) -> Result<LineEditor, Failure> {
    let failed = |error: ReadlineError| Failure::Local(format!("the terminal cannot be used: {error}"));
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .auto_add_history(false)
        .max_history_size(history::LINES_MAX)
        .map_err(failed)?
        // Under NO_COLOR the highlighter is asked all the same: it masks passwords, and leaves colours out by itself.
        .color_mode(if std::io::stdout().is_terminal() { ColorMode::Forced } else { ColorMode::Disabled })
        .behavior(Behavior::PreferTerm)
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = LineEditor::with_history(config, history).map_err(failed)?;
    editor.set_helper(Some(Assistant::new(Rc::clone(shared))));
    editor.set_completion_show_all_if_ambiguous(true);
    for line in lines {
        editor.add_history_entry(line.as_str()).map_err(failed)?;
    }
    Ok(editor)
}

struct Prompt {
    shared: Rc<RefCell<Shared>>,
    history: History,
}

impl Prompt {
    fn text(&self) -> String {
        let session = &self.shared.borrow().session;
        if !session.is_connected() {
            return "not connected> ".to_owned();
        }
        let db = if session.state.db == 0 { String::new() } else { format!("[{}]", session.state.db) };
        let multi = if session.state.in_multi { "(TX)" } else { "" };
        format!("{}{db}{multi}> ", session.options.target.place())
    }

    /// Runs a line; whether to go on.
    fn line(&mut self, line: &str, editor: &mut LineEditor) -> Result<bool, Failure> {
        let Some(args) = larder_resp::split_words(line.as_bytes()) else {
            output::write(b"Invalid argument(s)\n")?;
            return Ok(true);
        };
        if args.is_empty() {
            return Ok(true);
        }
        if !history::is_secret(&args) {
            // A repeated line is refused, which is no error.
            if editor.add_history_entry(line).unwrap_or(false) {
                self.history.add(line);
            }
        }
        if is(&args, 0, "quit") || is(&args, 0, "exit") {
            return Ok(false);
        }
        let mut shared = self.shared.borrow_mut();
        match shared.run(&args, line) {
            Ok(()) => {}
            Err(Failure::Interrupted) => {
                shared.session.disconnect();
                output::complain("(given up; the server may still finish it)");
            }
            Err(failure @ Failure::Output) => return Err(failure),
            Err(Failure::Refused) => {}
            Err(failure) => output::complain(&failure.to_string()),
        }
        Ok(true)
    }
}

impl Shared {
    fn run(&mut self, args: &[Vec<u8>], line: &str) -> Result<(), Failure> {
        if args[0].starts_with(b":") {
            if let Err(why) = self.preferences.apply(line) {
                output::complain(&why);
            }
            if self.session.options.name == Name::Own && matches!(self.session.format, Format::Tty { .. }) {
                self.session.format = Format::Tty { utf8: self.preferences.utf8 };
            }
            return Ok(());
        }
        if is(args, 0, "clear") && args.len() == 1 {
            return output::write(b"\x1b[H\x1b[2J");
        }
        if is(args, 0, "help") || is(args, 0, "?") {
            return self.page(help::page(&self.docs, &args[1..]).as_bytes());
        }
        if is(args, 0, "connect") && args.len() == 3 {
            let went = go_to(&mut self.session, &args[1], &args[2]);
            self.docs = if went.is_ok() { Docs::fetch(&mut self.session) } else { Docs::built_in() };
            return went;
        }
        let (times, args) = match repeat_prefix(args) {
            None => (1, args),
            Some(Ok(found)) => found,
            Some(Err(why)) => return output::write(format!("{why}\n").as_bytes()),
        };
        if self.preferences.confirm
            && let Some(what) =
                danger::question(args, &self.session.options.target.place(), self.session.state.db)
            && !confirm(&what)?
        {
            return output::write(b"Not done.\n");
        }
        for left in (0..times).rev() {
            self.command(args)?;
            if left > 0 {
                pause(self.session.options.interval)?;
            }
        }
        Ok(())
    }

    fn command(&mut self, args: &[Vec<u8>]) -> Result<(), Failure> {
        let in_multi = self.session.state.in_multi;
        self.session.notice_loss();
        if in_multi && !self.session.is_connected() {
            return Err(Failure::Local("The connection was lost, and the transaction with it.".to_owned()));
        }
        if is(args, 0, "peek") && args.len() == 2 && !self.docs.commands.contains_key("peek") {
            self.seen.note(&args[1]);
            let text = peek::look(&mut self.session, &args[1])?;
            return self.page(text.unwrap_or_else(|| "(nil)\n".to_owned()).as_bytes());
        }
        if streams(args) {
            return self.session.stream(args);
        }
        let start = Instant::now();
        let reply = self.session.ask(args)?;
        let time = start.elapsed();
        if !reply.is_error() {
            self.seen.note_all(&self.docs, args);
        }
        if is(args, 0, "auth") && !reply.is_error() && !self.docs.from_server {
            self.docs = Docs::fetch(&mut self.session);
        }
        if is(args, 0, "shutdown") && !reply.is_error() {
            return Ok(());
        }
        let plain = answers_plainly(args);
        let mut text = format::render(&reply, self.session.format, plain, &self.session.options.delimiters);
        if time >= WORTH_TELLING && matches!(self.session.format, Format::Tty { .. }) {
            text.extend(format!("({:.2}s)\n", time.as_secs_f64()).bytes());
        }
        self.page(&text)
    }

    fn page(&self, text: &[u8]) -> Result<(), Failure> {
        if self.preferences.pager && !self.session.options.no_pager && pager::is_long(text) {
            return pager::show(text);
        }
        output::write(text)
    }
}

/// How often a command runs, and the command; or what is wrong with the number.
type Repeated<'a> = Result<(i64, &'a [Vec<u8>]), &'static str>;

/// `N COMMAND`. `None` when the line does not begin with a number.
pub(crate) fn repeat_prefix(args: &[Vec<u8>]) -> Option<Repeated<'_>> {
    let (first, rest) = args.split_first()?;
    if rest.is_empty() {
        return None;
    }
    let times: i64 = std::str::from_utf8(first).ok()?.parse().ok()?;
    Some(if times > 0 { Ok((times, rest)) } else { Err("Invalid redis-cli repeat command option value.") })
}

/// `connect HOST PORT`.
pub(crate) fn go_to(session: &mut Session, host: &[u8], port: &[u8]) -> Result<(), Failure> {
    let port = String::from_utf8_lossy(port);
    let target = &mut session.options.target;
    target.port = port.parse().map_err(|_| Failure::Local(format!("'{port}' is no port")))?;
    target.host = String::from_utf8_lossy(host).into_owned();
    target.socket = None;
    session.connect()
}

/// Asks a question; only `y` and `yes` agree, and without a terminal nobody does.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut err = std::io::stderr().lock();
    write!(err, "{question} [y/N] ").and_then(|()| err.flush())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a password without showing it; from a pipe it is the first line.
pub(crate) fn password() -> Result<Vec<u8>, Failure> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let mut line = Vec::new();
    if !stdin.is_terminal() {
        stdin.lock().read_until(b'\n', &mut line)?;
    } else {
        let failed = |error: rustix::io::Errno| Failure::from(std::io::Error::from(error));
        let before = tcgetattr(&stdin).map_err(failed)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        let mut err = std::io::stderr().lock();
        write!(err, "Please input password: ").and_then(|()| err.flush())?;
        tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(failed)?;
        let read = stdin.lock().read_until(b'\n', &mut line);
        tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(failed)?;
        writeln!(err)?;
        read?;
    }
    let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(line.len());
    line.truncate(end);
    Ok(line)
}
