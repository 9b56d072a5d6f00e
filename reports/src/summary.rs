//! What standard output gets when a campaign has ended: one screen with the claim first, the two tables, the worst
//! findings with the line that reproduces each, and what was not tested. Everything else is in `report.json`.

use std::cmp::Reverse;
use std::path::PathBuf;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use console::{Style, measure_text_width, truncate_str};

use crate::report::{Gpt, Report};
use crate::status::{findings, many, one_line};
use crate::tally::share;
use crate::{Counts, Exit, Finding, Outcome, Verdict};

/// What fits on one screen.
const SCREEN_LINES: usize = 40;
/// Findings shown, where there is room.
const MAX_FINDINGS: usize = 5;
/// Steps that get a row of their own.
const MAX_STEPS: usize = 8;
/// Entries of `not_tested` shown.
const MAX_NOT_TESTED: usize = 3;
/// Width of the bar for a share of 100 %, in columns.
const BAR_COLUMNS: usize = 30;
/// Width of a table's first column.
const NAME_COLUMNS: usize = 20;
/// Narrower than this, lines are cut as if it were this wide.
const MIN_WIDTH: usize = 40;

/// How to render.
#[derive(Clone, Debug)]
pub struct SummaryOptions {
    /// Columns of the screen.
    pub width: usize,
    /// Whether to colour.
    pub color: bool,
    /// Whether to keep to ASCII.
    pub ascii: bool,
    /// The run directory, where there is one.
    pub run_dir: Option<PathBuf>,
}

impl Default for SummaryOptions {
    fn default() -> Self {
        Self { width: 80, color: false, ascii: false, run_dir: None }
    }
}

/// The summary of `report`: at most 40 lines at 80 columns, with a newline at its end. Only the commands to paste
/// and the run directory may be wider than the screen, since cutting them would make them useless.
pub fn render(report: &Report, options: &SummaryOptions) -> String {
    let screen = Screen { options, width: options.width.max(MIN_WIDTH) };
    let mut top = screen.claim(report);
    top.push(String::new());
    top.extend(screen.figures(report));
    top.push(String::new());
    top.extend(screen.kills_by_step(&report.kills_by_step));
    top.push(String::new());
    top.extend(screen.gpt_states(&report.gpt));
    let bottom = screen.bottom(report);
    let room = SCREEN_LINES.saturating_sub(screen.height(&top) + screen.height(&bottom));
    top.extend(screen.findings(&report.findings, room));
    top.extend(bottom);
    top.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

struct Screen<'a> {
    options: &'a SummaryOptions,
    width: usize,
}

impl Screen<'_> {
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

    fn claim(&self, report: &Report) -> Vec<String> {
        let found = match (report.findings.len() as u64, report.states.judged) {
            (0, 0) => "nothing judged".to_owned(),
            (n, _) => findings(n),
        };
        let unmeasured = match report.verdicts.not_measured {
            0 => String::new(),
            n => format!(", {n} not measured"),
        };
        let claim = format!(
            "{}: {} of {} landed, {}, {found}{unmeasured}",
            one_line(&report.scenario),
            report.points.landed,
            many(report.points.attempted, "kill"),
            many(report.states.distinct, "distinct state"),
        );
        let style = match report.exit_code.and_then(Exit::from_code) {
            Some(Exit::Passed) => Style::new().green().bold(),
            Some(Exit::Findings | Exit::Baseline) => Style::new().red().bold(),
            _ => Style::new().yellow().bold(),
        };
        let cut_short = match &report.outcome {
            Some(Outcome::Completed) => None,
            Some(Outcome::Interrupted { signal }) => Some(format!("interrupted by {}", one_line(signal))),
            Some(Outcome::Stopped { reason }) => Some(format!("stopped: {}", one_line(reason))),
            None => Some("its events end before the campaign does".to_owned()),
        };
        let cut_short = cut_short.map(|why| {
            let why = format!("cut short after {}, {why}", many(report.iterations, "iteration"));
            self.paint(Style::new().yellow(), &self.cut(&why))
        });
        [Some(self.paint(style, &self.cut(&claim))), cut_short].into_iter().flatten().collect()
    }

    fn figures(&self, report: &Report) -> Vec<String> {
        let verdicts = list(Verdict::ALL.map(|verdict| (verdict.name(), report.verdicts.get(verdict))));
        let copies = &report.copy_states;
        let copies =
            list([("empty", copies.empty), ("partial", copies.partial), ("complete", copies.complete)]);
        let scale = report.scale.as_ref().map(|scale| format!(", scale {scale}")).unwrap_or_default();
        let throughput = &report.throughput;
        let took = match throughput.wall_s.zip(throughput.prepared_s) {
            Some((wall_s, prepared_s)) => {
                let rate = throughput.judged_states_per_s;
                format!("{wall_s:.1} s, of which {prepared_s:.1} s to prepare; then {rate:.1} states/s")
            }
            None => "unknown".to_owned(),
        };
        let done = format!("{}, seed {}{scale}", many(report.iterations, "iteration"), report.seed);
        let interior = format!(
            "{} of {} ({}) lie between start and baseline",
            report.interior.kills,
            many(report.points.landed, "landed kill"),
            percent(report.interior.share)
        );
        [
            ("Campaign", done),
            ("Time", took),
            ("Verdicts", verdicts),
            ("Interior", interior),
            ("Copies", copies),
        ]
        .map(|(name, text)| self.cut(&format!("{name:<10}{text}")))
        .to_vec()
    }

    fn kills_by_step(&self, steps: &Counts) -> Vec<String> {
        let mut rows: Vec<(String, u64)> =
            steps.iter().map(|(step, n)| (self.cell(&one_line(step)), n)).collect();
        if rows.len() > MAX_STEPS {
            let rest = rows.split_off(MAX_STEPS - 1);
            rows.push((format!("and {} more", rest.len()), rest.iter().map(|(_, n)| n).sum()));
        }
        self.table(["Kills by step", "kills"], &rows, steps.total())
    }

    fn gpt_states(&self, gpt: &Gpt) -> Vec<String> {
        let rows = [
            ("header CRC failure", gpt.header_crc),
            ("torn primary array", gpt.torn_primary),
            ("torn backup array", gpt.torn_backup),
            ("mismatch", gpt.mismatch),
            ("no valid copy", gpt.no_valid_copy),
            ("clean", gpt.clean),
        ]
        .map(|(name, n)| (name.to_owned(), n));
        self.table(["GPT states", "samples"], &rows, gpt.samples)
    }

    /// A name and a count a row, with the count's share of `whole` in figures and as a bar.
    fn table(&self, [name, unit]: [&str; 2], rows: &[(String, u64)], whole: u64) -> Vec<String> {
        let (rule, block) = if self.options.ascii { ('-', "#") } else { ('─', "█") };
        let columns = self.bar_columns();
        let mut table = Table::new();
        table
            .force_no_tty()
            .load_style(TableStyle::new().header_separator(LineStyle::none().fill(rule)))
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header([
                format!("{name:<NAME_COLUMNS$}"),
                format!("{unit:>8}"),
                "share".to_owned(),
                " ".repeat(columns),
            ]);
        for (name, n) in rows {
            let share = share(*n, whole);
            let blocks = (share.clamp(0.0, 1.0) * columns as f64).round() as usize;
            // A count that is there shows, however small its share.
            let bar = block.repeat(blocks.max(usize::from(*n > 0)));
            table.add_row([name.clone(), n.to_string(), percent(share), bar]);
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if (1..=2).contains(&index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.lines().map(|line| self.cut(line.trim_end())).collect()
    }

    fn bar_columns(&self) -> usize {
        BAR_COLUMNS.min(self.width - MIN_WIDTH)
    }

    /// A name short enough to leave a table's figures on the screen.
    fn cell(&self, name: &str) -> String {
        truncate_str(name, NAME_COLUMNS, if self.options.ascii { "..." } else { "…" }).into_owned()
    }

    /// The worst findings, as many as `room` lines hold, but always the worst one.
    fn findings(&self, all: &[Finding], room: usize) -> Vec<String> {
        let mut worst: Vec<&Finding> = all.iter().collect();
        worst.sort_by_key(|finding| Reverse(finding.verdict.badness()));
        let mut lines = Vec::new();
        let mut shown = 0;
        for finding in worst.into_iter().take(MAX_FINDINGS) {
            let next = self.finding(finding);
            // One line is kept for the blank one before, one for what was left out.
            if shown > 0 && self.height(&lines) + self.height(&next) + 2 > room {
                break;
            }
            lines.extend(next);
            shown += 1;
        }
        if shown < all.len() {
            lines.push(format!("and {} more in report.json", all.len() - shown));
        }
        if !lines.is_empty() {
            lines.insert(0, String::new());
        }
        lines
    }

    fn finding(&self, finding: &Finding) -> Vec<String> {
        let Finding { id, verdict, phase, step, point, oracle, explain, repro, .. } = finding;
        let head = format!("{id} {} in {phase} at {step}, {point} ({oracle})", verdict.name());
        vec![
            self.paint(Style::new().red().bold(), &self.cut(&one_line(&head))),
            self.cut(&format!("   {}", one_line(explain))),
            format!("   {}", one_line(repro)),
        ]
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

/// `recovered 120, diverged 1`: what is not 0, or `none`.
fn list<const N: usize>(counts: [(&str, u64); N]) -> String {
    let there: Vec<String> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
    if there.is_empty() { "none".to_owned() } else { there.join(", ") }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests;
