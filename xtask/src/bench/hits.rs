//! How often a cache has what it is asked for, by policy of eviction.

use testkit::hit_ratio::{Ratio, Trace, replay};
use testkit::{Options, Server};

use super::{Plan, Section, larder};

/// Requests a second that each server is asked for. Clocks of eviction tick in seconds, so whoever is asked faster sees
/// time less finely, and only equal rates compare.
const RATE: usize = 50_000;
/// Our policy against scans.
const RESISTANT: &str = "allkeys-lrfu";

/// One server under one policy.
struct Cache {
    name: &'static str,
    server: Server,
    policy: &'static str,
}

pub(super) fn run(plan: &Plan) -> Result<Section, String> {
    let caches = [
        Cache { name: "redis-server", server: Server::try_start(Options::redis())?, policy: "allkeys-lru" },
        Cache { name: "Larder", server: larder(&["--io-threads", "1"])?, policy: "allkeys-lru" },
        Cache { name: "Larder", server: larder(&["--io-threads", "1"])?, policy: RESISTANT },
    ];
    let mut section =
        Section::new(&["trace", "server", "policy", "hits of all %", "hits of what repeats %", "keys"]);
    for (trace_name, scan_percent) in [("zipf", 0), ("mixed", 25)] {
        let trace = Trace {
            scan_percent,
            keys: plan.choose(200_000, 50_000, 50_000),
            requests: plan.choose(2_500_000, 500_000, 50_000),
            rate: RATE,
            ..Trace::default()
        };
        let ratios = all_at_once(&caches, &trace);
        for (cache, ratio) in caches.iter().zip(&ratios) {
            section.row(vec![
                trace_name.to_owned(),
                cache.name.to_owned(),
                cache.policy.to_owned(),
                format!("{:.2}", ratio.of_all * 100.0),
                format!("{:.2}", ratio.of_repeated * 100.0),
                ratio.kept.to_string(),
            ]);
        }
        let points = |one: usize, other: usize| (ratios[one].of_all - ratios[other].of_all) * 100.0;
        section.judge(&format!("hits/{trace_name}"), points(1, 0));
        if scan_percent > 0 {
            section.judge("hits/scan-resistant", points(2, 1).min(points(2, 0)));
        }
    }
    Ok(section)
}

/// Replays a trace on all servers at the same time: they are asked for much less than they could do.
fn all_at_once(caches: &[Cache], trace: &Trace) -> Vec<Ratio> {
    std::thread::scope(|scope| {
        let replays: Vec<_> = caches
            .iter()
            .map(|cache| scope.spawn(|| replay(&mut cache.server.connect(), cache.policy, trace)))
            .collect();
        replays.into_iter().map(|replay| replay.join().expect("a replay that panics is a defect")).collect()
    })
}
