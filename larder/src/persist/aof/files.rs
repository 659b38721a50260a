//! The directory of an append-only file: the one that is written to, and the manifest that says what counts.
//!
//! What is named in the manifest counts, nothing else; and the manifest is replaced as a whole. So every change of the
//! set of files is one rename, and a crash before it leaves the old set. Two rules make each set loadable:
//!
//! - a file is named only after it is there durably, with all that it must hold by then;
//! - only the last file may have an end that is cut short, so a new one is named only after the one before it is synced.
//!
//! Files that are not named are what a crash has left of a rewrite; they are removed when the directory is opened.

use super::manifest::{FileKind, Listed, Manifest};
use crate::persist::disk::{Disk, DiskFile, replace_file};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What files begin with that are not finished.
const TEMPORARY: &str = "temp-";

/// Where the files of an append-only file are.
#[derive(Clone)]
pub struct Place {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The directory, `appenddirname`.
    pub dir: PathBuf,
    /// What their names begin with, `appendfilename`.
    pub name: String,
}

impl Place {
    /// The manifest.
    pub fn manifest(&self) -> PathBuf {
        self.dir.join(format!("{}.manifest", self.name))
    }

    /// A file of the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn incremental_name(&self, seq: u64) -> String {
        format!("{}.{seq}.incr.aof", self.name)
    }

    fn base_name(&self, seq: u64, is_snapshot: bool) -> String {
        format!("{}.{seq}.base.{}", self.name, if is_snapshot { "rdb" } else { "aof" })
    }

    /// The manifest, if there is one.
    ///
    /// # Errors
    /// The disk's, or `InvalidData` with what is wrong with the manifest.
    pub fn read_manifest(&self) -> io::Result<Option<Manifest>> {
        let path = self.manifest();
        let mut text = Vec::new();
        match self.disk.open(&path) {
            Ok(mut file) => file.read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = Manifest::parse(&text);
        read.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let path = self.manifest();
        let temporary = self.path(&format!("{TEMPORARY}{}.manifest", self.name));
        replace_file(&*self.disk, &path, &temporary, |file| file.write_all(manifest.to_text().as_bytes()))
    }

    /// Takes over the single file that servers before 7.0 have written, `old` beside the directory: it becomes the base.
    /// Returns whether there was one to take over.
    ///
    /// # Errors
    /// The disk's. A crash or an error leaves the file at its old place or at its new one, and the next call goes on.
    pub fn adopt_single_file(&self, old: &Path) -> io::Result<bool> {
        if self.disk.exists(&self.manifest())? {
            return Ok(false);
        }
        let moved = self.path(&self.name);
        let is_moved = self.disk.exists(&self.dir)? && self.disk.exists(&moved)?;
        if !is_moved && !self.disk.exists(old)? {
            return Ok(false);
        }
        self.disk.create_dir(&self.dir)?;
        if !is_moved {
            self.disk.rename(old, &moved)?;
            self.disk.sync_dir(&self.dir)?;
            self.disk.sync_dir(old.parent().unwrap_or(Path::new("")))?;
        }
        let base = Listed { name: self.name.clone(), seq: 1, kind: FileKind::Base };
        self.write_manifest(&Manifest { base: Some(base), ..Manifest::default() })?;
        Ok(true)
    }
}

/// The files, open for writing; see the module's text.
pub(crate) struct Files {
    place: Place,
    manifest: Manifest,
    current: Option<Current>,
    /// The highest number of any base so far, be it named or not: a number is never used twice.
    base_seq: u64,
    base_len: u64,
    /// Bytes of the incremental files that are named, but for the current one.
    closed_len: u64,
}

/// The incremental file that is written to.
struct Current {
    file: Box<dyn DiskFile>,
    name: String,
    seq: u64,
    /// Bytes of it that are good.
    len: u64,
    /// Whether something may be behind them.
    is_torn: bool,
    /// Whether a sync of it has failed, so that nobody knows what of it is durable.
    is_unsure: bool,
    is_named: bool,
}

/// A base that is to be.
#[derive(Clone, Debug)]
pub(crate) struct NewBase {
    pub(crate) seq: u64,
    pub(crate) name: String,
}

impl Files {
    /// Opens the directory, makes it if need be, and removes what a crash has left in it.
    ///
    /// # Errors
    /// The disk's, or what is wrong with the manifest.
    pub(crate) fn open(place: Place) -> io::Result<Files> {
        place.disk.create_dir(&place.dir)?;
        let manifest = place.read_manifest()?.unwrap_or_default();
        let len = |listed: &Listed| place.disk.len(&place.path(&listed.name));
        let base_len = manifest.base.as_ref().map_or(Ok(0), len)?;
        let closed_len = manifest.incrementals.iter().map(len).sum::<io::Result<u64>>()?;
        let base_seq = manifest.base.as_ref().map_or(0, |listed| listed.seq);
        let mut files = Files { place, manifest, current: None, base_seq, base_len, closed_len };
        files.remove_history()?;
        files.remove_strangers()?;
        Ok(files)
    }

    /// Removes files of ours that nothing names.
    fn remove_strangers(&self) -> io::Result<()> {
        let named: Vec<&str> = self.manifest.files().map(|listed| listed.name.as_str()).collect();
        for name in self.place.disk.list(&self.place.dir)? {
            let Some(name) = name.to_str() else { continue };
            let prefix = format!("{}.", self.place.name);
            let is_part = name.strip_prefix(&prefix).is_some_and(|rest| {
                rest.split_once('.').is_some_and(|(seq, kind)| {
                    let is_kind = ["base.rdb", "base.aof", "incr.aof"].contains(&kind);
                    is_kind && !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit())
                })
            });
            let is_temporary =
                name.starts_with(TEMPORARY) || (name.starts_with(&prefix) && name.ends_with(".tmp"));
            if (is_part && !named.contains(&name)) || is_temporary {
                self.place.disk.remove(&self.place.path(name))?;
            }
        }
        Ok(())
    }

    /// Removes files that are not needed any more.
    fn remove_history(&mut self) -> io::Result<()> {
        if self.manifest.history.is_empty() {
            return Ok(());
        }
        for listed in std::mem::take(&mut self.manifest.history) {
            match self.place.disk.remove(&self.place.path(&listed.name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.place.write_manifest(&self.manifest)
    }

    /// Where they are.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether there is a base.
    pub(crate) fn has_base(&self) -> bool {
        self.manifest.base.is_some()
    }

    /// Bytes of all files that count, and of the base.
    pub(crate) fn lens(&self) -> (u64, u64) {
        let current = self.current.as_ref().map_or(0, |current| current.len);
        (self.base_len + self.closed_len + current, self.base_len)
    }

    /// Goes on behind the last incremental file, or begins the first one.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn go_on(&mut self) -> io::Result<()> {
        let Some(last) = self.manifest.incrementals.last().cloned() else { return self.begin(true) };
        let path = self.place.path(&last.name);
        let len = self.place.disk.len(&path)?;
        let file = self.place.disk.append(&path)?;
        self.closed_len -= len;
        self.current = Some(Current {
            file,
            name: last.name,
            seq: last.seq,
            len,
            is_torn: false,
            is_unsure: false,
            is_named: true,
        });
        Ok(())
    }

    /// Begins a new incremental file. If it is to be named, the one before it is synced first, and what follows counts
    /// at once; otherwise it does with [`Files::adopt_base`].
    ///
    /// # Errors
    /// The disk's; nothing has changed then.
    pub(crate) fn begin(&mut self, is_named: bool) -> io::Result<()> {
        let listed = self.manifest.incrementals.last().map_or(0, |listed| listed.seq);
        let seq = self.current.as_ref().map_or(listed, |current| current.seq.max(listed)) + 1;
        let name = self.place.incremental_name(seq);
        if is_named {
            self.mend()?;
            self.sync()?;
        }
        let path = self.place.path(&name);
        drop(self.place.disk.create(&path)?);
        // Writes go to the end, wherever that is after a cut.
        let file = self.place.disk.append(&path)?;
        self.place.disk.sync_dir(&self.place.dir)?;
        if is_named {
            let mut manifest = self.manifest.clone();
            manifest.incrementals.push(Listed { name: name.clone(), seq, kind: FileKind::Incremental });
            self.place.write_manifest(&manifest)?;
            self.manifest = manifest;
        }
        match self.current.replace(Current {
            file,
            name,
            seq,
            len: 0,
            is_torn: false,
            is_unsure: false,
            is_named,
        }) {
            Some(before) if before.is_named => self.closed_len += before.len,
            Some(before) => {
                // It counts for nothing; if it cannot be removed now, it is when the directory is next opened.
                let _later = self.place.disk.remove(&self.place.path(&before.name));
            }
            None => {}
        }
        Ok(())
    }

    /// Whether what is appended counts.
    pub(crate) fn is_named(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.is_named)
    }

    /// Appends whole records to the current file.
    ///
    /// # Errors
    /// The disk's. The file then ends where it ended before, as soon as the disk lets us cut it.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.mend()?;
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Err(error) = current.file.write_all(bytes) {
            current.is_torn = true;
            // What brought us here says more; the cut is tried again before the next write.
            let _again_later = self.mend();
            return Err(error);
        }
        current.len += bytes.len() as u64;
        Ok(())
    }

    /// Cuts off what a failed write has left.
    fn mend(&mut self) -> io::Result<()> {
        if let Some(current) = &mut self.current
            && current.is_torn
        {
            self.place.disk.truncate(&self.place.path(&current.name), current.len)?;
            current.is_torn = false;
        }
        Ok(())
    }

    /// Makes what was appended durable.
    ///
    /// # Errors
    /// The disk's. What was appended since the last success may then be lost, and must be written anew.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.is_unsure {
            return Err(io::Error::other("an earlier sync has failed"));
        }
        let synced = current.file.sync();
        current.is_unsure = synced.is_err();
        synced
    }

    /// Whether nobody knows what of the current file is durable. A new one helps, with a base of the same moment.
    pub(crate) fn is_unsure(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.is_unsure)
    }

    /// The base that comes next.
    pub(crate) fn next_base(&mut self, is_snapshot: bool) -> NewBase {
        self.base_seq += 1;
        NewBase { seq: self.base_seq, name: self.place.base_name(self.base_seq, is_snapshot) }
    }

    /// Lets a base, which is there durably, take the place of the old one and of all incremental files but the current
    /// one, which was begun when the base was. What it replaces is removed. Without a current file only the base is left.
    ///
    /// # Errors
    /// The disk's; then the old set counts, or, if only the removing failed, the new one.
    pub(crate) fn adopt_base(&mut self, base: &NewBase) -> io::Result<()> {
        let base_len = self.place.disk.len(&self.place.path(&base.name))?;
        self.sync()?;
        let current = self.current.as_ref();
        let kept = |current: &Current| Listed {
            name: current.name.clone(),
            seq: current.seq,
            kind: FileKind::Incremental,
        };
        let incrementals: Vec<Listed> = current.map(kept).into_iter().collect();
        let is_old = |listed: &&Listed| incrementals.iter().all(|kept| kept.name != listed.name);
        let old = self.manifest.files().filter(is_old).cloned();
        let history = old.map(|listed| Listed { kind: FileKind::History, ..listed }).collect();
        let base = Listed { name: base.name.clone(), seq: base.seq, kind: FileKind::Base };
        let manifest = Manifest { base: Some(base), incrementals, history };
        self.place.write_manifest(&manifest)?;
        self.manifest = manifest;
        self.base_len = base_len;
        self.closed_len = 0;
        if let Some(current) = &mut self.current {
            current.is_named = true;
        }
        self.remove_history()
    }
}
