//! The options of `bench`: those of redis-benchmark, and some of our own.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use crate::options::{FLAGS, Options, Target};

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Format {
    #[default]
    Full,
    Quiet,
    Csv,
    Json,
}

/// What is measured, and how.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) target: Target,
    pub(super) connections: usize,
    pub(super) requests: u64,
    pub(super) value_size: usize,
    pub(super) pipeline: usize,
    pub(super) threads: usize,
    /// Random keys out of so many; zero is one key.
    pub(super) keys: u64,
    /// Exponent of the keys' distribution; `None` gives all the same chance.
    pub(super) zipf: Option<f64>,
    /// Requests per second; `None` is as many as the server takes.
    pub(super) rate: Option<f64>,
    pub(super) seed: u64,
    pub(super) tests: Option<String>,
    pub(super) command: Vec<Vec<u8>>,
    pub(super) format: Format,
    pub(super) precision: usize,
    pub(super) forever: bool,
    pub(super) keep_alive: bool,
    pub(super) help: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            target: Target::default(),
            connections: 50,
            requests: 100_000,
            value_size: 3,
            pipeline: 1,
            threads: 1,
            keys: 0,
            zipf: None,
            rate: None,
            seed: 12_345,
            tests: None,
            command: Vec::new(),
            format: Format::Full,
            precision: 3,
            forever: false,
            keep_alive: true,
            help: false,
        }
    }
}

type Setter = fn(&mut Settings, &str) -> Result<(), String>;

/// An option: spellings, value, help, what it does.
type Row = (&'static [&'static str], Option<&'static str>, &'static str, Setter);

fn number<T: std::str::FromStr + PartialOrd>(value: &str, least: T, most: T) -> Result<T, String> {
    match value.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("'{value}' is no number in range")),
    }
}

/// Most connections; each needs a file descriptor.
const CONNECTIONS_MAX: usize = 100_000;

const ROWS: &[Row] = &[
    (&["-c"], Some("connections"), "Connections at the same time (50).", |s, v| {
        s.connections = number(v, 1, CONNECTIONS_MAX)?;
        Ok(())
    }),
    (&["-n"], Some("requests"), "Requests of each test (100000).", |s, v| {
        s.requests = number(v, 1, u64::MAX)?;
        Ok(())
    }),
    (&["-d"], Some("bytes"), "Size of values (3).", |s, v| {
        s.value_size = number(v, 1, 1 << 30)?;
        Ok(())
    }),
    (&["-P"], Some("requests"), "Requests that are sent together on a connection (1).", |s, v| {
        s.pipeline = number(v, 1, 100_000)?;
        Ok(())
    }),
    (&["--threads"], Some("n"), "Threads that the connections are spread over (1).", |s, v| {
        s.threads = number(v, 1, 1024)?;
        Ok(())
    }),
    (&["-t"], Some("tests"), "Only these tests, separated by commas.", |s, v| {
        s.tests = Some(v.to_owned());
        Ok(())
    }),
    (
        &["-r"],
        Some("keys"),
        "Random keys, members and values out of so many: __rand_int__ in a command becomes a number of 12 digits.",
        |s, v| {
            s.keys = number(v, 1, 1_000_000_000_000)?;
            Ok(())
        },
    ),
    (
        &["--zipf"],
        Some("exponent"),
        "Skew these keys: key number k is drawn in proportion to 1 / k^exponent; 0.99 is usual.",
        |s, v| {
            s.zipf = Some(number(v, 0.01, 10.0)?);
            Ok(())
        },
    ),
    (
        &["--rate"],
        Some("n"),
        "Send so many requests per second, each at a time of its own; latency counts from that time, also while the \
         server or its connections are busy.",
        |s, v| {
            s.rate = Some(number(v, 0.001, 1e9)?);
            Ok(())
        },
    ),
    (&["--seed"], Some("n"), "Begin the random numbers here; the same seed gives the same keys.", |s, v| {
        s.seed = number(v, 0, u64::MAX)?;
        Ok(())
    }),
    (&["-k"], Some("0|1"), "0: a new connection for each batch of requests (1).", |s, v| {
        s.keep_alive = number(v, 0_u8, 1)? == 1;
        Ok(())
    }),
    (&["-q"], None, "One line for each test.", |s, _| {
        s.format = Format::Quiet;
        Ok(())
    }),
    (&["--csv"], None, "Comma-separated values.", |s, _| {
        s.format = Format::Csv;
        Ok(())
    }),
    (&["--json"], None, "JSON.", |s, _| {
        s.format = Format::Json;
        Ok(())
    }),
    (&["--precision"], Some("digits"), "Digits behind the point of milliseconds (3).", |s, v| {
        s.precision = number(v, 0, 3)?;
        Ok(())
    }),
    (&["-l"], None, "Begin again at the end, for ever.", |s, _| {
        s.forever = true;
        Ok(())
    }),
    (&["--dbnum"], Some("db"), "Database number (0).", |s, v| {
        s.target.db = number(v, 0, i64::MAX)?;
        Ok(())
    }),
    (&["--help"], None, "Show this help.", |s, _| {
        s.help = true;
        Ok(())
    }),
];

/// Options about reaching the server, which mean the same as without `bench`.
const SHARED: &[&str] = &[
    "-h",
    "-p",
    "-s",
    "-u",
    "-a",
    "--user",
    "--pass-file",
    "-3",
    "--tls",
    "--sni",
    "--cacert",
    "--cacertdir",
    "--insecure",
    "--cert",
    "--key",
    "--tls-ciphers",
    "--tls-ciphersuites",
    "--connect-timeout",
    "--timeout",
    "--max-reply",
];

/// Labels and explanations of all options.
pub(crate) fn rows() -> Vec<(String, &'static str)> {
    let label = |names: &[&str], value: Option<&str>| {
        let value = value.map(|value| format!(" <{value}>")).unwrap_or_default();
        format!("{}{value}", names.join(", "))
    };
    let shared = FLAGS.iter().filter(|flag| SHARED.contains(&flag.names[0]));
    let own = ROWS.iter().map(|(names, value, help, _)| (label(names, *value), *help));
    own.chain(shared.map(|flag| (label(flag.names, flag.value), flag.help))).collect()
}

pub(super) fn help() -> String {
    let mut out = String::from(
        "Usage: larder-cli bench [OPTION ...] [COMMAND [ARGUMENT ...]]\n\nMeasures a command, or a list of tests.\n\n",
    );
    rows().iter().for_each(|(label, help)| crate::manual::entry(&mut out, label, help));
    out
}

impl Settings {
    /// The arguments behind `bench`.
    pub(super) fn parse(args: Vec<OsString>) -> Result<Self, String> {
        let mut settings = Self::default();
        let mut shared = vec![OsString::from("larder-cli")];
        let mut args = args.into_iter().peekable();
        while let Some(arg) = args.next_if(|arg| arg.to_string_lossy().starts_with('-')) {
            let name = arg.to_string_lossy().into_owned();
            let unknown = || format!("Unrecognized option or bad number of args for: '{name}'");
            if let Some((_, value, _, set)) = ROWS.iter().find(|(names, ..)| names.contains(&name.as_str())) {
                let value = match value {
                    Some(_) => args.next().ok_or_else(unknown)?.to_string_lossy().into_owned(),
                    None => String::new(),
                };
                set(&mut settings, &value).map_err(|why| format!("{name}: {why}"))?;
                continue;
            }
            let flag = FLAGS.iter().find(|flag| {
                flag.names.contains(&name.as_str()) && SHARED.iter().any(|shared| flag.names.contains(shared))
            });
            let flag = flag.ok_or_else(unknown)?;
            shared.push(arg);
            if flag.value.is_some() {
                shared.push(args.next().ok_or_else(unknown)?);
            }
        }
        let db = settings.target.db;
        settings.target = Options::parse(shared)?.target;
        if db != 0 {
            settings.target.db = db;
        }
        settings.command = args.map(OsString::into_vec).collect();
        if settings.zipf.is_some() && settings.keys == 0 {
            return Err("--zipf needs -r: how many keys are there?".to_owned());
        }
        // A thread without a connection has nothing to do.
        settings.threads = settings.threads.min(settings.connections);
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Settings, String> {
        Settings::parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn options_of_both_kinds_are_read() {
        let settings = parse("-c 10 -p 7000 -n 500 --csv -P 16 --dbnum 2 set a b").expect("a good line");
        assert_eq!((settings.connections, settings.requests, settings.pipeline), (10, 500, 16));
        assert_eq!((settings.target.port, settings.target.db, settings.format), (7000, 2, Format::Csv));
        assert_eq!(settings.command.len(), 3);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["-c 0", "-n x", "-c", "--bogus", "--scan", "--zipf 1", "--rate 0", "-k 2", "-P 0"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn no_option_is_named_twice() {
        let mut names: Vec<&str> =
            ROWS.iter().flat_map(|(names, ..)| *names).copied().chain(SHARED.iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
