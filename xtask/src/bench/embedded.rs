//! The engine inside a program, and instructions per command: benchmarks of the engine's own crate, read.

use std::collections::BTreeMap;
use std::process::Command;

use super::{Plan, Section, built};
use crate::run::exists;

/// Runs a program and returns what it writes to both of its outputs.
pub(super) fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let output =
        Command::new(program).args(args).output().map_err(|e| format!("cannot start {program}: {e}"))?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(text) } else { Err(format!("{program}: {text}")) }
}

pub(super) fn run(plan: &Plan) -> Result<Section, String> {
    let program = built("larder", "embedded")?;
    let keys = plan.choose("1000000", "1000000", "1000");
    let rounds = (2 * plan.rounds + 1).to_string();
    let text = output(&program, &[keys, &rounds])?;
    let mut figures: BTreeMap<(String, String), f64> = BTreeMap::new();
    for line in text.lines() {
        if let [call, whose, nanos] = line.split(' ').collect::<Vec<_>>()[..]
            && let Ok(nanos) = nanos.parse()
        {
            figures.insert((call.to_owned(), whose.to_owned()), nanos);
        }
    }
    let mut section = Section::new(&["call", "Larder ns", "dashmap ns", "moka ns", "Larder / dashmap"]);
    for call in ["get", "set", "set_for"] {
        let of = |whose: &str| figures.get(&(call.to_owned(), whose.to_owned())).copied().unwrap_or(f64::NAN);
        let (ours, dashmap, moka) = (of("larder"), of("dashmap"), of("moka"));
        let nanos = [ours, dashmap, moka].map(|nanos| format!("{nanos:.0}"));
        let cells = std::iter::once(call.to_owned()).chain(nanos);
        section.row(cells.chain([format!("{:.2}", ours / dashmap)]).collect());
        // dashmap knows no expiry, so `set_for` has nothing to be compared with.
        if call != "set_for" {
            section.judge(&format!("embedded/{call}"), ours / dashmap);
        }
    }
    Ok(section)
}

/// Commands that `hot_path` knows.
const COMMANDS: &[&str] = &["get", "set", "setex", "incr", "hset", "sadd", "zadd", "lpush"];

pub(super) fn instructions(plan: &Plan) -> Result<Section, String> {
    let mut section = Section::new(&["command", "instructions"]);
    if !exists("valgrind") {
        println!("  valgrind is not installed: nothing is counted");
        return Ok(section);
    }
    let program = built("larder", "hot_path")?;
    let count: u64 = plan.choose(20_000, 5_000, 500);
    let commands = plan.choose(COMMANDS, COMMANDS, &COMMANDS[..1]);
    for command in commands {
        // The difference of two runs leaves out what each run does once.
        let (short, long) = (counted(&program, command, count)?, counted(&program, command, 2 * count)?);
        section.row(vec![(*command).to_owned(), (long.saturating_sub(short) / count).to_string()]);
    }
    Ok(section)
}

/// Instructions of a run of `hot_path`.
fn counted(program: &str, command: &str, count: u64) -> Result<u64, String> {
    let args = ["--tool=callgrind", "--callgrind-out-file=/dev/null", program, command, &count.to_string()];
    let text = output("valgrind", &args)?;
    let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1));
    collected.and_then(|count| count.trim().parse().ok()).ok_or_else(|| format!("callgrind said {text}"))
}
