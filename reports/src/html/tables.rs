//! The figures of a page: the same as in the summary on a terminal, as tables, and where the campaign came from.

use maud::{Markup, html};

use super::shapes;
use crate::tally::share;
use crate::{Covered, Report, Verdict, summary};

/// Rows that a table has at most.
const MAX_ROWS: usize = 60;

pub(super) fn section(report: &Report) -> Markup {
    let gpt = &report.gpt;
    let gpt_rows = [
        ("clean", gpt.clean),
        ("header CRC failure", gpt.header_crc),
        ("torn primary array", gpt.torn_primary),
        ("torn backup array", gpt.torn_backup),
        ("mismatch", gpt.mismatch),
        ("no valid copy", gpt.no_valid_copy),
    ];
    let steps: Vec<(&str, u64)> = report.kills_by_step.iter().collect();
    let coverage = &report.coverage;
    html! {
        section #figures aria-labelledby="figures-title" {
            h2 #figures-title { "Figures" }
            dl { @for (name, text) in summary::figures(report) { dt { (name) } dd { (text) } } }
            div.tables {
                (verdicts(report))
                (shares("States by step", "step", &steps, report.kills_by_step.total()))
                @if gpt.samples > 0 { (shares("GPT states", "state", &gpt_rows, gpt.samples)) }
                (covered("Covered by model", "model", &coverage.by_model))
                (covered("Covered by step", "step", &coverage.by_step))
                (covered("Covered by what the op is about", "about", &coverage.by_region))
            }
        }
    }
}

/// What a campaign was: whatever it takes to have it again.
pub(super) fn origin(report: &Report) -> Markup {
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let rows = [
        ("killpoint", report.killpoint.clone()),
        ("scenario", report.scenario.clone()),
        ("scale", or(&report.scale)),
        ("scenario's digest", report.scenario_digest.clone()),
        ("fixture", or(&report.fixture_id)),
        ("seed", report.seed.to_string()),
        ("models", report.model.join(", ")),
        ("phases", report.phases.join(", ")),
    ];
    html! {
        section #origin aria-labelledby="origin-title" {
            h2 #origin-title { "Origin" }
            dl {
                @for (name, text) in rows { dt { (name) } dd { code { (text) } } }
                @for (program, version) in &report.tool_versions { dt { (program) } dd { code { (version) } } }
                @for (phase, oracles) in &report.oracles_proved {
                    dt { "proved in " (phase) } dd { (oracles.join(", ")) " objected to a damaged copy" }
                }
            }
        }
    }
}

fn verdicts(report: &Report) -> Markup {
    let counts = Verdict::ALL.map(|verdict| (verdict, report.verdicts.get(verdict)));
    let whole: u64 = counts.iter().map(|(_, n)| n).sum();
    html! {
        table {
            caption { "Distinct states by verdict" }
            (columns("verdict", "states"))
            tbody { @for (verdict, n) in counts { tr {
                th scope="row" { (shapes::symbol(Some(verdict))) (verdict.name()) }
                (figures(n, whole))
            } } }
        }
    }
}

fn shares(caption: &str, name: &str, rows: &[(&str, u64)], whole: u64) -> Markup {
    html! {
        table {
            caption { (caption) }
            (columns(name, "states"))
            tbody { @for (name, n) in rows.iter().take(MAX_ROWS) { tr { th scope="row" { (name) } (figures(*n, whole)) } } }
            (more(rows.len()))
        }
    }
}

fn covered(caption: &str, name: &str, rows: &[Covered]) -> Markup {
    html! {
        @if !rows.is_empty() {
            table {
                caption { (caption) }
                (columns(name, "points"))
                tbody { @for row in rows.iter().take(MAX_ROWS) { tr {
                    th scope="row" { (row.name) }
                    td.number { (row.explored) " of " (row.possible) }
                    (bar(share(row.explored, row.possible)))
                } } }
                (more(rows.len()))
            }
        }
    }
}

fn columns(name: &str, unit: &str) -> Markup {
    html! { thead { tr { th scope="col" { (name) } th.number scope="col" { (unit) } th scope="col" { "share" } } } }
}

fn figures(n: u64, whole: u64) -> Markup {
    html! { td.number { (n) } (bar(share(n, whole))) }
}

/// A share in figures, and as a bar behind them.
fn bar(share: f64) -> Markup {
    let percent = (share * 100.0).clamp(0.0, 100.0);
    html! { td.share { span.bar style={ "width:" (format!("{percent:.1}")) "%" } {} span { (format!("{percent:.1} %")) } } }
}

fn more(rows: usize) -> Markup {
    html! { @if rows > MAX_ROWS { tfoot { tr { td colspan="3" { "and " (rows - MAX_ROWS) " more in report.json" } } } } }
}
