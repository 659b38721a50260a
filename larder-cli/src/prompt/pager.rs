//! Long replies in a pager.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::link::Failure;
use crate::output;

/// Whether a text does not fit the screen.
pub(crate) fn is_long(text: &[u8]) -> bool {
    if !output::is_terminal() {
        return false;
    }
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let (rows, columns) = size.map_or((24, 80), |size| (usize::from(size.ws_row), usize::from(size.ws_col)));
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.len().max(1).div_ceil(columns.max(1)));
    // The reply's last line end opens one line more than it fills, which the prompt will take.
    rows > 0 && lines.sum::<usize>() > rows
}

/// Shows a text in `$PAGER`, or `less`; writes it as it is when neither can be started.
pub(crate) fn show(text: &[u8]) -> Result<(), Failure> {
    let program = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let mut command = match &program {
        Some(pager) => {
            let mut words = pager.split_whitespace();
            let mut command = Command::new(words.next().unwrap_or("less"));
            command.args(words);
            command
        }
        None => {
            let mut command = Command::new("less");
            command.args(["-F", "-R", "-X"]);
            command
        }
    };
    let Ok(mut child) = command.stdin(Stdio::piped()).spawn() else { return output::write(text) };
    if let Some(mut input) = child.stdin.take() {
        // Who leaves the pager early does not want the rest.
        let _ = input.write_all(text);
    }
    child.wait()?;
    // Ctrl-C in the pager was meant for the pager.
    crate::interrupt::taken();
    Ok(())
}
