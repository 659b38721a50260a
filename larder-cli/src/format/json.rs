//! JSON, in redis-cli's dialect.

use crate::quote;
use crate::reply::Reply;

pub(super) fn render(out: &mut Vec<u8>, reply: &Reply, ascii: bool) {
    let string = if ascii { quote::quoted_json } else { quote::json };
    match reply {
        Reply::Nil => out.extend(b"null"),
        Reply::Error(text) => {
            out.extend(b"error:");
            string(out, text);
        }
        Reply::Simple(text) | Reply::Bulk(text) | Reply::Verbatim(text) => string(out, text),
        Reply::Boolean(value) => out.extend(value.to_string().bytes()),
        Reply::Integer(value) => out.extend(value.to_string().bytes()),
        Reply::Double(text) | Reply::BigNumber(text) => out.extend(text.bytes()),
        Reply::Array(elements) | Reply::Set(elements) | Reply::Push(elements) => {
            out.push(b'[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                render(out, element, ascii);
            }
            out.push(b']');
        }
        Reply::Map(elements) => {
            out.push(b'{');
            for (at, pair) in elements.chunks_exact(2).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                key(out, &pair[0], ascii);
                out.push(b':');
                render(out, &pair[1], ascii);
            }
            out.push(b'}');
        }
    }
}

/// A key of a map: JSON has only strings there, so anything else is put into quotes.
fn key(out: &mut Vec<u8>, reply: &Reply, ascii: bool) {
    let is_string = matches!(reply, Reply::Simple(_) | Reply::Bulk(_) | Reply::Verbatim(_) | Reply::Error(_));
    if is_string {
        return render(out, reply, ascii);
    }
    out.push(b'"');
    render(out, reply, ascii);
    out.push(b'"');
}
