//! The record of a session: the JSON text that express-session keeps, changed in place.
//!
//! A text written elsewhere may hold what no Rust type keeps: the order of members, members twice, lone surrogates,
//! numbers as they were spelled. So it is never parsed into a value and written again. It is checked once, which also
//! tells where its members are, and then a change cuts out one member's value and puts another in its place; every other
//! byte stays where it was.

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::fmt;
use std::ops::Range;

/// Largest integer that a JavaScript number holds exactly.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// Names that a session object in Node has of its own: what is stored under them is lost when Express loads it.
const RESERVED: &[&str] = &[
    "cookie",
    "id",
    "req",
    "touch",
    "resetMaxAge",
    "save",
    "reload",
    "destroy",
    "regenerate",
    "constructor",
    "toString",
    "valueOf",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "__proto__",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
];

/// Whether a member of this name would be lost in Express.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Whether JavaScript holds every number of this value exactly as it is.
pub(crate) fn is_exact_in_javascript(value: &Value) -> bool {
    match value {
        Value::Number(number) if number.is_f64() => true,
        Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            size.is_some_and(|size| size <= SAFE_INTEGER_MAX)
        }
        Value::Array(list) => list.iter().all(is_exact_in_javascript),
        Value::Object(members) => members.values().all(is_exact_in_javascript),
        _ => true,
    }
}

/// A JSON object as text.
#[derive(Clone)]
pub(crate) struct Record {
    text: String,
    /// Where its members are; `None` until somebody has looked.
    members: Option<Members>,
}

impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        self.text == other.text
    }
}

impl Eq for Record {}

/// All members, in their order; those of most sessions take no allocation.
type Members = SmallVec<[Member; 6]>;

/// Where a member lies in the text, in bytes: its name with the quotes, and its value.
#[derive(Clone)]
struct Member {
    key: Range<u32>,
    value: Range<u32>,
}

impl Record {
    /// A record of this text, or `None` if it is not one JSON object.
    pub(crate) fn parse(bytes: Vec<u8>) -> Option<Record> {
        let mut record = Record::unchecked(bytes)?;
        record.check().then_some(record)
    }

    /// A record of this text, or `None` if it is no text. Until it is [checked](Record::check) nothing may be asked of it
    /// but [`Record::text`] and [`Record::after_first`].
    pub(crate) fn unchecked(bytes: Vec<u8>) -> Option<Record> {
        String::from_utf8(bytes).ok().map(|text| Record { text, members: None })
    }

    /// Whether it is one JSON object. Looks at the text when it is first asked, and knows afterwards.
    pub(crate) fn check(&mut self) -> bool {
        if self.members.is_none() {
            self.members = members_of(&self.text);
        }
        self.members.is_some()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The raw value of a member. Of several with one name the last counts, as in JavaScript.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        last(&self.text, self.members.as_ref()?, name).map(|member| &self.text[spread(&member.value)])
    }

    /// The raw value of a member of a member, if that is an object.
    pub(crate) fn get_in(&self, outer: &str, name: &str) -> Option<&str> {
        let outer = self.get(outer)?;
        if let Some(raw) = only_first(outer, name) {
            return Some(raw);
        }
        last(outer, &members_of(outer)?, name).map(|member| &outer[spread(&member.value)])
    }

    /// All that follows the name of the first member, if it is this one, as it is spelled: for what each request reads.
    pub(crate) fn after_first(&self, name: &str) -> Option<&str> {
        self.text.strip_prefix("{\"")?.strip_prefix(name)?.strip_prefix("\":")
    }

    /// Puts a raw value in the place of a member's value, or a new member at the end.
    pub(crate) fn set(&mut self, name: &str, raw: &str) {
        let members = self.members.as_ref().map_or(&[][..], |members| members);
        if let Some(member) = last(&self.text, members, name) {
            let value = spread(&member.value);
            self.text.replace_range(value, raw);
        } else {
            let comma = if members.is_empty() { "" } else { "," };
            let end = self.text.rfind('}').expect("the text is a JSON object, and ends with its brace");
            self.text.insert_str(end, &format!("{comma}{}:{raw}", Value::from(name)));
        }
        self.members = members_of(&self.text);
    }

    /// Cuts out all members of this name.
    pub(crate) fn remove(&mut self, name: &str) {
        while let Some(member) = self.members.as_ref().and_then(|members| last(&self.text, members, name)) {
            let (key, value) = (spread(&member.key), spread(&member.value));
            let after = self.text[value.end..].trim_start_matches(WHITE);
            let (start, end) = if let Some(rest) = after.strip_prefix(',') {
                (key.start, self.text.len() - rest.len())
            } else {
                let before = self.text[..key.start].trim_end_matches(WHITE);
                (before.strip_suffix(',').map_or(key.start, str::len), value.end)
            };
            self.text.replace_range(start..end, "");
            self.members = members_of(&self.text);
        }
    }
}

/// JSON's white space.
const WHITE: [char; 4] = [' ', '\t', '\n', '\r'];

/// A range as slices want it.
fn spread(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// The last member of this name in the text of an object.
fn last<'a>(text: &str, members: &'a [Member], name: &str) -> Option<&'a Member> {
    members.iter().rev().find(|member| is_key(&text[spread(&member.key)], name))
}

/// The raw value of the first member of an object, if that has this name and it is plain to see that no other has: for
/// what each request reads.
fn only_first<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let rest = object.strip_prefix("{\"")?.strip_prefix(name)?.strip_prefix("\":")?;
    let is_single = memchr::memchr(b'\\', rest.as_bytes()).is_none() && !rest.contains(name);
    let first = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>().next();
    first?.ok().map(RawValue::get).filter(|_| is_single)
}

/// Whether a key, with its quotes, is this name. One that no Rust string can hold (a lone surrogate) is nobody's.
fn is_key(raw: &str, name: &str) -> bool {
    if raw.contains('\\') {
        return serde_json::from_str::<String>(raw).is_ok_and(|key| key == name);
    }
    raw.get(1..raw.len() - 1) == Some(name)
}

/// Where the members of the object in this text are, or `None` if it is not one JSON object (or longer than any store
/// keeps: 4 GiB).
fn members_of(text: &str) -> Option<Members> {
    u32::try_from(text.len()).ok()?;
    let mut parser = serde_json::Deserializer::from_str(text);
    let members = parser.deserialize_map(Walk { start: text.as_ptr().addr() }).ok()?;
    parser.end().ok()?;
    Some(members)
}

/// Notes where members are, and looks into none.
struct Walk {
    /// The address of the text.
    start: usize,
}

impl Walk {
    /// Where in the text a part of it lies.
    fn place(&self, part: &RawValue) -> Range<u32> {
        let part = part.get();
        let start = part.as_ptr().addr() - self.start;
        // Both are below the length of the text, which fits.
        start as u32..(start + part.len()) as u32
    }
}

impl<'a> Visitor<'a> for Walk {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Members::new();
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            members.push(Member { key: self.place(key), value: self.place(value) });
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Rng;

    fn record(text: &str) -> Record {
        Record::parse(text.as_bytes().to_vec()).expect("JSON")
    }

    /// Statements 35 and 40.
    #[test]
    fn s35_s40_one_member_changes_and_no_other_byte() {
        let text = r#" { "cookie" : {"path":"/"},"7":1e21 , "\ud800":"\udfff", "n": 1 ,"a":[{"n":2}],"n":[3, "}"] } "#;
        let mut changed = record(text);
        assert_eq!(changed.get("n"), Some(r#"[3, "}"]"#));
        changed.set("n", "4");
        assert_eq!(changed.text(), text.replace(r#"[3, "}"]"#, "4"));
        changed.set("x\"", "true");
        assert!(changed.text().ends_with(r#""n":4 ,"x\"":true} "#), "{}", changed.text());
        changed.remove("n");
        assert_eq!(changed.get("n"), None);
        assert_eq!(changed.get("7"), Some("1e21"));
        assert_eq!(changed.get("a"), Some(r#"[{"n":2}]"#));
        assert!(Record::parse(changed.text().into()).is_some());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "1", "[]", "{", "{}x", "{\"a\":}", "\u{1}"] {
            assert!(Record::parse(text.into()).is_none(), "{text}");
        }
        assert!(Record::parse(vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}']).is_none());
    }

    #[test]
    fn members_come_and_go_at_every_place() {
        let mut all = record("{}");
        for name in ["a", "b", "c"] {
            all.set(name, "1");
        }
        for (name, left) in [("b", r#"{"a":1,"c":1}"#), ("c", r#"{"a":1}"#), ("a", "{}")] {
            all.remove(name);
            assert_eq!(all.text(), left);
        }
    }

    /// Random changes against serde_json's own object.
    #[test]
    fn random_changes_agree_with_a_map() {
        let mut rng = Rng::new(6);
        let values = ["1", "\"}{,\\\"\"", "[1,{\"a\":[]}]", "{\"b\":{\"a\":null}}", " true"];
        for _ in 0..200 {
            let (mut text, mut map) = (record(" {\n} "), serde_json::Map::new());
            for _ in 0..20 {
                let name = ["a", "b", "é\"", "\\"][rng.below(4)];
                let raw = values[rng.below(5)];
                if rng.below(3) == 0 {
                    text.remove(name);
                    map.remove(name);
                } else {
                    text.set(name, raw);
                    map.insert(name.to_owned(), serde_json::from_str(raw).expect("JSON"));
                }
                assert_eq!(
                    serde_json::from_str::<Value>(text.text()).expect("JSON"),
                    Value::Object(map.clone())
                );
            }
        }
    }

    /// Any bytes either are refused or can be changed.
    #[test]
    fn random_bytes_never_break_the_walk() {
        let mut rng = Rng::new(7);
        let alphabet = b"{}[]\":,\\u0d8a 1e-.\n";
        for _ in 0..20_000 {
            let mut bytes = br#"{"a":{"b":[1,"x\"y"]},"c":"\u0041"}"#.to_vec();
            for _ in 0..rng.below(4) {
                let at = rng.below(bytes.len());
                bytes[at] = alphabet[rng.below(alphabet.len())];
            }
            let Some(mut record) = Record::parse(bytes) else { continue };
            record.set("a", "1");
            record.remove("c");
            assert_eq!(record.get("a"), Some("1"));
            assert!(Record::parse(record.text.into_bytes()).is_some());
        }
    }
}
