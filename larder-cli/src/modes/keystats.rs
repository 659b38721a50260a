//! `--keystats`: memory and length of all keys, the largest ones, and totals by type and by prefix.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use crate::format::Format;
use crate::interrupt;
use crate::link::Failure;
use crate::modes::stat::memory;
use crate::modes::walk::{self, Walk, average, percent, shown, words};
use crate::oneshot::Verdict;
use crate::output;
use crate::quote;
use crate::session::Session;

/// Keys per page.
const PAGE: u64 = 100;

/// How many keys and prefixes are shown, unless `--top` says otherwise.
const TOP: usize = 10;

/// How many prefixes are told apart; keys of further ones count as a group of their own.
const PREFIXES_MAX: usize = 100_000;

/// The group of keys whose prefix is one too many.
const OTHERS: &[u8] = b"(others)";

/// Keys that belong together.
#[derive(Default, Clone)]
struct Group {
    keys: u64,
    bytes: u64,
    length: u64,
}

impl Group {
    fn add(&mut self, bytes: u64, length: u64) {
        self.keys += 1;
        // What a server says may add up to more than there is.
        self.bytes = self.bytes.saturating_add(bytes);
        self.length = self.length.saturating_add(length);
    }
}

struct Key {
    bytes: u64,
    length: u64,
    kind: String,
    name: Vec<u8>,
}

struct Stats {
    top: usize,
    separator: Vec<u8>,
    whole: Group,
    types: BTreeMap<String, Group>,
    prefixes: BTreeMap<Vec<u8>, Group>,
    /// The largest, the first the largest.
    largest: Vec<Key>,
    longest: Vec<Key>,
}

pub(crate) fn run(session: &mut Session) -> Verdict {
    interrupt::catch();
    // Looking at keys must not make them look used. Servers before 7.2 do not know how.
    session.ask(&words(&[b"CLIENT", b"NO-TOUCH", b"ON"]))?;
    let options = &session.options.keys;
    let mut stats = Stats {
        top: options.top.unwrap_or(TOP),
        separator: options.separator.clone().unwrap_or_else(|| b":".to_vec()),
        whole: Group::default(),
        types: BTreeMap::new(),
        prefixes: BTreeMap::new(),
        largest: Vec::new(),
        longest: Vec::new(),
    };
    let whole = walk::count(session, "DBSIZE")?;
    let mut walk = Walk::new(session).paged(PAGE);
    let shows_progress = std::io::stderr().is_terminal();
    let mut interrupted_at = None;
    loop {
        let cursor = walk.cursor();
        let page = walk.next(session).and_then(|keys| match keys {
            Some(keys) => stats.page(session, keys).map(|()| true),
            None => Ok(false),
        });
        match page {
            Ok(true) => {}
            Ok(false) => break,
            Err(Failure::Interrupted) => {
                interrupted_at = Some(cursor);
                break;
            }
            Err(failure) => return Err(failure),
        }
        if shows_progress {
            let done = percent(stats.whole.keys, whole.max(stats.whole.keys));
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K{done:.1}% of {whole} keys");
        }
    }
    if shows_progress {
        let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
    }
    let text = match session.format {
        Format::Json | Format::QuotedJson => {
            stats.json(session.format == Format::QuotedJson, interrupted_at.as_deref())
        }
        _ => stats.report(interrupted_at.as_deref()),
    };
    output::write(text.as_bytes()).map(|()| true)
}

impl Stats {
    fn page(&mut self, session: &mut Session, keys: Vec<Vec<u8>>) -> Result<(), Failure> {
        let types = walk::types(session, &keys)?;
        let lengths = walk::lengths(session, &keys, &types)?;
        let memory = walk::memory(session, &keys, session.options.keys.memory_samples)?;
        for (((name, kind), length), bytes) in keys.into_iter().zip(types).zip(lengths).zip(memory) {
            if kind != "none" {
                self.add(Key { bytes, length, kind, name });
            }
        }
        Ok(())
    }

    fn add(&mut self, key: Key) {
        self.whole.add(key.bytes, key.length);
        self.types.entry(key.kind.clone()).or_default().add(key.bytes, key.length);
        let mut prefix = prefix(&key.name, &self.separator);
        if self.prefixes.len() >= PREFIXES_MAX && !self.prefixes.contains_key(prefix) {
            prefix = OTHERS;
        }
        match self.prefixes.get_mut(prefix) {
            Some(group) => group.add(key.bytes, key.length),
            None => self.prefixes.entry(prefix.to_vec()).or_default().add(key.bytes, key.length),
        }
        let copy = Key { kind: key.kind.clone(), name: key.name.clone(), ..key };
        keep(&mut self.longest, copy, self.top, |key| key.length);
        keep(&mut self.largest, key, self.top, |key| key.bytes);
    }

    /// The prefixes that take the most memory.
    fn top_prefixes(&self) -> Vec<(&Vec<u8>, &Group)> {
        let mut all: Vec<_> = self.prefixes.iter().collect();
        all.sort_by_key(|(_, group)| std::cmp::Reverse(group.bytes));
        all.truncate(self.top);
        all
    }

    fn report(&self, interrupted_at: Option<&str>) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{} keys, {}\n", self.whole.keys, size(self.whole.bytes));
        let _ = writeln!(
            out,
            "{:<12}{:>12}{:>12}{:>9}{:>12}{:>14}",
            "type", "keys", "memory", "share", "average", "length"
        );
        for (kind, group) in &self.types {
            let unit = walk::measure(kind).map_or("", |measure| measure.unit);
            let _ = writeln!(out, "{kind:<12}{} {unit}", self.row(group));
        }
        let _ =
            writeln!(out, "\n{:<32}{:>12}{:>12}{:>9}{:>12}", "prefix", "keys", "memory", "share", "average");
        for (prefix, group) in self.top_prefixes() {
            let row = self.row(group);
            let _ = writeln!(out, "{:<32}{}", label(prefix), &row[..45]);
        }
        if self.prefixes.len() > self.top {
            let _ = writeln!(out, "... and {} more (--top)", self.prefixes.len() - self.top);
        }
        let _ = writeln!(out, "\nlargest keys");
        for key in &self.largest {
            let _ = writeln!(out, "{:>12}  {:<8}{}", size(key.bytes), key.kind, shown(&key.name));
        }
        let _ = writeln!(out, "\nlongest keys");
        for key in &self.longest {
            let unit = walk::measure(&key.kind).map_or("", |measure| measure.unit);
            let _ = writeln!(out, "{:>12} {unit:<8} {:<8}{}", key.length, key.kind, shown(&key.name));
        }
        if let Some(cursor) = interrupted_at {
            let _ = writeln!(out, "\ninterrupted; go on with --cursor {cursor}");
        }
        out
    }

    fn row(&self, group: &Group) -> String {
        format!(
            "{:>12}{:>12}{:>8.1}%{:>12}{:>14}",
            group.keys,
            size(group.bytes),
            percent(group.bytes, self.whole.bytes),
            size(average(group.bytes, group.keys) as u64),
            group.length
        )
    }

    fn json(&self, ascii: bool, interrupted_at: Option<&str>) -> String {
        let string = |bytes: &[u8]| {
            let mut out = Vec::new();
            if ascii {
                quote::quoted_json(&mut out, bytes)
            } else {
                quote::json(&mut out, bytes)
            }
            String::from_utf8_lossy(&out).into_owned()
        };
        let group = |group: &Group| {
            format!("\"keys\":{},\"bytes\":{},\"length\":{}", group.keys, group.bytes, group.length)
        };
        let key = |key: &Key| {
            let (name, kind) = (string(&key.name), string(key.kind.as_bytes()));
            format!("{{\"key\":{name},\"type\":{kind},\"bytes\":{},\"length\":{}}}", key.bytes, key.length)
        };
        let list = |rows: Vec<String>| format!("[{}]", rows.join(","));
        let types = self
            .types
            .iter()
            .map(|(kind, g)| format!("{{\"type\":{},{}}}", string(kind.as_bytes()), group(g)));
        let prefixes = self.top_prefixes();
        let prefixes =
            prefixes.iter().map(|(prefix, g)| format!("{{\"prefix\":{},{}}}", string(prefix), group(g)));
        format!(
            "{{{},\"types\":{},\"prefixes\":{},\"largest\":{},\"longest\":{},\"cursor\":\"{}\"}}\n",
            group(&self.whole),
            list(types.collect()),
            list(prefixes.collect()),
            list(self.largest.iter().map(key).collect()),
            list(self.longest.iter().map(key).collect()),
            interrupted_at.unwrap_or("0")
        )
    }
}

/// Puts a key where it belongs among the `top` with the highest `rank`.
fn keep(list: &mut Vec<Key>, key: Key, top: usize, rank: fn(&Key) -> u64) {
    let place = list.partition_point(|other| rank(other) >= rank(&key));
    if place < top {
        list.insert(place, key);
        list.truncate(top);
    }
}

/// The part of a key up to and with its first separator; nothing when it has none.
fn prefix<'a>(key: &'a [u8], separator: &[u8]) -> &'a [u8] {
    let place = key.windows(separator.len()).position(|window| window == separator);
    place.map_or(&[], |at| &key[..at + separator.len()])
}

fn label(prefix: &[u8]) -> String {
    if prefix.is_empty() { "(none)".to_owned() } else { shown(prefix) }
}

fn size(bytes: u64) -> String {
    memory(i64::try_from(bytes).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_with_the_first_separator() {
        assert_eq!(prefix(b"user:1:name", b":"), b"user:");
        assert_eq!(prefix(b"user", b":"), b"");
        assert_eq!(prefix(b"a::b:c", b"::"), b"a::");
        assert_eq!(prefix(b"", b":"), b"");
    }
}
