//! `:set`: how the prompt behaves. Read from a file at the start, changed at the prompt.

use std::path::PathBuf;

use crate::options::Name;

/// Preferences that are on or off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Preferences {
    pub(crate) hints: bool,
    pub(crate) highlight: bool,
    pub(crate) keys: bool,
    pub(crate) confirm: bool,
    pub(crate) pager: bool,
    pub(crate) utf8: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        let highlight = std::env::var_os("NO_COLOR").is_none();
        Self { hints: true, highlight, keys: true, confirm: true, pager: true, utf8: true }
    }
}

/// One preference.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    field: fn(&mut Preferences) -> &mut bool,
}

pub(crate) const ROWS: &[Row] = &[
    Row { name: "hints", help: "show what may follow while a command is typed", field: |p| &mut p.hints },
    Row { name: "highlight", help: "colour what is typed", field: |p| &mut p.highlight },
    Row { name: "keys", help: "complete names of keys, with a short SCAN", field: |p| &mut p.keys },
    Row { name: "confirm", help: "ask before commands that destroy much", field: |p| &mut p.confirm },
    Row { name: "pager", help: "show long replies in $PAGER, or less", field: |p| &mut p.pager },
    Row { name: "utf8", help: "show text in other scripts as it is, not as escapes", field: |p| &mut p.utf8 },
];

impl Preferences {
    /// Does what a line `:set NAME` says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn apply(&mut self, line: &str) -> Result<(), String> {
        let name = match line.split_whitespace().collect::<Vec<_>>()[..] {
            [":set", name] => name,
            _ => return Err(format!("unknown: '{line}'. Try :set hints, or help")),
        };
        let find = |name: &str| ROWS.iter().find(|row| row.name == name);
        let (row, on) = match (find(name), name.strip_prefix("no").and_then(find)) {
            (Some(row), _) => (row, true),
            (None, Some(row)) => (row, false),
            (None, None) => {
                let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
                return Err(format!(
                    "no preference '{name}', only {} (with 'no' in front: off)",
                    names.join(", ")
                ));
            }
        };
        *(row.field)(self) = on;
        Ok(())
    }

    /// The defaults with what the user's file changes; and what is wrong in it.
    pub(crate) fn load(name: Name) -> (Self, Vec<String>) {
        let mut preferences = Self::default();
        let Some(path) = file(name) else { return (preferences, Vec::new()) };
        let Ok(text) = std::fs::read_to_string(&path) else { return (preferences, Vec::new()) };
        let mut wrong = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || line.starts_with(":connection") {
                continue;
            }
            if let Err(why) = preferences.apply(line) {
                wrong.push(format!("{}:{}: {why}", path.display(), number + 1));
            }
        }
        (preferences, wrong)
    }
}

/// The file: `REDISCLI_RCFILE`, or one in the home directory.
pub(crate) fn file(name: Name) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("REDISCLI_RCFILE") {
        return if path.is_empty() { None } else { Some(path.into()) };
    }
    let file = if name == Name::Legacy { ".redisclirc" } else { ".larderclirc" };
    std::env::home_dir().map(|home| home.join(file))
}

/// The file as help names it.
pub(crate) fn file_label() -> String {
    std::env::var("REDISCLI_RCFILE").unwrap_or_else(|_| "~/.larderclirc".to_owned())
}

/// The address that the user's file gives a name: `:connection NAME URI`.
pub(crate) fn connection(wanted: &str) -> Option<String> {
    let text = std::fs::read_to_string(file(Name::Own)?).ok()?;
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.next() == Some(":connection") && words.next() == Some(wanted);
        if is_it { words.next().map(str::to_owned) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_set_and_unset() {
        let mut preferences = Preferences::default();
        preferences.apply(":set nohints").expect("known");
        assert!(!preferences.hints);
        preferences.apply(":set  hints ").expect("known");
        assert_eq!(preferences, Preferences::default());
    }

    #[test]
    fn unknown_ones_are_named() {
        let mut preferences = Preferences::default();
        assert!(preferences.apply(":set color").expect_err("unknown").contains("color"));
        assert!(preferences.apply(":get hints").is_err());
        assert!(preferences.apply(":").is_err());
    }
}
