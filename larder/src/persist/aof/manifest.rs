//! The manifest: which files make up the data, in order.
//!
//! ```text
//! file appendonly.aof.2.base.rdb seq 2 type b
//! file appendonly.aof.4.incr.aof seq 4 type i
//! ```

use std::fmt;

/// A line of a manifest is no longer than this, in bytes, its end included.
const LINE_MAX: usize = 1024;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// The data as of some moment.
    Base,
    /// Commands since then.
    Incremental,
    /// Not needed any more, and to be removed.
    History,
}

/// A file that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, in the manifest's directory.
    pub name: String,
    /// Its number; those of incremental files ascend.
    pub seq: u64,
    /// What it is for.
    pub kind: FileKind,
}

/// A manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The base, if there is one.
    pub base: Option<Listed>,
    /// The incremental files, oldest first.
    pub incrementals: Vec<Listed>,
    /// Files that are not needed any more.
    pub history: Vec<Listed>,
}

/// A line of a manifest that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// Its number, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "manifest, line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ManifestError {}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// The first line that is none, names a file outside the directory, or breaks the order of the files.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        let mut manifest = Manifest::default();
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        for (nth, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if line.first() == Some(&b'#') {
                continue;
            }
            listed(line)
                .and_then(|listed| manifest.add(listed))
                .map_err(|what| ManifestError { line: nth + 1, what })?;
        }
        Ok(manifest)
    }

    fn add(&mut self, listed: Listed) -> Result<(), &'static str> {
        match listed.kind {
            FileKind::Base if self.base.is_some() => return Err("a second base"),
            FileKind::Base => self.base = Some(listed),
            FileKind::Incremental => {
                if self.incrementals.last().is_some_and(|last| last.seq >= listed.seq) {
                    return Err("an incremental file whose number does not ascend");
                }
                self.incrementals.push(listed);
            }
            FileKind::History => self.history.push(listed),
        }
        Ok(())
    }

    /// The manifest as it is written.
    pub fn to_text(&self) -> String {
        let all = self.base.iter().chain(&self.history).chain(&self.incrementals);
        all.map(|Listed { name, seq, kind }| {
            let kind = match kind {
                FileKind::Base => 'b',
                FileKind::History => 'h',
                FileKind::Incremental => 'i',
            };
            format!("file {} seq {seq} type {kind}\n", quoted(name))
        })
        .collect()
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incrementals.is_empty() && self.history.is_empty()
    }

    /// The files that hold the data, in the order they are loaded.
    pub fn files(&self) -> impl Iterator<Item = &Listed> {
        self.base.iter().chain(&self.incrementals)
    }
}

fn listed(line: &[u8]) -> Result<Listed, &'static str> {
    if line.len() >= LINE_MAX {
        return Err("a line of more than 1 KiB");
    }
    let words = larder_resp::split_words(line).ok_or("quotes that do not close")?;
    if words.len() < 6 || !words.len().is_multiple_of(2) {
        return Err("expected: file NAME seq NUMBER type b|h|i");
    }
    let (mut name, mut seq, mut kind) = (None, None, None);
    for pair in words.chunks_exact(2) {
        let value = pair[1].as_slice();
        if pair[0].eq_ignore_ascii_case(b"file") {
            name = Some(file_name(value)?);
        } else if pair[0].eq_ignore_ascii_case(b"seq") {
            let number = larder_structures::decimal::parse_canonical_i64(value);
            seq =
                Some(number.and_then(|number| u64::try_from(number).ok()).ok_or("a seq that is no number")?);
        } else if pair[0].eq_ignore_ascii_case(b"type") {
            kind = Some(match value {
                b"b" => FileKind::Base,
                b"i" => FileKind::Incremental,
                b"h" => FileKind::History,
                _ => return Err("a type other than b, h and i"),
            });
        }
    }
    match (name, seq, kind) {
        (Some(name), Some(seq), Some(kind)) => Ok(Listed { name, seq, kind }),
        _ => Err("expected: file NAME seq NUMBER type b|h|i"),
    }
}

/// A name as [`larder_resp::split_words`] reads it.
fn quoted(name: &str) -> String {
    if name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\')) {
        return name.to_owned();
    }
    let escaped = name.bytes().map(|byte| match byte {
        b'"' | b'\\' => format!("\\{}", byte as char),
        b' '..=b'~' => (byte as char).to_string(),
        _ => format!("\\x{byte:02x}"),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn file_name(bytes: &[u8]) -> Result<String, &'static str> {
    let name = std::str::from_utf8(bytes).map_err(|_| "a file name that is no UTF-8")?;
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
        return Err("a file name that leads out of the directory");
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_in_their_order() {
        let manifest = Manifest::parse(
            b"# a comment\nfile a.2.base.rdb seq 2 type b\nfile a.1.base.rdb seq 1 type h\n\
              file \"a b.4.incr.aof\" seq 4 type i\nfile a.5.incr.aof seq 5 type i later yes\n",
        )
        .unwrap();
        let names: Vec<&str> = manifest.files().map(|listed| listed.name.as_str()).collect();
        assert_eq!(names, ["a.2.base.rdb", "a b.4.incr.aof", "a.5.incr.aof"]);
        assert_eq!(manifest.history.len(), 1);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let listed = |name: &str, seq, kind| Listed { name: name.into(), seq, kind };
        let manifest = Manifest {
            base: Some(listed("a b\"c.2.base.rdb", 2, FileKind::Base)),
            incrementals: vec![listed("a.4.incr.aof", 4, FileKind::Incremental)],
            history: vec![listed("ü'\t.1.base.rdb", 1, FileKind::History)],
        };
        let text = manifest.to_text();
        assert_eq!(Manifest::parse(text.as_bytes()).as_ref(), Ok(&manifest), "{text}");
        assert!(text.ends_with("file a.4.incr.aof seq 4 type i\n"));
        assert!(Manifest::default().is_empty() && !manifest.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let good = "file a seq 1 type i\n";
        for (bad, what) in [
            ("", "expected"),
            ("file a seq 1", "expected"),
            ("file a seq 1 name b", "expected"),
            ("file ../a seq 2 type i", "out of the directory"),
            ("file a seq x type i", "no number"),
            ("file a seq 2 type x", "other than"),
            ("file a seq 1 type i", "ascend"),
            ("file \"a seq 2 type i", "quotes"),
            (&format!("file {} seq 2 type i", "a".repeat(1100)), "1 KiB"),
        ] {
            let error = Manifest::parse(format!("{good}{bad}\n").as_bytes()).unwrap_err();
            assert!(error.line == 2 && error.what.contains(what), "{bad}: {error}");
        }
        let two = "file a seq 1 type b\nfile b seq 2 type b";
        assert_eq!(Manifest::parse(two.as_bytes()).unwrap_err().what, "a second base");
    }
}
