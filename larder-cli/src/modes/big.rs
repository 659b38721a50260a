//! `--bigkeys` and `--memkeys`: the largest key of each type, by its own measure or in bytes of memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::link::Failure;
use crate::modes::walk::{self, MEASURES, Walk, average, percent, shown};
use crate::oneshot::Verdict;
use crate::options::Mode;
use crate::output;
use crate::session::Session;

/// What has been found of one type.
#[derive(Default)]
struct Found {
    count: u64,
    total: u64,
    /// The largest ones, the first the largest.
    largest: Vec<(u64, Vec<u8>)>,
}

struct Report {
    by_memory: bool,
    /// How many of the largest are kept.
    top: usize,
    /// Types that are not Redis' own come behind those that are.
    types: Vec<String>,
    found: BTreeMap<String, Found>,
    sampled: u64,
    key_bytes: u64,
}

pub(crate) fn run(session: &mut Session) -> Verdict {
    let by_memory = session.options.mode == Mode::MemKeys;
    output::write(
        b"\n# Scanning the entire keyspace to find biggest keys as well as\n\
          # average sizes per key type.  You can use -i 0.1 to sleep 0.1 sec\n\
          # per 100 SCAN commands (not usually needed).\n\n",
    )?;
    let mut report = Report {
        by_memory,
        top: session.options.keys.top.unwrap_or(1).max(1),
        types: MEASURES.iter().map(|measure| measure.name.to_owned()).collect(),
        found: BTreeMap::new(),
        sampled: 0,
        key_bytes: 0,
    };
    let mut whole = walk::count(session, "DBSIZE")?;
    let mut walk = Walk::new(session);
    loop {
        let keys = match walk.next(session) {
            Ok(Some(keys)) => keys,
            Ok(None) | Err(Failure::Interrupted) => break,
            Err(failure) => return Err(failure),
        };
        // Keys may have come since they were counted.
        whole = whole.max(report.sampled + keys.len() as u64);
        let done = percent(report.sampled, whole);
        report.page(session, &keys, done)?;
    }
    output::write(report.summary().as_bytes()).map(|()| true)
}

impl Report {
    fn page(&mut self, session: &mut Session, keys: &[Vec<u8>], done: f64) -> Result<(), Failure> {
        let types = walk::types(session, keys)?;
        let sizes = if self.by_memory {
            walk::memory(session, keys, session.options.keys.memory_samples)?
        } else {
            walk::lengths(session, keys, &types)?
        };
        for ((key, kind), size) in keys.iter().zip(&types).zip(sizes) {
            if kind == "none" {
                continue;
            }
            if !self.types.contains(kind) {
                self.types.push(kind.clone());
            }
            let unit = self.unit(kind);
            let found = self.found.entry(kind.clone()).or_default();
            found.count += 1;
            found.total = found.total.saturating_add(size);
            self.sampled += 1;
            self.key_bytes += key.len() as u64;
            if found.largest.first().map_or(0, |(largest, _)| *largest) < size {
                let key = shown(key);
                let line =
                    format!("[{done:05.2}%] Biggest {kind:<6} found so far '{key}' with {size} {unit}\n");
                output::write(line.as_bytes())?;
            }
            if size > 0 {
                let place = found.largest.partition_point(|(other, _)| *other >= size);
                found.largest.insert(place, (size, key.clone()));
                found.largest.truncate(self.top);
            }
        }
        Ok(())
    }

    fn unit(&self, kind: &str) -> &'static str {
        if self.by_memory { "bytes" } else { walk::measure(kind).map_or("?", |measure| measure.unit) }
    }

    fn summary(&self) -> String {
        let mut out = String::from("\n-------- summary -------\n\n");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "Sampled {} keys in the keyspace!", self.sampled);
        let length = average(self.key_bytes, self.sampled);
        let _ = writeln!(out, "Total key length in bytes is {} (avg len {length:.2})\n", self.key_bytes);
        let none = Found::default();
        let rows =
            || self.types.iter().map(|kind| (kind, self.found.get(kind).unwrap_or(&none), self.unit(kind)));
        for (kind, found, unit) in rows() {
            for (size, key) in &found.largest {
                let _ = writeln!(out, "Biggest {kind:>6} found '{}' has {size} {unit}", shown(key));
            }
        }
        out.push('\n');
        for (kind, found, unit) in rows() {
            let (share, size) = (percent(found.count, self.sampled), average(found.total, found.count));
            let _ = writeln!(
                out,
                "{} {kind}s with {} {unit} ({share:05.2}% of keys, avg size {size:.2})",
                found.count, found.total
            );
        }
        out
    }
}
