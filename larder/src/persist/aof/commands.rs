//! A snapshot as commands: what a base is when `aof-use-rdb-preamble` is off.
//!
//! The snapshot is made as always, at its moment and beside running commands; then it is read and written down again as
//! commands that make the same keys.

use crate::config::Config;
use crate::effects::put_command;
use crate::persist::convert::{self, Stored};
use crate::persist::disk::{Disk, replace_file};
use crate::persist::saver::temporary_beside;
use crate::persist::snapshot::{Item, SnapshotReader};
use crate::types::BodyRef;
use crate::types::string::StringRef;
use larder_resp::format_g17;
use std::io;
use std::path::Path;

/// Elements that one command adds.
const ELEMENTS_MAX: usize = 64;
/// Bytes gathered before they are written.
const WRITE_BUFFER: usize = 256 * 1024;

/// Writes what `snapshot` holds as commands to `target`, durably, and removes the snapshot.
///
/// # Errors
/// The disk's, or what is wrong with the snapshot.
pub(super) fn to_commands(disk: &dyn Disk, snapshot: &Path, target: &Path) -> io::Result<()> {
    let written = replace_file(disk, target, &temporary_beside(target), |file| {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut reader = SnapshotReader::new(disk.open(snapshot)?).map_err(invalid)?;
        let config = Config::default();
        let mut out = Vec::with_capacity(WRITE_BUFFER);
        while let Some(item) = reader.next().map_err(invalid)? {
            match item {
                Item::SelectDb(db) => put_command(&mut out, &[b"SELECT", db.to_string().as_bytes()]),
                Item::Key { key, expire_at_ms, value, .. } => {
                    let stored = convert::read(value, &config)
                        .map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage))?;
                    put_value(&mut out, &key, stored);
                    if let Some(at_ms) = expire_at_ms {
                        put_command(&mut out, &[b"PEXPIREAT", &key, at_ms.to_string().as_bytes()]);
                    }
                }
                Item::Aux { .. } | Item::ResizeDb { .. } | Item::Function(_) | Item::Skipped(_) => {}
            }
            if out.len() >= WRITE_BUFFER {
                file.write_all(&out)?;
                out.clear();
            }
        }
        file.write_all(&out)
    });
    let removed = disk.remove(snapshot);
    written.and(removed)
}

fn put_value(out: &mut Vec<u8>, key: &[u8], stored: Option<Stored>) {
    match stored {
        None => {}
        Some(Stored::String(bytes)) => put_command(out, &[b"SET", key, &bytes]),
        Some(Stored::Body(body)) => match body.seen() {
            Err(bytes) => put_command(out, &[b"SET", key, bytes]),
            Ok(BodyRef::List(list)) => {
                put_elements(out, b"RPUSH", key, 1, list.iter().map(|item| item.to_vec()))
            }
            Ok(BodyRef::Set(set)) => put_elements(out, b"SADD", key, 1, set.iter().map(StringRef::to_vec)),
            Ok(BodyRef::Hash(hash)) => {
                let words = hash.iter().flat_map(|(field, value)| [field.to_vec(), value.to_vec()]);
                put_elements(out, b"HSET", key, 2, words);
            }
            Ok(BodyRef::Zset(zset)) => {
                let score = |score| format_g17(score).as_bytes().to_vec();
                let words = zset.iter().flat_map(|item| [score(item.score), item.member.to_vec()]);
                put_elements(out, b"ZADD", key, 2, words);
            }
        },
    }
}

/// Commands that add `words` to a key, `each` for an element.
fn put_elements(
    out: &mut Vec<u8>,
    command: &[u8],
    key: &[u8],
    each: usize,
    words: impl Iterator<Item = Vec<u8>>,
) {
    let mut words = words.peekable();
    while words.peek().is_some() {
        let some: Vec<Vec<u8>> = words.by_ref().take(ELEMENTS_MAX * each).collect();
        let mut line: Vec<&[u8]> = vec![command, key];
        line.extend(some.iter().map(Vec::as_slice));
        put_command(out, &line);
    }
}
