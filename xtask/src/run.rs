//! Starting programs: with their output in a file, and its end on the terminal when they fail.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Lines of a failed program's output that are shown.
const TAIL_LINES: usize = 60;

/// How a program ended.
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) log: PathBuf,
}

impl Outcome {
    /// All that it wrote.
    pub(crate) fn text(&self) -> String {
        fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Shows the end of what it wrote.
    pub(crate) fn show_tail(&self) {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
            println!("    {line}");
        }
        println!("    (all of it: {})", self.log.display());
    }
}

/// The file for the output of a step of this name, empty.
fn log_file(name: &str) -> (PathBuf, File) {
    let dir = PathBuf::from("target/x");
    fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot create {}: {e}", dir.display()));
    let path = dir.join(format!("{name}.log"));
    let file = File::create(&path).unwrap_or_else(|e| panic!("cannot create {}: {e}", path.display()));
    (path, file)
}

/// Runs commands one after the other until one fails, their output in `target/x/NAME.log`.
pub(crate) fn logged(name: &str, commands: Vec<Command>) -> Outcome {
    let (log, file) = log_file(name);
    for mut command in commands {
        let out = file.try_clone().expect("a file handle can be shared");
        let err = file.try_clone().expect("a file handle can be shared");
        let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status();
        match status {
            Ok(status) if status.success() => {}
            Ok(_) => return Outcome { success: false, log },
            Err(e) => {
                let program = command.get_program().to_string_lossy().into_owned();
                let _ = fs::write(&log, format!("cannot start {program}: {e}\n"));
                return Outcome { success: false, log };
            }
        }
    }
    Outcome { success: true, log }
}

/// A program with its arguments.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// The cargo that started us, with arguments.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    command(&program, args)
}

/// Builds and starts the fuzzer.
pub(crate) fn fuzz_command(args: &[String]) -> Command {
    let mut command =
        cargo(&["run", "--quiet", "--profile", "fuzz", "--package", "testkit", "--features", "fuzz"]);
    command.args(["--bin", "larder-fuzz", "--"]).args(args);
    command
}

/// Whether a program can be started at all.
pub(crate) fn exists(program: &str) -> bool {
    let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|s| s.success())
}
