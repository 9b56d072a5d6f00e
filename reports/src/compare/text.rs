//! A comparison for a person: what changed in one line, the verdicts beside each other, then what is new or worse with the
//! line that brings it back, and what is better or gone.

use super::{Comparison, Sides};
use crate::status::{many, one_line};
use crate::{Finding, Verdict};

/// Findings shown of each list.
const MAX_SHOWN: usize = 10;

/// The comparison as text with a newline at its end.
pub fn render(comparison: &Comparison) -> String {
    let mut lines = vec![claim(comparison), String::new()];
    lines.push(format!("{:<14}{:>9}{:>9}{:>9}", "states", "old", "new", "change"));
    for verdict in Verdict::ALL {
        let (old, new) = (comparison.verdicts.old.get(verdict), comparison.verdicts.new.get(verdict));
        if (old, new) != (0, 0) {
            let change = i128::from(new) - i128::from(old);
            let change = if change == 0 { String::new() } else { format!("{change:+}") };
            lines.push(format!("{:<14}{old:>9}{new:>9}{change:>9}", verdict.name()).trim_end().to_owned());
        }
    }
    if !comparison.differences.is_empty() {
        lines.push(String::new());
    }
    for difference in &comparison.differences {
        let (old, new) = (one_line(&difference.old), one_line(&difference.new));
        lines.push(format!("Differs: {} {old} -> {new}", one_line(&difference.what)));
    }
    list(&mut lines, "New", &comparison.new, |finding| (head(finding), Some(finding)));
    list(&mut lines, "Worse", &comparison.worse, |sides| (both(sides), Some(&sides.new)));
    list(&mut lines, "Changed", &comparison.changed, |sides| (both(sides), Some(&sides.new)));
    list(&mut lines, "Better", &comparison.better, |sides| (both(sides), None));
    list(&mut lines, "Gone", &comparison.gone, |finding| (head(finding), None));
    list(&mut lines, "Not looked at", &comparison.not_looked_at, |finding| (head(finding), None));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn claim(comparison: &Comparison) -> String {
    let counts = [
        (comparison.new.len(), "new"),
        (comparison.worse.len(), "worse"),
        (comparison.changed.len(), "changed"),
        (comparison.better.len(), "better"),
        (comparison.gone.len(), "gone"),
        (comparison.not_looked_at.len(), "not looked at"),
    ];
    let mut parts: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, name)| format!("{n} {name}")).collect();
    parts.push(format!("{} unchanged", many(comparison.unchanged, "finding")));
    if !comparison.whole {
        parts.push("but the newer campaign is not whole or could not measure all".to_owned());
    }
    format!("{}: {}", one_line(&comparison.scenario), parts.join(", "))
}

/// A list with its name, and of each entry a line, and where there is a finding to look into, that.
fn list<'a, T>(
    lines: &mut Vec<String>,
    name: &str,
    entries: &'a [T],
    told: impl Fn(&'a T) -> (String, Option<&'a Finding>),
) {
    if !entries.is_empty() {
        lines.push(String::new());
    }
    for entry in entries.iter().take(MAX_SHOWN) {
        let (line, finding) = told(entry);
        lines.push(format!("{name}: {line}"));
        for line in finding.iter().flat_map(|finding| finding.explain.lines()) {
            lines.push(format!("   {}", one_line(line)));
        }
        let shrunk = finding.and_then(Finding::shrunk_whole);
        lines.extend(shrunk.map(|words| format!("   {}", one_line(&words))));
        lines.extend(finding.map(|finding| format!("   {}", one_line(&finding.repro))));
    }
    if entries.len() > MAX_SHOWN {
        lines.push(format!("{name}: and {} more; --format json has all", entries.len() - MAX_SHOWN));
    }
}

fn head(finding: &Finding) -> String {
    let Finding { id, verdict, phase, step, point, oracle, .. } = finding;
    one_line(&format!("{id} {} in {phase} at {step}, {point} ({oracle})", verdict.name()))
}

fn both(Sides { old, new }: &Sides<Finding>) -> String {
    one_line(&format!("{} {} ({}) is now {}", old.id, old.verdict.name(), old.oracle, head(new)))
}
