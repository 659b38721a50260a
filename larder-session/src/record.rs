//! The record of a session: the JSON text that express-session keeps, changed in place.
//!
//! A text written elsewhere may hold what no Rust type keeps: the order of members, members twice, lone surrogates,
//! numbers as they were spelled. So it is never parsed into a value and written again. It is checked once, and then a
//! change cuts out one member's value and puts another in its place; every other byte stays where it was.

use serde::de::IgnoredAny;
use serde_json::Value;
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
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    text: String,
}

/// Where a member lies in the text.
struct Member {
    key: Range<usize>,
    value: Range<usize>,
}

impl Record {
    /// A record of this text, or `None` if it is not one JSON object.
    pub(crate) fn parse(bytes: Vec<u8>) -> Option<Record> {
        Record::unchecked(bytes).filter(Record::is_sound)
    }

    /// A record of this text, or `None` if it is no text. Until it is known to be [sound](Record::is_sound) nothing may be
    /// asked of it but [`Record::text`] and [`Record::after_first`].
    pub(crate) fn unchecked(bytes: Vec<u8>) -> Option<Record> {
        String::from_utf8(bytes).ok().map(|text| Record { text })
    }

    /// Whether it is one JSON object.
    pub(crate) fn is_sound(&self) -> bool {
        serde_json::from_str::<IgnoredAny>(&self.text).is_ok()
            && self.text.trim_start_matches(WHITE).starts_with('{')
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The raw value of a member. Of several with one name the last counts, as in JavaScript.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        last(&self.text, name).map(|member| &self.text[member.value])
    }

    /// The raw value of a member of a member, if that is an object.
    pub(crate) fn get_in(&self, outer: &str, name: &str) -> Option<&str> {
        let outer = self.get(outer).filter(|raw| raw.starts_with('{'))?;
        last(outer, name).map(|member| &outer[member.value])
    }

    /// All that follows the name of the first member, if it is this one, as it is spelled: for what each request reads.
    pub(crate) fn after_first(&self, name: &str) -> Option<&str> {
        self.text.strip_prefix("{\"")?.strip_prefix(name)?.strip_prefix("\":")
    }

    /// Puts a raw value in the place of a member's value, or a new member at the end.
    pub(crate) fn set(&mut self, name: &str, raw: &str) {
        if let Some(member) = last(&self.text, name) {
            self.text.replace_range(member.value, raw);
            return;
        }
        let end = self.text.rfind('}').expect("the text is a JSON object, and ends with its brace");
        let mut is_empty = true;
        each_member(&self.text, |_| is_empty = false);
        let comma = if is_empty { "" } else { "," };
        let key = Value::from(name);
        self.text.insert_str(end, &format!("{comma}{key}:{raw}"));
    }

    /// Cuts out all members of this name.
    pub(crate) fn remove(&mut self, name: &str) {
        while let Some(member) = last(&self.text, name) {
            let after = self.text[member.value.end..].trim_start_matches(WHITE);
            let (start, end) = if let Some(rest) = after.strip_prefix(',') {
                (member.key.start, self.text.len() - rest.len())
            } else {
                let before = self.text[..member.key.start].trim_end_matches(WHITE);
                (before.strip_suffix(',').map_or(member.key.start, str::len), member.value.end)
            };
            self.text.replace_range(start..end, "");
        }
    }
}

/// The last member of this name in the text of an object.
fn last(text: &str, name: &str) -> Option<Member> {
    let mut found = None;
    each_member(text, |member| {
        if is_key(&text[member.key.clone()], name) {
            found = Some(member);
        }
    });
    found
}

/// Whether a key, with its quotes, is this name. One that no Rust string can hold (a lone surrogate) is nobody's.
fn is_key(raw: &str, name: &str) -> bool {
    if raw.contains('\\') {
        return serde_json::from_str::<String>(raw).is_ok_and(|key| key == name);
    }
    raw.get(1..raw.len() - 1) == Some(name)
}

/// Walks over the members of an object. The text is known to be JSON, so that this only counts quotes and brackets.
fn each_member(text: &str, mut visit: impl FnMut(Member)) {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    let mut key: Option<Range<usize>> = None;
    let mut value_start = None;
    while at < bytes.len() {
        let start = at;
        at += 1;
        match bytes[start] {
            b'"' => {
                at = end_of_string(bytes, start);
                if depth == 1 && key.is_none() {
                    key = Some(start..at);
                    continue;
                }
            }
            b':' if depth == 1 => continue,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            byte if byte.is_ascii_whitespace() => continue,
            _ => {}
        }
        let is_end = depth == 0 || (depth == 1 && bytes[start] == b',');
        if !is_end {
            // The bracket that opens the object itself begins no value; nothing else comes before its first key.
            if key.is_some() && value_start.is_none() {
                value_start = Some(start);
            }
            continue;
        }
        if let (Some(key), Some(value)) = (key.take(), value_start.take()) {
            let end = value + text[value..start].trim_end_matches(WHITE).len();
            visit(Member { key, value: value..end });
        }
    }
}

/// JSON's white space.
const WHITE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The end of the string that begins here.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(next) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += next;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
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
