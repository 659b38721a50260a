//! The terminal client: redis-cli's options and output, with the comfort that people miss there.
//!
//! [`run`] is the program. It takes the command line, `argv[0]` included: called as `redis-cli` or `valkey-cli` it keeps
//! their exit codes, so that scripts find what they were written for.
//!
//! ```
//! use std::ffi::OsString;
//!
//! // Prints the version, as `larder-cli --version` does.
//! let code = larder_cli::run(["larder-cli", "--version"].map(OsString::from).into());
//! assert_eq!(code, std::process::ExitCode::SUCCESS);
//! ```
#![forbid(unsafe_code)]

// In the order in which a command meets them: the command line, the conversation, the wire, the output.
mod options;

mod oneshot;

mod prompt;

mod modes;

mod bench;

mod session;

mod link;

mod tls;

mod reply;

mod format;

mod quote;

mod output;

mod interrupt;

mod manual;

#[cfg(test)]
mod fuzz;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::process::ExitCode;

use link::Failure;
use options::{Mode, Name, Options};
use session::{Session, is};

/// The exit code of a program whose output nobody reads any more: what a shell reports for SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// The program: does what the command line says and tells how it ended.
///
/// 0: all is well. 1: the server answered with an error (not under the names `redis-cli` and `valkey-cli`, which need
/// `-e` for that), could not be reached, or the command line is wrong.
#[must_use]
pub fn run(args: Vec<OsString>) -> ExitCode {
    if let Some(rest) = bench::arguments(&args) {
        return finish(bench::run(rest), true);
    }
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(why) => {
            output::complain(&why);
            return ExitCode::FAILURE;
        }
    };
    let fails = options.fails_on_errors() || !matches!(options.mode, Mode::Command | Mode::Eval);
    finish(start(options), fails)
}

/// The exit code; what went wrong is said.
fn finish(outcome: Result<bool, Failure>, fails_on_errors: bool) -> ExitCode {
    match outcome {
        Ok(good) => ExitCode::from(u8::from(!good && fails_on_errors)),
        Err(Failure::Refused) => ExitCode::FAILURE,
        Err(Failure::Output) => ExitCode::from(BROKEN_PIPE),
        Err(failure) => {
            output::complain(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

fn start(mut options: Options) -> Result<bool, Failure> {
    match options.mode {
        Mode::Help => return output::write(manual::help(&options).as_bytes()).map(|()| true),
        Mode::Version => {
            return output::write(format!("{}\n", manual::version(&options)).as_bytes()).map(|()| true);
        }
        Mode::IntrinsicLatency => return modes::intrinsic::run(options.intrinsic),
        _ => {}
    }
    if options.name == Name::Own
        && options.mode == Mode::Command
        && let Some(page) = manual::page(&options.words)
    {
        return output::write(page.map_err(Failure::Local)?.as_bytes()).map(|()| true);
    }
    if options.askpass {
        options.target.password = Some(prompt::password()?);
    } else if options.exposed_password && !options.no_auth_warning {
        output::complain(
            "Warning: Using a password with '-a' or '-u' option on the command line interface may not be safe.",
        );
    }
    if let Some(limit) = options.wait {
        modes::wait::run(&options, limit)?;
        if options.mode == Mode::Command && options.words.is_empty() {
            return Ok(true);
        }
    }
    let mode = options.mode;
    let mut session = Session::new(options);
    match mode {
        Mode::Command => command(&mut session),
        Mode::Pipe => modes::pipe::run(&mut session),
        Mode::Eval => modes::eval::run(&mut session),
        Mode::Scan => modes::scan::run(&mut session),
        Mode::BigKeys | Mode::MemKeys => modes::big::run(&mut session),
        Mode::HotKeys => modes::hot::run(&mut session),
        Mode::KeyStats => modes::keystats::run(&mut session),
        Mode::Delete => modes::delete::run(&mut session),
        Mode::Stat => modes::stat::run(&mut session),
        Mode::Latency | Mode::LatencyHistory => modes::latency::run(&mut session),
        Mode::LatencyDist => modes::latency::spectrum(&mut session),
        // Done above, without a server.
        Mode::Help | Mode::Version | Mode::IntrinsicLatency => Ok(true),
    }
}

fn command(session: &mut Session) -> Result<bool, Failure> {
    if !session.options.words.is_empty() || session.options.stdin_last {
        if session.options.name == Name::Own && is(&session.options.words, 0, "peek") {
            return modes::peek::run(session);
        }
        if session.options.name == Name::Own && is(&session.options.words, 0, "session") {
            return modes::sessions::run(session);
        }
        return oneshot::run(session);
    }
    if std::io::stdin().is_terminal() {
        return prompt::run(session);
    }
    oneshot::lines(session)
}
