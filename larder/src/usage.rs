//! Usage lines: what a command's arguments look like, read from one line of text.
//!
//! A declaration states its syntax once, as a line in the notation of Redis' documentation:
//!
//! ```text
//! key value [NX|XX] [GET] [EX seconds|PX milliseconds|KEEPTTL]
//! key score member [score member ...]
//! numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]
//! key <BEFORE|AFTER> pivot element
//! ```
//!
//! Everything else about the shape follows from that line: the arity, the argument tree of COMMAND DOCS, syntax help,
//! hints in a terminal and the grammar from which the test generator makes commands. This module turns the line into a
//! tree and knows nothing else.
//!
//! The notation:
//! * A word without small letters stands for itself (`NX`, `*`); any other word names a value (`seconds`).
//! * `[...]` may be left out, `<...>` groups.
//! * `|` separates alternatives. Inside brackets an alternative is everything up to the next `|` (`[EX seconds|PERSIST]`);
//!   outside it is a single word (`key LEFT|RIGHT`). The one exception makes the common form come out right: when all
//!   but the first alternative are single literals and the first has several words of which the last is a literal, then
//!   only that last word belongs to the choice (`[AGGREGATE SUM|MIN|MAX]`).
//! * `[... ...]`, a bracket that ends in three dots, repeats what stands before it, and must spell it out again
//!   (`score member [score member ...]`). With nothing equal before it, it means "any number, even none".
//! * A literal at the start of brackets or of an alternative is the *token* of what follows it: `LIMIT offset count` is
//!   one block with the token LIMIT, `EX seconds` one value with the token EX.

use std::fmt;

/// A parsed usage line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    text: &'static str,
    nodes: Vec<Node>,
}

/// One argument, or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The literal that introduces this argument: `EX` in `EX seconds`.
    pub token: Option<&'static str>,
    /// What it consists of, apart from its token.
    pub shape: Shape,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
    /// Whether a repetition repeats the token too: `GET pattern [GET pattern ...]`.
    pub multiple_token: bool,
}

/// What a node consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A value of this name.
    Value(&'static str),
    /// Nothing but the token.
    Token,
    /// Exactly one of these.
    OneOf(Vec<Node>),
    /// All of these in order.
    Block(Vec<Node>),
}

/// What kind of value a name stands for, in the words of COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The name of a key.
    Key,
    /// Any bytes.
    String,
    /// A signed 64-bit integer in decimal.
    Integer,
    /// A floating-point number.
    Double,
    /// A glob-style pattern.
    Pattern,
    /// A point in time, in seconds or milliseconds since 1970.
    UnixTime,
}

/// The names that usage lines may use, by kind. A name that is missing here is a spelling mistake or a new concept;
/// a meta-test over all declarations tells which names are not known.
const KINDS: &[(Kind, &[&str])] = &[
    (
        Kind::Key,
        &["key", "newkey", "source", "destination", "destkey", "dst", "src", "key1", "key2", "numkey"],
    ),
    (
        Kind::Integer,
        &[
            "client-id",
            "connection-id",
            "count",
            "cursor",
            "decrement",
            "destination-db",
            "end",
            "frequency",
            "increment",
            "index",
            "index1",
            "index2",
            "keylength",
            "len",
            "limit",
            "milliseconds",
            "num-matches",
            "numkeys",
            "offset",
            "port",
            "protover",
            "rank",
            "seconds",
            "start",
            "stop",
            "timeout-milliseconds",
            "ttl",
            "db",
        ],
    ),
    (Kind::Double, &["score", "weight", "float-increment", "timeout", "min-score", "max-score"]),
    (Kind::Pattern, &["pattern"]),
    (Kind::UnixTime, &["unix-time-seconds", "unix-time-milliseconds", "unix-time", "unix-time-ms"]),
    (
        Kind::String,
        &[
            "arg",
            "argument",
            "category",
            "channel",
            "clientname",
            "command",
            "comparison",
            "consumer",
            "element",
            "encoding",
            "event",
            "field",
            "group",
            "id",
            "ip:port",
            "lex-max",
            "lex-min",
            "libname",
            "libver",
            "max",
            "member",
            "member1",
            "member2",
            "message",
            "min",
            "operation",
            "parameter",
            "password",
            "pivot",
            "script",
            "section",
            "serialized-value",
            "shardchannel",
            "sha1",
            "skip",
            "string",
            "subcommand",
            "threshold",
            "type",
            "username",
            "user",
            "value",
            "yes-or-no",
            "laddr",
            "addr",
            "host",
        ],
    ),
];

impl Kind {
    /// The kind of the value that `name` stands for, or `None` for a name that no table row lists.
    #[must_use]
    pub fn of(name: &str) -> Option<Kind> {
        KINDS.iter().find(|(_, names)| names.contains(&name)).map(|(kind, _)| *kind)
    }

    /// The word that COMMAND DOCS uses.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Key => "key",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
        }
    }
}

impl Usage {
    /// Parses a usage line that is a constant of the program.
    ///
    /// # Panics
    /// When the line is malformed. That is a mistake in a declaration, and the test that parses every declaration finds
    /// it; [`Usage::try_parse`] is for lines that come from elsewhere.
    #[must_use]
    pub fn parse(text: &'static str) -> Usage {
        Usage::try_parse(text).unwrap_or_else(|why| panic!("usage line {text:?}: {why}"))
    }

    /// Parses a usage line.
    ///
    /// # Errors
    /// When brackets do not match, or an alternative or a repetition is empty.
    pub fn try_parse(text: &'static str) -> Result<Usage, UsageError> {
        let mut parser = Parser { words: lex(text), at: 0 };
        let nodes = parser.top()?;
        Ok(Usage { text, nodes })
    }

    /// The line as it was written.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// The arguments in order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The arity as COMMAND INFO states it, for a command whose own name has `name_words` words (2 for `CONFIG GET`):
    /// the exact number of words when there is only one, else the smallest number, negated.
    #[must_use]
    pub fn arity(&self, name_words: usize) -> i64 {
        let length = sequence_length(&self.nodes);
        let words = i64::try_from(name_words + length.min).expect("a usage line has few words");
        if length.fixed { words } else { -words }
    }

    /// The names of all values, in order of their appearance, repetitions included.
    #[must_use]
    pub fn value_names(&self) -> Vec<&'static str> {
        fn collect(nodes: &[Node], into: &mut Vec<&'static str>) {
            for node in nodes {
                match &node.shape {
                    Shape::Value(name) => into.push(name),
                    Shape::Token => {}
                    Shape::OneOf(inner) | Shape::Block(inner) => collect(inner, into),
                }
            }
        }
        let mut names = Vec::new();
        collect(&self.nodes, &mut names);
        names
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// How many words something takes: the least, and whether that is the only possibility.
#[derive(Clone, Copy)]
struct Length {
    min: usize,
    fixed: bool,
}

fn sequence_length(nodes: &[Node]) -> Length {
    nodes.iter().fold(Length { min: 0, fixed: true }, |sum, node| {
        let one = node.length();
        Length { min: sum.min + one.min, fixed: sum.fixed && one.fixed }
    })
}

impl Node {
    fn of(shape: Shape) -> Node {
        Node { token: None, shape, optional: false, multiple: false, multiple_token: false }
    }

    fn literal(word: &'static str) -> Node {
        Node { token: Some(word), ..Node::of(Shape::Token) }
    }

    /// The name under which COMMAND DOCS lists the node: a value's own, a literal's in small letters, and for a group
    /// the names of its parts.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.shape {
            Shape::Value(name) => (*name).to_owned(),
            Shape::Token => self.token.unwrap_or_default().to_ascii_lowercase(),
            Shape::OneOf(inner) | Shape::Block(inner) => {
                let names: Vec<String> = inner.iter().map(Node::name).collect();
                names.join("_")
            }
        }
    }

    /// The type that COMMAND DOCS states; a value with an unknown name is a string.
    #[must_use]
    pub fn type_word(&self) -> &'static str {
        match &self.shape {
            Shape::Value(name) => Kind::of(name).unwrap_or(Kind::String).word(),
            Shape::Token => "pure-token",
            Shape::OneOf(_) => "oneof",
            Shape::Block(_) => "block",
        }
    }

    fn length(&self) -> Length {
        let own = usize::from(self.token.is_some());
        let inner = match &self.shape {
            Shape::Value(_) => Length { min: 1, fixed: true },
            Shape::Token => Length { min: 0, fixed: true },
            Shape::Block(nodes) => sequence_length(nodes),
            Shape::OneOf(nodes) => {
                let lengths: Vec<Length> = nodes.iter().map(Node::length).collect();
                let min = lengths.iter().map(|l| l.min).min().unwrap_or(0);
                Length { min, fixed: lengths.iter().all(|l| l.fixed && l.min == min) }
            }
        };
        if self.optional {
            return Length { min: 0, fixed: false };
        }
        Length { min: own + inner.min, fixed: inner.fixed && !self.multiple }
    }

    /// Whether this is a literal that could become the token of what follows it.
    fn is_plain_literal(&self) -> bool {
        matches!(self.shape, Shape::Token) && !self.optional && !self.multiple
    }
}

/// Why a usage line cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// A bracket has no partner.
    Unbalanced,
    /// An alternative, a pair of brackets or a repetition has nothing in it.
    Empty,
    /// Three dots stand elsewhere than at the end of brackets.
    StrayDots,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UsageError::Unbalanced => "a bracket has no partner",
            UsageError::Empty => "nothing between brackets, or beside a bar",
            UsageError::StrayDots => "three dots must end a pair of brackets",
        })
    }
}

impl std::error::Error for UsageError {}

/// A piece of a usage line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Text(&'static str),
    Open,
    Close,
    OpenGroup,
    CloseGroup,
    Bar,
    Dots,
}

fn lex(text: &'static str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let mark = match first {
            '[' => Some(Word::Open),
            ']' => Some(Word::Close),
            '<' => Some(Word::OpenGroup),
            '>' => Some(Word::CloseGroup),
            '|' => Some(Word::Bar),
            _ => None,
        };
        let length = match mark {
            Some(word) => {
                words.push(word);
                1
            }
            None => {
                let end = rest.find([' ', '[', ']', '<', '>', '|']).unwrap_or(rest.len());
                words.push(if &rest[..end] == "..." { Word::Dots } else { Word::Text(&rest[..end]) });
                end
            }
        };
        rest = rest[length..].trim_start();
    }
    words
}

/// What stands between two brackets.
struct Group {
    alternatives: Vec<Vec<Node>>,
    repeats: bool,
}

/// Recursive descent over the words of one line.
struct Parser {
    words: Vec<Word>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Word> {
        let word = self.words.get(self.at).copied();
        self.at += usize::from(word.is_some());
        word
    }

    /// The whole line: a sequence in which a bar joins single words.
    fn top(&mut self) -> Result<Vec<Node>, UsageError> {
        let mut nodes = Vec::new();
        while let Some(word) = self.next() {
            match word {
                Word::Bar => {
                    let before = nodes.pop().ok_or(UsageError::Empty)?;
                    let start = nodes.len();
                    let word = self.next().ok_or(UsageError::Empty)?;
                    self.item(word, &mut nodes)?;
                    if nodes.len() != start + 1 {
                        return Err(UsageError::Empty);
                    }
                    let after = nodes.pop().ok_or(UsageError::Empty)?;
                    nodes.push(choice(before, after));
                }
                other => self.item(other, &mut nodes)?,
            }
        }
        Ok(nodes)
    }

    /// One word or one pair of brackets, appended to the sequence before it (a repetition changes what is there).
    fn item(&mut self, word: Word, nodes: &mut Vec<Node>) -> Result<(), UsageError> {
        match word {
            Word::Text(text) => nodes.push(leaf(text)),
            Word::Open => {
                let group = self.group(Word::Close)?;
                if group.repeats {
                    repeat(nodes, group)?;
                } else {
                    nodes.push(Node { optional: true, ..close(group) });
                }
            }
            Word::OpenGroup => {
                let group = self.group(Word::CloseGroup)?;
                if group.repeats {
                    return Err(UsageError::StrayDots);
                }
                nodes.push(close(group));
            }
            Word::Close | Word::CloseGroup => return Err(UsageError::Unbalanced),
            Word::Bar => return Err(UsageError::Empty),
            Word::Dots => return Err(UsageError::StrayDots),
        }
        Ok(())
    }

    /// Everything up to the closing bracket.
    fn group(&mut self, end: Word) -> Result<Group, UsageError> {
        let mut group = Group { alternatives: vec![Vec::new()], repeats: false };
        loop {
            let word = self.next().ok_or(UsageError::Unbalanced)?;
            let current = group.alternatives.last_mut().ok_or(UsageError::Empty)?;
            if word == end {
                break;
            }
            match word {
                Word::Bar if current.is_empty() => return Err(UsageError::Empty),
                Word::Bar => group.alternatives.push(Vec::new()),
                Word::Dots if self.words.get(self.at) == Some(&end) => group.repeats = true,
                other => self.item(other, current)?,
            }
        }
        if group.alternatives.iter().any(Vec::is_empty) {
            return Err(UsageError::Empty);
        }
        Ok(group)
    }
}

fn leaf(text: &'static str) -> Node {
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        Node::of(Shape::Value(text))
    } else {
        Node::literal(text)
    }
}

/// `before|after` outside brackets, where a third alternative joins the choice of the first two.
fn choice(before: Node, after: Node) -> Node {
    let mut options = match before {
        Node { shape: Shape::OneOf(options), token: None, optional: false, .. } => options,
        other => vec![other],
    };
    options.push(after);
    Node::of(Shape::OneOf(options))
}

/// The node that a pair of brackets stands for.
fn close(group: Group) -> Node {
    let mut alternatives = group.alternatives;
    let literal_tail = alternatives.len() > 1
        && alternatives[1..].iter().all(|a| matches!(&a[..], [only] if only.is_plain_literal()));
    let first_ends_in_literal =
        alternatives[0].len() > 1 && alternatives[0].last().is_some_and(Node::is_plain_literal);
    if literal_tail && first_ends_in_literal {
        let mut sequence = alternatives.remove(0);
        let mut options: Vec<Node> = sequence.pop().into_iter().collect();
        options.extend(alternatives.into_iter().flatten());
        sequence.push(Node::of(Shape::OneOf(options)));
        return join(sequence);
    }
    if alternatives.len() == 1 {
        return join(alternatives.remove(0));
    }
    Node::of(Shape::OneOf(alternatives.into_iter().map(join).collect()))
}

/// One node for a sequence: itself when it is one, else a block; a leading literal becomes the token.
fn join(mut sequence: Vec<Node>) -> Node {
    if sequence.len() == 1 {
        return sequence.remove(0);
    }
    let leads = sequence.first().is_some_and(Node::is_plain_literal);
    let token = if leads { sequence.remove(0).token } else { None };
    if token.is_some() && sequence.len() == 1 && sequence[0].token.is_none() && !sequence[0].optional {
        return Node { token, ..sequence.remove(0) };
    }
    Node { token, ..Node::of(Shape::Block(sequence)) }
}

/// Marks what a repetition repeats; with nothing equal before it, it is an optional repetition of its own.
fn repeat(nodes: &mut Vec<Node>, group: Group) -> Result<(), UsageError> {
    let [content] = &group.alternatives[..] else {
        return Err(UsageError::StrayDots);
    };
    let start = nodes.len().saturating_sub(content.len());
    if nodes[start..] != content[..] {
        let node = close(group);
        let multiple_token = node.token.is_some();
        nodes.push(Node { optional: true, multiple: true, multiple_token, ..node });
        return Ok(());
    }
    let repeated: Vec<Node> = nodes.drain(start..).collect();
    let node = join(repeated);
    let multiple_token = node.token.is_some();
    nodes.push(Node { multiple: true, multiple_token, ..node });
    Ok(())
}
