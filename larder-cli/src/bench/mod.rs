//! `larder-cli bench`: how fast a server answers, and how long single requests take.
//!
//! Connections are spread over threads; each thread waits for all of its own at once, sends the next batch as soon as the
//! last one is answered, and keeps a histogram. That is a *closed* loop: a server that stops for a second is asked nothing
//! during that second, and the percentiles hide it. With `--rate` the loop is *open*: each request is due at a time of its
//! own, and its latency counts from then, whether a connection was free or not. A stop of a second is then seen by all
//! requests that were due in it.

mod load;
mod options;
mod random;
mod report;
mod workload;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::Path;

pub(crate) use options::rows;

use crate::link::Failure;
use crate::oneshot::Verdict;
use crate::output;
use options::{Format, Settings};

/// The arguments of a benchmark, if the command line asks for one: `larder-cli bench ...`, or a link to this program
/// that is named after a benchmark.
pub(crate) fn arguments(args: &[OsString]) -> Option<Vec<OsString>> {
    let program = args.first().and_then(|program| Path::new(program).file_name())?;
    if ["redis-benchmark", "valkey-benchmark", "larder-benchmark"].iter().any(|name| program == *name) {
        return Some(args[1..].to_vec());
    }
    let is_legacy = ["redis-cli", "valkey-cli"].iter().any(|name| program == *name);
    if args.get(1).is_some_and(|word| word == "bench") && !is_legacy {
        Some(args[2..].to_vec())
    } else {
        None
    }
}

/// Runs the chosen tests one after the other.
pub(crate) fn run(args: Vec<OsString>) -> Verdict {
    let settings = Settings::parse(args).map_err(Failure::Local)?;
    if settings.help {
        return output::write(options::help().as_bytes()).map(|()| true);
    }
    let tests = workload::tests(&settings).map_err(Failure::Local)?;
    if settings.format == Format::Csv {
        output::write(report::CSV_HEADING.as_bytes())?;
    }
    let shows = std::io::stderr().is_terminal();
    loop {
        let mut results = Vec::new();
        for test in &tests {
            let result = load::run(&settings, test, shows)?;
            match settings.format {
                Format::Json => results.push(result.json(&settings)),
                format => output::write(result.text(&settings, format).as_bytes())?,
            }
        }
        if settings.format == Format::Json {
            output::write(format!("[{}]\n", results.join(",")).as_bytes())?;
        }
        if !settings.forever {
            return Ok(true);
        }
    }
}
