//! `docs/benchmarks.md`: a section for each benchmark. A run replaces the sections of what it has measured; the others
//! stay, each with its day.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use super::{BENCHES, Bench, Plan, Section, Size, processors};
use crate::bars::{cpu_model, server, today};

/// Writes what was measured beside what is there, and returns the path. Runs of a moment leave nothing.
pub(super) fn write(plan: &Plan, measured: &[(&Bench, &Section)]) -> Result<Option<&'static str>, String> {
    let path = match plan.size {
        Size::Full => "docs/benchmarks.md",
        Size::Quick => "target/x/benchmarks.md",
        Size::Slice => return Ok(None),
    };
    let before = fs::read_to_string(path).unwrap_or_default();
    let sections: Vec<String> = BENCHES
        .iter()
        .filter_map(|bench| match measured.iter().find(|(other, _)| other.name == bench.name) {
            Some((_, section)) => Some(shown(plan, bench, section)),
            None => kept(&before, bench.name),
        })
        .collect();
    fs::create_dir_all("target/x")
        .and_then(|()| fs::write(path, report(&sections)))
        .map_err(|e| format!("{path}: {e}"))?;
    Ok(Some(path))
}

/// The whole text.
fn report(sections: &[String]) -> String {
    let mut text =
        String::from("# Benchmarks\n\nWritten by `cargo x bench` and `cargo x bars`; do not edit.\n\n");
    for (what, said) in machine() {
        let _ = writeln!(text, "- {what}: {said}");
    }
    let verdicts: Vec<[&str; 4]> =
        sections.iter().flat_map(|section| section.lines()).filter_map(judged).collect();
    let count = |verdict: &str| verdicts.iter().filter(|cells| cells[3] == verdict).count();
    let (reached, missed) = (count("reached"), count("**missed**"));
    let of = reached + missed;
    let _ = writeln!(text, "\n{reached} of {of} targets are reached.\n\n## Where we lose or miss a target\n");
    for [what, figure, bound, _] in verdicts.iter().filter(|cells| cells[3] == "**missed**") {
        let _ = writeln!(text, "- {what}: {figure}, target {bound}");
    }
    text.push_str(if missed == 0 { "Nowhere.\n" } else { "" });
    text.push_str(&sections.concat());
    text
}

/// The cells of a line of a table of verdicts, if it is one.
fn judged(line: &str) -> Option<[&str; 4]> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let cells: [&str; 4] = cells.try_into().ok()?;
    matches!(cells[3], "reached" | "**missed**" | "told").then_some(cells)
}

/// A section that was just measured.
fn shown(plan: &Plan, bench: &Bench, section: &Section) -> String {
    let mut text = format!(
        "\n## {}\n\n{}\n\nMeasured {}, {}, rounds: {}.\n\n",
        bench.name,
        bench.about,
        today(),
        first_line(&server().to_string_lossy(), &["--version"]),
        plan.rounds
    );
    for wrong in &section.wrong {
        let _ = writeln!(text, "**Not measured, or wrong:** {wrong}\n");
    }
    if !section.rows.is_empty() {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        text.push_str(&line(section.header.iter().map(|cell| (*cell).to_owned()).collect()));
        text.push_str(&line(vec!["---".to_owned(); section.header.len()]));
        section.rows.iter().for_each(|row| text.push_str(&line(row.clone())));
    }
    if !section.judged.is_empty() {
        text.push_str("\n| judged | figure | target | |\n|---|---|---|---|\n");
        section.judged.iter().for_each(|judged| text.push_str(&judged.row()));
    }
    text
}

/// The section of that name in a text, from the empty line before its heading.
fn kept(text: &str, name: &str) -> Option<String> {
    let heading = format!("\n## {name}\n");
    let start = text.find(&heading)?;
    let rest = &text[start + 1..];
    let end = rest.find("\n## ").map_or(rest.len(), |end| end);
    Some(format!("\n{}", &rest[..end]))
}

/// Where this was measured, and with what.
fn machine() -> Vec<(&'static str, String)> {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("unknown").trim();
    vec![
        ("machine", format!("{} processors, {}, {memory}", processors(), cpu_model())),
        ("kernel", first_line("uname", &["-sr"])),
        ("redis-server", testkit::server::redis_version().unwrap_or_else(|| "unknown".to_owned())),
        ("compiler", first_line("rustc", &["--version"])),
    ]
}

fn first_line(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_replaces_only_what_it_has_measured() {
        let section = |name: &str, verdict: &str| {
            format!("\n## {name}\n\nabout\n\n| {name}/a | 1.0 | at least 2 | {verdict} |\n")
        };
        let text = report(&[section("cost", "reached"), section("hits", "**missed**")]);
        assert!(
            text.contains("1 of 2 targets are reached") && text.contains("- hits/a: 1.0, target at least 2")
        );
        assert_eq!(kept(&text, "cost"), Some(section("cost", "reached")));
        assert_eq!(kept(&text, "hits"), Some(section("hits", "**missed**")));
        assert_eq!(kept(&text, "storm"), None);
    }
}
