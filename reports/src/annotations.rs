//! What GitHub shows beside the code of a pull request: findings as errors, what was not tested and expected findings that
//! are gone as warnings. They are lines on standard output that GitHub's runner understands ("workflow commands",
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>).

use std::fmt::Write;

use crate::alike::{Group, groups};
use crate::tally::vanished;
use crate::{Exit, Report, summary};

/// Annotations of a level that GitHub shows of a step; it drops the others.
const MAX_OF_LEVEL: usize = 10;

/// The lines for `report`, each with a newline at its end; none where nothing is wrong.
pub fn github(report: &Report) -> String {
    let scenario = &report.scenario;
    let mut errors: Vec<(String, String)> = groups(&report.findings)
        .iter()
        .filter(|group| !group.first.expected)
        .map(|group| (format!("killpoint {scenario}: {}", group.title()), message(group)))
        .collect();
    let exit = report.exit_code.and_then(Exit::from_code);
    if errors.is_empty() && exit != Some(Exit::Passed) {
        errors.push((format!("killpoint {scenario}"), summary::claim(report)));
    }
    let gone = report.warnings.iter().filter(|warning| warning.starts_with(&vanished("")));
    let warnings: Vec<(String, String)> = gone
        .map(|text| (format!("killpoint {scenario}"), text.clone()))
        .chain(
            report.not_tested.iter().map(|what| (format!("killpoint {scenario}: not tested"), what.clone())),
        )
        .collect();
    let mut lines = String::new();
    for (level, annotations) in [("error", errors), ("warning", warnings)] {
        for (title, message) in shortened(annotations) {
            // Writing to a string can't fail.
            let _ = writeln!(lines, "::{level} title={}::{}", property(&title), data(&message));
        }
    }
    lines
}

fn message(group: &Group<'_>) -> String {
    let first = group.first;
    let more = match group.members.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}: {}\n{}\n{}", first.id, first.point, first.explain, first.repro)
}

/// As many as are shown; the last one tells how many are not.
fn shortened(mut annotations: Vec<(String, String)>) -> Vec<(String, String)> {
    let left_out = (annotations.len() + 1).saturating_sub(MAX_OF_LEVEL);
    if annotations.len() > MAX_OF_LEVEL {
        annotations.truncate(MAX_OF_LEVEL - 1);
        annotations.push(("killpoint".to_owned(), format!("and {left_out} more in report.json")));
    }
    annotations
}

/// Text after the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Text of a property, which ends at a comma or colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests;
