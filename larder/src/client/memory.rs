//! `maxmemory-clients`: the largest connections go when all of them together take too much.
//!
//! The ticker looks ten times a second, so connections may exceed the limit for a moment; what a single one may take is
//! limited at once by `client-query-buffer-limit` and `client-output-buffer-limit`. CLIENT NO-EVICT protects a
//! connection, whose bytes count nevertheless. Embedded callers have no buffers and are left alone.

use super::Client;
use crate::config::params::share_of;
use crate::engine::Engine;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number of bytes, or, with this bit, a percentage of `maxmemory`.
const SHARE: u64 = 1 << 63;

/// The value of `maxmemory-clients`.
#[derive(Debug, Default)]
pub struct ClientMemory(AtomicU64);

impl ClientMemory {
    /// Sets the limit in bytes, 0 for none.
    pub fn set_bytes(&self, bytes: u64) {
        self.0.store(bytes & !SHARE, Ordering::Relaxed);
    }

    /// Sets the limit in percent of `maxmemory`, 0 for none.
    pub fn set_share(&self, percent: u64) {
        self.0.store(if percent == 0 { 0 } else { SHARE | percent }, Ordering::Relaxed);
    }

    /// Its value, as CONFIG GET shows it.
    pub fn show(&self) -> String {
        let value = self.0.load(Ordering::Relaxed);
        if value & SHARE == 0 { value.to_string() } else { format!("{}%", value & !SHARE) }
    }

    /// The limit in bytes, if there is one.
    fn limit(&self, maxmemory: u64) -> Option<u64> {
        let value = self.0.load(Ordering::Relaxed);
        let bytes = if value & SHARE == 0 { value } else { share_of(maxmemory, value & !SHARE) };
        (bytes > 0).then_some(bytes)
    }
}

impl Engine {
    /// Closes the largest connections until the others keep to `maxmemory-clients`.
    pub(crate) fn limit_clients(&self) {
        let maxmemory = self.config.maxmemory.load(Ordering::Relaxed);
        let Some(limit) = self.config.client_memory.limit(maxmemory) else { return };
        let mut used = self.clients.totals().memory as u64;
        if used <= limit {
            return;
        }
        let mut sizes: Vec<(u64, Arc<Client>)> =
            self.clients.list().into_iter().map(|client| (client.memory() as u64, client)).collect();
        sizes.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        for (size, client) in sizes {
            if used <= limit {
                return;
            }
            if client.no_evict.load(Ordering::Relaxed) || client.origin.fd < 0 {
                continue;
            }
            // Who is on the way out already will leave its bytes too.
            if !client.is_killed() {
                client.kill();
                self.stats.evicted_clients.fetch_add(1, Ordering::Relaxed);
            }
            used = used.saturating_sub(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Origin;
    use crate::engine::Options;

    #[test]
    fn the_largest_go_first_and_the_protected_stay() {
        let engine = Engine::open(Options { seed: 1, ..Options::default() });
        let waker = || std::task::Waker::noop().clone();
        let connect = |bytes: usize| {
            let session = engine.connect(Origin { fd: 7, ..Origin::default() }, waker());
            session.client.output_bytes.store(bytes, Ordering::Relaxed);
            session
        };
        let sessions = [connect(1 << 20), connect(5 << 20), connect(9 << 20), connect(3 << 20)];
        sessions[2].client.no_evict.store(true, Ordering::Relaxed);
        let killed = || sessions.each_ref().map(|session| session.client.is_killed());
        engine.limit_clients();
        assert_eq!(killed(), [false; 4], "without a limit");
        engine.config.client_memory.set_bytes(20 << 20);
        engine.limit_clients();
        assert_eq!(killed(), [false; 4], "below the limit");
        engine.config.client_memory.set_share(50);
        engine.limit_clients();
        assert_eq!(killed(), [false; 4], "half of no limit is none");
        engine.config.maxmemory.store(28 << 20, Ordering::Relaxed);
        engine.limit_clients();
        assert_eq!(killed(), [false, true, false, false]);
        assert_eq!(engine.stats.evicted_clients.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn it_is_shown_as_it_was_set() {
        let limit = ClientMemory::default();
        limit.set_share(5);
        assert_eq!(limit.show(), "5%");
        limit.set_share(0);
        assert_eq!(limit.show(), "0");
        limit.set_bytes(1000);
        assert_eq!(limit.show(), "1000");
    }
}
