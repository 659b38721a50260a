//! With types, quotes and numbered elements, for people.

use crate::quote;
use crate::reply::Reply;

pub(super) fn render(out: &mut Vec<u8>, reply: &Reply, utf8: bool) {
    nested(out, reply, 0, utf8);
}

/// `indent`: what every line but the first begins with, in blanks.
fn nested(out: &mut Vec<u8>, reply: &Reply, indent: usize, utf8: bool) {
    match reply {
        Reply::Nil => out.extend(b"(nil)"),
        Reply::Error(text) => {
            out.extend(b"(error) ");
            out.extend(text);
        }
        Reply::Simple(text) | Reply::Verbatim(text) => out.extend(text),
        Reply::Bulk(text) if utf8 => quote::quoted_utf8(out, text),
        Reply::Bulk(text) => quote::quoted(out, text),
        Reply::Boolean(value) => out.extend(format!("({value})").bytes()),
        Reply::Integer(value) => out.extend(format!("(integer) {value}").bytes()),
        Reply::Double(text) => out.extend(format!("(double) {text}").bytes()),
        Reply::BigNumber(text) => out.extend(format!("(big number) {text}").bytes()),
        Reply::Array(elements) => return collection(out, elements, Kind::ARRAY, indent, utf8),
        Reply::Set(elements) => return collection(out, elements, Kind::SET, indent, utf8),
        Reply::Push(elements) => return collection(out, elements, Kind::PUSH, indent, utf8),
        Reply::Map(elements) => return collection(out, elements, Kind::MAP, indent, utf8),
    }
    out.push(b'\n');
}

/// What tells one kind of collection from the others.
struct Kind {
    name: &'static str,
    /// Behind an element's number.
    mark: char,
    /// Elements with one number.
    stride: usize,
}

impl Kind {
    const ARRAY: Self = Self { name: "array", mark: ')', stride: 1 };
    const SET: Self = Self { name: "set", mark: '~', stride: 1 };
    const PUSH: Self = Self { name: "push", mark: ')', stride: 1 };
    const MAP: Self = Self { name: "hash", mark: '#', stride: 2 };
}

fn collection(out: &mut Vec<u8>, elements: &[Reply], kind: Kind, indent: usize, utf8: bool) {
    if elements.is_empty() {
        out.extend(format!("(empty {})\n", kind.name).bytes());
        return;
    }
    let width = (elements.len() / kind.stride).to_string().len();
    let inner = indent + width + 2;
    for (at, group) in elements.chunks_exact(kind.stride).enumerate() {
        if at > 0 {
            blanks(out, indent);
        }
        out.extend(format!("{:>width$}{} ", at + 1, kind.mark).bytes());
        nested(out, &group[0], inner, utf8);
        let Some(value) = group.get(1) else { continue };
        // The value stands on the line of its key, unless it takes several itself.
        out.pop();
        out.extend(b" => ");
        if is_tall(value) {
            out.push(b'\n');
            blanks(out, inner);
        }
        nested(out, value, inner, utf8);
    }
}

/// Whether a value shows more than one numbered element, itself or inside.
fn is_tall(reply: &Reply) -> bool {
    let shown = match reply {
        Reply::Map(elements) => elements.len() / 2,
        other => other.elements().map_or(1, <[Reply]>::len),
    };
    shown > 1 || reply.elements().unwrap_or_default().iter().any(is_tall)
}

fn blanks(out: &mut Vec<u8>, count: usize) {
    out.extend(std::iter::repeat_n(b' ', count));
}
