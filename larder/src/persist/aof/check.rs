//! Looking through the files of a manifest, or one file of commands, without an engine.

use super::read::{AofError, AofErrorKind, AofReader, Step};
use super::{FileKind, Manifest};
use crate::persist::disk::Disk;
use crate::persist::snapshot::{Foreign, Item, LoadError, SnapshotReader};
use std::io::{self, Cursor, Read};
use std::path::Path;

/// What a snapshot begins with.
const SNAPSHOT_MAGIC: &[u8] = b"REDIS";

/// What was found in one file.
#[derive(Debug)]
pub struct Checked {
    /// Bytes of the file.
    pub len: u64,
    /// Bytes from its start that can be applied.
    pub whole: u64,
    /// Commands in them, those of a transaction and its `MULTI` and `EXEC` included.
    pub commands: u64,
    /// What is behind them.
    pub verdict: Verdict,
}

/// What is behind the bytes that can be applied.
#[derive(Debug)]
pub enum Verdict {
    /// The end of the file.
    Good,
    /// Something that cannot be.
    Bad(AofError),
}

/// Looks through all files of a manifest that hold data, in their order, each with its name. With `skip`, what is not
/// supported is passed over in a base that is a snapshot, as a load does with `rdb-skip-unsupported`.
///
/// # Errors
/// The disk's, and one that says what is wrong with the manifest.
pub fn check(disk: &dyn Disk, manifest: &Path, skip: bool) -> io::Result<Vec<(String, Checked)>> {
    let mut text = Vec::new();
    disk.open(manifest)?.read_to_end(&mut text)?;
    let manifest_read =
        Manifest::parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let in_file = |name: &str, error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    manifest_read
        .files()
        .map(|listed| {
            let may_be_snapshot = listed.kind == FileKind::Base;
            let checked = check_file(disk, &manifest.with_file_name(&listed.name), may_be_snapshot, skip);
            checked
                .map(|checked| (listed.name.clone(), checked))
                .map_err(|error| in_file(&listed.name, error))
        })
        .collect()
}

/// Looks through one file of commands, which may begin with a snapshot if it is a base. `skip` is that of [`check`].
///
/// # Errors
/// The disk's.
pub fn check_file(disk: &dyn Disk, path: &Path, may_be_snapshot: bool, skip: bool) -> io::Result<Checked> {
    let len = disk.len(path)?;
    let mut input = disk.open(path)?;
    let mut start = Vec::new();
    input.by_ref().take(SNAPSHOT_MAGIC.len() as u64).read_to_end(&mut start)?;
    let begins_with_snapshot = may_be_snapshot && start == SNAPSHOT_MAGIC;
    let input = Cursor::new(start).chain(input);
    if !begins_with_snapshot {
        return Ok(check_commands(AofReader::new(input, 0), len));
    }
    match pass_snapshot(input, skip) {
        Ok(reader) => Ok(check_commands(reader, len)),
        Err(error) => Ok(Checked { len, whole: 0, commands: 0, verdict: Verdict::Bad(error) }),
    }
}

fn pass_snapshot<R: Read>(input: R, skip: bool) -> Result<AofReader<impl Read>, AofError> {
    let failed = |error| AofError { offset: 0, kind: AofErrorKind::Snapshot(error) };
    let mut reader = SnapshotReader::new(input).map_err(failed)?.skip_foreign(skip);
    let mut offset = reader.offset();
    while let Some(item) = reader.next().map_err(failed)? {
        if matches!(item, Item::Function(_)) && !skip {
            return Err(failed(LoadError::unsupported(offset, Foreign::FunctionLibrary.name())));
        }
        offset = reader.offset();
    }
    let offset = reader.offset();
    Ok(AofReader::new(reader.into_tail(), offset))
}

fn check_commands(mut reader: AofReader<impl Read>, len: u64) -> Checked {
    let (mut commands, mut applied) = (0, 0);
    let verdict = loop {
        match reader.next_step() {
            Ok(None) => break Verdict::Good,
            Ok(Some(Step::Annotation(_))) => {}
            Ok(Some(Step::Command(_))) => commands += 1,
            Err(error) => break Verdict::Bad(error),
        }
        if reader.whole() == reader.offset() {
            applied = commands;
        }
    };
    Checked { len, whole: reader.whole(), commands: applied, verdict }
}
