//! A disk in memory that fails on request, for tests of everything that must survive a bad day.
//!
//! It keeps two pictures of itself. *Live* is what a program sees: every write and rename at once. *Durable* is what
//! a crash leaves: bytes up to each file's last sync, names up to each directory's last sync. [`SimulatedDisk::crash`]
//! makes the durable picture the live one, and its argument says how much luck there was on top, since a real disk
//! may also have kept what nobody asked it to keep.
//!
//! What can be arranged: a disk that is full after so many bytes (the write that crosses the line is cut short), one on
//! which no file can be created or renamed, writes that fail, syncs that fail (and, as with a real kernel, take the
//! unsynced bytes with them while later syncs report success), syncs that take long, and a power cut after so many
//! operations, in the middle of a write if wanted. Counting operations makes crash tests exhaustive: run the sequence once
//! per operation and cut the power there.
//!
//! Simplifications: directories are durable as soon as they are created, a rename across directories is two
//! independent names, and a file without a name takes no space.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::disk::{Disk, DiskFile};

/// The disk; clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    slow: Arc<Slow>,
}

/// Syncs that wait until they are let go on.
#[derive(Default)]
struct Slow {
    is_held: Mutex<bool>,
    let_go: Condvar,
}

/// What a crash spares beyond what was synced.
#[derive(Clone, Copy, Debug, Default)]
pub struct Luck {
    /// Names that were created, moved or removed without a sync of their directory.
    pub names: bool,
    /// So many of the bytes written to each file after its last sync.
    pub unsynced_bytes: usize,
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimulatedDisk {
    /// An empty disk without faults. It has the directories `""` and `/`.
    #[must_use]
    pub fn new() -> Self {
        let dirs = [PathBuf::new(), PathBuf::from("/")].into();
        Self { state: Arc::new(Mutex::new(State { dirs, ..State::default() })), slow: Arc::default() }
    }

    /// From now on the files together may take at most `bytes`; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes;
    }

    /// Lets the next `count` syncs, of files or directories, fail.
    pub fn fail_syncs(&self, count: u32) {
        self.state.lock().failing_syncs = count;
    }

    /// Lets the next `count` writes fail.
    pub fn fail_writes(&self, count: u32) {
        self.state.lock().failing_writes = count;
    }

    /// From now on nothing may be created, renamed or removed, or all of it again; files that are there can be written.
    pub fn set_read_only(&self, is_read_only: bool) {
        self.state.lock().is_read_only = is_read_only;
    }

    /// From now on syncs of files wait, or those that do go on.
    pub fn hold_syncs(&self, hold: bool) {
        *self.slow.is_held.lock() = hold;
        self.slow.let_go.notify_all();
    }

    /// Lets `operations` more operations that change something succeed; then the power is off, and everything fails
    /// until [`crash`](Self::crash). If the first operation to fail is a write, its first `torn_bytes` are written.
    pub fn power_off_after(&self, operations: u64, torn_bytes: usize) {
        self.state.lock().power = Power::Until { operations, torn_bytes };
    }

    /// Takes away what was not durable, except what `luck` spares, and turns the power on again. Files that were open
    /// stay useless. Capacity and failing syncs are as they were.
    pub fn crash(&self, luck: Luck) {
        let mut state = self.state.lock();
        state.boot += 1;
        state.power = Power::On;
        if luck.names {
            state.durable_names = state.names.clone();
        } else {
            state.names = state.durable_names.clone();
        }
        for file in &mut state.files {
            file.crash(luck.unsynced_bytes);
        }
    }

    /// Like [`crash`](Self::crash), but of what was written after a file's last sync each sector of 512 bytes is there or
    /// not, as `random` has it: the disk has written them in an order of its own. Where one is missing and a later one
    /// is there, the file has zeros. Names are as they were last synced.
    pub fn crash_scattered(&self, mut random: impl FnMut() -> bool) {
        {
            let mut state = self.state.lock();
            for file in &mut state.files {
                file.scatter(&mut random);
            }
        }
        self.crash(Luck::default());
    }

    /// The operations that changed something so far, for choosing where to cut the power.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// What a program would read from this file now, `None` if there is no such file.
    #[must_use]
    pub fn contents(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.names.get(path.as_ref()).map(|&file| state.files[file].live.clone())
    }

    /// Puts a file there, durably and whatever faults are arranged.
    pub fn install(&self, path: impl Into<PathBuf>, contents: impl Into<Vec<u8>>) {
        let mut state = self.state.lock();
        let live = contents.into();
        let file = state.add(Content { synced: live.clone(), live, ..Content::default() });
        let path = path.into();
        state.names.insert(path.clone(), file);
        state.durable_names.insert(path, file);
    }
}

#[derive(Default)]
struct State {
    /// Every file there ever was; names refer to it by index, so an unlinked file lives on for who has it open.
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
    capacity: Option<u64>,
    failing_syncs: u32,
    failing_writes: u32,
    is_read_only: bool,
    power: Power,
    operations: u64,
    /// Counts crashes: a file opened before the last one is useless.
    boot: u64,
}

#[derive(Clone, Copy, Default)]
enum Power {
    #[default]
    On,
    Until {
        operations: u64,
        torn_bytes: usize,
    },
    Off,
}

#[derive(Default)]
struct Content {
    live: Vec<u8>,
    synced: Vec<u8>,
    /// `synced` may not be a prefix of `live`: it was cut since the last sync.
    rewritten: bool,
    /// A sync failed: the kernel has dropped the bytes and will not try again.
    dropped: bool,
}

impl Content {
    fn sync(&mut self) {
        if self.dropped {
            return;
        }
        if self.rewritten {
            self.synced.clear();
            self.rewritten = false;
        }
        self.synced.extend_from_slice(&self.live[self.synced.len()..]);
    }

    fn crash(&mut self, spared: usize) {
        if !self.rewritten && !self.dropped {
            let end = self.live.len().min(self.synced.len().saturating_add(spared));
            self.synced.extend_from_slice(&self.live[self.synced.len()..end]);
        }
        *self =
            Self { live: self.synced.clone(), synced: std::mem::take(&mut self.synced), ..Self::default() };
    }

    /// Makes durable whatever sectors the disk has happened to write.
    fn scatter(&mut self, random: &mut impl FnMut() -> bool) {
        const SECTOR: usize = 512;
        if self.rewritten || self.dropped {
            return;
        }
        let from = self.synced.len();
        let mut at = from;
        while at < self.live.len() {
            let end = ((at / SECTOR + 1) * SECTOR).min(self.live.len());
            if random() {
                self.synced.resize(at, 0);
                self.synced.extend_from_slice(&self.live[at..end]);
            }
            at = end;
        }
    }

    fn cut(&mut self, len: usize) {
        self.live.truncate(len);
        self.rewritten = true;
    }
}

impl State {
    /// Accounts for an operation that changes something, or fails it because the power is off. On the operation that
    /// meets the power cut, the error carries how much of a write still happens.
    fn operate(&mut self) -> Result<(), (io::Error, usize)> {
        let power_lost = || io::Error::other("the simulated power is off");
        match &mut self.power {
            Power::On => {}
            Power::Off => return Err((power_lost(), 0)),
            Power::Until { operations: 0, torn_bytes } => {
                let torn_bytes = *torn_bytes;
                self.power = Power::Off;
                return Err((power_lost(), torn_bytes));
            }
            Power::Until { operations, .. } => *operations -= 1,
        }
        self.operations += 1;
        Ok(())
    }

    fn change(&mut self) -> io::Result<()> {
        self.operate().map_err(|(error, _)| error)
    }

    /// The same for an operation that changes a directory.
    fn change_names(&mut self) -> io::Result<()> {
        if self.is_read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.change()
    }

    fn look(&self) -> io::Result<()> {
        match self.power {
            Power::On | Power::Until { .. } => Ok(()),
            Power::Off => Err(io::Error::other("the simulated power is off")),
        }
    }

    fn add(&mut self, content: Content) -> usize {
        self.files.push(content);
        self.files.len() - 1
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| missing(path))
    }

    fn require_dir_of(&self, path: &Path) -> io::Result<()> {
        let dir = path.parent().unwrap_or(Path::new(""));
        if self.dirs.contains(dir) { Ok(()) } else { Err(missing(dir)) }
    }

    /// Spends one of the failing syncs, if any is left.
    fn sync_fails(&mut self) -> bool {
        let fails = self.failing_syncs > 0;
        self.failing_syncs = self.failing_syncs.saturating_sub(1);
        fails
    }

    fn free(&self) -> u64 {
        let used: u64 = self.names.values().map(|&file| self.files[file].live.len() as u64).sum();
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used))
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no {} on the simulated disk", path.display()))
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let state = self.state.lock();
        state.look()?;
        let file = state.find(path)?;
        Ok(Box::new(Cursor::new(state.files[file].live.clone())))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.change_names()?;
        state.require_dir_of(path)?;
        let file = match state.names.get(path) {
            Some(&file) => file,
            None => state.add(Content::default()),
        };
        state.names.insert(path.to_owned(), file);
        state.files[file].cut(0);
        Ok(Box::new(SimulatedFile { disk: self.clone(), file, boot: state.boot }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        if !state.names.contains_key(path) {
            state.change_names()?;
            state.require_dir_of(path)?;
            let file = state.add(Content::default());
            state.names.insert(path.to_owned(), file);
        }
        state.look()?;
        let file = state.find(path)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), file, boot: state.boot }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change_names()?;
        state.require_dir_of(to)?;
        let file = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change_names()?;
        state.names.remove(path).map(|_| ()).ok_or_else(|| missing(path))
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        let file = state.find(path)?;
        let content = &mut state.files[file];
        content.cut(usize::try_from(len).unwrap_or(usize::MAX));
        content.sync();
        Ok(())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        state.look()?;
        Ok(state.files[state.find(path)?].live.len() as u64)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        state.look()?;
        Ok(state.names.contains_key(path) || state.dirs.contains(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state.lock();
        state.look()?;
        if !state.dirs.contains(dir) {
            return Err(missing(dir));
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()).map(OsString::from).collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        if state.sync_fails() {
            return Err(io::Error::other("the simulated sync of a directory failed"));
        }
        let State { names, durable_names, .. } = &mut *state;
        durable_names.retain(|path, _| path.parent() != Some(dir));
        let inside = names.iter().filter(|(path, _)| path.parent() == Some(dir));
        durable_names.extend(inside.map(|(path, &file)| (path.clone(), file)));
        Ok(())
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
    boot: u64,
}

impl SimulatedFile {
    fn require_this_boot(&self, state: &State) -> io::Result<()> {
        if self.boot == state.boot {
            Ok(())
        } else {
            Err(io::Error::other("the file was open before the crash"))
        }
    }
}

impl Write for SimulatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state.lock();
        self.require_this_boot(&state)?;
        if let Err((error, torn_bytes)) = state.operate() {
            state.files[self.file].live.extend_from_slice(&bytes[..torn_bytes.min(bytes.len())]);
            return Err(error);
        }
        if state.failing_writes > 0 {
            state.failing_writes -= 1;
            return Err(io::Error::other("the simulated write failed"));
        }
        let fits = bytes.len().min(usize::try_from(state.free()).unwrap_or(usize::MAX));
        if fits == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.files[self.file].live.extend_from_slice(&bytes[..fits]);
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn sync(&mut self) -> io::Result<()> {
        let mut is_held = self.disk.slow.is_held.lock();
        while *is_held {
            self.disk.slow.let_go.wait(&mut is_held);
        }
        drop(is_held);
        let mut state = self.disk.state.lock();
        self.require_this_boot(&state)?;
        state.change()?;
        let fails = state.sync_fails();
        let content = &mut state.files[self.file];
        if fails {
            content.dropped = true;
            return Err(io::Error::other("the simulated sync failed"));
        }
        content.sync();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::replace_file;
    use super::super::snapshot::{KeyMeta, SnapshotWriter, WriteOptions};
    use super::*;

    const TARGET: &str = "/dump.rdb";

    fn replace(disk: &SimulatedDisk, content: &[u8]) -> io::Result<()> {
        replace_file(disk, Path::new(TARGET), Path::new("/temp"), |file| {
            let (first, second) = content.split_at(content.len() / 2);
            file.write_all(first)?;
            file.write_all(second)
        })
    }

    #[test]
    fn a_replaced_file_is_old_or_new_wherever_the_power_fails() {
        let probe = SimulatedDisk::new();
        replace(&probe, b"new content").expect("no fault was arranged");
        let operations = probe.operations();
        let lucks = [(false, 0), (false, 3), (true, 0), (true, 3), (true, usize::MAX)];
        let mut outcomes = BTreeSet::new();
        for cut in 0..=operations {
            for (names, unsynced_bytes) in lucks {
                let disk = SimulatedDisk::new();
                disk.install(TARGET, *b"old");
                disk.power_off_after(cut, 2);
                let done = replace(&disk, b"new content");
                assert_eq!(done.is_ok(), cut == operations, "cut at {cut}");
                disk.crash(Luck { names, unsynced_bytes });
                let content = disk.contents(TARGET).expect("the name never goes away");
                assert!(content == b"old" || content == b"new content", "cut at {cut}: {content:?}");
                assert!(done.is_err() || content == b"new content", "success must last");
                outcomes.insert(content);
            }
        }
        assert_eq!(outcomes.len(), 2, "the test must have seen both outcomes");
    }

    #[test]
    fn a_full_disk_keeps_the_old_file_and_frees_its_space() {
        for capacity in 3..14 {
            let disk = SimulatedDisk::new();
            disk.install(TARGET, *b"old");
            disk.set_capacity(Some(capacity));
            let error = replace(&disk, b"new content").expect_err("eleven bytes more do not fit");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert_eq!(disk.contents(TARGET).as_deref(), Some(&b"old"[..]));
            assert_eq!(disk.list(Path::new("/")).expect("the disk works"), ["dump.rdb"]);
        }
    }

    #[test]
    fn a_snapshot_is_saved_whole_or_not_at_all() {
        let save = |disk: &SimulatedDisk| {
            replace_file(disk, Path::new(TARGET), Path::new("/temp"), |file| {
                let mut writer = SnapshotWriter::new(file, WriteOptions::default())?;
                writer.key(b"key", KeyMeta::default()).string(b"value")?;
                writer.finish().map(|_| ())
            })
        };
        let probe = SimulatedDisk::new();
        save(&probe).expect("no fault was arranged");
        let whole = probe.contents(TARGET).expect("it was just saved");
        for capacity in 0..=whole.len() {
            let disk = SimulatedDisk::new();
            disk.set_capacity(Some(capacity as u64));
            let saved = save(&disk).is_ok().then_some(&whole);
            assert_eq!(disk.contents(TARGET).as_ref(), saved);
            assert_eq!(saved.is_some(), capacity == whole.len());
        }
    }

    #[test]
    fn a_failed_sync_keeps_the_old_file() {
        let disk = SimulatedDisk::new();
        disk.install(TARGET, *b"old");
        disk.fail_syncs(1);
        replace(&disk, b"new content").expect_err("the sync fails");
        disk.crash(Luck::default());
        assert_eq!(disk.contents(TARGET).as_deref(), Some(&b"old"[..]));
        replace(&disk, b"new content").expect("only one sync was to fail");
    }

    #[test]
    fn bytes_of_a_failed_sync_are_gone_though_the_next_sync_succeeds() {
        let disk = SimulatedDisk::new();
        disk.install("/log", *b"a");
        let mut log = disk.append(Path::new("/log")).expect("it was installed");
        log.write_all(b"b").expect("there is space");
        disk.fail_syncs(1);
        log.sync().expect_err("it was told to fail");
        log.sync().expect("only one was to fail");
        disk.crash(Luck { names: true, unsynced_bytes: usize::MAX });
        assert_eq!(disk.contents("/log").as_deref(), Some(&b"a"[..]));
        log.write_all(b"c").expect_err("the file was open before the crash");
    }

    #[test]
    fn what_was_appended_survives_as_far_as_synced_or_spared() {
        for (spared, expected) in [(0, "synced"), (3, "synced+th"), (100, "synced+then")] {
            let disk = SimulatedDisk::new();
            disk.create_dir(Path::new("/dir")).expect("no fault was arranged");
            let mut log = disk.append(Path::new("/dir/log")).expect("the directory is there");
            log.write_all(b"synced").expect("there is space");
            log.sync().expect("no fault was arranged");
            disk.sync_dir(Path::new("/dir")).expect("no fault was arranged");
            log.write_all(b"+then").expect("there is space");
            disk.crash(Luck { names: false, unsynced_bytes: spared });
            assert_eq!(disk.contents("/dir/log").as_deref(), Some(expected.as_bytes()));
        }
    }

    #[test]
    fn a_file_whose_directory_was_not_synced_is_lost() {
        let disk = SimulatedDisk::new();
        let mut file = disk.create(Path::new("/new")).expect("no fault was arranged");
        file.write_all(b"x").expect("there is space");
        file.sync().expect("no fault was arranged");
        disk.crash(Luck::default());
        assert!(!disk.exists(Path::new("/new")).expect("the power is on again"));
    }

    #[test]
    fn the_real_disk_does_what_the_simulated_one_promises() {
        let dir = std::env::temp_dir().join(format!("larder-disk-{}", std::process::id()));
        let simulated = SimulatedDisk::new();
        let disks: [&dyn Disk; 2] = [&super::super::disk::RealDisk, &simulated];
        for disk in disks {
            disk.create_dir(&dir).expect("the temporary directory is writable");
            let (target, temporary, log) = (dir.join("a"), dir.join("temp"), dir.join("log"));
            for content in ["first", "second"] {
                replace_file(disk, &target, &temporary, |file| file.write_all(content.as_bytes()))
                    .expect("writable");
                let mut read = String::new();
                disk.open(&target).expect("just written").read_to_string(&mut read).expect("readable");
                assert_eq!(read, content);
                disk.append(&log).expect("writable").write_all(content.as_bytes()).expect("writable");
            }
            assert_eq!(disk.len(&log).expect("it exists"), 11);
            disk.truncate(&log, 6).expect("it exists");
            assert_eq!(disk.len(&log).expect("it exists"), 6);
            assert_eq!(disk.list(&dir).expect("it exists"), ["a", "log"]);
            assert!(!disk.exists(&temporary).expect("readable"));
            assert_eq!(disk.open(&temporary).err().map(|e| e.kind()), Some(io::ErrorKind::NotFound));
            disk.remove(&target).expect("it exists");
            disk.remove(&log).expect("it exists");
            assert_eq!(disk.remove(&log).map_err(|e| e.kind()), Err(io::ErrorKind::NotFound));
        }
        std::fs::remove_dir(&dir).expect("it is empty");
    }
}
