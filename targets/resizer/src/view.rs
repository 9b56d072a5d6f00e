//! A partition table as text: sorted by start, with its gaps.

use std::fmt::{self, Display, Formatter};

use crate::gpt::{Span, Table};
use crate::plan::free_gaps;
use crate::size::MIB;

/// Shows a table, a line for each partition and each gap.
pub struct View<'a>(pub &'a Table);

impl Display for View<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let table = self.0;
        let len = |span: &Span| size_in_mib(table.extent(*span).len_bytes);
        let mut lines: Vec<(Span, String)> = table
            .entries()
            .map(|(index, entry)| {
                let attributes = match entry.attributes() {
                    0 => String::new(),
                    bits => format!(" attributes {bits:#018x}"),
                };
                let what = format!("`{}` {}{attributes}", entry.name().escape_debug(), entry.guid());
                (entry.span(), line(Some(index), &entry.span(), &len(&entry.span()), &what))
            })
            .collect();
        lines.extend(free_gaps(table).into_iter().map(|gap| (gap, line(None, &gap, &len(&gap), "free"))));
        lines.sort();
        let usable = table.usable();
        writeln!(
            f,
            "table: {} byte sectors, usable {} to {}, {} entries",
            table.sector_len(),
            usable.first_lba,
            usable.last_lba,
            table.capacity()
        )?;
        lines.iter().try_for_each(|(_, text)| writeln!(f, "{text}"))
    }
}

fn size_in_mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / MIB as f64)
}

fn line(index: Option<u32>, span: &Span, len: &str, what: &str) -> String {
    let index = index.map_or_else(|| "-".to_owned(), |index| index.to_string());
    format!("  {index:>4} {:>12} {:>12} {len:>14}  {what}", span.first_lba, span.last_lba)
}
