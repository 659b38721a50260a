//! Entry points for fuzzers: each takes arbitrary bytes and panics if a promise is broken.

use super::aof::{AofReader, Manifest};
use super::snapshot::{Item, KeyMeta, SnapshotReader, SnapshotWriter, Value, WriteOptions, dump, restore};

/// Reads `data` as a snapshot and as a DUMP payload. Whatever could be read and can be written must come back the
/// same.
///
/// # Panics
/// When it does not; that is what a fuzzer looks for.
pub fn fuzz_snapshot(data: &[u8]) {
    if let Ok(value) = restore(data) {
        check_value(&value);
    }
    let Ok(mut reader) = SnapshotReader::new(data) else { return };
    let mut items = Vec::new();
    while let Ok(Some(item)) = reader.next() {
        items.push(item);
    }
    assert!(reader.offset() <= data.len() as u64, "more was taken than there is");
    items.retain(is_written_as_read);
    let written = write(&items);
    let mut reader = SnapshotReader::new(&written[..]).expect("the header was just written");
    for item in &items {
        assert_eq!(reader.next().expect("it was just written").as_ref(), Some(item));
        if let Item::Key { value, .. } = item {
            check_value(value);
        }
    }
    assert_eq!(reader.next().expect("the end was just written"), None);
}

/// Reads `data` as a file of commands and as a manifest. What can be applied must read the same when it is all there is.
///
/// # Panics
/// When it does not, or when more was read than there is.
pub fn fuzz_aof(data: &[u8]) {
    if let Ok(manifest) = Manifest::parse(data) {
        assert!(manifest.files().all(|listed| !listed.name.contains('/')), "a file outside the directory");
    }
    let mut reader = AofReader::new(data, 0);
    let mut applicable = 0;
    let mut read = 0;
    while let Ok(Some(_)) = reader.next_step() {
        read += 1;
        if reader.whole() == reader.offset() {
            applicable = read;
        }
    }
    assert!(reader.whole() <= reader.offset() && reader.offset() <= data.len() as u64, "more than there is");
    let mut again = AofReader::new(&data[..reader.whole() as usize], 0);
    for _ in 0..applicable {
        assert!(
            again.next_step().is_ok_and(|step| step.is_some()),
            "what could be applied cannot be any more"
        );
    }
    assert!(again.next_step().is_ok_and(|step| step.is_none()), "there is more than was read");
}

fn check_value(value: &Value) {
    if is_value_written_as_read(value) {
        let payload = dump(true, |writer| writer.value(value)).expect("it can be written");
        assert_eq!(&restore(&payload).expect("it was just written"), value);
    }
}

fn write(items: &[Item]) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(Vec::new(), WriteOptions::default()).expect("memory does not fail");
    for item in items {
        let done = match item {
            Item::Aux { name, value } => writer.aux(name, value),
            Item::SelectDb(db) => writer.select_db(*db),
            Item::ResizeDb { keys, expires } => writer.resize_db(*keys, *expires),
            Item::Function(code) => writer.function(code),
            Item::Key { key, expire_at_ms, idle, freq, value } => {
                let meta = KeyMeta { expire_at_ms: *expire_at_ms, idle: *idle, freq: *freq };
                writer.key(key, meta).value(value)
            }
        };
        done.expect("memory does not fail, and what cannot be written was taken out");
    }
    writer.finish().expect("memory does not fail")
}

fn is_written_as_read(item: &Item) -> bool {
    match item {
        Item::Key { value, .. } => is_value_written_as_read(value),
        Item::Aux { .. } | Item::SelectDb(_) | Item::ResizeDb { .. } | Item::Function(_) => true,
    }
}

/// False for what the written version does not have or has in another form, and for empty collections.
fn is_value_written_as_read(value: &Value) -> bool {
    match value {
        Value::SetListpack(_) | Value::List(_) => false,
        Value::ListNodes(nodes) => !nodes.is_empty(),
        Value::Set(members) => !members.is_empty(),
        Value::Hash(pairs) => !pairs.is_empty(),
        Value::Zset(pairs) => !pairs.is_empty(),
        Value::String(_) | Value::Intset(_) | Value::HashListpack(_) | Value::ZsetListpack(_) => true,
    }
}
