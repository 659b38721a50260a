//! Standard output and standard error.

use std::io::{self, IsTerminal as _, Write as _};

use crate::link::Failure;

/// Whether a person reads standard output. `FAKETTY`, if set, says so; redis-cli knows it too.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal() || std::env::var_os("FAKETTY").is_some()
}

/// Writes to standard output, at once.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|_| Failure::Output)
}

/// A line on standard error. When even that is closed there is nobody to tell.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
