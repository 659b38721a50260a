//! Configuration: what can be set, from where, and what is in force.
//!
//! Lines come from a file, standard input and the command line (`file.rs`, `args.rs`). Each names a parameter of one of
//! three tables: the server's (`params.rs`), those kept without a function (`kept.rs`), the engine's
//! (`larder::config::params`). Everything that is wrong is collected and reported at once.

pub(crate) mod args;
pub(crate) mod file;
mod kept;
mod lists;
pub(crate) mod params;
#[cfg(test)]
mod reference;

use crate::observe::log::{Level, Log};
use file::{Line, Lines, Place, Problem, mask};
use larder::client::Kind as ClientKind;
use larder::config::Config;
use larder::config::params::PARAMS as ENGINE_PARAMS;
use larder::persist::background::SavePoint;
use params::{Kind, PARAMS, Param, Role};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// A parameter of the engine.
type EngineParam = larder::config::params::Param<Config>;

/// All rows that are the server's to keep, in the order of their values in [`Settings`].
fn rows() -> impl Iterator<Item = &'static Param> {
    PARAMS.iter().chain(kept::KEPT)
}

/// The row of this name or former name, and its place.
fn find(name: &str) -> Option<(usize, &'static Param)> {
    rows().enumerate().find(|(_, row)| {
        row.name.eq_ignore_ascii_case(name) || row.alias.is_some_and(|alias| alias.eq_ignore_ascii_case(name))
    })
}

/// The engine's row of this name or former name.
fn find_engine(name: &str) -> Option<&'static EngineParam> {
    ENGINE_PARAMS.iter().find(|row| {
        row.name.eq_ignore_ascii_case(name) || row.alias.is_some_and(|alias| alias.eq_ignore_ascii_case(name))
    })
}

/// The known name that is most like `name`, if one is much like it.
fn nearest(name: &str) -> Option<&'static str> {
    let all = rows().flat_map(|row| [Some(row.name), row.alias]);
    let engine = ENGINE_PARAMS.iter().flat_map(|row| [Some(row.name), row.alias]);
    let close = all.chain(engine).flatten().map(|known| (distance(known, name), known));
    close.filter(|(distance, known)| *distance <= (known.len() / 3).max(1)).min().map(|(_, known)| known)
}

/// How many letters must be put in, taken out or replaced to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// The values of the server's parameters.
pub(crate) struct Settings {
    values: RwLock<Vec<String>>,
    live: Arc<Live>,
}

impl Settings {
    fn new() -> Settings {
        let values = rows().map(|row| row.default.to_owned()).collect();
        let settings = Settings { values: RwLock::new(values), live: Arc::default() };
        settings.refresh();
        settings
    }

    /// The value of a parameter, as CONFIG GET shows it.
    pub(crate) fn show(&self, name: &str) -> Option<String> {
        find(name).map(|(index, _)| self.values.read()[index].clone())
    }

    /// The value of a parameter of the table.
    pub(crate) fn text(&self, name: &str) -> String {
        self.show(name).unwrap_or_default()
    }

    /// The same as a number.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// The same as a flag.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name) == "yes"
    }

    /// Every name and former name.
    pub(crate) fn names() -> Vec<&'static str> {
        rows().flat_map(|row| [Some(row.name), row.alias]).flatten().collect()
    }

    /// The value to store if CONFIG SET is to set a parameter.
    ///
    /// # Errors
    /// Why it cannot be set.
    pub(crate) fn check(&self, name: &str, value: &str) -> Result<String, String> {
        let Some((index, row)) = find(name) else { return Err("unknown parameter".into()) };
        if !row.is_mutable && row.role != Role::Refused {
            return Err("can't set immutable config".into());
        }
        let replaced = matches!(row.kind, Kind::Words { accumulates: true, .. });
        let present = if replaced { String::new() } else { self.values.read()[index].clone() };
        let value = row.kind.value(&present, &[value])?;
        if row.role == Role::Refused && value != row.default {
            return Err(row.doc.into());
        }
        Ok(value)
    }

    /// Stores a value that [`Settings::check`] has made, or that the server has chosen.
    pub(crate) fn store(&self, name: &str, value: String) {
        if let Some((index, _)) = find(name) {
            self.values.write()[index] = value;
        }
        self.refresh();
    }

    /// The pairs of `save`.
    pub(crate) fn save_points(&self) -> Vec<SavePoint> {
        let text = self.text("save");
        let numbers: Vec<u64> = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        let (pairs, _none) = numbers.as_chunks::<2>();
        pairs.iter().map(|[seconds, changes]| SavePoint { seconds: *seconds, changes: *changes }).collect()
    }

    /// What is looked at while serving.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The parameters without a function that are not what they are by default.
    pub(crate) fn without_function(&self) -> Vec<&'static str> {
        let values = self.values.read();
        let kept =
            rows().zip(values.iter()).filter(|(row, value)| row.role == Role::Kept && row.default != **value);
        kept.map(|(row, _)| row.name).collect()
    }

    /// Whether CONFIG SET of this parameter changes nothing but what CONFIG GET shows.
    pub(crate) fn has_function(name: &str) -> bool {
        find(name).is_none_or(|(_, row)| row.role != Role::Kept)
    }

    /// The place of the log's level in [`Level::NAMES`].
    pub(crate) fn log_level(&self) -> usize {
        let level = self.text("loglevel");
        Level::NAMES.iter().position(|name| *name == level).unwrap_or(Level::Notice as usize)
    }

    /// The log these parameters ask for.
    pub(crate) fn open_log(&self) -> Log {
        let file = self.text("logfile");
        Log::new((!file.is_empty()).then(|| file.into()), self.log_level())
    }

    fn refresh(&self) {
        let live = &self.live;
        live.maxclients.store(self.number("maxclients") as usize, Ordering::Relaxed);
        live.timeout_s.store(self.number("timeout"), Ordering::Relaxed);
        live.keepalive_s.store(self.number("tcp-keepalive"), Ordering::Relaxed);
        live.protected_mode.store(self.is_on("protected-mode"), Ordering::Relaxed);
        live.query_buffer_limit.store(self.number("client-query-buffer-limit") as usize, Ordering::Relaxed);
        let limits = lists::parse_output_limits(&self.text("client-output-buffer-limit"));
        for (stored, limit) in live.output_limits.iter().zip(limits) {
            stored.hard.store(limit.hard, Ordering::Relaxed);
            stored.soft.store(limit.soft, Ordering::Relaxed);
            stored.soft_seconds.store(limit.soft_seconds, Ordering::Relaxed);
        }
    }
}

/// Limits of what may wait to be sent to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutputLimit {
    /// Bytes above which the connection is closed at once; 0 for no limit.
    pub(crate) hard: usize,
    /// Bytes above which it is closed if that lasts; 0 for no limit.
    pub(crate) soft: usize,
    /// For how long it may last.
    pub(crate) soft_seconds: u64,
}

/// Parameters that are looked at while serving; what [`Settings`] holds as text.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) maxclients: AtomicUsize,
    pub(crate) timeout_s: AtomicU64,
    pub(crate) keepalive_s: AtomicU64,
    pub(crate) protected_mode: AtomicBool,
    pub(crate) query_buffer_limit: AtomicUsize,
    /// For normal connections, replicas, subscribers.
    output_limits: [LiveOutputLimit; 3],
}

#[derive(Default)]
struct LiveOutputLimit {
    hard: AtomicUsize,
    soft: AtomicUsize,
    soft_seconds: AtomicU64,
}

impl Live {
    /// The limit for connections of a kind.
    pub(crate) fn output_limit(&self, kind: ClientKind) -> OutputLimit {
        let limit = match kind {
            ClientKind::Normal => &self.output_limits[0],
            ClientKind::Replica | ClientKind::Primary => &self.output_limits[1],
            ClientKind::PubSub => &self.output_limits[2],
        };
        OutputLimit {
            hard: limit.hard.load(Ordering::Relaxed),
            soft: limit.soft.load(Ordering::Relaxed),
            soft_seconds: limit.soft_seconds.load(Ordering::Relaxed),
        }
    }
}

/// A configuration without a mistake.
pub(crate) struct Configuration {
    pub(crate) settings: Settings,
    pub(crate) engine: Config,
}

/// Makes a configuration of lines, or says everything that is wrong with them.
pub(crate) fn load(lines: Lines) -> Result<Configuration, Vec<Problem>> {
    let Lines { lines, mut problems } = lines;
    let settings = Settings::new();
    let mut engine = Config::default();
    let mut said: BTreeMap<&'static str, Place> = BTreeMap::new();
    for line in &lines {
        if let Err(reason) = apply(line, &settings, &mut engine, &mut said) {
            problems.push(Problem { place: line.place.clone(), text: mask(&line.text), reason });
        }
    }
    settings.refresh();
    problems.extend(check_together(&settings, &said));
    if problems.is_empty() { Ok(Configuration { settings, engine }) } else { Err(problems) }
}

fn apply(
    line: &Line,
    settings: &Settings,
    engine: &mut Config,
    said: &mut BTreeMap<&'static str, Place>,
) -> Result<(), String> {
    let (name, words) = line.words.split_first().ok_or("empty directive")?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Some((index, row)) = find(name) {
        let mut values = settings.values.write();
        let goes_on = said.get(row.name).is_some_and(|before| before.is_same_source(&line.place));
        let accumulates = matches!(row.kind, Kind::Words { accumulates: true, .. });
        let present = if accumulates && !goes_on { "" } else { &values[index] };
        let value = row.kind.value(present, &words)?;
        if row.role == Role::Refused && value != row.default {
            return Err(row.doc.into());
        }
        values[index] = value;
        said.insert(row.name, line.place.clone());
        return Ok(());
    }
    if let Some(row) = find_engine(name) {
        let [value] = words[..] else { return Err("wrong number of arguments".into()) };
        row.kind.check(value)?;
        (row.set)(engine, value);
        // The one parameter that is not behind an atomic, because it is fixed once the engine is open.
        if row.name == "databases" {
            engine.databases = value.parse().map_err(|_| "argument couldn't be parsed into an integer")?;
        }
        return Ok(());
    }
    Err(match nearest(&name.to_ascii_lowercase()) {
        Some(known) => format!("Bad directive: there is no '{name}'; did you mean '{known}'?"),
        None => format!("Bad directive: there is no '{name}'"),
    })
}

/// What is wrong although each line for itself is right.
fn check_together(settings: &Settings, said: &BTreeMap<&'static str, Place>) -> Vec<Problem> {
    let is_empty = |name: &str| settings.text(name).is_empty();
    let mut problems = Vec::new();
    let mut wrong = |name: &'static str, reason: &str| {
        let place = said.get(name).cloned().unwrap_or(Place::Arguments);
        let text = format!("{name} {}", settings.text(name));
        problems.push(Problem { place, text, reason: reason.into() });
    };
    if settings.number("tls-port") > 0 {
        if is_empty("tls-cert-file") || is_empty("tls-key-file") {
            wrong("tls-port", "TLS needs tls-cert-file and tls-key-file");
        }
        if settings.text("tls-auth-clients") != "no"
            && is_empty("tls-ca-cert-file")
            && is_empty("tls-ca-cert-dir")
        {
            wrong(
                "tls-port",
                "with tls-auth-clients yes, which is the default, or optional, TLS needs tls-ca-cert-file or \
                 tls-ca-cert-dir; tls-auth-clients no asks clients for no certificate",
            );
        }
    }
    let dir = settings.text("dir");
    match std::fs::metadata(&dir) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => wrong("dir", &format!("Can't chdir to '{dir}': it is not a directory")),
        Err(error) => wrong("dir", &format!("Can't chdir to '{dir}': {error}")),
    }
    if settings.number("port") == 0 && settings.number("tls-port") == 0 && is_empty("unixsocket") {
        wrong("port", "Configured to not listen anywhere, exiting.");
    }
    problems
}

/// All problems, as they are shown before the server gives up.
pub(crate) fn report(problems: &[Problem]) -> String {
    let mut text = format!("\n*** FATAL CONFIG FILE ERROR (Larder {}) ***\n", env!("CARGO_PKG_VERSION"));
    for Problem { place, text: line, reason } in problems {
        text.push_str(&format!("{place}"));
        if !line.is_empty() {
            text.push_str(&format!(": '{line}'"));
        }
        text.push_str(&format!("\n    {reason}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Configuration, Vec<Problem>> {
        let mut lines = Lines::default();
        lines.read_stdin(text);
        load(lines)
    }

    #[test]
    fn no_name_stands_in_two_tables() {
        let mut names = Settings::names();
        names.extend(ENGINE_PARAMS.iter().flat_map(|row| [Some(row.name), row.alias]).flatten());
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn defaults_are_values_that_could_be_set() {
        for row in rows().filter(|row| row.role != Role::Refused) {
            let value = row.kind.value("", &[row.default]);
            assert_eq!(value.as_deref(), Ok(row.default), "{}", row.name);
        }
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let text = "port 99999\nmaxmemroy 2gb\ncluster-enabled yes\nbind \"x\nport\n# port x\nmaxclients 5\n";
        let problems = load_text(text).err().unwrap_or_default();
        let places: Vec<String> = problems.iter().map(|problem| problem.place.to_string()).collect();
        for line in [1, 2, 3, 4, 5] {
            assert!(places.contains(&format!("standard input:{line}")), "{line} of {places:?}");
        }
        assert_eq!(problems.len(), 5);
        assert!(report(&problems).contains("did you mean 'maxmemory'?"));
    }

    #[test]
    fn lines_of_save_add_up_within_a_source_and_replace_those_of_another() {
        let mut lines = Lines::default();
        lines.read_stdin("save 900 1\nsave 60 10 30 20\n");
        assert_eq!(
            load(lines).map(|loaded| loaded.settings.text("save")).ok().as_deref(),
            Some("900 1 60 10 30 20")
        );
        let mut lines = Lines::default();
        lines.read_stdin("save 900 1\n");
        args::read(&["--save".into(), "5 6".into()], &mut lines);
        assert_eq!(load(lines).map(|loaded| loaded.settings.text("save")).ok().as_deref(), Some("5 6"));
    }

    #[test]
    fn a_set_parameter_is_checked_and_in_force() {
        let settings = Settings::new();
        assert!(settings.check("maxclients", "0").is_err());
        assert_eq!(settings.check("port", "1"), Err("can't set immutable config".into()));
        assert!(settings.check("cluster-enabled", "yes").is_err());
        assert_eq!(settings.check("cluster-enabled", "no").as_deref(), Ok("no"));
        let value = settings.check("client-output-buffer-limit", "pubsub 1mb 0 0").unwrap_or_default();
        settings.store("client-output-buffer-limit", value);
        let limit = settings.live().output_limit(ClientKind::PubSub);
        assert_eq!(limit, OutputLimit { hard: 1024 * 1024, soft: 0, soft_seconds: 0 });
        settings.store("timeout", "7".into());
        assert_eq!(settings.live().timeout_s.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn former_names_are_understood() {
        let loaded = load_text("slave-priority 7\nlua-time-limit 9\nhash-max-ziplist-entries 3\n");
        let Ok(loaded) = loaded else { panic!("refused") };
        assert_eq!(loaded.settings.text("replica-priority"), "7");
        assert_eq!(loaded.settings.text("busy-reply-threshold"), "9");
        assert_eq!(loaded.engine.hash_max_listpack_entries.load(Ordering::Relaxed), 3);
        assert_eq!(loaded.settings.without_function(), ["busy-reply-threshold", "replica-priority"]);
    }
}
