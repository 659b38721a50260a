//! How commands are called, as a tree: for hints and completion while a line is typed.
//!
//! A usage line is the form in which it comes, is shown and is kept in the built-in table: words in capitals stand for
//! themselves, others name an argument; `[a]` may be left out, `<a|b>` is one of several, `[a ...]` goes on.

/// A part of a usage line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    /// An argument.
    Value(String),
    /// A word that stands for itself.
    Token(String),
    /// One of these.
    Choice(Vec<Vec<Node>>),
    /// One of these, or nothing.
    Optional(Vec<Vec<Node>>),
    /// These, any number of times.
    Many(Vec<Node>),
}

/// Deepest nesting that is followed; no command comes near it.
const DEPTH_MAX: usize = 16;

/// Reads a usage line. One that is malformed gives as much of it as can be understood.
pub(crate) fn parse(usage: &str) -> Vec<Node> {
    let mut alternatives = Parser { text: usage, depth: 0 }.alternatives();
    if alternatives.len() == 1 { alternatives.remove(0) } else { vec![Node::Choice(alternatives)] }
}

struct Parser<'a> {
    text: &'a str,
    depth: usize,
}

impl Parser<'_> {
    /// Sequences up to the end or a closing bracket.
    fn alternatives(&mut self) -> Vec<Vec<Node>> {
        let mut all = vec![Vec::new()];
        loop {
            self.text = self.text.trim_start();
            let Some(first) = self.text.chars().next() else { return all };
            match first {
                ']' | '>' => return all,
                '|' => {
                    self.text = &self.text[1..];
                    all.push(Vec::new());
                }
                '[' | '<' if self.depth < DEPTH_MAX => {
                    self.text = &self.text[1..];
                    self.depth += 1;
                    let inner = self.alternatives();
                    self.depth -= 1;
                    // The closing bracket, or the end.
                    self.text = self.text.get(1..).unwrap_or_default();
                    let node = bracket(first == '[', inner);
                    all.last_mut().expect("it begins with one").push(node);
                }
                _ => {
                    let end = self.text[first.len_utf8()..].find(|c: char| " []<>|".contains(c));
                    let end = end.map_or(self.text.len(), |at| at + first.len_utf8());
                    let (word, rest) = self.text.split_at(end);
                    self.text = rest;
                    all.last_mut().expect("it begins with one").push(leaf(word));
                }
            }
        }
    }
}

fn leaf(word: &str) -> Node {
    let is_token =
        word.chars().any(|c| c.is_ascii_uppercase()) && !word.chars().any(|c| c.is_ascii_lowercase());
    if is_token || !word.chars().any(char::is_alphabetic) {
        return Node::Token(word.to_owned());
    }
    Node::Value(word.to_owned())
}

fn bracket(optional: bool, mut inner: Vec<Vec<Node>>) -> Node {
    if let [only] = inner.as_mut_slice()
        && only.last() == Some(&Node::Token("...".to_owned()))
    {
        only.pop();
        return Node::Many(std::mem::take(only));
    }
    if optional { Node::Optional(inner) } else { Node::Choice(inner) }
}

/// The usage line of a tree.
pub(crate) fn render(nodes: &[Node]) -> String {
    nodes.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn one(node: &Node) -> String {
    let any = |all: &[Vec<Node>]| all.iter().map(|nodes| render(nodes)).collect::<Vec<_>>().join("|");
    match node {
        Node::Value(word) | Node::Token(word) => word.clone(),
        Node::Choice(all) => format!("<{}>", any(all)),
        Node::Optional(all) => format!("[{}]", any(all)),
        Node::Many(nodes) => format!("[{} ...]", render(nodes)),
    }
}

/// What may follow when `words` have been typed.
pub(crate) fn rest(nodes: &[Node], words: &[&str]) -> Vec<Node> {
    let mut words = words;
    consume(nodes, &mut words, 0)
}

/// Takes from `words` what belongs to `nodes` and gives what is missing of them. `reserved`: words that belong to what
/// comes behind `nodes`.
fn consume(nodes: &[Node], words: &mut &[&str], reserved: usize) -> Vec<Node> {
    let mut at = 0;
    let mut missing = Vec::new();
    while at < nodes.len() {
        let needed = needed(&nodes[at + 1..]) + reserved;
        match &nodes[at] {
            Node::Optional(_) => {
                let end = nodes[at..].iter().position(|node| !matches!(node, Node::Optional(_)));
                let end = end.map_or(nodes.len(), |count| at + count);
                let behind = self::needed(&nodes[end..]) + reserved;
                missing.extend(options(&nodes[at..end], words, behind));
                at = end;
                continue;
            }
            Node::Many(group) => {
                while words.len() > needed && fits(group, words) {
                    let left = consume(group, words, 0);
                    if !left.is_empty() {
                        missing.extend(left);
                        break;
                    }
                }
                missing.push(nodes[at].clone());
            }
            node if words.is_empty() => missing.push(node.clone()),
            node => {
                // What could have come before this can come no more.
                missing.retain(|node| !matches!(node, Node::Optional(_) | Node::Many(_)));
                match node {
                    Node::Choice(all) => match choose(all, words) {
                        Some(chosen) => missing.extend(consume(chosen, words, needed)),
                        None => missing.push(nodes[at].clone()),
                    },
                    _ => *words = &words[1..],
                }
            }
        }
        at += 1;
    }
    missing
}

/// Neighbouring options, which may come in any order.
fn options(nodes: &[Node], words: &mut &[&str], behind: usize) -> Vec<Node> {
    let mut open: Vec<&Node> = nodes.iter().collect();
    let mut begun = Vec::new();
    while !words.is_empty() {
        // A word that names an option is one; any other may be needed behind.
        let found = open.iter().enumerate().find_map(|(place, node)| {
            let Node::Optional(all) = node else { return None };
            let chosen = choose(all, words)?;
            let is_named = matches!(chosen.first(), Some(Node::Token(_)));
            if is_named || words.len() > behind { Some((place, chosen)) } else { None }
        });
        let Some((place, chosen)) = found else { break };
        let before = words.len();
        let left = consume(chosen, words, behind);
        open.remove(place);
        // What repeats without an end stays open; anything else that is missing must come next.
        let stuck = left.iter().any(|node| !matches!(node, Node::Many(_) | Node::Optional(_)));
        begun.extend(left);
        if stuck || words.len() == before {
            break;
        }
    }
    begun.extend(open.into_iter().cloned());
    begun
}

/// The alternative that the next word begins: by its name, or the first that takes any word.
fn choose<'a>(all: &'a [Vec<Node>], words: &[&str]) -> Option<&'a [Node]> {
    let named = all.iter().find(|nodes| matches!(nodes.first(), Some(Node::Token(_))) && fits(nodes, words));
    let any = || {
        all.iter().find(|nodes| !matches!(nodes.first(), Some(Node::Token(_)) | None) && fits(nodes, words))
    };
    named.or_else(any).map(Vec::as_slice)
}

/// Whether the next word can begin these nodes.
fn fits(nodes: &[Node], words: &[&str]) -> bool {
    match (nodes.first(), words.first()) {
        (Some(Node::Token(token)), Some(word)) => token.eq_ignore_ascii_case(word),
        (Some(Node::Choice(all) | Node::Optional(all)), Some(_)) => choose(all, words).is_some(),
        (Some(Node::Many(group)), Some(_)) => fits(group, words),
        (Some(Node::Value(_)), Some(_)) => true,
        _ => false,
    }
}

/// How many words these nodes need at least.
fn needed(nodes: &[Node]) -> usize {
    let of = |node: &Node| match node {
        Node::Value(_) | Node::Token(_) => 1,
        Node::Choice(all) => all.iter().map(|nodes| needed(nodes)).min().unwrap_or(0),
        Node::Optional(_) | Node::Many(_) => 0,
    };
    nodes.iter().map(of).sum()
}

/// The words that stand for themselves and may come next, and whether an argument of the given sort may.
pub(crate) fn next(rest: &[Node], is_wanted: impl Fn(&str) -> bool + Copy) -> (Vec<String>, bool) {
    let (mut tokens, mut wanted) = (Vec::new(), false);
    let inside = |nodes: &[Node], tokens: &mut Vec<String>, wanted: &mut bool| {
        let (more, found) = next(nodes, is_wanted);
        tokens.extend(more);
        *wanted |= found;
    };
    for node in rest {
        match node {
            Node::Value(name) => return (tokens, wanted || is_wanted(name)),
            Node::Token(name) => {
                tokens.push(name.clone());
                return (tokens, wanted);
            }
            Node::Choice(all) => {
                all.iter().for_each(|nodes| inside(nodes, &mut tokens, &mut wanted));
                return (tokens, wanted);
            }
            Node::Optional(all) => all.iter().for_each(|nodes| inside(nodes, &mut tokens, &mut wanted)),
            Node::Many(nodes) => inside(nodes, &mut tokens, &mut wanted),
        }
    }
    (tokens, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(usage: &str, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        render(&rest(&parse(usage), &words))
    }

    const SET: &str = "key value [NX|XX] [GET] [EX seconds|PX milliseconds|KEEPTTL]";
    const ZADD: &str = "key [NX|XX] [CH] score member [score member ...]";

    #[test]
    fn a_usage_line_is_shown_as_it_was_read() {
        for usage in
            [SET, ZADD, "", "numkeys key [key ...] [LIMIT limit]", "<a|B c> [d]", "key [BYSCORE|BYLEX] * id"]
        {
            assert_eq!(render(&parse(usage)), usage);
        }
    }

    #[test]
    fn what_was_typed_is_not_hinted_again() {
        assert_eq!(left(SET, ""), SET);
        assert_eq!(left(SET, "k"), &SET[4..]);
        assert_eq!(left(SET, "k v"), &SET[10..]);
        assert_eq!(left(SET, "k v px"), "milliseconds [NX|XX] [GET]");
        assert_eq!(left(SET, "k v px 5 nx"), "[GET]");
        assert_eq!(left(SET, "k v get nx keepttl"), "");
    }

    #[test]
    fn what_repeats_goes_on() {
        assert_eq!(left("key [key ...]", "a b c"), "[key ...]");
        assert_eq!(left(ZADD, "z"), &ZADD[4..]);
        assert_eq!(left(ZADD, "z 1"), "member [score member ...]");
        assert_eq!(left(ZADD, "z nx"), "[CH] score member [score member ...]");
        assert_eq!(left(ZADD, "z ch 1 a"), "[score member ...]");
        assert_eq!(left(ZADD, "z ch 1 a 2"), "member [score member ...]");
    }

    #[test]
    fn a_required_choice_is_followed() {
        assert_eq!(left("<MINID|MAXLEN> n [LIMIT count]", "maxlen"), "n [LIMIT count]");
        assert_eq!(left("<MINID|MAXLEN> n", ""), "<MINID|MAXLEN> n");
    }

    #[test]
    fn the_next_words_are_known() {
        let next = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            next(&rest(&parse(SET), &words), |name| name == "key")
        };
        assert_eq!(next(""), (vec![], true));
        assert_eq!(next("k v nx").0, ["GET", "EX", "PX", "KEEPTTL"]);
        assert_eq!(next("k v ex"), (vec![], false));
    }

    #[test]
    fn malformed_lines_end() {
        for usage in ["[", "]", "[[[", "a]b", "<|", "|||", "[...]", "[ ...", "ä[ö", &"[".repeat(1000)] {
            let nodes = parse(usage);
            let _ = rest(&nodes, &["a", "b", "c"]);
            let _ = next(&nodes, |_| true);
        }
    }
}
