//! Replays a trace against a server and prints how often it had what it was asked for.
//!
//! ```text
//! cargo run --release -p testkit --example hit_ratio -- --addr 127.0.0.1:6379 --policy allkeys-lru --scan 25
//! ```
//!
//! The server is emptied. See [`testkit::hit_ratio`].

use lexopt::{Arg, ValueExt};
use testkit::Client;
use testkit::hit_ratio::{Trace, replay};

fn main() -> Result<(), lexopt::Error> {
    let (mut address, mut policies) = ("127.0.0.1:6379".to_owned(), Vec::new());
    let mut trace = Trace::default();
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("addr") => address = args.value()?.string()?,
            Arg::Long("policy") => policies.push(args.value()?.string()?),
            Arg::Long("seed") => trace.seed = args.value()?.parse()?,
            Arg::Long("keys") => trace.keys = args.value()?.parse()?,
            Arg::Long("skew") => trace.skew = args.value()?.parse()?,
            Arg::Long("scan") => trace.scan_percent = args.value()?.parse()?,
            Arg::Long("requests") => trace.requests = args.value()?.parse()?,
            Arg::Long("cache") => trace.cache_percent = args.value()?.parse()?,
            Arg::Long("rate") => trace.rate = args.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    if policies.is_empty() {
        policies.push("allkeys-lru".to_owned());
    }
    let mut client = Client::connect(address);
    for policy in policies {
        let ratio = replay(&mut client, &policy, &trace);
        println!(
            "{policy:12} scan {:2} %: {:.2} % of all requests hit, {:.2} % of those that repeat; {} keys in {} bytes",
            trace.scan_percent,
            ratio.of_all * 100.0,
            ratio.of_repeated * 100.0,
            ratio.kept,
            ratio.maxmemory
        );
    }
    Ok(())
}
