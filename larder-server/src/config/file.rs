//! Reading configuration: files, standard input and the command line become lines of words.
//!
//! The syntax is that of redis.conf: one directive per line, words separated by blanks, words in double quotes with
//! escapes (`\n \r \t \b \a \xHH`), words in single quotes, `#` at the start of a line for a comment, and `include` with
//! wildcards in the last part of the path.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Includes within includes, at most.
const DEPTH_MAX: usize = 16;

/// Where a directive stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file and a line in it, from 1 on.
    File(Arc<PathBuf>, usize),
    /// A line of standard input, from 1 on.
    Stdin(usize),
    /// The command line.
    Arguments,
}

impl Place {
    /// Whether lines at both places belong to the same configuration: a later one replaces what an earlier one said.
    pub(crate) fn is_same_source(&self, other: &Place) -> bool {
        matches!(self, Place::Arguments) == matches!(other, Place::Arguments)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path, line) => write!(f, "{}:{line}", path.display()),
            Place::Stdin(line) => write!(f, "standard input:{line}"),
            Place::Arguments => write!(f, "command line"),
        }
    }
}

/// A directive: its name and its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) place: Place,
    pub(crate) words: Vec<String>,
    /// As it was written.
    pub(crate) text: String,
}

/// Something that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    /// The line, with secrets masked; empty if it is not about a line.
    pub(crate) text: String,
    pub(crate) reason: String,
}

/// The lines that were read, and what was wrong with others.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) lines: Vec<Line>,
    pub(crate) problems: Vec<Problem>,
}

impl Lines {
    /// Reads a file and what it includes.
    pub(crate) fn read_file(&mut self, path: &Path) {
        self.include(path, Place::Arguments, "", 0);
    }

    /// Reads a configuration that came through standard input.
    pub(crate) fn read_stdin(&mut self, text: &str) {
        self.read_text(text, Place::Stdin, 0);
    }

    fn include(&mut self, path: &Path, from: Place, line: &str, depth: usize) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let reason = format!("Can't open config file '{}': {error}", path.display());
                self.problems.push(Problem { place: from, text: line.into(), reason });
                return;
            }
        };
        let path = Arc::new(path.to_path_buf());
        self.read_text(&text, |number| Place::File(Arc::clone(&path), number), depth);
    }

    fn read_text(&mut self, text: &str, place: impl Fn(usize) -> Place, depth: usize) {
        for (index, line) in text.lines().enumerate() {
            let place = place(index + 1);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words = match split_words(line) {
                Ok(words) if words.is_empty() => continue,
                Ok(words) => words,
                Err(reason) => {
                    self.problems.push(Problem { place, text: mask(line), reason: reason.into() });
                    continue;
                }
            };
            if words[0].eq_ignore_ascii_case("include") {
                self.include_all(&words[1..], place, line, depth + 1);
            } else {
                self.lines.push(Line { place, words, text: line.into() });
            }
        }
    }

    fn include_all(&mut self, patterns: &[String], place: Place, line: &str, depth: usize) {
        let problem =
            |reason: &str| Problem { place: place.clone(), text: line.into(), reason: reason.into() };
        let [pattern] = patterns else {
            self.problems.push(problem("wrong number of arguments"));
            return;
        };
        if depth > DEPTH_MAX {
            self.problems.push(problem("too many includes within includes"));
            return;
        }
        match expand(Path::new(pattern)) {
            // A pattern that matches nothing is no mistake, a file that is named and missing is one.
            Some(paths) => {
                paths.iter().for_each(|path| self.include(path, place.clone(), line, depth));
            }
            None => self.include(Path::new(pattern), place, line, depth),
        }
    }
}

/// The files that match a path with wildcards in its last part, in order; `None` if it has no wildcards.
fn expand(pattern: &Path) -> Option<Vec<PathBuf>> {
    let name = pattern.file_name()?.to_str()?;
    if !name.contains(['*', '?', '[']) {
        return None;
    }
    let directory = match pattern.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let entry = entry.file_name();
            let is_hidden = entry.as_encoded_bytes().starts_with(b".") && !name.starts_with('.');
            !is_hidden && larder::glob::matches(name.as_bytes(), entry.as_encoded_bytes())
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    Some(found)
}

/// Splits a line into words.
///
/// # Errors
/// Quotes that do not close, text behind a closing quote, bytes that are no UTF-8.
fn split_words(line: &str) -> Result<Vec<String>, &'static str> {
    let words = larder_resp::split_words(line.as_bytes()).ok_or("Unbalanced quotes in configuration line")?;
    words.into_iter().map(|word| String::from_utf8(word).map_err(|_| "a word is no UTF-8")).collect()
}

/// A line as it may be shown: without the value if its name sounds like a secret.
pub(crate) fn mask(line: &str) -> String {
    let bare = line.trim_start_matches('-');
    let name = bare.split([' ', '\t', '=']).next().unwrap_or(bare);
    let lower = name.to_ascii_lowercase();
    let is_secret = ["pas", "auth", "user", "secret"].iter().any(|part| lower.contains(part))
        && lower != "tls-auth-clients"
        || super::nearest(&lower).is_some_and(|known| super::params::SECRETS.contains(&known));
    if is_secret && bare.len() > name.len() {
        format!("{}{name} ****", &line[..line.len() - bare.len()])
    } else {
        line.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_in_a_redis_configuration() {
        let cases: &[(&str, &[&str])] = &[
            ("port 6379", &["port", "6379"]),
            ("  a \t b  ", &["a", "b"]),
            (r#"a "b c" 'd e'"#, &["a", "b c", "d e"]),
            (r#"a "" ''"#, &["a", "", ""]),
            (r#""\x41\n\"\\\q""#, &["A\n\"\\q"]),
            (r"'it\'s' '\n'", &["it's", "\\n"]),
            (r#"a"b c" d"#, &["ab c", "d"]),
        ];
        for (line, words) in cases {
            assert_eq!(split_words(line).as_deref(), Ok(&words.map_strings()[..]), "{line}");
        }
        for bad in [r#"a "b"#, r#"a"b c"#, r#"a "b"c"#, "a 'b", r#""\xff""#] {
            assert!(split_words(bad).is_err(), "{bad}");
        }
    }

    trait MapStrings {
        fn map_strings(&self) -> Vec<String>;
    }

    impl MapStrings for &[&str] {
        fn map_strings(&self) -> Vec<String> {
            self.iter().map(|word| (*word).to_owned()).collect()
        }
    }

    #[test]
    fn secrets_are_masked_even_when_their_name_is_misspelt() {
        for line in
            ["requirepass hunter2", "masterauth hunter2", "requierpas hunter2", "--requirepass hunter2"]
        {
            let shown = mask(line);
            assert!(!shown.contains("hunter2") && shown.ends_with("****"), "{shown}");
        }
        assert_eq!(mask("port hunter2"), "port hunter2");
        assert_eq!(mask("tls-auth-clients maybe"), "tls-auth-clients maybe");
    }
}
