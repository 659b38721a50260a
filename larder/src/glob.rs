//! Glob patterns as KEYS, SCAN and PSUBSCRIBE take them.
//!
//! `*` any bytes, `?` one byte, `[abc]`, `[a-c]`, `[^a]` one byte of a class, `\` the next byte itself. A class that
//! is not closed reaches to the end of the pattern.
//!
//! Matching keeps one place to return to, the last `*`, since an earlier one can never need a longer match than the
//! later one gives; so the work is bounded by the product of both lengths, whatever the pattern.

/// Whether `text` matches `pattern`, letters compared exactly.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, false)
}

/// Whether a walk over keys or elements with this pattern returns `text`: as [`matches`], but a lone star returns the
/// empty one too.
pub fn selects(pattern: &[u8], text: &[u8]) -> bool {
    pattern == b"*" || matches(pattern, text)
}

/// Whether `text` matches `pattern`, ASCII letters compared without their case.
pub fn matches_ignore_case(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, true)
}

fn run(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    // Nothing but the empty pattern matches the empty text, not even a star: so has it always been for clients.
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            p += 1;
            star = Some((p, t));
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        if let Some(next) = one(pattern, p, text[t], ignore_case) {
            p = next;
            t += 1;
            continue;
        }
        let Some((after, from)) = star else { return false };
        star = Some((after, from + 1));
        p = after;
        t = from + 1;
    }
}

/// The position behind the element at `p` if it matches `byte`.
fn one(pattern: &[u8], p: usize, byte: u8, ignore_case: bool) -> Option<usize> {
    let fold = |byte: u8| if ignore_case { byte.to_ascii_lowercase() } else { byte };
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, fold(byte), fold),
        b'\\' if p + 1 < pattern.len() => (fold(pattern[p + 1]) == fold(byte)).then_some(p + 2),
        literal => (fold(literal) == fold(byte)).then_some(p + 1),
    }
}

/// The position behind the class that begins at `p` if it contains `byte`.
fn class(pattern: &[u8], mut p: usize, byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut found = false;
    loop {
        match pattern.get(p) {
            None => return (found != negated).then_some(p),
            Some(b']') => return (found != negated).then_some(p + 1),
            Some(b'\\') if p + 1 < pattern.len() => {
                found |= fold(pattern[p + 1]) == byte;
                p += 2;
            }
            Some(&low) if pattern.get(p + 1) == Some(&b'-') && p + 2 < pattern.len() => {
                let (low, high) = (fold(low), fold(pattern[p + 2]));
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                p += 3;
            }
            Some(&literal) => {
                found |= fold(literal) == byte;
                p += 1;
            }
        }
    }
}
