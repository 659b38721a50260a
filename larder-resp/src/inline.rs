//! Inline commands: one line of words, as a person types it over `nc` or `telnet`.
//!
//! Words are separated by blanks. A word may be quoted: `"…"` knows the escapes `\n \r \t \b \a \xHH` and takes
//! any other escaped byte as itself; `'…'` knows only `\'`. A closing quote must be followed by a blank or by
//! the end of the line. A quote may open in the middle of a word, and then belongs to it.
//!
//! Words with escapes are not slices of the line, so all words are copied to a scratch buffer. Inline commands
//! are rare and short; the fast way of the decoder never comes here.
//!
//! Lines of configuration files and manifests follow the same rules.
//!
//! One thing differs from Redis: a NUL byte is an ordinary byte here. There it hides the rest of the line, so
//! that the server waits for a line end which it has already received.

use crate::request::{Request, Span};

/// The line has a quote that does not close, or text directly behind a closing one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unbalanced;

/// Split `line` (without its line end) into words: their bytes go to `words`, their places to `spans`.
/// Both are appended to. `words` must stay below 4 GiB, which the limit on inline commands ensures.
pub(crate) fn split(line: &[u8], words: &mut Vec<u8>, spans: &mut Vec<Span>) -> Result<(), Unbalanced> {
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_blank(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = words.len();
        rest = word(rest, words)?;
        spans.push(Span { start: narrow(start), len: narrow(words.len() - start) });
    }
}

/// The words of a line, by the rules of inline commands: blanks separate, quotes hold together. `None` if a quote does
/// not close, or has text directly behind it. The line must be shorter than 4 GiB.
///
/// ```
/// let words = larder_resp::split_words(br#"save "" 'it\'s' \x"#);
/// assert_eq!(words, Some(vec![b"save".to_vec(), b"".to_vec(), b"it's".to_vec(), br"\x".to_vec()]));
/// assert_eq!(larder_resp::split_words(b"save \""), None);
/// ```
#[must_use]
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut words, mut spans) = (Vec::new(), Vec::new());
    split(line, &mut words, &mut spans).ok()?;
    Some(Request::new(&words, &spans).iter().map(<[u8]>::to_vec).collect())
}

/// An offset as a span holds it. The line is shorter than 4 GiB and words are never longer than their line.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// Read one word from the start of `rest`, which is neither empty nor blank; return what follows the word.
fn word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', tail @ ..] => return double_quoted(tail, out),
            [b'\'', tail @ ..] => return single_quoted(tail, out),
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

/// The part of a word behind `"`.
fn double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [b'\\', b'x', high, low, tail @ ..] if let Some(byte) = hex_byte(*high, *low) => {
                out.push(byte);
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                tail
            }
            [b'"', tail @ ..] => return closed(tail),
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
            [] => return Err(Unbalanced),
        }
    }
}

/// The part of a word behind `'`.
fn single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [b'\\', b'\'', tail @ ..] => {
                out.push(b'\'');
                tail
            }
            [b'\'', tail @ ..] => return closed(tail),
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
            [] => return Err(Unbalanced),
        }
    }
}

/// What follows a closing quote: nothing, or a blank.
fn closed(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest {
        [] => Ok(rest),
        [byte, ..] if is_blank(*byte) => Ok(rest),
        _ => Err(Unbalanced),
    }
}

/// The blanks of C's `isspace`. Vertical tab and form feed separate words, but do not end an unquoted one.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}
