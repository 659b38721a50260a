//! `cargo x bars`: the bars of an issue, measured.
//!
//! In full, figures go to `docs/bars/<issue>.md`, each with its day; of bars that are not measured this time the last
//! figures stay. As a slice, each bar runs for a moment with the same code: it shows
//! that the bar can be measured and that nothing is wrong in the results, but a machine shared with others judges no
//! times, so a slice fails on wrong answers only.

mod append_only;
mod cache;
mod durability;
mod engine;
mod exact;
mod faults;
mod foundation;
mod session;
mod shop;
mod terminal;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::Instant;

use crate::run;
use crate::setup;
use crate::stages;

/// The issues that have bars, by number.
pub(crate) const ISSUES: &[(u32, &[Bar])] = &[
    (2, foundation::BARS),
    (3, engine::BARS),
    (4, durability::BARS),
    (5, cache::BARS),
    (6, session::BARS),
    (7, shop::BARS),
    (8, terminal::BARS),
];

/// One bar.
pub(crate) struct Bar {
    /// A word to choose it by.
    pub(crate) name: &'static str,
    /// What is required.
    pub(crate) required: &'static str,
    /// Whether a slice of it runs in CI; if not, a stage of `cargo x test` covers it.
    pub(crate) in_slice: bool,
    /// Measures it.
    pub(crate) measure: fn(Scale) -> Result<Measured, String>,
}

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// As the bar asks.
    Full,
    /// A moment.
    Slice,
}

impl Scale {
    /// One or the other.
    pub(crate) fn choose<T>(self, full: T, slice: T) -> T {
        match self {
            Scale::Full => full,
            Scale::Slice => slice,
        }
    }
}

/// What came of a measurement.
pub(crate) struct Measured {
    /// One line each.
    pub(crate) figures: Vec<String>,
    /// Whether all answers were right. Wrong ones fail a slice too.
    pub(crate) right: bool,
    /// Whether the figures reach the bar; judged in full only.
    pub(crate) reached: bool,
}

impl Measured {
    /// A bar that right answers reach.
    pub(crate) fn right(right: bool, figures: Vec<String>) -> Measured {
        Measured { figures, right, reached: right }
    }

    /// A bar of right answers within limits of time or cost.
    pub(crate) fn reached(reached: bool, figures: Vec<String>) -> Measured {
        Measured { figures, right: true, reached }
    }
}

/// Measures the bars of an issue, or only those with these names.
pub(crate) fn run(issue: u32, slice: bool, only: &[String]) -> Result<bool, String> {
    let known = || ISSUES.iter().map(|(n, _)| n.to_string()).collect::<Vec<_>>().join(", ");
    let (_, bars) =
        ISSUES.iter().find(|(n, _)| *n == issue).ok_or_else(|| format!("bars are there for {}", known()))?;
    if let Some(unknown) = only.iter().find(|name| !bars.iter().any(|bar| bar.name == **name)) {
        let names: Vec<&str> = bars.iter().map(|bar| bar.name).collect();
        return Err(format!("issue {issue} has no bar {unknown:?}, only {}", names.join(", ")));
    }
    find_server()?;
    let scale = if slice { Scale::Slice } else { Scale::Full };
    let mut rows = BTreeMap::new();
    let mut good = true;
    for bar in bars.iter().filter(|bar| {
        if only.is_empty() { !slice || bar.in_slice } else { only.iter().any(|n| n == bar.name) }
    }) {
        println!("{}: {}", bar.name, bar.required);
        let start = Instant::now();
        let measured = (bar.measure)(scale).unwrap_or_else(|why| Measured::right(false, vec![why]));
        for figure in &measured.figures {
            println!("  {figure}");
        }
        let reached = measured.right && measured.reached;
        let verdict = match (scale, reached) {
            (_, true) => "reached",
            (Scale::Slice, false) if measured.right => "not judged in a slice",
            (_, false) => "missed",
        };
        println!("  {verdict}, {:.1} s", start.elapsed().as_secs_f64());
        good &= measured.right && (slice || reached);
        let figures: Vec<String> =
            measured.figures.iter().map(|f| f.replace('|', "\\|").replace('\n', "<br>")).collect();
        let row = format!(
            "| {} | {} | {} | {verdict}, {} |",
            bar.name,
            bar.required,
            figures.join("<br>"),
            today()
        );
        rows.insert(bar.name, row);
    }
    if !slice {
        write_table(issue, bars, &rows)?;
    }
    Ok(good)
}

/// Sees that there is a server: what is measured is what users build.
pub(crate) fn find_server() -> Result<(), String> {
    if !setup::run() {
        return Err("the tools and packages that the bars need are not all there".to_owned());
    }
    if std::env::var_os("LARDER_SERVER").is_none() && !stages::server().is_file() {
        println!("building the server");
        let outcome = run::logged("build", vec![run::cargo(&["build", "--release", "-p", "larder-server"])]);
        if !outcome.success {
            outcome.show_tail();
            return Err("the server does not build".to_owned());
        }
    }
    Ok(())
}

/// The server that is measured, for programs that we start.
pub(crate) fn server() -> std::path::PathBuf {
    std::env::var_os("LARDER_SERVER").map_or_else(stages::server, Into::into)
}

/// The name that the processor gives itself.
pub(crate) fn cpu_model() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    model.unwrap_or("unknown").trim_matches([' ', '\t', ':']).to_owned()
}

/// The day, as the system writes it.
pub(crate) fn today() -> String {
    let output = run::command("date", &["-u", "+%Y-%m-%d"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// Writes the rows of all bars of an issue: those just measured, and of the others what was written before.
fn write_table(issue: u32, bars: &[Bar], rows: &BTreeMap<&str, String>) -> Result<(), String> {
    let model = cpu_model();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let mut text = format!(
        "# Bars of issue {issue}\n\nMeasured with `cargo x bars {issue}` on {cores} cores ({model}), oracle redis-server \
         {}.\n\n| bar | required | measured | |\n|---|---|---|---|\n",
        testkit::server::redis_version().unwrap_or_default()
    );
    let path = format!("docs/bars/{issue}.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    for Bar { name, required, .. } in bars {
        let start = format!("| {name} | ");
        let old = before.lines().find(|line| line.starts_with(&start)).map(str::to_owned);
        let row = rows
            .get(name)
            .cloned()
            .or(old)
            .unwrap_or_else(|| format!("{start}{required} | | not measured |"));
        let _ = writeln!(text, "{row}");
    }
    fs::create_dir_all("docs/bars")
        .and_then(|()| fs::write(&path, text))
        .map_err(|e| format!("{path}: {e}"))?;
    println!("wrote {path}");
    Ok(())
}
