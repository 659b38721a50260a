//! `--latency` and its relatives: how long a PING takes, a hundred times per second.

use std::time::{Duration, Instant};

use crate::format::Format;
use crate::interrupt;
use crate::link::Failure;
use crate::oneshot::{Verdict, good};
use crate::options::Mode;
use crate::output;
use crate::session::Session;

/// Between two samples.
const PAUSE: Duration = Duration::from_millis(10);

/// A window of `--latency-history`, unless `-i` says otherwise.
const HISTORY: Duration = Duration::from_secs(15);

/// What the samples so far come to, in milliseconds.
#[derive(Default)]
struct Samples {
    min: u64,
    max: u64,
    total: u64,
    count: u64,
}

impl Samples {
    fn add(&mut self, milliseconds: u64) {
        self.min = if self.count == 0 { milliseconds } else { self.min.min(milliseconds) };
        self.max = self.max.max(milliseconds);
        self.total += milliseconds;
        self.count += 1;
    }

    fn show(&self, format: Format) -> String {
        let Self { min, max, count, .. } = self;
        let average = self.total as f64 / (*count).max(1) as f64;
        match format {
            Format::Tty { .. } => format!("min: {min}, max: {max}, avg: {average:.2} ({count} samples)"),
            Format::Csv => format!("{min},{max},{average:.2},{count}\n"),
            Format::Raw => format!("{min} {max} {average:.2} {count}\n"),
            Format::Json | Format::QuotedJson => {
                format!("{{\"min\": {min}, \"max\": {max}, \"avg\": {average:.2}, \"count\": {count}}}\n")
            }
        }
    }
}

pub(crate) fn run(session: &mut Session) -> Verdict {
    let history = session.options.mode == Mode::LatencyHistory;
    let default = if history { HISTORY } else { Duration::from_secs(1) };
    let window = session.options.interval.filter(|interval| !interval.is_zero()).unwrap_or(default);
    let format = session.format;
    let is_live = matches!(format, Format::Tty { .. });
    // Without a person in front of it, one sample is all.
    let is_single = !history && !is_live;
    interrupt::catch();
    let (mut samples, mut start) = (Samples::default(), Instant::now());
    loop {
        match ping(session) {
            Err(Failure::Interrupted) => break,
            time => samples.add(u64::try_from(time?.as_millis()).unwrap_or(u64::MAX)),
        }
        if is_live {
            output::write(format!("\x1b[0G\x1b[2K{}", samples.show(format)).as_bytes())?;
        }
        if start.elapsed() >= window && (history || is_single) {
            if !is_live {
                output::write(samples.show(format).as_bytes())?;
            }
            if is_single {
                return Ok(true);
            }
            if is_live {
                let range = format!(" -- {:.2} seconds range\n", start.elapsed().as_secs_f64());
                output::write(range.as_bytes())?;
            }
            (samples, start) = (Samples::default(), Instant::now());
        }
        std::thread::sleep(PAUSE);
    }
    output::write(if is_live { b"\n" } else { b"" }).map(|()| true)
}

fn ping(session: &mut Session) -> Result<Duration, Failure> {
    let start = Instant::now();
    good(session.ask(&[b"PING".to_vec()])?)?;
    Ok(start.elapsed())
}

/// Upper ends of the columns of the spectrum in microseconds, and the letter of each.
const COLUMNS: &[(u128, char)] = &[
    (10, '.'),
    (125, '-'),
    (250, '*'),
    (500, '#'),
    (1_000, '1'),
    (2_000, '2'),
    (3_000, '3'),
    (4_000, '4'),
    (5_000, '5'),
    (6_000, '6'),
    (7_000, '7'),
    (8_000, '8'),
    (9_000, '9'),
    (10_000, 'A'),
    (20_000, 'B'),
    (30_000, 'C'),
    (40_000, 'D'),
    (50_000, 'E'),
    (100_000, 'F'),
    (200_000, 'G'),
    (300_000, 'H'),
    (400_000, 'I'),
    (500_000, 'J'),
    (1_000_000, 'K'),
    (2_000_000, 'L'),
    (4_000_000, 'M'),
    (8_000_000, 'N'),
    (16_000_000, 'O'),
    (30_000_000, 'P'),
    (60_000_000, 'Q'),
    (u128::MAX, '?'),
];

/// Grey and warm tones of the 256 colours of terminals, from nothing to everything.
const SHADES: &[u8] =
    &[0, 233, 234, 235, 237, 239, 241, 243, 245, 247, 144, 143, 142, 184, 226, 214, 208, 202, 196];

/// `--latency-dist`: a line per interval; each column a span of time, its colour the part of the samples in it.
pub(crate) fn spectrum(session: &mut Session) -> Verdict {
    let window =
        session.options.interval.filter(|interval| !interval.is_zero()).unwrap_or(Duration::from_secs(1));
    let times = session.options.repeat.unwrap_or(-1);
    interrupt::catch();
    output::write(legend().as_bytes())?;
    let mut lines = 0;
    while times < 0 || lines < times.unsigned_abs() {
        let (start, mut counts, mut whole) = (Instant::now(), vec![0_u64; COLUMNS.len()], 0);
        while start.elapsed() < window {
            let time = match ping(session) {
                Err(Failure::Interrupted) => return Ok(true),
                time => time?.as_micros(),
            };
            counts[COLUMNS.partition_point(|(end, _)| *end < time)] += 1;
            whole += 1;
            std::thread::sleep(PAUSE);
        }
        let mut line = String::from("\x1b[38;5;0m");
        for (count, (_, letter)) in counts.iter().zip(COLUMNS) {
            line.push_str(&format!("\x1b[48;5;{}m{letter}", shade(*count, whole)));
        }
        line.push_str("\x1b[0m\n");
        output::write(line.as_bytes())?;
        lines += 1;
    }
    Ok(true)
}

/// The shade for a part of the samples; a single one can be seen.
fn shade(count: u64, whole: u64) -> u8 {
    let steps = SHADES.len() - 1;
    let place = usize::try_from((count * steps as u64).div_ceil(whole.max(1))).unwrap_or(steps);
    SHADES[place.min(steps)]
}

fn legend() -> String {
    let rule = "-".repeat(45);
    let shades: String = SHADES.iter().map(|shade| format!("\x1b[48;5;{shade}m ")).collect();
    format!(
        "{rule}\n. - * #          up to 0.01 0.125 0.25 0.5 ms\n1 to 9           up to so many ms\n\
         A B C D E        up to 10 20 30 40 50 ms\nF G H I J        up to 0.1 0.2 0.3 0.4 0.5 s\n\
         K L M N O P Q ?  up to 1 2 4 8 16 30 60 s, more\nFrom 0 to 100%: {shades}\x1b[0m\n{rule}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_shown_in_every_format() {
        let mut samples = Samples::default();
        [2, 0, 4].into_iter().for_each(|time| samples.add(time));
        assert_eq!(samples.show(Format::Raw), "0 4 2.00 3\n");
        assert_eq!(samples.show(Format::Csv), "0,4,2.00,3\n");
        assert_eq!(samples.show(Format::Tty { utf8: false }), "min: 0, max: 4, avg: 2.00 (3 samples)");
        assert!(samples.show(Format::Json).starts_with("{\"min\": 0, \"max\": 4"));
    }

    #[test]
    fn a_single_sample_can_be_seen() {
        assert_eq!(shade(0, 100), SHADES[0]);
        assert_ne!(shade(1, 100), SHADES[0]);
        assert_eq!(shade(100, 100), SHADES[SHADES.len() - 1]);
        assert_eq!(shade(0, 0), SHADES[0]);
    }
}
