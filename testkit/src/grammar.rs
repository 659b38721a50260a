//! Random commands, derived from the usage lines of their declarations.
//!
//! A command is made in three steps. *Expand*: walk the usage tree, leave out some optional parts, repeat some
//! repeatable ones; what remains is a list of slots, each a literal or the name of a value. *Fill*: choose each value
//! from a small pool by its name, knowing the whole command, so that `numkeys` counts the keys that follow and the range
//! of `ZRANGE ... BYLEX` is a lexical one. *Spoil*: about one command in eight is damaged: an argument dropped,
//! doubled, exchanged or replaced by something that does not belong there. Pools are small on purpose: commands must
//! meet on the same keys and members to have anything to disagree about.
//!
//! Times to live are either far away or already over, so that no key expires between the answers of two servers.

use larder::command::Group;
use larder::registry;
use larder::usage::{Node, Shape, Usage};

use crate::rng::Rng;
use crate::values;

/// A command as the words of a request.
pub type Words = Vec<Vec<u8>>;

/// Which keys a command mostly works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Strings.
    String,
    /// Lists.
    List,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Keys of any type.
    Generic,
}

impl Family {
    /// The family for a group name of COMMAND DOCS; groups without a type of their own are generic.
    #[must_use]
    pub fn of_group(group: &str) -> Family {
        match group {
            "string" => Family::String,
            "list" => Family::List,
            "hash" => Family::Hash,
            "set" => Family::Set,
            "sorted-set" | "sorted_set" => Family::SortedSet,
            _ => Family::Generic,
        }
    }

    /// What the names of its keys begin with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Family::String => "str",
            Family::List => "list",
            Family::Hash => "hash",
            Family::Set => "set",
            Family::SortedSet => "zset",
            Family::Generic => "any",
        }
    }

    /// The families that have a type.
    pub const TYPED: &'static [Family] =
        &[Family::String, Family::List, Family::Hash, Family::Set, Family::SortedSet];
}

/// What the generator must know about a command.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The name in capitals, with its container: `SET`, `OBJECT ENCODING`.
    pub name: &'static str,
    /// The parsed usage line.
    pub usage: Usage,
    /// Which keys it works on.
    pub family: Family,
    /// How often it is chosen, relative to the others.
    pub weight: usize,
}

impl Declaration {
    /// A declaration of weight 1.
    ///
    /// # Panics
    /// When the usage line is malformed.
    #[must_use]
    pub fn new(family: Family, name: &'static str, usage: &'static str) -> Declaration {
        Declaration { name, usage: Usage::parse(usage), family, weight: 1 }
    }

    /// The same with another weight.
    #[must_use]
    pub fn weight(mut self, weight: usize) -> Declaration {
        self.weight = weight;
        self
    }
}

/// The engine's own declarations: the commands of this family, and those that work on keys of any type. `keep` sees
/// the full name in capitals (`OBJECT ENCODING`).
#[must_use]
pub fn engine_declarations(family: Family, keep: impl Fn(&str) -> bool) -> Vec<Declaration> {
    let mut found = Vec::new();
    for known in registry::all().filter(|known| known.command.subcommands.is_empty()) {
        // HELP is the same declaration everywhere, and its texts are our own: nothing to compare.
        if known.command.name == "HELP" {
            continue;
        }
        let own = match known.command.group {
            Group::String => Family::String,
            Group::List => Family::List,
            Group::Hash => Family::Hash,
            Group::Set => Family::Set,
            Group::SortedSet => Family::SortedSet,
            Group::Generic => Family::Generic,
            Group::PubSub | Group::Transactions | Group::Cache | Group::Connection | Group::Server => {
                continue;
            }
        };
        let name = known.full_name.to_ascii_uppercase().replace('|', " ");
        if (own == family || own == Family::Generic) && keep(&name) {
            found.push(Declaration::new(own, name.leak(), known.command.usage));
        }
    }
    found
}

/// A generator of random commands.
#[derive(Clone, Debug)]
pub struct Grammar {
    declarations: Vec<Declaration>,
    total_weight: usize,
    /// Of a hundred commands, how many are damaged.
    pub spoiled_percent: usize,
    /// Options that are never chosen, by their tokens: those that the other server does not know.
    pub avoid: Vec<&'static str>,
    /// The time from which absolute expiry times are counted, in seconds since 1970.
    pub now_seconds: i64,
}

/// A place in a command that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Stands for itself.
    Literal(&'static str),
    /// To be filled with a value of this name.
    Value(&'static str),
}

impl Grammar {
    /// A generator that chooses among these declarations.
    ///
    /// # Panics
    /// When there are none, or their weights are all 0.
    #[must_use]
    pub fn new(declarations: Vec<Declaration>) -> Grammar {
        let total_weight = declarations.iter().map(|d| d.weight).sum();
        assert!(total_weight > 0, "a grammar needs commands");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now_seconds = now.map_or(0, |d| i64::try_from(d.as_secs()).expect("before the year 292 billion"));
        Grammar { declarations, total_weight, spoiled_percent: 12, avoid: Vec::new(), now_seconds }
    }

    /// The declarations to choose from.
    #[must_use]
    pub fn declarations(&self) -> &[Declaration] {
        &self.declarations
    }

    /// One random command.
    pub fn command(&self, rng: &mut Rng) -> Words {
        let mut left = rng.below(self.total_weight);
        let chosen = self.declarations.iter().find(|d| {
            let found = left < d.weight;
            left = left.wrapping_sub(if found { 0 } else { d.weight });
            found
        });
        let declaration = chosen.expect("the weights add up to the total");
        let mut words = self.valid(declaration, rng);
        if rng.percent(self.spoiled_percent) {
            spoil(&mut words, rng);
        }
        words
    }

    /// A random command of this declaration that follows its usage line.
    pub fn valid(&self, declaration: &Declaration, rng: &mut Rng) -> Words {
        let mut slots = Vec::new();
        // Now and then a long one, to grow values past the limits of their compact encodings.
        let repeats_max = if rng.percent(1) { 200 } else { 4 };
        self.expand(declaration.usage.nodes(), repeats_max, rng, &mut slots);
        let odd_case = rng.percent(10);
        let mut words: Words = declaration.name.split(' ').map(|word| in_case(word, odd_case, rng)).collect();
        let scene = values::Scene::new(declaration, &slots, self.now_seconds, rng);
        for (at, slot) in slots.iter().enumerate() {
            words.push(match *slot {
                Slot::Literal(word) => in_case(word, odd_case, rng),
                Slot::Value(name) => scene.value(at, name, rng),
            });
        }
        words
    }

    fn expand(&self, nodes: &[Node], repeats_max: usize, rng: &mut Rng, into: &mut Vec<Slot>) {
        let mut order: Vec<&Node> = nodes.iter().filter(|node| !self.avoids(node)).collect();
        // Options may come in any order: turn neighbours among them around sometimes.
        if rng.percent(25) {
            let mut start = 0;
            while start < order.len() {
                let run = order[start..].iter().take_while(|n| n.optional && n.token_or_choice()).count();
                rng.shuffle(&mut order[start..start + run]);
                start += run.max(1);
            }
        }
        for node in order {
            if node.optional && rng.percent(60) {
                continue;
            }
            let times = if node.multiple { 1 + rng.below(repeats_max) } else { 1 };
            for time in 0..times {
                if let Some(token) = node.token
                    && (time == 0 || node.multiple_token)
                {
                    into.push(Slot::Literal(token));
                }
                match &node.shape {
                    Shape::Token => {}
                    Shape::Value(name) => into.push(Slot::Value(name)),
                    Shape::OneOf(choices) => {
                        let left: Vec<&Node> = choices.iter().filter(|node| !self.avoids(node)).collect();
                        if !left.is_empty() {
                            self.expand(std::slice::from_ref(*rng.pick(&left)), repeats_max, rng, into);
                        }
                    }
                    Shape::Block(inner) => self.expand(inner, repeats_max, rng, into),
                }
            }
        }
    }

    fn avoids(&self, node: &Node) -> bool {
        node.token.is_some_and(|token| self.avoid.contains(&token))
    }
}

fn in_case(word: &str, odd: bool, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = word.as_bytes().to_vec();
    if odd {
        for b in &mut bytes {
            if rng.percent(50) {
                *b = b.to_ascii_lowercase();
            }
        }
    }
    bytes
}

/// What only the generator asks of a node.
trait Ordering {
    fn token_or_choice(&self) -> bool;
}

impl Ordering for Node {
    /// Whether a parser can tell this option from its neighbours, wherever it stands.
    fn token_or_choice(&self) -> bool {
        self.token.is_some() || matches!(&self.shape, Shape::OneOf(c) if c.iter().all(|n| n.token.is_some()))
    }
}

/// Damages a command. The name stays: an unknown command is one test, not one in eight.
fn spoil(words: &mut Words, rng: &mut Rng) {
    let count = words.len();
    let at = 1 + rng.below(count.saturating_sub(1));
    if at >= count {
        words.push(values::junk(rng));
        return;
    }
    match rng.below(8) {
        0 => {
            words.remove(at);
        }
        1 => {
            let copy = words[at].clone();
            words.insert(at, copy);
        }
        2 => words.push(values::junk(rng)),
        3 => words.insert(at, values::junk(rng)),
        4 => {
            let other = 1 + rng.below(count - 1);
            words.swap(at, other);
        }
        5 => words.truncate(at),
        _ => words[at] = values::junk(rng),
    }
}
