//! Names of keys for completion: those that were typed, and what one short SCAN finds.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::link::Failure;
use crate::prompt::docs::Docs;
use crate::prompt::syntax;
use crate::reply::Reply;
use crate::session::Session;

/// Typed names that are remembered.
const SEEN_MAX: usize = 1000;

/// Longest time for a SCAN while somebody waits for Tab, the keys it looks at in one call, and the names it gives.
const SCAN_TIME: Duration = Duration::from_millis(50);
const SCAN_COUNT: &[u8] = b"500";
const FOUND_MAX: usize = 50;

/// Longer names are of no use at a prompt.
const NAME_MAX: usize = 200;

/// Whether an argument of this name is a key.
pub(crate) fn is_key(name: &str) -> bool {
    ["key", "source", "destination", "newkey"].contains(&name)
}

/// The keys of the commands so far, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct SeenKeys {
    order: VecDeque<String>,
    names: BTreeSet<String>,
}

impl SeenKeys {
    /// Remembers one.
    pub(crate) fn note(&mut self, key: &[u8]) {
        let Ok(key) = std::str::from_utf8(key) else { return };
        if key.is_empty() || key.len() > NAME_MAX || !self.names.insert(key.to_owned()) {
            return;
        }
        self.order.push_back(key.to_owned());
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    /// Remembers the keys among the arguments of a command.
    pub(crate) fn note_all(&mut self, docs: &Docs, args: &[Vec<u8>]) {
        let words: Vec<String> = args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some((doc, named_by)) = docs.find(&words) else { return };
        // Very long commands are imports, not typing.
        for at in named_by..args.len().min(named_by + 20) {
            let rest = syntax::rest(&doc.usage, &words[named_by..at]);
            let (_, expects_key) = syntax::next(&rest, is_key);
            if expects_key {
                self.note(&args[at]);
            }
        }
    }

    fn beginning_with(&self, prefix: &str) -> impl Iterator<Item = &String> {
        self.names.range(prefix.to_owned()..).take_while(move |name| name.starts_with(prefix))
    }
}

/// Names that begin with `prefix`, in order.
pub(crate) fn complete(seen: &SeenKeys, session: &mut Session, prefix: &str) -> Vec<String> {
    let mut found: BTreeSet<String> = seen.beginning_with(prefix).take(FOUND_MAX).cloned().collect();
    // In a transaction it would be queued, and a connection that is not there is not opened for this.
    if session.is_connected() && !session.state.in_multi && scan(session, prefix, &mut found).is_err() {
        session.disconnect();
    }
    found.into_iter().take(FOUND_MAX).collect()
}

fn scan(session: &mut Session, prefix: &str, found: &mut BTreeSet<String>) -> Result<(), Failure> {
    let limit = Some(session.options.target.connect_timeout);
    let pattern = format!("{}*", escaped(prefix));
    let (start, mut cursor) = (Instant::now(), b"0".to_vec());
    while start.elapsed() < SCAN_TIME && found.len() < FOUND_MAX {
        let args: [&[u8]; 6] = [b"SCAN", &cursor, b"MATCH", pattern.as_bytes(), b"COUNT", SCAN_COUNT];
        let reply = session.link()?.call(&args, limit)?;
        let Some([next, keys]) = reply.elements() else { return Ok(()) };
        let names = keys.elements().unwrap_or_default().iter().filter_map(Reply::bytes);
        let names =
            names.filter_map(|name| std::str::from_utf8(name).ok()).filter(|name| name.len() <= NAME_MAX);
        found.extend(names.take(FOUND_MAX).map(str::to_owned));
        match next.bytes() {
            Some(next) if next != b"0" => cursor = next.to_vec(),
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// A text as a pattern that matches only itself.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if "*?[]^\\".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_commands_are_remembered() {
        let (docs, mut seen) = (Docs::built_in(), SeenKeys::default());
        let mut note = |line: &str| {
            seen.note_all(&docs, &larder_resp::split_words(line.as_bytes()).expect("balanced"));
        };
        note("set user:1 user:value");
        note("mget user:2 user:3");
        note("client setname user:4");
        assert_eq!(seen.beginning_with("user:").collect::<Vec<_>>(), ["user:1", "user:2", "user:3"]);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut seen = SeenKeys::default();
        (0..2 * SEEN_MAX).for_each(|n| seen.note(n.to_string().as_bytes()));
        assert_eq!((seen.order.len(), seen.names.len()), (SEEN_MAX, SEEN_MAX));
        seen.note(&[b'x'; NAME_MAX + 1]);
        assert_eq!(seen.names.len(), SEEN_MAX);
    }

    #[test]
    fn a_prefix_with_wildcards_means_itself() {
        assert_eq!(escaped("a*[b]?\\"), "a\\*\\[b\\]\\?\\\\");
    }
}
