//! What COMMAND and the generated reference tell of a command, worked out from its declaration.
//!
//! Nothing here is stated twice: flags, ACL categories and key positions follow from the handler's kind, the cost, the
//! traits and the keys of the declaration. Cluster clients route by these facts, so a test compares every one of them
//! with those of a real server.

use crate::command::{Access, Command, Cost, Find, Group, Keys, Memory, Run, Trait};
use crate::registry::Registered;
use std::collections::BTreeSet;

/// Flags that follow from a single trait, in the words of COMMAND INFO.
const TRAIT_FLAGS: &[(Trait, &str)] = &[
    (Trait::Admin, "admin"),
    (Trait::PubSub, "pubsub"),
    (Trait::NoScript, "noscript"),
    (Trait::Loading, "loading"),
    (Trait::Stale, "stale"),
    (Trait::SkipMonitor, "skip_monitor"),
    (Trait::SkipSlowlog, "skip_slowlog"),
    (Trait::NoAuth, "no_auth"),
    (Trait::NoMandatoryKeys, "no_mandatory_keys"),
    (Trait::NoAsyncLoading, "no_async_loading"),
    (Trait::NoMulti, "no_multi"),
    (Trait::AllowBusy, "allow_busy"),
];

/// The flags of COMMAND INFO.
pub fn flags(command: &Command) -> Vec<&'static str> {
    let mut flags = Vec::new();
    if command.is_write() {
        flags.push("write");
    }
    // Some commands count as reads although they look at no key.
    if command.is_read() || command.categories.contains(&"@read") {
        flags.push("readonly");
    }
    if command.memory == Memory::Grows {
        flags.push("denyoom");
    }
    if matches!(command.cost, Cost::Fast(_)) {
        flags.push("fast");
    }
    flags.extend(TRAIT_FLAGS.iter().filter(|(wanted, _)| command.is(*wanted)).map(|(_, flag)| *flag));
    let is_counted = command.keys.iter().any(|keys| matches!(keys.find, Find::Count { .. }));
    if is_counted || command.is(Trait::MovableKeys) {
        flags.push("movablekeys");
    }
    flags
}

/// The ACL categories, with their `@`.
pub fn categories(command: &Command) -> BTreeSet<&'static str> {
    let mut categories: BTreeSet<&'static str> = command.categories.iter().copied().collect();
    if command.is_write() {
        categories.insert("@write");
    }
    if command.is_read() {
        categories.insert("@read");
    }
    if command.is(Trait::Admin) {
        categories.extend(["@admin", "@dangerous"]);
    }
    if command.is(Trait::PubSub) {
        categories.insert("@pubsub");
    }
    categories.insert(if matches!(command.cost, Cost::Fast(_)) { "@fast" } else { "@slow" });
    categories
}

/// First key, last key and step, as COMMAND INFO has had them since before there were key specifications: the hull of
/// all ranges that lie beside each other. Keys that are counted have no place in it.
pub fn positions(command: &Command) -> (i64, i64, i64) {
    let mut hull: Option<(i64, i64, i64)> = None;
    for keys in command.keys {
        let Find::Range { first, last, step } = keys.find else { continue };
        let (first, step) = (first as i64, step as i64);
        hull = Some(match hull {
            None => (first, last, step),
            Some((from, to, step)) if to >= 0 && first == to + 1 => (from, last, step),
            Some(hull) => hull,
        });
    }
    hull.unwrap_or((0, 0, 0))
}

/// The flags of a key specification: what is done to the key in capitals, the rest in small letters.
pub fn key_flags(keys: &Keys) -> Vec<String> {
    let access = match keys.access {
        Access::ReadOnly => "RO",
        Access::ReadWrite => "RW",
        Access::Overwrite => "OW",
        Access::Remove => "RM",
    };
    let words = keys.effect.iter().chain(keys.marks);
    std::iter::once(access.to_owned()).chain(words.map(|word| word.to_ascii_lowercase())).collect()
}

/// The word for a family in COMMAND DOCS.
pub fn group_word(group: Group) -> &'static str {
    match group {
        Group::Generic => "generic",
        Group::String => "string",
        Group::List => "list",
        Group::Hash => "hash",
        Group::Set => "set",
        Group::SortedSet => "sorted-set",
        Group::PubSub => "pubsub",
        Group::Transactions => "transactions",
        Group::Cache => "cache",
        Group::Connection => "connection",
        Group::Server => "server",
    }
}

/// How the work of a command grows, in words.
pub fn complexity(command: &Command) -> &'static str {
    match command.cost {
        Cost::Fast(text) | Cost::Slow(text) => text,
    }
}

/// Whether a command, or any subcommand of it, has keys.
pub fn has_keys(registered: &Registered) -> bool {
    !registered.command.keys.is_empty()
}

/// Whether it only holds subcommands together.
pub fn is_container(command: &Command) -> bool {
    matches!(command.run, Run::Container)
}
