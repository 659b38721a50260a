//! What the program says about itself: help, version, completions for shells, a manual page. All of it follows from the
//! table of flags.

use std::fmt::Write as _;

use crate::bench;
use crate::options::{FLAGS, Flag, Name, Options, Section};

/// Words that are commands of the program, not of the server.
const WORDS: &[(&str, &str)] = &[
    ("peek KEY ...", "Type, expiry, size and the beginning of values."),
    ("session ls|show|revoke|doctor", "Sessions of Express and larder-session; `session` tells how."),
    ("bench [OPTION ...]", "Measure a server; `bench --help` tells how."),
    ("completions bash|zsh|fish", "Write completions for a shell to standard output."),
    ("manual", "Write the manual page to standard output, for man."),
];

/// Width of help texts.
const WIDTH: usize = 100;

/// Where explanations begin.
const COLUMN: usize = 28;

pub(crate) fn version(options: &Options) -> String {
    let name = if options.name == Name::Legacy { "redis-cli" } else { "larder-cli" };
    format!("{name} {}", env!("CARGO_PKG_VERSION"))
}

/// The answer to `--help`.
pub(crate) fn help(options: &Options) -> String {
    let mut out = format!(
        "{}\n\nUsage: larder-cli [OPTION ...] [COMMAND [ARGUMENT ...]]\n\nWithout a command: a prompt on a terminal, else \
         commands line by line from standard input.\n",
        version(options)
    );
    for section in Section::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\n{}:", section.title());
        for flag in shown(section) {
            entry(&mut out, &label(flag), flag.help);
        }
    }
    out.push_str("\nCommands of the program itself:\n");
    for (word, help) in WORDS {
        entry(&mut out, word, help);
    }
    out
}

/// The flags of a section that have a function.
fn shown(section: Section) -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(move |flag| flag.section == section && !flag.help.is_empty())
}

fn label(flag: &Flag) -> String {
    let names = flag.names.join(", ");
    match flag.value {
        None => names,
        Some(value) if flag.attached_only => format!("{names}[=<{value}>]"),
        Some(value) => format!("{names} <{value}>"),
    }
}

/// A label and its explanation, in two columns.
pub(crate) fn entry(out: &mut String, label: &str, help: &str) {
    let mut line = format!("  {label}");
    if line.len() + 2 > COLUMN {
        out.push_str(&line);
        out.push('\n');
        line.clear();
    }
    let _ = write!(line, "{:1$}", "", COLUMN - line.len());
    for word in help.split(' ') {
        if line.len() + word.len() > WIDTH {
            out.push_str(line.trim_end());
            out.push('\n');
            line = " ".repeat(COLUMN);
        }
        line.push_str(word);
        line.push(' ');
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// What `completions SHELL` or `manual` writes; `None` for a command of the server.
pub(crate) fn page(words: &[Vec<u8>]) -> Option<Result<String, String>> {
    let words: Vec<&str> = words.iter().map(|word| std::str::from_utf8(word).unwrap_or_default()).collect();
    match words.as_slice() {
        ["manual"] => Some(Ok(manual())),
        ["completions", "bash"] => Some(Ok(bash())),
        ["completions", "zsh"] => Some(Ok(zsh())),
        ["completions", "fish"] => Some(Ok(fish())),
        ["completions", ..] => Some(Err("completions: for which shell? bash, zsh or fish".to_owned())),
        _ => None,
    }
}

/// All flags that have a function.
fn all() -> impl Iterator<Item = &'static Flag> {
    Section::ALL.into_iter().flat_map(shown)
}

fn takes_file(flag: &Flag) -> bool {
    matches!(flag.value, Some("file" | "dir" | "socket"))
}

/// Words that begin a command of the program.
fn words() -> Vec<&'static str> {
    WORDS.iter().filter_map(|(word, _)| word.split(' ').next()).collect()
}

fn bash() -> String {
    let names: Vec<&str> = all().flat_map(|flag| flag.names).copied().collect();
    let of = |test: &dyn Fn(&Flag) -> bool| {
        let names: Vec<&str> = all().filter(|flag| test(flag)).flat_map(|flag| flag.names).copied().collect();
        names.join("|")
    };
    let files = of(&takes_file);
    let values = of(&|flag| flag.value.is_some() && !flag.attached_only && !takes_file(flag));
    format!(
        "_larder_cli() {{\n\
         \x20   local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}\n\
         \x20   case $previous in\n\
         \x20       {files}) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n\
         \x20       {values}) return ;;\n\
         \x20       completions) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$current\")); return ;;\n\
         \x20   esac\n\
         \x20   case $current in\n\
         \x20       -*) COMPREPLY=($(compgen -W '{}' -- \"$current\")) ;;\n\
         \x20       *) COMPREPLY=($(compgen -W '{}' -- \"$current\")) ;;\n\
         \x20   esac\n\
         }}\n\
         complete -F _larder_cli larder-cli\n",
        names.join(" "),
        words().join(" "),
    )
}

fn zsh() -> String {
    let mut out = String::from("#compdef larder-cli\n\n_arguments -S \\\n");
    let escape =
        |text: &str| text.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:");
    for flag in all() {
        for name in flag.names {
            let action = if takes_file(flag) { "_files" } else { " " };
            let value = match flag.value {
                Some(value) if !flag.attached_only => format!(":{}:{action}", escape(value)),
                _ => String::new(),
            };
            let _ = writeln!(out, "  '*{name}[{}]{value}' \\", escape(flag.help));
        }
    }
    let _ = writeln!(out, "  '1:command:({})' \\\n  '*:argument: '", words().join(" "));
    out
}

fn fish() -> String {
    let mut out = String::from("complete -c larder-cli -f\n");
    let escape = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    for flag in all() {
        let mut names = String::new();
        for name in flag.names {
            let _ = match name.strip_prefix("--") {
                Some(long) => write!(names, " -l {long}"),
                None => write!(names, " -s {}", name.trim_start_matches('-')),
            };
        }
        let value = match flag.value {
            Some(_) if flag.attached_only => "",
            Some(_) if takes_file(flag) => " -r -F",
            Some(_) => " -x",
            None => "",
        };
        let _ = writeln!(out, "complete -c larder-cli{names}{value} -d '{}'", escape(flag.help));
    }
    for (word, help) in WORDS {
        let name = word.split(' ').next().unwrap_or_default();
        let _ =
            writeln!(out, "complete -c larder-cli -n __fish_use_subcommand -a {name} -d '{}'", escape(help));
    }
    out
}

/// The manual page, in the language of man.
fn manual() -> String {
    let mut out = format!(
        ".TH LARDER-CLI 1 \"\" \"larder-cli {}\" \"User Commands\"\n.SH NAME\nlarder-cli \\- terminal client for Larder, \
         Redis and Valkey servers\n.SH SYNOPSIS\n.B larder-cli\n[\\fIOPTION\\fR ...] [\\fICOMMAND\\fR [\\fIARGUMENT\\fR ...]]\n\
         .SH DESCRIPTION\nSends a command and shows the reply; without a command it is a prompt on a terminal, and else runs \
         the lines of its standard input. Options come first: the first word that is none begins the command. A terminal \
         gets types and quotes, a pipe gets bytes.\n",
        env!("CARGO_PKG_VERSION")
    );
    for section in Section::ALL {
        let _ = writeln!(out, ".SH {}", roff(&section.title().to_uppercase()));
        for flag in shown(section) {
            let _ = writeln!(out, ".TP\n.B {}\n{}", roff(&label(flag)), roff(flag.help));
        }
    }
    out.push_str(".SH COMMANDS OF THE PROGRAM\n");
    for (word, help) in WORDS {
        let _ = writeln!(out, ".TP\n.B {}\n{}", roff(word), roff(help));
    }
    out.push_str(".SH OPTIONS OF BENCH\n");
    for (label, help) in bench::rows() {
        let _ = writeln!(out, ".TP\n.B {}\n{}", roff(&label), roff(help));
    }
    out.push_str(
        ".SH EXIT STATUS\n0 when all is well; 1 when the server answered with an error, could not be reached, or the command \
         line is wrong; 141 when standard output was closed. Called as redis-cli or valkey-cli, an error reply gives 0 \
         unless -e is there.\n.SH ENVIRONMENT\n",
    );
    for (name, help) in ENVIRONMENT {
        let _ = writeln!(out, ".TP\n.B {name}\n{}", roff(help));
    }
    out.push_str(".SH FILES\n");
    for (name, help) in FILES {
        let _ = writeln!(out, ".TP\n.I {}\n{}", roff(name), roff(help));
    }
    out
}

const ENVIRONMENT: &[(&str, &str)] = &[
    ("REDISCLI_AUTH", "The password, where no option gives one."),
    ("REDISCLI_HISTFILE", "The file of the history; /dev/null keeps none."),
    ("REDISCLI_RCFILE", "The file of preferences."),
    ("PAGER", "What shows long replies at the prompt."),
    ("NO_COLOR", "If set, the prompt has no colours."),
    ("FAKETTY", "If set, standard output counts as a terminal."),
];

const FILES: &[(&str, &str)] = &[
    ("~/.larder-cli_history", "The history. Commands with passwords are never in it."),
    ("~/.larderclirc", "Preferences, a line each: :set nohints. Saved connections: :connection NAME URI."),
];

fn roff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    // A line that began with a point or an apostrophe would be a request.
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_in_every_text() {
        let texts = [help(&Options::default()), bash(), zsh(), manual().replace("\\-", "-")];
        for name in all().flat_map(|flag| flag.names) {
            for text in &texts {
                assert!(text.contains(name), "{name} is missing in {text}");
            }
            assert!(fish().contains(name.trim_start_matches('-')), "{name}");
        }
    }

    #[test]
    fn help_fits_its_width() {
        assert!(help(&Options::default()).lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn commands_of_the_server_are_no_pages() {
        assert!(page(&[b"get".to_vec(), b"a".to_vec()]).is_none());
        assert!(page(&[b"completions".to_vec(), b"csh".to_vec()]).is_some_and(|page| page.is_err()));
    }
}
