//! `--delete --pattern`: deletes what matches, page by page, after a question.
//!
//! UNLINK frees large values in the background, and a page at a time lets other clients in between. What is written while
//! this runs may or may not be deleted, as SCAN may or may not see it.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::interrupt;
use crate::link::Failure;
use crate::modes::walk::{self, Walk, percent, shown};
use crate::oneshot::{Verdict, good, pause};
use crate::output;
use crate::prompt;
use crate::session::Session;

/// Keys per page.
const PAGE: u64 = 500;

/// How many keys the question shows.
const EXAMPLES: usize = 5;

pub(crate) fn run(session: &mut Session) -> Verdict {
    interrupt::catch();
    let pattern = session.options.keys.pattern.clone().unwrap_or_default();
    let (is_dry, is_sure) = (session.options.keys.dry_run, session.options.yes);
    if !is_dry && !is_sure && !std::io::stdin().is_terminal() {
        return Err(Failure::Local(
            "--delete asks before it deletes: answer with --yes, or try --dry-run".to_owned(),
        ));
    }
    if is_dry || !is_sure {
        let (count, examples) = survey(session)?;
        let place = format!("{} of database {}", session.options.target.place(), session.state.db);
        let mut text = format!("{count} keys match {} at {place}\n", shown(&pattern));
        for key in &examples {
            text.push_str(&format!("  {}\n", shown(key)));
        }
        if count > examples.len() as u64 {
            text.push_str("  ...\n");
        }
        output::write(text.as_bytes())?;
        if is_dry || count == 0 {
            return Ok(true);
        }
        if !prompt::confirm(&format!("Delete {count} keys?"))? {
            output::write(b"Nothing was deleted.\n")?;
            return Ok(false);
        }
    }
    delete(session)
}

/// How many keys match, and some of them.
fn survey(session: &mut Session) -> Result<(u64, Vec<Vec<u8>>), Failure> {
    let (mut count, mut examples) = (0, Vec::new());
    let mut walk = Walk::new(session).paged(PAGE);
    while let Some(keys) = walk.next(session)? {
        count += keys.len() as u64;
        let missing = EXAMPLES.saturating_sub(examples.len());
        examples.extend(keys.into_iter().take(missing));
    }
    Ok((count, examples))
}

fn delete(session: &mut Session) -> Verdict {
    let (start, rate) = (Instant::now(), session.options.keys.rate.filter(|rate| *rate > 0));
    let whole = walk::count(session, "DBSIZE")?.max(1);
    let (mut deleted, mut seen) = (0_u64, 0_u64);
    // With a limit, a page is at most a tenth of a second's worth, so that it does not come in bursts.
    let page = rate.map_or(PAGE, |rate| (rate / 10).clamp(1, PAGE));
    let mut walk = Walk::new(session).paged(page);
    let outcome = loop {
        let keys = match walk.next(session) {
            Ok(Some(keys)) => keys,
            Ok(None) => break Ok(()),
            Err(failure) => break Err(failure),
        };
        seen += page;
        if !keys.is_empty() {
            let mut args = vec![b"UNLINK".to_vec()];
            args.extend(keys);
            match session.ask(&args).and_then(good) {
                Ok(reply) => deleted += reply.integer().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                Err(failure) => break Err(failure),
            }
        }
        progress(percent(seen.min(whole), whole), deleted);
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(deleted as f64 / rate as f64);
            if let Err(failure) = pause(Some(due.saturating_sub(start.elapsed()))) {
                break Err(failure);
            }
        }
    };
    if std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
    }
    output::write(format!("{deleted} keys deleted\n").as_bytes())?;
    match outcome {
        Err(Failure::Interrupted) => Ok(false),
        other => other.map(|()| true),
    }
}

/// A bar on the terminal.
fn progress(done: f64, deleted: u64) {
    const WIDTH: usize = 30;
    if !std::io::stderr().is_terminal() {
        return;
    }
    let filled = ((done / 100.0 * WIDTH as f64) as usize).min(WIDTH);
    let bar = format!("{}{}", "#".repeat(filled), ".".repeat(WIDTH - filled));
    let _ = write!(std::io::stderr().lock(), "\r\x1b[K[{bar}] {done:.0}%, {deleted} keys deleted");
}
