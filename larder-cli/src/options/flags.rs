//! The flags. A row says what a flag is called, what it takes, what it does, and how it is explained.

use std::path::PathBuf;
use std::time::Duration;

use super::{Mode, Options, Output, Tls, uri};

/// One flag.
pub(crate) struct Flag {
    /// All spellings, the usual one first.
    pub(crate) names: &'static [&'static str],
    /// What its value is called; `None` when it takes none.
    pub(crate) value: Option<&'static str>,
    /// The value is optional, and then only taken behind `=`.
    pub(crate) attached_only: bool,
    pub(crate) section: Section,
    pub(crate) help: &'static str,
    pub(super) set: Setter,
}

type Setter = fn(&mut Options, &[u8]) -> Result<(), String>;

/// Headings of the help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Section {
    Connection,
    Tls,
    Input,
    Output,
    Keys,
    Watching,
    Other,
}

impl Section {
    pub(crate) const ALL: [Self; 7] =
        [Self::Connection, Self::Tls, Self::Input, Self::Output, Self::Keys, Self::Watching, Self::Other];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::Tls => "TLS",
            Self::Input => "Commands and their input",
            Self::Output => "Output",
            Self::Keys => "All keys",
            Self::Watching => "Watching a server",
            Self::Other => "Other",
        }
    }
}

/// The row of a flag with this spelling.
pub(super) fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.names.contains(&name))
}

const fn row(
    section: Section,
    names: &'static [&'static str],
    value: Option<&'static str>,
    help: &'static str,
    set: Setter,
) -> Flag {
    Flag { names, value, attached_only: false, section, help, set }
}

/// A flag of redis-cli that has no function here: it says so, and what to do instead.
const fn absent(names: &'static [&'static str], value: Option<&'static str>, set: Setter) -> Flag {
    row(Section::Other, names, value, "", set)
}

fn mode(options: &mut Options, mode: Mode) -> Result<(), String> {
    options.mode = mode;
    Ok(())
}

fn output(options: &mut Options, output: Output) -> Result<(), String> {
    options.output = Some(output);
    Ok(())
}

fn text(value: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(value).map_err(|_| "the value is not UTF-8".to_owned())
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Result<T, String> {
    let text = text(value)?;
    text.parse().map_err(|_| format!("'{text}' is no number in range"))
}

fn path(value: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::OsStr::from_bytes(value).into()
}

/// Seconds, with or without a fraction.
fn seconds(value: &[u8]) -> Result<Duration, String> {
    let seconds: f64 = number(value)?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("'{seconds}' is no time in seconds"))
}

fn tls(options: &mut Options) -> &mut Tls {
    options.target.tls.get_or_insert_with(Tls::default)
}

fn password(options: &mut Options, value: &[u8]) -> Result<(), String> {
    options.target.password = Some(value.to_vec());
    options.exposed_password = true;
    Ok(())
}

fn password_file(options: &mut Options, value: &[u8]) -> Result<(), String> {
    let path = path(value);
    let mut secret = std::fs::read(&path).map_err(|why| format!("{}: {why}", path.display()))?;
    let line = secret.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(secret.len());
    secret.truncate(line);
    options.target.password = Some(secret);
    Ok(())
}

fn address(options: &mut Options, value: &[u8]) -> Result<(), String> {
    let had_password = options.target.password.take();
    let address = text(value)?;
    let saved = if address.contains("://") { None } else { crate::prompt::preferences::connection(address) };
    uri::apply(&mut options.target, saved.as_deref().unwrap_or(address))?;
    options.exposed_password |= options.target.password.is_some();
    options.target.password = options.target.password.take().or(had_password);
    Ok(())
}

fn pushes(options: &mut Options, value: &[u8]) -> Result<(), String> {
    options.show_pushes = match value.first() {
        Some(b'y' | b'Y') => Some(true),
        Some(b'n' | b'N') => Some(false),
        _ => {
            let value = String::from_utf8_lossy(value);
            return Err(format!("Unknown --show-pushes value '{value}' (valid: '[y]es', '[n]o')"));
        }
    };
    Ok(())
}

/// Bytes with an optional unit of 1024: `64mb`.
fn bytes(value: &[u8]) -> Result<usize, String> {
    let text = text(value)?.to_ascii_lowercase();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit {
        "" | "b" => Some(1),
        "kb" | "k" => Some(1 << 10),
        "mb" | "m" => Some(1 << 20),
        "gb" | "g" => Some(1 << 30),
        _ => None,
    };
    let bytes = factor.and_then(|factor| digits.parse::<usize>().ok()?.checked_mul(factor));
    bytes.ok_or_else(|| format!("'{text}' is no number of bytes"))
}

fn quoted_pattern(options: &mut Options, value: &[u8]) -> Result<(), String> {
    options.keys.pattern =
        Some(super::unquote(value).ok_or("Invalid quoted string specified for --quoted-pattern")?);
    Ok(())
}

/// All flags, in the order of the help.
pub(crate) const FLAGS: &[Flag] = &[
    row(Section::Connection, &["-h", "--host"], Some("host"), "Host of the server (127.0.0.1).", |o, v| {
        o.target.host = text(v)?.to_owned();
        Ok(())
    }),
    row(Section::Connection, &["-p", "--port"], Some("port"), "Port of the server (6379).", |o, v| {
        o.target.port = number(v)?;
        Ok(())
    }),
    row(
        Section::Connection,
        &["-s"],
        Some("socket"),
        "Unix socket of the server, instead of host and port.",
        |o, v| {
            o.target.socket = Some(path(v));
            Ok(())
        },
    ),
    row(
        Section::Connection,
        &["-u", "--uri"],
        Some("uri"),
        "Address in one word: redis://user:password@host:port/db; rediss:// for TLS, valkey:// and valkeys:// as well, \
         unix:///path?db=n for a socket. Or a name that ~/.larderclirc gives to one: `:connection NAME URI`.",
        address,
    ),
    row(
        Section::Connection,
        &["-a", "--pass"],
        Some("password"),
        "Password. Safer: --askpass, --pass-file, or the environment variable REDISCLI_AUTH.",
        password,
    ),
    row(Section::Connection, &["--user"], Some("name"), "User that the password belongs to.", |o, v| {
        o.target.user = Some(v.to_vec());
        Ok(())
    }),
    row(Section::Connection, &["--askpass"], None, "Ask for the password on the terminal.", |o, _| {
        o.askpass = true;
        Ok(())
    }),
    row(
        Section::Connection,
        &["--pass-file"],
        Some("file"),
        "Read the password from the first line of a file.",
        password_file,
    ),
    row(
        Section::Connection,
        &["--no-auth-warning"],
        None,
        "Do not warn about a password on the command line.",
        |o, _| {
            o.no_auth_warning = true;
            Ok(())
        },
    ),
    row(Section::Connection, &["-n"], Some("db"), "Database number (0).", |o, v| {
        o.target.db = number(v)?;
        Ok(())
    }),
    row(Section::Connection, &["-2"], None, "Speak RESP2.", |o, _| {
        o.target.resp3 = Some(false);
        Ok(())
    }),
    row(Section::Connection, &["-3"], None, "Speak RESP3.", |o, _| {
        o.target.resp3 = Some(true);
        Ok(())
    }),
    row(
        Section::Connection,
        &["-c"],
        None,
        "Follow redirections (-MOVED and -ASK) to other servers of a cluster.",
        |o, _| {
            o.cluster = true;
            Ok(())
        },
    ),
    Flag {
        attached_only: true,
        ..row(
            Section::Connection,
            &["--wait"],
            Some("seconds"),
            "Wait until the server is ready to answer, for so long at most; then run the command, if there is one.",
            |o, v| {
                o.wait = Some(if v.is_empty() { Duration::MAX } else { seconds(v)? });
                Ok(())
            },
        )
    },
    row(
        Section::Connection,
        &["--connect-timeout", "-t"],
        Some("seconds"),
        "Longest time until a connection is ready (10).",
        |o, v| {
            o.target.connect_timeout = seconds(v)?.max(Duration::from_millis(1));
            Ok(())
        },
    ),
    row(
        Section::Connection,
        &["--timeout"],
        Some("seconds"),
        "Longest time for a reply (300; 0 waits for ever). Commands that wait by themselves are not limited.",
        |o, v| {
            o.target.timeout = seconds(v)?;
            Ok(())
        },
    ),
    row(
        Section::Connection,
        &["--max-reply"],
        Some("bytes"),
        "Most memory for one reply (2gb); larger ones end the connection with an error.",
        |o, v| {
            o.target.max_reply = bytes(v)?;
            Ok(())
        },
    ),
    row(Section::Tls, &["--tls"], None, "Use TLS.", |o, _| {
        tls(o);
        Ok(())
    }),
    row(
        Section::Tls,
        &["--sni"],
        Some("host"),
        "Name that the server is asked for, and that its certificate must have.",
        |o, v| {
            tls(o).sni = Some(text(v)?.to_owned());
            Ok(())
        },
    ),
    row(
        Section::Tls,
        &["--cacert"],
        Some("file"),
        "Certificates of the authorities to trust, instead of the system's.",
        |o, v| {
            tls(o).ca_file = Some(path(v));
            Ok(())
        },
    ),
    row(Section::Tls, &["--cacertdir"], Some("dir"), "Directory of such certificates.", |o, v| {
        tls(o).ca_dir = Some(path(v));
        Ok(())
    }),
    row(Section::Tls, &["--insecure"], None, "Do not check the server's certificate.", |o, _| {
        tls(o).insecure = true;
        Ok(())
    }),
    row(Section::Tls, &["--cert"], Some("file"), "Certificate to show to the server.", |o, v| {
        tls(o).cert = Some(path(v));
        Ok(())
    }),
    row(Section::Tls, &["--key"], Some("file"), "Private key of that certificate.", |o, v| {
        tls(o).key = Some(path(v));
        Ok(())
    }),
    row(
        Section::Tls,
        &["--tls-ciphers"],
        Some("list"),
        "Ciphers of TLS 1.2 that may be used, by OpenSSL's names, separated by colons.",
        |o, v| {
            tls(o).ciphers = Some(text(v)?.to_owned());
            Ok(())
        },
    ),
    row(Section::Tls, &["--tls-ciphersuites"], Some("list"), "The same for TLS 1.3.", |o, v| {
        tls(o).suites = Some(text(v)?.to_owned());
        Ok(())
    }),
    row(Section::Input, &["-x"], None, "Take the last argument from standard input.", |o, _| {
        o.stdin_last = true;
        Ok(())
    }),
    row(
        Section::Input,
        &["-X"],
        Some("tag"),
        "Take the argument that equals the tag from standard input.",
        |o, v| {
            o.stdin_tag = Some(v.to_vec());
            Ok(())
        },
    ),
    row(
        Section::Input,
        &["--quoted-input"],
        None,
        "Arguments in quotes may hold escapes: '\"\\x00\"'.",
        |o, _| {
            o.quoted_input = true;
            Ok(())
        },
    ),
    row(Section::Input, &["-r"], Some("times"), "Run the command so often; -1 for ever.", |o, v| {
        o.repeat = Some(number(v)?);
        Ok(())
    }),
    row(
        Section::Input,
        &["-i"],
        Some("seconds"),
        "Pause between two runs (-r), samples (--stat, --latency) or pages of keys.",
        |o, v| {
            o.interval = Some(seconds(v)?);
            Ok(())
        },
    ),
    row(
        Section::Input,
        &["--eval"],
        Some("file"),
        "Run the script in a file; then follow keys, a comma as a word, and arguments.",
        |o, v| {
            o.eval = path(v);
            mode(o, Mode::Eval)
        },
    ),
    row(
        Section::Input,
        &["--pipe"],
        None,
        "Send requests in RESP from standard input, and count errors.",
        |o, _| mode(o, Mode::Pipe),
    ),
    row(
        Section::Input,
        &["--pipe-timeout"],
        Some("seconds"),
        "Give up when nothing is answered for so long after the last request (30; 0 never).",
        |o, v| {
            o.pipe_timeout = Some(seconds(v)?);
            Ok(())
        },
    ),
    row(Section::Output, &["--raw"], None, "Bytes alone, as in a pipe.", |o, _| output(o, Output::Raw)),
    row(Section::Output, &["--no-raw"], None, "Types and quotes, as on a terminal.", |o, _| {
        output(o, Output::NoRaw)
    }),
    row(
        Section::Output,
        &["-d"],
        Some("text"),
        "What separates elements of raw output (a new line).",
        |o, v| {
            o.delimiters.element = v.to_vec();
            Ok(())
        },
    ),
    row(Section::Output, &["-D"], Some("text"), "What ends a raw reply (a new line).", |o, v| {
        o.delimiters.reply = v.to_vec();
        Ok(())
    }),
    row(Section::Output, &["--csv"], None, "Comma-separated values.", |o, _| output(o, Output::Csv)),
    row(Section::Output, &["--json"], None, "JSON; asks for RESP3 unless -2 is given.", |o, _| {
        output(o, Output::Json)
    }),
    row(Section::Output, &["--quoted-json"], None, "JSON in ASCII, with escapes.", |o, _| {
        output(o, Output::QuotedJson)
    }),
    row(
        Section::Output,
        &["--show-pushes"],
        Some("yes|no"),
        "Whether messages of RESP3 that answer no command are shown (on a terminal).",
        pushes,
    ),
    row(
        Section::Output,
        &["-e"],
        None,
        "Write an error reply to standard error, and exit with 1. Without it the error goes to standard output; the exit \
         code is 1 all the same, except under the names redis-cli and valkey-cli.",
        |o, _| {
            o.error_code = true;
            Ok(())
        },
    ),
    row(Section::Output, &["--no-pager"], None, "Do not show long replies in a pager.", |o, _| {
        o.no_pager = true;
        Ok(())
    }),
    row(Section::Keys, &["--scan"], None, "List keys.", |o, _| mode(o, Mode::Scan)),
    row(Section::Keys, &["--pattern"], Some("pattern"), "Only keys that match.", |o, v| {
        o.keys.pattern = Some(v.to_vec());
        Ok(())
    }),
    row(
        Section::Keys,
        &["--quoted-pattern"],
        Some("pattern"),
        "The same, with escapes in quotes.",
        quoted_pattern,
    ),
    row(Section::Keys, &["--count"], Some("n"), "Keys per page (10; 100 for --keystats).", |o, v| {
        o.keys.count = Some(number(v)?);
        Ok(())
    }),
    row(Section::Keys, &["--bigkeys"], None, "Find the keys with the most elements.", |o, _| {
        mode(o, Mode::BigKeys)
    }),
    row(Section::Keys, &["--memkeys"], None, "Find the keys that take the most memory.", |o, _| {
        mode(o, Mode::MemKeys)
    }),
    row(
        Section::Keys,
        &["--memkeys-samples", "--keystats-samples"],
        Some("n"),
        "The same, looking at so many elements of each value (0: all).",
        |o, v| {
            o.keys.memory_samples = Some(number(v)?);
            if o.mode != Mode::KeyStats { mode(o, Mode::MemKeys) } else { Ok(()) }
        },
    ),
    row(
        Section::Keys,
        &["--hotkeys"],
        None,
        "Find the keys that are used most; the server's maxmemory-policy must count uses (*lfu).",
        |o, _| mode(o, Mode::HotKeys),
    ),
    row(
        Section::Keys,
        &["--keystats"],
        None,
        "Memory and length of all keys: the largest, and totals by type and by prefix. With --json for programs.",
        |o, _| mode(o, Mode::KeyStats),
    ),
    row(
        Section::Keys,
        &["--top"],
        Some("n"),
        "How many of the largest or hottest keys are shown.",
        |o, v| {
            o.keys.top = Some(number(v)?);
            Ok(())
        },
    ),
    row(
        Section::Keys,
        &["--separator"],
        Some("text"),
        "Where the prefix of a key ends, for --keystats (:).",
        |o, v| {
            if v.is_empty() {
                return Err("a separator cannot be empty".to_owned());
            }
            o.keys.separator = Some(v.to_vec());
            Ok(())
        },
    ),
    row(
        Section::Keys,
        &["--cursor"],
        Some("n"),
        "Where to begin, for --keystats: the number that an interrupted run names.",
        |o, v| {
            o.keys.cursor = number(v)?;
            Ok(())
        },
    ),
    row(
        Section::Keys,
        &["--delete"],
        None,
        "Delete the keys that match --pattern, in pages of UNLINK. Asks on a terminal, and needs --yes without one.",
        |o, _| mode(o, Mode::Delete),
    ),
    row(Section::Keys, &["--dry-run"], None, "Only count what --delete would delete.", |o, _| {
        o.keys.dry_run = true;
        Ok(())
    }),
    row(Section::Keys, &["--rate"], Some("n"), "Delete at most so many keys per second.", |o, v| {
        o.keys.rate = Some(number(v)?);
        Ok(())
    }),
    row(Section::Keys, &["--yes"], None, "Do not ask for confirmation.", |o, _| {
        o.yes = true;
        Ok(())
    }),
    row(Section::Watching, &["--stat"], None, "One line of figures per second.", |o, _| mode(o, Mode::Stat)),
    row(
        Section::Watching,
        &["--latency"],
        None,
        "Time of PING, continuously; one sample of a second in a pipe.",
        |o, _| mode(o, Mode::Latency),
    ),
    row(
        Section::Watching,
        &["--latency-history"],
        None,
        "The same, a new line every 15 seconds (-i).",
        |o, _| mode(o, Mode::LatencyHistory),
    ),
    row(Section::Watching, &["--latency-dist"], None, "The same as a spectrum of colours.", |o, _| {
        mode(o, Mode::LatencyDist)
    }),
    row(
        Section::Watching,
        &["--intrinsic-latency"],
        Some("seconds"),
        "Longest pauses of this machine, without any server.",
        |o, v| {
            o.intrinsic = seconds(v)?;
            mode(o, Mode::IntrinsicLatency)
        },
    ),
    row(Section::Other, &["--verbose"], None, "Say more.", |o, _| {
        o.verbose = true;
        Ok(())
    }),
    row(Section::Other, &["--help"], None, "Show this help.", |o, _| mode(o, Mode::Help)),
    row(Section::Other, &["--version", "-v"], None, "Show the version.", |o, _| mode(o, Mode::Version)),
    absent(&["--rdb", "--functions-rdb"], Some("file"), |_, _| {
        Err("a snapshot cannot be fetched yet; SAVE writes one on the server".to_owned())
    }),
    absent(&["--replica", "--slave"], None, |_, _| {
        Err("commands cannot be received as a replica yet; MONITOR shows those of all clients".to_owned())
    }),
    absent(&["--lru-test"], Some("keys"), |_, _| {
        Err("not supported; larder-cli bench --zipf has skewed keys".to_owned())
    }),
    absent(&["--ldb", "--ldb-sync-mode"], None, |_, _| Err("scripts cannot be debugged here".to_owned())),
    absent(&["--cluster"], None, |_, _| {
        Err("clusters are not managed here; -c follows the redirections of one".to_owned())
    }),
];
