//! What the line editor asks while somebody types: hints, completion, colours, whether a line is whole.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use crate::prompt::docs::Docs;
use crate::prompt::{Shared, keys, syntax};

/// Words of the prompt itself.
const OWN: &[&str] = &["help", "peek", "connect", "clear", "quit", "exit"];

pub(crate) struct Assistant {
    shared: Rc<RefCell<Shared>>,
}

impl Assistant {
    pub(crate) fn new(shared: Rc<RefCell<Shared>>) -> Self {
        Self { shared }
    }
}

impl Helper for Assistant {}

/// Shown behind the line; never typed for the user, since it is not text but a description.
#[derive(Debug)]
pub(crate) struct UsageHint(String);

impl Hint for UsageHint {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Assistant {
    type Hint = UsageHint;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<UsageHint> {
        let shared = self.shared.try_borrow().ok()?;
        if !shared.preferences.hints || pos < line.len() {
            return None;
        }
        hint(&shared.docs, line).map(UsageHint)
    }
}

/// What may follow a line, with the blank that it needs in front.
pub(crate) fn hint(docs: &Docs, line: &str) -> Option<String> {
    let words = words(line)?;
    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let (doc, named_by) = docs.find(&words)?;
    let text = if doc.is_container && words.len() == 1 {
        let names = docs.subcommands(words[0]).filter_map(|doc| doc.name.split(' ').nth(1));
        names.collect::<Vec<_>>().join(" | ")
    } else {
        syntax::render(&syntax::rest(&doc.usage, &words[named_by..]))
    };
    if text.is_empty() {
        return None;
    }
    Some(if line.ends_with(' ') { text } else { format!(" {text}") })
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let Ok(mut shared) = self.shared.try_borrow_mut() else { return Ok((pos, Vec::new())) };
        let Some(Place { start, before, begun }) = place(&line[..pos]) else { return Ok((pos, Vec::new())) };
        let mut found = candidates(&shared.docs, &before, &begun);
        if found.wants_key && shared.preferences.keys {
            let Shared { session, seen, .. } = &mut *shared;
            found.texts.extend(keys::complete(seen, session, &begun).into_iter().map(|key| typed(&key)));
        }
        let pairs = found
            .texts
            .into_iter()
            .map(|text| Pair { display: text.clone(), replacement: format!("{text} ") });
        Ok((start, pairs.collect()))
    }
}

/// What could stand at a place of a line.
pub(crate) struct Candidates {
    pub(crate) texts: Vec<String>,
    pub(crate) wants_key: bool,
}

/// What could follow the words `before`, beginning as `begun` does.
pub(crate) fn candidates(docs: &Docs, before: &[String], begun: &str) -> Candidates {
    // As it was begun: small letters stay small.
    let is_small = begun.chars().next().is_some_and(|first| first.is_ascii_lowercase());
    let shape = |word: &str| if is_small { word.to_ascii_lowercase() } else { word.to_owned() };
    let fits = |word: &str| {
        word.len() >= begun.len()
            && word.is_char_boundary(begun.len())
            && word[..begun.len()].eq_ignore_ascii_case(begun)
    };
    let words: Vec<&str> = before.iter().map(String::as_str).collect();
    let take = |names: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        names.filter(|name| fits(name)).map(&shape).collect()
    };
    let mut texts = Vec::new();
    let mut wants_key = false;
    match words.as_slice() {
        [] => {
            let mut commands =
                docs.commands.values().map(|doc| doc.name.as_str()).filter(|name| !name.contains(' '));
            texts.extend(take(&mut commands));
            texts.extend(take(&mut OWN.iter().copied()));
            texts.sort_unstable();
            texts.dedup();
        }
        [help] if help.eq_ignore_ascii_case("help") => {
            let mut groups: Vec<String> =
                docs.commands.values().map(|doc| format!("@{}", doc.group)).collect();
            groups.sort_unstable();
            groups.dedup();
            texts.extend(groups.into_iter().filter(|group| fits(group)));
            texts.extend(take(&mut docs.commands.values().map(|doc| doc.name.as_str())));
        }
        [peek] if peek.eq_ignore_ascii_case("peek") => wants_key = true,
        _ => {
            if let [only] = words.as_slice() {
                texts.extend(take(&mut docs.subcommands(only).filter_map(|doc| doc.name.split(' ').nth(1))));
            }
            if let Some((doc, named_by)) = docs.find(&words) {
                let rest = syntax::rest(&doc.usage, &words[named_by..]);
                let (tokens, key) = syntax::next(&rest, keys::is_key);
                texts.extend(take(&mut tokens.iter().map(String::as_str)));
                wants_key = key;
            }
        }
    }
    Candidates { texts, wants_key }
}

/// Where completion happens.
pub(crate) struct Place {
    /// Where the word that is completed begins.
    pub(crate) start: usize,
    /// The words before it.
    pub(crate) before: Vec<String>,
    /// What there is of it.
    pub(crate) begun: String,
}

/// The place at the end of a line; `None` inside of what cannot be completed.
pub(crate) fn place(line: &str) -> Option<Place> {
    let mut all = words(line)?;
    let ends_word = line.is_empty() || line.ends_with([' ', '\t']);
    let last = if ends_word { None } else { all.pop() };
    let (start, begun) = last.map_or((line.len(), String::new()), |word| (word.start, word.text));
    Some(Place { start, before: all.into_iter().map(|word| word.text).collect(), begun })
}

/// A word of a line.
pub(crate) struct Word {
    start: usize,
    text: String,
}

/// The words of a line that may not be whole yet; a quote that is open goes to the end. `None` when a word is not UTF-8.
fn words(line: &str) -> Option<Vec<Word>> {
    let mut all = Vec::new();
    let mut from = 0;
    while let Some(start) = line[from..].find(|c: char| !c.is_ascii_whitespace()).map(|at| from + at) {
        let end = end_of_word(line, start);
        let piece = &line[start..end];
        let closed = ["", "\"", "'"].into_iter().find_map(|quote| {
            larder_resp::split_words(format!("{piece}{quote}").as_bytes()).filter(|words| words.len() == 1)
        });
        let text = closed.and_then(|mut words| words.pop()).unwrap_or_else(|| piece.as_bytes().to_vec());
        all.push(Word { start, text: String::from_utf8(text).ok()? });
        from = end;
    }
    Some(all)
}

fn end_of_word(line: &str, start: usize) -> usize {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, c) in line[start..].char_indices() {
        match (quote, c) {
            _ if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c.is_ascii_whitespace() => return start + at,
            _ => {}
        }
    }
    line.len()
}

/// A key as it must be typed.
fn typed(key: &str) -> String {
    let is_plain = !key.chars().any(|c| c.is_whitespace() || c.is_control() || "\"'\\".contains(c));
    if is_plain {
        return key.to_owned();
    }
    let mut out = Vec::new();
    crate::quote::quoted(&mut out, key.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        match self.shared.try_borrow() {
            Ok(shared) if shared.preferences.highlight => Cow::Owned(coloured(&shared.docs, line)),
            _ => Cow::Owned(masked(line)),
        }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        match self.shared.try_borrow() {
            Ok(shared) if shared.preferences.highlight => Cow::Owned(format!("\x1b[90m{hint}\x1b[0m")),
            _ => Cow::Borrowed(hint),
        }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        true
    }
}

/// A line without colours, in which passwords are stars.
fn masked(line: &str) -> String {
    let start = line.len() - line.trim_start().len();
    let name = start + line[start..].find(char::is_whitespace).unwrap_or(line.len() - start);
    if !line[start..name].eq_ignore_ascii_case("auth") {
        return line.to_owned();
    }
    let rest = line[name..].chars().map(|c| if c.is_whitespace() { c } else { '*' });
    line[..name].chars().chain(rest).collect()
}

/// A line with colours: commands, options, quoted text. Passwords become stars.
pub(crate) fn coloured(docs: &Docs, line: &str) -> String {
    // As long as a quote is open it has no words.
    let Some(all) = words(line) else { return masked(line) };
    let texts: Vec<&str> = all.iter().map(|word| word.text.as_str()).collect();
    let found = docs.find(&texts);
    let is_auth = texts.first().is_some_and(|first| first.eq_ignore_ascii_case("auth"));
    let is_known = found.is_some()
        || texts.first().is_some_and(|first| {
            OWN.contains(first) || first.starts_with(':') || first.parse::<i64>().is_ok()
        });
    let named_by = found.map_or(1, |(_, words)| words);
    let mut out = String::with_capacity(line.len() * 2);
    let mut from = 0;
    for (at, word) in all.iter().enumerate() {
        let end = end_of_word(line, word.start);
        out.push_str(&line[from..word.start]);
        from = end;
        let piece = &line[word.start..end];
        if is_auth && at > 0 {
            out.extend(piece.chars().map(|_| '*'));
            continue;
        }
        let colour = match piece.chars().next() {
            _ if at < named_by && is_known => "1",
            _ if at == 0 => "31",
            Some('"' | '\'') => "32",
            _ if piece.len() > 1 && piece.chars().all(|c| c.is_ascii_uppercase()) => "36",
            _ => "0",
        };
        out.push_str(&format!("\x1b[{colour}m{piece}\x1b[0m"));
    }
    out.push_str(&line[from..]);
    out
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match larder_resp::split_words(context.input().as_bytes()) {
            Some(_) => ValidationResult::Valid(None),
            None => ValidationResult::Invalid(Some("   <- a quote is not closed".to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(line: &str) -> (usize, Vec<String>, bool) {
        let place = place(line).expect("UTF-8");
        let found = candidates(&Docs::built_in(), &place.before, &place.begun);
        (place.start, found.texts, found.wants_key)
    }

    #[test]
    fn commands_subcommands_and_options_are_completed() {
        assert_eq!(complete("getr"), (0, vec!["getrange".to_owned()], false));
        assert!(complete("").1.len() > 100);
        assert!(complete("CONFIG ").1.contains(&"GET".to_owned()));
        assert_eq!(complete("config resets").1, ["resetstat"]);
        assert_eq!(complete("set k v KEE").1, ["KEEPTTL"]);
        assert!(complete("help @sor").1.contains(&"@sorted-set".to_owned()));
    }

    #[test]
    fn keys_are_wanted_where_keys_stand() {
        assert!(complete("get us").2 && complete("mget a b ").2 && complete("peek ").2);
        assert!(!complete("set k ").2 && !complete("ping ").2 && !complete("ge").2);
    }

    #[test]
    fn hints_follow_what_was_typed() {
        let hint = |line: &str| hint(&Docs::built_in(), line).unwrap_or_default();
        assert!(hint("set").starts_with(" key value "));
        assert!(hint("set k ").starts_with("value "));
        assert_eq!(hint("get k"), "");
        assert!(hint("config").contains("GET | "));
        assert_eq!(hint("se"), "");
        assert_eq!(hint("hget \"my ke"), " field");
    }

    #[test]
    fn passwords_are_not_shown() {
        let line = coloured(&Docs::built_in(), "auth user secret");
        assert!(!line.contains("secret") && line.contains("******"), "{line}");
        let open = coloured(&Docs::built_in(), " AUTH \"my sec");
        assert!(!open.contains("my") && !open.contains("sec"), "a quote is open: {open}");
        assert_eq!(masked("auth user secret"), "auth **** ******");
        assert_eq!((masked("get auth"), masked("aut")), ("get auth".to_owned(), "aut".to_owned()));
    }

    #[test]
    fn any_line_can_be_assisted() {
        let docs = Docs::built_in();
        for line in
            ["\"", "'a", "a\"b\\", "ä ö \"ü", "set \"\\xff\" ", "\t \"a\"b", "get \u{1F600}", "5 get x"]
        {
            let _ = (hint(&docs, line), coloured(&docs, line));
            if let Some(place) = place(line) {
                let _ = candidates(&docs, &place.before, &place.begun);
            }
        }
    }
}
