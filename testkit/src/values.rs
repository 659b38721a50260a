//! Values for the places of a random command, chosen by the place's name.

use crate::grammar::{Declaration, Family, Slot};
use crate::rng::Rng;

/// How many keys each family has.
const KEYS_PER_FAMILY: usize = 12;

/// The sorted sets among them that mostly keep equal scores, as ranges by member need them.
const LEXICAL_KEYS: usize = 4;

/// A command that is being filled: what a value may depend on.
pub(crate) struct Scene<'a> {
    pub(crate) declaration: &'a Declaration,
    pub(crate) slots: &'a [Slot],
    pub(crate) now_seconds: i64,
    /// Whether the command is to work on sorted sets with equal scores.
    pub(crate) lexical: bool,
}

impl<'a> Scene<'a> {
    /// Settles what all values of the command have in common.
    pub(crate) fn new(
        declaration: &'a Declaration,
        slots: &'a [Slot],
        now_seconds: i64,
        rng: &mut Rng,
    ) -> Scene<'a> {
        let by_member = declaration.name.contains("LEX") || slots.contains(&Slot::Literal("BYLEX"));
        let lexical = match declaration.name {
            _ if by_member => rng.percent(85),
            "ZADD" => rng.percent(35),
            _ => false,
        };
        Scene { declaration, slots, now_seconds, lexical }
    }

    /// A value for the place `at`, which has this name.
    pub(crate) fn value(&self, at: usize, name: &str, rng: &mut Rng) -> Vec<u8> {
        match name {
            "key" | "source" | "src" | "key1" | "key2" => self.key(self.lexical, rng),
            // A result has scores of its own, and would spoil a sorted set for ranges by member.
            "destination" | "newkey" | "dst" | "destkey" => self.key(false, rng),
            "numkeys" => self.numkeys(at, rng),
            "field" => field(rng),
            "member" | "member1" | "member2" => member(rng),
            "element" | "pivot" => {
                if rng.percent(50) {
                    member(rng)
                } else {
                    text(rng)
                }
            }
            "score" if self.lexical => b"0".to_vec(),
            "score" | "weight" | "float-increment" => score(rng),
            "increment" | "decrement" => self.increment(rng),
            "min" | "max" | "start" | "stop" | "end" => self.range_end(rng),
            "index" | "rank" | "offset" => index(rng),
            "pattern" => self.pattern(rng),
            "cursor" => pick(
                rng,
                &["0", "0", "0", "0", "0", "0", "0", "0", "0", "17", "-1", "x", "18446744073709551615"],
            ),
            "type" => pick(rng, &["string", "list", "hash", "set", "zset", "stream", "nosuch", "STRING"]),
            "db" | "destination-db" | "index1" | "index2" => {
                pick(rng, &["0", "0", "0", "1", "9", "15", "16", "-1"])
            }
            "count" | "limit" | "num-matches" | "len" => count(rng),
            _ => match larder::usage::Kind::of(name) {
                Some(larder::usage::Kind::Integer) if name.contains("seconds") || name == "ttl" => {
                    self.duration(name, rng)
                }
                Some(larder::usage::Kind::Integer) => integer(rng),
                Some(larder::usage::Kind::UnixTime) => self.unix_time(name, rng),
                Some(larder::usage::Kind::Double) => score(rng),
                _ => text(rng),
            },
        }
    }

    fn has(&self, literal: &'static str) -> bool {
        self.slots.contains(&Slot::Literal(literal))
    }

    /// Mostly a key of the command's own family, sometimes one of another type or one that never exists.
    fn key(&self, lexical: bool, rng: &mut Rng) -> Vec<u8> {
        let family = match (self.declaration.family, rng.below(100)) {
            (Family::Generic, 0..94) | (_, 88..94) => *rng.pick(Family::TYPED),
            (_, 94..) => return pick(rng, &["none", "none:1", "", "key with \r\n bytes \0\u{7f}"]),
            (family, _) => family,
        };
        let number = match family {
            Family::SortedSet if lexical => rng.below(LEXICAL_KEYS),
            // The rest of the commands mostly leave those alone.
            Family::SortedSet if rng.percent(90) => LEXICAL_KEYS + rng.below(KEYS_PER_FAMILY - LEXICAL_KEYS),
            _ => rng.below(KEYS_PER_FAMILY),
        };
        format!("{}:{number}", family.prefix()).into_bytes()
    }

    /// The number of keys that follow, and sometimes another one.
    fn numkeys(&self, at: usize, rng: &mut Rng) -> Vec<u8> {
        let key = |slot: &&Slot| matches!(slot, Slot::Value("key"));
        let keys = self.slots[at + 1..].iter().take_while(key).count();
        match rng.below(100) {
            0..92 => keys.to_string().into_bytes(),
            92..94 => (keys + 1).to_string().into_bytes(),
            94..96 => keys.saturating_sub(1).to_string().into_bytes(),
            _ => pick(rng, &["0", "-1", "x", "1.5", "9223372036854775807", ""]),
        }
    }

    fn increment(&self, rng: &mut Rng) -> Vec<u8> {
        let float = self.declaration.name.ends_with("FLOAT") || self.declaration.family == Family::SortedSet;
        if float && rng.percent(85) { score(rng) } else { integer(rng) }
    }

    /// An end of a range in the kind that the command asks for: by score, by member or by index.
    fn range_end(&self, rng: &mut Rng) -> Vec<u8> {
        let name = self.declaration.name;
        if name.contains("LEX") || self.has("BYLEX") {
            return lexical_end(rng);
        }
        let by_score = name.contains("BYSCORE") || self.has("BYSCORE") || name == "ZCOUNT";
        if by_score { score_end(rng) } else { index(rng) }
    }

    fn pattern(&self, rng: &mut Rng) -> Vec<u8> {
        if self.has("BY") && rng.percent(50) {
            return pick(rng, &["nosort", "str:*", "none:*", "hash:*->f1", "str:*->f1", "*", "#"]);
        }
        if self.has("GET") && rng.percent(50) {
            return pick(rng, &["#", "str:*", "hash:*->f1", "none:*", "hash:*->"]);
        }
        pick(
            rng,
            &[
                "*",
                "*1*",
                "str:*",
                "?1",
                "m[0-5]",
                "m[^0-5]",
                "f?",
                "h*h:[1-3]",
                "\\*",
                "nothing",
                "[a",
                "",
                "**",
            ],
        )
    }

    /// Far away, or over.
    fn duration(&self, name: &str, rng: &mut Rng) -> Vec<u8> {
        if rng.percent(15) {
            return pick(
                rng,
                &[
                    "0",
                    "-1",
                    "-100",
                    "9223372036854775807",
                    "9223372036854775",
                    "-9223372036854775808",
                    "1.5",
                    "x",
                    "",
                ],
            );
        }
        let seconds = rng.between(1_000, 100_000);
        if name.contains("milli") || self.has("ABSTTL") { decimal(seconds * 1_000) } else { decimal(seconds) }
    }

    fn unix_time(&self, name: &str, rng: &mut Rng) -> Vec<u8> {
        if rng.percent(15) {
            return pick(rng, &["0", "1", "-1", "9223372036854775807", "9223372036854775", "x", "1e9"]);
        }
        let seconds = self.now_seconds + rng.between(1_000, 100_000);
        if name.ends_with("ms") || name.contains("milli") {
            decimal(seconds * 1_000)
        } else {
            decimal(seconds)
        }
    }
}

fn decimal(n: i64) -> Vec<u8> {
    n.to_string().into_bytes()
}

fn pick(rng: &mut Rng, from: &[&str]) -> Vec<u8> {
    rng.pick(from).as_bytes().to_vec()
}

fn field(rng: &mut Rng) -> Vec<u8> {
    match rng.below(100) {
        0..80 => format!("f{}", rng.below(12)),
        80..95 => format!("f{}", rng.below(600)),
        95..97 => "f".repeat(65),
        97..99 => rng.below(30).to_string(),
        _ => String::new(),
    }
    .into_bytes()
}

fn member(rng: &mut Rng) -> Vec<u8> {
    match rng.below(100) {
        0..55 => format!("m{}", rng.below(16)),
        55..75 => rng.below(30).to_string(),
        75..88 => format!("m{}", rng.below(600)),
        88..94 => rng.between(-70_000, 70_000).to_string(),
        94..96 => pick_str(
            rng,
            &["9223372036854775807", "-9223372036854775808", "9223372036854775808", "007", "+1", "-0"],
        ),
        96..98 => format!("{}{}", "m".repeat(64), rng.below(3)),
        98..99 => String::new(),
        _ => "a b\r\n\0".to_owned(),
    }
    .into_bytes()
}

fn text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(100) {
        0..40 => return integer(rng),
        40..60 => format!("value{}", rng.below(20)),
        60..75 => return score(rng),
        75..80 => "v".repeat(44 + rng.below(3)),
        80..85 => "long ".repeat(1 + rng.below(40)),
        85..90 => String::new(),
        90..95 => pick_str(rng, &["ohmytext", "mynewtext", "foobar", "hello world"]),
        _ => return vec![0, 0xff, b'\r', b'\n', 0x80, b' '],
    }
    .into_bytes()
}

fn integer(rng: &mut Rng) -> Vec<u8> {
    const EDGES: &[&str] = &[
        "9223372036854775807",
        "9223372036854775806",
        "-9223372036854775808",
        "9223372036854775808",
        "2147483647",
        "2147483648",
        "-2147483648",
        "4294967296",
        "127",
        "128",
        "255",
        "256",
        "32767",
        "32768",
        "9999",
        "10000",
    ];
    match rng.below(100) {
        0..70 => decimal(rng.between(-5, 30)),
        70..85 => decimal(rng.between(-100_000, 100_000)),
        _ => pick(rng, EDGES),
    }
}

fn index(rng: &mut Rng) -> Vec<u8> {
    match rng.below(100) {
        0..85 => decimal(rng.between(-8, 12)),
        85..93 => decimal(rng.between(-700, 700)),
        _ => pick(
            rng,
            &[
                "9223372036854775807",
                "-9223372036854775808",
                "4294967296",
                "9223372036854775808",
                "1.0",
                "",
                "x",
            ],
        ),
    }
}

/// A number of things to return. No large negative number that a server would take for "this many, with repetition".
fn count(rng: &mut Rng) -> Vec<u8> {
    match rng.below(100) {
        0..75 => decimal(rng.between(0, 12)),
        75..90 => decimal(rng.between(-12, -1)),
        90..94 => decimal(rng.between(100, 1_000)),
        _ => {
            pick(rng, &["9223372036854775807", "-9223372036854775808", "9223372036854775808", "1.5", "x", ""])
        }
    }
}

fn score(rng: &mut Rng) -> Vec<u8> {
    const EDGES: &[&str] = &[
        "inf",
        "-inf",
        "+inf",
        "Infinity",
        "nan",
        "1e308",
        "-1e308",
        "1e-300",
        "0.1",
        "-0",
        "0x10",
        "1e400",
        "3.0",
        "9007199254740993",
        "1.7976931348623157e308",
        "5e-324",
        "17179869184.5",
        " 1",
        "1 ",
        "",
        "one",
        "0.30000000000000004",
    ];
    match rng.below(100) {
        0..60 => decimal(rng.between(-10, 20)),
        60..80 => {
            format!("{}.{}", rng.between(-10, 20), rng.pick(&["5", "25", "1", "333", "0625"])).into_bytes()
        }
        80..90 => decimal(rng.between(-1_000_000_000_000, 1_000_000_000_000)),
        _ => pick(rng, EDGES),
    }
}

fn score_end(rng: &mut Rng) -> Vec<u8> {
    match rng.below(100) {
        0..15 => b"-inf".to_vec(),
        15..30 => b"+inf".to_vec(),
        30..50 => [b"(".to_vec(), score(rng)].concat(),
        50..53 => pick(rng, &["(", "[1", "(nan", "((1", "(1 ", "min"]),
        _ => score(rng),
    }
}

fn lexical_end(rng: &mut Rng) -> Vec<u8> {
    match rng.below(100) {
        0..15 => b"-".to_vec(),
        15..30 => b"+".to_vec(),
        30..60 => [b"[".to_vec(), member(rng)].concat(),
        60..90 => [b"(".to_vec(), member(rng)].concat(),
        90..95 => pick(rng, &["[", "(", "--", "+a", "", "a"]),
        _ => member(rng),
    }
}

fn pick_str(rng: &mut Rng, from: &[&str]) -> String {
    (*rng.pick(from)).to_owned()
}

/// Something that hardly ever belongs where it is put.
pub(crate) fn junk(rng: &mut Rng) -> Vec<u8> {
    const JUNK: &[&str] = &[
        "",
        "0",
        "-1",
        "x",
        "NX",
        "XX",
        "LIMIT",
        "COUNT",
        "WITHSCORES",
        "GET",
        "EX",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "1e500",
        "1.5",
        "+1",
        "007",
        " 1",
        "0x1f",
        "nan",
        "inf",
        "(1",
        "[a",
        "*",
        "str:0",
        "list:0",
        "hash:0",
        "set:0",
        "zset:0",
        "none",
        "\0",
        "\r\n",
    ];
    pick(rng, JUNK)
}
