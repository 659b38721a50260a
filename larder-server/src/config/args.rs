//! The command line.
//!
//! `larder-server [FILE | -] [--name value ...]...`: a configuration file or standard input first, then directives that
//! override it. `--name=value` is understood too. `--version` and `--help` answer and end.

use super::file::{Line, Lines, Place};

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The version.
    Version,
    /// Help.
    Help,
    /// To look through a snapshot.
    CheckRdb {
        /// The snapshot.
        file: String,
        /// Whether to pass over what is not supported.
        skip: bool,
    },
    /// To look through an append-only file, and with `fix` to cut off an end that cannot be applied.
    CheckAof {
        /// A manifest, or a file of commands.
        file: String,
        /// Whether to cut.
        fix: bool,
        /// Whether to pass over what is not supported.
        skip: bool,
    },
    /// To serve, with this source of configuration.
    Serve(Source),
}

/// Where the configuration comes from, beside the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The defaults.
    Defaults,
    /// A file.
    File(String),
    /// Standard input.
    Stdin,
}

/// The text of `--help`.
pub(crate) const HELP: &str = "\
Usage: larder-server [FILE | -] [--DIRECTIVE [VALUE ...]]...
       larder-server check-rdb [--skip-unsupported] FILE
       larder-server check-aof [--fix] [--skip-unsupported] MANIFEST | FILE
       larder-server -v | --version
       larder-server -h | --help

FILE is a configuration in the syntax of redis.conf; - reads it from standard input.
A directive on the command line overrides the same one in the file.
check-rdb reads a snapshot to its end and says what it holds, or what is wrong and where; --skip-unsupported goes on
behind streams, modules' values and functions, as a server does with rdb-skip-unsupported.
check-aof does both with an append-only file; --fix cuts off an end that cannot be applied.

Examples:
       larder-server                                     (no configuration: port 6379)
       larder-server /etc/redis/redis.conf
       larder-server --port 7777 --maxmemory 2gb --maxmemory-policy allkeys-lru
       larder-server /etc/redis/redis.conf --loglevel verbose
       echo 'maxmemory 128mb' | larder-server -
";

/// Options of what works on files.
const FIX: &str = "--fix";
const SKIP: &str = "--skip-unsupported";

/// Reads the command line; its directives are added to `lines`.
pub(crate) fn read(arguments: &[String], lines: &mut Lines) -> Asked {
    match arguments {
        [only] if only == "-v" || only == "--version" => return Asked::Version,
        [only] if only == "-h" || only == "--help" => return Asked::Help,
        [word, options @ .., file] => {
            let are_all = |known: &[&str]| options.iter().all(|option| known.contains(&option.as_str()));
            let has = |name: &str| options.iter().any(|option| option == name);
            let (file, fix, skip) = (file.clone(), has(FIX), has(SKIP));
            match word.as_str() {
                "check-rdb" if are_all(&[SKIP]) => return Asked::CheckRdb { file, skip },
                "check-aof" if are_all(&[FIX, SKIP]) => return Asked::CheckAof { file, fix, skip },
                _ => {}
            }
        }
        _ => {}
    }
    let (mut source, mut rest) = match arguments {
        [first, rest @ ..] if first == "-" => (Source::Stdin, rest),
        [first, rest @ ..] if !first.starts_with("--") => (Source::File(first.clone()), rest),
        all => (Source::Defaults, all),
    };
    if let ([before @ .., last], Source::Defaults) = (rest, &source)
        && last == "-"
    {
        (source, rest) = (Source::Stdin, before);
    }
    let mut words: Vec<String> = Vec::new();
    for argument in rest {
        match argument.strip_prefix("--") {
            Some(name) => {
                finish(std::mem::take(&mut words), lines);
                match name.split_once('=') {
                    Some((name, value)) => words.extend([name.to_owned(), value.to_owned()]),
                    None => words.push(name.to_owned()),
                }
            }
            None => words.push(argument.clone()),
        }
    }
    finish(words, lines);
    Asked::Serve(source)
}

/// Adds a directive that is complete.
fn finish(mut words: Vec<String>, lines: &mut Lines) {
    if words.is_empty() {
        return;
    }
    let text = format!("--{}", words.join(" "));
    if words.len() == 1 && words[0].eq_ignore_ascii_case("save") {
        words.push(String::new());
    }
    lines.lines.push(Line { place: Place::Arguments, words, text });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_words(arguments: &[&str]) -> (Asked, Vec<String>) {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let mut lines = Lines::default();
        let asked = read(&arguments, &mut lines);
        (asked, lines.lines.iter().map(|line| line.words.join("|")).collect())
    }

    #[test]
    fn directives_take_the_words_up_to_the_next_one() {
        let (asked, lines) =
            read_words(&["a.conf", "--port", "1", "--save", "--bind", "x", "y", "--dir=/a=b"]);
        assert_eq!(asked, Asked::Serve(Source::File("a.conf".into())));
        assert_eq!(lines, ["port|1", "save|", "bind|x|y", "dir|/a=b"]);
        assert_eq!(read_words(&["-"]).0, Asked::Serve(Source::Stdin));
        assert_eq!(read_words(&["--port", "1", "-"]).0, Asked::Serve(Source::Stdin));
        assert_eq!(
            read_words(&["--save", "", "--port", "0"]),
            (Asked::Serve(Source::Defaults), vec!["save|".into(), "port|0".into()])
        );
    }

    #[test]
    fn version_and_help_stand_alone() {
        assert_eq!(read_words(&["-v"]).0, Asked::Version);
        assert_eq!(read_words(&["--help"]).0, Asked::Help);
        let checking = |skip| Asked::CheckRdb { file: "a.rdb".into(), skip };
        assert_eq!(read_words(&["check-rdb", "a.rdb"]).0, checking(false));
        assert_eq!(read_words(&["check-rdb", "--skip-unsupported", "a.rdb"]).0, checking(true));
        let fixing = |skip| Asked::CheckAof { file: "a".into(), fix: true, skip };
        assert_eq!(read_words(&["check-aof", "--fix", "a"]).0, fixing(false));
        assert_eq!(read_words(&["check-aof", "--skip-unsupported", "--fix", "a"]).0, fixing(true));
        assert_eq!(read_words(&["check-rdb"]).0, Asked::Serve(Source::File("check-rdb".into())));
        assert_eq!(read_words(&[]).0, Asked::Serve(Source::Defaults));
    }
}
