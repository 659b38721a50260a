//! What works on files while no server runs.

use larder::persist::aof::{self, Checked, Verdict};
use larder::persist::check::{Contents, check};
use larder::persist::disk::{Disk as _, RealDisk};
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a look at files has found.
pub(crate) struct Finding {
    /// Text to print.
    pub(crate) found: String,
    /// What is wrong, if something is.
    pub(crate) verdict: Result<(), String>,
}

/// `check-rdb`: what a snapshot holds, and if it would not load, what is wrong and where. With `skip`, what is not
/// supported is left out, as a load does with `rdb-skip-unsupported`.
pub(crate) fn check_rdb(path: &Path, skip: bool) -> Finding {
    let failed = |error: &dyn std::fmt::Display| Err(format!("{}: {error}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return Finding { found: String::new(), verdict: failed(&error) },
    };
    // A clock before 1970 makes nothing expired.
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let (contents, result) = check(file, now_ms, skip);
    Finding { found: describe(&contents), verdict: result.or_else(|error| failed(&error)) }
}

fn describe(contents: &Contents) -> String {
    let mut lines = vec![format!("format version {}, {} bytes read", contents.version, contents.bytes)];
    let facts = contents.facts.iter();
    lines.extend(facts.map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii())));
    let keys = contents.keys.iter();
    lines.extend(keys.map(|((db, kind), count)| format!("database {db}: {count} of type {kind}")));
    let rest = [
        (contents.expiring, "keys with an expiry"),
        (contents.expired, "keys have expired and would be left out"),
        (contents.empty, "empty collections would be left out"),
    ];
    lines.extend(rest.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    if contents.skipped.count() > 0 {
        lines.push(format!("not supported, would be left out: {}", contents.skipped));
    }
    lines.join("\n") + "\n"
}

/// `check-aof`: looks through a manifest's files or one file of commands. Only the end of the last file can be mended,
/// by cutting off what cannot be applied: a cut in an earlier one would leave a gap. `skip` is that of [`check_rdb`].
pub(crate) fn check_aof(path: &Path, fix: bool, skip: bool) -> Finding {
    let is_manifest = path.extension().is_some_and(|extension| extension == "manifest");
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let checked = if is_manifest {
        aof::check(&RealDisk, path, skip)
    } else {
        aof::check_file(&RealDisk, path, true, skip).map(|checked| vec![(name, checked)])
    };
    let files = match checked {
        Ok(files) => files,
        Err(error) => {
            return Finding { found: String::new(), verdict: Err(format!("{}: {error}", path.display())) };
        }
    };
    let mut found = String::new();
    let mut verdict = Ok(());
    for (nth, (name, checked)) in files.iter().enumerate() {
        let Checked { len, whole, commands, .. } = checked;
        // Writing to a string does not fail.
        let _ = writeln!(found, "{name}: {whole} of {len} bytes can be applied, {commands} commands");
        if let Verdict::Bad(error) = &checked.verdict
            && verdict.is_ok()
        {
            // A crash may leave a new file behind it that nothing was written to.
            let is_last = files[nth + 1..].iter().all(|(_, later)| later.len == 0);
            let lost = len - whole;
            verdict = if !is_last || matches!(error.kind, aof::AofErrorKind::Snapshot(_)) {
                Err(format!("{name}: {error}; no cut mends that"))
            } else if fix {
                cut(&path.with_file_name(name), checked, &mut found)
            } else {
                Err(format!("{name}: {error}; --fix would cut off {lost} bytes from offset {whole}"))
            };
        }
    }
    Finding { found, verdict }
}

fn cut(path: &Path, checked: &Checked, found: &mut String) -> Result<(), String> {
    let Checked { len, whole, .. } = checked;
    RealDisk.truncate(path, *whole).map_err(|error| format!("{}: cutting it: {error}", path.display()))?;
    let _ = writeln!(found, "{}: cut off {} bytes from offset {whole}", path.display(), len - whole);
    Ok(())
}
