//! What several campaigns found, as one page in Markdown. Counts, versions, claims and reproductions are those of the
//! reports; only the paragraph about a scenario comes from elsewhere.

use crate::alike::groups;
use crate::summary::{self, SummaryOptions};
use crate::{Finding, Model, Report};

/// Columns of what is quoted from the summary.
const WIDTH: usize = 110;

/// Characters of a finding's first line of explanation.
const EXPLAIN_CHARS: usize = 220;

/// One campaign of the page.
#[derive(Clone, Debug)]
pub struct Exhibit {
    /// What the scenario is about, in Markdown.
    pub about: String,
    /// The campaign.
    pub report: Report,
}

/// The page, with a newline at its end: a table of all campaigns, then a section for each.
pub fn render(exhibits: &[Exhibit]) -> String {
    let mut text = String::from(
        "| scenario | models | crash points | states | fail | by |\n|---|---|---:|---:|---:|---|\n",
    );
    for Exhibit { report, .. } in exhibits {
        text.push_str(&format!(
            "| [`{name}`](#{name}) | {} | {} of {} | {} | {} | {} |\n",
            report.model.join(", "),
            report.points.explored,
            report.points.possible,
            report.states.judged,
            report.findings.len(),
            oracles(report),
            name = report.scenario,
        ));
    }
    exhibits.iter().for_each(|exhibit| section(&mut text, exhibit));
    text
}

/// The oracles that objected, each once.
fn oracles(report: &Report) -> String {
    let mut names: Vec<String> = Vec::new();
    for finding in &report.findings {
        let name =
            format!("`{}`", if finding.oracle.is_empty() { finding.verdict.name() } else { &finding.oracle });
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn section(text: &mut String, Exhibit { about, report }: &Exhibit) {
    text.push_str(&format!("\n## {}\n\n{}\n\n", report.scenario, about.trim()));
    text.push_str(&format!("```text\n{}```\n", facts(report)));
    let groups = groups(&report.findings);
    if groups.is_empty() {
        text.push_str("\nNo state fails.\n");
    }
    for group in &groups {
        let mut models: Vec<Model> = Vec::new();
        for (_, finding) in &group.members {
            if !models.contains(&finding.model) {
                models.push(finding.model);
            }
        }
        for model in models {
            let of_model =
                || group.members.iter().map(|(_, finding)| *finding).filter(|one| one.model == model);
            if let Some(first) = of_model().next() {
                kind(text, &group.title(), first, of_model().count());
            }
        }
    }
    if !report.not_tested.is_empty() {
        text.push_str("\nNot tested:\n\n");
    }
    for what in &report.not_tested {
        text.push_str(&format!("- {}\n", escaped(what)));
    }
}

/// Findings of one kind and model, by the first of them.
fn kind(text: &mut String, title: &str, first: &Finding, count: usize) {
    let explain = cut(first.explain.lines().next().unwrap_or_default());
    text.push_str(&format!(
        "\n**{}** in {} under model {}, the first {}:\n{}\n\n```sh\n{}\n```\n",
        escaped(title),
        states(count),
        first.model.name(),
        escaped(&first.point),
        escaped(&explain),
        first.repro,
    ));
}

/// The summary's claim and the lines that say what was looked at, with the programs' versions.
fn facts(report: &Report) -> String {
    const WANTED: [&str; 6] = ["Campaign", "Verdicts", "Live", "Covered", "Closure", "Power"];
    let options = SummaryOptions { width: WIDTH, color: false, run_dir: None, ..SummaryOptions::default() };
    let summary = summary::render(report, &options);
    let mut wanted = true;
    let mut lines: Vec<String> = Vec::new();
    for (place, line) in summary.lines().enumerate() {
        // A line that begins with a space goes on with the one above.
        if !line.starts_with(' ') {
            wanted = place == 0 || WANTED.iter().any(|word| line.split(' ').next() == Some(word));
        }
        if wanted && !line.is_empty() {
            lines.push(line.to_owned());
        }
    }
    let versions: Vec<&String> = report.tool_versions.values().filter(|text| is_version(text)).collect();
    for (place, version) in versions.iter().enumerate() {
        lines.push(format!("{:<10}{version}", if place == 0 { "Versions" } else { "" }));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Digits on both sides of a point: what a program prints that does not know the question has none.
fn is_version(text: &str) -> bool {
    text.as_bytes()
        .windows(3)
        .any(|three| three[0].is_ascii_digit() && three[1] == b'.' && three[2].is_ascii_digit())
}

fn states(count: usize) -> String {
    if count == 1 { "1 state".to_owned() } else { format!("{count} states") }
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(EXPLAIN_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// What an oracle says may hold anything; backquotes are kept, since they mean the same here.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if matches!(character, '<' | '>' | '*' | '_' | '[' | ']' | '|' | '\\')
            && escaped.matches('`').count().is_multiple_of(2)
        {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, tally};

    fn exhibit(events: &[crate::Event]) -> Exhibit {
        Exhibit { about: "What it is about.\n".to_owned(), report: Report::from(&tally(events)) }
    }

    /// The page of a campaign that found something.
    #[test]
    fn page_of_the_sample_sweep() {
        insta::assert_snapshot!(render(&[exhibit(&samples::sweep::sweep())]));
    }

    #[test]
    fn what_an_oracle_says_is_no_markup_outside_of_backquotes() {
        assert_eq!(escaped("a_b <c> `d_e` f|g"), "a\\_b \\<c\\> `d_e` f\\|g");
        assert_eq!(cut(&"é".repeat(EXPLAIN_CHARS)), "é".repeat(EXPLAIN_CHARS));
        assert_eq!(cut(&"é".repeat(EXPLAIN_CHARS + 1)), "é".repeat(EXPLAIN_CHARS) + "…");
    }

    #[test]
    fn an_answer_to_another_question_is_no_version() {
        for (text, expected) in
            [("GPT fdisk (sgdisk) version 1.0.9", true), ("sh: 0: Illegal option --", false)]
        {
            assert_eq!(is_version(text), expected, "{text}");
        }
    }
}
