//! What standard output gets when a campaign has ended: one screen with the claim first, the two tables, the worst
//! findings with the line that reproduces each, and what was not tested. Everything else is in `report.json`.

use std::path::PathBuf;

use console::{Style, measure_text_width, truncate_str};

use crate::status::one_line;
use crate::tally::is_sweep;
use crate::{Command, Report};

mod barriers;
mod claim;
mod findings;
mod table;

/// What fits on one screen.
const SCREEN_LINES: usize = 40;
/// Lines of claim and figures above which each takes a row from the steps, so that the screen holds.
const USUAL_LINES: usize = 6;
/// Lines that a low screen keeps for a finding before it shows tables.
const FINDING_LINES: usize = 8;
/// Entries of `not_tested` shown.
const MAX_NOT_TESTED: usize = 3;
/// Narrower than this, lines are cut as if it were this wide.
const MIN_WIDTH: usize = 40;
/// Columns of a figure's name.
const NAME_COLUMNS: usize = 10;

/// How to render.
#[derive(Clone, Debug)]
pub struct SummaryOptions {
    /// Columns of the screen.
    pub width: usize,
    /// Rows of the screen; none where the summary goes elsewhere.
    pub rows: Option<usize>,
    /// Whether to colour.
    pub color: bool,
    /// Whether to keep to ASCII.
    pub ascii: bool,
    /// The run directory, where there is one.
    pub run_dir: Option<PathBuf>,
}

impl Default for SummaryOptions {
    fn default() -> Self {
        Self { width: 80, rows: None, color: false, ascii: false, run_dir: None }
    }
}

impl SummaryOptions {
    /// For standard output, as wide as it is where it is a terminal, and else so many columns.
    pub fn for_stdout(columns: usize) -> Self {
        match console::Term::stdout().size_checked() {
            Some((rows, width)) => Self { width: width.into(), rows: Some(rows.into()), ..Self::default() },
            None => Self { width: columns, ..Self::default() },
        }
    }
}

/// The summary of `report`: at most 40 lines at 80 columns, fewer on a lower screen, which then lacks the tables; with a newline at its end. Only the commands to paste
/// and the run directory may be wider than the screen, since cutting them would make them useless.
pub fn render(report: &Report, options: &SummaryOptions) -> String {
    let screen = Screen { options, width: options.width.max(MIN_WIDTH), is_sweep: sweeps(report) };
    if report.command == Some(Command::Barriers) && !report.barriers.is_empty() {
        let lines = screen.barriers(report).into_iter().chain(screen.bottom(report));
        return lines.map(|line| line.trim_end().to_owned() + "\n").collect();
    }
    let mut top = screen.claim(report);
    top.push(String::new());
    top.extend(screen.figures(report));
    let more_lines = top.len().saturating_sub(USUAL_LINES + 1);
    let bottom = screen.bottom(report);
    let lines = options.rows.map_or(SCREEN_LINES, |rows| rows.saturating_sub(1).min(SCREEN_LINES));
    let mut tables = vec![screen.steps(&report.kills_by_step, more_lines)];
    if !screen.is_sweep || report.gpt.samples > 0 {
        tables.push(screen.gpt_states(&report.gpt));
    }
    let wanted = bottom.len() + if report.findings.is_empty() { 0 } else { FINDING_LINES };
    for table in tables {
        if lines == SCREEN_LINES || screen.height(&top) + 1 + table.len() + wanted <= lines {
            top.push(String::new());
            top.extend(table);
        }
    }
    let room = lines.saturating_sub(screen.height(&top) + screen.height(&bottom));
    top.extend(screen.findings(&report.findings, room));
    top.extend(bottom);
    top.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// The claim of `report` as one text: what was done and found, and what cut it short.
pub(crate) fn claim(report: &Report) -> String {
    Screen::endless(&SummaryOptions::default(), report).claim(report).join("; ")
}

/// The figures of `report` that need no table, each with its name.
pub(crate) fn figures(report: &Report) -> Vec<(String, String)> {
    let part = |text: &str| text.trim().to_owned();
    let lines = Screen::endless(&SummaryOptions::default(), report).figures(report);
    lines
        .iter()
        .map(|line| line.split_at(NAME_COLUMNS))
        .map(|(name, text)| (part(name), part(text)))
        .collect()
}

fn sweeps(report: &Report) -> bool {
    report.command.is_some_and(is_sweep)
}

struct Screen<'a> {
    options: &'a SummaryOptions,
    width: usize,
    /// Whether crash points were looked at instead of killing at random.
    is_sweep: bool,
}

impl<'a> Screen<'a> {
    /// One on which nothing is cut or wrapped.
    fn endless(options: &'a SummaryOptions, report: &Report) -> Self {
        Self { options, width: usize::from(u16::MAX), is_sweep: sweeps(report) }
    }

    fn cut(&self, line: &str) -> String {
        truncate_str(line, self.width, if self.options.ascii { "..." } else { "…" }).into_owned()
    }

    fn paint(&self, style: Style, text: &str) -> String {
        style.force_styling(self.options.color).apply_to(text).to_string()
    }

    /// Lines of the screen that `lines` take, wrapped ones included.
    fn height(&self, lines: &[String]) -> usize {
        lines.iter().map(|line| measure_text_width(line).div_ceil(self.width).max(1)).sum()
    }

    fn bottom(&self, report: &Report) -> Vec<String> {
        let mut lines = vec![String::new()];
        for what in report.not_tested.iter().take(MAX_NOT_TESTED) {
            lines.push(self.cut(&format!("Not tested: {}", one_line(what))));
        }
        if report.not_tested.len() > MAX_NOT_TESTED {
            let more = report.not_tested.len() - MAX_NOT_TESTED;
            lines.push(format!("Not tested: {more} more in report.json"));
        }
        if let Some(dir) = &self.options.run_dir {
            lines.push(format!("Run directory: {}", dir.display()));
        }
        if lines.len() == 1 {
            lines.clear();
        }
        lines
    }
}

#[cfg(test)]
mod tests;
