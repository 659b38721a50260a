//! What is in the record of a session.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

/// Who has written a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Express,
    Larder,
    Other,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Express => "express",
            Kind::Larder => "larder",
            Kind::Other => "no cookie",
        }
    }
}

pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) user: Option<String>,
    pub(super) members: Map<String, Value>,
}

/// Where applications have the user, the usual places first.
const USERS: &[&[&str]] = &[
    &["passport", "user"],
    &["userId"],
    &["user", "id"],
    &["user", "name"],
    &["user", "username"],
    &["user"],
    &["username"],
];

/// Reads a record.
///
/// # Errors
/// Why it is none.
pub(super) fn parse(text: &[u8]) -> Result<Record, String> {
    let members: Map<String, Value> = match serde_json::from_slice(text) {
        Ok(Value::Object(members)) => members,
        Ok(_) => return Err("not a JSON object".to_owned()),
        Err(why) => return Err(format!("not JSON: {why}")),
    };
    let own = members.get("~").and_then(Value::as_array);
    let kind = match (own, members.get("cookie")) {
        (Some(_), _) => Kind::Larder,
        (None, Some(Value::Object(_))) => Kind::Express,
        _ => Kind::Other,
    };
    let user = match own {
        Some(list) => list.get(4).and_then(scalar),
        None => USERS.iter().find_map(|path| {
            let mut value = members.get(path[0])?;
            for step in &path[1..] {
                value = value.get(step)?;
            }
            scalar(value)
        }),
    };
    Ok(Record { kind, user, members })
}

/// A text or a number.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Record {
    /// Members of the application.
    pub(super) fn data(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.members.iter().filter(|(name, _)| !["cookie", "~"].contains(&name.as_str()))
    }

    /// When the record says that it expires, in milliseconds of Unix time; only Express' say that.
    pub(super) fn expires(&self) -> Option<&str> {
        self.members.get("cookie")?.get("expires")?.as_str()
    }

    /// Writes all of it for people.
    pub(super) fn describe(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "kind      {}", self.kind.name());
        let _ = writeln!(out, "user      {}", self.user.as_deref().unwrap_or("-"));
        if let Some(list) = self.members.get("~").and_then(Value::as_array) {
            let number = |at: usize| list.get(at).and_then(Value::as_u64).unwrap_or(0);
            let text = |at: usize| list.get(at).and_then(Value::as_str).unwrap_or_default();
            let _ = writeln!(out, "created   {} ago", age(number(0)));
            let _ = writeln!(out, "seen      {} ago", age(number(0) + number(1)));
            let _ = writeln!(out, "from      {}  {}", text(6), text(7));
        }
        if let Some(cookie) = self.members.get("cookie") {
            let _ = writeln!(out, "cookie    {cookie}");
        }
        for (name, value) in self.data() {
            let _ = writeln!(out, "{name}: {value:#}");
        }
    }
}

/// How long ago a second of Unix time was.
fn age(at_s: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let seconds = now.saturating_sub(at_s);
    match (seconds / 86_400, seconds / 3_600, seconds / 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, _) => format!("{hours} h"),
        (days, ..) => format!("{days} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_where_applications_have_them() {
        for (text, kind, user) in [
            (r#"{"cookie":{},"passport":{"user":"ann"}}"#, Kind::Express, Some("ann")),
            (r#"{"cookie":{},"userId":7,"username":"x"}"#, Kind::Express, Some("7")),
            (r#"{"cookie":{},"user":{"id":null,"name":"eve"}}"#, Kind::Express, Some("eve")),
            (r#"{"cookie":{},"user":"kim"}"#, Kind::Express, Some("kim")),
            (r#"{"cookie":{}}"#, Kind::Express, None),
            (r#"{"~":[1,2,3,"h","bob",0,"","","",0],"user":"x"}"#, Kind::Larder, Some("bob")),
            (r#"{"~":[1,2,3,"h",null,0,"","","",0]}"#, Kind::Larder, None),
            (r#"{"a":1}"#, Kind::Other, None),
        ] {
            let record = parse(text.as_bytes()).expect("a record");
            assert_eq!((record.kind, record.user.as_deref()), (kind, user), "{text}");
        }
        for text in ["", "[]", "{\"a\":", "\u{fffd}"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
