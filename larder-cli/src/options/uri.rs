//! Addresses as one word: `redis://user:password@host:port/db` and its relatives.

use std::path::PathBuf;

use super::{Target, Tls};

/// Schemes, and whether they mean TLS.
const SCHEMES: &[(&str, bool)] = &[("redis", false), ("rediss", true), ("valkey", false), ("valkeys", true)];

/// Puts what `uri` says into `target`.
///
/// `unix://[user:password@]/path?db=N` is a socket. Percent signs may escape any byte of user, password and path.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn apply(target: &mut Target, uri: &str) -> Result<(), String> {
    let (scheme, rest) = uri.split_once("://").ok_or("Invalid URI scheme")?;
    if scheme == "unix" || scheme == "redis+unix" {
        return socket(target, rest);
    }
    let (_, secure) = SCHEMES.iter().find(|(name, _)| *name == scheme).ok_or("Invalid URI scheme")?;
    if *secure {
        target.tls.get_or_insert_with(Tls::default);
    }
    let (authority, path) = rest.split_once(['/', '?']).unwrap_or((rest, ""));
    let place = credentials(target, authority)?;
    if !place.is_empty() {
        host_and_port(target, place)?;
    }
    let db = path.split('?').next().unwrap_or_default();
    if !db.is_empty() {
        target.db = number(db)?;
    }
    Ok(())
}

/// Takes `user:password@`, or a password alone, off the front.
fn credentials<'a>(target: &mut Target, authority: &'a str) -> Result<&'a str, String> {
    let Some((credentials, place)) = authority.rsplit_once('@') else { return Ok(authority) };
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (decoded(user)?, decoded(password)?),
        None => (Vec::new(), decoded(credentials)?),
    };
    target.user = if user.is_empty() { None } else { Some(user) };
    target.password = Some(password);
    Ok(place)
}

fn host_and_port(target: &mut Target, place: &str) -> Result<(), String> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("an IPv6 address needs its ]")?;
            (host, rest.strip_prefix(':'))
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    if !host.is_empty() {
        host.clone_into(&mut target.host);
    }
    if let Some(port) = port {
        target.port = port.parse().map_err(|_| format!("'{port}' is no port"))?;
    }
    Ok(())
}

fn socket(target: &mut Target, rest: &str) -> Result<(), String> {
    use std::os::unix::ffi::OsStringExt as _;
    let rest = credentials(target, rest)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.is_empty() {
        return Err("a unix URI needs the path of a socket".to_owned());
    }
    target.socket = Some(PathBuf::from(std::ffi::OsString::from_vec(decoded(path)?)));
    if let Some(db) = query.split('&').find_map(|pair| pair.strip_prefix("db=")) {
        target.db = number(db)?;
    }
    Ok(())
}

fn number(db: &str) -> Result<i64, String> {
    db.parse().map_err(|_| format!("'{db}' is no database number"))
}

/// Percent signs and two digits for any byte.
fn decoded(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("Invalid URI: a percent sign without two digits".to_owned());
        };
        out.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Target {
        let mut target = Target::default();
        apply(&mut target, uri).expect(uri);
        target
    }

    #[test]
    fn all_parts_are_found() {
        let found = target("rediss://us%40er:p%3Aw@example.org:7000/5");
        assert_eq!((found.host.as_str(), found.port, found.db), ("example.org", 7000, 5));
        assert_eq!(found.user.as_deref(), Some(&b"us@er"[..]));
        assert_eq!(found.password.as_deref(), Some(&b"p:w"[..]));
        assert!(found.tls.is_some());
    }

    #[test]
    fn parts_may_be_missing() {
        let found = target("valkey://localhost");
        assert_eq!((found.host.as_str(), found.port, found.db), ("localhost", 6379, 0));
        assert!(found.tls.is_none() && found.password.is_none());
        assert_eq!(target("redis://secret@h").password.as_deref(), Some(&b"secret"[..]));
        assert_eq!(target("redis://:secret@h").user, None);
        assert_eq!(target("redis:///2").db, 2);
    }

    #[test]
    fn sockets_and_ipv6_are_places_too() {
        assert_eq!(target("unix:///run/larder.sock?db=4").socket, Some("/run/larder.sock".into()));
        assert_eq!(target("unix:///run/larder.sock?db=4").db, 4);
        let found = target("redis://[::1]:7000/1");
        assert_eq!((found.host.as_str(), found.port, found.place().as_str()), ("::1", 7000, "[::1]:7000"));
    }

    #[test]
    fn nonsense_is_refused() {
        for uri in
            ["127.0.0.1:6379", "http://x", "redis://h:port", "redis://h/db", "redis://%zz@h", "unix://"]
        {
            assert!(apply(&mut Target::default(), uri).is_err(), "{uri}");
        }
    }
}
