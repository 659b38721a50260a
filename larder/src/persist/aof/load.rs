//! Making the data again of an append-only file.
//!
//! The base is loaded as a snapshot, or run, and the incremental files are run, command by command. Time stands still
//! meanwhile at the beginning of all times: what had expired when a command ran is in the file as DEL, and everything
//! else was still there. Memory is not limited, and nothing is evicted, for the same reason.
//!
//! Commands are executed where they lie in the input buffer, a window of them at a time, so that what they will look up
//! can be fetched into the cache beforehand, as a server does with a pipeline.

use super::files::Place;
use super::manifest::FileKind;
use super::read::{AofError, AofErrorKind, AofReader, Step};
use crate::engine::Engine;
use crate::exec::Plan;
use crate::lane::Lane;
use crate::persist::disk::Disk;
use crate::persist::snapshot::Skipped;
use crate::session::Session;
use larder_resp::{Limits, Request, Span, decode_whole};
use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a snapshot begins with.
const SNAPSHOT_MAGIC: &[u8] = b"REDIS";
/// Commands looked at together.
const WINDOW: usize = 32;

/// What a load found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct AofLoaded {
    /// Files read.
    pub files: usize,
    /// Bytes read.
    pub bytes: u64,
    /// Keys in a base that is a snapshot.
    pub keys: u64,
    /// What was left out of it on request, since there is no such type yet.
    pub skipped: Skipped,
    /// Commands run.
    pub commands: u64,
    /// Commands that answered an error. A file that was written by a server has none: what fails is not in the log.
    pub errors: u64,
    /// The first of them: file and error.
    pub first_error: Option<String>,
    /// The end of the last file that was cut off, because a crash had left it incomplete: file, offset, bytes.
    pub cut: Option<(String, u64, u64)>,
}

/// Why an append-only file cannot be loaded.
#[derive(Debug)]
pub struct AofLoadError {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub error: AofError,
}

impl fmt::Display for AofLoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.error)
    }
}

impl std::error::Error for AofLoadError {}

fn failed(error: io::Error) -> AofError {
    AofError { offset: 0, kind: AofErrorKind::Io(error) }
}

impl Engine {
    /// Loads what the manifest of `place` names into this engine, whose data nobody else uses yet; `None` if there is no
    /// manifest.
    ///
    /// An end of the last file that a crash has left incomplete is cut off if `aof-load-truncated` is on.
    ///
    /// # Errors
    /// The first thing that cannot be read, with file and offset. What came before it has been loaded, so the engine is
    /// not to be used.
    pub fn load_aof(self: &Arc<Self>, place: &Place) -> Result<Option<AofLoaded>, AofLoadError> {
        let in_file = |file: &str| {
            let file = file.to_owned();
            move |error| AofLoadError { file, error }
        };
        let manifest_name = format!("{}.manifest", place.name);
        let manifest = place.read_manifest().map_err(|error| in_file(&manifest_name)(failed(error)))?;
        let Some(manifest) = manifest else { return Ok(None) };
        let mut lens = Vec::new();
        for listed in manifest.files() {
            let len = place.disk.len(&place.path(&listed.name));
            lens.push(len.map_err(|error| in_file(&listed.name)(failed(error)))?);
        }
        let mark = self.begin_loading();
        self.progress.expect(lens.iter().sum());
        let mut loading = Loading::new(self);
        let result = manifest.files().enumerate().try_for_each(|(nth, listed)| {
            let may_be_cut = lens[nth + 1..].iter().all(|len| *len == 0);
            let path = place.path(&listed.name);
            let is_base = listed.kind == FileKind::Base;
            let read = loading.read_file(&*place.disk, &path, is_base, may_be_cut.then_some(lens[nth]));
            read.map_err(in_file(&listed.name))
        });
        let loaded = loading.loaded;
        drop(mark);
        self.forget_loading();
        result.map(|()| Some(loaded))
    }

    /// Loading is no change that would have to be saved, and no command that anybody asked for.
    fn forget_loading(&self) {
        self.stats.reset();
        self.slowlog.clear();
        self.note_saved_changes();
    }
}

struct Loading<'l> {
    engine: &'l Engine,
    lane: Lane,
    session: Session,
    loaded: AofLoaded,
    /// Bytes of the files before the present one.
    before: u64,
    now_us: u64,
    out: Vec<u8>,
    spans: Vec<Span>,
    window: Vec<(usize, usize, Plan)>,
}

impl<'l> Loading<'l> {
    fn new(engine: &'l Arc<Engine>) -> Loading<'l> {
        let mut lane = engine.lane(false);
        let now_us = lane.now_us;
        lane.stand_still();
        let session = engine.connect_loader();
        Loading {
            engine,
            lane,
            session,
            loaded: AofLoaded::default(),
            before: 0,
            now_us,
            out: Vec::new(),
            spans: Vec::new(),
            window: Vec::new(),
        }
    }

    /// Reads one file. With `cut_from`, its length, an incomplete end may be cut off.
    fn read_file(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        is_base: bool,
        cut_from: Option<u64>,
    ) -> Result<(), AofError> {
        self.loaded.files += 1;
        let mut input = disk.open(path).map_err(failed)?;
        let mut start = Vec::new();
        input.by_ref().take(SNAPSHOT_MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
        let mut offset = 0;
        let mut input: Box<dyn Read + Send> = if is_base && start == SNAPSHOT_MAGIC {
            let snapshot = self.engine.load_base(&mut self.lane, disk, path);
            let snapshot = snapshot
                .map_err(|error| AofError { offset: error.offset, kind: AofErrorKind::Snapshot(error) })?;
            self.loaded.keys += snapshot.keys;
            self.loaded.skipped.add(&snapshot.skipped);
            offset = snapshot.bytes;
            disk.open(path).map_err(failed)?
        } else {
            Box::new(io::Cursor::new(start).chain(input))
        };
        // What is behind a snapshot are commands.
        io::copy(&mut input.by_ref().take(offset), &mut io::sink()).map_err(failed)?;
        let mut reader = AofReader::new(input, offset);
        // Each file stands for itself.
        self.session.select(0);
        let result = self.run_all(&mut reader, path);
        self.before += reader.offset();
        self.engine.progress.end_file(self.before);
        self.loaded.bytes = self.before;
        // A transaction that has no end has not happened.
        self.session.multi = None;
        let cuts = self.engine.config.aof_load_truncated.load(Ordering::Relaxed);
        match (result, cut_from) {
            (Err(error), Some(len))
                if cuts && (error.is_cut_short() || has_hole(disk, path, reader.whole(), len, &error)?) =>
            {
                let whole = reader.whole();
                disk.truncate(path, whole).map_err(failed)?;
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.loaded.cut = Some((name, whole, len.saturating_sub(whole)));
                Ok(())
            }
            (result, _) => result,
        }
    }

    fn run_all(&mut self, reader: &mut AofReader<impl Read>, path: &Path) -> Result<(), AofError> {
        loop {
            let buffered = self.run_window(reader, path)?;
            if buffered == 0 {
                let at = reader.offset();
                match reader.next_step()? {
                    None => break,
                    Some(Step::Annotation(_)) => {}
                    Some(Step::Command(command)) => {
                        let request = command.as_request();
                        let plan = self.engine.plan(request);
                        self.run(plan, request, at, path)?;
                    }
                }
            }
            self.engine.progress.note(reader.offset());
        }
        Ok(())
    }

    /// Runs the commands that are in memory as a whole, up to a window of them, and returns how many bytes that were.
    /// What begins or ends a transaction, or is not what it should be, is left to the reader.
    fn run_window(&mut self, reader: &mut AofReader<impl Read>, path: &Path) -> Result<usize, AofError> {
        let limits = Limits { authenticated: true, ..Limits::default() };
        let bytes = reader.buffered();
        let mut spans = std::mem::take(&mut self.spans);
        let mut window = std::mem::take(&mut self.window);
        spans.clear();
        window.clear();
        let mut end = 0;
        while window.len() < WINDOW {
            let first = spans.len();
            let Some(len) = decode_whole(&bytes[end..], &limits, &mut spans) else { break };
            let request = Request::new(&bytes[end..], &spans[first..]);
            // Looking ahead takes line ends for granted; a file has no second chance.
            let end_line = |span: &Span| {
                let end = end + span.start as usize + span.len as usize;
                bytes[end..].starts_with(b"\r\n")
            };
            if is_bracket(request) || !spans[first..].iter().all(end_line) {
                spans.truncate(first);
                break;
            }
            window.push((first, end, self.engine.plan(request)));
            end += len;
        }
        let db = self.session.db();
        self.engine.prefetch(window.iter().filter_map(|(_, _, plan)| plan.lookup(db)));
        let offset = reader.offset();
        let mut ends = window.iter().skip(1).map(|(first, ..)| *first);
        let mut result = Ok(());
        for (first, start, plan) in &window {
            let last = ends.next().unwrap_or(spans.len());
            let request = Request::new(&bytes[*start..end], &spans[*first..last]);
            result = self.run(*plan, request, offset + *start as u64, path);
            if result.is_err() {
                break;
            }
        }
        (self.spans, self.window) = (spans, window);
        result?;
        reader.pass(end);
        Ok(end)
    }

    fn run(&mut self, plan: Plan, request: Request<'_>, at: u64, path: &Path) -> Result<(), AofError> {
        if !plan.belongs_in_a_file() {
            let command = request.arg(0).escape_ascii().take(64).map(char::from).collect();
            return Err(AofError { offset: at, kind: AofErrorKind::UnknownCommand { command } });
        }
        let is_relative = is_relative(request);
        if is_relative {
            self.lane.set_now_us(self.now_us);
        }
        self.out.clear();
        let _done =
            self.engine.execute_planned(&mut self.lane, &mut self.session, plan, request, &mut self.out);
        self.loaded.commands += 1;
        self.engine.delay_load(self.loaded.commands);
        if self.out.first() == Some(&b'-') {
            self.loaded.errors += 1;
            self.loaded.first_error.get_or_insert_with(|| {
                let error = self.out.trim_ascii().escape_ascii();
                format!("{}, offset {at}: {error}", path.display())
            });
        }
        if is_relative {
            self.lane.stand_still();
            self.engine.shards.all().for_each(|shard| shard.now_ms = 0);
        }
        Ok(())
    }
}

/// Whether a command that cannot be read has a hole: sectors that never got to the disk before a crash, although later
/// ones did. They read as zeros up to a sector's end. Nothing behind `whole` had been synced then, so a hole is looked
/// for only as far from the end of the file as what is not synced may reach.
fn has_hole(disk: &dyn Disk, path: &Path, whole: u64, len: u64, error: &AofError) -> Result<bool, AofError> {
    const SECTOR: u64 = 512;
    const UNSYNCED_MAX: u64 = 64 * 1024 * 1024;
    const LINE_MAX: u64 = 2 * 1024;
    if !matches!(error.kind, AofErrorKind::Corrupt { .. }) || len - whole > UNSYNCED_MAX {
        return Ok(false);
    }
    let mut input = disk.open(path).map_err(failed)?;
    io::copy(&mut input.by_ref().take(whole), &mut io::sink()).map_err(failed)?;
    let mut bad = Vec::new();
    let reach = (error.offset + LINE_MAX).min(len) - whole;
    input.take(reach).read_to_end(&mut bad).map_err(failed)?;
    let ends_sector = |end: u64| end.is_multiple_of(SECTOR) || end == len;
    Ok(bad.iter().zip(whole + 1..).any(|(byte, end)| *byte == 0 && ends_sector(end)))
}

/// MULTI or EXEC.
fn is_bracket(request: Request<'_>) -> bool {
    let name = request.arg(0);
    match name.len() {
        4 => name.eq_ignore_ascii_case(b"EXEC"),
        5 => name.eq_ignore_ascii_case(b"MULTI"),
        _ => false,
    }
}

/// Whether a command counts a time from now on. Servers write moments instead; people who write such files by hand may
/// not.
fn is_relative(request: Request<'_>) -> bool {
    let name = request.arg(0);
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    let has = |word: &[u8]| request.skip(2).iter().any(|argument| argument.eq_ignore_ascii_case(word));
    match name.len() {
        3 => request.len() > 4 && is(b"SET") && (has(b"EX") || has(b"PX")),
        5 => is(b"SETEX") || (is(b"GETEX") && (has(b"EX") || has(b"PX"))),
        6 => is(b"EXPIRE") || is(b"PSETEX"),
        7 => is(b"PEXPIRE") || (is(b"RESTORE") && !has(b"ABSTTL")),
        _ => false,
    }
}
