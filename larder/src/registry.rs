//! From a name to its command.

use crate::command::{Command, Find, Group, Keys, Run, Trait};
use crate::commands;
use crate::usage::Usage;
use larder_resp::Request;
use larder_structures::decimal;
use std::sync::OnceLock;

/// A command as the registry knows it: its declaration and what was worked out from it once.
#[derive(Debug)]
pub struct Registered {
    /// The declaration.
    pub command: &'static Command,
    /// The container it belongs to, if it is a subcommand.
    pub parent: Option<&'static Command>,
    /// Dense number, for tables of statistics.
    pub id: usize,
    /// As COMMAND INFO shows it: exact when positive, a minimum when negative; the name counts.
    pub arity: i64,
    /// `get`, or `config|get`.
    pub full_name: String,
    /// Numbers of its subcommands.
    subcommands: Vec<usize>,
    /// The one key at argument 1, the case that planning does not have to look further for.
    pub(crate) single_key: bool,
    /// A command on that one key which never takes long: the case that execution does not have to look further for.
    pub(crate) is_short: bool,
    /// Whether a short command looks up, in the collection under its key, what argument 2 names.
    pub(crate) looks_up_member: bool,
    /// Whether it writes keys.
    pub(crate) is_write: bool,
    /// Whether it holds the gate for nearly all of its time.
    pub(crate) holds_gate: bool,
    words: usize,
}

struct Registry {
    all: Vec<Registered>,
    /// Open addressing over the names of top-level commands.
    slots: Vec<Slot>,
}

/// A place in the table of names.
#[derive(Clone, Copy)]
struct Slot {
    /// Eight letters of the name, folded; see [`head`].
    head: u64,
    /// Length of the name; 0 for an empty slot.
    len: u8,
    /// Whether head and length are all there is to compare: a name of at most eight letters and nothing but letters.
    is_short: bool,
    id: u16,
}

const SLOTS: usize = 1024;
const EMPTY: Slot = Slot { head: 0, len: 0, is_short: false, id: 0 };

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(Registry::build)
}

impl Registry {
    fn build() -> Registry {
        let mut all = Vec::new();
        let mut slots = vec![EMPTY; SLOTS];
        for command in commands::FAMILIES.iter().flat_map(|family| family.iter()) {
            let id = all.len();
            all.push(Registered::new(command, None, id));
            for subcommand in command.subcommands {
                let sub_id = all.len();
                all.push(Registered::new(subcommand, Some(command), sub_id));
                all[id].subcommands.push(sub_id);
            }
            let name = command.name.as_bytes();
            let head = head(name);
            let mut at = spread(name, head);
            while slots[at].len != 0 {
                at = (at + 1) % SLOTS;
            }
            let is_short = name.len() <= 8 && name.iter().all(u8::is_ascii_uppercase);
            slots[at] = Slot { head, len: name.len() as u8, is_short, id: id as u16 };
        }
        Registry { all, slots }
    }
}

impl Registered {
    fn new(command: &'static Command, parent: Option<&'static Command>, id: usize) -> Registered {
        let words = if parent.is_some() { 2 } else { 1 };
        let arity = match command.arity {
            0 if command.subcommands.is_empty() => Usage::parse(command.usage).arity(words),
            0 => -2,
            stated => stated,
        };
        let full_name = match parent {
            Some(parent) => format!("{}|{}", parent.name, command.name).to_ascii_lowercase(),
            None => command.name.to_ascii_lowercase(),
        };
        let single_key = matches!(command.keys, [Keys { find: Find::Range { first: 1, last: 1, .. }, .. }]);
        let is_short =
            single_key && command.work.is_none() && matches!(command.run, Run::Read(_) | Run::Write(_));
        let looks_up_member = is_short
            && matches!(command.group, Group::Hash | Group::Set)
            && ["key field", "key member"].iter().any(|start| command.usage.starts_with(start));
        Registered {
            command,
            parent,
            id,
            arity,
            full_name,
            subcommands: Vec::new(),
            single_key,
            is_short,
            looks_up_member,
            is_write: command.is_write(),
            holds_gate: matches!(command.run, Run::Gate(..)) || command.is(Trait::HoldsGate),
            words,
        }
    }

    /// Whether a request of `words` words, the name included, fits the arity.
    #[inline]
    pub fn accepts(&self, words: usize) -> bool {
        let words = words as i64;
        if self.arity >= 0 { words == self.arity } else { words >= -self.arity }
    }

    /// Its subcommands.
    pub fn subcommands(&self) -> impl Iterator<Item = &'static Registered> + '_ {
        self.subcommands.iter().map(|id| &registry().all[*id])
    }

    /// Its subcommand of this name, in whatever case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Registered> {
        self.subcommands().find(|sub| name.eq_ignore_ascii_case(sub.command.name.as_bytes()))
    }

    /// How many words of a request are its name.
    #[inline]
    pub fn words(&self) -> usize {
        self.words
    }
}

/// Every command and subcommand, containers before their subcommands.
pub fn all() -> impl ExactSizeIterator<Item = &'static Registered> {
    registry().all.iter()
}

/// The command of this name, in whatever case.
#[inline]
pub fn find(name: &[u8]) -> Option<&'static Registered> {
    let registry = registry();
    let head = head(name);
    let mut at = spread(name, head);
    loop {
        let slot = registry.slots[at];
        if slot.len == 0 {
            return None;
        }
        if slot.head == head && usize::from(slot.len) == name.len() {
            let candidate = &registry.all[usize::from(slot.id)];
            if slot.is_short || candidate.command.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(candidate);
            }
        }
        at = (at + 1) % SLOTS;
    }
}

/// Bytes of a name with the bit cleared that tells small letters from capitals: the first eight, or of a shorter name
/// all of them, in an order that depends on its length. Only a letter folds to a capital letter, so for names of
/// letters of the same length, up to eight, equal heads are equal letters.
#[inline]
fn head(name: &[u8]) -> u64 {
    const FOLD: u64 = 0xdfdf_dfdf_dfdf_dfdf;
    let word = if let Some(first) = name.first_chunk::<8>() {
        u64::from_le_bytes(*first)
    } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        // The two overlap in names of less than eight letters.
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
    } else if let [first, .., last] = name {
        u64::from(*first) | u64::from(name[name.len() / 2]) << 8 | u64::from(*last) << 16
    } else {
        name.first().map_or(0, |only| u64::from(*only))
    };
    word & FOLD
}

/// Where a name begins to look.
#[inline]
fn spread(name: &[u8], head: u64) -> usize {
    let last = name.last().map_or(0, |last| u64::from(last & 0xdf));
    let mixed = (head ^ last << 56 ^ (name.len() as u64) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 54) as usize
}

/// The positions of the keys of `request`, whose command has been found and whose arity fits. `None` if the number of
/// keys stated in the request is no number or does not fit.
pub fn key_positions(keys: &[Keys], request: Request<'_>) -> Option<Vec<usize>> {
    let mut positions = Vec::new();
    for keys in keys {
        match keys.find {
            Find::Range { first, last, step } => {
                let last = if last < 0 { request.len() as i64 + last } else { last };
                let last = last.min(request.len() as i64 - 1);
                let mut at = first as i64;
                while at <= last {
                    positions.push(at as usize);
                    at += step as i64;
                }
            }
            Find::Count { at, first } => {
                let count = decimal::parse_canonical_i64(request.get(at)?)?;
                let room = request.len().saturating_sub(first) as i64;
                if count < 1 || count > room {
                    return None;
                }
                positions.extend(first..first + count as usize);
            }
        }
    }
    Some(positions)
}
