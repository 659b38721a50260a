//! Looking through a snapshot without an engine: what it holds, and where the first thing is that could not be loaded.
//!
//! Every value is made as a load would make it, so what passes here loads.

use super::convert;
use super::snapshot::{Foreign, Item, LoadError, LoadErrorKind, Skipped, SnapshotReader};
use crate::config::Config;
use std::collections::BTreeMap;
use std::io::Read;

/// What a snapshot holds, as far as it was read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The version of the format.
    pub version: u16,
    /// What the writer said about the file, in its order: names and values.
    pub facts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Keys by database and by the name of their type.
    pub keys: BTreeMap<(u64, &'static str), u64>,
    /// Keys with an expiry.
    pub expiring: u64,
    /// Those of them that have expired: a load leaves them out.
    pub expired: u64,
    /// Keys with an empty collection, which a load leaves out.
    pub empty: u64,
    /// What a load leaves out with `rdb-skip-unsupported`.
    pub skipped: Skipped,
    /// Bytes read.
    pub bytes: u64,
}

/// Reads a snapshot to its end, as of `now_ms` in Unix milliseconds; `skip` is `rdb-skip-unsupported`. With an error
/// comes what was read before it.
///
/// # Errors
/// The first thing in the way of a load: where it is, in which key, and what.
pub fn check(input: impl Read, now_ms: u64, skip: bool) -> (Contents, Result<(), LoadError>) {
    let mut contents = Contents::default();
    let result = walk(input, now_ms, skip, &mut contents);
    (contents, result)
}

fn walk(input: impl Read, now_ms: u64, skip: bool, contents: &mut Contents) -> Result<(), LoadError> {
    let mut reader = SnapshotReader::new(input)?.skip_foreign(skip);
    contents.version = reader.version();
    let config = Config::default();
    let mut db = 0;
    loop {
        let offset = reader.offset();
        contents.bytes = offset;
        match reader.next()? {
            None => break,
            Some(Item::Aux { name, value }) => contents.facts.push((name, value)),
            Some(Item::SelectDb(number)) => db = number,
            Some(Item::ResizeDb { .. }) => {}
            Some(Item::Skipped(foreign)) => contents.skipped.note(foreign),
            Some(Item::Function(_)) if skip => contents.skipped.note(Foreign::FunctionLibrary),
            Some(Item::Function(_)) => {
                return Err(LoadError::unsupported(offset, Foreign::FunctionLibrary.name()));
            }
            Some(Item::Key { key, expire_at_ms, value, .. }) => {
                let kind = value.kind().name();
                let stored = convert::read(value, &config).map_err(|expected| LoadError {
                    offset,
                    key: Some(key),
                    kind: LoadErrorKind::Corrupt { expected, found: "something else".into() },
                })?;
                *contents.keys.entry((db, kind)).or_default() += 1;
                contents.empty += u64::from(stored.is_none());
                contents.expiring += u64::from(expire_at_ms.is_some());
                let has_expired = expire_at_ms.is_some_and(|at_ms| at_ms.max(0) as u64 <= now_ms);
                contents.expired += u64::from(has_expired);
            }
        }
    }
    contents.bytes = reader.offset();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::{KeyMeta, SnapshotWriter, WriteOptions};
    use super::*;

    fn snapshot() -> Vec<u8> {
        let mut writer = SnapshotWriter::new(Vec::new(), WriteOptions::default()).unwrap();
        writer.select_db(0).unwrap();
        writer.key(b"plain", KeyMeta::default()).string(b"value").unwrap();
        let past = KeyMeta { expire_at_ms: Some(1_000), ..KeyMeta::default() };
        writer.key(b"past", past).string(b"value").unwrap();
        writer.select_db(3).unwrap();
        let future = KeyMeta { expire_at_ms: Some(9_000), ..KeyMeta::default() };
        writer.key(b"names", future).set(1, [b"ada".to_vec()]).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_there_is_counted() {
        let file = snapshot();
        let (contents, result) = check(&file[..], 5_000, false);
        assert!(result.is_ok());
        assert_eq!(contents.version, 10);
        let keys: Vec<_> = contents.keys.into_iter().collect();
        assert_eq!(keys, [((0, "string"), 2), ((3, "set"), 1)]);
        assert_eq!((contents.expiring, contents.expired, contents.bytes), (2, 1, file.len() as u64));
    }

    #[test]
    fn an_error_comes_with_what_was_read_before_it() {
        let file = snapshot();
        let cut = file.len() - 11;
        let (contents, result) = check(&file[..cut], 5_000, false);
        let error = result.unwrap_err();
        assert_eq!(error.offset, cut as u64);
        assert_eq!(error.key.as_deref(), Some(b"names".as_slice()));
        assert_eq!(contents.keys.into_iter().collect::<Vec<_>>(), [((0, "string"), 2)]);
    }
}
