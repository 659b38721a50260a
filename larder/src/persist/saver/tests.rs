//! Saving in the background.

use super::{NotStarted, SaveJob, Saved};
use crate::persist::background::SavePoint;
use crate::persist::disk::Disk as _;
use crate::persist::simulated::SimulatedDisk;
use crate::{Engine, Larder, Options};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

fn job(
    disk: &SimulatedDisk,
    at_cut: impl FnOnce() + Send + 'static,
) -> (SaveJob, Receiver<io::Result<Saved>>) {
    let (ended, end) = channel();
    let job = SaveJob {
        disk: Arc::new(disk.clone()),
        target: PathBuf::from("/dump.rdb"),
        aof_base: false,
        at_cut: Box::new(at_cut),
        done: Box::new(move |result| {
            let _test_gave_up = ended.send(result);
        }),
    };
    (job, end)
}

fn open() -> (Arc<Engine>, Larder) {
    let engine = Engine::open(Options { seed: 3, ..Options::default() });
    (Arc::clone(&engine), Larder::on(engine))
}

#[test]
fn one_save_at_a_time_writes_what_was_there_at_the_cut() {
    let disk = SimulatedDisk::new();
    let (engine, larder) = open();
    for nth in 0..1000 {
        larder.set(format!("key:{nth}"), "before").expect("there is memory");
    }
    let (reached, at_cut) = channel();
    let (goes_on, go_on) = channel::<()>();
    let (first, end) = job(&disk, move || {
        reached.send(()).expect("the test waits for it");
        go_on.recv().expect("the test lets it go on");
    });
    engine.start_save(first).expect("none is under way");
    at_cut.recv().expect("the cut is taken");
    let (second, _) = job(&disk, || ());
    assert!(matches!(engine.start_save(second), Err(NotStarted::Busy)));
    assert!(engine.saving().is_some());
    goes_on.send(()).expect("the saver waits for it");
    for nth in 0..2000 {
        larder.set(format!("key:{nth}"), "after").expect("there is memory");
    }
    let saved = end.recv().expect("the job is told").expect("the disk is fine");
    assert_eq!(saved, Saved { keys: 1000 });
    assert_eq!(engine.saving(), None);
    let (copy, loaded) = open();
    let found = copy.load(&mut copy.lane(false), &disk, "/dump.rdb".as_ref()).expect("the file is whole");
    assert_eq!(found.keys, 1000);
    for nth in 0..1000 {
        assert_eq!(
            loaded.get(format!("key:{nth}")).expect("a string").as_deref(),
            Some(b"before".as_slice())
        );
    }
}

#[test]
fn a_save_that_fails_leaves_the_old_file_and_says_why() {
    let disk = SimulatedDisk::new();
    let (engine, larder) = open();
    larder.set("key", "x".repeat(10_000)).expect("there is memory");
    disk.install("/dump.rdb", "old");
    disk.set_capacity(Some(100));
    let (full, end) = job(&disk, || ());
    engine.start_save(full).expect("none is under way");
    let error = end.recv().expect("the job is told").expect_err("the disk is full");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.contents("/dump.rdb").as_deref(), Some(b"old".as_slice()));
    disk.set_capacity(None);
    let (again, end) = job(&disk, || ());
    engine.start_save(again).expect("none is under way");
    end.recv().expect("the job is told").expect("there is room now");
    engine.wait_for_save();
}

#[test]
fn whatever_the_disk_does_writes_are_refused_until_a_save_succeeds_and_the_old_file_stays() {
    type Break = fn(&SimulatedDisk);
    let faults: [(&str, Break, Break); 4] = [
        ("full", |disk| disk.set_capacity(Some(5000)), |disk| disk.set_capacity(None)),
        ("read-only", |disk| disk.set_read_only(true), |disk| disk.set_read_only(false)),
        ("failing writes", |disk| disk.fail_writes(1), |_| ()),
        ("failing syncs", |disk| disk.fail_syncs(1), |_| ()),
    ];
    for (name, break_it, mend) in faults {
        let disk = SimulatedDisk::new();
        let (engine, larder) = open();
        engine.set_save_points(vec![SavePoint { seconds: 3600, changes: 1 }]);
        let save = || {
            let (job, end) = job(&disk, || ());
            engine.start_save(job).expect("none is under way");
            let result = end.recv().expect("the job is told");
            engine.wait_for_save();
            result
        };
        (0..100).for_each(|nth| larder.set(format!("key:{nth}"), "before").expect("there is memory"));
        save().expect("the disk is fine");
        let before = disk.contents("/dump.rdb").expect("it was saved");
        (0..1000).for_each(|nth| larder.set(format!("key:{nth}"), "x".repeat(90)).expect("there is memory"));
        break_it(&disk);
        save().expect_err(name);
        assert_eq!(disk.contents("/dump.rdb"), Some(before), "{name}");
        assert_eq!(
            disk.list("/".as_ref()).expect("it can be read"),
            ["dump.rdb"],
            "{name}: something is left"
        );
        let refused = larder.set("more", "x").expect_err("writes are refused");
        assert_eq!(refused.code(), "MISCONF", "{name}: {refused}");
        assert_eq!(larder.get("key:0").expect("reads go on").map(|value| value.len()), Some(90), "{name}");
        mend(&disk);
        assert_eq!(save().expect("the disk works again").keys, 1000, "{name}");
        larder.set("more", "x").expect("writes go on");
        let (copy, _) = open();
        let found = copy.load(&mut copy.lane(false), &disk, "/dump.rdb".as_ref()).expect("the file is whole");
        assert_eq!(found.keys, 1000, "{name}");
    }
}
