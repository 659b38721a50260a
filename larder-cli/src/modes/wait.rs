//! `--wait`: until the server answers, however long it takes to start or to load.

use std::time::{Duration, Instant};

use crate::link::{Failure, Link};
use crate::options::Options;
use crate::reply::Reply;

/// How long between two attempts.
const POLL: Duration = Duration::from_millis(100);

/// Longest wait for one answer, before the next attempt.
const ANSWER: Duration = Duration::from_secs(2);

/// Waits until PING is answered by anything but a sign that the server still loads. One that asks for a password is
/// ready.
pub(crate) fn run(options: &Options, limit: Duration) -> Result<(), Failure> {
    let start = Instant::now();
    let mut target = options.target.clone();
    loop {
        let left = limit.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
        target.connect_timeout = ANSWER.min(left);
        let answer =
            Link::open(&target).and_then(|mut link| link.call(&["PING"], Some(target.connect_timeout)));
        let why = match answer {
            Ok(Reply::Error(text))
                if ["LOADING", "BUSY", "MASTERDOWN"].iter().any(|c| text.starts_with(c.as_bytes())) =>
            {
                String::from_utf8_lossy(&text).into_owned()
            }
            Ok(_) => return Ok(()),
            Err(Failure::Interrupted) => return Err(Failure::Interrupted),
            Err(failure) => failure.to_string(),
        };
        if start.elapsed() >= limit {
            let seconds = limit.as_secs_f64();
            return Err(Failure::Local(format!("the server is not ready after {seconds} seconds: {why}")));
        }
        std::thread::sleep(POLL.min(left));
    }
}
