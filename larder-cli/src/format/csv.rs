//! One line of values, separated by commas.

use crate::quote;
use crate::reply::Reply;

pub(super) fn render(out: &mut Vec<u8>, reply: &Reply) {
    match reply {
        Reply::Nil => out.extend(b"NULL"),
        Reply::Error(text) => {
            out.extend(b"ERROR,");
            quote::quoted(out, text);
        }
        Reply::Simple(text) | Reply::Bulk(text) | Reply::Verbatim(text) => quote::quoted(out, text),
        Reply::Boolean(value) => out.extend(value.to_string().bytes()),
        Reply::Integer(value) => out.extend(value.to_string().bytes()),
        Reply::Double(text) | Reply::BigNumber(text) => out.extend(text.bytes()),
        Reply::Array(elements) | Reply::Set(elements) | Reply::Push(elements) | Reply::Map(elements) => {
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                render(out, element);
            }
        }
    }
}
