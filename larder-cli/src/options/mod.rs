//! The command line: one row for each flag, from which parsing, help, completions and the manual page follow.
//!
//! Flags come first; the first word that is none begins the command, whatever it looks like, so that no word of a
//! command is ever taken for a flag. That is redis-cli's rule, and so are the names of the flags that it has.

mod flags;
pub(crate) mod uri;

pub(crate) use flags::{FLAGS, Flag, Section};

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::format::Delimiters;

/// Under which name we were called. Scripts written for redis-cli rely on its exit code of 0 for error replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Name {
    /// `larder-cli`, or anything else.
    #[default]
    Own,
    /// `redis-cli` or `valkey-cli`.
    Legacy,
}

impl Name {
    fn of(program: &Path) -> Self {
        match program.file_name().map(std::ffi::OsStr::as_bytes) {
            Some(b"redis-cli" | b"valkey-cli") => Self::Legacy,
            _ => Self::Own,
        }
    }
}

/// The output format that was asked for; without one a terminal gets types and a pipe gets bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    Raw,
    NoRaw,
    Csv,
    Json,
    QuotedJson,
}

/// What is done instead of one command or a prompt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Mode {
    #[default]
    Command,
    Help,
    Version,
    Pipe,
    Scan,
    BigKeys,
    MemKeys,
    HotKeys,
    KeyStats,
    Delete,
    Stat,
    Latency,
    LatencyHistory,
    LatencyDist,
    IntrinsicLatency,
    Eval,
}

/// How to reach the server and speak to it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Overrides host and port.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) db: i64,
    /// RESP3 if true; `None` as the output format needs.
    pub(crate) resp3: Option<bool>,
    pub(crate) tls: Option<Tls>,
    /// Longest time for a connection, with all greetings.
    pub(crate) connect_timeout: Duration,
    /// Longest time for a reply; zero is for ever.
    pub(crate) timeout: Duration,
    /// Most bytes of memory for one reply.
    pub(crate) max_reply: usize,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 6379,
            socket: None,
            user: None,
            password: None,
            db: 0,
            resp3: None,
            tls: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(300),
            max_reply: 2 << 30,
        }
    }
}

impl Target {
    /// The place, as messages and the prompt name it.
    pub(crate) fn place(&self) -> String {
        match &self.socket {
            Some(path) => path.display().to_string(),
            None if self.host.contains(':') => format!("[{}]:{}", self.host, self.port),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

/// What TLS needs to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    pub(crate) sni: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) ca_dir: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) insecure: bool,
    /// Names of OpenSSL, separated by colons.
    pub(crate) ciphers: Option<String>,
    pub(crate) suites: Option<String>,
}

/// The whole command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) name: Name,
    pub(crate) target: Target,
    pub(crate) askpass: bool,
    /// A password stood on the command line, where other users of the machine can read it.
    pub(crate) exposed_password: bool,
    pub(crate) no_auth_warning: bool,
    /// How often; negative is for ever.
    pub(crate) repeat: Option<i64>,
    pub(crate) interval: Option<Duration>,
    pub(crate) stdin_last: bool,
    pub(crate) stdin_tag: Option<Vec<u8>>,
    pub(crate) quoted_input: bool,
    pub(crate) output: Option<Output>,
    pub(crate) delimiters: Delimiters,
    pub(crate) error_code: bool,
    pub(crate) cluster: bool,
    pub(crate) show_pushes: Option<bool>,
    pub(crate) mode: Mode,
    pub(crate) pipe_timeout: Option<Duration>,
    pub(crate) keys: KeyOptions,
    pub(crate) intrinsic: Duration,
    pub(crate) eval: PathBuf,
    pub(crate) wait: Option<Duration>,
    pub(crate) verbose: bool,
    pub(crate) yes: bool,
    pub(crate) no_pager: bool,
    /// The command and its arguments, or those of the mode.
    pub(crate) words: Vec<Vec<u8>>,
}

/// Options of the modes that walk through the keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyOptions {
    pub(crate) pattern: Option<Vec<u8>>,
    pub(crate) count: Option<u64>,
    pub(crate) cursor: u64,
    pub(crate) memory_samples: Option<u64>,
    pub(crate) top: Option<usize>,
    /// Where a prefix ends.
    pub(crate) separator: Option<Vec<u8>>,
    pub(crate) dry_run: bool,
    /// Keys per second.
    pub(crate) rate: Option<u64>,
}

impl Options {
    /// The command line and the environment. The first argument is the program.
    ///
    /// # Errors
    /// A text for the user.
    pub(crate) fn parse(args: Vec<OsString>) -> Result<Self, String> {
        let mut args = args.into_iter().map(OsString::into_vec);
        let program = args.next().unwrap_or_default();
        let mut options = Self {
            name: Name::of(Path::new(std::ffi::OsStr::from_bytes(&program))),
            intrinsic: Duration::from_secs(1),
            ..Self::default()
        };
        if options.name == Name::Legacy {
            options.target.timeout = Duration::ZERO;
        }
        let mut args = args.peekable();
        while let Some(arg) = args.next_if(|arg| arg.first() == Some(&b'-')) {
            let text = String::from_utf8_lossy(&arg).into_owned();
            // A value may be attached where a flag can do without one: `--wait=5`.
            let (name, attached) = match text.split_once('=') {
                Some((name, value)) if name.starts_with("--") => (name, Some(value.as_bytes().to_vec())),
                _ => (text.as_str(), None),
            };
            let unknown = || format!("Unrecognized option or bad number of args for: '{text}'");
            let flag = flags::find(name).ok_or_else(unknown)?;
            let value = match (flag.value, flag.attached_only, attached) {
                (None, _, Some(_)) => return Err(unknown()),
                (None, ..) => Vec::new(),
                (Some(_), _, Some(value)) => value,
                (Some(_), true, None) => Vec::new(),
                (Some(_), false, None) => match args.next() {
                    Some(value) => value,
                    // As redis-cli has it: `-h` alone asks for help.
                    None if name == "-h" => {
                        options.mode = Mode::Help;
                        break;
                    }
                    None => return Err(unknown()),
                },
            };
            (flag.set)(&mut options, &value).map_err(|why| format!("{name}: {why}"))?;
            if matches!(options.mode, Mode::Help | Mode::Version) {
                break;
            }
        }
        options.words = args.collect();
        options.check()?;
        Ok(options)
    }

    /// What follows from several flags together, and from the environment.
    fn check(&mut self) -> Result<(), String> {
        if self.target.password.is_none()
            && !self.askpass
            && let Some(secret) = std::env::var_os("REDISCLI_AUTH").filter(|secret| !secret.is_empty())
        {
            self.target.password = Some(secret.into_vec());
        }
        let needs_resp3 = matches!(self.output, Some(Output::Json | Output::QuotedJson));
        self.target.resp3.get_or_insert(needs_resp3);
        if self.quoted_input {
            for word in &mut self.words {
                *word = unquote(word).ok_or("Invalid quoted string")?;
            }
        }
        if self.mode == Mode::Delete && self.keys.pattern.is_none() {
            return Err("--delete needs --pattern".to_owned());
        }
        Ok(())
    }

    /// Whether an error reply makes the exit code 1.
    pub(crate) fn fails_on_errors(&self) -> bool {
        self.error_code || self.name == Name::Own
    }
}

/// One argument in quotes, as `--quoted-input` has it; a word without quotes stands for itself.
pub(crate) fn unquote(word: &[u8]) -> Option<Vec<u8>> {
    if !matches!(word.first(), Some(b'"' | b'\'')) {
        return Some(word.to_vec());
    }
    let mut words = larder_resp::split_words(word)?;
    if words.len() == 1 { words.pop() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn flags_end_where_the_command_begins() {
        let options = parse("larder-cli -p 7000 -n 3 set key --raw").expect("a good line");
        assert_eq!((options.target.port, options.target.db, options.output), (7000, 3, None));
        assert_eq!(options.words, [b"set".to_vec(), b"key".to_vec(), b"--raw".to_vec()]);
    }

    #[test]
    fn what_is_wrong_with_a_flag_is_said() {
        let wrong = |line: &str| parse(line).expect_err(line);
        assert_eq!(wrong("x -p"), "Unrecognized option or bad number of args for: '-p'");
        assert_eq!(wrong("x --bogus"), "Unrecognized option or bad number of args for: '--bogus'");
        assert!(wrong("x -p 70000").starts_with("-p: "), "{}", wrong("x -p 70000"));
        assert!(wrong("x -r many ping").contains("many"));
        assert!(wrong("x --rdb file").contains("not"));
        assert!(wrong("x --delete").contains("--pattern"));
    }

    #[test]
    fn the_name_decides_about_exit_codes() {
        assert!(parse("/usr/bin/larder-cli ping").expect("a good line").fails_on_errors());
        assert!(!parse("/usr/bin/redis-cli ping").expect("a good line").fails_on_errors());
        assert!(parse("valkey-cli -e ping").expect("a good line").fails_on_errors());
    }

    #[test]
    fn a_value_may_be_attached_or_left_out() {
        let wait = |line: &str| parse(line).expect("a good line").wait;
        assert_eq!(wait("x --wait=2.5 ping"), Some(Duration::from_millis(2500)));
        assert_eq!(wait("x --wait ping"), Some(Duration::MAX));
        assert!(parse("x --raw=1").is_err());
    }

    #[test]
    fn no_flag_is_named_twice() {
        let mut names: Vec<&str> = FLAGS.iter().flat_map(|flag| flag.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
