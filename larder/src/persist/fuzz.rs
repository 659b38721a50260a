//! Entry points for fuzzers: each takes arbitrary bytes and panics if a promise is broken.

use super::aof::{AofReader, Manifest, Place};
use super::crc64::crc64;
use super::disk::Disk as _;
use super::simulated::SimulatedDisk;
use super::snapshot::{Item, KeyMeta, SnapshotReader, SnapshotWriter, Value, WriteOptions, dump, restore};
use crate::Larder;
use crate::engine::{Engine, Options};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Reads `data` as a snapshot and as a DUMP payload. Whatever could be read and can be written must come back the
/// same.
///
/// # Panics
/// When it does not; that is what a fuzzer looks for.
pub fn fuzz_snapshot(data: &[u8]) {
    if let Ok(value) = restore(data) {
        check_value(&value);
    }
    let Ok(reader) = SnapshotReader::new(data) else { return };
    // Getting past what is not read must do no harm either.
    let mut reader = reader.skip_foreign(data.len().is_multiple_of(2));
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

/// Loads `data` as the last file of an append-only file. What is wrong must be said with a place in the file, and what is
/// left when an incomplete end is cut off must load without another word.
///
/// # Panics
/// When it is not so.
pub fn fuzz_aof_load(data: &[u8]) {
    let disk = SimulatedDisk::new();
    let place = Place { disk: Arc::new(disk.clone()), dir: "/aof".into(), name: "aof".into() };
    let incremental = place.path("aof.1.incr.aof");
    disk.create_dir(&place.dir).expect("no fault was arranged");
    disk.install(place.manifest(), *b"file aof.1.incr.aof seq 1 type i\n");
    disk.install(incremental.clone(), data);
    let load = || {
        let engine = Engine::open(Options { threads: 1, seed: 1, ..Options::default() });
        engine.load_aof(&place).map(|loaded| loaded.expect("there is a manifest"))
    };
    let left = || disk.contents(&incremental).expect("it was installed");
    match load() {
        Err(error) => {
            assert!(error.error.offset <= data.len() as u64, "a place outside the file: {error}");
            assert_eq!(left(), data, "a file that cannot be loaded stays as it is");
        }
        Ok(loaded) => {
            let whole = loaded.cut.as_ref().map_or(data.len() as u64, |(_, whole, _)| *whole);
            assert_eq!(left(), data[..whole as usize], "what was cut off is not what was said");
            let again = load().expect("what is left can be loaded");
            let same = (again.commands <= loaded.commands, again.cut.is_none());
            assert_eq!(same, (true, true), "{loaded:?}, then {again:?}");
        }
    }
}

/// Loads `data` as a snapshot into an engine, as a server does at its start. What is wrong must be said with a place in the
/// file. What is loaded is what the checksum stands for, if there is one; without one, what is loaded must be sound: saved
/// and loaded again it is the same.
///
/// # Panics
/// When it is not so.
pub fn fuzz_snapshot_load(data: &[u8]) {
    let disk = SimulatedDisk::new();
    disk.install("/dump.rdb", data);
    let open = |verify: bool| {
        let engine = Engine::open(Options { threads: 1, seed: 1, ..Options::default() });
        engine.config.rdb_checksum.store(verify, Relaxed);
        engine.config.rdb_skip_unsupported.store(true, Relaxed);
        engine
    };
    let load = |engine: &Engine| {
        let mut lane = engine.lane(false);
        // At the beginning of all times nothing has expired.
        lane.stand_still();
        engine.load(&mut lane, &disk, "/dump.rdb".as_ref())
    };
    match load(&open(true)) {
        Err(error) => assert!(error.offset <= data.len() as u64, "a place outside the file: {error}"),
        Ok(loaded) => {
            let whole = &data[..loaded.bytes as usize];
            let version = std::str::from_utf8(&whole[5..9]).map_or(0, |digits| digits.parse().unwrap_or(0));
            if let (true, Some((before, sum))) = (version >= 5, whole.split_last_chunk()) {
                let stored = u64::from_le_bytes(*sum);
                assert!(stored == 0 || stored == crc64(before), "the checksum is of something else");
            }
        }
    }
    let engine = open(false);
    if load(&engine).is_err() {
        return;
    }
    let digest = |engine: Arc<Engine>| Larder::on(engine).execute(&["DEBUG", "DIGEST"]);
    engine.save(&engine.lane(false), &disk, "/dump.rdb".as_ref()).expect("no fault was arranged");
    let again = open(true);
    let loaded = load(&again).expect("it was just saved");
    assert_eq!(
        loaded.keys,
        (0..16).map(|db| engine.len(db) as u64).sum::<u64>(),
        "not as many keys as were saved"
    );
    assert_eq!(digest(engine), digest(again), "loaded again it is something else");
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
            Item::Skipped(_) => Ok(()),
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
        Item::Skipped(_) => false,
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
