//! A program in a pseudo-terminal, and the screen that it draws.
//!
//! Line editors draw a line anew at each key, with colours, and move the cursor about in it; what a person sees is what is
//! left in the end. So the bytes go through a small emulator, which knows what line editors use: text, line ends, moves
//! within and between rows, erasing. Rows are never scrolled away. A test waits for text on this screen and never for time;
//! what does not come within [`LIMIT`] is a failure that shows the screen.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// How long something may take to appear.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The size of the terminal.
const COLUMNS: u16 = 120;
const ROWS: u16 = 50;

/// A program whose keyboard and screen are ours; it is killed when dropped.
#[derive(Debug)]
pub struct Terminal {
    process: Child,
    keyboard: File,
    output: Receiver<Vec<u8>>,
    screen: Screen,
    /// The first row that has not been looked at.
    mark: usize,
}

impl Terminal {
    /// Starts a program in a terminal of its own, which is its controlling terminal: Ctrl-C reaches it as a signal.
    ///
    /// # Panics
    /// When the system has no terminal left, or the program cannot be started.
    #[must_use]
    pub fn start(program: &Path, args: &[&str], environment: &[(&str, &str)]) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("the system has a terminal left");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a new terminal can be unlocked");
        let name = ptsname(&ours, Vec::new()).expect("a terminal has a name");
        // It must not become the terminal that this test itself hangs on.
        let theirs = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(Path::new(std::ffi::OsStr::from_bytes(name.as_bytes())))
            .expect("a terminal can be opened");
        tcsetwinsize(&theirs, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 })
            .expect("a terminal has a size");
        let side = || Stdio::from(theirs.try_clone().expect("a file can be opened twice"));
        // A new session can take the terminal over; that call is one the standard library does not have.
        let process = Command::new("setsid")
            .arg("--ctty")
            .arg(program)
            .args(args)
            .env("TERM", "xterm")
            .envs(environment.iter().copied())
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("setsid is part of every Linux system");
        let keyboard = File::from(ours);
        let mut reader = keyboard.try_clone().expect("a file can be opened twice");
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // A terminal that nobody writes to any more is an error when read.
            while let Ok(length @ 1..) = reader.read(&mut chunk) {
                if sender.send(chunk[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { process, keyboard, output, screen: Screen::default(), mark: 0 }
    }

    /// Types keys: text, and control characters as they are.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes input");
    }

    /// Waits for the prompt, then types a line and Enter. Only what comes behind that line is looked at from now on.
    ///
    /// # Panics
    /// When the prompt does not come.
    pub fn line(&mut self, prompt: &str, line: &str) {
        self.prompt(prompt);
        self.keys(line);
        self.keys("\r");
        self.entered();
    }

    /// Waits until the cursor stands behind this prompt and nothing else.
    ///
    /// # Panics
    /// When it does not within [`LIMIT`].
    pub fn prompt(&mut self, prompt: &str) {
        let wanted = prompt.trim_end();
        let mark = self.mark;
        self.until(&format!("the prompt {prompt:?}"), |screen| {
            screen.row >= mark && screen.rows.get(screen.row).is_some_and(|row| row.trim_end() == wanted)
        });
        self.mark = self.screen.row;
    }

    /// Waits until the cursor has left the row that [`Terminal::prompt`] saw it in: the program has taken the line.
    ///
    /// # Panics
    /// When it has not within [`LIMIT`].
    pub fn entered(&mut self) {
        let row = self.mark;
        self.until("the line to be taken", |screen| screen.row > row);
        self.mark = row + 1;
    }

    /// Waits until a row that has not been looked at contains this text.
    ///
    /// # Panics
    /// When none does within [`LIMIT`].
    pub fn shows(&mut self, text: &str) {
        let mark = self.mark;
        self.until(&format!("{text:?}"), |screen| screen.rows[mark..].iter().any(|row| row.contains(text)));
    }

    /// All that is on the screen, row by row.
    #[must_use]
    pub fn text(&self) -> String {
        self.screen.rows.join("\n")
    }

    /// The rows that have not been looked at.
    #[must_use]
    pub fn news(&self) -> String {
        self.screen.rows.get(self.mark..).unwrap_or_default().join("\n")
    }

    /// Waits until the program has ended.
    ///
    /// # Panics
    /// When it does not within [`LIMIT`].
    pub fn ends(&mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            match self.output.recv_timeout(LIMIT) {
                Ok(bytes) => self.screen.feed(&bytes),
                // Nobody holds the terminal open any more.
                Err(_) => return self.process.wait().expect("a child can be waited for"),
            }
        }
        panic!("the program does not end:\n{}", self.text());
    }

    fn until(&mut self, what: &str, is_there: impl Fn(&Screen) -> bool) {
        let end = Instant::now() + LIMIT;
        while !is_there(&self.screen) {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.screen.feed(&bytes),
                Err(RecvTimeoutError::Timeout) => panic!("waited for {what}:\n{}", self.text()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the program has ended before {what}:\n{}", self.text())
                }
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Already over unless the test has failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What can be seen.
#[derive(Debug)]
struct Screen {
    rows: Vec<String>,
    row: usize,
    column: usize,
    /// Bytes of a sequence or a character that is not whole yet.
    rest: Vec<u8>,
}

impl Default for Screen {
    fn default() -> Self {
        Screen { rows: vec![String::new()], row: 0, column: 0, rest: Vec::new() }
    }
}

impl Screen {
    fn feed(&mut self, bytes: &[u8]) {
        let mut all = std::mem::take(&mut self.rest);
        all.extend(bytes);
        let mut left = all.as_slice();
        while !left.is_empty() {
            match self.step(left) {
                Some(taken) => left = &left[taken..],
                None => {
                    self.rest = left.to_vec();
                    return;
                }
            }
        }
    }

    /// One character or sequence; how many bytes it has, or `None` when it is not whole.
    fn step(&mut self, bytes: &[u8]) -> Option<usize> {
        match bytes[0] {
            b'\r' => self.column = 0,
            b'\n' => self.go_down(1),
            0x08 => self.column = self.column.saturating_sub(1),
            0x1b => return self.escape(bytes),
            0..0x20 => {}
            first => {
                let length = match first {
                    0xf0.. => 4,
                    0xe0.. => 3,
                    0xc0.. => 2,
                    _ => 1,
                };
                let character = bytes.get(..length)?;
                let text = String::from_utf8_lossy(character).into_owned();
                text.chars().for_each(|c| self.put(c));
                return Some(length);
            }
        }
        Some(1)
    }

    /// A sequence that begins with ESC.
    fn escape(&mut self, bytes: &[u8]) -> Option<usize> {
        match bytes.get(1)? {
            b'[' => {}
            b']' => {
                // A title: up to BEL.
                return bytes.iter().position(|byte| *byte == 0x07).map(|at| at + 1);
            }
            _ => return Some(2),
        }
        let end = 2 + bytes[2..].iter().position(|byte| (0x40..0x7f).contains(byte))?;
        let numbers = std::str::from_utf8(&bytes[2..end]).unwrap_or_default();
        let first = numbers.split(';').next().and_then(|number| number.parse().ok());
        let count = first.unwrap_or(1).max(1);
        match bytes[end] {
            b'A' => self.row = self.row.saturating_sub(count),
            b'B' => self.go_down(count),
            b'C' => self.column += count,
            b'D' => self.column = self.column.saturating_sub(count),
            b'G' => self.column = count - 1,
            b'K' => self.erase(first.unwrap_or(0)),
            b'J' => {
                self.rows.truncate(self.row + 1);
                self.erase(first.unwrap_or(0));
            }
            // A clean screen is one below all others.
            b'H' => {
                self.row = self.rows.len() - 1;
                self.go_down(1);
                self.column = 0;
            }
            _ => {}
        }
        Some(end + 1)
    }

    fn go_down(&mut self, count: usize) {
        self.row += count;
        let rows = self.rows.len().max(self.row + 1);
        self.rows.resize(rows, String::new());
    }

    fn erase(&mut self, what: usize) {
        if what == 0 {
            self.rows[self.row] = self.rows[self.row].chars().take(self.column).collect();
        } else {
            self.rows[self.row].clear();
        }
    }

    fn put(&mut self, character: char) {
        if self.column >= usize::from(COLUMNS) {
            self.go_down(1);
            self.column = 0;
        }
        let mut row: Vec<char> = self.rows[self.row].chars().collect();
        row.resize(row.len().max(self.column + 1), ' ');
        row[self.column] = character;
        self.rows[self.row] = row.into_iter().collect();
        self.column += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> Vec<String> {
        let mut screen = Screen::default();
        // Byte by byte, as it may come.
        bytes.iter().for_each(|byte| screen.feed(&[*byte]));
        screen.rows
    }

    #[test]
    fn a_line_that_is_drawn_anew_is_seen_once() {
        assert_eq!(
            shown(b"\r\x1b[K> g\r\x1b[K> \x1b[1mge\x1b[0m\x1b[90mt key\x1b[0m\r\x1b[4C"),
            ["> get key"]
        );
        assert_eq!(shown("ab\x08ü\r\nx".as_bytes()), ["aü", "x"]);
    }

    #[test]
    fn rows_are_left_and_found_again() {
        assert_eq!(shown(b"one\r\ntwo\x1b[Axyz\r\n"), ["onexyz", "two"]);
        assert_eq!(shown(b"one\r\ntwo\r\x1b[A\x1b[J1"), ["1"]);
        assert_eq!(shown(b"old\x1b[H\x1b[2Jnew"), ["old", "new"]);
    }
}
