//! The two tables: a name and a count a row, with the count's share in figures and as a bar.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use console::truncate_str;

use super::claim::percent;
use super::{MIN_WIDTH, Screen};
use crate::status::one_line;
use crate::tally::share;
use crate::{Counts, Gpt};

/// Steps that get a row of their own.
const MAX_STEPS: usize = 8;
/// However much else there is to say.
const MIN_STEPS: usize = 4;
/// Width of the bar for a share of 100 %, in columns.
const BAR_COLUMNS: usize = 30;
/// Width of a table's first column.
const NAME_COLUMNS: usize = 20;

impl Screen<'_> {
    /// Crash states by step; `fewer` rows than usual.
    pub fn steps(&self, steps: &Counts, fewer: usize) -> Vec<String> {
        let max_rows = MAX_STEPS.saturating_sub(fewer).max(MIN_STEPS);
        let mut rows: Vec<(String, u64)> =
            steps.iter().map(|(step, n)| (self.cell(&one_line(step)), n)).collect();
        if rows.len() > max_rows {
            let rest = rows.split_off(max_rows - 1);
            rows.push((format!("and {} more", rest.len()), rest.iter().map(|(_, n)| n).sum()));
        }
        let names = if self.is_sweep { ["Points by step", "points"] } else { ["Kills by step", "kills"] };
        self.table(names, &rows, steps.total())
    }

    /// What the GPT looked like.
    pub fn gpt_states(&self, gpt: &Gpt) -> Vec<String> {
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
}
