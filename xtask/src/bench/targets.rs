//! What is to be reached. One row for each figure that has a target of its own; any other ratio to redis-server is to
//! be at least 1.

/// Which side of a bound is good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// No bound: the figure is told beside one that has a bound.
    Told,
}

use Target::{AtLeast, AtMost, Told};

/// `cost` is redis-server's CPU time per request over ours. `rate` is our rate over theirs, `p50` and `p99` our latency
/// over theirs. `bytes` are bytes, `stall` milliseconds, `late` seconds, `hits` points of a hundred, the others factors.
const TARGETS: &[(&str, Target)] = &[
    ("cost/get-p1", AtLeast(1.12)),
    ("cost/set-p1", AtLeast(1.20)),
    ("cost/get-p16", AtLeast(2.0)),
    ("cost/set-p16", AtLeast(2.2)),
    ("cost/setex-p16", AtLeast(2.9)),
    ("cost/get-p100", AtLeast(2.6)),
    ("cost/incr-p16", AtLeast(1.5)),
    ("cost/hset-p16", AtLeast(1.5)),
    ("cost/sadd-p16", AtLeast(1.5)),
    ("cost/lpush-p16", AtLeast(1.4)),
    ("cost/zadd-p16", AtLeast(2.0)),
    ("rate", AtLeast(0.95)),
    ("p50", AtMost(1.05)),
    ("p99", AtMost(1.25)),
    ("scaling/keys", AtMost(1.0)),
    ("scaling/connections", AtMost(1.10)),
    ("scaling/two-threads", AtMost(1.15)),
    ("scaling/more-threads", AtLeast(0.9)),
    ("bytes/string64", AtMost(105.0)),
    ("bytes/string64-ttl", AtMost(112.0)),
    ("bytes/string8", AtMost(50.0)),
    ("bytes/hash5", AtMost(115.0)),
    ("bytes/set", AtMost(39.0)),
    ("bytes/hash", AtMost(56.0)),
    ("bytes/zset", AtMost(62.0)),
    ("bytes/list", AtMost(35.5)),
    ("empty/rss-mib", AtMost(8.0)),
    ("churn/rss-over-maxmemory", AtMost(1.25)),
    ("churn/trend", AtMost(1.02)),
    ("churn/walk", AtMost(0.02)),
    ("stall/growth-step", AtMost(1.0)),
    ("stall/growth-step-worst", Told),
    ("stall/growth-step-least", Told),
    ("stall/growth-step-fresh", AtMost(1.0)),
    ("stall/growth-step-fresh-worst", Told),
    ("stall/growth-step-fresh-least", Told),
    ("stall/growth-step-control", Told),
    ("stall/growth-step-control-worst", Told),
    ("stall/growth-step-control-least", Told),
    // By the clock on the wall the machine stops everybody for longer than that.
    ("stall/growth-inside", Told),
    ("stall/growth-inside-worst", Told),
    ("stall/growth-inside-control", Told),
    // What one client sees of it has a part that is the machine's, however long both runs are.
    ("stall/growth-excess", Told),
    ("stall/growth-fresh-inside", Told),
    ("stall/growth-machine", Told),
    ("stall/long-excess", AtMost(20.0)),
    ("stall/long-inside", AtMost(20.0)),
    ("factor/long-p999", AtMost(2.0)),
    ("factor/storm-p99", AtMost(1.5)),
    ("late/storm", AtMost(2.0)),
    ("stall/snapshot-gate", AtMost(1.0)),
    ("factor/snapshot-memory", AtMost(1.2)),
    ("factor/snapshot-memory-worst", AtMost(1.5)),
    ("factor/snapshot-p999", AtMost(1.5)),
    ("stall/collection-inside", AtMost(5.0)),
    ("stall/collection-excess", AtMost(5.0)),
    ("faster/restart", AtLeast(2.0)),
    ("hits/zipf", AtLeast(0.0)),
    ("hits/mixed", AtLeast(0.0)),
    ("hits/scan-resistant", AtLeast(5.0)),
    ("embedded/get", AtMost(0.6)),
    ("embedded/set", AtMost(0.6)),
];

/// A figure and what is asked of it.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    what: String,
    figure: f64,
    target: Target,
}

/// Judges a figure. `rate/get-p1` has the target of `rate` if it has none of its own.
pub(crate) fn judge(what: &str, figure: f64) -> Judged {
    let of = |name: &str| TARGETS.iter().find(|(target, _)| *target == name).map(|(_, target)| *target);
    let family = what.split('/').next().unwrap_or_default();
    let target = of(what).or_else(|| of(family)).unwrap_or(AtLeast(1.0));
    Judged { what: what.to_owned(), figure, target }
}

impl Judged {
    /// Whether it belongs to a load that the table has; others are measured beside it.
    pub(crate) fn is_in_table(&self) -> bool {
        let is_of_load =
            ["cost/", "rate/", "p50/", "p99/"].iter().any(|family| self.what.starts_with(family));
        let load = self.what.split('/').nth(1).unwrap_or_default();
        !is_of_load || TARGETS.iter().any(|(target, _)| target.strip_prefix("cost/") == Some(load))
    }

    /// Whether the figure is on the good side. What could not be measured is not.
    pub(crate) fn is_reached(&self) -> bool {
        match self.target {
            AtLeast(bound) => self.figure >= bound,
            AtMost(bound) => self.figure <= bound,
            Told => true,
        }
    }

    fn bound(&self) -> String {
        match self.target {
            AtLeast(bound) => format!("at least {bound}"),
            AtMost(bound) => format!("at most {bound}"),
            Told => "none".to_owned(),
        }
    }

    fn verdict(&self) -> &'static str {
        match self.target {
            Told => "told",
            _ if self.is_reached() => "reached",
            _ => "**missed**",
        }
    }

    /// One line.
    pub(crate) fn show(&self) -> String {
        format!("{}: {:.3}, target {}: {}", self.what, self.figure, self.bound(), self.verdict())
    }

    /// One line of a Markdown table.
    pub(super) fn row(&self) -> String {
        format!("| {} | {:.3} | {} | {} |\n", self.what, self.figure, self.bound(), self.verdict())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_its_own_target_then_its_family_then_redis() {
        assert!(judge("cost/get-p16", 2.0).is_reached() && !judge("cost/get-p16", 1.99).is_reached());
        assert!(judge("rate/get-p16", 0.95).is_reached() && !judge("rate/get-p16", 0.94).is_reached());
        assert!(judge("cost/ping-p1", 1.0).is_reached() && !judge("cost/ping-p1", 0.99).is_reached());
        assert!(judge("rate/get-p16", 1.0).is_in_table() && !judge("rate/mset-p1", 1.0).is_in_table());
        assert!(!judge("embedded/get", f64::NAN).is_reached(), "what was not measured is not reached");
    }
}
