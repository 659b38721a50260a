//! `--stat`: a line of figures per second, from one INFO.

use std::time::Duration;

use crate::link::Failure;
use crate::oneshot::{Verdict, good, pause};
use crate::output;
use crate::session::Session;

/// Lines between two headings.
const HEADING_EVERY: u64 = 20;

const HEADING: &str = "------- data ------ --------------------- load -------------------- - child -\n\
                       keys       mem      clients blocked requests            connections          \n";

pub(crate) fn run(session: &mut Session) -> Verdict {
    let interval = session.options.interval.unwrap_or(Duration::from_secs(1));
    let times = session.options.repeat.unwrap_or(-1);
    let (mut before, mut lines) = (None, 0_u64);
    while times < 0 || lines < times.unsigned_abs() {
        if lines > 0 {
            match pause(Some(interval)) {
                Err(Failure::Interrupted) => return Ok(true),
                other => other?,
            }
        }
        let info = good(session.ask(&[b"INFO".to_vec()])?)?.text();
        if lines.is_multiple_of(HEADING_EVERY) {
            output::write(HEADING.as_bytes())?;
        }
        lines += 1;
        output::write(line(&info, &mut before).as_bytes())?;
    }
    Ok(true)
}

/// One line; `before`: the requests at the line before.
fn line(info: &str, before: &mut Option<i64>) -> String {
    let text = |field: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .unwrap_or_default()
            .trim_end()
    };
    let number = |field: &str| text(field).parse::<i64>().unwrap_or(0);
    // `db0:keys=5,expires=0,avg_ttl=0`
    let keys: i64 = info
        .lines()
        .filter(|line| line.starts_with("db"))
        .filter_map(|line| line.split_once(":keys=")?.1.split(',').next()?.trim_end().parse::<i64>().ok())
        .fold(0, i64::saturating_add);
    let requests = number("total_commands_processed");
    let more = requests.saturating_sub(before.replace(requests).unwrap_or(requests));
    let children =
        match (number("rdb_bgsave_in_progress"), number("aof_rewrite_in_progress"), number("loading")) {
            (1.., ..) => "SAVE",
            (_, 1.., _) => "AOF",
            (.., 1..) => "LOAD",
            _ => "",
        };
    format!(
        "{keys:<11}{:<9}{:<8}{:<8}{:<20}{:<12}{children:<9}\n",
        memory(number("used_memory")),
        number("connected_clients"),
        number("blocked_clients"),
        format!("{requests} (+{more})"),
        number("total_connections_received"),
    )
}

/// Bytes in the largest unit that leaves a number in front of the point.
pub(super) fn memory(bytes: i64) -> String {
    let units = [("G", 1_i64 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    match units.into_iter().find(|(_, size)| bytes >= *size) {
        Some((unit, size)) => format!("{:.2}{unit}", bytes as f64 / size as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_the_figures_and_what_was_added() {
        let info = "# Clients\r\nconnected_clients:1\r\nblocked_clients:0\r\nused_memory:1866000\r\n\
                    total_connections_received:220\r\ntotal_commands_processed:1432\r\ndb0:keys=50,expires=0\r\n\
                    db3:keys=2,expires=0\r\n";
        let mut before = Some(1431);
        let expected = "52         1.78M    1       0       1432 (+1)           220                  \n";
        assert_eq!(line(info, &mut before), expected);
        assert_eq!(before, Some(1432));
    }

    #[test]
    fn a_server_without_these_fields_gives_zeros() {
        assert_eq!(line("", &mut None).split_whitespace().next(), Some("0"));
        assert_eq!(memory(1023), "1023B");
    }
}
