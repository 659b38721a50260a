//! `cargo x`: the project's own tasks. `cargo x help` lists them.

mod bars;
mod bench;
mod compat;
mod http;
mod load;
mod run;
mod setup;
mod stages;
mod strace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;

const HELP: &str = "\
cargo x TASK

  setup                    install what the tests need where it is missing
  test [STAGE ...]         setup, then everything CI runs; or only the named stages
  ci                       the same with CI=true: nothing is skipped for want of a tool
  compat                   which commands of a real redis-server are missing, and the reasoned differences
  bars ISSUE [--slice]     measure an issue's bars and write docs/bars/ISSUE.md; a slice is short and writes nothing
  bench [NAME ...] [--rounds N] [--quick]
                           measure speed, memory and stalls beside redis-server and write docs/benchmarks.md; quick
                           is a tenth of it, and only shown
  gen                      write docs/commands.md, docs/commands.json and docs/config.md from the declarations
  fuzz [TARGET ...] [--runs N] [--seed S]
                           throw mutated bytes at one or all of the fuzz targets
";

fn main() -> ExitCode {
    // Every task speaks of paths from the root, wherever it was called.
    if let Err(e) = std::env::set_current_dir(root()) {
        eprintln!("cannot go to the project's root: {e}");
        return ExitCode::FAILURE;
    }
    match dispatch() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("cargo x: {why}");
            ExitCode::from(2)
        }
    }
}

/// The project's root: the folder above this crate.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the project").to_path_buf()
}

fn dispatch() -> Result<bool, lexopt::Error> {
    let mut parser = lexopt::Parser::from_env();
    let task = match parser.next()? {
        Some(Value(name)) => name.string()?,
        Some(Long("help") | Short('h')) | None => "help".to_owned(),
        Some(other) => return Err(other.unexpected()),
    };
    match &task[..] {
        "help" => {
            print!("{HELP}");
            Ok(true)
        }
        "setup" => {
            nothing_more(&mut parser)?;
            Ok(setup::run())
        }
        "test" => Ok(stages::run(&names(&mut parser)?, std::env::var_os("CI").is_some())),
        "ci" => {
            nothing_more(&mut parser)?;
            Ok(stages::run(&[], true))
        }
        "compat" => {
            nothing_more(&mut parser)?;
            compat::run().map_err(Into::into)
        }
        "bars" => bars_task(&mut parser),
        "bench" => bench_task(&mut parser),
        "gen" => {
            nothing_more(&mut parser)?;
            gen_task()
        }
        "fuzz" => fuzz_task(&mut parser),
        other => Err(format!("no task {other:?}\n\n{HELP}").into()),
    }
}

fn names(parser: &mut lexopt::Parser) -> Result<Vec<String>, lexopt::Error> {
    let mut names = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(name) => names.push(name.string()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(names)
}

fn nothing_more(parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
    match parser.next()? {
        None => Ok(()),
        Some(other) => Err(other.unexpected()),
    }
}

fn bars_task(parser: &mut lexopt::Parser) -> Result<bool, lexopt::Error> {
    let (mut issue, mut slice, mut only) = (None, false, Vec::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("slice") => slice = true,
            Value(number) if issue.is_none() => issue = Some(number.parse::<u32>()?),
            Value(bar) => only.push(bar.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let issue = issue.ok_or("which issue? cargo x bars ISSUE [BAR ...] [--slice]")?;
    bars::run(issue, slice, &only).map_err(Into::into)
}

fn bench_task(parser: &mut lexopt::Parser) -> Result<bool, lexopt::Error> {
    let (mut rounds, mut size, mut names) = (None, bench::Size::Full, Vec::new());
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rounds") => rounds = Some(parser.value()?.parse::<usize>()?.max(1)),
            Long("quick") => size = bench::Size::Quick,
            Value(name) => names.push(name.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let rounds = rounds.unwrap_or(if size == bench::Size::Full { 5 } else { 2 });
    bench::run(&bench::Plan { rounds, size }, &names).map_err(Into::into)
}

/// The tests that find the generated pages stale write them when told to.
fn gen_task() -> Result<bool, lexopt::Error> {
    let tests: [&[&str]; 2] =
        [&["-p", "larder", "--test", "reference"], &["-p", "larder-server", "--lib", "config::reference"]];
    for arguments in tests {
        let status = std::process::Command::new("cargo")
            .args(["test", "--quiet"])
            .args(arguments)
            .env("UPDATE", "1")
            .status()
            .map_err(|e| format!("cannot start cargo: {e}"))?;
        if !status.success() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn fuzz_task(parser: &mut lexopt::Parser) -> Result<bool, lexopt::Error> {
    let rest: Vec<String> = parser.raw_args()?.map(|a| a.to_string_lossy().into_owned()).collect();
    Ok(run::fuzz_command(&rest).status().map_err(|e| format!("cannot start cargo: {e}"))?.success())
}
