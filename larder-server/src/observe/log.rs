//! The log: lines in Redis' format, to standard output or a file.
//!
//! `pid:role DD Mon YYYY HH:MM:SS.mmm level text`, where the level is one of `. - * #`. The file is opened for each
//! line, so it can be moved away at any time; lines are rare.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// For finding faults.
    Debug = 0,
    /// What happens to connections.
    Verbose = 1,
    /// What an operator wants to know.
    Notice = 2,
    /// What an operator must know.
    Warning = 3,
}

impl Level {
    /// The values of `loglevel`.
    pub(crate) const NAMES: &[&str] = &["debug", "verbose", "notice", "warning"];

    fn mark(self) -> char {
        match self {
            Level::Debug => '.',
            Level::Verbose => '-',
            Level::Notice => '*',
            Level::Warning => '#',
        }
    }
}

/// The log; see the module's text.
#[derive(Debug)]
pub(crate) struct Log {
    /// Where lines go; `None` for standard output.
    file: Option<PathBuf>,
    /// The lowest level shown, as its number.
    level: AtomicU8,
    /// When the last warning about a cross-protocol request was written, Unix seconds.
    cross_protocol_s: AtomicU64,
}

/// Seconds between two warnings about cross-protocol requests: who sends one sends many.
const CROSS_PROTOCOL_EVERY_S: u64 = 60;

impl Log {
    /// A log to `file`, or to standard output, of lines that matter at least `level` (a place in [`Level::NAMES`]).
    pub(crate) fn new(file: Option<PathBuf>, level: usize) -> Log {
        Log { file, level: AtomicU8::new(level as u8), cross_protocol_s: AtomicU64::new(0) }
    }

    /// Shows lines that matter at least `level` (a place in [`Level::NAMES`]) from now on.
    pub(crate) fn set_level(&self, level: usize) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// For finding faults.
    pub(crate) fn debug(&self, text: fmt::Arguments<'_>) {
        self.line(Level::Debug, text);
    }

    /// What happens to connections.
    pub(crate) fn verbose(&self, text: fmt::Arguments<'_>) {
        self.line(Level::Verbose, text);
    }

    /// What an operator wants to know.
    pub(crate) fn notice(&self, text: fmt::Arguments<'_>) {
        self.line(Level::Notice, text);
    }

    /// What an operator must know.
    pub(crate) fn warning(&self, text: fmt::Arguments<'_>) {
        self.line(Level::Warning, text);
    }

    /// Somebody speaks HTTP to us.
    pub(crate) fn cross_protocol(&self, address: &str) {
        let now_s = unix_ms() / 1000;
        let last_s = self.cross_protocol_s.swap(now_s, Ordering::Relaxed);
        if now_s.saturating_sub(last_s) >= CROSS_PROTOCOL_EVERY_S {
            self.warning(format_args!(
                "Possible SECURITY ATTACK detected: {address} has sent POST or Host: to this port, as a browser does \
                 for a page that wants to reach services on its machine. The connection was closed."
            ));
        }
    }

    fn line(&self, level: Level, text: fmt::Arguments<'_>) {
        if (level as u8) < self.level.load(Ordering::Relaxed) {
            return;
        }
        let line = format!("{}:M {} {} {text}\n", std::process::id(), Stamp(unix_ms()), level.mark());
        // There is nobody to tell that the log cannot be written.
        let _nobody_to_tell = match &self.file {
            None => std::io::stdout().lock().write_all(line.as_bytes()),
            Some(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .and_then(|mut file| file.write_all(line.as_bytes())),
        };
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A moment as the log shows it, in UTC.
struct Stamp(u64);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let Stamp(unix_ms) = *self;
        let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let month = MONTHS[month as usize - 1];
        let (hour, minute, second, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        write!(f, "{day:02} {month} {year} {hour:02}:{minute:02}:{second:02}.{ms:03}")
    }
}

/// Year, month (1 to 12) and day of a number of days since 1970-01-01. Years are counted from March on, so that the leap
/// day is the last of its year (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_date_that_the_calendar_shows() {
        for (unix_s, expected) in [
            (0, "01 Jan 1970 00:00:00.007"),
            (951_782_400, "29 Feb 2000 00:00:00.007"),
            (1_709_251_199, "29 Feb 2024 23:59:59.007"),
            (1_795_471_200, "23 Nov 2026 22:00:00.007"),
            (4_107_542_400, "01 Mar 2100 00:00:00.007"),
        ] {
            assert_eq!(Stamp(unix_s * 1000 + 7).to_string(), expected);
        }
    }
}
