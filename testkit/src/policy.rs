//! What of a reply Redis promises, and how the rest is compared.
//!
//! For almost every command the reply is determined by the commands before it and compared byte for byte. The exceptions
//! are of five kinds: elements come in no particular order, a number depends on the clock, an element is chosen at
//! random, an iteration uses cursors that mean nothing outside their server, or the command asks about the server rather
//! than its data.

use std::collections::BTreeSet;

use larder_resp::Frame;

use crate::client::{Client, ClientError, Reply, show_bytes, show_command};
use crate::compare::{Both, Mismatch, mismatch};
use crate::grammar::Words;

/// Pages of one iteration after which it is taken for endless.
const PAGES_MAX: usize = 100_000;

/// How the replies to a command are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Byte for byte.
    Exact,
    /// The same elements in any order; elements come in groups of this many.
    Unordered(usize),
    /// SORT by a weight that leaves ties: the same elements in any order; with LIMIT or STORE the same number of them.
    LooselySorted,
    /// Numbers no further apart than this.
    Clock(i64),
    /// An element chosen at random from what this command lists: one that is there, and as many of them.
    Random(&'static str),
    /// SPOP: chosen at random and taken away; afterwards ours is given what the oracle has left.
    Pop,
    /// A range by member, which Redis defines only for sorted sets whose scores are all equal: with others it depends on
    /// the chance in the levels of a skiplist. Compared when they are equal, left out when not.
    Lexical,
    /// A cursor iteration: all that it returns, from cursor 0 to its end.
    Scan,
    /// Only whether it is an error.
    Server,
}

impl Policy {
    /// The policy for a command.
    #[must_use]
    pub fn of(words: &Words) -> Policy {
        let name = words.first().map(|w| String::from_utf8_lossy(w).to_ascii_uppercase()).unwrap_or_default();
        match &name[..] {
            "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" | "HKEYS" | "HVALS" | "KEYS" => Policy::Unordered(1),
            "HGETALL" => Policy::Unordered(2),
            "SORT" | "SORT_RO" => Policy::LooselySorted,
            "TTL" | "EXPIRETIME" => Policy::Clock(3),
            "PTTL" | "PEXPIRETIME" => Policy::Clock(3_000),
            // Redis keeps one object for all keys with the same small integer, so its time is that of whichever key was
            // used last.
            "OBJECT" if words.get(1).is_some_and(|w| w.eq_ignore_ascii_case(b"IDLETIME")) => {
                Policy::Clock(i64::MAX)
            }
            _ if name.ends_with("LEX") || words.iter().any(|w| w.eq_ignore_ascii_case(b"BYLEX")) => {
                Policy::Lexical
            }
            "ZLEXCOUNT" => Policy::Lexical,
            "SRANDMEMBER" => Policy::Random("SMEMBERS"),
            "HRANDFIELD" => Policy::Random("HGETALL"),
            "ZRANDMEMBER" => Policy::Random("ZRANGE"),
            "RANDOMKEY" => Policy::Random("KEYS"),
            "SPOP" => Policy::Pop,
            "SCAN" | "SSCAN" | "HSCAN" | "ZSCAN" => Policy::Scan,
            "TIME" | "LASTSAVE" | "INFO" | "CLIENT" | "LATENCY" => Policy::Server,
            _ => Policy::Exact,
        }
    }

    /// Whether the command may be sent with others in one piece; the rest needs questions of its own before or after.
    pub(crate) fn is_pipelined(self) -> bool {
        !matches!(self, Policy::Random(_) | Policy::Pop | Policy::Scan | Policy::Lexical)
    }

    /// Whether replies that are not the same bytes agree nevertheless.
    pub(crate) fn allows(self, oracle: &Frame, ours: &Frame) -> bool {
        if oracle.is_error() || ours.is_error() {
            return false;
        }
        match self {
            Policy::Exact | Policy::Random(_) | Policy::Pop | Policy::Scan | Policy::Lexical => false,
            Policy::Unordered(group) => {
                same_shape(oracle, ours) && sorted(oracle, group) == sorted(ours, group)
            }
            Policy::LooselySorted => same_shape(oracle, ours),
            Policy::Clock(apart) => match (oracle, ours) {
                (Frame::Integer(a), Frame::Integer(b)) => {
                    *a >= 0 && *b >= 0 && a.abs_diff(*b) <= apart.unsigned_abs()
                }
                _ => false,
            },
            Policy::Server => true,
        }
    }
}

/// Runs a command whose reply cannot be compared by itself.
pub(crate) fn run_alone(both: &mut Both, at: usize, words: &Words) -> Result<(), Mismatch> {
    match Policy::of(words) {
        Policy::Random(lister) => run_random(both, at, words, lister),
        Policy::Pop => run_pop(both, at, words),
        Policy::Lexical => run_lexical(both, at, words),
        _ => run_scan(both, at, words),
    }
}

fn differ(at: usize, words: &Words, oracle: &Reply, ours: &Reply) -> Mismatch {
    mismatch(at, show_command(words), show_bytes(&oracle.raw), show_bytes(&ours.raw))
}

/// Asks one server something that must work.
fn ask(client: &mut Client, at: usize, words: &[&[u8]], is_ours: bool) -> Result<Frame, Mismatch> {
    client.try_cmd(words).map_err(|e: ClientError| {
        let (oracle, ours) =
            if is_ours { (String::new(), e.to_string()) } else { (e.to_string(), String::new()) };
        mismatch(at, show_command(words), oracle, ours)
    })
}

fn run_random(both: &mut Both, at: usize, words: &Words, lister: &str) -> Result<(), Mismatch> {
    let (oracle, ours) = both.ask(at, words)?;
    if oracle.raw == ours.raw {
        return Ok(());
    }
    if oracle.frame.is_error() || ours.frame.is_error() || !same_shape(&oracle.frame, &ours.frame) {
        return Err(differ(at, words, &oracle, &ours));
    }
    let key = words.get(1).map_or(b"*".as_slice(), |key| key);
    let question: &[&[u8]] = match lister {
        "ZRANGE" => &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
        other => &[other.as_bytes(), key],
    };
    let there: BTreeSet<Vec<u8>> = leaves(&ask(&mut both.ours, at, question, true)?).into_iter().collect();
    let chosen = leaves(&ours.frame);
    // A count that is not negative asks for different elements; pairs have their member or field first.
    let distinct = words.get(2).is_some_and(|count| !count.starts_with(b"-"));
    let group = if words.len() > 3 { 2 } else { 1 };
    let firsts: Vec<&Vec<u8>> = chosen.chunks(group).map(|c| &c[0]).collect();
    let different: BTreeSet<&&Vec<u8>> = firsts.iter().collect();
    if chosen.iter().all(|one| there.contains(one)) && (!distinct || different.len() == firsts.len()) {
        return Ok(());
    }
    Err(differ(at, words, &oracle, &ours))
}

fn run_lexical(both: &mut Both, at: usize, words: &Words) -> Result<(), Mismatch> {
    let place = if words[0].eq_ignore_ascii_case(b"ZRANGESTORE") { 2 } else { 1 };
    if let Some(key) = words.get(place) {
        let listed = ask(&mut both.oracle, at, &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"], false)?;
        let listed = if listed.is_error() { Vec::new() } else { leaves(&listed) };
        if listed.chunks(2).any(|pair| pair.last() != listed.get(1)) {
            return Ok(());
        }
    }
    let (oracle, ours) = both.ask(at, words)?;
    if oracle.raw == ours.raw { Ok(()) } else { Err(differ(at, words, &oracle, &ours)) }
}

fn run_pop(both: &mut Both, at: usize, words: &Words) -> Result<(), Mismatch> {
    let Some(key) = words.get(1) else {
        let (oracle, ours) = both.ask(at, words)?;
        return if oracle.raw == ours.raw { Ok(()) } else { Err(differ(at, words, &oracle, &ours)) };
    };
    let list: &[&[u8]] = &[b"SMEMBERS", key];
    let before = leaves(&ask(&mut both.ours, at, list, true)?);
    let (oracle, ours) = both.ask(at, words)?;
    if oracle.frame.is_error() || ours.frame.is_error() || !same_shape(&oracle.frame, &ours.frame) {
        return if oracle.raw == ours.raw { Ok(()) } else { Err(differ(at, words, &oracle, &ours)) };
    }
    if before.is_empty() {
        return Ok(());
    }
    // What was there is now either popped or still there, and nothing is both.
    let mut after = leaves(&ask(&mut both.ours, at, list, true)?);
    after.extend(leaves(&ours.frame));
    let (after, before): (BTreeSet<_>, BTreeSet<_>) = (after.iter().collect(), before.iter().collect());
    let left = leaves(&ask(&mut both.oracle, at, list, false)?);
    if after != before {
        return Err(differ(at, words, &oracle, &ours));
    }
    both.ask(at, &vec![b"DEL".to_vec(), key.clone()])?;
    if !left.is_empty() {
        let mut refill = vec![b"SADD".to_vec(), key.clone()];
        refill.extend(left);
        both.ask(at, &refill)?;
    }
    Ok(())
}

fn run_scan(both: &mut Both, at: usize, words: &Words) -> Result<(), Mismatch> {
    let (oracle, ours) = both.ask(at, words)?;
    if oracle.raw == ours.raw {
        return Ok(());
    }
    let is_scan = words[0].eq_ignore_ascii_case(b"SCAN");
    let place = if is_scan { 1 } else { 2 };
    if oracle.frame.is_error() || ours.frame.is_error() {
        return Err(differ(at, words, &oracle, &ours));
    }
    // A cursor that the server has not handed out may return anything.
    if words.get(place).is_none_or(|cursor| cursor != b"0") {
        return Ok(());
    }
    let group = if words[0].eq_ignore_ascii_case(b"SSCAN") || is_scan { 1 } else { 2 };
    let all_oracle = iterate(&mut both.oracle, at, words, place, group, false)?;
    let all_ours = iterate(&mut both.ours, at, words, place, group, true)?;
    if all_oracle == all_ours {
        return Ok(());
    }
    let show = |all: &BTreeSet<Vec<Vec<u8>>>| {
        let words: Vec<String> = all.iter().map(|group| show_command(group)).collect();
        show_bytes(words.join(" ").as_bytes())
    };
    Err(mismatch(at, format!("all of {}", show_command(words)), show(&all_oracle), show(&all_ours)))
}

/// All that an iteration returns, in groups (a field with its value), without the repetitions that it is allowed.
fn iterate(
    client: &mut Client,
    at: usize,
    words: &Words,
    place: usize,
    group: usize,
    is_ours: bool,
) -> Result<BTreeSet<Vec<Vec<u8>>>, Mismatch> {
    let mut all = BTreeSet::new();
    let mut command = words.clone();
    for _ in 0..PAGES_MAX {
        let borrowed: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        let page = ask(client, at, &borrowed, is_ours)?;
        let [Frame::Bulk(cursor), elements] = page.as_elements().unwrap_or_default() else {
            let text = show_bytes(format!("{page:?}").as_bytes());
            return Err(mismatch(at, show_command(&command), "a cursor and elements".to_owned(), text));
        };
        all.extend(leaves(elements).chunks(group).map(<[Vec<u8>]>::to_vec));
        if cursor == b"0" {
            return Ok(all);
        }
        command[place].clone_from(cursor);
    }
    Err(mismatch(at, show_command(words), String::new(), format!("no end after {PAGES_MAX} pages")))
}

/// Whether two replies are built alike: same types, same numbers of elements.
fn same_shape(a: &Frame, b: &Frame) -> bool {
    match (a, b) {
        (Frame::Array(a), Frame::Array(b))
        | (Frame::Set(a), Frame::Set(b))
        | (Frame::Push(a), Frame::Push(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_shape(a, b))
        }
        (Frame::Map(a), Frame::Map(b)) => a.len() == b.len(),
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

/// The innermost values of a reply in order, as text.
pub(crate) fn leaves(frame: &Frame) -> Vec<Vec<u8>> {
    fn collect(frame: &Frame, into: &mut Vec<Vec<u8>>) {
        match frame {
            Frame::Array(inner) | Frame::Set(inner) | Frame::Push(inner) => {
                inner.iter().for_each(|f| collect(f, into))
            }
            Frame::Map(pairs) => {
                for (key, value) in pairs {
                    collect(key, into);
                    collect(value, into);
                }
            }
            Frame::Attribute { frame, .. } => collect(frame, into),
            Frame::Integer(n) => into.push(n.to_string().into_bytes()),
            Frame::Double(n) => into.push(n.to_string().into_bytes()),
            Frame::Boolean(b) => into.push(b.to_string().into_bytes()),
            Frame::Null | Frame::NullArray => {}
            text => into.push(text.as_bytes().unwrap_or_default().to_vec()),
        }
    }
    let mut all = Vec::new();
    collect(frame, &mut all);
    all
}

/// The leaves of a reply, in groups of this many, the groups in order.
pub(crate) fn sorted(frame: &Frame, group: usize) -> Frame {
    let all = leaves(frame);
    let mut groups: Vec<&[Vec<u8>]> = all.chunks(group).collect();
    groups.sort_unstable();
    Frame::Array(groups.concat().into_iter().map(Frame::Bulk).collect())
}
