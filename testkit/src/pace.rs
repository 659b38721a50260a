//! Requests at a fixed rate, for latencies that do not hide a pause.
//!
//! A client that sends its next request when the last one is answered asks less while the server stands still, so a
//! long pause counts once. Here every request has a moment at which it is due, whatever became of those before it, and
//! its latency counts from that moment: a pause of 100 ms at 1,000 requests a second is 100 requests that waited, as it
//! would be for users.

use crate::client::Client;
use larder_resp::Frame;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Before a request is due the thread sleeps until there is this much left, and then spins: sleeps end late.
const SPIN: Duration = Duration::from_micros(150);

/// How fast and for how long to ask.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Connections, used in turn.
    pub connections: usize,
    /// Requests a second over all of them.
    pub rate: u64,
    /// For how long.
    pub time: Duration,
}

/// Latencies, sorted.
#[derive(Debug, Clone, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Puts them in order.
    #[must_use]
    pub fn new(mut all: Vec<Duration>) -> Latencies {
        all.sort_unstable();
        Latencies(all)
    }

    /// Those of several runs.
    #[must_use]
    pub fn joined(runs: impl IntoIterator<Item = Latencies>) -> Latencies {
        Latencies::new(runs.into_iter().flat_map(|run| run.0).collect())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency that this many of a million are not above; zero if there are none.
    #[must_use]
    pub fn at(&self, of_a_million: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let place = (self.0.len() * of_a_million.min(1_000_000)).div_ceil(1_000_000).saturating_sub(1);
        self.0.get(place.min(last)).copied().unwrap_or_default()
    }

    /// The longest one.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.at(1_000_000)
    }
}

/// Asks at a fixed rate, over several connections in turn, and measures from when each request is due. Of a server so
/// slow that it takes three times as long, the rest is not asked for; it counts as answered then.
///
/// # Errors
/// With the text of the first error reply.
///
/// # Panics
/// When the server goes away, or does not answer for a minute.
pub fn ask(addr: SocketAddr, pace: Pace, mut next: impl FnMut() -> Vec<u8>) -> Result<Latencies, String> {
    let mut clients: Vec<Client> = (0..pace.connections.max(1)).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        client.set_timeout(Duration::from_secs(60));
    }
    let step = Duration::from_secs(1) / u32::try_from(pace.rate.max(1)).unwrap_or(u32::MAX);
    let began = Instant::now();
    let (mut due, mut all) = (Duration::ZERO, Vec::new());
    while due < pace.time {
        for client in &mut clients {
            if began.elapsed() > pace.time * 3 {
                all.push(began.elapsed().saturating_sub(due));
                due += step;
                continue;
            }
            let request = next();
            wait_until(began + due);
            client.send_raw(&request);
            if let Frame::Error(text) = client.read() {
                return Err(String::from_utf8_lossy(&text).into_owned());
            }
            all.push(began.elapsed().saturating_sub(due));
            due += step;
        }
    }
    Ok(Latencies::new(all))
}

fn wait_until(moment: Instant) {
    let left = moment.saturating_duration_since(Instant::now());
    if left > SPIN {
        std::thread::sleep(left - SPIN);
    }
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_count_from_the_shortest() {
        let all = Latencies::new((1..=1000).rev().map(Duration::from_millis).collect());
        assert_eq!(all.at(500_000), Duration::from_millis(500));
        assert_eq!(all.at(990_000), Duration::from_millis(990));
        assert_eq!(all.at(999_000), Duration::from_millis(999));
        assert_eq!((all.at(0), all.max()), (Duration::from_millis(1), Duration::from_millis(1000)));
        assert_eq!(Latencies::default().max(), Duration::ZERO);
    }
}
