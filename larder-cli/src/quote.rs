//! Bytes as text that can be typed again, and as strings of JSON.

/// `bytes` in double quotes, with everything but printable ASCII escaped: what `split_words` of larder-resp reads back.
pub(crate) fn quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    escaped(out, bytes);
    out.push(b'"');
}

/// The inside of [`quoted`].
fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
}

/// As [`quoted`], but text in other scripts stays readable: whole characters of UTF-8 that do not control a terminal.
pub(crate) fn quoted_utf8(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let text = character.encode_utf8(&mut buffer).as_bytes();
            if character.is_ascii() || is_unprintable(character) {
                escaped(out, text);
            } else {
                out.extend(text);
            }
        }
        escaped(out, chunk.invalid());
    }
    out.push(b'"');
}

/// Characters that would move the cursor, reorder a line, or show nothing.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A string of JSON; bytes that are not UTF-8 stay as they are.
pub(crate) fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            0x0c => out.extend(b"\\f"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x08 => out.extend(b"\\b"),
            0..0x20 => out.extend(format!("\\u{byte:04x}").bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// A string of ASCII in JSON that holds the escapes of [`quoted`], whose backslashes are doubled once more. As
/// redis-cli writes it: a quote inside ends the string, so not every result is JSON.
pub(crate) fn quoted_json(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut inside = Vec::with_capacity(bytes.len());
    escaped(&mut inside, bytes);
    out.push(b'"');
    for byte in inside {
        if byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(how: fn(&mut Vec<u8>, &[u8]), bytes: &[u8]) -> String {
        let mut out = Vec::new();
        how(&mut out, bytes);
        String::from_utf8(out).expect("quoting of these bytes gives text")
    }

    #[test]
    fn quoted_text_can_be_typed_again() {
        let all: Vec<u8> = (0..=255).collect();
        let line = shown(quoted, &all);
        assert_eq!(larder_resp::split_words(line.as_bytes()), Some(vec![all]));
    }

    #[test]
    fn readable_text_stays_readable_and_controls_nothing() {
        assert_eq!(shown(quoted_utf8, "Grüße \u{1F600}".as_bytes()), "\"Grüße \u{1F600}\"");
        assert_eq!(shown(quoted_utf8, b"a\xff\x1b[2J"), "\"a\\xff\\x1b[2J\"");
        assert_eq!(shown(quoted_utf8, "\u{202e}abc".as_bytes()), r#""\xe2\x80\xaeabc""#);
    }
}
