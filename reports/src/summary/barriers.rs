//! What the flushes of a run are good for, as a table: one row a flush.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::Screen;
use crate::status::{many, one_line};
use crate::{Barrier, Report};

impl Screen<'_> {
    /// The claim, and a row for each flush.
    pub fn barriers(&self, report: &Report) -> Vec<String> {
        let all = report.barriers.len() as u64;
        let carry = report.barriers.iter().filter(|barrier| barrier.failure.is_some()).count();
        let claim = format!("{}: {carry} of {} carry weight", one_line(&report.scenario), many(all, "flush"));
        let mut lines = vec![self.cut(&claim.replace("flushs", "flushes")), String::new()];
        let rule = if self.options.ascii { '-' } else { '─' };
        let mut table = Table::new();
        table
            .force_no_tty()
            .load_style(TableStyle::new().header_separator(LineStyle::none().fill(rule)))
            .set_content_arrangement(match self.options.rows {
                Some(_) => ContentArrangement::Dynamic,
                None => ContentArrangement::Disabled,
            })
            .set_width(u16::try_from(self.width).unwrap_or(u16::MAX))
            .set_header(["phase", "step", "op", "flush", "between", "without it"]);
        for barrier in &report.barriers {
            let Barrier { phase, step, op, what, before, after, .. } = barrier;
            let around = format!("{} | {}", listed(before), listed(after));
            table.add_row([
                one_line(phase),
                one_line(step),
                op.to_string(),
                one_line(what),
                around,
                weight(barrier),
            ]);
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if index == 2 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        lines.extend(table.lines().map(|line| line.trim_end().to_owned()));
        lines
    }
}

/// What its absence leads to.
fn weight(barrier: &Barrier) -> String {
    match &barrier.failure {
        Some(failure) => {
            format!("{} ({}): {}", failure.verdict.name(), failure.oracle, one_line(&failure.point))
        }
        None if barrier.possible == 0 => "nothing else is possible".to_owned(),
        None => format!("no failure in {} of {}", barrier.judged, many(barrier.possible, "state")),
    }
}

fn listed(regions: &[String]) -> String {
    const SHOWN: usize = 2;
    match regions {
        [] => "nothing".to_owned(),
        regions if regions.len() > SHOWN => format!("{}, …", regions[..SHOWN].join(", ")),
        regions => regions.join(", "),
    }
}
