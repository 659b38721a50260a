//! Bytes alone, for pipes.

use crate::reply::Reply;

pub(super) fn render(out: &mut Vec<u8>, reply: &Reply, delimiter: &[u8]) {
    match reply {
        Reply::Nil => {}
        Reply::Error(text) => {
            out.extend(text);
            out.push(b'\n');
        }
        Reply::Simple(text) | Reply::Bulk(text) | Reply::Verbatim(text) => out.extend(text),
        Reply::Boolean(value) => out.extend(if *value { b"(true)".as_slice() } else { b"(false)" }),
        Reply::Integer(value) => out.extend(value.to_string().bytes()),
        Reply::Double(text) | Reply::BigNumber(text) => out.extend(text.bytes()),
        Reply::Array(elements) | Reply::Set(elements) | Reply::Push(elements) => {
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.extend(delimiter);
                }
                render(out, element, delimiter);
            }
        }
        Reply::Map(elements) => {
            for (at, pair) in elements.chunks_exact(2).enumerate() {
                if at > 0 {
                    out.extend(delimiter);
                }
                render(out, &pair[0], delimiter);
                out.push(b' ');
                render(out, &pair[1], delimiter);
            }
        }
    }
}
